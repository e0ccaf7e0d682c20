//! Recorded traffic of real providers, where it lies beside the repository: every request is read, every usage is the provider's, every
//! stream passes byte for byte however it is cut.

#[path = "support/rows.rs"]
mod rows;

use bytes::Bytes;
use dialects::{Edits, Endpoint, Piece, Request, Stream, edit, input_bound_by_bytes, input_tokens, read_answer, read_request, vocabulary};
use events::usage::Usage;
use rows::{ROWS, endpoint};
use serde_json::{Value, json};

/// Rows of ours with what `pick` takes out of them.
fn each<'a, T>(pick: impl Fn(&'a Value) -> Option<T>) -> Vec<(Endpoint, &'a Value, T)> {
    ROWS.iter().filter_map(|row| Some((endpoint(row)?, row, pick(row)?))).collect()
}

fn request_body(row: &Value) -> Option<&Value> {
    row["request"].get("body").filter(|body| body.is_object())
}

fn answer_text(row: &Value) -> Option<&str> {
    (row["response"]["status"] == 200).then(|| row["response"]["body_text"].as_str())?
}

#[test]
fn every_recorded_request_is_read() {
    let mut read = 0;
    for (endpoint, row, body) in each(request_body) {
        let bytes = body.to_string();
        let result = read_request(endpoint, bytes.as_bytes());
        if body.get("model").is_none() {
            assert_eq!(result.expect_err("no model").param.as_deref(), Some("model"));
            continue;
        }
        // one recorded error is about these very fields
        if row["response"]["status"] == 400 && result.is_err() {
            continue;
        }
        let request = result.unwrap_or_else(|invalid| panic!("{}: {invalid}", row["id"]));
        let limit = ["max_completion_tokens", "max_output_tokens", "max_tokens"].iter().find_map(|name| body[name].as_u64());
        assert_eq!(request.model, body["model"].as_str().expect("a string"));
        assert_eq!(request.stream, body["stream"] == true, "{}", row["id"]);
        assert_eq!(request.output_limit, limit, "{}", row["id"]);
        assert_eq!(request.wants_usage, body["stream_options"]["include_usage"] == true, "{}", row["id"]);
        assert_eq!(request.tools, body["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{}", row["id"]);
        read += 1;
    }
    assert!(ROWS.is_empty() || read > 600, "only {read}");
}

#[test]
fn recorded_requests_keep_all_but_what_is_edited() {
    for (endpoint, row, body) in each(request_body) {
        let bytes = Bytes::from(body.to_string());
        let Ok(request) = read_request(endpoint, &bytes) else { continue };
        let edits = Edits { model: Some("a \"new\"/m\u{f6}del"), output_limit: Some(("max_tokens", 777)), include_usage: true };
        let edited: Value = serde_json::from_slice(&edit(&request, &bytes, &edits).concat()).expect("JSON");
        let mut wanted = body.clone();
        wanted["model"] = json!("a \"new\"/m\u{f6}del");
        if request.output_limit.is_none() {
            wanted["max_tokens"] = json!(777);
        }
        if request.stream && matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions) {
            wanted["stream_options"]["include_usage"] = json!(true);
        }
        assert_eq!(edited, wanted, "{}", row["id"]);
        assert_eq!(edit(&request, &bytes, &Edits::default()).concat(), bytes);
    }
}

