//! Power cuts at every kind of moment: what was confirmed is there, and what is there is whole.

use crate::support::{dir, open, recorded, work};
use events::Boot;
use journal::{Journal, disk::MemoryDisk, look, suite::House};
use std::{collections::BTreeSet, sync::Arc};

/// Runs until the power is cut after so many operations, starts again, and answers the disk, and the calls that were confirmed.
async fn cut_after(disk: MemoryDisk, ops: u64, boot: Boot, calls: std::ops::Range<u64>, seed: u64) -> (MemoryDisk, BTreeSet<u64>) {
    let Ok(journal) = open(&disk).await else { return (disk.power_cut(seed), BTreeSet::new()) };
    let house = House { journal: Arc::new(journal) };
    house.start(boot).await;
    disk.die_after(ops);
    let confirmed = work(&house, boot, calls).await;
    let after = disk.power_cut(seed);
    house.journal.stop().await;
    (after, confirmed)
}

#[tokio::test]
async fn what_was_confirmed_survives_power_cuts() {
    for seed in 0..10 {
        let mut disk = MemoryDisk::new();
        House::new(Arc::new(open(&disk).await.unwrap())).await.journal.stop().await;
        let mut confirmed = BTreeSet::new();
        for cut in 0..4u64 {
            let ops = 1 + (seed * 7 + cut * 13) % 120;
            let calls = cut * 1_000..cut * 1_000 + 200;
            let (after, more) = cut_after(disk, ops, Boot(100 + cut), calls, seed * 31 + cut).await;
            confirmed.extend(more);
            disk = after;
            let report = raft::verify(&dir(&disk));
            assert_eq!(report.damages, [], "seed {seed}, cut {cut}: a power cut is no damage");
        }
        let journal = open(&disk).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = recorded(&journal).await;
        assert!(confirmed.is_subset(&found), "seed {seed}: lost {:?}", confirmed.difference(&found));
        journal.stop().await;
    }
}

#[tokio::test]
async fn a_clean_stop_leaves_nothing_to_be_applied() {
    let disk = MemoryDisk::new();
    let house = House::new(Arc::new(open(&disk).await.unwrap())).await;
    work(&house, Boot(11), 0..50).await;
    let before = look(&*house.journal, |state| {
        let mut state = state.clone();
        state.settle();
        (state.position(), state.digests())
    });
    house.journal.stop().await;
    let report = raft::verify(&dir(&disk.copy()));
    assert_eq!((report.damages, report.events, report.books), (Vec::new(), before.0, before.1.books));
    drop(house);
    let journal = open(&disk).await.unwrap();
    assert_eq!(look(&journal, |state| (state.position(), state.digests())), before);
}

#[tokio::test]
async fn the_first_failed_sync_is_the_last_thing_that_is_done() {
    for syncs in [0, 1, 2, 5, 11] {
        let disk = MemoryDisk::new();
        let house = House::new(Arc::new(open(&disk).await.unwrap())).await;
        house.start(Boot(11)).await;
        disk.fail_sync_after(syncs);
        let confirmed = work(&house, Boot(11), 0..200).await;
        assert!(matches!(house.journal.health(), journal::Health::Failed(_)), "{syncs} syncs");
        let after = disk.power_cut(syncs);
        house.journal.stop().await;
        let journal = open(&after).await.unwrap_or_else(|error| panic!("{syncs} syncs: {error}"));
        let found = recorded(&journal).await;
        assert!(confirmed.is_subset(&found), "{syncs} syncs: lost {:?}", confirmed.difference(&found));
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_journal_and_loses_nothing() {
    let disk = MemoryDisk::new();
    let house = House::new(Arc::new(open(&disk).await.unwrap())).await;
    let mut confirmed = work(&house, Boot(11), 0..20).await;
    house.start(Boot(12)).await;
    disk.set_capacity(0);
    confirmed.extend(work(&house, Boot(12), 1_000..2_000).await);
    assert!(matches!(house.journal.health(), journal::Health::Failed(_)));
    house.journal.stop().await;
    let journal = open(&disk.power_cut(3)).await.unwrap();
    assert!(confirmed.is_subset(&recorded(&journal).await));
}
