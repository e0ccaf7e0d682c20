use super::*;
use crate::exchange::fold::{self, Answer, fold};
use crate::exchange::{Reason, fold::OPAQUE};
use crate::{StreamFault, exchange::anthropic_messages::decode_answer, sse::Frame, sse::Framer};
use proptest::prelude::*;

/// The events of a stream's text.
fn decode(stream: &[u8]) -> Vec<Event> {
    let (mut decoder, mut framer, mut events, mut at) = (Decoder::default(), Framer::default(), Vec::new(), 0);
    while at < stream.len() {
        let end = framer.end(stream, at).unwrap_or(stream.len());
        let frame = Frame::read(&stream[at..end]);
        if let Some(data) = &frame.data {
            decoder.frame(frame.name, data, &mut events);
        }
        at = end;
    }
    decoder.close(&mut events);
    events
}

/// A stream of events as a provider writes it; the first two fields are the name and the data.
fn wire(data: &[Value]) -> Vec<u8> {
    let frames = data.iter().map(|data| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default()));
    frames.collect::<String>().into_bytes()
}

fn encode(events: Vec<Event>, from: Dialect) -> (Vec<u8>, Losses) {
    let (mut encoder, mut losses, mut out) = (Encoder::new(from), Losses::default(), Vec::new());
    events.into_iter().for_each(|event| encoder.event(event, &mut losses, &mut out));
    (out, losses)
}

fn folded(events: Vec<Event>) -> Answer {
    fold(events).expect("well formed")
}

/// What the frames say.
fn data(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(stream.to_vec()).expect("text");
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| serde_json::from_str(data).expect("json")).collect()
}

fn kinds(stream: &[u8]) -> Vec<String> {
    data(stream).iter().map(|data| data["type"].as_str().expect("a type").to_owned()).collect()
}

/// The law: what is written of a stream folds to the same answer.
fn returns(stream: &[u8]) -> Answer {
    let mut events = decode(stream);
    if !events.iter().any(|event| matches!(event, Event::End | Event::Fault(_))) {
        // what the reader of a stream says of one that breaks off
        events.push(Event::Fault(StreamFault { status: 502, ..StreamFault::default() }));
    }
    let answer = folded(events.clone());
    let (again, losses) = encode(events, Dialect::Anthropic);
    assert!(losses.is_empty());
    assert_eq!(folded(decode(&again)), answer);
    never_overlaps(&again);
    answer
}

fn never_overlaps(stream: &[u8]) {
    let (mut open, mut next) = (None, 0);
    for data in data(stream) {
        let index = data["index"].as_u64();
        match data["type"].as_str() {
            Some("content_block_start") => {
                assert_eq!((open, index), (None, Some(next)));
                (open, next) = (index, next + 1);
            }
            Some("content_block_delta") => assert_eq!(index, open),
            Some("content_block_stop") => assert_eq!((index.is_some(), index), (true, open.take())),
            _ => {}
        }
    }
}

fn block(index: u64, block: Value, deltas: &[Value]) -> Vec<Value> {
    let mut events = vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
    events.extend(deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
    events.push(json!({"type": "content_block_stop", "index": index}));
    events
}

fn begin() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [],
        "stop_reason": null, "stop_sequence": null, "container": null,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 1, "service_tier": "standard"}}})
}

fn finish(reason: &str) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null, "container": {"id": "c"}},
            "usage": {"output_tokens": 20, "input_tokens": null}, "context_management": {"applied_edits": []}}),
        json!({"type": "message_stop"}),
    ]
}

/// A stream with everything.
fn full() -> Vec<Value> {
    let arguments = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    let citation = json!({"type": "char_location", "cited_text": "a"});
    let mut events = vec![begin(), json!({"type": "ping"})];
    events.extend(block(
        0,
        json!({"type": "thinking", "thinking": "", "signature": ""}),
        &[
            json!({"type": "thinking_delta", "thinking": "h"}),
            json!({"type": "thinking_delta", "thinking": "m"}),
            json!({"type": "signature_delta", "signature": "s"}),
        ],
    ));
    events.extend(block(1, json!({"type": "redacted_thinking", "data": "xx"}), &[]));
    events.extend(block(
        2,
        json!({"type": "text", "text": "", "citations": []}),
        &[
            json!({"type": "text_delta", "text": "se"}),
            json!({"type": "citations_delta", "citation": citation}),
            json!({"type": "text_delta", "text": "e"}),
        ],
    ));
    events.extend(block(
        3,
        json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}}),
        &[arguments(""), arguments("{\"a\":"), arguments("1}")],
    ));
    events.extend(block(
        4,
        json!({"type": "tool_use", "id": "t2", "name": "g", "input": {}, "caller": {"type": "direct"}}),
        &[arguments("")],
    ));
    events.extend(block(
        5,
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        &[arguments("{\"query\":"), arguments("\"x\"}")],
    ));
    events.extend(block(
        6,
        json!({"type": "future", "state": null}),
        &[json!({"type": "future_delta", "state": "a"}), json!({"type": "future_delta", "state": "b"})],
    ));
    events.extend(finish("tool_use"));
    events
}

