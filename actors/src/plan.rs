//! What a call will try, what covers it, and the most it can come to (LEDGER §3, §6). Pure.

use crate::{
    fault::Fault,
    free::Board,
    policy::Policy,
    translation::{self, Translations},
};
use cluster_config::{
    Candidate, PathBudget, Principal,
    price::{self, Extras},
};
use dialects::{Endpoint, Request, output_limit_name, tokens};
use events::{Amount, BudgetId, Figures, Money, Unit, call::Bound, limits};
use std::sync::Arc;

/// What is asked of a Router.
#[derive(Clone)]
pub struct Ask {
    pub principal: Arc<Principal>,
    pub policy: Arc<Policy>,
    pub request: Arc<Request>,
    pub body_bytes: usize,
    pub tags: Arc<Vec<String>>,
    /// Input tokens as the tokenizer counted them; None: bounded by bytes.
    pub counted: Option<u64>,
    /// Made once a plan has shown that they are needed.
    pub translations: Option<Arc<Translations>>,
}

/// What a call is going to do.
#[derive(Clone)]
pub struct Plan {
    pub policy: Arc<Policy>,
    pub candidates: Vec<Candidate>,
    /// Every budget that covers the first candidate, nearest first.
    pub path: Vec<Arc<PathBudget>>,
    /// One attempt at the dearest candidate.
    pub ceiling: Figures,
    pub bound: Bound,
    /// The most that one attempt can take in, in tokens.
    pub input_tokens: u64,
    /// The most that one attempt can put out over all choices, in tokens.
    pub output_tokens: u64,
    /// A limit that we set: its name and tokens.
    pub output_limit: Option<(&'static str, u64)>,
}

impl Plan {
    /// Candidates that speak another dialect are among them, and their bodies are not made yet.
    pub fn lacks_translations(&self, ask: &Ask) -> bool {
        ask.translations.is_none() && !self.candidates.iter().all(|candidate| translation::is_own(&ask.request, candidate))
    }

