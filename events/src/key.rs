//! A virtual key: what an application shows to be let in. Its secret is kept only as a keyed hash.

use crate::{Aggregate, Kept, KeyId, Rates, Refusal, ScopeId, State, StreamId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// HMAC-SHA256 of a secret under a key derived from the cluster's master key.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub tenant: TenantId,
    /// None: it hangs on the tenant itself.
    pub scope: Option<ScopeId>,
    pub name: String,
    pub hash: KeyHash,
    /// The last characters of the secret, to tell keys apart.
    pub hint: String,
    /// Models that it may use, with wildcards; None: all.
    pub models: Option<Vec<String>>,
    pub rates: Rates,
    pub made_at: Timestamp,
    pub made: bool,
    pub blocked: bool,
    pub revoked: bool,
}

/// What a key is told to be, but for its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub tenant: TenantId,
    pub scope: Option<ScopeId>,
    pub name: String,
    pub models: Option<Vec<String>>,
    pub rates: Rates,
}

/// A secret's traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    pub hash: KeyHash,
    pub hint: String,
}

/// The secret before the one that a key has: it lets in beside it for a while. It stands apart from the key, whose stored form is older.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    pub previous: Secret,
    /// It lets nobody in from then on.
    pub until: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make it, or bring what exists to these settings. Making needs a secret; later a secret replaces the one before.
    Set {
        settings: Settings,
        secret: Option<Secret>,
    },
    Block,
    Unblock,
    Revoke,
    /// Give it this secret; the one before lets in until then, or not at all.
    Rotate {
        secret: Secret,
        until: Option<Timestamp>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created {
        settings: Settings,
        secret: Secret,
    },
    Moved {
        scope: Option<ScopeId>,
    },
    ModelsSet {
        models: Option<Vec<String>>,
    },
    RatesSet {
        rates: Rates,
    },
    SecretSet {
        secret: Secret,
    },
    Blocked,
    Unblocked,
    Revoked,
    /// The secret before this one lets in until then.
    Rotated {
        secret: Secret,
        until: Timestamp,
    },
}

impl Aggregate for Key {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.revoked => Err(Refusal::Closed),
            Command::Set { settings, secret } if !self.made => {
                let secret = secret.ok_or_else(|| Refusal::Invalid("a new key needs a secret".into()))?;
                Ok(vec![Event::Created { settings, secret }])
            }
            Command::Set { settings, .. } if settings.tenant != self.tenant => {
                Err(Refusal::Invalid("a key cannot change its tenant".into()))
            }
            Command::Set { settings, secret } => Ok(self.changes(settings, secret)),
            _ if !self.made => Err(Refusal::Unknown),
            Command::Block if self.blocked => Ok(Vec::new()),
            Command::Block => Ok(vec![Event::Blocked]),
            Command::Unblock if !self.blocked => Ok(Vec::new()),
            Command::Unblock => Ok(vec![Event::Unblocked]),
            Command::Revoke => Ok(vec![Event::Revoked]),
            Command::Rotate { secret, .. } if secret.hash == self.hash => Ok(Vec::new()),
            Command::Rotate { secret, until: None } => Ok(vec![Event::SecretSet { secret }]),
            Command::Rotate { secret, until: Some(until) } => Ok(vec![Event::Rotated { secret, until }]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created { settings, secret } => {
                let Settings { tenant, scope, name, models, rates } = settings.clone();
                let Secret { hash, hint } = secret.clone();
                *self = Key { tenant, scope, name, hash, hint, models, rates, made_at: at, made: true, blocked: false, revoked: false };
            }
            Event::Moved { scope } => self.scope = *scope,
            Event::ModelsSet { models } => self.models.clone_from(models),
            Event::RatesSet { rates } => self.rates = *rates,
            Event::SecretSet { secret } | Event::Rotated { secret, .. } => {
                self.hash = secret.hash;
                self.hint.clone_from(&secret.hint);
            }
            Event::Blocked => self.blocked = true,
            Event::Unblocked => self.blocked = false,
            Event::Revoked => self.revoked = true,
        }
    }
}

impl Key {
    /// It lets calls in.
    pub fn is_live(&self) -> bool {
        self.made && !self.blocked && !self.revoked
    }

    fn changes(&self, settings: Settings, secret: Option<Secret>) -> Vec<Event> {
        let mut events = Vec::new();
        if settings.scope != self.scope {
            events.push(Event::Moved { scope: settings.scope });
        }
        if settings.models != self.models {
            events.push(Event::ModelsSet { models: settings.models });
        }
        if settings.rates != self.rates {
            events.push(Event::RatesSet { rates: settings.rates });
        }
        if let Some(secret) = secret.filter(|secret| secret.hash != self.hash) {
            events.push(Event::SecretSet { secret });
        }
        events
    }
}

impl Kept for Key {
    type Id = KeyId;
    fn stream(id: KeyId) -> StreamId {
        StreamId::Key(id)
    }
    fn find(state: &State, id: KeyId) -> Option<&Key> {
        state.books.keys.get(&id)
    }
    fn event(id: KeyId, event: Event) -> crate::Event {
        crate::Event::Key(id, event)
    }
}

#[cfg(test)]
mod tests;
