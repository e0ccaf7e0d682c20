//! The translation lane: a request for a provider that speaks another dialect, and its answer back, whole or in pieces.

use crate::{
    Dialect, Endpoint, ErrorKind, ErrorView, Invalid,
    answer::StreamFault,
    error_body,
    exchange::{
        Event, Exchange, Target, anthropic_messages,
        fold::{Answer, fold},
        foreign_thinking,
        loss::Losses,
        openai_chat,
        schema_tool::SchemaTool,
    },
    sse::{Frame, Framer},
};
use bytes::Bytes;
use serde_json::Value;

impl Endpoint {
    /// The endpoint of another dialect at which this one's requests can be asked; None: they cannot be said there.
    pub fn at(self, dialect: Dialect) -> Option<Endpoint> {
        match (self, dialect) {
            _ if self.dialect() == dialect => Some(self),
            (Endpoint::ChatCompletions, Dialect::Anthropic) => Some(Endpoint::Messages),
            (Endpoint::Messages, Dialect::OpenAi) => Some(Endpoint::ChatCompletions),
            // there is nobody to ask: it is counted here
            (Endpoint::CountTokens, Dialect::OpenAi) => Some(Endpoint::CountTokens),
            _ => None,
        }
    }
}

/// A request in a target's dialect.
#[derive(Clone, Debug)]
pub struct Translated {
    endpoint: Endpoint,
    body: Value,
    /// The shape of the answer is asked for by a forced tool.
    pub schema_tool: bool,
    pub losses: Losses,
    /// Length of the body, in bytes, without what [`Translated::body`] sets.
    pub bytes: usize,
}

/// Reads a request: once, for however many targets.
///
/// # Errors
/// The body is not what its endpoint takes.
pub fn read_exchange(from: Endpoint, body: &[u8]) -> Result<Exchange, Invalid> {
    let body: Value = serde_json::from_slice(body).map_err(|error| *Invalid::json(error.column(), &error.to_string()))?;
    match from.dialect() {
        Dialect::OpenAi => openai_chat::decode_request(body),
        Dialect::Anthropic => anthropic_messages::decode_request(body),
    }
}

/// Translates a request for a target at `to`. For one of the caller's own dialect it stays as it is, but for thinking that its provider did
/// not make.
pub fn translate_request(exchange: &Exchange, to: Endpoint, target: &Target) -> Translated {
    let mut losses = Losses::default();
    let mut own = None;
    if exchange.from == to.dialect() {
        foreign_thinking::leave_out(own.insert(exchange.clone()), &mut losses);
    }
    let exchange = own.as_ref().unwrap_or(exchange);
    let encoded = match to.dialect() {
        Dialect::OpenAi => openai_chat::encode_request(exchange, target, &mut losses),
        Dialect::Anthropic => anthropic_messages::encode_request(exchange, target, &mut losses),
    };
    let bytes = encoded.body.to_string().len();
    Translated { endpoint: to, body: encoded.body, schema_tool: encoded.schema_tool, losses, bytes }
}

impl Translated {
    /// The body as it goes out. `limit`: name and tokens of an output limit that is set for the caller. Usage is asked for wherever the
    /// provider takes that option.
    pub fn body(&self, limit: Option<(&str, u64)>, usage_option: bool) -> Bytes {
        let mut body = self.body.clone();
        if let Value::Object(fields) = &mut body {
            if let Some((name, tokens)) = limit {
                fields.insert(name.to_owned(), tokens.into());
                think_less(fields, tokens);
            }
            let streams = fields.get("stream") == Some(&Value::Bool(true));
            if streams && usage_option && self.endpoint == Endpoint::ChatCompletions {
                fields.insert("stream_options".to_owned(), serde_json::json!({"include_usage": true}));
            }
        }
        Bytes::from(body.to_string())
    }
}

/// Anthropic: thinking must leave room below the limit, and has a least budget.
fn think_less(fields: &mut serde_json::Map<String, Value>, limit: u64) {
    const BUDGET_MIN: u64 = 1_024;
    let Some(budget) = fields.get_mut("thinking").and_then(|thinking| thinking.get_mut("budget_tokens")) else { return };
    if budget.as_u64().is_some_and(|budget| budget < limit) {
        return;
    }
    if limit / 2 >= BUDGET_MIN {
        *budget = (limit / 2).into();
    } else {
        fields.remove("thinking");
    }
}

