//! A backup: a stream of the history and of the state as of one position. First the manifest, then every leaf in order, then the state's
//! rows, then a trailer with counts and a hash over all before it, so that a stream that was cut is noticed. Nothing of the log is in it.
//! Reading one proves it: the leaves give the manifest's head, folded they give the books' digest, and so do the rows.

#[cfg(test)]
mod tests;

use crate::{
    ReadFault, Reader,
    tree::{Frontier, Hash, leaf_hash},
};
use events::{
    State, Timestamp, codec,
    envelope::Recorded,
    limits::{BACKUP_RECORD_BYTES_MAX, BACKUP_STEP_BYTES},
    state::Digests,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// The form that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
const MAGIC: &[u8; 16] = b"tollgate backup\n";
const MANIFEST: u8 = 1;
const LEAF: u8 = 2;
const ROW: u8 = 3;
const TRAILER: u8 = 4;
/// Kind, length, checksum.
const HEAD_BYTES: usize = 9;
/// Events that are read at once.
const READ_EVENTS: usize = 2_000;

/// A row of the state: table, key, value.
pub type Row = (u8, Vec<u8>, Vec<u8>);

/// What a journal gives for a backup: its state as of one moment. The events before it are in the history by then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub cluster: [u8; 16],
    /// Events so far.
    pub n: u64,
    /// The hash tree over them, encoded.
    pub frontier: Vec<u8>,
    pub digests: Digests,
    /// The last entry's time.
    pub time: Timestamp,
    pub rows: Vec<Row>,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub cluster: [u8; 16],
    /// Events in it.
    pub n: u64,
    /// [`Frontier::encode`] of the tree over them.
    pub frontier: Vec<u8>,
    pub head: Hash,
    pub digests: Digests,
    /// The last entry's time.
    pub time: Timestamp,
    pub rows: u64,
    /// The version of the program that made it.
    pub build: String,
    pub made_at: Timestamp,
}

impl Manifest {
    /// The head in hexadecimal digits.
    pub fn head_text(&self) -> String {
        self.head.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    leaves: u64,
    rows: u64,
    /// SHA-256 over every byte before this record.
    hash: Hash,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl From<ReadFault> for io::Error {
    fn from(fault: ReadFault) -> io::Error {
        io::Error::other(fault.to_string())
    }
}

/// Hashes what goes through.
struct Hashed<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
}

impl Hashed<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.to.write_all(bytes)
    }

    fn record(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= BACKUP_RECORD_BYTES_MAX);
        let length = length.ok_or_else(|| wrong(format!("a record of {} bytes is too big for a backup", body.len())))?;
        self.bytes(&[kind])?;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(&crc32c::crc32c(body).to_le_bytes())?;
        self.bytes(body)
    }
}

/// Writes a backup of what was taken; the leaves come from the history. `step` is told how many of its events are written.
///
/// # Errors
/// The output's own; the history cannot be read, or is not the one that the state belongs to.
pub fn write(
    history: &dyn Reader,
    taken: &Taken,
    (build, made_at): (&str, Timestamp),
    to: &mut dyn Write,
    step: &mut dyn FnMut(u64),
) -> io::Result<Manifest> {
    let manifest = manifest(taken, build, made_at)?;
    let mut out = Hashed { to, hash: Sha256::new() };
    out.bytes(MAGIC)?;
    out.bytes(&FORMAT.to_le_bytes())?;
    out.record(MANIFEST, &codec::encode(&manifest))?;
    let mut frontier = Frontier::default();
    while frontier.size() < taken.n {
        let left = usize::try_from(taken.n - frontier.size()).unwrap_or(usize::MAX);
        let records = history.read(frontier.size(), left.min(READ_EVENTS))?;
        if records.is_empty() {
            return Err(wrong(format!("the history ends with {} events, but the state holds {}", frontier.size(), taken.n)));
        }
        for record in &records {
            frontier.append(leaf_hash(&record.leaf));
            out.record(LEAF, &record.leaf)?;
        }
        step(frontier.size());
    }
    if frontier.root() != manifest.head {
        return Err(wrong("the history does not give the head that the state holds: `tollgate verify` says where"));
    }
    for row in &taken.rows {
        out.record(ROW, &codec::encode(row))?;
    }
    let trailer = Trailer { leaves: taken.n, rows: manifest.rows, hash: out.hash.clone().finalize().into() };
    out.record(TRAILER, &codec::encode(&trailer))?;
    out.to.flush()?;
    Ok(manifest)
}

fn manifest(taken: &Taken, build: &str, made_at: Timestamp) -> io::Result<Manifest> {
    let frontier = tree_of(&taken.frontier, taken.n)?;
    Ok(Manifest {
        cluster: taken.cluster,
        n: taken.n,
        head: frontier.root(),
        frontier: taken.frontier.clone(),
        digests: taken.digests,
        time: taken.time,
        rows: taken.rows.len() as u64,
        build: build.to_owned(),
        made_at,
    })
}

fn tree_of(encoded: &[u8], n: u64) -> io::Result<Frontier> {
    let frontier = if n == 0 { Some(Frontier::default()) } else { Frontier::decode(encoded) };
    frontier.filter(|frontier| frontier.size() == n).ok_or_else(|| wrong(format!("the tree is not one over {n} events")))
}

/// Takes what a backup holds, as it is read. What was taken is proved only once [`read`] has returned.
pub trait Sink {
    /// Comes first, once.
    fn manifest(&mut self, manifest: &Manifest) -> io::Result<()>;
    /// Leaves from an event on.
    fn leaves(&mut self, first: u64, leaves: &[Vec<u8>]) -> io::Result<()>;
}

/// Only looks.
pub struct Nowhere;

