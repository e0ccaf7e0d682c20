//! The price book of the shipped catalogue. Prices in force are events, so a new build changes none by itself.

use crate::{
    Aggregate, Kept, Refusal, State, StreamId, Timestamp,
    price::{Bounds, Price},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the catalogue says of one model of one kind of provider, such as `openai/gpt-4o-mini`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub price: Option<Price>,
    pub bounds: Bounds,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The date of the data, such as `2026-11-01`.
    pub edition: String,
    /// By `dialect/model`.
    pub entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Bring the book to this edition.
    Set { edition: String, entries: BTreeMap<String, Entry> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    EditionSet { edition: String },
    EntrySet { name: String, entry: Entry },
    EntryRemoved { name: String },
}

impl Aggregate for Catalogue {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, command: Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let Command::Set { edition, entries } = command;
        let mut events = Vec::new();
        for name in self.entries.keys().filter(|name| !entries.contains_key(*name)) {
            events.push(Event::EntryRemoved { name: name.clone() });
        }
        for (name, entry) in entries {
            if self.entries.get(&name) != Some(&entry) {
                events.push(Event::EntrySet { name, entry });
            }
        }
        if edition != self.edition {
            events.push(Event::EditionSet { edition });
        }
        Ok(events)
    }

    fn apply(&mut self, event: &Event, _at: Timestamp) {
        match event {
            Event::EditionSet { edition } => self.edition.clone_from(edition),
            Event::EntrySet { name, entry } => {
                self.entries.insert(name.clone(), entry.clone());
            }
            Event::EntryRemoved { name } => {
                self.entries.remove(name);
            }
        }
    }
}

impl Kept for Catalogue {
    type Id = crate::CatalogueId;
    fn stream(_id: crate::CatalogueId) -> StreamId {
        StreamId::Catalogue
    }
    fn find(state: &State, _id: crate::CatalogueId) -> Option<&Catalogue> {
        state.books.catalogue.get(&())
    }
    fn event(_id: crate::CatalogueId, event: Event) -> crate::Event {
        crate::Event::Catalogue(event)
    }
}

#[cfg(test)]
mod tests;
