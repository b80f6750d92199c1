//! The *source* is a text as Go's reader sees it: character by character, in chunks that it decodes when it needs them.
//!
//! What Go does with a text depends on the chunks in two ways, which are kept here. A control character is an error once its
//! chunk is decoded, even where nothing looks at it; and at the beginning of each line Go looks for a byte order mark at the
//! beginning of its buffer, instead of where it is.

use std::borrow::Cow;

use super::{MAX_TEXT_BYTES, YamlError, YamlProblem};

/// Bytes of a chunk: `input_raw_buffer_size` of go-yaml.
const CHUNK_BYTES: usize = 512;

/// A byte order mark.
const MARK: &str = "\u{feff}";

/// A place in a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Characters before it.
    pub(super) index: usize,
    /// From 0.
    pub(super) line: usize,
    /// In characters, from 0.
    pub(super) column: usize,
}

impl Mark {
    pub(super) fn error(self, problem: YamlProblem) -> YamlError {
        YamlError::new(self.line + 1, self.column + 1, problem)
    }

    /// What is here is not YAML.
    pub(super) fn wrong(self, why: &str) -> YamlError {
        self.error(YamlProblem::Syntax(why.to_owned()))
    }
}

/// A text and a place in it.
pub(super) struct Source<'t> {
    text: Cow<'t, str>,
    /// Whether the last line has its end. Kubernetes' LineReader gives it one.
    is_ended: bool,
    /// The byte that is looked at.
    at: usize,
    /// The byte up to which the text is decoded.
    decoded: usize,
    /// Characters that are decoded and not yet passed.
    unread: usize,
    /// The byte at which Go's buffer begins.
    buffer: usize,
    /// Bytes of the next chunk that were passed over: the byte order mark's.
    passed: usize,
    mark: Mark,
}

impl<'t> Source<'t> {
    pub(super) fn of(text: &'t str) -> Result<Source<'t>, YamlError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = YamlProblem::TooLong { found: text.len(), allowed: MAX_TEXT_BYTES };
            return Err(Mark::default().error(problem));
        }
        // Kubernetes' LineReader ends each line with a line feed alone.
        let text =
            if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
        // It says that the text is UTF-8; another one behind it is a part of the text.
        let at = if text.starts_with(MARK) { MARK.len() } else { 0 };
        let is_ended = text.ends_with('\n');
        Ok(Source {
            text,
            is_ended,
            at,
            decoded: at,
            unread: 0,
            buffer: at,
            passed: at,
            mark: Mark::default(),
        })
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    pub(super) fn column(&self) -> usize {
        self.mark.column
    }

