//! `tollgate replay`: folds the history of a data directory offline, to any position or time. It changes nothing: what a start would
//! write is kept in memory.

use super::{
    Failure,
    backup::opened,
    client::{Client, Connection, given},
    progress::Progress,
    say::Output,
};
use crate::world::{SystemEntropy, WallClock};
use actors::ports::Entropy;
use clap::Args;
use events::{Position, State, TenantId, Timestamp, cloudevent, envelope::Recorded, money::amount_text};
use journal::{Health, Journal, Reader, backup::Taken, disk::Overlay};
use raft::{RaftJournal, Settings};
use serde_json::{Value, json};
use std::{
    io::{BufReader, BufWriter, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use store::{DataDir, DataDirFault, RealDisk};
use tokio::runtime::Runtime;

#[derive(Args)]
pub struct Flags {
    /// The data directory of a node that does not run, or a copy of one.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
    /// A backup instead; it is unpacked beside other temporary files (TMPDIR), and removed at the end.
    #[arg(long, value_name = "FILE", requires = "identity")]
    backup: Option<PathBuf>,
    /// The file of the identity that opens it.
    #[arg(long, value_name = "FILE", requires = "backup")]
    identity: Option<PathBuf>,
    /// Up to this position (the events before it) or before this time.
    #[arg(long)]
    until: Option<String>,
    /// Only this tenant: its name, or its id.
    #[arg(long)]
    tenant: Option<String>,
    /// Prints the events themselves, as CloudEvents, a line each.
    #[arg(long)]
    events: bool,
    /// How what it comes to is printed.
    #[command(flatten)]
    form: Output,
    /// Compares with this running node, and names the first event that differs.
    #[arg(long, value_name = "URL", requires = "token", conflicts_with_all = ["tenant", "events"])]
    diff: Option<String>,
    /// The administrator's token of that node.
    #[arg(long, env = "TOLLGATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Events that are read at once.
const READ_EVENTS: usize = 10_000;
/// The stores are looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Events that are compared at once.
const COMPARED_EVENTS: usize = 1_000;

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let history = match (&flags.backup, &flags.identity) {
        (Some(path), Some(identity)) => History::unpack(path, identity)?,
        _ => History::open(&flags.data)?,
    };
    let until = flags.until.as_deref().map(Until::parse).transpose()?;
    match &flags.diff {
        Some(url) => diff(&history, url, flags.token.as_deref().unwrap_or_default(), until),
        None => replay(flags, &history, until),
    }
}

/// The journal of a node that does not run, and what drives it.
pub struct History {
    runtime: Runtime,
    journal: RaftJournal,
    /// Removed with this.
    _unpacked: Option<Unpacked>,
}

/// A folder of our own, for as long as this lives.
struct Unpacked(PathBuf);

impl Unpacked {
    fn make() -> std::io::Result<Unpacked> {
        let folder = std::env::temp_dir().join(format!("tollgate-replay-{:032x}", SystemEntropy.draw()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Unpacked(folder))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what cannot be removed is the operating system's to clean up
    }
}

impl History {
    /// Opens everything as a start does, over a disk that keeps what is written to itself.
    pub fn open(data: &Path) -> Result<History, Failure> {
        if !data.is_dir() {
            return Err(format!("{}: there is no such folder", data.display()).into());
        }
        let disk = RealDisk::new(data).map_err(DataDirFault::Io);
        let dir = disk.and_then(|disk| DataDir::open_existing(Arc::new(Overlay::new(Arc::new(disk)))));
        History::of(dir.map_err(|fault| format!("{}: {fault}", data.display()))?, None)
    }

    /// Unpacks a backup, which proves it, and opens what comes of it.
    fn unpack(backup: &Path, identity: &Path) -> Result<History, Failure> {
        let mut from = BufReader::new(opened(backup, identity)?);
        let unpacked = Unpacked::make()?;
        let disk = Arc::new(RealDisk::new(&unpacked.0)?);
        let made = raft::unpack(disk, &mut from, &mut |_, _| ());
        let (dir, _) = made.map_err(|error| format!("{}: {error}", backup.display()))?;
        History::of(dir, Some(unpacked))
    }

    fn of(dir: DataDir, unpacked: Option<Unpacked>) -> Result<History, Failure> {
        let fail_stop = Arc::new(|why: String| tracing::error!(why, "the journal has failed"));
        let settings = Settings { clock: Arc::new(WallClock), fail_stop, disk_low: 0, disk_ok: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let journal = runtime.block_on(RaftJournal::open(dir, settings))?;
        Ok(History { runtime, journal, _unpacked: unpacked })
    }

    /// What a backup is made of, once all that the log has is in the stores.
    pub fn taken(&self) -> Result<(Arc<dyn Reader>, Taken), Failure> {
        let (reader, position) = (self.journal.reader(), journal::look(&self.journal, State::position));
        loop {
            let taken = self.runtime.block_on(async {
                tokio::time::sleep(LOOK_EVERY).await;
                reader.taken()
            })?;
            if taken.n >= position {
                return Ok((reader, taken));
            }
            if let Health::Failed(why) = self.journal.health() {
                return Err(why.into());
            }
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, Failure> {
        Ok(self.runtime.block_on(self.journal.read(from, limit))?)
    }

    /// The name under which the cluster shows itself.
    fn cluster(&self) -> String {
        let name = journal::look(&self.journal, |state| state.desk.notes.get(&events::NoteId::Cluster).cloned());
        name.and_then(|name| String::from_utf8(name).ok()).unwrap_or_default()
    }

    /// By what the whole history knows, as a node tells it: a budget is opened right before the key that it hangs on.
    fn has_wanted(&self, flags: &Flags, record: &Recorded) -> bool {
        let Some(name) = &flags.tenant else { return true };
        journal::look(&self.journal, |state| {
            let is_so_named = |id| state.books.tenants.get(&id).is_some_and(|tenant| tenant.name == *name);
            state.tenant_of_record(record).is_some_and(|id| id.to_string() == *name || is_so_named(id))
        })
    }

    /// With the names of the whole history.
    fn rendered(&self, record: &Recorded, cluster: &str) -> Value {
        journal::look(&self.journal, |state| cloudevent::render(record, state, cluster))
    }
}

/// Where a replay ends.
#[derive(Clone, Copy)]
enum Until {
    Position(u64),
    Time(Timestamp),
}

impl Until {
    fn parse(text: &str) -> Result<Until, Failure> {
        let position = text.parse::<Position>().ok().map(|position| Until::Position(position.n));
        position
            .or_else(|| Timestamp::parse_or_day(text).map(Until::Time))
            .ok_or_else(|| format!("`{text}` is no position such as 0:41, no time and no day").into())
    }

    fn takes(self, record: &Recorded) -> bool {
        match self {
            Until::Position(end) => record.envelope.n < end,
            Until::Time(end) => record.envelope.at < end,
        }
    }
}

fn replay(flags: &Flags, history: &History, until: Option<Until>) -> Result<ExitCode, Failure> {
    let (mut state, mut out) = (State::default(), BufWriter::new(std::io::stdout().lock()));
    if let Some(name) = flags.tenant.as_deref().filter(|_| flags.events) {
        journal::look(&history.journal, |state| find(state, name).map(drop))?;
    }
    let cluster = history.cluster();
    let progress = Progress::start("replay", "events");
    progress.of(journal::look(&history.journal, State::position));
    'all: loop {
        progress.at(state.position());
        let records = history.read(state.position(), READ_EVENTS)?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            if until.is_some_and(|until| !until.takes(record)) {
                break 'all;
            }
            state.replay(record)?;
            if flags.events && history.has_wanted(flags, record) {
                writeln!(out, "{}", history.rendered(record, &cluster))?;
            }
        }
        state.settle();
        state.take_due();
    }
    state.settle();
    drop(progress);
    if !flags.events {
        let tenant = flags.tenant.as_deref().map(|name| find(&state, name)).transpose()?;
        let shown = shown(&state, tenant);
        if flags.form.is_json() { writeln!(out, "{shown:#}")? } else { print(&mut out, &shown)? }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn find(state: &State, name: &str) -> Result<TenantId, Failure> {
    let found = state.books.tenants.iter().find(|(id, tenant)| tenant.name == name || id.to_string() == name);
    found.map(|(id, _)| *id).ok_or_else(|| format!("there is no tenant `{name}` at this position").into())
}

/// What the books come to: of everybody, or of one tenant.
fn shown(state: &State, only: Option<TenantId>) -> Value {
    let books = &state.books;
    let is_wanted = |tenant: Option<TenantId>| only.is_none_or(|only| tenant == Some(only));
    let tenant_name = |id: TenantId| books.tenants.get(&id).map(|tenant| tenant.name.as_str());
    let budgets = books.windows.iter().filter_map(|((id, start), window)| {
        let budget = books.budgets.get(id).filter(|budget| is_wanted(state.tenant_of_owner(budget.identity.owner)))?;
        let (identity, limit) = (&budget.identity, budget.terms.limit);
        let text = |amount| amount_text(identity.unit, amount);
        Some(json!({
            "id": id.to_string(), "owner": identity.owner.to_string(), "name": state.owner_name(identity.owner), "unit": identity.unit.as_str(),
            "every": identity.every.as_str(), "starts_at": start.to_string(), "limit": text(limit), "settled": text(window.settled),
            "held": text(window.held), "free": text(limit - window.settled - window.held), "open_calls": window.open_calls,
        }))
    });
    let usage = books.meters.iter().filter_map(|(id, meter)| {
        let key = books.keys.get(id).filter(|key| is_wanted(Some(key.tenant)))?;
        Some(json!({
            "key": key.name, "key_id": id.to_string(), "tenant": tenant_name(key.tenant),
            "calls": {"open": meter.open, "finished": meter.finished, "orphaned": meter.orphaned, "released": meter.released},
            "tokens": {"input": meter.usage.input, "output": meter.usage.output, "total": meter.usage.tokens()},
            "cost": {"USD": meter.cost.to_string()}, "uncertain": {"USD": meter.uncertain.to_string()},
        }))
    });
    let open = books.open.iter().filter(|(_, open)| is_wanted(Some(open.tenant))).map(|(id, _)| id.to_string());
    json!({
        "object": "replay", "at": Position::new(state.position()).to_string(), "time": state.desk.time().to_string(),
        "books": format!("{:032x}", state.digests().books), "tenants": books.tenants.iter().filter(|(id, _)| is_wanted(Some(**id))).count(),
        "budgets": budgets.collect::<Value>(), "usage": usage.collect::<Value>(), "open_calls": open.collect::<Value>(),
    })
}

fn print(out: &mut impl Write, shown: &Value) -> std::io::Result<()> {
    use super::table::table;
    let rows = |name: &str| shown[name].as_array().cloned().unwrap_or_default();
    let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
    writeln!(out, "{} events, up to {}; books {}", text("at").trim_start_matches("0:"), text("time"), text("books"))?;
    let budgets = [("BUDGET", "id"), ("OWNER", "name"), ("UNIT", "unit"), ("EVERY", "every"), ("FROM", "starts_at"), ("LIMIT", "limit")];
    let figures = [("SETTLED", "settled"), ("HELD", "held"), ("FREE", "free"), ("OPEN", "open_calls")];
    writeln!(out, "\n{}", table(&[budgets.as_slice(), &figures].concat(), &rows("budgets")))?;
    let usage = [("KEY", "key"), ("TENANT", "tenant"), ("CALLS", "calls.finished"), ("OPEN", "calls.open"), ("ORPHANED", "calls.orphaned")];
    let used = [("INPUT", "tokens.input"), ("OUTPUT", "tokens.output"), ("COST USD", "cost.USD")];
    writeln!(out, "{}", table(&[usage.as_slice(), &used].concat(), &rows("usage")))
}

/// Compares each event with a running node's, up to where the shorter history ends, or where it is told.
fn diff(history: &History, url: &str, token: &str, until: Option<Until>) -> Result<ExitCode, Failure> {
    let (client, cluster) = (Client::open(&Connection::new(url, token))?, history.cluster());
    let (mut state, mut theirs_ended) = (State::default(), false);
    let progress = Progress::start("compare", "events");
    progress.of(journal::look(&history.journal, State::position));
    loop {
        let from = state.position();
        progress.at(from);
        let mut records = history.read(from, COMPARED_EVENTS)?;
        let wanted = records.iter().take_while(|record| until.is_none_or(|until| until.takes(record))).count();
        let is_told = wanted < records.len();
        records.truncate(wanted);
        let parameters = given([("from", Some(Position::new(from).to_string())), ("limit", Some(COMPARED_EVENTS.to_string()))]);
        let theirs = client.get_as("application/jsonl", "events", &parameters)?;
        let theirs: Vec<Value> =
            theirs.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice).collect::<Result<_, _>>()?;
        for (record, theirs) in records.iter().zip(&theirs) {
            state.replay(record)?;
            let ours = history.rendered(record, &cluster);
            if ours["id"] != theirs["id"] {
                return Err("the node does not show every event to this token: use one of the platform".into());
            }
            if ours["data"] != theirs["data"]
                || ours["type"] != theirs["type"]
                || ours["time"] != theirs["time"]
                || ours["subject"] != theirs["subject"]
            {
                println!("event {} differs\nhere:  {ours}\nthere: {theirs}", Position::new(record.envelope.n));
                return Ok(ExitCode::FAILURE);
            }
        }
        theirs_ended |= theirs.len() < records.len();
        state.settle();
        state.take_due();
        if is_told || records.is_empty() || theirs_ended {
            let (at, more) = (
                Position::new(state.position()),
                if theirs_ended {
                    "the node has fewer"
                } else if is_told {
                    "what follows was not compared"
                } else if theirs.is_empty() {
                    "both end here"
                } else {
                    "the node has more"
                },
            );
            println!("{} events are the same; {more}; books {:032x} at {at}", state.position(), state.digests().books);
            return Ok(if theirs_ended { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    }
}
