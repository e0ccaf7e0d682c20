use super::*;
use crate::{
    disk::MemoryDisk,
    frame,
    history::Manifest,
    segments::{RECORDS_AT, Settings},
};

const LEN: u64 = 30;

fn leaf(number: u64) -> Vec<u8> {
    format!("leaf {number}").into_bytes()
}

fn offset(first: u64, number: u64) -> u64 {
    RECORDS_AT + (first..number).map(|number| frame::size(leaf(number).len())).sum::<u64>()
}

/// Sealed segments and an open one, all durable; the last leaf is a group of its own.
fn stored() -> (MemoryDisk, Manifest) {
    let disk = MemoryDisk::new();
    let settings = Settings { segment_bytes: 400, stride: 4, ..Settings::history() };
    let (mut history, _) = History::open_with(Arc::new(disk.clone()), settings).unwrap();
    for number in 0..LEN {
        history.append(&[leaf(number)]).unwrap();
        history.sync().unwrap();
    }
    let manifest = history.manifest().unwrap();
    assert!(manifest.sealed.len() > 1 && manifest.sealed.iter().map(|part| part.count).sum::<u64>() < LEN);
    (disk, manifest)
}

/// The open segment's first event.
fn open_first(manifest: &Manifest) -> u64 {
    manifest.sealed.last().map_or(0, |part| part.first + part.count)
}

fn name(disk: &MemoryDisk, first: u64) -> String {
    let names = disk.list().unwrap();
    names.into_iter().find(|name| name.starts_with(&format!("{first:020}")) && name.ends_with(".seg")).unwrap()
}

fn look(disk: &MemoryDisk, durable: u64) -> (Findings, Vec<Vec<u8>>) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (mut findings, mut leaves) = (Findings::default(), Vec::new());
    history(&disk, durable, &mut findings, &mut |number, leaf, _| {
        assert_eq!(number, leaves.len() as u64);
        leaves.push(leaf.to_vec());
    });
    (findings, leaves)
}

/// The one damage after a flip.
fn flipped(disk: &MemoryDisk, name: &str, at: u64) -> Damage {
    let disk = disk.copy();
    assert!(disk.flip(name, at, 0x04));
    let damages = look(&disk, LEN).0.damages;
    assert_eq!(damages.len(), 1, "{name} at {at}: {damages:?}");
    damages[0].clone()
}

#[test]
fn a_whole_history_is_gone_through_and_left_as_it_is() {
    let (disk, _) = stored();
    let ops = disk.ops();
    let (findings, leaves) = look(&disk, LEN);
    assert_eq!(findings.damages, []);
    assert_eq!(leaves, (0..LEN).map(leaf).collect::<Vec<_>>());
    assert_eq!(disk.ops(), ops);
}

#[test]
fn a_flip_anywhere_is_found_in_its_file() {
    let (disk, manifest) = stored();
    let open = name(&disk, open_first(&manifest));
    for name in disk.list().unwrap() {
        let written = if name == open { offset(open_first(&manifest), LEN) } else { disk.bytes(&name).unwrap().len() as u64 };
        for at in 0..written {
            let flipped = disk.copy();
            flipped.flip(&name, at, 1 << (at % 8));
            let damages = look(&flipped, LEN).0.damages;
            assert!(damages.iter().any(|damage| damage.file == format!("history/{name}")), "{name} at {at}: {damages:?}");
        }
    }
}

#[test]
fn a_leaf_is_named_by_file_number_and_place() {
    let (disk, manifest) = stored();
    for first in [0, manifest.sealed[1].first, open_first(&manifest)] {
        let (file, number) = (name(&disk, first), first + 2);
        let damage = flipped(&disk, &file, offset(first, number) + 20);
        assert_eq!((damage.file, damage.record, damage.offset), (format!("history/{file}"), Some(number), offset(first, number)));
    }
}

#[test]
fn leaves_before_and_behind_a_damaged_one_are_gone_through_too() {
    let (disk, manifest) = stored();
    let file = name(&disk, 0);
    let bad = [1, 6, manifest.sealed[1].first + 1];
    for number in &bad[..2] {
        disk.flip(&file, offset(0, *number) + 20, 1);
    }
    disk.flip(&name(&disk, manifest.sealed[1].first), offset(manifest.sealed[1].first, bad[2]) + 20, 1);
    disk.flip(&tree_name(0), tree_offset(0), 1);
    let (findings, leaves) = look(&disk, LEN);
    assert_eq!(findings.damages.iter().filter_map(|damage| damage.record).collect::<Vec<_>>(), [1, 0, 6, bad[2]], "{:?}", findings.damages);
    assert_eq!((findings.damages.len(), leaves), (4, vec![leaf(0)]), "what comes behind is not shown as if nothing were missing");
}

