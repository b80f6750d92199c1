//! The *events* of a text are what its first YAML document consists of, in order: collections, scalars and aliases.
//!
//! They are made of its tokens as go-yaml v2 makes them, so that both agree on what is YAML, also where YAML 1.1 and 1.2
//! differ: the functions here follow those of its parserc.go, one for each production of the grammar.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::source::Mark;
use super::tokens::{Kind, Token, Tokens};
use super::{MAX_DIRECTIVE_BYTES, MAX_DIRECTIVES, YamlError, YamlProblem};

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
#[derive(Debug, Default)]
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

/// What may come next.
#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Content,
    BlockNode,
    BlockSequence {
        is_first: bool,
    },
    /// A list in the column of its key.
    IndentlessSequence,
    BlockMappingKey {
        is_first: bool,
    },
    BlockMappingValue,
    FlowSequence {
        is_first: bool,
    },
    /// A mapping of one entry within a list, without braces.
    FlowPairKey,
    FlowPairValue,
    FlowPairEnd,
    FlowMappingKey {
        is_first: bool,
    },
    FlowMappingValue {
        is_empty: bool,
    },
    End,
    Over,
}

/// What the parser finds in a text.
pub(super) struct Events<'t> {
    pub(super) tokens: Tokens<'t>,
    state: State,
    /// What comes after the collections that are open.
    states: Vec<State>,
    /// The handles of tags, and what they stand for.
    tags: Vec<(String, String)>,
}

