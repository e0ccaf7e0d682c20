//! LiteLLM's providers as ours: which dialect, which address, which key. One for each that differs in any of these.

use super::{
    names::Names,
    part::{Part, Said},
};
use crate::{
    file::{self, escaped},
    pattern,
    problem::Problems,
    values,
};
use dialects::{
    Dialect,
    providers::{self, Known},
};
use events::limits;
use std::collections::BTreeMap;

/// A provider of LiteLLM that one of our dialects reaches.
pub(super) struct Kind {
    /// What stands before the slash of a model.
    pub prefix: &'static str,
    /// What we call it; empty: any that speaks OpenAI's dialect.
    ours: &'static str,
    /// The variable in which LiteLLM looks for the key; empty: it needs none.
    key: &'static str,
    base: Base,
}

/// What is done with the address.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    /// It is the dialect's, as it stands.
    Given,
    /// The same, and without one LiteLLM looks into a variable.
    Variable(&'static str),
    /// LiteLLM speaks to what is beside or below `/v1`; the dialect is at `/v1`.
    Versioned,
    /// The dialect is at `/openai/v1`.
    Azure,
    /// An address of its own would be one of another protocol.
    Fixed,
}

const fn kind(prefix: &'static str, ours: &'static str, key: &'static str, base: Base) -> Kind {
    Kind { prefix, ours, key, base }
}

const KINDS: [Kind; 27] = [
    kind("openai", "openai", "OPENAI_API_KEY", Base::Given),
    kind("text-completion-openai", "openai", "OPENAI_API_KEY", Base::Given),
    kind("azure", "azure-openai", "AZURE_API_KEY", Base::Azure),
    kind("anthropic", "anthropic", "ANTHROPIC_API_KEY", Base::Versioned),
    kind("cerebras", "cerebras", "CEREBRAS_API_KEY", Base::Given),
    kind("deepinfra", "deepinfra", "DEEPINFRA_API_KEY", Base::Given),
    kind("deepseek", "deepseek", "DEEPSEEK_API_KEY", Base::Given),
    kind("fireworks_ai", "fireworks", "FIREWORKS_API_KEY", Base::Given),
    kind("gemini", "gemini", "GEMINI_API_KEY", Base::Fixed),
    kind("groq", "groq", "GROQ_API_KEY", Base::Given),
    kind("huggingface", "huggingface", "HF_TOKEN", Base::Given),
    kind("mistral", "mistral", "MISTRAL_API_KEY", Base::Given),
    kind("moonshot", "moonshot", "MOONSHOT_API_KEY", Base::Given),
    kind("nvidia_nim", "nvidia", "NVIDIA_NIM_API_KEY", Base::Given),
    kind("ollama", "ollama", "", Base::Versioned),
    kind("ollama_chat", "ollama", "", Base::Versioned),
    kind("openrouter", "openrouter", "OPENROUTER_API_KEY", Base::Given),
    kind("perplexity", "perplexity", "PERPLEXITYAI_API_KEY", Base::Given),
    kind("sambanova", "sambanova", "SAMBANOVA_API_KEY", Base::Given),
    kind("together_ai", "together", "TOGETHERAI_API_KEY", Base::Given),
    kind("xai", "xai", "XAI_API_KEY", Base::Given),
    kind("hosted_vllm", "vllm", "", Base::Variable("HOSTED_VLLM_API_BASE")),
    kind("lm_studio", "", "", Base::Variable("LM_STUDIO_API_BASE")),
    kind("litellm_proxy", "", "LITELLM_PROXY_API_KEY", Base::Variable("LITELLM_PROXY_API_BASE")),
    kind("openai_like", "", "OPENAI_LIKE_API_KEY", Base::Variable("OPENAI_LIKE_API_BASE")),
    kind("custom_openai", "", "OPENAI_API_KEY", Base::Variable("OPENAI_API_BASE")),
    kind("llamafile", "", "", Base::Variable("LLAMAFILE_API_BASE")),
];

