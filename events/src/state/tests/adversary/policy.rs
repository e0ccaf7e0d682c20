//! What administrators do meanwhile: limits, closed budgets, keys.

use super::*;
use crate::{Every, budget, key};

/// Of all units and windows; limits that a handful of calls fills.
const BUDGETS: [(u64, Owner, Unit, Every, u64, bool); 8] = [
    (10, Owner::Key(KEY), Unit::Usd, Every::Total, 90, true),
    (11, Owner::Scope(SCOPE), Unit::Usd, Every::Day, 30, true),
    (12, Owner::Tenant(TENANT), Unit::Tokens, Every::Hour, 25, true),
    (13, Owner::Tenant(TENANT), Unit::Requests, Every::Week, 20, true),
    (14, Owner::Platform, Unit::Usd, Every::Month, 200, true),
    (15, Owner::Scope(SCOPE), Unit::Tokens, Every::Total, 40, false),
    (16, Owner::Key(OTHER_KEY), Unit::Requests, Every::Hour, 4, true),
    (17, Owner::Platform, Unit::Tokens, Every::Day, 60, true),
];

impl Adversary {
    pub fn open_budgets(&mut self) {
        for (id, owner, unit, every, limit, hard) in BUDGETS {
            let limit = limit + self.dice.below(limit);
            self.world.open_budget(id, owner, unit, every, limit.into(), hard);
        }
    }

    /// Some of the budgets that cover a call with this key, near to far; rarely one that is closed.
    pub fn path(&mut self, key: KeyId) -> Vec<BudgetId> {
        let mut path = Vec::new();
        for (id, budget) in self.world.state.books.budgets.iter() {
            let covers = match budget.identity.owner {
                Owner::Key(other) => other == key,
                Owner::Platform | Owner::Scope(_) | Owner::Tenant(_) => true,
            };
            let chance = if budget.closed { 2 } else { 60 };
            if covers && self.dice.percent(chance) {
                path.push((budget.identity.owner, *id));
            }
        }
        // owners are in order from far to near
        path.sort_by(|one, other| other.cmp(one));
        path.into_iter().map(|(_, id)| id).take(limits::PATH_MAX).collect()
    }

    pub fn change_policy(&mut self) {
        match self.dice.below(100) {
            0..70 => self.change_budget(),
            70..80 => self.open_another(),
            _ => self.change_key(),
        }
    }

    fn change_budget(&mut self) {
        let ids: Vec<BudgetId> = self.world.state.books.budgets.iter().map(|(id, _)| *id).collect();
        let id = self.dice.pick(&ids);
        let budget = self.world.state.books.budgets.get(&id).expect("just listed").clone();
        let (what, event) = match self.dice.below(100) {
            _ if budget.closed => ("reopened", budget::Event::Reopened),
            0..60 => {
                let step = i128::from(self.dice.below(40)) - 20;
                ("limit", budget::Event::LimitSet { limit: (budget.terms.limit + step).max(0) })
            }
            60..75 => ("terms", budget::Event::TermsSet { hard: !budget.terms.hard, alert_at_ppm: vec![500_000] }),
            _ => ("closed", budget::Event::Closed),
        };
        self.world.keep(Event::Budget(id, event));
        self.see(what);
    }

    fn open_another(&mut self) {
        let owner = self.dice.pick(&[Owner::Platform, Owner::Tenant(TENANT), Owner::Scope(SCOPE), Owner::Key(KEY)]);
        let (unit, every) = (self.dice.pick(&[Unit::Usd, Unit::Tokens, Unit::Requests]), self.dice.pick(&Every::ALL));
        let identity = budget::Identity { owner, unit, every, only: budget::Filter::default() };
        if self.world.state.budget_id(&identity).is_none() {
            let (id, limit) = (self.world.state.books.head.next_id, 20 + self.dice.below(60));
            self.world.open_budget(id, owner, unit, every, limit.into(), true);
            self.see("opened");
        }
    }

    /// A revoked key is followed by a new one.
    fn change_key(&mut self) {
        let at = self.dice.below(self.keys.len() as u64) as usize;
        let id = self.keys[at];
        let key = self.world.state.books.keys.get(&id).expect("it was made").clone();
        let (what, event) = match self.dice.below(100) {
            _ if key.blocked => ("unblocked", key::Event::Unblocked),
            0..30 => ("blocked", key::Event::Blocked),
            30..70 => ("moved", key::Event::Moved { scope: if key.scope.is_some() { None } else { Some(SCOPE) } }),
            _ => ("revoked", key::Event::Revoked),
        };
        self.world.keep(Event::Key(id, event));
        self.see(what);
        if what == "revoked" {
            let next = KeyId(self.world.state.books.head.next_id);
            let settings =
                key::Settings { tenant: TENANT, scope: None, name: next.to_string(), models: None, rates: crate::Rates::default() };
            let secret = key::Secret { hash: key::KeyHash([next.0 as u8; 32]), hint: String::new() };
            self.world.keep(Event::Key(next, key::Event::Created { settings, secret }));
            self.keys[at] = next;
        }
    }
}
