//! What the *scalars* of a text say, by go-yaml's rules for quotes, folded lines and indentation.

use super::YamlError;
use super::source::Source;
use super::tokens::Kind;

/// Lines that are folded into a text once it goes on behind them.
#[derive(Default)]
struct Breaks {
    /// The first line end.
    first: String,
    /// Those of the empty lines behind it.
    others: String,
}

impl Breaks {
    /// Passes a line end.
    fn read(&mut self, source: &mut Source<'_>, is_first: bool) {
        source.read_line(if is_first { &mut self.first } else { &mut self.others });
    }

    /// A single line end is a blank, and one less than there are else.
    fn fold(&mut self, text: &mut String) {
        if !self.first.starts_with('\n') {
            text.push_str(&self.first);
            text.push_str(&self.others);
        } else if self.others.is_empty() {
            text.push(' ');
        } else {
            text.push_str(&self.others);
        }
        self.first.clear();
        self.others.clear();
    }
}

/// A scalar without quotes, which goes on in lines that are indented by at least `indent`; and whether it ended with a line.
pub(super) fn plain(
    source: &mut Source<'_>,
    indent: usize,
    is_flow: bool,
) -> Result<(String, bool), YamlError> {
    let (mut text, mut blanks, mut breaks) = (String::new(), String::new(), Breaks::default());
    let mut is_new_line = false;
    loop {
        source.need(4)?;
        if source.is_indicator(b'-') || source.is_indicator(b'.') || source.byte(0) == b'#' {
            break;
        }
        while !source.is_blank_or_end(0) {
            let is_over = match source.byte(0) {
                b':' => source.is_blank_or_end(1),
                b',' | b'?' | b'[' | b']' | b'{' | b'}' => is_flow,
                _ => false,
            };
            if is_over {
                break;
            }
            if is_new_line {
                breaks.fold(&mut text);
                is_new_line = false;
            } else {
                text.push_str(&blanks);
                blanks.clear();
            }
            source.read_run(&mut text, 2, |byte| {
                matches!(byte, b'!'..=b'+' | b'-'..=b'9' | b';'..=b'>' | b'@'..=b'Z' | b'\\' | b'^'..=b'z' | b'|' | b'~')
            });
            source.need(2)?;
        }
        if !source.is_blank(0) && !source.is_break(0) {
            break;
        }
        source.need(1)?;
        is_new_line = pass_blanks(source, &mut blanks, &mut breaks, is_new_line, indent)?;
        if !is_flow && source.column() < indent {
            break;
        }
    }
    Ok((text, is_new_line))
}

/// Reads the blanks and line ends between two parts of a scalar; gives back whether its next part begins a new line. No tab may stand
/// before the column of its indentation.
fn pass_blanks(
    source: &mut Source<'_>,
    blanks: &mut String,
    breaks: &mut Breaks,
    mut is_new_line: bool,
    indent: usize,
) -> Result<bool, YamlError> {
    while source.is_blank(0) || source.is_break(0) {
        if source.is_break(0) {
            source.need(2)?;
            blanks.clear();
            breaks.read(source, !is_new_line);
            is_new_line = true;
        } else if !is_new_line {
            source.read(blanks);
        } else if source.column() < indent && source.byte(0) == b'\t' {
            return Err(source.mark().wrong("found a tab character that violates indentation"));
        } else {
            source.skip();
        }
        source.need(1)?;
    }
    Ok(is_new_line)
}

/// A scalar in single or double quotes.
pub(super) fn quoted(source: &mut Source<'_>, is_single: bool) -> Result<Kind, YamlError> {
    let (mut text, mut blanks, mut breaks) = (String::new(), String::new(), Breaks::default());
    let quote = if is_single { b'\'' } else { b'"' };
    source.skip();
    loop {
        source.need(4)?;
        if source.is_indicator(b'-') || source.is_indicator(b'.') {
            return Err(source.mark().wrong("found unexpected document indicator"));
        }
        if source.is_end() {
            return Err(source.mark().wrong("found unexpected end of stream"));
        }
        let mut is_new_line = false;
        while !source.is_blank_or_end(0) {
            match source.byte(0) {
                b'\'' if is_single && source.byte(1) == b'\'' => {
                    text.push('\'');
                    source.skip();
                    source.skip();
                }
                byte if byte == quote => break,
                b'\\' if !is_single && source.is_break(1) => {
                    source.need(3)?;
                    source.skip();
                    source.skip_line();
                    is_new_line = true;
                    break;
                }
                b'\\' if !is_single => escape(source, &mut text)?,
                _ => source.read_run(
                    &mut text,
                    2,
                    |byte| matches!(byte, b'!' | b'#'..=b'&' | b'('..=b'[' | b']'..=b'~'),
                ),
            }
            source.need(2)?;
        }
        source.need(1)?;
        if source.byte(0) == quote {
            break;
        }
        is_new_line = pass_blanks(source, &mut blanks, &mut breaks, is_new_line, 0)?;
        if is_new_line {
            breaks.fold(&mut text);
        } else {
            text.push_str(&blanks);
            blanks.clear();
        }
    }
    source.skip();
    Ok(Kind::Scalar { text, is_plain: false })
}

