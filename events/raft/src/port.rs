//! The journal's port on top of the log.

use crate::{
    APPEND_WAIT, LEVEL, RETRY_FIRST, RETRY_MAX, RETRY_WAIT,
    keeper::Keeper,
    machine::Machine,
    replica::Replica,
    stores::READ_BYTES,
    types::{Answer, Batch, TypeConfig, group_size},
    watch::DiskWatch,
    writer::{Failure, Writer},
};
use events::{
    State, Timestamp,
    envelope::Recorded,
    limits::ENTRY_BYTES_MAX,
    transaction::{Group, GroupOutcome},
};
use journal::{
    AppendFault, Clock, Future, Health, Journal, Observer, ReadFault, Reader, backup::Taken, check_at_the_door, history::HistoryReader,
};
use openraft::{
    async_runtime::WatchReceiver,
    error::{ClientWriteError, RaftError},
};
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use store::{StateStore, Stored};
use tokio::time::{Instant, sleep, timeout};

pub(crate) type Engine = openraft::Raft<TypeConfig, Machine>;

/// The replicated journal. See [`RaftJournal::open`].
pub struct RaftJournal {
    pub(crate) engine: Engine,
    pub(crate) replica: Arc<Mutex<Replica>>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) failure: Failure,
    pub(crate) watch: Arc<DiskWatch>,
    pub(crate) tasks: Vec<tokio::task::AbortHandle>,
    pub(crate) stopped: AtomicBool,
    /// Held until the end: another process finds the data directory taken.
    pub(crate) dir: Mutex<Option<store::DataDir>>,
}

/// What an attempt to append came to.
enum Step {
    Done(Answer),
    /// Surely not appended, and may work in a moment.
    Again(String),
    Failed(AppendFault),
}

impl RaftJournal {
    /// The later of the last entry's time and our own clock (LEDGER §7; a lone node has no other clocks to ask).
    fn entry_time(&self) -> Timestamp {
        self.clock.now().max(self.replica.lock().state.desk.time())
    }

