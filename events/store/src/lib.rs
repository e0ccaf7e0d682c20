//! What lies on the disk of a node: the data directory, rows in redb, the state among them, and the one thread that writes history and state.
//! The log and the history's files are in `journal`; this is the home of redb and of the real disk.

mod backend;
pub mod datadir;
pub mod disk;
pub mod rows;
pub mod state;
pub mod verify;
pub mod writer;

pub use datadir::{DataDir, DataDirFault, Restoring};
pub use disk::RealDisk;
pub use rows::{Reading, Rows, StoreFault, Writing};
pub use state::{Meta, StateStore, Stored};
pub use writer::{Batch, Report, Writer};
