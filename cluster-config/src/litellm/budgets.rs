//! Budgets in dollars, with the windows that we have.

use super::part::Part;
use crate::{file, problem::Problems, tree::Node, values};
use events::Every;

/// Takes a budget from the first of `amounts` and the first of `windows` that are there. None: there is none, or it is told as left.
pub(super) fn take(part: &mut Part, amounts: &[&str], windows: &[&str], left: &mut Problems) -> Option<file::Budget> {
    let amount = amounts.iter().find_map(|field| Some((part.at(field), part.decimal(field, 0, left)?)));
    let window = windows.iter().find_map(|field| Some((part.at(field), part.take(field)?)));
    let Some((path, amount)) = amount else {
        if let Some((path, _)) = window {
            left.add(path, "is not taken over: there is no budget for it");
        }
        return None;
    };
    let every = match &window {
        None => Every::Total,
        Some((window_path, node)) => match every(node) {
            Some(every) => every,
            None => {
                left.add(path, "is not taken over, for its window is not");
                left.add(window_path, "is not taken over: budgets here are for an hour, a day, a week, a month or in total");
                return None;
            }
        },
    };
    let limit = format!("{amount} USD");
    match values::limit(&limit) {
        Ok(_) => Some(file::Budget { limit, every: every.as_str(), ..file::Budget::default() }),
        Err(why) => {
            left.add(path, format!("is not taken over: a limit {why}"));
            if let Some((path, _)) = window {
                left.add(path, "is not taken over, for its budget is not");
            }
            None
        }
    }
}

/// The window that is as long. LiteLLM takes `30d` for a month, and resets it on the first.
fn every(node: &Node) -> Option<Every> {
    let Node::Text(text) = node else { return None };
    let text = text.value.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit_s = match &text[digits..] {
        "mo" => return (count == 1).then_some(Every::Month),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    match count.checked_mul(unit_s)? {
        3_600 => Some(Every::Hour),
        86_400 => Some(Every::Day),
        604_800 => Some(Every::Week),
        2_592_000 => Some(Every::Month),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Text;

    #[test]
    fn windows_are_those_that_are_as_long() {
        let every = |text: &str| every(&Node::Text(Text { value: text.into(), filled: false, unset: false }));
        for (text, window) in [
            ("1h", Some(Every::Hour)),
            ("60m", Some(Every::Hour)),
            ("1d", Some(Every::Day)),
            ("24h", Some(Every::Day)),
            ("86400s", Some(Every::Day)),
            ("7d", Some(Every::Week)),
            ("1w", Some(Every::Week)),
            ("30d", Some(Every::Month)),
            ("1mo", Some(Every::Month)),
            ("2mo", None),
            ("31d", None),
            ("12h", None),
            ("d", None),
            ("30", None),
            ("", None),
            ("99999999999999999999d", None),
            ("18446744073709551615w", None),
            ("-1d", None),
        ] {
            assert_eq!(every(text), window, "{text}");
        }
    }
}
