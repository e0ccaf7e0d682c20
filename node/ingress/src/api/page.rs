//! Lists as they are answered: JSON with a cursor, JSON Lines, or CSV, by `Accept`.

use super::{Problem, ask::Ask};
use axum::{
    Json,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use events::limits;
use serde_json::{Map, Value, json};

pub(super) const NEXT: HeaderName = HeaderName::from_static("x-tollgate-next-cursor");
/// The position that rows show, where there is no room for it beside them.
const AT: HeaderName = HeaderName::from_static("x-tollgate-position");

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Lines,
    Csv,
}

impl Form {
    pub fn asked(headers: &HeaderMap) -> Form {
        let first = accepted(headers).find_map(|kind| match kind {
            "text/csv" => Some(Form::Csv),
            "application/jsonl" | "application/x-ndjson" | "application/jsonlines" => Some(Form::Lines),
            "application/json" | "*/*" => Some(Form::Json),
            _ => None,
        });
        first.unwrap_or(Form::Json)
    }
}

/// Whether an answer is wanted as YAML.
pub(crate) fn wants_yaml(headers: &HeaderMap) -> bool {
    accepted(headers).any(|kind| matches!(kind, "application/yaml" | "text/yaml"))
}

/// Kinds that a caller takes, in its order.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim())
}

/// How much of a list is wanted.
pub(crate) struct Wanted {
    pub limit: usize,
    /// Where the last page ended, in its own words.
    pub cursor: Option<String>,
    pub form: Form,
}

impl Wanted {
    pub fn read(ask: &mut Ask, headers: &HeaderMap) -> Result<Wanted, Problem> {
        let form = Form::asked(headers);
        // a file is wanted whole
        let otherwise = if form == Form::Json { limits::PAGE_ROWS } else { limits::PAGE_ROWS_MAX };
        let limit = ask.number("limit", 1, limits::PAGE_ROWS_MAX as u64)?.map_or(otherwise, |limit| limit as usize);
        let cursor = ask.text("cursor").map(str::to_owned);
        Ok(Wanted { limit, cursor, form })
    }

    /// The cursor as a number of rows to leave out.
    pub fn skip(&self) -> Result<usize, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(0) };
        cursor.strip_prefix("row_").and_then(|row| row.parse().ok()).ok_or_else(bad_cursor)
    }
}

pub(crate) fn bad_cursor() -> Problem {
    Problem::parameter("cursor", "this is no cursor of this list")
}

/// One page.
#[derive(Default)]
pub(crate) struct Page {
    pub rows: Vec<Value>,
    pub next_cursor: Option<String>,
    /// Said beside the rows in JSON.
    pub about: Map<String, Value>,
}

impl Page {
    /// A part of what is all there; only that part is shown.
    pub fn part<T>(all: Vec<T>, wanted: &Wanted, show: impl FnMut(T) -> Value) -> Result<Page, Problem> {
        let skip = wanted.skip()?;
        let end = skip.saturating_add(wanted.limit);
        let next_cursor = (all.len() > end).then(|| format!("row_{end}"));
        Ok(Page { rows: all.into_iter().skip(skip).take(wanted.limit).map(show).collect(), next_cursor, about: Map::new() })
    }

    pub fn saying(mut self, name: &str, value: impl Into<Value>) -> Page {
        self.about.insert(name.into(), value.into());
        self
    }

    pub fn response(self, form: Form) -> Response {
        let next = self.next_cursor.as_deref().and_then(|cursor| HeaderValue::from_str(cursor).ok());
        let at = self.about.get("at").and_then(Value::as_str).and_then(|at| HeaderValue::from_str(at).ok());
        let mut response = match form {
            Form::Json => {
                let mut body = self.about;
                body.extend([
                    ("object".to_owned(), json!("list")),
                    ("has_more".to_owned(), self.next_cursor.is_some().into()),
                    ("next_cursor".to_owned(), self.next_cursor.into()),
                    ("data".to_owned(), self.rows.into()),
                ]);
                Json(Value::Object(body)).into_response()
            }
            Form::Lines => {
                let text: String = self.rows.iter().map(|row| format!("{row}\n")).collect();
                ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()
            }
            Form::Csv => ([(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")], csv(&self.rows)).into_response(),
        };
        if let Some(next) = next {
            response.headers_mut().insert(NEXT, next);
        }
        if let Some(at) = at {
            response.headers_mut().insert(AT, at);
        }
        response
    }
}

/// RFC 4180: a column a value, members of objects as `cost.USD`, in the order of the first row that has them.
fn csv(rows: &[Value]) -> String {
    let flat: Vec<Vec<(String, String)>> = rows.iter().map(flattened).collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in flat.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let mut text = columns.iter().map(|name| cell(name)).collect::<Vec<_>>().join(",") + "\r\n";
    for row in &flat {
        let value = |column: &&str| row.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str()).unwrap_or_default();
        text += &(columns.iter().map(|column| cell(value(column))).collect::<Vec<_>>().join(",") + "\r\n");
    }
    text
}

fn flattened(row: &Value) -> Vec<(String, String)> {
    let mut out = Vec::new();
    flatten("", row, &mut out);
    out
}

fn flatten(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&path, value, out);
            }
        }
        Value::Null => out.push((path.into(), String::new())),
        Value::String(text) => out.push((path.into(), text.clone())),
        other => out.push((path.into(), other.to_string())),
    }
}

/// A spreadsheet would run what begins with one of these, unless it is a number.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '@', '\t', '\r']) || (text.starts_with('-') && text.parse::<f64>().is_err())
}

fn cell(text: &str) -> String {
    let text = if is_formula(text) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_for_spreadsheets() {
        let rows = [
            json!({"key": "a,\"b\"", "cost": {"USD": "-1.5"}, "calls": 3}),
            json!({"key": "=1+1", "cost": {"USD": "2"}, "calls": 4, "tag": null}),
        ];
        assert_eq!(csv(&rows), "calls,cost.USD,key,tag\r\n3,-1.5,\"a,\"\"b\"\"\",\r\n4,2,'=1+1,\r\n");
        assert_eq!(csv(&[]), "\r\n");
    }

    #[test]
    fn forms_are_asked_for() {
        let form = |accept: &str| Form::asked(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]));
        assert_eq!(
            (form("text/csv"), form("application/x-ndjson;q=0.9"), form("*/*"), form("text/html")),
            (Form::Csv, Form::Lines, Form::Json, Form::Json)
        );
        assert_eq!((form("text/html, text/csv;q=0.5"), Form::asked(&HeaderMap::new())), (Form::Csv, Form::Json));
    }
}
