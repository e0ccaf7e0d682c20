//! A request in, a script out: which answer, which fault, and what goes into the books.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use crate::errors::{Family, Refusal};
use crate::input::{Endpoint, Input};
use crate::plan::Plan;
use crate::player::{Body, Opening, Script, Ticket};
use crate::recent::{self, Recent, Seen};
use crate::stats::Stats;
use crate::template::{data, event, frame};
use crate::tokens::Counter;
use crate::{Hang, Settings, Wishes, chat, completions, embeddings, messages, models, pages, responses};

/// Headers that may carry the id of a call; the first that is there counts.
const CALL_HEADERS: [&str; 3] = ["x-call", "x-tollgate-call", "x-request-id"];
const SIM_PREFIX: &str = "x-sim-";
/// Milliseconds of a rate window.
const MINUTE_MS: u64 = 60_000;

/// A request that was read completely.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    /// Path and, after a question mark, query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The provider: its settings, its books, and nothing of the outside world.
pub struct Behaviour {
    pub(crate) settings: Settings,
    pub(crate) stats: Stats,
    pub(crate) recent: Recent,
    /// How often a call (or a model) asked, for `fail_first`.
    pub(crate) firsts: Stats,
    counter: Counter,
    serial: u64,
    /// Requests that `error_rate` could have hit.
    drawn: u64,
    minute: u64,
    in_minute: u32,
}

/// What a request leads to.
struct Outcome {
    script: Script,
    family: Family,
    input: u64,
    output: u64,
}

impl Behaviour {
    /// A provider with empty books.
    pub fn new(settings: Settings) -> Behaviour {
        Behaviour {
            settings,
            stats: Stats::default(),
            recent: Recent::default(),
            firsts: Stats::default(),
            counter: Counter::default(),
            serial: 0,
            drawn: 0,
            minute: 0,
            in_minute: 0,
        }
    }

    /// Answers a request. `now_ms` counts from 1970.
    pub fn receive(&mut self, now_ms: u64, received: Received) -> Script {
        let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
        if let Some(page) = pages::page(self, &received, path, query) {
            return page;
        }
        self.serial += 1;
        let id = call_id(&received.headers).to_string();
        let outcome = self.outcome(now_ms, &id, path, &received);
        let mut script = outcome.script;
        let status = if script.opening == Opening::Answer { script.status } else { 0 };
        self.stats.asked(&id, status, outcome.input);
        script.ticket = Some(Ticket { id, billed: outcome.output });
        self.put_headers(&mut script, outcome.family);
        let Received { method, target, headers, body } = received;
        self.recent.add(Seen { method: method.to_string(), path: target, headers, body: recent::Body::new(body) });
        script
    }

    /// Books that an answer is over: with its last byte (`whole`), or broken off after so many output tokens.
    pub fn close(&mut self, ticket: &Ticket, whole: bool, tokens: u64) {
        self.stats.closed(&ticket.id, if whole { ticket.billed } else { tokens }, whole);
    }

