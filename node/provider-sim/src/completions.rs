//! OpenAI's older completions.

use serde_json::{Value, json};

use crate::chat::{end_stream, put_usage};
use crate::plan::{Content, Plan, pieces};
use crate::template::{Run, Segment, TEXT, Template, data, frame};
use crate::words;

fn finish_reason<'a>(plan: &'a Plan<'_>) -> &'a str {
    plan.finish_word("stop", "length", "stop")
}

/// The answer in one piece.
pub(crate) fn answer(plan: &Plan<'_>) -> Value {
    let text = match &plan.content {
        Content::Words(count) => words::text(*count),
        Content::Text(text) => text.clone(),
        Content::Calls(_) => String::new(),
    };
    let choices: Vec<Value> = (0..plan.input.choices).map(|index| change(index, &text, Some(finish_reason(plan)))).collect();
    let mut body = body(plan, &json!(choices));
    put_usage(&mut body, plan);
    body
}

/// The answer as a stream.
pub(crate) fn stream(plan: &Plan<'_>) -> Vec<Segment> {
    let mut out = Vec::new();
    for index in 0..plan.input.choices {
        match &plan.content {
            Content::Words(count) => {
                let template = Template::new(&data(&chunk(plan, &json!([change(index, TEXT, None)]))));
                out.push(Segment::Run(Run::new(template, *count, plan.wishes.chunk_tokens, 0)));
            }
            Content::Text(text) => {
                out.extend(pieces(text).into_iter().map(|piece| frame(data(&chunk(plan, &json!([change(index, piece, None)]))))));
            }
            Content::Calls(_) => {}
        }
        out.push(frame(data(&chunk(plan, &json!([change(index, "", Some(finish_reason(plan)))])))));
    }
    end_stream(plan, chunk(plan, &json!([])), &mut out);
    out
}

fn change(index: u64, text: &str, finish: Option<&str>) -> Value {
    json!({"text": text, "index": index, "logprobs": Value::Null, "finish_reason": finish})
}

fn body(plan: &Plan<'_>, choices: &Value) -> Value {
    json!({"choices": choices, "id": plan.id("cmpl-"), "object": "text_completion", "created": plan.created, "model": plan.input.model,
        "system_fingerprint": "fp_sim"})
}

fn chunk(plan: &Plan<'_>, choices: &Value) -> Value {
    let mut body = body(plan, choices);
    if plan.input.include_usage {
        body["usage"] = Value::Null;
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wishes;
    use crate::input::{Endpoint, Input};
    use crate::tokens::Counter;

    #[test]
    fn streamed_finish_reasons_are_null_but_the_last() {
        let body = br#"{"model":"m","prompt":["a","b"],"max_tokens":3,"stream":true,"stream_options":{"include_usage":true}}"#;
        let input = Input::read(Endpoint::Completions, body).expect("valid");
        let wishes = Wishes::default();
        let plan = Plan::new(&input, &wishes, &mut Counter::default(), 1, 0);
        let segments = stream(&plan);
        assert_eq!(segments.len(), 6, "a run and a finish for each of two prompts, usage, done");
        assert!(matches!(&segments[5], Segment::Frame(bytes, _) if bytes == "data: [DONE]\n\n"));
        assert!(matches!(&segments[1], Segment::Frame(bytes, _) if bytes.windows(25).any(|w| w == br#""finish_reason":"length","#)));
    }
}
