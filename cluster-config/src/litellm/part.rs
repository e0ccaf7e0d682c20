//! A map of LiteLLM's file that is being taken apart: what is read is taken out, and what stays in it is told as left.

use super::decimal;
use crate::{fields::below, file::escaped, pattern, problem::Problems, tree::Node};
use events::limits;

/// Fields, or patterns of them, and why they are not taken over.
pub(super) type Reasons = &'static [(&'static str, &'static str)];

pub(super) struct Part {
    pub path: String,
    pairs: Vec<(String, Node)>,
    is_map: bool,
}

impl Part {
    /// What is not a map is left as a whole; nothing is an empty map.
    pub fn of(node: Node, path: String, left: &mut Problems) -> Part {
        let is_map = matches!(node, Node::Map(_));
        let pairs = match node {
            Node::Map(pairs) => pairs,
            Node::Null => Vec::new(),
            other => {
                left.add(&path, format!("must be a map, not {}", other.kind()));
                Vec::new()
            }
        };
        Part { path, pairs, is_map }
    }

    pub fn is_map(&self) -> bool {
        self.is_map
    }

    pub fn at(&self, field: &str) -> String {
        below(&self.path, field)
    }

    /// Takes a field out; null is as good as absent.
    pub fn take(&mut self, field: &str) -> Option<Node> {
        let at = self.pairs.iter().position(|(name, _)| name == field)?;
        Some(self.pairs.remove(at).1).filter(|node| *node != Node::Null)
    }

    /// Puts a field in where there is none.
    pub fn supply(&mut self, field: &str, node: &Node) {
        if !self.pairs.iter().any(|(name, known)| name == field && *known != Node::Null) {
            self.pairs.retain(|(name, _)| name != field);
            self.pairs.push((field.to_owned(), node.clone()));
        }
    }

    pub fn part(&mut self, field: &str, left: &mut Problems) -> Part {
        Part::of(self.take(field).unwrap_or(Node::Null), self.at(field), left)
    }

    /// The items of a list with their places.
    pub fn list(&mut self, field: &str, left: &mut Problems) -> Vec<(String, Node)> {
        let path = self.at(field);
        match self.take(field) {
            None => Vec::new(),
            Some(node) => items(node, &path, left),
        }
    }

    /// The names of a list with their places.
    pub fn texts(&mut self, field: &str, left: &mut Problems) -> Vec<(String, String)> {
        let items = self.list(field, left);
        items.into_iter().filter_map(|(path, node)| text(node, &path, left).map(|text| (path, text))).collect()
    }

    /// A text; a whole number stands for its digits, for ids are often written so.
    pub fn text(&mut self, field: &str, left: &mut Problems) -> Option<String> {
        let node = self.take(field)?;
        text(node, &self.at(field), left)
    }

    pub fn truth(&mut self, field: &str, left: &mut Problems) -> Option<bool> {
        match self.take(field)? {
            Node::Bool(value) => Some(value),
            other => {
                left.add(self.at(field), format!("must be true or false, not {}", other.kind()));
                None
            }
        }
    }

    /// A number, times ten to the power of `places`, as a plain decimal.
    pub fn decimal(&mut self, field: &str, places: i32, left: &mut Problems) -> Option<String> {
        let node = self.take(field)?;
        let decimal = decimal::digits(&node).and_then(|digits| decimal::shifted(&digits, places));
        if decimal.is_none() {
            left.add(self.at(field), "must be a number that is not below zero; it is not taken over");
        }
        decimal
    }

    /// A whole number that a limit can have.
    pub fn count(&mut self, field: &str, left: &mut Problems) -> Option<u64> {
        let decimal = self.decimal(field, 0, left)?;
        let count = decimal.parse().ok().filter(|count| (1..=limits::COUNT_MAX).contains(count));
        if count.is_none() {
            left.add(self.at(field), format!("a limit here is a whole number from 1 to {}; it is not taken over", limits::COUNT_MAX));
        }
        count
    }

    /// All pairs with their places.
    pub fn pairs(self) -> Vec<(String, String, Node)> {
        let path = self.path;
        self.pairs.into_iter().map(|(name, node)| (below(&path, &name), name, node)).collect()
    }

    /// Tells of what nobody took.
    pub fn rest(self, reasons: Reasons, left: &mut Problems) {
        for (path, name, _) in self.pairs() {
            let known = reasons.iter().find(|(field, _)| pattern::matched(field, &name).is_some());
            left.add(path, known.map_or("is not known to the import, and not taken over", |(_, why)| why));
        }
    }
}

/// The items of a list with their places.
pub(super) fn items(node: Node, path: &str, left: &mut Problems) -> Vec<(String, Node)> {
    match node {
        Node::List(items) => items.into_iter().enumerate().map(|(at, item)| (format!("{path}[{at}]"), item)).collect(),
        other => {
            left.add(path, format!("must be a list, not {}; it is not taken over", other.kind()));
            Vec::new()
        }
    }
}

/// See [`Part::text`].
pub(super) fn text(node: Node, path: &str, left: &mut Problems) -> Option<String> {
    match node {
        Node::Text(text) => Some(text.value),
        Node::Whole(number) => Some(number.to_string()),
        other => {
            left.add(path, format!("must be text, not {}; it is not taken over", other.kind()));
            None
        }
    }
}

/// A text as our file writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The name of a variable.
    Variable(String),
    Literal(String),
}

impl Said {
    /// `os.environ/NAME` is a variable.
    pub fn of(text: &str) -> Result<Said, String> {
        match text.strip_prefix("os.environ/") {
            None => Ok(Said::Literal(text.to_owned())),
            Some(name) if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => {
                Ok(Said::Variable(name.to_owned()))
            }
            Some(_) => Err("a variable's name here has letters, digits and _ only; it is not taken over".to_owned()),
        }
    }

    pub fn written(&self) -> String {
        match self {
            Said::Variable(name) => format!("${{{name}}}"),
            Said::Literal(text) => escaped(text),
        }
    }
}
