//! Where bodies lie: files of one tenant, one day and one time of keeping, each record compressed and sealed under the tenant's data key.
//!
//! A record is a frame of the journal's form: `call u128 | at u64 | nonce | sealed`. There is no index: a call's id begins with its time, and
//! of each file the least and greatest id are known, so that one or two files are read to find one. A file costs about 150 bytes of memory,
//! a record none.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use events::{CallId, TenantId, Timestamp, limits};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use journal::{
    disk::{Disk, read_whole},
    frame::{self, Found},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

/// A tenant's key for its bodies.
pub type DataKey = [u8; 32];

const KIND: u8 = 1;
const NONCE_BYTES: usize = 24;
/// Before what is sealed: the call's id, the time, the nonce.
const HEAD_BYTES: usize = 16 + 8 + NONCE_BYTES;
/// A record that unpacks to more was not written by us.
const RECORD_BYTES_MAX: u64 = 16 << 20;
/// A file with more than its bound and one record was not written by us.
const FILE_BYTES_MAX: u64 = limits::REQUEST_LOG_SEGMENT_BYTES_MAX + frame::BODY_BYTES_MAX as u64 + 64;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// What the files of one name have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shelf {
    tenant: TenantId,
    /// Since 1970.
    day: u64,
    keep_hours: u32,
}

impl Shelf {
    fn kept_until(&self, at: Timestamp) -> Timestamp {
        at.plus(Duration::from_secs(u64::from(self.keep_hours) * 3_600))
    }
}

struct Segment {
    shelf: Shelf,
    least: CallId,
    most: CallId,
    last_at: Timestamp,
    size: u64,
    records: u64,
}

/// See the module.
pub struct Store {
    disk: Arc<dyn Disk>,
    /// By their numbers: the oldest first.
    segments: BTreeMap<u64, Segment>,
    bytes_max: u64,
    next: u64,
}

/// A record that was found.
pub struct Record {
    pub tenant: TenantId,
    pub at: Timestamp,
    pub expires_at: Timestamp,
    call: CallId,
    sealed: Vec<u8>,
}

/// What the store did by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    pub files: u64,
    pub records: u64,
}

fn name(number: u64, shelf: &Shelf) -> String {
    format!("{number:016x}-{:016x}-{:08x}-{:04x}.bodies", shelf.tenant.0, shelf.day, shelf.keep_hours)
}

fn parse(name: &str) -> Option<(u64, Shelf)> {
    let parts: Vec<u64> =
        name.strip_suffix(".bodies")?.split('-').map(|part| u64::from_str_radix(part, 16)).collect::<Result<_, _>>().ok()?;
    let [number, tenant, day, keep] = parts.as_slice() else { return None };
    Some((*number, Shelf { tenant: TenantId(*tenant), day: *day, keep_hours: u32::try_from(*keep).ok()? }))
}

