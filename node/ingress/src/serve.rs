//! Accepting connections, on one reactor.

use crate::{
    App, Doors, answer,
    heads::{Heads, Watched},
    router,
};
use events::limits;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, future::poll_fn, pin::pin, task::Poll, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::Instant,
};

/// After a failed accept (no more files, say) the next is tried after this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves a listener until `closing` turns true; returns when the connections have ended with what they carry, or
/// [`limits::LAST_BYTES_WAIT`] later.
pub async fn serve(listener: TcpListener, app: App, doors: Doors, mut closing: watch::Receiver<bool>) {
    let routes = router(app.clone(), doors);
    let (alive, mut ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            () = closed(&mut closing) => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true); // only slower without
        cut_off_unread(&stream);
        let connection = connection(stream, app.clone(), routes.clone(), doors, closing.clone());
        let alive = alive.clone();
        tokio::spawn(async move {
            connection.await;
            drop(alive);
        });
    }
    drop((listener, alive));
    if tokio::time::timeout(limits::LAST_BYTES_WAIT, ended.recv()).await.is_err() {
        tracing::warn!("callers that do not read their last bytes are left");
    }
}

/// The kernel closes a connection whose other end takes nothing: no task of ours waits for that.
#[cfg(target_os = "linux")]
fn cut_off_unread(stream: &tokio::net::TcpStream) {
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limits::UNREAD_TIMEOUT)) {
        tracing::debug!(%error, "a connection has no bound for what is not read");
    }
}

#[cfg(not(target_os = "linux"))]
fn cut_off_unread(_: &tokio::net::TcpStream) {}

async fn connection(stream: tokio::net::TcpStream, app: App, routes: axum::Router, doors: Doors, mut closing: watch::Receiver<bool>) {
    let heads = Heads::new();
    let watched = heads.clone();
    let service = service_fn(move |request| {
        let serving = watched.serve();
        // In a box of its own: hyper moves what it is given several times.
        let answered = Box::pin(answer(app.clone(), routes.clone(), doors, request));
        async move { Ok::<_, Infallible>(answered.await.map(|body| body.serving(serving))) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits::IDLE_TIMEOUT)
        .max_headers(limits::HEADERS_READ_MAX)
        .max_buf_size(limits::HEAD_BYTES_READ_MAX);
    let connection = builder.serve_connection(TokioIo::new(Watched { stream, heads: heads.clone() }), service);
    tokio::pin!(connection);
    let (mut late, mut due) = (pin!(tokio::time::sleep(limits::HEAD_TIMEOUT)), heads.on_its_way());
    let mut closing = pin!(closed(&mut closing));
    let mut told = false;
    // No wake of its own: a head goes on only when the connection is polled.
    let served = poll_fn(|context| {
        if !told && closing.as_mut().poll(context).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(served) = connection.as_mut().poll(context) {
            return Poll::Ready(Some(served));
        }
        let now = heads.on_its_way();
        if now != due {
            due = now;
            late.as_mut().reset(Instant::now() + limits::HEAD_TIMEOUT);
        }
        if due.is_some() { late.as_mut().poll(context).map(|()| None) } else { Poll::Pending }
    })
    .await;
    match served {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        None => tracing::debug!("a connection was closed, for the head of its request did not come"),
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    drop(closing.wait_for(|closing| *closing).await); // an error: the sender has gone, which means the same
}
