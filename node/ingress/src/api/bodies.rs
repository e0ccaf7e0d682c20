//! `GET /api/v1/calls/{id}/bodies`, `DELETE /api/v1/tenants/{name}/bodies`: what was kept of a call, for those who may see it.

use super::{Access, Asking, Path, Problem, calls, entries, read, turn};
use ::projections::{Snapshot, calls::Call};
use actors::administration::{ApplyFault, EntryFault};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use events::{CallId, StreamId, TenantId, Timestamp, limits, policy::Logged, token::Need};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub(crate) async fn get(asking: Asking, Path(id): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::ReadBodies).await?;
        asking.ask().end()?;
        let id: CallId = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no id of a call")))?;
        let seen = access.clone();
        let tenants: BTreeSet<TenantId> = asking.look(move |state| seen.tenants(state)).await?;
        let turn = turn(&asking.app).await?;
        let found = asking.app.reactor.core.bodies.find(id, tenants).await;
        drop(turn);
        let found = found.ok_or_else(|| Problem::unavailable("this node keeps no bodies"))?;
        let Some((tenant, mut body)) = found else { return Err(why_not(&asking, id, access).await?) };
        // nobody is shown them without a record of it
        asking.app.administration.read_bodies(tenant, id, access.principal).await.map_err(not_recorded)?;
        body["object"] = "call_bodies".into();
        body["call"] = id.to_string().into();
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}

fn not_recorded(fault: EntryFault) -> Problem {
    match fault {
        EntryFault::Unknown | EntryFault::Changed => Problem::not_found("the tenant is closed, and nothing of it is shown any more"),
        EntryFault::Apply(ApplyFault::Stopped { why, .. }) => Problem::unavailable(why),
        EntryFault::Apply(ApplyFault::Problems(_)) => Problem::unavailable("it could not be recorded"),
    }
}

/// A call of another tenant is as good as none. Of one's own it is said why its bodies are not there, by what is configured now.
async fn why_not(asking: &Asking, id: CallId, access: Access) -> Result<Problem, Problem> {
    let history = asking.app.reactor.core.journal.reader();
    let row = read(&asking.app, "calls", None, move |snapshot: &Snapshot<'_>| Ok(calls::row(id, snapshot, &access, &*history)?.0)).await?;
    let policy = asking.app.reactor.core.policy.load_full();
    let log = policy.view.key_by_id(row.key).and_then(|key| key.request_log.clone());
    let why = reason(&row, id, log, asking.now());
    Ok(Problem::new(StatusCode::NOT_FOUND, "bodies_not_kept", format!("the bodies of {id} are not kept: {why}")))
}

fn reason(row: &Call, id: CallId, log: Option<Arc<events::policy::RequestLog>>, now: Timestamp) -> &'static str {
    let Some(log) = log else { return "the request log is off for its key" };
    let hours = Duration::from_secs(u64::from(log.keep_hours.min(limits::REQUEST_LOG_HOURS_MAX)) * 3_600);
    let went_well = row.end.is_some() && row.status() == ::projections::calls::Status::Ok;
    match log.log {
        _ if row.end.is_none() => "it is still open",
        _ if row.at.plus(hours) < now => "they are too old",
        Logged::Errors if went_well => "it went well, and only errors are kept",
        Logged::Sampled if !log.takes(id) => "it is not among those that are sampled",
        _ => "they were erased, dropped under load, or made room for newer ones",
    }
}

/// Erases what is kept of a tenant's calls, at once and for good.
pub(crate) async fn erase(asking: Asking, Path(name): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Configure).await?;
        asking.ask().end()?;
        let (entry, _) = entries::found(&asking, "tenant", &name, &access).await?;
        let StreamId::Tenant(id) = entry.id else { return Err(Problem::not_found("this is no tenant")) };
        asking.app.administration.erase_bodies(id, access.principal).await.map_err(not_recorded)?;
        // the key is destroyed; a node that ends here deletes the files when it starts again
        asking.app.reactor.core.bodies.erase(id).await;
        let body: Value = json!({"object": "call_bodies", "tenant": entry.name, "tenant_id": id.to_string(), "deleted": true});
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}
