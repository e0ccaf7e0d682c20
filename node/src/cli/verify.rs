//! `tollgate verify`: checks log, state, history and tree, and names what is damaged.

use super::Failure;
use clap::Args;
use std::{path::PathBuf, process::ExitCode, sync::Arc};
use store::{DataDir, DataDirFault, RealDisk};

#[derive(Args)]
pub struct Flags {
    /// The data directory of a node that does not run.
    #[arg(long, env = "TOLLGATE_DATA_DIR", default_value = "./tollgate-data")]
    data: PathBuf,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let named = |fault: DataDirFault| format!("{}: {fault}", flags.data.display());
    if !flags.data.is_dir() {
        return Err(format!("{}: there is no such folder", flags.data.display()).into());
    }
    let dir = RealDisk::new(&flags.data).map_err(DataDirFault::Io).and_then(|disk| DataDir::open_existing(Arc::new(disk))).map_err(named)?;
    let report = raft::verify(&dir);
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
    println!("whole: {} events, tree head {}, books {:032x}, {} entries in the log", report.events, report.head, report.books, report.entries);
    Ok(ExitCode::SUCCESS)
}
