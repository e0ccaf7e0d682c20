use bytes::Bytes;

use crate::{Endpoint, Piece, Request, Stream, read_answer, read_request};

fn read(fields: &str) -> Request {
    let body = format!(r#"{{"model":"m","max_tokens":9,{fields}}}"#);
    read_request(Endpoint::Messages, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

fn with_block(block: &str) -> Request {
    read(&format!(r#""messages":[{{"role":"user","content":[{{"type":"text","text":"see"}},{block}]}}]"#))
}

#[test]
fn a_limit_has_to_be_there_but_not_to_count() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(read_request(Endpoint::Messages, body).expect_err("no limit").param.as_deref(), Some("max_tokens"));
    assert_eq!(read_request(Endpoint::CountTokens, body).expect("valid").output_limit, None);
    assert_eq!(
        read_request(Endpoint::Messages, br#"{"model":"m","max_tokens":3,"messages":[]}"#).expect_err("empty").param.as_deref(),
        Some("messages")
    );
}

#[test]
fn pieces_are_counted_wherever_they_nest() {
    let image = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}"#;
    let pdf = r#"{"source":{"data":"AAAA","type":"base64"},"type":"document"}"#;
    let result = format!(r#"{{"type":"tool_result","tool_use_id":"t","content":[{image},{pdf}]}}"#);
    for (block, images, documents) in [(image, 1, 0), (pdf, 0, 1), (&result, 1, 1)] {
        let request = with_block(block);
        assert_eq!((request.media.images, request.media.documents, request.unbounded_input), (images, documents, false), "{block}");
        assert_eq!(request.media.bytes, 6 * (images + documents) as usize);
    }
    let nested = format!(r#"{{"type":"document","source":{{"type":"content","content":[{image}]}}}}"#);
    assert_eq!(with_block(&nested).media.images, 1);
}

#[test]
fn bounded_and_unbounded_blocks_are_told_apart() {
    for block in [
        r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"long text"}}"#,
        r#"{"type":"tool_use","id":"t","name":"f","input":{"type":"odd","source":{"type":"url"},"file_id":"x"}}"#,
        r#"{"type":"search_result","source":"https://a.example","title":"t","content":[{"type":"text","text":"x"}]}"#,
        r#"{"type":"web_search_tool_result","tool_use_id":"t","content":[{"type":"web_search_result","url":"https://a","encrypted_content":"A"}]}"#,
        r#"{"type":"thinking","thinking":"x","signature":"y"}"#,
    ] {
        let request = with_block(block);
        assert_eq!((request.unbounded_input, request.provider_state, request.media.documents), (false, None, 0), "{block}");
    }
    for (block, state) in [
        (r#"{"type":"image","source":{"type":"url","url":"https://a.example"}}"#, None),
        (r#"{"type":"document","source":{"type":"telepathy"}}"#, None),
        (r#"{"type":"hologram"}"#, None),
        (r#"{"type":"document","source":{"type":"file","file_id":"file_1"}}"#, Some("file_id")),
        (r#"{"type":"container_upload","file_id":"file_1"}"#, Some("file_id")),
        (r#"{"type":"tool_result","content":[{"type":"image","source":{"type":"fil\u0065","file_id":"file_1"}}]}"#, Some("file_id")),
    ] {
        let request = with_block(block);
        assert_eq!((request.unbounded_input, request.provider_state), (true, state), "{block}");
    }
}

#[test]
fn tools_at_the_provider_bound_nothing() {
    let turn = r#""messages":[{"content":"hi"}]"#;
    for tool in [r#"{"name":"f"}"#, r#"{"type":"custom","name":"f"}"#, r#"{"type":"bash_20250124"}"#, r#"{"type":"text_editor_20250728"}"#]
    {
        let request = read(&format!(r#"{turn},"tools":[{tool}]"#));
        assert!(request.tools && !request.unbounded_input, "{tool}");
    }
    for fields in [
        r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#,
        r#""tools":[{"type":"web_fetch_20250910"}]"#,
        r#""tools":[{"type":"code_execution_20250825"}]"#,
        r#""mcp_servers":[{"url":"https://a.example"}]"#,
        r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
    ] {
        assert!(read(&format!("{turn},{fields}")).unbounded_input, "{fields}");
    }
    assert!(
        !read(&format!(r#"{turn},"mcp_servers":[],"context_management":{{"edits":[{{"type":"clear_tool_uses_20250919"}}]}}"#))
            .unbounded_input
    );
    for container in [r#""container_1""#, r#"{"id":"container_1"}"#] {
        let request = read(&format!(r#"{turn},"container":{container}"#));
        assert_eq!((request.provider_state, request.unbounded_input), (Some("container"), true));
    }
}

#[test]
fn cache_marks_are_seen_in_every_place() {
    let hour = r#""cache_control":{"type":"ephemeral","ttl":"1h"}"#;
    let turn = r#""messages":[{"content":"hi"}]"#;
    for fields in [
        format!(r#"{turn},"system":[{{"type":"text","text":"x",{hour}}}]"#),
        format!(r#"{turn},"tools":[{{"name":"f","input_schema":{{}},{hour}}}]"#),
        format!(r#""messages":[{{"content":[{{"type":"text","text":"x",{hour}}}]}}]"#),
        format!("{turn},{hour}"),
    ] {
        let request = read(&fields);
        assert!(request.cache_write && request.cache_write_1h && !request.unbounded_input, "{fields}");
        let request = read(&fields.replace("1h", "5m"));
        assert!(request.cache_write && !request.cache_write_1h, "{fields}");
    }
    assert!(!read(&format!(r#"{turn},"cache_control":null"#)).cache_write);
}

#[test]
fn whole_answers_are_read() {
    let body = br#"{"id":"msg_1","type":"message","model":"claude","content":[{"type":"thinking","thinking":"abc","signature":"zzzz"},{"type":"text","text":"hello"},
        {"type":"tool_use","id":"t","name":"fn","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":2,"service_tier":"batch"}}"#;
    let answer = read_answer(Endpoint::Messages, body).expect("JSON");
    assert_eq!(
        (answer.id.as_deref(), answer.finish.as_deref(), answer.service_tier.as_deref()),
        (Some("msg_1"), Some("tool_use"), Some("batch"))
    );
    assert_eq!((answer.output_bytes, answer.usage.expect("usage").tokens()), (3 + 5 + 2 + 7, 5));
    let count = read_answer(Endpoint::CountTokens, br#"{"input_tokens":403}"#).expect("JSON");
    assert_eq!(count.usage.expect("usage").input, 403);
    let error = read_answer(Endpoint::Messages, br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#).expect("JSON");
    assert_eq!(error.fault.map(|fault| fault.status), Some(529));
}

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
const TEXT: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n";
const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":15}}\n\n";
const STOP: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn stream(texts: &[&str]) -> (Stream, Vec<Piece>) {
    let (mut stream, mut out) = (Stream::new(Endpoint::Messages, 1, false), Vec::new());
    for text in texts {
        stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("short");
    }
    (stream, out)
}

#[test]
fn the_stop_reason_is_the_end_and_its_usage_replaces_the_first() {
    let (before, out) = stream(&[START, PING, TEXT]);
    assert!(before.started() && !before.complete() && before.usage().is_none());
    assert_eq!((before.partial().input, before.partial().tokens_out()), (25, 2));
    assert!(out.iter().all(|piece| matches!(piece, Piece::Pass(_))));
    let (whole, out) = stream(&[START, PING, TEXT, DELTA, STOP]);
    assert_eq!(out[3..], [Piece::End(Bytes::from(DELTA)), Piece::End(Bytes::from(STOP))]);
    let usage = whole.usage().expect("usage");
    assert_eq!((usage.input, usage.output, whole.finish()), (25, 15, Some("end_turn")));
}

#[test]
fn nothing_has_started_before_a_token() {
    let empty = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let tool = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"\",\"input\":{}}}\n\n";
    assert!(!stream(&[START, PING, empty]).0.started());
    assert!(stream(&[START, tool]).0.started());
}

#[test]
fn an_error_event_is_a_fault_and_is_kept_back() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let (stream, out) = stream(&[START, error]);
    assert_eq!(stream.failed().map(|fault| (fault.status, fault.message.as_str())), Some((529, "Overloaded")));
    assert!(!stream.complete() && stream.usage().is_none());
    assert_eq!(out[1], Piece::End(Bytes::from(error)));
}