impl Store {
    /// Opens what is there. A torn end is cut off; damaged records in the middle are passed over.
    ///
    /// # Errors
    /// The disk's own.
    pub fn open(disk: Arc<dyn Disk>, bytes_max: u64) -> io::Result<Store> {
        let mut store = Store { disk, segments: BTreeMap::new(), bytes_max, next: 1 };
        for file in store.disk.list()? {
            let Some((number, shelf)) = parse(&file) else { continue };
            store.next = store.next.max(number + 1);
            let bytes = read_whole(&*store.disk, &file, FILE_BYTES_MAX)?.unwrap_or_default();
            let (records, end) = walk(&bytes);
            if end < bytes.len() {
                store.disk.open(&file)?.set_len(end as u64)?;
            }
            if records.is_empty() {
                store.disk.remove(&file)?;
                continue;
            }
            let mut segment = Segment::new(shelf);
            records.iter().for_each(|record| segment.took(record.call, record.at));
            segment.size = end as u64;
            store.segments.insert(number, segment);
        }
        Ok(store)
    }

    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|segment| segment.size).sum()
    }

    /// Where little is kept in all, files are small: the oldest of them goes as a whole.
    fn file_bytes_max(&self) -> u64 {
        limits::REQUEST_LOG_SEGMENT_BYTES_MAX.min(self.bytes_max / 8)
    }

    /// Adds a record, and lets the oldest files go if there are too many bytes.
    ///
    /// # Errors
    /// The disk's own; nothing of the record is there then.
    pub fn append(&mut self, at: Timestamp, of: (TenantId, CallId), keep_hours: u32, key: &DataKey, plain: &[u8]) -> io::Result<Gone> {
        let (tenant, call) = of;
        let shelf = Shelf { tenant, day: at.as_ms() / DAY.as_millis() as u64, keep_hours };
        let fits = |segment: &Segment| segment.shelf == shelf && segment.size < self.file_bytes_max();
        let open = self.segments.iter().rev().find(|(_, segment)| fits(segment)).map(|(number, _)| *number);
        let (number, there) = match open.map(|number| (number, self.disk.open(&name(number, &shelf)))) {
            Some((number, Ok(file))) => (number, Some(file)),
            Some((number, Err(error))) if error.kind() == io::ErrorKind::NotFound => {
                self.segments.remove(&number); // somebody removed it
                (self.next, None)
            }
            Some((_, Err(error))) => return Err(error),
            None => (self.next, None),
        };
        let (offset, count) = self.segments.get(&number).map_or((0, 0), |segment| (segment.size, segment.records));
        let (nonce, sealed) = seal(key, tenant, call, plain)?;
        let mut bytes = Vec::with_capacity(sealed.len() + 128);
        frame::write(&mut bytes, KIND, count, count, &[&call.0.to_be_bytes(), &at.0.to_le_bytes(), &nonce, &sealed])?;
        let file = there.map_or_else(|| self.disk.create(&name(number, &shelf)), Ok)?;
        file.write_at(offset, &bytes)?;
        self.next = self.next.max(number + 1);
        let segment = self.segments.entry(number).or_insert_with(|| Segment::new(shelf));
        segment.took(call, at);
        segment.size += bytes.len() as u64;
        self.evict()
    }

    /// The record of a call, if one of these tenants has it and it is not too old.
    ///
    /// # Errors
    /// The disk's own.
    pub fn find(&self, call: CallId, tenants: &BTreeSet<TenantId>, now: Timestamp) -> io::Result<Option<Record>> {
        let may_hold = |segment: &Segment| tenants.contains(&segment.shelf.tenant) && (segment.least..=segment.most).contains(&call);
        for (number, segment) in self.segments.iter().filter(|(_, segment)| may_hold(segment)) {
            let bytes = read_whole(&*self.disk, &name(*number, &segment.shelf), FILE_BYTES_MAX)?.unwrap_or_default();
            let found = walk(&bytes).0.into_iter().find(|record| record.call == call);
            if let Some(Walked { at, sealed, .. }) = found {
                let expires_at = segment.shelf.kept_until(at);
                let record = Record { tenant: segment.shelf.tenant, at, expires_at, call, sealed: sealed.to_vec() };
                return Ok(Some(record).filter(|record| now < record.expires_at));
            }
        }
        Ok(None)
    }

    /// Deletes files all of whose records are too old.
    ///
    /// # Errors
    /// The disk's own.
    pub fn expire(&mut self, now: Timestamp) -> io::Result<Gone> {
        self.remove(|segment| segment.shelf.kept_until(segment.last_at) <= now)
    }

    /// Deletes the files of tenants.
    ///
    /// # Errors
    /// The disk's own.
    pub fn erase(&mut self, is_erased: impl Fn(TenantId) -> bool) -> io::Result<Gone> {
        self.remove(|segment| is_erased(segment.shelf.tenant))
    }

    fn evict(&mut self) -> io::Result<Gone> {
        let (mut over, mut oldest) = (self.bytes().saturating_sub(self.bytes_max), BTreeSet::new());
        for (number, segment) in &self.segments {
            if over == 0 {
                break;
            }
            oldest.insert(*number);
            over = over.saturating_sub(segment.size);
        }
        self.remove_numbers(oldest)
    }

    fn remove(&mut self, is_gone: impl Fn(&Segment) -> bool) -> io::Result<Gone> {
        let gone = self.segments.iter().filter(|(_, segment)| is_gone(segment)).map(|(number, _)| *number).collect();
        self.remove_numbers(gone)
    }

    fn remove_numbers(&mut self, numbers: BTreeSet<u64>) -> io::Result<Gone> {
        let mut gone = Gone::default();
        for number in numbers {
            if let Some(segment) = self.segments.get(&number) {
                match self.disk.remove(&name(number, &segment.shelf)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {} // somebody else removed it: it is gone
                }
                gone = Gone { files: gone.files + 1, records: gone.records + segment.records };
            }
            self.segments.remove(&number);
        }
        if gone.files > 0 {
            self.disk.sync_dir()?;
        }
        Ok(gone)
    }
}

