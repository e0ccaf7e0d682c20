//! Two nodes: their calls, their lanes, and the network between them and the log.

use super::*;
use crate::{
    Boot, Figures, Money,
    call::{Claim, Extended, Unsent},
};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Admit,
    Extend,
    Fact,
}

/// A transaction on its way, and what it says of which call.
#[derive(Clone)]
struct Said {
    what: What,
    call: CallId,
    transaction: Transaction,
}

#[derive(Default)]
struct Lane {
    seq: u64,
    waiting: VecDeque<Said>,
    /// Sent, and not answered yet; with None for what the Gate took out.
    flying: Option<(Group, Vec<Said>)>,
}

/// A call that is under way at its node.
#[derive(Clone)]
struct Running {
    call: CallId,
    key: KeyId,
    ceiling: Figures,
    attempts: u32,
}

pub struct Peer {
    pub id: NodeId,
    boot: u64,
    lanes: [Lane; 2],
    running: Vec<Running>,
    /// Decided and not yet admitted.
    deciding: BTreeMap<CallId, Running>,
}

impl Peer {
    pub fn new(id: NodeId, boot: u64) -> Peer {
        Peer { id, boot, lanes: Default::default(), running: Vec::new(), deciding: BTreeMap::new() }
    }

    pub fn has_running(&self) -> bool {
        !self.running.is_empty()
    }

    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.flying.is_none())
    }
}

impl Adversary {
    /// A call is decided, now or some events ago, and waits to be admitted.
    pub fn begin(&mut self, peer: usize) {
        self.calls += 1;
        let (call, mut key) = (call_id(self.calls), self.dice.pick(&self.keys));
        if !self.world.state.books.keys.get(&key).expect("it was made").is_live() && self.dice.percent(80) {
            key = self.dice.pick(&self.keys);
        }
        let amount = 1 + self.dice.below(9);
        let ceiling = Figures { cost: Money(amount.into()), tokens: 1 + self.dice.below(9), requests: 1 };
        let path = self.path(key);
        let mut admitted = self.world.admission(self.peers[peer].id, self.peers[peer].boot, ceiling, &path);
        admitted.key = key;
        if self.dice.percent(15) {
            admitted.policy = admitted.policy.saturating_sub(self.dice.below(30));
        }
        if self.dice.percent(20) {
            admitted.claim = Some(Claim { key: [self.dice.below(6) as u8; 16], body: [0; 16] });
        }
        let mut transaction = self.world.admit_transaction(call, admitted);
        if self.dice.percent(5) {
            // a cache hit: admitted and finished at once
            let used = Figures { cost: Money::ZERO, tokens: 0, requests: 1 };
            let hit = Event::Call(call, Call::Finished(Box::new(finished(key, used))));
            transaction.events.extend(super::transaction(vec![], vec![hit]).events);
        } else {
            self.peers[peer].deciding.insert(call, Running { call, key, ceiling, attempts: 1 });
        }
        self.put(peer, Said { what: What::Admit, call, transaction });
    }

    /// Into one of the lanes: messages of one call may overtake each other.
    fn put(&mut self, peer: usize, said: Said) {
        let lane = self.dice.below(2) as usize;
        self.peers[peer].lanes[lane].waiting.push_back(said);
    }

    /// One of a node's calls goes on: a further attempt, or its end, or its task is lost.
    pub fn go_on(&mut self, peer: usize) {
        if self.peers[peer].running.is_empty() {
            return;
        }
        match self.dice.below(100) {
            0..30 => self.extend(peer),
            30..90 => self.finish_one(peer),
            _ => {
                let at = self.dice.below(self.peers[peer].running.len() as u64) as usize;
                self.peers[peer].running.remove(at);
            }
        }
    }

    fn extend(&mut self, peer: usize) {
        let at = self.dice.below(self.peers[peer].running.len() as u64) as usize;
        let path = self.path(self.peers[peer].running[at].key);
        let again = 1 + self.dice.below(6);
        let ceiling = Figures { cost: Money(again.into()), tokens: again, requests: 0 };
        let amount = |id: &BudgetId| ceiling.of(self.world.state.books.budgets.get(id).expect("it was opened").identity.unit);
        let adds: Vec<_> = path.iter().map(|id| (*id, amount(id))).collect();
        let running = &mut self.peers[peer].running[at];
        running.attempts += 1;
        let (call, attempt) = (running.call, running.attempts);
        let guards = vec![Guard::HoldOpen(call), Guard::Fits];
        let transaction = super::transaction(guards, vec![Event::Call(call, Call::Extended(Extended { attempt, adds, ceiling }))]);
        self.put(peer, Said { what: What::Extend, call, transaction });
    }

