//! What no row of `capabilities.json` says, through the public API alone: bodies and streams as callers and providers write them, on their
//! way to the other dialect.

use dialects::{
    Endpoint, Translator,
    exchange::{SCHEMA_TOOL, Target, loss::Losses, tool_id},
    read_exchange, translate_error, translate_request,
};
use serde_json::{Value, json};

/// A caller's or a provider's endpoint of each dialect.
const CHAT: Endpoint = Endpoint::ChatCompletions;
const MESSAGES: Endpoint = Endpoint::Messages;

fn other(endpoint: Endpoint) -> Endpoint {
    if endpoint == CHAT { MESSAGES } else { CHAT }
}

fn target() -> Target {
    Target { model: "t".into(), output_limit: 64_000, ..Target::default() }
}

/// Losses as `kind path`.
fn named(losses: &Losses) -> Vec<String> {
    losses.iter().map(|loss| format!("{} {}", loss.kind.as_str(), loss.path)).collect()
}

/// A caller's request as it goes to the other dialect, and what it loses.
fn asked_of(caller: Endpoint, body: Value, target: &Target) -> (Value, Vec<String>) {
    let exchange = read_exchange(caller, body.to_string().as_bytes()).expect("a request");
    let translated = translate_request(&exchange, other(caller), target);
    (serde_json::from_slice(&translated.body(None, true)).expect("JSON"), named(&translated.losses))
}

fn asked(caller: Endpoint, body: Value) -> (Value, Vec<String>) {
    asked_of(caller, body, &target())
}

fn join(mut one: Value, two: Value) -> Value {
    if let (Value::Object(one), Value::Object(two)) = (&mut one, two) {
        one.extend(two);
    }
    one
}

/// The least request, which both dialects write alike, with more members.
fn with(more: Value) -> Value {
    join(json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}), more)
}

/// One message of the user.
fn user(content: Value) -> Value {
    with(json!({"messages": [{"role": "user", "content": content}]}))
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// Members that a caller sends, by which a call loses this and nothing of them is sent.
fn loses(caller: Endpoint, more: Value, wanted: &[&str]) {
    let (body, lost) = asked(caller, with(more.clone()));
    assert_eq!(lost, wanted, "{more}");
    assert_eq!(body, asked(caller, with(json!({}))).0, "{more}");
}

#[test]
fn system_prompts_are_system_messages() {
    let (body, lost) = asked(CHAT, with(json!({"messages": [{"role": "developer", "content": "one"}, {"role": "user", "content": "hi"}]})));
    assert_eq!((&body["system"], &body["messages"], lost), (&json!("one"), &json!([{"role": "user", "content": "hi"}]), vec![]));
    let (body, lost) = asked(MESSAGES, with(json!({"system": "one"})));
    assert_eq!(body["messages"], json!([{"role": "system", "content": "one"}, {"role": "user", "content": "hi"}]));
    assert!(lost.is_empty());
    let (body, lost) = asked(MESSAGES, with(json!({"system": [text("one"), text("two")]})));
    assert_eq!((&body["messages"][0], lost), (&json!({"role": "system", "content": [text("one"), text("two")]}), vec![]));
}

#[test]
fn late_instructions_keep_place_and_role_at_openai() {
    let messages = json!([
        {"role": "user", "content": "hi"}, {"role": "system", "content": "late"}, {"role": "developer", "content": "later"},
        {"role": "user", "content": "so"}]);
    let (body, lost) = asked(MESSAGES, with(json!({"messages": messages})));
    assert_eq!((&body["messages"], lost), (&messages, vec![]));
}

#[test]
fn several_texts_of_a_message() {
    let both = json!([{"role": "user", "content": [text("a"), text("b")]}, {"role": "assistant", "content": [text("c"), text("d")]}]);
    let (body, lost) = asked(CHAT, with(json!({"messages": both})));
    assert_eq!((&body["messages"], lost), (&both, vec![]));
    let (body, lost) = asked(MESSAGES, with(json!({"messages": both})));
    let wanted = json!([{"role": "user", "content": [text("a"), text("b")]}, {"role": "assistant", "content": "c\nd"}]);
    assert_eq!((&body["messages"], lost), (&wanted, vec![]));
}

#[test]
fn a_begun_answer_is_the_last_message() {
    let messages = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "The"}]);
    for caller in [CHAT, MESSAGES] {
        let (body, lost) = asked(caller, with(json!({"messages": messages})));
        assert_eq!((&body["messages"], lost), (&messages, vec![]));
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false})
}

fn tool(caller: Endpoint) -> Value {
    match caller {
        CHAT => json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": schema(), "strict": true}}),
        _ => json!({"name": "f", "description": "d", "input_schema": schema(), "strict": true}),
    }
}

#[test]
fn tools_keep_what_they_say() {
    for caller in [CHAT, MESSAGES] {
        let (body, lost) = asked(caller, with(json!({"tools": [tool(caller)]})));
        assert_eq!((&body["tools"], lost), (&json!([tool(other(caller))]), vec![]));
    }
}

/// A conversation with two uses of tools and their results, the second one an error.
fn conversation(caller: Endpoint, ids: [&str; 2]) -> Value {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    let uses = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {"a": 1}});
    match caller {
        CHAT => json!([
            {"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "tool_calls": [call(ids[0]), call(ids[1])]},
            {"role": "tool", "tool_call_id": ids[0], "content": "one\ntwo"},
            {"role": "tool", "tool_call_id": ids[1], "content": "Error: no"}]),
        _ => json!([
            {"role": "user", "content": "hi"}, {"role": "assistant", "content": [uses(ids[0]), uses(ids[1])]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": ids[0], "content": [text("one"), text("two")]},
                {"type": "tool_result", "tool_use_id": ids[1], "content": "no", "is_error": true}]}]),
    }
}

