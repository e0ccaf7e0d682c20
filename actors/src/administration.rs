//! Administration: a configuration file becomes commands, and each is decided by its keeper.

use crate::{
    answers::Answers,
    directory::Directory,
    keeper::{Fault, look},
    root::Core,
};
use cluster_config::{
    Change, KeyState, Meant, Plan, Problem, Secrets, Step, export, parse, plan, plan_entry, removal, shipped_catalogue, traces,
};
use events::{
    CallId, KeyId, NoteId, Position, Refusal, State, StreamId, TenantId, Timestamp, TokenId,
    budget::Budget,
    catalogue::Catalogue,
    envelope::Principal,
    key::{self, Key, Secret},
    limits,
    model::Model,
    policy::Policy,
    provider::Provider,
    scope::Scope,
    tenant::{self, Tenant},
    token::{self, Token},
    webhook::Webhook,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Makes what seals and hashes, anew for each plan.
pub type SecretsMaker = Arc<dyn Fn() -> Box<dyn Secrets + Send> + Send + Sync>;

/// See the module. One change at a time, so that names stay unique.
pub struct Administration {
    pub(crate) core: Core,
    pub(crate) secrets: SecretsMaker,
    pub(crate) answers: Answers,
    turn: Arc<Mutex<()>>,
}

/// What a configuration has changed.
#[derive(Debug)]
pub struct Applied {
    pub position: Position,
    pub changes: Vec<Change>,
    /// Secrets that were made, by the name of the key, or `webhook NAME`; shown this once.
    pub secrets: BTreeMap<String, String>,
}

/// Why nothing, or not all, was changed.
#[derive(Debug)]
pub enum ApplyFault {
    /// The file; nothing was changed.
    Problems(Vec<Problem>),
    /// What came after `done` changes was not taken; applying the same file again goes on from there.
    Stopped { done: usize, why: String },
}

/// Whether what is there is what a caller thinks, asked in the turn of the change.
pub type Expected = Box<dyn FnOnce(&State) -> bool + Send>;

/// Changes are planned and made one after the other. It goes with the work: a caller who leaves does not end it.
type Turn = OwnedMutexGuard<()>;

/// The turn is over with the work.
async fn in_turn<R>(turn: Option<Turn>, work: impl Future<Output = R>) -> R {
    let done = work.await;
    drop(turn);
    done
}

/// Who changes something, in its turn.
type By = (Principal, Turn);

/// One entry of a file.
pub struct EntryChange {
    /// `tenant`, `scope`, `key`, `provider`, `model` or `webhook`.
    pub kind: &'static str,
    pub entry: Value,
    /// Which of this kind.
    pub meant: Meant,
    pub expected: Expected,
    /// The tenant whose administrator asks: nothing of another's is there; None: the platform's.
    pub within: Option<TenantId>,
}

/// A new secret for a key.
pub struct Rotation {
    pub secret: String,
    /// The secret before lets in until then; None: no more.
    pub until: Option<Timestamp>,
    pub expected: Expected,
}

/// Why an entry was not set or removed.
#[derive(Debug)]
pub enum EntryFault {
    /// It is not what the caller thinks.
    Changed,
    Unknown,
    Apply(ApplyFault),
}

impl From<ApplyFault> for EntryFault {
    fn from(fault: ApplyFault) -> EntryFault {
        EntryFault::Apply(fault)
    }
}

/// Why a token was not made or changed.
#[derive(Debug)]
pub enum TokenFault {
    Invalid { path: &'static str, why: String },
    Unknown,
    Stopped(String),
}

/// After so many changes.
fn stopped(done: usize) -> ApplyFault {
    ApplyFault::Stopped { done, why: "the node is stopping".into() }
}

fn stopping() -> TokenFault {
    TokenFault::Stopped("the node is stopping".into())
}

/// The id of a new token, if it may be made.
fn token_id(state: &State, settings: &token::Settings, now: Timestamp) -> Result<TokenId, TokenFault> {
    let invalid = |path, why: String| Err(TokenFault::Invalid { path, why });
    let live = || state.books.tokens.iter().filter(|(_, token)| token.is_live(now));
    if settings.name.is_empty() || settings.name.len() > limits::NAME_BYTES_MAX || settings.name.chars().any(char::is_control) {
        return invalid("name", format!("a name has 1 to {} bytes and no control characters", limits::NAME_BYTES_MAX));
    }
    if live().any(|(_, token)| token.settings.name == settings.name && token.settings.tenant == settings.tenant) {
        return invalid("name", format!("there is a token `{}`; revoke it first", settings.name));
    }
    let most = if settings.tenant.is_some() { limits::TOKENS_OF_TENANT_MAX } else { limits::TOKENS_MAX };
    if live().filter(|(_, token)| token.settings.tenant == settings.tenant).count() >= most {
        return invalid("name", format!("there are {most} tokens already; revoke some"));
    }
    if settings.expires_at.is_some_and(|end| end <= now) {
        return invalid("expires_at", "it is over already".into());
    }
    Ok(TokenId(state.books.head.next_id))
}

impl Administration {
    pub fn new(core: Core, secrets: SecretsMaker) -> Administration {
        Administration { core, secrets, answers: Answers::default(), turn: Arc::default() }
    }

    async fn take_turn(&self) -> Turn {
        self.turn.clone().lock_owned().await
    }

    /// Applies a file, or says what it would change.
    ///
    /// # Errors
    /// All problems of the file at once, or what kept a change from being appended.
    pub async fn apply(
        &self,
        text: &str,
        vars: &(dyn Fn(&str) -> Option<String> + Sync),
        prune: bool,
        dry_run: bool,
        principal: Principal,
    ) -> Result<Applied, ApplyFault> {
        let config = parse(text, vars).map_err(ApplyFault::Problems)?;
        self.apply_config(config, prune, dry_run, principal).await
    }

    /// Brings one thing to what its entry of a file says, or makes it, if what is there is what the caller thinks.
    ///
    /// # Errors
    /// [`EntryFault::Changed`], or see [`Administration::apply`].
    pub async fn set_entry(&self, change: EntryChange, principal: Principal) -> Result<Applied, EntryFault> {
        let turn = self.take_turn().await;
        let EntryChange { kind, entry, meant, expected, within } = change;
        self.check(expected).await?;
        self.set_in_turn(&json!({format!("{kind}s"): [entry]}), meant, within, (principal, turn)).await
    }

    /// Brings the platform's own budgets and rules to what the top of a file says.
    ///
    /// # Errors
    /// [`EntryFault::Changed`], or see [`Administration::apply`].
    pub async fn set_platform(&self, spec: Value, expected: Expected, principal: Principal) -> Result<Applied, EntryFault> {
        let turn = self.take_turn().await;
        self.check(expected).await?;
        self.set_in_turn(&spec, Meant::default(), None, (principal, turn)).await
    }

    async fn set_in_turn(&self, file: &Value, meant: Meant, within: Option<TenantId>, by: By) -> Result<Applied, EntryFault> {
        let config = parse(&file.to_string(), &|_| None).map_err(ApplyFault::Problems)?;
        let mut secrets = (self.secrets)();
        let plan = move |state: &State| plan_entry(&config, &meant, state, within, &mut *secrets);
        let (plan, made) = self.core.look(plan).await.ok_or_else(|| stopped(0))?.map_err(ApplyFault::Problems)?;
        Ok(self.carry_out(plan, made, by).await?)
    }

    /// Closes or revokes one thing: everything else stays as it is. `within`: for an administrator of this tenant, to whom nothing of another's
    /// is there.
    ///
    /// # Errors
    /// [`EntryFault::Changed`], or see [`Administration::apply`]: something may hang on it.
    pub async fn remove_entry(
        &self,
        (kind, id): (&'static str, StreamId),
        within: Option<TenantId>,
        expected: Expected,
        principal: Principal,
    ) -> Result<Applied, EntryFault> {
        let turn = self.take_turn().await;
        self.check(expected).await?;
        if within.is_some() || matches!(id, StreamId::Scope(_) | StreamId::Key(_)) {
            let plan = move |state: &State| within.map_or_else(|| removal(state, id), |tenant| removal(&state.seen_by(tenant), id));
            let plan = self.core.look(plan).await.ok_or_else(|| stopped(0))?;
            return Ok(self.carry_out(plan.map_err(ApplyFault::Problems)?, BTreeMap::new(), (principal, turn)).await?);
        }
        let rest = move |state: &State| {
            let mut file = serde_json::to_value(export::export(state)).unwrap_or_default(); // plain data: it has a value
            let gone = export::entries(state, kind, &|_, _, _| true).iter().position(|entry| entry.id == id);
            let list = file.get_mut(format!("{kind}s")).and_then(Value::as_array_mut);
            let found = list.zip(gone).filter(|(list, at)| *at < list.len());
            found.map(|(list, at)| list.remove(at)).map(|_| file.to_string())
        };
        let text = self.core.look(rest).await.ok_or_else(|| stopped(0))?.ok_or(EntryFault::Unknown)?;
        let applied = match parse(&text, &|_| None) {
            Ok(config) => self.apply_in_turn(config, true, false, (principal, turn)).await,
            Err(problems) => Err(ApplyFault::Problems(problems)),
        };
        Ok(applied.map_err(|fault| match fault {
            ApplyFault::Problems(problems) => ApplyFault::Problems(by_name(&text, problems)),
            stopped @ ApplyFault::Stopped { .. } => stopped,
        })?)
    }

    /// Blocks a key, or lets it in again.
    ///
    /// # Errors
    /// It is revoked, or the record could not be appended.
    pub async fn block_key(&self, id: KeyId, block: bool, principal: Principal) -> Result<(), EntryFault> {
        let command = if block { key::Command::Block } else { key::Command::Unblock };
        self.order_key(id, command, principal, None).await
    }

    async fn order_key(&self, id: KeyId, command: key::Command, principal: Principal, turn: Option<Turn>) -> Result<(), EntryFault> {
        let order =
            move |directory: Arc<Directory>| in_turn(turn, async move { directory.order::<Key>(id, command, Vec::new(), principal).await });
        match self.core.run(order).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(Fault::Refused(_))) => Err(EntryFault::Unknown),
            Some(Err(fault)) => Err(ApplyFault::Stopped { done: 0, why: fault.to_string() }.into()),
            None => Err(stopped(0).into()),
        }
    }

    /// Gives a key another secret.
    ///
    /// # Errors
    /// [`EntryFault::Changed`]; the secret is another key's; the key is revoked; or the record could not be appended.
    pub async fn rotate_key(&self, id: KeyId, rotation: Rotation, principal: Principal) -> Result<(), EntryFault> {
        let Rotation { secret, until, expected } = rotation;
        let turn = self.take_turn().await;
        self.check(expected).await?;
        let secret = traces(&*(self.secrets)(), &secret);
        let now = self.core.clock.now();
        let policy = self.core.policy.load_full();
        let bearer = policy.view.key_at(&secret.hash, || now).filter(|bearer| bearer.key != id && bearer.state != KeyState::Revoked);
        if bearer.is_some() {
            let problem = Problem { path: "secret".into(), message: "is the secret of another key".into() };
            return Err(ApplyFault::Problems(vec![problem]).into());
        }
        self.order_key(id, key::Command::Rotate { secret, until }, principal, Some(turn)).await
    }

    /// What a secret is kept as.
    pub fn hash(&self, secret: &str) -> key::KeyHash {
        (self.secrets)().hash(secret)
    }

    /// Destroys the key of a tenant's bodies: nothing that is kept of them anywhere can be read from then on. Their files go after it.
    ///
    /// # Errors
    /// The tenant is closed, or the record could not be appended.
    pub async fn erase_bodies(&self, id: TenantId, principal: Principal) -> Result<(), EntryFault> {
        let notes = vec![(NoteId::TenantDataKey(id), None)];
        self.order_tenant(id, tenant::Command::EraseBodies, notes, principal).await
    }

    /// Records that somebody is shown the bodies of a call.
    ///
    /// # Errors
    /// See [`Administration::erase_bodies`].
    pub async fn read_bodies(&self, id: TenantId, call: CallId, principal: Principal) -> Result<(), EntryFault> {
        self.order_tenant(id, tenant::Command::ReadBodies { call }, Vec::new(), principal).await
    }

    async fn order_tenant(
        &self,
        id: TenantId,
        command: tenant::Command,
        notes: Vec<(NoteId, Option<Vec<u8>>)>,
        principal: Principal,
    ) -> Result<(), EntryFault> {
        let order = move |directory: Arc<Directory>| async move { directory.order::<Tenant>(id, command, notes, principal).await };
        match self.core.run(order).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(Fault::Refused(_))) => Err(EntryFault::Unknown),
            Some(Err(fault)) => Err(ApplyFault::Stopped { done: 0, why: fault.to_string() }.into()),
            None => Err(stopped(0).into()),
        }
    }

    /// A fresh secret for a virtual key.
    pub fn make_secret(&self) -> String {
        (self.secrets)().make()
    }

    async fn check(&self, expected: Expected) -> Result<(), EntryFault> {
        match self.core.look(expected).await {
            Some(true) => Ok(()),
            Some(false) => Err(EntryFault::Changed),
            None => Err(stopped(0).into()),
        }
    }

    /// Applies a checked configuration.
    ///
    /// # Errors
    /// See [`Administration::apply`].
    pub async fn apply_config(
        &self,
        config: cluster_config::Config,
        prune: bool,
        dry_run: bool,
        principal: Principal,
    ) -> Result<Applied, ApplyFault> {
        let turn = self.take_turn().await;
        self.apply_in_turn(config, prune, dry_run, (principal, turn)).await
    }

    async fn apply_in_turn(&self, config: cluster_config::Config, prune: bool, dry_run: bool, by: By) -> Result<Applied, ApplyFault> {
        let mut secrets = (self.secrets)();
        let planned = self.core.look(move |state| plan(&config, state, prune, &mut *secrets)).await.ok_or_else(|| stopped(0))?;
        let (plan, made) = planned.map_err(ApplyFault::Problems)?;
        if dry_run {
            let nothing = Plan { changes: plan.changes, steps: Vec::new() };
            return self.carry_out(nothing, BTreeMap::new(), by).await;
        }
        self.carry_out(plan, made, by).await
    }

    async fn carry_out(&self, plan: Plan, made: BTreeMap<String, String>, (principal, turn): By) -> Result<Applied, ApplyFault> {
        let Plan { changes, steps } = plan;
        if !steps.is_empty() {
            self.core
                .run(move |directory| in_turn(Some(turn), async move { take_all(&directory, steps, principal).await }))
                .await
                .ok_or_else(|| stopped(0))??;
        }
        let position = self.core.look(|state| state.position()).await.ok_or_else(|| stopped(changes.len()))?;
        Ok(Applied { position: Position::new(position), changes, secrets: made })
    }

    /// Makes a token of a fresh secret; answers its id, and the token, which is shown this once. Asked again with the same secret it makes
    /// no second one.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub async fn create_token(
        &self,
        settings: token::Settings,
        secret: &str,
        principal: Principal,
    ) -> Result<(TokenId, String), TokenFault> {
        let turn = self.take_turn().await;
        let secret = secret.replacen("sk-tg-", "tg-token-", 1);
        let hash = (self.secrets)().hash(&token::hashed_as(&secret));
        let known = move |state: &State| state.books.tokens.iter().find(|(_, token)| token.hash == hash).map(|(id, _)| *id);
        if let Some(id) = self.core.look(known).await.ok_or_else(stopping)? {
            return Ok((id, secret));
        }
        let hint = format!("…{}", &secret[secret.len().saturating_sub(4)..]);
        let (asked, now) = (settings.clone(), self.core.clock.now());
        let id = self.core.look(move |state| token_id(state, &asked, now)).await.ok_or_else(stopping)??;
        let command = token::Command::Create { settings, secret: Secret { hash, hint } };
        self.order_token(id, command, principal, Some(turn)).await.map(|()| (id, secret))
    }

    /// Revokes a token, for good.
    ///
    /// # Errors
    /// See [`TokenFault`].
    pub async fn revoke_token(&self, id: TokenId, principal: Principal) -> Result<(), TokenFault> {
        self.order_token(id, token::Command::Revoke, principal, None).await
    }

    /// Records that a token asked for a change that it may not make. A record that cannot be had changes nothing: it is refused anyway.
    pub async fn deny(&self, id: TokenId, what: String, principal: Principal) {
        if let Err(fault) = self.order_token(id, token::Command::Deny { what }, principal, None).await {
            tracing::warn!(?fault, token = %id, "that a change was refused could not be recorded");
        }
    }

    async fn order_token(&self, id: TokenId, command: token::Command, principal: Principal, turn: Option<Turn>) -> Result<(), TokenFault> {
        let order = move |directory: Arc<Directory>| {
            in_turn(turn, async move { directory.order::<Token>(id, command, Vec::new(), principal).await })
        };
        match self.core.run(order).await.ok_or_else(stopping)? {
            Ok(_) => Ok(()),
            Err(Fault::Refused(Refusal::Unknown)) => Err(TokenFault::Unknown),
            Err(fault) => Err(TokenFault::Stopped(fault.to_string())),
        }
    }

    /// Whether there is anything but the price book.
    pub async fn is_configured(&self) -> bool {
        let look = |state: &State| !state.books.tenants.is_empty() || !state.books.providers.is_empty();
        self.core.look(look).await.unwrap_or(true)
    }

    /// A provider whose stored secret the master key does not open; None: it opens all that there are.
    pub async fn sealed_by_another(&self) -> Option<String> {
        let secrets = (self.secrets)();
        let look = move |state: &State| {
            let mut sealed = state.books.providers.iter().filter(|(_, provider)| !provider.closed && provider.secret.is_some());
            let lost = sealed.find(|(id, _)| secrets.unsealed(**id, state).is_none());
            lost.map(|(_, provider)| provider.settings.name.clone())
        };
        self.core.look(look).await.flatten()
    }

    /// Brings the price book to the shipped edition, if there is none yet: prices in force are events, and a new build changes none.
    ///
    /// # Errors
    /// It could not be appended.
    pub async fn ship_catalogue(&self) -> Result<(), ApplyFault> {
        let known = look(&self.core.gate, |state| !state.books.catalogue.is_empty()).await.unwrap_or(true);
        if known {
            return Ok(());
        }
        let step = vec![Step::Catalogue(shipped_catalogue())];
        self.core
            .run(move |directory| async move { take_all(&directory, step, Principal::System).await })
            .await
            .ok_or_else(|| stopped(0))?
    }
}

