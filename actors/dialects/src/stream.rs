//! A streamed answer on its way through: bytes pass as they are, and we learn from each frame what we must know.

use bytes::Bytes;
use events::limits;
use events::usage::Usage;

use crate::answer::{Answer, StreamFault};
use crate::invalid::{Invalid, Read};
use crate::sse::{Frame, Framer};
use crate::usage::AnthropicCounts;
use crate::{Endpoint, anthropic_messages, openai_chat, openai_responses, tokens};

/// Most choices whose ends are told apart. Past them the stream ends by its usage or `[DONE]`.
const CHOICES_TOLD_APART_MAX: u64 = 1 << 16;

/// Bytes for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// To be passed on at once.
    Pass(Bytes),
    /// *The end*, or an error of the provider, and all that follows: to be kept back until the record is durable.
    End(Bytes),
}

/// What the frames said so far. Each endpoint's file writes into it.
pub(crate) struct Progress {
    pub(crate) answer: Answer,
    pub(crate) counts: AnthropicCounts,
    pub(crate) choices: u64,
    pub(crate) finished: Finished,
    /// The dialect's end was seen.
    pub(crate) complete: bool,
    /// Something that the model made was seen, even without a byte of text.
    pub(crate) began: bool,
    /// The frame at hand is there for its usage only.
    pub(crate) usage_only: bool,
}

/// Which choices have their finish reason.
#[derive(Default)]
pub(crate) struct Finished {
    words: Vec<u64>,
    pub(crate) count: u64,
}

