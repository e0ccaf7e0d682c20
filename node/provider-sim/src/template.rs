//! Frames of a stream that differ only in their text and their number: JSON is built once, the rest is putting strings together.

use std::fmt::Write;

use bytes::Bytes;
use serde_json::Value;

use crate::words;

/// Stands for the text while the frame is built. No model name or id that comes before the text in a frame can hold it by accident.
pub(crate) const TEXT: &str = "~sim~text~";
/// Stands for the frame's number while it is built.
pub(crate) const NUMBER: u64 = 7_000_000_000_000_000_007;

/// One frame with two gaps.
#[derive(Debug)]
pub(crate) struct Template {
    before: String,
    between: String,
    after: String,
    numbered: bool,
}

impl Template {
    /// Splits a frame that holds [`TEXT`] and, after it, perhaps [`NUMBER`].
    pub(crate) fn new(frame: &str) -> Template {
        let (before, rest) = frame.split_once(TEXT).unwrap_or((frame, ""));
        let (between, after, numbered) = match rest.split_once(&NUMBER.to_string()) {
            Some((between, after)) => (between, after, true),
            None => (rest, "", false),
        };
        Template { before: before.into(), between: between.into(), after: after.into(), numbered }
    }
}

/// A stretch of a stream: frames of `step` words each.
#[derive(Debug)]
pub(crate) struct Run {
    template: Template,
    next: u64,
    words: u64,
    step: u64,
    number: u64,
}

impl Run {
    /// Frames for so many words; the first frame's number is `number`.
    pub(crate) fn new(template: Template, words: u64, step: u64, number: u64) -> Run {
        Run { template, next: 0, words, step: step.max(1), number }
    }

    /// How many frames there will be.
    pub(crate) fn frames(words: u64, step: u64) -> u64 {
        words.div_ceil(step.max(1))
    }

    /// The next frame and its words.
    pub(crate) fn next(&mut self) -> Option<(Bytes, u64)> {
        let count = self.step.min(self.words - self.next);
        if count == 0 {
            return None;
        }
        let t = &self.template;
        let mut frame = String::with_capacity(t.before.len() + t.between.len() + t.after.len() + 20 + count as usize * 6);
        frame.push_str(&t.before);
        words::append(&mut frame, self.next, count);
        frame.push_str(&t.between);
        if t.numbered {
            let _ = write!(frame, "{}", self.number);
            frame.push_str(&t.after);
        }
        self.next += count;
        self.number += 1;
        Some((Bytes::from(frame), count))
    }

    /// Whether no frame is left.
    pub(crate) fn is_done(&self) -> bool {
        self.next >= self.words
    }
}

/// One piece of a body.
#[derive(Debug)]
pub(crate) enum Segment {
    /// A frame, and the output tokens that it hands over.
    Frame(Bytes, u64),
    Run(Run),
    /// Milliseconds to wait.
    Pause(u64),
}

/// A server-sent event of data only.
pub(crate) fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

/// A server-sent event with its name, which is the value's `type`.
pub(crate) fn event(value: &Value) -> String {
    let name = value.get("type").and_then(Value::as_str).unwrap_or("message");
    format!("event: {name}\ndata: {value}\n\n")
}

/// A frame without tokens.
pub(crate) fn frame(text: String) -> Segment {
    Segment::Frame(Bytes::from(text), 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_fills_both_gaps() {
        let template = Template::new(&event(&json!({"delta": TEXT, "sequence_number": NUMBER, "type": "x"})));
        let mut run = Run::new(template, 5, 2, 9);
        let frames: Vec<_> = std::iter::from_fn(|| run.next()).collect();
        assert_eq!(frames.len() as u64, Run::frames(5, 2));
        assert_eq!(frames.iter().map(|f| f.1).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(frames[0].0, "event: x\ndata: {\"delta\":\"the road\",\"sequence_number\":9,\"type\":\"x\"}\n\n");
        assert_eq!(frames[2].0, "event: x\ndata: {\"delta\":\" and\",\"sequence_number\":11,\"type\":\"x\"}\n\n");
        assert!(run.is_done());
    }

    #[test]
    fn a_run_without_words_has_no_frames() {
        let mut run = Run::new(Template::new(&data(&json!({"text": TEXT}))), 0, 1, 0);
        assert!(run.next().is_none() && run.is_done());
    }
}
