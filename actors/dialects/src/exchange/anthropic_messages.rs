//! `POST /v1/messages`: between Anthropic's wire and an [`Exchange`](super::Exchange) or its events.
//!
//! What came from this dialect goes back as it was, with all that has no name here. What came from another is said in Anthropic's words
//! (`foreign.rs`), and what cannot be said is a loss.

mod answer;
mod blocks;
mod events;
mod foreign;
mod request;
mod sampling;

pub use answer::{decode_answer, encode_answer};
pub use events::{Decoder, Encoder};
pub use request::{decode_request, encode_request};
