//! `GET /api/v1/usage`: what was used, by any dimension.

use super::{
    Access, FromApp, Params, Problem, answered,
    ask::Ask,
    chosen::Chosen,
    let_in, naming,
    page::{Page, Wanted},
    read,
};
use ::projections::{
    Snapshot, World,
    usage::{Dimension, Filter, Grain, Group, Query, Range, Sums},
};
use axum::{
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use events::{Every, Position, Timestamp, token::Need};
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
    chosen: Chosen,
    wanted: Wanted,
}

/// `GET /api/v1/usage`.
pub(crate) async fn list(
    State(app): FromApp,
    axum::extract::Query(given): Params,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let now = app.reactor.core.clock.now();
    let answer = async {
        let access = let_in(&app, &headers, Need::Bill, &method, &uri).await?;
        let mut ask = Ask::new(given);
        let at_least = ask.at_least()?;
        let asked = Asked::read(&mut ask, &headers, now)?;
        ask.end()?;
        let form = asked.wanted.form;
        let page = read(&app, "usage", at_least, move |snapshot| asked.answer(snapshot, &access)).await?;
        Ok(page.response(form))
    };
    answered(&app, answer).await
}

impl Asked {
    fn read(ask: &mut Ask, headers: &HeaderMap, now: Timestamp) -> Result<Asked, Problem> {
        let (from, until) = ask.range(now, Every::Month.window(now))?;
        Ok(Asked {
            from,
            until,
            step: ask.word("step", &STEPS)?,
            group_by: ask.words("group_by", &Dimension::ALL.map(|dimension| (dimension.as_str(), dimension)))?,
            order: ask.word("order", &ORDERS)?,
            chosen: Chosen::read(ask),
            wanted: Wanted::read(ask, headers)?,
        })
    }

    fn answer(&self, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let query = self.query(snapshot.world, access)?;
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

    fn query(&self, world: &World, access: &Access) -> Result<Query, Problem> {
        let ids = self.chosen.ids(world, access)?;
        let filter = Filter { scopes: ids.scopes, keys: ids.keys, models: ids.models, providers: ids.providers, tags: ids.tags };
        let mut range = Range::hours(self.from, self.until);
        if let Some(step) = self.step {
            range = Range { from: step.start(range.from), until: step.next(step.start(Timestamp(range.until.0.saturating_sub(1)))) };
        }
        Ok(Query { tenants: ids.tenants, range, step: self.step, group_by: self.group_by.clone(), filter })
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
        match dimension {
            Dimension::Tenant => naming::put(&mut row, group.tenant, world),
            Dimension::Scope => naming::put(&mut row, group.dims.scope, world),
            Dimension::Key => naming::put(&mut row, group.dims.key, world),
            Dimension::Provider => naming::put(&mut row, group.dims.provider, world),
            Dimension::Model => drop(row.insert("model".into(), group.dims.model.clone().into())),
            Dimension::Tag => drop(row.insert("tag".into(), group.dims.tag.clone().into())),
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
        row.insert(name.into(), naming::usd(*money));
    }
    row.insert("total_ms".into(), (*total_ms).into());
    Value::Object(row)
}
