//! Rows of usage: where they stand, and what they sum.

use crate::key::{Key, Parts};
use events::{
    Every, KeyId, Money, ProviderId, ScopeId, TenantId, Timestamp, Usage, UserId,
    call::{Finished, Orphaned, Outcome},
};
use serde::{Deserialize, Serialize};

const TABLE: u8 = b'u';

/// Which dimensions a table of sums is cut by: a question is answered from the smallest that has what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// Scope and key.
    Who = 1,
    /// Model and provider.
    What = 2,
    /// Scope, key, model, provider.
    Full = 3,
    /// All of these by tag: a call stands there once for each of its tags.
    Tagged = 4,
    /// Those of `Full` by user: calls that name one.
    User = 5,
}

impl Cut {
    pub const ALL: [Cut; 5] = [Cut::Who, Cut::What, Cut::Full, Cut::Tagged, Cut::User];
    /// Those in which every call stands once.
    pub const WHOLE: [Cut; 3] = [Cut::Who, Cut::What, Cut::Full];

    /// The dimensions that it keeps.
    pub fn of(self, dims: &Dims) -> Dims {
        match self {
            Cut::Who => Dims { scope: dims.scope, key: dims.key, ..Dims::default() },
            Cut::What => Dims { model: dims.model.clone(), provider: dims.provider, ..Dims::default() },
            Cut::Full => Dims { tag: None, user: None, ..dims.clone() },
            Cut::Tagged => Dims { user: None, ..dims.clone() },
            Cut::User => Dims { tag: None, ..dims.clone() },
        }
    }
}

/// How long a row's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grain {
    Hour = 1,
    Day = 2,
    Month = 3,
}

impl Grain {
    pub const ALL: [Grain; 3] = [Grain::Hour, Grain::Day, Grain::Month];

    pub fn every(self) -> Every {
        match self {
            Grain::Hour => Every::Hour,
            Grain::Day => Every::Day,
            Grain::Month => Every::Month,
        }
    }

    /// The beginning of the row's time that a moment lies in.
    pub fn start(self, at: Timestamp) -> Timestamp {
        self.every().window(at)
    }

    /// The beginning of the next.
    pub fn next(self, start: Timestamp) -> Timestamp {
        self.every().end(start).unwrap_or(Timestamp(u64::MAX))
    }
}

/// What a row is about; None: it is not told apart by that, or there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dims {
    pub tag: Option<String>,
    pub user: Option<UserId>,
    pub scope: Option<ScopeId>,
    pub key: Option<KeyId>,
    /// As the caller named it.
    pub model: Option<String>,
    pub provider: Option<ProviderId>,
}

/// Ids as keys hold them: 0 is none.
fn number(id: Option<u64>) -> u64 {
    id.map_or(0, |id| id.saturating_add(1))
}

fn id(number: u64) -> Option<u64> {
    number.checked_sub(1)
}

pub(crate) fn key(cut: Cut, grain: Grain, tenant: TenantId, start: Timestamp, dims: &Dims) -> Key {
    let at = at(cut, grain, tenant, start);
    let at = if cut == Cut::User { at.u128(dims.user.unwrap_or_default().0) } else { at };
    at.u64(number(dims.scope.map(|id| id.0)))
        .u64(number(dims.key.map(|id| id.0)))
        .u64(number(dims.provider.map(|id| id.0)))
        .text(dims.model.as_deref().unwrap_or_default())
        .text(dims.tag.as_deref().unwrap_or_default())
}

/// Where the rows of one time begin.
pub(crate) fn at(cut: Cut, grain: Grain, tenant: TenantId, start: Timestamp) -> Key {
    Key::of(TABLE).u8(cut as u8).u8(grain as u8).u64(tenant.0).u64(start.0)
}

/// Reads a key again: start and dimensions.
pub(crate) fn read_key(key: &[u8]) -> Option<(Timestamp, Dims)> {
    let mut parts = Parts(key);
    let (_table, cut, _grain, _tenant) = (parts.u8()?, parts.u8()?, parts.u8()?, parts.u64()?);
    let start = Timestamp(parts.u64()?);
    let user = if cut == Cut::User as u8 { Some(UserId(parts.u128()?)) } else { None };
    let (scope, key, provider) = (id(parts.u64()?), id(parts.u64()?), id(parts.u64()?));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (model, tag) = (text(parts.text()?), text(parts.text()?));
    Some((start, Dims { tag, user, scope: scope.map(ScopeId), key: key.map(KeyId), model, provider: provider.map(ProviderId) }))
}

