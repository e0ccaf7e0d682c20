use super::*;
use crate::{
    Order,
    house_tests::{House, asked, finished, followed, view},
};
use events::{NodeId, ProviderId};
use std::time::Duration;

fn query(house: &House) -> Query {
    Query {
        tenants: [TenantId(1), TenantId(2)].into(),
        platform: true,
        from: Timestamp(0),
        until: house.now.plus(Duration::from_secs(1)),
        kinds: None,
        standing: Standing::All,
        now: house.now,
        order: Order::Ascending,
        after: None,
        limit: 1_000,
    }
}

fn run(house: &House, query: &Query) -> Vec<(u64, Alert)> {
    asked(Box::new(Alerts), &house.records, |snapshot| query.run(snapshot)).0
}

fn breaker() -> AlertId {
    AlertId::new(Kind::BreakerOpen, NodeId(0), 1)
}

fn raise(house: &mut House) {
    house.happens(Event::Alert(breaker(), alert::Event::Raised { subject: "openai".into(), detail: "it fails".into() }));
}

/// One of each that follows from other events, of both tenants, and a breaker.
fn house() -> House {
    let mut house = House::new();
    let window = events::Every::Day.window(house.now);
    house.happens(Event::Budget(BudgetId(2), budget::Event::Alerted { window, threshold_ppm: 800_000 }));
    house.admits(1, 1, "fast", &[]);
    house.call(1, call::Event::Finished(Box::new(call::Finished { overrun: Money::usd(3), ..finished(1, "fast", 1, 12) })));
    house.admits(2, 1, "fast", &[]);
    house.finishes(2, 1, "fast", 1, 2);
    house.admits(3, 3, "fast", &[]);
    house.orphans(3, 3, "fast");
    raise(&mut house);
    house
}

#[test]
fn what_happens_is_an_alert_once() {
    let house = house();
    let all = run(&house, &query(&house));
    let kinds: Vec<(Kind, Option<u64>)> = all.iter().map(|(_, alert)| (alert.kind, alert.tenant.map(|tenant| tenant.0))).collect();
    let expected =
        [(Kind::BudgetThreshold, Some(2)), (Kind::BudgetOverrun, Some(1)), (Kind::CallOrphaned, Some(2)), (Kind::BreakerOpen, None)];
    assert_eq!(kinds, expected);
    assert_eq!(all[0].1.message, "0.8 of 1000 USD (day) of tenant umbrella is spent");
    assert_eq!(all[0].1.data()["resets_at"], "2026-11-27T00:00:00Z");
    assert_eq!((&all[1].1.data()["overrun"]["USD"], &all[1].1.data()["key"]), (&json!("3"), &json!("prod")));
    assert_eq!((all[3].1.subject.as_str(), all[3].1.message.as_str()), (ProviderId(1).to_string().as_str(), "it fails"));
    for (n, alert) in &all {
        assert_eq!(house.records[*n as usize].envelope.at, alert.at);
    }
}

#[test]
fn alerts_end_by_an_event_or_by_time() {
    let mut house = house();
    let of = |house: &House, standing| -> Vec<Kind> {
        run(house, &Query { standing, ..query(house) }).into_iter().map(|(_, alert)| alert.kind).collect()
    };
    assert_eq!(of(&house, Standing::Open), [Kind::BudgetThreshold, Kind::BreakerOpen]);
    assert_eq!(of(&house, Standing::Closed), [Kind::BudgetOverrun, Kind::CallOrphaned]);
    house.happens(Event::Alert(breaker(), alert::Event::Cleared));
    assert_eq!(of(&house, Standing::Open), [Kind::BudgetThreshold]);
    raise(&mut house);
    let open = run(&house, &Query { standing: Standing::Open, order: Order::Descending, ..query(&house) });
    assert_eq!(open[0].0 + 1, house.records.len() as u64, "the last one, once");
    house.now = house.now.plus(Duration::from_secs(24 * 3_600));
    assert_eq!(of(&house, Standing::Open), [Kind::BreakerOpen], "the budget's day is over");
    let window = events::Every::Day.window(house.now);
    for threshold_ppm in [500_000, 800_000] {
        house.happens(Event::Budget(BudgetId(2), budget::Event::Alerted { window, threshold_ppm }));
    }
    assert_eq!(of(&house, Standing::Open), [Kind::BreakerOpen, Kind::BudgetThreshold], "the higher takes the place of the lower");
    house.happens(Event::Budget(BudgetId(2), budget::Event::LimitSet { limit: Money::usd(9_000).0 }));
    assert_eq!(of(&house, Standing::Open), [Kind::BreakerOpen]);
}

