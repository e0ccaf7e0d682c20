//! Administration by REST: tenants, scopes, keys, providers and models, each as its entry of the configuration file (`spec`).
//! `GET /api/v1/KINDs`, `GET | PUT | DELETE /api/v1/KINDs/{name or id}`, `POST /api/v1/keys/{name}/block | unblock | rotate`.

use super::{
    Access, FromApp, Params, Problem, answered, apply,
    ask::Ask,
    let_in,
    page::{Page, Wanted},
};
use crate::App;
use actors::administration::{EntryChange, EntryFault, Expected};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use cluster_config::export::{Entry, entries};
use events::{KeyId, State as Books, StreamId, token::Need};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The nouns, as they stand in paths, and one of each.
pub(crate) const KINDS: [(&str, &str); 5] =
    [("tenants", "tenant"), ("scopes", "scope"), ("keys", "key"), ("providers", "provider"), ("models", "model")];

fn kind_of(uri: &Uri) -> &'static str {
    let segment = uri.path().split('/').nth(3).unwrap_or_default();
    KINDS.iter().find(|(many, _)| *many == segment).map_or("", |(_, one)| one)
}

pub(crate) async fn list(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Read, &method, &uri).await?;
        let mut ask = Ask::new(given);
        let wanted = Wanted::read(&mut ask, &headers)?;
        ask.end()?;
        let kind = kind_of(&uri);
        let rows = look(&app, move |state| {
            let seen = entries(state).into_iter().filter(|entry| entry.kind == kind && is_seen(entry, &access));
            seen.map(|entry| shown(&entry, state)).collect()
        });
        let form = wanted.form;
        Ok(Page::part(rows.await?, &wanted)?.response(form))
    };
    answered(&app, answer).await
}

pub(crate) async fn get(State(app): FromApp, Path(name): Path<String>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Read, &method, &uri).await?;
        let (entry, body) = found(&app, kind_of(&uri), name, access).await?;
        Ok(tagged(Json(body).into_response(), &entry))
    };
    answered(&app, answer).await
}

/// Makes it, or brings it to this. `If-Match` and `If-None-Match: *` say what the caller thinks is there.
pub(crate) async fn put(
    State(app): FromApp,
    Path(name): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Configure, &method, &uri).await?;
        access.of_platform()?;
        let (kind, known) = (kind_of(&uri), find(&app, kind_of(&uri), name.clone(), access.clone()).await?);
        let spec = spec(&body, known.as_ref().map_or(name.as_str(), |entry| entry.name.as_str()))?;
        let is_new = known.is_none();
        let expected = expected(kind, known.as_ref().map(|entry| entry.id), &headers)?;
        let change = EntryChange { kind, entry: spec.clone(), expected };
        let applied = app.administration.set_entry(change, access.principal).await.map_err(|fault| problem(kind, fault))?;
        let wanted = known.map_or_else(|| spec_name(kind, &spec), |entry| entry.id.to_string());
        let (entry, mut body) = found(&app, kind, wanted, access).await?;
        body["position"] = applied.position.to_string().into();
        if let Some(secret) = applied.secrets.values().next() {
            body["secret"] = secret.as_str().into();
        }
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(tagged((status, Json(body)).into_response(), &entry))
    };
    answered(&app, answer).await
}

/// Closes or revokes it, for good. What hangs on it must go first.
pub(crate) async fn delete(State(app): FromApp, Path(name): Path<String>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Configure, &method, &uri).await?;
        access.of_platform()?;
        let kind = kind_of(&uri);
        let (entry, _) = found(&app, kind, name, access.clone()).await?;
        let expected = expected(kind, Some(entry.id), &headers)?;
        let removed = app.administration.remove_entry(kind, entry.id, expected, access.principal).await;
        let applied = removed.map_err(|fault| match problem(kind, fault) {
            in_use if in_use.is_invalid() => in_use.because(StatusCode::CONFLICT, "in_use", "something still hangs on it"),
            other => other,
        })?;
        Ok(Json(json!({"object": kind, "id": entry.id.to_string(), "deleted": true, "position": applied.position.to_string()}))
            .into_response())
    };
    answered(&app, answer).await
}

/// `POST /api/v1/keys/{name}/block | unblock | rotate`.
pub(crate) async fn act(
    State(app): FromApp,
    Path((name, action)): Path<(String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let answer = async {
        let need = if action == "rotate" { Need::Configure } else { Need::Operate };
        let access = let_in(&app, &headers, need, &method, &uri).await?;
        let (entry, _) = found(&app, "key", name, access.clone()).await?;
        let StreamId::Key(id) = entry.id else { return Err(Problem::not_found("this is no key")) };
        let secret = match action.as_str() {
            "block" | "unblock" => {
                let blocked = app.administration.block_key(id, action == "block", access.principal).await;
                blocked.map_err(|fault| problem("key", fault))?;
                None
            }
            "rotate" => {
                access.of_platform()?;
                Some(rotate(&app, &entry, &access, &headers).await?)
            }
            _ => return Err(Problem::not_found(format!("a key takes block, unblock and rotate, not {action}"))),
        };
        let (entry, mut body) = found(&app, "key", id.to_string(), access).await?;
        if let Some(secret) = secret {
            body["secret"] = secret.into();
        }
        Ok(tagged(Json(body).into_response(), &entry))
    };
    answered(&app, answer).await
}

/// A new secret; the old one lets nobody in from then on.
async fn rotate(app: &App, entry: &Entry, access: &Access, headers: &HeaderMap) -> Result<String, Problem> {
    let secret = app.administration.make_secret();
    let mut spec = entry.spec.clone();
    spec["secret"] = secret.as_str().into();
    let expected = expected("key", Some(entry.id), headers)?;
    let change = EntryChange { kind: "key", entry: spec, expected };
    app.administration.set_entry(change, access.principal).await.map_err(|fault| problem("key", fault))?;
    Ok(secret)
}

async fn look<R: Send + 'static>(app: &App, look: impl FnOnce(&Books) -> R + Send + 'static) -> Result<R, Problem> {
    app.reactor.core.look(look).await.ok_or_else(|| Problem::unavailable("the node is stopping"))
}

