use super::*;
use crate::harness::World;

const FILE: &str = "\
providers: [{name: p, dialect: openai, base_url: 'https://p/v1', api_key: sk-one}]
models: [{name: m, targets: [{provider: p, model: x}]}]
tenants: [{name: acme, budgets: [{limit: 5 USD, every: day}]}, {name: beta}]
scopes: [{name: team, kind: team, parent: acme}, {name: other, kind: team, parent: acme}]
keys: [{name: k, scope: team, secret: secret-one}, {name: l, scope: beta, secret: secret-two}]
";

fn said(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{:?} {} {}", change.op, change.kind, change.name)).collect()
}

fn world() -> World {
    let mut world = World::new();
    world.apply(FILE, false);
    world
}

#[test]
fn a_file_is_applied_once() {
    let mut world = World::new();
    let made = said(&world.apply(FILE, false));
    for part in ["Create provider p", "Create model m", "Create tenant acme", "Create scope team", "Create key k", "Create key l"] {
        assert!(made.iter().any(|change| change == part), "{part} in {made:?}");
    }
    assert_eq!(said(&world.apply(FILE, false)), Vec::<String>::new());
}

#[test]
fn only_what_differs_changes() {
    let mut world = world();
    assert_eq!(said(&world.apply(&FILE.replace("sk-one", "sk-two"), false)), ["Update provider p"], "another secret");
    assert_eq!(said(&world.apply(&FILE.replace("sk-one", "sk-two").replace("5 USD", "4 USD"), false)).len(), 1);
    assert_eq!(said(&world.apply("keys: [{name: k, scope: other, secret: secret-one}]", false)), ["Update key k"], "it moved");
    assert_eq!(said(&world.apply("scopes: [{name: other, kind: group, parent: team}]", false)), ["Update scope other"]);
}

#[test]
fn what_a_file_does_not_name_stays_unless_it_is_pruned() {
    let mut world = world();
    let small = "tenants: [{name: acme}]\nkeys: [{name: k, scope: acme, secret: secret-one}]";
    assert_eq!(said(&world.apply(small, false)), ["Update key k"]);
    let pruned = said(&world.apply(small, true));
    for part in ["Close provider p", "Delete model m", "Close tenant beta", "Close scope team", "Close scope other", "Revoke key l"] {
        assert!(pruned.iter().any(|change| change == part), "{part} in {pruned:?}");
    }
    assert!(!pruned.iter().any(|change| change.contains("key k")), "{pruned:?}");
}

#[test]
fn what_refers_to_nothing_is_refused_and_nothing_is_done() {
    let mut world = world();
    let position = world.state.position();
    for wrong in [
        "keys: [{name: n, scope: nowhere}]",
        "scopes: [{name: s, parent: nowhere}]",
        "models: [{name: n, targets: [{provider: nobody, model: x}]}]",
        "scopes: [{name: team, parent: other}, {name: other, parent: team}]",
    ] {
        let problems = world.plan(wrong, false).err().unwrap_or_else(|| panic!("{wrong}"));
        assert!(problems.iter().all(|problem| !problem.path.is_empty()), "{problems:?}");
    }
    assert_eq!(world.state.position(), position);
}

#[test]
fn names_are_unique_within_a_tenant_only() {
    let mut world = world();
    world.apply("scopes: [{name: team, parent: beta}]\n", false);
    let problems = world.plan("keys: [{name: n, scope: team}]", false).expect_err("two scopes are called so");
    assert!(problems[0].message.contains("acme/team") || problems[0].message.contains("beta/team"), "{problems:?}");
    world.apply("keys: [{name: n, scope: beta/team, secret: secret-three}]", false);
}

#[test]
fn a_dry_plan_changes_nothing() {
    let mut world = world();
    let digest = |world: &mut World| {
        world.state.settle();
        world.state.digests()
    };
    let before = digest(&mut world);
    assert!(!world.plan("", true).unwrap().steps.is_empty());
    assert_eq!(digest(&mut world), before);
}

#[test]
fn a_secret_of_a_key_below_what_is_closed_may_be_used_again() {
    let mut world = world();
    let beta = world.state.books.tenants.iter().find(|(_, tenant)| tenant.name == "beta").map(|(id, _)| *id).unwrap();
    world.carry_out(Step::Tenant(beta, tenant::Command::Close));
    world.apply("tenants: [{name: beta}]\nkeys: [{name: l, scope: beta, secret: secret-two}]", false);
    let taken = world.plan("keys: [{name: n, scope: acme, secret: secret-two}]", false).expect_err("now it is another's again");
    assert!(taken[0].message.contains("another key") && taken[0].path == "keys[0].secret", "{taken:?}");
}
