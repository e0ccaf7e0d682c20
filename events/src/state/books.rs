//! The books: a function of the history, so that a replay gives the same.

use crate::{
    AlertId, BudgetId, CallId, KeyId, ModelId, NodeId, Owner, ProviderId, ScopeId, StreamId, TenantId, Timestamp, TokenId, WebhookId,
    alert, budget, call, catalogue,
    codec::Undecodable,
    key, model, node, policy, provider, scope,
    table::{Change, Table},
    tenant, token, webhook,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A claim: an idempotency key in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRow {
    pub call: CallId,
    pub body: [u8; 16],
    pub at: Timestamp,
}

/// Single figures that are derived from the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The id that the next thing made may take.
    pub next_id: u64,
}

/// See the module. One table a noun; `n` counts events.
#[derive(Clone, Debug)]
pub struct Books {
    /// Events so far: the position of the next.
    pub n: u64,
    pub head: Head,
    pub tenants: Table<TenantId, tenant::Tenant>,
    pub scopes: Table<ScopeId, scope::Scope>,
    pub keys: Table<KeyId, key::Key>,
    pub providers: Table<ProviderId, provider::Provider>,
    pub models: Table<ModelId, model::Model>,
    pub catalogue: Table<(), catalogue::Catalogue>,
    pub budgets: Table<BudgetId, budget::Budget>,
    pub windows: Table<(BudgetId, Timestamp), budget::Window>,
    pub nodes: Table<NodeId, node::Node>,
    pub open: Table<CallId, call::Open>,
    pub orphans: Table<CallId, call::Orphan>,
    pub claims: Table<(TenantId, [u8; 16]), ClaimRow>,
    pub meters: Table<KeyId, call::Meter>,
    /// Events in each stream but calls'.
    pub versions: Table<StreamId, u64>,
    /// The position behind the last change of what binds calls.
    pub changed: Table<Owner, u64>,
    pub policies: Table<Owner, policy::Policy>,
    pub tokens: Table<TokenId, token::Token>,
    /// Secrets of keys from before a rotation, as long as nothing has ended them but time.
    pub overlaps: Table<KeyId, key::Overlap>,
    pub webhooks: Table<WebhookId, webhook::Webhook>,
    pub alerts: Table<AlertId, alert::Alert>,
    /// Derived: budgets by what makes them themselves.
    pub(super) budget_ids: BTreeMap<budget::Identity, BudgetId>,
    /// Derived: open calls by age.
    pub(super) open_times: BTreeSet<(Timestamp, CallId)>,
    /// Derived: orphans by age.
    pub(super) orphan_times: BTreeSet<(Timestamp, CallId)>,
    /// Derived: claims of a tenant by age.
    pub(super) claim_times: BTreeSet<(TenantId, Timestamp, [u8; 16])>,
}

macro_rules! each_table {
    ($books:expr, $table:ident => $body:expr) => {{
        {
            let $table = &mut $books.tenants;
            $body
        }
        {
            let $table = &mut $books.scopes;
            $body
        }
        {
            let $table = &mut $books.keys;
            $body
        }
        {
            let $table = &mut $books.providers;
            $body
        }
        {
            let $table = &mut $books.models;
            $body
        }
        {
            let $table = &mut $books.catalogue;
            $body
        }
        {
            let $table = &mut $books.budgets;
            $body
        }
        {
            let $table = &mut $books.windows;
            $body
        }
        {
            let $table = &mut $books.nodes;
            $body
        }
        {
            let $table = &mut $books.open;
            $body
        }
        {
            let $table = &mut $books.orphans;
            $body
        }
        {
            let $table = &mut $books.claims;
            $body
        }
        {
            let $table = &mut $books.meters;
            $body
        }
        {
            let $table = &mut $books.versions;
            $body
        }
        {
            let $table = &mut $books.changed;
            $body
        }
        {
            let $table = &mut $books.policies;
            $body
        }
        {
            let $table = &mut $books.tokens;
            $body
        }
        {
            let $table = &mut $books.overlaps;
            $body
        }
        {
            let $table = &mut $books.webhooks;
            $body
        }
        {
            let $table = &mut $books.alerts;
            $body
        }
    }};
}

