//! Calls, what happened to them, and why.

use super::{Every, Level, Unit};
use serde_json::Value;
use utoipa::ToSchema;

/// An amount of money.
#[derive(ToSchema)]
pub(in crate::api) struct Usd {
    #[schema(rename = "USD", pattern = "^-?[0-9]+(\\.[0-9]+)?$")]
    usd: String,
}

/// In classes that do not overlap, but `reasoning`, which `output` has in it where the provider counts so.
#[derive(ToSchema)]
pub(in crate::api) struct Tokens {
    input: u64,
    cache_read: u64,
    cache_write: u64,
    output: u64,
    reasoning: u64,
    audio_input: u64,
    audio_output: u64,
    total: u64,
}

macro_rules! call {
    ($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        pub(in crate::api) struct $name {
            #[schema(example = "call")]
            object: String,
            id: String,
            /// When it was admitted.
            #[schema(format = DateTime)]
            at: String,
            status: CallStatus,
            #[schema(required)]
            tenant: Option<String>,
            #[schema(required)]
            tenant_id: Option<String>,
            #[schema(required)]
            scope: Option<String>,
            #[schema(required)]
            scope_id: Option<String>,
            #[schema(required)]
            key: Option<String>,
            #[schema(required)]
            key_id: Option<String>,
            /// Whose answer was used.
            #[schema(required)]
            provider: Option<String>,
            #[schema(required)]
            provider_id: Option<String>,
            /// For whom it was made: a pseudonym of the name that its caller gave.
            #[schema(required)]
            user: Option<String>,
            /// The caller's own name of its request.
            #[schema(required)]
            request_id: Option<String>,
            #[schema(required)]
            trace_id: Option<String>,
            /// As it was asked for.
            model: String,
            endpoint: String,
            stream: bool,
            tags: Vec<String>,
            /// Things that its provider's dialect could not say.
            losses: u64,
            ceiling: Usd,
            /// Of all tries.
            cost: Usd,
            /// Of the answer that was used; this and what follows is null while it is open.
            #[schema(required)]
            charge: Option<Usd>,
            #[schema(required)]
            overrun: Option<Usd>,
            #[schema(required)]
            uncertain: Option<Usd>,
            /// The provider did not say what was used.
            #[schema(required)]
            estimated: Option<bool>,
            #[schema(required)]
            tokens: Option<Tokens>,
            #[schema(required)]
            upstream_model: Option<String>,
            /// The provider's own id.
            #[schema(required)]
            upstream_id: Option<String>,
            #[schema(required)]
            attempts: Option<u64>,
            #[schema(required)]
            first_byte_ms: Option<u64>,
            #[schema(required)]
            total_ms: Option<u64>,
            #[schema(required, format = DateTime)]
            ended_at: Option<String>,
            $($(#[$meta])* $field: $type,)*
        }
    };
}

call!(
    /// A call.
    Call {}
);
call!(
    /// A call with all that happened to it.
    CallWithEvents { events: Vec<CloudEvent> }
);
call!(
    /// A call whose decision was made again.
    CallExplained { explanation: Explanation }
);

/// What the request log kept of a call, masked.
#[derive(ToSchema)]
pub(in crate::api) struct CallBodies {
    #[schema(example = "call_bodies")]
    object: String,
    call: String,
    #[schema(format = DateTime)]
    at: String,
    endpoint: String,
    /// As its caller sent it.
    #[schema(required)]
    request: Option<Value>,
    /// As its caller got it; a stream as the answer that it comes to.
    #[schema(required)]
    answer: Option<Value>,
    /// Rules that found something.
    masked: Vec<String>,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Nothing of a tenant's calls is kept any more.
#[derive(ToSchema)]
pub(in crate::api) struct BodiesErased {
    #[schema(example = "call_bodies")]
    object: String,
    tenant: String,
    tenant_id: String,
    deleted: bool,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum CallStatus {
    Open,
    Ok,
    Failed,
    Aborted,
    Released,
    Orphaned,
}

/// An event of the history, as CloudEvents 1.0 have it.
#[derive(ToSchema)]
pub(in crate::api) struct CloudEvent {
    specversion: String,
    /// Its position.
    id: String,
    source: String,
    /// `tollgate.NOUN.WHAT.v1`.
    r#type: String,
    /// The id of what it happened to.
    subject: String,
    #[schema(format = DateTime)]
    time: String,
    #[schema(required = false)]
    tenant: String,
    data: Value,
}

/// A decision that was made again from what it was made from.
#[derive(ToSchema)]
pub(in crate::api) struct Explanation {
    /// The position of the policy that the call pinned.
    policy: String,
    /// Whether it comes to the same.
    same: bool,
    differences: Vec<String>,
    candidates: Vec<Candidate>,
    budgets: Vec<BudgetOnPath>,
    attempts: Vec<Attempt>,
    /// The service tier whose prices give what was charged.
    #[schema(required)]
    tier: Option<String>,
    lines: Vec<CostLine>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Candidate {
    provider: String,
    provider_id: String,
    model: String,
    priced: bool,
    left_out: bool,
}

#[derive(ToSchema)]
pub(in crate::api) struct BudgetOnPath {
    id: String,
    level: Level,
    #[schema(required)]
    name: Option<String>,
    unit: Unit,
    every: Every,
    hard: bool,
    limit: String,
    /// By this call.
    held: String,
    /// Null, where it cannot be known any more.
    #[schema(required)]
    before: Option<BudgetBefore>,
}

/// A budget right before the call came.
#[derive(ToSchema)]
pub(in crate::api) struct BudgetBefore {
    settled: String,
    held: String,
    free: String,
    open_calls: i64,
}

#[derive(ToSchema)]
pub(in crate::api) struct Attempt {
    #[schema(required)]
    provider: Option<String>,
    model: String,
    /// `ok`, `status`, `not_sent`, `broken`, `timed_out`, `cancelled` or `cut`.
    end: String,
    #[schema(required)]
    status: Option<u16>,
    cost: Usd,
    #[schema(required)]
    first_byte_ms: Option<u64>,
    total_ms: u64,
}

#[derive(ToSchema)]
pub(in crate::api) struct CostLine {
    class: String,
    count: u64,
    each: Usd,
    cost: Usd,
}