    /// The byte so many bytes ahead: 0 behind the end.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        let at = self.at + ahead;
        match self.text.as_bytes().get(at) {
            Some(byte) => *byte,
            None if !self.is_ended && at == self.text.len() => b'\n',
            None => 0,
        }
    }

    /// Makes sure that so many characters are decoded, or the text is at its end.
    pub(super) fn need(&mut self, characters: usize) -> Result<(), YamlError> {
        if self.unread < characters { self.decode(characters) } else { Ok(()) }
    }

    fn decode(&mut self, characters: usize) -> Result<(), YamlError> {
        self.buffer = self.at;
        while self.unread < characters {
            let bytes = self.text.len();
            if self.decoded > bytes || self.decoded == bytes && self.is_ended {
                // The end counts as a character, which there is as often as it is asked for.
                self.unread += 1;
                break;
            }
            let end = self.decoded + CHUNK_BYTES - std::mem::take(&mut self.passed);
            let chunk = self.text.get(self.decoded..self.text.floor_char_boundary(end)).unwrap_or_default();
            self.unread += characters_of(chunk).map_err(|c| self.control(c))?;
            self.decoded += chunk.len();
            if end > bytes && !self.is_ended {
                self.unread += 1;
                self.decoded += 1;
            }
        }
        Ok(())
    }

    /// The error about the first such character in what is not decoded yet.
    fn control(&self, c: char) -> YamlError {
        let ahead = self.text.get(self.at..).unwrap_or_default();
        let before = ahead.split(c).next().unwrap_or_default();
        let mut mark = self.mark;
        for c in before.chars() {
            if c == '\n' {
                mark = Mark { line: mark.line + 1, column: 0, ..mark };
            } else {
                mark.column += 1;
            }
        }
        mark.error(YamlProblem::Control(c))
    }

    /// Whether Go takes what is here for a byte order mark.
    pub(super) fn is_mark(&self) -> bool {
        self.text.as_bytes().get(self.buffer..).is_some_and(|bytes| bytes.starts_with(MARK.as_bytes()))
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    /// Whether a line ends here, by any of the line ends of YAML 1.1.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        match self.byte(ahead) {
            b'\n' | b'\r' => true,
            0xc2 => self.byte(ahead + 1) == 0x85,
            0xe2 => self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xa8 | 0xa9),
            _ => false,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.byte(0) == 0
    }

    pub(super) fn is_break_or_end(&self) -> bool {
        self.is_end() || self.is_break(0)
    }

    /// Whether a blank, a line end or the text's end is here.
    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t' | 0) || self.is_break(ahead)
    }

    /// Whether the line begins with these three characters and nothing right behind them.
    pub(super) fn is_indicator(&self, indicator: u8) -> bool {
        self.mark.column == 0 && (0..3).all(|ahead| self.byte(ahead) == indicator) && self.is_blank_or_end(3)
    }

    /// Bytes of the character that is looked at.
    fn width(&self) -> usize {
        match self.byte(0) {
            ..0xc0 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
        }
    }

    fn advance(&mut self, bytes: usize, characters: usize) {
        self.at += bytes;
        self.unread = self.unread.saturating_sub(characters);
        self.mark.index += characters;
        self.mark.column += characters;
    }

    /// Passes a character.
    pub(super) fn skip(&mut self) {
        self.advance(self.width(), 1);
    }

    /// Passes blanks.
    pub(super) fn skip_blanks(&mut self) -> Result<(), YamlError> {
        while self.is_blank(0) {
            self.skip();
            self.need(1)?;
        }
        Ok(())
    }

    /// Passes a comment up to the line's end, if there is one.
    pub(super) fn skip_comment(&mut self) -> Result<(), YamlError> {
        if self.byte(0) == b'#' {
            while !self.is_break_or_end() {
                let run = self.run(1, |byte| matches!(byte, b' '..=b'~' | b'\t'));
                if run == 0 {
                    self.skip();
                } else {
                    self.advance(run, run);
                }
                self.need(1)?;
            }
        }
        Ok(())
    }

    /// Passes the line's end, and fails if something is before it.
    pub(super) fn end_of_line(&mut self) -> Result<(), YamlError> {
        if !self.is_break_or_end() {
            return Err(self.mark.wrong("did not find expected comment or line break"));
        }
        if self.is_break(0) {
            self.need(2)?;
            self.skip_line();
        }
        Ok(())
    }

    /// Passes a line end.
    pub(super) fn skip_line(&mut self) {
        self.line_end();
    }

    /// Passes a line end and adds it to a text, which has line feeds for the usual ones.
    pub(super) fn read_line(&mut self, to: &mut String) {
        match self.line_end() {
            Some('\n' | '\r' | '\u{85}') => to.push('\n'),
            Some(other) => to.push(other),
            None => {}
        }
    }

    /// Passes a line end; gives back the character it begins with.
    fn line_end(&mut self) -> Option<char> {
        let (character, bytes, characters) = match self.byte(0) {
            b'\r' if self.byte(1) == b'\n' => ('\r', 2, 2),
            byte @ (b'\r' | b'\n') => (char::from(byte), 1, 1),
            0xc2 if self.is_break(0) => ('\u{85}', 2, 1),
            0xe2 if self.is_break(0) => (if self.byte(2) == 0xa8 { '\u{2028}' } else { '\u{2029}' }, 3, 1),
            _ => return None,
        };
        self.advance(bytes, characters);
        self.mark.column = 0;
        self.mark.line += 1;
        Some(character)
    }

    /// Passes a character and adds it to a text.
    pub(super) fn read(&mut self, to: &mut String) {
        let bytes = self.width();
        to.push_str(self.text.get(self.at..self.at + bytes).unwrap_or_default());
        self.advance(bytes, 1);
    }

    /// Passes a character, or some at once of those that the scalar has no use for, and adds them to a text. At least `left`
    /// decoded characters are left then, or as for a single one.
    pub(super) fn read_run(&mut self, to: &mut String, left: usize, is_usual: impl Fn(u8) -> bool) {
        match self.run(left, is_usual) {
            0 => self.read(to),
            run => {
                to.push_str(self.text.get(self.at..self.at + run).unwrap_or_default());
                self.advance(run, run);
            }
        }
    }

    /// How many of the next characters are ASCII of this kind, where more than `left` others are decoded behind them.
    fn run(&self, left: usize, is_usual: impl Fn(u8) -> bool) -> usize {
        let most = self.unread.saturating_sub(left);
        let ahead = self.text.as_bytes().get(self.at..).unwrap_or_default();
        ahead.iter().take(most).take_while(|byte| byte.is_ascii() && is_usual(**byte)).count()
    }

    /// Passes the end of the text, which makes a line of what is there.
    pub(super) fn end_line(&mut self) {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
    }
}

/// How many characters a chunk has; the first one that YAML does not allow.
fn characters_of(chunk: &str) -> Result<usize, char> {
    // Nearly every text is plain ASCII, which is quickly seen.
    if chunk.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Ok(chunk.len());
    }
    let is_allowed = |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match chunk.chars().find(|c| !is_allowed(c)) {
        Some(c) => Err(c),
        None => Ok(chunk.chars().count()),
    }
}
