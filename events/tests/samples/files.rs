//! The golden files, for every test that begins with them.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// All leaves by their type, in order.
pub fn leaves() -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder()).expect("the folder is there").map(|file| file.expect("an entry").path());
    let mut leaves: Vec<(String, Vec<u8>)> = files
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".hex")?.to_owned();
            Some((name, from_hex(&fs::read_to_string(&path).expect("a file of text"))))
        })
        .collect();
    leaves.sort();
    leaves
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter(|letter| !letter.is_whitespace()).map(|letter| letter.to_digit(16).expect("hex")).collect();
    assert_eq!(digits.len() % 2, 0, "half a byte");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
