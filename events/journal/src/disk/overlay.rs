//! A disk under glass: what is written stays in memory, so that stores can be opened, and put right, without changing a file.

use super::{Disk, DiskFile, DiskLock};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bytes that are copied when one of them is written.
const PAGE: u64 = 4096;

/// See the module. A clone is the same disk.
#[derive(Clone)]
pub struct Overlay {
    below: Arc<dyn Disk>,
    /// Names that were touched; None: gone.
    names: Arc<Mutex<BTreeMap<String, Option<Arc<Covered>>>>>,
}

/// A file, and what was written over it.
struct Covered {
    below: Option<Arc<dyn DiskFile>>,
    inner: Mutex<Cover>,
}

struct Cover {
    size: u64,
    /// Bytes of the file below that still show: less than it has once it was cut.
    shows: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub fn new(below: Arc<dyn Disk>) -> Overlay {
        Overlay { below, names: Arc::default() }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<Covered>>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, name: &str) -> io::Result<Arc<Covered>> {
        let mut names = self.names();
        match names.get(name) {
            Some(Some(file)) => Ok(file.clone()),
            Some(None) => Err(io::Error::new(io::ErrorKind::NotFound, name.to_owned())),
            None => {
                let below = self.below.open(name)?;
                let size = below.size()?;
                let file = Arc::new(Covered { below: Some(below), inner: Mutex::new(Cover { size, shows: size, pages: BTreeMap::new() }) });
                names.insert(name.to_owned(), Some(file.clone()));
                Ok(file)
            }
        }
    }
}

impl Disk for Overlay {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.find(name)?)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = Arc::new(Covered { below: None, inner: Mutex::new(Cover { size: 0, shows: 0, pages: BTreeMap::new() }) });
        self.names().insert(name.to_owned(), Some(file.clone()));
        Ok(file)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.names();
        let mut found: Vec<String> = self.below.list()?.into_iter().filter(|name| !names.contains_key(name)).collect();
        found.extend(names.iter().filter(|(_, file)| file.is_some()).map(|(name, _)| name.clone()));
        found.sort();
        Ok(found)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.find(from)?;
        let mut names = self.names();
        names.insert(to.to_owned(), Some(file));
        names.insert(from.to_owned(), None);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.names().insert(name.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        self.below.free_space()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        self.below.lock(name)
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(Overlay::new(self.below.folder(name)?)))
    }
}

impl Covered {
    fn cover(&self) -> MutexGuard<'_, Cover> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it shows.
    fn page(&self, cover: &Cover, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = cover.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE as usize];
        let start = number * PAGE;
        let shown = cover.shows.saturating_sub(start).min(PAGE) as usize;
        if let (Some(below), 1..) = (&self.below, shown) {
            below.read_at(start, &mut page[..shown])?;
        }
        Ok(page)
    }
}

impl DiskFile for Covered {
    fn size(&self) -> io::Result<u64> {
        Ok(self.cover().size)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let cover = self.cover();
        let want = cover.size.saturating_sub(offset).min(out.len() as u64) as usize;
        if cover.pages.is_empty() && cover.shows == cover.size {
            return self.below.as_ref().map_or(Ok(0), |below| below.read_at(offset, &mut out[..want]));
        }
        let mut done = 0;
        while done < want {
            let at = offset + done as u64;
            let page = self.page(&cover, at / PAGE)?;
            let skip = (at % PAGE) as usize;
            let piece = (want - done).min(page.len() - skip);
            out[done..done + piece].copy_from_slice(&page[skip..skip + piece]);
            done += piece;
        }
        Ok(want)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut cover = self.cover();
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let mut page = self.page(&cover, at / PAGE)?;
            let skip = (at % PAGE) as usize;
            let piece = (data.len() - done).min(page.len() - skip);
            page[skip..skip + piece].copy_from_slice(&data[done..done + piece]);
            cover.pages.insert(at / PAGE, page);
            done += piece;
        }
        cover.size = cover.size.max(offset + data.len() as u64);
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut cover = self.cover();
        if bytes < cover.size {
            cover.shows = cover.shows.min(bytes);
            cover.pages.retain(|number, _| number * PAGE < bytes);
            if let Some(page) = cover.pages.get_mut(&(bytes / PAGE)) {
                page[(bytes % PAGE) as usize..].fill(0);
            }
        }
        cover.size = bytes;
        Ok(())
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        let size = self.size()?;
        self.set_len(bytes.max(size))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{MemoryDisk, read_whole};
    use proptest::prelude::*;

    proptest! {
        /// The same as a disk that may be written, and nothing reaches the disk below.
        #[test]
        fn it_is_a_disk(start in proptest::collection::vec(any::<u8>(), 0..10_000), acts in proptest::collection::vec((0..3u8, 0..12_000u64, 0..6_000usize), 0..12)) {
            let below = MemoryDisk::new();
            below.put("file", start.clone());
            let real = below.copy();
            let over = Overlay::new(Arc::new(below.clone()));
            for (act, at, len) in acts {
                for disk in [&real as &dyn Disk, &over] {
                    let file = disk.open("file").unwrap();
                    match act {
                        0 => file.write_at(at, &vec![7; len]).unwrap(),
                        1 => file.set_len(at).unwrap(),
                        _ => file.preallocate(at).unwrap(),
                    }
                }
            }
            prop_assert_eq!(read_whole(&over, "file", 1 << 20).unwrap(), read_whole(&real, "file", 1 << 20).unwrap());
            prop_assert_eq!(below.bytes("file"), Some(start));
        }
    }

    #[test]
    fn names_change_above_only() {
        let below = MemoryDisk::new();
        below.put("a", vec![1]);
        below.put("b", vec![2]);
        let over = Overlay::new(Arc::new(below.clone()));
        over.rename("a", "c").unwrap();
        over.remove("b").unwrap();
        over.create("d").unwrap();
        assert_eq!(over.list().unwrap(), ["c", "d"]);
        assert!(over.open("a").is_err() && over.open("b").is_err());
        assert_eq!(read_whole(&over, "c", 9).unwrap(), Some(vec![1]));
        assert_eq!(below.list().unwrap(), ["a", "b"]);
    }
}
