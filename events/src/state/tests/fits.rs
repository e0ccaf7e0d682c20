//! Admission: what fits, and who is named where it does not (LEDGER §3–4).

use super::world::*;
use crate::{
    BudgetId, Event, Every, Figures, KeyId, Money, Owner, Unit, budget,
    call::Event as Call,
    limits,
    transaction::{Guard, Outcome},
};

#[test]
fn of_two_that_want_the_last_money_one_is_admitted() {
    let mut world = World::new();
    world.start(OTHER_NODE, 5);
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let mine = world.admit_transaction(call_id(1), world.admission(NODE, 1, figures(6), &[budget]));
    let theirs = world.admit_transaction(call_id(2), world.admission(OTHER_NODE, 5, figures(6), &[budget]));
    assert_eq!(world.say(mine), Outcome::Taken);
    assert_eq!(world.say_as(OTHER_NODE, 5, theirs), Outcome::Held(0));
    assert_eq!(world.books(budget), (0, 6, 0));
}

#[test]
fn the_nearest_level_that_fails_is_named() {
    let mut world = World::new();
    let near = world.budget(10, Owner::Key(KEY), 100);
    let middle = world.budget(11, Owner::Scope(SCOPE), 10);
    let far = world.budget(12, Owner::Tenant(TENANT), 5);
    let path = [near, middle, far];
    assert_eq!(world.admit(call_id(1), 101, &path), Outcome::Exceeded(0));
    assert_eq!(world.admit(call_id(2), 11, &path), Outcome::Exceeded(1));
    assert_eq!(world.admit(call_id(3), 6, &path), Outcome::Exceeded(2));
    assert_eq!(world.admit(call_id(4), 5, &path), Outcome::Taken);
    assert_eq!(world.admit(call_id(5), 1, &path), Outcome::Held(2));
    assert_eq!(world.admit(call_id(6), 6, &path), Outcome::Held(1), "the nearest, not the worst");
    for (budget, held) in path.into_iter().zip([5, 5, 5]) {
        assert_eq!(world.books(budget), (0, held, 0), "a refusal takes nothing on any level");
    }
}

