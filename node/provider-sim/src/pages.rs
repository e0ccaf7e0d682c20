//! Pages that no provider has: health, the books, the last requests, and new settings while it runs.

use http::{HeaderValue, Method, header};
use serde_json::Value;

use crate::behaviour::{Behaviour, Received};
use crate::player::Script;

/// The page at a path, if it is one of ours.
pub(crate) fn page(sim: &mut Behaviour, received: &Received, path: &str, query: &str) -> Option<Script> {
    let mut script = match (path, received.method.as_str()) {
        ("/healthz", _) => Script::page(200, "{\"status\":\"ok\"}\n"),
        ("/stats", "GET") => Script::page(200, sim.stats.to_json()),
        ("/stats", "DELETE") => {
            sim.stats.clear();
            sim.firsts.clear();
            cleared()
        }
        ("/requests", "GET") => Script::page(200, sim.recent.to_json(limit(query)).to_string()),
        ("/requests", "DELETE") => {
            sim.recent.clear();
            cleared()
        }
        ("/settings", _) if received.method == Method::PUT => settings(sim, &received.body),
        ("/stats" | "/requests" | "/settings", _) => Script::page(405, "{\"error\":\"method not allowed\"}\n"),
        _ => return None,
    };
    script.headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    Some(script)
}

fn cleared() -> Script {
    Script::page(200, "{\"cleared\":true}\n")
}

fn limit(query: &str) -> usize {
    query.split('&').find_map(|pair| pair.strip_prefix("limit=")).and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// Changes defaults by name, all or none: `{"status": 500}` takes the provider down, `{"status": "off"}` brings it back.
fn settings(sim: &mut Behaviour, body: &[u8]) -> Script {
    let mut answers = sim.settings.answers.clone();
    let changed = serde_json::from_slice::<Value>(body).map_err(|e| e.to_string()).and_then(|wanted| {
        let fields = wanted.as_object().ok_or("expected an object")?;
        fields.iter().try_for_each(|(name, value)| match value {
            Value::String(text) => answers.set(name, text),
            other => answers.set(name, &other.to_string()),
        })
    });
    match changed {
        Ok(()) => {
            sim.settings.answers = answers;
            Script::page(200, "{\"changed\":true}\n")
        }
        Err(why) => Script::page(400, format!("{}\n", serde_json::json!({"error": why}))),
    }
}
