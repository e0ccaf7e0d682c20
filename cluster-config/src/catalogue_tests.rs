use super::*;

/// Of these no source names a context window: they are bounded as a model of which nothing is known.
const WINDOW_UNKNOWN: [&str; 6] =
    ["gpt-5.5-cyber", "gpt-5.6-cyber", "gpt-6-cyber", "gpt-6-rosalind", "gpt-rosalind-discovery", "gpt-rosalind-research"];

#[test]
fn every_shipped_model_has_its_price_its_bounds_and_its_source() {
    for (dialect, text) in FILES {
        let (date, models) = read(text).unwrap_or_else(|problems| panic!("{dialect:?}: {problems:?}"));
        assert!(events::Timestamp::parse(&format!("{date}T00:00:00Z")).is_some(), "{dialect:?}: an edition is a day, not {date}");
        assert!(text.to_lowercase().contains("source"), "{dialect:?}: where the prices are from");
        assert!(models.len() > 10, "{dialect:?}: {} models", models.len());
        for (name, entry) in &models {
            let price = entry.price.as_ref().unwrap_or_else(|| panic!("{name} has no price"));
            assert!(price.input.0 >= 0 && price.output.0 >= 0 && price.input.0 + price.output.0 > 0, "{name} is not free");
            let known = entry.bounds.context_tokens.is_some_and(|tokens| tokens >= 1_000);
            assert_ne!(known, WINDOW_UNKNOWN.contains(&name.as_str()), "{name}: {:?}", entry.bounds);
            assert!(price.cache_read.is_none_or(|read| read.0 <= price.input.0), "{name}: reading a cache is no dearer");
        }
        let mut names: Vec<&String> = models.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), models.len(), "{dialect:?}: a model stands once");
    }
}

#[test]
fn a_dated_name_is_looked_up_without_its_date() {
    for (name, spellings) in [
        ("gpt-4o", &["gpt-4o"][..]),
        ("gpt-4o-2024-07-18", &["gpt-4o-2024-07-18", "gpt-4o"]),
        ("claude-opus-4-20250514", &["claude-opus-4-20250514", "claude-opus-4"]),
        ("claude-opus-4@20250514", &["claude-opus-4@20250514", "claude-opus-4"]),
        ("chatgpt-latest", &["chatgpt-latest", "chatgpt"]),
        ("ft:gpt-4o-2024-07-18:acme::id", &["ft:gpt-4o-2024-07-18", "ft:gpt-4o"]),
        ("ft:", &["ft:"]),
        ("-latest", &["-latest"]),
        ("-2024-07-18", &["-2024-07-18"]),
        ("é-2024-07-18", &["é-2024-07-18", "é"]),
        ("a€24-07-18", &["a€24-07-18"]),
        ("", &[""]),
    ] {
        assert_eq!(super::spellings(name), spellings, "{name}");
    }
}

#[test]
fn no_model_is_shipped_that_another_spelling_hides() {
    let Command::Set { entries, .. } = shipped_catalogue();
    for name in entries.keys() {
        let (dialect, model) = name.split_once('/').expect("a dialect and a model");
        let first = super::spellings(model).into_iter().find(|spelling| entries.contains_key(&format!("{dialect}/{spelling}")));
        assert_eq!(first.as_deref(), Some(model), "{name}");
    }
}
