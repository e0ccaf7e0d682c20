//! Data of what is administered: tenants, scopes, keys, providers, models, the catalogue, budgets, nodes.

use super::{parts, tenant_name};
use crate::{
    AlertId, BudgetId, KeyId, ModelId, Owner, Position, ProviderId, ScopeId, State, TenantId, TokenId, WebhookId, alert, budget, catalogue,
    key, model,
    money::amount_text,
    node, policy as said,
    provider::{self, OnClientGone},
    scope, tenant, token, webhook,
};
use serde_json::{Value, json};

pub fn tenant(id: TenantId, event: &tenant::Event, state: &State) -> Value {
    match event {
        tenant::Event::Created { name, rates } => json!({"name": name, "rates": parts::rates(rates)}),
        tenant::Event::RatesSet { rates } => json!({"name": tenant_name(state, id), "rates": parts::rates(rates)}),
        tenant::Event::Closed | tenant::Event::BodiesErased => json!({"name": tenant_name(state, id)}),
        tenant::Event::DataKeyMade { digest } => json!({"name": tenant_name(state, id), "digest": parts::hex(digest)}),
        tenant::Event::BodiesRead { call } => json!({"name": tenant_name(state, id), "call": call.to_string()}),
    }
}

pub fn scope(id: ScopeId, event: &scope::Event, state: &State) -> Value {
    let name = state.books.scopes.get(&id).map(|scope| &scope.name);
    let parent = |parent: &Option<ScopeId>| parent.map(|id| id.to_string());
    match event {
        scope::Event::Created(settings) => json!({
            "name": settings.name, "kind": settings.kind, "parent": parent(&settings.parent), "rates": parts::rates(&settings.rates),
        }),
        scope::Event::Moved { parent: to } => json!({"name": name, "parent": parent(to)}),
        scope::Event::KindSet { kind } => json!({"name": name, "kind": kind}),
        scope::Event::RatesSet { rates } => json!({"name": name, "rates": parts::rates(rates)}),
        scope::Event::Closed => json!({"name": name}),
    }
}

pub fn key(id: KeyId, event: &key::Event, state: &State) -> Value {
    let name = state.books.keys.get(&id).map(|key| &key.name);
    let scope = |scope: &Option<ScopeId>| scope.map(|id| id.to_string());
    match event {
        key::Event::Created { settings, secret } => json!({
            "name": settings.name, "scope": scope(&settings.scope), "models": settings.models, "rates": parts::rates(&settings.rates),
            "hint": secret.hint,
        }),
        key::Event::Moved { scope: to } => json!({"name": name, "scope": scope(to)}),
        key::Event::ModelsSet { models } => json!({"name": name, "models": models}),
        key::Event::RatesSet { rates } => json!({"name": name, "rates": parts::rates(rates)}),
        key::Event::SecretSet { secret } => json!({"name": name, "hint": secret.hint}),
        key::Event::Rotated { secret, until } => json!({"name": name, "hint": secret.hint, "previous_valid_until": until.to_string()}),
        key::Event::Blocked | key::Event::Unblocked | key::Event::Revoked => json!({"name": name}),
    }
}

pub fn token(id: TokenId, event: &token::Event, state: &State) -> Value {
    let name = state.books.tokens.get(&id).map(|token| &token.settings.name);
    match event {
        token::Event::Created { settings, secret } => json!({
            "name": settings.name, "role": settings.role.as_str(), "tenant": settings.tenant.map(|id| tenant_name(state, id)),
            "expires_at": settings.expires_at.map(|at| at.to_string()), "hint": secret.hint,
        }),
        token::Event::Revoked => json!({"name": name}),
        token::Event::Denied { what } => json!({"name": name, "what": what}),
    }
}

/// Of its URL no query, where secrets are put at times; its secret's digest is of the sealed note.
pub fn webhook(id: WebhookId, event: &webhook::Event, state: &State) -> Value {
    let name = state.books.webhooks.get(&id).map(|webhook| &webhook.settings.name);
    match event {
        webhook::Event::Created(settings) | webhook::Event::Changed(settings) => {
            let alerts = settings.alerts.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
            let tenant = settings.tenant.map(|id| tenant_name(state, id));
            json!({"name": settings.name, "tenant": tenant, "url": parts::bare_url(&settings.url), "alerts": alerts})
        }
        webhook::Event::SecretSet { digest } => json!({"name": name, "secret_digest": parts::hex(digest)}),
        webhook::Event::Closed => json!({"name": name}),
    }
}

pub fn alert(id: AlertId, event: &alert::Event, state: &State) -> Value {
    let (kind, node) = (id.kind().map(alert::Kind::as_str), id.node().to_string());
    match event {
        alert::Event::Raised { subject, detail } => json!({"kind": kind, "node": node, "subject": subject, "detail": detail}),
        alert::Event::Cleared => {
            let subject = state.books.alerts.get(&id).map(|alert| &alert.subject);
            json!({"kind": kind, "node": node, "subject": subject})
        }
    }
}

