//! The digest itself: the record's own tokens in the order of Flux's type `Observation` (helm-controller,
//! internal/release/observation.go and digest.go).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::limits::{MAX_HOOK_WORDS, MAX_HOOKS};
use crate::text::{hex, quote};

/// Keys of an object that is written anew. Helm writes nine at most; each of millions would take many times its text.
const MAX_PAIRS: usize = 64;

/// The event whose hooks Flux leaves out.
pub(crate) const TEST: &str = "test";

/// Why a record has no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It is not JSON of a record's shape.
    #[error("its JSON is not a release's: {what} is expected at {path}")]
    Shape {
        /// Where.
        path: &'static str,
        /// What should be there.
        what: &'static str,
    },
    /// A key that different programs read differently: Helm takes the last of two, and takes "Hooks" for "hooks".
    #[error("it has the key {} {why}, which Helm never writes, so that not every program reads the same in it", quote(.key))]
    Key {
        /// The key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a digest, so Flux did not write it.
    #[error("the ociDigest of the HelmRelease's history, {}, is no digest", quote(.found))]
    OciDigest {
        /// What is there.
        found: String,
    },
}

/// How a record's text writes the times that are not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// As it stands.
    AsWritten,
    /// Left out: as Helm 4 writes them, where the record has Helm 3's empty texts.
    LeftOut,
}

/// The digest of the record in `json`, "sha256:…", as Flux computes it when Helm of the same major version wrote the record.
/// `oci_digest` is what the snapshot says of the chart's artifact.
///
/// # Errors
/// If it is not a record, or one that programs may read differently.
pub fn digest(json: &[u8], oci_digest: Option<&str>) -> Result<String, DigestError> {
    digest_with(json, oci_digest, Unset::AsWritten)
}

pub(super) fn digest_with(
    json: &[u8],
    oci_digest: Option<&str>,
    unset: Unset,
) -> Result<String, DigestError> {
    const KEYS: [&str; 8] = ["name", "version", "info", "chart", "config", "manifest", "hooks", "namespace"];
    let json = std::str::from_utf8(json).map_err(|_| shape("the top", "UTF-8 text"))?;
    let [name, version, info, chart, config, manifest, hooks, namespace] = members(json, "the top", KEYS)?;
    let [metadata] = match chart {
        Some(chart) => members(chart, "chart", ["metadata"])?,
        None => [None],
    };
    // Go writes an empty map, like an absent one, as null here.
    let config = config.filter(|config| *config != "{}");
    let oci_digest = oci_digest.filter(|digest| !digest.is_empty());
    if let Some(found) = oci_digest.filter(|digest| !is_plain(digest)) {
        return Err(DigestError::OciDigest { found: found.to_owned() });
    }

    let mut sha = Sha256::new();
    let mut field = |key: &str, value: &str| {
        sha.update(key);
        sha.update(value);
    };
    field("{\"name\":", name.unwrap_or("\"\""));
    field(",\"version\":", version.unwrap_or("0"));
    field(",\"info\":", &unset.info(info.unwrap_or("{}"))?);
    field(",\"chartMetadata\":", metadata.unwrap_or("{}"));
    field(",\"config\":", config.unwrap_or("null"));
    field(",\"manifest\":", manifest.unwrap_or("\"\""));
    field(",\"hooks\":", "");
    let mut separator = "[";
    for hook in covered(hooks)? {
        field(separator, &unset.hook(hook)?);
        separator = ",";
    }
    field(if separator == "[" { "null" } else { "]" }, "");
    field(",\"namespace\":", namespace.unwrap_or("\"\""));
    if let Some(digest) = oci_digest {
        field(",\"ociDigest\":\"", digest);
        field("\"", "");
    }
    field("}\n", "");
    Ok(format!("sha256:{}", hex(sha.finalize())))
}

impl Unset {
    fn info(self, info: &str) -> Result<Cow<'_, str>, DigestError> {
        match self {
            Unset::AsWritten => Ok(Cow::Borrowed(info)),
            Unset::LeftOut => rewritten(info, "info", |key, value| Ok(set(&INFO_TIMES, key, value))),
        }
    }

    fn hook(self, hook: &str) -> Result<Cow<'_, str>, DigestError> {
        match self {
            Unset::AsWritten => Ok(Cow::Borrowed(hook)),
            Unset::LeftOut => rewritten(hook, "hooks", |key, value| match key {
                "last_run" => {
                    rewritten(value, "hooks[].last_run", |key, value| Ok(set(&RUN_TIMES, key, value)))
                        .map(Some)
                }
                _ => Ok(Some(Cow::Borrowed(value))),
            }),
        }
    }
}

/// The times of a record's `info`, and of a hook's `last_run`.
const INFO_TIMES: [&str; 3] = ["first_deployed", "last_deployed", "deleted"];
const RUN_TIMES: [&str; 2] = ["started_at", "completed_at"];

/// The value, but none for a time that is not set.
fn set<'j>(times: &[&str], key: &str, value: &'j str) -> Option<Cow<'j, str>> {
    (value != "\"\"" || !times.contains(&key)).then_some(Cow::Borrowed(value))
}

/// A JSON object with each value made another, or left out.
fn rewritten<'j>(
    json: &'j str,
    path: &'static str,
    value: impl Fn(&str, &'j str) -> Result<Option<Cow<'j, str>>, DigestError>,
) -> Result<Cow<'j, str>, DigestError> {
    let pairs = serde_json::Deserializer::from_str(json).deserialize_map(AtMost(MAX_PAIRS));
    let mut text = String::with_capacity(json.len());
    for (key, old) in pairs.map_err(|_| shape(path, "a mapping"))?.0 {
        if let Some(new) = value(&key, old.get())? {
            text.push(if text.is_empty() { '{' } else { ',' });
            // Helm's keys have nothing to escape; another one makes another digest, as it should.
            text.extend(["\"", &*key, "\":", &*new]);
        }
    }
    text.push_str(if text.is_empty() { "{}" } else { "}" });
    Ok(Cow::Owned(text))
}

