//! Server-sent events: where a frame ends, and what stands in it.

use std::borrow::Cow;

use memchr::memchr2;

/// Finds the ends of frames in bytes that come in any pieces. A frame ends behind an empty line; lines end by CR, LF or CRLF.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Framer {
    /// The line at hand has bytes.
    in_line: bool,
    /// The last byte was a CR, whose LF may be still to come.
    cr: bool,
    /// That CR ended an empty line.
    blank: bool,
}

impl Framer {
    /// Goes on from `at`. Gives the place behind the end of the frame, or `None` if the frame goes on behind these bytes.
    pub(crate) fn end(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            if self.cr {
                // whether a LF belongs to the CR is known with the next byte only: waiting gives one result however the bytes are cut
                at += usize::from(*bytes.get(at)? == b'\n');
                self.cr = false;
                if std::mem::take(&mut self.blank) {
                    return Some(at);
                }
            }
            let Some(found) = memchr2(b'\n', b'\r', bytes.get(at..)?) else {
                self.in_line |= at < bytes.len();
                return None;
            };
            let blank = found == 0 && !self.in_line;
            self.in_line = false;
            at += found + 1;
            if bytes[at - 1] == b'\r' {
                (self.cr, self.blank) = (true, blank);
            } else if blank {
                return Some(at);
            }
        }
    }

    /// At the end of all bytes: whether the frame at hand is ended by its empty line. Begins a new frame.
    pub(crate) fn close(&mut self) -> bool {
        std::mem::take(self).blank
    }
}

/// What a frame says.
#[derive(Debug, Default)]
pub(crate) struct Frame<'a> {
    /// `event`, or nothing.
    pub(crate) name: &'a [u8],
    /// The `data` lines, joined by LF; `None` if there is none.
    pub(crate) data: Option<Cow<'a, [u8]>>,
}

impl<'a> Frame<'a> {
    /// Reads the lines of a frame. Comments and fields that do not matter are left out.
    pub(crate) fn read(mut bytes: &'a [u8]) -> Frame<'a> {
        let mut frame = Frame::default();
        while !bytes.is_empty() {
            let end = memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
            frame.line(&bytes[..end]);
            bytes = &bytes[(end + 1).min(bytes.len())..];
        }
        frame
    }

    fn line(&mut self, line: &'a [u8]) {
        if let Some(value) = field(line, b"data") {
            self.data = Some(match self.data.take() {
                None => Cow::Borrowed(value),
                Some(before) => {
                    let mut joined = before.into_owned();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                    Cow::Owned(joined)
                }
            });
        } else if let Some(value) = field(line, b"event") {
            self.name = value;
        }
    }
}

/// The value of a line `name: value`; one space behind the colon does not belong to it, and a line without a colon has an empty value.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(text: &str, size: usize) -> Vec<String> {
        let (mut framer, mut frames, mut frame) = (Framer::default(), Vec::new(), Vec::new());
        for chunk in text.as_bytes().chunks(size) {
            let mut at = 0;
            while let Some(end) = framer.end(chunk, at) {
                frame.extend_from_slice(&chunk[at..end]);
                frames.push(String::from_utf8(std::mem::take(&mut frame)).expect("ascii"));
                at = end;
            }
            frame.extend_from_slice(&chunk[at..]);
        }
        if framer.close() || !frame.is_empty() {
            frames.push(String::from_utf8(frame).expect("ascii"));
        }
        frames
    }

    #[test]
    fn frames_end_behind_empty_lines_of_every_kind() {
        let cases: [(&str, &[&str]); 6] = [
            ("a\n\nb\n\n", &["a\n\n", "b\n\n"]),
            ("a\r\n\r\nb\r\n\r\n", &["a\r\n\r\n", "b\r\n\r\n"]),
            ("a\r\rb\r\r", &["a\r\r", "b\r\r"]),
            ("a\r\n\nb\n\r\nc", &["a\r\n\n", "b\n\r\n", "c"]),
            ("\n\na\nb\n\n", &["\n", "\n", "a\nb\n\n"]),
            ("a\nb\r", &["a\nb\r"]),
        ];
        for (text, wanted) in cases {
            for size in 1..=text.len() {
                assert_eq!(frames(text, size), wanted, "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn lines_are_read_as_the_standard_says() {
        let frame = Frame::read(b": note\r\nevent:one\rdata:  two\ndata\ndata:three\nid: 4\ndatum: 5\n\n");
        assert_eq!(frame.name, b"one");
        assert_eq!(frame.data.as_deref(), Some(b" two\n\nthree".as_slice()));
        assert!(Frame::read(b": ping\n\n").data.is_none());
    }
}
