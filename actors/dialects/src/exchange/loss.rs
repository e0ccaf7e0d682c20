//! What a dialect cannot say: typed, and refused, reported or passed over by policy. Never dropped in silence.

use std::{fmt, str::FromStr};

/// Something that the target cannot be told, or that the caller cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Where it stood, as `tools[0].strict`.
    pub path: String,
    pub kind: LossKind,
}

/// What kind of thing is lost. The kind decides what happens if nobody says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossKind {
    Tools,
    Schema,
    Image,
    Document,
    Audio,
    Choices,
    Logprobs,
    /// Arguments of a tool that are no JSON object.
    Arguments,
    /// A block of a kind that the other dialect does not have.
    Content,
    /// Thinking, or its signature: of use only to the provider that made it.
    Thinking,
    Reasoning,
    /// A message whose place or role cannot be kept.
    Role,
    Cache,
    Metadata,
    Sampling,
    /// A field that is not known here.
    Unknown,
}

/// What is done about a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossPolicy {
    /// Left out; in the record alone.
    Pass,
    /// Left out and said so.
    Warn,
    /// The call is refused.
    Refuse,
}

impl LossKind {
    /// All of them, in a fixed order.
    pub const ALL: [LossKind; 16] = [
        LossKind::Tools,
        LossKind::Schema,
        LossKind::Image,
        LossKind::Document,
        LossKind::Audio,
        LossKind::Choices,
        LossKind::Logprobs,
        LossKind::Arguments,
        LossKind::Content,
        LossKind::Thinking,
        LossKind::Reasoning,
        LossKind::Role,
        LossKind::Cache,
        LossKind::Metadata,
        LossKind::Sampling,
        LossKind::Unknown,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LossKind::Tools => "tools",
            LossKind::Schema => "schema",
            LossKind::Image => "image",
            LossKind::Document => "document",
            LossKind::Audio => "audio",
            LossKind::Choices => "choices",
            LossKind::Logprobs => "logprobs",
            LossKind::Arguments => "arguments",
            LossKind::Content => "content",
            LossKind::Thinking => "thinking",
            LossKind::Reasoning => "reasoning",
            LossKind::Role => "role",
            LossKind::Cache => "cache",
            LossKind::Metadata => "metadata",
            LossKind::Sampling => "sampling",
            LossKind::Unknown => "unknown",
        }
    }

    /// What changes the meaning of an answer is refused; what is a hint is reported.
    pub fn default_policy(self) -> LossPolicy {
        match self {
            LossKind::Tools
            | LossKind::Schema
            | LossKind::Image
            | LossKind::Document
            | LossKind::Audio
            | LossKind::Choices
            | LossKind::Logprobs
            | LossKind::Arguments
            | LossKind::Content => LossPolicy::Refuse,
            LossKind::Thinking
            | LossKind::Reasoning
            | LossKind::Role
            | LossKind::Cache
            | LossKind::Metadata
            | LossKind::Sampling
            | LossKind::Unknown => LossPolicy::Warn,
        }
    }
}

impl LossPolicy {
    pub fn as_str(self) -> &'static str {
        match self {
            LossPolicy::Pass => "pass",
            LossPolicy::Warn => "warn",
            LossPolicy::Refuse => "refuse",
        }
    }

    fn from_word(word: &str) -> Option<LossPolicy> {
        match word {
            "pass" => Some(LossPolicy::Pass),
            "warn" => Some(LossPolicy::Warn),
            "refuse" => Some(LossPolicy::Refuse),
            _ => None,
        }
    }
}

/// What somebody says about losses: `warn`, or by kind, as `logprobs=pass,seed=refuse`. The last word about a kind counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossRules {
    rules: Vec<(Option<LossKind>, LossPolicy)>,
}

/// A word that is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRule(pub String);

impl fmt::Display for NoRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<&str> = LossKind::ALL.iter().map(|kind| kind.as_str()).collect();
        write!(
            f,
            "\"{}\" is no rule about losses: they read pass, warn or refuse, or kind=rule with a kind of {}",
            self.0,
            kinds.join(", ")
        )
    }
}

impl std::error::Error for NoRule {}

