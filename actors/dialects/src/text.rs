//! Strings of a JSON body as they are written: compared, measured and decoded only where it matters.

use std::borrow::Cow;

use memchr::memchr;

/// A string as it stands in the body, between its quotes.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// `raw` is what stands between the quotes; `escaped`: there is a backslash in it.
    pub(crate) fn new(raw: &'a [u8], escaped: bool) -> Text<'a> {
        Text { raw, escaped }
    }

    /// The characters as they are written.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether an escape stands in it.
    pub(crate) fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// The bytes that are meant. A string that cannot be decoded (a lone surrogate) stays as it is written.
    #[inline]
    pub(crate) fn bytes(&self) -> Cow<'a, [u8]> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        match self.decode() {
            Some(text) => Cow::Owned(text.into_owned().into_bytes()),
            None => Cow::Borrowed(self.raw),
        }
    }

    /// The text that is meant; `None` for a lone surrogate or invalid UTF-8.
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return std::str::from_utf8(self.raw).ok().map(Cow::Borrowed);
        }
        let mut quoted = Vec::with_capacity(self.raw.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(self.raw);
        quoted.push(b'"');
        serde_json::from_slice::<String>(&quoted).ok().map(Cow::Owned)
    }

    /// Whether these very characters stand there, without an escape.
    #[inline]
    pub(crate) fn is(&self, plain: &[u8]) -> bool {
        !self.escaped && self.raw == plain
    }

    /// How many bytes of UTF-8 the text has, without building it.
    pub(crate) fn len(&self) -> u64 {
        if !self.escaped {
            return self.raw.len() as u64;
        }
        decoded_len(self.raw)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// How many bytes of the body it takes.
    pub(crate) fn raw_len(&self) -> usize {
        self.raw.len()
    }

    /// Whether the raw text starts so. An escape in front makes it "no": callers treat that as the worse case.
    pub(crate) fn starts_with(&self, prefix: &[u8]) -> bool {
        self.raw.starts_with(prefix)
    }
}

/// Length of an escaped string in UTF-8. `\uXXXX` counts by its plane; a surrogate is half of a four-byte character.
fn decoded_len(mut raw: &[u8]) -> u64 {
    let mut len = 0;
    while let Some(at) = memchr(b'\\', raw) {
        let (bytes, taken) = escape_len(&raw[at..]);
        len += (at + bytes) as u64;
        raw = &raw[(at + taken).min(raw.len())..];
    }
    len + raw.len() as u64
}

/// Bytes of UTF-8 that the escape in front stands for, and bytes that it takes.
fn escape_len(raw: &[u8]) -> (usize, usize) {
    if raw.get(1) != Some(&b'u') {
        return (1, 2);
    }
    let code = raw.get(2..6).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let bytes = match code.unwrap_or(0) {
        0..0x80 => 1,
        0x80..0x800 | 0xD800..0xE000 => 2,
        _ => 3,
    };
    (bytes, 6)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Index of the first `"`, `\` or control character from `at` on, or the length of the body. Eight bytes a step: for each of the three, the lowest
/// byte whose high bit is set in the mask is exact (a borrow can only spoil what lies above a true hit), and only the lowest is used.
pub(crate) fn next_special(body: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = body.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let hits = (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | (word.wrapping_sub(ONES * 0x20) & !word);
        if hits & HIGHS != 0 {
            return at + ((hits & HIGHS).trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = body.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}
