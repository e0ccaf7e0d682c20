//! `POST /v1/chat/completions`, and the frame that completions share with it.

use crate::answer::{Answer, StreamFault};
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::media::{Finds, Piece};
use crate::request::{self, Draft};
use crate::stream::Progress;
use crate::usage;

/// Takes a field of a request.
pub(crate) fn field<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
    match key {
        b"messages" => {
            draft.has_input = true;
            draft.content(c, walk_messages, |c| request::objects(c, "messages"))
        }
        b"max_tokens" => draft.output_limit(c, "max_tokens"),
        b"max_completion_tokens" => draft.output_limit(c, "max_completion_tokens"),
        b"n" => {
            draft.n = draft.choices(c, "n")?;
            Ok(())
        }
        b"stream_options" => draft.stream_options(c),
        b"tools" => draft.tools(c, "tools", hosted),
        b"functions" => draft.tools(c, "functions", |_| false),
        // what makes a provider search or fetch by itself, by OpenAI, xAI, OpenRouter and Alibaba
        b"web_search_options" | b"search_parameters" | b"plugins" | b"enable_search" => searches(draft, c),
        _ => c.skip(),
    }
}

/// What has to be there.
pub(crate) fn finish(draft: &mut Draft<'_>) -> Read<()> {
    if draft.has_input { Ok(()) } else { Err(Invalid::missing("messages")) }
}

fn hosted(kind: Option<&[u8]>) -> bool {
    !matches!(kind, None | Some(b"function" | b"custom"))
}

fn searches<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>) -> Read<()> {
    let span = c.span()?;
    draft.finds.unbounded |= !matches!(draft.slice(span), b"null" | b"false" | b"[]");
    Ok(())
}

fn walk_messages(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.elements(|c| {
        c.members(|c, key| match &*key.bytes() {
            b"content" | b"images" => walk_parts(finds, c),
            // an earlier spoken answer, by its id
            b"audio" => finds.kept(c, "audio.id"),
            b"tool_calls" | b"function_call" => c.skip(),
            _ => finds.deep(c),
        })
    })
}

/// Takes `content`: a text, one part, or a list of parts. Shared with responses, whose parts differ only by their keys.
pub(crate) fn walk_parts(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    match c.kind()? {
        Kind::Array => c.array(|c| walk_part(finds, c)),
        Kind::Object => walk_part(finds, c),
        _ => c.skip(),
    }
}

fn walk_part(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.members(|c, key| match &*key.bytes() {
        b"type" => {
            let known = c.string()?.is_some_and(|kind| PARTS.contains(&&*kind.bytes()));
            finds.unbounded |= !known;
            Ok(())
        }
        b"image_url" => finds.url(c, Piece::Image),
        b"file_url" | b"document_url" => finds.url(c, Piece::Document),
        b"audio_url" => finds.url(c, Piece::Audio),
        b"input_audio" => walk_audio(finds, c),
        b"data" => finds.inline(c, Piece::Audio),
        b"file" => walk_file(finds, c),
        b"file_data" => walk_file_data(finds, c),
        b"text" | b"refusal" | b"thinking" | b"annotations" | b"logprobs" => c.skip(),
        b"file_id" => finds.kept(c, "file_id"),
        _ => finds.deep(c),
    })
}

/// Types of parts that the walk understands. Any other may be of any size.
const PARTS: [&[u8]; 16] = [
    b"text",
    b"input_text",
    b"output_text",
    b"refusal",
    b"thinking",
    b"summary_text",
    b"reasoning_text",
    b"image_url",
    b"input_image",
    b"input_audio",
    b"file",
    b"input_file",
    b"file_url",
    b"document_url",
    b"audio_url",
    b"computer_screenshot",
];

fn walk_audio(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    if c.kind()? == Kind::String {
        return finds.inline(c, Piece::Audio);
    }
    c.members(|c, key| match &*key.bytes() {
        b"data" => finds.inline(c, Piece::Audio),
        b"url" => finds.url(c, Piece::Audio),
        _ => finds.deep(c),
    })
}

fn walk_file(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.members(|c, key| match &*key.bytes() {
        b"file_data" => walk_file_data(finds, c),
        b"file_url" | b"url" => finds.url(c, Piece::Document),
        b"file_id" => finds.kept(c, "file_id"),
        _ => finds.deep(c),
    })
}

