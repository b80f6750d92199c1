//! From the parser's events to JSON values, in go-yaml's order of doing things.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::events::{self, Event, Events, OWN_TAGS};
use super::resolve::{Scalar, resolve};
use super::source::Mark;
use super::{Budget, MAP_BYTES, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// The first document of a text, if there is one; what follows it is not looked at.
pub(super) fn first(text: &str, budget: &mut Budget) -> Result<Option<Value>, YamlError> {
    let mut reader = Reader {
        events: Events::of(text)?,
        anchors: HashMap::new(),
        budget,
        depth: 0,
        opened: 0,
        decoded: Decoded::default(),
        not_json: None,
    };
    match reader.events.next()? {
        (Event::DocumentStart, _) => {
            let value = reader.node()?;
            // The document's end: what cannot be there at all is an error of this document, in Go too.
            reader.events.next()?;
            match reader.not_json {
                Some(error) if has_not_json(&value) => Err(error),
                _ => Ok(Some(value)),
            }
        }
        _ => Ok(None),
    }
}

/// Stands for what JSON cannot have until the document is complete: only then does Go look, and a key that is given once
/// more may have replaced it. No number that is read is this one: a zero is whole.
const NOT_JSON: f64 = -0.0;

/// The key of what stands for a key that JSON cannot have.
const NOT_JSON_KEY: &str = "";

fn is_not_json(value: &Value) -> bool {
    value.is_f64() && value.as_f64() == Some(NOT_JSON)
}

fn has_not_json(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_not_json),
        Value::Object(map) => map.values().any(has_not_json),
        value => is_not_json(value),
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
    decoded: Decoded,
    /// About the first thing that JSON cannot have.
    not_json: Option<YamlError>,
}

enum Anchor {
    /// Its node is not complete: an alias to it would be a cycle. The number of the node.
    Open(usize),
    /// What a scalar means: as a key it may be other text than as a value.
    Scalar { scalar: Scalar, cost: usize },
    Collection {
        value: Value,
        cost: usize,
        /// How many nodes Go decodes for it.
        nodes: usize,
    },
}

/// The nodes that Go has decoded so far, by which it decides whether a document is a bomb.
#[derive(Clone, Copy, Debug, Default)]
struct Decoded {
    all: usize,
    /// Those of them within aliases.
    aliased: usize,
}

impl Decoded {
    /// Counts a node, and so many that are decoded for an alias. False if Go gives up then.
    fn count(&mut self, aliased: usize) -> bool {
        self.all += 1 + aliased;
        self.aliased += aliased;
        if self.aliased <= 100 || self.all <= 1000 {
            return true;
        }
        #[expect(clippy::cast_precision_loss, reason = "as Go does")]
        let (all, aliased) = (self.all as f64, self.aliased as f64);
        // From 99 % of small documents to 10 % of large ones.
        let most = 0.99 - 0.89 * ((all - 400_000.0) / 3_600_000.0).clamp(0.0, 1.0);
        aliased / all <= most
    }
}

impl Reader<'_, '_> {
    fn charge(&mut self, bytes: usize, at: Mark) -> Result<(), YamlError> {
        self.budget.charge(bytes).map_err(|problem| at.error(problem))
    }

    fn node(&mut self) -> Result<Value, YamlError> {
        let (event, at) = self.events.next()?;
        self.node_from(event, at)
    }

    fn count(&mut self, aliased: usize, at: Mark) -> Result<(), YamlError> {
        if self.decoded.count(aliased) { Ok(()) } else { Err(at.error(YamlProblem::Aliases)) }
    }

