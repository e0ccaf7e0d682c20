//! Alerts: what operators are told of. Some follow from other events (a threshold, an overrun, an orphan); what only a node sees is
//! raised and cleared by its watch, one stream for each thing that it sees.

use crate::{Aggregate, AlertId, Kept, NodeId, Refusal, State, StreamId, Timestamp, limits};
use serde::{Deserialize, Serialize};

/// What an alert is about: one name each, everywhere. Variants are only ever added, at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A share of a budget's limit is spent. Follows from `budget.alerted`.
    BudgetThreshold,
    /// A provider billed a call above its ceiling. Follows from `call.finished`.
    BudgetOverrun,
    /// A call's node died. Follows from `call.orphaned`.
    CallOrphaned,
    /// A provider failed again and again, and is left alone for a while.
    BreakerOpen,
    /// A projection is far behind the history, or has failed.
    ProjectionLag,
    /// The free disk is below the bound at which nothing is admitted.
    DiskLow,
    /// The wall clock was set.
    ClockStep,
    /// The books do not close.
    LedgerResidual,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::BudgetThreshold,
        Kind::BudgetOverrun,
        Kind::CallOrphaned,
        Kind::BreakerOpen,
        Kind::ProjectionLag,
        Kind::DiskLow,
        Kind::ClockStep,
        Kind::LedgerResidual,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::BudgetThreshold => "budget_threshold",
            Kind::BudgetOverrun => "budget_overrun",
            Kind::CallOrphaned => "call_orphaned",
            Kind::BreakerOpen => "breaker_open",
            Kind::ProjectionLag => "projection_lag",
            Kind::DiskLow => "disk_low",
            Kind::ClockStep => "clock_step",
            Kind::LedgerResidual => "ledger_residual",
        }
    }

    /// Its number in ids of alerts.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl AlertId {
    /// The kind stands in the first 8 bits, the node in 56, what it is about in 64.
    pub fn new(kind: Kind, node: NodeId, subject: u64) -> AlertId {
        const NODE: u64 = (1 << 56) - 1; // a node's id is a position: no history is so long
        AlertId((u128::from(kind.number()) << 120) | (u128::from(node.0 & NODE) << 64) | u128::from(subject))
    }

    /// None: a kind that this build does not know.
    pub fn kind(self) -> Option<Kind> {
        let number = (self.0 >> 120) as u8;
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }

    pub fn node(self) -> NodeId {
        NodeId((self.0 >> 64) as u64 & ((1 << 56) - 1))
    }

    /// The number of what it is about: a provider's id, the letters of a projection's name, or 0.
    pub fn subject(self) -> u64 {
        self.0 as u64
    }
}

/// What a node sees of one thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    pub raised: bool,
    /// The name of what it is about, when it was last raised.
    pub subject: String,
    /// When it was last raised or cleared; zero: never.
    pub changed_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// It is so. What changed just now waits: see [`limits::ALERT_EVERY`].
    Raise { subject: String, detail: String },
    /// It is no longer so.
    Clear,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Raised {
        /// The name of what it is about.
        subject: String,
        /// Why, for people.
        detail: String,
    },
    Cleared,
}

impl Aggregate for Alert {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        // a clock that was set back does not keep it waiting
        let waits = (self.changed_at..self.changed_at.plus(limits::ALERT_EVERY)).contains(&now) && self.changed_at > Timestamp::default();
        Ok(match command {
            Command::Raise { .. } if self.raised || waits => Vec::new(),
            Command::Raise { subject, detail } => vec![Event::Raised { subject, detail }],
            Command::Clear if !self.raised || waits => Vec::new(),
            Command::Clear => vec![Event::Cleared],
        })
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        self.changed_at = at;
        match event {
            Event::Raised { subject, .. } => {
                self.raised = true;
                self.subject.clone_from(subject);
            }
            Event::Cleared => self.raised = false,
        }
    }
}

impl Kept for Alert {
    type Id = AlertId;
    fn stream(id: AlertId) -> StreamId {
        StreamId::Alert(id)
    }
    fn find(state: &State, id: AlertId) -> Option<&Alert> {
        state.books.alerts.get(&id)
    }
    fn event(id: AlertId, event: Event) -> crate::Event {
        crate::Event::Alert(id, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{NOW, given};

    fn raised() -> Event {
        Event::Raised { subject: "openai".into(), detail: "5 failures in a row".into() }
    }

    fn raise() -> Command {
        Command::Raise { subject: "openai".into(), detail: "5 failures in a row".into() }
    }

    #[test]
    fn what_is_seen_is_raised_once() {
        assert!(given::<Alert>([]).when(raise()).then([raised()]).raised);
        given::<Alert>([raised()]).when(raise()).then([]);
        given::<Alert>([]).when(Command::Clear).then([]);
    }

    #[test]
    fn what_flaps_waits() {
        let mut alert = Alert::default();
        alert.apply(&raised(), NOW);
        let (soon, later) = (NOW.plus(limits::ALERT_EVERY / 2), NOW.plus(limits::ALERT_EVERY));
        assert_eq!(alert.decide(Command::Clear, soon), Ok(Vec::new()));
        assert_eq!(alert.decide(Command::Clear, later), Ok(vec![Event::Cleared]));
        alert.apply(&Event::Cleared, later);
        assert_eq!(alert.decide(raise(), later), Ok(Vec::new()));
        assert_eq!(alert.decide(raise(), later.plus(limits::ALERT_EVERY)), Ok(vec![raised()]));
    }

    #[test]
    fn ids_say_what_they_are_about() {
        let id = AlertId::new(Kind::BreakerOpen, NodeId(7), u64::MAX);
        assert_eq!((id.kind(), id.node(), id.subject()), (Some(Kind::BreakerOpen), NodeId(7), u64::MAX));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(Kind::ALL.iter().enumerate().all(|(place, kind)| usize::from(kind.number()) == place));
        assert_eq!(AlertId(u128::MAX).kind(), None);
    }
}
