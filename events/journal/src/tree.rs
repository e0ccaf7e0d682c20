//! The hash tree over the events, as RFC 9162 hashes it: SHA-256, `0x00` before a leaf and `0x01` before two nodes.

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// A hash of a leaf, a node or the whole tree.
pub type Hash = [u8; HASH_BYTES];

/// The hash of a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of the node over two.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The head of a tree without leaves.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The head of the tree over these leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.append(*leaf));
    frontier.root()
}

/// What is needed of a tree to append to it: the heads of its whole subtrees, from the largest to the smallest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("a peak for every bit of the size");
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The head of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return empty_root() };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// `size u64` and the peaks.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.size.to_le_bytes().to_vec();
        self.peaks.iter().for_each(|peak| out.extend_from_slice(peak));
        out
    }

    /// None: these bytes are no frontier.
    pub fn decode(bytes: &[u8]) -> Option<Frontier> {
        let (size, peaks) = bytes.split_first_chunk()?;
        let size = u64::from_le_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<HASH_BYTES>();
        (rest.is_empty() && peaks.len() as u32 == size.count_ones()).then(|| Frontier { size, peaks: peaks.to_vec() })
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// The way from leaf `at` to the head of the tree over `leaves`, from below. None: there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], at: usize) -> Option<Vec<Hash>> {
    if at >= leaves.len() {
        return None;
    }
    let (mut rest, mut at, mut path) = (leaves, at, Vec::new());
    while rest.len() > 1 {
        let (left, right) = rest.split_at(split(rest.len()));
        if at < left.len() {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            at -= left.len();
            rest = right;
        }
    }
    path.reverse();
    Some(path)
}

/// The leaf stands at `at` in the tree of this size and head.
pub fn verify_inclusion(leaf: &Hash, at: u64, size: u64, path: &[Hash], head: &Hash) -> bool {
    if at >= size {
        return false;
    }
    let (mut fnode, mut snode, mut hash) = (at, size - 1, *leaf);
    for step in path {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node_hash(step, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && hash == *head
}

/// Proof that the tree over the first `old` leaves is the beginning of the one over all. None: there are not so many, or `old` is 0.
pub fn consistency_proof(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    if old == 0 || old > leaves.len() {
        return None;
    }
    let (mut rest, mut old, mut whole, mut path) = (leaves, old, true, Vec::new());
    while old < rest.len() {
        let (left, right) = rest.split_at(split(rest.len()));
        if old <= left.len() {
            path.push(root(right));
            rest = left;
        } else {
            path.push(root(left));
            old -= left.len();
            rest = right;
            whole = false;
        }
    }
    if !whole {
        path.push(root(rest));
    }
    path.reverse();
    Some(path)
}

/// The tree of size `old` and head `old_head` is the beginning of the one of size `new` and head `new_head`.
pub fn verify_consistency(old: u64, old_head: &Hash, new: u64, new_head: &Hash, path: &[Hash]) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_head == new_head;
    }
    let mut steps = path.iter();
    let first = if old.is_power_of_two() { Some(old_head) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut fnode, mut snode) = (old - 1, new - 1);
    while fnode & 1 == 1 {
        fnode >>= 1;
        snode >>= 1;
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for step in steps {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            from_old = node_hash(step, &from_old);
            from_new = node_hash(step, &from_new);
            while fnode & 1 == 0 && fnode != 0 {
                fnode >>= 1;
                snode >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, step);
        }
        fnode >>= 1;
        snode >>= 1;
    }
    snode == 0 && from_old == *old_head && from_new == *new_head
}
