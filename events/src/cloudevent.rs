//! What strangers read: events as CloudEvents 1.0 in JSON. The form binds; fields are only ever added.
//!
//! Shown are names, sizes, digests and figures. Never shown: the hash of a key's secret (its hint is), the values of a provider's
//! headers, and what a base URL may carry besides its place.

mod call;
mod parts;
mod policy;

use crate::{
    Event, State, StreamId, TenantId, alert, budget, catalogue, envelope::Recorded, key, model, node, provider, scope, tenant, token,
    webhook,
};
use serde_json::{Map, Value, json};

/// One record as CloudEvents JSON. `state` gives names to ids and units to amounts, and must have folded the record; `cluster` is
/// the cluster's name.
pub fn render(record: &Recorded, state: &State, cluster: &str) -> Value {
    let mut out = Map::new();
    out.insert("specversion".into(), "1.0".into());
    out.insert("id".into(), crate::Position::new(record.envelope.n).to_string().into());
    out.insert("source".into(), format!("tollgate/{cluster}").into());
    out.insert("type".into(), type_name(&record.event).into());
    out.insert("subject".into(), record.envelope.stream.to_string().into());
    out.insert("time".into(), record.envelope.at.to_string().into());
    // an attribute of a CloudEvent cannot be null: what belongs to the platform has none
    if let Some(id) = record.envelope.tenant {
        out.insert("tenant".into(), tenant_name(state, id).into());
    }
    out.insert("data".into(), data(&record.event, state));
    Value::Object(out)
}

/// The `type` of an event: `tollgate.NOUN.EVENT.vVERSION`.
pub fn type_name(event: &Event) -> &'static str {
    match event {
        Event::Tenant(_, event) => tenant_type(event),
        Event::Scope(_, event) => scope_type(event),
        Event::Key(_, event) => key_type(event),
        Event::Provider(_, event) => provider_type(event),
        Event::Model(_, model::Event::Set(_)) => "tollgate.model.set.v1",
        Event::Model(_, model::Event::Removed) => "tollgate.model.removed.v1",
        Event::Catalogue(event) => catalogue_type(event),
        Event::Budget(_, event) => budget_type(event),
        Event::Node(_, event) => node_type(event),
        Event::Call(_, event) => call::type_name(event),
        Event::Policy(_, crate::policy::Event::Set(_)) => "tollgate.policy.set.v1",
        Event::Token(_, event) => token_type(event),
        Event::Webhook(_, event) => webhook_type(event),
        Event::Alert(_, alert::Event::Raised { .. }) => "tollgate.alert.raised.v1",
        Event::Alert(_, alert::Event::Cleared) => "tollgate.alert.cleared.v1",
    }
}

fn tenant_type(event: &tenant::Event) -> &'static str {
    match event {
        tenant::Event::Created { .. } => "tollgate.tenant.created.v1",
        tenant::Event::RatesSet { .. } => "tollgate.tenant.rates_set.v1",
        tenant::Event::Closed => "tollgate.tenant.closed.v1",
        tenant::Event::DataKeyMade { .. } => "tollgate.tenant.data_key_made.v1",
        tenant::Event::BodiesErased => "tollgate.tenant.bodies_erased.v1",
        tenant::Event::BodiesRead { .. } => "tollgate.tenant.bodies_read.v1",
    }
}

fn scope_type(event: &scope::Event) -> &'static str {
    match event {
        scope::Event::Created(_) => "tollgate.scope.created.v1",
        scope::Event::Moved { .. } => "tollgate.scope.moved.v1",
        scope::Event::KindSet { .. } => "tollgate.scope.kind_set.v1",
        scope::Event::RatesSet { .. } => "tollgate.scope.rates_set.v1",
        scope::Event::Closed => "tollgate.scope.closed.v1",
    }
}

fn key_type(event: &key::Event) -> &'static str {
    match event {
        key::Event::Created { .. } => "tollgate.key.created.v1",
        key::Event::Moved { .. } => "tollgate.key.moved.v1",
        key::Event::ModelsSet { .. } => "tollgate.key.models_set.v1",
        key::Event::RatesSet { .. } => "tollgate.key.rates_set.v1",
        key::Event::SecretSet { .. } => "tollgate.key.secret_set.v1",
        key::Event::Blocked => "tollgate.key.blocked.v1",
        key::Event::Unblocked => "tollgate.key.unblocked.v1",
        key::Event::Revoked => "tollgate.key.revoked.v1",
        key::Event::Rotated { .. } => "tollgate.key.rotated.v1",
    }
}

