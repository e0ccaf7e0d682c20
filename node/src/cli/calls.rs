//! `tollgate calls`: calls, the last first; with `--follow` each as it ends.

use super::{
    Failure,
    client::{Client, Connection, Parameters, escaped, given},
    list::{may_follow, print, print_row, rows},
    table::Column,
    usage::{Form, Only},
};
use clap::Args;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    process::ExitCode,
    time::{Duration, Instant},
};

#[derive(Args)]
pub struct Flags {
    /// Shows calls from now on, each when it has ended, until it is told to stop.
    #[arg(long)]
    follow: bool,
    /// Shows what was kept of the bodies of this call.
    #[arg(long, value_name = "CALL", conflicts_with = "follow")]
    bodies: Option<String>,
    /// So long before now, as 90m, 24h or 7d; else a day.
    #[arg(long, conflicts_with = "follow")]
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
    /// From this time or day (UTC) on.
    #[arg(long, conflicts_with_all = ["follow", "since"])]
    from: Option<String>,
    /// Before this time or day (UTC).
    #[arg(long, conflicts_with = "follow")]
    until: Option<String>,
    /// Rows at most; 100 unless said, in CSV 10,000.
    #[arg(long, conflicts_with = "follow")]
    limit: Option<u64>,
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
/// A call bears the time at which its head came, and is seen once it is admitted: its body may take a minute. So far back is looked again,
const SWEPT: &str = "2m";
/// so often.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
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
        println!("{:#}", client.get(&format!("calls/{}/bodies", escaped(call)), &[])?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut parameters = given([
        ("since", flags.since.clone()),
        ("from", flags.from.clone()),
        ("until", flags.until.clone()),
        ("status", flags.status.clone()),
    ]);
    parameters.extend(flags.narrowing());
    if flags.follow {
        return follow(flags, &client);
    }
    print(&client, "calls", &parameters, flags.limit, &COLUMNS, flags.output)?;
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Shows each call once, when it is no longer open.
fn follow(flags: &Flags, client: &Client) -> Result<ExitCode, Failure> {
    may_follow(flags.output)?;
    let (swept_since, narrowing) = (given([("since", Some(SWEPT.into()))]), flags.narrowing());
    let (mut seen, mut open, mut swept) = (BTreeSet::new(), BTreeSet::new(), Instant::now());
    // what is there already is not shown, but for the end of what is open
    each(client, &[swept_since.as_slice(), &narrowing].concat(), |row| {
        seen.insert(text(&row["id"]));
        if row["status"] == "open" {
            open.insert(text(&row["id"]));
        }
    })?;
    let mut cursor = match seen.last() {
        Some(last) => Some(last.clone()),
        None => rows(&client.get("calls", &given([("limit", Some("1".into()))]))?).first().map(|row| text(&row["id"])),
    };
    let wanted = |row: &Value| flags.status.as_ref().is_none_or(|wanted| wanted.split(',').any(|status| row["status"] == status));
    loop {
        for row in ended(client, &mut open)?.iter().filter(|row| wanted(row)) {
            print_row(row, &COLUMNS, flags.output);
        }
        let is_sweep = swept.elapsed() >= SWEEP_EVERY;
        let from = if is_sweep { swept_since.clone() } else { given([("cursor", cursor.clone())]) };
        let mut now = BTreeSet::new();
        each(client, &[from.as_slice(), &narrowing].concat(), |row| {
            let id = text(&row["id"]);
            if !seen.contains(&id) {
                if row["status"] == "open" {
                    open.insert(id.clone());
                } else if wanted(row) {
                    print_row(row, &COLUMNS, flags.output);
                }
            }
            now.insert(id);
        })?;
        cursor = now.last().cloned().max(cursor);
        if is_sweep {
            (seen, swept) = (now, Instant::now());
        } else {
            seen.extend(now);
        }
        std::thread::sleep(FOLLOW_EVERY);
    }
}

/// Goes over all rows in the order of their time, a page at a time.
fn each(client: &Client, parameters: &Parameters, mut act: impl FnMut(&Value)) -> Result<(), Failure> {
    const ROWS: u64 = 1_000;
    let parameters = [parameters, &given([("order", Some("time".into()))])].concat();
    client.pages("calls", &parameters, ROWS, |page| {
        rows(&page).iter().for_each(&mut act);
        Some(ROWS)
    })
}

/// Those of the open ones that are open no longer, or are too many to be waited for.
fn ended(client: &Client, open: &mut BTreeSet<String>) -> Result<Vec<Value>, Failure> {
    let mut ended = Vec::new();
    for id in open.clone() {
        let row = client.get(&format!("calls/{id}"), &[])?;
        if row["status"] != "open" || open.len() > WAITED_FOR_MAX {
            open.remove(&id);
            ended.push(row);
        }
    }
    Ok(ended)
}
