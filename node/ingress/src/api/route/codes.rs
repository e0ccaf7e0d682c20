//! The codes of problems that administration answers. `deploy/docs/operations.md` says what to do about each; a test holds the two together.

/// One code.
pub(in crate::api) struct Code {
    pub code: &'static str,
    pub status: u16,
    pub means: &'static str,
}

const fn code(code: &'static str, status: u16, means: &'static str) -> Code {
    Code { code, status, means }
}

pub(in crate::api) const CODES: [Code; 23] = [
    code("invalid_parameter", 400, "a parameter is unknown or cannot be taken; `path` names it"),
    code("invalid_body", 400, "the body cannot be read"),
    code("incomplete_body", 400, "the body broke off"),
    code("invalid_configuration", 400, "what was sent cannot be configured; `problems` has every reason with its place"),
    code("too_much", 400, "the question has too many groups"),
    code("invalid_admin_token", 401, "there is no token, or none that is known and live"),
    code("role_not_allowed", 403, "the token's role may not do this"),
    code("platform_only", 403, "the token is of one tenant, and this is of all"),
    code("not_found", 404, "there is no such thing, or it is too old"),
    code("bodies_not_kept", 404, "the call is there, its bodies are not; `detail` says why"),
    code("unknown_url", 404, "there is no such route"),
    code("method_not_allowed", 405, "the route has no such method"),
    code("request_timeout", 408, "the body did not come in time"),
    code("ambiguous", 409, "the name stands for several things; use an id"),
    code("idempotency_in_flight", 409, "a request under this idempotency key is being carried out; ask again"),
    code("in_use", 409, "something hangs on it; `problems` names it"),
    code("changed", 412, "it is not what `If-Match` or `If-None-Match` says"),
    code("request_too_large", 413, "the body is too large"),
    code("idempotency_key_reused", 422, "another request came under this idempotency key"),
    code("headers_too_large", 431, "there are too many headers, or too many bytes of them"),
    code("history_unreadable", 500, "stored events cannot be read"),
    code("unavailable", 503, "the node takes nothing now, or the question took too long; try again"),
    code("apply_stopped", 503, "the change was cut short; send the same again"),
];
