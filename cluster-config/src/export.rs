//! From the state back to the file that says it: what is open, live and not removed, by name.
//!
//! Planning the file against the same state changes nothing, with or without prune. Secrets are not in it: where there is one, the file
//! says `keep`. Things stand in the order in which they were made, so a file that was applied comes back in its own order.

pub(crate) mod parts;

use crate::{
    config::Secret,
    file::{self, File, escaped},
    plan::names::Names,
};
use events::{
    KeyId, ModelId, Owner, ProviderId, ScopeId, State, StreamId, TenantId, WebhookId, alert, budget, key::Key, limits, price::Price,
    provider, scope::Scope, tenant,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The file that says what is there. What it cannot say is left out: whether a key is blocked, the catalogue, and what hangs on
/// something that is closed.
pub fn export(state: &State) -> File {
    let open = Open::of(state);
    File {
        providers: bare(open.providers()),
        models: bare(open.models()),
        tenants: bare(open.tenants()),
        scopes: bare(open.scopes()),
        keys: bare(open.keys(&|_, _| true)),
        budgets: open.budgets(Owner::Platform),
        webhooks: bare(open.webhooks()),
        loss: open.loss(Owner::Platform),
        request_log: open.request_log(Owner::Platform),
    }
}

/// What stands at the top of the file: the platform's own.
pub fn platform(state: &State) -> Value {
    let open = Open::of(state);
    let (loss, request_log) = (open.loss(Owner::Platform), open.request_log(Owner::Platform));
    let file = File { budgets: open.budgets(Owner::Platform), loss, request_log, ..File::default() };
    serde_json::to_value(file).unwrap_or_default() // plain data: it has a value
}

/// A price, as the file says it.
pub fn price(price: &Price) -> Value {
    serde_json::to_value(parts::price(price)).unwrap_or_default() // plain data: it has a value
}

/// One thing that is configured, as the file says it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `tenant`, `scope`, `key`, `provider`, `model` or `webhook`.
    pub kind: &'static str,
    pub id: StreamId,
    /// Whose it is; None: the platform's.
    pub tenant: Option<TenantId>,
    pub name: String,
    /// The file's entry.
    pub spec: Value,
}

/// By id, name and tenant.
pub type Wanted<'a> = dyn Fn(StreamId, &str, Option<TenantId>) -> bool + 'a;

/// What the file lists of a kind and is wanted, each with its id, in the order of the file: the rest is not written at all.
pub fn entries(state: &State, kind: &str, wanted: &Wanted<'_>) -> Vec<Entry> {
    let (books, open) = (&state.books, Open::of(state));
    let scope = |id| books.scopes.get(&id).map(|scope| scope.tenant);
    let key = |id| books.keys.get(&id).map(|key| key.tenant);
    let provider = |id| books.providers.get(&id).and_then(|provider| provider.settings.tenant);
    let webhook = |id| books.webhooks.get(&id).and_then(|webhook| webhook.settings.tenant);
    match kind {
        "provider" => chosen("provider", open.providers(), StreamId::Provider, provider, |spec| &spec.name, wanted),
        "model" => chosen("model", open.models(), StreamId::Model, |_| None, |spec| &spec.name, wanted),
        "tenant" => chosen("tenant", open.tenants(), StreamId::Tenant, Some, |spec| &spec.name, wanted),
        "scope" => chosen("scope", open.scopes(), StreamId::Scope, scope, |spec| &spec.name, wanted),
        "key" => {
            let keys = open.keys(&|id, key| wanted(StreamId::Key(id), &key.name, Some(key.tenant)));
            chosen("key", keys, StreamId::Key, key, |spec| &spec.name, &|_, _, _| true)
        }
        "webhook" => chosen("webhook", open.webhooks(), StreamId::Webhook, webhook, |spec| &spec.name, wanted),
        _ => Vec::new(),
    }
}

fn chosen<Id: Copy, Spec: Serialize>(
    kind: &'static str,
    listed: Vec<(Id, Spec)>,
    stream: impl Fn(Id) -> StreamId,
    tenant: impl Fn(Id) -> Option<TenantId>,
    name: impl Fn(&Spec) -> &str,
    wanted: &Wanted<'_>,
) -> Vec<Entry> {
    let listed = listed.into_iter().filter(|(id, spec)| wanted(stream(*id), name(spec), tenant(*id)));
    let entry = |(id, spec): (Id, Spec)| {
        let value = serde_json::to_value(&spec).unwrap_or_default(); // plain data: it has a value
        Entry { kind, id: stream(id), tenant: tenant(id), name: name(&spec).to_owned(), spec: value }
    };
    listed.map(entry).collect()
}

