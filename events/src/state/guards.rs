//! What must hold for a transaction to be taken. Decisions may be wrong or stale: these are not.

use super::State;
use crate::{
    Amount, Boot, BudgetId, CallId, Event, Figures, KeyId, NodeId, Owner, TenantId, Timestamp, call,
    call::Claim,
    limits,
    transaction::{Guard, Outcome, Transaction},
};
use std::sync::Arc;

/// The node and the boot of the session that a group came in; None for a keeper's.
type Session = Option<(NodeId, Boot)>;

impl State {
    pub(super) fn check(&self, transaction: &Transaction, events: &[Arc<Event>], session: Session) -> Outcome {
        let guards = transaction.guards.iter().map(|guard| self.guard(guard, events));
        let events = events.iter().enumerate().map(|(at, event)| self.possible(event, &events[..at], session));
        guards.chain(events).find(|outcome| *outcome != Outcome::Taken).unwrap_or(Outcome::Taken)
    }

    fn guard(&self, guard: &Guard, events: &[Arc<Event>]) -> Outcome {
        match guard {
            Guard::Version(stream, version) => taken_if(self.version(*stream) == *version, Outcome::Conflict),
            Guard::Current { key, policy } => taken_if(self.is_current(*key, *policy), Outcome::Stale),
            Guard::Fits => self.fit(events),
            Guard::Unclaimed => taken_if((0..events.len()).all(|at| self.is_unclaimed(&events[at], &events[..at])), Outcome::Claimed),
            Guard::HoldOpen(call) => taken_if(self.books.open.contains(call), Outcome::NotOpen),
        }
    }

    /// Nothing that binds calls with this key has changed after the position.
    fn is_current(&self, key_id: KeyId, policy: u64) -> bool {
        let Some(key) = self.books.keys.get(&key_id).filter(|key| key.is_live()) else { return false };
        let owners = [Owner::Platform, Owner::Tenant(key.tenant), Owner::Key(key_id)];
        owners.iter().all(|owner| self.books.changed.get(owner).is_none_or(|changed| *changed <= policy))
    }

    /// What the events add to holds fits into every hard budget, all together.
    fn fit(&self, events: &[Arc<Event>]) -> Outcome {
        let mut added = Vec::new();
        events.iter().map(|event| self.fits(event, &mut added)).find(|outcome| *outcome != Outcome::Taken).unwrap_or(Outcome::Taken)
    }

    /// What one event adds fits beside what those before it `added`. The first level that fails is named: the path goes from near to far.
    fn fits(&self, event: &Event, added: &mut Vec<(BudgetId, Timestamp, Amount)>) -> Outcome {
        match event {
            Event::Call(_, call::Event::Admitted(admitted)) => {
                let adds = admitted
                    .budgets
                    .iter()
                    .map(|id| (*id, self.books.budgets.get(id).map_or(0, |budget| admitted.ceiling.of(budget.identity.unit))));
                self.all_fit(adds, self.desk.time(), added)
            }
            Event::Call(id, call::Event::Extended(extended)) => match self.books.open.get(id) {
                Some(open) => self.all_fit(extended.adds.iter().copied(), open.at, added),
                None => Outcome::NotOpen,
            },
            _ => Outcome::Taken,
        }
    }

    fn all_fit(
        &self,
        adds: impl Iterator<Item = (BudgetId, Amount)>,
        at: Timestamp,
        added: &mut Vec<(BudgetId, Timestamp, Amount)>,
    ) -> Outcome {
        for (level, (id, amount)) in adds.enumerate() {
            let Some(budget) = self.books.budgets.get(&id).filter(|budget| budget.made && !budget.closed) else { return Outcome::Stale };
            let (start, window) = self.figures(id, at).expect("the budget was just found");
            let before = added
                .iter()
                .filter(|(other, opened, _)| (*other, *opened) == (id, start))
                .fold(0, |sum: Amount, (.., add)| sum.saturating_add(*add));
            let settled = window.settled.saturating_add(before).saturating_add(amount);
            if budget.terms.hard && settled.saturating_add(window.held) > budget.terms.limit {
                let level = u8::try_from(level).unwrap_or(u8::MAX);
                return if settled > budget.terms.limit { Outcome::Exceeded(level) } else { Outcome::Held(level) };
            }
            added.push((id, start, amount));
        }
        Outcome::Taken
    }

    /// Neither a call of the books nor one of the same transaction `before` it has the claim of an admission.
    fn is_unclaimed(&self, event: &Event, before: &[Arc<Event>]) -> bool {
        let Some((tenant, key)) = self.claimed_by(event) else { return true };
        let fresh_after = self.desk.time().minus(limits::CLAIM_KEPT);
        let held = self.books.claims.get(&(tenant, key)).is_some_and(|claim| claim.at >= fresh_after);
        !held && !before.iter().any(|other| self.claimed_by(other) == Some((tenant, key)))
    }

