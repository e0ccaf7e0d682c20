//! `GET /api/v1/alerts`: what operators are told of, the last first.

use super::{
    Access, Asking, Problem, Question,
    chosen::Chosen,
    page::{Page, Wanted, bad_cursor},
};
use ::projections::{
    Order, Snapshot, World,
    alerts::{Alert, Query, Standing},
};
use axum::response::Response;
use events::{Position, Timestamp, alert::Kind, token::Need};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

struct Asked {
    now: Timestamp,
    from: Timestamp,
    until: Timestamp,
    chosen: Chosen,
    kinds: BTreeSet<Kind>,
    standing: Standing,
    order: Order,
    after: Option<u64>,
}

/// `GET /api/v1/alerts`.
pub(crate) async fn list(asking: Asking) -> Response {
    asking.listed("alerts", Need::Read, Asked::read, Asked::answer).await
}

impl Asked {
    fn read(mut question: Question<'_>) -> Result<Asked, Problem> {
        let (from, until) = question.range(Timestamp(0))?;
        let Question { ask, wanted, now, .. } = question;
        let after = wanted.cursor.as_deref().map(|cursor| cursor.parse::<Position>().map_err(|_| bad_cursor())).transpose()?;
        let states = [("all", Standing::All), ("open", Standing::Open), ("closed", Standing::Closed)];
        Ok(Asked {
            now,
            from,
            until,
            chosen: Chosen::read_tenant(ask),
            kinds: ask.words("kind", &Kind::ALL.map(|kind| (kind.as_str(), kind)))?,
            standing: ask.word("state", &states)?.unwrap_or(Standing::All),
            order: ask.order()?,
            after: after.map(|position| position.n),
        })
    }

    fn answer(self, wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let Asked { now, from, until, chosen, kinds, standing, order, after } = self;
        let (tenants, platform) = (chosen.ids(snapshot.world, access)?.tenants, chosen.with_platform(access));
        let kinds = (!kinds.is_empty()).then_some(kinds);
        let query = Query { tenants, platform, from, until, kinds, standing, now, order, after, limit: wanted.limit };
        let (found, next) = query.run(snapshot)?;
        let rows = found.iter().map(|(n, alert)| shown(*n, alert, snapshot.world, now)).collect();
        Ok(Page { rows, next_cursor: next.map(|n| Position::new(n).to_string()), about: Map::new() })
    }
}

fn shown(n: u64, alert: &Alert, world: &World, now: Timestamp) -> Value {
    let ended_at = alert.ended_at(now);
    json!({
        "object": "alert", "id": Position::new(n).to_string(), "at": alert.at.to_string(), "kind": alert.kind.as_str(),
        "state": if ended_at.is_some() { "closed" } else { "open" }, "ended_at": ended_at.map(|at| at.to_string()),
        "tenant": alert.tenant.and_then(|id| world.state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str()),
        "subject": alert.subject, "message": alert.message, "data": alert.data(),
    })
}
