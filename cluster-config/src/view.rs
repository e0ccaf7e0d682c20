//! What calls are decided by: keys, models, providers, prices and budgets, made from the state once and kept up event by event. A call
//! pins one view and records its position. Cloning one costs a few pointers.

mod make;
mod resolve;

pub use resolve::{Candidate, Listing, ModelRefusal, PriceSource, Priced, Resolved};

use crate::pattern;
use dialects::{Dialect, exchange::loss::LossRules, providers::Known};
use events::{
    BudgetId, Event, KeyId, ModelId, Owner, ProviderId, Rates, State, TenantId, Timestamp, budget, catalogue,
    envelope::Recorded,
    key::KeyHash,
    policy::RequestLog,
    price::{Bounds, Price},
    provider,
};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use std::{cmp::Reverse, sync::Arc};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Everything up to the event before this one is in it.
    pub position: u64,
    /// By hash, also by that of the secret before; a revoked key behind one that is not, an older behind a newer.
    keys: RedBlackTreeMapSync<(KeyHash, bool, Reverse<KeyId>), Arc<Principal>>,
    ids: RedBlackTreeMapSync<KeyId, Arc<Principal>>,
    /// Open budgets by owner, in the order of their making.
    budgets: RedBlackTreeMapSync<Owner, Arc<Vec<Arc<PathBudget>>>>,
    /// Open ones.
    providers: RedBlackTreeMapSync<ProviderId, Arc<ProviderView>>,
    provider_names: RedBlackTreeMapSync<String, ProviderId>,
    model_ids: RedBlackTreeMapSync<ModelId, Arc<ModelView>>,
    /// Models whose names are no wildcards.
    models: RedBlackTreeMapSync<String, Arc<ModelView>>,
    /// Wildcards, the most specific first: by the length of what is not the star.
    wildcards: RedBlackTreeMapSync<(Reverse<usize>, String), Arc<ModelView>>,
    /// By `dialect/model`.
    catalogue: RedBlackTreeMapSync<String, Arc<EntryView>>,
    /// Open ones.
    tenants: RedBlackTreeSetSync<TenantId>,
}

/// Whether a key lets calls in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    Live,
    Blocked,
    /// Also where its tenant or a scope above it is closed.
    Revoked,
}

/// Who a virtual key is: all that its calls are bound by.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub key: KeyId,
    pub name: String,
    pub tenant: TenantId,
    pub tenant_name: String,
    pub state: KeyState,
    /// Nearest first: the key, its scope, the scopes above, the tenant.
    pub levels: Vec<Level>,
    /// Open budgets of these levels and the platform, nearest first, filters not looked at.
    pub budgets: Vec<Arc<PathBudget>>,
    /// Models that it may use, with wildcards; None: all.
    pub models: Option<Vec<String>>,
    /// What the key and those above it say about losses in translation; the last word counts, and the nearest has it.
    pub losses: LossRules,
    /// Whose bodies are kept, if any: what the nearest that says something says.
    pub request_log: Option<Arc<RequestLog>>,
    pub hash: KeyHash,
    /// The secret before this one, and until when it lets in beside it.
    pub previous: Option<(KeyHash, Timestamp)>,
}

impl Principal {
    /// Nobody's key of a tenant, or of none: what is open to all of it, and bound by nothing.
    pub fn of_tenant(tenant: TenantId) -> Principal {
        Principal {
            key: KeyId(0),
            name: String::new(),
            tenant,
            tenant_name: String::new(),
            state: KeyState::Live,
            levels: Vec::new(),
            budgets: Vec::new(),
            models: None,
            losses: LossRules::default(),
            hash: KeyHash::default(),
            previous: None,
            request_log: None,
        }
    }
}

/// A level whose rates bind a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub owner: Owner,
    pub name: String,
    /// `key`, `tenant`, or the scope's own word.
    pub kind: String,
    pub rates: Rates,
}

/// A budget that may cover a call.
#[derive(Clone, Debug, PartialEq)]
pub struct PathBudget {
    pub id: BudgetId,
    /// Empty for the platform.
    pub owner_name: String,
    /// `key`, `scope`, `tenant` or `platform`.
    pub level: &'static str,
    pub identity: budget::Identity,
    pub terms: budget::Terms,
}

/// A provider as calls see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderView {
    pub id: ProviderId,
    pub name: String,
    pub dialect: Dialect,
    pub settings: provider::Settings,
    /// Digest of the note with the sealed secret.
    pub secret: Option<[u8; 32]>,
    /// Of `settings`, to be shared.
    pub price: Option<Arc<Price>>,
    /// What is known of the provider at that address.
    pub known: Option<&'static Known>,
}

#[derive(Clone, Debug, PartialEq)]
struct ModelView {
    id: ModelId,
    name: String,
    targets: Vec<TargetView>,
    price: Option<Arc<Price>>,
    bounds: Bounds,
}

#[derive(Clone, Debug, PartialEq)]
struct TargetView {
    provider: ProviderId,
    model: String,
    price: Option<Arc<Price>>,
}

#[derive(Clone, Debug, PartialEq)]
struct EntryView {
    price: Option<Arc<Price>>,
    bounds: Bounds,
}

