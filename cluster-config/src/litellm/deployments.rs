//! `model_list`: each entry is one target of a model at a provider.

use super::{
    part::{Part, Said},
    prices,
    providers::{self, Providers},
    reasons,
};
use crate::{file::Price, pattern, problem::Problems, tree::Node, values};
use std::collections::BTreeMap;

/// What is known of a model's size, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub output: Option<u64>,
    pub context: Option<u64>,
}

pub(super) struct Deployment {
    pub path: String,
    /// What LiteLLM calls the model.
    pub name: String,
    pub provider: usize,
    pub model: String,
    pub price: Option<Price>,
    /// The smaller is tried first.
    pub order: i128,
    pub bounds: Bounds,
}

pub(super) struct Deployments {
    pub list: Vec<Deployment>,
    pub providers: Providers,
}

/// Values that deployments name instead of writing them.
struct Credential {
    path: String,
    values: Vec<(&'static str, Node)>,
    used: bool,
}

type Credentials = BTreeMap<String, Credential>;

pub(super) fn read(file: &mut Part, timeout: Option<String>, left: &mut Problems) -> Deployments {
    let mut credentials = credentials(file, left);
    let mut deployments = Deployments { list: Vec::new(), providers: Providers::new(timeout) };
    for (path, node) in file.list("model_list", left) {
        // what is said of a deployment that is left as a whole is said by that
        let mut told = Problems::default();
        match deployments.take(Part::of(node, path.clone(), &mut told), &credentials, &mut told) {
            Ok(credential) => {
                left.0.append(&mut told.0);
                credential.and_then(|name| credentials.get_mut(&name)).into_iter().for_each(|credential| credential.used = true);
            }
            Err(why) => left.add(path, format!("is not taken over: {why}")),
        }
    }
    for credential in credentials.values().filter(|credential| !credential.used) {
        left.add(&credential.path, "is not taken over: no model that was names it");
    }
    deployments
}

fn credentials(file: &mut Part, left: &mut Problems) -> Credentials {
    let mut credentials = Credentials::new();
    for (path, node) in file.list("credential_list", left) {
        let mut entry = Part::of(node, path.clone(), left);
        let name = entry.text("credential_name", left);
        let mut given = entry.part("credential_values", left);
        let fields = ["api_key", "api_base", "api_version"];
        let values = fields.into_iter().filter_map(|field| Some((field, given.take(field)?))).collect();
        given.rest(reasons::PARAMS, left);
        match name {
            Some(name) if !credentials.contains_key(&name) => drop(credentials.insert(name, Credential { path, values, used: false })),
            _ => left.add(path, "is not taken over: it has no credential_name, or one that stands there already"),
        }
        entry.rest(reasons::CREDENTIAL, left);
    }
    credentials
}

impl Deployments {
    /// Takes one entry, and gives the name of its credential. Nothing is changed by one that is refused.
    fn take(&mut self, mut entry: Part, credentials: &Credentials, left: &mut Problems) -> Result<Option<String>, String> {
        let name = entry.text("model_name", left).filter(|name| !name.is_empty()).ok_or("it has no model_name")?;
        values::wildcard(&name)?;
        let (mut params, mut info) = (entry.part("litellm_params", left), entry.part("model_info", left));
        let credential = supply(&mut params, credentials, left)?;
        let model = params.text("model", left).ok_or("it has no litellm_params.model")?;
        let custom = params.text("custom_llm_provider", left);
        let base = base(&mut params)?;
        let (kind, model) = providers::place(&model, custom.as_deref(), base.as_ref())?;
        values::model_name(&model).map_err(|why| format!("the model's name at the provider {why}"))?;
        if pattern::is_wild(&model) && !pattern::is_wild(&name) {
            return Err("a * may be in litellm_params.model only where one is in model_name".to_owned());
        }
        let source = providers::source(kind, &mut params, base.as_ref(), left)?;
        let is_embedding = mode(&mut info, left)? == "embedding";
        let price = prices::take(&mut params, &mut info, is_embedding, left);
        let bounds = bounds(&mut info, left);
        let order = order(&mut params, left);
        let provider = self.providers.find(source);
        self.providers.limit(provider, &mut params, left);
        let path = entry.path.clone();
        entry.rest(reasons::NONE, left);
        params.rest(reasons::PARAMS, left);
        info.rest(reasons::INFO, left);
        self.list.push(Deployment { path, name, provider, model, price, order, bounds });
        Ok(credential)
    }
}

/// Fills in the values of the credential that is named, and gives its name.
fn supply(params: &mut Part, credentials: &Credentials, left: &mut Problems) -> Result<Option<String>, String> {
    let Some(name) = params.text("litellm_credential_name", left) else { return Ok(None) };
    let credential = credentials.get(&name).ok_or("its litellm_credential_name is not in credential_list")?;
    credential.values.iter().for_each(|(field, node)| params.supply(field, node));
    Ok(Some(name))
}

/// The address, if it has one of its own. One that cannot be read must not become the usual one.
fn base(params: &mut Part) -> Result<Option<Said>, String> {
    match params.take("api_base") {
        None => Ok(None),
        Some(Node::Text(text)) if text.value.is_empty() => Ok(None),
        Some(Node::Text(text)) => Said::of(&text.value).map(Some),
        Some(other) => Err(format!("its api_base must be text, not {}", other.kind())),
    }
}

/// The kind of its calls, which must be one that we carry.
fn mode(info: &mut Part, left: &mut Problems) -> Result<String, String> {
    match info.text("mode", left) {
        None => Ok("chat".to_owned()),
        Some(mode) if ["chat", "completion", "embedding", "responses"].contains(&mode.as_str()) => Ok(mode),
        Some(_) => Err("its model_info.mode is not carried: chat, completion, responses and embedding are".to_owned()),
    }
}

/// `max_tokens` is LiteLLM's older word for either.
fn bounds(info: &mut Part, left: &mut Problems) -> Bounds {
    let (output, context) = (info.count("max_output_tokens", left), info.count("max_input_tokens", left));
    let older = info.count("max_tokens", left);
    if older.is_some() && output.is_some() && older != output && older != context {
        left.add(info.at("max_tokens"), "is not taken over: max_output_tokens says otherwise, and goes before it");
    }
    Bounds { output: output.or(older), context }
}

fn order(params: &mut Part, left: &mut Problems) -> i128 {
    match params.take("order") {
        None => i128::MAX,
        Some(Node::Whole(order)) => order,
        Some(other) => {
            left.add(params.at("order"), format!("must be a whole number, not {}; it is not taken over", other.kind()));
            i128::MAX
        }
    }
}
