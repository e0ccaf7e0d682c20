use super::*;
use crate::{Step, harness::World};
use events::{Money, ScopeId, State, Timestamp, key, limits, model, node, scope, tenant};
use proptest::prelude::*;

const FILE: &str = r#"
providers:
  - {name: openai, dialect: openai, base_url: "https://api.openai.com/v1", api_key: sk-one}
  - {name: local, dialect: openai, base_url: "http://10.0.0.7/v1", price: {input_per_mtok: "0", output_per_mtok: "0"}}
  - {name: anthropic, dialect: anthropic, base_url: "https://api.anthropic.com/v1"}
  - {name: private, tenant: beta, dialect: openai, base_url: "https://private.example/v1"}
models:
  - {name: fast, targets: [{provider: openai, model: gpt-4o-mini}, {provider: local, model: llama, price: {input_per_mtok: "1", output_per_mtok: "2"}}], max_output_tokens: 100}
  - {name: mixed, targets: [{provider: anthropic, model: claude-haiku-4-5}, {provider: openai, model: gpt-4o}], price: {input_per_mtok: "7", output_per_mtok: "7"}}
  - {name: hidden, targets: [{provider: private, model: secret-model}]}
  - {name: "gpt-*", targets: [{provider: openai, model: "gpt-*"}]}
  - {name: "gpt-4o*", targets: [{provider: local, model: "four-*"}]}
  - {name: "claude/*", targets: [{provider: anthropic, model: "claude-*"}]}
tenants: [{name: acme, rpm_limit: 7, budgets: [{limit: 500 USD, every: month}]}, {name: beta}]
scopes:
  - {name: team, kind: team, parent: acme, budgets: [{limit: 5 USD, every: day}, {limit: 4 USD, every: day, only: {providers: [openai]}}]}
  - {name: user, kind: user, parent: team, tpm_limit: 9, budgets: [{limit: 3 USD, every: day, only: {models: ["openai/gpt-4o*"], tags: [a=1, a=2]}}]}
keys:
  - {name: all, scope: user, secret: secret-all, budgets: [{limit: 10 requests, every: day, only: {models: [fast]}}]}
  - {name: few, scope: acme, secret: secret-few, models: [fast, "openai/gpt-5*", "anthropic/claude-haiku-4-5"]}
  - {name: other, scope: beta, secret: secret-other}
budgets: [{limit: 1000 USD, every: month}]
"#;

fn world() -> World {
    let mut world = World::with_catalogue();
    world.apply(FILE, false);
    world
}

fn principal(world: &World, secret: &str) -> Arc<Principal> {
    world.view.key(&crate::Secrets::hash(&world.secrets, secret)).unwrap().clone()
}

/// Candidates as `provider/model`.
fn resolved(world: &World, secret: &str, name: &str, speaks: Dialect) -> Result<Vec<String>, ModelRefusal> {
    let resolved = world.view.resolve(&principal(world, secret), name, |dialect| dialect == speaks)?;
    Ok(resolved.candidates.iter().map(|candidate| format!("{}/{}", candidate.provider.name, candidate.model)).collect())
}

#[test]
fn names_stand_for_candidates_in_order() {
    let world = world();
    use Dialect::{Anthropic, OpenAi};
    for (name, speaks, candidates) in [
        ("fast", OpenAi, &["openai/gpt-4o-mini", "local/llama"][..]),
        ("mixed", OpenAi, &["openai/gpt-4o"]),
        ("mixed", Anthropic, &["anthropic/claude-haiku-4-5"]),
        ("gpt-5", OpenAi, &["openai/gpt-5"]),
        ("gpt-4o-mini", OpenAi, &["local/four--mini"]),
        ("gpt-", OpenAi, &["openai/gpt-"]),
        ("claude/opus-5", Anthropic, &["anthropic/claude-opus-5"]),
        ("openai/gpt-4o", OpenAi, &["openai/gpt-4o"]),
        ("openai/any/thing", OpenAi, &["openai/any/thing"]),
        ("local/llama", OpenAi, &["local/llama"]),
    ] {
        assert_eq!(resolved(&world, "secret-all", name, speaks), Ok(candidates.iter().map(|name| (*name).to_owned()).collect()), "{name}");
    }
    let other = |name: &str, speaks| Err(ModelRefusal::OtherDialect { model: name.into(), speaks });
    assert_eq!(resolved(&world, "secret-all", "fast", Anthropic), other("fast", OpenAi));
    assert_eq!(resolved(&world, "secret-all", "anthropic/claude-x", OpenAi), other("anthropic/claude-x", Anthropic));
    for name in ["", "fas", "*", "openai/", "/gpt-4o", "nobody/gpt-4o", "claude-opus-5"] {
        assert!(matches!(resolved(&world, "secret-all", name, OpenAi), Err(ModelRefusal::NotFound { .. })), "{name}");
    }
}

