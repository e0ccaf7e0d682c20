//! The pieces that stand in several parts of the file, or only in one, and need no names of others.

use crate::{
    file::{self, Figures, duration, escaped},
    price,
};
use events::{
    Money, Rates, budget, limits,
    money::amount_text,
    policy::{Bodies, Logged, RequestLog},
    price::Price,
    provider::{OnClientGone, Settings, Timeouts},
};

/// What is as it is by default is left out.
pub(crate) fn request_log(log: &RequestLog) -> file::RequestLog {
    file::RequestLog {
        log: log.log.as_str(),
        sample: (log.log == Logged::Sampled).then(|| amount_ppm(log.sample_ppm)),
        keep: (log.keep_hours != limits::REQUEST_LOG_HOURS).then(|| format!("{}h", log.keep_hours)),
        mask: log.mask.iter().map(|rule| escaped(rule)).collect(),
        bodies: (log.bodies != Bodies::Both).then(|| log.bodies.as_str()),
        media: log.media.then_some("keep"),
    }
}

/// A share as a decimal.
fn amount_ppm(ppm: u32) -> String {
    Money(i128::from(ppm) * 1_000_000).to_string()
}

/// But for its tenant and its key.
pub(crate) fn provider(settings: &Settings) -> file::Provider {
    let gone = settings.on_client_gone.map(|gone| match gone {
        OnClientGone::Cancel => "cancel",
        OnClientGone::Drain => "drain",
    });
    file::Provider {
        name: settings.name.clone(),
        tenant: None,
        dialect: settings.dialect.clone(),
        base_url: escaped(&settings.base_url),
        api_key: None,
        price: settings.price.as_ref().map(price),
        // no variable was ever filled into one, so the file said them as they are
        headers: settings.headers.iter().map(|(name, value)| (name.clone(), escaped(value))).collect(),
        timeouts: timeouts(&settings.timeouts),
        max_parallel_requests: settings.max_parallel,
        on_client_gone: gone,
    }
}

/// Those that are not as they are by default.
fn timeouts(timeouts: &Timeouts) -> Figures {
    let usual = Timeouts::default();
    let steps = [
        ("connect", timeouts.connect_ms, usual.connect_ms),
        ("first_byte", timeouts.first_byte_ms, usual.first_byte_ms),
        ("silence", timeouts.silence_ms, usual.silence_ms),
        ("total", timeouts.total_ms, usual.total_ms),
    ];
    steps.into_iter().filter(|(_, ms, usual)| ms != usual).map(|(step, ms, _)| (step, duration(ms))).collect()
}

pub(crate) fn price(price: &Price) -> file::Price {
    file::Price {
        figures: figures(price),
        long: price.long.as_ref().map(|long| file::Long { above_tokens: long.above_tokens, figures: figures(&long.price) }),
        tiers: price.tiers.iter().map(|(name, tier)| (name.clone(), self::price(tier))).collect(),
    }
}

/// Classes without a price of their own are left out.
fn figures(price: &Price) -> Figures {
    let per_mtok = |money: Money| price::in_mtok(money).to_string();
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
    let pieces = [("per_image", price.image), ("per_search", price.search), ("per_request", price.request)];
    let tokens = tokens.into_iter().filter_map(|(field, money)| Some((field, per_mtok(money?))));
    tokens.chain(pieces.into_iter().filter_map(|(field, money)| Some((field, money?.to_string())))).collect()
}

pub(crate) fn rates(rates: &Rates) -> file::Rates {
    file::Rates { rpm_limit: rates.rpm, tpm_limit: rates.tpm, max_parallel_requests: rates.parallel }
}

pub(crate) fn budget(budget: &budget::Budget) -> file::Budget {
    let (identity, terms) = (&budget.identity, &budget.terms);
    let share = |ppm: &u32| Money(i128::from(*ppm) * 1_000_000).to_string();
    file::Budget {
        limit: format!("{} {}", amount_text(identity.unit, terms.limit), identity.unit.as_str()),
        every: identity.every.as_str(),
        hard: (!terms.hard).then_some(false),
        alert_at: terms.alert_at_ppm.iter().map(share).collect(),
        only: file::Filter {
            models: identity.only.models.clone(),
            providers: identity.only.providers.clone(),
            tags: identity.only.tags.iter().map(|tag| escaped(tag)).collect(),
        },
    }
}
