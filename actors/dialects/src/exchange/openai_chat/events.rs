//! The events of a stream, in and out.

use super::{FIELD, REASONING, THINKING_BLOCKS, answer, reason, request, word};
use crate::{
    Dialect,
    exchange::{
        Block, Delta, Event, Fields, Node, Stop,
        foreign_thinking::MADE_BY,
        loss::{LossKind, Losses},
        put, take, take_if, take_text, tool_id,
    },
};
use events::{limits, usage::Usage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Choices and calls that are told apart; what a stream has beyond them is left out.
const CHOICES_MAX: u64 = 128;
const CALLS_MAX: usize = 1_024;

/// Reads the frames of a stream.
#[derive(Default)]
pub struct Decoder {
    started: Started,
    choices: BTreeMap<u32, ChoiceState>,
    ended: bool,
}

/// What was said of the answer so far.
#[derive(Default)]
struct Started {
    id: Option<String>,
    model: Option<String>,
    tier: Option<String>,
    rest: Fields,
}

/// What is known of one choice.
#[derive(Default)]
struct ChoiceState {
    /// Blocks begun.
    blocks: u32,
    /// The block of text, thinking or refusal that is open, and what kind it is.
    prose: Option<(u32, &'static str)>,
    calls: Vec<Call>,
    stopped: bool,
    /// What its deltas said that has no name here.
    rest: Fields,
}

/// A use of a tool that has begun.
struct Call {
    /// The provider's number for it.
    number: Option<u64>,
    id: String,
    block: u32,
    open: bool,
    arguments: Complete,
}

/// Tells when JSON text that comes in pieces is a whole value.
#[derive(Default)]
struct Complete {
    depth: u32,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

impl Complete {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (true, b'"') => self.in_string = false,
                (true, _) => {}
                (false, b'"') => self.in_string = true,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.begun |= !byte.is_ascii_whitespace();
        }
    }

    fn is_whole(&self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

impl Decoder {
    /// Reads the data of one frame. What cannot be read is left out: the reader of the other lane has said so.
    pub fn frame(&mut self, _name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if data.trim_ascii() == b"[DONE]" {
            return self.end(out);
        }
        let Ok(Value::Object(mut chunk)) = serde_json::from_slice::<Value>(data) else { return };
        if let Some(fault) = take_if(&mut chunk, "error", answer::fault) {
            return out.push(Event::Fault(fault));
        }
        let choices = take_if(&mut chunk, "choices", |choices| choices.as_array().cloned()).unwrap_or_default();
        let usage = take(&mut chunk, "usage");
        self.start(chunk, out);
        for (at, value) in (0..).zip(choices) {
            if let Value::Object(fields) = value {
                self.choice(fields, at, out);
            }
        }
        if let Some(raw) = usage
            && let Some(usage) = answer::read_usage(&raw)
        {
            out.push(Event::Usage { usage, raw });
        }
    }

    /// The stream has ended: without `[DONE]` it is over if each choice that began has its finish reason.
    pub fn close(&mut self, out: &mut Vec<Event>) {
        if !self.choices.is_empty() && self.choices.values().all(|choice| choice.stopped) {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.ended, true) {
            for (choice, state) in &mut self.choices {
                state.stop_all(*choice, out);
            }
            out.push(Event::End);
        }
    }

    /// What a chunk says of the answer, where it is new.
    fn start(&mut self, mut chunk: Fields, out: &mut Vec<Event>) {
        chunk.retain(|name, value| !matches!(name.as_str(), "obfuscation" | "p") && !value.is_null());
        let id = take_text(&mut chunk, "id").filter(|id| !id.is_empty());
        let model = take_text(&mut chunk, "model").filter(|model| !model.is_empty());
        let tier = take_text(&mut chunk, "service_tier");
        let known = &mut self.started;
        let first = known.id.is_none() && known.model.is_none() && known.rest.is_empty();
        let new = |known: &mut Option<String>, said: Option<String>| {
            let new = said.filter(|_| known.is_none());
            if new.is_some() {
                known.clone_from(&new);
            }
            new
        };
        let (id, model) = (new(&mut known.id, id), new(&mut known.model, model));
        let service_tier = new(&mut known.tier, tier);
        chunk.retain(|name, value| known.rest.get(name) != Some(value));
        known.rest.extend(chunk.clone());
        if first || id.is_some() || model.is_some() || service_tier.is_some() || !chunk.is_empty() {
            out.push(Event::Start { id, model, service_tier, rest: chunk });
        }
    }

    fn choice(&mut self, mut fields: Fields, at: u64, out: &mut Vec<Event>) {
        let index = take_if(&mut fields, "index", Value::as_u64).unwrap_or(at);
        let Some(index) = u32::try_from(index).ok().filter(|_| index < CHOICES_MAX) else { return };
        let state = self.choices.entry(index).or_default();
        let message = take(&mut fields, "message");
        if let Some(Value::Object(delta)) = take(&mut fields, "delta").or(message) {
            state.delta(index, delta, out);
        }
        let word = take_text(&mut fields, "finish_reason").filter(|word| !word.is_empty());
        fields.retain(|_, value| !value.is_null());
        merge(&mut state.rest, fields);
        if let Some(word) = word {
            state.stop_all(index, out);
            state.stopped = true;
            let stop = Stop { reason: reason(&word), word, sequence: None };
            out.push(Event::Stop { choice: index, stop, rest: std::mem::take(&mut state.rest) });
        }
    }
}

/// Lays what a delta says over what was said: lists go on, texts go on, the rest is replaced.
fn merge(into: &mut Fields, more: Fields) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(Value::Object(fields)), Value::Object(more)) => merge(fields, more),
            (_, value) => drop(into.insert(name, value)),
        }
    }
}

