//! Names with at most one `*`, which stands for any text, also none.

/// What the `*` stands for, if `name` matches; the empty text for a pattern without one.
pub(crate) fn matched<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    match pattern.split_once('*') {
        None => (pattern == name).then_some(""),
        Some((before, after)) => name.strip_prefix(before)?.strip_suffix(after),
    }
}

/// It matches one of them.
pub(crate) fn any<'a>(patterns: impl IntoIterator<Item = &'a String>, name: &str) -> bool {
    patterns.into_iter().any(|pattern| matched(pattern, name).is_some())
}

/// Puts a text where the `*` is.
pub(crate) fn filled(pattern: &str, text: &str) -> String {
    pattern.replacen('*', text, 1)
}

pub(crate) fn is_wild(pattern: &str) -> bool {
    pattern.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stands_for_any_text() {
        for (pattern, name, found) in [
            ("fast", "fast", Some("")),
            ("fast", "faster", None),
            ("*", "", Some("")),
            ("*", "a/b", Some("a/b")),
            ("gpt-*", "gpt-4o", Some("4o")),
            ("gpt-*", "gpt", None),
            ("*-mini", "o4-mini", Some("o4")),
            ("ab*ba", "aba", None),
            ("ab*ba", "abba", Some("")),
        ] {
            assert_eq!(matched(pattern, name), found, "{pattern} {name}");
        }
        assert_eq!(filled("x-*-y", "1*2"), "x-1*2-y");
        assert_eq!(filled("plain", "1"), "plain");
    }
}
