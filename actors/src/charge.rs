//! What a call comes to: every attempt that cost or may have cost, and the record of it all (LEDGER §4–5). Pure.

use crate::plan::{Ask, Plan, attempt_ceiling};
use cluster_config::{Candidate, price};
use dialects::{Request, tokens};
use events::{
    BudgetId, Figures, Money, Unit, Usage,
    call::{Attempt, AttemptEnd, Decision, Finished, Outcome},
};

/// What is known at the end of an attempt.
pub struct Metered {
    /// The provider's own figures.
    pub usage: Option<Usage>,
    /// Bytes of output that we saw.
    pub output_bytes: u64,
    pub service_tier: Option<String>,
}

/// The bill of one attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    pub usage: Usage,
    pub cost: Money,
    pub tokens: u64,
    /// Usage never came: our own meter decided.
    pub estimated: bool,
    /// What it may have cost above that.
    pub uncertain: Money,
}

/// The most that one attempt at a candidate may have cost: what it is charged if it broke off and another one follows.
pub fn at_ceiling(plan: &Plan, request: &Request, candidate: &Candidate) -> Bill {
    let cost = attempt_ceiling(candidate, request, plan.input_tokens, plan.output_tokens);
    let free = plan.ceiling.tokens == 0;
    Bill { cost: if free { Money::ZERO } else { cost }, tokens: plan.ceiling.tokens, estimated: true, ..Bill::default() }
}

/// The bill of an attempt that gave an answer, or a part of one.
pub fn bill(plan: &Plan, request: &Request, candidate: &Candidate, body_bytes: usize, metered: &Metered) -> Bill {
    if request.endpoint == dialects::Endpoint::CountTokens {
        return Bill::default();
    }
    let cost_of =
        |usage: &Usage| candidate.price.as_ref().map_or(Money::ZERO, |price| price::cost(price, usage, metered.service_tier.as_deref()));
    if let Some(usage) = metered.usage {
        return Bill { usage, cost: cost_of(&usage), tokens: usage.tokens(), ..Bill::default() };
    }
    let text = body_bytes.saturating_sub(request.media.bytes) as u64;
    let usage = Usage {
        input: tokens::estimate(text).min(plan.input_tokens),
        output: tokens::estimate(metered.output_bytes).min(plan.output_tokens),
        ..Usage::default()
    };
    let ceiling = attempt_ceiling(candidate, request, plan.input_tokens, plan.output_tokens);
    let cost = cost_of(&usage).0.min(ceiling.0);
    Bill { usage, cost: Money(cost), tokens: usage.tokens(), estimated: true, uncertain: Money(ceiling.0 - cost) }
}

/// All attempts of a call so far.
#[derive(Clone, Default)]
pub struct Tally {
    pub attempts: Vec<Attempt>,
    pub candidates: Vec<Candidate>,
    /// What the call holds, in money.
    pub held: Money,
    /// Budgets that the call holds on.
    pub budgets: Vec<BudgetId>,
}

impl Tally {
    /// An earlier attempt may have cost money.
    pub fn may_have_cost(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.cost > Money::ZERO || attempt.tokens > 0)
    }

    pub fn add(
        &mut self,
        candidate: &Candidate,
        end: AttemptEnd,
        bill: &Bill,
        first_byte_ms: u32,
        total_ms: u32,
        upstream_id: Option<String>,
    ) {
        let (provider, model) = (candidate.provider.id, candidate.model.clone());
        self.attempts.push(Attempt { provider, model, end, cost: bill.cost, tokens: bill.tokens, first_byte_ms, total_ms, upstream_id });
        self.candidates.push(candidate.clone());
    }
}

/// The record. `used` is the bill of the attempt that was used, if there was one.
pub fn finished(ask: &Ask, plan: &Plan, tally: &Tally, outcome: Outcome, used: Option<&Bill>, total_ms: u32) -> Finished {
    let nothing = Bill::default();
    let bill = used.unwrap_or(&nothing);
    let all = sum(tally.attempts.iter());
    let overrun = (all.cost - tally.held).0.max(0);
    let decision = Decision {
        candidates: plan.candidates.iter().map(|candidate| (candidate.provider.id, candidate.model.clone())).collect(),
        price: used.and(tally.candidates.last()).and_then(|candidate| candidate.price.as_deref().cloned()),
        bound: plan.bound,
    };
    Finished {
        key: ask.principal.key,
        model: ask.request.model.clone(),
        outcome,
        usage: bill.usage,
        used: all,
        apart: apart(ask, plan, tally, &all),
        charge: bill.cost,
        overrun: Money(overrun),
        uncertain: bill.uncertain,
        estimated: bill.estimated,
        total_ms,
        decision,
        attempts: tally.attempts.clone(),
    }
}

fn sum<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Figures {
    attempts.fold(Figures { requests: 1, ..Figures::default() }, |sum, attempt| Figures {
        cost: sum.cost + attempt.cost,
        tokens: sum.tokens.saturating_add(attempt.tokens),
        requests: 1,
    })
}

/// A budget filtered by provider counts only what went to that provider.
fn apart(ask: &Ask, plan: &Plan, tally: &Tally, all: &Figures) -> Vec<(BudgetId, Figures)> {
    let view = &plan.policy.view;
    let filtered =
        ask.principal.budgets.iter().filter(|budget| !budget.identity.only.providers.is_empty() && tally.budgets.contains(&budget.id));
    let own = filtered.map(|budget| {
        let covers = |candidate: &Candidate| {
            view.path(&ask.principal, &ask.request.model, &candidate.provider.name, &ask.tags)
                .iter()
                .any(|covering| covering.id == budget.id)
        };
        let covered = tally.attempts.iter().zip(&tally.candidates).filter(|(_, candidate)| covers(candidate)).map(|(attempt, _)| attempt);
        let figures = sum(covered.clone());
        (budget.id, if covered.count() == 0 { Figures::default() } else { figures }, budget.identity.unit)
    });
    own.filter(|(_, figures, unit): &(BudgetId, Figures, Unit)| figures.of(*unit) != all.of(*unit))
        .map(|(id, figures, _)| (id, figures))
        .collect()
}
