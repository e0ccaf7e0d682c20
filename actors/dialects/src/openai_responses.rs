//! `POST /v1/responses`.

use std::borrow::Cow;

use memchr::memmem;

use crate::answer::{Answer, StreamFault};
use crate::invalid::{Invalid, Read};
use crate::json::{Cursor, Kind};
use crate::media::{Finds, Piece};
use crate::openai_chat::walk_parts;
use crate::request::{self, Draft};
use crate::stream::Progress;
use crate::usage;

/// Takes a field of a request.
pub(crate) fn field<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, key: &[u8]) -> Read<()> {
    match key {
        b"input" => input(draft, c),
        b"max_output_tokens" => draft.output_limit(c, "max_output_tokens"),
        b"background" => {
            draft.request.background = request::flag(c, "background")?;
            Ok(())
        }
        b"previous_response_id" => kept(draft, c, "previous_response_id"),
        b"conversation" => kept(draft, c, "conversation"),
        b"prompt" => kept(draft, c, "prompt.id"),
        b"tools" => draft.tools(c, "tools", hosted),
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
    if draft.has_input { Ok(()) } else { Err(Invalid::missing("input")) }
}

fn input<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>) -> Read<()> {
    match c.kind()? {
        Kind::Null => return c.skip(),
        Kind::String => c.skip()?,
        Kind::Array => draft.content(c, walk_items, scan_items)?,
        _ => return Err(Invalid::kind("input", "a string or an array")),
    }
    draft.has_input = true;
    Ok(())
}

fn kept<'a>(draft: &mut Draft<'a>, c: &mut Cursor<'a>, field: &'static str) -> Read<()> {
    draft.has_input |= c.kind()? != Kind::Null;
    draft.finds.kept(c, field)
}

fn hosted(kind: Option<&[u8]>) -> bool {
    !matches!(kind, Some(b"function" | b"custom"))
}

/// An item without type and content is a reference to one that the provider keeps: its `type` may be left out.
fn scan_items(c: &mut Cursor<'_>) -> Read<()> {
    c.array(|c| {
        let mut says = false;
        c.skip_seeing(|key| says |= matches!(&*key.bytes(), b"type" | b"content"))?;
        c.marks.unplain |= !says;
        Ok(())
    })
}

fn walk_items(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    c.elements(|c| walk_item(finds, c))
}

/// Item types that say all that there is to say.
const WHOLE_ITEMS: [&[u8]; 16] = [
    b"message",
    b"function_call",
    b"function_call_output",
    b"custom_tool_call",
    b"custom_tool_call_output",
    b"computer_call",
    b"computer_call_output",
    b"local_shell_call",
    b"local_shell_call_output",
    b"shell_call",
    b"shell_call_output",
    b"apply_patch_call",
    b"apply_patch_call_output",
    b"mcp_list_tools",
    b"mcp_call",
    b"mcp_approval_response",
];

fn walk_item(finds: &mut Finds, c: &mut Cursor<'_>) -> Read<()> {
    let (mut kind, mut has_id, mut carries) = (None, false, false);
    c.members(|c, key| match &*key.bytes() {
        b"type" => {
            kind = c.string()?.map(|text| text.bytes());
            Ok(())
        }
        b"id" => {
            has_id = c.string()?.is_some();
            Ok(())
        }
        b"content" | b"output" => {
            carries |= !matches!(c.kind()?, Kind::Null);
            walk_parts(finds, c)
        }
        b"encrypted_content" => {
            carries |= c.string()?.is_some();
            Ok(())
        }
        b"result" => {
            carries |= c.kind()? != Kind::Null;
            finds.inline(c, Piece::Image)
        }
        b"arguments" | b"input" | b"summary" | b"action" | b"tools" => c.skip(),
        _ => finds.deep(c),
    })?;
    match kind.as_deref() {
        None if carries => {}
        None if has_id => finds.keeps("item_reference"),
        Some(b"item_reference") => finds.keeps("item_reference"),
        Some(kind) if WHOLE_ITEMS.contains(&kind) => {}
        Some(b"reasoning" | b"image_generation_call" | b"compaction") if carries => {}
        // the provider looks up the rest by the id: hidden reasoning, results of a search, a picture
        Some(_) if has_id => finds.keeps("item.id"),
        Some(b"reasoning") => {}
        _ => finds.unbounded = true,
    }
    Ok(())
}

