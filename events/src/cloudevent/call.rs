//! Data of calls.

use super::parts;
use crate::{
    BudgetId, Figures, Position, State,
    call::{Adjusted, Admitted, Attempt, Bound, Decision, Event, Extended, Finished, Orphaned, Translated, Unsent},
};
use serde_json::{Value, json};

pub fn type_name(event: &Event) -> &'static str {
    match event {
        Event::Admitted(_) => "tollgate.call.admitted.v1",
        Event::Extended(_) => "tollgate.call.extended.v1",
        Event::Finished(_) => "tollgate.call.finished.v1",
        Event::Released { .. } => "tollgate.call.released.v1",
        Event::Orphaned(_) => "tollgate.call.orphaned.v1",
        Event::Adjusted(_) => "tollgate.call.adjusted.v1",
        Event::Translated(_) => "tollgate.call.translated.v1",
    }
}

pub fn data(event: &Event, state: &State) -> Value {
    match event {
        Event::Admitted(admitted) => self::admitted(admitted),
        Event::Extended(extended) => self::extended(extended, state),
        Event::Finished(finished) => self::finished(finished, state),
        Event::Released { key, reason } => json!({"key": key.to_string(), "reason": unsent(*reason)}),
        Event::Orphaned(orphaned) => self::orphaned(orphaned),
        Event::Adjusted(adjusted) => self::adjusted(adjusted, state),
        Event::Translated(translated) => self::translated(translated, state),
    }
}

fn admitted(admitted: &Admitted) -> Value {
    json!({
        "key": admitted.key.to_string(), "model": admitted.model, "endpoint": admitted.endpoint, "stream": admitted.stream,
        "tags": admitted.tags, "ceiling": parts::figures(&admitted.ceiling),
        "budgets": admitted.budgets.iter().map(BudgetId::to_string).collect::<Value>(),
        "policy": Position::new(admitted.policy).to_string(), "node": admitted.node.to_string(), "session": format!("{:016x}", admitted.boot.0),
        "claim": admitted.claim.map(|claim| parts::hex(&claim.key)),
        "user": admitted.caller.user.map(|user| user.to_string()), "request_id": admitted.caller.request_id,
        "trace_id": admitted.caller.trace_id.map(|id| format!("{id:032x}")),
    })
}

fn extended(extended: &Extended, state: &State) -> Value {
    json!({"attempt": extended.attempt, "adds": parts::amounts(&extended.adds, state), "ceiling": parts::figures(&extended.ceiling)})
}

fn finished(finished: &Finished, state: &State) -> Value {
    let provider = finished.attempts.last().map(|attempt| parts::provider_name(attempt.provider, state));
    let apart = finished.apart.iter().map(|(budget, used)| apart(*budget, used));
    json!({
        "outcome": finished.outcome.as_str(), "key": finished.key.to_string(), "model": finished.model, "provider": provider,
        "attempts": finished.attempts.len(), "attempt_list": finished.attempts.iter().map(|one| attempt(one, state)).collect::<Value>(),
        "usage": parts::usage(&finished.usage), "cost": finished.used.cost.to_string(), "tokens": finished.used.tokens,
        "requests": finished.used.requests, "apart": apart.collect::<Value>(), "charge": finished.charge.to_string(),
        "overrun": finished.overrun.to_string(), "uncertain": finished.uncertain.to_string(), "estimated": finished.estimated,
        "total_ms": finished.total_ms, "decision": decision(&finished.decision, state),
    })
}

/// What a filtered budget counted of the call.
fn apart(budget: BudgetId, used: &Figures) -> Value {
    json!({"budget": budget.to_string(), "used": parts::figures(used)})
}

fn attempt(attempt: &Attempt, state: &State) -> Value {
    json!({
        "provider": parts::provider_name(attempt.provider, state), "model": attempt.model, "end": attempt.end.as_str(), "status": attempt.end.status(),
        "cost": attempt.cost.to_string(), "tokens": attempt.tokens, "first_byte_ms": attempt.first_byte_ms, "total_ms": attempt.total_ms,
        "upstream_id": attempt.upstream_id,
    })
}

fn decision(decision: &Decision, state: &State) -> Value {
    let candidates =
        decision.candidates.iter().map(|(provider, model)| json!({"provider": parts::provider_name(*provider, state), "model": model}));
    let bound = match decision.bound {
        Bound::Bytes => "bytes",
        Bound::Tokens => "tokens",
        Bound::Context => "context",
    };
    json!({"candidates": candidates.collect::<Value>(), "price": decision.price.as_ref().map(parts::price), "bound": bound})
}

fn unsent(reason: Unsent) -> &'static str {
    match reason {
        Unsent::CallerGone => "caller_gone",
        Unsent::Unreachable => "unreachable",
        Unsent::Stopping => "stopping",
    }
}

fn orphaned(orphaned: &Orphaned) -> Value {
    json!({
        "key": orphaned.key.to_string(), "model": orphaned.model, "node": orphaned.node.to_string(), "session": format!("{:016x}", orphaned.boot.0),
        "cost": orphaned.charged.cost.to_string(), "tokens": orphaned.charged.tokens, "requests": orphaned.charged.requests,
    })
}

fn adjusted(adjusted: &Adjusted, state: &State) -> Value {
    json!({
        "key": adjusted.key.to_string(), "admitted_at": adjusted.admitted_at.to_string(), "deltas": parts::amounts(&adjusted.deltas, state),
        "delta": adjusted.delta.to_string(), "reason": adjusted.reason,
    })
}

fn translated(translated: &Translated, state: &State) -> Value {
    let losses = translated.losses.iter().map(|loss| json!({"half": loss.half.as_str(), "kind": loss.kind, "path": loss.path}));
    json!({
        "key": translated.key.to_string(), "provider": parts::provider_name(translated.provider, state), "losses": losses.collect::<Value>(),
    })
}
