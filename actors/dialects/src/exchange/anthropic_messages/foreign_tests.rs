use super::*;
use crate::Dialect;
use crate::exchange::{Reasoning, Sampling, Written};

fn exchange(turns: Vec<Turn>) -> Exchange {
    Exchange {
        from: Dialect::OpenAi,
        model: "gpt".to_owned(),
        turns,
        tools: Vec::new(),
        tool_choice: None,
        parallel_tools: None,
        shape: None,
        reasoning: None,
        output_limit: None,
        sampling: Sampling::default(),
        stop: Vec::new(),
        choices: None,
        stream: None,
        user: None,
        service_tier: None,
        rest: Fields::new(),
        written: Written::default(),
    }
}

fn turn(role: Role, blocks: impl IntoIterator<Item = Block>) -> Turn {
    Turn { role, blocks: blocks.into_iter().map(Node::from).collect(), form: Form::List, rest: Fields::new() }
}

fn text(text: &str) -> Block {
    Block::Text(text.to_owned())
}

fn tool_use(id: &str, arguments: &str) -> Block {
    Block::ToolUse { id: id.to_owned(), name: "f".to_owned(), arguments: arguments.to_owned() }
}

fn tool_result(id: &str, blocks: impl IntoIterator<Item = Block>) -> Block {
    Block::ToolResult { id: id.to_owned(), blocks: blocks.into_iter().map(Node::from).collect(), form: Form::Text, is_error: None }
}

fn function(name: &str) -> Tool {
    Tool::Function { name: name.to_owned(), description: None, schema: None, strict: None, cache: None, rest: Fields::new() }
}

fn target() -> Target {
    Target { model: "claude".to_owned(), output_limit: 64_000, ..Target::default() }
}

/// What is written for a target, whether by the schema's tool, and what is lost.
fn encode_for(exchange: &Exchange, target: &Target) -> (Value, bool, Vec<(LossKind, String)>) {
    let mut losses = Losses::default();
    let encoded = encode(exchange, target, &mut losses);
    (encoded.body, encoded.schema_tool, losses.iter().map(|loss| (loss.kind, loss.path.clone())).collect())
}

fn sent(exchange: &Exchange) -> (Value, Vec<(LossKind, String)>) {
    let (body, _, losses) = encode_for(exchange, &target());
    (body, losses)
}

fn hello() -> Exchange {
    exchange(vec![turn(Role::User, [text("hi")])])
}

fn lost(kind: LossKind, path: &str) -> Vec<(LossKind, String)> {
    vec![(kind, path.to_owned())]
}

#[test]
fn the_least_request_has_a_limit() {
    let (body, losses) = sent(&hello());
    assert_eq!(body, json!({"model": "claude", "max_tokens": 64000, "messages": [{"role": "user", "content": "hi"}]}));
    assert_eq!(losses, []);
    let (body, _) = sent(&Exchange { output_limit: Some(7), ..hello() });
    assert_eq!(body["max_tokens"], 7);
}

#[test]
fn leading_instructions_are_the_system_prompt_and_late_ones_keep_their_place() {
    let user = || turn(Role::User, [text("hi")]);
    let (body, losses) = sent(&exchange(vec![turn(Role::System, [text("one")]), user()]));
    assert_eq!((&body["system"], losses), (&json!("one"), vec![]));

    let mut marked = Node::from(text("two"));
    marked.cache = Some(json!({"type": "ephemeral"}));
    let second = Turn { blocks: vec![marked], ..turn(Role::Developer, []) };
    let late = turn(Role::System, [text("late")]);
    let (body, losses) = sent(&exchange(vec![turn(Role::System, [text("one"), text("")]), second, user(), late, user()]));
    let wanted = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}]);
    assert_eq!(body["system"], wanted);
    let texts = ["hi", "late", "hi"].map(|text| json!({"type": "text", "text": text}));
    assert_eq!(body["messages"], json!([{"role": "user", "content": texts}]));
    assert_eq!(losses, lost(LossKind::Role, "messages[3]"));
}

#[test]
fn results_stand_first_directly_behind_their_uses() {
    let (body, losses) = sent(&exchange(vec![
        turn(Role::User, [text("go")]),
        turn(Role::Assistant, [text(""), tool_use("a", "{\"x\":1}"), tool_use("call.b", "")]),
        turn(Role::User, [text("wait")]),
        turn(Role::User, [tool_result("call.b", [text("B")])]),
        turn(Role::Assistant, [text("hm")]),
        turn(Role::User, [tool_result("a", [text("")])]),
        turn(Role::Assistant, [text("  ")]),
        turn(Role::User, [text("then")]),
    ]));
    let b = tool_id("call.b");
    let wanted = json!([
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": b, "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": b, "content": "B"}, {"type": "tool_result", "tool_use_id": "a"}, {"type": "text", "text": "wait"}]},
        {"role": "assistant", "content": "hm"},
        {"role": "user", "content": "then"},
    ]);
    assert_eq!((&body["messages"], losses), (&wanted, vec![]));
}

