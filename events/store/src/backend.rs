//! redb over a file of the port `Disk`, so that a simulation can cut its power too.

use journal::disk::DiskFile;
use redb::StorageBackend;
use std::{fmt, io, sync::Arc};

pub(crate) struct Backend(pub(crate) Arc<dyn DiskFile>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.read_at(offset, out)? {
            got if got == out.len() => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is cut off")),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
