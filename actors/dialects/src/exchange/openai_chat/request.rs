//! A request, in and out.

use super::{FIELD, REASONING, THINKING_BLOCKS, data_url, suit};
use crate::{
    Dialect, Invalid,
    exchange::{
        Block, Encoded, Exchange, Fields, Form, Node, Reasoning, Role, Sampling, Shape, Source, Target, Tool, ToolChoice, Turn, Written,
        foreign_thinking::{MADE_BY, MADE_BY_HINT},
        lose_rest,
        loss::{LossKind, Losses},
        put, says_nothing, take, take_if, take_text, tool_id, written,
    },
};
use serde_json::{Value, json};

/// A message that is kept as it is, for it has no form here.
const WHOLE: &str = "\0message";
/// What stands in a tool's `function` beside what has a name.
const FUNCTION: &str = "\0function";
/// A tool's use or a tool without `type`.
pub(super) const UNTYPED: &str = "\0untyped";
/// Arguments that are a value, not text.
const VALUE: &str = "\0arguments";
/// A call without arguments.
const NO_ARGUMENTS: &str = "\0no_arguments";
/// A call without an id.
const NO_ID: &str = "\0no_id";
/// The parts of which thinking consisted.
const PARTS: &str = "\0thinking";
/// Where the uses of tools stand.
pub(super) const CALLS: &str = "tool_calls";

/// Reads a request.
///
/// # Errors
/// `messages` are no list of objects.
pub fn decode_request(body: Value) -> Result<Exchange, Invalid> {
    let Value::Object(mut rest) = body else {
        return Err(Invalid { message: "The body has to be a JSON object.".to_owned(), param: None, code: "invalid_type" });
    };
    let model = take_text(&mut rest, "model").unwrap_or_default();
    let Some(Value::Array(messages)) = take(&mut rest, "messages") else { return Err(*Invalid::kind("messages", "an array")) };
    let turns = (0..).zip(messages).map(|(index, message): (usize, Value)| match message {
        Value::Object(message) => Ok(turn(message)),
        _ => Err(*Invalid::kind(&format!("messages[{index}]"), "an object")),
    });
    let turns = turns.collect::<Result<_, _>>()?;
    let old_limit = !rest.get("max_completion_tokens").is_some_and(Value::is_u64);
    let output_limit = take_if(&mut rest, if old_limit { "max_tokens" } else { "max_completion_tokens" }, Value::as_u64);
    let stop_alone = rest.get("stop").is_some_and(Value::is_string);
    Ok(Exchange {
        from: Dialect::OpenAi,
        model,
        turns,
        tools: take_if(&mut rest, "tools", |tools| tools.as_array().filter(|tools| !tools.is_empty()).cloned())
            .unwrap_or_default()
            .into_iter()
            .map(tool)
            .collect(),
        tool_choice: take_if(&mut rest, "tool_choice", tool_choice),
        parallel_tools: take_if(&mut rest, "parallel_tool_calls", Value::as_bool),
        shape: take_if(&mut rest, "response_format", shape),
        reasoning: take_text(&mut rest, "reasoning_effort").map(Reasoning::Effort),
        output_limit,
        sampling: Sampling {
            temperature: take_if(&mut rest, "temperature", Value::as_f64),
            top_p: take_if(&mut rest, "top_p", Value::as_f64),
            top_k: take_if(&mut rest, "top_k", Value::as_u64),
            seed: take_if(&mut rest, "seed", Value::as_i64),
            presence_penalty: take_if(&mut rest, "presence_penalty", Value::as_f64),
            frequency_penalty: take_if(&mut rest, "frequency_penalty", Value::as_f64),
        },
        stop: take_if(&mut rest, "stop", stop).unwrap_or_default(),
        choices: take_if(&mut rest, "n", Value::as_u64),
        stream: take_if(&mut rest, "stream", Value::as_bool),
        user: take_text(&mut rest, "user"),
        service_tier: take_text(&mut rest, "service_tier"),
        rest,
        written: Written { old_limit: old_limit && output_limit.is_some(), stop_alone },
    })
}

