//! The translation lane against recorded traffic: what a dialect says comes back whole, and what another says of it is equal or a loss.

#[path = "support/numbers.rs"]
mod numbers;
#[path = "support/rows.rs"]
mod rows;

use dialects::{
    Dialect, Endpoint, Translator,
    exchange::{
        Block, Event, Exchange, Form, Node, Role, Source, Target, anthropic_messages,
        fold::{Answer, fold},
        loss::Losses,
        openai_chat,
    },
};
use numbers::plain;
use rows::{ROWS, endpoint};
use serde_json::Value;

/// Rows of the two dialects.
fn each() -> impl Iterator<Item = (Endpoint, &'static Value)> {
    let ours = |endpoint: &Endpoint| matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Messages);
    ROWS.iter().filter_map(move |row| Some((endpoint(row).filter(ours)?, row)))
}

fn handmade(row: &Value) -> bool {
    row["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "handmade"))
}

fn request(row: &'static Value) -> Option<&'static Value> {
    row["request"].get("body").filter(|body| body["messages"].is_array())
}

fn text(row: &'static Value) -> Option<&'static str> {
    (row["response"]["status"] == 200).then(|| row["response"]["body_text"].as_str())?
}

fn decode_request(dialect: Dialect, body: Value) -> Exchange {
    let decoded = match dialect {
        Dialect::OpenAi => openai_chat::decode_request(body),
        Dialect::Anthropic => anthropic_messages::decode_request(body),
    };
    decoded.expect("a request")
}

fn encode_request(dialect: Dialect, exchange: &Exchange, losses: &mut Losses) -> Value {
    let target = Target { model: exchange.model.clone(), output_limit: 4_096, native_schema: true, ..Target::default() };
    match dialect {
        Dialect::OpenAi => openai_chat::encode_request(exchange, &target, losses).body,
        Dialect::Anthropic => anthropic_messages::encode_request(exchange, &target, losses).body,
    }
}

fn decode_answer(dialect: Dialect, body: Value) -> Vec<Event> {
    match dialect {
        Dialect::OpenAi => openai_chat::decode_answer(body),
        Dialect::Anthropic => anthropic_messages::decode_answer(body),
    }
}

fn encode_answer(dialect: Dialect, answer: Answer, from: Dialect, losses: &mut Losses) -> Value {
    match dialect {
        Dialect::OpenAi => openai_chat::encode_answer(answer, from, 1, losses),
        Dialect::Anthropic => anthropic_messages::encode_answer(answer, from, losses),
    }
}

fn frames(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n");
    let of = |frame: &str, name: &str| {
        let lines: Vec<&str> = frame.lines().filter_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start())).collect();
        lines.join("\n").into_bytes()
    };
    text.split("\n\n").map(|frame| (of(frame, "event"), of(frame, "data"))).filter(|(_, data)| !data.is_empty()).collect()
}

fn decode_stream(dialect: Dialect, text: &[u8]) -> Vec<Event> {
    let mut out = Vec::new();
    match dialect {
        Dialect::OpenAi => {
            let mut decoder = openai_chat::Decoder::default();
            frames(text).iter().for_each(|(name, data)| decoder.frame(name, data, &mut out));
            decoder.close(&mut out);
        }
        Dialect::Anthropic => {
            let mut decoder = anthropic_messages::Decoder::default();
            frames(text).iter().for_each(|(name, data)| decoder.frame(name, data, &mut out));
            decoder.close(&mut out);
        }
    }
    out
}

fn encode_stream(dialect: Dialect, events: &[Event], from: Dialect, losses: &mut Losses) -> Vec<u8> {
    let mut out = Vec::new();
    match dialect {
        Dialect::OpenAi => {
            let mut encoder = openai_chat::Encoder::new(from, 1, true);
            events.iter().for_each(|event| encoder.event(event.clone(), losses, &mut out));
        }
        Dialect::Anthropic => {
            let mut encoder = anthropic_messages::Encoder::new(from);
            events.iter().for_each(|event| encoder.event(event.clone(), losses, &mut out));
        }
    }
    out
}

fn other(dialect: Dialect) -> Dialect {
    if dialect == Dialect::OpenAi { Dialect::Anthropic } else { Dialect::OpenAi }
}

/// Gathers what differs, so that one run shows all.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn equal(&mut self, row: &Value, what: &str, found: &Value, wanted: &Value) {
        if plain(found) != plain(wanted) {
            let mut paths = Vec::new();
            differ("", &plain(found), &plain(wanted), &mut paths);
            paths.truncate(4);
            self.0.push(format!("{} {what}: {}", row["id"], paths.join("; ")));
        }
    }

    fn none(self, checked: usize, least: usize) {
        assert!(self.0.is_empty(), "{} of {checked} differ:\n{}", self.0.len(), self.0.join("\n"));
        assert!(ROWS.is_empty() || checked >= least, "only {checked}");
    }
}

