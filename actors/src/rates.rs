//! Rates and concurrency (LEDGER §9): a sliding minute of 60 buckets, counted where every admission passes. Pure.

use cluster_config::Principal;
use events::{BudgetId, CallId, Figures, Owner, Rates, Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const BUCKETS: usize = 60;
/// A refusal never asks a caller to wait longer: SDKs sleep it literally.
const RETRY_AFTER_S_MAX: u64 = 60;

/// Which limit of a level was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Tokens,
    Parallel,
}

impl Limit {
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Requests => "rpm_limit",
            Limit::Tokens => "tpm_limit",
            Limit::Parallel => "max_parallel_requests",
        }
    }
}

/// Why a call is too fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooFast {
    pub owner: Owner,
    pub name: String,
    pub limit: Limit,
    pub allowed: u64,
    /// Seconds after which it may pass; None: waiting does not help.
    pub retry_after_s: Option<u64>,
}

/// What is left, for `x-ratelimit-*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Limit, remaining, and seconds until the minute is empty again.
    pub requests: Option<(u64, u64, u64)>,
    pub tokens: Option<(u64, u64, u64)>,
}

/// What of a call the rates count.
#[derive(Clone, Debug)]
pub struct Pace {
    pub call: CallId,
    pub principal: Arc<Principal>,
    /// Bytes / 4 and the caller's own maximum.
    pub estimate: u64,
    /// What the admission holds, and where: for early refusals and for the figures of late ones.
    pub budgets: Arc<[BudgetId]>,
    pub ceiling: Figures,
}

#[derive(Clone)]
struct Minute {
    /// The second that the newest bucket stands for.
    second: u64,
    requests: [u32; BUCKETS],
    tokens: [u64; BUCKETS],
    requests_sum: u64,
    tokens_sum: u64,
}

impl Minute {
    fn new(second: u64) -> Minute {
        Minute { second, requests: [0; BUCKETS], tokens: [0; BUCKETS], requests_sum: 0, tokens_sum: 0 }
    }

    /// Empties the buckets that have grown old.
    fn advance(&mut self, second: u64) {
        let steps = second.saturating_sub(self.second).min(BUCKETS as u64);
        for step in 1..=steps {
            let place = ((self.second + step) % BUCKETS as u64) as usize;
            self.requests_sum -= u64::from(std::mem::take(&mut self.requests[place]));
            self.tokens_sum -= std::mem::take(&mut self.tokens[place]);
        }
        self.second = self.second.max(second);
    }

    fn add(&mut self, second: u64, requests: u32, tokens: u64) {
        let place = (second.max(self.second.saturating_sub(BUCKETS as u64 - 1)) % BUCKETS as u64) as usize;
        self.requests[place] += requests;
        self.tokens[place] += tokens;
        self.requests_sum += u64::from(requests);
        self.tokens_sum += tokens;
    }

    /// Takes back what was added in a second, if that is still counted.
    fn take_back(&mut self, second: u64, requests: u32, tokens: u64) -> bool {
        if second + BUCKETS as u64 <= self.second {
            return false;
        }
        let place = (second % BUCKETS as u64) as usize;
        let (requests, tokens) = (self.requests[place].min(requests), self.tokens[place].min(tokens));
        self.requests[place] -= requests;
        self.tokens[place] -= tokens;
        self.requests_sum -= u64::from(requests);
        self.tokens_sum -= tokens;
        true
    }

    /// Seconds until `needed` more fit under `allowed`, by what falls out of the window.
    fn wait(&self, counts: impl Fn(usize) -> u64, sum: u64, needed: u64, allowed: u64) -> u64 {
        let mut left = sum;
        for age in (0..BUCKETS as u64).rev() {
            if left + needed <= allowed {
                return (BUCKETS as u64 - 1 - age).clamp(1, RETRY_AFTER_S_MAX);
            }
            let place = ((self.second + BUCKETS as u64 - age) % BUCKETS as u64) as usize;
            left = left.saturating_sub(counts(place));
        }
        RETRY_AFTER_S_MAX
    }
}

struct InFlight {
    second: u64,
    estimate: u64,
    principal: Arc<Principal>,
}

