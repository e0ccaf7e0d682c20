//! The state on disk: rows by table and key, each with a crc32c over its key and itself, and what they belong to. redb checks its pages
//! only when it is asked to, so every row is checked here when it is read, and all of them together against the digests.

#[cfg(test)]
pub(crate) mod tests;

use crate::backend::Backend;
use events::{
    State, Timestamp,
    codec::{self, Undecodable},
    state::Digests,
    table::Change,
};
use journal::disk::{Damage, Disk};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata as _, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

/// redb's own default is 1 GiB a store.
pub const CACHE_BYTES: usize = 8 << 20;
/// The file, in the state's folder.
pub const FILE: &str = "state.redb";
const UNMADE: &str = "state.new";
const META_KEY: &[u8] = b"meta";

/// Key: table number, key. Value: crc32c, value.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("meta");

/// What the rows are as of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Where in the replicated log: its owner's own words.
    pub index: Vec<u8>,
    /// The index of the last entry that was applied; None: none.
    pub log_index: Option<u64>,
    /// Events so far.
    pub n: u64,
    /// The hash tree over them, encoded.
    pub frontier: Vec<u8>,
    pub digests: Digests,
    /// The last entry's time.
    pub time: Timestamp,
}

/// All rows and what they are as of: what a snapshot is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Table, key, value.
    pub rows: Vec<(u8, Vec<u8>, Vec<u8>)>,
    pub meta: Meta,
}

impl Stored {
    /// The state that the rows make, checked against the digests.
    ///
    /// # Errors
    /// A row that cannot be read, or rows that are not what they were.
    pub fn state(&self) -> Result<State, Undecodable> {
        let mut state = State::default();
        for (table, key, value) in &self.rows {
            state.load(*table, key, value)?;
        }
        state.books.n = self.meta.n;
        state.loaded();
        let digests = state.digests();
        if digests == self.meta.digests {
            Ok(state)
        } else {
            Err(Undecodable(format!("the rows' digests are {digests:?}, not {:?}", self.meta.digests)))
        }
    }
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("{0}")]
    Damaged(Damage),
    #[error("state: {0}")]
    Io(io::Error),
    #[error("state: {0}")]
    Engine(String),
}

impl StoreFault {
    fn damaged(what: impl Into<String>) -> StoreFault {
        StoreFault::Damaged(damage(what))
    }
}

fn damage(what: impl Into<String>) -> Damage {
    Damage { file: format!("state/{FILE}"), record: None, offset: 0, what: what.into() }
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> StoreFault {
        match Damage::of(&error) {
            Some(damage) => StoreFault::Damaged(damage.clone()),
            None => StoreFault::Io(error),
        }
    }
}

impl From<StoreFault> for io::Error {
    fn from(fault: StoreFault) -> io::Error {
        match fault {
            StoreFault::Damaged(damage) => damage.into(),
            StoreFault::Io(error) => error,
            StoreFault::Engine(what) => io::Error::other(what),
        }
    }
}

/// Errors of the engine: what it found broken is damage.
fn engine(error: impl Into<redb::Error>) -> StoreFault {
    match error.into() {
        redb::Error::Corrupted(what) => StoreFault::damaged(what),
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            StoreFault::damaged(error.to_string())
        }
        redb::Error::Io(error) => StoreFault::Io(error),
        other => StoreFault::Engine(other.to_string()),
    }
}

/// The engine panics over some damage; that is damage too.
fn guarded<R>(act: impl FnOnce() -> Result<R, StoreFault>) -> Result<R, StoreFault> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(StoreFault::damaged(format!("the engine gave up on it: {}", what.unwrap_or("no reason given"))))
    })
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// A value with its checksum before it.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = checksum(key, value).to_le_bytes().to_vec();
    out.extend_from_slice(value);
    out
}

/// The value of a stored row; None: it is damaged.
fn opened<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, value) = stored.split_first_chunk()?;
    (u32::from_le_bytes(*crc) == checksum(key, value)).then_some(value)
}

fn row_key(table: u8, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table);
    out.extend_from_slice(key);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// See the module. Reading and writing may go on at once, from several threads.
pub struct StateStore {
    /// None only while it is dropped.
    db: Option<Database>,
    /// Something broken was found.
    damaged: AtomicBool,
    /// Something was written that is not durable.
    unsynced: AtomicBool,
}