fn stop(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(list) if !list.is_empty() => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn tool_choice(value: &Value) -> Option<ToolChoice> {
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Some(ToolChoice::Auto),
            "none" => Some(ToolChoice::None),
            "required" => Some(ToolChoice::Required),
            _ => None,
        },
        Value::Object(fields) if fields.len() == 2 && fields.get("type")? == "function" => {
            let function = fields.get("function")?.as_object().filter(|function| function.len() == 1)?;
            Some(ToolChoice::Tool(function.get("name")?.as_str()?.to_owned()))
        }
        _ => None,
    }
}

fn shape(value: &Value) -> Option<Shape> {
    let fields = value.as_object()?;
    match (fields.get("type")?.as_str()?, fields.len()) {
        ("json_object", 1) => Some(Shape::Json),
        ("json_schema", 2) => {
            let mut rest = fields.get("json_schema")?.as_object()?.clone();
            let schema = take(&mut rest, "schema")?;
            let name = take_text(&mut rest, "name");
            Some(Shape::Schema { name, schema, strict: take_if(&mut rest, "strict", Value::as_bool), rest })
        }
        _ => None,
    }
}

fn tool(value: Value) -> Tool {
    let is_function = value.get("type").is_none_or(|kind| kind == "function");
    let Value::Object(mut rest) = value else { return Tool::Opaque(value) };
    let named = rest.get("function").and_then(|function| function.get("name")).is_some_and(Value::is_string);
    if !is_function || !named {
        return Tool::Opaque(Value::Object(rest));
    }
    let Some(Value::Object(mut function)) = take(&mut rest, "function") else { return Tool::Opaque(Value::Object(rest)) };
    if take(&mut rest, "type").is_none() {
        rest.insert(UNTYPED.to_owned(), Value::Bool(true));
    }
    let tool_name = take_text(&mut function, "name").unwrap_or_default();
    let description = take_text(&mut function, "description");
    let schema = take_if(&mut function, "parameters", |schema| schema.is_object().then(|| schema.clone()));
    let strict = take_if(&mut function, "strict", Value::as_bool);
    if !function.is_empty() {
        rest.insert(FUNCTION.to_owned(), Value::Object(function));
    }
    Tool::Function { name: tool_name, description, schema, strict, cache: take(&mut rest, "cache_control"), rest }
}

fn turn(mut rest: Fields) -> Turn {
    let role = match rest.get("role").and_then(Value::as_str) {
        Some("system") => Role::System,
        Some("developer") => Role::Developer,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("tool") if rest.get("tool_call_id").is_some_and(Value::is_string) => return tool_turn(rest),
        _ => return whole_turn(rest),
    };
    take(&mut rest, "role");
    let (content, form) = content(&mut rest);
    let mut blocks = if role == Role::Assistant { thinking(&mut rest) } else { Vec::new() };
    blocks.extend(content);
    if role == Role::Assistant {
        blocks.extend(take_text(&mut rest, "refusal").map(|text| beside(Block::Refusal(text), "refusal")));
        let calls = take_if(&mut rest, "tool_calls", |calls| calls.as_array().filter(|calls| !calls.is_empty()).cloned());
        blocks.extend((0..).zip(calls.unwrap_or_default()).map(|(index, call)| tool_use(call, index)));
    }
    Turn { role, blocks, form, rest }
}

fn tool_turn(mut rest: Fields) -> Turn {
    take(&mut rest, "role");
    let id = take_text(&mut rest, "tool_call_id").unwrap_or_default();
    let (blocks, form) = content(&mut rest);
    let result = Block::ToolResult { id, blocks, form, is_error: None };
    Turn { role: Role::User, blocks: vec![result.into()], form: Form::List, rest }
}

/// A message of a role that is not known.
fn whole_turn(message: Fields) -> Turn {
    let rest = Fields::from_iter([(WHOLE.to_owned(), Value::Bool(true))]);
    Turn { role: Role::User, blocks: vec![Block::Opaque(Value::Object(message)).into()], form: Form::List, rest }
}

/// Takes `content`: a text, a list of parts, null or nothing. What is none of these stays where it is.
pub(super) fn content(rest: &mut Fields) -> (Vec<Node>, Form) {
    match take(rest, "content") {
        None => (Vec::new(), Form::Absent),
        Some(Value::Null) => (Vec::new(), Form::Null),
        Some(Value::String(text)) => (vec![Block::Text(text).into()], Form::Text),
        Some(Value::Array(parts)) => (parts.into_iter().map(part).collect(), Form::List),
        Some(odd) => {
            rest.insert("content".to_owned(), odd);
            (Vec::new(), Form::Absent)
        }
    }
}