#[test]
fn uses_of_tools_and_their_results_are_said_in_both() {
    let odd = ["call.1", "call_2"];
    let ids = [tool_id("call.1"), tool_id("call_2")];
    let ids = [ids[0].as_str(), ids[1].as_str()];
    assert!(ids[0] != "call.1" && ids[1] == "call_2");
    let (body, lost) = asked(MESSAGES, with(json!({"messages": conversation(MESSAGES, odd)})));
    assert_eq!((&body["messages"], lost), (&conversation(CHAT, ids), vec![]));
    let (body, lost) = asked(CHAT, with(json!({"messages": conversation(CHAT, odd)})));
    let mut wanted = conversation(MESSAGES, ids);
    // OpenAI has no mark of an error: its text is what it was
    wanted[2]["content"] = json!([
        {"type": "tool_result", "tool_use_id": ids[0], "content": "one\ntwo"},
        {"type": "tool_result", "tool_use_id": ids[1], "content": "Error: no"}]);
    assert_eq!((&body["messages"], lost), (&wanted, vec![]));
}

#[test]
fn arguments_that_are_no_object_are_text_at_openai() {
    let uses = json!({"type": "tool_use", "id": "a", "name": "f", "input": "odd"});
    let (body, lost) = asked(MESSAGES, with(json!({"messages": [{"role": "assistant", "content": [uses]}]})));
    assert_eq!((&body["messages"][0]["tool_calls"][0]["function"]["arguments"], lost), (&json!("\"odd\""), vec![]));
}

fn image(caller: Endpoint, url: bool) -> Value {
    match (caller, url) {
        (CHAT, true) => json!({"type": "image_url", "image_url": {"url": "https://x/y"}}),
        (CHAT, false) => json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}),
        (_, true) => json!({"type": "image", "source": {"type": "url", "url": "https://x/y"}}),
        (_, false) => json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}),
    }
}

#[test]
fn results_of_tools_have_images() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let messages = json!([
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [text("x"), image(CHAT, false)]}]);
    let (body, lost) = asked(CHAT, with(json!({"messages": messages})));
    assert_eq!((&body["messages"][1]["content"][0]["content"], lost), (&json!([text("x"), image(MESSAGES, false)]), vec![]));
}

#[test]
fn documents_of_text_and_without_a_name() {
    let source = json!({"type": "text", "media_type": "text/plain", "data": "b"});
    let (body, lost) = asked(MESSAGES, user(json!([text("a"), {"type": "document", "source": source, "title": "T"}])));
    assert_eq!((&body["messages"][0]["content"], lost), (&json!([text("a"), text("T\n\nb")]), vec![]));
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "AA"});
    let (body, _) = asked(MESSAGES, user(json!([text("a"), {"type": "document", "source": pdf}])));
    assert_eq!(body["messages"][0]["content"][1]["file"]["filename"], "document.pdf");
    let file = json!({"type": "file", "file": {"file_data": "data:text/plain;base64,Yg==", "filename": "b.txt"}});
    let (body, lost) = asked(CHAT, user(json!([text("a"), file])));
    // the provider takes documents inline as PDF only
    assert_eq!((&body["messages"][0]["content"], lost), (&json!("a"), vec!["document messages[0].content[1]".to_owned()]));
}

#[test]
fn documents_by_url_and_files_of_a_provider_are_lost() {
    let file = |member: Value| user(json!([text("a"), {"type": "file", "file": member}]));
    assert_eq!(asked(CHAT, file(json!({"file_id": "f"}))).1, ["document messages[0].content[1]"]);
    assert_eq!(asked(CHAT, file(json!({"file_url": "https://x/y.pdf"}))).1, ["content messages[0].content[1]"]);
    let block = |kind: &str, source: Value| user(json!([text("a"), {"type": kind, "source": source}]));
    let (url, id) = (json!({"type": "url", "url": "https://x/y.pdf"}), json!({"type": "file", "file_id": "f"}));
    assert_eq!(asked(MESSAGES, block("document", url)).1, ["document messages[0]"]);
    assert_eq!(asked(MESSAGES, block("document", id.clone())).1, ["document messages[0]"]);
    assert_eq!(asked(MESSAGES, block("image", id)).1, ["image messages[0]"]);
}

#[test]
fn stop_sequences_are_four_at_openai_and_not_blank_at_anthropic() {
    let many = json!(["a", "b", "c", "d", "e"]);
    let (body, lost) = asked(CHAT, with(json!({"stop": many})));
    assert_eq!((&body["stop_sequences"], lost), (&many, vec![]));
    let (body, lost) = asked(MESSAGES, with(json!({"stop_sequences": many})));
    assert_eq!((&body["stop"], lost), (&json!(["a", "b", "c", "d"]), vec!["sampling stop_sequences".to_owned()]));
    let (body, lost) = asked(CHAT, with(json!({"stop": ["a", "\n"]})));
    assert_eq!((&body["stop_sequences"], lost), (&json!(["a"]), vec!["sampling stop".to_owned()]));
    let (body, lost) = asked(MESSAGES, with(json!({"stop_sequences": ["\n"]})));
    assert_eq!((&body["stop"], lost), (&json!(["\n"]), vec![]));
}

#[test]
fn limits_are_said_in_both() {
    let hello = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(asked(CHAT, hello).0["max_tokens"], 64_000);
    for name in ["max_tokens", "max_completion_tokens"] {
        let (body, lost) = asked(CHAT, json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], name: 7}));
        assert_eq!((&body["max_tokens"], lost), (&json!(7), vec![]));
    }
    let (body, lost) = asked(MESSAGES, with(json!({})));
    assert_eq!((&body["max_completion_tokens"], body.get("max_tokens"), lost), (&json!(9), None, vec![]));
    let old = Target { old_limit: true, ..target() };
    assert_eq!(asked_of(MESSAGES, with(json!({})), &old).0["max_tokens"], 9);
}

