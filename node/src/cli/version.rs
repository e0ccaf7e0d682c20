//! `tollgate version`.

use super::Failure;
use std::process::ExitCode;

pub fn run() -> Result<ExitCode, Failure> {
    println!("tollgate {}", env!("CARGO_PKG_VERSION"));
    Ok(ExitCode::SUCCESS)
}
