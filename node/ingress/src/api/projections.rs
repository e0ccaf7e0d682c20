//! The projections themselves: how far they are, and building one anew.

use super::{
    Asking, Path, Problem,
    page::{Page, Wanted},
    turn,
};
use crate::App;
use ::projections::{Status, View};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{Position, token::Need};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/v1/projections`.
pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Read).await?.of_platform()?;
        let mut ask = asking.ask();
        let wanted = Wanted::read(&mut ask, &asking.headers)?;
        ask.end()?;
        let app = &asking.app;
        Ok(Page::part(app.projections.views().to_vec(), &wanted, |view| shown(app, &view))?.response(wanted.form))
    };
    asking.answered(answer).await
}

/// `GET /api/v1/projections/{name}[?digest]`: with a digest over its rows, which is equal after every rebuild.
pub(crate) async fn get(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        asking.let_in(Need::Read).await?.of_platform()?;
        let mut ask = asking.ask();
        let digest = ask.flag("digest")?;
        ask.end()?;
        let view = found(&asking.app, &name)?;
        let mut body = shown(&asking.app, &view);
        if digest {
            let _turn = turn(&asking.app).await?; // it reads all rows
            let digested =
                tokio::task::spawn_blocking(move || view.digest()).await.map_err(|_| Problem::unavailable("the digest failed"))?;
            let (next, hex) = digested?;
            body["digest"] = json!({"at": Position::new(next).to_string(), "sha256": hex});
        }
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}

/// `POST /api/v1/projections/{name}/rebuild`: builds it anew from the whole history, while what there is serves.
pub(crate) async fn rebuild(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        asking.let_in_platform(Need::Operate).await?;
        asking.ask().end()?;
        let view = found(&asking.app, &name)?;
        view.ask_rebuild();
        Ok((StatusCode::ACCEPTED, Json(shown(&asking.app, &view))).into_response())
    };
    asking.answered(answer).await
}

fn found(app: &App, name: &str) -> Result<Arc<View>, Problem> {
    app.projections.view(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = app.projections.views().iter().map(|view| view.name()).collect();
        Problem::not_found(format!("there is no projection `{name}`; there are {}", names.join(", ")))
    })
}

fn shown(app: &App, view: &View) -> Value {
    let (status, why) = match view.status() {
        Status::Following => ("following", view.not_rebuilt()),
        Status::Rebuilding => ("rebuilding", None),
        Status::Failed(why) => ("failed", Some(why)),
    };
    json!({
        "object": "projection", "name": view.name(), "status": status, "why": why, "at": Position::new(view.next()).to_string(),
        "lag_events": app.projections.lag(view), "rebuilds": view.rebuilds(),
    })
}