#[test]
fn a_key_uses_only_its_models() {
    let world = world();
    let refused = |name: &str, speaks| resolved(&world, "secret-few", name, speaks).unwrap_err();
    assert_eq!(resolved(&world, "secret-few", "fast", Dialect::OpenAi).map(|found| found.len()), Ok(2));
    assert_eq!(resolved(&world, "secret-few", "openai/gpt-5-mini", Dialect::OpenAi).map(|found| found.len()), Ok(1));
    assert_eq!(
        resolved(&world, "secret-few", "gpt-5", Dialect::OpenAi).map(|found| found.len()),
        Ok(1),
        "it is openai/gpt-5 behind another name"
    );
    assert_eq!(
        refused("mixed", Dialect::OpenAi),
        ModelRefusal::OtherDialect { model: "mixed".into(), speaks: Dialect::Anthropic },
        "of its targets one"
    );
    assert_eq!(refused("openai/gpt-4o", Dialect::OpenAi), ModelRefusal::NotAllowed);
    assert_eq!(refused("local/llama", Dialect::OpenAi), ModelRefusal::NotAllowed, "not by way of the entry fast");
    let names: Vec<String> = world.view.models(&principal(&world, "secret-few")).into_iter().map(|listing| listing.name).collect();
    assert!(
        names.contains(&"fast".to_owned())
            && names.contains(&"openai/gpt-5-nano".to_owned())
            && names.contains(&"claude/haiku-4-5".to_owned()),
        "{names:?}"
    );
    assert!(
        names.windows(2).all(|pair| pair[0] < pair[1])
            && !names.iter().any(|name| name.contains("gpt-4o") || name.contains('*') || name.contains("ft:")),
        "{names:?}"
    );
    let ModelRefusal::NotFound { near } = refused("fsat", Dialect::OpenAi) else { panic!() };
    assert_eq!(near, ["fast"]);
}

#[test]
fn nothing_of_another_tenant_is_there() {
    let world = world();
    assert_eq!(resolved(&world, "secret-other", "hidden", Dialect::OpenAi), Ok(vec!["private/secret-model".to_owned()]));
    assert_eq!(resolved(&world, "secret-other", "private/x", Dialect::OpenAi), Ok(vec!["private/x".to_owned()]));
    for name in ["hidden", "hiden", "private/secret-model", "private/x"] {
        let Err(ModelRefusal::NotFound { near }) = resolved(&world, "secret-all", name, Dialect::OpenAi) else { panic!("{name}") };
        assert!(!near.iter().any(|near| near.contains("hidden") || near.contains("private")), "{near:?}");
    }
    let names = world.view.models(&principal(&world, "secret-all"));
    assert!(!names.iter().any(|listing| listing.name == "hidden" || listing.provider == "private"));
    let provider = |name: &str| world.view.provider(name).unwrap().clone();
    assert!(world.view.sole_tenant(&provider("private")) && !world.view.sole_tenant(&provider("openai")));
}

#[test]
fn prices_and_bounds_come_from_the_nearest_that_knows() {
    let world = world();
    let who = principal(&world, "secret-all");
    let candidates = |name: &str| world.view.resolve(&who, name, |dialect| dialect == Dialect::OpenAi).unwrap().candidates;
    let input = |candidate: &Candidate| candidate.price.as_ref().map(|price| price.input);
    let fast = candidates("fast");
    assert_eq!((input(&fast[0]), input(&fast[1])), (Some(Money(150_000)), Some(Money(1_000_000))), "the catalogue's, and the target's");
    assert_eq!(
        (fast[0].bounds.max_output_tokens, fast[0].bounds.context_tokens),
        (Some(100), Some(128_000)),
        "the model's, then the catalogue's"
    );
    assert_eq!(input(&candidates("mixed")[0]), Some(Money(7_000_000)), "the model's");
    assert_eq!(input(&candidates("local/llama")[0]), Some(Money(0)), "the provider's");
    assert_eq!(input(&candidates("openai/gpt-4o-mini-2024-07-18")[0]), Some(Money(150_000)));
    assert_eq!(candidates("openai/nobody-knows")[0].price, None);
}

