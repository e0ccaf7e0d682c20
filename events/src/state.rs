//! The state that every replica holds: books (a function of the history) and desk (a function of the log), changed by [`State::apply`] alone.

mod books;
mod calls;
mod desk;
mod guards;
mod tenants;

pub use books::{Books, ClaimRow};
pub use desk::{Desk, Lane};

use crate::{
    AlertId, BudgetId, Event, Owner, ProviderId, StreamId, TenantId, Timestamp, alert, budget, call,
    codec::Undecodable,
    envelope::{Envelope, Recorded},
    limits, node, provider,
    table::Change,
    token,
    transaction::{Group, GroupOutcome, Outcome, Proposal, Transaction},
    webhook, {Aggregate, key, scope},
};
use std::sync::Arc;

/// Books and desk.
#[derive(Clone, Debug)]
pub struct State {
    pub books: Books,
    pub desk: Desk,
    /// Streams whose keepers have something to do since this was last taken; not part of the state.
    due: Vec<StreamId>,
}

/// The sums of the rows' hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Digests {
    /// Compared among replicas and with a replay.
    pub books: u128,
    /// Compared among replicas only.
    pub desk: u128,
}

impl Default for State {
    fn default() -> State {
        State { books: Books::new(), desk: Desk::new(), due: Vec::new() }
    }
}

impl State {
    /// Takes a group, and says what became of it: session, then for each transaction guards, append, fold. What was recorded goes
    /// behind `records`. `time` is the entry's.
    ///
    /// # Errors
    /// An event that this build does not know: the replica must stop. Nothing was changed by the transaction it stands in.
    pub fn apply(&mut self, group: &Group, time: Timestamp, records: &mut Vec<Recorded>) -> Result<GroupOutcome, Undecodable> {
        self.desk.advance(time);
        let Some(sequence) = group.sequence else {
            return self.transactions(group, records).map(GroupOutcome::Done);
        };
        if self.books.nodes.get(&sequence.node).is_none_or(|node| !node.holds(sequence.boot)) {
            return Ok(GroupOutcome::Fenced);
        }
        let (last, remembered) = self.desk.lane(&sequence);
        if sequence.seq == last && last > 0 {
            return Ok(GroupOutcome::Done(remembered));
        }
        if sequence.seq < last {
            return Ok(GroupOutcome::Late);
        }
        if sequence.seq != last + 1 {
            return Ok(GroupOutcome::Gap { expected: last + 1 });
        }
        let outcomes = self.transactions(group, records)?;
        self.desk.remember(&sequence, &outcomes);
        Ok(GroupOutcome::Done(outcomes))
    }

    /// Folds an event that was recorded: replay. Its envelope must be the next.
    ///
    /// # Errors
    /// The event is not the next one.
    pub fn replay(&mut self, record: &Recorded) -> Result<(), Undecodable> {
        if record.envelope.n != self.books.n {
            return Err(Undecodable(format!("event {} where {} is next", record.envelope.n, self.books.n)));
        }
        self.desk.advance(record.envelope.at);
        self.fold(&record.event, record.envelope.at);
        Ok(())
    }

    fn transactions(&mut self, group: &Group, records: &mut Vec<Recorded>) -> Result<Vec<Outcome>, Undecodable> {
        let mut outcomes = Vec::with_capacity(group.transactions.len());
        for transaction in &group.transactions {
            outcomes.push(match transaction {
                None => Outcome::TakenOut,
                Some(transaction) => self.transaction(transaction, group, records)?,
            });
        }
        Ok(outcomes)
    }

    fn transaction(&mut self, transaction: &Transaction, group: &Group, records: &mut Vec<Recorded>) -> Result<Outcome, Undecodable> {
        let events = transaction.events.iter().map(Proposal::event).collect::<Result<Vec<Arc<Event>>, Undecodable>>()?;
        let session = group.sequence.map(|sequence| (sequence.node, sequence.boot));
        let outcome = self.check(transaction, &events, session);
        if outcome != Outcome::Taken {
            return Ok(outcome);
        }
        let cause = self.books.n;
        for (proposal, event) in transaction.events.iter().zip(events) {
            let envelope = Envelope {
                n: self.books.n,
                stream: proposal.stream,
                version: self.next_version(&event),
                tenant: self.tenant_of(&event),
                at: self.desk.time(),
                principal: proposal.principal,
                cause,
                policy: proposal.policy,
            };
            let leaf = envelope.leaf(proposal.body()).into();
            self.fold(&event, envelope.at);
            records.push(Recorded { envelope, event, leaf });
        }
        for (id, note) in &transaction.notes {
            self.desk.note(*id, note.clone());
        }
        Ok(Outcome::Taken)
    }

