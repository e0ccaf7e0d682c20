//! Knows the history only, and says what the books must be: the promises P1, P2 and P3 after every group, and that nobody was let in
//! who must not be.

use crate::{
    Amount, BudgetId, CallId, Figures, KeyId, Owner, State, Timestamp,
    call::{Admitted, Event as Call},
    envelope::Recorded,
    event::Event,
    key, limits,
    transaction::Outcome,
};
use std::collections::{BTreeMap, BTreeSet};

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
    pub key: KeyId,
    pub at: Timestamp,
    /// In money: its ceiling while it is open or an orphan, then what was used; with corrections.
    cost: Amount,
    pub orphaned_at: Option<Timestamp>,
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
    /// The position behind the last change of what binds calls.
    binding: BTreeMap<Owner, u64>,
    /// Keys that are blocked or revoked.
    barred: BTreeSet<KeyId>,
    claims: BTreeMap<[u8; 16], (CallId, Timestamp)>,
    /// Admissions come without the guard of their claim.
    pub careless: bool,
}

impl Oracle {
    /// Takes in what was recorded and compares the books with it.
    pub fn look(&mut self, state: &State, records: &[Recorded]) {
        for record in records {
            match &*record.event {
                Event::Call(id, event) => self.hear(*id, event, record.envelope.at, state),
                event => self.bind(event, record.envelope.n + 1, state),
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
            self.may_enter(id, admitted, at, state);
            let holds = admitted.budgets.iter().map(|budget| (*budget, amount(*budget, &admitted.ceiling))).collect();
            let told = Told {
                status: Status::Open,
                key: admitted.key,
                at,
                cost: admitted.ceiling.cost.0,
                orphaned_at: None,
                holds,
                settled: BTreeMap::new(),
                overrun: BTreeMap::new(),
                kinds: vec!["admitted"],
                uncertain: 0,
            };
            assert!(self.calls.insert(id, told).is_none(), "P2: {id} was admitted twice");
            admitted.budgets.iter().for_each(|budget| self.has_room(id, *budget, state));
            return;
        }
        let told = self.calls.get_mut(&id).unwrap_or_else(|| panic!("P2: {id} was never admitted"));
        match event {
            Call::Admitted(_) => unreachable!("just handled"),
            Call::Extended(extended) => {
                assert_eq!(told.status, Status::Open, "P2: {id} was extended");
                told.cost += extended.ceiling.cost.0;
                extended.adds.iter().for_each(|(budget, add)| *told.holds.entry(*budget).or_default() += add);
                told.kinds.push("extended");
                extended.adds.iter().for_each(|(budget, _)| self.has_room(id, *budget, state));
            }
            Call::Finished(finished) => {
                let used = |budget: BudgetId| {
                    let apart = finished.apart.iter().find(|(other, _)| *other == budget);
                    amount(budget, apart.map_or(&finished.used, |(_, figures)| figures))
                };
                told.close(Status::Finished, used);
                (told.uncertain, told.cost) = (finished.uncertain.0, finished.used.cost.0);
            }
            Call::Translated(_) => assert!(matches!(told.status, Status::Open | Status::Orphaned), "P2: losses of {id} behind its record"),
            Call::Released { .. } => {
                told.close(Status::Released, |_| 0);
                told.cost = 0;
                self.claims.retain(|_, (claimer, _)| *claimer != id);
            }
            Call::Orphaned(_) => {
                assert_eq!(told.status, Status::Open, "P2: {id} became an orphan");
                (told.status, told.orphaned_at) = (Status::Orphaned, Some(at));
                told.kinds.push("orphaned");
            }
            Call::Adjusted(adjusted) => {
                told.cost += adjusted.delta.0;
                adjusted.deltas.iter().for_each(|(budget, delta)| told.adjust(*budget, *delta));
            }
        }
    }

    /// What happened to things that calls depend on.
    fn bind(&mut self, event: &Event, behind: u64, state: &State) {
        let owner = match event {
            Event::Tenant(id, _) => Owner::Tenant(*id),
            Event::Scope(id, _) => Owner::Tenant(state.books.scopes.get(id).expect("a scope that was named exists").tenant),
            Event::Key(id, event) => {
                match event {
                    key::Event::Blocked | key::Event::Revoked => drop(self.barred.insert(*id)),
                    key::Event::Unblocked => drop(self.barred.remove(id)),
                    _ => {}
                }
                Owner::Key(*id)
            }
            Event::Budget(_, crate::budget::Event::Alerted { .. }) => return,
            Event::Budget(id, _) => match state.books.budgets.get(id).expect("a budget that was named exists").identity.owner {
                Owner::Scope(scope) => Owner::Tenant(state.books.scopes.get(&scope).expect("a budget's scope exists").tenant),
                owner => owner,
            },
            _ => return,
        };
        self.binding.insert(owner, behind);
    }

    /// Of a running session, with a key that lets in, decided after all that binds it, and the only one with its claim.
    fn may_enter(&mut self, id: CallId, admitted: &Admitted, at: Timestamp, state: &State) {
        let session = state.books.nodes.get(&admitted.node).is_some_and(|node| node.live && node.boot == admitted.boot);
        assert!(session, "{id} was admitted in a session that has ended");
        assert!(!self.barred.contains(&admitted.key), "{id} was admitted with {} that lets nobody in", admitted.key);
        let tenant = state.books.keys.get(&admitted.key).expect("an admission's key exists").tenant;
        for owner in [Owner::Platform, Owner::Tenant(tenant), Owner::Key(admitted.key)] {
            let changed = self.binding.get(&owner).copied().unwrap_or(0);
            assert!(changed <= admitted.policy, "{id} was decided at {}, and {owner:?} changed at {changed}", admitted.policy);
        }
        let Some(claim) = admitted.claim else { return };
        if let Some((other, claimed_at)) = self.claims.insert(claim.key, (id, at)) {
            assert!(self.careless || claimed_at < at.minus(limits::CLAIM_KEPT), "{id} was admitted with the claim of {other}");
        }
    }

    /// P1: what has just been held is held by an open budget, and where that is hard it fits below the limit, overruns or not.
    fn has_room(&self, call: CallId, id: BudgetId, state: &State) {
        let budget = state.books.budgets.get(&id).expect("a budget of a path exists");
        assert!(!budget.closed, "{call} is held by {id}, which is closed");
        let sum = self.counted(id, self.calls[&call].at, state);
        assert!(!budget.terms.hard || sum <= budget.terms.limit, "P1: {call} brings {id} to {sum} of {}", budget.terms.limit);
    }

    /// A refusal has its reason: nobody is kept out for whom there is room.
    pub fn grants(&self, call: CallId, event: &Call, outcome: Outcome, state: &State) {
        let unit = |id: &BudgetId| state.books.budgets.get(id).expect("a budget of a path exists").identity.unit;
        let (at, adds): (Timestamp, Vec<(BudgetId, Amount)>) = match event {
            Call::Admitted(admitted) => {
                (state.desk.time(), admitted.budgets.iter().map(|id| (*id, admitted.ceiling.of(unit(id)))).collect())
            }
            Call::Extended(extended) => (self.calls.get(&call).map_or(state.desk.time(), |told| told.at), extended.adds.clone()),
            _ => return,
        };
        let closed = || adds.iter().any(|(id, _)| state.books.budgets.get(id).is_some_and(|budget| budget.closed));
        let is_right = match (outcome, event) {
            (Outcome::Held(level) | Outcome::Exceeded(level), _) => {
                let (id, amount) = adds[usize::from(level)];
                let terms = &state.books.budgets.get(&id).expect("just found").terms;
                terms.hard && self.counted(id, at, state) + amount > terms.limit
            }
            (Outcome::Stale, Call::Admitted(admitted)) => {
                let tenant = state.books.keys.get(&admitted.key).expect("an admission's key exists").tenant;
                let owners = [Owner::Platform, Owner::Tenant(tenant), Owner::Key(admitted.key)];
                let changed = owners.iter().any(|owner| self.binding.get(owner).is_some_and(|changed| *changed > admitted.policy));
                changed || closed() || self.barred.contains(&admitted.key)
            }
            (Outcome::Stale, _) => closed(),
            (Outcome::Claimed, Call::Admitted(admitted)) => {
                let claimed = admitted.claim.and_then(|claim| self.claims.get(&claim.key));
                claimed.is_some_and(|(_, claimed_at)| *claimed_at >= at.minus(limits::CLAIM_KEPT))
            }
            (Outcome::NotOpen, _) => self.calls.get(&call).is_none_or(|told| told.status != Status::Open),
            _ => true,
        };
        assert!(is_right, "{call} was refused for nothing: {outcome:?} {event:?}");
    }

    /// What a budget has settled and holds in the window of `at`.
    fn counted(&self, id: BudgetId, at: Timestamp, state: &State) -> Amount {
        let every = state.books.budgets.get(&id).expect("a budget of a path exists").identity.every;
        let start = every.window(at);
        let same = self.calls.values().filter(|told| every.window(told.at) == start);
        same.map(|told| told.held(id) + told.charged(id)).sum()
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
        self.compare_meters(state);
        self.compare_what_expires(state);
    }

    fn compare_meters(&self, state: &State) {
        let mut counts: BTreeMap<KeyId, [Amount; 5]> = BTreeMap::new();
        for told in self.calls.values() {
            let counts = counts.entry(told.key).or_default();
            counts[told.status as usize] += 1;
            counts[4] += if told.status == Status::Open { 0 } else { told.cost };
        }
        for (key, meter) in state.books.meters.iter() {
            let meter = [meter.open.into(), meter.orphaned.into(), meter.finished.into(), meter.released.into(), meter.cost.0];
            assert_eq!(meter, counts.remove(key).unwrap_or_default(), "open, orphaned, finished, released and cost of {key}");
        }
        assert_eq!(counts, BTreeMap::new(), "keys without a meter");
    }

    /// Orphans are kept for their time, claims for theirs, and each by the call that has it.
    fn compare_what_expires(&self, state: &State) {
        let time = state.desk.time();
        for (id, orphan) in state.books.orphans.iter() {
            assert!(orphan.orphaned_at >= time.minus(limits::ORPHAN_KEPT), "{id} is an orphan for too long");
        }
        for ((_, key), row) in state.books.claims.iter() {
            assert_eq!(self.claims.get(key), Some(&(row.call, row.at)), "a claim of a call that has none");
        }
        let fresh = self.claims.values().filter(|(_, at)| *at >= time.minus(limits::CLAIM_KEPT)).count();
        assert!(state.books.claims.len() >= fresh, "a claim is gone before its time");
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
    /// What is in force for a budget: its record's figure, or its orphan's charge.
    pub fn charged(&self, budget: BudgetId) -> Amount {
        let held = if self.status == Status::Orphaned { self.holds.get(&budget).copied().unwrap_or(0) } else { 0 };
        held + self.settled.get(&budget).copied().unwrap_or(0)
    }

    fn held(&self, budget: BudgetId) -> Amount {
        if self.status == Status::Open { self.holds.get(&budget).copied().unwrap_or(0) } else { 0 }
    }

    /// All budgets that have covered it.
    pub fn path(&self) -> Vec<BudgetId> {
        self.holds.keys().copied().collect()
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
