//! The node's watch: looks every second at what only it sees, and has it raised or cleared by the keepers. It asks nobody on the path of
//! a call; while the journal takes nothing it tries again.

use actors::root::Core;
use events::{
    AlertId, NodeId, State, Timestamp,
    alert::{Alert, Command, Kind},
    envelope::Principal,
    limits,
};
use journal::disk::Disk;
use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use projections::{Projections, Status};
use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// Why something is so, by what it is about: name and detail.
type Seen = BTreeMap<AlertId, (String, String)>;

/// Below `low` bytes of free disk it is low, until it has `ok` bytes again.
#[derive(Clone, Copy)]
pub struct DiskBounds {
    pub low: u64,
    pub ok: u64,
}

/// Whether the last proof of the books found a difference: told by who proves them. None: there was none since the start.
#[derive(Clone, Default)]
pub struct Residual(Arc<Mutex<Option<bool>>>);

impl Residual {
    pub fn set(&self, differs: bool) {
        *self.0.lock() = Some(differs);
    }

    fn get(&self) -> Option<bool> {
        *self.0.lock()
    }
}

/// See the module.
pub struct Watch {
    core: Core,
    projections: Projections,
    disk: Arc<dyn Disk>,
    bounds: DiskBounds,
    residual: Residual,
    clock: Clocks,
    disk_is_low: bool,
    lags: BTreeMap<&'static str, bool>,
    free: Gauge,
    low: Gauge,
}

impl Watch {
    pub fn new(core: Core, projections: Projections, disk: Arc<dyn Disk>, bounds: DiskBounds, residual: Residual) -> Watch {
        let clock = Clocks { before: (core.clock.now(), Instant::now()), stepped: None };
        let (free, low) = (gauge!("tollgate_disk_free_bytes"), gauge!("tollgate_disk_low"));
        Watch { core, projections, disk, bounds, residual, clock, disk_is_low: false, lags: BTreeMap::new(), free, low }
    }

    /// Looks for as long as the process runs.
    pub async fn run(mut self) -> Infallible {
        loop {
            let seen = self.look().await;
            self.tell(seen).await;
            sleep(EVERY).await;
        }
    }

    async fn look(&mut self) -> Seen {
        let node = self.core.session().node;
        let mut seen = Seen::new();
        self.breakers(node, &mut seen).await;
        self.projections(node, &mut seen);
        if let Some(free) = self.disk() {
            let detail = format!("{} MiB of disk are free; below {} MiB nothing is admitted", free >> 20, self.bounds.low >> 20);
            seen.insert(AlertId::new(Kind::DiskLow, node, 0), ("disk".into(), detail));
        }
        if let Some(step) = self.clock.look(self.core.clock.now(), Instant::now()) {
            let detail = format!("the wall clock was set by {} s: windows of budgets follow it", step.as_secs());
            seen.insert(AlertId::new(Kind::ClockStep, node, 0), ("clock".into(), detail));
        }
        if self.residual.get() == Some(true) {
            let detail = "the books do not close: `tollgate proof` says where".to_owned();
            seen.insert(AlertId::new(Kind::LedgerResidual, node, 0), ("ledger".into(), detail));
        }
        seen
    }

    async fn breakers(&self, node: NodeId, seen: &mut Seen) {
        let tripped = self.core.tripped.now();
        if tripped.is_empty() {
            return;
        }
        let named = move |state: &State| -> Vec<_> {
            let name = |id| state.books.providers.get(id).map(|provider| provider.settings.name.clone());
            tripped.iter().filter_map(|(id, reactors)| Some((*id, name(id)?, *reactors))).collect()
        };
        for (id, name, reactors) in self.core.look(named).await.unwrap_or_default() {
            let detail = format!("provider {name} failed again and again, and is left alone on {reactors} reactors");
            seen.insert(AlertId::new(Kind::BreakerOpen, node, id.0), (name, detail));
        }
    }

    fn projections(&mut self, node: NodeId, seen: &mut Seen) {
        for view in self.projections.views() {
            let (name, lag) = (view.name(), self.projections.lag(view));
            let lags = self.lags.entry(name).or_default();
            *lags = is_behind(*lags, lag);
            let detail = match view.status() {
                Status::Failed(why) => format!("projection {name} has failed: {why}"),
                _ if *lags => format!("projection {name} is {lag} events behind the history"),
                _ => continue,
            };
            seen.insert(AlertId::new(Kind::ProjectionLag, node, letters(name)), (name.to_owned(), detail));
        }
    }

