use super::*;
use crate::disk::MemoryDisk;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings { segment_bytes: 512, stride: 3, ..Settings::history() }
}

fn open(disk: &MemoryDisk) -> io::Result<(History, Vec<String>)> {
    let (history, notes) = History::open_with(Arc::new(disk.clone()), settings())?;
    Ok((history, notes.into_iter().map(|note| note.0).collect()))
}

fn leaf(number: u64) -> Vec<u8> {
    let mut leaf = format!("leaf {number}").into_bytes();
    leaf.resize(leaf.len() + (number * 31 % 50) as usize, b'-');
    leaf
}

fn leaves(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(leaf).collect()
}

fn hashes(numbers: std::ops::Range<u64>) -> Vec<Hash> {
    numbers.map(|number| leaf_hash(&leaf(number))).collect()
}

fn frontier(len: u64) -> Frontier {
    let mut frontier = Frontier::default();
    hashes(0..len).into_iter().for_each(|hash| frontier.append(hash));
    frontier
}

/// So many leaves, all durable, in several segments.
fn stored(len: u64) -> (MemoryDisk, History) {
    let disk = MemoryDisk::new();
    let (mut history, _) = open(&disk).unwrap();
    for number in 0..len {
        history.append(&[leaf(number)]).unwrap();
    }
    history.sync().unwrap();
    (disk, history)
}

fn damage<R>(result: io::Result<R>) -> Damage {
    let error = result.err().expect("damage");
    Damage::of(&error).unwrap_or_else(|| panic!("{error}")).clone()
}

fn names(disk: &MemoryDisk, of: &str) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.contains(of)).collect()
}

#[test]
fn appending_answers_the_leaves_hashes_and_grows_the_tree() {
    let disk = MemoryDisk::new();
    let (mut history, _) = open(&disk).unwrap();
    assert!(history.is_empty());
    assert_eq!(history.append(&leaves(0..20)).unwrap(), hashes(0..20));
    assert_eq!(history.append(&leaves(20..20)).unwrap(), hashes(20..20));
    assert_eq!((history.len(), history.frontier()), (20, &frontier(20)));
    history.sync().unwrap();
    let (history, notes) = open(&disk).unwrap();
    assert_eq!((history.len(), history.frontier(), notes), (20, &frontier(20), Vec::new()));
    assert_eq!(history.reader().leaf_hashes(20).unwrap(), hashes(0..20));
}

#[test]
fn names_and_manifest_tell_ranges_and_heads() {
    let (disk, history) = stored(40);
    let manifest = history.manifest().unwrap();
    assert!(manifest.sealed.len() > 2);
    assert_eq!((manifest.len, &manifest.frontier), (40, &frontier(40)));
    let mut next = 0;
    for part in &manifest.sealed {
        let after = part.first + part.count;
        assert_eq!((part.first, &part.frontier), (next, &frontier(after)));
        assert_eq!(part.root, tree::root(&hashes(part.first..after)));
        let name = format!("{:020}-{:020}-{}.seg", part.first, after - 1, tag(&frontier(after).root()));
        assert_eq!(names(&disk, &name).len(), 1, "{name}");
        next = after;
    }
    let (again, _) = open(&disk).unwrap();
    assert_eq!(again.manifest().unwrap(), manifest);
}

#[test]
fn a_leaf_larger_than_a_segment_has_one_that_fits() {
    let (disk, mut history) = stored(2);
    let big = vec![5; 3000];
    history.append(&[big.clone(), leaf(3)]).unwrap();
    history.sync().unwrap();
    let (history, _) = open(&disk).unwrap();
    assert_eq!(history.reader().leaves(2, 1, 0).unwrap(), [big]);
    assert_eq!(history.manifest().unwrap().len, 4);
}

#[test]
fn what_is_known_is_compared_and_the_rest_appended() {
    let (disk, mut history) = stored(10);
    let ops = disk.ops();
    assert_eq!(history.accept(3, &leaves(3..9)).unwrap(), hashes(3..9));
    assert_eq!(disk.ops(), ops, "nothing is written twice");
    assert_eq!(history.accept(8, &leaves(8..30)).unwrap(), hashes(8..30));
    assert_eq!((history.len(), history.frontier()), (30, &frontier(30)));
    assert_eq!(history.accept(0, &leaves(0..30)).unwrap(), hashes(0..30), "through sealed segments too");
    assert_eq!(history.accept(30, &leaves(30..30)).unwrap(), hashes(30..30));
}

#[test]
fn a_leaf_that_differs_is_named_and_nothing_is_appended() {
    for at in [0, 3, 19] {
        let (_, mut history) = stored(20);
        let mut said = leaves(0..25);
        said[at].push(b'!');
        let damage = damage(history.accept(0, &said));
        assert_eq!((damage.record, damage.what.as_str()), (Some(at as u64), "the event differs from what the log says"));
        assert!(damage.file.starts_with("history/"));
        assert_eq!(history.len(), 20);
    }
}

