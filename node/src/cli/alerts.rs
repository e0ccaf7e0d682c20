//! `tollgate alerts`: what operators are told of, the last first; with `--follow` each as it comes.

use super::{
    Failure,
    client::{Client, Connection, given},
    list::{may_follow, print, print_row, rows},
    table::Column,
    usage::Form,
};
use clap::Args;
use serde_json::Value;
use std::{process::ExitCode, time::Duration};

#[derive(Args)]
pub struct Flags {
    /// Shows alerts from now on, each when it comes, until it is told to stop.
    #[arg(long)]
    follow: bool,
    /// budget_threshold, disk_low, …; several separated by commas.
    #[arg(long)]
    kind: Option<String>,
    /// open, closed or all.
    #[arg(long, conflicts_with = "follow")]
    state: Option<String>,
    #[arg(long)]
    tenant: Option<String>,
    /// So long before now, as 90m, 24h or 7d; else all.
    #[arg(long, conflicts_with = "follow")]
    since: Option<String>,
    /// Rows at most; 100 unless said, in CSV 10,000.
    #[arg(long, conflicts_with = "follow")]
    limit: Option<u64>,
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    node: Connection,
}

const COLUMNS: [Column; 6] =
    [("AT", "at"), ("ID", "id"), ("KIND", "kind"), ("STATE", "state"), ("TENANT", "tenant"), ("MESSAGE", "message")];
/// New alerts are asked for so often.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let client = Client::open(&flags.node)?;
    let parameters = given([
        ("kind", flags.kind.clone()),
        ("state", flags.state.clone()),
        ("tenant", flags.tenant.clone()),
        ("since", flags.since.clone()),
    ]);
    if flags.follow {
        return follow(flags, &client);
    }
    print(&client, "alerts", &parameters, flags.limit, &COLUMNS, flags.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows each alert once.
fn follow(flags: &Flags, client: &Client) -> Result<ExitCode, Failure> {
    may_follow(flags.output)?;
    let last = client.get("alerts", &given([("limit", Some("1".into()))]))?;
    let id = |row: Option<&Value>| row.and_then(|row| row["id"].as_str()).map(str::to_owned);
    let mut cursor = id(rows(&last).first());
    loop {
        let found = client.get(
            "alerts",
            &given([
                ("order", Some("time".into())),
                ("cursor", cursor.clone()),
                ("kind", flags.kind.clone()),
                ("tenant", flags.tenant.clone()),
            ]),
        )?;
        for row in rows(&found) {
            print_row(row, &COLUMNS, flags.output);
        }
        cursor = found["next_cursor"].as_str().map(str::to_owned).or_else(|| id(rows(&found).last())).or(cursor);
        if found["next_cursor"].is_null() && rows(&found).is_empty() {
            std::thread::sleep(FOLLOW_EVERY);
        }
    }
}
