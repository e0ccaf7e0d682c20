use super::*;
use crate::rows::{META, META_KEY, ROWS, sealed};
use events::{NoteId, ProviderId, StreamId, TenantId};
use journal::{disk::MemoryDisk, verify::Findings};
use redb::{ReadableTable as _, TableDefinition};
use std::collections::BTreeMap;

const FILE: &str = "state.redb";

const VERSIONS: u8 = 14;

/// A state that grows, and the batches in which it does.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: State,
}

impl World {
    /// One more event: a row is changed, one comes, one goes.
    pub(crate) fn step(&mut self) -> (Vec<Change>, Meta) {
        let n = self.state.books.n;
        self.state.books.versions.insert(StreamId::Tenant(TenantId(n % 3)), n);
        self.state.desk.notes.insert(NoteId::ProviderSecret(ProviderId(n)), vec![n as u8; 40]);
        self.state.desk.notes.remove(&NoteId::ProviderSecret(ProviderId(n.wrapping_sub(4))));
        self.state.books.n += 1;
        let changes = self.state.settle();
        (changes, self.meta())
    }

    fn meta(&self) -> Meta {
        let n = self.state.books.n;
        Meta {
            index: vec![n as u8; 3],
            log_index: Some(n * 2),
            n,
            frontier: vec![n as u8; 8],
            digests: self.state.digests(),
            time: Timestamp(n),
        }
    }
}

fn open(disk: &MemoryDisk) -> Result<StateStore, StoreFault> {
    StateStore::open(disk, CACHE_BYTES)
}

/// A closed store after so many steps, and what it holds.
fn stored(steps: u64) -> (MemoryDisk, World) {
    let disk = MemoryDisk::new();
    let (store, mut world) = (open(&disk).unwrap(), World::default());
    for _ in 0..steps {
        let (changes, meta) = world.step();
        store.write(&changes, &meta, true).unwrap();
    }
    drop(store);
    (disk, world)
}

fn assert_holds(store: &StateStore, world: &World) {
    let (mut state, meta) = store.load().unwrap().expect("something was written");
    assert_eq!(meta, world.meta());
    assert_eq!((state.position(), state.digests()), (world.state.position(), world.state.digests()));
    assert_eq!(state.settle(), [], "what was loaded is not changed");
}

/// Puts raw bytes in the place of a row, as a disk might.
fn tamper(store: &StateStore, table: TableDefinition<'static, &[u8], &[u8]>, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) {
    let transaction = store.rows.db().begin_write().unwrap();
    let mut rows = transaction.open_table(table).unwrap();
    let mut value = rows.get(key).unwrap().expect("the row is there").value().to_vec();
    change(&mut value);
    rows.insert(key, value.as_slice()).unwrap();
    drop(rows);
    transaction.commit().unwrap();
}

/// Table 14 with its key, as it is stored.
fn version_key(world: &World, tenant: u64) -> Vec<u8> {
    let mut state = world.state.clone();
    state.books.versions.insert(StreamId::Tenant(TenantId(tenant)), 1 << 40);
    row_key(VERSIONS, &state.settle().remove(0).key)
}

fn named(fault: StoreFault) -> Damage {
    match fault {
        StoreFault::Damaged(damage) => damage,
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_written_is_loaded_again() {
    let (disk, mut world) = stored(9);
    let store = open(&disk).unwrap();
    assert_holds(&store, &world);
    let (changes, meta) = world.step();
    store.write(&changes, &meta, false).unwrap();
    assert_holds(&store, &world);
    assert_eq!(store.meta().unwrap(), Some(meta));
    store.sync().unwrap();
    assert_holds(&open(&disk.power_cut(1)).unwrap(), &world);
}

#[test]
fn a_new_store_holds_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk).unwrap();
    assert!(store.load().unwrap().is_none() && store.meta().unwrap().is_none() && store.stored().unwrap().is_none());
    drop(store);
    assert!(open(&disk).unwrap().load().unwrap().is_none(), "also when it is opened again");
}

