//! Requests of another dialect in Anthropic's words: how long, how it thinks, how tokens are drawn, and for whom.

use super::request::number;
use crate::exchange::loss::{LossKind, Losses};
use crate::exchange::{Exchange, Fields, Reasoning, Target, put};
use serde_json::{Value, json};

/// Fewest tokens of thinking that the provider takes.
const BUDGET_MIN: u64 = 1_024;
/// With thinking on, the least `top_p` that the provider takes.
const THINKING_TOP_P_MIN: f64 = 0.95;

/// How the model is told to think.
enum Thinking {
    Budget(u64),
    Adaptive(Option<String>),
}

/// Puts in the limit, thinking and sampling. `unable`: thinking would be refused here.
pub(super) fn put_limits(body: &mut Fields, exchange: &Exchange, target: &Target, unable: bool, losses: &mut Losses) {
    let limit = exchange.output_limit.unwrap_or(target.output_limit);
    let mut thinking = exchange.reasoning.as_ref().and_then(|reasoning| wanted(reasoning, target.effort));
    if let Some(Thinking::Budget(budget)) = &mut thinking {
        *budget = (*budget).max(BUDGET_MIN);
        // the limit is the caller's, or the most that the model can: thinking takes no more than three quarters of it
        if *budget >= limit {
            *budget = limit - limit / 4;
        }
    }
    let too_short = matches!(thinking, Some(Thinking::Budget(budget)) if budget < BUDGET_MIN);
    if thinking.is_some() && (unable || too_short) {
        losses.lose(LossKind::Reasoning, "reasoning_effort");
        thinking = None;
    }
    body.insert("max_tokens".to_owned(), limit.into());
    put_sampling(body, exchange, thinking.is_some(), losses);
    put_thinking(body, thinking);
}

/// What a way of reasoning is for a target.
fn wanted(reasoning: &Reasoning, by_effort: bool) -> Option<Thinking> {
    match (reasoning, by_effort) {
        (Reasoning::Off, _) => None,
        (Reasoning::Effort(word), _) if word == "none" => None,
        (Reasoning::Effort(word), true) => Some(Thinking::Adaptive(Some(effort(word).to_owned()))),
        (Reasoning::Effort(word), false) => Some(Thinking::Budget(budget(word))),
        (Reasoning::Budget(tokens), true) => Some(Thinking::Adaptive(Some(effort_of(*tokens).to_owned()))),
        (Reasoning::Budget(tokens), false) => Some(Thinking::Budget(*tokens)),
        (Reasoning::Adaptive(word), true) => Some(Thinking::Adaptive(word.clone())),
        (Reasoning::Adaptive(word), false) => Some(Thinking::Budget(budget(word.as_deref().unwrap_or("medium")))),
    }
}

/// The nearest word that every model which thinks by effort takes.
fn effort(word: &str) -> &str {
    match word {
        "minimal" => "low",
        "low" | "medium" | "high" => word,
        _ => "high",
    }
}

fn budget(word: &str) -> u64 {
    match word {
        "minimal" | "low" => 2_048,
        "medium" => 8_192,
        "high" => 16_384,
        _ => 32_768,
    }
}

fn effort_of(tokens: u64) -> &'static str {
    match tokens {
        0..=2_048 => "low",
        2_049..=8_192 => "medium",
        _ => "high",
    }
}

fn put_thinking(body: &mut Fields, thinking: Option<Thinking>) {
    match thinking {
        None => {}
        Some(Thinking::Budget(budget)) => {
            body.insert("thinking".to_owned(), json!({"type": "enabled", "budget_tokens": budget}));
        }
        Some(Thinking::Adaptive(effort)) => {
            body.insert("thinking".to_owned(), json!({"type": "adaptive"}));
            let config = body.entry("output_config").or_insert_with(|| json!({}));
            if let (Value::Object(config), Some(effort)) = (&mut *config, effort) {
                config.insert("effort".to_owned(), effort.into());
            }
            if *config == json!({}) {
                body.remove("output_config");
            }
        }
    }
}

fn put_sampling(body: &mut Fields, exchange: &Exchange, thinking: bool, losses: &mut Losses) {
    let sampling = &exchange.sampling;
    let mut lose = |name: &str| losses.lose(LossKind::Sampling, name);
    match sampling.temperature {
        Some(temperature) if thinking && temperature != 1.0 => lose("temperature"),
        Some(temperature) => {
            if temperature > 1.0 {
                lose("temperature");
            }
            body.insert("temperature".to_owned(), number(temperature.min(1.0)));
        }
        None => {}
    }
    match sampling.top_p {
        Some(top_p) if thinking && top_p < THINKING_TOP_P_MIN => lose("top_p"),
        top_p => put(body, "top_p", top_p.map(number)),
    }
    match sampling.top_k {
        Some(_) if thinking => lose("top_k"),
        top_k => put(body, "top_k", top_k),
    }
    if sampling.seed.is_some() {
        lose("seed");
    }
    for (name, penalty) in [("presence_penalty", sampling.presence_penalty), ("frequency_penalty", sampling.frequency_penalty)] {
        if penalty.is_some_and(|penalty| penalty != 0.0) {
            lose(name);
        }
    }
}

/// Puts in stop sequences, the user, the tier, and whether the answer is a stream.
pub(super) fn put_words(body: &mut Fields, exchange: &Exchange, losses: &mut Losses) {
    let (stop, blank): (Vec<&String>, Vec<&String>) = exchange.stop.iter().partition(|text| !text.trim().is_empty());
    if !blank.is_empty() {
        losses.lose(LossKind::Sampling, "stop");
    }
    if !stop.is_empty() {
        body.insert("stop_sequences".to_owned(), json!(stop));
    }
    put(body, "stream", exchange.stream);
    put(body, "metadata", exchange.user.as_ref().map(|user| json!({"user_id": user})));
    match exchange.service_tier.as_deref() {
        Some(tier @ ("auto" | "standard_only")) => put(body, "service_tier", Some(tier)),
        Some("default") => put(body, "service_tier", Some("standard_only")),
        Some(_) => losses.lose(LossKind::Metadata, "service_tier"),
        None => {}
    }
    if exchange.choices.is_some_and(|choices| choices > 1) {
        losses.lose(LossKind::Choices, "n");
    }
}
