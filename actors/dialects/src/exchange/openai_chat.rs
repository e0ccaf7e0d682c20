//! OpenAI's chat completions, and what speaks like them.

mod answer;
mod events;
mod request;
mod suit;

pub use answer::{decode_answer, encode_answer};
pub use events::{Decoder, Encoder};
pub use request::{decode_request, encode_request};

use super::Reason;

/// In which member of a message thinking stood: a [`super::HINT`].
const FIELD: &str = "\0field";
/// Where thinking goes that says nothing about it: the name that most providers and clients know.
const REASONING: &str = "reasoning_content";
/// Thinking with its signature, in the form in which Anthropic's blocks pass through gateways of this dialect.
const THINKING_BLOCKS: &str = "thinking_blocks";

fn reason(word: &str) -> Reason {
    match word {
        "stop" => Reason::End,
        "length" => Reason::Length,
        "tool_calls" | "function_call" => Reason::Tools,
        "content_filter" => Reason::Refused,
        _ => Reason::Other,
    }
}

fn word(reason: Reason) -> &'static str {
    match reason {
        Reason::End | Reason::StopSequence | Reason::Other => "stop",
        Reason::Length => "length",
        Reason::Tools => "tool_calls",
        Reason::Refused => "content_filter",
    }
}

/// `data:image/png;base64,…` in its parts.
fn data_url(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,").filter(|(media_type, _)| !media_type.contains([',', ';']))
}
