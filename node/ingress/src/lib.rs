//! Everything that listens. The endpoints of a call go straight to [`calls`]; the rest is an axum router.

mod account;
mod api;
mod body;
mod caller;
mod calls;
mod heads;
mod health;
mod models;
mod serve;

pub use api::{Admin, Deliveries, Proof, TestAsked, Tried, Webhooks, openapi, prove};
pub use body::Body;
pub use serve::serve;

use actors::{
    administration::Administration,
    root::{Reactor, Stage},
};
use axum::{Router, routing};
use cluster_config::{KeyState, Principal};
use dialects::Dialect;
use events::{CallId, key::KeyHash, limits};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// HMAC of a shown key, as the events keep it.
pub type Hasher = Arc<dyn Fn(&str) -> KeyHash + Send + Sync>;

/// What one reactor's listener works with.
#[derive(Clone)]
pub struct App {
    pub reactor: Arc<Reactor>,
    pub hasher: Hasher,
    /// Bounds the calls of the node; shared by all reactors.
    pub places: Arc<Semaphore>,
    pub administration: Arc<Administration>,
    pub admin: Arc<Admin>,
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What is read back from the history.
    pub projections: projections::Projections,
    /// Bounds the questions to them at once; shared by all reactors.
    pub queries: Arc<Semaphore>,
    /// Bounds the backups that are made at once; shared by all reactors.
    pub backups: Arc<Semaphore>,
    /// How webhooks do.
    pub webhooks: Arc<Webhooks>,
}

/// Which routes a listener answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doors {
    /// Calls, health, and administration beside them.
    All,
    /// Calls and health.
    Calls,
    /// Administration, metrics and health.
    Admin,
}

/// The routes that are not calls.
pub fn router(app: App, doors: Doors) -> Router {
    let mut router = api::health()
        .router()
        .route("/health/liveliness", routing::get(health::live))
        .route("/health/liveness", routing::get(health::live))
        .route("/health/readiness", routing::get(health::ready));
    if doors != Doors::Admin {
        for prefix in ["", "/v1"] {
            router = router
                .route(&format!("{prefix}/models"), routing::get(models::list))
                .route(&format!("{prefix}/models/{{*id}}"), routing::get(models::get))
                .route(&format!("{prefix}/usage"), routing::get(account::usage))
                .route(&format!("{prefix}/budget"), routing::get(account::budget));
        }
    }
    if doors != Doors::Calls {
        router = router.merge(api::router(&app));
    }
    router.fallback(calls::unknown).method_not_allowed_fallback(calls::wrong_method).with_state(app)
}

impl App {
    pub(crate) fn new_call_id(&self) -> CallId {
        CallId::new(self.reactor.core.clock.now().as_ms(), self.reactor.core.entropy.draw())
    }

    pub(crate) fn draining(&self) -> bool {
        self.reactor.core.stage() >= Stage::Draining
    }
}

/// The key that a request shows.
pub(crate) fn shown_key(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, key) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key").and_then(|value| value.to_str().ok())).filter(|key| !key.is_empty())
}

/// Why a key does not let in.
pub(crate) enum KeyRefusal {
    Missing,
    Unknown,
    Revoked,
    Blocked,
}

/// Who calls, by the policy of now.
pub(crate) fn principal(app: &App, headers: &HeaderMap) -> Result<(Arc<Principal>, Arc<actors::policy::Policy>), KeyRefusal> {
    let key = shown_key(headers).ok_or(KeyRefusal::Missing)?;
    let policy = app.reactor.core.policy.load_full();
    let found = policy.view.key_at(&(app.hasher)(key), || app.reactor.core.clock.now());
    let principal = found.cloned().ok_or(KeyRefusal::Unknown)?;
    match principal.state {
        KeyState::Live => Ok((principal, policy)),
        KeyState::Blocked => Err(KeyRefusal::Blocked),
        KeyState::Revoked => Err(KeyRefusal::Revoked),
    }
}

/// The dialect in which an error is said where no endpoint of a call is known.
pub(crate) fn guess_dialect(path: &str, headers: &HeaderMap) -> Dialect {
    if path.contains("/messages") || headers.contains_key("anthropic-version") { Dialect::Anthropic } else { Dialect::OpenAi }
}

/// Whether a head is within the bounds. What is far over them was refused before it was read whole.
fn head_fits<B>(request: &Request<B>) -> bool {
    const MARKS: usize = ": \r\n".len();
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + MARKS).sum();
    headers.len() <= limits::HEADERS_MAX
        && bytes + request.uri().path_and_query().map_or(0, |path| path.as_str().len()) <= limits::HEAD_BYTES_MAX
}

/// One request, whatever it is.
pub(crate) async fn answer(app: App, mut router: Router, doors: Doors, request: Request<hyper::body::Incoming>) -> Response<Body> {
    use tower_service::Service as _;
    if !head_fits(&request) {
        return calls::head_too_large(&app, request.uri().path(), request.headers());
    }
    if doors != Doors::Admin
        && request.method() == Method::POST
        && let Some(endpoint) = dialects::Endpoint::from_path(request.uri().path())
    {
        return calls::handle(app, endpoint, request).await;
    }
    match router.call(request.map(axum::body::Body::new)).await {
        Ok(response) => response.map(Body::axum),
        Err(never) => match never {},
    }
}

/// An empty answer with a status, for what cannot happen but must be answered.
pub(crate) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::whole(bytes::Bytes::new()));
    *response.status_mut() = status;
    response
}
