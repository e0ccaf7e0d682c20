//! Goes through the files of projections under glass, and names what is not as it was written. Nothing here is worth a restore: what is
//! damaged, or of another history, is built anew by the next start.

use crate::{
    ALL, Fault, Projection,
    follower::{Batch, FOLDER, Follower, Place, found, leaf_digest},
    view::digest,
};
use journal::{
    Reader,
    disk::{Damage, Disk, MemoryDisk, Overlay},
};
use std::sync::Arc;
use store::rows::file_name;

/// Of each file's cache.
const CACHE_BYTES: usize = 4 << 20;
/// Events that are folded at once.
const FOLD_EVENTS: usize = 5_000;

/// Reads every page and row of every projection in its folder of `root`; holds its checkpoint against the history, if there is one to
/// hold it against; `deep`: makes its rows anew in memory, and compares.
///
/// # Errors
/// The disk cannot be read.
pub fn verify(root: &Arc<dyn Disk>, history: Option<&dyn Reader>, deep: bool) -> Result<Vec<Damage>, Fault> {
    let disk = root.folder(FOLDER)?;
    let names = disk.list()?;
    let mut damages = Vec::new();
    for make in ALL {
        let projection = make();
        let file = file_name(projection.name());
        if !names.contains(&file) {
            continue;
        }
        let place = Place { disk: Arc::new(Overlay::new(disk.clone())), cache_bytes: CACHE_BYTES, disk_low: 0 };
        if let Err(Fault(what)) = one(make, &*projection, &place, history, deep) {
            damages.push(Damage { file: format!("{FOLDER}/{file}"), record: None, offset: 0, what });
        }
    }
    Ok(damages)
}

fn one(
    make: fn() -> Box<dyn Projection>,
    projection: &dyn Projection,
    place: &Place,
    history: Option<&dyn Reader>,
    deep: bool,
) -> Result<(), Fault> {
    let (mut rows, _, checkpoint) = found(projection, projection.name(), place)?;
    rows.check_pages()?;
    let stored = digest(&rows.reading()?)?;
    let Some((history, last)) = history.zip(checkpoint.next.checked_sub(1)) else { return Ok(()) };
    if history.end() <= last {
        return Ok(()); // the rest is in the log still
    }
    if history.read(last, 1)?.first().map(leaf_digest) != Some(checkpoint.last) {
        return Err(Fault(format!("its rows are of another history than the one with event {last} here")));
    }
    if deep && rebuilt(make(), history, checkpoint.next)? != stored {
        return Err(Fault(format!("the first {} events do not give its rows", checkpoint.next)));
    }
    Ok(())
}

/// The digest of the rows that so many events give.
fn rebuilt(projection: Box<dyn Projection>, history: &dyn Reader, end: u64) -> Result<String, Fault> {
    let place = Place { disk: Arc::new(MemoryDisk::new()), cache_bytes: CACHE_BYTES, disk_low: 0 };
    let name = projection.name();
    let mut follower = Follower::begin(projection, name, &place)?;
    while follower.checkpoint.next < end {
        let from = follower.checkpoint.next;
        let limit = usize::try_from(end - from).unwrap_or(usize::MAX).min(FOLD_EVENTS);
        let records = history.read(from, limit)?;
        if records.is_empty() {
            return Err(Fault(format!("the history ends before event {end}")));
        }
        let rows = follower.rows.clone();
        let mut batch = Batch::begin(&follower, &rows)?;
        follower.fold(&records, &mut batch)?;
        follower.commit(batch)?;
    }
    let rows = follower.rows.clone();
    digest(&rows.reading()?)
}
