//! What is known of each provider, as data: where it is, how it takes a key, and in what it differs from its dialect. One file each in
//! `providers/`; a provider that is not there is taken for one that speaks its dialect as it stands.

use crate::Dialect;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::LazyLock};

const FILES: [&str; 20] = [
    include_str!("../providers/openai.json"),
    include_str!("../providers/anthropic.json"),
    include_str!("../providers/azure-openai.json"),
    include_str!("../providers/cerebras.json"),
    include_str!("../providers/deepinfra.json"),
    include_str!("../providers/deepseek.json"),
    include_str!("../providers/fireworks.json"),
    include_str!("../providers/gemini.json"),
    include_str!("../providers/groq.json"),
    include_str!("../providers/huggingface.json"),
    include_str!("../providers/mistral.json"),
    include_str!("../providers/moonshot.json"),
    include_str!("../providers/nvidia.json"),
    include_str!("../providers/ollama.json"),
    include_str!("../providers/openrouter.json"),
    include_str!("../providers/perplexity.json"),
    include_str!("../providers/sambanova.json"),
    include_str!("../providers/together.json"),
    include_str!("../providers/vllm.json"),
    include_str!("../providers/xai.json"),
];

/// One provider.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    pub name: String,
    dialect: String,
    pub base_url: String,
    /// Ends of hosts that are its too, each with a dot in front.
    #[serde(default)]
    hosts: Vec<String>,
    /// The variable in which its users keep their key.
    pub variable: Option<String>,
    /// Names of models that need no `provider/` in front.
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub quirks: Quirks,
}

/// How a key is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// As the dialect has it.
    #[default]
    Dialect,
    /// `api-key: …`
    ApiKey,
}

/// In what a provider differs from its dialect.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quirks {
    /// It takes `stream_options`; one that does not gives usage without being asked.
    pub usage_option: bool,
    /// Its output limit is called `max_tokens`, for every model.
    pub old_limit: bool,
    pub schema: Schema,
    /// Ids of tool uses have exactly so many letters and digits.
    pub tool_id_bytes: Option<usize>,
    /// Its word for a tool choice of `required`.
    pub required_word: Option<String>,
    /// Fields by another name.
    pub fields: BTreeMap<String, String>,
    /// What some of its models take besides.
    pub by_model: Vec<ByModel>,
}

/// What models of some names take besides what all of a provider's take.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByModel {
    /// How their names begin.
    begins: Vec<String>,
    /// A JSON schema for the answer as a field of its own.
    #[serde(default)]
    native_schema: bool,
    /// They think by effort, not by a budget of tokens.
    #[serde(default)]
    effort: bool,
}

impl Default for Quirks {
    fn default() -> Quirks {
        Quirks {
            usage_option: true,
            old_limit: false,
            schema: Schema::Dialect,
            tool_id_bytes: None,
            required_word: None,
            fields: BTreeMap::new(),
            by_model: Vec::new(),
        }
    }
}

/// How a JSON schema for the answer is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// As the dialect has it: OpenAI's natively, Anthropic's by a forced tool, which all of its models take.
    #[default]
    Dialect,
    Native,
    /// Not at all: by a forced tool.
    None,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| FILES.iter().filter_map(|text| serde_json::from_str(text).ok()).collect());

/// All of them, in the order of their names but for the two that the dialects are named after, which come first.
pub fn all() -> &'static [Known] {
    &KNOWN
}

/// What is known of the provider at an address.
pub fn find(dialect: Dialect, base_url: &str) -> Option<&'static Known> {
    let at = host(base_url)?;
    let is = |known: &&Known| {
        known.dialect == dialect.as_str() && (host(&known.base_url) == Some(at) || known.hosts.iter().any(|end| at.ends_with(end)))
    };
    KNOWN.iter().find(is)
}

/// The host of an address, with its port if that is told.
fn host(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split(['/', '?']).next().filter(|host| !host.is_empty())
}

impl Quirks {
    fn of_model(&self, model: &str) -> impl Iterator<Item = &ByModel> {
        self.by_model.iter().filter(move |some| some.begins.iter().any(|start| model.starts_with(start.as_str())))
    }

    /// A model takes a JSON schema for its answer as a field of its own.
    pub fn native_schema(&self, model: &str) -> bool {
        self.schema == Schema::Native || self.of_model(model).any(|some| some.native_schema)
    }

    /// A model thinks by effort.
    pub fn effort(&self, model: &str) -> bool {
        self.of_model(model).any(|some| some.effort)
    }
}

impl Known {
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_can_be_read_and_is_found_by_its_address() {
        assert_eq!(all().len(), FILES.len(), "one of the files cannot be read");
        for known in all() {
            let dialect = known.dialect().expect("a dialect");
            assert_eq!(find(dialect, &known.base_url).map(|found| &found.name), Some(&known.name));
        }
    }

    #[test]
    fn models_differ_by_how_their_names_begin() {
        let anthropic = find(Dialect::Anthropic, "https://api.anthropic.com").expect("it is known");
        let takes = |model: &str| (anthropic.quirks.native_schema(model), anthropic.quirks.effort(model));
        assert_eq!(takes("claude-haiku-4-5-20251001"), (true, false));
        assert_eq!(takes("claude-sonnet-5"), (true, true));
        assert_eq!(takes("claude-3-5-haiku-latest"), (false, false));
    }

    #[test]
    fn only_hosts_of_their_own_are_theirs() {
        let name = |url: &str| find(Dialect::OpenAi, url).map(|known| known.name.as_str());
        assert_eq!(name("https://api.openai.com"), Some("openai"));
        assert_eq!(name("https://eu.openai.azure.com/openai/v1"), Some("azure-openai"));
        assert_eq!(name("http://localhost:8000/v1"), Some("vllm"));
        for other in
            ["https://api.openai.com.evil.example/v1", "https://evil.example/api.openai.com", "http://localhost:8001", "", "api.openai.com"]
        {
            assert_eq!(name(other), None, "{other}");
        }
        assert!(find(Dialect::Anthropic, "https://api.openai.com").is_none());
    }
}
