//! Things that are configured, tokens, and what changes answer.

use super::spec::{KeySpec, ModelSpec, ProviderSpec, ScopeSpec, TenantSpec, WebhookSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

macro_rules! entry {
    ($(#[$doc:meta])* $name:ident, $spec:ident, $object:literal) => {
        $(#[$doc])*
        #[derive(ToSchema)]
        pub(in crate::api) struct $name {
            #[schema(example = $object)]
            object: String,
            id: String,
            name: String,
            /// The tenant that it belongs to; null: none.
            #[schema(required)]
            tenant: Option<String>,
            /// What it is told from another state of it by, for `If-Match`.
            etag: String,
            spec: $spec,
            /// After a change: what is to be waited for by `at_least`.
            #[schema(required = false)]
            position: String,
        }
    };
}

entry!(
    /// A tenant.
    Tenant, TenantSpec, "tenant"
);
entry!(
    /// A scope.
    Scope, ScopeSpec, "scope"
);
entry!(
    /// A provider.
    Provider, ProviderSpec, "provider"
);
entry!(
    /// A model, as callers ask for it.
    Model, ModelSpec, "model"
);

/// A virtual key.
#[derive(ToSchema)]
pub(in crate::api) struct Key {
    #[schema(example = "key")]
    object: String,
    id: String,
    name: String,
    #[schema(required)]
    tenant: Option<String>,
    /// What it is told from another state of it by, for `If-Match`.
    etag: String,
    spec: KeySpec,
    status: KeyStatus,
    /// The last characters of its secret.
    hint: String,
    #[schema(format = DateTime)]
    made_at: String,
    /// All that its calls cost.
    spend: super::Usd,
    calls: KeyCalls,
    /// The end of the secret before, while it still lets in.
    #[schema(required)]
    previous_hint: Option<String>,
    #[schema(required, format = DateTime)]
    previous_valid_until: Option<String>,
    /// After a change: what is to be waited for by `at_least`.
    #[schema(required = false)]
    position: String,
    /// Shown when it was made, this once.
    #[schema(required = false)]
    secret: String,
}

/// A webhook.
#[derive(ToSchema)]
pub(in crate::api) struct Webhook {
    #[schema(example = "webhook")]
    object: String,
    id: String,
    name: String,
    /// Whose alerts it gets; null: the platform's and everybody's.
    #[schema(required)]
    tenant: Option<String>,
    etag: String,
    spec: WebhookSpec,
    /// After a change: what is to be waited for by `at_least`.
    #[schema(required = false)]
    position: String,
    /// Shown when it was made, this once.
    #[schema(required = false)]
    secret: String,
}

/// How deliveries to a webhook go.
#[derive(ToSchema)]
pub(in crate::api) struct Deliveries {
    #[schema(example = "deliveries")]
    object: String,
    webhook: String,
    webhook_id: String,
    at: String,
    delivered: u64,
    failed: u64,
    /// Given up, after a day.
    skipped: u64,
    /// In a row.
    failures: u64,
    #[schema(required, format = DateTime)]
    last_delivery_at: Option<String>,
    #[schema(required)]
    last_failure: Option<DeliveryFailure>,
    #[schema(required, format = DateTime)]
    next_try_at: Option<String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct DeliveryFailure {
    #[schema(format = DateTime)]
    at: String,
    why: String,
}

/// What came of a test of a webhook.
#[derive(ToSchema)]
pub(in crate::api) struct DeliveryTest {
    #[schema(example = "delivery_test")]
    object: String,
    webhook: String,
    delivered: bool,
    /// Of the receiver's answer; null: there was none.
    #[schema(required)]
    status: Option<u16>,
    /// Why it was not delivered.
    #[schema(required)]
    why: Option<String>,
    took_ms: u64,
}

/// How a key is to be rotated.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Rotation {
    /// The secret before lets in for so long; not at all unless said. 90 days at most.
    #[schema(required = false, pattern = "^[0-9]{1,6}[smhd]$", example = "24h")]
    overlap: String,
    /// The new secret, if it is not to be a fresh one.
    #[schema(required = false, min_length = 8, max_length = 256, pattern = "^[!-~]+$")]
    secret: String,
}

/// What stands at the top of the configuration file.
#[derive(ToSchema)]
pub(in crate::api) struct Platform {
    #[schema(example = "platform")]
    object: String,
    etag: String,
    spec: Value,
    /// After a change: what is to be waited for by `at_least`.
    #[schema(required = false)]
    position: String,
}

/// The platform's own budgets, and what becomes of losses.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PlatformEntry {
    #[schema(required = false)]
    budgets: Vec<Value>,
    #[schema(required = false)]
    loss: String,
    #[schema(required = false)]
    request_log: Value,
}

/// What one candidate of a model costs.
#[derive(ToSchema)]
pub(in crate::api) struct Price {
    #[schema(example = "price")]
    object: String,
    model: String,
    /// In which it is tried, from 1 on.
    order: u64,
    provider: String,
    /// The provider's own name of the model.
    upstream_model: String,
    /// What says so; null: it has no price.
    #[schema(required)]
    source: Option<PriceSource>,
    /// As the configuration file says it.
    #[schema(required)]
    price: Option<Value>,
    #[schema(required)]
    max_output_tokens: Option<u64>,
    #[schema(required)]
    context_tokens: Option<u64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum PriceSource {
    Target,
    Model,
    Catalogue,
    Provider,
}

/// All candidates of one model.
#[derive(ToSchema)]
pub(in crate::api) struct ModelPrice {
    #[schema(example = "model_price")]
    object: String,
    model: String,
    candidates: Vec<Price>,
}

/// Whether a provider can be reached.
#[derive(ToSchema)]
pub(in crate::api) struct ProviderTest {
    #[schema(example = "provider_test")]
    object: String,
    provider: String,
    provider_id: String,
    ok: bool,
    /// Of its answer; null: there was none.
    #[schema(required)]
    status: Option<u16>,
    latency_ms: u64,
    /// How many it lists.
    #[schema(required)]
    models: Option<u64>,
    /// `ok`, or what went wrong.
    code: String,
    /// What to do.
    detail: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum KeyStatus {
    Live,
    Blocked,
}

/// All calls of a key.
#[derive(ToSchema)]
pub(in crate::api) struct KeyCalls {
    open: u64,
    finished: u64,
    orphaned: u64,
    released: u64,
}

/// Something that is no more.
#[derive(ToSchema)]
pub(in crate::api) struct Deleted {
    object: String,
    id: String,
    deleted: bool,
    /// What is to be waited for by `at_least`.
    position: String,
}

/// An administrator's token.
#[derive(ToSchema)]
pub(in crate::api) struct Token {
    #[schema(example = "token")]
    object: String,
    id: String,
    name: String,
    role: Role,
    status: TokenStatus,
    /// The last characters of its secret.
    hint: String,
    /// The tenant that it is bound to; null: it is of the platform.
    #[schema(required)]
    tenant: Option<String>,
    #[schema(required)]
    tenant_id: Option<String>,
    #[schema(format = DateTime)]
    made_at: String,
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// Shown when it was made, this once.
    #[schema(required = false)]
    secret: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum TokenStatus {
    Live,
    Expired,
    Revoked,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum Role {
    Owner,
    Admin,
    Operator,
    Auditor,
    Billing,
}

/// What a new token is to be.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct NewToken {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    role: Role,
    /// A tenant's name or id. Absent: a token of the platform, or of the tenant of the token that asks.
    tenant: Option<String>,
    /// RFC 3339; it lets nobody in from then on.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// What an apply changed, or would change.
#[derive(ToSchema)]
pub(in crate::api) struct Applied {
    /// What is to be waited for by `at_least`.
    position: String,
    changes: Vec<Change>,
    /// Secrets of keys that were made, by the key's name; shown this once.
    secrets: BTreeMap<String, String>,
}

#[derive(ToSchema)]
pub(in crate::api) struct Change {
    op: Op,
    /// `tenant`, `scope`, `key`, `provider`, `model`, `budget`, `policy` or `catalogue`.
    kind: String,
    name: String,
    /// What is another one then; empty where the thing goes.
    fields: Vec<Field>,
}

/// One field of an entry. Secrets are never told, only that they are others.
#[derive(ToSchema)]
pub(in crate::api) struct Field {
    /// In its entry, as `targets[0].model`.
    path: String,
    before: Value,
    after: Value,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(in crate::api) enum Op {
    Create,
    Update,
    Delete,
    Close,
    Revoke,
}

/// What went wrong (RFC 9457).
#[derive(ToSchema)]
pub(in crate::api) struct Problem {
    /// `urn:tollgate:problem:` and the code.
    r#type: String,
    title: String,
    status: u16,
    /// For people.
    detail: String,
    /// For programs; each answer says which it has.
    code: String,
    /// As in `x-request-id`.
    request_id: String,
    /// The parameter, or the place in the body.
    #[schema(required = false)]
    path: String,
    /// Several at once.
    #[schema(required = false)]
    problems: Vec<ProblemPart>,
}

#[derive(ToSchema)]
pub(in crate::api) struct ProblemPart {
    /// Its place in what was sent.
    path: String,
    message: String,
}