/// Whether there is no blank outside of texts, as in all that Go's encoder writes.
pub(super) fn is_compact(json: &[u8]) -> bool {
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b' ' | b'\t' | b'\r' | b'\n' if !in_text => return false,
            _ => {}
        }
    }
    true
}

/// The hooks that Flux hashes: all but those of the event `test`.
fn covered(hooks: Option<&str>) -> Result<Vec<&str>, DigestError> {
    let Some(hooks) = hooks else { return Ok(Vec::new()) };
    let hooks: Few<&RawValue, MAX_HOOKS> =
        serde_json::from_str(hooks).map_err(|_| shape("hooks", "a list"))?;
    let Few(hooks) = hooks;
    let mut covered = Vec::with_capacity(hooks.len());
    for hook in hooks.into_iter().map(RawValue::get) {
        let events = match members(hook, "hooks", ["events"])? {
            [Some(events)] => serde_json::from_str::<Few<Option<Text<'_>>, MAX_HOOK_WORDS>>(events)
                .map_err(|_| shape("hooks[].events", "a list of texts"))?,
            [None] => Few(Vec::new()),
        };
        if !events.0.iter().flatten().any(|event| event.0 == TEST) {
            covered.push(hook);
        }
    }
    Ok(covered)
}

/// What is written as it is in Go's JSON, HTML escapes included.
fn is_plain(digest: &str) -> bool {
    digest.len() <= 256 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || b":+-_.".contains(&b))
}

fn shape(path: &'static str, what: &'static str) -> DigestError {
    DigestError::Shape { path, what }
}

/// A text of the JSON, borrowed where it has no escapes.
#[derive(Deserialize)]
pub struct Text<'j>(#[serde(borrow)] pub Cow<'j, str>);

/// The keys and values of a JSON object, in their order.
pub struct Pairs<'j>(pub Vec<(Cow<'j, str>, &'j RawValue)>);

impl<'j> Deserialize<'j> for Pairs<'j> {
    fn deserialize<D: Deserializer<'j>>(from: D) -> Result<Pairs<'j>, D::Error> {
        from.deserialize_map(AtMost(usize::MAX))
    }
}

/// At most so many pairs.
struct AtMost(usize);

impl<'j> Visitor<'j> for AtMost {
    type Value = Pairs<'j>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut from: A) -> Result<Pairs<'j>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Text(key), value)) = from.next_entry()? {
            if pairs.len() == self.0 {
                return Err(A::Error::custom("too many"));
            }
            pairs.push((key, value));
        }
        Ok(Pairs(pairs))
    }
}

/// A list of at most so many entries: each of millions of nulls would take several times its text.
struct Few<T, const MOST: usize>(Vec<T>);

impl<'j, T: Deserialize<'j>, const MOST: usize> Deserialize<'j> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'j>>(from: D) -> Result<Few<T, MOST>, D::Error> {
        struct All<T, const MOST: usize>(PhantomData<T>);
        impl<'j, T: Deserialize<'j>, const MOST: usize> Visitor<'j> for All<T, MOST> {
            type Value = Few<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a short list")
            }

            fn visit_seq<A: SeqAccess<'j>>(self, mut from: A) -> Result<Few<T, MOST>, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = from.next_element()? {
                    if list.len() == MOST {
                        return Err(A::Error::custom("too many"));
                    }
                    list.push(entry);
                }
                Ok(Few(list))
            }
        }
        from.deserialize_seq(All(PhantomData))
    }
}

/// The values of these keys in a JSON object, as they stand in it; null is the same as absent. Other keys are passed over.
///
/// # Errors
/// If it is not an object, or Go could take another value for one of these keys than is given here.
fn members<'j, const N: usize>(
    json: &'j str,
    path: &'static str,
    keys: [&'static str; N],
) -> Result<[Option<&'j str>; N], DigestError> {
    let mut from = serde_json::Deserializer::from_str(json);
    let found = Members { keys }.deserialize(&mut from).and_then(|found| from.end().map(|()| found));
    found.map_err(|_| shape(path, "a mapping"))?
}

struct Members<const N: usize> {
    keys: [&'static str; N],
}

impl<'j, const N: usize> DeserializeSeed<'j> for Members<N> {
    type Value = Result<[Option<&'j str>; N], DigestError>;

    fn deserialize<D: Deserializer<'j>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'j, const N: usize> Visitor<'j> for Members<N> {
    type Value = Result<[Option<&'j str>; N], DigestError>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut found: [Option<&RawValue>; N] = [None; N];
        let mut problem = None;
        while let Some(Text(key)) = from.next_key()? {
            let Some(n) = self.keys.iter().position(|known| is_same_to_go(&key, known)) else {
                from.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = from.next_value()?;
            let why = if key != self.keys[n] { "in another spelling" } else { "twice" };
            if found[n].replace(value).is_some() || key != self.keys[n] {
                problem.get_or_insert(DigestError::Key { key: key.into_owned(), why });
            }
        }
        let found = found.map(|value| value.map(RawValue::get).filter(|value| *value != "null"));
        Ok(problem.map_or(Ok(found), Err))
    }
}

/// Whether Go's decoder takes the key for the known one, which is in lower case: it folds case as Unicode does, by which
/// two letters beyond ASCII are an s and a k.
fn is_same_to_go(key: &str, known: &str) -> bool {
    let folded = key.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(known.chars())
}