#[test]
fn the_last_leaf_counts_as_torn_unless_the_state_proves_it() {
    let (disk, manifest) = stored();
    let first = open_first(&manifest);
    let file = name(&disk, first);
    disk.flip(&file, offset(first, LEN - 1) + 20, 1);
    let (findings, leaves) = look(&disk, LEN - 1);
    assert_eq!((findings.damages, leaves.len() as u64), (Vec::new(), LEN - 1));
    assert!(findings.notes.iter().any(|note| note.0.contains("torn write")), "{:?}", findings.notes);
    let damages = look(&disk, LEN).0.damages;
    let damage = damages.iter().find(|damage| damage.file == format!("history/{file}")).expect("it is named");
    assert_eq!((damage.record, damage.offset), (Some(LEN - 1), offset(first, LEN - 1)));
}

#[test]
fn header_footer_and_trailer_of_a_sealed_segment_are_named() {
    let (disk, manifest) = stored();
    let part = &manifest.sealed[1];
    let file = name(&disk, part.first);
    let size = disk.bytes(&file).unwrap().len() as u64;
    let end = offset(part.first, part.first + part.count);
    for (at, offset, what) in [(24, 0, "the header"), (end + 30, end, "the footer"), (size - 3, size - 16, "the trailer")] {
        let disk = disk.copy();
        disk.flip(&file, at, 2);
        let damages = look(&disk, LEN).0.damages;
        assert!(damages.iter().all(|damage| (damage.file.as_str(), damage.offset) == (&*format!("history/{file}"), offset)), "{damages:?}");
        assert!(damages[0].what.contains(what), "{damages:?}");
    }
}

#[test]
fn a_name_that_tells_another_head_is_named() {
    let (disk, manifest) = stored();
    let file = name(&disk, manifest.sealed[0].first);
    let other = file.replace(&tag(&manifest.sealed[0].frontier.root()), "0123456789abcdef");
    disk.rename(&file, &other).unwrap();
    let damages = look(&disk, LEN).0.damages;
    assert!(!damages.is_empty() && damages.iter().all(|damage| damage.file == format!("history/{other}")), "{damages:?}");
}

#[test]
fn a_hash_that_is_not_its_events_is_named_up_to_what_the_state_proves() {
    let (disk, manifest) = stored();
    for first in [manifest.sealed[1].first, open_first(&manifest)] {
        let damage = flipped(&disk, &tree_name(first), tree_offset(1) + 5);
        assert_eq!((damage.file, damage.record, damage.offset), (format!("history/{}", tree_name(first)), Some(first + 1), tree_offset(1)));
    }
    let first = open_first(&manifest);
    disk.cut(&tree_name(first), tree_offset(1));
    assert_eq!(look(&disk, first + 1).0.damages, []);
    let damages = look(&disk, first + 2).0.damages;
    assert_eq!((damages.len(), damages[0].record, damages[0].what.as_str()), (1, Some(first + 1), "the hash is not there"));
}

/// Leaves, hashes and names agree, but the footer tells heads of other events.
#[test]
fn heads_in_a_footer_that_are_not_the_events_are_named() {
    let disk = MemoryDisk::new();
    let (mut history, _) = History::open(Arc::new(disk.clone())).unwrap();
    history.append(&[leaf(0), leaf(1)]).unwrap();
    history.sync().unwrap();
    drop(history);
    let mut other = Frontier::default();
    [leaf(0), leaf(7)].iter().for_each(|leaf| other.append(leaf_hash(leaf)));
    let mut segments = crate::segments::Segments::open(Arc::new(disk.clone()), Settings::history(), &mut |_| Ok(())).unwrap().0;
    let seal = crate::history::Seal { root: other.root(), frontier: other.encode() };
    segments.seal(&tag(&other.root()), events::codec::encode(&seal)).unwrap();
    let damages = look(&disk, 2).0.damages;
    assert_eq!(damages.len(), 1, "{damages:?}");
    assert!(damages[0].what.contains("heads are not those of the events") && damages[0].file.ends_with(".seg"), "{damages:?}");
}

#[test]
fn a_file_that_is_gone_is_named() {
    let (disk, manifest) = stored();
    for at in [0, 1] {
        let gone = disk.copy();
        gone.remove(&name(&disk, manifest.sealed[at].first)).unwrap();
        let damages = look(&gone, LEN).0.damages;
        assert_eq!((damages.len(), damages[0].record), (1, Some(manifest.sealed[at].first)), "{damages:?}");
    }
    disk.remove(&tree_name(0)).unwrap();
    let damages = look(&disk, LEN).0.damages;
    assert!(damages.iter().all(|damage| damage.file == format!("history/{}", tree_name(0))) && !damages.is_empty(), "{damages:?}");
}
