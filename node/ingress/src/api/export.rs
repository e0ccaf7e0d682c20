//! `GET /api/v1/export`: the whole configuration back as a file, secrets as `keep`.

use super::{Asking, page::wants_yaml};
use axum::{
    Json,
    http::header,
    response::{IntoResponse, Response},
};
use cluster_config::export;
use events::token::Need;

/// JSON, or YAML by `Accept: application/yaml`.
pub(crate) async fn get(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Configure).await?.of_platform()?;
        asking.ask().end()?;
        let file = asking.look(export::export).await?;
        Ok(if wants_yaml(&asking.headers) {
            ([(header::CONTENT_TYPE, "application/yaml")], export::to_yaml(&file)).into_response()
        } else {
            Json(file).into_response()
        })
    };
    asking.answered(answer).await
}
