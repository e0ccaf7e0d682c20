//! Goes through all that is stored, and names every place that is not what was written. Stores are opened under glass
//! ([`crate::disk::Overlay`]): looking changes nothing.

#[cfg(test)]
mod tests;

use crate::{
    disk::{Damage, Disk, Note, Overlay},
    history::{History, HistoryReader, read_tree, tag, tree_name, tree_offset},
    tree::{Frontier, Hash, leaf_hash},
};
use std::{io, sync::Arc};

/// Bytes of leaves that are read at once.
const STEP_BYTES: usize = 1 << 20;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub damages: Vec<Damage>,
    /// What the next start will put right by itself.
    pub notes: Vec<Note>,
}

impl Findings {
    /// Keeps an error as damage of `file`, unless it names its own place.
    pub fn take<R>(&mut self, file: &str, result: io::Result<R>) -> Option<R> {
        result.map_err(|error| self.damages.push(damage_of(file, &error))).ok()
    }

    pub fn damaged(&mut self, file: impl Into<String>, record: Option<u64>, offset: u64, what: impl Into<String>) {
        self.damages.push(Damage { file: file.into(), record, offset, what: what.into() });
    }
}

fn damage_of(file: &str, error: &io::Error) -> Damage {
    Damage::of(error).cloned().unwrap_or_else(|| Damage { file: file.into(), record: None, offset: 0, what: error.to_string() })
}

/// Opens the history under glass and goes through every leaf, every hash beside it, and every head in a footer or a name. `durable`: events that the
/// state proves; hashes behind them may not have been synced. `each` gets the leaves in order, as far as none is missing.
pub fn history(
    disk: &Arc<dyn Disk>,
    durable: u64,
    findings: &mut Findings,
    each: &mut dyn FnMut(u64, &[u8], &mut Findings),
) -> Option<History> {
    let glass = Arc::new(Overlay::new(disk.clone()));
    let (history, notes) = findings.take("history/", History::open(glass))?;
    findings.notes.extend(notes);
    let reader = history.reader();
    let mut walk = Walk { disk: &**disk, reader: &reader, durable, frontier: Frontier::default(), is_whole: true };
    for (first, count, sealed) in reader.ranges() {
        let part = walk.leaves(first, count, findings, each);
        if sealed {
            walk.seal(first, &part, findings);
        }
    }
    findings.damages.extend(history.must_reach(durable).err());
    Some(history)
}

struct Walk<'a> {
    /// As it is: under glass, hashes that are not the events' were put right.
    disk: &'a dyn Disk,
    reader: &'a HistoryReader,
    durable: u64,
    /// Over all leaves so far; of no worth once one could not be read.
    frontier: Frontier,
    is_whole: bool,
}

impl Walk<'_> {
    /// Goes through the leaves of one segment; answers the tree over them.
    fn leaves(&mut self, first: u64, count: u64, findings: &mut Findings, each: &mut dyn FnMut(u64, &[u8], &mut Findings)) -> Frontier {
        let beside = match read_tree(self.disk, "history", first) {
            Err(_) if self.durable <= first => Vec::new(),
            read => findings.take("history/", read).unwrap_or_default(),
        };
        let mut part = Frontier::default();
        // `bad`: a record ahead that was found damaged, or the segment's end.
        let (mut next, after) = (first, first + count);
        let mut bad = after;
        while next < after {
            if next == bad {
                self.is_whole = false;
                (next, bad) = (next + 1, after);
                continue;
            }
            match self.reader.leaves(next, (bad - next) as usize, STEP_BYTES) {
                Ok(leaves) => {
                    for (number, leaf) in (next..).zip(&leaves) {
                        let hash = leaf_hash(leaf);
                        self.beside(first, number, &hash, beside.get((number - first) as usize), findings);
                        part.append(hash);
                        self.frontier.append(hash);
                        if self.is_whole {
                            each(number, leaf, findings);
                        }
                    }
                    next += leaves.len() as u64;
                }
                Err(error) => {
                    let damage = damage_of("history/", &error);
                    let record = damage.record;
                    if !findings.damages.contains(&damage) {
                        findings.damages.push(damage);
                    }
                    // Leaves behind a damaged one are found again from the next place that the footer knows.
                    bad = record.map_or(after, |record| record.max(next).min(after));
                    if bad == after {
                        self.is_whole = false;
                        break;
                    }
                }
            }
        }
        part
    }

    /// The hash that is stored beside a leaf.
    fn beside(&self, first: u64, number: u64, hash: &Hash, stored: Option<&Hash>, findings: &mut Findings) {
        if number < self.durable && stored != Some(hash) {
            let what = if stored.is_some() { "the hash is not the event's" } else { "the hash is not there" };
            findings.damaged(format!("history/{}", tree_name(first)), Some(number), tree_offset(number - first), what);
        }
    }

    /// The heads that a sealed segment tells; from here on they stand for leaves that could not be read.
    fn seal(&mut self, first: u64, part: &Frontier, findings: &mut Findings) {
        // Only walking an open segment reads its header.
        findings.take("history/", self.reader.check_header(first));
        let Some((name, root, frontier)) = findings.take("history/", self.reader.sealed(first)) else { return };
        if self.is_whole && (root != part.root() || frontier != self.frontier) {
            findings.damaged(&name, None, 0, "the footer's heads are not those of the events");
        }
        if !name.contains(&tag(&frontier.root())) {
            findings.damaged(&name, None, 0, "the name's head is not the footer's");
        }
        self.frontier = frontier;
    }
}
