//! The replicated journal: openraft behind the port [`journal::Journal`], over the log, the state and the history in a data directory.
//!
//! A single node is a group of one on the same path. Everything of it runs on the thread that opened it (the core thread), but for
//! two writers: one for the log, one for history and state. Raft's terms and indices do not leave this crate.

mod cache;
mod keeper;
mod log;
mod machine;
mod network;
mod open;
mod port;
mod recovery;
mod replica;
mod restore;
mod stores;
#[cfg(test)]
mod tests;
mod types;
mod verify;
mod watch;
mod writer;

pub use open::Settings;
pub use port::RaftJournal;
pub use restore::{restore, unpack};
pub use verify::{Report, verify};

use std::time::Duration;

/// The level that this build writes at, and the highest that it knows.
pub const LEVEL: u32 = 1;
/// An append without an answer for so long is unclear: longer than an election, not longer than a record may keep its answer waiting.
const APPEND_WAIT: Duration = events::limits::RECORD_WAIT;
/// Without a leader an append is tried again for so long before it is given back.
const RETRY_WAIT: Duration = Duration::from_secs(2);
/// The first pause between tries; each is twice the last.
const RETRY_FIRST: Duration = Duration::from_millis(2);
/// The longest pause between tries.
const RETRY_MAX: Duration = Duration::from_millis(100);