/// With names in the place of indices into a file that nobody sent: `models[0].targets` is `model fast: targets`.
fn by_name(file: &str, problems: Vec<Problem>) -> Vec<Problem> {
    let file: Value = serde_json::from_str(file).unwrap_or_default(); // it was written here
    let named = |path: &str| {
        let (list, rest) = path.split_once('[')?;
        let (at, rest) = rest.split_once(']')?;
        let name = file.get(list)?.get(at.parse::<usize>().ok()?)?.get("name")?.as_str()?;
        Some((format!("{} {name}", list.strip_suffix('s').unwrap_or(list)), rest.trim_start_matches('.').to_owned()))
    };
    let told = |problem: Problem| match named(&problem.path) {
        Some((what, path)) => Problem { message: format!("{what} hangs on it: {}", problem.message), path },
        None => problem,
    };
    problems.into_iter().map(told).collect()
}

async fn take_all(directory: &Directory, steps: Vec<Step>, principal: Principal) -> Result<(), ApplyFault> {
    for (done, step) in steps.into_iter().enumerate() {
        take(directory, step, principal).await.map_err(|fault| ApplyFault::Stopped { done, why: fault.to_string() })?;
    }
    Ok(())
}

async fn take(directory: &Directory, step: Step, principal: Principal) -> Result<usize, Fault> {
    match step {
        Step::Tenant(id, command @ tenant::Command::Close) => {
            // what is kept apart from the history is unreadable from here on
            directory.order::<Tenant>(id, command, vec![(NoteId::TenantDataKey(id), None)], principal).await
        }
        Step::Tenant(id, command) => directory.order::<Tenant>(id, command, Vec::new(), principal).await,
        Step::Scope(id, command) => directory.order::<Scope>(id, command, Vec::new(), principal).await,
        Step::Key(id, command) => directory.order::<Key>(id, command, Vec::new(), principal).await,
        Step::Model(id, command) => directory.order::<Model>(id, command, Vec::new(), principal).await,
        Step::Budget(id, command) => directory.order::<Budget>(id, command, Vec::new(), principal).await,
        Step::Policy(owner, command) => directory.order::<Policy>(owner, command, Vec::new(), principal).await,
        Step::Webhook(id, command, notes) => directory.order::<Webhook>(id, command, notes, principal).await,
        Step::Catalogue(command) => directory.order::<Catalogue>(events::CatalogueId, command, Vec::new(), principal).await,
        Step::Provider(id, command, note) => {
            let notes = note.into_iter().map(|note| (NoteId::ProviderSecret(id), Some(note))).collect();
            directory.order::<Provider>(id, command, notes, principal).await
        }
    }
}