impl Kind {
    fn named(prefix: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.prefix == prefix)
    }

    fn of(known: &Known) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.ours == known.name)
    }

    fn known(&self) -> Option<&'static Known> {
        providers::all().iter().find(|known| known.name == self.ours)
    }

    fn dialect(&self) -> &'static str {
        self.known().and_then(Known::dialect).unwrap_or(Dialect::OpenAi).as_str()
    }

    /// The provider's own name of a model, without LiteLLM's hints for its own routes.
    fn model(&self, rest: &str) -> String {
        match self.prefix {
            "openai" | "azure" => {
                let hints = ["responses/", "o_series/", "gpt5_series/"];
                hints.iter().find_map(|hint| rest.strip_prefix(hint)).unwrap_or(rest).to_owned()
            }
            "fireworks_ai" if !rest.starts_with("accounts/") && rest != "*" => format!("accounts/fireworks/models/{rest}"),
            // provider/organisation/model is organisation/model:provider at the router
            "huggingface" => match rest.splitn(3, '/').collect::<Vec<_>>()[..] {
                [provider, organisation, model] => format!("{organisation}/{model}:{provider}"),
                _ => rest.to_owned(),
            },
            _ => rest.to_owned(),
        }
    }
}

/// Which provider a model of LiteLLM's is at, and what it is called there.
pub(super) fn place(model: &str, custom: Option<&str>, base: Option<&Said>) -> Result<(&'static Kind, String), String> {
    if let Some(custom) = custom {
        let kind = Kind::named(custom).ok_or_else(|| unspoken(custom))?;
        let rest = model.strip_prefix(custom).and_then(|rest| rest.strip_prefix('/')).unwrap_or(model);
        return Ok((kind, kind.model(rest)));
    }
    let split = model.split_once('/');
    if let Some((kind, rest)) = split.and_then(|(prefix, rest)| Some((Kind::named(prefix)?, rest))) {
        return Ok((kind, kind.model(rest)));
    }
    let by_name = || providers::all().iter().find(|known| split.is_none() && pattern::any(&known.models, model));
    let by_address = || match base {
        Some(Said::Literal(url)) => providers::find(Dialect::OpenAi, url),
        _ => None,
    };
    if let Some(kind) = by_name().or_else(by_address).and_then(Kind::of) {
        return Ok((kind, kind.model(model)));
    }
    Err(match split {
        Some((prefix, _)) => unspoken(prefix),
        None => "it does not say its provider; write it before the model, as in openai/gpt-4o".to_owned(),
    })
}

fn unspoken(prefix: &str) -> String {
    let shown: String = prefix.chars().take(40).collect();
    format!("the provider {shown:?} is not known to speak OpenAI's or Anthropic's dialect; where it does, say openai/… and its api_base")
}

/// What makes a provider itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    prefix: &'static str,
    dialect: &'static str,
    /// As our file writes it, as is the key.
    base_url: String,
    api_key: Option<String>,
    api_version: Option<String>,
    headers: BTreeMap<String, String>,
    /// What tells its address in a name; empty: the usual one.
    place: String,
}

/// Takes the provider's part out of a deployment.
///
/// # Errors
/// Why there can be no such provider.
pub(super) fn source(kind: &'static Kind, params: &mut Part, base: Option<&Said>, left: &mut Problems) -> Result<Source, String> {
    let base_url = address(kind, base, &params.at("api_base"), left)?;
    if kind.prefix == "gemini" {
        left.add(params.at("model"), "is asked at Google's OpenAI-compatible endpoint, not by Gemini's own protocol");
    }
    let api_version = params.text("api_version", left);
    if api_version.is_some() {
        left.add(params.at("api_version"), "is not sent: Azure is spoken to at its v1 API, which takes none");
    }
    let place = match base {
        None => String::new(),
        Some(Said::Variable(name)) => name.to_lowercase(),
        Some(Said::Literal(_)) if kind.known().is_some_and(|known| escaped(&known.base_url) == base_url) => String::new(),
        Some(Said::Literal(_)) => host(&base_url),
    };
    let (api_key, headers) = (api_key(kind, params, left), headers(params, left));
    Ok(Source { prefix: kind.prefix, dialect: kind.dialect(), base_url, api_key, api_version, headers, place })
}

/// The host, without what all of Azure's have in common.
fn host(url: &str) -> String {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    [".openai.azure.com", ".cognitiveservices.azure.com"].iter().find_map(|end| host.strip_suffix(end)).unwrap_or(host).to_owned()
}

