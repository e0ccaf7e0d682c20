//! How many tokens a request may cost: by its bytes, or by a vocabulary that is public.

use std::ops::Range;

use crate::Endpoint;
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::request::Request;
use crate::text::Text;

/// What a provider adds by itself to any request, in tokens: a system prompt of its own, the marks around turns. The largest in recorded
/// traffic is under 200 (Grok).
const ADDED_TOKENS: u64 = 512;
/// What it adds where tools are offered: the text that explains their use. Anthropic documents up to 530 and, for its computer tool, 1,234.
const ADDED_TOOL_TOKENS: u64 = 2_048;
/// As [`ADDED_TOKENS`], for models with a public vocabulary; gpt-oss puts some 70 in front.
const ADDED_TOKENS_KNOWN: u64 = 128;

/// A public vocabulary.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    O200k,
    Cl100k,
}

/// A model's name without the provider in front and without the marks of a fine-tuned one.
pub(crate) fn bare_model(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    match name.strip_prefix("ft:") {
        Some(tuned) => tuned.split(':').next().unwrap_or(tuned),
        None => name,
    }
}

/// The vocabulary of a model, where it is public.
pub fn vocabulary(model: &str) -> Option<Vocabulary> {
    let name = bare_model(model);
    let newer = ["gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "o1", "o3", "o4", "codex-mini"];
    let older = ["gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada-002", "davinci-002", "babbage-002"];
    if newer.iter().any(|prefix| name.starts_with(prefix)) {
        Some(Vocabulary::O200k)
    } else if older.iter().any(|prefix| name.starts_with(prefix)) {
        Some(Vocabulary::Cl100k)
    } else {
        None
    }
}

/// Tokens of a text, special tokens read as plain text.
pub fn count(v: Vocabulary, text: &str) -> u64 {
    let tokenizer = match v {
        Vocabulary::O200k => bpe_openai::o200k_base(),
        Vocabulary::Cl100k => bpe_openai::cl100k_base(),
    };
    tokenizer.count(text) as u64
}

/// Tokens of a text of so many bytes, roughly: four bytes each, rounded up. For rates, and for usage that never came.
pub fn estimate(text_bytes: u64) -> u64 {
    text_bytes.div_ceil(4)
}

/// The most input tokens that a body of so many bytes can become, apart from inline media. Vocabularies of bytes make at most one
/// token of each; the marks around a turn, fewer than ten tokens, cost less than the JSON around it (`{"role":"user","content":""},` has 29
/// bytes). What a provider adds by itself comes on top. Means nothing where `unbounded_input` is set.
pub fn input_bound_by_bytes(request: &Request, body_len: usize) -> u64 {
    let text = body_len.saturating_sub(request.media.bytes) as u64;
    text.saturating_add(added(request, ADDED_TOKENS))
}

/// What comes on top of the body. Embeddings take the text as it is.
fn added(request: &Request, always: u64) -> u64 {
    match request.endpoint {
        Endpoint::Embeddings => 0,
        _ => always + if request.tools { ADDED_TOOL_TOKENS } else { 0 },
    }
}

/// The most input tokens of a request by a vocabulary, apart from inline media: every key and text of the body is tokenised, with what
/// stands around it. `None` where the body bounds nothing, or is not the one that the request was read from. Takes about 1 ms for 20 KB.
pub fn input_tokens(v: Vocabulary, request: &Request, body: &[u8]) -> Option<u64> {
    if request.unbounded_input || body.len() != request.spans.body {
        return None;
    }
    let mut sum = Sum { vocabulary: v, inline: &request.spans.inline, tokens: 0 };
    sum.value(&mut Cursor::new(body))?;
    Some(sum.tokens.saturating_add(added(request, ADDED_TOKENS_KNOWN)))
}

struct Sum<'a> {
    vocabulary: Vocabulary,
    inline: &'a [Range<usize>],
    tokens: u64,
}

