//! `POST /v1/messages` and `/v1/messages/count_tokens`.

use memchr::memmem;

use crate::Endpoint;
use crate::answer::{Answer, StreamFault};
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::media::{Finds, Piece};
use crate::request::{self, Draft};
use crate::stream::Progress;
use crate::usage::AnthropicCounts;

/// Takes a field of a request.
pub(crate) fn field<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
    match key {
        b"messages" => {
            draft.has_input = true;
            draft.content(c, walk_messages, |c| request::objects(c, "messages"))
        }
        b"system" => match c.kind()? {
            Kind::String | Kind::Null => c.skip(),
            Kind::Array => draft.content(c, walk_blocks, |c| c.skip()),
            _ => Err(Invalid::kind("system", "a string or an array")),
        },
        b"max_tokens" => draft.output_limit(c, "max_tokens"),
        b"tools" => draft.tools(c, "tools", hosted),
        b"mcp_servers" => {
            c.kind()?;
            let span = c.span()?;
            draft.finds.unbounded |= !matches!(draft.slice(span), b"null" | b"[]");
            Ok(())
        }
        b"container" => draft.finds.kept(c, "container"),
        b"context_management" => {
            // a compaction reads the whole context once more
            let span = c.span()?;
            draft.finds.unbounded |= memmem::find(draft.slice(span), b"compact").is_some();
            Ok(())
        }
        _ => c.skip(),
    }
}

/// What has to be there.
pub(crate) fn finish(draft: &mut Draft<'_>) -> Read<()> {
    if !draft.has_input {
        return Err(Invalid::missing("messages"));
    }
    if draft.request.endpoint == Endpoint::Messages && draft.request.output_limit.is_none() {
        return Err(Invalid::missing("max_tokens"));
    }
    Ok(())
}

/// Tools that the caller runs have no type, or `custom`, or are Anthropic's own with a client behind them. All others run at the provider.
fn hosted(kind: Option<&[u8]>) -> bool {
    let Some(kind) = kind else { return false };
    let client = [b"bash_".as_slice(), b"text_editor_", b"computer_", b"memory_"];
    kind != b"custom" && !client.iter().any(|prefix| kind.starts_with(prefix))
}

fn walk_messages(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.elements(|c| {
        c.members(|c, key| match &*key.bytes() {
            b"content" => walk_blocks(finds, c),
            _ => c.skip(),
        })
    })
}

/// Takes `content`: a text, one block, or a list of blocks.
fn walk_blocks(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    match c.kind()? {
        Kind::Array => c.array(|c| walk_block(finds, c)),
        Kind::Object => walk_block(finds, c),
        _ => c.skip(),
    }
}

/// Block types that the walk understands. Any other may be of any size.
const BLOCKS: [&[u8]; 19] = [
    b"text",
    b"image",
    b"document",
    b"tool_use",
    b"tool_result",
    b"thinking",
    b"redacted_thinking",
    b"server_tool_use",
    b"mcp_tool_use",
    b"mcp_tool_result",
    b"search_result",
    b"web_search_tool_result",
    b"web_search_result",
    b"web_fetch_tool_result",
    b"web_fetch_result",
    b"tool_search_tool_result",
    b"tool_reference",
    b"compaction",
    b"container_upload",
];

fn walk_block(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    let mut piece = Piece::Document;
    let mut source = None;
    c.members(|c, key| match &*key.bytes() {
        b"type" => {
            let kind = c.string()?.map(|text| text.bytes()).unwrap_or_default();
            finds.unbounded |= !BLOCKS.contains(&&*kind) && !kind.ends_with(b"_tool_result");
            if &*kind == b"image" {
                piece = Piece::Image;
            }
            Ok(())
        }
        // an input is free-form JSON of the caller's tool, and citations repeat what stands elsewhere
        b"input" | b"citations" | b"cache_control" => c.skip(),
        b"content" => walk_blocks(finds, c),
        b"source" => {
            c.kind()?;
            source = Some(c.clone());
            c.skip()
        }
        b"file_id" => finds.kept(c, "file_id"),
        _ => c.skip(),
    })?;
    match source {
        Some(mut source) => walk_source(finds, &mut source, piece),
        None => Ok(()),
    }
}

