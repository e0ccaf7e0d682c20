//! What we must know of an answer: who gave it, how it ended, what it used.

use events::limits;
use events::usage::Usage;

use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::{Endpoint, anthropic_messages, openai_chat, openai_embeddings, openai_responses, request};

/// Longest finish reason, type or code that is kept, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// Longest error message that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// What an answer says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// In disjoint classes; `None` if the provider gave none that can be read.
    pub usage: Option<Usage>,
    /// Billed beside `usage`, at prices that may be another model's: steps that Anthropic leaves out of its totals.
    pub beside: Usage,
    /// The provider's id, at most 128 bytes.
    pub id: Option<String>,
    /// The model that answered, at most 256 bytes.
    pub model: Option<String>,
    /// Why the last choice ended, in the provider's word; of responses the reason why it is incomplete, or else its status.
    pub finish: Option<String>,
    /// Bytes of text, tool arguments and reasoning that came out: for estimates.
    pub output_bytes: u64,
    /// The tier that served, which may be another than was asked for.
    pub service_tier: Option<String>,
    /// Responses: still queued or in progress; the provider goes on working, and usage is not final.
    pub unfinished: bool,
    /// An error inside of an answer whose status says success.
    pub fault: Option<StreamFault>,
}

/// An error that stands inside of an answer or a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamFault {
    /// The provider's `type`.
    pub kind: Option<String>,
    /// The provider's `code`.
    pub code: Option<String>,
    pub message: String,
    /// The HTTP status that it would have had: the provider's own if it names one, else our guess.
    pub status: u16,
}

/// Reads a whole answer.
///
/// # Errors
/// It is not a JSON object.
pub fn read_answer(endpoint: Endpoint, body: &[u8]) -> Result<Answer, Invalid> {
    Ok(read(endpoint, body)?)
}

fn read(endpoint: Endpoint, body: &[u8]) -> Read<Answer> {
    let mut answer = Answer::default();
    let mut cursor = Cursor::new(body);
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::Completions => drop(openai_chat::read(&mut cursor, &mut answer, &mut |_| ())?),
        Endpoint::Responses => openai_responses::read(&mut cursor, &mut answer)?,
        Endpoint::Embeddings => return openai_embeddings::read(body),
        Endpoint::Messages => anthropic_messages::read(&mut cursor, &mut answer)?,
        Endpoint::CountTokens => anthropic_messages::read_count(&mut cursor, &mut answer)?,
    }
    cursor.end()?;
    Ok(answer)
}

impl Answer {
    /// Takes the id; the first one stays.
    pub(crate) fn take_id(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        first(c, &mut self.id, limits::UPSTREAM_ID_BYTES_MAX)
    }

    /// Takes the model; the first one stays.
    pub(crate) fn take_model(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        first(c, &mut self.model, limits::NAME_BYTES_MAX * 2)
    }

    /// Takes the tier; the first one stays.
    pub(crate) fn take_tier(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        first(c, &mut self.service_tier, WORD_BYTES_MAX)
    }

    /// Takes a finish reason; says whether there was one. The last one stays.
    pub(crate) fn take_finish(&mut self, c: &mut Cursor<'_>) -> Read<bool> {
        let Some(reason) = c.string()?.filter(|reason| !reason.is_empty()) else { return Ok(false) };
        if reason.len() <= WORD_BYTES_MAX as u64 {
            self.finish = reason.decode().map(|reason| reason.into_owned());
        }
        Ok(true)
    }

    pub(crate) fn put_out(&mut self, bytes: u64) {
        self.output_bytes = self.output_bytes.saturating_add(bytes);
    }
}

fn first(c: &mut Cursor<'_>, place: &mut Option<String>, bytes_max: usize) -> Read<()> {
    if place.is_some() {
        return c.skip();
    }
    *place = request::short(c, bytes_max)?;
    Ok(())
}

impl StreamFault {
    /// Takes an `error`: an object, or a text; `None` if it is null, false or empty.
    pub(crate) fn take(c: &mut Cursor<'_>) -> Read<Option<StreamFault>> {
        let mut fault = StreamFault::default();
        match c.kind()? {
            Kind::String => fault.take_message(c)?,
            Kind::Object => {
                let mut empty = true;
                c.object(|c, key| {
                    empty = false;
                    fault.member(c, &key.bytes())
                })?;
                if empty {
                    return Ok(None);
                }
            }
            _ => return c.skip().map(|_| None),
        }
        fault.guess_status();
        Ok(Some(fault))
    }

    /// Takes one field of an error object.
    pub(crate) fn member(&mut self, c: &mut Cursor<'_>, key: &[u8]) -> Read<()> {
        match key {
            b"type" => self.kind = request::short(c, WORD_BYTES_MAX)?,
            b"message" => self.take_message(c)?,
            b"code" if c.kind()? == Kind::Number => {
                let code = c.integer()?;
                self.code = code.map(|code| code.to_string());
            }
            b"code" => self.code = request::short(c, WORD_BYTES_MAX)?,
            _ => c.skip()?,
        }
        Ok(())
    }

    fn take_message(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        let text = c.string()?;
        let mut message = text.map(|text| String::from_utf8_lossy(&text.bytes()).into_owned()).unwrap_or_default();
        if message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
        }
        self.message = message;
        Ok(())
    }

    /// Settles the status once all fields are there.
    pub(crate) fn guess_status(&mut self) {
        self.status = [&self.code, &self.kind].into_iter().flatten().find_map(|word| status_of(word)).unwrap_or(502);
    }
}

/// The status that a type or a code stands for.
fn status_of(word: &str) -> Option<u16> {
    if let Ok(status @ 400..=599) = word.parse() {
        return Some(status);
    }
    Some(match word {
        "invalid_request_error" | "context_length_exceeded" | "content_filter" | "invalid_prompt" | "content_policy_violation" => 400,
        "authentication_error" | "invalid_api_key" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" | "model_not_found" => 404,
        "request_too_large" => 413,
        "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "too_many_requests" => 429,
        "api_error" | "server_error" | "internal_server_error" | "internal_error" => 500,
        "service_unavailable" | "service_unavailable_error" => 503,
        "timeout_error" | "timeout" => 504,
        "overloaded_error" | "overloaded" => 529,
        _ => return None,
    })
}
