//! From the parser's events to JSON values, in go-yaml's order of doing things.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::events::{self, Event, Events, OWN_TAGS, Place};
use super::resolve::{Scalar, resolve};
use super::{Budget, MAP_BYTES, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// The first document of a text, if there is one; what follows it is not looked at.
pub(super) fn first(text: &str, budget: &mut Budget) -> Result<Option<Value>, YamlError> {
    let mut reader =
        Reader { events: Events::of(text)?, anchors: HashMap::new(), budget, depth: 0, opened: 0 };
    match reader.events.next()? {
        (Event::DocumentStart, _) => {
            let value = reader.node()?;
            // The document's end: what cannot be there at all is an error of this document, in Go too.
            reader.events.next()?;
            Ok(Some(value))
        }
        _ => Ok(None),
    }
}

struct Reader<'t, 'b> {
    events: Events<'t>,
    /// By name. A name that is given again stands for the later node from there on.
    anchors: HashMap<String, Anchor>,
    budget: &'b mut Budget,
    depth: usize,
    /// Collections with an anchor so far.
    opened: usize,
}

enum Anchor {
    /// Its node is not complete: an alias to it would be a cycle. The number of the node.
    Open(usize),
    Node {
        value: Value,
        cost: usize,
    },
}

impl Reader<'_, '_> {
    fn charge(&mut self, bytes: usize, at: Place) -> Result<(), YamlError> {
        self.budget.charge(bytes).map_err(|problem| at.error(problem))
    }

    fn node(&mut self) -> Result<Value, YamlError> {
        let (event, at) = self.events.next()?;
        self.node_from(event, at)
    }

    fn node_from(&mut self, event: Event, at: Place) -> Result<Value, YamlError> {
        match event {
            Event::Alias(name) => self.alias(&name, at),
            Event::Scalar(mut found) => {
                self.charge(NODE_BYTES + found.text.len(), at)?;
                let anchor = found.anchor.take();
                let value = value(scalar(found, at)?).ok_or_else(|| at.error(YamlProblem::NotFinite))?;
                self.close(anchor, &value, || NODE_BYTES + text_bytes(&value), at)?;
                Ok(value)
            }
            Event::SequenceStart(anchor) => {
                let (before, number) = self.open(anchor.as_deref(), at)?;
                let mut items = Vec::new();
                loop {
                    match self.events.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node_from(event, at)?),
                    }
                }
                self.depth -= 1;
                let value = Value::Array(items);
                let cost = before - self.budget.left;
                // Within it, the name may have been given anew: it is the later node's then.
                let is_its =
                    |name: &String| matches!(self.anchors.get(name), Some(Anchor::Open(of)) if *of == number);
                self.close(anchor.filter(is_its), &value, || cost, at)?;
                Ok(value)
            }
            Event::MappingStart(anchor) => {
                let (before, number) = self.open(anchor.as_deref(), at)?;
                self.charge(MAP_BYTES, at)?;
                let mut map = Map::new();
                loop {
                    match self.events.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, at) => self.entry(&mut map, event, at)?,
                    }
                }
                self.depth -= 1;
                let value = Value::Object(map);
                let cost = before - self.budget.left;
                // Within it, the name may have been given anew: it is the later node's then.
                let is_its =
                    |name: &String| matches!(self.anchors.get(name), Some(Anchor::Open(of)) if *of == number);
                self.close(anchor.filter(is_its), &value, || cost, at)?;
                Ok(value)
            }
            // The parser itself refuses any other event here.
            _ => Err(at.error(YamlProblem::Syntax("a value is expected".to_owned()))),
        }
    }

    /// Enters a collection; gives back what was left before it, and its number.
    fn open(&mut self, anchor: Option<&str>, at: Place) -> Result<(usize, usize), YamlError> {
        if self.depth == MAX_DEPTH {
            return Err(at.error(YamlProblem::TooDeep));
        }
        self.depth += 1;
        let before = self.budget.left;
        self.charge(NODE_BYTES, at)?;
        if let Some(anchor) = anchor {
            self.charge(anchor.len(), at)?;
            self.opened += 1;
            self.anchors.insert(anchor.to_owned(), Anchor::Open(self.opened));
        }
        Ok((before, self.opened))
    }

    /// Keeps a copy of an anchored node for its aliases.
    fn close(
        &mut self,
        anchor: Option<String>,
        value: &Value,
        cost: impl FnOnce() -> usize,
        at: Place,
    ) -> Result<(), YamlError> {
        if let Some(anchor) = anchor {
            let cost = cost();
            self.charge(anchor.len() + cost, at)?;
            self.anchors.insert(anchor, Anchor::Node { value: value.clone(), cost });
        }
        Ok(())
    }

    fn alias(&mut self, name: &str, at: Place) -> Result<Value, YamlError> {
        let cost = match self.anchors.get(name) {
            Some(Anchor::Node { cost, .. }) => *cost,
            Some(Anchor::Open(_)) => return Err(at.error(YamlProblem::Cycle)),
            None => return Err(at.error(YamlProblem::Syntax("an alias without its anchor".to_owned()))),
        };
        self.charge(cost, at)?;
        match self.anchors.get(name) {
            Some(Anchor::Node { value, .. }) if self.depth + levels(value) <= MAX_DEPTH => Ok(value.clone()),
            _ => Err(at.error(YamlProblem::TooDeep)),
        }
    }

    /// One key with its value. As in Go, a later key replaces an earlier one, and a merge too replaces what stands
    /// before it.
    fn entry(&mut self, map: &mut Map<String, Value>, event: Event, at: Place) -> Result<(), YamlError> {
        let key = match event {
            Event::Scalar(mut found) if found.is_merge() => {
                let anchor = found.anchor.take();
                self.close(anchor, &Value::from(found.text), || NODE_BYTES, at)?;
                let (event, at) = self.events.next()?;
                return self.merge(map, event, at);
            }
            Event::Scalar(mut found) => {
                self.charge(found.text.len(), at)?;
                let anchor = found.anchor.take();
                let scalar = scalar(found, at)?;
                if anchor.is_some() {
                    let value = value(scalar.clone()).unwrap_or_default();
                    self.close(anchor, &value, || NODE_BYTES + text_bytes(&value), at)?;
                }
                key(scalar)
            }
            Event::Alias(name) => match self.alias(&name, at)? {
                Value::String(text) => Some(text),
                Value::Bool(value) => Some(value.to_string()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            },
            _ => None,
        };
        let key = key.ok_or_else(|| at.error(YamlProblem::Key))?;
        let value = self.node()?;
        map.insert(key, value);
        Ok(())
    }

    fn merge(&mut self, map: &mut Map<String, Value>, event: Event, at: Place) -> Result<(), YamlError> {
        let in_sequence = matches!(event, Event::SequenceStart(..));
        match self.node_from(event, at)? {
            Value::Object(other) => map.extend(other),
            // Of several mappings the earlier wins.
            Value::Array(others) if in_sequence => {
                for other in others.into_iter().rev() {
                    match other {
                        Value::Object(other) => map.extend(other),
                        _ => return Err(at.error(YamlProblem::Merge)),
                    }
                }
            }
            _ => return Err(at.error(YamlProblem::Merge)),
        }
        Ok(())
    }
}

