//! Rows of lists that projections know, but calls.

use super::{Tokens, Usd};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What was used by one group.
#[derive(ToSchema)]
pub(in crate::api) struct Usage {
    #[schema(example = "usage")]
    object: String,
    /// With `step`.
    #[schema(required = false, format = DateTime)]
    start: String,
    #[schema(required = false, format = DateTime)]
    end: String,
    /// These as they are grouped by; null: there is none.
    tenant: Option<String>,
    tenant_id: Option<String>,
    scope: Option<String>,
    scope_id: Option<String>,
    key: Option<String>,
    key_id: Option<String>,
    provider: Option<String>,
    provider_id: Option<String>,
    user: Option<String>,
    model: Option<String>,
    tag: Option<String>,
    calls: UsageCalls,
    tokens: Tokens,
    images: u64,
    searches: u64,
    /// Of all tries.
    cost: Usd,
    /// Of the answers that were used.
    charge: Usd,
    /// What may have been used, but nobody said so.
    uncertain: Usd,
    /// Above the ceilings that calls were admitted with.
    overrun: Usd,
    adjusted: Usd,
    /// Time that calls took, added up.
    total_ms: u64,
}

#[derive(ToSchema)]
pub(in crate::api) struct UsageCalls {
    finished: u64,
    ok: u64,
    failed: u64,
    aborted: u64,
    orphaned: u64,
    released: u64,
}

