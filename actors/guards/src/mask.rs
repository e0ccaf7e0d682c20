//! Hiding personal fields of a body: by the path at which they stand, and by what they look like.
//!
//! A path is `$` and steps: `.name`, `['any name']`, `[*]` for every item of a list. What stands there becomes `"[masked]"`, whatever it is.
//! A detector is named, and what it finds within any text (or name of a field) becomes its name in brackets. Text that is JSON itself, as
//! arguments of tools are, is masked inside. What is no JSON is one text.

use crate::{detect, json};
use std::{borrow::Cow, collections::BTreeSet, str::FromStr};

/// One rule, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    Path(Vec<Step>),
    Detector(Detector),
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Field(String),
    Items,
}

/// What is recognised by its looks. In the order in which they are looked for: what is more certain comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detector {
    Secret,
    Email,
    Iban,
    CreditCard,
    UsSsn,
    Ipv6,
    Ipv4,
    Phone,
}

impl Detector {
    pub const ALL: [Detector; 8] = [
        Detector::Secret,
        Detector::Email,
        Detector::Iban,
        Detector::CreditCard,
        Detector::UsSsn,
        Detector::Ipv6,
        Detector::Ipv4,
        Detector::Phone,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Detector::Secret => "secret",
            Detector::Email => "email",
            Detector::Iban => "iban",
            Detector::CreditCard => "credit_card",
            Detector::UsSsn => "us_ssn",
            Detector::Ipv6 => "ipv6",
            Detector::Ipv4 => "ipv4",
            Detector::Phone => "phone",
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Rule, String> {
        if let Some(detector) = Detector::ALL.into_iter().find(|detector| detector.as_str() == text) {
            return Ok(Rule::Detector(detector));
        }
        let names = Detector::ALL.map(Detector::as_str).join(", ");
        let wrong = || format!("must be a path such as $.messages[*].content, or one of {names}");
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Rule::Path(steps)) }
    }
}

/// The first step of a path, and what follows it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(after) = text.strip_prefix("[*]") {
        return Some((Step::Items, after));
    }
    if let Some(quoted) = text.strip_prefix("['") {
        let (name, after) = quoted.split_once("']")?;
        return (!name.is_empty()).then(|| (Step::Field(name.to_owned()), after));
    }
    let rest = text.strip_prefix('.')?;
    let (name, after) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
    (!name.is_empty() && !name.contains(['*', ']', '\''])).then(|| (Step::Field(name.to_owned()), after))
}

/// The rules of one owner.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    paths: Vec<(String, Vec<Step>)>,
    detectors: BTreeSet<Detector>,
    /// Images and sound in base64 stay.
    media: bool,
}

/// What became of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    pub text: String,
    /// The rules that found something.
    pub hit: BTreeSet<String>,
}

impl Mask {
    /// What cannot be read is left out: the configuration was checked when it was applied.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a str>, media: bool) -> Mask {
        let mut mask = Mask { media, ..Mask::default() };
        for text in rules {
            match text.parse() {
                Ok(Rule::Path(steps)) => mask.paths.push((text.to_owned(), steps)),
                Ok(Rule::Detector(detector)) => drop(mask.detectors.insert(detector)),
                Err(_) => {}
            }
        }
        mask
    }

    /// Hides what the rules name. What was JSON is JSON afterwards, with the same fields in the same order.
    pub fn body(&self, body: &[u8]) -> Masked {
        let text = String::from_utf8_lossy(body);
        let mut hit = BTreeSet::new();
        let text = match json::rewrite(&text, &mut Rewriter { mask: self, hit: &mut hit, depth: 0 }) {
            Some(masked) => masked,
            None => self.text(&text, &mut hit).into_owned(),
        };
        Masked { text, hit }
    }

    /// One text, which may be JSON itself.
    fn value<'a>(&self, text: &'a str, hit: &mut BTreeSet<String>, depth: usize) -> Cow<'a, str> {
        let may_be_json = depth < NESTED_MAX && text.trim_start().starts_with(['{', '[']);
        if may_be_json && let Some(inner) = json::rewrite(text, &mut Rewriter { mask: self, hit, depth: depth + 1 }) {
            // text beside the texts inside may look like something too: a number, for example
            return Cow::Owned(inner);
        }
        self.text(text, hit)
    }

    /// Until nothing more is found: what replaced something may have parted what was one before.
    fn text<'a>(&self, text: &'a str, hit: &mut BTreeSet<String>) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        if !self.media
            && let Some(without) = detect::without_base64(&text)
        {
            text = Cow::Owned(without);
        }
        for _ in 0..PASSES_MAX {
            let mut changed = false;
            for detector in &self.detectors {
                if let Some(masked) = detect::replace(*detector, &text) {
                    hit.insert(detector.as_str().to_owned());
                    text = Cow::Owned(masked);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        text
    }
}

/// JSON in JSON so deep is looked into.
const NESTED_MAX: usize = 4;
/// Each pass hides something; in practice the second finds nothing.
const PASSES_MAX: usize = 64;

struct Rewriter<'a> {
    mask: &'a Mask,
    hit: &'a mut BTreeSet<String>,
    depth: usize,
}

impl json::Visit for Rewriter<'_> {
    fn replaced(&mut self, path: &[json::Place]) -> Option<&'static str> {
        if self.depth > 0 {
            return None; // paths are those of the body
        }
        let is_at = |steps: &[Step]| {
            steps.len() == path.len()
                && steps.iter().zip(path).all(|(step, place)| match (step, place) {
                    (Step::Items, json::Place::Item) => true,
                    (Step::Field(name), json::Place::Field(field)) => name == field,
                    _ => false,
                })
        };
        let (rule, _) = self.mask.paths.iter().find(|(_, steps)| is_at(steps))?;
        self.hit.insert(rule.clone());
        Some("\"[masked]\"")
    }

    fn text<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        self.mask.value(text, self.hit, self.depth)
    }

    fn number<'t>(&mut self, digits: &'t str) -> Cow<'t, str> {
        self.mask.text(digits, self.hit)
    }
}

#[cfg(test)]
mod tests;
