//! YAML as a tree of plain values, and the variables in its texts. Variables are filled in after parsing, so that no value can change
//! what the file says.

use crate::{
    file::escaped,
    problem::{Problem, Problems},
};
use events::limits;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use std::{collections::BTreeSet, fmt};

/// A value of the file.
#[derive(Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Whole(i128),
    /// A number with places: never used as money or a share, for it is not exact.
    Float(f64),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A text, and whether a variable went into it: then it may be a secret.
#[derive(Clone, PartialEq)]
pub(crate) struct Text {
    pub value: String,
    pub filled: bool,
    /// A variable could not be filled in: said already, and nothing else is to be said of it.
    pub unset: bool,
}

/// What a variable is called outside.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Node {
    /// What stands in a map under a name.
    fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Node::Map(pairs) => pairs.iter().find(|(known, _)| known == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "a truth value",
            Node::Whole(_) => "a whole number",
            Node::Float(_) => "a number",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "a map",
        }
    }
}

/// Reads the text, and fills in its variables. A text whose variables cannot be filled in is a problem and stays as it is.
///
/// # Errors
/// The text is not YAML at all.
pub(crate) fn read(text: &str, vars: Variables<'_>, problems: &mut Problems) -> Result<Node, Vec<Problem>> {
    // without snippets: they would show secrets; and `y` and `no` are names
    let budget = serde_saphyr::budget! { max_nodes: limits::FILE_NODES_MAX, max_events: 3 * limits::FILE_NODES_MAX };
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true, budget: budget };
    let parsed = serde_saphyr::from_str_with_options::<Node>(text, options);
    let mut node = parsed.map_err(|error| vec![Problem { path: String::new(), message: format!("not YAML: {error}") }])?;
    fill_in(&mut node, "", vars, problems);
    Ok(node)
}

/// The file as JSON with its variables filled in: what goes to a server that cannot see them. A dollar sign in a value is escaped.
///
/// # Errors
/// Text that is not YAML, variables that are not set, and variables in headers: the server cannot tell them any more.
pub fn fill(text: &str, vars: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Problem>> {
    let mut problems = Problems::default();
    let node = read(text, vars, &mut problems)?;
    headers_hold_no_variables(&node, &mut problems);
    problems.or(json(&node).to_string())
}

/// Why a header holds no variable: what is in it stands in events, and is exported.
pub(crate) const HEADER_FILLED: &str = "may not hold a variable: headers are not sealed; a secret goes into api_key";

fn headers_hold_no_variables(file: &Node, problems: &mut Problems) {
    let Some(Node::List(providers)) = file.get("providers") else { return };
    for (at, provider) in providers.iter().enumerate() {
        let Some(Node::Map(headers)) = provider.get("headers") else { continue };
        for (name, value) in headers {
            if matches!(value, Node::Text(text) if text.filled) {
                problems.add(format!("providers[{at}].headers.{name}"), HEADER_FILLED);
            }
        }
    }
}

fn json(node: &Node) -> serde_json::Value {
    use serde_json::Value;
    match node {
        Node::Null => Value::Null,
        Node::Bool(value) => Value::Bool(*value),
        Node::Whole(value) => match i64::try_from(*value) {
            Ok(small) => small.into(),
            Err(_) => u64::try_from(*value).map_or_else(|_| Value::String(value.to_string()), Value::from),
        },
        Node::Float(value) => Value::from(*value),
        Node::Text(text) => Value::String(escaped(&text.value)),
        Node::List(items) => items.iter().map(json).collect(),
        Node::Map(pairs) => Value::Object(pairs.iter().map(|(key, value)| (key.clone(), json(value))).collect()),
    }
}

fn fill_in(node: &mut Node, path: &str, vars: Variables<'_>, problems: &mut Problems) {
    match node {
        Node::Text(text) if text.value.contains('$') => match filled(&text.value, vars) {
            Ok(new) => *text = new,
            Err(message) => {
                problems.add(path, message);
                text.unset = true;
            }
        },
        Node::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                fill_in(item, &format!("{path}[{at}]"), vars, problems);
            }
        }
        Node::Map(pairs) => {
            for (key, value) in pairs {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fill_in(value, &path, vars, problems);
            }
        }
        _ => {}
    }
}

