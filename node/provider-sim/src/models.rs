//! `GET /v1/models` in both forms. Which one is meant, the caller's `anthropic-version` says.

use serde_json::{Value, json};

use crate::errors::Family;

const CREATED: &str = "2026-01-01T00:00:00Z";
const CREATED_SECONDS: u64 = 1_767_225_600;

/// The list.
pub(crate) fn list(family: Family, models: &[String]) -> Value {
    let data: Vec<Value> = models.iter().map(|name| model(family, name)).collect();
    match family {
        Family::OpenAi => json!({"object": "list", "data": data}),
        Family::Anthropic => json!({"data": data, "has_more": false, "first_id": models.first(), "last_id": models.last()}),
    }
}

/// One model.
pub(crate) fn model(family: Family, name: &str) -> Value {
    match family {
        Family::OpenAi => json!({"id": name, "object": "model", "created": CREATED_SECONDS, "owned_by": "provider-sim"}),
        Family::Anthropic => json!({"id": name, "type": "model", "display_name": name, "created_at": CREATED, "lifecycle": "active"}),
    }
}
