//! One stored record: `magic u16 | version u8 | kind u8 | len u32 | crc32c u32 | back u32 | number u64 | body`, little-endian, padded with
//! zeros to 8 bytes. The crc covers all but magic and itself. `back` counts the records of the same group before this one: a group is what
//! was not yet synced when the record was written, so a record of a later group proves that everything before its group was durable once.

use crate::disk::{DiskFile, WALK_STEP, Window};
use std::io;

/// Bytes before the body.
pub const HEAD_BYTES: usize = 24;
/// The largest body, in bytes: what one decoded frame may ask for.
pub const BODY_BYTES_MAX: usize = events::limits::FRAME_DECODE_MAX;
/// So many zeros stand behind the last record.
pub const END_MARK: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

const MAGIC: [u8; 2] = *b"\xF7T";
const VERSION: u8 = 1;

/// A record that was read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: u8,
    pub number: u64,
    /// The number of the first record of its group.
    pub group: u64,
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Bytes that it takes in the file.
    pub fn size(&self) -> u64 {
        size(self.body.len())
    }
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    Frame(Frame<'a>),
    /// Zeros, or the end of the file: nothing was written here.
    End,
    /// Something that is no whole record.
    Bad(&'static str),
}

/// Bytes that a record with a body of `len` bytes takes.
pub fn size(len: usize) -> u64 {
    (HEAD_BYTES + len).next_multiple_of(8) as u64
}

/// Appends a record to `out`; the body comes in parts.
///
/// # Errors
/// `InvalidInput`: the body is larger than [`BODY_BYTES_MAX`].
pub fn write(out: &mut Vec<u8>, kind: u8, number: u64, group: u64, body: &[&[u8]]) -> io::Result<()> {
    let len: usize = body.iter().map(|part| part.len()).sum();
    let back = u32::try_from(number - group).ok();
    let (Some(back), true) = (back, len <= BODY_BYTES_MAX) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a record of {len} bytes, {} behind its group's first", number - group),
        ));
    };
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&back.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    let crc = checksum(&out[start..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
    out.resize(start + size(len) as usize, 0);
    Ok(())
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[2..8]), &frame[12..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The length of the body that a head announces; None if it is no head.
fn announced(head: &[u8]) -> Option<usize> {
    let len = (head.len() >= HEAD_BYTES && head[..2] == MAGIC && head[2] == VERSION).then(|| u32_at(head, 4) as usize)?;
    (len <= BODY_BYTES_MAX).then_some(len)
}

/// Reads the record at the start of `bytes`.
pub fn read(bytes: &[u8]) -> Found<'_> {
    if bytes.iter().take(HEAD_BYTES).all(|byte| *byte == 0) {
        return Found::End;
    }
    let Some(len) = announced(bytes) else { return Found::Bad("no record starts here") };
    let Some((frame, padding)) = bytes.get(..size(len) as usize).map(|whole| whole.split_at(HEAD_BYTES + len)) else {
        return Found::Bad("the record is cut off");
    };
    if checksum(frame) != u32_at(frame, 8) || padding.iter().any(|byte| *byte != 0) {
        return Found::Bad("the checksum is wrong");
    }
    let number = u64::from_le_bytes(frame[16..24].try_into().expect("eight bytes"));
    let Some(group) = number.checked_sub(u64::from(u32_at(frame, 12))) else { return Found::Bad("the group is wrong") };
    Found::Frame(Frame { kind: frame[3], number, group, body: &frame[HEAD_BYTES..] })
}

/// Reads records out of a file.
pub(crate) struct Frames<'a> {
    window: Window<'a>,
}

impl<'a> Frames<'a> {
    /// `step`: bytes that are read ahead.
    pub(crate) fn new(file: &'a dyn DiskFile, step: usize) -> Frames<'a> {
        Frames { window: Window::new(file, step) }
    }

    /// What stands at `offset`.
    pub(crate) fn at(&mut self, offset: u64) -> io::Result<Found<'_>> {
        let head = self.window.at(offset, HEAD_BYTES)?;
        let want = announced(head).map_or(HEAD_BYTES, |len| size(len) as usize);
        Ok(read(self.window.at(offset, want)?))
    }
}

/// A record found by searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remains {
    pub(crate) offset: u64,
    pub(crate) number: u64,
    pub(crate) group: u64,
}

/// Looks behind a broken place for whole records that are not older than `expected`. The first of a later group wins, for it proves that
/// `expected` was there; else the first of all is answered.
pub(crate) fn search(file: &dyn DiskFile, from: u64, expected: u64) -> io::Result<Option<Remains>> {
    let mut frames = Frames::new(file, WALK_STEP);
    let mut block = vec![0; WALK_STEP];
    let mut start = from.next_multiple_of(8);
    let mut first = None;
    loop {
        let got = file.read_at(start, &mut block)?;
        for (at, _) in block[..got].chunks(8).enumerate().filter(|(_, word)| word.starts_with(&MAGIC)) {
            let offset = start + at as u64 * 8;
            let Found::Frame(Frame { number, group, .. }) = frames.at(offset)? else { continue };
            let found = Remains { offset, number, group };
            if number >= expected && group > expected {
                return Ok(Some(found));
            }
            first = first.or(Some(found).filter(|_| number >= expected));
        }
        if got == 0 {
            return Ok(first);
        }
        start += got.next_multiple_of(8) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};

    fn three() -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, 1, 7, 7, &[b"seven"]).unwrap();
        write(&mut out, 2, 8, 7, &[b"ei", b"ght"]).unwrap();
        write(&mut out, 3, 9, 9, &[b""]).unwrap();
        out.extend_from_slice(&END_MARK);
        out
    }

    #[test]
    fn records_read_back() {
        let bytes = three();
        let Found::Frame(seven) = read(&bytes) else { panic!("no record") };
        assert_eq!((seven.kind, seven.number, seven.group, seven.body), (1, 7, 7, b"seven".as_slice()));
        let Found::Frame(eight) = read(&bytes[seven.size() as usize..]) else { panic!("no record") };
        assert_eq!((eight.kind, eight.number, eight.group, eight.body), (2, 8, 7, b"eight".as_slice()));
        let Found::Frame(nine) = read(&bytes[(seven.size() + eight.size()) as usize..]) else { panic!("no record") };
        assert_eq!((nine.number, nine.group, nine.body.len()), (9, 9, 0));
        assert_eq!(read(&bytes[(seven.size() + eight.size() + nine.size()) as usize..]), Found::End);
    }

    #[test]
    fn every_flip_and_every_cut_is_seen() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, 7, 5, &[b"twelve bytes"]).unwrap();
        let whole = HEAD_BYTES + 16;
        for bit in 0..whole * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read(&bytes), Found::Frame(_)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 1..whole {
            assert!(!matches!(read(&bytes[..cut]), Found::Frame(_)), "cut at {cut}");
        }
    }

    #[test]
    fn a_length_beyond_the_bound_asks_for_nothing() {
        let mut bytes = three();
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&bytes), Found::Bad("no record starts here"));
        assert!(write(&mut Vec::new(), 1, 0, 0, &[&vec![0; BODY_BYTES_MAX + 1]]).is_err());
    }

    #[test]
    fn a_search_prefers_what_proves() {
        let disk = MemoryDisk::new();
        disk.put("file", three());
        let file = disk.open("file").unwrap();
        assert_eq!(search(&*file, 8, 7).unwrap().unwrap().number, 9, "nine is of a later group than seven");
        assert_eq!(search(&*file, 8, 9).unwrap().unwrap().group, 9);
        assert_eq!(search(&*file, 8, 10).unwrap(), None, "older records are the file's former life");
    }
}
