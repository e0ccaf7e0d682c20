//! `GET | POST /api/v1/tokens`, `DELETE /api/v1/tokens/{id}`: administrators' tokens. A secret is shown once, when it is made.

use super::{
    Access, Asking, Path, Problem, Sent,
    page::{Page, Wanted},
};
use actors::administration::TokenFault;
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{
    State as Books, Timestamp, TokenId,
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

pub(crate) async fn list(asking: Asking) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let wanted = Wanted::read(&mut ask, &asking.headers)?;
        ask.end()?;
        let (now, form) = (asking.now(), wanted.form);
        let look = move |state: &Books| {
            let tokens = state.books.tokens.iter().filter(|(_, token)| access.sees(token.settings.tenant));
            Page::part(tokens.collect(), &wanted, |(id, token)| shown(*id, token, state, now))
        };
        Ok(asking.look(look).await??.response(form))
    };
    asking.answered(answer).await
}

pub(crate) async fn create(asking: Asking, sent: Sent) -> Response {
    let answer = async {
        let (access, body) = sent.with(asking.let_in(Need::Own).await).await?;
        asking.ask().end()?;
        let asked: Asked = serde_json::from_slice(&body).map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_body", format!("the body is not {{name, role, tenant?, expires_at?}}: {error}"))
        })?;
        let settings = settings(&asking, &access, asked).await?;
        let (id, secret) = asking.app.administration.create_token(settings, &asking.secret(), access.principal).await.map_err(problem)?;
        let body = one(&asking, id).await?.map(|mut body| {
            body["secret"] = secret.into();
            body
        });
        Ok((StatusCode::CREATED, Json(body)).into_response())
    };
    asking.answered(answer).await
}

pub(crate) async fn revoke(asking: Asking, Path(id): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Own).await?;
        asking.ask().end()?;
        let unknown = || Problem::not_found(format!("there is no token {id}"));
        let token: TokenId = id.parse().map_err(|_| unknown())?;
        let tenant = asking.look(move |state| state.books.tokens.get(&token).map(|token| token.settings.tenant)).await?;
        asking.recorded(&access, tenant.filter(|tenant| access.sees(*tenant)).ok_or_else(unknown)).await?;
        asking.app.administration.revoke_token(token, access.principal).await.map_err(problem)?;
        Ok(Json(one(&asking, token).await?).into_response())
    };
    asking.answered(answer).await
}

async fn settings(asking: &Asking, access: &Access, asked: Asked) -> Result<Settings, Problem> {
    let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let role = Role::ALL.into_iter().find(|role| role.as_str() == asked.role);
    let role = role.ok_or_else(|| Problem::parameter("role", format!("`{}` is none of {}", asked.role, roles.join(", "))))?;
    let expires_at = match asked.expires_at {
        None => None,
        Some(text) => Some(Timestamp::parse(&text).ok_or_else(|| Problem::parameter("expires_at", format!("`{text}` is no time")))?),
    };
    let tenant = match asked.tenant {
        None => access.tenant,
        Some(name) => Some(asking.tenant(access, name).await?),
    };
    Ok(Settings { name: asked.name, role, tenant, expires_at })
}

async fn one(asking: &Asking, id: TokenId) -> Result<Option<Value>, Problem> {
    let now = asking.now();
    let look = move |state: &Books| state.books.tokens.get(&id).map(|token| shown(id, token, state, now));
    asking.look(look).await
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
