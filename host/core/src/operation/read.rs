//! Reading an Operation: every field is looked at, and every problem is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    API_VERSION, Approvals, ENGINE, KIND, Operation, OperationError, OperationType, Parameters, Problem,
    TargetRef, limits,
};
use crate::json;
use crate::wait;
use hookhost_helm::hook::canonical_event;
use hookhost_helm::name;
use hookhost_helm::text::quote;
use hookhost_helm::workload::Numbers;

/// kubectl's copy of the whole object: it would only make every request twice as large.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What labels and annotations are called together.
pub(super) const METADATA: &str = "metadata.labels and metadata.annotations";

const SPEC_FIELDS: [&str; 5] = ["targetRef", "type", "engine", "parameters", "approvals"];
const TARGET_FIELDS: [&str; 3] = ["apiVersion", "kind", "name"];
const APPROVAL_FIELDS: [&str; 4] = ["required", "claim", "approvedBy", "approvedAt"];
const PARAMETERS: [&str; 11] = [
    "hookName",
    "hookKind",
    "hookPath",
    "hookNamespace",
    "event",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "waitForHook",
    "closure",
    "waitTimeout",
];
/// Helm's events, with the old spelling of "test" that charts still use.
const EVENTS: [&str; 10] = [
    "pre-install",
    "post-install",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "pre-delete",
    "post-delete",
    "test",
    "test-success",
];

pub(super) fn operation(value: Value) -> Result<Operation, OperationError> {
    let mut reader = Reader::default();
    let Value::Object(mut top) = value else {
        reader.wrong("", &value, "a mapping with apiVersion, kind, metadata and spec");
        return Err(reader.into_error());
    };
    reader.constant(&top, "apiVersion", API_VERSION);
    reader.constant(&top, "kind", KIND);
    let metadata = reader.mapping(&mut top, "", "metadata", true);
    let mut spec = reader.mapping(&mut top, "", "spec", true);

    let name = reader.name(&metadata, "name", true, name::is_dns_subdomain, name::DNS_SUBDOMAIN_RULE);
    let namespace = reader.name(&metadata, "namespace", false, name::is_dns_label, name::DNS_LABEL_RULE);
    let uid = reader.name(&metadata, "uid", false, name::is_label_value, name::LABEL_VALUE_RULE);
    let (labels, annotations) =
        reader.labels_and_annotations(metadata.get("labels"), metadata.get("annotations"));
    let created = reader.timestamp(&metadata, "metadata", "creationTimestamp");

    reader.constant_at(&spec, "spec", "engine", ENGINE);
    let type_of = reader.type_of(&spec);
    let target = reader.mapping(&mut spec, "spec", "targetRef", true);
    let target_ref = TargetRef {
        api_version: reader.required_text(&target, "spec.targetRef", "apiVersion"),
        kind: reader.required_text(&target, "spec.targetRef", "kind"),
        name: reader.required_text(&target, "spec.targetRef", "name"),
    };
    let raw_parameters = reader.mapping(&mut spec, "spec", "parameters", true);
    let parameters = reader.parameters(&raw_parameters);
    let approvals = reader.mapping(&mut spec, "spec", "approvals", false);
    let unknown = [
        unknown("spec", &spec, &SPEC_FIELDS),
        unknown("spec.targetRef", &target, &TARGET_FIELDS),
        unknown("spec.approvals", &approvals, &APPROVAL_FIELDS),
    ]
    .concat();
    let approvals = Approvals {
        required: reader.flag(&approvals, "spec.approvals", "required"),
        claim: reader.text(&approvals, "spec.approvals", "claim"),
        approved_by: reader.text(&approvals, "spec.approvals", "approvedBy"),
        approved_at: reader.timestamp(&approvals, "spec.approvals", "approvedAt"),
    };

    match (name, type_of) {
        (Some(name), Some(type_of)) if reader.problems.is_empty() => Ok(Operation {
            name,
            namespace,
            uid: uid.filter(|uid| !uid.is_empty()),
            labels,
            annotations,
            created,
            target_ref,
            type_of,
            parameters,
            raw_parameters,
            approvals,
            unknown,
        }),
        _ => Err(reader.into_error()),
    }
}

