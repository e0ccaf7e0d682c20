//! Blocks of content as they stand in requests and in answers.

use crate::exchange::fold::{self, OPAQUE};
use crate::exchange::{Block, Delta, Fields, Form, Node, Source, put, take, take_if, take_text, written};
use serde_json::{Value, json};

/// Reads a block. One that is not as we know its kind stays whole.
pub(super) fn read(value: Value) -> Node {
    match value {
        Value::Object(mut fields) => match known(&mut fields) {
            Some(block) => {
                fields.remove("type");
                let cache = if fields.get("cache_control").is_some_and(Value::is_null) { None } else { take(&mut fields, "cache_control") };
                Node { block, cache, rest: fields }
            }
            None => Block::Opaque(Value::Object(fields)).into(),
        },
        other => Block::Opaque(other).into(),
    }
}

/// Takes a block out of its members; takes nothing if it is of no known kind.
fn known(fields: &mut Fields) -> Option<Block> {
    let kind = fields.get("type")?.as_str()?;
    match kind {
        "text" => take_text(fields, "text").map(Block::Text),
        "image" => take_source(fields, false).map(|source| Block::Image { source, detail: None }),
        "document" => take_source(fields, true).map(|source| Block::Document { source, title: take_text(fields, "title") }),
        "tool_use" => tool_use(fields),
        "tool_result" => tool_result(fields),
        "thinking" => take_text(fields, "thinking").map(|text| Block::Thinking { text, signature: take_text(fields, "signature") }),
        "redacted_thinking" => take_text(fields, "data").map(Block::Redacted),
        _ => None,
    }
}

fn tool_use(fields: &mut Fields) -> Option<Block> {
    let arguments = fields.get("input")?.to_string();
    if !["id", "name"].iter().all(|name| is_text(fields, name)) {
        return None;
    }
    fields.remove("input");
    Some(Block::ToolUse { id: take_text(fields, "id")?, name: take_text(fields, "name")?, arguments })
}

fn tool_result(fields: &mut Fields) -> Option<Block> {
    if !is_text(fields, "tool_use_id") {
        return None;
    }
    let (blocks, form) = take_content(fields)?;
    Some(Block::ToolResult { id: take_text(fields, "tool_use_id")?, blocks, form, is_error: take_if(fields, "is_error", Value::as_bool) })
}

fn is_text(fields: &Fields, name: &str) -> bool {
    fields.get(name).is_some_and(Value::is_string)
}

/// Takes `source` out if every member of it has a name here.
fn take_source(fields: &mut Fields, document: bool) -> Option<Source> {
    let Some(Value::Object(source)) = fields.get("source") else { return None };
    let members: &[&str] = match source.get("type")?.as_str()? {
        "base64" => &["type", "media_type", "data"],
        "url" => &["type", "url"],
        "file" => &["type", "file_id"],
        "text" if document && source.get("media_type")? == "text/plain" => &["type", "media_type", "data"],
        _ => return None,
    };
    if source.len() != members.len() || !members.iter().all(|name| is_text(source, name)) {
        return None;
    }
    let Some(Value::Object(mut source)) = fields.remove("source") else { return None };
    let kind = take_text(&mut source, "type")?;
    let mut text = |name| take_text(&mut source, name);
    match kind.as_str() {
        "base64" => Some(Source::Base64 { media_type: text("media_type")?, data: text("data")? }),
        "url" => text("url").map(Source::Url),
        "file" => text("file_id").map(Source::File),
        _ => text("data").map(Source::Text),
    }
}

/// Takes `content` out: a text, a list of blocks, null, or nothing. `None`, and nothing is taken, if it is anything else.
pub(super) fn take_content(fields: &mut Fields) -> Option<(Vec<Node>, Form)> {
    if !matches!(fields.get("content"), None | Some(Value::Null | Value::String(_) | Value::Array(_))) {
        return None;
    }
    Some(match fields.remove("content") {
        Some(Value::String(text)) => (vec![Block::Text(text).into()], Form::Text),
        Some(Value::Array(list)) => (list.into_iter().map(read).collect(), Form::List),
        Some(_) => (Vec::new(), Form::Null),
        None => (Vec::new(), Form::Absent),
    })
}

/// Puts content in as it was written.
pub(super) fn put_content(fields: &mut Fields, blocks: &[Node], form: Form) {
    match (blocks, form) {
        ([], Form::Absent) => return,
        ([], Form::Null) => fields.insert("content".to_owned(), Value::Null),
        ([node], Form::Text) if plain(node).is_some() => fields.insert("content".to_owned(), plain(node).into()),
        _ => fields.insert("content".to_owned(), blocks.iter().filter_map(write).collect()),
    };
}

/// The text of a block that is nothing but text.
pub(super) fn plain(node: &Node) -> Option<&str> {
    match &node.block {
        Block::Text(text) if node.cache.is_none() && node.rest.is_empty() => Some(text),
        _ => None,
    }
}

