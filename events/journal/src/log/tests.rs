use super::*;
use crate::disk::MemoryDisk;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings { segment_bytes: 512, ..Settings::log() }
}

fn open(disk: &MemoryDisk) -> io::Result<SegmentLog> {
    Ok(SegmentLog::open_with(Arc::new(disk.clone()), settings())?.0)
}

fn entry(index: u64, term: u64) -> LogOp {
    let mut entry = format!("{index} of term {term}").into_bytes();
    entry.resize(entry.len() + (index * 29 % 60) as usize, b'.');
    LogOp::Append { index, entry }
}

fn entries(indices: std::ops::RangeInclusive<u64>, term: u64) -> Vec<LogOp> {
    indices.map(|index| entry(index, term)).collect()
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holds {
    entries: Vec<(u64, Vec<u8>)>,
    meta: LogMeta,
}

impl Holds {
    fn then(mut self, op: &LogOp) -> Holds {
        match op.clone() {
            LogOp::Append { index, entry } => self.entries.push((index, entry)),
            LogOp::TruncateAfter(last) => self.entries.retain(|(index, _)| Some(*index) <= last),
            LogOp::Purge(to) => self.entries.retain(|(index, _)| *index > to),
            LogOp::Vote(vote) => self.meta.vote = Some(vote),
            LogOp::Committed(committed) => self.meta.committed = Some(committed),
            LogOp::PurgedId(purged) => self.meta.purged = Some(purged),
        }
        self
    }

    fn all(self, ops: &[LogOp]) -> Holds {
        ops.iter().fold(self, Holds::then)
    }

    /// As read from a log, by all ways of reading it.
    fn of(log: &SegmentLog) -> Holds {
        let (first, last) = (log.first(), log.last());
        let entries = log.read(first.unwrap_or_default(), u64::MAX, usize::MAX).unwrap();
        assert_eq!((first, last), (entries.first().map(|entry| entry.0), entries.last().map(|entry| entry.0)));
        Holds { entries, meta: log.meta() }
    }
}

/// Commits that make every kind of record and go through several files; `life` tells their entries and votes apart.
fn next_commit(holds: &Holds, step: u64, life: u64) -> Vec<LogOp> {
    let last = holds.entries.last().map_or(10, |entry| entry.0);
    let first = holds.entries.first().map_or(last + 1, |entry| entry.0);
    let value = format!("{life}/{step}").into_bytes();
    match step % 7 {
        0 => vec![LogOp::Vote(value)],
        2 => [vec![LogOp::Committed(value)], entries(last + 1..=last + 1, life)].concat(),
        4 => [vec![LogOp::TruncateAfter(Some(last - 1))], entries(last..=last + 2, life)].concat(),
        5 if last - first > 5 => vec![LogOp::PurgedId(value), LogOp::Purge(last - 3)],
        _ => entries(last + 1..=last + 2, life),
    }
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let disk = MemoryDisk::new();
    let mut holds = Holds::default();
    for step in 0..60 {
        let mut log = open(&disk).unwrap();
        assert_eq!(Holds::of(&log), holds, "step {step}");
        let ops = next_commit(&holds, step, 1);
        log.commit(&ops).unwrap();
        holds = holds.all(&ops);
        assert_eq!(Holds::of(&log), holds, "step {step}");
    }
    assert!(disk.list().unwrap().len() < 10, "purged files are given free");
}

#[test]
fn the_first_entry_may_have_any_index() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&entries(7..=9, 1)).unwrap();
    log.commit(&[LogOp::Purge(20), entry(21, 2)]).unwrap();
    assert_eq!((log.first(), log.last()), (Some(21), Some(21)));
    log.commit(&[LogOp::TruncateAfter(None), entry(3, 3)]).unwrap();
    assert_eq!(Holds::of(&open(&disk).unwrap()), Holds::default().then(&entry(3, 3)));
}

