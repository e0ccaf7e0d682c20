//! Rows by key in one redb file, each with a crc32c over its key and itself, beside one row that says what they are as of. redb checks its
//! pages only when it is asked to, so every row is checked here when it is read.

#[cfg(test)]
mod tests;

use crate::backend::Backend;
use journal::disk::{Damage, Disk};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata as _, TableDefinition, TableError};
use std::{
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Value: crc32c, value.
pub(crate) const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
pub(crate) const META: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("meta");
pub(crate) const META_KEY: &[u8] = b"meta";

/// Why rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("{0}")]
    Damaged(Damage),
    #[error("{place}: {error}")]
    Io { place: String, error: io::Error },
    #[error("{place}: {what}")]
    Engine { place: String, what: String },
}

impl From<StoreFault> for io::Error {
    fn from(fault: StoreFault) -> io::Error {
        match fault {
            StoreFault::Damaged(damage) => damage.into(),
            StoreFault::Io { error, .. } => error,
            fault @ StoreFault::Engine { .. } => io::Error::other(fault.to_string()),
        }
    }
}

impl From<io::Error> for StoreFault {
    fn from(error: io::Error) -> StoreFault {
        match Damage::of(&error) {
            Some(damage) => StoreFault::Damaged(damage.clone()),
            None => StoreFault::Io { place: "the data directory".into(), error },
        }
    }
}

/// What goes wrong inside, before it is known in which file.
#[derive(Debug)]
pub(crate) enum Wrong {
    Damaged(String),
    Io(io::Error),
    Engine(String),
}

/// Errors of the engine: what it found broken is damage.
pub(crate) fn engine(error: impl Into<redb::Error>) -> Wrong {
    match error.into() {
        redb::Error::Corrupted(what) => Wrong::Damaged(what),
        redb::Error::Io(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) => {
            Wrong::Damaged(error.to_string())
        }
        redb::Error::Io(error) => Wrong::Io(error),
        other => Wrong::Engine(other.to_string()),
    }
}

impl Wrong {
    fn at(self, place: &str) -> StoreFault {
        match self {
            Wrong::Damaged(what) => StoreFault::Damaged(damage(place, what)),
            Wrong::Io(error) => StoreFault::Io { place: place.into(), error },
            Wrong::Engine(what) => StoreFault::Engine { place: place.into(), what },
        }
    }
}

fn damage(place: &str, what: impl Into<String>) -> Damage {
    Damage { file: place.into(), record: None, offset: 0, what: what.into() }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Wrong {
        match Damage::of(&error) {
            Some(damage) => Wrong::Damaged(damage.what.clone()),
            None => Wrong::Io(error),
        }
    }
}

/// The engine panics over some damage; that is damage too.
fn caught<R>(act: impl FnOnce() -> Result<R, Wrong>) -> Result<R, Wrong> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Wrong::Damaged(format!("the engine gave up on it: {}", what.unwrap_or("no reason given"))))
    })
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// A value with its checksum before it.
pub(crate) fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len());
    out.extend_from_slice(&checksum(key, value).to_le_bytes());
    out.extend_from_slice(value);
    out
}

/// The value of a stored row; None: it is damaged.
pub(crate) fn opened<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, value) = stored.split_first_chunk()?;
    (u32::from_le_bytes(*crc) == checksum(key, value)).then_some(value)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// See the module. Reading and writing may go on at once, from several threads.
pub struct Rows {
    /// None only while it is dropped.
    db: Option<Database>,
    /// The file with its folder, as damages name it.
    place: String,
    /// Something broken was found.
    damaged: AtomicBool,
    /// Something was written that is not durable.
    unsynced: AtomicBool,
}

/// The engine writes when it is closed. What was not synced would become durable, though what it belongs to may not be; over damage it
/// would panic, even while it unwinds, which ends the process before the damage was told. So such a store is left as a crash leaves it.
impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            if self.damaged.load(Ordering::Relaxed) || self.unsynced.load(Ordering::Relaxed) {
                std::mem::forget(db);
            } else {
                // Everything that counts was synced before: whether closing succeeds changes nothing.
                let _ = caught(|| {
                    drop(db);
                    Ok(())
                });
            }
        }
    }
}

impl Rows {
    /// Opens the store `name` in a folder that is called `folder`, or makes it.
    ///
    /// # Errors
    /// Damage that the engine sees at once, or the disk's own errors.
    pub fn open(disk: &dyn Disk, folder: &str, name: &str, cache_bytes: usize) -> Result<Rows, StoreFault> {
        let file = file_name(name);
        let place = format!("{folder}/{file}");
        let opened = caught(|| {
            let is_there = disk.list()?.contains(&file);
            if is_there { open_file(disk, &file, cache_bytes) } else { make(disk, name, cache_bytes) }
        });
        let db = opened.map_err(|wrong| wrong.at(&place))?;
        Ok(Rows { db: Some(db), place, damaged: AtomicBool::new(false), unsynced: AtomicBool::new(false) })
    }

