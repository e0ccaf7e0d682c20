//! One span a call for a collector, by OpenTelemetry's conventions for generative AI. It is built once, at the call's end, with its start
//! in the past: nothing is carried along for it but its ids, which upstream has heard of.

use super::{
    collector::{Counted, Post, spans_counter, split},
    lines::short,
};
use actors::{
    report::Report,
    trace::{Sampler, Span},
};
use egress::Setup;
use metrics::Counter;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, StringValue, TraceFlags, TraceId, Value,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor},
};
use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

/// How long a post may take, where the environment does not say.
const TIMEOUT: Duration = Duration::from_secs(10);

type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Makes spans, and hands them to the exporting thread.
pub struct Spans {
    sampler: Sampler,
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    made: Counter,
}

impl Spans {
    /// None: no collector is named, or tracing is switched off.
    ///
    /// # Errors
    /// What the environment says cannot be used.
    pub fn from_vars(setup: &Arc<Setup>, vars: Vars<'_>) -> Result<Option<Spans>, crate::cli::Failure> {
        let set = |name: &str| vars(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(endpoint) = endpoint(&set) else { return Ok(None) };
        check(&endpoint)?;
        let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
            tracing::warn!(protocol, "the collector is spoken to by http/protobuf; another protocol is not had here");
        }
        let post = Post::new(setup, timeout(&set))?;
        let otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(post)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(timeout(&set))
            .build()?;
        let mut processor = BatchSpanProcessor::new(Counted::new(otlp), BatchConfigBuilder::default().build());
        processor.set_resource(&resource(&set));
        let scope = InstrumentationScope::builder("tollgate").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Some(Spans { sampler: sampler(&set), processor, scope, made: spans_counter("made") }))
    }

    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// Never waits: a full queue drops the span.
    pub fn end(&self, report: &Report<'_>, span: &Span) {
        self.made.increment(1);
        self.processor.on_end(self.data(report, span));
    }

    pub fn stop(&self, wait: Duration) {
        let _ = self.processor.shutdown_with_timeout(wait); // the collector was complained about already
    }

    fn data(&self, report: &Report<'_>, span: &Span) -> SpanData {
        let end_time = UNIX_EPOCH + Duration::from_micros(report.ended_at.0);
        let state = span.state.as_ref().and_then(|state| TraceState::from_str(state.to_str().ok()?).ok()).unwrap_or_default();
        let context = &span.context;
        let model = report.request.map(|request| short(&request.model));
        let operation = report.endpoint.operation();
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(context.trace_id.to_be_bytes()),
                SpanId::from_bytes(context.span_id.to_be_bytes()),
                TraceFlags::new(context.flags),
                false,
                state,
            ),
            parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.to_be_bytes())),
            parent_span_is_remote: span.parent.is_some(),
            // The conventions have the call of a model as a client's span: what it names is the provider's.
            span_kind: SpanKind::Client,
            name: model.map_or(operation.into(), |model| format!("{operation} {model}").into()),
            start_time: end_time - report.took,
            end_time,
            attributes: attributes(report),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match report.code {
                Some(code) => Status::error(code),
                None => Status::Unset,
            },
            instrumentation_scope: self.scope.clone(),
        }
    }
}

