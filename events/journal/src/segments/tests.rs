use super::*;
use crate::disk::MemoryDisk;
use proptest::prelude::*;

mod damages;

const SEGMENT: u64 = 512;

fn settings() -> Settings {
    Settings { folder: "log", purpose: 9, segment_bytes: SEGMENT, fill: true, spares: 2, stride: 2 }
}

fn open(disk: &MemoryDisk) -> io::Result<(Segments, Vec<String>)> {
    let (segments, notes) = Segments::open(Arc::new(disk.clone()), settings(), &mut |_| Ok(()))?;
    Ok((segments, notes.into_iter().map(|note| note.0).collect()))
}

fn new() -> (MemoryDisk, Segments) {
    let disk = MemoryDisk::new();
    let (segments, _) = open(&disk).unwrap();
    (disk, segments)
}

/// Unlike every other record's, also of the same number in another life.
fn body(number: u64, life: u64) -> Vec<u8> {
    let mut body = format!("{number}/{life}/").into_bytes();
    body.resize(body.len() + (number * 37 % 90) as usize, b'x');
    body
}

fn append(segments: &mut Segments, count: u64) {
    for _ in 0..count {
        let number = segments.next();
        assert_eq!(segments.append(&[(1, &[&body(number, 0)])]).unwrap(), number);
        segments.sync().unwrap();
    }
}

/// All bodies from `from` on.
fn all(segments: &Segments, from: u64) -> io::Result<Vec<Vec<u8>>> {
    Ok(segments.reader().read(from, usize::MAX, usize::MAX)?.into_iter().map(|record| record.body).collect())
}

fn bodies(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(|number| body(number, 0)).collect()
}

fn names(disk: &MemoryDisk, of: &str) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.contains(of)).collect()
}

#[test]
fn what_was_appended_is_read_after_opening_again() {
    let (disk, mut segments) = new();
    append(&mut segments, 40);
    assert!(names(&disk, ".seg").len() > 3, "several files");
    drop(segments);
    let mut visited = Vec::new();
    let (segments, notes) = Segments::open(Arc::new(disk.clone()), settings(), &mut |frame| {
        visited.push(frame.number);
        Ok(())
    })
    .unwrap();
    assert_eq!((segments.next(), segments.first(), notes), (40, Some(0), Vec::new()));
    assert_eq!(visited, (0..40).collect::<Vec<_>>(), "what is not sealed is shown, in order");
    assert_eq!(all(&segments, 0).unwrap(), bodies(0..40));
}

#[test]
fn the_kind_and_the_parts_of_a_record_are_kept() {
    let (_, mut segments) = new();
    segments.append(&[(7, &[b"a", b"", b"bc"]), (8, &[])]).unwrap();
    let records = segments.reader().read(0, 9, 99).unwrap();
    assert_eq!(
        records,
        [Record { number: 0, kind: 7, body: b"abc".to_vec() }, Record { number: 1, kind: 8, body: Vec::new() }],
        "also before they are synced"
    );
}

