//! Reading, from any thread. Every record is checked: its crc, and that it is the next one.

use super::{Body, Footer, KIND_FOOTER, KIND_HEADER, RECORDS_AT, Segment, Settings, Shared, open::check_header, readable, sealed};
use crate::{
    disk::{Damage, Disk, DiskFile, WALK_STEP},
    frame::{Found, Frames},
};
use std::{
    io,
    sync::{Arc, OnceLock},
};

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    pub kind: u8,
    pub body: Vec<u8>,
}

/// See [`super::Segments::reader`]. Cheap to clone.
#[derive(Clone)]
pub struct SegmentsReader {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) shared: Shared,
    pub(super) settings: Settings,
}

/// Where to start reading in one file.
struct Place {
    name: String,
    file: Option<Arc<dyn DiskFile>>,
    first: u64,
    after: u64,
    /// A record at or before the wanted one, and its place; None where the footer knows.
    from: Option<(u64, u64)>,
}

impl SegmentsReader {
    /// The number behind the last record.
    pub fn next(&self) -> u64 {
        readable(&self.shared).last().map_or(0, Segment::after)
    }

    /// Records from `from` on: at most `limit`, and no more than `max_bytes` of bodies, but at least one if there is one.
    ///
    /// # Errors
    /// `NotFound`: `from` was purged. [`Damage`] (as `InvalidData`): what is stored there is not what was written.
    pub fn read(&self, from: u64, limit: usize, max_bytes: usize) -> io::Result<Vec<Record>> {
        let mut out: Vec<Record> = Vec::new();
        let mut bytes = 0;
        while out.len() < limit && (out.is_empty() || bytes < max_bytes) {
            let next = from + out.len() as u64;
            let Some(place) = self.place(next)? else { break };
            let before = out.len();
            let read = self.read_place(&place, next, &mut out, limit, max_bytes, &mut bytes);
            read.map_err(|error| if self.place(next).is_err() { purged(next) } else { error })?;
            if out.len() == before {
                break;
            }
        }
        Ok(out)
    }

    fn place(&self, number: u64) -> io::Result<Option<Place>> {
        let segments = readable(&self.shared);
        let at = segments.partition_point(|segment| segment.after() <= number);
        let Some(segment) = segments.get(at) else { return Ok(None) };
        if number < segment.first {
            return Err(purged(number));
        }
        let stride = u64::from(self.settings.stride);
        let (file, from) = match &segment.body {
            Body::Open { file, offsets, .. } => {
                let at = (number - segment.first) / stride;
                let offset = offsets.get(at as usize).ok_or_else(|| io::Error::other("a record without a place"))?;
                (Some(file.clone()), Some((segment.first + at * stride, u64::from(*offset))))
            }
            Body::Sealed { footer } => (None, footer.get().and_then(|footer| footer_place(footer, number))),
        };
        Ok(Some(Place { name: segment.name.clone(), file, first: segment.first, after: segment.after(), from }))
    }

    fn read_place(
        &self,
        place: &Place,
        next: u64,
        out: &mut Vec<Record>,
        limit: usize,
        max_bytes: usize,
        bytes: &mut usize,
    ) -> io::Result<()> {
        let file = match &place.file {
            Some(file) => file.clone(),
            None => self.disk.open(&place.name)?,
        };
        let damage = |record, offset, what: &str| -> io::Error {
            Damage { file: format!("{}/{}", self.settings.folder, place.name), record: Some(record), offset, what: what.into() }.into()
        };
        let (mut number, mut offset) = match place.from {
            Some(from) => from,
            None => footer_place(&*self.footer(place.first)?, next).ok_or_else(|| damage(next, 0, "the footer does not know it"))?,
        };
        let wanted = limit.saturating_sub(out.len()).min((place.after - next) as usize);
        let mut frames = Frames::new(&*file, WALK_STEP.min(4096.max(wanted.saturating_mul(512))));
        while number < place.after && out.len() < limit && (out.is_empty() || *bytes < max_bytes) {
            match frames.at(offset)? {
                Found::Frame(frame) if frame.number == number && !matches!(frame.kind, KIND_HEADER | KIND_FOOTER) => {
                    if number >= next {
                        *bytes += frame.body.len();
                        if *bytes > max_bytes && !out.is_empty() {
                            return Ok(());
                        }
                        out.push(Record { number, kind: frame.kind, body: frame.body.to_vec() });
                    }
                    offset += frame.size();
                    number += 1;
                }
                Found::Frame(_) => return Err(damage(number, offset, "another record stands here")),
                Found::End => return Err(damage(number, offset, "nothing stands here")),
                Found::Bad(why) => return Err(damage(number, offset, why)),
            }
        }
        Ok(())
    }

    /// The footer of the sealed file that starts with this record; read once.
    pub(crate) fn footer(&self, first: u64) -> io::Result<Arc<Footer>> {
        let found = readable(&self.shared).iter().find(|segment| segment.first == first).and_then(|segment| match &segment.body {
            Body::Sealed { footer } => Some((footer.clone(), segment.name.clone())),
            Body::Open { .. } => None,
        });
        let (cell, name): (Arc<OnceLock<Arc<Footer>>>, String) = found.ok_or_else(|| purged(first))?;
        if let Some(footer) = cell.get() {
            return Ok(footer.clone());
        }
        let footer = sealed::read_footer(&*self.disk.open(&name)?, &format!("{}/{name}", self.settings.folder))?;
        Ok(cell.get_or_init(|| Arc::new(footer)).clone())
    }

    /// The header of the file that starts with this record is its own.
    pub(crate) fn check_header(&self, first: u64) -> io::Result<()> {
        let found = readable(&self.shared).iter().find(|segment| segment.first == first).map(|segment| segment.name.clone());
        let name = found.ok_or_else(|| purged(first))?;
        let file = self.disk.open(&name)?;
        let damage = |what| Damage { file: format!("{}/{name}", self.settings.folder), record: None, offset: 0, what }.into();
        check_header(&mut Frames::new(&*file, RECORDS_AT as usize), self.settings.purpose, first).map_err(damage)
    }

    /// First records and counts of the sealed files, then of the open one.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64, bool)> {
        readable(&self.shared).iter().map(|segment| (segment.first, segment.count, matches!(segment.body, Body::Sealed { .. }))).collect()
    }
}

fn footer_place(footer: &Footer, number: u64) -> Option<(u64, u64)> {
    let at = number.checked_sub(footer.first)? / u64::from(footer.stride);
    let offset = footer.offsets.get(usize::try_from(at).ok()?)?;
    Some((footer.first + at * u64::from(footer.stride), u64::from(*offset)))
}

fn purged(number: u64) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("record {number} was purged"))
}
