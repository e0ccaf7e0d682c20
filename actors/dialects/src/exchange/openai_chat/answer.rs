//! A whole answer, in and out.

use super::{FIELD, REASONING, THINKING_BLOCKS, reason, request, word};
use crate::{
    Dialect,
    answer::StreamFault,
    exchange::{
        Block, Event, Fields, Form, Node, Stop,
        fold::{Answer, Choice, OPAQUE, events},
        foreign_thinking::MADE_BY,
        lose_rest,
        loss::{LossKind, Losses},
        put, take, take_if, take_text,
    },
    json::Cursor,
    usage,
};
use events::usage::Usage;
use serde_json::{Value, json};

/// How an answer's content was written, where it was no text.
const CONTENT: &str = "\0content";

/// Reads a whole answer.
pub fn decode_answer(body: Value) -> Vec<Event> {
    let Value::Object(mut rest) = body else { return Vec::new() };
    if let Some(fault) = take_if(&mut rest, "error", fault) {
        return vec![Event::Fault(fault)];
    }
    let choices = take_if(&mut rest, "choices", |choices| choices.as_array().cloned()).unwrap_or_default();
    let usage = take_if(&mut rest, "usage", |raw| read_usage(raw).map(|usage| (usage, raw.clone())));
    let (id, model) = (take_text(&mut rest, "id"), take_text(&mut rest, "model"));
    let service_tier = take_text(&mut rest, "service_tier");
    let choices = (0..).zip(choices).map(|(at, value)| choice(value, at)).collect();
    events(Answer { id, model, service_tier, rest, choices, usage, fault: None, ended: true })
}

/// An error that stands inside of an answer.
pub(super) fn fault(value: &Value) -> Option<StreamFault> {
    StreamFault::take(&mut Cursor::new(value.to_string().as_bytes())).ok().flatten()
}

pub(super) fn read_usage(raw: &Value) -> Option<Usage> {
    usage::openai(&mut Cursor::new(raw.to_string().as_bytes())).ok().flatten()
}

fn choice(value: Value, at: u32) -> (u32, Choice) {
    let Value::Object(mut rest) = value else { return (at, Choice::default()) };
    let index = take_if(&mut rest, "index", |index| index.as_u64().and_then(|index| u32::try_from(index).ok())).unwrap_or(at);
    let word = take_text(&mut rest, "finish_reason");
    let mut blocks = Vec::new();
    if let Some(Value::Object(mut message)) = take_if(&mut rest, "message", |message| message.is_object().then(|| message.clone())) {
        blocks = message_blocks(&mut message);
        rest.insert("message".to_owned(), Value::Object(message));
    }
    let stop = Stop { reason: reason(word.as_deref().unwrap_or_default()), word: word.unwrap_or_default(), sequence: None };
    (index, Choice { blocks, stop: Some(stop), rest })
}

/// Takes the blocks out of a message; what has no name here stays.
fn message_blocks(message: &mut Fields) -> Vec<Node> {
    let mut blocks = request::thinking(message);
    let (content, form) = request::content(message);
    match form {
        Form::Null => drop(message.insert("content".to_owned(), Value::Null)),
        Form::List => drop(message.insert(CONTENT.to_owned(), "list".into())),
        Form::Text | Form::Absent => {}
    }
    blocks.extend(content);
    blocks.extend(take_text(message, "refusal").map(|text| request::beside(Block::Refusal(text), "refusal")));
    let calls = take_if(message, "tool_calls", |calls| calls.as_array().filter(|calls| !calls.is_empty()).cloned());
    blocks.extend((0..).zip(calls.unwrap_or_default()).map(|(index, call)| request::tool_use(call, index)));
    blocks
}

/// Writes a whole answer. `created` is in seconds since 1970, for answers that do not say it themselves.
pub fn encode_answer(answer: Answer, from: Dialect, created: u64, losses: &mut Losses) -> Value {
    let own = from == Dialect::OpenAi;
    let Answer { id, model, service_tier, rest, choices, usage, .. } = answer;
    let mut body = Fields::new();
    put(&mut body, "id", if own { id } else { Some(completion_id(id)) });
    if !own {
        body.insert("object".to_owned(), "chat.completion".into());
        body.insert("created".to_owned(), created.into());
    }
    put(&mut body, "model", model);
    let choices: Vec<Value> = choices.into_iter().map(|(index, choice)| choice_value(index, choice, from, losses)).collect();
    body.insert("choices".to_owned(), choices.into());
    put(&mut body, "usage", usage.map(|(usage, raw)| if own { raw } else { usage_value(&usage) }));
    put(&mut body, "service_tier", service_tier.map(|tier| if own { tier } else { tier_word(&tier).to_owned() }));
    if own {
        body.extend(rest);
    } else {
        lose_rest(&rest.into_iter().filter(|(name, _)| name != "type" && name != "role").collect(), "", losses, |_| LossKind::Metadata);
    }
    Value::Object(body)
}

pub(super) fn tier_word(tier: &str) -> &str {
    if tier == "standard" { "default" } else { tier }
}

/// Clients of this dialect expect this form.
pub(super) fn completion_id(id: Option<String>) -> String {
    let id = id.unwrap_or_default();
    if id.starts_with("chatcmpl-") { id } else { format!("chatcmpl-{id}") }
}

