//! *JSON* within the bounds of YAML: a value is built as far as it is asked for, and as long as the budget lasts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::head::count;
use super::read::float;
use super::{Budget, Head, Keep, MAP_BYTES, MAX_DEPTH, NODE_BYTES, YamlError, YamlProblem};

/// The value of a text.
pub(super) fn read(text: &str, budget: &mut Budget) -> Result<Value, YamlError> {
    let mut nodes = Budget::of(usize::MAX);
    match head(text, &Keep::Whole, &mut nodes, budget)? {
        Head::Found(value) => Ok(value),
        // Only of one that is not asked for as a whole.
        Head::Useless => Ok(Value::Null),
    }
}

/// The head of a text; see [`Head`].
pub(super) fn head(
    text: &str,
    keep: &Keep,
    nodes: &mut Budget,
    kept: &mut Budget,
) -> Result<Head, YamlError> {
    let mut stop = None;
    let text = whole_characters(text);
    let mut from = serde_json::Deserializer::from_str(&text);
    let built = Builder { keep: Some(keep), nodes, kept, depth: 0, stop: &mut stop }.deserialize(&mut from);
    match (built, stop) {
        (Ok(value), _) => Ok(Head::Found(value)),
        (Err(_), Some(Stop::Useless)) => Ok(Head::Useless),
        (Err(error), stop) => {
            let problem = match stop {
                Some(Stop::Bound(problem)) => problem,
                _ => YamlProblem::Syntax("it is not JSON".to_owned()),
            };
            Err(YamlError::new(error.line().max(1), error.column().max(1), problem))
        }
    }
}

/// Why it ends early.
enum Stop {
    /// A bound is exceeded.
    Bound(YamlProblem),
    Useless,
}

/// Builds a value.
struct Builder<'b> {
    /// What is kept of it; nothing where only its kind is.
    keep: Option<&'b Keep>,
    nodes: &'b mut Budget,
    kept: &'b mut Budget,
    depth: usize,
    stop: &'b mut Option<Stop>,
}

