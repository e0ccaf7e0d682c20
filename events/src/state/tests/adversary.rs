//! An adversary: two nodes with two lanes each, groups that are lost, late, repeated and sent again, sessions that end in the middle,
//! limits that are lowered, keys that are moved and blocked, providers that bill too much, clocks that step. The oracle looks after
//! every group; at the end of each run a replay and the stored rows must give the same state.

use super::{oracle::Status, replay::assert_replays, world::*};
use crate::{
    Aggregate as _, Amount, Boot, BudgetId, CallId, Event, Every, KeyId, NodeId, Owner, Timestamp, Unit, budget,
    call::{self, Adjusted, Claim},
    key, node,
    transaction::{Group, GroupOutcome, Guard, Outcome, Sequence, Transaction},
};
use std::time::Duration;

/// Runs; each planted mistake that was tried is found within them.
const SEEDS: u64 = 1_500;
const MOVES: usize = 140;
const NODES: [NodeId; 2] = [NODE, OTHER_NODE];

/// xorshift64*: the same run for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
    }
}

/// A Scribe: its session, and the group that it has not seen answered.
struct Scribe {
    node: NodeId,
    lane: u16,
    boot: u64,
    seq: u64,
    unanswered: Option<(Group, Option<GroupOutcome>)>,
    /// Groups of before, which the network may bring again.
    old: Vec<Group>,
}

