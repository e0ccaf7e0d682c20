//! `tollgate verify`: checks log, state, history, tree and projections, or a backup, and names what is damaged.

use super::{Failure, backup, progress::Progress, say::Output};
use crate::vault::Vault;
use actors::ports::Vault as _;
use clap::Args;
use events::NoteId;
use journal::{
    ReadFault, Reader,
    disk::Overlay,
    history::{History, HistoryReader},
    verify::Findings,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use store::{DataDir, DataDirFault, RealDisk};

#[derive(Args)]
pub struct Flags {
    /// The data directory of a node that does not run.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
    /// A backup instead.
    #[arg(long, value_name = "FILE", requires = "identity")]
    backup: Option<PathBuf>,
    /// The file of the identity that opens it.
    #[arg(long, value_name = "FILE", requires = "backup")]
    identity: Option<PathBuf>,
    /// Makes the rows of projections anew in memory, and compares.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    form: Output,
}

/// Damaged places that are told one by one.
const LINES_MAX: usize = 50;

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    match (&flags.backup, &flags.identity) {
        (Some(path), Some(identity)) => {
            let manifest = backup::check(path, identity)?;
            if flags.form.is_json() {
                let (head, books) = (manifest.head_text(), format!("{:032x}", manifest.digests.books));
                let what = json!({"object": "verification", "whole": true, "events": manifest.n, "head": head, "books": books});
                println!("{what:#}");
            } else {
                println!("whole: {}", backup::told(&manifest));
            }
            Ok(ExitCode::SUCCESS)
        }
        _ => directory(flags),
    }
}

fn directory(flags: &Flags) -> Result<ExitCode, Failure> {
    let named = |fault: DataDirFault| format!("{}: {fault}", flags.data.display());
    if !flags.data.is_dir() {
        return Err(format!("{}: there is no such folder", flags.data.display()).into());
    }
    let dir =
        RealDisk::new(&flags.data).map_err(DataDirFault::Io).and_then(|disk| DataDir::open_existing(Arc::new(disk))).map_err(named)?;
    quieten();
    let progress = Progress::start("verify", "events");
    let report = raft::verify(&dir);
    let mut notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
    notes.extend(projections(&dir, flags.deep, report.damages.is_empty())?);
    drop(progress);
    let key = key(&dir, &flags.data);
    let damages: Vec<String> = report.damages.iter().map(ToString::to_string).chain(key.clone()).collect();
    let code = if damages.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if flags.form.is_json() {
        println!(
            "{:#}",
            json!({
                "object": "verification", "whole": damages.is_empty(), "events": report.events, "head": report.head,
                "books": format!("{:032x}", report.books), "entries": report.entries, "damages": damages, "notes": notes,
            })
        );
        return Ok(code);
    }
    notes.iter().for_each(|note| println!("note: {note}"));
    damages.iter().take(LINES_MAX).for_each(|damage| println!("damaged: {damage}"));
    if let Some(more) = damages.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        println!("… and {more} more; `-o json` names all");
    }
    if damages.is_empty() {
        println!(
            "whole: {} events, tree head {}, books {:032x}, {} entries in the log",
            report.events, report.head, report.books, report.entries
        );
    } else if !report.damages.is_empty() {
        println!("{} places are damaged: restore this node from a backup, or from the other members", report.damages.len());
    }
    Ok(code)
}

/// The engine of rows panics over some damage. It is caught where that happens, and told as damage: not as a panic as well.
fn quieten() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.location().is_some_and(|at| at.file().contains("redb")) {
            loud(panic);
        }
    }));
}

/// What is wrong with the master key beside the data, if there is one: it must open what it sealed.
fn key(dir: &DataDir, folder: &Path) -> Option<String> {
    let path = folder.join("master.key");
    if !path.exists() {
        return None;
    }
    let vault = match Vault::of_file(&path) {
        Ok(vault) => vault,
        Err(fault) => return Some(fault.to_string()),
    };
    let stored = store::verify::state(&Overlay::new(dir.state.clone()), &mut Findings::default())?;
    let state = stored.state().ok()?;
    let closed = state.desk.notes.iter().find_map(|(id, note)| match id {
        NoteId::ProviderSecret(provider) if vault.unseal(*provider, note).is_none() => Some(*provider),
        _ => None,
    });
    closed.map(|provider| format!("{}: it does not open the secret of provider {provider}", path.display()))
}

/// What the history holds on disk, without what only the log has.
struct OnDisk(HistoryReader);

impl Reader for OnDisk {
    fn end(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<events::envelope::Recorded>, ReadFault> {
        const READ_BYTES: usize = 8 << 20;
        self.0.read(from, limit, READ_BYTES).map_err(|error| ReadFault(error.to_string()))
    }
}

/// What is wrong with projections, under glass: they are built anew by the next start, so it is no reason to restore. Held against the
/// history where that is whole.
fn projections(dir: &DataDir, deep: bool, history_is_whole: bool) -> Result<Vec<String>, Failure> {
    let history = history_is_whole.then(|| History::open(Arc::new(Overlay::new(dir.history.clone())))).transpose()?;
    let reader = history.map(|(history, _)| OnDisk(history.reader()));
    let found = projections::verify(&dir.root, reader.as_ref().map(|reader| reader as &dyn Reader), deep)?;
    Ok(found.into_iter().map(|damage| format!("{damage}: the next start builds it anew")).collect())
}
