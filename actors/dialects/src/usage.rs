//! The usage that a provider reports, made into classes that never overlap.

use events::usage::Usage;

use crate::invalid::Read;
use crate::json::{Cursor, Kind};

/// The counts of OpenAI's APIs and of those like them, as they stand there.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_write: u64,
    audio_input: u64,
    reasoning: u64,
    audio_output: u64,
    searches: u64,
}

/// Takes a `usage` object of chat, completions, responses or embeddings; `None` if it holds no counts.
pub(crate) fn openai(c: &mut Cursor<'_>) -> Read<Option<Usage>> {
    let mut counts = Counts::default();
    c.members(|c, key| {
        match &*key.bytes() {
            b"prompt_tokens" | b"input_tokens" => counts.input = c.count()?,
            b"completion_tokens" | b"output_tokens" => counts.output = c.count()?,
            b"total_tokens" => counts.total = c.count()?,
            b"prompt_tokens_details" | b"input_tokens_details" => counts.input_details(c)?,
            b"completion_tokens_details" | b"output_tokens_details" => counts.output_details(c)?,
            // DeepSeek, Moonshot, and gateways in front of Anthropic, where the details are not given
            b"cached_tokens" | b"prompt_cache_hit_tokens" | b"cache_read_input_tokens" => {
                let cached = c.count()?;
                counts.cached = counts.cached.or(cached);
            }
            b"cache_creation_input_tokens" => counts.cache_write = counts.cache_write.max(c.count()?.unwrap_or(0)),
            b"server_tool_use_details" | b"server_side_tool_usage_details" => counts.searches(c)?,
            b"num_search_queries" => counts.searches = counts.searches.max(c.count()?.unwrap_or(0)),
            _ => c.skip()?,
        }
        Ok(())
    })?;
    Ok(counts.disjoint())
}

