//! A whole answer is the fold of its events. Folding also checks that the events are well formed.

use super::{Block, Delta, Event, Fields, Node, Stop};
use crate::answer::StreamFault;
use events::usage::Usage;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub id: Option<String>,
    pub model: Option<String>,
    pub service_tier: Option<String>,
    pub rest: Fields,
    pub choices: BTreeMap<u32, Choice>,
    pub usage: Option<(Usage, Value)>,
    pub fault: Option<StreamFault>,
    pub ended: bool,
}

/// One of the answers that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub blocks: Vec<Node>,
    pub stop: Option<Stop>,
    pub rest: Fields,
}

/// An event that cannot follow on those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced(pub &'static str);

/// Folds events into the answer that they are.
///
/// # Errors
/// A delta of a block that has not begun or is over, or of another kind than its block.
pub fn fold(events: impl IntoIterator<Item = Event>) -> Result<Answer, Misplaced> {
    let mut fold = Fold::default();
    events.into_iter().try_for_each(|event| fold.push(event))?;
    Ok(fold.answer)
}

/// A fold that goes on.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    answer: Answer,
    open: BTreeSet<(u32, u32)>,
}

impl Fold {
    /// Takes in the next event.
    ///
    /// # Errors
    /// As [`fold`].
    pub fn push(&mut self, event: Event) -> Result<(), Misplaced> {
        let answer = &mut self.answer;
        match event {
            Event::Start { id, model, service_tier, rest } => {
                answer.id = id.or(answer.id.take());
                answer.model = model.or(answer.model.take());
                answer.service_tier = service_tier.or(answer.service_tier.take());
                answer.rest.extend(rest);
            }
            Event::BlockStart { choice, index, node } => {
                let blocks = &mut answer.choices.entry(choice).or_default().blocks;
                if blocks.len() != index as usize {
                    return Err(Misplaced("a block out of order"));
                }
                blocks.push(node);
                self.open.insert((choice, index));
            }
            Event::Delta { choice, index, delta } => {
                if !self.open.contains(&(choice, index)) {
                    return Err(Misplaced("a delta of a block that is not open"));
                }
                let node = answer.choices.get_mut(&choice).and_then(|choice| choice.blocks.get_mut(index as usize));
                add(node.ok_or(Misplaced("a delta of no block"))?, delta)?;
            }
            Event::BlockStop { choice, index } => {
                if !self.open.remove(&(choice, index)) {
                    return Err(Misplaced("an end of a block that is not open"));
                }
            }
            Event::Usage { usage, raw } => answer.usage = Some((usage, raw)),
            Event::Stop { choice, stop, rest } => {
                let choice = answer.choices.entry(choice).or_default();
                choice.stop = Some(stop);
                choice.rest.extend(rest);
            }
            Event::Fault(fault) => drop(answer.fault.get_or_insert(fault)),
            Event::End => answer.ended = true,
        }
        Ok(())
    }

    pub fn answer(self) -> Answer {
        self.answer
    }
}

/// Adds a delta to its block.
fn add(node: &mut Node, delta: Delta) -> Result<(), Misplaced> {
    match (&mut node.block, delta) {
        (Block::Text(text), Delta::Text(more)) => text.push_str(&more),
        (Block::Refusal(text), Delta::Refusal(more)) => text.push_str(&more),
        (Block::Thinking { text, .. }, Delta::Thinking(more)) => text.push_str(&more),
        (Block::Thinking { signature, .. }, Delta::Signature(more)) => signature.get_or_insert_default().push_str(&more),
        (Block::ToolUse { arguments, .. }, Delta::Arguments(more)) => arguments.push_str(&more),
        // what is not known is kept in order, beside the block
        (_, Delta::Opaque(more)) => match node.rest.entry(OPAQUE).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(list) => list.push(more),
            _ => return Err(Misplaced("deltas of a kind that is not known")),
        },
        _ => return Err(Misplaced("a delta of another kind than its block")),
    }
    Ok(())
}

/// The member of a node's `rest` under which deltas of unknown kinds are gathered.
pub const OPAQUE: &str = "\0deltas";

