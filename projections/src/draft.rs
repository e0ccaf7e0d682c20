//! What a batch changes: rows are read as they were committed, changed in memory, and written at once.

use crate::{Fault, key::Key};
use events::codec;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};
use store::{Reading, Writing, rows::Order};

/// Some rows in order.
pub(crate) struct Page {
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub next: Option<Vec<u8>>,
}

struct Slot {
    value: Option<Vec<u8>>,
    /// It is surely not among the committed rows.
    new: bool,
    changed: bool,
}

/// See the module.
pub(crate) struct Draft<'a> {
    committed: Reading<'a>,
    slots: BTreeMap<Vec<u8>, Slot>,
}

impl<'a> Draft<'a> {
    pub fn new(committed: Reading<'a>) -> Draft<'a> {
        Draft { committed, slots: BTreeMap::new() }
    }

    /// A row as it is now.
    pub fn get<V: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<V>, Fault> {
        let key = key.clone().bytes();
        if let Some(slot) = self.slots.get(&key) {
            return Ok(slot.value.as_deref().map(codec::decode).transpose()?);
        }
        let value = self.committed.get(&key)?;
        let decoded = value.as_deref().map(codec::decode).transpose()?;
        self.slots.insert(key, Slot { new: value.is_none(), value, changed: false });
        Ok(decoded)
    }

    pub fn put<V: Serialize>(&mut self, key: Key, value: &V) {
        let bytes = codec::encode(value);
        let slot = self.slots.entry(key.bytes()).or_insert(Slot { value: None, new: false, changed: true });
        (slot.value, slot.changed) = (Some(bytes), true);
    }

    /// Bytes as they are.
    pub fn put_raw(&mut self, key: Key, value: &[u8]) {
        self.slots.insert(key.bytes(), Slot { value: Some(value.to_vec()), new: false, changed: true });
    }

    /// Of a key that was never there before: if it goes within this batch, nothing is written at all.
    pub fn put_new<V: Serialize>(&mut self, key: Key, value: &V) {
        self.slots.insert(key.bytes(), Slot { value: Some(codec::encode(value)), new: true, changed: true });
    }

    pub fn remove(&mut self, key: &Key) {
        self.remove_raw(key.clone().bytes());
    }

    /// By a key as it was read.
    pub fn remove_raw(&mut self, key: Vec<u8>) {
        match self.slots.get_mut(&key) {
            Some(slot) if slot.new => drop(self.slots.remove(&key)),
            Some(slot) => (slot.value, slot.changed) = (None, true),
            None => drop(self.slots.insert(key, Slot { value: None, new: false, changed: true })),
        }
    }

    /// Takes a row out, and answers what it was.
    pub fn take<V: DeserializeOwned>(&mut self, key: &Key) -> Result<Option<V>, Fault> {
        let value = self.get(key)?;
        self.remove(key);
        Ok(value)
    }

    /// The first row from a key on and before another, as rows are now.
    pub fn first(&self, from: &[u8], before: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, Fault> {
        let mut from = from.to_vec();
        loop {
            let mut committed = None;
            self.committed.visit(&from, before, Order::Ascending, &mut |key, value| {
                committed = Some((key.to_vec(), value.to_vec()));
                ControlFlow::Break(())
            })?;
            let range = (Bound::Included(from.as_slice()), Bound::Excluded(before));
            let slot = if from.as_slice() < before { self.slots.range::<[u8], _>(range).next() } else { None };
            match (slot, committed) {
                (None, committed) => return Ok(committed),
                (Some((key, _)), Some((first, value))) if first < *key => return Ok(Some((first, value))),
                (Some((key, Slot { value: Some(value), .. })), _) => return Ok(Some((key.clone(), value.clone()))),
                // it is gone
                (Some((key, _)), _) => from = [key.as_slice(), &[0]].concat(),
            }
        }
    }

    /// Rows from a key on and before another, as they are now: about so many, and where the next begin, if there are more.
    pub fn page(&self, from: &[u8], before: &[u8], limit: usize) -> Result<Page, Fault> {
        let mut rows = BTreeMap::new();
        self.committed.visit(from, before, Order::Ascending, &mut |key, value| {
            rows.insert(key.to_vec(), value.to_vec());
            if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let next = rows.last_key_value().filter(|_| rows.len() == limit).map(|(last, _)| [last.as_slice(), &[0]].concat());
        let end = next.as_deref().unwrap_or(before);
        let slots =
            if from < end { self.slots.range::<[u8], _>((Bound::Included(from), Bound::Excluded(end))) } else { Default::default() };
        for (key, slot) in slots {
            match &slot.value {
                Some(value) => drop(rows.insert(key.clone(), value.clone())),
                None => drop(rows.remove(key)),
            }
        }
        Ok(Page { rows, next })
    }

    /// What is to be written.
    pub fn changes(self) -> Changes {
        Changes(self.slots.into_iter().filter(|(_, slot)| slot.changed).map(|(key, slot)| (key, slot.value)).collect())
    }
}

/// Rows by number that one batch opens and changes often: they are written once, at its end, and not at all if they go within it.
pub(crate) struct Pending<V> {
    table: u8,
    rows: BTreeMap<u128, (V, bool)>,
}

impl<V: Serialize + DeserializeOwned> Pending<V> {
    pub fn new(table: u8) -> Pending<V> {
        Pending { table, rows: BTreeMap::new() }
    }

    fn key(&self, number: u128) -> Key {
        Key::of(self.table).u128(number)
    }

    /// A row that was never there before.
    pub fn open(&mut self, number: u128, row: V) {
        self.rows.insert(number, (row, true));
    }

    /// A row to be changed.
    pub fn change(&mut self, number: u128, draft: &mut Draft<'_>) -> Result<Option<&mut V>, Fault> {
        if !self.rows.contains_key(&number) {
            let Some(row) = draft.get(&self.key(number))? else { return Ok(None) };
            self.rows.insert(number, (row, false));
        }
        Ok(self.rows.get_mut(&number).map(|(row, _)| row))
    }

    /// Takes a row out, and answers what it was.
    pub fn take(&mut self, number: u128, draft: &mut Draft<'_>) -> Result<Option<V>, Fault> {
        match self.rows.remove(&number) {
            Some((row, true)) => Ok(Some(row)),
            Some((row, false)) => {
                draft.remove(&self.key(number));
                Ok(Some(row))
            }
            None => draft.take(&self.key(number)),
        }
    }

    /// Puts back what was taken out and changed.
    pub fn keep(&self, number: u128, row: &V, draft: &mut Draft<'_>) {
        draft.put(self.key(number), row);
    }

    /// The first from a number on.
    pub fn first(&self, from: u128) -> Option<(u128, &V)> {
        self.rows.range(from..).next().map(|(number, (row, _))| (*number, row))
    }

    pub fn flush(&mut self, draft: &mut Draft<'_>) {
        for (number, (row, new)) in std::mem::take(&mut self.rows) {
            let key = self.key(number);
            if new { draft.put_new(key, &row) } else { draft.put(key, &row) }
        }
    }
}

/// Rows by key; None: gone.
pub(crate) struct Changes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    pub fn write(&self, rows: &mut Writing<'_>) -> Result<(), store::StoreFault> {
        for (key, value) in &self.0 {
            match value {
                Some(value) => rows.put(key, value)?,
                None => rows.remove(key)?,
            }
        }
        Ok(())
    }
}
