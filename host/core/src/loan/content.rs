//! The *content* of a ConfigMap or Secret is all that a pod can see of it: its keys with what they hold, its type, whether it may
//! change. Metadata are no part of it.
//!
//! Rights are given to the chart's own content only. Whoever may write ConfigMaps in a namespace could else put a script of their
//! own where the chart has one, and have it run with the rights that hookhost gives the hook. So where a run is given something
//! that its namespace's people need not have ([`grants`]), each ConfigMap and Secret of the hook's closure that is in the cluster
//! must have the content that the chart gives it ([`expected`]).
//!
//! Contents are compared by digests that never leave memory, and only keys are told: never what they hold.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Uncovered;
use crate::closure::Member;
use crate::json::{Pairs, each_entry, scalar};
use crate::kind::Kind;
use crate::object::ObjectRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::{list, quote, shortlist};

/// Keys, and objects, that a message names.
const MAX_NAMED: usize = 8;

/// Keys of an object that are read though the chart has none of them. Whoever may create it may give it as many as etcd takes; each
/// makes it another content than the chart's.
const MAX_OTHER_KEYS: usize = 1024;

/// The type that Kubernetes gives a Secret without one.
const OPAQUE: &str = "Opaque";

/// What a key holds: in which of a ConfigMap's two maps, and its digest.
type Held = (Place, [u8; 32]);

/// Which of the two maps of a ConfigMap an entry is in: variables of a container are read from the first only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Data,
    Binary,
}

/// The content of a ConfigMap or Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// A Secret's type.
    type_of: Option<String>,
    is_immutable: bool,
    /// None for what no API server takes: it is the same as nothing.
    entries: BTreeMap<String, Option<Held>>,
}

impl Content {
    /// The content of an object, as a chart writes it or as the API server gives it.
    pub fn of(kind: Kind, object: &Value) -> Content {
        let map = |field: &str| object.get(field).and_then(Value::as_object).into_iter().flat_map(Map::iter);
        let mut entries = BTreeMap::new();
        let mut put = |map: Place, key: &String, bytes: Option<Vec<u8>>| {
            let held = bytes.map(|bytes| (map, Sha256::digest(bytes).into()));
            entries.insert(key.clone(), held);
        };
        if kind == Kind::Secret {
            map("data").for_each(|(key, value)| put(Place::Data, key, decoded(value)));
            // As the API server does: these count more.
            map("stringData").for_each(|(key, value)| put(Place::Data, key, text(value)));
        } else {
            map("data").for_each(|(key, value)| put(Place::Data, key, text(value)));
            map("binaryData").for_each(|(key, value)| put(Place::Binary, key, decoded(value)));
        }
        let type_of = object.get("type").and_then(Value::as_str).filter(|of| !of.is_empty());
        Content {
            type_of: (kind == Kind::Secret).then(|| type_of.unwrap_or(OPAQUE).to_owned()),
            is_immutable: object.get("immutable") == Some(&Value::Bool(true)),
            entries,
        }
    }

    /// The same of the text that the API server has of an object; none if that is not the text of one. Of the keys that are not
    /// `wanted`, no more than [`MAX_OTHER_KEYS`] are kept.
    fn stored(kind: Kind, text: &str, wanted: impl Fn(&str) -> bool) -> Option<Content> {
        let Pairs(top) = serde_json::from_str(text).ok()?;
        let mut content = Content { type_of: None, is_immutable: false, entries: BTreeMap::new() };
        let mut others = 0;
        for (field, value) in top {
            let place = match &*field {
                "type" if kind == Kind::Secret => {
                    content.type_of = scalar(value).as_str().filter(|of| !of.is_empty()).map(str::to_owned);
                    continue;
                }
                "immutable" => {
                    content.is_immutable = scalar(value) == Value::Bool(true);
                    continue;
                }
                "data" => Place::Data,
                "binaryData" if kind != Kind::Secret => Place::Binary,
                _ => continue,
            };
            let is_base64 = kind == Kind::Secret || place == Place::Binary;
            each_entry(value, |key, value| {
                if !wanted(&key) {
                    others += 1;
                    if others > MAX_OTHER_KEYS {
                        return;
                    }
                }
                let value = scalar(value);
                let bytes = if is_base64 { decoded(&value) } else { self::text(&value) };
                let held = bytes.map(|bytes| (place, Sha256::digest(bytes).into()));
                content.entries.insert(key.into_owned(), held);
            });
        }
        if kind == Kind::Secret {
            content.type_of.get_or_insert_with(|| OPAQUE.to_owned());
        }
        Some(content)
    }

