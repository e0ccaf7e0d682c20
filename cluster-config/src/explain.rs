//! Why a call went where it went, and what it cost, made again from its events and the policy that it pinned. Pure.

use crate::{
    price::{self, Line},
    view::{Candidate, PathBudget, Principal, View},
};
use dialects::Endpoint;
use events::{
    Money, ProviderId,
    call::{Admitted, Attempt, Extended, Finished},
    limits,
    price::Price,
};
use std::sync::Arc;

/// One of the places that a call could have gone to, in order.
#[derive(Clone, Debug)]
pub struct Choice {
    pub provider: ProviderId,
    pub provider_name: String,
    /// The provider's own name of the model.
    pub model: String,
    pub price: Option<Arc<Price>>,
    /// It was left out: it speaks another dialect, and could not be told what the request says.
    pub left_out: bool,
}

/// A decision that was made again.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    pub choices: Vec<Choice>,
    /// Every budget that covers the call, nearest first, with its terms of then.
    pub path: Vec<Arc<PathBudget>>,
    /// What the used attempt cost, class by class.
    pub lines: Vec<Line>,
    /// The service tier whose prices give what was charged; None: the plain ones.
    pub tier: Option<String>,
    /// Whatever comes out otherwise than it was recorded: nothing, or the record is wrong.
    pub differences: Vec<String>,
}

/// Decides a call again. `view` is the policy at the position that its admission names.
pub fn explain(view: &View, admitted: &Admitted, extended: &[&Extended], finished: Option<&Finished>) -> Explanation {
    let mut explanation = Explanation::default();
    let Some(principal) = view.key_by_id(admitted.key) else {
        explanation.differences.push(format!("{} was not there at the position of the policy", admitted.key));
        return explanation;
    };
    let candidates = candidates(view, principal, admitted, &mut explanation.differences);
    explanation.choose(&candidates, finished);
    explanation.cover(view, principal, &candidates, admitted);
    if let Some(finished) = finished {
        explanation.charge(&candidates, finished);
        explanation.add_up(admitted, extended, finished);
    }
    explanation
}

fn candidates(view: &View, principal: &Principal, admitted: &Admitted, differences: &mut Vec<String>) -> Vec<Candidate> {
    let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.as_str() == admitted.endpoint);
    let speaks = |dialect| endpoint.is_some_and(|endpoint| endpoint.at(dialect).is_some());
    match view.resolve(principal, &admitted.model, speaks) {
        Ok(mut resolved) => {
            resolved.candidates.truncate(limits::TARGETS_MAX);
            resolved.candidates
        }
        Err(_) => {
            differences.push(format!("the model `{}` stood for nothing that this key may use", admitted.model));
            Vec::new()
        }
    }
}

fn is(candidate: &Candidate, provider: ProviderId, model: &str) -> bool {
    candidate.provider.id == provider && candidate.model == model
}

impl Explanation {
    /// The recorded candidates are those of the policy, in their order; some may have been left out.
    fn choose(&mut self, candidates: &[Candidate], finished: Option<&Finished>) {
        let mut recorded = finished.map(|finished| finished.decision.candidates.iter().peekable());
        for candidate in candidates {
            let kept =
                recorded.as_mut().is_none_or(|recorded| recorded.next_if(|(provider, model)| is(candidate, *provider, model)).is_some());
            self.choices.push(Choice {
                provider: candidate.provider.id,
                provider_name: candidate.provider.name.clone(),
                model: candidate.model.clone(),
                price: candidate.price.clone(),
                left_out: !kept,
            });
        }
        if let Some((provider, model)) = recorded.and_then(|mut rest| rest.next()) {
            self.differences
                .push(format!("the recorded candidate {provider} {model} is none of the policy's, or stands elsewhere in their order"));
        }
    }

    fn cover(&mut self, view: &View, principal: &Principal, candidates: &[Candidate], admitted: &Admitted) {
        let first = candidates.iter().zip(&self.choices).find(|(_, choice)| !choice.left_out).map(|(candidate, _)| candidate);
        let Some(first) = first else { return };
        let path = view.path(principal, &admitted.model, &first.provider.name, &admitted.tags);
        if !path.iter().map(|budget| budget.id).eq(admitted.budgets.iter().copied()) {
            let ids = |ids: Vec<String>| ids.join(", ");
            let (now, then) =
                (path.iter().map(|budget| budget.id.to_string()).collect(), admitted.budgets.iter().map(ToString::to_string).collect());
            self.differences.push(format!("the budgets are {}, recorded are {}", ids(now), ids(then)));
        }
        self.path = path.into_iter().cloned().collect();
    }

    /// The used attempt's price is the policy's, and its cost is what the price gives.
    fn charge(&mut self, candidates: &[Candidate], finished: &Finished) {
        for attempt in &finished.attempts {
            if !candidates.iter().any(|candidate| is(candidate, attempt.provider, &attempt.model)) {
                self.differences.push(format!("an attempt went to {} {}, which is no candidate", attempt.provider, attempt.model));
            }
        }
        let Some(price) = &finished.decision.price else { return };
        let used = finished
            .attempts
            .last()
            .and_then(|last: &Attempt| candidates.iter().find(|candidate| is(candidate, last.provider, &last.model)));
        if used.is_none_or(|candidate| candidate.price.as_deref() != Some(price)) {
            self.differences.push("the recorded price is not the policy's".into());
        }
        let tiers = std::iter::once(None).chain(price.tiers.iter().map(|(tier, _)| Some(tier.as_str())));
        let tier = tiers.map(|tier| (tier, price::cost(price, &finished.usage, tier))).find(|(_, cost)| *cost == finished.charge);
        match tier {
            Some((tier, _)) => {
                self.tier = tier.map(str::to_owned);
                self.lines = price::lines(price, &finished.usage, tier);
            }
            // our own meter decided, and never more than was held
            None if finished.estimated && finished.charge <= price::cost(price, &finished.usage, None) => {}
            None => self.differences.push(format!(
                "the price gives {} for what was used, charged are {}",
                price::cost(price, &finished.usage, None),
                finished.charge
            )),
        }
    }

    fn add_up(&mut self, admitted: &Admitted, extended: &[&Extended], finished: &Finished) {
        let attempts: Money = finished.attempts.iter().map(|attempt| attempt.cost).sum();
        if attempts != finished.used.cost {
            self.differences.push(format!("its attempts cost {attempts}, recorded are {}", finished.used.cost));
        }
        let held = extended.iter().fold(admitted.ceiling.cost, |held, more| held + more.ceiling.cost);
        let overrun = Money((finished.used.cost - held).0.max(0));
        if overrun != finished.overrun {
            self.differences.push(format!("it cost {overrun} more than it held, recorded are {}", finished.overrun));
        }
    }
}
