//! The difference between what is told and what is, as commands in an order in which nothing is usable before what limits it.

mod entry;
pub mod fields;
mod keeps;
pub(crate) mod names;
mod paths;
mod prune;
mod references;
mod removal;

use crate::view::{KeyState, View};
use crate::{
    Problem,
    config::{Budget, Config, Key, Model, Provider, Secret, Webhook, places},
    problem::Problems,
    shipped_catalogue,
};
pub use entry::{Meant, plan_entry};
use events::{
    Aggregate, BudgetId, KeyId, ModelId, NoteId, Owner, ProviderId, Refusal, ScopeId, State, TenantId, Timestamp, WebhookId, budget,
    catalogue, key, key::KeyHash, limits, model, policy, provider, scope, tenant, webhook,
};
use fields::Field;
use names::Names;
pub use removal::removal;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// For people.
    pub changes: Vec<Change>,
    /// For keepers, in order. A step that is decided twice changes nothing the second time.
    pub steps: Vec<Step>,
}

/// One change as people see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub op: Op,
    /// `tenant`, `scope`, `key`, `provider`, `model`, `budget`, `policy`, `webhook` or `catalogue`.
    pub kind: &'static str,
    /// Its name; `tenant/name` where the name alone would be ambiguous.
    pub name: String,
    /// What is another one then; nothing of what goes.
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Create,
    Update,
    Delete,
    Close,
    Revoke,
}

/// One command for one keeper.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Tenant(TenantId, tenant::Command),
    Scope(ScopeId, scope::Command),
    Key(KeyId, key::Command),
    /// With the sealed note that goes into the same transaction, where the secret is new.
    Provider(ProviderId, provider::Command, Option<Vec<u8>>),
    Model(ModelId, model::Command),
    Budget(BudgetId, budget::Command),
    Catalogue(catalogue::Command),
    Policy(Owner, policy::Command),
    /// With the notes that go into the same transaction.
    Webhook(WebhookId, webhook::Command, Vec<(NoteId, Option<Vec<u8>>)>),
}

/// What a plan needs to know of secrets.
pub trait Secrets {
    /// Seals a provider's secret: the note's digest, and the note.
    fn seal(&mut self, provider: ProviderId, secret: &str) -> ([u8; 32], Vec<u8>);
    /// The secret that the provider has, to see whether it changed.
    fn unsealed(&self, provider: ProviderId, state: &State) -> Option<String>;
    /// Seals a webhook's secret: the note's digest, and the note.
    fn seal_webhook(&mut self, webhook: WebhookId, secret: &str) -> ([u8; 32], Vec<u8>);
    /// The secret that the webhook has, to see whether it changed.
    fn unsealed_webhook(&self, webhook: WebhookId, state: &State) -> Option<String>;
    /// The keyed hash of a virtual key's secret.
    fn hash(&self, secret: &str) -> KeyHash;
    /// A fresh secret for a virtual key.
    fn make(&mut self) -> String;
    /// Seals what is kept at a place; it opens at no other.
    fn seal_at(&mut self, place: &[u8], text: &[u8]) -> Vec<u8>;
    /// What was sealed at this place; None: at another, under another master key, or it is damaged.
    fn unsealed_at(&self, place: &[u8], note: &[u8]) -> Option<Vec<u8>>;
    /// A fresh secret for a webhook: `whsec_` and base64.
    fn make_webhook(&mut self) -> String;
}

/// Turns the difference between `config` and `state` into steps. What the file does not name stays, unless `prune`. With the plan come
/// the secrets that were made, by the key's name, or `webhook NAME`; they are shown once.
///
/// # Errors
/// References to nothing, and what does not fit together with what is there.
pub fn plan(
    config: &Config,
    state: &State,
    prune: bool,
    secrets: &mut dyn Secrets,
) -> Result<(Plan, BTreeMap<String, String>), Vec<Problem>> {
    let mut problems = Problems::default();
    let names = Names::of(state);
    // what is going to be pruned is no place to hang something on
    let stays = if prune { Names::default() } else { names.clone() };
    let outside = stays.outside(state);
    let homes = places::resolve(config, &outside, true, &mut problems);
    references::check(config, &stays, &mut problems);
    paths::check(config, &homes, state, &stays, prune, &mut problems);
    keeps::check(config, &homes, state, &names, &mut problems);
    let mut planner = Planner {
        state,
        secrets,
        homes,
        ambiguous: BTreeSet::new(),
        next_id: state.books.head.next_id,
        names,
        plan: Plan::default(),
        made: BTreeMap::new(),
        budgets: BTreeSet::new(),
        hashes: BTreeMap::new(),
        problems,
    };
    if planner.problems.0.is_empty() {
        planner.all(config, prune);
    }
    let Planner { plan, made, problems, .. } = planner;
    problems.or((plan, made))
}

