//! Folding calls: what is held, what is settled, in the window of the admission (LEDGER §3–5).
//!
//! A fact cannot be refused, so its figures are added with saturation: a replica must not stop, and not wrap into free money, because
//! of one absurd number. Guards keep absurd numbers out of admissions, so sums stay twelve decimal places away from the ends of i128.

use super::{State, books::ClaimRow};
use crate::{
    Amount, BudgetId, CallId, Every, Figures, StreamId, TenantId, Timestamp,
    budget::Window,
    call::{Adjusted, Admitted, Event, Finished, Open, Orphan},
    limits,
};

impl State {
    pub(super) fn fold_call(&mut self, id: CallId, event: &Event, at: Timestamp) {
        match event {
            Event::Admitted(admitted) => self.admit(id, admitted, at),
            Event::Extended(extended) => self.extend(id, &extended.adds, &extended.ceiling, at),
            Event::Finished(finished) => self.close(id, Some(finished), at),
            Event::Released { .. } => self.close(id, None, at),
            Event::Orphaned(_) => self.orphan(id, at),
            Event::Adjusted(adjusted) => self.adjust(id, adjusted, at),
            Event::Translated(_) => self.count_event(id),
        }
    }

    pub(super) fn tenant_of_call(&self, id: CallId, event: &Event) -> Option<TenantId> {
        match event {
            Event::Admitted(admitted) => self.books.keys.get(&admitted.key).map(|key| key.tenant),
            Event::Adjusted(adjusted) => Some(adjusted.tenant),
            _ => self.books.open.get(&id).or_else(|| self.books.orphans.get(&id).map(|orphan| &orphan.open)).map(|open| open.tenant),
        }
    }

    fn admit(&mut self, id: CallId, admitted: &Admitted, at: Timestamp) {
        let tenant = self.books.keys.get(&admitted.key).map(|key| key.tenant).unwrap_or_default();
        let hold: Vec<(BudgetId, Amount)> = admitted.budgets.iter().map(|id| (*id, self.unit_of(*id, &admitted.ceiling))).collect();
        for (budget, amount) in &hold {
            self.change_window(*budget, at, at, |window| {
                window.held = window.held.saturating_add(*amount);
                window.open_calls = window.open_calls.saturating_add(1);
            });
        }
        if let Some(claim) = admitted.claim {
            self.forget_claims(tenant, at);
            self.forget_claim(tenant, claim.key);
            self.books.claims.insert((tenant, claim.key), ClaimRow { call: id, body: claim.body, at });
            self.books.claim_times.insert((tenant, at, claim.key));
        }
        let meter = self.books.meters.entry(admitted.key);
        meter.open = meter.open.saturating_add(1);
        let Admitted { node, boot, key, ceiling, claim, .. } = *admitted;
        self.books.open_times.insert((at, id));
        self.books.open.insert(id, Open { node, boot, tenant, key, at, ceiling, hold, claim, version: 1, model: admitted.model.clone() });
    }

    fn extend(&mut self, id: CallId, adds: &[(BudgetId, Amount)], ceiling: &Figures, at: Timestamp) {
        let Some(open) = self.books.open.get_mut(&id) else { return };
        open.version += 1;
        open.ceiling.cost += ceiling.cost;
        open.ceiling.tokens = open.ceiling.tokens.saturating_add(ceiling.tokens);
        let admitted_at = open.at;
        let mut holds = Vec::with_capacity(adds.len());
        for (budget, amount) in adds {
            let held = open.hold.iter_mut().find(|(held, _)| held == budget);
            holds.push((*budget, *amount, held.is_none()));
            match held {
                Some((_, held)) => *held = held.saturating_add(*amount),
                None => open.hold.push((*budget, *amount)),
            }
        }
        for (budget, amount, joins) in holds {
            self.change_window(budget, admitted_at, at, |window| {
                window.held = window.held.saturating_add(amount);
                window.open_calls = window.open_calls.saturating_add(u64::from(joins));
            });
        }
    }

