//! The Upstream, one a provider and reactor: permits, circuit breaker, cooldown, latency.

use events::ProviderId;
use metrics::Gauge;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long it stays open at first; each failed probe doubles it.
const OPEN_FOR: Duration = Duration::from_secs(5);
const OPEN_FOR_MAX: Duration = Duration::from_secs(60);

pub enum Message {
    /// May a request go there now?
    Permit { parallel_max: Option<u64>, reply: oneshot::Sender<Result<(), Busy>> },
    /// How it went; gives the permit back.
    Outcome(Outcome),
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The breaker is open for so long.
    Open(Duration),
    /// It is full.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered; time to the first byte.
    Answered(Duration),
    /// It failed: 5xx, no connection, a deadline.
    Failed,
    /// It asked to be left alone for so long.
    Cooldown(Duration),
    /// Neither: the caller left, or it was never tried.
    Neutral,
}

/// The breaker's rules, apart from any actor.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open_for: Duration,
    open_until: Option<Instant>,
    probing: bool,
}

impl Breaker {
    /// Lets a request pass, or says for how long not. After the wait one probe passes.
    pub fn permit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.open_until {
            Some(until) if now < until => Err(until - now),
            Some(_) if self.probing => Err(Duration::from_secs(1)),
            Some(_) => {
                self.probing = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub fn outcome(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Answered(_) => *self = Breaker::default(),
            Outcome::Failed => {
                self.failures += 1;
                if self.probing || self.failures >= FAILURES_MAX {
                    self.open_for = (self.open_for * 2).clamp(OPEN_FOR, OPEN_FOR_MAX);
                    self.open(now, self.open_for);
                }
            }
            Outcome::Cooldown(wait) => self.open(now, wait.min(OPEN_FOR_MAX)),
            Outcome::Neutral => self.probing = false,
        }
    }

    /// It lets nothing pass, or a probe only.
    pub fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// It failed again and again; else it is left alone because it asked for that.
    pub fn is_tripped(&self) -> bool {
        self.failures >= FAILURES_MAX && self.is_open()
    }

    fn open(&mut self, now: Instant, wait: Duration) {
        self.open_until = Some(now + wait);
        self.probing = false;
    }
}

/// Providers whose breakers failures opened, and on how many reactors: facts for whoever watches.
#[derive(Default)]
pub struct Tripped(Mutex<BTreeMap<ProviderId, usize>>);

impl Tripped {
    fn changed(&self, provider: ProviderId, is_tripped: bool) {
        let mut tripped = self.0.lock();
        let reactors = tripped.entry(provider).or_default();
        *reactors = if is_tripped { *reactors + 1 } else { reactors.saturating_sub(1) };
        if *reactors == 0 {
            tripped.remove(&provider);
        }
    }

    pub fn now(&self) -> Vec<(ProviderId, usize)> {
        self.0.lock().iter().map(|(provider, reactors)| (*provider, *reactors)).collect()
    }
}

/// What an Upstream is made with.
pub struct Arguments {
    pub provider: ProviderId,
    /// Counts the reactors on which the breaker is open.
    pub open: Gauge,
    pub tripped: Arc<Tripped>,
}

/// The actor.
pub struct Upstream;

pub struct Desk {
    in_flight: u64,
    breaker: Breaker,
    /// Moving average of the time to the first byte, in microseconds.
    first_byte_us: f64,
    arguments: Arguments,
}

impl Actor for Upstream {
    type Msg = Message;
    type State = Desk;
    type Arguments = Arguments;

    async fn pre_start(&self, _myself: ActorRef<Message>, arguments: Arguments) -> Result<Desk, ActorProcessingErr> {
        Ok(Desk { in_flight: 0, breaker: Breaker::default(), first_byte_us: 0.0, arguments })
    }

    async fn handle(&self, _myself: ActorRef<Message>, message: Message, desk: &mut Desk) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Permit { parallel_max, reply } => {
                let permit = desk.permit(parallel_max);
                if reply.send(permit).is_err() && permit.is_ok() {
                    desk.in_flight -= 1; // the caller has left
                    desk.breaker.outcome(Outcome::Neutral, Instant::now());
                }
            }
            Message::Outcome(outcome) => {
                desk.in_flight = desk.in_flight.saturating_sub(1);
                if let Outcome::Answered(first_byte) = outcome {
                    desk.first_byte_us = 0.9 * desk.first_byte_us + 0.1 * first_byte.as_micros() as f64;
                }
                let (was_open, was_tripped) = (desk.breaker.is_open(), desk.breaker.is_tripped());
                desk.breaker.outcome(outcome, Instant::now());
                match (was_open, desk.breaker.is_open()) {
                    (false, true) => desk.arguments.open.increment(1.0),
                    (true, false) => desk.arguments.open.decrement(1.0),
                    _ => {}
                }
                let is_tripped = desk.breaker.is_tripped();
                if is_tripped != was_tripped {
                    desk.arguments.tripped.changed(desk.arguments.provider, is_tripped);
                }
            }
        }
        Ok(())
    }
}

impl Desk {
    fn permit(&mut self, parallel_max: Option<u64>) -> Result<(), Busy> {
        if parallel_max.is_some_and(|most| self.in_flight >= most) {
            return Err(Busy::Full);
        }
        self.breaker.permit(Instant::now()).map_err(Busy::Open)?;
        self.in_flight += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_probes_and_closes() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.permit(start), Ok(()));
            breaker.outcome(Outcome::Failed, start);
        }
        assert!(breaker.permit(start).is_err());
        let later = start + OPEN_FOR;
        assert_eq!(breaker.permit(later), Ok(()), "one probe");
        assert!(breaker.permit(later).is_err(), "and no second one");
        breaker.outcome(Outcome::Failed, later);
        assert!(breaker.permit(later + OPEN_FOR).is_err(), "a failed probe doubles the wait");
        assert_eq!(breaker.permit(later + 2 * OPEN_FOR), Ok(()));
        breaker.outcome(Outcome::Answered(Duration::ZERO), later + 2 * OPEN_FOR);
        assert_eq!(breaker.permit(later + 2 * OPEN_FOR), Ok(()));
        assert_eq!(breaker.permit(later + 2 * OPEN_FOR), Ok(()), "closed again");
    }
}
