//! Prices per token as prices per million of them, digit by digit.

use super::{decimal, part::Part};
use crate::{
    file::{Figures, Price},
    price,
    problem::Problems,
};
use std::collections::BTreeMap;

/// LiteLLM's field and ours.
const PRICES: [(&str, &str); 8] = [
    ("input_cost_per_token", "input_per_mtok"),
    ("output_cost_per_token", "output_per_mtok"),
    ("cache_read_input_token_cost", "cache_read_per_mtok"),
    ("cache_creation_input_token_cost", "cache_write_per_mtok"),
    ("cache_creation_input_token_cost_above_1hr", "cache_write_1h_per_mtok"),
    ("output_cost_per_reasoning_token", "reasoning_per_mtok"),
    ("input_cost_per_audio_token", "audio_input_per_mtok"),
    ("output_cost_per_audio_token", "audio_output_per_mtok"),
];

/// Takes the price of a deployment. What `litellm_params` says goes before what `model_info` says, as with LiteLLM.
pub(super) fn take(params: &mut Part, info: &mut Part, is_embedding: bool, left: &mut Problems) -> Option<Price> {
    let (mut price, mut paths) = (BTreeMap::new(), Vec::new());
    for (theirs, ours) in PRICES {
        let told = [(params.at(theirs), per_mtok(params, theirs, left)), (info.at(theirs), per_mtok(info, theirs, left))];
        for (path, figure) in told.into_iter().filter_map(|(path, figure)| Some((path, figure?))) {
            match price.get(ours) {
                Some(known) if *known != figure => left.add(path, "is not taken over: litellm_params says otherwise, and goes before it"),
                Some(_) => {}
                None => {
                    price.insert(ours, figure);
                    paths.push(path);
                }
            }
        }
    }
    if is_embedding && price.contains_key("input_per_mtok") {
        price.entry("output_per_mtok").or_insert_with(|| "0".to_owned());
    }
    let is_whole = ["input_per_mtok", "output_per_mtok"].iter().all(|field| price.contains_key(field));
    if is_whole {
        let figures: Figures = PRICES.iter().filter_map(|(_, ours)| Some((*ours, price.remove(ours)?))).collect();
        return Some(Price { figures, ..Price::default() });
    }
    for path in paths {
        left.add(path, "is not taken over: a price needs that of input and that of output; what costs nothing is 0");
    }
    None
}

fn per_mtok(part: &mut Part, field: &str, left: &mut Problems) -> Option<String> {
    let node = part.take(field)?;
    let figure = decimal::digits(&node).and_then(|digits| decimal::shifted(&digits, 6)).filter(|text| price::per_mtok(text).is_some());
    if figure.is_none() {
        left.add(part.at(field), "is not taken over: a price is dollars a token, not below zero, with at most twelve places");
    }
    figure
}
