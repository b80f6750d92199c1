//! The *head* of a document is the few fields of it that are asked for, found without building the rest.
//!
//! Everything else is passed over as it comes from the parser, in the memory that one value takes, but by the same rules as
//! if it were read: what [`read_first`](super::read_first) refuses is refused here, but for what it may grow to.

use saphyr_parser::{Event, Marker, ScalarStyle, Tag};
use serde_json::{Map, Value};

use super::read::{Events, float, is_merge, key, place, scalar};
use super::resolve::Scalar;
use super::{Budget, MAP_BYTES, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// What is kept of a value.
#[derive(Debug)]
pub(crate) enum Keep {
    /// All of it.
    Whole,
    /// The value, where it is no collection; of a collection only which of both it is.
    Scalar,
    /// Of a mapping the entries with these keys.
    Entries(&'static [(&'static str, Keep)]),
    /// Of a list one empty mapping, and one null for what is no mapping in it: whether it is empty, and has mappings only.
    Mappings,
    /// A list here makes the head useless: see [`Head::Useless`].
    Objects,
}

impl Keep {
    /// What is kept of a value that was read whole, without mappings in which nothing is; null if nothing is kept at all.
    pub(crate) fn prune(&self, value: Value) -> Value {
        let (entries, map) = match (self, value) {
            (Keep::Entries(entries), Value::Object(map)) => (entries, map),
            (_, value) => return value,
        };
        let kept = map.into_iter().filter_map(|(key, value)| {
            let (_, keep) = entries.iter().find(|(known, _)| *known == key)?;
            let value = keep.prune(value);
            (!value.is_null()).then_some((key, value))
        });
        let kept: Map<String, Value> = kept.collect();
        if kept.is_empty() { Value::Null } else { Value::Object(kept) }
    }
}

/// What came of looking for a head.
#[derive(Debug)]
pub(crate) enum Head {
    /// The first document with nothing but what is kept; null if there is none.
    Found(Value),
    /// Aliases, merged mappings, or a list where there is [`Keep::Objects`]: the document has to be read whole.
    Useless,
}

/// The head of the first document of a text. Each value that is looked at counts against `nodes`, and what is kept against
/// `kept`.
pub(crate) fn head(
    text: &str,
    keep: &Keep,
    nodes: &mut Budget,
    kept: &mut Budget,
) -> Result<Head, YamlError> {
    let mut scanner = Scanner { events: Events::of(text)?, nodes, kept, depth: 0 };
    match scanner.document(keep) {
        Ok(value) => Ok(Head::Found(value)),
        Err(Stop::Useless) => Ok(Head::Useless),
        Err(Stop::Wrong(error)) => Err(error),
    }
}

/// Why a scan ends early.
enum Stop {
    Wrong(YamlError),
    Useless,
}

impl From<YamlError> for Stop {
    fn from(error: YamlError) -> Stop {
        Stop::Wrong(error)
    }
}

struct Scanner<'t, 'b> {
    events: Events<'t>,
    nodes: &'b mut Budget,
    kept: &'b mut Budget,
    depth: usize,
}

