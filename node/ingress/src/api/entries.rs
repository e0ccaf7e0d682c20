//! Administration by REST: tenants, scopes, keys, providers, models and webhooks, each as its entry of the configuration file (`spec`).
//! `GET /api/v1/KINDs`, `GET | PUT | DELETE /api/v1/KINDs/{name or id}`, `POST /api/v1/keys/{name}/block | unblock | rotate`.
//!
//! An administrator of a tenant reads and writes in a state in which nothing of another's is ([`State::seen_by`]): what belongs to another
//! is answered as what there is not.
//!
//! [`State::seen_by`]: events::State::seen_by

use super::{
    Access, Asking, Path, Problem, Sent, apply, naming,
    page::{Page, Wanted},
};
use actors::administration::{EntryChange, EntryFault, Expected, Rotation};
use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use cluster_config::{
    Meant, check_secret,
    export::{self, Entry},
    span_ms,
};
use events::{KeyId, State as Books, StreamId, TenantId, Timestamp, limits, token::Need};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// The nouns, as they stand in paths, and one of each.
pub(crate) const KINDS: [(&str, &str); 6] =
    [("tenants", "tenant"), ("scopes", "scope"), ("keys", "key"), ("providers", "provider"), ("models", "model"), ("webhooks", "webhook")];

/// What a tenant's own administrators may write.
const OF_TENANTS: [&str; 2] = ["scope", "key"];

/// What is configured of a kind, as somebody may know it, and is wanted by id, name and tenant.
fn entries(state: &Books, within: Option<TenantId>, kind: &str, wanted: &export::Wanted<'_>) -> Vec<Entry> {
    match within {
        None => export::entries(state, kind, wanted),
        Some(tenant) => {
            let own = |id: StreamId, name: &str, of: Option<TenantId>| of == within && wanted(id, name, of);
            export::entries(&state.seen_by(tenant), kind, &own)
        }
    }
}

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
        let (form, now) = (wanted.form, asking.now());
        let page = asking.look(move |state| {
            let seen = entries(state, access.tenant, kind, &|_, _, _| true);
            Page::part(seen, &wanted, |entry| shown(&entry, state, now))
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
        let kind = kind_of(&asking.uri);
        let (access, body) = sent.with(let_in_writer(&asking, kind).await).await?;
        asking.ask().end()?;
        let known = find(&asking, kind, &name, &access).await?;
        let meant = meant(kind, &name, known.as_ref());
        let known = known.map(|(entry, _)| entry);
        if known.is_none() && OF_TENANTS.contains(&kind) {
            asking.recorded(&access, may_be_made(&asking, kind, &name, &access).await).await?;
        }
        let bare = known.as_ref().map_or_else(|| parts(kind, &name).1, |entry| entry.name.as_str());
        let mut spec = spec(&body, &name, bare)?;
        if let ("provider" | "webhook", None, Some(tenant)) = (kind, &known, &meant.tenant) {
            belongs_to(&mut spec, tenant)?;
        }
        let is_new = known.is_none();
        if kind == "key" && is_new && spec.get("secret").is_none() {
            asking.made_before().into_iter().for_each(|made| spec["secret"] = made.into());
        }
        let expected: Expected = match &known {
            Some(entry) if secret_from_before(&asking, entry.id).await?.is_some() => Box::new(|_: &Books| true), // it was as expected then
            known => expected((kind, known.as_ref().map(|entry| entry.id), &name), &access, &asking.headers)?,
        };
        let change = EntryChange { kind, entry: spec, meant, expected, within: access.tenant };
        let applied = asking.app.administration.set_entry(change, access.principal).await.map_err(|fault| not_set(&place(kind), fault))?;
        // a new one bears the name by which its change is told, and a path that says its tenant: they stand for nothing else
        let told = applied.changes.iter().find(|change| change.kind == kind).map(|change| change.name.clone());
        let made = told.filter(|_| parts(kind, &name).0.is_none()).unwrap_or(name);
        let wanted = known.map_or(made, |entry| entry.id.to_string());
        let (entry, mut body) = found(&asking, kind, &wanted, &access).await?;
        body["position"] = applied.position.to_string().into();
        let made = match applied.secrets.values().next() {
            Some(secret) => Some(secret.clone()),
            None => secret_from_before(&asking, entry.id).await?,
        };
        let status = if is_new || made.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        if let Some(secret) = made {
            body["secret"] = secret.into();
        }
        Ok(tagged((status, Json(body)).into_response(), &entry))
    };
    asking.answered(answer).await
}

