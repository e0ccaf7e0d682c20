//! What bodies look like: types that are made for the document only. Handlers write their JSON by hand; tests hold every answer against
//! these (`tests/sdk/test_openapi.py`). What may be null is an `Option` and always there; what may be absent is `required = false`.
//! The one value that `object` has is written as its example.
#![allow(dead_code, reason = "nothing of these types is ever made: they are read by their derive")]

mod calls;
mod entries;
mod lists;
mod spec;

pub(super) use calls::*;
pub(super) use entries::*;
pub(super) use lists::*;
pub(super) use spec::specs;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Puts a type and all that it names among the schemas; gives its name.
pub(super) fn collect<T: ToSchema>(schemas: &mut BTreeMap<String, Value>) -> String {
    let mut found = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut found);
    for (name, schema) in found {
        let mut value = serde_json::to_value(schema).expect("a schema is JSON");
        fix(&mut value);
        schemas.insert(name, value);
    }
    T::name().into_owned()
}

/// `object` has one value; a null has no place among the kinds of a list.
fn fix(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(object)) = members.get_mut("properties").and_then(|properties| properties.get_mut("object"))
                && let Some(word) = object.remove("example")
            {
                object.insert("const".into(), word);
            }
            members.values_mut().for_each(fix);
        }
        Value::Array(parts) => parts.iter_mut().for_each(fix),
        _ => {}
    }
}

/// The list of a row, and its name. `about` are texts that are said beside the rows.
pub(super) fn list(row: &str, about: &[&str]) -> (String, Value) {
    let says = |name: &str| match name {
        "at" => "The position that it shows.",
        "from" => "The time that it is about begins then.",
        _ => "The time that it is about ends before then.",
    };
    let mut properties = Map::from_iter([
        ("object".to_owned(), json!({"type": "string", "const": "list"})),
        ("data".to_owned(), json!({"type": "array", "items": super::route::reference(row)})),
        ("has_more".to_owned(), json!({"type": "boolean", "description": "Whether there is another page."})),
        ("next_cursor".to_owned(), json!({"type": ["string", "null"], "description": "The `cursor` of the next page."})),
    ]);
    properties.extend(about.iter().map(|name| ((*name).to_owned(), json!({"type": "string", "description": says(name)}))));
    let required: Vec<String> = properties.keys().cloned().collect();
    (format!("{row}List"), json!({"type": "object", "properties": properties, "required": required}))
}
