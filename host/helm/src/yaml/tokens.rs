//! The *tokens* of a text are its indicators, properties and scalars, in order, with the beginnings and ends of collections
//! that its indentation stands for.
//!
//! They are found as go-yaml v2 finds them, which Helm reads with: the functions here follow those of its scannerc.go, with
//! all that it takes beyond YAML and all that it does not take. So do those of [`scalars`] and [`properties`].

use std::collections::VecDeque;

use super::source::{Mark, Source};
use super::{YamlError, properties, scalars};

/// Characters from the beginning of a key without a question mark to its colon.
const KEY_CHARACTERS: usize = 1024;

/// Brackets within brackets, and blocks within blocks, in Go. The reader's own bound is narrower, but the scanner may be
/// ahead of it by a key's length.
const MAX_LEVELS: usize = 10_000;

/// A part of a text.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: Mark,
    /// Characters of the text before its end. Blanks and line ends that follow a scalar may be part of it.
    end: usize,
}

/// What a token is.
#[derive(Debug)]
pub(super) enum Kind {
    StreamEnd,
    /// `%YAML 1.1`, whose version is that or not.
    Version {
        is_known: bool,
    },
    /// `%TAG handle prefix`
    TagDirective {
        handle: String,
        prefix: String,
    },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    /// Without a handle it is the whole tag.
    Tag {
        handle: String,
        suffix: String,
    },
    Scalar {
        text: String,
        is_plain: bool,
    },
}

/// Where a key may have begun: that is known only once its colon is found.
#[derive(Clone, Copy, Debug)]
struct SimpleKey {
    /// Brackets around it.
    flow: usize,
    /// Which token it begins with.
    token: usize,
    /// Whether it must be one.
    is_required: bool,
    /// Whether that token waits until this is known.
    is_awaited: bool,
    mark: Mark,
}

/// A bracket that is open.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    /// Which token it is.
    token: usize,
    /// Whether a key may have begun right within it.
    has_key: bool,
}

/// Finds the tokens of a text.
pub(super) struct Tokens<'t> {
    source: Source<'t>,
    queue: VecDeque<Token>,
    /// Tokens that were taken from the queue.
    taken: usize,
    /// The end of the last of these.
    end: usize,
    /// Whether the first one of the queue is known to be what comes next.
    is_next_known: bool,
    brackets: Vec<Bracket>,
    /// The column of the innermost block, and those of the others.
    indent: Option<usize>,
    indents: Vec<Option<usize>>,
    is_key_allowed: bool,
    /// At most one for each level of brackets, from the outermost.
    keys: VecDeque<SimpleKey>,
}

