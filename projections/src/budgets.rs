//! Budgets window by window, past ones too: a fold of its own of LEDGER §3–5, which tests hold against the state's.
//!
//! So that a call can be told what its budgets were like when it came, marks are left along the way: the history is cut into epochs, a window
//! is kept as it was before it first changes in an epoch, and at the beginning of each epoch the holds of open calls are. Marks are kept as long
//! as calls are.

#[cfg(test)]
mod tests;
mod then;

use crate::{
    Draft, Fault, Projection, Snapshot, World,
    draft::Pending,
    key::{Key, Parts},
};
use events::{
    Amount, BudgetId, CallId, Event, Figures, Timestamp,
    budget::{self, Budget},
    call::{self, Finished},
    codec,
    envelope::Recorded,
    limits,
};
use journal::Reader;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};
use store::rows::Order;

/// Events that are read at once.
const READ_EVENTS: usize = 10_000;

/// One budget in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub settled: Amount,
    pub held: Amount,
    pub overrun: Amount,
    /// Calls that hold.
    pub open_calls: i64,
    /// Orphans whose charge may still be replaced.
    pub orphans: i64,
    /// As of the last event that counted in it while it ran.
    pub limit: Amount,
    /// The highest threshold that was alerted in it, in millionths.
    pub alerted_ppm: Option<u32>,
    /// The last epoch that it changed in; 0: in none.
    epoch: u64,
}

impl Window {
    fn add(&mut self, other: &Window) {
        self.settled = self.settled.saturating_add(other.settled);
        self.held = self.held.saturating_add(other.held);
        self.overrun = self.overrun.saturating_add(other.overrun);
        self.open_calls = self.open_calls.saturating_add(other.open_calls);
        self.orphans = self.orphans.saturating_add(other.orphans);
        self.alerted_ppm = self.alerted_ppm.max(other.alerted_ppm);
        self.epoch = self.epoch.max(other.epoch);
    }
}

/// The table of [`Hold`]s.
const HOLDS: u8 = b'o';
/// Orphans by the time that they became ones.
const ORPHANS: u8 = b't';

/// What a call without a final record holds, or was charged.
#[derive(Clone, Serialize, Deserialize)]
struct Hold {
    at: Timestamp,
    amounts: Vec<(BudgetId, Amount)>,
    /// When.
    orphaned: Option<Timestamp>,
}

/// What a batch adds, by window.
pub(crate) struct Budgets {
    holds: Pending<Hold>,
    added: BTreeMap<(BudgetId, Timestamp), Window>,
    marks: BTreeMap<(BudgetId, Timestamp), Marks>,
    /// Limits of windows that changed while they ran.
    limits: BTreeMap<(BudgetId, Timestamp), Amount>,
    epoch: u64,
    /// The time of the last event.
    now: Timestamp,
    /// No orphan stays for good before this time.
    look_again: Timestamp,
    /// Something came of a call whose hold is not known.
    has_missed: bool,
}

/// Of one window.
struct Marks {
    /// What the batch had added to it before it first changed in an epoch.
    added: Vec<(u64, Window)>,
    /// Once this window is there, nobody asks for those of the same budget that begin before this time.
    forgotten: Timestamp,
}

pub use then::windows_then;

fn windows_of(budget: BudgetId) -> Key {
    Key::of(b'b').u64(budget.0)
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets {
            holds: Pending::new(HOLDS),
            added: BTreeMap::new(),
            marks: BTreeMap::new(),
            limits: BTreeMap::new(),
            epoch: 0,
            now: Timestamp(0),
            look_again: Timestamp(0),
            has_missed: false,
        }
    }
}

