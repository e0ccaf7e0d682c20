//! The hashes of a segment's leaves, 32 bytes each, in a file beside it.

use crate::{
    disk::{Damage, Disk, DiskFile, Note},
    tree::{HASH_BYTES, Hash},
};
use std::{io, sync::Arc};

/// `magic 8 bytes | first leaf u64 | zeros | crc32c u32`.
const HEAD_BYTES: usize = 32;
const MAGIC: [u8; 8] = *b"TGtree\x00\x01";

pub(super) struct TreeFile {
    file: Arc<dyn DiskFile>,
    end: u64,
    dirty: bool,
}

pub(crate) fn tree_name(first: u64) -> String {
    format!("{first:020}.tree")
}

fn head(first: u64) -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    out[..8].copy_from_slice(&MAGIC);
    out[8..16].copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c(&out[..28]);
    out[28..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// All hashes of a file. The last may be cut off.
///
/// # Errors
/// [`Damage`] (as `InvalidData`): the file is not there, or its head is not its own.
pub(crate) fn read_tree(disk: &dyn Disk, folder: &str, first: u64) -> io::Result<Vec<Hash>> {
    let name = tree_name(first);
    let damage = |what: &str| io::Error::from(Damage { file: format!("{folder}/{name}"), record: None, offset: 0, what: what.into() });
    let bytes = crate::disk::read_whole(disk, &name, u64::from(u32::MAX))?.ok_or_else(|| damage("the file is not there"))?;
    match bytes.split_first_chunk::<HEAD_BYTES>() {
        Some((found, rest)) if *found == head(first) => Ok(rest.as_chunks::<HASH_BYTES>().0.to_vec()),
        _ => Err(damage("the header is damaged")),
    }
}

/// Where a leaf's hash stands.
pub(crate) fn tree_offset(at: u64) -> u64 {
    HEAD_BYTES as u64 + at * HASH_BYTES as u64
}

impl TreeFile {
    pub(super) fn create(disk: &dyn Disk, first: u64) -> io::Result<TreeFile> {
        let file = disk.create(&tree_name(first))?;
        file.write_at(0, &head(first))?;
        disk.sync_dir()?;
        Ok(TreeFile { file, end: HEAD_BYTES as u64, dirty: true })
    }

    /// Opens the file of the open segment and brings it to what the leaves say: it may have been synced less far than they.
    pub(super) fn mend(disk: &dyn Disk, folder: &str, first: u64, hashes: &[Hash], notes: &mut Vec<Note>) -> io::Result<TreeFile> {
        let stored = match read_tree(disk, folder, first) {
            Ok(stored) => stored,
            Err(error) if Damage::of(&error).is_some() => {
                notes.push(Note(format!("{error}: made again from the leaves")));
                let mut tree = TreeFile::create(disk, first)?;
                tree.append(hashes)?;
                return Ok(tree);
            }
            Err(error) => return Err(error),
        };
        let file = disk.open(&tree_name(first))?;
        let same = stored.iter().zip(hashes).take_while(|(stored, hash)| stored == hash).count();
        if stored.get(same).zip(hashes.get(same)).is_some_and(|(stored, _)| *stored != [0; HASH_BYTES]) {
            notes.push(Note(format!("{folder}/{}: leaf {} differs from the event: written again", tree_name(first), first + same as u64)));
        }
        let end = tree_offset(same as u64);
        file.set_len(end)?;
        let mut tree = TreeFile { file, end, dirty: true };
        tree.append(&hashes[same..])?;
        Ok(tree)
    }

    pub(super) fn append(&mut self, hashes: &[Hash]) -> io::Result<()> {
        self.file.write_at(self.end, hashes.as_flattened())?;
        self.end += hashes.as_flattened().len() as u64;
        self.dirty = true;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}
