//! The wire against servers that behave, and that do not.
#![allow(clippy::unwrap_used, reason = "a test file, helpers included")]

mod answers;
mod deadlines;
mod pooling;
mod proxies;
mod support;
mod tls;
mod truth;
