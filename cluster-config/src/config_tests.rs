use super::*;

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
