//! A table of the state: rows in order, a digest that is the sum of the rows' hashes, and the rows that changed since they were last written.

use crate::{
    AlertId, BudgetId, CallId, KeyId, ModelId, NodeId, NoteId, Owner, ProviderId, ScopeId, StreamId, TenantId, Timestamp, TokenId,
    WebhookId,
    codec::{self, Undecodable},
};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::xxh3_128;

/// A key that stores in order as big-endian bytes.
pub trait RowKey: Ord + Copy {
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// A row that changed: its bytes, or None where it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub table: u8,
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct Row<V> {
    value: V,
    /// What the digest holds for it: 0 until it is settled.
    hash: u128,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Table<K, V> {
    number: u8,
    rows: BTreeMap<K, Row<V>>,
    dirty: BTreeSet<K>,
    digest: u128,
}

/// The hash of one row, also of a stored one.
pub fn row_hash(table: u8, key: &[u8], value: &[u8]) -> u128 {
    let mut bytes = Vec::with_capacity(5 + key.len() + value.len());
    bytes.push(table);
    bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    xxh3_128(&bytes)
}

impl<K: RowKey, V: Serialize + DeserializeOwned> Table<K, V> {
    /// An empty table with a number of its own.
    pub fn new(number: u8) -> Table<K, V> {
        Table { number, rows: BTreeMap::new(), dirty: BTreeSet::new(), digest: 0 }
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key).map(|row| &row.value)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, row)| (key, &row.value))
    }

    /// Rows of a range, in order.
    pub fn range<R: std::ops::RangeBounds<K>>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.range(range).map(|(key, row)| (key, &row.value))
    }

    /// A row to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let row = self.rows.get_mut(key)?;
        self.dirty.insert(*key);
        Some(&mut row.value)
    }

    pub fn insert(&mut self, key: K, value: V) {
        self.dirty.insert(key);
        match self.rows.get_mut(&key) {
            Some(row) => row.value = value,
            None => {
                self.rows.insert(key, Row { value, hash: 0 });
            }
        }
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let row = self.rows.remove(key)?;
        self.digest = self.digest.wrapping_sub(row.hash);
        self.dirty.insert(*key);
        Some(row.value)
    }

    /// Brings the digest up to date and hands out what changed since the last time.
    pub fn settle(&mut self, changes: &mut Vec<Change>) {
        for key in std::mem::take(&mut self.dirty) {
            let mut bytes = Vec::with_capacity(32);
            key.write(&mut bytes);
            let value = self.rows.get_mut(&key).map(|row| {
                let value = codec::encode(&row.value);
                let hash = row_hash(self.number, &bytes, &value);
                self.digest = self.digest.wrapping_sub(row.hash).wrapping_add(hash);
                row.hash = hash;
                value
            });
            changes.push(Change { table: self.number, key: bytes, value });
        }
    }

    /// The sum of the rows' hashes as of the last [`Table::settle`].
    pub fn digest(&self) -> u128 {
        self.digest
    }

    /// Takes in a stored row; it counts as written.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), Undecodable> {
        let hash = row_hash(self.number, key, value);
        let key = K::read(key).ok_or_else(|| Undecodable(format!("key of table {}", self.number)))?;
        let row = Row { value: codec::decode(value)?, hash };
        self.digest = self.digest.wrapping_add(hash);
        match self.rows.insert(key, row) {
            None => Ok(()),
            Some(_) => Err(Undecodable(format!("a row twice in table {}", self.number))),
        }
    }
}

impl<K: RowKey, V: Serialize + DeserializeOwned + Default> Table<K, V> {
    /// A row to be changed, made if it is not there.
    pub fn entry(&mut self, key: K) -> &mut V {
        self.dirty.insert(key);
        &mut self.rows.entry(key).or_insert_with(|| Row { value: V::default(), hash: 0 }).value
    }
}

macro_rules! number_keys {
    ($($name:ident)*) => {$(
        impl RowKey for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.0.to_be_bytes());
            }
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(|bytes| $name(u64::from_be_bytes(bytes)))
            }
        }
    )*};
}

number_keys!(TenantId ScopeId KeyId ProviderId ModelId BudgetId NodeId TokenId WebhookId Timestamp);

impl RowKey for CallId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| CallId(u128::from_be_bytes(bytes)))
    }
}

impl RowKey for AlertId {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(AlertId(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl RowKey for () {
    fn write(&self, _out: &mut Vec<u8>) {}
    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl RowKey for (BudgetId, Timestamp) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (budget, start) = bytes.split_at_checked(8)?;
        Some((BudgetId::read(budget)?, Timestamp::read(start)?))
    }
}

impl RowKey for (TenantId, [u8; 16]) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        out.extend_from_slice(&self.1);
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (tenant, key) = bytes.split_at_checked(8)?;
        Some((TenantId::read(tenant)?, key.try_into().ok()?))
    }
}

impl RowKey for (NodeId, u16) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        out.extend_from_slice(&self.1.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (node, lane) = bytes.split_at_checked(8)?;
        Some((NodeId::read(node)?, u16::from_be_bytes(lane.try_into().ok()?)))
    }
}

impl RowKey for StreamId {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, number) = self.to_parts();
        out.push(kind);
        out.extend_from_slice(&number.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, number) = bytes.split_first()?;
        StreamId::from_parts(*kind, u128::from_be_bytes(number.try_into().ok()?))
    }
}

impl RowKey for Owner {
    fn write(&self, out: &mut Vec<u8>) {
        let (kind, number) = self.to_parts();
        out.push(kind);
        out.extend_from_slice(&number.to_be_bytes());
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, number) = bytes.split_first()?;
        Owner::from_parts(*kind, u64::from_be_bytes(number.try_into().ok()?))
    }
}

impl RowKey for NoteId {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            NoteId::ProviderSecret(id) => {
                out.push(1);
                id.write(out);
            }
            NoteId::Cluster => out.push(2),
            NoteId::Answer(slot) => {
                out.push(3);
                out.extend_from_slice(slot);
            }
            NoteId::TenantDataKey(id) => {
                out.push(4);
                id.write(out);
            }
            NoteId::WebhookSecret(id) => {
                out.push(5);
                id.write(out);
            }
            NoteId::WebhookPosition(id) => {
                out.push(6);
                id.write(out);
            }
        }
    }
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (1, id) => ProviderId::read(id).map(NoteId::ProviderSecret),
            (2, []) => Some(NoteId::Cluster),
            (3, slot) => slot.try_into().ok().map(NoteId::Answer),
            (4, id) => TenantId::read(id).map(NoteId::TenantDataKey),
            (5, id) => WebhookId::read(id).map(NoteId::WebhookSecret),
            (6, id) => WebhookId::read(id).map(NoteId::WebhookPosition),
            _ => None,
        }
    }
}