pub fn provider(id: ProviderId, event: &provider::Event, state: &State) -> Value {
    match event {
        provider::Event::Created(settings) | provider::Event::Changed(settings) => provider_settings(settings, state),
        // the digest is of the sealed note, not of the secret
        provider::Event::SecretSet { digest } => json!({"name": parts::provider_name(id, state), "secret_digest": parts::hex(digest)}),
        provider::Event::Closed => json!({"name": parts::provider_name(id, state)}),
    }
}

fn provider_settings(settings: &provider::Settings, state: &State) -> Value {
    let timeouts = &settings.timeouts;
    // of headers the names only: their values may be secrets
    let headers: Vec<&String> = settings.headers.iter().map(|(name, _)| name).collect();
    let on_client_gone = settings.on_client_gone.map(|policy| match policy {
        OnClientGone::Cancel => "cancel",
        OnClientGone::Drain => "drain",
    });
    json!({
        "name": settings.name, "tenant": settings.tenant.map(|id| tenant_name(state, id)), "dialect": settings.dialect,
        "base_url": parts::bare_url(&settings.base_url), "headers": headers, "price": settings.price.as_ref().map(parts::price),
        "timeouts": {"connect_ms": timeouts.connect_ms, "first_byte_ms": timeouts.first_byte_ms, "silence_ms": timeouts.silence_ms, "total_ms": timeouts.total_ms},
        "max_parallel": settings.max_parallel, "on_client_gone": on_client_gone,
    })
}

pub fn model(id: ModelId, event: &model::Event, state: &State) -> Value {
    match event {
        model::Event::Set(settings) => {
            let targets = settings.targets.iter().map(|target| {
                let price = target.price.as_ref().map(parts::price);
                json!({"provider": parts::provider_name(target.provider, state), "model": target.model, "price": price})
            });
            json!({
                "name": settings.name, "targets": targets.collect::<Value>(), "price": settings.price.as_ref().map(parts::price),
                "bounds": parts::bounds(&settings.bounds),
            })
        }
        model::Event::Removed => json!({"name": state.books.models.get(&id).map(|model| &model.settings.name)}),
    }
}

pub fn catalogue(event: &catalogue::Event) -> Value {
    match event {
        catalogue::Event::EditionSet { edition } => json!({"edition": edition}),
        catalogue::Event::EntrySet { name, entry } => json!({
            "name": name, "price": entry.price.as_ref().map(parts::price), "bounds": parts::bounds(&entry.bounds),
        }),
        catalogue::Event::EntryRemoved { name } => json!({"name": name}),
    }
}

pub fn budget(id: BudgetId, event: &budget::Event, state: &State) -> Value {
    let shares = |ppm: &[u32]| ppm.iter().map(|ppm| parts::share(*ppm)).collect::<Value>();
    let unit = parts::unit(id, state);
    match event {
        budget::Event::Opened { identity, terms } => json!({
            "owner": parts::owner(identity.owner, state), "unit": identity.unit.as_str(), "every": identity.every.as_str(),
            "only": parts::filter(&identity.only), "limit": amount_text(identity.unit, terms.limit), "hard": terms.hard,
            "alert_at": shares(&terms.alert_at_ppm),
        }),
        budget::Event::LimitSet { limit } => json!({
            "unit": unit.map(|unit| unit.as_str()), "limit": unit.map_or_else(|| limit.to_string(), |unit| amount_text(unit, *limit)),
        }),
        budget::Event::TermsSet { hard, alert_at_ppm } => json!({"hard": hard, "alert_at": shares(alert_at_ppm)}),
        budget::Event::Alerted { window, threshold_ppm } => {
            json!({"window": window.to_string(), "threshold": parts::share(*threshold_ppm)})
        }
        budget::Event::Closed | budget::Event::Reopened => json!({}),
    }
}

/// What an owner says: each setting under its name in the configuration.
pub fn policy(owner: Owner, event: &said::Event, state: &State) -> Value {
    let said::Event::Set(settings) = event;
    let said = said::Policy { settings: settings.clone() };
    let mut data = json!({"owner": parts::owner(owner, state), "loss": said.losses()});
    if let (Some(log), Value::Object(fields)) = (said.request_log(), &mut data) {
        let keep = format!("{}h", log.keep_hours);
        fields.insert(
            "request_log".into(),
            json!({
                "log": log.log.as_str(), "sample": parts::share(log.sample_ppm), "keep": keep, "mask": log.mask,
                "bodies": log.bodies.as_str(), "media": if log.media { "keep" } else { "leave_out" },
            }),
        );
    }
    data
}

pub fn node(event: &node::Event) -> Value {
    match event {
        // a session is named by a random number: as hex, for JSON's numbers end at 2^53
        node::Event::Started { boot, lanes } => json!({"session": format!("{:016x}", boot.0), "lanes": lanes}),
        node::Event::Joined | node::Event::Lost | node::Event::Removed => json!({}),
        node::Event::Restored { position, made_at } => {
            json!({"position": Position::new(*position).to_string(), "backup_made_at": made_at.to_string()})
        }
    }
}
