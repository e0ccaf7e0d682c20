//! Typed ids. Strangers see them with a prefix; inside they are numbers.
//!
//! What is configured is numbered in the order of its making (the number comes in with the command); a call's id is random,
//! ordered by time, and made on the node that carries it.

use crate::Owner;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An id that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadId(pub String);

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id: {}", self.0)
    }
}

impl std::error::Error for BadId {}

macro_rules! numbered {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let number = text.strip_prefix(concat!($prefix, "_")).and_then(|digits| digits.parse().ok());
                number.map($name).ok_or_else(|| BadId(text.into()))
            }
        }
    )*};
}

numbered! {
    /// A customer of the installation; everything but providers and platform budgets belongs to one.
    TenantId "ten";
    /// A node in a tenant's tree: department, team, user.
    ScopeId "scope";
    /// A virtual key.
    KeyId "key";
    /// A provider entry: one base URL with one secret.
    ProviderId "prov";
    /// A model name that callers may use.
    ModelId "model";
    /// A limit over windows of time.
    BudgetId "bud";
    /// An administrator's token.
    TokenId "tok";
    /// A member of the cluster: the position of its join event, never used again.
    NodeId "node";
    /// Where alerts are sent.
    WebhookId "hook";
}

/// The one catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogueId;

impl fmt::Display for CatalogueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("catalogue")
    }
}

/// One exchange with a model, from admission to record: 48 bits of milliseconds, 80 bits of chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId(pub u128);

const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl CallId {
    /// Joins a clock's milliseconds and 80 random bits.
    pub fn new(at_ms: u64, chance: u128) -> CallId {
        CallId((u128::from(at_ms) << 80) | (chance & ((1 << 80) - 1)))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 31];
        text[..5].copy_from_slice(b"call_");
        for (place, letter) in text[5..].iter_mut().enumerate() {
            *letter = BASE32[(self.0 >> (125 - 5 * place)) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for CallId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.into());
        let letters = text.strip_prefix("call_").filter(|letters| letters.len() == 26).ok_or_else(bad)?;
        let mut number = 0u128;
        for letter in letters.bytes() {
            let digit = BASE32.iter().position(|known| *known == letter).ok_or_else(bad)?;
            if number >> 123 != 0 {
                return Err(bad());
            }
            number = (number << 5) | digit as u128;
        }
        Ok(CallId(number))
    }
}

macro_rules! hexadecimal {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{:032x}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
                let digits = text.strip_prefix(concat!($prefix, "_")).filter(|digits| digits.len() == 32 && digits.bytes().all(is_digit));
                digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).map($name).ok_or_else(|| BadId(text.into()))
            }
        }
    )*};
}

hexadecimal! {
    /// For whom a caller makes a call, as a pseudonym: a keyed hash of the tenant and the name that the caller gave.
    UserId "user";
    /// What one node sees of one thing: see [`crate::alert`].
    AlertId "alert";
}

/// A random number that tells one session of a node from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Boot(pub u64);

/// A note's name: replicated values outside the history, such as sealed secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NoteId {
    /// A provider's sealed secret.
    ProviderSecret(ProviderId),
    /// The name of the cluster, chosen at its founding.
    Cluster,
    /// What an administrator's request under an idempotency key was answered; by a digest of its token and its key.
    Answer([u8; 16]),
    /// A tenant's key for what is kept apart from the history, sealed.
    TenantDataKey(TenantId),
    /// A webhook's sealed secret.
    WebhookSecret(WebhookId),
    /// How far a webhook's alerts were delivered: the position behind the last.
    WebhookPosition(WebhookId),
}

/// The stream of events that an aggregate is folded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamId {
    Tenant(TenantId),
    Scope(ScopeId),
    Key(KeyId),
    Provider(ProviderId),
    Model(ModelId),
    Budget(BudgetId),
    Node(NodeId),
    Call(CallId),
    /// The price book of the shipped catalogue.
    Catalogue,
    /// What an owner says about calls below it.
    Policy(Owner),
    Token(TokenId),
    Webhook(WebhookId),
    Alert(AlertId),
}

