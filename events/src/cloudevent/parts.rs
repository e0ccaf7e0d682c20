//! The pieces that data of several nouns is made of.

use crate::{
    Amount, BudgetId, Figures, Money, Owner, ProviderId, Rates, State, Unit, Usage,
    budget::Filter,
    money::amount_text,
    price::{Bounds, Price},
};
use serde_json::{Map, Value, json};

pub fn rates(rates: &Rates) -> Value {
    json!({"rpm_limit": rates.rpm, "tpm_limit": rates.tpm, "max_parallel_requests": rates.parallel})
}

/// Disjoint classes; those that hardly ever occur are left out where they are 0.
pub fn usage(usage: &Usage) -> Value {
    let mut out = json!({
        "input": usage.input, "cache_read": usage.cache_read, "cache_write": usage.cache_write, "cache_write_1h": usage.cache_write_1h,
        "output": usage.output, "reasoning": usage.reasoning,
    });
    let rare =
        [("audio_input", usage.audio_input), ("audio_output", usage.audio_output), ("images", usage.images), ("searches", usage.searches)];
    if let Value::Object(fields) = &mut out {
        fields.extend(rare.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.into(), count.into())));
    }
    out
}

pub fn figures(figures: &Figures) -> Value {
    json!({"cost": figures.cost.to_string(), "tokens": figures.tokens, "requests": figures.requests})
}

/// An amount of a budget. The unit is the budget's; one that is not known reads as requests do: a plain number.
pub fn amount(budget: BudgetId, amount: Amount, state: &State) -> Value {
    match unit(budget, state) {
        Some(unit) => json!({"budget": budget.to_string(), "unit": unit.as_str(), "amount": amount_text(unit, amount)}),
        None => json!({"budget": budget.to_string(), "unit": null, "amount": amount.to_string()}),
    }
}

pub fn amounts(amounts: &[(BudgetId, Amount)], state: &State) -> Value {
    amounts.iter().map(|(budget, figure)| amount(*budget, *figure, state)).collect()
}

pub fn unit(budget: BudgetId, state: &State) -> Option<Unit> {
    state.books.budgets.get(&budget).filter(|budget| budget.made).map(|budget| budget.identity.unit)
}

pub fn provider_name(id: ProviderId, state: &State) -> String {
    let provider = state.books.providers.get(&id).filter(|provider| provider.made);
    provider.map_or_else(|| id.to_string(), |provider| provider.settings.name.clone())
}

/// Level, id and name of whom a budget belongs to.
pub fn owner(owner: Owner, state: &State) -> Value {
    if owner == Owner::Platform {
        return json!({"level": owner.level()});
    }
    json!({"level": owner.level(), "id": owner.to_string(), "name": state.owner_name(owner)})
}

/// What a budget covers; null: everything.
pub fn filter(filter: &Filter) -> Value {
    if *filter == Filter::default() {
        return Value::Null;
    }
    json!({"models": filter.models, "providers": filter.providers, "tags": filter.tags})
}

/// Shares of one, as in the configuration: 800,000 millionths are "0.8".
pub fn share(ppm: u32) -> Value {
    Money(i128::from(ppm) * 1_000_000).to_string().into()
}

pub fn bounds(bounds: &Bounds) -> Value {
    json!({"max_output_tokens": bounds.max_output_tokens, "context_tokens": bounds.context_tokens})
}

/// A price per million tokens; classes without a price of their own are left out.
pub fn price(price: &Price) -> Value {
    let mut out = Map::new();
    let tokens = [
        ("input_per_mtok", Some(price.input)),
        ("output_per_mtok", Some(price.output)),
        ("cache_read_per_mtok", price.cache_read),
        ("cache_write_per_mtok", price.cache_write),
        ("cache_write_1h_per_mtok", price.cache_write_1h),
        ("reasoning_per_mtok", price.reasoning),
        ("audio_input_per_mtok", price.audio_input),
        ("audio_output_per_mtok", price.audio_output),
    ];
    out.extend(tokens.into_iter().filter_map(|(name, one)| Some((name.into(), per_million(one?).into()))));
    let pieces = [("image", price.image), ("search", price.search), ("request", price.request)];
    out.extend(pieces.into_iter().filter_map(|(name, one)| Some((name.into(), one?.to_string().into()))));
    if let Some(long) = &price.long {
        out.insert("long".into(), json!({"above_tokens": long.above_tokens, "price": self::price(&long.price)}));
    }
    if !price.tiers.is_empty() {
        let tiers = price.tiers.iter().map(|(name, tier)| (name.clone(), self::price(tier)));
        out.insert("tiers".into(), Value::Object(tiers.collect()));
    }
    Value::Object(out)
}

fn per_million(one: Money) -> String {
    Money(one.0.saturating_mul(1_000_000)).to_string()
}

/// Bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A URL without user, password and query, where secrets are put at times.
pub fn bare_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}
