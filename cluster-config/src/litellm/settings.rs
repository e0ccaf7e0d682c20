//! What LiteLLM says about all models at once: `router_settings`, `litellm_settings`, `general_settings`, `environment_variables`.

use super::{
    budgets,
    part::{self, Part},
    providers::{self, Providers},
    reasons,
};
use crate::{
    file::{Budget, Filter},
    problem::Problems,
    tree::Node,
};

/// What is tried behind a model, by LiteLLM's names and with their places.
pub(super) struct Fallback {
    pub path: String,
    /// `*`: any that has none of its own.
    pub from: String,
    pub to: Vec<(String, String)>,
}

/// A further name of a model.
pub(super) struct Alias {
    pub path: String,
    pub name: String,
    pub aim: String,
}

pub(super) struct Settings {
    /// Of providers that have none of their own.
    pub timeout: Option<String>,
    pub fallbacks: Vec<Fallback>,
    pub aliases: Vec<Alias>,
    /// For everything.
    budget: Option<Budget>,
    /// By LiteLLM's names of providers.
    by_provider: Vec<(String, String, Budget)>,
}

pub(super) fn read(file: &mut Part, left: &mut Problems) -> Settings {
    let (mut router, mut litellm) = (file.part("router_settings", left), file.part("litellm_settings", left));
    let settings = Settings {
        timeout: timeout(&mut router, &mut litellm, left),
        fallbacks: all_fallbacks(&mut router, &mut litellm, left),
        aliases: aliases(&mut router, left),
        budget: budgets::take(&mut litellm, &["max_budget"], &["budget_duration"], left),
        by_provider: by_provider(&mut router, left),
    };
    router.rest(reasons::ROUTER, left);
    litellm.rest(reasons::LITELLM, left);
    file.part("general_settings", left).rest(reasons::GENERAL, left);
    file.part("environment_variables", left).rest(reasons::ENVIRONMENT, left);
    settings
}

impl Settings {
    /// The platform's budgets.
    pub fn budgets(&self, providers: &Providers, left: &mut Problems) -> Vec<Budget> {
        let mut budgets: Vec<Budget> = self.budget.iter().cloned().collect();
        for (path, name, budget) in &self.by_provider {
            let ours = providers.of(name);
            if ours.is_empty() {
                left.add(path, "is not taken over: no model is asked at this provider");
            } else {
                budgets.push(Budget { only: Filter { providers: ours, ..Filter::default() }, ..budget.clone() });
            }
        }
        budgets
    }
}

/// The router's goes before the library's.
fn timeout(router: &mut Part, litellm: &mut Part, left: &mut Problems) -> Option<String> {
    let (own, other) = (providers::seconds(router, "timeout", left), providers::seconds(litellm, "request_timeout", left));
    if own.is_some() && other.is_some() && own != other {
        left.add(litellm.at("request_timeout"), "is not taken over: router_settings.timeout goes before it");
    }
    let path = if own.is_some() { router.at("timeout") } else { litellm.at("request_timeout") };
    let timeout = own.or(other);
    if let Some(timeout) = &timeout {
        left.add(path, format!("is {timeout} for every provider that has none of its own, and ends its streams too"));
    }
    timeout
}

/// The router's go before the library's; the default ones are for models that have none.
fn all_fallbacks(router: &mut Part, litellm: &mut Part, left: &mut Problems) -> Vec<Fallback> {
    let mut all = fallbacks(router, left);
    let path = litellm.at("fallbacks");
    let others = fallbacks(litellm, left);
    if all.is_empty() {
        all = others;
    } else if !others.is_empty() {
        left.add(path, "is not taken over: router_settings has fallbacks, which go before it");
    }
    for part in [router, litellm] {
        let path = part.at("default_fallbacks");
        let to = part.texts("default_fallbacks", left);
        if !to.is_empty() {
            all.push(Fallback { path, from: "*".to_owned(), to });
        }
    }
    all
}

fn fallbacks(part: &mut Part, left: &mut Problems) -> Vec<Fallback> {
    let mut fallbacks = Vec::new();
    for (path, item) in part.list("fallbacks", left) {
        for (path, from, node) in Part::of(item, path, left).pairs() {
            let to = match node {
                Node::Text(_) => part::text(node, &path, left).map(|to| vec![(path.clone(), to)]).unwrap_or_default(),
                node => {
                    let items = part::items(node, &path, left).into_iter();
                    items.filter_map(|(path, item)| part::text(item, &path, left).map(|to| (path, to))).collect()
                }
            };
            fallbacks.push(Fallback { path, from, to });
        }
    }
    fallbacks
}

/// An alias is a name, or a map that may hide it.
fn aliases(router: &mut Part, left: &mut Problems) -> Vec<Alias> {
    let mut aliases = Vec::new();
    for (path, name, node) in router.part("model_group_alias", left).pairs() {
        let aim = match node {
            Node::Map(_) => {
                let mut entry = Part::of(node, path.clone(), left);
                if entry.truth("hidden", left) == Some(true) {
                    left.add(entry.at("hidden"), "is not taken over: every model is listed");
                }
                let aim = entry.text("model", left);
                entry.rest(reasons::NONE, left);
                aim
            }
            node => part::text(node, &path, left),
        };
        match aim {
            Some(aim) => aliases.push(Alias { path, name, aim }),
            None => left.add(path, "is not taken over: it names no model"),
        }
    }
    aliases
}

fn by_provider(router: &mut Part, left: &mut Problems) -> Vec<(String, String, Budget)> {
    let mut budgets = Vec::new();
    for (path, name, node) in router.part("provider_budget_config", left).pairs() {
        let mut entry = Part::of(node, path.clone(), left);
        match budgets::take(&mut entry, &["budget_limit", "max_budget"], &["time_period", "budget_duration"], left) {
            Some(budget) => budgets.push((path, name, budget)),
            None => left.add(path, "gives no budget"),
        }
        entry.rest(reasons::NONE, left);
    }
    budgets
}
