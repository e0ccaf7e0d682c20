//! What is wrong with a file: all of it at once, each with its place.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Problem {
    /// Where, such as `providers[0].base_url`; empty for the file as a whole.
    pub path: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub(crate) struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    /// `; did you mean …?`, or nothing. Each name is compared with all: where much is wrong, only the first ones are.
    pub fn did_you_mean<'a>(&self, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
        let near = if self.0.len() < COMPARED_MAX { near(name, known) } else { Vec::new() };
        if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
    }

    /// The value, if nothing was wrong.
    pub fn or<T>(self, value: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Problems for which near names are looked for.
const COMPARED_MAX: usize = 20;
/// Longest name that is compared with others; more is a mistake of another kind, and comparing costs its square.
const COMPARED_BYTES_MAX: usize = 128;
/// How alike two names must be, from 0 to 1, to be offered.
const ALIKE_MIN: f64 = 0.7;
/// Names that are offered.
const NEAR_MAX: usize = 3;

/// The known names most like `name`, the most alike first.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    if name.len() > COMPARED_BYTES_MAX {
        return Vec::new();
    }
    let asked = name.to_lowercase();
    let mut alike: Vec<(f64, &str)> =
        known.into_iter().map(|known| (likeness(&asked, &known.to_lowercase()), known)).filter(|(score, _)| *score >= ALIKE_MIN).collect();
    alike.sort_by(|(left, left_name), (right, right_name)| right.total_cmp(left).then(left_name.cmp(right_name)));
    alike.dedup_by(|left, right| left.1 == right.1);
    alike.into_iter().take(NEAR_MAX).map(|(_, name)| name.to_owned()).collect()
}

/// Whole names, and a bare name against the part behind the last slash: `gpt-4o` is meant by `openai/gpt-4o`.
fn likeness(asked: &str, known: &str) -> f64 {
    let whole = strsim::normalized_damerau_levenshtein(asked, known);
    match known.rsplit_once('/') {
        Some((_, bare)) if !asked.contains('/') => whole.max(strsim::normalized_damerau_levenshtein(asked, bare)),
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_the_most_alike_and_few() {
        let known = ["gpt-4o", "gpt-4o-mini", "openai/gpt-4o", "claude-opus-5", "text-embedding-3-small"];
        assert_eq!(near("gpt-4o-mni", known).first().map(String::as_str), Some("gpt-4o-mini"));
        assert_eq!(near("GPT-4o", ["openai/gpt-4o"]), ["openai/gpt-4o"]);
        assert_eq!(near("zzz", known), Vec::<String>::new());
        assert_eq!(near(&"g".repeat(1 << 20), known), Vec::<String>::new());
        assert_eq!(near("ab1", ["ab2", "ab3", "ab4", "ab5"]), Vec::<String>::new(), "two of three letters are not enough");
        assert_eq!(near("team-a1", ["team-a2", "team-a3", "team-a4", "team-a5"]), ["team-a2", "team-a3", "team-a4"]);
    }
}
