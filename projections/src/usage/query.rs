//! Questions about usage: over whole hours, by any of the dimensions.

use super::{
    roll::rolled_key,
    row::{self, Cut, Dims, Grain, Sums},
};
use crate::{Fault, Snapshot};
use events::{KeyId, ProviderId, ScopeId, TenantId, Timestamp, UserId, codec, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};
use store::rows::Order;

/// What rows of an answer are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Tenant,
    Scope,
    Key,
    User,
    Model,
    Provider,
    Tag,
}

impl Dimension {
    pub const ALL: [Dimension; 7] =
        [Dimension::Tenant, Dimension::Scope, Dimension::Key, Dimension::User, Dimension::Model, Dimension::Provider, Dimension::Tag];

    pub fn as_str(self) -> &'static str {
        match self {
            Dimension::Tenant => "tenant",
            Dimension::Scope => "scope",
            Dimension::Key => "key",
            Dimension::User => "user",
            Dimension::Model => "model",
            Dimension::Provider => "provider",
            Dimension::Tag => "tag",
        }
    }
}

/// Which rows count; None: all. A scope counts with everything below it.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub scopes: Option<BTreeSet<ScopeId>>,
    pub keys: Option<BTreeSet<KeyId>>,
    pub users: Option<BTreeSet<UserId>>,
    pub models: Option<BTreeSet<String>>,
    pub providers: Option<BTreeSet<ProviderId>>,
    pub tags: Option<BTreeSet<String>>,
}

fn has<T: Ord>(wanted: &Option<BTreeSet<T>>, value: &Option<T>) -> bool {
    wanted.as_ref().is_none_or(|wanted| value.as_ref().is_some_and(|value| wanted.contains(value)))
}

impl Filter {
    fn takes(&self, dims: &Dims) -> bool {
        has(&self.scopes, &dims.scope)
            && has(&self.keys, &dims.key)
            && has(&self.users, &dims.user)
            && has(&self.models, &dims.model)
            && has(&self.providers, &dims.provider)
            && has(&self.tags, &dims.tag)
    }
}

/// Whole hours: from the beginning of the one that holds `from` to the end of the one that holds the last moment before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Range {
    pub fn hours(from: Timestamp, until: Timestamp) -> Range {
        let last = Timestamp(until.0.saturating_sub(1));
        Range { from: Grain::Hour.start(from), until: Grain::Hour.next(Grain::Hour.start(last)) }
    }

    /// The pieces that cover it, each of the longest rows that fit and are summed up.
    fn pieces(self, longest: Grain, rolled: Timestamp) -> Vec<(Grain, Timestamp, Timestamp)> {
        let mut pieces: Vec<(Grain, Timestamp, Timestamp)> = Vec::new();
        let mut at = self.from;
        while at < self.until {
            let fits = |grain: &&Grain| {
                let next = grain.next(at);
                **grain <= longest && grain.start(at) == at && next <= self.until && (**grain == Grain::Hour || next <= rolled)
            };
            let grain = Grain::ALL.iter().rev().find(fits).copied().unwrap_or(Grain::Hour);
            let next = grain.next(at);
            match pieces.last_mut() {
                Some((last, _, until)) if *last == grain => *until = next,
                _ => pieces.push((grain, at, next)),
            }
            at = next;
        }
        pieces
    }
}

/// A question.
#[derive(Clone, Debug)]
pub struct Query {
    pub tenants: BTreeSet<TenantId>,
    pub range: Range,
    /// Rows of the answer are told apart by time too, in steps of this length.
    pub step: Option<Grain>,
    pub group_by: BTreeSet<Dimension>,
    pub filter: Filter,
}

/// What one row of an answer is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The beginning of its step.
    pub start: Option<Timestamp>,
    pub tenant: Option<TenantId>,
    pub dims: Dims,
}

impl Query {
    /// Users and tags are not told apart together: no table has both.
    pub fn crosses_users_and_tags(&self) -> bool {
        self.asks(Dimension::User, self.filter.users.is_some()) && self.asks(Dimension::Tag, self.filter.tags.is_some())
    }

    /// A call that has several of the tags would count under each of them.
    pub fn counts_twice(&self) -> bool {
        self.filter.tags.as_ref().is_some_and(|tags| tags.len() > 1) && !self.group_by.contains(&Dimension::Tag)
    }

    fn asks(&self, dimension: Dimension, is_filtered: bool) -> bool {
        is_filtered || self.group_by.contains(&dimension)
    }

