//! *Raw* JSON is the text of an object as the API server sends it. Whoever may create the object decides how large it is, and as
//! values it takes up to ninety times its text. So it is cut down as text first, and of what is left values are made.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

pub(crate) use hookhost_helm::snapshot::{Pairs, Text};
use hookhost_helm::text::cut;

/// The entries of a mapping; none if it is none.
pub(crate) fn pairs(json: &RawValue) -> Option<Pairs<'_>> {
    serde_json::from_str(json.get()).ok()
}

/// Gives each entry of a mapping, one after the other: a list of them may take many times their text. Whether it is a mapping.
pub(crate) fn each_entry<'j>(json: &'j RawValue, each: impl FnMut(Cow<'j, str>, &'j RawValue)) -> bool {
    struct Entries<F>(F);
    impl<'j, F: FnMut(Cow<'j, str>, &'j RawValue)> Visitor<'j> for Entries<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping")
        }

        fn visit_map<A: MapAccess<'j>>(mut self, mut from: A) -> Result<(), A::Error> {
            while let Some((Text(key), value)) = from.next_entry()? {
                self.0(key, value);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(json.get()).deserialize_map(Entries(each)).is_ok()
}

/// The same for a list.
pub(crate) fn each_item<'j>(json: &'j RawValue, each: impl FnMut(&'j RawValue)) -> bool {
    struct Items<F>(F);
    impl<'j, F: FnMut(&'j RawValue)> Visitor<'j> for Items<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'j>>(mut self, mut from: A) -> Result<(), A::Error> {
            while let Some(item) = from.next_element()? {
                self.0(item);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(json.get()).deserialize_seq(Items(each)).is_ok()
}

/// How long the text is.
pub(crate) fn bytes(json: &RawValue) -> usize {
    json.get().len()
}

/// A text, number, flag or null as it is; of a list or mapping only that it is one: none may be there.
pub(crate) fn scalar(json: &RawValue) -> Value {
    match json.get().as_bytes().first() {
        Some(b'[') => json!([]),
        Some(b'{') => json!({}),
        _ => serde_json::from_str(json.get()).unwrap_or_default(),
    }
}

/// A mapping of texts, numbers and flags.
pub(crate) fn scalars(json: &RawValue) -> Value {
    match pairs(json) {
        Some(Pairs(pairs)) => pairs
            .into_iter()
            .map(|(key, value)| (key.into_owned(), scalar(value)))
            .collect::<Map<_, _>>()
            .into(),
        None => scalar(json),
    }
}

/// A condition, as far as Kubernetes knows one.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition<'j> {
    #[serde(borrow, rename = "type")]
    type_: Option<Cow<'j, str>>,
    #[serde(borrow)]
    status: Option<Cow<'j, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'j, str>>,
    #[serde(borrow)]
    message: Option<Cow<'j, str>>,
    #[serde(borrow)]
    last_transition_time: Option<Cow<'j, str>>,
    observed_generation: Option<i64>,
}

/// Those of a list of conditions that `is_kept` says by their types and by how many were kept before, each text cut to so many
/// bytes. What is no condition is left out.
pub(crate) fn conditions(
    json: &RawValue,
    longest: usize,
    mut is_kept: impl FnMut(&str, &[Value]) -> bool,
) -> Value {
    let mut kept: Vec<Value> = Vec::new();
    let is_list = each_item(json, |one| {
        let Ok(condition) = serde_json::from_str::<Condition<'_>>(one.get()) else { return };
        let Some(type_) = condition.type_ else { return };
        if !is_kept(&type_, &kept) {
            return;
        }
        let mut one = Map::new();
        one.insert("type".to_owned(), type_.into());
        let texts = [
            ("status", condition.status),
            ("reason", condition.reason),
            ("message", condition.message),
            ("lastTransitionTime", condition.last_transition_time),
        ];
        for (field, text) in texts {
            if let Some(text) = text {
                one.insert(field.to_owned(), cut(&text, longest).into());
            }
        }
        if let Some(generation) = condition.observed_generation {
            one.insert("observedGeneration".to_owned(), generation.into());
        }
        kept.push(one.into());
    });
    if is_list { kept.into() } else { Value::Null }
}

/// The value of a label or annotation, if it is not empty.
pub fn entry<'v>(object: &'v Value, entries: &str, key: &str) -> Option<&'v str> {
    let value = object.get("metadata")?.get(entries)?.get(key)?.as_str()?;
    Some(value).filter(|value| !value.is_empty())
}

/// Bytes of `value` as compact JSON, counted no further than just beyond `most`.
pub fn json_bytes(value: &impl Serialize, most: usize) -> usize {
    struct Counter {
        bytes: usize,
        most: usize,
    }
    impl std::io::Write for Counter {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.bytes = self.bytes.saturating_add(text.len());
            if self.bytes > self.most { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(text.len()) }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter { bytes: 0, most };
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.bytes,
        // Too large, or not JSON at all: either way more than may be passed on.
        Err(_) => counter.bytes.max(most.saturating_add(1)),
    }
}