/// Closes or revokes it, for good. What hangs on it must go first.
pub(crate) async fn delete(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let kind = kind_of(&asking.uri);
        let access = let_in_writer(&asking, kind).await?;
        asking.ask().end()?; // a misspelt `dry_run` must not delete
        let (entry, _) = asking.recorded(&access, found(&asking, kind, &name, &access).await).await?;
        let expected = expected((kind, Some(entry.id), &name), &access, &asking.headers)?;
        let removed = asking.app.administration.remove_entry((kind, entry.id), access.tenant, expected, access.principal).await;
        let applied = removed.map_err(|fault| match not_set("", fault) {
            in_use if in_use.is_invalid() => in_use.because(StatusCode::CONFLICT, "in_use", "something still hangs on it"),
            other => other,
        })?;
        Ok(Json(json!({"object": kind, "id": entry.id.to_string(), "deleted": true, "position": applied.position.to_string()}))
            .into_response())
    };
    asking.answered(answer).await
}

/// Whoever may write entries of this kind: a tenant's own administrators, too, if it is a scope or a key.
async fn let_in_writer(asking: &Asking, kind: &str) -> Result<Access, Problem> {
    if OF_TENANTS.contains(&kind) { asking.let_in(Need::Configure).await } else { asking.let_in_platform(Need::Configure).await }
}

/// A name may say its tenant, which must be one that the writer knows.
async fn may_be_made(asking: &Asking, kind: &str, name: &str, access: &Access) -> Result<(), Problem> {
    let (Some(tenant), Some(own)) = (parts(kind, name).0, access.tenant) else { return Ok(()) };
    let tenant = tenant.to_owned();
    let is_own = move |state: &Books| state.books.tenants.get(&own).is_some_and(|own| own.name == tenant);
    if asking.look(is_own).await? { Ok(()) } else { Err(missing(kind, name)) }
}

/// The secret of a key that this request made when it was carried out before, and was not answered.
async fn secret_from_before(asking: &Asking, id: StreamId) -> Result<Option<String>, Problem> {
    let (StreamId::Key(id), Some(secret)) = (id, asking.made_before()) else { return Ok(None) };
    let hash = (asking.app.hasher)(secret);
    let is_its_own = asking.look(move |state| state.books.keys.get(&id).is_some_and(|key| key.hash == hash)).await?;
    Ok(is_its_own.then(|| secret.to_owned()))
}

