//! A disk in memory that fails as real ones do: what was not synced is lost, kept or torn at a power cut, decided by a seed.

use super::{Disk, DiskFile, DiskLock};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a disk writes or loses as one.
const SECTOR: usize = 512;

/// See the module. A clone is the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    inner: Arc<Mutex<Inner>>,
    folder: String,
}

#[derive(Clone, Default)]
struct Node {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

#[derive(Clone)]
enum Naming {
    Made(String, u64),
    Renamed(String, String),
    Removed(String),
}

impl Naming {
    fn folder(&self) -> &str {
        let (Naming::Made(path, _) | Naming::Renamed(path, _) | Naming::Removed(path)) = self;
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Naming::Made(path, node) => drop(names.insert(path.clone(), *node)),
            Naming::Removed(path) => drop(names.remove(path)),
            Naming::Renamed(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
        }
    }
}

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    naming: Vec<Naming>,
    locks: BTreeSet<String>,
    /// Operations that changed something, so far.
    ops: u64,
    die_at: Option<u64>,
    dead: bool,
    /// This many syncs succeed before one fails.
    syncs_left: Option<u64>,
    capacity: Option<u64>,
}

impl Inner {
    /// Counts an operation; dies at the one that was chosen, before it is done.
    fn step(&mut self) -> io::Result<()> {
        self.ops += 1;
        if self.die_at.is_some_and(|at| self.ops > at) {
            self.dead = true;
        }
        self.alive()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power is cut")) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|node| self.nodes.get(node)).map(|node| node.now.len() as u64).sum()
    }

    fn room_for(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if more > 0 && self.used() + more > capacity => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left")),
            _ => Ok(()),
        }
    }

    fn change_names(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.naming.push(naming);
    }

    fn sync_fails(&mut self) -> bool {
        match &mut self.syncs_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

/// Applies a write to bytes, lengthening them if need be.
fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("files in memory are small")
}

