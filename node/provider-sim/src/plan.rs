//! What an answer will say and what it will cost, before any dialect puts it into words.

use crate::input::{Choice, Input, Tool};
use crate::schema;
use crate::settings::OUTPUT_MAX;
use crate::tokens::{self, Counter};
use crate::usage::Usage;
use crate::{Output, Wishes};

/// Most tool calls in one answer.
const CALLS_MAX: u64 = 64;
/// Bytes of JSON in one frame of a stream, roughly.
const PIECE: usize = 12;

/// A call of a caller's tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Number within the answer; ids are made of it.
    pub(crate) index: usize,
    pub(crate) name: String,
    /// JSON that fits the tool's schema.
    pub(crate) arguments: String,
}

/// The content of each choice.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// So many words, each a token.
    Words(u64),
    Text(String),
    Calls(Vec<Call>),
}

/// Why the answer ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Calls,
}

/// An answer in no dialect yet.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) input: &'a Input,
    pub(crate) wishes: &'a Wishes,
    pub(crate) content: Content,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    /// Number of the answer; ids are made of it.
    pub(crate) serial: u64,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

impl<'a> Plan<'a> {
    /// Decides what to say.
    pub(crate) fn new(input: &'a Input, wishes: &'a Wishes, counter: &mut Counter, serial: u64, now_ms: u64) -> Plan<'a> {
        let (content, tokens, finish) = content(input, wishes);
        let counted = input.tokens(counter);
        let claimed = wishes.input_tokens.unwrap_or(counted);
        let cached = wishes.cached.min(claimed);
        let usage = Usage {
            input: claimed,
            cached,
            cache_write: wishes.cache_write.min(claimed - cached),
            output: tokens.saturating_mul(input.choices).saturating_add(wishes.overrun),
            reasoning: wishes.reasoning.min(tokens).saturating_mul(input.choices),
        };
        Plan { input, wishes, content, finish, usage, serial, created: now_ms / 1_000 }
    }

    /// An id with the prefix that the dialect uses.
    pub(crate) fn id(&self, prefix: &str) -> String {
        format!("{prefix}sim{:016x}", self.serial)
    }

    /// Id of a tool call.
    pub(crate) fn call_id(&self, prefix: &str, choice: u64, call: &Call) -> String {
        format!("{prefix}sim{:012x}{choice:02x}{:02x}", self.serial, call.index)
    }

    /// The finish reason: the one that was wished for, else the dialect's word.
    pub(crate) fn finish_word<'w>(&'w self, stop: &'w str, length: &'w str, calls: &'w str) -> &'w str {
        let due = match self.finish {
            Finish::Stop => stop,
            Finish::Length => length,
            Finish::Calls => calls,
        };
        self.wishes.finish.as_deref().unwrap_or(due)
    }
}

/// What to say, its tokens, and why it ends.
fn content(input: &Input, wishes: &Wishes) -> (Content, u64, Finish) {
    let limit = input.limit.unwrap_or(u64::MAX);
    let calls = calls(input, wishes);
    let (content, said, finish) = if !calls.is_empty() {
        let tokens = calls.iter().map(|call| tokens::count(&call.name) + tokens::count(&call.arguments)).sum();
        (Content::Calls(calls), tokens, Finish::Calls)
    } else if let Some(schema) = &input.schema {
        let text = schema::fitting(schema).to_string();
        let tokens = tokens::count(&text);
        (Content::Text(text), tokens, Finish::Stop)
    } else if wishes.echo {
        let text = input.last_text();
        let tokens = tokens::count(&text);
        (Content::Text(text), tokens, Finish::Stop)
    } else {
        return words(limit, wishes);
    };
    let tokens = said.saturating_add(wishes.reasoning);
    // JSON that was cut to a number of tokens would be a guess at where tokens end: words are exact.
    if tokens > limit { words(limit, &Wishes { output: Output::Max, ..wishes.clone() }) } else { (content, tokens, finish) }
}

fn words(limit: u64, wishes: &Wishes) -> (Content, u64, Finish) {
    let (wanted, at_limit) = match wishes.output {
        Output::Tokens(n) => (n.saturating_add(wishes.reasoning), false),
        Output::Max if limit == u64::MAX => (wishes.output_max, true),
        Output::Max => (limit, true),
    };
    let tokens = wanted.min(limit).min(OUTPUT_MAX);
    let finish = if at_limit || wanted > limit { Finish::Length } else { Finish::Stop };
    (Content::Words(tokens - wishes.reasoning.min(tokens)), tokens, finish)
}

