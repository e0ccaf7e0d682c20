//! Every row of `capabilities.json` is carried out, and the page is made from what is true.

use dialects::{
    Dialect, Endpoint, Translator,
    capabilities::{self, Direction, Row},
    exchange::{
        Target, anthropic_messages,
        fold::{Answer, events, fold},
        loss::{LossKind, Losses},
        openai_chat,
    },
    read_exchange, translate_request,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};

fn endpoint(dialect: Dialect) -> Endpoint {
    if dialect == Dialect::OpenAi { Endpoint::ChatCompletions } else { Endpoint::Messages }
}

fn caller(row: &Row) -> Dialect {
    row.caller.parse().expect("a dialect")
}

/// A sample's members in something that is whole without them.
fn whole(mut base: Value, row: &Row) -> Value {
    let (Some(fields), Some(sample)) = (base.as_object_mut(), row.sample.as_object()) else {
        panic!("{}: a sample is an object", row.feature)
    };
    fields.extend(sample.clone());
    base
}

fn request(row: &Row) -> Value {
    let mut base = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    if caller(row) == Dialect::Anthropic {
        base["max_tokens"] = json!(4096);
    }
    whole(base, row)
}

fn answer(row: &Row) -> Value {
    let base = match row.provider() {
        Dialect::OpenAi => json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}),
        Dialect::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 10, "output_tokens": 5}}),
    };
    whole(base, row)
}

fn decode_answer(dialect: Dialect, body: Value) -> Answer {
    let decoded = match dialect {
        Dialect::OpenAi => openai_chat::decode_answer(body),
        Dialect::Anthropic => anthropic_messages::decode_answer(body),
    };
    fold(decoded).expect("an answer")
}

/// The answer as its own provider would stream it.
fn streamed(row: &Row) -> Vec<u8> {
    let from = row.provider();
    let (mut losses, mut out) = (Losses::default(), Vec::new());
    let (mut openai, mut anthropic) = (openai_chat::Encoder::new(from, 1, true), anthropic_messages::Encoder::new(from));
    for event in events(decode_answer(from, answer(row))) {
        match from {
            Dialect::OpenAi => openai.event(event, &mut losses, &mut out),
            Dialect::Anthropic => anthropic.event(event, &mut losses, &mut out),
        }
    }
    assert!(losses.is_empty(), "{}", row.feature);
    out
}

/// What a stream of the caller's dialect comes to.
fn gathered(dialect: Dialect, stream: &[u8]) -> Value {
    let (mut openai, mut anthropic, mut out) = (openai_chat::Decoder::default(), anthropic_messages::Decoder::default(), Vec::new());
    for frame in std::str::from_utf8(stream).expect("text").split("\n\n") {
        let Some(data) = frame.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
        match dialect {
            Dialect::OpenAi => openai.frame(b"", data.as_bytes(), &mut out),
            Dialect::Anthropic => anthropic.frame(b"", data.as_bytes(), &mut out),
        }
    }
    let mut losses = Losses::default();
    match dialect {
        Dialect::OpenAi => {
            openai.close(&mut out);
            openai_chat::encode_answer(fold(out).expect("a stream"), dialect, 1, &mut losses)
        }
        Dialect::Anthropic => {
            anthropic.close(&mut out);
            anthropic_messages::encode_answer(fold(out).expect("a stream"), dialect, &mut losses)
        }
    }
}

/// What is wrong with a row, where it says something else than what comes out.
fn differences(row: &Row, way: &str, body: &Value, losses: &Losses, found: &mut Vec<String>) {
    let place = format!("{} ({}, {way})", row.feature, row.caller);
    for (pointer, wanted) in &row.gives {
        let given = body.pointer(pointer).unwrap_or(&Value::Null);
        if given != wanted {
            found.push(format!("{place}: {pointer} is {given}, not {wanted}"));
        }
    }
    let lost: BTreeSet<(&str, &str)> = losses.iter().map(|loss| (loss.path.as_str(), loss.kind.as_str())).collect();
    let said: BTreeSet<(&str, &str)> = row.lost.iter().map(|(path, kind)| (path.as_str(), kind.as_str())).collect();
    if lost != said {
        found.push(format!("{place}: lost {lost:?}, not {said:?}"));
    }
}

#[test]
fn every_row_is_true() {
    let mut found = Vec::new();
    for row in capabilities::all() {
        match row.direction {
            Direction::Request => {
                let exchange = read_exchange(endpoint(caller(row)), request(row).to_string().as_bytes()).expect("a request");
                let (native_schema, effort) = (row.target.native_schema, row.target.effort);
                let target = Target { model: "there".into(), output_limit: 64_000, native_schema, effort, ..Target::default() };
                let translated = translate_request(&exchange, endpoint(row.provider()), &target);
                let body: Value = serde_json::from_slice(&translated.body(None, false)).expect("JSON");
                differences(row, "request", &body, &translated.losses, &mut found);
            }
            Direction::Answer => {
                let translator = || Translator::new(endpoint(row.provider()), endpoint(caller(row)), 1, true, false);
                let mut one = translator();
                let body = one.whole(answer(row).to_string().as_bytes()).expect("an answer");
                differences(row, "answer", &serde_json::from_slice(&body).expect("JSON"), one.losses(), &mut found);
                let mut one = translator();
                let mut stream = one.frames(&streamed(row)).to_vec();
                stream.extend(one.close());
                differences(row, "stream", &gathered(caller(row), &stream), one.losses(), &mut found);
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn rows_are_about_something_and_stand_there_once() {
    let mut seen = BTreeSet::new();
    let kinds: Vec<&str> = LossKind::ALL.iter().map(|kind| kind.as_str()).collect();
    for row in capabilities::all() {
        assert!(seen.insert((&row.feature, row.direction, &row.caller)), "{} twice", row.feature);
        assert!(!row.gives.is_empty() || !row.lost.is_empty(), "{} says nothing", row.feature);
        assert!(row.lost.values().all(|kind| kinds.contains(&kind.as_str())), "{}", row.feature);
    }
    let cells = capabilities::list()["data"].as_array().map(Vec::len);
    let answers = capabilities::all().iter().filter(|row| row.direction == Direction::Answer).count();
    assert_eq!(cells, Some(capabilities::all().len() + answers));
}

/// `UPDATE_PAGES=1` writes it.
#[test]
fn the_page_says_what_the_rows_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/docs/capabilities.md");
    if std::env::var_os("UPDATE_PAGES").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&path, capabilities::page()).expect("the page can be written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == capabilities::page(), "the page is not what the rows say; UPDATE_PAGES=1 writes it");
}
