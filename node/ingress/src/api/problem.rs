//! What went wrong, as problem details (RFC 9457) with our code, and where in the request.

use ::projections::Fault;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// One problem.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// The parameter, or the place in the body.
    path: Option<String>,
    /// Several at once.
    problems: Option<Value>,
}

/// Rows that cannot be read.
impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        tracing::error!(why = %fault, "a projection cannot be read");
        Problem::unavailable("the projection cannot be read; `tollgate rebuild` makes it anew")
    }
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), path: None, problems: None }
    }

    /// A parameter that cannot be taken.
    pub fn parameter(name: &str, detail: impl Into<String>) -> Problem {
        Problem { path: Some(name.into()), ..Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail) }
    }

    /// With each of its parts, by place.
    pub fn listing(self, problems: Value) -> Problem {
        Problem { problems: Some(problems), ..self }
    }

    /// It is not for whoever asks, or not there for them.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
    }

    /// The configuration would not be in order.
    pub fn is_invalid(&self) -> bool {
        self.code == "invalid_configuration"
    }

    /// The same, seen from another side.
    pub fn because(self, status: StatusCode, code: &'static str, why: &str) -> Problem {
        Problem { status, code, detail: format!("{why}:\n{}", self.detail), ..self }
    }

    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    pub fn not_let_in() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "invalid_admin_token", "this needs an administrator's token, as `Authorization: Bearer …`")
    }

    /// This node takes nothing more.
    pub fn stopping() -> Problem {
        Problem::unavailable("the node is stopping")
    }

    /// What passes by itself.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    pub fn response(self, id: &str) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut body = json!({
            "type": format!("urn:tollgate:problem:{}", self.code), "title": title, "status": self.status.as_u16(), "detail": self.detail,
            "code": self.code, "request_id": id,
        });
        if let Some(path) = self.path {
            body["path"] = path.into();
        }
        if let Some(problems) = self.problems {
            body["problems"] = problems;
        }
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.code == "idempotency_in_flight" {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        with_id(response, id)
    }
}

/// The id by which lines of the log and an answer are found together.
pub(crate) fn with_id(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
}
