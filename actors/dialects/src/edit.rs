//! The few fields of a request that we own, changed in place: the body is cut at the places of these fields and never copied.

use std::ops::Range;

use bytes::Bytes;

use crate::Endpoint;
use crate::request::{Request, StreamOptions};
use crate::tokens::bare_model;

/// What is to be changed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits<'a> {
    /// The model's name at the provider.
    pub model: Option<&'a str>,
    /// Name ([`output_limit_name`]) and tokens of an output limit. It is set only where the caller named none.
    pub output_limit: Option<(&'a str, u64)>,
    /// Ask for usage at the end of a stream. Only chat and completions have such an option, and only for streams.
    pub include_usage: bool,
}

/// Under which name a model takes its output limit.
pub fn output_limit_name(endpoint: Endpoint, model: &str) -> &'static str {
    match endpoint {
        Endpoint::Responses => "max_output_tokens",
        Endpoint::ChatCompletions if refuses_max_tokens(bare_model(model)) => "max_completion_tokens",
        _ => "max_tokens",
    }
}

/// OpenAI's reasoning models refuse `max_tokens`: o1 and its successors, gpt-5 and later (but not Azure's gpt-35), codex.
fn refuses_max_tokens(model: &str) -> bool {
    let o_series = model.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let major = model.strip_prefix("gpt-").map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    let late = major.and_then(|digits| digits.parse::<u32>().ok()).is_some_and(|major| (5..20).contains(&major));
    o_series || late || model.starts_with("codex-")
}

/// The body with the edits made: slices of the old body and small new pieces, in order.
///
/// # Panics
/// `body` has not the length of the one that `request` was read from: the caller has mixed up two calls.
pub fn edit(request: &Request, body: &Bytes, edits: &Edits<'_>) -> Vec<Bytes> {
    assert_eq!(request.spans.body, body.len(), "the body is not the one that the request was read from");
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    let mut in_front = String::new();
    if let Some(model) = edits.model.filter(|model| *model != request.model) {
        changes.push((request.spans.model.clone(), serde_json::Value::from(model).to_string()));
    }
    if let Some((name, tokens)) = edits.output_limit.filter(|_| request.output_limit.is_none()) {
        match request.spans.nulls.iter().find(|(null, _)| *null == name) {
            Some((_, span)) => changes.push((span.clone(), tokens.to_string())),
            None => in_front.push_str(&format!("{}:{tokens},", serde_json::Value::from(name))),
        }
    }
    if edits.include_usage && request.stream && matches!(request.endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
        changes.extend(include_usage(request, &mut in_front));
    }
    if !in_front.is_empty() {
        // the object has a member, the model: a comma behind ours is right
        changes.push((request.spans.open..request.spans.open, in_front));
    }
    changes.sort_by_key(|(span, _)| span.start);
    splice(body, changes)
}

fn include_usage(request: &Request, in_front: &mut String) -> Option<(Range<usize>, String)> {
    match &request.spans.stream_options {
        _ if request.wants_usage => None,
        StreamOptions::Absent => {
            in_front.push_str("\"stream_options\":{\"include_usage\":true},");
            None
        }
        StreamOptions::Null(span) => Some((span.clone(), "{\"include_usage\":true}".to_owned())),
        StreamOptions::Object { include_usage: Some(span), .. } => Some((span.clone(), "true".to_owned())),
        StreamOptions::Object { open, empty, include_usage: None } => {
            Some((*open..*open, if *empty { "\"include_usage\":true" } else { "\"include_usage\":true," }.to_owned()))
        }
    }
}

fn splice(body: &Bytes, changes: Vec<(Range<usize>, String)>) -> Vec<Bytes> {
    if changes.is_empty() {
        return vec![body.clone()];
    }
    let mut pieces = Vec::with_capacity(changes.len() * 2 + 1);
    let mut at = 0;
    for (span, new) in changes {
        pieces.push(body.slice(at..span.start));
        pieces.push(Bytes::from(new));
        at = span.end;
    }
    pieces.push(body.slice(at..));
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
