//! The *events* of a text are what its YAML consists of, in order: documents, collections, scalars and aliases.
//!
//! They come from libyaml-safer, a port of libyaml as Go's reader is one, so that both agree on what is YAML, also where
//! YAML 1.1 and 1.2 differ. The text is handed to it as Kubernetes' resource builder hands it to Go's reader: every line, the
//! last one too, ends with a line feed.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use libyaml_safer::{Encoding, EventData, Parser, ScalarStyle};

use super::{MAX_DIRECTIVE_BYTES, MAX_DIRECTIVES, MAX_TEXT_BYTES, YamlError, YamlProblem};

/// Bytes of text that the parser takes at once: it keeps four bytes for each character until that is parsed.
const CHUNK_BYTES: usize = 4096;

/// Characters that Unicode keeps free for a program's own use within itself.
const STAND_INS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

thread_local! {
    /// Whether this thread runs the parser.
    static PARSES: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread parses YAML just now. A panic is reported as an error of the text then: a panic hook has nothing to print.
pub fn is_parsing() -> bool {
    PARSES.get()
}

/// What the parser gives back; none if it panicked.
fn contained<T>(parse: impl FnOnce() -> T) -> Option<T> {
    PARSES.set(true);
    let parsed = catch_unwind(AssertUnwindSafe(parse));
    PARSES.set(false);
    parsed.ok()
}

/// A place in a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// From 1.
    line: usize,
    /// From 1.
    column: usize,
}

impl Place {
    pub(super) fn error(self, problem: YamlProblem) -> YamlError {
        YamlError { line: self.line, column: self.column, problem }
    }
}

/// A part of a document.
#[derive(Debug)]
pub(super) enum Event {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    /// Stands for the node with this anchor.
    Alias(String),
    Scalar(Scalar),
    SequenceStart(Option<String>),
    SequenceEnd,
    MappingStart(Option<String>),
    MappingEnd,
}

/// Text, not yet resolved to what it means.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) is_plain: bool,
    pub(super) anchor: Option<String>,
    /// Its tag in full.
    pub(super) tag: Option<String>,
}

/// The prefix of YAML's own tags: `!!int` is this with `int` behind it.
pub(super) const OWN_TAGS: &str = "tag:yaml.org,2002:";

impl Scalar {
    /// Whether it is `<<`, which merges what follows, as Go decides it.
    pub(super) fn is_merge(&self) -> bool {
        self.text == "<<"
            && match self.tag.as_deref() {
                None => self.is_plain,
                Some(tag) => tag == "!" || tag.strip_prefix(OWN_TAGS) == Some("merge"),
            }
    }
}

/// What the parser finds in a text.
pub(super) struct Events<'t> {
    parser: Parser<Lines<'t>>,
    /// What stands for a byte order mark in the text that the parser has.
    mark: Option<char>,
}

/// A byte order mark.
pub(super) const MARK: char = '\u{feff}';