fn full_answer() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
        "container": {"id": "c"}, "context_management": {"applied_edits": []},
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "xx"},
            {"type": "text", "text": "see", "citations": [{"type": "char_location", "cited_text": "a"}]},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "t2", "name": "g", "input": {}, "caller": {"type": "direct"}},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}, {"type": "future", "state": "ab"},
        ],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 3, "output_tokens": 20, "service_tier": "standard"},
    })
}

#[test]
fn a_stream_returns_and_is_the_whole_answer() {
    let answer = returns(&wire(&full()));
    assert_eq!((answer.id.as_deref(), answer.service_tier.as_deref(), answer.ended), (Some("msg_1"), Some("standard"), true));
    let usage = answer.usage.as_ref().expect("a usage");
    assert_eq!(usage.0, Usage { input: 10, cache_read: 3, output: 20, ..Usage::default() });
    let whole = folded(decode_answer(full_answer()));
    let known = |answer: &Answer| answer.choices[&0].blocks[..5].to_vec();
    assert_eq!(known(&answer), known(&whole));
    assert_eq!((answer.choices[&0].stop.clone(), usage), (whole.choices[&0].stop.clone(), whole.usage.as_ref().expect("a usage")));
    let written = crate::exchange::anthropic_messages::encode_answer(answer, Dialect::Anthropic, &mut Losses::default());
    assert_eq!(written, full_answer());
}

#[test]
fn the_frames_of_a_stream_are_written_as_they_were() {
    let (again, _) = encode(decode(&wire(&full())), Dialect::Anthropic);
    assert!(again.starts_with(b"event: message_start\ndata: {"));
    let wanted = full().into_iter().filter(|data| data["type"] != "ping" && data["delta"]["partial_json"] != "");
    let wanted = wanted.map(|mut data| {
        if data["type"] == "message_delta" {
            // all of the usage
            data["usage"] = full_answer()["usage"].clone();
        }
        data
    });
    let mut said = data(&again);
    // arguments that are none are said
    said.retain(|data| data["delta"]["partial_json"] != "{}");
    assert_eq!(said, wanted.collect::<Vec<_>>());
}

#[test]
fn each_cut_returns_and_never_ends_by_itself() {
    let stream = wire(&full());
    let last = stream.len() - "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".len();
    let before = stream[..last].windows(13).rposition(|bytes| bytes == b"message_delta").expect("a delta")
        - "event: message_delta\ndata: {\"type\":".len();
    for cut in 0..stream.len() {
        // what is cut in the middle of an event is left out, as the reader of frames does
        let cut = stream[..cut].windows(2).rposition(|bytes| bytes == b"\n\n").map_or(0, |at| at + 2);
        assert_eq!(returns(&stream[..cut]).ended, cut > before);
    }
}

#[test]
fn providers_leave_things_out() {
    let frames = concat!(
        "event: message_start\ndata: {\"message\":{\"id\":\"m\",\"model\":\"x\"}}\n\n",
        "event: content_block_start\ndata: {\"index\":5,\"content_block\":{\"type\":\"text\"}}\n\n",
        "event: content_block_delta\ndata: {\"index\":5,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n",
        "event: content_block_start\ndata: {\"index\":9,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}}\n\n",
        "event: content_block_start\ndata: {\"index\":9,\"content_block\":{\"type\":\"text\",\"text\":\"whole\"}}\n\n",
        "event: content_block_delta\ndata: {\"index\":5,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\"}}\n\n",
        "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
        "event: message_delta\ndata: {\"usage\":{\"output_tokens\":3}}\n\n",
        "data: [DONE]\n\n",
    );
    let answer = returns(frames.as_bytes());
    let blocks: Vec<Block> = answer.choices[&0].blocks.iter().map(|node| node.block.clone()).collect();
    let tool = Block::ToolUse { id: "t".into(), name: "f".into(), arguments: "{\"a\":1}".into() };
    assert_eq!(blocks, [Block::Text("ab".into()), tool, Block::Text("whole".into())]);
    assert_eq!(answer.usage.expect("a usage").0.output, 3);
    assert!(answer.ended);

    let bare = [json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}})];
    assert_eq!(returns(&wire(&bare)).choices[&0].blocks, [Block::Text("a".into()).into()]);
}

