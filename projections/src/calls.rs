//! Calls, one row each, by id: found again by time, tenant and key, and by whatever a row says.

mod query;
mod row;
#[cfg(test)]
mod tests;

pub use query::{Filter, Found, Query, find};
pub use row::{Call, End, Status};

use crate::{Draft, Fault, Projection, World, draft::Pending, key::Key};
use events::{
    CallId, Event, KeyId, TenantId, Timestamp,
    call::{self, Finished},
    envelope::Recorded,
    limits,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// More than one goes with each that comes, so that forgetting keeps up and never takes long.
const FORGOTTEN_A_CALL: usize = 2;

pub(crate) struct Calls {
    rows: Pending<Call>,
    /// Nothing is old enough before this time.
    look_again: Timestamp,
    /// There is none before this one.
    first: CallId,
    /// What a batch adds to the indexes.
    added: BTreeMap<(Index, u64), BTreeSet<u128>>,
}

pub(crate) fn call_key(id: CallId) -> Key {
    Key::of(b'c').u128(id.0)
}

/// Ids of calls by whose they are and the second that they bear: one row for all of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Index {
    Tenant(TenantId),
    Key(KeyId),
}

/// The second that an id bears.
pub(crate) fn second_of(id: CallId) -> u64 {
    (id.0 >> 80) as u64 / 1_000
}

impl Index {
    pub fn key(self, second: u64) -> Key {
        match self {
            Index::Tenant(id) => Key::of(b't').u64(id.0).u64(second),
            Index::Key(id) => Key::of(b'k').u64(id.0).u64(second),
        }
    }
}

impl Default for Calls {
    fn default() -> Calls {
        Calls { rows: Pending::new(b'c'), look_again: Timestamp(0), first: CallId(0), added: BTreeMap::new() }
    }
}

impl Projection for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn form(&self) -> u32 {
        3
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Event::Call(id, event) = &*record.event else { return Ok(()) };
        if let call::Event::Admitted(admitted) = event {
            self.forget(*id, record.envelope.at, draft)?;
            let call = Call::new(admitted, record, world);
            for index in indexes(&call) {
                self.added.entry((index, second_of(*id))).or_default().insert(id.0);
            }
            self.rows.open(id.0, call);
            return Ok(());
        }
        let Some(call) = self.rows.change(id.0, draft)? else { return Ok(()) };
        call.events.push(record.envelope.n);
        let at = record.envelope.at;
        match event {
            call::Event::Admitted(_) => {}
            call::Event::Extended(extended) => call.ceiling += extended.ceiling.cost,
            call::Event::Translated(translated) => call.losses = call.losses.saturating_add(translated.losses.len() as u32),
            call::Event::Finished(finished) => finish(call, finished, at),
            call::Event::Released { .. } => {
                call.end = Some(End::bare(Status::Released, at));
                call.cost = events::Money::ZERO;
            }
            call::Event::Orphaned(orphaned) => {
                call.end = Some(End::bare(Status::Orphaned, at));
                call.cost = orphaned.charged.cost;
            }
            call::Event::Adjusted(adjusted) => call.cost += adjusted.delta,
        }
        Ok(())
    }

    fn flush(&mut self, _world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        self.rows.flush(draft);
        for ((index, second), mut ids) in std::mem::take(&mut self.added) {
            let key = index.key(second);
            ids.extend(draft.get::<Vec<u128>>(&key)?.unwrap_or_default());
            draft.put(key, &ids);
        }
        Ok(())
    }
}

fn indexes(call: &Call) -> [Index; 2] {
    [Index::Tenant(call.tenant), Index::Key(call.key)]
}

fn finish(call: &mut Call, finished: &Finished, at: Timestamp) {
    call.cost = finished.used.cost;
    call.end = Some(End::of(finished, at));
}

impl Calls {
    /// Forgets calls that are older than [`limits::CALLS_KEPT`], in the order of their ids: a few with each that comes, a function of the
    /// history alone.
    fn forget(&mut self, id: CallId, now: Timestamp, draft: &mut Draft<'_>) -> Result<(), Fault> {
        if id < self.first {
            (self.first, self.look_again) = (id, Timestamp(0));
        }
        let limit = now.minus(limits::CALLS_KEPT);
        for _ in 0..FORGOTTEN_A_CALL {
            if now < self.look_again {
                return Ok(());
            }
            let Some((id, at)) = self.oldest(draft)? else { return Ok(()) };
            self.first = id;
            if at >= limit {
                self.look_again = at.plus(limits::CALLS_KEPT).plus(Duration::from_micros(1));
                return Ok(());
            }
            let Some(call) = self.rows.take(id.0, draft)? else { return Ok(()) };
            for index in indexes(&call) {
                self.take_out(index, id, draft)?;
            }
        }
        Ok(())
    }

    /// The first call by its id, written or not, and when it was admitted.
    fn oldest(&self, draft: &Draft<'_>) -> Result<Option<(CallId, Timestamp)>, Fault> {
        let pending = self.rows.first(self.first.0).map(|(id, call)| (CallId(id), call.at));
        let written = match draft.first(&call_key(self.first).bytes(), &Key::of(b'c').end())? {
            Some((key, row)) => query::id_of(&key).zip(Some(events::codec::decode::<Call>(&row)?.at)),
            None => None,
        };
        Ok(pending.into_iter().chain(written).min())
    }

    fn take_out(&mut self, index: Index, id: CallId, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let (second, mut left) = (second_of(id), false);
        if let Some(ids) = self.added.get_mut(&(index, second)) {
            ids.remove(&id.0);
            left = !ids.is_empty();
        }
        if !left {
            self.added.remove(&(index, second));
        }
        let key = index.key(second);
        let Some(mut ids) = draft.get::<Vec<u128>>(&key)? else { return Ok(()) };
        ids.retain(|other| *other != id.0);
        if ids.is_empty() {
            draft.remove(&key)
        } else {
            draft.put(key, &ids)
        }
        Ok(())
    }
}
