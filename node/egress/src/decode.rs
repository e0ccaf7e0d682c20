//! Undoes the compression of providers that compress although they were asked not to: gzip and deflate, as the bytes come.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Compressed bytes that are decoded in one step. Deflate grows at most 1,032 times, so a step yields at most about 1 MiB.
const STEP_BYTES: usize = 1 << 10;
/// Decoded bytes below which the ratio is not looked at, in bytes.
const RATIO_FREE_BYTES: u64 = 4 << 20;
/// Decoded bytes for one compressed byte, over the whole answer; text reaches 20, JSON that repeats itself 100.
const RATIO_MAX: u64 = 200;

/// A `content-encoding` that is decoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// zlib by the RFC; raw deflate by some servers.
    Deflate,
}

impl Coding {
    /// What the values of `content-encoding` ask for; the error names a coding that is not decoded.
    pub(crate) fn of(headers: &http::HeaderMap) -> Result<Option<Coding>, String> {
        let mut found = None;
        for value in headers.get_all(http::header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| "content-encoding is not text".to_owned())?;
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let coding = match name.to_ascii_lowercase().as_str() {
                    "identity" => continue,
                    "gzip" | "x-gzip" => Coding::Gzip,
                    "deflate" => Coding::Deflate,
                    _ => return Err(format!("content-encoding {name:?} although identity was asked for")),
                };
                if found.replace(coding).is_some() {
                    return Err("more than one content-encoding".to_owned());
                }
            }
        }
        Ok(found)
    }
}

enum Engine {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
    /// Deflate whose first byte has not come.
    Undecided,
}

/// Decodes one body, in steps of bounded size.
pub(crate) struct Decoder {
    engine: Engine,
    input: Bytes,
    taken: u64,
    given: u64,
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Decoder {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate => Engine::Undecided,
        };
        Decoder { engine, input: Bytes::new(), taken: 0, given: 0 }
    }

    /// Takes the next compressed piece; the last one was pulled out whole.
    pub(crate) fn feed(&mut self, piece: Bytes) {
        debug_assert!(self.input.is_empty(), "a piece is fed when the last one is used up");
        self.input = piece;
    }

    /// The next decoded bytes; `None` when more must be fed.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>, String> {
        while !self.input.is_empty() {
            let step = self.input.split_to(self.input.len().min(STEP_BYTES));
            self.taken += step.len() as u64;
            self.decide(step[0]);
            self.write(&step).map_err(|error| format!("compressed answer: {error}"))?;
            if let Some(decoded) = self.collect()? {
                return Ok(Some(decoded));
            }
        }
        Ok(None)
    }

    /// Checks that the compressed body came to its end; what was left of it.
    pub(crate) fn finish(&mut self) -> Result<Option<Bytes>, String> {
        let finished = match &mut self.engine {
            Engine::Gzip(decoder) => decoder.try_finish(),
            Engine::Zlib(decoder) => decoder.try_finish(),
            Engine::Raw(decoder) => decoder.try_finish(),
            Engine::Undecided => Ok(()), // an empty body, whatever it was called
        };
        // An empty body is no gzip, but servers send it.
        if self.taken > 0 {
            finished.map_err(|error| format!("compressed answer: {error}"))?;
        }
        self.collect()
    }

    fn decide(&mut self, first: u8) {
        if matches!(self.engine, Engine::Undecided) {
            // zlib begins with method 8 and a window of at most 32 KiB; no encoder begins a raw stream so.
            let zlib = first & 0x0f == 8 && first >> 4 <= 7;
            self.engine = if zlib { Engine::Zlib(ZlibDecoder::new(Vec::new())) } else { Engine::Raw(DeflateDecoder::new(Vec::new())) };
        }
    }

    /// Writes all of `bytes` and makes everything that they decode to come out, so that a stream is not held back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.engine {
            Engine::Gzip(decoder) => write_and_flush(decoder, bytes),
            Engine::Zlib(decoder) => write_and_flush(decoder, bytes),
            Engine::Raw(decoder) => write_and_flush(decoder, bytes),
            Engine::Undecided => Ok(()),
        }
    }

    fn collect(&mut self) -> Result<Option<Bytes>, String> {
        let output = match &mut self.engine {
            Engine::Gzip(decoder) => std::mem::take(decoder.get_mut()),
            Engine::Zlib(decoder) => std::mem::take(decoder.get_mut()),
            Engine::Raw(decoder) => std::mem::take(decoder.get_mut()),
            Engine::Undecided => Vec::new(),
        };
        self.given += output.len() as u64;
        if self.given > RATIO_FREE_BYTES && self.given / RATIO_MAX > self.taken {
            return Err("compressed answer: grows more than 200 times".to_owned());
        }
        Ok((!output.is_empty()).then(|| Bytes::from(output)))
    }
}