fn bare<Id, Spec>(listed: Vec<(Id, Spec)>) -> Vec<Spec> {
    listed.into_iter().map(|(_, spec)| spec).collect()
}

/// The file as text, its members in the order of the documentation.
pub fn to_yaml(file: &File) -> String {
    file.yaml()
}

/// What is there to be named.
struct Open<'a> {
    state: &'a State,
    tenants: BTreeMap<TenantId, &'a str>,
    /// Those that hang on what is open, and how many scopes each lies below.
    scopes: BTreeMap<ScopeId, (&'a Scope, usize)>,
    providers: BTreeMap<ProviderId, &'a provider::Provider>,
    /// How many tenants and scopes a bare name may stand for.
    bearers: BTreeMap<String, usize>,
    budgets: BTreeMap<Owner, Vec<&'a budget::Budget>>,
}

impl<'a> Open<'a> {
    fn of(state: &'a State) -> Open<'a> {
        let (books, names) = (&state.books, Names::of(state));
        let mut bearers: BTreeMap<String, usize> = BTreeMap::new();
        for name in names.tenants.keys().chain(names.scopes.keys().map(|(_, name)| name)) {
            *bearers.entry(name.clone()).or_default() += 1;
        }
        let tenants = books.tenants.iter().filter(|(_, tenant)| tenant.made && !tenant.closed);
        let tenants: BTreeMap<TenantId, &str> = tenants.map(|(id, tenant)| (*id, tenant.name.as_str())).collect();
        let is_mine = |tenant: Option<TenantId>| tenant.is_none_or(|tenant| tenants.contains_key(&tenant));
        let providers = books.providers.iter().filter(|(_, provider)| provider.made && !provider.closed);
        // one of a closed tenant must not become everybody's
        let providers = providers.filter(|(_, provider)| is_mine(provider.settings.tenant)).map(|(id, provider)| (*id, provider)).collect();
        let scopes = books.scopes.iter().filter(|(_, scope)| tenants.contains_key(&scope.tenant));
        let scopes = scopes.filter_map(|(id, scope)| Some((*id, (scope, depth(state, *id)?)))).collect();
        let mut budgets: BTreeMap<Owner, Vec<&budget::Budget>> = BTreeMap::new();
        for (_, budget) in books.budgets.iter().filter(|(_, budget)| budget.made && !budget.closed) {
            budgets.entry(budget.identity.owner).or_default().push(budget);
        }
        Open { state, tenants, scopes, providers, bearers, budgets }
    }

    fn providers(&self) -> Vec<(ProviderId, file::Provider)> {
        let written = |(id, provider): (&ProviderId, &&provider::Provider)| {
            let tenant = provider.settings.tenant.and_then(|tenant| self.tenants.get(&tenant)).map(|name| (*name).to_owned());
            let api_key = provider.secret.map(|_| Secret::KEEP.to_owned());
            (*id, file::Provider { tenant, api_key, ..parts::provider(&provider.settings) })
        };
        self.providers.iter().map(written).collect()
    }

    /// One of a closed tenant must not become the operator's.
    fn webhooks(&self) -> Vec<(WebhookId, file::Webhook)> {
        let open = self.state.books.webhooks.iter().filter(|(_, webhook)| webhook.is_open()).map(|(id, webhook)| (id, &webhook.settings));
        let mine = open.filter(|(_, settings)| settings.tenant.is_none_or(|tenant| self.tenants.contains_key(&tenant)));
        let written = mine.map(|(id, settings)| {
            let webhook = file::Webhook {
                name: settings.name.clone(),
                tenant: settings.tenant.and_then(|tenant| self.tenants.get(&tenant)).map(|name| (*name).to_owned()),
                url: escaped(&settings.url),
                alerts: settings.alerts.as_ref().map(|kinds| kinds.iter().copied().map(alert::Kind::as_str).collect()),
                secret: Secret::KEEP.to_owned(),
            };
            (*id, webhook)
        });
        written.collect()
    }

    /// A target whose provider is gone answers nothing, and nor does a model without targets.
    fn models(&self) -> Vec<(ModelId, file::Model)> {
        let models = self.state.books.models.iter().filter(|(_, model)| model.made && !model.removed);
        let written = models.map(|(id, model)| (*id, &model.settings)).map(|(id, model)| {
            let targets = model.targets.iter().filter_map(|target| {
                let provider = self.providers.get(&target.provider)?.settings.name.clone();
                Some(file::Target { provider, model: target.model.clone(), price: target.price.as_ref().map(parts::price) })
            });
            let written = file::Model {
                name: model.name.clone(),
                targets: targets.collect(),
                price: model.price.as_ref().map(parts::price),
                max_output_tokens: model.bounds.max_output_tokens,
                context_tokens: model.bounds.context_tokens,
            };
            (id, written)
        });
        written.filter(|(_, model)| !model.targets.is_empty()).collect()
    }

    fn tenants(&self) -> Vec<(TenantId, file::Tenant)> {
        let tenants = self.tenants.iter().filter_map(|(id, name)| Some((*id, *name, self.state.books.tenants.get(id)?)));
        let written = |id, name: &str, tenant: &tenant::Tenant| file::Tenant {
            name: name.to_owned(),
            budgets: self.budgets(Owner::Tenant(id)),
            rates: parts::rates(&tenant.rates),
            loss: self.loss(Owner::Tenant(id)),
            request_log: self.request_log(Owner::Tenant(id)),
        };
        tenants.map(|(id, name, tenant)| (id, written(id, name, tenant))).collect()
    }

    /// Parents before what hangs on them: that is how they are made.
    fn scopes(&self) -> Vec<(ScopeId, file::Scope)> {
        let mut scopes: Vec<_> = self.scopes.iter().collect();
        scopes.sort_by_key(|(id, (_, depth))| (*depth, **id));
        let written = scopes.into_iter().filter_map(|(id, (scope, _))| {
            let written = file::Scope {
                name: scope.name.clone(),
                kind: (scope.kind != "scope").then(|| scope.kind.clone()),
                parent: self.place(scope.tenant, scope.parent)?,
                budgets: self.budgets(Owner::Scope(*id)),
                rates: parts::rates(&scope.rates),
                loss: self.loss(Owner::Scope(*id)),
                request_log: self.request_log(Owner::Scope(*id)),
            };
            Some((*id, written))
        });
        written.collect()
    }

    fn keys(&self, wanted: &dyn Fn(KeyId, &Key) -> bool) -> Vec<(KeyId, file::Key)> {
        let keys = self.state.books.keys.iter().filter(|(id, key)| key.made && !key.revoked && wanted(**id, key));
        keys.filter_map(|(id, key)| Some((*id, self.key(*id, key)?))).collect()
    }

    fn key(&self, id: KeyId, key: &Key) -> Option<file::Key> {
        Some(file::Key {
            name: key.name.clone(),
            scope: self.place(key.tenant, key.scope)?,
            models: key.models.clone(),
            rates: parts::rates(&key.rates),
            budgets: self.budgets(Owner::Key(id)),
            loss: self.loss(Owner::Key(id)),
            request_log: self.request_log(Owner::Key(id)),
            secret: Some(Secret::KEEP.to_owned()),
        })
    }

    /// What something hangs on, by a name that stands for nothing else. None: it is closed.
    fn place(&self, tenant: TenantId, scope: Option<ScopeId>) -> Option<String> {
        let tenant = *self.tenants.get(&tenant)?;
        let scope = match scope {
            Some(scope) => Some(self.scopes.get(&scope)?.0.name.as_str()),
            None => None,
        };
        let name = scope.unwrap_or(tenant);
        let is_alone = self.bearers.get(name).is_none_or(|bearers| *bearers == 1);
        Some(if is_alone { name.to_owned() } else { format!("{tenant}/{}", scope.unwrap_or_default()) })
    }

    fn budgets(&self, owner: Owner) -> Vec<file::Budget> {
        self.budgets.get(&owner).into_iter().flatten().map(|budget| parts::budget(budget)).collect()
    }

    fn request_log(&self, owner: Owner) -> Option<file::RequestLog> {
        self.state.books.policies.get(&owner).and_then(|policy| policy.request_log()).map(parts::request_log)
    }

    fn loss(&self, owner: Owner) -> Option<String> {
        self.state.books.policies.get(&owner).and_then(|policy| policy.losses()).map(escaped)
    }
}

/// How many scopes a scope lies below. None: it is closed, or one of them is.
fn depth(state: &State, scope: ScopeId) -> Option<usize> {
    let (mut at, mut depth) = (Some(scope), 0);
    while let Some(id) = at {
        let scope = state.books.scopes.get(&id).filter(|scope| scope.made && !scope.closed && depth < limits::SCOPE_DEPTH_MAX)?;
        (at, depth) = (scope.parent, depth + 1);
    }
    Some(depth - 1)
}

#[cfg(test)]
#[path = "export_tests.rs"]
pub(crate) mod tests;
