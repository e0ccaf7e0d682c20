//! What is stored and sent, changed by a hostile hand: each decoder gives a value or an error, never a panic, and every byte has a
//! meaning: nothing may follow.

#[path = "samples/files.rs"]
mod files;

use events::{
    Boot, Event,
    Event::Node as NodeEvent,
    NodeId, NoteId, State, StreamId, Timestamp, cloudevent, codec,
    envelope::{ENVELOPE_BYTES, Principal, Recorded},
    node,
    table::Change,
    transaction::{Group, Guard, Proposal, Sequence, Transaction},
};
use proptest::{collection::vec, prelude::*, sample::Index};
use std::{collections::BTreeSet, sync::LazyLock};

/// Every table of the books and of the desk.
const TABLES: [u8; 23] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 64, 65, 66];

/// Table, key and value.
type Row = (u8, Vec<u8>, Vec<u8>);

static LEAVES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| files::leaves().into_iter().map(|(_, leaf)| leaf).collect());
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(rows);
static GROUP: LazyLock<Vec<u8>> = LazyLock::new(|| codec::encode(&group()));

/// One change to some bytes.
#[derive(Clone, Debug)]
enum Harm {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    Repeat(Index, Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    // bytes that begin a length or a number of several bytes are likelier than others
    let byte = || prop_oneof![any::<u8>(), 0..4u8, 250..=255u8];
    prop_oneof![
        4 => (any::<Index>(), byte()).prop_map(|(at, byte)| Harm::Set(at, byte)),
        2 => (any::<Index>(), vec(byte(), 1..12)).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        2 => (any::<Index>(), 1..12usize).prop_map(|(at, count)| Harm::Remove(at, count)),
        1 => any::<Index>().prop_map(Harm::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Harm::Repeat(from, to)),
    ]
}

fn harmed(bytes: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for harm in harms {
        let at = |index: &Index| index.index(bytes.len() + 1);
        match harm {
            Harm::Set(place, byte) if !bytes.is_empty() => {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            Harm::Set(..) => {}
            Harm::Insert(place, new) => {
                let place = at(place);
                bytes.splice(place..place, new.iter().copied());
            }
            Harm::Remove(place, count) => {
                let place = at(place);
                bytes.drain(place..(place + count).min(bytes.len()));
            }
            Harm::Cut(place) => {
                let place = at(place);
                bytes.truncate(place);
            }
            Harm::Repeat(from, to) => {
                let (one, other) = (at(from), at(to));
                bytes.extend_from_within(one.min(other)..one.max(other));
            }
        }
    }
    bytes
}

/// Read as the next event of this state, whatever its envelope says of its number and its body's length.
fn as_next(mut leaf: Vec<u8>, state: &State) -> Option<Recorded> {
    let body = leaf.len().checked_sub(ENVELOPE_BYTES)? as u32;
    leaf[1..9].copy_from_slice(&state.position().to_le_bytes());
    leaf[ENVELOPE_BYTES - 4..ENVELOPE_BYTES].copy_from_slice(&body.to_le_bytes());
    Recorded::read(&leaf).ok()
}

fn replayed(leaves: &[Vec<u8>]) -> State {
    let mut state = State::default();
    for leaf in leaves {
        let record = as_next(leaf.clone(), &state).expect("golden bytes read");
        state.replay(&record).expect("it is the next");
    }
    state
}

fn group() -> Group {
    let proposals = LEAVES.iter().map(|leaf| {
        let stream = Recorded::read(leaf).expect("golden bytes read").envelope.stream;
        Proposal::read(stream, Principal::Admin(7), 3, leaf[ENVELOPE_BYTES..].to_vec())
    });
    let guards = vec![Guard::Version(StreamId::Node(NodeId(7)), 0), Guard::Fits, Guard::Unclaimed];
    let all = Transaction { guards, events: proposals.collect(), notes: vec![(NoteId::Cluster, Some(vec![1, 2, 3]))] };
    Group { sequence: Some(Sequence { node: NodeId(7), boot: Boot(9), lane: 1, seq: 1 }), transactions: vec![None, Some(all)] }
}

/// Rows of every table, as they were when they were last written.
fn rows() -> Vec<Row> {
    let mut state = replayed(&LEAVES);
    let mut changes = state.settle();
    let find = |name: &str| files::leaves().into_iter().find(|(other, _)| other == name).expect("a sample").1;
    for name in ["tollgate.key.rotated.v1", "tollgate.budget.opened.v1", "tollgate.call.admitted.v1", "tollgate.call.orphaned.v1"] {
        let record = as_next(find(name), &state).expect("golden bytes read");
        state.replay(&record).expect("it is the next");
        changes.extend(state.settle());
    }
    let propose = |event, note| Transaction {
        events: vec![Proposal::new(event, Principal::System, 0)],
        notes: vec![(note, Some(vec![1, 2, 3]))],
        ..Transaction::default()
    };
    let (node, boot) = (NodeId(7), Boot(9));
    let start = propose(NodeEvent(node, node::Event::Started { boot, lanes: 2 }), NoteId::Cluster);
    let more = propose(NodeEvent(node, node::Event::Joined), NoteId::ProviderSecret(events::ProviderId(4)));
    for (sequence, transaction) in [(None, start), (Some(Sequence { node, boot, lane: 1, seq: 1 }), more)] {
        let group = Group { sequence, transactions: vec![Some(transaction)] };
        state.apply(&group, Timestamp(1_800_000_000_000_000), &mut Vec::new()).expect("known events");
        changes.extend(state.settle());
    }
    changes.into_iter().filter_map(|Change { table, key, value }| Some((table, key, value?))).collect()
}

#[test]
fn there_is_a_row_of_every_table() {
    let tables: BTreeSet<u8> = ROWS.iter().map(|(table, ..)| *table).collect();
    assert_eq!(tables, BTreeSet::from(TABLES));
}

#[test]
fn nothing_may_follow_what_is_read() {
    for leaf in LEAVES.iter() {
        let (envelope, body) = leaf.split_at(ENVELOPE_BYTES);
        let stream = Recorded::read(leaf).expect("golden bytes read").envelope.stream;
        for more in [&[0u8][..], &[1], &[255; 9], body] {
            assert!(Event::decode(stream, &[body, more].concat()).is_err(), "{stream}");
            assert!(Recorded::read(&[envelope, body, more].concat()).is_err(), "{stream}");
        }
        assert!(body.iter().enumerate().all(|(cut, _)| Event::decode(stream, &body[..cut]).is_err()), "{stream} cut");
    }
    assert!(codec::decode::<Group>(&[GROUP.as_slice(), &[0]].concat()).is_err());
    for (table, key, value) in ROWS.iter() {
        let load = |key: &[u8], value: &[u8]| State::default().load(*table, key, value);
        assert_eq!(load(key, value), Ok(()), "table {table}");
        assert!(load(key, &[value.as_slice(), &[0]].concat()).is_err(), "a value of table {table}");
        assert!(load(&[key.as_slice(), &[0]].concat(), value).is_err(), "a key of table {table}");
        assert!(value.is_empty() || load(key, &value[..value.len() - 1]).is_err(), "a value of table {table} cut");
        assert!(key.is_empty() || load(&key[..key.len() - 1], value).is_err(), "a key of table {table} cut");
    }
}

#[test]
fn an_event_is_read_in_a_stream_of_its_noun_only() {
    for leaf in LEAVES.iter() {
        let own = Recorded::read(leaf).expect("golden bytes read").envelope.stream;
        for kind in 0..=255u8 {
            for number in [0, 1, u128::from(u64::MAX), u128::MAX] {
                let Some(stream) = StreamId::from_parts(kind, number) else { continue };
                let read = Event::decode(stream, &leaf[ENVELOPE_BYTES..]);
                assert_eq!(read.is_ok(), kind == own.to_parts().0, "{own} in {stream}");
            }
        }
    }
}

#[test]
fn every_byte_of_an_envelope_may_be_any() {
    for at in 0..ENVELOPE_BYTES {
        for byte in 0..=255 {
            let mut leaf = LEAVES[0].clone();
            leaf[at] = byte;
            if let Ok(record) = Recorded::read(&leaf) {
                assert_eq!(record.envelope.leaf(&leaf[ENVELOPE_BYTES..]), leaf, "byte {at} has a meaning");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Read, told to strangers, and folded into a state that knows the rest.
    #[test]
    fn events(leaf in any::<Index>(), harms in vec(harm(), 1..5)) {
        let mut state = State::default();
        let leaf = harmed(&LEAVES[leaf.index(LEAVES.len())], &harms);
        if let Ok(record) = Recorded::read(&leaf) {
            prop_assert_eq!(&*record.leaf, leaf.as_slice());
        }
        if let Some(record) = as_next(leaf, &state) {
            let again = Event::decode(record.envelope.stream, &record.event.encode());
            prop_assert_eq!(again.as_ref(), Ok(&*record.event));
            cloudevent::render(&record, &state, "c");
            state.replay(&record).expect("it is the next");
            state.settle();
        }
    }

    #[test]
    fn rows_of_every_table(row in any::<Index>(), key in vec(harm(), 0..2), value in vec(harm(), 0..4)) {
        let (table, old_key, old_value) = &ROWS[row.index(ROWS.len())];
        let mut state = State::default();
        if state.load(*table, &harmed(old_key, &key), &harmed(old_value, &value)).is_ok() {
            state.loaded();
            state.settle();
            let record = as_next(LEAVES[0].clone(), &state).expect("golden bytes read");
            state.replay(&record).expect("it is the next");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A history in which any events are not what they were.
    #[test]
    fn histories(harms in vec((any::<Index>(), vec(harm(), 1..3)), 1..12)) {
        let mut leaves = LEAVES.clone();
        for (leaf, harms) in &harms {
            let at = leaf.index(leaves.len());
            leaves[at] = harmed(&leaves[at], harms);
        }
        let mut state = State::default();
        for leaf in leaves {
            if let Some(record) = as_next(leaf, &state) {
                state.replay(&record).expect("it is the next");
                cloudevent::render(&record, &state, "c");
            }
        }
        state.settle();
    }

    #[test]
    fn groups(harms in vec(harm(), 1..5), time: u64) {
        if let Ok(group) = codec::decode::<Group>(&harmed(&GROUP, &harms)) {
            let known = group.transactions.iter().flatten().all(|transaction| transaction.check().is_ok());
            let outcome = State::default().apply(&Group { sequence: None, ..group }, Timestamp(time), &mut Vec::new());
            prop_assert!(outcome.is_ok() || !known);
        }
    }
}

/// What is read is written so that it is read as the same again.
fn try_text<T: std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str, parse: impl Fn(&str) -> Option<T>) {
    if let Some(value) = parse(text) {
        assert_eq!(parse(&value.to_string()), Some(value), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Ids, positions, money and times come from strangers: in addresses, headers and files.
    #[test]
    fn texts(sample in prop::sample::select(vec![
        "", "0:17", "17", "call_01hzy3v7w8k9m2n4p6q8r0s1t2", "call_7zzzzzzzzzzzzzzzzzzzzzzzzz", "bud_7", "key_18446744073709551615", "12.034500000000",
        "-99999999999.999999999999", "2026-11-22T13:45:00Z", "9999-12-31T23:59:59.999999999-23:59", "1969-12-31T23:59:60+00:00",
    ]), harms in vec(harm(), 0..4)) {
        let text = String::from_utf8_lossy(&harmed(sample.as_bytes(), &harms)).into_owned();
        try_text(&text, |text| text.parse::<events::CallId>().ok());
        try_text(&text, |text| text.parse::<events::BudgetId>().ok());
        try_text(&text, |text| text.parse::<events::KeyId>().ok());
        try_text(&text, |text| text.parse::<events::Position>().ok());
        try_text(&text, events::Money::parse);
        try_text(&text, Timestamp::parse);
    }
}