impl Segment {
    fn new(shelf: Shelf) -> Segment {
        Segment { shelf, least: CallId(u128::MAX), most: CallId(0), last_at: Timestamp(0), size: 0, records: 0 }
    }

    fn took(&mut self, call: CallId, at: Timestamp) {
        (self.least, self.most) = (self.least.min(call), self.most.max(call));
        self.last_at = self.last_at.max(at);
        self.records += 1;
    }
}

impl Record {
    /// What was kept. None: this key does not open it.
    pub fn open(&self, key: &DataKey) -> Option<Vec<u8>> {
        let (nonce, sealed) = self.sealed.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let aad = bound_to(self.tenant, self.call);
        let packed = XChaCha20Poly1305::new_from_slice(key).ok()?.decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: &aad }).ok()?;
        let mut plain = Vec::new();
        ZlibDecoder::new(packed.as_slice()).take(RECORD_BYTES_MAX).read_to_end(&mut plain).ok()?;
        Some(plain)
    }
}

fn bound_to(tenant: TenantId, call: CallId) -> Vec<u8> {
    format!("bodies of {call} of {tenant}").into_bytes()
}

fn seal(key: &DataKey, tenant: TenantId, call: CallId, plain: &[u8]) -> io::Result<([u8; NONCE_BYTES], Vec<u8>)> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(plain)?;
    let packed = packer.finish()?;
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    let aad = bound_to(tenant, call);
    let cipher = XChaCha20Poly1305::new_from_slice(key).map_err(io::Error::other)?;
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), Payload { msg: &packed, aad: &aad })
        .map_err(|_| io::Error::other("too large to be sealed"))?;
    Ok((nonce, sealed))
}

struct Walked<'a> {
    call: CallId,
    at: Timestamp,
    /// With its nonce.
    sealed: &'a [u8],
}

/// The records of a file, and where the last whole one ends.
fn walk(bytes: &[u8]) -> (Vec<Walked<'_>>, usize) {
    const STEP: usize = 8; // records begin at multiples of it
    let (mut records, mut at, mut end) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        match frame::read(&bytes[at..]) {
            Found::Frame(frame) => {
                at += frame.size() as usize;
                end = at;
                records.extend(walked(frame.body));
            }
            // damaged, or torn: whatever whole record follows counts
            Found::End | Found::Bad(_) => at += STEP,
        }
    }
    (records, end)
}

fn walked(body: &[u8]) -> Option<Walked<'_>> {
    let (call, rest) = body.split_first_chunk::<16>()?;
    let (at, sealed) = rest.split_first_chunk::<8>()?;
    (body.len() > HEAD_BYTES).then(|| Walked { call: CallId(u128::from_be_bytes(*call)), at: Timestamp(u64::from_le_bytes(*at)), sealed })
}

#[cfg(test)]
mod tests;