struct Run {
    world: World,
    chance: Chance,
    scribes: Vec<Scribe>,
    budgets: Vec<BudgetId>,
    calls: Vec<CallId>,
    next_call: u128,
    next_boot: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut world = World::new();
        world.start(OTHER_NODE, 2);
        let owners = [Owner::Key(KEY), Owner::Scope(SCOPE), Owner::Tenant(TENANT), Owner::Platform, Owner::Key(OTHER_KEY)];
        let kinds = [
            (Unit::Usd, Every::Total),
            (Unit::Tokens, Every::Day),
            (Unit::Requests, Every::Hour),
            (Unit::Usd, Every::Month),
            (Unit::Tokens, Every::Week),
        ];
        let budgets = (0..5).map(|at| {
            let ((unit, every), hard) = (kinds[at], at != 3);
            let limit = if unit == Unit::Requests { 6 } else { 1_000 };
            world.open_budget(20 + at as u64, owners[at], unit, every, limit, hard)
        });
        let budgets = budgets.collect();
        let scribes = NODES.into_iter().zip([1, 2]).flat_map(|(node, boot)| (0..2).map(move |lane| (node, boot, lane)));
        let scribes = scribes.map(|(node, boot, lane)| Scribe { node, lane, boot, seq: 0, unanswered: None, old: Vec::new() }).collect();
        Run { world, chance: Chance(seed * 2 + 1), scribes, budgets, calls: Vec::new(), next_call: 1, next_boot: 10 }
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=9 => self.speak(),
            10 => self.restart(),
            11 => self.lose(),
            12 | 13 => self.orphan(),
            14 => self.limits(),
            15 => self.keys(),
            16 => self.wait(),
            17 => self.adjust(),
            18 => self.repeat(),
            _ => self.close(),
        }
    }

    /// A Scribe sends its next group, or the unanswered one again; the network loses it, its answer, or neither.
    fn speak(&mut self) {
        let at = self.chance.below(self.scribes.len() as u64) as usize;
        if self.scribes[at].unanswered.is_none() {
            let transactions = (0..1 + self.chance.below(4)).map(|_| self.transaction(at)).collect();
            let scribe = &mut self.scribes[at];
            scribe.seq += 1;
            let sequence = Sequence { node: scribe.node, boot: Boot(scribe.boot), lane: scribe.lane, seq: scribe.seq };
            scribe.unanswered = Some((Group { sequence: Some(sequence), transactions }, None));
        }
        if self.chance.one_in(6) {
            return; // the group is lost
        }
        let (group, before) = self.scribes[at].unanswered.clone().unwrap();
        let outcome = self.world.apply(&group);
        if let Some(before) = before {
            let same = outcome == before || outcome == GroupOutcome::Fenced;
            assert!(same, "a group that was taken is answered from memory: {before:?}, then {outcome:?}");
        }
        if self.chance.one_in(5) {
            self.scribes[at].unanswered = Some((group, Some(outcome).filter(|outcome| *outcome != GroupOutcome::Fenced)));
            return; // the answer is lost
        }
        self.answered(at, group, &outcome);
    }

    fn answered(&mut self, at: usize, group: Group, outcome: &GroupOutcome) {
        let scribe = &mut self.scribes[at];
        scribe.unanswered = None;
        match outcome {
            GroupOutcome::Done(outcomes) => {
                assert_eq!(outcomes.len(), group.transactions.len());
                scribe.old.push(group);
            }
            GroupOutcome::Fenced => {
                // it joins the session that its node has by now
                let node = self.world.state.books.nodes.get(&scribe.node).unwrap();
                if node.live {
                    scribe.boot = node.boot.0;
                    scribe.seq = self.world.state.desk.lane(&Sequence { node: scribe.node, boot: node.boot, lane: scribe.lane, seq: 0 }).0;
                }
            }
            other => panic!("one group in flight a lane: {other:?}"),
        }
    }

    /// The network brings an old group once more: from this session or from one that has ended.
    fn repeat(&mut self) {
        let at = self.chance.below(self.scribes.len() as u64) as usize;
        let old = &self.scribes[at].old;
        if old.is_empty() || self.scribes[at].unanswered.is_some() {
            return;
        }
        let group = old[self.chance.below(old.len() as u64) as usize].clone();
        let position = self.world.state.position();
        let outcome = self.world.apply(&group);
        assert!(matches!(outcome, GroupOutcome::Late | GroupOutcome::Fenced | GroupOutcome::Done(_)));
        assert_eq!(self.world.state.position(), position, "an old group leaves no trace");
    }

    fn transaction(&mut self, at: usize) -> Option<Transaction> {
        let call = self.chance.pick(&self.calls).unwrap_or(CallId(999_999));
        match self.chance.below(10) {
            0 => {
                let (mut both, second) = (self.admission(at), self.admission(at));
                both.guards.extend(second.guards);
                both.events.extend(second.events);
                Some(both)
            }
            1..=4 => Some(self.admission(at)),
            5 => {
                let adds: Vec<(BudgetId, Amount)> =
                    self.some_budgets().into_iter().map(|budget| (budget, Amount::from(self.chance.below(60)))).collect();
                Some(extended(call, &adds))
            }
            6 => Some(released(call)),
            7 if self.chance.one_in(3) => None,
            _ => Some(record(call, self.chance.below(400))),
        }
    }

    fn some_budgets(&mut self) -> Vec<BudgetId> {
        let all = self.budgets.clone();
        all.into_iter().filter(|_| self.chance.below(5) < 3).collect()
    }

    fn admission(&mut self, at: usize) -> Transaction {
        let call = CallId(self.next_call);
        self.next_call += 1;
        self.calls.push(call);
        let (budgets, ceiling) = (self.some_budgets(), figures(self.chance.below(200)));
        let scribe = &self.scribes[at];
        let mut admitted = self.world.admission(scribe.node, scribe.boot, ceiling, &budgets);
        if self.chance.one_in(4) {
            admitted.key = OTHER_KEY;
        }
        if self.chance.one_in(6) {
            admitted.policy = admitted.policy.saturating_sub(self.chance.below(12));
        }
        if self.chance.one_in(5) {
            admitted.claim = Some(Claim { key: [self.chance.below(3) as u8; 16], body: [1; 16] });
        }
        self.world.admit_transaction(call, admitted)
    }

    /// A node starts anew; what it had in flight may still be on its way.
    fn restart(&mut self) {
        let node = NODES[self.chance.below(2) as usize];
        self.next_boot += 1;
        self.world.start(node, self.next_boot);
        for scribe in self.scribes.iter_mut().filter(|scribe| scribe.node == node) {
            if !self.chance.one_in(3) {
                // the new process knows nothing of the old one's groups
                scribe.old.extend(scribe.unanswered.take().map(|(group, _)| group));
                (scribe.boot, scribe.seq) = (self.next_boot, 0);
            }
        }
    }

    fn lose(&mut self) {
        let node = NODES[self.chance.below(2) as usize];
        if self.world.state.books.nodes.get(&node).unwrap().live && self.chance.one_in(2) {
            self.world.keep(Event::Node(node, node::Event::Lost));
        }
    }

    /// A node's keeper pays some of what is owed, and sometimes decides on what is no longer so.
    fn orphan(&mut self) {
        let node = NODES[self.chance.below(2) as usize];
        for effect in self.world.state.books.nodes.get(&node).unwrap().owed(&self.world.state) {
            let node::Effect::Orphan(calls) = effect;
            let calls: Vec<CallId> = calls.into_iter().filter(|_| !self.chance.one_in(3)).collect();
            let guards = calls.iter().map(|call| Guard::HoldOpen(*call)).collect();
            let orphans = transaction(guards, calls.iter().map(|call| self.world.orphaned(*call)).collect());
            if self.chance.one_in(4) {
                self.speak(); // a fact is faster
            }
            let outcome = self.world.keepers(orphans);
            assert!(matches!(outcome, Outcome::Taken | Outcome::NotOpen), "{outcome:?}");
        }
        let live = self.calls.iter().find(|call| self.world.state.books.open.get(call).is_some_and(|open| self.is_live(open)));
        if let Some(call) = live.copied() {
            let orphan = transaction(vec![Guard::HoldOpen(call)], vec![self.world.orphaned(call)]);
            assert_ne!(self.world.keepers(orphan), Outcome::Taken, "a call of a session that runs becomes no orphan");
        }
    }

    fn is_live(&self, open: &call::Open) -> bool {
        self.world.state.books.nodes.get(&open.node).is_some_and(|node| node.live && node.boot == open.boot)
    }

    fn limits(&mut self) {
        let budget = self.chance.pick(&self.budgets).unwrap();
        let limit = Amount::from(self.chance.below(1_500));
        self.world.keep(Event::Budget(budget, budget::Event::LimitSet { limit }));
    }

    fn close(&mut self) {
        let budget = self.chance.pick(&self.budgets).unwrap();
        let closed = self.world.state.books.budgets.get(&budget).unwrap().closed;
        if closed || self.chance.one_in(3) {
            self.world.keep(Event::Budget(budget, if closed { budget::Event::Reopened } else { budget::Event::Closed }));
        }
    }

    fn keys(&mut self) {
        let key: KeyId = [KEY, OTHER_KEY][self.chance.below(2) as usize];
        let blocked = self.world.state.books.keys.get(&key).unwrap().blocked;
        let moved = key::Event::Moved { scope: self.chance.one_in(2).then_some(SCOPE) };
        let event = if blocked {
            key::Event::Unblocked
        } else if self.chance.one_in(3) {
            key::Event::Blocked
        } else {
            moved
        };
        self.world.keep(Event::Key(key, event));
    }

    fn wait(&mut self) {
        let seconds = Duration::from_secs(self.chance.below(100_000));
        let now = self.world.now;
        self.world.now =
            if self.chance.one_in(5) { Timestamp(now.0.saturating_sub(seconds.as_micros() as u64)) } else { now.plus(seconds) };
    }

    /// An operator corrects the charge of a call that is over.
    fn adjust(&mut self) {
        let over: Vec<(CallId, Vec<BudgetId>)> = self
            .world
            .oracle
            .calls
            .iter()
            .filter(|(_, told)| told.status != Status::Open)
            .map(|(id, told)| (*id, told.covered()))
            .collect();
        if over.is_empty() {
            return;
        }
        let (call, covered) = over[self.chance.below(over.len() as u64) as usize].clone();
        let delta = Amount::from(self.chance.below(40)) - 20;
        let adjusted = Adjusted {
            admitted_at: self.world.oracle.calls[&call].at(),
            tenant: TENANT,
            key: KEY,
            deltas: covered.into_iter().map(|budget| (budget, delta)).collect(),
            delta: crate::Money(delta),
            reason: "by hand".into(),
        };
        self.world.keepers(transaction(vec![], vec![Event::Call(call, call::Event::Adjusted(Box::new(adjusted)))]));
    }
}

#[test]
fn the_promises_hold_under_an_adversary() {
    let (mut records, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut run = Run::new(seed);
        (0..MOVES).for_each(|_| run.step());
        refused += run.calls.len() - run.world.oracle.calls.len().min(run.calls.len());
        records += run.world.oracle.calls.values().filter(|told| told.status != Status::Open).count();
        let history = std::mem::take(&mut run.world.history);
        assert_replays(&mut run.world.state, &history);
        let mut loaded = run.world.loaded();
        loaded.settle();
        assert_eq!(loaded.digests(), run.world.state.digests(), "seed {seed}: the rows give the same state");
    }
    assert!(records > 10_000 && refused > 30_000, "the adversary is idle: {records} records, {refused} refusals");
}
