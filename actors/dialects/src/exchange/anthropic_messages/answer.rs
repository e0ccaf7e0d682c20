//! Whole answers, and what they share with streams: the reason, the usage, the error.

use super::blocks::{object, object_input, read, spread_citations, write};
use crate::answer::StreamFault;
use crate::exchange::fold::{Answer, Choice, OPAQUE, events};
use crate::exchange::loss::{LossKind, Losses};
use crate::exchange::{Block, Event, Fields, HINT, Node, Reason, Stop, lose_rest, put, says_nothing, take, take_text};
use crate::json::Cursor;
use crate::usage::AnthropicCounts;
use crate::{Dialect, ErrorKind};
use ::events::usage::Usage;
use serde_json::{Value, json};

/// Members that every message has, with the value that they always have.
const ALWAYS: [(&str, &str); 2] = [("type", "message"), ("role", "assistant")];

/// Reads a whole answer.
pub fn decode_answer(body: Value) -> Vec<Event> {
    let mut answer = Answer { ended: true, ..Answer::default() };
    match body {
        Value::Object(mut fields) if is_error(&fields) => {
            answer.fault = Some(fault(&fields));
            fields.remove("type");
            fields.remove("error");
            answer.rest = fields;
        }
        Value::Object(fields) => message(fields, &mut answer),
        _ => answer.fault = Some(odd("The provider's answer is no JSON object.")),
    }
    events(answer)
}

fn message(mut fields: Fields, answer: &mut Answer) {
    answer.id = take_text(&mut fields, "id");
    answer.model = take_text(&mut fields, "model");
    let mut choice = Choice::default();
    match fields.remove("content") {
        Some(Value::Array(list)) => choice.blocks = list.into_iter().map(whole_block).collect(),
        odd => keep_odd(&mut fields, "content", odd),
    }
    for (name, value) in ALWAYS {
        match fields.remove(name) {
            Some(Value::String(word)) if word == value => {}
            odd => keep_odd(&mut fields, name, odd),
        }
    }
    choice.stop = take_stop(&mut fields);
    let mut counts = AnthropicCounts::default();
    if let Some(usage) = fields.get("usage").and_then(|raw| count(&mut counts, raw)) {
        answer.service_tier = tier(fields.get("usage"));
        answer.usage = take(&mut fields, "usage").map(|raw| (usage, raw));
    }
    answer.rest = fields;
    answer.choices.insert(0, choice);
}

fn whole_block(value: Value) -> Node {
    let mut node = read(value);
    spread_citations(&mut node);
    node
}

/// Keeps a member that is not as it always is. One that is absent leaves a hint.
fn keep_odd(fields: &mut Fields, name: &str, value: Option<Value>) {
    match value {
        Some(value) => fields.insert(name.to_owned(), value),
        None => fields.insert(format!("{HINT}{name}"), Value::Null),
    };
}

/// Takes the reason for the end out, if there is one.
pub(super) fn take_stop(fields: &mut Fields) -> Option<Stop> {
    let word = take_text(fields, "stop_reason")?;
    let reason = match word.as_str() {
        "end_turn" => Reason::End,
        "max_tokens" | "model_context_window_exceeded" => Reason::Length,
        "tool_use" => Reason::Tools,
        "stop_sequence" => Reason::StopSequence,
        "refusal" => Reason::Refused,
        _ => Reason::Other,
    };
    Some(Stop { reason, word, sequence: take_text(fields, "stop_sequence") })
}

/// Lays a `usage` over what was counted before. `None` if there are no counts yet.
pub(super) fn count(counts: &mut AnthropicCounts, raw: &Value) -> Option<Usage> {
    let bytes = raw.to_string();
    counts.merge(&mut Cursor::new(bytes.as_bytes())).ok()?;
    counts.usage()
}

/// The tier stands in the usage.
pub(super) fn tier(usage: Option<&Value>) -> Option<String> {
    usage?.get("service_tier")?.as_str().map(str::to_owned)
}

/// Whether it is an error and no message.
pub(super) fn is_error(fields: &Fields) -> bool {
    fields.get("type").is_some_and(|kind| kind == "error") || fields.get("error").is_some_and(|error| !says_nothing(error))
}

/// Reads the error that stands in a body or in an event.
pub(super) fn fault(fields: &Fields) -> StreamFault {
    let bytes = fields.get("error").map(Value::to_string).unwrap_or_default();
    let fault = StreamFault::take(&mut Cursor::new(bytes.as_bytes())).ok().flatten();
    fault.unwrap_or(StreamFault { status: 502, ..StreamFault::default() })
}

