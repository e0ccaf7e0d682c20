//! A tenant: a customer of the installation. Nothing of one is ever seen by another.

use crate::{Aggregate, CallId, Kept, Rates, Refusal, State, StreamId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    pub name: String,
    pub rates: Rates,
    pub made_at: Timestamp,
    pub made: bool,
    pub closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make it, or bring what exists to these settings.
    Set {
        name: String,
        rates: Rates,
    },
    Close,
    /// The bodies that were kept of its calls are erased: the note with its data key goes with this.
    EraseBodies,
    /// Somebody was shown the bodies of a call.
    ReadBodies {
        call: CallId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created {
        name: String,
        rates: Rates,
    },
    RatesSet {
        rates: Rates,
    },
    Closed,
    /// It has a key for what is kept apart from the history; a note holds it, sealed.
    DataKeyMade {
        digest: [u8; 32],
    },
    /// The key was destroyed, and with it what it opened.
    BodiesErased,
    BodiesRead {
        call: CallId,
    },
}

impl Event {
    /// Calls go on as before: it says nothing of how they are treated.
    pub fn is_aside(&self) -> bool {
        matches!(self, Event::DataKeyMade { .. } | Event::BodiesErased | Event::BodiesRead { .. })
    }
}

impl Aggregate for Tenant {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.closed => Err(Refusal::Closed),
            Command::Set { name, rates } if !self.made => Ok(vec![Event::Created { name, rates }]),
            Command::Set { rates, .. } if rates != self.rates => Ok(vec![Event::RatesSet { rates }]),
            Command::Set { .. } => Ok(Vec::new()),
            _ if !self.made => Err(Refusal::Unknown),
            Command::EraseBodies => Ok(vec![Event::BodiesErased]),
            Command::ReadBodies { call } => Ok(vec![Event::BodiesRead { call }]),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created { name, rates } => *self = Tenant { name: name.clone(), rates: *rates, made_at: at, made: true, closed: false },
            Event::RatesSet { rates } => self.rates = *rates,
            Event::Closed => self.closed = true,
            Event::DataKeyMade { .. } | Event::BodiesErased | Event::BodiesRead { .. } => {}
        }
    }
}

impl Kept for Tenant {
    type Id = TenantId;
    fn stream(id: TenantId) -> StreamId {
        StreamId::Tenant(id)
    }
    fn find(state: &State, id: TenantId) -> Option<&Tenant> {
        state.books.tenants.get(&id)
    }
    fn event(id: TenantId, event: Event) -> crate::Event {
        crate::Event::Tenant(id, event)
    }
}

#[cfg(test)]
mod tests;
