//! *Output* is everything hookhost prints: results on stdout, the rest on stderr.
//!
//! A reader that goes away (`hookhost … | head`) is not an error. Strings that came from a record or a policy are
//! [escaped](escape) before a terminal sees them, so that they can neither move the cursor nor hide text; in JSON they are
//! escaped as JSON has it, so that a program reads them whole.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use comfy_table::presets::NOTHING;
use hookhost_helm::text::{is_unprintable, terminal_safe_json};

/// Prints a result on stdout. Colours in it reach terminals only.
pub(crate) fn result(text: &str) -> Result<()> {
    match write(anstream::stdout().lock(), text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write the result to stdout"),
    }
}

/// Prints a value as JSON on stdout.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("cannot write the result as JSON")?;
    result(&format!("{}\n", terminal_safe_json(text)))
}

/// Prints a value as JSON of one line on stderr.
pub(crate) fn json_message(value: &serde_json::Value) {
    message(&format!("{}\n", terminal_safe_json(value.to_string())));
}

/// Prints something for the person who waits on stderr. Colours in it reach terminals only. Where stderr is gone there
/// is nobody to tell.
pub(crate) fn message(text: &str) {
    let _ = write(anstream::stderr().lock(), text);
}

fn write(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.flush()
}

/// Makes characters that steer a terminal, or that reorder or hide text, visible. Line feeds and tabs stay.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let is_dangerous = |c: char| !matches!(c, '\n' | '\t') && is_unprintable(c);
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_dangerous(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// A table for people: columns two blanks apart, as wide as their widest cell, the last as it comes.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Table {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_header(headings);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Table(table)
    }

    /// Adds a row. Cells are escaped, kept to one line each, and cut at [`MAX_CELL_CHARS`].
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.0.add_row(cells.map(|cell| cut(&escape(cell).replace(['\n', '\t'], " "))));
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        format!("{}\n", self.0.trim_fmt())
    }
}

/// Characters of a cell: more than any name (253) and than what hookhost itself says in one. What is longer is a chart's
/// doing, is whole in the JSON, and would only push everything else off the screen.
const MAX_CELL_CHARS: usize = 500;

fn cut(cell: &str) -> String {
    match cell.char_indices().nth(MAX_CELL_CHARS) {
        Some((at, _)) => format!("{}…", &cell[..at]),
        None => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_instead_of_obeyed() {
        assert_eq!(escape("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(escape("\u{202e}txt.exe"), "\\u{202e}txt.exe");
        assert_eq!(escape("crlf\r\n"), "crlf\\u{d}\n");
        assert!(matches!(escape("tab\tand\nline, äöü 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cell_of_any_length_is_cut_and_never_panics() {
        let mut table = Table::new(&["NAME", "KIND"]);
        table.row([&"ä".repeat(100_000), "Job"]);
        let text = table.render();
        assert!(text.contains("ä…  Job"), "{} bytes", text.len());
        assert!(text.chars().count() < 3 * MAX_CELL_CHARS);
    }

    #[test]
    fn a_table_lines_up_and_has_no_blanks_at_the_end() {
        let mut table = Table::new(&["NAME", "KIND"]);
        table.row(["a-long-name", "Job"]);
        table.row(["x\ny", ""]);
        assert_eq!(table.render(), "NAME         KIND\na-long-name  Job\nx y\n");
    }
}