#[test]
fn a_principal_is_bound_by_every_level() {
    let world = world();
    let who = principal(&world, "secret-all");
    let levels: Vec<(&str, &str)> = who.levels.iter().map(|level| (level.kind.as_str(), level.name.as_str())).collect();
    assert_eq!(levels, [("key", "all"), ("user", "user"), ("team", "team"), ("tenant", "acme")]);
    assert_eq!((who.levels[1].rates.tpm, who.levels[3].rates.rpm, who.tenant_name.as_str()), (Some(9), Some(7), "acme"));
    let path = |model: &str, provider: &str, tags: &[&str]| -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        world
            .view
            .path(&who, model, provider, &tags)
            .iter()
            .map(|budget| format!("{} {} {}", budget.level, budget.owner_name, budget.terms.limit))
            .collect()
    };
    let usd = |dollars: i64| Money::usd(dollars).0;
    let always = [format!("scope team {}", usd(5)), format!("tenant acme {}", usd(500)), format!("platform  {}", usd(1_000))];
    assert_eq!(path("gpt-5", "local", &[]), always);
    let of_provider = format!("scope team {}", usd(4));
    assert_eq!(path("gpt-5", "openai", &[]), [always[0].clone(), of_provider.clone(), always[1].clone(), always[2].clone()]);
    let (of_key, of_user) = ("key all 10".to_owned(), format!("scope user {}", usd(3)));
    assert_eq!(path("fast", "local", &["a=1"]), [of_key.clone(), always[0].clone(), always[1].clone(), always[2].clone()]);
    let all = [of_key, of_user.clone(), always[0].clone(), of_provider.clone(), always[1].clone(), always[2].clone()];
    assert_eq!(path("fast", "openai", &["b=1", "a=2"]), all, "fast is openai/gpt-4o-mini");
    assert_eq!(path("fast", "openai", &["a=3"]).len(), 5);
    assert_eq!(path("openai/gpt-4o", "openai", &["a=1"]), [of_user, always[0].clone(), of_provider, always[1].clone(), always[2].clone()]);
    let fast = world.view.resolve(&who, "fast", |dialect| dialect == Dialect::OpenAi).unwrap().candidates;
    let exact = |at: usize| world.view.path_of(&who, "fast", &fast[at], &["a=1".to_owned()]).len();
    assert_eq!((exact(0), exact(1)), (6, 4));
    assert!(world.view.path(&who, "fast", "openai", &["a=1".to_owned()]).len() <= limits::PATH_MAX);
}

#[test]
fn keys_are_what_their_levels_let_them_be() {
    let mut world = world();
    let (all, other) = (principal(&world, "secret-all"), principal(&world, "secret-other"));
    world.carry_out(Step::Key(all.key, key::Command::Block));
    assert_eq!(principal(&world, "secret-all").state, KeyState::Blocked);
    world.carry_out(Step::Key(all.key, key::Command::Unblock));
    let Owner::Scope(team) = all.levels[2].owner else { panic!() };
    world.carry_out(Step::Scope(team, scope::Command::Close));
    assert_eq!(principal(&world, "secret-all").state, KeyState::Revoked, "a scope above it is closed");
    world.carry_out(Step::Tenant(other.tenant, tenant::Command::Close));
    assert_eq!(principal(&world, "secret-other").state, KeyState::Revoked);
    assert!(world.view.sole_tenant(&world.view.provider("openai").unwrap().clone()), "one tenant is left");
    // the secret of a revoked key may be given to another, which is then found
    let few = principal(&world, "secret-few");
    world.carry_out(Step::Key(few.key, key::Command::Revoke));
    assert_eq!(principal(&world, "secret-few").state, KeyState::Revoked);
    world.apply("keys: [{name: again, scope: acme, secret: secret-few}]", false);
    let again = principal(&world, "secret-few");
    assert_eq!((again.name.as_str(), again.state), ("again", KeyState::Live));
    assert_eq!(world.view.key_by_id(few.key).map(|old| old.state), Some(KeyState::Revoked));
    world.carry_out(Step::Key(again.key, key::Command::Revoke));
    assert_eq!(principal(&world, "secret-few").key, again.key, "the newer of two that are revoked");
}