/// Takes what an assistant thought, by whatever name.
pub(super) fn thinking(rest: &mut Fields) -> Vec<Node> {
    let known = |block: &Value| match block.get("type").and_then(Value::as_str) {
        Some("thinking") => block.get("thinking").is_some_and(Value::is_string),
        Some("redacted_thinking") => block.get("data").is_some_and(Value::is_string),
        _ => false,
    };
    if let Some(Value::Array(blocks)) = take_if(rest, THINKING_BLOCKS, |value| {
        value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(known)).then(|| value.clone())
    }) {
        return blocks.into_iter().map(thinking_block).collect();
    }
    let named = [REASONING, "reasoning"].into_iter().find_map(|name| take_text(rest, name).map(|text| (name, text)));
    named.map(|(name, text)| thought(text, name)).into_iter().collect()
}

pub(super) fn thought(text: String, field: &str) -> Node {
    let mut node = Node::from(Block::Thinking { text, signature: None });
    node.rest.insert(FIELD.to_owned(), field.into());
    node
}

/// Members of a block of thinking that say nothing of it to another dialect: which one it is in a stream, and who made it.
const HINTS: [(&str, &str); 2] = [("index", "\0index"), (MADE_BY, MADE_BY_HINT)];

fn thinking_block(block: Value) -> Node {
    let Value::Object(mut rest) = block else { return Block::Opaque(block).into() };
    let redacted = take(&mut rest, "type").is_some_and(|kind| kind == "redacted_thinking");
    rest.insert(FIELD.to_owned(), THINKING_BLOCKS.into());
    for (name, hint) in HINTS {
        if let Some(value) = take(&mut rest, name) {
            rest.insert(hint.to_owned(), value);
        }
    }
    let mut text = |name: &str| take_text(&mut rest, name);
    let block = if redacted {
        Block::Redacted(text("data").unwrap_or_default())
    } else {
        Block::Thinking { text: text("thinking").unwrap_or_default(), signature: text("signature") }
    };
    Node { block, cache: None, rest }
}

/// A block that stood in a member of the message beside its content.
pub(super) fn beside(block: Block, field: &str) -> Node {
    let mut node = Node::from(block);
    node.rest.insert(FIELD.to_owned(), field.into());
    node
}

/// Reads a use of a tool; one without an id is called after its place.
pub(super) fn tool_use(call: Value, index: usize) -> Node {
    let named = call.get("function").and_then(|function| function.get("name")).is_some_and(Value::is_string);
    let is_function = call.get("type").is_none_or(|kind| kind == "function");
    let unknown = |call: Value| beside(Block::Opaque(call), CALLS);
    let Value::Object(mut rest) = call else { return unknown(call) };
    if !named || !is_function {
        return unknown(Value::Object(rest));
    }
    let Some(Value::Object(mut function)) = take(&mut rest, "function") else { return unknown(Value::Object(rest)) };
    if take(&mut rest, "type").is_none() {
        rest.insert(UNTYPED.to_owned(), Value::Bool(true));
    }
    let name = take_text(&mut function, "name").unwrap_or_default();
    let arguments = match take(&mut function, "arguments") {
        Some(Value::String(text)) => text,
        None => {
            rest.insert(NO_ARGUMENTS.to_owned(), Value::Bool(true));
            String::new()
        }
        Some(value) => {
            rest.insert(VALUE.to_owned(), Value::Bool(true));
            value.to_string()
        }
    };
    if !function.is_empty() {
        rest.insert(FUNCTION.to_owned(), Value::Object(function));
    }
    let id = take_text(&mut rest, "id").unwrap_or_else(|| {
        rest.insert(NO_ID.to_owned(), Value::Bool(true));
        format!("call_{index}")
    });
    Node { block: Block::ToolUse { id, name, arguments }, cache: None, rest }
}

