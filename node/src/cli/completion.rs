//! `tollgate completion`: what a shell needs to complete our words.

use super::{Cli, Failure};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::{io::Write, process::ExitCode};

#[derive(Args)]
pub struct Flags {
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "tollgate", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
