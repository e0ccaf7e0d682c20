//! What can be said from one dialect to another, as data (`capabilities.json`): each row is an example that a test carries out, so that the
//! list and the page made from it say what is true. Calls whose provider speaks the caller's dialect pass unchanged and need no rows.

use crate::{
    Dialect,
    exchange::loss::{LossKind, LossPolicy},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, sync::LazyLock};

/// The test that carries out every row.
pub const PROOF: &str = "actors/dialects/tests/capabilities.rs::every_row_is_true";

/// One thing that is said in one dialect, and what becomes of it in the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub feature: String,
    pub direction: Direction,
    /// The caller's dialect; the provider speaks the other one.
    pub caller: String,
    /// Why it is not the same thing there.
    #[serde(default)]
    pub how: Option<String>,
    /// Members of a request of the caller's, or of an answer of the provider's.
    pub sample: Value,
    /// What the target takes besides what its dialect has.
    #[serde(default)]
    pub target: Takes,
    /// What stands where in the other dialect, by JSON pointer; null: nothing.
    #[serde(default)]
    pub gives: BTreeMap<String, Value>,
    /// What is lost, and the kind of the loss, by path.
    #[serde(default)]
    pub lost: BTreeMap<String, String>,
}

/// Which way it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Request,
    /// Whole, and as a stream.
    Answer,
}

/// See [`crate::exchange::Target`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Takes {
    pub native_schema: bool,
    pub effort: bool,
}

static ROWS: LazyLock<Vec<Row>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../capabilities.json")).expect("the file is read by a test"));

/// All rows, in the order of the file.
pub fn all() -> &'static [Row] {
    &ROWS
}

impl Row {
    /// The provider's dialect.
    pub fn provider(&self) -> Dialect {
        if self.caller == Dialect::OpenAi.as_str() { Dialect::Anthropic } else { Dialect::OpenAi }
    }

    /// `full`, `adapted`, `partly` (something is lost, and something is said) or `lost`.
    pub fn support(&self) -> &'static str {
        let says_something = self.gives.values().any(|value| !value.is_null());
        match (self.lost.is_empty(), &self.how) {
            (false, _) if says_something => "partly",
            (false, _) => "lost",
            (true, Some(_)) => "adapted",
            (true, None) => "full",
        }
    }

    fn kinds(&self) -> Vec<&str> {
        let mut kinds: Vec<&str> = self.lost.values().map(String::as_str).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    /// What is done about its loss unless somebody says otherwise. Of answers nothing is refused: they have been paid for.
    pub fn policy(&self) -> Option<&'static str> {
        let kinds = LossKind::ALL.into_iter().filter(|kind| self.kinds().contains(&kind.as_str()));
        let policy = kinds.map(LossKind::default_policy).max()?;
        Some(if self.direction == Direction::Answer { LossPolicy::Warn.as_str() } else { policy.as_str() })
    }

    fn directions(&self) -> &'static [&'static str] {
        match self.direction {
            Direction::Request => &["request"],
            Direction::Answer => &["answer", "stream"],
        }
    }

    fn cells(&self) -> impl Iterator<Item = Value> + '_ {
        self.directions().iter().map(|direction| {
            json!({
                "object": "capability", "feature": self.feature, "caller": self.caller, "provider": self.provider().as_str(),
                "direction": direction, "support": self.support(), "how": self.how, "lost": self.lost, "policy": self.policy(),
                "example": self.sample, "gives": self.gives, "test": PROOF,
            })
        })
    }
}

/// The list as the API gives it.
pub fn list() -> Value {
    let data: Vec<Value> = all().iter().flat_map(Row::cells).collect();
    json!({"object": "list", "data": data, "has_more": false, "next_cursor": null})
}

/// The page, in Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# What can be said between dialects\n\n\
         A call whose provider speaks the caller's dialect passes unchanged, but for the few fields that the gateway owns. Else it is\n\
         translated, and this page says what becomes of each thing that can be said. It is generated from the examples in\n\
         `actors/dialects/capabilities.json`, each of which a test carries out (`every_row_is_true`); answers are tried whole and as a stream.\n\
         The same list is served at `GET /api/v1/capabilities`.\n\n\
         What is *lost* is refused or named in the header `x-tollgate-lost`, by its kind, and stands in the call's record; what a stream\n\
         loses once it has begun stands in the record alone. Who wants it\n\
         otherwise says so by the header `x-tollgate-loss` or by `loss` of a key, a scope, a tenant or the file: `warn`, or by kind,\n\
         `logprobs=warn,sampling=pass`.\n",
    );
    for (direction, heading) in [(Direction::Request, "Requests"), (Direction::Answer, "Answers, whole and streamed")] {
        let _ = write!(page, "\n## {heading}\n\n| | OpenAI's SDK, Anthropic's model | Anthropic's SDK, OpenAI's model |\n|---|---|---|\n");
        let mut features: Vec<&str> = Vec::new();
        for row in all().iter().filter(|row| row.direction == direction) {
            if !features.contains(&row.feature.as_str()) {
                features.push(&row.feature);
            }
        }
        for feature in features {
            let cell = |caller: &str| {
                let row = all().iter().find(|row| row.direction == direction && row.feature == feature && row.caller == caller);
                row.map_or_else(|| "–".to_owned(), words)
            };
            let _ = writeln!(page, "| {feature} | {} | {} |", cell("openai"), cell("anthropic")); // writing to a String cannot fail
        }
    }
    page
}

/// A row in a cell of the page.
fn words(row: &Row) -> String {
    let how = row.how.as_deref().unwrap_or_default();
    let loss = || {
        let done = if row.policy() == Some("refuse") { "refused" } else { "reported" };
        format!("{done} as `{}`", row.kinds().join("`, `"))
    };
    match row.support() {
        "full" => "yes".to_owned(),
        "adapted" => how.to_owned(),
        "partly" if how.is_empty() => format!("the rest yes; this is lost, {}", loss()),
        "partly" => format!("{how}; {}", loss()),
        _ => format!("lost, {}", loss()),
    }
}
