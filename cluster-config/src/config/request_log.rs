//! What an owner says about bodies of calls.

use super::read::word;
use crate::{
    fields::{self, Fields},
    problem::Problems,
    values,
};
use events::{
    limits,
    policy::{Bodies, Logged, RequestLog},
};

/// The field `request_log`, if it is there.
pub(super) fn read(of: &Fields<'_>, problems: &mut Problems) -> Option<RequestLog> {
    let fields = Fields::of(of.get("request_log")?, &of.at("request_log"), fields::REQUEST_LOG, problems);
    fields.need("log", "is missing: off, all, errors or sampled", problems);
    let log = word(&fields, "log", &Logged::ALL.map(|log| (log.as_str(), log)), problems)?;
    let sample_ppm = sample(&fields, log, problems);
    let keep_hours = fields.text("keep", problems).map_or(Some(limits::REQUEST_LOG_HOURS), |text| {
        let hours = hours(text);
        if hours.is_none() {
            problems.add(fields.at("keep"), format!("must be hours or days, as 12h or 7d, up to {}d", limits::REQUEST_LOG_HOURS_MAX / 24));
        }
        hours
    });
    let mask = mask(&fields, problems);
    let bodies = word(&fields, "bodies", &Bodies::ALL.map(|bodies| (bodies.as_str(), bodies)), problems).unwrap_or_default();
    let media = word(&fields, "media", &[("leave_out", false), ("keep", true)], problems).unwrap_or(false);
    Some(RequestLog { log, sample_ppm: sample_ppm?, keep_hours: keep_hours?, mask, bodies, media })
}

/// The share of calls, which is asked for where they are sampled.
fn sample(fields: &Fields<'_>, log: Logged, problems: &mut Problems) -> Option<u32> {
    match (log, fields.text("sample", problems)) {
        (Logged::Sampled, None) => {
            problems.add(fields.at("sample"), "is missing: the share of calls whose bodies are kept, as \"0.1\"");
            None
        }
        (_, None) => Some(0),
        (Logged::Sampled, Some(text)) => {
            let ppm = values::share_ppm(text);
            if ppm.is_none() {
                problems.add(fields.at("sample"), "must be a share above 0 and up to 1, with at most 6 places");
            }
            ppm
        }
        (_, Some(_)) => {
            problems.add(fields.at("sample"), "says nothing unless `log` is sampled");
            None
        }
    }
}

/// `12h`, `7d`.
fn hours(text: &str) -> Option<u32> {
    let (digits, each) = text.strip_suffix('h').map(|digits| (digits, 1)).or_else(|| text.strip_suffix('d').map(|digits| (digits, 24)))?;
    let hours = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?.checked_mul(each)?;
    (1..=limits::REQUEST_LOG_HOURS_MAX).contains(&hours).then_some(hours)
}

fn mask(fields: &Fields<'_>, problems: &mut Problems) -> Vec<String> {
    let rules = fields.texts("mask", problems);
    if rules.len() > limits::MASK_RULES_MAX {
        problems.add(fields.at("mask"), format!("may have at most {} rules", limits::MASK_RULES_MAX));
    }
    let mut kept = Vec::new();
    for (path, rule) in rules {
        match rule.parse::<guards::mask::Rule>() {
            _ if rule.len() > limits::MASK_RULE_BYTES_MAX => {
                problems.add(path, format!("must have at most {} bytes", limits::MASK_RULE_BYTES_MAX));
            }
            Ok(_) => kept.push(rule.to_owned()),
            Err(wrong) => problems.add(path, wrong),
        }
    }
    kept
}
