//! Requests: read into an [`Exchange`], and written as they were if they came from this dialect.

use super::blocks::{object, plain, put_content, read, take_content, write};
use super::foreign;
use crate::exchange::loss::Losses;
use crate::exchange::{
    Block, Encoded, Exchange, Fields, Form, HINT, Reasoning, Role, Sampling, Shape, Target, Tool, ToolChoice, Turn, Written, put, take,
    take_if, take_text, written,
};
use crate::{Dialect, Invalid};
use serde_json::{Value, json};

/// Reads a request.
///
/// # Errors
/// A part that we need is not there or of a wrong type. What is merely unknown is kept.
pub fn decode_request(body: Value) -> Result<Exchange, Invalid> {
    let Value::Object(mut fields) = body else { return Err(Invalid::kind("body", "an object").into()) };
    let model = match fields.remove("model") {
        Some(Value::String(model)) => model,
        Some(_) => return Err(Invalid::kind("model", "a string").into()),
        None => return Err(Invalid::missing("model").into()),
    };
    let mut turns: Vec<Turn> = take_system(&mut fields).into_iter().collect();
    let has_system = !turns.is_empty();
    take_messages(&mut fields, has_system, &mut turns)?;
    let tools = take_tools(&mut fields)?;
    let (tool_choice, parallel_tools) = take_tool_choice(&mut fields);
    let reasoning = take_reasoning(&mut fields);
    let shape = take_shape(&mut fields);
    Ok(Exchange {
        from: Dialect::Anthropic,
        model,
        turns,
        tools,
        tool_choice,
        parallel_tools,
        shape,
        reasoning,
        output_limit: take_if(&mut fields, "max_tokens", Value::as_u64),
        sampling: Sampling {
            temperature: take_number(&mut fields, "temperature"),
            top_p: take_number(&mut fields, "top_p"),
            top_k: take_if(&mut fields, "top_k", Value::as_u64),
            ..Sampling::default()
        },
        stop: take_if(&mut fields, "stop_sequences", texts).unwrap_or_default(),
        choices: None,
        stream: take_if(&mut fields, "stream", Value::as_bool),
        user: inside(&mut fields, "metadata", |metadata| take_text(metadata, "user_id")),
        service_tier: take_text(&mut fields, "service_tier"),
        rest: fields,
        written: Written::default(),
    })
}

/// The older place of a shape.
const OUTPUT_FORMAT: &str = "output_format";
/// The hint of a turn that stands among the messages, though it could be taken for the system prompt.
const MESSAGE: &str = "\0message";

/// The name under which is kept how a member was written.
fn hint(name: &str) -> String {
    format!("{HINT}{name}")
}

/// A list of texts, and at least one.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list: Option<Vec<String>> = value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    list.filter(|list| !list.is_empty())
}

/// Takes a number. One that is whole and written with a fraction (`1.0`) leaves a hint: it is written the same way again.
fn take_number(fields: &mut Fields, name: &str) -> Option<f64> {
    let value = fields.get(name)?;
    let (number, fraction) = (value.as_f64()?, value.is_f64());
    if !fraction && whole(number).is_none() {
        // a whole number that a float cannot hold
        return None;
    }
    fields.remove(name);
    if fraction && whole(number).is_some() {
        fields.insert(hint(name), Value::Bool(true));
    }
    Some(number)
}

/// The number as an integer, if it is a whole one that both can hold.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT_MAX && !(number == 0.0 && number.is_sign_negative())).then_some(number as i64)
}

/// A number as JSON: whole ones without a fraction.
pub(super) fn number(number: f64) -> Value {
    whole(number).map_or_else(|| number.into(), Value::from)
}

/// Lets `take` take members out of the object `name`. If it takes the last one, the object goes too.
fn inside<T>(fields: &mut Fields, name: &str, take: impl FnOnce(&mut Fields) -> Option<T>) -> Option<T> {
    let Some(Value::Object(object)) = fields.get_mut(name) else { return None };
    let taken = take(object)?;
    if object.is_empty() {
        fields.remove(name);
    }
    Some(taken)
}

