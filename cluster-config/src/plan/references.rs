//! Names of tenants, providers and models that stand for nothing. (Scopes: [`crate::config::places`].)

use super::names::Names;
use crate::{
    config::{Budget, Config},
    pattern,
    problem::Problems,
};
use std::collections::BTreeSet;

struct Known<'a> {
    tenants: BTreeSet<&'a str>,
    providers: BTreeSet<&'a str>,
    models: BTreeSet<&'a str>,
}

pub(super) fn check(config: &Config, stays: &Names, problems: &mut Problems) {
    let known = Known {
        tenants: config.tenants.iter().map(|tenant| tenant.name.as_str()).chain(stays.tenants.keys().map(String::as_str)).collect(),
        providers: config.providers().chain(stays.providers.keys().map(String::as_str)).collect(),
        models: config.models().chain(stays.models.keys().map(String::as_str)).collect(),
    };
    for provider in &config.providers {
        if let Some(tenant) = provider.tenant.as_deref().filter(|tenant| !known.tenants.contains(tenant)) {
            unknown("tenant", tenant, format!("{}.tenant", provider.path), &known.tenants, problems);
        }
    }
    for webhook in &config.webhooks {
        if let Some(tenant) = webhook.tenant.as_deref().filter(|tenant| !known.tenants.contains(tenant)) {
            unknown("tenant", tenant, format!("{}.tenant", webhook.path), &known.tenants, problems);
        }
    }
    for target in config.models.iter().flat_map(|model| &model.targets) {
        known.provider(&target.provider, format!("{}.provider", target.path), problems);
    }
    for key in &config.keys {
        for model in key.models.iter().flatten() {
            known.model(model, format!("{}.models", key.path), problems);
        }
    }
    let owned = config.tenants.iter().map(|tenant| &tenant.budgets).chain(config.scopes.iter().map(|scope| &scope.budgets));
    let owned = owned.chain(config.keys.iter().map(|key| &key.budgets)).flatten();
    config.budgets.iter().chain(owned).for_each(|budget| known.budget(budget, problems));
}

impl Known<'_> {
    fn provider(&self, name: &str, path: String, problems: &mut Problems) {
        if !self.providers.contains(name) {
            unknown("provider", name, path, &self.providers, problems);
        }
    }

    /// A pattern may stand for models that come later; a plain name must be one that a call could be for.
    fn model(&self, name: &str, path: String, problems: &mut Problems) {
        let is_routed = || name.split_once('/').is_some_and(|(provider, _)| self.providers.contains(provider));
        let is_known = pattern::is_wild(name) || is_routed() || self.models.iter().any(|model| pattern::matched(model, name).is_some());
        if !is_known {
            unknown("model", name, path, &self.models, problems);
        }
    }

    fn budget(&self, budget: &Budget, problems: &mut Problems) {
        for provider in &budget.only.providers {
            self.provider(provider, format!("{}.only.providers", budget.path), problems);
        }
        for model in &budget.only.models {
            self.model(model, format!("{}.only.models", budget.path), problems);
        }
    }
}

fn unknown(kind: &str, name: &str, path: String, known: &BTreeSet<&str>, problems: &mut Problems) {
    let near = problems.did_you_mean(name, known.iter().copied());
    problems.add(path, format!("there is no {kind} {name}{near}"));
}
