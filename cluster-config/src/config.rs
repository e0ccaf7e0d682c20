//! The file, checked: names are unique, figures are in bounds, and what can be known without the state is known to fit together.
//! Whether what it refers to is there is known only with the state, by [`crate::plan()`].

mod check;
pub(crate) mod places;
mod read;
mod request_log;

pub(crate) use read::price_of;

use crate::{
    Problem,
    problem::Problems,
    tree::{self, Node},
};
use events::{Every, Rates, Unit, budget, policy::RequestLog, price::Bounds, price::Price, provider, webhook};

/// What the cluster is told to be. Checked and immutable.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The price book is brought to the shipped edition; else it is made where there is none, and kept where there is one.
    pub(crate) newest_catalogue: bool,
    /// What the platform says about losses.
    pub(crate) loss: Option<String>,
    /// What the platform says about bodies of calls.
    pub(crate) request_log: Option<RequestLog>,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) providers: Vec<Provider>,
    pub(crate) models: Vec<Model>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) keys: Vec<Key>,
    pub(crate) webhooks: Vec<Webhook>,
}

/// What is said of a secret; its debug form does not show it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Secret {
    /// The one that is there stays: an exported file says this, for secrets are never exported.
    Keep,
    Given(String),
}

impl Secret {
    /// The word for [`Secret::Keep`]. A key's secret is longer, and a provider's is refused if it is this.
    pub const KEEP: &str = "keep";

    pub fn of(text: String) -> Secret {
        if text == Secret::KEEP { Secret::Keep } else { Secret::Given(text) }
    }

    /// The secret itself, where the file gives one.
    pub fn given(&self) -> Option<&str> {
        match self {
            Secret::Keep => None,
            Secret::Given(secret) => Some(secret),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Secret::Keep { "Keep" } else { "Given(…)" })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub path: String,
    pub unit: Unit,
    pub every: Every,
    pub only: budget::Filter,
    pub terms: budget::Terms,
}

#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub path: String,
    /// But for its tenant, which is named beside it.
    pub settings: provider::Settings,
    pub tenant: Option<String>,
    pub api_key: Option<Secret>,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub path: String,
    pub provider: String,
    pub model: String,
    pub price: Option<Price>,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub path: String,
    pub name: String,
    pub targets: Vec<Target>,
    pub price: Option<Price>,
    pub bounds: Bounds,
}

#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub path: String,
    pub name: String,
    pub rates: Rates,
    pub loss: Option<String>,
    pub request_log: Option<RequestLog>,
    pub budgets: Vec<Budget>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub path: String,
    pub name: String,
    pub kind: String,
    /// A tenant or a scope.
    pub parent: String,
    pub rates: Rates,
    pub loss: Option<String>,
    pub request_log: Option<RequestLog>,
    pub budgets: Vec<Budget>,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub path: String,
    pub name: String,
    /// A scope or a tenant.
    pub scope: String,
    /// None: all.
    pub models: Option<Vec<String>>,
    pub rates: Rates,
    pub loss: Option<String>,
    pub request_log: Option<RequestLog>,
    pub budgets: Vec<Budget>,
    pub secret: Option<Secret>,
}

#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub path: String,
    /// But for its tenant, which is named beside it.
    pub settings: webhook::Settings,
    pub tenant: Option<String>,
    pub secret: Option<Secret>,
}

impl Config {
    /// Names of the providers, in the order of the file.
    pub fn providers(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(|provider| provider.settings.name.as_str())
    }

    /// Where the providers are, by name.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.providers.iter().map(|provider| (provider.settings.name.as_str(), provider.settings.base_url.as_str()))
    }

    /// It says nothing but what concerns the platform as a whole.
    pub fn has_no_entries(&self) -> bool {
        let has_owners = !self.tenants.is_empty() || !self.scopes.is_empty() || !self.keys.is_empty();
        !has_owners && self.providers.is_empty() && self.models.is_empty() && self.webhooks.is_empty()
    }

    /// Names of the models, in the order of the file.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }
}

/// Reads a file in YAML or JSON. `${VAR}` in a text is what `vars` says; `$$` is a dollar sign.
///
/// # Errors
/// All that is wrong, each with its place.
pub fn parse(text: &str, vars: &dyn Fn(&str) -> Option<String>) -> Result<Config, Vec<Problem>> {
    // a variable that is not set is a problem beside the others: the rest of the file is read as it is
    let mut problems = Problems::default();
    let node = match tree::read(text, vars, &mut problems)? {
        // an empty file asks for nothing
        Node::Null => Node::Map(Vec::new()),
        node => node,
    };
    let config = read::file(&node, &mut problems);
    check::duplicates(&config, &mut problems);
    if problems.0.is_empty() {
        // names of scopes are followed only where every name could be read
        places::resolve(&config, &places::Outside::default(), false, &mut problems);
    }
    problems.0.sort_by(|left, right| natural(&left.path).cmp(&natural(&right.path)).then_with(|| left.message.cmp(&right.message)));
    problems.0.dedup();
    problems.or(config)
}

/// Orders places so that `keys[2]` comes before `keys[10]`.
fn natural(path: &str) -> Vec<(u64, &str)> {
    let part = |part: &'_ str| -> (u64, usize) { part.split_once(']').map_or((0, 0), |(at, _)| (at.parse().unwrap_or(0), at.len() + 1)) };
    path.split('[')
        .map(|text| {
            let (at, skip) = part(text);
            (at, &text[skip..])
        })
        .collect()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
