//! One try of a call at one upstream: the request as it goes out, and what comes back at first.

use crate::{
    policy::Policy,
    ports::{Deadlines, Sent, Stage, UpstreamAddress, WireAnswer, WireFault, WireRequest},
    trace::Span,
};
use bytes::Bytes;
use cluster_config::{Candidate, ProviderView};
use dialects::{
    Dialect, Edits, Endpoint, Request, Translated, edit, output_limit_name,
    providers::{Auth, Quirks},
};
use events::CallId;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use std::{sync::Arc, time::Duration};

/// Headers of the caller that a provider may see. Never keys, cookies, organisation ids or addresses.
const UPWARDS: [&str; 6] = ["accept", "anthropic-version", "anthropic-beta", "openai-beta", "traceparent", "tracestate"];
/// Those among them that belong to no dialect.
const OF_ANY_DIALECT: [&str; 3] = ["accept", "traceparent", "tracestate"];
/// Headers of a provider that the caller may see. Its rate limits are ours with it, not the caller's.
const DOWNWARDS: [&str; 4] = ["content-type", "openai-version", "openai-processing-ms", "openai-model"];
/// Where providers put their own id of an exchange.
const UPSTREAM_IDS: [&str; 5] = ["x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-oai-request-id"];
/// The version that Anthropic's endpoints are spoken in if the caller names none.
const ANTHROPIC_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// What an attempt needs to know of its call.
pub struct Outgoing<'a> {
    pub call: CallId,
    pub policy: &'a Policy,
    pub request: &'a Request,
    pub body: &'a Bytes,
    pub headers: &'a HeaderMap,
    /// Becomes the parent of what upstream does; without one the caller's passes.
    pub span: Option<&'a Span>,
    pub candidate: &'a Candidate,
    pub output_limit: Option<(&'static str, u64)>,
    /// The request in the candidate's dialect, if that is not the caller's.
    pub translated: Option<&'a Translated>,
}

