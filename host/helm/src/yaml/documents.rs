//! The *documents* of a text, as Kubernetes' resource builder, through which Helm and kubectl read, tells them apart.
//!
//! A text that begins with a brace is first taken for JSON values, one after the other without anything between. What is no
//! JSON is YAML: cut at the lines that begin with three dashes, and of each piece the first document counts, whatever
//! follows it. A text that was JSON more than once cannot be YAML any more.

use serde_json::Value;

use super::{Budget, Head, Keep, YamlError, YamlProblem, head, json, read};

/// Bytes in which the builder looks for the brace.
const GUESSED_BYTES: usize = 4096;

/// A document of a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Document<'t> {
    text: &'t str,
    /// Lines of the text before it.
    lines_before: usize,
    is_json: bool,
}

impl<'t> Document<'t> {
    /// The document itself, without what is around it.
    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Lines of the text before it.
    pub(crate) fn lines_before(&self) -> usize {
        self.lines_before
    }

    /// Whether it is this very one, not one with the same text.
    pub(crate) fn is(&self, other: &Document<'_>) -> bool {
        std::ptr::eq(self.text, other.text)
    }

    /// Its value; null without content.
    pub(crate) fn read(&self, budget: &mut Budget) -> Result<Value, YamlError> {
        let read = if self.is_json {
            json::read(self.text, budget)
        } else {
            read::first(self.text, budget).map(Option::unwrap_or_default)
        };
        read.map_err(|error| self.place(error))
    }

    /// Its head; see [`Head`].
    pub(crate) fn head(&self, keep: &Keep, nodes: &mut Budget, kept: &mut Budget) -> Result<Head, YamlError> {
        let head = if self.is_json {
            json::head(self.text, keep, nodes, kept)
        } else {
            head::head(self.text, keep, nodes, kept)
        };
        head.map_err(|error| self.place(error))
    }

    /// The error as one of the text that the document is in.
    fn place(&self, error: YamlError) -> YamlError {
        YamlError { line: error.line + self.lines_before, ..error }
    }
}

/// The documents of a text, but for those that are nothing but blank lines and comments: a parser for each would be dear.
pub(crate) fn documents(text: &str) -> Documents<'_> {
    let guessed = &text[..text.floor_char_boundary(GUESSED_BYTES)];
    let is_json = guessed.trim_start().starts_with('{');
    Documents { text, at: 0, lines_before: 0, state: if is_json { State::Json(0) } else { State::Yaml } }
}

/// See [`documents`].
pub(crate) struct Documents<'t> {
    text: &'t str,
    /// The byte from which on it is still to be looked at, and the lines before it.
    at: usize,
    lines_before: usize,
    state: State,
}

enum State {
    /// So many JSON values came.
    Json(usize),
    Yaml,
    Over,
}

impl<'t> Iterator for Documents<'t> {
    type Item = Result<Document<'t>, YamlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::Json(count) = self.state {
            match self.json(count) {
                Ok(Some(document)) => return Some(Ok(document)),
                Ok(None) => {
                    self.state = State::Over;
                    return None;
                }
                Err(error) => match blank_line(&self.text[self.at..]) {
                    Some(bytes) if count < 2 => {
                        self.take(bytes);
                        self.state = State::Yaml;
                    }
                    _ => {
                        self.state = State::Over;
                        return Some(Err(error));
                    }
                },
            }
        }
        self.yaml().transpose()
    }
}

impl<'t> Documents<'t> {
    /// Takes so many bytes; gives them back, and the lines before them.
    fn take(&mut self, bytes: usize) -> (&'t str, usize) {
        let (taken, before) = (&self.text[self.at..self.at + bytes], self.lines_before);
        self.at += bytes;
        self.lines_before += taken.bytes().filter(|byte| *byte == b'\n').count();
        (taken, before)
    }

    fn json(&mut self, count: usize) -> Result<Option<Document<'t>>, YamlError> {
        let rest = &self.text[self.at..];
        let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if blank == rest.len() {
            return Ok(None);
        }
        match json::value_end(&rest.as_bytes()[blank..]) {
            Ok(bytes) => {
                self.take(blank);
                let (text, lines_before) = self.take(bytes);
                self.state = State::Json(count + 1);
                Ok(Some(Document { text, lines_before, is_json: true }))
            }
            Err(bytes) => {
                let problem = YamlProblem::Syntax("it is not JSON, as what is before it".to_owned());
                let before = &rest[..rest.floor_char_boundary(blank + bytes)];
                let line = self.lines_before + newlines(before) + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                Err(YamlError { line, column, problem })
            }
        }
    }

    fn yaml(&mut self) -> Result<Option<Document<'t>>, YamlError> {
        loop {
            if matches!(self.state, State::Over) {
                return Ok(None);
            }
            let rest = &self.text[self.at..];
            let (mut end, mut is_nothing, mut after) = (0, true, None);
            for line in rest.split_inclusive('\n') {
                if let Some(behind) = line.strip_prefix("---") {
                    let comment = behind.trim();
                    if !(comment.is_empty() || comment.starts_with('#')) {
                        self.state = State::Over;
                        let line = self.lines_before + newlines(&rest[..end]) + 1;
                        return Err(YamlError { line, column: 4, problem: YamlProblem::Separator });
                    }
                    // Before a document it is a part of it.
                    if end > 0 {
                        after = Some(line.len());
                        break;
                    }
                    is_nothing &= is_comment(behind) && !behind.starts_with('#');
                } else {
                    is_nothing &= is_comment(line);
                }
                end += line.len();
            }
            let (text, lines_before) = self.take(end);
            match after {
                Some(bytes) => drop(self.take(bytes)),
                None => self.state = State::Over,
            }
            if !is_nothing {
                return Ok(Some(Document { text, lines_before, is_json: false }));
            }
        }
    }
}

/// Bytes of the blanks before what is taken for YAML where it is no JSON, up to the end of their line; none if the builder
/// fails: it looks at four bytes at once, and takes a replacement character for a broken one.
fn blank_line(text: &str) -> Option<usize> {
    for (at, c) in text.char_indices() {
        if text.len() - at < 4 || c == char::REPLACEMENT_CHARACTER {
            return None;
        }
        if !c.is_whitespace() {
            return Some(at);
        }
        if c == '\n' {
            return Some(at + 1);
        }
    }
    None
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Whether a line outside of any value is blank or a comment, and nothing that a reader would refuse.
fn is_comment(line: &str) -> bool {
    let text = line.trim_end_matches(['\r', '\n']);
    let rest = text.trim_start_matches(' ');
    (rest.is_empty() || rest.starts_with('#')) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
}