#[test]
fn a_damaged_row_is_named_by_table_and_key() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    let key = version_key(&world, 1);
    let before = store.stored().unwrap().unwrap().rows.len();
    for at in [0, 3, 4] {
        tamper(&store, ROWS, &key, |value| value[at] ^= 0x10);
        let damage = named(store.load().unwrap_err());
        assert_eq!(damage.file, "state/state.redb");
        assert!(damage.what.contains(&format!("table {VERSIONS} with key {}", hex(&key[1..]))), "byte {at}: {damage}");
        let (rest, damages) = store.inspect().unwrap();
        assert_eq!((rest.unwrap().rows.len(), damages), (before - 1, vec![damage]), "the others are whole");
        tamper(&store, ROWS, &key, |value| value[at] ^= 0x10);
    }
    tamper(&store, ROWS, &key, |value| value.truncate(3));
    assert!(named(store.load().unwrap_err()).what.contains("the checksum is wrong"), "shorter than a checksum");
}

/// Bytes that are another row's, checksum and all, are not taken for this one's.
#[test]
fn a_row_in_the_place_of_another_is_damage() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    let mut other = Vec::new();
    tamper(&store, ROWS, &version_key(&world, 2), |value| other = value.clone());
    tamper(&store, ROWS, &version_key(&world, 1), |value| *value = other);
    assert!(named(store.load().unwrap_err()).what.contains("the checksum is wrong"));
}

/// Each row is whole, but one is missing, older, or too many: only the digests can know.
#[test]
fn rows_that_are_not_those_of_the_digests_are_damage() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    let key = version_key(&world, 1)[1..].to_vec();
    let whole = store.stored().unwrap().unwrap().rows.into_iter().find(|row| (row.0, &row.1) == (VERSIONS, &key)).unwrap().2;
    let change = |value: Option<Vec<u8>>| Change { table: VERSIONS, key: key.clone(), value };
    for other in [change(None), change(Some(codec::encode(&77u64)))] {
        store.write(&[other], &world.meta(), true).unwrap();
        let damage = named(store.load().unwrap_err());
        assert!(damage.what.contains("digests") && damage.file == "state/state.redb", "{damage}");
    }
    store.write(&[change(Some(whole))], &world.meta(), true).unwrap();
    assert_holds(&store, &world);
}

#[test]
fn a_row_that_this_build_cannot_read_is_damage() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    for (table, what) in [(200, "table 200 is not known"), (VERSIONS, "")] {
        let change = |value| Change { table, key: vec![1, 2], value };
        store.write(&[change(Some(vec![3]))], &world.meta(), true).unwrap();
        assert!(named(store.load().unwrap_err()).what.contains(what));
        store.write(&[change(None)], &world.meta(), true).unwrap();
    }
}

#[test]
fn a_damaged_meta_is_named_and_nothing_is_loaded() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    let whole = sealed(META_KEY, &codec::encode(&world.meta()));
    let mut flipped = whole.clone();
    flipped[9] ^= 1;
    for meta in [flipped, whole[..3].to_vec(), sealed(META_KEY, b"whole, but no meta")] {
        tamper(&store, META, META_KEY, |value| *value = meta);
        for fault in [store.load().map(drop), store.meta().map(drop), store.stored().map(drop), store.inspect().map(drop)] {
            assert!(named(fault.unwrap_err()).what.contains("as of"));
        }
    }
}

#[test]
fn a_snapshot_puts_all_rows_in_the_place_of_all() {
    let (disk, _) = stored(9);
    let (other_disk, other) = stored(4);
    let snapshot = open(&other_disk).unwrap().stored().unwrap().unwrap();
    assert_eq!(snapshot.state().unwrap().digests(), other.state.digests());
    let store = open(&disk).unwrap();
    store.replace(&snapshot).unwrap();
    assert_holds(&store, &other);
    assert_holds(&open(&disk.power_cut(3)).unwrap(), &other);
}

