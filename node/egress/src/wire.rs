//! The exchange itself: one request out, the head of one answer in.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING},
};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::{
    body::{AnswerBody, LazyTimer, Slices},
    decode::{Coding, Decoder},
    dial,
    fault::{answered, chain, unsent},
    outbound::Outbound,
    pool::{Connection, OriginId, Pool},
    port::{Sent, Stage, UpstreamAddress, Wire, WireAnswer, WireFault, WireRequest},
    stream::{Gauge, Tap},
    target::{Route, Target},
    tls::{TlsFault, client_config},
};

/// Largest head of an answer, in bytes. The most headers are hyper's own 100: another number would cost an allocation an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a body that are read at once or wait to be written; above the largest head.
const BUFFER_BYTES_MAX: usize = 128 << 10;
/// Idle connections that may turn out to be dead for one request before a new one is dialled.
const STALE_MAX: usize = 3;

/// What all reactors share: made once, at start.
pub struct Setup {
    outbound: Outbound,
    tls: Arc<ClientConfig>,
}

impl Setup {
    /// Loads the roots of trust. Reads files, so it belongs to the start of the process.
    pub fn load(outbound: Outbound) -> Result<Arc<Setup>, TlsFault> {
        let tls = client_config(outbound.extra_roots.as_deref())?;
        Ok(Arc::new(Setup { outbound, tls }))
    }
}

/// Everything that one reactor dials: its connections stay on its thread. Cloning shares them.
#[derive(Clone)]
pub struct Egress {
    setup: Arc<Setup>,
    pool: Arc<Pool>,
}

impl Egress {
    /// For one reactor; connections are opened, and driven, on the runtime that sends.
    pub fn new(setup: Arc<Setup>) -> Egress {
        Egress { setup, pool: Pool::new() }
    }

    /// Makes sure that an idle connection to `upstream` is there, within `connect`: called while an admission is being
    /// committed, so that the request behind it finds one. No byte of a request is involved.
    pub async fn prepare(&self, upstream: &UpstreamAddress, connect: Duration) -> Result<(), WireFault> {
        let (origin, target) = self.pool.target(upstream, &self.setup.outbound)?;
        if !self.pool.has_idle(origin) {
            let connection = self.dial(origin, &target, connect).await?;
            self.pool.checkin(connection);
        }
        Ok(())
    }

    /// Idle connections of this reactor, for the metrics.
    pub fn idle_connections(&self) -> usize {
        self.pool.idle_count()
    }

    async fn exchange(self, request: WireRequest) -> Result<WireAnswer, WireFault> {
        let WireRequest { upstream, method, path, headers, body, deadlines } = request;
        let (origin, target) = self.pool.target(&upstream, &self.setup.outbound)?;
        let mut message = compose(&target, method, &path, headers, body)?;
        for _ in 0..STALE_MAX {
            let Some(connection) = self.pool.checkout(origin).await else { break };
            match attempt(connection, message, deadlines.first_byte).await {
                Ok(taken) => return self.answer(taken, deadlines.silence),
                Err(Failure::Given(back)) => message = back.0,
                Err(Failure::Final(fault)) => return Err(fault),
            }
        }
        let connection = self.dial(origin, &target, deadlines.connect).await?;
        match attempt(connection, message, deadlines.first_byte).await {
            Ok(taken) => self.answer(taken, deadlines.silence),
            Err(Failure::Given(back)) => Err(unsent(Stage::Write, format!("the connection closed at once: {}", back.1))),
            Err(Failure::Final(fault)) => Err(fault),
        }
    }

    async fn dial(&self, origin: OriginId, target: &Target, connect: Duration) -> Result<Connection, WireFault> {
        let stream = dial::open(&self.setup.outbound, &self.setup.tls, target, connect).await?;
        let gauge = Gauge::new();
        let handshake = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(Tap::new(stream, gauge.clone())))
            .await;
        let (sender, driver) = handshake.map_err(|error| unsent(Stage::Protocol, chain(&error)))?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(error = %chain(&error), "a connection to a provider ended");
            }
        });
        let mut connection = Connection::new(sender, gauge, origin, driver.abort_handle());
        // One turn of the driver; without it the connection could not be given back unused.
        connection.sender.ready().await.map_err(|error| unsent(Stage::Write, chain(&error)))?;
        Ok(connection)
    }

    fn answer(&self, taken: Taken, silence: Duration) -> Result<WireAnswer, WireFault> {
        let Taken { response, connection, timer } = taken;
        let (parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(answered(Stage::Protocol, "the provider switches to a protocol that was not asked for"));
        }
        let mut headers = parts.headers;
        let coding = Coding::of(&headers).map_err(|reason| answered(Stage::Protocol, reason))?;
        if headers.contains_key(CONTENT_ENCODING) {
            headers.remove(CONTENT_ENCODING);
        }
        if coding.is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        let body = AnswerBody::new(incoming, coding.map(Decoder::new), timer, silence, connection, self.pool.clone());
        Ok(WireAnswer { status: parts.status, headers, body: Box::new(body) })
    }
}

