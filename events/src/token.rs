//! An administrator's token: who may ask and change what. Its secret is kept only as a keyed hash.

use crate::{
    Aggregate, Kept, Refusal, State, StreamId, TenantId, Timestamp, TokenId,
    key::{KeyHash, Secret},
    limits,
};
use serde::{Deserialize, Serialize};

/// What a token may do. Variants are only ever added, at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Everything, tokens too.
    Owner,
    /// Configuration, and all that follows.
    Admin,
    /// Reads all; blocks and unblocks keys, rebuilds projections.
    Operator,
    /// Reads all.
    #[default]
    Auditor,
    /// Reads usage, budgets and the proof of the books.
    Billing,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::Owner, Role::Admin, Role::Operator, Role::Auditor, Role::Billing];

    /// The word of JSON and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
            Role::Billing => "billing",
        }
    }

    /// Whether it may do what needs this.
    pub fn may(self, need: Need) -> bool {
        match need {
            Need::Bill => true,
            Need::Read => self != Role::Billing,
            Need::ReadBodies => matches!(self, Role::Owner | Role::Admin | Role::Auditor),
            Need::Operate => self <= Role::Operator,
            Need::Configure => self <= Role::Admin,
            Need::Own => self == Role::Owner,
        }
    }
}

/// What is hashed of a token's secret: a virtual key of the same letters is none.
pub fn hashed_as(secret: &str) -> String {
    format!("token {secret}")
}

/// What something asks of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Reads usage, budgets and the proof of the books.
    Bill,
    Read,
    /// Is shown what callers wrote and what they were answered.
    ReadBodies,
    Operate,
    Configure,
    /// Makes and revokes tokens.
    Own,
}

impl Need {
    /// It would change something.
    pub fn is_change(self) -> bool {
        self >= Need::Operate
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    pub role: Role,
    /// None: of the platform, for all tenants.
    pub tenant: Option<TenantId>,
    /// It lets nobody in from then on.
    pub expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub settings: Settings,
    pub hash: KeyHash,
    /// The last characters of the secret, to tell tokens apart.
    pub hint: String,
    pub made_at: Timestamp,
    pub made: bool,
    pub revoked: bool,
    /// When it was last refused a change.
    pub denied_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Create {
        settings: Settings,
        secret: Secret,
    },
    Revoke,
    /// It asked for a change that it may not make: recorded, but not more often than [`limits::DENIED_EVERY`].
    Deny {
        what: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Created { settings: Settings, secret: Secret },
    Revoked,
    Denied { what: String },
}

impl Aggregate for Token {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Create { .. } if self.made => Err(Refusal::Exists),
            Command::Create { settings, secret } => Ok(vec![Event::Created { settings, secret }]),
            _ if !self.made => Err(Refusal::Unknown),
            Command::Revoke if self.revoked => Ok(Vec::new()),
            Command::Revoke => Ok(vec![Event::Revoked]),
            Command::Deny { .. } if self.denied_at.is_some_and(|at| now < at.plus(limits::DENIED_EVERY)) => Ok(Vec::new()),
            Command::Deny { what } => Ok(vec![Event::Denied { what }]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Created { settings, secret } => {
                let Secret { hash, hint } = secret.clone();
                *self = Token { settings: settings.clone(), hash, hint, made_at: at, made: true, revoked: false, denied_at: None };
            }
            Event::Revoked => self.revoked = true,
            Event::Denied { .. } => self.denied_at = Some(at),
        }
    }
}

impl Token {
    /// It lets in.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.made && !self.revoked && self.settings.expires_at.is_none_or(|end| now < end)
    }
}

impl Kept for Token {
    type Id = TokenId;
    fn stream(id: TokenId) -> StreamId {
        StreamId::Token(id)
    }
    fn find(state: &State, id: TokenId) -> Option<&Token> {
        state.books.tokens.get(&id)
    }
    fn event(id: TokenId, event: Event) -> crate::Event {
        crate::Event::Token(id, event)
    }
}

#[cfg(test)]
mod tests;
