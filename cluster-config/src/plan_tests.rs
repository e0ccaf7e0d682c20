use super::*;
use crate::harness::World;
use events::limits;

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
fn a_webhook_is_made_where_the_history_is_and_forgotten_when_it_goes() {
    use events::{NoteId, WebhookId};
    let mut world = World::new();
    world.apply("tenants: [{name: acme}]", false);
    let position = world.state.position();
    let text = "tenants: [{name: acme}]\nwebhooks: [{name: pager, url: 'https://hooks.example/a', tenant: acme}]";
    let changes = world.apply(text, false);
    assert_eq!(changes.iter().map(|change| (change.op, change.kind)).collect::<Vec<_>>(), [(Op::Create, "webhook")]);
    let (id, webhook) = world.state.books.webhooks.iter().next().map(|(id, webhook)| (*id, webhook.clone())).unwrap();
    assert!(webhook.secret.is_some() && webhook.settings.tenant.is_some());
    let note = |world: &World, note: fn(WebhookId) -> NoteId| world.state.desk.notes.get(&note(id)).cloned();
    assert_eq!(note(&world, NoteId::WebhookPosition), Some(position.to_be_bytes().to_vec()));
    let secret = note(&world, NoteId::WebhookSecret).unwrap();
    let moved = text.replace("hooks.example", "other.example").replace("tenant: acme", "tenant: acme, secret: keep");
    world.apply(&moved, false);
    assert_eq!(note(&world, NoteId::WebhookSecret), Some(secret));
    world.apply("tenants: [{name: acme}]", true);
    assert_eq!((note(&world, NoteId::WebhookSecret), note(&world, NoteId::WebhookPosition)), (None, None));
    assert!(world.plan("webhooks: [{name: pager, url: 'https://x', secret: keep}]", false).is_err());
    assert!(world.plan("webhooks: [{name: pager, url: 'https://x', tenant: nobody}]", false).is_err());
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

/// Where in a plan each step stands.
fn at(plan: &Plan, wanted: impl Fn(&Step) -> bool) -> Vec<usize> {
    plan.steps.iter().enumerate().filter(|(_, step)| wanted(step)).map(|(at, _)| at).collect()
}

#[test]
fn nothing_is_usable_before_what_limits_it() {
    let file = format!("{FILE}budgets: [{{limit: 9 USD, every: day}}]")
        .replace("{name: k, scope: team,", "{name: k, scope: team, budgets: [{limit: 1 USD, every: hour}],");
    let plan = World::new().plan(&file, false).unwrap();
    let budgets = at(&plan, |step| matches!(step, Step::Budget(..)));
    let keys = at(&plan, |step| matches!(step, Step::Key(..)));
    let rest = at(&plan, |step| !matches!(step, Step::Budget(..) | Step::Key(..)));
    assert_eq!((budgets.len(), keys.len()), (3, 2));
    assert!(rest.last() < budgets.first() && budgets.last() < keys.first(), "{plan:#?}");
    let pruned = world().plan("tenants: [{name: beta}]", true).unwrap();
    let revoked = at(&pruned, |step| matches!(step, Step::Key(_, key::Command::Revoke)));
    let closed = at(&pruned, |step| matches!(step, Step::Budget(_, budget::Command::Close)));
    assert_eq!((revoked.len(), closed.len()), (2, 1));
    assert!(revoked.last() < closed.first(), "{pruned:#?}");
}

#[test]
fn scopes_come_after_their_parents_and_go_before_them() {
    let mut world = World::new();
    world.apply("tenants: [{name: t}]\nscopes: [{name: c, parent: b}, {name: b, parent: a}, {name: a, parent: t}]", false);
    let names = |changes: Vec<Change>| -> Vec<String> {
        changes.into_iter().filter(|change| change.kind == "scope").map(|change| change.name).collect()
    };
    assert_eq!(names(world.apply("scopes: [{name: b, parent: t}, {name: a, parent: b}]", false)), ["b", "a"], "they change places");
    assert_eq!(names(world.apply("tenants: [{name: t}]", true)), ["a", "c", "b"]);
}

#[test]
fn what_goes_is_no_place_for_what_stays() {
    let mut world = world();
    for hangs in ["keys: [{name: n, scope: team}]", "models: [{name: n, targets: [{provider: p, model: x}]}]"] {
        assert!(world.plan(hangs, false).is_ok(), "{hangs}");
        let problems = world.plan(hangs, true).expect_err("it is pruned in the same plan");
        assert!(problems[0].message.starts_with("there is no"), "{problems:?}");
    }
}

#[test]
fn near_names_are_offered_for_what_stands_for_nothing() {
    let mut world = world();
    world.apply("providers: [{name: openai, dialect: openai, base_url: 'https://o'}]", false);
    world.apply("models: [{name: fast, targets: [{provider: openai, model: x}]}]", false);
    for (wrong, path, near) in [
        ("keys: [{name: n, scope: taem}]", "keys[0].scope", "acme/team"),
        ("scopes: [{name: n, parent: acne}]", "scopes[0].parent", "acme"),
        ("models: [{name: n, targets: [{provider: opnai, model: x}]}]", "models[0].targets[0].provider", "openai"),
        ("providers: [{name: q, tenant: beata, dialect: openai, base_url: 'https://q'}]", "providers[0].tenant", "beta"),
        ("keys: [{name: n, scope: acme, models: [fsat]}]", "keys[0].models", "fast"),
        ("budgets: [{limit: 1 USD, every: day, only: {providers: [opena]}}]", "budgets[0].only.providers", "openai"),
    ] {
        let problems = world.plan(wrong, false).expect_err(wrong);
        assert_eq!((problems.len(), problems[0].path.as_str()), (1, path), "{problems:?}");
        assert!(problems[0].message.ends_with(&format!("did you mean {near}?")), "{problems:?}");
    }
}

#[test]
fn a_call_is_covered_by_no_more_budgets_than_a_path_holds() {
    let file = |count: usize, only: &dyn Fn(usize) -> String| {
        let budgets: Vec<String> = (0..count).map(|at| format!("{{limit: 1 USD, every: day, only: {}}}", only(at))).collect();
        let providers = (0..count).map(|at| format!("{{name: p{at}, dialect: openai, base_url: 'https://x{at}'}}")).collect::<Vec<_>>();
        format!(
            "providers: [{}]\ntenants: [{{name: t, budgets: [{}]}}]\nkeys: [{{name: k, scope: t}}]",
            providers.join(", "),
            budgets.join(", ")
        )
    };
    let by_tag = |at: usize| format!("{{tags: [a={at}]}}");
    let by_provider = |at: usize| format!("{{providers: [p{at}]}}");
    assert!(World::new().plan(&file(limits::PATH_MAX, &by_tag), false).is_ok());
    let problems = World::new().plan(&file(limits::PATH_MAX + 1, &by_tag), false).expect_err("a call may have all tags");
    assert!(problems[0].path == "keys[0]" && problems[0].message.contains("17 budgets"), "{problems:?}");
    assert!(World::new().plan(&file(40, &by_provider), false).is_ok(), "a call has one provider");
}

#[test]
fn scopes_lie_as_deep_as_they_may_and_no_deeper() {
    let file = |depth: usize| {
        let parent = |at: usize| if at == 0 { "t".to_owned() } else { format!("s{}", at - 1) };
        let scopes: Vec<String> = (0..depth).map(|at| format!("{{name: s{at}, parent: {}}}", parent(at))).collect();
        format!("tenants: [{{name: t}}]\nscopes: [{}]", scopes.join(", "))
    };
    let mut world = World::new();
    world.apply(&file(limits::SCOPE_DEPTH_MAX), false);
    assert!(world.plan("scopes: [{name: below, parent: s7}]", false).expect_err("below the deepest")[0].message.contains("deeper"));
    for depth in [limits::SCOPE_DEPTH_MAX + 1, 5_000] {
        assert!(World::new().plan(&file(depth), false).expect_err("too deep")[0].message.contains("deeper"), "{depth}");
    }
}

#[test]
fn a_secret_that_is_made_is_shown_once_and_no_other_is() {
    let mut world = World::new();
    let file =
        "tenants: [{name: t}, {name: u}]\nkeys: [{name: k, scope: t}, {name: k, scope: u}, {name: own, scope: t, secret: secret-own}]";
    let config = crate::parse(file, &|_| None).unwrap();
    let (_, made) = plan(&config, &world.state, false, &mut world.secrets).unwrap();
    assert_eq!(made.keys().collect::<Vec<_>>(), ["t/k", "u/k"], "of two with one name the tenant is told");
    world.apply(file, false);
    let (_, made) = plan(&config, &world.state, false, &mut world.secrets).unwrap();
    assert_eq!(made, BTreeMap::new());
}

#[test]
fn two_keys_never_share_a_secret() {
    let mut world = world();
    let problems = world.plan("keys: [{name: n, scope: acme, secret: secret-one}]", false).expect_err("it is that of k");
    assert!(problems[0].path == "keys[0].secret" && !problems[0].message.contains("secret-one"), "{problems:?}");
    assert!(world.plan("tenants: [{name: acme}]\nkeys: [{name: n, scope: acme, secret: secret-one}]", true).is_ok(), "k is revoked first");
}

#[test]
fn a_budget_keeps_its_books_when_its_limit_changes_and_when_it_comes_back() {
    let mut world = world();
    let ids = |world: &World| world.state.books.budgets.iter().map(|(id, budget)| (*id, budget.closed)).collect::<Vec<_>>();
    let before = ids(&world);
    world.apply(&FILE.replace("5 USD", "7 USD"), false);
    assert_eq!(ids(&world), before);
    let without = FILE.replace("budgets: [{limit: 5 USD, every: day}]", "budgets: []");
    assert_eq!(said(&world.apply(&without, true)), ["Close budget tenant acme: USD a day"]);
    assert_eq!(said(&world.apply(FILE, false)), ["Create budget tenant acme: USD a day"]);
    assert_eq!(ids(&world), before, "it is the one from before");
}

#[test]
fn prices_in_force_stay_until_they_are_asked_to_change() {
    let mut world = World::new();
    let entry = catalogue::Event::EntrySet { name: "openai/mine".into(), entry: catalogue::Entry::default() };
    for event in [catalogue::Event::EditionSet { edition: "2020-01-01".into() }, entry] {
        world.record(events::Event::Catalogue(event), Vec::new());
    }
    assert_eq!(said(&world.apply("tenants: []", true)), Vec::<String>::new());
    let edition = |world: &World| world.state.books.catalogue.get(&()).unwrap().edition.clone();
    assert_eq!(edition(&world), "2020-01-01");
    assert_eq!(world.apply("catalogue: shipped", false).len(), 1);
    let catalogue::Command::Set { edition: shipped, entries } = shipped_catalogue();
    let now = world.state.books.catalogue.get(&()).unwrap();
    assert!(edition(&world) == shipped && now.entries == entries, "and what is in it no more is gone");
    assert_eq!(said(&World::new().apply("tenants: []", false))[0], format!("Create catalogue {shipped}"), "where there is none");
}

/// The fields of the one change that a file makes.
fn fields(world: &mut World, file: &str) -> Vec<String> {
    let plan = world.plan(file, false).expect("the file is right");
    let [change] = &plan.changes[..] else { panic!("{:?}", plan.changes) };
    change.fields.iter().map(|field| format!("{} {} {}", field.path, field.before, field.after)).collect()
}

#[test]
fn a_change_says_which_fields_are_others() {
    let mut world = world();
    assert_eq!(fields(&mut world, "keys: [{name: k, scope: other, rpm_limit: 5}]"), ["rpm_limit null 5", r#"scope "team" "other""#]);
    assert_eq!(fields(&mut world, "keys: [{name: k, scope: team, models: [m]}]"), [r#"models null ["m"]"#]);
    let dearer = FILE.replace("5 USD, every: day", "4 USD, every: day, hard: false, alert_at: ['0.5']");
    assert_eq!(fields(&mut world, &dearer), [r#"alert_at null ["0.5"]"#, "hard true false", r#"limit "5 USD" "4 USD""#]);
    let retargeted = "models: [{name: m, targets: [{provider: p, model: y}, {provider: p, model: x}]}]";
    assert_eq!(
        fields(&mut world, retargeted),
        [r#"targets[0].model "x" "y""#, r#"targets[1].model null "x""#, r#"targets[1].provider null "p""#]
    );
    assert_eq!(
        fields(&mut world, "scopes: [{name: other, kind: group, parent: team}]"),
        [r#"kind "team" "group""#, r#"parent "acme" "team""#]
    );
    assert_eq!(fields(&mut world, "tenants: [{name: beta, tpm_limit: 7}]"), ["tpm_limit null 7"]);
    assert_eq!(fields(&mut world, "tenants: [{name: beta, loss: refuse}]"), [r#"loss null "refuse""#]);
    let provider = "providers: [{name: p, dialect: openai, base_url: 'https://q/v1', timeouts: {connect: 3s}}]";
    assert_eq!(fields(&mut world, provider), [r#"base_url "https://p/v1" "https://q/v1""#, r#"timeouts.connect null "3s""#]);
}

#[test]
fn what_is_new_says_its_fields_and_what_goes_none() {
    let mut world = World::new();
    let plan = world.plan(FILE, false).unwrap();
    let of = |kind: &str, name: &str| {
        let change = plan.changes.iter().find(|change| change.kind == kind && change.name == name).expect("it is planned");
        change.fields.iter().map(|field| format!("{} {} {}", field.path, field.before, field.after)).collect::<Vec<_>>()
    };
    assert_eq!(of("key", "k"), [r#"scope null "team""#, r#"secret null "(secret)""#]);
    assert_eq!(of("provider", "p"), [r#"base_url null "https://p/v1""#, r#"dialect null "openai""#, r#"api_key null "(secret)""#]);
    assert_eq!(of("budget", "tenant acme: USD a day"), ["hard null true", r#"limit null "5 USD""#]);
    world.apply(FILE, false);
    let gone = world.plan("tenants: [{name: acme}]", true).unwrap();
    assert!(gone.changes.iter().all(|change| change.fields.is_empty()), "{:?}", gone.changes);
}

#[test]
fn secrets_are_never_told() {
    let mut world = world();
    let others = FILE.replace("sk-one", "sk-two").replace("secret-one", "secret-six");
    let plan = world.plan(&others, false).unwrap();
    let told = format!("{:?} {}", plan.changes, serde_json::to_string(&plan.changes).unwrap());
    assert_eq!(told.matches("(another secret)").count(), 4, "{told}");
    for secret in ["sk-one", "sk-two", "secret-one", "secret-six"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
}
