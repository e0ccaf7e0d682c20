//! A shape that was asked for by a forced tool comes back as the text that the caller asked for.

use super::{Block, Delta, Event, Node, Reason, SCHEMA_TOOL};
use std::collections::BTreeSet;

/// Turns uses of [`SCHEMA_TOOL`] into text.
#[derive(Clone, Debug, Default)]
pub struct SchemaTool {
    blocks: BTreeSet<(u32, u32)>,
    choices: BTreeSet<u32>,
}

impl SchemaTool {
    pub fn event(&mut self, event: Event) -> Event {
        match event {
            Event::BlockStart { choice, index, node: Node { block: Block::ToolUse { name, arguments, .. }, .. } }
                if name == SCHEMA_TOOL =>
            {
                self.blocks.insert((choice, index));
                self.choices.insert(choice);
                Event::BlockStart { choice, index, node: Block::Text(arguments).into() }
            }
            Event::Delta { choice, index, delta: Delta::Arguments(text) } if self.blocks.contains(&(choice, index)) => {
                Event::Delta { choice, index, delta: Delta::Text(text) }
            }
            Event::Stop { choice, mut stop, rest } if self.choices.contains(&choice) && stop.reason == Reason::Tools => {
                stop.reason = Reason::End;
                Event::Stop { choice, stop, rest }
            }
            other => other,
        }
    }
}
