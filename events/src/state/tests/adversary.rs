//! An adversary against `State`: from a seed, two nodes with two lanes each, and everything that may befall them and what binds their
//! calls. The oracle looks after every group; what is left over at the end of a run is looked at here.

mod nodes;
mod policy;

use super::{oracle::Status, replay::assert_replays, world::*};
use crate::{
    Aggregate as _, BudgetId, CallId, Event, KeyId, NodeId, Owner, Unit,
    call::{Adjusted, Event as Call},
    limits,
    node::{self, Effect},
    transaction::{Group, GroupOutcome, Guard, Outcome, Sequence, Transaction},
};
use nodes::Peer;
use std::{collections::BTreeMap, time::Duration};

/// Each of the mistakes that were planted to try this was found in the first thirty.
const SEEDS: u64 = 1_000;
const STEPS: usize = 300;

/// Chance from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// The world, and what is on its way to it.
pub struct Adversary {
    world: World,
    dice: Dice,
    peers: Vec<Peer>,
    /// Sessions that run; a node has at most one.
    sessions: BTreeMap<NodeId, u64>,
    keys: Vec<KeyId>,
    /// Copies of groups that are late.
    late: Vec<Group>,
    /// What keepers have decided and not yet sent.
    owed: Vec<Transaction>,
    /// What each group was answered.
    answers: BTreeMap<Sequence, Vec<Outcome>>,
    calls: u128,
    boots: u64,
    /// Calls of which a fact was taken, or answered as a duplicate.
    told: Vec<CallId>,
    seen: Seen,
}

/// What has happened in all runs together, so that the test knows that it tests something.
#[derive(Debug, Default, PartialEq)]
struct Seen(BTreeMap<String, u64>);

impl Adversary {
    fn new(seed: u64) -> Adversary {
        let mut world = World::new();
        world.start(OTHER_NODE, 2);
        let peers = vec![Peer::new(NODE, 1), Peer::new(OTHER_NODE, 2)];
        let sessions = BTreeMap::from([(NODE, 1), (OTHER_NODE, 2)]);
        let mut adversary = Adversary {
            world,
            dice: Dice(seed),
            peers,
            sessions,
            keys: vec![KEY, OTHER_KEY],
            late: Vec::new(),
            owed: Vec::new(),
            answers: BTreeMap::new(),
            calls: 0,
            boots: 10,
            told: Vec::new(),
            seen: Seen::default(),
        };
        adversary.open_budgets();
        adversary
    }

    fn see(&mut self, what: impl Into<String>) {
        *self.seen.0.entry(what.into()).or_default() += 1;
    }

    fn step(&mut self) {
        let peer = self.dice.below(2) as usize;
        match self.dice.below(100) {
            0..26 => self.begin(peer),
            26..53 => self.send(peer),
            53..76 => self.go_on(peer),
            76..81 => self.deliver_late(),
            81..82 => self.kill(peer),
            82..83 => self.lose(peer),
            83..86 => self.orphan(),
            86..89 => self.adjust(),
            89..92 => self.change_policy(),
            92..93 => self.disturb(peer),
            93..94 => self.begin_two(peer),
            94..95 => self.load(),
            _ => self.pass_time(),
        }
    }

    /// Gives a group to the state. The same group once more gets the same answer and leaves no trace, nor does one of an ended session.
    fn deliver(&mut self, group: &Group) -> GroupOutcome {
        let sequence = group.sequence.expect("a Scribe's group has a sequence");
        let (events, runs) = (self.world.history.len(), self.sessions.get(&sequence.node) == Some(&sequence.boot.0));
        let outcome = self.world.apply(group);
        let known = self.answers.get(&sequence).cloned();
        match (&outcome, &known) {
            (GroupOutcome::Fenced, _) => assert!(!runs, "{sequence:?} was fenced"),
            (GroupOutcome::Done(outcomes), Some(known)) => assert!(runs && outcomes == known, "{sequence:?}: {outcomes:?}, {known:?}"),
            (GroupOutcome::Done(outcomes), None) => {
                assert!(runs, "{sequence:?} was taken from a session that has ended");
                assert_eq!(outcomes.len(), group.transactions.len());
                if let ([Some(alone)], [outcome]) = (&group.transactions[..], &outcomes[..]) {
                    self.hear_refusal(alone, *outcome);
                }
                self.answers.insert(sequence, outcomes.clone());
            }
            (GroupOutcome::Late, known) => assert!(runs && known.is_some(), "{sequence:?} is late"),
            (GroupOutcome::Gap { expected }, known) => assert!(runs && known.is_none() && *expected < sequence.seq),
        }
        let was_taken = known.is_none() && matches!(outcome, GroupOutcome::Done(_));
        assert!(was_taken || self.world.history.len() == events, "{sequence:?} left a trace: {outcome:?}");
        self.see(format!("{outcome:?}").split(['(', ' ']).next().unwrap_or_default());
        outcome
    }