#[test]
fn tenants_see_their_own_and_pages_follow() {
    let house = house();
    let own = run(&house, &Query { tenants: [TenantId(1)].into(), platform: false, ..query(&house) });
    assert!(own.len() == 1 && own[0].1.tenant == Some(TenantId(1)));
    for (order, standing) in
        [Order::Ascending, Order::Descending].into_iter().flat_map(|order| [(order, Standing::All), (order, Standing::Open)])
    {
        let whole: Vec<u64> = run(&house, &Query { order, standing, ..query(&house) }).into_iter().map(|(n, _)| n).collect();
        let (mut seen, mut page) = (Vec::new(), Query { order, standing, limit: 1, ..query(&house) });
        loop {
            let (found, next) = asked(Box::new(Alerts), &house.records, |snapshot| page.run(snapshot));
            seen.extend(found.into_iter().map(|(n, _)| n));
            page.after = next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(seen, whole);
    }
}

#[test]
fn deliveries_come_one_after_the_other() {
    let house = house();
    let takes = |alert: &Alert| alert.tenant == Some(TenantId(2));
    let (mut from, mut kinds) = (0, Vec::new());
    while let Some(told) = asked(Box::new(Alerts), &house.records, |snapshot| pending(snapshot, from, takes)) {
        (from, kinds) = (told.n + 1, [kinds, vec![told.alert.kind]].concat());
    }
    assert_eq!(kinds, [Kind::BudgetThreshold, Kind::CallOrphaned]);
}

#[test]
fn what_is_over_is_told_unless_it_ended_by_itself() {
    let mut house = house();
    let window = events::Every::Day.window(house.now);
    let start = house.records.len() as u64;
    let limit = |house: &mut House| house.happens(Event::Budget(BudgetId(2), budget::Event::LimitSet { limit: Money::usd(9_000).0 }));
    house.happens(Event::Budget(BudgetId(2), budget::Event::Alerted { window, threshold_ppm: 900_000 }));
    house.happens(Event::Alert(breaker(), alert::Event::Cleared));
    limit(&mut house);
    raise(&mut house);
    house.happens(Event::Budget(BudgetId(2), budget::Event::Alerted { window, threshold_ppm: 950_000 }));
    house.now = house.now.plus(Duration::from_secs(24 * 3_600));
    limit(&mut house);
    let (mut from, mut all) = (start, Vec::new());
    while let Some(told) = asked(Box::new(Alerts), &house.records, |snapshot| pending(snapshot, from, |_| true)) {
        from = told.n + 1;
        all.push((told.n - start, told.alert.kind, told.over.map(|n| n as i64 - start as i64)));
    }
    let (budget, breaker) = (Kind::BudgetThreshold, Kind::BreakerOpen);
    let expected = [(0, budget, None), (1, breaker, Some(-1)), (2, budget, Some(0)), (3, breaker, None), (4, budget, None)];
    assert_eq!(all, expected);
}

#[test]
fn where_batches_end_makes_no_difference() {
    let mut house = house();
    house.happens(Event::Alert(breaker(), alert::Event::Cleared));
    let digest = |sizes: &[usize]| view(&followed(Box::new(Alerts), &house.records, sizes)).digest().unwrap();
    assert_eq!(digest(&[1]), digest(&[1_000]));
    assert_eq!(digest(&[1]), digest(&[3, 1, 7]));
}
