//! Records: finished, released, orphaned, late, adjusted (LEDGER §5).

use super::{oracle::Status, world::*};
use crate::{
    Amount, BudgetId, Event, Money, Owner,
    call::{Adjusted, Event as Call, Orphaned},
    limits,
    node::{self},
    transaction::{GroupOutcome, Guard, Outcome},
};
use std::time::Duration;

fn adjusted(world: &World, call: u128, budget: BudgetId, delta: Amount) -> crate::transaction::Transaction {
    let (tenant, key, admitted_at) = (TENANT, KEY, world.now);
    let adjusted = Adjusted { admitted_at, tenant, key, deltas: vec![(budget, delta)], delta: Money(delta), reason: "reconciled".into() };
    transaction(vec![], vec![Event::Call(call_id(call), Call::Adjusted(Box::new(adjusted)))])
}

#[test]
fn a_record_frees_all_that_was_held_and_settles_what_was_used() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    assert_eq!(world.books(budget), (3, 0, 0));
    assert_eq!(world.admit(call_id(2), 7, &[budget]), Outcome::Taken);
    assert_eq!(world.say(released(call_id(2))), Outcome::Taken);
    assert_eq!(world.books(budget), (3, 0, 0));
    let meter = world.state.books.meters.get(&KEY).unwrap();
    assert_eq!((meter.open, meter.finished, meter.released, meter.cost), (0, 1, 1, Money(3)));
}

#[test]
fn what_is_billed_above_the_ceiling_is_an_overrun_and_stops_admissions() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 12)), Outcome::Taken);
    assert_eq!(world.books(budget), (12, 0, 4));
    assert_eq!(world.admit(call_id(2), 0, &[budget]), Outcome::Exceeded(0));
}

#[test]
fn a_second_record_leaves_no_trace() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    let (events, before) = (world.history.len(), {
        world.state.settle();
        world.state.digests().books
    });
    // a spool's entry that was appended, and once more after a crash; a fact of another kind; a call that never was
    for late in [record(call_id(1), 3), record(call_id(1), 9), released(call_id(1)), record(call_id(2), 1)] {
        assert_eq!(world.say(late), Outcome::Duplicate);
    }
    world.state.settle();
    assert_eq!((world.history.len(), world.state.digests().books), (events, before));
}

#[test]
fn two_records_in_one_transaction_are_refused() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    let mut twice = record(call_id(1), 3);
    twice.events.extend(record(call_id(1), 3).events);
    assert_eq!(world.say(twice), Outcome::Conflict);
    let mut reborn = world.admit_transaction(call_id(2), world.admission(NODE, 1, figures(1), &[budget]));
    reborn.events.extend(reborn.events.clone());
    assert_eq!(world.say(reborn), Outcome::Conflict);
    assert_eq!(world.books(budget), (0, 8, 0));
}

#[test]
fn a_kill_between_admission_and_record_gives_an_orphan_at_the_ceiling() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.orphan(), 0, "its session runs");
    world.start(NODE, 2);
    assert_eq!(world.orphan(), 1);
    assert_eq!(world.books(budget), (8, 0, 0));
    assert_eq!(world.oracle.calls[&call_id(1)].status, Status::Orphaned);
    assert_eq!(world.orphan(), 0, "paid once");
    let meter = world.state.books.meters.get(&KEY).unwrap();
    assert_eq!((meter.open, meter.orphaned, meter.cost), (0, 1, Money(8)));
}

#[test]
fn a_fact_before_the_next_start_leaves_no_orphan() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!((world.orphan(), world.books(budget)), (0, (3, 0, 0)));
}

#[test]
fn a_late_fact_replaces_an_orphans_charge_once() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.admit(call_id(2), 8, &[budget]), Outcome::Taken);
    world.keep(Event::Node(NODE, node::Event::Lost));
    assert_eq!((world.orphan(), world.books(budget)), (2, (16, 0, 0)));
    world.start(NODE, 2);
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    assert_eq!(world.say(released(call_id(2))), Outcome::Taken);
    assert_eq!(world.books(budget), (3, 0, 0));
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Duplicate);
    let meter = world.state.books.meters.get(&KEY).unwrap();
    assert_eq!((meter.open, meter.orphaned, meter.finished, meter.released, meter.cost), (0, 0, 1, 1, Money(3)));
}

