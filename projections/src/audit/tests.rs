use super::*;
use crate::house_tests::{House, asked};
use events::{BudgetId, KeyId, Money, Owner, Rates, ScopeId, budget, key};

fn query(house: &House) -> Query {
    Query {
        tenants: [TenantId(1), TenantId(2)].into(),
        platform: true,
        from: Timestamp(0),
        until: house.now.plus(std::time::Duration::from_secs(1)),
        kinds: None,
        subject: None,
        order: Order::Ascending,
        after: None,
        limit: 1_000,
    }
}

fn run(house: &House, query: &Query) -> Vec<Change> {
    asked(Box::new(Audit), &house.records, |snapshot| query.run(snapshot)).0
}

#[test]
fn a_change_says_what_was_there_before() {
    let mut house = House::new();
    house.admits(1, 1, "fast", &[]);
    let rates = Rates { rpm: Some(5), ..Rates::default() };
    house.happens(Event::Key(KeyId(1), key::Event::RatesSet { rates }));
    house.happens(Event::Key(KeyId(1), key::Event::RatesSet { rates: Rates::default() }));
    house.happens(Event::Key(KeyId(1), key::Event::Moved { scope: None }));
    house.happens(Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: 5 }));
    let all = run(&house, &query(&house));
    assert!(all.iter().all(|change| !matches!(*change.record.event, Event::Call(..))));
    assert_eq!(all.len() + 1, house.records.len());
    let last: Vec<Option<Event>> = all.iter().rev().take(4).rev().map(|change| change.before.clone()).collect();
    let expected = [
        Event::Key(KeyId(1), key::Event::RatesSet { rates: Rates::default() }),
        Event::Key(KeyId(1), key::Event::RatesSet { rates }),
        Event::Key(KeyId(1), key::Event::Moved { scope: Some(ScopeId(2)) }),
        Event::Budget(BudgetId(1), budget::Event::LimitSet { limit: Money::usd(1_000).0 }),
    ];
    assert_eq!(last, expected.map(Some));
}

#[test]
fn tenants_see_their_own_and_pages_follow() {
    let mut house = House::new();
    house.opens_budget(9, Owner::Platform, 5);
    house.opens_budget(10, Owner::Key(KeyId(3)), 5);
    let of = |tenant: u64, platform| run(&house, &Query { tenants: [TenantId(tenant)].into(), platform, ..query(&house) });
    let second = of(2, false);
    assert!(second.iter().any(|change| matches!(*change.record.event, Event::Budget(BudgetId(10), _))), "a key's budget is its tenant's");
    assert!(second.iter().all(|change| house.state.tenant_of(&change.record.event) == Some(TenantId(2))));
    let platform = of(7, true);
    assert!(platform.iter().any(|change| matches!(*change.record.event, Event::Budget(BudgetId(9), _))));
    assert_eq!(of(1, false).len() + second.len() + platform.len(), house.records.len());
    for order in [Order::Ascending, Order::Descending] {
        let mut query = Query { order, limit: 3, ..query(&house) };
        let mut seen = Vec::new();
        loop {
            let (changes, next) = asked(Box::new(Audit), &house.records, |snapshot| query.run(snapshot));
            seen.extend(changes.iter().map(|change| change.record.envelope.n));
            query.after = next;
            if next.is_none() {
                break;
            }
        }
        let all: Vec<u64> = (0..house.records.len() as u64).collect();
        assert!(if order == Order::Ascending { seen == all } else { seen.iter().rev().eq(all.iter()) });
    }
    let keys = run(&house, &Query { kinds: Some(["key".to_owned()].into()), subject: Some("key_2".into()), ..query(&house) });
    assert_eq!(keys.len(), 1);
}