#[test]
fn an_id_that_is_used_again_has_its_results_each() {
    let use_and_result = || [turn(Role::Assistant, [tool_use("call_0", "{}")]), turn(Role::User, [tool_result("call_0", [text("r")])])];
    let turns = [turn(Role::User, [text("go")])].into_iter().chain(use_and_result()).chain(use_and_result()).collect();
    let (body, _) = sent(&exchange(turns));
    let kinds: Vec<&Value> =
        body["messages"].as_array().expect("a list").iter().skip(1).map(|message| &message["content"][0]["type"]).collect();
    assert_eq!(kinds, ["tool_use", "tool_result", "tool_use", "tool_result"]);
}

#[test]
fn equal_roles_are_merged_and_nothing_is_invented() {
    let (body, _) = sent(&exchange(vec![turn(Role::Assistant, [text("a")]), turn(Role::Assistant, [Block::Refusal("no".to_owned())])]));
    let texts = ["a", "no"].map(|text| json!({"type": "text", "text": text}));
    assert_eq!(body["messages"], json!([{"role": "assistant", "content": texts}]));
    assert_eq!(sent(&exchange(vec![])).0["messages"], json!([]));
}

#[test]
fn arguments_that_are_no_object_are_kept_as_text() {
    for odd in ["{\"x\":", "[1]", "7", "\"{}\""] {
        let (body, losses) = sent(&exchange(vec![turn(Role::Assistant, [tool_use("a", odd)])]));
        assert_eq!(body["messages"][0]["content"][0]["input"], json!({"arguments": odd}));
        assert_eq!(losses, lost(LossKind::Arguments, "messages[0].content[0]"));
    }
    let (body, losses) = sent(&exchange(vec![turn(Role::Assistant, [tool_use("a", "{\"arguments\": 1}")])]));
    assert_eq!((&body["messages"][0]["content"][0]["input"], losses), (&json!({"arguments": 1}), vec![]));
}

#[test]
fn media_are_sent_or_lost() {
    let base64 = || Source::Base64 { media_type: "image/png".to_owned(), data: "AA".to_owned() };
    let image = |source, detail: Option<&str>| Block::Image { source, detail: detail.map(str::to_owned) };
    let document = |source| Block::Document { source, title: Some("T".to_owned()) };
    let (body, losses) = sent(&exchange(vec![turn(
        Role::User,
        [
            image(Source::Url("u".to_owned()), Some("auto")),
            image(base64(), Some("high")),
            image(Source::File("f".to_owned()), None),
            document(Source::Text("t".to_owned())),
            document(Source::File("f".to_owned())),
            Block::Audio { data: "AA".to_owned(), format: "wav".to_owned() },
            Block::Opaque(json!({"type": "x"})),
            tool_result("a", [text("x"), image(base64(), None)]),
        ],
    )]));
    let png = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}});
    let wanted = json!([
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}, png]},
        {"type": "image", "source": {"type": "url", "url": "u"}},
        png,
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}, "title": "T"},
    ]);
    assert_eq!(body["messages"][0]["content"], wanted);
    let path = |at: usize| format!("messages[0].content[{at}]");
    let wanted = [
        (LossKind::Unknown, format!("{}.detail", path(1))),
        (LossKind::Image, path(2)),
        (LossKind::Document, path(4)),
        (LossKind::Audio, path(5)),
        (LossKind::Content, path(6)),
    ];
    assert_eq!(losses, wanted);
}

#[test]
fn thinking_goes_only_with_its_signature() {
    let thinking = |signature: Option<&str>| Block::Thinking { text: "hm".to_owned(), signature: signature.map(str::to_owned) };
    let mut marked = Node::from(thinking(Some("s")));
    marked.cache = Some(json!({}));
    let mut said = turn(Role::Assistant, [thinking(None), Block::Redacted("r".to_owned()), text("x")]);
    said.blocks.insert(1, marked);
    let (body, losses) = sent(&exchange(vec![said]));
    let wanted = json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "r"}, {"type": "text", "text": "x"}]);
    assert_eq!(body["messages"][0]["content"], wanted);
    let wanted =
        [(LossKind::Thinking, "messages[0].content[0]".to_owned()), (LossKind::Cache, "messages[0].content[1].cache_control".to_owned())];
    assert_eq!(losses, wanted);
}

