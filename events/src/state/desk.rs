//! The desk: a function of the log, part of the snapshot, not of a replay.

use crate::{
    NodeId, NoteId, Timestamp,
    codec::Undecodable,
    table::{Change, Table},
    transaction::{Outcome, Sequence},
};
use serde::{Deserialize, Serialize};

/// What is remembered of one Scribe: its last group's number and outcomes, a byte each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub boot: u64,
    pub seq: u64,
    pub outcomes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Desk {
    pub lanes: Table<(NodeId, u16), Lane>,
    pub notes: Table<NoteId, Vec<u8>>,
    clock: Table<(), Timestamp>,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk { lanes: Table::new(64), notes: Table::new(65), clock: Table::new(66) }
    }

    /// The time of the last entry; it never goes back.
    pub fn time(&self) -> Timestamp {
        self.clock.get(&()).copied().unwrap_or_default()
    }

    pub(super) fn advance(&mut self, time: Timestamp) {
        if time > self.time() {
            self.clock.insert((), time);
        }
    }

    /// The number of the lane's last group in this session, and its outcomes.
    pub(super) fn lane(&self, sequence: &Sequence) -> (u64, Vec<Outcome>) {
        match self.lanes.get(&(sequence.node, sequence.lane)).filter(|lane| lane.boot == sequence.boot.0) {
            Some(lane) => (lane.seq, lane.outcomes.iter().filter_map(|byte| Outcome::from_byte(*byte)).collect()),
            None => (0, Vec::new()),
        }
    }

    pub(super) fn remember(&mut self, sequence: &Sequence, outcomes: &[Outcome]) {
        let outcomes = outcomes.iter().map(|outcome| outcome.to_byte()).collect();
        self.lanes.insert((sequence.node, sequence.lane), Lane { boot: sequence.boot.0, seq: sequence.seq, outcomes });
    }

    pub(super) fn note(&mut self, id: NoteId, note: Option<Vec<u8>>) {
        match note {
            Some(note) => self.notes.insert(id, note),
            None => drop(self.notes.remove(&id)),
        }
    }

    pub(super) fn settle(&mut self, changes: &mut Vec<Change>) {
        self.lanes.settle(changes);
        self.notes.settle(changes);
        self.clock.settle(changes);
    }

    pub(super) fn digest(&self) -> u128 {
        self.lanes.digest().wrapping_add(self.notes.digest()).wrapping_add(self.clock.digest())
    }

    pub(super) fn load(&mut self, number: u8, key: &[u8], value: &[u8]) -> Result<bool, Undecodable> {
        match number {
            64 => self.lanes.load(key, value)?,
            65 => self.notes.load(key, value)?,
            66 => self.clock.load(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}
