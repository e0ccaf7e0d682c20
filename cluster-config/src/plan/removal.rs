//! Taking away one scope or one key with the budgets of its own, and nothing else.

use super::{Change, Op, Plan, Step, names};
use crate::{Problem, problem::Problems};
use events::{Owner, State, StreamId, budget, key, scope};

/// The steps that close a scope or revoke a key. Anything else has none.
///
/// # Errors
/// What still hangs on it.
pub fn removal(state: &State, id: StreamId) -> Result<Plan, Vec<Problem>> {
    let (books, mut plan, mut problems) = (&state.books, Plan::default(), Problems::default());
    let owner = match id {
        StreamId::Key(id) => {
            let name = books.keys.get(&id).map(|key| key.name.clone()).unwrap_or_default();
            plan.changes.push(Change { op: Op::Revoke, kind: "key", name, fields: Vec::new() });
            plan.steps.push(Step::Key(id, key::Command::Revoke));
            Owner::Key(id)
        }
        StreamId::Scope(id) => {
            let name = books.scopes.get(&id).map(|scope| scope.name.clone()).unwrap_or_default();
            let scopes = books.scopes.iter().filter(|(_, scope)| scope.made && !scope.closed && scope.parent == Some(id));
            scopes.for_each(|(_, scope)| problems.add("parent", format!("{} {} hangs on {name}", scope.kind, scope.name)));
            let keys = books.keys.iter().filter(|(_, key)| key.made && !key.revoked && key.scope == Some(id));
            keys.for_each(|(_, key)| problems.add("scope", format!("key {} hangs on {name}", key.name)));
            plan.changes.push(Change { op: Op::Close, kind: "scope", name, fields: Vec::new() });
            plan.steps.push(Step::Scope(id, scope::Command::Close));
            Owner::Scope(id)
        }
        _ => return Ok(plan),
    };
    for (id, budget) in books.budgets.iter().filter(|(_, budget)| budget.made && !budget.closed && budget.identity.owner == owner) {
        let name = names::budget(&names::owner(state, owner), &budget.identity);
        plan.changes.push(Change { op: Op::Close, kind: "budget", name, fields: Vec::new() });
        plan.steps.push(Step::Budget(*id, budget::Command::Close));
    }
    problems.or(plan)
}
