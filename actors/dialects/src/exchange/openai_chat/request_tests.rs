use super::*;
use crate::exchange::SCHEMA_TOOL;

fn across(turns: Vec<Turn>, tools: bool) -> (Value, Losses) {
    let tool = Tool::Function { name: "f".into(), description: None, schema: None, strict: None, cache: None, rest: Fields::new() };
    let exchange = Exchange {
        from: Dialect::Anthropic,
        turns,
        tools: if tools { vec![tool] } else { Vec::new() },
        tool_choice: Some(ToolChoice::Required),
        ..decode_request(json!({"model": "m", "messages": []})).expect("a request")
    };
    let mut losses = Losses::default();
    let target = Target { model: "t".into(), ..Target::default() };
    (encode_request(&exchange, &target, &mut losses).body, losses)
}

fn turn_of(role: Role, blocks: Vec<Block>) -> Turn {
    Turn { role, blocks: blocks.into_iter().map(Node::from).collect(), form: Form::List, rest: Fields::new() }
}

fn same(body: Value) {
    let exchange = decode_request(body.clone()).expect("a request");
    let target = Target { model: exchange.model.clone(), ..Target::default() };
    let mut losses = Losses::default();
    assert_eq!(encode_request(&exchange, &target, &mut losses).body, body);
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn a_request_comes_back_as_it_was() {
    same(json!({"model": "m", "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "developer", "content": [{"type": "text", "text": "d", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "content": [
            {"type": "text", "text": "u"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x/y", "odd": 1}}, {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"}}, {"type": "file", "file": {"file_id": "f"}},
            {"type": "strange", "x": [1]}]},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.0}"}},
            {"type": "function", "function": {"name": "f", "arguments": {"x": 1}, "odd": true}}, {"id": "c", "type": "custom", "custom": {"name": "g"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "r"}, {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "r"}]},
        {"role": "assistant", "content": "t", "reasoning_content": "hm", "refusal": null},
        {"role": "assistant", "content": "t", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]},
        {"role": "assistant", "content": "", "refusal": "no"}, {"role": "function", "name": "f", "content": "x"}, {"role": "user"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": true, "odd": 1}}, {"type": "web_search"}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false, "temperature": 0.5, "stop": "x", "n": 2,
        "max_tokens": 7, "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}, "strict": true, "description": "d"}},
        "stream": true, "stream_options": {"include_usage": true}, "reasoning_effort": "low", "seed": -1, "logit_bias": {"1": 2}, "user": null}));
    same(
        json!({"model": "m", "messages": [], "stop": ["x", "y"], "max_completion_tokens": 7, "max_tokens": 9, "response_format": {"type": "text"}}),
    );
    same(
        json!({"model": "m", "messages": [{"role": "user", "content": 7}], "tools": [], "tool_choice": "required", "response_format": {"type": "json_object"}}),
    );
}

#[test]
fn what_is_no_list_of_messages_is_the_callers_mistake() {
    for wrong in [json!({"model": "m"}), json!({"messages": {}}), json!({"messages": [7]}), json!([])] {
        assert!(decode_request(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn each_result_is_a_message_and_what_else_the_user_says_follows() {
    let result = |id: &str, text: &str, is_error| Block::ToolResult {
        id: id.into(),
        blocks: vec![Block::Text(text.into()).into()],
        form: Form::Text,
        is_error,
    };
    let image = Block::Image { source: Source::Base64 { media_type: "image/png".into(), data: "AA".into() }, detail: None };
    let with_image = Block::ToolResult { id: "c".into(), blocks: vec![image.clone().into()], form: Form::List, is_error: None };
    let blocks = vec![result("a", "x", None), result("b:1", "y", Some(true)), with_image, Block::Text("and".into())];
    let (body, losses) = across(vec![turn_of(Role::User, blocks)], true);
    let messages = body["messages"].as_array().expect("a list");
    assert_eq!(messages[0], json!({"role": "tool", "tool_call_id": "a", "content": "x"}));
    assert_eq!(messages[1], json!({"role": "tool", "tool_call_id": tool_id("b:1"), "content": "Error: y"}));
    assert_eq!(messages[2], json!({"role": "tool", "tool_call_id": "c", "content": ""}));
    let said = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}, {"type": "text", "text": "and"}]);
    assert_eq!(messages[3], json!({"role": "user", "content": said}));
    assert!(losses.is_empty(), "{losses:?}");
}

#[test]
fn thinking_is_of_use_to_its_own_provider_only() {
    let thinking = Block::Thinking { text: "hm".into(), signature: Some("s".into()) };
    let (body, losses) = across(vec![turn_of(Role::Assistant, vec![thinking, Block::Text("a".into()), Block::Text(String::new())])], false);
    assert_eq!(body["messages"], json!([{"role": "assistant", "content": "a"}]));
    assert!(losses.iter().any(|loss| loss.kind == LossKind::Thinking));
    assert!(body.get("tool_choice").is_none(), "nothing is chosen where there are no tools");
}

#[test]
fn what_cannot_be_said_is_a_loss_of_its_kind() {
    let document = |source| Block::Document { source, title: None };
    let url = document(Source::Url("https://x/y.pdf".into()));
    let (body, losses) =
        across(vec![turn_of(Role::User, vec![url, document(Source::Text("text".into())), Block::Opaque(json!({"type": "x"}))])], false);
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"type": "text", "text": "text"}]}]));
    let kinds: Vec<LossKind> = losses.iter().map(|loss| loss.kind).collect();
    assert_eq!(kinds, [LossKind::Document, LossKind::Content]);
}

