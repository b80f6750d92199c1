//! *YAML* as Helm and kubectl read it: text to JSON values, by the rules of YAML 1.1 that Go's reader follows.
//!
//! Both cut a text into documents by Kubernetes' resource builder, and read each with sigs.k8s.io/yaml over go-yaml v2. Where
//! YAML 1.1, YAML 1.2 and go-yaml differ, go-yaml is right here, since it decided what the chart's own Job meant: `0644` is
//! 420, `yes` is true, `1e3` is 1000, `12:30` is a string, a later key replaces an earlier one, and `<<` merges at the place
//! where it stands. `cargo xtask differential` holds it against Go's own reader, whose parser is followed.
//!
//! # Bounds
//! The text may come from anyone. Its size, its depth and what it grows to through aliases are bounded by the constants
//! here; beyond them there is an error, never a hang.

use std::fmt;

use serde_json::Value;

mod documents;
mod events;
mod head;
mod json;
mod layout;
mod properties;
mod read;
mod resolve;
mod scalars;
mod source;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

pub use events::is_parsing;

pub(crate) use documents::{Document, documents};
pub use head::{Head, Keep};
pub use layout::{Node, NodeKind, layout};

/// Bytes of text: several release Secrets of 1.4 MB each fit, and an etcd object (1.5 MiB) fits many times.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// Directives (`%TAG …`) before a document: Helm's charts have none. Each tag that is declared is compared with all others, and each
/// tag that is used, too.
pub const MAX_DIRECTIVES: usize = 256;

/// Bytes of what all of them declare, which is copied for each tag that uses it.
pub const MAX_DIRECTIVE_BYTES: usize = 4096;

/// Nodes within nodes. The deepest field of Kubernetes' own types is about 20 deep, serde_json reads 127.
pub const MAX_DEPTH: usize = 100;

/// What all documents of a text that a person holds may grow to once aliases are followed: bytes of strings, [`NODE_BYTES`]
/// a node and [`MAP_BYTES`] a mapping. Room for a text of [`MAX_TEXT_BYTES`] that is mostly long strings, as release
/// Secrets are. It bounds memory to about twice this (tests/memory.rs). A release's hooks have narrower bounds: see
/// [`hook`](crate::hook).
pub const MAX_EXPANDED_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// What a node counts for: about what a [`Value`] with its place in a map or list takes.
pub const NODE_BYTES: usize = 64;

/// What a mapping counts for besides: serde_json's map begins with room for eleven entries.
pub const MAP_BYTES: usize = 640;

/// Why a text is not YAML that Helm would read, and where.
///
/// It quotes nothing of the text but the names of keys: manifests may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct YamlError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: YamlProblem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum YamlProblem {
    /// It is not YAML at all.
    Syntax(String),
    /// A control character, which YAML allows only as an escape in double quotes.
    Control(char),
    /// A value does not fit its tag, for example `!!int x`.
    Tag(&'static str),
    /// A key that JSON cannot have: null, a list or a mapping.
    Key,
    /// Infinity or not-a-number, which JSON cannot have.
    NotFinite,
    /// `<<` with something other than a mapping or a list of mappings.
    Merge,
    /// An alias within the node that it stands for.
    Cycle,
    /// More of it comes from aliases than Helm takes: 99 % of a small document, 10 % of a large one.
    Aliases,
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A longer text than [`MAX_TEXT_BYTES`].
    TooLong {
        /// Bytes of the text.
        found: usize,
        /// Bytes that it may have.
        allowed: usize,
    },
    /// Values that take more memory than allowed once aliases are followed.
    TooLarge {
        /// Bytes that may be taken: those of strings, [`NODE_BYTES`] a value and [`MAP_BYTES`] a mapping.
        allowed: usize,
    },
    /// More directives (`%TAG …`) than are read.
    TooManyDirectives,
    /// Longer directives than are read: the prefix of `%TAG` is put before each tag.
    DirectivesTooLong,
    /// More values than are looked at.
    TooManyNodes {
        /// How many are looked at.
        allowed: usize,
    },
    /// A line that begins with three dashes and more than a comment behind them.
    Separator,
    /// More documents than the one that is expected, or none.
    NotOneDocument,
    /// The parser itself failed on it.
    Parser,
}

