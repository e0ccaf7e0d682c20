//! A day of generated traffic through the real journal, and what the projections make of it: sizes and times.
//! `cargo run --release -p tollgate-projections --example day -- FOLDER CALLS DAYS` leaves the data directory for `tollgate replay` and `serve`.

use events::{
    Boot, BudgetId, CallId, Event, Every, Figures, KeyId, Money, NodeId, Owner, ProviderId, Rates, ScopeId, TenantId, Timestamp, Unit,
    Usage, UserId, budget,
    call::{self, Admitted, Attempt, AttemptEnd, Caller, Decision, Finished, Outcome},
    envelope::Principal,
    key, node, provider, scope, tenant,
    transaction::{Group, GroupOutcome, Proposal, Sequence, Transaction},
};
use journal::{Clock, Journal};
use projections::{
    Order, Projections, Runner, Status, calls,
    usage::{Dimension, Filter, Grain, Query, Range},
};
use raft::{RaftJournal, Settings};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use store::{DataDir, RealDisk};

const TENANTS: u64 = 20;
const TEAMS: u64 = 200;
const KEYS: u64 = 3_000;
const MODELS: u64 = 20;
/// Whom calls are made for.
const USERS: u64 = 20_000;
const PROVIDERS: u64 = 5;
/// Calls of one group: admissions, and behind them records.
const GROUP: u64 = 400;
/// One of so many calls loses its node.
const LOST: u64 = 5_000;
const NODE: NodeId = NodeId(0);

/// Time as the generator says.
struct Told(AtomicU64);

impl Clock for Told {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Chance from one number (splitmix64): the same day every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small ones far more often than large ones.
    fn skewed(&mut self, bound: u64) -> u64 {
        let share = self.below(1 << 20) as f64 / f64::from(1 << 20);
        ((share * share * share) * bound as f64) as u64
    }
}

fn transaction(events: Vec<Event>) -> Option<Transaction> {
    let events = events.into_iter().map(|event| Proposal::new(event, Principal::System, 0)).collect();
    Some(Transaction { events, ..Transaction::default() })
}

struct Writer {
    journal: Arc<RaftJournal>,
    clock: Arc<Told>,
    chance: Chance,
    boot: Boot,
    seq: u64,
    last_id: u128,
}

impl Writer {
    async fn append(&mut self, sequence: Option<Sequence>, transactions: Vec<Option<Transaction>>) {
        let wanted = transactions.len();
        let outcomes = self.journal.append(vec![Group { sequence, transactions }]).await.expect("it appends");
        let GroupOutcome::Done(outcomes) = &outcomes[0] else { panic!("{outcomes:?}") };
        let taken = outcomes.iter().filter(|outcome| **outcome == events::transaction::Outcome::Taken).count();
        assert_eq!(taken, wanted, "{outcomes:?}");
    }

    async fn keep(&mut self, events: Vec<Event>) {
        for chunk in events.chunks(500) {
            self.append(None, vec![transaction(chunk.to_vec())]).await;
        }
    }

    async fn starts(&mut self) {
        (self.boot, self.seq) = (Boot(self.boot.0 + 1), 0);
        self.keep(vec![Event::Node(NODE, node::Event::Started { boot: self.boot, lanes: 1 })]).await;
    }