/// All that is counted.
#[derive(Default)]
pub struct Counters {
    minutes: BTreeMap<Owner, Minute>,
    open: BTreeMap<Owner, u64>,
    calls: HashMap<CallId, InFlight>,
}

fn second(now: Timestamp) -> u64 {
    now.as_ms() / 1_000
}

fn limited(rates: &Rates) -> bool {
    rates.rpm.is_some() || rates.tpm.is_some()
}

impl Counters {
    /// Lets a call pass and counts it on every level, or refuses it and counts it on none.
    pub fn judge(&mut self, pace: &Pace, now: Timestamp) -> Result<Left, TooFast> {
        let second = second(now);
        let mut left = Left::default();
        for level in &pace.principal.levels {
            self.check(level.owner, &level.name, &level.rates, pace.estimate, second, &mut left)?;
        }
        for level in &pace.principal.levels {
            if limited(&level.rates) {
                self.minutes.entry(level.owner).or_insert_with(|| Minute::new(second)).add(second, 1, pace.estimate);
            }
            if level.rates.parallel.is_some() {
                *self.open.entry(level.owner).or_default() += 1;
            }
        }
        if pace.principal.levels.iter().any(|level| limited(&level.rates) || level.rates.parallel.is_some()) {
            self.calls.insert(pace.call, InFlight { second, estimate: pace.estimate, principal: pace.principal.clone() });
        }
        Ok(left)
    }

    /// Takes up a call that is open already: after a restart or a change of leaders.
    pub fn resume(&mut self, call: CallId, principal: &Arc<Principal>, admitted_at: Timestamp) {
        for level in principal.levels.iter().filter(|level| level.rates.parallel.is_some()) {
            *self.open.entry(level.owner).or_default() += 1;
        }
        self.calls.insert(call, InFlight { second: second(admitted_at), estimate: 0, principal: principal.clone() });
    }

    /// The call was not admitted after all: nothing of it counts.
    pub fn withdraw(&mut self, call: CallId) {
        if let Some(in_flight) = self.end(call) {
            for level in in_flight.principal.levels.iter().filter(|level| limited(&level.rates)) {
                if let Some(minute) = self.minutes.get_mut(&level.owner) {
                    minute.take_back(in_flight.second, 1, in_flight.estimate);
                }
            }
        }
    }

    /// The call has its record: the actual tokens replace the estimate. None: it has no figure of its own (orphans).
    pub fn finish(&mut self, call: CallId, tokens: Option<u64>) {
        let Some(in_flight) = self.end(call) else { return };
        let Some(tokens) = tokens else { return };
        for level in in_flight.principal.levels.iter().filter(|level| limited(&level.rates)) {
            if let Some(minute) = self.minutes.get_mut(&level.owner)
                && minute.take_back(in_flight.second, 0, in_flight.estimate)
            {
                minute.add(in_flight.second, 0, tokens);
            }
        }
    }

    fn end(&mut self, call: CallId) -> Option<InFlight> {
        let in_flight = self.calls.remove(&call)?;
        for level in in_flight.principal.levels.iter().filter(|level| level.rates.parallel.is_some()) {
            if let Some(open) = self.open.get_mut(&level.owner) {
                *open = open.saturating_sub(1);
            }
        }
        Some(in_flight)
    }

    fn check(&mut self, owner: Owner, name: &str, rates: &Rates, estimate: u64, second: u64, left: &mut Left) -> Result<(), TooFast> {
        let refuse = |limit, allowed, retry_after_s| Err(TooFast { owner, name: name.into(), limit, allowed, retry_after_s });
        if let Some(allowed) = rates.parallel
            && self.open.get(&owner).copied().unwrap_or(0) >= allowed
        {
            return refuse(Limit::Parallel, allowed, Some(1));
        }
        if !limited(rates) {
            return Ok(());
        }
        let minute = self.minutes.entry(owner).or_insert_with(|| Minute::new(second));
        minute.advance(second);
        if let Some(allowed) = rates.rpm {
            if minute.requests_sum + 1 > allowed {
                let wait = (allowed > 0).then(|| minute.wait(|place| minute.requests[place].into(), minute.requests_sum, 1, allowed));
                return refuse(Limit::Requests, allowed, wait);
            }
            tighten(&mut left.requests, (allowed, allowed - minute.requests_sum - 1, 60));
        }
        if let Some(allowed) = rates.tpm {
            if minute.tokens_sum + estimate > allowed {
                let wait = (estimate <= allowed).then(|| minute.wait(|place| minute.tokens[place], minute.tokens_sum, estimate, allowed));
                return refuse(Limit::Tokens, allowed, wait);
            }
            tighten(&mut left.tokens, (allowed, allowed - minute.tokens_sum - estimate, 60));
        }
        Ok(())
    }
}

