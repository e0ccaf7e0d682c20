//! A connection's bytes: TCP, or TLS over any of these (a proxy that is itself spoken to over TLS makes two), and the tap that
//! knows whether anything of a request was ever handed to them.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::port::Sent;

/// What a connection runs over.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<Stream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Nothing of the request under way was handed to the stream.
const UNTOUCHED: u8 = 0;
/// Something may have been.
const TOUCHED: u8 = 1;
/// Nothing was, and nothing will be: writing fails from here on.
const SHUT: u8 = 2;

/// What is known about the request under way. The verdict that nothing was sent shuts the stream for writing in the same step,
/// so it stays true whatever the connection's task does next, on any runtime.
pub(crate) struct Gauge {
    state: AtomicU8,
    blocked: AtomicBool,
    body_left: AtomicBool,
    born: Instant,
    progress_ns: AtomicU64,
}

impl Gauge {
    pub(crate) fn new() -> Arc<Gauge> {
        Arc::new(Gauge {
            state: AtomicU8::new(UNTOUCHED),
            blocked: AtomicBool::new(false),
            body_left: AtomicBool::new(false),
            born: Instant::now(),
            progress_ns: AtomicU64::new(0),
        })
    }

    /// A new request begins; the connection is idle.
    pub(crate) fn begin(&self, body_left: bool) {
        self.state.store(UNTOUCHED, Ordering::Release);
        self.blocked.store(false, Ordering::Relaxed);
        self.body_left.store(body_left, Ordering::Relaxed);
    }

    /// The last slice of the body was taken.
    pub(crate) fn body_taken(&self) {
        self.body_left.store(false, Ordering::Relaxed);
    }

    /// Whether a byte of the request may have left; if none, none ever will.
    pub(crate) fn verdict(&self) -> Sent {
        match self.state.compare_exchange(UNTOUCHED, SHUT, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(SHUT) => Sent::No,
            Err(_) => Sent::Maybe,
        }
    }

    /// Whether a part of the request still waits to be written.
    pub(crate) fn unwritten(&self) -> bool {
        self.state.load(Ordering::Acquire) != TOUCHED || self.blocked.load(Ordering::Relaxed) || self.body_left.load(Ordering::Relaxed)
    }

    /// When the stream last took bytes.
    pub(crate) fn progress(&self) -> Instant {
        self.born + Duration::from_nanos(self.progress_ns.load(Ordering::Relaxed))
    }

    /// Called before bytes are handed over; tells whether these are the first.
    fn touch(&self) -> io::Result<bool> {
        match self.state.compare_exchange(UNTOUCHED, TOUCHED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(true),
            Err(TOUCHED) => Ok(false),
            Err(_) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the request was given up before it was written")),
        }
    }

    /// Takes [`Gauge::touch`] back: the stream surely took nothing.
    fn untouch(&self) {
        self.state.store(UNTOUCHED, Ordering::Release);
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        self.blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if matches!(outcome, Poll::Ready(Ok(_))) {
            let since = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.progress_ns.store(since, Ordering::Relaxed);
        }
    }
}

/// A stream with its gauge.
pub(crate) struct Tap {
    stream: Stream,
    gauge: Arc<Gauge>,
}

impl Tap {
    pub(crate) fn new(stream: Stream, gauge: Arc<Gauge>) -> Tap {
        Tap { stream, gauge }
    }

    fn write(&mut self, write: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let first = self.gauge.touch()?;
        let outcome = write(Pin::new(&mut self.stream));
        // TCP that refuses the first bytes took none. TLS may have sent a part of a record before it failed.
        if first && matches!((&outcome, &self.stream), (Poll::Ready(Err(_)), Stream::Tcp(_))) {
            self.gauge.untouch();
        }
        self.gauge.wrote(&outcome);
        outcome
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_of_nothing_sent_stays_true() {
        let gauge = Gauge::new();
        gauge.begin(true);
        assert_eq!(gauge.verdict(), Sent::No);
        assert_eq!(gauge.touch().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(gauge.verdict(), Sent::No);
        gauge.begin(true);
        assert!(gauge.touch().unwrap());
        assert!(!gauge.touch().unwrap());
        assert_eq!(gauge.verdict(), Sent::Maybe);
        assert!(gauge.touch().is_ok());
    }

    #[test]
    fn unwritten_until_the_last_slice_was_taken_and_accepted() {
        let gauge = Gauge::new();
        gauge.begin(true);
        assert!(gauge.unwritten());
        gauge.touch().unwrap();
        gauge.wrote(&Poll::Ready(Ok(10)));
        assert!(gauge.unwritten());
        gauge.body_taken();
        assert!(!gauge.unwritten());
        gauge.wrote(&Poll::Pending);
        assert!(gauge.unwritten());
        gauge.wrote(&Poll::Ready(Ok(1)));
        assert!(!gauge.unwritten());
    }
}