#[test]
fn tools_and_their_choice() {
    let full = Tool::Function {
        name: "g".to_owned(),
        description: Some("d".to_owned()),
        schema: Some(json!({"properties": {"a": {}}})),
        strict: Some(true),
        cache: Some(json!({"type": "ephemeral"})),
        rest: Fields::from_iter([("x".to_owned(), json!(1)), ("\0hint".to_owned(), json!(1))]),
    };
    let loose =
        Tool::Function { name: "h".to_owned(), description: None, schema: None, strict: Some(false), cache: None, rest: Fields::new() };
    let tools = vec![function("f"), full, loose, Tool::Opaque(json!({"type": "web_search"}))];
    let (body, losses) = sent(&Exchange { tools, tool_choice: Some(ToolChoice::Required), parallel_tools: Some(true), ..hello() });
    let nothing = json!({"type": "object", "properties": {}});
    let wanted = json!([
        {"name": "f", "input_schema": nothing},
        {"name": "g", "description": "d", "input_schema": {"type": "object", "properties": {"a": {}}}, "strict": true, "cache_control": {"type": "ephemeral"}},
        {"name": "h", "input_schema": nothing},
    ]);
    assert_eq!((&body["tools"], &body["tool_choice"]), (&wanted, &json!({"type": "any"})));
    assert_eq!(losses, [(LossKind::Unknown, "tools[1].x".to_owned()), (LossKind::Tools, "tools[3]".to_owned())]);

    let chosen = |tool_choice, parallel_tools| {
        sent(&Exchange { tools: vec![function("f")], tool_choice, parallel_tools, ..hello() }).0["tool_choice"].clone()
    };
    assert_eq!(chosen(None, None), Value::Null);
    assert_eq!(chosen(None, Some(false)), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(chosen(Some(ToolChoice::None), Some(false)), json!({"type": "none"}));
    assert_eq!(chosen(Some(ToolChoice::Tool("f".to_owned())), None), json!({"type": "tool", "name": "f"}));
    let (body, _) = sent(&Exchange { tool_choice: Some(ToolChoice::Required), parallel_tools: Some(false), ..hello() });
    assert_eq!(body.get("tool_choice"), None);
}

fn closed() -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": {"minimum": {"type": "string", "enum": [{"not": 1}]}}})
}

fn schema() -> Option<Shape> {
    Some(Shape::Schema { name: Some("n".to_owned()), schema: closed(), strict: Some(true), rest: Fields::new() })
}

#[test]
fn a_shape_is_asked_for_natively_or_by_a_tool() {
    let native = Target { native_schema: true, ..target() };
    let tools = || vec![function("f")];
    let (body, by_tool, losses) = encode_for(&Exchange { shape: schema(), tools: tools(), ..hello() }, &native);
    assert_eq!(body["output_config"], json!({"format": {"type": "json_schema", "schema": closed()}}));
    assert!(!by_tool && losses.is_empty());

    for (shape, target, wanted) in [(schema(), target(), closed()), (Some(Shape::Json), native, json!({"type": "object"}))] {
        let (body, by_tool, losses) = encode_for(&Exchange { shape: shape.clone(), ..hello() }, &target);
        assert_eq!((&body["tools"][0]["name"], &body["tools"][0]["input_schema"]), (&json!(SCHEMA_TOOL), &wanted));
        assert_eq!(body["tool_choice"], json!({"type": "tool", "name": SCHEMA_TOOL, "disable_parallel_tool_use": true}));
        assert!(by_tool && losses.is_empty());

        let (body, by_tool, losses) = encode_for(&Exchange { shape, tools: tools(), ..hello() }, &target);
        assert_eq!((body["tools"].as_array().map(Vec::len), by_tool), (Some(1), false));
        assert_eq!(losses, lost(LossKind::Schema, "response_format"));
    }
}

