//! Calls, one row each, by id: found again by time, tenant and key, and by whatever a row says.

mod query;
mod row;
#[cfg(test)]
mod tests;

pub use query::{Filter, Found, Query, find};
pub use row::{Call, End, Status};

use crate::{Draft, Fault, Projection, World, key::Key};
use events::{
    CallId, Event, Timestamp,
    call::{self, Admitted, Finished},
    envelope::Recorded,
    limits,
};
use std::time::Duration;

/// More than one goes with each that comes, so that forgetting keeps up and never takes long.
const FORGOTTEN_A_CALL: usize = 2;

#[derive(Default)]
pub(crate) struct Calls {
    /// Nothing is old enough before this time.
    look_again: Timestamp,
    /// There is none before this one.
    first: CallId,
}

pub(crate) fn call_key(id: CallId) -> Key {
    Key::of(b'c').u128(id.0)
}

pub(crate) fn tenant_key(tenant: events::TenantId) -> Key {
    Key::of(b't').u64(tenant.0)
}

pub(crate) fn key_key(key: events::KeyId) -> Key {
    Key::of(b'k').u64(key.0)
}

impl Projection for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn form(&self) -> u32 {
        1
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Event::Call(id, event) = &*record.event else { return Ok(()) };
        if let call::Event::Admitted(admitted) = event {
            self.forget(*id, record.envelope.at, draft)?;
            return open(*id, admitted, record, world, draft);
        }
        let Some(mut call) = draft.get::<Call>(&call_key(*id))? else { return Ok(()) };
        call.events.push(record.envelope.n);
        let at = record.envelope.at;
        match event {
            call::Event::Admitted(_) => {}
            call::Event::Extended(extended) => call.ceiling += extended.ceiling.cost,
            call::Event::Translated(translated) => call.losses = call.losses.saturating_add(translated.losses.len() as u32),
            call::Event::Finished(finished) => finish(&mut call, finished, at),
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
        draft.put(call_key(*id), &call);
        Ok(())
    }
}

fn open(id: CallId, admitted: &Admitted, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let call = Call::new(admitted, record, world);
    draft.put_new(tenant_key(call.tenant).u128(id.0), &());
    draft.put_new(key_key(call.key).u128(id.0), &());
    draft.put_new(call_key(id), &call);
    Ok(())
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
            let Some((key, row)) = draft.first(&call_key(self.first).bytes(), &Key::of(b'c').end())? else { return Ok(()) };
            let (Some(id), call) = (query::id_of(&key), events::codec::decode::<Call>(&row)?) else { return Ok(()) };
            self.first = id;
            if call.at >= limit {
                self.look_again = call.at.plus(limits::CALLS_KEPT).plus(Duration::from_micros(1));
                return Ok(());
            }
            for key in [call_key(id), tenant_key(call.tenant).u128(id.0), key_key(call.key).u128(id.0)] {
                draft.remove(&key);
            }
        }
        Ok(())
    }
}