/// The system prompt is the first turn.
fn take_system(fields: &mut Fields) -> Option<Turn> {
    let turn = |blocks, form| Turn { role: Role::System, blocks, form, rest: Fields::new() };
    if !matches!(fields.get("system"), Some(Value::String(_) | Value::Array(_))) {
        return None;
    }
    match take(fields, "system")? {
        Value::String(text) => Some(turn(vec![Block::Text(text).into()], Form::Text)),
        Value::Array(list) => Some(turn(list.into_iter().map(read).collect(), Form::List)),
        _ => None,
    }
}

fn take_messages(fields: &mut Fields, has_system: bool, turns: &mut Vec<Turn>) -> Result<(), Invalid> {
    let messages = match fields.remove("messages") {
        Some(Value::Array(messages)) => messages,
        Some(_) => return Err(Invalid::kind("messages", "an array").into()),
        None => return Err(Invalid::missing("messages").into()),
    };
    for (at, message) in messages.into_iter().enumerate() {
        let mut turn = take_message(message, at)?;
        if at == 0 && turn.role == Role::System && !has_system {
            turn.rest.insert(MESSAGE.to_owned(), Value::Bool(true));
        }
        turns.push(turn);
    }
    Ok(())
}

fn take_message(message: Value, at: usize) -> Result<Turn, Invalid> {
    let path = |member: &str| format!("messages[{at}]{member}");
    let Value::Object(mut fields) = message else { return Err(Invalid::kind(&path(""), "an object").into()) };
    let role = match fields.get("role") {
        Some(Value::String(role)) => known_role(role),
        Some(_) => return Err(Invalid::kind(&path(".role"), "a string").into()),
        None => return Err(Invalid::missing(&path(".role")).into()),
    };
    if role.is_some() {
        fields.remove("role");
    }
    let Some((blocks, form)) = take_content(&mut fields) else {
        return Err(Invalid::kind(&path(".content"), "a string or an array").into());
    };
    // a role that nobody knows is no voice of authority
    Ok(Turn { role: role.unwrap_or(Role::User), blocks, form, rest: fields })
}

