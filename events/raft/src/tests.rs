//! openraft's own suite over log and state machine, on a disk in memory.

use crate::{
    keeper::{Ear, Keeper},
    log::Log,
    machine::Machine,
    replica::Replica,
    stores::Stores,
    types::{Membership, TypeConfig},
    writer::Failure,
};
use journal::{disk::MemoryDisk, history::History, log::SegmentLog};
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use parking_lot::Mutex;
use std::sync::Arc;
use store::{StateStore, state::CACHE_BYTES};

struct Fresh;

impl StoreBuilder<TypeConfig, Log, Machine, ()> for Fresh {
    async fn build(&self) -> Result<((), Log, Machine), StorageError<TypeConfig>> {
        let failure = Failure::new(Arc::new(|what| panic!("a store failed: {what}")));
        let (log, notes) = SegmentLog::open(Arc::new(MemoryDisk::new())).expect("an empty disk opens");
        assert!(notes.is_empty());
        let reader = log.reader();
        let log = Log::new(Box::new(log), reader, failure.clone()).expect("an empty log opens");
        let mut replica = Replica::new(events::State::default(), None, Membership::default());
        replica.skips = true;
        let replica = Arc::new(Mutex::new(replica));
        let ear = Ear::new(0, None);
        let (history, _) = History::open(Arc::new(MemoryDisk::new())).expect("an empty disk opens");
        let rows = StateStore::open(&MemoryDisk::new(), CACHE_BYTES).expect("an empty disk opens");
        let stores = Stores::start(history, rows, None, ear.clone(), failure.clone()).expect("empty stores start");
        let keeper = Arc::new(Keeper::new(replica.clone(), stores, ear, failure.clone()));
        let machine = Machine { replica, keeper, log: log.applied(), failure };
        Ok(((), log, machine))
    }
}

#[tokio::test]
async fn openraft_s_storage_suite_passes() {
    Suite::test_all(Fresh).await.expect("the suite passes");
}