/// `POST /api/v1/keys/{name}/block | unblock | rotate`.
pub(crate) async fn act(asking: Asking, Path((name, action)): Path<(String, String)>, sent: Sent) -> Response {
    let answer = async {
        let need = if action == "rotate" { Need::Configure } else { Need::Operate };
        let (access, body) = sent.with(asking.let_in(need).await).await?;
        asking.ask().end()?;
        let (entry, _) = asking.recorded(&access, found(&asking, "key", &name, &access).await).await?;
        let StreamId::Key(id) = entry.id else { return Err(Problem::not_found("this is no key")) };
        let secret = match action.as_str() {
            "block" | "unblock" => {
                let blocked = asking.app.administration.block_key(id, action == "block", access.principal).await;
                blocked.map_err(|fault| not_set(&place("key"), fault))?;
                None
            }
            "rotate" => rotate(&asking, id, &access, &body).await?,
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

/// How a key is to be rotated.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    overlap: Option<String>,
    secret: Option<String>,
}

/// A new secret; the old one lets in beside it for the overlap, and what was before the old one no more. Answers the secret, if it was made.
async fn rotate(asking: &Asking, id: KeyId, access: &Access, body: &[u8]) -> Result<Option<String>, Problem> {
    let turn = if body.is_empty() { Turn::default() } else { turn(body)? };
    let (secret, made) = match turn.secret {
        Some(secret) => (secret, None),
        None => {
            let made = asking.secret();
            (made.clone(), Some(made))
        }
    };
    check_secret(&secret).map_err(|why| Problem::parameter("secret", why))?;
    let overlap = overlap(turn.overlap.as_deref())?;
    let until = (!overlap.is_zero()).then(|| asking.now().plus(overlap));
    let expected = expected(("key", Some(StreamId::Key(id)), ""), access, &asking.headers)?;
    let rotated = asking.app.administration.rotate_key(id, Rotation { secret, until, expected }, access.principal).await;
    rotated.map_err(|fault| not_set("", fault))?;
    Ok(made)
}

fn turn(body: &[u8]) -> Result<Turn, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is not {{overlap?, secret?}}: {error}")))
}

fn overlap(text: Option<&str>) -> Result<Duration, Problem> {
    let overlap = text.map_or(Some(0), span_ms).map(Duration::from_millis).filter(|overlap| *overlap <= limits::OVERLAP_MAX);
    overlap.ok_or_else(|| {
        let days = limits::OVERLAP_MAX.as_secs() / 86_400;
        Problem::parameter("overlap", format!("`{}` is no span such as 30m, 24h or 7d, {days} days at most", text.unwrap_or_default()))
    })
}

/// By its id, its name, or `tenant/name`, and as it is shown; None: there is none.
async fn find(asking: &Asking, kind: &'static str, name: &str, access: &Access) -> Result<Option<(Entry, Value)>, Problem> {
    let (wanted, within, now) = (name.to_owned(), access.tenant, asking.now());
    let matching = asking.look(move |state| {
        let is_wanted =
            |id: StreamId, name: &str, tenant: Option<TenantId>| naming::is_called(&wanted, &id.to_string(), name, tenant, state);
        let mut found = entries(state, within, kind, &is_wanted);
        // an id is nobody else's, whatever others are called
        if let Some(at) = found.iter().position(|entry| entry.id.to_string() == wanted) {
            found = vec![found.swap_remove(at)];
        }
        found.into_iter().map(|entry| (entry.clone(), shown(&entry, state, now))).collect::<Vec<_>>()
    });
    let mut matching = matching.await?;
    if matching.len() > 1 {
        let ids: Vec<String> = matching.iter().map(|(entry, _)| entry.id.to_string()).collect();
        return Err(Problem::new(StatusCode::CONFLICT, "ambiguous", format!("`{name}` is the name of {}; say which", ids.join(", "))));
    }
    Ok(matching.pop())
}

pub(super) async fn found(asking: &Asking, kind: &'static str, name: &str, access: &Access) -> Result<(Entry, Value), Problem> {
    find(asking, kind, name, access).await?.ok_or_else(|| missing(kind, name))
}

fn missing(kind: &str, name: &str) -> Problem {
    Problem::not_found(format!("there is no {kind} `{name}`"))
}

fn shown(entry: &Entry, state: &Books, now: Timestamp) -> Value {
    let tenant = entry.tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str());
    let mut body = json!({
        "object": entry.kind, "id": entry.id.to_string(), "name": entry.name, "tenant": tenant, "etag": etag(&entry.spec), "spec": entry.spec,
    });
    if let StreamId::Key(id) = entry.id {
        key_status(id, state, now, &mut body);
    }
    body
}

