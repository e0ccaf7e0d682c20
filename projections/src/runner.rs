//! The thread that leads all projections along the history, and the threads that build one anew.

use crate::{
    ALL, Fault, Projection, Status, View,
    follower::{Batch, FOLDER, Follower, Place},
};
use journal::{Reader, disk::Disk};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{JoinHandle, Thread},
    time::{Duration, Instant},
};
use store::Rows;

/// Events that one transaction takes in at most: rows that they share are written once (ENGINE §9).
const BATCH_EVENTS: u64 = 20_000;
/// Events that are read at once.
const READ_EVENTS: usize = 5_000;
/// Somebody is waited for so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What nobody asks for is taken in so often: the longer, the fewer rows are written.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// What was written is made durable so often: after a crash so much is folded again.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// After a start, the log may take so long to bring the history up to where a projection was.
const REACH_WAIT: Duration = Duration::from_secs(30);
/// Of each file's cache: the kernel's does the rest.
const CACHE_BYTES: usize = 4 << 20;

/// All projections as readers see them.
#[derive(Clone)]
pub struct Projections {
    views: Arc<[Arc<View>]>,
    reader: Arc<dyn Reader>,
    asked: Arc<AtomicBool>,
    thread: Thread,
}

impl Projections {
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    pub fn view(&self, name: &str) -> Option<&Arc<View>> {
        self.views.iter().find(|view| view.name() == name)
    }

    /// Somebody waits for what is in the history and not in the views.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Events in the history that a view does not show yet.
    pub fn lag(&self, view: &View) -> u64 {
        self.reader.end().saturating_sub(view.next())
    }
}

/// The threads.
pub struct Runner {
    stop: Arc<AtomicBool>,
    /// None: there is nothing to lead.
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Opens all projections in their folder of `root`, and follows the history; one that cannot be opened has failed, and touches nothing
    /// else. Below `disk_low` bytes of free disk they wait: what is left is for the journal.
    ///
    /// # Errors
    /// There is no thread for them.
    pub fn start(reader: Arc<dyn Reader>, root: &dyn Disk, disk_low: u64) -> Result<(Projections, Runner), Fault> {
        let disk = match root.folder(FOLDER) {
            Ok(disk) => disk,
            Err(error) => return Ok(Runner::idle(reader, &format!("{FOLDER}/: {error}; the next start tries again"))),
        };
        let place = Place { disk, cache_bytes: CACHE_BYTES, disk_low };
        if let Err(fault) = drop_unfinished(&*place.disk) {
            tracing::warn!(why = %fault, "what rebuilding left could not be removed");
        }
        let led: Vec<Led> = ALL.iter().map(|make| Led::open(*make, &place)).collect();
        let views: Arc<[Arc<View>]> = led.iter().map(|led| led.view.clone()).collect();
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (send_built, built) = channel();
        let now = Instant::now();
        let (of_work, stop_work, asked_work) = (reader.clone(), stop.clone(), asked.clone());
        let work = Work {
            led,
            reader: of_work,
            place,
            stop: stop_work,
            asked: asked_work,
            send_built,
            built,
            started: now,
            synced: now,
            committed: now,
        };
        let thread = std::thread::Builder::new().name("projections".into()).spawn(move || work.run())?;
        let projections = Projections { views, reader, asked, thread: thread.thread().clone() };
        Ok((projections, Runner { stop, thread: Some(thread) }))
    }

    /// There is nowhere to write: all have failed.
    fn idle(reader: Arc<dyn Reader>, why: &str) -> (Projections, Runner) {
        tracing::error!(why, "no projection can be opened");
        let lost = |make: &Make| Arc::new(View::lost(make().name(), why.to_owned(), false));
        let views = ALL.iter().map(lost).collect();
        let projections = Projections { views, reader, asked: Arc::default(), thread: std::thread::current() };
        (projections, Runner { stop: Arc::default(), thread: None })
    }

    /// Commits what was folded, and ends.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            let _ = thread.join(); // a panic there was told by the hook
        }
    }
}

type Make = fn() -> Box<dyn Projection>;

fn rebuilt_name(name: &str) -> String {
    format!("{name}.rebuild")
}

/// What a rebuilding left when the process ended.
fn drop_unfinished(disk: &dyn Disk) -> Result<(), Fault> {
    for file in disk.list()?.into_iter().filter(|file| file.contains(".rebuild") || file.ends_with(".new")) {
        disk.remove(&file)?;
    }
    Ok(())
}

/// A projection that is led.
struct Led {
    make: Make,
    view: Arc<View>,
    /// None: it failed.
    follower: Option<Follower>,
    /// It is being built anew.
    rebuilding: bool,
    writes_while_low: bool,
}