fn write_and_flush(decoder: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = decoder.write(bytes)?;
        if written == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes behind its end"));
        }
        bytes = &bytes[written..];
    }
    decoder.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder, write::GzEncoder, write::ZlibEncoder};
    use proptest::prelude::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(coding: Coding, compressed: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut decoder = Decoder::new(coding);
        let mut plain = Vec::new();
        for piece in compressed.chunks(piece.max(1)) {
            decoder.feed(Bytes::copy_from_slice(piece));
            while let Some(bytes) = decoder.pull()? {
                plain.extend_from_slice(&bytes);
            }
        }
        plain.extend(decoder.finish()?.into_iter().flatten());
        Ok(plain)
    }

    #[test]
    fn headers_say_what_to_do() {
        let of = |values: &[&str]| {
            let mut headers = http::HeaderMap::new();
            for value in values {
                headers.append("content-encoding", value.parse().unwrap());
            }
            Coding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["identity"]), Ok(None));
        assert_eq!(of(&["GZip"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["x-gzip, identity"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["deflate"]), Ok(Some(Coding::Deflate)));
        for bad in [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "deflate"], &["gzip;q=1"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_flushed_piece_comes_out_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut decoder = Decoder::new(Coding::Gzip);
        for text in ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"] {
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
            decoder.feed(Bytes::from(std::mem::take(encoder.get_mut())));
            assert_eq!(decoder.pull().unwrap().unwrap(), text);
            assert!(decoder.pull().unwrap().is_none());
        }
    }

    #[test]
    fn members_follow_each_other_and_trash_does_not() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        for piece in [1, 7, 4096] {
            assert_eq!(decode(Coding::Gzip, &two, piece).unwrap(), b"one two");
        }
        assert!(decode(Coding::Gzip, &[gzip(b"one"), b"trash".to_vec()].concat(), 4096).is_err());
        assert!(decode(Coding::Deflate, &[zlib(b"one"), b"trash".to_vec()].concat(), 4096).is_err());
        assert_eq!(decode(Coding::Gzip, b"", 1).unwrap(), b"");
        assert_eq!(decode(Coding::Deflate, b"", 1).unwrap(), b"");
    }

    #[test]
    fn what_breaks_off_or_was_changed_is_an_error() {
        let plain: Vec<u8> = (0..20_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for compressed in [gzip(&plain), zlib(&plain)] {
            let coding = if compressed[0] == 0x1f { Coding::Gzip } else { Coding::Deflate };
            assert_eq!(decode(coding, &compressed, 1000).unwrap(), plain);
            for cut in [1, 5, 100, compressed.len() - 9, compressed.len() - 1] {
                assert!(decode(coding, &compressed[..cut], 1000).is_err(), "{coding:?} cut at {cut}");
            }
            let mut flipped = compressed.clone();
            let last = flipped.len() - 6; // in the check sum of either
            flipped[last.min(compressed.len() - 3)] ^= 1;
            let middle = compressed.len() - 2;
            flipped[middle] ^= 1;
            assert!(decode(coding, &flipped, 1000).is_err(), "{coding:?} flipped");
        }
    }

    #[test]
    fn a_bomb_is_refused_in_bounded_steps() {
        let bomb = gzip(&vec![0; 64 << 20]);
        let mut decoder = Decoder::new(Coding::Gzip);
        decoder.feed(Bytes::from(bomb));
        let mut total = 0;
        let error = loop {
            match decoder.pull() {
                Ok(Some(bytes)) => {
                    assert!(bytes.len() <= 2 << 20, "a step gave {} bytes", bytes.len());
                    total += bytes.len();
                }
                Ok(None) => panic!("the bomb went off"),
                Err(error) => break error,
            }
        };
        assert!(error.contains("200 times"), "{error}");
        assert!(total < 8 << 20);
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces(plain in proptest::collection::vec(any::<u8>(), 0..5000), piece in 1usize..3000) {
            prop_assert_eq!(&decode(Coding::Gzip, &gzip(&plain), piece).unwrap(), &plain);
            prop_assert_eq!(&decode(Coding::Deflate, &zlib(&plain), piece).unwrap(), &plain);
            prop_assert_eq!(&decode(Coding::Deflate, &raw(&plain), piece).unwrap(), &plain);
        }

        #[test]
        fn trash_never_panics(trash in proptest::collection::vec(any::<u8>(), 0..2000), piece in 1usize..300, zlib in any::<bool>()) {
            let _ = decode(if zlib { Coding::Deflate } else { Coding::Gzip }, &trash, piece);
        }
    }
}