/// The request for the wire; what we do not own stays to the byte.
pub fn request(out: &Outgoing<'_>) -> WireRequest {
    let provider = &out.candidate.provider;
    let usage_option = quirks(provider).is_none_or(|quirks| quirks.usage_option);
    let include_usage =
        usage_option && out.request.stream && matches!(out.request.endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    let edits = Edits { model: Some(&out.candidate.model), output_limit: out.output_limit, include_usage };
    let endpoint = endpoint(out.request, out.candidate);
    let body = match out.translated {
        None => edit(out.request, out.body, &edits),
        Some(translated) => {
            let limit = out.output_limit.filter(|_| out.request.output_limit.is_none());
            vec![translated.body(limit.map(|(_, tokens)| (limit_name(out, endpoint), tokens)), usage_option)]
        }
    };
    let (path, headers) = (path(provider, endpoint), headers(out));
    WireRequest { upstream: address(provider), method: http::Method::POST, path, headers, body, deadlines: deadlines(provider) }
}

/// What a provider is asked to see whether it can be reached: its models, with its key.
pub fn probe(policy: &Policy, provider: &ProviderView, call: CallId) -> WireRequest {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static("tollgate"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    of_provider(&mut headers, policy, provider, call);
    let path = path_to(provider, "/models");
    WireRequest { upstream: address(provider), method: http::Method::GET, path, headers, body: Vec::new(), deadlines: deadlines(provider) }
}

/// The endpoint that a candidate is asked at.
pub fn endpoint(request: &Request, candidate: &Candidate) -> Endpoint {
    request.endpoint.at(candidate.provider.dialect).unwrap_or(request.endpoint)
}

fn quirks(provider: &ProviderView) -> Option<&'static Quirks> {
    provider.known.map(|known| &known.quirks)
}

fn limit_name(out: &Outgoing<'_>, endpoint: Endpoint) -> &'static str {
    let old = quirks(&out.candidate.provider).is_some_and(|quirks| quirks.old_limit);
    if old { "max_tokens" } else { output_limit_name(endpoint, &out.candidate.model) }
}

fn address(provider: &ProviderView) -> Arc<UpstreamAddress> {
    Arc::new(UpstreamAddress {
        id: provider.id.0,
        base_url: provider.settings.base_url.clone(),
        tenant_set: provider.settings.tenant.is_some(),
    })
}

/// Base URLs of OpenAI's dialect bring their `/v1`; Anthropic's clients are used to leave it out.
fn path(provider: &ProviderView, endpoint: Endpoint) -> String {
    path_to(provider, endpoint.path())
}

fn path_to(provider: &ProviderView, path: &str) -> String {
    let base = provider.settings.base_url.trim_end_matches('/');
    let last = base.rsplit('/').next().unwrap_or_default();
    let versioned = last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
    match provider.dialect {
        Dialect::Anthropic if !versioned => format!("/v1{path}"),
        _ => path.to_owned(),
    }
}

fn deadlines(provider: &ProviderView) -> Deadlines {
    let timeouts = &provider.settings.timeouts;
    Deadlines {
        connect: Duration::from_millis(timeouts.connect_ms),
        first_byte: Duration::from_millis(timeouts.first_byte_ms),
        silence: Duration::from_millis(timeouts.silence_ms),
    }
}

fn headers(out: &Outgoing<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    for name in UPWARDS {
        // what belongs to one dialect means nothing in another
        if out.candidate.provider.dialect != out.request.endpoint.dialect() && !OF_ANY_DIALECT.contains(&name) {
            continue;
        }
        if let Some(value) = out.headers.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    if let Some(span) = out.span {
        span.put(&mut headers);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static("tollgate"));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    of_provider(&mut headers, out.policy, &out.candidate.provider, out.call);
    headers
}

/// What every request to a provider bears.
fn of_provider(headers: &mut HeaderMap, policy: &Policy, provider: &ProviderView, call: CallId) {
    if provider.dialect == Dialect::Anthropic {
        headers.entry("anthropic-version").or_insert(ANTHROPIC_VERSION);
    }
    if let Some(secret) = policy.secrets.get(&provider.id) {
        let auth = provider.known.map(|known| known.auth).unwrap_or_default();
        authenticate(headers, provider.dialect, auth, secret.reveal());
    }
    for (name, value) in &provider.settings.headers {
        let value = value.replace("{call_id}", &call.to_string());
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
}

fn authenticate(headers: &mut HeaderMap, dialect: Dialect, auth: Auth, secret: &str) {
    let (name, value) = match dialect {
        _ if auth == Auth::ApiKey => (HeaderName::from_static("api-key"), HeaderValue::try_from(secret)),
        Dialect::OpenAi => (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {secret}"))),
        Dialect::Anthropic => (HeaderName::from_static("x-api-key"), HeaderValue::try_from(secret)),
    };
    if let Ok(mut value) = value {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

/// Headers of the answer that the caller sees.
pub fn downwards(answer: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for name in DOWNWARDS {
        if let Some(value) = answer.get(name) {
            headers.insert(HeaderName::from_static(name), value.clone());
        }
    }
    headers
}

/// The provider's own id of the exchange.
pub fn upstream_id(headers: &HeaderMap) -> Option<String> {
    let found = UPSTREAM_IDS.iter().find_map(|name| headers.get(*name));
    found.and_then(|value| value.to_str().ok()).filter(|id| id.len() <= events::limits::UPSTREAM_ID_BYTES_MAX).map(str::to_owned)
}

/// How long the provider asks to wait, if it says so in seconds or milliseconds.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<f64>().ok().filter(|wait| wait.is_finite() && *wait >= 0.0);
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    Some(Duration::from_secs_f64(seconds.min(3_600.0)))
}

/// What a status means for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Good,
    /// Another try, here or elsewhere, may go better.
    Retry,
    /// Our secret is not taken: not the caller's fault.
    Auth,
    /// The request itself is at fault: it passes to the caller.
    Final,
}

pub fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..300 => Meaning::Good,
        401 | 403 => Meaning::Auth,
        408 | 409 | 425 | 429 | 500..600 => Meaning::Retry,
        _ => Meaning::Final,
    }
}

/// How an attempt failed before it gave an answer.
pub enum Failure {
    Status { answer: WireAnswer, meaning: Meaning },
    Wire(WireFault),
}

/// Whether a fault may have cost money: something may have been sent.
pub fn may_have_cost(fault: &WireFault) -> bool {
    fault.sent == Sent::Maybe && fault.stage != Stage::Refused
}

/// A deadline, not a break.
pub fn timed_out(fault: &WireFault) -> bool {
    matches!(fault.stage, Stage::FirstByte | Stage::Silence)
}
