//! What a key has used and what it may still use: from the state itself, at a position.

use crate::{App, calls, principal};
use actors::fault::Fault;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
    response::IntoResponse,
};
use cluster_config::{PathBudget, Principal};
use events::{Owner, Position, State as Books, Timestamp, money::amount_text};
use serde_json::{Value, json};

/// `GET /v1/usage`: the key's meter since it was made.
pub(crate) async fn usage(State(app): State<App>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    show(app, uri, headers, meter).await
}

/// `GET /v1/budget`: the key's path, nearest first.
pub(crate) async fn budget(State(app): State<App>, uri: Uri, headers: HeaderMap) -> axum::response::Response {
    show(app, uri, headers, path).await
}

async fn show(app: App, uri: Uri, headers: HeaderMap, view: fn(&Books, &Principal, Timestamp) -> Value) -> axum::response::Response {
    let (principal, _) = match principal(&app, &headers) {
        Ok(found) => found,
        Err(refusal) => return calls::refuse_route(&app, uri.path(), &headers, &calls::key_fault(&refusal)),
    };
    let now = app.reactor.core.clock.now();
    match app.reactor.core.look(move |books| view(books, &principal, now)).await {
        Some(value) => Json(value).into_response(),
        None => calls::refuse_route(&app, uri.path(), &headers, &Fault::gateway_busy("this node is stopping")),
    }
}

fn meter(books: &Books, principal: &Principal, _now: Timestamp) -> Value {
    let meter = books.books.meters.get(&principal.key).cloned().unwrap_or_default();
    let since = books.books.keys.get(&principal.key).map(|key| key.made_at).unwrap_or_default();
    let usage = &meter.usage;
    json!({
        "object": "usage", "at": Position::new(books.position()).to_string(), "key": principal.name, "since": since.to_string(),
        "calls": {"open": meter.open, "finished": meter.finished, "orphaned": meter.orphaned, "released": meter.released},
        "tokens": {
            "input": usage.input, "cache_read": usage.cache_read, "cache_write": usage.cache_write + usage.cache_write_1h, "output": usage.output,
            "reasoning": usage.reasoning, "audio_input": usage.audio_input, "audio_output": usage.audio_output,
        },
        "cost": {"USD": meter.cost.to_string()}, "uncertain": {"USD": meter.uncertain.to_string()},
    })
}

fn path(books: &Books, principal: &Principal, now: Timestamp) -> Value {
    let shown = principal.budgets.iter().filter(|budget| budget.identity.owner != Owner::Platform);
    let data: Vec<Value> = shown.map(|budget| one(books, budget, now)).collect();
    json!({"object": "list", "at": Position::new(books.position()).to_string(), "data": data, "has_more": false, "next_cursor": null})
}

fn one(books: &Books, budget: &PathBudget, now: Timestamp) -> Value {
    let (start, window) = books.figures(budget.id, now.max(books.desk.time())).unwrap_or_default();
    let unit = budget.identity.unit;
    let text = |amount| amount_text(unit, amount);
    let limit = budget.terms.limit;
    let mut shown = json!({
        "object": "budget", "id": budget.id.to_string(), "level": budget.level, "name": budget.owner_name, "unit": unit.as_str(),
        "every": budget.identity.every.as_str(), "hard": budget.terms.hard, "limit": text(limit), "settled": text(window.settled), "held": text(window.held),
        "free": text(limit - window.settled - window.held), "overrun": text(window.overrun), "open_calls": window.open_calls,
        "resets_at": budget.identity.every.end(start).map(|at| at.to_string()),
    });
    let only = &budget.identity.only;
    if !only.models.is_empty() || !only.providers.is_empty() || !only.tags.is_empty() {
        shown["only"] = json!({"models": only.models, "providers": only.providers, "tags": only.tags});
    }
    shown
}
