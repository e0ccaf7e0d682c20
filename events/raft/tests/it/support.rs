use events::{
    Boot, Timestamp,
    transaction::{Group, GroupOutcome, Outcome},
};
use journal::{
    Clock, Journal,
    disk::MemoryDisk,
    look,
    suite::{House, finish, read_all, seq},
};
use raft::{RaftJournal, Settings};
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use store::DataDir;

/// A second more each time it is asked.
#[derive(Default)]
pub struct Steps(AtomicU64);

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000_000 + 1_000_000 * self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub fn dir(disk: &MemoryDisk) -> DataDir {
    DataDir::open(Arc::new(disk.clone()), [5; 16]).expect("a data directory opens")
}

pub async fn open(disk: &MemoryDisk) -> io::Result<RaftJournal> {
    let settings = Settings { clock: Arc::new(Steps::default()), fail_stop: Arc::new(|_| {}), disk_low: 0, disk_ok: 0 };
    RaftJournal::open(dir(disk), settings).await
}

/// Admits and finishes calls, one a group, until the journal fails; answers the calls whose records were confirmed.
pub async fn work(house: &House, boot: Boot, calls: std::ops::Range<u64>) -> BTreeSet<u64> {
    let mut confirmed = BTreeSet::new();
    let mut number = 0;
    for call in calls {
        for transaction in [house.admit(call.into(), boot, 1), finish(call.into(), 0)] {
            number += 1;
            let group = Group { sequence: seq(boot, number), transactions: vec![Some(transaction)] };
            match house.journal.append(vec![group]).await {
                Ok(outcomes) => assert_eq!(outcomes, [GroupOutcome::Done(vec![Outcome::Taken])]),
                Err(_) => return confirmed,
            }
        }
        confirmed.insert(call);
    }
    confirmed
}

/// The calls whose record is in the history.
pub async fn recorded(journal: &dyn Journal) -> BTreeSet<u64> {
    let all = read_all(journal).await;
    assert_eq!(all.len() as u64, look(journal, events::State::position));
    let finished = |record: &events::envelope::Recorded| match &*record.event {
        events::Event::Call(id, events::call::Event::Finished(_)) => u64::try_from(id.0).ok(),
        _ => None,
    };
    all.iter().filter_map(finished).collect()
}