/// Gathers attributes; what is not known is left out.
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn put(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push(KeyValue::new(name, value));
    }

    fn text(&mut self, name: &'static str, text: Option<&str>) {
        if let Some(text) = text {
            self.put(name, text.to_owned());
        }
    }

    fn count(&mut self, name: &'static str, count: u64) {
        self.put(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn seconds(&mut self, name: &'static str, duration: Duration) {
        self.put(name, duration.as_secs_f64());
    }
}

fn attributes(report: &Report<'_>) -> Vec<KeyValue> {
    let mut all = Attributes(Vec::with_capacity(40));
    all.put("gen_ai.operation.name", report.endpoint.operation());
    let dialect = report.endpoint.dialect().as_str();
    all.put("gen_ai.provider.name", dialect);
    all.put("gen_ai.system", dialect); // what it was called before
    request_attributes(report, &mut all);
    answer_attributes(report, &mut all);
    all.put("tollgate.call.id", report.call.to_string());
    all.put("tollgate.endpoint", report.endpoint.as_str());
    all.text("tollgate.tenant", report.principal.map(|principal| principal.tenant_name.as_str()));
    all.text("tollgate.key", report.principal.map(|principal| principal.name.as_str()));
    all.put("tollgate.outcome", report.ending.as_str());
    all.count("tollgate.attempts", report.attempts.len() as u64);
    all.put("tollgate.cost_usd", report.figures.cost.to_string());
    all.put("tollgate.estimated", report.figures.estimated);
    all.seconds("tollgate.overhead", report.overhead);
    all.0
}

fn request_attributes(report: &Report<'_>, all: &mut Attributes) {
    if let Some(request) = report.request {
        all.put("gen_ai.request.model", short(&request.model).to_owned());
        all.put("tollgate.stream", request.stream);
        if let Some(limit) = request.output_limit {
            all.count("gen_ai.request.max_tokens", limit);
        }
        if request.choices > 1 {
            all.count("gen_ai.request.choice.count", request.choices);
        }
    }
    let Some(candidate) = report.candidate else { return };
    all.put("tollgate.provider", candidate.provider.name.clone());
    all.put("tollgate.provider.model", candidate.model.clone());
    if let Ok(url) = egress::check_url(&candidate.provider.settings.base_url, false) {
        all.put("server.address", url.host.to_string());
        all.put("server.port", i64::from(url.port));
    }
}

fn answer_attributes(report: &Report<'_>, all: &mut Attributes) {
    if let Some(said) = report.said {
        all.text("gen_ai.response.id", said.id.as_deref());
        all.text("gen_ai.response.model", said.model.as_deref());
        if let Some(finish) = &said.finish {
            all.put("gen_ai.response.finish_reasons", Value::Array(vec![StringValue::from(finish.clone())].into()));
        }
    }
    let usage = &report.figures.usage;
    if usage.tokens() > 0 {
        all.count("gen_ai.usage.input_tokens", usage.tokens_in());
        all.count("gen_ai.usage.output_tokens", usage.tokens_out());
        all.count("gen_ai.usage.cache_read.input_tokens", usage.cache_read);
        all.count("gen_ai.usage.cache_creation.input_tokens", usage.cache_write.saturating_add(usage.cache_write_1h));
        all.count("gen_ai.usage.reasoning.output_tokens", usage.reasoning);
        all.put("gen_ai.usage.cost", report.figures.cost.0 as f64 / 1e12);
    }
    if let Some(first_token) = report.first_token {
        all.seconds("gen_ai.response.time_to_first_chunk", first_token);
    }
    all.put("http.response.status_code", i64::from(report.status.as_u16()));
    all.text("error.type", report.code);
    all.text("tollgate.upstream.id", report.attempts.last().and_then(|attempt| attempt.upstream_id.as_deref()));
}

/// Where spans go, if the environment wants any.
fn endpoint(set: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let off = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || set("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
    if off {
        return None;
    }
    let base = || set("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| format!("{}/v1/traces", base.trim_end_matches('/')));
    set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(base)
}

/// A mistake in the URL is told at the start, not by spans that never arrive.
fn check(endpoint: &str) -> Result<(), crate::cli::Failure> {
    let bad = |reason: &str| format!("the endpoint of the OpenTelemetry collector {reason}");
    let (base, _) = endpoint.parse().ok().and_then(|url| split(&url)).ok_or_else(|| bad("is not a URL with a scheme and a host"))?;
    egress::check_url(&base, false).map_err(|fault| bad(&fault.to_string()))?;
    Ok(())
}

fn timeout(set: &dyn Fn(&str) -> Option<String>) -> Duration {
    let millis = set("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| set("OTEL_EXPORTER_OTLP_TIMEOUT"));
    millis.and_then(|millis| millis.parse().ok()).filter(|millis| *millis > 0).map_or(TIMEOUT, Duration::from_millis)
}

fn sampler(set: &dyn Fn(&str) -> Option<String>) -> Sampler {
    let Some(name) = set("OTEL_TRACES_SAMPLER") else { return Sampler::default() };
    Sampler::named(&name, set("OTEL_TRACES_SAMPLER_ARG").as_deref()).unwrap_or_else(|why| {
        tracing::warn!(why, "OTEL_TRACES_SAMPLER is ignored");
        Sampler::default()
    })
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the builder; our own name stands only where they give none.
fn resource(set: &dyn Fn(&str) -> Option<String>) -> Resource {
    let own = [KeyValue::new("service.name", "tollgate"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let given = set("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let named = |key: &str| given.split(',').any(|pair| pair.split('=').next().is_some_and(|name| name.trim() == key));
    let given = |key: &str| named(key) || (key == "service.name" && set("OTEL_SERVICE_NAME").is_some());
    let missing = own.into_iter().filter(|own| !given(own.key.as_str()));
    Resource::builder().with_attributes(missing).build()
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
