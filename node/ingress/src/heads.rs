//! How long a request's head may take. A connection may be idle for long, so that those in front of us keep theirs; a head that has begun
//! may not.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// What one connection is doing: a number that is odd while a head is on its way, and never comes twice.
/// Bytes that come while a request is served belong to its body, or wait for their turn.
#[derive(Debug)]
pub(crate) struct Heads {
    step: AtomicU64,
    served: AtomicU64,
}

impl Heads {
    /// A new connection: its first head is due.
    pub(crate) fn new() -> Arc<Heads> {
        Arc::new(Heads { step: AtomicU64::new(1), served: AtomicU64::new(0) })
    }

    /// Which head is on its way.
    pub(crate) fn on_its_way(&self) -> Option<u64> {
        Some(self.step.load(Relaxed)).filter(|step| step % 2 == 1)
    }

    /// The head is whole: its request is served until what this gives is dropped.
    pub(crate) fn serve(self: &Arc<Heads>) -> Serving {
        self.step.fetch_add(self.step.load(Relaxed) % 2, Relaxed);
        self.served.fetch_add(1, Relaxed);
        Serving(self.clone())
    }

    fn bytes_came(&self) {
        if self.served.load(Relaxed) == 0 {
            self.step.fetch_add(1 - self.step.load(Relaxed) % 2, Relaxed);
        }
    }
}

/// A request that is served.
pub(crate) struct Serving(Arc<Heads>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.served.fetch_sub(1, Relaxed);
    }
}

/// A connection that tells its [`Heads`] what comes.
pub(crate) struct Watched {
    pub(crate) stream: TcpStream,
    pub(crate) heads: Arc<Heads>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heads.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_on_its_way_until_it_is_served() {
        let heads = Heads::new();
        let first = heads.on_its_way();
        assert!(first.is_some(), "the first one is due from the start");
        heads.bytes_came();
        assert_eq!(heads.on_its_way(), first);
        let serving = heads.serve();
        heads.bytes_came();
        assert_eq!(heads.on_its_way(), None, "these bytes are its body");
        drop(serving);
        assert_eq!(heads.on_its_way(), None, "idle");
        heads.bytes_came();
        assert!(heads.on_its_way().is_some_and(|second| Some(second) != first), "another head, with a time of its own");
        drop(heads.serve());
        assert_eq!(heads.on_its_way(), None);
    }
}
