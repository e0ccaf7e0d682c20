//! Whether the node lives, whether it takes calls, and its figures.

use crate::App;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use journal::Health;
use serde_json::json;

/// The process answers.
pub(crate) async fn live() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> axum::response::Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.metrics)()).into_response()
}

/// It takes calls: it is not stopping, and its log takes admissions.
pub(crate) async fn ready(State(app): State<App>) -> axum::response::Response {
    let why = match app.reactor.core.journal.health() {
        _ if app.draining() => "stopping".to_owned(),
        Health::Ready => return Json(json!({"status": "ok"})).into_response(),
        Health::DiskLow => "the disk is almost full".to_owned(),
        Health::Waiting(why) | Health::Failed(why) => why,
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable", "reason": why}))).into_response()
}
