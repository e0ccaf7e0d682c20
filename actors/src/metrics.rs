//! Figures for operators: closed sets of labels, handles made once a reactor. Tenants, keys and models are no labels: the history has
//! them by any dimension.

use crate::{
    charge::Tally,
    report::{Ending, Report},
};
use cluster_config::ProviderView;
use dialects::Endpoint;
use events::{ProviderId, Usage, call::AttemptEnd, limits};
use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// Handles of one reactor.
pub struct Handles {
    calls: [[Counter; Ending::ALL.len()]; Endpoint::ALL.len()],
    tokens: [Counter; TOKEN_CLASSES.len()],
    /// By whether the call was admitted, and code.
    faults: Mutex<BTreeMap<(bool, &'static str), Counter>>,
    providers: Mutex<BTreeMap<ProviderId, Arc<ProviderHandles>>>,
    pub in_flight: Gauge,
    overhead: Histogram,
    pub first_byte: Histogram,
    first_token: Histogram,
    duration: Histogram,
    cost: Counter,
    estimated: Counter,
    overrun: Counter,
    pub duplicate: Counter,
}

/// Handles of one provider.
pub struct ProviderHandles {
    attempts: [Counter; RESULTS.len()],
    /// On how many reactors its breaker is open.
    pub breaker_open: Gauge,
}

/// What stands for those beyond the limit.
const OTHER: &str = "other";
const TOKEN_CLASSES: [&str; 7] = ["input", "cache_read", "cache_write", "output", "reasoning", "audio_input", "audio_output"];
const RESULTS: [&str; 9] = ["ok", "rate_limited", "rejected", "server_error", "not_sent", "broken", "timed_out", "cancelled", "cut"];

fn tokens(usage: &Usage) -> [u64; TOKEN_CLASSES.len()] {
    let cache_write = usage.cache_write.saturating_add(usage.cache_write_1h);
    [usage.input, usage.cache_read, cache_write, usage.output, usage.reasoning, usage.audio_input, usage.audio_output]
}

/// The place of an attempt's end in [`RESULTS`].
fn result(end: AttemptEnd) -> usize {
    match end {
        AttemptEnd::Ok => 0,
        AttemptEnd::Status(429) => 1,
        AttemptEnd::Status(500..) => 3,
        AttemptEnd::Status(_) => 2,
        AttemptEnd::NotSent => 4,
        AttemptEnd::Broken => 5,
        AttemptEnd::TimedOut => 6,
        AttemptEnd::Cancelled => 7,
        AttemptEnd::Cut => 8,
    }
}

impl Default for Handles {
    fn default() -> Handles {
        Handles {
            calls: Endpoint::ALL.map(|endpoint| {
                let of = |ending: Ending| counter!("tollgate_calls_total", "endpoint" => endpoint.as_str(), "outcome" => ending.as_str());
                Ending::ALL.map(of)
            }),
            tokens: TOKEN_CLASSES.map(|class| counter!("tollgate_tokens_total", "class" => class)),
            faults: Mutex::default(),
            providers: Mutex::default(),
            in_flight: gauge!("tollgate_calls_in_flight"),
            overhead: histogram!("tollgate_overhead_seconds"),
            first_byte: histogram!("tollgate_time_to_first_byte_seconds"),
            first_token: histogram!("tollgate_time_to_first_token_seconds"),
            duration: histogram!("tollgate_call_duration_seconds"),
            cost: counter!("tollgate_cost_nano_usd_total"),
            estimated: counter!("tollgate_calls_estimated_total"),
            overrun: counter!("tollgate_calls_overrun_total"),
            duplicate: counter!("tollgate_records_duplicate_total"),
        }
    }
}

impl Handles {
    /// A call has ended.
    pub fn ended(&self, report: &Report<'_>) {
        let place = Endpoint::ALL.iter().position(|known| *known == report.endpoint).unwrap_or(0);
        self.calls[place][report.ending as usize].increment(1);
        let admitted = report.ending != Ending::Refused;
        if let Some(code) = report.code {
            self.fault(admitted, code).increment(1);
        }
        if !admitted {
            return;
        }
        let figures = &report.figures;
        for (counter, count) in self.tokens.iter().zip(tokens(&figures.usage)).filter(|(_, count)| *count > 0) {
            counter.increment(count);
        }
        self.cost.increment(u64::try_from(figures.cost.0 / 1_000).unwrap_or(0));
        self.estimated.increment(u64::from(figures.estimated));
        self.overrun.increment(u64::from(figures.overrun));
        self.duration.record(report.took.as_secs_f64());
        self.overhead.record(report.overhead.as_secs_f64());
        if let Some(first_token) = report.first_token {
            self.first_token.record(first_token.as_secs_f64());
        }
    }

    /// The attempts of a call that has ended.
    pub fn attempts(&self, tally: &Tally) {
        for (attempt, candidate) in tally.attempts.iter().zip(&tally.candidates) {
            self.provider(&candidate.provider).attempts[result(attempt.end)].increment(1);
        }
    }