#[test]
fn what_is_closed_is_not_there() {
    let mut world = world();
    let provider = world.view.provider("local").unwrap().id;
    world.carry_out(Step::Provider(provider, provider::Command::Close, None));
    assert_eq!(resolved(&world, "secret-all", "fast", Dialect::OpenAi), Ok(vec!["openai/gpt-4o-mini".to_owned()]));
    assert_eq!(
        resolved(&world, "secret-all", "gpt-4o-mini", Dialect::OpenAi),
        Ok(vec!["openai/gpt-4o-mini".to_owned()]),
        "the next wildcard"
    );
    let model = world.state.books.models.iter().find(|(_, model)| model.settings.name == "fast").map(|(id, _)| *id).unwrap();
    world.carry_out(Step::Model(model, model::Command::Remove));
    assert!(resolved(&world, "secret-all", "fast", Dialect::OpenAi).is_err());
    let budget = principal(&world, "secret-all").budgets[0].id;
    world.carry_out(Step::Budget(budget, budget::Command::Close));
    assert!(principal(&world, "secret-all").budgets.iter().all(|open| open.id != budget));
}

#[test]
fn what_binds_no_call_leaves_the_view_alone() {
    let mut world = world();
    let position = world.view.position;
    let budget = principal(&world, "secret-all").budgets[0].id;
    world.record(Event::Budget(budget, budget::Event::Alerted { window: Timestamp(0), threshold_ppm: 5 }), Vec::new());
    world.record(Event::Node(events::NodeId(99), node::Event::Joined), Vec::new());
    assert_eq!(world.view.position, position);
    assert_eq!(world.state.position(), position + 2);
}

#[test]
fn a_circle_in_the_books_hangs_nothing() {
    let mut state = State::default();
    let mut view = View::default();
    let settings = |parent| scope::Settings { tenant: TenantId(1), parent, name: "s".into(), kind: "team".into(), rates: Rates::default() };
    let mut records = Vec::new();
    for event in [
        Event::Scope(ScopeId(2), scope::Event::Created(settings(Some(ScopeId(2))))),
        Event::Key(
            KeyId(3),
            key::Event::Created {
                settings: key::Settings {
                    tenant: TenantId(1),
                    scope: Some(ScopeId(2)),
                    name: "k".into(),
                    models: None,
                    rates: Rates::default(),
                },
                secret: key::Secret { hash: KeyHash([1; 32]), hint: String::new() },
            },
        ),
    ] {
        let proposal = events::transaction::Proposal::new(event, events::envelope::Principal::System, 0);
        let transaction = events::transaction::Transaction { events: vec![proposal], ..Default::default() };
        state
            .apply(&events::transaction::Group { sequence: None, transactions: vec![Some(transaction)] }, Timestamp(1), &mut records)
            .unwrap();
        assert!(view.apply(&state, records.last().unwrap()));
    }
    assert_eq!(view, View::from_state(&state));
    assert_eq!(view.key_by_id(KeyId(3)).map(|key| key.levels.len()), Some(limits::SCOPE_DEPTH_MAX + 2));
}

