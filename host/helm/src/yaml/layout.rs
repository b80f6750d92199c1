//! The *layout* of a document is where its nodes are in the text, for those who replace some of them and keep all the rest.

use std::ops::Range;

use super::events::{Event, Events};
use super::source::Mark;
use super::{Budget, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// A node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its bytes in the text, without the blanks, line ends and comments that follow it. Empty if it is not written.
    pub bytes: Range<usize>,
    /// The column of its first character, from 0.
    pub column: usize,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Its text, not yet resolved to what it means.
    Scalar(String),
    /// A value that is not written.
    Empty,
    /// A name for another node.
    Alias,
    /// Its items.
    List(Vec<Node>),
    /// Its keys and values.
    Mapping(Vec<(Node, Node)>),
}

/// The layout of the first document of a text, which begins with its root.
///
/// # Errors
/// As [`read`](super::read); also if there is no document.
pub fn layout(text: &str) -> Result<Node, YamlError> {
    let mut reader =
        Reader { events: Events::of(text)?, text, starts: starts(text), budget: Budget::default(), depth: 0 };
    match reader.events.next()? {
        (Event::DocumentStart, _) => {
            let first = reader.events.next()?;
            reader.node(first)
        }
        (_, at) => Err(at.error(YamlProblem::NotOneDocument)),
    }
}

/// The byte at which each character begins that the parser counts: neither the byte order mark, nor the first half of a
/// line end of two.
fn starts(text: &str) -> Vec<usize> {
    let is_counted = |&(at, character): &(usize, char)| match character {
        '\u{feff}' => at > 0,
        '\r' => !text[at..].starts_with("\r\n"),
        _ => true,
    };
    text.char_indices().filter(is_counted).map(|(at, _)| at).collect()
}

struct Reader<'t> {
    events: Events<'t>,
    text: &'t str,
    starts: Vec<usize>,
    budget: Budget,
    depth: usize,
}