    /// The handles of a provider; those beyond the limit share one name.
    pub fn provider(&self, provider: &ProviderView) -> Arc<ProviderHandles> {
        let mut known = self.providers.lock();
        if let Some(handles) = known.get(&provider.id) {
            return handles.clone();
        }
        let fits = known.len() < limits::PROVIDER_LABELS_MAX;
        let handles = Arc::new(ProviderHandles::new(if fits { &provider.name } else { OTHER }));
        if fits {
            known.insert(provider.id, handles.clone());
        }
        handles
    }

    fn fault(&self, admitted: bool, code: &'static str) -> Counter {
        let mut known = self.faults.lock();
        let fits = known.len() < limits::CODE_LABELS_MAX || known.contains_key(&(admitted, code));
        let code = if fits { code } else { OTHER };
        let make = || match admitted {
            true => counter!("tollgate_faults_total", "code" => code),
            false => counter!("tollgate_refusals_total", "code" => code),
        };
        known.entry((admitted, code)).or_insert_with(make).clone()
    }
}

impl ProviderHandles {
    fn new(name: &str) -> ProviderHandles {
        ProviderHandles {
            attempts: RESULTS.map(|result| counter!("tollgate_attempts_total", "provider" => name.to_owned(), "result" => result)),
            breaker_open: gauge!("tollgate_breaker_open", "provider" => name.to_owned()),
        }
    }
}

/// Handles of the Gate.
pub struct JournalHandles {
    pub append: Histogram,
    pub transactions: Histogram,
    pub faults: Counter,
}

impl Default for JournalHandles {
    fn default() -> JournalHandles {
        JournalHandles {
            append: histogram!("tollgate_journal_append_seconds"),
            transactions: histogram!("tollgate_journal_entry_transactions"),
            faults: counter!("tollgate_journal_append_faults_total"),
        }
    }
}

/// Calls that hold something, by the journal.
pub fn open_calls() -> Gauge {
    gauge!("tollgate_calls_open")
}

/// What each figure is, for whoever reads `/metrics`.
pub fn describe() {
    describe_counter!("tollgate_calls_total", "Calls that ended, by endpoint and outcome.");
    describe_counter!("tollgate_refusals_total", "Calls that were not admitted, by code.");
    describe_counter!("tollgate_faults_total", "Admitted calls that ended with an error, by code.");
    describe_counter!("tollgate_attempts_total", "Tries at providers, by how they went.");
    describe_counter!("tollgate_tokens_total", "Tokens of recorded calls, in disjoint classes.");
    describe_counter!("tollgate_cost_nano_usd_total", "Cost of recorded calls, in billionths of a dollar, rounded down a call.");
    describe_counter!("tollgate_calls_estimated_total", "Calls whose usage our own meter had to tell.");
    describe_counter!("tollgate_calls_overrun_total", "Calls that their provider billed above their ceiling.");
    describe_counter!("tollgate_records_duplicate_total", "Records that were not needed, for another was in force.");
    describe_gauge!("tollgate_calls_in_flight", "Calls that run on this node.");
    describe_gauge!("tollgate_calls_open", "Calls that hold something, by the journal.");
    describe_gauge!("tollgate_breaker_open", "Reactors on which the provider's circuit breaker is open.");
    describe_histogram!("tollgate_call_duration_seconds", Unit::Seconds, "From a call's start until its answer is out and recorded.");
    describe_histogram!("tollgate_overhead_seconds", Unit::Seconds, "The gateway's own share of that, the record included.");
    describe_histogram!("tollgate_time_to_first_byte_seconds", Unit::Seconds, "From an attempt's start to the head of its answer.");
    describe_histogram!(
        "tollgate_time_to_first_token_seconds",
        Unit::Seconds,
        "From a call's start until its caller had a part of the stream."
    );
    describe_histogram!(
        "tollgate_journal_append_seconds",
        Unit::Seconds,
        "One entry, from the Gate's hand until it is durable and applied."
    );
    describe_histogram!("tollgate_journal_entry_transactions", Unit::Count, "Transactions that rode in one entry.");
    describe_counter!("tollgate_journal_append_faults_total", "Entries that failed or whose outcome is not known.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_and_results_have_their_own_places() {
        assert!(Ending::ALL.iter().enumerate().all(|(place, ending)| *ending as usize == place));
        let ends = [
            AttemptEnd::Ok,
            AttemptEnd::Status(429),
            AttemptEnd::Status(404),
            AttemptEnd::Status(503),
            AttemptEnd::NotSent,
            AttemptEnd::Broken,
            AttemptEnd::TimedOut,
            AttemptEnd::Cancelled,
            AttemptEnd::Cut,
        ];
        assert!(ends.iter().enumerate().all(|(place, end)| result(*end) == place));
    }

    #[test]
    fn codes_beyond_the_limit_are_one() {
        let handles = Handles::default();
        for number in 0..2 * limits::CODE_LABELS_MAX {
            let code: &'static str = Box::leak(format!("code_{number}").into_boxed_str());
            handles.fault(false, code).increment(1);
        }
        assert!(handles.faults.lock().len() <= limits::CODE_LABELS_MAX + 2);
    }
}
