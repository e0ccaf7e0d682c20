//! Heads and bodies of HTTP/1.1, as far as the two ends of the bench need them.

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    Chunked,
    UntilClose,
}

/// The head of a message.
#[derive(Debug)]
pub struct Head {
    /// Bytes up to and including the blank line.
    pub len: usize,
    pub framing: Framing,
    /// Status code of a response; 0 for a request.
    pub status: u16,
    pub close: bool,
    pub expect_continue: bool,
}

/// Parses a head if it is complete.
pub fn parse_head(bytes: &[u8]) -> Option<Head> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")?;
    let mut lines = bytes[..end].split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next()?;
    let is_response = first.starts_with(b"HTTP/1.") && first.len() >= 12;
    let status = if is_response { first[9..12].iter().fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0'))) } else { 0 };
    let framing = if is_response { Framing::UntilClose } else { Framing::Length(0) };
    let mut head = Head { len: end + 4, framing, status, close: false, expect_continue: false };
    for line in lines {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        header(&mut head, &line[..colon], line[colon + 1..].trim_ascii());
    }
    Some(head)
}

fn header(head: &mut Head, name: &[u8], value: &[u8]) {
    let is = |text: &[u8], word: &str| text.eq_ignore_ascii_case(word.as_bytes());
    match name.len() {
        14 if is(name, "content-length") => {
            if let Some(length) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                head.framing = Framing::Length(length);
            }
        }
        17 if is(name, "transfer-encoding") => head.framing = Framing::Chunked,
        10 if is(name, "connection") => head.close = is(value, "close"),
        6 if is(name, "expect") => head.expect_continue = true,
        _ => {}
    }
}

/// A chunked body is not what the standard says.
#[derive(Debug, PartialEq, Eq)]
pub struct BadChunk;

#[derive(Default, Clone, Copy)]
enum Part {
    #[default]
    Size,
    Data,
    DataEnd,
    Trailer,
}

/// Decodes a chunked body as it arrives.
#[derive(Default)]
pub struct Dechunk {
    left: usize,
    part: Part,
}

impl Dechunk {
    /// Hands the payload in `bytes` to `see`. Returns how many bytes were used, and whether the body is over.
    pub fn feed(&mut self, bytes: &[u8], mut see: impl FnMut(&[u8])) -> Result<(usize, bool), BadChunk> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match self.part {
                Part::Size => {
                    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok((at, false)) };
                    self.left = size(&rest[..end])?;
                    at += end + 1;
                    self.part = if self.left == 0 { Part::Trailer } else { Part::Data };
                }
                Part::Data => {
                    let count = self.left.min(rest.len());
                    if count > 0 {
                        see(&rest[..count]);
                    }
                    at += count;
                    self.left -= count;
                    if self.left > 0 {
                        return Ok((at, false));
                    }
                    self.part = Part::DataEnd;
                }
                Part::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.part = Part::Size;
                    }
                    [] | [b'\r'] => return Ok((at, false)),
                    _ => return Err(BadChunk),
                },
                Part::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else { return Ok((at, false)) };
                    at += end + 1;
                    if rest[..end].trim_ascii().is_empty() {
                        self.part = Part::Size;
                        return Ok((at, true));
                    }
                }
            }
        }
    }
}

fn size(line: &[u8]) -> Result<usize, BadChunk> {
    let digits = line.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    std::str::from_utf8(digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or(BadChunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_both_kinds() {
        assert!(parse_head(b"GET / HTTP/1.1\r\nhost: a\r\n").is_none());
        let request = parse_head(b"POST /x HTTP/1.1\r\nContent-Length: 12\r\nexpect: 100-continue\r\n\r\nbody").expect("complete");
        assert_eq!((request.len, request.framing, request.status, request.expect_continue), (62, Framing::Length(12), 0, true));
        let response = parse_head(b"HTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n").expect("complete");
        assert_eq!((response.framing, response.status, response.close), (Framing::Chunked, 429, true));
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").expect("complete").framing, Framing::UntilClose);
    }

    #[test]
    fn chunks_cut_anywhere_give_the_same_body() {
        let wire = b"5\r\nhello\r\n1;x=y\r\n \r\n5\r\nworld\r\n0\r\ntrailer: a\r\n\r\nnext";
        for cut in 0..wire.len() {
            let (mut decoder, mut body, mut buffer, mut over) = (Dechunk::default(), Vec::new(), Vec::new(), false);
            for part in [&wire[..cut], &wire[cut..]] {
                buffer.extend_from_slice(part);
                if !over {
                    let (used, done) = decoder.feed(&buffer, |bytes| body.extend_from_slice(bytes)).expect("well formed");
                    buffer.drain(..used);
                    over = done;
                }
            }
            assert_eq!((body.as_slice(), over, buffer.as_slice()), (&b"hello world"[..], true, &b"next"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn bad_chunks_are_refused() {
        for wire in [&b"zz\r\n"[..], b"1\r\nab\r\n"] {
            assert_eq!(Dechunk::default().feed(wire, |_| {}), Err(BadChunk));
        }
    }
}