/// `${NAME}` is a variable, `$$` a dollar sign, and any other `$` itself.
fn filled(text: &str, vars: Variables<'_>) -> Result<Text, String> {
    let (mut value, mut filled, mut rest) = (String::with_capacity(text.len()), false, text);
    while let Some(at) = rest.find('$') {
        value.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            value.push('$');
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix('{') {
            let (name, behind) = behind.split_once('}').ok_or("a variable has no end; write $$ for a dollar sign")?;
            let proper = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !proper {
                return Err(format!("${{{name}}} is not the name of a variable; write $$ for a dollar sign"));
            }
            value.push_str(&vars(name).ok_or_else(|| format!("the variable {name} is not set"))?);
            filled = true;
            rest = behind;
        } else {
            value.push('$');
        }
    }
    value.push_str(rest);
    Ok(Text { value, filled, unset: false })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Whole(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Whole(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(Text { value, filled: false, unset: false }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node, A::Error> {
        let (mut map, mut known): (Vec<(String, Node)>, BTreeSet<String>) = Default::default();
        while let Some((key, value)) = pairs.next_entry::<String, Node>()? {
            if !known.insert(key.clone()) {
                return Err(A::Error::custom(format!("\"{key}\" stands there twice")));
            }
            map.push((key, value));
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(name: &str) -> Option<String> {
        [("A", "1: {x}\n- y"), ("EMPTY", "")].into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }

    fn read(text: &str, vars: Variables<'_>) -> Result<Node, Vec<Problem>> {
        let mut problems = Problems::default();
        super::read(text, vars, &mut problems).and_then(|node| problems.or(node))
    }

    #[test]
    fn variables_fill_texts_and_cannot_break_the_file() {
        for (text, value) in [("${A}", "1: {x}\n- y"), ("a${EMPTY}b", "ab"), ("$$", "$"), ("$${A}", "${A}"), ("5$ $x", "5$ $x"), ("$", "$")]
        {
            assert_eq!(filled(text, &vars).map(|text| text.value), Ok(value.to_owned()), "{text}");
        }
        for bad in ["${NONE}", "${A", "${}", "${a b}"] {
            assert!(filled(bad, &vars).is_err(), "{bad}");
        }
        assert!(read("a: \"${A}\"", &vars).is_ok_and(
            |node| node == Node::Map(vec![("a".into(), Node::Text(Text { value: "1: {x}\n- y".into(), filled: true, unset: false }))])
        ));
    }

    #[test]
    fn a_filled_file_says_the_same_without_the_variables() {
        let text = "a: \"x${A}$$y\"\nb: [1, 2.5, null, true, {c: d}]\nbig: 18446744073709551615";
        let there = fill(text, &vars).unwrap();
        let (before, after) = (read(text, &vars).unwrap(), read(&there, &|_| None).unwrap());
        assert_eq!(json(&before), json(&after));
    }

    #[test]
    fn a_header_is_filled_with_nothing() {
        let file = |value: &str| format!("providers: [{{name: p, headers: {{x-a: plain, x-b: '{value}'}}}}, 5]");
        assert!(fill(&file("$$1 $x"), &vars).is_ok());
        let problems = fill(&file("${EMPTY}"), &vars).unwrap_err();
        assert_eq!((problems.len(), problems[0].path.as_str()), (1, "providers[0].headers.x-b"), "{problems:?}");
    }

    #[test]
    fn words_are_words_and_errors_show_no_text() {
        let text = |value: &str| Node::Text(Text { value: value.into(), filled: false, unset: false });
        assert!(
            read("[y, no, on, true]", &vars)
                .is_ok_and(|node| node == Node::List(vec![text("y"), text("no"), text("on"), Node::Bool(true)]))
        );
        let problems = read("keys:\n  - secret: hidden-value\n   bad: [\n", &vars).err().unwrap();
        assert!(problems[0].message.contains("line") && !problems[0].message.contains("hidden-value"), "{problems:?}");
    }

    #[test]
    fn what_stands_twice_is_refused() {
        for text in ["a: 1\na: 2", "{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "a: ["] {
            assert!(read(text, &vars).is_err(), "{text}");
        }
    }
}