    /// Folds one event: the books change by nothing else.
    fn fold(&mut self, event: &Event, at: Timestamp) {
        self.books.n += 1;
        self.expire_orphans(at);
        match event {
            Event::Tenant(id, event) => self.books.tenants.entry(*id).apply(event, at),
            Event::Scope(id, event) => self.books.scopes.entry(*id).apply(event, at),
            Event::Key(id, event) => {
                self.books.overlap(*id, event);
                self.books.keys.entry(*id).apply(event, at);
            }
            Event::Provider(id, event) => self.books.providers.entry(*id).apply(event, at),
            Event::Model(id, event) => self.books.models.entry(*id).apply(event, at),
            Event::Catalogue(event) => self.books.catalogue.entry(()).apply(event, at),
            Event::Budget(id, event) => self.books.budgets.entry(*id).apply(event, at),
            Event::Node(id, event) => {
                self.books.nodes.entry(*id).apply(event, at);
                if !matches!(event, node::Event::Joined) {
                    self.due.push(StreamId::Node(*id));
                }
            }
            Event::Call(id, event) => self.fold_call(*id, event, at),
            Event::Policy(owner, event) => self.books.policies.entry(*owner).apply(event, at),
            Event::Token(id, event) => self.books.tokens.entry(*id).apply(event, at),
            Event::Webhook(id, event) => self.books.webhooks.entry(*id).apply(event, at),
            Event::Alert(id, event) => self.books.alerts.entry(*id).apply(event, at),
        }
        self.index(event);
    }

    /// Keeps what is derived: versions, the next id, and the positions of what binds calls.
    fn index(&mut self, event: &Event) {
        let stream = event.stream();
        if !matches!(event, Event::Call(..)) {
            *self.books.versions.entry(stream) += 1;
            // streams of policies are numbered by their owners, those of alerts by what they are about
            if let (Ok(number), false) = (u64::try_from(stream.to_parts().1), matches!(stream, StreamId::Alert(_))) {
                self.books.head.next_id = self.books.head.next_id.max(number.saturating_add(1));
            }
        }
        if let Some(owner) = self.bound_by(event) {
            self.books.changed.insert(owner, self.books.n);
        }
        if let Event::Budget(id, budget::Event::Opened { identity, .. }) = event {
            self.books.budget_ids.insert(identity.clone(), *id);
        }
    }

    /// Whose calls an event binds: their admissions must have seen it.
    fn bound_by(&self, event: &Event) -> Option<Owner> {
        match event {
            Event::Tenant(_, event) if event.is_aside() => None,
            Event::Tenant(id, _) => Some(Owner::Tenant(*id)),
            Event::Scope(id, _) => self.books.scopes.get(id).map(|scope| Owner::Tenant(scope.tenant)),
            Event::Key(id, _) => Some(Owner::Key(*id)),
            Event::Budget(_, budget::Event::Alerted { .. }) => None,
            Event::Budget(id, _) => self.binds_below(self.books.budgets.get(id)?.identity.owner),
            Event::Policy(owner, _) => self.binds_below(*owner),
            _ => None,
        }
    }

    /// The level at which changes of an owner's are kept: a scope's at its tenant.
    fn binds_below(&self, owner: Owner) -> Option<Owner> {
        match owner {
            Owner::Scope(scope) => self.books.scopes.get(&scope).map(|scope| Owner::Tenant(scope.tenant)),
            owner => Some(owner),
        }
    }

    /// The tenant that an event belongs to; None for the platform's. Asked before the event is folded.
    pub fn tenant_of(&self, event: &Event) -> Option<TenantId> {
        match event {
            Event::Tenant(id, _) => Some(*id),
            Event::Scope(_, scope::Event::Created(settings)) => Some(settings.tenant),
            Event::Scope(id, _) => self.books.scopes.get(id).map(|scope| scope.tenant),
            Event::Key(_, key::Event::Created { settings, .. }) => Some(settings.tenant),
            Event::Key(id, _) => self.tenant_of_owner(Owner::Key(*id)),
            Event::Provider(_, provider::Event::Created(settings)) => settings.tenant,
            Event::Provider(id, _) => self.books.providers.get(id).and_then(|provider| provider.settings.tenant),
            Event::Budget(_, budget::Event::Opened { identity, .. }) => self.tenant_of_owner(identity.owner),
            Event::Budget(id, _) => self.books.budgets.get(id).and_then(|budget| self.tenant_of_owner(budget.identity.owner)),
            Event::Call(id, event) => self.tenant_of_call(*id, event),
            Event::Policy(owner, _) => self.tenant_of_owner(*owner),
            Event::Token(_, token::Event::Created { settings, .. }) => settings.tenant,
            Event::Token(id, _) => self.books.tokens.get(id).and_then(|token| token.settings.tenant),
            Event::Webhook(_, webhook::Event::Created(settings)) => settings.tenant,
            Event::Webhook(id, _) => self.books.webhooks.get(id).and_then(|webhook| webhook.settings.tenant),
            Event::Alert(id, _) => self.tenant_of_alert(*id),
            Event::Model(..) | Event::Catalogue(_) | Event::Node(..) => None,
        }
    }

