//! Who changed what: every event but those of calls, with what was there before.

mod before;
#[cfg(test)]
mod tests;

use crate::{
    Draft, Fault, Projection, Snapshot, World,
    key::{Key, Parts},
};
use events::{Event, TenantId, Timestamp, codec, envelope::Recorded, limits};
use std::{collections::BTreeSet, ops::ControlFlow};
use store::rows::Order;

#[derive(Default)]
pub(crate) struct Audit;

fn key(n: u64) -> Key {
    Key::of(b'a').u64(n)
}

impl Projection for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn form(&self) -> u32 {
        1
    }

    fn fold(&mut self, record: &Recorded, world: &World, draft: &mut Draft<'_>) -> Result<(), Fault> {
        if !matches!(*record.event, Event::Call(..)) {
            let before = before::before(&record.event, &world.state).map(|event| event.encode());
            draft.put(key(record.envelope.n), &before);
        }
        Ok(())
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Change {
    pub record: Recorded,
    /// The event that would bring back what was there before; None: there was nothing, or the change is a mere step.
    pub before: Option<Event>,
}

/// Which changes are wanted.
#[derive(Clone, Debug)]
pub struct Query {
    /// Those of these tenants; with `platform`, also what belongs to none.
    pub tenants: BTreeSet<TenantId>,
    pub platform: bool,
    pub from: Timestamp,
    pub until: Timestamp,
    /// Nouns, as `key`; None: all.
    pub kinds: Option<BTreeSet<String>>,
    /// The id of what was changed.
    pub subject: Option<String>,
    pub order: Order,
    /// Behind this position, in the order of the question.
    pub after: Option<u64>,
    pub limit: usize,
}

impl Query {
    /// Answers it, and where the next page begins, if there is one.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn run(&self, snapshot: &Snapshot<'_>) -> Result<(Vec<Change>, Option<u64>), Fault> {
        let (mut from, mut before) = (0, u64::MAX);
        match (self.after, self.order) {
            (Some(after), Order::Ascending) => from = after.saturating_add(1),
            (Some(after), Order::Descending) => before = after,
            (None, _) => {}
        }
        let (mut found, mut last, mut looked_at) = (Vec::new(), None, 0);
        let mut read: Result<bool, Fault> = Ok(false);
        snapshot.rows.visit(&key(from).bytes(), &key(before).bytes(), self.order, &mut |row, value| {
            if found.len() == self.limit || looked_at == limits::CHANGES_LOOKED_AT_MAX {
                read = Ok(true);
                return ControlFlow::Break(());
            }
            match self.look(snapshot, row, value, &mut found) {
                Ok(Some(n)) => {
                    (looked_at, last) = (looked_at + 1, Some(n));
                    ControlFlow::Continue(())
                }
                // in the order of time: there is none behind it either
                Ok(None) => ControlFlow::Break(()),
                Err(fault) => {
                    read = Err(fault);
                    ControlFlow::Break(())
                }
            }
        })?;
        let more = read?;
        Ok((found, last.filter(|_| more)))
    }

    fn is_past(&self, at: Timestamp) -> bool {
        match self.order {
            Order::Ascending => at >= self.until,
            Order::Descending => at < self.from,
        }
    }

    /// Takes what a row says, if it is wanted; answers its position. None: it is past the time that is asked about.
    fn look(&self, snapshot: &Snapshot<'_>, row: &[u8], value: &[u8], found: &mut Vec<Change>) -> Result<Option<u64>, Fault> {
        let mut parts = Parts(row);
        let n = parts.u8().and(parts.u64()).ok_or_else(|| Fault("a change has no key that can be read".into()))?;
        let leaf = snapshot.rows.get(&World::leaf_key(n))?.ok_or_else(|| Fault(format!("event {n} is not kept")))?;
        let record = Recorded::read(&leaf)?;
        if self.is_past(record.envelope.at) {
            return Ok(None);
        }
        if self.takes(&record, &snapshot.world.state) {
            let before: Option<Vec<u8>> = codec::decode(value)?;
            let before = before.map(|body| Event::decode(record.envelope.stream, &body)).transpose()?;
            found.push(Change { record, before });
        }
        Ok(Some(n))
    }

    fn takes(&self, record: &Recorded, state: &events::State) -> bool {
        let envelope = &record.envelope;
        let kind = || events::cloudevent::type_name(&record.event).split('.').nth(1).unwrap_or_default().to_owned();
        state.tenant_of_record(record).map_or(self.platform, |tenant| self.tenants.contains(&tenant))
            && (self.from..self.until).contains(&envelope.at)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind()))
            && self.subject.as_ref().is_none_or(|subject| envelope.stream.to_string() == *subject)
    }
}
