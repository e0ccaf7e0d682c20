//! `tollgate explain`: why a call went where it went, and what it cost.

use super::{
    Failure,
    client::{Client, Connection, escaped},
    say::Output,
    table::table,
};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    /// Its id: `x-request-id` of its answer.
    call: String,
    #[command(flatten)]
    form: Output,
    #[command(flatten)]
    node: Connection,
}

/// Exit code 1 if the decision, made again, is another one.
pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let call = Client::open(&flags.node)?.get(&format!("calls/{}/explain", escaped(&flags.call)), &[])?;
    let explanation = &call["explanation"];
    if flags.form.is_json() {
        println!("{call:#}");
    } else {
        print(&call, explanation);
    }
    Ok(if explanation["same"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(call: &Value, explanation: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = |name: &str| explanation[name].as_array().cloned().unwrap_or_default();
    println!(
        "{} {} by {} at {}, policy {}",
        text(&call["id"]),
        text(&call["status"]),
        text(&call["key"]),
        text(&call["at"]),
        text(&explanation["policy"])
    );
    println!(
        "\n{}",
        table(&[("CANDIDATE", "provider"), ("MODEL", "model"), ("PRICED", "priced"), ("LEFT OUT", "left_out")], &rows("candidates"))
    );
    let budgets = [
        ("BUDGET", "id"),
        ("LEVEL", "level"),
        ("NAME", "name"),
        ("UNIT", "unit"),
        ("EVERY", "every"),
        ("LIMIT", "limit"),
        ("SETTLED BEFORE", "before.settled"),
        ("HELD BEFORE", "before.held"),
        ("FREE BEFORE", "before.free"),
        ("HELD", "held"),
    ];
    println!("{}", table(&budgets, &rows("budgets")));
    let attempts =
        [("ATTEMPT", "provider"), ("MODEL", "model"), ("END", "end"), ("STATUS", "status"), ("MS", "total_ms"), ("COST USD", "cost.USD")];
    println!("{}", table(&attempts, &rows("attempts")));
    println!("{}", table(&[("CLASS", "class"), ("COUNT", "count"), ("EACH USD", "each.USD"), ("COST USD", "cost.USD")], &rows("lines")));
    println!("cost {} USD, charged {} USD", text(&call["cost"]["USD"]), text(&call["charge"]["USD"]));
    if call["estimated"] == true {
        println!("its provider did not say what was used: our own count decided, {} USD of it uncertain", text(&call["uncertain"]["USD"]));
    }
    let differences: Vec<String> = explanation["differences"].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default();
    if differences.is_empty() {
        println!("made again, the decision is the same");
    }
    for difference in differences {
        println!("made again, it differs: {difference}");
    }
}
