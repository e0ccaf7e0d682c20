//! `tollgate usage`: what was used, by any dimension.

use super::{
    Failure,
    client::{Client, Connection, given},
    list::print,
    table::Column,
};
use clap::{Args, ValueEnum};
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    /// Dimensions, separated by commas: tenant, scope, key, user, model, provider, tag.
    #[arg(long, value_delimiter = ',')]
    by: Vec<String>,
    /// So long before now, as 90m, 24h or 7d; else this month.
    #[arg(long, conflicts_with = "from")]
    since: Option<String>,
    /// From this time or day on (UTC).
    #[arg(long)]
    from: Option<String>,
    /// Before this time or day (UTC).
    #[arg(long)]
    until: Option<String>,
    /// A row for each hour, day or month.
    #[arg(long)]
    step: Option<String>,
    #[command(flatten)]
    only: Only,
    /// time, name, -cost, -tokens or -calls.
    #[arg(long, allow_hyphen_values = true)]
    order: Option<String>,
    /// Rows at most; 1,000 unless said, in CSV 10,000.
    #[arg(long)]
    limit: Option<u64>,
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    node: Connection,
}

/// What is counted; several names separated by commas.
#[derive(Args)]
pub struct Only {
    #[arg(long)]
    tenant: Option<String>,
    /// With everything below it.
    #[arg(long)]
    scope: Option<String>,
    #[arg(long)]
    key: Option<String>,
    /// For whom calls were made: a name as the caller gave it, or a pseudonym.
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    model: Option<String>,
    #[arg(long)]
    provider: Option<String>,
    /// As app=search.
    #[arg(long)]
    tag: Option<String>,
}

impl Only {
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        given([
            ("tenant", self.tenant.clone()),
            ("scope", self.scope.clone()),
            ("key", self.key.clone()),
            ("user", self.user.clone()),
            ("model", self.model.clone()),
            ("provider", self.provider.clone()),
            ("tag", self.tag.clone()),
        ])
    }
}

/// How rows are shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    Table,
    Json,
    Csv,
}

const FIGURES: [Column; 6] = [
    ("CALLS", "calls.finished"),
    ("FAILED", "calls.failed"),
    ("INPUT", "tokens.input"),
    ("OUTPUT", "tokens.output"),
    ("TOKENS", "tokens.total"),
    ("COST USD", "cost.USD"),
];
const NAMES: [Column; 7] = [
    ("TENANT", "tenant"),
    ("SCOPE", "scope"),
    ("KEY", "key"),
    ("USER", "user"),
    ("MODEL", "model"),
    ("PROVIDER", "provider"),
    ("TAG", "tag"),
];

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let client = Client::open(&flags.node)?;
    let by = (!flags.by.is_empty()).then(|| flags.by.join(","));
    let mut parameters = given([
        ("group_by", by),
        ("since", flags.since.clone()),
        ("from", flags.from.clone()),
        ("until", flags.until.clone()),
        ("step", flags.step.clone()),
        ("order", flags.order.clone()),
    ]);
    parameters.extend(flags.only.parameters());
    let times = flags.step.iter().map(|_| ("START", "start"));
    let names = NAMES.into_iter().filter(|(_, name)| flags.by.iter().any(|by| by.trim() == *name));
    let columns: Vec<Column> = times.chain(names).chain(FIGURES).collect();
    const ROWS: u64 = 1_000;
    let limit = flags.limit.or((flags.output != Form::Csv).then_some(ROWS));
    print(&client, "usage", &parameters, limit, &columns, flags.output)?;
    Ok(ExitCode::SUCCESS)
}
