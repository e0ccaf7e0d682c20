//! Lines on stderr: as text on a terminal, else as JSON. `RUST_LOG` sets what is shown.
//!
//! They are written by a thread of their own, for a reader of stderr that stands still must stop neither a reactor nor the end of the
//! process. Whoever ends the process lets them out before, by [`flush`].

use super::json::Json;
use actors::{report::Report, translation::Lost};
use events::limits;
use parking_lot::Mutex;
use std::{
    io::{self, Write},
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::{Duration, Instant},
};
use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter};

/// The target of a call's line.
const CALL: &str = "tollgate::call";
/// What is shown unless `RUST_LOG` says otherwise: the Raft library's own steps are not an operator's business.
const SHOWN: &str = "info,openraft=warn";
/// Lines that come within this time are written together: one wake a group.
const GATHER: Duration = Duration::from_millis(10);
/// How often the end of writing is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(2);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Installs the subscriber, once a process.
///
/// # Errors
/// No thread could be had.
pub fn lines() -> io::Result<()> {
    let lines = Lines::start()?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(SHOWN));
    let format = fmt().with_env_filter(filter).with_writer(LINES.get_or_init(|| lines).clone());
    if io::IsTerminal::is_terminal(&io::stderr()) {
        format.init()
    } else {
        format.event_format(Json).init()
    }
    Ok(())
}

/// Waits until the lines of so far are written; not for long, if nobody reads them.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(Instant::now() + limits::LINES_FLUSH_WAIT);
    }
}

/// Says that a call has ended. Costs a look at a flag where that is filtered out.
pub fn call(report: &Report<'_>) {
    if !tracing::enabled!(target: CALL, tracing::Level::INFO) {
        return;
    }
    let usage = &report.figures.usage;
    let provider = report.candidate.map(|candidate| candidate.provider.name.as_str());
    tracing::info!(
        target: CALL,
        call = %report.call,
        trace_id = report.span.map(|span| format!("{:032x}", span.context.trace_id)),
        tenant = report.principal.map(|principal| principal.tenant_name.as_str()),
        key = report.principal.map(|principal| principal.name.as_str()),
        endpoint = report.endpoint.as_str(),
        dialect = report.endpoint.dialect().as_str(),
        model = report.request.map(|request| short(&request.model)),
        provider,
        provider_model = report.candidate.map(|candidate| candidate.model.as_str()),
        stream = report.request.map(|request| request.stream),
        outcome = report.ending.as_str(),
        status = report.status.as_u16(),
        code = report.code,
        attempts = report.attempts.len(),
        input_tokens = usage.input,
        cache_read_tokens = usage.cache_read,
        cache_write_tokens = usage.cache_write.saturating_add(usage.cache_write_1h),
        output_tokens = usage.output,
        reasoning_tokens = usage.reasoning,
        audio_tokens = usage.audio_input.saturating_add(usage.audio_output),
        cost_usd = %report.figures.cost,
        estimated = report.figures.estimated,
        duration_ms = report.took.as_millis() as u64,
        first_token_ms = report.first_token.map(|after| after.as_millis() as u64),
        overhead_us = report.overhead.as_micros() as u64,
        lost = report.lost.and_then(Lost::fields),
        "call"
    );
}

/// A name of the caller's choosing, bounded.
pub fn short(name: &str) -> &str {
    match name.char_indices().map(|(at, _)| at).find(|at| *at >= limits::NAME_BYTES_MAX) {
        Some(end) => &name[..end],
        None => name,
    }
}

/// Where lines go.
#[derive(Clone)]
pub struct Lines(Arc<Queue>);

pub struct Queue {
    waiting: Mutex<Vec<u8>>,
    /// Held while a group is on its way out.
    writing: Mutex<()>,
    writer: Mutex<Option<Thread>>,
}

impl Lines {
    fn start() -> io::Result<Lines> {
        let lines = Lines(Arc::new(Queue { waiting: Mutex::default(), writing: Mutex::default(), writer: Mutex::default() }));
        let queue = lines.0.clone();
        let thread = thread::Builder::new().name("lines".into()).spawn(move || {
            loop {
                thread::park();
                thread::sleep(GATHER);
                queue.write_out();
            }
        })?;
        *lines.0.writer.lock() = Some(thread.thread().clone());
        Ok(lines)
    }

    fn flush(&self, until: Instant) {
        let queue = &self.0;
        while Instant::now() < until && !(queue.waiting.lock().is_empty() && queue.writing.try_lock().is_some()) {
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Queue {
    fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.len() + line.len() > limits::LINES_BYTES_MAX {
            drop(waiting);
            metrics::counter!("tollgate_lines_dropped_total").increment(1);
            return;
        }
        let first = waiting.is_empty();
        waiting.extend_from_slice(line);
        drop(waiting);
        if first && let Some(writer) = &*self.writer.lock() {
            writer.unpark();
        }
    }

    fn write_out(&self) {
        let _writing = self.writing.lock();
        let group = std::mem::take(&mut *self.waiting.lock());
        let _ = io::stderr().write_all(&group); // nobody reads it, and nobody is left to be told
    }
}

impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Queue;

    fn make_writer(&'a self) -> &'a Queue {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(short("gpt-4o"), "gpt-4o");
        let long = "é".repeat(limits::NAME_BYTES_MAX);
        assert_eq!(short(&long), "é".repeat(limits::NAME_BYTES_MAX / 2));
        assert_eq!(short(&format!("a{long}")).len(), limits::NAME_BYTES_MAX + 1);
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_not_kept() {
        let queue = Queue { waiting: Mutex::default(), writing: Mutex::default(), writer: Mutex::default() };
        let line = vec![b'x'; 1 << 20];
        for _ in 0..10 {
            queue.put(&line);
        }
        assert_eq!(queue.waiting.lock().len(), limits::LINES_BYTES_MAX);
    }
}
