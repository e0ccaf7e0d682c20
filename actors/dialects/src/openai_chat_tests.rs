use crate::media::Media;
use crate::{Endpoint, Request, read_answer, read_request};

fn with_part(part: &str) -> Request {
    with_message(&format!(r#"{{"role":"user","content":[{{"type":"text","text":"see"}},{part}]}}"#))
}

fn with_message(message: &str) -> Request {
    let body = format!(r#"{{"model":"m","messages":[{message}]}}"#);
    read_request(Endpoint::ChatCompletions, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

fn with_field(field: &str) -> Request {
    let body = format!(r#"{{"model":"m","messages":[{{"content":"hi"}}],{field}}}"#);
    read_request(Endpoint::ChatCompletions, body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

#[test]
fn inline_pieces_are_counted_and_measured() {
    let image = Media { images: 1, bytes: 28, ..Media::default() };
    let document = Media { documents: 1, bytes: 34, ..Media::default() };
    for (part, media) in [
        (r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}"#, image),
        (r#"{"image_url":"data:image/png;base64,AAAA","type":"image_url"}"#, image),
        (r#"{"type":"im\u0061ge_url","im\u0061ge_url":{"url":"data:image/png;base64,AAAA"}}"#, image),
        (r#"{"type":"file","file":{"filename":"a","file_data":"data:application/pdf;base64,AAAA"}}"#, document),
        (r#"{"type":"document_url","document_url":"data:application/pdf;base64,AAAA"}"#, document),
        (r#"{"type":"file","file":{"file_data":"data:image/png;base64,AAAA"}}"#, image),
        (r#"{"type":"file","file":{"file_data":"AAAA"}}"#, Media { documents: 1, bytes: 6, ..Media::default() }),
        (r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#, Media { audio: 1, bytes: 6, ..Media::default() }),
    ] {
        let request = with_part(part);
        assert_eq!((request.media, request.unbounded_input, request.provider_state), (media, false, None), "{part}");
    }
}

#[test]
fn what_is_fetched_bounds_nothing() {
    for part in [
        r#"{"type":"image_url","image_url":{"url":"https://a.example/b.png"}}"#,
        r#"{"type":"image_url","image_url":"https:\/\/a.example\/b.png"}"#,
        r#"{"type":"file","file":{"file_data":"https://a.example/b.pdf"}}"#,
        r#"{"type":"file_url","file_url":{"url":"https://a.example/b.pdf"}}"#,
        r#"{"type":"video_url","video_url":{"url":"data:video/mp4;base64,AAAA"}}"#,
        r#"{"type":"hologram","points":[1,2]}"#,
        r#"{"type":"image_url","image_url":7}"#,
    ] {
        let request = with_part(part);
        assert_eq!((request.unbounded_input, request.provider_state), (true, None), "{part}");
    }
}

#[test]
fn what_is_kept_is_named() {
    for (message, field) in [
        (r#"{"content":[{"type":"file","file":{"file_id":"file-1"}}]}"#, "file_id"),
        (r#"{"content":[{"type":"file","f\u0069le":{"file_id":"file-1"}}]}"#, "file_id"),
        (r#"{"content":[{"type":"hologram","of":[{"file_ids":["file-1"]}]}]}"#, "file_ids"),
        (r#"{"role":"assistant","audio":{"id":"audio_1"}}"#, "audio.id"),
    ] {
        let request = with_message(message);
        assert_eq!((request.provider_state, request.unbounded_input), (Some(field), true), "{message}");
    }
    let request = with_message(r#"{"role":"assistant","content":"x","audio":null}"#);
    assert_eq!((request.provider_state, request.unbounded_input), (None, false));
}

#[test]
fn text_and_arguments_that_speak_of_pieces_change_nothing() {
    for message in [
        r#"{"content":"{\"type\":\"image_url\",\"image_url\":{\"url\":\"https://a\"}} file_id"}"#,
        r#"{"content":[{"type":"text","text":"\"file_id\":\"file-1\" data:image/png;base64,AAAA"}]}"#,
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"file_id\":\"x\"}"}}]}"#,
    ] {
        let request = with_message(message);
        assert_eq!((request.unbounded_input, request.media, request.provider_state), (false, Media::default(), None), "{message}");
    }
}

#[test]
fn hosted_tools_and_searches_bound_nothing() {
    for field in [
        r#""web_search_options":{}"#,
        r#""search_parameters":{"mode":"auto"}"#,
        r#""plugins":[{"id":"web"}]"#,
        r#""tools":[{"type":"function","function":{}},{"type":"openrouter:web_search"}]"#,
        r#""tools":[{"function":{},"type":"live_search"}]"#,
    ] {
        assert!(with_field(field).unbounded_input, "{field}");
    }
    for field in [
        r#""web_search_options":null"#,
        r#""plugins":[]"#,
        r#""tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"file_id":{"type":"string"},"image_url":{"type":"x"}}}}}]"#,
        r#""tools":[{"type":"custom","custom":{"name":"f"}}]"#,
        r#""functions":[{"name":"f"}]"#,
    ] {
        let request = with_field(field);
        assert!(!request.unbounded_input && request.provider_state.is_none(), "{field}");
    }
    assert_eq!(with_field(r#""tools":[{"type":"file_search","vector_store_ids":["vs_1"]}]"#).provider_state, Some("vector_store_ids"));
}

#[test]
fn a_whole_answer_is_read() {
    let body = br#"{"id":"c1","model":"m-1","service_tier":"default","choices":[
        {"index":0,"message":{"role":"assistant","content":"h\u00e9","refusal":null,"reasoning":"abc","reasoning_content":"abc",
        "tool_calls":[{"id":"t","type":"function","function":{"name":"fn","arguments":"{}"}}]},"finish_reason":"stop"},
        {"index":1,"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"12"}]},{"type":"text","text":"345"}]},"finish_reason":"length"}],
        "usage":{"prompt_tokens":5,"completion_tokens":9,"total_tokens":14}}"#;
    let answer = read_answer(Endpoint::ChatCompletions, body).expect("JSON");
    assert_eq!((answer.id.as_deref(), answer.model.as_deref(), answer.finish.as_deref()), (Some("c1"), Some("m-1"), Some("length")));
    assert_eq!(answer.output_bytes, 3 + 3 + 4 + 5);
    assert_eq!(answer.usage.expect("usage").tokens(), 14);
    assert_eq!((answer.service_tier.as_deref(), answer.fault, answer.unfinished), (Some("default"), None, false));
}

#[test]
fn an_error_inside_of_a_success_is_seen() {
    for (body, status, message) in [
        (r#"{"error":{"message":"no","type":"server_error","code":null}}"#, 500, "no"),
        (r#"{"error":{"message":"no","code":429}}"#, 429, "no"),
        (r#"{"error":{"message":"no","code":"context_length_exceeded","type":"server_error"}}"#, 400, "no"),
        (r#"{"error":"broken"}"#, 502, "broken"),
    ] {
        let fault = read_answer(Endpoint::ChatCompletions, body.as_bytes()).expect("JSON").fault.expect("a fault");
        assert_eq!((fault.status, fault.message.as_str()), (status, message), "{body}");
    }
    for body in [r#"{"error":null}"#, r#"{"error":{}}"#, r#"{"error":false}"#] {
        assert_eq!(read_answer(Endpoint::ChatCompletions, body.as_bytes()).expect("JSON").fault, None, "{body}");
    }
}

#[test]
fn what_is_no_object_is_no_answer() {
    for body in ["", "[]", "null", "<html>", "{\"id\":\"a\"", "{} {}"] {
        assert!(read_answer(Endpoint::ChatCompletions, body.as_bytes()).is_err(), "{body}");
    }
}
