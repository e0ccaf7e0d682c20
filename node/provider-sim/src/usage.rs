//! What was used, and what the answer says about it.

use serde_json::{Value, json};

use crate::UsageFault;

/// What a request really costs. All of `cached` and `cache_write` is part of `input`, all of `reasoning` part of `output`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) cache_write: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

/// What the answer says: nothing, null, or figures that may be false.
pub(crate) enum Said {
    Nothing,
    Null,
    Figures(Figures),
}

/// As [`Usage`], with room for nonsense.
pub(crate) struct Figures {
    pub(crate) input: i64,
    pub(crate) cached: i64,
    pub(crate) cache_write: i64,
    pub(crate) output: i64,
    pub(crate) reasoning: i64,
}

impl Usage {
    /// What the answer says under a fault.
    pub(crate) fn said(&self, fault: UsageFault) -> Said {
        let map = |f: fn(i64) -> i64| {
            Said::Figures(Figures {
                input: f(self.input as i64),
                cached: f(self.cached as i64),
                cache_write: f(self.cache_write as i64),
                output: f(self.output as i64),
                reasoning: f(self.reasoning as i64),
            })
        };
        match fault {
            UsageFault::Missing => Said::Nothing,
            UsageFault::Null => Said::Null,
            UsageFault::Right | UsageFault::Late => map(|n| n),
            UsageFault::Wrong => map(|n| n / 2),
            UsageFault::Zero => map(|_| 0),
            UsageFault::Negative => map(|n| -1 - n),
            UsageFault::Huge => map(|n| n + (1 << 53)),
        }
    }
}

impl Figures {
    /// As chat completions and completions say it.
    pub(crate) fn chat(&self) -> Value {
        json!({"prompt_tokens": self.input, "completion_tokens": self.output, "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0}})
    }

    /// As responses say it.
    pub(crate) fn responses(&self) -> Value {
        json!({"input_tokens": self.input, "input_tokens_details": {"cached_tokens": self.cached, "cache_write_tokens": self.cache_write},
            "output_tokens": self.output, "output_tokens_details": {"reasoning_tokens": self.reasoning}, "total_tokens": self.input + self.output})
    }

    /// As embeddings say it.
    pub(crate) fn embeddings(&self) -> Value {
        json!({"prompt_tokens": self.input, "total_tokens": self.input})
    }

    /// As messages say it: the classes of input stand beside each other.
    pub(crate) fn messages(&self, output: i64) -> Value {
        json!({"input_tokens": self.input - self.cached - self.cache_write, "cache_read_input_tokens": self.cached,
            "cache_creation_input_tokens": self.cache_write,
            "cache_creation": {"ephemeral_5m_input_tokens": self.cache_write, "ephemeral_1h_input_tokens": 0},
            "output_tokens": output, "service_tier": "standard"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: Usage = Usage { input: 10, cached: 4, cache_write: 2, output: 8, reasoning: 3 };

    fn figures(fault: UsageFault) -> Figures {
        match USED.said(fault) {
            Said::Figures(figures) => figures,
            _ => panic!("{fault:?} has no figures"),
        }
    }

    #[test]
    fn the_four_forms() {
        let right = figures(UsageFault::Right);
        assert_eq!(right.chat()["total_tokens"], 18);
        assert_eq!(right.chat()["completion_tokens_details"]["reasoning_tokens"], 3);
        assert_eq!(right.responses()["input_tokens_details"]["cached_tokens"], 4);
        assert_eq!((right.messages(8)["input_tokens"].as_i64(), right.messages(8)["cache_read_input_tokens"].as_i64()), (Some(4), Some(4)));
        assert_eq!(right.embeddings()["prompt_tokens"], 10);
    }

    #[test]
    fn faults_change_figures_or_take_them_away() {
        assert_eq!(figures(UsageFault::Wrong).output, 4);
        assert_eq!(figures(UsageFault::Negative).output, -9);
        assert_eq!(figures(UsageFault::Huge).input, (1 << 53) + 10);
        assert!(matches!(USED.said(UsageFault::Missing), Said::Nothing));
        assert!(matches!(USED.said(UsageFault::Null), Said::Null));
    }
}
