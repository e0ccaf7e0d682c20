//! The fields of the file, and reading them one by one. What is not in a list here is an unknown field, and the schema is held
//! against these lists.

use crate::{problem::Problems, tree::Node};

pub(crate) type Names = &'static [&'static str];

pub(crate) const FILE: Names =
    &["providers", "models", "tenants", "scopes", "keys", "budgets", "webhooks", "catalogue", "loss", "request_log"];
pub(crate) const PROVIDER: Names =
    &["name", "tenant", "dialect", "base_url", "api_key", "price", "headers", "timeouts", "max_parallel_requests", "on_client_gone"];
pub(crate) const TIMEOUTS: Names = &["connect", "first_byte", "silence", "total"];
pub(crate) const MODEL: Names = &["name", "targets", "price", "max_output_tokens", "context_tokens"];
pub(crate) const TARGET: Names = &["provider", "model", "price"];
pub(crate) const TENANT: Names = &["name", "budgets", "loss", "request_log", "rpm_limit", "tpm_limit", "max_parallel_requests"];
pub(crate) const SCOPE: Names =
    &["name", "kind", "parent", "budgets", "loss", "request_log", "rpm_limit", "tpm_limit", "max_parallel_requests"];
pub(crate) const KEY: Names =
    &["name", "scope", "models", "budgets", "loss", "request_log", "rpm_limit", "tpm_limit", "max_parallel_requests", "secret"];
pub(crate) const WEBHOOK: Names = &["name", "url", "secret", "alerts", "tenant"];
pub(crate) const BUDGET: Names = &["limit", "every", "hard", "alert_at", "only"];
pub(crate) const REQUEST_LOG: Names = &["log", "sample", "keep", "mask", "bodies", "media"];
pub(crate) const FILTER: Names = &["models", "providers", "tags"];
pub(crate) const PRICE: Names = &[
    "input_per_mtok",
    "output_per_mtok",
    "cache_read_per_mtok",
    "cache_write_per_mtok",
    "cache_write_1h_per_mtok",
    "reasoning_per_mtok",
    "audio_input_per_mtok",
    "audio_output_per_mtok",
    "per_image",
    "per_search",
    "per_request",
    "long",
    "tiers",
];
/// A price for long requests is a price and a threshold; it holds no other.
pub(crate) const LONG: Names = &[
    "above_tokens",
    "input_per_mtok",
    "output_per_mtok",
    "cache_read_per_mtok",
    "cache_write_per_mtok",
    "cache_write_1h_per_mtok",
    "reasoning_per_mtok",
    "audio_input_per_mtok",
    "audio_output_per_mtok",
    "per_image",
    "per_search",
    "per_request",
];
/// A tier's price may be long; it holds no tiers.
pub(crate) const TIER: Names = &[
    "input_per_mtok",
    "output_per_mtok",
    "cache_read_per_mtok",
    "cache_write_per_mtok",
    "cache_write_1h_per_mtok",
    "reasoning_per_mtok",
    "audio_input_per_mtok",
    "audio_output_per_mtok",
    "per_image",
    "per_search",
    "per_request",
    "long",
];

/// The place of a field below another.
pub(crate) fn below(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// A map of the file that is being read.
pub(crate) struct Fields<'a> {
    pub path: String,
    pairs: &'a [(String, Node)],
    /// It is a map at all: else nothing more is to be said of it.
    is_map: bool,
}

impl<'a> Fields<'a> {
    /// Unknown fields and what is not a map are problems.
    pub fn of(node: &'a Node, path: &str, known: Names, problems: &mut Problems) -> Fields<'a> {
        let pairs: &[(String, Node)] = match node {
            Node::Map(pairs) => pairs,
            other => {
                problems.add(path, format!("must be a map, not {}", other.kind()));
                &[]
            }
        };
        for (name, _) in pairs.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let near = problems.did_you_mean(name, known.iter().copied());
            problems.add(below(path, name), format!("is not a known field{near}"));
        }
        Fields { path: path.to_owned(), pairs, is_map: matches!(node, Node::Map(_)) }
    }

    pub fn at(&self, field: &str) -> String {
        below(&self.path, field)
    }

    /// The field's value; null is as good as absent.
    pub fn get(&self, field: &str) -> Option<&'a Node> {
        self.pairs.iter().find(|(name, _)| name == field).map(|(_, node)| node).filter(|node| **node != Node::Null)
    }

    /// A text that may be absent. A number or truth value is not guessed at: `no` is a name in one YAML and false in another.
    pub fn text(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        match self.get(field)? {
            Node::Text(text) if text.unset => None,
            Node::Text(text) => Some(&text.value),
            other => {
                problems.add(self.at(field), format!("must be text, not {}: write it in quotes", other.kind()));
                None
            }
        }
    }

    /// A text that must be there.
    pub fn needed(&self, field: &str, problems: &mut Problems) -> Option<&'a str> {
        self.need(field, "is missing", problems);
        self.text(field, problems)
    }

    /// The field must be there.
    pub fn need(&self, field: &str, message: &str, problems: &mut Problems) {
        if self.is_map && self.get(field).is_none() {
            problems.add(self.at(field), message);
        }
    }

    /// A whole number from `least` to `most`, as a number or as its digits.
    pub fn count(&self, field: &str, least: u64, most: u64, problems: &mut Problems) -> Option<u64> {
        let number = match self.get(field)? {
            Node::Text(text) if text.unset => return None,
            Node::Whole(number) => Some(*number),
            Node::Text(text) if text.value.bytes().all(|byte| byte.is_ascii_digit()) => text.value.parse().ok(),
            _ => None,
        };
        let count = number.and_then(|number| u64::try_from(number).ok()).filter(|count| (least..=most).contains(count));
        if count.is_none() {
            problems.add(self.at(field), format!("must be a whole number from {least} to {most}"));
        }
        count
    }

    pub fn truth(&self, field: &str, problems: &mut Problems) -> Option<bool> {
        match self.get(field)? {
            Node::Bool(value) => Some(*value),
            other => {
                problems.add(self.at(field), format!("must be true or false, not {}", other.kind()));
                None
            }
        }
    }

    /// The items of a list with their places; none if it is absent.
    pub fn list(&self, field: &str, problems: &mut Problems) -> Vec<(String, &'a Node)> {
        let path = self.at(field);
        match self.get(field) {
            None => Vec::new(),
            Some(Node::List(items)) => items.iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect(),
            Some(other) => {
                problems.add(path, format!("must be a list, not {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// A list of texts with their places.
    pub fn texts(&self, field: &str, problems: &mut Problems) -> Vec<(String, &'a str)> {
        let mut texts = Vec::new();
        for (path, item) in self.list(field, problems) {
            match item {
                Node::Text(text) if text.unset => {}
                Node::Text(text) => texts.push((path, text.value.as_str())),
                other => problems.add(path, format!("must be text, not {}: write it in quotes", other.kind())),
            }
        }
        texts
    }

    /// The pairs of a map with their places; none if it is absent.
    pub fn map(&self, field: &str, problems: &mut Problems) -> Vec<(String, &'a str, &'a Node)> {
        let path = self.at(field);
        match self.get(field) {
            None => Vec::new(),
            Some(Node::Map(pairs)) => pairs.iter().map(|(name, node)| (below(&path, name), name.as_str(), node)).collect(),
            Some(other) => {
                problems.add(path, format!("must be a map, not {}", other.kind()));
                Vec::new()
            }
        }
    }
}
