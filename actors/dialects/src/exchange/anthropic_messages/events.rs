//! The events of a stream, in and out.

use super::answer::{
    count, error_value, fault, head, is_error, lay, lose_beside, lose_choice, lose_head, lost_kind, no_usage, odd, stop_words, take_stop,
    tier, usage_value,
};
use super::blocks::{is_object, object, read, says_nothing, spread_citations, take_deltas, write};
use crate::Dialect;
use crate::exchange::loss::{LossKind, Losses};
use crate::exchange::{Block, Delta, Event, Fields, Node, Stop, put, take, take_text, tool_id};
use crate::usage::AnthropicCounts;
use ::events::usage::Usage;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Blocks that may be open at once; of more, the oldest is over. This dialect's own are one after the other.
const OPEN_MAX: usize = 64;

/// Reads the frames of a stream.
#[derive(Default)]
pub struct Decoder {
    started: bool,
    /// Blocks begun.
    blocks: u32,
    open: Vec<Open>,
    counts: AnthropicCounts,
    /// All of `usage` that was said, the last word on each member.
    usage: Fields,
    /// What was said about the end before its reason came.
    rest: Fields,
    stopped: bool,
    ended: bool,
}

/// A block that goes on.
struct Open {
    /// The provider's number for it.
    number: Option<u64>,
    index: u32,
    kind: Kind,
    /// Arguments that stood in its start. They count if no others come.
    input: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Tool,
    Thinking,
    Other,
}

impl Kind {
    fn of(block: &Block) -> Kind {
        match block {
            Block::Text(_) => Kind::Text,
            Block::ToolUse { .. } => Kind::Tool,
            Block::Thinking { .. } => Kind::Thinking,
            _ => Kind::Other,
        }
    }
}

impl Decoder {
    /// Reads a frame. `name` is its `event`, for a provider that leaves `type` out.
    pub fn frame(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Event>) {
        if self.ended || matches!(data.trim_ascii(), b"" | b"[DONE]") {
            return;
        }
        match serde_json::from_slice(data) {
            Ok(Value::Object(fields)) => self.event(name, fields, out),
            // what is no JSON is a fault, unless all was said before it, or nobody would have read it
            _ if !self.stopped && name != b"ping" => self.fail(odd("The provider sent an event that is no JSON object."), out),
            _ => {}
        }
    }

    /// The stream has ended: without `message_stop` it is over if a reason was seen.
    pub fn close(&mut self, out: &mut Vec<Event>) {
        if !self.ended {
            self.stop_blocks(out);
            if self.stopped {
                self.end(out);
            }
        }
    }

    fn event(&mut self, name: &[u8], mut fields: Fields, out: &mut Vec<Event>) {
        if is_error(&fields) || (name == b"error" && !fields.contains_key("type")) {
            return self.fail(fault(&fields), out);
        }
        let named = fields.remove("type");
        let number = fields.get("index").and_then(Value::as_u64);
        match named.as_ref().and_then(Value::as_str).map_or(name, str::as_bytes) {
            b"message_start" => self.start(take(&mut fields, "message"), out),
            b"content_block_start" => self.block_start(number, take(&mut fields, "content_block"), out),
            b"content_block_delta" => {
                if let Some(Value::Object(delta)) = take(&mut fields, "delta") {
                    self.delta(number, delta, out);
                }
            }
            b"content_block_stop" => self.block_stop(number, out),
            b"message_delta" => self.message_delta(fields, out),
            b"message_stop" => self.end(out),
            _ => {}
        }
    }

    fn fail(&mut self, fault: crate::StreamFault, out: &mut Vec<Event>) {
        self.ended = true;
        out.push(Event::Fault(fault));
    }

    fn end(&mut self, out: &mut Vec<Event>) {
        self.stop_blocks(out);
        self.ended = true;
        out.push(Event::End);
    }

    fn start(&mut self, message: Option<Value>, out: &mut Vec<Event>) {
        let Some(Value::Object(mut message)) = message else { return };
        let usage = take(&mut message, "usage");
        // one that comes late or again has nothing new but its counts
        if std::mem::replace(&mut self.started, true) || self.blocks > 0 {
            return self.usage(usage, out);
        }
        let content = take(&mut message, "content");
        // these come with the end
        message.remove("stop_reason");
        message.remove("stop_sequence");
        for (name, value) in [("type", "message"), ("role", "assistant")] {
            if message.get(name).is_some_and(|said| said == value) {
                message.remove(name);
            }
        }
        let (id, model) = (take_text(&mut message, "id"), take_text(&mut message, "model"));
        out.push(Event::Start { id, model, service_tier: tier(usage.as_ref()), rest: message });
        self.usage(usage, out);
        if let Some(Value::Array(blocks)) = content {
            for block in blocks {
                self.block_start(None, Some(block), out);
                self.block_stop(None, out);
            }
        }
    }