#[test]
fn a_file_that_is_none_of_the_engines_is_damage() {
    for bytes in [Vec::new(), vec![7; 9], vec![0; 1 << 16]] {
        let disk = MemoryDisk::new();
        disk.put(FILE, bytes);
        assert_eq!(named(open(&disk).err().expect("refused")).file, "state/state.redb");
    }
}

/// Bits that turn over anywhere in the file: refused, or exactly what was written; and looking for damage finds what is refused.
#[test]
fn nothing_else_is_ever_loaded_from_a_damaged_file() {
    let (disk, world) = stored(9);
    let bytes = disk.bytes(FILE).unwrap();
    let tables = bytes.windows(4).enumerate().filter(|(_, word)| [b"rows", b"meta"].contains(&(*word).try_into().expect("four")));
    let tables: Vec<u64> = tables.map(|(at, _)| at as u64 + 1).collect();
    assert!(!tables.is_empty());
    let mut refused = 0;
    for at in (0..bytes.len() as u64).step_by(23).chain(0..400).chain(tables) {
        let flipped = disk.copy();
        flipped.flip(FILE, at, 1 << (at % 8));
        let mut findings = Findings::default();
        crate::verify::state(&flipped.copy(), &mut findings);
        let loaded = open(&flipped).and_then(|mut store| {
            let loaded = store.load();
            // Closing over damage that loading did not see may end the process; the node fails stop anyway.
            let _ = store.check_pages();
            loaded
        });
        match loaded {
            Ok(Some((state, meta))) => {
                assert_eq!((meta, state.digests()), (world.meta(), world.state.digests()), "byte {at}");
            }
            Ok(None) => panic!("byte {at}: all is gone and nobody says so"),
            Err(fault) => {
                named(fault);
                assert!(!findings.damages.is_empty(), "byte {at} is refused, but not found");
                refused += 1;
            }
        }
    }
    assert!(refused > 10, "{refused}");
}

/// The engine would write when it is closed, and panic over what it finds, even while it unwinds.
#[test]
fn a_store_in_which_damage_was_found_is_not_closed() {
    let (disk, world) = stored(5);
    let store = open(&disk).unwrap();
    tamper(&store, ROWS, &version_key(&world, 1), |value| value[0] ^= 1);
    named(store.load().unwrap_err());
    let ops = disk.ops();
    drop(store);
    assert_eq!(disk.ops(), ops);
}

/// Either the last write that was synced, or a later one: never rows of two.
#[test]
fn a_power_cut_leaves_what_was_synced_or_a_later_write_whole() {
    for seed in 0..2 {
        for cut in 0.. {
            let (disk, mut world) = stored(1);
            let store = open(&disk).unwrap();
            let mut digests = BTreeMap::from([(1, world.state.digests())]);
            let mut durable = 1;
            disk.die_after(cut);
            let failed = (0..6).any(|step| {
                let (changes, meta) = world.step();
                digests.insert(meta.n, meta.digests);
                let done = store.write(&changes, &meta, step % 3 == 2).is_err();
                durable = if !done && step % 3 == 2 { meta.n } else { durable };
                done
            });
            let after = disk.power_cut(seed * 100 + cut);
            drop(store);
            let (state, meta) = open(&after).and_then(|store| store.load()).unwrap_or_else(|fault| panic!("cut {cut}: {fault}")).unwrap();
            assert!(meta.n >= durable, "cut {cut}: {} events, {durable} were durable", meta.n);
            assert_eq!(Some(&state.digests()), digests.get(&meta.n), "cut {cut}");
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn a_power_cut_while_the_store_is_made_leaves_none_or_a_whole_one() {
    for cut in 0.. {
        let disk = MemoryDisk::new();
        disk.die_after(cut);
        let made = open(&disk).is_ok();
        let store = open(&disk.power_cut(cut)).unwrap_or_else(|fault| panic!("cut {cut}: {fault}"));
        assert!(store.load().unwrap().is_none());
        if made {
            break;
        }
    }
}
