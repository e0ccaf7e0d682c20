//! From a LiteLLM proxy's configuration to ours. What has no place here is told, field by field: nothing is lost in silence.
//!
//! Every field that is read is taken out of the tree; what is still in it at the end was not taken over. A key whose end or whose list
//! of models cannot be kept is left out; whatever else makes one wider than it was is told. No value that may be a secret is shown.

mod budgets;
mod decimal;
mod deployments;
mod keys;
mod models;
mod names;
mod part;
mod prices;
mod providers;
mod reasons;
mod settings;

use crate::{
    catalogue::{shipped_catalogue, spellings},
    file, pattern,
    problem::{Problem, Problems},
    tree::Node,
};
use events::catalogue;
use part::Part;

/// A configuration of LiteLLM as far as it could be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Our file, to be read by [`crate::parse`]. `os.environ/NAME` has become `${NAME}`.
    pub yaml: String,
    /// What was not taken over, or not as it was: its place in LiteLLM's file, why, and what to do instead.
    pub left: Vec<Problem>,
}

/// Turns a LiteLLM proxy configuration into a file of ours. Besides the sections that LiteLLM knows, `keys` and `teams` may list the
/// bodies of its `/key/generate` and `/team/new`.
///
/// # Errors
/// Text that is not YAML, or not a map.
pub fn import(text: &str) -> Result<Imported, Vec<Problem>> {
    let mut left = Problems::default();
    let mut file = match read(text)? {
        node @ (Node::Null | Node::Map(_)) => Part::of(node, String::new(), &mut left),
        other => return Err(vec![Problem { path: String::new(), message: format!("must be a map, not {}", other.kind()) }]),
    };
    let settings = settings::read(&mut file, &mut left);
    let deployments = deployments::read(&mut file, settings.timeout.clone(), &mut left);
    let models = models::chain(&deployments, &settings, &mut left);
    let (scopes, keys) = keys::read(&mut file, &models, &deployments.providers, &mut left);
    let budgets = settings.budgets(&deployments.providers, &mut left);
    file.rest(reasons::FILE, &mut left);
    let written = file::File {
        webhooks: Vec::new(),
        budgets,
        providers: deployments.providers.written(&mut left),
        models: models.written,
        tenants: if scopes.is_empty() && keys.is_empty() {
            Vec::new()
        } else {
            vec![file::Tenant { name: keys::TENANT.to_owned(), ..file::Tenant::default() }]
        },
        scopes,
        keys,
        loss: None,
        request_log: None,
    };
    tell_unpriced(&written, &mut left);
    Ok(Imported { yaml: written.yaml(), left: left.0 })
}

/// A budget in dollars refuses what nobody knows the price of; LiteLLM lets it pass, and counts nothing.
fn tell_unpriced(file: &file::File, left: &mut Problems) {
    let mut owners = file.scopes.iter().map(|scope| &scope.budgets).chain(file.keys.iter().map(|key| &key.budgets));
    if file.budgets.is_empty() && owners.all(Vec::is_empty) {
        return;
    }
    let catalogue::Command::Set { entries, .. } = shipped_catalogue();
    let is_known = |dialect: &str, model: &str| spellings(model).iter().any(|name| entries.contains_key(&format!("{dialect}/{name}")));
    let is_priced = |target: &file::Target| {
        let provider = file.providers.iter().find(|provider| provider.name == target.provider);
        let by_provider = provider.is_some_and(|provider| provider.price.is_some() || is_known(&provider.dialect, &target.model));
        target.price.is_some() || pattern::is_wild(&target.model) || by_provider
    };
    for model in file.models.iter().filter(|model| model.price.is_none()) {
        for target in model.targets.iter().filter(|target| !is_priced(target)) {
            let what = format!("{} at {} has no price", target.model, target.provider);
            left.add(
                format!("model_list.{}", model.name),
                format!("{what}: calls of it that a budget in dollars covers are refused; give `price`"),
            );
        }
    }
}

/// The tree without any variables filled in: a dollar sign means nothing to LiteLLM.
fn read(text: &str) -> Result<Node, Vec<Problem>> {
    // without snippets: they would show secrets
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
    let parsed = serde_saphyr::from_str_with_options::<Node>(text, options);
    parsed.map_err(|error| vec![Problem { path: String::new(), message: format!("not YAML: {error}") }])
}

#[cfg(test)]
#[path = "litellm_tests.rs"]
mod tests;
