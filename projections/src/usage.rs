//! What was used: sums by tenant, scope, key, user, model, provider and tag, in hours, days and months (UTC). A call counts in the hour of its
//! admission, as its budgets count it, with its record; an orphan at its ceiling, until a late record takes its place.
//!
//! Only hours are written as calls come. Once a day is over its hours are summed up, into the day and its month; what comes later for such
//! a day is written to all three. So a call costs one row of each table, and few of them where many calls share it.

mod query;
mod roll;
mod row;
#[cfg(test)]
mod tests;

pub use query::{Dimension, Filter, Group, Query, Range};
pub use row::{Dims, Grain, Sums, Tokens};

use crate::{Draft, Fault, Projection, World, draft::Pending};
use events::{
    CallId, Event, KeyId, ScopeId, TenantId, Timestamp, UserId,
    call::{self, Admitted, Finished},
    envelope::Recorded,
};
use row::Cut;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Calls without a final record.
const OPEN: u8 = b'o';

/// What must be known of a call when its record comes.
#[derive(Serialize, Deserialize)]
struct Open {
    at: Timestamp,
    tenant: TenantId,
    scope: Option<ScopeId>,
    key: KeyId,
    user: Option<UserId>,
    model: String,
    tags: Vec<String>,
    /// What it was counted with when its node was lost.
    orphaned: Option<Sums>,
}

impl Open {
    fn new(admitted: &Admitted, at: Timestamp, world: &World) -> Open {
        let Admitted { key, ref model, ref tags, .. } = *admitted;
        let (tenant, scope) = (world.tenant_of(key), world.scope_of(key));
        Open { at, tenant, scope, key, user: admitted.caller.user, model: model.clone(), tags: tags.clone(), orphaned: None }
    }

    fn dims(&self, provider: Option<events::ProviderId>) -> Dims {
        Dims { tag: None, user: self.user, scope: self.scope, key: Some(self.key), model: Some(self.model.clone()), provider }
    }
}

/// What a batch adds, by row; small beside the rows themselves.
pub(crate) struct Usage {
    open: Pending<Open>,
    added: BTreeMap<(Cut, TenantId, Timestamp, Dims), Sums>,
    /// The times of the first and the last record of the batch.
    first_at: Option<Timestamp>,
    last_at: Timestamp,
}

impl Default for Usage {
    fn default() -> Usage {
        Usage { open: Pending::new(OPEN), added: BTreeMap::new(), first_at: None, last_at: Timestamp(0) }
    }
}

impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn form(&self) -> u32 {
        3
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        self.first_at.get_or_insert(record.envelope.at);
        self.last_at = record.envelope.at;
        let Event::Call(id, event) = &*record.event else { return Ok(()) };
        match event {
            call::Event::Admitted(admitted) => {
                self.open.open(id.0, Open::new(admitted, record.envelope.at, world));
                Ok(())
            }
            call::Event::Finished(finished) => self.close(*id, &Sums::of(finished), used_provider(finished), draft),
            call::Event::Released { .. } => self.close(*id, &Sums { released: 1, ..Sums::default() }, None, draft),
            call::Event::Orphaned(orphaned) => self.orphan(*id, &Sums::of_orphan(orphaned), draft),
            call::Event::Adjusted(adjusted) => self.adjust(*id, adjusted, world, draft),
            call::Event::Extended(_) | call::Event::Translated(_) => Ok(()),
        }
    }

    fn flush(&mut self, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(first_at) = self.first_at.take() else { return Ok(()) };
        self.open.flush(draft);
        let rolled = roll::rolled(draft)?.unwrap_or(Grain::Day.start(first_at));
        for ((cut, tenant, hour, dims), sums) in std::mem::take(&mut self.added) {
            let grains = if hour < rolled { &Grain::ALL[..] } else { &[Grain::Hour] };
            for grain in grains {
                roll::add(row::key(cut, *grain, tenant, grain.start(hour), &dims), &sums, draft)?;
            }
        }
        roll::roll(rolled, Grain::Day.start(self.last_at), world, draft)
    }
}

fn used_provider(finished: &Finished) -> Option<events::ProviderId> {
    finished.attempts.last().map(|attempt| attempt.provider)
}

impl Usage {
    /// A record; that of an orphan takes the place of its charge.
    fn close(&mut self, id: CallId, sums: &Sums, provider: Option<events::ProviderId>, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(open) = self.open.take(id.0, draft)? else { return Ok(()) };
        if let Some(charged) = &open.orphaned {
            self.add(&open, None, &charged.negative());
        }
        self.add(&open, provider, sums);
        Ok(())
    }

    fn orphan(&mut self, id: CallId, sums: &Sums, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(mut open) = self.open.take(id.0, draft)? else { return Ok(()) };
        self.add(&open, None, sums);
        open.orphaned = Some(*sums);
        self.open.keep(id.0, &open, draft);
        Ok(())
    }

    /// A correction counts where its call was admitted. Of a closed call only the key is known here, not the model.
    fn adjust(&mut self, id: CallId, adjusted: &call::Adjusted, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let sums = Sums { cost: adjusted.delta, adjusted: adjusted.delta, ..Sums::default() };
        if let Some(mut open) = self.open.take(id.0, draft)? {
            self.add(&open, None, &sums);
            if let Some(charged) = &mut open.orphaned {
                charged.add(&sums);
            }
            self.open.keep(id.0, &open, draft);
            return Ok(());
        }
        let dims = Dims { scope: world.scope_of(adjusted.key), key: Some(adjusted.key), ..Dims::default() };
        self.add_row(adjusted.tenant, adjusted.admitted_at, &dims, &[], &sums);
        Ok(())
    }

    fn add(&mut self, open: &Open, provider: Option<events::ProviderId>, sums: &Sums) {
        self.add_row(open.tenant, open.at, &open.dims(provider), &open.tags, sums);
    }

    fn add_row(&mut self, tenant: TenantId, at: Timestamp, dims: &Dims, tags: &[String], sums: &Sums) {
        let hour = Grain::Hour.start(at);
        for cut in Cut::WHOLE.into_iter().chain(dims.user.map(|_| Cut::User)) {
            self.added.entry((cut, tenant, hour, cut.of(dims))).or_default().add(sums);
        }
        for tag in tags {
            let dims = Dims { tag: Some(tag.clone()), ..dims.clone() };
            self.added.entry((Cut::Tagged, tenant, hour, dims)).or_default().add(sums);
        }
    }
}
