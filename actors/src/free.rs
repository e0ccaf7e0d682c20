//! What is free in each budget's window of now, roughly and without asking: read by routers to size output limits, never to admit.

use dashmap::DashMap;
use events::{Amount, BudgetId, CallId, Event, State, budget, call};
use std::sync::atomic::{AtomicI64, Ordering};

/// Free figures by budget, in its unit, bounded by what 64 bits hold (9 million dollars in pico-dollars).
#[derive(Default)]
pub struct Board {
    free: DashMap<BudgetId, AtomicI64>,
    /// Budgets of open calls: the record that closes one does not name them.
    open: DashMap<CallId, Vec<BudgetId>>,
}

impl Board {
    /// What was free when the last event that touched the budget was applied; None for a budget never seen.
    pub fn free(&self, id: BudgetId) -> Option<Amount> {
        self.free.get(&id).map(|free| Amount::from(free.load(Ordering::Relaxed)))
    }

    /// Takes in all budgets.
    pub fn refresh_all(&self, state: &State) {
        for (id, _) in state.books.budgets.iter() {
            self.set(state, *id);
        }
    }

    /// Takes in what an event has touched; the state has it folded already.
    pub fn refresh(&self, state: &State, event: &Event) {
        match event {
            Event::Call(id, event) => self.refresh_call(state, *id, event),
            Event::Budget(id, event) if !matches!(event, budget::Event::Alerted { .. }) => self.set(state, *id),
            _ => {}
        }
    }

    fn refresh_call(&self, state: &State, id: CallId, event: &call::Event) {
        match event {
            call::Event::Admitted(admitted) => {
                admitted.budgets.iter().for_each(|budget| self.set(state, *budget));
                if !admitted.budgets.is_empty() {
                    self.open.insert(id, admitted.budgets.clone());
                }
            }
            call::Event::Extended(extended) => extended.adds.iter().for_each(|(budget, _)| self.set(state, *budget)),
            call::Event::Adjusted(adjusted) => adjusted.deltas.iter().for_each(|(budget, _)| self.set(state, *budget)),
            call::Event::Translated(_) => {}
            call::Event::Finished(_) | call::Event::Released { .. } | call::Event::Orphaned(_) => {
                let budgets = self.open.remove(&id).map(|(_, budgets)| budgets).unwrap_or_default();
                budgets.iter().for_each(|budget| self.set(state, *budget));
            }
        }
    }

    fn set(&self, state: &State, id: BudgetId) {
        let Some((limit, (_, window))) =
            state.books.budgets.get(&id).map(|budget| budget.terms.limit).zip(state.figures(id, state.desk.time()))
        else {
            return;
        };
        let free = (limit - window.settled - window.held).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        match self.free.get(&id) {
            Some(known) => known.store(free, Ordering::Relaxed),
            None => drop(self.free.insert(id, AtomicI64::new(free))),
        }
    }
}