fn known_role(role: &str) -> Option<Role> {
    Some(match role {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => return None,
    })
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn take_tools(fields: &mut Fields) -> Result<Vec<Tool>, Invalid> {
    match fields.get("tools") {
        Some(Value::Array(list)) if !list.is_empty() => {}
        None | Some(Value::Null | Value::Array(_)) => return Ok(Vec::new()),
        Some(_) => return Err(Invalid::kind("tools", "an array").into()),
    }
    match fields.remove("tools") {
        Some(Value::Array(list)) => Ok(list.into_iter().map(tool).collect()),
        _ => Ok(Vec::new()),
    }
}

/// Tools without a type, or of the type `custom`, are functions of the caller.
fn tool(value: Value) -> Tool {
    let function = value.get("type").is_none_or(|kind| kind == "custom") && value.get("name").is_some_and(Value::is_string);
    match value {
        Value::Object(mut rest) if function => Tool::Function {
            name: take_text(&mut rest, "name").unwrap_or_default(),
            description: take_text(&mut rest, "description"),
            schema: take_if(&mut rest, "input_schema", |schema| (!schema.is_null()).then(|| schema.clone())),
            strict: take_if(&mut rest, "strict", Value::as_bool),
            cache: take_if(&mut rest, "cache_control", |cache| (!cache.is_null()).then(|| cache.clone())),
            rest,
        },
        other => Tool::Opaque(other),
    }
}

fn tool_value(tool: &Tool) -> Value {
    match tool {
        Tool::Function { name, description, schema, strict, cache, rest } => {
            let mut fields = rest.clone();
            put(&mut fields, "name", Some(name.as_str()));
            put(&mut fields, "description", description.as_deref());
            put(&mut fields, "input_schema", schema.clone());
            put(&mut fields, "strict", *strict);
            put(&mut fields, "cache_control", cache.clone());
            fields.into()
        }
        Tool::Opaque(value) => value.clone(),
    }
}

fn take_tool_choice(fields: &mut Fields) -> (Option<ToolChoice>, Option<bool>) {
    let taken = inside(fields, "tool_choice", |object| {
        let choice = match object.get("type")?.as_str()? {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Required,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Tool(take_text(object, "name")?),
            _ => return None,
        };
        object.remove("type");
        let alone = take_if(object, "disable_parallel_tool_use", Value::as_bool);
        Some((choice, alone.map(|alone| !alone)))
    });
    taken.map_or((None, None), |(choice, parallel)| (Some(choice), parallel))
}

fn tool_choice_value(choice: &ToolChoice, parallel: Option<bool>) -> Value {
    let mut fields = foreign::tool_choice(choice);
    put(&mut fields, "disable_parallel_tool_use", parallel.map(|parallel| !parallel));
    fields.into()
}

fn take_reasoning(fields: &mut Fields) -> Option<Reasoning> {
    let effort = |fields: &mut Fields| inside(fields, "output_config", |config| take_text(config, "effort"));
    if fields.get("thinking").is_none_or(Value::is_null) {
        return effort(fields).map(Reasoning::Effort);
    }
    let taken = inside(fields, "thinking", |thinking| {
        let reasoning = match thinking.get("type")?.as_str()? {
            "enabled" => Reasoning::Budget(take_if(thinking, "budget_tokens", Value::as_u64)?),
            "disabled" => Reasoning::Off,
            "adaptive" => Reasoning::Adaptive(None),
            _ => return None,
        };
        thinking.remove("type");
        Some(reasoning)
    });
    match taken {
        Some(Reasoning::Adaptive(_)) => Some(Reasoning::Adaptive(effort(fields))),
        other => other,
    }
}

/// Takes the shape from `output_config.format`, or from its older place, which leaves a hint. Where both stand, both stay.
fn take_shape(fields: &mut Fields) -> Option<Shape> {
    let newer = fields.get("output_config").and_then(|config| config.get("format")).is_some();
    match (newer, fields.contains_key(OUTPUT_FORMAT)) {
        (true, false) => inside(fields, "output_config", |config| inside(config, "format", take_schema)),
        (false, true) => {
            let shape = inside(fields, OUTPUT_FORMAT, take_schema)?;
            fields.insert(hint(OUTPUT_FORMAT), Value::Bool(true));
            Some(shape)
        }
        _ => None,
    }
}

/// Takes all of a format.
fn take_schema(format: &mut Fields) -> Option<Shape> {
    if format.get("type")? != "json_schema" || format.get("schema")?.is_null() {
        return None;
    }
    format.remove("type");
    let schema = take(format, "schema")?;
    let (name, strict) = (take_text(format, "name"), take_if(format, "strict", Value::as_bool));
    Some(Shape::Schema { name, schema, strict, rest: std::mem::take(format) })
}

fn shape_value(shape: &Shape) -> Value {
    match shape {
        Shape::Json => json!({"type": "json_schema", "schema": {"type": "object"}}),
        Shape::Schema { name, schema, strict, rest } => {
            let mut fields = rest.clone();
            put(&mut fields, "type", Some("json_schema"));
            put(&mut fields, "schema", Some(schema.clone()));
            put(&mut fields, "name", name.as_deref());
            put(&mut fields, "strict", *strict);
            fields.into()
        }
    }
}

/// Writes a request for a target. What came from this dialect is written as it was, but for the model's name.
pub fn encode_request(exchange: &Exchange, target: &Target, losses: &mut Losses) -> Encoded {
    match exchange.from {
        Dialect::Anthropic => Encoded { body: own(exchange, target).into(), schema_tool: false },
        _ => foreign::encode(exchange, target, losses),
    }
}

fn own(exchange: &Exchange, target: &Target) -> Fields {
    let mut body = object([("model", target.model.as_str().into())]);
    put_turns(&mut body, &exchange.turns);
    if !exchange.tools.is_empty() {
        body.insert("tools".to_owned(), exchange.tools.iter().map(tool_value).collect());
    }
    put(&mut body, "tool_choice", exchange.tool_choice.as_ref().map(|choice| tool_choice_value(choice, exchange.parallel_tools)));
    put_reasoning(&mut body, exchange.reasoning.as_ref());
    if let Some(shape) = &exchange.shape {
        put_shape(&mut body, shape, &exchange.rest);
    }
    put(&mut body, "max_tokens", exchange.output_limit);
    for (name, value) in [("temperature", exchange.sampling.temperature), ("top_p", exchange.sampling.top_p)] {
        let fraction = exchange.rest.contains_key(&hint(name));
        put(&mut body, name, value.map(|value| if fraction { Value::from(value) } else { number(value) }));
    }
    put(&mut body, "top_k", exchange.sampling.top_k);
    if !exchange.stop.is_empty() {
        put(&mut body, "stop_sequences", Some(exchange.stop.clone()));
    }
    put(&mut body, "stream", exchange.stream);
    put(&mut body, "metadata", exchange.user.as_ref().map(|user| json!({"user_id": user})));
    put(&mut body, "service_tier", exchange.service_tier.as_deref());
    lay(&mut body, &exchange.rest);
    body
}

/// Lays what was kept beside what was written: objects are joined, and nothing that was written is replaced.
fn lay(body: &mut Fields, rest: &Fields) {
    for (name, value) in written(rest) {
        match (body.get_mut(name), value) {
            (None, value) => drop(body.insert(name.clone(), value.clone())),
            (Some(Value::Object(written)), Value::Object(kept)) => lay(written, kept),
            _ => {}
        }
    }
}

fn put_turns(body: &mut Fields, turns: &[Turn]) {
    let system = turns.first().filter(|turn| turn.role == Role::System && !turn.rest.contains_key(MESSAGE));
    if let Some(turn) = system {
        let text = turn.blocks.first().filter(|_| turn.form == Form::Text && turn.blocks.len() == 1).and_then(plain);
        let blocks = || turn.blocks.iter().filter_map(write).collect();
        body.insert("system".to_owned(), text.map_or_else(blocks, Value::from));
    }
    let messages = turns.iter().skip(usize::from(system.is_some())).map(|turn| {
        let mut fields = object([("role", role_word(turn.role).into())]);
        put_content(&mut fields, &turn.blocks, turn.form);
        // a role that has no name here stands there too
        fields.extend(written(&turn.rest).map(|(name, value)| (name.clone(), value.clone())));
        Value::Object(fields)
    });
    let messages = messages.collect();
    body.insert("messages".to_owned(), messages);
}

fn put_reasoning(body: &mut Fields, reasoning: Option<&Reasoning>) {
    let (thinking, effort) = match reasoning {
        None => (None, None),
        Some(Reasoning::Off) => (Some(json!({"type": "disabled"})), None),
        Some(Reasoning::Budget(tokens)) => (Some(json!({"type": "enabled", "budget_tokens": tokens})), None),
        Some(Reasoning::Adaptive(effort)) => (Some(json!({"type": "adaptive"})), effort.as_deref()),
        Some(Reasoning::Effort(effort)) => (None, Some(effort.as_str())),
    };
    put(body, "thinking", thinking);
    put(body, "output_config", effort.map(|effort| json!({"effort": effort})));
}

fn put_shape(body: &mut Fields, shape: &Shape, rest: &Fields) {
    if rest.contains_key(&hint(OUTPUT_FORMAT)) {
        body.insert(OUTPUT_FORMAT.to_owned(), shape_value(shape));
        return;
    }
    if let Value::Object(config) = body.entry("output_config").or_insert_with(|| json!({})) {
        config.insert("format".to_owned(), shape_value(shape));
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