    pub(crate) fn db(&self) -> &Database {
        self.db.as_ref().expect("only dropping takes it")
    }

    pub(crate) fn damage(&self, what: impl Into<String>) -> Damage {
        damage(&self.place, what)
    }

    fn fault(&self, wrong: Wrong) -> StoreFault {
        if matches!(wrong, Wrong::Damaged(_)) {
            self.note_damage();
        }
        wrong.at(&self.place)
    }

    /// Does something with the engine, and keeps in mind whether something broken was found.
    pub(crate) fn guarded<R>(&self, act: impl FnOnce() -> Result<R, Wrong>) -> Result<R, StoreFault> {
        caught(act).map_err(|wrong| self.fault(wrong))
    }

    pub(crate) fn note_damage(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// One transaction, all or nothing. Without `sync` it is durable with the next that is.
    pub fn write(&self, sync: bool, act: impl FnOnce(&mut Writing<'_>) -> Result<(), StoreFault>) -> Result<(), StoreFault> {
        let mut acted = Ok(());
        self.guarded(|| {
            self.unsynced.store(true, Ordering::Relaxed);
            let mut transaction = self.db().begin_write().map_err(engine)?;
            transaction.set_durability(if sync { Durability::Immediate } else { Durability::None }).map_err(engine)?;
            // After a crash the whole file would be walked otherwise.
            transaction.set_quick_repair(sync);
            let rows = transaction.open_table(ROWS).map_err(engine)?;
            let mut writing = Writing { store: self, transaction: &transaction, rows };
            acted = act(&mut writing);
            drop(writing);
            if acted.is_ok() {
                transaction.commit().map_err(engine)?;
                self.unsynced.store(!sync, Ordering::Relaxed);
            }
            Ok(())
        })?;
        acted
    }

    /// Makes durable what was written.
    pub fn sync(&self) -> Result<(), StoreFault> {
        self.write(true, |_| Ok(()))
    }

    /// What the rows are as of; None: nothing was ever written.
    pub fn meta(&self) -> Result<Option<Vec<u8>>, StoreFault> {
        self.reading()?.meta()
    }

    /// All rows as of one moment.
    pub fn reading(&self) -> Result<Reading<'_>, StoreFault> {
        self.guarded(|| {
            let transaction = self.db().begin_read().map_err(engine)?;
            Reading::of(self, transaction)
        })
    }

    /// Asks the engine to check all its pages.
    pub fn check_pages(&mut self) -> Result<(), StoreFault> {
        let checked = caught(|| match self.db.as_mut().map(Database::check_integrity).transpose().map_err(engine)? {
            Some(false) => Err(Wrong::Damaged("pages of the engine are damaged".into())),
            _ => Ok(()),
        });
        checked.map_err(|wrong| self.fault(wrong))
    }
}

/// The file of a store.
pub fn file_name(name: &str) -> String {
    format!("{name}.redb")
}

fn open_file(disk: &dyn Disk, file: &str, cache_bytes: usize) -> Result<Database, Wrong> {
    let file = disk.open(file)?;
    if file.size()? == 0 {
        return Err(Wrong::Damaged("the file is empty".into()));
    }
    // A file that begins with other bytes than redb's is not said to be corrupted by it.
    Database::builder().set_cache_size(cache_bytes).create_with_backend(Backend(file)).map_err(|error| match engine(error) {
        Wrong::Engine(what) => Wrong::Damaged(what),
        wrong => wrong,
    })
}

/// Under another name first: a crash never leaves half a store.
fn make(disk: &dyn Disk, name: &str, cache_bytes: usize) -> Result<Database, Wrong> {
    let unmade = format!("{name}.new");
    let file = disk.create(&unmade)?;
    let db = Database::builder().set_cache_size(cache_bytes).create_with_backend(Backend(file)).map_err(engine)?;
    let mut transaction = db.begin_write().map_err(engine)?;
    transaction.set_quick_repair(true);
    transaction.open_table(ROWS).map_err(engine)?;
    transaction.open_table(META).map_err(engine)?;
    transaction.commit().map_err(engine)?;
    disk.rename(&unmade, &file_name(name))?;
    disk.sync_dir()?;
    Ok(db)
}

/// A table that was made with the store: if it is not there, or of other types, what names it is damaged.
fn table(transaction: &redb::ReadTransaction, of: TableDefinition<'static, &[u8], &[u8]>) -> Result<Table, Wrong> {
    transaction.open_table(of).map_err(|error| match error {
        TableError::Storage(error) => engine(error),
        other => Wrong::Damaged(other.to_string()),
    })
}

type Table = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Rows as of one moment, whatever is written meanwhile.
pub struct Reading<'a> {
    store: &'a Rows,
    transaction: Arc<redb::ReadTransaction>,
    rows: Table,
    meta: Table,
}