impl<'t> Tokens<'t> {
    pub(super) fn of(text: &'t str) -> Result<Tokens<'t>, YamlError> {
        Ok(Tokens {
            source: Source::of(text)?,
            queue: VecDeque::new(),
            taken: 0,
            end: 0,
            is_next_known: false,
            brackets: Vec::new(),
            indent: None,
            indents: Vec::new(),
            is_key_allowed: true,
            keys: VecDeque::new(),
        })
    }

    /// The next token, which stays where it is.
    pub(super) fn peek(&mut self) -> Result<&Token, YamlError> {
        if !self.is_next_known {
            // A key begins before its first token, once it is known to be one.
            while self.queue.is_empty() || self.may_begin_key()? {
                self.fetch()?;
            }
            self.is_next_known = true;
        }
        let mark = self.source.mark();
        self.queue.front().ok_or_else(|| mark.wrong("a token is expected"))
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token, YamlError> {
        self.peek()?;
        self.is_next_known = false;
        self.taken += 1;
        let mark = self.source.mark();
        let token = self.queue.pop_front().ok_or_else(|| mark.wrong("a token is expected"))?;
        self.end = token.end;
        Ok(token)
    }

    /// Characters of the text before the end of the token that was taken last.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Whether the next token may be a key's first.
    fn may_begin_key(&mut self) -> Result<bool, YamlError> {
        let Some(at) = self.keys.iter().position(|key| key.token >= self.taken) else { return Ok(false) };
        let key = self.keys[at];
        if key.token > self.taken || !key.is_awaited {
            return Ok(false);
        }
        let is_possible = self.is_possible(&key)?;
        if !is_possible {
            self.keys.remove(at);
        }
        Ok(is_possible)
    }

    fn is_possible(&self, key: &SimpleKey) -> Result<bool, YamlError> {
        let at = self.source.mark();
        let is_possible = key.mark.line == at.line && at.index <= key.mark.index + KEY_CHARACTERS;
        if !is_possible && key.is_required {
            Err(at.wrong("could not find expected ':'"))
        } else {
            Ok(is_possible)
        }
    }

    /// Brackets that are open.
    fn flow(&self) -> usize {
        self.brackets.len()
    }

    fn is_flow(&self) -> bool {
        !self.brackets.is_empty()
    }

    fn push(&mut self, kind: Kind, start: Mark) {
        self.queue.push_back(Token { kind, start, end: self.source.mark().index });
    }

    /// Finds at least one more token.
    fn fetch(&mut self) -> Result<(), YamlError> {
        self.source.need(1)?;
        self.pass_to_token()?;
        self.unroll(Some(self.source.column()));
        self.source.need(4)?;
        let (source, is_flow) = (&self.source, self.is_flow());
        if source.is_end() {
            return self.stream_end();
        }
        if source.column() == 0 && source.byte(0) == b'%' {
            self.leave_blocks()?;
            let start = self.source.mark();
            let kind = properties::directive(&mut self.source)?;
            self.push(kind, start);
            return Ok(());
        }
        if source.is_indicator(b'-') {
            return self.document_indicator(Kind::DocumentStart);
        }
        if source.is_indicator(b'.') {
            return self.document_indicator(Kind::DocumentEnd);
        }
        match source.byte(0) {
            b'[' => self.open(Kind::FlowSequenceStart),
            b'{' => self.open(Kind::FlowMappingStart),
            b']' => self.close(Kind::FlowSequenceEnd),
            b'}' => self.close(Kind::FlowMappingEnd),
            b',' => {
                self.remove_key()?;
                self.is_key_allowed = true;
                self.indicator(Kind::FlowEntry);
                Ok(())
            }
            b'-' if source.is_blank_or_end(1) => self.block_entry(),
            b'?' if is_flow || source.is_blank_or_end(1) => self.key(),
            b':' if is_flow || source.is_blank_or_end(1) => self.value(),
            b'*' => self.property(|source| properties::anchor(source).map(Kind::Alias)),
            b'&' => self.property(|source| properties::anchor(source).map(Kind::Anchor)),
            b'!' => self.property(properties::tag),
            b'\'' => self.property(|source| scalars::quoted(source, true)),
            b'"' => self.property(|source| scalars::quoted(source, false)),
            b'|' if !is_flow => self.block_scalar(true),
            b'>' if !is_flow => self.block_scalar(false),
            _ if self.begins_plain() => self.plain(),
            _ => Err(self.source.mark().wrong("found character that cannot start any token")),
        }
    }

    fn begins_plain(&self) -> bool {
        let source = &self.source;
        match source.byte(0) {
            b'-' => !source.is_blank(1),
            b'?' | b':' => !self.is_flow() && !source.is_blank_or_end(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' => false,
            _ => !source.is_blank_or_end(0),
        }
    }

    /// Passes blanks, comments and line ends.
    fn pass_to_token(&mut self) -> Result<(), YamlError> {
        loop {
            self.source.need(1)?;
            if self.source.column() == 0 && self.source.is_mark() {
                self.source.skip();
            }
            self.source.need(1)?;
            let are_tabs_blanks = self.is_flow() || !self.is_key_allowed;
            while self.source.byte(0) == b' ' || are_tabs_blanks && self.source.byte(0) == b'\t' {
                self.source.skip();
                self.source.need(1)?;
            }
            self.source.skip_comment()?;
            if !self.source.is_break(0) {
                return Ok(());
            }
            self.source.need(2)?;
            self.source.skip_line();
            // A line of a block may begin with a key.
            if !self.is_flow() {
                self.is_key_allowed = true;
            }
        }
    }

    /// Ends the blocks that are indented more.
    fn unroll(&mut self, column: Option<usize>) {
        if self.is_flow() {
            return;
        }
        while self.indent > column {
            self.push(Kind::BlockEnd, self.source.mark());
            self.indent = self.indents.pop().flatten();
        }
    }

    /// Begins a block if this is indented more than the one around it, before the token with this number or all others.
    fn roll(&mut self, mark: Mark, token: Option<usize>, kind: Kind) -> Result<(), YamlError> {
        if self.is_flow() || self.indent >= Some(mark.column) {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = Some(mark.column);
        if self.indents.len() > MAX_LEVELS {
            return Err(mark.wrong("exceeded max depth of 10000"));
        }
        self.insert(token, Token { kind, start: mark, end: mark.index });
        Ok(())
    }

    /// Adds a token before the one with this number, or behind all others.
    fn insert(&mut self, number: Option<usize>, token: Token) {
        let end = self.queue.len();
        let at = number.and_then(|number| number.checked_sub(self.taken)).unwrap_or(end);
        self.queue.insert(at.min(end), token);
    }

    /// Remembers that a key may begin here.
    fn save_key(&mut self) -> Result<(), YamlError> {
        let mark = self.source.mark();
        let is_required = !self.is_flow() && self.indent == Some(mark.column);
        if self.is_key_allowed {
            self.remove_key()?;
            let (flow, token) = (self.flow(), self.taken + self.queue.len());
            self.keys.push_back(SimpleKey { flow, token, is_required, is_awaited: true, mark });
            if let Some(bracket) = self.brackets.last_mut() {
                bracket.has_key = true;
            }
        }
        Ok(())
    }

    /// What may have begun a key within these brackets has not.
    fn remove_key(&mut self) -> Result<(), YamlError> {
        let flow = self.flow();
        if let Some(key) = self.keys.pop_back_if(|key| key.flow == flow)
            && key.is_required
        {
            return Err(self.source.mark().wrong("could not find expected ':'"));
        }
        Ok(())
    }

    /// Ends all blocks.
    fn leave_blocks(&mut self) -> Result<(), YamlError> {
        self.unroll(None);
        self.remove_key()?;
        self.is_key_allowed = false;
        Ok(())
    }

    fn stream_end(&mut self) -> Result<(), YamlError> {
        self.source.end_line();
        self.leave_blocks()?;
        self.push(Kind::StreamEnd, self.source.mark());
        Ok(())
    }

    fn document_indicator(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.leave_blocks()?;
        self.indicator(kind);
        self.source.skip();
        self.source.skip();
        Ok(())
    }

    /// Passes an indicator's first character.
    fn indicator(&mut self, kind: Kind) {
        self.push(kind, self.source.mark());
        self.source.skip();
    }

    fn open(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.save_key()?;
        self.brackets.push(Bracket { token: self.taken + self.queue.len(), has_key: false });
        if self.flow() > MAX_LEVELS {
            return Err(self.source.mark().wrong("exceeded max depth of 10000"));
        }
        self.is_key_allowed = true;
        self.indicator(kind);
        Ok(())
    }

    fn close(&mut self, kind: Kind) -> Result<(), YamlError> {
        self.remove_key()?;
        if let Some(Bracket { token, has_key: false }) = self.brackets.pop()
            && let Some(key) = self.keys.back_mut()
            && key.token == token
        {
            // Go forgets then that it may be a key: a document may end here, whatever comes.
            key.is_awaited = false;
        }
        self.is_key_allowed = false;
        self.indicator(kind);
        Ok(())
    }

    fn block_entry(&mut self) -> Result<(), YamlError> {
        let mark = self.source.mark();
        // Within brackets it is the parser that finds it wrong.
        if !self.is_flow() {
            if !self.is_key_allowed {
                return Err(mark.wrong("block sequence entries are not allowed in this context"));
            }
            self.roll(mark, None, Kind::BlockSequenceStart)?;
        }
        self.remove_key()?;
        self.is_key_allowed = true;
        self.indicator(Kind::BlockEntry);
        Ok(())
    }

    fn key(&mut self) -> Result<(), YamlError> {
        let mark = self.source.mark();
        if !self.is_flow() {
            if !self.is_key_allowed {
                return Err(mark.wrong("mapping keys are not allowed in this context"));
            }
            self.roll(mark, None, Kind::BlockMappingStart)?;
        }
        self.remove_key()?;
        self.is_key_allowed = !self.is_flow();
        self.indicator(Kind::Key);
        Ok(())
    }

    fn value(&mut self) -> Result<(), YamlError> {
        let (mark, flow) = (self.source.mark(), self.flow());
        let key = match self.keys.pop_back_if(|key| key.flow == flow) {
            Some(key) if self.is_possible(&key)? => Some(key),
            _ => None,
        };
        if let Some(key) = key {
            self.insert(Some(key.token), Token { kind: Kind::Key, start: key.mark, end: key.mark.index });
            self.roll(key.mark, Some(key.token), Kind::BlockMappingStart)?;
            // A key does not follow another one.
            self.is_key_allowed = false;
        } else {
            // It has a question mark, or is empty.
            if !self.is_flow() {
                if !self.is_key_allowed {
                    return Err(mark.wrong("mapping values are not allowed in this context"));
                }
                self.roll(mark, None, Kind::BlockMappingStart)?;
            }
            self.is_key_allowed = !self.is_flow();
        }
        self.indicator(Kind::Value);
        Ok(())
    }

    /// An anchor, alias, tag or quoted scalar: a key may begin with it, and none follows it.
    fn property(
        &mut self,
        scan: impl FnOnce(&mut Source<'t>) -> Result<Kind, YamlError>,
    ) -> Result<(), YamlError> {
        self.save_key()?;
        self.is_key_allowed = false;
        let start = self.source.mark();
        let kind = scan(&mut self.source)?;
        self.push(kind, start);
        Ok(())
    }

    fn plain(&mut self) -> Result<(), YamlError> {
        self.save_key()?;
        self.is_key_allowed = false;
        let start = self.source.mark();
        let indent = self.indent.map_or(0, |indent| indent + 1);
        let is_flow = self.is_flow();
        let (text, ends_line) = scalars::plain(&mut self.source, indent, is_flow)?;
        self.is_key_allowed |= ends_line;
        self.push(Kind::Scalar { text, is_plain: true }, start);
        Ok(())
    }

    fn block_scalar(&mut self, is_literal: bool) -> Result<(), YamlError> {
        self.remove_key()?;
        self.is_key_allowed = true;
        let start = self.source.mark();
        let text = scalars::block(&mut self.source, self.indent, is_literal)?;
        self.push(Kind::Scalar { text, is_plain: false }, start);
        Ok(())
    }
}
