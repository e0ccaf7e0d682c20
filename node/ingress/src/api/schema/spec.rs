//! Entries of the configuration file, from the schema that is shipped with it: there is one source. `KeySpec` is an entry as it is read;
//! `KeyEntry` is one as it is sent, whose name may be left to the path.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema},
};

const FILE: &str = include_str!("../../../../../cluster-config/schema.json");
const NOUNS: [&str; 6] = ["tenant", "scope", "key", "provider", "model", "webhook"];

/// Names that types may refer to; [`specs`] says what stands there.
macro_rules! named {
    ($($name:ident),*) => {$(
        pub(in crate::api) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new().into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

named!(TenantSpec, ScopeSpec, KeySpec, ProviderSpec, ModelSpec, WebhookSpec);

/// All of them, by their names in the document.
pub(in crate::api) fn specs() -> BTreeMap<String, Value> {
    let mut file: Value = serde_json::from_str(FILE).expect("the shipped schema is read by a test");
    moved(&mut file);
    let mut found = BTreeMap::new();
    if let Some(Value::Object(parts)) = file.get_mut("$defs").map(Value::take) {
        for (noun, schema) in parts {
            if NOUNS.contains(&noun.as_str()) {
                found.insert(format!("{}Entry", capital(&noun)), unnamed(schema.clone()));
            }
            found.insert(format!("{}Spec", capital(&noun)), schema);
        }
    }
    if let Some(members) = file.as_object_mut() {
        members.retain(|name, _| !name.starts_with('$') && name != "title");
    }
    found.insert("Configuration".into(), file);
    found
}

fn capital(noun: &str) -> String {
    let (first, rest) = noun.split_at(noun.len().min(1));
    first.to_uppercase() + rest
}

/// References to where the parts stand in the document.
fn moved(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let noun = members.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/")).map(capital);
            if let Some(noun) = noun {
                members.insert("$ref".into(), json!(format!("#/components/schemas/{noun}Spec")));
            }
            members.values_mut().for_each(moved);
        }
        Value::Array(parts) => parts.iter_mut().for_each(moved),
        _ => {}
    }
}

/// The path of a request says the name.
fn unnamed(mut schema: Value) -> Value {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| field != "name");
    }
    schema
}