    pub fn budget_ids(&self) -> Vec<BudgetId> {
        self.path.iter().map(|budget| budget.id).collect()
    }
}

/// Plans a call.
///
/// # Errors
/// The model is not there or not allowed, has no price though one is needed, or the request names what a provider keeps for others.
pub fn plan(ask: &Ask, free: &Board) -> Result<Plan, Fault> {
    let request = &ask.request;
    let view = &ask.policy.view;
    let resolved = view
        .resolve(&ask.principal, &request.model, |dialect| request.endpoint.at(dialect).is_some())
        .map_err(|refusal| Fault::model(&request.model, &refusal, request.endpoint))?;
    let mut candidates = resolved.candidates;
    candidates.truncate(limits::TARGETS_MAX);
    if let Some(translations) = &ask.translations {
        keep_unrefused(&mut candidates, translations)?;
    }
    let Some(first) = candidates.first() else { return Err(Fault::gateway_busy("the model has no provider that is open")) };
    if let Some(field) = request.provider_state.filter(|_| !candidates.iter().all(|candidate| view.sole_tenant(&candidate.provider))) {
        return Err(provider_state(field));
    }
    let path: Vec<Arc<PathBudget>> =
        view.path(&ask.principal, &request.model, &first.provider.name, &ask.tags).into_iter().cloned().collect();
    let paid = request.endpoint != Endpoint::CountTokens;
    let in_money = path.iter().any(|budget| budget.identity.unit == Unit::Usd);
    if let Some(candidate) = candidates.iter().find(|candidate| paid && in_money && candidate.price.is_none()) {
        return Err(Fault::unpriced(&format!("{}/{}", candidate.provider.name, candidate.model)));
    }
    let (input_tokens, bound) = input_bound(ask, &candidates);
    let (each_output, output_limit) = output_bound(ask, &candidates, &path, free);
    let output_tokens = each_output.saturating_mul(request.choices.max(1));
    let cost =
        candidates.iter().map(|candidate| attempt_ceiling(candidate, request, input_tokens, output_tokens)).max().unwrap_or(Money::ZERO);
    let ceiling = if paid {
        Figures { cost, tokens: input_tokens.saturating_add(output_tokens), requests: 1 }
    } else {
        Figures { requests: 1, ..Figures::default() }
    };
    Ok(Plan { policy: ask.policy.clone(), candidates, path, ceiling, bound, input_tokens, output_tokens, output_limit })
}

/// Leaves out candidates that cannot be told what the request says.
fn keep_unrefused(candidates: &mut Vec<Candidate>, translations: &Translations) -> Result<(), Fault> {
    let refused = candidates.iter().find_map(|candidate| Some(translation::refusal(translations.refused(candidate)?, candidate)));
    candidates.retain(|candidate| translations.refused(candidate).is_none());
    match refused {
        Some(refusal) if candidates.is_empty() => Err(refusal),
        _ => Ok(()),
    }
}

/// The most that one attempt at a candidate can cost.
pub fn attempt_ceiling(candidate: &Candidate, request: &Request, input_tokens: u64, output_tokens: u64) -> Money {
    // Only models that speak or hear have prices for audio: it may always occur there.
    let searches = if request.unbounded_input { SEARCHES_MAX } else { 0 };
    let extras =
        Extras { searches, cache_write: request.cache_write, cache_write_1h: request.cache_write_1h, audio: true, ..Extras::default() };
    candidate
        .price
        .as_ref()
        .map_or(Money::ZERO, |price| price::ceiling(price, input_tokens, output_tokens, &extras, request.service_tier.as_deref()))
}

/// Hosted searches that one answer may make, as a bound where hosted tools are offered.
const SEARCHES_MAX: u64 = 10;
/// Tokens of one inline image, at the most: the largest tile count that vendors document, with a margin.
const IMAGE_TOKENS_MAX: u64 = 3_000;
/// Tokens of one inline document page by page is not known; of a whole document, at the most, per byte of its base64.
const DOCUMENT_TOKENS_MIN: u64 = 10_000;
/// Tokens of one inline audio piece: by its bytes, and at least this.
const AUDIO_TOKENS_MIN: u64 = 2_000;

fn provider_state(field: &'static str) -> Fault {
    let message =
        format!("`{field}` names something that the provider keeps; it passes only where one tenant alone uses the provider entry");
    let fault = Fault::new(
        http::StatusCode::BAD_REQUEST,
        dialects::ErrorKind::InvalidRequest,
        "provider_state_not_allowed",
        crate::fault::Side::Policy,
        message,
    );
    fault.about(field)
}

/// The largest of what the candidates may be sent.
fn input_bound(ask: &Ask, candidates: &[Candidate]) -> (u64, Bound) {
    let request = &ask.request;
    let context = candidates
        .iter()
        .map(|candidate| candidate.bounds.context_tokens)
        .try_fold(0u64, |most, window| window.map(|window| most.max(window)));
    if request.unbounded_input {
        return (context.unwrap_or(limits::CONTEXT_TOKENS_UNKNOWN), Bound::Context);
    }
    let media = &request.media;
    let pieces = u64::from(media.images) * IMAGE_TOKENS_MAX
        + u64::from(media.documents) * DOCUMENT_TOKENS_MIN.max(media.bytes as u64)
        + u64::from(media.audio) * AUDIO_TOKENS_MIN.max(media.bytes as u64 / 100);
    let (text, bound) = match ask.counted {
        Some(tokens) => (tokens, Bound::Tokens),
        None => (tokens::input_bound_by_bytes(request, ask.body_bytes.max(translated_bytes(ask))), Bound::Bytes),
    };
    // A provider refuses what is larger than the context window, at no cost.
    (text.saturating_add(pieces).min(context.unwrap_or(u64::MAX)), bound)
}

fn translated_bytes(ask: &Ask) -> usize {
    ask.translations.as_ref().map_or(0, |translations| translations.bytes_max())
}

/// The output of one choice, and the limit that we set, if any: only where a hard budget in USD or tokens is on the path, and the
/// model's maximum is unknown or more than a quarter of what is free.
fn output_bound(ask: &Ask, candidates: &[Candidate], path: &[Arc<PathBudget>], free: &Board) -> (u64, Option<(&'static str, u64)>) {
    let request = &ask.request;
    if matches!(request.endpoint, Endpoint::Embeddings | Endpoint::CountTokens) {
        return (0, None);
    }
    if let Some(own) = request.output_limit {
        return (own, None);
    }
    let known =
        candidates.iter().map(|candidate| candidate.bounds.max_output_tokens).try_fold(0u64, |most, max| max.map(|max| most.max(max)));
    let model_max = known.unwrap_or(limits::OUTPUT_TOKENS_UNKNOWN);
    let quarters = path.iter().filter(|budget| budget.terms.hard).filter_map(|budget| quarter(budget, candidates, request, free));
    let Some(quarter) = quarters.min() else { return (model_max, None) };
    if known.is_some() && model_max <= quarter {
        return (model_max, None);
    }
    let limit = (quarter / request.choices.max(1)).clamp(limits::OUTPUT_TOKENS_SET_MIN, model_max.max(limits::OUTPUT_TOKENS_SET_MIN));
    let first = candidates.first().map_or("", |candidate| candidate.model.as_str());
    (limit, Some((output_limit_name(request.endpoint, first), limit)))
}

/// A quarter of what is free in a budget, in output tokens of the dearest candidate. None: it does not count tokens or money, or they are free of charge.
fn quarter(budget: &PathBudget, candidates: &[Candidate], request: &Request, free: &Board) -> Option<u64> {
    let free: Amount = free.free(budget.id).unwrap_or(budget.terms.limit).max(0);
    match budget.identity.unit {
        Unit::Requests => None,
        Unit::Tokens => Some(u64::try_from(free / 4).unwrap_or(u64::MAX)),
        Unit::Usd => {
            const SAMPLE: u64 = 1_000;
            let dearest = candidates.iter().map(|candidate| attempt_ceiling(candidate, request, 0, SAMPLE).0).max().unwrap_or(0);
            (dearest > 0).then(|| u64::try_from(free / 4 * i128::from(SAMPLE) / dearest).unwrap_or(u64::MAX))
        }
    }
}

/// What a further attempt at a candidate must hold more: budgets that only it meets, and the ceiling once more on all if an earlier
/// attempt may have cost money.
pub fn extension(plan: &Plan, ask: &Ask, held: &[BudgetId], candidate: &Candidate, may_have_cost: bool) -> Vec<(Arc<PathBudget>, Amount)> {
    let path = plan.policy.view.path(&ask.principal, &ask.request.model, &candidate.provider.name, &ask.tags);
    let needed = path.into_iter().filter(|budget| may_have_cost || !held.contains(&budget.id));
    needed
        .map(|budget| (budget.clone(), plan.ceiling.of(budget.identity.unit)))
        .filter(|(budget, _)| budget.identity.unit != Unit::Requests || !held.contains(&budget.id))
        .collect()
}