impl Finished {
    /// Notes a choice; a second time does not count.
    pub(crate) fn note(&mut self, index: u64) {
        if index >= CHOICES_TOLD_APART_MAX {
            return;
        }
        let (word, bit) = ((index / 64) as usize, 1 << (index % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.count += u64::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }
}

/// Reads a stream of events in any pieces.
pub struct Stream {
    endpoint: Endpoint,
    strip_usage: bool,
    progress: Progress,
    framer: Framer,
    /// The frame at hand, as far as earlier chunks brought it.
    tail: Vec<u8>,
    /// Nothing but a byte order mark can have come.
    first: bool,
    ended: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    End,
    Strip,
}

impl Stream {
    /// `choices` have to end before the stream is complete. `strip_usage`: we asked for usage and the caller did not, so the frame that is
    /// there for usage only is taken out.
    pub fn new(endpoint: Endpoint, choices: u64, strip_usage: bool) -> Stream {
        Stream {
            endpoint,
            strip_usage,
            progress: Progress {
                answer: Answer::default(),
                counts: AnthropicCounts::default(),
                choices: choices.max(1),
                finished: Finished::default(),
                complete: false,
                began: false,
                usage_only: false,
            },
            framer: Framer::default(),
            tail: Vec::new(),
            first: true,
            ended: false,
        }
    }

    /// Takes the next bytes. Whole frames go to `out` as slices of the chunk, neighbours as one slice; a frame that is not whole waits.
    ///
    /// # Errors
    /// A frame is longer than `limits::FRAME_BYTES_MAX`. Nothing more can be read then.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Piece>) -> Result<(), Invalid> {
        let mut at = 0;
        if !self.tail.is_empty() {
            let end = self.framer.end(&chunk, 0);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            check_length(self.tail.len() + part.len())?;
            self.tail.extend_from_slice(part);
            let Some(end) = end else { return Ok(()) };
            let frame = Bytes::from(std::mem::take(&mut self.tail));
            let verdict = self.frame(&frame);
            put(out, verdict, frame);
            at = end;
        }
        let rest = self.whole_frames(&chunk, at, out)?;
        check_length(chunk.len() - rest)?;
        self.tail.extend_from_slice(&chunk[rest..]);
        Ok(())
    }

    /// Passes the whole frames from `at` on; gives the place where the rest begins.
    fn whole_frames(&mut self, chunk: &Bytes, mut at: usize, out: &mut Vec<Piece>) -> Read<usize> {
        let (mut run, mut run_verdict) = (at, Verdict::Pass);
        while let Some(end) = self.framer.end(chunk, at) {
            if let Err(invalid) = check_length(end - at) {
                put(out, run_verdict, chunk.slice(run..at));
                return Err(invalid);
            }
            let verdict = self.frame(&chunk[at..end]);
            if verdict != run_verdict {
                put(out, run_verdict, chunk.slice(run..at));
                (run, run_verdict) = (at, verdict);
            }
            at = end;
        }
        put(out, run_verdict, chunk.slice(run..at));
        Ok(at)
    }

    /// The provider has closed the stream: what is left is a last event, even without its empty line. Half an event is of no use to
    /// anybody and is left out, unless the stream is complete without it. A stream that breaks off is left at the start of a line.
    pub fn close(&mut self, out: &mut Vec<Piece>) {
        let terminated = self.framer.close();
        if self.tail.is_empty() {
            return;
        }
        let rest = Bytes::from(std::mem::take(&mut self.tail));
        let complete = self.progress.complete;
        let (verdict, whole) = self.frame_or_half(&rest);
        if !(terminated || whole || complete) {
            return;
        }
        put(out, verdict, rest);
        if !terminated && !self.progress.complete && verdict != Verdict::Strip {
            put(out, verdict, Bytes::from_static(b"\n\n"));
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Verdict {
        self.frame_or_half(bytes).0
    }

    /// Reads a frame. The second value says whether its data could be read.
    fn frame_or_half(&mut self, bytes: &[u8]) -> (Verdict, bool) {
        let bytes = if std::mem::take(&mut self.first) { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes) } else { bytes };
        let frame = Frame::read(bytes);
        let progress = &mut self.progress;
        progress.usage_only = false;
        let read = match (&frame.data, self.endpoint) {
            (None, _) => false,
            (Some(data), Endpoint::Responses) => openai_responses::event(progress, frame.name, data).is_ok(),
            (Some(data), Endpoint::Messages | Endpoint::CountTokens) => anthropic_messages::event(progress, frame.name, data).is_ok(),
            // what is no JSON passes unread: the caller's client will say what it thinks of it
            (Some(data), _) => openai_chat::event(progress, data).is_ok(),
        };
        self.ended |= progress.complete || progress.answer.fault.is_some();
        let verdict = match (self.strip_usage && progress.usage_only, self.ended) {
            (true, _) => Verdict::Strip,
            (false, true) => Verdict::End,
            (false, false) => Verdict::Pass,
        };
        (verdict, read)
    }

    /// A first token was passed: a piece of text, of reasoning or of a tool's arguments. From here on there is no other provider.
    pub fn started(&self) -> bool {
        self.progress.began || self.progress.answer.output_bytes > 0
    }

    /// The dialect's end was seen.
    pub fn complete(&self) -> bool {
        self.progress.complete
    }

    /// What the whole stream used, as the provider says; `None` before the end, and where the provider does not say. The last report
    /// counts, never the sum of several.
    pub fn usage(&self) -> Option<Usage> {
        self.progress.answer.usage.filter(|_| self.progress.complete)
    }

    /// Billed beside `usage`: see [`Answer::beside`].
    pub fn beside(&self) -> Usage {
        self.progress.answer.beside
    }

    /// What was used so far: the provider's last word on the input, and on the output the larger of its word and our estimate.
    pub fn partial(&self) -> Usage {
        let mut usage = self.progress.answer.usage.unwrap_or_default();
        let estimate = tokens::estimate(self.progress.answer.output_bytes);
        usage.output = usage.output.saturating_add(estimate.saturating_sub(usage.tokens_out()));
        usage
    }

    /// Bytes of text, reasoning and tool arguments so far.
    pub fn output_bytes(&self) -> u64 {
        self.progress.answer.output_bytes
    }

    /// An error that the provider sent inside of the stream. Its frame is an [`Piece::End`].
    pub fn failed(&self) -> Option<&StreamFault> {
        self.progress.answer.fault.as_ref()
    }

    /// The provider's id of the answer.
    pub fn id(&self) -> Option<&str> {
        self.progress.answer.id.as_deref()
    }

    /// The model that answers.
    pub fn model(&self) -> Option<&str> {
        self.progress.answer.model.as_deref()
    }

    /// Why the last choice ended.
    pub fn finish(&self) -> Option<&str> {
        self.progress.answer.finish.as_deref()
    }

    /// The tier that serves.
    pub fn service_tier(&self) -> Option<&str> {
        self.progress.answer.service_tier.as_deref()
    }
}

fn check_length(bytes: usize) -> Read<()> {
    if bytes > limits::FRAME_BYTES_MAX { Err(Invalid::large("A frame of the stream", limits::FRAME_BYTES_MAX)) } else { Ok(()) }
}

fn put(out: &mut Vec<Piece>, verdict: Verdict, bytes: Bytes) {
    match verdict {
        _ if bytes.is_empty() => {}
        Verdict::Pass => out.push(Piece::Pass(bytes)),
        Verdict::End => out.push(Piece::End(bytes)),
        Verdict::Strip => {}
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
