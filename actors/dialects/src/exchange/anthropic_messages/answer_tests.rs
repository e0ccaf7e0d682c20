use super::*;
use crate::exchange::fold::fold;

fn folded(value: &Value) -> Answer {
    fold(decode_answer(value.clone())).expect("well formed")
}

/// The law: an answer of this dialect is written as it was, and nothing is a loss.
fn returns(value: Value) {
    let mut losses = Losses::default();
    assert_eq!(encode_answer(folded(&value), Dialect::Anthropic, &mut losses), value);
    assert!(losses.is_empty());
}

fn full() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use", "stop_sequence": null,
        "container": null, "context_management": {"applied_edits": []},
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "xx"},
            {"type": "text", "text": "see", "citations": [{"type": "char_location", "cited_text": "a"}, {"type": "page_location"}]},
            {"type": "text", "text": "", "citations": null},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": "u"}]},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": 1, "a": {"c": []}}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        ],
        "usage": {"input_tokens": 10, "output_tokens": 7, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 5, "service_tier": "standard",
            "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 4}, "inference_geo": null},
    })
}

#[test]
fn answers_return() {
    returns(full());
    for (name, value) in [
        ("stop_reason", json!(null)),
        ("stop_reason", json!("pause_turn")),
        ("stop_sequence", json!("END")),
        ("content", json!([])),
        ("content", json!(null)),
        ("content", json!([{"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking", "thinking": "x"}, "odd"])),
        ("type", json!("completion")),
        ("role", json!(7)),
        ("usage", json!({})),
        ("usage", json!(null)),
        ("id", json!(null)),
    ] {
        let mut answer = full();
        answer[name] = value;
        returns(answer);
        let mut answer = full();
        answer.as_object_mut().expect("an object").remove(name);
        returns(answer);
    }
    returns(json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "r"}));
}

#[test]
fn answers_have_their_parts() {
    let answer = folded(&full());
    assert_eq!(
        (answer.id.as_deref(), answer.model.as_deref(), answer.service_tier.as_deref()),
        (Some("msg_1"), Some("claude"), Some("standard"))
    );
    let choice = &answer.choices[&0];
    let stop = choice.stop.as_ref().expect("a stop");
    assert_eq!((stop.reason, stop.word.as_str(), stop.sequence.as_deref()), (Reason::Tools, "tool_use", None));
    assert_eq!(choice.blocks[0].block, Block::Thinking { text: "hm".into(), signature: Some("s".into()) });
    assert_eq!(
        choice.blocks[6].block,
        Block::ToolUse { id: "toolu_1".into(), name: "f".into(), arguments: r#"{"a":{"c":[]},"b":1}"#.into() }
    );
    let usage = answer.usage.expect("a usage").0;
    let wanted = Usage { input: 10, cache_read: 3, cache_write: 1, cache_write_1h: 4, output: 7, ..Usage::default() };
    assert_eq!(usage, wanted);
    assert!(answer.ended && answer.fault.is_none() && !answer.rest.contains_key("type"));
}

#[test]
fn each_reason_is_known() {
    for (word, reason) in [
        ("end_turn", Reason::End),
        ("max_tokens", Reason::Length),
        ("model_context_window_exceeded", Reason::Length),
        ("tool_use", Reason::Tools),
        ("stop_sequence", Reason::StopSequence),
        ("refusal", Reason::Refused),
        ("pause_turn", Reason::Other),
    ] {
        let answer = folded(&json!({"stop_reason": word, "stop_sequence": "x", "content": []}));
        let stop = answer.choices[&0].stop.clone().expect("a stop");
        assert_eq!(stop, Stop { reason, word: word.into(), sequence: Some("x".into()) });
    }
}

#[test]
fn an_error_in_place_of_an_answer_is_a_fault() {
    for body in [
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}),
        json!({"error": {"type": "rate_limit_error", "message": "slow"}}),
    ] {
        let fault = folded(&body).fault.expect("a fault");
        assert_eq!((fault.status, fault.message.as_str(), fault.kind.as_deref()), (429, "slow", Some("rate_limit_error")));
    }
    assert_eq!(folded(&json!({"type": "error"})).fault.map(|fault| fault.status), Some(502));
    assert_eq!(folded(&json!([1])).fault.map(|fault| fault.status), Some(502));
}

fn foreign(blocks: Vec<Node>) -> Answer {
    let stop = Some(Stop { reason: Reason::End, word: "stop".into(), sequence: None });
    let choice = Choice { blocks, stop, rest: Fields::new() };
    Answer { id: Some("chatcmpl-1".into()), model: Some("gpt".into()), choices: [(0, choice)].into(), ended: true, ..Answer::default() }
}

fn encode(answer: Answer) -> (Value, Vec<(LossKind, String)>) {
    let mut losses = Losses::default();
    let value = encode_answer(answer, Dialect::OpenAi, &mut losses);
    (value, losses.iter().map(|loss| (loss.kind, loss.path.clone())).collect())
}

