//! How far something is that takes longer than a second, on standard error if that is a terminal.

use super::say;
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Nothing is shown before.
const AFTER: Duration = Duration::from_secs(1);
const DRAW_EVERY: Duration = Duration::from_millis(200);
const CELLS: u64 = 24;

/// Shown until it is dropped, by a thread of its own.
pub struct Progress {
    figures: Arc<Figures>,
    /// Dropped, it ends the thread.
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Figures {
    done: AtomicU64,
    /// 0: nobody knows.
    total: AtomicU64,
}

impl Progress {
    /// `what` is done, in `unit`s.
    pub fn start(what: &'static str, unit: &'static str) -> Progress {
        let (figures, (end, ended)) = (Arc::new(Figures::default()), mpsc::channel::<()>());
        let is_shown = !say::is_quiet() && std::io::stderr().is_terminal();
        let watched = figures.clone();
        let draw = move || draw(what, unit, &watched, &ended);
        // without the thread nothing is shown, and nothing else is missing
        let thread = is_shown.then(|| std::thread::Builder::new().name("progress".into()).spawn(draw).ok()).flatten();
        Progress { figures, end: Some(end), thread }
    }

    pub fn of(&self, total: u64) {
        self.figures.total.store(total, Ordering::Relaxed);
    }

    pub fn at(&self, done: u64) {
        self.figures.done.store(done, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there was told by the hook
        }
    }
}

fn draw(what: &str, unit: &str, figures: &Figures, ended: &mpsc::Receiver<()>) {
    let (start, mut is_drawn, mut wait) = (Instant::now(), false, AFTER);
    while matches!(ended.recv_timeout(wait), Err(mpsc::RecvTimeoutError::Timeout)) {
        let (done, total) = (figures.done.load(Ordering::Relaxed), figures.total.load(Ordering::Relaxed));
        let line = line(what, unit, done, total, start.elapsed());
        drop(write!(std::io::stderr(), "\r\u{1b}[K{line}")); // nobody sees it: nothing is lost
        (is_drawn, wait) = (true, DRAW_EVERY);
    }
    if is_drawn {
        drop(write!(std::io::stderr(), "\r\u{1b}[K"));
    }
}

/// `replay  [######------] 50 %  1200 events  600 events/s  2 s left`.
fn line(what: &str, unit: &str, done: u64, total: u64, passed: Duration) -> String {
    let seconds = passed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    if done == 0 {
        return format!("{what}  {:.0} s", seconds);
    }
    let figures = format!("{done} {unit}  {rate:.0} {unit}/s");
    if total == 0 || done > total {
        return format!("{what}  {figures}");
    }
    let full = done * CELLS / total;
    let bar: String = (0..CELLS).map(|cell| if cell < full { '#' } else { '-' }).collect();
    let left = (total - done) as f64 / rate;
    format!("{what}  [{bar}] {} %  {figures}  {left:.0} s left", done * 100 / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_rest_where_they_are_known() {
        let two = Duration::from_secs(2);
        assert_eq!(
            line("replay", "events", 1_200, 2_400, two),
            "replay  [############------------] 50 %  1200 events  600 events/s  2 s left"
        );
        assert_eq!(line("replay", "events", 1_200, 0, two), "replay  1200 events  600 events/s");
        assert_eq!(line("verify", "events", 0, 0, two), "verify  2 s");
    }

    #[test]
    fn nothing_waits_for_it() {
        let start = Instant::now();
        let progress = Progress::start("test", "things");
        progress.of(10);
        progress.at(5);
        drop(progress);
        assert!(start.elapsed() < AFTER);
    }
}
