//! One sample of every event. The list and the match come from one macro: a new variant does not compile until it has its sample.

use events::{
    AlertId, Boot, BudgetId, CallId, Event, Every, Figures, KeyId, ModelId, Money, NodeId, Owner, ProviderId, Rates, ScopeId, TenantId,
    Timestamp, TokenId, Unit, Usage, UserId, WebhookId, alert, budget, call, catalogue,
    key::{self, KeyHash},
    model, node, policy,
    price::{Bounds, Long, Price},
    provider, scope, tenant, token, webhook,
};

pub const TENANT: TenantId = TenantId(1);
const SCOPE: ScopeId = ScopeId(2);
const KEY: KeyId = KeyId(3);
const PROVIDER: ProviderId = ProviderId(4);
const MODEL: ModelId = ModelId(5);
const BUDGET: BudgetId = BudgetId(6);
const NODE: NodeId = NodeId(7);
const TOKEN: TokenId = TokenId(8);
const WEBHOOK: WebhookId = WebhookId(9);

macro_rules! samples {
    ($($pattern:pat => $sample:expr;)*) => {
        /// In an order that could have happened.
        pub fn all() -> Vec<Event> {
            vec![$($sample),*]
        }

        /// Which row of the list an event is of.
        pub fn row(event: &Event) -> &'static str {
            match event { $($pattern => stringify!($pattern),)* }
        }
    };
}

