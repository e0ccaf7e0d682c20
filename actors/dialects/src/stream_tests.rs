use proptest::prelude::*;

use super::*;
use crate::request::knowing_json_for_tests as knowing_json;

const FIRST: &str = "data: {\"id\":\"c1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const WORD: &str =
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"},\"finish_reason\":null}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2,\"total_tokens\":10}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn run(endpoint: Endpoint, choices: u64, strip: bool, chunks: &[&[u8]]) -> (Stream, Vec<Piece>) {
    let (mut stream, mut out) = (Stream::new(endpoint, choices, strip), Vec::new());
    for chunk in chunks {
        stream.push(Bytes::copy_from_slice(chunk), &mut out).expect("short frames");
    }
    stream.close(&mut out);
    (stream, out)
}

fn chat(choices: u64, strip: bool, text: &str) -> (Stream, Vec<Piece>) {
    run(Endpoint::ChatCompletions, choices, strip, &[text.as_bytes()])
}

fn pass(text: &str) -> Piece {
    Piece::Pass(Bytes::copy_from_slice(text.as_bytes()))
}

fn end(text: &str) -> Piece {
    Piece::End(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn frames_of_one_chunk_are_one_slice_and_no_copy() {
    let chunk = Bytes::from([FIRST, WORD, WORD].concat());
    let (mut stream, mut out) = (Stream::new(Endpoint::ChatCompletions, 1, true), Vec::new());
    stream.push(chunk.clone(), &mut out).expect("short");
    assert_eq!(out, [Piece::Pass(chunk.clone())]);
    let Piece::Pass(slice) = &out[0] else { panic!("passed") };
    assert_eq!(slice.as_ptr(), chunk.as_ptr());
}

#[test]
fn the_finish_reason_is_the_end_and_usage_behind_it_is_read() {
    let (stream, out) = chat(1, false, &[FIRST, WORD, STOP, USAGE, DONE].concat());
    assert_eq!(out, [pass(&[FIRST, WORD].concat()), end(&[STOP, USAGE, DONE].concat())]);
    assert_eq!((stream.id(), stream.model(), stream.finish(), stream.output_bytes()), (Some("c1"), Some("m"), Some("stop"), 5));
    assert_eq!(stream.usage().expect("usage").tokens(), 10);
}

#[test]
fn usage_that_we_asked_for_is_taken_out_whole() {
    let (stream, out) = chat(1, true, &[FIRST, WORD, STOP, USAGE, DONE].concat());
    assert_eq!(out, [pass(&[FIRST, WORD].concat()), end(STOP), end(DONE)]);
    assert_eq!(stream.usage().expect("usage").tokens(), 10);
    let with_finish = STOP.replace("null}\n", "{\"prompt_tokens\":1,\"completion_tokens\":1}}\n");
    let (stream, out) = chat(1, true, &[FIRST, &with_finish].concat());
    assert_eq!(out, [pass(FIRST), end(&with_finish)]);
    assert_eq!(stream.usage().expect("usage").tokens(), 2);
}

#[test]
fn a_frame_without_choices_and_without_usage_stays() {
    let filter = "data: {\"choices\":[],\"prompt_filter_results\":[{}],\"usage\":null}\n\n";
    let (stream, out) = chat(1, true, &[filter, WORD].concat());
    assert_eq!(out, [pass(&[filter, WORD].concat())]);
    assert!(!stream.complete());
}

#[test]
fn every_choice_has_to_end_once() {
    let stop = |index: u32| STOP.replace("\"index\":0", &format!("\"index\":{index}"));
    let (stream, _) = chat(3, false, &[&*stop(0), &stop(0), &stop(2), &stop(2)].concat());
    assert!(!stream.complete());
    let (stream, out) = chat(3, false, &[&*stop(0), &stop(2), &stop(1), DONE].concat());
    assert!(stream.complete());
    assert_eq!(out, [pass(&[stop(0), stop(2)].concat()), end(&[&*stop(1), DONE].concat())]);
    let (stream, out) = chat(3, false, &[&*stop(0), USAGE].concat());
    assert!(stream.complete() && out[1] == end(USAGE));
    let (stream, out) = chat(3, false, &[&*stop(u32::MAX), DONE].concat());
    assert!(stream.complete() && out[1] == end(DONE));
}

#[test]
fn several_choices_may_end_in_one_frame() {
    let both = "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"},{\"index\":1,\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n";
    let (stream, out) = run(Endpoint::Completions, 2, false, &[both.as_bytes()]);
    assert_eq!((stream.complete(), stream.output_bytes(), out), (true, 2, vec![end(both)]));
}

#[test]
fn nothing_has_started_before_a_token() {
    assert!(!chat(1, false, &format!(": note\n\n{FIRST}")).0.started());
    assert!(chat(1, false, WORD).0.started());
    let reasoning = WORD.replace("\"content\"", "\"reasoning_content\"");
    assert!(chat(1, false, &reasoning).0.started());
    let tool = WORD
        .replace("\"content\":\"hello\"", "\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]");
    assert!(chat(1, false, &tool).0.started());
}

#[test]
fn errors_inside_of_a_stream_are_faults() {
    let error = "data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"code\":503}}\n\n";
    let (stream, out) = chat(1, false, &[WORD, error].concat());
    let fault = stream.failed().expect("a fault");
    assert_eq!((fault.status, fault.code.as_deref(), fault.kind.as_deref()), (503, Some("503"), Some("server_error")));
    assert_eq!(out, [pass(WORD), end(error)]);
    assert!(!stream.complete());
}

#[test]
fn forms_of_framing_are_all_read() {
    for text in [
        [FIRST, WORD, STOP].concat().replace('\n', "\r\n"),
        [FIRST, WORD, STOP].concat().replace('\n', "\r"),
        format!("\u{feff}{}", [FIRST, WORD, STOP].concat()),
        [FIRST, WORD, STOP].concat().trim_end().to_owned(),
        [FIRST, WORD, STOP].concat().replace("data: ", "data:"),
        [FIRST, ": comment\n\n", WORD, "\n\n", STOP].concat().replace(",\"choices\"", ",\ndata: \"choices\""),
    ] {
        for size in [1, 2, 3, 7, text.len()] {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (stream, out) = run(Endpoint::ChatCompletions, 1, true, &chunks);
            assert!(stream.complete(), "{text:?}");
            assert_eq!((stream.output_bytes(), stream.id()), (5, Some("c1")), "{text:?}");
            assert_eq!(joined(&out), text.as_bytes());
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_left_at_the_start_of_a_line() {
    let (stream, out) = chat(1, false, &[FIRST, &WORD[..30]].concat());
    assert_eq!(out, [pass(FIRST)]);
    assert!(!stream.complete());
    let (stream, out) = chat(1, false, &[FIRST, WORD.trim_end()].concat());
    assert_eq!(joined(&out), [FIRST, WORD].concat().as_bytes());
    assert!(!stream.complete() && stream.started());
}

#[test]
fn what_is_no_json_passes_unread() {
    let odd = "data: hello\n\ndata: {\"choices\":7}\n\nevent: x\n\ndata\n\n";
    let (stream, out) = chat(1, true, odd);
    assert_eq!(out, [pass(odd)]);
    assert!(!stream.complete() && !stream.started() && stream.failed().is_none());
}

#[test]
fn a_frame_over_its_bound_is_an_error() {
    let (mut stream, mut out) = (Stream::new(Endpoint::ChatCompletions, 1, false), Vec::new());
    let mebibyte = Bytes::from(vec![b'x'; 1 << 20]);
    stream.push(Bytes::from_static(WORD.as_bytes()), &mut out).expect("short");
    for _ in 0..16 {
        stream.push(mebibyte.clone(), &mut out).expect("at the bound");
    }
    assert_eq!(stream.push(Bytes::from_static(b"x"), &mut out).expect_err("over it").code, "too_large");
    assert_eq!(out, [pass(WORD)]);
    let mut at_once = Stream::new(Endpoint::ChatCompletions, 1, false);
    let big = [vec![b'x'; limits::FRAME_BYTES_MAX], b"\n\n".to_vec()].concat();
    out.clear();
    assert!(at_once.push(Bytes::from([WORD.as_bytes(), &big].concat()), &mut out).is_err());
    assert_eq!(out, [pass(WORD)]);
}

#[test]
fn what_was_used_so_far_is_the_larger_of_word_and_estimate() {
    let running = WORD.replace("\"usage\":null", "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}");
    let (stream, _) = chat(1, false, &running.repeat(4));
    assert_eq!((stream.usage(), stream.output_bytes()), (None, 20));
    assert_eq!((stream.partial().input, stream.partial().tokens_out()), (9, 5));
    let (stream, _) = chat(1, false, &running.replace("tokens\":1", "tokens\":70"));
    assert_eq!(stream.partial().tokens_out(), 70);
}

fn joined(out: &[Piece]) -> Vec<u8> {
    out.iter()
        .flat_map(|piece| match piece {
            Piece::Pass(bytes) | Piece::End(bytes) => bytes.to_vec(),
        })
        .collect()
}

/// All that may not depend on how the bytes are cut.
fn seen(endpoint: Endpoint, strip: bool, chunks: &[&[u8]]) -> (Vec<u8>, usize, Answer, bool, bool) {
    let (stream, out) = run(endpoint, 2, strip, chunks);
    let passed: usize = out.iter().map(|piece| if let Piece::Pass(bytes) = piece { bytes.len() } else { 0 }).sum();
    let first_end = out.iter().position(|piece| matches!(piece, Piece::End(_))).unwrap_or(out.len());
    assert!(out[first_end..].iter().all(|piece| matches!(piece, Piece::End(_))), "the end is the end");
    let Stream { progress, .. } = stream;
    (joined(&out), passed, progress.answer, progress.complete, progress.began)
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec![FIRST, WORD, STOP, USAGE, DONE]).prop_map(|frame| frame.as_bytes().to_vec()),
        3 => (knowing_json(), prop::sample::select(vec!["\n", "\r\n", "\r"]))
            .prop_map(|(json, line)| format!("event: message_delta{line}data: {json}{line}{line}").into_bytes()),
        2 => "[\r\n]{1,4}|: [a-z]{0,5}\n\n|data: \u{e9}\u{1F600}{0,3}\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

proptest! {
    #[test]
    fn cutting_changes_nothing(frames in prop::collection::vec(frame(), 0..8), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20), strip: bool, bom: bool) {
        let mut bytes = if bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        bytes.extend(frames.concat());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        for endpoint in Endpoint::ALL {
            let whole = seen(endpoint, strip, &[&bytes]);
            prop_assert_eq!(&seen(endpoint, strip, &chunks), &whole);
            prop_assert_eq!(&seen(endpoint, strip, &single), &whole);
        }
    }

    /// Whatever comes, whole frames go out as they came in.
    #[test]
    fn bytes_pass_as_they_are(frames in prop::collection::vec(frame(), 0..8)) {
        let mut bytes = frames.concat();
        bytes.extend_from_slice(b"\n\n\n");
        for endpoint in Endpoint::ALL {
            prop_assert_eq!(&joined(&run(endpoint, 1, false, &[&bytes]).1), &bytes);
        }
    }
}
