//! The record's JSON. Go wrote it: any field may be missing or null, and Helm 3 writes a time that is not set as "".

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Chart, Record, RecordError, Status};
use crate::limits::{MAX_HOOK_TEXT_BYTES, MAX_HOOK_WORDS, MAX_HOOKS, MAX_MANIFEST_BYTES, MAX_NAME_BYTES};
use crate::record::{LastRun, StoredHook};
use crate::text::printable;

#[derive(Deserialize)]
struct Release {
    #[serde(default, deserialize_with = "or_default")]
    name: Name,
    #[serde(default, deserialize_with = "or_default")]
    info: Info,
    #[serde(default, deserialize_with = "or_default")]
    chart: ReleaseChart,
    #[serde(default, deserialize_with = "hooks")]
    hooks: Vec<StoredHook>,
    #[serde(default, deserialize_with = "or_default")]
    version: u32,
    #[serde(default, deserialize_with = "or_default")]
    namespace: Name,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default, deserialize_with = "time")]
    first_deployed: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    last_deployed: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    deleted: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    status: Short,
}

#[derive(Default, Deserialize)]
struct ReleaseChart {
    #[serde(default, deserialize_with = "or_default")]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default, deserialize_with = "or_default")]
    name: Short,
    #[serde(default, deserialize_with = "or_default")]
    version: Short,
    #[serde(default, deserialize_with = "or_default")]
    app_version: Short,
}

#[derive(Deserialize)]
struct ReleaseHook {
    #[serde(default, deserialize_with = "or_default")]
    name: Short,
    #[serde(default, deserialize_with = "or_default")]
    kind: Short,
    #[serde(default, deserialize_with = "or_default")]
    path: Short,
    #[serde(default, deserialize_with = "or_default")]
    manifest: String,
    #[serde(default, deserialize_with = "words")]
    events: Vec<Short>,
    #[serde(default, deserialize_with = "or_default")]
    last_run: Run,
    #[serde(default, deserialize_with = "or_default")]
    weight: i64,
    #[serde(default, deserialize_with = "words")]
    delete_policies: Vec<Short>,
}

#[derive(Default, Deserialize)]
struct Run {
    #[serde(default, deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    completed_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    phase: Short,
}

/// A text of at most so many bytes.
#[derive(Default)]
struct Text<const MOST: usize>(String);

/// A name, kind or path of a hook or chart.
type Short = Text<MAX_HOOK_TEXT_BYTES>;

/// The name of a release or namespace.
type Name = Text<MAX_NAME_BYTES>;

impl<'de, const MOST: usize> Deserialize<'de> for Text<MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text<MOST>, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() <= MOST {
            return Ok(Text(text));
        }
        Err(D::Error::custom(too_large("bytes of a name, kind, path, event or policy", text.len(), MOST)))
    }
}

/// The record of this JSON. `stored_in` is the namespace of the object that held it, for a record without one.
pub(super) fn read(json: &[u8], stored_in: Option<&str>) -> Result<Record, RecordError> {
    let release: Release = from_slice(json)?;
    let (name, namespace) = (release.name.0, release.namespace.0);
    if name.is_empty() {
        return Err(RecordError::Missing { field: "name", advice: Some("Is it a Helm release at all?") });
    }
    if release.version == 0 {
        return Err(RecordError::Missing { field: "version", advice: Some("Is it a Helm release at all?") });
    }
    let namespace = match stored_in {
        Some(stored_in) if namespace.is_empty() => stored_in.to_owned(),
        _ => namespace,
    };
    if namespace.is_empty() {
        let advice = Some("Give the whole Secret: its own namespace is taken then");
        return Err(RecordError::Missing { field: "namespace", advice });
    }
    let manifests: usize = release.hooks.iter().map(|hook| hook.manifest.len()).sum();
    if manifests > MAX_MANIFEST_BYTES {
        let what = "bytes of hooks' manifests".to_owned();
        return Err(RecordError::TooLarge {
            what,
            found: manifests.to_string(),
            allowed: MAX_MANIFEST_BYTES,
        });
    }
    let Metadata { name: Text(chart), version: Text(version), app_version: Text(app_version) } =
        release.chart.metadata;
    Ok(Record {
        name,
        namespace,
        revision: release.version,
        status: Status::from_word(&release.info.status.0),
        first_deployed: release.info.first_deployed,
        last_deployed: release.info.last_deployed,
        deleted: release.info.deleted,
        chart: Chart {
            name: chart,
            version,
            app_version: Some(app_version).filter(|version| !version.is_empty()),
        },
        stored_hooks: release.hooks,
    })
}

