//! The translation lane in hostile hands: what is changed as bytes, or as JSON, is translated or refused, never a panic; what comes out is
//! well formed, no larger than it may be, and ends only if the provider's answer has ended.

#[path = "support/numbers.rs"]
mod numbers;

use bytes::Bytes;
use dialects::{
    Dialect, Endpoint, Piece, Stream, Translator,
    exchange::{
        Event, SCHEMA_TOOL, Target, anthropic_messages,
        fold::{events, fold},
        loss::Losses,
        openai_chat,
    },
    read_exchange, translate_error, translate_request,
};
use numbers::plain;
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOTH: [Endpoint; 2] = [Endpoint::ChatCompletions, Endpoint::Messages];

const REQUESTS: [&str; 2] = [
    r##"{"model":"gpt-4o","messages":[{"role":"system","content":"be \"brief\"\n\u00e9"},{"role":"developer","content":[{"type":"text","text":"d","cache_control":{"type":"ephemeral"}}]},{"role":"user","name":"ann","content":[{"type":"text","text":"hi 😀"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},{"type":"image_url","image_url":{"url":"https://a/b"}},{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}},{"type":"file","file":{"file_data":"data:application/pdf;base64,AA","filename":"a.pdf"}},{"type":"file","file":{"file_id":"f"}}]},{"role":"assistant","content":null,"reasoning_content":"hm","refusal":"no","tool_calls":[{"id":"call.1","type":"function","function":{"name":"f","arguments":"{\"a\":[1,{\"b\":null}]}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"oops"}},{"id":"c3","type":"custom","custom":{"name":"c","input":"x"}}]},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"r"}]},{"role":"tool","tool_call_id":"call.1","content":"r1"},{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"}],"content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"n"},{"type":"thinking","thinking":[{"type":"text","text":"m"}]}]},{"role":"function","name":"f","content":"old"}],"stream":true,"stream_options":{"include_usage":false},"max_completion_tokens":50,"n":2,"stop":["a","b"],"temperature":1.5,"top_p":0.5,"seed":-1,"logprobs":true,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"properties":{"a":{"type":"array"}}},"strict":true}},{"type":"web_search"}],"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},"reasoning_effort":"high","user":"u","service_tier":"flex","metadata":{"a":"b"}}"##,
    r##"{"model":"claude","max_tokens":9000,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"hi","citations":null},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"image","source":{"type":"url","url":"https://a"}},{"type":"document","title":"t","context":"c","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"x"}},{"type":"document","source":{"type":"file","file_id":"f"}}]},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"a","citations":[{"type":"char_location","cited_text":"c"}]},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[1,{"b":null}]}},{"type":"tool_use","id":"toolu_2","name":"g","input":{}},{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":[{"type":"text","text":"x"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},{"type":"tool_result","tool_use_id":"toolu_2"},{"type":"text","text":"go on"}]},{"role":"assistant","content":"so"}],"tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}},{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true},"thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"effort":"max","format":{"type":"json_schema","schema":{"type":"object"}}},"stop_sequences":["a","b","c","d","e"],"temperature":0.5,"top_k":3,"metadata":{"user_id":"u"},"service_tier":"standard_only","container":"c","mcp_servers":[{"name":"m"}],"stream":true}"##,
];

