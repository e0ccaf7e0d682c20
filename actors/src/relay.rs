//! The answer on its way to the caller: whole or in pieces, metered as it passes, its end kept back until the record is durable.

use crate::{
    attempt::{self, Meaning},
    call::{Answered, End, Reached, ReplyBody, Way, millis, put},
    charge::{self, Bill, Metered},
    fault::Fault,
    plan::{Ask, Plan},
    ports::{WireAnswer, WireBody, WireFault},
    translation::Lost,
    upstream,
};
use bytes::{Bytes, BytesMut};
use cluster_config::Candidate;
use dialects::{Dialect, Endpoint, Piece, Stream, Translator, keep_alive, read_answer, translate_error};
use events::{
    call::{AttemptEnd, Outcome},
    limits,
    provider::OnClientGone,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{
    future::poll_fn,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The content type of a stream.
const STREAM: &[u8] = b"text/event-stream";

/// Delivers an answer that has begun, and records it. Some: it broke off before the caller saw anything of it; nothing is recorded yet.
pub(crate) async fn deliver(way: &mut Way, ask: &Ask, plan: &Plan, reached: Reached) -> Option<End> {
    way.reactor.handles.first_byte.record(reached.first_byte.as_secs_f64());
    let kind = reached.answer.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_stream = kind.get(..STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(STREAM));
    if way.request().stream && is_stream { stream(way, ask, plan, reached).await } else { whole(way, ask, plan, reached).await }
}

/// Why reading an answer stopped early.
enum Break {
    Wire(WireFault),
    /// It is larger than it may be.
    TooLarge,
    /// The whole call's deadline has passed.
    Deadline,
    /// The caller left, and the policy is to cancel.
    Cancelled,
    /// The caller stayed and did not read, until the whole call's deadline had passed.
    Unread,
    /// The node is stopping, and the time for what ran is over.
    Stopping,
}

/// What becomes of the upstream when the caller has left.
fn cancels(way: &Way, reached: &Reached) -> bool {
    reached.candidate.provider.settings.on_client_gone.map_or(way.request().stream, |policy| policy == OnClientGone::Cancel)
}

/// An unstreamed answer waits whole for its record.
async fn whole(way: &mut Way, ask: &Ask, plan: &Plan, mut reached: Reached) -> Option<End> {
    let cancels = cancels(way, &reached);
    let began = Instant::now();
    let collected = collect(way, &mut *reached.answer.body, cancels).await;
    way.upstream_time += began.elapsed();
    let _ = reached.upstream.cast(upstream::Message::Outcome(verdict(&collected, reached.first_byte))); // it ended with its reactor
    let (body, end) = match collected {
        Ok(body) => (body, None),
        Err((_, stop @ Break::Wire(_))) => return Some(broke_early(way, plan, &reached, &stop)),
        Err((body, stop)) => (body, Some(stop)),
    };
    let read = read_answer(attempt::endpoint(way.request(), &reached.candidate), &body).ok();
    let metered = Metered {
        usage: read
            .as_ref()
            .and_then(|answer| answer.usage.filter(|_| !answer.unfinished))
            .map(|usage| usage.plus(&read.as_ref().map(|answer| answer.beside).unwrap_or_default())),
        output_bytes: read.as_ref().map_or(body.len() as u64, |answer| answer.output_bytes),
        service_tier: read.as_ref().and_then(|answer| answer.service_tier.clone()),
    };
    if let Some(answer) = &read {
        way.heard(answer.id.as_deref(), answer.model.as_deref(), answer.finish.as_deref());
    }
    let bill = note(way, plan, &reached, &metered, end.as_ref());
    let given = match (translator(way, ask, &reached), &end) {
        (Some(translator), None) => translate(way, translator, body).await,
        _ => Ok(body),
    };
    let outcome = if given.is_err() { Outcome::Failed } else { outcome_of(end.as_ref()) };
    let recorded = way.record(ask, plan, outcome, Some(&bill)).await;
    let body = match given {
        Ok(body) => body,
        Err(fault) if recorded => {
            way.say(&fault);
            return None;
        }
        Err(_) => Bytes::new(),
    };
    match (recorded, end) {
        (false, _) => way.say(&Fault::record_pending(&way.incoming.id.to_string())),
        (true, Some(stop)) => way.say(&broken(&stop, &reached.candidate.provider.name)),
        (true, None) => {
            let mut headers = attempt::downwards(&reached.answer.headers);
            put(
                &mut headers,
                "x-tollgate-cost-usd",
                &way.tally.attempts.iter().map(|attempt| attempt.cost).sum::<events::Money>().to_string(),
            );
            answer_headers(&mut headers, &reached);
            way.send(plan, reached.answer.status, headers, ReplyBody::Whole(body));
        }
    }
    None
}

/// What gives the answer in the caller's dialect, if it is another than the provider's. What the request lost is known from here on.
fn translator(way: &mut Way, ask: &Ask, reached: &Reached) -> Option<Translator> {
    let translated = ask.translations.as_ref()?.get(&reached.candidate)?;
    way.lost = Lost::of(&reached.candidate, translated.losses.clone());
    let request = way.request();
    let created = way.reactor.core.clock.now().as_ms() / 1_000;
    let from = attempt::endpoint(request, &reached.candidate);
    if from == request.endpoint {
        return None;
    }
    Some(Translator::new(from, request.endpoint, created, request.wants_usage, translated.schema_tool))
}

/// A whole answer in the caller's dialect; a large one off the runtime.
async fn translate(way: &mut Way, mut translator: Translator, body: Bytes) -> Result<Bytes, Fault> {
    let name = "the provider's answer could not be read";
    let (translator, translated) = if body.len() <= limits::TRANSLATE_INLINE_BYTES_MAX {
        let translated = translator.whole(&body);
        (translator, translated)
    } else {
        let work = tokio::task::spawn_blocking(move || {
            let translated = translator.whole(&body);
            (translator, translated)
        });
        work.await.map_err(|_| Fault::gateway_busy("this node is stopping"))?
    };
    way.lost.answer = translator.losses().clone();
    translated.map_err(|unreadable| Fault::upstream(StatusCode::BAD_GATEWAY, "upstream_unreadable", format!("{name}: {}", unreadable.0)))
}

/// An attempt that broke off unseen: it may have cost up to its ceiling, and another may follow.
fn broke_early(way: &mut Way, plan: &Plan, reached: &Reached, stop: &Break) -> End {
    let bill = charge::at_ceiling(plan, way.request(), &reached.candidate);
    let end = if matches!(stop, Break::Wire(fault) if attempt::timed_out(fault)) { AttemptEnd::TimedOut } else { AttemptEnd::Broken };
    add_early(way, reached, end, &bill);
    End::Failed(Answered::Fault(broken(stop, &reached.candidate.provider.name)))
}

fn add_early(way: &mut Way, reached: &Reached, end: AttemptEnd, bill: &Bill) {
    let (first_byte, total) = (millis(reached.first_byte), millis(reached.started.elapsed()));
    way.tally.add(&reached.candidate, end, bill, first_byte, total, reached.upstream_id.clone());
}

type Collected = Result<Bytes, (Bytes, Break)>;

async fn collect(way: &mut Way, body: &mut dyn WireBody, cancels: bool) -> Collected {
    let deadline = way.deadline;
    let cut = way.reactor.core.cut();
    tokio::pin!(cut);
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut size = 0;
    loop {
        let next = poll_fn(|context| body.poll_next(context));
        let next = tokio::select! {
            biased;
            next = tokio::time::timeout_at(deadline.into(), next) => next,
            () = gone(way), if cancels => return Err((join(pieces), Break::Cancelled)),
            () = cut.as_mut() => return Err((join(pieces), Break::Stopping)),
        };
        match next {
            Err(_) => return Err((join(pieces), Break::Deadline)),
            Ok(None) => return Ok(join(pieces)),
            Ok(Some(Err(fault))) => return Err((join(pieces), Break::Wire(fault))),
            Ok(Some(Ok(piece))) => {
                size += piece.len();
                if size > limits::ANSWER_BYTES_MAX {
                    return Err((join(pieces), Break::TooLarge));
                }
                pieces.push(piece);
            }
        }
    }
}

async fn gone(way: &mut Way) {
    match &mut way.reply {
        Some(reply) => reply.closed().await,
        None => std::future::pending().await,
    }
}

/// One piece, the common case, is not copied.
fn join(mut pieces: Vec<Bytes>) -> Bytes {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    all.freeze()
}

fn verdict(collected: &Collected, first_byte: Duration) -> upstream::Outcome {
    match collected {
        Ok(_) => upstream::Outcome::Answered(first_byte),
        Err((_, Break::Wire(_) | Break::Deadline)) => upstream::Outcome::Failed,
        Err((_, Break::TooLarge | Break::Cancelled | Break::Unread | Break::Stopping)) => upstream::Outcome::Neutral,
    }
}

fn outcome_of(stop: Option<&Break>) -> Outcome {
    match stop {
        None => Outcome::Ok,
        Some(Break::Cancelled | Break::Unread | Break::Stopping) => Outcome::Aborted,
        Some(_) => Outcome::Failed,
    }
}

/// Notes the attempt that was used, with its bill.
fn note(way: &mut Way, plan: &Plan, reached: &Reached, metered: &Metered, stop: Option<&Break>) -> Bill {
    let bill = charge::bill(plan, way.request(), &reached.candidate, way.incoming.body.len(), metered);
    let end = match stop {
        None => AttemptEnd::Ok,
        Some(Break::Cancelled | Break::Unread | Break::Stopping) => AttemptEnd::Cancelled,
        Some(Break::Deadline) => AttemptEnd::TimedOut,
        Some(Break::TooLarge) => AttemptEnd::Cut,
        Some(Break::Wire(fault)) if attempt::timed_out(fault) => AttemptEnd::TimedOut,
        Some(Break::Wire(_)) => AttemptEnd::Broken,
    };
    let (first_byte, total) = (millis(reached.first_byte), millis(reached.started.elapsed()));
    way.tally.add(&reached.candidate, end, &bill, first_byte, total, reached.upstream_id.clone());
    bill
}

fn broken(stop: &Break, provider: &str) -> Fault {
    match stop {
        Break::Deadline => {
            Fault::upstream(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", format!("the answer of {provider} did not end in time"))
        }
        Break::TooLarge => Fault::upstream(
            StatusCode::BAD_GATEWAY,
            "upstream_answer_too_large",
            format!("the answer of {provider} is larger than {} bytes", limits::ANSWER_BYTES_MAX),
        ),
        Break::Cancelled | Break::Unread => {
            Fault::upstream(StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT), "client_closed_request", "the caller left")
        }
        Break::Stopping => Fault::gateway_busy("this node is stopping, and the answer was cut"),
        Break::Wire(fault) if attempt::timed_out(fault) => {
            Fault::upstream(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", format!("the provider {provider} fell silent in its answer"))
        }
        Break::Wire(_) => {
            Fault::upstream(StatusCode::BAD_GATEWAY, "upstream_broke_off", format!("the answer of {provider} broke off before its end"))
        }
    }
}

/// The longest wait for what a provider may still send behind the end.
const TRAILER_WAIT: Duration = Duration::from_secs(5);

/// A stream, piece by piece.
struct Relay<'a> {
    way: &'a mut Way,
    plan: &'a Plan,
    reader: Stream,
    translator: Option<Translator>,
    /// Where pieces go; None until the head is sent.
    out: Option<mpsc::Sender<Bytes>>,
    /// Pieces that wait for the head: nothing that a caller sees was in them.
    early: Vec<Bytes>,
    /// The end and what follows, kept back until the record is durable.
    end: Vec<Bytes>,
    end_bytes: usize,
    head: Option<(StatusCode, HeaderMap)>,
    /// The caller does not read any more.
    gone: bool,
    last_sent: Instant,
    sent_events: u64,
}

async fn stream(way: &mut Way, ask: &Ask, plan: &Plan, mut reached: Reached) -> Option<End> {
    let cancels = cancels(way, &reached);
    let translator = translator(way, ask, &reached);
    let request = way.request();
    let endpoint = attempt::endpoint(request, &reached.candidate);
    let strip_usage = !request.wants_usage && translator.is_none() && matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    let reader = Stream::new(endpoint, request.choices, strip_usage);
    let mut headers = attempt::downwards(&reached.answer.headers);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer_headers(&mut headers, &reached);
    let head = Some((reached.answer.status, headers));
    let mut relay = Relay {
        way,
        plan,
        reader,
        translator,
        out: None,
        early: Vec::new(),
        end: Vec::new(),
        end_bytes: 0,
        head,
        gone: false,
        last_sent: Instant::now(),
        sent_events: 0,
    };
    let stop = relay.run(&mut *reached.answer.body, cancels).await;
    let Relay { way, reader, translator, mut out, mut end, head, early, sent_events, .. } = relay;
    if let Some(mut translator) = translator {
        if reader.complete() {
            end.extend(Some(translator.close()).filter(|bytes| !bytes.is_empty()));
        }
        way.lost.answer = translator.losses().clone();
    }
    let failed = reader.failed().cloned();
    let stop = stop.or_else(|| (!reader.complete() && failed.is_none()).then(early_end));
    let complete = reader.complete() && !matches!(stop, Some(Break::Cancelled | Break::Unread));
    let retry = failed.as_ref().and_then(|failed| again(failed.status));
    let _ = reached.upstream.cast(upstream::Message::Outcome(match (&stop, retry) {
        (Some(Break::Wire(_) | Break::Deadline), _) => upstream::Outcome::Failed,
        (None, Some(status)) if status.is_server_error() => upstream::Outcome::Failed,
        (None, None) => upstream::Outcome::Answered(reached.first_byte),
        _ => upstream::Outcome::Neutral,
    })); // it ended with its reactor
    if out.is_none() && !reader.complete() {
        match (&stop, retry) {
            (Some(stop @ Break::Wire(_)), _) => return Some(broke_early(way, plan, &reached, stop)),
            (None, Some(status)) => return Some(failed_early(way, plan, &reached, &reader, status, head, [early, end].concat())),
            _ => {}
        }
    }
    let usage = reader.usage().map(|usage| usage.plus(&reader.beside()));
    let metered = Metered { usage, output_bytes: reader.output_bytes(), service_tier: reader.service_tier().map(str::to_owned) };
    way.heard(reader.id(), reader.model(), reader.finish());
    let stop = stop.filter(|_| !complete);
    let bill = note(way, plan, &reached, &metered, stop.as_ref());
    let outcome = if failed.is_some() && stop.is_none() { Outcome::Failed } else { outcome_of(stop.as_ref()) };
    if failed.is_some() {
        way.ended.failed_inside();
    }
    let recorded = way.record(ask, plan, outcome, Some(&bill)).await;
    let fault = if recorded {
        stop.as_ref().map(|stop| broken(stop, &reached.candidate.provider.name))
    } else {
        Some(Fault::record_pending(&way.incoming.id.to_string()))
    };
    if out.is_none() {
        if let Some(fault) = &fault {
            way.say(fault);
            return None;
        }
        out = open(way, plan, head, early).await;
    }
    let out = out?;
    let end = match fault {
        Some(fault) => {
            way.ended.fault(&fault);
            vec![fault.event(way.request().endpoint, &way.incoming.id.to_string(), sent_events)]
        }
        None => end,
    };
    for piece in end {
        if !matches!(give(way, &out, piece).await, Given::Taken) {
            return None; // the caller has left, or does not read: the record is durable
        }
    }
    None
}

/// What became of a piece that was handed to the caller.
enum Given {
    Taken,
    /// The caller has left.
    Gone,
    /// It does not read: the call is not kept for it.
    Stuck(Break),
}

/// Hands a piece to the caller. One that does not read holds the call no longer than its deadline, and not while the node ends.
async fn give(way: &mut Way, out: &mpsc::Sender<Bytes>, piece: Bytes) -> Given {
    if let Some(taken) = &mut way.taken {
        taken.piece(&piece);
    }
    let piece = match out.try_send(piece) {
        Ok(()) => return Given::Taken,
        Err(mpsc::error::TrySendError::Closed(_)) => return Given::Gone,
        Err(mpsc::error::TrySendError::Full(piece)) => piece,
    };
    let began = Instant::now();
    let given = tokio::select! {
        biased;
        sent = out.send(piece) => if sent.is_ok() { Given::Taken } else { Given::Gone },
        () = tokio::time::sleep_until(way.deadline.into()) => Given::Stuck(Break::Unread),
        () = way.reactor.core.cut() => Given::Stuck(Break::Stopping),
    };
    way.upstream_time += began.elapsed(); // a slow caller's time is not ours
    given
}

/// The status that an error inside of a stream stands for, if another try may go better.
fn again(status: u16) -> Option<StatusCode> {
    StatusCode::from_u16(status).ok().filter(|status| attempt::meaning(*status) == Meaning::Retry)
}

/// An error came in place of a first token: as good as an error status, unless the answer had begun. It passes unchanged after the last try.
fn failed_early(
    way: &mut Way,
    plan: &Plan,
    reached: &Reached,
    reader: &Stream,
    status: StatusCode,
    head: Option<(StatusCode, HeaderMap)>,
    frames: Vec<Bytes>,
) -> End {
    let (end, bill) = match reader.id() {
        None => (AttemptEnd::Status(status.as_u16()), Bill::default()),
        Some(_) => (AttemptEnd::Broken, charge::at_ceiling(plan, way.request(), &reached.candidate)),
    };
    add_early(way, reached, end, &bill);
    let (status, headers) = head.unwrap_or_default();
    End::Failed(Answered::Whole { status, headers, body: join(frames) })
}

/// Upstream closed before the dialect's end.
fn early_end() -> Break {
    Break::Wire(WireFault {
        stage: crate::ports::Stage::Body,
        sent: crate::ports::Sent::Maybe,
        message: "the stream ended before its end".into(),
    })
}

/// Sends the head, and what waited for it.
async fn open(way: &mut Way, plan: &Plan, head: Option<(StatusCode, HeaderMap)>, early: Vec<Bytes>) -> Option<mpsc::Sender<Bytes>> {
    let (status, headers) = head?;
    let (out, pieces) = mpsc::channel(limits::ANSWER_QUEUE_MAX);
    way.send(plan, status, headers, ReplyBody::Stream(pieces));
    for piece in early {
        if !matches!(give(way, &out, piece).await, Given::Taken) {
            return None;
        }
    }
    Some(out)
}

impl Relay<'_> {
    /// Passes pieces on until the stream ends. None: it ended by itself.
    async fn run(&mut self, body: &mut dyn WireBody, cancels: bool) -> Option<Break> {
        let mut pieces = Vec::new();
        let pause = tokio::time::sleep(limits::KEEP_ALIVE_EVERY);
        let cut = self.way.reactor.core.cut();
        tokio::pin!(pause, cut);
        loop {
            let left = self.caller_left();
            if left && cancels {
                return Some(Break::Cancelled);
            }
            let began = Instant::now();
            let deadline = if self.end.is_empty() { self.way.deadline } else { self.way.deadline.min(began + TRAILER_WAIT) };
            let next = poll_fn(|context| body.poll_next(context));
            let out = self.out.clone();
            let next = tokio::select! {
                biased;
                next = tokio::time::timeout_at(deadline.into(), next) => next,
                () = async { match &out { Some(out) => out.closed().await, None => std::future::pending().await } }, if cancels && !left => return Some(Break::Cancelled),
                () = cut.as_mut() => return Some(Break::Stopping),
                () = pause.as_mut() => {
                    if let Some(stop) = self.keep_alive().await {
                        return Some(stop);
                    }
                    pause.as_mut().reset((self.last_sent + limits::KEEP_ALIVE_EVERY).into());
                    self.way.upstream_time += began.elapsed();
                    continue;
                }
            };
            self.way.upstream_time += began.elapsed();
            match next {
                Err(_) if !self.end.is_empty() => return None, // it leaves the connection open behind its end
                Err(_) => return Some(Break::Deadline),
                Ok(None) => {
                    self.reader.close(&mut pieces);
                    return self.pass(&mut pieces).await;
                }
                Ok(Some(Err(fault))) => {
                    self.reader.close(&mut pieces);
                    let over = self.pass(&mut pieces).await;
                    return over.or(Some(Break::Wire(fault)));
                }
                Ok(Some(Ok(chunk))) => {
                    if self.reader.push(chunk, &mut pieces).is_err() {
                        return Some(Break::TooLarge);
                    }
                    if let Some(stop) = self.pass(&mut pieces).await {
                        return Some(stop);
                    }
                }
            }
        }
    }

    async fn pass(&mut self, pieces: &mut Vec<Piece>) -> Option<Break> {
        for piece in pieces.drain(..) {
            match self.translated(piece) {
                Piece::Pass(bytes) | Piece::End(bytes) if bytes.is_empty() => {}
                Piece::Pass(bytes) => self.early.push(bytes),
                Piece::End(bytes) => {
                    self.end_bytes += bytes.len();
                    if self.end_bytes > limits::HELD_BACK_BYTES_MAX {
                        return Some(Break::TooLarge);
                    }
                    self.end.push(bytes);
                }
            }
        }
        if self.past_ceiling() {
            return Some(Break::TooLarge);
        }
        if self.reader.started() {
            self.way.ended.first_token(self.way.incoming.started);
        }
        let ended = !self.end.is_empty() && self.reader.failed().is_none();
        if self.reader.started() || ended || self.early.len() > limits::ANSWER_QUEUE_MAX {
            return self.flush().await;
        }
        None
    }

    /// The piece in the caller's dialect; empty if nothing of it is to be said yet.
    fn translated(&mut self, piece: Piece) -> Piece {
        match (&mut self.translator, piece) {
            (None, piece) => piece,
            (Some(translator), Piece::Pass(bytes)) => Piece::Pass(translator.frames(&bytes)),
            (Some(translator), Piece::End(bytes)) => Piece::End(translator.frames(&bytes)),
        }
    }

    /// More came than one attempt can be charged: no token has as many bytes as this allows for each.
    fn past_ceiling(&self) -> bool {
        const BYTES_A_TOKEN_MAX: u64 = 128;
        self.plan.ceiling.tokens > 0 && self.reader.output_bytes() / BYTES_A_TOKEN_MAX > self.plan.output_tokens
    }

    /// Sends what waits, with the head before it if that is not out yet. Some: the caller does not read.
    async fn flush(&mut self) -> Option<Break> {
        if self.early.is_empty() {
            return None;
        }
        let early = std::mem::take(&mut self.early);
        self.sent_events += early.len() as u64;
        self.last_sent = Instant::now();
        match &self.out {
            None => {
                let head = self.head.take();
                self.out = open(self.way, self.plan, head, early).await;
                self.gone = self.out.is_none();
            }
            Some(out) => {
                for piece in early {
                    match give(self.way, out, piece).await {
                        Given::Taken => {}
                        Given::Gone => {
                            self.gone = true;
                            break;
                        }
                        Given::Stuck(stop) => return Some(stop),
                    }
                }
            }
        }
        None
    }

    /// A comment in our own gaps, so that no proxy on the way closes a silent stream.
    async fn keep_alive(&mut self) -> Option<Break> {
        if self.last_sent.elapsed() < limits::KEEP_ALIVE_EVERY || self.gone {
            return None;
        }
        self.early.push(Bytes::from_static(keep_alive(self.way.request().endpoint)));
        self.flush().await
    }

    fn caller_left(&self) -> bool {
        self.gone || self.way.caller_left() || self.out.as_ref().is_some_and(mpsc::Sender::is_closed)
    }
}

/// The provider's own error, read whole and bounded; it passes unchanged after the last try.
pub(crate) async fn error_answer(way: &Way, answer: WireAnswer, wait: Option<Duration>, candidate: &Candidate) -> Answered {
    let provider = &candidate.provider.name;
    const ERROR_BYTES_MAX: usize = 1 << 20;
    let WireAnswer { status, headers, mut body } = answer;
    let mut pieces = Vec::new();
    let mut size = 0;
    let read = async {
        while let Some(Ok(piece)) = poll_fn(|context| body.poll_next(context)).await {
            size += piece.len();
            if size > ERROR_BYTES_MAX {
                return false;
            }
            pieces.push(piece);
        }
        true
    };
    if !matches!(tokio::time::timeout_at(way.deadline.into(), read).await, Ok(true)) {
        return Answered::Fault(Fault::upstream(
            StatusCode::BAD_GATEWAY,
            "upstream_broke_off",
            format!("the error answer of {provider} could not be read"),
        ));
    }
    let mut passed = attempt::downwards(&headers);
    if let Some(seconds) = wait.map(|wait| wait.as_secs().clamp(1, 60)) {
        passed.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    put(&mut passed, "x-tollgate-provider", provider);
    if let Some(id) = attempt::upstream_id(&headers) {
        put(&mut passed, "x-tollgate-upstream-id", &id);
    }
    let (caller, from) = (way.request().endpoint, attempt::endpoint(way.request(), candidate));
    if caller == from {
        return Answered::Whole { status, headers: passed, body: join(pieces) };
    }
    passed.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match translate_error(caller, from, status.as_u16(), &join(pieces), &way.incoming.id.to_string()) {
        Some(body) => Answered::Whole { status, headers: passed, body },
        None => Answered::Fault(Fault::upstream(status, "upstream_error", format!("the provider {provider} refused the request"))),
    }
}

fn answer_headers(headers: &mut HeaderMap, reached: &Reached) {
    put(headers, "x-tollgate-provider", &reached.candidate.provider.name);
    if let Some(id) = &reached.upstream_id {
        put(headers, "x-tollgate-upstream-id", id);
    }
}

/// What we say of a call on every answer.
pub(crate) fn own_headers(way: &Way, plan: Option<&Plan>, headers: &mut HeaderMap) {
    let call = way.incoming.id.to_string();
    put(headers, "x-request-id", &call);
    if way.request().endpoint.dialect() == Dialect::Anthropic {
        put(headers, "request-id", &call);
    }
    put(headers, "x-tollgate-model", &way.request().model);
    headers.insert("x-tollgate-attempts", HeaderValue::from(way.tried));
    if let (Some(candidate), false) = (way.tally.candidates.last(), headers.contains_key("x-tollgate-provider")) {
        put(headers, "x-tollgate-provider", &candidate.provider.name);
        if let Some(id) = way.tally.attempts.last().and_then(|attempt| attempt.upstream_id.as_deref()) {
            put(headers, "x-tollgate-upstream-id", id);
        }
    }
    headers.insert("x-tollgate-overhead-us", HeaderValue::from(way.overhead().as_micros() as u64));
    put(headers, "x-tollgate-policy", &events::Position::new(way.incoming.policy.view.position).to_string());
    if let Some((_, tokens)) = plan.and_then(|plan| plan.output_limit) {
        headers.insert("x-tollgate-max-output-tokens", HeaderValue::from(tokens));
    }
    if let Some(lost) = way.lost.reported(&way.incoming.losses) {
        put(headers, "x-tollgate-lost", &lost);
    }
    rate_headers(way, headers);
}

fn rate_headers(way: &Way, headers: &mut HeaderMap) {
    let names = [
        (way.left.requests, ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]),
        (way.left.tokens, ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]),
    ];
    for (left, [limit, remaining, reset]) in names {
        if let Some((allowed, rest, seconds)) = left {
            headers.insert(limit, HeaderValue::from(allowed));
            headers.insert(remaining, HeaderValue::from(rest));
            put(headers, reset, &format!("{seconds}s"));
        }
    }
}
