//! Making the view, whole or the part that an event touches, always from the state: so both ways come to the same.

use super::{EntryView, KeyState, Level, ModelView, PathBudget, Principal, ProviderView, TargetView, View};
use crate::pattern;
use dialects::exchange::loss::LossRules;
use events::{
    BudgetId, KeyId, ModelId, Owner, ProviderId, Rates, ScopeId, State, TenantId,
    budget::Budget,
    catalogue::Entry,
    key::{Key, KeyHash},
    limits,
    model::Model,
    policy::{Logged, RequestLog},
    price::Price,
    scope::Scope,
};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

pub(super) fn whole(state: &State) -> View {
    let books = &state.books;
    let mut view = View { position: state.position(), ..View::default() };
    let tenants = books.tenants.iter().filter(|(_, tenant)| tenant.made && !tenant.closed);
    tenants.for_each(|(id, _)| view.tenants.insert_mut(*id));
    books.providers.iter().for_each(|(id, _)| view.provider_changed(state, *id));
    books.models.iter().for_each(|(id, _)| view.model_changed(state, *id));
    if let Some(catalogue) = books.catalogue.get(&()) {
        catalogue.entries.iter().for_each(|(name, entry)| view.catalogue.insert_mut(name.clone(), Arc::new(entry_view(entry))));
    }
    let mut budgets: BTreeMap<Owner, Vec<Arc<PathBudget>>> = BTreeMap::new();
    for (id, budget) in books.budgets.iter().filter(|(_, budget)| is_open(budget)) {
        budgets.entry(budget.identity.owner).or_default().push(Arc::new(path_budget(state, *id, budget)));
    }
    budgets.into_iter().for_each(|(owner, budgets)| view.budgets.insert_mut(owner, Arc::new(budgets)));
    books.keys.iter().for_each(|(id, _)| view.remake(state, *id));
    view
}

impl View {
    pub(super) fn tenant_changed(&mut self, state: &State, id: TenantId) {
        match state.books.tenants.get(&id).filter(|tenant| tenant.made && !tenant.closed) {
            Some(_) => self.tenants.insert_mut(id),
            None => drop(self.tenants.remove_mut(&id)),
        }
        self.name_budgets(state, Owner::Tenant(id));
        self.remake_tenant(state, id);
    }

    pub(super) fn scope_changed(&mut self, state: &State, id: ScopeId) {
        self.name_budgets(state, Owner::Scope(id));
        if let Some(scope) = state.books.scopes.get(&id) {
            self.remake_tenant(state, scope.tenant);
        }
    }

    fn remake_tenant(&mut self, state: &State, tenant: TenantId) {
        for (id, _) in state.books.keys.iter().filter(|(_, key)| key.tenant == tenant) {
            self.remake(state, *id);
        }
    }

    /// Brings one key up to date.
    pub(super) fn remake(&mut self, state: &State, id: KeyId) {
        if let Some(old) = self.ids.get(&id) {
            let is_revoked = old.state == KeyState::Revoked;
            for hash in hashes(old) {
                self.keys.remove_mut(&(hash, is_revoked, Reverse(id)));
            }
        }
        let Some(key) = state.books.keys.get(&id).filter(|key| key.made) else { return };
        let principal = Arc::new(self.principal(state, id, key));
        for hash in hashes(&principal) {
            self.keys.insert_mut((hash, principal.state == KeyState::Revoked, Reverse(id)), principal.clone());
        }
        self.ids.insert_mut(id, principal);
    }