    /// Counts again. A later word replaces an earlier one, and null is no word.
    fn usage(&mut self, usage: Option<Value>, out: &mut Vec<Event>) {
        let Some(raw @ Value::Object(_)) = usage else { return };
        let usage = count(&mut self.counts, &raw);
        if let Value::Object(fields) = raw {
            let said = |fields: &Fields, name: &str| fields.get(name).is_some_and(|value| !value.is_null());
            for (name, value) in fields {
                if !value.is_null() || !said(&self.usage, &name) {
                    self.usage.insert(name, value);
                }
            }
        }
        out.extend(usage.map(|usage| Event::Usage { usage, raw: self.usage.clone().into() }));
    }

    fn block_start(&mut self, number: Option<u64>, block: Option<Value>, out: &mut Vec<Event>) {
        let Some(mut block) = block else { return };
        if number.is_some() && self.open.iter().any(|open| open.number == number) {
            self.block_stop(number, out);
        }
        if let Value::Object(fields) = &mut block {
            complete(fields);
        }
        let mut node = read(block);
        spread_citations(&mut node);
        let deltas = take_deltas(&mut node);
        let index = self.begin(number, node, out);
        for delta in deltas {
            match (delta, self.open.last_mut()) {
                (Delta::Arguments(text), Some(open)) => open.input = Some(text),
                (delta, _) => out.push(Event::Delta { choice: 0, index, delta }),
            }
        }
    }

    fn begin(&mut self, number: Option<u64>, node: Node, out: &mut Vec<Event>) -> u32 {
        if self.open.len() >= OPEN_MAX {
            stop(self.open.remove(0), out);
        }
        let index = self.blocks;
        self.blocks = self.blocks.saturating_add(1);
        self.open.push(Open { number, index, kind: Kind::of(&node.block), input: Some("{}".to_owned()) });
        out.push(Event::BlockStart { choice: 0, index, node });
        index
    }

    /// Where in the list of open blocks the provider's number leads: a number that is not there means the last one.
    fn place(&self, number: Option<u64>) -> Option<usize> {
        self.open.iter().position(|open| number.is_some() && open.number == number).or(self.open.len().checked_sub(1))
    }

    fn delta(&mut self, number: Option<u64>, fields: Fields, out: &mut Vec<Event>) {
        let (kind, delta, beside) = read_delta(fields);
        let place = match (self.place(number), kind) {
            (Some(place), _) => place,
            // a provider that does not start its blocks
            (None, Kind::Text | Kind::Thinking) => {
                let block =
                    if kind == Kind::Text { Block::Text(String::new()) } else { Block::Thinking { text: String::new(), signature: None } };
                self.begin(number, block.into(), out);
                self.open.len() - 1
            }
            (None, _) => return,
        };
        let Some(open) = self.open.get_mut(place) else { return };
        let delta = match delta {
            Ok(delta) if kind == open.kind && says_nothing(&delta) => None,
            Ok(delta) if kind == open.kind => {
                open.input = None;
                Some(delta)
            }
            // of another kind than its block
            Ok(delta) => Some(Delta::Opaque(delta_value(delta))),
            Err(raw) => Some(Delta::Opaque(raw)),
        };
        let index = open.index;
        let deltas = delta.into_iter().chain(beside.map(Delta::Opaque));
        out.extend(deltas.map(|delta| Event::Delta { choice: 0, index, delta }));
    }

    fn block_stop(&mut self, number: Option<u64>, out: &mut Vec<Event>) {
        // a number that is not there may be that of a block that is over
        let place = match number {
            Some(_) => self
                .open
                .iter()
                .position(|open| open.number == number)
                .or((self.open.len() == 1 && self.open[0].number.is_none()).then_some(0)),
            None => self.open.len().checked_sub(1),
        };
        if let Some(place) = place {
            let open = self.open.remove(place);
            stop(open, out);
        }
    }

    fn stop_blocks(&mut self, out: &mut Vec<Event>) {
        self.open.drain(..).for_each(|open| stop(open, out));
    }

