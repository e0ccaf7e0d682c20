//! The Gate, on the core thread: counts rates and concurrency, refuses early, and is the only one that appends. What arrives while an
//! entry is being synced rides in the next; no timer.

use crate::{
    metrics::{self, JournalHandles},
    policy::PolicyBoard,
    rates::{Counters, Left, Pace, TooFast},
    scribe,
};
use events::{
    Amount, BudgetId, Event, State, StreamId, Timestamp, call,
    envelope::Recorded,
    limits,
    transaction::{Group, GroupOutcome, Outcome},
};
use journal::{AppendFault, Clock, Health, Journal, Observer};
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{sync::Arc, time::Instant};
use tokio::sync::oneshot;

/// What the Gate is told.
pub enum Message {
    /// A Scribe's group. `paces` go by index; `judged`: it was sent before, and passes unjudged.
    Append { group: Group, paces: Vec<Option<Pace>>, judged: bool, from: ActorRef<scribe::Message> },
    /// A keeper's transactions.
    Propose { group: Group, reply: oneshot::Sender<Result<Vec<Outcome>, AppendFault>> },
    /// Look at the state, on the core thread.
    Look(Box<dyn FnOnce(&State) + Send>),
    /// The entry in flight has its outcome.
    Applied(Result<Vec<GroupOutcome>, AppendFault>),
}

/// Why an admission was refused.
#[derive(Clone, Debug)]
pub enum Denial {
    TooFast(TooFast),
    Budget(BudgetDenial),
    /// The policy it was decided by is old.
    Stale,
    /// The idempotency key is in use.
    Claimed,
    /// Nothing is admitted for now.
    Closed(String),
}

/// The budget that had no room, with its numbers at that moment, in its unit.
#[derive(Clone, Debug)]
pub struct BudgetDenial {
    pub budget: BudgetId,
    /// It would not fit with nothing held.
    pub exceeded: bool,
    pub limit: Amount,
    pub settled: Amount,
    pub held: Amount,
    pub needed: Amount,
    pub resets_at: Option<Timestamp>,
}

/// What became of one transaction of a Scribe's group.
#[derive(Clone, Debug)]
pub enum Verdict {
    Taken(Left),
    Denied(Denial),
    /// The call is not open (`Extended`), or known no more (a record).
    NotOpen,
    Duplicate,
}

/// A group on its way.
struct Waiting {
    group: Group,
    to: Return,
}

enum Return {
    Scribe { from: ActorRef<scribe::Message>, seq: u64, verdicts: Vec<Option<Verdict>>, paces: Vec<Option<Pace>> },
    Keeper(oneshot::Sender<Result<Vec<Outcome>, AppendFault>>),
}

/// What the Gate is made with.
pub struct Arguments {
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
    pub counters: SharedCounters,
    /// Ends the process: a store failed.
    pub fail_stop: Arc<dyn Fn(String) + Send + Sync>,
}

/// Counted by the Gate, brought down by what is applied; both on the core thread, so never contended.
pub type SharedCounters = Arc<Mutex<Counters>>;

/// The actor.
pub struct Gate;

pub struct Desk {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    counters: SharedCounters,
    fail_stop: Arc<dyn Fn(String) + Send + Sync>,
    waiting: Vec<Waiting>,
    in_flight: Vec<Return>,
    busy: bool,
    handles: JournalHandles,
}

impl Actor for Gate {
    type Msg = Message;
    type State = Desk;
    type Arguments = Arguments;

    async fn pre_start(&self, _myself: ActorRef<Message>, arguments: Arguments) -> Result<Desk, ActorProcessingErr> {
        let Arguments { journal, clock, counters, fail_stop } = arguments;
        let handles = JournalHandles::default();
        Ok(Desk { journal, clock, counters, fail_stop, waiting: Vec::new(), in_flight: Vec::new(), busy: false, handles })
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, desk: &mut Desk) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Append { group, paces, judged, from } => desk.take(group, paces, judged, from),
            Message::Propose { group, reply } => desk.waiting.push(Waiting { group, to: Return::Keeper(reply) }),
            Message::Look(look) => journal::look(&*desk.journal, look),
            Message::Applied(outcome) => desk.answer(outcome),
        }
        desk.append(&myself);
        Ok(())
    }
}

impl Desk {
    /// Judges a Scribe's group and lets it wait for the next entry; a group left empty is answered at once and not proposed.
    fn take(&mut self, mut group: Group, paces: Vec<Option<Pace>>, judged: bool, from: ActorRef<scribe::Message>) {
        let seq = group.sequence.map_or(0, |sequence| sequence.seq);
        let mut verdicts: Vec<Option<Verdict>> = vec![None; group.transactions.len()];
        if !judged {
            self.judge(&mut group, &paces, &mut verdicts);
        }
        if group.transactions.iter().all(Option::is_none) {
            let verdicts =
                verdicts.into_iter().map(|verdict| verdict.unwrap_or(Verdict::Denied(Denial::Closed("taken out".into())))).collect();
            let _ = from.cast(scribe::Message::Answered { seq, answer: scribe::GroupAnswer::Empty(verdicts) });
            return;
        }
        self.waiting.push(Waiting { group, to: Return::Scribe { from, seq, verdicts, paces } });
    }

