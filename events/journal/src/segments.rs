//! Consecutive records in segment files, each named by the number of its first record. It serves the log, the history and a node's spool.
//!
//! A file is a header record, the records, and zeros. A named file always has a whole header: it is made under another name, synced and
//! renamed. A sealed file ends in a footer (where records lie) and a trailer (where the footer lies), and is never written again.

mod open;
mod read;
mod sealed;
#[cfg(test)]
mod tests;

pub use read::{Record, SegmentsReader};
pub(crate) use sealed::Footer;

use crate::{
    disk::{Damage, Disk, DiskFile, Note},
    frame,
};
use std::{
    io,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Where records start: behind the header.
pub(crate) const RECORDS_AT: u64 = 32;
/// The kind of a file's header. Kinds of users are below.
pub(crate) const KIND_HEADER: u8 = 0xFE;
/// The kind of a sealed file's footer.
pub(crate) const KIND_FOOTER: u8 = 0xFF;
/// What a file is called while it is made.
const UNMADE: &str = "next.tmp";
/// What the file is called that is kept for a full disk, until it is taken.
const RESERVE: &str = "spare-reserve";
/// Zeros that are written at once.
const ZEROS: usize = 1 << 20;

/// How a family of segments is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder's name, for messages.
    pub folder: &'static str,
    /// Told in each header, so that a file of another family is not taken for one of these.
    pub purpose: u8,
    /// Bytes of one file.
    pub segment_bytes: u64,
    /// Write zeros into new files, so that a sync has only data to write; else room is only reserved.
    pub fill: bool,
    /// Purged files that are kept to be used again.
    pub spares: usize,
    /// Every so many records the place is remembered.
    pub stride: u32,
}

impl Settings {
    /// Of the log: a sync a group, so files are filled and used again.
    pub fn log() -> Settings {
        Settings { folder: "log", purpose: 1, segment_bytes: 16 << 20, fill: true, spares: 2, stride: 1 }
    }

    /// Of the history: a sync a second.
    pub fn history() -> Settings {
        Settings { folder: "history", purpose: 2, segment_bytes: 64 << 20, fill: false, spares: 0, stride: 64 }
    }
}

/// One file.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    Open { file: Arc<dyn DiskFile>, offsets: Vec<u32>, end: u64, size: u64 },
    Sealed { footer: Arc<OnceLock<Arc<Footer>>> },
}

impl Segment {
    /// The number behind its last record.
    pub(crate) fn after(&self) -> u64 {
        self.first + self.count
    }
}

type Shared = Arc<RwLock<Vec<Segment>>>;

/// See the module. After the first error every call fails: what is on the disk is known again only after a restart.
pub struct Segments {
    disk: Arc<dyn Disk>,
    settings: Settings,
    shared: Shared,
    next: u64,
    /// The first record that is not synced yet, or `next`.
    group: u64,
    spares: Vec<String>,
    buffer: Vec<u8>,
    failed: bool,
}

fn readable(shared: &Shared) -> RwLockReadGuard<'_, Vec<Segment>> {
    shared.read().unwrap_or_else(PoisonError::into_inner)
}

fn writable(shared: &Shared) -> RwLockWriteGuard<'_, Vec<Segment>> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}

