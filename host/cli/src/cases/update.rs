//! To *update* a file of cases is to write what the policy answers now into `expect`, and to leave every other byte of
//! the file, comments and blanks included, as it is.
//!
//! The parser says where each node is; the text between is never written anew. Before the new text is handed out it is
//! read back: if anything but the expectations changed, the file is left alone.

use std::io::{Chain, Read};

use anyhow::Result;
use hookhost_core::Reason;
use hookhost_helm::yaml;
use libyaml_safer::{Encoding, Event, EventData, Parser, ScalarStyle};
use serde_json::Value;

use super::Answer;
use crate::problem::Problem;

/// A node of the document, with its place in the text as counted in characters.
struct Node {
    /// Where its first character is.
    start: usize,
    /// After its last character that is not a blank, a comment or a line feed.
    end: usize,
    /// The column of the first character, from 0.
    column: usize,
    kind: Kind,
}

enum Kind {
    Scalar { text: String, empty: bool },
    List { items: Vec<Node> },
    Mapping { pairs: Vec<(Node, Node)>, flow: bool },
    Alias,
}

/// One replacement in the text.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// The text with the expectations of some cases replaced, named by their index.
pub(crate) fn update(text: &str, answers: &[(usize, &Answer)]) -> Result<String> {
    let characters: Vec<char> = text.chars().collect();
    let root = Reader::read(text, &characters)?;
    let cases = root.get("cases").map(|(_, cases)| cases);
    let Some(Node { kind: Kind::List { items }, .. }) = cases else {
        return Err(unclear("its cases are no list"));
    };
    let mut edits = Vec::new();
    for &(index, answer) in answers {
        let case = items.get(index).ok_or_else(|| unclear("a case is missing"))?;
        edits.push(edit(case, answer, &characters)?);
    }
    edits.sort_by_key(|edit| edit.start);
    let mut updated = String::with_capacity(text.len());
    let mut at = 0;
    for Edit { start, end, text } in edits {
        updated.extend(characters.get(at..start).ok_or_else(|| unclear("two cases are one"))?);
        updated.push_str(&text);
        at = end;
    }
    updated.extend(&characters[at..]);
    check(text, &updated, answers)?;
    Ok(updated)
}

/// What changes for one case.
fn edit(case: &Node, answer: &Answer, characters: &[char]) -> Result<Edit> {
    let Kind::Mapping { pairs, flow } = &case.kind else { return Err(unclear("a case is an alias")) };
    let one_line = serde_json::to_string(answer)?;
    let Some((key, value)) = case.get("expect") else {
        let text = if *flow {
            format!("{}expect: {one_line}", if pairs.is_empty() { "" } else { ", " })
        } else {
            format!("\n{}expect:\n{}", blanks(case.column), indented(answer, case.column + 2)?)
        };
        let last = pairs.last().map_or(case.end - 1, |(key, value)| key.end.max(value.end));
        let end = if *flow { last } else { line_end(last, characters) };
        return Ok(Edit { start: end, end, text });
    };
    let value_is_flow = matches!(value.kind, Kind::Mapping { flow: true, .. });
    if *flow || value_is_flow {
        let start = if value.is_empty() { colon(key, characters)? } else { value.start };
        let text = if value.is_empty() { format!(" {one_line}") } else { one_line };
        return Ok(Edit { start, end: value.end.max(start), text });
    }
    if value.is_empty() || matches!(value.kind, Kind::Scalar { .. } | Kind::Alias) {
        let start = colon(key, characters)?;
        let end = if value.is_empty() { start } else { value.end };
        return Ok(Edit { start, end, text: format!("\n{}", indented(answer, key.column + 2)?) });
    }
    let text = indented(answer, value.column)?;
    Ok(Edit { start: value.start, end: value.end, text: text.trim_start().to_owned() })
}

/// After the colon of a key.
fn colon(key: &Node, characters: &[char]) -> Result<usize> {
    let after = characters.iter().skip(key.end).position(|&c| c == ':');
    after.map(|offset| key.end + offset + 1).ok_or_else(|| unclear("a key has no colon"))
}

/// The end of the line that a position is in, where nothing but blanks and a comment follows.
fn line_end(position: usize, characters: &[char]) -> usize {
    let rest = characters.get(position..).unwrap_or_default();
    position + rest.iter().position(|c| matches!(c, '\r' | '\n')).unwrap_or(rest.len())
}

/// The answer as lines of YAML, without the last line feed.
fn indented(answer: &Answer, columns: usize) -> Result<String> {
    let yaml = answer.yaml()?;
    let lines = yaml.trim_end().lines();
    Ok(lines.map(|line| format!("{}{line}", blanks(columns))).collect::<Vec<_>>().join("\n"))
}

fn blanks(columns: usize) -> String {
    " ".repeat(columns)
}

