//! `tollgate key create | rotate | revoke | block | unblock | list`: virtual keys. A secret is shown once, on standard output.

use super::{
    Failure,
    client::{Client, Connection, escaped, is_not_found},
    get,
    kinds::{Kind, unknown},
    say::{self, Output},
};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Verb {
    /// Makes a key, and prints its secret this once.
    Create(Create),
    /// A new secret for a key, printed this once.
    Rotate(Rotate),
    /// Revokes a key, for good.
    Revoke(One),
    /// Lets a key in no more, until it is unblocked.
    Block(One),
    /// Lets a blocked key in again.
    Unblock(One),
    /// All keys, as `tollgate get keys`.
    List(get::Listed),
}

#[derive(Args)]
pub struct Create {
    name: String,
    /// What it hangs on: a scope, or a tenant.
    #[arg(long, required_unless_present = "tenant")]
    scope: Option<String>,
    /// The tenant, where the scope's name is not enough; without --scope the key hangs on the tenant itself.
    #[arg(long)]
    tenant: Option<String>,
    /// Models that it may use, separated by commas, with wildcards; else all.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// As "50 USD/day", "1000 requests/hour" or "5 USD" in all; may be given several times.
    #[arg(long = "budget", value_name = "LIMIT[/EVERY]")]
    budgets: Vec<String>,
    /// Requests a minute.
    #[arg(long)]
    rpm: Option<u64>,
    /// Tokens a minute.
    #[arg(long)]
    tpm: Option<u64>,
    /// Calls at once.
    #[arg(long)]
    parallel: Option<u64>,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

#[derive(Args)]
pub struct Rotate {
    /// Its name, `tenant/name`, or its id.
    name: String,
    /// The old secret lets in for so long yet, as 24h.
    #[arg(long)]
    overlap: Option<String>,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

#[derive(Args)]
pub struct One {
    /// Its name, `tenant/name`, or its id.
    name: String,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

pub fn run(verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Create(flags) => create(flags)?,
        Verb::Rotate(flags) => rotate(flags)?,
        Verb::Revoke(flags) => revoke(flags)?,
        Verb::Block(flags) => act(flags, "block", "is blocked")?,
        Verb::Unblock(flags) => act(flags, "unblock", "is let in again")?,
        Verb::List(flags) => get::list(Kind::Keys, flags)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn create(flags: &Create) -> Result<(), Failure> {
    let name = match &flags.tenant {
        Some(tenant) => format!("{tenant}/{}", flags.name),
        None => flags.name.clone(),
    };
    let made = Client::open(&flags.node)?.make(&format!("keys/{}", escaped(&name)), &spec(flags)?);
    let made = made.map_err(|why| match why.downcast_ref::<super::client::Refused>() {
        Some(refused) if refused.status == http::StatusCode::PRECONDITION_FAILED => {
            format!("there is a key `{name}`: `tollgate key rotate` gives it a new secret, `tollgate apply` changes it").into()
        }
        _ => why,
    })?;
    say::secret(&made, &flags.form, "is made");
    Ok(())
}

/// The entry of a file.
fn spec(flags: &Create) -> Result<Value, Failure> {
    let scope = match (&flags.scope, &flags.tenant) {
        (Some(scope), Some(tenant)) if !scope.contains('/') && scope != tenant => format!("{tenant}/{scope}"),
        (Some(scope), _) => scope.clone(),
        (None, tenant) => tenant.clone().unwrap_or_default(),
    };
    let mut spec = json!({"scope": scope});
    if !flags.models.is_empty() {
        spec["models"] = flags.models.clone().into();
    }
    if !flags.budgets.is_empty() {
        spec["budgets"] = flags.budgets.iter().map(|text| budget(text)).collect::<Result<_, _>>()?;
    }
    for (field, figure) in [("rpm_limit", flags.rpm), ("tpm_limit", flags.tpm), ("max_parallel_requests", flags.parallel)] {
        if let Some(figure) = figure {
            spec[field] = figure.into();
        }
    }
    Ok(spec)
}

/// `50 USD/day`; without a time in all.
fn budget(text: &str) -> Result<Value, Failure> {
    let (limit, every) = text.split_once('/').map_or((text, "total"), |(limit, every)| (limit, every.trim()));
    let is_limit = limit.split_whitespace().count() == 2;
    if !is_limit || !["hour", "day", "week", "month", "total"].contains(&every) {
        return Err(
            format!("`{text}` is no budget such as \"50 USD/day\": hour, day, week, month or total; USD, tokens or requests").into()
        );
    }
    Ok(json!({"limit": limit.trim(), "every": every}))
}

fn rotate(flags: &Rotate) -> Result<(), Failure> {
    let body = flags.overlap.as_ref().map(|overlap| json!({"overlap": overlap}).to_string());
    let client = Client::open(&flags.node)?;
    let path = format!("keys/{}/rotate", escaped(&flags.name));
    let key = client.post(&path, &[], body.map(Bytes::from).unwrap_or_default()).map_err(|why| named(&client, &flags.name, why))?;
    say::secret(&key, &flags.form, "has a new secret");
    Ok(())
}

fn revoke(flags: &One) -> Result<(), Failure> {
    let client = Client::open(&flags.node)?;
    let gone = client.delete(&format!("keys/{}", escaped(&flags.name))).map_err(|why| named(&client, &flags.name, why))?;
    if flags.form.is_json() {
        println!("{gone:#}")
    } else {
        println!("key {} is revoked", flags.name)
    }
    Ok(())
}

fn act(flags: &One, action: &str, done: &str) -> Result<(), Failure> {
    let client = Client::open(&flags.node)?;
    let path = format!("keys/{}/{action}", escaped(&flags.name));
    let key = client.post(&path, &[], Bytes::new()).map_err(|why| named(&client, &flags.name, why))?;
    if flags.form.is_json() {
        println!("{key:#}")
    } else {
        println!("key {} {done}", flags.name)
    }
    Ok(())
}

/// With names that are near, where there is no such key.
fn named(client: &Client, name: &str, why: Failure) -> Failure {
    if is_not_found(&why) { unknown(client, Kind::Keys, name) } else { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_limit_and_a_time() {
        assert_eq!(budget("50 USD/day").unwrap(), json!({"limit": "50 USD", "every": "day"}));
        assert_eq!(budget("1000 requests").unwrap(), json!({"limit": "1000 requests", "every": "total"}));
        for wrong in ["50", "50 USD/fortnight", "/day", "50 USD a day"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }
}