    fn principal(&self, state: &State, id: KeyId, key: &Key) -> Principal {
        let scopes = scopes_above(state, key.scope);
        let tenant = state.books.tenants.get(&key.tenant);
        let is_closed = tenant.is_none_or(|tenant| tenant.closed) || scopes.iter().any(|(_, scope)| scope.closed);
        let key_state = match key {
            key if key.revoked || is_closed => KeyState::Revoked,
            key if key.blocked => KeyState::Blocked,
            _ => KeyState::Live,
        };
        let tenant_name = tenant.map(|tenant| tenant.name.clone()).unwrap_or_default();
        let level = |owner, name: &String, kind: &str, rates: Rates| Level { owner, name: name.clone(), kind: kind.to_owned(), rates };
        let mut levels = vec![level(Owner::Key(id), &key.name, "key", key.rates)];
        levels.extend(scopes.iter().map(|(id, scope)| level(Owner::Scope(*id), &scope.name, &scope.kind, scope.rates)));
        levels.push(level(Owner::Tenant(key.tenant), &tenant_name, "tenant", tenant.map(|tenant| tenant.rates).unwrap_or_default()));
        let owners = levels.iter().map(|level| level.owner).chain([Owner::Platform]);
        let losses = losses(state, owners.clone());
        let request_log = request_log(state, owners.clone());
        let budgets = owners.filter_map(|owner| self.budgets.get(&owner)).flat_map(|budgets| budgets.iter().cloned()).collect();
        let (name, models) = (key.name.clone(), key.models.clone());
        let previous = state.books.overlaps.get(&id).map(|overlap| (overlap.previous.hash, overlap.until));
        let (tenant, state, hash) = (key.tenant, key_state, key.hash);
        Principal { key: id, name, tenant, tenant_name, state, levels, budgets, models, losses, request_log, hash, previous }
    }

    pub(super) fn budget_changed(&mut self, state: &State, id: BudgetId) {
        let Some(budget) = state.books.budgets.get(&id) else { return };
        let owner = budget.identity.owner;
        let mut budgets: Vec<Arc<PathBudget>> = self.budgets.get(&owner).map(|budgets| budgets.to_vec()).unwrap_or_default();
        budgets.retain(|known| known.id != id);
        if is_open(budget) {
            let at = budgets.partition_point(|known| known.id < id);
            budgets.insert(at, Arc::new(path_budget(state, id, budget)));
        }
        match budgets.is_empty() {
            true => drop(self.budgets.remove_mut(&owner)),
            false => self.budgets.insert_mut(owner, Arc::new(budgets)),
        }
        self.remake_below(state, owner);
    }

    /// Brings every key up to date that something of an owner's binds.
    pub(super) fn remake_below(&mut self, state: &State, owner: Owner) {
        match owner {
            Owner::Platform => state.books.keys.iter().for_each(|(id, _)| self.remake(state, *id)),
            Owner::Tenant(id) => self.remake_tenant(state, id),
            Owner::Scope(id) => self.scope_changed(state, id),
            Owner::Key(id) => self.remake(state, id),
        }
    }

    /// Budgets of a key are made before it, so that it is never without them: they learn its name when it comes.
    pub(super) fn name_budgets(&mut self, state: &State, owner: Owner) {
        let name = owner_name(state, owner);
        let Some(budgets) = self.budgets.get(&owner).filter(|budgets| budgets.iter().any(|budget| budget.owner_name != name)) else {
            return;
        };
        let named = budgets.iter().map(|budget| Arc::new(PathBudget { owner_name: name.clone(), ..(**budget).clone() })).collect();
        self.budgets.insert_mut(owner, Arc::new(named));
    }

    pub(super) fn provider_changed(&mut self, state: &State, id: ProviderId) {
        if let Some(name) = self.providers.get(&id).map(|old| old.name.clone()).filter(|name| self.provider_names.get(name) == Some(&id)) {
            self.provider_names.remove_mut(&name);
        }
        self.providers.remove_mut(&id);
        let Some(provider) = state.books.providers.get(&id).filter(|provider| provider.made && !provider.closed) else { return };
        // a dialect that this build does not know is one that it cannot call
        let Ok(dialect) = provider.settings.dialect.parse() else { return };
        let settings = provider.settings.clone();
        let (name, price) = (settings.name.clone(), shared(settings.price.as_ref()));
        self.provider_names.insert_mut(name.clone(), id);
        let known = dialects::providers::find(dialect, &settings.base_url);
        self.providers.insert_mut(id, Arc::new(ProviderView { id, name, dialect, settings, secret: provider.secret, price, known }));
    }