#[test]
fn a_gap_before_what_the_log_says_is_named() {
    let (_, mut history) = stored(5);
    let damage = damage(history.accept(6, &leaves(6..7)));
    assert_eq!(damage.record, Some(5));
    assert!(damage.what.contains("ends with 5 events, the log goes on with event 6"), "{damage}");
}

#[test]
fn a_history_that_ends_before_what_the_state_holds_is_damaged() {
    let (_, history) = stored(5);
    history.must_reach(5).unwrap();
    let damage = history.must_reach(6).unwrap_err();
    assert_eq!((damage.record, damage.file.ends_with(".seg")), (Some(5), true));
    assert!(damage.what.contains("ends with 5 events, but the state holds 6"), "{damage}");
}

#[test]
fn a_history_without_its_beginning_is_damaged() {
    let (disk, history) = stored(40);
    let second = history.manifest().unwrap().sealed[1].first;
    for name in names(&disk, &format!("{:020}", 0)) {
        disk.remove(&name).unwrap();
    }
    let damage = damage(open(&disk));
    assert_eq!(damage.record, Some(0));
    assert!(damage.what.contains(&format!("starts with {second}")), "{damage}");
}

/// The hashes may have been synced less far than the leaves, and are no more than a copy of what the leaves say.
#[test]
fn the_hashes_of_the_open_segment_are_mended_from_its_leaves() {
    let (disk, history) = stored(40);
    let (first, _, _) = *history.reader().ranges().last().unwrap();
    let name = tree_name(first);
    let whole = disk.bytes(&name).unwrap();
    let mut other_hash = whole.clone();
    other_hash[tree_offset(1) as usize] ^= 1;
    let mut other_head = whole.clone();
    other_head[9] ^= 1;
    let more = [whole.clone(), vec![3; 40]].concat();
    for (tree, noted) in [(other_hash, 1), (other_head, 1), (more, 0), (whole[..tree_offset(1) as usize + 7].to_vec(), 0), (Vec::new(), 1)]
    {
        let damaged = disk.copy();
        damaged.put(&name, tree);
        let (mut history, notes) = open(&damaged).unwrap();
        assert_eq!(notes.len(), noted, "{notes:?}");
        history.sync().unwrap();
        assert_eq!(damaged.power_cut(1).bytes(&name).unwrap(), whole);
    }
    disk.remove(&name).unwrap();
    let (mut history, notes) = open(&disk).unwrap();
    assert!(notes[0].contains("made again from the leaves"), "{notes:?}");
    history.append(&[leaf(40)]).unwrap();
    history.seal().unwrap();
    assert_eq!(history.reader().leaf_hashes(41).unwrap(), hashes(0..41));
}

#[test]
fn hashes_of_a_sealed_segment_are_checked_by_its_head() {
    let (disk, history) = stored(40);
    let part = history.manifest().unwrap().sealed[1].clone();
    let name = tree_name(part.first);
    for at in 0..disk.bytes(&name).unwrap().len() as u64 {
        let flipped = disk.copy();
        flipped.flip(&name, at, 1 << (at % 8));
        let reader = open(&flipped).unwrap().0.reader();
        assert_eq!(damage(reader.leaf_hashes(40)).file, format!("history/{name}"), "byte {at}");
        assert_eq!(reader.leaf_hashes(part.first).unwrap(), hashes(0..part.first), "what is before is not looked at");
    }
    disk.remove(&name).unwrap();
    assert_eq!(damage(history.reader().leaf_hashes(40)).file, format!("history/{name}"));
}

