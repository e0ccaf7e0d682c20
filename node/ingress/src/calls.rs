//! The endpoints of a call: who asks, what for, and the answer as it comes.

use crate::{
    App, Body, KeyRefusal,
    api::Problem,
    bare,
    caller::{BadUser, caller},
    guess_dialect, principal,
};
use actors::{
    call::{self, Incoming, Reply, ReplyBody},
    fault::{Fault, Side},
    policy::Policy,
    report::Early,
    trace::Span,
};
use axum::extract::State;
use bytes::{Bytes, BytesMut};
use cluster_config::Principal;
use dialects::{
    Dialect, Endpoint, ErrorKind, Request as Read,
    exchange::loss::{LossRules, NoRule},
    read_request,
};
use events::{CallId, limits};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming as Wire;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// One request for a call.
pub(crate) async fn handle(app: App, endpoint: Endpoint, request: Request<Wire>) -> Response<Body> {
    let started = Instant::now();
    let id = app.new_call_id();
    let (parts, mut body) = request.into_parts();
    let span = app.reactor.begin_span(&parts.headers);
    let caller = principal(&app, &parts.headers).map_err(|refusal| key_fault(&refusal));
    let taken = match &caller {
        Ok(caller) => take(&app, endpoint, Head { id, started, span: span.clone(), caller, parts }, &mut body).await,
        Err(fault) => Err(fault.clone()),
    };
    match taken {
        Ok(incoming) => {
            let place = incoming.place.clone();
            match call::start(app.reactor.clone(), incoming).await {
                Ok(reply) => respond(reply).map(|body| body.keeping(place)),
                Err(_) => refuse(endpoint.dialect(), &id.to_string(), &internal()),
            }
        }
        Err(fault) => {
            if !body.is_end_stream() {
                tokio::spawn(tokio::time::timeout(limits::LINGER, drop_rest(body)));
            }
            let principal = caller.as_ref().ok().map(|(principal, _)| &**principal);
            app.reactor.refused(&Early { call: id, span: span.as_ref(), endpoint, principal, started }, &fault);
            refuse(endpoint.dialect(), &id.to_string(), &fault)
        }
    }
}

async fn drop_rest(mut body: Wire) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// What is known of a request before its body.
struct Head<'a> {
    id: CallId,
    started: Instant,
    span: Option<Span>,
    caller: &'a (Arc<Principal>, Arc<Policy>),
    parts: Parts,
}

/// Everything before the call's own task: nothing is held yet.
async fn take(app: &App, endpoint: Endpoint, head: Head<'_>, body: &mut Wire) -> Result<Incoming, Fault> {
    let Head { id, started, span, caller: (principal, policy), parts } = head;
    if app.draining() {
        return Err(Fault::gateway_busy("this node is stopping"));
    }
    let place = app.places.clone().try_acquire_owned().map_err(|_| Fault::gateway_busy("this node carries as many calls as it can"))?;
    let tags = tags(&parts.headers)?;
    let timeout = timeout(&parts.headers)?;
    let losses = principal.losses.clone().then(losses(&parts.headers)?);
    let body = read_body(&parts.headers, body).await?;
    let request = read_request(endpoint, &body).map_err(|invalid| Fault::invalid(&invalid))?;
    check(&request)?;
    let caller = caller(&app.hasher, principal.tenant, &parts.headers, request.user.as_deref()).map_err(|BadUser| bad_user())?;
    Ok(Incoming {
        id,
        principal: principal.clone(),
        policy: policy.clone(),
        request: Arc::new(request),
        body,
        headers: parts.headers,
        tags: Arc::new(tags),
        caller,
        timeout,
        losses,
        started,
        span,
        place: Arc::new(place),
    })
}

fn check(request: &Read) -> Result<(), Fault> {
    if request.background {
        let fault = bad_request(
            "unsupported_value",
            "`background: true` is not supported here: the answer would come after the call has ended; leave it out",
        );
        return Err(fault.about("background"));
    }
    Ok(())
}

