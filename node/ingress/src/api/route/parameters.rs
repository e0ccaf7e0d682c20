//! Parameters as the document says them.

use events::limits;
use serde_json::{Value, json};

/// A parameter of the query.
pub(in crate::api) fn query(name: &str, says: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": says, "schema": schema})
}

/// A header of the request.
pub(in crate::api) fn header(name: &str, says: &str, schema: Value) -> Value {
    json!({"name": name, "in": "header", "description": says, "schema": schema})
}

pub(in crate::api) fn flag(name: &str, says: &str) -> Value {
    query(name, says, json!({"type": "boolean", "default": false}))
}

/// One of a few words.
pub(in crate::api) fn word(name: &str, says: &str, words: &[&str]) -> Value {
    query(name, says, json!({"type": "string", "enum": words}))
}

/// Some of a few words, separated by commas.
pub(in crate::api) fn words(name: &str, says: &str, words: &[&str]) -> Value {
    let one = words.join("|");
    query(name, says, json!({"type": "string", "pattern": format!("^({one})(,({one}))*$"), "examples": [words.join(",")]}))
}

/// Names of things, separated by commas.
pub(in crate::api) fn names(name: &str, says: &str) -> Value {
    query(name, says, json!({"type": "string"}))
}

pub(super) fn limit() -> Value {
    let says =
        format!("Rows of a page: {} unless said, or {} where a form has no place for a cursor.", limits::PAGE_ROWS, limits::PAGE_ROWS_MAX);
    query("limit", &says, json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": limits::PAGE_ROWS_MAX}))
}

pub(super) fn cursor() -> Value {
    query("cursor", "The `next_cursor` of the page before.", json!({"type": "string"}))
}

pub(in crate::api) fn position(name: &str, says: &str) -> Value {
    query(name, says, json!({"type": "string", "pattern": "^0:[0-9]{1,18}$", "examples": ["0:17"]}))
}

pub(in crate::api) fn at_least() -> Value {
    position("at_least", "Waits, 5 s at most, until the answer shows this position: the `position` of a change, or an `at`.")
}

fn time(name: &str, says: &str) -> Value {
    query(name, &format!("{says} RFC 3339, or a day."), json!({"type": "string", "examples": ["2026-11-26", "2026-11-26T12:00:00Z"]}))
}

/// The time that is asked about.
pub(in crate::api) fn range(otherwise: &str) -> [Value; 3] {
    [
        time("from", &format!("From then on; {otherwise} unless said.")),
        time("until", "Before then; now unless said."),
        query(
            "since",
            "So long before `until`, in the place of `from`.",
            json!({"type": "string", "pattern": "^[0-9]{1,6}[mhd]$", "examples": ["90m", "24h", "7d"]}),
        ),
    ]
}

/// What a list is narrowed to.
pub(in crate::api) fn chosen() -> [Value; 6] {
    let [tenant, scope, key] = owners();
    [
        tenant,
        scope,
        key,
        names("model", "Only these models, as callers asked for them."),
        names("provider", "Only these providers."),
        names("tag", "Only calls with one of these tags, as `app=search`."),
    ]
}

/// Narrows by whose something is.
pub(in crate::api) fn owners() -> [Value; 3] {
    [
        names("tenant", "Only these: names or ids, separated by commas."),
        names("scope", "Only these scopes, with everything below them."),
        names("key", "Only these keys."),
    ]
}

/// Narrows to calls that were made for somebody.
pub(in crate::api) fn user() -> Value {
    names("user", "Only calls for these: names as callers gave them, or pseudonyms.")
}

pub(in crate::api) fn order_by_time() -> Value {
    word("order", "By time, the last first unless said.", &["-time", "time"])
}

/// What a change wants to be there.
pub(in crate::api) fn if_match() -> Value {
    header("If-Match", "Changes only what still has this `etag`.", json!({"type": "string"}))
}

/// The same request under the same key is carried out once.
pub(super) fn idempotency_key() -> Value {
    let says = "The same request under the same key gets the first answer again, for a day.";
    header("Idempotency-Key", says, json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}))
}

pub(in crate::api) fn if_none_match() -> Value {
    header("If-None-Match", "`*`: only makes what is not there yet.", json!({"type": "string", "enum": ["*"]}))
}
