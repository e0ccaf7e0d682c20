use super::*;
use crate::house_tests::{House, asked, finished, followed, view};
use events::{KeyId, Money, TenantId};
use std::collections::BTreeSet;
use store::rows::Order;

fn query(house: &House) -> Query {
    Query {
        tenants: [TenantId(1), TenantId(2)].into(),
        from: Timestamp(0),
        until: house.now.plus(Duration::from_secs(1)),
        filter: Filter::default(),
        order: Order::Descending,
        after: None,
        limit: 100,
    }
}

/// An id as a node makes it at this time.
fn id(house: &House, number: u128) -> u128 {
    CallId::new(house.now.as_ms(), number).0
}

fn run(house: &House, query: &Query) -> Found {
    asked(Box::new(Calls::default()), &house.records, |snapshot| query.run(snapshot))
}

/// Twelve calls of three keys, every fourth still open.
fn busy() -> (House, Vec<u128>) {
    let mut house = House::new();
    let mut ids = Vec::new();
    for number in 0..12u128 {
        let (call, key) = (id(&house, number), number as u64 % 3 + 1);
        house.admits(call, key, "fast", if number % 2 == 0 { &["a=b"] } else { &[] });
        if number % 4 != 3 {
            house.finishes(call, key, "fast", number as u64 % 2 + 1, number as i64);
        }
        ids.push(call);
    }
    (house, ids)
}

#[test]
fn pages_follow_each_other_both_ways_in_every_table() {
    let (house, ids) = busy();
    for (tenants, keys, wanted) in [
        ([TenantId(1), TenantId(2)].into(), None, ids.clone()),
        ([TenantId(2)].into(), None, ids.iter().copied().skip(2).step_by(3).collect::<Vec<_>>()),
        ([TenantId(1), TenantId(2)].into(), Some([KeyId(1)].into()), ids.iter().copied().step_by(3).collect()),
        ([TenantId(2)].into(), Some([KeyId(1)].into()), Vec::new()),
    ] {
        for order in [Order::Ascending, Order::Descending] {
            let mut wanted = wanted.clone();
            if order == Order::Descending {
                wanted.reverse();
            }
            let filter = Filter { keys: keys.clone(), ..Filter::default() };
            let mut query = Query { tenants: BTreeSet::clone(&tenants), filter, order, limit: 2, ..query(&house) };
            let mut seen = Vec::new();
            loop {
                let found = run(&house, &query);
                seen.extend(found.calls.iter().map(|(id, _)| id.0));
                query.after = found.next;
                if query.after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, wanted);
        }
    }
}

#[test]
fn what_a_row_says_finds_it() {
    let (house, ids) = busy();
    let count = |change: &dyn Fn(&mut Query)| {
        let mut query = query(&house);
        change(&mut query);
        run(&house, &query).calls.len()
    };
    assert_eq!(count(&|query| query.filter.statuses = Some([Status::Open].into())), 3);
    assert_eq!(count(&|query| query.filter.tags = Some(["a=b".to_owned()].into())), 6);
    assert_eq!(count(&|query| query.filter.models = Some(["slow".to_owned()].into())), 0);
    assert_eq!(count(&|query| query.filter.providers = Some([events::ProviderId(1)].into())), 6);
    assert_eq!(count(&|query| query.filter.cost_from = Some(Money::usd(9))), 2);
    assert_eq!(count(&|query| query.filter.total_ms_from = Some(131)), 0);
    let third = house.records.iter().find(|record| record.envelope.stream == events::StreamId::Call(CallId(ids[3]))).unwrap().envelope.at;
    assert_eq!(count(&|query| query.until = third), 3);
    assert_eq!(count(&|query| query.from = third), 9);
}

#[test]
fn a_row_has_all_that_happened_and_belongs_to_its_tenant() {
    let mut house = House::new();
    let call = id(&house, 7);
    house.admits(call, 1, "fast", &[]);
    house.orphans(call, 1, "fast");
    let find = |house: &House, tenant| {
        asked(Box::new(Calls::default()), &house.records, |snapshot| find(snapshot, CallId(call), &[TenantId(tenant)].into()))
    };
    assert_eq!(find(&house, 1).map(|call| (call.status(), call.cost)), Some((Status::Orphaned, Money::usd(9))));
    assert_eq!(find(&house, 2), None);
    house.call(call, events::call::Event::Finished(Box::new(finished(1, "fast", 2, 3))));
    let row = find(&house, 1).unwrap();
    assert_eq!(
        (row.status(), row.cost, row.events.len(), row.end.unwrap().upstream_model.as_deref()),
        (Status::Ok, Money::usd(3), 3, Some("fast-up"))
    );
}

#[test]
fn old_calls_are_forgotten_alike_whatever_the_batches() {
    let mut house = House::new();
    for number in 0..20u128 {
        let call = id(&house, number);
        house.admits(call, number as u64 % 3 + 1, "fast", &[]);
        house.finishes(call, number as u64 % 3 + 1, "fast", 1, 1);
    }
    house.now = house.now.plus(limits::CALLS_KEPT).plus(Duration::from_secs(86_400));
    let mut left = Vec::new();
    for number in 20..26u128 {
        let call = id(&house, number);
        house.admits(call, 1, "fast", &[]);
        house.finishes(call, 1, "fast", 1, 1);
        left.push(call);
    }
    let first = run(&house, &Query { order: Order::Ascending, ..query(&house) });
    assert_eq!(first.calls.len(), 26 - 6 * FORGOTTEN_A_CALL);
    let digest = |sizes: &[usize]| view(&followed(Box::new(Calls::default()), &house.records, sizes)).digest().unwrap();
    let one = digest(&[1]);
    for sizes in [&[2][..], &[1_000], &[5, 1, 3]] {
        assert_eq!(digest(sizes), one, "{sizes:?}");
    }
    assert!(first.calls.iter().rev().map(|(id, _)| id.0).take(6).eq(left.into_iter().rev()));
}
