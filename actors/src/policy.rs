//! The policy that calls pin: the view of the configuration and the unsealed secrets, published together by the core thread.

use crate::{free::Board, ports::Vault};
use arc_swap::ArcSwap;
use cluster_config::View;
use events::{Event, NoteId, ProviderId, State, StreamId, envelope::Recorded, provider};
use journal::Observer;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::mpsc;

/// A provider's secret; it never shows itself.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: &str) -> Secret {
        Secret(text.into())
    }

    /// For the header that carries it, and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One state of the policy; immutable.
#[derive(Clone)]
pub struct Policy {
    pub view: View,
    pub secrets: Arc<BTreeMap<ProviderId, Secret>>,
}

/// Where the newest policy is found.
pub type PolicyBoard = Arc<ArcSwap<Policy>>;

/// Follows the journal on the core thread: publishes the policy and the free figures, and tells which keepers have something to do.
pub struct Follower {
    policy: Policy,
    board: PolicyBoard,
    free: Arc<Board>,
    vault: Arc<dyn Vault>,
    due: mpsc::UnboundedSender<StreamId>,
}

impl Follower {
    /// Starts from the state as it is.
    pub fn new(state: &State, vault: Arc<dyn Vault>, free: Arc<Board>, due: mpsc::UnboundedSender<StreamId>) -> Follower {
        let secrets = state.desk.notes.iter().filter_map(|(id, note)| match id {
            NoteId::ProviderSecret(provider) => vault.unseal(*provider, note).map(|secret| (*provider, Secret::new(&secret))),
            NoteId::Cluster | NoteId::Answer(_) | NoteId::TenantDataKey(_) | NoteId::WebhookSecret(_) | NoteId::WebhookPosition(_) => None,
        });
        let policy = Policy { view: View::from_state(state), secrets: Arc::new(secrets.collect()) };
        free.refresh_all(state);
        Follower { board: Arc::new(ArcSwap::from_pointee(policy.clone())), policy, free, vault, due }
    }

    pub fn board(&self) -> PolicyBoard {
        self.board.clone()
    }

    fn take_secret(&mut self, state: &State, id: ProviderId) {
        let secret = state.desk.notes.get(&NoteId::ProviderSecret(id)).and_then(|note| self.vault.unseal(id, note));
        match secret {
            Some(secret) => drop(Arc::make_mut(&mut self.policy.secrets).insert(id, Secret::new(&secret))),
            None => {
                tracing::error!(provider = %id, "the secret of a provider cannot be opened with this master key");
                Arc::make_mut(&mut self.policy.secrets).remove(&id);
            }
        }
    }
}

impl Observer for Follower {
    fn applied(&mut self, state: &State, records: &[Recorded], due: &[StreamId]) {
        let mut changed = false;
        for record in records {
            changed |= self.policy.view.apply(state, record);
            if let Event::Provider(id, provider::Event::SecretSet { .. }) = &*record.event {
                self.take_secret(state, *id);
            }
            self.free.refresh(state, &record.event);
        }
        if changed {
            self.board.store(Arc::new(self.policy.clone()));
        }
        for stream in due {
            let _ = self.due.send(*stream); // nobody listens only while the node stops
        }
    }
}