#[test]
fn entries_behind_a_truncation_never_come_back() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&entries(1..=20, 1)).unwrap();
    log.commit(&[LogOp::TruncateAfter(Some(4))]).unwrap();
    assert_eq!(log.last(), Some(4));
    log.commit(&entries(5..=6, 2)).unwrap();
    let expected = Holds::default().all(&entries(1..=4, 1)).all(&entries(5..=6, 2));
    assert_eq!(Holds::of(&log), expected);
    assert_eq!(Holds::of(&open(&disk).unwrap()), expected);
}

#[test]
fn vote_committed_and_purged_survive_the_files_they_were_written_in() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&[LogOp::Vote(b"v".to_vec()), LogOp::Committed(b"c".to_vec()), LogOp::PurgedId(b"p".to_vec())]).unwrap();
    let meta = log.meta();
    for index in 1..60 {
        log.commit(&[entry(index, 1), LogOp::Purge(index - 1)]).unwrap();
    }
    assert!(disk.list().unwrap().iter().all(|name| !name.starts_with("00000000000000000000")), "the first file is gone");
    assert_eq!(open(&disk).unwrap().meta(), meta);
}

/// The file was begun, and the power was cut before anything stood in it.
#[test]
fn vote_committed_and_purged_survive_where_a_file_was_begun_in_vain() {
    for cut in 0..12 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk).unwrap();
        log.commit(&[LogOp::Vote(b"v".to_vec())]).unwrap();
        while log.segments.room().is_some_and(|room| room > 100) {
            let index = log.last().unwrap_or_default() + 1;
            log.commit(&[entry(index, 1)]).unwrap();
        }
        disk.die_after(cut);
        let index = log.last().unwrap() + 1;
        let _ = log.commit(&[LogOp::Append { index, entry: vec![1; 200] }]);
        let after = disk.power_cut(cut);
        let mut log = open(&after).unwrap();
        let next = log.last().unwrap() + 1;
        for index in next..next + 30 {
            log.commit(&[entry(index, 2), LogOp::Purge(index - 1)]).unwrap();
            assert_eq!(open(&after.copy()).unwrap().meta().vote.as_deref(), Some(b"v".as_slice()), "cut after {cut}, entry {index}");
        }
    }
}

#[test]
fn what_does_not_follow_is_refused_and_nothing_is_done() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&entries(1..=3, 1)).unwrap();
    let (holds, ops) = (Holds::of(&log), disk.ops());
    let huge = vec![0; frame::BODY_BYTES_MAX + 1];
    for refused in [
        vec![entry(5, 1)],
        vec![entry(3, 1)],
        vec![LogOp::Vote(b"v".to_vec()), entry(4, 1), entry(6, 1)],
        vec![LogOp::TruncateAfter(Some(1)), entry(4, 1)],
        vec![LogOp::TruncateAfter(Some(9)), entry(10, 1)],
        vec![LogOp::Purge(2), entry(3, 1)],
        vec![LogOp::TruncateAfter(None), LogOp::Append { index: u64::MAX, entry: vec![] }],
        vec![LogOp::Append { index: 4, entry: huge[9..].to_vec() }, LogOp::Append { index: 5, entry: huge[8..].to_vec() }],
        vec![LogOp::Vote(huge.clone())],
        vec![entry(4, 1), LogOp::Committed(huge.clone())],
    ] {
        assert_eq!(log.commit(&refused).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!((Holds::of(&log), disk.ops()), (holds.clone(), ops));
    }
    for taken in [vec![LogOp::TruncateAfter(Some(1)), entry(2, 2)], vec![LogOp::Purge(2), entry(9, 2)], vec![]] {
        log.commit(&taken).unwrap();
    }
    assert_eq!(open(&disk).unwrap().last(), Some(9));
}

#[test]
fn a_log_that_ends_before_what_the_state_holds_is_damaged() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    let damage = log.must_reach(0).unwrap_err();
    assert!(damage.to_string().contains("the log is empty, but the state holds entry 0"), "{damage}");
    log.commit(&entries(1..=3, 1)).unwrap();
    log.must_reach(3).unwrap();
    let damage = log.must_reach(4).unwrap_err();
    assert_eq!((damage.file.as_str(), damage.record, damage.offset), ("log/00000000000000000000.seg", Some(4), log.segments.end().1));
    assert!(damage.what.contains("ends with entry 3"), "{damage}");
    log.commit(&[LogOp::Purge(3), LogOp::PurgedId(b"3".to_vec())]).unwrap();
    log.must_reach(3).expect("purged is not missing");
    let damage = log.must_reach(4).unwrap_err();
    assert!(damage.what.contains("empty behind entry 3, but the state holds entry 4"), "{damage}");
}