/// What the provider would refuse as a schema of its own goes the other way.
#[test]
fn a_schema_that_is_not_taken_as_it_stands_is_asked_for_by_a_tool() {
    let native = Target { native_schema: true, ..target() };
    let field = |name: &str, value: Value| json!({"type": "object", "additionalProperties": false, "properties": {name: value}});
    for schema in [
        json!({"type": "object"}),
        json!({"type": ["object", "null"], "properties": {}}),
        field("n", json!({"type": "integer", "minimum": 1})),
        field("list", json!({"type": "array", "items": {"type": "object"}})),
        json!({"type": "object", "additionalProperties": false, "$defs": {"a": {"type": "string", "minLength": 1}}}),
        json!({"anyOf": [field("a", json!({"type": "array", "maxItems": 3}))]}),
    ] {
        let shape = Shape::Schema { name: None, schema: schema.clone(), strict: Some(true), rest: Fields::new() };
        let (body, by_tool, _) = encode_for(&Exchange { shape: Some(shape), ..hello() }, &native);
        assert!(by_tool && body.get("output_config").is_none(), "{schema}");
    }
}

fn thinking(exchange: &Exchange, target: &Target) -> (Value, Value, Vec<(LossKind, String)>) {
    let (body, _, losses) = encode_for(exchange, target);
    (body["thinking"].clone(), body["max_tokens"].clone(), losses)
}

fn thoughtful(word: &str) -> Exchange {
    Exchange { reasoning: Some(Reasoning::Effort(word.to_owned())), ..hello() }
}

fn enabled(budget: u64) -> Value {
    json!({"type": "enabled", "budget_tokens": budget})
}

#[test]
fn effort_becomes_a_budget() {
    for (word, budget) in [("minimal", 2_048), ("low", 2_048), ("medium", 8_192), ("high", 16_384), ("xhigh", 32_768)] {
        assert_eq!(thinking(&thoughtful(word), &target()), (enabled(budget), json!(64_000), vec![]), "{word}");
    }
    assert_eq!(thinking(&thoughtful("none"), &target()), (Value::Null, json!(64_000), vec![]));
    assert_eq!(thinking(&Exchange { reasoning: Some(Reasoning::Off), ..hello() }, &target()), (Value::Null, json!(64_000), vec![]));
    assert_eq!(thinking(&Exchange { reasoning: Some(Reasoning::Budget(5)), ..hello() }, &target()).0, enabled(1_024));
}

#[test]
fn effort_stays_one_where_the_target_thinks_by_effort() {
    let target = Target { effort: true, native_schema: true, ..target() };
    let (body, _, losses) = encode_for(&Exchange { shape: schema(), ..thoughtful("minimal") }, &target);
    assert_eq!((&body["thinking"], &body["output_config"]["effort"]), (&json!({"type": "adaptive"}), &json!("low")));
    assert!(body["output_config"]["format"].is_object() && losses.is_empty());
    let (body, _, _) = encode_for(&Exchange { reasoning: Some(Reasoning::Adaptive(None)), ..hello() }, &target);
    assert_eq!((&body["thinking"], body.get("output_config")), (&json!({"type": "adaptive"}), None));
}

#[test]
fn a_budget_leaves_room_for_the_answer() {
    let small = Target { output_limit: 8_192, ..target() };
    assert_eq!(thinking(&thoughtful("high"), &small), (enabled(6_144), json!(8_192), vec![]));
    let short = |limit| Exchange { output_limit: Some(limit), ..thoughtful("high") };
    assert_eq!(thinking(&short(4_000), &target()), (enabled(3_000), json!(4_000), vec![]));
    assert_eq!(thinking(&short(1_000), &target()), (Value::Null, json!(1_000), lost(LossKind::Reasoning, "reasoning_effort")));
}

#[test]
fn thinking_is_off_where_it_would_be_refused() {
    let off = |exchange: Exchange| {
        let (body, _, losses) = encode_for(&exchange, &target());
        assert_eq!((body.get("thinking"), losses), (None, lost(LossKind::Reasoning, "reasoning_effort")));
    };
    off(Exchange { tools: vec![function("f")], tool_choice: Some(ToolChoice::Required), ..thoughtful("low") });
    off(Exchange { shape: schema(), ..thoughtful("low") });
    let called = |first: Vec<Block>| {
        let blocks = first.into_iter().chain([tool_use("a", "{}")]);
        let turns = vec![turn(Role::User, [text("go")]), turn(Role::Assistant, blocks), turn(Role::User, [tool_result("a", [text("x")])])];
        Exchange { turns, ..thoughtful("low") }
    };
    off(called(vec![text("hm")]));
    off(Exchange { turns: vec![turn(Role::Assistant, [text("The")])], ..thoughtful("low") });
    let thought = Block::Thinking { text: "hm".to_owned(), signature: Some("s".to_owned()) };
    assert_eq!(thinking(&called(vec![thought]), &target()).0, enabled(2_048));
    // after the caller has spoken again, it may begin
    let mut exchange = called(vec![]);
    exchange.turns.extend([turn(Role::Assistant, [text("done")]), turn(Role::User, [text("more")])]);
    assert_eq!(thinking(&exchange, &target()).0, enabled(2_048));
}

