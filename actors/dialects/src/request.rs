//! What we must know of a request. The bytes stay as they are; ranges into them remember where the fields stand that we own.

use std::borrow::Cow;
use std::ops::Range;

use events::limits;

use crate::exchange::foreign_thinking;
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::media::{Finds, Media};
use crate::{Endpoint, anthropic_messages, openai_chat, openai_completions, openai_embeddings, openai_responses};

/// Longest model name that is taken, in bytes: a provider's name, a slash and the model's.
const MODEL_BYTES_MAX: usize = limits::NAME_BYTES_MAX * 2;
/// Longest end-user name that is kept, in bytes; a longer one is passed on and not recorded.
const USER_BYTES_MAX: usize = 128;
/// Longest service tier that is kept, in bytes.
const TIER_BYTES_MAX: usize = 64;
/// Most choices of one prompt: OpenAI's own bound.
const CHOICES_MAX: u64 = 128;

/// What we must know of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub endpoint: Endpoint,
    pub model: String,
    pub stream: bool,
    /// The caller's own maximum, in tokens of output for each choice.
    pub output_limit: Option<u64>,
    /// How often the output limit may be used up: max(`n`, `best_of`) × prompts.
    pub choices: u64,
    /// `stream_options.include_usage` was true.
    pub wants_usage: bool,
    /// The bytes of the body do not bound what goes into the model: something is fetched, or was kept, or is searched.
    pub unbounded_input: bool,
    /// Pieces given inline.
    pub media: Media,
    /// The field that names something that the provider keeps for somebody (P6).
    pub provider_state: Option<&'static str>,
    /// Responses: the answer is to be fetched later.
    pub background: bool,
    /// Whom the caller names as the end user; at most 128 bytes.
    pub user: Option<String>,
    /// Tools are offered.
    pub tools: bool,
    /// At most 64 bytes.
    pub service_tier: Option<String>,
    /// A `cache_control` appears somewhere.
    pub cache_write: bool,
    /// A `cache_control` of an hour appears somewhere.
    pub cache_write_1h: bool,
    /// Thinking that our translation has put into this dialect's words appears, or may: its provider did not make it.
    pub foreign_thinking: bool,
    pub(crate) spans: Spans,
}

/// Where in the body things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    /// Length of the whole body, in bytes.
    pub(crate) body: usize,
    /// Right behind the opening brace.
    pub(crate) open: usize,
    /// The model's name, quotes included.
    pub(crate) model: Range<usize>,
    /// Output limits that are there as `null`.
    pub(crate) nulls: Vec<(&'static str, Range<usize>)>,
    pub(crate) stream_options: StreamOptions,
    /// Inline pieces, quotes included; ascending.
    pub(crate) inline: Vec<Range<usize>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum StreamOptions {
    #[default]
    Absent,
    Null(Range<usize>),
    /// An object: right behind its brace, whether it is empty, and the value of `include_usage`.
    Object {
        open: usize,
        empty: bool,
        include_usage: Option<Range<usize>>,
    },
}

/// A request while it is read.
pub(crate) struct Draft<'a> {
    pub(crate) request: Request,
    pub(crate) finds: Finds,
    /// Something that stands for `messages`, `input` or `prompt` was there.
    pub(crate) has_input: bool,
    body: &'a [u8],
    keys: Vec<Cow<'a, [u8]>>,
    cache_hour: bool,
    pub(crate) n: u64,
    pub(crate) best_of: u64,
    pub(crate) prompts: u64,
}

/// Reads a request body once, from front to back.
///
/// # Errors
/// What is wrong with the body, with the field or the byte named.
pub fn read_request(endpoint: Endpoint, body: &[u8]) -> Result<Request, Invalid> {
    if body.is_empty() {
        return Err(Invalid { message: "The body is empty.".to_owned(), param: None, code: "invalid_json" });
    }
    if let Err(error) = std::str::from_utf8(body) {
        return Err(*Invalid::json(error.valid_up_to(), "invalid UTF-8"));
    }
    Ok(read(endpoint, body)?)
}

fn read(endpoint: Endpoint, body: &[u8]) -> Read<Request> {
    let mut draft = Draft::new(endpoint, body);
    let mut cursor = Cursor::new(body);
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        cursor.end()?;
        return Err(Box::new(Invalid { message: "The body has to be a JSON object.".to_owned(), param: None, code: "invalid_type" }));
    }
    draft.request.spans.open = cursor.offset() + 1;
    cursor.object(|c, key| {
        let name = key.bytes();
        draft.field(c, &name)?;
        draft.keys.push(name);
        Ok(())
    })?;
    cursor.end()?;
    draft.finish(cursor.marks.cache)
}