    fn claimed_by(&self, event: &Event) -> Option<(TenantId, [u8; 16])> {
        let Event::Call(_, call::Event::Admitted(admitted)) = event else { return None };
        let Claim { key, .. } = admitted.claim?;
        Some((self.tenant_of(event)?, key))
    }

    /// What no proposer may get wrong, whatever guards it names.
    fn possible(&self, event: &Event, before: &[Arc<Event>], session: Session) -> Outcome {
        let Event::Call(id, event) = event else { return Outcome::Taken };
        let mut earlier = before.iter().map(|event| &**event).filter_map(|event| match event {
            Event::Call(other, event) if other == id => Some(event),
            _ => None,
        });
        if let Some(first) = earlier.next() {
            // a cache hit is admitted and finished at once, and a record may say before it what was lost; more than that of one call in
            // one transaction nobody has to say
            let at_once = matches!(
                (first, event),
                (call::Event::Admitted(_), call::Event::Finished(_) | call::Event::Released { .. })
                    | (call::Event::Translated(_), call::Event::Finished(_))
            );
            return taken_if(at_once && earlier.next().is_none(), Outcome::Conflict);
        }
        match event {
            call::Event::Admitted(admitted) if session != Some((admitted.node, admitted.boot)) => Outcome::Conflict,
            call::Event::Admitted(admitted) if !self.can_hold(&admitted.ceiling, admitted.budgets.iter()) => Outcome::Conflict,
            // its record would count there twice
            call::Event::Admitted(admitted) if names_one_twice(&admitted.budgets) => Outcome::Conflict,
            call::Event::Admitted(_) => taken_if(!self.books.open.contains(id) && !self.books.orphans.contains(id), Outcome::Duplicate),
            call::Event::Extended(_) if !self.books.open.contains(id) => Outcome::NotOpen,
            call::Event::Extended(extended) => {
                let sane = extended.adds.iter().all(|(_, amount)| (0..=limits::MONEY_PICO_MAX).contains(amount));
                taken_if(sane && self.can_hold(&extended.ceiling, extended.adds.iter().map(|(id, _)| id)), Outcome::Conflict)
            }
            call::Event::Translated(translated) if translated.losses.len() > limits::LOSSES_RECORDED_MAX => Outcome::Conflict,
            call::Event::Translated(_) | call::Event::Finished(_) | call::Event::Released { .. } => {
                taken_if(self.may_record(*id, session), Outcome::Duplicate)
            }
            call::Event::Orphaned(_) => taken_if(self.session_ended(*id), Outcome::NotOpen),
            // what is not closed has no figure to be corrected
            call::Event::Adjusted(adjusted) => {
                let known = adjusted.deltas.iter().all(|(budget, _)| self.books.budgets.contains(budget));
                taken_if(known && !self.books.open.contains(id), Outcome::Conflict)
            }
        }
    }

    /// Figures that can be held: not negative, far from the end of the numbers, of a few budgets that exist.
    fn can_hold<'a>(&self, ceiling: &Figures, mut budgets: impl ExactSizeIterator<Item = &'a BudgetId>) -> bool {
        (0..=limits::MONEY_PICO_MAX).contains(&ceiling.cost.0)
            && ceiling.tokens <= limits::COUNT_MAX
            && ceiling.requests <= limits::COUNT_MAX
            && budgets.len() <= limits::PATH_MAX
            && budgets.all(|id| self.books.budgets.contains(id))
    }

    /// The call is open or an orphan that is still kept, and the record comes from its own node, from any session.
    fn may_record(&self, id: CallId, session: Session) -> bool {
        let kept_after = self.desk.time().minus(limits::ORPHAN_KEPT);
        let orphan = self.books.orphans.get(&id).filter(|orphan| orphan.orphaned_at >= kept_after);
        let open = self.books.open.get(&id).or_else(|| orphan.map(|orphan| &orphan.open));
        open.is_some_and(|open| session.is_none_or(|(node, _)| node == open.node))
    }

    fn session_ended(&self, id: CallId) -> bool {
        self.books.open.get(&id).is_some_and(|open| self.books.nodes.get(&open.node).is_none_or(|node| !node.holds(open.boot)))
    }
}

fn names_one_twice(budgets: &[BudgetId]) -> bool {
    budgets.iter().enumerate().any(|(at, budget)| budgets[..at].contains(budget))
}

fn taken_if(holds: bool, otherwise: Outcome) -> Outcome {
    if holds { Outcome::Taken } else { otherwise }
}