/// Reads a part of content.
pub(super) fn part(value: Value) -> Node {
    let Value::Object(mut rest) = value else { return Block::Opaque(value).into() };
    let cache = take_if(&mut rest, "cache_control", |cache| (!cache.is_null()).then(|| cache.clone()));
    let kind = take_text(&mut rest, "type");
    let block = match kind.as_deref() {
        Some("text") => take_text(&mut rest, "text").map(Block::Text),
        Some("refusal") => take_text(&mut rest, "refusal").map(Block::Refusal),
        Some("image_url") => take_if(&mut rest, "image_url", image),
        Some("input_audio") => take_if(&mut rest, "input_audio", audio),
        Some("file") => take_if(&mut rest, "file", document),
        Some("thinking") => match rest.get("thinking").and_then(thinking_text) {
            Some(text) => {
                let raw = take(&mut rest, "thinking");
                put(&mut rest, PARTS, raw);
                rest.insert(FIELD.to_owned(), "content".into());
                Some(Block::Thinking { text, signature: None })
            }
            None => None,
        },
        _ => None,
    };
    match block {
        Some(block) => Node { block, cache, rest },
        None => {
            put(&mut rest, "type", kind);
            put(&mut rest, "cache_control", cache);
            Block::Opaque(Value::Object(rest)).into()
        }
    }
}

/// The text of Mistral's `thinking`: a list of texts.
pub(super) fn thinking_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => list.iter().map(|part| part.get("text").and_then(Value::as_str)).collect(),
        _ => None,
    }
}

fn image(value: &Value) -> Option<Block> {
    let fields = value.as_object()?;
    let detail = fields.get("detail").and_then(Value::as_str).map(str::to_owned);
    if fields.len() != 1 + usize::from(detail.is_some()) {
        return None;
    }
    let url = fields.get("url")?.as_str()?;
    Some(Block::Image { source: source(url), detail })
}

fn source(url: &str) -> Source {
    match data_url(url) {
        Some((media_type, data)) => Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() },
        None => Source::Url(url.to_owned()),
    }
}

fn audio(value: &Value) -> Option<Block> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    let text = |name: &str| fields.get(name)?.as_str().map(str::to_owned);
    Some(Block::Audio { data: text("data")?, format: text("format")? })
}