#[test]
fn budgets_become_efforts_and_back_the_same() {
    let words = [(2_048, "low"), (8_192, "medium"), (16_384, "high"), (60_000, "high")];
    words.iter().for_each(|(tokens, word)| assert_eq!(effort(&Reasoning::Budget(*tokens)).as_deref(), Some(*word)));
    assert_eq!(effort(&Reasoning::Off), None);
    assert_eq!(effort(&Reasoning::Adaptive(Some("max".into()))).as_deref(), Some("high"));
}

#[test]
fn a_provider_is_spoken_to_in_its_own_words() {
    let mistral = crate::providers::find(Dialect::OpenAi, "https://api.mistral.ai/v1").expect("known").quirks.clone();
    let use_of = |id: &str| Block::ToolUse { id: id.into(), name: "f".into(), arguments: "{}".into() };
    let result = |id: &str| Block::ToolResult { id: id.into(), blocks: Vec::new(), form: Form::Absent, is_error: None };
    let tool = Tool::Function { name: "f".into(), description: None, schema: None, strict: None, cache: None, rest: Fields::new() };
    let exchange = Exchange {
        from: Dialect::Anthropic,
        turns: vec![turn_of(Role::Assistant, vec![use_of("toolu_01abc")]), turn_of(Role::User, vec![result("toolu_01abc")])],
        tools: vec![tool],
        tool_choice: Some(ToolChoice::Required),
        sampling: Sampling { seed: Some(7), ..Sampling::default() },
        output_limit: Some(9),
        ..decode_request(json!({"model": "m", "messages": []})).expect("a request")
    };
    let target = Target {
        model: "mistral-small".into(),
        old_limit: mistral.old_limit,
        tool_id_bytes: mistral.tool_id_bytes,
        required_word: mistral.required_word,
        fields: mistral.fields,
        ..Target::default()
    };
    let body = encode_request(&exchange, &target, &mut Losses::default()).body;
    assert_eq!((&body["tool_choice"], &body["random_seed"], &body["max_tokens"]), (&json!("any"), &json!(7), &json!(9)));
    let id = body["messages"][0]["tool_calls"][0]["id"].as_str().expect("an id");
    assert!(id.len() == 9 && body["messages"][1]["tool_call_id"] == id, "{body}");
    assert!(!mistral.usage_option);
}

#[test]
fn a_schema_is_asked_for_by_a_tool_where_the_provider_takes_none() {
    let shape = Shape::Schema { name: None, schema: json!({"type": "object"}), strict: None, rest: Fields::new() };
    let exchange = Exchange { from: Dialect::Anthropic, shape: Some(shape), ..decode_request(json!({"messages": []})).expect("a request") };
    let target = Target { no_schema: true, ..Target::default() };
    let encoded = encode_request(&exchange, &target, &mut Losses::default());
    assert!(encoded.schema_tool && encoded.body.get("response_format").is_none());
    assert_eq!(encoded.body["tool_choice"]["function"]["name"], SCHEMA_TOOL);
}

#[test]
fn a_users_name_that_is_too_long_is_left_out_and_said_so() {
    let named = |name: &str| {
        let exchange =
            Exchange { from: Dialect::Anthropic, user: Some(name.into()), ..decode_request(json!({"messages": []})).expect("a request") };
        let mut losses = Losses::default();
        let body = encode_request(&exchange, &Target::default(), &mut losses).body;
        (body.get("user").cloned(), losses.is_empty())
    };
    assert_eq!(named("ann"), (Some(json!("ann")), true));
    assert_eq!(named(&"x".repeat(65)), (None, false));
}

#[test]
fn a_block_of_thinking_is_what_its_type_says_whatever_else_it_has() {
    let blocks = json!([{"type": "thinking", "thinking": "hm", "data": "d"}, {"type": "redacted_thinking", "thinking": "hm", "data": "d"}]);
    same(json!({"model": "m", "messages": [{"role": "assistant", "content": "t", "thinking_blocks": blocks}]}));
}
