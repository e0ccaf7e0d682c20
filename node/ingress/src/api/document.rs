//! The OpenAPI 3.1 document of these routes, and the page that shows it.

use super::{
    route::{CODES, headers},
    routes, schema,
};
use crate::App;
use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// One page of our own: nothing is loaded from elsewhere.
const PAGE: &str = include_str!("document/page.html");

/// What each page is shown with, so that its own script and style run and no others.
const NONCE: &str = "{{nonce}}";

const TAGS: [(&str, &str); 15] = [
    ("tenants", "Who the gateway is run for."),
    ("scopes", "Departments, teams and users of tenants, as a tree."),
    ("keys", "Virtual keys, which calls are made with."),
    ("providers", "Where calls go, and how they fare there."),
    ("models", "What callers ask for, and which providers serve it."),
    ("webhooks", "Who hears of alerts."),
    ("tokens", "Administrators' tokens."),
    ("configuration", "All of these at once, as a file."),
    ("usage", "What was used."),
    ("calls", "What was called, and why it went where it went."),
    ("budgets", "What may be used."),
    ("history", "Events, changes, and the proof of the books."),
    ("projections", "The read models that answer questions."),
    ("capabilities", "What one dialect can say to the other."),
    ("node", "The node itself, and this document."),
];

static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

/// The document, as text.
pub fn openapi() -> &'static str {
    &TEXT
}

fn document() -> Value {
    let (paths, mut schemas) = routes::every().described();
    schema::collect::<schema::Problem>(&mut schemas);
    schemas.extend(schema::specs());
    let codes: Map<String, Value> =
        CODES.iter().map(|code| (code.code.to_owned(), json!({"status": code.status, "means": code.means}))).collect();
    let tags: Vec<Value> = TAGS.iter().map(|(name, says)| json!({"name": name, "description": says})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate administration",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Administration of a Tollgate node, and questions about what it knows.",
            "description": "Lists are pages with a cursor, and come as JSON, JSON Lines or CSV by `Accept`. Money is decimal texts, times are RFC 3339 \
                in UTC. What goes wrong is answered as problem details, with a `code`: `x-codes` has all of them. Members may be added to answers at any time.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The node that serves this document."}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "An administrator's token."}},
        },
        "x-codes": codes,
    })
}

/// `GET /api/v1/openapi.json`.
pub(super) async fn json() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi()).into_response()
}

/// `GET /api/v1/docs`.
pub(super) async fn page(State(app): State<App>) -> Response {
    let nonce = format!("{:032x}", app.reactor.core.entropy.draw());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let mut response = Html(PAGE.replace(NONCE, &nonce)).into_response();
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&policy).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(method, one)| (format!("{method} {path}"), one)))
            .collect()
    }

    /// All references below a value.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(parts) => parts.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_route_is_described() {
        let document = document();
        let tags: BTreeSet<&str> = TAGS.iter().map(|(name, _)| *name).collect();
        let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
        for (route, operation) in operations(&document) {
            let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
            assert!(ids.insert(text("operationId")) && !text("operationId").is_empty(), "{route}: its operationId is another's");
            assert!(text("summary").ends_with('.') && !text("summary").contains('\n'), "{route} says nothing");
            let tag = operation["tags"][0].as_str().unwrap();
            assert!(tags.contains(tag), "{route}: `{tag}` is no tag");
            used.insert(tag.to_owned());
            let well = operation["responses"].as_object().unwrap().keys().filter(|status| status.starts_with('2')).count();
            assert!(well > 0, "{route} never goes well");
        }
        assert_eq!(used.len(), tags.len(), "a tag has no route");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let parts = |kind: &str| {
            let names = document["components"][kind].as_object().unwrap().keys();
            names.map(|name| format!("#/components/{kind}/{name}")).collect::<Vec<_>>()
        };
        let there: BTreeSet<String> = [parts("schemas"), parts("headers")].concat().into_iter().collect();
        assert_eq!(found.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new());
        assert_eq!(there.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "a schema that nothing names");
    }

    /// Sources of this crate, but those that may do what others may not.
    fn sources(but: &[&str]) -> Vec<(PathBuf, String)> {
        let (mut found, mut folders) = (Vec::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kind == "rs") && !but.iter().any(|name| path.ends_with(name)) {
                    found.push((path.clone(), fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found
    }

    /// Routes are made with their description, and nowhere else.
    #[test]
    fn no_route_is_made_around_the_document() {
        for (path, text) in sources(&["api/route.rs", "api/document.rs"]) {
            for line in text.lines() {
                let makes = [".route(", ".nest(", ".route_service(", "MethodRouter"].iter().any(|word| line.contains(word));
                assert!(!makes || path.ends_with("src/lib.rs") && !line.contains("/api"), "{}: {line}", path.display());
            }
        }
    }

    /// axum's own extractors refuse in plain text.
    #[test]
    fn paths_and_bodies_are_read_in_one_place() {
        for (path, text) in
            sources(&["api/sent.rs", "api/document.rs"]).into_iter().filter(|(path, _)| path.to_str().unwrap().contains("/api/"))
        {
            for word in ["extract::Path", "extract::Query", ": Bytes)", "Json<"] {
                assert!(!text.contains(word), "{}: `{word}`: take `Path`, `Sent` or `Asking`", path.display());
            }
        }
    }
}