    pub(super) fn model_changed(&mut self, state: &State, id: ModelId) {
        if let Some(old) = self.model_ids.get(&id).cloned() {
            self.model_ids.remove_mut(&id);
            if self.models.get(&old.name).is_some_and(|model| model.id == id) {
                self.models.remove_mut(&old.name);
            }
            if self.wildcards.get(&specific(&old.name)).is_some_and(|model| model.id == id) {
                self.wildcards.remove_mut(&specific(&old.name));
            }
        }
        let Some(model) = state.books.models.get(&id).filter(|model| model.made && !model.removed) else { return };
        let model = Arc::new(model_view(id, model));
        match pattern::is_wild(&model.name) {
            true => self.wildcards.insert_mut(specific(&model.name), model.clone()),
            false => self.models.insert_mut(model.name.clone(), model.clone()),
        }
        self.model_ids.insert_mut(id, model);
    }

    pub(super) fn entry_changed(&mut self, state: &State, name: &str) {
        match state.books.catalogue.get(&()).and_then(|catalogue| catalogue.entries.get(name)) {
            Some(entry) => self.catalogue.insert_mut(name.to_owned(), Arc::new(entry_view(entry))),
            None => drop(self.catalogue.remove_mut(name)),
        }
    }
}

/// Of the secrets that may let in with a key.
fn hashes(principal: &Principal) -> impl Iterator<Item = KeyHash> + use<> {
    std::iter::once(principal.hash).chain(principal.previous.map(|(hash, _)| hash))
}

/// A scope and those above it, nearest first. Never more than can be: a circle in the books must not hang a node.
fn scopes_above(state: &State, scope: Option<ScopeId>) -> Vec<(ScopeId, &Scope)> {
    let find = |id: ScopeId| state.books.scopes.get(&id).map(|scope| (id, scope));
    let above = std::iter::successors(scope.and_then(find), |(_, scope)| scope.parent.and_then(find));
    above.take(limits::SCOPE_DEPTH_MAX).collect()
}

/// What owners say about losses, from near to far: so that the nearest has the last word, they are read from the end.
fn losses(state: &State, owners: impl Iterator<Item = Owner>) -> LossRules {
    let said = owners.filter_map(|owner| state.books.policies.get(&owner)?.losses());
    let mut rules: Vec<LossRules> = said.filter_map(|rules| rules.parse().ok()).collect();
    rules.reverse();
    rules.into_iter().fold(LossRules::default(), LossRules::then)
}

/// What the nearest owner says that says something; None: nothing is kept.
fn request_log(state: &State, mut owners: impl Iterator<Item = Owner>) -> Option<Arc<RequestLog>> {
    let said = owners.find_map(|owner| state.books.policies.get(&owner)?.request_log())?;
    (said.log != Logged::Off).then(|| Arc::new(said.clone()))
}

fn is_open(budget: &Budget) -> bool {
    budget.made && !budget.closed
}

fn path_budget(state: &State, id: BudgetId, budget: &Budget) -> PathBudget {
    let owner = budget.identity.owner;
    PathBudget {
        id,
        owner_name: owner_name(state, owner),
        level: owner.level(),
        identity: budget.identity.clone(),
        terms: budget.terms.clone(),
    }
}

fn owner_name(state: &State, owner: Owner) -> String {
    let books = &state.books;
    let name = match owner {
        Owner::Platform => None,
        Owner::Tenant(id) => books.tenants.get(&id).map(|tenant| &tenant.name),
        Owner::Scope(id) => books.scopes.get(&id).map(|scope| &scope.name),
        Owner::Key(id) => books.keys.get(&id).map(|key| &key.name),
    };
    name.cloned().unwrap_or_default()
}

/// The order of wildcards.
fn specific(name: &str) -> (Reverse<usize>, String) {
    (Reverse(name.len() - name.matches('*').count()), name.to_owned())
}

fn model_view(id: ModelId, model: &Model) -> ModelView {
    let settings = &model.settings;
    let targets = settings.targets.iter().map(|target| TargetView {
        provider: target.provider,
        model: target.model.clone(),
        price: shared(target.price.as_ref()),
    });
    ModelView {
        id,
        name: settings.name.clone(),
        targets: targets.collect(),
        price: shared(settings.price.as_ref()),
        bounds: settings.bounds,
    }
}

fn entry_view(entry: &Entry) -> EntryView {
    EntryView { price: shared(entry.price.as_ref()), bounds: entry.bounds }
}

fn shared(price: Option<&Price>) -> Option<Arc<Price>> {
    price.map(|price| Arc::new(price.clone()))
}