#[test]
fn sampling_is_kept_within_bounds() {
    let drawn = |sampling: Sampling, reasoning: Option<Reasoning>| sent(&Exchange { sampling, reasoning, ..hello() });
    let hot = Sampling { temperature: Some(1.5), top_p: Some(0.5), top_k: Some(5), ..Sampling::default() };
    let (body, losses) = drawn(hot.clone(), None);
    assert_eq!((&body["temperature"], &body["top_p"], &body["top_k"]), (&json!(1), &json!(0.5), &json!(5)));
    assert_eq!(losses, lost(LossKind::Sampling, "temperature"));

    let (body, losses) = drawn(hot, Some(Reasoning::Effort("low".to_owned())));
    assert_eq!((body.get("temperature"), body.get("top_p"), body.get("top_k")), (None, None, None));
    assert_eq!(losses, ["temperature", "top_p", "top_k"].map(|name| (LossKind::Sampling, name.to_owned())));

    let fine = Sampling { temperature: Some(1.0), top_p: Some(0.95), presence_penalty: Some(0.0), ..Sampling::default() };
    let (body, losses) = drawn(fine, Some(Reasoning::Effort("low".to_owned())));
    assert_eq!((&body["temperature"], &body["top_p"], losses), (&json!(1), &json!(0.95), vec![]));

    let (_, losses) =
        drawn(Sampling { seed: Some(1), presence_penalty: Some(0.1), frequency_penalty: Some(-1.0), ..Sampling::default() }, None);
    assert_eq!(losses, ["seed", "presence_penalty", "frequency_penalty"].map(|name| (LossKind::Sampling, name.to_owned())));
}

#[test]
fn words_for_the_provider() {
    let stop = vec!["a".to_owned(), "\n".to_owned()];
    let exchange = Exchange {
        stop,
        stream: Some(true),
        user: Some("u".to_owned()),
        choices: Some(2),
        service_tier: Some("default".to_owned()),
        ..hello()
    };
    let (body, losses) = sent(&exchange);
    assert_eq!((&body["stop_sequences"], &body["stream"]), (&json!(["a"]), &json!(true)));
    assert_eq!((&body["metadata"], &body["service_tier"]), (&json!({"user_id": "u"}), &json!("standard_only")));
    assert_eq!(losses, [(LossKind::Sampling, "stop".to_owned()), (LossKind::Choices, "n".to_owned())]);
    let (body, losses) = sent(&Exchange { service_tier: Some("flex".to_owned()), choices: Some(1), ..hello() });
    assert_eq!((body.get("service_tier"), losses), (None, lost(LossKind::Metadata, "service_tier")));
}

#[test]
fn the_rest_is_lost_by_its_kind() {
    let rest = |rest: Value| {
        let Value::Object(rest) = rest else { panic!("an object") };
        sent(&Exchange { rest, ..hello() }).1
    };
    let quiet = json!({
        "logprobs": false, "store": false, "n": 1, "stream_options": {"include_usage": true}, "modalities": ["text"], "audio": null,
        "logit_bias": {}, "functions": [], "\0hint": 1});
    assert_eq!(rest(quiet), []);
    for (name, value, kind) in [
        ("logprobs", json!(true), LossKind::Logprobs),
        ("top_logprobs", json!(2), LossKind::Logprobs),
        ("logit_bias", json!({"1": 2}), LossKind::Sampling),
        ("modalities", json!(["text", "audio"]), LossKind::Audio),
        ("audio", json!({"voice": "x"}), LossKind::Audio),
        ("metadata", json!({"a": "b"}), LossKind::Metadata),
        ("store", json!(true), LossKind::Metadata),
        ("prompt_cache_key", json!("k"), LossKind::Metadata),
        ("safety_identifier", json!("k"), LossKind::Metadata),
        ("functions", json!([{"name": "f"}]), LossKind::Tools),
        ("function_call", json!("auto"), LossKind::Tools),
        ("verbosity", json!("low"), LossKind::Unknown),
    ] {
        assert_eq!(rest(json!({ name: value })), lost(kind, name));
    }
    let named = Turn { rest: Fields::from_iter([("name".to_owned(), json!("Bo"))]), ..turn(Role::User, [text("x")]) };
    assert_eq!(sent(&exchange(vec![named])).1, lost(LossKind::Unknown, "messages[0].name"));
}
