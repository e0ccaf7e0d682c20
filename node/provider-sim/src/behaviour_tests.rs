//! Requests in, scripts out: no socket, no clock.

use http::HeaderName;
use serde_json::json;

use super::*;
use crate::player::Step;

fn sim() -> Behaviour {
    Behaviour::new(Settings::default())
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> Received {
    let headers =
        headers.iter().map(|(name, value)| (HeaderName::try_from(*name).expect("a name"), HeaderValue::from_str(value).expect("a value")));
    let method = method.parse().expect("a method");
    Received { method, target: target.into(), headers: headers.collect(), body: body.to_string().into() }
}

fn post(sim: &mut Behaviour, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, String, Step) {
    play(sim.receive(1_000, request("POST", path, headers, body)))
}

fn play(mut script: Script) -> (u16, String, Step) {
    let mut text = String::new();
    loop {
        match script.next_step() {
            Step::Send(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Step::Pause(_) => {}
            end => return (script.status, text, end),
        }
    }
}

fn json_of(answer: &(u16, String, Step)) -> Value {
    serde_json::from_str(&answer.1).expect("JSON")
}

/// The data of each event of a stream; `[DONE]` as a string.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|line| serde_json::from_str(line).unwrap_or_else(|_| line.into())).collect()
}

fn messages(extra: Value) -> Value {
    let mut body = json!({"model": "sim", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there"}]});
    body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    body
}

#[test]
fn equal_requests_in_equal_order_get_equal_answers() {
    let play_all = || {
        let mut sim = sim();
        ["/v1/chat/completions", "/chat/completions", "/v1/messages", "/messages"]
            .map(|path| post(&mut sim, path, &[], &messages(json!({"stream": true, "n": 2}))).1)
    };
    let (first, second) = (play_all(), play_all());
    assert_eq!(first, second);
    assert!(first[0] != first[1], "ids differ from answer to answer");
}

#[test]
fn later_layers_win() {
    let mut sim =
        Behaviour::new(Settings { answers: Wishes { output: crate::Output::Tokens(2), ..Wishes::default() }, ..Settings::default() });
    let tokens = |sim: &mut Behaviour, headers: &[(&str, &str)], extra: Value| {
        json_of(&post(sim, "/v1/chat/completions", headers, &messages(extra)))["usage"]["completion_tokens"].as_u64()
    };
    assert_eq!(tokens(&mut sim, &[], json!({})), Some(2));
    assert_eq!(tokens(&mut sim, &[], json!({"model": "sim:output=3"})), Some(3));
    assert_eq!(tokens(&mut sim, &[], json!({"model": "sim:output=3", "x_sim": {"output": 4}})), Some(4));
    assert_eq!(tokens(&mut sim, &[("x-sim-output", "max")], json!({"model": "sim:output=3", "x_sim": {"output": 4}})), Some(9));
}

#[test]
fn an_unknown_wish_is_refused_by_name() {
    let got = post(&mut sim(), "/v1/messages", &[("x-sim-colour", "red")], &messages(json!({})));
    assert_eq!(got.0, 400);
    assert!(got.1.contains("colour=red") && json_of(&got)["type"] == "error", "{}", got.1);
}

#[test]
fn every_endpoint_bills_what_it_says() {
    let both = json!({"prompt": "hello there", "input": "hello there", "max_output_tokens": 9});
    for (path, input, output) in [
        ("/v1/chat/completions", "/usage/prompt_tokens", "/usage/completion_tokens"),
        ("/v1/completions", "/usage/prompt_tokens", "/usage/completion_tokens"),
        ("/v1/responses", "/usage/input_tokens", "/usage/output_tokens"),
        ("/v1/messages", "/usage/input_tokens", "/usage/output_tokens"),
    ] {
        let mut sim = sim();
        let mut body = messages(both.clone());
        if path != "/v1/chat/completions" && path != "/v1/messages" {
            body.as_object_mut().expect("an object").remove("messages");
        }
        if path != "/v1/responses" {
            body.as_object_mut().expect("an object").remove("input");
        }
        if path != "/v1/completions" {
            body.as_object_mut().expect("an object").remove("prompt");
        }
        let mut script = sim.receive(0, request("POST", path, &[("x-sim-output", "max")], &body));
        let ticket = script.ticket.take().expect("a ticket");
        let got = play(script);
        let said = json_of(&got);
        assert_eq!((said.pointer(input), said.pointer(output)), (Some(&json!(2)), Some(&json!(9))), "{path}: {}", got.1);
        sim.close(&ticket, true, 0);
        let stats: Value = serde_json::from_str(&sim.stats.to_json()).expect("JSON");
        assert_eq!(stats["tokens"], json!({"input": 2, "output": 9}), "{path}");
    }
}

#[test]
fn streams_say_what_whole_answers_say() {
    let mut sim = sim();
    for body in [messages(json!({})), messages(json!({"max_tokens": 200, "response_format": {"type": "json_object"}}))] {
        let whole = json_of(&post(&mut sim, "/v1/chat/completions", &[], &body));
        let mut streamed = body.clone();
        streamed["stream"] = true.into();
        streamed["stream_options"] = json!({"include_usage": true});
        let events = events(&post(&mut sim, "/v1/chat/completions", &[], &streamed).1);
        let text: String = events.iter().filter_map(|e| e.pointer("/choices/0/delta/content").and_then(Value::as_str)).collect();
        assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().expect("text"));
        let usage = &events[events.len() - 2];
        assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &whole["usage"]));
        assert_eq!(events.last(), Some(&json!("[DONE]")));
    }
}

