//! A stream as the answer that it is: for whoever looks at it afterwards, not for callers.

use crate::{
    Endpoint,
    answer::StreamFault,
    exchange::{Event, anthropic_messages, fold::Fold, loss::Losses, openai_chat},
    sse::{Frame, Framer},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WholeStream {
    /// The answer; of a stream that broke off, as far as it came.
    pub answer: Value,
    /// Frames with data.
    pub frames: usize,
}

/// Folds a stream of an endpoint; `created` stands in answers that name a time. What cannot be read is passed over.
pub fn whole_stream(endpoint: Endpoint, bytes: &[u8], created: u64) -> WholeStream {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut datas = Vec::new();
    let (mut framer, mut at) = (Framer::default(), 0);
    while at < bytes.len() {
        let end = framer.end(bytes, at).unwrap_or(bytes.len());
        let frame = Frame::read(&bytes[at..end]);
        datas.extend(frame.data.map(|data| (frame.name, data.into_owned())));
        at = end;
    }
    let frames = datas.len();
    let answer = match endpoint {
        Endpoint::ChatCompletions => chat(&datas, created),
        Endpoint::Messages => messages(&datas),
        Endpoint::Responses => response(&datas),
        _ => completion(&datas),
    };
    WholeStream { answer, frames }
}

type Data<'a> = (&'a [u8], Vec<u8>);