    fn outcome(&mut self, now_ms: u64, id: &str, path: &str, received: &Received) -> Outcome {
        let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let endpoint = Endpoint::of(path);
        let anthropic = endpoint.map_or(received.headers.contains_key("anthropic-version"), |e| e.family() == Family::Anthropic);
        let family = if anthropic { Family::Anthropic } else { Family::OpenAi };
        let answered = self.check_key(&received.headers).and_then(|()| match endpoint {
            Some(endpoint) if received.method == Method::POST => self.answer(now_ms, id, endpoint, received),
            None if received.method == Method::GET => self.models(now_ms, id, family, path, received),
            Some(_) => Err(Refusal::new(405, format!("{} is not allowed here", received.method))),
            None => Err(not_found(path)),
        });
        answered.unwrap_or_else(|refusal| self.refused(&refusal, family, &Wishes::default()))
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(key) = &self.settings.api_key else { return Ok(()) };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let shown = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).or_else(|| text("x-api-key"));
        if shown == Some(key) { Ok(()) } else { Err(Refusal::new(401, "incorrect API key provided")) }
    }

    fn answer(&mut self, now_ms: u64, id: &str, endpoint: Endpoint, received: &Received) -> Result<Outcome, Refusal> {
        let input = Input::read(endpoint, &received.body)?;
        let wishes = self.wishes(Some(&input), &received.headers)?;
        if let Some(outcome) = self.fault(now_ms, if id.is_empty() { &input.model } else { id }, endpoint.family(), &wishes) {
            return Ok(outcome);
        }
        let serial = self.serial;
        if endpoint == Endpoint::CountTokens {
            let tokens = wishes.input_tokens.unwrap_or_else(|| input.tokens(&mut self.counter));
            return Ok(unbilled(endpoint.family(), serde_json::json!({"input_tokens": tokens}), &wishes));
        }
        let plan = Plan::new(&input, &wishes, &mut self.counter, serial, now_ms);
        let error = error_event(endpoint, &wishes, serial);
        let script = Script::new(200, body(&plan), &wishes, Some(error));
        let output = if endpoint == Endpoint::Embeddings { 0 } else { plan.usage.output };
        Ok(Outcome { script, family: endpoint.family(), input: plan.usage.input, output })
    }

    fn models(&mut self, now_ms: u64, id: &str, family: Family, path: &str, received: &Received) -> Result<Outcome, Refusal> {
        let wishes = self.wishes(None, &received.headers)?;
        let body = match path.strip_prefix("/models") {
            Some("") => models::list(family, &self.settings.models),
            Some(rest) if rest.starts_with('/') => models::model(family, &rest[1..]),
            _ => return Err(not_found(path)),
        };
        Ok(self.fault(now_ms, id, family, &wishes).unwrap_or_else(|| unbilled(family, body, &wishes)))
    }

    /// Defaults, then the model's suffix, then the body, then the headers.
    fn wishes(&self, input: Option<&Input>, headers: &HeaderMap) -> Result<Wishes, Refusal> {
        let mut wishes = self.settings.answers.clone();
        let mut set = |name: &str, value: &str| wishes.set(name, value).map_err(|why| Refusal::new(400, why));
        if let Some(input) = input {
            input.model_wishes().try_for_each(|(name, value)| set(name, value))?;
            input.body_wishes().try_for_each(|(name, value)| set(name, &value))?;
        }
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix(SIM_PREFIX) {
                set(name, value.to_str().unwrap_or("?"))?;
            }
        }
        Ok(wishes)
    }

    /// The fault in place of an answer, if one is due.
    fn fault(&mut self, now_ms: u64, who: &str, family: Family, wishes: &Wishes) -> Option<Outcome> {
        if wishes.reset || wishes.hang == Some(Hang::Head) {
            let mut outcome = unbilled(family, Value::Null, wishes);
            outcome.script.opening = if wishes.reset { Opening::Reset } else { Opening::Hang };
            return Some(outcome);
        }
        let refusal = self.over_rate(now_ms).or_else(|| self.error(who, wishes))?;
        Some(self.refused(&refusal, family, wishes))
    }

    fn over_rate(&mut self, now_ms: u64) -> Option<Refusal> {
        let rpm = self.settings.rpm?;
        if now_ms / MINUTE_MS != self.minute {
            (self.minute, self.in_minute) = (now_ms / MINUTE_MS, 0);
        }
        if self.in_minute < rpm {
            self.in_minute += 1;
            return None;
        }
        let seconds = (MINUTE_MS - now_ms % MINUTE_MS).div_ceil(1_000);
        let message = format!("rate limit reached: {rpm} requests a minute; try again in {seconds} s");
        Some(Refusal { retry_after: Some(seconds.to_string()), ..Refusal::new(429, message) })
    }

    /// The error that was wished for: for the first requests of a call, for a share of all, or always.
    fn error(&mut self, who: &str, wishes: &Wishes) -> Option<Refusal> {
        let due = if wishes.fail_first > 0 {
            self.firsts.asked(who, 0, 0) < wishes.fail_first
        } else if wishes.error_rate > 0.0 {
            self.drawn += 1;
            // Evenly spread: the n-th request fails if the share passes a whole number with it.
            (self.drawn as f64 * wishes.error_rate).floor() > ((self.drawn - 1) as f64 * wishes.error_rate).floor()
        } else {
            wishes.status.is_some()
        };
        let status = wishes.status.unwrap_or(500);
        let refusal = Refusal::new(status, format!("the simulator was asked for status {status}"));
        due.then(|| Refusal { code: wishes.code.clone(), retry_after: wishes.retry_after.clone(), ..refusal })
    }

    fn refused(&self, refusal: &Refusal, family: Family, wishes: &Wishes) -> Outcome {
        let body = refusal.body(family, &request_id(self.serial)).to_string();
        let mut script = Script::new(refusal.status, Body::Whole(body.into()), wishes, None);
        if let Some(value) = refusal.retry_after.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            script.headers.push((http::header::RETRY_AFTER, value));
        }
        Outcome { script, family, input: 0, output: 0 }
    }

    /// What providers send along, with some that a gateway must not hand on.
    fn put_headers(&self, script: &mut Script, family: Family) {
        put_kind(script);
        let fixed = |name: &'static str, value: &'static str| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let id = HeaderValue::from_str(&request_id(self.serial)).unwrap_or(HeaderValue::from_static("req_sim"));
        let (id_name, organisation) = match family {
            Family::OpenAi => ("x-request-id", "openai-organization"),
            Family::Anthropic => ("request-id", "anthropic-organization-id"),
        };
        script.headers.push((HeaderName::from_static(id_name), id));
        script.headers.push(fixed(organisation, "org-of-the-operator"));
        script.headers.push(fixed("set-cookie", "sim=1; HttpOnly"));
        if family == Family::OpenAi {
            script.headers.push(fixed("openai-processing-ms", "1"));
        }
        if let Some(rpm) = self.settings.rpm {
            let left = rpm.saturating_sub(self.in_minute);
            for (name, value) in [("x-ratelimit-limit-requests", rpm), ("x-ratelimit-remaining-requests", left)] {
                script.headers.push((HeaderName::from_static(name), HeaderValue::from(value)));
            }
        }
    }
}

