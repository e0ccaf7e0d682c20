//! What `get` and `describe` know: the nouns, where they are, and what is shown of them in a table.

use super::{
    Failure,
    client::{Client, Parameters, escaped, is_not_found},
    table::Column,
};
use clap::ValueEnum;
use serde_json::Value;

/// The nouns; `ten`, `sc`, `k`, `prov`, `mod`, `hook`, `tok` and `bud` are short for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    #[value(alias = "tenant", alias = "ten")]
    Tenants,
    #[value(alias = "scope", alias = "sc")]
    Scopes,
    #[value(alias = "key", alias = "k")]
    Keys,
    #[value(alias = "provider", alias = "prov")]
    Providers,
    #[value(alias = "model", alias = "mod")]
    Models,
    #[value(alias = "webhook", alias = "hook")]
    Webhooks,
    #[value(alias = "token", alias = "tok")]
    Tokens,
    #[value(alias = "budget", alias = "bud")]
    Budgets,
}

impl Kind {
    /// As it stands in paths and in the file.
    pub fn path(self) -> &'static str {
        match self {
            Kind::Tenants => "tenants",
            Kind::Scopes => "scopes",
            Kind::Keys => "keys",
            Kind::Providers => "providers",
            Kind::Models => "models",
            Kind::Webhooks => "webhooks",
            Kind::Tokens => "tokens",
            Kind::Budgets => "budgets",
        }
    }

    /// One of them.
    pub fn one(self) -> &'static str {
        self.path().trim_end_matches('s')
    }

    /// Whether it has an entry in the file of its own.
    pub fn is_entry(self) -> bool {
        !matches!(self, Kind::Tokens | Kind::Budgets)
    }

    pub fn columns(self) -> &'static [Column] {
        match self {
            Kind::Tenants => &TENANTS,
            Kind::Scopes => &SCOPES,
            Kind::Keys => &KEYS,
            Kind::Providers => &PROVIDERS,
            Kind::Models => &MODELS,
            Kind::Webhooks => &WEBHOOKS,
            Kind::Tokens => &TOKENS,
            Kind::Budgets => &BUDGETS,
        }
    }
}

const TENANTS: [Column; 5] =
    [("NAME", "name"), ("ID", "id"), ("BUDGETS", "shown.budgets"), ("RPM", "spec.rpm_limit"), ("TPM", "spec.tpm_limit")];
const SCOPES: [Column; 8] = [
    ("NAME", "name"),
    ("ID", "id"),
    ("TENANT", "tenant"),
    ("KIND", "spec.kind"),
    ("PARENT", "spec.parent"),
    ("BUDGETS", "shown.budgets"),
    ("RPM", "spec.rpm_limit"),
    ("TPM", "spec.tpm_limit"),
];
const KEYS: [Column; 8] = [
    ("NAME", "name"),
    ("ID", "id"),
    ("TENANT", "tenant"),
    ("SCOPE", "spec.scope"),
    ("STATUS", "status"),
    ("MODELS", "shown.models"),
    ("HINT", "hint"),
    ("THIS MONTH USD", "shown.month"),
];
const PROVIDERS: [Column; 6] = [
    ("NAME", "name"),
    ("ID", "id"),
    ("TENANT", "tenant"),
    ("DIALECT", "spec.dialect"),
    ("BASE URL", "spec.base_url"),
    ("KEY", "shown.secret"),
];
const MODELS: [Column; 7] = [
    ("NAME", "name"),
    ("ID", "id"),
    ("TARGETS", "shown.targets"),
    ("INPUT", "spec.price.input_per_mtok"),
    ("OUTPUT", "spec.price.output_per_mtok"),
    ("MAX OUTPUT", "spec.max_output_tokens"),
    ("CONTEXT", "spec.context_tokens"),
];
const WEBHOOKS: [Column; 5] = [("NAME", "name"), ("ID", "id"), ("TENANT", "tenant"), ("URL", "spec.url"), ("ALERTS", "shown.alerts")];
const TOKENS: [Column; 7] = super::token::COLUMNS;
const BUDGETS: [Column; 11] = [
    ("ID", "id"),
    ("LEVEL", "level"),
    ("NAME", "name"),
    ("UNIT", "unit"),
    ("EVERY", "every"),
    ("HARD", "hard"),
    ("LIMIT", "limit"),
    ("SETTLED", "settled"),
    ("HELD", "held"),
    ("FREE", "free"),
    ("RESETS", "resets_at"),
];

