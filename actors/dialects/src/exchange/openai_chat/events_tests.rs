use super::*;
use crate::exchange::fold::{Answer, fold};

fn decode(chunks: &[Value]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::default(), Vec::new());
    chunks.iter().for_each(|chunk| decoder.frame(b"", chunk.to_string().as_bytes(), &mut out));
    decoder.frame(b"", b"[DONE]", &mut out);
    out
}

fn delta(delta: Value) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn last(reason: &str) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn call(index: Option<u64>, id: Option<&str>, name: Option<&str>, arguments: Value) -> Value {
    let mut call = json!({"function": {"arguments": arguments}});
    if let Some(index) = index {
        call["index"] = index.into();
    }
    if let Some(id) = id {
        call["id"] = id.into();
    }
    if let Some(name) = name {
        call["function"]["name"] = name.into();
    }
    delta(json!({"tool_calls": [call]}))
}

fn folded(chunks: &[Value]) -> Answer {
    fold(decode(chunks)).expect("well formed")
}

fn calls(answer: &Answer) -> Vec<(&str, &str, &str)> {
    let uses = answer.choices[&0].blocks.iter().filter_map(|node| match &node.block {
        Block::ToolUse { id, name, arguments } => Some((id.as_str(), name.as_str(), arguments.as_str())),
        _ => None,
    });
    uses.collect()
}

#[test]
fn calls_that_are_interleaved_come_to_their_own() {
    let answer = folded(&[
        call(Some(0), Some("a"), Some("f"), json!("")),
        call(Some(1), Some("b"), Some("g"), json!("{\"y\"")),
        call(Some(0), None, None, json!("{\"x\":")),
        call(Some(1), None, None, json!(":2}")),
        call(Some(0), None, None, json!("1}")),
        last("tool_calls"),
    ]);
    assert_eq!(calls(&answer), [("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}")]);
}

#[test]
fn providers_leave_out_numbers_and_ids_or_give_several_calls_one_number() {
    let without = folded(&[
        call(None, Some("a"), Some("f"), json!("{")),
        call(None, None, None, json!("}")),
        call(None, Some("b"), Some("f"), json!("{}")),
        last("tool_calls"),
    ]);
    assert_eq!(calls(&without), [("a", "f", "{}"), ("b", "f", "{}")]);
    let one_number =
        folded(&[call(Some(0), Some("a"), Some("f"), json!("{}")), call(Some(0), Some("b"), Some("g"), json!("{}")), last("stop")]);
    assert_eq!(calls(&one_number), [("a", "f", "{}"), ("b", "g", "{}")]);
    let no_ids = folded(&[call(Some(0), None, Some("f"), json!("{}")), call(Some(1), None, Some("g"), json!({"x": 1})), last("stop")]);
    assert_eq!(calls(&no_ids), [("call_0", "f", "{}"), ("call_1", "g", "{\"x\":1}")]);
}

/// What another dialect may write at once: the first call is over when the second begins, if its arguments are whole.
#[test]
fn a_whole_call_is_over_when_the_next_begins_and_another_is_not() {
    let stops = |first: &str| {
        let events = decode(&[call(Some(0), Some("a"), Some("f"), json!(first)), call(Some(1), Some("b"), Some("g"), json!("{}"))]);
        let stop = events.iter().position(|event| matches!(event, Event::BlockStop { index: 0, .. }));
        let start = events.iter().position(|event| matches!(event, Event::BlockStart { index: 1, .. }));
        stop < start && stop.is_some()
    };
    assert!(stops("{\"x\":\"}{\"}") && stops("{\"x\":\"\\\"}\"}"));
    assert!(!stops("{\"x\":\"}\"") && !stops("") && !stops("{\"x\":[}"));
}

#[test]
fn thinking_text_and_refusals_are_blocks_of_their_own_in_order() {
    let answer = folded(&[
        delta(json!({"role": "assistant", "reasoning_content": "h"})),
        delta(json!({"reasoning_content": "m", "content": ""})),
        delta(json!({"content": "a", "reasoning_content": null})),
        delta(json!({"content": "b"})),
        delta(json!({"refusal": "no"})),
        last("stop"),
    ]);
    let blocks: Vec<&Block> = answer.choices[&0].blocks.iter().map(|node| &node.block).collect();
    let thinking = Block::Thinking { text: "hm".into(), signature: None };
    assert_eq!(blocks, [&thinking, &Block::Text("ab".into()), &Block::Refusal("no".into())]);
}

#[test]
fn usage_comes_anywhere_and_the_last_one_counts() {
    let usage = |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let mut with_reason = last("stop");
    with_reason["usage"] = usage(3, 1);
    let answer = folded(&[delta(json!({"content": "a"})), with_reason, json!({"choices": [], "usage": usage(3, 2)})]);
    assert_eq!(answer.usage.map(|(usage, _)| (usage.tokens_in(), usage.tokens_out())), Some((3, 2)));
}

#[test]
fn a_stream_without_its_end_has_none_and_one_without_done_is_over() {
    let run = |chunks: &[Value]| {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        chunks.iter().for_each(|chunk| decoder.frame(b"", chunk.to_string().as_bytes(), &mut out));
        decoder.close(&mut out);
        out.contains(&Event::End)
    };
    assert!(!run(&[delta(json!({"content": "a"}))]));
    assert!(run(&[delta(json!({"content": "a"})), last("stop")]));
}

#[test]
fn an_error_inside_of_a_stream_is_a_fault() {
    let events = decode(&[delta(json!({"content": "a"})), json!({"error": {"message": "no", "code": 429}})]);
    assert!(events.iter().any(|event| matches!(event, Event::Fault(fault) if fault.message == "no" && fault.status == 429)));
}

#[test]
fn numbers_of_calls_run_over_tools_only() {
    let mut encoder = Encoder::new(Dialect::Anthropic, 1, false);
    let mut out = Vec::new();
    let tool = |id: &str| Node::from(Block::ToolUse { id: id.into(), name: "f".into(), arguments: String::new() });
    let events = [
        Event::BlockStart { choice: 0, index: 0, node: Block::Thinking { text: String::new(), signature: None }.into() },
        Event::BlockStart { choice: 0, index: 1, node: Block::Text(String::new()).into() },
        Event::BlockStart { choice: 0, index: 2, node: tool("a.b") },
        Event::Delta { choice: 0, index: 2, delta: Delta::Arguments("{}".into()) },
        Event::BlockStart { choice: 0, index: 3, node: tool("c") },
    ];
    events.into_iter().for_each(|event| encoder.event(event, &mut Losses::default(), &mut out));
    let text = String::from_utf8(out).expect("text");
    let numbers: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0/index").cloned())
        .collect();
    assert_eq!(numbers, [0, 0, 1]);
    assert!(text.contains(&tool_id("a.b")) && !text.contains("\"a.b\""));
}

#[test]
fn nothing_that_comes_panics() {
    for data in ["", "{", "null", "[]", "{\"choices\":7}", "{\"choices\":[7]}", "{\"choices\":[{\"index\":99999999999}]}", "{\"error\":7}"]
    {
        let mut out = Vec::new();
        Decoder::default().frame(b"", data.as_bytes(), &mut out);
        assert!(fold(out).is_ok(), "{data}");
    }
    let odd = [
        json!({"content": 7}),
        json!({"tool_calls": 7}),
        json!({"tool_calls": [7, {"function": 7}, {"index": 3}]}),
        json!({"content": [7, {}]}),
    ];
    for odd in odd {
        let events = decode(&[delta(odd.clone()), last("stop")]);
        assert!(fold(events).is_ok(), "{odd}");
    }
}
