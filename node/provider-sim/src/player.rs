//! A script: an answer that is handed out frame by frame, with the faults that were wished for.

use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderName, HeaderValue};

use crate::template::{Segment, frame};
use crate::{Cut, Hang, Wishes};

/// How the answer begins.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// With status and headers.
    Answer,
    /// Never: the connection stays open and silent.
    Hang,
    /// The connection is closed without a byte.
    Reset,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These bytes, as one piece.
    Send(Bytes),
    /// Nothing for so many milliseconds.
    Pause(u64),
    /// Nothing any more, though the answer is not over.
    Hang,
    /// The connection breaks off here.
    Cut,
    /// The answer is whole.
    End,
}

/// Whom to tell that an answer is over: see [`crate::Behaviour::close`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) id: String,
    /// Output tokens that the whole answer bills.
    pub(crate) billed: u64,
}

/// An answer.
#[derive(Debug)]
pub struct Script {
    pub opening: Opening,
    pub status: u16,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Milliseconds before the head.
    pub latency_ms: u64,
    /// Bytes of the body where they are known; else it goes in chunks.
    pub length: Option<u64>,
    /// To be given back when the answer is over; none for pages that are not a provider's.
    pub ticket: Option<Ticket>,
    tape: Tape,
}

#[derive(Debug)]
struct Tape {
    segments: VecDeque<Segment>,
    streams: bool,
    chunk_ms: u64,
    cut: Option<Cut>,
    hang: Option<Cut>,
    /// After so many frames this one replaces the rest.
    error: Option<(u64, String)>,
    split: Option<u64>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Made and not yet handed out.
    pending: Bytes,
    /// How it ends once `pending` is out.
    ending: Option<Step>,
    paused: bool,
    frames: u64,
    bytes: u64,
    tokens: u64,
}

/// The body of an answer before faults.
pub(crate) enum Body {
    Whole(Bytes),
    Stream(Vec<Segment>),
}

impl Script {
    /// A script that does what the wishes say with this body. `error` is the event for `Wishes::error_event`.
    pub(crate) fn new(status: u16, body: Body, wishes: &Wishes, error: Option<String>) -> Script {
        let (length, tape) = match body {
            Body::Whole(bytes) => (Some(bytes.len() as u64), Tape::whole(bytes, wishes)),
            Body::Stream(segments) => (None, Tape::stream(segments, wishes, error)),
        };
        let length = length.filter(|_| tape.gzip.is_none());
        Script { opening: Opening::Answer, status, headers: Vec::new(), latency_ms: wishes.latency_ms, length, ticket: None, tape }
    }

    /// A page of our own, without faults.
    pub(crate) fn page(status: u16, body: impl Into<Bytes>) -> Script {
        Script::new(status, Body::Whole(body.into()), &Wishes::default(), None)
    }

    /// What comes next.
    pub fn next_step(&mut self) -> Step {
        self.tape.next_step()
    }

    /// Whether nothing is left but [`Step::End`]: the last byte was handed over.
    pub fn is_over(&self) -> bool {
        self.tape.is_over()
    }

    /// Whether the body is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.tape.gzip.is_some()
    }

    /// Whether the body is a stream of events.
    pub(crate) fn is_stream(&self) -> bool {
        self.tape.streams
    }

    /// Output tokens handed over so far.
    pub fn tokens(&self) -> u64 {
        self.tape.tokens
    }
}

impl Tape {
    fn new(segments: VecDeque<Segment>, wishes: &Wishes) -> Tape {
        Tape {
            segments,
            streams: false,
            chunk_ms: 0,
            cut: wishes.cut,
            hang: None,
            error: None,
            split: wishes.split,
            gzip: wishes.gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
            pending: Bytes::new(),
            ending: None,
            paused: false,
            frames: 0,
            bytes: 0,
            tokens: 0,
        }
    }

