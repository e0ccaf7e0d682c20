//! A backup of a journal that goes on, and what is made of it: the same events and books, and as the first act an event that says so.

use crate::support::{Steps, open, work};
use events::{Boot, Event, Timestamp, node};
use journal::{
    Journal,
    backup::{Manifest, write},
    disk::MemoryDisk,
    look,
    suite::{House, read_all},
};
use raft::{RaftJournal, Settings};
use std::{io, sync::Arc, time::Duration};
use store::DataDir;

const MADE_AT: Timestamp = Timestamp(1_790_000_000_000_000);

fn settings() -> Settings {
    Settings { clock: Arc::new(Steps::default()), fail_stop: Arc::new(|_| {}), disk_low: 0, disk_ok: 0 }
}

/// A backup of all that is in the journal by now.
async fn backup(journal: &RaftJournal) -> (Vec<u8>, Manifest) {
    let position = look(journal, events::State::position);
    let reader = journal.reader();
    let taken = loop {
        let taken = reader.taken().unwrap();
        if taken.n >= position {
            break taken;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut bytes = Vec::new();
    let manifest = write(&*reader, &taken, ("test", MADE_AT), &mut bytes, &mut |_| ()).unwrap();
    (bytes, manifest)
}

async fn restore(disk: &MemoryDisk, bytes: &[u8]) -> io::Result<Manifest> {
    raft::restore(Arc::new(disk.clone()), &mut &*bytes, settings(), &mut |_, _| ()).await
}

#[tokio::test]
async fn what_is_restored_goes_on_at_the_same_position() {
    let disk = MemoryDisk::new();
    let journal = Arc::new(open(&disk).await.unwrap());
    let house = House::new(journal.clone()).await;
    work(&house, Boot(11), 0..30).await;
    let (bytes, manifest) = backup(&journal).await;
    let before = read_all(&*journal).await;
    journal.stop().await;

    let other = MemoryDisk::new();
    assert_eq!(restore(&other, &bytes).await.unwrap(), manifest);
    let report = raft::verify(&DataDir::open_existing(Arc::new(other.clone())).unwrap());
    assert_eq!((report.damages, report.events), (Vec::new(), manifest.n + 1));
    let restored = Arc::new(open(&other).await.unwrap());
    let after = read_all(&*restored).await;
    assert_eq!(after[..before.len()], before);
    let said = &after[before.len()].event;
    assert!(
        matches!(**said, Event::Node(_, node::Event::Restored { position, made_at }) if position == manifest.n && made_at == MADE_AT),
        "{said:?}"
    );
    assert_eq!(after.len(), before.len() + 1);
    let house = House { journal: restored.clone() };
    house.start(Boot(12)).await;
    assert_eq!(work(&house, Boot(12), 1_000..1_010).await.len(), 10);
    restored.stop().await;
}

#[tokio::test]
async fn a_restore_that_is_cut_off_is_never_taken_for_whole() {
    let disk = MemoryDisk::new();
    let journal = Arc::new(open(&disk).await.unwrap());
    let house = House::new(journal.clone()).await;
    work(&house, Boot(11), 0..30).await;
    let (bytes, manifest) = backup(&journal).await;
    journal.stop().await;
    let whole = MemoryDisk::new();
    restore(&whole, &bytes).await.unwrap();
    let all = whole.ops();
    let mut refused = 0;
    for ops in (0..=all + 1).step_by(3) {
        let disk = MemoryDisk::new();
        disk.die_after(ops);
        let done = restore(&disk, &bytes).await;
        let after = Arc::new(disk.power_cut(ops));
        match DataDir::open(after, [9; 16]) {
            Ok(dir) if dir.is_new => assert!(done.is_err(), "nothing was written yet at {ops}"),
            Ok(dir) => {
                let report = raft::verify(&dir);
                assert_eq!((report.damages, report.events), (Vec::new(), manifest.n + 1), "cut at {ops} of {all}");
            }
            Err(_) => {
                assert!(done.is_err(), "done, and refused at {ops} of {all}");
                refused += 1;
            }
        }
    }
    assert!(refused > all / 6, "{refused} of {all}");
}

#[tokio::test]
async fn what_is_not_whole_leaves_a_mark() {
    let disk = MemoryDisk::new();
    let journal = Arc::new(open(&disk).await.unwrap());
    let house = House::new(journal.clone()).await;
    work(&house, Boot(11), 0..5).await;
    let (bytes, _) = backup(&journal).await;
    journal.stop().await;
    for left in [bytes.len() - 1, bytes.len() / 2, 10, 0] {
        let disk = MemoryDisk::new();
        assert!(restore(&disk, &bytes[..left]).await.is_err());
        let fault = DataDir::open(Arc::new(disk.clone()), [9; 16]).err().unwrap().to_string();
        assert!(fault.contains("did not come to its end"), "{fault}");
        let again = restore(&disk, &bytes).await.unwrap_err().to_string();
        assert!(again.contains("something in this folder"), "{again}");
    }
}