#[test]
fn sealed_files_are_named_and_read_without_being_walked() {
    let (disk, mut segments) = new();
    append(&mut segments, 5);
    segments.seal("abc", b"extra".to_vec()).unwrap();
    segments.seal("not again", Vec::new()).unwrap();
    append(&mut segments, 3);
    drop(segments);
    assert_eq!(names(&disk, "-abc.seg"), [format!("{:020}-{:020}-abc.seg", 0, 4)]);
    let mut visited = Vec::new();
    let (segments, _) = Segments::open(Arc::new(disk), settings(), &mut |frame| {
        visited.push(frame.number);
        Ok(())
    })
    .unwrap();
    assert_eq!(visited, [5, 6, 7]);
    assert_eq!(all(&segments, 0).unwrap(), bodies(0..8));
    assert_eq!(segments.last_footer().unwrap().unwrap().extra, b"extra");
    assert_eq!(segments.reader().ranges(), [(0, 5, true), (5, 3, false)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Exactly the records from `from` on, as many as the bounds let through, and one even if they let none through.
    #[test]
    fn reading_keeps_to_its_bounds(from in 0..45u64, limit in 1..50usize, max_bytes in 0..900usize, sealed in 0..40u64) {
        let (_, mut segments) = new();
        append(&mut segments, sealed);
        segments.seal("tag", Vec::new()).unwrap();
        append(&mut segments, 40 - sealed);
        let mut bytes = 0;
        let expected: Vec<Vec<u8>> = bodies(from.min(40)..40).into_iter().take(limit).enumerate().take_while(|(at, body)| {
            bytes += body.len();
            *at == 0 || bytes <= max_bytes
        }).map(|(_, body)| body).collect();
        let read = segments.reader().read(from, limit, max_bytes).unwrap();
        prop_assert_eq!(read.iter().map(|record| record.number).collect::<Vec<_>>(), (from..from + expected.len() as u64).collect::<Vec<_>>());
        prop_assert_eq!(read.into_iter().map(|record| record.body).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn a_big_record_has_a_file_that_fits() {
    let (disk, mut segments) = new();
    append(&mut segments, 3);
    let big = vec![7; 4 * SEGMENT as usize];
    segments.append(&[(1, &[&big])]).unwrap();
    segments.sync().unwrap();
    append(&mut segments, 3);
    drop(segments);
    let (mut segments, notes) = open(&disk).unwrap();
    assert_eq!(notes, [] as [&str; 0]);
    assert_eq!(segments.reader().read(3, 1, 0).unwrap()[0].body, big);
    segments.purge_before(5).unwrap();
    let sizes: Vec<usize> = disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size == SEGMENT as usize), "the big file is not kept as a spare: {sizes:?}");
}

#[test]
fn a_record_that_is_too_large_leaves_no_trace() {
    let (disk, mut segments) = new();
    append(&mut segments, 3);
    let ops = disk.ops();
    let huge = vec![0; frame::BODY_BYTES_MAX + 1];
    let error = segments.append(&[(1, &[b"small"]), (1, &[&huge])]).unwrap_err();
    assert_eq!((error.kind(), disk.ops() - ops), (io::ErrorKind::InvalidInput, 0));
    append(&mut segments, 1);
    assert_eq!(all(&segments, 0).unwrap(), bodies(0..4));
}

#[test]
fn purging_frees_whole_files_and_no_record_from_the_bound_on() {
    let (disk, mut segments) = new();
    append(&mut segments, 40);
    let files = names(&disk, ".seg").len();
    for bound in [0, 7, 20, 33] {
        segments.purge_before(bound).unwrap();
        let first = segments.first().unwrap();
        assert!(first <= bound && bound - first < 12, "{first} is the first that is left, {bound} was asked for");
        assert_eq!(all(&segments, first).unwrap(), bodies(first..40));
    }
    assert!(names(&disk, ".seg").len() < files);
    assert_eq!(segments.reader().read(0, 9, 99).unwrap_err().kind(), io::ErrorKind::NotFound);
    segments.purge_before(u64::MAX).unwrap();
    let first = segments.first().unwrap();
    assert_eq!(names(&disk, "").iter().filter(|name| !name.starts_with("spare-")).count(), 1, "the last file stays");
    drop(segments);
    let (segments, _) = open(&disk).unwrap();
    assert_eq!((segments.first(), segments.next()), (Some(first), 40));
}

#[test]
fn spares_are_used_again_and_nothing_old_comes_back_to_life() {
    let (disk, mut segments) = new();
    append(&mut segments, 40);
    segments.purge_before(40).unwrap();
    assert_eq!(names(&disk, "spare-").len(), 2, "no more than were asked for");
    drop(segments);
    let (mut segments, _) = open(&disk).unwrap();
    assert!(segments.begin(SEGMENT - 100).unwrap());
    assert_eq!(open(&disk.copy()).unwrap().1, [] as [&str; 0], "what a spare held is not seen before a record is there either");
    for _ in 0..30 {
        append(&mut segments, 1);
        let (again, notes) = open(&disk.copy()).unwrap();
        assert_eq!((again.next(), notes), (segments.next(), Vec::new()));
        let first = again.first().unwrap();
        assert_eq!(all(&again, first).unwrap(), bodies(first..again.next()));
    }
}

#[test]
fn a_spare_that_is_not_whole_and_a_file_that_was_being_made_are_taken_away() {
    let (disk, mut segments) = new();
    append(&mut segments, 3);
    drop(segments);
    disk.put("spare-00000000000000000000.seg", vec![0; 7]);
    disk.put(UNMADE, vec![1; 9]);
    open(&disk).unwrap();
    assert_eq!(disk.list().unwrap(), [open_name(0)]);
}

#[test]
fn a_reader_goes_on_while_files_are_purged_used_again_and_sealed() {
    let (_, mut segments) = new();
    append(&mut segments, 5);
    let reader = segments.reader();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..400 {
                append(&mut segments, 1);
                let next = segments.next();
                segments.purge_before(next.saturating_sub(20)).unwrap();
                if next % 50 == 0 {
                    segments.seal("tag", Vec::new()).unwrap();
                }
            }
        });
        let mut from = 0;
        while from < 405 {
            match reader.read(from, 7, 1000) {
                Ok(records) => {
                    let read: Vec<Vec<u8>> = records.into_iter().map(|record| record.body).collect();
                    assert_eq!(read, bodies(from..from + read.len() as u64));
                    from += read.len() as u64;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
                    from += 1;
                }
            }
        }
    });
}

