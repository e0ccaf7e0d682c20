//! Goes through JSON from front to back and writes it again, with texts changed on the way. All else stays byte for byte.

use events::limits;
use std::borrow::Cow;

/// Where a value stands in what holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Field(String),
    Item,
}

/// What is done on the way.
pub(crate) trait Visit {
    /// JSON that takes the place of the value at this path, whatever it is.
    fn replaced(&mut self, path: &[Place]) -> Option<&'static str>;
    /// A text, or a field's name.
    fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str>;
    /// A number: one that changes becomes a text.
    fn number<'t>(&mut self, digits: &'t str) -> Cow<'t, str>;
}

/// The text with what the visitor changed. None: it is not JSON, or too deep.
pub(crate) fn rewrite(text: &str, visit: &mut dyn Visit) -> Option<String> {
    let mut walk = Walk { text, at: 0, out: String::with_capacity(text.len()), path: Vec::new(), visit };
    walk.space();
    walk.value()?;
    walk.space();
    (walk.at == text.len()).then_some(walk.out)
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    out: String,
    path: Vec<Place>,
    visit: &'a mut dyn Visit,
}

impl<'a> Walk<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        let space = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.copy(space);
    }

    fn copy(&mut self, bytes: usize) {
        self.out.push_str(&self.text[self.at..self.at + bytes]);
        self.at += bytes;
    }

    /// One byte of structure.
    fn mark(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.copy(1))
    }

    fn value(&mut self) -> Option<()> {
        if let Some(instead) = self.visit.replaced(&self.path) {
            self.skip()?;
            self.out.push_str(instead);
            return Some(());
        }
        if self.path.len() >= limits::JSON_DEPTH_MAX {
            return None;
        }
        match self.peek()? {
            b'{' => self.object(),
            b'[' => self.list(),
            b'"' => self.string().map(drop),
            b't' | b'f' | b'n' => self.word(),
            _ => self.number(),
        }
    }

    /// Over a value that is replaced: it must be one, and nothing of it is written.
    fn skip(&mut self) -> Option<()> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<serde::de::IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }

    fn object(&mut self) -> Option<()> {
        self.mark(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            return self.mark(b'}');
        }
        loop {
            let name = self.string()?;
            self.space();
            self.mark(b':')?;
            self.space();
            self.path.push(Place::Field(name));
            self.value()?;
            self.path.pop();
            self.space();
            if self.peek()? == b'}' {
                return self.mark(b'}');
            }
            self.mark(b',')?;
            self.space();
        }
    }

    fn list(&mut self) -> Option<()> {
        self.mark(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            return self.mark(b']');
        }
        self.path.push(Place::Item);
        loop {
            self.value()?;
            self.space();
            if self.peek()? == b']' {
                self.path.pop();
                return self.mark(b']');
            }
            self.mark(b',')?;
            self.space();
        }
    }

    /// A text; what it was before it was changed.
    fn string(&mut self) -> Option<String> {
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        (bytes.get(self.at) == Some(&b'"')).then_some(())?;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let raw = self.text.get(self.at..=end)?;
        let said: String = serde_json::from_str(raw).ok()?;
        match self.visit.text(&said) {
            Cow::Owned(changed) if changed != said => self.out.push_str(&quoted(&changed)),
            _ => self.out.push_str(raw),
        }
        self.at = end + 1;
        Some(said)
    }

    fn word(&mut self) -> Option<()> {
        let word = ["true", "false", "null"].into_iter().find(|word| self.text[self.at..].starts_with(word))?;
        self.copy(word.len());
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && !"+-.eE".contains(letter)).unwrap_or(rest.len());
        let digits = rest[..end].to_owned();
        serde_json::from_str::<&serde_json::value::RawValue>(&digits).ok()?;
        match self.visit.number(&digits) {
            Cow::Owned(changed) if changed != digits => self.out.push_str(&quoted(&changed)),
            _ => self.out.push_str(&digits),
        }
        self.at += end;
        Some(())
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