impl<'t> Scanner<'t, '_> {
    fn document(&mut self, keep: &Keep) -> Result<Value, Stop> {
        loop {
            match self.next()? {
                (Event::DocumentStart(_), _) => {
                    let (event, at) = self.next()?;
                    let value = self.node(Some(keep), event, at)?;
                    // The document's end, where the parser finds what does not belong to it.
                    self.next()?;
                    return Ok(value);
                }
                (Event::StreamEnd, _) => return Ok(Value::Null),
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Marker), Stop> {
        let (event, at) = self.events.next()?;
        self.nodes.charge(1).map_err(|problem| match problem {
            YamlProblem::TooLarge { allowed } => place(at, YamlProblem::TooManyNodes { allowed }),
            other => place(at, other),
        })?;
        Ok((event, at))
    }

    /// What is kept of a node; of one that is passed over, which kind of value it is: a scalar is null, a collection empty.
    fn node(&mut self, keep: Option<&Keep>, event: Event<'t>, at: Marker) -> Result<Value, Stop> {
        match event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                Err(Stop::Useless)
            }
            Event::Alias(_) => Err(Stop::Useless),
            Event::Scalar(text, style, _, tag) => match keep {
                None => {
                    pass(&text, style, tag.as_deref(), false, at)?;
                    Ok(Value::Null)
                }
                Some(_) => {
                    self.charge(NODE_BYTES + text.len(), at)?;
                    Ok(match scalar(text.into_owned(), style, tag.as_deref(), at)? {
                        Scalar::Null => Value::Null,
                        Scalar::Bool(value) => Value::Bool(value),
                        Scalar::Int(value) => Value::from(value),
                        Scalar::Uint(value) => Value::from(value),
                        Scalar::Float(value) => {
                            float(value).ok_or_else(|| place(at, YamlProblem::NotFinite))?
                        }
                        Scalar::Text(text) => Value::String(text),
                    })
                }
            },
            Event::SequenceStart(..) => {
                if matches!(keep, Some(Keep::Objects)) {
                    return Err(Stop::Useless);
                }
                self.open(at)?;
                if matches!(keep, Some(Keep::Whole)) {
                    self.charge(NODE_BYTES, at)?;
                }
                let items = self.items(keep)?;
                self.depth -= 1;
                Ok(Value::Array(items))
            }
            Event::MappingStart(..) => {
                self.open(at)?;
                if matches!(keep, Some(Keep::Whole | Keep::Entries(_))) {
                    self.charge(NODE_BYTES + MAP_BYTES, at)?;
                }
                let map = self.entries(keep)?;
                self.depth -= 1;
                Ok(Value::Object(map))
            }
            // The parser itself refuses any other event here.
            _ => Err(place(at, YamlProblem::Syntax("a value is expected".to_owned())).into()),
        }
    }

    fn items(&mut self, keep: Option<&Keep>) -> Result<Vec<Value>, Stop> {
        let mut items: Vec<Value> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            match keep {
                Some(Keep::Whole) => items.push(self.node(keep, event, at)?),
                Some(Keep::Mappings) => {
                    let item = self.node(None, event, at)?;
                    let item = if item.is_object() { item } else { Value::Null };
                    if !items.contains(&item) {
                        items.push(item);
                    }
                }
                _ => drop(self.node(None, event, at)?),
            }
        }
    }

    fn entries(&mut self, keep: Option<&Keep>) -> Result<Map<String, Value>, Stop> {
        let mut map = Map::new();
        loop {
            let (event, at) = self.next()?;
            if is_merge(&event) {
                return Err(Stop::Useless);
            }
            let name = match event {
                Event::MappingEnd => return Ok(map),
                Event::Alias(_) => return Err(Stop::Useless),
                Event::Scalar(_, _, anchor, _) if anchor != 0 => return Err(Stop::Useless),
                Event::Scalar(text, style, _, tag) => match keep {
                    Some(Keep::Whole | Keep::Entries(_)) => {
                        let name = key(scalar(text.into_owned(), style, tag.as_deref(), at)?);
                        Some(name.ok_or_else(|| place(at, YamlProblem::Key))?)
                    }
                    _ => {
                        pass(&text, style, tag.as_deref(), true, at)?;
                        None
                    }
                },
                _ => return Err(place(at, YamlProblem::Key).into()),
            };
            let inner = match (keep, &name) {
                (Some(Keep::Whole), _) => keep,
                (Some(Keep::Entries(entries)), Some(name)) => {
                    entries.iter().find(|(known, _)| known == name).map(|(_, keep)| keep)
                }
                _ => None,
            };
            let (event, at) = self.next()?;
            let value = self.node(inner, event, at)?;
            if let (Some(name), Some(_)) = (name, inner) {
                self.charge(name.len(), at)?;
                // As in Go, a later key replaces an earlier one.
                map.insert(name, value);
            }
        }
    }

    fn open(&mut self, at: Marker) -> Result<(), Stop> {
        if self.depth == MAX_DEPTH {
            return Err(place(at, YamlProblem::TooDeep).into());
        }
        self.depth += 1;
        Ok(())
    }

    fn charge(&mut self, bytes: usize, at: Marker) -> Result<(), Stop> {
        Ok(self.kept.charge(bytes).map_err(|problem| place(at, problem))?)
    }
}

/// Makes sure that a scalar that is passed over would be read, most often without a copy of it.
fn pass(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    is_key: bool,
    at: Marker,
) -> Result<(), YamlError> {
    // A plain text that begins like this is itself or a boolean; another may be a number, null or a merge.
    let is_itself = |first: &u8| first.is_ascii_alphabetic() && !matches!(first, b'n' | b'N');
    if tag.is_none() && (style != ScalarStyle::Plain || text.as_bytes().first().is_some_and(is_itself)) {
        return Ok(());
    }
    let scalar = scalar(text.to_owned(), style, tag, at)?;
    if is_key {
        return key(scalar).map(drop).ok_or_else(|| place(at, YamlProblem::Key));
    }
    match scalar {
        Scalar::Float(value) if !value.is_finite() => Err(place(at, YamlProblem::NotFinite)),
        _ => Ok(()),
    }
}