    /// The end of one call: mostly below its ceiling; some providers bill more.
    pub fn finish_one(&mut self, peer: usize) {
        let at = self.dice.below(self.peers[peer].running.len() as u64) as usize;
        let Running { call, key, ceiling, .. } = self.peers[peer].running.remove(at);
        let event = if self.dice.percent(15) {
            Call::Released { key, reason: Unsent::CallerGone }
        } else {
            let above = if self.dice.percent(12) { 1 + self.dice.below(6) } else { 0 };
            let below = |most: u64, dice: &mut Dice| if above > 0 { most + above } else { dice.below(most + 1) };
            let cost = below(ceiling.cost.0 as u64, &mut self.dice);
            let used = Figures { cost: Money(cost.into()), tokens: below(ceiling.tokens, &mut self.dice), requests: 1 };
            let mut fact = finished(key, used);
            if self.dice.percent(20) {
                fact.apart = vec![(BudgetId(10 + self.dice.below(8)), figures(self.dice.below(3)))];
            }
            Call::Finished(Box::new(fact))
        };
        let transaction = super::transaction(vec![], vec![Event::Call(call, event)]);
        let copies = if self.dice.percent(15) { 2 } else { 1 };
        for _ in 0..copies {
            self.put(peer, Said { what: What::Fact, call, transaction: transaction.clone() });
        }
    }

    /// A lane's next group, or once more the one that was not answered, into a network that loses, delays and repeats.
    pub fn send(&mut self, peer: usize) {
        let at = self.dice.below(2) as usize;
        if self.peers[peer].lanes[at].flying.is_none() {
            self.fill(peer, at);
        }
        let Some((group, _)) = &self.peers[peer].lanes[at].flying else { return };
        let group = group.clone();
        if self.dice.percent(12) {
            self.late.push(group.clone());
        }
        match self.dice.below(100) {
            0..15 => {}
            15..30 => drop(self.deliver(&group)),
            _ => {
                let outcome = self.deliver(&group);
                self.hear(peer, at, outcome);
            }
        }
    }

    fn fill(&mut self, peer: usize, at: usize) {
        let count = 1 + self.dice.below(4) as usize;
        let Peer { id, boot, lanes, .. } = &mut self.peers[peer];
        let lane = &mut lanes[at];
        let said: Vec<Said> = lane.waiting.drain(..count.min(lane.waiting.len())).collect();
        if said.is_empty() {
            return;
        }
        let sequence = Sequence { node: *id, boot: Boot(*boot), lane: at as u16, seq: lane.seq + 1 };
        let mut take_out = |said: &Said| said.what == What::Admit && self.dice.percent(8);
        let transactions = said.iter().map(|said| if take_out(said) { None } else { Some(said.transaction.clone()) }).collect();
        lane.flying = Some((Group { sequence: Some(sequence), transactions }, said));
    }

    /// The answer to the group that a lane has sent.
    fn hear(&mut self, peer: usize, at: usize, outcome: GroupOutcome) {
        let GroupOutcome::Done(outcomes) = outcome else {
            assert_eq!(outcome, GroupOutcome::Fenced, "a lane has one group on its way");
            return self.start_again(peer, true);
        };
        let lane = &mut self.peers[peer].lanes[at];
        lane.seq += 1;
        let (_, said) = lane.flying.take().expect("what is answered was sent");
        for (Said { what, call, .. }, outcome) in said.into_iter().zip(outcomes) {
            let decided = self.peers[peer].deciding.remove(&call).filter(|_| what == What::Admit);
            match what {
                What::Admit if outcome == Outcome::Taken => self.peers[peer].running.extend(decided),
                What::Admit => assert_ne!(outcome, Outcome::Duplicate),
                What::Extend => assert_ne!(outcome, Outcome::Duplicate),
                What::Fact => {
                    assert!(matches!(outcome, Outcome::Taken | Outcome::Duplicate), "a fact was refused: {outcome:?}");
                    self.told.push(call);
                }
            }
            let (what, outcome) = (format!("{what:?}").to_lowercase(), format!("{outcome:?}"));
            self.see(format!("{what} {}", outcome.split('(').next().unwrap_or_default()));
        }
    }

    /// kill -9 and the next start: of what it knew, it keeps what it had spooled.
    pub fn kill(&mut self, peer: usize) {
        self.peers[peer].running.clear();
        self.start_again(peer, false);
        self.see("killed");
    }

