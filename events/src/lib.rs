//! What may happen and what it means. Pure: no clock, no file, no chance, no runtime.
//!
//! One file a noun. A noun that somebody administers is an [`Aggregate`]: it decides a command into events and folds events into
//! itself. Calls have no keeper: the Scribe writes their events and the guards of [`state::State`] decide.

pub mod alert;
pub mod budget;
pub mod call;
pub mod catalogue;
pub mod cloudevent;
pub mod codec;
pub mod envelope;
pub mod event;
#[cfg(test)]
mod given;
pub mod ids;
pub mod key;
pub mod limits;
pub mod model;
pub mod money;
pub mod node;
pub mod policy;
pub mod price;
pub mod provider;
pub mod scope;
pub mod state;
pub mod table;
pub mod tenant;
pub mod time;
pub mod token;
pub mod transaction;
pub mod usage;
pub mod webhook;

pub use event::Event;
pub use ids::*;
pub use money::{Amount, Figures, Money, Unit};
pub use state::State;
pub use time::{Every, Timestamp};
pub use usage::Usage;

use serde::{Deserialize, Serialize};

/// Something with a life of its own: commands are decided on it, events are folded into it.
pub trait Aggregate: Default {
    /// What somebody wants, imperative.
    type Command;
    /// What happened, past tense.
    type Event;
    /// A business answer: why not.
    type Refusal;
    /// What is still to be done outside.
    type Effect;

    /// Pure: what would happen. Empty if it is so already.
    fn decide(&self, command: Self::Command, now: Timestamp) -> Result<Vec<Self::Event>, Self::Refusal>;
    /// Total: a fact cannot be refused.
    fn apply(&mut self, event: &Self::Event, at: Timestamp);
    /// What the books say that is still to be done.
    fn owed(&self, _state: &State) -> Vec<Self::Effect> {
        Vec::new()
    }
}

/// An aggregate that a keeper can hold: how it is found and named.
pub trait Kept: Aggregate + Clone + Send + 'static {
    type Id: Copy + Ord + std::hash::Hash + std::fmt::Display + Send + Sync + 'static;
    /// Its stream.
    fn stream(id: Self::Id) -> StreamId;
    /// Where it lies in the books.
    fn find(state: &State, id: Self::Id) -> Option<&Self>;
    /// Its event among all events.
    fn event(id: Self::Id, event: Self::Event) -> Event;
}

/// Why a command was not taken; the same few answers for every noun that is administered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is there already.
    Exists,
    /// It is not there, or no more.
    Unknown,
    /// It was closed or revoked, which is final.
    Closed,
    /// What is asked cannot be.
    Invalid(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Exists => f.write_str("it exists already"),
            Refusal::Unknown => f.write_str("it does not exist"),
            Refusal::Closed => f.write_str("it is closed"),
            Refusal::Invalid(why) => f.write_str(why),
        }
    }
}

/// Limits on the pace of calls; None is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute, in and out.
    pub tpm: Option<u64>,
    /// Calls at once.
    pub parallel: Option<u64>,
}

/// Whom a budget or a rate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    Platform,
    Tenant(TenantId),
    Scope(ScopeId),
    Key(KeyId),
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Platform => f.write_str("platform"),
            Owner::Tenant(id) => id.fmt(f),
            Owner::Scope(id) => id.fmt(f),
            Owner::Key(id) => id.fmt(f),
        }
    }
}

impl Owner {
    /// Kind and number, as keys of rows and streams hold them.
    pub fn to_parts(self) -> (u8, u64) {
        match self {
            Owner::Platform => (0, 0),
            Owner::Tenant(id) => (1, id.0),
            Owner::Scope(id) => (2, id.0),
            Owner::Key(id) => (3, id.0),
        }
    }

    /// The opposite of [`Owner::to_parts`].
    pub fn from_parts(kind: u8, number: u64) -> Option<Owner> {
        match (kind, number) {
            (0, 0) => Some(Owner::Platform),
            (1, id) => Some(Owner::Tenant(TenantId(id))),
            (2, id) => Some(Owner::Scope(ScopeId(id))),
            (3, id) => Some(Owner::Key(KeyId(id))),
            _ => None,
        }
    }

    /// The word for its level in JSON and messages.
    pub fn level(self) -> &'static str {
        match self {
            Owner::Platform => "platform",
            Owner::Tenant(_) => "tenant",
            Owner::Scope(_) => "scope",
            Owner::Key(_) => "key",
        }
    }
}
