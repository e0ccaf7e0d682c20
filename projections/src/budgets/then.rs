//! What windows were like at some position: marks that are left on the way, and the fold from a mark on.

use super::{Budgets, HOLDS, Hold, READ_EVENTS, Window, window, windows_at};
use crate::{Draft, Fault, Snapshot, World, key::Key};
use events::{BudgetId, Event, Timestamp, codec, limits};
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

/// What calls held at the beginning of an epoch, and when that was.
type Holds = (Timestamp, Vec<(u128, Hold)>);

/// Keeps what open calls hold at the beginning of an epoch. Orphans hold nothing.
pub(super) fn keep_holds(epoch: u64, now: Timestamp, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let (mut next, end) = (Some(Key::of(HOLDS).bytes()), Key::of(HOLDS).end());
    let mut holds: Vec<(u128, Hold)> = Vec::new();
    while let Some(from) = next {
        let page = draft.page(&from, &end, ROWS)?;
        for (key, row) in &page.rows {
            let number = key.last_chunk().copied().map(u128::from_be_bytes);
            let number = number.ok_or_else(|| Fault("a hold has no key that can be read".into()))?;
            let hold: Hold = codec::decode(row)?;
            holds.extend(Some((number, hold)).filter(|(_, hold)| hold.orphaned.is_none()));
        }
        next = page.next;
    }
    if !holds.is_empty() {
        draft.put(holds_key(epoch), &(now, holds));
    }
    Ok(())
}

/// Forgets what calls held in epochs from which no call is kept. More than one goes with each that comes.
pub(super) fn forget_holds(now: Timestamp, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let end = Key::of(b'e').end();
    for _ in 0..2 {
        let Some((key, _)) = draft.first(&holds_key(0).bytes(), &end)? else { return Ok(()) };
        let Some((_, next)) = draft.first(&[key.as_slice(), &[0]].concat(), &end)? else { return Ok(()) };
        let (end, _): Holds = codec::decode(&next)?;
        if end.plus(limits::CALLS_KEPT) > now {
            return Ok(());
        }
        draft.remove_raw(key);
    }
    Ok(())
}

/// Forgets the marks of a budget's windows that begin before a time.
pub(super) fn forget_marks(budget: BudgetId, before: Timestamp, draft: &mut Draft<'_>) -> Result<(), Fault> {
    let (from, end) = (mark_key(budget, Timestamp(0), 0).bytes(), mark_key(budget, before, 0).bytes());
    loop {
        let page = draft.page(&from, &end, ROWS)?;
        page.rows.into_keys().for_each(|key| draft.remove_raw(key));
        if page.next.is_none() {
            return Ok(());
        }
    }
}

/// Keeps a window as it was before it changed in each of the epochs of a batch; in the first of them it may have changed before.
pub(super) fn keep_marks(budget: BudgetId, start: Timestamp, row: &Window, marks: &[(u64, Window)], draft: &mut Draft<'_>) {
    for (epoch, added) in marks.iter().filter(|(epoch, _)| row.epoch < *epoch) {
        let mut window = *row;
        window.add(added);
        window.limit = 0; // the policy of then says it
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

/// Whether marks of a position may be gone.
fn is_forgotten(snapshot: &Snapshot<'_>, history: &dyn Reader, position: u64) -> Result<bool, Fault> {
    let time_of = |n: u64| -> Result<Option<Timestamp>, Fault> { Ok(history.read(n, 1)?.first().map(|record| record.envelope.at)) };
    let (then, last) = (time_of(position)?, time_of(snapshot.next().saturating_sub(1))?);
    Ok(then.zip(last).is_none_or(|(then, last)| then.plus(limits::CALLS_KEPT) <= last))
}

/// Windows as they were at a position, before its event. None: that is longer ago than marks are kept, or something came in between of a call
/// whose hold is not known any more.
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
    if is_forgotten(snapshot, history, position)? {
        return Ok(None);
    }
    let epoch = epoch(position);
    let mut next = (epoch - 1) * EPOCH_EVENTS;
    let (mut fold, mut draft) = (Budgets { epoch, ..Budgets::default() }, Draft::new(snapshot.rows.again()?));
    let (_, holds) = draft.get::<Holds>(&holds_key(epoch))?.unwrap_or_default();
    for (number, hold) in holds {
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
