//! What an exchange used, in classes that never overlap: a token is counted in exactly one of them.

use serde::{Deserialize, Serialize};

/// Counts of one attempt or of one call. Unit of every field but `images` and `searches`: tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input that no cache served.
    pub input: u64,
    /// Input that the provider read from its prompt cache.
    pub cache_read: u64,
    /// Input written to a prompt cache that lives five minutes (or as long as the provider keeps it by default).
    pub cache_write: u64,
    /// Input written to a prompt cache that lives an hour.
    pub cache_write_1h: u64,
    /// Output that the caller sees, without reasoning and audio.
    pub output: u64,
    /// Output spent on reasoning.
    pub reasoning: u64,
    /// Audio heard.
    pub audio_input: u64,
    /// Audio spoken.
    pub audio_output: u64,
    /// Images made, in pieces.
    pub images: u64,
    /// Hosted searches, in pieces.
    pub searches: u64,
}

impl Usage {
    /// All tokens that went in, of every class.
    pub fn tokens_in(&self) -> u64 {
        [self.input, self.cache_read, self.cache_write, self.cache_write_1h, self.audio_input]
            .iter()
            .fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// All tokens that came out, of every class.
    pub fn tokens_out(&self) -> u64 {
        self.output.saturating_add(self.reasoning).saturating_add(self.audio_output)
    }

    /// All tokens, in and out: what a budget in tokens counts.
    pub fn tokens(&self) -> u64 {
        self.tokens_in().saturating_add(self.tokens_out())
    }

    /// The sum, class by class.
    pub fn plus(&self, other: &Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            audio_input: self.audio_input.saturating_add(other.audio_input),
            audio_output: self.audio_output.saturating_add(other.audio_output),
            images: self.images.saturating_add(other.images),
            searches: self.searches.saturating_add(other.searches),
        }
    }

    /// The difference, class by class; used to take back what a late fact replaces.
    pub fn minus(&self, other: &Usage) -> Usage {
        Usage {
            input: self.input.saturating_sub(other.input),
            cache_read: self.cache_read.saturating_sub(other.cache_read),
            cache_write: self.cache_write.saturating_sub(other.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_sub(other.cache_write_1h),
            output: self.output.saturating_sub(other.output),
            reasoning: self.reasoning.saturating_sub(other.reasoning),
            audio_input: self.audio_input.saturating_sub(other.audio_input),
            audio_output: self.audio_output.saturating_sub(other.audio_output),
            images: self.images.saturating_sub(other.images),
            searches: self.searches.saturating_sub(other.searches),
        }
    }
}
