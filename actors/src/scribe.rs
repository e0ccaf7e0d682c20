//! The Scribe, one a reactor: appends admissions and facts in groups, in its session's lane (LEDGER §2). One group in flight; what
//! comes meanwhile rides in the next. An unclear group is sent again under its number until it is answered.

use crate::{
    gate::{self, Denial, Verdict},
    rates::{Left, Pace},
};
use events::{
    Boot, CallId, Event, KeyId, NodeId, call,
    envelope::Principal,
    limits,
    transaction::{Group, Guard, Proposal, Sequence, Transaction},
};
use journal::AppendFault;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{collections::VecDeque, time::Duration};
use tokio::sync::oneshot;

/// What the Scribe is told.
pub enum Message {
    Submit(Submission),
    /// The group with this number is answered.
    Answered {
        seq: u64,
        answer: GroupAnswer,
    },
    /// Send the group in flight again.
    Again,
    /// A new session is open.
    Session {
        node: NodeId,
        boot: Boot,
    },
}

/// One transaction, and who waits for it.
pub struct Submission {
    pub transaction: Transaction,
    pub call: CallId,
    /// Of admissions.
    pub pace: Option<Pace>,
    pub reply: oneshot::Sender<Answer>,
}

/// What became of a submission.
#[derive(Clone, Debug)]
pub enum Answer {
    Taken(Left),
    Denied(Denial),
    NotOpen,
    /// The record was not needed: another is in force.
    Duplicate,
    /// The session has ended; facts are sent again in the next by the Scribe, admissions must be asked anew.
    Fenced,
}

/// What became of a group.
pub enum GroupAnswer {
    Done(Vec<Verdict>),
    /// All was refused before it was proposed: the number is used again.
    Empty(Vec<Verdict>),
    Unclear(AppendFault),
    Fenced,
    Gap {
        expected: u64,
    },
}

/// What the Scribe is made with.
pub struct Arguments {
    pub gate: ActorRef<gate::Message>,
    pub node: NodeId,
    pub boot: Boot,
    pub lane: u16,
    /// Asks for a new session: this one was fenced.
    pub fenced: tokio::sync::mpsc::UnboundedSender<Boot>,
}

/// The actor.
pub struct Scribe;

pub struct Desk {
    gate: ActorRef<gate::Message>,
    node: NodeId,
    boot: Boot,
    lane: u16,
    seq: u64,
    queue: VecDeque<Submission>,
    in_flight: Vec<Submission>,
    waiting_for_session: bool,
    fenced: tokio::sync::mpsc::UnboundedSender<Boot>,
}

const AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Actor for Scribe {
    type Msg = Message;
    type State = Desk;
    type Arguments = Arguments;

    async fn pre_start(&self, _myself: ActorRef<Message>, arguments: Arguments) -> Result<Desk, ActorProcessingErr> {
        let Arguments { gate, node, boot, lane, fenced } = arguments;
        Ok(Desk { gate, node, boot, lane, seq: 0, queue: VecDeque::new(), in_flight: Vec::new(), waiting_for_session: false, fenced })
    }

    async fn handle(&self, myself: ActorRef<Message>, message: Message, desk: &mut Desk) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Submit(submission) => desk.queue.push_back(submission),
            Message::Answered { seq, answer } if seq == desk.seq && !desk.in_flight.is_empty() => desk.take(answer, &myself),
            Message::Answered { .. } => {} // of a group that was answered before
            Message::Again => desk.send_group(true, &myself),
            Message::Session { node, boot } => desk.open_session(node, boot),
        }
        desk.send_next(&myself);
        Ok(())
    }
}

