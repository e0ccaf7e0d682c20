//! Everything under `/api/v1`: what the projections know, in lists; administration; proofs.

mod access;
mod alerts;
mod apply;
mod ask;
mod asking;
mod audit;
mod backup;
mod bodies;
mod budgets;
mod calls;
mod capabilities;
mod chosen;
mod document;
mod entries;
mod events;
mod explain;
mod export;
mod idempotency;
mod ledger;
mod naming;
mod page;
mod platform;
mod prices;
mod problem;
mod projections;
mod providers;
mod route;
mod routes;
mod schema;
mod sent;
mod tokens;
mod usage;
mod webhooks;

pub(crate) use access::Access;
pub use access::Admin;
pub(crate) use asking::{Asking, Question};
pub use document::openapi;
pub use ledger::{Proof, prove};
pub(crate) use problem::Problem;
pub(crate) use routes::health;
pub(crate) use sent::{Path, Sent};
pub use webhooks::{Deliveries, TestAsked, Tried, Webhooks};

use crate::App;
use ::events::limits;
use ::projections::{Snapshot, View};
use axum::{Router, middleware};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What administration's listener answers; writes once for each idempotency key.
pub(crate) fn router(app: &App) -> Router<App> {
    routes::administration().router().route_layer(middleware::from_fn_with_state(app.clone(), idempotency::once))
}

/// A view's rows are looked for so often while somebody waits for a position.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Reads from a projection, on a thread of its own: it may wait for the disk. Waits first until the projection has come to `at_least`.
async fn read<R: Send + 'static>(
    app: &App,
    name: &str,
    at_least: Option<u64>,
    act: impl FnOnce(&Snapshot<'_>) -> Result<R, Problem> + Send + 'static,
) -> Result<R, Problem> {
    let view = app.projections.view(name).cloned().ok_or_else(|| Problem::unavailable("this node keeps no projections"))?;
    wait_for(app, &view, at_least).await?;
    let _turn = turn(app).await?;
    tokio::task::spawn_blocking(move || view.read(act)).await.unwrap_or_else(|_| Err(Problem::unavailable("the question failed"))) // a panic: told by the hook
}

/// Questions that may wait for the disk take turns.
async fn turn(app: &App) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = tokio::time::timeout(limits::QUERY_WAIT, app.queries.clone().acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| Problem::unavailable("too many questions are being answered; try again"))
}

/// Waits until a view shows a position. Without one it is given a moment to show what there is now.
async fn wait_for(app: &App, view: &View, at_least: Option<u64>) -> Result<(), Problem> {
    let (position, wait) = match at_least {
        Some(position) => (position, limits::QUERY_WAIT),
        None => (app.reactor.core.look(|state| state.position()).await.unwrap_or_default(), limits::QUERY_FRESH_WAIT),
    };
    let reached = async {
        while view.next() < position {
            app.projections.ask();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(wait, reached).await {
        Err(_) if at_least.is_some() => {
            Err(Problem::unavailable(format!("{} has not come to this position within {} s", view.name(), wait.as_secs())))
        }
        _ => Ok(()),
    }
}