#[test]
fn temperature_has_other_bounds_in_each() {
    let (body, lost) = asked(CHAT, with(json!({"temperature": 1.5})));
    assert_eq!((&body["temperature"], lost), (&json!(1), vec!["sampling temperature".to_owned()]));
    assert_eq!(asked(MESSAGES, with(json!({"temperature": 1.5}))).0["temperature"], 1.5);
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2_000}, "temperature": 0.5, "top_p": 0.5});
    let (body, lost) = asked(MESSAGES, with(thinking));
    assert_eq!((&body["temperature"], &body["top_p"], lost), (&json!(0.5), &json!(0.5), vec![]));
}

/// What only OpenAI's dialect has is a field that nobody knows if a caller of Anthropic's sends it.
#[test]
fn words_of_openai_are_unknown_from_callers_of_anthropic() {
    let words = [
        ("seed", json!(7), "sampling"),
        ("presence_penalty", json!(0.5), "sampling"),
        ("frequency_penalty", json!(0.5), "sampling"),
        ("logit_bias", json!({"1": 2}), "sampling"),
        ("logprobs", json!(true), "logprobs"),
        ("n", json!(2), "choices"),
        ("modalities", json!(["text", "audio"]), "audio"),
        ("verbosity", json!("low"), "unknown"),
    ];
    for (name, value, kind) in words {
        loses(CHAT, json!({ name: value }), &[&format!("{kind} {name}")]);
        loses(MESSAGES, json!({ name: value }), &[&format!("unknown {name}")]);
    }
}

#[test]
fn audio_is_lost() {
    let part = json!({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}});
    assert_eq!(asked(CHAT, user(json!([text("a"), part]))).1, ["audio messages[0].content[1]"]);
    assert_eq!(asked(MESSAGES, user(json!([text("a"), part]))).1, ["content messages[0]"]);
    let spoken = json!({"audio": {"id": "a", "data": "AA", "transcript": "hi"}});
    assert_eq!(answered(CHAT, gpt(join(json!({"content": null}), spoken.clone()), "stop")).1, ["audio choices[0].message.audio"]);
    assert_eq!(streamed(CHAT, &gpt_stream(&[spoken], "stop")).1, ["audio choices[0].message.audio"]);
}

#[test]
fn reasoning_is_asked_for_by_effort_or_by_budget() {
    for (word, budget) in [("low", 2_048), ("medium", 8_192), ("high", 16_384), ("xhigh", 32_768)] {
        let (body, lost) = asked(CHAT, with(json!({"max_tokens": 60_000, "reasoning_effort": word})));
        assert_eq!((&body["thinking"], lost), (&json!({"type": "enabled", "budget_tokens": budget}), vec![]));
    }
    for (word, wanted) in [("low", "low"), ("high", "high"), ("max", "high")] {
        let (body, lost) = asked(MESSAGES, with(json!({"output_config": {"effort": word}})));
        assert_eq!((&body["reasoning_effort"], lost), (&json!(wanted), vec![]));
    }
    for (budget, wanted) in [(2_048, "low"), (8_192, "medium"), (16_384, "high")] {
        let (body, lost) = asked(MESSAGES, with(json!({"thinking": {"type": "enabled", "budget_tokens": budget}})));
        assert_eq!((&body["reasoning_effort"], lost), (&json!(wanted), vec![]));
    }
    loses(CHAT, json!({"thinking": {"type": "enabled", "budget_tokens": 2_048}}), &["unknown thinking"]);
}

#[test]
fn reasoning_that_is_switched_off() {
    let off = |caller, more: Value| {
        let (body, lost) = asked(caller, with(more));
        assert_eq!((body, lost), (asked(caller, with(json!({}))).0, vec![]));
    };
    off(CHAT, json!({"reasoning_effort": "none"}));
    // nothing is said: the provider does as it does by itself
    off(MESSAGES, json!({"thinking": {"type": "disabled"}}));
}

#[test]
fn reasoning_beside_a_forced_tool() {
    let forced = json!({"tools": [tool(CHAT)], "tool_choice": "required", "reasoning_effort": "low"});
    let (body, lost) = asked(CHAT, with(forced));
    assert_eq!((body.get("thinking"), lost), (None, vec!["reasoning reasoning_effort".to_owned()]));
    let forced = json!({"tools": [tool(MESSAGES)], "tool_choice": {"type": "any"}, "output_config": {"effort": "low"}});
    let (body, lost) = asked(MESSAGES, with(forced));
    assert_eq!((&body["tool_choice"], &body["reasoning_effort"], lost), (&json!("required"), &json!("low"), vec![]));
}

#[test]
fn thinking_is_said_again_where_it_can_be_read() {
    let thought = json!([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]);
    let said = json!({"role": "assistant", "content": "a", "thinking_blocks": thought});
    let (body, lost) = asked(CHAT, with(json!({"messages": [said]})));
    assert_eq!((&body["messages"][0]["content"], lost), (&json!([thought[0], thought[1], text("a")]), vec![]));
    let unsigned = json!({"role": "assistant", "content": "a", "reasoning_content": "hm"});
    assert_eq!(asked(CHAT, with(json!({"messages": [unsigned]}))).1, ["thinking messages[0].content[0]"]);
    for block in [&thought[0], &thought[1], &json!({"type": "thinking", "thinking": "hm"})] {
        let said = json!({"role": "assistant", "content": [block, text("a")]});
        let (body, lost) = asked(MESSAGES, with(json!({"messages": [said]})));
        assert_eq!((&body["messages"][0]["content"], lost), (&json!("a"), vec!["thinking messages[0]".to_owned()]));
    }
}

