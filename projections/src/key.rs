//! Keys of rows: parts in fixed widths or with their length before them, big-endian, so that rows stand in the order of their parts.

/// A key in the making, or a part of one to look from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    /// Begins with the letter of a table.
    pub fn of(table: u8) -> Key {
        Key(vec![table])
    }

    pub fn u8(mut self, part: u8) -> Key {
        self.0.push(part);
        self
    }

    pub fn u64(mut self, part: u64) -> Key {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    pub fn u128(mut self, part: u128) -> Key {
        self.0.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Text of at most 65,535 bytes; what is longer is cut.
    pub fn text(mut self, part: &str) -> Key {
        let bytes = &part.as_bytes()[..part.len().min(usize::from(u16::MAX))];
        self.0.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    /// The first key behind all that begin with this one.
    pub fn end(self) -> Vec<u8> {
        let mut bytes = self.0;
        while let Some(last) = bytes.pop() {
            if last < u8::MAX {
                bytes.push(last + 1);
                return bytes;
            }
        }
        vec![u8::MAX; 64] // no table has this letter
    }
}

/// Takes a key apart again.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*part)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub fn u128(&mut self) -> Option<u128> {
        self.take().map(u128::from_be_bytes)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (part, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(part).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_and_end_behind_their_own() {
        let key = Key::of(b'x').u8(3).u64(9).u128(1 << 90).text("gpt").bytes();
        let mut parts = Parts(&key);
        assert_eq!(
            (parts.u8(), parts.u8(), parts.u64(), parts.u128(), parts.text()),
            (Some(b'x'), Some(3), Some(9), Some(1 << 90), Some("gpt"))
        );
        assert_eq!((parts.u8(), parts.u64(), parts.text()), (None, None, None));
        let (from, end) = (Key::of(b'x').u8(255).bytes(), Key::of(b'x').u8(255).end());
        assert!(from < end && Key::of(b'x').u8(255).u64(u64::MAX).bytes() < end && end <= Key::of(b'y').bytes());
    }
}