pub(super) fn odd(message: &str) -> StreamFault {
    StreamFault { message: message.to_owned(), status: 502, ..StreamFault::default() }
}

/// Writes a whole answer.
pub fn encode_answer(answer: Answer, from: Dialect, losses: &mut Losses) -> Value {
    let Answer { id, model, service_tier, rest, mut choices, usage, fault, .. } = answer;
    if let Some(fault) = fault {
        let mut body = error_value(&fault, from);
        if from == Dialect::Anthropic {
            body.extend(rest);
        }
        return body.into();
    }
    let choice = choices.remove(&0).unwrap_or_default();
    for other in choices.keys() {
        losses.lose(LossKind::Choices, format!("choices[{other}]"));
    }
    let mut body = head(id, model, from);
    let blocks = choice.blocks.iter().enumerate();
    let blocks = blocks
        .filter_map(|(at, node)| if from == Dialect::Anthropic { own_block(node, at, losses) } else { foreign_block(node, at, losses) });
    body.insert("content".to_owned(), blocks.collect());
    let usage = usage.map(|(usage, raw)| usage_value(&usage, raw, service_tier.as_deref(), from));
    if from == Dialect::Anthropic {
        if let Some(stop) = choice.stop {
            body.insert("stop_reason".to_owned(), stop.word.into());
            put(&mut body, "stop_sequence", stop.sequence);
        }
        put(&mut body, "usage", usage);
        lay(&mut body, rest);
        lay(&mut body, choice.rest);
    } else {
        lose_head(&rest, service_tier.as_deref(), losses);
        lose_choice(&choice.rest, losses);
        let (word, sequence) = stop_words(choice.stop.as_ref(), from, losses);
        body.insert("stop_reason".to_owned(), word);
        body.insert("stop_sequence".to_owned(), sequence);
        body.insert("usage".to_owned(), usage.unwrap_or_else(no_usage));
    }
    body.into()
}

/// Lays what was kept over a message. The hint of a member says that it was absent.
pub(super) fn lay(body: &mut Fields, rest: Fields) {
    for (name, value) in rest {
        match name.strip_prefix(HINT) {
            Some(absent) => drop(body.remove(absent)),
            None => drop(body.insert(name, value)),
        }
    }
}

/// What a message begins with.
pub(super) fn head(id: Option<String>, model: Option<String>, from: Dialect) -> Fields {
    let mut body: Fields = ALWAYS.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    if from == Dialect::Anthropic {
        put(&mut body, "id", id);
        put(&mut body, "model", model);
        return body;
    }
    let id = id.unwrap_or_else(|| "tollgate".to_owned());
    body.insert("id".to_owned(), if id.starts_with("msg_") { id } else { format!("msg_{id}") }.into());
    body.insert("model".to_owned(), model.unwrap_or_default().into());
    body
}

/// Reports what another dialect says of an answer and this one cannot.
pub(super) fn lose_head(rest: &Fields, tier: Option<&str>, losses: &mut Losses) {
    let said = rest.iter().filter(|(name, _)| !matches!(name.as_str(), "object" | "created"));
    lose_rest(&said.map(|(name, value)| (name.clone(), value.clone())).collect(), "", losses, |_| LossKind::Metadata);
    if tier.is_some_and(|tier| tier_word(tier).is_none()) {
        losses.lose(LossKind::Metadata, "service_tier");
    }
}

/// Reports what another dialect says of a choice, or of the message in it.
pub(super) fn lose_choice(rest: &Fields, losses: &mut Losses) {
    let kind = |name: &str| match name {
        "logprobs" => LossKind::Logprobs,
        "audio" => LossKind::Audio,
        _ => LossKind::Unknown,
    };
    let mut rest = rest.clone();
    if let Some(Value::Object(mut message)) = take(&mut rest, "message") {
        message.remove("role");
        lose_rest(&message, "choices[0].message", losses, kind);
    }
    lose_rest(&rest, "choices[0]", losses, kind);
}

/// The word for another dialect's tier.
fn tier_word(tier: &str) -> Option<&'static str> {
    match tier {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}

