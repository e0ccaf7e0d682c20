//! The faults of this crate, each with the step and the truth about money.

use crate::port::{Sent, Stage, WireFault};

/// A fault before any byte of the request was written.
pub(crate) fn unsent(stage: Stage, message: impl Into<String>) -> WireFault {
    WireFault { stage, sent: Sent::No, message: message.into() }
}

/// A fault after the head of the answer: the request was taken.
pub(crate) fn answered(stage: Stage, message: impl Into<String>) -> WireFault {
    WireFault { stage, sent: Sent::Maybe, message: message.into() }
}

/// An error with its causes, which hyper's and rustls' own texts leave out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
