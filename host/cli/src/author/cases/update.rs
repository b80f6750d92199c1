//! To *update* a file of cases is to write what the policy answers now into `expect`, and to leave every other byte of
//! the file, comments and blanks included, as it is.
//!
//! The parser says where each node is; the text between is never written anew. Before the new text is handed out it is
//! read back: if anything but the expectations changed, the file is left alone.

use anyhow::Result;
use hookhost_core::Reason;
use hookhost_helm::yaml::{self, Node, NodeKind};
use serde_json::Value;

use super::Answer;
use crate::problem::Problem;

/// One replacement in the text, by its bytes.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// The text with the expectations of some cases replaced, named by their index.
pub(crate) fn update(text: &str, answers: &[(usize, &Answer)]) -> Result<String> {
    let root = yaml::layout(text).map_err(|_| unclear("it is not YAML"))?;
    let cases = entry(&root, "cases").map(|(_, cases)| &cases.kind);
    let Some(NodeKind::List(items)) = cases else { return Err(unclear("its cases are no list")) };
    let mut edits = Vec::new();
    for &(index, answer) in answers {
        let case = items.get(index).ok_or_else(|| unclear("a case is missing"))?;
        edits.push(edit(case, answer, text)?);
    }
    edits.sort_by_key(|edit| edit.start);
    let mut updated = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        updated.push_str(text.get(at..edit.start).ok_or_else(|| unclear("two cases are one"))?);
        updated.push_str(&edit.text);
        at = edit.end;
    }
    updated.push_str(&text[at..]);
    check(text, &updated, answers)?;
    Ok(updated)
}

/// What changes for one case.
fn edit(case: &Node, answer: &Answer, text: &str) -> Result<Edit> {
    let NodeKind::Mapping(pairs) = &case.kind else { return Err(unclear("a case is an alias")) };
    let is_flow = |node: &Node| text[node.bytes.start..].starts_with('{');
    let one_line = serde_json::to_string(answer)?;
    let Some((key, value)) = entry(case, "expect") else {
        let last = pairs.last().map_or(case.bytes.end - 1, |(key, value)| key.bytes.end.max(value.bytes.end));
        let (at, text) = if is_flow(case) {
            let comma = if pairs.is_empty() { "" } else { ", " };
            (last, format!("{comma}expect: {one_line}"))
        } else {
            let answer = indented(answer, case.column + 2)?;
            (line_end(last, text), format!("\n{}expect:\n{answer}", blanks(case.column)))
        };
        return Ok(Edit { start: at, end: at, text });
    };
    let (start, end) = (value.bytes.start, value.bytes.end);
    let is_empty = value.kind == NodeKind::Empty;
    if is_flow(case) || is_flow(value) {
        let text = if is_empty { format!(" {one_line}") } else { one_line };
        return Ok(Edit { start, end, text });
    }
    if matches!(value.kind, NodeKind::Empty | NodeKind::Scalar(_) | NodeKind::Alias) {
        let start = if is_empty { start } else { colon(key, text)? };
        return Ok(Edit { start, end, text: format!("\n{}", indented(answer, key.column + 2)?) });
    }
    let text = indented(answer, value.column)?;
    Ok(Edit { start, end, text: text.trim_start().to_owned() })
}

/// The key and the value of a mapping's entry.
fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n (Node, Node)> {
    let NodeKind::Mapping(pairs) = &node.kind else { return None };
    pairs.iter().find(|(key, _)| matches!(&key.kind, NodeKind::Scalar(text) if text == name))
}

/// After the colon of a key.
fn colon(key: &Node, text: &str) -> Result<usize> {
    let after = text[key.bytes.end..].find(':');
    after.map(|offset| key.bytes.end + offset + 1).ok_or_else(|| unclear("a key has no colon"))
}

/// The end of the line that a byte is in, where nothing but blanks and a comment follows.
fn line_end(at: usize, text: &str) -> usize {
    text[at..].find(['\r', '\n']).map_or(text.len(), |offset| at + offset)
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

#[cfg(test)]
mod tests;
