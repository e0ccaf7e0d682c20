//! Administration: a configuration is applied, the history is read.

use crate::{App, calls, shown_key};
use actors::{
    administration::{Applied, ApplyFault},
    fault::{Fault, Side},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use dialects::ErrorKind;
use events::{Position, cloudevent, envelope::Principal, envelope::Recorded};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use subtle::ConstantTimeEq;

/// The administrator's token, hashed.
pub struct Admin {
    hash: [u8; 32],
}

impl Admin {
    /// `hash`: what [`Admin::hash`] makes of the token.
    pub fn new(token: &str) -> Admin {
        Admin { hash: digest(token) }
    }

    pub(crate) fn lets_in(&self, headers: &HeaderMap) -> bool {
        shown_key(headers).is_some_and(|token| digest(token).ct_eq(&self.hash).into())
    }
}

fn digest(token: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(token.as_bytes()).into()
}

const EVENTS_MAX: usize = 10_000;
/// Events that are rendered in one look at the state, so that the core thread is not kept.
const EVENTS_A_LOOK: usize = 200;

fn not_let_in(app: &App, uri: &Uri, headers: &HeaderMap) -> Response {
    let fault = Fault::new(
        StatusCode::UNAUTHORIZED,
        ErrorKind::Authentication,
        "invalid_admin_token",
        Side::Policy,
        "this needs the administrator's token, as `Authorization: Bearer …`",
    );
    calls::refuse_route(app, uri.path(), headers, &fault)
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.metrics)()).into_response()
}

/// `POST /api/v1/apply[?dry_run&prune]`: the file, variables filled in.
pub(crate) async fn apply(
    State(app): State<App>,
    Query(query): Query<BTreeMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !app.admin.lets_in(&headers) {
        return not_let_in(&app, &uri, &headers);
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        let fault =
            Fault::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, "invalid_configuration", Side::Policy, "the file is not UTF-8");
        return calls::refuse_route(&app, uri.path(), &headers, &fault);
    };
    let on = |name: &str| query.get(name).is_some_and(|value| value != "false");
    // The node's own environment is not the sender's: what is left unfilled is an error.
    match app.administration.apply(text, &|_| None, on("prune"), on("dry_run"), Principal::Admin(0)).await {
        Ok(applied) => Json(shown(&applied)).into_response(),
        Err(fault) => calls::refuse_route(&app, uri.path(), &headers, &apply_fault(&fault)),
    }
}

fn shown(applied: &Applied) -> Value {
    json!({"position": applied.position.to_string(), "changes": applied.changes, "secrets": applied.secrets})
}

fn apply_fault(fault: &ApplyFault) -> Fault {
    match fault {
        ApplyFault::Problems(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect();
            let list: Vec<Value> = problems.iter().map(|problem| json!({"path": problem.path, "message": problem.message})).collect();
            let fault =
                Fault::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, "invalid_configuration", Side::Policy, lines.join("\n"));
            Fault { facts: json!({"problems": list}), ..fault }
        }
        ApplyFault::Stopped { done, why } => {
            let message = format!("after {done} changes: {why}; applying the same file again goes on from there");
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::Api, "apply_stopped", Side::Gateway, message).after(1)
        }
    }
}

/// `GET /api/v1/events?from=0&limit=1000`: the history as CloudEvents, JSON Lines.
pub(crate) async fn events(
    State(app): State<App>,
    Query(query): Query<BTreeMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if !app.admin.lets_in(&headers) {
        return not_let_in(&app, &uri, &headers);
    }
    let from = query.get("from").map_or(Some(Position::new(0)), |from| from.parse::<Position>().ok());
    let from = from.filter(|position| position.shard == 0).map(|position| position.n); // there is one
    let limit = query.get("limit").map_or(Some(1_000), |limit| limit.parse::<usize>().ok());
    let (Some(from), Some(limit)) = (from, limit) else {
        let fault = Fault::new(
            StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRequest,
            "invalid_query",
            Side::Policy,
            "`from` takes a position such as 0:17, `limit` a number",
        );
        return calls::refuse_route(&app, uri.path(), &headers, &fault);
    };
    match lines(&app, from, limit.min(EVENTS_MAX)).await {
        Ok(text) => ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response(),
        Err(why) => {
            let fault = Fault::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Api, "history_unreadable", Side::Gateway, why);
            calls::refuse_route(&app, uri.path(), &headers, &fault)
        }
    }
}

async fn lines(app: &App, from: u64, limit: usize) -> Result<String, String> {
    let core = &app.reactor.core;
    let stopping = || "this node is stopping".to_owned();
    let journal = core.journal.clone();
    let records: Vec<Recorded> =
        core.run(move |_| async move { journal.read(from, limit).await }).await.ok_or_else(stopping)?.map_err(|fault| fault.to_string())?;
    let mut text = String::new();
    let mut rest = records;
    while !rest.is_empty() {
        let later = rest.split_off(rest.len().min(EVENTS_A_LOOK));
        let cluster = core.cluster.clone();
        let part = core
            .look(move |state| rest.iter().map(|record| format!("{}\n", cloudevent::render(record, state, &cluster))).collect::<String>())
            .await;
        text.push_str(&part.ok_or_else(stopping)?);
        rest = later;
    }
    Ok(text)
}

/// `GET /api/v1/capabilities`: what one dialect says to the other.
pub(crate) async fn capabilities(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    if !app.admin.lets_in(&headers) {
        return not_let_in(&app, &uri, &headers);
    }
    Json(dialects::capabilities::list()).into_response()
}