/// An escape within double quotes.
fn escape(source: &mut Source<'_>, text: &mut String) -> Result<(), YamlError> {
    let (character, digits) = match source.byte(1) {
        b'0' => ('\0', 0),
        b'a' => ('\u{7}', 0),
        b'b' => ('\u{8}', 0),
        b't' | b'\t' => ('\t', 0),
        b'n' => ('\n', 0),
        b'v' => ('\u{b}', 0),
        b'f' => ('\u{c}', 0),
        b'r' => ('\r', 0),
        b'e' => ('\u{1b}', 0),
        byte @ (b' ' | b'"' | b'\'' | b'\\') => (char::from(byte), 0),
        b'N' => ('\u{85}', 0),
        b'_' => ('\u{a0}', 0),
        b'L' => ('\u{2028}', 0),
        b'P' => ('\u{2029}', 0),
        b'x' => ('\0', 2),
        b'u' => ('\0', 4),
        b'U' => ('\0', 8),
        _ => return Err(source.mark().wrong("found unknown escape character")),
    };
    source.skip();
    source.skip();
    if digits == 0 {
        text.push(character);
        return Ok(());
    }
    source.need(digits)?;
    let mut value = 0;
    for ahead in 0..digits {
        let digit = char::from(source.byte(ahead)).to_digit(16);
        let digit = digit.ok_or_else(|| source.mark().wrong("did not find expected hexdecimal number"))?;
        value = (value << 4) + digit;
    }
    let character = char::from_u32(value)
        .ok_or_else(|| source.mark().wrong("found invalid Unicode character escape code"))?;
    text.push(character);
    for _ in 0..digits {
        source.skip();
    }
    Ok(())
}

/// A scalar of whole lines, within a block of this column.
pub(super) fn block(
    source: &mut Source<'_>,
    parent: Option<usize>,
    is_literal: bool,
) -> Result<String, YamlError> {
    source.skip();
    let (chomp, increment) = block_header(source)?;
    let mut indent = increment.map(|increment| parent.unwrap_or(0) + increment);
    let (mut text, mut first, mut others) = (String::new(), String::new(), String::new());
    let mut column = block_breaks(source, parent, &mut indent, &mut others)?;
    source.need(1)?;
    let mut was_blank = false;
    while source.column() == column && !source.is_end() {
        let is_blank = source.is_blank(0);
        if !is_literal && !was_blank && !is_blank && first.starts_with('\n') {
            if others.is_empty() {
                text.push(' ');
            }
        } else {
            text.push_str(&first);
        }
        first.clear();
        text.push_str(&others);
        others.clear();
        was_blank = is_blank;
        while !source.is_break_or_end() {
            source.read_run(&mut text, 1, |byte| matches!(byte, b' '..=b'~' | b'\t'));
            source.need(1)?;
        }
        source.need(2)?;
        source.read_line(&mut first);
        column = block_breaks(source, parent, &mut indent, &mut others)?;
    }
    if chomp != Chomp::All {
        text.push_str(&first);
    }
    if chomp == Chomp::None {
        text.push_str(&others);
    }
    Ok(text)
}

/// Which line ends at the end of a block are left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomp {
    /// `-`
    All,
    /// Those of empty lines.
    Empty,
    /// `+`
    None,
}

/// What is behind the indicator of a block, up to its first line: what is left out at its end, and how far it is indented.
fn block_header(source: &mut Source<'_>) -> Result<(Chomp, Option<usize>), YamlError> {
    source.need(1)?;
    let mut chomp = block_chomp(source);
    if chomp.is_some() {
        source.need(1)?;
    }
    let increment = match source.byte(0) {
        b'0' => return Err(source.mark().wrong("found an indentation indicator equal to 0")),
        digit @ b'1'..=b'9' => {
            source.skip();
            if chomp.is_none() {
                source.need(1)?;
                chomp = block_chomp(source);
            }
            Some(usize::from(digit - b'0'))
        }
        _ => None,
    };
    source.need(1)?;
    source.skip_blanks()?;
    source.skip_comment()?;
    source.end_of_line()?;
    Ok((chomp.unwrap_or(Chomp::Empty), increment))
}

fn block_chomp(source: &mut Source<'_>) -> Option<Chomp> {
    let chomp = match source.byte(0) {
        b'+' => Chomp::None,
        b'-' => Chomp::All,
        _ => return None,
    };
    source.skip();
    Some(chomp)
}

/// Passes empty lines and the indentation of the next one; gives back the column of the block, which the first line with
/// something in it decides where nothing else does.
fn block_breaks(
    source: &mut Source<'_>,
    parent: Option<usize>,
    indent: &mut Option<usize>,
    breaks: &mut String,
) -> Result<usize, YamlError> {
    let mut deepest = 0;
    loop {
        source.need(1)?;
        let is_indentation = |source: &Source<'_>| indent.is_none_or(|indent| source.column() < indent);
        while is_indentation(source) && source.byte(0) == b' ' {
            source.skip();
            source.need(1)?;
        }
        deepest = deepest.max(source.column());
        if is_indentation(source) && source.byte(0) == b'\t' {
            return Err(source.mark().wrong("found a tab character where an indentation space is expected"));
        }
        if !source.is_break(0) {
            break;
        }
        source.need(2)?;
        source.read_line(breaks);
    }
    Ok(*indent.get_or_insert_with(|| deepest.max(parent.map_or(0, |parent| parent + 1)).max(1)))
}