/// The address as our file writes it.
fn address(kind: &Kind, base: Option<&Said>, path: &str, left: &mut Problems) -> Result<String, String> {
    let behind = match kind.base {
        Base::Azure => "/openai/v1",
        Base::Versioned => "/v1",
        Base::Given | Base::Variable(_) | Base::Fixed => "",
    };
    match (base, kind.base) {
        (None, Base::Azure) => Ok(format!("${{AZURE_API_BASE}}{behind}")),
        (None, Base::Variable(name)) => Ok(format!("${{{name}}}")),
        (None, _) => kind.known().map(|known| known.base_url.clone()).ok_or_else(|| "it has no api_base".to_owned()),
        (Some(_), Base::Fixed) => Err("at an address of its own it speaks a protocol that we do not".to_owned()),
        (Some(base @ Said::Variable(name)), _) => {
            if !behind.is_empty() {
                left.add(path, format!("the variable {name} must hold an address without {behind} and without a slash at its end"));
            }
            Ok(format!("{}{behind}", base.written()))
        }
        (Some(Said::Literal(text)), _) => {
            let url = values::base_url(&at_dialect(text, kind.base, behind)).map_err(|why| format!("its api_base {why}"))?;
            let is_azures = || providers::find(Dialect::OpenAi, &url).is_some_and(|known| known.name == kind.ours);
            if kind.base == Base::Azure && !is_azures() {
                left.add(path, "is not known as Azure's, so the key is sent as `authorization: Bearer`, not as `api-key`");
            }
            Ok(escaped(&url))
        }
    }
}

/// Where the dialect is, given what LiteLLM takes for the address.
fn at_dialect(text: &str, base: Base, behind: &str) -> String {
    let text = text.trim().trim_end_matches('/');
    let text = ["/chat/completions", "/messages"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
    match base {
        Base::Azure => {
            let front = text.split_once("/openai/").map(|(front, _)| front).or_else(|| text.strip_suffix("/openai"));
            format!("{}{behind}", front.unwrap_or(text))
        }
        _ if text.ends_with(behind) => text.to_owned(),
        _ => format!("{text}{behind}"),
    }
}

fn api_key(kind: &Kind, params: &mut Part, left: &mut Problems) -> Option<String> {
    let path = params.at("api_key");
    let text = match params.take("api_key") {
        Some(node) => super::part::text(node, &path, left)?,
        None => String::new(),
    };
    if text.is_empty() {
        // where LiteLLM would look for it
        return (!kind.key.is_empty()).then(|| format!("${{{}}}", kind.key));
    }
    let said = Said::of(&text).and_then(|said| match &said {
        Said::Literal(secret) => values::api_key(secret).map(|()| said),
        Said::Variable(_) => Ok(said),
    });
    match said {
        Ok(said) => {
            if matches!(said, Said::Literal(_)) {
                left.add(path, "is a secret in plain text, and written as it is: better put it into a variable and write \"${NAME}\"");
            }
            Some(said.written())
        }
        Err(why) => {
            left.add(path, format!("is not taken over, so the provider has no key: {why}"));
            None
        }
    }
}

/// Headers that every call of the provider carries. One that holds a variable may hold a secret, and is left.
fn headers(params: &mut Part, left: &mut Problems) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    let organization = params.text("organization", left).map(|text| (params.at("organization"), "openai-organization".to_owned(), text));
    let mut wanted: Vec<(String, String, String)> = organization.into_iter().collect();
    for (path, name, node) in params.part("extra_headers", left).pairs() {
        if let Some(text) = super::part::text(node, &path, left) {
            wanted.push((path, name.to_ascii_lowercase(), text));
        }
    }
    for (path, name, text) in wanted {
        match Said::of(&text) {
            Ok(Said::Literal(value)) => match values::header(&name, &value) {
                Ok(()) if headers.contains_key(&name) => left.add(path, "stands there already under this name; not taken over"),
                Ok(()) => drop(headers.insert(name, escaped(&value))),
                Err(why) => left.add(path, format!("is not taken over: {why}")),
            },
            Ok(Said::Variable(_)) => left.add(path, "is not taken over: a header may hold no variable; write its value if it is no secret"),
            Err(why) => left.add(path, why),
        }
    }
    headers
}

/// Takes a timeout in seconds, as our file says it.
pub(super) fn seconds(part: &mut Part, field: &str, left: &mut Problems) -> Option<String> {
    // a call may not last as long as it takes to give up its node
    let most_ms = u64::try_from(limits::LOST_AFTER.as_millis()).unwrap_or(u64::MAX) - 60_000;
    let ms = part.decimal(field, 3, left)?;
    match ms.parse::<u64>().ok().filter(|ms| (1..=most_ms).contains(ms)) {
        Some(ms) => Some(file::duration(ms)),
        None => {
            left.add(part.at(field), format!("is not taken over: a timeout here is whole milliseconds, up to {} seconds", most_ms / 1_000));
            None
        }
    }
}

