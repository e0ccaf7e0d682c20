//! A call: one exchange with a model, from admission to its one record in force. Money in two phases (LEDGER §3–5).

mod stored;

use crate::{Amount, Boot, BudgetId, Figures, KeyId, Money, NodeId, ProviderId, TenantId, Timestamp, Usage, UserId, price::Price};
use serde::{Deserialize, Serialize};

/// An idempotency key and the digest of the body that came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Claim {
    pub key: [u8; 16],
    pub body: [u8; 16],
}

/// Committed before the first byte goes to a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    pub node: NodeId,
    pub boot: Boot,
    pub key: KeyId,
    /// The policy position that the decision was made at.
    pub policy: u64,
    /// The most that the first attempt can come to.
    pub ceiling: Figures,
    /// Every budget that covers the call, nearest first.
    pub budgets: Vec<BudgetId>,
    pub claim: Option<Claim>,
    /// The model's name as the caller gave it.
    pub model: String,
    /// `dialects::Endpoint::as_str`.
    pub endpoint: String,
    pub stream: bool,
    /// `key=value`.
    pub tags: Vec<String>,
    /// Stored beside the rest, where there is any of it.
    #[serde(skip)]
    pub caller: Caller,
}

/// What a caller says of itself and of its request: by it a call is found again, nothing is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// For whom it is made.
    pub user: Option<UserId>,
    /// The caller's own name of the request, at most [`crate::limits::CALLER_ID_BYTES_MAX`].
    pub request_id: Option<String>,
    /// Of W3C `traceparent`.
    pub trace_id: Option<u128>,
}

/// What a further attempt holds more, in each budget's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extended {
    /// Counts attempts from 1.
    pub attempt: u32,
    pub adds: Vec<(BudgetId, Amount)>,
    /// What the call's ceiling grows by.
    pub ceiling: Figures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Ok,
    Failed,
    Aborted,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::Aborted => "aborted",
        }
    }
}

/// How one attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// The answer came whole.
    Ok,
    /// An error status; it cost nothing.
    Status(u16),
    /// Surely nothing was sent; it cost nothing.
    NotSent,
    /// It broke off after something was sent, and may have cost up to the ceiling.
    Broken,
    /// A deadline passed after something was sent.
    TimedOut,
    /// The caller left, and the attempt was cut.
    Cancelled,
    /// It was metered past its ceiling and cut.
    Cut,
}

impl AttemptEnd {
    /// The word of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptEnd::Ok => "ok",
            AttemptEnd::Status(_) => "status",
            AttemptEnd::NotSent => "not_sent",
            AttemptEnd::Broken => "broken",
            AttemptEnd::TimedOut => "timed_out",
            AttemptEnd::Cancelled => "cancelled",
            AttemptEnd::Cut => "cut",
        }
    }

    /// The error status that it ended in.
    pub fn status(self) -> Option<u16> {
        match self {
            AttemptEnd::Status(status) => Some(status),
            _ => None,
        }
    }
}

/// One try of a call at one upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub provider: ProviderId,
    /// The provider's name of the model.
    pub model: String,
    pub end: AttemptEnd,
    /// What it cost or may have cost.
    pub cost: Money,
    pub tokens: u64,
    /// From the start of the attempt to the first byte of its answer, in milliseconds.
    pub first_byte_ms: u32,
    /// From the start of the attempt to its end, in milliseconds.
    pub total_ms: u32,
    /// The provider's own id of the exchange.
    pub upstream_id: Option<String>,
}

/// What the decision was made from, so that it can be explained and made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// In order: provider and its name of the model.
    pub candidates: Vec<(ProviderId, String)>,
    /// The price of the attempt that was used.
    pub price: Option<Price>,
    /// How the ceiling was bounded.
    pub bound: Bound,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// Input by bytes.
    #[default]
    Bytes,
    /// Input counted by the tokenizer.
    Tokens,
    /// Bytes bound nothing: the model's context window.
    Context,
}

/// The record of a call that went to a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    pub key: KeyId,
    /// The model's name as the caller gave it.
    pub model: String,
    pub outcome: Outcome,
    pub attempts: Vec<Attempt>,
    /// Of the attempt that was used.
    pub usage: Usage,
    /// What every attempt cost or may have cost; `requests` is 1.
    pub used: Figures,
    /// What a filtered budget counts, where that is not `used`: only attempts that it covers.
    pub apart: Vec<(BudgetId, Figures)>,
    /// What the tenant owes: the used attempt.
    pub charge: Money,
    /// Used above held, in money.
    pub overrun: Money,
    /// Held less charged, where the provider's usage never came and our own meter decided.
    pub uncertain: Money,
    pub estimated: bool,
    /// From the call's start to its record, in milliseconds.
    pub total_ms: u32,
    pub decision: Decision,
}

/// Why a call was surely never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unsent {
    /// Its caller left, or its deadline passed, before it was sent.
    CallerGone,
    /// No candidate could be reached.
    Unreachable,
    /// The node is stopping.
    Stopping,
}

/// The record of a call whose node's session ended: charged at its ceiling until a late fact replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orphaned {
    pub node: NodeId,
    pub boot: Boot,
    pub key: KeyId,
    /// The model's name as the caller gave it.
    pub model: String,
    /// What is charged.
    pub charged: Figures,
}

/// A correction, afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// When the call was admitted: it belongs to the windows of then.
    pub admitted_at: Timestamp,
    pub tenant: TenantId,
    pub key: KeyId,
    /// By budget, in its unit; upwards it counts as overrun.
    pub deltas: Vec<(BudgetId, Amount)>,
    /// In money.
    pub delta: Money,
    pub reason: String,
}

/// Which half of an exchange a loss stood in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Half {
    Request,
    Answer,
}

impl Half {
    pub fn as_str(self) -> &'static str {
        match self {
            Half::Request => "request",
            Half::Answer => "answer",
        }
    }
}

/// Something that one dialect says and the other cannot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub half: Half,
    /// `dialects::LossKind::as_str`.
    pub kind: String,
    /// Where it stood, as `tools[0].strict`.
    pub path: String,
}

/// What a call lost between its caller's dialect and its provider's: a part of its record, right before it, in the same transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Translated {
    pub key: KeyId,
    pub provider: ProviderId,
    /// At most [`crate::limits::LOSSES_RECORDED_MAX`].
    pub losses: Vec<Loss>,
}

/// How each is stored, in all its versions: `call/stored.rs`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "stored::Read")]
pub enum Event {
    Admitted(Box<Admitted>),
    Extended(Extended),
    Finished(Box<Finished>),
    Released { key: KeyId, reason: Unsent },
    Orphaned(Orphaned),
    Adjusted(Box<Adjusted>),
    Translated(Box<Translated>),
}

/// An open call: what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub node: NodeId,
    pub boot: Boot,
    pub tenant: TenantId,
    pub key: KeyId,
    /// When it was admitted; it belongs to the windows of then.
    pub at: Timestamp,
    pub ceiling: Figures,
    pub hold: Vec<(BudgetId, Amount)>,
    pub claim: Option<Claim>,
    /// Events in its stream so far.
    pub version: u64,
    /// The name of the model, for records of it that come without one.
    pub model: String,
}

/// An orphan: what it was charged, until a late fact replaces that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Orphan {
    pub open: Open,
    pub orphaned_at: Timestamp,
}

/// Counts of one key since it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    pub open: u64,
    pub finished: u64,
    pub orphaned: u64,
    pub released: u64,
    pub usage: Usage,
    pub cost: Money,
    pub uncertain: Money,
}
