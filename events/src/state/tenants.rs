//! What there is for one tenant: a state in which nothing of another's was ever made.

use super::State;
use crate::{Owner, ProviderId, TenantId, model, provider};

impl State {
    /// The configuration as this tenant may know it: its own, and what the platform has for all. Whatever is asked of it or planned against it
    /// cannot tell another tenant's things from such as there are not. Without calls and figures.
    pub fn seen_by(&self, tenant: TenantId) -> State {
        let (all, mut seen) = (&self.books, State::default());
        let mine = &mut seen.books;
        all.tenants.iter().filter(|(id, _)| **id == tenant).for_each(|(id, row)| mine.tenants.insert(*id, row.clone()));
        all.scopes.iter().filter(|(_, scope)| scope.tenant == tenant).for_each(|(id, row)| mine.scopes.insert(*id, row.clone()));
        all.keys.iter().filter(|(_, key)| key.tenant == tenant).for_each(|(id, row)| mine.keys.insert(*id, row.clone()));
        let keys = all.overlaps.iter().filter(|(id, _)| mine.keys.contains(id));
        keys.for_each(|(id, row)| mine.overlaps.insert(*id, row.clone()));
        let is_open = |provider: &provider::Provider| provider.settings.tenant.is_none_or(|owner| owner == tenant);
        all.providers.iter().filter(|(_, provider)| is_open(provider)).for_each(|(id, row)| mine.providers.insert(*id, row.clone()));
        for (id, model) in all.models.iter() {
            if let Some(model) = with_targets(model, |provider| mine.providers.contains(&provider)) {
                mine.models.insert(*id, model);
            }
        }
        let webhooks = all.webhooks.iter().filter(|(_, webhook)| webhook.settings.tenant == Some(tenant));
        webhooks.for_each(|(id, row)| mine.webhooks.insert(*id, row.clone()));
        if let Some(row) = all.catalogue.get(&()) {
            mine.catalogue.insert((), row.clone());
        }
        let is_mine = |owner: Owner| owner == Owner::Platform || self.tenant_of_owner(owner) == Some(tenant);
        all.budgets.iter().filter(|(_, budget)| is_mine(budget.identity.owner)).for_each(|(id, row)| mine.budgets.insert(*id, row.clone()));
        all.policies.iter().filter(|(owner, _)| is_mine(**owner)).for_each(|(owner, row)| mine.policies.insert(*owner, row.clone()));
        seen.loaded();
        seen.books.n = all.n;
        seen.books.head = all.head;
        seen.desk.advance(self.desk.time());
        seen
    }
}

/// The model with these targets of its own; None: there is none.
fn with_targets(model: &model::Model, is_open: impl Fn(ProviderId) -> bool) -> Option<model::Model> {
    let mut model = model.clone();
    model.settings.targets.retain(|target| is_open(target.provider));
    (!model.settings.targets.is_empty()).then_some(model)
}
