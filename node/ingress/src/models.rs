//! The models that a key may use.

use crate::{App, calls, guess_dialect, principal};
use actors::fault::{Fault, Side};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::IntoResponse,
};
use cluster_config::Listing;
use dialects::{Dialect, ErrorKind};
use events::Timestamp;
use serde_json::{Value, json};

/// `GET /v1/models`, in the form of the dialect that asks.
pub(crate) async fn list(State(app): State<App>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    let (principal, policy) = match principal(&app, &headers) {
        Ok(found) => found,
        Err(refusal) => return calls::refuse_route(&app, uri.path(), &headers, &calls::key_fault(&refusal)),
    };
    let dialect = guess_dialect(uri.path(), &headers);
    let data: Vec<Value> = policy.view.models(&principal).iter().map(|model| one(model, dialect)).collect();
    if dialect == Dialect::OpenAi {
        return Json(json!({"object": "list", "data": data})).into_response();
    }
    let (first, last) = (data.first().map(|model| model["id"].clone()), data.last().map(|model| model["id"].clone()));
    Json(json!({"data": data, "has_more": false, "first_id": first, "last_id": last})).into_response()
}

/// `GET /v1/models/{id}`.
pub(crate) async fn get(State(app): State<App>, Path(id): Path<String>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    let (principal, policy) = match principal(&app, &headers) {
        Ok(found) => found,
        Err(refusal) => return calls::refuse_route(&app, uri.path(), &headers, &calls::key_fault(&refusal)),
    };
    match policy.view.models(&principal).iter().find(|model| model.name == id) {
        Some(model) => Json(one(model, guess_dialect(uri.path(), &headers))).into_response(),
        None => {
            let message = format!("the model `{id}` does not exist here or is not available to this key");
            let fault = Fault::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, "model_not_found", Side::Policy, message);
            calls::refuse_route(&app, uri.path(), &headers, &fault.about("model"))
        }
    }
}

fn one(model: &Listing, dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenAi => json!({"id": model.name, "object": "model", "created": 0, "owned_by": model.provider}),
        Dialect::Anthropic => {
            json!({
                "type": "model", "id": model.name, "display_name": model.name, "created_at": Timestamp(0).to_string(), "lifecycle": "active",
                "max_input_tokens": model.bounds.context_tokens, "max_tokens": model.bounds.max_output_tokens,
            })
        }
    }
}
