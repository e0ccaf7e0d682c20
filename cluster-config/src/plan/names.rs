//! What is there by name: what is open, live and not removed.

use crate::config::places::{Outside, Place};
use events::{KeyId, ModelId, Owner, ProviderId, ScopeId, State, TenantId, WebhookId, budget};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub tenants: BTreeMap<String, TenantId>,
    pub scopes: BTreeMap<Place, ScopeId>,
    pub keys: BTreeMap<Place, KeyId>,
    pub providers: BTreeMap<String, ProviderId>,
    pub models: BTreeMap<String, ModelId>,
    pub webhooks: BTreeMap<String, WebhookId>,
}

impl Names {
    pub fn of(state: &State) -> Names {
        let books = &state.books;
        let tenants = books.tenants.iter().filter(|(_, tenant)| tenant.made && !tenant.closed);
        let tenants: BTreeMap<String, TenantId> = tenants.map(|(id, tenant)| (tenant.name.clone(), *id)).collect();
        let live = |id: &TenantId| books.tenants.get(id).filter(|tenant| tenant.made && !tenant.closed).map(|tenant| tenant.name.clone());
        let scopes = books.scopes.iter().filter(|(_, scope)| scope.made && !scope.closed);
        let keys = books.keys.iter().filter(|(_, key)| key.made && !key.revoked);
        let providers = books.providers.iter().filter(|(_, provider)| provider.made && !provider.closed);
        let models = books.models.iter().filter(|(_, model)| model.made && !model.removed);
        let webhooks = books.webhooks.iter().filter(|(_, webhook)| webhook.is_open());
        Names {
            webhooks: webhooks.map(|(id, webhook)| (webhook.settings.name.clone(), *id)).collect(),
            scopes: scopes.filter_map(|(id, scope)| Some(((live(&scope.tenant)?, scope.name.clone()), *id))).collect(),
            keys: keys.filter_map(|(id, key)| Some(((live(&key.tenant)?, key.name.clone()), *id))).collect(),
            providers: providers.map(|(id, provider)| (provider.settings.name.clone(), *id)).collect(),
            models: models.map(|(id, model)| (model.settings.name.clone(), *id)).collect(),
            tenants,
        }
    }

    /// Tenants and scopes with their parents, by name.
    pub fn outside(&self, state: &State) -> Outside {
        let parent = |id: &ScopeId| {
            let parent = state.books.scopes.get(id)?.parent?;
            state.books.scopes.get(&parent).map(|parent| parent.name.clone())
        };
        Outside {
            tenants: self.tenants.keys().cloned().collect(),
            scopes: self.scopes.iter().map(|(place, id)| (place.clone(), parent(id))).collect(),
        }
    }
}

/// A budget as people see it: `team search: USD a day, only providers openai`.
pub(super) fn budget(of: &str, identity: &budget::Identity) -> String {
    let every = identity.every.as_str();
    let every = if every == "total" { "in total".to_owned() } else { format!("a {every}") };
    let mut text = format!("{of}: {} {every}", identity.unit.as_str());
    let only = &identity.only;
    for (kind, listed) in [("models", &only.models), ("providers", &only.providers), ("tags", &only.tags)] {
        if !listed.is_empty() {
            text.push_str(&format!(", only {kind} {}", listed.join(" ")));
        }
    }
    text
}

/// Whom a budget of the state belongs to, as people see it.
pub(super) fn owner(state: &State, owner: Owner) -> String {
    let books = &state.books;
    match owner {
        Owner::Platform => "platform".into(),
        Owner::Tenant(id) => format!("tenant {}", books.tenants.get(&id).map_or("", |tenant| &tenant.name)),
        Owner::Scope(id) => books.scopes.get(&id).map(|scope| format!("{} {}", scope.kind, scope.name)).unwrap_or_default(),
        Owner::Key(id) => format!("key {}", books.keys.get(&id).map_or("", |key| &key.name)),
    }
}
