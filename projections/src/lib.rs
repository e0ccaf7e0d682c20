//! Read models that are folded from the history: usage, calls, budgets, audit, providers, alerts. Each is one file that folds events into rows;
//! its checkpoint stands in the same transaction. Nothing here is ever asked on the path of a call, and all of it can be dropped and
//! built again from the history.

pub mod alerts;
pub mod audit;
pub mod budgets;
pub mod calls;
mod draft;
mod follower;
#[cfg(test)]
mod house_tests;
mod key;
pub mod providers;
mod runner;
pub mod usage;
mod verify;
mod view;
mod world;

pub use runner::{Projections, Runner};
pub use store::rows::Order;
pub use verify::verify;
pub use view::{Snapshot, Status, View};
pub use world::World;

use draft::Draft;
use events::{codec::Undecodable, envelope::Recorded};
use journal::ReadFault;
use store::StoreFault;

/// Why a projection cannot go on, or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(pub String);

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

macro_rules! fault_from {
    ($($other:ty),*) => {$(
        impl From<$other> for Fault {
            fn from(fault: $other) -> Fault {
                Fault(fault.to_string())
            }
        }
    )*};
}

fault_from!(StoreFault, Undecodable, ReadFault, std::io::Error);

/// One read model. What it makes of a history depends on the history alone, not on where batches end.
trait Projection: Send {
    /// The name of its file and of its commands.
    fn name(&self) -> &'static str;
    /// Raised whenever its rows change their form or meaning: rows of another form are built anew.
    fn form(&self) -> u32;
    /// Folds one record. `world` is as of right before it.
    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault>;
    /// It goes on while the disk is low, until a quarter of that is left: somebody has to be told.
    fn writes_while_low(&self) -> bool {
        false
    }
    /// Puts into the draft what was gathered in memory: the batch ends here. `world` is as of its end.
    fn flush(&mut self, _world: &World, _draft: &mut Draft<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

/// Makes each of them.
const ALL: [fn() -> Box<dyn Projection>; 6] = [
    || Box::new(usage::Usage::default()),
    || Box::new(calls::Calls::default()),
    || Box::new(budgets::Budgets::default()),
    || Box::new(audit::Audit),
    || Box::new(providers::Providers::default()),
    || Box::new(alerts::Alerts),
];
