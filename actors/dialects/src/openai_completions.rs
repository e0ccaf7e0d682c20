//! `POST /v1/completions`. Its answers and frames are those of chat, with `text` where chat has a message.

use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::request::Draft;

/// Takes a field of a request.
pub(crate) fn field<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
    match key {
        b"prompt" => {
            draft.has_input = true;
            draft.prompts = prompts(c)?;
            Ok(())
        }
        b"max_tokens" => draft.output_limit(c, "max_tokens"),
        b"n" => {
            draft.n = draft.choices(c, "n")?;
            Ok(())
        }
        b"best_of" => {
            draft.best_of = draft.choices(c, "best_of")?;
            Ok(())
        }
        b"stream_options" => draft.stream_options(c),
        _ => c.skip(),
    }
}

/// Nothing has to be there: a prompt that is left out is an empty document.
pub(crate) fn finish(_: &mut Draft<'_>) -> Read<()> {
    Ok(())
}

/// How many prompts there are: a list of texts or of lists is many, a list of token numbers is one.
fn prompts(c: &mut Cursor<'_>) -> Read<u64> {
    match c.kind()? {
        Kind::String | Kind::Null => c.skip().map(|_| 1),
        Kind::Array => {
            let mut many = 0u64;
            c.array(|c| {
                match c.kind()? {
                    Kind::String | Kind::Array => many += 1,
                    Kind::Number => {}
                    _ => return Err(Invalid::kind("prompt", "a string, strings, tokens or lists of tokens")),
                }
                c.skip()
            })?;
            Ok(many.max(1))
        }
        _ => Err(Invalid::kind("prompt", "a string or an array")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Endpoint, read_request};

    fn choices(body: &str) -> u64 {
        read_request(Endpoint::Completions, body.as_bytes()).expect(body).choices
    }

    #[test]
    fn choices_are_prompts_times_the_larger_of_n_and_best_of() {
        assert_eq!(choices(r#"{"model":"m"}"#), 1);
        assert_eq!(choices(r#"{"model":"m","prompt":"a"}"#), 1);
        assert_eq!(choices(r#"{"model":"m","prompt":["a","b","c"]}"#), 3);
        assert_eq!(choices(r#"{"model":"m","prompt":[1,2,3,4]}"#), 1);
        assert_eq!(choices(r#"{"model":"m","prompt":[[1,2],[3,4]],"n":3,"best_of":5}"#), 10);
        assert_eq!(choices(r#"{"model":"m","prompt":[],"n":7,"best_of":null}"#), 7);
    }

    #[test]
    fn wrong_prompts_and_counts_name_their_field() {
        for (body, param) in [
            (r#"{"model":"m","prompt":{}}"#, "prompt"),
            (r#"{"model":"m","prompt":[true]}"#, "prompt"),
            (r#"{"model":"m","best_of":0}"#, "best_of"),
            (r#"{"model":"m","n":129}"#, "n"),
            (r#"{"model":"m","n":1.5}"#, "n"),
            (r#"{"model":"m","max_tokens":"5"}"#, "max_tokens"),
        ] {
            let invalid = read_request(Endpoint::Completions, body.as_bytes()).expect_err(body);
            assert_eq!(invalid.param.as_deref(), Some(param), "{body}");
        }
    }
}
