//! What the cluster is told to be. A file becomes a checked [`Config`] ([`parse`]); the difference to what is becomes commands
//! ([`plan`]); what is becomes the [`View`] that calls are decided by, made from the state once and then kept up event by event.
//!
//! Pure: no clock, no environment, no file, no chance. What comes from outside is handed in: the text, the variables, the secrets.

mod catalogue;
mod config;
mod environment;
pub mod explain;
pub mod export;
mod fields;
mod file;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile_tests;
pub mod litellm;
mod pattern;
mod plan;
pub mod price;
mod problem;
mod tree;
mod values;
mod view;

pub use catalogue::shipped_catalogue;
pub use config::{Config, parse};
pub use environment::from_environment;
pub use file::{File, yaml};
pub use plan::{Change, Meant, Op, Plan, Secrets, Step, fields::Field, plan, plan_entry, removal, traces};
pub use problem::{Problem, near};
pub use tree::fill;
pub use values::{secret as check_secret, span_ms, webhook_key};
pub use view::{
    Candidate, KeyState, Level, Listing, ModelRefusal, PathBudget, PriceSource, Priced, Principal, ProviderView, Resolved, View,
};
