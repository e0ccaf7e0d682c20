//! With the journal's `Disk` and `Clock`, everything that is not deterministic.

use crate::{bodies::Kept, report::Report, trace::Sampler};
use events::{CallId, ProviderId, TenantId};
use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// One request to a provider, complete but for `host` and `content-length`.
pub struct WireRequest {
    /// Where it goes.
    pub upstream: Arc<UpstreamAddress>,
    pub method: http::Method,
    /// What stands behind the base URL, for example `/chat/completions`.
    pub path: String,
    /// Allow-listed headers, with those that authenticate.
    pub headers: http::HeaderMap,
    /// The body in slices, sent in this order and never copied together.
    pub body: Vec<bytes::Bytes>,
    /// How long each step may take.
    pub deadlines: Deadlines,
}

/// Where a provider is found.
pub struct UpstreamAddress {
    /// Stands for the provider entry; one id may change its URL over time.
    pub id: u64,
    /// `http://` or `https://`, with a path, without user, query or fragment.
    pub base_url: String,
    /// A tenant wrote this URL: it may not lead to private addresses.
    pub tenant_set: bool,
}

/// How long the steps of an exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// To a connection that carries bytes: name, TCP, proxy and TLS together.
    pub connect: Duration,
    /// From the last progress of writing the request to the answer's head.
    pub first_byte: Duration,
    /// Between two pieces of the answer's body.
    pub silence: Duration,
}

/// What a provider answered, decoded.
pub struct WireAnswer {
    /// Its status.
    pub status: http::StatusCode,
    /// Its headers, without `content-encoding` and `content-length` if the body had to be decoded.
    pub headers: http::HeaderMap,
    /// Its body; dropped before its end, the connection is closed.
    pub body: Box<dyn WireBody>,
}

/// The body of an answer, piece by piece.
pub trait WireBody: Send {
    /// The next piece; `None` is the end, and after a fault comes the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<bytes::Bytes, WireFault>>>;
}

/// What went wrong, and whether it may have cost money.
#[derive(Debug)]
pub struct WireFault {
    /// During which step.
    pub stage: Stage,
    /// Whether the provider may have seen the request.
    pub sent: Sent,
    /// For the log and the record.
    pub message: String,
}

impl fmt::Display for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.stage, self.message)
    }
}

/// The steps of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Name, TCP, proxy.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Writing the request.
    Write,
    /// Waiting for the head of the answer.
    FirstByte,
    /// The connection closed before the head of the answer.
    Closed,
    /// Waiting for the next piece of the body.
    Silence,
    /// The body broke off or could not be decoded.
    Body,
    /// What came is not HTTP as we take it.
    Protocol,
    /// The URL rule forbids the address.
    Refused,
}

/// Whether a byte of the request reached the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Surely not one.
    No,
    /// It cannot be ruled out.
    Maybe,
}

/// Sends a request and brings back the head of its answer.
pub trait Wire: Send + Sync {
    /// One exchange; dropping the future closes its connection.
    fn send(&self, request: WireRequest) -> Pin<Box<dyn Future<Output = Result<WireAnswer, WireFault>> + Send>>;
}

/// Chance.
pub trait Entropy: Send + Sync {
    /// 128 random bits.
    fn draw(&self) -> u128;
}

/// Opens what is sealed under the cluster's master key.
pub trait Vault: Send + Sync {
    /// The secret in a provider's note; None if the note was sealed under another key, or is damaged.
    fn unseal(&self, provider: ProviderId, note: &[u8]) -> Option<String>;
}

/// Hears of every call once, at its end. It never waits, and nothing depends on it.
pub trait Telemetry: Send + Sync {
    /// Which spans are made; None: none at all, and a caller's trace context passes untouched.
    fn sampler(&self) -> Option<&Sampler>;

    /// A call has ended.
    fn ended(&self, report: &Report<'_>);
}

/// Keeps bodies of calls, apart from the history. Nothing depends on it: what it cannot keep is counted, and lost.
pub trait Bodies: Send + Sync {
    /// Takes what is kept of a call. Never waits.
    fn keep(&self, kept: Kept);
    /// What is kept of a call, if it is of one of these tenants: with the tenant, as JSON.
    fn find(&self, call: CallId, tenants: BTreeSet<TenantId>) -> Later<Option<(TenantId, serde_json::Value)>>;
    /// Deletes the files of a tenant; how many bytes they had.
    fn erase(&self, tenant: TenantId) -> Later<u64>;
}

/// An answer that comes later. None: there is nobody who gives it.
pub type Later<T> = Pin<Box<dyn Future<Output = Option<T>> + Send>>;
