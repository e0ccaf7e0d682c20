//! What a change changes, field by field, as the file names and writes it. Secrets are never told, only that they are others.

use crate::{
    config::{Key, Model, Provider, Scope, Tenant, Webhook, places::Home},
    export::parts,
    file,
};
use events::{ScopeId, State, TenantId, budget, key, model, policy::RequestLog, provider, scope, tenant, webhook};
use serde::Serialize;
use serde_json::{Value, json};

/// One field of one thing; null: it says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// In its entry of the file, as `targets[0].model`.
    pub path: String,
    pub before: Value,
    pub after: Value,
}

/// What is said instead of a secret.
const SECRET: &str = "(secret)";
const ANOTHER_SECRET: &str = "(another secret)";

/// Where the two differ. Lists of texts are told whole, lists of things one by one.
pub(super) fn between(before: &Value, after: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Field>) {
    let is_map = |value: &Value| value.is_object() || value.is_null();
    let is_list = |value: &Value| value.is_null() || value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    if before == after {
    } else if is_map(before) && is_map(after) {
        let members = [before, after].into_iter().filter_map(Value::as_object).flat_map(|members| members.keys());
        let mut names: Vec<&String> = members.collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare(&path, &before[name], &after[name], found);
        }
    } else if is_list(before) && is_list(after) {
        let count = |value: &Value| value.as_array().map_or(0, Vec::len);
        for at in 0..count(before).max(count(after)) {
            compare(&format!("{path}[{at}]"), &before[at], &after[at], found);
        }
    } else {
        found.push(Field { path: path.into(), before: before.clone(), after: after.clone() });
    }
}

fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).unwrap_or_default() // plain data: it has a value
}

/// Without the name, which never changes.
fn nameless(part: &impl Serialize) -> Value {
    let mut value = value(part);
    if let Some(members) = value.as_object_mut() {
        members.remove("name");
    }
    value
}