#[test]
fn marks_of_the_cache_are_sent_to_anthropic_and_lost_at_openai() {
    let mark = json!({"cache_control": {"type": "ephemeral"}});
    let said = |caller| {
        let system = json!([join(text("s"), mark.clone())]);
        let content = json!([text("a"), join(text("b"), mark.clone())]);
        let tools = json!([join(tool(caller), mark.clone())]);
        match caller {
            CHAT => {
                with(json!({"tools": tools, "messages": [{"role": "system", "content": system}, {"role": "user", "content": content}]}))
            }
            _ => with(json!({"tools": tools, "system": system, "messages": [{"role": "user", "content": content}]})),
        }
    };
    let (body, lost) = asked(CHAT, said(CHAT));
    let wanted = said(MESSAGES);
    assert_eq!((&body["system"], &body["messages"], &body["tools"]), (&wanted["system"], &wanted["messages"], &wanted["tools"]));
    assert!(lost.is_empty());
    let (body, lost) = asked(MESSAGES, said(MESSAGES));
    assert!(
        !body.to_string().contains("cache_control") && lost.len() == 3 && lost.iter().all(|loss| loss.starts_with("cache ")),
        "{lost:?}"
    );
}

#[test]
fn tiers_have_their_words() {
    let tier = |caller, word: &str| {
        let (body, lost) = asked(caller, with(json!({"service_tier": word})));
        (body.get("service_tier").cloned().unwrap_or_default(), lost)
    };
    let lost = || vec!["metadata service_tier".to_owned()];
    assert_eq!(tier(CHAT, "default"), (json!("standard_only"), vec![]));
    assert_eq!(tier(MESSAGES, "standard_only"), (json!("default"), vec![]));
    assert_eq!((tier(CHAT, "auto"), tier(MESSAGES, "auto")), ((json!("auto"), vec![]), (json!("auto"), vec![])));
    assert_eq!((tier(CHAT, "flex"), tier(MESSAGES, "priority")), ((Value::Null, lost()), (Value::Null, lost())));
}

/// The tier that served, in an answer and in the last frame of a stream that has one.
#[test]
fn tiers_that_served_are_told_in_both() {
    let told = |provider, word: &str| {
        let tier = json!({"service_tier": word});
        let usage = json!({"usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": word}});
        let (whole, stream) = match provider {
            CHAT => {
                let whole = join(gpt(json!({"content": "a"}), "stop"), join(tier.clone(), usage.clone()));
                (
                    whole,
                    gpt_stream(&[json!({"content": "a"})], "stop")
                        .into_iter()
                        .map(|chunk| join(join(chunk, tier.clone()), usage.clone()))
                        .collect(),
                )
            }
            _ => (claude(usage.clone()), claude_stream(usage.clone(), &[text("a")], json!({"stop_reason": "end_turn"}))),
        };
        let ((whole, lost), (frames, lost_of_stream)) = (answered(provider, whole), streamed(provider, &stream));
        assert_eq!(lost, lost_of_stream);
        let of = |body: &Value| body.get("usage").and_then(|usage| usage.get("service_tier")).or(body.get("service_tier")).cloned();
        let in_stream = frames.iter().filter_map(of).next_back();
        assert_eq!(of(&whole), in_stream);
        (in_stream.unwrap_or_default(), lost)
    };
    for (word, wanted) in [("standard", "default"), ("priority", "priority")] {
        assert_eq!(told(MESSAGES, word), (json!(wanted), vec![]));
    }
    for (word, wanted) in [("default", "standard"), ("priority", "priority")] {
        assert_eq!(told(CHAT, word), (json!(wanted), vec![]));
    }
    assert_eq!(told(CHAT, "flex"), (Value::Null, vec!["metadata service_tier".to_owned()]));
}

#[test]
fn whom_it_is_for() {
    let (body, lost) = asked(CHAT, with(json!({"user": "ann"})));
    assert_eq!((&body["metadata"], lost), (&json!({"user_id": "ann"}), vec![]));
    let (body, lost) = asked(MESSAGES, with(json!({"metadata": {"user_id": "ann"}})));
    assert_eq!((&body["user"], body.get("metadata"), lost), (&json!("ann"), None, vec![]));
    let long = "x".repeat(65);
    assert_eq!(asked(CHAT, with(json!({"user": long}))).0["metadata"]["user_id"], long);
    loses(MESSAGES, json!({"metadata": {"user_id": long}}), &["metadata metadata.user_id"]);
    loses(CHAT, json!({"metadata": {"a": "b"}}), &["metadata metadata"]);
    loses(MESSAGES, json!({"metadata": {"a": "b"}}), &["metadata metadata"]);
}

#[test]
fn what_a_provider_keeps_is_lost() {
    for name in ["store", "prompt_cache_key", "safety_identifier"] {
        loses(CHAT, json!({ name: "k" }), &[&format!("metadata {name}")]);
    }
    loses(MESSAGES, json!({"container": "c"}), &["metadata container"]);
    assert_eq!(answered(MESSAGES, claude(json!({"container": {"id": "c"}}))).1, ["metadata container"]);
    let end = json!({"stop_reason": "end_turn", "container": {"id": "c"}});
    assert_eq!(streamed(MESSAGES, &claude_stream(json!({}), &[text("a")], end)).1, ["metadata choices[0].container"]);
}

