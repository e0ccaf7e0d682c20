//! The history: every event's leaf, in segments, and beside each segment the hashes of its leaves. Sealed segments never change; their
//! names tell the range and the tree's head at their end, their footers the head of their own leaves and the frontier.

mod hashes;
#[cfg(test)]
mod tests;

pub(crate) use hashes::{read_tree, tree_name, tree_offset};

use crate::{
    disk::{Damage, Disk, Note},
    frame::{self, Frame},
    segments::{Segments, SegmentsReader, Settings},
    tree::{self, Frontier, Hash, leaf_hash},
};
use events::envelope::Recorded;
use hashes::TreeFile;
use serde::{Deserialize, Serialize};
use std::{io, sync::Arc};

/// The kind of a leaf's record.
pub(crate) const LEAF: u8 = 1;
/// Bytes that are written at once.
const WRITE_BYTES: u64 = 4 << 20;
/// Bytes of leaves that a comparison reads at once.
const COMPARE_BYTES: usize = 1 << 20;

/// What a sealed segment says of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seal {
    /// The head over its own leaves.
    pub(crate) root: Hash,
    /// [`Frontier::encode`] of the whole tree at its end.
    pub(crate) frontier: Vec<u8>,
}

impl Seal {
    pub(crate) fn frontier(&self) -> Option<Frontier> {
        Frontier::decode(&self.frontier)
    }
}