    /// An event that changes nothing but the length of its stream.
    fn count_event(&mut self, id: CallId) {
        if let Some(open) = self.books.open.get_mut(&id) {
            open.version += 1;
        } else if let Some(orphan) = self.books.orphans.get_mut(&id) {
            orphan.open.version += 1;
        }
    }

    /// A record: `Finished`, or `Released` (None). It closes an open hold, or replaces an orphan's charge; else it is a duplicate.
    fn close(&mut self, id: CallId, finished: Option<&Finished>, at: Timestamp) {
        if let Some(open) = self.books.open.remove(&id) {
            self.books.open_times.remove(&(open.at, id));
            for (budget, held) in &open.hold {
                let used = self.used(finished, *budget);
                self.change_window(*budget, open.at, at, |window| {
                    window.held = window.held.saturating_sub(*held);
                    window.settled = window.settled.saturating_add(used);
                    window.overrun = window.overrun.saturating_add(used.saturating_sub(*held).max(0));
                    window.open_calls = window.open_calls.saturating_sub(1);
                });
                self.note_threshold(*budget, open.at);
            }
            let meter = self.books.meters.entry(open.key);
            meter.open = meter.open.saturating_sub(1);
            self.count(id, &open, finished);
        } else if let Some(orphan) = self.books.orphans.remove(&id) {
            self.books.orphan_times.remove(&(orphan.orphaned_at, id));
            for (budget, charged) in &orphan.open.hold {
                let used = self.used(finished, *budget);
                let change = used.saturating_sub(*charged);
                self.change_window(*budget, orphan.open.at, at, |window| {
                    window.settled = window.settled.saturating_add(change);
                    window.overrun = window.overrun.saturating_add(change.max(0));
                    window.orphans = window.orphans.saturating_sub(1);
                });
                self.note_threshold(*budget, orphan.open.at);
            }
            let meter = self.books.meters.entry(orphan.open.key);
            meter.orphaned = meter.orphaned.saturating_sub(1);
            meter.cost -= orphan.open.ceiling.cost;
            self.count(id, &orphan.open, finished);
        }
    }

    fn count(&mut self, id: CallId, open: &Open, finished: Option<&Finished>) {
        let meter = self.books.meters.entry(open.key);
        match finished {
            Some(finished) => {
                meter.finished = meter.finished.saturating_add(1);
                meter.usage = meter.usage.plus(&finished.usage);
                meter.cost += finished.used.cost;
                meter.uncertain += finished.uncertain;
            }
            None => meter.released = meter.released.saturating_add(1),
        }
        // the claim of a late `Released` may have expired and been taken by another call since
        let claim = open
            .claim
            .filter(|claim| finished.is_none() && self.books.claims.get(&(open.tenant, claim.key)).is_some_and(|row| row.call == id));
        if let Some(claim) = claim {
            self.forget_claim(open.tenant, claim.key);
        }
    }

    /// A correction. That of an orphan corrects its charge, which a late fact then replaces as a whole.
    fn adjust(&mut self, id: CallId, adjusted: &Adjusted, at: Timestamp) {
        for (budget, delta) in &adjusted.deltas {
            self.change_window(*budget, adjusted.admitted_at, at, |window| {
                window.settled = window.settled.saturating_add(*delta);
                window.overrun = window.overrun.saturating_add((*delta).max(0));
            });
            self.note_threshold(*budget, adjusted.admitted_at);
        }
        self.books.meters.entry(adjusted.key).cost += adjusted.delta;
        let Some(orphan) = self.books.orphans.get_mut(&id) else { return };
        orphan.open.version += 1;
        orphan.open.ceiling.cost += adjusted.delta;
        for (budget, delta) in &adjusted.deltas {
            if let Some((_, charged)) = orphan.open.hold.iter_mut().find(|(held, _)| held == budget) {
                *charged = charged.saturating_add(*delta);
            }
        }
    }