    /// A new session. Facts are said again; admissions of the old session are not.
    fn start_again(&mut self, peer: usize, remembers: bool) {
        self.boots += 1;
        let (id, boot) = (self.peers[peer].id, self.boots);
        let lanes = std::mem::take(&mut self.peers[peer].lanes);
        let known = lanes.into_iter().flat_map(|lane| lane.flying.into_iter().flat_map(|(_, said)| said).chain(lane.waiting));
        let facts: Vec<Said> = known.filter(|said| said.what == What::Fact).collect();
        self.peers[peer].boot = boot;
        self.peers[peer].deciding.clear();
        self.sessions.insert(id, boot);
        self.world.start(id, boot);
        for fact in facts {
            if remembers || self.dice.percent(60) {
                self.put(peer, fact);
            }
        }
    }

    /// Two calls in one transaction: they fit together, or neither is admitted.
    pub fn begin_two(&mut self, peer: usize) {
        let mut both = Transaction::default();
        let mut calls = Vec::new();
        for _ in 0..2 {
            self.calls += 1;
            let (call, key) = (call_id(self.calls), self.dice.pick(&self.keys));
            let path = self.path(key);
            let ceiling = figures(1 + self.dice.below(9));
            let mut admitted = self.world.admission(self.peers[peer].id, self.peers[peer].boot, ceiling, &path);
            admitted.key = key;
            if self.dice.percent(40) {
                admitted.claim = Some(Claim { key: [self.dice.below(2) as u8; 16], body: [0; 16] });
            }
            let one = self.world.admit_transaction(call, admitted);
            both.guards.extend(one.guards);
            both.events.extend(one.events);
            calls.push(Running { call, key, ceiling, attempts: 1 });
        }
        let GroupOutcome::Done(outcomes) = self.deliver(&self.apart(peer, vec![both])) else { return };
        if outcomes == [Outcome::Taken] {
            self.peers[peer].running.extend(calls);
        }
        self.see(format!("two {:?}", outcomes[0]).split('(').next().unwrap_or_default());
    }

    /// The next group of a lane that is used for nothing else.
    fn apart(&self, peer: usize, transactions: Vec<Transaction>) -> Group {
        let mut sequence = Sequence { node: self.peers[peer].id, boot: Boot(self.peers[peer].boot), lane: 7, seq: 0 };
        sequence.seq = self.world.state.desk.lane(&sequence).0 + 1;
        Group { sequence: Some(sequence), transactions: transactions.into_iter().map(Some).collect() }
    }

    /// What no honest node says: a gap, a group in another's name, a record of another node's call, a stranger's.
    pub fn disturb(&mut self, peer: usize) {
        let id = self.peers[peer].id;
        let others = self.world.state.books.open.iter().filter(|(_, open)| open.node != id);
        let others: Vec<(CallId, bool)> = others.map(|(call, open)| (*call, self.sessions.get(&open.node) == Some(&open.boot.0))).collect();
        let (theirs, runs) = if others.is_empty() { (call_id(u128::MAX), false) } else { self.dice.pick(&others) };
        let before = self.world.history.len();
        let mut gap = self.apart(peer, vec![]);
        gap.sequence = gap.sequence.map(|sequence| Sequence { seq: sequence.seq + 1_000_000, ..sequence });
        assert!(matches!(self.deliver(&gap), GroupOutcome::Gap { .. } | GroupOutcome::Fenced));
        let in_name_of = |node, boot| {
            let admitted = self.world.admission(node, boot, figures(1), &[]);
            super::transaction(vec![], vec![Event::Call(call_id(u128::MAX - 2), Call::Admitted(Box::new(admitted)))])
        };
        let (other, own) = (&self.peers[1 - peer], &self.peers[peer]);
        let named = [in_name_of(other.id, other.boot), in_name_of(own.id, own.boot - 1)];
        let mut said = vec![record(theirs, 1), released(theirs), record(call_id(u128::MAX - 1), 3)];
        said.extend(named);
        let foreign = self.deliver(&self.apart(peer, said));
        let refused = [vec![Outcome::Duplicate; 3], vec![Outcome::Conflict; 2]].concat();
        assert!(foreign == GroupOutcome::Fenced || foreign == GroupOutcome::Done(refused), "{foreign:?}");
        if runs {
            let orphaning = super::transaction(vec![Guard::HoldOpen(theirs)], vec![self.world.orphaned(theirs)]);
            assert_eq!(self.world.keepers(orphaning), Outcome::NotOpen, "a call of a running session became an orphan");
        }
        assert_eq!(self.world.history.len(), before);
    }
}
