//! What is changed while calls are under way (LEDGER §8).

use super::world::*;
use crate::{
    Amount, BudgetId, Event, Owner, budget, key, scope, tenant,
    transaction::{Outcome, Transaction},
};

fn set_limit(world: &mut World, budget: BudgetId, limit: Amount) {
    world.keep(Event::Budget(budget, budget::Event::LimitSet { limit }));
}

/// An admission decided now, to be sent later.
fn decided(world: &World, call: u128, ceiling: u64, budgets: &[BudgetId]) -> Transaction {
    world.admit_transaction(call_id(call), world.admission(NODE, 1, figures(ceiling), budgets))
}

#[test]
fn a_lowered_limit_binds_what_comes_after_and_touches_nothing_in_flight() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 8, &[budget]), Outcome::Taken);
    let in_flight = decided(&world, 2, 1, &[budget]);
    set_limit(&mut world, budget, 5);
    assert_eq!(world.books(budget), (0, 8, 0), "free is negative");
    assert_eq!(world.say(in_flight), Outcome::Stale);
    assert_eq!(world.admit(call_id(2), 1, &[budget]), Outcome::Held(0));
    assert_eq!(world.say(record(call_id(1), 7)), Outcome::Taken);
    assert_eq!(world.books(budget), (7, 0, 0), "settled above the limit, below what was held at the change");
    set_limit(&mut world, budget, 8);
    assert_eq!(world.admit(call_id(3), 1, &[budget]), Outcome::Taken);
}

#[test]
fn what_binds_an_admission_in_flight_makes_it_stale() {
    type Change = fn(&mut World, BudgetId);
    let changes: [(&str, Change); 6] = [
        ("key revoked", |world, _| world.keep(Event::Key(KEY, key::Event::Revoked))),
        ("key moved", |world, _| world.keep(Event::Key(KEY, key::Event::Moved { scope: None }))),
        ("scope moved", |world, _| world.keep(Event::Scope(SCOPE, scope::Event::Moved { parent: None }))),
        ("tenant's rates", |world, _| world.keep(Event::Tenant(TENANT, tenant::Event::RatesSet { rates: crate::Rates::default() }))),
        ("budget of the scope", |world, budget| set_limit(world, budget, 100)),
        ("a new budget of the platform", |world, _| _ = world.budget(11, Owner::Platform, 100)),
    ];
    for (name, change) in changes {
        let mut world = World::new();
        let budget = world.budget(10, Owner::Scope(SCOPE), 20);
        let in_flight = decided(&world, 1, 1, &[budget]);
        change(&mut world, budget);
        assert_eq!(world.say(in_flight), Outcome::Stale, "{name}");
        assert_eq!(world.books(budget), (0, 0, 0), "{name}");
    }
}

#[test]
fn what_does_not_bind_an_admission_lets_it_pass() {
    type Change = fn(&mut World, BudgetId);
    let changes: [(&str, Change); 4] = [
        ("another key", |world, _| world.keep(Event::Key(OTHER_KEY, key::Event::Revoked))),
        ("a budget of another key", |world, _| _ = world.budget(11, Owner::Key(OTHER_KEY), 0)),
        ("an alert", |world, budget| {
            world.keep(Event::Budget(budget, budget::Event::Alerted { window: crate::Timestamp(0), threshold_ppm: 1 }))
        }),
        ("a model", |world, _| world.keep(Event::Model(crate::ModelId(20), crate::model::Event::Set(crate::model::Settings::default())))),
    ];
    for (name, change) in changes {
        let mut world = World::new();
        let budget = world.budget(10, Owner::Scope(SCOPE), 20);
        let in_flight = decided(&world, 1, 1, &[budget]);
        change(&mut world, budget);
        assert_eq!(world.say(in_flight), Outcome::Taken, "{name}");
    }
}

#[test]
fn a_revoked_or_blocked_key_lets_nobody_in_and_its_calls_end() {
    for event in [key::Event::Revoked, key::Event::Blocked] {
        let mut world = World::new();
        let budget = world.budget(10, Owner::Scope(SCOPE), 20);
        assert_eq!(world.admit(call_id(1), 5, &[budget]), Outcome::Taken);
        world.keep(Event::Key(KEY, event));
        assert_eq!(world.admit(call_id(2), 5, &[budget]), Outcome::Stale, "also when it was decided after the change");
        assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
        assert_eq!(world.books(budget), (3, 0, 0));
    }
}

#[test]
fn a_closed_budget_takes_no_holds_and_keeps_its_books_until_nothing_is_held() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.admit(call_id(1), 5, &[budget]), Outcome::Taken);
    world.keep(Event::Budget(budget, budget::Event::Closed));
    assert_eq!(world.admit(call_id(2), 5, &[budget]), Outcome::Stale);
    assert_eq!(world.admit(call_id(3), 5, &[]), Outcome::Taken, "a path without it");
    assert_eq!(world.say(extended(call_id(3), &[(budget, 1)])), Outcome::Stale);
    assert_eq!(world.books(budget), (0, 5, 0));
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    assert_eq!(world.books(budget), (4, 0, 0));
    world.keep(Event::Budget(budget, budget::Event::Reopened));
    assert_eq!(world.admit(call_id(4), 16, &[budget]), Outcome::Taken, "it opens again with its books as they were");
    assert_eq!(world.admit(call_id(5), 1, &[budget]), Outcome::Held(0));
}

#[test]
fn calls_of_a_moved_key_stay_with_the_path_of_their_admission() {
    let mut world = World::new();
    let old = world.budget(10, Owner::Scope(SCOPE), 20);
    let new = world.budget(11, Owner::Tenant(TENANT), 20);
    assert_eq!(world.admit(call_id(1), 5, &[old]), Outcome::Taken);
    world.keep(Event::Key(KEY, key::Event::Moved { scope: None }));
    assert_eq!(world.admit(call_id(2), 6, &[new]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(old, 5)])), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 9)), Outcome::Taken);
    assert_eq!((world.books(old), world.books(new)), ((9, 0, 0), (0, 6, 0)));
}

#[test]
fn a_decision_on_a_stream_that_has_moved_on_is_a_conflict() {
    let mut world = World::new();
    let stream = crate::StreamId::Key(KEY);
    let guard = crate::transaction::Guard::Version(stream, world.state.version(stream));
    let block = transaction(vec![guard], vec![Event::Key(KEY, key::Event::Blocked)]);
    assert_eq!(world.keepers(block.clone()), Outcome::Taken);
    assert_eq!(world.keepers(block), Outcome::Conflict);
    assert_eq!(world.state.version(stream), 2);
}

#[test]
fn a_budget_is_found_by_what_makes_it_itself() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    let identity = world.state.books.budgets.get(&budget).unwrap().identity.clone();
    assert_eq!(world.state.budget_id(&identity), Some(budget));
    assert_eq!(world.state.budget_id(&budget::Identity { owner: Owner::Platform, ..identity }), None);
    assert_eq!(world.state.books.head.next_id, 11);
}