/// The engine writes when it is closed. What was not synced would become durable, though the history it belongs to may not be; over damage
/// it would panic, even while it unwinds, which ends the process before the damage was told. So such a store is left as a crash leaves it.
impl Drop for StateStore {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            if self.damaged.load(Ordering::Relaxed) || self.unsynced.load(Ordering::Relaxed) {
                std::mem::forget(db);
            } else {
                // Everything that counts was synced before: whether closing succeeds changes nothing.
                let _ = guarded(|| {
                    drop(db);
                    Ok(())
                });
            }
        }
    }
}

impl StateStore {
    fn new(db: Database) -> StateStore {
        StateStore { db: Some(db), damaged: AtomicBool::new(false), unsynced: AtomicBool::new(false) }
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("only dropping takes it")
    }

    /// Keeps in mind whether something broken was found.
    fn guarded<R>(&self, act: impl FnOnce() -> Result<R, StoreFault>) -> Result<R, StoreFault> {
        let done = guarded(act);
        if matches!(done, Err(StoreFault::Damaged(_))) {
            self.damaged.store(true, Ordering::Relaxed);
        }
        done
    }

    /// Opens the store in its folder, or makes it.
    ///
    /// # Errors
    /// Damage that the engine sees at once, or the disk's own errors.
    pub fn open(disk: &dyn Disk, cache_bytes: usize) -> Result<StateStore, StoreFault> {
        let is_there = disk.list()?.iter().any(|name| name == FILE);
        guarded(|| if is_there { StateStore::open_file(disk, FILE, cache_bytes) } else { StateStore::make(disk, cache_bytes) })
    }

