//! Bodies: the slices of a request on their way out, the pieces of an answer on their way in.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::{
    decode::Decoder,
    fault::{answered, chain},
    pool::{Connection, Pool},
    port::{Stage, WireBody, WireFault},
    stream::Gauge,
};

/// The body of a request: slices, handed over one by one and never copied together.
pub(crate) struct Slices {
    slices: std::vec::IntoIter<Bytes>,
    left: u64,
    gauge: Option<Arc<Gauge>>,
}

impl Slices {
    pub(crate) fn new(slices: Vec<Bytes>) -> Slices {
        let left = slices.iter().map(|slice| slice.len() as u64).sum();
        Slices { slices: slices.into_iter(), left, gauge: None }
    }

    /// Bytes that were not handed over yet.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Tells this connection's gauge when the last slice is taken.
    pub(crate) fn report_to(&mut self, gauge: &Arc<Gauge>) {
        gauge.begin(self.left > 0);
        self.gauge = Some(gauge.clone());
    }
}

impl Body for Slices {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(slice) = self.slices.find(|slice| !slice.is_empty()) else { return Poll::Ready(None) };
        self.left -= slice.len() as u64;
        if self.left == 0
            && let Some(gauge) = &self.gauge
        {
            gauge.body_taken();
        }
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A timer that is moved by writing down another time; the runtime's own timer is touched only when it goes off. A call arms one
/// timer, however many pieces its answer has.
pub(crate) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
    due: Instant,
}

impl LazyTimer {
    pub(crate) fn new(due: Instant) -> LazyTimer {
        LazyTimer { sleep: Box::pin(tokio::time::sleep_until(due)), due }
    }

    /// Moves the time. An earlier one touches the runtime's timer, a later one does not.
    pub(crate) fn set(&mut self, due: Instant) {
        self.due = due;
        if due < self.sleep.deadline() {
            self.sleep.as_mut().reset(due);
        }
    }

    /// Ready when the time has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.due <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.due);
        }
        Poll::Pending
    }
}

/// The body of an answer. It gives its connection back when it has ended; dropped before, it closes it.
pub(crate) struct AnswerBody {
    incoming: Incoming,
    decoder: Option<Decoder>,
    timer: LazyTimer,
    silence: Duration,
    /// Nothing has come since the timer was set.
    waiting: bool,
    /// The connection, until the body has ended.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// All came; the decoder may hold the rest.
    Received,
    Ended,
}

impl AnswerBody {
    pub(crate) fn new(
        incoming: Incoming,
        decoder: Option<Decoder>,
        timer: LazyTimer,
        silence: Duration,
        connection: Connection,
        pool: Arc<Pool>,
    ) -> AnswerBody {
        let mut body =
            AnswerBody { incoming, decoder, timer, silence, waiting: false, connection: Some(connection), pool, state: State::Open };
        body.note_end();
        body
    }

    /// Gives the connection back as soon as the last byte is known to be here.
    fn note_end(&mut self) {
        if self.state == State::Open && self.incoming.is_end_stream() {
            self.received();
        }
    }

    fn received(&mut self) {
        self.state = State::Received;
        if let Some(connection) = self.connection.take() {
            self.pool.checkin(connection);
        }
    }

    fn fail(&mut self, stage: Stage, message: String) -> Poll<Option<Result<Bytes, WireFault>>> {
        self.state = State::Ended;
        self.connection = None;
        Poll::Ready(Some(Err(answered(stage, message))))
    }

    /// The next bytes as they came, `None` at their end.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, (Stage, String)>>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting = false;
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        self.note_end();
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err((Stage::Body, chain(&error))))),
                Poll::Ready(None) => {
                    self.received();
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_silence(cx),
            }
        }
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, (Stage, String)>>> {
        if !self.waiting {
            self.waiting = true;
            self.timer.set(Instant::now() + self.silence);
        }
        match self.timer.poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err((Stage::Silence, format!("nothing for {} ms", self.silence.as_millis()))))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireFault>>> {
        loop {
            let Some(decoder) = &mut self.decoder else { return Poll::Ready(None) };
            match decoder.pull() {
                Ok(Some(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(None) => {}
                Err(message) => return self.fail(Stage::Body, message),
            }
            if self.state == State::Received {
                return self.finish_decoder();
            }
            match self.poll_raw(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err((stage, message)))) => return self.fail(stage, message),
                Poll::Ready(None) => {}
                Poll::Ready(Some(Ok(piece))) => {
                    if let Some(decoder) = &mut self.decoder {
                        decoder.feed(piece);
                    }
                }
            }
        }
    }

    fn finish_decoder(&mut self) -> Poll<Option<Result<Bytes, WireFault>>> {
        self.state = State::Ended;
        let Some(mut decoder) = self.decoder.take() else { return Poll::Ready(None) };
        match decoder.finish() {
            Ok(rest) => Poll::Ready(rest.map(Ok)),
            Err(message) => self.fail(Stage::Body, message),
        }
    }
}

impl WireBody for AnswerBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireFault>>> {
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        if self.decoder.is_some() {
            return self.poll_decoded(cx);
        }
        if self.state == State::Received {
            self.state = State::Ended;
            return Poll::Ready(None);
        }
        match self.poll_raw(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(bytes))),
            Poll::Ready(Some(Err((stage, message)))) => self.fail(stage, message),
            Poll::Ready(None) => {
                self.state = State::Ended;
                Poll::Ready(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(body: &mut Slices) -> Vec<Bytes> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut cx) {
            all.push(frame.into_data().unwrap());
        }
        all
    }

    #[test]
    fn slices_come_in_order_and_are_the_same_memory() {
        let parts: Vec<Bytes> = ["{\"model\":\"", "", "gpt", "\"}", ""].map(|text| Bytes::from_static(text.as_bytes())).into();
        let mut body = Slices::new(parts.clone());
        assert_eq!((body.left(), body.size_hint().exact(), body.is_end_stream()), (15, Some(15), false));
        let gauge = Gauge::new();
        body.report_to(&gauge);
        let given = frames(&mut body);
        assert_eq!(given.iter().map(|slice| slice.as_ptr()).collect::<Vec<_>>(), [parts[0].as_ptr(), parts[2].as_ptr(), parts[3].as_ptr()]);
        assert!(body.is_end_stream());
        assert!(frames(&mut body).is_empty());
        assert!(Slices::new(vec![Bytes::new()]).is_end_stream());
    }

    #[tokio::test]
    async fn a_lazy_timer_goes_off_at_the_last_time_that_was_set() {
        let start = Instant::now();
        let mut timer = LazyTimer::new(start + Duration::from_millis(20));
        timer.set(start + Duration::from_millis(60));
        std::future::poll_fn(|cx| timer.poll(cx)).await;
        assert!(start.elapsed() >= Duration::from_millis(60));
        let start = Instant::now();
        let mut timer = LazyTimer::new(start + Duration::from_secs(60));
        timer.set(start + Duration::from_millis(10));
        std::future::poll_fn(|cx| timer.poll(cx)).await;
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