impl<'a> Draft<'a> {
    fn new(endpoint: Endpoint, body: &'a [u8]) -> Draft<'a> {
        Draft {
            request: Request {
                endpoint,
                model: String::new(),
                stream: false,
                output_limit: None,
                choices: 1,
                wants_usage: false,
                unbounded_input: false,
                media: Media::default(),
                provider_state: None,
                background: false,
                user: None,
                tools: false,
                service_tier: None,
                cache_write: false,
                cache_write_1h: false,
                foreign_thinking: foreign_thinking::may_stand_in(endpoint, body),
                spans: Spans { body: body.len(), ..Spans::default() },
            },
            finds: Finds::default(),
            has_input: false,
            body,
            keys: Vec::with_capacity(16),
            cache_hour: false,
            n: 1,
            best_of: 1,
            prompts: 1,
        }
    }

    /// Takes the value of a top-level field.
    fn field(&mut self, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
        match key {
            b"model" => self.model(c),
            b"stream" if self.request.endpoint.streams() => {
                self.request.stream = flag(c, "stream")?;
                Ok(())
            }
            b"user" | b"safety_identifier" => self.user(c),
            b"metadata" => c.members(|c, key| if key.is(b"user_id") { self.user(c) } else { c.skip() }),
            b"service_tier" => {
                self.request.service_tier = short(c, TIER_BYTES_MAX)?;
                Ok(())
            }
            b"cache_control" => cache_control(c),
            _ => match self.request.endpoint {
                Endpoint::ChatCompletions => openai_chat::field(self, c, key),
                Endpoint::Completions => openai_completions::field(self, c, key),
                Endpoint::Responses => openai_responses::field(self, c, key),
                Endpoint::Embeddings => openai_embeddings::field(self, c, key),
                Endpoint::Messages | Endpoint::CountTokens => anthropic_messages::field(self, c, key),
            },
        }?;
        self.cache_hour |= c.marks.hour;
        Ok(())
    }

    fn model(&mut self, c: &mut Cursor<'a>) -> Read<()> {
        if c.kind()? != Kind::String {
            return Err(Invalid::kind("model", "a string"));
        }
        let start = c.offset();
        let name = c.string()?.and_then(|text| text.decode()).ok_or_else(|| Invalid::value("model", "it holds a lone surrogate"))?;
        if name.is_empty() {
            return Err(Invalid::value("model", "it is empty"));
        }
        if name.len() > MODEL_BYTES_MAX {
            return Err(Invalid::value("model", &format!("it is longer than {MODEL_BYTES_MAX} bytes")));
        }
        // OpenRouter searches the web for such a model
        self.finds.unbounded |= name.ends_with(":online");
        self.request.model = name.into_owned();
        self.request.spans.model = start..c.offset();
        Ok(())
    }

    fn user(&mut self, c: &mut Cursor<'a>) -> Read<()> {
        let user = short(c, USER_BYTES_MAX)?;
        if self.request.user.is_none() {
            self.request.user = user;
        }
        Ok(())
    }

    /// Takes an output limit. Where two are named, the larger one counts: which of them a provider obeys we cannot know.
    pub(crate) fn output_limit(&mut self, c: &mut Cursor<'a>, name: &'static str) -> Read<()> {
        if c.kind()? == Kind::Null {
            let span = c.span()?;
            self.request.spans.nulls.push((name, span));
            return Ok(());
        }
        let limit = c.integer()?.ok_or_else(|| Invalid::kind(name, "an integer from 0 on"))?;
        self.request.output_limit = Some(self.request.output_limit.map_or(limit, |other| other.max(limit)));
        Ok(())
    }

    /// Takes `n` or `best_of`.
    pub(crate) fn choices(&mut self, c: &mut Cursor<'a>, name: &str) -> Read<u64> {
        if c.kind()? == Kind::Null {
            return c.skip().map(|_| 1);
        }
        match c.integer()? {
            Some(count @ 1..=CHOICES_MAX) => Ok(count),
            Some(_) => Err(Invalid::value(name, &format!("expected an integer from 1 to {CHOICES_MAX}"))),
            None => Err(Invalid::kind(name, &format!("an integer from 1 to {CHOICES_MAX}"))),
        }
    }

    /// Takes `stream_options`, and remembers where `include_usage` stands or would stand.
    pub(crate) fn stream_options(&mut self, c: &mut Cursor<'a>) -> Read<()> {
        match c.kind()? {
            Kind::Null => {
                let span = c.span()?;
                self.request.spans.stream_options = StreamOptions::Null(span);
                return Ok(());
            }
            Kind::Object => {}
            _ => return Err(Invalid::kind("stream_options", "an object")),
        }
        let open = c.offset() + 1;
        let (mut empty, mut include_usage) = (true, None);
        c.object(|c, key| {
            empty = false;
            if &*key.bytes() != b"include_usage" {
                return c.skip();
            }
            if include_usage.is_some() {
                return Err(Invalid::duplicate("stream_options.include_usage"));
            }
            c.kind()?;
            let start = c.offset();
            self.request.wants_usage = flag(c, "stream_options.include_usage")?;
            include_usage = Some(start..c.offset());
            Ok(())
        })?;
        self.request.spans.stream_options = StreamOptions::Object { open, empty, include_usage };
        Ok(())
    }

    /// Takes `tools`; `hosted` says of a `type` whether the provider runs such a tool itself.
    pub(crate) fn tools(&mut self, c: &mut Cursor<'a>, name: &str, hosted: fn(Option<&[u8]>) -> bool) -> Read<()> {
        match c.kind()? {
            Kind::Array => {}
            Kind::Null => return c.skip(),
            _ => return Err(Invalid::kind(name, "an array")),
        }
        c.array(|c| {
            self.request.tools = true;
            let mut again = c.clone();
            let mut kind = None;
            c.members(|c, key| {
                match &*key.bytes() {
                    b"type" => kind = c.string()?.map(|text| text.bytes()),
                    b"cache_control" => cache_control(c)?,
                    _ => c.skip()?,
                }
                Ok(())
            })?;
            if hosted(kind.as_deref()) {
                self.finds.unbounded = true;
                self.finds.deep(&mut again)?;
            }
            Ok(())
        })
    }

    /// Takes content: scans it, and walks it a second time by `walk` only if the scan saw more than plain text.
    pub(crate) fn content(
        &mut self,
        c: &mut Cursor<'a>,
        walk: fn(&mut Finds, &mut Cursor<'_>) -> Read<()>,
        scan: impl FnOnce(&mut Cursor<'a>) -> Read<()>,
    ) -> Read<()> {
        let mut again = c.clone();
        c.marks.unplain = false;
        scan(c)?;
        if c.marks.unplain { walk(&mut self.finds, &mut again) } else { Ok(()) }
    }

    fn finish(mut self, cache: bool) -> Read<Request> {
        self.no_duplicates()?;
        if self.request.model.is_empty() {
            return Err(Invalid::missing("model"));
        }
        match self.request.endpoint {
            Endpoint::ChatCompletions => openai_chat::finish(&mut self),
            Endpoint::Completions => openai_completions::finish(&mut self),
            Endpoint::Responses => openai_responses::finish(&mut self),
            Endpoint::Embeddings => openai_embeddings::finish(&mut self),
            Endpoint::Messages | Endpoint::CountTokens => anthropic_messages::finish(&mut self),
        }?;
        let mut request = self.request;
        request.cache_write = cache;
        request.cache_write_1h = cache && self.cache_hour;
        request.choices = self.n.max(self.best_of).saturating_mul(self.prompts);
        request.media = self.finds.media;
        request.unbounded_input = self.finds.unbounded;
        request.provider_state = self.finds.state;
        request.spans.inline = self.finds.inline;
        Ok(request)
    }

    /// Two readers may take two different values of a key that stands twice: the provider would serve what we did not see.
    fn no_duplicates(&self) -> Read<()> {
        let twice = if self.keys.len() <= 24 {
            self.keys.iter().enumerate().find(|(at, key)| self.keys[..*at].contains(key)).map(|(_, key)| key.clone())
        } else {
            let mut sorted = self.keys.clone();
            sorted.sort_unstable();
            sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
        };
        match twice {
            Some(key) => Err(Invalid::duplicate(&String::from_utf8_lossy(&key[..key.len().min(limits::NAME_BYTES_MAX)]))),
            None => Ok(()),
        }
    }

    /// The bytes of a value that was taken.
    pub(crate) fn slice(&self, span: Range<usize>) -> &'a [u8] {
        &self.body[span]
    }
}

/// Takes `true`, `false` or `null`, which is `false`.
pub(crate) fn flag(c: &mut Cursor<'_>, name: &str) -> Read<bool> {
    match c.kind()? {
        Kind::Bool => Ok(c.boolean()? == Some(true)),
        Kind::Null => c.skip().map(|_| false),
        _ => Err(Invalid::kind(name, "a boolean")),
    }
}

/// Takes a `cache_control` that is not inside of a skipped value; the cursor marks those by itself.
fn cache_control(c: &mut Cursor<'_>) -> Read<()> {
    c.marks.cache |= c.kind()? != Kind::Null;
    c.skip()
}

/// Takes a value; its text if it is a string of at most `bytes_max` bytes.
pub(crate) fn short(c: &mut Cursor<'_>, bytes_max: usize) -> Read<Option<String>> {
    let text = c.string()?.filter(|text| text.len() <= bytes_max as u64);
    Ok(text.and_then(|text| text.decode()).map(Cow::into_owned).filter(|text| !text.is_empty()))
}

/// Takes an array of objects that must not be empty, as `messages` is.
pub(crate) fn objects(c: &mut Cursor<'_>, name: &str) -> Read<()> {
    if c.kind()? != Kind::Array {
        return Err(Invalid::kind(name, "an array"));
    }
    let mut count = 0;
    c.array(|c| {
        if c.kind()? != Kind::Object {
            return Err(Invalid::kind(&format!("{name}[{count}]"), "an object"));
        }
        count += 1;
        c.skip()
    })?;
    if count == 0 { Err(Invalid::value(name, "it is empty")) } else { Ok(()) }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

#[cfg(test)]
pub(crate) use tests::knowing_json as knowing_json_for_tests;