fn document(value: &Value) -> Option<Block> {
    let fields = value.as_object()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let title = text("filename").map(str::to_owned);
    if fields.len() != 1 + usize::from(title.is_some()) {
        return None;
    }
    let source = match (text("file_id"), text("file_data")) {
        (Some(id), None) => Source::File(id.to_owned()),
        (None, Some(data)) => {
            let (media_type, data) = data_url(data)?;
            Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        _ => return None,
    };
    Some(Block::Document { source, title })
}

/// Writes a request for a target of this dialect.
pub fn encode_request(exchange: &Exchange, target: &Target, losses: &mut Losses) -> Encoded {
    let own = exchange.from == Dialect::OpenAi;
    let mut body = Fields::new();
    body.insert("model".to_owned(), target.model.clone().into());
    body.insert("messages".to_owned(), Value::Array(messages(exchange, own, losses)));
    let tools: Vec<Value> = (0..).zip(&exchange.tools).filter_map(|(index, tool)| tool_value(tool, index, own, losses)).collect();
    let has_tools = !tools.is_empty();
    if has_tools || own && !exchange.tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if has_tools || own {
        put(&mut body, "tool_choice", exchange.tool_choice.as_ref().map(choice_value));
        put(&mut body, "parallel_tool_calls", exchange.parallel_tools.filter(|parallel| own || !parallel));
    }
    put(&mut body, "response_format", exchange.shape.as_ref().map(|shape| shape_value(shape, own)));
    put(&mut body, "reasoning_effort", exchange.reasoning.as_ref().and_then(effort));
    let limit = if exchange.written.old_limit || !own && target.old_limit { "max_tokens" } else { "max_completion_tokens" };
    put(&mut body, limit, exchange.output_limit);
    sampling(&exchange.sampling, own, &mut body, losses);
    if !exchange.stop.is_empty() {
        const STOPS_MAX: usize = 4;
        if !own && exchange.stop.len() > STOPS_MAX {
            losses.lose(LossKind::Sampling, "stop_sequences");
        }
        let stops = exchange.stop.iter().take(if own { usize::MAX } else { STOPS_MAX });
        let alone = exchange.stop.first().filter(|_| exchange.written.stop_alone && exchange.stop.len() == 1);
        body.insert("stop".to_owned(), alone.map_or_else(|| stops.cloned().collect::<Vec<_>>().into(), |one| one.clone().into()));
    }
    put(&mut body, "n", exchange.choices);
    put(&mut body, "stream", exchange.stream);
    put(&mut body, "user", exchange.user.as_deref().and_then(|user| if own { Some(user) } else { suit::user(user, losses) }));
    put(&mut body, "service_tier", exchange.service_tier.as_deref().and_then(|tier| tier_word(tier, own, losses)));
    if own {
        body.extend(plain(&exchange.rest));
    } else {
        lose_foreign(&exchange.rest, losses);
    }
    let schema_tool = !own && target.no_schema && suit::force_schema(&mut body, exchange, losses);
    if !own {
        suit::suit(&mut body, target);
    }
    Encoded { body: Value::Object(body), schema_tool }
}

/// Reports what another dialect has and this one has not.
fn lose_foreign(rest: &Fields, losses: &mut Losses) {
    let mut rest = rest.clone();
    if let Some(Value::Object(config)) = take(&mut rest, "output_config") {
        let kind = |name: &str| match name {
            "effort" => LossKind::Reasoning,
            "format" => LossKind::Schema,
            _ => LossKind::Unknown,
        };
        lose_rest(&config, "output_config", losses, kind);
    }
    lose_rest(&rest, "", losses, foreign);
}

/// What kind of loss a field of another dialect is.
fn foreign(name: &str) -> LossKind {
    match name {
        "metadata" | "container" | "inference_geo" => LossKind::Metadata,
        "mcp_servers" | "tools" | "tool_choice" => LossKind::Tools,
        "cache_control" => LossKind::Cache,
        "thinking" => LossKind::Reasoning,
        "output_config" | "output_format" => LossKind::Schema,
        _ => LossKind::Unknown,
    }
}

fn tier_word(tier: &str, own: bool, losses: &mut Losses) -> Option<String> {
    match tier {
        _ if own => Some(tier.to_owned()),
        "auto" => Some("auto".to_owned()),
        "standard_only" => Some("default".to_owned()),
        _ => {
            losses.lose(LossKind::Metadata, "service_tier");
            None
        }
    }
}

fn sampling(sampling: &Sampling, own: bool, body: &mut Fields, losses: &mut Losses) {
    put(body, "temperature", sampling.temperature);
    put(body, "top_p", sampling.top_p);
    match sampling.top_k {
        Some(_) if !own => losses.lose(LossKind::Sampling, "top_k"),
        top_k => put(body, "top_k", top_k),
    }
    put(body, "seed", sampling.seed);
    put(body, "presence_penalty", sampling.presence_penalty);
    put(body, "frequency_penalty", sampling.frequency_penalty);
}

/// The word for so many tokens: the bounds are the middle of what the other direction makes of the words.
fn effort(reasoning: &Reasoning) -> Option<String> {
    let word = match reasoning {
        Reasoning::Off => return None,
        Reasoning::Effort(word) => word,
        Reasoning::Adaptive(word) => word.as_deref()?,
        Reasoning::Budget(..4_096) => "low",
        Reasoning::Budget(..12_288) => "medium",
        Reasoning::Budget(_) => "high",
    };
    Some(if word == "max" { "high".to_owned() } else { word.to_owned() })
}

pub(super) fn choice_value(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Tool(name) => json!({"type": "function", "function": {"name": name}}),
    }
}

fn shape_value(shape: &Shape, own: bool) -> Value {
    match shape {
        Shape::Json => json!({"type": "json_object"}),
        Shape::Schema { name, schema, strict, rest } => {
            let mut inner = rest.clone();
            // a name must be there, and other dialects have none; their schemas are always strict
            put(&mut inner, "name", name.as_deref().or((!own).then_some("answer")));
            inner.insert("schema".to_owned(), schema.clone());
            put(&mut inner, "strict", strict.or((!own).then_some(true)));
            json!({"type": "json_schema", "json_schema": inner})
        }
    }
}