impl<'a> Reading<'a> {
    fn of(store: &'a Rows, transaction: redb::ReadTransaction) -> Result<Reading<'a>, Wrong> {
        let (rows, meta) = (table(&transaction, ROWS)?, table(&transaction, META)?);
        Ok(Reading { store, transaction: Arc::new(transaction), rows, meta })
    }

    /// The same rows as of the same moment, once more.
    pub fn again(&self) -> Result<Reading<'a>, StoreFault> {
        self.store.guarded(|| {
            let (rows, meta) = (table(&self.transaction, ROWS)?, table(&self.transaction, META)?);
            Ok(Reading { store: self.store, transaction: self.transaction.clone(), rows, meta })
        })
    }

    /// What the rows are as of; None: nothing was ever written.
    pub fn meta(&self) -> Result<Option<Vec<u8>>, StoreFault> {
        self.store.guarded(|| {
            let row = match self.meta.get(META_KEY).map_err(engine)? {
                Some(row) => row,
                None if self.meta.is_empty().map_err(engine)? => return Ok(None),
                None => return Err(Wrong::Damaged("the row that says what the others are as of is not there".into())),
            };
            let meta = opened(META_KEY, row.value()).map(<[u8]>::to_vec);
            meta.map(Some).ok_or_else(|| Wrong::Damaged("the row that says what the others are as of is damaged".into()))
        })
    }

    /// One row, checked.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.store.guarded(|| found(key, self.rows.get(key).map_err(engine)?))
    }

    /// Shows rows in order, or from the end on, from a key on and before another, each checked, until told to stop.
    pub fn visit(
        &self,
        from: &[u8],
        before: &[u8],
        order: Order,
        see: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreFault> {
        if from >= before {
            return Ok(());
        }
        self.store.guarded(|| {
            let mut rows = self.rows.range(from..before).map_err(engine)?;
            while let Some(row) = if order == Order::Ascending { rows.next() } else { rows.next_back() } {
                let (key, value) = row.map_err(engine)?;
                let value = opened(key.value(), value.value()).ok_or_else(|| damaged_row(key.value()))?;
                if see(key.value(), value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// All rows that are whole, in order, and the keys of the damaged ones.
    pub(crate) fn all(&self, see: &mut dyn FnMut(&[u8], Option<&[u8]>)) -> Result<(), StoreFault> {
        self.store.guarded(|| {
            for row in self.rows.iter().map_err(engine)? {
                let (key, value) = row.map_err(engine)?;
                see(key.value(), opened(key.value(), value.value()));
            }
            Ok(())
        })
    }
}

/// Which way rows are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Ascending,
    Descending,
}

fn found(key: &[u8], row: Option<redb::AccessGuard<'_, &'static [u8]>>) -> Result<Option<Vec<u8>>, Wrong> {
    let Some(row) = row else { return Ok(None) };
    opened(key, row.value()).map(|value| Some(value.to_vec())).ok_or_else(|| damaged_row(key))
}

fn damaged_row(key: &[u8]) -> Wrong {
    Wrong::Damaged(format!("the row with key {}: the checksum is wrong", hex(key)))
}

/// Rows inside a transaction: what was written in it is seen.
pub struct Writing<'a> {
    store: &'a Rows,
    transaction: &'a redb::WriteTransaction,
    rows: redb::Table<'a, &'static [u8], &'static [u8]>,
}

impl Writing<'_> {
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        self.store.guarded(|| found(key, self.rows.get(key).map_err(engine)?))
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreFault> {
        let Writing { store, rows, .. } = self;
        store.guarded(|| rows.insert(key, sealed(key, value).as_slice()).map(drop).map_err(engine))
    }

    pub fn remove(&mut self, key: &[u8]) -> Result<(), StoreFault> {
        let Writing { store, rows, .. } = self;
        store.guarded(|| rows.remove(key).map(drop).map_err(engine))
    }

    /// Takes out all rows.
    pub fn clear(&mut self) -> Result<(), StoreFault> {
        let Writing { store, rows, .. } = self;
        store.guarded(|| rows.retain(|_, _| false).map_err(engine))
    }

    /// What the rows are as of from now on.
    pub fn set_meta(&mut self, meta: &[u8]) -> Result<(), StoreFault> {
        self.store.guarded(|| {
            let mut table = self.transaction.open_table(META).map_err(engine)?;
            table.insert(META_KEY, sealed(META_KEY, meta).as_slice()).map_err(engine)?;
            Ok(())
        })
    }
}