    fn message_delta(&mut self, mut fields: Fields, out: &mut Vec<Event>) {
        self.stop_blocks(out);
        let usage = take(&mut fields, "usage");
        self.usage(usage, out);
        let mut said = match take(&mut fields, "delta") {
            Some(Value::Object(delta)) => delta,
            _ => Fields::new(),
        };
        let stop = take_stop(&mut said);
        // null, or what is no word, says nothing
        said.retain(|name, _| !matches!(name.as_str(), "stop_reason" | "stop_sequence"));
        fields.remove("index");
        self.rest.extend(fields);
        self.rest.extend(said);
        if let Some(stop) = stop {
            self.stopped = true;
            out.push(Event::Stop { choice: 0, stop, rest: std::mem::take(&mut self.rest) });
        }
    }
}

/// What some providers leave out of the start of a block.
fn complete(fields: &mut Fields) {
    let absent = match fields.get("type").and_then(Value::as_str) {
        Some("text") => ("text", json!("")),
        Some("thinking") => ("thinking", json!("")),
        Some("tool_use") => ("input", json!({})),
        _ => return,
    };
    let (name, value) = absent;
    if fields.get(name).is_none_or(Value::is_null) {
        fields.insert(name.to_owned(), value);
    }
}

fn stop(open: Open, out: &mut Vec<Event>) {
    let Open { index, kind, input, .. } = open;
    // `{}` says in a stream that the arguments are still to come, and at its end that there are none
    if let Some(text) = input.filter(|_| kind == Kind::Tool) {
        out.push(Event::Delta { choice: 0, index, delta: Delta::Arguments(text) });
    }
    out.push(Event::BlockStop { choice: 0, index });
}