    /// What was sent alone met the state as it still is, if it was refused.
    fn hear_refusal(&self, transaction: &Transaction, outcome: Outcome) {
        // of two calls, one may be refused because of the other
        let is_of_one = transaction.events.iter().all(|proposal| proposal.stream == transaction.events[0].stream);
        for proposal in transaction.events.iter().filter(|_| is_of_one && outcome != Outcome::Taken) {
            if let Event::Call(call, event) = &*proposal.event().expect("our own events are known") {
                self.world.oracle.grants(*call, event, outcome, &self.world.state);
            }
        }
    }

    fn deliver_late(&mut self) {
        if !self.late.is_empty() && self.dice.percent(70) {
            let group = self.late.swap_remove(self.dice.below(self.late.len() as u64) as usize);
            self.deliver(&group);
            self.see("late group");
        }
        if let Some(orphaning) = self.owed.pop() {
            let outcome = self.world.keepers(orphaning);
            assert!(matches!(outcome, Outcome::Taken | Outcome::NotOpen), "{outcome:?}");
            self.see(format!("late orphaning {outcome:?}"));
        }
    }

    /// A node is declared lost, dead or not.
    fn lose(&mut self, peer: usize) {
        let node = self.peers[peer].id;
        if self.sessions.remove(&node).is_some() {
            self.world.keep(Event::Node(node, node::Event::Lost));
            self.see("lost");
        }
    }

    /// The node's keeper pays what is owed for ended sessions, at once or later.
    fn orphan(&mut self) {
        let node = self.world.state.books.nodes.get(&NODE).expect("it joined").clone();
        for Effect::Orphan(calls) in node.owed(&self.world.state) {
            for chunk in calls.chunks(1 + self.dice.below(6) as usize) {
                let guards = chunk.iter().map(|call| Guard::HoldOpen(*call)).collect();
                let orphaning = transaction(guards, chunk.iter().map(|call| self.world.orphaned(*call)).collect());
                if self.dice.percent(35) {
                    self.owed.push(orphaning.clone());
                }
                if self.dice.percent(75) {
                    assert_eq!(self.world.keepers(orphaning), Outcome::Taken);
                    self.see("orphaned");
                }
            }
        }
    }

    /// An operator corrects a closed call, or tries to correct an open one.
    fn adjust(&mut self) {
        let calls: Vec<CallId> = self.world.oracle.calls.keys().copied().collect();
        if calls.is_empty() {
            return;
        }
        let call = self.dice.pick(&calls);
        let told = &self.world.oracle.calls[&call];
        let (key, admitted_at, is_open) = (told.key, told.at, told.status == Status::Open);
        let path: Vec<BudgetId> = told.path();
        let delta = i128::from(self.dice.below(7)) - 3;
        let deltas = path.into_iter().map(|budget| (budget, delta)).collect();
        let adjusted = Adjusted { admitted_at, tenant: TENANT, key, deltas, delta: crate::Money(delta), reason: "reconciled".into() };
        let outcome = self.world.keepers(transaction(vec![], vec![Event::Call(call, Call::Adjusted(Box::new(adjusted)))]));
        assert_eq!(outcome, if is_open { Outcome::Conflict } else { Outcome::Taken });
        self.see(format!("adjusted {outcome:?}"));
    }

