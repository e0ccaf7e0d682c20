//! `tollgate describe`: everything that is known of one thing.

use super::{
    Failure,
    client::{Client, Connection, given},
    kinds::{self, Kind},
    say::Output,
    table::{Column, printable, table},
};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    /// Singular or short, too: ten, sc, k, prov, mod, tok, bud.
    #[arg(value_enum)]
    kind: Kind,
    /// Its name, `tenant/name`, or its id.
    name: String,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

/// Changes that are shown.
const CHANGES: u64 = 10;
const CHANGE: [Column; 4] = [("AT", "at"), ("CHANGE", "type"), ("BY", "who"), ("POSITION", "id")];
const USED: [Column; 5] =
    [("MODEL", "model"), ("CALLS", "calls.finished"), ("FAILED", "calls.failed"), ("TOKENS", "tokens.total"), ("COST USD", "cost.USD")];
const DELIVERIES: [Column; 6] = [
    ("AT", "at"),
    ("DELIVERED", "delivered"),
    ("FAILED", "failed"),
    ("SKIPPED", "skipped"),
    ("LAST", "last_delivery_at"),
    ("WHY NOT", "last_failure.why"),
];
const HEALTH: [Column; 5] = [
    ("TRIES", "attempts.total"),
    ("OK", "attempts.ok"),
    ("FIRST BYTE P50 MS", "first_byte_ms.p50"),
    ("P95 MS", "first_byte_ms.p95"),
    ("COST USD", "cost.USD"),
];

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let client = Client::open(&flags.node)?;
    let things = kinds::named(&client, flags.kind, &flags.name)?;
    for (at, thing) in things.iter().enumerate() {
        let known = known(&client, flags.kind, thing)?;
        if flags.form.is_json() {
            println!("{known:#}");
        } else {
            print!("{}{}", if at == 0 { "" } else { "\n" }, described(flags.kind, &known));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What there is to know. What the token may not see is left out, and `not_seen` says why.
fn known(client: &Client, kind: Kind, thing: &Value) -> Result<Value, Failure> {
    let id = thing["id"].as_str().unwrap_or_default().to_owned();
    let chain = above(client, kind, thing)?;
    let mut known = json!({"object": "description", "of": thing, "path": path(&chain), "not_seen": []});
    let mut take = |name: &str, found: Result<Vec<Value>, Failure>| match found {
        Ok(rows) => known[name] = rows.into(),
        Err(why) => {
            if let Some(not_seen) = known["not_seen"].as_array_mut() {
                not_seen.push(json!(format!("{name}: {why}")));
            }
        }
    };
    let ids: Vec<&str> = chain.iter().filter_map(|part| part["id"].as_str()).collect();
    if matches!(kind, Kind::Tenants | Kind::Scopes | Kind::Keys) {
        take("budgets", client.list("budgets", &[]).map(|rows| on_path(&rows, &ids)));
    }
    if let Some(filter) = usage_filter(kind) {
        let name = if kind == Kind::Models { thing["name"].as_str().unwrap_or_default().to_owned() } else { id.clone() };
        let parameters = given([("since", Some("7d".into())), ("group_by", Some("model".into())), (filter, Some(name))]);
        take("usage_7d", client.list("usage", &parameters));
    }
    if kind == Kind::Providers {
        take("health_1d", client.list("providers/health", &given([("provider", Some(id.clone()))])));
    }
    if kind == Kind::Budgets {
        let windows = client.get(&format!("budgets/{id}/windows"), &given([("limit", Some("7".into()))]));
        take("windows", windows.map(|page| page["data"].as_array().cloned().unwrap_or_default()));
    }
    if kind == Kind::Webhooks {
        take("deliveries", client.get(&format!("webhooks/{id}/deliveries"), &[]).map(|found| vec![found]));
    }
    let changes = client.some("audit", &given([("subject", Some(id))]), CHANGES);
    take("changes", changes.map(|page| page["data"].as_array().cloned().unwrap_or_default()));
    Ok(known)
}

fn usage_filter(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Tenants => Some("tenant"),
        Kind::Scopes => Some("scope"),
        Kind::Keys => Some("key"),
        Kind::Providers => Some("provider"),
        Kind::Models => Some("model"),
        Kind::Webhooks | Kind::Tokens | Kind::Budgets => None,
    }
}

/// What it hangs on, nearest first, itself in front.
fn above(client: &Client, kind: Kind, thing: &Value) -> Result<Vec<Value>, Failure> {
    let mut chain = vec![thing.clone()];
    if !matches!(kind, Kind::Scopes | Kind::Keys) {
        return Ok(chain);
    }
    let scopes: Vec<Value> = client.list("scopes", &[])?.into_iter().filter(|scope| scope["tenant"] == thing["tenant"]).collect();
    let parent =
        |of: &Value| of["spec"]["scope"].as_str().or_else(|| of["spec"]["parent"].as_str()).map(bare).unwrap_or_default().to_owned();
    let mut name = parent(thing);
    // each scope is named once at most: a ring cannot be
    for _ in 0..scopes.len() {
        let Some(scope) = scopes.iter().find(|scope| scope["name"] == name.as_str()) else { break };
        name = parent(scope);
        chain.push(scope.clone());
    }
    let tenants = client.list("tenants", &[])?;
    chain.extend(tenants.into_iter().find(|tenant| tenant["name"] == thing["tenant"]));
    Ok(chain)
}

fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn path(chain: &[Value]) -> Value {
    chain.iter().skip(1).map(|part| json!({"object": part["object"], "name": part["name"], "id": part["id"]})).collect()
}

/// The budgets of the path, nearest first, and the platform's.
fn on_path(budgets: &[Value], ids: &[&str]) -> Vec<Value> {
    let mut found: Vec<(usize, Value)> = Vec::new();
    for budget in budgets {
        let at = ids.iter().position(|id| budget["owner_id"] == *id);
        let at = at.or_else(|| (budget["level"] == "platform").then_some(ids.len()));
        found.extend(at.map(|at| (at, budget.clone())));
    }
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, budget)| budget).collect()
}

