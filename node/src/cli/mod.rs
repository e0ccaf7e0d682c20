//! The command line.

mod apply;
mod provider_sim;
mod serve;
mod verify;
mod version;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The AI gateway whose budgets hold.
#[derive(Parser)]
#[command(name = "tollgate", version, about)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Runs a node.
    Serve(serve::Flags),
    /// Applies a configuration file to a running node.
    Apply(apply::Flags),
    /// Checks a data directory and names what is damaged.
    Verify(verify::Flags),
    /// Runs a provider of our own, for first steps, load and faults.
    ProviderSim(::provider_sim::Flags),
    /// Prints the version.
    Version,
}

/// Runs the verb; an error goes to stderr, in one line, and makes the exit code 1.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.verb {
        Verb::Serve(flags) => serve::run(flags),
        Verb::Apply(flags) => apply::run(&flags),
        Verb::Verify(flags) => verify::run(&flags),
        Verb::ProviderSim(flags) => provider_sim::run(&flags),
        Verb::Version => version::run(),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            eprintln!("tollgate: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Why a verb could not do its work.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