impl Projection for Budgets {
    fn name(&self) -> &'static str {
        "budgets"
    }

    fn form(&self) -> u32 {
        3
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        (self.epoch, self.now) = (then::epoch(record.envelope.n), record.envelope.at);
        if then::begins_epoch(record.envelope.n) {
            self.holds.flush(draft);
            then::keep_holds(self.epoch, self.now, draft)?;
            then::forget_holds(self.now, draft)?;
        }
        self.expire_orphans(world, draft)?;
        match &*record.event {
            Event::Call(id, event) => self.call(*id, event, record.envelope.at, world, draft),
            Event::Budget(id, budget::Event::Alerted { window, threshold_ppm }) => {
                self.change(*id, *window, world, |window| window.alerted_ppm = Some(*threshold_ppm));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn flush(&mut self, _world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        self.holds.flush(draft);
        for ((budget, start), added) in std::mem::take(&mut self.added) {
            let key = windows_of(budget).u64(start.0);
            let before: Option<Window> = draft.get(&key)?;
            let mut window = before.unwrap_or_default();
            if let Some(marks) = self.marks.remove(&(budget, start)) {
                then::keep_marks(budget, start, &window, &marks.added, draft);
                if before.is_none() {
                    then::forget_marks(budget, marks.forgotten, draft)?;
                }
            }
            window.add(&added);
            window.limit = self.limits.remove(&(budget, start)).unwrap_or(window.limit);
            draft.put(key, &window);
        }
        Ok(())
    }
}

fn find(world: &World, id: BudgetId) -> Option<&Budget> {
    world.state.books.budgets.get(&id)
}

fn orphan_key(orphaned: Timestamp, id: CallId) -> Key {
    Key::of(ORPHANS).u64(orphaned.0).u128(id.0)
}

fn orphan_of(key: &[u8]) -> Option<(Timestamp, CallId)> {
    let mut parts = Parts(key);
    let _table = parts.u8()?;
    Some((Timestamp(parts.u64()?), CallId(parts.u128()?)))
}

/// The first moment at which an orphan cannot be replaced any more.
fn end_of_orphan(orphaned: Timestamp) -> Timestamp {
    orphaned.plus(limits::ORPHAN_KEPT).plus(Duration::from_micros(1))
}

/// A figure in a budget's unit; nothing, if nobody knows the budget.
fn in_unit(world: &World, id: BudgetId, figures: &Figures) -> Amount {
    find(world, id).map_or(0, |budget| figures.of(budget.identity.unit))
}

fn used(world: &World, finished: Option<&Finished>, budget: BudgetId) -> Amount {
    let Some(finished) = finished else { return 0 };
    let apart = finished.apart.iter().find(|(apart, _)| *apart == budget);
    in_unit(world, budget, apart.map_or(&finished.used, |(_, figures)| figures))
}

impl Budgets {
    fn call(&mut self, id: CallId, event: &call::Event, at: Timestamp, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        match event {
            call::Event::Admitted(admitted) => {
                let amounts = admitted.budgets.iter().map(|budget| (*budget, in_unit(world, *budget, &admitted.ceiling))).collect();
                let hold = Hold { at, amounts, orphaned: None };
                for (budget, amount) in &hold.amounts {
                    self.hold(*budget, at, *amount, 1, world);
                }
                self.holds.open(id.0, hold);
            }
            call::Event::Extended(extended) => self.extend(id, &extended.adds, world, draft)?,
            call::Event::Finished(finished) => self.close(id, Some(finished), world, draft)?,
            call::Event::Released { .. } => self.close(id, None, world, draft)?,
            call::Event::Orphaned(_) => self.orphan(id, world, draft)?,
            call::Event::Adjusted(adjusted) => self.adjust(id, adjusted, world, draft)?,
            call::Event::Translated(_) => {}
        }
        Ok(())
    }

    fn change(&mut self, id: BudgetId, at: Timestamp, world: &World, change: impl FnOnce(&mut Window)) {
        let Some(budget) = find(world, id) else { return };
        let every = budget.identity.every;
        let place = (id, every.window(at));
        let window = self.added.entry(place).or_default();
        if window.epoch < self.epoch {
            let forgotten = || every.window(place.1.minus(limits::CALLS_KEPT));
            let marks = self.marks.entry(place).or_insert_with(|| Marks { added: Vec::new(), forgotten: forgotten() });
            if every.end(place.1).is_none_or(|end| end.plus(limits::CALLS_KEPT) > self.now) {
                marks.added.push((self.epoch, *window));
            }
            window.epoch = self.epoch;
        }
        change(window);
        if every.end(place.1).is_none_or(|end| end > self.now) {
            self.limits.insert(place, budget.terms.limit);
        }
    }

    fn hold(&mut self, budget: BudgetId, at: Timestamp, amount: Amount, calls: i64, world: &World) {
        self.change(budget, at, world, |window| {
            window.held = window.held.saturating_add(amount);
            window.open_calls += calls;
        });
    }

    fn take_hold(&mut self, id: CallId, draft: &mut Draft<'_>) -> Result<Option<Hold>, Fault> {
        let hold = self.holds.take(id.0, draft)?;
        self.has_missed |= hold.is_none();
        Ok(hold)
    }

    fn extend(&mut self, id: CallId, adds: &[(BudgetId, Amount)], world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(mut hold) = self.take_hold(id, draft)? else { return Ok(()) };
        for (budget, amount) in adds {
            let held = hold.amounts.iter_mut().find(|(held, _)| held == budget);
            self.hold(*budget, hold.at, *amount, i64::from(held.is_none()), world);
            match held {
                Some((_, held)) => *held = held.saturating_add(*amount),
                None => hold.amounts.push((*budget, *amount)),
            }
        }
        self.holds.keep(id.0, &hold, draft);
        Ok(())
    }

    fn close(&mut self, id: CallId, finished: Option<&Finished>, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(hold) = self.take_hold(id, draft)? else { return Ok(()) };
        if let Some(orphaned) = hold.orphaned {
            draft.remove(&orphan_key(orphaned, id));
        }
        for (budget, amount) in hold.amounts {
            let used = used(world, finished, budget);
            let over = used.saturating_sub(amount).max(0);
            self.change(budget, hold.at, world, |window| {
                window.overrun = window.overrun.saturating_add(over);
                if hold.orphaned.is_some() {
                    window.settled = window.settled.saturating_add(used.saturating_sub(amount));
                    window.orphans -= 1;
                } else {
                    window.settled = window.settled.saturating_add(used);
                    window.held = window.held.saturating_sub(amount);
                    window.open_calls -= 1;
                }
            });
        }
        Ok(())
    }

    fn orphan(&mut self, id: CallId, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        let Some(mut hold) = self.take_hold(id, draft)? else { return Ok(()) };
        for (budget, amount) in &hold.amounts {
            self.change(*budget, hold.at, world, |window| {
                window.held = window.held.saturating_sub(*amount);
                window.settled = window.settled.saturating_add(*amount);
                window.open_calls -= 1;
                window.orphans += 1;
            });
        }
        hold.orphaned = Some(self.now);
        draft.put(orphan_key(self.now, id), &());
        self.look_again = self.look_again.min(end_of_orphan(self.now));
        self.holds.keep(id.0, &hold, draft);
        Ok(())
    }

    /// What stayed an orphan for as long as it can be replaced stays one for good.
    fn expire_orphans(&mut self, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        while self.now >= self.look_again {
            let first = draft.first(&Key::of(ORPHANS).bytes(), &Key::of(ORPHANS).end())?;
            let Some((orphaned, id)) = first.as_ref().and_then(|(key, _)| orphan_of(key)) else {
                self.look_again = Timestamp(u64::MAX);
                return Ok(());
            };
            if end_of_orphan(orphaned) > self.now {
                self.look_again = end_of_orphan(orphaned);
                return Ok(());
            }
            draft.remove(&orphan_key(orphaned, id));
            if let Some(hold) = self.holds.take(id.0, draft)? {
                for (budget, _) in &hold.amounts {
                    self.change(*budget, hold.at, world, |window| window.orphans -= 1);
                }
            }
        }
        Ok(())
    }

    fn adjust(&mut self, id: CallId, adjusted: &call::Adjusted, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        for (budget, delta) in &adjusted.deltas {
            self.change(*budget, adjusted.admitted_at, world, |window| {
                window.settled = window.settled.saturating_add(*delta);
                window.overrun = window.overrun.saturating_add((*delta).max(0));
            });
        }
        let Some(mut hold) = self.take_hold(id, draft)? else { return Ok(()) };
        for (budget, delta) in &adjusted.deltas {
            if let Some((_, charged)) = hold.amounts.iter_mut().find(|(held, _)| held == budget) {
                *charged = charged.saturating_add(*delta);
            }
        }
        self.holds.keep(id.0, &hold, draft);
        Ok(())
    }
}

/// The window of a budget that begins at a time; None: nothing ever counted in it.
///
/// # Errors
/// Rows that cannot be read.
pub fn window(snapshot: &Snapshot<'_>, budget: BudgetId, start: Timestamp) -> Result<Option<Window>, Fault> {
    let row = snapshot.rows.get(&windows_of(budget).u64(start.0).bytes())?;
    Ok(row.map(|row| codec::decode(&row)).transpose()?)
}

/// Windows as of a position, which may be ahead of the rows: what is between them is folded on top. None: the rows are ahead of it.
///
/// # Errors
/// Rows or events that cannot be read.
pub fn windows_at(
    snapshot: &Snapshot<'_>,
    history: &dyn Reader,
    position: u64,
    wanted: &[(BudgetId, Timestamp)],
) -> Result<Option<BTreeMap<(BudgetId, Timestamp), Window>>, Fault> {
    let mut next = snapshot.next();
    if next > position {
        return Ok(None);
    }
    let (mut fold, mut world, mut draft) = (Budgets::default(), snapshot.world.clone(), Draft::new(snapshot.rows.again()?));
    while next < position {
        let records = history.read(next, usize::try_from(position - next).unwrap_or(usize::MAX).min(READ_EVENTS))?;
        if records.is_empty() {
            return Err(Fault(format!("event {next} is not in the history")));
        }
        for record in &records {
            fold.fold(record, &world, &mut draft)?;
            world.fold(record, &mut draft)?;
        }
        next += records.len() as u64;
    }
    fold.flush(&world, &mut draft)?;
    let mut windows = BTreeMap::new();
    for (budget, start) in wanted {
        windows.insert((*budget, *start), draft.get(&windows_of(*budget).u64(start.0))?.unwrap_or_default());
    }
    Ok(Some(windows))
}

/// Windows of a budget that begin before a time, the last first, at most so many.
///
/// # Errors
/// Rows that cannot be read.
pub fn windows(snapshot: &Snapshot<'_>, budget: BudgetId, before: Timestamp, limit: usize) -> Result<Vec<(Timestamp, Window)>, Fault> {
    let (from, before) = (windows_of(budget).bytes(), windows_of(budget).u64(before.0).bytes());
    let (mut found, mut read) = (Vec::new(), Ok(()));
    snapshot.rows.visit(&from, &before, Order::Descending, &mut |key, value| {
        let mut parts = Parts(key);
        let start = parts.u8().and(parts.u64()).and(parts.u64());
        match (start, codec::decode::<Window>(value)) {
            (Some(start), Ok(window)) => found.push((Timestamp(start), window)),
            (None, _) => read = Err(Fault("a window has no key that can be read".into())),
            (_, Err(error)) => read = Err(error.into()),
        }
        if found.len() < limit && read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    read.map(|()| found)
}