#[test]
fn the_usage_chunk_comes_only_if_asked_for() {
    let got = post(&mut sim(), "/v1/chat/completions", &[], &messages(json!({"stream": true})));
    assert!(!got.1.contains("usage") && got.1.ends_with("data: [DONE]\n\n"), "{}", got.1);
}

#[test]
fn responses_number_their_events_without_a_gap() {
    for extra in [json!({}), json!({"tools": [{"type": "function", "name": "f", "parameters": {}}], "tool_choice": "required"})] {
        let mut body = json!({"model": "sim", "input": "hi", "stream": true});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let events = events(&post(&mut sim(), "/v1/responses", &[], &body).1);
        let numbers: Vec<u64> = events.iter().filter_map(|e| e["sequence_number"].as_u64()).collect();
        assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
        assert_eq!(events.last().map(|e| &e["type"]), Some(&json!("response.completed")));
    }
}

#[test]
fn an_answer_at_its_limit_is_incomplete_in_responses() {
    let body = json!({"model": "sim", "input": "hi", "stream": true, "max_output_tokens": 3});
    let events = events(&post(&mut sim(), "/v1/responses", &[], &body).1);
    let last = events.last().expect("events");
    assert_eq!(
        (&last["type"], &last["response"]["incomplete_details"]["reason"]),
        (&json!("response.incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(last["response"]["usage"]["output_tokens"], 3);
}

#[test]
fn faults_within_answers() {
    let mut sim = sim();
    let mut ask = |path: &str, wish: (&str, &str), extra: Value| post(&mut sim, path, &[wish], &messages(extra));
    let streamed = || json!({"stream": true, "stream_options": {"include_usage": true}});
    let missing = ask("/v1/chat/completions", ("x-sim-usage", "missing"), json!({}));
    assert!(json_of(&missing).get("usage").is_none());
    assert!(!ask("/v1/messages", ("x-sim-usage", "missing"), streamed()).1.contains("usage"));
    let over = json_of(&ask("/v1/messages", ("x-sim-overrun", "50"), json!({})));
    assert_eq!(over["usage"]["output_tokens"], 59);
    let wrong = json_of(&ask("/v1/chat/completions", ("x-sim-usage", "wrong"), json!({})));
    assert_eq!(wrong["usage"]["completion_tokens"], 4);
    assert!(ask("/v1/chat/completions", ("x-sim-garbage", "1"), json!({})).1.starts_with('<'));
    let broken = ask("/v1/chat/completions", ("x-sim-error-event", "2"), streamed());
    let broken = events(&broken.1);
    assert_eq!((broken.len(), &broken[2]["error"]["type"]), (3, &json!("server_error")));
    let overloaded = ask("/v1/messages", ("x-sim-error-event", "3"), streamed());
    assert!(overloaded.1.contains("event: error\n") && overloaded.1.contains("overloaded_error"), "{}", overloaded.1);
}

#[test]
fn the_first_requests_of_a_call_fail() {
    let mut sim = sim();
    let mut status = |id: &str| {
        post(&mut sim, "/v1/messages", &[("x-call", id), ("x-sim-fail-first", "2"), ("x-sim-status", "529")], &messages(json!({}))).0
    };
    assert_eq!([status("a"), status("b"), status("a"), status("a"), status("b"), status("b")], [529, 529, 529, 200, 529, 200]);
}

#[test]
fn errors_come_at_their_rate() {
    let mut sim = sim();
    let failed =
        (0..1_000).filter(|_| post(&mut sim, "/v1/messages", &[("x-sim-error-rate", "0.037")], &messages(json!({}))).0 == 500).count();
    assert_eq!(failed, 37);
}

#[test]
fn the_rate_limit_counts_by_the_minute() {
    let mut sim = Behaviour::new(Settings { rpm: Some(2), ..Settings::default() });
    let mut at = |now_ms: u64| sim.receive(now_ms, request("POST", "/v1/messages", &[], &messages(json!({})))).status;
    assert_eq!([at(1_000), at(2_000), at(59_000), at(60_000), at(61_000), at(119_999), at(120_000)], [200, 200, 429, 200, 200, 429, 200]);
}

#[test]
fn tokens_are_counted_without_an_answer_and_without_cost() {
    let mut sim = sim();
    let got = post(
        &mut sim,
        "/v1/messages/count_tokens",
        &[("x-call", "n")],
        &json!({"model": "sim", "messages": [{"role": "user", "content": "hello there"}]}),
    );
    assert_eq!((got.0, json_of(&got)), (200, json!({"input_tokens": 2})));
    assert!(sim.stats.to_json().contains(r#""tokens":{"input":0,"output":0}"#));
}

#[test]
fn embeddings_in_both_encodings() {
    let mut sim = sim();
    let body = json!({"model": "sim", "input": ["hello there", "b"], "dimensions": 4});
    let floats = json_of(&post(&mut sim, "/v1/embeddings", &[], &body));
    assert_eq!((floats["data"].as_array().map(Vec::len), floats["data"][1]["embedding"].as_array().map(Vec::len)), (Some(2), Some(4)));
    assert_eq!(floats["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));
    let mut coded = body.clone();
    coded["encoding_format"] = "base64".into();
    let coded = json_of(&post(&mut sim, "/v1/embeddings", &[], &coded));
    assert_eq!(coded["data"][0]["embedding"].as_str().map(str::len), Some(24));
}

#[test]
fn pages_of_our_own() {
    let mut sim = sim();
    let mut get = |method: &str, target: &str, body: Value| play(sim.receive(0, request(method, target, &[("cookie", "a=b")], &body)));
    assert_eq!(get("GET", "/healthz", json!(null)).0, 200);
    assert_eq!(get("PUT", "/settings", json!({"status": 503})).0, 200);
    assert_eq!(get("PUT", "/settings", json!({"output": 5, "colour": "red"})).0, 400);
    assert_eq!(get("POST", "/v1/messages", messages(json!({}))).0, 503);
    assert_eq!(get("PUT", "/settings", json!({"status": "off"})).0, 200);
    assert_eq!(get("POST", "/v1/messages?beta=true", messages(json!({}))).0, 200);
    let seen = json_of(&get("GET", "/requests?limit=1", json!(null)));
    assert_eq!(seen["data"].as_array().map(Vec::len), Some(1));
    assert_eq!((&seen["data"][0]["path"], &seen["data"][0]["headers"][0]), (&json!("/v1/messages?beta=true"), &json!(["cookie", "a=b"])));
    assert_eq!(json_of(&get("GET", "/stats", json!(null)))["asked"], 2);
    assert_eq!(get("DELETE", "/stats", json!(null)).0, 200);
    assert_eq!(json_of(&get("GET", "/stats", json!(null)))["asked"], 0);
}

#[test]
fn what_is_not_there_is_said_in_the_family_s_words() {
    let mut sim = sim();
    assert_eq!(post(&mut sim, "/v1/nothing", &[], &json!({})).0, 404);
    let got = play(sim.receive(0, request("GET", "/v1/chat/completions", &[], &json!({}))));
    assert_eq!(got.0, 405);
    let listed = play(sim.receive(0, request("GET", "/v1/models", &[("anthropic-version", "2023-06-01")], &json!({}))));
    assert_eq!(json_of(&listed)["data"][0]["type"], "model");
    let one = play(sim.receive(0, request("GET", "/models/gpt-x", &[], &json!({}))));
    assert_eq!(json_of(&one)["object"], "model");
}
