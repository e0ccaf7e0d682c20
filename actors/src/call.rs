//! The life of one call, from start to end: the straight way (DESIGN §4). It runs in a task of its own, which outlives the client's
//! connection.

use crate::{
    attempt::{self, Failure, Meaning, Outgoing},
    bodies::Taken,
    charge::{self, Bill, Tally},
    fault::{Fault, Side},
    gate::Denial,
    plan::{self, Ask, Plan},
    policy::Policy,
    ports::{WireAnswer, WireFault},
    rates::{Left, Pace},
    relay,
    report::{self, Ended, Said},
    root::Reactor,
    router,
    scribe::{self, Answer, Submission},
    trace::Span,
    translation::{self, Lost, Translations},
    upstream::{self, Busy},
};
use bytes::Bytes;
use cluster_config::{Candidate, Principal};
use dialects::{Request, exchange::loss::LossRules, tokens};
use events::{
    CallId, Figures,
    call::{Admitted, AttemptEnd, Caller, Event, Extended, Outcome, Translated, Unsent},
    limits,
    provider::OnClientGone,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// A call as ingress hands it over: its key is known, its request read.
pub struct Incoming {
    pub id: CallId,
    pub principal: Arc<Principal>,
    pub policy: Arc<Policy>,
    pub request: Arc<Request>,
    pub body: Bytes,
    /// The caller's headers; only those on the list go upstream.
    pub headers: HeaderMap,
    pub tags: Arc<Vec<String>>,
    /// For whom it is made, and the caller's own ids of it.
    pub caller: Caller,
    /// The caller's own deadline.
    pub timeout: Option<Duration>,
    /// What is said about losses in translation: by policy, and by the caller.
    pub losses: LossRules,
    pub started: Instant,
    /// Its place in a trace, if spans are made.
    pub span: Option<Span>,
    /// Bounded a node; given back when the record is durable and the answer is handed over.
    pub place: Arc<OwnedSemaphorePermit>,
}

/// What the caller gets.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: ReplyBody,
}

pub enum ReplyBody {
    Whole(Bytes),
    /// Pieces as they come; the end is held back until the record is durable.
    Stream(mpsc::Receiver<Bytes>),
}

/// What is held, until there is a record: what a task that ends without one leaves behind.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<(Ask, Plan, Tally)>>);

/// Starts a call; the reply comes through the channel, also if the caller has left (then it goes nowhere).
pub fn start(reactor: Arc<Reactor>, incoming: Incoming) -> oneshot::Receiver<Reply> {
    let (reply, answer) = oneshot::channel();
    // In a box of its own: spawning moves what it is given several times.
    tokio::spawn(Box::pin(async move {
        let slot = Arc::new(Slot::default());
        let mut way = Way::new(reactor.clone(), incoming, slot.clone(), reply);
        way.reactor.handles.in_flight.increment(1.0);
        if AssertUnwindSafe(way.go()).catch_unwind().await.is_err() {
            tracing::error!(call = %way.incoming.id, "a call's task ended in a panic; it is recorded as aborted");
            way.say(&Fault::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                dialects::ErrorKind::Api,
                "internal_error",
                Side::Gateway,
                "the gateway failed in this call",
            ));
        }
        let left = slot.0.lock().take();
        if let Some((ask, plan, tally)) = left {
            way.abort(&ask, &plan, tally).await;
        }
        report::tell(&mut way);
        reactor.handles.in_flight.decrement(1.0);
    }));
    answer
}

/// One call on its way.
pub(crate) struct Way {
    pub reactor: Arc<Reactor>,
    pub incoming: Incoming,
    pub reply: Option<oneshot::Sender<Reply>>,
    pub left: Left,
    pub tally: Tally,
    /// When the whole call must be over.
    pub deadline: Instant,
    /// Time spent waiting for providers, or for a caller that reads slowly: not ours.
    pub upstream_time: Duration,
    /// Attempts begun.
    pub tried: usize,
    /// What its report will say.
    pub ended: Ended,
    /// What the provider of the answer was not told, or the caller is not.
    pub lost: Lost,
    /// What the request log is given of it, if anything.
    pub taken: Option<Box<Taken>>,
    slot: Arc<Slot>,
    /// Which try is next: candidates in order, the last one again.
    turn: usize,
    /// What the last attempt said.
    end: Option<End>,
}

