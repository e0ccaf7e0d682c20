//! The replicated journal from outside, on a disk in memory that loses, tears and flips on demand.
#![allow(clippy::unwrap_used, reason = "a test file, helpers included")]

mod conformance;
mod crashes;
mod damages;
mod restore;
mod support;