impl Sink for Nowhere {
    fn manifest(&mut self, _manifest: &Manifest) -> io::Result<()> {
        Ok(())
    }

    fn leaves(&mut self, _first: u64, _leaves: &[Vec<u8>]) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a backup and proves it: each record's checksum, the head over its leaves, the books that they fold to, the state's rows, the
/// counts and hash of its trailer, and that nothing follows. Answers the rows.
///
/// # Errors
/// `InvalidData` says what is not as it was written; `UnexpectedEof`: it was cut. Else the input's or the sink's own.
pub fn read(from: &mut dyn Read, sink: &mut dyn Sink) -> io::Result<(Manifest, Vec<Row>)> {
    let mut source = Source { from, hash: Sha256::new() };
    source.begin()?;
    let manifest: Manifest = match source.record()? {
        (MANIFEST, body, _) => codec::decode(&body).map_err(|error| wrong(format!("the manifest: {error}")))?,
        _ => return Err(wrong("a backup begins with its manifest")),
    };
    if tree_of(&manifest.frontier, manifest.n)?.root() != manifest.head {
        return Err(wrong("the manifest's tree and head differ"));
    }
    sink.manifest(&manifest)?;
    let mut proof = Proof::default();
    let mut rows = Vec::new();
    loop {
        match source.record()? {
            (LEAF, leaf, _) if rows.is_empty() && proof.frontier.size() < manifest.n => proof.leaf(leaf, sink)?,
            (ROW, body, _) if proof.frontier.size() == manifest.n && (rows.len() as u64) < manifest.rows => {
                rows.push(codec::decode(&body).map_err(|error| wrong(format!("row {}: {error}", rows.len())))?);
            }
            (TRAILER, body, hash) => {
                let trailer: Trailer = codec::decode(&body).map_err(|error| wrong(format!("the trailer: {error}")))?;
                let counts = (trailer.leaves, trailer.rows) == (proof.frontier.size(), rows.len() as u64);
                if !counts || trailer.hash != hash {
                    return Err(wrong("the trailer's counts or hash differ from what was read"));
                }
                break;
            }
            (kind, ..) => return Err(wrong(format!("a record of kind {kind} where none is expected"))),
        }
    }
    source.end()?;
    proof.flush(sink)?;
    proof.compare(&manifest, &rows)?;
    Ok((manifest, rows))
}

struct Source<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
}

impl Source<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let (mut magic, mut format) = ([0; 16], [0; 4]);
        self.fill(&mut magic)?;
        if magic != *MAGIC {
            return Err(wrong("this is no backup of Tollgate"));
        }
        self.fill(&mut format)?;
        match u32::from_le_bytes(format) {
            FORMAT => Ok(()),
            found => Err(wrong(format!(
                "this backup has form {found}, this build reads form {FORMAT}: use the build that made it, or a newer one"
            ))),
        }
    }

    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.from.read_exact(out).map_err(cut)?;
        self.hash.update(&*out);
        Ok(())
    }

    /// Kind and body of the next record, and the hash over all that was before it.
    fn record(&mut self) -> io::Result<(u8, Vec<u8>, Hash)> {
        let before = self.hash.clone();
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head)?;
        let [kind, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let (length, checksum) = (u32::from_le_bytes([l0, l1, l2, l3]) as usize, u32::from_le_bytes([c0, c1, c2, c3]));
        if length > BACKUP_RECORD_BYTES_MAX {
            return Err(wrong(format!("a record of {length} bytes")));
        }
        let mut body = vec![0; length];
        self.fill(&mut body)?;
        if crc32c::crc32c(&body) != checksum {
            return Err(wrong("a record's checksum is wrong"));
        }
        let hash = if kind == TRAILER { before.finalize().into() } else { [0; 32] };
        Ok((kind, body, hash))
    }

    fn end(&mut self) -> io::Result<()> {
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(wrong("something follows behind the trailer")),
        }
    }
}

fn cut(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::UnexpectedEof, "the backup was cut: its end is missing"),
        _ => error,
    }
}

/// What the leaves come to.
#[derive(Default)]
struct Proof {
    frontier: Frontier,
    state: State,
    waiting: Vec<Vec<u8>>,
    waiting_bytes: usize,
}

impl Proof {
    fn leaf(&mut self, leaf: Vec<u8>, sink: &mut dyn Sink) -> io::Result<()> {
        let number = self.frontier.size();
        let folded = Recorded::read(&leaf).and_then(|record| self.state.replay(&record));
        folded.map_err(|error| wrong(format!("event {number}: {error}")))?;
        self.frontier.append(leaf_hash(&leaf));
        self.waiting_bytes += leaf.len();
        self.waiting.push(leaf);
        if self.waiting_bytes >= BACKUP_STEP_BYTES { self.flush(sink) } else { Ok(()) }
    }

    fn flush(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        let leaves = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        self.state.settle();
        self.state.take_due();
        if leaves.is_empty() { Ok(()) } else { sink.leaves(self.frontier.size() - leaves.len() as u64, &leaves) }
    }

    fn compare(&self, manifest: &Manifest, rows: &[Row]) -> io::Result<()> {
        if self.frontier.size() != manifest.n || self.frontier.root() != manifest.head {
            return Err(wrong("the events do not give the manifest's head"));
        }
        if self.state.digests().books != manifest.digests.books {
            return Err(wrong("the events do not give the manifest's books"));
        }
        let mut stored = State::default();
        for (table, key, value) in rows {
            stored.load(*table, key, value).map_err(|error| wrong(error.to_string()))?;
        }
        if stored.digests() == manifest.digests { Ok(()) } else { Err(wrong("the rows of the state do not give the manifest's digests")) }
    }
}
