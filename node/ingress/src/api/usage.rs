//! `GET /api/v1/usage`: what was used, by any dimension.

use super::{
    FromApp, Params, Problem, answered,
    ask::{Ask, Named, texts},
    page::{Page, Wanted},
    read,
};
use ::projections::{
    Snapshot, World,
    usage::{Dimension, Filter, Grain, Group, Query, Range, Sums},
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use events::{Every, Position, TenantId, Timestamp};
use serde_json::{Map, Value, json};
use std::{cmp::Reverse, collections::BTreeSet};

const STEPS: [(&str, Grain); 3] = [("hour", Grain::Hour), ("day", Grain::Day), ("month", Grain::Month)];
const ORDERS: [(&str, By); 5] =
    [("time", By::Group), ("-cost", By::Cost), ("-tokens", By::Tokens), ("-calls", By::Calls), ("name", By::Group)];

/// What rows are ordered by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Group,
    Cost,
    Tokens,
    Calls,
}

/// A question as it was asked; names are looked up where the rows are.
struct Asked {
    from: Timestamp,
    until: Timestamp,
    step: Option<Grain>,
    group_by: BTreeSet<Dimension>,
    order: Option<By>,
    names: Names,
    wanted: Wanted,
}

/// Names in filters.
#[derive(Default)]
struct Names {
    tenant: Option<String>,
    scope: Option<String>,
    key: Option<String>,
    model: Option<String>,
    provider: Option<String>,
    tag: Option<String>,
}

/// `GET /api/v1/usage`.
pub(crate) async fn list(State(app): FromApp, axum::extract::Query(given): Params, headers: HeaderMap) -> Response {
    let now = app.reactor.core.clock.now();
    let answer = async {
        let mut ask = Ask::new(given);
        let at_least = ask.at_least()?;
        let asked = Asked::read(&mut ask, &headers, now)?;
        ask.end()?;
        let form = asked.wanted.form;
        let page = read(&app, "usage", at_least, move |snapshot| asked.answer(snapshot)).await?;
        Ok(page.response(form))
    };
    answered(&app, &headers, answer).await
}

impl Asked {
    fn read(ask: &mut Ask, headers: &HeaderMap, now: Timestamp) -> Result<Asked, Problem> {
        let (from, until) = ask.range(now, Every::Month.window(now))?;
        let names = Names::read(ask);
        Ok(Asked {
            from,
            until,
            step: ask.word("step", &STEPS)?,
            group_by: ask.words("group_by", &Dimension::ALL.map(|dimension| (dimension.as_str(), dimension)))?,
            order: ask.word("order", &ORDERS)?,
            names,
            wanted: Wanted::read(ask, headers)?,
        })
    }

    fn answer(&self, snapshot: &Snapshot<'_>) -> Result<Page, Problem> {
        let query = self.query(snapshot.world)?;
        let groups = query.run(snapshot).map_err(|fault| Problem::new(StatusCode::BAD_REQUEST, "too_much", fault.0))?;
        let mut rows: Vec<(Group, Sums)> = groups.into_iter().collect();
        match self.order {
            None | Some(By::Group) => {}
            Some(By::Cost) => rows.sort_by_key(|(_, sums)| Reverse(sums.cost)),
            Some(By::Tokens) => rows.sort_by_key(|(_, sums)| Reverse(tokens(sums))),
            Some(By::Calls) => rows.sort_by_key(|(_, sums)| Reverse(sums.finished())),
        }
        let rows = rows.iter().map(|(group, sums)| shown(group, sums, &query, snapshot.world)).collect();
        let page = Page::part(rows, &self.wanted)?;
        let page = page.saying("from", query.range.from.to_string()).saying("until", query.range.until.to_string());
        Ok(page.saying("at", Position::new(snapshot.next()).to_string()))
    }

