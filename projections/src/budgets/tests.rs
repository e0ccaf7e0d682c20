use super::*;
use crate::house_tests::{House, figures, finished, followed, view};
use events::{Boot, KeyId, Money, NodeId, State, TenantId, call::Adjusted};
use proptest::prelude::*;
use std::time::Duration;

/// Something that happens to a call.
#[derive(Clone, Debug)]
enum Step {
    Admit,
    Extend(i64),
    Finish(i64),
    Release,
    Lose,
    Adjust(i64),
    Wait(u64),
    /// Days: what is older than calls are kept is forgotten.
    WaitLong(u64),
    Limit(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Admit),
        1 => (1..5i64).prop_map(Step::Extend),
        3 => (0..30i64).prop_map(Step::Finish),
        1 => Just(Step::Release),
        1 => Just(Step::Lose),
        1 => (-3..4i64).prop_map(Step::Adjust),
        1 => (1..20u64).prop_map(Step::Wait),
        1 => (20..50u64).prop_map(Step::WaitLong),
        1 => (500..2_000i64).prop_map(Step::Limit),
    ]
}

/// The next call that is open, or orphaned, if there is any.
fn pick(house: &House, orphaned: bool) -> Option<u128> {
    let books = &house.state.books;
    if orphaned { books.orphans.iter().next().map(|(id, _)| id.0) } else { books.open.iter().next().map(|(id, _)| id.0) }
}

/// Something happens afterwards: orphans that are too old are none from there on.
fn waits(house: &mut House, hours: u64) {
    house.now = house.now.plus(Duration::from_secs(hours * 3_600));
    house.happens(Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: Money::usd(1_000).0 }));
}

