//! What a caller is told when a call does not end well: our own refusals and faults, in no dialect yet.

use crate::{
    gate::{BudgetDenial, Denial},
    rates::TooFast,
};
use bytes::Bytes;
use cluster_config::{ModelRefusal, PathBudget};
use dialects::{Dialect, Endpoint, ErrorKind, ErrorView, Invalid, error_body, error_event};
use events::{
    Owner,
    money::{Unit, amount_text},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Who failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller asked for what cannot be, or for more than it may.
    Policy,
    Upstream,
    Gateway,
}

/// One error, with everything that is said about it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub status: StatusCode,
    pub kind: ErrorKind,
    pub code: &'static str,
    pub message: String,
    pub param: Option<String>,
    pub side: Side,
    /// Seconds; None: waiting does not help.
    pub retry_after_s: Option<u64>,
    /// More facts, beside `failed`.
    pub facts: Value,
}

impl Fault {
    pub fn new(status: StatusCode, kind: ErrorKind, code: &'static str, side: Side, message: impl Into<String>) -> Fault {
        Fault { status, kind, code, message: message.into(), param: None, side, retry_after_s: None, facts: json!({}) }
    }

    fn policy(status: StatusCode, kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(status, kind, code, Side::Policy, message)
    }

    pub fn after(mut self, seconds: u64) -> Fault {
        self.retry_after_s = Some(seconds.clamp(1, 60));
        self
    }

    pub fn about(mut self, param: impl Into<String>) -> Fault {
        self.param = Some(param.into());
        self
    }

    /// Something wrong with the request itself.
    pub fn invalid(invalid: &Invalid) -> Fault {
        let fault = Fault::policy(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, invalid.code, invalid.message.clone());
        Fault { param: invalid.param.clone(), ..fault }
    }

    pub fn model(model: &str, refusal: &ModelRefusal, endpoint: Endpoint) -> Fault {
        match refusal {
            ModelRefusal::NotFound { near } => {
                let hint = if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(", ")) };
                let fault = Fault::policy(
                    StatusCode::NOT_FOUND,
                    ErrorKind::NotFound,
                    "model_not_found",
                    format!("the model `{model}` does not exist here or is not available to this key{hint}"),
                );
                Fault { facts: json!({"near": near}), ..fault.about("model") }
            }
            ModelRefusal::NotAllowed => Fault::policy(
                StatusCode::FORBIDDEN,
                ErrorKind::Permission,
                "model_not_allowed",
                format!("this key may not use the model `{model}`"),
            )
            .about("model"),
            ModelRefusal::OtherDialect { speaks, .. } => {
                let message = format!(
                    "the model `{model}` is served by a provider that speaks {}, which {} is not part of; call it by an endpoint of that dialect",
                    speaks.as_str(),
                    endpoint.path()
                );
                Fault::policy(StatusCode::NOT_FOUND, ErrorKind::NotFound, "model_other_dialect", message).about("model")
            }
        }
    }

    pub fn unpriced(model: &str) -> Fault {
        let message =
            format!("the model `{model}` has no price, and a budget in USD covers this call; give it one under models or providers");
        Fault::policy(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, "model_unpriced", message).about("model")
    }

    /// What the Gate refused. `path` names the budgets.
    pub fn denied(denial: &Denial, path: &[std::sync::Arc<PathBudget>]) -> Fault {
        match denial {
            Denial::TooFast(fast) => too_fast(fast),
            Denial::Budget(budget) => budget_fault(budget, path),
            Denial::Stale => Fault::gateway_busy("the configuration is changing; try again"),
            Denial::Claimed => Fault::policy(
                StatusCode::CONFLICT,
                ErrorKind::InvalidRequest,
                "idempotency_key_in_use",
                "a call with this Idempotency-Key is known already",
            ),
            Denial::Closed(why) => Fault::gateway_busy(&format!("nothing new is admitted for now: {why}")),
        }
    }

    /// 503 that passes by itself.
    pub fn gateway_busy(message: &str) -> Fault {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Overloaded, "unavailable", Side::Gateway, message).after(1)
    }

    pub fn upstream(status: StatusCode, code: &'static str, message: impl Into<String>) -> Fault {
        let kind = if status == StatusCode::GATEWAY_TIMEOUT { ErrorKind::Timeout } else { ErrorKind::Api };
        Fault::new(status, kind, code, Side::Upstream, message)
    }

    /// The provider has answered, but its record is not durable yet: the end is not given.
    pub fn record_pending(call: &str) -> Fault {
        let message = format!(
            "the answer to {call} is here, but its record is not durable yet, so it is not given; the call is charged once and is in the log when the log is back"
        );
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Api, "record_pending", Side::Gateway, message)
    }

    fn tollgate(&self) -> Value {
        let mut facts = self.facts.clone();
        if let Value::Object(map) = &mut facts {
            let failed = match self.side {
                Side::Policy => "policy",
                Side::Upstream => "upstream",
                Side::Gateway => "gateway",
            };
            map.insert("failed".into(), failed.into());
        }
        facts
    }

    fn with_view<R>(&self, request_id: &str, show: impl FnOnce(&ErrorView<'_>) -> R) -> R {
        let tollgate = self.tollgate();
        show(&ErrorView {
            status: self.status.as_u16(),
            kind: self.kind,
            code: self.code,
            message: &self.message,
            param: self.param.as_deref(),
            request_id,
            tollgate: Some(&tollgate),
        })
    }

    /// As the body of an answer.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> Bytes {
        self.with_view(request_id, |view| error_body(dialect, view))
    }

    /// As the last event of a stream.
    pub fn event(&self, endpoint: Endpoint, request_id: &str, sequence: u64) -> Bytes {
        self.with_view(request_id, |view| error_event(endpoint, view, sequence))
    }

    /// What SDKs act on at their default settings: a refusal that waiting cannot cure is not retried.
    pub fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.retry_after_s {
            Some(seconds) => drop(headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds))),
            None if self.side != Side::Upstream => drop(headers.insert("x-should-retry", HeaderValue::from_static("false"))),
            None => {}
        }
    }
}