struct Draft {
    name: String,
    source: Source,
    timeout: Option<String>,
    /// What each of its deployments says, with its place.
    parallel: Vec<(String, Option<u64>)>,
}

/// The providers of the file that is written.
pub(super) struct Providers {
    drafts: Vec<Draft>,
    known: BTreeMap<Source, usize>,
    names: Names,
    /// The timeout of those that have none of their own.
    timeout: Option<String>,
}

impl Providers {
    pub fn new(timeout: Option<String>) -> Providers {
        Providers { drafts: Vec::new(), known: BTreeMap::new(), names: Names::new(values::name), timeout }
    }

    /// The place of a provider, which is made if there is none.
    pub fn find(&mut self, source: Source) -> usize {
        if let Some(at) = self.known.get(&source) {
            return *at;
        }
        let wanted = if source.place.is_empty() { source.prefix.to_owned() } else { format!("{}-{}", source.prefix, source.place) };
        let name = self.names.give(&wanted);
        self.known.insert(source.clone(), self.drafts.len());
        self.drafts.push(Draft { name, source, timeout: None, parallel: Vec::new() });
        self.drafts.len() - 1
    }

    /// Takes the limits of one of its deployments: they are the provider's here.
    pub fn limit(&mut self, at: usize, params: &mut Part, left: &mut Problems) {
        let draft = &mut self.drafts[at];
        let own = seconds(params, "timeout", left);
        match (&draft.timeout, own) {
            (Some(kept), Some(own)) if *kept != own => {
                left.add(
                    params.at("timeout"),
                    format!("is not taken over: timeouts are the provider's, and {} has {kept} already", draft.name),
                );
            }
            (None, Some(own)) => {
                left.add(params.at("timeout"), format!("is {own} for all of {}, and ends its streams too", draft.name));
                draft.timeout = Some(own);
            }
            _ => {}
        }
        let parallel = params.count("max_parallel_requests", left);
        draft.parallel.push((params.at("max_parallel_requests"), parallel));
    }

    pub fn name(&self, at: usize) -> &str {
        &self.drafts[at].name
    }

    pub fn has(&self, name: &str) -> bool {
        self.drafts.iter().any(|draft| draft.name == name)
    }

    /// All that are of one provider of LiteLLM's.
    pub fn of(&self, prefix: &str) -> Vec<String> {
        self.drafts.iter().filter(|draft| draft.source.prefix == prefix).map(|draft| draft.name.clone()).collect()
    }

    pub fn written(&self, left: &mut Problems) -> Vec<file::Provider> {
        self.drafts.iter().map(|draft| draft.written(self.timeout.as_ref(), left)).collect()
    }
}

impl Draft {
    fn written(&self, default: Option<&String>, left: &mut Problems) -> file::Provider {
        // LiteLLM's is for the whole of a call and for each wait within it
        let timeout = self.timeout.as_ref().or(default);
        let timeouts = ["first_byte", "silence", "total"].into_iter().filter_map(|field| Some((field, timeout?.clone())));
        file::Provider {
            name: self.name.clone(),
            dialect: self.source.dialect.to_owned(),
            base_url: self.source.base_url.clone(),
            api_key: self.source.api_key.clone(),
            headers: self.source.headers.clone(),
            timeouts: timeouts.collect(),
            max_parallel_requests: self.parallel(left),
            ..file::Provider::default()
        }
    }

    /// The sum, if each of its deployments is bounded: else one would bound the others.
    fn parallel(&self, left: &mut Problems) -> Option<u64> {
        let told: Vec<(&String, u64)> = self.parallel.iter().filter_map(|(path, count)| Some((path, (*count)?))).collect();
        let sum: u64 = told.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count)).min(limits::COUNT_MAX);
        let whole = told.len() == self.parallel.len() && sum > 0;
        if told.len() == 1 && whole {
            return Some(sum);
        }
        for (path, _) in told {
            left.add(
                path,
                match whole {
                    true => format!(
                        "is part of the {sum} that {} may have at once: the limit is the provider's, not the deployment's",
                        self.name
                    ),
                    false => format!("is not taken over: the limit is the provider's, and other deployments of {} have none", self.name),
                },
            );
        }
        whole.then_some(sum)
    }
}
