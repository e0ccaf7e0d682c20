//! The data directory: a version stamp with the cluster's id, a lock, and a folder for each store.

use journal::disk::{Disk, DiskLock, read_whole, write_whole};
use std::{io, sync::Arc};

/// The layout that this build writes.
pub const VERSION: u32 = 1;
const STAMP: &str = "VERSION";
const LOCK: &str = "LOCK";
/// It is there while a backup is restored.
const RESTORING: &str = "RESTORING";
const FOLDERS: [&str; 3] = ["log", "state", "history"];
/// A stamp is two short lines.
const STAMP_BYTES_MAX: u64 = 4096;

/// An open data directory; locked as long as this lives.
pub struct DataDir {
    pub root: Arc<dyn Disk>,
    pub log: Arc<dyn Disk>,
    pub state: Arc<dyn Disk>,
    pub history: Arc<dyn Disk>,
    pub cluster: [u8; 16],
    /// It was empty: a new node.
    pub is_new: bool,
    _lock: Box<dyn DiskLock>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirFault {
    #[error("the data directory is in use by another process")]
    Locked,
    #[error(
        "the data directory was written by a newer build (layout {found}, this build knows {VERSION}): start that build, or restore a backup"
    )]
    Newer { found: u32 },
    #[error("a backup was being restored here and did not come to its end: empty the folder, and restore again")]
    HalfRestored,
    #[error("there is something in this folder already: a backup is restored into an empty one")]
    NotEmpty,
    #[error("this is not a data directory of Tollgate: {0}")]
    NotOurs(String),
    #[error("the data directory cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl DataDir {
    /// Opens a data directory, or makes one in an empty folder, with `new_cluster` as its cluster's id.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn open(root: Arc<dyn Disk>, new_cluster: [u8; 16]) -> Result<DataDir, DataDirFault> {
        let lock = lock(&*root)?;
        whole(&*root)?;
        let (cluster, is_new) = match stamp(&*root)? {
            // a start that came no further than the stamp began nothing
            Some(cluster) => (cluster, is_empty(&*root)?),
            None => {
                refuse_strange(&*root)?;
                write_whole(&*root, STAMP, text(&new_cluster).as_bytes())?;
                (new_cluster, true)
            }
        };
        DataDir::with(root, cluster, is_new, lock)
    }

    /// Opens a data directory that is there, to look at it.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn open_existing(root: Arc<dyn Disk>) -> Result<DataDir, DataDirFault> {
        whole(&*root)?;
        let Some(cluster) = stamp(&*root)? else { return Err(DataDirFault::NotOurs(format!("it has no file {STAMP}"))) };
        let (lock, is_new) = (lock(&*root)?, is_empty(&*root)?);
        DataDir::with(root, cluster, is_new, lock)
    }

    /// Marks an empty folder, for a backup to be restored into. Until [`DataDir::end_restoring`] nobody else opens it.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn begin_restoring(root: Arc<dyn Disk>) -> Result<Restoring, DataDirFault> {
        if !root.list()?.is_empty() {
            return Err(DataDirFault::NotEmpty);
        }
        refuse_strange(&*root)?;
        write_whole(&*root, RESTORING, b"a backup is being restored here\n")?;
        let lock = lock(&*root)?;
        Ok(Restoring { root, lock })
    }

    /// All of the backup is on disk.
    pub fn end_restoring(root: &dyn Disk) -> io::Result<()> {
        root.remove(RESTORING)?;
        root.sync_dir()
    }

    fn with(root: Arc<dyn Disk>, cluster: [u8; 16], is_new: bool, lock: Box<dyn DiskLock>) -> Result<DataDir, DataDirFault> {
        let [log, state, history] = FOLDERS;
        let (log, state, history) = (root.folder(log)?, root.folder(state)?, root.folder(history)?);
        Ok(DataDir { root, log, state, history, cluster, is_new, _lock: lock })
    }
}

/// A folder that is marked for a backup that nothing is known of yet, not even whose it is.
pub struct Restoring {
    root: Arc<dyn Disk>,
    lock: Box<dyn DiskLock>,
}

impl Restoring {
    /// The data directory of the backed up cluster, empty; the mark stays.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn of(self, cluster: [u8; 16]) -> Result<DataDir, DataDirFault> {
        write_whole(&*self.root, STAMP, text(&cluster).as_bytes())?;
        DataDir::with(self.root, cluster, false, self.lock)
    }
}

fn lock(root: &dyn Disk) -> Result<Box<dyn DiskLock>, DataDirFault> {
    root.lock(LOCK).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => DataDirFault::Locked,
        _ => DataDirFault::Io(error),
    })
}

