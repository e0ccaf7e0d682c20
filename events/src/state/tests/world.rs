//! A small house for tests: one tenant, a scope, two keys, a node, and whatever budgets a test opens. After each group the oracle
//! looks at the books.

use super::{oracle::Oracle, replay::Rows};
use crate::{
    Aggregate as _, Amount, Boot, BudgetId, CallId, Every, Figures, KeyId, Money, NodeId, Owner, Rates, ScopeId, State, TenantId,
    Timestamp, Unit, budget,
    call::{self, Admitted, Caller, Event as Call, Extended, Finished, Orphaned, Unsent},
    envelope::{Principal, Recorded},
    event::Event,
    key, node, scope, tenant,
    transaction::{Group, GroupOutcome, Guard, Outcome, Proposal, Sequence, Transaction},
};
use std::time::Duration;

pub const TENANT: TenantId = TenantId(1);
pub const SCOPE: ScopeId = ScopeId(2);
pub const KEY: KeyId = KeyId(3);
pub const OTHER_KEY: KeyId = KeyId(4);
pub const NODE: NodeId = NodeId(7);
pub const OTHER_NODE: NodeId = NodeId(8);

pub struct World {
    pub state: State,
    pub history: Vec<Recorded>,
    pub now: Timestamp,
    pub oracle: Oracle,
    /// What a store would have.
    pub rows: Rows,
}

pub fn call_id(number: u128) -> CallId {
    CallId(number)
}

/// So many pico-dollars, as many tokens, one request.
pub fn figures(amount: u64) -> Figures {
    Figures { cost: Money(amount.into()), tokens: amount, requests: 1 }
}

pub fn transaction(guards: Vec<Guard>, events: Vec<Event>) -> Transaction {
    let events = events.into_iter().map(|event| Proposal::new(event, Principal::System, 0)).collect();
    Transaction { guards, events, notes: Vec::new() }
}

pub fn finished(key: KeyId, used: Figures) -> Finished {
    Finished {
        key,
        model: "fast".into(),
        outcome: call::Outcome::Ok,
        attempts: Vec::new(),
        usage: crate::Usage { output: used.tokens, ..crate::Usage::default() },
        used,
        apart: Vec::new(),
        charge: used.cost,
        overrun: Money::ZERO,
        uncertain: Money::ZERO,
        estimated: false,
        total_ms: 1,
        decision: call::Decision::default(),
    }
}

/// The record of a call that used so much.
pub fn record(call: CallId, used: u64) -> Transaction {
    transaction(vec![], vec![Event::Call(call, Call::Finished(Box::new(finished(KEY, figures(used)))))])
}

pub fn released(call: CallId) -> Transaction {
    transaction(vec![], vec![Event::Call(call, Call::Released { key: KEY, reason: Unsent::CallerGone })])
}

pub fn extended(call: CallId, adds: &[(BudgetId, Amount)]) -> Transaction {
    let ceiling = adds.iter().map(|(_, amount)| *amount).max().unwrap_or(0);
    let ceiling = Figures { cost: Money(ceiling), tokens: 0, requests: 0 };
    transaction(
        vec![Guard::HoldOpen(call), Guard::Fits],
        vec![Event::Call(call, Call::Extended(Extended { attempt: 2, adds: adds.to_vec(), ceiling }))],
    )
}

pub fn sequence(node: NodeId, boot: u64, lane: u16, seq: u64) -> Sequence {
    Sequence { node, boot: Boot(boot), lane, seq }
}

impl World {
    /// With the node's session 1 open.
    pub fn new() -> World {
        let now = Timestamp::parse("2026-11-22T13:45:00Z").unwrap();
        let mut world = World { state: State::default(), history: Vec::new(), now, oracle: Oracle::default(), rows: Rows::default() };
        world.keep(Event::Tenant(TENANT, tenant::Event::Created { name: "acme".into(), rates: Rates::default() }));
        let settings =
            scope::Settings { tenant: TENANT, parent: None, name: "search".into(), kind: "team".into(), rates: Rates::default() };
        world.keep(Event::Scope(SCOPE, scope::Event::Created(settings)));
        for (key, byte) in [(KEY, 1), (OTHER_KEY, 2)] {
            let settings =
                key::Settings { tenant: TENANT, scope: Some(SCOPE), name: key.to_string(), models: None, rates: Rates::default() };
            let secret = key::Secret { hash: key::KeyHash([byte; 32]), hint: "…".into() };
            world.keep(Event::Key(key, key::Event::Created { settings, secret }));
        }
        for node in [NODE, OTHER_NODE] {
            world.keep(Event::Node(node, node::Event::Joined));
        }
        world.start(NODE, 1);
        world
    }

    /// Takes a group and lets the oracle look.
    pub fn apply(&mut self, group: &Group) -> GroupOutcome {
        let before = self.history.len();
        let outcome = self.state.apply(group, self.now, &mut self.history).expect("our own events are known");
        self.oracle.look(&self.state, &self.history[before..]);
        self.rows.write(self.state.settle());
        outcome
    }

