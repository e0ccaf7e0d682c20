//! Lists as the client verbs show them: as a table, as JSON, as CSV, or row by row as they come.

use super::{
    Failure,
    client::{Client, Parameters, given},
    say::notice,
    table::{Column, table},
    usage::Form,
};
use serde_json::Value;
use std::io::Write;

/// Said where rows are left out.
const MORE: &str = "there is more: ask with a larger --limit, or for less";

/// The rows of a page.
pub fn rows(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

/// Prints a list, so many rows at most; says so, if there are more.
///
/// # Errors
/// See [`Client::get`]; or the output's own.
pub fn print(
    client: &Client,
    noun: &str,
    parameters: &Parameters,
    limit: Option<u64>,
    columns: &[Column],
    form: Form,
) -> Result<(), Failure> {
    if form == Form::Csv {
        let mut parameters = parameters.to_vec();
        parameters.extend(given([("limit", limit.map(|limit| limit.to_string()))]));
        let (text, is_whole) = client.csv(noun, &parameters)?;
        std::io::stdout().write_all(&text)?;
        if !is_whole {
            notice("there is more: a file has 10,000 rows; ask for less, or for one time after the other");
        }
        return Ok(());
    }
    const ROWS: u64 = 100;
    let found = client.some(noun, parameters, limit.unwrap_or(ROWS))?;
    match form {
        Form::Json => println!("{found:#}"),
        _ => print!("{}", table(columns, rows(&found))),
    }
    if form == Form::Table && !found["next_cursor"].is_null() {
        notice(MORE);
    }
    Ok(())
}

/// Prints one row alone, without a head.
pub fn print_row(row: &Value, columns: &[Column], form: Form) {
    match form {
        Form::Table => println!("{}", table(columns, std::slice::from_ref(row)).lines().last().unwrap_or_default()),
        Form::Json | Form::Csv => println!("{row}"),
    }
}

/// What is shown row by row has no table around it.
///
/// # Errors
/// CSV is asked for.
pub fn may_follow(form: Form) -> Result<(), Failure> {
    if form == Form::Csv { Err("--follow shows lines, or JSON: not CSV".into()) } else { Ok(()) }
}