/// The totals of this dialect, which include their details.
pub(super) fn usage_value(usage: &Usage) -> Value {
    let (input, output) = (usage.tokens_in(), usage.tokens_out());
    let mut prompt = json!({"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input});
    let written = usage.cache_write.saturating_add(usage.cache_write_1h);
    if written > 0
        && let Value::Object(prompt) = &mut prompt
    {
        prompt.insert("cache_write_tokens".to_owned(), written.into());
    }
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input.saturating_add(output),
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
    })
}

fn choice_value(index: u32, choice: Choice, from: Dialect, losses: &mut Losses) -> Value {
    let own = from == Dialect::OpenAi;
    let path = format!("choices[{index}]");
    let mut rest = choice.rest;
    let mut message = match take(&mut rest, "message") {
        Some(Value::Object(message)) => message,
        _ => Fields::new(),
    };
    let list = take(&mut message, CONTENT).is_some();
    message.entry("role").or_insert_with(|| "assistant".into());
    fill_message(&mut message, choice.blocks, list, &path, from, losses);
    let mut body = Fields::new();
    body.insert("index".to_owned(), index.into());
    body.insert("message".to_owned(), Value::Object(message));
    if own {
        let word = choice.stop.map(|stop| stop.word).filter(|word| !word.is_empty());
        put(&mut body, "finish_reason", word);
        body.extend(rest);
    } else {
        body.insert("logprobs".to_owned(), Value::Null);
        body.insert("finish_reason".to_owned(), choice.stop.as_ref().map_or("stop", |stop| word(stop.reason)).into());
        lose_stop(choice.stop.as_ref(), &path, losses);
        lose_rest(&rest, &path, losses, |_| LossKind::Metadata);
    }
    Value::Object(body)
}

/// What the finish reasons of this dialect cannot say.
pub(super) fn lose_stop(stop: Option<&Stop>, path: &str, losses: &mut Losses) {
    if let Some(stop) = stop {
        if stop.sequence.is_some() {
            losses.lose(LossKind::Metadata, format!("{path}.stop_sequence"));
        }
        if stop.reason == crate::exchange::Reason::Other {
            losses.lose(LossKind::Metadata, format!("{path}.stop_reason"));
        }
    }
}

/// Loses what a delta of another dialect says that has no kind here.
pub(super) fn lose_delta(raw: &Value, path: &str, losses: &mut Losses) {
    let kind = match raw.get("type").and_then(Value::as_str) {
        Some("citations_delta") => LossKind::Metadata,
        // what stood beside what is said
        Some("text_delta" | "thinking_delta" | "input_json_delta" | "signature_delta") => LossKind::Unknown,
        _ => LossKind::Content,
    };
    losses.lose(kind, format!("{path}.message.content"));
}

/// A block of thinking that only its provider can read; one of another dialect says so.
pub(super) fn signed_value(node: &Node, from: Dialect) -> Value {
    let mut value = request::thinking_value(node);
    if let (Value::Object(fields), true) = (&mut value, from != Dialect::OpenAi) {
        fields.insert(MADE_BY.to_owned(), from.as_str().into());
    }
    value
}

fn fill_message(message: &mut Fields, blocks: Vec<Node>, list: bool, path: &str, from: Dialect, losses: &mut Losses) {
    let own = from == Dialect::OpenAi;
    let (mut parts, mut calls, mut signed, mut thought, mut refusal) = (Vec::new(), Vec::new(), Vec::new(), None::<String>, None::<String>);
    for node in blocks {
        if let Some(Value::Array(deltas)) = node.rest.get(OPAQUE).filter(|_| !own) {
            deltas.iter().for_each(|raw| lose_delta(raw, path, losses));
        }
        let field = node.rest.get(FIELD).and_then(Value::as_str).map(str::to_owned);
        match &node.block {
            Block::ToolUse { .. } => calls.push(request::call_value(&node, path, own, losses)),
            Block::Thinking { .. } if field.as_deref() == Some("content") => parts.push(node),
            Block::Thinking { text, signature } => match field.as_deref() {
                Some(field) if field != THINKING_BLOCKS => drop(message.insert(field.to_owned(), text.clone().into())),
                _ => {
                    thought.get_or_insert_default().push_str(text);
                    if own || signature.is_some() {
                        signed.push(signed_value(&node, from));
                    }
                }
            },
            Block::Redacted(_) => signed.push(signed_value(&node, from)),
            Block::Refusal(_) if own && list && field.is_none() => parts.push(node),
            Block::Refusal(text) => refusal.get_or_insert_default().push_str(text),
            Block::Opaque(raw) if own && field.as_deref() == Some(request::CALLS) => calls.push(raw.clone()),
            _ => parts.push(node),
        }
    }
    if !own {
        put(message, REASONING, thought.filter(|text| !text.is_empty()));
        message.insert("refusal".to_owned(), Value::Null);
    }
    put(message, THINKING_BLOCKS, (!signed.is_empty()).then_some(signed));
    put(message, "refusal", refusal);
    put(message, "tool_calls", (!calls.is_empty()).then_some(calls));
    if list {
        let parts: Vec<Value> = parts.iter().filter_map(|node| request::part_value(node, path, own, losses)).collect();
        message.insert("content".to_owned(), parts.into());
        return;
    }
    let mut text = None::<String>;
    for node in parts {
        lose_rest(&node.rest, path, losses, |_| LossKind::Unknown);
        match node.block {
            Block::Text(more) => text.get_or_insert_default().push_str(&more),
            _ => losses.lose(LossKind::Content, format!("{path}.message.content")),
        }
    }
    match text {
        Some(text) => drop(message.insert("content".to_owned(), text.into())),
        None if !own => drop(message.insert("content".to_owned(), Value::Null)),
        None => {}
    }
}
