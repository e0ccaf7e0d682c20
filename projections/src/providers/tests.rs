use super::*;
use crate::house_tests::{House, asked, finished, followed, view};
use events::KeyId;

fn attempts(house: &mut House, number: u128, ends: &[(u64, AttemptEnd)]) {
    house.admits(number, 1, "fast", &[]);
    let mut record = finished(1, "fast", 1, 2);
    let first = record.attempts[0].clone();
    record.attempts = ends.iter().map(|(provider, end)| Attempt { provider: ProviderId(*provider), end: *end, ..first.clone() }).collect();
    assert_eq!(record.key, KeyId(1));
    house.call(number, call::Event::Finished(Box::new(record)));
}

#[test]
fn attempts_count_by_how_they_ended() {
    let mut house = House::new();
    attempts(&mut house, 1, &[(1, AttemptEnd::Status(500)), (2, AttemptEnd::Ok)]);
    attempts(&mut house, 2, &[(1, AttemptEnd::Status(429)), (1, AttemptEnd::TimedOut), (2, AttemptEnd::Status(404))]);
    attempts(&mut house, 3, &[(2, AttemptEnd::Ok)]);
    let ask = |by_model, by_hour| {
        let query = Query {
            providers: vec![ProviderId(1), ProviderId(2)],
            from: Timestamp(0),
            until: house.now.plus(std::time::Duration::from_secs(9)),
            by_model,
            by_hour,
        };
        asked(Box::new(Providers::default()), &house.records, |snapshot| query.run(snapshot))
    };
    let health: Vec<Health> = ask(false, false).into_values().collect();
    let [one, two] = &health[..] else { panic!("{health:?}") };
    assert_eq!((one.ok, one.errors, one.limited, one.timed_out, one.attempts()), (0, 1, 1, 1, 3));
    assert_eq!((two.ok, two.refused, two.attempts()), (2, 1, 3));
    // 20 tokens in 100 ms behind the first byte, 4 of them went in
    assert_eq!((two.first_byte_ms.total(), two.first_byte_ms.quantile(0.5), two.token_us.quantile(0.5)), (2, Some(20), Some(6_272)));
    assert_eq!(one.first_byte_ms.total(), 0);
    let groups: Vec<Group> = ask(true, true).into_keys().collect();
    assert_eq!(groups[0].model.as_deref(), Some("fast-up"));
    assert!(groups.iter().all(|group| group.start.is_some()));
    let digest = |sizes: &[usize]| view(&followed(Box::new(Providers::default()), &house.records, sizes)).digest().unwrap();
    assert_eq!(digest(&[1]), digest(&[1_000]));
}