fn differ(path: &str, found: &Value, wanted: &Value, out: &mut Vec<String>) {
    match (found, wanted) {
        (Value::Object(one), Value::Object(two)) => {
            for name in one.keys().chain(two.keys().filter(|name| !one.contains_key(*name))) {
                let missing = Value::String("(missing)".into());
                differ(&format!("{path}.{name}"), one.get(name).unwrap_or(&missing), two.get(name).unwrap_or(&missing), out);
            }
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            (0..).zip(one.iter().zip(two)).for_each(|(at, (one, two)): (usize, _)| differ(&format!("{path}[{at}]"), one, two, out));
        }
        _ if found != wanted => {
            let short = |value: &Value| value.to_string().chars().take(90).collect::<String>();
            out.push(format!("{path} is {} not {}", short(found), short(wanted)));
        }
        _ => {}
    }
}

#[test]
fn every_recorded_request_comes_back_whole() {
    let (mut differences, mut checked) = (Differences::default(), 0);
    for (endpoint, row) in each() {
        let Some(body) = request(row) else { continue };
        let mut losses = Losses::default();
        let again = encode_request(endpoint.dialect(), &decode_request(endpoint.dialect(), body.clone()), &mut losses);
        differences.equal(row, "request", &again, body);
        assert!(losses.is_empty(), "{}: {losses:?}", row["id"]);
        checked += 1;
    }
    differences.none(checked, 400);
}

#[test]
fn every_recorded_answer_comes_back_whole() {
    let (mut differences, mut checked) = (Differences::default(), 0);
    for (endpoint, row) in each().filter(|(_, row)| row["stream"] != true && !handmade(row)) {
        let Some(body) = text(row).and_then(|text| serde_json::from_str::<Value>(text).ok()) else { continue };
        let answer = fold(decode_answer(endpoint.dialect(), body.clone())).expect("well formed");
        let mut losses = Losses::default();
        differences.equal(row, "answer", &encode_answer(endpoint.dialect(), answer, endpoint.dialect(), &mut losses), &body);
        checked += 1;
    }
    differences.none(checked, 300);
}

#[test]
fn every_recorded_stream_folds_to_the_same_answer_again() {
    let mut checked = 0;
    for (endpoint, row) in each().filter(|(_, row)| row["stream"] == true && !handmade(row)) {
        let Some(text) = text(row) else { continue };
        let dialect = endpoint.dialect();
        let events = decode_stream(dialect, text.as_bytes());
        let answer = fold(events.clone()).unwrap_or_else(|misplaced| panic!("{}: {}", row["id"], misplaced.0));
        let again = decode_stream(dialect, &encode_stream(dialect, &events, dialect, &mut Losses::default()));
        let again = fold(again).unwrap_or_else(|misplaced| panic!("{} again: {}", row["id"], misplaced.0));
        assert_eq!(format!("{:#?}", meaning(&again)), format!("{:#?}", meaning(&answer)), "{}", row["id"]);
        assert_eq!(again.ended, answer.ended);
        checked += 1;
    }
    assert!(ROWS.is_empty() || checked >= 60, "only {checked}");
}

/// What an answer means to a caller of any dialect: thinking, text, uses of tools, reasons, tokens. Arguments as values.
#[derive(Debug, PartialEq)]
struct Meaning {
    thinking: String,
    text: String,
    refusal: String,
    tools: Vec<(String, String, Value)>,
    reason: Option<dialects::exchange::Reason>,
    tokens: Option<(u64, u64, u64)>,
}

fn meaning(answer: &Answer) -> Vec<Meaning> {
    answer.choices.values().map(|choice| choice_meaning(&choice.blocks, choice.stop.as_ref().map(|stop| stop.reason), answer)).collect()
}

