//! What operators see: lines on stderr, figures for Prometheus, spans for a collector. Nothing waits for any of them.

mod collector;
mod figures;
mod json;
mod lines;
mod spans;

use actors::{ports, report::Report, trace::Sampler};
use egress::Setup;
use events::limits;
use std::sync::Arc;

pub use figures::figures;
pub use lines::{flush, lines};
use spans::Spans;

/// The port of calls.
pub struct Telemetry {
    spans: Option<Spans>,
}

impl Telemetry {
    /// Spans are made if the environment names a collector.
    ///
    /// # Errors
    /// What the environment says of it cannot be used.
    pub fn new(setup: &Arc<Setup>, vars: &dyn Fn(&str) -> Option<String>) -> Result<Telemetry, crate::cli::Failure> {
        Ok(Telemetry { spans: Spans::from_vars(setup, vars)? })
    }

    /// Sends the spans that wait, for a while.
    pub fn stop(&self) {
        if let Some(spans) = &self.spans {
            spans.stop(limits::SPANS_STOP_WAIT);
        }
    }
}

impl ports::Telemetry for Telemetry {
    fn sampler(&self) -> Option<&Sampler> {
        self.spans.as_ref().map(Spans::sampler)
    }

    fn ended(&self, report: &Report<'_>) {
        lines::call(report);
        if let (Some(spans), Some(span)) = (&self.spans, report.span.filter(|span| span.sampled())) {
            spans.end(report, span);
        }
    }
}