fn provider_type(event: &provider::Event) -> &'static str {
    match event {
        provider::Event::Created(_) => "tollgate.provider.created.v1",
        provider::Event::Changed(_) => "tollgate.provider.changed.v1",
        provider::Event::SecretSet { .. } => "tollgate.provider.secret_set.v1",
        provider::Event::Closed => "tollgate.provider.closed.v1",
    }
}

fn catalogue_type(event: &catalogue::Event) -> &'static str {
    match event {
        catalogue::Event::EditionSet { .. } => "tollgate.catalogue.edition_set.v1",
        catalogue::Event::EntrySet { .. } => "tollgate.catalogue.entry_set.v1",
        catalogue::Event::EntryRemoved { .. } => "tollgate.catalogue.entry_removed.v1",
    }
}

fn budget_type(event: &budget::Event) -> &'static str {
    match event {
        budget::Event::Opened { .. } => "tollgate.budget.opened.v1",
        budget::Event::LimitSet { .. } => "tollgate.budget.limit_set.v1",
        budget::Event::TermsSet { .. } => "tollgate.budget.terms_set.v1",
        budget::Event::Closed => "tollgate.budget.closed.v1",
        budget::Event::Reopened => "tollgate.budget.reopened.v1",
        budget::Event::Alerted { .. } => "tollgate.budget.alerted.v1",
    }
}

fn node_type(event: &node::Event) -> &'static str {
    match event {
        node::Event::Joined => "tollgate.node.joined.v1",
        node::Event::Started { .. } => "tollgate.node.started.v1",
        node::Event::Lost => "tollgate.node.lost.v1",
        node::Event::Removed => "tollgate.node.removed.v1",
        node::Event::Restored { .. } => "tollgate.node.restored.v1",
    }
}

fn token_type(event: &token::Event) -> &'static str {
    match event {
        token::Event::Created { .. } => "tollgate.token.created.v1",
        token::Event::Revoked => "tollgate.token.revoked.v1",
        token::Event::Denied { .. } => "tollgate.token.denied.v1",
    }
}

fn webhook_type(event: &webhook::Event) -> &'static str {
    match event {
        webhook::Event::Created(_) => "tollgate.webhook.created.v1",
        webhook::Event::Changed(_) => "tollgate.webhook.changed.v1",
        webhook::Event::SecretSet { .. } => "tollgate.webhook.secret_set.v1",
        webhook::Event::Closed => "tollgate.webhook.closed.v1",
    }
}

/// Every event names its subject once more under its noun, so that `data` alone says whose it is.
pub fn data(event: &Event, state: &State) -> Value {
    match event {
        Event::Tenant(id, event) => with("tenant", id.to_string(), policy::tenant(*id, event, state)),
        Event::Scope(id, event) => with("scope", id.to_string(), policy::scope(*id, event, state)),
        Event::Key(id, event) => with("key", id.to_string(), policy::key(*id, event, state)),
        Event::Provider(id, event) => with("provider", id.to_string(), policy::provider(*id, event, state)),
        Event::Model(id, event) => with("model", id.to_string(), policy::model(*id, event, state)),
        Event::Catalogue(event) => policy::catalogue(event),
        Event::Budget(id, event) => with("budget", id.to_string(), policy::budget(*id, event, state)),
        Event::Node(id, event) => with("node", id.to_string(), policy::node(event)),
        Event::Call(id, event) => with("call", id.to_string(), call::data(event, state)),
        Event::Policy(owner, event) => with("policy", StreamId::Policy(*owner).to_string(), policy::policy(*owner, event, state)),
        Event::Token(id, event) => with("token", id.to_string(), policy::token(*id, event, state)),
        Event::Webhook(id, event) => with("webhook", id.to_string(), policy::webhook(*id, event, state)),
        Event::Alert(id, event) => with("alert", id.to_string(), policy::alert(*id, event, state)),
    }
}

fn with(noun: &str, id: String, mut data: Value) -> Value {
    if let Value::Object(fields) = &mut data {
        fields.insert(noun.into(), json!(id));
    }
    data
}

fn tenant_name(state: &State, id: TenantId) -> String {
    state.books.tenants.get(&id).filter(|tenant| tenant.made).map_or_else(|| id.to_string(), |tenant| tenant.name.clone())
}

#[cfg(test)]
mod tests;
