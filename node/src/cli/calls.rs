//! `tollgate calls`: calls, the last first; with `--follow` each as it ends.

use super::{
    Failure,
    client::{Client, Connection, given},
    list::{print, print_row, rows},
    table::Column,
    usage::{Form, Only},
};
use clap::Args;
use serde_json::Value;
use std::{collections::BTreeSet, process::ExitCode, time::Duration};

#[derive(Args)]
pub struct Flags {
    /// Shows calls from now on, each when it has ended, until it is told to stop.
    #[arg(long)]
    follow: bool,
    /// Shows what was kept of the bodies of this call.
    #[arg(long, value_name = "CALL", conflicts_with = "follow")]
    bodies: Option<String>,
    /// So long before now, as 90m, 24h or 7d; else a day.
    #[arg(long)]
    since: Option<String>,
    /// open, ok, failed, aborted, released, orphaned; several separated by commas.
    #[arg(long)]
    status: Option<String>,
    #[command(flatten)]
    only: Only,
    /// The caller's own name of its request, as it sent it in x-request-id.
    #[arg(long)]
    request_id: Option<String>,
    /// Of the W3C trace that calls belong to.
    #[arg(long)]
    trace_id: Option<String>,
    /// Rows at most.
    #[arg(long, default_value_t = 100)]
    limit: u64,
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    node: Connection,
}

const COLUMNS: [Column; 11] = [
    ("AT", "at"),
    ("CALL", "id"),
    ("STATUS", "status"),
    ("TENANT", "tenant"),
    ("KEY", "key"),
    ("MODEL", "model"),
    ("PROVIDER", "provider"),
    ("MS", "total_ms"),
    ("INPUT", "tokens.input"),
    ("OUTPUT", "tokens.output"),
    ("COST USD", "cost.USD"),
];
/// New calls are asked for so often.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);
/// Calls that are waited for at most; what is older than so many is shown as it is.
const WAITED_FOR_MAX: usize = 1_000;

impl Flags {
    /// Which calls are meant, whenever they come.
    fn narrowing(&self) -> Vec<(&'static str, String)> {
        let mut parameters = given([("request_id", self.request_id.clone()), ("trace_id", self.trace_id.clone())]);
        parameters.extend(self.only.parameters());
        parameters
    }
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let client = Client::open(&flags.node)?;
    if let Some(call) = &flags.bodies {
        println!("{:#}", client.get(&format!("calls/{call}/bodies"), &[])?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut parameters =
        given([("since", flags.since.clone()), ("status", flags.status.clone()), ("limit", Some(flags.limit.to_string()))]);
    parameters.extend(flags.narrowing());
    if flags.follow {
        return follow(flags, &client);
    }
    print(&client, "calls", &parameters, &COLUMNS, flags.output)?;
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Shows each call once, when it is no longer open.
fn follow(flags: &Flags, client: &Client) -> Result<ExitCode, Failure> {
    let last = client.get("calls", &given([("limit", Some("1".into()))]))?;
    let mut cursor = rows(&last).first().map(|row| text(&row["id"]));
    let mut open: BTreeSet<String> = BTreeSet::new();
    loop {
        let mut parameters = given([("order", Some("time".into())), ("limit", Some("1000".into())), ("cursor", cursor.clone())]);
        parameters.extend(flags.narrowing());
        let found = client.get("calls", &parameters)?;
        cursor = rows(&found).last().map(|row| text(&row["id"])).or(cursor);
        let mut ended = Vec::new();
        for id in open.clone() {
            let row = client.get(&format!("calls/{id}"), &[])?;
            if row["status"] != "open" || open.len() > WAITED_FOR_MAX {
                open.remove(&id);
                ended.push(row);
            }
        }
        for row in rows(&found) {
            if row["status"] == "open" {
                open.insert(text(&row["id"]));
            } else {
                ended.push(row.clone());
            }
        }
        let wanted = |row: &&Value| flags.status.as_ref().is_none_or(|wanted| wanted.split(',').any(|status| row["status"] == status));
        for row in ended.iter().filter(wanted) {
            print_row(row, &COLUMNS, flags.output);
        }
        if rows(&found).is_empty() {
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
}
