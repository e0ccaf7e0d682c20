//! `tollgate proof`: whether the books close now, budget by budget.

use super::{
    Failure,
    client::{Client, Connection},
    say::Output,
    table::{Column, table},
};
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

const COLUMNS: [Column; 10] = [
    ("BUDGET", "id"),
    ("OWNER", "owner_id"),
    ("UNIT", "unit"),
    ("EVERY", "every"),
    ("LIMIT", "limit"),
    ("SETTLED", "settled"),
    ("HELD", "held"),
    ("FREE", "free"),
    ("RECORDS", "records"),
    ("RESIDUAL", "residual"),
];

/// Exit code 1 if they do not close.
pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let proof = Client::open(&flags.node)?.get("ledger/proof", &[])?;
    let closes = proof["closes"] == true;
    if flags.form.is_json() {
        println!("{proof:#}");
    } else {
        print!("{}", table(&COLUMNS, proof["budgets"].as_array().map_or(&[], Vec::as_slice)));
        let (at, open) = (proof["at"].as_str().unwrap_or_default(), &proof["open_calls"]);
        println!("{} at {at}, {open} calls open", if closes { "the books close" } else { "THE BOOKS DO NOT CLOSE" });
    }
    Ok(if closes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