/// A row with what its table shows besides, under `shown`; `month` are rows of this month's usage by key.
pub fn dressed(row: &Value, month: &[Value]) -> Value {
    let (spec, mut dressed) = (&row["spec"], row.clone());
    let list = |name: &str| spec[name].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let budgets = list("budgets").iter().map(|budget| format!("{}/{}", text(&budget["limit"]), text(&budget["every"])));
    let targets = list("targets").iter().map(|target| format!("{}/{}", text(&target["provider"]), text(&target["model"])));
    let spent = month.iter().find(|used| used["key_id"] == row["id"]).map_or("0", |used| used["cost"]["USD"].as_str().unwrap_or("0"));
    let models = if spec["models"].is_null() { "*".into() } else { spec["models"].clone() };
    dressed["shown"] = serde_json::json!({
        "budgets": budgets.collect::<Vec<_>>(), "targets": targets.collect::<Vec<_>>(), "models": models, "month": spent,
        "alerts": if spec["alerts"].is_null() { "*".into() } else { spec["alerts"].clone() },
        "secret": if spec["api_key"].is_null() { "none" } else { "sealed" },
    });
    dressed
}

/// All of a kind.
///
/// # Errors
/// See [`Client::get`].
pub fn all(client: &Client, kind: Kind, parameters: &Parameters) -> Result<Vec<Value>, Failure> {
    client.list(kind.path(), parameters)
}

/// Those that bear this name, `tenant/name` or id: one, or the budgets of one owner.
///
/// # Errors
/// There is none: then names that are near are told. Or see [`Client::get`].
pub fn named(client: &Client, kind: Kind, name: &str) -> Result<Vec<Value>, Failure> {
    if kind.is_entry() {
        return match client.get(&format!("{}/{}", kind.path(), escaped(name)), &[]) {
            Ok(row) => Ok(vec![row]),
            Err(why) if is_not_found(&why) => Err(unknown(client, kind, name)),
            Err(why) => Err(why),
        };
    }
    let rows = all(client, kind, &[])?;
    let found: Vec<Value> =
        rows.iter().filter(|row| row["id"] == name || row["name"] == name || row["owner_id"] == name).cloned().collect();
    if found.is_empty() { Err(none(kind, name, &rows)) } else { Ok(found) }
}

/// That there is no such thing, with names that are near.
pub fn unknown(client: &Client, kind: Kind, name: &str) -> Failure {
    match all(client, kind, &[]) {
        Ok(rows) => none(kind, name, &rows),
        Err(why) => why,
    }
}

fn none(kind: Kind, name: &str, rows: &[Value]) -> Failure {
    let names = rows.iter().filter_map(|row| row["name"].as_str());
    let near = cluster_config::near(name, names);
    let meant =
        if near.is_empty() { format!("`tollgate get {}` lists all", kind.path()) } else { format!("did you mean {}?", near.join(" or ")) };
    format!("there is no {} `{name}`; {meant}", kind.one()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_are_dressed_for_their_table() {
        let key = json!({"id": "key_1", "name": "k", "spec": {"scope": "s", "budgets": [{"limit": "5 USD", "every": "day"}]}});
        let shown = &dressed(&key, &[json!({"key_id": "key_1", "cost": {"USD": "1.5"}})])["shown"];
        assert_eq!((&shown["budgets"], &shown["models"], &shown["month"]), (&json!(["5 USD/day"]), &json!("*"), &json!("1.5")));
        let model = json!({"id": "model_1", "spec": {"targets": [{"provider": "p", "model": "m"}]}});
        assert_eq!(dressed(&model, &[])["shown"]["targets"], json!(["p/m"]));
    }

    #[test]
    fn what_is_not_there_has_near_names() {
        let rows = [json!({"name": "search-prod"}), json!({"name": "other"})];
        assert_eq!(none(Kind::Keys, "serch-prod", &rows).to_string(), "there is no key `serch-prod`; did you mean search-prod?");
        assert_eq!(none(Kind::Keys, "zzz", &rows).to_string(), "there is no key `zzz`; `tollgate get keys` lists all");
    }
}