fn tool_value(tool: &Tool, index: usize, own: bool, losses: &mut Losses) -> Option<Value> {
    match tool {
        Tool::Opaque(raw) if own => Some(raw.clone()),
        Tool::Opaque(_) => {
            losses.lose(LossKind::Tools, format!("tools[{index}]"));
            None
        }
        Tool::Function { name, description, schema, strict, cache, rest } => {
            let mut function = match rest.get(FUNCTION) {
                Some(Value::Object(function)) if own => function.clone(),
                _ => Fields::new(),
            };
            function.insert("name".to_owned(), name.clone().into());
            put(&mut function, "description", description.clone());
            put(&mut function, "parameters", schema.clone());
            put(&mut function, "strict", *strict);
            let mut outer = Fields::new();
            if !(own && rest.contains_key(UNTYPED)) {
                outer.insert("type".to_owned(), "function".into());
            }
            outer.insert("function".to_owned(), Value::Object(function));
            if own {
                put(&mut outer, "cache_control", cache.clone());
                outer.extend(plain(rest));
            } else {
                let path = format!("tools[{index}]");
                lose_cache(cache.as_ref(), &path, losses);
                let said = rest.iter().filter(|(name, value)| !(*name == "type" && *value == "custom"));
                lose_rest(&said.map(|(name, value)| (name.clone(), value.clone())).collect(), &path, losses, |_| LossKind::Unknown);
            }
            Some(Value::Object(outer))
        }
    }
}

fn lose_cache(cache: Option<&Value>, path: &str, losses: &mut Losses) {
    if cache.is_some() {
        losses.lose(LossKind::Cache, format!("{path}.cache_control"));
    }
}

fn messages(exchange: &Exchange, own: bool, losses: &mut Losses) -> Vec<Value> {
    let mut messages = Vec::with_capacity(exchange.turns.len());
    let is_system = |turn: &Turn| !own && turn.role == Role::System;
    let before = usize::from(exchange.turns.first().is_some_and(is_system));
    for (index, turn) in exchange.turns.iter().enumerate() {
        let path = index.checked_sub(before).map_or_else(|| "system".to_owned(), |at| format!("messages[{at}]"));
        if !own {
            lose_rest(&turn.rest, &path, losses, |_| LossKind::Metadata);
        }
        turn_messages(turn, &path, own, losses, &mut messages);
    }
    messages
}

/// The messages that a turn is: one for each result of a tool, and one for the rest.
fn turn_messages(turn: &Turn, path: &str, own: bool, losses: &mut Losses, out: &mut Vec<Value>) {
    if own && turn.rest.contains_key(WHOLE) {
        return out
            .extend(turn.blocks.iter().filter_map(|node| if let Block::Opaque(raw) = &node.block { Some(raw.clone()) } else { None }));
    }
    let mut others: Vec<Node> = Vec::new();
    let results = turn.blocks.iter().filter(|node| matches!(node.block, Block::ToolResult { .. })).count();
    for node in &turn.blocks {
        let Block::ToolResult { id, blocks, form, is_error } = &node.block else { continue };
        let mut message = if own && results == turn.blocks.len() { plain(&turn.rest) } else { Fields::new() };
        message.insert("role".to_owned(), "tool".into());
        message.insert("tool_call_id".to_owned(), if own { id.clone() } else { tool_id(id) }.into());
        if !own {
            lose_cache(node.cache.as_ref(), path, losses);
            lose_rest(&node.rest, path, losses, |_| LossKind::Unknown);
        }
        // tools answer in text: what else they give follows in a message of the user
        let (texts, media): (Vec<&Node>, Vec<&Node>) =
            blocks.iter().partition(|node| own || matches!(node.block, Block::Text(_) | Block::Opaque(_)));
        others.extend(media.into_iter().cloned());
        let texts: Vec<Node> = texts.into_iter().cloned().collect();
        let error = is_error.unwrap_or(false) && !own;
        put_content(&mut message, &texts, if own { *form } else { Form::Text }, path, own, losses);
        if error && let Some(Value::String(text)) = message.get_mut("content") {
            *text = format!("Error: {text}");
        }
        // content that is none, or that is neither text nor list, comes back from the form and `rest`
        if !own {
            message.entry("content").or_insert_with(|| "".into());
        } else if *form != Form::Absent {
            message.entry("content").or_insert(Value::Null);
        }
        out.push(Value::Object(message));
    }
    others.extend(turn.blocks.iter().filter(|node| !matches!(node.block, Block::ToolResult { .. })).cloned());
    if results > 0 && others.is_empty() {
        return;
    }
    let mut message = if own { plain(&turn.rest) } else { Fields::new() };
    let role = match turn.role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    message.insert("role".to_owned(), role.into());
    if turn.role == Role::Assistant {
        others = assistant(&mut message, others, path, own, losses);
    }
    let form = if results > 0 { Form::List } else { turn.form };
    put_content(&mut message, &others, form, path, own, losses);
    if !own && turn.role == Role::Assistant && !message.contains_key("content") {
        message.insert("content".to_owned(), Value::Null);
    }
    if own || !says_nothing(message.get("content").unwrap_or(&Value::Null)) || message.contains_key("tool_calls") {
        out.push(Value::Object(message));
    }
}