/// What it had was purged, and what came after that was cut off: also where the file in which it was purged is long gone.
#[test]
fn a_log_that_was_cut_behind_what_was_purged_is_damaged() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    for index in 1..40 {
        log.commit(&[entry(index, 1), LogOp::Purge(index), LogOp::PurgedId(b"p".to_vec())]).unwrap();
        let (file, end) = log.segments.end();
        log.commit(&[entry(index + 1, 1)]).unwrap();
        let (now, _) = log.segments.end();
        let cut = disk.copy();
        match file == now {
            true => assert!(cut.cut(file.trim_start_matches("log/"), end)),
            false => cut.remove(now.trim_start_matches("log/")).unwrap(),
        }
        let cut = open(&cut).unwrap();
        cut.must_reach(index).unwrap();
        let damage = cut.must_reach(index + 1).unwrap_err();
        assert!(damage.what.contains(&format!("empty behind entry {index}")), "{damage}");
        log.commit(&[LogOp::TruncateAfter(Some(index))]).unwrap();
    }
}

/// Records that a log never writes: their places are told.
#[test]
fn records_that_make_no_log_are_damage() {
    for (kind, body, what) in [
        (APPEND, [3u64.to_le_bytes().as_slice(), b"x"].concat(), "entry 3 where 2 is next"),
        (APPEND, vec![1; 7], "cannot be read"),
        (PURGE, vec![1; 7], "cannot be read"),
        (META, vec![9; 3], "cannot be read"),
        (TRUNCATE, vec![1; 7], "cannot be read"),
        (APPEND, u64::MAX.to_le_bytes().to_vec(), "where 2 is next"),
        (99, vec![], "kind 99"),
    ] {
        let disk = MemoryDisk::new();
        open(&disk).unwrap().commit(&entries(1..=1, 1)).unwrap();
        let mut segments = Segments::open(Arc::new(disk.clone()), settings(), &mut |_| Ok(())).unwrap().0;
        let number = segments.append(&[(kind, &[&body])]).unwrap();
        segments.sync().unwrap();
        let error = open(&disk).err().unwrap();
        let damage = Damage::of(&error).unwrap();
        assert!(damage.what.contains(what) && damage.record == Some(number), "{damage}");
    }
}

#[test]
fn an_entry_that_is_damaged_under_a_running_log_is_not_served() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&entries(1..=3, 1)).unwrap();
    disk.flip("00000000000000000000.seg", log.segments.end().1 - 9, 1);
    assert_eq!(log.read(1, 3, usize::MAX).unwrap().len(), 2);
    assert!(Damage::of(&log.read(1, 4, usize::MAX).unwrap_err()).is_some_and(|damage| damage.record == Some(3)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Entries lie in runs with other records between them, and over several files.
    #[test]
    fn reading_keeps_to_its_bounds(from in 0..50u64, to in 0..50u64, max_bytes in 0..600usize, purged in 0..20u64) {
        let disk = MemoryDisk::new();
        let mut log = open(&disk).unwrap();
        for index in 1..=40 {
            let dropped = LogOp::Append { index: index + 1, entry: vec![0; 20] };
            log.commit(&[vec![entry(index, 1)], if index % 3 == 0 { vec![dropped, LogOp::TruncateAfter(Some(index))] } else { vec![] }].concat()).unwrap();
        }
        log.commit(&[LogOp::Purge(purged)]).unwrap();
        let read = log.read(from, to, max_bytes);
        if from <= purged {
            prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::NotFound);
            return Ok(());
        }
        let mut bytes = 0;
        let expected: Vec<_> = Holds::default().all(&entries(from..=40.min(to.saturating_sub(1)), 1)).entries.into_iter().enumerate().take_while(|(at, (_, entry))| {
            bytes += entry.len();
            *at == 0 || bytes <= max_bytes
        }).map(|(_, entry)| entry).collect();
        prop_assert_eq!(read.unwrap(), expected);
    }
}