fn is_seen(entry: &Entry, access: &Access) -> bool {
    access.tenant.is_none() || entry.tenant == access.tenant
}

/// Its id, its name, or `tenant/name`; None: there is none.
async fn find(app: &App, kind: &'static str, name: String, access: Access) -> Result<Option<Entry>, Problem> {
    let wanted = name.clone();
    let matching = look(app, move |state| {
        let called = |entry: &Entry| {
            let full = || entry.tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| format!("{}/{}", tenant.name, entry.name));
            entry.id.to_string() == wanted || entry.name == wanted || full().is_some_and(|full| full == wanted)
        };
        let of_kind = entries(state).into_iter().filter(|entry| entry.kind == kind && is_seen(entry, &access));
        of_kind.filter(called).collect::<Vec<_>>()
    });
    let mut matching = matching.await?;
    if matching.len() > 1 {
        let ids: Vec<String> = matching.iter().map(|entry| entry.id.to_string()).collect();
        return Err(Problem::new(StatusCode::CONFLICT, "ambiguous", format!("`{name}` is the name of {}; say which", ids.join(", "))));
    }
    Ok(matching.pop())
}

async fn found(app: &App, kind: &'static str, name: String, access: Access) -> Result<(Entry, Value), Problem> {
    let entry = find(app, kind, name.clone(), access).await?.ok_or_else(|| Problem::not_found(format!("there is no {kind} `{name}`")))?;
    let copy = entry.clone();
    let body = look(app, move |state| shown(&copy, state)).await?;
    Ok((entry, body))
}

fn shown(entry: &Entry, state: &Books) -> Value {
    let tenant = entry.tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str());
    let mut body = json!({
        "object": entry.kind, "id": entry.id.to_string(), "name": entry.name, "tenant": tenant, "etag": etag(&entry.spec), "spec": entry.spec,
    });
    if let StreamId::Key(id) = entry.id {
        key_status(id, state, &mut body);
    }
    body
}

fn key_status(id: KeyId, state: &Books, body: &mut Value) {
    let Some(key) = state.books.keys.get(&id) else { return };
    let meter = state.books.meters.get(&id).cloned().unwrap_or_default();
    body["status"] = if key.blocked { "blocked" } else { "live" }.into();
    body["hint"] = key.hint.as_str().into();
    body["made_at"] = key.made_at.to_string().into();
    body["spend"] = json!({"USD": meter.cost.to_string()});
    body["calls"] = json!({"open": meter.open, "finished": meter.finished, "orphaned": meter.orphaned, "released": meter.released});
}

/// What a spec is told from others by.
fn etag(spec: &Value) -> String {
    let digest = Sha256::digest(spec.to_string());
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn tagged(mut response: Response, entry: &Entry) -> Response {
    if let Ok(value) = HeaderValue::from_str(&etag(&entry.spec)) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// What the caller says is there.
fn expected(kind: &'static str, known: Option<StreamId>, headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().to_owned());
    let (tags, none) = (text(header::IF_MATCH), text(header::IF_NONE_MATCH));
    if none.as_deref().is_some_and(|none| none.trim() != "*") {
        return Err(Problem::parameter("if-none-match", "this takes `*` only: it must not be there yet"));
    }
    Ok(Box::new(move |state: &Books| {
        let now = known.and_then(|id| entries(state).into_iter().find(|entry| entry.kind == kind && entry.id == id));
        let is_new = none.is_none() || now.is_none();
        let tag = now.map(|entry| etag(&entry.spec));
        let matches =
            |tags: &String| tags.split(',').map(str::trim).any(|wanted| wanted == "*" && tag.is_some() || Some(wanted) == tag.as_deref());
        is_new && tags.as_ref().is_none_or(matches)
    }))
}

/// The entry of a file: the body, under the name that the path says.
fn spec(body: &[u8], name: &str) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is no JSON: {error}")))?;
    let Value::Object(mut entry) = value else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body must be an object: the entry of a configuration file"));
    };
    let bare = name.rsplit('/').next().unwrap_or(name);
    match entry.get("name").and_then(Value::as_str) {
        None => drop(entry.insert("name".into(), bare.into())),
        Some(given) if given == bare || given == name => {}
        Some(given) => return Err(Problem::parameter("name", format!("the path says `{name}`, the body `{given}`; a name never changes"))),
    }
    Ok(Value::Object(entry))
}

/// By which a thing that was just made is found.
fn spec_name(kind: &str, spec: &Value) -> String {
    let name = spec["name"].as_str().unwrap_or_default();
    let place = spec[if kind == "key" { "scope" } else { "parent" }].as_str().and_then(|place| place.split('/').next());
    match (kind, place) {
        // its tenant, where that is said; else the name alone
        ("key" | "scope", Some(tenant)) if spec.to_string().contains(&format!("{tenant}/")) => format!("{tenant}/{name}"),
        _ => name.to_owned(),
    }
}

fn problem(kind: &str, fault: EntryFault) -> Problem {
    match fault {
        EntryFault::Changed => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "it is not what `If-Match` or `If-None-Match` says; read it again")
        }
        EntryFault::Unknown => Problem::not_found("it is not there any more"),
        EntryFault::Apply(fault) => apply::problem(&fault, &format!("{kind}s[0].")),
    }
}
