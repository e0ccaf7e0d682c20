//! What is kept of a call.

use crate::World;
use events::{
    KeyId, Money, ProviderId, ScopeId, TenantId, Timestamp, Usage,
    call::{Admitted, Attempt, Caller, Finished, Outcome},
    envelope::Recorded,
};
use serde::{Deserialize, Serialize};

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    Open,
    Ok,
    Failed,
    Aborted,
    /// Surely never sent.
    Released,
    /// Its node was lost: charged at its ceiling, until a late record takes its place.
    Orphaned,
}

impl Status {
    pub const ALL: [Status; 6] = [Status::Open, Status::Ok, Status::Failed, Status::Aborted, Status::Released, Status::Orphaned];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Aborted => "aborted",
            Status::Released => "released",
            Status::Orphaned => "orphaned",
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub status: Status,
    pub at: Timestamp,
    /// Of the last attempt.
    pub provider: Option<ProviderId>,
    /// The provider's name of the model.
    pub upstream_model: Option<String>,
    /// The provider's own id of the exchange.
    pub upstream_id: Option<String>,
    pub attempts: u32,
    pub first_byte_ms: u32,
    pub total_ms: u32,
    pub usage: Usage,
    pub charge: Money,
    pub overrun: Money,
    pub uncertain: Money,
    pub estimated: bool,
}

impl End {
    pub(crate) fn bare(status: Status, at: Timestamp) -> End {
        End {
            status,
            at,
            provider: None,
            upstream_model: None,
            upstream_id: None,
            attempts: 0,
            first_byte_ms: 0,
            total_ms: 0,
            usage: Usage::default(),
            charge: Money::ZERO,
            overrun: Money::ZERO,
            uncertain: Money::ZERO,
            estimated: false,
        }
    }

    pub(crate) fn of(finished: &Finished, at: Timestamp) -> End {
        let status = match finished.outcome {
            Outcome::Ok => Status::Ok,
            Outcome::Failed => Status::Failed,
            Outcome::Aborted => Status::Aborted,
        };
        let last: Option<&Attempt> = finished.attempts.last();
        End {
            provider: last.map(|attempt| attempt.provider),
            upstream_model: last.map(|attempt| attempt.model.clone()),
            upstream_id: last.and_then(|attempt| attempt.upstream_id.clone()),
            attempts: finished.attempts.len() as u32,
            first_byte_ms: last.map_or(0, |attempt| attempt.first_byte_ms),
            total_ms: finished.total_ms,
            usage: finished.usage,
            charge: finished.charge,
            overrun: finished.overrun,
            uncertain: finished.uncertain,
            estimated: finished.estimated,
            ..End::bare(status, at)
        }
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// When it was admitted.
    pub at: Timestamp,
    pub tenant: TenantId,
    pub scope: Option<ScopeId>,
    pub key: KeyId,
    /// As the caller named it.
    pub model: String,
    pub endpoint: String,
    pub stream: bool,
    pub tags: Vec<String>,
    pub caller: Caller,
    /// The most that it could come to.
    pub ceiling: Money,
    /// What it cost or may have cost; corrections are in it.
    pub cost: Money,
    /// Things that its two dialects do not share.
    pub losses: u32,
    /// Where its events stand in the history.
    pub events: Vec<u64>,
    pub end: Option<End>,
}

impl Call {
    pub(crate) fn new(admitted: &Admitted, record: &Recorded, world: &World) -> Call {
        Call {
            at: record.envelope.at,
            tenant: world.tenant_of(admitted.key),
            scope: world.scope_of(admitted.key),
            key: admitted.key,
            model: admitted.model.clone(),
            endpoint: admitted.endpoint.clone(),
            stream: admitted.stream,
            tags: admitted.tags.clone(),
            caller: admitted.caller.clone(),
            ceiling: admitted.ceiling.cost,
            cost: Money::ZERO,
            losses: 0,
            events: vec![record.envelope.n],
            end: None,
        }
    }

    pub fn status(&self) -> Status {
        self.end.as_ref().map_or(Status::Open, |end| end.status)
    }
}
