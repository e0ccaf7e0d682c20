//! A simple value that fits a JSON schema: what tools are called with, and structured answers.

use serde_json::{Map, Value, json};

/// Deeper schemas (a recursive `$ref`) end in null.
const DEPTH_MAX: usize = 24;
/// Longest array or string that `minItems` or `minLength` can ask for.
const LENGTH_MAX: u64 = 1_024;

/// A value that fits the schema: required properties only, the first of any choice, the least number.
pub(crate) fn fitting(schema: &Value) -> Value {
    value(schema, schema, 0)
}

fn value(root: &Value, schema: &Value, depth: usize) -> Value {
    let Some(fields) = schema.as_object().filter(|_| depth < DEPTH_MAX) else { return Value::Null };
    if let Some(constant) = fields.get("const") {
        return constant.clone();
    }
    if let Some(first) = fields.get("enum").and_then(|list| list.get(0)) {
        return first.clone();
    }
    if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
        return target.strip_prefix('#').and_then(|path| root.pointer(path)).map_or(Value::Null, |found| value(root, found, depth + 1));
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(first) = fields.get(choice).and_then(|list| list.get(0)) {
            return value(root, first, depth + 1);
        }
    }
    if let Some(parts) = fields.get("allOf").and_then(Value::as_array) {
        return merged(root, fields, parts, depth);
    }
    plain(root, fields, depth)
}

fn merged(root: &Value, fields: &Map<String, Value>, parts: &[Value], depth: usize) -> Value {
    let mut all = Map::new();
    for part in parts {
        match value(root, part, depth + 1) {
            Value::Object(more) => all.extend(more),
            other => return other,
        }
    }
    if let Value::Object(own) = plain(root, fields, depth) {
        all.extend(own);
    }
    Value::Object(all)
}

fn plain(root: &Value, fields: &Map<String, Value>, depth: usize) -> Value {
    match kind(fields) {
        "object" => object(root, fields, depth),
        "array" => array(root, fields, depth),
        "string" => string(fields),
        "integer" => number(fields, true),
        "number" => number(fields, false),
        "boolean" => Value::Bool(true),
        _ => Value::Null,
    }
}

/// The type; the first that is not null where there are several; guessed where there is none.
fn kind(fields: &Map<String, Value>) -> &str {
    match fields.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("null"),
        _ if fields.contains_key("properties") => "object",
        _ if fields.contains_key("items") => "array",
        _ => "null",
    }
}

fn object(root: &Value, fields: &Map<String, Value>, depth: usize) -> Value {
    let properties = fields.get("properties").and_then(Value::as_object);
    let required = fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut out = Map::new();
    for name in required {
        let fit = properties.and_then(|all| all.get(name)).map_or(Value::Null, |inner| value(root, inner, depth + 1));
        out.insert(name.to_string(), fit);
    }
    Value::Object(out)
}

fn array(root: &Value, fields: &Map<String, Value>, depth: usize) -> Value {
    let least = fields.get("minItems").and_then(Value::as_u64).unwrap_or(1).min(LENGTH_MAX);
    let item = fields.get("items").map_or(Value::Null, |inner| value(root, inner, depth + 1));
    Value::Array(vec![item; least as usize])
}

fn string(fields: &Map<String, Value>) -> Value {
    let text = match fields.get("format").and_then(Value::as_str) {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("email") => "a@example.com",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("uri") => "https://example.com/",
        _ => "sim",
    };
    let most = fields.get("maxLength").and_then(Value::as_u64).map_or(usize::MAX, |n| n as usize);
    let least = fields.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(LENGTH_MAX) as usize;
    let mut text: String = text.chars().take(most).collect();
    while text.len() < least {
        text.push('x');
    }
    Value::String(text)
}

fn number(fields: &Map<String, Value>, whole: bool) -> Value {
    let least = fields.get("minimum").and_then(Value::as_f64);
    let above = fields.get("exclusiveMinimum").and_then(Value::as_f64).map(|bound| bound.floor() + 1.0);
    let most = fields.get("maximum").and_then(Value::as_f64).unwrap_or(f64::MAX);
    let step = fields.get("multipleOf").and_then(Value::as_f64).filter(|step| *step > 0.0);
    let mut found = least.into_iter().chain(above).fold(if least.or(above).is_some() { f64::MIN } else { 1.0 }, f64::max).min(most);
    if let Some(step) = step {
        found = (found / step).ceil() * step;
    }
    if whole { json!(found.ceil() as i64) } else { json!(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_properties_only_and_each_by_its_type() {
        let schema = json!({"type": "object", "required": ["s", "i", "n", "b", "a", "e", "c", "u", "d"], "properties": {
            "s": {"type": "string"}, "i": {"type": "integer", "minimum": 3}, "n": {"type": "number", "exclusiveMinimum": 1}, "b": {"type": "boolean"},
            "a": {"type": "array", "items": {"type": "string"}, "minItems": 2}, "e": {"enum": ["x", "y"]}, "c": {"const": 7},
            "u": {"type": ["null", "string"], "minLength": 5}, "d": {"type": "string", "format": "date"}, "optional": {"type": "string"}}});
        let expected =
            json!({"s": "sim", "i": 3, "n": 2.0, "b": true, "a": ["sim", "sim"], "e": "x", "c": 7, "u": "simxx", "d": "2026-01-01"});
        assert_eq!(fitting(&schema), expected);
    }

    #[test]
    fn references_choices_and_parts_are_followed() {
        let schema = json!({"$defs": {"city": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
            "allOf": [{"$ref": "#/$defs/city"}, {"type": "object", "required": ["p"], "properties": {"p": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}]});
        assert_eq!(fitting(&schema), json!({"name": "sim", "p": 1}));
    }

    #[test]
    fn a_schema_that_contains_itself_ends() {
        let schema = json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(fitting(&schema).is_object());
        assert_eq!(fitting(&json!(true)), Value::Null);
    }
}