    /// Tenants, teams, keys, providers, and a budget for each tenant and team.
    async fn world(&mut self) {
        let mut events = vec![Event::Node(NODE, node::Event::Joined)];
        let rates = Rates::default();
        let limit = |owner, number, every| {
            let identity = budget::Identity { owner, unit: Unit::Usd, every, only: budget::Filter::default() };
            let terms = budget::Terms { limit: Money::usd(10_000_000).0, hard: true, alert_at_ppm: Vec::new() };
            Event::Budget(BudgetId(number), budget::Event::Opened { identity, terms })
        };
        for number in 0..TENANTS {
            events.push(Event::Tenant(TenantId(number), tenant::Event::Created { name: format!("tenant-{number}"), rates }));
            events.push(limit(Owner::Tenant(TenantId(number)), number, Every::Month));
        }
        for number in 0..TEAMS {
            let settings = scope::Settings {
                tenant: TenantId(number % TENANTS),
                parent: None,
                name: format!("team-{number}"),
                kind: "team".into(),
                rates,
            };
            events.push(Event::Scope(ScopeId(number), scope::Event::Created(settings)));
            events.push(limit(Owner::Scope(ScopeId(number)), 1_000 + number, Every::Day));
        }
        for number in 0..KEYS {
            let team = number % TEAMS;
            let settings = key::Settings {
                tenant: TenantId(team % TENANTS),
                scope: Some(ScopeId(team)),
                name: format!("key-{number}"),
                models: None,
                rates,
            };
            let hash = key::KeyHash(std::array::from_fn(|at| (number >> (8 * (at % 8))) as u8));
            events.push(Event::Key(KeyId(number), key::Event::Created { settings, secret: key::Secret { hash, hint: "…".into() } }));
        }
        for number in 0..PROVIDERS {
            let settings = provider::Settings {
                name: format!("provider-{number}"),
                dialect: "openai".into(),
                base_url: "https://p.example/v1".into(),
                ..provider::Settings::default()
            };
            events.push(Event::Provider(ProviderId(number), provider::Event::Created(settings)));
        }
        self.keep(events).await;
        self.starts().await;
    }

    fn id(&mut self) -> CallId {
        let id = CallId::new(self.clock.now().as_ms(), u128::from(self.chance.next()) << 16);
        self.last_id = id.0;
        id
    }

    fn admitted(&mut self) -> Admitted {
        let key = self.chance.skewed(KEYS);
        let team = key % TEAMS;
        // a key has a few models that it calls
        let model = (key + self.chance.skewed(5)) % MODELS;
        let tags = if self.chance.below(10) == 0 { vec![format!("app=a{}", key % 7), "env=prod".into()] } else { Vec::new() };
        // a few applications say for whom they call
        let user = key.is_multiple_of(4).then(|| UserId(u128::from(self.chance.skewed(USERS))));
        Admitted {
            node: NODE,
            boot: self.boot,
            key: KeyId(key),
            policy: 0,
            ceiling: Figures { cost: Money(20_000_000_000), tokens: 8_000, requests: 1 },
            budgets: vec![BudgetId(1_000 + team), BudgetId(team % TENANTS)],
            claim: None,
            model: format!("model-{model}"),
            endpoint: "chat_completions".into(),
            stream: self.chance.below(2) == 0,
            tags,
            caller: Caller { user, ..Caller::default() },
        }
    }

    fn attempt(&mut self, provider: u64, model: &str, end: AttemptEnd, cost: Money, tokens: u64) -> Attempt {
        let first_byte_ms = 80 + self.chance.skewed(2_000) as u32;
        let total_ms = first_byte_ms + (tokens as u32) * 12;
        let upstream_id = (end == AttemptEnd::Ok).then(|| format!("chatcmpl-{:016x}", self.chance.next()));
        Attempt { provider: ProviderId(provider), model: format!("{model}-2026"), end, cost, tokens, first_byte_ms, total_ms, upstream_id }
    }

    fn finished(&mut self, admitted: &Admitted) -> Finished {
        let usage = Usage {
            input: 200 + self.chance.skewed(3_000),
            output: 20 + self.chance.skewed(700),
            reasoning: self.chance.skewed(100),
            ..Usage::default()
        };
        let cost = Money(i128::from(usage.input) * 150_000 + i128::from(usage.tokens_out()) * 600_000);
        let provider = admitted.key.0 % PROVIDERS;
        let mut attempts = Vec::new();
        if self.chance.below(33) == 0 {
            attempts.push(self.attempt((provider + 1) % PROVIDERS, &admitted.model, AttemptEnd::Status(503), Money::ZERO, 0));
        }
        let failed = self.chance.below(50) == 0;
        let (outcome, end) = if failed { (Outcome::Failed, AttemptEnd::Status(429)) } else { (Outcome::Ok, AttemptEnd::Ok) };
        let (usage, cost) = if failed { (Usage::default(), Money::ZERO) } else { (usage, cost) };
        let last = self.attempt(provider, &admitted.model, end, cost, usage.tokens());
        let total_ms = attempts.iter().map(|attempt: &Attempt| attempt.total_ms).sum::<u32>() + last.total_ms + 1;
        attempts.push(last);
        Finished {
            key: admitted.key,
            model: admitted.model.clone(),
            outcome,
            attempts,
            usage,
            used: Figures { cost, tokens: usage.tokens(), requests: 1 },
            apart: Vec::new(),
            charge: cost,
            overrun: Money::ZERO,
            uncertain: Money::ZERO,
            estimated: false,
            total_ms,
            decision: Decision::default(),
        }
    }

