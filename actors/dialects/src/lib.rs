//! Wire formats of model providers: what we must know of a request, of an answer and of a stream, and the few fields that we own.
//!
//! This is the pass-through lane: the same dialect comes in and goes out, so bytes stay as they are. Nothing here parses a body into
//! a tree. One cursor (`json.rs`) reads JSON once, from front to back, checks it, and keeps byte ranges; an edit cuts the body at these
//! ranges. Each endpoint has one file that says where its model, limits, media, text and usage stand.
//!
//! Pure: no clock, no environment, no network, no random source.

mod answer;
mod anthropic_messages;
pub mod capabilities;
mod edit;
mod endpoint;
mod error;
pub mod exchange;
mod invalid;
mod json;
mod marks;
mod media;
mod openai_chat;
mod openai_completions;
mod openai_embeddings;
mod openai_responses;
pub mod providers;
mod request;
mod sse;
mod stream;
mod text;
pub mod tokens;
mod translate;
mod usage;
mod whole;

pub use answer::{Answer, StreamFault, read_answer};
pub use edit::{Edits, edit, output_limit_name};
pub use endpoint::{Dialect, Endpoint, UnknownDialect};
pub use error::{ErrorKind, ErrorView, error_body, error_event, keep_alive};
pub use invalid::Invalid;
pub use media::Media;
pub use request::{Request, read_request};
pub use stream::{Piece, Stream};
pub use tokens::{Vocabulary, count, estimate, input_bound_by_bytes, input_tokens, vocabulary};
pub use translate::{Translated, Translator, Unreadable, read_exchange, translate_error, translate_request};
pub use whole::{WholeStream, whole_stream};