fn plain(rest: &Fields) -> Fields {
    written(rest).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Puts what an assistant's message has beside its content; gives the blocks of the content.
fn assistant(message: &mut Fields, blocks: Vec<Node>, path: &str, own: bool, losses: &mut Losses) -> Vec<Node> {
    let (mut content, mut calls, mut signed) = (Vec::new(), Vec::new(), Vec::new());
    for node in blocks {
        let field = node.rest.get(FIELD).and_then(Value::as_str);
        match &node.block {
            Block::ToolUse { .. } => calls.push(call_value(&node, path, own, losses)),
            Block::Thinking { .. } | Block::Redacted(_) if !own => losses.lose(LossKind::Thinking, path),
            Block::Thinking { text, .. } if field.is_some_and(|field| field != THINKING_BLOCKS && field != "content") => {
                message.insert(field.unwrap_or(REASONING).to_owned(), text.clone().into());
            }
            Block::Thinking { .. } if field == Some("content") => content.push(node),
            Block::Thinking { .. } | Block::Redacted(_) => signed.push(thinking_value(&node)),
            // a call of a kind that is not known stands among the calls, and a part of that kind in the content
            Block::Opaque(raw) if own && field == Some(CALLS) => calls.push(raw.clone()),
            Block::Refusal(text) if own && field == Some("refusal") => drop(message.insert("refusal".to_owned(), text.clone().into())),
            _ => content.push(node),
        }
    }
    if !signed.is_empty() {
        message.insert(THINKING_BLOCKS.to_owned(), signed.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    content
}

/// A block of thinking with its signature.
pub(super) fn thinking_value(node: &Node) -> Value {
    let mut fields = plain(&node.rest);
    for (name, hint) in HINTS {
        put(&mut fields, name, node.rest.get(hint).cloned());
    }
    match &node.block {
        Block::Redacted(data) => {
            fields.insert("type".to_owned(), "redacted_thinking".into());
            fields.insert("data".to_owned(), data.clone().into());
        }
        Block::Thinking { text, signature } => {
            fields.insert("type".to_owned(), "thinking".into());
            fields.insert("thinking".to_owned(), text.clone().into());
            put(&mut fields, "signature", signature.clone());
        }
        _ => {}
    }
    Value::Object(fields)
}

/// A use of a tool, as it stands in `tool_calls`.
pub(super) fn call_value(node: &Node, path: &str, own: bool, losses: &mut Losses) -> Value {
    let Block::ToolUse { id, name, arguments } = &node.block else { return Value::Null };
    let mut function = match node.rest.get(FUNCTION) {
        Some(Value::Object(function)) if own => function.clone(),
        _ => Fields::new(),
    };
    function.insert("name".to_owned(), name.clone().into());
    let arguments: Value = match serde_json::from_str(arguments) {
        Ok(value) if own && node.rest.contains_key(VALUE) => value,
        _ if !own && arguments.is_empty() => "{}".into(),
        _ => arguments.clone().into(),
    };
    if !(own && node.rest.contains_key(NO_ARGUMENTS)) {
        function.insert("arguments".to_owned(), arguments);
    }
    let mut call = if own { plain(&node.rest) } else { Fields::new() };
    if !(own && node.rest.contains_key(NO_ID)) {
        call.insert("id".to_owned(), if own { id.clone() } else { tool_id(id) }.into());
    }
    if !(own && node.rest.contains_key(UNTYPED)) {
        call.insert("type".to_owned(), "function".into());
    }
    call.insert("function".to_owned(), Value::Object(function));
    if !own {
        lose_cache(node.cache.as_ref(), path, losses);
    }
    Value::Object(call)
}

fn put_content(message: &mut Fields, blocks: &[Node], form: Form, path: &str, own: bool, losses: &mut Losses) {
    match form {
        Form::Absent if blocks.is_empty() => return,
        Form::Null if blocks.is_empty() => drop(message.insert("content".to_owned(), Value::Null)),
        _ => {}
    }
    let texts: Option<Vec<&str>> = blocks
        .iter()
        .map(|node| match &node.block {
            Block::Text(text) if node.cache.is_none() || !own => Some(text.as_str()),
            _ => None,
        })
        .collect();
    if !own {
        blocks.iter().for_each(|node| lose_cache(node.cache.as_ref(), path, losses));
        blocks.iter().for_each(|node| lose_rest(&node.rest, path, losses, |_| LossKind::Unknown));
    }
    match (texts, form) {
        (Some(texts), Form::Text) => drop(message.insert("content".to_owned(), texts.join(if own { "" } else { "\n" }).into())),
        (Some(texts), _) if !own => {
            let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
            if texts.len() == 1 || message.get("role").is_some_and(|role| role == "assistant") && !texts.is_empty() {
                message.insert("content".to_owned(), texts.join("\n").into());
            } else if !texts.is_empty() {
                message.insert(
                    "content".to_owned(),
                    texts.iter().map(|text| json!({"type": "text", "text": text})).collect::<Vec<_>>().into(),
                );
            }
        }
        _ if form == Form::Null && blocks.is_empty() => {}
        _ => {
            let parts: Vec<Value> = blocks.iter().filter_map(|node| part_value(node, path, own, losses)).collect();
            if own || !parts.is_empty() {
                message.insert("content".to_owned(), parts.into());
            }
        }
    }
}

/// A part of content.
pub(super) fn part_value(node: &Node, path: &str, own: bool, losses: &mut Losses) -> Option<Value> {
    let mut part = match &node.block {
        Block::Text(text) if !own && text.is_empty() => return None,
        Block::Text(text) => json!({"type": "text", "text": text}),
        Block::Refusal(text) => json!({"type": "refusal", "refusal": text}),
        Block::Image { source, detail } => {
            let mut image = Fields::from_iter([("url".to_owned(), url(source, LossKind::Image, path, losses)?.into())]);
            put(&mut image, "detail", detail.clone());
            json!({"type": "image_url", "image_url": image})
        }
        Block::Audio { data, format } => json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}),
        Block::Document { source: Source::Text(text), title } => {
            json!({"type": "text", "text": title.as_ref().map_or_else(|| text.clone(), |title| format!("{title}\n\n{text}"))})
        }
        Block::Document { source: Source::File(id), title } if own => {
            let mut file = Fields::from_iter([("file_id".to_owned(), id.clone().into())]);
            put(&mut file, "filename", title.clone());
            json!({"type": "file", "file": file})
        }
        // a document by its address: there is no such part here
        Block::Document { source: Source::Url(_) | Source::File(_), .. } => {
            losses.lose(LossKind::Document, path);
            return None;
        }
        Block::Document { source, title } => {
            let mut file = Fields::from_iter([("file_data".to_owned(), url(source, LossKind::Document, path, losses)?.into())]);
            put(&mut file, "filename", title.clone().or_else(|| (!own).then(|| "document.pdf".to_owned())));
            json!({"type": "file", "file": file})
        }
        Block::Thinking { text, .. } if own => {
            let raw = node.rest.get(PARTS).cloned().unwrap_or_else(|| json!([{"type": "text", "text": text}]));
            json!({"type": "thinking", "thinking": raw})
        }
        Block::Thinking { .. } | Block::Redacted(_) => {
            losses.lose(LossKind::Thinking, path);
            return None;
        }
        Block::Opaque(raw) if own => return Some(raw.clone()),
        Block::Opaque(_) | Block::ToolUse { .. } | Block::ToolResult { .. } => {
            losses.lose(LossKind::Content, path);
            return None;
        }
    };
    if own && let Value::Object(fields) = &mut part {
        put(fields, "cache_control", node.cache.clone());
        fields.extend(plain(&node.rest));
    }
    Some(part)
}

fn url(source: &Source, kind: LossKind, path: &str, losses: &mut Losses) -> Option<String> {
    match source {
        Source::Url(url) => Some(url.clone()),
        Source::Base64 { media_type, data } => Some(format!("data:{media_type};base64,{data}")),
        Source::File(_) | Source::Text(_) => {
            losses.lose(kind, path);
            None
        }
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
