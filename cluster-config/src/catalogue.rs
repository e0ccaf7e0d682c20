//! The shipped catalogue: prices and bounds of models, as data with source and date.

use crate::{
    config::price_of,
    fields::Fields,
    problem::Problems,
    tree::{self, Node},
};
use events::{
    catalogue::{Command, Entry},
    limits,
    price::Bounds,
};
use std::collections::BTreeMap;

/// By dialect: the data files.
const FILES: [(&str, &str); 2] =
    [("openai", include_str!("../catalogue/openai.yaml")), ("anthropic", include_str!("../catalogue/anthropic.yaml"))];

/// The command that brings the price book to the edition of this build.
pub fn shipped_catalogue() -> Command {
    let (mut edition, mut entries) = (String::new(), BTreeMap::new());
    for (dialect, text) in FILES {
        let (date, models) = read(text).expect("the shipped files are read by a test");
        edition = edition.max(date);
        entries.extend(models.into_iter().map(|(name, entry)| (format!("{dialect}/{name}"), entry)));
    }
    Command::Set { edition, entries }
}

/// The date of a data file, and its models.
fn read(text: &str) -> Result<(String, Vec<(String, Entry)>), Vec<crate::Problem>> {
    let mut problems = Problems::default();
    let node = tree::read(text, &|_| None, &mut problems)?;
    let file = Fields::of(&node, "", &["edition", "models"], &mut problems);
    let edition = file.needed("edition", &mut problems).unwrap_or_default().to_owned();
    let models = file.map("models", &mut problems);
    let entries = models.into_iter().map(|(path, name, node)| (name.to_owned(), entry(node, &path, &mut problems))).collect();
    problems.or((edition, entries))
}

fn entry(node: &Node, path: &str, problems: &mut Problems) -> Entry {
    let fields = Fields::of(node, path, &["price", "max_output_tokens", "context_tokens"], problems);
    let bounds = Bounds {
        max_output_tokens: fields.count("max_output_tokens", 0, limits::COUNT_MAX, problems),
        context_tokens: fields.count("context_tokens", 1, limits::COUNT_MAX, problems),
    };
    Entry { price: price_of(&fields, problems), bounds }
}

/// Names under which a provider's model may stand in the catalogue, the nearest first: itself, then without the date or `latest` at
/// its end. A fine-tuned model is only ever priced as one.
pub(crate) fn spellings(model: &str) -> Vec<String> {
    if let Some(tuned) = model.strip_prefix("ft:") {
        let base = tuned.split(':').next().unwrap_or_default();
        let mut names = vec![format!("ft:{base}")];
        names.extend(undated(base).map(|base| format!("ft:{base}")));
        return names;
    }
    let mut names = vec![model.to_owned()];
    names.extend(undated(model).map(str::to_owned));
    names
}

/// Without `-2024-07-18`, `-20250929`, `@20250929` or `-latest`.
fn undated(model: &str) -> Option<&str> {
    if let Some(base) = model.strip_suffix("-latest") {
        return Some(base).filter(|base| !base.is_empty());
    }
    let is_date = |text: &str, form: &str| {
        text.len() == form.len()
            && text.bytes().zip(form.bytes()).all(|(byte, form)| if form == b'0' { byte.is_ascii_digit() } else { byte == form })
    };
    let cut = ["-0000-00-00", "-00000000", "@00000000"].into_iter().find_map(|form| {
        let at = model.len().checked_sub(form.len()).filter(|at| *at > 0)?;
        model.get(at..).is_some_and(|end| is_date(end, form)).then_some(at)
    });
    cut.and_then(|at| model.get(..at))
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