/// A file of a few parts that refer to each other, and sometimes to what only an earlier file has.
fn any_file() -> impl Strategy<Value = String> {
    let limit = (1u32..4, prop::sample::select(vec!["USD", "tokens", "requests"]), prop::sample::select(vec!["day", "month"]));
    let only = prop::sample::select(vec!["", ", only: {providers: [p0]}", ", only: {models: ['m*']}", ", only: {tags: [a=1]}"]);
    let budget = (limit, only, any::<bool>())
        .prop_map(|((limit, unit, every), only, hard)| format!("{{limit: {limit} {unit}, every: {every}, hard: {hard}{only}}}"));
    // one of a unit and a window, or they would be one budget
    let budgets = prop::option::of(budget).prop_map(|budget| format!("budgets: [{}]", budget.unwrap_or_default()));
    let rates = prop::sample::select(vec!["", ", rpm_limit: 5", ", rpm_limit: 6, tpm_limit: 7"]);
    let scopes = prop::collection::vec((0usize..4, budgets.clone(), rates.clone()), 0..4);
    let keys = prop::collection::vec((0usize..4, budgets.clone(), rates, prop::option::of(0u8..2), any::<bool>()), 0..4);
    let providers = prop::collection::vec((any::<bool>(), prop::option::of(0u8..3)), 1..3);
    let models = prop::collection::vec((prop::sample::select(vec!["m0", "m1", "m*", "*"]), 0usize..2), 0..4);
    (scopes, keys, providers, models, budgets.clone(), budgets).prop_map(|(scopes, keys, providers, models, of_tenant, of_platform)| {
        let place = |at: usize, below: usize| if at < below { format!("s{at}") } else { "t".to_owned() };
        let count = scopes.len();
        let scopes = scopes
            .iter()
            .enumerate()
            .map(|(at, (parent, budgets, rates))| format!("{{name: s{at}, parent: {}, {budgets}{rates}}}", place(*parent, at)));
        let keys = keys.iter().enumerate().map(|(at, (scope, budgets, rates, secret, models))| {
            let secret = secret.map(|secret| format!(", secret: secret-{at}-{secret}")).unwrap_or_default();
            let models = if *models { ", models: ['m*', 'p0/x']" } else { "" };
            format!("{{name: k{at}, scope: {}, {budgets}{rates}{secret}{models}}}", place(*scope, count))
        });
        let many = providers.len();
        let providers = providers.iter().enumerate().map(|(at, (owned, secret))| {
            let tenant = if *owned { ", tenant: t" } else { "" };
            let secret = secret.map(|secret| format!(", api_key: sk-{secret}")).unwrap_or_default();
            format!("{{name: p{at}, dialect: openai, base_url: 'https://x{at}'{tenant}{secret}}}")
        });
        let mut seen = std::collections::BTreeSet::new();
        let models: Vec<String> = models
            .iter()
            .filter(|(name, _)| seen.insert(*name))
            .map(|(name, at)| format!("{{name: '{name}', targets: [{{provider: p{}, model: x}}]}}", at % many))
            .collect();
        let join = |parts: Vec<String>| parts.join(", ");
        format!(
            "providers: [{}]\nmodels: [{}]\ntenants: [{{name: t, {of_tenant}}}]\nscopes: [{}]\nkeys: [{}]\n{of_platform}",
            join(providers.collect()),
            join(models),
            join(scopes.collect()),
            join(keys.collect())
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The harness looks after each event whether the view that was kept up is the view of the state, and after each file whether
    /// applying it again does nothing.
    #[test]
    fn files_in_any_order_come_to_what_they_say(files in prop::collection::vec((any_file(), any::<bool>(), 0usize..6), 1..5)) {
        let mut world = World::new();
        // the catalogue, which is long, is there from the start and no longer in the way
        world.record(Event::Catalogue(catalogue::Event::EditionSet { edition: "old".into() }), Vec::new());
        for (file, prune, meddle) in files {
            world.apply(&file, prune);
            let live = |world: &World| world.state.books.keys.iter().find(|(_, key)| key.is_live()).map(|(id, _)| *id);
            match (meddle, live(&world)) {
                (0, Some(key)) => world.carry_out(Step::Key(key, key::Command::Block)),
                (1, Some(key)) => world.carry_out(Step::Key(key, key::Command::Revoke)),
                (2, _) => {
                    let tenant = world.state.books.tenants.iter().find(|(_, tenant)| !tenant.closed).map(|(id, _)| *id);
                    tenant.into_iter().for_each(|tenant| world.carry_out(Step::Tenant(tenant, tenant::Command::Close)));
                }
                (3, _) => {
                    let scope = world.state.books.scopes.iter().find(|(_, scope)| !scope.closed).map(|(id, _)| *id);
                    scope.into_iter().for_each(|scope| world.carry_out(Step::Scope(scope, scope::Command::Close)));
                }
                _ => {}
            }
        }
    }

    /// What was before leaves nothing behind but numbers: a pruned file comes to the same in a world with a past and in a new one.
    #[test]
    fn a_pruned_file_is_all_there_is(files in prop::collection::vec((any_file(), 0usize..4), 1..4), last in any_file()) {
        let (mut old, mut new) = (World::new(), World::new());
        for world in [&mut old, &mut new] {
            world.record(Event::Catalogue(catalogue::Event::EditionSet { edition: "old".into() }), Vec::new());
        }
        for (file, meddle) in files {
            old.apply(&file, false);
            let open = old.state.books.scopes.iter().find(|(_, scope)| !scope.closed).map(|(id, _)| *id);
            match (meddle, open) {
                (0, Some(scope)) => old.carry_out(Step::Scope(scope, scope::Command::Close)),
                (1, _) => drop(old.apply("tenants: [{name: u}]\nkeys: [{name: k0, scope: u}]", true)),
                _ => {}
            }
        }
        for world in [&mut old, &mut new] {
            world.apply(&last, true);
        }
        prop_assert_eq!(told(&old), told(&new), "{}", last);
    }
}

/// What the books say that is open, by names and not by numbers, and without secrets, which stay where a file names none.
fn told(world: &World) -> Vec<String> {
    let (books, view) = (&world.state.books, &world.view);
    let mut lines = Vec::new();
    let tenant = |id: TenantId| books.tenants.get(&id).map(|tenant| tenant.name.as_str());
    let scope = |id: ScopeId| books.scopes.get(&id).map(|scope| scope.name.as_str());
    for tenant in books.tenants.iter().map(|(_, tenant)| tenant).filter(|tenant| !tenant.closed) {
        lines.push(format!("tenant {} {:?}", tenant.name, tenant.rates));
    }
    for scope_ in books.scopes.iter().map(|(_, scope)| scope).filter(|scope| !scope.closed) {
        let (tenant, parent) = (tenant(scope_.tenant), scope_.parent.and_then(scope));
        lines.push(format!("scope {} {} {tenant:?} {parent:?} {:?}", scope_.name, scope_.kind, scope_.rates));
    }
    for key in view.ids.values().filter(|key| key.state != KeyState::Revoked) {
        let levels: Vec<_> = key.levels.iter().map(|level| (&level.kind, &level.name, level.rates)).collect();
        let mut budgets: Vec<String> = key.budgets.iter().map(|budget| shape(budget)).collect();
        budgets.sort();
        lines.push(format!("key {} {} {:?} {levels:?} {budgets:?} {:?}", key.tenant_name, key.name, key.state, key.models));
    }
    lines.extend(view.budgets.values().flat_map(|budgets| budgets.iter()).map(|budget| shape(budget)));
    for provider in view.providers.values() {
        let events::provider::Settings { tenant: owner, base_url, price, .. } = &provider.settings;
        lines.push(format!("provider {} {:?} {base_url} {price:?}", provider.name, owner.and_then(tenant)));
    }
    for model in view.model_ids.values() {
        let provider = |target: &TargetView| view.provider_by_id(target.provider).map(|provider| provider.name.clone());
        let targets: Vec<_> = model.targets.iter().map(|target| (provider(target), &target.model)).collect();
        lines.push(format!("model {} {targets:?}", model.name));
    }
    lines.sort();
    lines
}

fn shape(budget: &PathBudget) -> String {
    let budget::Identity { unit, every, only, .. } = &budget.identity;
    format!("budget {} {} {unit:?} {every:?} {only:?} {:?}", budget.level, budget.owner_name, budget.terms)
}

#[test]
fn the_nearest_has_the_last_word_about_losses() {
    use dialects::exchange::loss::{LossKind, LossPolicy};
    let file = |platform: &str, tenant: &str, scope: &str, key: &str| {
        let loss = |rules: &str| if rules.is_empty() { String::new() } else { format!(", loss: \"{rules}\"") };
        let own = if platform.is_empty() { String::new() } else { format!("loss: \"{platform}\"\n") };
        format!(
            "{own}tenants: [{{name: acme{}}}]\nscopes: [{{name: team, kind: team, parent: acme{}}}]\nkeys: [{{name: k, scope: team, secret: secret-k{}}}]\n",
            loss(tenant),
            loss(scope),
            loss(key)
        )
    };
    let mut world = World::with_catalogue();
    let policy = |world: &World, kind| principal(world, "secret-k").losses.policy(kind);
    world.apply(&file("", "", "", ""), false);
    assert_eq!(policy(&world, LossKind::Image), LossPolicy::Refuse);
    let changes = world.apply(&file("pass", "image=warn,audio=warn", "audio=pass", "image=refuse"), false);
    let shown: Vec<(&str, &str)> = changes.iter().map(|change| (change.kind, change.name.as_str())).collect();
    assert_eq!(shown, [("policy", "platform"), ("policy", "tenant acme"), ("policy", "team team"), ("policy", "key k")]);
    assert_eq!(policy(&world, LossKind::Image), LossPolicy::Refuse);
    assert_eq!((policy(&world, LossKind::Audio), policy(&world, LossKind::Sampling)), (LossPolicy::Pass, LossPolicy::Pass));
    // what an owner that is named says no more is gone; what the file does not say of itself stays
    world.apply(&file("", "image=warn", "", ""), false);
    assert_eq!((policy(&world, LossKind::Image), policy(&world, LossKind::Audio)), (LossPolicy::Warn, LossPolicy::Pass));
    world.apply(&file("", "", "", ""), true);
    assert_eq!((policy(&world, LossKind::Image), policy(&world, LossKind::Sampling)), (LossPolicy::Refuse, LossPolicy::Warn));
    let problems = world.plan(&file("", "picture=warn", "", "image=maybe"), false).expect_err("no rules");
    let places: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(places, ["keys[0].loss", "tenants[0].loss"]);
}

#[test]
fn a_secret_from_before_a_rotation_lets_in_for_a_while() {
    let mut world = world();
    let id = principal(&world, "secret-few").key;
    let secret = |text: &str| crate::traces(&crate::harness::PlainSecrets::default(), text);
    let at = |world: &World, text: &str, now: u64| world.view.key_at(&secret(text).hash, || Timestamp(now)).map(|found| found.key);
    let rotate = |text: &str, until| Event::Key(id, events::key::Event::Rotated { secret: secret(text), until: Timestamp(until) });
    world.record(rotate("secret-new", 100), Vec::new());
    assert_eq!((at(&world, "secret-few", 99), at(&world, "secret-few", 100)), (Some(id), None));
    assert_eq!((at(&world, "secret-new", 99), at(&world, "secret-new", 100)), (Some(id), Some(id)));
    let other = FILE.replace("secret-few", "secret-new").replace("secret-other", "secret-few");
    let taken = crate::plan(&crate::parse(&other, &|_| None).unwrap(), &world.state, false, &mut crate::harness::PlainSecrets::default());
    assert!(taken.is_err_and(|problems| problems.iter().any(|problem| problem.message == "is the secret of another key")));
    world.record(rotate("secret-last", 200), Vec::new());
    assert_eq!((at(&world, "secret-few", 50), at(&world, "secret-new", 50), at(&world, "secret-last", 50)), (None, Some(id), Some(id)));
    world.record(Event::Key(id, events::key::Event::Blocked), Vec::new());
    let blocked = |text: &str| world.view.key_at(&secret(text).hash, || Timestamp(50)).unwrap().state == KeyState::Blocked;
    assert!(blocked("secret-new") && blocked("secret-last"));
}

#[test]
fn the_nearest_that_says_something_about_bodies_is_heard_as_a_whole() {
    let file = |platform: &str, tenant: &str, scope: &str, key: &str| {
        let said = |log: &str| if log.is_empty() { String::new() } else { format!(", request_log: {{log: {log}}}") };
        let own = if platform.is_empty() { String::new() } else { format!("request_log: {{log: {platform}}}\n") };
        format!(
            "{own}tenants: [{{name: t{}}}]\nscopes: [{{name: s, parent: t{}}}]\nkeys: [{{name: k, scope: s, secret: secret-k{}}}]\n",
            said(tenant),
            said(scope),
            said(key)
        )
    };
    let log = |world: &World| principal(world, "secret-k").request_log.as_ref().map(|log| log.log.as_str());
    let mut world = World::default();
    world.apply(&file("", "", "", ""), false);
    assert_eq!(log(&world), None);
    for (said, heard) in [
        (["all", "", "", ""], Some("all")),
        (["all", "errors", "", ""], Some("errors")),
        (["all", "errors", "off", ""], None),
        (["all", "errors", "off", "all"], Some("all")),
        (["", "", "", ""], Some("all")), // what the file does not say of itself stays
    ] {
        world.apply(&file(said[0], said[1], said[2], said[3]), false);
        assert_eq!(log(&world), heard, "{said:?}");
    }
    world.apply(&file("", "", "", ""), true);
    assert_eq!(log(&world), None);
}
