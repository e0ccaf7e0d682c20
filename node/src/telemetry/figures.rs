//! Figures for Prometheus.

use actors::root::{Core, Stage};
use events::limits;
use journal::Health;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use projections::{Projections, Status};
use std::{sync::Arc, thread, time::Duration};
use tokio::sync::Semaphore;

/// Buckets in seconds: of what takes us microseconds, and of what takes a provider minutes. Summaries would grow between scrapes.
const SECONDS: [f64; 18] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];
/// Buckets in pieces.
const PIECES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];
/// Values wait in memory until they are sorted into buckets: this often, or when they are asked for.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The recorder's handle.
#[derive(Clone)]
pub struct Figures(PrometheusHandle);

/// Installs the recorder.
///
/// # Errors
/// A recorder is installed already, or no thread could be had.
pub fn figures() -> Result<Figures, crate::cli::Failure> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_transactions".into()), &PIECES)?
        .install_recorder()?;
    actors::metrics::describe();
    describe_gauge!("tollgate_build_info", "1, with the version as a label.");
    describe_gauge!("tollgate_ready", "1 while the node takes calls, as /readyz says.");
    describe_gauge!("tollgate_disk_free_bytes", "Free bytes of the disk that the data lies on.");
    describe_gauge!("tollgate_disk_low", "1 while the free disk is below the bound at which nothing is admitted.");
    describe_gauge!("tollgate_alerts_open", "Alerts that are so now, by kind.");
    describe_counter!("tollgate_alerts_raised_total", "Alerts that came since the process started, by kind.");
    describe_counter!("tollgate_calls_orphaned_total", "Calls that were left open by a node that ended.");
    describe_counter!("tollgate_webhook_deliveries_total", "Tries to deliver alerts, by webhook and outcome.");
    describe_gauge!("tollgate_webhook_lag_events", "Events of the history between a webhook that has alerts waiting and what is known.");
    describe_gauge!("tollgate_places_in_use", "Calls that hold one of the node's places.");
    describe_gauge!("tollgate_places", "Calls that the node carries at most.");
    describe_gauge!("tollgate_projection_lag_events", "Events of the history that a projection does not show yet.");
    describe_gauge!("tollgate_projection_up", "1 while a projection follows the history or is built anew, 0 once it has failed.");
    describe_gauge!("tollgate_ledger_residual", "What the last proof of the books could not explain, in units of the budgets; 0.");
    describe_gauge!("tollgate_ledger_proved_position", "The position of the last proof of the books.");
    describe_counter!("tollgate_spans_total", "Spans that ended, and what became of them; the rest waits, or found the queue full.");
    describe_counter!("tollgate_lines_dropped_total", "Lines that were dropped, for nobody reads stderr.");
    gauge!("tollgate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    counter!("tollgate_lines_dropped_total").absolute(0);
    let upkeep = handle.clone();
    thread::Builder::new().name("figures".into()).spawn(move || {
        loop {
            thread::sleep(UPKEEP_EVERY);
            upkeep.run_upkeep();
        }
    })?;
    Ok(Figures(handle))
}

impl Figures {
    /// The text of `/metrics`, with how full the node is now.
    pub fn scraper(self, core: Core, places: Arc<Semaphore>, projections: Projections) -> Arc<dyn Fn() -> String + Send + Sync> {
        gauge!("tollgate_places").set(limits::CALLS_MAX as f64);
        let in_use = gauge!("tollgate_places_in_use");
        let ready = gauge!("tollgate_ready");
        Arc::new(move || {
            let is_ready = core.stage() == Stage::Running && matches!(core.journal.health(), Health::Ready);
            ready.set(f64::from(u8::from(is_ready)));
            in_use.set(limits::CALLS_MAX.saturating_sub(places.available_permits()) as f64);
            for view in projections.views() {
                let is_up = !matches!(view.status(), Status::Failed(_));
                gauge!("tollgate_projection_lag_events", "projection" => view.name()).set(projections.lag(view) as f64);
                gauge!("tollgate_projection_up", "projection" => view.name()).set(f64::from(u8::from(is_up)));
            }
            self.0.run_upkeep();
            self.0.render() + &crate::process::figures()
        })
    }
}
