use super::*;
use crate::exchange::{Block, Source};

fn decode(value: &Value) -> Exchange {
    decode_request(value.clone()).expect("a request")
}

/// The law: what came from this dialect is written as it was, and nothing is a loss.
fn returns(value: Value) {
    let exchange = decode(&value);
    let target = Target { model: exchange.model.clone(), output_limit: 64, ..Target::default() };
    let mut losses = Losses::default();
    let encoded = encode_request(&exchange, &target, &mut losses);
    assert_eq!(encoded.body, value);
    assert!(!encoded.schema_tool && losses.is_empty());
    // numbers are written as they were, too
    assert_eq!(encoded.body.to_string(), value.to_string());
}

fn with(member: Value) -> Value {
    let mut body = json!({"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    if let (Value::Object(body), Value::Object(member)) = (&mut body, member) {
        body.extend(member);
    }
    body
}

#[test]
fn a_conversation_with_everything_returns() {
    returns(json!({
        "model": "claude", "max_tokens": 4096, "stream": true, "betas": ["x"], "container": null,
        "system": [{"type": "text", "text": "You", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"type": "text", "text": ""}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "look", "citations": null},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}, "cache_control": null},
                {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                {"type": "image", "source": {"type": "file", "file_id": "f1"}},
                {"type": "image", "source": {"type": "url", "url": "https://x/y", "more": 1}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}, "title": "T", "context": "c"},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}, "title": null},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}, "citations": {"enabled": true}},
                {"type": "search_result", "source": "s", "title": "t", "content": []},
                "odd", 7, null, {"type": "text"}, {"no": "type"}
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "xx"},
                {"type": "thinking", "thinking": "unsigned"},
                {"type": "thinking", "thinking": "null", "signature": null},
                {"type": "text", "text": "I call"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"b": [1, 1.0, 1e30], "a": {"c": null}}},
                {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}, "cache_control": {"type": "ephemeral"}},
                {"type": "tool_use", "id": "toolu_3", "name": "g", "input": "odd", "caller": {"type": "direct"}},
                {"type": "tool_use", "id": "toolu_4", "name": "g"},
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "x"}, {"type": "image", "source": {"type": "url", "url": "u"}}], "is_error": false},
                {"type": "tool_result", "tool_use_id": "toolu_3", "is_error": true},
                {"type": "tool_result", "tool_use_id": "toolu_4", "content": null, "is_error": null},
                {"type": "tool_result", "tool_use_id": "toolu_5", "content": []},
                {"type": "tool_result", "tool_use_id": "toolu_6", "content": {"odd": 1}}
            ]},
            {"role": "system", "content": "late"},
            {"role": "developer", "content": "later"},
            {"role": "narrator", "content": []},
            {"role": "assistant", "content": "go on", "name": "x"},
            {"role": "user", "content": null},
            {"role": "user"}
        ],
        "tools": [
            {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": false, "cache_control": {"type": "ephemeral"}},
            {"type": "custom", "name": "g", "input_schema": null, "strict": null, "defer_loading": true},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            "odd"
        ],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": false},
        "stop_sequences": ["a", ""], "temperature": 1.0, "top_p": 0.5, "top_k": 40, "service_tier": "auto",
        "metadata": {"user_id": "u", "trace": 1}, "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "summarized"}
    }));
}

#[test]
fn each_way_to_write_a_member_returns() {
    for member in [
        json!({}),
        json!({"system": "text"}),
        json!({"system": ""}),
        json!({"system": []}),
        json!({"system": null}),
        json!({"system": 7}),
        json!({"tools": []}),
        json!({"tools": null}),
        json!({"tool_choice": {"type": "auto"}}),
        json!({"tool_choice": {"type": "any", "disable_parallel_tool_use": true}}),
        json!({"tool_choice": {"type": "none"}}),
        json!({"tool_choice": {"type": "tool"}}),
        json!({"tool_choice": {"type": "future", "name": "x"}}),
        json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": null}}),
        json!({"tool_choice": null}),
        json!({"tool_choice": {}}),
        json!({"thinking": {"type": "disabled"}}),
        json!({"thinking": {"type": "adaptive"}}),
        json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "high"}}),
        json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {}}}}),
        json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "low"}}),
        json!({"thinking": {"type": "enabled"}}),
        json!({"thinking": null, "output_config": {"effort": "max"}}),
        json!({"thinking": {}, "output_config": {}}),
        json!({"output_config": {"effort": 7, "more": 1}}),
        json!({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}, "name": "n", "strict": true, "more": null}}}),
        json!({"output_config": {"format": {"type": "future"}, "effort": "low"}}),
        json!({"output_format": {"type": "json_schema", "schema": {"type": "object"}}}),
        json!({"output_format": {"type": "json_schema", "schema": {"a": 1}, "more": 1}, "output_config": {"effort": "low"}}),
        json!({"output_format": {}}),
        json!({"output_format": {}, "output_config": {"format": {"type": "json_schema", "schema": {}}}}),
        json!({"output_format": null}),
        json!({"metadata": {}}),
        json!({"metadata": {"user_id": null}}),
        json!({"metadata": {"user_id": "u"}}),
        json!({"metadata": null}),
        json!({"stop_sequences": []}),
        json!({"stop_sequences": ["a", 1]}),
        json!({"stop_sequences": null}),
        json!({"temperature": 1}),
        json!({"temperature": 0.0}),
        json!({"temperature": -0.0}),
        json!({"temperature": 0.7}),
        json!({"temperature": null}),
        json!({"temperature": 18_446_744_073_709_551_615_u64}),
        json!({"top_p": 1.0, "top_k": 3.5}),
        json!({"stream": null, "service_tier": 7, "max_tokens": 1.5}),
        json!({"max_tokens": null}),
        json!({"messages": []}),
        json!({"messages": [{"role": "system", "content": "first"}, {"role": "user", "content": []}]}),
        json!({"messages": [{"role": "system", "content": "first"}], "system": "before"}),
        json!({"messages": [{"role": "system", "content": "first"}], "system": null}),
        json!({"mcp_servers": [{"url": "u"}], "context_management": {"edits": []}}),
    ] {
        returns(with(member));
    }
    // a count of tokens has no limit
    returns(json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}));
}

