use super::*;
use events::limits;

fn problems(text: &str) -> Vec<String> {
    let vars = |name: &str| (name == "SET").then(|| "value-of-it".to_owned());
    parse(text, &vars).err().unwrap_or_default().into_iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_where() {
    let found = problems(
        "providers: [{name: a, dialect: openia, base_url: 'https://a/v1'}, {name: b, base_url: 'ftp://b'}]\n\
         models: [{name: m, targets: []}]\n\
         keys: [{name: k, scope: nowhere, secrt: x, budgets: [{limit: 5 EUR, every: fortnight}]}]\n",
    );
    for part in [
        "providers[0].dialect",
        "providers[1].dialect",
        "providers[1].base_url",
        "models[0].targets",
        "keys[0].secrt",
        "keys[0].budgets[0].limit",
        "keys[0].budgets[0].every",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(part)), "{part} in {found:#?}");
    }
    assert!(found.iter().any(|problem| problem.contains("secret")), "near names are shown: {found:#?}");
}

#[test]
fn a_variable_that_is_not_set_is_named_and_one_that_is_set_is_not_shown() {
    let file = |secret: &str| format!("tenants: [{{name: t}}]\nkeys: [{{name: k, scope: t, secret: \"{secret}\"}}]");
    assert_eq!(problems(&file("${SET}")), Vec::<String>::new());
    let found = problems(&file("${UNSET}"));
    assert!(found.len() == 1 && found[0].contains("UNSET") && found[0].starts_with("keys[0].secret"), "{found:?}");
    let found = problems("tenants: [{name: t}]\nkeys: [{name: k, scope: t, secret: \"${SET} with spaces\"}]");
    assert!(!found.is_empty() && !found.concat().contains("value-of-it"), "{found:?}");
}

#[test]
fn limits_are_decimals_with_a_unit() {
    let file = |limit: &str| format!("tenants: [{{name: t, budgets: [{{limit: {limit}, every: day}}]}}]");
    for right in ["5 USD", "0.000000000001 USD", "1000 tokens", "0 requests"] {
        assert_eq!(problems(&file(right)), Vec::<String>::new(), "{right}");
    }
    for wrong in [
        "5",
        "USD",
        "-5 USD",
        "1.5 tokens",
        "0.0000000000001 USD",
        "5 usd x",
        "1e3 USD",
        "[]",
        "99999999999999999999999999999999999999999 USD",
    ] {
        assert!(problems(&file(wrong))[0].starts_with("tenants[0].budgets[0].limit"), "{wrong}");
    }
}

#[test]
fn addresses_that_lead_inside_the_machine_room_are_refused() {
    let file = |url: &str| format!("providers: [{{name: a, dialect: openai, base_url: '{url}'}}]");
    for right in ["https://api.example/v1", "http://10.0.0.7:8000/v1", "http://localhost:11434/v1"] {
        assert_eq!(problems(&file(right)), Vec::<String>::new(), "{right}");
    }
    for wrong in ["http://169.254.169.254/", "file:///etc/passwd", "not a url", "https://user:word@host/v1", ""] {
        assert!(!problems(&file(wrong)).is_empty(), "{wrong}");
    }
}

#[test]
fn what_is_no_map_and_what_is_nothing_are_said_plainly() {
    assert!(!problems("[1, 2]").is_empty());
    assert!(!problems("keys: 5").is_empty());
    assert_eq!(problems(""), Vec::<String>::new(), "an empty file asks for nothing");
    assert!(problems("kyes: []")[0].contains("keys"));
}

#[test]
fn what_stands_twice_is_told_with_both_places_and_without_its_secret() {
    let found = problems(
        "providers: [{name: p, dialect: openai, base_url: 'https://p'}, {name: p, dialect: openai, base_url: 'https://q'}]\n\
         tenants: [{name: t, budgets: [{limit: 1 USD, every: day}, {limit: 2 USD, every: day, hard: false}]}, {name: t}]\n\
         models: [{name: m, targets: [{provider: p, model: x}]}, {name: m, targets: [{provider: p, model: y}]}]\n\
         keys: [{name: a, scope: t, secret: secret-one}, {name: b, scope: t, secret: secret-one}]\n",
    );
    for (path, first) in [
        ("providers[1].name", "providers[0]"),
        ("tenants[1].name", "tenants[0]"),
        ("tenants[0].budgets[1]", "tenants[0].budgets[0]"),
        ("models[1].name", "models[0]"),
        ("keys[1].secret", "keys[0]"),
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(path) && problem.contains(first)), "{path} in {found:#?}");
    }
    assert!(found.len() == 5 && !found.concat().contains("secret-one"), "{found:#?}");
    let names = |tenant: &str| {
        problems(&format!(
            "tenants: [{{name: t}}, {{name: u}}]\nscopes: [{{name: s, parent: t}}, {{name: s, parent: {tenant}}}]\nkeys: [{{name: k, scope: t}}, {{name: k, scope: {tenant}}}]"
        ))
    };
    assert_eq!(names("t").len(), 2);
    assert_eq!(names("u"), Vec::<String>::new(), "names are unique within a tenant");
}