/// Paths of the fields of `map` that are not `known`, at most [`limits::PROBLEMS`].
fn unknown(base: &str, map: &Map<String, Value>, known: &[&str]) -> Vec<String> {
    map.keys()
        .filter(|key| !known.contains(&key.as_str()))
        .take(limits::PROBLEMS)
        .map(|key| format!("{base}.{}{}", plain(key), did_you_mean(key, known)))
        .collect()
}

/// `key` as it stands in a path: quoted where it could be mistaken.
fn plain(key: &str) -> String {
    let simple = !key.is_empty()
        && key.len() <= 63
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if simple { key.to_owned() } else { quote(key) }
}

/// " (did you mean x?)" if `word` is near one of the `known` words, else nothing.
fn did_you_mean(word: &str, known: &[&str]) -> String {
    // A word longer than any known one by this much is no misspelling, and comparing it would only cost time.
    const LONGEST: usize = 63;
    if word.len() > LONGEST {
        return String::new();
    }
    let lower = word.to_ascii_lowercase();
    let nearest = known
        .iter()
        .map(|other| (strsim::jaro_winkler(&lower, &other.to_ascii_lowercase()), other))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    nearest.map(|(_, other)| format!(" (did you mean {other}?)")).unwrap_or_default()
}

/// What a value is, in a few words.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn join(base: &str, key: &str) -> String {
    if base.is_empty() { key.to_owned() } else { format!("{base}.{key}") }
}

/// A field that is there: Kubernetes takes an explicit null for an absent field.
fn get<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// Collects what is wrong.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
    more: usize,
    is_too_large: bool,
}

impl Reader {
    fn into_error(self) -> OperationError {
        OperationError { problems: self.problems, more: self.more, is_too_large: self.is_too_large }
    }

    fn problem(&mut self, path: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) {
        if self.problems.len() == limits::PROBLEMS {
            self.more += 1;
        } else {
            self.problems.push(Problem { path: path.into(), found: found.into(), expected: expected.into() });
        }
    }

    fn wrong(&mut self, path: &str, found: &Value, expected: &str) {
        let path = if path.is_empty() { "the document" } else { path };
        self.problem(path, describe(found), expected);
    }

    fn too_large(&mut self, path: &str, found: usize, allowed: usize) {
        self.is_too_large = true;
        self.problem(path, format!("{found} bytes"), format!("at most {allowed} bytes"));
    }

    fn missing(&mut self, path: &str, expected: &str) {
        self.problem(path, "nothing", expected);
    }

    fn constant(&mut self, map: &Map<String, Value>, key: &str, expected: &str) {
        self.constant_at(map, "", key, expected);
    }

    fn constant_at(&mut self, map: &Map<String, Value>, base: &str, key: &str, expected: &str) {
        match get(map, key) {
            Some(Value::String(found)) if found == expected => {}
            found => self.wrong(&join(base, key), found.unwrap_or(&Value::Null), &quote(expected)),
        }
    }

    /// Takes the mapping out of `map`, so that it is not copied; an empty one where there is none.
    fn mapping(
        &mut self,
        map: &mut Map<String, Value>,
        base: &str,
        key: &str,
        required: bool,
    ) -> Map<String, Value> {
        // The key stays: it is still looked at when unknown fields are sought.
        match map.get_mut(key).map(Value::take) {
            Some(Value::Object(inner)) => return inner,
            None | Some(Value::Null) if !required => {}
            found => self.wrong(&join(base, key), &found.unwrap_or_default(), "a mapping"),
        }
        Map::new()
    }

    fn text(&mut self, map: &Map<String, Value>, base: &str, key: &str) -> Option<String> {
        match get(map, key)? {
            Value::String(text) if text.len() <= limits::TEXT_BYTES => Some(text.clone()),
            Value::String(text) => {
                self.problem(join(base, key), format!("{} bytes", text.len()), "at most 4096 bytes");
                None
            }
            other => {
                self.wrong(&join(base, key), other, "a text");
                None
            }
        }
    }

