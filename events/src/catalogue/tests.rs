use super::*;
use crate::{Money, given::given};

fn entry(input: i128) -> Entry {
    Entry { price: Some(Price { input: Money(input), ..Price::default() }), bounds: Bounds::default() }
}

fn set(edition: &str, entries: &[(&str, i128)]) -> Command {
    Command::Set { edition: edition.into(), entries: entries.iter().map(|(name, input)| ((*name).into(), entry(*input))).collect() }
}

fn entry_set(name: &str, input: i128) -> Event {
    Event::EntrySet { name: name.into(), entry: entry(input) }
}

#[test]
fn an_edition_is_the_difference_to_the_one_before() {
    let first = [entry_set("openai/a", 1), entry_set("openai/b", 2), Event::EditionSet { edition: "2026-11-01".into() }];
    given::<Catalogue>([]).when(set("2026-11-01", &[("openai/a", 1), ("openai/b", 2)])).then(first.clone());
    let second =
        [Event::EntryRemoved { name: "openai/a".into() }, entry_set("openai/b", 3), Event::EditionSet { edition: "2026-12-01".into() }];
    let book = given::<Catalogue>(first).when(set("2026-12-01", &[("openai/b", 3)])).then(second);
    assert_eq!((book.edition.as_str(), book.entries.len(), &book.entries["openai/b"]), ("2026-12-01", 1, &entry(3)));
}

#[test]
fn the_same_edition_again_is_no_event() {
    let first = [entry_set("openai/a", 1), Event::EditionSet { edition: "2026-11-01".into() }];
    given::<Catalogue>(first).when(set("2026-11-01", &[("openai/a", 1)])).then([]);
}
