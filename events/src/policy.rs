//! A policy: what an owner (the platform, a tenant, a scope, a key) says about how calls below it are treated, besides money and rates.
//! The nearest owner that says something about a thing is heard.

use crate::{Aggregate, Kept, Owner, Refusal, State, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

/// One thing that is said. Variants are only ever added, at the end: rows of the state and events hold them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// What becomes of what a provider's dialect cannot say, as in the header `x-tollgate-loss`.
    Losses(String),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// This is all that the owner says.
    Set(Vec<Setting>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Set(Vec<Setting>),
}

impl Aggregate for Policy {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, Command::Set(settings): Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        Ok(if settings == self.settings { Vec::new() } else { vec![Event::Set(settings)] })
    }

    fn apply(&mut self, Event::Set(settings): &Event, _at: Timestamp) {
        self.settings.clone_from(settings);
    }
}

impl Policy {
    /// What is said about losses.
    pub fn losses(&self) -> Option<&str> {
        self.settings.iter().map(|Setting::Losses(rules)| rules.as_str()).next()
    }
}

impl Kept for Policy {
    type Id = Owner;
    fn stream(owner: Owner) -> StreamId {
        StreamId::Policy(owner)
    }
    fn find(state: &State, owner: Owner) -> Option<&Policy> {
        state.books.policies.get(&owner)
    }
    fn event(owner: Owner, event: Event) -> crate::Event {
        crate::Event::Policy(owner, event)
    }
}

#[cfg(test)]
mod tests;
