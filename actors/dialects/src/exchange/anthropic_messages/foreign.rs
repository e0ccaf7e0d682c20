//! Requests of another dialect in Anthropic's words: the conversation, its tools, and the shape of the answer.

use super::blocks::{object, object_input, plain, source_value};
use super::sampling;
use crate::exchange::loss::{LossKind, Losses};
use crate::exchange::{
    Block, Encoded, Exchange, Fields, Form, Node, Role, SCHEMA_TOOL, Shape, Source, Target, Tool, ToolChoice, Turn, lose_rest, put, tool_id,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn encode(exchange: &Exchange, target: &Target, losses: &mut Losses) -> Encoded {
    let mut body = object([("model", target.model.as_str().into())]);
    let leading = exchange.turns.iter().take_while(|turn| matches!(turn.role, Role::System | Role::Developer)).count();
    put(&mut body, "system", system(&exchange.turns[..leading], losses));
    let mut messages = Messages::default();
    for (at, turn) in exchange.turns.iter().enumerate().skip(leading) {
        messages.turn(turn, at, losses);
    }
    messages.settle();

    let mut tools = tools(&exchange.tools, losses);
    let schema_tool = match shape(exchange, target, !tools.is_empty(), losses) {
        Asked::Nothing => false,
        Asked::Natively(format) => {
            body.insert("output_config".to_owned(), json!({ "format": format }));
            false
        }
        Asked::ByTool(schema) => {
            tools.push(json!({"name": SCHEMA_TOOL, "description": "Gives the answer, as this tool's input.", "input_schema": schema}));
            true
        }
    };
    let choice = choice(exchange, schema_tool, !tools.is_empty());
    let forced = matches!(choice, Some(ToolChoice::Required | ToolChoice::Tool(_)));
    if let Some(choice) = &choice {
        let mut fields = tool_choice(choice);
        // two answers would be none
        let alone = schema_tool || exchange.parallel_tools == Some(false);
        put(&mut fields, "disable_parallel_tool_use", (alone && *choice != ToolChoice::None).then_some(true));
        body.insert("tool_choice".to_owned(), fields.into());
    }
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.into());
    }
    sampling::put_limits(&mut body, exchange, target, forced || messages.lacks_thinking(), losses);
    body.insert("messages".to_owned(), messages.into_value());
    sampling::put_words(&mut body, exchange, losses);
    rest(&exchange.rest, losses);
    Encoded { body: body.into(), schema_tool }
}

/// The leading turns: one plain text is a text, all else a list of blocks.
fn system(turns: &[Turn], losses: &mut Losses) -> Option<Value> {
    let mut blocks = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        lose_rest(&turn.rest, &format!("messages[{at}]"), losses, turn_kind);
        blocks.extend(turn_texts(turn, at, losses));
    }
    match &mut blocks[..] {
        [] => None,
        [Value::Object(only)] if only.len() == 2 => only.remove("text"),
        _ => Some(blocks.into()),
    }
}

/// The texts of a system turn.
fn turn_texts(turn: &Turn, at: usize, losses: &mut Losses) -> Vec<Value> {
    let mut blocks = Vec::new();
    for (part, node) in turn.blocks.iter().enumerate() {
        let path = format!("messages[{at}].content[{part}]");
        match &node.block {
            Block::Text(_) | Block::Refusal(_) => blocks.extend(block(node, &path, Place::User, losses)),
            other => losses.lose(lost_kind(other), path),
        }
    }
    blocks
}

/// What a member of a message is, that this dialect has no word for.
fn turn_kind(name: &str) -> LossKind {
    match name {
        "audio" => LossKind::Audio,
        "function_call" => LossKind::Tools,
        _ => LossKind::Unknown,
    }
}

/// The messages so far: the two sides take turns.
#[derive(Default)]
struct Messages {
    list: Vec<Message>,
}

#[derive(Default)]
struct Message {
    assistant: bool,
    /// Results of tools, by the id of their use. They stand first.
    results: Vec<(String, Value)>,
    blocks: Vec<Value>,
}