/// What a ceiling must not fall below: the provider's own count of the input.
#[test]
fn no_recorded_input_is_above_its_bound() {
    let (mut by_bytes, mut by_tokens) = (0, 0);
    for (endpoint, row, body) in each(request_body) {
        let placeholder = row["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == "request_placeholder"));
        let bytes = body.to_string();
        let (Ok(request), Some(text)) = (read_request(endpoint, bytes.as_bytes()), answer_text(row)) else { continue };
        let Some(usage) = (if row["stream"] == true {
            streamed(endpoint, &request, text).usage()
        } else {
            read_answer(endpoint, text.as_bytes()).expect("JSON").usage
        }) else {
            continue;
        };
        if placeholder || request.unbounded_input || request.media != Default::default() {
            continue;
        }
        assert!(usage.tokens_in() <= input_bound_by_bytes(&request, bytes.len()), "{}: {usage:?} in {} bytes", row["id"], bytes.len());
        by_bytes += 1;
        let Some(vocabulary) = vocabulary(&request.model).filter(|_| row["provider"] == "openai") else { continue };
        let tokens = input_tokens(vocabulary, &request, bytes.as_bytes()).expect("bounded");
        assert!(usage.tokens_in() <= tokens, "{}: {usage:?}, {tokens} bounded", row["id"]);
        by_tokens += 1;
    }
    assert!(ROWS.is_empty() || (by_bytes > 400 && by_tokens > 50), "only {by_bytes} and {by_tokens}");
}

fn streamed(endpoint: Endpoint, request: &Request, text: &str) -> Stream {
    let mut stream = Stream::new(endpoint, request.choices, false);
    let mut out = Vec::new();
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("short frames");
    stream.close(&mut out);
    stream
}

/// The sums that a usage object states, however it names them: input, output, cached, reasoning.
fn stated(usage: &Value) -> Option<[u64; 4]> {
    let number = |pointers: &[&str]| pointers.iter().find_map(|pointer| usage.pointer(pointer)?.as_u64());
    let anthropic = number(&["/cache_creation_input_tokens"]).unwrap_or(0) + number(&["/cache_read_input_tokens"]).unwrap_or(0);
    let input = number(&["/prompt_tokens", "/input_tokens"])? + anthropic;
    let output = number(&["/completion_tokens", "/output_tokens"]).unwrap_or(0);
    let cached = number(&[
        "/prompt_tokens_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/cached_tokens",
        "/cache_read_input_tokens",
        "/prompt_cache_hit_tokens",
    ]);
    let reasoning = number(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/output_tokens_details/thinking_tokens",
    ]);
    let total = number(&["/total_tokens"]).unwrap_or(input + output);
    // xAI and Mistral count reasoning, or audio, beside their sums
    let audio = number(&["/prompt_tokens_details/audio_tokens"]).filter(|audio| *audio > 0 && total == input + output + audio).unwrap_or(0);
    let thought = reasoning.filter(|thought| *thought > 0 && total == input + output + thought).unwrap_or(0);
    // Azure's Grok reports more cached tokens than tokens
    Some([input + audio, output + thought, cached.unwrap_or(0).min(input), reasoning.unwrap_or(0)])
}

fn classes(usage: &Usage) -> [u64; 4] {
    [usage.tokens_in(), usage.tokens_out(), usage.cache_read, usage.reasoning]
}

#[test]
fn every_recorded_answer_gives_its_usage() {
    let mut with_usage = 0;
    for (endpoint, row, text) in each(|row| answer_text(row).filter(|_| row["stream"] == false)) {
        let answer = read_answer(endpoint, text.as_bytes()).unwrap_or_else(|invalid| panic!("{}: {invalid}", row["id"]));
        let value: Value = serde_json::from_str(text).expect("JSON");
        let wanted = if endpoint == Endpoint::CountTokens { stated(&value) } else { stated(&value["usage"]) };
        assert_eq!(answer.usage.as_ref().map(classes), wanted, "{}: {}", row["id"], value["usage"]);
        assert_eq!(answer.model.as_deref(), value["model"].as_str(), "{}", row["id"]);
        assert_eq!(answer.id.as_deref(), value["id"].as_str().filter(|id| !id.is_empty() && id.len() <= 128), "{}", row["id"]);
        with_usage += usize::from(answer.usage.is_some());
        let last = value["choices"].as_array().and_then(|choices| choices.last()).map(|choice| &choice["finish_reason"]);
        let reason = last.or(value.get("stop_reason")).and_then(Value::as_str).filter(|word| !word.is_empty());
        if endpoint != Endpoint::Responses {
            assert_eq!(answer.finish.as_deref(), reason, "{}", row["id"]);
        }
        // a model may end its turn without a word, which costs a few tokens, or by a picture only
        if answer.usage.is_some_and(|usage| usage.output > 20 && usage.images == 0) {
            assert!(answer.output_bytes > 0, "{} said nothing", row["id"]);
        }
    }
    assert!(ROWS.is_empty() || with_usage > 600, "only {with_usage}");
}

/// The frames of a recorded stream as JSON.
fn frames(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    lines.filter_map(|data| serde_json::from_str(data.trim()).ok()).collect()
}

/// The last usage that a stream states; Anthropic's later objects replace the fields that they name.
fn last_usage(endpoint: Endpoint, frames: &[Value]) -> Option<[u64; 4]> {
    let mut merged = json!({});
    for frame in frames {
        if frame["type"] == "message_start" {
            merged = json!({});
        }
        for usage in [&frame["usage"], &frame["response"]["usage"], &frame["message"]["usage"], &frame["x_groq"]["usage"]] {
            let Some(fields) = usage.as_object() else { continue };
            if endpoint != Endpoint::Messages {
                merged = json!({});
            }
            for (name, value) in fields {
                merged[name] = value.clone();
            }
        }
    }
    stated(&merged)
}