/// Writes a block with all that stands beside it. `None` for kinds that this dialect does not have.
pub(super) fn write(node: &Node) -> Option<Value> {
    let mut block = bare(&node.block)?;
    if let Value::Object(fields) = &mut block {
        put(fields, "cache_control", node.cache.clone());
        fields.extend(written(&node.rest).map(|(name, value)| (name.clone(), value.clone())));
        if let Some(Value::Array(deltas)) = node.rest.get(OPAQUE) {
            absorb(fields, deltas);
        }
    }
    Some(block)
}

fn bare(block: &Block) -> Option<Value> {
    Some(match block {
        Block::Text(text) | Block::Refusal(text) => json!({"type": "text", "text": text}),
        Block::Image { source, .. } => json!({"type": "image", "source": source_value(source)}),
        Block::Document { source, title } => {
            let mut fields = object([("type", "document".into()), ("source", source_value(source))]);
            put(&mut fields, "title", title.clone());
            fields.into()
        }
        Block::Audio { .. } => return None,
        Block::ToolUse { id, name, arguments } => json!({"type": "tool_use", "id": id, "name": name, "input": input(arguments)}),
        Block::ToolResult { id, blocks, form, is_error } => {
            let mut fields = object([("type", "tool_result".into()), ("tool_use_id", id.as_str().into())]);
            put_content(&mut fields, blocks, *form);
            put(&mut fields, "is_error", *is_error);
            fields.into()
        }
        Block::Thinking { text, signature } => {
            let mut fields = object([("type", "thinking".into()), ("thinking", text.as_str().into())]);
            put(&mut fields, "signature", signature.clone());
            fields.into()
        }
        Block::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
        Block::Opaque(value) => value.clone(),
    })
}

/// Members by name.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Fields {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn source_value(source: &Source) -> Value {
    match source {
        Source::Base64 { media_type, data } => json!({"type": "base64", "media_type": media_type, "data": data}),
        Source::Url(url) => json!({"type": "url", "url": url}),
        Source::File(id) => json!({"type": "file", "file_id": id}),
        Source::Text(text) => json!({"type": "text", "media_type": "text/plain", "data": text}),
    }
}

/// The arguments of a tool as a value; a text that is no JSON is kept as one member.
pub(super) fn input(arguments: &str) -> Value {
    if arguments.trim().is_empty() {
        return json!({});
    }
    serde_json::from_str(arguments).unwrap_or_else(|_| json!({"arguments": arguments}))
}

/// The arguments of a tool as an object, and whether they were one.
pub(super) fn object_input(arguments: &str) -> (Value, bool) {
    match input(arguments) {
        // `input` has made an object of what is no JSON: that does not count
        value @ Value::Object(_) => (value, arguments.trim().is_empty() || is_object(arguments)),
        _ => (json!({"arguments": arguments}), false),
    }
}

/// Whether a text is a JSON object.
pub(super) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Lays deltas of unknown kinds into the block that they belong to: citations are gathered, texts joined, all else is replaced.
fn absorb(fields: &mut Fields, deltas: &[Value]) {
    let mut input = String::new();
    for delta in deltas {
        match delta.get("type").and_then(Value::as_str) {
            Some(CITATION) => gather(fields, delta),
            Some("input_json_delta") => input.push_str(delta.get("partial_json").and_then(Value::as_str).unwrap_or_default()),
            _ => lay(fields, delta),
        }
    }
    if let Ok(value) = serde_json::from_str::<Value>(&input) {
        fields.insert("input".to_owned(), value);
    }
}

const CITATION: &str = "citations_delta";

fn gather(fields: &mut Fields, delta: &Value) {
    let Some(citation) = delta.get("citation") else { return };
    let list = fields.entry("citations").or_insert(Value::Null);
    match list {
        Value::Array(list) => list.push(citation.clone()),
        _ => *list = json!([citation]),
    }
}

fn lay(fields: &mut Fields, delta: &Value) {
    for (name, value) in delta.as_object().into_iter().flatten().filter(|(name, _)| *name != "type") {
        match (fields.get_mut(name), value) {
            (Some(Value::String(text)), Value::String(more)) => text.push_str(more),
            _ => drop(fields.insert(name.clone(), value.clone())),
        }
    }
}

/// Citations of a whole text as the deltas by which a stream brings them, so that both fold to the same block.
pub(super) fn spread_citations(node: &mut Node) {
    let Block::Text(_) = node.block else { return };
    let Some(Value::Array(citations)) = node.rest.get_mut("citations") else { return };
    let deltas: Vec<Value> = citations.drain(..).map(|citation| json!({"type": CITATION, "citation": citation})).collect();
    if !deltas.is_empty() {
        node.rest.insert(OPAQUE.to_owned(), deltas.into());
    }
}

/// Takes out of a block what deltas bring in a stream, without those that add nothing.
pub(super) fn take_deltas(node: &mut Node) -> Vec<Delta> {
    let mut deltas = fold::take_deltas(node);
    deltas.retain(|delta| !says_nothing(delta));
    deltas
}

/// Whether a delta adds nothing.
pub(super) fn says_nothing(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Thinking(text) | Delta::Signature(text) | Delta::Refusal(text) => {
            text.is_empty()
        }
        Delta::Opaque(_) => false,
    }
}
