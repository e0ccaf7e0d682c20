//! Names of LiteLLM, which may be any text, as names of ours: one to one, and the same for the same file.

use events::limits;
use std::collections::{BTreeMap, BTreeSet};

/// What a kind of names may hold.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// Names that are taken.
pub(super) struct Names {
    check: Check,
    taken: BTreeSet<String>,
    /// The next number behind a name that is taken.
    next: BTreeMap<String, usize>,
}

impl Names {
    pub fn new(check: Check) -> Names {
        Names { check, taken: BTreeSet::new(), next: BTreeMap::new() }
    }

    /// Keeps a name from being given.
    pub fn reserve(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// A name for each of the texts. Those that are fit keep theirs, the first of several; the others get what is like them and free.
    pub fn assign(&mut self, wanted: &[String]) -> Vec<String> {
        let kept: Vec<bool> = wanted.iter().map(|name| (self.check)(name).is_ok() && self.taken.insert(name.clone())).collect();
        wanted.iter().zip(kept).map(|(name, kept)| if kept { name.clone() } else { self.give(name) }).collect()
    }

    /// A free name that is like the text.
    pub fn give(&mut self, wanted: &str) -> String {
        let base = self.fit(wanted);
        let mut name = base.clone();
        let next = self.next.entry(base.clone()).or_insert(2);
        while !self.taken.insert(name.clone()) {
            name = format!("{base}-{next}");
            *next += 1;
        }
        name
    }

    /// Each letter that may not be there is a dash, and dashes are not many; there is room for a number behind it.
    fn fit(&self, text: &str) -> String {
        let mut name = String::new();
        for letter in text.chars() {
            let letter = if (self.check)(letter.encode_utf8(&mut [0; 4])).is_ok() { letter } else { '-' };
            if name.len() + letter.len_utf8() > limits::NAME_BYTES_MAX - 21 {
                break;
            }
            if letter != '-' || !name.ends_with('-') {
                name.push(letter);
            }
        }
        let name = name.trim_matches('-');
        if !name.contains(char::is_alphanumeric) || (self.check)(name).is_err() { "unnamed".to_owned() } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values;

    #[test]
    fn fit_names_stay_and_the_others_become_like_them() {
        let assign = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            Names::new(values::name).assign(&wanted)
        };
        assert_eq!(assign(&["a b", "a-b", "a-b", "a  b!"]), ["a-b-2", "a-b", "a-b-3", "a-b-4"]);
        assert_eq!(assign(&["", "???", "\n: #", "Ünïcode/x"]), ["unnamed", "unnamed-2", "unnamed-3", "Ünïcode-x"]);
        let long = "ü".repeat(500);
        assert!(assign(&[&long, &long, &long]).iter().all(|name| values::name(name).is_ok()));
        assert_eq!(Names::new(values::model_name).assign(&["a/b *".into()]), ["a/b-*"]);
    }
}