fn key_status(id: KeyId, state: &Books, now: Timestamp, body: &mut Value) {
    let Some(key) = state.books.keys.get(&id) else { return };
    let meter = state.books.meters.get(&id).cloned().unwrap_or_default();
    body["status"] = if key.blocked { "blocked" } else { "live" }.into();
    body["hint"] = key.hint.as_str().into();
    let overlap = state.books.overlaps.get(&id).filter(|overlap| overlap.until > now);
    body["previous_hint"] = overlap.map(|overlap| overlap.previous.hint.as_str()).into();
    body["previous_valid_until"] = overlap.map(|overlap| overlap.until.to_string()).into();
    body["made_at"] = key.made_at.to_string().into();
    body["spend"] = json!({"USD": meter.cost.to_string()});
    body["calls"] = json!({"open": meter.open, "finished": meter.finished, "orphaned": meter.orphaned, "released": meter.released});
}

/// What a spec is told from others by.
pub(super) fn etag(spec: &Value) -> String {
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
fn expected(
    (kind, known, name): (&'static str, Option<StreamId>, &str),
    access: &Access,
    headers: &HeaderMap,
) -> Result<Expected, Problem> {
    let (within, name) = (access.tenant, name.to_owned());
    expecting(headers, move |state| {
        let is_it = |id: StreamId, called: &str, tenant: Option<TenantId>| match known {
            Some(known) => id == known,
            // somebody may have made it meanwhile
            None => naming::is_called(&name, &id.to_string(), called, tenant, state),
        };
        entries(state, within, kind, &is_it).first().map(|entry| etag(&entry.spec))
    })
}

/// Whether the tag that is there is the one that the caller says.
pub(super) fn expecting(headers: &HeaderMap, tag: impl FnOnce(&Books) -> Option<String> + Send + 'static) -> Result<Expected, Problem> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().to_owned());
    let (tags, none) = (text(header::IF_MATCH), text(header::IF_NONE_MATCH));
    if none.as_deref().is_some_and(|none| none.trim() != "*") {
        return Err(Problem::parameter("if-none-match", "this takes `*` only: it must not be there yet"));
    }
    Ok(Box::new(move |state: &Books| {
        let tag = tag(state);
        let is_new = none.is_none() || tag.is_none();
        let matches =
            |tags: &String| tags.split(',').map(str::trim).any(|wanted| wanted == "*" && tag.is_some() || Some(wanted) == tag.as_deref());
        is_new && tags.as_ref().is_none_or(matches)
    }))
}

/// The tenant and the name that a path says. A model's name may have slashes, and it has no tenant.
fn parts<'a>(kind: &str, name: &'a str) -> (Option<&'a str>, &'a str) {
    match name.split_once('/') {
        Some((tenant, bare)) if kind != "model" && kind != "tenant" => (Some(tenant), bare),
        _ => (None, name),
    }
}

/// Which thing a path names: one that is there, as it is shown, or one that is to be made.
fn meant(kind: &str, name: &str, known: Option<&(Entry, Value)>) -> Meant {
    let tenant = known.map_or_else(|| parts(kind, name).0, |(_, shown)| shown["tenant"].as_str());
    Meant { id: known.map(|(entry, _)| entry.id), tenant: tenant.map(str::to_owned) }
}

/// The body may leave out the tenant that the path says.
fn belongs_to(spec: &mut Value, tenant: &str) -> Result<(), Problem> {
    match spec.get("tenant").and_then(Value::as_str) {
        None => spec["tenant"] = tenant.into(),
        Some(given) if given == tenant => {}
        Some(given) => return Err(Problem::parameter("tenant", format!("the path says `{tenant}`, the body `{given}`"))),
    }
    Ok(())
}

/// The entry of a file: the body, under the name that the path says.
fn spec(body: &[u8], name: &str, bare: &str) -> Result<Value, Problem> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is no JSON: {error}")))?;
    let Value::Object(mut entry) = value else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body must be an object: the entry of a configuration file"));
    };
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
pub(super) fn not_set(place: &str, fault: EntryFault) -> Problem {
    match fault {
        EntryFault::Changed => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "changed", "it is not what `If-Match` or `If-None-Match` says; read it again")
        }
        EntryFault::Unknown => Problem::not_found("it is not there any more"),
        EntryFault::Apply(fault) => apply::problem(&fault, place),
    }
}