/// The part of a sealed file's name that tells the tree's head.
pub(crate) fn tag(head: &Hash) -> String {
    head[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the history consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub sealed: Vec<Part>,
    /// Events in all.
    pub len: u64,
    pub frontier: Frontier,
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub count: u64,
    /// The head over its own leaves.
    pub root: Hash,
    /// The whole tree at its end.
    pub frontier: Frontier,
}

/// See the module.
pub struct History {
    disk: Arc<dyn Disk>,
    folder: &'static str,
    segments: Segments,
    /// Over all leaves.
    frontier: Frontier,
    /// Over the leaves of the open segment.
    part: Frontier,
    tree: Option<TreeFile>,
}

impl History {
    /// Opens the history in its folder, reading the open segment only. A torn write at its end is dropped, and noted: the log has it still.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`), or the disk's own.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<(History, Vec<Note>)> {
        History::open_with(disk, Settings::history())
    }

    /// With files of another size.
    pub fn open_with(disk: Arc<dyn Disk>, settings: Settings) -> io::Result<(History, Vec<Note>)> {
        let mut leaves: Vec<(u64, Hash)> = Vec::new();
        let mut visit = |frame: &Frame<'_>| {
            leaves.push((frame.number, leaf_hash(frame.body)));
            Ok(())
        };
        let folder = settings.folder;
        let (segments, mut notes) = Segments::open(disk.clone(), settings, &mut visit)?;
        let mut this = History { disk, folder, segments, frontier: Frontier::default(), part: Frontier::default(), tree: None };
        let ranges = this.segments.reader().ranges();
        if let Some((first @ 1.., ..)) = ranges.first() {
            let what = format!("a gap: event 0 is missing, the history starts with {first}");
            return Err(Damage { file: format!("{folder}/"), record: Some(0), offset: 0, what }.into());
        }
        if let Some(footer) = this.segments.last_footer()? {
            let seal = seal_of(&footer.extra).filter(|(_, frontier)| frontier.size() == footer.first + footer.count);
            let (_, frontier) =
                seal.ok_or_else(|| this.segments.damage(&footer.name(), None, footer.end, "the footer's frontier is damaged"))?;
            this.frontier = frontier;
        }
        if let Some((first, _, false)) = ranges.last() {
            let open: Vec<Hash> = leaves.iter().filter(|(number, _)| number >= first).map(|(_, hash)| *hash).collect();
            for hash in &open {
                this.frontier.append(*hash);
                this.part.append(*hash);
            }
            this.tree = Some(TreeFile::mend(&*this.disk, folder, *first, &open, &mut notes)?);
        }
        if this.frontier.size() != this.segments.next() {
            let what = format!("{} leaves in the tree, {} events", this.frontier.size(), this.segments.next());
            return Err(Damage { file: format!("{folder}/"), record: None, offset: 0, what }.into());
        }
        Ok((this, notes))
    }

    /// Events so far: the number of the next.
    pub fn len(&self) -> u64 {
        self.segments.next()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tree over all leaves.
    pub fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Reads from any thread. Cheap to clone.
    pub fn reader(&self) -> HistoryReader {
        HistoryReader { disk: self.disk.clone(), folder: self.folder, segments: self.segments.reader() }
    }

    /// Appends leaves; they are durable after [`History::sync`]. Answers their hashes.
    pub fn append<L: AsRef<[u8]>>(&mut self, leaves: &[L]) -> io::Result<Vec<Hash>> {
        let mut hashes = Vec::with_capacity(leaves.len());
        let mut rest = leaves;
        while let Some(first) = rest.first() {
            let room = self.make_room(frame::size(first.as_ref().len()))?.min(WRITE_BYTES);
            let mut bytes = 0;
            let fits = |leaf: &&L| {
                bytes += frame::size(leaf.as_ref().len());
                bytes <= room
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            self.append_here(now, &mut hashes)?;
            rest = later;
        }
        Ok(hashes)
    }

    /// Seals the open segment if a record of so many bytes does not fit, and begins another. Answers the room there is.
    fn make_room(&mut self, bytes: u64) -> io::Result<u64> {
        if self.segments.room().is_some_and(|room| room < bytes) {
            self.seal()?;
        }
        let first = self.segments.next();
        if self.segments.begin(bytes)? {
            self.tree = Some(TreeFile::create(&*self.disk, first)?);
            self.part = Frontier::default();
        }
        Ok(self.segments.room().unwrap_or_default())
    }

    fn append_here<L: AsRef<[u8]>>(&mut self, leaves: &[L], hashes: &mut Vec<Hash>) -> io::Result<()> {
        let bodies: Vec<[&[u8]; 1]> = leaves.iter().map(|leaf| [leaf.as_ref()]).collect();
        let records: Vec<(u8, &[&[u8]])> = bodies.iter().map(|body| (LEAF, body.as_slice())).collect();
        self.segments.append(&records)?;
        let start = hashes.len();
        for leaf in leaves {
            let hash = leaf_hash(leaf.as_ref());
            self.frontier.append(hash);
            self.part.append(hash);
            hashes.push(hash);
        }
        match &mut self.tree {
            Some(tree) => tree.append(&hashes[start..]),
            None => Err(io::Error::other("a segment without a tree file")),
        }
    }

    /// Takes in what the log says the events from `first` on are: those that are here are compared leaf by leaf, the rest is appended.
    /// Answers the hashes of all of them.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`): a leaf that differs, or a gap. Else the disk's own.
    pub fn accept<L: AsRef<[u8]>>(&mut self, first: u64, leaves: &[L]) -> io::Result<Vec<Hash>> {
        let len = self.len();
        if first > len {
            return Err(self.place(Some(len), format!("a gap: the history ends with {len} events, the log goes on with event {first}")));
        }
        let known = usize::try_from(len - first).unwrap_or(usize::MAX).min(leaves.len());
        let reader = self.reader();
        let mut hashes = Vec::with_capacity(leaves.len());
        while hashes.len() < known {
            let from = first + hashes.len() as u64;
            for (stored, number) in reader.leaves(from, known - hashes.len(), COMPARE_BYTES)?.into_iter().zip(from..) {
                if stored != leaves[hashes.len()].as_ref() {
                    return Err(self.place(Some(number), "the event differs from what the log says".into()));
                }
                hashes.push(leaf_hash(&stored));
            }
        }
        hashes.extend(self.append(&leaves[known..])?);
        Ok(hashes)
    }

    fn place(&self, record: Option<u64>, what: String) -> io::Error {
        let (file, offset) = self.segments.end();
        Damage { file, record, offset, what }.into()
    }

    /// Something else (the state) proves that there were `len` events.
    ///
    /// # Errors
    /// [`Damage`] that names the place where the history ends.
    pub fn must_reach(&self, len: u64) -> Result<(), Damage> {
        if self.len() >= len {
            return Ok(());
        }
        let (file, offset) = self.segments.end();
        Err(Damage {
            file,
            record: Some(self.len()),
            offset,
            what: format!("the history ends with {} events, but the state holds {len}", self.len()),
        })
    }

    /// Makes all leaves and hashes durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.segments.sync()?;
        self.tree.as_mut().map_or(Ok(()), TreeFile::sync)
    }

    /// Seals the open segment.
    pub fn seal(&mut self) -> io::Result<()> {
        self.sync()?;
        let seal = Seal { root: self.part.root(), frontier: self.frontier.encode() };
        self.segments.seal(&tag(&self.frontier.root()), events::codec::encode(&seal))
    }

    /// What there is, as a peer must know it.
    pub fn manifest(&self) -> io::Result<Manifest> {
        let reader = self.segments.reader();
        let mut sealed = Vec::new();
        for (first, count, _) in reader.ranges().into_iter().filter(|(_, _, sealed)| *sealed) {
            let footer = reader.footer(first)?;
            let seal = seal_of(&footer.extra);
            let (root, frontier) =
                seal.ok_or_else(|| self.segments.damage(&footer.name(), None, footer.end, "the footer's frontier is damaged"))?;
            sealed.push(Part { first, count, root, frontier });
        }
        Ok(Manifest { sealed, len: self.len(), frontier: self.frontier.clone() })
    }
}

