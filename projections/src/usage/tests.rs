use super::*;
use crate::house_tests::{House, asked, followed, view};
use events::{Money, ProviderId};
use std::{collections::BTreeSet, time::Duration};

fn query(house: &House, by: &[Dimension]) -> Query {
    let day = Timestamp::parse("2026-11-26T00:00:00Z").unwrap();
    Query {
        tenants: [TenantId(1), TenantId(2)].into(),
        range: Range::hours(day, house.now.plus(Duration::from_secs(1))),
        step: None,
        group_by: by.iter().copied().collect(),
        filter: Filter::default(),
    }
}

fn answer(house: &House, query: &Query) -> Vec<(Group, Sums)> {
    asked(Box::new(Usage::default()), &house.records, |snapshot| query.run(snapshot)).unwrap().into_iter().collect()
}

/// Three calls of two tenants, two of them for users; one released, one open.
fn busy() -> House {
    let mut house = House::new();
    let user = |number| call::Caller { user: Some(UserId(number)), ..call::Caller::default() };
    house.caller = user(7);
    house.admits(1, 1, "fast", &["env=prod", "app=x"]);
    house.caller = user(8);
    house.admits(2, 2, "fast", &[]);
    house.caller = call::Caller::default();
    house.admits(3, 3, "slow", &["env=prod"]);
    house.finishes(1, 1, "fast", 1, 3);
    house.finishes(2, 2, "fast", 2, 4);
    house.finishes(3, 3, "slow", 1, 5);
    house.admits(4, 1, "fast", &[]);
    house.call(4, call::Event::Released { key: KeyId(1), reason: call::Unsent::CallerGone });
    house.admits(5, 1, "fast", &[]);
    house
}

#[test]
fn sums_stand_by_each_dimension() {
    let house = busy();
    let one = answer(&house, &query(&house, &[]));
    assert_eq!(one.len(), 1);
    let (group, sums) = &one[0];
    assert_eq!(*group, Group::default());
    assert_eq!((sums.ok, sums.released, sums.orphaned, sums.finished(), sums.cost), (3, 1, 0, 3, Money::usd(12)));
    assert_eq!((sums.tokens.input, sums.tokens.output, sums.total_ms), (12, 120 - 12, 390));
    let dollars = |by: &[Dimension]| -> Vec<(String, i128)> {
        let name = |group: &Group| {
            let Dims { tag, user, scope, key, model, provider } = &group.dims;
            let shown = [group.tenant.map(|id| id.to_string()), scope.map(|id| id.to_string()), key.map(|id| id.to_string())];
            let rest = [user.map(|id| id.0.to_string()), model.clone(), provider.map(|id| id.to_string()), tag.clone()];
            shown.into_iter().chain(rest).flatten().collect::<Vec<_>>().join(" ")
        };
        answer(&house, &query(&house, by)).iter().map(|(group, sums)| (name(group), sums.cost.0 / Money::usd(1).0)).collect()
    };
    let rows = |rows: &[(&str, i128)]| rows.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect::<Vec<_>>();
    assert_eq!(dollars(&[Dimension::Tenant]), rows(&[("ten_1", 7), ("ten_2", 5)]));
    assert_eq!(dollars(&[Dimension::Scope]), rows(&[("", 9), ("scope_2", 3)]));
    assert_eq!(dollars(&[Dimension::Key]), rows(&[("key_1", 3), ("key_2", 4), ("key_3", 5)]));
    assert_eq!(dollars(&[Dimension::Model]), rows(&[("fast", 7), ("slow", 5)]));
    assert_eq!(dollars(&[Dimension::Provider]), rows(&[("", 0), ("prov_1", 8), ("prov_2", 4)]));
    assert_eq!(dollars(&[Dimension::Tag]), rows(&[("app=x", 3), ("env=prod", 8)]));
    assert_eq!(dollars(&[Dimension::User]), rows(&[("", 5), ("7", 3), ("8", 4)]));
    assert_eq!(dollars(&[Dimension::User, Dimension::Key]), rows(&[("key_1", 0), ("key_3", 5), ("key_1 7", 3), ("key_2 8", 4)]));
    assert_eq!(dollars(&[Dimension::Key, Dimension::Model]), rows(&[("key_1 fast", 3), ("key_2 fast", 4), ("key_3 slow", 5)]));
}

#[test]
fn filters_choose_rows_and_tenants_see_their_own() {
    let house = busy();
    let cost = |change: &dyn Fn(&mut Query)| {
        let mut query = query(&house, &[]);
        change(&mut query);
        answer(&house, &query).iter().map(|(_, sums)| sums.cost).sum::<Money>()
    };
    assert_eq!(cost(&|query| query.tenants = [TenantId(2)].into()), Money::usd(5));
    assert_eq!(cost(&|query| query.tenants = BTreeSet::new()), Money::ZERO);
    assert_eq!(cost(&|query| query.filter.scopes = Some([ScopeId(1), ScopeId(2)].into())), Money::usd(3));
    assert_eq!(cost(&|query| query.filter.keys = Some([KeyId(2), KeyId(3)].into())), Money::usd(9));
    assert_eq!(cost(&|query| query.filter.users = Some([UserId(8)].into())), Money::usd(4));
    assert_eq!(cost(&|query| query.filter.providers = Some([ProviderId(1)].into())), Money::usd(8));
    assert_eq!(cost(&|query| query.filter.tags = Some(["app=x".to_owned()].into())), Money::usd(3));
    let both = |query: &mut Query| {
        query.filter.keys = Some([KeyId(3)].into());
        query.filter.models = Some(["fast".to_owned()].into());
    };
    assert_eq!(cost(&both), Money::ZERO);
}

