//! The shells that run decisions, and the way of a call. The only crate that knows ractor.
//!
//! On the core thread: [`gate`], [`keeper`]s, the journal. On each reactor: [`router`], [`upstream`], [`scribe`], and the calls.
//! Asks go down (call → router, upstream, scribe → gate → journal), facts come up; never back.

pub mod administration;
pub mod answers;
pub mod attempt;
pub mod bodies;
pub mod call;
pub mod charge;
pub mod directory;
pub mod fault;
pub mod free;
pub mod gate;
pub mod keeper;
pub mod metrics;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod rates;
pub mod relay;
pub mod report;
pub mod root;
pub mod router;
pub mod scribe;
pub mod trace;
pub mod translation;
pub mod upstream;
