//! The clock, held against those who answered with a `Date`, and who keeps it.

use super::{Answer, Check, fail, ok, warn};
use crate::world::WallClock;
use events::Timestamp;
use http::header;
use journal::Clock as _;
use std::path::Path;

/// Whose clock said what, and what ours said then.
pub struct Dated {
    who: String,
    theirs: Timestamp,
    ours: Timestamp,
}

impl Dated {
    /// Right after the answer came.
    pub fn of(who: String, answer: &Answer) -> Option<Dated> {
        let theirs = answer.headers.get(header::DATE)?.to_str().ok().and_then(http_date)?;
        Some(Dated { who, theirs, ours: WallClock.now() })
    }

    fn off_seconds(&self) -> u64 {
        self.theirs.0.abs_diff(self.ours.0) / 1_000_000
    }
}

/// A `Date` counts whole seconds, and an answer may have been on its way.
const WARN_SECONDS: u64 = 5;
/// Windows of budgets are this long at the least, in parts of it: a minute more or less puts calls into other hours.
const FAIL_SECONDS: u64 = 60;
/// Made by who keeps the clock, where the system says it.
const KEPT: [&str; 3] = ["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid", "/run/ntpd.pid"];

pub fn check(dated: Vec<Dated>) -> Vec<Check> {
    let kept = KEPT.iter().find(|path| Path::new(path).exists());
    let keeper = kept.map_or("who keeps it is not to be seen here", |_| "and is kept by NTP");
    let Some(worst) = dated.iter().max_by_key(|dated| dated.off_seconds()) else {
        return vec![ok(format!("the clock says {}, {keeper}; nobody answered to compare it with", WallClock.now()))];
    };
    // if most are right it is the one that is wrong
    let near = dated.iter().min_by_key(|dated| dated.off_seconds()).map_or(0, Dated::off_seconds);
    let (off, who) = (worst.off_seconds(), &worst.who);
    let todo = "keep it by NTP (timedatectl set-ntp true): windows of budgets and ends of tokens go by it";
    vec![match off {
        _ if near >= FAIL_SECONDS => fail(format!("the clock is {near} s or more from everybody else's, as {who}"), todo),
        0..WARN_SECONDS => ok(format!("the clock agrees with {} others, {keeper}", dated.len())),
        _ => warn(format!("the clock is {off} s from that of {who}"), todo),
    }]
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    fn dated(seconds: u64) -> Dated {
        let ours = Timestamp::parse("2026-11-26T12:00:00Z").unwrap();
        Dated { who: "p".into(), theirs: Timestamp(ours.0 + seconds * 1_000_000), ours }
    }

    #[test]
    fn a_clock_is_wrong_where_all_others_say_so() {
        let status = |dated| check(dated)[0].status;
        assert_eq!(status(Vec::new()), Status::Ok);
        assert_eq!(status(vec![dated(1), dated(0)]), Status::Ok);
        assert_eq!(status(vec![dated(6)]), Status::Warn);
        assert_eq!(status(vec![dated(3_600), dated(0)]), Status::Warn, "it is the other's");
        assert_eq!(status(vec![dated(3_600), dated(3_599)]), Status::Fail);
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT").map(|at| at.to_string()).as_deref(), Some("1994-11-06T08:49:37Z"));
        assert_eq!((http_date(""), http_date("Sun, 06 Foo 1994 08:49:37 GMT")), (None, None));
    }
}
