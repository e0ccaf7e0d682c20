//! Goes through the state's pages and rows, and names what is damaged.

use crate::state::{CACHE_BYTES, StateStore, Stored};
use journal::{disk::Disk, verify::Findings};

/// All rows of the state, if all are whole; None also where there are none.
pub fn state(disk: &dyn Disk, findings: &mut Findings) -> Option<Stored> {
    let mut store = findings.take("state/", StateStore::open(disk, CACHE_BYTES).map_err(Into::into))?;
    let pages = store.check_pages().map_err(Into::into);
    findings.take("state/", pages);
    let (stored, damages) = findings.take("state/", store.inspect().map_err(Into::into))?;
    let is_whole = damages.is_empty();
    findings.damages.extend(damages);
    stored.filter(|_| is_whole)
}
