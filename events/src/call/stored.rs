//! The forms in which events of calls are stored, every version of them. A new form is a new variant at the end.

use super::{Adjusted, Admitted, Caller, Event, Extended, Finished, Orphaned, Translated, Unsent};
use crate::KeyId;
use serde::{Deserialize, Serialize, Serializer};

/// To be read: old forms become today's.
#[derive(Deserialize)]
pub(super) enum Read {
    /// Before callers were known.
    Admitted(Box<Admitted>),
    Extended(Extended),
    Finished(Box<Finished>),
    Released {
        key: KeyId,
        reason: Unsent,
    },
    Orphaned(Orphaned),
    Adjusted(Box<Adjusted>),
    Translated(Box<Translated>),
    AdmittedFor(Box<Admitted>, Caller),
}

/// To be written: the same variants in the same order, held by the golden bytes.
#[derive(Serialize)]
enum Written<'a> {
    Admitted(&'a Admitted),
    Extended(&'a Extended),
    Finished(&'a Finished),
    Released { key: KeyId, reason: Unsent },
    Orphaned(&'a Orphaned),
    Adjusted(&'a Adjusted),
    Translated(&'a Translated),
    AdmittedFor(&'a Admitted, &'a Caller),
}

impl From<Read> for Event {
    fn from(read: Read) -> Event {
        match read {
            Read::Admitted(admitted) => Event::Admitted(admitted),
            Read::Extended(extended) => Event::Extended(extended),
            Read::Finished(finished) => Event::Finished(finished),
            Read::Released { key, reason } => Event::Released { key, reason },
            Read::Orphaned(orphaned) => Event::Orphaned(orphaned),
            Read::Adjusted(adjusted) => Event::Adjusted(adjusted),
            Read::Translated(translated) => Event::Translated(translated),
            Read::AdmittedFor(mut admitted, caller) => {
                admitted.caller = caller;
                Event::Admitted(admitted)
            }
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Event::Admitted(admitted) if admitted.caller == Caller::default() => Written::Admitted(admitted),
            Event::Admitted(admitted) => Written::AdmittedFor(admitted, &admitted.caller),
            Event::Extended(extended) => Written::Extended(extended),
            Event::Finished(finished) => Written::Finished(finished),
            Event::Released { key, reason } => Written::Released { key: *key, reason: *reason },
            Event::Orphaned(orphaned) => Written::Orphaned(orphaned),
            Event::Adjusted(adjusted) => Written::Adjusted(adjusted),
            Event::Translated(translated) => Written::Translated(translated),
        };
        written.serialize(serializer)
    }
}