/// Takes an answer of one dialect and gives it in the caller's.
pub struct Translator {
    from: Endpoint,
    caller: Endpoint,
    /// Seconds since 1970, for dialects that name the time.
    created: u64,
    schema_tool: bool,
    decoder: Decoder,
    encoder: Encoder,
    schema: SchemaTool,
    events: Vec<Event>,
    losses: Losses,
    /// Nothing but a byte order mark can have come.
    first: bool,
    ended: bool,
}

enum Decoder {
    OpenAi(openai_chat::Decoder),
    Anthropic(anthropic_messages::Decoder),
}

enum Encoder {
    OpenAi(openai_chat::Encoder),
    Anthropic(anthropic_messages::Encoder),
}

/// An answer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl Translator {
    /// From the endpoint that was asked to the caller's. `wants_usage`: the caller asked for usage in its stream.
    pub fn new(from: Endpoint, caller: Endpoint, created: u64, wants_usage: bool, schema_tool: bool) -> Translator {
        let decoder = match from.dialect() {
            Dialect::OpenAi => Decoder::OpenAi(openai_chat::Decoder::default()),
            Dialect::Anthropic => Decoder::Anthropic(anthropic_messages::Decoder::default()),
        };
        let encoder = match caller.dialect() {
            Dialect::OpenAi => Encoder::OpenAi(openai_chat::Encoder::new(from.dialect(), created, wants_usage)),
            Dialect::Anthropic => Encoder::Anthropic(anthropic_messages::Encoder::new(from.dialect())),
        };
        Translator {
            from,
            caller,
            created,
            schema_tool,
            decoder,
            encoder,
            schema: SchemaTool::default(),
            events: Vec::new(),
            losses: Losses::default(),
            first: true,
            ended: false,
        }
    }

    /// What the answer lost so far.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// A whole answer.
    ///
    /// # Errors
    /// It is no answer of its dialect.
    pub fn whole(&mut self, body: &[u8]) -> Result<Bytes, Unreadable> {
        let value: Value = serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
        let mut events = match self.from.dialect() {
            Dialect::OpenAi => openai_chat::decode_answer(value),
            Dialect::Anthropic => anthropic_messages::decode_answer(value),
        };
        if self.schema_tool {
            events = events.into_iter().map(|event| self.schema.event(event)).collect();
        }
        let answer = fold(events).map_err(|misplaced| Unreadable(misplaced.0.to_owned()))?;
        if let Some(fault) = &answer.fault {
            return Ok(fault_body(self.caller, fault));
        }
        Ok(Bytes::from(self.encode(answer).to_string()))
    }

    fn encode(&mut self, answer: Answer) -> Value {
        let from = self.from.dialect();
        match self.caller.dialect() {
            Dialect::OpenAi => openai_chat::encode_answer(answer, from, self.created, &mut self.losses),
            Dialect::Anthropic => anthropic_messages::encode_answer(answer, from, &mut self.losses),
        }
    }

    /// Frames of a stream, whole ones; only the last may lack its empty line.
    pub fn frames(&mut self, bytes: &[u8]) -> Bytes {
        let first = std::mem::take(&mut self.first);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| first).unwrap_or(bytes);
        let (mut framer, mut at) = (Framer::default(), 0);
        while let Some(end) = framer.end(bytes, at) {
            self.frame(&bytes[at..end]);
            at = end;
        }
        if at < bytes.len() {
            self.frame(&bytes[at..]);
        }
        self.write()
    }

    fn frame(&mut self, bytes: &[u8]) {
        let frame = Frame::read(bytes);
        let Some(data) = &frame.data else { return };
        match &mut self.decoder {
            Decoder::OpenAi(decoder) => decoder.frame(frame.name, data, &mut self.events),
            Decoder::Anthropic(decoder) => decoder.frame(frame.name, data, &mut self.events),
        }
    }

    /// The stream is over.
    pub fn close(&mut self) -> Bytes {
        match &mut self.decoder {
            Decoder::OpenAi(decoder) => decoder.close(&mut self.events),
            Decoder::Anthropic(decoder) => decoder.close(&mut self.events),
        }
        self.write()
    }

    fn write(&mut self) -> Bytes {
        let mut out = Vec::new();
        for event in std::mem::take(&mut self.events) {
            if self.ended {
                break;
            }
            self.ended = event == Event::End;
            let event = if self.schema_tool { self.schema.event(event) } else { event };
            match &mut self.encoder {
                Encoder::OpenAi(encoder) => encoder.event(event, &mut self.losses, &mut out),
                Encoder::Anthropic(encoder) => encoder.event(event, &mut self.losses, &mut out),
            }
        }
        Bytes::from(out)
    }
}