impl Led {
    fn open(make: Make, place: &Place) -> Led {
        let projection = make();
        let (name, writes_while_low) = (projection.name(), projection.writes_while_low());
        let (view, follower) = match Follower::open(projection, name, place) {
            Ok(follower) => {
                let world = Arc::new(follower.world.clone());
                (View::new(name, follower.rows.clone(), world, follower.checkpoint.next), Some(follower))
            }
            Err(fault) => {
                tracing::error!(projection = name, why = %fault, "a projection cannot be opened; `tollgate rebuild` tries again");
                (View::lost(name, fault.0, true), None)
            }
        };
        Led { make, view: Arc::new(view), follower, rebuilding: false, writes_while_low }
    }

    fn next(&self) -> Option<u64> {
        self.follower.as_ref().map(|follower| follower.checkpoint.next)
    }

    /// Does something with its follower, which fails by what fails there.
    fn attempt<R>(&mut self, act: impl FnOnce(&mut Follower) -> Result<R, Fault>) -> Option<R> {
        match act(self.follower.as_mut()?) {
            Ok(done) => Some(done),
            Err(fault) => {
                self.fail(&fault);
                None
            }
        }
    }

    fn commit(&mut self, batch: Batch<'_>) {
        let Some(world_changed) = self.attempt(|follower| follower.commit(batch)) else { return };
        let Some(follower) = &self.follower else { return };
        if world_changed {
            self.view.set_world(Arc::new(follower.world.clone()));
        }
        self.view.moved(follower.checkpoint.next);
    }

    fn fail(&mut self, fault: &Fault) {
        tracing::error!(projection = self.view.name(), why = %fault, "a projection stopped; what it has is served, `tollgate rebuild` makes it anew");
        self.follower = None;
        self.view.set_status(Status::Failed(fault.0.clone()));
    }
}

/// What was built anew: whose, and what came of it.
type Built = (&'static str, Result<Follower, Fault>);

struct Work {
    led: Vec<Led>,
    reader: Arc<dyn Reader>,
    place: Place,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    send_built: Sender<Built>,
    built: Receiver<Built>,
    started: Instant,
    synced: Instant,
    committed: Instant,
}

impl Work {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            self.take_built();
            self.begin_rebuilds();
            let has_room = self.place.has_room(false);
            if self.is_due() {
                self.committed = Instant::now();
                self.step();
            }
            self.sync_if_due();
            if !has_room || !self.is_behind() {
                std::thread::park_timeout(LOOK_EVERY);
            }
        }
        self.step();
        self.sync();
    }

    /// A whole batch waits for some projection.
    fn is_behind(&self) -> bool {
        let end = self.reader.end();
        self.led.iter().filter_map(Led::next).any(|next| end.saturating_sub(next) >= BATCH_EVENTS)
    }

    fn is_due(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel) || self.committed.elapsed() >= COMMIT_EVERY || self.is_behind()
    }

    /// A batch for each projection. Those at the same position share what is read.
    fn step(&mut self) {
        let (reader, place, started) = (&*self.reader, &self.place, self.started);
        let mut ready: BTreeMap<u64, Vec<&mut Led>> = BTreeMap::new();
        let (has_room, has_some) = (place.has_room(false), place.has_room(true));
        let may_write = |led: &&mut Led| if led.writes_while_low { has_some } else { has_room };
        for led in self.led.iter_mut().filter(may_write) {
            if is_of_this_history(led, reader, place, started)
                && let Some(next) = led.next()
            {
                ready.entry(next).or_default().push(led);
            }
        }
        for (next, group) in ready {
            take_batch(group, next, reader);
        }
    }

    fn sync_if_due(&mut self) {
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
            self.synced = Instant::now();
        }
    }

    fn sync(&mut self) {
        for led in &mut self.led {
            if let Some(Err(fault)) = led.follower.as_mut().map(Follower::sync) {
                led.fail(&fault);
            }
        }
    }

    fn begin_rebuilds(&mut self) {
        for led in self.led.iter_mut().filter(|led| !led.rebuilding) {
            if !led.view.take_rebuild() {
                continue;
            }
            let (name, make, place, reader, stop, done) =
                (led.view.name(), led.make, self.place.clone(), self.reader.clone(), self.stop.clone(), self.send_built.clone());
            let build = move || drop(done.send((name, build(make(), &place, &*reader, &stop)))); // nobody listens: the process ends
            match std::thread::Builder::new().name(format!("rebuild-{name}")).spawn(build) {
                Ok(_) => {
                    tracing::info!(projection = name, "a projection is built anew");
                    led.rebuilding = true;
                    led.view.set_status(Status::Rebuilding);
                }
                Err(error) => led.view.set_status(Status::Failed(format!("it cannot be built anew: {error}"))),
            }
        }
    }

    fn take_built(&mut self) {
        while let Ok((name, built)) = self.built.try_recv() {
            let Some(led) = self.led.iter_mut().find(|led| led.view.name() == name) else { continue };
            led.rebuilding = false;
            match built.and_then(|follower| put_in_place(follower, &self.place)) {
                Ok(follower) => {
                    tracing::info!(projection = name, events = follower.checkpoint.next, "a projection was built anew");
                    led.view.replace(follower.rows.clone(), Arc::new(follower.world.clone()), follower.checkpoint.next);
                    led.view.set_status(Status::Following);
                    led.follower = Some(follower);
                }
                Err(fault) => {
                    tracing::error!(projection = name, why = %fault, "a projection could not be built anew");
                    led.view.set_not_rebuilt(&fault.0);
                    led.view.set_status(if led.follower.is_some() { Status::Following } else { Status::Failed(fault.0) });
                }
            }
        }
    }
}

