//! `GET /api/v1/capabilities`: what one dialect says to the other.

use super::{FromApp, answered, let_in};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::{IntoResponse, Response},
};
use events::token::Need;

pub(crate) async fn list(State(app): FromApp, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = async {
        let_in(&app, &headers, Need::Bill, &method, &uri).await?;
        Ok(Json(dialects::capabilities::list()).into_response())
    };
    answered(&app, answer).await
}
