//! `tollgate restore`: a data directory is made of a backup, proved while it is written.

use super::{
    Failure,
    backup::{opened, told},
};
use crate::{vault, world::WallClock};
use clap::Args;
use raft::Settings;
use std::{
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use store::RealDisk;

#[derive(Args)]
pub struct Flags {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The file of the identity that opens it.
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The data directory to be made: an empty folder, or none.
    #[arg(long, env = "TOLLGATE_DATA_DIR")]
    data: PathBuf,
    /// The master key of the cluster that was backed up, to be put beside the data; else give it to `serve`.
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let key = flags.master_key_file.as_deref().map(vault::read).transpose()?;
    let mut from = BufReader::new(opened(&flags.from, &flags.identity)?);
    must_be_empty(&flags.data)?;
    let named = |error: std::io::Error| format!("{}: {error}", flags.data.display());
    let disk = Arc::new(RealDisk::new(&flags.data).map_err(named)?);
    let settings = Settings { clock: Arc::new(WallClock), fail_stop: Arc::new(|_| ()), disk_low: 0, disk_ok: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let restored = runtime.block_on(raft::restore(disk, &mut from, settings, &mut |_, _| ()));
    let manifest = restored.map_err(|error| {
        let path = flags.data.display();
        format!("{}: {error}; what was written to {path} is of no use: empty it before another try", flags.from.display())
    })?;
    let with = match &key {
        Some(key) => {
            vault::write(&flags.data, key)?;
            "its master key is beside it"
        }
        None => {
            "start it with the master key of the cluster that was backed up (TOLLGATE_MASTER_KEY[_FILE], or as master.key in it): no other opens its secrets"
        }
    };
    println!("restored to {}: {}", flags.data.display(), told(&manifest));
    println!("What happened behind that position is gone, and the history says so. {with}.");
    Ok(ExitCode::SUCCESS)
}

fn must_be_empty(folder: &Path) -> Result<(), Failure> {
    let is_empty = match std::fs::read_dir(folder) {
        Ok(entries) => entries.count() == 0,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(format!("{}: {error}", folder.display()).into()),
    };
    if is_empty {
        return Ok(());
    }
    Err(format!("{}: there is something in this folder already: a backup is restored into an empty one", folder.display()).into())
}