fn take(house: &mut House, number: u128, step: &Step) {
    match step {
        Step::Admit => house.admits(number, number as u64 % 3 + 1, "fast", &[]),
        Step::Extend(dollars) => {
            let Some(call) = pick(house, false) else { return };
            let adds = vec![(BudgetId(1), Money::usd(*dollars).0), (BudgetId(2), Money::usd(1).0)];
            house.call(call, call::Event::Extended(call::Extended { attempt: 2, adds, ceiling: figures(*dollars) }));
        }
        Step::Finish(dollars) => {
            let Some(call) = pick(house, dollars % 3 == 0).or(pick(house, false)) else { return };
            let mut record = finished(1, "fast", 1, *dollars);
            record.apart = vec![(BudgetId(2), figures(1))];
            house.call(call, call::Event::Finished(Box::new(record)));
        }
        Step::Release => {
            let Some(call) = pick(house, true).or(pick(house, false)) else { return };
            house.call(call, call::Event::Released { key: KeyId(1), reason: call::Unsent::CallerGone });
        }
        Step::Lose => {
            house.starts();
            while let Some(call) = pick(house, false) {
                let lost = call::Orphaned { node: NodeId(0), boot: Boot(0), key: KeyId(1), model: "fast".into(), charged: figures(9) };
                house.happens(Event::Call(CallId(call), call::Event::Orphaned(lost)));
            }
        }
        Step::Adjust(dollars) => {
            let Some((at, call)) = pick(house, true).and_then(|call| Some((house.state.books.orphans.get(&CallId(call))?.open.at, call)))
            else {
                return;
            };
            let delta = Money::usd(*dollars);
            let adjusted = Adjusted {
                admitted_at: at,
                tenant: TenantId(1),
                key: KeyId(1),
                deltas: vec![(BudgetId(1), delta.0)],
                delta,
                reason: String::new(),
            };
            house.happens(Event::Call(CallId(call), call::Event::Adjusted(Box::new(adjusted))));
        }
        Step::Wait(hours) => waits(house, *hours),
        Step::WaitLong(days) => waits(house, days * 24),
        Step::Limit(dollars) => house.happens(Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: Money::usd(*dollars).0 })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every window that the state has, the projection has; and over all windows is held what open calls hold.
    #[test]
    fn windows_are_the_states(steps in prop::collection::vec(step(), 1..60), sizes in prop::collection::vec(1..20usize, 1..4)) {
        let mut house = House::new();
        for (number, step) in steps.iter().enumerate() {
            take(&mut house, number as u128, step);
        }
        let view = view(&followed(Box::new(Budgets::default()), &house.records, &sizes));
        for ((id, start), theirs) in house.state.books.windows.iter() {
            let ours = view.read(|snapshot| window(snapshot, *id, *start)).unwrap().unwrap_or_default();
            prop_assert_eq!((ours.settled, ours.held, ours.overrun), (theirs.settled, theirs.held, theirs.overrun));
            prop_assert_eq!((ours.open_calls as u64, ours.orphans as u64), (theirs.open_calls, theirs.orphans));
        }
        let in_ones = self::view(&followed(Box::new(Budgets::default()), &house.records, &[1]));
        prop_assert_eq!(view.digest().unwrap(), in_ones.digest().unwrap(), "rows do not depend on batches");
        for (id, _) in house.state.books.budgets.iter() {
            let all = view.read(|snapshot| windows(snapshot, *id, Timestamp(u64::MAX), 1_000)).unwrap();
            let held: Amount = all.iter().map(|(_, window)| window.held).sum();
            let theirs: Amount = house.state.books.open.iter().flat_map(|(_, open)| &open.hold).filter(|(held, _)| held == id).map(|(_, amount)| *amount).sum();
            prop_assert_eq!(held, theirs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// When a call came, its budgets were what the state was then: or it is said that nobody knows.
    #[test]
    fn windows_then_are_the_states_of_then(steps in prop::collection::vec(step(), 1..60)) {
        let mut house = House::new();
        for (number, step) in steps.iter().enumerate() {
            take(&mut house, number as u128, step);
        }
        let view = view(&followed(Box::new(Budgets::default()), &house.records, &[7]));
        let (mut then, mut known, mut unknown) = (State::default(), 0, 0);
        for record in &house.records {
            if let Event::Call(_, call::Event::Admitted(admitted)) = &*record.event {
                let places: Vec<(BudgetId, Timestamp)> = admitted.budgets.iter().map(|id| (*id, then.books.budgets.get(id).unwrap().identity.every.window(record.envelope.at))).collect();
                match view.read(|snapshot| windows_then(snapshot, &house, record.envelope.n, &places)).unwrap() {
                    None if record.envelope.at.plus(limits::CALLS_KEPT) <= house.now => {}
                    None => unknown += 1,
                    Some(windows) => {
                        known += 1;
                        for place in places {
                            let (ours, theirs) = (windows[&place], then.books.windows.get(&place).cloned().unwrap_or_default());
                            prop_assert_eq!((ours.settled, ours.held, ours.open_calls as u64), (theirs.settled, theirs.held, theirs.open_calls), "at {}", record.envelope.n);
                        }
                    }
                }
            }
            then.replay(record).unwrap();
        }
        let has_orphans = house.records.iter().any(|record| matches!(&*record.event, Event::Call(_, call::Event::Orphaned(_))));
        prop_assert!(unknown == 0 || has_orphans, "{unknown} of {} are unknown", known + unknown);
    }
}

#[test]
fn marks_are_kept_as_long_as_calls() {
    let mut house = House::new();
    let mut rows = Vec::new();
    for day in 0..400u128 {
        for call in 0..4 {
            house.admits(day * 10 + call, 1, "fast", &[]);
            if call > 0 {
                house.finishes(day * 10 + call, 1, "fast", 1, 4);
            }
        }
        house.now = house.now.plus(Duration::from_secs(86_400));
        if day % 100 == 99 {
            let follower = followed(Box::new(Budgets::default()), &house.records, &[500]);
            let reading = follower.rows.reading().unwrap();
            let count = |table: u8| {
                let mut count = 0;
                reading
                    .visit(&[table], &[table + 1], Order::Ascending, &mut |_, _| {
                        count += 1;
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                count
            };
            rows.push((count(b'm'), count(b'e')));
        }
    }
    let least = rows[1..].iter().copied().min().unwrap();
    assert!(least.0 >= 80 && least.1 >= 80 && rows[1..].iter().all(|count| count.0 <= least.0 + 3 && count.1 <= least.1 + 3), "{rows:?}");
}

#[test]
fn what_comes_late_changes_no_limit_of_then() {
    let mut house = House::new();
    house.admits(1, 1, "fast", &[]);
    house.orphans(1, 1, "fast");
    house.now = house.now.plus(Duration::from_secs(86_400));
    house.happens(Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: Money::usd(7).0 }));
    for days in [1, 40] {
        house.now = house.now.plus(Duration::from_secs(days * 86_400));
        house.starts();
        let view = view(&followed(Box::new(Budgets::default()), &house.records, &[3]));
        let first = view.read(|snapshot| windows(snapshot, BudgetId(1), Timestamp(u64::MAX), 10)).unwrap();
        let (_, window) = first.last().unwrap();
        assert_eq!((window.limit, window.orphans), (Money::usd(1_000).0, i64::from(days == 1)));
    }
}

#[test]
fn past_windows_stay_and_say_their_limit() {
    let mut house = House::new();
    house.admits(1, 1, "fast", &[]);
    house.finishes(1, 1, "fast", 1, 4);
    house.now = house.now.plus(Duration::from_secs(86_400));
    house.happens(Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: Money::usd(7).0 }));
    house.admits(2, 1, "fast", &[]);
    house.finishes(2, 1, "fast", 1, 5);
    let view = view(&followed(Box::new(Budgets::default()), &house.records, &[4]));
    let all = view.read(|snapshot| windows(snapshot, BudgetId(1), Timestamp(u64::MAX), 10)).unwrap();
    let shown: Vec<_> =
        all.iter().map(|(start, window)| (start.to_string(), window.settled / Money::usd(1).0, window.limit / Money::usd(1).0)).collect();
    assert_eq!(shown, [("2026-11-27T00:00:00Z".to_owned(), 5, 7), ("2026-11-26T00:00:00Z".to_owned(), 4, 1_000)]);
    assert_eq!(view.read(|snapshot| windows(snapshot, BudgetId(1), all[0].0, 10)).unwrap(), all[1..]);
}