const ANSWERS: [(Endpoint, &str); 5] = [
    (
        Endpoint::ChatCompletions,
        r#"{"id":"c1","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello","reasoning_content":"hm","refusal":null,"annotations":[{"type":"url_citation"}],"tool_calls":[{"id":"call.1","type":"function","function":{"name":"f","arguments":"{\"a\":{\"b\":[1,2]}}"}},{"id":"c2","type":"function","function":{"name":"g","arguments":"{"}},{"id":"c3","type":"custom","custom":{"name":"h","input":"i"}}]},"logprobs":{"content":[{"token":"a"}]},"finish_reason":"tool_calls"},{"index":1,"message":{"role":"assistant","content":null,"refusal":"no"},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":8,"completion_tokens":2.0,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":1}},"service_tier":"flex","system_fingerprint":"fp"}"#,
    ),
    (
        Endpoint::ChatCompletions,
        r#"{"id":"c1","model":"m","choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"x"},{"type":"reference","reference_ids":[1]}],"thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"}],"tool_calls":[{"function":{"name":"answer_as_json","arguments":{"a":1}}}]},"finish_reason":"length"}],"usage":null}"#,
    ),
    (
        Endpoint::Messages,
        r#"{"id":"m1","type":"message","role":"assistant","model":"claude","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"},{"type":"text","text":"x","citations":[{"type":"char_location","cited_text":"c"}]},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[{}]}},{"type":"text","text":"y"},{"type":"tool_use","id":"toolu_2","name":"answer_as_json","input":{}},{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"q"}}],"stop_reason":"stop_sequence","stop_sequence":"z","container":{"id":"c"},"usage":{"input_tokens":1,"cache_creation_input_tokens":2,"cache_creation":{"ephemeral_1h_input_tokens":1},"output_tokens":3,"service_tier":"batch","server_tool_use":{"web_search_requests":1}}}"#,
    ),
    (Endpoint::Messages, r#"{"type":"error","error":{"type":"overloaded_error","message":"full"},"request_id":"r"}"#),
    (Endpoint::ChatCompletions, r#"{"id":"x","choices":[],"error":{"message":"m","type":"server_error","code":503}}"#),
];

/// Streams as a list of events: `[name, data]`, or the data alone.
const STREAMS: [(Endpoint, &str); 7] = [
    (
        Endpoint::ChatCompletions,
        r#"[{"id":"c1","model":"m","created":7,"service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null,"obfuscation":"x"},{"id":"c1","choices":[{"index":0,"delta":{"reasoning_content":"h"}}]},{"choices":[{"index":0,"delta":{"reasoning_content":"m"}}]},{"choices":[{"index":0,"delta":{"content":"he"}}]},{"choices":[{"index":0,"delta":{"content":"llo"},"logprobs":{"content":[{"token":"a"}]}}]},{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call.1","type":"function","function":{"name":"f","arguments":""}}]}}]},{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"c2","function":{"name":"g","arguments":"{\"b\""}}]}}]},{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}},{"index":1,"function":{"arguments":":2}"}}]}}]},{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}}]},{"choices":[{"index":0,"delta":{"content":"so"}}]},{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]},{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}},"[DONE]"]"#,
    ),
    (
        Endpoint::ChatCompletions,
        r#"[{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"refusal":"no"}}]},{"choices":[{"index":1,"delta":{"refusal":"!"},"finish_reason":"content_filter"}],"usage":{"prompt_tokens":1,"completion_tokens":1}},{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}]"#,
    ),
    (
        Endpoint::ChatCompletions,
        r#"[{"id":"c1","choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"t"}]},{"type":"text","text":"x"},{"type":"reference"}],"thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"redacted_thinking","data":"d"}]}}]},{"choices":[{"delta":{"tool_calls":[{"function":{"name":"answer_as_json","arguments":{"a":1}}},{"id":"k","function":{"name":"h","arguments":"{}"}}]},"finish_reason":"tool_calls"}]},{"error":{"message":"late","code":429}},"[DONE]"]"#,
    ),
    (
        Endpoint::Messages,
        r#"[["message_start",{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":4,"cache_read_input_tokens":2,"output_tokens":1,"service_tier":"standard"}}}],["ping",{"type":"ping"}],["content_block_start",{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}],["content_block_delta",{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}],["content_block_delta",{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}],["content_block_stop",{"type":"content_block_stop","index":0}],["content_block_start",{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}],["content_block_delta",{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi 😀"}}],["content_block_delta",{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"c"}}}],["content_block_stop",{"type":"content_block_stop","index":1}],["content_block_start",{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}],["content_block_delta",{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}],["content_block_delta",{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"[1]}"}}],["content_block_stop",{"type":"content_block_stop","index":2}],["content_block_start",{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"answer_as_json","input":{"x":1}}}],["content_block_stop",{"type":"content_block_stop","index":3}],["message_delta",{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}],["message_stop",{"type":"message_stop"}]]"#,
    ),
    (
        Endpoint::Messages,
        r#"[["message_start",{"type":"message_start","message":{"id":"m","content":[{"type":"text","text":"at once"}],"usage":{"input_tokens":4,"output_tokens":1}}}],["content_block_start",{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"d"}}],["content_block_start",{"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}],["content_block_delta",{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}],["content_block_delta",{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"odd"}}],["content_block_stop",{"type":"content_block_stop","index":0}],["content_block_stop",{"type":"content_block_stop","index":1}],["content_block_delta",{"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"late"}}],["message_delta",{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"z","container":{"id":"c"}},"usage":{"input_tokens":5,"output_tokens":9,"server_tool_use":{"web_search_requests":1}}}]]"#,
    ),
    (
        Endpoint::Messages,
        r#"[["message_start",{"type":"message_start","message":{"id":"m","usage":{"input_tokens":4}}}],["content_block_delta",{"index":0,"delta":{"type":"text_delta","text":"x"}}],["error",{"type":"error","error":{"type":"overloaded_error","message":"full"}}],["message_stop",{"type":"message_stop"}]]"#,
    ),
    (Endpoint::ChatCompletions, r#"[{"choices":[{"delta":{"content":"x"}}]},{"error":"broke"}]"#),
];

const ERRORS: [&str; 4] = [
    r#"{"error":{"message":"no such model \u00e9","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#,
    r#"{"error":{"code":429,"message":"slow down","metadata":{"raw":"{}"}},"id":"x"}"#,
    r#"{"error":"just words"}"#,
];

/// One change to some bytes.
#[derive(Clone, Debug)]
enum Harm {
    Set(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    Cut(Index),
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
        "\n\n",
        "\r",
        "data: ",
        "[DONE]",
        "data: [DONE]\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        "\u{feff}",
    ]);
    prop_oneof![
        3 => (any::<Index>(), mark()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        3 => (any::<Index>(), scrap).prop_map(|(at, text)| Harm::Insert(at, text)),
        2 => (any::<Index>(), 1..20usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => (any::<Index>(), 1..200usize).prop_map(|(at, count)| Harm::Repeat(at, count)),
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
            Harm::Insert(_, new) => drop(bytes.splice(at..at, new.bytes())),
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

/// One change to a JSON value.
#[derive(Clone, Debug)]
enum Bend {
    Replace(Index, Value),
    /// Into so many lists.
    Nest(Index, usize),
    /// What stands in a list once more, or no more.
    Twice(Index),
    Drop(Index),
    /// Two places change their values.
    Swap(Index, Index),
    /// A member by the name of another.
    Rename(Index, &'static str),
}

fn bend() -> impl Strategy<Value = Bend> {
    let odd = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!(4_294_967_296_u64),
        json!(127),
        json!(u32::MAX),
        json!(""),
        json!("x"),
        json!("{\"a\":1}"),
        json!("{"),
        json!("error"),
        json!("[DONE]"),
        json!("\u{0}\u{2028}\"\n\ndata: [DONE]"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"type": "text", "text": "t"}),
        json!({"type": "thinking", "thinking": "t"}),
        json!({"type": "tool_use", "id": "", "name": "", "input": []}),
        json!({"type": "text_delta", "text": "t"}),
    ]);
    let name =
        prop::sample::select(vec!["content", "type", "error", "index", "choices", "usage", "delta", "input", "#deltas", "id", "role"]);
    prop_oneof![
        5 => (any::<Index>(), odd).prop_map(|(at, value)| Bend::Replace(at, value)),
        1 => (any::<Index>(), 1..80usize).prop_map(|(at, depth)| Bend::Nest(at, depth)),
        2 => any::<Index>().prop_map(Bend::Twice),
        2 => any::<Index>().prop_map(Bend::Drop),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(one, two)| Bend::Swap(one, two)),
        1 => (any::<Index>(), name).prop_map(|(at, name)| Bend::Rename(at, name)),
    ]
}

/// Paths of all that is in a value.
fn paths(value: &Value, path: &str, only: fn(&Value) -> bool, out: &mut Vec<String>) {
    if only(value) {
        out.push(path.to_owned());
    }
    match value {
        Value::Array(list) => (0..).zip(list).for_each(|(at, value): (usize, _)| paths(value, &format!("{path}/{at}"), only, out)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| paths(value, &format!("{path}/{name}"), only, out)),
        _ => {}
    }
}

fn place<'a>(value: &'a mut Value, at: &Index, only: fn(&Value) -> bool) -> Option<&'a mut Value> {
    let mut found = Vec::new();
    paths(value, "", only, &mut found);
    if found.is_empty() { None } else { value.pointer_mut(&found[at.index(found.len())]) }
}

fn bent(text: &str, bends: &[Bend]) -> Value {
    let mut value: Value = serde_json::from_str(text).expect("samples are JSON");
    let filled = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    let members = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
    for bend in bends {
        match bend {
            Bend::Replace(at, new) => {
                if let Some(old) = place(&mut value, at, |_| true) {
                    *old = new.clone();
                }
            }
            Bend::Nest(at, depth) => {
                if let Some(old) = place(&mut value, at, |_| true) {
                    *old = (0..*depth).fold(old.take(), |inner, _| json!([inner]));
                }
            }
            Bend::Twice(at) | Bend::Drop(at) => {
                if let Some(Value::Array(list)) = place(&mut value, at, filled) {
                    let which = at.index(list.len());
                    if matches!(bend, Bend::Twice(_)) { list.insert(which, list[which].clone()) } else { drop(list.remove(which)) }
                }
            }
            Bend::Swap(one, two) => {
                let second = place(&mut value, two, |_| true).map_or(Value::Null, |value| value.clone());
                let first = place(&mut value, one, |_| true).map(|place| std::mem::replace(place, second));
                if let (Some(place), Some(first)) = (place(&mut value, two, |_| true), first) {
                    *place = first;
                }
            }
            Bend::Rename(at, name) => {
                if let Some(Value::Object(fields)) = place(&mut value, at, members) {
                    let old = fields.keys().nth(at.index(fields.len())).expect("there is one").clone();
                    let taken = fields.remove(&old).expect("it is there");
                    fields.insert((*name).to_owned(), taken);
                }
            }
        }
    }
    value
}

fn stream_text(stream: &Value) -> String {
    let frame = |event: &Value| match event {
        Value::String(word) => format!("data: {word}\n\n"),
        Value::Array(pair) if pair.len() == 2 && pair[0].is_string() => {
            format!("event: {}\ndata: {}\n\n", pair[0].as_str().expect("a name").replace('\n', " "), pair[1])
        }
        other => format!("data: {other}\n\n"),
    };
    stream.as_array().map(|list| list.iter().map(frame).collect()).unwrap_or_default()
}

fn targets() -> [Target; 3] {
    let target = Target { model: "other".into(), output_limit: 4_096, ..Target::default() };
    [
        Target { native_schema: true, effort: true, ..target.clone() },
        Target { old_limit: true, ..target.clone() },
        Target { output_limit: 1, model: String::new(), ..target },
    ]
}

fn bounded(what: &str, input: usize, output: usize) {
    assert!(output <= 64 * input + (64 << 10), "{what}: {output} bytes of {input}");
}

fn few(losses: &Losses) {
    assert!(losses.iter().count() <= 128 && losses.iter().all(|loss| loss.path.len() <= 128), "{losses:?}");
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}

fn try_request(bytes: &[u8]) {
    for from in BOTH {
        for to in BOTH {
            for target in targets() {
                let Ok(exchange) = read_exchange(from, bytes) else { continue };
                let translated = translate_request(&exchange, to, &target);
                few(&translated.losses);
                bounded("request", bytes.len(), translated.bytes);
                for limit in [None, Some(("max_tokens", 5)), Some(("max_tokens", 3_000))] {
                    let body = translated.body(limit, true);
                    assert!(json_of(&body).is_object());
                    bounded("request", bytes.len(), body.len());
                }
                let again = read_exchange(to, &translated.body(None, false)).map(|again| translate_request(&again, from, &target));
                assert!(again.is_ok(), "what we send can be read: {again:?}");
            }
        }
        unchanged(from.dialect(), bytes);
    }
}

/// What is known of a request decides nothing about what is not known: all of it comes back to its own dialect.
fn unchanged(dialect: Dialect, bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let decoded = match dialect {
        Dialect::OpenAi => openai_chat::decode_request(value.clone()),
        Dialect::Anthropic => anthropic_messages::decode_request(value.clone()),
    };
    // a name that begins with NUL is ours (a hint of the exchange)
    let Ok(exchange) = decoded.map_err(|invalid| assert!(!invalid.message.is_empty() && invalid.message.len() < 1_024)) else { return };
    if value.to_string().contains("\"\\u0000") || !value["model"].is_string() {
        return;
    }
    let (target, mut losses) = (Target { model: exchange.model.clone(), ..Target::default() }, Losses::default());
    let again = match dialect {
        Dialect::OpenAi => openai_chat::encode_request(&exchange, &target, &mut losses),
        Dialect::Anthropic => anthropic_messages::encode_request(&exchange, &target, &mut losses),
    };
    let (found, wanted) = (plain(&again.body), plain(&value));
    assert!(found == wanted, "{dialect:?}: {}", difference("", &found, &wanted));
}

fn difference(path: &str, found: &Value, wanted: &Value) -> String {
    match (found, wanted) {
        (Value::Object(one), Value::Object(two)) if one.keys().eq(two.keys()) => {
            one.iter().zip(two).map(|((name, one), (_, two))| difference(&format!("{path}.{name}"), one, two)).collect()
        }
        (Value::Array(one), Value::Array(two)) if one.len() == two.len() => {
            (0..).zip(one.iter().zip(two)).map(|(at, (one, two)): (usize, _)| difference(&format!("{path}[{at}]"), one, two)).collect()
        }
        _ if found == wanted => String::new(),
        _ => format!("{path} is {found}, not {wanted}; "),
    }
}

fn try_answer(bytes: &[u8]) {
    for from in BOTH {
        for caller in BOTH {
            for schema_tool in [false, true] {
                let mut translator = Translator::new(from, caller, 1, true, schema_tool);
                if let Ok(body) = translator.whole(bytes) {
                    assert!(json_of(&body).is_object());
                    bounded("answer", bytes.len(), body.len());
                }
                few(translator.losses());
            }
        }
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { continue };
        let decoded = match from.dialect() {
            Dialect::OpenAi => openai_chat::decode_answer(value),
            Dialect::Anthropic => anthropic_messages::decode_answer(value),
        };
        let answer = fold(decoded).unwrap_or_else(|misplaced| panic!("{from}: {}", misplaced.0));
        assert_eq!(fold(events(answer.clone())), Ok(answer), "{from}");
    }
}

fn try_error(bytes: &[u8]) {
    for from in BOTH {
        for caller in BOTH {
            let Some(body) = translate_error(caller, from, 429, bytes, "req") else { continue };
            assert!(json_of(&body)["error"].is_object());
            bounded("error", bytes.len(), body.len());
        }
    }
}

/// Frames as a simple reader sees them.
fn frames(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let of = |frame: &str, name: &str| {
        let lines: Vec<&str> = frame.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        lines.join("\n").into_bytes()
    };
    text.split("\n\n").map(|frame| (of(frame, "event"), of(frame, "data"))).filter(|(_, data)| !data.is_empty()).collect()
}

fn decode_stream(dialect: Dialect, bytes: &[u8]) -> Vec<Event> {
    let (mut openai, mut anthropic, mut out) = (openai_chat::Decoder::default(), anthropic_messages::Decoder::default(), Vec::new());
    for (name, data) in frames(bytes) {
        match dialect {
            Dialect::OpenAi => openai.frame(&name, &data, &mut out),
            Dialect::Anthropic => anthropic.frame(&name, &data, &mut out),
        }
    }
    match dialect {
        Dialect::OpenAi => openai.close(&mut out),
        Dialect::Anthropic => anthropic.close(&mut out),
    }
    out
}

/// The stream by pieces of these sizes, in turn.
fn translated(from: Endpoint, caller: Endpoint, schema_tool: bool, bytes: &[u8], sizes: &[usize]) -> (Vec<u8>, Losses) {
    let (mut stream, mut translator) = (Stream::new(from, 1, false), Translator::new(from, caller, 1, true, schema_tool));
    let (mut pieces, mut out, mut at) = (Vec::new(), Vec::new(), 0);
    for size in sizes.iter().cycle() {
        let end = (at + size).min(bytes.len());
        stream.push(Bytes::copy_from_slice(&bytes[at..end]), &mut pieces).expect("frames are short");
        at = end;
        if at == bytes.len() {
            stream.close(&mut pieces);
        }
        for Piece::Pass(bytes) | Piece::End(bytes) in pieces.drain(..) {
            out.extend_from_slice(&translator.frames(&bytes));
        }
        if at == bytes.len() {
            break;
        }
    }
    out.extend_from_slice(&translator.close());
    (out, translator.losses().clone())
}

/// Events on the wire: name and data.
fn wire(out: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(out).expect("text");
    assert!(text.is_empty() || text.ends_with("\n\n"), "half a frame");
    assert!(!text.contains('\r'));
    let frame = |frame: &str| {
        let mut lines: Vec<&str> = frame.lines().collect();
        let data = lines.pop().and_then(|line| line.strip_prefix("data: ")).unwrap_or_else(|| panic!("no data: {frame:?}"));
        let name = lines.pop().map(|line| line.strip_prefix("event: ").unwrap_or_else(|| panic!("{frame:?}"))).unwrap_or_default();
        assert!(lines.is_empty(), "{frame:?}");
        (name.to_owned(), data.to_owned())
    };
    text.split_terminator("\n\n").map(frame).collect()
}

/// Whether the provider ended its answer, so far as its words go.
fn may_end(dialect: Dialect, bytes: &[u8]) -> bool {
    let has = |data: &[u8], what: &str| String::from_utf8_lossy(data).contains(what);
    frames(bytes).iter().any(|(name, data)| match dialect {
        Dialect::OpenAi => data.trim_ascii() == b"[DONE]" || has(data, "finish_reason"),
        Dialect::Anthropic => name == b"message_stop" || has(data, "message_stop") || has(data, "stop_reason\":\""),
    })
}

fn well_formed(caller: Dialect, out: &[u8]) -> bool {
    let frames = wire(out);
    match caller {
        Dialect::OpenAi => {
            let dones = frames.iter().filter(|(_, data)| data == "[DONE]").count();
            let ended = frames.last().is_some_and(|(_, data)| data == "[DONE]");
            assert_eq!(dones, usize::from(ended), "[DONE] is the last, and once");
            for (name, data) in frames.iter().filter(|(_, data)| data != "[DONE]") {
                let data = json_of(data.as_bytes());
                assert!(name.is_empty() && (data["choices"].is_array() || data["error"].is_object()), "{data}");
            }
            ended
        }
        Dialect::Anthropic => blocks_follow(&frames),
    }
}

/// Blocks of Anthropic's streams are one after the other, between the start of the message and its end.
fn blocks_follow(frames: &[(String, String)]) -> bool {
    let (mut open, mut next, mut started, mut told, mut over) = (None::<u64>, 0, false, false, false);
    let mut failed = false;
    for (name, data) in frames {
        let data = json_of(data.as_bytes());
        assert_eq!(data["type"], name.as_str());
        assert!(!over && !failed, "{name} behind the end");
        let index = data["index"].as_u64();
        match name.as_str() {
            "message_start" => assert!(!std::mem::replace(&mut started, true) && data["message"].is_object()),
            "content_block_start" => {
                assert!(started && open.is_none() && !told && index == Some(next), "{data} while {open:?}, then {next}");
                assert!(data["content_block"]["type"].is_string() || data["content_block"].is_null() || started);
                (open, next) = (index, next + 1);
            }
            "content_block_delta" => assert!(open.is_some() && index == open, "{data} while {open:?}"),
            "content_block_stop" => {
                assert!(open.is_some() && index == open, "{data} while {open:?}");
                open = None;
            }
            "message_delta" => assert!(started && open.is_none() && !std::mem::replace(&mut told, true)),
            "message_stop" => {
                assert!(started && told && open.is_none());
                over = true;
            }
            "error" => failed = true,
            other => panic!("{other}"),
        }
    }
    over
}

fn try_stream(bytes: &[u8], sizes: &[usize]) {
    for from in BOTH {
        let dialect = from.dialect();
        let decoded = decode_stream(dialect, bytes);
        let ended = decoded.contains(&Event::End);
        let answer = fold(decoded).unwrap_or_else(|misplaced| panic!("{from}: {}", misplaced.0));
        assert_eq!(fold(events(answer.clone())), Ok(answer), "{from}");
        assert!(!ended || may_end(dialect, bytes), "{from} ended from nothing");
        // a stream of a dialect goes to the other one; its own end is not always told
        let caller = BOTH[usize::from(from == BOTH[0])];
        for schema_tool in [false, true] {
            let (out, losses) = translated(from, caller, schema_tool, bytes, sizes);
            let over = well_formed(caller.dialect(), &out);
            assert!(!over || may_end(dialect, bytes), "{caller} is over, {from} is not");
            bounded("stream", bytes.len(), out.len());
            few(&losses);
            let whole = translated(from, caller, schema_tool, bytes, &[bytes.len().max(1)]);
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&whole.0), "by {sizes:?}");
            assert_eq!(losses, whole.1);
            let across = decode_stream(caller.dialect(), &out);
            fold(across).unwrap_or_else(|misplaced| panic!("{from} in {caller}: {}", misplaced.0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn requests_as_bytes(sample in prop::sample::select(REQUESTS.to_vec()), harms in vec(harm(), 1..4)) {
        try_request(&harmed(sample, &harms));
    }

    #[test]
    fn requests_as_json(sample in prop::sample::select(REQUESTS.to_vec()), bends in vec(bend(), 1..5)) {
        try_request(bent(sample, &bends).to_string().as_bytes());
    }

    #[test]
    fn answers_as_bytes(sample in prop::sample::select(ANSWERS.to_vec()), harms in vec(harm(), 1..4)) {
        try_answer(&harmed(sample.1, &harms));
    }

    #[test]
    fn answers_as_json(sample in prop::sample::select(ANSWERS.to_vec()), bends in vec(bend(), 1..5)) {
        try_answer(bent(sample.1, &bends).to_string().as_bytes());
    }

    #[test]
    fn streams_as_bytes(
        sample in prop::sample::select(STREAMS.to_vec()), harms in vec(harm(), 1..4), sizes in vec(1..120usize, 1..6),
    ) {
        try_stream(&harmed(&stream_text(&bent(sample.1, &[])), &harms), &sizes);
    }

    #[test]
    fn streams_as_json(sample in prop::sample::select(STREAMS.to_vec()), bends in vec(bend(), 1..6), sizes in vec(1..120usize, 1..6)) {
        try_stream(stream_text(&bent(sample.1, &bends)).as_bytes(), &sizes);
    }

    #[test]
    fn errors_of_providers(
        sample in prop::sample::select(ERRORS.to_vec()), bends in vec(bend(), 0..3), harms in vec(harm(), 0..3), sizes in vec(1..60usize, 1..4),
    ) {
        let bytes = harmed(&bent(sample, &bends).to_string(), &harms);
        try_error(&bytes);
        try_answer(&bytes);
        try_stream(&[b"event: error\ndata: ", bytes.as_slice(), b"\n\n"].concat(), &sizes);
    }

    #[test]
    fn arbitrary_bytes(bytes in vec(any::<u8>(), 0..200), sizes in vec(1..60usize, 1..4)) {
        try_request(&bytes);
        try_answer(&bytes);
        try_error(&bytes);
        try_stream(&bytes, &sizes);
    }
}

#[test]
fn the_samples_are_valid_and_rich() {
    for (from, body) in BOTH.into_iter().zip(REQUESTS) {
        for to in BOTH {
            let exchange = read_exchange(from, body.as_bytes()).unwrap_or_else(|invalid| panic!("{invalid:?}"));
            let translated = translate_request(&exchange, to, &targets()[0]);
            assert_eq!(translated.losses.is_empty(), from == to, "{:?}", translated.losses);
        }
    }
    for (from, body) in ANSWERS {
        for caller in BOTH {
            assert!(Translator::new(from, caller, 1, true, true).whole(body.as_bytes()).is_ok(), "{body}");
        }
    }
    let mut ends = 0;
    for (from, sample) in STREAMS {
        let text = stream_text(&bent(sample, &[]));
        try_stream(text.as_bytes(), &[7]);
        let caller = BOTH[usize::from(from == BOTH[0])];
        let (out, _) = translated(from, caller, true, text.as_bytes(), &[13]);
        assert!(out.len() > 100 && !String::from_utf8_lossy(&out).contains(SCHEMA_TOOL), "{}", String::from_utf8_lossy(&out));
        ends += usize::from(well_formed(caller.dialect(), &out));
    }
    assert_eq!(ends, 4);
    assert!(ERRORS.iter().all(|body| translate_error(BOTH[0], BOTH[1], 429, body.as_bytes(), "r").is_some()));
}

/// Cut anywhere: it is over only if all that was begun has its reason, or the end itself came.
#[test]
fn a_stream_that_breaks_off_does_not_end() {
    let said = |data: &[u8], path: &str| {
        serde_json::from_slice::<Value>(data).ok().and_then(|value| Some(value.pointer(path)?.is_string())).unwrap_or(false)
    };
    for (from, sample) in STREAMS {
        let text = stream_text(&bent(sample, &[]));
        let caller = BOTH[usize::from(from == BOTH[0])];
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let part = &text.as_bytes()[..end];
            let parts = frames(part);
            let ended = match from.dialect() {
                Dialect::OpenAi => {
                    let choices: Vec<(Value, bool)> = parts
                        .iter()
                        .filter_map(|(_, data)| serde_json::from_slice::<Value>(data).ok())
                        .flat_map(|chunk| chunk["choices"].as_array().cloned().unwrap_or_default())
                        .map(|choice| (choice.get("index").cloned().unwrap_or(json!(0)), choice["finish_reason"].is_string()))
                        .collect();
                    let stopped = |index: &Value| choices.iter().any(|(of, stopped)| of == index && *stopped);
                    let all = !choices.is_empty() && choices.iter().all(|(index, _)| stopped(index));
                    all || parts.iter().any(|(_, data)| data == b"[DONE]")
                }
                Dialect::Anthropic => parts.iter().any(|(_, data)| {
                    said(data, "/delta/stop_reason")
                        || serde_json::from_slice::<Value>(data).is_ok_and(|value| value["type"] == "message_stop")
                }),
            };
            let failed = String::from_utf8_lossy(part).contains("\"error\"");
            let (out, _) = translated(from, caller, false, part, &[64]);
            let over = well_formed(caller.dialect(), &out);
            assert!(over == ended || failed && !over, "{from} cut at {end}: {over} not {ended}: {}", &text[..end]);
        }
    }
}

#[test]
fn a_byte_order_mark_counts_at_the_start_only() {
    let delta = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let text = format!("{0}{1}{0}{2}{3}", "\u{feff}", delta("one"), delta("two"), delta("three"));
    let run = |size| String::from_utf8(translated(BOTH[0], BOTH[1], false, text.as_bytes(), &[size]).0).expect("text");
    let whole = run(text.len());
    assert!(whole.contains("one") && !whole.contains("two") && whole.contains("three"), "{whole}");
    (1..90).for_each(|size| assert_eq!(run(size), whole, "by {size}"));
}

/// What a provider says once is not written again and again without a bound, nor kept by each event.
#[test]
fn one_long_word_does_not_become_many() {
    let (long, began) = ("x".repeat(100_000), Instant::now());
    let names = ["id", "model", "service_tier", "system_fingerprint"];
    let chunk = |name: &str| format!("data: {{\"{name}\":\"{long}\",\"choices\":[]}}\n\n");
    let delta = "data: {\"choices\":[{\"delta\":{\"content\":\"x\",\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}}]}\n\n";
    let openai = names.iter().map(|name| chunk(name)).collect::<String>() + &delta.repeat(2_000) + "data: [DONE]\n\n";
    let start = format!(
        "data: {{\"type\":\"message_start\",\"message\":{{\"id\":\"{long}\",\"model\":\"{long}\",\"usage\":{{\"input_tokens\":1,\"service_tier\":\"{long}\"}}}}}}\n\n"
    );
    let deltas = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n".repeat(2_000);
    let counts: String = (0..2_000)
        .map(|at| format!("data: {{\"type\":\"message_delta\",\"usage\":{{\"x{at}\":{at},\"output_tokens\":{at}}}}}\n\n"))
        .collect();
    let anthropic = start + &deltas + &counts + "data: {\"type\":\"message_stop\"}\n\n";
    for (from, text) in [(BOTH[0], openai), (BOTH[1], anthropic)] {
        let caller = BOTH[usize::from(from == BOTH[0])];
        for size in [1 << 12, 1 << 24] {
            let (out, losses) = translated(from, caller, false, text.as_bytes(), &[size]);
            assert!(well_formed(caller.dialect(), &out));
            bounded("stream", text.len(), out.len());
            few(&losses);
        }
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// As deep as JSON is read, in every place where something is looked at.
#[test]
fn deep_values_are_translated_in_time() {
    for key in ["content", "input", "arguments", "parameters", "input_schema", "source", "thinking", "thinking_blocks", "usage", "delta"] {
        for (open, close) in
            [(format!("{{\"type\":\"tool_result\",\"tool_use_id\":\"i\",\"{key}\":["), "]}"), (format!("{{\"{key}\":"), "}")]
        {
            let depth = if close.len() == 2 { 50 } else { 100 };
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for top in ["messages", "tools", "system", "choices", "content", "error", "usage", "message", "delta"] {
                let role = if top == "messages" { format!("{{\"role\":\"user\",\"content\":[{deep}]}}") } else { deep.clone() };
                let body = format!("{{\"model\":\"m\",\"max_tokens\":5,\"messages\":[],\"{top}\":[{role}]}}");
                try_request(body.as_bytes());
                try_answer(body.as_bytes());
                try_error(body.as_bytes());
                try_stream(format!("data: {body}\n\n").as_bytes(), &[1_000]);
            }
        }
    }
    let bottomless = "[".repeat(1 << 20);
    try_request(format!("{{\"model\":\"m\",\"messages\":{bottomless}").as_bytes());
    try_answer(bottomless.as_bytes());
    try_stream(format!("data: {bottomless}\n\n").as_bytes(), &[1 << 16]);
}

#[test]
fn a_thought_where_the_system_speaks() {
    let body =
        r#"{"model":"claude","max_tokens":9,"system":[{"type":"thinking","thinking":"t"}],"messages":[{"role":"user","content":"hi"}]}"#;
    try_request(body.as_bytes());
}
