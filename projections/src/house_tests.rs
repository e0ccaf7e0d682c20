//! A history for tests: a journal in memory, a small world in it, and projections that follow it.

use crate::{
    Fault, Projection, View, World,
    follower::{Batch, Follower, Place},
    view::Snapshot,
};
use events::{
    Boot, BudgetId, CallId, Event, Every, Figures, KeyId, Money, NodeId, Owner, ProviderId, Rates, ScopeId, State, TenantId, Timestamp,
    Unit, Usage, budget,
    call::{self, Admitted, Attempt, AttemptEnd, Decision, Finished, Outcome},
    envelope::{Principal, Recorded},
    key, node, provider, scope, tenant,
    transaction::{Group, Proposal, Sequence, Transaction},
};
use journal::{ReadFault, Reader, disk::MemoryDisk};
use std::sync::Arc;

const NODE: NodeId = NodeId(0);
pub(crate) const NOON: &str = "2026-11-26T12:00:00Z";

/// A history in the making, with the time of the next event.
pub(crate) struct House {
    pub state: State,
    pub records: Vec<Recorded>,
    pub now: Timestamp,
    /// Of the calls that come.
    pub caller: call::Caller,
    boot: Boot,
    sequence: u64,
}

impl House {
    /// Two tenants, a small tree, three keys, two providers, a budget a tenant, one node.
    pub fn new() -> House {
        let mut house = House {
            state: State::default(),
            records: Vec::new(),
            now: Timestamp::parse(NOON).unwrap(),
            caller: call::Caller::default(),
            boot: Boot(0),
            sequence: 0,
        };
        for (number, name) in [(1, "acme"), (2, "umbrella")] {
            house.happens(Event::Tenant(TenantId(number), tenant::Event::Created { name: name.into(), rates: Rates::default() }));
            house.opens_budget(number, Owner::Tenant(TenantId(number)), 1_000);
        }
        for (number, parent, name) in [(1, None, "research"), (2, Some(ScopeId(1)), "search")] {
            let settings = scope::Settings { tenant: TenantId(1), parent, name: name.into(), kind: "team".into(), rates: Rates::default() };
            house.happens(Event::Scope(ScopeId(number), scope::Event::Created(settings)));
        }
        for (number, tenant, scope, name) in [(1, 1, Some(ScopeId(2)), "prod"), (2, 1, None, "trial"), (3, 2, None, "prod")] {
            let settings = key::Settings { tenant: TenantId(tenant), scope, name: name.into(), models: None, rates: Rates::default() };
            let secret = key::Secret { hash: key::KeyHash([number as u8; 32]), hint: "…".into() };
            house.happens(Event::Key(KeyId(number), key::Event::Created { settings, secret }));
        }
        for (number, name) in [(1, "openai"), (2, "local")] {
            let settings = provider::Settings {
                name: name.into(),
                dialect: "openai".into(),
                base_url: "https://x.example".into(),
                ..provider::Settings::default()
            };
            house.happens(Event::Provider(ProviderId(number), provider::Event::Created(settings)));
        }
        house.happens(Event::Node(NODE, node::Event::Joined));
        house.starts();
        house
    }

    /// The node's next session, which ends the one before.
    pub fn starts(&mut self) {
        (self.boot, self.sequence) = (Boot(self.boot.0 + 1), 0);
        self.happens(Event::Node(NODE, node::Event::Started { boot: self.boot, lanes: 1 }));
    }

    pub fn opens_budget(&mut self, number: u64, owner: Owner, dollars: i64) {
        let identity = budget::Identity { owner, unit: Unit::Usd, every: Every::Day, only: budget::Filter::default() };
        let terms = budget::Terms { limit: Money::usd(dollars).0, hard: true, alert_at_ppm: Vec::new() };
        self.happens(Event::Budget(BudgetId(number), budget::Event::Opened { identity, terms }));
    }

    /// An event without guards, a second after the last.
    pub fn happens(&mut self, event: Event) {
        self.append(event, None);
    }

    fn append(&mut self, event: Event, sequence: Option<Sequence>) {
        self.now = self.now.plus(std::time::Duration::from_secs(1));
        let transaction = Transaction { events: vec![Proposal::new(event, Principal::System, 0)], ..Transaction::default() };
        let group = Group { sequence, transactions: vec![Some(transaction)] };
        let before = self.records.len();
        let outcome = self.state.apply(&group, self.now, &mut self.records).unwrap();
        assert_eq!(self.records.len(), before + 1, "{outcome:?}");
        self.state.settle();
    }

    /// An event of a call, from the node's session.
    pub fn call(&mut self, number: u128, event: call::Event) {
        self.sequence += 1;
        let sequence = Sequence { node: NODE, boot: self.boot, lane: 0, seq: self.sequence };
        self.append(Event::Call(CallId(number), event), Some(sequence));
    }

