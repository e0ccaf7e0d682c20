//! What was configured, as of a position: names, trees, limits. Folded from every event but those of calls, which it does not hold.

use crate::{Fault, Snapshot, draft::Draft, key::Key};
use events::{Event, KeyId, ScopeId, State, TenantId, envelope::Recorded};
use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};
use store::{Reading, rows::Order};

/// The events that it was folded from, by position: it is made again from them at a start.
const TABLE: u8 = b'w';

/// See the module.
#[derive(Clone, Default)]
pub struct World {
    pub state: State,
}

impl World {
    /// Folds again what was kept.
    pub(crate) fn load(reading: &Reading<'_>) -> Result<World, Fault> {
        World::fold_up_to(reading, Key::of(TABLE).end())
    }

    fn fold_up_to(reading: &Reading<'_>, end: Vec<u8>) -> Result<World, Fault> {
        let mut world = World::default();
        let mut folded = Ok(());
        let from = Key::of(TABLE).bytes();
        reading.visit(&from, &end, Order::Ascending, &mut |_, leaf| {
            folded = Recorded::read(leaf).and_then(|record| world.take(&record)).map_err(Fault::from);
            if folded.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        folded.map(|()| world)
    }

    /// The same as of an earlier position: the events before it.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn at(snapshot: &Snapshot<'_>, position: u64) -> Result<World, Fault> {
        World::fold_up_to(snapshot.rows, Key::of(TABLE).u64(position).bytes())
    }

    /// Where the leaf of an event lies.
    pub(crate) fn leaf_key(n: u64) -> Vec<u8> {
        Key::of(TABLE).u64(n).bytes()
    }

    fn take(&mut self, record: &Recorded) -> Result<(), events::codec::Undecodable> {
        self.state.books.n = record.envelope.n; // there is nothing of calls in between
        self.state.replay(record)?;
        self.state.settle(); // what changed is written nowhere
        self.state.take_due();
        Ok(())
    }

    /// Folds one event and keeps it; answers whether it was one of its own.
    pub(crate) fn fold(&mut self, record: &Recorded, draft: &mut Draft<'_>) -> Result<bool, Fault> {
        if matches!(*record.event, Event::Call(..)) {
            return Ok(false);
        }
        self.take(record)?;
        draft.put_raw(Key::of(TABLE).u64(record.envelope.n), &record.leaf);
        Ok(true)
    }

    /// The scope that a key hangs on; None: on its tenant.
    pub fn scope_of(&self, key: KeyId) -> Option<ScopeId> {
        self.state.books.keys.get(&key).and_then(|key| key.scope)
    }

    /// The tenant of a key.
    pub fn tenant_of(&self, key: KeyId) -> TenantId {
        self.state.books.keys.get(&key).map(|key| key.tenant).unwrap_or_default()
    }

    /// A scope and everything below it.
    pub fn below(&self, scope: ScopeId) -> BTreeSet<ScopeId> {
        let scopes = &self.state.books.scopes;
        let mut found = BTreeSet::from([scope]);
        loop {
            let more =
                scopes.iter().filter(|(id, scope)| !found.contains(id) && scope.parent.is_some_and(|parent| found.contains(&parent)));
            let more: Vec<ScopeId> = more.map(|(id, _)| *id).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }
}

/// Shared with those who read.
pub(crate) type Shared = Arc<World>;
