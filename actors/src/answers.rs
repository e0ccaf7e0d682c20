//! Answers to administrators' writes under idempotency keys: notes, sealed, so that the same request gets the same answer again, also
//! after a restart.
//!
//! A note is there before the change, with the secret that the change uses if it makes one, and once more behind it with the answer. A
//! request that ended between the two is carried out again, with the same secret: what it made is found, and not made twice.

use crate::{
    administration::{Administration, TokenFault},
    gate,
};
use events::{
    NoteId, State, Timestamp, codec, limits,
    transaction::{Group, Transaction},
};
use parking_lot::Mutex;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::oneshot;

/// A request: where its note is kept, and what it is told from others by.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Of the token and its idempotency key.
    pub slot: [u8; 16],
    /// Of method, path, conditions and body.
    pub digest: [u8; 32],
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What is known of a request before it is carried out.
#[derive(Debug)]
pub enum Known {
    /// It is to be carried out; what it makes has this secret.
    New(Begun),
    /// It was answered.
    Answered(Answer),
    /// Another request came under its key.
    Other,
}

/// A request that is being carried out.
#[derive(Clone, Debug)]
pub struct Begun {
    asked: Asked,
    at: Timestamp,
    pub secret: String,
}

/// Requests that are being carried out here. See the module.
#[derive(Default)]
pub struct Answers {
    in_flight: Mutex<BTreeSet<[u8; 16]>>,
    /// Notes are made one after the other, so that never more are kept than may be.
    turn: tokio::sync::Mutex<()>,
}

/// Until it is dropped, its slot is taken.
pub struct InFlight {
    administration: Arc<Administration>,
    slot: [u8; 16],
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.administration.answers.in_flight.lock().remove(&self.slot);
    }
}

/// What is sealed: digest, secret, and the answer when there is one.
type Content = ([u8; 32], String, Option<(u16, Vec<(String, Vec<u8>)>, Vec<u8>)>);

/// In front of what is sealed: the form, and when the request came, by which notes are forgotten.
const FORM: u8 = 1;
const HEAD_BYTES: usize = 9;

fn time_of(note: &[u8]) -> Option<Timestamp> {
    let (form, rest) = note.split_first()?;
    let at = rest.get(..HEAD_BYTES - 1)?.try_into().ok()?;
    (*form == FORM).then_some(Timestamp(u64::from_be_bytes(at)))
}

/// A note opens only in its own slot, and with its own time.
fn place(slot: &[u8; 16], head: &[u8]) -> Vec<u8> {
    [b"administrator's answer ".as_slice(), slot, head].concat()
}

/// Notes of answers that make room for another: what is over, and the oldest of too many.
fn to_forget(state: &State, now: Timestamp) -> Vec<NoteId> {
    let all = NoteId::Answer([0; 16])..=NoteId::Answer([u8::MAX; 16]);
    let mut times: Vec<(Timestamp, NoteId)> =
        state.desk.notes.range(all).map(|(id, note)| (time_of(note).unwrap_or_default(), *id)).collect();
    times.sort_unstable();
    let too_many = (times.len() + 1).saturating_sub(limits::ANSWERS_MAX);
    let over = times.partition_point(|(at, _)| at.plus(limits::ANSWER_KEPT) <= now);
    times.truncate(too_many.max(over).min(limits::TRANSACTION_EVENTS_MAX));
    times.into_iter().map(|(_, id)| id).collect()
}

impl Administration {
    /// Takes the slot of a request; None: one is being carried out there.
    pub fn enter(self: &Arc<Administration>, slot: [u8; 16]) -> Option<InFlight> {
        let is_free = self.answers.in_flight.lock().insert(slot);
        is_free.then(|| InFlight { administration: self.clone(), slot })
    }