#[test]
fn an_answer_of_another_dialect_has_what_clients_count_on() {
    let (value, losses) = encode(foreign(vec![Block::Text(String::new()).into(), Block::Text("hi".into()).into()]));
    let wanted = json!({
        "id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt", "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0}});
    assert_eq!((value, losses), (wanted, vec![]));
}

#[test]
fn blocks_of_another_dialect_are_written_or_lost() {
    let mut beside = Node::from(Block::Refusal("no".into()));
    beside.rest.insert("annotations".into(), json!([1]));
    beside.rest.insert(OPAQUE.into(), json!([{"type": "x"}]));
    let tool = |arguments: &str| Block::ToolUse { id: "call.1".into(), name: "f".into(), arguments: arguments.into() }.into();
    let blocks = vec![
        beside,
        Block::Thinking { text: "hm".into(), signature: None }.into(),
        tool(""),
        tool("[1"),
        Block::Opaque(json!({"type": "x"})).into(),
        Block::Audio { data: String::new(), format: "wav".into() }.into(),
    ];
    let (value, losses) = encode(foreign(blocks));
    let id = crate::exchange::tool_id("call.1");
    let wanted = json!([
        {"type": "text", "text": "no"}, {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "tool_use", "id": id, "name": "f", "input": {}}, {"type": "tool_use", "id": id, "name": "f", "input": {"arguments": "[1"}},
    ]);
    assert_eq!(value["content"], wanted);
    let wanted = [
        (LossKind::Unknown, "content[0].annotations"),
        (LossKind::Content, "content[0]"),
        (LossKind::Arguments, "content[3]"),
        (LossKind::Content, "content[4]"),
        (LossKind::Audio, "content[5]"),
    ];
    assert_eq!(losses, wanted.map(|(kind, path)| (kind, path.to_owned())));
}

#[test]
fn reasons_of_another_dialect_have_our_words() {
    for (reason, word) in [
        (Reason::End, "end_turn"),
        (Reason::Length, "max_tokens"),
        (Reason::Tools, "tool_use"),
        (Reason::StopSequence, "stop_sequence"),
        (Reason::Refused, "refusal"),
        (Reason::Other, "end_turn"),
    ] {
        let mut answer = foreign(vec![]);
        answer.choices.get_mut(&0).expect("a choice").stop = Some(Stop { reason, word: "x".into(), sequence: None });
        let (value, losses) = encode(answer);
        assert_eq!(value["stop_reason"], word);
        assert_eq!(!losses.is_empty(), reason == Reason::Other);
    }
}

#[test]
fn classes_of_usage_become_this_dialects_counts_and_read_back() {
    let usage = Usage {
        input: 1,
        audio_input: 2,
        cache_read: 4,
        cache_write: 8,
        cache_write_1h: 16,
        output: 32,
        reasoning: 64,
        audio_output: 128,
        searches: 3,
        ..Usage::default()
    };
    let (value, _) = encode(Answer { usage: Some((usage, Value::Null)), service_tier: Some("default".into()), ..foreign(vec![]) });
    let counts = &value["usage"];
    assert_eq!((&counts["input_tokens"], &counts["output_tokens"]), (&json!(3), &json!(224)));
    assert_eq!((&counts["cache_read_input_tokens"], &counts["cache_creation_input_tokens"]), (&json!(4), &json!(24)));
    assert_eq!(counts["service_tier"], "standard");
    let again = count(&mut AnthropicCounts::default(), counts);
    assert_eq!(again, Some(Usage { input: 3, audio_input: 0, output: 160, audio_output: 0, ..usage }));
}

#[test]
fn what_stands_beside_another_dialects_answer_is_lost_by_its_kind() {
    let mut answer = foreign(vec![]);
    answer.rest = json!({"object": "chat.completion", "created": 1, "system_fingerprint": "fp"}).as_object().expect("an object").clone();
    answer.service_tier = Some("flex".into());
    let choice = answer.choices.get_mut(&0).expect("a choice");
    choice.rest =
        json!({"logprobs": {"content": [1]}, "message": {"role": "assistant", "audio": {"id": 1}}}).as_object().expect("an object").clone();
    answer.choices.insert(1, Choice::default());
    let (_, losses) = encode(answer);
    let wanted = [
        (LossKind::Choices, "choices[1]"),
        (LossKind::Metadata, "system_fingerprint"),
        (LossKind::Metadata, "service_tier"),
        (LossKind::Audio, "choices[0].message.audio"),
        (LossKind::Logprobs, "choices[0].logprobs"),
    ];
    assert_eq!(losses, wanted.map(|(kind, path)| (kind, path.to_owned())));
}

#[test]
fn a_fault_of_another_dialect_has_our_type() {
    let fault = StreamFault { kind: Some("insufficient_quota".into()), code: None, message: "spent".into(), status: 429 };
    let (value, _) = encode(Answer { fault: Some(fault), ..Answer::default() });
    assert_eq!(value, json!({"type": "error", "error": {"type": "rate_limit_error", "message": "spent"}}));
}