/// Takes the `source` of an image or a document. That of a search result is a text.
fn walk_source(finds: &mut Finds, c: &mut Cursor<'_>, piece: Piece) -> Read<()> {
    let (mut kind, mut data) = (None, None);
    c.members(|c, key| match &*key.bytes() {
        b"type" => {
            kind = c.string()?.map(|text| text.bytes());
            Ok(())
        }
        b"data" => {
            c.kind()?;
            data = Some(c.clone());
            c.skip()
        }
        b"content" => walk_blocks(finds, c),
        b"file_id" => finds.kept(c, "file_id"),
        b"url" => {
            finds.unbounded = true;
            c.skip()
        }
        _ => c.skip(),
    })?;
    match (kind.as_deref(), data) {
        (Some(b"base64"), Some(mut data)) => finds.inline(&mut data, piece),
        (None | Some(b"text" | b"content"), _) => Ok(()),
        _ => {
            finds.unbounded = true;
            Ok(())
        }
    }
}

/// Takes a whole answer: a message, or an error.
pub(crate) fn read(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    let mut counts = AnthropicCounts::default();
    c.object(|c, key| match &*key.bytes() {
        b"content" => c.elements(|c| block(c, answer).map(drop)),
        key => head(c, key, answer, &mut counts),
    })?;
    answer.usage = counts.usage();
    answer.beside = counts.beside();
    Ok(())
}

fn head(c: &mut Cursor<'_>, key: &[u8], answer: &mut Answer, counts: &mut AnthropicCounts) -> Read<()> {
    match key {
        b"id" => answer.take_id(c),
        b"model" => answer.take_model(c),
        b"stop_reason" => answer.take_finish(c).map(drop),
        b"usage" => {
            let mut again = c.clone();
            again.members(|c, key| if key.is(b"service_tier") { answer.take_tier(c) } else { c.skip() })?;
            counts.merge(c)
        }
        b"error" => {
            answer.fault = StreamFault::take(c)?;
            Ok(())
        }
        _ => c.skip(),
    }
}

/// Takes a content block. Says whether it is a tool's, whose name alone is a first token.
fn block(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<bool> {
    let mut tool = false;
    c.members(|c, key| {
        match &*key.bytes() {
            b"type" => tool = c.string()?.is_some_and(|kind| kind.raw().ends_with(b"tool_use")),
            b"text" | b"thinking" | b"data" | b"name" => answer.put_out(c.text_bytes()?),
            b"input" => {
                let bytes = c.span()?.len() as u64;
                // `{}` stands there until the arguments come
                answer.put_out(if bytes > 2 { bytes } else { 0 });
            }
            _ => c.skip()?,
        }
        Ok(())
    })?;
    Ok(tool)
}

/// Takes the answer of `count_tokens`: `{"input_tokens": n}`.
pub(crate) fn read_count(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    let mut counts = AnthropicCounts::default();
    let mut again = c.clone();
    counts.merge(&mut again)?;
    c.object(|c, key| if key.is(b"error") { StreamFault::take(c).map(|fault| answer.fault = fault) } else { c.skip() })?;
    answer.usage = counts.usage();
    Ok(())
}

/// Takes the data of one frame of a stream. `name` is the frame's `event`, for a provider that leaves `type` out.
pub(crate) fn event(progress: &mut Progress, name: &[u8], data: &[u8]) -> Read<()> {
    let mut kind = None;
    let (mut stopped, mut error) = (false, None);
    let Progress { answer, counts, began, .. } = progress;
    Cursor::new(data).object(|c, key| {
        match &*key.bytes() {
            b"type" => kind = c.string()?.map(|text| text.bytes()),
            b"message" => {
                // the counts begin anew with a message
                *counts = AnthropicCounts::default();
                c.members(|c, key| head(c, &key.bytes(), answer, counts))?;
            }
            b"content_block" => *began |= block(c, answer)?,
            b"delta" => stopped |= delta(c, answer)?,
            b"usage" => counts.merge(c)?,
            b"error" => error = StreamFault::take(c)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    let kind = kind.as_deref().unwrap_or(name);
    progress.answer.usage = progress.counts.usage();
    progress.answer.beside = progress.counts.beside();
    progress.complete |= stopped || kind == b"message_stop";
    if kind == b"error" || error.is_some() {
        let fault = error.unwrap_or(StreamFault { status: 502, ..StreamFault::default() });
        progress.answer.fault.get_or_insert(fault);
    }
    Ok(())
}

/// Takes a `delta`; says whether it carries the stop reason.
fn delta(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<bool> {
    let mut stopped = false;
    c.members(|c, key| {
        match &*key.bytes() {
            b"text" | b"thinking" | b"partial_json" | b"content" => answer.put_out(c.text_bytes()?),
            b"stop_reason" => stopped = answer.take_finish(c)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    Ok(stopped)
}

#[cfg(test)]
#[path = "anthropic_messages_tests.rs"]
mod tests;
