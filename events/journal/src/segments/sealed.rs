//! Sealing: a footer behind the last record, a trailer behind the footer, and a name with range and head.

use super::{Body, KIND_FOOTER, Segment, Segments, readable, writable};
use crate::{
    disk::{Damage, DiskFile},
    frame::{self, Found, Frame, Frames},
};
use serde::{Deserialize, Serialize};
use std::{
    io,
    sync::{Arc, OnceLock},
};

/// `offset of the footer u64 | magic u32 | crc32c of both u32`.
pub(crate) const TRAILER_BYTES: usize = 16;
const TRAILER_MAGIC: [u8; 4] = *b"TGsl";

/// What a sealed file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Footer {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// Where the records end.
    pub(crate) end: u64,
    pub(crate) stride: u32,
    /// The place of every `stride`-th record.
    pub(crate) offsets: Vec<u32>,
    /// The part of its name that tells what is inside.
    pub(crate) tag: String,
    /// The owner's own words.
    pub(crate) extra: Vec<u8>,
}

impl Footer {
    pub(crate) fn name(&self) -> String {
        format!("{:020}-{:020}-{}.seg", self.first, self.first + self.count - 1, self.tag)
    }
}

/// The range in a sealed file's name: first and last.
pub(crate) fn range_of(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix(".seg")?.split('-');
    let (first, last, _tag) = (parts.next()?, parts.next()?, parts.next()?);
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (parts.next().is_none() && first <= last).then_some((first, last))
}

fn trailer(footer_at: u64) -> [u8; TRAILER_BYTES] {
    let mut out = [0; TRAILER_BYTES];
    out[..8].copy_from_slice(&footer_at.to_le_bytes());
    out[8..12].copy_from_slice(&TRAILER_MAGIC);
    let crc = crc32c::crc32c(&out[..12]);
    out[12..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads the footer of a sealed file; `name` is for the message.
pub(crate) fn read_footer(file: &dyn DiskFile, name: &str) -> io::Result<Footer> {
    let size = file.size()?;
    let bad = |offset, what: &str| io::Error::from(Damage { file: name.into(), record: None, offset, what: what.into() });
    let trailer_at = size.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| bad(size, "the trailer is cut off"))?;
    let mut found = [0; TRAILER_BYTES];
    file.read_at(trailer_at, &mut found)?;
    let footer_at = u64::from_le_bytes(found[..8].try_into().expect("eight bytes"));
    if found != trailer(footer_at) {
        return Err(bad(trailer_at, "the trailer is damaged"));
    }
    let mut frames = Frames::new(file, frame::HEAD_BYTES);
    let footer = match frames.at(footer_at)? {
        Found::Frame(frame) => parse(&frame),
        _ => None,
    };
    let footer = footer.ok_or_else(|| bad(footer_at, "the footer is damaged"))?;
    let named = name.rsplit_once('/').map_or(name, |(_, name)| name);
    if footer.name() == named && footer.end == footer_at { Ok(footer) } else { Err(bad(footer_at, "the footer is another file's")) }
}

/// The footer in a record, if it is one.
pub(super) fn parse(frame: &Frame<'_>) -> Option<Footer> {
    let footer: Footer = events::codec::decode(frame.body).ok()?;
    let right =
        frame.kind == KIND_FOOTER && footer.count > 0 && footer.stride > 0 && frame.number.checked_sub(footer.count) == Some(footer.first);
    (right && footer.offsets.len() as u64 == footer.count.div_ceil(u64::from(footer.stride))).then_some(footer)
}

impl Segments {
    /// Syncs and closes the file that is written to, for good; the next record begins another. `tag` becomes a part of its name.
    pub fn seal(&mut self, tag: &str, extra: Vec<u8>) -> io::Result<()> {
        self.once(|this| {
            this.sync_now()?;
            let footer = match readable(&this.shared).last() {
                Some(Segment { first, count, body: Body::Open { offsets, end, .. }, .. }) if *count > 0 => Footer {
                    first: *first,
                    count: *count,
                    end: *end,
                    stride: this.settings.stride,
                    offsets: offsets.clone(),
                    tag: tag.into(),
                    extra,
                },
                _ => return Ok(()),
            };
            this.finish_seal(footer)
        })
    }

    /// Also what a crash left half done.
    pub(super) fn finish_seal(&mut self, footer: Footer) -> io::Result<()> {
        let (file, name) = match readable(&self.shared).last() {
            Some(Segment { name, body: Body::Open { file, .. }, .. }) => (file.clone(), name.clone()),
            _ => return Err(io::Error::other("no file is open")),
        };
        let mut bytes = Vec::new();
        let number = footer.first + footer.count;
        frame::write(&mut bytes, KIND_FOOTER, number, number, &[&events::codec::encode(&footer)])?;
        bytes.extend_from_slice(&trailer(footer.end));
        file.write_at(footer.end, &bytes)?;
        file.set_len(footer.end + bytes.len() as u64)?;
        file.sync_data()?;
        self.disk.rename(&name, &footer.name())?;
        self.disk.sync_dir()?;
        if let Some(segment) = writable(&self.shared).last_mut() {
            segment.name = footer.name();
            segment.body = Body::Sealed { footer: Arc::new(OnceLock::from(Arc::new(footer))) };
        }
        Ok(())
    }

    /// The footer of the last sealed file.
    pub(crate) fn last_footer(&self) -> io::Result<Option<Arc<Footer>>> {
        let last = {
            let segments = readable(&self.shared);
            let sealed = |segment: &&Segment| matches!(segment.body, Body::Sealed { .. });
            segments.iter().rev().find(sealed).map(|segment| (segment.first, segment.after()))
        };
        last.map(|(first, _)| self.reader().footer(first)).transpose()
    }
}
