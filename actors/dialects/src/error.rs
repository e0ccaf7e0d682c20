//! Errors in the caller's own words.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::{Dialect, Endpoint};

/// What kind of error it is; each dialect has its own word for it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong.
    InvalidRequest,
    /// No key, or a wrong one.
    Authentication,
    /// The key may not do this.
    Permission,
    /// There is no such model or route.
    NotFound,
    /// The body is too large.
    TooLarge,
    /// Too much at once; waiting helps.
    RateLimit,
    /// A budget is spent; waiting a moment does not help.
    Quota,
    /// A fault of the gateway or of a provider.
    Api,
    /// No room just now.
    Overloaded,
    /// A deadline has passed.
    Timeout,
}

impl ErrorKind {
    /// The dialect's `type`.
    pub fn word(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::OpenAi => self.openai(),
            Dialect::Anthropic => self.anthropic(),
        }
    }

    fn openai(self) -> &'static str {
        match self {
            ErrorKind::InvalidRequest | ErrorKind::NotFound | ErrorKind::TooLarge => "invalid_request_error",
            // OpenAI's own API answers a wrong key and a forbidden model by this type too
            ErrorKind::Authentication | ErrorKind::Permission => "invalid_request_error",
            ErrorKind::RateLimit => "rate_limit_error",
            ErrorKind::Quota => "insufficient_quota",
            ErrorKind::Api | ErrorKind::Overloaded => "server_error",
            ErrorKind::Timeout => "timeout",
        }
    }

    fn anthropic(self) -> &'static str {
        match self {
            ErrorKind::InvalidRequest => "invalid_request_error",
            ErrorKind::Authentication => "authentication_error",
            ErrorKind::Permission => "permission_error",
            ErrorKind::NotFound => "not_found_error",
            ErrorKind::TooLarge => "request_too_large",
            ErrorKind::RateLimit | ErrorKind::Quota => "rate_limit_error",
            ErrorKind::Api => "api_error",
            ErrorKind::Overloaded => "overloaded_error",
            ErrorKind::Timeout => "timeout_error",
        }
    }

    /// The kind that an HTTP status stands for, for errors of which nothing else is known.
    pub fn of_status(status: u16) -> ErrorKind {
        match status {
            401 => ErrorKind::Authentication,
            402 => ErrorKind::Quota,
            403 => ErrorKind::Permission,
            404 => ErrorKind::NotFound,
            408 | 504 => ErrorKind::Timeout,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::RateLimit,
            503 | 529 => ErrorKind::Overloaded,
            400..=499 => ErrorKind::InvalidRequest,
            _ => ErrorKind::Api,
        }
    }
}

/// An error, in no dialect yet.
#[derive(Copy, Clone, Debug)]
pub struct ErrorView<'a> {
    /// HTTP status.
    pub status: u16,
    pub kind: ErrorKind,
    /// Our own stable word, such as `budget_exceeded`.
    pub code: &'a str,
    /// For people.
    pub message: &'a str,
    /// The field to blame.
    pub param: Option<&'a str>,
    /// The call's id.
    pub request_id: &'a str,
    /// Facts for programs.
    pub tollgate: Option<&'a Value>,
}

/// The body of an error answer.
pub fn error_body(dialect: Dialect, e: &ErrorView<'_>) -> Bytes {
    Bytes::from(envelope(dialect, e).to_string())
}

/// The event by which a stream ends in an error, so that the endpoint's own clients raise it. `sequence` is the number of the event,
/// for the dialect that counts them.
pub fn error_event(endpoint: Endpoint, e: &ErrorView<'_>, sequence: u64) -> Bytes {
    let dialect = endpoint.dialect();
    let envelope = envelope(dialect, e);
    Bytes::from(match endpoint {
        Endpoint::Responses => {
            // clients raise on the field `error`; the flat fields are what the type of the event names
            let error = envelope.get("error");
            let data = json!({
                "type": "error", "code": e.code, "message": e.message, "param": e.param, "sequence_number": sequence, "error": error,
            });
            format!("event: error\ndata: {data}\n\n")
        }
        Endpoint::Messages | Endpoint::CountTokens => format!("event: error\ndata: {envelope}\n\n"),
        Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Embeddings => format!("data: {envelope}\n\n"),
    })
}

