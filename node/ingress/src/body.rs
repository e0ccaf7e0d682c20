//! The body of an answer.

use crate::heads::Serving;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Whole, in pieces as they come, or from a route of axum's.
pub struct Body {
    pieces: Pieces,
    /// The call's place: an answer that is not taken is memory, and a node that stops waits for it.
    _place: Option<Arc<OwnedSemaphorePermit>>,
    /// Until it is dropped the connection serves this request.
    _serving: Option<Serving>,
}

enum Pieces {
    Whole(Bytes),
    Stream(mpsc::Receiver<Bytes>),
    Axum(axum::body::Body),
}

/// A whole answer is handed over by slices of so many bytes, so that it is known how much of it was taken.
const SLICE_BYTES: usize = 64 << 10;

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Body {
        Body { pieces: Pieces::Whole(bytes), _place: None, _serving: None }
    }

    pub(crate) fn stream(pieces: mpsc::Receiver<Bytes>) -> Body {
        Body { pieces: Pieces::Stream(pieces), _place: None, _serving: None }
    }

    pub(crate) fn axum(body: axum::body::Body) -> Body {
        Body { pieces: Pieces::Axum(body), _place: None, _serving: None }
    }

    /// Keeps a call's place until the answer is handed over.
    pub(crate) fn keeping(self, place: Arc<OwnedSemaphorePermit>) -> Body {
        Body { _place: Some(place), ..self }
    }

    pub(crate) fn serving(self, serving: Serving) -> Body {
        Body { _serving: Some(serving), ..self }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.get_mut().pieces {
            Pieces::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Pieces::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes.split_to(bytes.len().min(SLICE_BYTES)))))),
            Pieces::Stream(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            Pieces::Axum(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.pieces {
            Pieces::Whole(bytes) => bytes.is_empty(),
            Pieces::Stream(_) => false,
            Pieces::Axum(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.pieces {
            Pieces::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Pieces::Stream(_) => SizeHint::default(),
            Pieces::Axum(body) => body.size_hint(),
        }
    }
}
