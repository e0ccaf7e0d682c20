//! A model provider of our own: for first steps without a key, for load, and for every fault that a gateway must survive.
//!
//! What to answer is decided without a clock, a socket or a runtime: [`Behaviour::receive`] takes a request that was read completely
//! and gives a [`Script`], which hands out one frame after the other. Only `serve` knows tokio and hyper. Equal requests in equal order
//! get equal answers.
//!
//! Which faults there are, and how a request asks for one, is in `README.md`.

mod behaviour;
mod chat;
mod completions;
mod embeddings;
mod errors;
mod flags;
mod input;

mod messages;
mod models;
mod pages;
mod plan;
mod player;
mod recent;
mod responses;
mod schema;
mod serve;
mod settings;
mod stats;
mod template;
mod tokens;
mod usage;
mod words;

pub use behaviour::{Behaviour, Received};
pub use flags::Flags;
pub use player::{Opening, Script, Step, Ticket};
pub use serve::Sim;
pub use settings::{Cut, Hang, Output, Settings, UsageFault, Wishes};