    fn open_file(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<StateStore, StoreFault> {
        let file = disk.open(name)?;
        if file.size()? == 0 {
            return Err(StoreFault::damaged("the file is empty"));
        }
        let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(Backend(file));
        // A file that begins with other bytes than redb's is not said to be corrupted by it.
        db.map(StateStore::new).map_err(|error| match engine(error) {
            StoreFault::Engine(what) => StoreFault::damaged(what),
            fault => fault,
        })
    }

    /// Under another name first: a crash never leaves half a store.
    fn make(disk: &dyn Disk, cache_bytes: usize) -> Result<StateStore, StoreFault> {
        let file = disk.create(UNMADE)?;
        let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(Backend(file)).map_err(engine)?;
        let store = StateStore::new(db);
        store.transaction(true, |transaction| {
            transaction.open_table(ROWS).map_err(engine)?;
            transaction.open_table(META).map(drop).map_err(engine)
        })?;
        disk.rename(UNMADE, FILE)?;
        disk.sync_dir()?;
        Ok(store)
    }

    fn transaction(&self, sync: bool, act: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreFault>) -> Result<(), StoreFault> {
        self.unsynced.store(true, Ordering::Relaxed);
        let mut transaction = self.db().begin_write().map_err(engine)?;
        transaction.set_durability(if sync { Durability::Immediate } else { Durability::None }).map_err(engine)?;
        // After a crash the whole file would be walked otherwise.
        transaction.set_quick_repair(sync);
        act(&transaction)?;
        transaction.commit().map_err(engine)?;
        self.unsynced.store(!sync, Ordering::Relaxed);
        Ok(())
    }

    /// Writes changed rows and what they are as of, all or nothing. Without `sync` they are durable with the next that is.
    pub fn write(&self, changes: &[Change], meta: &Meta, sync: bool) -> Result<(), StoreFault> {
        self.guarded(|| {
            self.transaction(sync, |transaction| {
                let mut rows = transaction.open_table(ROWS).map_err(engine)?;
                for change in changes {
                    let key = row_key(change.table, &change.key);
                    match &change.value {
                        Some(value) => drop(rows.insert(key.as_slice(), sealed(&key, value).as_slice()).map_err(engine)?),
                        None => drop(rows.remove(key.as_slice()).map_err(engine)?),
                    }
                }
                put_meta(transaction, meta)
            })
        })
    }

    /// Makes durable what was written.
    pub fn sync(&self) -> Result<(), StoreFault> {
        self.guarded(|| self.transaction(true, |_| Ok(())))
    }

    /// Puts other rows in the place of all: a snapshot. Durable.
    pub fn replace(&self, stored: &Stored) -> Result<(), StoreFault> {
        self.guarded(|| {
            self.transaction(true, |transaction| {
                transaction.delete_table(ROWS).map_err(engine)?;
                let mut rows = transaction.open_table(ROWS).map_err(engine)?;
                for (table, key, value) in &stored.rows {
                    let key = row_key(*table, key);
                    rows.insert(key.as_slice(), sealed(&key, value).as_slice()).map_err(engine)?;
                }
                put_meta(transaction, &stored.meta)
            })
        })
    }

    /// What the rows are as of; None: nothing was ever written.
    pub fn meta(&self) -> Result<Option<Meta>, StoreFault> {
        self.guarded(|| {
            let transaction = self.db().begin_read().map_err(engine)?;
            read_meta(&transaction)
        })
    }

    /// All rows as of one moment, each checked; None: nothing was ever written.
    pub fn stored(&self) -> Result<Option<Stored>, StoreFault> {
        let (stored, damages) = self.inspect()?;
        damages.into_iter().next().map_or(Ok(stored), |damage| Err(StoreFault::Damaged(damage)))
    }

    /// The state, whole and checked against its digests; None: nothing was ever written.
    ///
    /// # Errors
    /// A damaged row is named; so is a digest that differs.
    pub fn load(&self) -> Result<Option<(State, Meta)>, StoreFault> {
        let Some(stored) = self.stored()? else { return Ok(None) };
        let state = stored.state().map_err(|error| StoreFault::damaged(error.to_string()))?;
        Ok(Some((state, stored.meta)))
    }

    /// All rows that are whole, and the damaged ones by name.
    pub(crate) fn inspect(&self) -> Result<(Option<Stored>, Vec<Damage>), StoreFault> {
        self.guarded(|| {
            let transaction = self.db().begin_read().map_err(engine)?;
            let Some(meta) = read_meta(&transaction)? else { return Ok((None, Vec::new())) };
            let mut stored = Stored { rows: Vec::new(), meta };
            let mut damages = Vec::new();
            let rows = table(&transaction, ROWS)?;
            for row in rows.iter().map_err(engine)? {
                let (key, value) = row.map_err(engine)?;
                match (key.value().split_first(), opened(key.value(), value.value())) {
                    (Some((table, row)), Some(value)) => stored.rows.push((*table, row.to_vec(), value.to_vec())),
                    (Some((table, row)), None) => {
                        damages.push(damage(format!("row of table {table} with key {}: the checksum is wrong", hex(row))))
                    }
                    (None, _) => damages.push(damage("a row without a key")),
                }
            }
            self.damaged.fetch_or(!damages.is_empty(), Ordering::Relaxed);
            Ok((Some(stored), damages))
        })
    }

    /// Asks the engine to check all its pages.
    pub(crate) fn check_pages(&mut self) -> Result<(), StoreFault> {
        let checked = guarded(|| match self.db.as_mut().map(Database::check_integrity).transpose().map_err(engine)? {
            Some(false) => Err(StoreFault::damaged("pages of the engine are damaged")),
            _ => Ok(()),
        });
        self.damaged.fetch_or(checked.is_err(), Ordering::Relaxed);
        checked
    }
}

fn put_meta(transaction: &redb::WriteTransaction, meta: &Meta) -> Result<(), StoreFault> {
    let value = codec::encode(meta);
    let mut table = transaction.open_table(META).map_err(engine)?;
    table.insert(META_KEY, sealed(META_KEY, &value).as_slice()).map_err(engine)?;
    Ok(())
}

type Rows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// A table that was made with the store: if it is not there, or of other types, what names it is damaged.
fn table(transaction: &redb::ReadTransaction, of: TableDefinition<'static, &[u8], &[u8]>) -> Result<Rows, StoreFault> {
    transaction.open_table(of).map_err(|error| match error {
        TableError::Storage(error) => engine(error),
        other => StoreFault::damaged(other.to_string()),
    })
}

fn read_meta(transaction: &redb::ReadTransaction) -> Result<Option<Meta>, StoreFault> {
    let table = table(transaction, META)?;
    let row = match table.get(META_KEY).map_err(engine)? {
        Some(row) => row,
        None if table.is_empty().map_err(engine)? => return Ok(None),
        None => return Err(StoreFault::damaged("the row that says what the others are as of is not there")),
    };
    let meta = opened(META_KEY, row.value()).and_then(|value| codec::decode(value).ok());
    meta.map(Some).ok_or_else(|| StoreFault::damaged("the row that says what the others are as of is damaged"))
}