/// With what else is said of it.
fn and(mut value: Value, more: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (value.as_object_mut(), more) {
        members.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    value
}

fn secret(name: &str, had_one: bool, is_new: bool) -> Option<Field> {
    let before = if had_one { SECRET.into() } else { Value::Null };
    let after = if had_one { ANOTHER_SECRET } else { SECRET };
    is_new.then(|| Field { path: name.into(), before, after: after.into() })
}

fn tenant_name(state: &State, id: TenantId) -> &str {
    state.books.tenants.get(&id).map_or("", |tenant| &tenant.name)
}

/// What something hangs on, as it is now.
fn place(state: &State, tenant: TenantId, scope: Option<ScopeId>) -> &str {
    match scope {
        Some(id) => state.books.scopes.get(&id).map_or("", |scope| &scope.name),
        None => tenant_name(state, tenant),
    }
}

/// What something hangs on, as it will be.
fn home(home: &Home) -> &str {
    home.scope.as_deref().unwrap_or(&home.tenant)
}

pub(super) fn catalogue(before: Option<String>, after: String) -> Vec<Field> {
    vec![Field { path: "edition".into(), before: before.into(), after: after.into() }]
}

pub(super) fn tenant(before: Option<&tenant::Tenant>, after: &Tenant) -> Vec<Field> {
    let before = before.map(|tenant| value(&parts::rates(&tenant.rates))).unwrap_or_default();
    between(&before, &value(&parts::rates(&after.rates)))
}

pub(super) fn scope(state: &State, before: Option<&scope::Scope>, after: &Scope, place_after: &Home) -> Vec<Field> {
    let form = |rates, kind: &str, parent: &str| and(value(&parts::rates(rates)), json!({"kind": kind, "parent": parent}));
    let before = before.map(|scope| form(&scope.rates, &scope.kind, place(state, scope.tenant, scope.parent)));
    between(&before.unwrap_or_default(), &form(&after.rates, &after.kind, home(place_after)))
}

pub(super) fn key(state: &State, before: Option<&key::Key>, after: &Key, place_after: &Home, is_secret_new: bool) -> Vec<Field> {
    let form =
        |rates, models: &Option<Vec<String>>, scope: &str| and(value(&parts::rates(rates)), json!({"models": models, "scope": scope}));
    let had_one = before.is_some();
    let before = before.map(|key| form(&key.rates, &key.models, place(state, key.tenant, key.scope)));
    let mut fields = between(&before.unwrap_or_default(), &form(&after.rates, &after.models, home(place_after)));
    fields.extend(secret("secret", had_one, is_secret_new));
    fields
}

pub(super) fn provider(state: &State, before: Option<&provider::Provider>, after: &Provider, is_secret_new: bool) -> Vec<Field> {
    let form = |settings: &provider::Settings, tenant: Option<&str>| and(nameless(&parts::provider(settings)), json!({"tenant": tenant}));
    let had_one = before.is_some_and(|provider| provider.secret.is_some());
    let before = before.map(|provider| form(&provider.settings, provider.settings.tenant.map(|tenant| tenant_name(state, tenant))));
    let mut fields = between(&before.unwrap_or_default(), &form(&after.settings, after.tenant.as_deref()));
    fields.extend(secret("api_key", had_one, is_secret_new));
    fields
}

pub(super) fn model(state: &State, before: Option<&model::Model>, after: &Model) -> Vec<Field> {
    let provider = |id| state.books.providers.get(&id).map_or(String::new(), |provider| provider.settings.name.clone());
    let form = |targets: Vec<file::Target>, price: Option<&events::price::Price>, bounds: &events::price::Bounds| {
        let (price, max_output_tokens, context_tokens) = (price.map(parts::price), bounds.max_output_tokens, bounds.context_tokens);
        nameless(&file::Model { name: String::new(), targets, price, max_output_tokens, context_tokens })
    };
    let price = |price: &Option<events::price::Price>| price.as_ref().map(parts::price);
    let before = before.map(|model| {
        let targets = model.settings.targets.iter();
        let targets =
            targets.map(|to| file::Target { provider: provider(to.provider), model: to.model.clone(), price: price(&to.price) }).collect();
        form(targets, model.settings.price.as_ref(), &model.settings.bounds)
    });
    let targets = after.targets.iter();
    let targets =
        targets.map(|to| file::Target { provider: to.provider.clone(), model: to.model.clone(), price: price(&to.price) }).collect();
    between(&before.unwrap_or_default(), &form(targets, after.price.as_ref(), &after.bounds))
}

pub(super) fn webhook(state: &State, before: Option<&webhook::Webhook>, after: &Webhook, is_secret_new: bool) -> Vec<Field> {
    let form = |settings: &webhook::Settings, tenant: Option<&str>| {
        let kinds = settings.alerts.as_ref().map(|kinds| kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>());
        json!({"url": settings.url, "alerts": kinds, "tenant": tenant})
    };
    let had_one = before.is_some();
    let before = before.map(|webhook| form(&webhook.settings, webhook.settings.tenant.map(|tenant| tenant_name(state, tenant))));
    let mut fields = between(&before.unwrap_or_default(), &form(&after.settings, after.tenant.as_deref()));
    fields.extend(secret("secret", had_one, is_secret_new));
    fields
}

/// What it counts stands in its name.
pub(super) fn budget(before: Option<&budget::Budget>, identity: &budget::Identity, terms: &budget::Terms) -> Vec<Field> {
    let form = |budget: &budget::Budget| {
        let hard = budget.terms.hard;
        let mut form = and(value(&parts::budget(budget)), json!({"hard": hard}));
        if let Some(members) = form.as_object_mut() {
            members.retain(|member, _| !["every", "only"].contains(&member.as_str()));
        }
        form
    };
    let after = budget::Budget { identity: identity.clone(), terms: terms.clone(), ..budget::Budget::default() };
    between(&before.map(form).unwrap_or_default(), &form(&after))
}

/// What an owner says about losses, and about bodies.
type Said<'a> = (Option<&'a str>, Option<&'a RequestLog>);

pub(super) fn policy(before: Said<'_>, after: Said<'_>) -> Vec<Field> {
    let shown = |(loss, log): Said<'_>| json!({"loss": loss, "request_log": log.map(parts::request_log)});
    between(&shown(before), &shown(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(before: Value, after: Value) -> Vec<String> {
        between(&before, &after).into_iter().map(|field| format!("{}: {} → {}", field.path, field.before, field.after)).collect()
    }

    #[test]
    fn fields_are_told_where_they_differ() {
        assert_eq!(
            said(json!({"a": 1, "b": {"c": "x", "d": 1}}), json!({"a": 1, "b": {"c": "y"}})),
            ["b.c: \"x\" → \"y\"", "b.d: 1 → null"]
        );
        assert_eq!(said(Value::Null, json!({"models": ["a", "b"]})), ["models: null → [\"a\",\"b\"]"]);
        assert_eq!(
            said(json!({"targets": [{"m": 1}]}), json!({"targets": [{"m": 2}, {"m": 3}]})),
            ["targets[0].m: 1 → 2", "targets[1].m: null → 3"]
        );
        assert_eq!(said(json!({"a": []}), json!({"a": []})), Vec::<String>::new());
    }
}