/// A comment that keeps a silent stream open; every client skips it.
pub fn keep_alive(_: Endpoint) -> &'static [u8] {
    b": keep-alive\n\n"
}

fn envelope(dialect: Dialect, e: &ErrorView<'_>) -> Value {
    let mut error = Map::new();
    error.insert("message".to_owned(), e.message.into());
    error.insert("type".to_owned(), e.kind.word(dialect).into());
    error.insert("code".to_owned(), e.code.into());
    if dialect == Dialect::OpenAi || e.param.is_some() {
        error.insert("param".to_owned(), e.param.into());
    }
    if let Some(facts) = e.tollgate {
        error.insert("tollgate".to_owned(), facts.clone());
    }
    match dialect {
        Dialect::OpenAi => json!({ "error": error }),
        Dialect::Anthropic => json!({ "type": "error", "request_id": e.request_id, "error": error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    fn view<'a>(facts: &'a Value) -> ErrorView<'a> {
        ErrorView {
            status: 429,
            kind: ErrorKind::Quota,
            code: "budget_exceeded",
            message: "budget of scope \"search\" is spent",
            param: None,
            request_id: "call_1",
            tollgate: Some(facts),
        }
    }

    #[test]
    fn bodies_have_the_form_of_their_dialect() {
        let facts = json!({"failed": "policy", "limit": "50"});
        let openai: Value = serde_json::from_slice(&error_body(Dialect::OpenAi, &view(&facts))).expect("json");
        assert_eq!(
            openai,
            json!({"error": {"message": "budget of scope \"search\" is spent", "type": "insufficient_quota", "param": null,
                "code": "budget_exceeded", "tollgate": {"failed": "policy", "limit": "50"}}})
        );
        let anthropic: Value = serde_json::from_slice(&error_body(Dialect::Anthropic, &view(&facts))).expect("json");
        assert_eq!(
            anthropic,
            json!({"type": "error", "request_id": "call_1", "error": {"type": "rate_limit_error",
                "message": "budget of scope \"search\" is spent", "code": "budget_exceeded", "tollgate": {"failed": "policy", "limit": "50"}}})
        );
    }

    #[test]
    fn our_own_events_read_back_as_faults() {
        let facts = json!({});
        for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Responses, Endpoint::Messages] {
            let mut stream = Stream::new(endpoint, 1, false);
            let mut out = Vec::new();
            stream.push(error_event(endpoint, &view(&facts), 7), &mut out).expect("short");
            let fault = stream.failed().expect("a fault");
            assert_eq!(fault.message, "budget of scope \"search\" is spent", "{endpoint}");
            assert_eq!(fault.code.as_deref(), Some("budget_exceeded"));
            assert_eq!(fault.status, 429, "{endpoint}");
            assert!(!stream.complete() && out.len() == 1);
        }
    }

    #[test]
    fn the_event_of_responses_has_what_its_type_names() {
        let facts = json!({});
        let event = error_event(Endpoint::Responses, &view(&facts), 7);
        let data = event.strip_prefix(b"event: error\ndata: ").expect("an event");
        let data: Value = serde_json::from_slice(data).expect("json");
        assert_eq!((&data["type"], &data["sequence_number"], &data["code"]), (&json!("error"), &json!(7), &json!("budget_exceeded")));
        assert_eq!(data["error"]["type"], "insufficient_quota");
    }

    #[test]
    fn every_status_has_a_kind() {
        for (status, word) in [
            (400, "invalid_request_error"),
            (403, "permission_error"),
            (413, "request_too_large"),
            (500, "api_error"),
            (529, "overloaded_error"),
        ] {
            assert_eq!(ErrorKind::of_status(status).word(Dialect::Anthropic), word);
        }
    }
}
