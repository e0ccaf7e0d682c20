//! `GET /api/v1/backup?recipient=age1…`: the history and the state as of one position, sealed, while the node serves. A thread of its own
//! writes, and waits for a slow reader; one is made at a time.

use super::{Asking, Problem};
use ::backup::{Recipient, Sealing, seal};
use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use events::{
    Position, Timestamp,
    limits::{BACKUP_RECIPIENTS_MAX, QUERY_WAIT, UNREAD_TIMEOUT},
    token::Need,
};
use http_body::Frame;
use journal::{Reader, backup::Taken};
use std::{
    io::{self, Write},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::sync::{
    OwnedSemaphorePermit,
    mpsc::{Receiver, Sender, channel, error::TrySendError},
};

/// Bytes that are sent at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for the reader.
const PIECES: usize = 8;
/// A reader that is slow is looked at so often.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn get(asking: Asking) -> Response {
    let answer = async {
        asking.let_in(Need::Configure).await?.of_platform()?;
        let mut ask = asking.ask();
        let recipients = recipients(ask.text("recipient").unwrap_or_default())?;
        ask.end()?;
        let turn = asking.app.backups.clone().try_acquire_owned();
        let turn = turn.map_err(|_| Problem::unavailable("a backup is being made; one at a time"))?;
        let position = asking.look(|state| state.position()).await?;
        let history = asking.app.reactor.core.journal.reader();
        let taken = taken(history.clone(), position).await?;
        let position = Position::new(taken.n).to_string();
        let (send, receive) = channel(PIECES);
        let whole = Arc::new(AtomicBool::new(false));
        let work = Work { history, taken, recipients, made_at: asking.now(), whole: whole.clone(), turn };
        let started = std::thread::Builder::new().name("backup".into()).spawn(move || work.run(send));
        started.map_err(|error| Problem::unavailable(format!("no thread for a backup: {error}")))?;
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (HeaderName::from_static("x-tollgate-position"), HeaderValue::try_from(position).map_err(|_| Problem::stopping())?),
        ];
        Ok((headers, Body::new(Pieces { receive, whole })).into_response())
    };
    asking.answered(answer).await
}

/// One or several, separated by commas.
fn recipients(given: &str) -> Result<Vec<Recipient>, Problem> {
    let read = |text: &str| text.parse().map_err(|why: String| Problem::parameter("recipient", why));
    let all: Vec<Recipient> = given.split(',').filter(|text| !text.is_empty()).map(read).collect::<Result<_, _>>()?;
    match all.len() {
        1..=BACKUP_RECIPIENTS_MAX => Ok(all),
        0 => Err(Problem::parameter("recipient", "say whom it is sealed for: `tollgate backup --new-identity FILE` makes one")),
        _ => Err(Problem::parameter("recipient", format!("at most {BACKUP_RECIPIENTS_MAX}"))),
    }
}

/// The stored state, once it has come to where the question was asked. Its rows are read on a thread that may wait for the disk.
async fn taken(history: Arc<dyn Reader>, position: u64) -> Result<Taken, Problem> {
    let failed = |why: String| Problem::unavailable(format!("the state cannot be taken: {why}"));
    let until = Instant::now() + QUERY_WAIT;
    loop {
        let reader = history.clone();
        let taken = tokio::task::spawn_blocking(move || reader.taken()).await.map_err(|_| failed("reading it failed".into()))?;
        let taken = taken.map_err(|fault| failed(fault.0))?;
        if taken.n >= position {
            return Ok(taken);
        }
        if Instant::now() > until {
            return Err(failed("the disk is behind; try again".into()));
        }
        while history.end() < position && Instant::now() < until {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(PAUSE * 10).await;
    }
}

struct Work {
    history: Arc<dyn Reader>,
    taken: Taken,
    recipients: Vec<Recipient>,
    made_at: Timestamp,
    /// All of it was sent.
    whole: Arc<AtomicBool>,
    /// Given back at the end, whatever it is.
    turn: OwnedSemaphorePermit,
}

impl Work {
    fn run(self, send: Sender<Bytes>) {
        match self.write(Piped { send, waiting: BytesMut::new() }) {
            Ok(events) => tracing::info!(events, "a backup was made"),
            Err(error) => tracing::error!(%error, "a backup came to no end"),
        }
        drop(self.turn);
    }

    fn write(&self, out: Piped) -> io::Result<u64> {
        let mut sealing: Sealing<Piped> = seal(&self.recipients, out)?;
        let made = (env!("CARGO_PKG_VERSION"), self.made_at);
        let manifest = journal::backup::write(&*self.history, &self.taken, made, &mut sealing, &mut |_| ())?;
        let mut out = sealing.finish()?;
        out.flush()?;
        self.whole.store(true, Ordering::Release); // before the channel closes: `out` is still here
        Ok(manifest.n)
    }
}

/// Sends what is written in pieces.
struct Piped {
    send: Sender<Bytes>,
    waiting: BytesMut,
}

impl Write for Piped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (mut piece, until) = (self.waiting.split().freeze(), Instant::now() + UNREAD_TIMEOUT);
        loop {
            piece = match self.send.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(io::Error::new(io::ErrorKind::BrokenPipe, "its reader has left")),
                Err(TrySendError::Full(_)) if Instant::now() > until => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "its reader takes nothing"));
                }
                Err(TrySendError::Full(piece)) => piece,
            };
            std::thread::sleep(PAUSE);
        }
    }
}

/// The body of the answer. If the writer ends before all was sent, the connection is cut, so that nobody takes it for whole.
struct Pieces {
    receive: Receiver<Bytes>,
    whole: Arc<AtomicBool>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the backup came to no end");
        match self.receive.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Poll::Ready(None) if self.whole.load(Ordering::Acquire) => Poll::Ready(None),
            Poll::Ready(None) => Poll::Ready(Some(Err(cut()))),
        }
    }
}