    pub fn admits(&mut self, number: u128, key: u64, model: &str, tags: &[&str]) {
        let tenant = self.state.books.keys.get(&KeyId(key)).unwrap().tenant;
        let admitted = Admitted {
            node: NODE,
            boot: self.boot,
            key: KeyId(key),
            policy: 0,
            ceiling: figures(9),
            budgets: vec![BudgetId(tenant.0)],
            claim: None,
            model: model.into(),
            endpoint: "chat".into(),
            stream: false,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            caller: self.caller.clone(),
        };
        self.call(number, call::Event::Admitted(Box::new(admitted)));
    }

    pub fn finishes(&mut self, number: u128, key: u64, model: &str, provider: u64, dollars: i64) {
        self.call(number, call::Event::Finished(Box::new(finished(key, model, provider, dollars))));
    }

    pub fn orphans(&mut self, number: u128, key: u64, model: &str) {
        let boot = self.boot;
        self.starts();
        let orphaned = call::Orphaned { node: NODE, boot, key: KeyId(key), model: model.into(), charged: figures(9) };
        self.happens(Event::Call(CallId(number), call::Event::Orphaned(orphaned)));
    }
}

pub(crate) fn figures(dollars: i64) -> Figures {
    Figures { cost: Money::usd(dollars), tokens: dollars as u64 * 10, requests: 1 }
}

pub(crate) fn finished(key: u64, model: &str, provider: u64, dollars: i64) -> Finished {
    let attempt = Attempt {
        provider: ProviderId(provider),
        model: format!("{model}-up"),
        end: AttemptEnd::Ok,
        cost: Money::usd(dollars),
        tokens: dollars as u64 * 10,
        first_byte_ms: 20,
        total_ms: 120,
        upstream_id: None,
    };
    Finished {
        key: KeyId(key),
        model: model.into(),
        outcome: Outcome::Ok,
        attempts: vec![attempt],
        usage: Usage { input: 4, output: (dollars as u64 * 10).saturating_sub(4), ..Usage::default() },
        used: figures(dollars),
        apart: Vec::<(BudgetId, Figures)>::new(),
        charge: Money::usd(dollars),
        overrun: Money::ZERO,
        uncertain: Money::ZERO,
        estimated: false,
        total_ms: 130,
        decision: Decision::default(),
    }
}

pub(crate) fn place() -> Place {
    Place { disk: Arc::new(MemoryDisk::new()), cache_bytes: 1 << 20, disk_low: 0 }
}

/// A projection that took in a history in batches of these sizes, again and again.
pub(crate) fn followed(projection: Box<dyn Projection>, records: &[Recorded], sizes: &[usize]) -> Follower {
    let name = projection.name();
    let mut follower = Follower::begin(projection, name, &place()).unwrap();
    let mut rest = records;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*size).clamp(1, rest.len()));
        let rows = follower.rows.clone();
        let mut batch = Batch::begin(&follower, &rows).unwrap();
        let (first, second) = now.split_at(now.len() / 2);
        follower.fold(first, &mut batch).unwrap();
        follower.fold(second, &mut batch).unwrap();
        follower.commit(batch).unwrap();
        rest = later;
    }
    follower
}

/// A history that is all there.
impl Reader for House {
    fn end(&self) -> u64 {
        self.records.len() as u64
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, ReadFault> {
        Ok(self.records.iter().skip(from as usize).take(limit).cloned().collect())
    }
}

pub(crate) fn view(follower: &Follower) -> View {
    View::new("test", follower.rows.clone(), Arc::new(follower.world.clone()), follower.checkpoint.next)
}

/// What a query of a projection says of a history.
pub(crate) fn asked<R>(projection: Box<dyn Projection>, records: &[Recorded], ask: impl FnOnce(&Snapshot<'_>) -> Result<R, Fault>) -> R {
    view(&followed(projection, records, &[3, 1, 7])).read(ask).unwrap()
}

#[test]
fn the_world_knows_trees_and_names() {
    let house = House::new();
    let follower = followed(Box::new(crate::usage::Usage::default()), &house.records, &[2]);
    let world: &World = &follower.world;
    assert_eq!((world.scope_of(KeyId(1)), world.tenant_of(KeyId(3))), (Some(ScopeId(2)), TenantId(2)));
    assert_eq!(world.below(ScopeId(1)).into_iter().collect::<Vec<_>>(), [ScopeId(1), ScopeId(2)]);
    let again = World::load(&follower.rows.reading().unwrap()).unwrap();
    assert_eq!(again.state.digests().books, world.state.digests().books);
}