samples! {
    Event::Tenant(_, tenant::Event::Created { .. }) => Event::Tenant(TENANT, tenant::Event::Created { name: "acme".into(), rates: rates() });
    Event::Tenant(_, tenant::Event::RatesSet { .. }) => Event::Tenant(TENANT, tenant::Event::RatesSet { rates: Rates::default() });
    Event::Scope(_, scope::Event::Created(_)) => Event::Scope(SCOPE, scope::Event::Created(scope_settings()));
    Event::Scope(_, scope::Event::Moved { .. }) => Event::Scope(SCOPE, scope::Event::Moved { parent: Some(ScopeId(9)) });
    Event::Scope(_, scope::Event::KindSet { .. }) => Event::Scope(SCOPE, scope::Event::KindSet { kind: "department".into() });
    Event::Scope(_, scope::Event::RatesSet { .. }) => Event::Scope(SCOPE, scope::Event::RatesSet { rates: rates() });
    Event::Key(_, key::Event::Created { .. }) => Event::Key(KEY, key::Event::Created { settings: key_settings(), secret: secret(1) });
    Event::Key(_, key::Event::Moved { .. }) => Event::Key(KEY, key::Event::Moved { scope: Some(SCOPE) });
    Event::Key(_, key::Event::ModelsSet { .. }) => Event::Key(KEY, key::Event::ModelsSet { models: Some(vec!["fast".into(), "anthropic/*".into()]) });
    Event::Key(_, key::Event::RatesSet { .. }) => Event::Key(KEY, key::Event::RatesSet { rates: rates() });
    Event::Key(_, key::Event::SecretSet { .. }) => Event::Key(KEY, key::Event::SecretSet { secret: secret(2) });
    Event::Key(_, key::Event::Blocked) => Event::Key(KEY, key::Event::Blocked);
    Event::Key(_, key::Event::Unblocked) => Event::Key(KEY, key::Event::Unblocked);
    Event::Provider(_, provider::Event::Created(_)) => Event::Provider(PROVIDER, provider::Event::Created(provider_settings()));
    Event::Provider(_, provider::Event::Changed(_)) => Event::Provider(PROVIDER, provider::Event::Changed(provider_settings()));
    Event::Provider(_, provider::Event::SecretSet { .. }) => Event::Provider(PROVIDER, provider::Event::SecretSet { digest: [0x5a; 32] });
    Event::Model(_, model::Event::Set(_)) => Event::Model(MODEL, model::Event::Set(model_settings()));
    Event::Catalogue(catalogue::Event::EditionSet { .. }) => Event::Catalogue(catalogue::Event::EditionSet { edition: "2026-11-01".into() });
    Event::Catalogue(catalogue::Event::EntrySet { .. }) => Event::Catalogue(catalogue::Event::EntrySet { name: "openai/gpt-4o-mini".into(), entry: entry() });
    Event::Catalogue(catalogue::Event::EntryRemoved { .. }) => Event::Catalogue(catalogue::Event::EntryRemoved { name: "openai/gpt-4o-mini".into() });
    Event::Budget(_, budget::Event::Opened { .. }) => Event::Budget(BUDGET, budget::Event::Opened { identity: identity(), terms: terms() });
    Event::Budget(_, budget::Event::LimitSet { .. }) => Event::Budget(BUDGET, budget::Event::LimitSet { limit: Money::usd(20).0 });
    Event::Budget(_, budget::Event::TermsSet { .. }) => Event::Budget(BUDGET, budget::Event::TermsSet { hard: false, alert_at_ppm: vec![500_000, 950_000] });
    Event::Node(_, node::Event::Joined) => Event::Node(NODE, node::Event::Joined);
    Event::Node(_, node::Event::Started { .. }) => Event::Node(NODE, node::Event::Started { boot: Boot(0xb007), lanes: 2 });
    Event::Call(_, call::Event::Admitted(_)) => Event::Call(a_call(), call::Event::Admitted(Box::new(admitted())));
    Event::Call(_, call::Event::Extended(_)) => Event::Call(a_call(), call::Event::Extended(extended()));
    Event::Call(_, call::Event::Orphaned(_)) => Event::Call(a_call(), call::Event::Orphaned(orphaned()));
    Event::Call(_, call::Event::Translated(_)) => Event::Call(a_call(), call::Event::Translated(Box::new(translated())));
    Event::Call(_, call::Event::Finished(_)) => Event::Call(a_call(), call::Event::Finished(Box::new(finished())));
    Event::Call(_, call::Event::Released { .. }) => Event::Call(a_call(), call::Event::Released { key: KEY, reason: call::Unsent::CallerGone });
    Event::Call(_, call::Event::Adjusted(_)) => Event::Call(a_call(), call::Event::Adjusted(Box::new(adjusted())));
    Event::Budget(_, budget::Event::Alerted { .. }) => Event::Budget(BUDGET, budget::Event::Alerted { window: at(), threshold_ppm: 800_000 });
    Event::Budget(_, budget::Event::Closed) => Event::Budget(BUDGET, budget::Event::Closed);
    Event::Budget(_, budget::Event::Reopened) => Event::Budget(BUDGET, budget::Event::Reopened);
    Event::Policy(_, policy::Event::Set(_)) => Event::Policy(Owner::Tenant(TENANT), policy::Event::Set(vec![policy::Setting::Losses("warn,image=refuse".into())]));
    Event::Token(_, token::Event::Created { .. }) => Event::Token(TOKEN, token::Event::Created { settings: token_settings(), secret: secret(3) });
    Event::Token(_, token::Event::Denied { .. }) => Event::Token(TOKEN, token::Event::Denied { what: "POST /api/v1/apply".into() });
    Event::Token(_, token::Event::Revoked) => Event::Token(TOKEN, token::Event::Revoked);
    Event::Webhook(_, webhook::Event::Created(_)) => Event::Webhook(WEBHOOK, webhook::Event::Created(webhook_settings()));
    Event::Webhook(_, webhook::Event::Changed(_)) => Event::Webhook(WEBHOOK, webhook::Event::Changed(webhook_settings()));
    Event::Webhook(_, webhook::Event::SecretSet { .. }) => Event::Webhook(WEBHOOK, webhook::Event::SecretSet { digest: [0x77; 32] });
    Event::Alert(_, alert::Event::Raised { .. }) => Event::Alert(an_alert(), alert::Event::Raised { subject: "openai".into(), detail: "it failed again and again".into() });
    Event::Alert(_, alert::Event::Cleared) => Event::Alert(an_alert(), alert::Event::Cleared);
    Event::Webhook(_, webhook::Event::Closed) => Event::Webhook(WEBHOOK, webhook::Event::Closed);
    Event::Node(_, node::Event::Lost) => Event::Node(NODE, node::Event::Lost);
    Event::Node(_, node::Event::Removed) => Event::Node(NODE, node::Event::Removed);
    Event::Node(_, node::Event::Restored { .. }) => Event::Node(NODE, node::Event::Restored { position: 12, made_at: Timestamp(1_790_000_000_000_000) });
    Event::Model(_, model::Event::Removed) => Event::Model(MODEL, model::Event::Removed);
    Event::Provider(_, provider::Event::Closed) => Event::Provider(PROVIDER, provider::Event::Closed);
    Event::Key(_, key::Event::Rotated { .. }) => Event::Key(KEY, key::Event::Rotated { secret: secret(4), until: at() });
    Event::Key(_, key::Event::Revoked) => Event::Key(KEY, key::Event::Revoked);
    Event::Scope(_, scope::Event::Closed) => Event::Scope(SCOPE, scope::Event::Closed);
    Event::Tenant(_, tenant::Event::DataKeyMade { .. }) => Event::Tenant(TENANT, tenant::Event::DataKeyMade { digest: [0x3c; 32] });
    Event::Tenant(_, tenant::Event::BodiesRead { .. }) => Event::Tenant(TENANT, tenant::Event::BodiesRead { call: a_call() });
    Event::Tenant(_, tenant::Event::BodiesErased) => Event::Tenant(TENANT, tenant::Event::BodiesErased);
    Event::Tenant(_, tenant::Event::Closed) => Event::Tenant(TENANT, tenant::Event::Closed);
}

