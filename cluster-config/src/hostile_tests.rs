//! Files that are broken, absurd or made to do harm: each is read, or refused with problems; what is read is applied once, the view is
//! the state's (the harness looks after each event), and the export is the file again.

use crate::{export::tests::is_lawful, fill, harness::World, parse};
use proptest::{collection::vec, prelude::*, sample::Index};

const FILE: &str = "\
catalogue: shipped
providers:
- {name: p, dialect: openai, base_url: 'https://p/v1', api_key: sk-one, tenant: acme}
- {name: q, dialect: anthropic, base_url: 'https://q', timeouts: {connect: 5s, first_byte: 60s, silence: 30s, total: 300s}}
models:
- {name: m, targets: [{provider: p, model: x}, {provider: q, model: y}], context_tokens: 1000, price: {input_per_mtok: \"1\", output_per_mtok: \"2.5\", cache_read_per_mtok: \"0.1\"}}
- {name: 'n*', targets: [{provider: q, model: '*'}]}
tenants:
- {name: acme, rpm_limit: 60, tpm_limit: 1000, budgets: [{limit: 5 USD, every: day}, {limit: 1000 tokens, every: month, hard: false, alert_at: [\"0.5\", \"0.8\"]}]}
- {name: beta}
scopes:
- {name: team, kind: team, parent: acme, budgets: [{limit: 9 requests, every: hour, only: {models: ['m*'], providers: [q], tags: [a=1]}}]}
- {name: sub, parent: team, max_parallel_requests: 3}
keys:
- {name: k, scope: sub, secret: secret-one, models: [m, 'n*'], rpm_limit: 5}
- {name: l, scope: beta, secret: secret-two}
budgets: [{limit: 0.000000000001 USD, every: total}]
";

/// Values that stand badly where another is wanted.
const WRONG: [&str; 36] = [
    "",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "1e308",
    "-0.0",
    ".nan",
    ".inf",
    "0x7f",
    "0o17",
    "1_000",
    "18446744073709551616",
    "99999999999 USD",
    "-5 USD",
    "5 EUR",
    "1.0000000000001 USD",
    "9007199254740993 tokens",
    "100%",
    "101%",
    "'*'",
    "'**'",
    "'a*b*'",
    "team",
    "acme",
    "p",
    "k",
    "{}",
    "[]",
    "{name: x}",
    "[[[[]]]]",
    "&a",
    "*a",
    "'${HOME}'",
    "!!binary aGk=",
];

fn is_mark(c: char) -> bool {
    " ,:{}[]\n".contains(c)
}

/// What stands well somewhere, and perhaps elsewhere.
const RIGHT: [&str; 14] = ["acme", "beta", "team", "sub", "p", "q", "m", "x", "y", "'n*'", "1", "2", "5 USD", "7 tokens"];

/// One word of the file: which, by what, and whether it stays before that.
type Spoil = (Index, &'static str, bool);

fn spoil() -> impl Strategy<Value = Spoil> {
    let word = prop_oneof![2 => prop::sample::select(RIGHT.to_vec()), 1 => prop::sample::select(WRONG.to_vec())];
    (any::<Index>(), word, prop::bool::weighted(0.2))
}

/// The file with some of its words replaced or grown.
fn spoilt(changes: &[Spoil]) -> String {
    let mut words: Vec<String> = FILE.split_inclusive(is_mark).map(String::from).collect();
    let values: Vec<usize> = (0..words.len()).filter(|at| !words[*at].ends_with(':') && words[*at].len() > 1).collect();
    for (at, by, stays) in changes {
        let word = &mut words[values[at.index(values.len())]];
        let mark = word.split_off(word.trim_end_matches(is_mark).len());
        *word = if *stays { format!("{word}{by}{mark}") } else { format!("{by}{mark}") };
    }
    words.concat()
}

fn try_file(text: &str) {
    let mut world = World::new();
    if world.plan(text, false).is_err() {
        return;
    }
    for (text, prune) in [(text, false), (text, true), ("", true)] {
        world.apply(text, prune);
        is_lawful(&mut world);
    }
}

#[test]
fn the_sample_is_right() {
    let parsed = parse(FILE, &|_| None);
    assert!(parsed.is_ok(), "{:?}", parsed.err());
    assert_eq!(World::new().plan(FILE, false).err(), None);
    assert!(spoilt(&[]) == FILE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_with_wrong_words(changes in vec(spoil(), 1..4)) {
        try_file(&spoilt(&changes));
    }

    #[test]
    fn files_with_wrong_bytes(changes in vec((any::<Index>(), any::<char>()), 1..6), cut in any::<Index>()) {
        let mut text: Vec<char> = FILE.chars().collect();
        for (at, to) in &changes {
            let at = at.index(text.len());
            text[at] = *to;
        }
        let text: String = text.into_iter().collect();
        try_file(&text);
        let _ = parse(&text.chars().take(cut.index(FILE.len())).collect::<String>(), &|_| Some("x".into()));
    }

    #[test]
    fn any_text(text in "[ -~\n\t\u{80}-\u{ffff}]{0,200}") {
        let _ = parse(&text, &|_| None);
        let _ = fill(&text, &|_| Some("$${x}".into()));
    }
}

/// Each line doubles the one before many times over: a file of a kilobyte that is a billion values.
#[test]
fn a_file_that_unfolds_without_end_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let problems = parse(&text, &|_| None).expect_err("it is refused");
    assert!(problems.iter().all(|problem| problem.message.len() < 10_000), "and not by telling all of it");
}

#[test]
fn a_file_as_deep_as_a_well_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("&a [", "]"), ("? ", "")] {
        for depth in [200, 20_000] {
            let text = format!("keys: {}1{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(&text, &|_| None).is_err(), "{depth} of {open}");
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(parse(&text, &|_| None).is_err(), "{depth} of {open}");
        }
    }
}
