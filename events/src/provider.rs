//! A provider: one base URL with one secret. Its secret is a note, sealed; the event carries the note's digest.

use crate::{Aggregate, Kept, ProviderId, Refusal, State, StreamId, TenantId, Timestamp, price::Price};
use serde::{Deserialize, Serialize};

/// How long each step may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub silence_ms: u64,
    pub total_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect_ms: 10_000, first_byte_ms: 120_000, silence_ms: 120_000, total_ms: 600_000 }
    }
}

/// What becomes of the upstream's answer when the caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnClientGone {
    Cancel,
    Drain,
}

/// What a provider is told to be, but for its secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    /// Set by a tenant for itself; None: by the operator for all.
    pub tenant: Option<TenantId>,
    /// `openai` or `anthropic`.
    pub dialect: String,
    pub base_url: String,
    /// Sent with each request; `{call_id}` is filled in.
    pub headers: Vec<(String, String)>,
    pub timeouts: Timeouts,
    /// For models without a price of their own.
    pub price: Option<Price>,
    /// Calls at once, a node.
    pub max_parallel: Option<u64>,
    /// None: cancel streams, drain the rest.
    pub on_client_gone: Option<OnClientGone>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    pub settings: Settings,
    /// Digest of the sealed note; None: it needs no secret.
    pub secret: Option<[u8; 32]>,
    pub made_at: Timestamp,
    pub made: bool,
    pub closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make it, or bring what exists to these settings. `secret`: digest of the note that goes with the command; None keeps what is.
    Set {
        settings: Settings,
        secret: Option<[u8; 32]>,
    },
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created(Settings),
    Changed(Settings),
    SecretSet { digest: [u8; 32] },
    Closed,
}

impl Aggregate for Provider {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.closed => Err(Refusal::Closed),
            Command::Set { settings, secret } => {
                let mut events = Vec::new();
                if !self.made {
                    events.push(Event::Created(settings));
                } else if settings != self.settings {
                    events.push(Event::Changed(settings));
                }
                if let Some(digest) = secret.filter(|digest| Some(*digest) != self.secret) {
                    events.push(Event::SecretSet { digest });
                }
                Ok(events)
            }
            Command::Close if !self.made => Err(Refusal::Unknown),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created(settings) => {
                *self = Provider { settings: settings.clone(), secret: None, made_at: at, made: true, closed: false }
            }
            Event::Changed(settings) => self.settings = settings.clone(),
            Event::SecretSet { digest } => self.secret = Some(*digest),
            Event::Closed => self.closed = true,
        }
    }
}

impl Kept for Provider {
    type Id = ProviderId;
    fn stream(id: ProviderId) -> StreamId {
        StreamId::Provider(id)
    }
    fn find(state: &State, id: ProviderId) -> Option<&Provider> {
        state.books.providers.get(&id)
    }
    fn event(id: ProviderId, event: Event) -> crate::Event {
        crate::Event::Provider(id, event)
    }
}

#[cfg(test)]
mod tests;
