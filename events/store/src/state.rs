//! The state on disk: rows by table and key, and what they belong to; all of them together are checked against the digests.

#[cfg(test)]
pub(crate) mod tests;

use crate::rows::{Rows, StoreFault, hex};
use events::{
    State, Timestamp,
    codec::{self, Undecodable},
    state::Digests,
    table::Change,
};
use journal::disk::{Damage, Disk};
use serde::{Deserialize, Serialize};

/// redb's own default is 1 GiB a store.
pub const CACHE_BYTES: usize = 8 << 20;
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

fn row_key(table: u8, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table);
    out.extend_from_slice(key);
    out
}

/// See the module. Reading and writing may go on at once, from several threads.
pub struct StateStore {
    rows: Rows,
}

impl StateStore {
    /// Opens the store in its folder, or makes it.
    ///
    /// # Errors
    /// Damage that the engine sees at once, or the disk's own errors.
    pub fn open(disk: &dyn Disk, cache_bytes: usize) -> Result<StateStore, StoreFault> {
        Rows::open(disk, "state", "state", cache_bytes).map(|rows| StateStore { rows })
    }

    fn damaged(&self, what: impl Into<String>) -> StoreFault {
        self.rows.note_damage();
        StoreFault::Damaged(self.rows.damage(what))
    }

    /// Writes changed rows and what they are as of, all or nothing. Without `sync` they are durable with the next that is.
    pub fn write(&self, changes: &[Change], meta: &Meta, sync: bool) -> Result<(), StoreFault> {
        self.rows.write(sync, |rows| {
            for change in changes {
                let key = row_key(change.table, &change.key);
                match &change.value {
                    Some(value) => rows.put(&key, value)?,
                    None => rows.remove(&key)?,
                }
            }
            rows.set_meta(&codec::encode(meta))
        })
    }

    /// Makes durable what was written.
    pub fn sync(&self) -> Result<(), StoreFault> {
        self.rows.sync()
    }

    /// Puts other rows in the place of all: a snapshot. Durable.
    pub fn replace(&self, stored: &Stored) -> Result<(), StoreFault> {
        self.rows.write(true, |rows| {
            rows.clear()?;
            for (table, key, value) in &stored.rows {
                rows.put(&row_key(*table, key), value)?;
            }
            rows.set_meta(&codec::encode(&stored.meta))
        })
    }

    /// What the rows are as of; None: nothing was ever written.
    pub fn meta(&self) -> Result<Option<Meta>, StoreFault> {
        self.rows.meta()?.map(|meta| self.read_meta(&meta)).transpose()
    }

    fn read_meta(&self, bytes: &[u8]) -> Result<Meta, StoreFault> {
        codec::decode(bytes).map_err(|error| self.damaged(format!("the row that says what the others are as of: {error}")))
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
        let state = stored.state().map_err(|error| StoreFault::Damaged(self.rows.damage(error.to_string())))?;
        Ok(Some((state, stored.meta)))
    }

    /// All rows that are whole, and the damaged ones by name.
    pub(crate) fn inspect(&self) -> Result<(Option<Stored>, Vec<Damage>), StoreFault> {
        let reading = self.rows.reading()?;
        let Some(meta) = reading.meta()? else { return Ok((None, Vec::new())) };
        let mut stored = Stored { rows: Vec::new(), meta: self.read_meta(&meta)? };
        let mut damages = Vec::new();
        reading.all(&mut |key, value| match (key.split_first(), value) {
            (Some((table, row)), Some(value)) => stored.rows.push((*table, row.to_vec(), value.to_vec())),
            (Some((table, row)), None) => {
                damages.push(self.rows.damage(format!("row of table {table} with key {}: the checksum is wrong", hex(row))))
            }
            (None, _) => damages.push(self.rows.damage("a row without a key")),
        })?;
        if !damages.is_empty() {
            self.rows.note_damage();
        }
        Ok((Some(stored), damages))
    }

    /// Asks the engine to check all its pages.
    pub(crate) fn check_pages(&mut self) -> Result<(), StoreFault> {
        self.rows.check_pages()
    }
}