#[test]
fn a_late_fact_above_the_ceiling_is_an_overrun() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 8);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!(world.orphan(), 1);
    assert_eq!(world.say(record(call_id(1), 11)), Outcome::Taken);
    assert_eq!(world.books(budget), (11, 0, 3));
}

#[test]
fn an_orphan_of_an_extended_call_is_charged_all_that_it_held() {
    let mut world = World::new();
    let scope = world.budget(10, Owner::Scope(SCOPE), 20);
    let provider = world.budget(11, Owner::Platform, 20);
    assert_eq!(world.admit(call_id(1), 5, &[scope]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(scope, 5), (provider, 5)])), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!(world.orphan(), 1);
    assert_eq!((world.books(scope), world.books(provider)), ((10, 0, 0), (5, 0, 0)));
}

#[test]
fn a_partitioned_nodes_twenty_calls_become_orphans_and_then_exact() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 100);
    for call in 0..20 {
        assert_eq!(world.admit(call_id(call), 5, &[budget]), Outcome::Taken);
    }
    assert_eq!(world.admit(call_id(99), 1, &[budget]), Outcome::Held(0));
    world.wait(limits::LOST_AFTER);
    world.keep(Event::Node(NODE, node::Event::Lost));
    assert_eq!((world.orphan(), world.books(budget)), (20, (100, 0, 0)));
    // it heals: its old session is fenced, a new one brings the facts, all in one group
    let facts: Vec<_> = (0..20).map(|call| record(call_id(call), 2)).collect();
    assert_eq!(world.send(sequence(NODE, 1, 0, 21), facts.clone()), GroupOutcome::Fenced);
    world.start(NODE, 2);
    assert_eq!(world.send(sequence(NODE, 2, 0, 1), facts.clone()), GroupOutcome::Done(vec![Outcome::Taken; 20]));
    // the leader dies, the answer is lost: the same group again is remembered
    assert_eq!(world.send(sequence(NODE, 2, 0, 1), facts.clone()), GroupOutcome::Done(vec![Outcome::Taken; 20]));
    assert_eq!(world.send(sequence(NODE, 2, 0, 2), facts), GroupOutcome::Done(vec![Outcome::Duplicate; 20]));
    assert_eq!(world.books(budget), (40, 0, 0));
}

#[test]
fn nobody_orphans_a_call_of_a_running_session_or_twice() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    let event = world.orphaned(call_id(1));
    assert_eq!(world.keepers(transaction(vec![Guard::HoldOpen(call_id(1))], vec![event.clone()])), Outcome::NotOpen);
    world.start(NODE, 2);
    let both = transaction(vec![Guard::HoldOpen(call_id(1))], vec![event.clone(), event.clone()]);
    assert_eq!(world.keepers(both), Outcome::Conflict);
    assert_eq!(world.keepers(transaction(vec![], vec![event.clone()])), Outcome::Taken);
    assert_eq!(world.keepers(transaction(vec![], vec![event])), Outcome::NotOpen);
    let unknown = Orphaned { node: NODE, boot: crate::Boot(1), key: KEY, model: String::new(), charged: figures(1) };
    assert_eq!(world.keepers(transaction(vec![], vec![Event::Call(call_id(5), Call::Orphaned(unknown))])), Outcome::NotOpen);
}

#[test]
fn an_orphan_is_kept_for_its_time_and_no_longer() {
    for (wait, outcome, books) in [(Duration::ZERO, Outcome::Taken, 3), (Duration::from_secs(1), Outcome::Duplicate, 8)] {
        let mut world = World::new();
        let budget = world.budget(10, Owner::Scope(SCOPE), 20);
        assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
        world.start(NODE, 2);
        assert_eq!(world.orphan(), 1);
        world.wait(limits::ORPHAN_KEPT + wait);
        assert_eq!(world.say(record(call_id(1), 3)), outcome, "after {wait:?} more");
        world.keep(Event::Key(OTHER_KEY, crate::key::Event::Blocked));
        assert_eq!(world.books(budget), (books, 0, 0), "after {wait:?} more");
        assert!(world.state.books.orphans.is_empty());
        assert_eq!(world.state.figures(budget, world.now).unwrap().1.orphans, 0);
    }
}

