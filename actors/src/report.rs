//! What is said of a call at its end, once: to the figures, and through the port `Telemetry` to lines and spans.

use crate::{
    bodies::{self, Kept},
    call::Way,
    fault::Fault,
    ports::{Bodies, Later, Telemetry},
    root::Reactor,
    trace::{Sampler, Span},
    translation::Lost,
};
use cluster_config::{Candidate, Principal};
use dialects::{Endpoint, Request};
use events::{
    CallId, Money, TenantId, Timestamp, Usage,
    call::{Attempt, Finished, Outcome},
};
use http::{HeaderMap, StatusCode};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How a call ended, for those who watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    Ok,
    Failed,
    Aborted,
    /// Surely never sent.
    Released,
    /// Never admitted.
    #[default]
    Refused,
}

impl Ending {
    pub const ALL: [Ending; 5] = [Ending::Ok, Ending::Failed, Ending::Aborted, Ending::Released, Ending::Refused];

    /// A stable name, for lines and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::Ok => "ok",
            Ending::Failed => "failed",
            Ending::Aborted => "aborted",
            Ending::Released => "released",
            Ending::Refused => "refused",
        }
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Ending {
        match outcome {
            Outcome::Ok => Ending::Ok,
            Outcome::Failed => Ending::Failed,
            Outcome::Aborted => Ending::Aborted,
        }
    }
}

/// A call that has ended. Borrowed throughout: who does not look at it does not pay for it.
pub struct Report<'a> {
    pub call: CallId,
    pub span: Option<&'a Span>,
    pub endpoint: Endpoint,
    /// None: the key is not known.
    pub principal: Option<&'a Principal>,
    /// None: the request could not be read.
    pub request: Option<&'a Request>,
    /// Who was asked last.
    pub candidate: Option<&'a Candidate>,
    pub attempts: &'a [Attempt],
    pub ending: Ending,
    pub status: StatusCode,
    /// Our word for what went wrong.
    pub code: Option<&'static str>,
    pub figures: Figures,
    /// None: not asked for, for there is no span.
    pub said: Option<&'a Said>,
    pub ended_at: Timestamp,
    pub took: Duration,
    /// From the call's start until its caller had something of a stream.
    pub first_token: Option<Duration>,
    /// Our own share of the time.
    pub overhead: Duration,
    /// What was lost between two dialects.
    pub lost: Option<&'a Lost>,
}

/// What the record has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub usage: Usage,
    /// Of all attempts.
    pub cost: Money,
    pub estimated: bool,
    pub overrun: bool,
}

/// What the answer says of itself.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub id: Option<String>,
    pub model: Option<String>,
    pub finish: Option<String>,
}

/// What a call gathers for its report on its way.
#[derive(Default)]
pub(crate) struct Ended {
    ending: Ending,
    status: Option<StatusCode>,
    code: Option<&'static str>,
    figures: Figures,
    first_token: Option<Duration>,
    overhead: Option<Duration>,
    pub said: Option<Said>,
}

impl Ended {
    pub fn finished(&mut self, finished: &Finished) {
        self.ending = finished.outcome.into();
        self.figures = Figures {
            usage: finished.usage,
            cost: finished.used.cost,
            estimated: finished.estimated,
            overrun: finished.overrun > Money::ZERO,
        };
    }

    pub fn released(&mut self) {
        self.ending = Ending::Released;
    }

    /// The record is durable, or given up: what follows is the caller's time.
    pub fn recorded(&mut self, overhead: Duration) {
        self.overhead = Some(overhead);
    }

    /// The head of the answer is out.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        if !status.is_success() && self.code.is_none() {
            self.code = Some(UPSTREAM_ERROR);
        }
    }

    /// An error of ours, as the answer or inside of it.
    pub fn fault(&mut self, fault: &Fault) {
        self.status.get_or_insert(fault.status);
        self.code = Some(fault.code);
    }

    /// The provider's own error stands in its stream.
    pub fn failed_inside(&mut self) {
        self.code = Some(UPSTREAM_ERROR);
    }

    /// Something that a caller sees goes out; the first time counts.
    pub fn first_token(&mut self, started: Instant) {
        self.first_token.get_or_insert_with(|| started.elapsed());
    }
}

/// The provider's own error, which passed unchanged.
const UPSTREAM_ERROR: &str = "upstream_error";
/// The status of a call whose caller left before any was said.
const CALLER_LEFT: u16 = 499;

/// The report of a call that had a task.
pub(crate) fn tell(way: &mut Way) {
    let ended = &way.ended;
    let caller_left = || StatusCode::from_u16(CALLER_LEFT).unwrap_or(StatusCode::REQUEST_TIMEOUT);
    let report = Report {
        call: way.incoming.id,
        span: way.incoming.span.as_ref(),
        endpoint: way.request().endpoint,
        principal: Some(&way.incoming.principal),
        request: Some(way.request()),
        candidate: way.tally.candidates.last(),
        attempts: &way.tally.attempts,
        ending: ended.ending,
        status: ended.status.unwrap_or_else(caller_left),
        code: ended.code.or((ended.ending == Ending::Failed).then_some(UPSTREAM_ERROR)),
        figures: ended.figures,
        said: ended.said.as_ref(),
        ended_at: way.reactor.core.clock.now(),
        took: way.incoming.started.elapsed(),
        first_token: ended.first_token,
        overhead: ended.overhead.unwrap_or_else(|| way.overhead()),
        lost: Some(&way.lost),
    };
    way.reactor.handles.attempts(&way.tally);
    way.reactor.handles.ended(&report);
    way.reactor.core.telemetry.ended(&report);
    let (ending, status) = (report.ending, report.status);
    bodies::hand_over(way, ending, status);
}

/// A call that ended before it had a task of its own.
pub struct Early<'a> {
    pub call: CallId,
    pub span: Option<&'a Span>,
    pub endpoint: Endpoint,
    pub principal: Option<&'a Principal>,
    pub started: Instant,
}

impl Reactor {
    /// The span of a request that has just come, if any are made.
    pub fn begin_span(&self, headers: &HeaderMap) -> Option<Span> {
        let sampler = self.core.telemetry.sampler()?;
        Some(Span::begin(sampler, headers, || self.core.entropy.draw()))
    }

    /// Reports a call that was refused before it had a task.
    pub fn refused(&self, early: &Early<'_>, fault: &Fault) {
        let took = early.started.elapsed();
        let report = Report {
            call: early.call,
            span: early.span,
            endpoint: early.endpoint,
            principal: early.principal,
            request: None,
            candidate: None,
            attempts: &[],
            ending: Ending::Refused,
            status: fault.status,
            code: Some(fault.code),
            figures: Figures::default(),
            said: None,
            ended_at: self.core.clock.now(),
            took,
            first_token: None,
            overhead: took,
            lost: None,
        };
        self.handles.ended(&report);
        self.core.telemetry.ended(&report);
    }
}

/// Nobody listens.
pub struct Silent;

impl Telemetry for Silent {
    fn sampler(&self) -> Option<&Sampler> {
        None
    }

    fn ended(&self, _report: &Report<'_>) {}
}

impl Bodies for Silent {
    fn keep(&self, _kept: Kept) {}

    fn find(&self, _call: CallId, _tenants: BTreeSet<TenantId>) -> Later<Option<(TenantId, serde_json::Value)>> {
        Box::pin(std::future::ready(None))
    }

    fn erase(&self, _tenant: TenantId) -> Later<u64> {
        Box::pin(std::future::ready(None))
    }
}
