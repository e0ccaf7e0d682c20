//! A request of another dialect in the words of one provider.

use super::request;
use crate::exchange::{
    Exchange, Fields, SCHEMA_TOOL, Shape, Target, ToolChoice,
    loss::{LossKind, Losses},
    short_id, take,
};
use serde_json::{Value, json};

/// Longest name of an end user that OpenAI takes, in bytes. Some clients of Anthropic send whole documents there.
const USER_BYTES_MAX: usize = 64;

/// The end user's name, unless it is too long.
pub(super) fn user<'a>(user: &'a str, losses: &mut Losses) -> Option<&'a str> {
    if user.len() > USER_BYTES_MAX {
        losses.lose(LossKind::Metadata, "metadata.user_id");
        return None;
    }
    Some(user)
}

/// Asks for a shape by a forced tool, where the target has nothing better.
pub(super) fn force_schema(body: &mut Fields, exchange: &Exchange, losses: &mut Losses) -> bool {
    let Some(Shape::Schema { schema, .. }) = &exchange.shape else { return false };
    body.remove("response_format");
    if !exchange.tools.is_empty() {
        losses.lose(LossKind::Schema, "output_config.format");
        return false;
    }
    body.insert("tools".to_owned(), json!([{"type": "function", "function": {"name": SCHEMA_TOOL, "parameters": schema}}]));
    body.insert("tool_choice".to_owned(), request::choice_value(&ToolChoice::Tool(SCHEMA_TOOL.to_owned())));
    true
}

/// What a provider has in words of its own.
pub(super) fn suit(body: &mut Fields, target: &Target) {
    for (name, own_name) in &target.fields {
        if let Some(value) = take(body, name) {
            body.insert(own_name.clone(), value);
        }
    }
    if let (Some(word), Some(choice)) = (&target.required_word, body.get_mut("tool_choice"))
        && *choice == "required"
    {
        *choice = word.clone().into();
    }
    let (Some(bytes), Some(Value::Array(messages))) = (target.tool_id_bytes, body.get_mut("messages")) else { return };
    let short = |id: Option<&mut Value>| {
        if let Some(Value::String(id)) = id {
            *id = short_id(id, bytes);
        }
    };
    for message in messages {
        short(message.get_mut("tool_call_id"));
        let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
        calls.into_iter().flatten().for_each(|call| short(call.get_mut("id")));
    }
}
