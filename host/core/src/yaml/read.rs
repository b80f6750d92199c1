//! From the parser's events to JSON values, in go-yaml's order of doing things.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use super::resolve::{Scalar, resolve};
use super::{Budget, MAP_BYTES, MAX_DEPTH, MAX_TEXT_BYTES, NODE_BYTES, YamlError, YamlProblem};

/// The first documents of a text, at most `most`; what follows them is not looked at.
pub(super) fn documents(text: &str, budget: &mut Budget, most: usize) -> Result<Vec<Value>, YamlError> {
    let mut reader = Reader { events: Events::of(text)?, anchors: HashMap::new(), budget, depth: 0 };
    let mut documents = Vec::new();
    while documents.len() < most {
        let (event, at) = reader.events.next()?;
        match event {
            Event::DocumentStart(_) => {
                // Every document costs something, or a text of nothing but "---" would be cheap.
                reader.charge(NODE_BYTES, at)?;
                documents.push(reader.node()?);
                // The document's end, where the parser finds what does not belong to it. Go would not look and cut it off.
                reader.events.next()?;
                reader.anchors.clear();
            }
            Event::StreamEnd => break,
            _ => {}
        }
    }
    Ok(documents)
}

/// What the parser finds in a text, in order.
pub(super) struct Events<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// The length of the text in characters, if it ends in the middle of a line.
    cut_at: Option<usize>,
}

impl<'t> Events<'t> {
    pub(super) fn of(text: &'t str) -> Result<Events<'t>, YamlError> {
        if text.len() > MAX_TEXT_BYTES {
            let problem = YamlProblem::TooLong { found: text.len(), allowed: MAX_TEXT_BYTES };
            return Err(YamlError::new(1, 1, problem));
        }
        printable(text)?;
        let cut_at = (!text.ends_with(['\n', '\r'])).then(|| text.chars().count());
        Ok(Events { parser: Parser::new_from_str(text), cut_at })
    }

    pub(super) fn next(&mut self) -> Result<(Event<'t>, Marker), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((self.without_added_newline(event, &span), span.start)),
            Some(Err(error)) => Err(syntax(&error)),
            None => Err(YamlError::new(1, 1, YamlProblem::Syntax("it ends early".to_owned()))),
        }
    }

    /// A block of text that ends with the whole text, in the middle of a line, ends there: this parser follows YAML 1.2
    /// and adds the end of the line, Go's follows 1.1 and does not. Helm stores hooks without their last line end.
    fn without_added_newline(&self, event: Event<'t>, Span { start, end, .. }: &Span) -> Event<'t> {
        match event {
            Event::Scalar(text, style @ (ScalarStyle::Literal | ScalarStyle::Folded), anchor, tag)
                if Some(end.index()) == self.cut_at
                    && end.col() >= start.col().max(1)
                    && text.ends_with('\n') =>
            {
                let mut text = text.into_owned();
                text.pop();
                Event::Scalar(text.into(), style, anchor, tag)
            }
            other => other,
        }
    }
}

struct Reader<'t, 'b> {
    events: Events<'t>,
    /// By the parser's number. An anchor's name may be given anew; numbers are not.
    anchors: HashMap<usize, Anchor>,
    budget: &'b mut Budget,
    depth: usize,
}

enum Anchor {
    /// Its node is not complete: an alias to it would be a cycle.
    Open,
    Node {
        value: Value,
        cost: usize,
    },
}

impl<'t> Reader<'t, '_> {
    fn charge(&mut self, bytes: usize, at: Marker) -> Result<(), YamlError> {
        self.budget.charge(bytes).map_err(|problem| place(at, problem))
    }

    fn node(&mut self) -> Result<Value, YamlError> {
        let (event, at) = self.events.next()?;
        self.node_from(event, at)
    }