fn calls(input: &Input, wishes: &Wishes) -> Vec<Call> {
    let forced = matches!(input.tool_choice, Choice::Any | Choice::This(_));
    if input.tools.is_empty() || input.tool_choice == Choice::Never {
        return Vec::new();
    }
    let wanted = wishes.tools.unwrap_or(u64::from(forced)).min(CALLS_MAX);
    let count = if input.one_call { wanted.min(1) } else { wanted };
    let named = |tool: &&Tool| match &input.tool_choice {
        Choice::This(name) => tool.name == *name,
        _ => true,
    };
    let usable: Vec<&Tool> = input.tools.iter().filter(named).collect();
    let call = |(index, tool): (usize, &&Tool)| {
        let fitting = schema::fitting(&tool.parameters);
        let arguments = if fitting.is_object() { fitting.to_string() } else { "{}".into() };
        Call { index, name: tool.name.clone(), arguments }
    };
    usable.iter().cycle().take(count as usize).enumerate().map(call).collect()
}

/// A text in pieces for a stream.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let (mut out, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let at = (PIECE.min(rest.len())..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(at);
        out.push(piece);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::input::Endpoint;
    use crate::words;

    fn input(extra: Value) -> Input {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "say it again"}]});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        Input::read(Endpoint::Chat, body.to_string().as_bytes()).expect("valid")
    }

    fn planned(extra: Value, wish: &[(&str, &str)]) -> (Content, Usage, Finish) {
        let mut wishes = Wishes::default();
        wish.iter().for_each(|(name, value)| wishes.set(name, value).expect(name));
        let input = input(extra);
        let plan = Plan::new(&input, &wishes, &mut Counter::default(), 1, 5_000);
        (plan.content.clone(), plan.usage, plan.finish)
    }

    fn tools() -> Value {
        let parameters = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
        let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
        json!([tool("weather"), tool("time")])
    }

    #[test]
    fn exactly_the_limit_on_demand_and_never_more() {
        for (limit, output, expected, finish) in
            [(7, "max", 7, Finish::Length), (7, "16", 7, Finish::Length), (16, "16", 16, Finish::Stop), (100, "16", 16, Finish::Stop)]
        {
            let (content, usage, got) = planned(json!({"max_tokens": limit}), &[("output", output)]);
            assert_eq!((usage.output, got), (expected, finish), "limit {limit}, output {output}");
            assert!(matches!(content, Content::Words(n) if n == expected));
            assert_eq!(tokens::count(&words::text(expected)), expected);
        }
        let (_, usage, finish) = planned(json!({}), &[("output", "max"), ("output_max", "30")]);
        assert_eq!((usage.output, finish), (30, Finish::Length));
    }

    #[test]
    fn reasoning_is_part_of_the_output_and_choices_multiply_it() {
        let (content, usage, _) = planned(json!({"max_tokens": 10, "n": 3}), &[("output", "max"), ("reasoning", "4"), ("overrun", "5")]);
        assert!(matches!(content, Content::Words(6)));
        assert_eq!((usage.output, usage.reasoning), (35, 12));
    }

    #[test]
    fn input_is_counted_or_claimed() {
        let (_, usage, _) = planned(json!({}), &[]);
        assert_eq!(usage.input, tokens::count("say it again"));
        let (_, usage, _) = planned(json!({}), &[("input_tokens", "50"), ("cached", "40"), ("cache_write", "20")]);
        assert_eq!((usage.input, usage.cached, usage.cache_write), (50, 40, 10));
    }

    #[test]
    fn tools_are_called_if_forced_or_wished() {
        let called = |extra: Value, wish: &[(&str, &str)]| match planned(extra, wish).0 {
            Content::Calls(calls) => calls.iter().map(|call| format!("{}{}", call.name, call.arguments)).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        assert_eq!(called(json!({"tools": tools()}), &[]), "");
        assert_eq!(called(json!({"tools": tools(), "tool_choice": "required"}), &[]), r#"weather{"city":"sim"}"#);
        let forced = json!({"type": "function", "function": {"name": "time"}});
        assert_eq!(called(json!({"tools": tools(), "tool_choice": forced}), &[]), r#"time{"city":"sim"}"#);
        assert_eq!(
            called(json!({"tools": tools()}), &[("tools", "3")]),
            r#"weather{"city":"sim"} time{"city":"sim"} weather{"city":"sim"}"#
        );
        assert_eq!(called(json!({"tools": tools(), "parallel_tool_calls": false}), &[("tools", "3")]), r#"weather{"city":"sim"}"#);
        assert_eq!(called(json!({"tools": tools(), "tool_choice": "none"}), &[("tools", "3")]), "");
    }

    #[test]
    fn what_does_not_fit_the_limit_becomes_words_of_that_length() {
        let (content, usage, finish) = planned(json!({"tools": tools(), "tool_choice": "required", "max_tokens": 2}), &[]);
        assert!(matches!(content, Content::Words(2)));
        assert_eq!((usage.output, finish), (2, Finish::Length));
    }

    #[test]
    fn echo_says_the_last_text() {
        let (content, usage, _) = planned(json!({}), &[("echo", "true")]);
        assert!(matches!(content, Content::Text(text) if text == "say it again"));
        assert_eq!(usage.output, tokens::count("say it again"));
    }

    #[test]
    fn pieces_keep_characters_whole() {
        let text = "a €uro sign and some more € text €€€€€€";
        assert_eq!(pieces(text).concat(), text);
        assert!(pieces("").is_empty());
    }
}
