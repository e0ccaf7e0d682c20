//! Which wire format, and which route of it.

use std::fmt;
use std::str::FromStr;

/// What a provider speaks.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// OpenAI's API, and everything that is compatible with it.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
}

/// A name that is no dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDialect(pub String);

impl fmt::Display for UnknownDialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown dialect \"{}\"; known are \"openai\" and \"anthropic\"", self.0)
    }
}

impl std::error::Error for UnknownDialect {}

impl Dialect {
    /// The name in configuration and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Dialect, UnknownDialect> {
        match name {
            "openai" => Ok(Dialect::OpenAi),
            "anthropic" => Ok(Dialect::Anthropic),
            _ => Err(UnknownDialect(name.to_owned())),
        }
    }
}

/// A route that costs something, or is counted.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    ChatCompletions,
    Completions,
    Responses,
    Embeddings,
    Messages,
    CountTokens,
}

impl Endpoint {
    /// All of them, in a fixed order.
    pub const ALL: [Endpoint; 6] = [
        Endpoint::ChatCompletions,
        Endpoint::Completions,
        Endpoint::Responses,
        Endpoint::Embeddings,
        Endpoint::Messages,
        Endpoint::CountTokens,
    ];

    /// The wire format that it belongs to.
    pub fn dialect(self) -> Dialect {
        match self {
            Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Responses | Endpoint::Embeddings => Dialect::OpenAi,
            Endpoint::Messages | Endpoint::CountTokens => Dialect::Anthropic,
        }
    }

    /// The path behind `/v1`.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "/chat/completions",
            Endpoint::Completions => "/completions",
            Endpoint::Responses => "/responses",
            Endpoint::Embeddings => "/embeddings",
            Endpoint::Messages => "/messages",
            Endpoint::CountTokens => "/messages/count_tokens",
        }
    }

    /// The endpoint of a path, with or without `/v1` in front of it.
    pub fn from_path(path: &str) -> Option<Endpoint> {
        let bare = path.strip_prefix("/v1").unwrap_or(path);
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.path() == bare)
    }

    /// A stable name, for records and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions => "chat_completions",
            Endpoint::Completions => "completions",
            Endpoint::Responses => "responses",
            Endpoint::Embeddings => "embeddings",
            Endpoint::Messages => "messages",
            Endpoint::CountTokens => "count_tokens",
        }
    }

    /// `gen_ai.operation.name` of OpenTelemetry's conventions.
    pub fn operation(self) -> &'static str {
        match self {
            Endpoint::ChatCompletions | Endpoint::Responses | Endpoint::Messages => "chat",
            Endpoint::Completions => "text_completion",
            Endpoint::Embeddings => "embeddings",
            Endpoint::CountTokens => "count_tokens",
        }
    }

    /// Whether a request may ask for a stream here.
    pub(crate) fn streams(self) -> bool {
        !matches!(self, Endpoint::Embeddings | Endpoint::CountTokens)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_and_without_the_version() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::from_path(endpoint.path()), Some(endpoint));
            assert_eq!(Endpoint::from_path(&format!("/v1{}", endpoint.path())), Some(endpoint));
        }
        for path in ["", "/", "/v1", "/v1/", "/v2/messages", "/messages/", "/v1/v1/messages", "chat/completions", "/responses/resp_1"] {
            assert_eq!(Endpoint::from_path(path), None, "{path}");
        }
    }

    #[test]
    fn names_are_unique_and_dialects_read_back() {
        let mut names: Vec<_> = Endpoint::ALL.iter().map(|endpoint| endpoint.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Endpoint::ALL.len());
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            assert_eq!(dialect.as_str().parse(), Ok(dialect));
        }
        assert_eq!("Gemini".parse::<Dialect>(), Err(UnknownDialect("Gemini".to_owned())));
    }
}