/// Refuses a new text that says anything else than the old one with the new answers.
fn check(old: &str, new: &str, answers: &[(usize, &Answer)]) -> Result<()> {
    let mut wanted = yaml::read_one(old)?;
    for (index, answer) in answers {
        wanted["cases"][*index]["expect"] = serde_json::to_value(answer)?;
    }
    let got: Option<Value> = yaml::read_one(new).ok();
    if got.as_ref() == Some(&wanted) { Ok(()) } else { Err(unclear("its layout is unusual")) }
}

fn unclear(why: &str) -> anyhow::Error {
    Problem::new(Reason::ValidationFailed, format!("cannot update the expectations in place: {why}"))
        .with_advice("Write the case's `expect` by hand, as the difference above shows it.")
        .into()
}

impl Node {
    fn get(&self, name: &str) -> Option<&(Node, Node)> {
        let Kind::Mapping { pairs, .. } = &self.kind else { return None };
        pairs.iter().find(|(key, _)| matches!(&key.kind, Kind::Scalar { text, .. } if text == name))
    }

    fn is_empty(&self) -> bool {
        matches!(self.kind, Kind::Scalar { empty: true, .. })
    }
}

/// Builds nodes from the parser's events. The text was read by the core before, within its bounds of depth and size.
struct Reader<'t> {
    events: Parser<Chain<&'t [u8], &'static [u8]>>,
    characters: &'t [char],
    /// The byte at which each character begins: the parser's marks are bytes.
    starts: Vec<usize>,
}

impl<'t> Reader<'t> {
    fn read(text: &'t str, characters: &'t [char]) -> Result<Node> {
        let mut events = Parser::new();
        events.set_encoding(Encoding::Utf8);
        // As the core reads it: a last line without an end is no end of a block for this parser.
        events.set_input(text.as_bytes().chain(&b"\n"[..]));
        let starts = text.char_indices().map(|(start, _)| start).collect();
        let mut reader = Reader { events, characters, starts };
        loop {
            let event = reader.next()?;
            if !matches!(event.data, EventData::StreamStart { .. } | EventData::DocumentStart { .. }) {
                return reader.node(event);
            }
        }
    }

    fn next(&mut self) -> Result<Event> {
        self.events.parse().map_err(|_| unclear("it is not YAML"))
    }

    fn node(&mut self, event: Event) -> Result<Node> {
        let (start, end) = (self.character(event.start_mark.index), self.character(event.end_mark.index));
        let column = usize::try_from(event.start_mark.column).map_err(|_| unclear("it is too long"))?;
        match event.data {
            EventData::Scalar { value, style, .. } => {
                let empty = value.is_empty() && style == ScalarStyle::Plain;
                let end = if empty { start } else { self.content_end(end) };
                Ok(Node { start, end, column, kind: Kind::Scalar { text: value, empty } })
            }
            EventData::Alias { .. } => {
                Ok(Node { start, end: self.content_end(end), column, kind: Kind::Alias })
            }
            EventData::SequenceStart { .. } => {
                let (mut items, mut end) = (Vec::new(), start);
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::SequenceEnd) {
                        let end = self.collection_end(start, end);
                        return Ok(Node { start, end, column, kind: Kind::List { items } });
                    }
                    let item = self.node(event)?;
                    end = end.max(item.end);
                    items.push(item);
                }
            }
            EventData::MappingStart { .. } => {
                let (mut pairs, mut end) = (Vec::new(), start);
                loop {
                    let event = self.next()?;
                    if matches!(event.data, EventData::MappingEnd) {
                        let flow = self.characters.get(start) == Some(&'{');
                        let end = self.collection_end(start, end);
                        return Ok(Node { start, end, column, kind: Kind::Mapping { pairs, flow } });
                    }
                    let key = self.node(event)?;
                    let event = self.next()?;
                    let value = self.node(event)?;
                    end = end.max(value.end).max(key.end);
                    pairs.push((key, value));
                }
            }
            _ => Err(unclear("it is not one document")),
        }
    }

    /// The character at a byte of the text.
    fn character(&self, byte: u64) -> usize {
        self.starts.partition_point(|start| (*start as u64) < byte)
    }

    /// The end of a list or mapping: its closing bracket in flow style, else that of its last child. The parser's own
    /// ends lie after the blanks and comments that follow.
    fn collection_end(&self, start: usize, children: usize) -> usize {
        let close = match self.characters.get(start) {
            Some('{') => '}',
            Some('[') => ']',
            _ => return children,
        };
        let mut in_comment = false;
        for (at, &c) in self.characters.iter().enumerate().skip(children.max(start + 1)) {
            match c {
                '\n' => in_comment = false,
                '#' => in_comment = true,
                _ if c == close && !in_comment => return at + 1,
                _ => {}
            }
        }
        children
    }

    /// The end of a scalar without the line feeds that a block scalar ends with.
    fn content_end(&self, end: usize) -> usize {
        let before = self.characters.get(..end).unwrap_or_default();
        before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1)
    }
}

#[cfg(test)]
mod tests;
