//! One cursor over JSON text: reads once, from front to back, checks the grammar and builds no tree.
//!
//! A reader asks for the value at hand by `object`, `array`, `string`, `number` or `skip`; each takes exactly one value. While values are
//! skipped the cursor marks what would need a closer look ([`Marks`]), so that a long conversation of plain text costs one scan.

use std::ops::Range;

use events::limits;

use crate::invalid::{Invalid, Read};
use crate::marks::{Marks, Watch};
use crate::text::{Text, next_special};

/// What kind of value stands at the cursor.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// Reads JSON text, one value after the other.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    depth: usize,
    /// What skipped values held so far.
    pub(crate) marks: Marks,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Cursor<'a> {
        Cursor { body, at: 0, depth: 0, marks: Marks::default() }
    }

    /// Where the next byte to read is.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    #[cold]
    #[inline(never)]
    fn fail<T>(&self, what: &str) -> Read<T> {
        Err(Invalid::json(self.at, if self.at >= self.body.len() { "it ends too early" } else { what }))
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.body.get(self.at) {
            self.at += 1;
        }
    }

    /// The kind of the value at hand; the cursor stands at its first byte afterwards.
    #[inline]
    pub(crate) fn kind(&mut self) -> Read<Kind> {
        self.blank();
        match self.body.get(self.at) {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => self.fail("expected a value"),
        }
    }

    fn descend(&mut self) -> Read<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > limits::JSON_DEPTH_MAX { self.too_deep() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn too_deep(&self) -> Read<()> {
        Err(Invalid::json(self.at - 1, &format!("nested deeper than {} levels", limits::JSON_DEPTH_MAX)))
    }

    /// Behind a member or an element: `true` if another follows.
    #[inline]
    fn more(&mut self, close: u8) -> Read<bool> {
        self.blank();
        match self.body.get(self.at) {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if *byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => self.fail(if close == b'}' { "expected ',' or '}'" } else { "expected ',' or ']'" }),
        }
    }

    /// Opens an object or an array; `false` if it is empty and already closed.
    #[inline]
    fn open(&mut self, close: u8) -> Read<bool> {
        self.descend()?;
        self.blank();
        if self.body.get(self.at) == Some(&close) {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    #[inline]
    fn key(&mut self) -> Read<Text<'a>> {
        self.blank();
        if self.body.get(self.at) != Some(&b'"') {
            return self.fail("expected a key in quotes");
        }
        let key = self.quoted()?;
        self.blank();
        if self.body.get(self.at) != Some(&b':') {
            return self.fail("expected ':'");
        }
        self.at += 1;
        Ok(key)
    }

    /// Takes an object. `member` gets each key and must take exactly its value. The caller has asked for the `kind` before.
    #[inline]
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Cursor<'a>, Text<'a>) -> Read<()>) -> Read<()> {
        if self.kind()? != Kind::Object {
            return self.fail("expected an object");
        }
        if !self.open(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Takes an array. `element` must take exactly one value.
    #[inline]
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Cursor<'a>) -> Read<()>) -> Read<()> {
        if self.kind()? != Kind::Array {
            return self.fail("expected an array");
        }
        if !self.open(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Like `object`, for a value that may be of another kind and is skipped then.
    #[inline]
    pub(crate) fn members(&mut self, member: impl FnMut(&mut Cursor<'a>, Text<'a>) -> Read<()>) -> Read<()> {
        if self.kind()? == Kind::Object { self.object(member) } else { self.skip() }
    }

    /// Like `array`, for a value that may be of another kind and is skipped then.
    #[inline]
    pub(crate) fn elements(&mut self, element: impl FnMut(&mut Cursor<'a>) -> Read<()>) -> Read<()> {
        if self.kind()? == Kind::Array { self.array(element) } else { self.skip() }
    }

    /// Takes a value; its text if it is a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Read<Option<Text<'a>>> {
        if self.kind()? == Kind::String {
            return self.quoted().map(Some);
        }
        self.skip()?;
        Ok(None)
    }

    /// Takes a value; `true` or `false` if it is one of these.
    pub(crate) fn boolean(&mut self) -> Read<Option<bool>> {
        let span = self.span()?;
        Ok(match &self.body[span] {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        })
    }

    /// Takes a value; a whole number from 0 on if it is one, written without fraction or exponent.
    pub(crate) fn integer(&mut self) -> Read<Option<u64>> {
        let span = self.span()?;
        Ok(std::str::from_utf8(&self.body[span]).ok().filter(|text| !text.starts_with('+')).and_then(|text| text.parse().ok()))
    }

    /// Takes a value; a count if it is a number from 0 on, `None` for anything else. Providers write some counts as `12.0`.
    pub(crate) fn count(&mut self) -> Read<Option<u64>> {
        let span = self.span()?;
        let text = std::str::from_utf8(&self.body[span]).unwrap_or("");
        if let Ok(whole) = text.parse::<u64>() {
            return Ok(Some(whole.min(limits::COUNT_MAX)));
        }
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && *number >= 0.0 && text.starts_with(|c: char| c.is_ascii_digit()));
        Ok(number.map(|number| (number.ceil() as u64).min(limits::COUNT_MAX)))
    }

    /// Takes one value of any kind; gives its place in the body.
    pub(crate) fn span(&mut self) -> Read<Range<usize>> {
        self.kind()?;
        let start = self.at;
        self.skip()?;
        Ok(start..self.at)
    }

    /// Takes one value of any kind, and marks what it holds.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.kind()? {
            Kind::Object => self.skip_seeing(|_| ()),
            Kind::Array => self.skip_array(),
            Kind::String => self.quoted().map(drop),
            Kind::Number => self.skip_number(),
            Kind::Bool | Kind::Null => self.skip_word(),
        }
    }

    /// Like `skip`, for an object whose keys somebody wants to see. A value that is no object is skipped.
    pub(crate) fn skip_seeing(&mut self, mut see: impl FnMut(Text<'a>)) -> Read<()> {
        if self.kind()? != Kind::Object {
            return self.skip();
        }
        if !self.open(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            see(key);
            match self.marks.key(key) {
                Watch::Nothing => self.skip()?,
                watch => {
                    let value = self.string()?;
                    self.marks.value(watch, value);
                }
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn skip_array(&mut self) -> Read<()> {
        if !self.open(b']')? {
            return Ok(());
        }
        loop {
            self.skip()?;
            if !self.more(b']')? {
                return Ok(());
            }
        }
    }

    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.body.get(self.at) {
            self.at += 1;
        }
        if self.at == start { self.fail("expected a digit") } else { Ok(()) }
    }

    fn skip_number(&mut self) -> Read<()> {
        if self.body[self.at] == b'-' {
            self.at += 1;
        }
        if self.body.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.body.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.body.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn skip_word(&mut self) -> Read<()> {
        for word in [b"true".as_slice(), b"false", b"null"] {
            if self.body[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.fail("expected a value")
    }

    /// Takes a string; the cursor stands at its opening quote.
    fn quoted(&mut self) -> Read<Text<'a>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = next_special(self.body, self.at);
            match self.body.get(self.at) {
                Some(b'"') => {
                    let raw = &self.body[start..self.at];
                    self.at += 1;
                    return Ok(Text::new(raw, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fail("a control character inside a string"),
            }
        }
    }

    fn escape(&mut self) -> Read<()> {
        match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let hex = self.body.get(self.at + 2..self.at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
                if !hex {
                    return self.fail("a wrong \\u escape");
                }
                self.at += 6;
                Ok(())
            }
            _ => self.fail("a wrong escape"),
        }
    }

    /// Behind the last value: nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Read<()> {
        self.blank();
        if self.at == self.body.len() { Ok(()) } else { self.fail("something follows behind the value") }
    }

    /// Takes a value and sums the bytes of all strings in it, without the keys and without those that are kept from `type`.
    pub(crate) fn text_bytes(&mut self) -> Read<u64> {
        match self.kind()? {
            Kind::String => Ok(self.quoted()?.len()),
            Kind::Array => {
                let mut sum = 0;
                self.array(|c| {
                    sum += c.text_bytes()?;
                    Ok(())
                })?;
                Ok(sum)
            }
            Kind::Object => {
                let mut sum = 0;
                self.object(|c, key| {
                    let bytes = c.text_bytes()?;
                    sum += if key.is(b"type") { 0 } else { bytes };
                    Ok(())
                })?;
                Ok(sum)
            }
            _ => self.skip().map(|_| 0),
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
