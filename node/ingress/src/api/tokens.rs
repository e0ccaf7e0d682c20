//! `GET | POST /api/v1/tokens`, `DELETE /api/v1/tokens/{id}`: administrators' tokens. A secret is shown once, when it is made.

use super::{
    Access, FromApp, Params, Problem, answered,
    ask::Ask,
    let_in,
    page::{Page, Wanted},
};
use crate::App;
use actors::administration::TokenFault;
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use events::{
    State as Books, TenantId, Timestamp, TokenId,
    token::{Need, Role, Settings, Token},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a new token is asked to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    name: String,
    role: String,
    tenant: Option<String>,
    expires_at: Option<String>,
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
        let now = app.reactor.core.clock.now();
        let look = move |state: &Books| -> Vec<Value> {
            let tokens = state.books.tokens.iter().filter(|(_, token)| access.sees(token.settings.tenant));
            tokens.map(|(id, token)| shown(*id, token, state, now)).collect()
        };
        let rows = app.reactor.core.look(look).await.ok_or_else(|| Problem::unavailable("the node is stopping"))?;
        let form = wanted.form;
        Ok(Page::part(rows, &wanted)?.response(form))
    };
    answered(&app, answer).await
}

pub(crate) async fn create(State(app): FromApp, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Own, &method, &uri).await?;
        let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is not {{name, role, tenant?, expires_at?}}: {error}"))
        })?;
        let settings = settings(&app, &access, asked).await?;
        let (id, secret) = app.administration.create_token(settings, access.principal).await.map_err(problem)?;
        let body = one(&app, id).await?.map(|mut body| {
            body["secret"] = secret.into();
            body
        });
        Ok((StatusCode::CREATED, Json(body)).into_response())
    };
    answered(&app, answer).await
}

pub(crate) async fn revoke(State(app): FromApp, Path(id): Path<String>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = async {
        let access = let_in(&app, &headers, Need::Own, &method, &uri).await?;
        let unknown = || Problem::not_found(format!("there is no token {id}"));
        let token: TokenId = id.parse().map_err(|_| unknown())?;
        let tenant = app.reactor.core.look(move |state| state.books.tokens.get(&token).map(|token| token.settings.tenant)).await.flatten();
        tenant.filter(|tenant| access.sees(*tenant)).ok_or_else(unknown)?;
        app.administration.revoke_token(token, access.principal).await.map_err(problem)?;
        Ok(Json(one(&app, token).await?).into_response())
    };
    answered(&app, answer).await
}

async fn settings(app: &App, access: &Access, asked: Asked) -> Result<Settings, Problem> {
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let role = Role::ALL.into_iter().find(|role| role.as_str() == asked.role);
    let role = role.ok_or_else(|| Problem::parameter("role", format!("`{}` is none of {}", asked.role, roles.join(", "))))?;
    let expires_at = match asked.expires_at {
        None => None,
        Some(text) => Some(Timestamp::parse(&text).ok_or_else(|| Problem::parameter("expires_at", format!("`{text}` is no time")))?),
    };
    let tenant = match asked.tenant {
        None => access.tenant,
        Some(name) => Some(tenant(app, access, name).await?),
    };
    Ok(Settings { name: asked.name, role, tenant, expires_at })
}

async fn tenant(app: &App, access: &Access, name: String) -> Result<TenantId, Problem> {
    let (wanted, access) = (name.clone(), access.clone());
    let look = move |state: &Books| {
        let mut tenants = state.books.tenants.iter().filter(|(id, tenant)| !tenant.closed && access.sees(Some(**id)));
        tenants.find(|(id, tenant)| tenant.name == wanted || id.to_string() == wanted).map(|(id, _)| *id)
    };
    app.reactor.core.look(look).await.flatten().ok_or_else(|| Problem::parameter("tenant", format!("there is no tenant `{name}`")))
}

async fn one(app: &App, id: TokenId) -> Result<Option<Value>, Problem> {
    let now = app.reactor.core.clock.now();
    let look = move |state: &Books| state.books.tokens.get(&id).map(|token| shown(id, token, state, now));
    app.reactor.core.look(look).await.ok_or_else(|| Problem::unavailable("the node is stopping"))
}

fn problem(fault: TokenFault) -> Problem {
    match fault {
        TokenFault::Invalid { path, why } => Problem::parameter(path, why),
        TokenFault::Unknown => Problem::not_found("there is no such token"),
        TokenFault::Stopped(why) => Problem::unavailable(why),
    }
}

fn shown(id: TokenId, token: &Token, state: &Books, now: Timestamp) -> Value {
    let Settings { name, role, tenant, expires_at } = &token.settings;
    let status = match (token.revoked, token.is_live(now)) {
        (true, _) => "revoked",
        (false, true) => "live",
        (false, false) => "expired",
    };
    json!({
        "object": "token", "id": id.to_string(), "name": name, "role": role.as_str(), "status": status, "hint": token.hint,
        "tenant": tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str()),
        "tenant_id": tenant.map(|id| id.to_string()), "made_at": token.made_at.to_string(), "expires_at": expires_at.map(|at| at.to_string()),
    })
}
