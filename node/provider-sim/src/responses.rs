//! OpenAI responses. Every event is numbered, and the last one carries the whole answer again.

use serde_json::{Value, json};

use crate::UsageFault;
use crate::chat::LATE_MS;
use crate::plan::{Call, Content, Finish, Plan, pieces};
use crate::template::{NUMBER, Run, Segment, TEXT, Template, event, frame};
use crate::usage::Said;
use crate::words;

/// The answer in one piece.
pub(crate) fn answer(plan: &Plan<'_>) -> Value {
    response(plan, Some(output(plan)))
}

/// How the answer stands at its end: `completed`, or `incomplete` with a reason.
fn status<'a>(plan: &'a Plan<'_>) -> (&'static str, Option<&'a str>) {
    match (plan.wishes.finish.as_deref(), plan.finish) {
        (Some("stop" | "completed"), _) => ("completed", None),
        (Some(reason), _) => ("incomplete", Some(reason)),
        (None, Finish::Length) => ("incomplete", Some("max_output_tokens")),
        (None, _) => ("completed", None),
    }
}

/// The event that ends the stream.
fn last_event(plan: &Plan<'_>) -> &'static str {
    if status(plan).0 == "completed" { "response.completed" } else { "response.incomplete" }
}

fn text_of(plan: &Plan<'_>) -> String {
    match &plan.content {
        Content::Words(count) => words::text(*count),
        Content::Text(text) => text.clone(),
        Content::Calls(_) => String::new(),
    }
}

fn output(plan: &Plan<'_>) -> Vec<Value> {
    match &plan.content {
        Content::Calls(calls) => calls.iter().map(|call| call_item(plan, call, &call.arguments, "completed")).collect(),
        _ => vec![message_item(plan, json!([text_part(&text_of(plan))]), status(plan).0)],
    }
}

fn message_item(plan: &Plan<'_>, content: Value, status: &str) -> Value {
    json!({"id": plan.id("msg_"), "type": "message", "role": "assistant", "status": status, "content": content})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn call_item(plan: &Plan<'_>, call: &Call, arguments: &str, status: &str) -> Value {
    json!({"id": plan.call_id("fc_", 0, call), "type": "function_call", "call_id": plan.call_id("call_", 0, call), "name": call.name,
        "arguments": arguments, "status": status})
}

/// The response object: with its output at the end, without at the start.
fn response(plan: &Plan<'_>, output: Option<Vec<Value>>) -> Value {
    let asked = |name: &str, otherwise: Value| plan.input.body.get(name).cloned().unwrap_or(otherwise);
    let mut body = json!({"id": plan.id("resp_"), "object": "response", "created_at": plan.created, "model": plan.input.model,
        "background": false, "error": Value::Null, "incomplete_details": Value::Null, "instructions": asked("instructions", Value::Null),
        "max_output_tokens": plan.input.limit, "metadata": asked("metadata", json!({})), "output": [],
        "parallel_tool_calls": asked("parallel_tool_calls", json!(true)), "previous_response_id": asked("previous_response_id", Value::Null),
        "reasoning": {"effort": Value::Null, "summary": Value::Null}, "service_tier": "default", "status": "in_progress",
        "store": asked("store", json!(true)), "temperature": asked("temperature", json!(1.0)),
        "text": asked("text", json!({"format": {"type": "text"}})), "tool_choice": asked("tool_choice", json!("auto")),
        "tools": tools(plan), "top_p": asked("top_p", json!(1.0)), "truncation": asked("truncation", json!("disabled")), "usage": Value::Null});
    let Some(output) = output else { return body };
    let (status, reason) = status(plan);
    body["status"] = status.into();
    if let Some(reason) = reason {
        body["incomplete_details"] = json!({"reason": reason});
    }
    body["output"] = output.into();
    match plan.usage.said(plan.wishes.usage) {
        Said::Nothing => {
            body.as_object_mut().map(|fields| fields.remove("usage"));
        }
        Said::Null => {}
        Said::Figures(figures) => body["usage"] = figures.responses(),
    }
    body
}

/// The caller's tools with the defaults that the provider fills in.
fn tools(plan: &Plan<'_>) -> Value {
    let mut tools = plan.input.body.get("tools").cloned().unwrap_or_else(|| json!([]));
    for fields in tools.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if fields.get("type").and_then(Value::as_str) == Some("function") {
            fields.entry("strict").or_insert(json!(true));
            fields.entry("parameters").or_insert(Value::Null);
        }
    }
    tools
}

/// Frames with their numbers.
struct Frames {
    out: Vec<Segment>,
    number: u64,
}

impl Frames {
    fn push(&mut self, mut value: Value) {
        value["sequence_number"] = self.number.into();
        self.number += 1;
        self.out.push(frame(event(&value)));
    }

    fn words(&mut self, item: &str, count: u64, step: u64) {
        let template = Template::new(&event(&text_delta(item, TEXT)));
        self.out.push(Segment::Run(Run::new(template, count, step, self.number)));
        self.number += Run::frames(count, step);
    }
}

fn text_delta(item: &str, text: &str) -> Value {
    json!({"type": "response.output_text.delta", "delta": text, "item_id": item, "output_index": 0, "content_index": 0, "logprobs": [],
        "sequence_number": NUMBER})
}

/// The answer as a stream.
pub(crate) fn stream(plan: &Plan<'_>) -> Vec<Segment> {
    let mut frames = Frames { out: Vec::new(), number: 0 };
    for kind in ["response.created", "response.in_progress"] {
        frames.push(json!({"type": kind, "response": response(plan, None)}));
    }
    match &plan.content {
        Content::Calls(calls) => calls.iter().for_each(|call| stream_call(plan, call, &mut frames)),
        _ => stream_text(plan, &mut frames),
    }
    if plan.wishes.usage == UsageFault::Late {
        frames.out.push(Segment::Pause(LATE_MS));
    }
    frames.push(json!({"type": last_event(plan), "response": response(plan, Some(output(plan)))}));
    frames.out
}

fn stream_text(plan: &Plan<'_>, frames: &mut Frames) {
    let (item, text) = (plan.id("msg_"), text_of(plan));
    let place = |kind: &str| json!({"type": kind, "item_id": item, "output_index": 0, "content_index": 0});
    let with = |mut base: Value, name: &str, value: Value| {
        base[name] = value;
        base
    };
    let started = message_item(plan, json!([]), "in_progress");
    frames.push(json!({"type": "response.output_item.added", "output_index": 0, "item": started}));
    frames.push(with(place("response.content_part.added"), "part", text_part("")));
    match &plan.content {
        Content::Words(count) => frames.words(&item, *count, plan.wishes.chunk_tokens),
        _ => pieces(&text).into_iter().for_each(|piece| frames.push(text_delta(&item, piece))),
    }
    let done = with(place("response.output_text.done"), "text", text.as_str().into());
    frames.push(with(done, "logprobs", json!([])));
    frames.push(with(place("response.content_part.done"), "part", text_part(&text)));
    let finished = message_item(plan, json!([text_part(&text)]), status(plan).0);
    frames.push(json!({"type": "response.output_item.done", "output_index": 0, "item": finished}));
}

fn stream_call(plan: &Plan<'_>, call: &Call, frames: &mut Frames) {
    let item = plan.call_id("fc_", 0, call);
    let started = call_item(plan, call, "", "in_progress");
    frames.push(json!({"type": "response.output_item.added", "output_index": call.index, "item": started}));
    for piece in pieces(&call.arguments) {
        let kind = "response.function_call_arguments.delta";
        frames.push(json!({"type": kind, "item_id": item, "output_index": call.index, "delta": piece}));
    }
    let kind = "response.function_call_arguments.done";
    frames.push(json!({"type": kind, "item_id": item, "output_index": call.index, "name": call.name, "arguments": call.arguments}));
    let finished = call_item(plan, call, &call.arguments, "completed");
    frames.push(json!({"type": "response.output_item.done", "output_index": call.index, "item": finished}));
}