    fn judge(&mut self, group: &mut Group, paces: &[Option<Pace>], verdicts: &mut [Option<Verdict>]) {
        let now = self.clock.now();
        let health = self.journal.health();
        let mut counters = self.counters.lock();
        for (index, pace) in paces.iter().enumerate() {
            let (Some(pace), Some(place)) = (pace, group.transactions.get_mut(index)) else { continue };
            if place.is_none() {
                continue;
            }
            let closed = match &health {
                Health::Ready => None,
                Health::DiskLow => Some("the disk is almost full".to_owned()),
                Health::Waiting(why) | Health::Failed(why) => Some(why.clone()),
            };
            let denied = match closed {
                Some(why) => Some(Denial::Closed(why)),
                None => journal::look(&*self.journal, |state| budget_denial(state, pace, now)),
            };
            verdicts[index] = match denied.map_or_else(|| counters.judge(pace, now).map_err(Denial::TooFast), Err) {
                Ok(left) => Some(Verdict::Taken(left)),
                Err(denial) => {
                    *place = None;
                    Some(Verdict::Denied(denial))
                }
            };
        }
    }

    /// Starts the next entry, if none is in flight.
    fn append(&mut self, myself: &ActorRef<Message>) {
        if self.busy || self.waiting.is_empty() {
            return;
        }
        let mut groups = Vec::with_capacity(self.waiting.len());
        let mut bytes = 0;
        while !self.waiting.is_empty() {
            bytes += self.waiting[0].group.transactions.iter().flatten().map(|transaction| transaction.size()).sum::<usize>();
            if !groups.is_empty() && bytes > limits::ENTRY_BYTES_MAX / 2 {
                break;
            }
            let Waiting { group, to } = self.waiting.remove(0);
            groups.push(group);
            self.in_flight.push(to);
        }
        self.busy = true;
        self.handles.transactions.record(groups.iter().map(|group| group.transactions.iter().flatten().count()).sum::<usize>() as f64);
        let (journal, myself, append) = (self.journal.clone(), myself.clone(), self.handles.append.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = journal.append(groups).await;
            append.record(began.elapsed().as_secs_f64());
            let _ = myself.cast(Message::Applied(outcome));
        });
    }

    fn answer(&mut self, outcome: Result<Vec<GroupOutcome>, AppendFault>) {
        self.busy = false;
        if let Err(AppendFault::Stopped(why)) = &outcome {
            (self.fail_stop)(why.clone());
        }
        let returns = std::mem::take(&mut self.in_flight);
        match outcome {
            Ok(outcomes) => returns.into_iter().zip(outcomes).for_each(|(to, outcome)| self.answer_one(to, outcome)),
            Err(fault) => {
                self.handles.faults.increment(1);
                returns.into_iter().for_each(|to| self.answer_fault(to, &fault));
            }
        }
    }

    fn answer_one(&mut self, to: Return, outcome: GroupOutcome) {
        match to {
            Return::Keeper(reply) => {
                let outcomes = match outcome {
                    GroupOutcome::Done(outcomes) => Ok(outcomes),
                    other => Err(AppendFault::NotAppended(format!("{other:?}"))),
                };
                let _ = reply.send(outcomes); // the asker's deadline has passed
            }
            Return::Scribe { from, seq, verdicts, paces } => {
                let answer = match outcome {
                    GroupOutcome::Done(outcomes) => scribe::GroupAnswer::Done(self.verdicts(&outcomes, verdicts, &paces)),
                    GroupOutcome::Late => return, // the answer to the later one is on its way
                    GroupOutcome::Fenced => {
                        self.withdraw(&paces);
                        scribe::GroupAnswer::Fenced
                    }
                    GroupOutcome::Gap { expected } => scribe::GroupAnswer::Gap { expected },
                };
                let _ = from.cast(scribe::Message::Answered { seq, answer });
            }
        }
    }

    fn answer_fault(&mut self, to: Return, fault: &AppendFault) {
        match to {
            Return::Keeper(reply) => drop(reply.send(Err(fault.clone()))),
            Return::Scribe { from, seq, .. } => {
                drop(from.cast(scribe::Message::Answered { seq, answer: scribe::GroupAnswer::Unclear(fault.clone()) }))
            }
        }
    }

    fn withdraw(&mut self, paces: &[Option<Pace>]) {
        let mut counters = self.counters.lock();
        paces.iter().flatten().for_each(|pace| counters.withdraw(pace.call));
    }

    /// Outcomes of one byte, made whole: figures of refusals come from the state as it is now.
    fn verdicts(&mut self, outcomes: &[Outcome], early: Vec<Option<Verdict>>, paces: &[Option<Pace>]) -> Vec<Verdict> {
        let early = early.into_iter().chain(std::iter::repeat(None));
        let verdicts = outcomes.iter().zip(early).enumerate().map(|(index, (outcome, early))| {
            let pace = paces.get(index).and_then(Option::as_ref);
            if let (Some(pace), false) = (pace, matches!(outcome, Outcome::Taken | Outcome::TakenOut)) {
                self.counters.lock().withdraw(pace.call);
            }
            match (outcome, early) {
                (Outcome::TakenOut, Some(Verdict::Denied(denial))) => Verdict::Denied(denial),
                (Outcome::TakenOut, _) => Verdict::Denied(Denial::Closed("it was too big or could not be read".into())),
                (Outcome::Taken, Some(Verdict::Taken(left))) => Verdict::Taken(left),
                (Outcome::Taken, _) => Verdict::Taken(Left::default()),
                (Outcome::Stale, _) => Verdict::Denied(Denial::Stale),
                (Outcome::Claimed, _) => Verdict::Denied(Denial::Claimed),
                (Outcome::Exceeded(level), _) => Verdict::Denied(self.late_denial(pace, *level, true)),
                (Outcome::Held(level), _) => Verdict::Denied(self.late_denial(pace, *level, false)),
                (Outcome::Duplicate | Outcome::Conflict, _) => Verdict::Duplicate,
                (Outcome::NotOpen, _) => Verdict::NotOpen,
            }
        });
        verdicts.collect()
    }

    /// The refusal of `apply`, with the figures of now.
    fn late_denial(&self, pace: Option<&Pace>, level: u8, exceeded: bool) -> Denial {
        let found = pace.and_then(|pace| pace.budgets.get(usize::from(level)).map(|id| (*id, pace.ceiling)));
        let Some((id, ceiling)) = found else { return Denial::Closed("a budget has no room for a further attempt".into()) };
        let denial = journal::look(&*self.journal, |state| figures(state, id, |unit| ceiling.of(unit), state.desk.time()));
        match denial {
            Some(denial) => Denial::Budget(BudgetDenial { exceeded, ..denial }),
            None => Denial::Stale,
        }
    }
}