    fn whole(bytes: Bytes, wishes: &Wishes) -> Tape {
        let middle = Cut::Bytes(bytes.len() as u64 / 2);
        let mut tape = Tape::new(VecDeque::from([Segment::Frame(bytes, 0)]), wishes);
        if let Some(Cut::Frames(_)) = tape.cut {
            tape.cut = Some(middle);
        }
        tape.hang = (wishes.hang == Some(Hang::Body)).then_some(middle);
        tape
    }

    fn stream(segments: Vec<Segment>, wishes: &Wishes, error: Option<String>) -> Tape {
        let mut tape = Tape::new(segments.into(), wishes);
        tape.streams = true;
        tape.chunk_ms = wishes.chunk_ms;
        tape.hang = (wishes.hang == Some(Hang::Body)).then_some(Cut::Frames(1));
        tape.error = wishes.error_event.zip(error);
        tape
    }

    fn next_step(&mut self) -> Step {
        loop {
            if !self.pending.is_empty() {
                return Step::Send(self.take_pending());
            }
            if let Some(ending) = &self.ending {
                return ending.clone();
            }
            self.break_off_between_frames();
            if self.ending.is_some() {
                continue;
            }
            if self.owes_pause() {
                self.paused = true;
                return Step::Pause(self.chunk_ms);
            }
            match self.segments.pop_front() {
                Some(Segment::Pause(ms)) => return Step::Pause(ms),
                Some(Segment::Frame(bytes, tokens)) => self.put(bytes, tokens),
                Some(Segment::Run(mut run)) => {
                    if let Some((bytes, tokens)) = run.next() {
                        self.put(bytes, tokens);
                    }
                    if !run.is_done() {
                        self.segments.push_front(Segment::Run(run));
                    }
                }
                None => self.end(),
            }
        }
    }

    fn owes_pause(&self) -> bool {
        let frame_next = matches!(self.segments.front(), Some(Segment::Frame(..) | Segment::Run(_)));
        self.chunk_ms > 0 && self.frames > 0 && !self.paused && frame_next
    }

    /// Cut, hang and error event fall between frames, if they count frames.
    fn break_off_between_frames(&mut self) {
        let reached = |at: Option<Cut>| matches!(at, Some(Cut::Frames(n)) if self.frames >= n);
        if reached(self.cut) {
            self.ending = Some(Step::Cut);
        } else if reached(self.hang) {
            self.ending = Some(Step::Hang);
        } else if let Some((_, event)) = self.error.take_if(|(after, _)| self.frames >= *after) {
            self.segments = VecDeque::from([frame(event)]);
        }
    }

    /// Makes a frame ready to be handed out, or the part of it that comes before a break.
    fn put(&mut self, frame: Bytes, tokens: u64) {
        let mut frame = frame;
        for (at, ending) in [(self.cut, Step::Cut), (self.hang, Step::Hang)] {
            if let Some(Cut::Bytes(at)) = at
                && self.bytes + frame.len() as u64 >= at
            {
                frame.truncate((at - self.bytes) as usize);
                self.ending = Some(ending);
                break;
            }
        }
        self.frames += 1;
        self.paused = false;
        self.bytes += frame.len() as u64;
        self.tokens += if self.ending.is_none() { tokens } else { 0 };
        self.pending = match &mut self.gzip {
            None => frame,
            // Writing to a vector cannot fail.
            Some(gzip) => {
                gzip.write_all(&frame).and_then(|()| gzip.flush()).map(|()| std::mem::take(gzip.get_mut()).into()).unwrap_or_default()
            }
        };
    }

    fn end(&mut self) {
        self.ending = Some(Step::End);
        if let Some(gzip) = self.gzip.take() {
            self.pending = gzip.finish().map(Bytes::from).unwrap_or_default();
        }
    }

    fn take_pending(&mut self) -> Bytes {
        let most = self.split.map_or(usize::MAX, |bytes| bytes as usize);
        self.pending.split_to(most.min(self.pending.len()))
    }

