//! A projection as its readers see it, from any thread.

use crate::{
    Fault,
    follower::Checkpoint,
    world::{Shared, World},
};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};
use store::{Reading, Rows, rows::Order};

/// How a projection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It follows the history.
    Following,
    /// It is built anew; what is there is served meanwhile.
    Rebuilding,
    /// It stopped, and says why. Rebuilding it is the cure.
    Failed(String),
}

/// See the module.
pub struct View {
    name: &'static str,
    /// None: they could not be opened.
    rows: ArcSwapOption<Rows>,
    world: ArcSwap<World>,
    /// Events that its rows are made of.
    next: AtomicU64,
    status: Mutex<Status>,
    /// Why it was not built anew, when somebody last wanted that.
    not_rebuilt: Mutex<Option<String>>,
    /// A thread leads it.
    is_led: bool,
    /// Somebody wants it built anew.
    rebuild: AtomicBool,
    /// How often it was.
    rebuilds: AtomicU64,
}

impl View {
    pub(crate) fn new(name: &'static str, rows: Arc<Rows>, world: Shared, next: u64) -> View {
        View {
            rows: ArcSwapOption::new(Some(rows)),
            world: ArcSwap::new(world),
            next: AtomicU64::new(next),
            status: Mutex::new(Status::Following),
            ..View::lost(name, String::new(), true)
        }
    }

    /// Of rows that cannot be opened: whoever asks is told why. `is_led`: there is a thread that may build it anew.
    pub(crate) fn lost(name: &'static str, why: String, is_led: bool) -> View {
        View {
            name,
            rows: ArcSwapOption::empty(),
            world: ArcSwap::default(),
            next: AtomicU64::new(0),
            status: Mutex::new(Status::Failed(why)),
            not_rebuilt: Mutex::default(),
            is_led,
            rebuild: AtomicBool::new(false),
            rebuilds: AtomicU64::new(0),
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Events that its rows are made of: the position behind the last.
    pub fn next(&self) -> u64 {
        self.next.load(Acquire)
    }

    pub fn status(&self) -> Status {
        self.status.lock().clone()
    }

    /// How often it was built anew since the node started.
    pub fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Acquire)
    }

    /// Has it built anew from the whole history, while it goes on serving.
    pub fn ask_rebuild(&self) {
        if self.is_led {
            *self.not_rebuilt.lock() = None;
            self.set_status(Status::Rebuilding);
            self.rebuild.store(true, Release);
        }
    }

    /// Why it was not built anew, when somebody last wanted that.
    pub fn not_rebuilt(&self) -> Option<String> {
        self.not_rebuilt.lock().clone()
    }

    pub(crate) fn set_not_rebuilt(&self, why: &str) {
        *self.not_rebuilt.lock() = Some(why.to_owned());
    }

    pub(crate) fn take_rebuild(&self) -> bool {
        self.rebuild.swap(false, AcqRel)
    }

    pub(crate) fn set_status(&self, status: Status) {
        *self.status.lock() = status;
    }

    pub(crate) fn moved(&self, next: u64) {
        self.next.store(next, Release);
    }

    pub(crate) fn set_world(&self, world: Shared) {
        self.world.store(world);
    }

    /// Puts what was built anew in the place of what there was.
    pub(crate) fn replace(&self, rows: Arc<Rows>, world: Shared, next: u64) {
        self.rows.store(Some(rows));
        self.world.store(world);
        self.next.store(next, Release);
        self.rebuilds.fetch_add(1, AcqRel);
    }

    /// Does something with its rows as of one moment. Waits for the disk.
    pub fn read<R, E: From<Fault>>(&self, act: impl FnOnce(&Snapshot<'_>) -> Result<R, E>) -> Result<R, E> {
        let (rows, world) = (self.rows.load_full(), self.world.load_full());
        let rows = rows.ok_or_else(|| match self.status() {
            Status::Failed(why) => Fault(why),
            _ => Fault("it is built anew".into()),
        })?;
        let reading = rows.reading().map_err(Fault::from)?;
        let meta = reading.meta().map_err(Fault::from)?;
        let next = meta.map_or(Ok(0), |meta| Checkpoint::read(&meta).map(|checkpoint| checkpoint.next))?;
        act(&Snapshot { rows: &reading, world: &world, next })
    }

    /// A digest over keys and values in order, and the position that it is as of: equal after every rebuild.
    pub fn digest(&self) -> Result<(u64, String), Fault> {
        self.read(|snapshot| Ok((snapshot.next, digest(snapshot.rows)?)))
    }
}

/// Over keys and values in order.
pub(crate) fn digest(rows: &Reading<'_>) -> Result<String, Fault> {
    let mut digest = Sha256::new();
    rows.visit(&[], &[u8::MAX; 64], Order::Ascending, &mut |key, value| {
        digest.update((key.len() as u32).to_le_bytes());
        digest.update(key);
        digest.update((value.len() as u32).to_le_bytes());
        digest.update(value);
        ControlFlow::Continue(())
    })?;
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Rows as of one moment, and the names that belong to them.
pub struct Snapshot<'a> {
    pub(crate) rows: &'a Reading<'a>,
    pub world: &'a World,
    next: u64,
}

impl Snapshot<'_> {
    /// Events that the rows are made of.
    pub fn next(&self) -> u64 {
        self.next
    }
}
