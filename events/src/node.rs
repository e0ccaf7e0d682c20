//! A node of the cluster and its sessions. Once a session has ended, each call it left open is owed an orphan's record.

use crate::{Aggregate, Boot, CallId, Kept, NodeId, Refusal, State, StreamId, Timestamp, limits};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The running or last session.
    pub boot: Boot,
    /// The session has not ended.
    pub live: bool,
    /// Scribes of the session.
    pub lanes: u16,
    pub started_at: Timestamp,
    pub joined: bool,
    pub removed: bool,
    /// Sessions that have ended, the last [`limits::SESSIONS_REMEMBERED`]: none of them opens again.
    pub ended: Vec<Boot>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Join,
    /// Open a session; the same boot twice is one session.
    Start {
        boot: Boot,
        lanes: u16,
    },
    /// End the session: silence, or an operator.
    Lose,
    Remove,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Joined,
    Started {
        boot: Boot,
        lanes: u16,
    },
    Lost,
    Removed,
    /// The cluster was brought back from a backup: what was behind this position is gone. The session of the backup has ended.
    Restored {
        position: u64,
        made_at: Timestamp,
    },
}

/// What a node owes: records for the calls that an ended session left open.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Orphan(Vec<CallId>),
}

impl Aggregate for Node {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = Effect;

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.removed => Err(Refusal::Closed),
            Command::Join if self.joined => Ok(Vec::new()),
            Command::Join => Ok(vec![Event::Joined]),
            _ if !self.joined => Err(Refusal::Unknown),
            Command::Start { boot, .. } if self.live && boot == self.boot => Ok(Vec::new()),
            // a process that was fenced draws a new boot: groups of the old one may still be on their way, and its lanes are forgotten
            Command::Start { boot, .. } if self.ended.contains(&boot) => Err(Refusal::Invalid("this session has ended".into())),
            Command::Start { boot, lanes } => Ok(vec![Event::Started { boot, lanes }]),
            Command::Lose if !self.live => Ok(Vec::new()),
            Command::Lose => Ok(vec![Event::Lost]),
            Command::Remove => Ok(vec![Event::Removed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Joined => self.joined = true,
            Event::Started { boot, lanes } => {
                self.end();
                (self.boot, self.live, self.lanes, self.started_at, self.joined) = (*boot, true, *lanes, at, true);
            }
            Event::Lost | Event::Restored { .. } => self.end(),
            Event::Removed => {
                self.end();
                self.removed = true;
            }
        }
    }

    fn owed(&self, state: &State) -> Vec<Effect> {
        let left = state.books.open.iter().filter(|(_, open)| state.books.nodes.get(&open.node).is_none_or(|node| !node.holds(open.boot)));
        let calls: Vec<CallId> = left.map(|(call, _)| *call).collect();
        calls.chunks(limits::ORPHANS_A_CHUNK).map(|chunk| Effect::Orphan(chunk.to_vec())).collect()
    }
}

impl Node {
    fn end(&mut self) {
        if std::mem::take(&mut self.live) {
            self.ended.push(self.boot);
            let too_many = self.ended.len().saturating_sub(limits::SESSIONS_REMEMBERED);
            self.ended.drain(..too_many);
        }
    }

    /// The session with this boot has not ended.
    pub fn holds(&self, boot: Boot) -> bool {
        self.live && self.boot == boot
    }
}

impl Kept for Node {
    type Id = NodeId;
    fn stream(id: NodeId) -> StreamId {
        StreamId::Node(id)
    }
    fn find(state: &State, id: NodeId) -> Option<&Node> {
        state.books.nodes.get(&id)
    }
    fn event(id: NodeId, event: Event) -> crate::Event {
        crate::Event::Node(id, event)
    }
}

#[cfg(test)]
mod tests;
