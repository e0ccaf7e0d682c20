//! `GET /api/v1/usage`: what was used, by any dimension.

use super::{
    Access, Asking, Problem, Question,
    asking::AHEAD,
    chosen::Chosen,
    naming,
    page::{Page, Wanted},
};
use ::projections::{
    Snapshot, World,
    usage::{Dimension, Filter, Grain, Group, Query, Range, Sums},
};
use axum::{http::StatusCode, response::Response};
use events::{Every, Timestamp, limits, token::Need};
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
}

/// `GET /api/v1/usage`.
pub(crate) async fn list(asking: Asking) -> Response {
    asking.listed("usage", Need::Bill, Asked::read, Asked::answer).await
}

impl Asked {
    fn read(Question { ask, now, hasher, .. }: Question<'_>) -> Result<Asked, Problem> {
        let (from, until) = ask.range(now, now, Every::Month.window(now))?;
        // what is to come has no rows, and many hours
        let until = until.min(now.plus(AHEAD).max(from));
        Ok(Asked {
            from,
            until,
            step: ask.word("step", &STEPS)?,
            group_by: ask.words("group_by", &Dimension::ALL.map(|dimension| (dimension.as_str(), dimension)))?,
            order: ask.word("order", &ORDERS)?,
            chosen: Chosen::read_with_users(ask, hasher),
        })
    }

    fn answer(self, wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access) -> Result<Page, Problem> {
        let query = self.query(snapshot.world, access)?;
        let groups = query.run(snapshot)?.ok_or_else(too_much)?;
        let mut rows: Vec<(Group, Sums)> = groups.into_iter().collect();
        match self.order {
            None | Some(By::Group) => {}
            Some(By::Cost) => rows.sort_by_key(|(_, sums)| Reverse(sums.cost)),
            Some(By::Tokens) => rows.sort_by_key(|(_, sums)| Reverse(sums.tokens.total())),
            Some(By::Calls) => rows.sort_by_key(|(_, sums)| Reverse(sums.finished())),
        }
        let page = Page::part(rows, &wanted, |(group, sums)| shown(&group, &sums, &query, snapshot.world))?;
        Ok(page.saying("from", query.range.from.to_string()).saying("until", query.range.until.to_string()))
    }

    fn query(&self, world: &World, access: &Access) -> Result<Query, Problem> {
        let ids = self.chosen.ids(world, access)?;
        let filter =
            Filter { scopes: ids.scopes, keys: ids.keys, users: ids.users, models: ids.models, providers: ids.providers, tags: ids.tags };
        let mut range = Range::hours(self.from, self.until);
        if let Some(step) = self.step {
            range = Range { from: step.start(range.from), until: step.next(step.start(Timestamp(range.until.0.saturating_sub(1)))) };
        }
        let query = Query { tenants: ids.tenants, range, step: self.step, group_by: self.group_by.clone(), filter };
        if query.counts_twice() {
            return Err(Problem::parameter(
                "tag",
                "a call that has several of these would count several times: ask for one, or group by tag",
            ));
        }
        if query.crosses_users_and_tags() {
            return Err(Problem::parameter("user", "users and tags are counted apart: ask for one of them at a time"));
        }
        Ok(query)
    }
}

fn too_much() -> Problem {
    let detail = format!("more than {} groups: ask for a shorter time, or by fewer dimensions", limits::USAGE_GROUPS_MAX);
    Problem::new(StatusCode::BAD_REQUEST, "too_much", detail)
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
            Dimension::User => drop(row.insert("user".into(), group.dims.user.map(|user| user.to_string()).into())),
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
            "total": used.total(),
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
