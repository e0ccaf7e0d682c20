//! Parameters of questions: read with an error that says what is wrong with which.

use super::Problem;
use ::projections::Order;
use events::{Money, Position, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The parameters of a request; each must be read, or it is one that nobody knows.
pub(crate) struct Ask {
    given: BTreeMap<String, String>,
    known: BTreeSet<&'static str>,
}

impl Ask {
    pub fn new(given: BTreeMap<String, String>) -> Ask {
        Ask { given, known: BTreeSet::new() }
    }

    /// The text of a parameter, if it is there and not empty.
    pub fn text(&mut self, name: &'static str) -> Option<&str> {
        self.known.insert(name);
        self.given.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Something that is asked for by being there, unless it says `false`.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, Problem> {
        self.known.insert(name);
        match self.given.get(name).map(String::as_str) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(Problem::parameter(name, format!("`{other}` is neither true nor false"))),
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| Some(*value));
        found.ok_or_else(|| Problem::parameter(name, format!("`{text}` is none of {}", listed(words))))
    }

    /// Some of a few words, separated by commas.
    pub fn words<T: Copy + Ord>(&mut self, name: &'static str, words: &[(&str, T)]) -> Result<BTreeSet<T>, Problem> {
        let unknown = |text: &str| Problem::parameter(name, format!("`{text}` is none of {}", listed(words)));
        let one = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| unknown(text));
        self.text(name).map_or_else(|| Ok(BTreeSet::new()), |text| text.split(',').map(|text| one(text.trim())).collect())
    }

    /// By time: the last first, unless it is asked for otherwise.
    pub fn order(&mut self) -> Result<Order, Problem> {
        let orders = [("time", Order::Ascending), ("-time", Order::Descending)];
        Ok(self.word("order", &orders)?.unwrap_or(Order::Descending))
    }

    pub fn number(&mut self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.map(Some).ok_or_else(|| Problem::parameter(name, format!("`{text}` is no number from {least} to {most}")))
    }

    /// A plain decimal of dollars.
    pub fn money(&mut self, name: &'static str) -> Result<Option<Money>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        Money::parse(text).map(Some).ok_or_else(|| Problem::parameter(name, format!("`{text}` is no amount such as 0.25")))
    }

    /// RFC 3339, or a day.
    pub fn time(&mut self, name: &'static str) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let time = Timestamp::parse_or_day(text);
        time.map(Some).ok_or_else(|| {
            Problem::parameter(name, format!("`{text}` is no time such as 2026-11-26T12:00:00Z, and no day such as 2026-11-26"))
        })
    }

    /// `90m`, `24h`, `7d`.
    pub fn span(&mut self, name: &'static str) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = |unit| match unit {
            "m" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        let split = text.len().checked_sub(1).and_then(|at| text.split_at_checked(at));
        let span = split.and_then(|(count, unit)| Some(Duration::from_secs(count.parse::<u32>().ok().map(u64::from)? * seconds(unit)?)));
        const LONGEST: Duration = Duration::from_secs(1_000 * 365 * 86_400);
        let span = span.filter(|span| *span <= LONGEST);
        span.map(Some).ok_or_else(|| Problem::parameter(name, format!("`{text}` is no span such as 90m, 24h or 7d")))
    }

    /// The id of a W3C trace, in 32 hexadecimal digits.
    pub fn trace_id(&mut self) -> Result<Option<u128>, Problem> {
        let Some(text) = self.text("trace_id") else { return Ok(None) };
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = u128::from_str_radix(text, 16).ok().filter(|_| is_hex);
        id.map(Some).ok_or_else(|| Problem::parameter("trace_id", format!("`{text}` is no id of a trace: 32 hexadecimal digits")))
    }

    /// A position, as some answer gave it.
    pub fn position(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        // there is one shard
        let position = text.parse::<Position>().ok().filter(|position| position.shard == 0);
        position.map(|position| Some(position.n)).ok_or_else(|| Problem::parameter(name, format!("`{text}` is no position such as 0:17")))
    }

    /// A token that some answer gave as `at` or `position`: what is before it is to be seen.
    pub fn at_least(&mut self) -> Result<Option<u64>, Problem> {
        self.position("at_least")
    }

    /// The time that is asked about: `from` and `until`, or `since` before now; else `otherwise`, and up to `open_end`.
    pub fn range(&mut self, now: Timestamp, open_end: Timestamp, otherwise: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
        let (from, until, since) = (self.time("from")?, self.time("until")?, self.span("since")?);
        if from.is_some() && since.is_some() {
            return Err(Problem::parameter("since", "give `from` or `since`, not both"));
        }
        let since = since.map(|since| until.unwrap_or(now).minus(since));
        let until = until.unwrap_or(open_end);
        let from = from.or(since).unwrap_or(otherwise.min(until));
        if from <= until { Ok((from, until)) } else { Err(Problem::parameter("until", "it is before `from`")) }
    }

    /// A parameter that nobody asked for is a mistake of the caller's.
    pub fn end(self) -> Result<(), Problem> {
        match self.given.keys().find(|name| !self.known.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let known: Vec<&str> = self.known.iter().copied().collect();
                let takes = if known.is_empty() { "no parameter".into() } else { known.join(", ") };
                Err(Problem::parameter(name, format!("this takes {takes}")))
            }
        }
    }
}

fn listed<T>(words: &[(&str, T)]) -> String {
    words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(given: &[(&str, &str)]) -> Ask {
        Ask::new(given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn times_and_spans_are_read() {
        let now = Timestamp::parse("2026-11-26T12:30:00Z").unwrap();
        let range = |given: &[(&str, &str)]| ask(given).range(now, now, Timestamp(0)).map(|(from, until)| format!("{from} {until}"));
        assert_eq!(range(&[("from", "2026-11-01")]).unwrap(), "2026-11-01T00:00:00Z 2026-11-26T12:30:00Z");
        assert_eq!(range(&[("since", "36h")]).unwrap(), "2026-11-25T00:30:00Z 2026-11-26T12:30:00Z");
        assert_eq!(range(&[("since", "1d"), ("until", "2026-11-03")]).unwrap(), "2026-11-02T00:00:00Z 2026-11-03T00:00:00Z");
        for wrong in [&[("from", "yesterday")][..], &[("since", "7w")], &[("since", "é")], &[("from", "2026-11-01"), ("since", "1d")]] {
            assert!(range(wrong).is_err(), "{wrong:?}");
        }
        assert!(range(&[("from", "2026-12-01")]).is_err());
        let ahead = now.plus(Duration::from_secs(3_600));
        let open = ask(&[("since", "1h")]).range(now, ahead, Timestamp(0)).unwrap();
        assert_eq!(open, (now.minus(Duration::from_secs(3_600)), ahead), "what an open end adds is not taken from the beginning");
    }

    #[test]
    fn what_nobody_asks_for_is_an_error() {
        let mut asked = ask(&[("limit", "5"), ("gruop_by", "key")]);
        assert_eq!(asked.number("limit", 1, 10).unwrap(), Some(5));
        assert!(asked.words("group_by", &[("key", 1)]).unwrap().is_empty());
        assert!(asked.end().is_err());
        assert!(ask(&[("limit", "0")]).number("limit", 1, 10).is_err());
        assert!(ask(&[("group_by", "key,colour")]).words("group_by", &[("key", 1)]).is_err());
    }
}
