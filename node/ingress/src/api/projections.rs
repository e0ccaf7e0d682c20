//! The projections themselves: how far they are, and building one anew.

use super::{
    FromApp, Params, Problem, answered,
    ask::Ask,
    let_in,
    page::{Page, Wanted},
};
use crate::App;
use ::projections::{Status, View};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{Position, token::Need};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /api/v1/projections`.
pub(crate) async fn list(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let_in(&app, &headers, Need::Read, &method, &uri).await?.of_platform()?;
        let mut ask = Ask::new(given);
        let wanted = Wanted::read(&mut ask, &headers)?;
        ask.end()?;
        let rows = app.projections.views().iter().map(|view| shown(&app, view)).collect();
        Ok(Page::part(rows, &wanted)?.response(wanted.form))
    };
    answered(&app, answer).await
}

/// `GET /api/v1/projections/{name}[?digest]`: with a digest over its rows, which is equal after every rebuild.
pub(crate) async fn get(
    State(app): FromApp,
    Path(name): Path<String>,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let_in(&app, &headers, Need::Read, &method, &uri).await?.of_platform()?;
        let mut ask = Ask::new(given);
        let digest = ask.flag("digest")?;
        ask.end()?;
        let view = found(&app, &name)?;
        let mut body = shown(&app, &view);
        if digest {
            let digested =
                tokio::task::spawn_blocking(move || view.digest()).await.map_err(|_| Problem::unavailable("the digest failed"))?;
            let (next, hex) = digested.map_err(super::unreadable)?;
            body["digest"] = json!({"at": Position::new(next).to_string(), "sha256": hex});
        }
        Ok(Json(body).into_response())
    };
    answered(&app, answer).await
}

/// `POST /api/v1/projections/{name}/rebuild`: builds it anew from the whole history, while what there is serves.
pub(crate) async fn rebuild(State(app): FromApp, Path(name): Path<String>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = async {
        let_in(&app, &headers, Need::Operate, &method, &uri).await?.of_platform()?;
        let view = found(&app, &name)?;
        view.ask_rebuild();
        Ok((StatusCode::ACCEPTED, Json(shown(&app, &view))).into_response())
    };
    answered(&app, answer).await
}

fn found(app: &App, name: &str) -> Result<Arc<View>, Problem> {
    app.projections.view(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = app.projections.views().iter().map(|view| view.name()).collect();
        Problem::not_found(format!("there is no projection `{name}`; there are {}", names.join(", ")))
    })
}

fn shown(app: &App, view: &View) -> Value {
    let (status, why) = match view.status() {
        Status::Following => ("following", None),
        Status::Rebuilding => ("rebuilding", None),
        Status::Failed(why) => ("failed", Some(why)),
    };
    json!({
        "object": "projection", "name": view.name(), "status": status, "why": why, "at": Position::new(view.next()).to_string(),
        "lag_events": app.projections.lag(view), "rebuilds": view.rebuilds(),
    })
}