/// The events of a whole answer, each block in one delta: `fold(events(answer)) == answer`.
pub fn events(answer: Answer) -> Vec<Event> {
    let Answer { id, model, service_tier, rest, choices, usage, fault, ended } = answer;
    let mut events = vec![Event::Start { id, model, service_tier, rest }];
    let mut stops = Vec::new();
    for (choice, Choice { blocks, stop, rest }) in choices {
        for (index, node) in (0..).zip(blocks) {
            block_events(choice, index, node, &mut events);
        }
        stops.extend(stop.map(|stop| Event::Stop { choice, stop, rest }));
    }
    events.extend(stops);
    events.extend(usage.map(|(usage, raw)| Event::Usage { usage, raw }));
    events.extend(fault.map(Event::Fault));
    events.extend(ended.then_some(Event::End));
    events
}

/// Takes out of a block what deltas bring in a stream.
pub(crate) fn take_deltas(node: &mut Node) -> Vec<Delta> {
    let mut deltas = Vec::new();
    match &mut node.block {
        Block::Text(text) => deltas.push(Delta::Text(std::mem::take(text))),
        Block::Refusal(text) => deltas.push(Delta::Refusal(std::mem::take(text))),
        Block::ToolUse { arguments, .. } => deltas.push(Delta::Arguments(std::mem::take(arguments))),
        Block::Thinking { text, signature } => {
            deltas.push(Delta::Thinking(std::mem::take(text)));
            deltas.extend(signature.take().map(Delta::Signature));
        }
        _ => {}
    }
    if let Some(Value::Array(list)) = node.rest.remove(OPAQUE) {
        deltas.extend(list.into_iter().map(Delta::Opaque));
    }
    deltas
}

fn block_events(choice: u32, index: u32, mut node: Node, events: &mut Vec<Event>) {
    let deltas = take_deltas(&mut node);
    events.push(Event::BlockStart { choice, index, node });
    events.extend(deltas.into_iter().filter(|delta| !empty(delta)).map(|delta| Event::Delta { choice, index, delta }));
    events.push(Event::BlockStop { choice, index });
}

fn empty(delta: &Delta) -> bool {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Thinking(text) | Delta::Refusal(text) => text.is_empty(),
        Delta::Signature(_) | Delta::Opaque(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn start(index: u32, block: Block) -> Event {
        Event::BlockStart { choice: 0, index, node: block.into() }
    }

    fn delta(index: u32, delta: Delta) -> Event {
        Event::Delta { choice: 0, index, delta }
    }

    #[test]
    fn deltas_come_to_their_blocks_and_an_answer_is_its_events_again() {
        let answer = fold([
            Event::Start { id: Some("a".into()), model: None, service_tier: None, rest: Fields::new() },
            start(0, Block::Thinking { text: String::new(), signature: None }),
            delta(0, Delta::Thinking("hm".into())),
            delta(0, Delta::Signature("s".into())),
            Event::BlockStop { choice: 0, index: 0 },
            start(1, Block::ToolUse { id: "1".into(), name: "f".into(), arguments: String::new() }),
            start(2, Block::Text(String::new())),
            delta(1, Delta::Arguments("{".into())),
            delta(2, Delta::Text("hi".into())),
            delta(2, Delta::Opaque(json!({"citation": 1}))),
            delta(1, Delta::Arguments("}".into())),
            Event::BlockStop { choice: 0, index: 1 },
            Event::BlockStop { choice: 0, index: 2 },
            Event::End,
        ])
        .expect("well formed");
        let blocks: Vec<&Block> = answer.choices[&0].blocks.iter().map(|node| &node.block).collect();
        assert_eq!(blocks[0], &Block::Thinking { text: "hm".into(), signature: Some("s".into()) });
        assert_eq!(blocks[1], &Block::ToolUse { id: "1".into(), name: "f".into(), arguments: "{}".into() });
        assert_eq!(blocks[2], &Block::Text("hi".into()));
        assert_eq!(fold(events(answer.clone())), Ok(answer));
    }

    #[test]
    fn what_cannot_follow_is_misplaced() {
        let text = || start(0, Block::Text(String::new()));
        let stop = || Event::BlockStop { choice: 0, index: 0 };
        assert!(fold([delta(0, Delta::Text("x".into()))]).is_err());
        assert!(fold([text(), stop(), delta(0, Delta::Text("x".into()))]).is_err());
        assert!(fold([text(), delta(0, Delta::Arguments("x".into()))]).is_err());
        assert!(fold([start(1, Block::Text(String::new()))]).is_err());
        assert!(fold([stop()]).is_err());
    }
}