fn choice_meaning(blocks: &[Node], reason: Option<dialects::exchange::Reason>, answer: &Answer) -> Meaning {
    let tokens = answer.usage.as_ref().map(|(usage, _)| (usage.tokens_in(), usage.cache_read, usage.tokens_out()));
    let mut meaning = Meaning { thinking: String::new(), text: String::new(), refusal: String::new(), tools: Vec::new(), reason, tokens };
    for node in blocks {
        match &node.block {
            Block::Text(text) => meaning.text += text,
            Block::Thinking { text, .. } => meaning.thinking += text,
            Block::Refusal(text) => meaning.refusal += text,
            Block::ToolUse { id, name, arguments } => {
                let value =
                    if arguments.is_empty() { serde_json::json!({}) } else { serde_json::from_str(arguments).unwrap_or(Value::Null) };
                meaning.tools.push((dialects::exchange::tool_id(id), name.clone(), value));
            }
            _ => {}
        }
    }
    meaning
}

/// Across and back: equal, or a listed loss.
#[test]
fn every_recorded_answer_says_the_same_in_the_other_dialect() {
    let mut checked = 0;
    for (endpoint, row) in each().filter(|(_, row)| !handmade(row)) {
        let Some(text) = text(row) else { continue };
        let (from, to) = (endpoint.dialect(), other(endpoint.dialect()));
        let mut losses = Losses::default();
        let (events, across) = if row["stream"] == true {
            let events = decode_stream(from, text.as_bytes());
            let across = decode_stream(to, &encode_stream(to, &events, from, &mut losses));
            (events, across)
        } else {
            let Ok(body) = serde_json::from_str::<Value>(text) else { continue };
            let events = decode_answer(from, body);
            let answer = fold(events.clone()).expect("well formed");
            (events, decode_answer(to, encode_answer(to, answer, from, &mut losses)))
        };
        let answer = fold(events).expect("well formed");
        let across = fold(across).unwrap_or_else(|misplaced| panic!("{}: {}", row["id"], misplaced.0));
        let (Some(wanted), Some(found)) = (meaning(&answer).into_iter().next(), meaning(&across).into_iter().next()) else {
            assert!(answer.choices.values().all(|choice| choice.blocks.is_empty()) || answer.fault.is_some(), "{}", row["id"]);
            continue;
        };
        let lost = |kind: &str| losses.iter().any(|loss| loss.kind.as_str() == kind);
        assert_eq!(found.tools, wanted.tools, "{}", row["id"]);
        assert!(found.text == wanted.text + &wanted.refusal || lost("content"), "{}: {:?} {losses:?}", row["id"], found.text);
        assert!(found.thinking == wanted.thinking || lost("thinking") || lost("content"), "{}: {:?}", row["id"], found.thinking);
        assert!(
            found.reason == wanted.reason || lost("unknown") || lost("metadata"),
            "{}: {:?} {:?}",
            row["id"],
            found.reason,
            wanted.reason
        );
        // Anthropic's answers always have counts: 0 where a provider gave none
        assert_eq!(found.tokens, wanted.tokens.or(found.tokens.filter(|tokens| *tokens == (0, 0, 0))), "{}", row["id"]);
        checked += 1;
    }
    assert!(ROWS.is_empty() || checked >= 400, "only {checked}");
}

