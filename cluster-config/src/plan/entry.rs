//! One entry of a file, or its top level, set as a whole: its budgets are those that it names. And what a tenant's own administrators may.

use super::{Change, Op, Plan, Secrets, Step, fields, names, names::Names, plan};
use crate::{
    Problem,
    config::{Budget, Config, places},
    problem::Problems,
};
use events::{KeyId, Owner, State, StreamId, TenantId, budget, key, key::KeyHash, policy};
use std::collections::BTreeMap;

/// Which thing an entry is meant for, where its sender says so beside it.
#[derive(Clone, Debug, Default)]
pub struct Meant {
    /// It is there; None: it is to be made.
    pub id: Option<StreamId>,
    /// The name of its tenant.
    pub tenant: Option<String>,
}

/// As [`plan()`] without prune, but that an owner's budgets that its entry does not name are closed. Of a file without entries the
/// platform is the owner. `within`: for an administrator of this tenant, to whom nothing of another's is there. What hangs on another tenant
/// than is `meant` is a problem.
///
/// # Errors
/// See [`plan()`].
pub fn plan_entry(
    config: &Config,
    meant: &Meant,
    state: &State,
    within: Option<TenantId>,
    secrets: &mut dyn Secrets,
) -> Result<(Plan, BTreeMap<String, String>), Vec<Problem>> {
    let Some(tenant) = within else { return planned(config, meant, state, secrets) };
    let seen = state.seen_by(tenant);
    let (plan, made) = planned(config, meant, &seen, secrets)?;
    let mut problems = Problems::default();
    for step in &plan.steps {
        match step {
            Step::Key(id, key::Command::Set { secret: Some(secret), .. }) if is_taken(state, &secret.hash, *id) => {
                let path = config.keys.first().map(|key| format!("{}.secret", key.path)).unwrap_or_default();
                problems.add(path, "is the secret of another key");
            }
            step if is_within(step, &seen, tenant) => {}
            // no entry of a scope or a key plans such a step: this is for those that are to come
            _ => problems.add("", "changes what is not this tenant's"),
        }
    }
    problems.or((plan, made))
}

fn planned(
    config: &Config,
    meant: &Meant,
    state: &State,
    secrets: &mut dyn Secrets,
) -> Result<(Plan, BTreeMap<String, String>), Vec<Problem>> {
    let (mut plan, made) = plan(config, state, false, secrets)?;
    let names = Names::of(state);
    let homes = places::resolve(config, &names.outside(state), false, &mut Problems::default());
    are_as_meant(config, meant, &names, &homes, state)?;
    let place = |home: &Option<places::Home>, name: &str| home.as_ref().map(|home| (home.tenant.clone(), name.to_owned()));
    let mut owners: Vec<(Owner, &[Budget])> = Vec::new();
    let tenants = config.tenants.iter();
    owners.extend(tenants.filter_map(|tenant| Some((Owner::Tenant(*names.tenants.get(&tenant.name)?), &*tenant.budgets))));
    let scopes = config.scopes.iter().zip(&homes.scopes);
    owners.extend(scopes.filter_map(|(scope, home)| Some((Owner::Scope(*names.scopes.get(&place(home, &scope.name)?)?), &*scope.budgets))));
    let keys = config.keys.iter().zip(&homes.keys);
    owners.extend(keys.filter_map(|(key, home)| Some((Owner::Key(*names.keys.get(&place(home, &key.name)?)?), &*key.budgets))));
    if config.has_no_entries() {
        owners.push((Owner::Platform, &config.budgets));
        rule_platform(&mut plan, config, state);
    }
    owners.into_iter().for_each(|(owner, budgets)| close_others(&mut plan, state, owner, budgets));
    Ok((plan, made))
}

/// Nothing moves to another owner: what hangs on another tenant would be another thing with the same name, and providers and webhooks have
/// their names to themselves.
fn are_as_meant(config: &Config, meant: &Meant, names: &Names, homes: &places::Places, state: &State) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    let place = |home: &places::Home, name: &str| (home.tenant.clone(), name.to_owned());
    for (scope, home) in config.scopes.iter().zip(&homes.scopes) {
        let Some(home) = home else { continue };
        let there = names.scopes.get(&place(home, &scope.name)).map(|id| StreamId::Scope(*id));
        is_as_meant(meant, home, there, format!("{}.parent", scope.path), &mut problems);
    }
    for (key, home) in config.keys.iter().zip(&homes.keys) {
        let Some(home) = home else { continue };
        let there = names.keys.get(&place(home, &key.name)).map(|id| StreamId::Key(*id));
        is_as_meant(meant, home, there, format!("{}.scope", key.path), &mut problems);
    }
    let books = &state.books;
    for provider in &config.providers {
        let name = &provider.settings.name;
        let Some(there) = names.providers.get(name).and_then(|id| books.providers.get(id)) else { continue };
        stays(name, there.settings.tenant, provider.tenant.as_ref(), &provider.path, state, &mut problems);
    }
    for webhook in &config.webhooks {
        let name = &webhook.settings.name;
        let Some(there) = names.webhooks.get(name).and_then(|id| books.webhooks.get(id)) else { continue };
        stays(name, there.settings.tenant, webhook.tenant.as_ref(), &webhook.path, state, &mut problems);
    }
    problems.or(())
}

