//! `GET /api/v1/export`: the whole configuration back as a file, secrets as `keep`.

use super::{FromApp, Params, Problem, answered, ask::Ask, page::wants_yaml};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use cluster_config::export;

/// JSON, or YAML by `Accept: application/yaml`.
pub(crate) async fn get(State(app): FromApp, axum::extract::Query(given): Params, headers: HeaderMap) -> Response {
    let answer = async {
        Ask::new(given).end()?;
        let file = app.reactor.core.look(export::export).await.ok_or_else(|| Problem::unavailable("the node is stopping"))?;
        Ok(if wants_yaml(&headers) {
            ([(header::CONTENT_TYPE, "application/yaml")], export::to_yaml(&file)).into_response()
        } else {
            Json(file).into_response()
        })
    };
    answered(&app, &headers, answer).await
}
