//! `tollgate apply`: a configuration file goes to a running node.

use super::Failure;
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
    /// The node's administration address.
    #[arg(long, env = "TOLLGATE_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The administrator's token.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: String,
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(post(flags, filled))?;
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if status != http::StatusCode::OK {
        let message = answer["error"]["message"].as_str().unwrap_or("the node did not say why");
        return Err(format!("{status}: {message}").into());
    }
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

async fn post(flags: &Flags, body: String) -> Result<(http::StatusCode, bytes::Bytes), Failure> {
    let mut query = Vec::new();
    if flags.dry_run {
        query.push("dry_run");
    }
    if flags.prune {
        query.push("prune");
    }
    let path = if query.is_empty() { "/api/v1/apply".to_owned() } else { format!("/api/v1/apply?{}", query.join("&")) };
    let setup = egress::Setup::load(egress::Outbound::from_vars(|name| std::env::var(name).ok())?)?;
    let wire = egress::Egress::new(setup);
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::AUTHORIZATION, http::HeaderValue::try_from(format!("Bearer {}", flags.token))?);
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/yaml"));
    let wait = std::time::Duration::from_secs(60);
    let request = actors::ports::WireRequest {
        upstream: std::sync::Arc::new(actors::ports::UpstreamAddress {
            id: 0,
            base_url: flags.url.trim_end_matches('/').to_owned(),
            tenant_set: false,
        }),
        path,
        headers,
        body: vec![body.into()],
        deadlines: actors::ports::Deadlines { connect: wait, first_byte: wait, silence: wait },
    };
    let mut answer = actors::ports::Wire::send(&wire, request).await.map_err(|fault| format!("{}: {fault}", flags.url))?;
    let mut body = bytes::BytesMut::new();
    while let Some(piece) = std::future::poll_fn(|context| answer.body.poll_next(context)).await {
        body.extend_from_slice(&piece.map_err(|fault| fault.to_string())?);
    }
    Ok((answer.status, body.freeze()))
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
