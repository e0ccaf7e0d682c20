//! Bodies and streams of callers and providers, changed by a hostile hand: a value or an error, never a panic; what is kept of them is
//! small; what is sent on is what came.

use bytes::Bytes;
use dialects::{
    Dialect, Edits, Endpoint, ErrorKind, ErrorView, Invalid, Piece, Stream, Vocabulary, edit, error_body, error_event,
    input_bound_by_bytes, input_tokens, output_limit_name, read_answer, read_request,
};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

const REQUESTS: [(Endpoint, &str); 6] = [
    (
        Endpoint::ChatCompletions,
        r#"{"model":"gpt-4o","messages":[{"role":"system","content":"be \"brief\"\n\u00e9"},{"role":"user","content":[{"type":"text","text":"hi 😀"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"file","file":{"file_id":"f"}}]}],"stream":true,"stream_options":{"include_usage":false},"max_completion_tokens":null,"n":2,"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"user":"u","service_tier":"flex"}"#,
    ),
    (Endpoint::Completions, r#"{"model":"m","prompt":["a","b"],"best_of":3,"n":2,"max_tokens":10,"stream":true}"#),
    (
        Endpoint::Responses,
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_image","image_url":"https://a/b"}]}],"tools":[{"type":"web_search"}],"previous_response_id":null,"background":false,"max_output_tokens":5}"#,
    ),
    (Endpoint::Embeddings, r#"{"model":"m","input":["a",[1,2,3]],"dimensions":4}"#),
    (
        Endpoint::Messages,
        r#"{"model":"claude","max_tokens":9,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]}],"metadata":{"user_id":"u"},"stream":true}"#,
    ),
    (Endpoint::CountTokens, r#"{"model":"claude","messages":[{"role":"user","content":"hi"}]}"#),
];

const ANSWERS: [(Endpoint, &str); 5] = [
    (
        Endpoint::ChatCompletions,
        r#"{"id":"c1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello","tool_calls":[{"function":{"arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":2.0,"prompt_tokens_details":{"cached_tokens":3}},"service_tier":"flex"}"#,
    ),
    (Endpoint::Completions, r#"{"id":"c1","choices":[{"text":"hello","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1}}"#),
    (
        Endpoint::Responses,
        r#"{"id":"r1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message","content":[{"type":"output_text","text":"x"}]}],"usage":{"input_tokens":4,"output_tokens":5}}"#,
    ),
    (Endpoint::Embeddings, r#"{"data":[{"embedding":[0.1,-2e-3],"index":0}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#),
    (
        Endpoint::Messages,
        r#"{"id":"m1","type":"message","model":"claude","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"cache_creation_input_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":1},"output_tokens":3,"server_tool_use":{"web_search_requests":1}}}"#,
    ),
];

/// Errors of providers, as bodies and inside of answers that say success.
const ERRORS: [&str; 4] = [
    r#"{"error":{"message":"no such model \u00e9","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
    r#"{"error":{"code":429,"message":"slow down","metadata":{"raw":"{}"}},"id":"x"}"#,
    r#"{"id":"r1","status":"failed","error":{"code":"server_error","message":"broke"},"output":[],"usage":null}"#,
];

const STREAMS: [(Endpoint, &str); 4] = [
    (
        Endpoint::ChatCompletions,
        "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"he\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    ),
    (Endpoint::Completions, "data: {\"choices\":[{\"index\":65535,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\r\rdata: [DONE]\r\r"),
    (
        Endpoint::Responses,
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}}\n\n",
    ),
    (
        Endpoint::Messages,
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":4,\"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n: bye\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"full\"}}\n\n",
    ),
];

/// One change to some bytes.
#[derive(Clone, Debug)]
enum Harm {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    /// A part once more, behind itself: keys twice, brackets without their partner, ends before the end.
    Repeat(Index, usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let mark = || prop::sample::select(b"{}[]\",:\\\n\r0-9eE. \x00\xff\xed\xa0\xf0".to_vec());
    let scrap = prop::sample::select(vec![
        "null",
        "1e999",
        "-0",
        "18446744073709551616",
        "\"\\ud800\"",
        "{}",
        "[]",
        "\"\"",
        "\\u0000",
        ",\"model\":\"x\"",
        "\n\n",
        "data: ",
        "[DONE]",
        "\u{feff}",
    ]);
    prop_oneof![
        3 => (any::<Index>(), mark()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        3 => (any::<Index>(), scrap).prop_map(|(at, text)| Harm::Insert(at, text.as_bytes().to_vec())),
        2 => (any::<Index>(), 1..20usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => (any::<Index>(), 1..60usize).prop_map(|(at, count)| Harm::Repeat(at, count)),
    ]
}

fn harmed(text: &str, harms: &[Harm]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for harm in harms {
        let (Harm::Set(at, _) | Harm::Insert(at, _) | Harm::Remove(at, _) | Harm::Cut(at) | Harm::Repeat(at, _)) = harm;
        let at = at.index(bytes.len() + 1);
        let until = |count: &usize| (at + count).min(bytes.len());
        match harm {
            Harm::Set(_, byte) => bytes.iter_mut().skip(at).take(1).for_each(|old| *old = *byte),
            Harm::Insert(_, new) => drop(bytes.splice(at..at, new.iter().copied())),
            Harm::Remove(_, count) => drop(bytes.drain(at..until(count))),
            Harm::Cut(_) => bytes.truncate(at),
            Harm::Repeat(_, count) => {
                let part = bytes[at..until(count)].to_vec();
                drop(bytes.splice(at..at, part));
            }
        }
    }
    bytes
}

fn has_output(endpoint: Endpoint) -> bool {
    !matches!(endpoint, Endpoint::Embeddings | Endpoint::CountTokens)
}

fn is_short(text: Option<&str>, bytes_max: usize) -> bool {
    text.is_none_or(|text| text.len() <= bytes_max)
}

/// An error names what is wrong and does not repeat the body.
fn is_telling(invalid: &Invalid) -> bool {
    !invalid.message.is_empty() && invalid.message.len() < 1_024 && is_short(invalid.param.as_deref(), 1_024)
}

/// Reads a request by every endpoint; what is taken can be bounded, edited, and read again.
fn try_request(bytes: &[u8]) {
    for endpoint in Endpoint::ALL {
        let request = match read_request(endpoint, bytes) {
            Ok(request) => request,
            Err(invalid) => {
                assert!(is_telling(&invalid), "{invalid:?}");
                continue;
            }
        };
        assert!(
            is_short(Some(&request.model), 256) && is_short(request.user.as_deref(), 128) && is_short(request.service_tier.as_deref(), 64)
        );
        assert!(request.media.bytes <= bytes.len() && request.choices >= 1);
        assert!(input_bound_by_bytes(&request, bytes.len()) <= bytes.len() as u64 + 4_096);
        assert!(input_tokens(Vocabulary::O200k, &request, bytes).is_some() || request.unbounded_input);
        let body = Bytes::copy_from_slice(bytes);
        let limit = Some((output_limit_name(endpoint, "other"), 7)).filter(|_| has_output(endpoint));
        let edits = Edits { model: Some("other"), output_limit: limit, include_usage: true };
        let edited = edit(&request, &body, &edits).concat();
        let again = read_request(endpoint, &edited).expect("an edited body reads");
        assert_eq!((again.model.as_str(), again.stream, again.media), ("other", request.stream, request.media));
    }
}

fn try_answer(bytes: &[u8]) {
    for endpoint in Endpoint::ALL {
        match read_answer(endpoint, bytes) {
            Ok(answer) => {
                assert!(is_short(answer.id.as_deref(), 128) && is_short(answer.model.as_deref(), 256));
                assert!(is_short(answer.finish.as_deref(), 64) && is_short(answer.service_tier.as_deref(), 64));
                assert!(answer.output_bytes <= bytes.len() as u64);
                let fault = answer.fault.as_ref();
                assert!(fault.is_none_or(|fault| fault.message.len() <= 1_024 && (400..600).contains(&fault.status)));
            }
            Err(invalid) => assert!(is_telling(&invalid), "{invalid:?}"),
        }
    }
}

/// Whatever comes: what goes out came in, in order, and the end is the end.
fn try_stream(bytes: &[u8], size: usize, choices: u64) {
    for endpoint in Endpoint::ALL {
        let (mut stream, mut out) = (Stream::new(endpoint, choices, false), Vec::new());
        for chunk in bytes.chunks(size.max(1)) {
            stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("frames are short");
        }
        stream.close(&mut out);
        let first_end = out.iter().position(|piece| matches!(piece, Piece::End(_))).unwrap_or(out.len());
        assert!(out[first_end..].iter().all(|piece| matches!(piece, Piece::End(_))));
        let sent: Vec<u8> = out.iter().flat_map(|(Piece::Pass(bytes) | Piece::End(bytes))| bytes.to_vec()).collect();
        let whole = sent.strip_suffix(b"\n\n").filter(|_| sent.len() > bytes.len()).unwrap_or(&sent);
        assert!(bytes.starts_with(whole), "{endpoint}");
        assert!(is_short(stream.id(), 128) && is_short(stream.model(), 256) && is_short(stream.finish(), 64));
        assert!(stream.output_bytes() <= bytes.len() as u64 && stream.failed().is_none_or(|fault| fault.message.len() <= 1_024));
        let (usage, beside, partial) = (stream.usage().unwrap_or_default(), stream.beside(), stream.partial());
        let _ = (usage.tokens(), beside.tokens(), partial.tokens());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn requests(sample in prop::sample::select(REQUESTS.to_vec()), harms in vec(harm(), 1..5)) {
        try_request(&harmed(sample.1, &harms));
    }

    #[test]
    fn answers(sample in prop::sample::select(ANSWERS.to_vec()), harms in vec(harm(), 1..5)) {
        try_answer(&harmed(sample.1, &harms));
    }

    #[test]
    fn errors_of_providers(body in prop::sample::select(ERRORS.to_vec()), harms in vec(harm(), 1..5)) {
        let bytes = harmed(body, &harms);
        try_answer(&bytes);
        try_stream(&[b"event: error\ndata: ", bytes.as_slice(), b"\n\n"].concat(), 7, 1);
    }

    #[test]
    fn streams(sample in prop::sample::select(STREAMS.to_vec()), harms in vec(harm(), 1..5), size in 1..80usize, choices: u64) {
        try_stream(&harmed(sample.1, &harms), size, choices);
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..300), size in 1..80usize) {
        try_request(&bytes);
        try_answer(&bytes);
        try_stream(&bytes, size, 1);
    }

    /// An error may carry a provider's words: it stays one event, and one body of JSON.
    #[test]
    fn errors(words in vec("[\\x00-\\x7f\u{80}-\u{ffff}]{0,40}", 4), status: u16, sequence: u64) {
        let [code, message, param, id] = [0, 1, 2, 3].map(|at| words[at].as_str());
        let facts = json!({ "limit": message });
        let kind = ErrorKind::of_status(status);
        let view = ErrorView { status, kind, code, message, param: Some(param), request_id: id, tollgate: Some(&facts) };
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let body: Value = serde_json::from_slice(&error_body(dialect, &view)).expect("a body is JSON");
            prop_assert_eq!(body["error"]["message"].as_str(), Some(message));
        }
        for endpoint in Endpoint::ALL.into_iter().filter(|endpoint| has_output(*endpoint)) {
            let event = error_event(endpoint, &view, sequence);
            let text = std::str::from_utf8(&event).expect("text");
            prop_assert_eq!(text.find("\n\n"), Some(text.len() - 2), "one event: {:?}", text);
            prop_assert!(!text.contains('\r'));
            let (mut stream, mut out) = (Stream::new(endpoint, 1, false), Vec::new());
            stream.push(event, &mut out).expect("short");
            prop_assert!(stream.failed().is_some() && matches!(out[..], [Piece::End(_)]), "{}", endpoint);
        }
    }
}

#[test]
fn the_samples_are_valid() {
    for (endpoint, body) in REQUESTS {
        assert!(read_request(endpoint, body.as_bytes()).is_ok(), "{endpoint}: {:?}", read_request(endpoint, body.as_bytes()));
    }
    for (endpoint, body) in ANSWERS {
        assert!(read_answer(endpoint, body.as_bytes()).expect("it reads").usage.is_some(), "{endpoint}");
    }
    for body in ERRORS {
        let found = Endpoint::ALL.into_iter().filter_map(|endpoint| read_answer(endpoint, body.as_bytes()).ok()?.fault);
        assert!(found.into_iter().any(|fault| !fault.message.is_empty()), "{body}");
    }
    for (endpoint, text) in STREAMS {
        let mut stream = Stream::new(endpoint, 1, false);
        stream.push(Bytes::from_static(text.as_bytes()), &mut Vec::new()).expect("short");
        assert!(endpoint == Endpoint::Completions || stream.usage().is_some(), "{endpoint}");
    }
}

/// Content in content: a reader that looks twice at each level would not come back from the depth that is allowed.
#[test]
fn content_as_deep_as_it_may_be_is_read_in_time() {
    let keys = ["content", "input", "messages", "tools", "system", "source", "output", "prompt", "file", "image_url", "function", "error"];
    for key in keys {
        for (open, close) in
            [(format!("{{\"type\":\"tool_result\",\"{key}\":[{{\"type\":\"image\"}},"), "]}"), (format!("{{\"{key}\":"), "}")]
        {
            let depth = if close.len() == 2 { 60 } else { 120 };
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for top in ["messages", "input", "tools", "system", "choices", "content", "output", "error", "usage", "prompt", "response"] {
                let body = format!("{{\"model\":\"m\",\"max_tokens\":5,\"{top}\":[{deep}]}}");
                try_request(body.as_bytes());
                try_answer(body.as_bytes());
                try_stream(format!("data: {body}\n\n").as_bytes(), 1_000, 1);
            }
        }
    }
    let bottomless = "[".repeat(1 << 20);
    try_request(format!("{{\"model\":\"m\",\"messages\":{bottomless}").as_bytes());
    try_answer(bottomless.as_bytes());
    try_stream(format!("data: {bottomless}\n\n").as_bytes(), 1 << 16, 1);
}

/// No frame is collected without end, however it comes, and many small events cost no more than their bytes.
#[test]
fn a_stream_keeps_no_more_than_a_frame() {
    for piece in [&b"x"[..], b"data: x\n", b": c\n", b"x\r"] {
        for endpoint in Endpoint::ALL {
            let (mut stream, mut out) = (Stream::new(endpoint, 1, false), Vec::new());
            let chunk = Bytes::from(piece.repeat((1 << 20) / piece.len()));
            let pushed = (0..64).take_while(|_| stream.push(chunk.clone(), &mut out).is_ok()).count();
            assert!(pushed <= 16 && out.is_empty(), "{endpoint} took {pushed} MiB of one frame");
        }
    }
    let (mut stream, mut out) = (Stream::new(Endpoint::ChatCompletions, u64::MAX, false), Vec::new());
    let events: String =
        (0..20_000u64).map(|at| format!("data: {{\"choices\":[{{\"index\":{},\"finish_reason\":\"s\"}}]}}\n\n", at << 40)).collect();
    stream.push(Bytes::from(events), &mut out).expect("short frames");
    assert!(!stream.complete() && out.len() == 1, "neighbours are one slice");
}