    fn required_text(&mut self, map: &Map<String, Value>, base: &str, key: &str) -> String {
        if get(map, key).is_none_or(|value| value.as_str() == Some("")) {
            self.missing(&join(base, key), "a text");
        }
        self.text(map, base, key).unwrap_or_default()
    }

    fn name(
        &mut self,
        metadata: &Map<String, Value>,
        key: &str,
        required: bool,
        rule: fn(&str) -> bool,
        expected: &str,
    ) -> Option<String> {
        match get(metadata, key) {
            Some(Value::String(text)) if rule(text) => return Some(text.clone()),
            None if !required => {}
            None if metadata.contains_key("generateName") => self.problem(
                "metadata.name",
                "only generateName",
                "a name: the Job is named after the Operation, so the name must be known",
            ),
            found => self.wrong(&join("metadata", key), found.unwrap_or(&Value::Null), expected),
        }
        None
    }

    fn flag(&mut self, map: &Map<String, Value>, base: &str, key: &str) -> bool {
        match get(map, key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.wrong(&join(base, key), other, "true or false");
                false
            }
        }
    }

    fn number(&mut self, map: &Map<String, Value>, key: &str) -> Option<i32> {
        let value = get(map, key)?;
        let number =
            value.as_i64().and_then(|number| i32::try_from(number).ok()).filter(|number| *number >= 0);
        if number.is_none() {
            let path = join("spec.parameters", key);
            let expected = match value {
                Value::String(text) if text.parse::<i32>().is_ok() => "a whole number, without quotes",
                _ => "a whole number from 0 to 2147483647",
            };
            self.wrong(&path, value, expected);
        }
        number
    }

    fn wait_timeout(&mut self, map: &Map<String, Value>) -> Option<Duration> {
        const KEY: &str = "waitTimeout";
        let value = get(map, KEY)?;
        let timeout = match value {
            Value::String(text) => wait::parse_timeout(text),
            Value::Number(seconds) => wait::parse_timeout(&seconds.to_string()),
            _ => Err(String::new()),
        };
        if timeout.is_err() {
            let expected = "a time from 1s to 365d such as 30m, 12h or 7d, or a number of seconds";
            self.wrong(&join("spec.parameters", KEY), value, expected);
        }
        timeout.ok()
    }

    fn timestamp(&mut self, map: &Map<String, Value>, base: &str, key: &str) -> Option<Timestamp> {
        let value = get(map, key)?;
        let time = value.as_str().and_then(|text| text.parse().ok());
        if time.is_none() {
            self.wrong(&join(base, key), value, "a time as in 2026-05-28T14:00:00Z");
        }
        time
    }

    fn type_of(&mut self, spec: &Map<String, Value>) -> Option<OperationType> {
        let found = get(spec, "type").unwrap_or(&Value::Null);
        let type_of = found.as_str().and_then(|word| word.parse().ok());
        if type_of.is_none() {
            let words = OperationType::NAMES;
            let hint = found.as_str().map(|word| did_you_mean(word, words)).unwrap_or_default();
            self.wrong("spec.type", found, &format!("one of {}{hint}", words.join(", ")));
        }
        type_of
    }

    /// Labels and annotations. They are measured together: policies are given both.
    fn labels_and_annotations(
        &mut self,
        labels: Option<&Value>,
        annotations: Option<&Value>,
    ) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
        let bytes = |entries: Option<&Value>| -> usize {
            let entries = entries.and_then(Value::as_object).into_iter().flatten();
            let entries = entries.filter(|(key, _)| *key != LAST_APPLIED);
            entries.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
        };
        let found = bytes(labels) + bytes(annotations);
        if found > limits::METADATA_BYTES {
            self.too_large(METADATA, found, limits::METADATA_BYTES);
            return Default::default();
        }
        let labels = self.entries(labels, "metadata.labels");
        for (key, value) in &labels {
            if !name::is_label_value(value) {
                self.problem(
                    format!("metadata.labels[{}]", quote(key)),
                    quote(value),
                    name::LABEL_VALUE_RULE,
                );
            }
        }
        let mut annotations = self.entries(annotations, "metadata.annotations");
        annotations.remove(LAST_APPLIED);
        (labels, annotations)
    }

    fn entries(&mut self, entries: Option<&Value>, path: &str) -> BTreeMap<String, String> {
        let map = match entries {
            None | Some(Value::Null) => return BTreeMap::new(),
            Some(Value::Object(map)) => map,
            Some(other) => {
                self.wrong(path, other, "a mapping from text to text");
                return BTreeMap::new();
            }
        };
        let mut entries = BTreeMap::new();
        for (key, value) in map {
            if !name::is_label_key(key) {
                self.problem(path, quote(key), name::LABEL_KEY_RULE);
            }
            match value {
                Value::String(text) => _ = entries.insert(key.clone(), text.clone()),
                // Kubernetes reads a null in a mapping of texts as the empty text.
                Value::Null => _ = entries.insert(key.clone(), String::new()),
                other => self.wrong(&format!("{path}[{}]", quote(key)), other, "a text, in quotes"),
            }
        }
        entries
    }

    fn parameters(&mut self, map: &Map<String, Value>) -> Parameters {
        const BASE: &str = "spec.parameters";
        let bytes = json::json_bytes(map, usize::MAX - 1);
        if bytes > limits::PARAMETERS_BYTES {
            self.too_large(BASE, bytes, limits::PARAMETERS_BYTES);
            return Parameters::default();
        }
        for key in map.keys().filter(|key| !PARAMETERS.contains(&key.as_str())) {
            let expected = format!("one of {}{}", PARAMETERS.join(", "), did_you_mean(key, &PARAMETERS));
            self.problem(format!("{BASE}.{}", plain(key)), "an unknown parameter", expected);
        }
        Parameters {
            hook_name: self.hook_name(map),
            hook_kind: self.one_of(map, "hookKind", &["Job", "Pod"]),
            hook_path: self.text(map, BASE, "hookPath").filter(|path| !path.is_empty()),
            hook_namespace: self.text(map, BASE, "hookNamespace").filter(|namespace| !namespace.is_empty()),
            event: self.one_of(map, "event", &EVENTS).map(|event| canonical_event(&event).to_owned()),
            numbers: Numbers {
                active_deadline_seconds: self.number(map, "activeDeadlineSeconds").map(i64::from),
                backoff_limit: self.number(map, "backoffLimit"),
                ttl_seconds_after_finished: self.number(map, "ttlSecondsAfterFinished"),
            },
            wait_for_hook: self.flag(map, BASE, "waitForHook"),
            closure: self.flag(map, BASE, "closure"),
            wait_timeout: self.wait_timeout(map),
        }
    }

    /// The hook's name. A template tells a hook whose name changes with each revision; without either all hooks of the event are
    /// meant, so there must be an event.
    fn hook_name(&mut self, map: &Map<String, Value>) -> String {
        const BASE: &str = "spec.parameters";
        let is_text = |key: &str| get(map, key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        // A word that is no event is a mistake, not the wish to run all hooks of one.
        let is_event = |word: &str| EVENTS.iter().any(|event| event.eq_ignore_ascii_case(word));
        let has_event = get(map, "event").and_then(Value::as_str).is_some_and(is_event);
        if get(map, "hookName").is_some() || !(is_text("hookPath") || has_event) {
            return self.required_text(map, BASE, "hookName");
        }
        for key in ["hookKind", "hookNamespace"] {
            if let Some(value) = get(map, key).filter(|_| !is_text("hookPath")) {
                let expected = "nothing where hookName is left out: all hooks of the event are run";
                self.wrong(&join(BASE, key), value, expected);
            }
        }
        String::new()
    }

    fn one_of(&mut self, map: &Map<String, Value>, key: &str, words: &[&str]) -> Option<String> {
        let value = get(map, key)?;
        let word = value.as_str().and_then(|text| words.iter().find(|word| word.eq_ignore_ascii_case(text)));
        if word.is_none() {
            let hint = value.as_str().map(|text| did_you_mean(text, words)).unwrap_or_default();
            self.wrong(&join("spec.parameters", key), value, &format!("one of {}{hint}", words.join(", ")));
        }
        word.map(|word| (*word).to_owned())
    }
}