    /// In what another content differs from this one: its keys, then its fields; empty where it is the same.
    fn differences(&self, other: &Content) -> Vec<String> {
        let keys: BTreeSet<&String> = self.entries.keys().chain(other.entries.keys()).collect();
        let is_same = |key: &String| matches!((self.entries.get(key), other.entries.get(key)), (Some(Some(a)), Some(Some(b))) if a == b);
        let differing =
            keys.into_iter().filter(|key| !is_same(key)).map(|key| format!("the key {}", quote(key)));
        let mut all: Vec<String> = differing.collect();
        all.extend((self.type_of != other.type_of).then(|| "its type".to_owned()));
        all.extend((self.is_immutable != other.is_immutable).then(|| "whether it is immutable".to_owned()));
        all
    }
}

/// Names the keys; a digest would let whoever reads it try out what a Secret may hold.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content").field("keys", &self.entries.keys()).finish_non_exhaustive()
    }
}

/// A text as Kubernetes reads it: a null is an empty one.
fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(text.clone().into_bytes()),
        _ => None,
    }
}

/// Bytes that are written in base64. Go's reader, by which Kubernetes reads them, passes over line ends.
fn decoded(value: &Value) -> Option<Vec<u8>> {
    let mut base64 = text(value)?;
    base64.retain(|byte| !matches!(byte, b'\r' | b'\n'));
    STANDARD.decode(base64).ok()
}

/// Whether a run that is given these gets something by hookhost that whoever may write ConfigMaps and Operations in its namespace
/// need not have: a role, an account that may have one already, what a Secret holds, a way through the network.
pub fn grants(created: &[ObjectRef]) -> bool {
    created.iter().any(|object| is_trusted(object.kind))
}

fn is_trusted(kind: Kind) -> bool {
    kind.opens() || matches!(kind, Kind::ServiceAccount | Kind::Secret)
}

/// What a ConfigMap or Secret has to be, where it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which object.
    pub object: ObjectRef,
    /// The chart may have it once for each event: any of these is its own.
    versions: Vec<Content>,
}

/// The ConfigMaps and Secrets of a whole closure, of a release in `namespace`, with the contents that the chart gives them, for a run
/// that is given what hookhost has `created`; nothing where it is given nothing that counts.
pub fn expected(
    closure: &[Member<'_>],
    created: &[ObjectRef],
    namespace: &str,
    uncovered: Uncovered,
) -> Vec<Expected> {
    if !grants(created) {
        return Vec::new();
    }
    let is_only_covered = match uncovered {
        Uncovered::None => true,
        Uncovered::WithoutRights => created.iter().any(|object| object.kind.opens()),
        Uncovered::All => false,
    };
    let mut all: BTreeMap<ObjectRef, Vec<Content>> = BTreeMap::new();
    let has_content = |one: &&Member<'_>| matches!(one.kind, Kind::ConfigMap | Kind::Secret);
    for member in closure.iter().filter(has_content).filter(|one| one.namespace == namespace) {
        let versions = all.entry(ObjectRef::of(member)).or_default();
        if !is_only_covered || member.hook.is_covered() {
            versions.push(Content::of(member.kind, &member.hook.manifest));
        }
    }
    all.into_iter().map(|(object, versions)| Expected { object, versions }).collect()
}

/// An object that is not what the chart has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    object: ObjectRef,
    /// In what it differs; empty where nothing tells what the chart has.
    differences: Vec<String>,
}