impl ChoiceState {
    fn delta(&mut self, choice: u32, mut delta: Fields, out: &mut Vec<Event>) {
        take(&mut delta, "role");
        if let Some(Value::Array(blocks)) = take_if(&mut delta, THINKING_BLOCKS, |value| value.is_array().then(|| value.clone())) {
            blocks.into_iter().for_each(|block| self.thinking_block(choice, block, out));
            take(&mut delta, REASONING);
        }
        for name in [REASONING, "reasoning"] {
            if let Some(text) = take_text(&mut delta, name).filter(|text| !text.is_empty()) {
                self.prose(choice, name, text, out);
            }
        }
        match take(&mut delta, "content") {
            Some(Value::String(text)) if !text.is_empty() => self.prose(choice, "content", text, out),
            Some(Value::Array(parts)) => parts.into_iter().for_each(|part| self.part(choice, part, out)),
            _ => {}
        }
        if let Some(text) = take_text(&mut delta, "refusal").filter(|text| !text.is_empty()) {
            self.prose(choice, "refusal", text, out);
        }
        if let Some(Value::Array(calls)) = take(&mut delta, "tool_calls") {
            calls.into_iter().for_each(|call| self.call(choice, call, out));
        }
        delta.retain(|_, value| !crate::exchange::says_nothing(value) && value != "");
        if !delta.is_empty() {
            let message = Fields::from_iter([("message".to_owned(), Value::Object(delta))]);
            merge(&mut self.rest, message);
        }
    }

    /// A part of a list of content, as Mistral streams it.
    fn part(&mut self, choice: u32, part: Value, out: &mut Vec<Event>) {
        let text = |name: &str| part.get(name).and_then(request::thinking_text);
        match part.get("type").and_then(Value::as_str) {
            Some("text") => self.prose(choice, "content", text("text").unwrap_or_default(), out),
            Some("thinking") if text("thinking").is_some() => self.prose(choice, "thinking", text("thinking").unwrap_or_default(), out),
            _ => {
                self.end_prose(choice, out);
                self.whole(choice, Block::Opaque(part).into(), out);
            }
        }
    }

    fn thinking_block(&mut self, choice: u32, block: Value, out: &mut Vec<Event>) {
        let text = |name: &str| block.get(name).and_then(Value::as_str);
        if let (Some("redacted_thinking"), Some(data)) = (text("type"), text("data")) {
            self.end_prose(choice, out);
            let mut node = Node::from(Block::Redacted(data.to_owned()));
            node.rest.insert(FIELD.to_owned(), THINKING_BLOCKS.into());
            return self.whole(choice, node, out);
        }
        // another Tollgate's: its text has been streamed already
        let is_said = block.get(MADE_BY).is_some() && self.prose.as_ref().is_some_and(|(_, field)| *field == REASONING);
        if !is_said {
            self.prose(choice, THINKING_BLOCKS, text("thinking").unwrap_or_default().to_owned(), out);
        }
        if let (Some(signature), Some((index, _))) = (text("signature"), &self.prose) {
            out.push(Event::Delta { choice, index: *index, delta: Delta::Signature(signature.to_owned()) });
            self.end_prose(choice, out);
        }
    }

    fn begin(&mut self, choice: u32, node: Node, out: &mut Vec<Event>) -> u32 {
        let index = self.blocks;
        self.blocks += 1;
        out.push(Event::BlockStart { choice, index, node });
        index
    }

