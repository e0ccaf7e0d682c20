//! A model name that callers may use, and the providers' models that stand behind it, in order.

use crate::{
    Aggregate, Kept, ModelId, ProviderId, Refusal, State, StreamId, Timestamp,
    price::{Bounds, Price},
};
use serde::{Deserialize, Serialize};

/// One provider's model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub provider: ProviderId,
    /// The provider's own name of the model; a `*` stands for what the wildcard of the model's name matched.
    pub model: String,
    pub price: Option<Price>,
}

/// What a model is told to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// May hold one `*`.
    pub name: String,
    pub targets: Vec<Target>,
    pub price: Option<Price>,
    pub bounds: Bounds,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub settings: Settings,
    pub made_at: Timestamp,
    pub made: bool,
    pub removed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Set(Settings),
    Remove,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Set(Settings),
    Removed,
}

impl Aggregate for Model {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            _ if self.removed => Err(Refusal::Closed),
            Command::Set(settings) if self.made && settings == self.settings => Ok(Vec::new()),
            Command::Set(settings) => Ok(vec![Event::Set(settings)]),
            Command::Remove if !self.made => Err(Refusal::Unknown),
            Command::Remove => Ok(vec![Event::Removed]),
        }
    }

    fn apply(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Set(settings) => {
                if !self.made {
                    self.made_at = at;
                }
                self.made = true;
                self.settings = settings.clone();
            }
            Event::Removed => self.removed = true,
        }
    }
}

impl Kept for Model {
    type Id = ModelId;
    fn stream(id: ModelId) -> StreamId {
        StreamId::Model(id)
    }
    fn find(state: &State, id: ModelId) -> Option<&Model> {
        state.books.models.get(&id)
    }
    fn event(id: ModelId, event: Event) -> crate::Event {
        crate::Event::Model(id, event)
    }
}

#[cfg(test)]
mod tests;