/// A record to be appended: its kind, and its body in parts.
pub type NewRecord<'a> = (u8, &'a [&'a [u8]]);

impl Segments {
    /// The number that the next record gets.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the first record that is still there.
    pub fn first(&self) -> Option<u64> {
        readable(&self.shared).first().filter(|segment| segment.first < self.next).map(|segment| segment.first)
    }

    /// Reads from another thread.
    pub fn reader(&self) -> SegmentsReader {
        SegmentsReader { disk: self.disk.clone(), shared: self.shared.clone(), settings: self.settings.clone() }
    }

    /// The file that is written to, and where the next record goes.
    pub fn end(&self) -> (String, u64) {
        match readable(&self.shared).last() {
            Some(Segment { name, body: Body::Open { end, .. }, .. }) => (self.full_name(name), *end),
            Some(Segment { name, .. }) => (self.full_name(name), 0),
            None => (self.full_name(""), 0),
        }
    }

    pub(crate) fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.settings.folder)
    }

    pub(crate) fn damage(&self, name: &str, record: Option<u64>, offset: u64, what: impl Into<String>) -> io::Error {
        Damage { file: self.full_name(name), record, offset, what: what.into() }.into()
    }

    /// Does something; the first error is the last thing that is done.
    fn once<R>(&mut self, act: impl FnOnce(&mut Segments) -> io::Result<R>) -> io::Result<R> {
        if self.failed {
            return Err(io::Error::other(format!("{} failed before and must be opened again", self.settings.folder)));
        }
        let done = act(self);
        self.failed = done.is_err();
        done
    }

    /// Bytes that still fit into the file that is written to; None: there is none.
    pub fn room(&self) -> Option<u64> {
        match readable(&self.shared).last() {
            Some(Segment { body: Body::Open { end, size, .. }, .. }) => Some(size.saturating_sub(end + frame::END_MARK.len() as u64)),
            _ => None,
        }
    }

    /// Makes sure that records of so many bytes fit into one file; true: they are the first in it. A crash may have left it without any.
    pub fn begin(&mut self, bytes: u64) -> io::Result<bool> {
        if self.room().is_some_and(|room| bytes <= room) {
            return Ok(readable(&self.shared).last().is_some_and(|last| last.count == 0));
        }
        self.once(|this| {
            this.sync_now()?;
            let size = this.settings.segment_bytes.max(RECORDS_AT + bytes + frame::END_MARK.len() as u64);
            let name = open_name(this.next);
            let file = this.make(&name, size)?;
            let segment =
                Segment { name, first: this.next, count: 0, body: Body::Open { file, offsets: Vec::new(), end: RECORDS_AT, size } };
            let mut segments = writable(&this.shared);
            if segments.last().is_some_and(|last| last.count == 0) {
                segments.pop();
            }
            segments.push(segment);
            Ok(true)
        })
    }

    /// Keeps a purged or empty file that is taken only when the disk is full (LEDGER §10): what must be written then has room.
    ///
    /// # Errors
    /// The disk's own. A full disk is none: then there is no reserve, and true is not answered.
    pub fn keep_reserve(&mut self) -> io::Result<bool> {
        if !self.spares.is_empty() {
            return Ok(true);
        }
        match self.fresh(self.settings.segment_bytes) {
            Ok(file) => {
                file.sync_data()?;
                self.disk.rename(UNMADE, RESERVE)?;
                self.disk.sync_dir()?;
                self.spares.push(RESERVE.to_owned());
                Ok(true)
            }
            Err(error) if is_full(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A file with a header and zeros behind it, durable under its name.
    fn make(&mut self, name: &str, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut head = Vec::new();
        frame::write(&mut head, KIND_HEADER, self.next, self.next, &[&[self.settings.purpose; 8]])?;
        head.extend_from_slice(&frame::END_MARK);
        let (from, file) = self.room_of(size)?;
        file.write_at(0, &head)?;
        file.sync_data()?;
        self.disk.rename(&from, name)?;
        self.disk.sync_dir()?;
        Ok(file)
    }

    /// A file of this size: a spare one, a new one, or the last spare one if the disk is full.
    /// A spare file's former records are older than any that will be expected in it.
    fn room_of(&mut self, size: u64) -> io::Result<(String, Arc<dyn DiskFile>)> {
        let fits = size == self.settings.segment_bytes;
        if fits && self.spares.len() > 1 {
            return self.spare();
        }
        match self.fresh(size) {
            Err(error) if fits && is_full(&error) && !self.spares.is_empty() => self.spare(),
            made => made.map(|file| (UNMADE.to_owned(), file)),
        }
    }

    fn spare(&mut self) -> io::Result<(String, Arc<dyn DiskFile>)> {
        let name = self.spares.pop().unwrap_or_default();
        let file = self.disk.open(&name)?;
        Ok((name, file))
    }

    /// A new file with all of its room; none is left behind where there is not as much.
    fn fresh(&mut self, size: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(UNMADE)?;
        let filled = if self.settings.fill { zero(&*file, 0, size) } else { file.preallocate(size) };
        match filled {
            Ok(()) => Ok(file),
            Err(error) => {
                drop(file);
                self.disk.remove(UNMADE)?;
                Err(error)
            }
        }
    }

    /// Writes records in one write; they are durable after [`Segments::sync`]. Answers the number of the first.
    ///
    /// # Errors
    /// `InvalidInput`: a record is too large, and nothing was written; else the disk's own.
    pub fn append(&mut self, records: &[NewRecord<'_>]) -> io::Result<u64> {
        let first = self.next;
        if records.is_empty() {
            return Ok(first);
        }
        let lens = records.iter().map(|(_, body)| body.iter().map(|part| part.len()).sum());
        if let Some(len) = lens.clone().find(|len| *len > frame::BODY_BYTES_MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("a record of {len} bytes")));
        }
        self.begin(lens.map(frame::size).sum())?;
        self.buffer.clear();
        let mut starts = Vec::with_capacity(records.len());
        for (number, (kind, body)) in (first..).zip(records) {
            starts.push(self.buffer.len() as u64);
            frame::write(&mut self.buffer, *kind, number, self.group, body)?;
        }
        self.once(|this| this.write_buffer(&starts))?;
        Ok(first)
    }

    fn write_buffer(&mut self, starts: &[u64]) -> io::Result<()> {
        let bytes = self.buffer.len() as u64;
        self.buffer.extend_from_slice(&frame::END_MARK);
        let (file, at) = match readable(&self.shared).last() {
            Some(Segment { body: Body::Open { file, end, .. }, .. }) => (file.clone(), *end),
            _ => return Err(io::Error::other("no file is open")),
        };
        file.write_at(at, &self.buffer)?;
        let mut segments = writable(&self.shared);
        if let Some(Segment { body: Body::Open { offsets, end, .. }, count, .. }) = segments.last_mut() {
            for start in starts {
                if count.is_multiple_of(u64::from(self.settings.stride)) {
                    offsets.push(offset(at + start)?);
                }
                *count += 1;
            }
            *end = at + bytes;
        }
        self.next += starts.len() as u64;
        Ok(())
    }

    /// Makes all records durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.once(Segments::sync_now)
    }

    fn sync_now(&mut self) -> io::Result<()> {
        if self.group == self.next {
            return Ok(());
        }
        let file = match readable(&self.shared).last() {
            Some(Segment { body: Body::Open { file, .. }, .. }) => file.clone(),
            _ => return Err(io::Error::other("no file is open")),
        };
        file.sync_data()?;
        self.group = self.next;
        Ok(())
    }

    /// Gives whole files free whose records are all below `number`; the last file stays.
    pub fn purge_before(&mut self, number: u64) -> io::Result<()> {
        self.once(|this| {
            let gone: Vec<Segment> = {
                let mut segments = writable(&this.shared);
                let last = segments.len().saturating_sub(1);
                let gone = segments.iter().take(last).take_while(|segment| segment.after() <= number).count();
                segments.drain(..gone).collect()
            };
            for segment in &gone {
                this.give_free(segment)?;
            }
            if gone.is_empty() { Ok(()) } else { this.disk.sync_dir() }
        })
    }

    fn give_free(&mut self, segment: &Segment) -> io::Result<()> {
        let right_size = matches!(segment.body, Body::Open { size, .. } if size == self.settings.segment_bytes);
        if !right_size || self.spares.len() >= self.settings.spares {
            return self.disk.remove(&segment.name);
        }
        let spare = format!("spare-{}", segment.name);
        self.disk.rename(&segment.name, &spare)?;
        self.spares.push(spare);
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The name of a file that is not sealed.
pub(crate) fn open_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// Offsets are kept in four bytes: files are far below 4 GiB.
fn offset(at: u64) -> io::Result<u32> {
    u32::try_from(at).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a segment of more than 4 GiB"))
}

/// Writes zeros.
fn zero(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut at = from;
    while at < to {
        let piece = (to - at).min(ZEROS as u64);
        file.write_at(at, &zeros[..piece as usize])?;
        at += piece;
    }
    Ok(())
}

/// Notes of an opening, with the files' folder.
type Notes = Vec<Note>;
