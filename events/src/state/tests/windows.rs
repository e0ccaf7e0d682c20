//! Windows follow the calendar; a call belongs to that of its admission (LEDGER §7).

use super::world::*;
use crate::{Amount, BudgetId, Event, Every, Owner, Timestamp, Unit, budget, transaction::Outcome};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn daily(world: &mut World, limit: Amount) -> BudgetId {
    world.open_budget(10, Owner::Scope(SCOPE), Unit::Usd, Every::Day, limit, true)
}

fn kept(world: &World, budget: BudgetId) -> Vec<(Timestamp, Amount, Amount)> {
    let rows = world.state.books.windows.iter().filter(|((id, _), _)| *id == budget);
    rows.map(|((_, start), window)| (*start, window.settled, window.held)).collect()
}

#[test]
fn midnight_between_admission_and_end_leaves_both_windows_exact() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    let today = Every::Day.window(world.now);
    assert_eq!(world.admit(call_id(1), 4, &[budget]), Outcome::Taken);
    assert_eq!(world.admit(call_id(2), 6, &[budget]), Outcome::Taken);
    world.wait(12 * HOUR);
    let tomorrow = Every::Day.window(world.now);
    assert_ne!(today, tomorrow);
    assert_eq!(world.admit(call_id(3), 10, &[budget]), Outcome::Taken, "a window opens by the first admission inside it");
    assert_eq!(world.say(record(call_id(1), 3)), Outcome::Taken);
    assert_eq!(kept(&world, budget), [(today, 3, 6), (tomorrow, 0, 10)]);
    assert_eq!(world.admit(call_id(4), 1, &[budget]), Outcome::Held(0));
    assert_eq!(world.say(record(call_id(2), 1)), Outcome::Taken);
    assert_eq!(kept(&world, budget), [(tomorrow, 0, 10)], "a past window is gone once nothing in it is held");
}

#[test]
fn an_extension_after_midnight_is_held_in_the_window_of_its_call() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    assert_eq!(world.admit(call_id(1), 6, &[budget]), Outcome::Taken);
    world.wait(12 * HOUR);
    assert_eq!(world.admit(call_id(2), 10, &[budget]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(budget, 5)])), Outcome::Held(0), "it does not fit into yesterday");
    assert_eq!(world.say(extended(call_id(1), &[(budget, 4)])), Outcome::Taken);
    assert_eq!(kept(&world, budget).iter().map(|(_, _, held)| *held).collect::<Vec<_>>(), [10, 10]);
}

#[test]
fn a_budget_that_joins_after_midnight_still_knows_what_it_had_settled() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    assert_eq!(world.admit(call_id(1), 6, &[]), Outcome::Taken);
    assert_eq!(world.admit(call_id(2), 9, &[budget]), Outcome::Taken);
    world.wait(12 * HOUR);
    assert_eq!(world.say(record(call_id(2), 9)), Outcome::Taken);
    assert_eq!(world.admit(call_id(3), 10, &[budget]), Outcome::Taken);
    assert_eq!(world.say(extended(call_id(1), &[(budget, 2)])), Outcome::Exceeded(0), "yesterday has one left");
    assert_eq!(world.say(extended(call_id(1), &[(budget, 1)])), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 1)), Outcome::Taken);
    assert_eq!(kept(&world, budget).len(), 1, "and then it is over");
}

#[test]
fn a_past_window_stays_while_an_orphan_of_it_can_be_replaced() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    let today = Every::Day.window(world.now);
    assert_eq!(world.admit(call_id(1), 4, &[budget]), Outcome::Taken);
    world.start(NODE, 2);
    assert_eq!(world.orphan(), 1);
    world.wait(12 * HOUR);
    assert_eq!(world.admit(call_id(2), 1, &[budget]), Outcome::Taken);
    assert_eq!(kept(&world, budget)[0], (today, 4, 0));
    assert_eq!(world.say(record(call_id(1), 2)), Outcome::Taken);
    assert_eq!(kept(&world, budget).len(), 1);
}

#[test]
fn a_window_that_was_idle_goes_when_the_next_opens() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    assert_eq!(world.admit(call_id(1), 4, &[budget]), Outcome::Taken);
    assert_eq!(world.say(record(call_id(1), 4)), Outcome::Taken);
    for day in 0..3 {
        world.wait(24 * HOUR);
        assert_eq!(world.books(budget), (0, 0, 0), "readers see the window of now");
        assert_eq!(world.admit(call_id(2 + day), 10, &[budget]), Outcome::Taken);
        assert_eq!(world.say(record(call_id(2 + day), 10)), Outcome::Taken);
        assert_eq!(kept(&world, budget).len(), 1);
    }
}

#[test]
fn each_kind_of_window_opens_anew_in_its_time_and_total_never() {
    for (every, wait, opens) in [
        (Every::Hour, HOUR, true),
        (Every::Day, 24 * HOUR, true),
        (Every::Week, 7 * 24 * HOUR, true),
        (Every::Month, 31 * 24 * HOUR, true),
        (Every::Total, 3_650 * 24 * HOUR, false),
    ] {
        let mut world = World::new();
        let budget = world.open_budget(10, Owner::Scope(SCOPE), Unit::Usd, every, 10, true);
        assert_eq!(world.admit(call_id(1), 10, &[budget]), Outcome::Taken);
        assert_eq!(world.say(record(call_id(1), 10)), Outcome::Taken);
        assert_eq!(world.admit(call_id(2), 1, &[budget]), Outcome::Exceeded(0));
        world.wait(wait);
        let outcome = if opens { Outcome::Taken } else { Outcome::Exceeded(0) };
        assert_eq!(world.admit(call_id(3), 1, &[budget]), outcome, "{every:?}");
    }
}

#[test]
fn a_threshold_that_is_passed_makes_an_alert_due_once_a_window() {
    let mut world = World::new();
    let budget = daily(&mut world, 10);
    world.keep(Event::Budget(budget, budget::Event::TermsSet { hard: true, alert_at_ppm: vec![500_000] }));
    world.state.take_due();
    for (call, used, due) in [(1, 4, false), (2, 1, true), (3, 1, false)] {
        assert_eq!(world.admit(call_id(call), used, &[budget]), Outcome::Taken);
        assert_eq!(world.say(record(call_id(call), used)), Outcome::Taken);
        assert_eq!(world.state.take_due().contains(&crate::StreamId::Budget(budget)), due, "call {call}");
        let kept = world.state.books.budgets.get(&budget).unwrap().clone();
        for budget::Effect::Alert { window, threshold_ppm } in crate::Aggregate::owed(&kept, &world.state) {
            assert_eq!((window, threshold_ppm), (Every::Day.window(world.now), 500_000));
            world.keep(Event::Budget(budget, budget::Event::Alerted { window, threshold_ppm }));
        }
    }
}