async fn read_body(headers: &HeaderMap, body: &mut Wire) -> Result<Bytes, Fault> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING).filter(|encoding| encoding.as_bytes() != b"identity") {
        let message =
            format!("a compressed request body ({}) is not taken; send it as it is", String::from_utf8_lossy(encoding.as_bytes()));
        return Err(Fault::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::InvalidRequest,
            "unsupported_content_encoding",
            Side::Policy,
            message,
        ));
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limits::BODY_BYTES_MAX) {
        return Err(too_large());
    }
    match tokio::time::timeout(limits::BODY_TIMEOUT, collect(body)).await {
        Ok(body) => body,
        Err(_) => Err(Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Timeout,
            "request_timeout",
            Side::Policy,
            "the request body did not come in time",
        )),
    }
}

/// One piece, the common case, is not copied.
async fn collect(body: &mut Wire) -> Result<Bytes, Fault> {
    let mut first: Option<Bytes> = None;
    let mut all: Option<BytesMut> = None;
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| bad_request("incomplete_body", "the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size > limits::BODY_BYTES_MAX {
            return Err(too_large());
        }
        match (&mut all, &first) {
            (Some(all), _) => all.extend_from_slice(&data),
            (None, None) => first = Some(data),
            (None, Some(begun)) => {
                let mut joined = BytesMut::with_capacity((begun.len() + data.len()) * 2);
                joined.extend_from_slice(begun);
                joined.extend_from_slice(&data);
                all = Some(joined);
            }
        }
    }
    Ok(all.map(BytesMut::freeze).or(first).unwrap_or_default())
}

fn too_large() -> Fault {
    let message = format!("the request body is larger than {} bytes", limits::BODY_BYTES_MAX);
    Fault::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, "request_too_large", Side::Policy, message)
}

/// More headers, or more bytes of them, than a request may have.
pub(crate) fn head_too_large(app: &App, path: &str, headers: &HeaderMap) -> Response<Body> {
    let message =
        format!("the request has more than {} headers, or more than {} bytes of them", limits::HEADERS_MAX, limits::HEAD_BYTES_MAX);
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    if path.starts_with("/api/") {
        return Problem::new(status, "headers_too_large", message).response(&app.new_call_id().to_string()).map(Body::axum);
    }
    let fault = Fault::new(status, ErrorKind::InvalidRequest, "headers_too_large", Side::Policy, message);
    refuse(guess_dialect(path, headers), &app.new_call_id().to_string(), &fault)
}

fn bad_request(code: &'static str, message: &str) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, ErrorKind::InvalidRequest, code, Side::Policy, message)
}

fn internal() -> Fault {
    Fault::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Api, "internal_error", Side::Gateway, "the gateway failed in this call")
}

/// `x-tollgate-tags: k=v,…`.
fn tags(headers: &HeaderMap) -> Result<Vec<String>, Fault> {
    let Some(value) = headers.get("x-tollgate-tags") else { return Ok(Vec::new()) };
    let bad = || {
        bad_request(
            "invalid_header",
            &format!(
                "x-tollgate-tags takes at most {} pairs k=v of at most {} visible characters, split by commas",
                limits::TAGS_MAX,
                limits::TAG_BYTES_MAX
            ),
        )
    };
    let text = value.to_str().map_err(|_| bad())?;
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        if tags.len() <= limits::TAGS_MAX && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    let fits = |tag: &String| {
        tag.split_once('=')
            .is_some_and(|(key, value)| !key.is_empty() && key.len() <= limits::TAG_BYTES_MAX && value.len() <= limits::TAG_BYTES_MAX)
    };
    if tags.len() > limits::TAGS_MAX || !tags.iter().all(fits) { Err(bad()) } else { Ok(tags) }
}

fn bad_user() -> Fault {
    bad_request("invalid_header", &format!("x-tollgate-user takes 1 to {} visible characters", limits::CALLER_ID_BYTES_MAX))
}

