use super::*;
use crate::state::{CACHE_BYTES, tests::World};
use events::state::Digests;
use journal::{
    disk::{Damage, Disk, MemoryDisk},
    segments::Settings,
    tree::leaf_hash,
};
use std::sync::mpsc::channel;

const SECOND: Duration = SYNC_EVERY;

fn leaf(number: u64) -> Vec<u8> {
    format!("leaf {number}").into_bytes()
}

fn frontier(len: u64) -> Frontier {
    let mut frontier = Frontier::default();
    (0..len).for_each(|number| frontier.append(leaf_hash(&leaf(number))));
    frontier
}

/// The batch of the next events, one row change or more each.
fn batch(world: &mut World, events: u64) -> Batch {
    let first = world.state.position();
    let mut batch = Batch { leaves: (first..first + events).map(|number| leaf(number).into()).collect(), ..Batch::default() };
    for _ in 0..events {
        let (changes, meta) = world.step();
        batch.changes.extend(changes);
        batch.meta = meta;
    }
    batch
}

fn history(disk: &MemoryDisk) -> History {
    let settings = Settings { segment_bytes: 512, ..Settings::history() };
    History::open_with(disk.folder("history").unwrap(), settings).unwrap().0
}

fn state(disk: &MemoryDisk) -> StateStore {
    StateStore::open(&*disk.folder("state").unwrap(), CACHE_BYTES).unwrap()
}

fn open(disk: &MemoryDisk) -> Result<Core, StoreFault> {
    let state = state(disk);
    let stored = state.meta()?;
    Core::new(history(disk), Arc::new(state), stored.as_ref())
}

/// A core and its world after so many events, all durable.
fn stored(events: u64) -> (MemoryDisk, Core, World) {
    let (disk, mut world) = (MemoryDisk::new(), World::default());
    let mut core = open(&disk).unwrap();
    core.take(batch(&mut world, events), Duration::ZERO).unwrap();
    core.sync(Duration::ZERO).unwrap();
    (disk, core, world)
}

fn damage<R>(result: Result<R, StoreFault>) -> Damage {
    match result {
        Err(StoreFault::Damaged(damage)) => damage,
        Err(fault) => panic!("{fault}"),
        Ok(_) => panic!("no damage"),
    }
}

#[test]
fn what_was_taken_is_in_history_and_state_at_once_and_durable_after_a_sync() {
    let (disk, mut core, mut world) = stored(3);
    core.take(batch(&mut world, 2), Duration::ZERO).unwrap();
    assert_eq!((core.history().len(), core.state.meta().unwrap().unwrap().n), (5, 5));
    let synced = core.sync(Duration::ZERO).unwrap().expect("something to sync");
    assert_eq!((synced.n, synced.frontier), (5, frontier(5).encode()), "the tree is filled in");
    assert_eq!(core.sync(Duration::ZERO).unwrap(), None, "nothing is left to sync");
    let after = disk.power_cut(1);
    let (loaded, meta) = state(&after).load().unwrap().unwrap();
    assert_eq!((meta.n, loaded.digests(), history(&after).len()), (5, world.state.digests(), 5));
}

#[test]
fn a_sync_is_due_a_second_after_the_first_batch_that_waits() {
    let (disk, mut world) = (MemoryDisk::new(), World::default());
    let mut core = open(&disk).unwrap();
    assert_eq!(core.next_sync(), None);
    assert_eq!(core.take(batch(&mut world, 1), Duration::ZERO).unwrap(), None);
    assert_eq!(core.next_sync(), Some(SECOND));
    assert_eq!(core.take(batch(&mut world, 1), SECOND / 2).unwrap(), None);
    assert_eq!(core.take(batch(&mut world, 1), SECOND).unwrap().map(|meta| meta.n), Some(3));
    assert_eq!(core.next_sync(), None);
    assert_eq!(core.take(batch(&mut world, 1), SECOND + SECOND / 4).unwrap(), None, "less than a second after a sync");
    assert_eq!(core.next_sync(), Some(SECOND * 2));
    core.sync(SECOND * 2).unwrap();
    assert_eq!(core.take(batch(&mut world, 1), SECOND * 9).unwrap().map(|meta| meta.n), Some(5), "after a pause it waits for nothing");
}

#[test]
fn a_sync_is_due_after_so_many_bytes() {
    let (_, mut core, mut world) = stored(1);
    core.unsynced_bytes = SYNC_BYTES - 1;
    let synced = core.take(batch(&mut world, 1), Duration::ZERO).unwrap();
    assert_eq!((synced.map(|meta| meta.n), core.unsynced_bytes), (Some(2), 0));
}

