//! Looking for calls.

use super::{Call, Status, call_key, key_key, tenant_key};
use crate::{
    Fault, Snapshot,
    key::{Key, Parts},
};
use events::{CallId, KeyId, Money, ProviderId, ScopeId, TenantId, Timestamp, codec, limits};
use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};
use store::rows::Order;

/// A call's id bears the clock of its node, its admission the journal's: so far apart they may be.
const CLOCKS_APART: Duration = Duration::from_secs(3_600);

/// Which calls are wanted; None: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub scopes: Option<BTreeSet<ScopeId>>,
    pub keys: Option<BTreeSet<KeyId>>,
    pub models: Option<BTreeSet<String>>,
    pub providers: Option<BTreeSet<ProviderId>>,
    pub tags: Option<BTreeSet<String>>,
    pub statuses: Option<BTreeSet<Status>>,
    pub upstream_id: Option<String>,
    pub cost_from: Option<Money>,
    pub total_ms_from: Option<u64>,
}

fn has<T: Ord>(wanted: &Option<BTreeSet<T>>, value: Option<&T>) -> bool {
    wanted.as_ref().is_none_or(|wanted| value.is_some_and(|value| wanted.contains(value)))
}

impl Filter {
    fn takes(&self, call: &Call) -> bool {
        let end = call.end.as_ref();
        has(&self.scopes, call.scope.as_ref())
            && has(&self.keys, Some(&call.key))
            && has(&self.models, Some(&call.model))
            && has(&self.providers, end.and_then(|end| end.provider.as_ref()))
            && self.tags.as_ref().is_none_or(|wanted| call.tags.iter().any(|tag| wanted.contains(tag)))
            && has(&self.statuses, Some(&call.status()))
            && self.upstream_id.as_ref().is_none_or(|wanted| end.is_some_and(|end| end.upstream_id.as_ref() == Some(wanted)))
            && self.cost_from.is_none_or(|least| call.cost >= least)
            && self.total_ms_from.is_none_or(|least| end.is_some_and(|end| u64::from(end.total_ms) >= least))
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Query {
    pub tenants: BTreeSet<TenantId>,
    /// Admitted from then on, and before then.
    pub from: Timestamp,
    pub until: Timestamp,
    pub filter: Filter,
    pub order: Order,
    /// Behind this one, in the order of the question.
    pub after: Option<CallId>,
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub calls: Vec<(CallId, Call)>,
    /// Where to go on; there may be more, or nothing.
    pub next: Option<CallId>,
}

/// The id in a key of any of the tables: its last part.
pub(crate) fn id_of(key: &[u8]) -> Option<CallId> {
    let (_, id) = key.split_at_checked(key.len().checked_sub(16)?)?;
    Parts(id).u128().map(CallId)
}

/// One call, of one of these tenants.
///
/// # Errors
/// Rows that cannot be read.
pub fn find(snapshot: &Snapshot<'_>, id: CallId, tenants: &BTreeSet<TenantId>) -> Result<Option<Call>, Fault> {
    let row = snapshot.rows.get(&call_key(id).bytes())?;
    let call: Option<Call> = row.map(|row| codec::decode(&row)).transpose()?;
    Ok(call.filter(|call| tenants.contains(&call.tenant)))
}

impl Query {
    /// The table that names the fewest calls that are not wanted: that of one key, of one tenant, or all.
    fn table(&self) -> Key {
        match (&self.filter.keys, self.tenants.len()) {
            (Some(keys), _) if keys.len() == 1 => keys.first().map_or(Key::of(b'c'), |key| key_key(*key)),
            (_, 1) => self.tenants.first().map_or(Key::of(b'c'), |tenant| tenant_key(*tenant)),
            _ => Key::of(b'c'),
        }
    }

    /// The ids between which wanted ones lie: from, and before.
    fn bounds(&self) -> (u128, u128) {
        let id = |at: Timestamp| CallId::new(at.as_ms(), 0).0;
        let (mut from, mut before) = (id(self.from.minus(CLOCKS_APART)), id(self.until.plus(CLOCKS_APART)));
        match (self.after, self.order) {
            (Some(after), Order::Ascending) => from = from.max(after.0.saturating_add(1)),
            (Some(after), Order::Descending) => before = before.min(after.0),
            (None, _) => {}
        }
        (from, before)
    }

    fn takes(&self, call: &Call) -> bool {
        self.tenants.contains(&call.tenant) && (self.from..self.until).contains(&call.at) && self.filter.takes(call)
    }

    /// Answers it. At most [`limits::CALLS_LOOKED_AT_MAX`] rows are looked at: a page may have fewer calls than asked for, and more behind it.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn run(&self, snapshot: &Snapshot<'_>) -> Result<Found, Fault> {
        let (table, (from, before)) = (self.table(), self.bounds());
        let (from, before) = (table.clone().u128(from).bytes(), table.u128(before).bytes());
        let (mut found, mut looked_at, mut last, mut more, mut read) = (Vec::new(), 0, None, false, Ok(()));
        snapshot.rows.visit(&from, &before, self.order, &mut |key, value| {
            more = found.len() == self.limit || looked_at == limits::CALLS_LOOKED_AT_MAX;
            let Some(id) = id_of(key).filter(|_| !more) else { return ControlFlow::Break(()) };
            (looked_at, last) = (looked_at + 1, Some(id));
            let call =
                if key.first() == Some(&b'c') { codec::decode(value).map(Some).map_err(Fault::from) } else { self.row(snapshot, id) };
            match call {
                Ok(Some(call)) if self.takes(&call) => found.push((id, call)),
                Ok(_) => {}
                Err(fault) => read = Err(fault),
            }
            if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        read.map(|()| Found { calls: found, next: last.filter(|_| more) })
    }

    fn row(&self, snapshot: &Snapshot<'_>, id: CallId) -> Result<Option<Call>, Fault> {
        Ok(snapshot.rows.get(&call_key(id).bytes())?.map(|row| codec::decode(&row)).transpose()?)
    }
}