#[test]
fn tools_that_a_provider_runs_are_lost() {
    loses(CHAT, json!({"tools": [{"type": "web_search"}]}), &["tools tools[0]"]);
    loses(CHAT, json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]}), &["tools tools[0]"]);
    loses(CHAT, json!({"functions": [{"name": "f"}]}), &["tools functions"]);
    loses(MESSAGES, json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}), &["tools tools[0]"]);
    loses(MESSAGES, json!({"mcp_servers": [{"name": "m"}]}), &["tools mcp_servers"]);
    let uses = json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}});
    assert_eq!(answered(MESSAGES, claude(json!({"content": [uses, text("a")]}))).1, ["content choices[0].message.content"]);
    let end = json!({"stop_reason": "end_turn"});
    assert_eq!(streamed(MESSAGES, &claude_stream(json!({}), &[uses, text("a")], end)).1, ["content choices[0].message.content"]);
    let call = json!({"id": "c", "type": "custom", "custom": {"name": "h", "input": "i"}});
    assert_eq!(
        answered(CHAT, gpt(json!({"content": "a", "tool_calls": [call]}), "stop")).1,
        ["content content[1]", "unknown content[1].x"][..1]
    );
}

/// A provider's whole answer in the other dialect, and what it loses.
fn answered(provider: Endpoint, body: Value) -> (Value, Vec<String>) {
    let mut translator = Translator::new(provider, other(provider), 1, true, false);
    let whole = translator.whole(body.to_string().as_bytes()).expect("an answer");
    (serde_json::from_slice(&whole).expect("JSON"), named(translator.losses()))
}

/// A provider's stream in the other dialect: the data of its frames, and what it loses.
fn streamed(provider: Endpoint, frames: &[Value]) -> (Vec<Value>, Vec<String>) {
    let frame = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or("message"));
    translated(provider, &frames.iter().map(frame).collect::<String>(), false)
}

fn translated(provider: Endpoint, frames: &str, schema_tool: bool) -> (Vec<Value>, Vec<String>) {
    let mut translator = Translator::new(provider, other(provider), 1, true, schema_tool);
    let out = [translator.frames(frames.as_bytes()), translator.close()].concat();
    let out = String::from_utf8(out).expect("text");
    let data = out.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    (data.map(|data| serde_json::from_str(data).expect("JSON")).collect(), named(translator.losses()))
}

fn gpt(message: Value, reason: &str) -> Value {
    let choice = json!({"index": 0, "message": join(json!({"role": "assistant"}), message), "finish_reason": reason});
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "g", "choices": [choice]})
}

fn gpt_stream(deltas: &[Value], reason: &str) -> Vec<Value> {
    let choice = |delta: &Value, reason: Value| json!({"index": 0, "delta": delta, "finish_reason": reason});
    let chunk = |delta: &Value, reason: Value| json!({"id": "chatcmpl-1", "model": "g", "choices": [choice(delta, reason)]});
    let mut chunks: Vec<Value> = deltas.iter().map(|delta| chunk(delta, Value::Null)).collect();
    chunks.push(chunk(&json!({}), reason.into()));
    chunks
}

fn claude(more: Value) -> Value {
    let head = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c"});
    join(join(head, json!({"content": [text("hi")], "stop_reason": "end_turn", "stop_sequence": null})), more)
}