#[test]
fn blocks_that_are_never_over_are_bounded() {
    let start = |index| json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": "x"}});
    let stream: Vec<Value> = (0..200).map(start).collect();
    let answer = returns(&wire(&stream));
    assert_eq!(answer.choices[&0].blocks.len(), 200);
    let mut decoder = Decoder::default();
    stream.iter().for_each(|data| decoder.frame(b"", data.to_string().as_bytes(), &mut Vec::new()));
    assert_eq!(decoder.open.len(), OPEN_MAX);
}

#[test]
fn a_delta_of_another_kind_than_its_block_is_kept_beside_it() {
    let stream = wire(&block(0, json!({"type": "text", "text": ""}), &[json!({"type": "input_json_delta", "partial_json": "{"})]));
    let answer = returns(&stream);
    assert_eq!(answer.choices[&0].blocks[0].rest[OPAQUE], json!([{"type": "input_json_delta", "partial_json": "{"}]));
}

#[test]
fn usage_replaces_and_is_never_the_sum() {
    let delta = |usage: Value| json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": usage});
    let answer = returns(&wire(&[
        begin(),
        delta(json!({"output_tokens": 5})),
        delta(json!({"output_tokens": 9, "input_tokens": 11})),
        finish("end_turn")[1].clone(),
    ]));
    let (usage, raw) = answer.usage.expect("a usage");
    assert_eq!(usage, Usage { input: 11, cache_read: 3, output: 9, ..Usage::default() });
    assert_eq!(raw, json!({"input_tokens": 11, "cache_read_input_tokens": 3, "output_tokens": 9, "service_tier": "standard"}));
}

#[test]
fn an_error_ends_a_stream() {
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let answer = returns(&wire(&[begin(), error.clone(), json!({"type": "message_stop"})]));
    let fault = answer.fault.expect("a fault");
    assert_eq!((fault.status, fault.message.as_str(), answer.ended), (529, "busy", false));
    assert_eq!(decode(b"event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n").len(), 1);
    // half an event, and then nothing
    assert!(matches!(&decode(b"event: message_start\ndata: {\"ty\n\n")[..], [Event::Fault(_)]));
    assert_eq!(decode(b"event: ping\ndata: x\n\nevent: new\ndata: {\"type\":\"new\"}\n\n"), []);
}

fn start(index: u32, block: Block) -> Event {
    Event::BlockStart { choice: 0, index, node: block.into() }
}

fn delta(index: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, index, delta }
}

fn over(index: u32) -> Event {
    Event::BlockStop { choice: 0, index }
}

fn tool(id: &str) -> Block {
    Block::ToolUse { id: id.into(), name: "f".into(), arguments: String::new() }
}

fn openai_start() -> Event {
    let rest = Fields::from_iter([("object".to_owned(), json!("chat.completion.chunk"))]);
    Event::Start { id: Some("chatcmpl-1".into()), model: Some("gpt".into()), service_tier: None, rest }
}

fn stopped(reason: Reason) -> Event {
    Event::Stop { choice: 0, stop: Stop { reason, word: "x".into(), sequence: None }, rest: Fields::new() }
}