/// A small generator (splitmix64): the seed decides all.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl Node {
    /// What it is once everything was written, the write included that its process was killed in.
    fn written(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for pending in &self.pending {
            match pending {
                Pending::SetLen(len) => bytes.resize(place(*len), 0),
                Pending::Write(offset, data) => write(&mut bytes, place(*offset), data),
            }
        }
        bytes
    }

    /// What is left of it after a power cut.
    fn survive(&self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for pending in &self.pending {
            let fate = chance.below(4);
            match pending {
                Pending::SetLen(len) if fate < 2 => bytes.resize(place(*len), 0),
                Pending::SetLen(_) => {}
                Pending::Write(offset, data) => {
                    let mut at = place(*offset);
                    let mut rest = data.as_slice();
                    while !rest.is_empty() {
                        let (sector, after) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
                        if fate == 0 || (fate > 1 && chance.below(2) == 0) {
                            write(&mut bytes, at, sector);
                        }
                        at += sector.len();
                        rest = after;
                    }
                }
            }
        }
        bytes
    }
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> String {
        if self.folder.is_empty() { name.into() } else { format!("{}/{name}", self.folder) }
    }

    /// Cuts the power after so many more changing operations.
    pub fn die_after(&self, ops: u64) {
        let mut inner = self.inner();
        inner.die_at = Some(inner.ops + ops);
    }

    /// Changing operations so far.
    pub fn ops(&self) -> u64 {
        self.inner().ops
    }

    /// Lets so many syncs succeed; from then on each fails and what it should have written is lost.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.inner().syncs_left = Some(syncs);
    }

    /// Bytes that all files may have in all.
    pub fn set_capacity(&self, bytes: u64) {
        self.inner().capacity = Some(bytes);
    }

    /// What is on the disk after a power cut now; the seed decides what survives of what was not synced. The old disk is dead.
    pub fn power_cut(&self, seed: u64) -> MemoryDisk {
        let mut inner = self.inner();
        inner.dead = true;
        let chance = &mut Chance(seed);
        let mut names = inner.durable_names.clone();
        let folders: BTreeSet<&str> = inner.naming.iter().map(Naming::folder).collect();
        for folder in folders {
            let namings: Vec<&Naming> = inner.naming.iter().filter(|naming| naming.folder() == folder).collect();
            let kept = chance.below(namings.len() as u64 + 1);
            namings.iter().take(place(kept)).for_each(|naming| naming.apply(&mut names));
        }
        let mut nodes = BTreeMap::new();
        for node in names.values() {
            let bytes = inner.nodes.get(node).expect("a name leads to a node").survive(chance);
            nodes.insert(*node, Node { durable: bytes.clone(), now: bytes, pending: Vec::new() });
        }
        let after = Inner { nodes, next_node: inner.next_node, durable_names: names.clone(), names, ..Inner::default() };
        MemoryDisk { inner: Arc::new(Mutex::new(after)), folder: self.folder.clone() }
    }

    /// What the next process finds after this one was killed: all that was written, and none of it more durable than it was. The old
    /// disk is dead.
    pub fn killed(&self) -> MemoryDisk {
        let mut inner = self.inner();
        inner.dead = true;
        let nodes = inner.nodes.iter().map(|(number, node)| (*number, Node { now: node.written(), ..node.clone() })).collect();
        let after = Inner {
            nodes,
            next_node: inner.next_node,
            names: inner.names.clone(),
            durable_names: inner.durable_names.clone(),
            naming: inner.naming.clone(),
            ..Inner::default()
        };
        MemoryDisk { inner: Arc::new(Mutex::new(after)), folder: self.folder.clone() }
    }

    /// Another disk with what is on this one now, all of it durable.
    pub fn copy(&self) -> MemoryDisk {
        let inner = self.inner();
        let made_durable = |node: &Node| Node { durable: node.now.clone(), now: node.now.clone(), pending: Vec::new() };
        let nodes = inner.nodes.iter().map(|(number, node)| (*number, made_durable(node))).collect();
        let after =
            Inner { nodes, next_node: inner.next_node, durable_names: inner.names.clone(), names: inner.names.clone(), ..Inner::default() };
        MemoryDisk { inner: Arc::new(Mutex::new(after)), folder: self.folder.clone() }
    }

    /// Flips bits of one stored byte. False: the file has no such byte.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) -> bool {
        self.tamper(name, |bytes| {
            bytes.get_mut(place(offset)).is_some_and(|byte| {
                *byte ^= mask;
                true
            })
        })
    }

    /// Cuts a stored file. False: it is not that long.
    pub fn cut(&self, name: &str, bytes_left: u64) -> bool {
        self.tamper(name, |bytes| {
            let longer = bytes.len() > place(bytes_left);
            bytes.truncate(place(bytes_left));
            longer
        })
    }

    /// The bytes of a file as they are now.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner();
        inner.names.get(&self.path(name)).and_then(|node| inner.nodes.get(node)).map(|node| node.now.clone())
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let path = self.path(name);
        let mut inner = self.inner();
        let number = inner.next_node;
        inner.next_node += 1;
        inner.nodes.insert(number, Node { durable: bytes.clone(), now: bytes, pending: Vec::new() });
        inner.names.insert(path.clone(), number);
        inner.durable_names.insert(path, number);
    }

    fn tamper(&self, name: &str, change: impl Fn(&mut Vec<u8>) -> bool) -> bool {
        let mut inner = self.inner();
        let Some(number) = inner.names.get(&self.path(name)).copied() else { return false };
        let node = inner.nodes.get_mut(&number).expect("a name leads to a node");
        change(&mut node.durable);
        change(&mut node.now)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = self.inner();
        inner.alive()?;
        match inner.names.get(&self.path(name)) {
            Some(node) => Ok(Arc::new(File { inner: self.inner.clone(), node: *node })),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", self.path(name)))),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.inner();
        inner.step()?;
        let number = inner.next_node;
        inner.next_node += 1;
        inner.nodes.insert(number, Node::default());
        inner.change_names(Naming::Made(self.path(name), number));
        Ok(Arc::new(File { inner: self.inner.clone(), node: number }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.inner();
        inner.alive()?;
        let here = self.path("");
        let below = inner.names.keys().filter_map(|path| path.strip_prefix(&here)).filter(|name| !name.contains('/'));
        Ok(below.map(String::from).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        if !inner.names.contains_key(&self.path(from)) {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", self.path(from))));
        }
        inner.change_names(Naming::Renamed(self.path(from), self.path(to)));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.step()?;
        inner.change_names(Naming::Removed(self.path(name)));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut guard = self.inner();
        guard.step()?;
        let inner = &mut *guard;
        if inner.sync_fails() {
            return Err(io::Error::other("input/output error"));
        }
        let (here, elsewhere) = std::mem::take(&mut inner.naming).into_iter().partition(|naming| naming.folder() == self.folder);
        inner.naming = elsewhere;
        let here: Vec<Naming> = here;
        here.iter().for_each(|naming| naming.apply(&mut inner.durable_names));
        Ok(())
    }

    fn free_space(&self) -> io::Result<u64> {
        let inner = self.inner();
        Ok(inner.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(inner.used())))
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn DiskLock>> {
        let path = self.path(name);
        if !self.inner().locks.insert(path.clone()) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "locked"));
        }
        Ok(Box::new(Lock { inner: self.inner.clone(), path }))
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(MemoryDisk { inner: self.inner.clone(), folder: self.path(name) }))
    }
}