/// A stream of blocks that are whole at their starts.
fn claude_stream(start: Value, blocks: &[Value], end: Value) -> Vec<Value> {
    let message = join(json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": []}), start);
    let mut events = vec![json!({"type": "message_start", "message": message})];
    for (index, block) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": block}));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.extend([json!({"type": "message_delta", "delta": end}), json!({"type": "message_stop"})]);
    events
}

/// What the deltas of OpenAI's chunks say in one member.
fn said(chunks: &[Value], name: &str) -> Vec<Value> {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"].get(name)).filter(|said| !said.is_null()).cloned().collect()
}

/// A provider's blocks, whole and in a stream, as a caller of OpenAI's dialect sees them.
fn to_openai(blocks: Value, reason: &str) -> (Value, Vec<Value>, [Vec<String>; 2]) {
    let list = blocks.as_array().expect("a list").clone();
    let (whole, lost) = answered(MESSAGES, claude(json!({"content": blocks, "stop_reason": reason})));
    let (chunks, lost_of_stream) = streamed(MESSAGES, &claude_stream(json!({}), &list, json!({"stop_reason": reason})));
    (whole["choices"][0].clone(), chunks, [lost, lost_of_stream])
}

/// A provider's message, whole and in a stream of one delta, as a caller of Anthropic's dialect sees it: the blocks' starts in the stream.
fn to_anthropic(message: Value, reason: &str) -> (Value, Vec<Value>, [Vec<String>; 2]) {
    let (whole, lost) = answered(CHAT, gpt(message.clone(), reason));
    let (frames, lost_of_stream) = streamed(CHAT, &gpt_stream(&[message], reason));
    (whole, frames, [lost, lost_of_stream])
}

fn nothing() -> [Vec<String>; 2] {
    [vec![], vec![]]
}

fn twice(loss: &str) -> [Vec<String>; 2] {
    [vec![loss.to_owned()], vec![loss.to_owned()]]
}

#[test]
fn text_and_who_answered_come_back() {
    let (choice, chunks, lost) = to_openai(json!([text("a"), text("b")]), "end_turn");
    assert_eq!((&choice["message"]["content"], said(&chunks, "content"), lost), (&json!("ab"), vec![json!("a"), json!("b")], nothing()));
    let (whole, _) = answered(MESSAGES, claude(json!({})));
    for body in [&whole, &chunks[0]] {
        assert_eq!((&body["id"], &body["model"], &body["created"]), (&json!("chatcmpl-msg_1"), &json!("c"), &json!(1)));
    }
    let (whole, frames, lost) = to_anthropic(json!({"content": "a"}), "stop");
    assert_eq!(
        (&whole["content"], &frames[2]["delta"], lost),
        (&json!([text("a")]), &json!({"type": "text_delta", "text": "a"}), nothing())
    );
    for body in [&whole, &frames[0]["message"]] {
        assert_eq!((&body["id"], &body["model"]), (&json!("msg_chatcmpl-1"), &json!("g")));
    }
}

#[test]
fn uses_of_tools_come_back() {
    let uses = |id: &str, input: Value| json!({"type": "tool_use", "id": id, "name": "f", "input": input});
    let id = tool_id("call.1");
    let (choice, chunks, lost) = to_openai(json!([uses("call.1", json!({"a": 1})), uses("b", json!("odd"))]), "tool_use");
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    assert_eq!((&choice["message"]["tool_calls"], lost), (&json!([call(&id, "{\"a\":1}"), call("b", "\"odd\"")]), nothing()));
    let pieces: Vec<Value> = said(&chunks, "tool_calls").iter().map(|calls| calls[0]["function"]["arguments"].clone()).collect();
    assert_eq!(
        (pieces, &said(&chunks, "tool_calls")[0][0]["id"]),
        (["", "{\"a\":1}", "", "\"odd\""].map(Value::from).to_vec(), &json!(id))
    );

    let calls = json!([call("call.1", "{\"a\":1}"), call("b", "[1")]);
    let (whole, frames, lost) = to_anthropic(json!({"content": null, "tool_calls": calls}), "tool_calls");
    assert_eq!(whole["content"], json!([uses(&id, json!({"a": 1})), uses("b", json!({"arguments": "[1"}))]));
    assert_eq!((&frames[1]["content_block"], &frames[2]["delta"]["partial_json"]), (&uses(&id, json!({})), &json!("{\"a\":1}")));
    assert_eq!((&frames[5]["delta"]["partial_json"], lost), (&json!("[1"), twice("arguments content[1]")));
}

#[test]
fn thinking_comes_back() {
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let redacted = json!({"type": "redacted_thinking", "data": "d"});
    let (choice, chunks, lost) = to_openai(json!([thought, redacted, text("a")]), "end_turn");
    assert_eq!(
        (&choice["message"]["reasoning_content"], &choice["message"]["thinking_blocks"]),
        (
            &json!("hm"),
            &json!([join(thought.clone(), json!({"made_by": "anthropic"})), join(redacted.clone(), json!({"made_by": "anthropic"}))])
        )
    );
    let numbered = |block: &Value, index: u64| json!([join(block.clone(), json!({"made_by": "anthropic", "index": index}))]);
    assert_eq!(
        (said(&chunks, "reasoning_content"), said(&chunks, "thinking_blocks")),
        (vec![json!("hm")], vec![numbered(&thought, 0), numbered(&redacted, 1)])
    );
    assert_eq!(lost, nothing());

    let (whole, frames, lost) = to_anthropic(json!({"reasoning_content": "hm", "content": "a"}), "stop");
    assert_eq!((&whole["content"], lost), (&json!([{"type": "thinking", "thinking": "hm", "signature": ""}, text("a")]), nothing()));
    assert_eq!(frames[1]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
    let (whole, frames, lost) = to_anthropic(json!({"thinking_blocks": [thought, redacted], "content": "a"}), "stop");
    assert_eq!((&whole["content"], lost), (&json!([thought, redacted, text("a")]), nothing()));
    assert_eq!((&frames[3]["delta"]["signature"], &frames[5]["content_block"]), (&json!("s"), &redacted));
}

#[test]
fn refusals_are_told() {
    let (choice, chunks, lost) = to_openai(json!([text("no")]), "refusal");
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"], lost), (&json!("content_filter"), &json!("no"), nothing()));
    assert_eq!(chunks.last().expect("a chunk")["choices"][0]["finish_reason"], "content_filter");
    let (whole, frames, lost) = to_anthropic(json!({"content": null, "refusal": "no"}), "content_filter");
    assert_eq!((&whole["stop_reason"], &whole["content"], lost), (&json!("refusal"), &json!([text("no")]), nothing()));
    assert_eq!((&frames[2]["delta"]["text"], &frames[4]["delta"]["stop_reason"]), (&json!("no"), &json!("refusal")));
    let refused = json!({"role": "assistant", "content": null, "refusal": "no"});
    let (body, lost) = asked(CHAT, with(json!({"messages": [refused]})));
    assert_eq!((&body["messages"], lost), (&json!([{"role": "assistant", "content": "no"}]), vec![]));
}

#[test]
fn reasons_have_their_words() {
    let ends = [("end_turn", "stop"), ("max_tokens", "length"), ("tool_use", "tool_calls")];
    let odd = [("pause_turn", "stop", "metadata choices[0].stop_reason")];
    let known = ends.iter().map(|(one, two)| (*one, *two, None));
    for (word, wanted, loss) in known.chain(odd.iter().map(|(one, two, loss)| (*one, *two, Some(*loss)))) {
        let (choice, chunks, lost) = to_openai(json!([text("a")]), word);
        assert_eq!((&choice["finish_reason"], &chunks[1]["choices"][0]["finish_reason"]), (&json!(wanted), &json!(wanted)));
        assert_eq!(lost, loss.map_or(nothing(), twice));
    }
    for (wanted, word, loss) in [
        ("end_turn", "stop", None),
        ("max_tokens", "length", None),
        ("tool_use", "tool_calls", None),
        ("end_turn", "eos", Some("unknown finish_reason")),
    ] {
        let (whole, frames, lost) = to_anthropic(json!({"content": "a"}), word);
        assert_eq!((&whole["stop_reason"], &frames[4]["delta"]["stop_reason"]), (&json!(wanted), &json!(wanted)));
        assert_eq!(lost, loss.map_or(nothing(), twice));
    }
}

#[test]
fn the_stop_sequence_that_was_met_is_lost() {
    let end = json!({"stop_reason": "stop_sequence", "stop_sequence": "END"});
    let lost = "metadata choices[0].stop_sequence";
    let (whole, lost_of_whole) = answered(MESSAGES, claude(end.clone()));
    assert_eq!((&whole["choices"][0]["finish_reason"], lost_of_whole), (&json!("stop"), vec![lost.to_owned()]));
    assert_eq!(streamed(MESSAGES, &claude_stream(json!({}), &[text("a")], end)).1, [lost]);
    // some providers of OpenAI's dialect say it in a word of their own
    let told = |mut body: Value| {
        body["choices"][0]["stop_reason"] = "END".into();
        body
    };
    assert_eq!(answered(CHAT, told(gpt(json!({"content": "a"}), "stop"))).1, ["unknown choices[0].stop_reason"]);
    let mut stream = gpt_stream(&[json!({"content": "a"})], "stop");
    stream[1] = told(stream[1].clone());
    assert_eq!(streamed(CHAT, &stream).1, ["unknown choices[0].stop_reason"]);
}

#[test]
fn usage_has_all_its_counts() {
    let raw = json!({"input_tokens": 10, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}});
    let wanted = json!({"prompt_tokens": 18, "completion_tokens": 7, "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0}});
    assert_eq!(answered(MESSAGES, claude(json!({"usage": raw}))).0["usage"], wanted);
    let (chunks, lost) = streamed(MESSAGES, &claude_stream(json!({"usage": raw}), &[text("a")], json!({"stop_reason": "end_turn"})));
    assert_eq!((&chunks.last().expect("a chunk")["usage"], lost), (&wanted, vec![]));

    let raw = json!({"prompt_tokens": 18, "completion_tokens": 7, "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 2}});
    let wanted = json!({"input_tokens": 10, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 5, "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2}});
    assert_eq!(answered(CHAT, join(gpt(json!({"content": "a"}), "stop"), json!({"usage": raw}))).0["usage"], wanted);
    let mut stream = gpt_stream(&[json!({"content": "a"})], "stop");
    stream.push(json!({"choices": [], "usage": raw}));
    let (frames, lost) = streamed(CHAT, &stream);
    assert_eq!((&frames[0]["message"]["usage"]["input_tokens"], &frames[4]["usage"], lost), (&json!(0), &wanted, vec![]));
}

#[test]
fn errors_keep_class_code_and_message() {
    let openai = json!({"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded", "param": null}});
    let anthropic = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}});
    for (provider, body) in [(CHAT, &openai), (MESSAGES, &anthropic)] {
        let whole = translate_error(other(provider), provider, 429, body.to_string().as_bytes(), "r").expect("an error");
        let whole: Value = serde_json::from_slice(&whole).expect("JSON");
        let (inside, _) = answered(provider, body.clone());
        let (frames, _) = streamed(provider, std::slice::from_ref(body));
        for error in [&whole, &inside, &frames[0]] {
            let code = error["error"]["code"].as_str();
            assert_eq!((&error["error"]["type"], &error["error"]["message"]), (&json!("rate_limit_error"), &json!("slow down")));
            assert!(
                provider == MESSAGES && error.get("type").is_none() || error["type"] == "error" && code == Some("rate_limit_exceeded"),
                "{error}"
            );
        }
    }
}

#[test]
fn pings_comments_and_unknown_events_are_left_out() {
    let stream = claude_stream(json!({}), &[text("a")], json!({"stop_reason": "end_turn"}));
    let frame = |data: &Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type"));
    let between = ": hi\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\nevent: new\ndata: {\"type\":\"new\",\"x\":1}\n\n";
    let noisy: String = stream.iter().map(|data| frame(data) + between).collect();
    assert_eq!(translated(MESSAGES, &noisy, false), streamed(MESSAGES, &stream));
    let stream = gpt_stream(&[json!({"content": "a"})], "stop");
    let noisy: String = stream.iter().map(|data| format!(": OPENROUTER PROCESSING\n\ndata: {data}\n\n")).collect();
    assert_eq!(translated(CHAT, &noisy, false), streamed(CHAT, &stream));
    // a chunk that is none says something of the answer that nobody knows
    assert_eq!(streamed(CHAT, &[json!({"type": "new"}), stream[0].clone(), stream[1].clone()]).1, ["metadata type"]);
}

#[test]
fn unknown_blocks_are_lost() {
    let odd = json!({"type": "x"});
    assert_eq!(asked(CHAT, user(json!([text("a"), odd]))).1, ["content messages[0].content[1]"]);
    assert_eq!(asked(MESSAGES, user(json!([text("a"), odd]))).1, ["content messages[0]"]);
    assert_eq!(to_openai(json!([text("a"), odd]), "end_turn").2, twice("content choices[0].message.content"));
    assert_eq!(to_anthropic(json!({"content": [text("a"), odd]}), "stop").2, twice("content content[1]"));
}

#[test]
fn unknown_fields_of_answers_are_lost() {
    let x = json!({"x": 1});
    assert_eq!(answered(MESSAGES, claude(x.clone())).1, ["metadata x"]);
    assert_eq!(streamed(MESSAGES, &claude_stream(x.clone(), &[text("a")], json!({"stop_reason": "end_turn"}))).1, ["metadata x"]);
    assert_eq!(answered(CHAT, join(gpt(json!({"content": "a"}), "stop"), x.clone())).1, ["metadata x"]);
    let stream: Vec<Value> = gpt_stream(&[json!({"content": "a"})], "stop").into_iter().map(|chunk| join(chunk, x.clone())).collect();
    assert_eq!(streamed(CHAT, &stream).1, ["metadata x"]);
}

#[test]
fn citations_are_lost() {
    let source = json!({"type": "text", "media_type": "text/plain", "data": "b"});
    let cited = json!([text("a"), {"type": "document", "source": source, "citations": {"enabled": true}}]);
    assert_eq!(asked(MESSAGES, user(cited)).1, ["unknown messages[0].citations"]);
    let block = json!({"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "b"}]});
    let (choice, chunks, lost) = to_openai(json!([block]), "end_turn");
    assert_eq!((&choice["message"]["content"], said(&chunks, "content")), (&json!("a"), vec![json!("a")]));
    assert_eq!(lost, twice("metadata choices[0].message.content"));
    let noted = json!({"content": "a", "annotations": [{"type": "url_citation"}]});
    assert_eq!(to_anthropic(noted.clone(), "stop").2, twice("unknown choices[0].message.annotations"));
    let message = join(json!({"role": "assistant"}), noted);
    assert_eq!(asked(CHAT, with(json!({"messages": [message]}))).1, ["unknown messages[0].annotations"]);
}

#[test]
fn of_several_answers_the_first_is_given() {
    let mut whole = gpt(json!({"content": "a"}), "stop");
    whole["choices"].as_array_mut().expect("a list").push(json!({"index": 1, "message": {"content": "b"}, "finish_reason": "stop"}));
    let (body, lost) = answered(CHAT, whole);
    assert_eq!((&body["content"], lost), (&json!([text("a")]), vec!["choices choices[1]".to_owned()]));
    let mut stream = gpt_stream(&[json!({"content": "a"})], "stop");
    stream[0]["choices"].as_array_mut().expect("a list").push(json!({"index": 1, "delta": {"content": "b"}}));
    assert_eq!(streamed(CHAT, &stream).1, ["choices choices[1]"]);
}

#[test]
fn shapes_are_asked_for_in_both() {
    let openai = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema(), "strict": true}}});
    let anthropic = json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}});
    let native = Target { native_schema: true, ..target() };
    let tools = |caller| json!({"tools": [tool(caller)]});
    let (body, lost) = asked_of(CHAT, with(join(openai.clone(), tools(CHAT))), &native);
    assert_eq!((&body["output_config"], lost), (&anthropic["output_config"], vec![]));
    let (body, lost) = asked(CHAT, with(openai.clone()));
    assert_eq!((&body["tools"][0]["input_schema"], &body["tool_choice"]["name"], lost), (&schema(), &json!(SCHEMA_TOOL), vec![]));
    loses_shape(CHAT, join(openai.clone(), tools(CHAT)), &target(), "schema response_format");
    let (body, lost) = asked(MESSAGES, with(join(anthropic.clone(), tools(MESSAGES))));
    assert_eq!((&body["response_format"], lost), (&openai["response_format"], vec![]));
    let without = Target { no_schema: true, ..target() };
    let (body, lost) = asked_of(MESSAGES, with(anthropic.clone()), &without);
    assert_eq!((&body["tools"][0]["function"]["parameters"], body.get("response_format"), lost), (&schema(), None, vec![]));
    loses_shape(MESSAGES, join(anthropic, tools(MESSAGES)), &without, "schema output_config.format");

    let any = json!({"response_format": {"type": "json_object"}});
    let (body, lost) = asked(CHAT, with(any.clone()));
    assert_eq!((&body["tools"][0]["input_schema"], lost), (&json!({"type": "object"}), vec![]));
    loses_shape(CHAT, join(any, tools(CHAT)), &target(), "schema response_format");
    loses(MESSAGES, json!({"output_config": {"format": {"type": "json_object"}}}), &["schema output_config.format"]);
}

