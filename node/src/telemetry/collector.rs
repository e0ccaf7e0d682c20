//! The way to a collector of OpenTelemetry's: its exporter over our own dialler, so that proxies, roots of trust and the URL rule hold
//! there too.

use actors::ports::{Deadlines, UpstreamAddress, Wire, WireAnswer, WireRequest};
use bytes::{Bytes, BytesMut};
use egress::{Egress, Setup};
use events::limits;
use http::{Request, Response, Uri};
use metrics::{Counter, counter};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};
use parking_lot::Mutex;
use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Posts to the collector. It is called on the exporting thread, which does nothing else: the runtime turns only while a post is out.
pub struct Post {
    runtime: Runtime,
    wire: Egress,
    timeout: Duration,
}

impl Post {
    /// # Errors
    /// No runtime could be had.
    pub fn new(setup: &Arc<Setup>, timeout: Duration) -> std::io::Result<Post> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Post { runtime, wire: Egress::new(setup.clone()), timeout })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let (base_url, path) = split(&parts.uri).ok_or("the collector's URL has no host")?;
        let deadlines = Deadlines { connect: self.timeout, first_byte: self.timeout, silence: self.timeout };
        let upstream = Arc::new(UpstreamAddress { id: 0, base_url, tenant_set: false });
        let request = WireRequest { upstream, method: parts.method, path, headers: parts.headers, body: vec![body], deadlines };
        let exchange = async {
            let WireAnswer { status, headers, mut body } = self.wire.send(request).await.map_err(|fault| fault.to_string())?;
            let mut all = BytesMut::new();
            while let Some(piece) = poll_fn(|context| body.poll_next(context)).await {
                all.extend_from_slice(&piece.map_err(|fault| fault.to_string())?);
                if all.len() > limits::COLLECTOR_ANSWER_BYTES_MAX {
                    return Err("the collector's answer is too large".to_owned());
                }
            }
            let mut response = Response::new(all.freeze());
            (*response.status_mut(), *response.headers_mut()) = (status, headers);
            Ok(response)
        };
        let answered = tokio::time::timeout(self.timeout, exchange).await.map_err(|_| "the collector did not answer in time")?;
        Ok(answered?)
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

#[async_trait::async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.block_on(self.exchange(request));
        sent.inspect_err(|error| tracing::debug!(%error, "spans could not be sent"))
    }
}

/// What our dialler calls the base, and the path behind it.
pub fn split(url: &Uri) -> Option<(String, String)> {
    let base = format!("{}://{}", url.scheme_str()?, url.authority()?);
    Some((base, url.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string)))
}

/// Counts what goes out, and says now and then that it does not.
#[derive(Debug)]
pub struct Counted {
    otlp: Otlp,
    complaint: Mutex<Complaint>,
}

/// When the last one was made, and what was lost since.
#[derive(Debug, Default)]
struct Complaint {
    made: Option<Instant>,
    lost: usize,
}

impl Complaint {
    /// The spans to be complained about now, if it is time.
    fn due(&mut self, lost: usize, now: Instant) -> Option<usize> {
        self.lost += lost;
        if self.made.is_some_and(|made| now.saturating_duration_since(made) < limits::COLLECTOR_WARN_EVERY) {
            return None;
        }
        self.made = Some(now);
        Some(std::mem::take(&mut self.lost))
    }
}

impl Counted {
    pub fn new(otlp: Otlp) -> Counted {
        Counted { otlp, complaint: Mutex::default() }
    }
}

/// A counter of spans.
pub fn spans_counter(result: &'static str) -> Counter {
    counter!("tollgate_spans_total", "result" => result)
}

impl SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let exported = self.otlp.export(batch).await;
        match &exported {
            Ok(()) => spans_counter("exported").increment(count as u64),
            Err(error) => {
                spans_counter("failed").increment(count as u64);
                if let Some(spans) = self.complaint.lock().due(count, Instant::now()) {
                    tracing::warn!(spans, %error, "the collector does not take spans; they are dropped, calls go on");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_behind_its_authority() {
        let split = |url: &str| split(&url.parse().unwrap());
        let pair = |base: &str, path: &str| Some((base.to_owned(), path.to_owned()));
        assert_eq!(split("http://127.0.0.1:4318/v1/traces"), pair("http://127.0.0.1:4318", "/v1/traces"));
        assert_eq!(split("https://collector.example/otlp/v1/traces?x=1"), pair("https://collector.example", "/otlp/v1/traces?x=1"));
        assert_eq!(split("/v1/traces"), None);
    }

    #[test]
    fn complaints_are_made_now_and_then() {
        let (mut complaint, start) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.due(3, start), Some(3));
        assert_eq!(complaint.due(4, start + Duration::from_secs(1)), None);
        assert_eq!(complaint.due(5, start + limits::COLLECTOR_WARN_EVERY), Some(9));
    }
}