    /// What is free, while that is too little.
    fn disk(&mut self) -> Option<u64> {
        let free = self.disk.free_space().ok()?; // not knowing is no alert: a full disk shows itself at the next write
        self.disk_is_low = free < if self.disk_is_low { self.bounds.ok.max(self.bounds.low) } else { self.bounds.low };
        self.free.set(free as f64);
        self.low.set(f64::from(u8::from(self.disk_is_low)));
        self.disk_is_low.then_some(free)
    }

    /// Brings what is raised to what is seen; what the keepers do not take now is told again.
    async fn tell(&self, seen: Seen) {
        let node = self.core.session().node;
        let raised = move |state: &State| -> Vec<AlertId> {
            let own = state.books.alerts.iter().filter(|(id, alert)| alert.raised && id.node() == node);
            own.map(|(id, _)| *id).collect()
        };
        let Some(raised) = self.core.look(raised).await else { return };
        // what is not known yet is not over
        let is_known = |id: &AlertId| id.kind() != Some(Kind::LedgerResidual) || self.residual.get().is_some();
        let over: Vec<AlertId> = raised.iter().copied().filter(|id| !seen.contains_key(id) && is_known(id)).collect();
        for (id, (subject, detail)) in seen.into_iter().filter(|(id, _)| !raised.contains(id)) {
            self.order(id, Command::Raise { subject, detail }).await;
        }
        for id in over {
            self.order(id, Command::Clear).await;
        }
    }

    async fn order(&self, id: AlertId, command: Command) {
        let ordered =
            self.core.run(move |directory| async move { directory.order::<Alert>(id, command, Vec::new(), Principal::System).await }).await;
        if let Some(Err(fault)) = ordered {
            tracing::warn!(alert = %id, %fault, "an alert could not be recorded yet");
        }
    }
}

/// The wall clock beside the time that passes.
struct Clocks {
    before: (Timestamp, Instant),
    /// How far it was set, and when.
    stepped: Option<(Duration, Instant)>,
}

impl Clocks {
    /// The last step, for a while.
    fn look(&mut self, wall: Timestamp, now: Instant) -> Option<Duration> {
        let expected = self.before.0.plus(now - self.before.1);
        let step = wall.since(expected).max(expected.since(wall));
        self.before = (wall, now);
        if step > limits::CLOCK_STEP_ALARM {
            self.stepped = Some((step, now));
        }
        self.stepped.filter(|(_, at)| now - *at < limits::CLOCK_STEP_SHOWN).map(|(step, _)| step)
    }
}

/// Far behind, until half of it is made up.
fn is_behind(was: bool, lag: u64) -> bool {
    lag >= if was { limits::PROJECTION_LAG_ALARM / 2 } else { limits::PROJECTION_LAG_ALARM }
}

/// The first letters of a name as a number.
fn letters(name: &str) -> u64 {
    name.bytes().take(8).fold(0, |number, letter| (number << 8) | u64::from(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_for_a_while() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let wall = Timestamp::from_ms(1_795_305_600_000);
        let mut clocks = Clocks { before: (wall, start), stepped: None };
        assert_eq!(clocks.look(wall.plus(second), start + second), None);
        let step = limits::CLOCK_STEP_ALARM * 2;
        assert_eq!(clocks.look(wall.plus(second * 2).plus(step), start + second * 2), Some(step));
        assert_eq!(clocks.look(wall.plus(second * 3).plus(step), start + second * 3), Some(step), "it has no end of its own");
        let later = start + second * 2 + limits::CLOCK_STEP_SHOWN;
        assert_eq!(clocks.look(wall.plus(later - start).plus(step), later), None);
        assert_eq!(clocks.look(wall.plus(later - start).plus(second), later + second), Some(step), "back again");
    }

    #[test]
    fn what_lags_has_to_catch_up() {
        let most = limits::PROJECTION_LAG_ALARM;
        let steps = [(false, most - 1, false), (false, most, true), (true, most / 2, true), (true, most / 2 - 1, false)];
        assert!(steps.iter().all(|(was, lag, is)| is_behind(*was, *lag) == *is));
    }

    #[test]
    fn names_have_numbers_of_their_own() {
        let numbers: std::collections::BTreeSet<u64> =
            ["usage", "calls", "budgets", "audit", "providers", "alerts"].into_iter().map(letters).collect();
        assert_eq!(numbers.len(), 6);
    }
}