#[test]
fn exceeded_is_what_would_not_fit_with_nothing_held() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    assert_eq!(world.admit(call_id(1), 4, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    assert_eq!(world.admit(call_id(2), 6, &[budget]), Outcome::Taken, "to the last pico-dollar");
    assert_eq!(world.admit(call_id(3), 6, &[budget]), Outcome::Held(0));
    assert_eq!(world.admit(call_id(4), 7, &[budget]), Outcome::Exceeded(0));
}

#[test]
fn a_soft_budget_counts_and_refuses_nobody() {
    let mut world = World::new();
    let soft = world.open_budget(10, Owner::Scope(SCOPE), Unit::Usd, Every::Total, 3, false);
    let hard = world.budget(11, Owner::Tenant(TENANT), 10);
    assert_eq!(world.admit(call_id(1), 8, &[soft, hard]), Outcome::Taken);
    assert_eq!(world.books(soft), (0, 8, 0));
    assert_eq!(world.say(record(call_id(1), 7)), Outcome::Taken);
    assert_eq!(world.books(soft), (7, 0, 0));
    assert_eq!(world.admit(call_id(2), 4, &[soft, hard]), Outcome::Exceeded(1));
}

#[test]
fn each_budget_counts_in_its_own_unit() {
    let mut world = World::new();
    let money = world.budget(10, Owner::Scope(SCOPE), 1_000);
    let tokens = world.open_budget(11, Owner::Scope(SCOPE), Unit::Tokens, Every::Total, 50, true);
    let requests = world.open_budget(12, Owner::Scope(SCOPE), Unit::Requests, Every::Total, 2, true);
    let path = [money, tokens, requests];
    let ceiling = Figures { cost: Money(600), tokens: 40, requests: 1 };
    let admit = |world: &World, call| world.admit_transaction(call_id(call), world.admission(NODE, 1, ceiling, &path));
    let first = admit(&world, 1);
    assert_eq!(world.say(first), Outcome::Taken);
    assert_eq!((world.books(money), world.books(tokens), world.books(requests)), ((0, 600, 0), (0, 40, 0), (0, 1, 0)));
    let used = Figures { cost: Money(300), tokens: 20, requests: 1 };
    let end = Event::Call(call_id(1), Call::Finished(Box::new(finished(KEY, used))));
    assert_eq!(world.say(transaction(vec![], vec![end])), Outcome::Taken);
    assert_eq!((world.books(money), world.books(tokens), world.books(requests)), ((300, 0, 0), (20, 0, 0), (1, 0, 0)));
    let second = admit(&world, 2);
    assert_eq!(world.say(second), Outcome::Exceeded(1), "20 + 40 tokens are more than 50");
}

#[test]
fn a_budget_of_a_hundred_requests_lets_exactly_a_hundred_pass() {
    let mut world = World::new();
    let budget = world.open_budget(10, Owner::Key(KEY), Unit::Requests, Every::Day, 100, true);
    let mut taken = 0;
    for call in 0..300 {
        if world.admit(call_id(call), 0, &[budget]) == Outcome::Taken {
            taken += 1;
            assert_eq!(world.say(record(call_id(call), 0)), Outcome::Taken);
        }
    }
    assert_eq!((taken, world.books(budget)), (100, (100, 0, 0)));
}

#[test]
fn what_was_released_is_no_request() {
    let mut world = World::new();
    let budget = world.open_budget(10, Owner::Key(KEY), Unit::Requests, Every::Day, 1, true);
    assert_eq!(world.admit(call_id(1), 0, &[budget]), Outcome::Taken);
    assert_eq!(world.say(released(call_id(1))), Outcome::Taken);
    assert_eq!(world.admit(call_id(2), 0, &[budget]), Outcome::Taken);
}

#[test]
fn with_no_budgets_every_call_is_admitted_and_recorded_all_the_same() {
    let mut world = World::new();
    assert_eq!(world.admit(call_id(1), 5, &[]), Outcome::Taken);
    assert_eq!(world.state.books.open.len(), 1);
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    let meter = world.state.books.meters.get(&KEY).unwrap();
    assert_eq!((meter.open, meter.finished, meter.cost, meter.usage.output), (0, 1, Money(3), 3));
}

#[test]
fn a_cache_hit_is_admitted_and_finished_at_once() {
    let mut world = World::new();
    let budget = world.open_budget(10, Owner::Key(KEY), Unit::Requests, Every::Total, 1, true);
    let hit = |world: &World, call| {
        let mut hit = world.admit_transaction(call_id(call), world.admission(NODE, 1, figures(0), &[budget]));
        hit.events.extend(record(call_id(call), 0).events);
        hit
    };
    let (first, second) = (hit(&world, 1), hit(&world, 2));
    assert_eq!(world.say(first), Outcome::Taken);
    assert_eq!(world.books(budget), (1, 0, 0));
    let last: Vec<_> = world.history.iter().rev().take(2).map(|record| (record.envelope.version, record.envelope.cause)).collect();
    assert_eq!(last, [(2, world.history[world.history.len() - 2].envelope.n), (1, world.history[world.history.len() - 2].envelope.n)]);
    assert_eq!(world.say(second), Outcome::Exceeded(0));
}

#[test]
fn admissions_of_one_transaction_fit_together_or_not_at_all() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    let admit = |world: &World, call| world.admit_transaction(call_id(call), world.admission(NODE, 1, figures(6), &[budget]));
    let mut both = admit(&world, 1);
    both.events.extend(admit(&world, 2).events);
    assert_eq!(world.say(both), Outcome::Exceeded(0));
    assert_eq!(world.books(budget), (0, 0, 0));
}

#[test]
fn a_fallback_holds_on_the_budget_of_its_own_too() {
    let mut world = World::new();
    let scope = world.budget(10, Owner::Scope(SCOPE), 20);
    let provider = world.budget(11, Owner::Platform, 7);
    assert_eq!(world.admit(call_id(1), 5, &[scope]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(provider, 8)])), Outcome::Exceeded(0), "refused, and nothing has changed");
    assert_eq!(world.say(extended(call_id(1), &[(provider, 5)])), Outcome::Taken);
    assert_eq!((world.books(scope), world.books(provider)), ((0, 5, 0), (0, 5, 0)));
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    assert_eq!((world.books(scope), world.books(provider)), ((4, 0, 0), (4, 0, 0)));
}

#[test]
fn after_an_attempt_that_may_have_cost_money_the_ceiling_is_held_twice() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 12);
    assert_eq!(world.admit(call_id(1), 5, &[budget]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(budget, 5)])), Outcome::Taken);
    assert_eq!(world.books(budget), (0, 10, 0));
    assert_eq!(world.state.books.open.get(&call_id(1)).unwrap().ceiling.cost, Money(10));
    assert_eq!(world.say(extended(call_id(1), &[(budget, 5)])), Outcome::Held(0));
    assert_eq!(world.say(record(call_id(1), 9)), Outcome::Taken, "the cost of both");
    assert_eq!(world.books(budget), (9, 0, 0));
}