    fn whole(&mut self, choice: u32, node: Node, out: &mut Vec<Event>) {
        let index = self.begin(choice, node, out);
        out.push(Event::BlockStop { choice, index });
    }

    fn end_prose(&mut self, choice: u32, out: &mut Vec<Event>) {
        if let Some((index, ..)) = self.prose.take() {
            out.push(Event::BlockStop { choice, index });
        }
    }

    /// A piece of text, of thinking or of a refusal: another kind than before begins another block.
    fn prose(&mut self, choice: u32, field: &'static str, text: String, out: &mut Vec<Event>) {
        let index = match &self.prose {
            Some((index, open)) if *open == field => *index,
            _ => {
                self.end_prose(choice, out);
                self.end_whole_calls(choice, out);
                let node = match field {
                    "content" => Block::Text(String::new()).into(),
                    "refusal" => Block::Refusal(String::new()).into(),
                    "thinking" => request::thought(String::new(), "content"),
                    field => request::thought(String::new(), field),
                };
                let index = self.begin(choice, node, out);
                self.prose = Some((index, field));
                index
            }
        };
        if text.is_empty() {
            return;
        }
        let delta = match field {
            "content" => Delta::Text(text),
            "refusal" => Delta::Refusal(text),
            _ => Delta::Thinking(text),
        };
        out.push(Event::Delta { choice, index, delta });
    }

    /// Calls whose arguments are whole are over once something else begins.
    fn end_whole_calls(&mut self, choice: u32, out: &mut Vec<Event>) {
        for call in self.calls.iter_mut().filter(|call| call.open && call.arguments.is_whole()) {
            call.open = false;
            out.push(Event::BlockStop { choice, index: call.block });
        }
    }

    /// A piece of a call. Providers leave out its number or its id, give several calls one number, or send a call whole.
    fn call(&mut self, choice: u32, mut piece: Value, out: &mut Vec<Event>) {
        let number = piece.get("index").and_then(Value::as_u64);
        let id = piece.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).map(str::to_owned);
        let name = piece
            .get("function")
            .and_then(|function| function.get("name"))
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        let known = self.calls.iter().rposition(|call| match (number, &id) {
            (Some(_), Some(id)) => call.number == number && (call.id == *id || name.is_none()),
            (Some(_), None) => call.number == number,
            (None, Some(id)) => call.id == *id,
            (None, None) => name.is_none(),
        });
        let arguments = piece.get_mut("function").and_then(|function| function.get_mut("arguments")).map(Value::take);
        let arguments = match arguments {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => String::new(),
            Some(value) => value.to_string(),
        };
        let at = match known {
            Some(at) => at,
            None if name.is_some() && self.calls.len() < CALLS_MAX => {
                self.end_prose(choice, out);
                self.end_whole_calls(choice, out);
                let id = id.unwrap_or_else(|| format!("call_{}", self.calls.len()));
                let block = Block::ToolUse { id: id.clone(), name: name.unwrap_or_default(), arguments: String::new() };
                let block = self.begin(choice, block.into(), out);
                self.calls.push(Call { number, id, block, open: true, arguments: Complete::default() });
                self.calls.len() - 1
            }
            None => return,
        };
        let call = &mut self.calls[at];
        if !call.open || arguments.is_empty() {
            return; // white space behind a whole value, at the most
        }
        call.arguments.push(&arguments);
        out.push(Event::Delta { choice, index: call.block, delta: Delta::Arguments(arguments) });
    }

    fn stop_all(&mut self, choice: u32, out: &mut Vec<Event>) {
        self.end_prose(choice, out);
        for call in self.calls.iter_mut().filter(|call| call.open) {
            call.open = false;
            out.push(Event::BlockStop { choice, index: call.block });
        }
    }
}

/// Writes the frames of a stream.
pub struct Encoder {
    from: Dialect,
    wants_usage: bool,
    head: Fields,
    tools: BTreeMap<(u32, u32), u64>,
    kinds: BTreeMap<(u32, u32), Kind>,
    /// Thinking of another dialect that is not over, and its signature.
    thoughts: BTreeMap<(u32, u32), (String, String)>,
    /// Blocks of signed thinking so far, by choice.
    signed: BTreeMap<u32, u64>,
    roles: BTreeSet<u32>,
    stops: Vec<(u32, String, Fields)>,
    usage: Option<(Usage, Value)>,
}

/// What a block's deltas become.
#[derive(Clone)]
enum Kind {
    Content,
    /// By this name.
    Thinking(String),
    /// As parts of a list.
    ThinkingPart,
    Other,
}