struct Result {
    pieces: Vec<u8>,
    passed: usize,
    stream: Stream,
}

fn run(endpoint: Endpoint, text: &str, size: usize, strip_usage: bool) -> Result {
    let mut stream = Stream::new(endpoint, 1, strip_usage);
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(size) {
        stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("short frames");
    }
    stream.close(&mut out);
    let (mut pieces, mut passed) = (Vec::new(), 0);
    for piece in out {
        match piece {
            Piece::Pass(bytes) => {
                assert_eq!(passed, pieces.len(), "nothing passes behind the end");
                passed += bytes.len();
                pieces.extend_from_slice(&bytes);
            }
            Piece::End(bytes) => pieces.extend_from_slice(&bytes),
        }
    }
    Result { pieces, passed, stream }
}

#[test]
fn every_recorded_stream_passes_byte_for_byte_at_any_cut() {
    let mut count = 0;
    for (endpoint, row, text) in each(|row| answer_text(row).filter(|_| row["stream"] == true)) {
        let whole = run(endpoint, text, usize::MAX, false);
        let values = frames(text);
        assert!(whole.stream.complete(), "{}", row["id"]);
        assert_eq!(whole.pieces, text.as_bytes(), "{}", row["id"]);
        assert!(whole.passed < text.len(), "{} has no end", row["id"]);
        assert!(whole.stream.started() || whole.stream.output_bytes() == 0, "{}", row["id"]);
        assert_eq!(whole.stream.usage().as_ref().map(classes), last_usage(endpoint, &values), "{}", row["id"]);
        for size in (1..=7).chain([64, 1_000, 4_096]) {
            let cut = run(endpoint, text, size, false);
            assert_eq!(cut.pieces, text.as_bytes(), "{} by {size}", row["id"]);
            assert_eq!((cut.passed, cut.stream.output_bytes()), (whole.passed, whole.stream.output_bytes()), "{} by {size}", row["id"]);
            assert_eq!(cut.stream.usage(), whole.stream.usage(), "{} by {size}", row["id"]);
            assert_eq!(
                (cut.stream.id(), cut.stream.model(), cut.stream.finish(), cut.stream.failed()),
                (whole.stream.id(), whole.stream.model(), whole.stream.finish(), whole.stream.failed())
            );
        }
        count += 1;
    }
    assert!(ROWS.is_empty() || count > 150, "only {count}");
}

#[test]
fn only_usage_frames_are_taken_out_of_recorded_streams() {
    let mut taken = 0;
    for (endpoint, row, text) in each(|row| answer_text(row).filter(|_| row["stream"] == true)) {
        let is_usage_only = |frame: &&Value| frame["usage"].is_object() && frame["choices"].as_array().is_some_and(Vec::is_empty);
        let wanted: Vec<Value> = frames(text).into_iter().filter(|frame| !is_usage_only(&frame)).collect();
        for size in [1, 5, usize::MAX] {
            let stripped = run(endpoint, text, size, true);
            let left = String::from_utf8(stripped.pieces).expect("UTF-8");
            assert_eq!(frames(&left), wanted, "{}", row["id"]);
            assert_eq!(left.contains("[DONE]"), text.contains("[DONE]"), "{}", row["id"]);
            assert_eq!(stripped.stream.usage(), run(endpoint, text, usize::MAX, false).stream.usage());
            taken += text.len() - left.len();
        }
    }
    assert!(ROWS.is_empty() || taken > 0);
}

/// A stream that is cut anywhere never looks complete before its end, and what came out is a prefix of whole frames.
#[test]
fn a_cut_stream_is_not_complete_before_its_end() {
    for (endpoint, row, text) in each(|row| answer_text(row).filter(|_| row["stream"] == true)) {
        let end = run(endpoint, text, usize::MAX, false).passed;
        for cut in [end / 3, end / 2, end.saturating_sub(1)] {
            let cut = (0..=cut).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let broken = run(endpoint, &text[..cut], 13, false);
            assert!(!broken.stream.complete(), "{} at {cut}", row["id"]);
            assert_eq!(broken.stream.usage(), None, "{} at {cut}", row["id"]);
            let blank_added = broken.pieces.strip_suffix(b"\n\n").unwrap_or(&broken.pieces);
            assert!(text.as_bytes().starts_with(blank_added) || text.as_bytes().starts_with(&broken.pieces), "{} at {cut}", row["id"]);
        }
    }
}
