//! What stands twice in one file.

use super::{Budget, Config, Secret};
use crate::problem::Problems;
use events::limits;
use std::collections::BTreeMap;

pub(super) fn duplicates(config: &Config, problems: &mut Problems) {
    let tenants = config.tenants.iter().map(|tenant| (tenant.name.as_str(), format!("{}.name", tenant.path)));
    twice("tenant", tenants, problems);
    let providers = config.providers.iter().map(|provider| (provider.settings.name.as_str(), format!("{}.name", provider.path)));
    twice("provider", providers, problems);
    let models = config.models.iter().map(|model| (model.name.as_str(), format!("{}.name", model.path)));
    twice("model", models, problems);
    let webhooks = config.webhooks.iter().map(|webhook| (webhook.settings.name.as_str(), format!("{}.name", webhook.path)));
    twice("webhook", webhooks, problems);
    if config.webhooks.len() > limits::WEBHOOKS_MAX {
        problems.add("webhooks", format!("may list {} webhooks, not {}", limits::WEBHOOKS_MAX, config.webhooks.len()));
    }
    // the message names places, never the secret
    let mut secrets = BTreeMap::new();
    for key in &config.keys {
        let Some(secret) = key.secret.as_ref().and_then(Secret::given) else { continue };
        if let Some(first) = secrets.insert(secret, &key.path) {
            problems.add(format!("{}.secret", key.path), format!("is the secret of {first} too"));
        }
    }
    budgets_twice(&config.budgets, problems);
    let owners = config.tenants.iter().map(|tenant| &tenant.budgets).chain(config.scopes.iter().map(|scope| &scope.budgets));
    for budgets in owners.chain(config.keys.iter().map(|key| &key.budgets)) {
        budgets_twice(budgets, problems);
    }
}

fn twice<'a>(kind: &str, names: impl Iterator<Item = (&'a str, String)>, problems: &mut Problems) {
    let mut first: BTreeMap<&str, String> = BTreeMap::new();
    for (name, path) in names {
        match first.get(name) {
            Some(there) => problems.add(path, format!("the {kind} {name} is there already, at {there}")),
            None => drop(first.insert(name, path)),
        }
    }
}

fn budgets_twice(budgets: &[Budget], problems: &mut Problems) {
    let mut first = BTreeMap::new();
    for budget in budgets {
        if let Some(there) = first.insert((budget.unit, budget.every, &budget.only), &budget.path) {
            problems.add(&budget.path, format!("has unit, window and filter of {there}: that is one budget"));
        }
    }
}
