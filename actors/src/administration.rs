//! Administration: a configuration file becomes commands, and each is decided by its keeper.

use crate::{
    directory::Directory,
    keeper::{Fault, look},
    root::Core,
};
use cluster_config::{Change, Plan, Problem, Secrets, Step, parse, plan, shipped_catalogue};
use events::{
    NoteId, Position, budget::Budget, catalogue::Catalogue, envelope::Principal, key::Key, model::Model, policy::Policy,
    provider::Provider, scope::Scope, tenant::Tenant,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Mutex;

/// Makes what seals and hashes, anew for each plan.
pub type SecretsMaker = Arc<dyn Fn() -> Box<dyn Secrets + Send> + Send + Sync>;

/// See the module. One change at a time, so that names stay unique.
pub struct Administration {
    core: Core,
    secrets: SecretsMaker,
    turn: Mutex<()>,
}

/// What a configuration has changed.
#[derive(Debug)]
pub struct Applied {
    pub position: Position,
    pub changes: Vec<Change>,
    /// Secrets that were made, by key; shown this once.
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

impl Administration {
    pub fn new(core: Core, secrets: SecretsMaker) -> Administration {
        Administration { core, secrets, turn: Mutex::new(()) }
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
        let _turn = self.turn.lock().await;
        let stopped = |done| ApplyFault::Stopped { done, why: "the node is stopping".into() };
        let mut secrets = (self.secrets)();
        let planned = self.core.look(move |state| plan(&config, state, prune, &mut *secrets)).await.ok_or_else(|| stopped(0))?;
        let (Plan { changes, steps }, made) = planned.map_err(ApplyFault::Problems)?;
        let made = if dry_run { BTreeMap::new() } else { made };
        if !dry_run {
            self.core
                .run(move |directory| async move { take_all(&directory, steps, principal).await })
                .await
                .ok_or_else(|| stopped(0))??;
        }
        let position = self.core.look(|state| state.position()).await.ok_or_else(|| stopped(changes.len()))?;
        Ok(Applied { position: Position::new(position), changes, secrets: made })
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
        let stopped = || ApplyFault::Stopped { done: 0, why: "the node is stopping".into() };
        self.core.run(move |directory| async move { take_all(&directory, step, Principal::System).await }).await.ok_or_else(stopped)?
    }
}

async fn take_all(directory: &Directory, steps: Vec<Step>, principal: Principal) -> Result<(), ApplyFault> {
    for (done, step) in steps.into_iter().enumerate() {
        take(directory, step, principal).await.map_err(|fault| ApplyFault::Stopped { done, why: fault.to_string() })?;
    }
    Ok(())
}

async fn take(directory: &Directory, step: Step, principal: Principal) -> Result<usize, Fault> {
    match step {
        Step::Tenant(id, command) => directory.order::<Tenant>(id, command, Vec::new(), principal).await,
        Step::Scope(id, command) => directory.order::<Scope>(id, command, Vec::new(), principal).await,
        Step::Key(id, command) => directory.order::<Key>(id, command, Vec::new(), principal).await,
        Step::Model(id, command) => directory.order::<Model>(id, command, Vec::new(), principal).await,
        Step::Budget(id, command) => directory.order::<Budget>(id, command, Vec::new(), principal).await,
        Step::Policy(owner, command) => directory.order::<Policy>(owner, command, Vec::new(), principal).await,
        Step::Catalogue(command) => directory.order::<Catalogue>(events::CatalogueId, command, Vec::new(), principal).await,
        Step::Provider(id, command, note) => {
            let notes = note.into_iter().map(|note| (NoteId::ProviderSecret(id), Some(note))).collect();
            directory.order::<Provider>(id, command, notes, principal).await
        }
    }
}
