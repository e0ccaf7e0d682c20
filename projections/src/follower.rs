//! One projection on its way along the history.

use crate::{Fault, Projection, draft::Draft, world::World};
use events::{codec, envelope::Recorded};
use journal::{Reader, disk::Disk};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use store::Rows;

/// The folder of their files in the data directory.
pub(crate) const FOLDER: &str = "projections";

/// What rows are made of; in the same transaction as they.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub form: u32,
    /// Events that were folded.
    pub next: u64,
    /// SHA-256 of the last one's leaf: rows that were made of another history are built anew.
    pub last: [u8; 32],
}

impl Checkpoint {
    /// Nothing was folded.
    fn start(form: u32) -> Checkpoint {
        Checkpoint { form, next: 0, last: [0; 32] }
    }

    pub fn read(bytes: &[u8]) -> Result<Checkpoint, Fault> {
        Ok(codec::decode(bytes)?)
    }
}

pub(crate) fn leaf_digest(record: &Recorded) -> [u8; 32] {
    Sha256::digest(&record.leaf).into()
}

/// See the module.
pub(crate) struct Follower {
    pub projection: Box<dyn Projection>,
    pub rows: Arc<Rows>,
    pub world: World,
    pub checkpoint: Checkpoint,
    /// Something was written that is not durable.
    pub unsynced: bool,
    /// Its rows are known to be of this history.
    is_checked: bool,
}

/// Where files of projections lie.
#[derive(Clone)]
pub(crate) struct Place {
    pub disk: Arc<dyn Disk>,
    /// Of each file's cache.
    pub cache_bytes: usize,
    /// Below so many bytes of free disk nothing is written.
    pub disk_low: u64,
}

impl Place {
    /// Whether anything may be written; `at_least`: what must be told while the disk is low.
    pub fn has_room(&self, at_least: bool) -> bool {
        let low = if at_least { self.disk_low / 4 } else { self.disk_low };
        self.disk.free_space().is_ok_and(|free| free >= low)
    }
}

pub(crate) fn found(projection: &dyn Projection, file: &str, place: &Place) -> Result<(Rows, World, Checkpoint), Fault> {
    let rows = Rows::open(&*place.disk, FOLDER, file, place.cache_bytes)?;
    let Some(meta) = rows.meta()? else {
        return Ok((rows, World::default(), Checkpoint::start(projection.form())));
    };
    let checkpoint = Checkpoint::read(&meta)?;
    if checkpoint.form != projection.form() {
        return Err(Fault("its rows have the form of another build".into()));
    }
    let world = World::load(&rows.reading()?)?;
    Ok((rows, world, checkpoint))
}

/// What is folded and not written yet.
pub(crate) struct Batch<'a> {
    draft: Draft<'a>,
    /// Where it is.
    checkpoint: Checkpoint,
    world_changed: bool,
}

impl<'a> Batch<'a> {
    /// Begins behind a follower's checkpoint, on its rows.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn begin(follower: &Follower, rows: &'a Rows) -> Result<Batch<'a>, Fault> {
        Ok(Batch { draft: Draft::new(rows.reading()?), checkpoint: follower.checkpoint, world_changed: false })
    }
}

impl Follower {
    /// Opens the rows under a file's name, or begins them. Rows of another form, or damaged ones, are dropped.
    ///
    /// # Errors
    /// The disk's own.
    pub fn open(projection: Box<dyn Projection>, file: &str, place: &Place) -> Result<Follower, Fault> {
        match found(&*projection, file, place) {
            Ok((rows, world, checkpoint)) => {
                Ok(Follower { projection, rows: Arc::new(rows), world, checkpoint, unsynced: false, is_checked: false })
            }
            Err(Fault(why)) => {
                tracing::warn!(projection = projection.name(), why, "a projection is built anew");
                Follower::begin(projection, file, place)
            }
        }
    }

    /// Begins from nothing, in the place of what there is under this name.
    ///
    /// # Errors
    /// The disk's own.
    pub fn begin(projection: Box<dyn Projection>, file: &str, place: &Place) -> Result<Follower, Fault> {
        let name = store::rows::file_name(file);
        if place.disk.list()?.contains(&name) {
            place.disk.remove(&name)?;
        }
        let rows = Rows::open(&*place.disk, FOLDER, file, place.cache_bytes)?;
        let checkpoint = Checkpoint::start(projection.form());
        Ok(Follower { projection, rows: Arc::new(rows), world: World::default(), checkpoint, unsynced: false, is_checked: true })
    }

    /// Whether its rows were made of this history. None: the history does not reach so far yet.
    pub fn check(&mut self, reader: &dyn Reader) -> Result<Option<bool>, Fault> {
        let Some(last) = self.checkpoint.next.checked_sub(1).filter(|_| !self.is_checked) else { return Ok(Some(true)) };
        if reader.end() <= last {
            return Ok(None);
        }
        self.is_checked = reader.read(last, 1)?.first().map(leaf_digest) == Some(self.checkpoint.last);
        Ok(Some(self.is_checked))
    }

    /// Folds records that follow what the batch has.
    ///
    /// # Errors
    /// They do not follow, or rows cannot be read: the batch is lost, and the follower with it.
    pub fn fold(&mut self, records: &[Recorded], batch: &mut Batch<'_>) -> Result<(), Fault> {
        for record in records {
            let next = batch.checkpoint.next;
            if record.envelope.n != next {
                return Err(Fault(format!("event {} where {next} is next", record.envelope.n)));
            }
            self.projection.fold(record, &self.world, &mut batch.draft)?;
            batch.world_changed |= self.world.fold(record, &mut batch.draft)?;
            batch.checkpoint.next += 1;
        }
        if let Some(last) = records.last() {
            batch.checkpoint.last = leaf_digest(last);
        }
        Ok(())
    }

    /// Writes what a batch changed, with its checkpoint. Answers whether names or limits changed.
    ///
    /// # Errors
    /// Rows cannot be written.
    pub fn commit(&mut self, mut batch: Batch<'_>) -> Result<bool, Fault> {
        self.projection.flush(&self.world, &mut batch.draft)?;
        let (checkpoint, changes) = (batch.checkpoint, batch.draft.changes());
        self.rows.write(false, |rows| {
            changes.write(rows)?;
            rows.set_meta(&codec::encode(&checkpoint))
        })?;
        (self.checkpoint, self.unsynced) = (checkpoint, true);
        Ok(batch.world_changed)
    }

    /// Makes durable what was written.
    pub fn sync(&mut self) -> Result<(), Fault> {
        if self.unsynced {
            self.rows.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }
}
