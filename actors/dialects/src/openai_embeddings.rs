//! `POST /v1/embeddings`: costs input only.

use memchr::memmem;

use crate::answer::{Answer, StreamFault};
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::request::Draft;
use crate::usage;

/// Answers up to this size are read whole, in bytes; of larger ones, only the two fields that matter are looked up.
const WHOLE_BYTES_MAX: usize = 16 << 10;

/// How much of each end of a larger answer is searched, in bytes.
const ENDS_BYTES: usize = 4 << 10;

/// Takes a field of a request.
pub(crate) fn field<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
    if key != b"input" {
        return c.skip();
    }
    draft.has_input = true;
    match c.kind()? {
        Kind::String => c.skip(),
        Kind::Array => c.array(|c| {
            // objects are pieces of other media; what they cost, bytes do not say
            draft.finds.unbounded |= c.kind()? == Kind::Object;
            c.skip()
        }),
        _ => Err(Invalid::kind("input", "a string or an array")),
    }
}

/// What has to be there.
pub(crate) fn finish(draft: &mut Draft<'_>) -> Read<()> {
    if draft.has_input { Ok(()) } else { Err(Invalid::missing("input")) }
}

/// Reads a whole answer. A large one is nearly all numbers or base64, where no quoted `usage` can stand: what matters is searched at
/// both ends instead of reading tens of megabytes.
pub(crate) fn read(body: &[u8]) -> Read<Answer> {
    if body.len() > WHOLE_BYTES_MAX {
        let answer = read_ends(&body[..ENDS_BYTES], &body[body.len() - ENDS_BYTES..]);
        if answer.usage.is_some() {
            return Ok(answer);
        }
    }
    let mut answer = Answer::default();
    let mut cursor = Cursor::new(body);
    cursor.object(|c, key| match &*key.bytes() {
        b"id" => answer.take_id(c),
        b"model" => answer.take_model(c),
        b"usage" => {
            answer.usage = usage::openai(c)?;
            Ok(())
        }
        b"error" => {
            answer.fault = StreamFault::take(c)?;
            Ok(())
        }
        _ => c.skip(),
    })?;
    cursor.end()?;
    Ok(answer)
}

fn read_ends(head: &[u8], tail: &[u8]) -> Answer {
    let mut answer = Answer::default();
    for end in [tail, head] {
        // a value that is cut by the window is none: the other end, or the whole, is read then
        let _ = find(end, b"\"id\"", &mut |c| answer.take_id(c));
        let _ = find(end, b"\"model\"", &mut |c| answer.take_model(c));
        let _ = find(end, b"\"usage\"", &mut |c| {
            answer.usage = answer.usage.or(usage::openai(c)?);
            Ok(())
        });
    }
    answer
}

/// Hands the value of the last such key to `take`.
fn find(window: &[u8], key: &[u8], take: &mut dyn FnMut(&mut Cursor<'_>) -> Read<()>) -> Read<()> {
    let rest = memmem::rfind(window, key).map(|at| window[at + key.len()..].trim_ascii_start());
    match rest.and_then(|rest| rest.strip_prefix(b":")) {
        Some(value) => take(&mut Cursor::new(value)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, read_answer, read_request};

    #[test]
    fn input_has_to_be_there() {
        for (body, param) in
            [(r#"{"model":"m"}"#, "input"), (r#"{"model":"m","input":null}"#, "input"), (r#"{"model":"m","input":{}}"#, "input")]
        {
            assert_eq!(read_request(Endpoint::Embeddings, body.as_bytes()).expect_err(body).param.as_deref(), Some(param));
        }
        let request = read_request(Endpoint::Embeddings, br#"{"model":"m","input":["a","b"],"stream":true}"#).expect("valid");
        assert_eq!((request.choices, request.stream, request.unbounded_input), (1, false, false));
        assert!(read_request(Endpoint::Embeddings, br#"{"model":"m","input":[{"image":"x"}]}"#).expect("valid").unbounded_input);
    }

    #[test]
    fn large_and_small_answers_give_the_same() {
        for numbers in [1, 10_000] {
            let data = vec!["0.0123"; numbers].join(",");
            let body = format!(
                r#"{{"object":"list","data":[{{"embedding":[{data}]}}],"model":"e","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#
            );
            let front = format!(r#"{{"usage" : {{"prompt_tokens":8,"total_tokens":8}},"model":"e","data":[{{"embedding":[{data}]}}]}}"#);
            for body in [body, front] {
                let answer = read_answer(Endpoint::Embeddings, body.as_bytes()).expect("valid");
                let usage = answer.usage.expect("usage");
                assert_eq!((usage.input, usage.tokens(), answer.model.as_deref()), (8, 8, Some("e")));
            }
        }
    }

    #[test]
    fn without_usage_a_large_answer_is_read_whole() {
        let body = format!(r#"{{"data":[{}]}}"#, vec!["1"; 20_000].join(","));
        assert_eq!(read(body.as_bytes()).expect("valid"), Answer::default());
        assert!(read(&body.as_bytes()[..30_000]).is_err());
    }
}