/// A budget in one window.
#[derive(ToSchema)]
pub(in crate::api) struct Budget {
    #[schema(example = "budget")]
    object: String,
    id: String,
    level: Level,
    /// Its owner's.
    #[schema(required)]
    name: Option<String>,
    owner_id: String,
    unit: Unit,
    every: Every,
    /// Refuses what does not fit.
    hard: bool,
    closed: bool,
    only: Only,
    #[schema(required, format = DateTime)]
    starts_at: Option<String>,
    #[schema(required, format = DateTime)]
    resets_at: Option<String>,
    /// Decimal, in its unit; so are the others.
    limit: String,
    settled: String,
    held: String,
    free: String,
    overrun: String,
    open_calls: u64,
    orphans: u64,
    /// The highest share of the limit at which it alerted.
    #[schema(required)]
    alerted_at: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum Level {
    Platform,
    Tenant,
    Scope,
    Key,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum Unit {
    #[schema(rename = "USD")]
    Usd,
    Tokens,
    Requests,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum Every {
    Hour,
    Day,
    Week,
    Month,
    Total,
}

/// Which calls a budget covers: one match in each list that is not empty.
#[derive(ToSchema)]
pub(in crate::api) struct Only {
    models: Vec<String>,
    providers: Vec<String>,
    tags: Vec<String>,
}

/// How tries at a provider went.
#[derive(ToSchema)]
pub(in crate::api) struct ProviderHealth {
    #[schema(example = "provider_health")]
    object: String,
    #[schema(required)]
    provider: Option<String>,
    #[schema(required)]
    provider_id: Option<String>,
    /// The provider's own name, when grouped by `model`.
    #[schema(required = false)]
    model: String,
    /// When grouped by `hour`.
    #[schema(required = false, format = DateTime)]
    start: String,
    #[schema(required = false, format = DateTime)]
    end: String,
    attempts: AttemptCounts,
    cost: Usd,
    tokens: u64,
    first_byte_ms: Quantiles,
    ms_per_token: Quantiles,
}

#[derive(ToSchema)]
pub(in crate::api) struct AttemptCounts {
    total: u64,
    ok: u64,
    refused: u64,
    rate_limited: u64,
    errors: u64,
    not_sent: u64,
    broken: u64,
    timed_out: u64,
    ended_here: u64,
}

/// Null where nothing was measured.
#[derive(ToSchema)]
pub(in crate::api) struct Quantiles {
    #[schema(required)]
    p50: Option<f64>,
    #[schema(required)]
    p90: Option<f64>,
    #[schema(required)]
    p95: Option<f64>,
    #[schema(required)]
    p99: Option<f64>,
    count: u64,
}

/// One change, with what was there before.
#[derive(ToSchema)]
pub(in crate::api) struct AuditChange {
    #[schema(example = "change")]
    object: String,
    /// Its position.
    id: String,
    #[schema(format = DateTime)]
    at: String,
    by: By,
    #[schema(required)]
    tenant: Option<String>,
    /// The noun that changed.
    #[schema(required)]
    kind: Option<String>,
    /// `tollgate.NOUN.WHAT.v1`.
    r#type: String,
    /// The id of what changed.
    subject: String,
    /// Changes of one transaction have one.
    transaction: String,
    /// The last event of the same kind, or of what this one undoes; null: there was nothing.
    #[schema(required)]
    before: Option<Value>,
    after: Value,
}

/// Who caused it.
#[derive(ToSchema)]
pub(in crate::api) struct By {
    kind: ByKind,
    #[schema(required = false)]
    id: String,
    /// The name of an administrator's token.
    name: Option<String>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum ByKind {
    System,
    Admin,
    Key,
}

/// A read model that follows the history.
#[derive(ToSchema)]
pub(in crate::api) struct Projection {
    #[schema(example = "projection")]
    object: String,
    name: String,
    status: ProjectionStatus,
    /// Why it failed.
    #[schema(required)]
    why: Option<String>,
    /// The position that it shows.
    at: String,
    lag_events: u64,
    rebuilds: u64,
    /// With `digest`.
    #[schema(required = false)]
    digest: Digest,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum ProjectionStatus {
    Following,
    Rebuilding,
    Failed,
}

/// Over all rows, in their order.
#[derive(ToSchema)]
pub(in crate::api) struct Digest {
    at: String,
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
}

/// That the books close.
#[derive(ToSchema)]
pub(in crate::api) struct LedgerProof {
    #[schema(example = "ledger_proof")]
    object: String,
    at: String,
    closes: bool,
    /// What is not explained, over all budgets: 0.
    residual: String,
    budgets: Vec<BudgetProof>,
    /// How many there are.
    open_calls: u64,
    /// Their ids.
    open: Vec<String>,
}

/// One budget in one window: `limit = settled + held + free`.
#[derive(ToSchema)]
pub(in crate::api) struct BudgetProof {
    #[schema(example = "budget_proof")]
    object: String,
    id: String,
    owner_id: String,
    unit: Unit,
    every: Every,
    #[schema(required, format = DateTime)]
    starts_at: Option<String>,
    limit: String,
    settled: String,
    held: String,
    free: String,
    overrun: String,
    /// What a second fold of the history settled.
    records: String,
    /// What open calls hold, added up.
    holds: String,
    residual: String,
}

/// What becomes of one thing that one dialect can say, in the other.
#[derive(ToSchema)]
pub(in crate::api) struct Capability {
    #[schema(example = "capability")]
    object: String,
    feature: String,
    /// The caller's dialect.
    caller: String,
    /// The provider's.
    provider: String,
    /// `request`, `answer` or `stream`.
    direction: String,
    /// `full`, `adapted`, `partly` or `lost`.
    support: String,
    #[schema(required)]
    how: Option<String>,
    /// What is lost, and the kind of the loss, by path.
    lost: BTreeMap<String, String>,
    /// What is done about it: `pass`, `warn` or `refuse`.
    #[schema(required)]
    policy: Option<String>,
    example: Value,
    /// What stands where in the other dialect, by JSON pointer.
    gives: BTreeMap<String, Value>,
    /// The test that carries it out.
    test: String,
}

/// Whether the node lives, or takes calls.
#[derive(ToSchema)]
pub(in crate::api) struct Health {
    /// `ok`, or `unavailable`.
    status: String,
    /// Why it takes none.
    #[schema(required = false)]
    reason: String,
}

/// This document.
#[derive(ToSchema)]
pub(in crate::api) struct Document {
    openapi: String,
    info: Value,
    servers: Vec<Value>,
    tags: Vec<Value>,
    paths: Value,
    components: Value,
    #[schema(rename = "x-codes")]
    codes: Value,
}

/// Something that operators were to hear of.
#[derive(ToSchema)]
pub(in crate::api) struct Alert {
    #[schema(example = "alert")]
    object: String,
    /// Its position in the history.
    id: String,
    #[schema(format = DateTime)]
    at: String,
    kind: String,
    /// `open`: it is so now.
    state: AlertState,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
    /// Null: it is the platform's.
    #[schema(required)]
    tenant: Option<String>,
    subject: String,
    message: String,
    data: Value,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum AlertState {
    Open,
    Closed,
}