/// A provider's error answer, in the caller's dialect: class, code and message stay. None: it holds no error that can be read.
pub fn translate_error(caller: Endpoint, from: Endpoint, status: u16, body: &[u8], request_id: &str) -> Option<Bytes> {
    let said = crate::read_answer(from, body).ok().and_then(|answer| answer.fault);
    let fault = said.filter(|fault| fault.code.is_some() || fault.kind.is_some()).or_else(|| loose_fault(body))?;
    Some(error_body(caller.dialect(), &view(&StreamFault { status, ..fault }, request_id)))
}

/// An error in a form of a provider's own: `{"detail": …}`, `{"message": …}`, a code beside a text, any of them in a list.
fn loose_fault(body: &[u8]) -> Option<StreamFault> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let outer = value.as_array().map_or(Some(&value), |list| list.first())?;
    let inner = outer.get("error").filter(|error| error.is_object()).unwrap_or(outer);
    let words = |names: &[&str]| names.iter().find_map(|name| inner.get(name).or(outer.get(name)).and_then(word));
    let message = words(&["message", "error", "detail", "msg"]).or_else(|| {
        // a list of what is wrong, each with its own words
        let list = outer.get("detail")?.as_array()?;
        let texts: Vec<String> = list.iter().filter_map(|one| one.get("msg").and_then(word)).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    })?;
    let code = words(&["code", "error_type", "status"]);
    Some(StreamFault { message, code, kind: words(&["type"]), ..StreamFault::default() })
}

/// A text, or a number as one; bounded, for it stands in an error of ours.
fn word(value: &Value) -> Option<String> {
    const CHARS_MAX: usize = 4_096;
    match value {
        Value::String(text) if !text.is_empty() => Some(text.chars().take(CHARS_MAX).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn fault_body(caller: Endpoint, fault: &StreamFault) -> Bytes {
    error_body(caller.dialect(), &view(fault, ""))
}

fn view<'a>(fault: &'a StreamFault, request_id: &'a str) -> ErrorView<'a> {
    let code = fault.code.as_deref().or(fault.kind.as_deref()).unwrap_or("upstream_error");
    ErrorView {
        status: fault.status,
        kind: ErrorKind::of_status(fault.status),
        code,
        message: &fault.message,
        param: None,
        request_id,
        tollgate: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_forms_of_their_own_keep_code_and_message() {
        let said = |body: &str| {
            let body = translate_error(Endpoint::Messages, Endpoint::ChatCompletions, 400, body.as_bytes(), "call_1")?;
            let value: Value = serde_json::from_slice(&body).expect("JSON");
            let of = |name: &str| value["error"][name].as_str().map(str::to_owned);
            assert_eq!(of("type").as_deref(), Some("invalid_request_error"));
            Some((of("code")?, of("message")?))
        };
        let is = |code: &str, message: &str| Some((code.to_owned(), message.to_owned()));
        assert_eq!(said(r#"{"error":{"message":"no","type":"t","code":"c"}}"#), is("c", "no"));
        assert_eq!(said(r#"{"error":{"message":"no","code":400}}"#), is("400", "no"));
        assert_eq!(said(r#"{"detail":"no"}"#), is("upstream_error", "no"));
        assert_eq!(said(r#"{"detail":[{"loc":["a"],"msg":"no"},{"msg":"never"}]}"#), is("upstream_error", "no; never"));
        assert_eq!(said(r#"{"code":"c","error":"no"}"#), is("c", "no"));
        assert_eq!(said(r#"{"error_type":"c","message":"no"}"#), is("c", "no"));
        assert_eq!(said(r#"{"object":"error","message":"no","type":"t","code":null}"#), is("t", "no"));
        assert_eq!(said(r#"[{"error":{"message":"no","status":"S"}}]"#), is("S", "no"));
        assert_eq!(said(r#"{"error":{"message":"no"}}"#), is("upstream_error", "no"));
        assert_eq!(said("<html>no</html>"), None);
        assert_eq!(said(r#"{"a":1}"#), None);
    }
}