/// 2026-11-22T00:00:00Z.
pub fn at() -> Timestamp {
    Timestamp::from_ms(1_795_305_600_000)
}

fn a_call() -> CallId {
    CallId::new(1_795_305_600_123, 0x0123_4567_89ab_cdef_0123)
}

fn rates() -> Rates {
    Rates { rpm: Some(600), tpm: Some(200_000), parallel: None }
}

fn scope_settings() -> scope::Settings {
    scope::Settings { tenant: TENANT, parent: None, name: "search".into(), kind: "team".into(), rates: Rates::default() }
}

fn key_settings() -> key::Settings {
    key::Settings { tenant: TENANT, scope: None, name: "search-prod".into(), models: None, rates: Rates::default() }
}

fn webhook_settings() -> webhook::Settings {
    let url = "https://user:secret@hooks.example.com/alerts?key=secret".into();
    webhook::Settings { name: "pager".into(), tenant: Some(TENANT), url, alerts: Some(alert::Kind::ALL.to_vec()) }
}

fn an_alert() -> AlertId {
    AlertId::new(alert::Kind::BreakerOpen, NODE, PROVIDER.0)
}

fn token_settings() -> token::Settings {
    token::Settings { name: "finance".into(), role: token::Role::Billing, tenant: Some(TENANT), expires_at: Some(at()) }
}

fn secret(byte: u8) -> key::Secret {
    key::Secret { hash: KeyHash([byte; 32]), hint: "…a1b2".into() }
}

fn provider_settings() -> provider::Settings {
    provider::Settings {
        name: "openai".into(),
        tenant: None,
        dialect: "openai".into(),
        base_url: "https://user:secret@api.example.com/v1?key=secret".into(),
        headers: vec![("x-call".into(), "{call_id}".into())],
        timeouts: provider::Timeouts::default(),
        price: Some(price()),
        max_parallel: Some(64),
        on_client_gone: Some(provider::OnClientGone::Drain),
    }
}

/// Every class, a long price and a tier.
fn price() -> Price {
    let long = Price { input: Money(300_000), output: Money(1_200_000), ..Price::default() };
    let tier = Price { input: Money(250_000), output: Money(1_000_000), ..Price::default() };
    Price {
        input: Money(150_000),
        output: Money(600_000),
        cache_read: Some(Money(75_000)),
        cache_write: Some(Money(187_500)),
        cache_write_1h: Some(Money(300_000)),
        reasoning: Some(Money(600_001)),
        audio_input: Some(Money(10_000_000)),
        audio_output: Some(Money(20_000_000)),
        image: Money::parse("0.04"),
        search: Money::parse("0.01"),
        request: Money::parse("0.000001"),
        long: Some(Box::new(Long { above_tokens: 200_000, price: long })),
        tiers: vec![("priority".into(), tier)],
    }
}

fn entry() -> catalogue::Entry {
    catalogue::Entry { price: Some(price()), bounds: Bounds { max_output_tokens: Some(16_384), context_tokens: Some(128_000) } }
}

fn model_settings() -> model::Settings {
    let plain = model::Target { provider: PROVIDER, model: "gpt-4o-mini".into(), price: None };
    let priced = model::Target { provider: ProviderId(8), model: "llama".into(), price: Some(Price::default()) };
    let bounds = Bounds { max_output_tokens: Some(16_384), context_tokens: None };
    model::Settings { name: "fast".into(), targets: vec![plain, priced], price: Some(price()), bounds }
}