#[test]
fn blocks_of_another_dialect_wait_for_each_other() {
    let arguments = |index, text: &str| delta(index, Delta::Arguments(text.into()));
    let usage = Usage { input: 5, output: 6, ..Usage::default() };
    let events = vec![
        openai_start(),
        start(0, Block::Text(String::new())),
        delta(0, Delta::Text(String::new())),
        over(0),
        start(1, Block::Text(String::new())),
        delta(1, Delta::Text("hi".into())),
        start(2, tool("call.1")),
        start(3, tool("b")),
        arguments(3, "{\"b\""),
        arguments(2, "{}"),
        start(4, Block::Text(String::new())),
        over(1),
        arguments(3, ":1}"),
        over(3),
        over(2),
        stopped(Reason::Tools),
        Event::Usage { usage, raw: json!({"prompt_tokens": 5}) },
        Event::End,
        Event::End,
    ];
    let (out, losses) = encode(events, Dialect::OpenAi);
    assert!(losses.is_empty());
    never_overlaps(&out);
    let start = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let arguments = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    let wanted = [
        json!({"type": "message_start", "message": {"id": "msg_chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt", "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0}}}),
        start(0, json!({"type": "text", "text": ""})),
        delta(0, json!({"type": "text_delta", "text": "hi"})),
        stop(0),
        start(1, json!({"type": "tool_use", "id": tool_id("call.1"), "name": "f", "input": {}})),
        delta(1, arguments("{}")),
        stop(1),
        start(2, json!({"type": "tool_use", "id": "b", "name": "f", "input": {}})),
        delta(2, arguments("{\"b\"")),
        delta(2, arguments(":1}")),
        stop(2),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(data(&out), wanted);
}

#[test]
fn what_another_dialect_says_and_we_cannot_is_lost() {
    let mut noted = Node::from(Block::Text(String::new()));
    noted.rest.insert("annotations".into(), json!([1]));
    let (out, losses) = encode(
        vec![
            openai_start(),
            Event::BlockStart { choice: 0, index: 0, node: noted },
            delta(0, Delta::Text("a".into())),
            delta(0, Delta::Opaque(json!({"type": "x"}))),
            over(0),
            start(1, Block::Opaque(json!({"type": "x"}))),
            delta(1, Delta::Opaque(json!({"type": "y"}))),
            over(1),
            start(2, tool("t")),
            delta(2, Delta::Arguments("[1]".into())),
            over(2),
            start(3, Block::Refusal(String::new())),
            delta(3, Delta::Refusal("no".into())),
            Event::BlockStart { choice: 1, index: 0, node: Block::Text(String::new()).into() },
            Event::Delta { choice: 1, index: 0, delta: Delta::Text("b".into()) },
            stopped(Reason::Other),
            Event::End,
        ],
        Dialect::OpenAi,
    );
    let wanted = [
        (LossKind::Unknown, "content[0].annotations"),
        (LossKind::Content, "content[0]"),
        (LossKind::Content, "content[1]"),
        (LossKind::Arguments, "content[1]"),
        (LossKind::Choices, "choices[1]"),
        (LossKind::Unknown, "finish_reason"),
    ];
    assert_eq!(losses.iter().map(|loss| (loss.kind, loss.path.as_str())).collect::<Vec<_>>(), wanted);
    never_overlaps(&out);
    let blocks: Vec<Block> = folded(decode(&out)).choices[&0].blocks.iter().map(|node| node.block.clone()).collect();
    let tool = Block::ToolUse { id: "t".into(), name: "f".into(), arguments: "[1]".into() };
    assert_eq!(blocks, [Block::Text("a".into()), tool, Block::Text("no".into())]);
}

#[test]
fn thinking_of_another_dialect_has_a_signature_in_its_start() {
    let thinking = Block::Thinking { text: String::new(), signature: None };
    let (out, _) =
        encode(vec![openai_start(), start(0, thinking), delta(0, Delta::Thinking("hm".into())), over(0), Event::End], Dialect::OpenAi);
    assert_eq!(data(&out)[1]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
    // without a reason there is none, and clients still find their usage
    let last = &data(&out)[4];
    assert_eq!((&last["delta"]["stop_reason"], &last["usage"]["output_tokens"]), (&Value::Null, &json!(0)));
}

#[test]
fn usage_that_is_known_stands_at_the_start_too() {
    let usage = Usage { input: 5, ..Usage::default() };
    let events =
        vec![openai_start(), Event::Usage { usage, raw: Value::Null }, start(0, tool("t")), over(0), stopped(Reason::Tools), Event::End];
    let (out, _) = encode(events, Dialect::OpenAi);
    assert_eq!(data(&out)[0]["message"]["usage"]["input_tokens"], 5);
    assert_eq!(kinds(&out), ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]);
}

#[test]
fn a_fault_is_an_error_event_and_the_last_one() {
    let fault = StreamFault { kind: Some("server_error".into()), code: Some("c".into()), message: "m".into(), status: 503 };
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "m", "code": "c"}});
    let (out, _) = encode(vec![Event::Fault(fault.clone()), Event::End], Dialect::OpenAi);
    assert_eq!(data(&out), vec![error.clone()]);
    assert!(out.starts_with(b"event: error\n"));
    let (out, _) = encode(vec![openai_start(), Event::Fault(fault), Event::End], Dialect::OpenAi);
    assert_eq!((kinds(&out), data(&out).pop()), (vec!["message_start".to_owned(), "error".to_owned()], Some(error)));
}

/// JSON of the words that this dialect knows, put together at random.
fn odd() -> impl Strategy<Value = Value> {
    let words = [
        "type",
        "index",
        "message",
        "content_block",
        "delta",
        "usage",
        "error",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "text",
        "text_delta",
        "tool_use",
        "input",
        "input_json_delta",
        "partial_json",
        "thinking",
        "thinking_delta",
        "signature",
        "stop_reason",
        "output_tokens",
        "content",
        "citations",
        "id",
        "name",
        "source",
        "role",
        "messages",
        "model",
        "system",
        "tools",
        "tool_result",
        "tool_use_id",
        "user",
        "assistant",
    ];
    let word = prop::sample::select(words.to_vec());
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_u64).prop_map(Value::from),
        word.clone().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..5)
                .prop_map(|list| list.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// An event of a kind that is known, with members that may be anything.
fn odd_event() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec![
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]);
    let block = prop::sample::select(vec!["text", "tool_use", "thinking", "redacted_thinking", "x"]);
    let delta = prop::sample::select(vec!["text_delta", "input_json_delta", "thinking_delta", "signature_delta", "x"]);
    (kind, 0..3_u64, block, delta, odd()).prop_map(|(kind, index, block, delta, odd)| {
        json!({"type": kind, "index": index, "message": odd,
            "content_block": {"type": block, "id": "i", "name": "n", "data": "d", "input": odd, "text": "t", "odd": odd},
            "delta": {"type": delta, "text": "t", "partial_json": "p", "thinking": "h", "signature": "s", "stop_reason": odd},
            "usage": {"output_tokens": index}})
    })
}