impl Expected {
    /// How the object that is there differs from what it has to be, if it does, by the text that the API server has of it. What is no
    /// object's text differs in all.
    pub fn mismatch(&self, there: &str) -> Option<Mismatch> {
        let is_wanted = |key: &str| self.versions.iter().any(|version| version.entries.contains_key(key));
        let there = Content::stored(self.object.kind, there, is_wanted);
        let there = there.unwrap_or(Content { type_of: None, is_immutable: true, entries: BTreeMap::new() });
        let each = self.versions.iter().map(|version| version.differences(&there));
        // Of several versions the one is told that it is next to.
        let nearest = each.min_by_key(Vec::len);
        match nearest {
            Some(differences) if differences.is_empty() => None,
            nearest => {
                Some(Mismatch { object: self.object.clone(), differences: nearest.unwrap_or_default() })
            }
        }
    }
}

impl Expected {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let entries = self.versions.iter().flat_map(|version| version.entries.keys());
        // A key with its digest, in a tree that is half full.
        let keys: usize = entries.map(|key| key.len() + 2 * size_of::<(String, Option<Held>)>()).sum();
        let ObjectRef { namespace, name, .. } = &self.object;
        size_of::<Expected>()
            + namespace.len()
            + name.len()
            + self.versions.len() * size_of::<Content>()
            + keys
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.differences.is_empty() {
            return write!(f, "the {} is a test hook, which Flux's digest does not cover", self.object);
        }
        let differences = shortlist(self.differences.iter().cloned(), MAX_NAMED);
        write!(f, "the {} differs from the chart's in {differences}", self.object)
    }
}

