//! Administration by REST: tenants, scopes, keys, providers and models, each as its entry of the configuration file (`spec`).
//! `GET /api/v1/KINDs`, `GET | PUT | DELETE /api/v1/KINDs/{name or id}`, `POST /api/v1/keys/{name}/block | unblock | rotate`.

use super::{
    Access, Asking, Path, Problem, Sent, apply, naming,
    page::{Page, Wanted},
};
use actors::administration::{EntryChange, EntryFault, Expected};
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
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

pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let wanted = Wanted::read(&mut ask, &asking.headers)?;
        ask.end()?;
        let kind = kind_of(&asking.uri);
        let form = wanted.form;
        let page = asking.look(move |state| {
            let seen = entries(state).into_iter().filter(|entry| entry.kind == kind && access.sees(entry.tenant));
            Page::part(seen.collect(), &wanted, |entry| shown(&entry, state))
        });
        Ok(page.await??.response(form))
    };
    asking.answered(answer).await
}

pub(crate) async fn get(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let (entry, body) = found(&asking, kind_of(&asking.uri), &name, &access).await?;
        Ok(tagged(Json(body).into_response(), &entry))
    };
    asking.answered(answer).await
}

/// Makes it, or brings it to this. `If-Match` and `If-None-Match: *` say what the caller thinks is there.
pub(crate) async fn put(asking: Asking, Path(name): Path<String>, sent: Sent) -> Response {
    let answer = async {
        let (access, body) = asking.let_in_with(Need::Configure, sent).await?;
        access.of_platform()?;
        let kind = kind_of(&asking.uri);
        let known = find(&asking, kind_of(&asking.uri), &name, &access).await?.map(|(entry, _)| entry);
        let spec = spec(&body, known.as_ref().map_or(name.as_str(), |entry| entry.name.as_str()))?;
        let is_new = known.is_none();
        let expected = expected(kind, known.as_ref().map(|entry| entry.id), &asking.headers)?;
        let change = EntryChange { kind, entry: spec, expected };
        let applied = asking.app.administration.set_entry(change, access.principal).await.map_err(|fault| problem(&place(kind), fault))?;
        // a new one bears the name by which its change is told: it stands for nothing else
        let made = applied.changes.iter().find(|change| change.kind == kind).map_or(name, |change| change.name.clone());
        let wanted = known.map_or(made, |entry| entry.id.to_string());
        let (entry, mut body) = found(&asking, kind, &wanted, &access).await?;
        body["position"] = applied.position.to_string().into();
        if let Some(secret) = applied.secrets.values().next() {
            body["secret"] = secret.as_str().into();
        }
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(tagged((status, Json(body)).into_response(), &entry))
    };
    asking.answered(answer).await
}

/// Closes or revokes it, for good. What hangs on it must go first.
pub(crate) async fn delete(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Configure).await?;
        access.of_platform()?;
        let kind = kind_of(&asking.uri);
        let (entry, _) = found(&asking, kind, &name, &access).await?;
        let expected = expected(kind, Some(entry.id), &asking.headers)?;
        let removed = asking.app.administration.remove_entry(kind, entry.id, expected, access.principal).await;
        let applied = removed.map_err(|fault| match problem("", fault) {
            in_use if in_use.is_invalid() => in_use.because(StatusCode::CONFLICT, "in_use", "something still hangs on it"),
            other => other,
        })?;
        Ok(Json(json!({"object": kind, "id": entry.id.to_string(), "deleted": true, "position": applied.position.to_string()}))
            .into_response())
    };
    asking.answered(answer).await
}

/// `POST /api/v1/keys/{name}/block | unblock | rotate`.
pub(crate) async fn act(asking: Asking, Path((name, action)): Path<(String, String)>) -> Response {
    let answer = async {
        let need = if action == "rotate" { Need::Configure } else { Need::Operate };
        let access = asking.let_in(need).await?;
        let (entry, _) = found(&asking, "key", &name, &access).await?;
        let StreamId::Key(id) = entry.id else { return Err(Problem::not_found("this is no key")) };
        let secret = match action.as_str() {
            "block" | "unblock" => {
                let blocked = asking.app.administration.block_key(id, action == "block", access.principal).await;
                blocked.map_err(|fault| problem(&place("key"), fault))?;
                None
            }
            "rotate" => {
                access.of_platform()?;
                Some(rotate(&asking, &entry, &access).await?)
            }
            _ => return Err(Problem::not_found(format!("a key takes block, unblock and rotate, not {action}"))),
        };
        let (entry, mut body) = found(&asking, "key", &id.to_string(), &access).await?;
        if let Some(secret) = secret {
            body["secret"] = secret.into();
        }
        Ok(tagged(Json(body).into_response(), &entry))
    };
    asking.answered(answer).await
}

/// A new secret; the old one lets nobody in from then on.
async fn rotate(asking: &Asking, entry: &Entry, access: &Access) -> Result<String, Problem> {
    let secret = asking.app.administration.make_secret();
    let mut spec = entry.spec.clone();
    spec["secret"] = secret.as_str().into();
    let expected = expected("key", Some(entry.id), &asking.headers)?;
    let change = EntryChange { kind: "key", entry: spec, expected };
    asking.app.administration.set_entry(change, access.principal).await.map_err(|fault| problem(&place("key"), fault))?;
    Ok(secret)
}

/// By its id, its name, or `tenant/name`, and as it is shown; None: there is none.
async fn find(asking: &Asking, kind: &'static str, name: &str, access: &Access) -> Result<Option<(Entry, Value)>, Problem> {
    let (wanted, access) = (name.to_owned(), access.clone());
    let matching = asking.look(move |state| {
        let is_wanted = |entry: &Entry| {
            let called = naming::is_called(&wanted, &entry.id.to_string(), &entry.name, entry.tenant, state);
            entry.kind == kind && called && access.sees(entry.tenant)
        };
        let found = entries(state).into_iter().filter(is_wanted);
        found.map(|entry| (entry.clone(), shown(&entry, state))).collect::<Vec<_>>()
    });
    let mut matching = matching.await?;
    if matching.len() > 1 {
        let ids: Vec<String> = matching.iter().map(|(entry, _)| entry.id.to_string()).collect();
        return Err(Problem::new(StatusCode::CONFLICT, "ambiguous", format!("`{name}` is the name of {}; say which", ids.join(", "))));
    }
    Ok(matching.pop())
}

async fn found(asking: &Asking, kind: &'static str, name: &str, access: &Access) -> Result<(Entry, Value), Problem> {
    find(asking, kind, name, access).await?.ok_or_else(|| Problem::not_found(format!("there is no {kind} `{name}`")))
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

/// Where the one entry of a change stands in the file that is made of it.
fn place(kind: &str) -> String {
    format!("{kind}s[0].")
}

/// `place` is left out of paths: the caller sent what stands there.
fn problem(place: &str, fault: EntryFault) -> Problem {
    match fault {
        EntryFault::Changed => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "it is not what `If-Match` or `If-None-Match` says; read it again")
        }
        EntryFault::Unknown => Problem::not_found("it is not there any more"),
        EntryFault::Apply(fault) => apply::problem(&fault, place),
    }
}
