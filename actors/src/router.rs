//! The Router, one a tenant and reactor: plans calls from memory alone. What is hot and may be lost lives here (stickiness and turns come with routing).

use crate::{
    fault::Fault,
    free::Board,
    plan::{Ask, Plan, plan},
};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use tokio::sync::oneshot;

pub enum Message {
    Plan { ask: Ask, reply: oneshot::Sender<Result<Plan, Fault>> },
}

/// The actor; its state is where the free figures are found.
pub struct Router;

impl Actor for Router {
    type Msg = Message;
    type State = Arc<Board>;
    type Arguments = Arc<Board>;

    async fn pre_start(&self, _myself: ActorRef<Message>, free: Arc<Board>) -> Result<Arc<Board>, ActorProcessingErr> {
        Ok(free)
    }

    async fn handle(&self, _myself: ActorRef<Message>, message: Message, free: &mut Arc<Board>) -> Result<(), ActorProcessingErr> {
        let Message::Plan { ask, reply } = message;
        let _ = reply.send(plan(&ask, free)); // the caller has left
        Ok(())
    }
}