fn seal_of(extra: &[u8]) -> Option<(Hash, Frontier)> {
    let seal: Seal = events::codec::decode(extra).ok()?;
    Some((seal.root, seal.frontier()?))
}

/// Reads the history while another thread writes. Cheap to clone.
#[derive(Clone)]
pub struct HistoryReader {
    disk: Arc<dyn Disk>,
    folder: &'static str,
    segments: SegmentsReader,
}

impl HistoryReader {
    /// Events so far.
    pub fn len(&self) -> u64 {
        self.segments.next()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Leaves from `from` on: at most `limit`, and about `max_bytes`; at least one if there is one.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`), or the disk's own.
    pub fn leaves(&self, from: u64, limit: usize, max_bytes: usize) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.segments.read(from, limit, max_bytes)?.into_iter().map(|record| record.body).collect())
    }

    /// Events from `from` on, as many as there are up to `limit`, and about `max_bytes` of leaves.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`): also where a leaf is not the event that it should be. Else the disk's own.
    pub fn read(&self, from: u64, limit: usize, max_bytes: usize) -> io::Result<Vec<Recorded>> {
        let leaves = self.leaves(from, limit, max_bytes)?;
        // not from the numbers' side: a range counts one past what it gives, also past the last number there is
        leaves.iter().zip(from..).map(|(leaf, number)| self.event(number, leaf)).collect()
    }

    fn event(&self, number: u64, leaf: &[u8]) -> io::Result<Recorded> {
        let damage = |what| io::Error::from(Damage { file: format!("{}/", self.folder), record: Some(number), offset: 0, what });
        let recorded = Recorded::read(leaf).map_err(|error| damage(error.to_string()))?;
        if recorded.envelope.n == number { Ok(recorded) } else { Err(damage(format!("event {} stands in its place", recorded.envelope.n))) }
    }

    /// The hashes of the first `len` leaves: of sealed segments from their tree files, checked by their heads, of the open one from the leaves.
    ///
    /// # Errors
    /// [`Damage`] (as `InvalidData`), or the disk's own.
    pub fn leaf_hashes(&self, len: u64) -> io::Result<Vec<Hash>> {
        let mut hashes: Vec<Hash> = Vec::new();
        for (first, count, sealed) in self.segments.ranges() {
            if first >= len {
                break;
            }
            if sealed {
                hashes.extend(self.sealed_hashes(first, count)?);
                continue;
            }
            while (hashes.len() as u64) < len.min(first + count) {
                let leaves = self.leaves(hashes.len() as u64, usize::MAX, COMPARE_BYTES)?;
                hashes.extend(leaves.iter().map(|leaf| leaf_hash(leaf)));
            }
        }
        hashes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(hashes)
    }

    /// First events and counts of the segments, and whether they are sealed.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64, bool)> {
        self.segments.ranges()
    }

    /// The file that begins with event `first` says that it does.
    pub(crate) fn check_header(&self, first: u64) -> io::Result<()> {
        self.segments.check_header(first)
    }

    /// What the sealed segment that begins with event `first` tells: its file, the head over its own leaves, the tree at its end.
    pub(crate) fn sealed(&self, first: u64) -> io::Result<(String, Hash, Frontier)> {
        let footer = self.segments.footer(first)?;
        let name = format!("{}/{}", self.folder, footer.name());
        let damage = || Damage { file: name.clone(), record: None, offset: footer.end, what: "the footer's frontier is damaged".into() };
        let (root, frontier) = seal_of(&footer.extra).ok_or_else(damage)?;
        Ok((name, root, frontier))
    }

    fn sealed_hashes(&self, first: u64, count: u64) -> io::Result<Vec<Hash>> {
        let footer = self.segments.footer(first)?;
        let hashes = read_tree(&*self.disk, self.folder, first)?;
        let right = seal_of(&footer.extra).is_some_and(|(root, _)| hashes.len() as u64 == count && tree::root(&hashes) == root);
        let file = || format!("{}/{}", self.folder, tree_name(first));
        if right {
            Ok(hashes)
        } else {
            Err(Damage { file: file(), record: None, offset: 0, what: "the hashes do not give the segment's head".into() }.into())
        }
    }
}