    fn pass_time(&mut self) {
        let seconds = match self.dice.below(100) {
            0..70 => self.dice.below(900),
            70..93 => self.dice.below(4 * 3_600),
            93..98 => self.dice.below(4 * 24 * 3_600),
            98..99 => self.dice.below(40 * 24 * 3_600),
            // a leader whose clock is behind: entry time stands still until it has caught up
            _ => {
                self.world.now = self.world.now.minus(Duration::from_secs(7_200));
                return self.see("clock back");
            }
        };
        self.world.wait(Duration::from_secs(seconds));
    }

    /// Everybody starts anew and says what it knows, the keeper pays: then nothing is open, and no fact that was kept is lost.
    fn heal(&mut self) {
        for peer in 0..self.peers.len() {
            if self.dice.percent(50) {
                self.kill(peer);
            }
            while self.peers[peer].has_running() {
                self.finish_one(peer);
            }
            while !self.peers[peer].is_idle() {
                self.send(peer);
            }
            self.kill(peer);
            while !self.peers[peer].is_idle() {
                self.send(peer);
            }
        }
        while !(self.late.is_empty() && self.owed.is_empty()) {
            self.deliver_late();
        }
        while !self.world.state.books.open.is_empty() {
            self.orphan();
        }
    }

    /// All replicas go on from their stored rows.
    fn load(&mut self) {
        let loaded = self.world.loaded();
        assert_eq!(loaded.digests(), self.world.state.digests(), "P4: rows");
        self.world.state = loaded;
        self.see("loaded");
    }

    fn assert_closed(&mut self) {
        let Adversary { world, told, .. } = self;
        for ((budget, start), window) in world.state.books.windows.iter() {
            assert_eq!((window.held, window.open_calls), (0, 0), "P1: {budget} of {start} has stranded money");
        }
        for (id, call) in &world.oracle.calls {
            let records = call.kinds.iter().filter(|kind| matches!(**kind, "finished" | "released")).count();
            let orphaned = call.kinds.iter().filter(|kind| **kind == "orphaned").count();
            assert!(records <= 1 && orphaned <= 1 && records + orphaned >= 1, "P2: {id} {:?}", call.kinds);
            let too_late = call.orphaned_at.is_some_and(|at| at.plus(limits::ORPHAN_KEPT) < world.state.desk.time());
            assert!(records == 1 || too_late || !told.contains(id), "P2: the record of {id} is lost: {:?}", call.kinds);
        }
        assert_replays(&mut world.state, &world.history);
        self.load();
    }
}

fn run(seed: u64) -> Seen {
    let mut adversary = Adversary::new(seed);
    for _ in 0..STEPS {
        adversary.step();
    }
    adversary.heal();
    adversary.assert_closed();
    for told in adversary.world.oracle.calls.values() {
        *adversary.seen.0.entry(told.kinds.join(" ")).or_default() += 1;
    }
    adversary.seen
}

#[test]
fn no_adversary_breaks_a_promise() {
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic)
        });
        run.0.into_iter().for_each(|(what, count)| *seen.0.entry(what).or_default() += count);
    }
    for what in [
        "admit Taken",
        "admit Stale",
        "admit Held",
        "admit Exceeded",
        "admit Claimed",
        "admit TakenOut",
        "extend Taken",
        "extend Held",
        "extend NotOpen",
        "fact Taken",
        "fact Duplicate",
        "Fenced",
        "Late",
        "Gap",
        "lost",
        "killed",
        "late group",
        "late orphaning Taken",
        "late orphaning NotOpen",
        "adjusted Taken",
        "adjusted Conflict",
        "clock back",
        "loaded",
        "two Taken",
        "two Held",
        "two Claimed",
        "limit",
        "closed",
        "reopened",
        "revoked",
        "moved",
        "admitted extended finished",
        "admitted orphaned finished",
        "admitted orphaned released",
        "admitted orphaned adjusted finished",
    ] {
        let few = seen.0.get(what).copied().unwrap_or(0);
        assert!(few >= 5, "{what} happened {few} times in all runs: {seen:#?}");
    }
}

#[test]
fn a_seed_is_a_run() {
    let history = |seed| {
        let mut adversary = Adversary::new(seed);
        (0..STEPS).for_each(|_| adversary.step());
        adversary.world.history
    };
    assert_eq!(history(7), history(7));
    assert_ne!(history(7), history(8));
}
