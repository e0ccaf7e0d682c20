//! What every journal must do, whatever it stands on: sessions, guards, duplicates, late and emptied groups, fenced boots, one bad
//! transaction among many, reading, following, stopping. Each case gets a journal of its own; a case that fails panics and says where.

use crate::{AppendFault, Future, Health, Journal, Observer, look};
use events::{
    Amount, Boot, BudgetId, CallId, Event, Every, Figures, KeyId, Money, NodeId, Owner, Rates, State, StreamId, TenantId, Unit, Usage,
    budget,
    call::{self, Admitted, Finished},
    envelope::{Principal, Recorded},
    key, limits, node, tenant,
    transaction::{Group, GroupOutcome, Guard, Outcome, Proposal, Sequence, Transaction},
};
use std::sync::{Arc, Mutex, PoisonError};

/// Opens a fresh, empty journal.
pub type Open<'a> = &'a (dyn Fn() -> Future<'a, Arc<dyn Journal>> + Sync);

const TENANT: TenantId = TenantId(1);
const KEY: KeyId = KeyId(2);
const BUDGET: BudgetId = BudgetId(3);
const NODE: NodeId = NodeId(0);
const BOOT: Boot = Boot(11);
const LIMIT: Amount = 100;

/// All cases, one after the other.
pub async fn all(open: Open<'_>) {
    sessions(&House::new(open().await).await).await;
    fences(&House::new(open().await).await).await;
    guards(&House::new(open().await).await).await;
    duplicates(&House::new(open().await).await).await;
    places(&House::new(open().await).await).await;
    entries(&House::new(open().await).await).await;
    reading(&House::new(open().await).await).await;
    following(&House::new(open().await).await).await;
    stopping(&House::new(open().await).await).await;
}

/// A journal with a tenant, a key, a budget of [`LIMIT`] tokens and a running session. Public, for tests of what only some journals can.
pub struct House {
    pub journal: Arc<dyn Journal>,
}

impl House {
    pub async fn new(journal: Arc<dyn Journal>) -> House {
        let house = House { journal };
        let settings = key::Settings { tenant: TENANT, scope: None, name: "k".into(), models: None, rates: Rates::default() };
        let secret = key::Secret { hash: key::KeyHash([7; 32]), hint: "…".into() };
        let identity =
            budget::Identity { owner: Owner::Tenant(TENANT), unit: Unit::Tokens, every: Every::Total, ..budget::Identity::default() };
        for event in [
            Event::Node(NODE, node::Event::Joined),
            Event::Tenant(TENANT, tenant::Event::Created { name: "acme".into(), rates: Rates::default() }),
            Event::Key(KEY, key::Event::Created { settings, secret }),
            Event::Budget(BUDGET, budget::Event::Opened { identity, terms: terms(LIMIT) }),
        ] {
            assert_eq!(house.keep(event).await, Outcome::Taken);
        }
        house.start(BOOT).await;
        house
    }

    /// Opens a session, which ends the one before.
    pub async fn start(&self, boot: Boot) {
        assert_eq!(self.keep(Event::Node(NODE, node::Event::Started { boot, lanes: 2 })).await, Outcome::Taken);
    }

    /// A keeper's event, guarded by its stream's version.
    pub async fn keep(&self, event: Event) -> Outcome {
        let version = look(&*self.journal, |state| state.version(event.stream()));
        let guards = vec![Guard::Version(event.stream(), version)];
        self.one(None, transaction(guards, vec![event])).await
    }

    /// A group of one transaction.
    pub async fn one(&self, sequence: Option<Sequence>, transaction: Transaction) -> Outcome {
        match self.group(sequence, vec![Some(transaction)]).await {
            GroupOutcome::Done(outcomes) => outcomes[0],
            other => panic!("{other:?}"),
        }
    }

    pub async fn group(&self, sequence: Option<Sequence>, transactions: Vec<Option<Transaction>>) -> GroupOutcome {
        let outcomes = self.journal.append(vec![Group { sequence, transactions }]).await.expect("a healthy journal appends");
        assert_eq!(outcomes.len(), 1, "one outcome a group");
        outcomes.into_iter().next().expect("one")
    }

    /// Events so far.
    pub fn position(&self) -> u64 {
        look(&*self.journal, State::position)
    }

    /// Settled and held.
    pub fn books(&self) -> (Amount, Amount) {
        look(&*self.journal, |state| state.figures(BUDGET, state.desk.time()).map(|(_, window)| (window.settled, window.held)))
            .expect("a budget")
    }

    /// The admission of a call of so many tokens, decided now.
    pub fn admit(&self, call: u128, boot: Boot, tokens: u64) -> Transaction {
        let policy = self.position();
        let admitted = Admitted {
            node: NODE,
            boot,
            key: KEY,
            policy,
            ceiling: figures(tokens),
            budgets: vec![BUDGET],
            claim: None,
            model: "m".into(),
            endpoint: "chat".into(),
            stream: false,
            tags: Vec::new(),
            caller: call::Caller::default(),
        };
        let guards = vec![Guard::Current { key: KEY, policy }, Guard::Fits];
        transaction(guards, vec![Event::Call(CallId(call), call::Event::Admitted(Box::new(admitted)))])
    }
}

fn terms(limit: Amount) -> budget::Terms {
    budget::Terms { limit, hard: true, alert_at_ppm: Vec::new() }
}

fn figures(tokens: u64) -> Figures {
    Figures { cost: Money::ZERO, tokens, requests: 1 }
}

fn transaction(guards: Vec<Guard>, events: Vec<Event>) -> Transaction {
    let events = events.into_iter().map(|event| Proposal::new(event, Principal::System, 0)).collect();
    Transaction { guards, events, notes: Vec::new() }
}

/// The record of a call that used so many tokens.
pub fn finish(call: u128, tokens: u64) -> Transaction {
    let finished = Finished {
        key: KEY,
        model: "m".into(),
        outcome: call::Outcome::Ok,
        attempts: Vec::new(),
        usage: Usage { output: tokens, ..Usage::default() },
        used: figures(tokens),
        apart: Vec::new(),
        charge: Money::ZERO,
        overrun: Money::ZERO,
        uncertain: Money::ZERO,
        estimated: false,
        total_ms: 1,
        decision: call::Decision::default(),
    };
    transaction(Vec::new(), vec![Event::Call(CallId(call), call::Event::Finished(Box::new(finished)))])
}

/// The number of a group in the first lane.
pub fn seq(boot: Boot, seq: u64) -> Option<Sequence> {
    Some(Sequence { node: NODE, boot, lane: 0, seq })
}

fn done(outcomes: &[Outcome]) -> GroupOutcome {
    GroupOutcome::Done(outcomes.to_vec())
}

async fn sessions(house: &House) {
    let group = vec![Some(house.admit(1, BOOT, 10)), Some(house.admit(2, BOOT, 1_000))];
    let outcomes = house.group(seq(BOOT, 1), group.clone()).await;
    assert_eq!(outcomes, done(&[Outcome::Taken, Outcome::Exceeded(0)]));
    let position = house.position();
    assert_eq!(house.group(seq(BOOT, 1), group).await, outcomes, "the last group again is answered from memory");
    assert_eq!(house.group(seq(BOOT, 3), vec![Some(finish(1, 1))]).await, GroupOutcome::Gap { expected: 2 });
    assert_eq!(house.position(), position, "and nothing was recorded");
    assert_eq!(house.one(seq(BOOT, 2), finish(1, 4)).await, Outcome::Taken);
    assert_eq!(house.group(seq(BOOT, 1), vec![Some(finish(1, 5))]).await, GroupOutcome::Late);
    let other_lane = Some(Sequence { node: NODE, boot: BOOT, lane: 1, seq: 1 });
    assert_eq!(house.one(other_lane, house.admit(3, BOOT, 10)).await, Outcome::Taken, "lanes count for themselves");
    assert_eq!(house.books(), (4, 10));
}

async fn fences(house: &House) {
    assert_eq!(house.one(seq(BOOT, 1), house.admit(1, BOOT, 10)).await, Outcome::Taken);
    let next = Boot(12);
    house.start(next).await;
    assert_eq!(house.group(seq(BOOT, 2), vec![Some(finish(1, 4))]).await, GroupOutcome::Fenced);
    assert_eq!(house.group(seq(Boot(13), 1), vec![Some(finish(1, 4))]).await, GroupOutcome::Fenced, "a session that was never opened");
    assert_eq!(house.books(), (0, 10));
    assert_eq!(house.one(seq(next, 1), finish(1, 4)).await, Outcome::Taken, "a fact comes from any session of its node");
    assert_eq!(house.one(seq(next, 2), house.admit(2, BOOT, 10)).await, Outcome::Conflict, "an admission of its own only");
}

async fn guards(house: &House) {
    let lowered = |limit| Event::Budget(BUDGET, budget::Event::LimitSet { limit });
    let stale = transaction(vec![Guard::Version(StreamId::Budget(BUDGET), 0)], vec![lowered(1)]);
    assert_eq!(house.one(None, stale).await, Outcome::Conflict);
    let before = house.admit(1, BOOT, 10);
    assert_eq!(house.keep(lowered(50)).await, Outcome::Taken);
    assert_eq!(house.one(seq(BOOT, 1), before).await, Outcome::Stale);
    assert_eq!(house.one(seq(BOOT, 2), house.admit(1, BOOT, 40)).await, Outcome::Taken);
    assert_eq!(house.one(seq(BOOT, 3), house.admit(2, BOOT, 40)).await, Outcome::Held(0));
    assert_eq!(house.one(seq(BOOT, 4), house.admit(2, BOOT, 51)).await, Outcome::Exceeded(0));
    let extended = call::Extended { attempt: 2, adds: Vec::new(), ceiling: Figures::default() };
    let extend = |call| {
        transaction(
            vec![Guard::HoldOpen(CallId(call)), Guard::Fits],
            vec![Event::Call(CallId(call), call::Event::Extended(extended.clone()))],
        )
    };
    assert_eq!(house.one(seq(BOOT, 5), extend(9)).await, Outcome::NotOpen);
    assert_eq!(house.one(seq(BOOT, 6), extend(1)).await, Outcome::Taken);
    assert_eq!(house.books(), (0, 40));
}

async fn duplicates(house: &House) {
    assert_eq!(house.one(seq(BOOT, 1), house.admit(1, BOOT, 10)).await, Outcome::Taken);
    assert_eq!(house.group(seq(BOOT, 2), vec![Some(finish(1, 4)), Some(finish(1, 4))]).await, done(&[Outcome::Taken, Outcome::Duplicate]));
    let position = house.position();
    assert_eq!(house.one(seq(BOOT, 3), finish(1, 9)).await, Outcome::Duplicate);
    assert_eq!(house.one(seq(BOOT, 4), finish(77, 9)).await, Outcome::Duplicate, "of a call that never was");
    assert_eq!((house.position(), house.books()), (position, (4, 0)), "no trace");
}

async fn places(house: &House) {
    let unread = Proposal::read(StreamId::Call(CallId(5)), Principal::System, 0, vec![0xff; 9]);
    let unread = Transaction { events: vec![unread], ..Transaction::default() };
    let big = Proposal::read(StreamId::Call(CallId(5)), Principal::System, 0, vec![0; limits::TRANSACTION_BYTES_MAX + 1]);
    let big = Transaction { events: vec![big], ..Transaction::default() };
    let group = vec![None, Some(unread), Some(house.admit(1, BOOT, 10)), Some(big), Some(finish(1, 4)), None];
    let (out, taken) = (Outcome::TakenOut, Outcome::Taken);
    assert_eq!(house.group(seq(BOOT, 1), group).await, done(&[out, out, taken, out, taken, out]), "outcomes go by index");
    assert_eq!(house.group(seq(BOOT, 2), Vec::new()).await, done(&[]));
    assert_eq!(house.group(seq(BOOT, 3), vec![None]).await, done(&[out]));
    assert_eq!(house.books(), (4, 0));
}

async fn entries(house: &House) {
    let group = |number, transactions: Vec<Transaction>| Group {
        sequence: seq(BOOT, number),
        transactions: transactions.into_iter().map(Some).collect(),
    };
    let one = house.admit(1, BOOT, 60);
    let two = house.admit(2, BOOT, 60);
    let three = house.admit(3, BOOT, 60);
    let groups =
        vec![group(1, vec![one]), group(1, vec![two.clone()]), group(2, vec![two]), group(3, vec![finish(1, 5)]), group(4, vec![three])];
    let outcomes = house.journal.append(groups).await.expect("a healthy journal appends");
    let alone = |outcome| done(&[outcome]);
    let expected = [Outcome::Taken, Outcome::Taken, Outcome::Held(0), Outcome::Taken, Outcome::Taken];
    assert_eq!(outcomes, expected.map(alone), "each group sees what those before it did");
    assert!(house.journal.append(Vec::new()).await.expect("nothing is appended").is_empty());
    assert_eq!(house.books(), (5, 60));
}

async fn reading(house: &House) {
    for call in 0..20 {
        assert_eq!(house.one(seq(BOOT, 2 * call + 1), house.admit(call.into(), BOOT, 10)).await, Outcome::Taken);
        assert_eq!(house.one(seq(BOOT, 2 * call + 2), finish(call.into(), 1)).await, Outcome::Taken);
    }
    let all = read_all(&*house.journal).await;
    assert_eq!(all.len() as u64, house.position());
    assert!(all.iter().map(|record| record.envelope.n).eq(0..house.position()), "dense from 0");
    let some = house.journal.read(7, 5).await.expect("it reads");
    assert_eq!(
        some.iter().map(|record| &record.leaf).collect::<Vec<_>>(),
        all[7..12].iter().map(|record| &record.leaf).collect::<Vec<_>>()
    );
    assert!(house.journal.read(house.position(), 5).await.expect("it reads").is_empty());
    assert!(house.journal.read(u64::MAX, 5).await.expect("it reads").is_empty());
    let mut replayed = State::default();
    all.iter().for_each(|record| replayed.replay(record).expect("what was applied replays"));
    replayed.settle();
    let live = look(&*house.journal, |state| {
        let mut copy = state.clone();
        copy.settle();
        copy.digests().books
    });
    assert_eq!(replayed.digests().books, live, "a replay gives the same books");
}

/// All events, in small portions.
pub async fn read_all(journal: &dyn Journal) -> Vec<Recorded> {
    let mut all = Vec::new();
    loop {
        let mut some = journal.read(all.len() as u64, 7).await.expect("it reads");
        if some.is_empty() {
            return all;
        }
        all.append(&mut some);
    }
}

#[derive(Clone, Default)]
struct Follower(Arc<Mutex<(Vec<u64>, Vec<StreamId>)>>);

impl Observer for Follower {
    fn applied(&mut self, state: &State, records: &[Recorded], due: &[StreamId]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.0.extend(records.iter().map(|record| record.envelope.n));
        seen.1.extend(due);
        assert!(seen.0.last().is_none_or(|last| last + 1 == state.position()), "the state is as of the last record");
    }
}

async fn following(house: &House) {
    let (follower, start) = (Follower::default(), house.position());
    house.journal.observe(Box::new(follower.clone()));
    assert_eq!(house.one(seq(BOOT, 1), house.admit(1, BOOT, 10)).await, Outcome::Taken);
    house.start(Boot(12)).await;
    let seen = follower.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(seen.0, (start..house.position()).collect::<Vec<_>>(), "in order, from now on");
    assert!(seen.1.contains(&StreamId::Node(NODE)), "a node whose session ended has something to do");
    let owed = look(&*house.journal, |state| events::Aggregate::owed(state.books.nodes.get(&NODE).expect("a node"), state));
    assert_eq!(owed, [node::Effect::Orphan(vec![CallId(1)])]);
}

async fn stopping(house: &House) {
    assert_eq!(house.journal.health(), Health::Ready);
    house.journal.stop().await;
    let group = Group { sequence: seq(BOOT, 1), transactions: vec![Some(house.admit(1, BOOT, 10))] };
    assert!(matches!(house.journal.append(vec![group]).await, Err(AppendFault::Stopped(_))));
    house.journal.stop().await;
    assert_eq!(house.books(), (0, 0));
}