impl Messages {
    fn turn(&mut self, turn: &Turn, at: usize, losses: &mut Losses) {
        let path = format!("messages[{at}]");
        lose_rest(&turn.rest, &path, losses, turn_kind);
        let mut message = Message { assistant: turn.role == Role::Assistant, ..Message::default() };
        if matches!(turn.role, Role::System | Role::Developer) {
            message.blocks = turn_texts(turn, at, losses);
            if !message.blocks.is_empty() {
                losses.lose(LossKind::Role, path);
            }
        } else {
            let place = if message.assistant { Place::Assistant } else { Place::User };
            for (part, node) in turn.blocks.iter().enumerate() {
                let path = format!("{path}.content[{part}]");
                let Some(value) = block(node, &path, place, losses) else { continue };
                match &node.block {
                    Block::ToolResult { id, .. } => message.results.push((tool_id(id), value)),
                    _ => message.blocks.push(value),
                }
            }
        }
        self.push(message);
    }

    /// Adds a message; one of the same side goes on. One without blocks is not sent.
    fn push(&mut self, mut message: Message) {
        if message.results.is_empty() && message.blocks.is_empty() {
            return;
        }
        match self.list.last_mut() {
            Some(last) if last.assistant == message.assistant => {
                last.results.append(&mut message.results);
                last.blocks.append(&mut message.blocks);
            }
            _ => self.list.push(message),
        }
    }

    /// Puts each result of a tool directly behind its use.
    fn settle(&mut self) {
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for at in 0..self.list.len() {
            if self.list[at].assistant {
                uses.extend(self.list[at].uses().map(|id| (id.to_owned(), at)));
                continue;
            }
            for (id, value) in std::mem::take(&mut self.list[at].results) {
                // a message of the caller follows on each of the model's that stands before another one of the caller
                let place = uses.get(&id).map_or(at, |used| used + 1);
                self.list[place].results.push((id, value));
            }
        }
        let settled = std::mem::take(&mut self.list);
        settled.into_iter().for_each(|message| self.push(message));
    }

    /// Whether a tool was used without thinking and its results are the last that came: then thinking cannot begin now. Nor can it
    /// where the model is to go on with a message that began without.
    fn lacks_thinking(&self) -> bool {
        let last = match &self.list[..] {
            [.., used, last] if !last.results.is_empty() => used,
            [.., last] if last.assistant => last,
            _ => return false,
        };
        let kind = last.blocks.first().and_then(|block| block.get("type")).and_then(Value::as_str);
        last.assistant && !matches!(kind, Some("thinking" | "redacted_thinking"))
    }

    fn into_value(self) -> Value {
        let message = |message: Message| {
            let role = if message.assistant { "assistant" } else { "user" };
            let content: Vec<Value> = message.results.into_iter().map(|(_, result)| result).chain(message.blocks).collect();
            json!({"role": role, "content": alone(content)})
        };
        self.list.into_iter().map(message).collect()
    }
}

impl Message {
    /// Ids of the tools that it uses.
    fn uses(&self) -> impl Iterator<Item = &str> {
        let uses = self.blocks.iter().filter(|block| block.get("type").is_some_and(|kind| kind == "tool_use"));
        uses.filter_map(|block| block.get("id").and_then(Value::as_str))
    }
}