#[test]
fn a_correction_changes_a_record_and_upwards_it_is_an_overrun() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    let (down, up, unknown) = (adjusted(&world, 1, budget, -2), adjusted(&world, 1, budget, 5), adjusted(&world, 1, BudgetId(99), 5));
    assert_eq!(world.keepers(down.clone()), Outcome::Conflict, "an open call has nothing to correct");
    assert_eq!(world.say(record(call_id(1), 6)), Outcome::Taken);
    assert_eq!(world.keepers(down), Outcome::Taken);
    assert_eq!(world.books(budget), (4, 0, 0));
    assert_eq!(world.keepers(up), Outcome::Taken);
    assert_eq!(world.books(budget), (9, 0, 5));
    assert_eq!(world.keepers(unknown), Outcome::Conflict);
    assert_eq!(world.history.last().unwrap().envelope.version, 0, "its stream is known no more");
    assert_eq!(world.state.books.meters.get(&KEY).unwrap().cost, Money(9));
}

#[test]
fn a_late_fact_replaces_a_corrected_orphans_charge_as_a_whole() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!(world.orphan(), 1);
    let down = adjusted(&world, 1, budget, -5);
    assert_eq!(world.keepers(down), Outcome::Taken);
    assert_eq!(world.books(budget), (3, 0, 0));
    assert_eq!(world.say(record(call_id(1), 2)), Outcome::Taken);
    assert_eq!(world.books(budget), (2, 0, 0));
    let versions: Vec<u64> = world.history.iter().rev().take(3).map(|record| record.envelope.version).collect();
    assert_eq!(versions, [4, 3, 2]);
    assert_eq!(world.state.books.meters.get(&KEY).unwrap().cost, Money(2));
}

#[test]
fn a_filtered_budget_counts_its_own_share() {
    let mut world = World::new();
    let scope = world.budget(10, Owner::Scope(SCOPE), 20);
    let provider = world.budget(11, Owner::Platform, 20);
    assert_eq!(world.admit(call_id(1), 8, &[scope, provider]), Outcome::Taken);
    let mut fact = finished(KEY, figures(6));
    fact.apart = vec![(provider, figures(2))];
    assert_eq!(world.say(transaction(vec![], vec![Event::Call(call_id(1), Call::Finished(Box::new(fact)))])), Outcome::Taken);
    assert_eq!((world.books(scope), world.books(provider)), ((6, 0, 0), (2, 0, 0)));
}

#[test]
fn the_node_keeper_is_told_when_it_may_owe() {
    let mut world = World::new();
    world.state.take_due();
    assert_eq!(world.admit(call_id(1), 8, &[]), Outcome::Taken);
    assert_eq!(world.state.take_due(), []);
    world.start(NODE, 2);
    assert_eq!(world.state.take_due(), [crate::StreamId::Node(NODE)]);
    world.keep(Event::Node(NODE, node::Event::Removed));
    assert_eq!(world.state.take_due(), [crate::StreamId::Node(NODE)]);
}

/// What a call lost in translation stands right before its record: both or neither.
#[test]
fn losses_come_with_their_record() {
    let mut world = World::new();
    let losses = |count| {
        let loss = crate::call::Loss { half: crate::call::Half::Request, kind: "sampling".into(), path: "seed".into() };
        Call::Translated(Box::new(crate::call::Translated { key: KEY, provider: crate::ProviderId(5), losses: vec![loss; count] }))
    };
    let with = |id, count, used| {
        let end = Call::Finished(Box::new(finished(KEY, figures(used))));
        transaction(vec![], vec![Event::Call(call_id(id), losses(count)), Event::Call(call_id(id), end)])
    };
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.say(with(1, 1, 3)), Outcome::Duplicate, "it was never admitted");
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    assert_eq!(world.say(with(1, crate::limits::LOSSES_RECORDED_MAX + 1, 3)), Outcome::Conflict);
    assert_eq!(world.say(with(1, 2, 3)), Outcome::Taken);
    assert_eq!(world.books(budget), (3, 0, 0));
    let [.., lost, end] = &world.history[..] else { panic!("two events") };
    assert_eq!(
        (lost.envelope.version, end.envelope.version, lost.envelope.tenant, lost.envelope.cause),
        (2, 3, Some(TENANT), end.envelope.cause)
    );
    let before = world.history.len();
    assert_eq!(world.say(with(1, 1, 3)), Outcome::Duplicate, "another record is in force");
    assert_eq!(world.history.len(), before);
}