/// Refuses a run of which some objects are not what the chart has; nothing where all are.
pub fn refuse_mismatches(mismatches: &[Mismatch], created: &[ObjectRef]) -> Option<Refusal> {
    if mismatches.is_empty() {
        return None;
    }
    let granted = created.iter().filter(|object| is_trusted(object.kind));
    let granted: Vec<String> = granted.take(MAX_NAMED).map(ObjectRef::to_string).collect();
    let message = format!(
        "hookhost creates for this run what gives its pod more than others in the namespace need have ({}), and gives that to the \
         chart's own content only, but {}. Delete what is not the chart's, so that the chart's is created for the run; or let a \
         HookPolicy allow it (spec.closureExisting: Allow)",
        list(&granted),
        shortlist(mismatches.iter().map(ToString::to_string), MAX_NAMED)
    );
    Some(Refusal::fail(Reason::ClosureRefused, message))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn differences(kind: Kind, chart: &Value, there: &Value) -> Vec<String> {
        let chart_has = Content::of(kind, chart);
        let stored = Content::stored(kind, &there.to_string(), |_| true).unwrap();
        let differences = chart_has.differences(&stored);
        // An API server keeps no stringData.
        if there.get("stringData").is_none() {
            assert_eq!(stored, Content::of(kind, there), "{there}");
        }
        assert_eq!(
            differences.is_empty(),
            Content::of(kind, there).differences(&Content::of(kind, chart)).is_empty()
        );
        differences
    }

    #[test]
    fn what_kubernetes_reads_alike_is_the_same_content() {
        let same = |kind, chart: Value, there: Value| {
            assert_eq!(differences(kind, &chart, &there), [""; 0], "{chart} {there}");
        };
        // As a chart writes it, and as the API server gives it back.
        same(
            Kind::Secret,
            json!({"stringData": {"a": "1"}, "data": {"a": "Mg==", "b": "MzM\nz"}}),
            json!({"type": "Opaque", "data": {"a": "MQ==", "b": "MzMz"}, "metadata": {"uid": "x"}}),
        );
        same(
            Kind::ConfigMap,
            json!({"data": {"a": "1", "empty": null}, "binaryData": {"b": "AA=="}, "metadata": {"labels": {"a": "b"}}}),
            json!({"data": {"a": "1", "empty": ""}, "binaryData": {"b": "AA=="}, "immutable": false}),
        );
        same(Kind::ConfigMap, json!({"data": {}}), json!({}));
    }

    #[test]
    fn any_other_content_is_named_by_its_keys_and_fields() {
        let chart = json!({"data": {"run.sh": "echo chart", "other": "1"}});
        let of = |there: Value| differences(Kind::ConfigMap, &chart, &there);
        assert_eq!(of(json!({"data": {"run.sh": "echo mine", "other": "1"}})), ["the key \"run.sh\""]);
        assert_eq!(of(json!({"data": {"run.sh": "echo chart"}})), ["the key \"other\""]);
        let more = json!({"data": {"run.sh": "echo chart", "other": "1", "BASH_ENV": "/x"}});
        assert_eq!(
            of(more),
            ["the key \"BASH_ENV\""],
            "an added key is a variable, or a file, that the chart has not"
        );
        let moved = json!({"data": {"run.sh": "echo chart"}, "binaryData": {"other": "MQ=="}});
        assert_eq!(of(moved), ["the key \"other\""]);
        let frozen = json!({"data": {"run.sh": "echo chart", "other": "1"}, "immutable": true});
        assert_eq!(of(frozen), ["whether it is immutable"]);

        let secret = |there: Value| differences(Kind::Secret, &json!({"data": {"a": "MQ=="}}), &there);
        assert_eq!(secret(json!({"type": "kubernetes.io/tls", "data": {"a": "MQ=="}})), ["its type"]);
        assert_eq!(secret(json!({"type": "Opaque", "data": {"a": "Mg=="}})), ["the key \"a\""]);
    }

    #[test]
    fn an_object_of_any_number_of_keys_differs_and_few_of_them_are_kept() {
        let many: Map<String, Value> = (0..100_000).map(|n| (format!("k{n}"), "".into())).collect();
        let mut there = json!({"data": many});
        there["data"]["run.sh"] = json!("echo chart");
        let there = Content::stored(Kind::ConfigMap, &there.to_string(), |key| key == "run.sh").unwrap();
        assert_eq!(there.entries.len(), MAX_OTHER_KEYS + 1);
        let chart = Content::of(Kind::ConfigMap, &json!({"data": {"run.sh": "echo chart"}}));
        let differences = chart.differences(&there);
        assert_eq!(differences.len(), MAX_OTHER_KEYS);
        assert!(!differences.contains(&"the key \"run.sh\"".to_owned()));
    }

    #[test]
    fn what_no_api_server_takes_is_the_same_as_nothing() {
        let broken = json!({"data": {"a": 1}});
        assert_eq!(differences(Kind::ConfigMap, &broken, &broken), ["the key \"a\""]);
        let broken = json!({"data": {"a": "not base64"}});
        assert_eq!(differences(Kind::Secret, &broken, &broken), ["the key \"a\""]);
    }

    #[test]
    fn debug_output_has_no_digest() {
        let text = format!("{:?}", Content::of(Kind::Secret, &json!({"stringData": {"password": "pw"}})));
        assert_eq!(text, "Content { keys: [\"password\"], .. }");
    }

    proptest! {
        #[test]
        fn a_secret_is_the_same_by_text_and_by_base64_and_no_changed_byte_goes_unseen(
            bytes in "[ -~]{0,40}", other in "[ -~]{0,40}"
        ) {
            let chart = json!({"stringData": {"k": bytes}});
            let there = |text: &str| json!({"data": {"k": STANDARD.encode(text)}});
            prop_assert!(differences(Kind::Secret, &chart, &there(&bytes)).is_empty());
            prop_assert_eq!(differences(Kind::Secret, &chart, &there(&other)).is_empty(), bytes == other);
        }
    }
}