impl Sum<'_> {
    fn value(&mut self, c: &mut Cursor<'_>) -> Option<()> {
        match c.kind().ok()? {
            Kind::Object => c.object(|c, key| {
                self.text(key);
                self.member(c)
            }),
            Kind::Array => c.array(|c| self.member(c)),
            Kind::String => return self.string(c),
            Kind::Number => c.span().map(|span| self.tokens += span.len() as u64),
            Kind::Bool | Kind::Null => c.skip().map(|_| self.tokens += 1),
        }
        .ok()
    }

    fn member(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        let at = c.offset();
        self.value(c).ok_or_else(|| Invalid::json(at, "a value that was valid before"))
    }

    fn string(&mut self, c: &mut Cursor<'_>) -> Option<()> {
        let start = c.offset();
        let text = c.string().ok()??;
        if self.inline.binary_search_by_key(&start, |span| span.start).is_err() {
            self.text(text);
        }
        Some(())
    }

    /// A text and what may stand around it: a mark in front and one behind. What cannot be decoded counts by its bytes.
    fn text(&mut self, text: Text<'_>) {
        let tokens = match text.decode() {
            Some(text) => count(self.vocabulary, &text),
            None => text.raw_len() as u64,
        };
        self.tokens = self.tokens.saturating_add(tokens).saturating_add(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_request;

    #[test]
    fn counts_are_those_of_the_published_vocabularies() {
        for (text, o200k, cl100k) in [("", 0, 0), ("hello world", 2, 2), ("tiktoken is great!", 6, 6), ("お誕生日おめでとう", 8, 9)]
        {
            assert_eq!(count(Vocabulary::O200k, text), o200k, "{text}");
            assert_eq!(count(Vocabulary::Cl100k, text), cl100k, "{text}");
        }
    }

    #[test]
    fn vocabularies_are_those_of_openai_only() {
        for model in ["gpt-4o-mini", "openai/gpt-5.1", "o3-mini", "ft:gpt-4.1-nano:acme::x", "gpt-oss-120b"] {
            assert_eq!(vocabulary(model), Some(Vocabulary::O200k), "{model}");
        }
        for model in ["gpt-4-turbo", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "ft:gpt-3.5-turbo:acme"] {
            assert_eq!(vocabulary(model), Some(Vocabulary::Cl100k), "{model}");
        }
        for model in ["claude-sonnet-4-5", "llama-3.3", "", "mistral-large", "omni-moderation-latest"] {
            assert_eq!(vocabulary(model), None, "{model}");
        }
    }

    #[test]
    fn estimates_round_up() {
        assert_eq!([0, 1, 4, 5].map(estimate), [0, 1, 1, 2]);
    }

    #[test]
    fn tokens_of_a_body_leave_inline_pieces_out_and_nothing_else() {
        let picture = "A".repeat(40_000);
        let body = format!(
            r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":[{{"type":"text","text":"data:image/png;base64,{picture}"}},
            {{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
        );
        let request = read_request(Endpoint::ChatCompletions, body.as_bytes()).expect("valid");
        assert_eq!((request.media.images, request.unbounded_input), (1, false));
        let alone = count(Vocabulary::O200k, &picture);
        let tokens = input_tokens(Vocabulary::O200k, &request, body.as_bytes()).expect("bounded");
        assert!((alone..alone + 400).contains(&tokens), "{tokens} for {alone}");
        assert!(input_bound_by_bytes(&request, body.len()) < 42_000);
        assert_eq!(input_tokens(Vocabulary::O200k, &request, b"{}"), None);
    }

    #[test]
    fn the_bound_by_tokens_is_under_the_bound_by_bytes_for_prose() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(200);
        let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let request = read_request(Endpoint::ChatCompletions, body.as_bytes()).expect("valid");
        let tokens = input_tokens(Vocabulary::O200k, &request, body.as_bytes()).expect("bounded");
        let exact = count(Vocabulary::O200k, &text) + 8;
        assert!(tokens >= exact && tokens < exact + 200, "{tokens} for {exact}");
        assert!(input_bound_by_bytes(&request, body.len()) > 3 * tokens);
    }
}