#[test]
fn a_batch_that_does_not_follow_is_refused() {
    let (_, mut core, mut world) = stored(3);
    let mut skipped = batch(&mut world, 2);
    skipped.leaves.pop();
    let damage = damage(core.take(skipped, Duration::ZERO));
    assert!(damage.what.contains("1 events up to 5 where 3 is next"), "{damage}");
    assert_eq!((core.history().len(), core.state.meta().unwrap().unwrap().n), (3, 3));
}

/// History may be ahead of the state, and the log says again what it has.
#[test]
fn a_replay_over_history_compares_and_writes_no_leaf_twice() {
    let (disk, core, mut world) = stored(3);
    drop(core);
    let mut ahead = history(&disk);
    ahead.append(&(3..8).map(leaf).collect::<Vec<_>>()).unwrap();
    ahead.sync().unwrap();
    drop(ahead);
    let mut core = open(&disk).unwrap();
    core.take(batch(&mut world, 2), Duration::ZERO).unwrap();
    assert_eq!((core.history().len(), &core.frontier), (8, &frontier(5)));
    let mut other = batch(&mut world, 2);
    other.leaves[1] = b"another".as_slice().into();
    let named = damage(core.take(other.clone(), Duration::ZERO));
    assert_eq!(named.record, Some(6));
    other.leaves[1] = leaf(6).into();
    core.take(other, Duration::ZERO).unwrap();
    core.take(batch(&mut world, 4), Duration::ZERO).unwrap();
    core.sync(Duration::ZERO).unwrap();
    assert_eq!((core.history().len(), core.history().frontier()), (11, &frontier(11)));
}

#[test]
fn a_state_whose_tree_is_not_the_historys_is_found() {
    let (disk, core, _) = stored(3);
    let mut meta = core.state.meta().unwrap().unwrap();
    drop(core);
    let mut other = Frontier::default();
    (0..3).for_each(|_| other.append([7; 32]));
    for (frontier, what) in
        [(other.encode(), "not the one that the state holds"), (frontier(2).encode(), "not one over 3 events"), (vec![1], "not one")]
    {
        meta.frontier = frontier;
        let damage = damage(Core::new(history(&disk), Arc::new(state(&disk)), Some(&meta)));
        assert!(damage.what.contains(what), "{damage}");
    }
    meta.n = 4;
    meta.frontier = frontier(4).encode();
    let damage = damage(Core::new(history(&disk), Arc::new(state(&disk)), Some(&meta)));
    assert!(damage.record == Some(3) && damage.what.contains("ends with 3 events, but the state holds 4"), "{damage}");
}

/// While history is ahead the two trees cannot be compared; when the replay has caught up they must be one.
#[test]
fn a_state_whose_tree_is_not_the_historys_is_found_after_a_replay() {
    let (disk, core, mut world) = stored(3);
    let mut meta = core.state.meta().unwrap().unwrap();
    drop(core);
    history(&disk).append(&[leaf(3), leaf(4)]).unwrap();
    let mut other = Frontier::default();
    (0..3).for_each(|_| other.append([7; 32]));
    meta.frontier = other.encode();
    let mut core = Core::new(history(&disk), Arc::new(state(&disk)), Some(&meta)).unwrap();
    core.take(batch(&mut world, 1), Duration::ZERO).unwrap();
    let damage = damage(core.take(batch(&mut world, 1), Duration::ZERO));
    assert!(damage.what.contains("the tree over 5 events"), "{damage}");
}

#[test]
fn a_snapshot_is_taken_only_with_the_history_that_belongs_to_it() {
    let (_, source, mut other_world) = stored(5);
    let snapshot = source.state.stored().unwrap().unwrap();
    let (_, mut behind, _) = stored(3);
    assert!(damage(behind.replace(&snapshot)).what.contains("ends with 3 events, but the state holds 5"));
    let mut other = snapshot.clone();
    other.meta.frontier = {
        let mut other = frontier(4);
        other.append([7; 32]);
        other.encode()
    };
    behind.history.append(&[leaf(3), leaf(4), leaf(5)]).unwrap();
    assert!(damage(behind.replace(&other)).what.contains("not the snapshot's"));
    assert_eq!(behind.state.meta().unwrap().unwrap().n, 3, "nothing was replaced");
    behind.replace(&snapshot).unwrap();
    assert_eq!((behind.state.stored().unwrap(), behind.next_sync()), (Some(snapshot), None));
    behind.take(batch(&mut other_world, 3), Duration::ZERO).unwrap();
    assert_eq!((behind.history().len(), behind.history().frontier()), (8, &frontier(8)));
}