fn too_fast(fast: &TooFast) -> Fault {
    let level = fast.owner.level();
    let message = format!(
        "{} of {level} {} is {}; {}",
        fast.limit.as_str(),
        fast.name,
        fast.allowed,
        match fast.retry_after_s {
            Some(seconds) => format!("try again in {seconds} s"),
            None => "this call alone is larger than that".into(),
        }
    );
    let fault = Fault::policy(StatusCode::TOO_MANY_REQUESTS, ErrorKind::RateLimit, "rate_limit_exceeded", message);
    let facts = json!({"level": level, "name": fast.name, "limit_kind": fast.limit.as_str(), "limit": fast.allowed});
    Fault { retry_after_s: fast.retry_after_s, facts, ..fault }
}

fn budget_fault(denial: &BudgetDenial, path: &[std::sync::Arc<PathBudget>]) -> Fault {
    let Some(budget) = path.iter().find(|budget| budget.id == denial.budget) else {
        return Fault::gateway_busy("the budgets of this key are changing; try again");
    };
    let (code, kind) = if denial.exceeded { ("budget_exceeded", ErrorKind::Quota) } else { ("budget_held", ErrorKind::RateLimit) };
    let unit = budget.identity.unit;
    let every = budget.identity.every.as_str();
    let resets_at = denial.resets_at.map(|at| at.to_string());
    let fault = if budget.identity.owner == Owner::Platform {
        let fault = Fault::policy(StatusCode::TOO_MANY_REQUESTS, kind, code, "a budget of the platform has no room for this call");
        Fault { facts: json!({"level": "platform"}), ..fault }
    } else {
        let figure = |amount| amount_text(unit, amount);
        let what = if !denial.exceeded {
            "is held by calls in flight"
        } else if denial.needed > denial.limit && denial.settled < denial.limit {
            "is smaller than what this call may cost"
        } else {
            "is spent"
        };
        let per = if every == "total" {
            "in all".to_owned()
        } else if every == "hour" {
            "an hour".into()
        } else {
            format!("a {every}")
        };
        let needed = if unit == Unit::Requests { String::new() } else { format!(", this call may cost {}", figure(denial.needed)) };
        let resets = resets_at.as_ref().map(|at| format!("; resets {at}")).unwrap_or_default();
        let message = format!(
            "budget of {} {} {what}: {} {} {per}, settled {}, held {}{needed}{resets}",
            budget.level,
            budget.owner_name,
            figure(denial.limit),
            unit.as_str(),
            figure(denial.settled),
            figure(denial.held)
        );
        let facts = json!({
            "level": budget.level, "name": budget.owner_name, "budget": budget.id.to_string(), "unit": unit.as_str(), "every": every, "limit": figure(denial.limit),
            "settled": figure(denial.settled), "held": figure(denial.held), "needed": figure(denial.needed), "resets_at": resets_at,
        });
        Fault { facts, ..Fault::policy(StatusCode::TOO_MANY_REQUESTS, kind, code, message) }
    };
    if denial.exceeded { fault } else { fault.after(1) }
}
