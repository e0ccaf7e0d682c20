//! `tollgate token create | list | revoke`: administrators' tokens.

use super::{
    Failure,
    client::{Client, Connection, escaped},
    get::{self, Listed},
    kinds::Kind,
    say::{self, Output},
    table::Column,
};
use crate::world::WallClock;
use clap::{Args, Subcommand};
use events::Timestamp;
use journal::Clock as _;
use serde_json::json;
use std::{process::ExitCode, time::Duration};

#[derive(Subcommand)]
pub enum Verb {
    /// Makes a token, and shows its secret this once.
    Create(Create),
    /// All tokens, those that are revoked too.
    List(Listed),
    /// Revokes a token, for good.
    Revoke(Revoke),
}

#[derive(Args)]
pub struct Create {
    name: String,
    /// owner, admin, operator, auditor (reads all) or billing (reads usage, budgets, the proof).
    #[arg(long)]
    role: String,
    /// Of this tenant only; else of the platform.
    #[arg(long)]
    tenant: Option<String>,
    /// A time, or so long from now, as 90d.
    #[arg(long)]
    expires: Option<String>,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

#[derive(Args)]
pub struct Revoke {
    /// As tok_12, or its name.
    #[arg(value_name = "ID or NAME")]
    id: String,
    #[command(flatten)]
    node: Connection,
}

pub const COLUMNS: [Column; 7] = [
    ("TOKEN", "id"),
    ("NAME", "name"),
    ("ROLE", "role"),
    ("TENANT", "tenant"),
    ("STATUS", "status"),
    ("EXPIRES", "expires_at"),
    ("HINT", "hint"),
];

pub fn run(verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Create(flags) => create(flags)?,
        Verb::List(flags) => get::list(Kind::Tokens, flags)?,
        Verb::Revoke(flags) => {
            let client = Client::open(&flags.node)?;
            let token = client.delete(&format!("tokens/{}", escaped(&live(&client, &flags.id)?)))?;
            println!("{} is revoked", token["name"].as_str().unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of what is meant: an id, or the name of a token that lets in.
fn live(client: &Client, meant: &str) -> Result<String, Failure> {
    let tokens = client.list("tokens", &[])?;
    if tokens.iter().any(|token| token["id"] == meant) {
        return Ok(meant.to_owned());
    }
    let ids = tokens.iter().filter(|token| token["name"] == meant && token["status"] == "live").filter_map(|token| token["id"].as_str());
    match ids.collect::<Vec<_>>().as_slice() {
        [] => Ok(meant.to_owned()),
        [id] => Ok((*id).to_owned()),
        several => Err(format!("`{meant}` is the name of {}; say which", several.join(", ")).into()),
    }
}

fn create(flags: &Create) -> Result<(), Failure> {
    let expires_at = flags.expires.as_deref().map(|text| expiry(text, WallClock.now())).transpose()?;
    let mut asked = json!({"name": flags.name, "role": flags.role});
    if let Some(tenant) = &flags.tenant {
        asked["tenant"] = tenant.as_str().into();
    }
    if let Some(at) = expires_at {
        asked["expires_at"] = at.to_string().into();
    }
    let token = Client::open(&flags.node)?.post("tokens", &[], asked.to_string().into())?;
    say::secret(&token, &flags.form, "is made");
    Ok(())
}

/// A time, or a number of days or hours from now.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let span =
        |unit, seconds: u64| text.strip_suffix(unit).and_then(|count| count.parse::<u32>().ok()).map(|count| u64::from(count) * seconds);
    let span = span("d", 86_400).or_else(|| span("h", 3_600)).or_else(|| span("m", 60));
    let at = Timestamp::parse(text).or_else(|| span.map(|seconds| now.plus(Duration::from_secs(seconds))));
    at.ok_or_else(|| format!("`{text}` is no time such as 2027-01-01T00:00:00Z, and no span such as 90d, 12h or 30m").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_time_or_a_span() {
        let now = Timestamp::parse("2026-11-26T12:00:00Z").unwrap();
        let at = |text: &str| expiry(text, now).map(|at| at.to_string()).ok();
        assert_eq!(at("30d").as_deref(), Some("2026-12-26T12:00:00Z"));
        assert_eq!(at("12h").as_deref(), Some("2026-11-27T00:00:00Z"));
        assert_eq!(at("2027-01-01T00:00:00Z").as_deref(), Some("2027-01-01T00:00:00Z"));
        assert_eq!((at("soon"), at("d"), at("-1d")), (None, None, None));
    }
}
