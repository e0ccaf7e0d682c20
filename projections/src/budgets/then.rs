//! What windows were like at some position: marks that are left on the way, and the fold from a mark on.

use super::{Budgets, HOLDS, Hold, READ_EVENTS, Window, window, windows_at};
use crate::{Draft, Fault, Snapshot, World, key::Key};
use events::{BudgetId, Event, Timestamp, codec};
use journal::Reader;
use std::{collections::BTreeMap, ops::ControlFlow};
use store::rows::Order;

/// So many events are one epoch: the more, the fewer marks are written, and the longer it takes to look back (some 9 µs an event).
const EPOCH_EVENTS: u64 = if cfg!(test) { 8 } else { 16_384 };
/// Rows that are read at once.
const ROWS: usize = 10_000;

/// The epoch of an event, counted from 1.
pub(super) fn epoch(n: u64) -> u64 {
    n / EPOCH_EVENTS + 1
}

pub(super) fn begins_epoch(n: u64) -> bool {
    n.is_multiple_of(EPOCH_EVENTS)
}

fn mark_key(budget: BudgetId, start: Timestamp, epoch: u64) -> Key {
    Key::of(b'm').u64(budget.0).u64(start.0).u64(epoch)
}

fn holds_key(epoch: u64) -> Key {
    Key::of(b'e').u64(epoch)
}

/// Keeps what open calls hold at the beginning of an epoch. Orphans hold nothing.
pub(super) fn keep_holds(epoch: u64, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let (mut next, end) = (Some(Key::of(HOLDS).bytes()), Key::of(HOLDS).end());
    let mut holds: Vec<(u128, Hold)> = Vec::new();
    while let Some(from) = next {
        let page = draft.page(&from, &end, ROWS)?;
        for (key, row) in &page.rows {
            let number = key.last_chunk().copied().map(u128::from_be_bytes);
            let number = number.ok_or_else(|| Fault("a hold has no key that can be read".into()))?;
            let hold: Hold = codec::decode(row)?;
            holds.extend(Some((number, hold)).filter(|(_, hold)| !hold.orphaned));
        }
        next = page.next;
    }
    if !holds.is_empty() {
        draft.put(holds_key(epoch), &holds);
    }
    Ok(())
}

/// Keeps a window as it was before it changed in each of the epochs of a batch; in the first of them it may have changed before.
pub(super) fn keep_marks(budget: BudgetId, start: Timestamp, row: &Window, marks: &[(u64, Window)], draft: &mut Draft<'_>) {
    for (epoch, added) in marks.iter().filter(|(epoch, _)| row.epoch < *epoch) {
        let mut window = *row;
        window.add(added);
        draft.put(mark_key(budget, start, *epoch), &window);
    }
}

/// A window as it was at the beginning of an epoch: before it first changed in that one or a later one.
fn at_beginning(snapshot: &Snapshot<'_>, budget: BudgetId, start: Timestamp, epoch: u64) -> Result<Window, Fault> {
    let (from, before) = (mark_key(budget, start, epoch).bytes(), mark_key(budget, start, u64::MAX).bytes());
    let mut found = None;
    snapshot.rows.visit(&from, &before, Order::Ascending, &mut |_, row| {
        found = Some(codec::decode(row));
        ControlFlow::Break(())
    })?;
    match found {
        Some(mark) => Ok(mark?),
        None => Ok(window(snapshot, budget, start)?.unwrap_or_default()),
    }
}

/// Windows as they were at a position, before its event. None: something came in between of a call whose hold is not known any more.
///
/// # Errors
/// Rows or events that cannot be read.
pub fn windows_then(
    snapshot: &Snapshot<'_>,
    history: &dyn Reader,
    position: u64,
    wanted: &[(BudgetId, Timestamp)],
) -> Result<Option<BTreeMap<(BudgetId, Timestamp), Window>>, Fault> {
    if let Some(windows) = windows_at(snapshot, history, position, wanted)? {
        return Ok(Some(windows));
    }
    let epoch = epoch(position);
    let mut next = (epoch - 1) * EPOCH_EVENTS;
    let (mut fold, mut draft) = (Budgets { epoch, ..Budgets::default() }, Draft::new(snapshot.rows.again()?));
    for (number, hold) in draft.get::<Vec<(u128, Hold)>>(&holds_key(epoch))?.unwrap_or_default() {
        fold.holds.open(number, hold);
    }
    let mut world = World::at(snapshot, next)?;
    while next < position {
        let records = history.read(next, usize::try_from(position - next).unwrap_or(usize::MAX).min(READ_EVENTS))?;
        if records.is_empty() {
            return Err(Fault(format!("event {next} is not in the history")));
        }
        for record in &records {
            if let Event::Call(id, event) = &*record.event {
                fold.call(*id, event, record.envelope.at, &world, &mut draft)?;
            }
            world.fold(record, &mut draft)?;
        }
        next += records.len() as u64;
    }
    let mut windows = BTreeMap::new();
    for place @ (budget, start) in wanted {
        let mut window = at_beginning(snapshot, *budget, *start, epoch)?;
        if let Some(added) = fold.added.get(place) {
            window.add(added);
        }
        windows.insert(*place, window);
    }
    Ok((!fold.has_missed).then_some(windows))
}
