//! `Idempotency-Key` on every write: the same request under the same key gets the same answer, and is carried out once.

use super::{Problem, Sent, access};
use crate::App;
use actors::{
    administration::TokenFault,
    answers::{Answer, Asked, Begun, Known},
};
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::Response,
};
use events::{envelope::Principal, limits, token::Need};
use sha2::{Digest, Sha256};

const KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Headers of an answer that are given again.
const KEPT: [&str; 4] = ["content-type", "etag", "retry-after", "x-request-id"];

/// The secret of whatever a request makes: the same, if it has to be carried out again.
#[derive(Clone)]
pub(super) struct Secret(pub String);

/// Around every route: only writes with a key are looked at.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    let is_write = matches!(*request.method(), Method::POST | Method::PUT | Method::DELETE);
    if !is_write || !request.headers().contains_key(KEY) {
        return next.run(request).await;
    }
    let id = app.new_call_id().to_string();
    answer(app, request, next).await.unwrap_or_else(|problem| problem.response(&id))
}

async fn answer(app: App, request: Request, next: Next) -> Result<Response, Problem> {
    let key = key(request.headers())?;
    // who is not let in, or may change nothing, is told so, and nothing of it is kept
    let access = access::identify(&app, request.headers()).await.ok().filter(|access| access.role.may(Need::Operate));
    let Some(access) = access else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = Sent::from(body).read().await?;
    let asked = Asked { slot: slot(access.principal, &key), digest: digest(&parts, &body) };
    let in_flight = app.administration.enter(asked.slot).ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "idempotency_in_flight", "a request under this idempotency key is being carried out; ask again")
    })?;
    match app.administration.begin(asked).await.map_err(unavailable)? {
        Known::Answered(answer) => Ok(again(answer)),
        Known::Other => {
            let detail = "another request came under this idempotency key: take a new key for each request";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail))
        }
        Known::New(begun) => {
            // a task of its own: a caller who leaves does not cut it short
            let work = tokio::spawn(async move {
                let response = carry_out(&app, begun, parts, body, next).await;
                drop(in_flight);
                response
            });
            work.await.unwrap_or_else(|_| Err(Problem::unavailable("the request failed"))) // a panic: told by the hook
        }
    }
}

async fn carry_out(app: &App, begun: Begun, mut parts: Parts, body: Bytes, next: Next) -> Result<Response, Problem> {
    parts.extensions.insert(Secret(begun.secret.clone()));
    let (parts, body) = next.run(Request::from_parts(parts, Body::from(body))).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| Problem::unavailable("the answer failed"))?; // our own, in memory already
    if parts.status.as_u16() < 500 && body.len() <= limits::ANSWER_KEPT_BYTES_MAX {
        let headers = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), parts.headers.get(*name)?.as_bytes().to_vec())));
        let answer = Answer { status: parts.status.as_u16(), headers: headers.collect(), body: body.to_vec() };
        if let Err(fault) = app.administration.answered(&begun, answer).await {
            tracing::warn!(?fault, "an answer could not be kept for its idempotency key");
        }
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// The answer from before.
fn again(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK); // it was one when it was kept
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

fn key(headers: &HeaderMap) -> Result<Vec<u8>, Problem> {
    let mut given = headers.get_all(KEY).iter().map(HeaderValue::as_bytes);
    let key =
        given.next().filter(|key| (1..=limits::IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic));
    key.filter(|_| given.next().is_none())
        .map(<[u8]>::to_vec)
        .ok_or_else(|| Problem::parameter(KEY, format!("give one key of 1 to {} visible characters", limits::IDEMPOTENCY_KEY_CHARS_MAX)))
}

/// Keys of one token mean nothing under another.
fn slot(principal: Principal, key: &[u8]) -> [u8; 16] {
    let whole = Sha256::new().chain_update(format!("{principal:?} ")).chain_update(key).finalize();
    let mut slot = [0; 16];
    slot.copy_from_slice(&whole[..16]);
    slot
}

fn digest(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let mut digest = Sha256::new().chain_update(format!("{} {path}\n", parts.method));
    for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
        for value in parts.headers.get_all(&name) {
            digest = digest.chain_update(format!("{name}: ")).chain_update(value.as_bytes()).chain_update("\n");
        }
    }
    digest.chain_update(body).finalize().into()
}

fn unavailable(fault: TokenFault) -> Problem {
    match fault {
        TokenFault::Stopped(why) => Problem::unavailable(why),
        TokenFault::Invalid { .. } | TokenFault::Unknown => Problem::unavailable("the request could not be noted"),
    }
}
