//! Servers made of closures over a socket, and a client with short words.

use std::{
    future::{Future, poll_fn},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use egress::{
    Egress, Outbound, Setup,
    port::{Deadlines, UpstreamAddress, Wire, WireAnswer, WireBody, WireFault, WireRequest},
};
use http::{HeaderMap, HeaderValue};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A listener whose connections are each given to a closure.
pub struct Server {
    pub address: SocketAddr,
    pub accepted: Arc<AtomicUsize>,
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// Serves each connection with `handle(stream, n)`, n counted from 1.
pub async fn serve<F, R>(handle: F) -> Server
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap(), accepted: Arc::default() };
    let accepted = server.accepted.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let n = accepted.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::spawn(handle(stream, n));
        }
    });
    server
}

/// Serves every request of every connection with the same bytes.
pub async fn serve_bytes(answer: impl Into<Vec<u8>>) -> Server {
    let answer: Arc<Vec<u8>> = Arc::new(answer.into());
    serve(move |mut stream, _| {
        let answer = answer.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

/// Reads one request with its body; `None` when the client has closed.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// A header of a head that was read.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

pub fn egress() -> Egress {
    egress_with(Outbound::default())
}

pub fn egress_with(outbound: Outbound) -> Egress {
    Egress::new(Setup::load(outbound).unwrap())
}

pub fn hosts(name: &str, ip: &str) -> std::collections::BTreeMap<String, Vec<IpAddr>> {
    [(name.to_owned(), vec![ip.parse().unwrap()])].into()
}

/// A request to `base_url` with generous deadlines.
pub fn request(base_url: &str, body: &'static str) -> WireRequest {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer sk-test"));
    let long = Duration::from_secs(20);
    WireRequest {
        upstream: Arc::new(UpstreamAddress { id: 7, base_url: base_url.to_owned(), tenant_set: false }),
        method: http::Method::POST,
        path: "/chat/completions".to_owned(),
        headers,
        body: vec![Bytes::from_static(body.as_bytes())],
        deadlines: Deadlines { connect: long, first_byte: long, silence: long },
    }
}

pub async fn send(egress: &Egress, base_url: &str) -> Result<WireAnswer, WireFault> {
    egress.send(request(base_url, "{}")).await
}

/// The fault of a request that must fail.
pub async fn fault(egress: &Egress, request: WireRequest) -> WireFault {
    match egress.send(request).await {
        Ok(answer) => panic!("an answer came: {}", answer.status),
        Err(fault) => fault,
    }
}

pub async fn next(body: &mut Box<dyn WireBody>) -> Option<Result<Bytes, WireFault>> {
    poll_fn(|cx| body.poll_next(cx)).await
}

/// The whole body, or the fault with which it ended.
pub async fn collect(mut answer: WireAnswer) -> Result<String, WireFault> {
    let mut all = Vec::new();
    while let Some(piece) = next(&mut answer.body).await {
        all.extend_from_slice(&piece?);
    }
    assert!(next(&mut answer.body).await.is_none(), "after the end comes nothing");
    Ok(String::from_utf8(all).unwrap())
}

pub async fn post(egress: &Egress, base_url: &str) -> String {
    collect(send(egress, base_url).await.unwrap()).await.unwrap()
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Waits until `done`, or fails after five seconds.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(millis(10)).await;
    }
    panic!("never came: {what}");
}