/// `stop_reason` and `stop_sequence`.
pub(super) fn stop_words(stop: Option<&Stop>, from: Dialect, losses: &mut Losses) -> (Value, Value) {
    let Some(stop) = stop else { return (Value::Null, Value::Null) };
    if from == Dialect::Anthropic {
        return (stop.word.as_str().into(), stop.sequence.as_deref().into());
    }
    let word = match stop.reason {
        Reason::End => "end_turn",
        Reason::Length => "max_tokens",
        Reason::Tools => "tool_use",
        Reason::StopSequence => "stop_sequence",
        Reason::Refused => "refusal",
        Reason::Other => {
            losses.lose(LossKind::Unknown, "finish_reason");
            "end_turn"
        }
    };
    (word.into(), stop.sequence.as_deref().into())
}

/// Writes usage: as it was, or from its classes.
pub(super) fn usage_value(usage: &Usage, raw: Value, tier: Option<&str>, from: Dialect) -> Value {
    if from == Dialect::Anthropic {
        return raw;
    }
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    let output = usage.output.saturating_add(usage.reasoning).saturating_add(usage.audio_output);
    let mut fields = object([
        ("input_tokens", usage.input.saturating_add(usage.audio_input).into()),
        ("cache_read_input_tokens", usage.cache_read.into()),
        ("cache_creation_input_tokens", written.into()),
        ("output_tokens", output.into()),
    ]);
    if usage.cache_write_1h > 0 {
        let parts = json!({"ephemeral_5m_input_tokens": usage.cache_write, "ephemeral_1h_input_tokens": usage.cache_write_1h});
        fields.insert("cache_creation".to_owned(), parts);
    }
    if usage.reasoning > 0 {
        fields.insert("output_tokens_details".to_owned(), json!({"thinking_tokens": usage.reasoning}));
    }
    if usage.searches > 0 {
        fields.insert("server_tool_use".to_owned(), json!({"web_search_requests": usage.searches}));
    }
    put(&mut fields, "service_tier", tier.and_then(tier_word));
    fields.into()
}

/// Clients of this dialect count on a usage.
pub(super) fn no_usage() -> Value {
    json!({"input_tokens": 0, "output_tokens": 0})
}

/// An error as this dialect says it.
pub(super) fn error_value(fault: &StreamFault, from: Dialect) -> Fields {
    let mut error = object([("message", fault.message.as_str().into())]);
    if from == Dialect::Anthropic {
        put(&mut error, "type", fault.kind.as_deref());
    } else {
        put(&mut error, "type", Some(ErrorKind::of_status(fault.status).word(Dialect::Anthropic)));
    }
    put(&mut error, "code", fault.code.as_deref());
    object([("type", "error".into()), ("error", error.into())])
}

fn own_block(node: &Node, at: usize, losses: &mut Losses) -> Option<Value> {
    let value = write(node);
    if value.is_none() {
        losses.lose(lost_kind(&node.block), format!("content[{at}]"));
    }
    value
}

fn foreign_block(node: &Node, at: usize, losses: &mut Losses) -> Option<Value> {
    let path = format!("content[{at}]");
    lose_beside(node, &path, losses);
    match &node.block {
        Block::Text(text) | Block::Refusal(text) if text.is_empty() => None,
        Block::Text(text) | Block::Refusal(text) => Some(json!({"type": "text", "text": text})),
        Block::ToolUse { id, name, arguments } => {
            let (input, whole) = object_input(arguments);
            if !whole {
                losses.lose(LossKind::Arguments, path);
            }
            Some(json!({"type": "tool_use", "id": crate::exchange::tool_id(id), "name": name, "input": input}))
        }
        Block::Thinking { text, signature } if text.is_empty() && signature.is_none() => None,
        Block::Thinking { text, signature } => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature.as_deref().unwrap_or_default()}))
        }
        Block::Redacted(data) => Some(json!({"type": "redacted_thinking", "data": data})),
        other => {
            losses.lose(lost_kind(other), path);
            None
        }
    }
}

/// Reports what stands beside a block of another dialect.
pub(super) fn lose_beside(node: &Node, path: &str, losses: &mut Losses) {
    lose_rest(&node.rest, path, losses, |_| LossKind::Unknown);
    if node.rest.contains_key(OPAQUE) {
        losses.lose(LossKind::Content, path);
    }
}

pub(super) fn lost_kind(block: &Block) -> LossKind {
    match block {
        Block::Image { .. } => LossKind::Image,
        Block::Document { .. } => LossKind::Document,
        Block::Audio { .. } => LossKind::Audio,
        _ => LossKind::Content,
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
