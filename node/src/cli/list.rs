//! Lists as the client verbs show them: as a table, as JSON, as CSV, or row by row as they come.

use super::{
    Failure,
    client::{Client, Parameters, given},
    say::notice,
    table::{Column, table},
    usage::Form,
};
use serde_json::{Value, json};
use std::io::Write;

/// Rows that a page has at most.
const PAGE: u64 = 10_000;
/// Said where rows are left out.
const MORE: &str = "there is more: ask with a larger --limit, or for less";

/// The rows of a page.
pub fn rows(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

/// So many rows of a list, over as many pages as that takes: the first page with the rows of all, and the cursor behind them.
///
/// # Errors
/// See [`Client::get`].
pub fn some(client: &Client, noun: &str, parameters: &Parameters, limit: u64) -> Result<Value, Failure> {
    let (mut whole, mut all) = (Value::Null, Vec::new());
    loop {
        let left = limit.saturating_sub(all.len() as u64);
        let cursor = whole["next_cursor"].as_str().map(str::to_owned);
        let mut parameters = parameters.to_vec();
        parameters.extend(given([("limit", Some(left.clamp(1, PAGE).to_string())), ("cursor", cursor)]));
        let mut page = client.get(noun, &parameters)?;
        if let Value::Array(more) = page["data"].take() {
            all.extend(more);
        }
        if whole.is_null() {
            whole = page;
        } else {
            (whole["next_cursor"], whole["has_more"]) = (page["next_cursor"].take(), page["has_more"].take());
        }
        if whole["next_cursor"].is_null() || all.len() as u64 >= limit {
            whole["data"] = json!(all);
            return Ok(whole);
        }
    }
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
    let found = some(client, noun, parameters, limit.unwrap_or(ROWS))?;
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
