//! Looking for alerts.

use super::{Alert, ended, row};
use crate::{
    Fault, Snapshot,
    key::{Key, Parts},
};
use events::{TenantId, Timestamp, alert::Kind, codec, limits};
use std::{collections::BTreeSet, ops::ControlFlow};
use store::rows::Order;

/// Whether what an alert says is still so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    All,
    Open,
    Closed,
}

/// Which alerts are wanted.
#[derive(Clone, Debug)]
pub struct Query {
    /// Those of these tenants; with `platform`, also what belongs to none.
    pub tenants: BTreeSet<TenantId>,
    pub platform: bool,
    pub from: Timestamp,
    pub until: Timestamp,
    /// None: all.
    pub kinds: Option<BTreeSet<Kind>>,
    pub standing: Standing,
    pub now: Timestamp,
    pub order: Order,
    /// Behind this position, in the order of the question.
    pub after: Option<u64>,
    pub limit: usize,
}

/// Alerts with their positions.
pub type Found = Vec<(u64, Alert)>;

fn position(key: &[u8]) -> Result<u64, Fault> {
    let mut parts = Parts(key);
    parts.u8().and(parts.u64()).ok_or_else(|| Fault("an alert has no key that can be read".into()))
}

/// All that are so now, by position.
///
/// # Errors
/// Rows that cannot be read.
pub fn open(snapshot: &Snapshot<'_>, now: Timestamp) -> Result<Found, Fault> {
    let mut positions: Result<Vec<u64>, Fault> = Ok(Vec::new());
    let (from, end) = (Key::of(b'o').bytes(), Key::of(b'o').end());
    snapshot.rows.visit(&from, &end, Order::Ascending, &mut |_, value| {
        let read = codec::decode::<u64>(value).map_err(Fault::from);
        match (&mut positions, read) {
            (Ok(positions), Ok(n)) => positions.push(n),
            (_, read) => positions = read.map(|_| Vec::new()),
        }
        if positions.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let mut positions = positions?;
    positions.sort_unstable();
    let mut found = Vec::new();
    for n in positions {
        let value = snapshot.rows.get(&row(n).bytes())?.ok_or_else(|| Fault(format!("alert {n} is not there")))?;
        let alert: Alert = codec::decode(&value)?;
        if alert.ended_at(now).is_none() {
            found.push((n, alert));
        }
    }
    Ok(found)
}

/// What is told of an alert: that it is so, or that it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The position of the event that it follows from.
    pub n: u64,
    pub alert: Alert,
    /// It is over: the position under which it was told.
    pub over: Option<u64>,
}

/// The first thing from a position on that is to be told of an alert that somebody takes.
///
/// # Errors
/// Rows that cannot be read.
pub fn pending(snapshot: &Snapshot<'_>, from: u64, takes: impl Fn(&Alert) -> bool) -> Result<Option<Told>, Fault> {
    let read = |n: u64, value: &[u8]| -> Result<Told, Fault> { Ok(Told { n, alert: codec::decode(value)?, over: None }) };
    let made = first(snapshot, &row(from), &Key::of(b'a').end(), |n, value| Ok(Some(read(n, value)?).filter(|told| takes(&told.alert))))?;
    let before = made.as_ref().map_or_else(|| Key::of(b'e').end(), |made| ended(made.n).bytes());
    let over = first(snapshot, &ended(from), &before, |n, value| {
        let of: u64 = codec::decode(value)?;
        let value = snapshot.rows.get(&row(of).bytes())?.ok_or_else(|| Fault(format!("alert {of} is not there")))?;
        Ok(Some(Told { over: Some(of), ..read(n, &value)? }).filter(|told| takes(&told.alert)))
    })?;
    Ok(over.or(made))
}

/// What is found in the first row from a key on that has something.
fn first<R>(
    snapshot: &Snapshot<'_>,
    from: &Key,
    before: &[u8],
    find: impl Fn(u64, &[u8]) -> Result<Option<R>, Fault>,
) -> Result<Option<R>, Fault> {
    let mut found = Ok(None);
    snapshot.rows.visit(&from.clone().bytes(), before, Order::Ascending, &mut |key, value| {
        found = position(key).and_then(|n| find(n, value));
        if matches!(found, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    found
}

impl Query {
    fn takes(&self, alert: &Alert) -> bool {
        let is_open = alert.ended_at(self.now).is_none();
        alert.tenant.map_or(self.platform, |tenant| self.tenants.contains(&tenant))
            && (self.from..self.until).contains(&alert.at)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&alert.kind))
            && match self.standing {
                Standing::All => true,
                Standing::Open => is_open,
                Standing::Closed => !is_open,
            }
    }

    /// The positions between which wanted ones lie: from, and before.
    fn bounds(&self) -> (u64, u64) {
        match (self.after, self.order) {
            (Some(after), Order::Ascending) => (after.saturating_add(1), u64::MAX),
            (Some(after), Order::Descending) => (0, after),
            (None, _) => (0, u64::MAX),
        }
    }

    /// Answers it, and behind which position the next page begins, if there may be one. At most [`limits::CALLS_LOOKED_AT_MAX`] rows
    /// are looked at.
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn run(&self, snapshot: &Snapshot<'_>) -> Result<(Found, Option<u64>), Fault> {
        if self.standing == Standing::Open {
            return self.run_open(snapshot);
        }
        let (from, before) = self.bounds();
        let (mut found, mut looked_at, mut last): (Found, usize, Option<u64>) = (Vec::new(), 0, None);
        let mut read: Result<bool, Fault> = Ok(false);
        snapshot.rows.visit(&row(from).bytes(), &row(before).bytes(), self.order, &mut |key, value| {
            if found.len() == self.limit || looked_at == limits::CALLS_LOOKED_AT_MAX {
                read = Ok(true);
                return ControlFlow::Break(());
            }
            let one = position(key).and_then(|n| Ok((n, codec::decode::<Alert>(value)?)));
            match one {
                Ok((n, alert)) => {
                    (looked_at, last) = (looked_at + 1, Some(n));
                    found.extend(self.takes(&alert).then_some((n, alert)));
                    ControlFlow::Continue(())
                }
                Err(fault) => {
                    read = Err(fault);
                    ControlFlow::Break(())
                }
            }
        })?;
        let more = read?;
        Ok((found, last.filter(|_| more)))
    }

    fn run_open(&self, snapshot: &Snapshot<'_>) -> Result<(Found, Option<u64>), Fault> {
        let (from, before) = self.bounds();
        let mut found = open(snapshot, self.now)?;
        found.retain(|(n, alert)| (from..before).contains(n) && self.takes(alert));
        if self.order == Order::Descending {
            found.reverse();
        }
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let next = found.last().map(|(n, _)| *n).filter(|_| more);
        Ok((found, next))
    }
}