impl FromStr for LossRules {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<LossRules, NoRule> {
        let rule = |part: &str| {
            let (kind, word) = part.split_once('=').map_or((None, part), |(kind, word)| (Some(kind.trim()), word.trim()));
            let kind = match kind {
                None => None,
                Some(name) => Some(LossKind::ALL.into_iter().find(|kind| kind.as_str() == name)?),
            };
            Some((kind, LossPolicy::from_word(word)?))
        };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let rules = parts.map(|part| rule(part).ok_or_else(|| NoRule(part.chars().take(64).collect())));
        Ok(LossRules { rules: rules.collect::<Result<_, _>>()? })
    }
}

impl LossRules {
    /// One policy for every kind.
    pub fn all(policy: LossPolicy) -> LossRules {
        LossRules { rules: vec![(None, policy)] }
    }

    /// These rules, and then others, which have the last word.
    #[must_use]
    pub fn then(mut self, others: LossRules) -> LossRules {
        self.rules.extend(others.rules);
        self
    }

    pub fn policy(&self, kind: LossKind) -> LossPolicy {
        let said = self.rules.iter().rev().find(|(about, _)| about.is_none_or(|about| about == kind));
        said.map_or(kind.default_policy(), |(_, policy)| *policy)
    }
}

/// The losses of one translation. Bounded: a long list says no more than a short one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    list: Vec<Loss>,
}

/// Losses that are kept.
const LOSSES_MAX: usize = 64;
/// Bytes of a path that are kept.
const PATH_BYTES_MAX: usize = 128;

impl Losses {
    pub fn add(&mut self, mut loss: Loss) {
        if loss.path.len() > PATH_BYTES_MAX {
            let end = (0..=PATH_BYTES_MAX).rev().find(|at| loss.path.is_char_boundary(*at)).unwrap_or(0);
            loss.path.truncate(end);
        }
        // one that refuses is never pushed out by those that only warn
        if (self.list.len() < LOSSES_MAX || loss.kind.default_policy() == LossPolicy::Refuse) && !self.list.contains(&loss) {
            self.list.truncate(LOSSES_MAX * 2 - 1);
            self.list.push(loss);
        }
    }

    pub fn lose(&mut self, kind: LossKind, path: impl Into<String>) {
        self.add(Loss { path: path.into(), kind });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The first loss that the rules refuse.
    pub fn refused(&self, rules: &LossRules) -> Option<&Loss> {
        self.list.iter().find(|loss| rules.policy(loss.kind) == LossPolicy::Refuse)
    }

    /// The top-level fields of those that are reported, each once, in order. What would be refused of a request and stands in an answer,
    /// which has been paid for, is reported.
    pub fn reported(&self, rules: &LossRules) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for loss in self.list.iter().filter(|loss| rules.policy(loss.kind) != LossPolicy::Pass) {
            let name = loss.path.split(['.', '[']).next().unwrap_or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_the_last_word_counts() {
        let rules: LossRules = "warn, logprobs=pass,choices = refuse".parse().expect("rules");
        assert_eq!(rules.policy(LossKind::Logprobs), LossPolicy::Pass);
        assert_eq!(rules.policy(LossKind::Choices), LossPolicy::Refuse);
        assert_eq!(rules.policy(LossKind::Image), LossPolicy::Warn);
        assert_eq!(LossRules::default().policy(LossKind::Image), LossPolicy::Refuse);
        for wrong in ["maybe", "image=maybe", "pictures=warn", "image:warn"] {
            assert!(wrong.parse::<LossRules>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_refused_is_found_and_what_is_reported_is_named_once() {
        let mut losses = Losses::default();
        for path in ["seed", "messages[0].cache_control", "messages[1].cache_control"] {
            losses.lose(LossKind::Cache, path);
        }
        losses.lose(LossKind::Logprobs, "logprobs");
        assert_eq!(losses.refused(&LossRules::default()).map(|loss| loss.path.as_str()), Some("logprobs"));
        let pass: LossRules = "logprobs=pass".parse().expect("a rule");
        assert_eq!((losses.refused(&pass), losses.reported(&pass)), (None, vec!["seed", "messages"]));
    }

    #[test]
    fn a_long_list_keeps_what_refuses() {
        let mut losses = Losses::default();
        (0..1_000).for_each(|number| losses.lose(LossKind::Unknown, format!("x{number}")));
        losses.lose(LossKind::Tools, "tools[3]");
        assert!(losses.refused(&LossRules::default()).is_some() && losses.iter().count() <= LOSSES_MAX * 2);
    }
}
