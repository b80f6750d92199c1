//! The *screen* is where a person follows a run: the hook's log and the result on stdout, everything else on stderr, and, on
//! a terminal, one last line that changes as time passes.

use std::io::IsTerminal;

use anyhow::Result;

use crate::exit::Format;
use crate::output;

/// Back to the start of the line, and the rest of it gone.
const CLEAR_LINE: &str = "\r\u{1b}[K";

/// Lines that are kept while a question waits for its answer: an Operation says a few in its whole life.
const MAX_HELD: usize = 100;

/// Where a person follows a run.
pub(super) struct Screen {
    format: Format,
    is_terminal: bool,
    /// The line that changes, where it is on the screen.
    progress: Option<String>,
    /// What is said while a question waits for its answer.
    held: Option<Vec<String>>,
}

impl Screen {
    pub(super) fn new(format: Format) -> Screen {
        Screen { format, is_terminal: std::io::stderr().is_terminal(), progress: None, held: None }
    }

    /// Whether there is somebody who can answer a question.
    pub(super) fn can_ask(&self) -> bool {
        self.is_terminal && std::io::stdin().is_terminal()
    }

    /// Says something.
    pub(super) fn tell(&mut self, text: &str) {
        match &mut self.held {
            Some(held) if held.len() < MAX_HELD => held.push(text.to_owned()),
            Some(_) => {}
            None => {
                self.clear();
                output::message(&format!("{}\n", output::escape(text)));
            }
        }
    }

    /// Shows a line of the hook's log. Where the result is for a program, it has stdout for itself.
    pub(super) fn log(&mut self, text: &str) -> Result<()> {
        self.clear();
        let line = format!("{}\n", output::escape(text));
        match self.format {
            Format::Table => output::result(&line),
            Format::Json => {
                output::message(&line);
                Ok(())
            }
        }
    }

    /// Shows the line that changes.
    pub(super) fn progress(&mut self, text: &str) {
        if self.is_terminal && self.held.is_none() && self.progress.as_deref() != Some(text) {
            output::message(&format!("{CLEAR_LINE}{}", output::escape(text).replace(['\n', '\t'], " ")));
            self.progress = Some(text.to_owned());
        }
    }

    /// Asks; what is said from now on waits for the answer.
    pub(super) fn ask(&mut self, question: &str) {
        self.clear();
        output::message(question);
        self.held = Some(Vec::new());
    }

    /// The question is answered, or needs no answer any more.
    pub(super) fn answered(&mut self) {
        for text in self.held.take().unwrap_or_default() {
            self.tell(&text);
        }
    }

    /// Nothing more changes.
    pub(super) fn end(&mut self) {
        if self.held.is_some() {
            // The cursor is behind a question.
            output::message("\n");
        }
        self.answered();
        self.clear();
    }

    fn clear(&mut self) {
        if self.progress.take().is_some() {
            output::message(CLEAR_LINE);
        }
    }
}