#[test]
fn the_frontier_in_the_last_footer_must_be_one_of_its_range() {
    for extra in [vec![1, 2, 3], events::codec::encode(&Seal { root: [0; 32], frontier: frontier(3).encode() })] {
        let disk = MemoryDisk::new();
        let (mut segments, _) = Segments::open(Arc::new(disk.clone()), settings(), &mut |_| Ok(())).unwrap();
        segments.append(&[(LEAF, &[&leaf(0)])]).unwrap();
        segments.seal("0123456789abcdef", extra).unwrap();
        let damage = damage(open(&disk));
        assert!(damage.what.contains("frontier is damaged") && damage.file.starts_with("history/0"), "{damage}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the leaves came, in which groups, with which seals and restarts between them, it is the same history.
    #[test]
    fn one_history_however_it_came(groups in proptest::collection::vec((1..9u64, 0..4u8), 1..14), from in 0..60u64, limit in 1..40usize) {
        let disk = MemoryDisk::new();
        let (mut history, _) = open(&disk).unwrap();
        let mut len = 0;
        for (count, then) in groups {
            history.append(&leaves(len..len + count)).unwrap();
            len += count;
            match then {
                0 => history.seal().unwrap(),
                1 => history = open(&disk).unwrap().0,
                2 => history.sync().unwrap(),
                _ => {}
            }
        }
        let to = len.min(from + limit as u64).max(from);
        for history in [history, open(&disk).unwrap().0] {
            prop_assert_eq!((history.len(), history.frontier()), (len, &frontier(len)));
            let reader = history.reader();
            prop_assert_eq!(reader.leaves(from, limit, usize::MAX).unwrap(), leaves(from..to));
            prop_assert_eq!(reader.leaf_hashes(from).unwrap(), hashes(0..from.min(len)));
            prop_assert_eq!(history.manifest().unwrap().sealed.iter().all(|part| part.frontier == frontier(part.first + part.count)), true);
        }
    }
}

#[test]
fn a_leaf_that_is_no_event_of_its_place_is_not_served() {
    let (_, history) = stored(2);
    let damage = damage(history.reader().read(1, 1, usize::MAX));
    assert_eq!((damage.file.as_str(), damage.record), ("history/", Some(1)));
}

#[test]
fn reading_goes_on_while_another_thread_writes() {
    let (_, mut history) = stored(3);
    let reader = history.reader();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 3..300 {
                history.append(&[leaf(number)]).unwrap();
                if number % 7 == 0 {
                    history.sync().unwrap();
                }
            }
        });
        let mut next = 0;
        while next < 300 {
            let read = reader.leaves(next, 20, usize::MAX).unwrap();
            assert_eq!(read, leaves(next..next + read.len() as u64));
            let len = reader.len();
            assert_eq!(reader.leaf_hashes(len).unwrap(), hashes(0..len));
            next += read.len() as u64;
        }
    });
}

/// Writes until the disk fails; answers how many leaves are durable, and how many may be there.
fn live(disk: &MemoryDisk, durable: u64, may: u64, groups: u64) -> io::Result<(u64, u64)> {
    let (mut history, _) = open(disk)?;
    let len = history.len();
    assert!((durable..=may).contains(&len), "{len} leaves, {durable} were durable, {may} were written");
    assert_eq!(history.reader().leaves(0, usize::MAX, usize::MAX)?, leaves(0..len));
    assert_eq!((history.frontier(), history.reader().leaf_hashes(len)?), (&frontier(len), hashes(0..len)));
    let (mut durable, mut written) = (len, len);
    for group in 0..groups {
        written += 1 + group % 4;
        let from = history.len();
        if history.append(&leaves(from..written)).is_err() || (group % 3 == 0 && history.sync().is_err()) {
            break;
        }
        durable = if group % 3 == 0 { written } else { durable };
    }
    Ok((durable, written))
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_synced() {
    for seed in 0..3 {
        for cut in 0.. {
            let disk = MemoryDisk::new();
            disk.die_after(cut);
            let (durable, may) = live(&disk, 0, 0, 16).unwrap_or_default();
            let over = disk.ops() <= cut;
            let after = disk.power_cut(seed * 1000 + cut);
            after.die_after((seed * 31 + cut * 7) % 40);
            let (durable, may) = live(&after, durable, may, 8).unwrap_or((durable, may));
            let last = after.power_cut(seed + cut);
            live(&last, durable, may, 3).unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}"));
            open(&last).unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}"));
            if over {
                break;
            }
        }
    }
}

/// State may only be durable for what history has: leaves that a killed process left behind, too.
#[test]
fn leaves_that_were_found_and_compared_are_durable_after_the_next_sync() {
    for seed in 0..20 {
        let (disk, mut history) = stored(3);
        history.append(&leaves(3..6)).unwrap();
        drop(history);
        let (mut history, _) = open(&disk).unwrap();
        history.accept(3, &leaves(3..6)).unwrap();
        history.sync().unwrap();
        let (history, _) = open(&disk.power_cut(seed)).unwrap();
        history.must_reach(6).unwrap();
    }
}

#[test]
fn nothing_is_lost_by_a_power_cut_after_a_process_was_killed_at_any_moment() {
    for seed in 0..3 {
        for kill in 0.. {
            let disk = MemoryDisk::new();
            disk.die_after(kill);
            let (durable, may) = live(&disk, 0, 0, 16).unwrap_or_default();
            let over = disk.ops() <= kill;
            let next = disk.killed();
            next.die_after((seed * 31 + kill * 7) % 50);
            let (durable, may) = live(&next, durable, may, 12).unwrap_or((durable, may));
            let last = next.power_cut(seed * 1000 + kill);
            live(&last, durable, may, 3).unwrap_or_else(|error| panic!("seed {seed}, killed after {kill}: {error}"));
            if over {
                break;
            }
        }
    }
}

#[test]
fn beyond_the_end_there_is_nothing_up_to_the_last_number() {
    let (history, _) = open(&MemoryDisk::new()).unwrap();
    for from in [0, 1, u64::MAX - 1, u64::MAX] {
        assert!(history.reader().leaves(from, 9, 999).unwrap().is_empty(), "{from}");
        assert!(history.reader().read(from, 9, 999).unwrap().is_empty(), "{from}");
    }
}