    fn node_from(&mut self, event: Event, at: Mark) -> Result<Value, YamlError> {
        if !matches!(event, Event::Alias(_)) {
            self.count(0, at)?;
        }
        match event {
            Event::Alias(name) => self.alias(&name, at),
            Event::Scalar(mut found) => {
                self.charge(NODE_BYTES + found.text.len(), at)?;
                let anchor = found.anchor.take();
                let scalar = scalar(found, at)?;
                self.keep(anchor, &scalar, at)?;
                Ok(self.value(scalar, at))
            }
            Event::SequenceStart(anchor) => {
                let (before, nodes) = (self.budget.left, self.decoded.all - 1);
                let number = self.open(anchor.as_deref(), at)?;
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
                self.close(anchor.filter(is_its), &value, cost, self.decoded.all - nodes, at)?;
                Ok(value)
            }
            Event::MappingStart(anchor) => {
                let (before, nodes) = (self.budget.left, self.decoded.all - 1);
                let number = self.open(anchor.as_deref(), at)?;
                self.charge(MAP_BYTES, at)?;
                let (mut map, mut is_json) = (Map::new(), true);
                loop {
                    match self.events.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, at) => is_json &= self.entry(&mut map, event, at)?,
                    }
                }
                if !is_json {
                    map.insert(NOT_JSON_KEY.to_owned(), Value::from(NOT_JSON));
                }
                self.depth -= 1;
                let value = Value::Object(map);
                let cost = before - self.budget.left;
                // Within it, the name may have been given anew: it is the later node's then.
                let is_its =
                    |name: &String| matches!(self.anchors.get(name), Some(Anchor::Open(of)) if *of == number);
                self.close(anchor.filter(is_its), &value, cost, self.decoded.all - nodes, at)?;
                Ok(value)
            }
            // The parser itself refuses any other event here.
            _ => Err(at.error(YamlProblem::Syntax("a value is expected".to_owned()))),
        }
    }

    /// Enters a collection; gives back its number.
    fn open(&mut self, anchor: Option<&str>, at: Mark) -> Result<usize, YamlError> {
        if self.depth == MAX_DEPTH {
            return Err(at.error(YamlProblem::TooDeep));
        }
        self.depth += 1;
        self.charge(NODE_BYTES, at)?;
        if let Some(anchor) = anchor {
            self.charge(anchor.len(), at)?;
            self.opened += 1;
            self.anchors.insert(anchor.to_owned(), Anchor::Open(self.opened));
        }
        Ok(self.opened)
    }

    /// The value of a scalar, or what stands for it.
    fn value(&mut self, scalar: Scalar, at: Mark) -> Value {
        value(scalar).unwrap_or_else(|| {
            self.not_json.get_or_insert_with(|| at.error(YamlProblem::NotFinite));
            Value::from(NOT_JSON)
        })
    }

    /// Keeps an anchored scalar for its aliases.
    fn keep(&mut self, anchor: Option<String>, scalar: &Scalar, at: Mark) -> Result<(), YamlError> {
        if let Some(anchor) = anchor {
            let cost = NODE_BYTES + scalar.text_bytes();
            self.charge(anchor.len() + cost, at)?;
            self.anchors.insert(anchor, Anchor::Scalar { scalar: scalar.clone(), cost });
        }
        Ok(())
    }

    /// Keeps a copy of an anchored collection for its aliases.
    fn close(
        &mut self,
        anchor: Option<String>,
        value: &Value,
        cost: usize,
        nodes: usize,
        at: Mark,
    ) -> Result<(), YamlError> {
        if let Some(anchor) = anchor {
            self.charge(anchor.len() + cost, at)?;
            self.anchors.insert(anchor, Anchor::Collection { value: value.clone(), cost, nodes });
        }
        Ok(())
    }

    /// The node that an alias stands for.
    fn anchored(&mut self, name: &str, at: Mark) -> Result<&Anchor, YamlError> {
        let (cost, nodes) = match self.anchors.get(name) {
            Some(Anchor::Scalar { cost, .. }) => (*cost, 1),
            Some(Anchor::Collection { cost, nodes, .. }) => (*cost, *nodes),
            Some(Anchor::Open(_)) => return Err(at.error(YamlProblem::Cycle)),
            None => (0, 0),
        };
        self.charge(cost, at)?;
        self.count(nodes, at)?;
        self.anchors.get(name).ok_or_else(|| at.wrong("an alias without its anchor"))
    }

    fn alias(&mut self, name: &str, at: Mark) -> Result<Value, YamlError> {
        let depth = self.depth;
        match self.anchored(name, at)? {
            Anchor::Scalar { scalar, .. } => {
                let scalar = scalar.clone();
                Ok(self.value(scalar, at))
            }
            Anchor::Collection { value, .. } if depth + levels(value) <= MAX_DEPTH => Ok(value.clone()),
            _ => Err(at.error(YamlProblem::TooDeep)),
        }
    }

    /// One key with its value. As in Go, a later key replaces an earlier one, and a merge too replaces what stands
    /// before it. False if JSON cannot have the key.
    fn entry(&mut self, map: &mut Map<String, Value>, event: Event, at: Mark) -> Result<bool, YamlError> {
        let scalar = match event {
            Event::Scalar(mut found) if found.is_merge() => {
                let anchor = found.anchor.take();
                self.keep(anchor, &Scalar::Text(found.text), at)?;
                let (event, at) = self.events.next()?;
                return self.merge(map, event, at);
            }
            Event::Scalar(mut found) => {
                self.count(0, at)?;
                self.charge(found.text.len(), at)?;
                let anchor = found.anchor.take();
                let scalar = scalar(found, at)?;
                self.keep(anchor, &scalar, at)?;
                scalar
            }
            Event::Alias(name) => match self.anchored(&name, at)? {
                Anchor::Scalar { scalar, .. } => scalar.clone(),
                _ => return Err(at.error(YamlProblem::Key)),
            },
            _ => return Err(at.error(YamlProblem::Key)),
        };
        let key = key(scalar);
        if key.is_none() {
            self.not_json.get_or_insert_with(|| at.error(YamlProblem::Key));
        }
        let value = self.node()?;
        Ok(key.map(|key| map.insert(key, value)).is_some())
    }

    /// What is merged into a mapping. False if JSON cannot have one of the keys.
    fn merge(&mut self, map: &mut Map<String, Value>, event: Event, at: Mark) -> Result<bool, YamlError> {
        let others = match (matches!(event, Event::SequenceStart(..)), self.node_from(event, at)?) {
            (true, Value::Array(others)) => others,
            (false, other @ Value::Object(_)) => vec![other],
            _ => return Err(at.error(YamlProblem::Merge)),
        };
        let mut is_json = true;
        // Of several mappings the earlier wins.
        for other in others.into_iter().rev() {
            let Value::Object(other) = other else { return Err(at.error(YamlProblem::Merge)) };
            is_json &= !other.get(NOT_JSON_KEY).is_some_and(is_not_json);
            map.extend(other);
        }
        Ok(is_json)
    }
}

/// What a scalar means.
pub(super) fn scalar(found: events::Scalar, at: Mark) -> Result<Scalar, YamlError> {
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

/// How many collections are within each other; a value that was built is never deeper than [`MAX_DEPTH`].
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}