#[test]
fn the_first_error_is_the_last_thing_that_is_done() {
    let (disk, mut segments) = new();
    append(&mut segments, 3);
    disk.fail_sync_after(0);
    segments.append(&[(1, &[b"x"])]).unwrap();
    assert!(segments.sync().is_err());
    let ops = disk.ops();
    assert!(segments.sync().is_err() && segments.append(&[(1, &[b"y"])]).is_err() && segments.purge_before(1).is_err());
    assert!(segments.seal("tag", Vec::new()).is_err());
    assert_eq!(disk.ops(), ops);
}

#[test]
fn a_full_disk_loses_nothing() {
    let (disk, mut segments) = new();
    append(&mut segments, 5);
    disk.set_capacity(0);
    let full = (0..40).find_map(|_| segments.append(&[(1, &[&[7; 60]])]).and_then(|_| segments.sync()).err()).unwrap();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let next = segments.next();
    let (segments, _) = open(&disk.power_cut(1)).unwrap();
    assert_eq!(segments.next(), next);
    assert_eq!(all(&segments, 0).unwrap()[..5], bodies(0..5));
}

#[test]
fn a_full_disk_takes_one_segment_more_from_the_reserve() {
    let (disk, mut segments) = new();
    assert!(segments.keep_reserve().unwrap());
    append(&mut segments, 5);
    let until_full = |disk: &MemoryDisk, segments: &mut Segments| {
        disk.set_capacity(0);
        let full = (0..40).find_map(|_| segments.append(&[(1, &[&[7; 60]])]).and_then(|_| segments.sync()).err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        segments.next()
    };
    let held = until_full(&disk, &mut segments);
    assert!(names(&disk, "spare-").is_empty() && names(&disk, ".tmp").is_empty());
    let (other, mut without) = new();
    append(&mut without, 5);
    let held_without = until_full(&other, &mut without);
    assert!(held > held_without, "{held} records with a reserve, {held_without} without");
    drop(segments);
    let (mut segments, _) = open(&disk).unwrap();
    assert_eq!(segments.next(), held);
    assert!(!segments.keep_reserve().unwrap(), "there is no room for another");
    disk.set_capacity(1 << 40);
    assert!(segments.keep_reserve().unwrap(), "it is made again when there is");
    append(&mut segments, 12);
    assert_eq!(names(&disk, "spare-").len(), 1, "and kept while there is room");
}

/// Lives one after another on one disk, and what must be there after each.
#[derive(Clone, Default)]
struct Lives {
    /// What was last written under each number.
    written: Vec<Vec<u8>>,
    durable: u64,
    purged: u64,
    life: u64,
    /// Files are sealed and kept, as the history's are; else purged and used again, as the log's.
    seals: bool,
}

impl Lives {
    /// Opens, checks, and writes until the disk fails or all is done; the last group is never synced.
    fn live(&mut self, disk: &MemoryDisk, groups: u64) -> io::Result<()> {
        self.life += 1;
        let (mut segments, _) = open(disk)?;
        self.check(&segments);
        if !self.seals {
            segments.keep_reserve()?;
        }
        for group in 0..groups {
            let new: Vec<Vec<u8>> = (segments.next()..).take(1 + group as usize % 3).map(|number| body(number, self.life)).collect();
            let bytes: u64 = new.iter().map(|body| frame::size(body.len())).sum();
            if self.seals && segments.room().is_some_and(|room| room < bytes) {
                segments.seal("tag", Vec::new())?;
                self.durable = segments.next();
            }
            self.written.extend(new.iter().cloned());
            let parts: Vec<[&[u8]; 1]> = new.iter().map(|body| [body.as_slice()]).collect();
            segments.append(&parts.iter().map(|body| (1, body.as_slice())).collect::<Vec<_>>())?;
            if group % 4 < 3 && group + 1 < groups {
                segments.sync()?;
                self.durable = segments.next();
            }
            if !self.seals && group % 3 == 2 {
                self.purged = self.durable.saturating_sub(3);
                segments.purge_before(self.purged)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, segments: &Segments) {
        let next = segments.next();
        assert!(
            (self.durable..=self.written.len() as u64).contains(&next),
            "{next} records of {}, {} durable",
            self.written.len(),
            self.durable
        );
        let first = segments.first().unwrap_or(next);
        assert!(first <= self.purged, "{first} is the first record, purged was before {}", self.purged);
        assert!(all(segments, first).unwrap() == self.written[first as usize..next as usize], "other records came back to life");
        self.written.truncate(next as usize);
        self.durable = next;
    }
}

const GROUPS: u64 = 14;

/// Cuts the power at every operation of a life that follows `before` on its disk; another life follows, and a last look.
fn cut_everywhere(before: &(MemoryDisk, Lives), copy: impl Fn(&MemoryDisk) -> MemoryDisk) {
    for seed in 0..4 {
        for cut in 0.. {
            let (disk, mut lives) = (copy(&before.0), before.1.clone());
            disk.die_after(cut);
            let whole = lives.live(&disk, GROUPS).is_ok();
            let after = disk.power_cut(seed * 1000 + cut);
            after.die_after(1 + (seed * 31 + cut * 7) % 40);
            let _ = lives.live(&after, GROUPS);
            let last = after.power_cut(seed + cut);
            lives.live(&last, 2).unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}"));
            if whole {
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_synced() {
    for seals in [false, true] {
        let disk = MemoryDisk::new();
        let mut lives = Lives { seals, ..Lives::default() };
        lives.live(&disk, GROUPS).unwrap();
        let disk = disk.copy();
        lives.live(&disk, 1).unwrap();
        cut_everywhere(&(disk, lives), MemoryDisk::copy);
    }
}

#[test]
fn what_a_killed_process_left_unsynced_is_durable_once_it_was_opened() {
    for seals in [false, true] {
        for seed in 0..4 {
            for cut in 0..30 {
                let disk = MemoryDisk::new();
                let mut lives = Lives { seals, ..Lives::default() };
                lives.live(&disk, GROUPS).unwrap();
                disk.die_after(cut);
                let _ = lives.live(&disk, 5);
                lives.live(&disk.power_cut(seed * 100 + cut), 1).unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}"));
            }
        }
    }
}

/// Contents and names: what the next process finds and builds on may be no more durable than the killed one left it.
#[test]
fn nothing_is_lost_by_a_power_cut_after_a_process_was_killed_at_any_moment() {
    for (seals, seed) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1)] {
        for kill in 0.. {
            let (disk, mut lives) = (MemoryDisk::new(), Lives { seals, ..Lives::default() });
            disk.die_after(kill);
            let whole = lives.live(&disk, GROUPS).is_ok();
            let next = disk.killed();
            next.die_after((seed * 31 + kill * 7) % 50);
            let _ = lives.live(&next, GROUPS);
            let last = next.power_cut(seed * 1000 + kill);
            lives.live(&last, 2).unwrap_or_else(|error| panic!("seals {seals}, seed {seed}, killed after {kill}: {error}"));
            if whole {
                break;
            }
        }
    }
}