impl Counts {
    fn input_details(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        c.members(|c, key| {
            match &*key.bytes() {
                b"cached_tokens" => self.cached = c.count()?.or(self.cached),
                b"cache_write_tokens" => self.cache_write = self.cache_write.max(c.count()?.unwrap_or(0)),
                b"audio_tokens" => self.audio_input = c.count()?.unwrap_or(0),
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn output_details(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        c.members(|c, key| {
            match &*key.bytes() {
                b"reasoning_tokens" => self.reasoning = c.count()?.unwrap_or(0),
                b"audio_tokens" => self.audio_output = c.count()?.unwrap_or(0),
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn searches(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        let mut sum = 0u64;
        c.members(|c, key| {
            match &*key.bytes() {
                b"web_search_requests" | b"web_search_calls" | b"x_search_calls" | b"file_search_calls" | b"document_search_calls" => {
                    sum = sum.saturating_add(c.count()?.unwrap_or(0));
                }
                _ => c.skip()?,
            }
            Ok(())
        })?;
        self.searches = self.searches.max(sum);
        Ok(())
    }

    /// OpenAI's totals include their details. Some providers count a class beside the totals; `total_tokens` tells: what it has over
    /// input and output is audio (Mistral), cache (some gateways), or else reasoning (xAI, Gemini).
    fn disjoint(self) -> Option<Usage> {
        if self.input.is_none() && self.output.is_none() {
            return None;
        }
        let (input, output) = (self.input.unwrap_or(0), self.output.unwrap_or(0));
        let cached = self.cached.unwrap_or(0);
        let mut beside = self.total.unwrap_or(0).saturating_sub(input.saturating_add(output));
        let mut usage = Usage { searches: self.searches, ..Usage::default() };

        let audio_beside =
            beside > 0 && self.audio_input > 0 && (beside == self.audio_input || beside == self.audio_input.saturating_add(self.reasoning));
        usage.audio_input = if audio_beside { self.audio_input } else { self.audio_input.min(input) };
        beside -= if audio_beside { self.audio_input } else { 0 };
        let text = if audio_beside { input } else { input - usage.audio_input };

        let caches = cached.saturating_add(self.cache_write);
        let caches_beside = beside > 0 && beside == caches && beside != self.reasoning;
        let room = if caches_beside { text.saturating_add(caches) } else { text };
        usage.cache_read = cached.min(room);
        usage.cache_write = self.cache_write.min(room - usage.cache_read);
        usage.input = room - usage.cache_read - usage.cache_write;
        beside -= if caches_beside { caches } else { 0 };

        usage.audio_output = self.audio_output.min(output);
        let spoken = output - usage.audio_output;
        usage.reasoning = if beside > 0 { beside.max(self.reasoning) } else { self.reasoning.min(spoken) };
        usage.output = if beside > 0 { spoken } else { spoken - usage.reasoning };
        Some(usage)
    }
}

/// The counts of Anthropic's API. A later object replaces the fields that it names and leaves the others.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AnthropicCounts {
    seen: bool,
    input: u64,
    output: u64,
    thinking: u64,
    cache_read: u64,
    cache_write: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    searches: u64,
    beside: Usage,
}

impl AnthropicCounts {
    /// Takes a `usage` object and lays it over what was seen before.
    pub(crate) fn merge(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        if c.kind()? != Kind::Object {
            return c.skip();
        }
        c.object(|c, key| {
            match &*key.bytes() {
                b"input_tokens" => self.seen |= replace(&mut self.input, c)?,
                b"output_tokens" => self.seen |= replace(&mut self.output, c)?,
                b"output_tokens_details" => c.members(|c, key| field(c, key.is(b"thinking_tokens"), &mut self.thinking))?,
                b"cache_read_input_tokens" => drop(replace(&mut self.cache_read, c)?),
                b"cache_creation_input_tokens" => drop(replace(&mut self.cache_write, c)?),
                b"cache_creation" => self.creation(c)?,
                b"server_tool_use" => c.members(|c, key| field(c, key.is(b"web_search_requests"), &mut self.searches))?,
                b"iterations" => self.iterations(c)?,
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    fn creation(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        c.members(|c, key| match &*key.bytes() {
            b"ephemeral_5m_input_tokens" => replace(&mut self.cache_write_5m, c).map(drop),
            b"ephemeral_1h_input_tokens" => replace(&mut self.cache_write_1h, c).map(drop),
            _ => c.skip(),
        })
    }

    /// Steps that are billed and that the totals leave out: a compaction of the context, a second model that was asked for advice.
    fn iterations(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        self.beside = Usage::default();
        c.elements(|c| {
            let mut again = c.clone();
            let mut left_out = false;
            c.members(|c, key| {
                if !key.is(b"type") {
                    return c.skip();
                }
                left_out = c.string()?.is_some_and(|kind| kind.is(b"compaction") || kind.is(b"advisor_message"));
                Ok(())
            })?;
            if left_out {
                let mut step = AnthropicCounts::default();
                step.merge_flat(&mut again)?;
                self.beside = self.beside.plus(&step.usage().unwrap_or_default());
            }
            Ok(())
        })
    }

    /// Like `merge`, without iterations inside of iterations: the depth of the call stays bounded.
    fn merge_flat(&mut self, c: &mut Cursor<'_>) -> Read<()> {
        c.object(|c, key| {
            match &*key.bytes() {
                b"input_tokens" => self.seen |= replace(&mut self.input, c)?,
                b"output_tokens" => self.seen |= replace(&mut self.output, c)?,
                b"cache_read_input_tokens" => drop(replace(&mut self.cache_read, c)?),
                b"cache_creation_input_tokens" => drop(replace(&mut self.cache_write, c)?),
                b"cache_creation" => self.creation(c)?,
                _ => c.skip()?,
            }
            Ok(())
        })
    }

    /// What the totals say; `None` before any was seen. `cache_creation_input_tokens` is the sum of both kinds.
    pub(crate) fn usage(&self) -> Option<Usage> {
        if !self.seen {
            return None;
        }
        let written = self.cache_write.max(self.cache_write_5m.saturating_add(self.cache_write_1h));
        let cache_write_1h = self.cache_write_1h.min(written);
        let reasoning = self.thinking.min(self.output);
        Some(Usage {
            input: self.input,
            cache_read: self.cache_read,
            cache_write: written - cache_write_1h,
            cache_write_1h,
            output: self.output - reasoning,
            reasoning,
            searches: self.searches,
            ..Usage::default()
        })
    }

    /// What was billed beside the totals.
    pub(crate) fn beside(&self) -> Usage {
        self.beside
    }
}

/// Takes a count and puts it in place; anything but a count leaves what was there. Says whether there was one.
fn replace(place: &mut u64, c: &mut Cursor<'_>) -> Read<bool> {
    let count = c.count()?;
    if let Some(count) = count {
        *place = count;
    }
    Ok(count.is_some())
}

fn field(c: &mut Cursor<'_>, wanted: bool, place: &mut u64) -> Read<()> {
    if wanted { replace(place, c).map(drop) } else { c.skip() }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