impl Encoder {
    /// `created` is in seconds since 1970. Usage stands in a chunk of its own at the end, if the caller asked for it.
    pub fn new(from: Dialect, created: u64, wants_usage: bool) -> Encoder {
        let mut head = Fields::new();
        head.insert("object".to_owned(), "chat.completion.chunk".into());
        head.insert("created".to_owned(), created.into());
        Encoder {
            from,
            wants_usage,
            head,
            tools: BTreeMap::new(),
            kinds: BTreeMap::new(),
            thoughts: BTreeMap::new(),
            signed: BTreeMap::new(),
            roles: BTreeSet::new(),
            stops: Vec::new(),
            usage: None,
        }
    }

    fn own(&self) -> bool {
        self.from == Dialect::OpenAi
    }

    /// Writes what an event becomes.
    pub fn event(&mut self, event: Event, losses: &mut Losses, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model, service_tier, rest } => self.start(id, model, service_tier, rest, losses),
            Event::BlockStart { choice, index, node } => self.block(choice, index, node, losses, out),
            Event::Delta { choice, index, delta } => self.delta(choice, index, delta, losses, out),
            Event::BlockStop { choice, index } => self.block_stop(choice, index, out),
            Event::Usage { usage, raw } => self.usage = Some((usage, raw)),
            Event::Stop { choice, stop, rest } => {
                let path = format!("choices[{choice}]");
                let word = if self.own() { stop.word.clone() } else { word(stop.reason).to_owned() };
                if !self.own() {
                    answer::lose_stop(Some(&stop), &path, losses);
                    crate::exchange::lose_rest(&rest, &path, losses, |_| LossKind::Metadata);
                }
                self.stops.retain(|(stopped, ..)| *stopped != choice);
                self.stops.push((choice, word, if self.own() { rest } else { Fields::new() }));
            }
            Event::Fault(fault) => {
                let kind = crate::ErrorKind::of_status(fault.status).word(Dialect::OpenAi);
                let error = json!({"error": {"message": fault.message, "type": kind, "param": null, "code": fault.code.or(fault.kind)}});
                frame(out, &error);
            }
            Event::End => self.end(out),
        }
    }

    fn start(&mut self, id: Option<String>, model: Option<String>, tier: Option<String>, rest: Fields, losses: &mut Losses) {
        let own = self.own();
        // each chunk repeats them: a long one would be many
        let mut short = |name: &str, text: Option<String>, bytes_max: usize| {
            if text.as_ref().is_some_and(|text| text.len() > bytes_max) {
                losses.lose(LossKind::Metadata, name);
            }
            text.filter(|text| text.len() <= bytes_max)
        };
        let id = short("id", id, limits::UPSTREAM_ID_BYTES_MAX);
        let model = short("model", model, limits::NAME_BYTES_MAX * 2);
        let tier = short("service_tier", tier, limits::NAME_BYTES_MAX * 2);
        put(&mut self.head, "id", if own { id } else { id.map(|id| answer::completion_id(Some(id))) });
        put(&mut self.head, "model", model);
        put(&mut self.head, "service_tier", tier.map(|tier| answer::tier_word(&tier).to_owned()));
        if own {
            self.head.extend(rest);
        } else {
            let rest = rest.into_iter().filter(|(name, _)| name != "type" && name != "role").collect();
            crate::exchange::lose_rest(&rest, "", losses, |_| LossKind::Metadata);
        }
    }

    fn block(&mut self, choice: u32, index: u32, node: Node, losses: &mut Losses, out: &mut Vec<u8>) {
        let path = format!("choices[{choice}]");
        let field = node.rest.get(FIELD).and_then(Value::as_str).map(str::to_owned);
        let kind = match &node.block {
            Block::Text(text) => {
                if !text.is_empty() {
                    self.chunk(choice, json!({"content": text}), out);
                }
                Kind::Content
            }
            Block::Thinking { .. } => match field.as_deref() {
                Some("content") => Kind::ThinkingPart,
                Some(field) if field != THINKING_BLOCKS || self.own() => Kind::Thinking(field.to_owned()),
                _ => Kind::Thinking(REASONING.to_owned()),
            },
            Block::Refusal(_) => Kind::Other,
            Block::Redacted(_) => {
                self.signed(choice, &Node { rest: Fields::new(), ..node.clone() }, out);
                Kind::Other
            }
            Block::ToolUse { id, name, .. } => {
                let number = self.tools.keys().filter(|(of, _)| *of == choice).count() as u64;
                self.tools.insert((choice, index), number);
                let id = if self.own() { id.clone() } else { tool_id(id) };
                let function = json!({"name": name, "arguments": ""});
                self.chunk(choice, json!({"tool_calls": [{"index": number, "id": id, "type": "function", "function": function}]}), out);
                Kind::Other
            }
            Block::Opaque(raw) if self.own() => {
                self.chunk(choice, json!({"content": [raw]}), out);
                Kind::Other
            }
            _ => {
                losses.lose(LossKind::Content, format!("{path}.message.content"));
                Kind::Other
            }
        };
        self.kinds.insert((choice, index), kind);
    }

    /// Signed thinking is given whole once more, when it is over: its provider takes it back with its signature only.
    fn block_stop(&mut self, choice: u32, index: u32, out: &mut Vec<u8>) {
        let Some((text, signature)) = self.thoughts.remove(&(choice, index)).filter(|(_, signature)| !signature.is_empty()) else { return };
        self.signed(choice, &Block::Thinking { text, signature: Some(signature) }.into(), out);
    }

    /// Clients put lists of a stream together by `index`.
    fn signed(&mut self, choice: u32, node: &Node, out: &mut Vec<u8>) {
        let mut value = answer::signed_value(node, self.from);
        if let (Value::Object(fields), false) = (&mut value, self.own()) {
            let number = self.signed.entry(choice).or_default();
            fields.insert("index".to_owned(), (*number).into());
            *number += 1;
        }
        self.chunk(choice, json!({ THINKING_BLOCKS: [value] }), out);
    }

    fn delta(&mut self, choice: u32, index: u32, delta: Delta, losses: &mut Losses, out: &mut Vec<u8>) {
        let kind = self.kinds.get(&(choice, index)).cloned().unwrap_or(Kind::Other);
        let body = match (delta, kind) {
            (Delta::Text(text), _) => json!({"content": text}),
            (Delta::Refusal(text), _) => json!({"refusal": text}),
            (Delta::Thinking(text), Kind::ThinkingPart) => {
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]})
            }
            (Delta::Thinking(text), Kind::Thinking(field)) if field == THINKING_BLOCKS => {
                json!({field: [{"type": "thinking", "thinking": text}]})
            }
            (Delta::Thinking(text), Kind::Thinking(field)) => {
                if !self.own() {
                    self.thoughts.entry((choice, index)).or_default().0.push_str(&text);
                }
                json!({field: text})
            }
            (Delta::Thinking(text), _) => json!({REASONING: text}),
            (Delta::Signature(signature), _) if self.own() => {
                json!({THINKING_BLOCKS: [{"type": "thinking", "thinking": "", "signature": signature}]})
            }
            (Delta::Signature(signature), _) => {
                return self.thoughts.entry((choice, index)).or_default().1.push_str(&signature);
            }
            (Delta::Arguments(text), _) => match self.tools.get(&(choice, index)) {
                Some(number) => json!({"tool_calls": [{"index": number, "function": {"arguments": text}}]}),
                None => return,
            },
            (Delta::Opaque(raw), _) => {
                answer::lose_delta(&raw, &format!("choices[{choice}]"), losses);
                return;
            }
        };
        self.chunk(choice, body, out);
    }

    /// A chunk with one delta; the first of a choice names its role.
    fn chunk(&mut self, choice: u32, mut delta: Value, out: &mut Vec<u8>) {
        if self.roles.insert(choice)
            && let Value::Object(fields) = &mut delta
        {
            fields.insert("role".to_owned(), "assistant".into());
        }
        let choices = json!([{"index": choice, "delta": delta, "logprobs": null, "finish_reason": null}]);
        self.write(choices, None, out);
    }

    fn write(&self, choices: Value, usage: Option<Value>, out: &mut Vec<u8>) {
        let mut chunk = self.head.clone();
        chunk.insert("choices".to_owned(), choices);
        put(&mut chunk, "usage", usage);
        frame(out, &Value::Object(chunk));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        for (choice, word, mut rest) in std::mem::take(&mut self.stops) {
            let delta = take(&mut rest, "message").unwrap_or_else(|| json!({}));
            let mut last = Fields::from_iter([("index".to_owned(), choice.into()), ("delta".to_owned(), delta)]);
            last.insert("finish_reason".to_owned(), word.into());
            last.extend(rest);
            self.write(json!([last]), None, out);
        }
        if let Some((usage, raw)) = self.usage.take().filter(|_| self.wants_usage) {
            let usage = if self.own() { raw } else { answer::usage_value(&usage) };
            self.write(json!([]), Some(usage), out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

fn frame(out: &mut Vec<u8>, data: &Value) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