/// One batch from a position on, for projections that are all there.
fn take_batch(group: Vec<&mut Led>, from: u64, reader: &dyn Reader) {
    let rows: Vec<Arc<Rows>> = group.iter().filter_map(|led| led.follower.as_ref()).map(|follower| follower.rows.clone()).collect();
    let mut open: Vec<(&mut Led, Batch<'_>)> = Vec::new();
    for (led, rows) in group.into_iter().zip(&rows) {
        if let Some(batch) = led.attempt(|follower| Batch::begin(follower, rows)) {
            open.push((led, batch));
        }
    }
    let mut next = from;
    while next < from + BATCH_EVENTS {
        let records = match reader.read(next, READ_EVENTS) {
            Ok(records) if records.is_empty() => break,
            Ok(records) => records,
            Err(fault) => {
                let fault = Fault::from(fault);
                return open.into_iter().for_each(|(led, _)| led.fail(&fault));
            }
        };
        next += records.len() as u64;
        open.retain_mut(|(led, batch)| led.attempt(|follower| follower.fold(&records, batch)).is_some());
    }
    if next > from {
        open.into_iter().for_each(|(led, batch)| led.commit(batch));
    }
}

/// Rows that were made of another history are dropped; false: that is not known yet.
fn is_of_this_history(led: &mut Led, reader: &dyn Reader, place: &Place, started: Instant) -> bool {
    let Some(follower) = &mut led.follower else { return false };
    let why = match follower.check(reader) {
        Ok(Some(true)) => return true,
        Ok(None) if started.elapsed() < REACH_WAIT => return false,
        Ok(None) => "the history does not reach so far".to_owned(),
        Ok(Some(false)) => "its rows were made of another history".to_owned(),
        Err(fault) => fault.0,
    };
    let name = led.view.name();
    tracing::warn!(projection = name, why, "a projection is built anew");
    led.follower = None;
    match Follower::begin((led.make)(), name, place) {
        Ok(follower) => {
            led.view.replace(follower.rows.clone(), Arc::default(), 0);
            led.follower = Some(follower);
            true
        }
        Err(fault) => {
            led.fail(&fault);
            false
        }
    }
}

/// Folds the whole history into a file of its own.
fn build(projection: Box<dyn Projection>, place: &Place, reader: &dyn Reader, stop: &AtomicBool) -> Result<Follower, Fault> {
    let file = rebuilt_name(projection.name());
    let mut follower = Follower::begin(projection, &file, place)?;
    loop {
        let (from, rows) = (follower.checkpoint.next, follower.rows.clone());
        let mut batch = Batch::begin(&follower, &rows)?;
        let mut next = from;
        while next < from + BATCH_EVENTS {
            if stop.load(Ordering::Acquire) {
                return Err(Fault("the node is stopping".into()));
            }
            let records = reader.read(next, READ_EVENTS)?;
            if records.is_empty() {
                break;
            }
            next += records.len() as u64;
            follower.fold(&records, &mut batch)?;
        }
        if next == from {
            return Ok(follower);
        }
        if !place.has_room(false) {
            return Err(Fault("there is too little free disk".into()));
        }
        follower.commit(batch)?;
    }
}

/// Durable first, then under the name that is opened at the next start.
fn put_in_place(mut follower: Follower, place: &Place) -> Result<Follower, Fault> {
    follower.sync()?;
    let name = follower.projection.name();
    place.disk.rename(&store::rows::file_name(&rebuilt_name(name)), &store::rows::file_name(name))?;
    place.disk.sync_dir()?;
    Ok(follower)
}