impl Desk {
    fn send_next(&mut self, myself: &ActorRef<Message>) {
        if self.waiting_for_session || !self.in_flight.is_empty() || self.queue.is_empty() {
            return;
        }
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            bytes += next.transaction.size();
            if !self.in_flight.is_empty() && (bytes > limits::GROUP_BYTES_MAX || self.in_flight.len() >= limits::GROUP_TRANSACTIONS_MAX) {
                break;
            }
            self.in_flight.extend(self.queue.pop_front());
        }
        self.seq += 1;
        self.send_group(false, myself);
    }

    fn send_group(&mut self, judged: bool, myself: &ActorRef<Message>) {
        if self.in_flight.is_empty() {
            return;
        }
        let sequence = Sequence { node: self.node, boot: self.boot, lane: self.lane, seq: self.seq };
        let transactions = self.in_flight.iter().map(|submission| Some(submission.transaction.clone())).collect();
        let paces = self.in_flight.iter().map(|submission| submission.pace.clone()).collect();
        let group = Group { sequence: Some(sequence), transactions };
        let _ = self.gate.cast(gate::Message::Append { group, paces, judged, from: myself.clone() }); // the node is stopping
    }

    fn take(&mut self, answer: GroupAnswer, myself: &ActorRef<Message>) {
        match answer {
            GroupAnswer::Done(verdicts) => self.answer(verdicts),
            GroupAnswer::Empty(verdicts) => {
                self.seq -= 1;
                self.answer(verdicts);
            }
            GroupAnswer::Unclear(AppendFault::Stopped(why)) => tracing::error!(why, "the journal has stopped; nothing more is appended"),
            GroupAnswer::Unclear(fault) => {
                tracing::warn!(%fault, "a group is sent again");
                myself.send_after(AGAIN_AFTER, || Message::Again);
            }
            GroupAnswer::Gap { expected } => {
                tracing::error!(expected, seq = self.seq, "the session's numbers do not meet; asking for a new session");
                self.fence();
            }
            GroupAnswer::Fenced => self.fence(),
        }
    }

    fn answer(&mut self, verdicts: Vec<Verdict>) {
        for (submission, verdict) in self.in_flight.drain(..).zip(verdicts) {
            let answer = match verdict {
                Verdict::Taken(left) => Answer::Taken(left),
                Verdict::Denied(denial) => Answer::Denied(denial),
                Verdict::NotOpen => Answer::NotOpen,
                Verdict::Duplicate => Answer::Duplicate,
            };
            let admitted_key = submission.pace.as_ref().filter(|_| matches!(answer, Answer::Taken(_))).map(|pace| pace.principal.key);
            // An admission that nobody waits for any more was surely never sent.
            if let (Err(_), Some(key)) = (submission.reply.send(answer), admitted_key) {
                self.queue.push_back(release(submission.call, key, call::Unsent::CallerGone));
            }
        }
    }

    /// This session has ended: what is unconfirmed is answered so, facts wait for the next session.
    fn fence(&mut self) {
        self.waiting_for_session = true;
        let unconfirmed: Vec<Submission> = self.in_flight.drain(..).chain(self.queue.drain(..)).collect();
        for submission in unconfirmed {
            match (&submission.pace, is_fact(&submission.transaction)) {
                (None, true) => self.queue.push_back(submission),
                (Some(pace), _) => {
                    let key = pace.principal.key;
                    self.queue.push_back(release(submission.call, key, call::Unsent::CallerGone));
                    let _ = submission.reply.send(Answer::Fenced); // its caller has gone
                }
                (None, false) => drop(submission.reply.send(Answer::Fenced)),
            }
        }
        let _ = self.fenced.send(self.boot); // the node is stopping
    }

    fn open_session(&mut self, node: NodeId, boot: Boot) {
        if boot != self.boot {
            (self.node, self.boot, self.seq, self.waiting_for_session) = (node, boot, 0, false);
        }
    }
}

fn is_fact(transaction: &Transaction) -> bool {
    use call::Event::{Finished, Released, Translated};
    let is_record = |event: &Event| matches!(event, Event::Call(_, Finished(_) | Released { .. } | Translated(_)));
    transaction.events.iter().all(|proposal| proposal.event().is_ok_and(|event| is_record(&event)))
}

fn release(call: CallId, key: KeyId, reason: call::Unsent) -> Submission {
    let (reply, _) = oneshot::channel();
    Submission { transaction: record(call, call::Event::Released { key, reason }, key), call, pace: None, reply }
}

/// An admission: nothing that binds it has changed, and it fits.
pub fn admission(call: CallId, admitted: call::Admitted) -> Transaction {
    let (key, policy) = (admitted.key, admitted.policy);
    let mut guards = vec![Guard::Current { key, policy }, Guard::Fits];
    guards.extend(admitted.claim.map(|_| Guard::Unclaimed));
    let event = Event::Call(call, call::Event::Admitted(Box::new(admitted)));
    Transaction { guards, events: vec![Proposal::new(event, Principal::Key(key), policy)], notes: Vec::new() }
}

/// An extension: the call is open, and it fits.
pub fn extension(call: CallId, extended: call::Extended, key: KeyId) -> Transaction {
    let event = Event::Call(call, call::Event::Extended(extended));
    Transaction {
        guards: vec![Guard::HoldOpen(call), Guard::Fits],
        events: vec![Proposal::new(event, Principal::Key(key), 0)],
        notes: Vec::new(),
    }
}

/// A record: never refused.
pub fn record(call: CallId, event: call::Event, key: KeyId) -> Transaction {
    Transaction { guards: Vec::new(), events: vec![Proposal::new(Event::Call(call, event), Principal::Key(key), 0)], notes: Vec::new() }
}

/// A record, and what the call lost in translation before it.
pub fn record_with(call: CallId, translated: Option<call::Translated>, event: call::Event, key: KeyId) -> Transaction {
    let mut record = record(call, event, key);
    let lost = translated.map(|translated| Event::Call(call, call::Event::Translated(Box::new(translated))));
    record.events.splice(0..0, lost.map(|event| Proposal::new(event, Principal::Key(key), 0)));
    record
}