/// Keeps the level with the least remaining.
fn tighten(kept: &mut Option<(u64, u64, u64)>, found: (u64, u64, u64)) {
    if kept.is_none_or(|(_, remaining, _)| found.1 < remaining) {
        *kept = Some(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster_config::{KeyState, Level};
    use events::{KeyId, TenantId, key::KeyHash};

    fn principal(rates: Rates) -> Arc<Principal> {
        let level = Level { owner: Owner::Key(KeyId(1)), name: "k".into(), kind: "key".into(), rates };
        Arc::new(Principal {
            previous: None,
            key: KeyId(1),
            name: "k".into(),
            tenant: TenantId(1),
            tenant_name: "t".into(),
            state: KeyState::Live,
            levels: vec![level],
            budgets: Vec::new(),
            models: None,
            losses: Default::default(),
            request_log: None,
            hash: KeyHash::default(),
        })
    }

    fn pace(principal: &Arc<Principal>, call: u128, estimate: u64) -> Pace {
        Pace { call: CallId(call), principal: principal.clone(), estimate, budgets: Arc::new([]), ceiling: Figures::default() }
    }

    fn at(second: u64) -> Timestamp {
        Timestamp::from_ms(1_000_000_000 + second * 1_000)
    }

    #[test]
    fn requests_a_minute_are_exact_and_slide() {
        let who = principal(Rates { rpm: Some(3), ..Rates::default() });
        let mut counters = Counters::default();
        for second in 0..3 {
            assert!(counters.judge(&pace(&who, second.into(), 0), at(second * 10)).is_ok());
        }
        let refused = counters.judge(&pace(&who, 9, 0), at(30)).unwrap_err();
        assert_eq!((refused.limit, refused.allowed, refused.retry_after_s), (Limit::Requests, 3, Some(30)));
        assert!(counters.judge(&pace(&who, 10, 0), at(59)).is_err());
        assert!(counters.judge(&pace(&who, 11, 0), at(60)).is_ok(), "the first one is a minute old");
        assert!(counters.judge(&pace(&who, 12, 0), at(60)).is_err());
    }

    #[test]
    fn the_actual_tokens_replace_the_estimate() {
        let who = principal(Rates { tpm: Some(100), ..Rates::default() });
        let mut counters = Counters::default();
        assert!(counters.judge(&pace(&who, 1, 90), at(0)).is_ok());
        assert!(counters.judge(&pace(&who, 2, 20), at(1)).is_err());
        counters.finish(CallId(1), Some(10));
        let left = counters.judge(&pace(&who, 3, 20), at(2)).unwrap();
        assert_eq!(left.tokens, Some((100, 70, 60)));
        let alone = counters.judge(&pace(&who, 4, 101), at(2)).unwrap_err();
        assert_eq!(alone.retry_after_s, None, "waiting does not make it smaller");
    }

    #[test]
    fn concurrency_counts_open_calls() {
        let who = principal(Rates { parallel: Some(2), ..Rates::default() });
        let mut counters = Counters::default();
        assert!(counters.judge(&pace(&who, 1, 0), at(0)).is_ok());
        assert!(counters.judge(&pace(&who, 2, 0), at(0)).is_ok());
        assert_eq!(counters.judge(&pace(&who, 3, 0), at(0)).unwrap_err().limit, Limit::Parallel);
        counters.withdraw(CallId(1));
        assert!(counters.judge(&pace(&who, 4, 0), at(0)).is_ok());
        counters.finish(CallId(2), None);
        counters.finish(CallId(2), None);
        assert!(counters.judge(&pace(&who, 5, 0), at(0)).is_ok());
        assert!(counters.judge(&pace(&who, 6, 0), at(0)).is_err());
    }
}
