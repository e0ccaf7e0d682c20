//! The replicated journal from outside, on a disk in memory that loses, tears and flips on demand.

mod conformance;
mod crashes;
mod damages;
mod support;
