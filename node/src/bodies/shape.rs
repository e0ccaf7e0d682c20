//! From what passed to what is kept: streams folded, personal fields hidden, large bodies cut. All before anything is written.

use actors::bodies::{Body, Kept};
use dialects::{Endpoint, whole_stream};
use events::limits;
use guards::mask::Mask;
use serde_json::{Map, Value, json};
use std::{borrow::Cow, collections::BTreeSet};

/// What is written of a call, and whether something of it was cut off.
pub fn record(kept: &Kept) -> (Value, bool) {
    let mask = Mask::new(kept.rules.mask.iter().map(String::as_str), kept.rules.media);
    let mut hit = BTreeSet::new();
    let created = kept.at.as_ms() / 1_000;
    let mut cut = false;
    let mut side = |body: &Option<Body>| {
        let body = body.as_ref()?;
        let shown = shape(body, kept.endpoint, created, &mask, &mut hit);
        cut |= shown["truncated"] == true;
        Some(shown)
    };
    let request = side(&kept.request);
    let answer = side(&kept.answer).map(|answer| {
        let mut answer = answer;
        answer.insert("status".into(), kept.status.into());
        answer
    });
    (json!({"endpoint": kept.endpoint.as_str(), "request": request, "answer": answer, "masked": hit}), cut)
}

fn shape(body: &Body, endpoint: Endpoint, created: u64, mask: &Mask, hit: &mut BTreeSet<String>) -> Map<String, Value> {
    let joined: Cow<'_, [u8]> = match body.pieces.as_slice() {
        [one] => Cow::Borrowed(one),
        pieces => Cow::Owned(pieces.concat()),
    };
    let mut shown = Map::from_iter([("content_type".to_owned(), json!(body.content_type))]);
    let text = if body.stream {
        // a value may stand in two frames: only the whole text shows it
        let whole = whole_stream(endpoint, &joined, created);
        shown.insert("frames".into(), whole.frames.into());
        mask.body(whole.answer.to_string().as_bytes())
    } else {
        mask.body(&joined)
    };
    hit.extend(text.hit);
    let mut text = text.text;
    let is_cut = text.len() > limits::REQUEST_LOG_BODY_BYTES_MAX;
    if is_cut {
        let end = (0..=limits::REQUEST_LOG_BODY_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    shown.insert("body".into(), text.into());
    shown.insert("truncated".into(), (body.truncated || is_cut).into());
    shown
}

/// The record as it is shown: what is JSON as such.
pub fn shown(mut record: Value) -> Value {
    for side in ["request", "answer"] {
        if let Some(body) = record.get_mut(side).and_then(|side| side.get_mut("body"))
            && let Some(read) = body.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *body = read;
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use events::{CallId, TenantId, Timestamp, policy::RequestLog};
    use std::sync::Arc;

    fn kept(request: &[u8], frames: &[&str]) -> Kept {
        let rules = RequestLog { mask: vec!["email".into(), "$.user".into()], ..RequestLog::default() };
        let pieces = frames.iter().map(|frame| Bytes::from(format!("data: {frame}\n\n"))).collect();
        Kept {
            call: CallId(1),
            tenant: TenantId(1),
            at: Timestamp(0),
            endpoint: Endpoint::ChatCompletions,
            rules: Arc::new(rules),
            status: 200,
            request: Some(Body { pieces: vec![Bytes::copy_from_slice(request)], ..Body::default() }),
            answer: Some(Body { pieces, stream: true, ..Body::default() }),
        }
    }

    #[test]
    fn a_value_that_stands_in_two_frames_is_masked() {
        let frames = ["ada@exam", "ple.com, hello"]
            .map(|text| json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]}).to_string());
        let (record, cut) = record(&kept(br#"{"user":"ada"}"#, &[&frames[0], &frames[1]]));
        let shown = shown(record);
        assert_eq!(shown["answer"]["body"]["choices"][0]["message"]["content"], "[email], hello");
        assert_eq!(shown["request"]["body"], json!({"user": "[masked]"}));
        assert_eq!(shown["masked"], json!(["$.user", "email"]));
        assert!(!cut && shown["answer"]["frames"] == 2);
    }

    #[test]
    fn a_large_body_is_masked_and_then_cut_between_two_letters() {
        let text = format!("a{}", "ß".repeat(limits::REQUEST_LOG_BODY_BYTES_MAX));
        let (record, cut) = record(&kept(text.as_bytes(), &[]));
        assert!(cut && record["request"]["truncated"] == true);
        let body = record["request"]["body"].as_str().unwrap_or_default();
        assert_eq!(body.len(), limits::REQUEST_LOG_BODY_BYTES_MAX - 1);
    }
}
