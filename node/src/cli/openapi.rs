//! `tollgate openapi`: the OpenAPI document of administration, without a node.

use super::Failure;
use std::{
    io::{self, Write},
    process::ExitCode,
};

pub fn run() -> Result<ExitCode, Failure> {
    io::stdout().write_all(ingress::openapi().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
