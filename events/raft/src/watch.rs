//! Looks every second at the free space and at the clock.

use events::{Timestamp, limits::CLOCK_STEP_ALARM};
use journal::{Clock, disk::Disk};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// Below `low` bytes the disk is low, until it has `ok` bytes again: in between nothing flaps.
pub(crate) struct DiskWatch {
    low: u64,
    ok: u64,
    is_low: AtomicBool,
}

impl DiskWatch {
    pub fn new(low: u64, ok: u64) -> DiskWatch {
        DiskWatch { low, ok: ok.max(low), is_low: AtomicBool::new(false) }
    }

    pub fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    /// Takes in what is free; answers whether that changed anything.
    pub fn seen(&self, free: u64) -> bool {
        let was = self.is_low();
        let is = if was { free < self.ok } else { free < self.low };
        self.is_low.store(is, Ordering::Relaxed);
        was != is
    }

    /// Asks the disk.
    pub fn look(&self, disk: &dyn Disk) {
        match disk.free_space() {
            Ok(free) if self.seen(free) && self.is_low() => {
                tracing::error!(free_bytes = free, "the disk is nearly full: no new calls are admitted")
            }
            Ok(_) => {}
            // not knowing stops nothing: a full disk shows itself at the next write
            Err(error) => tracing::warn!(%error, "the free space cannot be read"),
        }
    }
}

/// How far the wall clock went beyond the time that passed.
pub(crate) fn step(before: Timestamp, passed: Duration, now: Timestamp) -> Duration {
    let expected = before.plus(passed);
    now.since(expected).max(expected.since(now))
}

/// Looks for as long as it is not aborted.
pub(crate) async fn run(watch: Arc<DiskWatch>, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) {
    let mut before = (clock.now(), Instant::now());
    loop {
        sleep(EVERY).await;
        watch.look(&*disk);
        let now = (clock.now(), Instant::now());
        let stepped = step(before.0, now.1 - before.1, now.0);
        if stepped > CLOCK_STEP_ALARM {
            tracing::error!(step_s = stepped.as_secs(), "the wall clock was set: windows of budgets follow it");
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_low_until_it_has_room_again() {
        let watch = DiskWatch::new(64, 128);
        let seen: Vec<bool> = [200, 64, 63, 100, 127, 128, 64].iter().map(|free| (watch.seen(*free), watch.is_low()).1).collect();
        assert_eq!(seen, [false, false, true, true, true, false, false]);
    }

    #[test]
    fn a_step_is_what_the_clock_did_beyond_the_time() {
        let at = |seconds: u64| Timestamp(seconds * 1_000_000);
        assert_eq!(step(at(100), Duration::from_secs(1), at(101)), Duration::ZERO);
        assert_eq!(step(at(100), Duration::from_secs(1), at(4_000)), Duration::from_secs(3_899));
        assert_eq!(step(at(4_000), Duration::from_secs(1), at(1)), Duration::from_secs(4_000));
    }
}
