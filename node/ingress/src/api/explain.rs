//! `GET /api/v1/calls/{id}/explain`: a call's decision made again from the policy that it pinned, and its cost line by line.

use super::{Access, Asking, Problem, calls, naming, read};
use ::projections::{Fault, Snapshot, World};
use axum::{
    Json,
    extract::Path,
    response::{IntoResponse, Response},
};
use cluster_config::{
    View,
    explain::{self, Explanation},
};
use events::{CallId, Event, Position, call, money::amount_text, token::Need};
use journal::Reader;
use serde_json::{Value, json};

pub(crate) async fn get(asking: Asking, Path(id): Path<String>) -> Response {
    let answer = async {
        let access = asking.let_in(Need::Read).await?;
        let id: CallId = id.parse().map_err(|_| Problem::not_found(format!("`{id}` is no id of a call")))?;
        let history = asking.app.reactor.core.journal.reader();
        let body = read(&asking.app, "calls", None, move |snapshot| explained(id, snapshot, &access, &*history)).await?;
        Ok(Json(body).into_response())
    };
    asking.answered(answer).await
}

fn explained(id: CallId, snapshot: &Snapshot<'_>, access: &Access, history: &dyn Reader) -> Result<Value, Problem> {
    let (call, records) = calls::row(id, snapshot, access, history)?;
    let (mut admitted, mut extended, mut finished) = (None, Vec::new(), None);
    for record in &records {
        match &*record.event {
            Event::Call(_, call::Event::Admitted(event)) => admitted = Some(event),
            Event::Call(_, call::Event::Extended(event)) => extended.push(event),
            Event::Call(_, call::Event::Finished(event)) => finished = Some(event),
            _ => {}
        }
    }
    let admitted = admitted.ok_or_else(|| Fault(format!("{id} has no admission")))?;
    let world = World::at(snapshot, admitted.policy)?;
    let made_again = explain::explain(&View::from_state(&world.state), admitted, &extended, finished.map(|finished| &**finished));
    let mut body = calls::shown(id, &call, snapshot.world);
    body.insert("explanation".into(), explanation(&made_again, admitted, finished.map(|finished| &**finished), &world));
    Ok(Value::Object(body))
}

fn explanation(made_again: &Explanation, admitted: &call::Admitted, finished: Option<&call::Finished>, world: &World) -> Value {
    let choices = made_again.choices.iter().map(|choice| {
        json!({"provider": choice.provider_name, "provider_id": choice.provider.to_string(), "model": choice.model, "priced": choice.price.is_some(), "left_out": choice.left_out})
    });
    let budgets = made_again.path.iter().map(|budget| {
        let held = amount_text(budget.identity.unit, admitted.ceiling.of(budget.identity.unit));
        json!({
            "id": budget.id.to_string(), "level": budget.level, "name": budget.owner_name, "unit": budget.identity.unit.as_str(),
            "every": budget.identity.every.as_str(), "hard": budget.terms.hard, "limit": amount_text(budget.identity.unit, budget.terms.limit), "held": held,
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
