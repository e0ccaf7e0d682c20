use super::*;
use crate::{Change, harness::World, plan::Step};
use events::{Timestamp, key, scope, tenant};

#[path = "export_tests/generated.rs"]
mod generated;

/// Everything that a file can say, as it is exported.
const FULL: &str = include_str!("export_tests/full.yaml");

/// With secrets where an export says `keep`: a provider's is given, a key's is made.
fn with_secrets(file: &File) -> File {
    let mut file = file.clone();
    file.providers.iter_mut().filter(|provider| provider.api_key.is_some()).for_each(|provider| provider.api_key = Some("sk-any".into()));
    file.keys.iter_mut().for_each(|key| key.secret = None);
    file.webhooks.iter_mut().for_each(|webhook| webhook.secret = "any-secret".into());
    file
}

/// The law: the export of a state changes nothing in it, and made anew it is the same.
pub(crate) fn is_lawful(world: &mut World) {
    let file = export(&world.state);
    let json = serde_json::to_string(&file).unwrap();
    for text in [to_yaml(&file), json] {
        for prune in [false, true] {
            let plan = world.plan(&text, prune).unwrap_or_else(|problems| panic!("prune {prune}: {problems:?}\n{text}"));
            assert!(plan.changes.is_empty() && plan.steps.is_empty(), "prune {prune}: {:?}\n{text}", plan.changes);
        }
    }
    let mut anew = World::new();
    anew.apply(&to_yaml(&with_secrets(&file)), false);
    assert_eq!(to_yaml(&export(&anew.state)), to_yaml(&file));
}

/// A world in which these files were applied, one after the other.
fn applied(files: &[&str]) -> World {
    let mut world = World::new();
    files.iter().for_each(|file| drop::<Vec<Change>>(world.apply(file, false)));
    world
}

