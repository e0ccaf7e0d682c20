//! Tests of aggregates that read given, when, then.

use crate::{Aggregate, Timestamp};
use std::fmt::Debug;

/// When the tests happen.
pub const NOW: Timestamp = Timestamp(1_763_000_000_000_000);

pub struct Given<A>(A);

/// What has happened.
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut aggregate = A::default();
    events.into_iter().for_each(|event| aggregate.apply(&event, NOW));
    Given(aggregate)
}

impl<A: Aggregate> Given<A>
where
    A::Event: PartialEq + Debug,
    A::Refusal: PartialEq + Debug,
    A::Command: Clone,
{
    /// What somebody wants, and what happens. Once more, nothing happens: a command may come twice.
    pub fn when(mut self, command: A::Command) -> Then<A> {
        let outcome = self.0.decide(command.clone(), NOW);
        for event in outcome.iter().flatten() {
            self.0.apply(event, NOW);
        }
        let again = self.0.decide(command, NOW);
        assert!(again.as_ref().is_ok_and(Vec::is_empty) || again.is_err(), "decided twice it gives {again:?}");
        Then { aggregate: self.0, outcome }
    }

    pub fn is(&self) -> &A {
        &self.0
    }
}

pub struct Then<A: Aggregate> {
    /// As it is then.
    pub aggregate: A,
    outcome: Result<Vec<A::Event>, A::Refusal>,
}

impl<A: Aggregate> Then<A>
where
    A::Event: PartialEq + Debug,
    A::Refusal: PartialEq + Debug,
{
    pub fn then(self, events: impl IntoIterator<Item = A::Event>) -> A {
        assert_eq!(self.outcome, Ok(events.into_iter().collect()));
        self.aggregate
    }

    pub fn refused(self, refusal: A::Refusal) {
        assert_eq!(self.outcome, Err(refusal));
    }
}
