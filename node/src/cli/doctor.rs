//! `tollgate doctor`: what a node needs here, and what to do where it is missing. It changes nothing.

mod address;
mod clock;
mod config;
mod data;
mod host;
mod master_key;
mod providers;

use super::{
    Failure,
    client::Connection,
    say::{Colour, Output, coloured},
    table::printable,
};
use actors::ports::{Deadlines, UpstreamAddress, Wire as _, WireFault, WireRequest};
use bytes::Bytes;
use clap::Args;
use egress::{Egress, Outbound, Setup};
use events::limits;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use std::{future::poll_fn, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

#[derive(Args)]
pub struct Flags {
    /// The data directory, of a node that runs or does not.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
    /// The configuration; else providers are those of the node, if it can be asked, or those that the environment names.
    #[arg(short = 'f', long = "file")]
    file: Option<PathBuf>,
    /// Where callers are to be served.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// Where administration is to be served, if elsewhere.
    #[arg(long)]
    admin_listen: Option<SocketAddr>,
    /// Below so many MiB of free disk a node admits nothing.
    #[arg(long, default_value_t = limits::DISK_LOW >> 20)]
    disk_low_mib: u64,
    /// Asks no provider.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Check {
    status: Status,
    what: String,
    /// What to do; empty: nothing.
    todo: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
        }
    }
}

fn ok(what: impl Into<String>) -> Check {
    Check { status: Status::Ok, what: what.into(), todo: String::new() }
}

fn warn(what: impl Into<String>, todo: impl Into<String>) -> Check {
    Check { status: Status::Warn, what: what.into(), todo: todo.into() }
}

fn fail(what: impl Into<String>, todo: impl Into<String>) -> Check {
    Check { status: Status::Fail, what: what.into(), todo: todo.into() }
}

impl Check {
    fn line(&self) -> String {
        let colour = match self.status {
            Status::Ok => Colour::Green,
            Status::Warn => Colour::Yellow,
            Status::Fail => Colour::Red,
        };
        let todo = if self.todo.is_empty() { String::new() } else { format!("  — {}", printable(&self.todo)) };
        format!("{}  {}{todo}", coloured(colour, &format!("{:4}", self.status.as_str())), printable(&self.what))
    }

    fn json(&self) -> Value {
        json!({"object": "check", "status": self.status.as_str(), "what": self.what, "todo": self.todo})
    }
}

/// Exit code 1 if anything fails.
pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let (asker, mut checks) = Asker::open()?;
    let (node, found) = address::check(flags, &asker);
    checks.extend(found);
    checks.extend(data::check(flags, node.is_some()));
    checks.extend(host::check());
    let (config, found) = config::check(flags);
    checks.extend(found);
    let (dates, found) = providers::check(flags, config.as_ref(), &asker);
    checks.extend(found);
    checks.extend(clock::check(node.into_iter().chain(dates).collect()));
    let is_bad = checks.iter().any(|check| check.status == Status::Fail);
    if flags.form.is_json() {
        println!(
            "{:#}",
            json!({"object": "list", "data": checks.iter().map(Check::json).collect::<Value>(), "has_more": false, "next_cursor": null})
        );
    } else {
        checks.iter().for_each(|check| println!("{}", check.line()));
    }
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// An answer waits so long.
const WAIT: Duration = Duration::from_secs(10);
/// An answer is read so far: who answers more is not asked for it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Asks as a node does: over its dialler, its proxies and its roots of trust.
struct Asker {
    runtime: Runtime,
    wire: Egress,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Asker {
    fn open() -> Result<(Asker, Vec<Check>), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let vars = |name: &str| std::env::var(name).ok();
        let read = Outbound::from_vars(vars)
            .map_err(|fault| fault.to_string())
            .and_then(|outbound| Setup::load(outbound).map_err(|fault| fault.to_string()));
        let (setup, check) = match read {
            Ok(setup) => (setup, ok("proxy variables and roots of trust can be read")),
            Err(why) => {
                let check = fail(
                    format!("proxies or roots of trust: {why}"),
                    "correct the variable, or leave it out; a node does not start like this",
                );
                (Setup::load(Outbound::default())?, check)
            }
        };
        Ok((Asker { runtime, wire: Egress::new(setup) }, vec![check]))
    }

    /// `GET base_url/path`, with no key.
    fn get(&self, base_url: &str, path: &str) -> Result<Answer, WireFault> {
        let upstream = Arc::new(UpstreamAddress { id: 0, base_url: base_url.trim_end_matches('/').to_owned(), tenant_set: false });
        let deadlines = Deadlines { connect: WAIT, first_byte: WAIT, silence: WAIT };
        let request = WireRequest {
            upstream,
            method: Method::GET,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: vec![Bytes::new()],
            deadlines,
        };
        self.runtime.block_on(async {
            let mut answer = self.wire.send(request).await?;
            let mut body = Vec::new();
            while let Some(Ok(piece)) = poll_fn(|context| answer.body.poll_next(context)).await {
                body.extend_from_slice(&piece);
                if body.len() > ANSWER_BYTES_MAX {
                    break;
                }
            }
            Ok(Answer { status: answer.status, headers: answer.headers, body })
        })
    }
}
