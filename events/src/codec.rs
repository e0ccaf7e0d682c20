//! bincode behind one door: always with a limit, and every byte must be used. Never for bytes from HTTP.

use crate::limits::FRAME_DECODE_MAX;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable(pub String);

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "undecodable: {}", self.0)
    }
}

impl std::error::Error for Undecodable {}

/// Without the limit a frame of 73 bytes can ask for a terabyte and abort the process.
fn config() -> Configuration<LittleEndian, Varint, Limit<FRAME_DECODE_MAX>> {
    bincode::config::standard().with_limit::<FRAME_DECODE_MAX>()
}

/// Our own types always encode: they hold no map with unknown length and no type that refuses.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).expect("plain data encodes")
}

/// Appends the encoding to `out`.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, out, bincode::config::standard()).expect("plain data encodes into memory");
}

/// Reads a value that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecodable> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config()).map_err(|error| Undecodable(error.to_string()))?;
    if used != bytes.len() {
        return Err(Undecodable(format!("{} bytes left over", bytes.len() - used)));
    }
    Ok(value)
}