    fn query(&self, world: &World) -> Result<Query, Problem> {
        let all: BTreeSet<TenantId> = world.state.books.tenants.iter().map(|(id, _)| *id).collect();
        let tenants = Named { state: &world.state, tenants: &all }.tenants(self.names.tenant.as_deref())?;
        let named = Named { state: &world.state, tenants: &tenants };
        let scopes = named.scopes(self.names.scope.as_deref())?;
        let filter = Filter {
            scopes: scopes.map(|scopes| scopes.into_iter().flat_map(|scope| world.below(scope)).collect()),
            keys: named.keys(self.names.key.as_deref())?,
            models: texts(self.names.model.as_deref()),
            providers: named.providers(self.names.provider.as_deref())?,
            tags: texts(self.names.tag.as_deref()),
        };
        let mut range = Range::hours(self.from, self.until);
        if let Some(step) = self.step {
            range = Range { from: step.start(range.from), until: step.next(step.start(Timestamp(range.until.0.saturating_sub(1)))) };
        }
        Ok(Query { tenants, range, step: self.step, group_by: self.group_by.clone(), filter })
    }
}

impl Names {
    fn read(ask: &mut Ask) -> Names {
        let mut text = |name| ask.text(name).map(str::to_owned);
        Names {
            tenant: text("tenant"),
            scope: text("scope"),
            key: text("key"),
            model: text("model"),
            provider: text("provider"),
            tag: text("tag"),
        }
    }
}

fn tokens(sums: &Sums) -> i64 {
    let tokens = &sums.tokens;
    [
        tokens.input,
        tokens.cache_read,
        tokens.cache_write,
        tokens.cache_write_1h,
        tokens.output,
        tokens.reasoning,
        tokens.audio_input,
        tokens.audio_output,
    ]
    .iter()
    .fold(0, |sum: i64, part| sum.saturating_add(*part))
}

fn shown(group: &Group, sums: &Sums, query: &Query, world: &World) -> Value {
    let mut row = Map::from_iter([("object".to_owned(), json!("usage"))]);
    if let (Some(start), Some(step)) = (group.start, query.step) {
        row.insert("start".into(), start.to_string().into());
        row.insert("end".into(), step.next(start).to_string().into());
    }
    for dimension in &query.group_by {
        let (name, id) = named(*dimension, group, world);
        row.insert(dimension.as_str().into(), name.into());
        if let Some(id) = id {
            row.insert(format!("{}_id", dimension.as_str()), id.into());
        }
    }
    let Sums { ok, failed, aborted, released, orphaned, tokens: used, cost, charge, uncertain, overrun, adjusted, total_ms } = sums;
    row.insert(
        "calls".into(),
        json!({"finished": sums.finished(), "ok": ok, "failed": failed, "aborted": aborted, "orphaned": orphaned, "released": released}),
    );
    row.insert(
        "tokens".into(),
        json!({
            "input": used.input, "cache_read": used.cache_read, "cache_write": used.cache_write.saturating_add(used.cache_write_1h),
            "output": used.output, "reasoning": used.reasoning, "audio_input": used.audio_input, "audio_output": used.audio_output,
            "total": tokens(sums),
        }),
    );
    row.insert("images".into(), used.images.into());
    row.insert("searches".into(), used.searches.into());
    for (name, money) in [("cost", cost), ("charge", charge), ("uncertain", uncertain), ("overrun", overrun), ("adjusted", adjusted)] {
        row.insert(name.into(), json!({"USD": money.to_string()}));
    }
    row.insert("total_ms".into(), (*total_ms).into());
    Value::Object(row)
}

/// The name of what a row is about, and its id where it has one.
fn named(dimension: Dimension, group: &Group, world: &World) -> (Option<String>, Option<Option<String>>) {
    let (books, dims) = (&world.state.books, &group.dims);
    match dimension {
        Dimension::Tenant => {
            let name = group.tenant.and_then(|id| books.tenants.get(&id)).map(|tenant| tenant.name.clone());
            (name, Some(group.tenant.map(|id| id.to_string())))
        }
        Dimension::Scope => {
            let name = dims.scope.and_then(|id| books.scopes.get(&id)).map(|scope| scope.name.clone());
            (name, Some(dims.scope.map(|id| id.to_string())))
        }
        Dimension::Key => {
            let name = dims.key.and_then(|id| books.keys.get(&id)).map(|key| key.name.clone());
            (name, Some(dims.key.map(|id| id.to_string())))
        }
        Dimension::Provider => {
            let name = dims.provider.and_then(|id| books.providers.get(&id)).map(|provider| provider.settings.name.clone());
            (name, Some(dims.provider.map(|id| id.to_string())))
        }
        Dimension::Model => (dims.model.clone(), None),
        Dimension::Tag => (dims.tag.clone(), None),
    }
}