impl fmt::Display for YamlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            YamlProblem::Syntax(what) => write!(f, "not YAML: {what}"),
            YamlProblem::Control(c) => write!(f, "the control character U+{:04X}", u32::from(*c)),
            YamlProblem::Tag(tag) => write!(f, "the value is not a {tag}, as its tag says"),
            YamlProblem::Key => f.write_str("a key must be a string, number or boolean"),
            YamlProblem::NotFinite => {
                f.write_str("infinity and not-a-number cannot be JSON; quote it if it is text")
            }
            YamlProblem::Merge => f.write_str("\"<<\" takes a mapping or a list of mappings"),
            YamlProblem::Cycle => f.write_str("an alias refers to the node that it is in"),
            YamlProblem::Aliases => f.write_str("more of it comes from aliases than Helm takes"),
            YamlProblem::TooDeep => write!(f, "more than {MAX_DEPTH} levels deep"),
            YamlProblem::TooLong { found, allowed } => {
                write!(f, "the text has {found} bytes, more than the {allowed} allowed")
            }
            YamlProblem::TooLarge { allowed } => write!(
                f,
                "up to here the values take more than the {allowed} bytes of memory allowed, counted as those of texts, \
                 {NODE_BYTES} for each value and {MAP_BYTES} for each mapping, with aliases followed"
            ),
            YamlProblem::TooManyDirectives => {
                write!(f, "more than the {MAX_DIRECTIVES} directives allowed (lines that begin with \"%\")")
            }
            YamlProblem::DirectivesTooLong => write!(
                f,
                "up to here the directives (lines that begin with \"%\") declare more than the {MAX_DIRECTIVE_BYTES} bytes allowed"
            ),
            YamlProblem::TooManyNodes { allowed } => {
                write!(f, "up to here there are more than the {allowed} values allowed")
            }
            YamlProblem::Separator => {
                f.write_str("behind the three dashes between two documents is more than a comment")
            }
            YamlProblem::NotOneDocument => f.write_str("one YAML document is expected"),
            YamlProblem::Parser => f.write_str(
                "the YAML parser failed on this text, which is a defect of hookhost: please report it",
            ),
        }
    }
}

impl YamlProblem {
    /// Whether the text may be YAML that Helm reads, and only goes beyond a bound of hookhost's.
    pub fn is_bound(&self) -> bool {
        matches!(
            self,
            YamlProblem::TooDeep
                | YamlProblem::TooLong { .. }
                | YamlProblem::TooLarge { .. }
                | YamlProblem::TooManyDirectives
                | YamlProblem::DirectivesTooLong
                | YamlProblem::TooManyNodes { .. }
        )
    }
}

impl YamlError {
    fn new(line: usize, column: usize, problem: YamlProblem) -> YamlError {
        YamlError { line, column, problem }
    }
}

/// What Helm and kubectl read of a text: all that is in it, in order, but for documents without content.
///
/// # Errors
/// Where they would refuse the text, or a bound is exceeded.
pub fn read(text: &str) -> Result<Vec<Value>, YamlError> {
    if text.len() > MAX_TEXT_BYTES {
        let problem = YamlProblem::TooLong { found: text.len(), allowed: MAX_TEXT_BYTES };
        return Err(YamlError::new(1, 1, problem));
    }
    let mut budget = Budget::default();
    let mut values = Vec::new();
    for document in documents(text) {
        // Every document costs something, or a text of nothing but "---" would be cheap.
        let document = document?;
        budget
            .charge(NODE_BYTES)
            .map_err(|problem| YamlError::new(document.lines_before() + 1, 1, problem))?;
        values.extend(Some(document.read(&mut budget)?).filter(|value| !value.is_null()));
    }
    Ok(values)
}

/// What may still be built, and how much that was at first: see [`MAX_EXPANDED_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: usize,
    allowed: usize,
}

impl Budget {
    /// So many bytes.
    pub fn of(allowed: usize) -> Budget {
        Budget { left: allowed, allowed }
    }

    /// The same, but at most so many bytes.
    pub fn at_most(&self, bytes: usize) -> Budget {
        if bytes < self.left { Budget::of(bytes) } else { *self }
    }

    /// What may still be built.
    pub fn left(&self) -> usize {
        self.left
    }

    /// Takes so many bytes off.
    pub fn charge(&mut self, bytes: usize) -> Result<(), YamlProblem> {
        self.left = self.left.checked_sub(bytes).ok_or(YamlProblem::TooLarge { allowed: self.allowed })?;
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget::of(MAX_EXPANDED_BYTES)
    }
}

/// What a value counts for, as one that was read does.
pub fn cost(value: &Value) -> usize {
    NODE_BYTES
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(cost).sum(),
            Value::Object(map) => {
                MAP_BYTES + map.iter().map(|(key, value)| key.len() + cost(value)).sum::<usize>()
            }
            _ => 0,
        }
}

/// The one document of a text. Documents without content beside it do not count.
///
/// # Errors
/// As [`read`]; and if there is none or more than one.
pub fn read_one(text: &str) -> Result<Value, YamlError> {
    let mut documents = read(text)?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) => Ok(document),
        _ => Err(YamlError::new(1, 1, YamlProblem::NotOneDocument)),
    }
}

/// The value as one YAML document for people: a Kubernetes object's own fields in their usual order, other keys sorted,
/// several lines of text as a block.
///
/// Readers of YAML 1.1 (kubectl, Helm) and of 1.2 read back the same value: text that either could take for something
/// else is quoted.
pub fn write(value: &Value) -> String {
    write::document(value)
}
