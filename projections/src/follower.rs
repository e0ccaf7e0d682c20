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
    pub fn read(bytes: &[u8]) -> Result<Checkpoint, Fault> {
        Ok(codec::decode(bytes)?)
    }
}

fn leaf_digest(record: &Recorded) -> [u8; 32] {
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
}

fn found(projection: &dyn Projection, file: &str, place: &Place) -> Result<(Rows, World, Checkpoint), Fault> {
    let rows = Rows::open(&*place.disk, FOLDER, file, place.cache_bytes)?;
    let Some(meta) = rows.meta()? else {
        return Ok((rows, World::default(), Checkpoint { form: projection.form(), next: 0, last: [0; 32] }));
    };
    let checkpoint = Checkpoint::read(&meta)?;
    if checkpoint.form != projection.form() {
        return Err(Fault("its rows have the form of another build".into()));
    }
    let world = World::load(&rows.reading()?)?;
    Ok((rows, world, checkpoint))
}

/// What a step did.
pub(crate) struct Step {
    /// Events that were folded.
    pub folded: usize,
    /// Names or limits changed.
    pub world_changed: bool,
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
        let checkpoint = Checkpoint { form: projection.form(), next: 0, last: [0; 32] };
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

    /// Folds records that follow its checkpoint, and commits them with it.
    pub fn step(&mut self, records: &[Recorded], sync: bool) -> Result<Step, Fault> {
        let mut step = Step { folded: 0, world_changed: false };
        let Some(last) = records.last() else { return Ok(step) };
        let rows = self.rows.clone();
        let mut draft = Draft::new(rows.reading()?);
        for record in records {
            if record.envelope.n != self.checkpoint.next + step.folded as u64 {
                return Err(Fault(format!("event {} where {} is next", record.envelope.n, self.checkpoint.next + step.folded as u64)));
            }
            self.projection.fold(record, &self.world, &mut draft)?;
            step.world_changed |= self.world.fold(record, &mut draft)?;
            step.folded += 1;
        }
        self.projection.flush(&mut draft)?;
        let checkpoint = Checkpoint { next: last.envelope.n + 1, last: leaf_digest(last), ..self.checkpoint };
        let changes = draft.changes();
        self.rows.write(sync, |rows| {
            changes.write(rows)?;
            rows.set_meta(&codec::encode(&checkpoint))
        })?;
        (self.checkpoint, self.unsynced) = (checkpoint, !sync);
        Ok(step)
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
