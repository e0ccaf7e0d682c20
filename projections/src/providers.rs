//! How providers did: attempts by how they ended, time to the first byte and time a token, by provider, its name of the model, and hour.

mod histogram;
#[cfg(test)]
mod tests;

pub use histogram::Histogram;

use crate::{
    Draft, Fault, Projection, Snapshot, World,
    key::{Key, Parts},
};
use events::{
    Event, Every, Money, ProviderId, Timestamp,
    call::{self, Attempt, AttemptEnd, Finished},
    codec,
    envelope::Recorded,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::ControlFlow};
use store::rows::Order;

/// Sums over attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub ok: u64,
    /// Statuses 400–499 but 429: the request was wrong, or our secret.
    pub refused: u64,
    /// Status 429.
    pub limited: u64,
    /// Other statuses: the provider failed.
    pub errors: u64,
    pub not_sent: u64,
    pub broken: u64,
    pub timed_out: u64,
    /// Our side ended it: the caller left, or it went past its ceiling.
    pub ended_here: u64,
    pub cost: Money,
    pub tokens: u64,
    /// Milliseconds from the start of an attempt to the first byte of its answer, of those that got one.
    pub first_byte_ms: Histogram,
    /// Microseconds a token of output, from the first byte on, of whole answers.
    pub token_us: Histogram,
}

impl Health {
    fn count(&mut self, attempt: &Attempt) {
        let count = match attempt.end {
            AttemptEnd::Ok => &mut self.ok,
            AttemptEnd::Status(429) => &mut self.limited,
            AttemptEnd::Status(400..=499) => &mut self.refused,
            AttemptEnd::Status(_) => &mut self.errors,
            AttemptEnd::NotSent => &mut self.not_sent,
            AttemptEnd::Broken => &mut self.broken,
            AttemptEnd::TimedOut => &mut self.timed_out,
            AttemptEnd::Cancelled | AttemptEnd::Cut => &mut self.ended_here,
        };
        *count += 1;
        self.cost += attempt.cost;
        self.tokens = self.tokens.saturating_add(attempt.tokens);
        if attempt.end == AttemptEnd::Ok {
            self.first_byte_ms.count(attempt.first_byte_ms.into());
        }
    }

    pub fn add(&mut self, other: &Health) {
        for (sum, part) in [
            (&mut self.ok, other.ok),
            (&mut self.refused, other.refused),
            (&mut self.limited, other.limited),
            (&mut self.errors, other.errors),
            (&mut self.not_sent, other.not_sent),
            (&mut self.broken, other.broken),
            (&mut self.timed_out, other.timed_out),
            (&mut self.ended_here, other.ended_here),
            (&mut self.tokens, other.tokens),
        ] {
            *sum = sum.saturating_add(part);
        }
        self.cost += other.cost;
        self.first_byte_ms.add(&other.first_byte_ms);
        self.token_us.add(&other.token_us);
    }

    /// Attempts in all.
    pub fn attempts(&self) -> u64 {
        self.ok + self.refused + self.limited + self.errors + self.not_sent + self.broken + self.timed_out + self.ended_here
    }
}

/// What a batch adds.
#[derive(Default)]
pub(crate) struct Providers {
    added: BTreeMap<(ProviderId, Timestamp, String), Health>,
}

fn hours_of(provider: ProviderId) -> Key {
    Key::of(b'p').u64(provider.0)
}

impl Projection for Providers {
    fn name(&self) -> &'static str {
        "providers"
    }

    fn form(&self) -> u32 {
        1
    }

    fn fold(&mut self, record: &Recorded, _world: &World, _draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Event::Call(_, call::Event::Finished(finished)) = &*record.event else { return Ok(()) };
        let hour = Every::Hour.window(record.envelope.at);
        for attempt in &finished.attempts {
            self.added.entry((attempt.provider, hour, attempt.model.clone())).or_default().count(attempt);
        }
        if let Some((attempt, us)) = token_us(finished) {
            self.added.entry((attempt.provider, hour, attempt.model.clone())).or_default().token_us.count(us);
        }
        Ok(())
    }

    fn flush(&mut self, _world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        for ((provider, hour, model), added) in std::mem::take(&mut self.added) {
            let key = hours_of(provider).u64(hour.0).text(&model);
            let mut health: Health = draft.get(&key)?.unwrap_or_default();
            health.add(&added);
            draft.put(key, &health);
        }
        Ok(())
    }
}

/// The attempt that was used, and its microseconds a token.
fn token_us(finished: &Finished) -> Option<(&Attempt, u64)> {
    let attempt = finished.attempts.last().filter(|attempt| attempt.end == AttemptEnd::Ok)?;
    let us = u64::from(attempt.total_ms.saturating_sub(attempt.first_byte_ms)) * 1_000;
    Some((attempt, us.checked_div(finished.usage.tokens_out())?))
}

/// What rows of an answer are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    pub provider: ProviderId,
    /// The provider's name of the model; None: all of them.
    pub model: Option<String>,
    /// The beginning of the hour; None: all of them.
    pub start: Option<Timestamp>,
}

/// A question: over whole hours.
#[derive(Clone, Debug)]
pub struct Query {
    pub providers: Vec<ProviderId>,
    pub from: Timestamp,
    pub until: Timestamp,
    pub by_model: bool,
    pub by_hour: bool,
}

impl Query {
    /// Answers it.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn run(&self, snapshot: &Snapshot<'_>) -> Result<BTreeMap<Group, Health>, Fault> {
        let mut groups = BTreeMap::new();
        for provider in &self.providers {
            let from = hours_of(*provider).u64(Every::Hour.window(self.from).0).bytes();
            let before = hours_of(*provider).u64(self.until.0).bytes();
            let mut read = Ok(());
            snapshot.rows.visit(&from, &before, Order::Ascending, &mut |key, value| {
                read = self.see(*provider, key, value, &mut groups);
                if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            read?;
        }
        Ok(groups)
    }

    fn see(&self, provider: ProviderId, key: &[u8], value: &[u8], groups: &mut BTreeMap<Group, Health>) -> Result<(), Fault> {
        let mut parts = Parts(key);
        let start = parts.u8().and(parts.u64()).and(parts.u64());
        let (Some(start), Some(model)) = (start, parts.text()) else { return Err(Fault("a row has no key that can be read".into())) };
        let group = Group { provider, model: self.by_model.then(|| model.to_owned()), start: self.by_hour.then_some(Timestamp(start)) };
        groups.entry(group).or_default().add(&codec::decode(value)?);
        Ok(())
    }
}