impl Wire for Egress {
    fn send(&self, request: WireRequest) -> Pin<Box<dyn Future<Output = Result<WireAnswer, WireFault>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}

/// Headers of one connection, which a caller's list has no business with (RFC 9110 §7.6.1).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    HeaderName::from_static("connection"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("upgrade"),
    HeaderName::from_static("expect"),
    TRANSFER_ENCODING,
];

/// The message as it is written: the request's headers, and those that only the wire can know.
fn compose(
    target: &Target,
    method: Method,
    path: &str,
    mut headers: HeaderMap,
    body: Vec<bytes::Bytes>,
) -> Result<Request<Slices>, WireFault> {
    let body = Slices::new(body);
    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
    headers.insert(HOST, target.authority.clone());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.left()));
    if let Route::Forward(proxy) = &target.route
        && let Some(authorization) = &proxy.authorization
    {
        headers.insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    let mut message = Request::new(body);
    *message.method_mut() = method;
    *message.uri_mut() = target.uri(path)?;
    *message.headers_mut() = headers;
    Ok(message)
}

/// An answer's head with what its body needs.
struct Taken {
    response: Response<Incoming>,
    connection: Connection,
    timer: LazyTimer,
}

/// Why an attempt on one connection came to nothing.
enum Failure {
    /// The connection was dead before it took a byte: the message comes back, with the reason.
    Given(Box<(Request<Slices>, String)>),
    Final(WireFault),
}

/// Sends the message on this connection and waits for the head, `first_byte` long since the request's last byte was taken.
async fn attempt(mut connection: Connection, mut message: Request<Slices>, first_byte: Duration) -> Result<Taken, Failure> {
    let gauge = connection.gauge.clone();
    message.body_mut().report_to(&gauge);
    let mut timer = LazyTimer::new(Instant::now() + first_byte);
    let mut response = pin!(connection.sender.try_send_request(message));
    let outcome = poll_fn(|cx| {
        if let Poll::Ready(outcome) = response.as_mut().poll(cx) {
            return Poll::Ready(Some(outcome));
        }
        loop {
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            let due = Instant::from_std(gauge.progress()) + first_byte;
            if due <= Instant::now() {
                return Poll::Ready(None);
            }
            timer.set(due);
        }
    })
    .await;
    match outcome {
        Some(Ok(response)) => Ok(Taken { response, connection, timer }),
        Some(Err(mut error)) => match error.take_message() {
            // hyper gives back only what it never began to write; the gauge must agree, or it is not believed.
            Some(message) if gauge.verdict() == Sent::No => Err(Failure::Given(Box::new((message, chain(&error.into_error()))))),
            _ => Err(Failure::Final(broken(&gauge, &error.into_error()))),
        },
        None => {
            let stage = if gauge.unwritten() { Stage::Write } else { Stage::FirstByte };
            let message = format!("no answer within {} ms", first_byte.as_millis());
            Err(Failure::Final(WireFault { stage, sent: gauge.verdict(), message }))
        }
    }
}

fn broken(gauge: &Gauge, error: &hyper::Error) -> WireFault {
    let stage = if error.is_parse() {
        Stage::Protocol
    } else if gauge.unwritten() {
        Stage::Write
    } else {
        Stage::Closed
    };
    WireFault { stage, sent: gauge.verdict(), message: chain(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wire_says_where_and_how_long() {
        let address = UpstreamAddress { id: 1, base_url: "http://a.example:8000/v1".to_owned(), tenant_set: false };
        let target = Target::new(&address, &Outbound::default()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "evil.example"),
            ("content-length", "3"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("expect", "100-continue"),
            ("authorization", "Bearer k"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let message = compose(&target, Method::POST, "/chat", headers, vec!["ab".into(), "cde".into()]).unwrap();
        assert_eq!(message.method(), Method::POST);
        assert_eq!(message.uri(), "/v1/chat");
        let mut named: Vec<(&str, &str)> = message.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        named.sort_unstable();
        assert_eq!(named, [("authorization", "Bearer k"), ("content-length", "5"), ("host", "a.example:8000")]);
    }
}
