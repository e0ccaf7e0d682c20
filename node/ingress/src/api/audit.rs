//! `GET /api/v1/audit`: who changed what, with what was there before.

use super::{
    Access, FromApp, Params, Problem, answered,
    ask::Ask,
    chosen::{Chosen, texts},
    let_in,
    page::{Page, Wanted, bad_cursor},
    read, unreadable,
};
use ::projections::{
    Order, Snapshot, World,
    audit::{Change, Query},
};
use axum::{
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use events::{Position, State as Books, Timestamp, TokenId, cloudevent, envelope::Principal, token::Need};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, time::Duration};

const ORDERS: [(&str, Order); 2] = [("time", Order::Ascending), ("-time", Order::Descending)];

struct Asked {
    from: Timestamp,
    until: Timestamp,
    chosen: Chosen,
    kinds: Option<BTreeSet<String>>,
    subject: Option<String>,
    order: Order,
    after: Option<u64>,
    wanted: Wanted,
}

/// `GET /api/v1/audit`.
pub(crate) async fn list(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let now = app.reactor.core.clock.now();
    let answer = async {
        let access = let_in(&app, &headers, Need::Read, &method, &uri).await?;
        let mut ask = Ask::new(given);
        let at_least = ask.at_least()?;
        let asked = Asked::read(&mut ask, &headers, now)?;
        ask.end()?;
        let form = asked.wanted.form;
        let page = read(&app, "audit", at_least, move |snapshot| asked.answer(snapshot, &access)).await?;
        Ok(page.response(form))
    };
    answered(&app, answer).await
}

impl Asked {
    fn read(ask: &mut Ask, headers: &HeaderMap, now: Timestamp) -> Result<Asked, Problem> {
        let (from, until) = ask.range(now.plus(Duration::from_secs(3_600)), Timestamp(0))?;
        let wanted = Wanted::read(ask, headers)?;
        let after = wanted.cursor.as_deref().map(|cursor| cursor.parse::<Position>().map_err(|_| bad_cursor())).transpose()?;
        Ok(Asked {
            from,
            until,
            chosen: Chosen::read_tenant(ask),
            kinds: texts(ask.text("kind")),
            subject: ask.text("subject").map(str::to_owned),
            order: ask.word("order", &ORDERS)?.unwrap_or(Order::Descending),
            after: after.map(|position| position.n),
            wanted,
        })
    }

    fn answer(self, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let (from, until, order, after, limit) = (self.from, self.until, self.order, self.after, self.wanted.limit);
        let (tenants, platform) = (self.chosen.ids(snapshot.world, access)?.tenants, self.chosen.with_platform(access));
        let query = Query { tenants, platform, from, until, kinds: self.kinds, subject: self.subject, order, after, limit };
        let (changes, next) = query.run(snapshot).map_err(unreadable)?;
        let rows = changes.iter().map(|change| shown(change, snapshot.world)).collect();
        let page = Page { rows, next_cursor: next.map(|n| Position::new(n).to_string()), about: Map::new() };
        Ok(page.saying("at", Position::new(snapshot.next()).to_string()))
    }
}

fn by(principal: Principal, state: &Books) -> Value {
    match principal {
        Principal::System => json!({"kind": "system"}),
        Principal::Admin(0) => json!({"kind": "admin", "id": "root", "name": null}),
        Principal::Admin(id) => {
            let id = TokenId(id);
            let name = state.books.tokens.get(&id).map(|token| token.settings.name.as_str());
            json!({"kind": "admin", "id": id.to_string(), "name": name})
        }
        Principal::Key(id) => json!({"kind": "key", "id": id.to_string()}),
    }
}

fn shown(change: &Change, world: &World) -> Value {
    let (record, state) = (&change.record, &world.state);
    let kind = cloudevent::type_name(&record.event);
    let tenant = record.envelope.tenant.or_else(|| state.tenant_of(&record.event));
    json!({
        "object": "change", "id": Position::new(record.envelope.n).to_string(), "at": record.envelope.at.to_string(), "by": by(record.envelope.principal, state),
        "tenant": tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str()),
        "kind": kind.split('.').nth(1), "type": kind, "subject": record.envelope.stream.to_string(),
        "transaction": Position::new(record.envelope.cause).to_string(),
        "before": change.before.as_ref().map(|event| cloudevent::data(event, state)), "after": cloudevent::data(&record.event, state),
    })
}
