use bytes::Bytes;

use crate::{Endpoint, Piece, Request, Stream, read_answer, read_request};

fn read(fields: &str) -> Request {
    let body = format!(r#"{{"model":"m",{fields}}}"#);
    read_request(Endpoint::Responses, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

fn with_item(item: &str) -> Request {
    read(&format!(r#""input":[{item}]"#))
}

#[test]
fn input_may_be_left_out_only_where_something_stands_for_it() {
    for (fields, field) in [
        (r#""previous_response_id":"resp_1""#, "previous_response_id"),
        (r#""conversation":"conv_1""#, "conversation"),
        (r#""conversation":{"id":"conv_1"}"#, "conversation"),
        (r#""prompt":{"id":"pmpt_1"}"#, "prompt.id"),
    ] {
        let request = read(fields);
        assert_eq!((request.provider_state, request.unbounded_input), (Some(field), true), "{fields}");
    }
    for body in [r#"{"model":"m"}"#, r#"{"model":"m","input":null,"previous_response_id":null}"#, r#"{"model":"m","input":{}}"#] {
        assert_eq!(read_request(Endpoint::Responses, body.as_bytes()).expect_err(body).param.as_deref(), Some("input"));
    }
    let request = read(r#""input":"hi","max_output_tokens":7,"background":true,"stream":true,"previous_response_id":null"#);
    assert_eq!((request.output_limit, request.background, request.stream, request.provider_state), (Some(7), true, true, None));
}

#[test]
fn items_that_say_all_are_bounded() {
    for item in [
        r#"{"role":"user","content":"hi"}"#,
        r#"{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"x","annotations":[]}]}"#,
        r#"{"type":"function_call","id":"fc_1","call_id":"c","name":"f","arguments":"{}"}"#,
        r#"{"type":"function_call_output","call_id":"c","output":"file_id"}"#,
        r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"AAAA"}"#,
        r#"{"type":"reasoning","summary":[],"encrypted_content":"AAAA"}"#,
        r#"{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA","file_id":null}]}"#,
        r#"{"type":"computer_call_output","call_id":"c","output":{"type":"computer_screenshot","image_url":"data:image/png;base64,AAAA"}}"#,
    ] {
        let request = with_item(item);
        assert_eq!((request.unbounded_input, request.provider_state), (false, None), "{item}");
    }
    let picture = with_item(r#"{"type":"image_generation_call","id":"ig_1","result":"AAAA","status":"completed"}"#);
    assert_eq!((picture.media.images, picture.unbounded_input), (1, false));
}

#[test]
fn items_that_the_provider_keeps_are_named() {
    for (item, field) in [
        (r#"{"type":"item_reference","id":"msg_1"}"#, "item_reference"),
        (r#"{"id":"msg_1"}"#, "item_reference"),
        (r#"{"id":"msg_1","type":null}"#, "item_reference"),
        (r#"{"type":"reasoning","id":"rs_1","summary":[]}"#, "item.id"),
        (r#"{"type":"image_generation_call","id":"ig_1"}"#, "item.id"),
        (r#"{"type":"web_search_call","id":"ws_1","status":"completed"}"#, "item.id"),
        (r#"{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}"#, "file_id"),
        (r#"{"role":"user","content":[{"type":"input_image","file_id":"file-1"}]}"#, "file_id"),
        (r#"{"type":"function_call_output","output":[{"type":"input_file","file_id":"file-1"}]}"#, "file_id"),
    ] {
        let request = with_item(item);
        assert_eq!((request.provider_state, request.unbounded_input), (Some(field), true), "{item}");
    }
    assert!(with_item(r#"{"role":"user","content":[{"type":"input_file","file_url":"https://a.example"}]}"#).unbounded_input);
}

#[test]
fn every_tool_but_the_callers_own_bounds_nothing() {
    for kind in ["web_search", "file_search", "code_interpreter", "mcp", "computer_use_preview", "image_generation", "shell", "new_thing"] {
        assert!(read(&format!(r#""input":"x","tools":[{{"type":"{kind}"}}]"#)).unbounded_input, "{kind}");
    }
    for kind in ["function", "custom"] {
        assert!(!read(&format!(r#""input":"x","tools":[{{"type":"{kind}","name":"f"}}]"#)).unbounded_input, "{kind}");
    }
    let state = |tool: &str| read(&format!(r#""input":"x","tools":[{tool}]"#)).provider_state;
    assert_eq!(state(r#"{"type":"file_search","vector_store_ids":["vs_1"]}"#), Some("vector_store_ids"));
    assert_eq!(state(r#"{"type":"code_interpreter","container":"cntr_1"}"#), Some("container"));
    assert_eq!(state(r#"{"type":"code_interpreter","container":{"type":"auto","file_ids":["file-1"]}}"#), Some("file_ids"));
    assert_eq!(state(r#"{"type":"code_interpreter","container":{"type":"auto"}}"#), None);
}

#[test]
fn a_whole_answer_is_read() {
    let body =
        br#"{"id":"resp_1","model":"m","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"error":null,"output":[
        {"type":"reasoning","summary":[{"type":"summary_text","text":"abc"}]},{"type":"web_search_call","action":{"type":"search"}},
        {"type":"web_search_call","action":{"type":"open_page"}},{"type":"image_generation_call","result":"AAAA"},
        {"type":"message","content":[{"type":"output_text","text":"hello"}]},{"type":"function_call","name":"f","arguments":"{}"}],
        "usage":{"input_tokens":10,"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":30}}"#;
    let answer = read_answer(Endpoint::Responses, body).expect("JSON");
    let usage = answer.usage.expect("usage");
    assert_eq!((usage.input, usage.output, usage.reasoning, usage.searches, usage.images), (10, 15, 5, 1, 1));
    assert_eq!((answer.finish.as_deref(), answer.output_bytes, answer.unfinished), (Some("max_output_tokens"), 11, false));
    assert!(read_answer(Endpoint::Responses, br#"{"id":"resp_1","status":"queued","usage":null}"#).expect("JSON").unfinished);
}

fn stream(text: &str) -> (Stream, Vec<Piece>) {
    let (mut stream, mut out) = (Stream::new(Endpoint::Responses, 1, true), Vec::new());
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut out).expect("short");
    stream.close(&mut out);
    (stream, out)
}

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"in_progress\",\"usage\":null}}\n\n";
const DELTA: &str =
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\",\"obfuscation\":\"xyz\"}\n\n";

#[test]
fn each_terminal_event_is_the_end() {
    for (status, finish) in [("completed", "completed"), ("incomplete", "content_filter"), ("failed", "failed")] {
        let end = format!(
            "event: response.{status}\ndata: {{\"response\":{{\"id\":\"resp_1\",\"status\":\"{status}\",\"incomplete_details\":{{\"reason\":\"content_filter\"}},\"usage\":{{\"input_tokens\":3,\"output_tokens\":2}}}}}}\n\n"
        );
        let (stream, out) = stream(&format!("{CREATED}{DELTA}{end}"));
        assert_eq!(out, [Piece::Pass(Bytes::from(format!("{CREATED}{DELTA}"))), Piece::End(Bytes::from(end))]);
        assert!(stream.complete() && stream.started());
        assert_eq!((stream.id(), stream.model(), stream.finish(), stream.output_bytes()), (Some("resp_1"), Some("m"), Some(finish), 5));
        assert_eq!(stream.usage().expect("usage").tokens(), 5);
    }
}

#[test]
fn faults_are_read_in_both_forms() {
    let flat = "event: error\ndata: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow\",\"param\":null}\n\n";
    let nested = "data: {\"type\":\"error\",\"error\":{\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}}\n\n";
    for error in [flat, nested] {
        let (stream, out) = stream(&format!("{CREATED}{error}"));
        let fault = stream.failed().expect("a fault");
        assert_eq!((fault.status, fault.message.as_str()), (429, "slow"));
        assert!(!stream.complete() && !stream.started());
        assert_eq!(out[1], Piece::End(Bytes::from(error)));
    }
    let failed = "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"oh\"}}}\n\n";
    let (stream, _) = stream(failed);
    assert_eq!(stream.failed().map(|fault| fault.status), Some(500));
    assert!(stream.complete());
}

#[test]
fn a_tool_that_is_called_is_a_first_token() {
    let (stream, _) = stream("data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"f\"}}\n\n");
    assert!(stream.started() && !stream.complete());
}