    /// A group of admissions, then one of what became of them; a few lose their node.
    async fn calls(&mut self, count: u64) {
        let admitted: Vec<(CallId, Admitted)> = (0..count).map(|_| (self.id(), self.admitted())).collect();
        let admissions = admitted
            .iter()
            .map(|(id, admitted)| transaction(vec![Event::Call(*id, call::Event::Admitted(Box::new(admitted.clone())))]))
            .collect();
        self.seq += 1;
        self.append(Some(Sequence { node: NODE, boot: self.boot, lane: 0, seq: self.seq }), admissions).await;
        let (mut records, mut lost) = (Vec::new(), Vec::new());
        for (id, admitted) in &admitted {
            let event = match self.chance.below(LOST) {
                0 => {
                    lost.push((*id, admitted));
                    continue;
                }
                at if at < LOST / 100 => call::Event::Released { key: admitted.key, reason: call::Unsent::CallerGone },
                _ => call::Event::Finished(Box::new(self.finished(admitted))),
            };
            records.push(transaction(vec![Event::Call(*id, event)]));
        }
        self.seq += 1;
        self.append(Some(Sequence { node: NODE, boot: self.boot, lane: 0, seq: self.seq }), records).await;
        if lost.is_empty() {
            return;
        }
        let boot = self.boot;
        self.starts().await;
        let orphans = lost.iter().map(|(id, admitted)| {
            let orphaned = call::Orphaned { node: NODE, boot, key: admitted.key, model: admitted.model.clone(), charged: admitted.ceiling };
            Event::Call(*id, call::Event::Orphaned(orphaned))
        });
        let orphans = orphans.collect();
        self.keep(orphans).await;
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1_024
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).filter_map(|text| text.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

fn sizes(folder: &Path) {
    for part in ["history", "state", "log", "projections"] {
        for entry in std::fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            let bytes = entry.metadata().map(|meta| meta.len()).unwrap_or_default();
            if part == "projections" {
                println!("  {part}/{}: {:.1} MiB", entry.file_name().to_string_lossy(), bytes as f64 / f64::from(1 << 20));
            }
        }
        let bytes: u64 = std::fs::read_dir(folder.join(part))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .sum();
        println!("  {part}: {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    }
}

/// Runs it often, and shows the median and the 95th of a hundred.
fn timed(what: &str, times: usize, mut act: impl FnMut(usize) -> usize) {
    let mut took: Vec<(Duration, usize)> = (0..times)
        .map(|at| {
            let start = Instant::now();
            let rows = act(at);
            (start.elapsed(), rows)
        })
        .collect();
    took.sort();
    let ms = |at: usize| took[at.min(times - 1)].0.as_secs_f64() * 1e3;
    println!("  {what}: p50 {:.2} ms, p95 {:.2} ms, {} rows", ms(times / 2), ms(times * 95 / 100), took[0].1);
}

fn questions(projections: &Projections, from: Timestamp, until: Timestamp, last: CallId) {
    let usage = projections.view("usage").expect("a view");
    let ask = |by: &[Dimension], step, filter: Filter| {
        let query = Query {
            tenants: (0..TENANTS).map(TenantId).collect(),
            range: Range::hours(from, until),
            step,
            group_by: by.iter().copied().collect(),
            filter,
        };
        usage.read(|snapshot| query.run(snapshot)).expect("it answers").expect("few groups").len()
    };
    for (what, by, step) in [
        ("usage by model", &[Dimension::Model][..], None),
        ("usage by key", &[Dimension::Key], None),
        ("usage by team, by day", &[Dimension::Scope], Some(Grain::Day)),
        ("usage by key and model", &[Dimension::Key, Dimension::Model], None),
        ("usage by provider, by hour", &[Dimension::Provider], Some(Grain::Hour)),
        ("usage by tag", &[Dimension::Tag], None),
    ] {
        timed(what, 20, |_| ask(by, step, Filter::default()));
    }
    timed("usage of a key by model, by day", 20, |at| {
        let keys = Some([KeyId(at as u64 * 17)].into());
        ask(&[Dimension::Model], Some(Grain::Day), Filter { keys, ..Filter::default() })
    });
    let view = projections.view("calls").expect("a view");
    let all: std::collections::BTreeSet<TenantId> = (0..TENANTS).map(TenantId).collect();
    let page = |keys, order, limit| {
        let filter = calls::Filter { keys, ..calls::Filter::default() };
        calls::Query { tenants: all.clone(), from: Timestamp(0), until: Timestamp(u64::MAX), filter, order, after: None, limit }
    };
    let ids: Vec<CallId> = view
        .read(|snapshot| page(None, Order::Ascending, 100_000).run(snapshot))
        .expect("it answers")
        .calls
        .iter()
        .map(|(id, _)| *id)
        .collect();
    timed("a call by id", 1_000, |at| {
        let id = ids[at * 7_919 % ids.len()];
        view.read(|snapshot| calls::find(snapshot, id, &all)).expect("it answers").iter().count()
    });
    timed("the last call by id", 1_000, |_| view.read(|snapshot| calls::find(snapshot, last, &all)).expect("it answers").iter().count());
    timed("100 calls of a key", 200, |at| {
        let query = page(Some([KeyId(at as u64 * 13)].into()), Order::Descending, 100);
        view.read(|snapshot| query.run(snapshot)).expect("it answers").calls.len()
    });
}

async fn follow(journal: &RaftJournal, folder: &Path, events: u64) -> (Projections, Runner) {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let disk = RealDisk::new(folder).expect("a folder");
    let (projections, runner) = Runner::start(journal.reader(), &disk, 0).expect("projections");
    let mut most = 0;
    while projections.views().iter().any(|view| view.next() < events) {
        projections.ask();
        tokio::time::sleep(Duration::from_millis(20)).await;
        most = most.max(resident_mib());
    }
    let (took, used) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "projected in {took:.1} s ({:.0} events/s), CPU {:.2} us an event, at most {most} MiB resident",
        events as f64 / took,
        used * 1e6 / events as f64
    );
    (projections, runner)
}

async fn rebuild(projections: &Projections) {
    for view in projections.views() {
        let before = view.digest().expect("a digest");
        let start = Instant::now();
        view.ask_rebuild();
        while view.rebuilds() == 0 {
            assert!(!matches!(view.status(), Status::Failed(_)), "{:?}", view.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let same = view.digest().expect("a digest") == before;
        println!("  {} rebuilt in {:.1} s, same digest: {same}", view.name(), start.elapsed().as_secs_f64());
        assert!(same);
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize, otherwise: u64| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (kept, temporary) = (arguments.get(1).cloned(), tempfile::tempdir().expect("a folder"));
    let folder = kept.as_ref().map_or(temporary.path(), Path::new);
    let (wanted, days) = (number(2, 1_000_000), number(3, 1));
    let from = Timestamp::parse("2026-08-01T00:00:00Z").expect("a time");
    let until = from.plus(Duration::from_secs(days * 86_400));
    let clock = Arc::new(Told(AtomicU64::new(from.0)));
    let dir = DataDir::open(Arc::new(RealDisk::new(folder).expect("a folder")), [1; 16]).expect("a data directory");
    let settings = Settings { clock: clock.clone(), fail_stop: Arc::new(|why| panic!("{why}")), disk_low: 0, disk_ok: 0 };
    let journal = Arc::new(RaftJournal::open(dir, settings).await.expect("it opens"));
    let mut writer = Writer { journal: journal.clone(), clock: clock.clone(), chance: Chance(42), boot: Boot(0), seq: 0, last_id: 0 };
    let start = Instant::now();
    writer.world().await;
    let groups = wanted.div_ceil(GROUP);
    for group in 0..groups {
        clock.0.store(from.0 + (until.0 - from.0) / groups * group, Ordering::Relaxed);
        writer.calls(GROUP).await;
    }
    let events = journal::look(&*journal, events::State::position);
    println!("{} calls over {days} days, {events} events, written in {:.1} s", groups * GROUP, start.elapsed().as_secs_f64());
    while journal.reader().end() < events {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (projections, runner) = follow(&journal, folder, events).await;
    sizes(folder);
    questions(&projections, from, until, CallId(writer.last_id));
    rebuild(&projections).await;
    runner.stop();
    journal.stop().await;
}
