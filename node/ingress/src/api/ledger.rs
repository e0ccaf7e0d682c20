//! `GET /api/v1/ledger/proof`: that the books close. For each budget `limit = settled + held + free` at a position; what is held is the sum
//! of what open calls hold, and what is settled is what a second fold of the same history, written apart from the state's, comes to.

use super::{Asking, Problem, turn};
use crate::App;
use ::projections::{Projections, budgets::windows_at};
use actors::root::Core;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use events::{Amount, BudgetId, Owner, Position, Timestamp, Unit, limits, money::amount_text, token::Need};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// The projection may step past the position that is proved: then a later one is.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// One budget in one window, as the state has it.
#[derive(Clone, Debug)]
struct Line {
    owner: Owner,
    unit: Unit,
    every: &'static str,
    limit: Amount,
    settled: Amount,
    held: Amount,
    overrun: Amount,
    /// What open calls hold of it, added up.
    holds: Amount,
}

/// What was proved, or not.
#[derive(Clone, Debug)]
pub struct Proof {
    position: u64,
    lines: BTreeMap<(BudgetId, Timestamp), Line>,
    /// What the second fold settled.
    records: BTreeMap<(BudgetId, Timestamp), Amount>,
    open: Vec<String>,
}

impl Proof {
    /// Events that were there.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whatever is not explained, over all budgets, without its sign and in each one's unit (pico-dollars, tokens, requests): 0.
    pub fn residual(&self) -> Amount {
        self.lines.iter().fold(0, |sum: Amount, (key, line)| sum.saturating_add(self.of(key, line)))
    }

    fn of(&self, key: &(BudgetId, Timestamp), line: &Line) -> Amount {
        let records = self.records.get(key).copied().unwrap_or_default();
        line.settled.saturating_sub(records).saturating_abs().saturating_add(line.held.saturating_sub(line.holds).saturating_abs())
    }

    fn shown(&self) -> Value {
        let budgets = self.lines.iter().map(|(key, line)| {
            let text = |amount| amount_text(line.unit, amount);
            let records = self.records.get(key).copied().unwrap_or_default();
            json!({
                "object": "budget_proof", "id": key.0.to_string(), "owner_id": line.owner.to_string(), "unit": line.unit.as_str(), "every": line.every,
                "starts_at": (key.1.0 > 0).then(|| key.1.to_string()), "limit": text(line.limit), "settled": text(line.settled), "held": text(line.held),
                "free": text(line.limit.saturating_sub(line.settled).saturating_sub(line.held)), "overrun": text(line.overrun),
                "records": text(records), "holds": text(line.holds), "residual": text(self.of(key, line)),
            })
        });
        let residual = self.residual();
        json!({
            "object": "ledger_proof", "at": Position::new(self.position).to_string(), "closes": residual == 0, "residual": residual.to_string(),
            "budgets": budgets.collect::<Value>(), "open_calls": self.open.len(), "open": self.open,
        })
    }
}

/// What the state says, at its position.
async fn lines(core: &Core) -> Option<Proof> {
    let look = |state: &events::State| {
        let mut holds: BTreeMap<(BudgetId, Timestamp), Amount> = BTreeMap::new();
        let mut open = Vec::new();
        for (id, call) in state.books.open.iter() {
            if open.len() < limits::PAGE_ROWS_MAX {
                open.push(id.to_string());
            }
            for (budget, amount) in &call.hold {
                let Some(of) = state.books.budgets.get(budget) else { continue };
                let held = holds.entry((*budget, of.identity.every.window(call.at))).or_default();
                *held = held.saturating_add(*amount);
            }
        }
        let lines = state.books.windows.iter().filter_map(|(key, window)| {
            let budget = state.books.budgets.get(&key.0)?;
            let line = Line {
                owner: budget.identity.owner,
                unit: budget.identity.unit,
                every: budget.identity.every.as_str(),
                limit: budget.terms.limit,
                settled: window.settled,
                held: window.held,
                overrun: window.overrun,
                holds: holds.get(key).copied().unwrap_or_default(),
            };
            Some((*key, line))
        });
        Proof { position: state.position(), lines: lines.collect(), records: BTreeMap::new(), open }
    };
    core.look(look).await
}

/// Proves the books at a position of now.
///
/// # Errors
/// The node is stopping, or the history cannot be read.
pub async fn prove(core: &Core, projections: &Projections) -> Result<Proof, String> {
    let view = projections.view("budgets").cloned().ok_or("this node keeps no projections")?;
    let history = core.journal.reader();
    for _ in 0..TRIES {
        let mut proof = lines(core).await.ok_or("the node is stopping")?;
        while history.end() < proof.position {
            tokio::time::sleep(PAUSE).await;
        }
        let (view, history, position) = (view.clone(), history.clone(), proof.position);
        let keys: Vec<(BudgetId, Timestamp)> = proof.lines.keys().copied().collect();
        let fold = move || view.read(|snapshot| windows_at(snapshot, &*history, position, &keys));
        let folded = tokio::task::spawn_blocking(fold).await.map_err(|_| "the second fold failed")?;
        if let Some(windows) = folded.map_err(|fault| fault.0)? {
            proof.records = windows.into_iter().map(|(key, window)| (key, window.settled)).collect();
            return Ok(proof);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err("the projection of budgets is always ahead; try again".into())
}

/// `GET /api/v1/ledger/proof`.
pub(crate) async fn proof(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Bill).await?.of_platform()?;
        asking.ask().end()?;
        let proof = proved(&asking.app).await?;
        Ok(Json(proof.shown()).into_response())
    };
    asking.answered(answer).await
}

async fn proved(app: &App) -> Result<Proof, Problem> {
    let _turn = turn(app).await?;
    let proved = tokio::time::timeout(limits::QUERY_WAIT, prove(&app.reactor.core, &app.projections)).await;
    let proved = proved.unwrap_or_else(|_| Err("it took too long".into()));
    proved.map_err(|why| Problem::unavailable(format!("the books could not be proved: {why}")))
}