#[test]
fn a_reader_goes_on_while_another_thread_commits() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&entries(1..=5, 1)).unwrap();
    let reader = log.reader();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for index in 6..=300u64 {
                log.commit(&[entry(index, 1), LogOp::Purge(index.saturating_sub(20))]).unwrap();
            }
        });
        let mut next = 1;
        while next <= 300 {
            match reader.read(next, next + 7, 1000) {
                Ok(read) => {
                    assert_eq!(read, Holds::default().all(&entries(next..=next + read.len() as u64, 1)).entries[..read.len()]);
                    next += read.len() as u64;
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
                    next += 1;
                }
            }
        }
    });
}

/// Commits until the disk fails; answers what the log may hold then: what was confirmed, and as many of the last operations as were written.
fn live(disk: &MemoryDisk, may: &[Holds], life: u64) -> Vec<Holds> {
    let Ok(mut log) = open(disk) else { return may.to_vec() };
    let mut holds = Holds::of(&log);
    assert!(may.contains(&holds), "life {life}: {holds:?} is none of {may:?}");
    for step in 0..24 {
        let ops = next_commit(&holds, step + life, life);
        if log.commit(&ops).is_err() {
            return (0..=ops.len()).map(|done| holds.clone().all(&ops[..done])).collect();
        }
        holds = holds.all(&ops);
    }
    vec![holds]
}

#[test]
fn a_power_cut_at_any_moment_keeps_what_was_confirmed() {
    for seed in 0..3 {
        for cut in 0.. {
            let disk = MemoryDisk::new();
            disk.die_after(cut);
            let may = live(&disk, &[Holds::default()], 1);
            let after = disk.power_cut(seed * 1000 + cut);
            after.die_after((seed * 31 + cut * 7) % 60);
            let may = live(&after, &may, 2);
            let last = after.power_cut(seed + cut);
            let holds = Holds::of(&open(&last).unwrap_or_else(|error| panic!("seed {seed}, cut {cut}: {error}")));
            assert!(may.contains(&holds), "seed {seed}, cut {cut}: {holds:?} is none of {may:?}");
            let may = live(&last, &[holds], 3);
            assert_eq!(vec![Holds::of(&open(&last).unwrap())], may, "seed {seed}, cut {cut}");
            if disk.ops() <= cut {
                break;
            }
        }
    }
}

#[test]
fn what_was_confirmed_outlives_a_kill_and_then_a_power_cut() {
    for seed in 0..3 {
        for kill in 0.. {
            let disk = MemoryDisk::new();
            disk.die_after(kill);
            let may = live(&disk, &[Holds::default()], 1);
            let over = disk.ops() <= kill;
            let next = disk.killed();
            next.die_after((seed * 31 + kill * 7) % 60);
            let may = live(&next, &may, 2);
            let last = next.power_cut(seed * 1000 + kill);
            let holds = Holds::of(&open(&last).unwrap_or_else(|error| panic!("seed {seed}, killed after {kill}: {error}")));
            assert!(may.contains(&holds), "seed {seed}, killed after {kill}: {holds:?} is none of {may:?}");
            if over {
                break;
            }
        }
    }
}

/// Indices at the end of the numbers: nothing is counted past it.
#[test]
fn the_largest_numbers_are_taken_as_they_are() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    log.commit(&[LogOp::Append { index: u64::MAX - 1, entry: vec![1] }, LogOp::TruncateAfter(Some(u64::MAX))]).unwrap();
    assert_eq!(Holds::of(&open(&disk).unwrap()).entries, [(u64::MAX - 1, vec![1])]);
    log.commit(&[LogOp::Purge(u64::MAX)]).unwrap();
    let log = open(&disk).unwrap();
    assert_eq!((log.first(), log.last()), (None, None));
    log.must_reach(u64::MAX).unwrap();
}
