//! `GET /api/v1/calls`, `GET /api/v1/calls/{id}`: calls by whatever their rows say, and one with all that happened to it.

use super::{
    Access, Asking, Path, Problem, Question,
    chosen::Chosen,
    naming,
    page::{Page, Wanted, bad_cursor},
    read,
};
use ::projections::{
    Fault, Order, Snapshot, World,
    calls::{Call, End, Filter, Query, Status, find},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use events::{CallId, Money, Timestamp, cloudevent, envelope::Recorded, token::Need};
use journal::Reader;
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, time::Duration};

/// A question without a time is about so much.
const SINCE: Duration = Duration::from_secs(24 * 3_600);

struct Asked {
    from: Timestamp,
    until: Timestamp,
    chosen: Chosen,
    statuses: Option<BTreeSet<Status>>,
    upstream_id: Option<String>,
    request_id: Option<String>,
    trace_id: Option<u128>,
    cost_from: Option<Money>,
    total_ms_from: Option<u64>,
    order: Order,
    after: Option<CallId>,
}

/// `GET /api/v1/calls`.
pub(crate) async fn list(asking: Asking) -> Response {
    asking.listed("calls", Need::Read, Asked::read, Asked::answer).await
}

impl Asked {
    fn read(mut question: Question<'_>) -> Result<Asked, Problem> {
        let (from, until) = question.range(question.now.minus(SINCE))?;
        let Question { ask, wanted, hasher, .. } = question;
        let statuses = ask.words("status", &Status::ALL.map(|status| (status.as_str(), status)))?;
        let after = wanted.cursor.as_deref().map(|cursor| cursor.parse().map_err(|_| bad_cursor())).transpose()?;
        Ok(Asked {
            from,
            until,
            chosen: Chosen::read_with_users(ask, hasher),
            statuses: (!statuses.is_empty()).then_some(statuses),
            upstream_id: ask.text("upstream_id").map(str::to_owned),
            request_id: ask.text("request_id").map(str::to_owned),
            trace_id: ask.trace_id()?,
            cost_from: ask.money("min_cost_usd")?,
            total_ms_from: ask.number("min_total_ms", 0, u64::MAX)?,
            order: ask.order()?,
            after,
        })
    }

    fn answer(self, wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let ids = self.chosen.ids(snapshot.world, access)?;
        let filter = Filter {
            scopes: ids.scopes,
            keys: ids.keys,
            users: ids.users,
            models: ids.models,
            providers: ids.providers,
            tags: ids.tags,
            statuses: self.statuses,
            upstream_id: self.upstream_id,
            request_id: self.request_id,
            trace_id: self.trace_id,
            cost_from: self.cost_from,
            total_ms_from: self.total_ms_from,
        };
        let (from, until, order, limit) = (self.from, self.until, self.order, wanted.limit);
        let query = Query { tenants: ids.tenants, from, until, filter, order, after: self.after, limit };
        let found = query.run(snapshot)?;
        let rows = found.calls.iter().map(|(id, call)| Value::Object(shown(*id, call, snapshot.world))).collect();
        Ok(Page { rows, next_cursor: found.next.map(|id| id.to_string()), about: Map::new() })
    }
}

/// `GET /api/v1/calls/{id}`: with the events that it is made of.
pub(crate) async fn get(asking: Asking, Path(id): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let mut ask = asking.ask();
        let at_least = ask.at_least()?;
        ask.end()?;
        let id: CallId = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no id of a call")))?;
        let (history, cluster) = (asking.app.reactor.core.journal.reader(), asking.app.reactor.core.cluster.clone());
        let body = read(&asking.app, "calls", at_least, move |snapshot| one(id, snapshot, &access, &*history, &cluster)).await?;
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}

/// A call's row, and its events.
pub(super) fn row(id: CallId, snapshot: &Snapshot<'_>, access: &Access, history: &dyn Reader) -> Result<(Call, Vec<Recorded>), Problem> {
    let call = find(snapshot, id, &access.tenants(&snapshot.world.state))?;
    let call = call.ok_or_else(|| {
        Problem::not_found(format!(
            "there is no call {id}, or it is too old; one that was refused is none: only its line on standard error tells of it"
        ))
    })?;
    let records = call.events.iter().map(|n| history.read(*n, 1)).collect::<Result<Vec<_>, _>>();
    let records = records.map_err(Fault::from)?;
    Ok((call, records.into_iter().flatten().collect()))
}

fn one(id: CallId, snapshot: &Snapshot<'_>, access: &Access, history: &dyn Reader, cluster: &str) -> Result<Value, Problem> {
    let (call, records) = row(id, snapshot, access, history)?;
    let mut body = shown(id, &call, snapshot.world);
    let events: Vec<Value> = records.iter().map(|record| cloudevent::render(record, &snapshot.world.state, cluster)).collect();
    body.insert("events".into(), events.into());
    Ok(Value::Object(body))
}

/// What is charged for it: an orphan at its ceiling, until its record comes.
fn charge(call: &Call, end: &End) -> Money {
    if call.status() == Status::Orphaned { call.cost } else { end.charge }
}

pub(super) fn shown(id: CallId, call: &Call, world: &World) -> Map<String, Value> {
    let mut row = Map::from_iter([
        ("object".to_owned(), json!("call")),
        ("id".to_owned(), json!(id.to_string())),
        ("at".to_owned(), json!(call.at.to_string())),
        ("status".to_owned(), json!(call.status().as_str())),
    ]);
    naming::put(&mut row, Some(call.tenant), world);
    naming::put(&mut row, call.scope, world);
    naming::put(&mut row, Some(call.key), world);
    let end = call.end.as_ref();
    naming::put(&mut row, end.and_then(|end| end.provider), world);
    let rest = json!({
        "user": call.caller.user.map(|user| user.to_string()), "request_id": call.caller.request_id,
        "trace_id": call.caller.trace_id.map(|id| format!("{id:032x}")),
        "model": call.model, "endpoint": call.endpoint, "stream": call.stream, "tags": call.tags, "losses": call.losses,
        "ceiling": naming::usd(call.ceiling), "cost": naming::usd(call.cost), "charge": end.map(|end| naming::usd(charge(call, end))),
        "overrun": end.map(|end| naming::usd(end.overrun)), "uncertain": end.map(|end| naming::usd(end.uncertain)),
        "estimated": end.map(|end| end.estimated), "tokens": end.map(|end| naming::tokens(&end.usage)),
        "upstream_model": end.and_then(|end| end.upstream_model.as_deref()), "upstream_id": end.and_then(|end| end.upstream_id.as_deref()),
        "attempts": end.map(|end| end.attempts), "first_byte_ms": end.map(|end| end.first_byte_ms), "total_ms": end.map(|end| end.total_ms),
        "ended_at": end.map(|end| end.at.to_string()),
    });
    if let Value::Object(rest) = rest {
        row.extend(rest);
    }
    row
}