#[test]
fn members_have_their_names() {
    let exchange = decode(&with(json!({
        "system": "S", "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true}, "stop_sequences": ["x"], "temperature": 0.5, "top_p": 0.9, "top_k": 4,
        "metadata": {"user_id": "u"}, "service_tier": "auto", "stream": true, "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}}
    })));
    assert_eq!((exchange.from, exchange.model.as_str(), exchange.output_limit), (Dialect::Anthropic, "claude", Some(9)));
    assert_eq!(
        exchange.turns[0],
        Turn { role: Role::System, blocks: vec![Block::Text("S".into()).into()], form: Form::Text, rest: Fields::new() }
    );
    assert_eq!((exchange.turns.len(), exchange.turns[1].role), (2, Role::User));
    assert!(matches!(&exchange.tools[..], [Tool::Function { name, schema: Some(_), .. }, Tool::Opaque(_)] if name == "f"));
    assert_eq!((exchange.tool_choice, exchange.parallel_tools), (Some(ToolChoice::Required), Some(false)));
    assert_eq!((exchange.stop, exchange.stream, exchange.user.as_deref()), (vec!["x".to_owned()], Some(true), Some("u")));
    assert_eq!((exchange.sampling.temperature, exchange.sampling.top_p, exchange.sampling.top_k), (Some(0.5), Some(0.9), Some(4)));
    assert_eq!((exchange.service_tier.as_deref(), exchange.reasoning), (Some("auto"), Some(Reasoning::Budget(2000))));
    assert!(matches!(exchange.shape, Some(Shape::Schema { name: None, schema, strict: None, .. }) if schema == json!({"a": 1})));
    assert_eq!(exchange.rest, Fields::new());
}

#[test]
fn reasoning_is_read_in_each_way() {
    let reasoning = |member| decode(&with(member)).reasoning;
    assert_eq!(reasoning(json!({"thinking": {"type": "disabled"}})), Some(Reasoning::Off));
    assert_eq!(reasoning(json!({"thinking": {"type": "adaptive"}})), Some(Reasoning::Adaptive(None)));
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}});
    assert_eq!(reasoning(adaptive), Some(Reasoning::Adaptive(Some("low".into()))));
    assert_eq!(reasoning(json!({"output_config": {"effort": "max"}})), Some(Reasoning::Effort("max".into())));
}

#[test]
fn blocks_have_their_kinds_and_unknown_ones_stay_whole() {
    let raw = json!({"type": "container_upload", "file_id": "f", "cache_control": {"type": "ephemeral"}});
    let exchange = decode(&with(json!({"messages": [{"role": "user", "content": [
        {"type": "document", "source": {"type": "url", "url": "u"}, "title": "T", "cache_control": {"type": "ephemeral"}, "context": "c"},
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}], "is_error": true},
        raw,
    ]}]})));
    let [document, result, opaque] = &exchange.turns[0].blocks[..] else { panic!("three blocks") };
    assert_eq!(document.block, Block::Document { source: Source::Url("u".into()), title: Some("T".into()) });
    assert_eq!((document.cache.clone(), document.rest.get("context")), (Some(json!({"type": "ephemeral"})), Some(&json!("c"))));
    let blocks = vec![Block::Text("x".into()).into()];
    assert_eq!(result.block, Block::ToolResult { id: "t".into(), blocks, form: Form::List, is_error: Some(true) });
    assert_eq!(opaque, &Block::Opaque(raw).into());
}

#[test]
fn mistakes_name_what_is_wrong() {
    for (body, param) in [
        (json!([]), "body"),
        (json!({"messages": []}), "model"),
        (json!({"model": 1, "messages": []}), "model"),
        (json!({"model": "m"}), "messages"),
        (json!({"model": "m", "messages": {}}), "messages"),
        (json!({"model": "m", "messages": [{"role": "user"}, 1]}), "messages[1]"),
        (json!({"model": "m", "messages": [{"content": "x"}]}), "messages[0].role"),
        (json!({"model": "m", "messages": [{"role": 1}]}), "messages[0].role"),
        (json!({"model": "m", "messages": [{"role": "user", "content": 1}]}), "messages[0].content"),
        (json!({"model": "m", "messages": [], "tools": "f"}), "tools"),
    ] {
        assert_eq!(decode_request(body).expect_err(param).param.as_deref(), Some(param));
    }
}

#[test]
fn the_name_of_the_model_is_the_targets() {
    let target = Target { model: "other".to_owned(), ..Target::default() };
    let encoded = encode_request(&decode(&with(json!({}))), &target, &mut Losses::default());
    assert_eq!(encoded.body["model"], "other");
}