/// `x-tollgate-loss`.
fn losses(headers: &HeaderMap) -> Result<LossRules, Fault> {
    let Some(value) = headers.get("x-tollgate-loss") else { return Ok(LossRules::default()) };
    let text = value.to_str().map_err(|_| bad_request("invalid_header", "x-tollgate-loss takes visible characters"))?;
    text.parse().map_err(|wrong: NoRule| bad_request("invalid_header", &format!("x-tollgate-loss: {wrong}")))
}

/// `x-request-timeout`, in seconds.
fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get("x-request-timeout") else { return Ok(None) };
    let seconds = value.to_str().ok().and_then(|text| text.parse::<f64>().ok()).filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0);
    seconds
        .map(|seconds| Some(Duration::from_secs_f64(seconds)))
        .ok_or_else(|| bad_request("invalid_header", "x-request-timeout takes seconds, above 0 and at most 86400"))
}

pub(crate) fn key_fault(refusal: &KeyRefusal) -> Fault {
    let (code, message) = match refusal {
        KeyRefusal::Missing => ("invalid_api_key", "no API key was shown; send it as `Authorization: Bearer …` or `x-api-key: …`"),
        KeyRefusal::Unknown => ("invalid_api_key", "this API key is not known here"),
        KeyRefusal::Revoked => ("api_key_revoked", "this API key was revoked"),
        KeyRefusal::Blocked => ("api_key_blocked", "this API key is blocked"),
    };
    Fault::new(StatusCode::UNAUTHORIZED, ErrorKind::Authentication, code, Side::Policy, message)
}

fn respond(reply: Reply) -> Response<Body> {
    let body = match reply.body {
        ReplyBody::Whole(bytes) => Body::whole(bytes),
        ReplyBody::Stream(pieces) => Body::stream(pieces),
    };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// An error outside of a call's task.
pub(crate) fn refuse(dialect: Dialect, request_id: &str, fault: &Fault) -> Response<Body> {
    let mut response = bare(fault.status);
    fault.headers(response.headers_mut());
    if let Ok(id) = HeaderValue::try_from(request_id) {
        if dialect == Dialect::Anthropic {
            response.headers_mut().insert("request-id", id.clone());
        }
        response.headers_mut().insert("x-request-id", id);
    }
    if matches!(
        fault.status,
        StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    ) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close")); // its body is not read to the end
    }
    *response.body_mut() = Body::whole(fault.body(dialect, request_id));
    response
}

/// An error on one of axum's routes.
pub(crate) fn refuse_route(app: &App, path: &str, headers: &HeaderMap, fault: &Fault) -> axum::response::Response {
    refuse(guess_dialect(path, headers), &app.new_call_id().to_string(), fault).map(axum::body::Body::new)
}

/// No such route.
pub(crate) async fn unknown(State(app): State<App>, request: axum::extract::Request) -> axum::response::Response {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        let problem = Problem::new(StatusCode::NOT_FOUND, "unknown_url", format!("there is no {} {path} here", request.method()));
        return problem.response(&app.new_call_id().to_string());
    }
    let bare_path = path.strip_prefix("/v1").unwrap_or(path);
    let message = if bare_path.starts_with("/responses/") {
        "stored responses are not served: this gateway passes `POST /v1/responses` only".to_owned()
    } else {
        format!("there is no {} {path} here", request.method())
    };
    let fault = Fault::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, "unknown_url", Side::Policy, message);
    refuse_route(&app, path, request.headers(), &fault)
}

/// A known route, asked by a method that it does not have.
pub(crate) async fn wrong_method(State(app): State<App>, request: axum::extract::Request) -> axum::response::Response {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    if request.uri().path().starts_with("/api/") {
        return Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).response(&app.new_call_id().to_string());
    }
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::InvalidRequest, "method_not_allowed", Side::Policy, message);
    refuse_route(&app, request.uri().path(), request.headers(), &fault)
}
