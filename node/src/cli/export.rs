//! `tollgate export`: the whole configuration back as a file, without secrets.

use super::{
    Failure,
    client::{Client, Connection},
};
use clap::Args;
use std::{io::Write, process::ExitCode};

#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    node: Connection,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let file = Client::open(&flags.node)?.get_as("application/yaml", "export", &[])?;
    std::io::stdout().write_all(&file)?;
    Ok(ExitCode::SUCCESS)
}