    /// Looks whether a request was answered, and notes that it begins if it was not.
    ///
    /// # Errors
    /// The note could not be made.
    pub async fn begin(&self, asked: Asked) -> Result<Known, TokenFault> {
        let _turn = self.answers.turn.lock().await;
        let (now, id) = (self.core.clock.now(), NoteId::Answer(asked.slot));
        let look = move |state: &State| (state.desk.notes.get(&id).cloned(), to_forget(state, now));
        let (note, forgotten) = self.core.look(look).await.ok_or_else(stopping)?;
        let known = note.filter(|_| !forgotten.contains(&id)).and_then(|note| self.read(&asked.slot, &note));
        match known {
            Some((_, (digest, ..))) if digest != asked.digest => Ok(Known::Other),
            Some((_, (.., Some((status, headers, body))))) => Ok(Known::Answered(Answer { status, headers, body })),
            Some((at, (_, secret, None))) => Ok(Known::New(Begun { asked, at, secret })),
            None => {
                let begun = Begun { asked, at: now, secret: self.make_secret() };
                let mut notes: Vec<_> = forgotten.into_iter().filter(|old| *old != id).map(|old| (old, None)).collect();
                notes.push((id, Some(self.sealed(&begun, None))));
                self.note(notes).await?;
                Ok(Known::New(begun))
            }
        }
    }

    /// Keeps the answer of a request.
    ///
    /// # Errors
    /// The note could not be made: asked again, the request is carried out again.
    pub async fn answered(&self, begun: &Begun, answer: Answer) -> Result<(), TokenFault> {
        let note = self.sealed(begun, Some(answer));
        self.note(vec![(NoteId::Answer(begun.asked.slot), Some(note))]).await
    }

    fn sealed(&self, begun: &Begun, answer: Option<Answer>) -> Vec<u8> {
        let head = [&[FORM], begun.at.0.to_be_bytes().as_slice()].concat();
        let answer = answer.map(|Answer { status, headers, body }| (status, headers, body));
        let content: Content = (begun.asked.digest, begun.secret.clone(), answer);
        let sealed = (self.secrets)().seal_at(&place(&begun.asked.slot, &head), &codec::encode(&content));
        [head, sealed].concat()
    }

    fn read(&self, slot: &[u8; 16], note: &[u8]) -> Option<(Timestamp, Content)> {
        let (at, (head, sealed)) = (time_of(note)?, note.split_at_checked(HEAD_BYTES)?);
        let content = (self.secrets)().unsealed_at(&place(slot, head), sealed)?;
        Some((at, codec::decode(&content).ok()?))
    }

    async fn note(&self, notes: Vec<(NoteId, Option<Vec<u8>>)>) -> Result<(), TokenFault> {
        let group = Group { sequence: None, transactions: vec![Some(Transaction { notes, ..Transaction::default() })] };
        let (reply, answer) = oneshot::channel();
        self.core.gate.cast(gate::Message::Propose { group, reply }).map_err(|_| stopping())?;
        match answer.await.map_err(|_| stopping())? {
            Ok(_) => Ok(()),
            Err(fault) => Err(TokenFault::Stopped(fault.to_string())),
        }
    }
}

fn stopping() -> TokenFault {
    TokenFault::Stopped("the node is stopping".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(notes: impl IntoIterator<Item = (u128, u64)>) -> State {
        let mut state = State::default();
        let notes = notes.into_iter().map(|(slot, at)| {
            let note = [&[FORM], Timestamp::from_ms(at).0.to_be_bytes().as_slice()].concat();
            (NoteId::Answer(slot.to_be_bytes()), Some(note))
        });
        let transaction = Transaction { notes: notes.collect(), ..Transaction::default() };
        let group = Group { sequence: None, transactions: vec![Some(transaction)] };
        state.apply(&group, Timestamp::from_ms(1), &mut Vec::new()).unwrap();
        state
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let now = Timestamp::from_ms(10_000_000_000);
        let recent = |at: u128| (u128::MAX / 2 - at, 9_999_000_000 + at as u64);
        assert_eq!(to_forget(&kept((0..10).map(recent)), now), []);
        let full = kept((0..limits::ANSWERS_MAX as u128 + 2).map(recent));
        let oldest = [0, 1, 2].map(|at| NoteId::Answer(recent(at).0.to_be_bytes()));
        assert_eq!(to_forget(&full, now), oldest, "one more than may be kept is to come");
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let day = limits::ANSWER_KEPT.as_millis() as u64;
        let state = kept([(7, 1_000), (8, 1_001)]);
        assert_eq!(to_forget(&state, Timestamp::from_ms(1_000 + day)), [NoteId::Answer(7u128.to_be_bytes())]);
        assert_eq!(to_forget(&state, Timestamp::from_ms(999 + day)), []);
    }
}