/// What the log says is known; the stores are brought to it however they were left.
#[test]
fn a_power_cut_at_any_moment_leaves_history_ahead_of_state_and_a_replay_ends_alike() {
    let batches = 9u64;
    let mut ends: Vec<(u64, Digests)> = Vec::new();
    for seed in 0..2 {
        for cut in 0.. {
            let disk = MemoryDisk::new();
            let (mut core, mut world) = (open(&disk).unwrap(), World::default());
            let before = disk.ops();
            disk.die_after(cut);
            let mut durable = 0;
            for number in 0..batches {
                let now = SECOND * number as u32 / 2;
                let taken = core.take(batch(&mut world, 1 + number % 3), now);
                let synced = taken.and_then(|synced| if number % 4 == 1 { core.sync(now) } else { Ok(synced) });
                match synced {
                    Ok(synced) => durable = synced.map_or(durable, |meta| meta.n),
                    Err(_) => break,
                }
            }
            let over = disk.ops() - before <= cut;
            let after = disk.power_cut(seed * 1000 + cut);
            let loaded = state(&after).load().unwrap_or_else(|fault| panic!("cut {cut}: {fault}"));
            let n = loaded.map_or(0, |(_, meta)| meta.n);
            let mut core = open(&after).unwrap_or_else(|fault| panic!("cut {cut}: {fault}"));
            assert!(n >= durable && core.history().len() >= n, "cut {cut}: {n} of {durable}, history {}", core.history().len());
            let mut world = World::default();
            for number in 0..batches {
                let batch = batch(&mut world, 1 + number % 3);
                if batch.meta.n > n {
                    core.take(batch, SECOND).unwrap_or_else(|fault| panic!("cut {cut}: {fault}"));
                }
            }
            core.sync(SECOND).unwrap();
            let (state, meta) = core.state.load().unwrap().unwrap();
            assert_eq!(core.history().frontier().encode(), meta.frontier);
            ends.push((meta.n, state.digests()));
            if over {
                break;
            }
        }
    }
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
}

struct Thread {
    writer: Writer,
    reports: Receiver<Report>,
}

fn start(core: Core) -> Thread {
    let (tell, reports) = channel();
    let writer = Writer::start(core, Box::new(move |report| drop(tell.send(report)))).unwrap();
    Thread { writer, reports }
}

impl Thread {
    fn flush(&self) -> Result<(), String> {
        let (done, flushed) = channel();
        self.writer.flush(Box::new(move |result| drop(done.send(result)))).unwrap();
        flushed.recv().unwrap()
    }

    fn next(&self) -> Report {
        self.reports.recv_timeout(SECOND * 10).expect("a report")
    }
}

#[test]
fn the_thread_tells_what_is_written_and_what_is_durable() {
    let (disk, core, mut world) = stored(1);
    let thread = start(core);
    thread.writer.hand_over(batch(&mut world, 2)).unwrap();
    assert_eq!(thread.next(), Report::Written { n: 3 });
    thread.flush().unwrap();
    assert!(matches!(thread.next(), Report::Synced(meta) if meta.n == 3));
    thread.writer.hand_over(batch(&mut world, 1)).unwrap();
    assert_eq!(thread.next(), Report::Written { n: 4 });
    assert!(matches!(thread.next(), Report::Synced(meta) if meta.n == 4), "after a second, by itself");
    thread.writer.hand_over(batch(&mut world, 1)).unwrap();
    thread.writer.stop();
    assert_eq!(thread.writer.hand_over(Batch::default()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    thread.writer.stop();
    assert_eq!(state(&disk.power_cut(1)).meta().unwrap().unwrap().n, 5, "stopping syncs");
}

#[test]
fn a_snapshot_that_is_refused_is_answered_and_told() {
    let (_, source, _) = stored(5);
    let (_, core, _) = stored(3);
    let thread = start(core);
    let (done, replaced) = channel();
    let snapshot = source.state.stored().unwrap().unwrap();
    thread.writer.replace(snapshot, Box::new(move |result| drop(done.send(result)))).unwrap();
    let why = replaced.recv().unwrap().unwrap_err();
    assert_eq!(thread.next(), Report::Failed(why));
}

#[test]
fn the_first_error_is_told_once_and_nothing_is_written_afterwards() {
    for healing in [false, true] {
        let (disk, core, mut world) = stored(1);
        let thread = start(core);
        disk.fail_sync_after(0);
        thread.writer.hand_over(batch(&mut world, 2)).unwrap();
        let first = thread.flush().unwrap_err();
        if healing {
            disk.fail_sync_after(1000);
        }
        let ops = disk.ops();
        thread.writer.hand_over(batch(&mut world, 1)).unwrap();
        assert_eq!(thread.flush(), Err(first.clone()));
        thread.writer.stop();
        assert_eq!(disk.ops(), ops, "also when the stores are closed");
        let after = open(&disk.power_cut(1)).unwrap_or_else(|fault| panic!("state is ahead of history: {fault}"));
        assert_eq!(after.state.meta().unwrap().unwrap().n, 1);
        let reports: Vec<Report> = thread.reports.try_iter().filter(|report| !matches!(report, Report::Written { n: 3 })).collect();
        assert_eq!(reports, [Report::Failed(first)]);
    }
}