impl View {
    /// The view of a whole state.
    pub fn from_state(state: &State) -> View {
        make::whole(state)
    }

    /// Takes in an event that `state` has folded already. False: it binds no call (calls, nodes, alerts), and the view stays as it is.
    pub fn apply(&mut self, state: &State, record: &Recorded) -> bool {
        match &*record.event {
            Event::Tenant(_, event) if event.is_aside() => return false,
            Event::Tenant(id, _) => self.tenant_changed(state, *id),
            Event::Scope(id, _) => self.scope_changed(state, *id),
            Event::Key(id, _) => {
                self.name_budgets(state, Owner::Key(*id));
                self.remake(state, *id);
            }
            Event::Budget(_, budget::Event::Alerted { .. }) => return false,
            Event::Budget(id, _) => self.budget_changed(state, *id),
            Event::Provider(id, _) => self.provider_changed(state, *id),
            Event::Model(id, _) => self.model_changed(state, *id),
            Event::Catalogue(catalogue::Event::EditionSet { .. }) => return false,
            Event::Catalogue(catalogue::Event::EntrySet { name, .. } | catalogue::Event::EntryRemoved { name }) => {
                self.entry_changed(state, name)
            }
            Event::Policy(owner, _) => self.remake_below(state, *owner),
            Event::Node(..) | Event::Call(..) | Event::Token(..) | Event::Webhook(..) | Event::Alert(..) => return false,
        }
        self.position = record.envelope.n + 1;
        true
    }

    /// The key with this hash: one that lets calls in before one that does not.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<Principal>> {
        let first = (*hash, false, Reverse(KeyId(u64::MAX)));
        self.keys.range(first..).next().filter(|((found, ..), _)| found == hash).map(|(_, principal)| principal)
    }

    /// As [`View::key`], of those that a secret lets in at this time: one from before a rotation does so for a while.
    pub fn key_at(&self, hash: &KeyHash, now: impl Fn() -> Timestamp) -> Option<&Arc<Principal>> {
        let first = (*hash, false, Reverse(KeyId(u64::MAX)));
        let mut bearers = self.keys.range(first..).take_while(|((found, ..), _)| found == hash).map(|(_, principal)| principal);
        bearers.find(|principal| principal.hash == *hash || principal.previous.is_some_and(|(_, until)| now() < until))
    }

    pub fn key_by_id(&self, id: KeyId) -> Option<&Arc<Principal>> {
        self.ids.get(&id)
    }

    /// An open provider by its name.
    pub fn provider(&self, name: &str) -> Option<&Arc<ProviderView>> {
        self.provider_names.get(name).and_then(|id| self.providers.get(id))
    }

    /// An open provider by its id.
    pub fn provider_by_id(&self, id: ProviderId) -> Option<&Arc<ProviderView>> {
        self.providers.get(&id)
    }

    /// Every open budget that covers a call for this model by way of this provider, nearest first. A filter's models are held against
    /// the name that was asked for, `provider/` and that name, and `provider/` and the provider's own names for it. Within one list of
    /// a filter one match is enough; every list that is not empty needs one. [`crate::plan()`] sees to it that there are never more
    /// than [`events::limits::PATH_MAX`].
    pub fn path<'a>(&self, principal: &'a Principal, model: &str, provider: &str, tags: &[String]) -> Vec<&'a Arc<PathBudget>> {
        let asks_for_models = principal.budgets.iter().any(|budget| !budget.identity.only.models.is_empty());
        let mut names = vec![model.to_owned()];
        if asks_for_models {
            names.push(format!("{provider}/{model}"));
            let targets = self.targets(principal, model).into_iter().filter(|target| target.provider.name == provider);
            names.extend(targets.map(|target| format!("{provider}/{}", target.model)));
        }
        covering(principal, &names, provider, tags)
    }

    /// As [`View::path`], for one candidate: of the provider's own names only this one counts.
    pub fn path_of<'a>(&self, principal: &'a Principal, model: &str, candidate: &Candidate, tags: &[String]) -> Vec<&'a Arc<PathBudget>> {
        let provider = candidate.provider.name.as_str();
        let names = [model.to_owned(), format!("{provider}/{model}"), format!("{provider}/{}", candidate.model)];
        covering(principal, &names, provider, tags)
    }

    /// Only one tenant can use this entry: it belongs to one, or there is no other (P6).
    pub fn sole_tenant(&self, provider: &ProviderView) -> bool {
        provider.settings.tenant.is_some() || self.tenants.size() <= 1
    }
}

fn covering<'a>(principal: &'a Principal, names: &[String], provider: &str, tags: &[String]) -> Vec<&'a Arc<PathBudget>> {
    principal.budgets.iter().filter(|budget| covers(&budget.identity.only, names, provider, tags)).collect()
}

fn covers(only: &budget::Filter, names: &[String], provider: &str, tags: &[String]) -> bool {
    let models = only.models.is_empty() || names.iter().any(|name| pattern::any(&only.models, name));
    let providers = only.providers.is_empty() || only.providers.iter().any(|listed| listed == provider);
    models && providers && (only.tags.is_empty() || only.tags.iter().any(|tag| tags.contains(tag)))
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