struct Lock {
    inner: Arc<Mutex<Inner>>,
    path: String,
}

impl DiskLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).locks.remove(&self.path);
    }
}

struct File {
    inner: Arc<Mutex<Inner>>,
    node: u64,
}

impl File {
    fn with<R>(&self, change: impl FnOnce(&mut Inner, u64) -> io::Result<R>) -> io::Result<R> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut inner, self.node)
    }

    fn resize(&self, bytes: u64, may_cut: bool) -> io::Result<()> {
        self.with(|inner, number| {
            inner.step()?;
            let size = inner.nodes.get(&number).expect("an open file has a node").now.len() as u64;
            if bytes < size && !may_cut {
                return Ok(());
            }
            inner.room_for(bytes.saturating_sub(size))?;
            let node = inner.nodes.get_mut(&number).expect("an open file has a node");
            node.now.resize(place(bytes), 0);
            node.pending.push(Pending::SetLen(bytes));
            Ok(())
        })
    }
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        self.with(|inner, number| {
            inner.alive()?;
            Ok(inner.nodes.get(&number).expect("an open file has a node").now.len() as u64)
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.with(|inner, number| {
            inner.alive()?;
            let bytes = &inner.nodes.get(&number).expect("an open file has a node").now;
            let rest = bytes.get(place(offset)..).unwrap_or_default();
            let got = rest.len().min(out.len());
            out[..got].copy_from_slice(&rest[..got]);
            Ok(got)
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.with(|inner, number| {
            let was_alive = inner.alive().is_ok();
            let died = inner.step();
            let size = inner.nodes.get(&number).expect("an open file has a node").now.len() as u64;
            inner.room_for((offset + data.len() as u64).saturating_sub(size))?;
            let node = inner.nodes.get_mut(&number).expect("an open file has a node");
            // The write that the power is cut in may have reached the disk in part.
            if was_alive {
                node.pending.push(Pending::Write(offset, data.to_vec()));
            }
            died?;
            write(&mut node.now, place(offset), data);
            Ok(())
        })
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes, true)
    }

    fn preallocate(&self, bytes: u64) -> io::Result<()> {
        self.resize(bytes, false)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|inner, number| {
            inner.step()?;
            let fails = inner.sync_fails();
            let node = inner.nodes.get_mut(&number).expect("an open file has a node");
            node.pending.clear();
            if fails {
                return Err(io::Error::other("input/output error"));
            }
            node.durable.clone_from(&node.now);
            Ok(())
        })
    }
}
