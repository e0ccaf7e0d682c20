//! The last requests as they came in, so that a test can see what a gateway sent and what it kept back.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Requests that are kept.
const KEPT: usize = 1_000;
/// Bodies up to this many bytes are kept whole, so that all of them together stay under 16 MiB; of longer ones the digest.
const BODY_MAX: usize = 16 * 1_024;

/// A request as it was received.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// A body, or what is left of it.
#[derive(Debug)]
pub(crate) enum Body {
    Whole(Bytes),
    Digest { bytes: usize, sha256: String },
}

impl Body {
    pub(crate) fn new(body: Bytes) -> Body {
        if body.len() <= BODY_MAX { Body::Whole(body) } else { Body::Digest { bytes: body.len(), sha256: digest(&body) } }
    }

    fn to_json(&self) -> Value {
        match self {
            Body::Whole(body) => {
                let text = std::str::from_utf8(body).ok();
                json!({"bytes": body.len(), "sha256": digest(body), "text": text})
            }
            Body::Digest { bytes, sha256 } => json!({"bytes": bytes, "sha256": sha256, "text": Value::Null}),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The last requests, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    seen: VecDeque<Seen>,
}

impl Recent {
    pub(crate) fn add(&mut self, seen: Seen) {
        if self.seen.len() >= KEPT {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    pub(crate) fn clear(&mut self) {
        self.seen.clear();
    }

    /// The last `limit` requests, newest first.
    pub(crate) fn to_json(&self, limit: usize) -> Value {
        let data: Vec<Value> = self.seen.iter().rev().take(limit).map(one).collect();
        json!({"object": "list", "data": data})
    }
}

fn one(seen: &Seen) -> Value {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<Value> = seen.headers.iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect();
    json!({"method": seen.method, "path": seen.path, "headers": headers, "body": seen.body.to_json()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thousand_newest_first() {
        let mut recent = Recent::default();
        for n in 0..KEPT + 3 {
            let body = Body::new(Bytes::from(vec![b'a'; if n % 2 == 0 { 3 } else { BODY_MAX + 1 }]));
            recent.add(Seen { method: "POST".into(), path: format!("/{n}"), headers: HeaderMap::new(), body });
        }
        let got = recent.to_json(usize::MAX);
        assert_eq!(got["data"].as_array().map(Vec::len), Some(KEPT));
        assert_eq!((&got["data"][0]["path"], &got["data"][0]["body"]["text"]), (&json!("/1002"), &json!("aaa")));
        assert_eq!((&got["data"][1]["body"]["bytes"], &got["data"][1]["body"]["text"]), (&json!(BODY_MAX + 1), &Value::Null));
        assert_eq!(got["data"][0]["body"]["sha256"], "9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0");
        assert_eq!(recent.to_json(2)["data"].as_array().map(Vec::len), Some(2));
    }
}
