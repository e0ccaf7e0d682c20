//! Rows as people read them.

use serde_json::Value;

/// A column: its head, and the member of a row that it shows, as `cost.USD`.
pub type Column = (&'static str, &'static str);

/// Rows in columns; numbers stand right.
pub fn table(columns: &[Column], rows: &[Value]) -> String {
    let cells: Vec<Vec<(String, bool)>> = rows.iter().map(|row| columns.iter().map(|(_, path)| cell(row, path)).collect()).collect();
    let width = |at: usize| cells.iter().map(|row| row[at].0.chars().count()).chain([columns[at].0.len()]).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let right: Vec<bool> =
        (0..columns.len()).map(|at| !cells.is_empty() && cells.iter().all(|row| row[at].1 || row[at].0.is_empty())).collect();
    let line = |texts: Vec<&str>| {
        let padded = texts.iter().enumerate().map(|(at, text)| {
            let gap = " ".repeat(widths[at].saturating_sub(text.chars().count()));
            if right[at] { format!("{gap}{text}") } else { format!("{text}{gap}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let head = line(columns.iter().map(|(head, _)| *head).collect());
    head + &cells.iter().map(|row| line(row.iter().map(|(text, _)| text.as_str()).collect())).collect::<String>()
}

/// The text of a member, and whether it is a number.
fn cell(row: &Value, path: &str) -> (String, bool) {
    let value = path.split('.').fold(row, |value, name| &value[name]);
    match value {
        Value::Null => (String::new(), false),
        Value::String(text) => (printable(text), text.parse::<f64>().is_ok()),
        Value::Array(parts) => {
            (parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), printable)).collect::<Vec<_>>().join(","), false)
        }
        other => (other.to_string(), other.is_number()),
    }
}

/// Names are others' words: nothing in them moves the cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_must() {
        let rows = [
            json!({"key": "search-prod", "cost": {"USD": "12.5"}, "tags": ["a", "b"]}),
            json!({"key": "é\u{1b}[2J", "cost": {"USD": "3"}}),
        ];
        let shown = table(&[("KEY", "key"), ("COST", "cost.USD"), ("TAGS", "tags")], &rows);
        assert_eq!(shown, "KEY          COST  TAGS\nsearch-prod  12.5  a,b\né\u{fffd}[2J           3\n");
        assert_eq!(table(&[("KEY", "key")], &[]), "KEY\n");
    }
}