/// An answer that has begun.
pub(crate) struct Reached {
    pub candidate: Candidate,
    pub answer: WireAnswer,
    pub upstream: ractor::ActorRef<upstream::Message>,
    pub started: Instant,
    pub first_byte: Duration,
    pub upstream_id: Option<String>,
}

/// The default of the whole call's deadline, where no candidate is known yet.
const TOTAL: Duration = Duration::from_secs(600);
/// Waits between tries, doubled each time.
const BACKOFF: Duration = Duration::from_millis(200);
/// A provider that asks for a longer wait is not waited for.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Tries at the last candidate; those before it have one each.
const TRIES_LAST: usize = 2;

impl Way {
    fn new(reactor: Arc<Reactor>, incoming: Incoming, slot: Arc<Slot>, reply: oneshot::Sender<Reply>) -> Way {
        let deadline = incoming.started + incoming.timeout.unwrap_or(TOTAL);
        let taken = Taken::begin(&incoming);
        Way {
            reactor,
            incoming,
            reply: Some(reply),
            left: Left::default(),
            tally: Tally::default(),
            deadline,
            upstream_time: Duration::ZERO,
            tried: 0,
            ended: Ended::default(),
            lost: Lost::default(),
            taken,
            slot,
            turn: 0,
            end: None,
        }
    }

    /// The straight way. What goes wrong before the answer has begun is said here, once.
    async fn go(&mut self) {
        let (ask, plan) = match self.plan_and_admit().await {
            Ok(admitted) => admitted,
            Err(fault) => return self.say(&fault),
        };
        if plan.candidates.first().is_some_and(|first| translation::is_counted_here(self.request(), first)) {
            return self.count_here(&ask, &plan).await;
        }
        if self.caller_left() {
            // nothing was sent, and nobody waits
            self.append_record(Event::Released { key: ask.principal.key, reason: Unsent::CallerGone }).await;
            return;
        }
        let total = plan.candidates.first().map_or(TOTAL, |first| Duration::from_millis(first.provider.settings.timeouts.total_ms));
        self.deadline = self.deadline.min(self.incoming.started + total);
        loop {
            match self.attempts(&ask, &plan).await {
                // What broke off before a caller saw anything of it may go better elsewhere.
                Ok(reached) => match relay::deliver(self, &ask, &plan, reached).await {
                    Some(end) => self.end = Some(end),
                    None => return,
                },
                Err(end) => return self.fail(&ask, &plan, end).await,
            }
        }
    }

    async fn plan_and_admit(&mut self) -> Result<(Ask, Plan), Fault> {
        let Incoming { principal, policy, request, body, tags, .. } = &self.incoming;
        let mut ask = Ask {
            principal: principal.clone(),
            policy: policy.clone(),
            request: request.clone(),
            body_bytes: body.len(),
            tags: tags.clone(),
            counted: None,
            translations: None,
        };
        let mut replanned = false;
        loop {
            let plan = self.plan(&ask).await?;
            if plan.lacks_translations(&ask) {
                ask.translations = Some(Arc::new(self.translate(&plan).await?));
                continue;
            }
            match self.admit(&ask, &plan).await? {
                Answer::Taken(left) => {
                    self.left = left;
                    self.tally.held = plan.ceiling.cost;
                    self.tally.budgets = plan.budget_ids();
                    self.keep(&ask, &plan);
                    return Ok((ask, plan));
                }
                Answer::Denied(Denial::Stale) if !replanned => {
                    replanned = true;
                    self.renew(&mut ask)?;
                }
                Answer::Denied(Denial::Budget(denial)) if ask.counted.is_none() => match self.count(&plan).await {
                    Some(tokens) if tokens < plan.input_tokens => ask.counted = Some(tokens),
                    _ => return Err(Fault::denied(&Denial::Budget(denial), &plan.path)),
                },
                Answer::Denied(denial) => return Err(Fault::denied(&denial, &plan.path)),
                Answer::Fenced | Answer::NotOpen | Answer::Duplicate => {
                    return Err(Fault::gateway_busy("this node has just opened a new session; try again"));
                }
            }
        }
    }

