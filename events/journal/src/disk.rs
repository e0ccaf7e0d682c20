//! The port to a disk: files in one folder. The real one is in `store`; [`MemoryDisk`] loses, tears and flips on demand.

mod memory;
mod overlay;

pub use memory::MemoryDisk;
pub use overlay::Overlay;

use std::{fmt, io, sync::Arc};

/// A folder of files. What is written is durable after [`DiskFile::sync_data`], a name after [`Disk::sync_dir`], and not before.
pub trait Disk: Send + Sync {
    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the disk's own.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a file, or empties the one that is there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Names of the files, in order; folders are left out.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name in the same folder; a file of that name goes. Atomic.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free_space(&self) -> io::Result<u64>;
    /// Takes a lock that lasts as long as what is returned; it ends with the process.
    ///
    /// # Errors
    /// `WouldBlock`: somebody else has it.
    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>>;
    /// A folder in this one, made if it is not there.
    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `out` as far as the file goes; answers how many bytes came.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Lengthens the file with zeros and reserves the room for them; never cuts.
    fn preallocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// A lock that is held.
pub trait DiskLock: Send + Sync {}

/// What is stored is not what was written: never served, always named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// With its folder: `history/00000000000000000000.seg`.
    pub file: String,
    /// The number of the record, where one is concerned.
    pub record: Option<u64>,
    /// Bytes from the start of the file.
    pub offset: u64,
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(record) = self.record {
            write!(f, "record {record} ")?;
        }
        write!(f, "at offset {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Damage {}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, damage)
    }
}

impl Damage {
    /// The damage that an error stands for, if it is one.
    pub fn of(error: &io::Error) -> Option<&Damage> {
        error.get_ref()?.downcast_ref()
    }
}

/// Something that a store put right when it was opened, to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(pub String);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes a small file whole: after a crash it is the old or the new one.
pub fn write_whole(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    let file = disk.create(&temporary)?;
    file.write_at(0, bytes)?;
    file.sync_data()?;
    disk.rename(&temporary, name)?;
    disk.sync_dir()
}

/// Reads a file whole; None if it is not there.
///
/// # Errors
/// `InvalidData`: it is longer than `limit` bytes; or the disk's own.
pub fn read_whole(disk: &dyn Disk, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.size()?;
    if size > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name} has {size} bytes, more than {limit}")));
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    let got = file.read_at(0, &mut bytes)?;
    bytes.truncate(got);
    Ok(Some(bytes))
}

/// Reads forward through a file in large steps.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
    step: usize,
}

/// Bytes that are read ahead when a file is walked.
pub(crate) const WALK_STEP: usize = 256 << 10;

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, step: usize) -> Window<'a> {
        Window { file, start: 0, bytes: Vec::new(), step }
    }

    /// `want` bytes from `offset` on; fewer only at the end of the file.
    pub(crate) fn at(&mut self, offset: u64, want: usize) -> io::Result<&[u8]> {
        let inside =
            offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok()).filter(|skip| skip + want <= self.bytes.len());
        let skip = match inside {
            Some(skip) => skip,
            None => {
                self.fill(offset, want)?;
                0
            }
        };
        Ok(&self.bytes[skip..self.bytes.len().min(skip + want)])
    }

    fn fill(&mut self, offset: u64, want: usize) -> io::Result<()> {
        self.bytes.resize(want.max(self.step), 0);
        let got = self.file.read_at(offset, &mut self.bytes)?;
        self.bytes.truncate(got);
        self.start = offset;
        Ok(())
    }
}
