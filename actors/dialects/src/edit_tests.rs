use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::read_request;
use crate::request::knowing_json_for_tests as knowing_json;

fn edited(endpoint: Endpoint, body: &str, edits: &Edits<'_>) -> String {
    let request = read_request(endpoint, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"));
    String::from_utf8(edit(&request, &Bytes::copy_from_slice(body.as_bytes()), edits).concat()).expect("UTF-8")
}

const TURN: &str = r#""messages":[{"content":"hi"}]"#;

#[test]
fn nothing_changes_without_need() {
    let body = Bytes::from(format!(r#"{{"model":"m",{TURN},"stream":true,"stream_options":{{"include_usage":true}},"max_tokens":3}}"#));
    let request = read_request(Endpoint::ChatCompletions, &body).expect("valid");
    let edits = Edits { model: Some("m"), output_limit: Some(("max_tokens", 9)), include_usage: true };
    let pieces = edit(&request, &body, &edits);
    assert_eq!(pieces, vec![body.clone()]);
    assert_eq!(pieces[0].as_ptr(), body.as_ptr(), "no copy");
}

#[test]
fn usage_is_asked_for_wherever_the_option_stands() {
    let usage = Edits { include_usage: true, ..Edits::default() };
    for (before, after) in [
        (r#"{"model":"m",TURN,"stream":true}"#, r#"{"stream_options":{"include_usage":true},"model":"m",TURN,"stream":true}"#),
        (
            r#"{ "model":"m",TURN,"stream":true,"stream_options":null}"#,
            r#"{ "model":"m",TURN,"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options": { },"model":"m",TURN,"stream":true}"#,
            r#"{"stream_options": {"include_usage":true },"model":"m",TURN,"stream":true}"#,
        ),
        (
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"include_usage": false,"x":[1]}}"#,
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"include_usage": true,"x":[1]}}"#,
        ),
        (
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"x":1,"include_usage":null}}"#,
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"x":1,"include_usage":true}}"#,
        ),
        (
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"include_obfuscation":false}}"#,
            r#"{"model":"m",TURN,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
        ),
        (r#"{"model":"m",TURN,"stream":false}"#, r#"{"model":"m",TURN,"stream":false}"#),
    ] {
        assert_eq!(edited(Endpoint::ChatCompletions, &before.replace("TURN", TURN), &usage), after.replace("TURN", TURN));
    }
    let messages = r#"{"model":"m","max_tokens":1,"stream":true,"messages":[{}]}"#;
    assert_eq!(edited(Endpoint::Messages, messages, &usage), messages);
    let responses = r#"{"model":"m","input":"x","stream":true}"#;
    assert_eq!(edited(Endpoint::Responses, responses, &usage), responses);
}

#[test]
fn limits_are_set_only_where_none_is_named() {
    let limit = |name| Edits { output_limit: Some((name, 300)), ..Edits::default() };
    let set = |body: &str, name| edited(Endpoint::ChatCompletions, &body.replace("TURN", TURN), &limit(name)).replace(TURN, "TURN");
    assert_eq!(set(r#"{"model":"m",TURN}"#, "max_tokens"), r#"{"max_tokens":300,"model":"m",TURN}"#);
    assert_eq!(set(r#"{"model":"m",TURN,"max_tokens":null}"#, "max_tokens"), r#"{"model":"m",TURN,"max_tokens":300}"#);
    assert_eq!(
        set(r#"{"model":"m",TURN,"max_tokens":null}"#, "max_completion_tokens"),
        r#"{"max_completion_tokens":300,"model":"m",TURN,"max_tokens":null}"#
    );
    assert_eq!(set(r#"{"model":"m",TURN,"max_tokens":5}"#, "max_completion_tokens"), r#"{"model":"m",TURN,"max_tokens":5}"#);
}

#[test]
fn all_edits_together_stand_in_their_places() {
    let body = format!(r#"{{"n":1,"model":"a","stream":true,{TURN},"max_tokens":null}}"#);
    let edits = Edits { model: Some("b\"\\\n"), output_limit: Some(("max_tokens", 1)), include_usage: true };
    let wanted = format!(r#"{{"stream_options":{{"include_usage":true}},"n":1,"model":"b\"\\\n","stream":true,{TURN},"max_tokens":1}}"#);
    assert_eq!(edited(Endpoint::ChatCompletions, &body, &edits), wanted);
}

#[test]
fn each_model_has_its_name_for_the_limit() {
    for model in
        ["o1", "o3-mini", "o4-mini-2025", "gpt-5", "gpt-5.1-codex", "gpt-6", "openai/gpt-5-nano", "ft:o4-mini:acme", "codex-mini-latest"]
    {
        assert_eq!(output_limit_name(Endpoint::ChatCompletions, model), "max_completion_tokens", "{model}");
    }
    for model in ["gpt-4o", "gpt-4.1", "gpt-3.5-turbo", "gpt-oss-120b", "olmo-2", "llama", "claude", "gpt-35-turbo"] {
        assert_eq!(output_limit_name(Endpoint::ChatCompletions, model), "max_tokens", "{model}");
    }
    assert_eq!(output_limit_name(Endpoint::Responses, "gpt-5"), "max_output_tokens");
    assert_eq!(output_limit_name(Endpoint::Completions, "gpt-5"), "max_tokens");
    assert_eq!(output_limit_name(Endpoint::Messages, "o3"), "max_tokens");
}

proptest! {
    /// Whatever the body: the edited one has the new fields, and all else as it was.
    #[test]
    fn an_edited_body_differs_by_the_edits_only(
        body in knowing_json(), model in "\\PC{1,10}|[\\x01-\\x7f]{1,5}", limit in 1..10_000u64, drop_limit in 0..3u8, stream: bool, pretty: bool,
    ) {
        let Value::Object(mut fields) = body else { return Ok(()) };
        fields.insert("stream".to_owned(), stream.into());
        match drop_limit { 0 => drop(fields.insert("max_tokens".to_owned(), Value::Null)), 1 => drop(fields.remove("max_tokens")), _ => {} }
        let body = Value::Object(fields);
        let text = if pretty { format!("{body:#}") } else { body.to_string() };
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions] {
            let Ok(request) = read_request(endpoint, text.as_bytes()) else { continue };
            let edits = Edits { model: Some(&model), output_limit: Some(("max_tokens", limit)), include_usage: true };
            let new = edit(&request, &Bytes::copy_from_slice(text.as_bytes()), &edits).concat();
            let mut wanted = body.clone();
            wanted["model"] = json!(model);
            if request.output_limit.is_none() { wanted["max_tokens"] = json!(limit); }
            if stream { wanted["stream_options"]["include_usage"] = json!(true); }
            prop_assert_eq!(serde_json::from_slice::<Value>(&new).expect("JSON"), wanted);
            let again = read_request(endpoint, &new).expect("still valid");
            prop_assert_eq!(again.model, model.clone());
            prop_assert_eq!((again.wants_usage, again.output_limit), (stream || request.wants_usage, request.output_limit.or(Some(limit))));
        }
    }
}
