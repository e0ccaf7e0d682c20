use proptest::prelude::*;

use super::*;

fn read(endpoint: Endpoint, body: &str) -> Request {
    read_request(endpoint, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

fn refused(endpoint: Endpoint, body: &[u8]) -> (&'static str, Option<String>) {
    let invalid = read_request(endpoint, body).expect_err(&String::from_utf8_lossy(body));
    assert!(!invalid.message.is_empty());
    (invalid.code, invalid.param)
}

const CHAT: Endpoint = Endpoint::ChatCompletions;
const TURN: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

#[test]
fn what_is_no_json_object_is_refused() {
    for body in [
        "",
        " ",
        "{",
        "[]",
        "\"a\"",
        "nul",
        "{}x",
        "{\"model\":\"m\",}",
        "{'model':1}",
        "{\"model\" \"m\"}",
        "{\"a\":01}",
        "{\"a\":\"\t\"}",
    ] {
        let (code, param) = refused(CHAT, body.as_bytes());
        assert!(matches!(code, "invalid_json" | "invalid_type"), "{body}: {code}");
        assert_eq!(param, None);
    }
    assert_eq!(refused(CHAT, b"{\"model\":\"\xff\"}").0, "invalid_json");
    assert_eq!(refused(CHAT, format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes()).0, "invalid_json");
    let whole = format!(r#"{{"model":"m",{TURN}}}"#);
    assert_eq!(refused(CHAT, format!("{whole} {{}}").as_bytes()).0, "invalid_json");
    assert!(read_request(CHAT, format!("\n {whole} \r\n").as_bytes()).is_ok());
}

#[test]
fn wrong_and_missing_fields_are_named() {
    let cases = [
        (r#"{}"#, "model"),
        (r#"{"model":null,TURN}"#, "model"),
        (r#"{"model":"",TURN}"#, "model"),
        (r#"{"model":["m"],TURN}"#, "model"),
        (r#"{"model":"\ud800",TURN}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
        (r#"{"model":"m","messages":[]}"#, "messages"),
        (r#"{"model":"m","messages":null}"#, "messages"),
        (r#"{"model":"m","messages":"hi"}"#, "messages"),
        (r#"{"model":"m","messages":[{},3]}"#, "messages[1]"),
        (r#"{"model":"m",TURN,"stream":"yes"}"#, "stream"),
        (r#"{"model":"m",TURN,"stream_options":[]}"#, "stream_options"),
        (r#"{"model":"m",TURN,"stream_options":{"include_usage":1}}"#, "stream_options.include_usage"),
        (r#"{"model":"m",TURN,"stream_options":{"include_usage":true,"include_us\u0061ge":false}}"#, "stream_options.include_usage"),
        (r#"{"model":"m",TURN,"max_tokens":-1}"#, "max_tokens"),
        (r#"{"model":"m",TURN,"max_tokens":1.5}"#, "max_tokens"),
        (r#"{"model":"m",TURN,"max_completion_tokens":"9"}"#, "max_completion_tokens"),
        (r#"{"model":"m",TURN,"max_tokens":99999999999999999999}"#, "max_tokens"),
        (r#"{"model":"m",TURN,"n":0}"#, "n"),
        (r#"{"model":"m",TURN,"n":129}"#, "n"),
        (r#"{"model":"m",TURN,"n":"2"}"#, "n"),
        (r#"{"model":"m",TURN,"tools":{}}"#, "tools"),
        (r#"{"model":"m",TURN,"model":"x"}"#, "model"),
        (r#"{"model":"m",TURN,"mod\u0065l":"x"}"#, "model"),
        (r#"{"model":"m",TURN,"other":1,"other":2}"#, "other"),
    ];
    for (body, param) in cases {
        assert_eq!(refused(CHAT, body.replace("TURN", TURN).as_bytes()).1.as_deref(), Some(param), "{body}");
    }
    let long = format!(r#"{{"model":"{}",{TURN}}}"#, "m".repeat(257));
    assert_eq!(refused(CHAT, long.as_bytes()).1.as_deref(), Some("model"));
}

#[test]
fn duplicates_are_found_among_many_keys() {
    let many: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let body = format!(r#"{{"model":"m",{TURN},{}}}"#, many.join(","));
    assert!(read_request(CHAT, body.as_bytes()).is_ok());
    let body = format!(r#"{{"model":"m",{TURN},{},"k7":0}}"#, many.join(","));
    assert_eq!(refused(CHAT, body.as_bytes()), ("duplicate_key", Some("k7".to_owned())));
}

#[test]
fn a_full_request_is_read() {
    let body = format!(
        r#"{{"unknown":[1],"model":"gpt-\u0034o","stream":true,{TURN},"max_tokens":null,"max_completion_tokens":50,"n":3,"user":"u1",
        "service_tier":"flex","stream_options":{{"include_usage":true}},"tools":[{{"type":"function","function":{{"name":"f"}}}}]}}"#
    );
    let request = read(CHAT, &body);
    assert_eq!((request.model.as_str(), request.stream, request.output_limit, request.choices), ("gpt-4o", true, Some(50), 3));
    assert_eq!((request.user.as_deref(), request.service_tier.as_deref()), (Some("u1"), Some("flex")));
    assert!(request.tools && request.wants_usage && !request.unbounded_input && !request.background && !request.cache_write);
    assert_eq!((request.media, request.provider_state), (Media::default(), None));
}

#[test]
fn null_is_absent() {
    let body = format!(
        r#"{{"model":"m",{TURN},"stream":null,"max_tokens":null,"n":null,"stream_options":null,"tools":null,"user":null,"service_tier":null}}"#
    );
    let request = read(CHAT, &body);
    assert_eq!((request.stream, request.output_limit, request.choices, request.tools), (false, None, 1, false));
    assert_eq!((request.user, request.service_tier), (None, None));
}

#[test]
fn of_two_limits_the_larger_counts() {
    for body in
        [r#"{"model":"m",TURN,"max_tokens":9,"max_completion_tokens":5}"#, r#"{"model":"m",TURN,"max_completion_tokens":9,"max_tokens":5}"#]
    {
        assert_eq!(read(CHAT, &body.replace("TURN", TURN)).output_limit, Some(9));
    }
}

#[test]
fn the_end_user_is_kept_if_short() {
    let user = |field: &str| read(CHAT, &format!(r#"{{"model":"m",{TURN},{field}}}"#)).user;
    assert_eq!(user(r#""safety_identifier":"s""#).as_deref(), Some("s"));
    assert_eq!(user(r#""metadata":{"user_id":"m"}"#).as_deref(), Some("m"));
    assert_eq!(user(r#""user":"u","safety_identifier":"s""#).as_deref(), Some("u"));
    assert_eq!(user(&format!(r#""user":"{}""#, "u".repeat(129))), None);
    assert_eq!(user(r#""user":7"#), None);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for endpoint in Endpoint::ALL {
            let _ = read_request(endpoint, &bytes);
            let _ = crate::read_answer(endpoint, &bytes);
        }
    }

    /// Bodies made of the words that the readers know, in any place and of any type.
    #[test]
    fn any_json_is_survived_and_what_is_taken_is_json(body in knowing_json()) {
        let text = body.to_string();
        for endpoint in Endpoint::ALL {
            if let Ok(request) = read_request(endpoint, text.as_bytes()) {
                prop_assert_eq!(body["model"].as_str(), Some(request.model.as_str()));
                prop_assert!(request.media.bytes <= text.len());
                prop_assert!(request.spans.inline.windows(2).all(|pair| pair[0].end <= pair[1].start));
            }
            let _ = crate::read_answer(endpoint, text.as_bytes());
        }
    }
}

/// The words of the dialects, as keys and as texts.
#[rustfmt::skip]
const WORDS: [&str; 45] = [
    "model", "messages", "input", "prompt", "content", "type", "text", "image_url", "url",
    "source", "data", "file", "file_id", "tools", "usage", "choices", "delta", "index",
    "finish_reason", "error", "message", "stop_reason", "base64", "image", "input_image", "response", "output",
    "cache_control", "ttl", "1h", "max_tokens", "stream", "stream_options", "include_usage", "prompt_tokens", "completion_tokens",
    "total_tokens", "input_tokens", "output_tokens", "iterations", "data:image/png;base64,AAAA", "https://a/b", "response.completed", "message_delta", "code",
];

/// JSON whose keys and texts are the words of the dialects.
pub(crate) fn knowing_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let word = prop::sample::select(WORDS.to_vec());
    let leaf = prop_oneof![
        4 => word.clone().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => (0..200u64).prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            2 => prop::collection::vec((word.clone(), inner.clone()), 0..6)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    });
    (value.clone(), value).prop_map(|(mut body, content)| {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("model".to_owned(), "m".into());
            fields.insert("max_tokens".to_owned(), 5.into());
            fields.insert("messages".to_owned(), Value::from(vec![serde_json::json!({ "content": content.clone() })]));
            fields.insert("input".to_owned(), Value::from(vec![serde_json::json!({ "content": content })]));
        }
        body
    })
}
