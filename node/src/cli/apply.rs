//! `tollgate apply`: a configuration file goes to a running node.

use super::{
    Failure,
    client::{Client, Connection},
};
use clap::Args;
use std::{io::Read, path::PathBuf, process::ExitCode};

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
    /// Read the secret of this key from standard input; it takes the place of `secret:` in the file.
    #[arg(long, value_name = "KEY")]
    secret_stdin: Option<String>,
    #[command(flatten)]
    node: Connection,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let text = read(flags)?;
    let vars = |name: &str| std::env::var(name).ok();
    let mut filled = cluster_config::fill(&text, &vars).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {}: {}", problem.path, problem.message)).collect();
        format!("the configuration has {} problems:\n{}", problems.len(), lines.join("\n"))
    })?;
    if let Some(key) = &flags.secret_stdin {
        filled = with_secret(&filled, key)?;
    }
    let on = |name: &'static str, is_on: bool| is_on.then(|| (name, "true".to_owned()));
    let query: Vec<_> = [on("dry_run", flags.dry_run), on("prune", flags.prune)].into_iter().flatten().collect();
    let answer = Client::open(&flags.node)?.post("apply", &query, filled.into())?;
    show(&answer, flags.dry_run);
    Ok(ExitCode::SUCCESS)
}

fn read(flags: &Flags) -> Result<String, Failure> {
    if flags.file.as_os_str() != "-" {
        return std::fs::read_to_string(&flags.file).map_err(|error| format!("{}: {error}", flags.file.display()).into());
    }
    if flags.secret_stdin.is_some() {
        return Err("the file and the secret cannot both come from standard input".into());
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

fn with_secret(config: &str, key: &str) -> Result<String, Failure> {
    let mut config: serde_json::Value = serde_json::from_str(config)?;
    let mut secret = String::new();
    std::io::stdin().read_to_string(&mut secret)?;
    let keys = config.get_mut("keys").and_then(serde_json::Value::as_array_mut);
    let found = keys.and_then(|keys| keys.iter_mut().find(|entry| entry["name"] == key));
    let entry = found.ok_or_else(|| format!("the file has no key `{key}`"))?;
    entry["secret"] = secret.trim_end_matches(['\r', '\n']).replace('$', "$$").into();
    Ok(config.to_string())
}

fn show(answer: &serde_json::Value, dry_run: bool) {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let changes = answer["changes"].as_array().cloned().unwrap_or_default();
    for change in &changes {
        println!("{} {} {}", text(&change["op"]), text(&change["kind"]), text(&change["name"]));
    }
    if changes.is_empty() {
        println!("nothing to change");
    }
    if let Some(secrets) = answer["secrets"].as_object().filter(|secrets| !secrets.is_empty()) {
        println!("secrets, shown once:");
        for (key, secret) in secrets {
            println!("  {key}: {}", text(secret));
        }
    }
    if !dry_run {
        println!("position {}", text(&answer["position"]));
    }
}
