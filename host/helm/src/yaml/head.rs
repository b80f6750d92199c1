//! The *head* of a document is the few fields of it that are asked for, found without building the rest.
//!
//! Everything else is passed over as it comes from the parser, in the memory that one value takes, but by the same rules as
//! if it were read: what makes a whole document unreadable is an error here too, but for what it may grow to.

use serde_json::{Map, Value};

use super::events::{self, Event, Events};
use super::read::{key, scalar, value};
use super::resolve::Scalar;
use super::source::Mark;
use super::{Budget, MAP_BYTES, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// What is kept of a value.
#[derive(Debug)]
pub enum Keep {
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
    pub fn prune(&self, value: Value) -> Value {
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
pub enum Head {
    /// The first document with nothing but what is kept; null if there is none.
    Found(Value),
    /// Aliases, merged mappings, what JSON cannot have, or a list where there is [`Keep::Objects`]: the document has to be
    /// read whole.
    Useless,
}

/// The head of the first document of a text. Each value that is looked at counts against `nodes`, and what is kept against
/// `kept`.
pub(super) fn head(
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

/// Counts so many values that are looked at.
pub(super) fn count(nodes: &mut Budget, values: usize) -> Result<(), YamlProblem> {
    nodes.charge(values).map_err(|problem| match problem {
        YamlProblem::TooLarge { allowed } => YamlProblem::TooManyNodes { allowed },
        other => other,
    })
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

impl Scanner<'_, '_> {
    fn document(&mut self, keep: &Keep) -> Result<Value, Stop> {
        match self.next()? {
            (Event::DocumentStart, _) => {
                let (event, at) = self.next()?;
                let value = self.node(Some(keep), event, at)?;
                // The document's end, as where it is read whole.
                self.next()?;
                Ok(value)
            }
            _ => Ok(Value::Null),
        }
    }

    fn next(&mut self) -> Result<(Event, Mark), Stop> {
        let (event, at) = self.events.next()?;
        count(self.nodes, 1).map_err(|problem| at.error(problem))?;
        Ok((event, at))
    }

    /// What is kept of a node; of one that is passed over, which kind of value it is: a scalar is null, a collection empty.
    fn node(&mut self, keep: Option<&Keep>, event: Event, at: Mark) -> Result<Value, Stop> {
        match event {
            Event::Scalar(events::Scalar { anchor: Some(_), .. })
            | Event::SequenceStart(Some(_))
            | Event::MappingStart(Some(_))
            | Event::Alias(_) => Err(Stop::Useless),
            Event::Scalar(found) => match keep {
                None => {
                    pass(found, false, at)?;
                    Ok(Value::Null)
                }
                Some(_) => {
                    self.charge(NODE_BYTES + found.text.len(), at)?;
                    // Another value may still take its place.
                    value(scalar(found, at)?).ok_or(Stop::Useless)
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
            _ => Err(at.error(YamlProblem::Syntax("a value is expected".to_owned())).into()),
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
            let name = match event {
                Event::MappingEnd => return Ok(map),
                Event::Alias(_) => return Err(Stop::Useless),
                Event::Scalar(found) if found.is_merge() || found.anchor.is_some() => {
                    return Err(Stop::Useless);
                }
                Event::Scalar(found) => match keep {
                    Some(Keep::Whole | Keep::Entries(_)) => {
                        Some(key(scalar(found, at)?).ok_or(Stop::Useless)?)
                    }
                    _ => {
                        pass(found, true, at)?;
                        None
                    }
                },
                _ => return Err(at.error(YamlProblem::Key).into()),
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

    fn open(&mut self, at: Mark) -> Result<(), Stop> {
        if self.depth == MAX_DEPTH {
            return Err(at.error(YamlProblem::TooDeep).into());
        }
        self.depth += 1;
        Ok(())
    }

    fn charge(&mut self, bytes: usize, at: Mark) -> Result<(), Stop> {
        Ok(self.kept.charge(bytes).map_err(|problem| at.error(problem))?)
    }
}

/// Makes sure that a scalar that is passed over would be read.
fn pass(found: events::Scalar, is_key: bool, at: Mark) -> Result<(), Stop> {
    // A plain text that begins like this is itself or a boolean; another may be a number, null or a merge.
    let is_itself = |first: &u8| first.is_ascii_alphabetic() && !matches!(first, b'n' | b'N');
    if found.tag.is_none() && (!found.is_plain || found.text.as_bytes().first().is_some_and(is_itself)) {
        return Ok(());
    }
    let is_json = match scalar(found, at)? {
        scalar if is_key => key(scalar).is_some(),
        Scalar::Float(value) => value.is_finite(),
        _ => true,
    };
    // Where it is not, another value may still take its place, or that of what it is in.
    if is_json { Ok(()) } else { Err(Stop::Useless) }
}