/// `file_data` is a `data:` URL, bare base64, or (OpenRouter) the address of a file.
fn walk_file_data(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.kind()?;
    let mut peek = c.clone();
    match peek.string()? {
        Some(text) if text.starts_with(b"data:") || text.starts_with(b"http") || text.is_escaped() => finds.url(c, Piece::Document),
        _ => finds.inline(c, Piece::Document),
    }
}

/// What a chunk turned out to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// How many choices it names, if it has the field.
    pub(crate) choices: Option<u64>,
    /// It carries usage.
    pub(crate) usage: bool,
}

/// Takes a whole answer, or a chunk of a stream, of chat or of completions. `done` gets the index of each choice that has its finish reason.
pub(crate) fn read(c: &mut Cursor<'_>, answer: &mut Answer, done: &mut dyn FnMut(u64)) -> Read<Shape> {
    let mut shape = Shape::default();
    c.object(|c, key| {
        match &*key.bytes() {
            b"id" => answer.take_id(c)?,
            b"model" => answer.take_model(c)?,
            b"service_tier" => answer.take_tier(c)?,
            b"choices" => {
                let mut count = 0;
                c.elements(|c| {
                    count += 1;
                    choice(c, answer, done)
                })?;
                shape.choices = Some(count);
            }
            b"usage" => shape.usage |= take_usage(c, answer)?,
            b"x_groq" => c.members(|c, key| {
                if !key.is(b"usage") {
                    return c.skip();
                }
                shape.usage |= take_usage(c, answer)?;
                Ok(())
            })?,
            b"error" => {
                let fault = StreamFault::take(c)?;
                answer.fault = answer.fault.take().or(fault);
            }
            _ => c.skip()?,
        }
        Ok(())
    })?;
    Ok(shape)
}

fn take_usage(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<bool> {
    let usage = usage::openai(c)?;
    answer.usage = usage.or(answer.usage);
    Ok(usage.is_some())
}

fn choice(c: &mut Cursor<'_>, answer: &mut Answer, done: &mut dyn FnMut(u64)) -> Read<()> {
    let (mut index, mut finished) = (0, false);
    c.members(|c, key| {
        match &*key.bytes() {
            b"index" => index = c.integer()?.unwrap_or(0),
            b"finish_reason" => finished = answer.take_finish(c)?,
            b"text" => answer.put_out(c.text_bytes()?),
            b"delta" | b"message" => message(c, answer)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    if finished {
        done(index);
    }
    Ok(())
}

fn message(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    // some providers send one reasoning under two names
    let mut reasoning = 0;
    c.members(|c, key| {
        match &*key.bytes() {
            b"content" | b"refusal" => answer.put_out(c.text_bytes()?),
            b"reasoning_content" | b"reasoning" => reasoning = c.text_bytes()?.max(reasoning),
            b"tool_calls" => c.elements(|c| tool_call(c, answer))?,
            b"function_call" => called(c, answer)?,
            b"audio" => c.members(|c, key| {
                let bytes = c.text_bytes()?;
                answer.put_out(if key.is(b"transcript") || key.is(b"data") { bytes } else { 0 });
                Ok(())
            })?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    answer.put_out(reasoning);
    Ok(())
}

fn tool_call(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    c.members(|c, key| match &*key.bytes() {
        b"function" | b"custom" => called(c, answer),
        _ => c.skip(),
    })
}

fn called(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    c.members(|c, key| {
        match &*key.bytes() {
            b"name" | b"arguments" | b"input" => answer.put_out(c.text_bytes()?),
            _ => c.skip()?,
        }
        Ok(())
    })
}

/// Takes the data of one frame of a stream.
pub(crate) fn event(progress: &mut Progress, data: &[u8]) -> Read<()> {
    if data.trim_ascii() == b"[DONE]" {
        progress.complete = true;
        return Ok(());
    }
    let Progress { answer, finished, .. } = progress;
    let shape = read(&mut Cursor::new(data), answer, &mut |index| finished.note(index))?;
    let usage_only = shape.usage && shape.choices == Some(0);
    progress.usage_only = usage_only;
    progress.complete |= usage_only || progress.finished.count >= progress.choices;
    Ok(())
}

#[cfg(test)]
#[path = "openai_chat_tests.rs"]
mod tests;
