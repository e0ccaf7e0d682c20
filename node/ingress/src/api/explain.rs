//! `GET /api/v1/calls/{id}/explain`: a call's decision made again from the policy that it pinned, its budgets as they were when it came,
//! and its cost line by line.

use super::{Access, Asking, Path, Problem, calls, naming, read};
use ::projections::{
    Fault, Projections, Snapshot, World,
    budgets::{Window, windows_then},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use cluster_config::{
    View,
    explain::{self, Explanation},
};
use events::{Amount, BudgetId, CallId, Event, Position, Timestamp, call, money::amount_text, token::Need};
use journal::Reader;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) async fn get(asking: Asking, Path(id): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let id: CallId = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no id of a call")))?;
        let history = asking.app.reactor.core.journal.reader();
        let views = asking.app.projections.clone();
        let body = read(&asking.app, "calls", None, move |snapshot| explained(id, snapshot, &views, &access, &*history)).await?;
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}

fn explained(id: CallId, snapshot: &Snapshot<'_>, views: &Projections, access: &Access, history: &dyn Reader) -> Result<Value, Problem> {
    let (call, records) = calls::row(id, snapshot, access, history)?;
    let (mut admitted, mut extended, mut finished) = (None, Vec::new(), None);
    for record in &records {
        match &*record.event {
            Event::Call(_, call::Event::Admitted(event)) => admitted = Some((event, record.envelope.n)),
            Event::Call(_, call::Event::Extended(event)) => extended.push(event),
            Event::Call(_, call::Event::Finished(event)) => finished = Some(event),
            _ => {}
        }
    }
    let (admitted, position) = admitted.ok_or_else(|| Fault(format!("{id} has no admission")))?;
    let world = World::at(snapshot, admitted.policy)?;
    let made_again = explain::explain(&View::from_state(&world.state), admitted, &extended, finished.map(|finished| &**finished));
    let then = then(&made_again, call.at, position, views, history)?;
    let mut body = calls::shown(id, &call, snapshot.world);
    body.insert("explanation".into(), explanation(&made_again, admitted, finished.map(|finished| &**finished), &then, &world, access));
    Ok(Value::Object(body))
}

/// What the budgets of a call were like, right before it was admitted.
type Then = BTreeMap<BudgetId, Window>;

/// Nothing, where it cannot be known any more.
fn then(made_again: &Explanation, at: Timestamp, position: u64, views: &Projections, history: &dyn Reader) -> Result<Then, Problem> {
    let Some(view) = views.view("budgets") else { return Ok(Then::new()) };
    let places: Vec<(BudgetId, Timestamp)> = made_again.path.iter().map(|budget| (budget.id, budget.identity.every.window(at))).collect();
    let windows = view.read(|snapshot| windows_then(snapshot, history, position, &places))?;
    Ok(windows.into_iter().flatten().map(|((budget, _), window)| (budget, window)).collect())
}

fn explanation(
    made_again: &Explanation,
    admitted: &call::Admitted,
    finished: Option<&call::Finished>,
    then: &Then,
    world: &World,
    access: &Access,
) -> Value {
    let choices = made_again.choices.iter().map(|choice| {
        json!({"provider": choice.provider_name, "provider_id": choice.provider.to_string(), "model": choice.model, "priced": choice.price.is_some(), "left_out": choice.left_out})
    });
    // the platform's are sums over all tenants
    let seen = made_again.path.iter().filter(|budget| access.sees(world.state.tenant_of_owner(budget.identity.owner)));
    let budgets = seen.map(|budget| {
        let text = |amount: Amount| amount_text(budget.identity.unit, amount);
        let held = text(admitted.ceiling.of(budget.identity.unit));
        let before = then.get(&budget.id).map(|window| {
            let free = budget.terms.limit.saturating_sub(window.settled).saturating_sub(window.held);
            json!({"settled": text(window.settled), "held": text(window.held), "free": text(free), "open_calls": window.open_calls})
        });
        json!({
            "id": budget.id.to_string(), "level": budget.level, "name": budget.owner_name, "unit": budget.identity.unit.as_str(),
            "every": budget.identity.every.as_str(), "hard": budget.terms.hard, "limit": text(budget.terms.limit), "held": held, "before": before,
        })
    });
    let attempts = finished.into_iter().flat_map(|finished| &finished.attempts).map(|attempt| {
        let name = world.state.books.providers.get(&attempt.provider).map(|provider| provider.settings.name.as_str());
        json!({
            "provider": name, "model": attempt.model, "end": attempt.end.as_str(), "status": attempt.end.status(),
            "cost": naming::usd(attempt.cost), "first_byte_ms": attempt.first_byte_ms, "total_ms": attempt.total_ms,
        })
    });
    let lines = made_again
        .lines
        .iter()
        .map(|line| json!({"class": line.class, "count": line.count, "each": naming::usd(line.each), "cost": naming::usd(line.cost)}));
    json!({
        "policy": Position::new(admitted.policy).to_string(), "same": made_again.differences.is_empty(), "differences": made_again.differences,
        "candidates": choices.collect::<Value>(), "budgets": budgets.collect::<Value>(), "attempts": attempts.collect::<Value>(),
        "tier": made_again.tier, "lines": lines.collect::<Value>(),
    })
}
