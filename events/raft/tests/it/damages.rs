//! Bits that turn over and files that are cut: found and named, never served.

use crate::support::{dir, open, recorded, work};
use events::Boot;
use journal::{
    Journal,
    disk::{Disk, MemoryDisk},
    look,
    suite::House,
};
use std::sync::Arc;

/// A node that ran and stopped.
async fn stopped() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let house = House::new(Arc::new(open(&disk).await.unwrap())).await;
    work(&house, Boot(11), 0..60).await;
    house.journal.stop().await;
    drop(house);
    disk.copy()
}

/// A node that was killed: its log holds what state and history do not.
async fn killed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    let house = House::new(Arc::new(open(&disk).await.unwrap())).await;
    work(&house, Boot(11), 0..60).await;
    let after = disk.copy();
    house.journal.stop().await;
    after
}

fn files(disk: &MemoryDisk) -> Vec<String> {
    ["log", "history", "state"]
        .iter()
        .flat_map(|folder| disk.folder(folder).unwrap().list().unwrap().into_iter().map(move |name| format!("{folder}/{name}")))
        .collect()
}

/// Bytes of a file that are not zeros: where something stands.
fn written(disk: &MemoryDisk, name: &str) -> u64 {
    let bytes = disk.bytes(name).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

/// What a damaged directory may do: be refused at the start with a name, or serve exactly what was there.
async fn refused_or_right(disk: &MemoryDisk, place: &str, right: &[Vec<u8>]) {
    let report = raft::verify(&dir(disk));
    let opened = open(disk).await;
    match opened {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!report.damages.is_empty(), "{place}: refused ({error}), but verify finds nothing");
        }
        Ok(journal) => {
            let position = look(&journal, events::State::position);
            let mut served = Vec::new();
            while (served.len() as u64) < position {
                match journal.read(served.len() as u64, 100).await {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => served.extend(records.into_iter().map(|record| record.leaf.to_vec())),
                    Err(_) => {
                        assert!(!report.damages.is_empty(), "{place}: unreadable, but verify finds nothing");
                        break;
                    }
                }
            }
            assert!(right.starts_with(&served), "{place}: something else was served");
            journal.stop().await;
        }
    }
}

async fn leaves(disk: &MemoryDisk) -> Vec<Vec<u8>> {
    let journal = open(disk).await.unwrap();
    let leaves = journal.read(0, 10_000).await.unwrap().into_iter().map(|record| record.leaf.to_vec()).collect();
    journal.stop().await;
    leaves
}

#[tokio::test]
async fn every_flip_is_found_or_does_no_harm() {
    for disk in [stopped().await, killed().await] {
        let right = leaves(&disk.copy()).await;
        for name in files(&disk) {
            let end = written(&disk, &name);
            for step in 0..10 {
                let offset = end * step / 10 + step % 7;
                let flipped = disk.copy();
                if offset >= end || !flipped.flip(&name, offset, 1 << (step % 8)) {
                    continue;
                }
                refused_or_right(&flipped, &format!("{name} at {offset}"), &right).await;
            }
        }
    }
}

#[tokio::test]
async fn a_flip_below_what_was_synced_is_named() {
    let disk = stopped().await;
    let mut named = 0;
    for name in files(&disk).into_iter().filter(|name| name.starts_with("history/")) {
        let end = written(&disk, &name);
        for step in 0..20 {
            let flipped = disk.copy();
            flipped.flip(&name, end * step / 20, 0x10);
            let report = raft::verify(&dir(&flipped));
            assert!(report.damages.iter().any(|damage| damage.file.starts_with("history/")), "{name} at {}: {:?}", end * step / 20, report);
            named += 1;
        }
    }
    assert_eq!(named, 40, "one segment and its hashes");
}

#[tokio::test]
async fn a_log_cut_below_what_history_or_state_proves_is_named() {
    for disk in [stopped().await, killed().await] {
        let synced = raft::verify(&dir(&disk.copy())).damages;
        assert_eq!(synced, []);
        let name = files(&disk).into_iter().find(|name| name.starts_with("log/")).unwrap();
        let end = written(&disk, &name);
        let right = leaves(&disk.copy()).await;
        for step in 1..14 {
            let cut = disk.copy();
            let size = cut.bytes(&name).unwrap().len() as u64;
            cut.cut(&name, end * step / 14);
            let mut bytes = cut.bytes(&name).unwrap();
            bytes.resize(size as usize, 0);
            cut.put(&name, bytes);
            refused_or_right(&cut, &format!("{name} cut at {}", end * step / 14), &right).await;
            if let Ok(journal) = open(&cut).await {
                let found = recorded(&journal).await;
                assert!(!found.is_empty());
                journal.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_vanished_is_named() {
    for folder in ["log", "history"] {
        let disk = stopped().await;
        let files = disk.folder(folder).unwrap();
        for name in files.list().unwrap() {
            files.remove(&name).unwrap();
        }
        let report = raft::verify(&dir(&disk));
        assert!(!report.damages.is_empty(), "{folder}");
        let error = open(&disk).await.err().unwrap_or_else(|| panic!("{folder} was not missed"));
        assert!(error.to_string().contains(folder), "{folder}: {error}");
    }
}

#[tokio::test]
async fn looking_changes_nothing() {
    for disk in [stopped().await, killed().await] {
        let before: Vec<_> = files(&disk).into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect();
        let ops = disk.ops();
        assert_eq!(raft::verify(&dir(&disk)).damages, []);
        let after: Vec<_> = files(&disk).into_iter().map(|name| (name.clone(), disk.bytes(&name))).collect();
        assert!(before == after, "{} operations", disk.ops() - ops);
    }
}
