//! Entries that are not yet on disk, and those that `apply` still wants. An entry leaves only when it is durable: one that left
//! earlier was once skipped by a follower without a word.

use crate::types::Entry;
use std::collections::VecDeque;

/// Entries that are durable may leave before they are applied above this many bytes: a few of the largest entries.
pub(crate) const CACHE_BYTES_MAX: usize = 32 << 20;

/// Consecutive entries, the newest last.
#[derive(Default)]
pub(crate) struct Cache {
    /// The index of the front.
    first: u64,
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
    /// Everything before this index is on disk.
    durable: u64,
    /// Everything before this index is applied.
    applied: u64,
}

impl Cache {
    /// The index behind the last entry, if there is any.
    pub fn end(&self) -> Option<u64> {
        (!self.entries.is_empty()).then(|| self.first + self.entries.len() as u64)
    }

    /// The index of the oldest entry, if there is any.
    pub fn first(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    /// Takes in an entry behind the last one; `bytes` is its size, about.
    ///
    /// # Errors
    /// Names the index that is next, if this is not it.
    pub fn push(&mut self, entry: Entry, bytes: usize) -> Result<(), u64> {
        let index = entry.log_id.index;
        match self.end() {
            None => self.first = index,
            Some(end) if end != index => return Err(end),
            Some(_) => {}
        }
        // an index that is written again is no longer on disk in its new form
        self.durable = self.durable.min(index);
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        Ok(())
    }

    /// The entries of `from..to` that are here; always consecutive and up to the end of what is here.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        let start = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.entries.len());
        let end = usize::try_from(to.saturating_sub(self.first)).unwrap_or(usize::MAX).clamp(start, self.entries.len());
        self.entries.range(start..end).map(|(entry, _)| entry)
    }

    /// Everything before `index` is on disk.
    pub fn durable_before(&mut self, index: u64) {
        self.durable = self.durable.max(index);
        self.evict();
    }

    /// Everything before `index` is applied.
    pub fn applied_before(&mut self, index: u64) {
        self.applied = self.applied.max(index);
        self.evict();
    }

    /// Forgets entries from `index` on.
    pub fn truncate_from(&mut self, index: u64) {
        self.durable = self.durable.min(index);
        while self.end().is_some_and(|end| end > index) {
            self.pop(VecDeque::pop_back);
        }
    }

    /// Forgets entries before `index`, durable or not: nobody asks for them again.
    pub fn purge_before(&mut self, index: u64) {
        while self.first().is_some_and(|first| first < index) {
            self.pop_front();
        }
    }

    fn evict(&mut self) {
        while self.first().is_some_and(|first| first < self.durable && (first < self.applied || self.bytes > CACHE_BYTES_MAX)) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        self.pop(VecDeque::pop_front);
        self.first += 1;
    }

    fn pop(&mut self, side: fn(&mut VecDeque<(Entry, usize)>) -> Option<(Entry, usize)>) {
        if let Some((_, bytes)) = side(&mut self.entries) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{LogId, TypeConfig};
    use openraft::{EntryPayload, entry::RaftEntry, vote::RaftLeaderId};

    fn entry(index: u64) -> Entry {
        let leader = <TypeConfig as openraft::RaftTypeConfig>::LeaderId::new(1, 1);
        Entry::new(LogId::new(leader.to_committed(), index), EntryPayload::Blank)
    }

    fn indices(cache: &Cache, from: u64, to: u64) -> Vec<u64> {
        cache.range(from, to).map(|entry| entry.log_id.index).collect()
    }

    fn filled(range: std::ops::Range<u64>, bytes: usize) -> Cache {
        let mut cache = Cache::default();
        range.for_each(|index| cache.push(entry(index), bytes).unwrap());
        cache
    }

    #[test]
    fn an_entry_stays_until_it_is_durable_and_applied() {
        let mut cache = filled(5..10, 10);
        cache.applied_before(8);
        assert_eq!(indices(&cache, 0, 99), [5, 6, 7, 8, 9], "applied but not durable");
        cache.durable_before(7);
        assert_eq!(indices(&cache, 0, 99), [7, 8, 9]);
        cache.durable_before(10);
        assert_eq!(indices(&cache, 0, 99), [8, 9], "durable but not applied");
        assert_eq!(indices(&cache, 9, 10), [9]);
        assert_eq!(cache.push(entry(11), 1), Err(10));
    }

    #[test]
    fn above_its_bound_it_keeps_what_is_not_durable() {
        let mut cache = filled(0..4, CACHE_BYTES_MAX / 2);
        assert_eq!(cache.end(), Some(4));
        cache.durable_before(3);
        assert_eq!(indices(&cache, 0, 99), [2, 3]);
    }

    #[test]
    fn what_is_truncated_and_written_again_is_not_durable() {
        let mut cache = filled(0..6, 10);
        cache.durable_before(6);
        cache.truncate_from(3);
        cache.push(entry(3), 10).unwrap();
        cache.applied_before(4);
        assert_eq!(indices(&cache, 0, 99), [3]);
        cache.purge_before(4);
        assert_eq!((cache.first(), cache.end()), (None, None));
    }
}