fn loses_shape(caller: Endpoint, more: Value, target: &Target, wanted: &str) {
    let (body, lost) = asked_of(caller, with(more), target);
    assert_eq!((body["tools"].as_array().map(Vec::len), lost), (Some(1), vec![wanted.to_owned()]));
}

#[test]
fn what_a_forced_tool_gives_is_text() {
    let uses = json!({"type": "tool_use", "id": "a", "name": SCHEMA_TOOL, "input": {"a": 1}});
    let call = json!({"index": 0, "id": "a", "type": "function", "function": {"name": SCHEMA_TOOL, "arguments": "{\"a\":1}"}});
    let whole = |provider, body: Value| {
        let out = Translator::new(provider, other(provider), 1, true, true).whole(body.to_string().as_bytes()).expect("an answer");
        serde_json::from_slice::<Value>(&out).expect("JSON")
    };
    let wire = |frames: Vec<Value>| frames.iter().map(|data| format!("data: {data}\n\n")).collect::<String>();
    let choice = &whole(MESSAGES, claude(json!({"content": [uses], "stop_reason": "tool_use"})))["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("{\"a\":1}"), &json!("stop")));
    let (chunks, _) = translated(MESSAGES, &wire(claude_stream(json!({}), &[uses], json!({"stop_reason": "tool_use"}))), true);
    assert_eq!((said(&chunks, "content"), said(&chunks, "tool_calls")), (vec![json!("{\"a\":1}")], vec![]));
    let message = json!({"content": null, "tool_calls": [call]});
    let body = whole(CHAT, gpt(message.clone(), "tool_calls"));
    assert_eq!((&body["content"], &body["stop_reason"]), (&json!([text("{\"a\":1}")]), &json!("end_turn")));
    let (frames, _) = translated(CHAT, &wire(gpt_stream(&[message], "tool_calls")), true);
    assert_eq!((&frames[2]["delta"]["text"], &frames[4]["delta"]["stop_reason"]), (&json!("{\"a\":1}"), &json!("end_turn")));
}
