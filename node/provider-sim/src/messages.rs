//! Anthropic messages.

use serde_json::{Value, json};

use crate::UsageFault;
use crate::chat::LATE_MS;
use crate::plan::{Call, Content, Plan, pieces};
use crate::template::{Run, Segment, TEXT, Template, event, frame};
use crate::usage::Said;
use crate::words;

fn stop_reason<'a>(plan: &'a Plan<'_>) -> &'a str {
    plan.finish_word("end_turn", "max_tokens", "tool_use")
}

/// The answer in one piece.
pub(crate) fn answer(plan: &Plan<'_>) -> Value {
    let content = match &plan.content {
        Content::Words(count) => json!([text_block(&words::text(*count))]),
        Content::Text(text) => json!([text_block(text)]),
        Content::Calls(calls) => calls.iter().map(|call| tool_block(plan, call, call.input())).collect(),
    };
    let mut body = message(plan, &content);
    body["stop_reason"] = stop_reason(plan).into();
    put_usage(&mut body, plan, None);
    body
}

impl Call {
    /// The arguments as JSON.
    fn input(&self) -> Value {
        serde_json::from_str(&self.arguments).unwrap_or_else(|_| json!({}))
    }
}

/// The answer as a stream.
pub(crate) fn stream(plan: &Plan<'_>) -> Vec<Segment> {
    let mut start = message(plan, &json!([]));
    put_usage(&mut start, plan, Some(1));
    let mut out = vec![frame(event(&json!({"type": "message_start", "message": start})))];
    match &plan.content {
        Content::Words(count) => {
            begin_block(0, &text_block(""), &mut out);
            let template = Template::new(&text_delta(TEXT));
            out.push(Segment::Run(Run::new(template, *count, plan.wishes.chunk_tokens, 0)));
            end_block(0, &mut out);
        }
        Content::Text(text) => {
            begin_block(0, &text_block(""), &mut out);
            out.extend(pieces(text).into_iter().map(|piece| frame(text_delta(piece))));
            end_block(0, &mut out);
        }
        Content::Calls(calls) => calls.iter().for_each(|call| stream_call(plan, call, &mut out)),
    }
    out.insert(2, frame(event(&json!({"type": "ping"}))));
    if plan.wishes.usage == UsageFault::Late {
        out.push(Segment::Pause(LATE_MS));
    }
    let mut last = json!({"type": "message_delta", "delta": {"stop_reason": stop_reason(plan), "stop_sequence": Value::Null}});
    put_usage(&mut last, plan, None);
    out.push(frame(event(&last)));
    out.push(frame(event(&json!({"type": "message_stop"}))));
    out
}

fn stream_call(plan: &Plan<'_>, call: &Call, out: &mut Vec<Segment>) {
    begin_block(call.index, &tool_block(plan, call, json!({})), out);
    for piece in pieces(&call.arguments) {
        let delta = json!({"type": "input_json_delta", "partial_json": piece});
        out.push(frame(event(&json!({"type": "content_block_delta", "index": call.index, "delta": delta}))));
    }
    end_block(call.index, out);
}

fn text_delta(text: &str) -> String {
    event(&json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
}

fn begin_block(index: usize, block: &Value, out: &mut Vec<Segment>) {
    out.push(frame(event(&json!({"type": "content_block_start", "index": index, "content_block": block}))));
}

fn end_block(index: usize, out: &mut Vec<Segment>) {
    out.push(frame(event(&json!({"type": "content_block_stop", "index": index}))));
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text, "citations": Value::Null})
}

fn tool_block(plan: &Plan<'_>, call: &Call, input: Value) -> Value {
    json!({"type": "tool_use", "id": plan.call_id("toolu_", 0, call), "name": call.name, "input": input})
}

fn message(plan: &Plan<'_>, content: &Value) -> Value {
    json!({"id": plan.id("msg_"), "type": "message", "role": "assistant", "model": plan.input.model, "content": content,
        "stop_reason": Value::Null, "stop_sequence": Value::Null})
}

/// Adds `usage`. The start of a stream knows its input but only the first tokens of its output (`so_far`).
fn put_usage(body: &mut Value, plan: &Plan<'_>, so_far: Option<i64>) {
    match plan.usage.said(plan.wishes.usage) {
        Said::Nothing => {}
        Said::Null => body["usage"] = Value::Null,
        Said::Figures(figures) => body["usage"] = figures.messages(so_far.map_or(figures.output, |first| first.min(figures.output))),
    }
}