    /// The policy has changed: the key and the plan are looked up anew.
    fn renew(&mut self, ask: &mut Ask) -> Result<(), Fault> {
        let policy = self.reactor.core.policy.load_full();
        let principal = policy.view.key_by_id(ask.principal.key).cloned();
        ask.principal = principal.ok_or_else(|| Fault::gateway_busy("the key has just changed"))?;
        ask.policy = policy;
        ask.translations = None; // there may be other candidates
        self.incoming.policy = ask.policy.clone();
        self.incoming.principal = ask.principal.clone();
        Ok(())
    }

    async fn plan(&self, ask: &Ask) -> Result<Plan, Fault> {
        let stopping = || Fault::gateway_busy("this node is stopping");
        let router = self.reactor.router(ask.principal.tenant).await.ok_or_else(stopping)?;
        let (reply, answer) = oneshot::channel();
        router.cast(router::Message::Plan { ask: ask.clone(), reply }).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// The bodies for candidates of other dialects; large ones off the runtime.
    async fn translate(&self, plan: &Plan) -> Result<Translations, Fault> {
        let Incoming { request, body, losses, .. } = &self.incoming;
        if body.len() <= limits::TRANSLATE_INLINE_BYTES_MAX {
            return Translations::make(request, body, &plan.candidates, losses).map_err(|invalid| Fault::invalid(&invalid));
        }
        let (request, body, losses, candidates) = (request.clone(), body.clone(), losses.clone(), plan.candidates.clone());
        let made = tokio::task::spawn_blocking(move || Translations::make(&request, &body, &candidates, &losses)).await;
        made.map_err(|_| Fault::gateway_busy("this node is stopping"))?.map_err(|invalid| Fault::invalid(&invalid))
    }

    /// The exact input, off the runtime, where the vocabulary is public and the bound by bytes was refused.
    async fn count(&self, plan: &Plan) -> Option<u64> {
        let vocabularies: Option<Vec<_>> = plan.candidates.iter().map(|candidate| tokens::vocabulary(&candidate.model)).collect();
        let vocabularies = vocabularies?;
        let (request, body) = (self.incoming.request.clone(), self.incoming.body.clone());
        let counted = tokio::task::spawn_blocking(move || {
            vocabularies
                .into_iter()
                .map(|vocabulary| tokens::input_tokens(vocabulary, &request, &body))
                .try_fold(0u64, |most, count| Some(most.max(count?)))
        });
        counted.await.ok().flatten()
    }

    /// Counts the tokens of a request for a provider that has no endpoint for that: exactly where the vocabulary is public, else by estimate.
    async fn count_here(&mut self, ask: &Ask, plan: &Plan) {
        let exact = self.count(plan).await;
        let tokens = exact.unwrap_or_else(|| tokens::estimate(self.incoming.body.len() as u64));
        if !self.record(ask, plan, Outcome::Ok, None).await {
            return self.say(&Fault::record_pending(&self.incoming.id.to_string()));
        }
        let mut headers = HeaderMap::with_capacity(8);
        put(&mut headers, "content-type", "application/json");
        let body = Bytes::from(format!("{{\"input_tokens\":{tokens}}}"));
        self.send(plan, StatusCode::OK, headers, ReplyBody::Whole(body));
    }

    async fn admit(&self, ask: &Ask, plan: &Plan) -> Result<Answer, Fault> {
        let session = self.reactor.core.session();
        let request = &ask.request;
        let budgets = plan.budget_ids();
        let admitted = Admitted {
            node: session.node,
            boot: session.boot,
            key: ask.principal.key,
            policy: plan.policy.view.position,
            ceiling: plan.ceiling,
            budgets: budgets.clone(),
            claim: None,
            model: request.model.clone(),
            endpoint: request.endpoint.as_str().into(),
            stream: request.stream,
            tags: ask.tags.to_vec(),
            caller: self.incoming.caller.clone(),
        };
        let estimate = tokens::estimate(self.incoming.body.len() as u64).saturating_add(request.output_limit.unwrap_or(0));
        let pace =
            Pace { call: self.incoming.id, principal: ask.principal.clone(), estimate, budgets: budgets.into(), ceiling: plan.ceiling };
        let answer = self.submit(scribe::admission(self.incoming.id, admitted), Some(pace));
        let late = || Fault::gateway_busy("the log did not answer in time; nothing was sent and nothing is charged");
        match tokio::time::timeout(limits::ADMIT_WAIT, answer).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) | Err(_) => Err(late()),
        }
    }

    async fn submit(&self, transaction: events::transaction::Transaction, pace: Option<Pace>) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.reactor.scribe.cast(scribe::Message::Submit(Submission { transaction, call: self.incoming.id, pace, reply })).ok()?;
        answer.await.ok()
    }

    /// Candidates in order, the last one twice, until one answers. Goes on where it was left.
    async fn attempts(&mut self, ask: &Ask, plan: &Plan) -> Result<Reached, End> {
        let mut end = self.end.take().unwrap_or_else(|| End::Unsent(Fault::gateway_busy("no provider can take this call now")));
        let last = plan.candidates.len().saturating_sub(1);
        while let Some(candidate) = plan.candidates.get(self.turn.min(last)).filter(|_| self.turn < last + TRIES_LAST) {
            let retries = self.turn.saturating_sub(last) as u32;
            self.turn += 1;
            if self.tally.attempts.len() as u32 >= limits::ATTEMPTS_MAX
                || Instant::now() >= self.deadline
                || !self.extend(ask, plan, candidate).await
            {
                return Err(end);
            }
            let wait = match self.attempt(ask, plan, candidate).await {
                Ok(reached) => return Ok(reached),
                Err(Tried::Over(over)) => return Err(over),
                Err(Tried::Busy(busy)) => {
                    end = end.or(busy);
                    Duration::MAX
                }
                Err(Tried::Again(fault, wait)) => {
                    end = fault;
                    wait.unwrap_or(BACKOFF * 2u32.pow(retries))
                }
            };
            if self.turn > last && (wait > RETRY_WAIT_MAX || Instant::now() + wait >= self.deadline || self.turn >= last + TRIES_LAST) {
                return Err(end);
            }
            if self.turn > last {
                tokio::time::sleep(wait).await;
                self.upstream_time += wait;
            }
        }
        Err(end)
    }

    /// A further attempt first commits what is not covered yet. False: it was refused.
    async fn extend(&mut self, ask: &Ask, plan: &Plan, candidate: &Candidate) -> bool {
        if self.tally.attempts.is_empty() && plan.candidates.first().is_some_and(|first| first.provider.id == candidate.provider.id) {
            return true;
        }
        let again = self.tally.may_have_cost();
        let adds = plan::extension(plan, ask, &self.tally.budgets, candidate, again);
        let cost = if again { plan.ceiling.cost } else { Default::default() };
        if adds.is_empty() && !again {
            return true;
        }
        let ceiling = Figures { cost, tokens: if again { plan.ceiling.tokens } else { 0 }, requests: 0 };
        let extended = Extended {
            attempt: self.tally.attempts.len() as u32 + 1,
            adds: adds.iter().map(|(budget, amount)| (budget.id, *amount)).collect(),
            ceiling,
        };
        let taken = self.submit(scribe::extension(self.incoming.id, extended, ask.principal.key), None).await;
        if !matches!(taken, Some(Answer::Taken(_))) {
            return false;
        }
        self.tally.held += cost;
        for (budget, _) in adds {
            if !self.tally.budgets.contains(&budget.id) {
                self.tally.budgets.push(budget.id);
            }
        }
        self.keep(ask, plan);
        true
    }

    async fn attempt(&mut self, ask: &Ask, plan: &Plan, candidate: &Candidate) -> Result<Reached, Tried> {
        let provider = &candidate.provider;
        let stopping = || Tried::Over(End::Unsent(Fault::gateway_busy("this node is stopping")));
        let upstream = self.reactor.upstream(provider).await.ok_or_else(stopping)?;
        let (reply, permit) = oneshot::channel();
        upstream.cast(upstream::Message::Permit { parallel_max: provider.settings.max_parallel, reply }).map_err(|_| stopping())?;
        if let Err(busy) = permit.await.map_err(|_| stopping())? {
            return Err(Tried::Busy(busy_fault(busy, &provider.name)));
        }
        let Incoming { id, request, body, headers, span, .. } = &self.incoming;
        let (span, output_limit) = (span.as_ref(), plan.output_limit);
        let translated = ask.translations.as_ref().and_then(|translations| translations.get(candidate)).map(Arc::as_ref);
        let out = Outgoing { call: *id, policy: &plan.policy, request, body, headers, span, candidate, output_limit, translated };
        let started = Instant::now();
        self.tried += 1;
        let sent = tokio::select! {
            biased;
            sent = tokio::time::timeout_at(self.deadline.into(), self.reactor.wire.send(attempt::request(&out))) => sent,
            () = self.caller_cancelled(candidate) => return Err(self.cut(plan, candidate, &upstream, started, AttemptEnd::Cancelled)),
            () = self.reactor.core.cut() => return Err(self.cut(plan, candidate, &upstream, started, AttemptEnd::Cancelled)),
        };
        let first_byte = started.elapsed();
        self.upstream_time += first_byte;
        let failure = match sent {
            Ok(Ok(answer)) => match attempt::meaning(answer.status) {
                Meaning::Good => {
                    let upstream_id = attempt::upstream_id(&answer.headers);
                    return Ok(Reached { candidate: candidate.clone(), answer, upstream, started, first_byte, upstream_id });
                }
                meaning => Failure::Status { answer, meaning },
            },
            Ok(Err(fault)) => Failure::Wire(fault),
            Err(_) => Failure::Wire(WireFault {
                stage: crate::ports::Stage::FirstByte,
                sent: crate::ports::Sent::Maybe,
                message: "the whole call's deadline has passed".into(),
            }),
        };
        Err(self.failed(plan, candidate, failure, &upstream, first_byte).await)
    }

    /// Waits until the caller has left, where the policy is to cancel.
    async fn caller_cancelled(&self, candidate: &Candidate) {
        let policy = candidate.provider.settings.on_client_gone;
        if !policy.map_or(self.request().stream, |policy| policy == OnClientGone::Cancel) {
            return std::future::pending().await;
        }
        // `closed` needs the sender whole, which `send` takes later: a look now and then is enough before the first byte.
        while !self.caller_left() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// An attempt that was given up before it gave an answer: it may have cost up to its ceiling.
    fn cut(
        &mut self,
        plan: &Plan,
        candidate: &Candidate,
        upstream: &ractor::ActorRef<upstream::Message>,
        started: Instant,
        end: AttemptEnd,
    ) -> Tried {
        let _ = upstream.cast(upstream::Message::Outcome(upstream::Outcome::Neutral)); // it ended with its reactor
        let bill = charge::at_ceiling(plan, &self.incoming.request, candidate);
        let took = millis(started.elapsed());
        self.upstream_time += started.elapsed();
        self.tally.add(candidate, end, &bill, took, took, None);
        Tried::Over(End::Failed(Answered::Fault(Fault::gateway_busy("the call was given up before its provider answered"))))
    }

    /// Notes a failed attempt: what it may have cost, and what follows.
    async fn failed(
        &mut self,
        plan: &Plan,
        candidate: &Candidate,
        failure: Failure,
        upstream: &ractor::ActorRef<upstream::Message>,
        took: Duration,
    ) -> Tried {
        let took_ms = millis(took);
        match failure {
            Failure::Wire(fault) => {
                let _ = upstream.cast(upstream::Message::Outcome(upstream::Outcome::Failed)); // it ended with its reactor
                tracing::warn!(call = %self.incoming.id, provider = candidate.provider.name, stage = ?fault.stage, error = fault.message, "an attempt failed");
                let (end, bill) = match (attempt::may_have_cost(&fault), attempt::timed_out(&fault)) {
                    (false, _) => (AttemptEnd::NotSent, Bill::default()),
                    (true, true) => (AttemptEnd::TimedOut, charge::at_ceiling(plan, &self.incoming.request, candidate)),
                    (true, false) => (AttemptEnd::Broken, charge::at_ceiling(plan, &self.incoming.request, candidate)),
                };
                self.tally.add(candidate, end, &bill, took_ms, took_ms, None);
                Tried::Again(End::Failed(Answered::Fault(wire_fault(&fault, &candidate.provider.name))), None)
            }
            Failure::Status { answer, meaning } => {
                let (status, wait) = (answer.status, attempt::retry_after(&answer.headers));
                let outcome = match (status.as_u16(), wait) {
                    (429, Some(wait)) => upstream::Outcome::Cooldown(wait),
                    (429 | 408 | 409 | 425, _) => upstream::Outcome::Neutral,
                    (500.., _) => upstream::Outcome::Failed,
                    _ => upstream::Outcome::Answered(took),
                };
                let _ = upstream.cast(upstream::Message::Outcome(outcome)); // it ended with its reactor
                let upstream_id = attempt::upstream_id(&answer.headers);
                self.tally.add(candidate, AttemptEnd::Status(status.as_u16()), &Bill::default(), took_ms, took_ms, upstream_id);
                match meaning {
                    Meaning::Auth => {
                        tracing::error!(
                            provider = candidate.provider.name,
                            status = status.as_u16(),
                            "the provider does not take our secret"
                        );
                        let message = format!(
                            "the provider {} did not take the gateway's credentials; this is not the caller's fault",
                            candidate.provider.name
                        );
                        Tried::Again(
                            End::Failed(Answered::Fault(Fault::upstream(StatusCode::BAD_GATEWAY, "upstream_auth", message))),
                            Some(Duration::MAX),
                        )
                    }
                    Meaning::Retry => Tried::Again(End::Failed(relay::error_answer(self, answer, wait, candidate).await), wait),
                    _ => Tried::Over(End::Failed(relay::error_answer(self, answer, wait, candidate).await)),
                }
            }
        }
    }

    /// No attempt gave an answer: the record first, then the last fault.
    async fn fail(&mut self, ask: &Ask, plan: &Plan, end: End) {
        let nothing_sent = self.tally.attempts.iter().all(|attempt| attempt.end == AttemptEnd::NotSent);
        let recorded = if nothing_sent {
            self.append_record(Event::Released { key: ask.principal.key, reason: Unsent::Unreachable }).await
        } else {
            let given_up = self.tally.attempts.last().is_some_and(|attempt| attempt.end == AttemptEnd::Cancelled);
            let outcome = if given_up { Outcome::Aborted } else { Outcome::Failed };
            self.record(ask, plan, outcome, None).await
        };
        match (recorded, end) {
            (false, _) => self.say(&Fault::record_pending(&self.incoming.id.to_string())),
            (true, End::Unsent(fault) | End::Failed(Answered::Fault(fault))) => self.say(&fault),
            (true, End::Failed(Answered::Whole { status, headers, body })) => self.send(plan, status, headers, ReplyBody::Whole(body)),
        }
    }

    /// Appends the record and waits for it. False: it is not durable yet.
    pub(crate) async fn record(&mut self, ask: &Ask, plan: &Plan, outcome: Outcome, used: Option<&Bill>) -> bool {
        let finished = charge::finished(ask, plan, &self.tally, outcome, used, millis(self.incoming.started.elapsed()));
        self.ended.finished(&finished);
        let translated = self.lost.recorded(self.incoming.principal.key);
        self.append(translated, Event::Finished(Box::new(finished))).await
    }

    async fn append_record(&mut self, event: Event) -> bool {
        self.append(None, event).await
    }

    async fn append(&mut self, translated: Option<Translated>, event: Event) -> bool {
        let key = self.incoming.principal.key;
        self.slot.0.lock().take();
        if matches!(event, Event::Released { .. }) {
            self.ended.released();
        }
        let appended = self.submit(scribe::record_with(self.incoming.id, translated, event, key), None);
        let appended = tokio::time::timeout(limits::RECORD_WAIT, appended).await;
        self.ended.recorded(self.overhead());
        match appended {
            Ok(Some(Answer::Taken(_))) => true,
            Ok(Some(_)) => {
                self.reactor.handles.duplicate.increment(1);
                true // another record is in force
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// A task that ended without a record: charged like an attempt that broke off.
    async fn abort(&mut self, ask: &Ask, plan: &Plan, tally: Tally) {
        self.tally = tally;
        if let Some(candidate) = plan.candidates.first() {
            let bill = charge::at_ceiling(plan, &ask.request, candidate);
            self.tally.add(candidate, AttemptEnd::Broken, &bill, 0, 0, None);
        }
        self.record(ask, plan, Outcome::Aborted, None).await;
    }

    fn keep(&self, ask: &Ask, plan: &Plan) {
        *self.slot.0.lock() = Some((ask.clone(), plan.clone(), self.tally.clone()));
    }

    /// Our own share of the time so far.
    pub(crate) fn overhead(&self) -> Duration {
        self.incoming.started.elapsed().saturating_sub(self.upstream_time)
    }

    /// Answers with an error, if nothing was answered yet.
    pub(crate) fn say(&mut self, fault: &Fault) {
        self.ended.fault(fault);
        let Some(reply) = self.reply.take() else { return };
        let mut headers = HeaderMap::with_capacity(8);
        fault.headers(&mut headers);
        relay::own_headers(self, None, &mut headers);
        let body = fault.body(self.incoming.request.endpoint.dialect(), &self.incoming.id.to_string());
        if let Some(taken) = &mut self.taken {
            taken.head(&headers);
            taken.whole(&body);
        }
        let _ = reply.send(Reply { status: fault.status, headers, body: ReplyBody::Whole(body) }); // the caller has left
    }

    pub(crate) fn send(&mut self, plan: &Plan, status: StatusCode, mut headers: HeaderMap, body: ReplyBody) {
        let Some(reply) = self.reply.take() else { return };
        self.ended.answered(status);
        relay::own_headers(self, Some(plan), &mut headers);
        if let Some(taken) = &mut self.taken {
            taken.head(&headers);
            if let ReplyBody::Whole(body) = &body {
                taken.whole(body);
            }
        }
        let _ = reply.send(Reply { status, headers, body }); // the caller has left
    }

    pub(crate) fn caller_left(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// What the answer says of itself, for a span that somebody will look at.
    pub(crate) fn heard(&mut self, id: Option<&str>, model: Option<&str>, finish: Option<&str>) {
        if self.incoming.span.as_ref().is_some_and(Span::sampled) {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            self.ended.said = Some(Said { id: owned(id), model: owned(model), finish: owned(finish) });
        }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.incoming.request
    }
}

/// How a call without an answer ends.
pub(crate) enum End {
    /// Nothing was sent.
    Unsent(Fault),
    Failed(Answered),
}

impl End {
    /// What an attempt said is worth more than that nobody could be asked.
    fn or(self, busy: Fault) -> End {
        match self {
            End::Unsent(_) => End::Unsent(busy),
            failed => failed,
        }
    }
}

/// What the last attempt said.
pub(crate) enum Answered {
    Fault(Fault),
    /// The provider's own error, which passes unchanged.
    Whole {
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
    },
}

/// What follows on an attempt that gave no answer.
enum Tried {
    /// Another try may help, after so long.
    Again(End, Option<Duration>),
    Busy(Fault),
    Over(End),
}

fn busy_fault(busy: Busy, provider: &str) -> Fault {
    match busy {
        Busy::Open(wait) => {
            let fault = Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                dialects::ErrorKind::Overloaded,
                "upstream_unavailable",
                Side::Upstream,
                format!("the provider {provider} is failing; it is left alone for now"),
            );
            fault.after(wait.as_secs() + 1)
        }
        Busy::Full => {
            let fault = Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                dialects::ErrorKind::Overloaded,
                "upstream_busy",
                Side::Upstream,
                format!("the provider {provider} has as many calls as it may have"),
            );
            fault.after(1)
        }
    }
}

fn wire_fault(fault: &WireFault, provider: &str) -> Fault {
    use crate::ports::Stage;
    let (status, code) = match fault.stage {
        Stage::FirstByte | Stage::Silence => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
        Stage::Connect | Stage::Tls => (StatusCode::BAD_GATEWAY, "upstream_unreachable"),
        Stage::Refused => (StatusCode::BAD_GATEWAY, "upstream_url_refused"),
        Stage::Write | Stage::Closed | Stage::Body | Stage::Protocol => (StatusCode::BAD_GATEWAY, "upstream_broke_off"),
    };
    Fault::upstream(status, code, format!("the provider {provider} could not be asked: {}", stage_words(fault.stage)))
}

fn stage_words(stage: crate::ports::Stage) -> &'static str {
    use crate::ports::Stage;
    match stage {
        Stage::Connect => "no connection",
        Stage::Tls => "no TLS session",
        Stage::Write => "the request could not be written",
        Stage::FirstByte => "no answer in time",
        Stage::Closed => "it closed the connection without an answer",
        Stage::Silence => "it fell silent",
        Stage::Body => "the answer broke off",
        Stage::Protocol => "what came was no HTTP answer",
        Stage::Refused => "its address is not allowed",
    }
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A header of ours; what cannot be one is left out.
pub(crate) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}