/// Reads a delta, and for which kind of block it is. One that is not as we know its kind stays as it is; so does what stands beside.
fn read_delta(mut fields: Fields) -> (Kind, Result<Delta, Value>, Option<Value>) {
    type Known = (Kind, &'static str, fn(String) -> Delta);
    let known: Option<Known> = match fields.get("type").and_then(Value::as_str) {
        Some("text_delta") => Some((Kind::Text, "text", Delta::Text)),
        Some("input_json_delta") => Some((Kind::Tool, "partial_json", Delta::Arguments)),
        Some("thinking_delta") => Some((Kind::Thinking, "thinking", Delta::Thinking)),
        Some("signature_delta") => Some((Kind::Thinking, "signature", Delta::Signature)),
        _ => None,
    };
    match known {
        Some((kind, name, delta)) => match take_text(&mut fields, name) {
            Some(text) => {
                let says_more = fields.iter().any(|(name, value)| name != "type" && !value.is_null());
                (kind, Ok(delta(text)), says_more.then(|| fields.into()))
            }
            None => (Kind::Other, Err(fields.into()), None),
        },
        None => (Kind::Other, Err(fields.into()), None),
    }
}

fn delta_value(delta: Delta) -> Value {
    match delta {
        Delta::Text(text) | Delta::Refusal(text) => json!({"type": "text_delta", "text": text}),
        Delta::Arguments(text) => json!({"type": "input_json_delta", "partial_json": text}),
        Delta::Thinking(text) => json!({"type": "thinking_delta", "thinking": text}),
        Delta::Signature(text) => json!({"type": "signature_delta", "signature": text}),
        Delta::Opaque(value) => value,
    }
}

/// Writes the frames of a stream. Blocks never overlap: one that begins while another is open waits for its end.
pub struct Encoder {
    from: Dialect,
    /// What the stream begins with. It is written when what follows on it is known.
    id: Option<String>,
    model: Option<String>,
    tier: Option<String>,
    head: Fields,
    announced: bool,
    started: bool,
    usage: Option<(Usage, Value)>,
    /// The usage that `message_start` gave is the last one.
    usage_said: bool,
    /// The first one is written as it comes, the others wait.
    blocks: VecDeque<Written>,
    /// Blocks on the wire.
    written: u64,
    stop: Option<(Stop, Fields)>,
    done: bool,
}

/// A block on its way.
struct Written {
    index: u32,
    /// What its start says, until it is written.
    start: Option<Value>,
    /// It says something by its start alone. Another dialect's text that stays empty is not written.
    at_once: bool,
    /// Deltas that wait.
    deltas: Vec<Delta>,
    /// The arguments of another dialect's tool, which have to be an object.
    arguments: Option<String>,
    stopped: bool,
    lost: bool,
}

impl Encoder {
    pub fn new(from: Dialect) -> Encoder {
        Encoder {
            from,
            id: None,
            model: None,
            tier: None,
            head: Fields::new(),
            announced: false,
            started: false,
            usage: None,
            usage_said: false,
            blocks: VecDeque::new(),
            written: 0,
            stop: None,
            done: false,
        }
    }

    fn own(&self) -> bool {
        self.from == Dialect::Anthropic
    }

    /// Writes what an event is, or keeps it until it can be written.
    pub fn event(&mut self, event: Event, losses: &mut Losses, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        match event {
            // what comes in several pieces is gathered until the first block
            Event::Start { id, model, service_tier, rest } => {
                self.announced = true;
                self.id = self.id.take().or(id);
                self.model = self.model.take().or(model);
                if self.own() {
                    lay(&mut self.head, rest);
                } else {
                    lose_head(&rest, service_tier.as_deref(), losses);
                }
                self.tier = service_tier.or(self.tier.take());
            }
            Event::Usage { usage, raw } => {
                self.usage = Some((usage, raw));
                self.usage_said = false;
            }
            Event::BlockStart { choice: 0, index, node } => self.block_start(index, node, losses, out),
            Event::Delta { choice: 0, index, delta } => self.delta(index, delta, losses, out),
            Event::BlockStop { choice: 0, index } => self.block_stop(index, losses, out),
            Event::Stop { choice: 0, stop, rest } => self.stop = Some((stop, rest)),
            Event::BlockStart { choice, .. } | Event::Delta { choice, .. } | Event::Stop { choice, .. } => {
                losses.lose(LossKind::Choices, format!("choices[{choice}]"));
            }
            Event::BlockStop { .. } => {}
            Event::Fault(fault) => {
                self.done = true;
                if self.announced {
                    self.begin(out);
                }
                frame("error", error_value(&fault, self.from), out);
            }
            Event::End => self.end(losses, out),
        }
    }

    /// Writes `message_start`, if it is not written yet.
    fn begin(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut message = head(self.id.take(), self.model.take(), self.from);
        lay(&mut message, std::mem::take(&mut self.head));
        let usage = self.usage_value();
        self.usage_said = usage.is_some();
        put(&mut message, "usage", usage.or((!self.own()).then(no_usage)));
        for (name, value) in [("content", json!([])), ("stop_reason", Value::Null), ("stop_sequence", Value::Null)] {
            message.insert(name.to_owned(), value);
        }
        frame("message_start", object([("message", message.into())]), out);
    }

    fn usage_value(&self) -> Option<Value> {
        self.usage.as_ref().map(|(usage, raw)| usage_value(usage, raw.clone(), self.tier.as_deref(), self.from))
    }

    fn block_start(&mut self, index: u32, mut node: Node, losses: &mut Losses, out: &mut Vec<u8>) {
        self.begin(out);
        let arguments = matches!(node.block, Block::ToolUse { .. }).then(String::new).filter(|_| !self.own());
        let at_once = self.own() || matches!(node.block, Block::ToolUse { .. } | Block::Redacted(_));
        let deltas = take_deltas(&mut node);
        let start = self.start_value(node, losses);
        let lost = start.is_none();
        self.blocks.push_back(Written { index, start, at_once, deltas: Vec::new(), arguments, stopped: false, lost });
        deltas.into_iter().for_each(|delta| self.delta(index, delta, losses, out));
        if self.blocks.len() == 1 && at_once {
            self.open_first(out);
        }
    }

    /// What the start of a block says. `None` if it is lost.
    fn start_value(&self, mut node: Node, losses: &mut Losses) -> Option<Value> {
        let path = format!("content[{}]", self.written + self.blocks.len() as u64);
        if !self.own() {
            lose_beside(&node, &path, losses);
            node.rest.clear();
            node.cache = None;
            if let Block::ToolUse { id, .. } = &mut node.block {
                *id = tool_id(id);
            }
        }
        let known =
            matches!(node.block, Block::Text(_) | Block::Refusal(_) | Block::ToolUse { .. } | Block::Thinking { .. } | Block::Redacted(_));
        let mut value = if self.own() || known { write(&node) } else { None };
        match &mut value {
            None => losses.lose(lost_kind(&node.block), path),
            // clients count on a signature
            Some(Value::Object(fields)) if matches!(node.block, Block::Thinking { .. }) => {
                fields.entry("signature").or_insert_with(|| "".into());
            }
            Some(_) => {}
        }
        value
    }

    /// Writes the start of the first block, if it is not written yet.
    fn open_first(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.front_mut() else { return };
        if let Some(start) = block.start.take() {
            frame("content_block_start", object([("index", self.written.into()), ("content_block", start)]), out);
        }
    }

    fn delta(&mut self, index: u32, delta: Delta, losses: &mut Losses, out: &mut Vec<u8>) {
        let own = self.own();
        let Some(at) = self.blocks.iter().position(|block| block.index == index) else { return };
        let Some(block) = self.blocks.get_mut(at).filter(|block| !block.lost && !says_nothing(&delta)) else { return };
        if !own && matches!(delta, Delta::Opaque(_)) {
            losses.lose(LossKind::Content, format!("content[{}]", self.written + at as u64));
            return;
        }
        if let (Some(arguments), Delta::Arguments(text)) = (&mut block.arguments, &delta) {
            arguments.push_str(text);
        }
        if at > 0 {
            block.deltas.push(delta);
            return;
        }
        self.open_first(out);
        self.write_delta(delta, out);
    }

    fn write_delta(&self, delta: Delta, out: &mut Vec<u8>) {
        frame("content_block_delta", object([("index", self.written.into()), ("delta", delta_value(delta))]), out);
    }

    fn block_stop(&mut self, index: u32, losses: &mut Losses, out: &mut Vec<u8>) {
        if let Some(block) = self.blocks.iter_mut().find(|block| block.index == index) {
            block.stopped = true;
        }
        self.go_on(losses, out);
    }

    /// Ends the first block if it is over, and lets the next one begin.
    fn go_on(&mut self, losses: &mut Losses, out: &mut Vec<u8>) {
        while self.blocks.front().is_some_and(|block| block.stopped) {
            self.finish_first(losses, out);
            self.write_waiting(out);
        }
    }

    fn finish_first(&mut self, losses: &mut Losses, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.pop_front() else { return };
        let begun = block.start.is_none() && !block.lost;
        if block.arguments.is_some_and(|text| !text.trim().is_empty() && !is_object(&text)) {
            losses.lose(LossKind::Arguments, format!("content[{}]", self.written));
        }
        if begun {
            frame("content_block_stop", object([("index", self.written.into())]), out);
            self.written += 1;
        }
    }

    /// Writes what the first block has waited with.
    fn write_waiting(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.blocks.front_mut() else { return };
        let deltas = std::mem::take(&mut block.deltas);
        if block.at_once || !deltas.is_empty() {
            self.open_first(out);
        }
        deltas.into_iter().for_each(|delta| self.write_delta(delta, out));
    }

    fn end(&mut self, losses: &mut Losses, out: &mut Vec<u8>) {
        self.done = true;
        self.begin(out);
        self.blocks.iter_mut().for_each(|block| block.stopped = true);
        self.go_on(losses, out);
        let stop = self.stop.take();
        // clients of this dialect count on one; its own streams stay as they are
        if stop.is_some() || !self.own() || (self.usage.is_some() && !self.usage_said) {
            self.message_delta(stop, losses, out);
        }
        frame("message_stop", Fields::new(), out);
    }

    fn message_delta(&mut self, stop: Option<(Stop, Fields)>, losses: &mut Losses, out: &mut Vec<u8>) {
        let (stop, rest) = stop.map_or((None, Fields::new()), |(stop, rest)| (Some(stop), rest));
        let (word, sequence) = stop_words(stop.as_ref(), self.from, losses);
        let mut delta = object([("stop_reason", word), ("stop_sequence", sequence)]);
        let mut fields = Fields::new();
        if self.own() {
            for (name, value) in rest {
                // of what is known to stand there, this alone stands beside the delta
                if name == "context_management" {
                    fields.insert(name, value)
                } else {
                    delta.insert(name, value)
                };
            }
        } else {
            lose_choice(&rest, losses);
        }
        fields.insert("delta".to_owned(), delta.into());
        put(&mut fields, "usage", self.usage_value().or((!self.own()).then(no_usage)));
        frame("message_delta", fields, out);
    }
}

/// Writes one frame; `type` is the name of the event.
fn frame(name: &str, mut fields: Fields, out: &mut Vec<u8>) {
    fields.insert("type".to_owned(), name.into());
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // a map of JSON values is always written
    out.extend_from_slice(Value::Object(fields).to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
