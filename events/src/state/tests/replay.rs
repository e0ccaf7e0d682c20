//! Replaying the history gives the same books; rows that were stored give the same state (P4).

use super::world::*;
use crate::{
    Event, Every, Owner, State, Unit,
    envelope::Recorded,
    key, limits, node,
    table::Change,
    transaction::{Group, Outcome, Sequence},
};
use std::{collections::BTreeMap, time::Duration};

/// A store of rows, as changes leave it.
#[derive(Default)]
pub struct Rows(pub BTreeMap<(u8, Vec<u8>), Vec<u8>>);

impl Rows {
    pub fn write(&mut self, changes: Vec<Change>) {
        for Change { table, key, value } in changes {
            match value {
                Some(value) => drop(self.0.insert((table, key), value)),
                None => drop(self.0.remove(&(table, key))),
            }
        }
    }

    pub fn load(&self, n: u64) -> State {
        let mut state = State::default();
        for ((table, key), value) in &self.0 {
            state.load(*table, key, value).unwrap();
        }
        state.books.n = n;
        state.loaded();
        state
    }
}

/// Live and replayed, digest for digest.
pub fn assert_replays(state: &mut State, history: &[Recorded]) {
    let mut replayed = State::default();
    for (n, record) in history.iter().enumerate() {
        assert_eq!(record.envelope.n, n as u64, "positions are dense");
        let read = Recorded::read(&record.leaf).unwrap();
        assert_eq!(&read, record, "a leaf says all of its record");
        replayed.replay(&read).unwrap();
    }
    state.settle();
    replayed.settle();
    assert_eq!(replayed.digests().books, state.digests().books);
    assert_eq!((replayed.position(), replayed.books.head), (state.position(), state.books.head));
}

/// A little of everything, in three days.
fn busy() -> World {
    let mut world = World::new();
    let daily = world.open_budget(10, Owner::Scope(SCOPE), Unit::Usd, Every::Day, 100_000, true);
    let total = world.open_budget(11, Owner::Key(KEY), Unit::Tokens, Every::Total, 1_000, false);
    let requests = world.open_budget(12, Owner::Platform, Unit::Requests, Every::Hour, 100_000, true);
    for call in 0..60u128 {
        world.wait(Duration::from_secs(4_000));
        let boot = world.state.books.nodes.get(&NODE).unwrap().boot.0;
        let mut admitted = world.admission(NODE, boot, figures(5 + call as u64 % 7), &[daily, total]);
        admitted.claim = (call % 3 == 0).then_some(crate::call::Claim { key: [call as u8; 16], body: [0; 16] });
        let admit = world.admit_transaction(call_id(call), admitted);
        assert_eq!(world.say(admit), Outcome::Taken);
        match call % 5 {
            0 => assert_eq!(world.say(record(call_id(call), 4)), Outcome::Taken),
            1 => assert_eq!(world.say(released(call_id(call))), Outcome::Taken),
            2 => assert_eq!(world.say(extended(call_id(call), &[(requests, 1)])), Outcome::Taken),
            3 => world.start(NODE, boot + 1),
            _ => drop(world.orphan()),
        }
    }
    world.keep(Event::Key(OTHER_KEY, key::Event::Blocked));
    world.say(record(call_id(2), 30));
    world
}

#[test]
fn a_replay_gives_the_same_books() {
    let mut world = busy();
    assert!(world.history.len() > 100);
    assert_replays(&mut world.state, &world.history);
}

#[test]
fn a_replay_wants_the_next_event_and_no_other() {
    let world = busy();
    let mut state = State::default();
    assert!(state.replay(&world.history[1]).is_err());
    state.replay(&world.history[0]).unwrap();
    assert!(state.replay(&world.history[0]).is_err());
}

#[test]
fn rows_written_step_by_step_are_the_whole_state() {
    let mut world = World::new();
    let budget = world.open_budget(10, Owner::Scope(SCOPE), Unit::Usd, Every::Hour, 1_000, true);
    for call in 0..40 {
        world.wait(Duration::from_secs(1_000));
        assert_eq!(world.admit(call_id(call), 5, &[budget]), Outcome::Taken);
        if call > 2 {
            assert_eq!(world.say(record(call_id(call - 3), 2)), Outcome::Taken);
        }
        assert_eq!(world.loaded().digests(), world.state.digests(), "call {call}");
    }
}

#[test]
fn a_loaded_state_goes_on_as_the_live_one_does() {
    let mut live = busy();
    let mut other = live.loaded();
    assert_eq!(other.digests(), live.state.digests());
    assert_eq!(
        (other.position(), other.books.head, other.desk.time()),
        (live.state.position(), live.state.books.head, live.state.desk.time())
    );
    let boot = live.state.books.nodes.get(&NODE).unwrap().boot;
    let seq = live.state.desk.lane(&Sequence { node: NODE, boot, lane: 0, seq: 0 }).0;
    // the last group again, two more, and what expires orphans and claims
    let admit = live.admit_transaction(call_id(900), live.admission(NODE, boot.0, figures(5), &[crate::BudgetId(10)]));
    let groups = [(seq, vec![]), (seq + 1, vec![admit, record(call_id(3), 2)]), (seq + 2, vec![record(call_id(900), 2)])];
    for (index, (seq, transactions)) in groups.into_iter().enumerate() {
        live.wait(limits::ORPHAN_KEPT / 2);
        let group = Group {
            sequence: Some(Sequence { node: NODE, boot, lane: 0, seq }),
            transactions: transactions.into_iter().map(Some).collect(),
        };
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let outcomes = (live.state.apply(&group, live.now, &mut one), other.apply(&group, live.now, &mut two));
        assert_eq!(outcomes.0, outcomes.1, "group {index}");
        assert_eq!(one, two, "group {index}");
        live.state.settle();
        other.settle();
        assert_eq!(live.state.digests(), other.digests(), "group {index}");
    }
    assert!(other.take_due().contains(&crate::StreamId::Node(NODE)), "what an ended session left is still owed");
}

#[test]
fn a_flipped_row_gives_another_digest_and_a_row_twice_is_refused() {
    let mut world = World::new();
    world.keep(Event::Node(OTHER_NODE, node::Event::Started { boot: crate::Boot(3), lanes: 1 }));
    let mut rows = std::mem::take(&mut world.rows);
    let tenant = rows.0.iter_mut().find(|((table, _), _)| *table == 1).unwrap().1;
    let letter = tenant.iter().position(|byte| *byte == b'c').unwrap();
    tenant[letter] = b'd';
    let other = rows.load(world.state.books.n);
    assert_ne!(other.digests().books, world.state.digests().books);
    assert_eq!(other.digests().desk, world.state.digests().desk);
    let ((table, key), value) = rows.0.iter().next().unwrap();
    let mut twice = State::default();
    twice.load(*table, key, value).unwrap();
    assert!(twice.load(*table, key, value).is_err());
    assert!(twice.load(200, key, value).is_err(), "an unknown table");
}

#[test]
fn the_desk_is_no_part_of_the_books() {
    let mut world = World::new();
    world.state.settle();
    let before = world.state.digests();
    world.send(sequence(NODE, 1, 0, 1), vec![]);
    world.state.settle();
    assert_eq!(world.state.digests().books, before.books);
    assert_ne!(world.state.digests().desk, before.desk);
}