fn described(kind: Kind, known: &Value) -> String {
    let thing = &known["of"];
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), printable);
    let mut out = format!("{} {} ({})\n", kind.one(), text(&thing["name"]), text(&thing["id"]));
    for (name, value) in thing.as_object().into_iter().flatten() {
        if !["object", "name", "id", "spec", "etag"].contains(&name.as_str()) && !value.is_null() {
            out += &format!("{:12}{}\n", format!("{name}:"), plain(value));
        }
    }
    let path: Vec<String> = rows(known, "path").iter().map(|part| format!("{} {}", text(&part["object"]), text(&part["name"]))).collect();
    if !path.is_empty() {
        out += &format!("{:12}{}\n", "hangs on:", path.join(" < "));
    }
    if kind.is_entry() {
        let yaml = cluster_config::yaml(&thing["spec"]);
        out += &format!("\nspec\n{}", yaml.lines().map(|line| format!("  {}\n", printable(line))).collect::<String>());
    }
    out += &section("budgets on its path", Kind::Budgets.columns(), known, "budgets");
    out += &section("windows", Kind::Budgets.columns(), known, "windows");
    out += &section("used in the last 7 days", &USED, known, "usage_7d");
    out += &section("tries of the last day", &HEALTH, known, "health_1d");
    out += &section("deliveries since the node's start", &DELIVERIES, known, "deliveries");
    let changes: Vec<Value> = rows(known, "changes").iter().map(with_who).collect();
    out += &section("last changes", &CHANGE, &json!({"changes": changes}), "changes");
    for why in rows(known, "not_seen") {
        out += &format!("\nnot seen: {}\n", text(why));
    }
    out
}

fn rows<'a>(known: &'a Value, name: &str) -> &'a [Value] {
    known[name].as_array().map_or(&[], Vec::as_slice)
}

fn section(head: &str, columns: &[Column], known: &Value, name: &str) -> String {
    let rows = rows(known, name);
    if rows.is_empty() {
        return String::new();
    }
    let shown: String = table(columns, rows).lines().map(|line| format!("  {line}\n")).collect();
    format!("\n{head}\n{shown}")
}

fn with_who(change: &Value) -> Value {
    let (mut change, by) = (change.clone(), &change["by"]);
    let who = by["name"].as_str().or_else(|| by["id"].as_str()).or_else(|| by["kind"].as_str()).unwrap_or_default();
    change["who"] = who.into();
    change
}

/// On one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Object(members) => members.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_of_the_path_come_nearest_first() {
        let budgets = [
            json!({"id": "bud_1", "owner_id": "ten_1", "level": "tenant"}),
            json!({"id": "bud_2", "owner_id": "key_3", "level": "key"}),
            json!({"id": "bud_3", "owner_id": "scope_9", "level": "scope"}),
            json!({"id": "bud_4", "owner_id": "platform", "level": "platform"}),
        ];
        let found = on_path(&budgets, &["key_3", "scope_2", "ten_1"]);
        let ids: Vec<&str> = found.iter().filter_map(|budget| budget["id"].as_str()).collect();
        assert_eq!(ids, ["bud_2", "bud_1", "bud_4"]);
    }
}
