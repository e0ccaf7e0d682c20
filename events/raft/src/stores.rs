//! shim
use crate::{
    keeper::Ear,
    types::{LogId, Membership},
};
use events::{State, Timestamp, envelope::Recorded, state::Digests, table::Change};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub applied: Option<LogId>,
    pub membership: Membership,
    pub n: u64,
    pub digests: Digests,
    pub time: Timestamp,
}
pub(crate) struct HandOver {
    pub leaves: Vec<Arc<[u8]>>,
    pub changes: Vec<Change>,
    pub mark: Mark,
}
#[derive(Default)]
struct Mem {
    leaves: Vec<Arc<[u8]>>,
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    mark: Option<Mark>,
}
pub(crate) struct Stored {
    pub mark: Mark,
    rows: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
}
pub(crate) struct Stores {
    mem: Mutex<Mem>,
    ear: Ear,
}
impl Stores {
    pub fn new(ear: Ear) -> Stores {
        Stores { mem: Mutex::default(), ear }
    }
    pub fn hand_over(&self, batch: HandOver) -> io::Result<()> {
        let mut mem = self.mem.lock();
        mem.leaves.extend(batch.leaves);
        for change in batch.changes {
            match change.value {
                Some(value) => {
                    mem.rows.insert((change.table, change.key), value);
                }
                None => {
                    mem.rows.remove(&(change.table, change.key));
                }
            }
        }
        mem.mark = Some(batch.mark.clone());
        self.ear.written(batch.mark.n);
        self.ear.synced(batch.mark);
        Ok(())
    }
    pub async fn flush(&self) -> io::Result<()> {
        Ok(())
    }
    pub fn read(&self, from: u64, limit: usize) -> io::Result<Vec<Recorded>> {
        self.mem.lock().leaves.iter().skip(from as usize).take(limit).map(|leaf| Recorded::read(leaf).map_err(io::Error::other)).collect()
    }
    pub fn stored(&self) -> io::Result<Option<Stored>> {
        let mem = self.mem.lock();
        Ok(mem.mark.clone().map(|mark| Stored { mark, rows: mem.rows.clone() }))
    }
    pub async fn install(&self, stored: Stored) -> io::Result<(State, Mark)> {
        let mut state = State::default();
        for ((table, key), value) in &stored.rows {
            state.load(*table, key, value).map_err(io::Error::other)?;
        }
        state.loaded();
        let mut mem = self.mem.lock();
        mem.rows = stored.rows;
        mem.mark = Some(stored.mark.clone());
        Ok((state, stored.mark))
    }
    pub fn stop(&self) {}
}