fn is_empty(root: &dyn Disk) -> io::Result<bool> {
    for folder in FOLDERS {
        if !root.folder(folder)?.list()?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A folder that a backup was restored into only in part is none.
fn whole(root: &dyn Disk) -> Result<(), DataDirFault> {
    if root.list()?.iter().any(|name| name == RESTORING) { Err(DataDirFault::HalfRestored) } else { Ok(()) }
}

fn text(cluster: &[u8; 16]) -> String {
    let text = format!("tollgate-data {VERSION}\ncluster {:032x}\n", u128::from_be_bytes(*cluster));
    format!("{text}{}\n", check(&text))
}

/// The third line: a flipped digit of the cluster's id would be another one. Builds that did not write it do not read it.
fn check(text: &str) -> String {
    format!("check {:08x}", crc32c::crc32c(text.as_bytes()))
}

/// The cluster's id in the stamp; None: there is no stamp.
fn stamp(root: &dyn Disk) -> Result<Option<[u8; 16]>, DataDirFault> {
    let Some(bytes) = read_whole(root, STAMP, STAMP_BYTES_MAX)? else { return Ok(None) };
    let strange = || DataDirFault::NotOurs(format!("its file {STAMP} cannot be read"));
    let text = String::from_utf8(bytes).map_err(|_| strange())?;
    let mut lines = text.lines();
    let found: u32 =
        lines.next().and_then(|line| line.strip_prefix("tollgate-data ")).and_then(|version| version.parse().ok()).ok_or_else(strange)?;
    if found > VERSION {
        return Err(DataDirFault::Newer { found });
    }
    let cluster = lines.next().and_then(|line| line.strip_prefix("cluster ")).filter(|id| id.len() == 32);
    let cluster = cluster.and_then(|id| u128::from_str_radix(id, 16).ok()).ok_or_else(strange)?;
    if let Some((at, _)) = text.match_indices('\n').nth(1)
        && !text[at + 1..].is_empty()
        && text[at + 1..] != format!("{}\n", check(&text[..=at]))
    {
        return Err(strange());
    }
    Ok(Some(cluster.to_be_bytes()))
}

/// Stores without a stamp are somebody's data: nothing new is begun beside them.
fn refuse_strange(root: &dyn Disk) -> Result<(), DataDirFault> {
    for folder in FOLDERS {
        if !root.folder(folder)?.list()?.is_empty() {
            return Err(DataDirFault::NotOurs(format!("it has no file {STAMP}, but files in {folder}/")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::disk::MemoryDisk;

    fn fault(disk: &MemoryDisk) -> String {
        DataDir::open(Arc::new(disk.clone()), [9; 16]).err().expect("it must be refused").to_string()
    }

    #[test]
    fn a_new_one_keeps_its_cluster() {
        let disk = MemoryDisk::new();
        let first = DataDir::open(Arc::new(disk.clone()), [7; 16]).unwrap();
        assert!(first.is_new && first.cluster == [7; 16]);
        assert!(fault(&disk).contains("in use"));
        drop(first);
        let again = DataDir::open(Arc::new(disk.clone()), [8; 16]).unwrap();
        assert!(again.is_new && again.cluster == [7; 16], "the first start came no further than the stamp");
        drop(again);
        disk.put("log/00000000000000000000.seg", vec![1]);
        let second = DataDir::open(Arc::new(disk), [8; 16]).unwrap();
        assert!(!second.is_new && second.cluster == [7; 16]);
    }

    #[test]
    fn every_flip_of_the_stamp_is_noticed() {
        let disk = MemoryDisk::new();
        drop(DataDir::open(Arc::new(disk.clone()), [7; 16]).unwrap());
        let stamp = read_whole(&disk, STAMP, STAMP_BYTES_MAX).unwrap().unwrap();
        for at in 0..stamp.len() {
            let mut flipped = stamp.clone();
            flipped[at] ^= 1;
            disk.put(STAMP, flipped);
            assert!(DataDir::open_existing(Arc::new(disk.clone())).is_err(), "flipped at {at}");
        }
        let before = stamp.split_inclusive(|byte| *byte == b'\n').take(2).collect::<Vec<_>>().concat();
        disk.put(STAMP, before);
        assert_eq!(DataDir::open_existing(Arc::new(disk)).unwrap().cluster, [7; 16]);
    }

    #[test]
    fn what_is_half_restored_is_refused() {
        let disk = MemoryDisk::new();
        let restoring = DataDir::begin_restoring(Arc::new(disk.clone())).unwrap();
        assert!(fault(&disk).contains("in use by another process"));
        drop(restoring.of([7; 16]).unwrap());
        assert!(fault(&disk).contains("did not come to its end"));
        assert!(DataDir::open_existing(Arc::new(disk.clone())).is_err());
        assert!(DataDir::begin_restoring(Arc::new(disk.clone())).is_err());
        DataDir::end_restoring(&disk).unwrap();
        assert_eq!(DataDir::open(Arc::new(disk), [8; 16]).unwrap().cluster, [7; 16]);
    }

    #[test]
    fn what_is_newer_or_strange_is_refused() {
        let disk = MemoryDisk::new();
        disk.put("VERSION", b"tollgate-data 2\ncluster 0".to_vec());
        assert!(fault(&disk).contains("newer build"));
        for strange in ["", "tollgate-data x", "tollgate-data 1\n", "tollgate-data 1\ncluster 12\n"] {
            disk.put("VERSION", strange.into());
            assert!(fault(&disk).contains("cannot be read"), "{strange:?}");
        }
        let disk = MemoryDisk::new();
        disk.put("log/00000000000000000000.seg", vec![1]);
        assert!(fault(&disk).contains("files in log/"));
        assert!(DataDir::open_existing(Arc::new(disk)).err().unwrap().to_string().contains("no file VERSION"));
    }
}
