//! A policy: what an owner (the platform, a tenant, a scope, a key) says about how calls below it are treated, besides money and rates.
//! The nearest owner that says something about a thing is heard.

use crate::{Aggregate, CallId, Kept, Owner, Refusal, State, StreamId, Timestamp};
use serde::{Deserialize, Serialize};

/// One thing that is said. Variants are only ever added, at the end: rows of the state and events hold them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// What becomes of what a provider's dialect cannot say, as in the header `x-tollgate-loss`.
    Losses(String),
    /// Which bodies of calls are kept, and how.
    RequestLog(RequestLog),
}

/// Which calls' bodies are kept. Variants are only ever added, at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Logged {
    #[default]
    Off,
    All,
    /// Calls that did not end well.
    Errors,
    /// A share of the calls.
    Sampled,
}

impl Logged {
    pub const ALL: [Logged; 4] = [Logged::Off, Logged::All, Logged::Errors, Logged::Sampled];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Logged::Off => "off",
            Logged::All => "all",
            Logged::Errors => "errors",
            Logged::Sampled => "sampled",
        }
    }
}

/// Which bodies of a call are kept. Variants are only ever added, at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bodies {
    #[default]
    Both,
    Request,
    Answer,
}

impl Bodies {
    pub const ALL: [Bodies; 3] = [Bodies::Both, Bodies::Request, Bodies::Answer];

    /// The word of the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Bodies::Both => "both",
            Bodies::Request => "request",
            Bodies::Answer => "answer",
        }
    }
}

/// What an owner says about bodies of calls below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLog {
    pub log: Logged,
    /// The share of calls, in millionths, where they are sampled.
    pub sample_ppm: u32,
    pub keep_hours: u32,
    /// Rules that hide personal fields, as the file says them.
    pub mask: Vec<String>,
    pub bodies: Bodies,
    /// Images and sound in base64 are kept too.
    pub media: bool,
}

impl RequestLog {
    /// Whether bodies of this call may be kept, as far as that is known before its end. The same call gets the same answer everywhere.
    pub fn takes(&self, call: CallId) -> bool {
        match self.log {
            Logged::Off => false,
            Logged::All | Logged::Errors => true,
            // the lower half of an id is chance
            Logged::Sampled => (call.0 as u64) % 1_000_000 < u64::from(self.sample_ppm),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// This is all that the owner says.
    Set(Vec<Setting>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    Set(Vec<Setting>),
}

impl Aggregate for Policy {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;
    type Effect = ();

    fn decide(&self, Command::Set(settings): Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        Ok(if settings == self.settings { Vec::new() } else { vec![Event::Set(settings)] })
    }

    fn apply(&mut self, Event::Set(settings): &Event, _at: Timestamp) {
        self.settings.clone_from(settings);
    }
}

impl Policy {
    /// What is said about losses.
    pub fn losses(&self) -> Option<&str> {
        self.settings.iter().find_map(|setting| match setting {
            Setting::Losses(rules) => Some(rules.as_str()),
            Setting::RequestLog(_) => None,
        })
    }

    /// What is said about bodies of calls.
    pub fn request_log(&self) -> Option<&RequestLog> {
        self.settings.iter().find_map(|setting| match setting {
            Setting::RequestLog(log) => Some(log),
            Setting::Losses(_) => None,
        })
    }
}

impl Kept for Policy {
    type Id = Owner;
    fn stream(owner: Owner) -> StreamId {
        StreamId::Policy(owner)
    }
    fn find(state: &State, owner: Owner) -> Option<&Policy> {
        state.books.policies.get(&owner)
    }
    fn event(owner: Owner, event: Event) -> crate::Event {
        crate::Event::Policy(owner, event)
    }
}

#[cfg(test)]
mod tests;