struct Planner<'a> {
    state: &'a State,
    secrets: &'a mut dyn Secrets,
    homes: places::Places,
    /// Names of scopes and keys that more than one tenant has.
    ambiguous: BTreeSet<(&'static str, String)>,
    next_id: u64,
    names: Names,
    plan: Plan,
    made: BTreeMap<String, String>,
    /// Budgets that the file names.
    budgets: BTreeSet<BudgetId>,
    /// Secrets of keys as they will be, with the place of the key in the file.
    hashes: BTreeMap<KeyId, (KeyHash, Option<String>)>,
    problems: Problems,
}

impl Planner<'_> {
    fn all(&mut self, config: &Config, prune: bool) {
        let named = prune.then(|| prune::Named::of(config, &self.homes));
        self.find_ambiguous(config);
        if let Some(named) = &named {
            self.prune_keys(named);
        }
        self.catalogue(config);
        self.tenants(config);
        self.scopes(config);
        config.providers.iter().for_each(|provider| self.provider(provider));
        config.models.iter().for_each(|model| self.model(model));
        let keys: Vec<(KeyId, bool)> = self.key_ids(config);
        self.all_budgets(config, &keys);
        for (at, (key, (id, new))) in config.keys.iter().zip(keys).enumerate() {
            self.key(key, at, id, new);
        }
        self.policies(config, prune);
        config.webhooks.iter().for_each(|webhook| self.webhook(webhook));
        self.webhooks_are_few(config, prune);
        self.secrets_are_unique();
        if let Some(named) = &named {
            self.prune_rest(named);
        }
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn find_ambiguous(&mut self, config: &Config) {
        let file_scopes = config
            .scopes
            .iter()
            .zip(&self.homes.scopes)
            .filter_map(|(scope, home)| Some((home.as_ref()?.tenant.as_str(), scope.name.as_str())));
        let file_keys =
            config.keys.iter().zip(&self.homes.keys).filter_map(|(key, home)| Some((home.as_ref()?.tenant.as_str(), key.name.as_str())));
        let scopes = self
            .names
            .scopes
            .keys()
            .map(|(tenant, name)| (tenant.as_str(), name.as_str()))
            .chain(file_scopes)
            .map(|place| ("scope", place));
        let keys =
            self.names.keys.keys().map(|(tenant, name)| (tenant.as_str(), name.as_str())).chain(file_keys).map(|place| ("key", place));
        let mut tenants: BTreeMap<(&'static str, &str), BTreeSet<&str>> = BTreeMap::new();
        for (kind, (tenant, name)) in scopes.chain(keys) {
            tenants.entry((kind, name)).or_default().insert(tenant);
        }
        self.ambiguous =
            tenants.into_iter().filter(|(_, tenants)| tenants.len() > 1).map(|((kind, name), _)| (kind, name.to_owned())).collect();
    }

    /// A scope's or key's name as people see it.
    fn shown(&self, kind: &'static str, tenant: &str, name: &str) -> String {
        if self.ambiguous.contains(&(kind, name.to_owned())) { format!("{tenant}/{name}") } else { name.to_owned() }
    }

    /// Takes up a step, if it changes something. `fields` are asked for only then.
    fn add<A>(&mut self, current: Option<&A>, command: A::Command, shown: Shown<'_>, path: &str, step: impl FnOnce(A::Command) -> Step)
    where
        A: Aggregate<Refusal = Refusal> + Clone,
        A::Command: Clone,
    {
        // the commands of a plan are decided alike at any time
        let decided = current.cloned().unwrap_or_default().decide(command.clone(), Timestamp::default());
        match decided {
            Ok(events) if events.is_empty() => {}
            Ok(_) => {
                let Shown { op, kind, name, fields } = shown;
                self.plan.changes.push(Change { op, kind, name, fields: fields() });
                self.plan.steps.push(step(command));
            }
            Err(refusal) => self.problems.add(path, refusal.to_string()),
        }
    }

    fn catalogue(&mut self, config: &Config) {
        let state = self.state;
        let current = state.books.catalogue.get(&());
        let is_there = current.is_some_and(|catalogue| !catalogue.edition.is_empty());
        if is_there && !config.newest_catalogue {
            return;
        }
        let command = shipped_catalogue();
        let catalogue::Command::Set { edition, .. } = &command;
        let (before, after) = (current.filter(|_| is_there).map(|catalogue| catalogue.edition.clone()), edition.clone());
        let change = made_or_changed(!is_there, "catalogue", edition.clone()).with(move || fields::catalogue(before, after));
        self.add(current, command, change, "catalogue", Step::Catalogue);
    }

    fn tenants(&mut self, config: &Config) {
        for tenant in &config.tenants {
            let known = self.names.tenants.get(&tenant.name).copied();
            let id = known.unwrap_or_else(|| TenantId(self.id()));
            self.names.tenants.insert(tenant.name.clone(), id);
            let command = tenant::Command::Set { name: tenant.name.clone(), rates: tenant.rates };
            let current = self.state.books.tenants.get(&id);
            let change = made_or_changed(known.is_none(), "tenant", tenant.name.clone()).with(|| fields::tenant(current, tenant));
            self.add(current, command, change, &tenant.path, |command| Step::Tenant(id, command));
        }
    }

    /// Parents before what hangs on them.
    fn scopes(&mut self, config: &Config) {
        let homes = std::mem::take(&mut self.homes.scopes);
        let mut order: Vec<usize> = (0..config.scopes.len()).collect();
        let depth = |at: usize| self.homes.depth(&config.scopes[at].name, homes[at].as_ref());
        order.sort_by_key(|at| depth(*at));
        for at in order {
            let (scope, home) = (&config.scopes[at], homes[at].as_ref().expect("a scope without a place is a problem"));
            let tenant = self.tenant_id(&home.tenant);
            let parent = home.scope.as_ref().map(|parent| self.names.scopes[&(home.tenant.clone(), parent.clone())]);
            let place = (home.tenant.clone(), scope.name.clone());
            let known = self.names.scopes.get(&place).copied();
            let id = known.unwrap_or_else(|| ScopeId(self.id()));
            self.names.scopes.insert(place, id);
            let settings = scope::Settings { tenant, parent, name: scope.name.clone(), kind: scope.kind.clone(), rates: scope.rates };
            let (state, current) = (self.state, self.state.books.scopes.get(&id));
            let change = made_or_changed(known.is_none(), "scope", self.shown("scope", &home.tenant, &scope.name));
            let change = change.with(|| fields::scope(state, current, scope, home));
            self.add(current, scope::Command::Set(settings), change, &scope.path, |command| Step::Scope(id, command));
        }
        self.homes.scopes = homes;
    }

    fn tenant_id(&self, name: &str) -> TenantId {
        *self.names.tenants.get(name).expect("a tenant that is nowhere is a problem")
    }

    fn provider(&mut self, provider: &Provider) {
        let name = &provider.settings.name;
        let known = self.names.providers.get(name).copied();
        let id = known.unwrap_or_else(|| ProviderId(self.id()));
        self.names.providers.insert(name.clone(), id);
        let tenant = provider.tenant.as_ref().map(|tenant| self.tenant_id(tenant));
        let settings = provider::Settings { tenant, ..provider.settings.clone() };
        let had = known.and_then(|id| self.secrets.unsealed(id, self.state));
        let (secret, note) = match provider.api_key.as_ref().and_then(Secret::given) {
            Some(secret) if had.as_deref() != Some(secret) => {
                let (digest, note) = self.secrets.seal(id, secret);
                (Some(digest), Some(note))
            }
            _ => (None, None),
        };
        let (state, current, is_secret_new) = (self.state, self.state.books.providers.get(&id), secret.is_some());
        let change = made_or_changed(known.is_none(), "provider", name.clone());
        let change = change.with(move || fields::provider(state, current, provider, is_secret_new));
        let command = provider::Command::Set { settings, secret };
        self.add(current, command, change, &provider.path, |command| Step::Provider(id, command, note));
    }

    /// A new one begins at the position that it is planned at: what happens from then on is for it.
    fn webhook(&mut self, webhook: &Webhook) {
        let name = &webhook.settings.name;
        let known = self.names.webhooks.get(name).copied();
        let id = known.unwrap_or_else(|| WebhookId(self.id()));
        let tenant = webhook.tenant.as_ref().map(|tenant| self.tenant_id(tenant));
        let settings = webhook::Settings { tenant, ..webhook.settings.clone() };
        let had = known.and_then(|id| self.secrets.unsealed_webhook(id, self.state));
        let made = (known.is_none() && webhook.secret.is_none()).then(|| self.secrets.make_webhook());
        let given = webhook.secret.as_ref().and_then(Secret::given).map(str::to_owned);
        let mut notes = Vec::new();
        let mut digest = None;
        if let Some(secret) = given.or_else(|| made.clone()).filter(|secret| had.as_ref() != Some(secret)) {
            let (of_note, note) = self.secrets.seal_webhook(id, &secret);
            digest = Some(of_note);
            notes.push((NoteId::WebhookSecret(id), Some(note)));
        }
        if known.is_none() {
            notes.push((NoteId::WebhookPosition(id), Some(self.state.position().to_be_bytes().to_vec())));
        }
        self.made.extend(made.map(|secret| (format!("webhook {name}"), secret)));
        let (state, current, is_secret_new) = (self.state, self.state.books.webhooks.get(&id), digest.is_some());
        let change = made_or_changed(known.is_none(), "webhook", name.clone());
        let change = change.with(move || fields::webhook(state, current, webhook, is_secret_new));
        let command = webhook::Command::Set { settings, secret: digest };
        self.add(current, command, change, &webhook.path, |command| Step::Webhook(id, command, notes));
    }

    fn webhooks_are_few(&mut self, config: &Config, prune: bool) {
        let named: BTreeSet<&str> = config.webhooks.iter().map(|webhook| webhook.settings.name.as_str()).collect();
        let others = if prune { 0 } else { self.names.webhooks.keys().filter(|name| !named.contains(name.as_str())).count() };
        if named.len() + others > limits::WEBHOOKS_MAX {
            self.problems
                .add("webhooks", format!("there would be {} webhooks; {} is the most", named.len() + others, limits::WEBHOOKS_MAX));
        }
    }

    fn model(&mut self, model: &Model) {
        let known = self.names.models.get(&model.name).copied();
        let id = known.unwrap_or_else(|| ModelId(self.id()));
        self.names.models.insert(model.name.clone(), id);
        let provider = |name: &String| *self.names.providers.get(name).expect("a provider that is nowhere is a problem");
        let targets = model.targets.iter().map(|target| model::Target {
            provider: provider(&target.provider),
            model: target.model.clone(),
            price: target.price.clone(),
        });
        let settings =
            model::Settings { name: model.name.clone(), targets: targets.collect(), price: model.price.clone(), bounds: model.bounds };
        let (state, current) = (self.state, self.state.books.models.get(&id));
        let change = made_or_changed(known.is_none(), "model", model.name.clone()).with(move || fields::model(state, current, model));
        self.add(current, model::Command::Set(settings), change, &model.path, |command| Step::Model(id, command));
    }

    /// Ids of the file's keys, and whether they are new: their budgets come before them.
    fn key_ids(&mut self, config: &Config) -> Vec<(KeyId, bool)> {
        let mut ids = Vec::with_capacity(config.keys.len());
        for (at, key) in config.keys.iter().enumerate() {
            let home = self.homes.keys[at].as_ref().expect("a key without a place is a problem");
            let known = self.names.keys.get(&(home.tenant.clone(), key.name.clone())).copied();
            ids.push((known.unwrap_or_else(|| KeyId(self.id())), known.is_none()));
        }
        ids
    }

    fn all_budgets(&mut self, config: &Config, keys: &[(KeyId, bool)]) {
        self.some_budgets(&config.budgets, Owner::Platform, "platform");
        for tenant in &config.tenants {
            let id = self.tenant_id(&tenant.name);
            self.some_budgets(&tenant.budgets, Owner::Tenant(id), &format!("tenant {}", tenant.name));
        }
        for (at, scope) in config.scopes.iter().enumerate() {
            let tenant = self.homes.scopes[at].as_ref().map(|home| home.tenant.clone()).unwrap_or_default();
            let shown = self.shown("scope", &tenant, &scope.name);
            let id = self.names.scopes[&(tenant, scope.name.clone())];
            self.some_budgets(&scope.budgets, Owner::Scope(id), &format!("{} {shown}", scope.kind));
        }
        for (at, (key, (id, _))) in config.keys.iter().zip(keys).enumerate() {
            let tenant = self.homes.keys[at].as_ref().map(|home| home.tenant.clone()).unwrap_or_default();
            let shown = self.shown("key", &tenant, &key.name);
            self.some_budgets(&key.budgets, Owner::Key(*id), &format!("key {shown}"));
        }
    }

    fn some_budgets(&mut self, budgets: &[Budget], owner: Owner, of: &str) {
        for budget in budgets {
            let identity = budget::Identity { owner, unit: budget.unit, every: budget.every, only: budget.only.clone() };
            let known = self.state.budget_id(&identity);
            let id = known.unwrap_or_else(|| BudgetId(self.id()));
            self.budgets.insert(id);
            let current = self.state.books.budgets.get(&id);
            let is_new = current.is_none_or(|budget| budget.closed);
            let (shown, before) = (names::budget(of, &identity), current.filter(|_| !is_new));
            let change = made_or_changed(is_new, "budget", shown).with(|| fields::budget(before, &identity, &budget.terms));
            let command = budget::Command::Set { identity: identity.clone(), terms: budget.terms.clone() };
            self.add(current, command, change, &budget.path, |command| Step::Budget(id, command));
        }
    }

    /// What the file says of itself stays where it says nothing; an owner that it names says all that is said of it.
    fn policies(&mut self, config: &Config, prune: bool) {
        if config.loss.is_some() || config.request_log.is_some() || prune {
            let known = self.state.books.policies.get(&Owner::Platform).filter(|_| !prune);
            let loss = config.loss.as_deref().or(known.and_then(|policy| policy.losses()));
            let log = config.request_log.as_ref().or(known.and_then(|policy| policy.request_log()));
            self.policy(Owner::Platform, loss, log, "platform".into(), "loss".into());
        }
        for tenant in &config.tenants {
            let owner = Owner::Tenant(self.tenant_id(&tenant.name));
            self.policy(
                owner,
                tenant.loss.as_deref(),
                tenant.request_log.as_ref(),
                format!("tenant {}", tenant.name),
                format!("{}.loss", tenant.path),
            );
        }
        for (at, scope) in config.scopes.iter().enumerate() {
            let tenant = self.homes.scopes[at].as_ref().map(|home| home.tenant.clone()).unwrap_or_default();
            let shown = format!("{} {}", scope.kind, self.shown("scope", &tenant, &scope.name));
            let owner = Owner::Scope(self.names.scopes[&(tenant, scope.name.clone())]);
            self.policy(owner, scope.loss.as_deref(), scope.request_log.as_ref(), shown, format!("{}.loss", scope.path));
        }
        for (at, key) in config.keys.iter().enumerate() {
            let tenant = self.homes.keys[at].as_ref().map(|home| home.tenant.clone()).unwrap_or_default();
            let shown = format!("key {}", self.shown("key", &tenant, &key.name));
            let owner = Owner::Key(self.names.keys[&(tenant, key.name.clone())]);
            self.policy(owner, key.loss.as_deref(), key.request_log.as_ref(), shown, format!("{}.loss", key.path));
        }
    }

    fn policy(&mut self, owner: Owner, loss: Option<&str>, log: Option<&policy::RequestLog>, shown: String, path: String) {
        let current = self.state.books.policies.get(&owner);
        let is_new = current.is_none_or(|policy| policy.settings.is_empty());
        let before = current.map(|policy| (policy.losses(), policy.request_log())).unwrap_or_default();
        let change = made_or_changed(is_new, "policy", shown).with(|| fields::policy(before, (loss, log)));
        let loss = loss.map(|rules| policy::Setting::Losses(rules.to_owned()));
        let log = log.map(|log| policy::Setting::RequestLog(log.clone()));
        let settings = loss.into_iter().chain(log).collect();
        self.add(current, policy::Command::Set(settings), change, &path, |command| Step::Policy(owner, command));
    }

    fn key(&mut self, key: &Key, at: usize, id: KeyId, new: bool) {
        let home = self.homes.keys[at].clone().expect("a key without a place is a problem");
        let tenant = self.tenant_id(&home.tenant);
        let shown = self.shown("key", &home.tenant, &key.name);
        let scope = home.scope.clone().map(|scope| self.names.scopes[&(home.tenant.clone(), scope)]);
        let secret = match key.secret.as_ref().and_then(Secret::given) {
            Some(secret) => Some(secret.to_owned()),
            None if new => {
                let made = self.secrets.make();
                self.made.insert(shown.clone(), made.clone());
                Some(made)
            }
            None => None,
        };
        let secret = secret.map(|secret| traces(self.secrets, &secret));
        if let Some(secret) = &secret {
            self.hashes.insert(id, (secret.hash, Some(format!("{}.secret", key.path))));
        }
        let settings = key::Settings { tenant, scope, name: key.name.clone(), models: key.models.clone(), rates: key.rates };
        let (state, current) = (self.state, self.state.books.keys.get(&id));
        let is_secret_new = secret.as_ref().is_some_and(|secret| current.is_none_or(|key| key.hash != secret.hash));
        let change = made_or_changed(new, "key", shown).with(|| fields::key(state, current, key, &home, is_secret_new));
        self.names.keys.insert((home.tenant.clone(), key.name.clone()), id);
        self.add(current, key::Command::Set { settings, secret }, change, &key.path, |command| Step::Key(id, command));
    }

    /// Two keys with one secret could not be told apart. One below a closed tenant or scope lets nobody in any more, unless it moves now.
    fn secrets_are_unique(&mut self) {
        let view = View::from_state(self.state);
        for (id, key) in self.state.books.keys.iter().filter(|(_, key)| key.made && !key.revoked) {
            let planned = |wanted: fn(&key::Command) -> bool| {
                self.plan.steps.iter().any(|step| matches!(step, Step::Key(other, command) if other == id && wanted(command)))
            };
            let is_pruned = planned(|command| matches!(command, key::Command::Revoke));
            let is_live = view.key_by_id(*id).is_some_and(|key| key.state != KeyState::Revoked);
            if !is_pruned && (is_live || planned(|command| matches!(command, key::Command::Set { .. }))) {
                self.hashes.entry(*id).or_insert((key.hash, None));
            }
        }
        // the time of the last entry is not later than now: nothing that still lets in is missed
        let overlaps = self.state.books.overlaps.iter().filter(|(_, overlap)| overlap.until > self.state.desk.time());
        let previous: Vec<(KeyId, KeyHash)> = overlaps.map(|(id, overlap)| (*id, overlap.previous.hash)).collect();
        for (bearer, hash) in previous.into_iter().filter(|(id, _)| self.hashes.contains_key(id)) {
            let taken = self.hashes.iter().find(|(id, (other, path))| **id != bearer && *other == hash && path.is_some());
            if let Some(path) = taken.and_then(|(_, (_, path))| path.clone()) {
                self.problems.add(path, "is the secret of another key");
            }
        }
        let mut holders: BTreeMap<KeyHash, KeyId> = BTreeMap::new();
        for (id, (hash, path)) in &self.hashes {
            let Some(other) = holders.insert(*hash, *id) else { continue };
            let path = path.clone().or_else(|| self.hashes[&other].1.clone()).unwrap_or_default();
            self.problems.add(path, "is the secret of another key");
        }
    }
}

/// A change as it will be shown if it is one; its fields are made only then.
struct Shown<'a> {
    op: Op,
    kind: &'static str,
    name: String,
    fields: Box<dyn FnOnce() -> Vec<Field> + 'a>,
}

impl<'a> Shown<'a> {
    fn new(op: Op, kind: &'static str, name: String) -> Shown<'a> {
        Shown { op, kind, name, fields: Box::new(Vec::new) }
    }

    fn with(self, fields: impl FnOnce() -> Vec<Field> + 'a) -> Shown<'a> {
        Shown { fields: Box::new(fields), ..self }
    }
}

fn made_or_changed<'a>(new: bool, kind: &'static str, name: String) -> Shown<'a> {
    Shown::new(if new { Op::Create } else { Op::Update }, kind, name)
}

/// What is kept of a secret.
pub fn traces(secrets: &dyn Secrets, secret: &str) -> key::Secret {
    key::Secret { hash: secrets.hash(secret), hint: hint(secret) }
}

/// The last characters of a secret: four of a long one, fewer of a short one, so that most of it stays unknown.
fn hint(secret: &str) -> String {
    let shown = (secret.len() / 4).min(4);
    secret.chars().rev().take(shown).collect::<Vec<char>>().into_iter().rev().collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
