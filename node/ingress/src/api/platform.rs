//! `GET | PUT /api/v1/platform`: what stands at the top of the configuration file, as one entry: the platform's own budgets, `loss` and
//! `request_log`.

use super::{
    Asking, Problem, Sent,
    entries::{etag, expecting, not_set},
};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cluster_config::export;
use events::token::Need;
use serde_json::{Value, json};

/// What may stand in it.
const FIELDS: [&str; 3] = ["budgets", "loss", "request_log"];

pub(crate) async fn get(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Read).await?.of_platform()?;
        asking.ask().end()?;
        let spec = asking.look(export::platform).await?;
        Ok(tagged(&spec, shown(&spec)))
    };
    asking.answered(answer).await
}

/// Brings the platform to this: a budget that is not named is closed.
pub(crate) async fn put(asking: Asking, sent: Sent) -> Response {
    let answer = async {
        let (access, body) = sent.with(asking.let_in_platform(Need::Configure).await).await?;
        asking.ask().end()?;
        let spec = spec(&body)?;
        let expected = expecting(&asking.headers, |state| Some(etag(&export::platform(state))))?;
        let applied = asking.app.administration.set_platform(spec, expected, access.principal).await.map_err(|fault| not_set("", fault))?;
        let spec = asking.look(export::platform).await?;
        let mut body = shown(&spec);
        body["position"] = applied.position.to_string().into();
        Ok(tagged(&spec, body))
    };
    asking.answered(answer).await
}

fn spec(body: &[u8]) -> Result<Value, Problem> {
    let wrong = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_body", detail);
    let spec: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("the body is no JSON: {error}")))?;
    let fields = spec.as_object().ok_or_else(|| wrong("the body must be an object of `budgets`, `loss` and `request_log`".into()))?;
    match fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        None => Ok(spec),
        Some(field) => {
            Err(Problem::parameter(field, "this takes `budgets`, `loss` and `request_log`; everything else has a route of its own"))
        }
    }
}

fn shown(spec: &Value) -> Value {
    json!({"object": "platform", "etag": etag(spec), "spec": spec})
}

fn tagged(spec: &Value, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(value) = HeaderValue::from_str(&etag(spec)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}