#[test]
fn an_orphan_counts_at_its_ceiling_until_its_record_comes() {
    let mut house = House::new();
    house.admits(1, 1, "fast", &["a=b"]);
    house.orphans(1, 1, "fast");
    let sums = |house: &House| answer(house, &query(house, &[])).first().map(|(_, sums)| *sums).unwrap();
    assert_eq!((sums(&house).orphaned, sums(&house).cost), (1, Money::usd(9)));
    let adjusted = call::Adjusted {
        admitted_at: house.now,
        tenant: TenantId(1),
        key: KeyId(1),
        deltas: Vec::new(),
        delta: Money::usd(-2),
        reason: "reconciled".into(),
    };
    house.happens(Event::Call(CallId(1), call::Event::Adjusted(Box::new(adjusted.clone()))));
    assert_eq!((sums(&house).cost, sums(&house).adjusted), (Money::usd(7), Money::usd(-2)));
    house.now = house.now.plus(Duration::from_secs(3 * 3_600));
    house.finishes(1, 1, "fast", 1, 3);
    assert_eq!((sums(&house).orphaned, sums(&house).ok, sums(&house).cost, sums(&house).adjusted), (0, 1, Money::usd(3), Money::ZERO));
    house.happens(Event::Call(CallId(1), call::Event::Adjusted(Box::new(adjusted))));
    assert_eq!((sums(&house).ok, sums(&house).cost), (1, Money::usd(1)), "one of a closed call counts as well");
    let meters: Money = house.state.books.meters.iter().map(|(_, meter)| meter.cost).sum();
    assert_eq!(meters, Money::usd(1), "as the books say");
}

#[test]
fn a_call_counts_in_the_hour_of_its_admission_and_ranges_of_any_length_agree() {
    let mut house = House::new();
    for day in 0..70u64 {
        house.now = Timestamp::parse("2026-12-10T22:30:00Z").unwrap().plus(Duration::from_secs(day * 86_400));
        house.admits(day.into(), 1, "fast", &[]);
        house.now = house.now.plus(Duration::from_secs(2 * 3_600)); // past midnight
        house.finishes(day.into(), 1, "fast", 1, 1);
    }
    let at = |text| Timestamp::parse(text).unwrap();
    let count = |from, until, step| {
        let query = Query { range: Range::hours(at(from), at(until)), step, ..query(&house, &[]) };
        answer(&house, &query).iter().map(|(group, sums)| (group.start.map(|start| start.to_string()), sums.ok)).collect::<Vec<_>>()
    };
    let all = |from, until| count(from, until, None).first().map_or(0, |(_, ok)| *ok);
    assert_eq!(all("2026-12-10T22:00:00Z", "2026-12-10T23:00:00Z"), 1);
    assert_eq!(all("2026-12-10T23:00:00Z", "2026-12-11T22:00:00Z"), 0);
    assert_eq!(all("2026-12-01T00:00:00Z", "2027-03-01T00:00:00Z"), 70);
    assert_eq!(all("2026-12-11T05:00:00Z", "2027-02-17T22:10:00Z"), 69);
    assert_eq!(all("2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"), 31);
    let months = count("2026-12-01T00:00:00Z", "2027-03-01T00:00:00Z", Some(Grain::Month));
    assert_eq!(months.iter().map(|(_, ok)| *ok).collect::<Vec<_>>(), [22, 31, 17]);
    assert_eq!(months[1].0.as_deref(), Some("2027-01-01T00:00:00Z"));
    assert_eq!(count("2027-01-02T00:00:00Z", "2027-01-05T00:00:00Z", Some(Grain::Day)).len(), 3);
}

/// Seventy days; each call is admitted before midnight and ends behind it.
fn long() -> House {
    let mut house = House::new();
    for day in 0..70u64 {
        house.now = Timestamp::parse("2026-12-10T22:30:00Z").unwrap().plus(Duration::from_secs(day * 86_400));
        house.caller.user = (day % 4 > 0).then_some(UserId(u128::from(day % 4)));
        house.admits(day.into(), 1, "fast", &["a=b"]);
        house.now = house.now.plus(Duration::from_secs(2 * 3_600));
        if day % 9 == 4 { house.orphans(day.into(), 1, "fast") } else { house.finishes(day.into(), 1, "fast", 1, 1) }
    }
    for day in [49u128, 58] {
        house.finishes(day, 1, "fast", 2, 2);
    }
    house
}

#[test]
fn rows_do_not_depend_on_batches() {
    for house in [busy(), long()] {
        let digest = |sizes: &[usize]| view(&followed(Box::new(Usage::default()), &house.records, sizes)).digest().unwrap();
        let one = digest(&[1]);
        assert_eq!(one.0, house.records.len() as u64);
        for sizes in [&[2][..], &[1_000], &[5, 1, 3], &[50]] {
            assert_eq!(digest(sizes), one, "{sizes:?}");
        }
    }
}
