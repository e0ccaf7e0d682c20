//! Lists as the client verbs show them: as a table, as JSON, as CSV, or row by row as they come.

use super::{
    Failure,
    client::{Client, Parameters},
    table::{Column, table},
    usage::Form,
};
use serde_json::Value;
use std::io::Write;

/// The rows of a page.
pub fn rows(page: &Value) -> &[Value] {
    page["data"].as_array().map_or(&[], Vec::as_slice)
}

/// Prints one page of a list.
///
/// # Errors
/// See [`Client::get`]; or the output's own.
pub fn print(client: &Client, noun: &str, parameters: &Parameters, columns: &[Column], form: Form) -> Result<(), Failure> {
    match form {
        Form::Csv => std::io::stdout().write_all(&client.get_as("text/csv", noun, parameters)?)?,
        Form::Json => println!("{:#}", client.get(noun, parameters)?),
        Form::Table => print!("{}", table(columns, rows(&client.get(noun, parameters)?))),
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
