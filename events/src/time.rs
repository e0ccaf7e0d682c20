//! Time as data: it comes in with a command or an entry and is never asked for here.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};
use time::{Date, OffsetDateTime, Time, Weekday, format_description::well_known::Rfc3339};

/// Microseconds since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// The last time that can be written: the end of the year 9999.
const LAST_US: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// From milliseconds since 1970.
    pub fn from_ms(ms: u64) -> Timestamp {
        Timestamp(ms.saturating_mul(1_000).min(LAST_US))
    }

    /// Milliseconds since 1970.
    pub fn as_ms(self) -> u64 {
        self.0 / 1_000
    }

    /// Later by a duration.
    pub fn plus(self, wait: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(wait.as_micros() as u64).min(LAST_US))
    }

    /// Earlier by a duration, not before 1970.
    pub fn minus(self, wait: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(wait.as_micros() as u64))
    }

    /// How long after `earlier`; nothing, if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339, from 1970 to the end of the year 9999 in UTC.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(time.unix_timestamp_nanos() / 1_000).ok().filter(|us| *us <= LAST_US).map(Timestamp)
    }

    /// Reads RFC 3339, or a day: its beginning in UTC.
    pub fn parse_or_day(text: &str) -> Option<Timestamp> {
        Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
    }

    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0.min(LAST_US)) * 1_000).expect("bounded by the year 9999")
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.date_time().format(&Rfc3339).expect("a time of four-digit years has a form"))
    }
}

/// How long a budget's window is. Windows follow the calendar in UTC; weeks begin on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Every {
    Hour,
    Day,
    Week,
    Month,
    /// One window that never ends.
    Total,
}

impl Every {
    pub const ALL: [Every; 5] = [Every::Hour, Every::Day, Every::Week, Every::Month, Every::Total];

    /// The word of the configuration and of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Every::Hour => "hour",
            Every::Day => "day",
            Every::Week => "week",
            Every::Month => "month",
            Every::Total => "total",
        }
    }

    /// The beginning of the window that `at` lies in.
    pub fn window(self, at: Timestamp) -> Timestamp {
        const HOUR_US: u64 = 3_600_000_000;
        match self {
            Every::Hour => Timestamp(at.0 - at.0 % HOUR_US),
            Every::Day => Timestamp(at.0 - at.0 % (24 * HOUR_US)),
            Every::Week => {
                let days = at.0 / (24 * HOUR_US);
                // 1970 began on a Thursday, three days after a Monday
                Timestamp(days.saturating_sub((days + 3) % 7) * 24 * HOUR_US)
            }
            Every::Month => midnight(first_of_month(at.date_time().date())),
            Every::Total => Timestamp(0),
        }
    }

    /// The end of the window that begins at `start`: the beginning of the next. None for [`Every::Total`].
    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        let hours = |count: u64| Some(start.plus(Duration::from_secs(count * 3_600)));
        match self {
            Every::Hour => hours(1),
            Every::Day => hours(24),
            Every::Week => hours(24 * 7),
            Every::Month => {
                let next = first_of_month(start.date_time().date()).checked_add(time::Duration::days(32));
                Some(next.map_or(Timestamp(LAST_US), |date| midnight(first_of_month(date))))
            }
            Every::Total => None,
        }
    }
}

fn first_of_month(date: Date) -> Date {
    date.replace_day(1).expect("every month has a first day")
}

fn midnight(date: Date) -> Timestamp {
    let time = date.with_time(Time::MIDNIGHT).assume_utc();
    Timestamp(u64::try_from(time.unix_timestamp()).unwrap_or(0) * 1_000_000)
}

/// The day of the week that a time falls on.
pub fn weekday(at: Timestamp) -> Weekday {
    at.date_time().weekday()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn windows_follow_the_calendar() {
        let now = at("2026-11-22T13:45:12.5Z"); // a Sunday
        for (every, start, end) in [
            (Every::Hour, "2026-11-22T13:00:00Z", "2026-11-22T14:00:00Z"),
            (Every::Day, "2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Every::Week, "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
            (Every::Month, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ] {
            assert_eq!(every.window(now), at(start), "{every:?}");
            assert_eq!(every.end(every.window(now)), Some(at(end)), "{every:?}");
            assert_eq!(every.window(at(end)), at(end), "a window opens at its first moment");
        }
        assert_eq!(Every::Month.end(at("2026-12-01T00:00:00Z")), Some(at("2027-01-01T00:00:00Z")));
        assert_eq!(Every::Total.end(Every::Total.window(now)), None);
        for (every, clock) in
            Every::ALL.into_iter().flat_map(|every| [(every, Timestamp(u64::MAX)), (every, Timestamp(LAST_US)), (every, Timestamp(0))])
        {
            assert!(every.end(every.window(clock)).is_none_or(|end| end.0 <= LAST_US), "{every:?} at a broken clock's {}", clock.0);
        }
        assert_eq!(weekday(Every::Week.window(now)), Weekday::Monday);
    }

    #[test]
    fn times_read_back() {
        assert_eq!(at("2026-11-22T00:00:00Z").to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(at("2026-11-22T00:00:00.25Z").to_string(), "2026-11-22T00:00:00.25Z");
    }
}
