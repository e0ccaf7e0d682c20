//! Reference proxies: what a call costs where nothing is wasted.
//!   bare       hyper on both sides, bodies streamed through, nothing read
//!   buffered   the same, but the request is collected and parsed once (`model`, `stream`, the rest kept as it is), then sent on
//!
//! Both keep idle upstream connections in a plain list. One thread, as every gateway of the bench gets one core.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use bench::{fail, value};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};

type Out = Either<Incoming, Full<Bytes>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Headers that belong to one hop.
const HOP: [HeaderName; 6] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE, header::PROXY_AUTHORIZATION, header::HOST];

/// Idle connections to the upstream, the youngest last.
struct Pool<B> {
    upstream: SocketAddr,
    host: HeaderValue,
    idle: RefCell<Vec<SendRequest<B>>>,
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Failure>,
{
    fn new(upstream: SocketAddr) -> Pool<B> {
        let host = HeaderValue::from_str(&upstream.to_string()).expect("an address is a valid header value");
        Pool { upstream, host, idle: RefCell::new(Vec::new()) }
    }

    async fn take(&self) -> Result<SendRequest<B>, Failure> {
        while let Some(idle) = self.pop() {
            if idle.is_ready() {
                return Ok(idle);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    fn pop(&self) -> Option<SendRequest<B>> {
        self.idle.borrow_mut().pop()
    }

    /// Sends a request and gives the connection back as soon as it is free again.
    async fn send(self: &Rc<Self>, mut request: Request<B>) -> Result<Response<Incoming>, Failure> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        let mut sender = self.take().await?;
        let response = sender.send_request(request).await?;
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.idle.borrow_mut().push(sender);
            }
        });
        Ok(response)
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in &HOP {
        headers.remove(name);
    }
}

/// The request line of the next hop: path and query only.
fn target(uri: &Uri) -> Uri {
    uri.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()))
}

/// What the buffering proxy reads; every other field is skipped over but checked.
#[derive(Deserialize)]
struct View<'a> {
    model: &'a str,
    #[serde(default)]
    stream: bool,
    #[serde(borrow, default)]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<&'a RawValue>,
}

enum Proxy {
    Bare(Rc<Pool<Incoming>>),
    Buffered(Rc<Pool<Full<Bytes>>>),
}

impl Proxy {
    async fn call(&self, request: Request<Incoming>) -> Result<Response<Incoming>, Failure> {
        let (mut head, body) = request.into_parts();
        head.uri = target(&head.uri);
        strip(&mut head.headers);
        let mut response = match self {
            Proxy::Bare(pool) => pool.send(Request::from_parts(head, body)).await?,
            Proxy::Buffered(pool) => {
                head.headers.remove(header::CONTENT_LENGTH);
                let body = body.collect().await?.to_bytes();
                let view: View<'_> = serde_json::from_slice(&body)?;
                if view.model.is_empty() || view.messages.is_none() || (view.stream && view.max_tokens.is_none()) {
                    return Err("a field is missing".into());
                }
                pool.send(Request::from_parts(head, Full::new(body))).await?
            }
        };
        strip(response.headers_mut());
        Ok(response)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Out>, Infallible> {
        Ok(match self.call(request).await {
            Ok(response) => response.map(Either::Left),
            Err(why) => {
                let mut response = Response::new(Either::Right(Full::new(Bytes::from(why.to_string()))));
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }
        })
    }
}

fn main() {
    let (mut mode, mut port) = (String::from("bare"), 9200u16);
    let mut upstream = SocketAddr::from(([127, 0, 0, 1], 9100));
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        match flag.as_str() {
            "--mode" => mode = value(&flag, &mut args),
            "--port" => port = value(&flag, &mut args),
            "--upstream" => upstream = value(&flag, &mut args),
            _ => fail(&format!("unknown argument {flag}")),
        }
    }
    let proxy = match mode.as_str() {
        "bare" => Proxy::Bare(Rc::new(Pool::new(upstream))),
        "buffered" => Proxy::Buffered(Rc::new(Pool::new(upstream))),
        _ => fail(&format!("unknown mode {mode}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap_or_else(|e| fail(&e.to_string()));
    tokio::task::LocalSet::new().block_on(&runtime, serve(Rc::new(proxy), port));
}

async fn serve(proxy: Rc<Proxy>, port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap_or_else(|e| fail(&format!("port {port}: {e}")));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        // A socket that is gone already shows at the first read.
        let _ = stream.set_nodelay(true);
        let proxy = proxy.clone();
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(|request| proxy.answer(request));
            let connection =
                hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // Clients come and go; the load generator counts what was lost.
            let _ = connection.await;
        });
    }
}
