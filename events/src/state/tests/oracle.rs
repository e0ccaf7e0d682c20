//! Knows the history only, and says what the books must be: the promises P1, P2 and P3 after every group.

use crate::{Amount, BudgetId, CallId, Figures, State, Timestamp, call::Event as Call, envelope::Recorded, event::Event};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Open,
    Orphaned,
    Finished,
    Released,
}

/// What the history says of one call.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: Status,
    at: Timestamp,
    /// Held by each budget; of an orphan what is charged.
    holds: BTreeMap<BudgetId, Amount>,
    /// Settled by its record, or by corrections.
    pub settled: BTreeMap<BudgetId, Amount>,
    overrun: BTreeMap<BudgetId, Amount>,
    /// Kinds of its events in order.
    pub kinds: Vec<&'static str>,
    pub uncertain: Amount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    settled: Amount,
    held: Amount,
    overrun: Amount,
    open_calls: u64,
    orphans: u64,
}

#[derive(Default)]
pub struct Oracle {
    pub calls: BTreeMap<CallId, Told>,
    /// Settled + held − overrun of each window as it was last seen.
    bound: BTreeMap<(BudgetId, Timestamp), Amount>,
}

impl Oracle {
    /// Takes in what was recorded and compares the books with it.
    pub fn look(&mut self, state: &State, records: &[Recorded]) {
        for record in records {
            if let Event::Call(id, event) = &*record.event {
                self.hear(*id, event, record.envelope.at, state);
            }
        }
        if !records.is_empty() {
            self.compare(state);
        }
    }

    fn hear(&mut self, id: CallId, event: &Call, at: Timestamp, state: &State) {
        let amount = |budget: BudgetId, figures: &Figures| {
            figures.of(state.books.budgets.get(&budget).expect("a budget of a path exists").identity.unit)
        };
        if let Call::Admitted(admitted) = event {
            let holds = admitted.budgets.iter().map(|budget| (*budget, amount(*budget, &admitted.ceiling))).collect();
            let told = Told {
                status: Status::Open,
                at,
                holds,
                settled: BTreeMap::new(),
                overrun: BTreeMap::new(),
                kinds: vec!["admitted"],
                uncertain: 0,
            };
            assert!(self.calls.insert(id, told).is_none(), "P2: {id} was admitted twice");
            assert!(state.books.keys.get(&admitted.key).is_some_and(|key| key.is_live()), "{id} was admitted by a key that lets nobody in");
            let open = |budget: &BudgetId| state.books.budgets.get(budget).is_some_and(|budget| !budget.closed);
            assert!(admitted.budgets.iter().all(open), "{id} holds what is closed");
            return;
        }
        let told = self.calls.get_mut(&id).unwrap_or_else(|| panic!("P2: {id} was never admitted"));
        match event {
            Call::Admitted(_) => unreachable!("just handled"),
            Call::Extended(extended) => {
                assert_eq!(told.status, Status::Open, "P2: {id} was extended");
                extended.adds.iter().for_each(|(budget, add)| *told.holds.entry(*budget).or_default() += add);
                told.kinds.push("extended");
            }
            Call::Finished(finished) => {
                let used = |budget: BudgetId| {
                    let apart = finished.apart.iter().find(|(other, _)| *other == budget);
                    amount(budget, apart.map_or(&finished.used, |(_, figures)| figures))
                };
                told.close(Status::Finished, used);
                told.uncertain = finished.uncertain.0;
            }
            Call::Released { .. } => told.close(Status::Released, |_| 0),
            Call::Orphaned(_) => {
                assert_eq!(told.status, Status::Open, "P2: {id} became an orphan");
                told.status = Status::Orphaned;
                told.kinds.push("orphaned");
            }
            Call::Adjusted(adjusted) => adjusted.deltas.iter().for_each(|(budget, delta)| told.adjust(*budget, *delta)),
        }
    }

    /// P3: every window that is kept has exactly what the history says; P1: none went up above its limit.
    fn compare(&mut self, state: &State) {
        let sums = self.sums(state);
        for (key @ (id, start), window) in state.books.windows.iter() {
            let told = sums.get(key).copied().unwrap_or_default();
            let kept = Sums {
                settled: window.settled,
                held: window.held,
                overrun: window.overrun,
                open_calls: window.open_calls,
                orphans: window.orphans,
            };
            assert_eq!(kept, told, "P3: {id} in the window of {start}");
            let budget = state.books.budgets.get(id).expect("a window's budget exists");
            let (bound, before) = (kept.settled + kept.held - kept.overrun, self.bound.get(key).copied().unwrap_or(0));
            assert!(
                !budget.terms.hard || bound <= budget.terms.limit.max(before),
                "P1: {id} {kept:?}, limit {}, before {before}",
                budget.terms.limit
            );
            self.bound.insert(*key, bound);
        }
        for (key, told) in &sums {
            let idle = told.held == 0 && told.open_calls == 0 && told.orphans == 0;
            assert!(idle || state.books.windows.contains(key), "P3: a window of {} with open calls is gone", key.0);
        }
        let open = self.calls.values().filter(|told| told.status == Status::Open).count();
        assert_eq!(state.books.open.len(), open, "P2: open calls");
    }

    fn sums(&self, state: &State) -> BTreeMap<(BudgetId, Timestamp), Sums> {
        let mut sums: BTreeMap<(BudgetId, Timestamp), Sums> = BTreeMap::new();
        for (id, told) in &self.calls {
            let window = |budget: &BudgetId| (*budget, state.books.budgets.get(budget).expect("known").identity.every.window(told.at));
            // an orphan that is kept no more stays charged, but is counted no more
            let counts = state.books.orphans.contains(id);
            for (budget, held) in &told.holds {
                let sum = sums.entry(window(budget)).or_default();
                match told.status {
                    Status::Open => {
                        sum.held += held;
                        sum.open_calls += 1;
                    }
                    Status::Orphaned => {
                        sum.settled += held;
                        sum.orphans += u64::from(counts);
                    }
                    Status::Finished | Status::Released => {}
                }
            }
            told.settled.iter().for_each(|(budget, settled)| sums.entry(window(budget)).or_default().settled += settled);
            told.overrun.iter().for_each(|(budget, overrun)| sums.entry(window(budget)).or_default().overrun += overrun);
        }
        sums
    }
}

impl Told {
    /// Budgets that have covered it.
    pub fn covered(&self) -> Vec<BudgetId> {
        self.holds.keys().copied().collect()
    }

    /// When it was admitted.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    fn close(&mut self, status: Status, used: impl Fn(BudgetId) -> Amount) {
        assert!(matches!(self.status, Status::Open | Status::Orphaned), "P2: a second record, after {:?}", self.kinds);
        self.status = status;
        self.kinds.push(if status == Status::Finished { "finished" } else { "released" });
        for (budget, held) in &self.holds {
            let used = used(*budget);
            *self.settled.entry(*budget).or_default() += used;
            *self.overrun.entry(*budget).or_default() += (used - held).max(0);
        }
    }

    fn adjust(&mut self, budget: BudgetId, delta: Amount) {
        assert_ne!(self.status, Status::Open, "an open call has nothing to correct");
        match self.holds.get_mut(&budget).filter(|_| self.status == Status::Orphaned) {
            Some(charged) => *charged += delta,
            None => *self.settled.entry(budget).or_default() += delta,
        }
        *self.overrun.entry(budget).or_default() += delta.max(0);
        if self.kinds.last() != Some(&"adjusted") {
            self.kinds.push("adjusted");
        }
    }
}