    /// The smallest table that has what the question names, but for users.
    fn cut(&self) -> Cut {
        let filter = &self.filter;
        let who = self.asks(Dimension::Scope, filter.scopes.is_some()) || self.asks(Dimension::Key, filter.keys.is_some());
        let what = self.asks(Dimension::Model, filter.models.is_some()) || self.asks(Dimension::Provider, filter.providers.is_some());
        if self.asks(Dimension::Tag, filter.tags.is_some()) {
            return Cut::Tagged;
        }
        match (who, what) {
            (true, true) => Cut::Full,
            (true, false) => Cut::Who,
            (false, _) => Cut::What,
        }
    }

    fn group(&self, tenant: TenantId, start: Timestamp, dims: Dims) -> Group {
        let by = |dimension| self.group_by.contains(&dimension);
        Group {
            start: self.step.map(|step| step.start(start)),
            tenant: by(Dimension::Tenant).then_some(tenant),
            dims: Dims {
                tag: dims.tag.filter(|_| by(Dimension::Tag)),
                user: dims.user.filter(|_| by(Dimension::User)),
                scope: dims.scope.filter(|_| by(Dimension::Scope)),
                key: dims.key.filter(|_| by(Dimension::Key)),
                model: dims.model.filter(|_| by(Dimension::Model)),
                provider: dims.provider.filter(|_| by(Dimension::Provider)),
            },
        }
    }

    /// Answers it: sums by group, in the order of the groups. None: there are more than [`limits::USAGE_GROUPS_MAX`].
    ///
    /// # Errors
    /// Rows that cannot be read.
    pub fn run(&self, snapshot: &Snapshot<'_>) -> Result<Option<BTreeMap<Group, Sums>>, Fault> {
        if !self.asks(Dimension::User, self.filter.users.is_some()) {
            let groups = self.sum(snapshot, self.cut())?;
            return Ok((groups.len() <= limits::USAGE_GROUPS_MAX).then_some(groups));
        }
        let mut groups = self.sum(snapshot, Cut::User)?;
        if self.filter.users.is_none() {
            let rest = self.without_users(&groups, self.sum(snapshot, self.cut())?);
            groups.extend(rest);
        }
        Ok((groups.len() <= limits::USAGE_GROUPS_MAX).then_some(groups))
    }

    /// What was used for nobody that is named: all, less what was used for users.
    fn without_users(&self, users: &BTreeMap<Group, Sums>, mut all: BTreeMap<Group, Sums>) -> BTreeMap<Group, Sums> {
        for (group, sums) in users {
            let dims = Dims { user: None, ..group.dims.clone() };
            all.entry(Group { dims, ..group.clone() }).or_default().add(&sums.negative());
        }
        all.retain(|_, sums| *sums != Sums::default());
        all
    }

    fn sum(&self, snapshot: &Snapshot<'_>, cut: Cut) -> Result<BTreeMap<Group, Sums>, Fault> {
        let rolled = snapshot.rows.get(&rolled_key().bytes())?.map(|row| codec::decode(&row)).transpose()?.unwrap_or_default();
        let mut groups = BTreeMap::new();
        for (grain, from, until) in self.range.pieces(self.step.unwrap_or(Grain::Month), rolled) {
            for tenant in &self.tenants {
                self.scan(snapshot, cut, grain, *tenant, (from, until), &mut groups)?;
            }
        }
        Ok(groups)
    }

    fn scan(
        &self,
        snapshot: &Snapshot<'_>,
        cut: Cut,
        grain: Grain,
        tenant: TenantId,
        (from, until): (Timestamp, Timestamp),
        groups: &mut BTreeMap<Group, Sums>,
    ) -> Result<(), Fault> {
        let (from, before) = (row::at(cut, grain, tenant, from).bytes(), row::at(cut, grain, tenant, until).bytes());
        let mut seen = Ok(());
        snapshot.rows.visit(&from, &before, Order::Ascending, &mut |key, value| {
            seen = self.see(tenant, key, value, groups);
            if seen.is_ok() && groups.len() <= limits::USAGE_GROUPS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        seen
    }

    fn see(&self, tenant: TenantId, key: &[u8], value: &[u8], groups: &mut BTreeMap<Group, Sums>) -> Result<(), Fault> {
        let (start, dims) = row::read_key(key).ok_or_else(|| Fault("a row of usage has no key that can be read".into()))?;
        if !self.filter.takes(&dims) {
            return Ok(());
        }
        let sums: Sums = codec::decode(value)?;
        groups.entry(self.group(tenant, start, dims)).or_default().add(&sums);
        Ok(())
    }
}
