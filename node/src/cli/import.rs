//! `tollgate import`: another gateway's configuration becomes one of ours.

use super::Failure;
use clap::{Args, ValueEnum};
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
pub struct Flags {
    /// Whose configuration it is.
    #[arg(value_enum)]
    from: From,
    /// The configuration.
    file: PathBuf,
    /// Fails where something could not be taken over.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// A LiteLLM proxy's `config.yaml`.
    Litellm,
}

/// Our file goes to standard output, what was left to standard error.
pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let text = std::fs::read_to_string(&flags.file).map_err(|error| format!("{}: {error}", flags.file.display()))?;
    let From::Litellm = flags.from;
    let imported = cluster_config::litellm::import(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("  {}: {}", problem.path, problem.message)).collect();
        format!("{} cannot be read:\n{}", flags.file.display(), lines.join("\n"))
    })?;
    print!("{}", imported.yaml);
    if !imported.left.is_empty() {
        eprintln!("{} things were not taken over, or not as they were:", imported.left.len());
        for left in &imported.left {
            eprintln!("  {}: {}", left.path, left.message);
        }
    }
    Ok(if flags.strict && !imported.left.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
