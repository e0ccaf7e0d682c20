//! `tollgate rebuild`: a projection is built anew while the node serves.

use super::{
    Failure,
    client::{Client, Connection, escaped, given},
    progress::Progress,
    say::Output,
};
use bytes::Bytes;
use clap::Args;
use std::{process::ExitCode, time::Duration};

#[derive(Args)]
pub struct Flags {
    /// usage, calls, budgets, audit, providers or alerts.
    name: String,
    /// Does not wait until it is done.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let client = Client::open(&flags.node)?;
    let path = format!("projections/{}", escaped(&flags.name));
    let before = client.get(&path, &[])?["rebuilds"].as_u64();
    client.post(&format!("{path}/rebuild"), &[], Bytes::new())?;
    if flags.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = Progress::start("rebuild", "events");
    loop {
        let now = client.get(&path, &[])?;
        if now["rebuilds"].as_u64() > before {
            drop(progress);
            let digest = client.get(&path, &given([("digest", Some("true".into()))]))?;
            let (at, hex) = (digest["digest"]["at"].as_str().unwrap_or_default(), digest["digest"]["sha256"].as_str().unwrap_or_default());
            if flags.form.is_json() {
                println!("{digest:#}");
                return Ok(ExitCode::SUCCESS);
            }
            println!("{} is built anew; rows at {at}: sha256 {hex}", flags.name);
            return Ok(ExitCode::SUCCESS);
        }
        if now["status"] != "rebuilding" {
            return Err(format!("{}: {}", flags.name, now["why"].as_str().unwrap_or("it was not built anew; did the node restart?")).into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
