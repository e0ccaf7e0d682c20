use super::*;
use crate::{
    Clock, Journal,
    memory::Memory,
    tree::{Frontier, leaf_hash},
};
use events::{
    Event, NodeId, TenantId,
    envelope::Principal,
    node, tenant,
    transaction::{Group, Proposal, Transaction},
};
use proptest::prelude::*;
use std::sync::Arc;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_790_000_000_000_000)
    }
}

fn ready<R>(future: crate::Future<'_, R>) -> R {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut future = future;
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("the journal in memory never waits"),
    }
}

/// A journal with so many events, and what is taken of it.
fn some(events: u64) -> (Memory, Taken) {
    let journal = Memory::new(Arc::new(Still));
    for number in 0..events {
        let event = match number {
            0 => Event::Node(NodeId(0), node::Event::Joined),
            _ => Event::Tenant(
                TenantId(number),
                tenant::Event::Created { name: format!("tenant {number}"), rates: events::Rates::default() },
            ),
        };
        let transaction = Transaction { events: vec![Proposal::new(event, Principal::System, 0)], ..Transaction::default() };
        ready(journal.append(vec![Group { sequence: None, transactions: vec![Some(transaction)] }])).unwrap();
    }
    let mut fresh = State::default();
    let mut frontier = Frontier::default();
    for record in journal.reader().read(0, usize::MAX).unwrap() {
        frontier.append(leaf_hash(&record.leaf));
        fresh.replay(&record).unwrap();
    }
    let rows = fresh.settle().into_iter().filter_map(|change| Some((change.table, change.key, change.value?))).collect();
    let taken = Taken { cluster: [7; 16], n: events, frontier: frontier.encode(), digests: fresh.digests(), time: fresh.desk.time(), rows };
    (journal, taken)
}

fn written(events: u64) -> Vec<u8> {
    let (journal, taken) = some(events);
    let mut bytes = Vec::new();
    let manifest = write(&*journal.reader(), &taken, ("0.1.0", Still.now()), &mut bytes, &mut |_| ()).unwrap();
    assert_eq!((manifest.n, manifest.rows), (events, taken.rows.len() as u64));
    bytes
}

fn read_all(mut bytes: &[u8]) -> io::Result<(Manifest, Vec<Row>)> {
    read(&mut bytes, &mut Nowhere)
}

#[derive(Default)]
struct Keeps(Vec<Vec<u8>>);

impl Sink for Keeps {
    fn manifest(&mut self, _manifest: &Manifest) -> io::Result<()> {
        Ok(())
    }

    fn leaves(&mut self, first: u64, leaves: &[Vec<u8>]) -> io::Result<()> {
        assert_eq!(first, self.0.len() as u64);
        self.0.extend_from_slice(leaves);
        Ok(())
    }
}

#[test]
fn what_was_written_comes_back() {
    for events in [0, 1, 2, 9, 3_000] {
        let (journal, taken) = some(events);
        let bytes = written(events);
        let mut keeps = Keeps::default();
        let (manifest, rows) = read(&mut bytes.as_slice(), &mut keeps).unwrap();
        assert_eq!((manifest.n, manifest.cluster, &rows, manifest.digests), (events, [7; 16], &taken.rows, taken.digests));
        let leaves: Vec<Vec<u8>> = journal.reader().read(0, usize::MAX).unwrap().iter().map(|record| record.leaf.to_vec()).collect();
        assert_eq!(keeps.0, leaves);
    }
}

#[test]
fn every_cut_is_refused() {
    let bytes = written(5);
    for at in 0..bytes.len() {
        assert!(read_all(&bytes[..at]).is_err(), "cut at {at} of {}", bytes.len());
    }
    assert!(read_all(&[bytes.as_slice(), b"x"].concat()).unwrap_err().to_string().contains("behind the trailer"));
}

#[test]
fn every_flip_is_refused() {
    let bytes = written(5);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(read_all(&flipped).is_err(), "flipped at {at} of {}", bytes.len());
    }
}

#[test]
fn another_history_or_state_is_not_taken() {
    let (journal, taken) = some(4);
    let mut other = taken.clone();
    other.frontier = some(4).1.frontier;
    other.frontier[10] ^= 1;
    assert!(write(&*journal.reader(), &other, ("x", Still.now()), &mut Vec::new(), &mut |_| ()).is_err());
    let mut short = taken.clone();
    short.n = 5;
    assert!(write(&*journal.reader(), &short, ("x", Still.now()), &mut Vec::new(), &mut |_| ()).is_err());
    let mut fewer = taken;
    fewer.rows.pop();
    let mut bytes = Vec::new();
    write(&*journal.reader(), &fewer, ("x", Still.now()), &mut bytes, &mut |_| ()).unwrap();
    assert!(read_all(&bytes).unwrap_err().to_string().contains("rows"));
}

#[test]
fn a_newer_form_is_named() {
    let mut bytes = written(1);
    bytes[16] = 9;
    assert!(read_all(&bytes).unwrap_err().to_string().contains("form 9"));
}

proptest! {
    #[test]
    fn strange_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_all(&bytes).is_err());
        prop_assert!(read_all(&[MAGIC.as_slice(), &FORMAT.to_le_bytes(), &bytes].concat()).is_err());
    }
}
