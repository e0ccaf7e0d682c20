//! The directory: which keepers live here. Spawned when there is something to do, gone when idle; never iterated.

use crate::{
    gate,
    keeper::{Arguments, Fault, Keeper, Message, Order, Pays},
};
use dashmap::DashMap;
use events::{Kept, NoteId, Refusal, StreamId, budget::Budget, envelope::Principal, node::Node};
use journal::{AppendFault, Clock};
use ractor::{Actor, ActorCell, ActorRef};
use std::sync::Arc;
use tokio::sync::oneshot;

/// See the module. Lives on the core thread.
pub struct Directory {
    gate: ActorRef<gate::Message>,
    clock: Arc<dyn Clock>,
    keepers: DashMap<StreamId, ActorCell>,
}

impl Directory {
    pub fn new(gate: ActorRef<gate::Message>, clock: Arc<dyn Clock>) -> Directory {
        Directory { gate, clock, keepers: DashMap::new() }
    }

    /// Has a command decided by its keeper; answers how many events it made.
    ///
    /// # Errors
    /// A refusal, or what kept it from being appended.
    pub async fn order<A>(
        &self,
        id: A::Id,
        command: A::Command,
        notes: Vec<(NoteId, Option<Vec<u8>>)>,
        principal: Principal,
    ) -> Result<usize, Fault>
    where
        A: Pays + Sync,
        A::Command: Clone + Send + Sync,
        A::Event: Send,
        A::Effect: Send,
        A::Refusal: Into<Refusal> + Send,
    {
        let stopped = || Fault::Append(AppendFault::Stopped("the node is stopping".into()));
        let (reply, answer) = oneshot::channel();
        let keeper = self.keeper::<A>(id).await.ok_or_else(stopped)?;
        keeper.cast(Message::Order(Order { command, notes, principal, reply })).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Wakes the keeper of a stream that has something to do.
    pub async fn wake(&self, stream: StreamId) {
        match stream {
            StreamId::Node(id) => self.pay::<Node>(id).await,
            StreamId::Budget(id) => self.pay::<Budget>(id).await,
            _ => {} // no other noun owes anything
        }
    }

    async fn pay<A>(&self, id: A::Id)
    where
        A: Pays + Sync,
        A::Command: Clone + Send + Sync,
        A::Event: Send,
        A::Effect: Send,
        A::Refusal: Into<Refusal> + Send,
    {
        if let Some(keeper) = self.keeper::<A>(id).await {
            let _ = keeper.cast(Message::Pay); // it ended just now; what it owes is found at the next occasion
        }
    }

    async fn keeper<A>(&self, id: A::Id) -> Option<ActorRef<Message<A>>>
    where
        A: Pays + Sync,
        A::Command: Clone + Send + Sync,
        A::Event: Send,
        A::Effect: Send,
        A::Refusal: Into<Refusal> + Send,
    {
        let stream = <A as Kept>::stream(id);
        let known = self.keepers.get(&stream).map(|cell| cell.clone());
        if let Some(cell) = known.filter(|cell| cell.get_status() < ractor::ActorStatus::Stopping) {
            return Some(cell.into());
        }
        let arguments = Arguments { id, gate: self.gate.clone(), clock: self.clock.clone() };
        let (keeper, _) = Actor::spawn(None, Keeper::<A>::default(), arguments).await.ok()?;
        self.keepers.insert(stream, keeper.get_cell());
        Some(keeper)
    }
}