impl<'t> Events<'t> {
    pub(super) fn of(text: &'t str) -> Result<Events<'t>, YamlError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = YamlProblem::TooLong { found: text.len(), allowed: MAX_TEXT_BYTES };
            return Err(YamlError::new(1, 1, problem));
        }
        printable(text)?;
        few_directives(text).map_err(|problem| YamlError::new(1, 1, problem))?;
        // Within a text it is a character like any other for Go, and for this parser nothing at the beginning of a line. So
        // another one, that no text needs, is put in its place.
        let mark =
            if text.contains(MARK) { STAND_INS.into_iter().find(|c| !text.contains(*c)) } else { None };
        let text = match mark {
            Some(mark) => Cow::Owned(text.replace(MARK, mark.encode_utf8(&mut [0; 4]))),
            None => Cow::Borrowed(text),
        };
        let mut parser = Parser::new();
        parser.set_encoding(Encoding::Utf8);
        parser.set_input(Lines::of(text));
        Ok(Events { parser, mark })
    }

    /// A text of the parser as it is in the document.
    fn text(&self, text: String) -> String {
        match self.mark {
            Some(mark) if text.contains(mark) => text.replace(mark, MARK.encode_utf8(&mut [0; 4])),
            _ => text,
        }
    }

    /// The next event, and where it begins.
    pub(super) fn next(&mut self) -> Result<(Event, Place), YamlError> {
        loop {
            // Whatever the text is: a defect of the parser is an error of this text, not the end of the process.
            let parsed =
                contained(|| self.parser.parse()).ok_or_else(|| YamlError::new(1, 1, YamlProblem::Parser))?;
            let parsed = parsed.map_err(|error| {
                let (line, column) =
                    error.problem_mark().map_or((0, 0), |mark| (index(mark.line), index(mark.column)));
                YamlError::new(line + 1, column + 1, YamlProblem::Syntax(error.problem().to_owned()))
            })?;
            let mark = parsed.start_mark;
            let event = match parsed.data {
                EventData::StreamStart { .. } => continue,
                EventData::StreamEnd => Event::StreamEnd,
                EventData::DocumentStart { version_directive, .. } => match version_directive {
                    // The only version that Go's reader takes.
                    Some(version) if (version.major, version.minor) != (1, 1) => {
                        let problem = YamlProblem::Syntax("found incompatible YAML document".to_owned());
                        return Err(YamlError::new(index(mark.line) + 1, 1, problem));
                    }
                    _ => Event::DocumentStart,
                },
                EventData::DocumentEnd { .. } => Event::DocumentEnd,
                EventData::Alias { anchor } => Event::Alias(anchor),
                EventData::Scalar { anchor, tag, value, style, .. } => {
                    let (text, is_plain) = (self.text(value), style == ScalarStyle::Plain);
                    Event::Scalar(Scalar { text, is_plain, anchor, tag })
                }
                EventData::SequenceStart { anchor, .. } => Event::SequenceStart(anchor),
                EventData::SequenceEnd => Event::SequenceEnd,
                EventData::MappingStart { anchor, .. } => Event::MappingStart(anchor),
                EventData::MappingEnd => Event::MappingEnd,
            };
            return Ok((event, Place { line: index(mark.line) + 1, column: index(mark.column) + 1 }));
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX - 1)
}

/// Refuses what Go refuses before it looks at the YAML.
fn printable(text: &str) -> Result<(), YamlError> {
    // Nearly every text is plain ASCII, which is quickly seen.
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Ok(());
    }
    let (mut line, mut column) = (1, 1);
    for c in text.chars() {
        match c {
            '\n' => (line, column) = (line + 1, 1),
            '\t' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => column += 1,
            c => return Err(YamlError::new(line, column, YamlProblem::Control(c))),
        }
    }
    Ok(())
}

/// Whether few and short lines begin like a directive, after any line break of YAML 1.1, with a byte order mark or without.
fn few_directives(text: &str) -> Result<(), YamlProblem> {
    const BREAKS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    let begins_a_line = |at: &usize| {
        let before = text[..*at].strip_suffix(MARK).unwrap_or(&text[..*at]);
        before.is_empty() || before.ends_with(BREAKS)
    };
    let lines = || text.match_indices('%').map(|(at, _)| at).filter(begins_a_line);
    let found = lines().count();
    if found > MAX_DIRECTIVES {
        return Err(YamlProblem::TooManyDirectives { found });
    }
    let bytes = |at: usize| text[at..].find(BREAKS).unwrap_or(text.len() - at);
    let found = lines().map(bytes).sum();
    if found > MAX_DIRECTIVE_BYTES { Err(YamlProblem::DirectivesTooLong { found }) } else { Ok(()) }
}

/// The bytes of a text whose lines all end with a line feed, as Kubernetes' LineReader gives them.
struct Lines<'t> {
    text: Cow<'t, str>,
    /// The byte from which on it is still to be given.
    at: usize,
    /// Whether the last line has its end.
    is_ended: bool,
}

impl Lines<'_> {
    fn of(text: Cow<'_, str>) -> Lines<'_> {
        Lines { is_ended: text.is_empty() || text.ends_with('\n'), text, at: 0 }
    }
}

impl BufRead for Lines<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.text[self.at..].starts_with("\r\n") {
            self.at += 1;
        }
        let rest = &self.text[self.at..];
        if rest.is_empty() {
            return Ok(if self.is_ended { b"" } else { b"\n" });
        }
        let chunk = &rest[..rest.floor_char_boundary(CHUNK_BYTES)];
        let end = match chunk.find("\r\n") {
            Some(end) => end,
            // The line feed may follow.
            None if chunk.len() > 1 && chunk.ends_with('\r') => chunk.len() - 1,
            None => chunk.len(),
        };
        Ok(&chunk.as_bytes()[..end])
    }

    /// The parser takes whole characters only, of which what it is given consists.
    fn consume(&mut self, bytes: usize) {
        if self.at == self.text.len() {
            self.is_ended |= bytes > 0;
        } else {
            self.at += bytes;
        }
    }
}

impl Read for Lines<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(to)?;
        self.consume(read);
        Ok(read)
    }
}