/// What a scalar means.
pub(super) fn scalar(found: events::Scalar, at: Place) -> Result<Scalar, YamlError> {
    let events::Scalar { text, is_plain, tag, .. } = found;
    match tag.as_deref() {
        None if is_plain => resolve(text, None),
        None => Ok(Scalar::Text(text)),
        Some(tag) => match tag.strip_prefix(OWN_TAGS) {
            Some(tag) => resolve(text, Some(tag)),
            // A tag of someone's own says nothing to Go, which takes the text.
            None => Ok(Scalar::Text(text)),
        },
    }
    .map_err(|problem| at.error(problem))
}

/// The value of a scalar; none of a number that JSON cannot have.
pub(super) fn value(scalar: Scalar) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::from(value),
        // The API server gets what Go's objects hold, where a number beyond 63 bits is a float.
        #[expect(clippy::cast_precision_loss, reason = "as Go does")]
        Scalar::Uint(value) => return float(value as f64),
        Scalar::Float(value) => return float(value),
        Scalar::Text(text) => Value::String(text),
    })
}

/// A key as sigs.k8s.io/yaml writes it.
pub(super) fn key(scalar: Scalar) -> Option<String> {
    match scalar {
        Scalar::Text(text) => Some(text),
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Int(value) => Some(value.to_string()),
        Scalar::Float(value) => Some(super::resolve::float_key(value)),
        Scalar::Uint(_) | Scalar::Null => None,
    }
}

/// A float as Go writes it in JSON and Kubernetes reads it from there: 1e3 is the integer 1000.
pub(super) fn float(value: f64) -> Option<Value> {
    if !value.is_finite() {
        return None;
    }
    // Go writes digits up to here, and an exponent from here on. It writes -0, and reads 0.
    if value.fract() == 0.0 && value.abs() < 1e21 {
        let digits = value.to_string();
        if let Ok(int) = digits.parse::<i64>() {
            return Some(Value::from(int));
        }
        if let Ok(int) = digits.parse::<u64>() {
            return Some(Value::from(int));
        }
    }
    Some(Value::from(value))
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

/// How many collections are within each other; a value that was built is never deeper than [`MAX_DEPTH`].
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}