/// The nearest hard budget of an admission that has no room now: it can be refused without an entry.
fn budget_denial(state: &State, pace: &Pace, now: Timestamp) -> Option<Denial> {
    let at = now.max(state.desk.time());
    let full = |denial: &BudgetDenial| denial.settled + denial.held + denial.needed > denial.limit;
    pace.budgets.iter().find_map(|id| figures(state, *id, |unit| pace.ceiling.of(unit), at).filter(full)).map(Denial::Budget)
}

/// The figures of a hard budget beside what a call needs.
fn figures(state: &State, id: BudgetId, needed: impl FnOnce(events::Unit) -> Amount, at: Timestamp) -> Option<BudgetDenial> {
    let budget = state.books.budgets.get(&id).filter(|budget| budget.terms.hard)?;
    let (start, window) = state.figures(id, at)?;
    let (limit, needed) = (budget.terms.limit, needed(budget.identity.unit));
    let resets_at = budget.identity.every.end(start);
    Some(BudgetDenial {
        budget: id,
        exceeded: window.settled + needed > limit,
        limit,
        settled: window.settled,
        held: window.held,
        needed,
        resets_at,
    })
}

/// Brings the counters down as records are applied.
pub struct CounterFollower {
    counters: SharedCounters,
    open_calls: ::metrics::Gauge,
}

impl CounterFollower {
    pub fn new(counters: SharedCounters) -> CounterFollower {
        CounterFollower { counters, open_calls: metrics::open_calls() }
    }
}

impl Observer for CounterFollower {
    fn applied(&mut self, state: &State, records: &[Recorded], _due: &[StreamId]) {
        self.open_calls.set(state.books.open.len() as f64);
        let mut counters = self.counters.lock();
        for record in records {
            match &*record.event {
                Event::Call(id, call::Event::Finished(finished)) => counters.finish(*id, Some(finished.used.tokens)),
                Event::Call(id, call::Event::Released { .. }) => counters.finish(*id, Some(0)),
                Event::Call(id, call::Event::Orphaned(_)) => counters.finish(*id, None),
                _ => {}
            }
        }
    }
}

/// Counters that know the calls that are open already.
pub fn counters(state: &State, policy: &PolicyBoard) -> SharedCounters {
    metrics::open_calls().set(state.books.open.len() as f64);
    let mut counters = Counters::default();
    let policy = policy.load();
    for (call, open) in state.books.open.iter() {
        if let Some(principal) = policy.view.key_by_id(open.key) {
            counters.resume(*call, principal, open.at);
        }
    }
    Arc::new(Mutex::new(counters))
}