proptest! {
    #[test]
    fn any_bytes_are_taken(name in any::<Vec<u8>>(), bytes in any::<Vec<u8>>()) {
        let mut out = Vec::new();
        Decoder::default().frame(&name, &bytes, &mut out);
    }

    #[test]
    fn any_events_fold_and_are_written_well_formed(stream in prop::collection::vec(odd_event(), 0..12)) {
        let stream = wire(&stream);
        let events = decode(&stream);
        let answer = fold(events.clone()).expect("well formed");
        for from in [Dialect::Anthropic, Dialect::OpenAi] {
            let (out, _) = encode(events.clone(), from);
            never_overlaps(&out);
            let again = fold(decode(&out)).expect("well formed");
            // usage that is not written with the start comes with the end
            if from == Dialect::Anthropic && answer.ended {
                prop_assert_eq!(&again, &answer);
            }
            crate::exchange::anthropic_messages::encode_answer(answer.clone(), from, &mut Losses::default());
        }
        prop_assert_eq!(fold(fold::events(answer.clone())), Ok(answer));
    }

    #[test]
    fn any_value_is_taken(value in odd()) {
        use crate::exchange::{Target, anthropic_messages as codec};
        let answer = fold(codec::decode_answer(value.clone())).expect("well formed");
        codec::encode_answer(answer, Dialect::OpenAi, &mut Losses::default());
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [value]}], "system": value, "thinking": value, "tool_choice": value});
        if let Ok(mut exchange) = codec::decode_request(body.clone()) {
            let target = Target { model: "m".to_owned(), ..Target::default() };
            prop_assert_eq!(codec::encode_request(&exchange, &target, &mut Losses::default()).body, body);
            exchange.from = Dialect::OpenAi;
            codec::encode_request(&exchange, &target, &mut Losses::default());
        }
    }
}

#[test]
fn what_stands_beside_a_known_delta_is_kept_or_lost_and_said_so() {
    let delta = json!({"type": "text_delta", "text": "hi", "score": 3, "nothing": null});
    let mut events = vec![begin()];
    events.extend(block(0, json!({"type": "text", "text": ""}), &[delta]));
    events.extend(finish("end_turn"));
    let stream = wire(&events);
    returns(&stream);
    let mut translator = crate::Translator::new(crate::Endpoint::Messages, crate::Endpoint::ChatCompletions, 1, true, false);
    let text = translator.frames(&stream);
    assert!(String::from_utf8_lossy(&text).contains("\"content\":\"hi\""));
    let lost: Vec<LossKind> =
        translator.losses().iter().filter(|loss| loss.path.ends_with("message.content")).map(|loss| loss.kind).collect();
    assert_eq!(lost, [LossKind::Unknown]);
}
