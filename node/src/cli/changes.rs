//! What a file changes, as people read it before it is done.

use super::{
    Failure,
    say::{Colour, coloured},
};
use serde_json::Value;
use std::path::Path;

/// A configuration with its variables filled in.
///
/// # Errors
/// All that keeps it from being read, with paths.
pub fn filled(text: &str) -> Result<String, Failure> {
    let vars = |name: &str| std::env::var(name).ok();
    cluster_config::fill(text, &vars).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {problem}")).collect();
        format!("the configuration has {} problems:\n{}", problems.len(), lines.join("\n")).into()
    })
}

/// A file; `-` is standard input.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        return Ok(std::io::read_to_string(std::io::stdin())?);
    }
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Each change with its fields, old → new.
pub fn shown(changes: &[Value]) -> String {
    changes.iter().map(one).collect()
}

fn one(change: &Value) -> String {
    let (op, kind, name) = (word(&change["op"]), word(&change["kind"]), word(&change["name"]));
    let (sign, colour) = match op.as_str() {
        "create" => ("+", Colour::Green),
        "update" => ("~", Colour::Yellow),
        _ => ("-", Colour::Red),
    };
    let mut text = coloured(colour, &format!("{sign} {op} {kind} {name}")) + "\n";
    for field in change["fields"].as_array().into_iter().flatten() {
        let (before, after) = (&field["before"], &field["after"]);
        let values = if op == "create" { word(after) } else { format!("{} → {}", word(before), word(after)) };
        text += &format!("    {}: {values}\n", word(&field["path"]));
    }
    text
}

/// `Plan: 2 to create, 1 to change, 0 to remove.`
pub fn summary(changes: &[Value]) -> String {
    let count = |wanted: &str| changes.iter().filter(|change| change["op"] == wanted).count();
    let (created, changed) = (count("create"), count("update"));
    format!("Plan: {created} to create, {changed} to change, {} to remove.", changes.len() - created - changed)
}

/// How many are closed, revoked or deleted.
pub fn removed(changes: &[Value]) -> usize {
    changes.iter().filter(|change| change["op"] != "create" && change["op"] != "update").count()
}

/// A value on one line; nothing in it moves the cursor.
fn word(value: &Value) -> String {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    super::table::printable(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_says_what_is_made_changed_and_removed() {
        let changes = [
            json!({"op": "create", "kind": "key", "name": "k", "fields": [{"path": "scope", "before": null, "after": "s"}]}),
            json!({"op": "update", "kind": "scope", "name": "s\u{1b}[2J", "fields": [{"path": "rpm_limit", "before": null, "after": 60}]}),
            json!({"op": "revoke", "kind": "key", "name": "old", "fields": []}),
        ];
        assert_eq!(
            shown(&changes),
            "+ create key k\n    scope: s\n~ update scope s\u{fffd}[2J\n    rpm_limit: none → 60\n- revoke key old\n"
        );
        assert_eq!(summary(&changes), "Plan: 1 to create, 1 to change, 1 to remove.");
        assert_eq!((removed(&changes), removed(&changes[..2])), (1, 0));
    }
}
