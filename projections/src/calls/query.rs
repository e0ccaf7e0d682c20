//! Looking for calls.

use super::{Call, Index, Status, call_key, second_of};
use crate::{Fault, Snapshot, key::Parts};
use events::{CallId, KeyId, Money, ProviderId, ScopeId, TenantId, Timestamp, UserId, codec, limits};
use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};
use store::rows::Order;

/// A call's id bears the clock of its node, its admission the journal's: so far apart they may be.
const CLOCKS_APART: Duration = Duration::from_secs(3_600);

/// Which calls are wanted; None: all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub scopes: Option<BTreeSet<ScopeId>>,
    pub keys: Option<BTreeSet<KeyId>>,
    pub users: Option<BTreeSet<UserId>>,
    pub models: Option<BTreeSet<String>>,
    pub providers: Option<BTreeSet<ProviderId>>,
    pub tags: Option<BTreeSet<String>>,
    pub statuses: Option<BTreeSet<Status>>,
    pub upstream_id: Option<String>,
    pub request_id: Option<String>,
    pub trace_id: Option<u128>,
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
            && has(&self.users, call.caller.user.as_ref())
            && has(&self.models, Some(&call.model))
            && has(&self.providers, end.and_then(|end| end.provider.as_ref()))
            && self.tags.as_ref().is_none_or(|wanted| call.tags.iter().any(|tag| wanted.contains(tag)))
            && has(&self.statuses, Some(&call.status()))
            && self.upstream_id.as_ref().is_none_or(|wanted| end.is_some_and(|end| end.upstream_id.as_ref() == Some(wanted)))
            && self.request_id.as_ref().is_none_or(|wanted| call.caller.request_id.as_ref() == Some(wanted))
            && self.trace_id.is_none_or(|wanted| call.caller.trace_id == Some(wanted))
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

/// The id in the key of a call: its last part.
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
    /// The index that names the fewest calls that are not wanted: that of one key, or of one tenant; None: all calls.
    fn index(&self) -> Option<Index> {
        match (&self.filter.keys, self.tenants.len()) {
            (Some(keys), _) if keys.len() == 1 => keys.first().map(|key| Index::Key(*key)),
            (_, 1) => self.tenants.first().map(|tenant| Index::Tenant(*tenant)),
            _ => None,
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
        let mut look = Look { query: self, found: Vec::new(), looked_at: 0, last: None, more: false };
        let (from, before) = self.bounds();
        let mut read = Ok(ControlFlow::Continue(()));
        let mut go_on = |seen: Result<ControlFlow<()>, Fault>| {
            read = seen;
            if matches!(read, Ok(ControlFlow::Continue(()))) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        match self.index() {
            None => {
                let (from, before) = (call_key(CallId(from)).bytes(), call_key(CallId(before)).bytes());
                snapshot.rows.visit(&from, &before, self.order, &mut |key, value| go_on(look.row(key, value)))?;
            }
            Some(index) => {
                let (first, last) = (second_of(CallId(from)), second_of(CallId(before)).saturating_add(1));
                let ids = |value: &[u8]| -> Result<Vec<u128>, Fault> {
                    let ids: Vec<u128> = codec::decode(value)?;
                    let mut ids: Vec<u128> = ids.into_iter().filter(|id| (from..before).contains(id)).collect();
                    if self.order == Order::Descending {
                        ids.reverse();
                    }
                    Ok(ids)
                };
                snapshot.rows.visit(&index.key(first).bytes(), &index.key(last).bytes(), self.order, &mut |_, value| {
                    go_on(ids(value).and_then(|ids| look.rows(&ids, snapshot)))
                })?;
            }
        }
        read.map(|_| Found { calls: look.found, next: look.last.filter(|_| look.more) })
    }
}

/// Looking at one call after the other.
struct Look<'a> {
    query: &'a Query,
    found: Vec<(CallId, Call)>,
    looked_at: usize,
    last: Option<CallId>,
    /// There was one more than may be looked at, or than is wanted.
    more: bool,
}

impl Look<'_> {
    fn is_full(&mut self) -> bool {
        self.more = self.found.len() == self.query.limit || self.looked_at == limits::CALLS_LOOKED_AT_MAX;
        self.more
    }

    fn see(&mut self, id: CallId, call: Call) {
        (self.looked_at, self.last) = (self.looked_at + 1, Some(id));
        if self.query.takes(&call) {
            self.found.push((id, call));
        }
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<ControlFlow<()>, Fault> {
        let Some(id) = id_of(key) else { return Err(Fault("a call has no key that can be read".into())) };
        if self.is_full() {
            return Ok(ControlFlow::Break(()));
        }
        self.see(id, codec::decode(value)?);
        Ok(ControlFlow::Continue(()))
    }

    fn rows(&mut self, ids: &[u128], snapshot: &Snapshot<'_>) -> Result<ControlFlow<()>, Fault> {
        for id in ids {
            if self.is_full() {
                return Ok(ControlFlow::Break(()));
            }
            let row = snapshot.rows.get(&call_key(CallId(*id)).bytes())?;
            let row = row.ok_or_else(|| Fault(format!("the index names {}, which is not there", CallId(*id))))?;
            self.see(CallId(*id), codec::decode(&row)?);
        }
        Ok(ControlFlow::Continue(()))
    }
}