impl Builder<'_> {
    fn stop<E: Error>(&mut self, stop: Stop) -> E {
        *self.stop = Some(stop);
        E::custom("a bound is exceeded")
    }

    fn bound<E: Error>(&mut self, result: Result<(), YamlProblem>) -> Result<(), E> {
        result.map_err(|problem| self.stop(Stop::Bound(problem)))
    }

    /// What is kept costs so much.
    fn charge<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        let charged = self.kept.charge(bytes);
        self.bound(charged)
    }

    fn is_whole(&self) -> bool {
        matches!(self.keep, Some(Keep::Whole))
    }

    /// For a value within it.
    fn inner<'i>(&'i mut self, keep: Option<&'i Keep>) -> Builder<'i> {
        Builder { keep, nodes: self.nodes, kept: self.kept, depth: self.depth + 1, stop: self.stop }
    }

    fn scalar<E: Error>(&mut self, bytes: usize, value: impl FnOnce() -> Value) -> Result<Value, E> {
        if self.keep.is_none() {
            return Ok(Value::Null);
        }
        self.charge(NODE_BYTES + bytes)?;
        Ok(value())
    }

    fn open<E: Error>(&mut self) -> Result<(), E> {
        let is_deep = self.depth == MAX_DEPTH;
        self.bound(if is_deep { Err(YamlProblem::TooDeep) } else { Ok(()) })
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<Value, D::Error> {
        let counted = count(self.nodes, 1);
        self.bound(counted)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.scalar(0, || Value::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Value, E> {
        self.scalar(0, || Value::Bool(value))
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Value, E> {
        self.scalar(0, || Value::from(value))
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.scalar(0, || Value::from(value)),
            // As of YAML.
            #[expect(clippy::cast_precision_loss, reason = "as Go does")]
            Err(_) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Value, E> {
        let value = float(value).ok_or_else(|| E::custom("not a number"))?;
        self.scalar(0, || value)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Value, E> {
        self.scalar(text.len(), || Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        if matches!(self.keep, Some(Keep::Objects)) {
            return Err(self.stop(Stop::Useless));
        }
        self.open()?;
        if self.is_whole() {
            self.charge(NODE_BYTES)?;
        }
        let keep = self.keep;
        let inner = keep.filter(|keep| matches!(keep, Keep::Whole));
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self.inner(inner))? {
            let item = match keep {
                Some(Keep::Whole) => item,
                Some(Keep::Mappings) if item.is_object() => item,
                Some(Keep::Mappings) => Value::Null,
                _ => continue,
            };
            if inner.is_some() || !items.contains(&item) {
                items.push(item);
            }
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut from: A) -> Result<Value, A::Error> {
        self.open()?;
        if matches!(self.keep, Some(Keep::Whole | Keep::Entries(_))) {
            self.charge(NODE_BYTES + MAP_BYTES)?;
        }
        let keep = self.keep;
        let mut map = Map::new();
        while let Some(key) = from.next_key::<String>()? {
            let counted = count(self.nodes, 1);
            self.bound(counted)?;
            let inner = match keep {
                Some(Keep::Whole) => keep,
                Some(Keep::Entries(entries)) => {
                    entries.iter().find(|(known, _)| *known == key).map(|(_, keep)| keep)
                }
                _ => None,
            };
            let value = from.next_value_seed(self.inner(inner))?;
            if inner.is_some() {
                self.charge(key.len())?;
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}

/// Values within values, in Go.
const MAX_LEVELS: usize = 10_000;

/// The byte behind the JSON value at the beginning, as Go's decoder finds it, which needs nothing between two values; or the
/// byte from which on there is none.
pub(super) fn value_end(bytes: &[u8]) -> Result<usize, usize> {
    let mut open = Vec::new();
    let mut at = 0;
    loop {
        at = blank_end(bytes, at);
        let bracket = bytes.get(at).copied();
        at = match bracket {
            Some(b'{' | b'[') if open.len() == MAX_LEVELS => return Err(at),
            Some(b'{') => {
                open.push(b'}');
                blank_end(bytes, at + 1)
            }
            Some(b'[') => {
                open.push(b']');
                blank_end(bytes, at + 1)
            }
            _ => scalar_end(bytes, at)?,
        };
        let is_begun = matches!(bracket, Some(b'{' | b'['));
        let mut is_over = !is_begun || open.last() == bytes.get(at);
        while is_over {
            match open.last() {
                None => return Ok(at),
                Some(close) => {
                    at = blank_end(bytes, at);
                    match bytes.get(at) {
                        Some(b',') => is_over = false,
                        Some(byte) if byte == close => _ = open.pop(),
                        _ => return Err(at),
                    }
                    at += 1;
                }
            }
        }
        if open.last() == Some(&b'}') {
            at = string_end(bytes, blank_end(bytes, at))?;
            at = blank_end(bytes, at);
            if bytes.get(at) != Some(&b':') {
                return Err(at);
            }
            at += 1;
        }
    }
}

fn blank_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count()
}

fn scalar_end(bytes: &[u8], at: usize) -> Result<usize, usize> {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first() {
        Some(b'"') => string_end(bytes, at),
        Some(b'-' | b'0'..=b'9') => number_end(bytes, at),
        _ => {
            let words: [&[u8]; 3] = [b"true", b"false", b"null"];
            words.iter().find(|word| rest.starts_with(word)).map(|word| at + word.len()).ok_or(at)
        }
    }
}

fn number_end(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    let byte = |at: usize| bytes.get(at).copied();
    let digits_end = |at: usize| {
        let count =
            bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { Err(at) } else { Ok(at + count) }
    };
    if byte(at) == Some(b'-') {
        at += 1;
    }
    at = if byte(at) == Some(b'0') { at + 1 } else { digits_end(at)? };
    if byte(at) == Some(b'.') {
        at = digits_end(at + 1)?;
    }
    if matches!(byte(at), Some(b'e' | b'E')) {
        let is_signed = matches!(byte(at + 1), Some(b'+' | b'-'));
        at = digits_end(at + 1 + usize::from(is_signed))?;
    }
    Ok(at)
}

fn string_end(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    if bytes.get(at) != Some(&b'"') {
        return Err(at);
    }
    loop {
        at += 1;
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => {
                at += 1;
                match bytes.get(at) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') if unit(bytes, at - 1).is_some() => at += 4,
                    _ => return Err(at),
                }
            }
            Some(b' '..) => {}
            _ => return Err(at),
        }
    }
}

/// The unit of UTF-16 that an escape (`\u0041`) at this byte stands for.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

/// The text with a replacement character for each escape that is half a character, as Go reads it.
fn whole_characters(text: &str) -> Cow<'_, str> {
    const HALVES: std::ops::Range<u16> = 0xd800..0xe000;
    if !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let (bytes, mut whole, mut done, mut at) = (text.as_bytes(), String::new(), 0, 0);
    while let Some(ahead) = text[at..].find('\\') {
        at += ahead;
        let half = unit(bytes, at).filter(|unit| HALVES.contains(unit));
        let next = half.and_then(|_| unit(bytes, at + 6));
        at = match (half, next) {
            (None, _) => text.ceil_char_boundary(at + 2),
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => at + 12,
            _ => {
                whole.push_str(&text[done..at]);
                whole.push_str("\\ufffd");
                done = at + 6;
                done
            }
        };
    }
    whole.push_str(&text[done..]);
    Cow::Owned(whole)
}
