//! Errors in a provider's own envelope.

use serde_json::{Value, json};

/// Whose words to use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    OpenAi,
    Anthropic,
}

/// An error that is answered.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// Instead of the usual code of the status.
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<String>,
}

impl Refusal {
    /// An error without anything special.
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), code: None, retry_after: None }
    }

    /// The body of the answer.
    pub(crate) fn body(&self, family: Family, request_id: &str) -> Value {
        match family {
            Family::OpenAi => json!({"error": self.open_ai()}),
            Family::Anthropic => json!({"type": "error", "error": self.anthropic(), "request_id": request_id}),
        }
    }

    fn open_ai(&self) -> Value {
        let (kind, code) = open_ai_words(self.status);
        let code = self.code.as_deref().or(code);
        let kind = if code == Some("insufficient_quota") { "insufficient_quota" } else { kind };
        json!({"message": self.message, "type": kind, "param": null, "code": code})
    }

    fn anthropic(&self) -> Value {
        let kind = self.code.as_deref().unwrap_or_else(|| anthropic_word(self.status));
        json!({"type": kind, "message": self.message})
    }
}

fn open_ai_words(status: u16) -> (&'static str, Option<&'static str>) {
    match status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        300..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}

fn anthropic_word(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        300..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_own_words() {
        let refusal = Refusal::new(429, "slow down");
        assert_eq!(refusal.body(Family::OpenAi, "req_1")["error"]["code"], "rate_limit_exceeded");
        let body = refusal.body(Family::Anthropic, "req_1");
        assert_eq!(
            (&body["type"], &body["error"]["type"], &body["request_id"]),
            (&json!("error"), &json!("rate_limit_error"), &json!("req_1"))
        );
        let quota = Refusal { code: Some("insufficient_quota".into()), ..refusal };
        assert_eq!(quota.body(Family::OpenAi, "")["error"]["type"], "insufficient_quota");
    }
}