/// The texts, uses and results of a conversation in order, whatever the form.
fn conversation(exchange: &Exchange) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    let mut last = None;
    for turn in &exchange.turns {
        let role = if turn.role == Role::Developer { Role::System } else { turn.role };
        // what is not text in a result follows behind the results
        let (results, others): (Vec<&Node>, Vec<&Node>) =
            turn.blocks.iter().partition(|node| matches!(node.block, Block::ToolResult { .. }));
        let inside = results.iter().flat_map(|node| match &node.block {
            Block::ToolResult { blocks, .. } => blocks.iter().filter(|node| !matches!(node.block, Block::Text(_))).collect(),
            _ => Vec::new(),
        });
        let inside: Vec<&Node> = inside.collect();
        for node in results.into_iter().chain(inside).chain(others) {
            match &node.block {
                Block::Text(text) if text.is_empty() => {}
                // OpenAI has no documents of text: they are text there
                Block::Document { source: Source::Text(text), title } => {
                    let text = title.as_ref().map_or_else(|| text.clone(), |title| format!("{title}\n\n{text}"));
                    match said.last_mut().filter(|_| last == Some(role)) {
                        Some(before) => before.push_str(&format!("\n{text}")),
                        None => said.push(format!("{role:?}: {text}")),
                    }
                }
                Block::Text(text) | Block::Refusal(text) => match said.last_mut().filter(|_| last == Some(role)) {
                    Some(before) => before.push_str(&format!("\n{text}")),
                    None => said.push(format!("{role:?}: {text}")),
                },
                Block::ToolUse { id, name, arguments } => {
                    let value: Value = serde_json::from_str(arguments).unwrap_or_else(|_| serde_json::json!({}));
                    said.push(format!("{role:?} uses {} {name} {value}", dialects::exchange::tool_id(id)));
                }
                Block::ToolResult { id, blocks, .. } => {
                    let texts: Vec<&str> = blocks
                        .iter()
                        .filter_map(|node| if let Block::Text(text) = &node.block { Some(text.as_str()) } else { None })
                        .collect();
                    said.push(format!("result {} {}", dialects::exchange::tool_id(id), texts.join("\n")));
                }
                Block::Image { source, .. } => said.push(format!("image {source:?}")),
                Block::Document { source, .. } => said.push(format!("document {source:?}")),
                _ => continue,
            }
            last =
                matches!(node.block, Block::Text(_) | Block::Refusal(_) | Block::Document { source: Source::Text(_), .. }).then_some(role);
        }
    }
    said
}

#[test]
fn every_recorded_request_says_the_same_in_the_other_dialect_or_names_the_loss() {
    let mut checked = 0;
    for (endpoint, row) in each() {
        let Some(body) = request(row) else { continue };
        let (from, to) = (endpoint.dialect(), other(endpoint.dialect()));
        let exchange = decode_request(from, body.clone());
        let mut losses = Losses::default();
        let across = decode_request(to, encode_request(to, &exchange, &mut losses));
        let lost = |kind: &str| losses.iter().any(|loss| loss.kind.as_str() == kind);
        let (found, wanted) = (conversation(&across).join("\n"), conversation(&exchange).join("\n"));
        let media = lost("content") || lost("image") || lost("document") || lost("audio") || lost("role") || lost("arguments");
        assert!(found == wanted || media, "{}:\n{found}\n--- not\n{wanted}\n{losses:?}", row["id"]);
        assert!(across.tools.len() == exchange.tools.len() || lost("tools") || exchange.shape.is_some(), "{}: {losses:?}", row["id"]);
        assert!(across.turns.iter().all(|turn| !turn.blocks.is_empty() || turn.form != Form::List), "{}", row["id"]);
        checked += 1;
    }
    assert!(ROWS.is_empty() || checked >= 400, "only {checked}");
}

/// A stream that comes in other pieces is the same stream in the other dialect.
#[test]
fn recut_streams_are_translated_the_same() {
    let mut checked = 0;
    for (endpoint, row) in each().filter(|(_, row)| row["stream"] == true) {
        let Some(text) = text(row).filter(|text| text.len() < 40_000) else { continue };
        let caller = endpoint.at(other(endpoint.dialect())).expect("both are there");
        let run = |size: usize| {
            let mut stream = dialects::Stream::new(endpoint, 1, false);
            let mut translator = Translator::new(endpoint, caller, 1, true, false);
            let (mut pieces, mut out) = (Vec::new(), Vec::new());
            for chunk in text.as_bytes().chunks(size) {
                stream.push(bytes::Bytes::copy_from_slice(chunk), &mut pieces).expect("short frames");
                for piece in pieces.drain(..) {
                    let (dialects::Piece::Pass(bytes) | dialects::Piece::End(bytes)) = piece;
                    out.extend_from_slice(&translator.frames(&bytes));
                }
            }
            stream.close(&mut pieces);
            for piece in pieces.drain(..) {
                let (dialects::Piece::Pass(bytes) | dialects::Piece::End(bytes)) = piece;
                out.extend_from_slice(&translator.frames(&bytes));
            }
            out.extend_from_slice(&translator.close());
            out
        };
        let whole = run(text.len().max(1));
        for size in 1..=7 {
            assert_eq!(run(size), whole, "{} by {size}", row["id"]);
        }
        checked += 1;
    }
    assert!(ROWS.is_empty() || checked >= 50, "only {checked}");
}
