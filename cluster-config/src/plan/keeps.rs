//! The word `keep` stands for a secret that is there. Where none is, the file must give one.

use super::names::Names;
use crate::{
    config::{Config, Secret, places::Places},
    problem::Problems,
};
use events::State;

/// `names` are those of the state, also of what is going to be pruned: it is there as long as the file names it.
pub(super) fn check(config: &Config, homes: &Places, state: &State, names: &Names, problems: &mut Problems) {
    for provider in config.providers.iter().filter(|provider| provider.api_key == Some(Secret::Keep)) {
        let known = names.providers.get(&provider.settings.name).and_then(|id| state.books.providers.get(id));
        let why = match known {
            None => "is `keep`, and there is no such provider yet: give its key",
            Some(known) if known.secret.is_none() => "is `keep`, and the provider has no key: give it, or leave the field out",
            Some(_) => continue,
        };
        problems.add(format!("{}.api_key", provider.path), why);
    }
    for webhook in config.webhooks.iter().filter(|webhook| webhook.secret == Some(Secret::Keep)) {
        if !names.webhooks.contains_key(&webhook.settings.name) {
            let why = "is `keep`, and there is no such webhook yet: give its secret, or leave the field out to have one made";
            problems.add(format!("{}.secret", webhook.path), why);
        }
    }
    for (key, home) in config.keys.iter().zip(&homes.keys).filter(|(key, _)| key.secret == Some(Secret::Keep)) {
        // one without a place is a problem already
        let Some(home) = home else { continue };
        if !names.keys.contains_key(&(home.tenant.clone(), key.name.clone())) {
            let why = "is `keep`, and there is no such key yet: give its secret, or leave the field out to have one made";
            problems.add(format!("{}.secret", key.path), why);
        }
    }
}