/// Says what the body is, and whether it is compressed.
fn put_kind(script: &mut Script) {
    let kind = if script.is_stream() { "text/event-stream; charset=utf-8" } else { "application/json" };
    script.headers.push((http::header::CONTENT_TYPE, HeaderValue::from_static(kind)));
    if script.is_compressed() {
        script.headers.push((http::header::CONTENT_ENCODING, HeaderValue::from_static("gzip")));
    }
}

fn call_id(headers: &HeaderMap) -> &str {
    CALL_HEADERS.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn request_id(serial: u64) -> String {
    format!("req_sim{serial:016x}")
}

fn not_found(path: &str) -> Refusal {
    Refusal { code: Some("unknown_url".into()), ..Refusal::new(404, format!("there is nothing at {path}")) }
}

/// An answer that costs nothing.
fn unbilled(family: Family, body: Value, wishes: &Wishes) -> Outcome {
    let script = Script::new(200, Body::Whole(body.to_string().into()), wishes, None);
    Outcome { script, family, input: 0, output: 0 }
}

/// The answer in its dialect, or what `garbage` makes of it.
fn body(plan: &Plan<'_>) -> Body {
    if !plan.input.stream {
        let text = if plan.wishes.garbage { "<html>this is no JSON</html>".into() } else { whole(plan).to_string() };
        return Body::Whole(text.into());
    }
    let mut segments = match plan.input.endpoint {
        Endpoint::Completions => completions::stream(plan),
        Endpoint::Responses => responses::stream(plan),
        Endpoint::Messages => messages::stream(plan),
        _ => chat::stream(plan),
    };
    if plan.wishes.garbage {
        segments.insert(1.min(segments.len()), frame("data: {this is no JSON\n\n".into()));
    }
    Body::Stream(segments)
}

fn whole(plan: &Plan<'_>) -> Value {
    match plan.input.endpoint {
        Endpoint::Completions => completions::answer(plan),
        Endpoint::Responses => responses::answer(plan),
        Endpoint::Messages => messages::answer(plan),
        Endpoint::Embeddings => embeddings::answer(plan),
        _ => chat::answer(plan),
    }
}

/// The event that breaks a stream off in its dialect.
fn error_event(endpoint: Endpoint, wishes: &Wishes, serial: u64) -> String {
    let status = wishes.status.unwrap_or(if endpoint.family() == Family::Anthropic { 529 } else { 500 });
    let refusal = Refusal { code: wishes.code.clone(), ..Refusal::new(status, "the simulator was asked to fail here") };
    let mut body = refusal.body(endpoint.family(), &request_id(serial));
    match endpoint {
        Endpoint::Messages => event(&body),
        Endpoint::Responses => {
            let mut flat = body["error"].take();
            flat["code"] = flat["code"].as_str().unwrap_or("server_error").into();
            flat["type"] = "error".into();
            flat["sequence_number"] = wishes.error_event.unwrap_or(0).into();
            event(&flat)
        }
        _ => data(&body),
    }
}

#[cfg(test)]
#[path = "behaviour_tests.rs"]
mod tests;