fn chat(datas: &[Data<'_>], created: u64) -> Value {
    let (mut decoder, mut events) = (openai_chat::Decoder::default(), Vec::new());
    datas.iter().for_each(|(name, data)| decoder.frame(name, data, &mut events));
    decoder.close(&mut events);
    let (answer, fault) = folded(events);
    with_fault(openai_chat::encode_answer(answer, crate::Dialect::OpenAi, created, &mut Losses::default()), fault)
}

fn messages(datas: &[Data<'_>]) -> Value {
    let (mut decoder, mut events) = (anthropic_messages::Decoder::default(), Vec::new());
    datas.iter().for_each(|(name, data)| decoder.frame(name, data, &mut events));
    decoder.close(&mut events);
    let (answer, fault) = folded(events);
    with_fault(anthropic_messages::encode_answer(answer, crate::Dialect::Anthropic, &mut Losses::default()), fault)
}

fn folded(events: Vec<Event>) -> (crate::exchange::fold::Answer, Option<StreamFault>) {
    let mut fold = Fold::default();
    for event in events {
        if fold.push(event).is_err() {
            break;
        }
    }
    let mut answer = fold.answer();
    let fault = answer.fault.take();
    (answer, fault)
}

/// An error that came inside of the stream stands beside what came before it.
fn with_fault(mut answer: Value, fault: Option<StreamFault>) -> Value {
    if let (Some(fields), Some(fault)) = (answer.as_object_mut(), fault) {
        fields.insert("error".into(), json!({"message": fault.message, "code": fault.code, "type": fault.kind}));
    }
    answer
}

/// The last frame says the whole response; without it, the texts as far as they came.
fn response(datas: &[Data<'_>]) -> Value {
    let mut texts: BTreeMap<(u64, u64, String), String> = BTreeMap::new();
    let mut last = Value::Null;
    for (_, data) in datas {
        let Ok(mut frame) = serde_json::from_slice::<Value>(data) else { continue };
        if let Some(error) = frame.get("error").or_else(|| (frame["type"] == "error").then_some(&frame)) {
            last = json!({"error": error.clone()});
        }
        if matches!(frame["type"].as_str(), Some("response.completed" | "response.incomplete" | "response.failed")) {
            last = frame["response"].take();
        }
        let kind = frame["type"].as_str().and_then(|kind| kind.strip_suffix(".delta")).map(str::to_owned);
        if let (Some(kind), Some(delta)) = (kind, frame["delta"].as_str()) {
            let place = |name: &str| frame[name].as_u64().unwrap_or(0);
            texts.entry((place("output_index"), place("content_index"), kind)).or_default().push_str(delta);
        }
    }
    if last.get("output").is_some() {
        return last;
    }
    let parts: Vec<Value> =
        texts.into_iter().map(|((output, _, kind), text)| json!({"output_index": output, "type": kind, "text": text})).collect();
    let mut answer = json!({"object": "response", "status": "incomplete", "output": parts});
    if let (Some(fields), Some(error)) = (answer.as_object_mut(), last.get("error")) {
        fields.insert("error".into(), error.clone());
    }
    answer
}

/// The first frame's fields, the texts of each choice together, and whatever came last of the rest.
fn completion(datas: &[Data<'_>]) -> Value {
    let (mut answer, mut choices) = (Map::new(), BTreeMap::<u64, Map<String, Value>>::new());
    for (_, data) in datas {
        let Ok(Value::Object(mut frame)) = serde_json::from_slice::<Value>(data) else { continue };
        let Some(Value::Array(list)) = frame.remove("choices") else {
            answer.extend(frame);
            continue;
        };
        for choice in list {
            let Value::Object(mut choice) = choice else { continue };
            let kept = choices.entry(choice.get("index").and_then(Value::as_u64).unwrap_or(0)).or_default();
            let text = [kept.get("text"), choice.get("text")].into_iter().flatten().filter_map(Value::as_str).collect::<String>();
            choice.insert("text".into(), text.into());
            kept.extend(choice.into_iter().filter(|(_, value)| !value.is_null()));
        }
        answer.extend(frame.into_iter().filter(|(_, value)| !value.is_null()));
    }
    answer.insert("choices".into(), choices.into_values().map(Value::Object).collect());
    Value::Object(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frames: &[&str]) -> Vec<u8> {
        frames.iter().flat_map(|frame| format!("data: {frame}\n\n").into_bytes()).collect()
    }

    #[test]
    fn a_chat_stream_is_its_answer() {
        let stream = text(&[
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"ada@"}}]}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"example.com"}}]}"#,
            r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]);
        let whole = whole_stream(Endpoint::ChatCompletions, &stream, 1);
        assert_eq!(whole.frames, 4);
        assert_eq!(whole.answer["choices"][0]["message"]["content"], "ada@example.com");
        let broken = whole_stream(Endpoint::ChatCompletions, &stream[..stream.len() / 2], 1);
        assert_eq!(broken.answer["choices"][0]["message"]["content"], "ada@");
    }

    #[test]
    fn a_stream_of_messages_is_its_answer() {
        let stream = text(&[
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"x","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"to "}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ada"}}"#,
        ]);
        let whole = whole_stream(Endpoint::Messages, &stream, 1);
        assert_eq!(whole.answer["content"][0]["text"], "to ada");
    }

    #[test]
    fn a_response_is_what_its_last_frame_says_or_its_texts() {
        let mut frames = vec![
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"to "}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"ada"}"#,
        ];
        let broken = whole_stream(Endpoint::Responses, &text(&frames), 1);
        assert_eq!(broken.answer["output"][0]["text"], "to ada");
        frames.push(r#"{"type":"response.completed","response":{"id":"r","output":[{"x":1}]}}"#);
        assert_eq!(whole_stream(Endpoint::Responses, &text(&frames), 1).answer, json!({"id": "r", "output": [{"x": 1}]}));
    }

    #[test]
    fn a_completion_is_its_texts_together() {
        let stream = text(&[
            r#"{"id":"c","choices":[{"index":0,"text":"to ","finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"text":"ada","finish_reason":"stop"}],"usage":{"total_tokens":2}}"#,
            "[DONE]",
        ]);
        let whole = whole_stream(Endpoint::Completions, &stream, 1);
        assert_eq!(whole.answer["choices"], json!([{"index": 0, "text": "to ada", "finish_reason": "stop"}]));
        assert_eq!(whole.answer["usage"]["total_tokens"], 2);
        assert_eq!(whole_stream(Endpoint::Completions, b"nothing", 1).answer, json!({"choices": []}));
    }
}
