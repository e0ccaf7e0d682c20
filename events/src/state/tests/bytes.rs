//! Every decoder over arbitrary bytes: an error or a value, never a panic, and no more memory than the bytes can pay for.

use super::world::*;
use crate::{
    BudgetId, CallId, Event, KeyId, NodeId, Owner, State, StreamId, TenantId, Timestamp,
    call::Event as Call,
    codec,
    envelope::{ENVELOPE_BYTES, Recorded},
    node,
    table::{RowKey, Table},
    transaction::{Group, Guard, Outcome, Transaction},
};
use proptest::{collection::vec, prelude::*};

const TABLES: [u8; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 64, 65, 66];

/// Bytes as they might be, and bytes that begin as a body, a number or a length does.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let hostile = prop_oneof![Just(0u8), Just(1), Just(2), 0..16u8, 248..=255u8, any::<u8>()];
    vec(hostile, 0..300)
}

fn streams() -> impl Strategy<Value = StreamId> {
    (0..10u8, any::<u64>()).prop_filter_map("a stream", |(kind, number)| StreamId::from_parts(kind, number.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn events(stream in streams(), bytes in bytes()) {
        if let Ok(event) = Event::decode(stream, &bytes) {
            prop_assert_eq!(Event::decode(stream, &event.encode()), Ok(event));
        }
    }

    #[test]
    fn leaves(bytes in bytes(), kind in 0..10u8) {
        let mut leaf = bytes;
        prop_assert!(Recorded::read(&leaf).is_err() || leaf.len() >= ENVELOPE_BYTES);
        if leaf.len() >= ENVELOPE_BYTES {
            // so that more than the first byte is read
            (leaf[0], leaf[9]) = (1, kind);
            let length = (leaf.len() - ENVELOPE_BYTES) as u32;
            leaf[ENVELOPE_BYTES - 4..ENVELOPE_BYTES].copy_from_slice(&length.to_le_bytes());
            leaf[ENVELOPE_BYTES - 29..ENVELOPE_BYTES - 28].fill(0);
            if let Ok(record) = Recorded::read(&leaf) {
                prop_assert_eq!(&*record.leaf, leaf.as_slice());
                crate::cloudevent::render(&record, &State::default(), "c");
            }
        }
    }

    #[test]
    fn groups(bytes in bytes()) {
        if let Ok(group) = codec::decode::<Group>(&bytes) {
            prop_assert_eq!(codec::decode(&codec::encode(&group)), Ok(group.clone()));
            let checks = group.transactions.iter().flatten().map(Transaction::check).collect::<Vec<_>>();
            let outcome = State::default().apply(&group, Timestamp(1), &mut Vec::new());
            prop_assert!(outcome.is_ok() || checks.iter().any(Result::is_err));
        }
    }

    #[test]
    fn rows(table in prop_oneof![prop::sample::select(&TABLES[..]), any::<u8>()], key in vec(any::<u8>(), 0..25), value in bytes()) {
        let mut state = State::default();
        if state.load(table, &key, &value).is_ok() {
            prop_assert!(TABLES.contains(&table));
            state.loaded();
            state.settle();
            prop_assert!(state.load(table, &key, &value).is_err(), "a row twice");
        }
    }

    #[test]
    fn keys_store_in_order(one in any::<(u64, u64, u16)>(), two in any::<(u64, u64, u16)>()) {
        fn same_order<K: RowKey + std::fmt::Debug>(one: K, two: K) {
            let bytes = |key: &K| {
                let mut out = Vec::new();
                key.write(&mut out);
                out
            };
            assert_eq!(bytes(&one).cmp(&bytes(&two)), one.cmp(&two));
            assert_eq!(K::read(&bytes(&one)), Some(one));
        }
        same_order((BudgetId(one.0), Timestamp(one.1)), (BudgetId(two.0), Timestamp(two.1)));
        same_order((NodeId(one.0), one.2), (NodeId(two.0), two.2));
        same_order(CallId(u128::from(one.0) << 64 | u128::from(one.1)), CallId(u128::from(two.0) << 64 | u128::from(two.1)));
        same_order((TenantId(one.0), u128::from(one.1).to_be_bytes()), (TenantId(two.0), u128::from(two.1).to_be_bytes()));
        same_order(StreamId::Key(KeyId(one.0)), StreamId::Budget(BudgetId(two.0)));
        same_order(Owner::Key(KeyId(one.0)), Owner::Key(KeyId(two.0)));
    }

    /// Facts in any order and number, with any figures and at any time: the fold is total.
    #[test]
    fn folds(steps in vec((0..9u8, 0..4u128, any::<i128>(), any::<u64>()), 1..40)) {
        let mut world = World::new();
        let budgets = [world.budget(10, Owner::Scope(SCOPE), 1_000), world.budget(11, Owner::Platform, 1_000)];
        for (kind, call, amount, other) in steps {
            let event = any_fact(&world, kind, call_id(call), amount, other, &budgets);
            let envelope = crate::envelope::Envelope { n: world.state.position(), stream: event.stream(), at: Timestamp(other), ..world.history[0].envelope };
            let leaf = envelope.leaf(&event.encode()).into();
            let record = Recorded { envelope, event: event.into(), leaf };
            world.state.replay(&record).unwrap();
            crate::cloudevent::render(&record, &world.state, "c");
        }
        world.state.settle();
    }
}

fn any_fact(world: &World, kind: u8, call: CallId, amount: i128, other: u64, budgets: &[BudgetId]) -> Event {
    let figures = crate::Figures { cost: crate::Money(amount), tokens: other, requests: other };
    let adds = vec![(budgets[(other % 2) as usize], amount), (BudgetId(99), amount)];
    match kind {
        0 | 1 => Event::Call(call, Call::Admitted(Box::new(world.admission(NODE, 1, figures, &budgets[..=(other % 2) as usize])))),
        2 => Event::Call(call, Call::Extended(crate::call::Extended { attempt: 2, adds, ceiling: figures })),
        3 => Event::Call(call, Call::Finished(Box::new(finished(KEY, figures)))),
        4 => Event::Call(call, Call::Released { key: KEY, reason: crate::call::Unsent::Stopping }),
        5 => {
            let (node, boot, key, model) = (NODE, crate::Boot(1), KEY, String::new());
            Event::Call(call, Call::Orphaned(crate::call::Orphaned { node, boot, key, model, charged: figures }))
        }
        6 => {
            let (admitted_at, delta, reason) = (Timestamp(other), crate::Money(amount), String::new());
            Event::Call(
                call,
                Call::Adjusted(Box::new(crate::call::Adjusted { admitted_at, tenant: TENANT, key: KEY, deltas: adds, delta, reason })),
            )
        }
        7 => {
            // opened again as something else while calls hold
            let identity =
                crate::budget::Identity { unit: crate::Unit::Tokens, every: crate::Every::ALL[(other % 5) as usize], ..Default::default() };
            let terms = crate::budget::Terms { limit: amount, hard: true, alert_at_ppm: vec![1, u32::MAX] };
            Event::Budget(BudgetId(10 + other % 90), crate::budget::Event::Opened { identity, terms })
        }
        _ => Event::Node(NODE, node::Event::Lost),
    }
}

#[test]
fn a_length_that_promises_a_terabyte_is_an_error() {
    // a varint of eight bytes, as the length of a list of transactions or of a name
    let mut huge = vec![0u8, 253];
    huge.extend_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(codec::decode::<Group>(&huge).is_err());
    let mut name = vec![0u8, 0, 253];
    name.extend_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(Event::decode(StreamId::Tenant(TenantId(1)), &name).is_err());
    let mut table: Table<TenantId, Vec<u8>> = Table::new(1);
    assert!(table.load(&[0; 8], &huge[1..]).is_err());
}

#[test]
fn what_is_too_big_fails_alone_before_it_enters_a_group() {
    let many = transaction(vec![], vec![Event::Node(NODE, node::Event::Lost); crate::limits::TRANSACTION_EVENTS_MAX + 1]);
    assert!(many.check().is_err());
    let name = "x".repeat(crate::limits::TRANSACTION_BYTES_MAX);
    let big = transaction(vec![], vec![Event::Tenant(TENANT, crate::tenant::Event::Created { name, rates: crate::Rates::default() })]);
    assert!(big.check().is_err());
    assert!(transaction(vec![Guard::Fits], vec![Event::Node(NODE, node::Event::Lost)]).check().is_ok());
    assert_eq!(Outcome::from_byte(0xff), None);
}
