//! `GET /api/v1/audit`: who changed what, with what was there before.

use super::{
    Access, Asking, Problem, Question,
    chosen::{Chosen, texts},
    page::{Page, Wanted, bad_cursor},
};
use ::projections::{
    Order, Snapshot, World,
    audit::{Change, Query},
};
use axum::response::Response;
use events::{Position, State as Books, Timestamp, TokenId, cloudevent, envelope::Principal, token::Need};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

struct Asked {
    from: Timestamp,
    until: Timestamp,
    chosen: Chosen,
    kinds: Option<BTreeSet<String>>,
    subject: Option<String>,
    order: Order,
    after: Option<u64>,
}

/// `GET /api/v1/audit`.
pub(crate) async fn list(asking: Asking) -> Response {
    asking.listed("audit", Need::Read, Asked::read, Asked::answer).await
}

impl Asked {
    fn read(mut question: Question<'_>) -> Result<Asked, Problem> {
        let (from, until) = question.range(Timestamp(0))?;
        let Question { ask, wanted, .. } = question;
        let after = wanted.cursor.as_deref().map(|cursor| cursor.parse::<Position>().map_err(|_| bad_cursor())).transpose()?;
        Ok(Asked {
            from,
            until,
            chosen: Chosen::read_tenant(ask),
            kinds: texts(ask.text("kind")),
            subject: ask.text("subject").map(str::to_owned),
            order: ask.order()?,
            after: after.map(|position| position.n),
        })
    }

    fn answer(self, wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let (from, until, order, after, limit) = (self.from, self.until, self.order, self.after, wanted.limit);
        let (tenants, platform) = (self.chosen.ids(snapshot.world, access)?.tenants, self.chosen.with_platform(access));
        let query = Query { tenants, platform, from, until, kinds: self.kinds, subject: self.subject, order, after, limit };
        let (changes, next) = query.run(snapshot)?;
        let rows = changes.iter().map(|change| shown(change, snapshot.world)).collect();
        Ok(Page { rows, next_cursor: next.map(|n| Position::new(n).to_string()), about: Map::new() })
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
    let tenant = state.tenant_of_record(record);
    json!({
        "object": "change", "id": Position::new(record.envelope.n).to_string(), "at": record.envelope.at.to_string(), "by": by(record.envelope.principal, state),
        "tenant": tenant.and_then(|id| state.books.tenants.get(&id)).map(|tenant| tenant.name.as_str()),
        "kind": kind.split('.').nth(1), "type": kind, "subject": record.envelope.stream.to_string(),
        "transaction": Position::new(record.envelope.cause).to_string(),
        "before": change.before.as_ref().map(|event| cloudevent::data(event, state)), "after": cloudevent::data(&record.event, state),
    })
}
