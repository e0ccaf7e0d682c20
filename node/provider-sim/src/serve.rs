//! The simulator on a socket: plain hyper, HTTP/1.1.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::{Behaviour, Opening, Received, Script, Settings, Step, Ticket};

/// Largest request body, in bytes.
const BODY_MAX: usize = 64 << 20;
/// Connections that wait to be accepted: a burst of a thousand callers must not see a refusal.
const BACKLOG: i32 = 4_096;
/// After so long a silence that was asked for, the connection is closed after all.
const HANG_MAX: Duration = Duration::from_secs(3_600);
/// Pause before a connection breaks off: what was handed over must have left, for hyper drops what it still holds.
const FLUSH_PAUSE: Duration = Duration::from_millis(10);
/// Pause when the process has no file handle left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening simulator.
pub struct Sim {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Behaviour>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Behaviour> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sim {
    /// Takes the address; port 0 takes a free one. Must be called within a tokio runtime.
    pub async fn bind(listen: SocketAddr, settings: Settings) -> io::Result<Sim> {
        let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Sim { listener, address, shared: Shared(Arc::new(Mutex::new(Behaviour::new(settings)))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is ready; then drops every connection.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let mut stop = std::pin::pin!(stop);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(serve_connection(stream, self.shared.clone()));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Shared) {
    // Small frames must leave at once, or pauses between them mean nothing.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let to_reset = reset.clone();
    let service = service_fn(move |request| answer(shared.clone(), request, to_reset.clone()));
    let mut connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    let failed = (&mut connection).await.is_err();
    if failed && reset.load(Ordering::Relaxed) {
        let stream = connection.into_parts().io.into_inner();
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// An answer that is refused: hyper closes the connection without a byte.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer was asked for")
    }
}

impl std::error::Error for NoAnswer {}

async fn answer(shared: Shared, request: Request<Incoming>, reset: Arc<AtomicBool>) -> Result<Response<Answer>, NoAnswer> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let script = Script::page(413, "{\"error\":{\"message\":\"the body is too large\",\"type\":\"invalid_request_error\"}}");
            return Ok(respond(shared, script));
        }
    };
    let target = head.uri.path_and_query().map_or_else(String::new, |target| target.to_string());
    let received = Received { method: head.method, target, headers: head.headers, body };
    let script = shared.lock().receive(now_ms(), received);
    if script.latency_ms > 0 {
        tokio::time::sleep(Duration::from_millis(script.latency_ms)).await;
    }
    match script.opening {
        Opening::Answer => Ok(respond(shared, script)),
        Opening::Hang => {
            tokio::time::sleep(HANG_MAX).await;
            Err(NoAnswer)
        }
        Opening::Reset => {
            reset.store(true, Ordering::Relaxed);
            Err(NoAnswer)
        }
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn respond(shared: Shared, mut script: Script) -> Response<Answer> {
    let status = script.status;
    let headers = std::mem::take(&mut script.headers);
    let ticket = script.ticket.take();
    let mut response = Response::new(Answer { script, pause: None, breaking: false, ticket, shared });
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().extend(headers);
    response
}

/// The body: plays the script, and tells the books when it is over.
struct Answer {
    script: Script,
    pause: Option<Pin<Box<Sleep>>>,
    breaking: bool,
    ticket: Option<Ticket>,
    shared: Shared,
}

impl Answer {
    fn close(&mut self, whole: bool) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.lock().close(&ticket, whole, self.script.tokens());
        }
    }
}

/// A caller that left or a stop: what was handed over so far counts.
impl Drop for Answer {
    fn drop(&mut self) {
        self.close(false);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.script.next_step() {
                Step::Send(bytes) => {
                    if self.script.is_over() {
                        self.close(true);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Step::Pause(ms) => self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(ms)))),
                Step::Hang => self.pause = Some(Box::pin(tokio::time::sleep(HANG_MAX))),
                Step::Cut if !self.breaking => {
                    self.breaking = true;
                    self.pause = Some(Box::pin(tokio::time::sleep(FLUSH_PAUSE)));
                }
                Step::Cut => {
                    self.close(false);
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                Step::End => {
                    self.close(true);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.script.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.script.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