fn identity() -> budget::Identity {
    let only = budget::Filter { models: vec!["fast".into()], providers: vec!["openai".into()], tags: vec!["env=prod".into()] };
    budget::Identity { owner: Owner::Scope(SCOPE), unit: Unit::Usd, every: Every::Day, only }
}

fn terms() -> budget::Terms {
    budget::Terms { limit: Money::usd(50).0, hard: true, alert_at_ppm: vec![800_000] }
}

fn figures(pico: i128, tokens: u64) -> Figures {
    Figures { cost: Money(pico), tokens, requests: 1 }
}

fn admitted() -> call::Admitted {
    call::Admitted {
        node: NODE,
        boot: Boot(0xb007),
        key: KEY,
        policy: 21,
        ceiling: figures(12_345_000_000, 4_196),
        budgets: vec![BUDGET],
        claim: Some(call::Claim { key: [0xc1; 16], body: [0xb0; 16] }),
        model: "fast".into(),
        endpoint: "chat".into(),
        stream: true,
        tags: vec!["env=prod".into()],
        caller: call::Caller::default(),
    }
}

/// Other versions of a type's stored form, by the mark that their files bear behind it.
pub fn forms() -> Vec<(&'static str, Event)> {
    let caller = call::Caller {
        user: Some(UserId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        request_id: Some("req-7".into()),
        trace_id: Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
    };
    let admitted = call::Admitted { caller, ..admitted() };
    vec![("+caller", Event::Call(a_call(), call::Event::Admitted(Box::new(admitted))))]
}

fn extended() -> call::Extended {
    call::Extended { attempt: 2, adds: vec![(BUDGET, 12_345_000_000)], ceiling: Figures { requests: 0, ..figures(12_345_000_000, 4_196) } }
}

fn orphaned() -> call::Orphaned {
    call::Orphaned { node: NODE, boot: Boot(0xb007), key: KEY, model: "fast".into(), charged: figures(24_690_000_000, 8_392) }
}

fn attempt(end: call::AttemptEnd, pico: i128, tokens: u64, upstream_id: Option<&str>) -> call::Attempt {
    let upstream_id = upstream_id.map(Into::into);
    call::Attempt {
        provider: PROVIDER,
        model: "gpt-4o-mini".into(),
        end,
        cost: Money(pico),
        tokens,
        first_byte_ms: 320,
        total_ms: 1_280,
        upstream_id,
    }
}

/// Every field that can be there is there.
fn finished() -> call::Finished {
    let usage = Usage {
        input: 10,
        cache_read: 20,
        cache_write: 30,
        cache_write_1h: 40,
        output: 50,
        reasoning: 60,
        audio_input: 1,
        audio_output: 2,
        images: 3,
        searches: 4,
    };
    let ends = [
        call::AttemptEnd::Status(503),
        call::AttemptEnd::NotSent,
        call::AttemptEnd::Broken,
        call::AttemptEnd::TimedOut,
        call::AttemptEnd::Cancelled,
        call::AttemptEnd::Cut,
    ];
    let mut attempts: Vec<call::Attempt> = ends.into_iter().map(|end| attempt(end, 0, 0, None)).collect();
    attempts.push(attempt(call::AttemptEnd::Ok, 100_000_000, 213, Some("chatcmpl-1")));
    call::Finished {
        key: KEY,
        model: "fast".into(),
        outcome: call::Outcome::Ok,
        attempts,
        usage,
        used: figures(100_000_000, 213),
        apart: vec![(BUDGET, figures(90_000_000, 200))],
        charge: Money(100_000_000),
        overrun: Money(1),
        uncertain: Money(2),
        estimated: true,
        total_ms: 1_300,
        decision: call::Decision { candidates: vec![(PROVIDER, "gpt-4o-mini".into())], price: Some(price()), bound: call::Bound::Tokens },
    }
}

fn translated() -> call::Translated {
    let loss = |half, kind: &str, path: &str| call::Loss { half, kind: kind.into(), path: path.into() };
    let losses = vec![loss(call::Half::Request, "sampling", "seed"), loss(call::Half::Answer, "thinking", "content[0].signature")];
    call::Translated { key: KEY, provider: PROVIDER, losses }
}

fn adjusted() -> call::Adjusted {
    let deltas = vec![(BUDGET, -1_000_000)];
    call::Adjusted { admitted_at: at(), tenant: TENANT, key: KEY, deltas, delta: Money(-1_000_000), reason: "reconciled".into() }
}
