//! The real disk: a folder of the file system.

use fs4::FileExt as _;
use journal::disk::{Disk, DiskFile, DiskLock};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RealDisk {
    folder: PathBuf,
}

impl RealDisk {
    /// The folder is made if it is not there.
    pub fn new(folder: impl AsRef<Path>) -> io::Result<RealDisk> {
        let folder = folder.as_ref();
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(RealDisk { folder: folder.to_path_buf() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A message from the file system does not say which file.
    fn named<R>(&self, name: &str, done: io::Result<R>) -> io::Result<R> {
        done.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path(name).display())))
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.named(name, OpenOptions::new().read(true).write(true).open(self.path(name)))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(self.path(name));
        Ok(Arc::new(RealFile(self.named(name, made)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = entry
                    .file_name()
                    .into_string()
                    .map_err(|name| io::Error::other(format!("a file with a strange name: {}", name.display())))?;
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.named(from, fs::rename(self.path(from), self.path(to)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.named(name, fs::remove_file(self.path(name)))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.named("", File::open(&self.folder).and_then(|folder| folder.sync_all()))
    }

    fn free_space(&self) -> io::Result<u64> {
        fs4::available_space(&self.folder)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(name));
        let file = self.named(name, opened)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => {
                Err(io::Error::new(io::ErrorKind::WouldBlock, format!("{} is locked", self.path(name).display())))
            }
            Err(TryLockError::Error(error)) => self.named(name, Err(error)),
        }
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(RealDisk::new(self.path(name))?))
    }
}

/// Held as long as the file is open.
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < out.len() {
            match self.0.read_at(&mut out[got..], offset + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        if self.size()? >= bytes {
            return Ok(());
        }
        match self.0.allocate(bytes) {
            // a file system that cannot reserve room: a full disk shows itself at the write then
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.0.set_len(bytes),
            done => done,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
