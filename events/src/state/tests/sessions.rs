//! Appending exactly once (LEDGER §2).

use super::world::*;
use crate::{
    Owner, StreamId,
    envelope::Principal,
    state::State,
    transaction::{Group, GroupOutcome, Outcome, Proposal, Transaction},
};

fn done(outcomes: &[Outcome]) -> GroupOutcome {
    GroupOutcome::Done(outcomes.to_vec())
}

#[test]
fn an_admission_whose_answer_was_lost_is_answered_from_memory_and_holds_once() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let group = || sequence(NODE, 1, 0, 1);
    let admit = world.admit_transaction(call_id(1), world.admission(NODE, 1, figures(6), &[budget]));
    let refused = world.admit_transaction(call_id(2), world.admission(NODE, 1, figures(6), &[budget]));
    let both = [Outcome::Taken, Outcome::Held(0)];
    assert_eq!(world.send(group(), vec![admit.clone(), refused.clone()]), done(&both));
    let events = world.history.len();
    assert_eq!(world.send(group(), vec![admit, refused]), done(&both));
    assert_eq!((world.history.len(), world.books(budget)), (events, (0, 6, 0)));
}

#[test]
fn outcomes_go_by_index_where_the_gate_took_some_out() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let admit = |world: &World, call| Some(world.admit_transaction(call_id(call), world.admission(NODE, 1, figures(6), &[budget])));
    let judged = Group { sequence: Some(sequence(NODE, 1, 0, 1)), transactions: vec![None, admit(&world, 2), admit(&world, 3)] };
    let outcomes = [Outcome::TakenOut, Outcome::Taken, Outcome::Held(0)];
    assert_eq!(world.apply(&judged), done(&outcomes));
    // the leader dies; sent again nothing is taken out, and nothing is judged anew
    let whole = Group { transactions: vec![admit(&world, 1), admit(&world, 2), admit(&world, 3)], ..judged };
    assert_eq!(world.apply(&whole), done(&outcomes));
    assert_eq!(world.books(budget), (0, 6, 0));
}

#[test]
fn a_group_that_was_never_taken_is_taken_whole_when_it_comes_again() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let admits: Vec<_> =
        (1..=3).map(|call| world.admit_transaction(call_id(call), world.admission(NODE, 1, figures(5), &[budget]))).collect();
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), admits), done(&[Outcome::Taken, Outcome::Taken, Outcome::Held(0)]));
}

#[test]
fn late_groups_are_ignored_and_gaps_are_named() {
    let mut world = World::new();
    world.budget(10, Owner::Scope(SCOPE), 100);
    assert_eq!(world.send(sequence(NODE, 1, 0, 2), vec![]), GroupOutcome::Gap { expected: 1 });
    assert_eq!(world.send(sequence(NODE, 1, 0, 0), vec![record(call_id(1), 1)]), GroupOutcome::Gap { expected: 1 });
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), vec![]), done(&[]));
    assert_eq!(world.send(sequence(NODE, 1, 0, 2), vec![record(call_id(1), 1)]), done(&[Outcome::Duplicate]));
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), vec![]), GroupOutcome::Late);
    assert_eq!(world.send(sequence(NODE, 1, 0, 4), vec![]), GroupOutcome::Gap { expected: 3 });
}

#[test]
fn lanes_count_apart() {
    let mut world = World::new();
    for lane in 0..2 {
        assert_eq!(world.send(sequence(NODE, 1, lane, 1), vec![]), done(&[]));
    }
    assert_eq!(world.send(sequence(NODE, 1, 0, 2), vec![]), done(&[]));
}

#[test]
fn an_older_boot_is_fenced_and_the_next_counts_from_one() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 100);
    assert_eq!(world.admit(call_id(1), 5, &[budget]), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!(world.send(sequence(NODE, 1, 0, 2), vec![record(call_id(1), 1)]), GroupOutcome::Fenced);
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), vec![]), GroupOutcome::Fenced, "not even what it remembers");
    assert_eq!(world.send(sequence(NODE, 2, 0, 1), vec![record(call_id(1), 1)]), done(&[Outcome::Taken]));
    assert_eq!(world.books(budget), (1, 0, 0));
}

#[test]
fn a_node_that_is_lost_or_never_started_is_fenced() {
    let mut world = World::new();
    assert_eq!(world.send(sequence(OTHER_NODE, 1, 0, 1), vec![]), GroupOutcome::Fenced);
    assert_eq!(world.send(sequence(crate::NodeId(99), 1, 0, 1), vec![]), GroupOutcome::Fenced);
    world.keep(crate::Event::Node(NODE, crate::node::Event::Lost));
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), vec![]), GroupOutcome::Fenced);
}

#[test]
fn nobody_admits_in_anothers_name() {
    let mut world = World::new();
    world.start(OTHER_NODE, 5);
    let admit = world.admit_transaction(call_id(1), world.admission(NODE, 1, figures(1), &[]));
    assert_eq!(world.say_as(OTHER_NODE, 5, admit.clone()), Outcome::Conflict);
    assert_eq!(world.keepers(admit), Outcome::Conflict);
    assert_eq!(world.admit(call_id(1), 1, &[]), Outcome::Taken);
    assert_eq!(world.say_as(OTHER_NODE, 5, record(call_id(1), 1)), Outcome::Duplicate, "a record comes from the call's own node");
    assert_eq!(world.say(record(call_id(1), 1)), Outcome::Taken);
}

#[test]
fn one_bad_transaction_among_many_touches_no_other() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let admits = [6, 9, 4]
        .into_iter()
        .enumerate()
        .map(|(call, ceiling)| world.admit_transaction(call_id(call as u128), world.admission(NODE, 1, figures(ceiling), &[budget])));
    let admits: Vec<_> = admits.collect();
    assert_eq!(world.send(sequence(NODE, 1, 0, 1), admits), done(&[Outcome::Taken, Outcome::Held(0), Outcome::Taken]));
    assert_eq!(world.books(budget), (0, 10, 0));
}

#[test]
fn a_refused_transaction_leaves_no_trace_of_any_of_its_parts() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let mut refused = world.admit_transaction(call_id(1), world.admission(NODE, 1, figures(11), &[budget]));
    refused.notes.push((crate::NoteId::Cluster, Some(b"x".to_vec())));
    let (books, events) = (world.state.clone(), world.history.len());
    assert_eq!(world.say(refused), Outcome::Exceeded(0));
    let mut before = books;
    before.settle();
    world.state.settle();
    assert_eq!((world.history.len(), world.state.digests().books), (events, before.digests().books));
    assert!(world.state.desk.notes.is_empty());
}

#[test]
fn an_event_that_is_not_known_stops_the_replica() {
    let mut world = World::new();
    let proposal = Proposal::read(StreamId::Call(call_id(1)), Principal::System, 0, vec![0xff]);
    let unknown = Transaction { events: vec![proposal], ..Transaction::default() };
    assert!(unknown.check().is_err());
    let group = Group { sequence: Some(sequence(NODE, 1, 0, 1)), transactions: vec![Some(unknown)] };
    assert!(world.state.apply(&group, world.now, &mut Vec::new()).is_err());
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    let before = world.now;
    world.now = crate::Timestamp(5);
    world.keep(crate::Event::Key(KEY, crate::key::Event::Blocked));
    assert_eq!(world.history.last().map(|record| record.envelope.at), Some(before));
    assert_eq!(State::default().desk.time(), crate::Timestamp(0));
}
