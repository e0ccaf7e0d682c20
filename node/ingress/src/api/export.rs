//! `GET /api/v1/export`: the whole configuration back as a file, secrets as `keep`.

use super::{FromApp, Params, Problem, answered, ask::Ask, let_in, page::wants_yaml};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, Uri, header},
    response::{IntoResponse, Response},
};
use cluster_config::export;
use events::token::Need;

/// JSON, or YAML by `Accept: application/yaml`.
pub(crate) async fn get(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let_in(&app, &headers, Need::Configure, &method, &uri).await?.of_platform()?;
        Ask::new(given).end()?;
        let file = app.reactor.core.look(export::export).await.ok_or_else(|| Problem::unavailable("the node is stopping"))?;
        Ok(if wants_yaml(&headers) {
            ([(header::CONTENT_TYPE, "application/yaml")], export::to_yaml(&file)).into_response()
        } else {
            Json(file).into_response()
        })
    };
    answered(&app, answer).await
}