    /// What it holds becomes its charge.
    fn orphan(&mut self, id: CallId, at: Timestamp) {
        let Some(mut open) = self.books.open.remove(&id) else { return };
        self.books.open_times.remove(&(open.at, id));
        open.version += 1;
        for (budget, held) in &open.hold {
            self.change_window(*budget, open.at, at, |window| {
                window.held = window.held.saturating_sub(*held);
                window.settled = window.settled.saturating_add(*held);
                window.open_calls = window.open_calls.saturating_sub(1);
                window.orphans = window.orphans.saturating_add(1);
            });
            self.note_threshold(*budget, open.at);
        }
        let meter = self.books.meters.entry(open.key);
        meter.open = meter.open.saturating_sub(1);
        meter.orphaned = meter.orphaned.saturating_add(1);
        meter.cost += open.ceiling.cost;
        self.books.orphan_times.insert((at, id));
        self.books.orphans.insert(id, Orphan { open, orphaned_at: at });
    }

    /// What a budget counts of a record.
    fn used(&self, finished: Option<&Finished>, budget: BudgetId) -> Amount {
        let Some(finished) = finished else { return 0 };
        let figures = finished.apart.iter().find(|(apart, _)| *apart == budget).map_or(&finished.used, |(_, figures)| figures);
        self.unit_of(budget, figures)
    }

    fn unit_of(&self, budget: BudgetId, figures: &Figures) -> Amount {
        self.books.budgets.get(&budget).map_or(0, |budget| figures.of(budget.identity.unit))
    }

    /// Changes the window of `admitted_at`, and forgets past windows that nothing will count in any more.
    pub(super) fn change_window(&mut self, budget: BudgetId, admitted_at: Timestamp, now: Timestamp, change: impl FnOnce(&mut Window)) {
        let Some(every) = self.books.budgets.get(&budget).map(|budget| budget.identity.every) else { return };
        let (start, current) = (every.window(admitted_at), every.window(now));
        let window = self.books.windows.entry((budget, start));
        let opened = *window == Window::default();
        change(window);
        let window = *window;
        if start < current && self.is_over(every, start, &window) {
            self.books.windows.remove(&(budget, start));
        } else if opened && start == current {
            let past = self.books.windows.range((budget, Timestamp(0))..(budget, start));
            let over = past.filter(|((_, start), window)| self.is_over(every, *start, window));
            for key in over.map(|(key, _)| *key).collect::<Vec<_>>() {
                self.books.windows.remove(&key);
            }
        }
    }

    /// Nothing is held or orphaned in a past window, and no call is open that was admitted before its end: a further attempt of such a
    /// call may yet join this budget, in this window.
    fn is_over(&self, every: Every, start: Timestamp, window: &Window) -> bool {
        let idle = window.held == 0 && window.open_calls == 0 && window.orphans == 0;
        let oldest = self.books.open_times.first().map(|(at, _)| *at);
        idle && every.end(start).is_some_and(|end| oldest.is_none_or(|oldest| oldest >= end))
    }

    fn note_threshold(&mut self, id: BudgetId, admitted_at: Timestamp) {
        let Some(budget) = self.books.budgets.get(&id).filter(|budget| !budget.terms.alert_at_ppm.is_empty()) else { return };
        let start = budget.identity.every.window(admitted_at);
        if self.books.windows.get(&(id, start)).and_then(|window| budget.threshold_passed(start, window)).is_some() {
            self.due.push(StreamId::Budget(id));
        }
    }

    fn forget_claim(&mut self, tenant: TenantId, key: [u8; 16]) {
        if let Some(row) = self.books.claims.remove(&(tenant, key)) {
            self.books.claim_times.remove(&(tenant, row.at, key));
        }
    }

    /// Claims of a tenant that are too old or too many.
    fn forget_claims(&mut self, tenant: TenantId, at: Timestamp) {
        let limit = at.minus(limits::CLAIM_KEPT);
        let from = (tenant, Timestamp(0), [0; 16]);
        let to = (tenant, Timestamp(u64::MAX), [0xff; 16]);
        let mut count = self.books.claim_times.range(from..=to).count();
        while let Some(oldest) = self.books.claim_times.range(from..=to).next().copied() {
            if oldest.1 >= limit && count < limits::CLAIMS_MAX {
                return;
            }
            self.books.claim_times.remove(&oldest);
            self.books.claims.remove(&(tenant, oldest.2));
            count -= 1;
        }
    }
}
