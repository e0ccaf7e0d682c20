//! `tollgate get`: what there is of a kind, as a table, JSON, or the YAML of a configuration file.

use super::{
    Failure,
    client::{Client, Connection, given},
    kinds::{self, Kind},
    say::notice,
    table::table,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Args)]
pub struct Flags {
    /// Singular or short, too: ten, sc, k, prov, mod, hook, tok, bud.
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    listed: Listed,
}

/// Which of them, and how.
#[derive(Args)]
pub struct Listed {
    /// Only this one: its name, `tenant/name`, or its id.
    name: Option<String>,
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
    #[command(flatten)]
    node: Connection,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    Table,
    /// As the API answers.
    Json,
    /// A file that `tollgate apply -f` takes; of tokens and budgets, which have no entry there, a list.
    Yaml,
}

pub fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    list(flags.kind, &flags.listed)?;
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// See [`Client::get`].
pub fn list(kind: Kind, flags: &Listed) -> Result<(), Failure> {
    let client = Client::open(&flags.node)?;
    let rows = match &flags.name {
        Some(name) => kinds::named(&client, kind, name)?,
        None => kinds::all(&client, kind, &[])?,
    };
    match flags.output {
        Form::Table => print!("{}", shown(&client, kind, &rows)?),
        Form::Json => println!("{:#}", answer(flags.name.is_some(), rows)),
        Form::Yaml => print!("{}", cluster_config::yaml(&file(kind, &rows))),
    }
    Ok(())
}

fn shown(client: &Client, kind: Kind, rows: &[Value]) -> Result<String, Failure> {
    let month = match kind {
        Kind::Keys if !rows.is_empty() => client.list("usage", &given([("group_by", Some("key".into()))])),
        _ => Ok(Vec::new()),
    };
    let month = month.unwrap_or_else(|why| {
        notice(&format!("this month's use is not seen: {why}"));
        Vec::new()
    });
    let rows: Vec<Value> = rows.iter().map(|row| kinds::dressed(row, &month)).collect();
    Ok(table(kind.columns(), &rows))
}

fn answer(is_one: bool, mut rows: Vec<Value>) -> Value {
    match rows.pop() {
        Some(row) if is_one && rows.is_empty() => row,
        last => {
            rows.extend(last);
            json!({"object": "list", "data": rows, "has_more": false, "next_cursor": null})
        }
    }
}

fn file(kind: Kind, rows: &[Value]) -> Value {
    let entry = |row: &Value| if kind.is_entry() { row["spec"].clone() } else { row.clone() };
    json!({kind.path(): rows.iter().map(entry).collect::<Value>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_itself_and_several_are_a_list() {
        let rows = vec![json!({"name": "a"}), json!({"name": "b"})];
        assert_eq!(answer(true, rows[..1].to_vec()), rows[0]);
        assert_eq!(answer(false, rows.clone())["data"], json!(rows));
        assert_eq!(answer(true, rows.clone())["data"], json!(rows));
    }
}