    fn is_over(&self) -> bool {
        let breaks = self.cut.is_some() || self.hang.is_some() || self.error.is_some();
        let none_left = self.segments.is_empty() && self.gzip.is_none() && !breaks;
        self.pending.is_empty() && (self.ending == Some(Step::End) || self.ending.is_none() && none_left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn wishes(wish: &[(&str, &str)]) -> Wishes {
        let mut wishes = Wishes::default();
        wish.iter().for_each(|(name, value)| wishes.set(name, value).expect(name));
        wishes
    }

    fn frames() -> Body {
        Body::Stream(["one ", "two ", "three ", "four"].map(|text| Segment::Frame(Bytes::from(text), 1)).into())
    }

    fn play(body: Body, wish: &[(&str, &str)]) -> (Vec<Step>, u64) {
        let mut script = Script::new(200, body, &wishes(wish), Some("error ".into()));
        let mut steps = Vec::new();
        while !matches!(steps.last(), Some(Step::End | Step::Cut | Step::Hang)) {
            steps.push(script.next_step());
        }
        (steps, script.tokens())
    }

    fn told(body: Body, wish: &[(&str, &str)]) -> (String, u64) {
        let (steps, tokens) = play(body, wish);
        let word = |step: &Step| match step {
            Step::Send(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Step::Pause(ms) => format!("({ms})"),
            other => format!("{other:?}"),
        };
        (steps.iter().map(word).collect::<Vec<_>>().join("|"), tokens)
    }

    #[test]
    fn streams_end_as_wished() {
        for (name, value, expected, tokens) in [
            ("chunk_ms", "0", "one |two |three |four|End", 4),
            ("chunk_ms", "5", "one |(5)|two |(5)|three |(5)|four|End", 4),
            ("cut", "2", "one |two |Cut", 2),
            ("cut", "0", "Cut", 0),
            ("cut", "6b", "one |tw|Cut", 1),
            ("cut", "100", "one |two |three |four|End", 4),
            ("hang", "body", "one |Hang", 1),
            ("error_event", "1", "one |error |End", 1),
            ("split", "3", "one| |two| |thr|ee |fou|r|End", 4),
        ] {
            assert_eq!(told(frames(), &[(name, value)]), (expected.to_string(), tokens), "{name}={value}");
        }
    }

    #[test]
    fn whole_answers_break_in_their_middle() {
        let whole = || Body::Whole(Bytes::from("0123456789"));
        assert_eq!(told(whole(), &[]).0, "0123456789|End");
        assert_eq!(told(whole(), &[("cut", "1")]).0, "01234|Cut");
        assert_eq!(told(whole(), &[("cut", "3b")]).0, "012|Cut");
        assert_eq!(told(whole(), &[("hang", "body")]).0, "01234|Hang");
        assert_eq!(Script::new(200, whole(), &wishes(&[("cut", "3b")]), None).length, Some(10));
    }

    #[test]
    fn a_script_is_over_with_its_last_byte() {
        let mut script = Script::new(200, frames(), &wishes(&[("split", "2")]), None);
        let mut sends = 0;
        while !script.is_over() {
            assert!(matches!(script.next_step(), Step::Send(_)));
            sends += 1;
        }
        assert_eq!((sends, script.next_step()), (9, Step::End));
        let mut cut = Script::new(200, frames(), &wishes(&[("cut", "4")]), None);
        while cut.next_step() != Step::Cut {
            assert!(!cut.is_over());
        }
    }

    #[test]
    fn compressed_frames_can_be_read_one_by_one() {
        let (steps, _) = play(frames(), &[("gzip", "1"), ("split", "5")]);
        let all: Vec<u8> = steps.iter().flat_map(|step| if let Step::Send(bytes) = step { bytes.to_vec() } else { Vec::new() }).collect();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&all[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "one two three four");
    }
}
