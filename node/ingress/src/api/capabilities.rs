//! `GET /api/v1/capabilities`: what one dialect says to the other.

use super::Asking;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use events::token::Need;

pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Bill).await?;
        Ok(Json(dialects::capabilities::list()).into_response())
    };
    asking.answered(answer).await
}