impl Reader<'_> {
    fn node(&mut self, (event, at): (Event, Mark)) -> Result<Node, YamlError> {
        self.budget.charge(NODE_BYTES).map_err(|problem| at.error(problem))?;
        if self.depth == MAX_DEPTH {
            return Err(at.error(YamlProblem::TooDeep));
        }
        self.depth += 1;
        let start = self.byte(at.index);
        let (kind, end) = match event {
            Event::Scalar(scalar) if scalar.is_plain && scalar.text.is_empty() => {
                // It is found at the indicator before it.
                let end = start + usize::from(self.text[start..].starts_with([':', '-', '?']));
                self.depth -= 1;
                return Ok(Node {
                    bytes: end..end,
                    column: at.column + (end - start),
                    kind: NodeKind::Empty,
                });
            }
            Event::Scalar(scalar) => (NodeKind::Scalar(scalar.text), self.end(start)),
            Event::Alias(_) => (NodeKind::Alias, self.end(start)),
            Event::SequenceStart(_) => self.list(start)?,
            Event::MappingStart(_) => self.mapping(start)?,
            _ => return Err(at.error(YamlProblem::NotOneDocument)),
        };
        self.depth -= 1;
        Ok(Node { bytes: start..end, column: at.column, kind })
    }

    fn list(&mut self, start: usize) -> Result<(NodeKind, usize), YamlError> {
        let (mut items, mut end) = (Vec::new(), start);
        loop {
            match self.events.next()? {
                (Event::SequenceEnd, at) => {
                    return Ok((NodeKind::List(items), self.close(start, end, at, ['[', ']'])));
                }
                item => items.push(self.node(item)?),
            }
            end = items.last().map_or(end, |item| item.bytes.end.max(end));
        }
    }

    fn mapping(&mut self, start: usize) -> Result<(NodeKind, usize), YamlError> {
        let (mut pairs, mut end) = (Vec::new(), start);
        loop {
            let key = match self.events.next()? {
                (Event::MappingEnd, at) => {
                    return Ok((NodeKind::Mapping(pairs), self.close(start, end, at, ['{', '}'])));
                }
                key => self.node(key)?,
            };
            let value = self.events.next()?;
            let value = self.node(value)?;
            end = end.max(key.bytes.end).max(value.bytes.end);
            pairs.push((key, value));
        }
    }

    /// The byte of a character; that behind the text for one behind it.
    fn byte(&self, character: usize) -> usize {
        self.starts.get(character).copied().unwrap_or(self.text.len())
    }

    /// The end of the scalar or alias from this byte on that was read last.
    fn end(&self, start: usize) -> usize {
        let end = self.byte(self.events.tokens.end());
        self.text.get(start..end).map_or(start, |text| start + text.trim_end().len())
    }

    /// The end of a collection: behind its bracket, which was found at a mark, or that of its last child if it has none.
    fn close(&self, start: usize, child: usize, at: Mark, [open, close]: [char; 2]) -> usize {
        let end = self.byte(at.index);
        let has_brackets = self.text[start..].starts_with(open) && self.text[end..].starts_with(close);
        if has_brackets { end + 1 } else { child }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_one;
    use super::*;

    /// Each node's text, in order, with its column.
    fn texts(text: &str) -> Vec<(usize, String)> {
        fn add(node: &Node, text: &str, texts: &mut Vec<(usize, String)>) {
            texts.push((node.column, text[node.bytes.clone()].to_owned()));
            match &node.kind {
                NodeKind::List(items) => items.iter().for_each(|item| add(item, text, texts)),
                NodeKind::Mapping(pairs) => {
                    pairs
                        .iter()
                        .flat_map(|(key, value)| [key, value])
                        .for_each(|node| add(node, text, texts));
                }
                NodeKind::Scalar(_) | NodeKind::Empty | NodeKind::Alias => {}
            }
        }
        let mut texts = Vec::new();
        add(&layout(text).unwrap(), text, &mut texts);
        texts
    }

    #[test]
    fn each_node_is_where_it_is_written() {
        let of = |list: &[(usize, &str)]| -> Vec<(usize, String)> {
            list.iter().map(|(column, text)| (*column, (*text).to_owned())).collect()
        };
        assert_eq!(
            texts("\u{feff}ä: 漢  # one\r\nb:\r\n"),
            of(&[(0, "ä: 漢  # one\r\nb:"), (0, "ä"), (3, "漢"), (0, "b"), (2, "")])
        );
        assert_eq!(
            texts("- [x, 'y z' ] # }\n- {}\n- *x\n- |\n  a\n\n  b\n\n"),
            of(&[
                (0, "- [x, 'y z' ] # }\n- {}\n- *x\n- |\n  a\n\n  b"),
                (2, "[x, 'y z' ]"),
                (3, "x"),
                (6, "'y z'"),
                (2, "{}"),
                (2, "*x"),
                (2, "|\n  a\n\n  b"),
            ])
        );
        assert_eq!(texts("{a: [1]\n, b: {c: 2 # ]\n}}")[0].1, "{a: [1]\n, b: {c: 2 # ]\n}}");
    }

    #[test]
    fn what_is_too_much_or_no_document_is_an_error() {
        let problem = |text: &str| layout(text).unwrap_err().problem;
        assert_eq!(problem(&"[".repeat(MAX_DEPTH + 1)), YamlProblem::TooDeep);
        assert!(matches!(problem(&"- a\n".repeat(1 << 20)), YamlProblem::TooLarge { .. }));
        assert_eq!(problem("# nothing"), YamlProblem::NotOneDocument);
        assert!(matches!(problem("{a"), YamlProblem::Syntax(_)));
    }

    proptest! {
        #[test]
        fn a_scalar_alone_means_what_it_means_in_its_place(
            key in "[a-zé]{1,5}", value in "[a-z0-9é'\" #:]{0,10}", end in "\n|\r\n| # x\n| *"
        ) {
            let text = format!("{key}: {value}{end}");
            if let Ok(document) = read_one(&text)
                && let NodeKind::Mapping(pairs) = layout(&text).unwrap().kind
                && let [(_, Node { bytes, kind: NodeKind::Scalar(_), .. })] = &pairs[..]
            {
                let alone = read_one(&text[bytes.clone()]).unwrap_or_default();
                prop_assert_eq!(document.as_object().unwrap().values().next(), Some(&alone));
            }
        }
    }
}
