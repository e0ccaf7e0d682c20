use super::*;
use proptest::prelude::*;

/// MTH of RFC 9162 §2.1.1, word for word.
fn naive(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).into(),
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            let (left, right) = leaves.split_at(k);
            Sha256::digest([&[1], naive(left).as_slice(), naive(right).as_slice()].concat()).into()
        }
    }
}

fn leaves(count: usize) -> (Vec<Vec<u8>>, Vec<Hash>) {
    let bytes: Vec<Vec<u8>> = (0..count).map(|leaf| format!("leaf {leaf}").into_bytes()).collect();
    let hashes = bytes.iter().map(|leaf| leaf_hash(leaf)).collect();
    (bytes, hashes)
}

#[test]
fn the_head_is_the_rfcs() {
    let (bytes, hashes) = leaves(130);
    let mut frontier = Frontier::default();
    for size in 0..=bytes.len() {
        assert_eq!(frontier.root(), naive(&bytes[..size]), "{size} leaves");
        assert_eq!(Frontier::decode(&frontier.encode()).as_ref(), Some(&frontier));
        if let Some(leaf) = hashes.get(size) {
            frontier.append(*leaf);
        }
    }
}

#[test]
fn known_heads() {
    let hex = |hash: Hash| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(hex(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
}

#[test]
fn every_proof_of_small_trees_holds_and_no_other() {
    let (_, hashes) = leaves(34);
    for size in 1..=hashes.len() {
        let (tree, head) = (&hashes[..size], root(&hashes[..size]));
        for at in 0..size {
            let path = inclusion_proof(tree, at).unwrap();
            assert!(verify_inclusion(&tree[at], at as u64, size as u64, &path, &head), "{at} of {size}");
            assert!(!verify_inclusion(&leaf_hash(b"another"), at as u64, size as u64, &path, &head));
            let elsewhere = (at + 1) % size;
            assert!(size == 1 || !verify_inclusion(&tree[at], elsewhere as u64, size as u64, &path, &head));
        }
        for old in 1..=size {
            let path = consistency_proof(tree, old).unwrap();
            let old_head = root(&tree[..old]);
            assert!(verify_consistency(old as u64, &old_head, size as u64, &head, &path), "{old} in {size}");
            assert!(!verify_consistency(old as u64, &leaf_hash(b"another"), size as u64, &head, &path));
        }
    }
    assert_eq!(inclusion_proof(&hashes, hashes.len()), None);
    assert_eq!(consistency_proof(&hashes, 0), None);
}

proptest! {
    #[test]
    fn a_changed_step_proves_nothing(size in 2usize..300, seed: u64, byte in 0usize..32) {
        let (_, hashes) = leaves(size);
        let (at, old) = (seed as usize % size, seed as usize % (size - 1) + 1);
        let head = root(&hashes);
        let mut path = inclusion_proof(&hashes, at).unwrap();
        let step = seed as usize % path.len();
        path[step][byte] ^= 1;
        prop_assert!(!verify_inclusion(&hashes[at], at as u64, size as u64, &path, &head));
        let mut path = consistency_proof(&hashes, old).unwrap();
        prop_assert!(verify_consistency(old as u64, &root(&hashes[..old]), size as u64, &head, &path));
        let step = seed as usize % path.len();
        path[step][byte] ^= 1;
        prop_assert!(!verify_consistency(old as u64, &root(&hashes[..old]), size as u64, &head, &path));
    }

    #[test]
    fn bytes_that_are_no_frontier_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(frontier) = Frontier::decode(&bytes) {
            prop_assert_eq!(frontier.encode(), bytes);
        }
    }
}
