//! A keeper: decides commands on one aggregate, at the leader. It has no state of its own: it reads, decides, appends with a `Version`
//! guard, replies, and pays what is owed; on a conflict it reads again.

use crate::gate;
use events::{
    Event, Kept, NoteId, Refusal, State, StreamId, alert, budget, call, catalogue,
    envelope::Principal,
    key, model, node, policy, provider, scope, tenant, token,
    transaction::{Group, Guard, Outcome, Proposal, Transaction},
    webhook,
};
use journal::{AppendFault, Clock};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::{marker::PhantomData, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Why a command has no events.
#[derive(Clone, Debug)]
pub enum Fault {
    Refused(Refusal),
    /// Others kept changing it; ask again.
    Conflict,
    Append(AppendFault),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Refused(refusal) => refusal.fmt(f),
            Fault::Conflict => f.write_str("others kept changing it; ask again"),
            Fault::Append(fault) => fault.fmt(f),
        }
    }
}

/// A command, with the notes that go with its events.
pub struct Order<A: Kept> {
    pub command: A::Command,
    pub notes: Vec<(NoteId, Option<Vec<u8>>)>,
    pub principal: Principal,
    /// How many events it made.
    pub reply: oneshot::Sender<Result<usize, Fault>>,
}

/// What a keeper is told.
pub enum Message<A: Kept> {
    Order(Order<A>),
    /// Look whether something is owed.
    Pay,
    /// End, if nothing came since.
    Idle(u64),
}

/// How what is owed becomes a transaction or a command.
pub trait Pays: Kept {
    fn pay(effect: Self::Effect, state: &State) -> Payment<Self>;
}

pub enum Payment<A: Kept> {
    Command(A::Command),
    Transaction(Transaction),
}

macro_rules! owes_nothing {
    ($($noun:ty)*) => {$(
        impl Pays for $noun {
            fn pay(_effect: (), _state: &State) -> Payment<Self> {
                Payment::Transaction(Transaction::default())
            }
        }
    )*};
}

owes_nothing!(tenant::Tenant scope::Scope key::Key provider::Provider model::Model catalogue::Catalogue policy::Policy token::Token
    webhook::Webhook alert::Alert);

impl Pays for budget::Budget {
    fn pay(effect: budget::Effect, _state: &State) -> Payment<Self> {
        let budget::Effect::Alert { window, threshold_ppm } = effect;
        Payment::Command(budget::Command::Alert { window, threshold_ppm })
    }
}

impl Pays for node::Node {
    /// Each call that an ended session left open is charged at its ceiling, and listed by id.
    fn pay(effect: node::Effect, state: &State) -> Payment<Self> {
        let node::Effect::Orphan(calls) = effect;
        let mut transaction = Transaction::default();
        for (id, open) in calls.iter().filter_map(|id| state.books.open.get(id).map(|open| (id, open))) {
            let orphaned =
                call::Orphaned { node: open.node, boot: open.boot, key: open.key, model: open.model.clone(), charged: open.ceiling };
            transaction.guards.push(Guard::HoldOpen(*id));
            transaction.events.push(Proposal::new(Event::Call(*id, call::Event::Orphaned(orphaned)), Principal::System, 0));
        }
        Payment::Transaction(transaction)
    }
}

/// What a keeper is made with.
pub struct Arguments<A: Kept> {
    pub id: A::Id,
    pub gate: ActorRef<gate::Message>,
    pub clock: Arc<dyn Clock>,
}

/// The actor.
pub struct Keeper<A>(PhantomData<fn() -> A>);

impl<A> Default for Keeper<A> {
    fn default() -> Keeper<A> {
        Keeper(PhantomData)
    }
}

pub struct Desk<A: Kept> {
    id: A::Id,
    gate: ActorRef<gate::Message>,
    clock: Arc<dyn Clock>,
    turns: u64,
}

/// How often a decision is made again when others were faster.
const TRIES: usize = 8;
/// A keeper that nobody asked for so long ends.
const IDLE: Duration = Duration::from_secs(30);

impl<A> Actor for Keeper<A>
where
    A: Pays + Sync,
    A::Command: Clone + Send + Sync,
    A::Event: Send,
    A::Effect: Send,
    A::Refusal: Into<Refusal> + Send,
{
    type Msg = Message<A>;
    type State = Desk<A>;
    type Arguments = Arguments<A>;

    async fn pre_start(&self, _myself: ActorRef<Message<A>>, arguments: Arguments<A>) -> Result<Desk<A>, ActorProcessingErr> {
        Ok(Desk { id: arguments.id, gate: arguments.gate, clock: arguments.clock, turns: 0 })
    }

    async fn handle(&self, myself: ActorRef<Message<A>>, message: Message<A>, desk: &mut Desk<A>) -> Result<(), ActorProcessingErr> {
        if let Message::Idle(turns) = message {
            if turns == desk.turns {
                myself.stop(None);
            }
            return Ok(());
        }
        desk.turns += 1;
        if let Message::Order(Order { command, notes, principal, reply }) = message {
            let _ = reply.send(desk.order(command, notes, principal).await); // the asker's deadline has passed
        }
        desk.pay().await;
        let turns = desk.turns;
        myself.send_after(IDLE, move || Message::Idle(turns));
        Ok(())
    }
}

