//! Days that are over are summed up from their hours.

use super::row::{self, Cut, Dims, Grain, Sums};
use crate::{Draft, Fault, World, key::Key};
use events::{TenantId, Timestamp, codec};
use std::collections::BTreeMap;

/// Rows that are read at once.
const ROWS: usize = 10_000;

/// Where the time is kept, before which days are summed up.
pub(crate) fn rolled_key() -> Key {
    Key::of(b'm')
}

/// Days before this one are summed up; None: nothing was folded yet.
pub(crate) fn rolled(draft: &mut Draft<'_>) -> Result<Option<Timestamp>, Fault> {
    draft.get(&rolled_key())
}

/// Adds to a row.
pub(crate) fn add(key: Key, sums: &Sums, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut row: Sums = draft.get(&key)?.unwrap_or_default();
    row.add(sums);
    draft.put(key, &row);
    Ok(())
}

/// Sums up the days from one on and before another.
pub(crate) fn roll(from: Timestamp, before: Timestamp, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
    if from < before {
        for tenant in world.state.books.tenants.iter().map(|(id, _)| *id) {
            for cut in Cut::ALL {
                roll_table(cut, tenant, from, before, draft)?;
            }
        }
    }
    draft.put(rolled_key(), &before.max(from));
    Ok(())
}

fn roll_table(cut: Cut, tenant: TenantId, from: Timestamp, before: Timestamp, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let mut next = Some(row::at(cut, Grain::Hour, tenant, from).bytes());
    let end = row::at(cut, Grain::Hour, tenant, before).bytes();
    let mut days: BTreeMap<(Timestamp, Dims), Sums> = BTreeMap::new();
    while let Some(from) = next {
        let page = draft.page(&from, &end, ROWS)?;
        for (key, value) in &page.rows {
            let (start, dims) = row::read_key(key).ok_or_else(|| Fault("a row of usage has no key that can be read".into()))?;
            days.entry((Grain::Day.start(start), dims)).or_default().add(&codec::decode(value)?);
        }
        next = page.next;
        // rows come in the order of their hours: but for the last, the days are whole
        let last = days.last_key_value().map(|((day, _), _)| *day);
        let open = last.filter(|_| next.is_some()).map(|day| days.split_off(&(day, Dims::default())));
        for ((day, dims), sums) in std::mem::replace(&mut days, open.unwrap_or_default()) {
            for grain in [Grain::Day, Grain::Month] {
                add(row::key(cut, grain, tenant, grain.start(day), &dims), &sums, draft)?;
            }
        }
    }
    Ok(())
}