/// Reads JSON. Only once it is found wrong it is read again, keeping track of paths, which costs as much as reading.
pub(super) fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, RecordError> {
    let error = match serde_json::from_slice(json) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if error.is_data() {
        let mut again = serde_json::Deserializer::from_slice(json);
        if let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut again) {
            return Err(wrong_field(&error));
        }
    }
    let (line, column) = (error.line(), error.column());
    let problem = if error.is_eof() { "it ends early" } else { "it is not JSON" };
    Err(RecordError::Json { line, column, problem })
}

/// As [`from_slice`], of JSON that is read already: what was YAML.
pub(super) fn from_value<T: DeserializeOwned>(json: Value) -> Result<T, RecordError> {
    serde_path_to_error::deserialize(json).map_err(|error| wrong_field(&error))
}

/// Which field is wrong and what may be there, without the value that is there: that may be a secret.
fn wrong_field(error: &serde_path_to_error::Error<serde_json::Error>) -> RecordError {
    let text = error.inner().to_string();
    if let Some(error) = too_large_of(&text) {
        return error;
    }
    // "invalid type: FOUND, expected WANTED at line …": what was found may hold anything, so take what follows the last
    // ", expected ", which is ours.
    let wanted = text.rsplit_once(", expected ").map_or("another value", |(_, wanted)| wanted);
    let wanted = wanted.rsplit_once(" at line ").map_or(wanted, |(wanted, _)| wanted);
    let expected = match wanted {
        "a string" => "a text".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i64" => "a whole number".to_owned(),
        of_ours if of_ours.starts_with("struct ") => "a mapping".to_owned(),
        other => other.to_owned(),
    };
    let path = match error.path().to_string() {
        whole if whole == "." => "the whole".to_owned(),
        path => path,
    };
    RecordError::Field { path: printable(&path), expected }
}

/// Null is the same as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// A time; "", null and Go's zero time are none.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: String = or_default(from)?;
    if text.is_empty() || text.starts_with("0001-01-01T00:00:00") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| D::Error::custom("wrong, expected a time as in RFC 3339"))
}

/// How the message of an error begins that says what is too large. No other begins so.
const TOO_LARGE: &str = "too large|";

/// Says what is too large through an error of serde's, which has only a text.
fn too_large(what: &str, found: usize, allowed: usize) -> String {
    format!("{TOO_LARGE}{found}|{allowed}|{what}|")
}

/// What that said.
fn too_large_of(text: &str) -> Option<RecordError> {
    let mut parts = text.strip_prefix(TOO_LARGE)?.split('|');
    let (found, allowed) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    Some(RecordError::TooLarge { what: parts.next()?.to_owned(), found, allowed })
}

/// A list of at most so many entries; null entries do not count.
pub(super) struct Bounded<T> {
    what: &'static str,
    most: usize,
    of: PhantomData<T>,
}

impl<T> Bounded<T> {
    pub(super) fn new(what: &'static str, most: usize) -> Bounded<T> {
        Bounded { what, most, of: PhantomData }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = from.next_element::<Option<T>>()? {
            let Some(entry) = entry else { continue };
            if list.len() == self.most {
                let mut found = list.len() + 1;
                drop(list);
                while let Some(more) = from.next_element::<Option<IgnoredAny>>()? {
                    found += usize::from(more.is_some());
                }
                return Err(A::Error::custom(too_large(self.what, found, self.most)));
            }
            list.push(entry);
        }
        Ok(list)
    }
}

fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Short>, D::Error> {
    from.deserialize_any(Bounded::new("events or policies of a hook", MAX_HOOK_WORDS))
}

fn hooks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<StoredHook>, D::Error> {
    let hooks: Vec<ReleaseHook> = from.deserialize_any(Bounded::new("hooks", MAX_HOOKS))?;
    Ok(hooks.into_iter().map(StoredHook::from).collect())
}

impl From<ReleaseHook> for StoredHook {
    fn from(hook: ReleaseHook) -> StoredHook {
        let Run { started_at, completed_at, phase } = hook.last_run;
        let words = |words: Vec<Short>| words.into_iter().map(|word| word.0).collect();
        StoredHook {
            name: hook.name.0,
            kind: hook.kind.0,
            path: hook.path.0,
            events: words(hook.events),
            // No chart gives weights this large; if one did, they would still sort last or first.
            weight: i32::try_from(hook.weight).unwrap_or(if hook.weight < 0 { i32::MIN } else { i32::MAX }),
            delete_policies: words(hook.delete_policies),
            last_run: LastRun { started_at, completed_at, phase: phase.0 },
            manifest: hook.manifest,
        }
    }
}
