//! Text of an exact number of tokens.
//!
//! Every word of the list is one token with a space in front, and the first is one without it too; the tokenizer splits before each
//! space, so N words are N tokens, wherever the text begins. A test counts them.

use std::sync::LazyLock;

const WORDS: [&str; 48] = [
    "the", "road", "is", "open", "and", "each", "call", "pays", "at", "the", "gate", "for", "what", "it", "will", "use", "so", "no", "one",
    "can", "pass", "with", "more", "than", "they", "have", "in", "hand", "while", "the", "count", "of", "all", "that", "went", "by",
    "stands", "in", "a", "book", "where", "any", "day", "may", "be", "read", "again", "over",
];
/// Words made ahead; longer texts go round.
const AHEAD: usize = 4_800;

struct Made {
    text: String,
    /// Where each word ends in `text`.
    ends: Vec<usize>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let (mut text, mut ends) = (String::new(), Vec::with_capacity(AHEAD));
    for word in WORDS.iter().cycle().take(AHEAD) {
        text.push(' ');
        text.push_str(word);
        ends.push(text.len());
    }
    Made { text, ends }
});

/// The words `from` to `from + count` of the endless text, appended to `out`. Needs no escaping in JSON.
pub(crate) fn append(out: &mut String, from: u64, count: u64) {
    let (mut at, mut left) = ((from % AHEAD as u64) as usize, count as usize);
    let first_of_text = from == 0;
    let begin = out.len();
    while left > 0 {
        let take = left.min(AHEAD - at);
        let start = if at == 0 { 0 } else { MADE.ends[at - 1] };
        out.push_str(&MADE.text[start..MADE.ends[at + take - 1]]);
        left -= take;
        at = 0;
    }
    if first_of_text && count > 0 {
        out.remove(begin);
    }
}

/// A text of exactly so many tokens.
pub(crate) fn text(count: u64) -> String {
    let mut out = String::with_capacity(count as usize * 5);
    append(&mut out, 0, count);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::count;

    #[test]
    fn a_text_has_exactly_the_tokens_asked_for() {
        for n in (0..200).chain([1_000, 4_799, 4_800, 4_801, 9_600, 20_000]) {
            assert_eq!(count(&text(n)), n, "{n} words");
        }
    }

    #[test]
    fn pieces_make_up_the_text() {
        for step in [1, 2, 7, 1_000, 5_000] {
            let (mut out, mut at) = (String::new(), 0);
            while at < 10_000 {
                let take = step.min(10_000 - at);
                append(&mut out, at, take);
                at += take;
            }
            assert_eq!(out, text(10_000), "steps of {step}");
        }
    }

    #[test]
    fn the_text_needs_no_escaping() {
        assert!(text(5_000).bytes().all(|b| b == b' ' || b.is_ascii_lowercase()));
    }
}
