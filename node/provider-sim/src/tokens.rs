//! Counting with the gateway's own tokenizer, each text once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use dialects::{Vocabulary, count as count_tokens};

/// Texts remembered in each of two generations: a benchmark sends few, a fuzzer many.
const REMEMBERED: usize = 2_048;
/// Shorter texts are counted at once: looking up costs as much.
const SHORT: usize = 32;

/// Tokens of a text.
pub(crate) fn count(text: &str) -> u64 {
    count_tokens(Vocabulary::O200k, text)
}

/// Remembers counts by a hash of the text. A collision would give a wrong count, at odds of 2⁻⁶⁴ for a pair of texts of equal length.
#[derive(Default)]
pub(crate) struct Counter {
    young: HashMap<(u64, usize), u64>,
    old: HashMap<(u64, usize), u64>,
}

impl Counter {
    /// Tokens of a text.
    pub(crate) fn count(&mut self, text: &str) -> u64 {
        if text.len() <= SHORT {
            return count(text);
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let key = (hasher.finish(), text.len());
        if let Some(known) = self.young.get(&key) {
            return *known;
        }
        let tokens = self.old.get(&key).copied().unwrap_or_else(|| count(text));
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, tokens);
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembered_counts_are_right_and_bounded() {
        let mut counter = Counter::default();
        for round in 0..2 {
            for n in 0..(3 * REMEMBERED) {
                let text = format!("text number {n} that is longer than thirty-two bytes");
                if n % 500 == 0 {
                    assert_eq!(counter.count(&text), count(&text), "round {round}");
                } else {
                    counter.count(&text);
                }
            }
        }
        assert!(counter.young.len() + counter.old.len() <= 2 * REMEMBERED);
    }
}