impl<A> Desk<A>
where
    A: Pays + Sync,
    A::Command: Clone + Send + Sync,
    A::Event: Send,
    A::Effect: Send,
    A::Refusal: Into<Refusal> + Send,
{
    async fn order(&self, command: A::Command, notes: Vec<(NoteId, Option<Vec<u8>>)>, principal: Principal) -> Result<usize, Fault> {
        for _ in 0..TRIES {
            let (id, now, command) = (self.id, self.clock.now(), command.clone());
            let decided = self.look(move |state| decide::<A>(state, id, command, now)).await.ok_or_else(stopped)?;
            let (version, events) = decided.map_err(Fault::Refused)?;
            if events.is_empty() {
                return Ok(0);
            }
            let count = events.len();
            let proposals = events.into_iter().map(|event| Proposal::new(A::event(id, event), principal, 0)).collect();
            let guards = vec![Guard::Version(A::stream(id), version)];
            match self.append(Transaction { guards, events: proposals, notes: notes.clone() }).await {
                Ok(Outcome::Taken) => return Ok(count),
                Ok(Outcome::TakenOut) => return Err(Fault::Refused(Refusal::Invalid("the change is too big for one transaction".into()))),
                Ok(_) => {}
                Err(AppendFault::Stopped(why)) => return Err(Fault::Append(AppendFault::Stopped(why))),
                // What is unclear shows when the state is read again: deciding the same command twice makes no second event.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Err(Fault::Conflict)
    }

    /// Pays until nothing is owed; what fails for now is owed still, and is paid when somebody asks again.
    async fn pay(&self) {
        for _ in 0..TRIES {
            let id = self.id;
            let owed = self.look(move |state| payments::<A>(state, id)).await.unwrap_or_default();
            if owed.is_empty() {
                return;
            }
            for payment in owed {
                let paid = match payment {
                    Payment::Command(command) => self.order(command, Vec::new(), Principal::System).await.map(drop),
                    Payment::Transaction(transaction) => self.append(transaction).await.map(drop).map_err(Fault::Append),
                };
                if let Err(fault) = paid {
                    tracing::warn!(stream = %A::stream(self.id), %fault, "what is owed could not be paid yet");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn look<R: Send + 'static>(&self, look: impl FnOnce(&State) -> R + Send + 'static) -> Option<R> {
        self::look(&self.gate, look).await
    }

    async fn append(&self, transaction: Transaction) -> Result<Outcome, AppendFault> {
        let (reply, answer) = oneshot::channel();
        let group = Group { sequence: None, transactions: vec![Some(transaction)] };
        let stopped = || AppendFault::Stopped("the node is stopping".into());
        self.gate.cast(gate::Message::Propose { group, reply }).map_err(|_| stopped())?;
        let outcomes = answer.await.map_err(|_| stopped())??;
        outcomes.first().copied().ok_or_else(stopped)
    }
}

fn stopped() -> Fault {
    Fault::Append(AppendFault::Stopped("the node is stopping".into()))
}

/// Looks at the state on the core thread, from anywhere; None: the node is stopping.
pub async fn look<R: Send + 'static>(gate: &ActorRef<gate::Message>, look: impl FnOnce(&State) -> R + Send + 'static) -> Option<R> {
    let (reply, answer) = oneshot::channel();
    let look = Box::new(move |state: &State| drop(reply.send(look(state))));
    gate.cast(gate::Message::Look(look)).ok()?;
    answer.await.ok()
}

type Decided<E> = Result<(u64, Vec<E>), Refusal>;

fn decide<A: Kept>(state: &State, id: A::Id, command: A::Command, now: events::Timestamp) -> Decided<A::Event>
where
    A::Refusal: Into<Refusal>,
{
    let fresh = A::default();
    let aggregate = A::find(state, id).unwrap_or(&fresh);
    let events = aggregate.decide(command, now).map_err(Into::into)?;
    Ok((state.version(A::stream(id)), events))
}

fn payments<A: Pays>(state: &State, id: A::Id) -> Vec<Payment<A>> {
    let owed = A::find(state, id).map(|aggregate| aggregate.owed(state)).unwrap_or_default();
    owed.into_iter().map(|effect| A::pay(effect, state)).collect()
}

/// Which stream a keeper of `A` would hold.
pub fn stream<A: Kept>(id: A::Id) -> StreamId {
    A::stream(id)
}