/// A single text is a text, all else a list.
fn alone(mut content: Vec<Value>) -> Value {
    match &mut content[..] {
        [Value::Object(only)] if only.len() == 2 && only.get("type").is_some_and(|kind| kind == "text") => {
            only.remove("text").unwrap_or_default()
        }
        _ => content.into(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    User,
    Assistant,
    Result,
}

/// Writes a block where it stands. `None` if it says nothing, or is lost.
fn block(node: &Node, path: &str, place: Place, losses: &mut Losses) -> Option<Value> {
    lose_rest(&node.rest, path, losses, |_| LossKind::Unknown);
    let lost = |losses: &mut Losses| {
        losses.lose(lost_kind(&node.block), path);
        None
    };
    let value = match (&node.block, place) {
        (Block::Text(text) | Block::Refusal(text), _) if text.trim().is_empty() => None,
        (Block::Text(text) | Block::Refusal(text), _) => Some(json!({"type": "text", "text": text})),
        // what cannot be read as inline data is nothing that can be fetched
        (Block::Image { source: Source::Url(url), .. }, _) if url.starts_with("data:") => lost(losses),
        (Block::Image { source, detail }, Place::User | Place::Result) => match source {
            Source::Base64 { .. } | Source::Url(_) => {
                if detail.as_ref().is_some_and(|detail| detail != "auto") {
                    losses.lose(LossKind::Unknown, format!("{path}.detail"));
                }
                Some(json!({"type": "image", "source": source_value(source)}))
            }
            Source::File(_) | Source::Text(_) => lost(losses),
        },
        (Block::Document { source, title }, Place::User | Place::Result) => match source {
            Source::File(_) => lost(losses),
            Source::Base64 { media_type, .. } if media_type != "application/pdf" => lost(losses),
            source => {
                let mut fields = object([("type", "document".into()), ("source", source_value(source))]);
                put(&mut fields, "title", title.as_deref());
                Some(fields.into())
            }
        },
        (Block::ToolUse { id, name, arguments }, Place::Assistant) => {
            let (input, whole) = object_input(arguments);
            if !whole {
                losses.lose(LossKind::Arguments, path);
            }
            Some(json!({"type": "tool_use", "id": tool_id(id), "name": name, "input": input}))
        }
        (Block::ToolResult { id, blocks, form, is_error }, Place::User) => Some(result(id, blocks, *form, *is_error, path, losses)),
        (Block::Thinking { text, signature: Some(signature) }, Place::Assistant) => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        (Block::Redacted(data), Place::Assistant) => Some(json!({"type": "redacted_thinking", "data": data})),
        _ => lost(losses),
    };
    marked(value, node, path, losses)
}

/// Puts the mark of the cache on a block; thinking and what is not sent cannot have one.
fn marked(value: Option<Value>, node: &Node, path: &str, losses: &mut Losses) -> Option<Value> {
    let Some(cache) = &node.cache else { return value };
    let thinking = matches!(node.block, Block::Thinking { .. } | Block::Redacted(_));
    match value {
        Some(Value::Object(mut fields)) if !thinking => {
            fields.insert("cache_control".to_owned(), cache.clone());
            Some(fields.into())
        }
        other => {
            losses.lose(LossKind::Cache, format!("{path}.cache_control"));
            other
        }
    }
}

fn result(id: &str, blocks: &[Node], form: Form, is_error: Option<bool>, path: &str, losses: &mut Losses) -> Value {
    let mut fields = object([("type", "tool_result".into()), ("tool_use_id", tool_id(id).into())]);
    let text = blocks.first().filter(|_| form == Form::Text && blocks.len() == 1).and_then(plain);
    let content = text.map_or_else(
        || {
            let blocks = blocks.iter().enumerate();
            let blocks = blocks.filter_map(|(part, node)| block(node, &format!("{path}.content[{part}]"), Place::Result, losses));
            Value::Array(blocks.collect())
        },
        Value::from,
    );
    // a tool that says nothing has no content
    if content != "" && content != json!([]) {
        fields.insert("content".to_owned(), content);
    }
    put(&mut fields, "is_error", is_error);
    fields.into()
}

fn lost_kind(block: &Block) -> LossKind {
    match block {
        Block::Image { .. } => LossKind::Image,
        Block::Document { .. } => LossKind::Document,
        Block::Audio { .. } => LossKind::Audio,
        Block::Thinking { .. } | Block::Redacted(_) => LossKind::Thinking,
        _ => LossKind::Content,
    }
}

fn tools(tools: &[Tool], losses: &mut Losses) -> Vec<Value> {
    let mut list = Vec::new();
    for (at, tool) in tools.iter().enumerate() {
        let path = format!("tools[{at}]");
        match tool {
            Tool::Function { name, description, schema, strict, cache, rest } => {
                lose_rest(rest, &path, losses, |_| LossKind::Unknown);
                let mut fields = object([("name", name.as_str().into()), ("input_schema", input_schema(schema.as_ref()))]);
                put(&mut fields, "description", description.as_deref());
                put(&mut fields, "strict", strict.filter(|strict| *strict));
                put(&mut fields, "cache_control", cache.clone());
                list.push(fields.into());
            }
            Tool::Opaque(_) => losses.lose(LossKind::Tools, path),
        }
    }
    list
}

/// The schema of a tool's input has to name its type.
fn input_schema(schema: Option<&Value>) -> Value {
    match schema {
        None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
        Some(Value::Object(fields)) if !fields.contains_key("type") => {
            let mut fields = fields.clone();
            fields.insert("type".to_owned(), "object".into());
            fields.into()
        }
        Some(schema) => schema.clone(),
    }
}

pub(super) fn tool_choice(choice: &ToolChoice) -> Fields {
    match choice {
        ToolChoice::Auto => object([("type", "auto".into())]),
        ToolChoice::None => object([("type", "none".into())]),
        ToolChoice::Required => object([("type", "any".into())]),
        ToolChoice::Tool(name) => object([("type", "tool".into()), ("name", name.as_str().into())]),
    }
}

/// The choice that is sent. Without tools there is none.
fn choice(exchange: &Exchange, schema_tool: bool, tools: bool) -> Option<ToolChoice> {
    if schema_tool {
        return Some(ToolChoice::Tool(SCHEMA_TOOL.to_owned()));
    }
    let alone = (exchange.parallel_tools == Some(false)).then_some(ToolChoice::Auto);
    exchange.tool_choice.clone().or(alone).filter(|_| tools)
}

/// How a shape is asked for.
enum Asked {
    Nothing,
    Natively(Value),
    ByTool(Value),
}

fn shape(exchange: &Exchange, target: &Target, tools: bool, losses: &mut Losses) -> Asked {
    let schema = match &exchange.shape {
        None => return Asked::Nothing,
        Some(Shape::Json) => json!({"type": "object"}),
        Some(Shape::Schema { schema, rest, .. }) => {
            lose_rest(rest, "response_format", losses, |_| LossKind::Unknown);
            if target.native_schema && is_native(schema) {
                return Asked::Natively(json!({"type": "json_schema", "schema": schema}));
            }
            schema.clone()
        }
    };
    if tools {
        // a forced tool would keep the model from the caller's own
        losses.lose(LossKind::Schema, "response_format");
        return Asked::Nothing;
    }
    Asked::ByTool(input_schema(Some(&schema)))
}

/// A schema that the provider takes as it stands: its objects are closed, and it has no word of those that are refused there.
fn is_native(schema: &Value) -> bool {
    const REFUSED: [&str; 16] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "patternProperties",
        "prefixItems",
        "not",
        "if",
        "then",
        "else",
    ];
    match schema {
        Value::Array(list) => list.iter().all(is_native),
        Value::Object(fields) => {
            let says_object =
                |kind: &Value| kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"));
            let is_object = fields.get("type").is_some_and(says_object) || fields.contains_key("properties");
            let is_closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
            // below `properties` and `$defs` stand names of the caller's own
            let named = |name: &str| matches!(name, "properties" | "$defs" | "definitions");
            (!is_object || is_closed)
                && fields.iter().all(|(name, value)| match value {
                    Value::Object(own) if named(name) => own.values().all(is_native),
                    _ if matches!(name.as_str(), "enum" | "const" | "default" | "examples") => true,
                    value => !REFUSED.contains(&name.as_str()) && is_native(value),
                })
        }
        _ => true,
    }
}

/// Reports what the other dialect has and this one has not.
fn rest(rest: &Fields, losses: &mut Losses) {
    let asked = rest.iter().filter(|(name, value)| !asks_nothing(name, value));
    lose_rest(&asked.map(|(name, value)| (name.clone(), value.clone())).collect(), "", losses, rest_kind);
}

/// Members by which nothing is asked that would be missed.
fn asks_nothing(name: &str, value: &Value) -> bool {
    match name {
        "stream_options" => true,
        "response_format" => value.get("type").is_some_and(|kind| kind == "text"),
        "logprobs" | "store" => value == &Value::Bool(false),
        "n" => value == 1,
        "modalities" => !value.as_array().is_some_and(|list| list.iter().any(|word| word == "audio")),
        _ => false,
    }
}

fn rest_kind(name: &str) -> LossKind {
    match name {
        "logprobs" | "top_logprobs" => LossKind::Logprobs,
        "logit_bias" => LossKind::Sampling,
        "audio" | "modalities" => LossKind::Audio,
        "metadata" | "store" | "prompt_cache_key" | "safety_identifier" => LossKind::Metadata,
        "functions" | "function_call" | "tool_choice" | "web_search_options" => LossKind::Tools,
        _ => LossKind::Unknown,
    }
}

#[cfg(test)]
#[path = "foreign_tests.rs"]
mod tests;
