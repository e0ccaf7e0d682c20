//! `GET /api/v1/budgets`, `…/{id}/windows`: limits and what was spent of them, now and in past windows.

use super::{
    Access, Asking, Path, Problem, Question,
    chosen::Chosen,
    page::{Page, Wanted, bad_cursor},
};
use ::projections::{
    Snapshot, World,
    budgets::{Window, window, windows},
};
use axum::response::Response;
use events::{BudgetId, Owner, Timestamp, budget::Budget, money::amount_text, token::Need};
use serde_json::{Map, Value, json};

/// `GET /api/v1/budgets`: all that are not closed, each with its window of now.
pub(crate) async fn list(asking: Asking) -> Response {
    let question = |Question { ask, now, .. }: Question<'_>| Ok((Chosen::read_owners(ask), now, ask.flag("closed")?));
    let rows = |(chosen, now, closed): (Chosen, Timestamp, bool), wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access| {
        let budgets = of_now(snapshot, &chosen, access, now, closed)?;
        let show = |(id, budget, start, window): Now<'_>| shown(id, budget, start, &window, budget.terms.limit, snapshot.world);
        Page::part(budgets, &wanted, show)
    };
    asking.listed("budgets", Need::Bill, question, rows).await
}

/// A budget in its window of now, which begins then.
type Now<'a> = (BudgetId, &'a Budget, Timestamp, Window);

fn of_now<'a>(snapshot: &Snapshot<'a>, chosen: &Chosen, access: &Access, now: Timestamp, closed: bool) -> Result<Vec<Now<'a>>, Problem> {
    let (ids, world) = (chosen.ids(snapshot.world, access)?, snapshot.world);
    let wanted = |owner: Owner| match owner {
        Owner::Platform => chosen.with_platform(access) && ids.scopes.is_none() && ids.keys.is_none(),
        Owner::Tenant(tenant) => ids.tenants.contains(&tenant) && ids.scopes.is_none() && ids.keys.is_none(),
        Owner::Scope(scope) => {
            let own = world.state.books.scopes.get(&scope).is_some_and(|scope| ids.tenants.contains(&scope.tenant));
            own && ids.keys.is_none() && ids.scopes.as_ref().is_none_or(|scopes| scopes.contains(&scope))
        }
        Owner::Key(key) => {
            let own = ids.tenants.contains(&world.tenant_of(key)) && ids.keys.as_ref().is_none_or(|keys| keys.contains(&key));
            own && ids.scopes.as_ref().is_none_or(|scopes| world.scope_of(key).is_some_and(|scope| scopes.contains(&scope)))
        }
    };
    let budgets = world.state.books.budgets.iter().filter(|(_, budget)| (closed || !budget.closed) && wanted(budget.identity.owner));
    let figured = budgets.map(|(id, budget)| {
        let start = budget.identity.every.window(now);
        Ok((*id, budget, start, window(snapshot, *id, start)?.unwrap_or_default()))
    });
    figured.collect()
}

/// `GET /api/v1/budgets/{id}/windows`: the last first.
pub(crate) async fn list_windows(asking: Asking, Path(id): Path<String>) -> Response {
    let question = |Question { wanted, .. }: Question<'_>| {
        let id: BudgetId = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no id of a budget")))?;
        Ok((id, wanted.cursor.as_deref().map(|cursor| Timestamp::parse(cursor).ok_or_else(bad_cursor)).transpose()?))
    };
    let rows = |(id, before): (BudgetId, Option<Timestamp>), wanted: Wanted, snapshot: &Snapshot<'_>, access: &Access| {
        past(snapshot, access, id, before, wanted.limit)
    };
    asking.listed("budgets", Need::Bill, question, rows).await
}

fn past(snapshot: &Snapshot<'_>, access: &Access, id: BudgetId, before: Option<Timestamp>, limit: usize) -> Result<Page, Problem> {
    let world = snapshot.world;
    let own = |budget: &&Budget| access.sees(world.state.tenant_of_owner(budget.identity.owner));
    let budget = world.state.books.budgets.get(&id).filter(own).ok_or_else(|| Problem::not_found(format!("there is no budget {id}")))?;
    let mut found = windows(snapshot, id, before.unwrap_or(Timestamp(u64::MAX)), limit.saturating_add(1))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|(start, _)| start.to_string());
    let rows = found.iter().map(|(start, window)| shown(id, budget, *start, window, window.limit, world)).collect();
    Ok(Page { rows, next_cursor, about: Map::new() })
}

fn shown(id: BudgetId, budget: &Budget, start: Timestamp, window: &Window, limit: events::Amount, world: &World) -> Value {
    let identity = &budget.identity;
    let (level, name) = (identity.owner.level(), world.state.owner_name(identity.owner));
    let text = |amount| amount_text(identity.unit, amount);
    let free = limit.saturating_sub(window.settled).saturating_sub(window.held);
    let only = &identity.only;
    json!({
        "object": "budget", "id": id.to_string(), "level": level, "name": name, "owner_id": identity.owner.to_string(), "unit": identity.unit.as_str(),
        "every": identity.every.as_str(), "hard": budget.terms.hard, "closed": budget.closed,
        "only": {"models": only.models, "providers": only.providers, "tags": only.tags},
        "starts_at": (start.0 > 0).then(|| start.to_string()), "resets_at": identity.every.end(start).map(|end| end.to_string()),
        "limit": text(limit), "settled": text(window.settled), "held": text(window.held), "free": text(free), "overrun": text(window.overrun),
        "open_calls": window.open_calls, "orphans": window.orphans,
        "alerted_at": window.alerted_ppm.map(|ppm| events::Money(i128::from(ppm) * 1_000_000).to_string()),
    })
}
