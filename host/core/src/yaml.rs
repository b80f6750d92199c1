//! *YAML* as Helm and kubectl read it: text to JSON values, by the rules of YAML 1.1 that Go's reader follows.
//!
//! Both use sigs.k8s.io/yaml over go-yaml v2. Where YAML 1.1, YAML 1.2 and go-yaml differ, go-yaml is right here, since
//! it decided what the chart's own Job meant: `0644` is 420, `yes` is true, `1e3` is 1000, `12:30` is a string, a later
//! key replaces an earlier one, and `<<` merges at the place where it stands.
//!
//! # Bounds
//! The text may come from anyone. Its size, its depth and what it grows to through aliases are bounded by the constants
//! here; beyond them there is an error, never a hang.

use std::fmt;

use serde_json::Value;

mod read;
mod resolve;
#[cfg(test)]
mod tests;
mod write;

/// Bytes of text: several release Secrets of 1.4 MB each fit, and an etcd object (1.5 MiB) fits many times.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// Nodes within nodes. The deepest field of Kubernetes' own types is about 20 deep, serde_json reads 127.
pub const MAX_DEPTH: usize = 100;

/// What all documents may grow to once aliases are followed: bytes of strings, [`NODE_BYTES`] a node and [`MAP_BYTES`] a
/// mapping. It bounds memory to about twice this (tests/memory.rs), and is far above what the API server would store
/// (1.5 MiB).
pub const MAX_EXPANDED_BYTES: usize = 64 * 1024 * 1024;

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
    /// A line end of YAML 1.1 that newer readers take for text.
    LineEnd(char),
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
    /// Deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Longer than [`MAX_TEXT_BYTES`], or larger than [`MAX_EXPANDED_BYTES`] once aliases are followed.
    TooLarge,
    /// More documents than the one that is expected, or none.
    NotOneDocument,
}

impl fmt::Display for YamlProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            YamlProblem::Syntax(what) => write!(f, "not YAML: {what}"),
            YamlProblem::Control(c) => write!(f, "the control character U+{:04X}", u32::from(*c)),
            YamlProblem::LineEnd(c) => {
                write!(
                    f,
                    "U+{:04X}, which YAML 1.1 takes for a line end; write it as an escape",
                    u32::from(*c)
                )
            }
            YamlProblem::Tag(tag) => write!(f, "the value is not a {tag}, as its tag says"),
            YamlProblem::Key => f.write_str("a key must be a string, number or boolean"),
            YamlProblem::NotFinite => {
                f.write_str("infinity and not-a-number cannot be JSON; quote it if it is text")
            }
            YamlProblem::Merge => f.write_str("\"<<\" takes a mapping or a list of mappings"),
            YamlProblem::Cycle => f.write_str("an alias refers to the node that it is in"),
            YamlProblem::TooDeep => write!(f, "more than {MAX_DEPTH} levels deep"),
            YamlProblem::TooLarge => write!(
                f,
                "more than {} MiB of text, or {} MiB once aliases are followed",
                MAX_TEXT_BYTES >> 20,
                MAX_EXPANDED_BYTES >> 20
            ),
            YamlProblem::NotOneDocument => f.write_str("one YAML document is expected"),
        }
    }
}

impl YamlError {
    fn new(line: usize, column: usize, problem: YamlProblem) -> YamlError {
        YamlError { line, column, problem }
    }
}

/// All documents of a text, in order; a document without content is null.
///
/// # Errors
/// Where Go's reader would refuse the text, or a bound is exceeded.
pub fn read(text: &str) -> Result<Vec<Value>, YamlError> {
    read::documents(text, &mut Budget::default(), usize::MAX)
}

/// The first document of a text, null if there is none: all that Go's reader looks at. What follows the document may even
/// be broken.
///
/// # Errors
/// As [`read`].
pub fn read_first(text: &str) -> Result<Value, YamlError> {
    read_first_within(text, &mut Budget::default())
}

/// As [`read_first`], for several texts that share one bound.
pub(crate) fn read_first_within(text: &str, budget: &mut Budget) -> Result<Value, YamlError> {
    Ok(read::documents(text, budget, 1)?.pop().unwrap_or_default())
}

/// What may still be built, see [`MAX_EXPANDED_BYTES`].
pub(crate) struct Budget(usize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(MAX_EXPANDED_BYTES)
    }
}

/// The one document of a text. Documents without content beside it do not count.
///
/// # Errors
/// As [`read`]; and if there is none or more than one.
pub fn read_one(text: &str) -> Result<Value, YamlError> {
    let mut documents = read(text)?.into_iter().filter(|document| !document.is_null());
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
