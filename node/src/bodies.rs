//! The request log: bodies of calls, kept apart from the history. One thread masks, seals and writes them, behind a queue that is bounded by
//! bytes; no call waits for it, and what it cannot keep is counted.

mod shape;
mod store;

use crate::vault::Vault;
use actors::{
    bodies::Kept,
    ports::{Bodies, Later},
    root::Core,
};
use events::{CallId, Event, State, StreamId, TenantId, Timestamp, envelope::Recorded, limits, tenant};
use journal::{Observer, disk::Disk};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use store::{DataKey, Gone, Store};
use tokio::sync::oneshot;

/// The thread looks for what is too old so often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// How much of the disk is free is asked so often.
const FREE_EVERY: Duration = Duration::from_secs(1);
/// A disk that does not take bodies is told of once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

enum Job {
    Keep(Kept),
    Find(CallId, BTreeSet<TenantId>, oneshot::Sender<Option<(TenantId, Value)>>),
    Erase(TenantId, Option<oneshot::Sender<u64>>),
    Stop,
}

/// The way to the thread. Cheap to clone.
#[derive(Clone)]
pub struct RequestLog {
    jobs: mpsc::Sender<Job>,
    /// Bytes of bodies that wait.
    waiting: Arc<AtomicUsize>,
    dropped: Counter,
}

/// What the thread is made with.
pub struct Settings {
    pub disk: Arc<dyn Disk>,
    pub bytes_max: u64,
    /// Below so many free bytes nothing is written.
    pub disk_low: u64,
}

/// The thread.
pub struct Runner {
    log: RequestLog,
    thread: JoinHandle<()>,
}

impl RequestLog {
    /// Starts the thread, which follows the journal for tenants that are closed or erased.
    ///
    /// # Errors
    /// No thread or folder could be had.
    pub fn start(core: Core, vault: Vault, settings: Settings) -> io::Result<(RequestLog, Runner)> {
        describe_counter!("tollgate_request_log_records_total", "Calls whose bodies were to be kept, and what became of them.");
        describe_gauge!("tollgate_request_log_bytes", "Bytes of bodies that are kept.");
        let figures = Figures::default();
        let (jobs, jobs_in) = mpsc::channel();
        let log = RequestLog { jobs, waiting: Arc::default(), dropped: figures.dropped.clone() };
        core.journal.observe(Box::new(Watcher(log.jobs.clone())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let waiting = log.waiting.clone();
        let thread = std::thread::Builder::new().name("bodies".into()).spawn(move || {
            let store = settings.disk.folder("bodies").and_then(|folder| Store::open(folder, settings.bytes_max));
            let store = match store {
                Ok(store) => store,
                Err(error) => return tracing::error!(%error, "bodies of calls cannot be kept"),
            };
            let clock = core.clock.clone();
            let desk = Desk { store, core, vault, runtime, settings, figures, keys: BTreeMap::new(), free: None, warned: None };
            desk.run(&jobs_in, &waiting, &|| clock.now());
        })?;
        let runner = Runner { log: log.clone(), thread };
        Ok((log, runner))
    }
}

impl Runner {
    /// Writes what waits, and ends.
    pub fn stop(self) {
        let _ = self.log.jobs.send(Job::Stop); // it has ended
        let _ = self.thread.join(); // a panic there was told by the hook
    }
}

impl Bodies for RequestLog {
    fn keep(&self, kept: Kept) {
        let bytes = kept.bytes();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > limits::REQUEST_LOG_QUEUE_BYTES_MAX || self.jobs.send(Job::Keep(kept)).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.increment(1);
        }
    }

    fn find(&self, call: CallId, tenants: BTreeSet<TenantId>) -> Later<Option<(TenantId, Value)>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Find(call, tenants, reply)); // without it there is no answer
        Box::pin(async move { answer.await.ok() })
    }

    fn erase(&self, tenant: TenantId) -> Later<u64> {
        let (reply, answer) = oneshot::channel();
        let _ = self.jobs.send(Job::Erase(tenant, Some(reply))); // without it there is no answer
        Box::pin(async move { answer.await.ok() })
    }
}

/// Tells the thread of tenants whose key was destroyed.
struct Watcher(mpsc::Sender<Job>);

impl Observer for Watcher {
    fn applied(&mut self, _state: &State, records: &[Recorded], _due: &[StreamId]) {
        for record in records {
            if let Event::Tenant(id, tenant::Event::Closed | tenant::Event::BodiesErased) = &*record.event {
                let _ = self.0.send(Job::Erase(*id, None)); // the thread has ended
            }
        }
    }
}

struct Figures {
    kept: Counter,
    truncated: Counter,
    dropped: Counter,
    evicted: Counter,
    bytes: Gauge,
}

impl Default for Figures {
    fn default() -> Figures {
        let of = |result: &'static str| {
            let counter = counter!("tollgate_request_log_records_total", "result" => result);
            counter.absolute(0);
            counter
        };
        let bytes = gauge!("tollgate_request_log_bytes");
        bytes.set(0.0);
        Figures { kept: of("kept"), truncated: of("truncated"), dropped: of("dropped"), evicted: of("evicted"), bytes }
    }
}