    /// What happens to a tenant's own provider is told to that tenant.
    fn tenant_of_alert(&self, id: AlertId) -> Option<TenantId> {
        let provider = (id.kind() == Some(alert::Kind::BreakerOpen)).then(|| ProviderId(id.subject()))?;
        self.books.providers.get(&provider).and_then(|provider| provider.settings.tenant)
    }

    /// The tenant of an event of the history: of its envelope; what hangs on something that was made in the same transaction may bear none
    /// there, and is told by what is known since.
    pub fn tenant_of_record(&self, record: &Recorded) -> Option<TenantId> {
        // whose a provider was then, only its envelope knows
        let hangs = matches!(*record.event, Event::Budget(..) | Event::Policy(..) | Event::Scope(..) | Event::Key(..));
        record.envelope.tenant.or_else(|| hangs.then(|| self.tenant_of(&record.event)).flatten())
    }

    /// The name of whom a budget, a rate or a policy belongs to; None: the platform, or nobody that is known.
    pub fn owner_name(&self, owner: Owner) -> Option<&str> {
        let books = &self.books;
        match owner {
            Owner::Platform => None,
            Owner::Tenant(id) => books.tenants.get(&id).map(|tenant| tenant.name.as_str()),
            Owner::Scope(id) => books.scopes.get(&id).map(|scope| scope.name.as_str()),
            Owner::Key(id) => books.keys.get(&id).map(|key| key.name.as_str()),
        }
    }

    /// The tenant of whom a budget or a rate is.
    pub fn tenant_of_owner(&self, owner: Owner) -> Option<TenantId> {
        match owner {
            Owner::Platform => None,
            Owner::Tenant(id) => Some(id),
            Owner::Scope(id) => self.books.scopes.get(&id).map(|scope| scope.tenant),
            Owner::Key(id) => self.books.keys.get(&id).map(|key| key.tenant),
        }
    }

    /// Events in a stream so far; of calls only while they are open or orphans.
    pub fn version(&self, stream: StreamId) -> u64 {
        match stream {
            StreamId::Call(id) => {
                self.books.open.get(&id).or_else(|| self.books.orphans.get(&id).map(|orphan| &orphan.open)).map_or(0, |open| open.version)
            }
            stream => self.books.versions.get(&stream).copied().unwrap_or(0),
        }
    }

    /// The number that an event gets in its stream; 0 for what comes to a call that is no longer known.
    fn next_version(&self, event: &Event) -> u64 {
        match (event, self.version(event.stream())) {
            (Event::Call(_, call::Event::Admitted(_)), _) => 1,
            (Event::Call(..), 0) => 0,
            (_, version) => version.saturating_add(1),
        }
    }

    /// The budget with this identity, open or closed.
    pub fn budget_id(&self, identity: &budget::Identity) -> Option<BudgetId> {
        self.books.budget_ids.get(identity).copied()
    }

    /// The figures of a budget in the window of `at`.
    pub fn figures(&self, id: BudgetId, at: Timestamp) -> Option<(Timestamp, budget::Window)> {
        let budget = self.books.budgets.get(&id)?;
        let start = budget.identity.every.window(at);
        Some((start, self.books.windows.get(&(id, start)).copied().unwrap_or_default()))
    }

    /// The position that the policy is at: events so far.
    pub fn position(&self) -> u64 {
        self.books.n
    }

    /// Streams whose keepers have something to do since this was last asked.
    pub fn take_due(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.due)
    }

    /// Brings the digests up to date and hands out the rows that changed since the last time.
    pub fn settle(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        self.books.settle(&mut changes);
        self.desk.settle(&mut changes);
        changes
    }

    /// As of the last [`State::settle`].
    pub fn digests(&self) -> Digests {
        Digests { books: self.books.digest(), desk: self.desk.digest() }
    }

    /// Takes in a stored row.
    ///
    /// # Errors
    /// A row that cannot be read, or of a table that this build does not know.
    pub fn load(&mut self, table: u8, key: &[u8], value: &[u8]) -> Result<(), Undecodable> {
        match self.books.load(table, key, value)? || self.desk.load(table, key, value)? {
            true => Ok(()),
            false => Err(Undecodable(format!("table {table} is not known"))),
        }
    }

    /// After the last [`State::load`]: makes what is derived from the rows.
    pub fn loaded(&mut self) {
        self.books.loaded();
        self.due.extend(self.books.nodes.iter().map(|(id, _)| StreamId::Node(*id)));
    }

    fn expire_orphans(&mut self, at: Timestamp) {
        let limit = at.minus(limits::ORPHAN_KEPT);
        while let Some((orphaned_at, id)) = self.books.orphan_times.first().copied().filter(|(orphaned_at, _)| *orphaned_at < limit) {
            self.books.orphan_times.remove(&(orphaned_at, id));
            if let Some(orphan) = self.books.orphans.remove(&id) {
                for (budget, _) in &orphan.open.hold {
                    self.change_window(*budget, orphan.open.at, at, |window| window.orphans = window.orphans.saturating_sub(1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