impl<'t> Events<'t> {
    pub(super) fn of(text: &'t str) -> Result<Events<'t>, YamlError> {
        Ok(Events { tokens: Tokens::of(text)?, state: State::Start, states: Vec::new(), tags: Vec::new() })
    }

    /// The next event, and where it begins.
    pub(super) fn next(&mut self) -> Result<(Event, Mark), YamlError> {
        // Whatever the text is: a defect of the parser is an error of this text, not the end of the process.
        contained(|| self.parse()).unwrap_or_else(|| Err(YamlError::new(1, 1, YamlProblem::Parser)))
    }

    fn parse(&mut self) -> Result<(Event, Mark), YamlError> {
        match self.state {
            State::Start => self.document_start(),
            State::Content => self.document_content(),
            State::BlockNode => self.node(true, false),
            State::BlockSequence { is_first } => self.block_sequence(is_first),
            State::IndentlessSequence => self.indentless_sequence(),
            State::BlockMappingKey { is_first } => self.block_mapping_key(is_first),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequence { is_first } => self.flow_sequence(is_first),
            State::FlowPairKey => self.flow_pair_key(),
            State::FlowPairValue => self.flow_pair_value(),
            State::FlowPairEnd => {
                self.state = State::FlowSequence { is_first: false };
                Ok((Event::MappingEnd, self.tokens.peek()?.start))
            }
            State::FlowMappingKey { is_first } => self.flow_mapping_key(is_first),
            State::FlowMappingValue { is_empty } => self.flow_mapping_value(is_empty),
            State::End => {
                // What cannot be here at all is found now. What else follows, Go does not read.
                let start = self.tokens.peek()?.start;
                self.state = State::Over;
                Ok((Event::DocumentEnd, start))
            }
            State::Over => Ok((Event::StreamEnd, Mark::default())),
        }
    }

    fn pop(&mut self) {
        self.state = self.states.pop().unwrap_or(State::Over);
    }

    /// A value that is not there.
    fn empty(&mut self, next: State, at: Mark) -> Result<(Event, Mark), YamlError> {
        self.state = next;
        Ok((Event::Scalar(Scalar { is_plain: true, ..Scalar::default() }), at))
    }

    /// A value, and what comes after it.
    fn node_then(
        &mut self,
        next: State,
        is_block: bool,
        may_be_list: bool,
    ) -> Result<(Event, Mark), YamlError> {
        self.states.push(next);
        self.node(is_block, may_be_list)
    }

    /// The end of a collection, whose last token is next.
    fn end(&mut self, event: Event) -> Result<(Event, Mark), YamlError> {
        self.pop();
        Ok((event, self.tokens.take()?.start))
    }

    fn document_start(&mut self) -> Result<(Event, Mark), YamlError> {
        let token = self.tokens.peek()?;
        let start = token.start;
        let is_explicit =
            matches!(token.kind, Kind::Version { .. } | Kind::TagDirective { .. } | Kind::DocumentStart);
        if matches!(token.kind, Kind::StreamEnd) {
            self.state = State::Over;
            return Ok((Event::StreamEnd, start));
        }
        self.directives()?;
        self.states.push(State::End);
        self.state = State::BlockNode;
        if is_explicit {
            let token = self.tokens.take()?;
            if !matches!(token.kind, Kind::DocumentStart) {
                return Err(token.start.wrong("did not find expected <document start>"));
            }
            self.state = State::Content;
        }
        Ok((Event::DocumentStart, start))
    }

    fn document_content(&mut self) -> Result<(Event, Mark), YamlError> {
        let token = self.tokens.peek()?;
        match token.kind {
            Kind::Version { .. }
            | Kind::TagDirective { .. }
            | Kind::DocumentStart
            | Kind::DocumentEnd
            | Kind::StreamEnd => {
                let start = token.start;
                self.pop();
                self.empty(self.state, start)
            }
            _ => self.node(true, false),
        }
    }

    fn directives(&mut self) -> Result<(), YamlError> {
        let (mut has_version, mut count, mut bytes) = (false, 0, 0);
        while matches!(self.tokens.peek()?.kind, Kind::Version { .. } | Kind::TagDirective { .. }) {
            let token = self.tokens.take()?;
            count += 1;
            if count > MAX_DIRECTIVES {
                return Err(token.start.error(YamlProblem::TooManyDirectives));
            }
            match token.kind {
                Kind::Version { .. } if has_version => {
                    return Err(token.start.wrong("found duplicate %YAML directive"));
                }
                Kind::Version { is_known: false } => {
                    return Err(token.start.wrong("found incompatible YAML document"));
                }
                Kind::TagDirective { handle, prefix } => {
                    bytes += handle.len() + prefix.len();
                    if bytes > MAX_DIRECTIVE_BYTES {
                        return Err(token.start.error(YamlProblem::DirectivesTooLong));
                    }
                    if self.tags.iter().any(|(known, _)| *known == handle) {
                        return Err(token.start.wrong("found duplicate %TAG directive"));
                    }
                    self.tags.push((handle, prefix));
                }
                _ => has_version = true,
            }
        }
        for (handle, prefix) in [("!", "!"), ("!!", OWN_TAGS)] {
            if !self.tags.iter().any(|(known, _)| known == handle) {
                self.tags.push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    /// A node with its properties: an alias, a scalar, or the beginning of a collection.
    fn node(&mut self, is_block: bool, may_be_list: bool) -> Result<(Event, Mark), YamlError> {
        let start = self.tokens.peek()?.start;
        let (mut anchor, mut tag) = (None, None);
        if matches!(self.tokens.peek()?.kind, Kind::Alias(_)) {
            self.pop();
            if let Kind::Alias(name) = self.tokens.take()?.kind {
                return Ok((Event::Alias(name), start));
            }
        }
        loop {
            match self.tokens.peek()?.kind {
                Kind::Anchor(_) if anchor.is_none() => {
                    if let Kind::Anchor(name) = self.tokens.take()?.kind {
                        anchor = Some(name);
                    }
                }
                Kind::Tag { .. } if tag.is_none() => {
                    let token = self.tokens.take()?;
                    if let Kind::Tag { handle, suffix } = token.kind {
                        tag = Some(self.whole_tag(&handle, suffix, token.start)?);
                    }
                }
                _ => break,
            }
        }
        let token = self.tokens.peek()?;
        let at = token.start;
        let (event, next) = match token.kind {
            Kind::BlockEntry if may_be_list => (Event::SequenceStart(anchor), State::IndentlessSequence),
            Kind::Scalar { .. } => {
                self.pop();
                if let Kind::Scalar { text, is_plain } = self.tokens.take()?.kind {
                    return Ok((Event::Scalar(Scalar { text, is_plain, anchor, tag }), start));
                }
                return Err(at.wrong("a scalar is expected"));
            }
            Kind::FlowSequenceStart => (Event::SequenceStart(anchor), State::FlowSequence { is_first: true }),
            Kind::FlowMappingStart => (Event::MappingStart(anchor), State::FlowMappingKey { is_first: true }),
            Kind::BlockSequenceStart if is_block => {
                (Event::SequenceStart(anchor), State::BlockSequence { is_first: true })
            }
            Kind::BlockMappingStart if is_block => {
                (Event::MappingStart(anchor), State::BlockMappingKey { is_first: true })
            }
            _ if anchor.is_some() || tag.is_some() => {
                self.pop();
                let scalar = Scalar { is_plain: true, anchor, tag, ..Scalar::default() };
                return Ok((Event::Scalar(scalar), start));
            }
            _ => return Err(at.wrong("did not find expected node content")),
        };
        self.state = next;
        Ok((event, start))
    }

    /// A tag with its handle replaced by what that stands for.
    fn whole_tag(&self, handle: &str, suffix: String, at: Mark) -> Result<String, YamlError> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        match self.tags.iter().find(|(known, _)| known == handle) {
            Some((_, prefix)) => Ok(format!("{prefix}{suffix}")),
            None => Err(at.wrong("found undefined tag handle")),
        }
    }

    fn block_sequence(&mut self, is_first: bool) -> Result<(Event, Mark), YamlError> {
        if is_first {
            self.tokens.take()?;
        }
        let Token { kind, start, .. } = self.tokens.peek()?;
        let start = *start;
        match kind {
            Kind::BlockEntry => {
                self.tokens.take()?;
                let next = State::BlockSequence { is_first: false };
                match self.tokens.peek()?.kind {
                    Kind::BlockEntry | Kind::BlockEnd => self.empty(next, start),
                    _ => self.node_then(next, true, false),
                }
            }
            Kind::BlockEnd => self.end(Event::SequenceEnd),
            _ => Err(start.wrong("did not find expected '-' indicator")),
        }
    }

    fn indentless_sequence(&mut self) -> Result<(Event, Mark), YamlError> {
        let token = self.tokens.peek()?;
        let start = token.start;
        if !matches!(token.kind, Kind::BlockEntry) {
            self.pop();
            return Ok((Event::SequenceEnd, start));
        }
        self.tokens.take()?;
        match self.tokens.peek()?.kind {
            Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd => {
                self.empty(State::IndentlessSequence, start)
            }
            _ => self.node_then(State::IndentlessSequence, true, false),
        }
    }

    fn block_mapping_key(&mut self, is_first: bool) -> Result<(Event, Mark), YamlError> {
        if is_first {
            self.tokens.take()?;
        }
        let Token { kind, start, .. } = self.tokens.peek()?;
        let start = *start;
        match kind {
            Kind::Key => {
                self.tokens.take()?;
                self.block_mapping_part(State::BlockMappingValue, start)
            }
            Kind::BlockEnd => self.end(Event::MappingEnd),
            _ => Err(start.wrong("did not find expected key")),
        }
    }

    fn block_mapping_value(&mut self) -> Result<(Event, Mark), YamlError> {
        let next = State::BlockMappingKey { is_first: false };
        let token = self.tokens.peek()?;
        let start = token.start;
        if !matches!(token.kind, Kind::Value) {
            return self.empty(next, start);
        }
        self.tokens.take()?;
        self.block_mapping_part(next, start)
    }

    /// A key or a value, if there is one.
    fn block_mapping_part(&mut self, next: State, start: Mark) -> Result<(Event, Mark), YamlError> {
        match self.tokens.peek()?.kind {
            Kind::Key | Kind::Value | Kind::BlockEnd => self.empty(next, start),
            _ => self.node_then(next, true, true),
        }
    }

    /// Passes the comma before an entry within brackets that is not the first.
    fn flow_entry(&mut self, is_first: bool, why: &str) -> Result<(), YamlError> {
        if is_first {
            return Ok(());
        }
        let token = self.tokens.peek()?;
        if !matches!(token.kind, Kind::FlowEntry) {
            return Err(token.start.wrong(why));
        }
        self.tokens.take()?;
        Ok(())
    }

    fn flow_sequence(&mut self, is_first: bool) -> Result<(Event, Mark), YamlError> {
        if is_first {
            self.tokens.take()?;
        }
        if !matches!(self.tokens.peek()?.kind, Kind::FlowSequenceEnd) {
            self.flow_entry(is_first, "did not find expected ',' or ']'")?;
            match self.tokens.peek()?.kind {
                Kind::Key => {
                    self.state = State::FlowPairKey;
                    return Ok((Event::MappingStart(None), self.tokens.take()?.start));
                }
                Kind::FlowSequenceEnd => {}
                _ => return self.node_then(State::FlowSequence { is_first: false }, false, false),
            }
        }
        self.end(Event::SequenceEnd)
    }

    fn flow_pair_key(&mut self) -> Result<(Event, Mark), YamlError> {
        match self.tokens.peek()?.kind {
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd => {
                // Go takes it, and misses it then.
                let start = self.tokens.take()?.start;
                self.empty(State::FlowPairValue, start)
            }
            _ => self.node_then(State::FlowPairValue, false, false),
        }
    }

    fn flow_pair_value(&mut self) -> Result<(Event, Mark), YamlError> {
        let token = self.tokens.peek()?;
        let start = token.start;
        if matches!(token.kind, Kind::Value) {
            self.tokens.take()?;
            if !matches!(self.tokens.peek()?.kind, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                return self.node_then(State::FlowPairEnd, false, false);
            }
        }
        self.empty(State::FlowPairEnd, start)
    }

    fn flow_mapping_key(&mut self, is_first: bool) -> Result<(Event, Mark), YamlError> {
        if is_first {
            self.tokens.take()?;
        }
        if !matches!(self.tokens.peek()?.kind, Kind::FlowMappingEnd) {
            self.flow_entry(is_first, "did not find expected ',' or '}'")?;
            match self.tokens.peek()?.kind {
                Kind::Key => {
                    self.tokens.take()?;
                    let next = State::FlowMappingValue { is_empty: false };
                    let token = self.tokens.peek()?;
                    return match token.kind {
                        Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd => {
                            let start = token.start;
                            self.empty(next, start)
                        }
                        _ => self.node_then(next, false, false),
                    };
                }
                Kind::FlowMappingEnd => {}
                _ => return self.node_then(State::FlowMappingValue { is_empty: true }, false, false),
            }
        }
        self.end(Event::MappingEnd)
    }

    fn flow_mapping_value(&mut self, is_empty: bool) -> Result<(Event, Mark), YamlError> {
        let next = State::FlowMappingKey { is_first: false };
        let token = self.tokens.peek()?;
        let start = token.start;
        if !is_empty && matches!(token.kind, Kind::Value) {
            self.tokens.take()?;
            if !matches!(self.tokens.peek()?.kind, Kind::FlowEntry | Kind::FlowMappingEnd) {
                return self.node_then(next, false, false);
            }
        }
        self.empty(next, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_of_the_parser_is_an_error_of_the_text_and_known_while_it_happens() {
        let mut was_parsing = false;
        let parsed: Option<()> = contained(|| {
            was_parsing = is_parsing();
            // Without the panic hook's lines on the test's own output.
            std::panic::resume_unwind(Box::new("a defect"))
        });
        assert_eq!((parsed, was_parsing, is_parsing()), (None, true, false));
        assert_eq!(contained(|| 1), Some(1));
    }
}
