//! `tollgate diff`: what a file would change, field by field.

use super::{
    Failure, changes,
    client::{Client, Connection, given},
    say::{self, Output},
};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
pub struct Flags {
    /// The configuration; `-` reads it from standard input.
    #[arg(short = 'f', long = "file")]
    file: PathBuf,
    /// As if what the file does not name were closed and revoked.
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

/// As `diff` itself: exit code 0 nothing, 1 differences, 2 it could not be told.
pub fn run(flags: &Flags) -> ExitCode {
    match differences(flags) {
        Ok(differs) => ExitCode::from(u8::from(differs)),
        Err(why) if say::is_reader_gone(&why) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("tollgate: {why}");
            ExitCode::from(2)
        }
    }
}

fn differences(flags: &Flags) -> Result<bool, Failure> {
    let config = changes::filled(&changes::read(&flags.file)?)?;
    let parameters = given([("dry_run", Some("true".into())), ("prune", flags.prune.then(|| "true".into()))]);
    let answer = Client::open(&flags.node)?.post("apply", &parameters, config.into())?;
    let found = answer["changes"].as_array().map_or(&[][..], Vec::as_slice);
    if flags.form.is_json() {
        println!("{answer:#}");
    } else {
        print!("{}", changes::shown(found));
    }
    Ok(!found.is_empty())
}
