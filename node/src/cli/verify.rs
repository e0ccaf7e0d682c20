//! `tollgate verify`: checks log, state, history and tree, and names what is damaged.

use super::{Failure, progress::Progress, say::Output};
use clap::Args;
use serde_json::json;
use std::{path::PathBuf, process::ExitCode, sync::Arc};
use store::{DataDir, DataDirFault, RealDisk};

#[derive(Args)]
pub struct Flags {
    /// The data directory of a node that does not run.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
    #[command(flatten)]
    form: Output,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let named = |fault: DataDirFault| format!("{}: {fault}", flags.data.display());
    if !flags.data.is_dir() {
        return Err(format!("{}: there is no such folder", flags.data.display()).into());
    }
    let dir =
        RealDisk::new(&flags.data).map_err(DataDirFault::Io).and_then(|disk| DataDir::open_existing(Arc::new(disk))).map_err(named)?;
    let progress = Progress::start("verify", "events");
    let report = raft::verify(&dir);
    drop(progress);
    if flags.form.is_json() {
        let (notes, damages) = (report.notes.iter().map(ToString::to_string), report.damages.iter().map(ToString::to_string));
        println!(
            "{:#}",
            json!({
                "object": "verification", "whole": report.damages.is_empty(), "events": report.events, "head": report.head,
                "books": format!("{:032x}", report.books), "entries": report.entries,
                "damages": damages.collect::<Vec<_>>(), "notes": notes.collect::<Vec<_>>(),
            })
        );
        return Ok(if report.damages.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for note in &report.notes {
        println!("note: {note}");
    }
    for damage in &report.damages {
        println!("damaged: {damage}");
    }
    if !report.damages.is_empty() {
        println!("{} places are damaged: restore this node from a backup, or from the other members", report.damages.len());
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "whole: {} events, tree head {}, books {:032x}, {} entries in the log",
        report.events, report.head, report.books, report.entries
    );
    Ok(ExitCode::SUCCESS)
}