/// What the world's export says, line by line, without spaces.
fn lines(world: &World) -> Vec<String> {
    to_yaml(&export(&world.state)).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn everything_that_a_file_says_comes_back_in_its_order() {
    let given = FULL.replace("api_key: keep", "api_key: sk-$$1").replace("secret: keep", "");
    let mut world = applied(&[&given]);
    assert_eq!(to_yaml(&export(&world.state)), FULL);
    is_lawful(&mut world);
}

/// What is not in the example is not known to come back.
#[test]
fn the_example_has_every_field() {
    use crate::fields;
    let all = [
        fields::FILE,
        fields::PROVIDER,
        fields::TIMEOUTS,
        fields::MODEL,
        fields::TARGET,
        fields::TENANT,
        fields::SCOPE,
        fields::KEY,
        fields::BUDGET,
        fields::WEBHOOK,
        fields::FILTER,
        fields::PRICE,
        fields::LONG,
        fields::TIER,
    ];
    // whether prices are brought up to date is a wish, and nothing that is
    for field in all.concat().into_iter().filter(|field| *field != "catalogue") {
        assert!(FULL.lines().any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{field}:"))), "{field}");
    }
}

#[test]
fn the_schema_is_met_where_keep_stands_for_a_secret() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../schema.json")).unwrap();
    assert_eq!(schema["$defs"]["key"]["properties"]["secret"]["anyOf"][0]["const"], Secret::KEEP);
    let longest = |part: &serde_json::Value| part["minLength"].as_u64().unwrap();
    assert!(longest(&schema["$defs"]["key"]["properties"]["secret"]["anyOf"][1]) > Secret::KEEP.len() as u64);
}

#[test]
fn nothing_is_exported_as_nothing_and_defaults_are_left_out() {
    assert_eq!(export(&State::default()), File::default());
    let file = "\
providers: [{name: p, dialect: openai, base_url: 'https://p', timeouts: {connect: 10s, total: 10m}}]
tenants: [{name: t, budgets: [{limit: 1.50 USD, every: day, hard: true}]}]
scopes: [{name: s, kind: scope, parent: t}]
keys: [{name: k, scope: t, models: [x, '*']}]";
    let mut world = applied(&[file]);
    let said = lines(&world).join("\n");
    for left in ["timeouts", "hard", "kind", "models", "api_key", "rpm_limit", "catalogue", "loss"] {
        assert!(!said.contains(left), "{left} in {said}");
    }
    assert!(said.contains("limit: 1.5 USD"), "{said}");
    is_lawful(&mut world);
}

#[test]
fn what_the_environment_gives_is_said() {
    let mut world = World::new();
    let config = crate::from_environment(&|name| name.ends_with("_API_KEY").then(|| format!("sk-{name}")));
    let (plan, _) = crate::plan(&config, &world.state, false, &mut world.secrets).unwrap();
    plan.steps.into_iter().for_each(|step| world.carry_out(step));
    assert!(export(&world.state).providers.len() > 5);
    is_lawful(&mut world);
}

#[test]
fn no_secret_is_exported() {
    let world = applied(&["\
providers: [{name: p, dialect: openai, base_url: 'https://p', api_key: sk-hidden-one}, {name: q, dialect: openai, base_url: 'https://q'}]
tenants: [{name: t}]
keys: [{name: k, scope: t, secret: hidden-two}, {name: l, scope: t}]"]);
    let (text, file) = (to_yaml(&export(&world.state)), export(&world.state));
    assert!(!text.contains("hidden") && !text.contains("made-secret"), "{text}");
    assert_eq!(file.providers.iter().map(|provider| provider.api_key.as_deref()).collect::<Vec<_>>(), [Some("keep"), None]);
    assert!(file.keys.iter().all(|key| key.secret.as_deref() == Some("keep")));
}

#[test]
fn a_kept_secret_stays_and_one_that_is_not_there_is_an_error() {
    let mut world = applied(&["\
providers: [{name: p, dialect: openai, base_url: 'https://p', api_key: sk-one}, {name: bare, dialect: openai, base_url: 'https://b'}]
tenants: [{name: t}, {name: u}]
keys: [{name: k, scope: t, secret: secret-one}]"]);
    let kept = "\
providers: [{name: p, dialect: openai, base_url: 'https://other', api_key: keep}]
keys: [{name: k, scope: t, secret: keep, rpm_limit: 5}]";
    world.apply(kept, false);
    let key = world.state.books.keys.iter().next().map(|(_, key)| (key.hash, key.hint.clone()));
    assert_eq!(key, Some((crate::Secrets::hash(&world.secrets, "secret-one"), "ne".to_owned())));
    let provider = world.state.books.providers.iter().next().map(|(id, _)| *id).unwrap();
    assert_eq!(crate::Secrets::unsealed(&world.secrets, provider, &world.state).as_deref(), Some("sk-one"));
    for (file, path, what_to_do) in [
        ("providers: [{name: q, dialect: openai, base_url: 'https://q', api_key: keep}]", "providers[0].api_key", "give its key"),
        ("providers: [{name: bare, dialect: openai, base_url: 'https://b', api_key: keep}]", "providers[0].api_key", "leave the field out"),
        ("keys: [{name: n, scope: t, secret: keep}]", "keys[0].secret", "leave the field out to have one made"),
        ("keys: [{name: k, scope: u, secret: keep}]", "keys[0].secret", "leave the field out to have one made"),
    ] {
        let problems = world.plan(file, false).expect_err(file);
        assert_eq!((problems.len(), problems[0].path.as_str()), (1, path), "{problems:?}");
        assert!(problems[0].message.contains(what_to_do) && problems[0].message.contains("keep"), "{problems:?}");
    }
    let all = "tenants: [{name: t}]\nproviders: [{name: q, dialect: openai, base_url: 'https://q', api_key: keep}]\n\
               keys: [{name: n, scope: t, secret: keep}, {name: m, scope: t, secret: keep}]";
    assert_eq!(World::new().plan(all, true).expect_err("none is there").len(), 3, "all at once");
}

#[test]
fn names_that_may_be_more_than_one_are_qualified() {
    let mut world = applied(&[
        "tenants: [{name: t}, {name: u}, {name: b}]\nscopes: [{name: a, parent: t}, {name: b, parent: a}]\nkeys: [{name: k, scope: t}]",
        "scopes: [{name: b, parent: u}, {name: a, parent: u/b}, {name: alone, parent: t/a}]\nkeys: [{name: k, scope: u/a}, {name: l, scope: alone}]",
        // the tenant b can only be meant as `b/` now
        "scopes: [{name: c, parent: b/}]\nkeys: [{name: in-b, scope: b/}]",
    ]);
    let said = export(&world.state);
    let scopes: Vec<String> = said.scopes.iter().map(|scope| format!("{} {}", scope.name, scope.parent)).collect();
    assert_eq!(scopes, ["a t", "b u", "c b/", "b t/a", "a u/b", "alone t/a"], "upside down in one tenant, and no circle");
    let keys: Vec<String> = said.keys.iter().map(|key| format!("{} {}", key.name, key.scope)).collect();
    assert_eq!(keys, ["k t", "k u/a", "l alone", "in-b b/"]);
    is_lawful(&mut world);
    let problems = world.plan("keys: [{name: n, scope: b}]", false).expect_err("three are called so");
    assert!(problems[0].message.contains("write b/ or t/b"), "{problems:?}");
}

#[test]
fn what_is_gone_is_left_out() {
    let mut world = applied(&["\
providers: [{name: p, dialect: openai, base_url: 'https://p'}, {name: q, tenant: u, dialect: openai, base_url: 'https://q'}]
models: [{name: m, targets: [{provider: q, model: x}, {provider: p, model: x}]}, {name: n, targets: [{provider: q, model: x}]}]
tenants: [{name: t, budgets: [{limit: 1 USD, every: day}]}, {name: u, budgets: [{limit: 2 USD, every: day}]}]
scopes: [{name: a, parent: t}, {name: b, parent: a}]
keys: [{name: k, scope: t}, {name: gone, scope: t}, {name: below, scope: b}]
budgets: [{limit: 3 USD, every: day}]"]);
    world.apply("tenants: [{name: t}]\nkeys: [{name: k, scope: t}]", true);
    assert_eq!(lines(&world), ["tenants:", "- name: t", "keys:", "- name: k", "scope: t", "secret: keep"]);
    is_lawful(&mut world);
}

#[test]
fn what_hangs_on_something_closed_cannot_be_said() {
    let mut world = applied(&["\
providers: [{name: p, dialect: openai, base_url: 'https://p'}, {name: q, tenant: u, dialect: openai, base_url: 'https://q'}]
models: [{name: m, targets: [{provider: q, model: x}, {provider: p, model: x}]}, {name: n, targets: [{provider: q, model: x}]}]
tenants: [{name: t}, {name: u, loss: warn}]
scopes: [{name: a, parent: t}, {name: b, parent: a, budgets: [{limit: 1 USD, every: day}]}]
keys: [{name: k, scope: t}, {name: below, scope: b}, {name: of-u, scope: u}]"]);
    let id = |name: &str| world.state.books.tenants.iter().find(|(_, tenant)| tenant.name == name).map(|(id, _)| *id).unwrap();
    let a = world.state.books.scopes.iter().find(|(_, scope)| scope.name == "a").map(|(id, _)| *id).unwrap();
    let (u, closed) = (id("u"), scope::Command::Close);
    world.carry_out(Step::Tenant(u, tenant::Command::Close));
    world.carry_out(Step::Scope(a, closed));
    let said = export(&world.state);
    assert_eq!((said.tenants.len(), said.scopes.len(), said.keys.len(), said.providers.len()), (1, 0, 1, 1));
    assert_eq!(said.models.iter().map(|model| (model.name.as_str(), model.targets.len())).collect::<Vec<_>>(), [("m", 1)]);
    assert_eq!(world.plan("scopes: []", false).unwrap().changes, [], "and the rest of the file can be read");
    assert!(world.plan(&to_yaml(&said), false).is_ok());
}

#[test]
fn whether_a_key_is_blocked_stays_as_it_is() {
    let mut world = applied(&["tenants: [{name: t}]\nkeys: [{name: k, scope: t}]"]);
    let id = world.state.books.keys.iter().next().map(|(id, _)| *id).unwrap();
    world.carry_out(Step::Key(id, key::Command::Block));
    world.apply(&to_yaml(&export(&world.state)), true);
    assert!(world.state.books.keys.get(&id).is_some_and(|key| key.blocked && key.made_at == Timestamp(1)));
}