    fn node_from(&mut self, event: Event<'t>, at: Marker) -> Result<Value, YamlError> {
        match event {
            Event::Alias(id) => self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(NODE_BYTES + text.len(), at)?;
                let value = match scalar(text.into_owned(), style, tag.as_deref(), at)? {
                    Scalar::Null => Value::Null,
                    Scalar::Bool(value) => Value::Bool(value),
                    Scalar::Int(value) => Value::from(value),
                    Scalar::Uint(value) => Value::from(value),
                    Scalar::Float(value) => float(value).ok_or_else(|| place(at, YamlProblem::NotFinite))?,
                    Scalar::Text(text) => Value::String(text),
                };
                self.close(anchor, &value, || NODE_BYTES + text_bytes(&value), at)?;
                Ok(value)
            }
            Event::SequenceStart(anchor, _) => {
                let before = self.open(anchor, at)?;
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
                self.close(anchor, &value, || cost, at)?;
                Ok(value)
            }
            Event::MappingStart(anchor, _) => {
                let before = self.open(anchor, at)?;
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
                self.close(anchor, &value, || cost, at)?;
                Ok(value)
            }
            // The parser itself refuses any other event here.
            _ => Err(place(at, YamlProblem::Syntax("a value is expected".to_owned()))),
        }
    }

    /// Enters a collection; answers what was left before it.
    fn open(&mut self, anchor: usize, at: Marker) -> Result<usize, YamlError> {
        if self.depth == MAX_DEPTH {
            return Err(place(at, YamlProblem::TooDeep));
        }
        self.depth += 1;
        let before = self.budget.left;
        self.charge(NODE_BYTES, at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor::Open);
        }
        Ok(before)
    }

    /// Keeps a copy of an anchored node for its aliases.
    fn close(
        &mut self,
        anchor: usize,
        value: &Value,
        cost: impl FnOnce() -> usize,
        at: Marker,
    ) -> Result<(), YamlError> {
        if anchor != 0 {
            let cost = cost();
            self.charge(cost, at)?;
            self.anchors.insert(anchor, Anchor::Node { value: value.clone(), cost });
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Marker) -> Result<Value, YamlError> {
        let cost = match self.anchors.get(&id) {
            Some(Anchor::Node { cost, .. }) => *cost,
            Some(Anchor::Open) => return Err(place(at, YamlProblem::Cycle)),
            None => return Err(place(at, YamlProblem::Syntax("an alias without its anchor".to_owned()))),
        };
        self.charge(cost, at)?;
        match self.anchors.get(&id) {
            Some(Anchor::Node { value, .. }) if self.depth + levels(value) <= MAX_DEPTH => Ok(value.clone()),
            _ => Err(place(at, YamlProblem::TooDeep)),
        }
    }

    /// One key with its value. As in Go, a later key replaces an earlier one, and a merge too replaces what stands
    /// before it.
    fn entry(&mut self, map: &mut Map<String, Value>, event: Event<'t>, at: Marker) -> Result<(), YamlError> {
        if is_merge(&event) {
            let (event, at) = self.events.next()?;
            return self.merge(map, event, at);
        }
        let key = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.charge(text.len(), at)?;
                let scalar = scalar(text.into_owned(), style, tag.as_deref(), at)?;
                if anchor != 0 {
                    let value = match &scalar {
                        Scalar::Null => Value::Null,
                        Scalar::Bool(value) => Value::Bool(*value),
                        Scalar::Int(value) => Value::from(*value),
                        Scalar::Uint(value) => Value::from(*value),
                        Scalar::Float(value) => float(*value).unwrap_or_default(),
                        Scalar::Text(text) => Value::String(text.clone()),
                    };
                    self.close(anchor, &value, || NODE_BYTES + text_bytes(&value), at)?;
                }
                key(scalar)
            }
            Event::Alias(id) => match self.alias(id, at)? {
                Value::String(text) => Some(text),
                Value::Bool(value) => Some(value.to_string()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            },
            _ => None,
        };
        let key = key.ok_or_else(|| place(at, YamlProblem::Key))?;
        let value = self.node()?;
        map.insert(key, value);
        Ok(())
    }

    fn merge(&mut self, map: &mut Map<String, Value>, event: Event<'t>, at: Marker) -> Result<(), YamlError> {
        let in_sequence = matches!(event, Event::SequenceStart(..));
        match self.node_from(event, at)? {
            Value::Object(other) => map.extend(other),
            // Of several mappings the earlier wins.
            Value::Array(others) if in_sequence => {
                for other in others.into_iter().rev() {
                    match other {
                        Value::Object(other) => map.extend(other),
                        _ => return Err(place(at, YamlProblem::Merge)),
                    }
                }
            }
            _ => return Err(place(at, YamlProblem::Merge)),
        }
        Ok(())
    }
}

pub(super) fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, style, _, tag) if text == "<<" => match tag.as_deref() {
            None => *style == ScalarStyle::Plain,
            Some(tag) => (tag.is_yaml_core_schema() && tag.suffix == "merge") || is_non_specific(tag),
        },
        _ => false,
    }
}

/// Refuses what go-yaml refuses before it looks at the YAML, and the line ends of YAML 1.1 that YAML 1.2 takes for text:
/// read as text they could make another Job than Helm's.
fn printable(text: &str) -> Result<(), YamlError> {
    // Nearly every text is plain ASCII, which is quickly seen.
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Ok(());
    }
    let (mut line, mut column) = (1, 1);
    for c in text.chars() {
        let problem = match c {
            '\n' => {
                (line, column) = (line + 1, 1);
                continue;
            }
            '\u{85}' | '\u{2028}' | '\u{2029}' => YamlProblem::LineEnd(c),
            '\t' | '\r' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => {
                column += 1;
                continue;
            }
            c => YamlProblem::Control(c),
        };
        return Err(YamlError::new(line, column, problem));
    }
    Ok(())
}

/// The tag `!`, which go-yaml takes for a plain scalar with an unknown tag.
fn is_non_specific(tag: &Tag) -> bool {
    (tag.handle.is_empty() && tag.suffix == "!") || (tag.handle == "!" && tag.suffix.is_empty())
}

pub(super) fn scalar(
    text: String,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Marker,
) -> Result<Scalar, YamlError> {
    match tag {
        None if style == ScalarStyle::Plain => resolve(text, None),
        None => Ok(Scalar::Text(text)),
        Some(tag) if tag.is_yaml_core_schema() => resolve(text, Some(&tag.suffix)),
        // A tag of someone's own says nothing to Go, which takes the text.
        Some(_) => Ok(Scalar::Text(text)),
    }
    .map_err(|problem| place(at, problem))
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
    // Go writes digits up to here, and an exponent from here on.
    if value.fract() == 0.0 && value.abs() < 1e21 && !(value == 0.0 && value.is_sign_negative()) {
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

pub(super) fn place(at: Marker, problem: YamlProblem) -> YamlError {
    YamlError::new(at.line(), at.col() + 1, problem)
}

/// The parser's messages are fixed sentences with at most one character of the text in them.
fn syntax(error: &ScanError) -> YamlError {
    place(*error.marker(), YamlProblem::Syntax(error.info().to_owned()))
}