fn is_as_meant(meant: &Meant, home: &places::Home, there: Option<StreamId>, path: String, problems: &mut Problems) {
    match &meant.tenant {
        Some(tenant) if *tenant != home.tenant => {
            let (written, other) = (home.written(), &home.tenant);
            problems.add(path, format!("{written} belongs to tenant {other}, and this to tenant {tenant}: a tenant never changes"));
        }
        _ if meant.id.is_some() && there != meant.id => problems.add(path, "is not where this hangs: a tenant never changes"),
        _ => {}
    }
}

fn stays(name: &str, is: Option<TenantId>, shall: Option<&String>, path: &str, state: &State, problems: &mut Problems) {
    let is = is.and_then(|id| state.books.tenants.get(&id)).map(|tenant| &tenant.name);
    if is != shall {
        let owner = is.map_or("the platform".to_owned(), |tenant| format!("tenant {tenant}"));
        problems.add(format!("{path}.tenant"), format!("{name} belongs to {owner}: that never changes"));
    }
}

/// What the platform says is what the file says, and nothing else.
fn rule_platform(plan: &mut Plan, config: &Config, state: &State) {
    plan.steps.retain(|step| !matches!(step, Step::Policy(Owner::Platform, _)));
    plan.changes.retain(|change| change.kind != "policy");
    let known = state.books.policies.get(&Owner::Platform);
    let loss = config.loss.clone().map(policy::Setting::Losses);
    let settings: Vec<policy::Setting> = loss.into_iter().chain(config.request_log.clone().map(policy::Setting::RequestLog)).collect();
    if known.map_or(&[][..], |policy| &policy.settings) != settings {
        let before = known.map(|policy| (policy.losses(), policy.request_log())).unwrap_or_default();
        let fields = fields::policy(before, (config.loss.as_deref(), config.request_log.as_ref()));
        plan.changes.push(Change { op: Op::Update, kind: "policy", name: "platform".into(), fields });
        plan.steps.push(Step::Policy(Owner::Platform, policy::Command::Set(settings)));
    }
}

/// Closes the open budgets of an owner that are not among these.
fn close_others(plan: &mut Plan, state: &State, owner: Owner, named: &[Budget]) {
    let is_named = |identity: &budget::Identity| {
        named.iter().any(|budget| (budget.unit, budget.every, &budget.only) == (identity.unit, identity.every, &identity.only))
    };
    let open = state.books.budgets.iter().filter(|(_, budget)| budget.made && !budget.closed && budget.identity.owner == owner);
    for (id, budget) in open.filter(|(_, budget)| !is_named(&budget.identity)) {
        let name = names::budget(&names::owner(state, owner), &budget.identity);
        plan.changes.push(Change { op: Op::Close, kind: "budget", name, fields: Vec::new() });
        plan.steps.push(Step::Budget(*id, budget::Command::Close));
    }
}

/// Whoever has it: two keys with one secret could not be told apart. That it is taken is all that is said.
fn is_taken(state: &State, hash: &KeyHash, by: KeyId) -> bool {
    let lets_in = |id: &KeyId, key: &key::Key| {
        let previous =
            state.books.overlaps.get(id).is_some_and(|overlap| overlap.previous.hash == *hash && overlap.until > state.desk.time());
        key.hash == *hash || previous
    };
    let is_open = |tenant: &TenantId| state.books.tenants.get(tenant).is_some_and(|tenant| !tenant.closed);
    let mut keys = state.books.keys.iter().filter(|(id, key)| **id != by && key.made && !key.revoked && is_open(&key.tenant));
    keys.any(|(id, key)| lets_in(id, key))
}

/// Whether a step changes scopes, keys, and what hangs on them, of this tenant alone.
fn is_within(step: &Step, seen: &State, tenant: TenantId) -> bool {
    let next = seen.books.head.next_id;
    let is_mine = |owner: &Owner| match owner {
        Owner::Scope(id) => id.0 >= next || seen.books.scopes.contains(id),
        Owner::Key(id) => id.0 >= next || seen.books.keys.contains(id),
        Owner::Tenant(_) | Owner::Platform => false,
    };
    match step {
        Step::Scope(id, events::scope::Command::Set(settings)) => settings.tenant == tenant && is_mine(&Owner::Scope(*id)),
        Step::Scope(id, events::scope::Command::Close) => is_mine(&Owner::Scope(*id)),
        Step::Key(id, key::Command::Set { settings, .. }) => settings.tenant == tenant && is_mine(&Owner::Key(*id)),
        Step::Key(id, _) => is_mine(&Owner::Key(*id)),
        Step::Budget(_, budget::Command::Set { identity, .. }) => is_mine(&identity.owner),
        Step::Budget(id, _) => seen.books.budgets.get(id).is_some_and(|budget| is_mine(&budget.identity.owner)),
        Step::Policy(owner, _) => is_mine(owner),
        Step::Tenant(..) | Step::Provider(..) | Step::Model(..) | Step::Catalogue(_) | Step::Webhook(..) => false,
    }
}
