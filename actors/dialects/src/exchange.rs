//! What passes between a caller and a provider, in no dialect: a request, and an answer that is only a sequence of events.
//!
//! Each dialect has one folder here with three pairs of functions: request, whole answer, events of a stream. No dialect knows another.
//! What has no name here is kept where it stood ([`Fields`], [`Block::Opaque`]): it returns to the dialect that it came from, and is a
//! [`Loss`] in any other.

pub mod anthropic_messages;
pub mod fold;
pub(crate) mod foreign_thinking;
pub mod loss;
pub mod openai_chat;
pub mod schema_tool;

use crate::{Dialect, answer::StreamFault};
use events::usage::Usage;
use loss::{Loss, LossKind, Losses};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Members of a JSON object.
pub type Fields = Map<String, Value>;

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The dialect that `rest` and opaque parts are of.
    pub from: Dialect,
    pub model: String,
    pub turns: Vec<Turn>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    /// Whether the model may call several tools at once.
    pub parallel_tools: Option<bool>,
    pub shape: Option<Shape>,
    pub reasoning: Option<Reasoning>,
    /// Tokens of output, for each choice.
    pub output_limit: Option<u64>,
    pub sampling: Sampling,
    pub stop: Vec<String>,
    /// How many answers are asked for.
    pub choices: Option<u64>,
    pub stream: Option<bool>,
    /// Whom the caller names as the end user.
    pub user: Option<String>,
    pub service_tier: Option<String>,
    pub rest: Fields,
    pub written: Written,
}

/// How a request was written where its dialect knows several ways: it is written the same way again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// OpenAI: the limit is called `max_tokens`.
    pub old_limit: bool,
    /// OpenAI: `stop` is a text.
    pub stop_alone: bool,
}

/// How content was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    List,
    Text,
    Null,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    /// OpenAI's later word for system.
    Developer,
    User,
    Assistant,
}

/// One message; results of tools stand in turns of the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    pub role: Role,
    pub blocks: Vec<Node>,
    pub form: Form,
    pub rest: Fields,
}

/// A block with what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub block: Block,
    /// `cache_control`.
    pub cache: Option<Value>,
    pub rest: Fields,
}

impl From<Block> for Node {
    fn from(block: Block) -> Node {
        Node { block, cache: None, rest: Fields::new() }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Text(String),
    Image {
        source: Source,
        /// OpenAI's `low`, `high` or `auto`.
        detail: Option<String>,
    },
    Document {
        source: Source,
        title: Option<String>,
    },
    Audio {
        /// In base64.
        data: String,
        /// `wav`, `mp3`.
        format: String,
    },
    ToolUse {
        id: String,
        name: String,
        /// JSON text, as it was written; empty for none.
        arguments: String,
    },
    ToolResult {
        /// Of the use.
        id: String,
        blocks: Vec<Node>,
        form: Form,
        is_error: Option<bool>,
    },
    Thinking {
        text: String,
        signature: Option<String>,
    },
    /// Thinking that only its provider can read.
    Redacted(String),
    Refusal(String),
    /// Of a kind that is not known here.
    Opaque(Value),
}

/// Where a piece of media is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Base64 {
        media_type: String,
        data: String,
    },
    Url(String),
    /// Something that one provider keeps.
    File(String),
    Text(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Tool {
    Function {
        name: String,
        description: Option<String>,
        /// JSON Schema of the arguments.
        schema: Option<Value>,
        strict: Option<bool>,
        cache: Option<Value>,
        rest: Fields,
    },
    /// One that the provider runs, or of another kind.
    Opaque(Value),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Any of them, but one.
    Required,
    Tool(String),
}

/// The form that the answer's text must have.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Any JSON object.
    Json,
    Schema {
        name: Option<String>,
        schema: Value,
        strict: Option<bool>,
        rest: Fields,
    },
}

/// How long to think.
#[derive(Clone, Debug, PartialEq)]
pub enum Reasoning {
    Off,
    /// In the word of OpenAI: `minimal`, `low`, `medium`, `high`, …
    Effort(String),
    /// In tokens.
    Budget(u64),
    /// As the model thinks fit, with an effort if one is named.
    Adaptive(Option<String>),
}

/// How tokens are drawn. Temperature is from 0 to 2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u64>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
}

/// A step of an answer. Blocks of one choice are counted from 0 in the order of their starts.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Start {
        id: Option<String>,
        model: Option<String>,
        service_tier: Option<String>,
        rest: Fields,
    },
    /// The block without what its deltas bring.
    BlockStart {
        choice: u32,
        index: u32,
        node: Node,
    },
    Delta {
        choice: u32,
        index: u32,
        delta: Delta,
    },
    BlockStop {
        choice: u32,
        index: u32,
    },
    /// The last one counts, never the sum.
    Usage {
        usage: Usage,
        /// As the provider wrote it.
        raw: Value,
    },
    Stop {
        choice: u32,
        stop: Stop,
        rest: Fields,
    },
    Fault(StreamFault),
    End,
}