impl Books {
    pub(super) fn new() -> Books {
        Books {
            n: 0,
            head: Head { next_id: 1 },
            tenants: Table::new(1),
            scopes: Table::new(2),
            keys: Table::new(3),
            providers: Table::new(4),
            models: Table::new(5),
            catalogue: Table::new(6),
            budgets: Table::new(7),
            windows: Table::new(8),
            nodes: Table::new(9),
            open: Table::new(10),
            orphans: Table::new(11),
            claims: Table::new(12),
            meters: Table::new(13),
            versions: Table::new(14),
            changed: Table::new(15),
            policies: Table::new(16),
            tokens: Table::new(17),
            overlaps: Table::new(20),
            webhooks: Table::new(18),
            alerts: Table::new(19),
            budget_ids: BTreeMap::new(),
            open_times: BTreeSet::new(),
            orphan_times: BTreeSet::new(),
            claim_times: BTreeSet::new(),
        }
    }

    pub(super) fn settle(&mut self, changes: &mut Vec<Change>) {
        each_table!(self, table => table.settle(changes));
    }

    pub(super) fn digest(&self) -> u128 {
        let sums = [
            self.tenants.digest(),
            self.scopes.digest(),
            self.keys.digest(),
            self.providers.digest(),
            self.models.digest(),
            self.catalogue.digest(),
            self.budgets.digest(),
            self.windows.digest(),
            self.nodes.digest(),
            self.open.digest(),
            self.orphans.digest(),
            self.claims.digest(),
            self.meters.digest(),
            self.versions.digest(),
            self.changed.digest(),
            self.policies.digest(),
            self.tokens.digest(),
            self.overlaps.digest(),
            self.webhooks.digest(),
            self.alerts.digest(),
        ];
        sums.iter().fold(0u128, |sum, part| sum.wrapping_add(*part))
    }

    /// Folds what an event of a key means for the secret before; asked before the key itself takes it in.
    pub(super) fn overlap(&mut self, id: KeyId, event: &key::Event) {
        match event {
            key::Event::Rotated { until, .. } => {
                if let Some(key) = self.keys.get(&id) {
                    let previous = key::Secret { hash: key.hash, hint: key.hint.clone() };
                    self.overlaps.insert(id, key::Overlap { previous, until: *until });
                }
            }
            key::Event::Created { .. } | key::Event::SecretSet { .. } | key::Event::Revoked => drop(self.overlaps.remove(&id)),
            key::Event::Moved { .. }
            | key::Event::ModelsSet { .. }
            | key::Event::RatesSet { .. }
            | key::Event::Blocked
            | key::Event::Unblocked => {}
        }
    }

    /// False: not one of these tables.
    pub(super) fn load(&mut self, number: u8, key: &[u8], value: &[u8]) -> Result<bool, Undecodable> {
        each_table!(self, table => if table.number() == number { table.load(key, value)?; return Ok(true); });
        Ok(false)
    }

    pub(super) fn loaded(&mut self) {
        self.budget_ids = self.budgets.iter().map(|(id, budget)| (budget.identity.clone(), *id)).collect();
        self.open_times = self.open.iter().map(|(call, open)| (open.at, *call)).collect();
        self.orphan_times = self.orphans.iter().map(|(call, orphan)| (orphan.orphaned_at, *call)).collect();
        self.claim_times = self.claims.iter().map(|((tenant, key), claim)| (*tenant, claim.at, *key)).collect();
        let numbered = self.versions.iter().filter(|(stream, _)| !matches!(stream, StreamId::Alert(_)));
        let largest = numbered.filter_map(|(stream, _)| u64::try_from(stream.to_parts().1).ok()).max();
        self.head.next_id = largest.map_or(1, |id| id.saturating_add(1));
    }
}
