//! A scope: a place in a tenant's tree (organization, department, team, user), on which budgets and keys hang.

use crate::{Aggregate, Kept, Rates, Refusal, ScopeId, State, StreamId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    pub tenant: TenantId,
    /// None: it hangs on the tenant itself.
    pub parent: Option<ScopeId>,
    pub name: String,
    /// A word of the users' own: team, department, user.
    pub kind: String,
    pub rates: Rates,
    pub made_at: Timestamp,
    pub made: bool,
    pub closed: bool,
}

/// What a scope is told to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub tenant: TenantId,
    pub parent: Option<ScopeId>,
    pub name: String,
    pub kind: String,
    pub rates: Rates,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make it, or bring what exists to these settings. The tenant and the name never change.
    Set(Settings),
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created(Settings),
    Moved { parent: Option<ScopeId> },
    KindSet { kind: String },
    RatesSet { rates: Rates },
    Closed,
}

impl Aggregate for Scope {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.closed => Err(Refusal::Closed),
            Command::Set(settings) if !self.made => Ok(vec![Event::Created(settings)]),
            Command::Set(settings) if settings.tenant != self.tenant => Err(Refusal::Invalid("a scope cannot change its tenant".into())),
            Command::Set(settings) => Ok(self.changes(settings)),
            Command::Close if !self.made => Err(Refusal::Unknown),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created(s) => {
                let Settings { tenant, parent, name, kind, rates } = s.clone();
                *self = Scope { tenant, parent, name, kind, rates, made_at: at, made: true, closed: false };
            }
            Event::Moved { parent } => self.parent = *parent,
            Event::KindSet { kind } => self.kind.clone_from(kind),
            Event::RatesSet { rates } => self.rates = *rates,
            Event::Closed => self.closed = true,
        }
    }
}

impl Scope {
    fn changes(&self, settings: Settings) -> Vec<Event> {
        let mut events = Vec::new();
        if settings.parent != self.parent {
            events.push(Event::Moved { parent: settings.parent });
        }
        if settings.kind != self.kind {
            events.push(Event::KindSet { kind: settings.kind });
        }
        if settings.rates != self.rates {
            events.push(Event::RatesSet { rates: settings.rates });
        }
        events
    }
}

impl Kept for Scope {
    type Id = ScopeId;
    fn stream(id: ScopeId) -> StreamId {
        StreamId::Scope(id)
    }
    fn find(state: &State, id: ScopeId) -> Option<&Scope> {
        state.books.scopes.get(&id)
    }
    fn event(id: ScopeId, event: Event) -> crate::Event {
        crate::Event::Scope(id, event)
    }
}

#[cfg(test)]
mod tests;
