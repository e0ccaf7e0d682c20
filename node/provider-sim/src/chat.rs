//! OpenAI chat completions.

use serde_json::{Value, json};

use crate::UsageFault;
use crate::plan::{Call, Content, Plan, pieces};
use crate::template::{Run, Segment, TEXT, Template, data, frame};
use crate::usage::Said;
use crate::words;

/// How long late usage stays away, in milliseconds.
pub(crate) const LATE_MS: u64 = 1_000;

/// The answer in one piece.
pub(crate) fn answer(plan: &Plan<'_>) -> Value {
    let choices: Vec<Value> = (0..plan.input.choices).map(|index| choice(plan, index)).collect();
    let mut body = json!({"id": plan.id("chatcmpl-"), "object": "chat.completion", "created": plan.created, "model": plan.input.model,
        "choices": choices, "service_tier": "default", "system_fingerprint": "fp_sim"});
    put_usage(&mut body, plan);
    body
}

/// Adds `usage` as the wishes have it; chat completions and completions share the form.
pub(crate) fn put_usage(body: &mut Value, plan: &Plan<'_>) {
    match plan.usage.said(plan.wishes.usage) {
        Said::Nothing => {}
        Said::Null => body["usage"] = Value::Null,
        Said::Figures(figures) => body["usage"] = figures.chat(),
    }
}

fn finish_reason<'a>(plan: &'a Plan<'_>) -> &'a str {
    plan.finish_word("stop", "length", "tool_calls")
}

fn choice(plan: &Plan<'_>, index: u64) -> Value {
    let mut message = json!({"role": "assistant", "content": Value::Null, "refusal": Value::Null, "annotations": []});
    match &plan.content {
        Content::Words(count) => message["content"] = words::text(*count).into(),
        Content::Text(text) => message["content"] = text.as_str().into(),
        Content::Calls(calls) => message["tool_calls"] = calls.iter().map(|call| tool_call(plan, index, call)).collect(),
    }
    json!({"index": index, "message": message, "logprobs": Value::Null, "finish_reason": finish_reason(plan)})
}

fn tool_call(plan: &Plan<'_>, choice: u64, call: &Call) -> Value {
    json!({"id": plan.call_id("call_", choice, call), "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

/// The answer as a stream.
pub(crate) fn stream(plan: &Plan<'_>) -> Vec<Segment> {
    let mut out = Vec::new();
    for index in 0..plan.input.choices {
        out.push(delta(plan, index, &json!({"role": "assistant", "content": "", "refusal": Value::Null})));
        match &plan.content {
            Content::Words(count) => {
                let template = Template::new(&data(&chunk(plan, &json!([change(index, &json!({"content": TEXT}), None)]))));
                out.push(Segment::Run(Run::new(template, *count, plan.wishes.chunk_tokens, 0)));
            }
            Content::Text(text) => out.extend(pieces(text).into_iter().map(|piece| delta(plan, index, &json!({"content": piece})))),
            Content::Calls(calls) => calls.iter().for_each(|call| stream_call(plan, index, call, &mut out)),
        }
        out.push(frame(data(&chunk(plan, &json!([change(index, &json!({}), Some(finish_reason(plan)))])))));
    }
    end_stream(plan, chunk(plan, &json!([])), &mut out);
    out
}

/// The last frames: usage if it was asked for, and `[DONE]`. `empty` is a frame without choices.
pub(crate) fn end_stream(plan: &Plan<'_>, mut empty: Value, out: &mut Vec<Segment>) {
    let said = plan.usage.said(plan.wishes.usage);
    if plan.input.include_usage && !matches!(said, Said::Nothing) {
        if plan.wishes.usage == UsageFault::Late {
            out.push(Segment::Pause(LATE_MS));
        }
        put_usage(&mut empty, plan);
        out.push(frame(data(&empty)));
    }
    out.push(frame("data: [DONE]\n\n".into()));
}

fn stream_call(plan: &Plan<'_>, index: u64, call: &Call, out: &mut Vec<Segment>) {
    let mut first = tool_call(plan, index, call);
    first["index"] = call.index.into();
    first["function"]["arguments"] = "".into();
    out.push(delta(plan, index, &json!({"tool_calls": [first]})));
    for piece in pieces(&call.arguments) {
        out.push(delta(plan, index, &json!({"tool_calls": [{"index": call.index, "function": {"arguments": piece}}]})));
    }
}

fn delta(plan: &Plan<'_>, index: u64, delta: &Value) -> Segment {
    frame(data(&chunk(plan, &json!([change(index, delta, None)]))))
}

fn change(index: u64, delta: &Value, finish: Option<&str>) -> Value {
    json!({"index": index, "delta": delta, "logprobs": Value::Null, "finish_reason": finish})
}

fn chunk(plan: &Plan<'_>, choices: &Value) -> Value {
    let mut body = json!({"choices": choices, "id": plan.id("chatcmpl-"), "object": "chat.completion.chunk", "created": plan.created,
        "model": plan.input.model, "service_tier": "default", "system_fingerprint": "fp_sim"});
    if plan.input.include_usage {
        body["usage"] = Value::Null;
    }
    body
}