#[test]
fn problems_come_in_the_order_of_the_file() {
    let keys: Vec<String> = (0..12).map(|at| format!("{{name: 'k {at}', scope: t}}")).collect();
    let found = problems(&format!("tenants: [{{name: t}}]\nkeys: [{}]", keys.join(", ")));
    let paths: Vec<&str> = found.iter().filter_map(|problem| problem.split(':').next()).collect();
    assert_eq!(paths, (0..12).map(|at| format!("keys[{at}].name")).collect::<Vec<_>>());
}

#[test]
fn webhooks_name_alerts_that_there_are() {
    let one = |rest: &str| problems(&format!("webhooks: [{{name: pager, url: 'https://hooks.example/a', {rest}}}]"));
    assert_eq!(one("alerts: [disk_low, budget_overrun], secret: whsec_Zm9vYmFyYmF6"), Vec::<String>::new());
    let found = one("alerts: [disk_lo], secret: whsec_***, colour: red");
    assert!(found.len() == 3 && found.concat().contains("disk_low") && !found.concat().contains("whsec_***"), "{found:#?}");
    assert!(one("alerts: []").concat().contains("leave it out"));
    let twice = problems("webhooks: [{name: a, url: 'https://x'}, {name: a, url: 'https://y'}]");
    assert!(twice.len() == 1 && twice[0].starts_with("webhooks[1]"), "{twice:?}");
    let open = problems("webhooks: [{name: a, url: 'http://y.example'}]");
    assert!(open.len() == 1 && open[0].contains("must begin with https://"), "{open:?}");
    let inside = problems("tenants: [{name: t}]\nwebhooks: [{name: a, tenant: t, url: 'https://10.0.0.7/x'}]");
    assert!(inside.len() == 1 && inside[0].starts_with("webhooks[0].url"), "{inside:?}");
    let many: Vec<String> = (0..=limits::WEBHOOKS_MAX).map(|at| format!("{{name: h{at}, url: 'https://x'}}")).collect();
    assert_eq!(problems(&format!("webhooks: [{}]", many.join(", "))).len(), 1);
}

#[test]
fn a_star_stands_where_a_star_is_given() {
    let file = |name: &str, target: &str| {
        format!(
            "providers: [{{name: p, dialect: openai, base_url: 'https://p'}}]\nmodels: [{{name: '{name}', targets: [{{provider: p, model: '{target}'}}]}}]"
        )
    };
    for (name, target) in [("*", "*"), ("a/*", "b-*-c"), ("gpt-*", "one"), ("plain", "plain")] {
        assert_eq!(problems(&file(name, target)), Vec::<String>::new(), "{name} {target}");
    }
    for (name, target, path) in
        [("plain", "x*", "models[0].targets[0].model"), ("**", "x", "models[0].name"), ("a*", "*b*", "models[0].targets[0].model")]
    {
        let found = problems(&file(name, target));
        assert!(found.len() == 1 && found[0].starts_with(path), "{found:?}");
    }
}

/// Somebody who writes a file by the schema writes one that is read, and finds every field there.
#[test]
fn the_schema_names_the_fields_that_are_read() {
    use crate::fields;
    let schema: serde_json::Value = serde_json::from_str(include_str!("../schema.json")).unwrap();
    let parts = [
        ("provider", fields::PROVIDER),
        ("timeouts", fields::TIMEOUTS),
        ("model", fields::MODEL),
        ("target", fields::TARGET),
        ("tenant", fields::TENANT),
        ("scope", fields::SCOPE),
        ("key", fields::KEY),
        ("budget", fields::BUDGET),
        ("webhook", fields::WEBHOOK),
        ("filter", fields::FILTER),
        ("price", fields::PRICE),
        ("long", fields::LONG),
        ("tier", fields::TIER),
    ];
    let same = |part: &serde_json::Value, known: fields::Names, name: &str| {
        let mut named: Vec<&str> = part["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = known.to_vec();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known, "{name}");
        assert_eq!(part["additionalProperties"], false, "{name}");
    };
    same(&schema, fields::FILE, "the file");
    parts.iter().for_each(|(name, known)| same(&schema["$defs"][name], known, name));
}