    async fn append_groups(&self, mut groups: Vec<Group>) -> Result<Vec<GroupOutcome>, AppendFault> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(AppendFault::Stopped("it was told to".into()));
        }
        check_at_the_door(&mut groups);
        let mut outcomes = Vec::with_capacity(groups.len());
        for entry in entries_of(groups)? {
            // an entry that fails leaves those before it appended: their lanes are answered again from memory
            let answer = self.append_entry(entry).await.map_err(|fault| after(!outcomes.is_empty(), fault))?;
            outcomes.extend(answer.0);
        }
        Ok(outcomes)
    }

    async fn append_entry(&self, groups: Vec<Group>) -> Result<Answer, AppendFault> {
        let until = Instant::now() + RETRY_WAIT;
        let mut pause = RETRY_FIRST;
        let batch = Batch::new(self.entry_time(), LEVEL, groups);
        loop {
            match self.attempt(batch.clone()).await {
                Step::Done(answer) => return Ok(answer),
                Step::Failed(fault) => return Err(fault),
                Step::Again(why) if Instant::now() + pause > until => return Err(AppendFault::NotAppended(why)),
                Step::Again(_) => sleep(pause).await,
            }
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn attempt(&self, batch: Batch) -> Step {
        let Ok(written) = timeout(APPEND_WAIT, self.engine.client_write(batch)).await else {
            return Step::Failed(AppendFault::Unclear(format!("no answer within {} s", APPEND_WAIT.as_secs())));
        };
        let error = match written {
            Ok(response) => return Step::Done(response.data),
            Err(error) => error,
        };
        match error {
            RaftError::Fatal(fatal) => Step::Failed(AppendFault::Stopped(self.why(fatal.to_string()))),
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => match forward.leader_id {
                // nobody, or we ourselves in a moment: right after an election, or when the lease ran out while the disk stalled
                None => Step::Again("no leader is known".into()),
                Some(leader) if leader == *self.engine.node_id() => Step::Again("this node is not yet ready to lead".into()),
                Some(leader) => Step::Failed(AppendFault::NotAppended(format!("node {leader} leads"))),
            },
            RaftError::APIError(error) => Step::Failed(AppendFault::Unclear(error.to_string())),
        }
    }

    /// The first failure says more than what follows from it.
    fn why(&self, otherwise: String) -> String {
        self.failure.get().cloned().unwrap_or(otherwise)
    }

    fn read_now(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, ReadFault> {
        let (first, end) = {
            let mut replica = self.replica.lock();
            replica.written_before(self.keeper.written());
            (replica.tail_first(), replica.state.position())
        };
        let mut records = Vec::new();
        if from < first {
            let wanted = usize::try_from(first - from).unwrap_or(usize::MAX).min(limit);
            records = self.keeper.read(from, wanted).map_err(|error| ReadFault(error.to_string()))?;
        }
        let next = from.max(first).min(end);
        // history may answer fewer than there are: then the rest is for the next question
        if records.len() < limit && records.last().is_none_or(|record| record.envelope.n + 1 == next) {
            for leaf in self.replica.lock().tail_from(next, limit - records.len()) {
                records.push(Recorded::read(&leaf).map_err(|error| ReadFault(error.to_string()))?);
            }
        }
        Ok(records)
    }

    /// This node leads, and has applied an entry of its own term.
    pub(crate) fn leads(&self) -> Result<(), String> {
        let metrics = self.engine.metrics();
        let (leader, term) = {
            let metrics = metrics.borrow_watched();
            (metrics.current_leader, metrics.current_term)
        };
        let own = *self.engine.node_id();
        let applied = self.replica.lock().applied;
        match leader {
            None => Err("no leader is known".into()),
            Some(leader) if leader != own => Err(format!("node {leader} leads")),
            Some(_) if applied.is_none_or(|applied| applied.leader_id.term != term) => Err("the log is still being applied".into()),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn failed(&self) -> Option<String> {
        if let Some(first) = self.failure.get() {
            return Some(first.clone());
        }
        if self.stopped.load(Ordering::Acquire) {
            return Some("it was told to stop".into());
        }
        let metrics = self.engine.metrics();
        let running = metrics.borrow_watched().running_state.clone();
        running.err().map(|fatal| fatal.to_string())
    }

    async fn stop_now(&self) {
        if self.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.engine.shutdown().await {
            tracing::error!(%error, "the log's engine did not end well");
        }
        self.replica.lock().close();
        if self.failure.get().is_none()
            && let Err(error) = self.keeper.flush().await
        {
            self.failure.set(format!("at the end: {error}"));
        }
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
        self.writer.stop();
        self.keeper.stop();
        self.dir.lock().take();
    }
}

/// A fault behind an entry that was appended: what was sent is unclear as a whole.
fn after(some_appended: bool, fault: AppendFault) -> AppendFault {
    match fault {
        AppendFault::NotAppended(why) if some_appended => AppendFault::Unclear(format!("appended in part: {why}")),
        fault => fault,
    }
}

/// Packs groups, in order, into entries of at most [`ENTRY_BYTES_MAX`].
fn entries_of(groups: Vec<Group>) -> Result<Vec<Vec<Group>>, AppendFault> {
    let mut entries: Vec<Vec<Group>> = Vec::with_capacity(1);
    let mut bytes = 0;
    for group in groups {
        let size = group_size(&group);
        if size > ENTRY_BYTES_MAX {
            return Err(AppendFault::NotAppended(format!("a group of {size} bytes is too big")));
        }
        bytes += size;
        match entries.last_mut() {
            Some(entry) if bytes <= ENTRY_BYTES_MAX => entry.push(group),
            _ => {
                bytes = size;
                entries.push(vec![group]);
            }
        }
    }
    Ok(entries)
}

/// What followers read: history and what is stored of the state, without the core thread.
struct FromHistory {
    history: HistoryReader,
    state: Arc<StateStore>,
    cluster: [u8; 16],
}

impl Reader for FromHistory {
    fn end(&self) -> u64 {
        self.history.len()
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, ReadFault> {
        self.history.read(from, limit, READ_BYTES).map_err(|error| ReadFault(error.to_string()))
    }

    fn taken(&self) -> Result<Taken, ReadFault> {
        let Stored { rows, meta } = self.state.stored().map_err(|error| ReadFault(error.to_string()))?.unwrap_or_default();
        let store::Meta { n, frontier, digests, time, .. } = meta;
        Ok(Taken { cluster: self.cluster, n, frontier, digests, time, rows })
    }
}

impl Journal for RaftJournal {
    fn append(&self, groups: Vec<Group>) -> Future<'_, Result<Vec<GroupOutcome>, AppendFault>> {
        Box::pin(self.append_groups(groups))
    }

    fn view(&self, look: &mut dyn FnMut(&State)) {
        look(&self.replica.lock().state);
    }

    fn read(&self, from: u64, limit: usize) -> Future<'_, Result<Vec<Recorded>, ReadFault>> {
        Box::pin(async move { self.read_now(from, limit) })
    }

    fn reader(&self) -> Arc<dyn Reader> {
        let stores = self.keeper.stores();
        let cluster = self.dir.lock().as_ref().map_or([0; 16], |dir| dir.cluster);
        Arc::new(FromHistory { history: stores.reader(), state: stores.state(), cluster })
    }

    fn observe(&self, observer: Box<dyn Observer>) {
        self.replica.lock().observe(observer);
    }

    fn health(&self) -> Health {
        match (self.failed(), self.leads()) {
            (Some(why), _) => Health::Failed(why),
            (None, Err(why)) => Health::Waiting(why),
            (None, Ok(())) if self.watch.is_low() => Health::DiskLow,
            (None, Ok(())) => Health::Ready,
        }
    }

    fn stop(&self) -> Future<'_, ()> {
        Box::pin(self.stop_now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use events::transaction::{Proposal, Transaction};
    use events::{StreamId, TenantId, envelope::Principal};

    fn group(bytes: usize) -> Group {
        let body = vec![0; bytes];
        let proposal = Proposal::read(StreamId::Tenant(TenantId(1)), Principal::System, 0, body);
        Group { sequence: None, transactions: vec![Some(Transaction { events: vec![proposal], ..Transaction::default() })] }
    }

    #[test]
    fn groups_are_packed_in_order() {
        let sizes = [ENTRY_BYTES_MAX / 2, ENTRY_BYTES_MAX / 3, ENTRY_BYTES_MAX / 3, 10, ENTRY_BYTES_MAX - 1000];
        let groups: Vec<Group> = sizes.iter().map(|bytes| group(*bytes)).collect();
        let entries = entries_of(groups.clone()).unwrap();
        assert_eq!(entries.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(entries.into_iter().flatten().collect::<Vec<_>>(), groups);
        assert!(entries_of(vec![group(ENTRY_BYTES_MAX)]).is_err());
        assert!(entries_of(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_fault_behind_an_appended_entry_is_unclear() {
        let fault = || AppendFault::NotAppended("no".into());
        assert_eq!(after(false, fault()), fault());
        assert!(matches!(after(true, fault()), AppendFault::Unclear(_)));
    }
}
