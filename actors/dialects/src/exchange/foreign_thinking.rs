//! Thinking of another provider in a caller's own dialect. Our translation puts it there, and a caller sends it back; the provider that it
//! goes to now did not make it, and refuses it or does not know it. It is left out, and that is a loss.

use super::{
    Block, Exchange, Node, Role, Turn,
    loss::{LossKind, Losses},
};
use crate::{Dialect, Endpoint};
use memchr::memmem;

/// The member by which a block of thinking says, in OpenAI's dialect, whose it is.
pub(crate) const MADE_BY: &str = "made_by";
/// [`MADE_BY`] of a request, as a hint.
pub(crate) const MADE_BY_HINT: &str = "\0made_by";

/// Whether such thinking stands in a body, or something that looks like it. A quote inside of a text is escaped, so no text does.
pub(crate) fn may_stand_in(endpoint: Endpoint, body: &[u8]) -> bool {
    match endpoint {
        Endpoint::ChatCompletions => memmem::find(body, b"\"made_by\"").is_some(),
        // a signature that says nothing
        Endpoint::Messages => memmem::find_iter(body, b"\"signature\"").any(|at| {
            let after = body[at + b"\"signature\"".len()..].trim_ascii_start();
            after.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"\"\""))
        }),
        _ => false,
    }
}

/// Leaves it out of a request for a provider of the caller's own dialect.
pub(crate) fn leave_out(exchange: &mut Exchange, losses: &mut Losses) {
    let has_system = exchange.from == Dialect::Anthropic && exchange.turns.first().is_some_and(|turn| turn.role == Role::System);
    let from = exchange.from;
    let mut left_out = false;
    for (at, turn) in exchange.turns.iter_mut().enumerate() {
        let before = turn.blocks.len();
        turn.blocks.retain(|node| !is_foreign(node, from));
        if turn.blocks.len() == before {
            continue;
        }
        left_out = true;
        // the same words once more, as they are shown
        turn.rest.remove("reasoning_content");
        let place = at.checked_sub(usize::from(has_system)).map_or_else(|| "system".to_owned(), |at| format!("messages[{at}]"));
        losses.lose(LossKind::Thinking, place);
    }
    if !left_out || from != Dialect::Anthropic {
        return;
    }
    exchange.turns.retain(|turn| !turn.blocks.is_empty() || turn.role != Role::Assistant);
    if exchange.reasoning.is_some() && lacks_thinking(&exchange.turns) {
        exchange.reasoning = None;
        exchange.rest.remove("thinking");
        losses.lose(LossKind::Reasoning, "thinking");
    }
}

fn is_foreign(node: &Node, from: Dialect) -> bool {
    let is_thinking = matches!(node.block, Block::Thinking { .. } | Block::Redacted(_));
    match (from, &node.block) {
        (Dialect::Anthropic, Block::Thinking { signature, .. }) => signature.as_ref().is_none_or(String::is_empty),
        (Dialect::Anthropic, _) => false,
        (Dialect::OpenAi, _) => is_thinking && node.rest.get(MADE_BY_HINT).is_some_and(|by| by.as_str() != Some(from.as_str())),
    }
}

/// The provider refuses to go on thinking in a turn that began without.
fn lacks_thinking(turns: &[Turn]) -> bool {
    let is_result = |turn: &Turn| turn.blocks.iter().any(|node| matches!(node.block, Block::ToolResult { .. }));
    let last = match turns {
        [.., used, last] if is_result(last) => used,
        [.., last] => last,
        [] => return false,
    };
    let begins = matches!(last.blocks.first().map(|node| &node.block), Some(Block::Thinking { .. } | Block::Redacted(_)));
    last.role == Role::Assistant && !begins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exchange::Target, read_exchange, translate_request};
    use serde_json::{Value, json};

    fn left(endpoint: Endpoint, body: &Value) -> (Value, Vec<(String, &'static str)>) {
        let exchange = read_exchange(endpoint, body.to_string().as_bytes()).expect("a request");
        let translated = translate_request(&exchange, endpoint, &Target { model: "m".into(), ..Target::default() });
        let losses = translated.losses.iter().map(|loss| (loss.path.clone(), loss.kind.as_str()));
        (serde_json::from_slice(&translated.body(None, false)).expect("JSON"), losses.collect())
    }

    fn anthropic(messages: Value) -> Value {
        json!({"model": "m", "max_tokens": 9_000, "system": "s", "thinking": {"type": "enabled", "budget_tokens": 2_048}, "messages": messages})
    }

    #[test]
    fn it_is_seen_in_bodies_and_nowhere_else() {
        let seen = |endpoint, body: &str| may_stand_in(endpoint, body.as_bytes());
        assert!(seen(Endpoint::Messages, r#"{"signature" : ""}"#) && seen(Endpoint::Messages, r#"{"signature":"s"},{"signature":""}"#));
        assert!(!seen(Endpoint::Messages, r#"{"signature":"s","text":"\"signature\":\"\""}"#));
        assert!(
            seen(Endpoint::ChatCompletions, r#"{"made_by":"anthropic"}"#) && !seen(Endpoint::ChatCompletions, r#"{"t":"\"made_by\""}"#)
        );
        assert!(!seen(Endpoint::Responses, r#"{"made_by":"anthropic"}"#));
    }

    #[test]
    fn unsigned_thinking_does_not_go_to_anthropic_and_thinking_ends_where_its_turn_lacks_it() {
        let thought = |signature: &str| json!({"type": "thinking", "thinking": "hm", "signature": signature});
        let used = json!({"type": "tool_use", "id": "t", "name": "f", "input": {}});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]});
        let (hi, text) = (json!({"role": "user", "content": "hi"}), json!({"type": "text", "text": "a"}));
        let mixed = json!([hi, {"role": "assistant", "content": [thought(""), text]}, hi, {"role": "assistant", "content": [thought("s"), used]}, result]);
        let (body, losses) = left(Endpoint::Messages, &anthropic(mixed));
        assert_eq!((&body["messages"][1]["content"], &body["messages"][3]["content"]), (&json!([text]), &json!([thought("s"), used])));
        assert_eq!((body["thinking"]["type"].as_str(), losses), (Some("enabled"), vec![("messages[1]".to_owned(), "thinking")]));
        let foreign = json!([hi, {"role": "assistant", "content": [thought(""), used]}, result]);
        let (body, losses) = left(Endpoint::Messages, &anthropic(foreign));
        assert_eq!((body.get("thinking"), &body["messages"][1]["content"]), (None, &json!([used])));
        assert_eq!(losses, [("messages[1]".to_owned(), "thinking"), ("thinking".to_owned(), "reasoning")]);
    }

    #[test]
    fn only_blocks_that_say_whose_they_are_are_left_out_for_openai() {
        let block = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
        let ours = json!({"type": "thinking", "thinking": "hm", "signature": "s", "made_by": "anthropic", "index": 0});
        let ask = |block: &Value| {
            let said = json!({"role": "assistant", "content": "a", "reasoning_content": "hm", "thinking_blocks": [block]});
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}, said, {"role": "user", "content": "go on"}]})
        };
        let (body, losses) = left(Endpoint::ChatCompletions, &ask(&ours));
        assert_eq!(
            (&body["messages"][1], losses),
            (&json!({"role": "assistant", "content": "a"}), vec![("messages[1]".to_owned(), "thinking")])
        );
        let (body, losses) = left(Endpoint::ChatCompletions, &ask(&block));
        assert_eq!((&body, losses), (&ask(&block), vec![]));
    }
}
