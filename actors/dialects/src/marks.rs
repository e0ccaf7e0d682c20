//! What a scan sees in passing, so that a long conversation of plain text needs no second look.

use crate::text::Text;

/// What the cursor saw in values that it skipped. Each is a reason for a closer look, none a finding.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A piece of content that may be more than text: an unusual `type`, a key that carries media or an id, an escaped key.
    pub(crate) unplain: bool,
    /// A key `cache_control`.
    pub(crate) cache: bool,
    /// A `ttl` that is, or may be, an hour.
    pub(crate) hour: bool,
}

impl Marks {
    /// Notes a key; says what to look for in its value.
    pub(crate) fn key(&mut self, key: Text<'_>) -> Watch {
        if key.is_escaped() {
            *self = Marks { unplain: true, cache: true, hour: true };
            return Watch::Nothing;
        }
        match key.raw() {
            b"type" => return Watch::Type,
            b"ttl" => return Watch::Ttl,
            b"cache_control" => self.cache = true,
            b"image_url" | b"file" | b"file_id" | b"file_url" | b"file_data" | b"source" | b"input_audio" | b"audio" | b"images"
            | b"video_url" | b"audio_url" | b"document_url" | b"file_ids" | b"container_id" => {
                self.unplain = true;
            }
            _ => {}
        }
        Watch::Nothing
    }

    /// Notes the value behind a key that was worth watching; `None` if it is no string.
    pub(crate) fn value(&mut self, watch: Watch, value: Option<Text<'_>>) {
        match watch {
            Watch::Nothing => {}
            Watch::Ttl => self.hour |= value.is_some_and(|value| value.is_escaped() || value.raw() == b"1h"),
            Watch::Type => self.unplain |= value.is_none_or(|value| value.is_escaped() || !PLAIN_TYPES.contains(&value.raw())),
        }
    }
}

/// Types of content that bytes bound and that name nothing that a provider keeps.
const PLAIN_TYPES: [&[u8]; 14] = [
    b"text",
    b"input_text",
    b"output_text",
    b"message",
    b"function",
    b"function_call",
    b"function_call_output",
    b"tool_use",
    b"tool_result",
    b"thinking",
    b"refusal",
    b"summary_text",
    b"ephemeral",
    b"url_citation",
];

/// Which value deserves a look.
#[derive(Copy, Clone)]
pub(crate) enum Watch {
    Nothing,
    Type,
    Ttl,
}
