//! `tollgate apply`: a configuration file goes to a running node.

use super::{
    Failure, changes,
    client::{Client, Connection, given},
    say::Output,
};
use clap::Args;
use serde_json::Value;
use std::{
    io::{IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

#[derive(Args)]
pub struct Flags {
    /// The configuration; `-` reads it from standard input.
    #[arg(short = 'f', long = "file")]
    file: PathBuf,
    /// Only say what would change.
    #[arg(long)]
    dry_run: bool,
    /// Close and revoke what the file does not name.
    #[arg(long)]
    prune: bool,
    /// Does not ask before something is closed or revoked; without a terminal nothing is asked anyway.
    #[arg(short, long)]
    yes: bool,
    /// Read the secret of this key from standard input; it takes the place of `secret:` in the file.
    #[arg(long, value_name = "KEY")]
    secret_stdin: Option<String>,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

/// First what would change is shown; then, unless it is a dry run, it is done.
pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let config = filled(flags)?;
    let client = Client::open(&flags.node)?;
    let ask = |is_dry: bool| {
        let on = |is_on: bool| is_on.then(|| "true".to_owned());
        client.post("apply", &given([("dry_run", on(is_dry)), ("prune", on(flags.prune))]), config.clone().into())
    };
    let planned = ask(true)?;
    let changes = planned["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if !flags.form.is_json() {
        // what is to be done is done, whether or not anybody reads it
        write!(std::io::stdout(), "{}", plan(changes)).or_else(|error| if flags.dry_run { Err(error) } else { Ok(()) })?;
    }
    if flags.dry_run || changes.is_empty() {
        shown(flags, &planned);
        return Ok(ExitCode::SUCCESS);
    }
    if !is_wanted(flags, changes)? {
        return Err("nothing was changed".into());
    }
    let applied = ask(false)?;
    if applied["changes"] != planned["changes"] && !flags.form.is_json() {
        println!("in the meantime others made changes; done was:");
        print!("{}", plan(applied["changes"].as_array().map_or(&[], Vec::as_slice)));
    }
    shown(flags, &applied);
    Ok(ExitCode::SUCCESS)
}

fn filled(flags: &Flags) -> Result<String, Failure> {
    if flags.file.as_os_str() == "-" && flags.secret_stdin.is_some() {
        return Err("the file and the secret cannot both come from standard input".into());
    }
    let filled = changes::filled(&changes::read(&flags.file)?)?;
    match &flags.secret_stdin {
        Some(key) => with_secret(&filled, key),
        None => Ok(filled),
    }
}

fn with_secret(config: &str, key: &str) -> Result<String, Failure> {
    let mut config: Value = serde_json::from_str(config)?;
    let mut secret = String::new();
    std::io::stdin().read_to_string(&mut secret)?;
    let keys = config.get_mut("keys").and_then(Value::as_array_mut);
    let found = keys.and_then(|keys| keys.iter_mut().find(|entry| entry["name"] == key));
    let entry = found.ok_or_else(|| format!("the file has no key `{key}`"))?;
    entry["secret"] = secret.trim_end_matches(['\r', '\n']).replace('$', "$$").into();
    Ok(config.to_string())
}

fn plan(planned: &[Value]) -> String {
    if planned.is_empty() {
        return "nothing to change\n".into();
    }
    format!("{}{}\n", changes::shown(planned), changes::summary(planned))
}

/// Asks only where something goes for good, and somebody can answer.
fn is_wanted(flags: &Flags, planned: &[Value]) -> Result<bool, Failure> {
    let removed = changes::removed(planned);
    if removed == 0 || flags.yes || !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let mut out = std::io::stderr();
    write!(out, "{removed} of these are for good. Type yes to go on: ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn shown(flags: &Flags, answer: &Value) {
    if flags.form.is_json() {
        println!("{answer:#}");
        return;
    }
    if flags.dry_run {
        return;
    }
    if let Some(secrets) = answer["secrets"].as_object().filter(|secrets| !secrets.is_empty()) {
        println!("secrets, shown once:");
        for (key, secret) in secrets {
            println!("  {key}: {}", secret.as_str().unwrap_or_default());
        }
    }
    println!("position {}", answer["position"].as_str().unwrap_or_default());
}