#[test]
fn an_extension_names_a_budget_twice_and_counts_the_call_once() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Platform, 100);
    assert_eq!(world.admit(call_id(1), 5, &[]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(budget, 5), (budget, 6)])), Outcome::Taken);
    let window = world.state.figures(budget, world.now).unwrap().1;
    assert_eq!((window.held, window.open_calls), (11, 1));
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    assert_eq!(world.state.figures(budget, world.now).unwrap().1.open_calls, 0);
}

#[test]
fn only_an_open_call_is_extended() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 20);
    assert_eq!(world.say(extended(call_id(1), &[(budget, 1)])), Outcome::NotOpen);
    assert_eq!(world.admit(call_id(1), 5, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    let mut unguarded = extended(call_id(1), &[(budget, 1)]);
    unguarded.guards.clear();
    assert_eq!(world.say(unguarded), Outcome::NotOpen, "whatever guards it names");
}

#[test]
fn what_cannot_be_held_is_refused_whatever_guards_it_names() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), i128::MAX);
    let unguarded = |world: &World, ceiling: Figures, budgets: &[BudgetId]| {
        let event = Call::Admitted(Box::new(world.admission(NODE, 1, ceiling, budgets)));
        transaction(vec![], vec![Event::Call(call_id(1), event)])
    };
    let huge = Figures { cost: Money(i128::MAX), tokens: 1, requests: 1 };
    let negative = Figures { cost: Money(-1), tokens: 1, requests: 1 };
    let crowd = vec![budget; limits::PATH_MAX + 1];
    for (ceiling, budgets) in [(huge, vec![budget]), (negative, vec![budget]), (figures(1), vec![BudgetId(99)]), (figures(1), crowd)] {
        let bad = unguarded(&world, ceiling, &budgets);
        assert_eq!(world.say(bad), Outcome::Conflict, "{ceiling:?} on {} budgets", budgets.len());
    }
    let twice = unguarded(&world, figures(1), &[budget, budget]);
    assert_eq!(world.say(twice), Outcome::Conflict, "its record would be settled twice");
    assert_eq!(world.admit(call_id(1), 1, &[budget]), Outcome::Taken);
    for amount in [-1, i128::MAX] {
        let mut bad = extended(call_id(1), &[(budget, amount)]);
        bad.guards = vec![Guard::HoldOpen(call_id(1))];
        assert_eq!(world.say(bad), Outcome::Conflict, "{amount}");
    }
}

#[test]
fn a_key_that_was_never_made_lets_nobody_in() {
    let mut world = World::new();
    let mut admitted = world.admission(NODE, 1, figures(1), &[]);
    admitted.key = KeyId(99);
    let admit = world.admit_transaction(call_id(1), admitted);
    assert_eq!(world.say(admit), Outcome::Stale);
}

#[test]
fn an_absurd_fact_neither_wraps_nor_stops_the_replica() {
    let mut world = World::new();
    let budget = world.budget(10, Owner::Scope(SCOPE), 10);
    for call in 1..=3 {
        // without the oracle: its sums would overflow
        let mut records = Vec::new();
        let boot = world.state.desk.lane(&sequence(NODE, 1, 0, 0)).0;
        let admit = transaction(
            vec![],
            vec![Event::Call(call_id(call), Call::Admitted(Box::new(world.admission(NODE, 1, figures(1), &[budget]))))],
        );
        let absurd = finished(KEY, Figures { cost: Money(i128::MAX), tokens: u64::MAX, requests: u64::MAX });
        let end = transaction(vec![], vec![Event::Call(call_id(call), Call::Finished(Box::new(absurd)))]);
        let group =
            crate::transaction::Group { sequence: Some(sequence(NODE, 1, 0, boot + 1)), transactions: vec![Some(admit), Some(end)] };
        world.state.apply(&group, world.now, &mut records).unwrap();
        assert_eq!(records.len(), 2);
    }
    let window: budget::Window = world.state.figures(budget, world.now).unwrap().1;
    assert_eq!((window.settled, window.held, window.open_calls), (i128::MAX, 0, 0));
    let admit = world.admit_transaction(call_id(9), world.admission(NODE, 1, figures(1), &[budget]));
    let group = crate::transaction::Group { sequence: Some(sequence(NODE, 1, 1, 1)), transactions: vec![Some(admit)] };
    let outcome = world.state.apply(&group, world.now, &mut Vec::new()).unwrap();
    assert_eq!(
        outcome,
        crate::transaction::GroupOutcome::Done(vec![Outcome::Exceeded(0)]),
        "an overrun stops admissions, it gives no room"
    );
}