impl StreamId {
    /// Kind and number, as the envelope stores them.
    pub fn to_parts(self) -> (u8, u128) {
        match self {
            StreamId::Tenant(id) => (1, id.0.into()),
            StreamId::Scope(id) => (2, id.0.into()),
            StreamId::Key(id) => (3, id.0.into()),
            StreamId::Provider(id) => (4, id.0.into()),
            StreamId::Model(id) => (5, id.0.into()),
            StreamId::Budget(id) => (6, id.0.into()),
            StreamId::Node(id) => (7, id.0.into()),
            StreamId::Call(id) => (8, id.0),
            StreamId::Catalogue => (9, 0),
            StreamId::Policy(owner) => {
                let (kind, id) = owner.to_parts();
                (10, (u128::from(kind) << 64) | u128::from(id))
            }
            StreamId::Token(id) => (11, id.0.into()),
            StreamId::Webhook(id) => (12, id.0.into()),
            StreamId::Alert(id) => (13, id.0),
        }
    }

    /// The opposite of [`StreamId::to_parts`].
    pub fn from_parts(kind: u8, number: u128) -> Option<StreamId> {
        let small = u64::try_from(number);
        Some(match kind {
            1 => StreamId::Tenant(TenantId(small.ok()?)),
            2 => StreamId::Scope(ScopeId(small.ok()?)),
            3 => StreamId::Key(KeyId(small.ok()?)),
            4 => StreamId::Provider(ProviderId(small.ok()?)),
            5 => StreamId::Model(ModelId(small.ok()?)),
            6 => StreamId::Budget(BudgetId(small.ok()?)),
            7 => StreamId::Node(NodeId(small.ok()?)),
            8 => StreamId::Call(CallId(number)),
            9 if number == 0 => StreamId::Catalogue,
            10 => StreamId::Policy(Owner::from_parts(u8::try_from(number >> 64).ok()?, number as u64)?),
            11 => StreamId::Token(TokenId(small.ok()?)),
            12 => StreamId::Webhook(WebhookId(small.ok()?)),
            13 => StreamId::Alert(AlertId(number)),
            _ => return None,
        })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamId::Tenant(id) => id.fmt(f),
            StreamId::Scope(id) => id.fmt(f),
            StreamId::Key(id) => id.fmt(f),
            StreamId::Provider(id) => id.fmt(f),
            StreamId::Model(id) => id.fmt(f),
            StreamId::Budget(id) => id.fmt(f),
            StreamId::Node(id) => id.fmt(f),
            StreamId::Call(id) => id.fmt(f),
            StreamId::Catalogue => f.write_str("catalogue"),
            StreamId::Policy(owner) => write!(f, "policy_{owner}"),
            StreamId::Token(id) => id.fmt(f),
            StreamId::Webhook(id) => id.fmt(f),
            StreamId::Alert(id) => id.fmt(f),
        }
    }
}

/// A place in the history: shard and number of the event. Opaque text outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    pub shard: u16,
    /// Counts events from 0; equal to the leaf's number in the hash tree.
    pub n: u64,
}

impl Position {
    /// A position of the one shard there is.
    pub fn new(n: u64) -> Position {
        Position { shard: 0, n }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.n)
    }
}

impl FromStr for Position {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId(text.into());
        let (shard, n) = text.split_once(':').unwrap_or(("0", text));
        Ok(Position { shard: shard.parse().map_err(|_| bad())?, n: n.parse().map_err(|_| bad())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back() {
        let call = CallId::new(1_763_000_000_000, 0x1234_5678_9abc_def0_1234);
        assert_eq!(call.to_string().parse(), Ok(call));
        assert_eq!(CallId(u128::MAX).to_string().parse(), Ok(CallId(u128::MAX)));
        assert_eq!("bud_7".parse(), Ok(BudgetId(7)));
        assert!("key_7".parse::<BudgetId>().is_err());
        assert_eq!("0:17".parse(), Ok(Position::new(17)));
        for stream in [StreamId::Key(KeyId(3)), StreamId::Call(call), StreamId::Catalogue, StreamId::Policy(Owner::Key(KeyId(u64::MAX)))] {
            let (kind, number) = stream.to_parts();
            assert_eq!(StreamId::from_parts(kind, number), Some(stream));
        }
    }
}
