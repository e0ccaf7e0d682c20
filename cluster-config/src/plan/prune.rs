//! What the file does not name goes: keys first, and what limits them last.

use super::{Op, Planner, Shown, Step, names};
use crate::config::{
    Config,
    places::{Place, Places},
};
use events::{NoteId, budget, key, model, provider, scope, tenant, webhook};
use std::collections::BTreeSet;

/// All names of the file.
pub(super) struct Named {
    tenants: BTreeSet<String>,
    scopes: BTreeSet<Place>,
    keys: BTreeSet<Place>,
    providers: BTreeSet<String>,
    models: BTreeSet<String>,
    webhooks: BTreeSet<String>,
}

impl Named {
    pub fn of(config: &Config, places: &Places) -> Named {
        let scopes =
            config.scopes.iter().zip(&places.scopes).filter_map(|(scope, home)| Some((home.as_ref()?.tenant.clone(), scope.name.clone())));
        let keys = config.keys.iter().zip(&places.keys).filter_map(|(key, home)| Some((home.as_ref()?.tenant.clone(), key.name.clone())));
        Named {
            tenants: config.tenants.iter().map(|tenant| tenant.name.clone()).collect(),
            scopes: scopes.collect(),
            keys: keys.collect(),
            providers: config.providers().map(str::to_owned).collect(),
            models: config.models().map(str::to_owned).collect(),
            webhooks: config.webhooks.iter().map(|webhook| webhook.settings.name.clone()).collect(),
        }
    }
}

impl Planner<'_> {
    pub(super) fn prune_keys(&mut self, named: &Named) {
        // by id, not by name: keys of closed tenants have none that counts
        let kept: BTreeSet<_> = self.names.keys.iter().filter(|(place, _)| named.keys.contains(*place)).map(|(_, id)| *id).collect();
        for (id, key) in self.state.books.keys.iter().filter(|(id, key)| key.made && !key.revoked && !kept.contains(id)) {
            let tenant = self.state.books.tenants.get(&key.tenant).map_or("", |tenant| &tenant.name);
            let change = Shown::new(Op::Revoke, "key", self.shown("key", tenant, &key.name));
            self.add(Some(key), key::Command::Revoke, change, "", |command| Step::Key(*id, command));
        }
    }

    pub(super) fn prune_rest(&mut self, named: &Named) {
        let books = &self.state.books;
        for (id, model) in
            books.models.iter().filter(|(_, model)| model.made && !model.removed && !named.models.contains(&model.settings.name))
        {
            let change = Shown::new(Op::Delete, "model", model.settings.name.clone());
            self.add(Some(model), model::Command::Remove, change, "", |command| Step::Model(*id, command));
        }
        for (id, budget) in books.budgets.iter().filter(|(_, budget)| budget.made && !budget.closed) {
            if !self.budgets.contains(id) {
                let name = names::budget(&names::owner(self.state, budget.identity.owner), &budget.identity);
                self.add(Some(budget), budget::Command::Close, Shown::new(Op::Close, "budget", name), "", |command| {
                    Step::Budget(*id, command)
                });
            }
        }
        for (id, provider) in books.providers.iter() {
            if provider.made && !provider.closed && !named.providers.contains(&provider.settings.name) {
                let change = Shown::new(Op::Close, "provider", provider.settings.name.clone());
                self.add(Some(provider), provider::Command::Close, change, "", |command| Step::Provider(*id, command, None));
            }
        }
        self.prune_webhooks(named);
        self.prune_scopes(named);
        for (id, tenant) in
            books.tenants.iter().filter(|(_, tenant)| tenant.made && !tenant.closed && !named.tenants.contains(&tenant.name))
        {
            let change = Shown::new(Op::Close, "tenant", tenant.name.clone());
            self.add(Some(tenant), tenant::Command::Close, change, "", |command| Step::Tenant(*id, command));
        }
    }

    /// Their secrets and positions are forgotten with them.
    fn prune_webhooks(&mut self, named: &Named) {
        let open = self.state.books.webhooks.iter().filter(|(_, webhook)| webhook.is_open());
        for (id, webhook) in open.filter(|(_, webhook)| !named.webhooks.contains(&webhook.settings.name)) {
            let change = Shown::new(Op::Close, "webhook", webhook.settings.name.clone());
            let notes = vec![(NoteId::WebhookSecret(*id), None), (NoteId::WebhookPosition(*id), None)];
            self.add(Some(webhook), webhook::Command::Close, change, "", |command| Step::Webhook(*id, command, notes));
        }
    }

    /// What hangs on a scope goes before it.
    fn prune_scopes(&mut self, named: &Named) {
        let books = &self.state.books;
        let kept: BTreeSet<_> = self.names.scopes.iter().filter(|(place, _)| named.scopes.contains(*place)).map(|(_, id)| *id).collect();
        let mut gone: Vec<_> = books.scopes.iter().filter(|(id, scope)| scope.made && !scope.closed && !kept.contains(id)).collect();
        let depth = |scope: &scope::Scope| {
            let mut parents = std::iter::successors(scope.parent, |id| books.scopes.get(id).and_then(|scope| scope.parent));
            parents.by_ref().take(events::limits::SCOPE_DEPTH_MAX).count()
        };
        gone.sort_by_key(|(id, scope)| (std::cmp::Reverse(depth(scope)), **id));
        for (id, scope) in gone {
            let tenant = books.tenants.get(&scope.tenant).map_or("", |tenant| &tenant.name);
            let change = Shown::new(Op::Close, "scope", self.shown("scope", tenant, &scope.name));
            self.add(Some(scope), scope::Command::Close, change, "", |command| Step::Scope(*id, command));
        }
    }
}