/// What comes to a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    Text(String),
    /// JSON text of a tool's arguments.
    Arguments(String),
    Thinking(String),
    Signature(String),
    Refusal(String),
    /// Of a kind that is not known here.
    Opaque(Value),
}

/// Why a choice ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    pub reason: Reason,
    /// The dialect's own word.
    pub word: String,
    /// The stop sequence that was met.
    pub sequence: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    End,
    Length,
    Tools,
    StopSequence,
    /// The provider held it back, or the model refused.
    Refused,
    Other,
}

/// What a target can be told, from the provider's data and the model's.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The model's name there.
    pub model: String,
    /// Where the dialect must have a limit and the caller names none, in tokens.
    pub output_limit: u64,
    /// It takes a JSON schema for its text; else one is asked for by a forced tool.
    pub native_schema: bool,
    /// It thinks by effort, not by budget.
    pub effort: bool,
    /// The output limit is called `max_tokens` (OpenAI's dialect).
    pub old_limit: bool,
    /// It takes no JSON schema for its text though its dialect has one.
    pub no_schema: bool,
    /// Ids of tool uses have exactly so many letters and digits.
    pub tool_id_bytes: Option<usize>,
    /// Its word for a tool choice of `required`.
    pub required_word: Option<String>,
    /// Fields by another name.
    pub fields: BTreeMap<String, String>,
}

/// A request in the target's dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub body: Value,
    /// The answer's shape is asked for by the forced tool [`SCHEMA_TOOL`]: its arguments are the answer's text.
    pub schema_tool: bool,
}

/// The tool by which a shape is asked for where the target has nothing better.
pub const SCHEMA_TOOL: &str = "answer_as_json";

/// Ids of tool uses as both dialects take them: `[a-zA-Z0-9_-]`, at most 40 bytes. A pure function, and the same id stays the same.
pub fn tool_id(id: &str) -> String {
    const BYTES_MAX: usize = 40;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= BYTES_MAX && id.bytes().all(fits) {
        return id.to_owned();
    }
    let hash = fnv(id);
    let kept: String = id.bytes().filter(|byte| fits(*byte)).take(BYTES_MAX - 17).map(char::from).collect();
    format!("{kept}_{hash:016x}")
}

/// FNV-1a: what is cut or replaced must not make two ids one.
fn fnv(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// An id of exactly so many letters and digits, for providers that take no other: the same for the same id.
pub(crate) fn short_id(id: &str, bytes: usize) -> String {
    if id.len() == bytes && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut hash = fnv(id);
    let digits = (0..bytes).map(|_| {
        let digit = DIGITS[(hash % 36) as usize];
        hash = (hash / 36).rotate_left(7) ^ hash;
        char::from(digit)
    });
    digits.collect()
}

/// Takes a member out.
pub(crate) fn take(fields: &mut Fields, name: &str) -> Option<Value> {
    fields.remove(name)
}

/// Takes a member out if it is a text.
pub(crate) fn take_text(fields: &mut Fields, name: &str) -> Option<String> {
    match fields.get(name) {
        Some(Value::String(_)) => match fields.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Takes a member out if `read` can read it.
pub(crate) fn take_if<T>(fields: &mut Fields, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
    let value = fields.get(name).and_then(read)?;
    fields.remove(name);
    Some(value)
}

/// Puts a member in, if there is one.
pub(crate) fn put(fields: &mut Fields, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Members that are no loss wherever they are left out: nothing was said by them.
pub(crate) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Members of `rest` that only say how something was written, for its own dialect. No caller has a name that begins so: one with `#`
/// was once lost in silence.
pub(crate) const HINT: char = '\0';

/// What of `rest` was written there.
pub(crate) fn written(rest: &Fields) -> impl Iterator<Item = (&String, &Value)> {
    rest.iter().filter(|(name, _)| !name.starts_with(HINT))
}

/// Reports each member of `rest` as lost, at `path`.
pub(crate) fn lose_rest(rest: &Fields, path: &str, losses: &mut Losses, kind: impl Fn(&str) -> LossKind) {
    for (name, _) in written(rest).filter(|(_, value)| !says_nothing(value)) {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        losses.add(Loss { path, kind: kind(name) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_tools_fit_both_dialects_and_stay_apart() {
        assert_eq!(tool_id("toolu_01A-b"), "toolu_01A-b");
        for odd in ["", "call.1", "call:1", &"x".repeat(41), &format!("{}y", "x".repeat(41)), "функция"] {
            let id = tool_id(odd);
            assert!(
                !id.is_empty() && id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)),
                "{id}"
            );
            assert_eq!(tool_id(&id), id);
        }
        assert_ne!(tool_id("call.1"), tool_id("call:1"));
        assert_eq!(short_id("abcDEF123", 9), "abcDEF123");
        let short: std::collections::BTreeSet<String> = (0..10_000).map(|number| short_id(&format!("call_{number}"), 9)).collect();
        assert!(short.len() == 10_000 && short.iter().all(|id| id.len() == 9 && short_id(id, 9) == *id));
    }
}