/// What the thread works with.
struct Desk {
    store: Store,
    core: Core,
    vault: Vault,
    runtime: tokio::runtime::Runtime,
    settings: Settings,
    figures: Figures,
    keys: BTreeMap<TenantId, DataKey>,
    /// When it was asked, and whether enough of the disk was free.
    free: Option<(Instant, bool)>,
    warned: Option<Instant>,
}

impl Desk {
    fn run(mut self, jobs: &mpsc::Receiver<Job>, waiting: &AtomicUsize, now: &dyn Fn() -> Timestamp) {
        self.forget_the_keyless();
        let mut looked: Option<Instant> = None;
        loop {
            if looked.is_none_or(|at| at.elapsed() >= EXPIRE_EVERY) {
                looked = Some(Instant::now());
                let expired = self.store.expire(now());
                self.gone(expired, false);
            }
            match jobs.recv_timeout(EXPIRE_EVERY) {
                Ok(Job::Keep(kept)) => {
                    let bytes = kept.bytes();
                    self.keep(&kept);
                    drop(kept);
                    waiting.fetch_sub(bytes, Ordering::Relaxed);
                }
                Ok(Job::Find(call, tenants, reply)) => drop(reply.send(self.find(call, &tenants, now()))),
                Ok(Job::Erase(tenant, reply)) => {
                    self.keys.remove(&tenant);
                    let before = self.store.bytes();
                    let erased = self.store.erase(|of| of == tenant);
                    self.gone(erased, false);
                    let erased = before - self.store.bytes();
                    reply.map(|reply| reply.send(erased));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// The node may have ended between the end of a key and that of its files.
    fn forget_the_keyless(&mut self) {
        if let Some(tenants) = self.runtime.block_on(self.core.data_keys()) {
            let erased = self.store.erase(|of| !tenants.contains(&of));
            self.gone(erased, false);
        }
    }

    fn keep(&mut self, kept: &Kept) {
        let (record, cut) = shape::record(kept);
        let of = (kept.tenant, kept.call);
        let key = if self.has_room() { self.key(kept.tenant) } else { None };
        let Some(key) = key else { return self.figures.dropped.increment(1) };
        let keep_hours = kept.rules.keep_hours.min(limits::REQUEST_LOG_HOURS_MAX);
        let appended = self.store.append(kept.at, of, keep_hours, &key, record.to_string().as_bytes());
        match &appended {
            Ok(_) if cut => self.figures.truncated.increment(1),
            Ok(_) => self.figures.kept.increment(1),
            Err(_) => self.figures.dropped.increment(1),
        }
        self.gone(appended, true);
    }

    fn find(&mut self, call: CallId, tenants: &BTreeSet<TenantId>, now: Timestamp) -> Option<(TenantId, Value)> {
        let found = match self.store.find(call, tenants, now) {
            Ok(found) => found?,
            Err(error) => {
                self.warn(&error);
                return None;
            }
        };
        let key = self.key(found.tenant)?;
        let mut record: Value = serde_json::from_slice(&found.open(&key)?).ok()?;
        if let Value::Object(fields) = &mut record {
            fields.insert("at".into(), found.at.to_string().into());
            fields.insert("expires_at".into(), found.expires_at.to_string().into());
        }
        Some((found.tenant, shape::shown(record)))
    }

    /// A tenant's data key, made when it is first needed.
    fn key(&mut self, tenant: TenantId) -> Option<DataKey> {
        if let Some(key) = self.keys.get(&tenant) {
            return Some(*key);
        }
        let note = self.runtime.block_on(self.core.data_key(tenant, self.vault.fresh_data_key(tenant)))?;
        let key = self.vault.unseal_data_key(tenant, &note);
        match key {
            Some(key) => drop(self.keys.insert(tenant, key)),
            None => tracing::error!(%tenant, "the data key of a tenant cannot be opened with this master key"),
        }
        key
    }

    fn has_room(&mut self) -> bool {
        let known = self.free.filter(|(at, _)| at.elapsed() < FREE_EVERY);
        let (_, room) = *self.free.insert(known.unwrap_or_else(|| {
            let room = self.settings.disk.free_space().is_ok_and(|free| free >= self.settings.disk_low);
            (Instant::now(), room)
        }));
        room
    }

    /// What the store let go is counted; what the disk did not do is told.
    fn gone(&mut self, gone: io::Result<Gone>, is_evicted: bool) {
        match gone {
            Ok(gone) if is_evicted => self.figures.evicted.increment(gone.records),
            Ok(_) => {}
            Err(error) => self.warn(&error),
        }
        self.figures.bytes.set(self.store.bytes() as f64);
    }

    fn warn(&mut self, error: &io::Error) {
        if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned = Some(Instant::now());
            tracing::warn!(%error, "the disk does not do as the request log asks");
        }
    }
}