    /// The state once more, from its rows.
    pub fn loaded(&self) -> State {
        self.rows.load(self.state.position())
    }

    pub fn send(&mut self, sequence: Sequence, transactions: Vec<Transaction>) -> GroupOutcome {
        self.apply(&Group { sequence: Some(sequence), transactions: transactions.into_iter().map(Some).collect() })
    }

    /// The next group of a lane of a session, with one transaction.
    pub fn say_as(&mut self, node: NodeId, boot: u64, transaction: Transaction) -> Outcome {
        let mut sequence = sequence(node, boot, 0, 0);
        sequence.seq = self.state.desk.lane(&sequence).0 + 1;
        match self.send(sequence, vec![transaction]) {
            GroupOutcome::Done(outcomes) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    /// By the node's running session.
    pub fn say(&mut self, transaction: Transaction) -> Outcome {
        let boot = self.state.books.nodes.get(&NODE).unwrap().boot;
        self.say_as(NODE, boot.0, transaction)
    }

    /// A keeper's group of one event, guarded by its stream's version.
    pub fn keep(&mut self, event: Event) {
        let guard = Guard::Version(event.stream(), self.state.version(event.stream()));
        assert_eq!(self.keepers(transaction(vec![guard], vec![event])), Outcome::Taken);
    }

    pub fn keepers(&mut self, transaction: Transaction) -> Outcome {
        match self.apply(&Group { sequence: None, transactions: vec![Some(transaction)] }) {
            GroupOutcome::Done(outcomes) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    pub fn start(&mut self, node: NodeId, boot: u64) {
        self.keep(Event::Node(node, node::Event::Started { boot: Boot(boot), lanes: 2 }));
    }

    /// A hard budget in dollars, for all time.
    pub fn budget(&mut self, id: u64, owner: Owner, limit: Amount) -> BudgetId {
        self.open_budget(id, owner, Unit::Usd, Every::Total, limit, true)
    }

    pub fn open_budget(&mut self, id: u64, owner: Owner, unit: Unit, every: Every, limit: Amount, hard: bool) -> BudgetId {
        let identity = budget::Identity { owner, unit, every, only: budget::Filter::default() };
        let terms = budget::Terms { limit, hard, alert_at_ppm: Vec::new() };
        self.keep(Event::Budget(BudgetId(id), budget::Event::Opened { identity, terms }));
        BudgetId(id)
    }

    pub fn admission(&self, node: NodeId, boot: u64, ceiling: Figures, budgets: &[BudgetId]) -> Admitted {
        let budgets = budgets.to_vec();
        let policy = self.state.position();
        let (model, endpoint) = ("fast".into(), "chat".into());
        Admitted {
            node,
            boot: Boot(boot),
            key: KEY,
            policy,
            ceiling,
            budgets,
            claim: None,
            model,
            endpoint,
            stream: false,
            tags: Vec::new(),
            caller: Caller::default(),
        }
    }

    /// As the Scribe sends it, decided at this very position.
    pub fn admit_transaction(&self, call: CallId, admitted: Admitted) -> Transaction {
        let mut guards = vec![Guard::Current { key: admitted.key, policy: admitted.policy }, Guard::Fits];
        if admitted.claim.is_some() {
            guards.push(Guard::Unclaimed);
        }
        transaction(guards, vec![Event::Call(call, Call::Admitted(Box::new(admitted)))])
    }

    /// A call of the node's running session.
    pub fn admit(&mut self, call: CallId, ceiling: u64, budgets: &[BudgetId]) -> Outcome {
        let boot = self.state.books.nodes.get(&NODE).unwrap().boot.0;
        let transaction = self.admit_transaction(call, self.admission(NODE, boot, figures(ceiling), budgets));
        self.say(transaction)
    }

    /// What the node's keeper owes, done as it does it; how many orphans that gave.
    pub fn orphan(&mut self) -> usize {
        let before = self.state.books.orphans.len();
        for effect in self.state.books.nodes.get(&NODE).unwrap().owed(&self.state) {
            let node::Effect::Orphan(calls) = effect;
            let guards = calls.iter().map(|call| Guard::HoldOpen(*call)).collect();
            let orphaned = transaction(guards, calls.iter().map(|call| self.orphaned(*call)).collect());
            assert_eq!(self.keepers(orphaned), Outcome::Taken);
        }
        self.state.books.orphans.len() - before
    }

    pub fn orphaned(&self, call: CallId) -> Event {
        let open = self.state.books.open.get(&call).unwrap();
        let (node, boot, key, model, charged) = (open.node, open.boot, open.key, open.model.clone(), open.ceiling);
        Event::Call(call, Call::Orphaned(Orphaned { node, boot, key, model, charged }))
    }

    pub fn wait(&mut self, wait: Duration) {
        self.now = self.now.plus(wait);
    }

    /// Settled, held and overrun in the window of now.
    pub fn books(&self, budget: BudgetId) -> (Amount, Amount, Amount) {
        let (_, window) = self.state.figures(budget, self.now).unwrap();
        (window.settled, window.held, window.overrun)
    }
}
