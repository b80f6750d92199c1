//! JSON texts, gone through without building anything that is not asked for.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use hookhost_helm::text::is_unprintable;

/// Bytes of a number's text that is read: those of the longest integer are 20.
const NUMBER_BYTES: usize = 32;

/// A text of the JSON, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Word<'j>(#[serde(borrow)] Cow<'j, str>);

/// Hands on each pair of a mapping, or each entry of a list.
struct Each<F>(F);

impl<'j, F: FnMut(&str, &'j RawValue)> Visitor<'j> for Each<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'j>>(mut self, mut from: A) -> Result<(), A::Error> {
        while let Some((Word(key), value)) = from.next_entry()? {
            (self.0)(&key, value);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'j>>(mut self, mut from: A) -> Result<(), A::Error> {
        while let Some(value) = from.next_element()? {
            (self.0)("", value);
        }
        Ok(())
    }
}

/// Hands on each pair of a mapping; none of it is kept meanwhile. Whether it is one.
pub(super) fn each<'j>(json: &'j str, visit: impl FnMut(&str, &'j RawValue)) -> bool {
    json.trim_start().starts_with('{')
        && serde_json::Deserializer::from_str(json).deserialize_map(Each(visit)).is_ok()
}

/// The same of a list.
pub(super) fn each_of_list<'j>(json: &'j RawValue, mut visit: impl FnMut(&'j RawValue)) {
    let json = json.get();
    if json.starts_with('[') {
        // It was found whole as a part of a larger text.
        let _ = serde_json::Deserializer::from_str(json).deserialize_seq(Each(|_: &str, value| visit(value)));
    }
}

/// What `keep` makes of the fields of a mapping; nothing of what is none.
pub(super) fn kept(
    json: &RawValue,
    mut keep: impl FnMut(&str, &RawValue) -> Option<Value>,
) -> Option<Map<String, Value>> {
    let mut kept = Map::new();
    let is_mapping = each(json.get(), |key, value| {
        if let Some(value) = keep(key, value) {
            kept.insert(key.to_owned(), value);
        }
    });
    is_mapping.then_some(kept)
}

fn string(json: &RawValue) -> Option<Cow<'_, str>> {
    let json = json.get();
    let word: Option<Word<'_>> = json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten();
    word.map(|Word(text)| text)
}

/// A text as it is, if it is not longer.
pub(super) fn exact(json: &RawValue, most: usize) -> Option<Value> {
    // JSON has no byte in more than six.
    let text = Some(json).filter(|json| json.get().len() <= 6 * most + 2).and_then(string)?;
    (text.len() <= most).then(|| text.into_owned().into())
}

/// A text's beginning.
pub(super) fn cut(json: &RawValue, most: usize) -> Option<Value> {
    let text = string(json)?;
    Some(text[..text.floor_char_boundary(most)].into())
}

/// The beginning of a text that is shown to people and nothing else. What steers a terminal is shown as a blank, so it is one
/// already: as JSON it would be six times as long.
pub(super) fn shown(json: &RawValue, most: usize) -> Option<Value> {
    let text = string(json)?;
    let text = &text[..text.floor_char_boundary(most)];
    Some(text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect::<String>().into())
}

/// A number or flag.
pub(super) fn plain(json: &RawValue) -> Option<Value> {
    let json = json.get();
    let is_plain = json.len() <= NUMBER_BYTES && !json.starts_with(['"', '[', '{']);
    is_plain.then(|| serde_json::from_str(json).ok()).flatten()
}

/// What a text takes once it is parsed, counted as [`yaml`](hookhost_helm::yaml) does: [`NODE_BYTES`](hookhost_helm::yaml::NODE_BYTES) for each key
/// and value, [`MAP_BYTES`](hookhost_helm::yaml::MAP_BYTES) for each mapping that has any, and its texts.
pub(super) fn cost(json: &str) -> usize {
    use hookhost_helm::yaml::{MAP_BYTES, NODE_BYTES};
    let (mut nodes, mut maps, mut texts) = (1, 0, 0);
    let (mut is_text, mut is_escaped, mut is_new_map) = (false, false, false);
    for byte in json.bytes() {
        if is_text {
            texts += 1;
            is_text = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b'"' => is_text = true,
            b'[' | b',' | b':' => nodes += 1,
            b'{' => nodes += 1,
            _ => {}
        }
        maps += usize::from(is_new_map && byte != b'}');
        is_new_map = byte == b'{';
    }
    nodes * NODE_BYTES + maps * MAP_BYTES + texts
}