/// Takes a whole answer: a `response` object.
pub(crate) fn read(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    let (mut searches, mut images, mut incomplete) = (0, 0, None);
    c.object(|c, key| {
        match &*key.bytes() {
            b"id" => answer.take_id(c)?,
            b"model" => answer.take_model(c)?,
            b"service_tier" => answer.take_tier(c)?,
            b"status" => drop(answer.take_finish(c)?),
            b"error" => answer.fault = StreamFault::take(c)?,
            b"incomplete_details" => {
                c.members(|c, key| if key.is(b"reason") { request::short(c, 64).map(|reason| incomplete = reason) } else { c.skip() })?
            }
            b"output" => c.elements(|c| output_item(c, answer, &mut searches, &mut images))?,
            b"usage" => answer.usage = usage::openai(c)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    answer.unfinished = matches!(answer.finish.as_deref(), Some("queued" | "in_progress"));
    if answer.finish.as_deref() == Some("incomplete") {
        answer.finish = incomplete.or(answer.finish.take());
    }
    if let Some(usage) = &mut answer.usage {
        usage.searches = usage.searches.max(searches);
        usage.images = usage.images.max(images);
    }
    Ok(())
}

fn output_item(c: &mut Cursor<'_>, answer: &mut Answer, searches: &mut u64, images: &mut u64) -> Read<()> {
    let mut kind = None;
    let mut read_only = false;
    c.members(|c, key| {
        match &*key.bytes() {
            b"type" => kind = c.string()?.map(|text| text.bytes()),
            b"content" | b"summary" => c.elements(|c| content_part(c, answer))?,
            b"name" | b"arguments" | b"input" | b"code" => answer.put_out(c.text_bytes()?),
            b"operation" => answer.put_out(c.text_bytes()?),
            b"action" => {
                // opening a page that was found is not a search of its own
                let mut again = c.clone();
                read_only = matches!(kind_of(&mut again)?.as_deref(), Some(b"open_page" | b"find_in_page"));
                answer.put_out(c.text_bytes()?);
            }
            _ => c.skip()?,
        }
        Ok(())
    })?;
    match kind.as_deref() {
        Some(b"web_search_call") if !read_only => *searches += 1,
        Some(b"file_search_call") => *searches += 1,
        Some(b"image_generation_call") => *images += 1,
        _ => {}
    }
    Ok(())
}

/// Takes a value; its `type`, if it is an object that has one.
fn kind_of<'a>(c: &mut Cursor<'a>) -> Read<Option<Cow<'a, [u8]>>> {
    let mut kind = None;
    c.members(|c, key| {
        if key.is(b"type") {
            kind = c.string()?.map(|text| text.bytes());
            return Ok(());
        }
        c.skip()
    })?;
    Ok(kind)
}

fn content_part(c: &mut Cursor<'_>, answer: &mut Answer) -> Read<()> {
    c.members(|c, key| {
        match &*key.bytes() {
            b"text" | b"refusal" | b"transcript" => answer.put_out(c.text_bytes()?),
            _ => c.skip()?,
        }
        Ok(())
    })
}

/// One frame, as far as it matters.
#[derive(Default)]
struct Frame {
    response: Option<Answer>,
    error: Option<StreamFault>,
    flat: StreamFault,
    delta_bytes: u64,
}

/// Takes the data of one frame of a stream. `name` is the frame's `event`, for a provider that leaves `type` out.
pub(crate) fn event(progress: &mut Progress, name: &[u8], data: &[u8]) -> Read<()> {
    if data.trim_ascii() == b"[DONE]" {
        // not in this dialect, but some providers send it
        progress.complete = true;
        return Ok(());
    }
    let mut frame = Frame::default();
    let mut kind = None;
    Cursor::new(data).object(|c, key| {
        match &*key.bytes() {
            b"type" => kind = c.string()?.map(|text| text.bytes()),
            b"response" if c.kind()? == Kind::Object => {
                let mut whole = Answer::default();
                read(c, &mut whole)?;
                frame.response = Some(whole);
            }
            b"error" => frame.error = StreamFault::take(c)?,
            b"delta" => frame.delta_bytes = c.text_bytes()?,
            key @ (b"code" | b"message") => frame.flat.member(c, key)?,
            _ => c.skip()?,
        }
        Ok(())
    })?;
    frame.apply(progress, kind.as_deref().unwrap_or(name));
    Ok(())
}

impl Frame {
    fn apply(mut self, progress: &mut Progress, kind: &[u8]) {
        progress.answer.put_out(self.delta_bytes);
        let ended = matches!(kind, b"response.completed" | b"response.incomplete" | b"response.failed" | b"response.cancelled");
        if let Some(whole) = self.response.take() {
            take_over(&mut progress.answer, whole, ended);
        }
        if kind == b"error" && self.error.is_none() {
            self.flat.guess_status();
            self.error = Some(self.flat);
        }
        if let Some(fault) = self.error {
            progress.answer.fault.get_or_insert(fault);
        }
        progress.complete |= ended;
        progress.began |= kind == b"response.output_item.added" || self.delta_bytes > 0;
    }
}

/// Lays a `response` object over what the stream said so far.
fn take_over(answer: &mut Answer, whole: Answer, ended: bool) {
    answer.id = answer.id.take().or(whole.id);
    answer.model = answer.model.take().or(whole.model);
    answer.service_tier = whole.service_tier.or(answer.service_tier.take());
    answer.usage = whole.usage.or(answer.usage);
    if ended {
        answer.finish = whole.finish;
        answer.output_bytes = answer.output_bytes.max(whole.output_bytes);
        answer.fault = answer.fault.take().or(whole.fault);
    }
}

#[cfg(test)]
#[path = "openai_responses_tests.rs"]
mod tests;