/// Sums over calls. Signed, for what a late record takes the place of is taken off again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub ok: i64,
    pub failed: i64,
    pub aborted: i64,
    /// Surely never sent: no cost.
    pub released: i64,
    /// Charged at their ceiling, for now.
    pub orphaned: i64,
    pub tokens: Tokens,
    /// What every attempt cost or may have cost; corrections are in it.
    pub cost: Money,
    /// What the tenant owes.
    pub charge: Money,
    pub uncertain: Money,
    pub overrun: Money,
    /// The part of `cost` that came by corrections.
    pub adjusted: Money,
    /// Σ of the calls' times, in milliseconds.
    pub total_ms: i64,
}

/// Sums of what was used, in the classes of [`events::Usage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    pub input: i64,
    pub cache_read: i64,
    pub cache_write: i64,
    pub cache_write_1h: i64,
    pub output: i64,
    pub reasoning: i64,
    pub audio_input: i64,
    pub audio_output: i64,
    pub images: i64,
    pub searches: i64,
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Tokens {
    fn of(usage: &Usage) -> Tokens {
        Tokens {
            input: signed(usage.input),
            cache_read: signed(usage.cache_read),
            cache_write: signed(usage.cache_write),
            cache_write_1h: signed(usage.cache_write_1h),
            output: signed(usage.output),
            reasoning: signed(usage.reasoning),
            audio_input: signed(usage.audio_input),
            audio_output: signed(usage.audio_output),
            images: signed(usage.images),
            searches: signed(usage.searches),
        }
    }

    /// Tokens of every class, in and out.
    pub fn total(&self) -> i64 {
        let mut all = *self;
        (all.images, all.searches) = (0, 0);
        all.fields().into_iter().fold(0, |sum, part| sum.saturating_add(*part))
    }

    fn fields(&mut self) -> [&mut i64; 10] {
        let Tokens { input, cache_read, cache_write, cache_write_1h, output, reasoning, audio_input, audio_output, images, searches } =
            self;
        [input, cache_read, cache_write, cache_write_1h, output, reasoning, audio_input, audio_output, images, searches]
    }
}

impl Sums {
    pub(crate) fn of(finished: &Finished) -> Sums {
        let Finished { charge, uncertain, overrun, total_ms, .. } = *finished;
        let mut sums = Sums {
            tokens: Tokens::of(&finished.usage),
            cost: finished.used.cost,
            charge,
            uncertain,
            overrun,
            total_ms: total_ms.into(),
            ..Sums::default()
        };
        match finished.outcome {
            Outcome::Ok => sums.ok = 1,
            Outcome::Failed => sums.failed = 1,
            Outcome::Aborted => sums.aborted = 1,
        }
        sums
    }

    pub(crate) fn of_orphan(orphaned: &Orphaned) -> Sums {
        Sums { orphaned: 1, cost: orphaned.charged.cost, ..Sums::default() }
    }

    /// Calls that came to a record.
    pub fn finished(&self) -> i64 {
        self.ok + self.failed + self.aborted
    }

    fn counts(&mut self) -> [&mut i64; 6] {
        let Sums { ok, failed, aborted, released, orphaned, total_ms, .. } = self;
        [ok, failed, aborted, released, orphaned, total_ms]
    }

    fn money(&mut self) -> [&mut Money; 5] {
        let Sums { cost, charge, uncertain, overrun, adjusted, .. } = self;
        [cost, charge, uncertain, overrun, adjusted]
    }

    pub fn add(&mut self, other: &Sums) {
        let mut other = *other;
        for (sum, part) in self.counts().into_iter().zip(other.counts()) {
            *sum = sum.saturating_add(*part);
        }
        for (sum, part) in self.tokens.fields().into_iter().zip(other.tokens.fields()) {
            *sum = sum.saturating_add(*part);
        }
        for (sum, part) in self.money().into_iter().zip(other.money()) {
            *sum += *part;
        }
    }

    pub(crate) fn negative(&self) -> Sums {
        let mut negative = *self;
        negative.counts().into_iter().for_each(|count| *count = count.saturating_neg());
        negative.tokens.fields().into_iter().for_each(|count| *count = count.saturating_neg());
        negative.money().into_iter().for_each(|money| *money = Money(money.0.saturating_neg()));
        negative
    }
}
