//! What a person may hold of a release: its Secret or ConfigMap, a List, or the value alone.

use serde::{Deserialize, Deserializer};

use super::json::{Bounded, or_default};
use super::{Record, RecordError, decode, json};
use crate::encoding::without_mark;
use crate::text::{printable, quote};
use crate::yaml::MAX_TEXT_BYTES;

/// What Helm 3 and Helm 4 call the type of their Secrets.
const SECRET_TYPE: &str = "helm.sh/release.v1";

/// Items of a List. Helm keeps 10 revisions unless told otherwise.
const MAX_ITEMS: usize = 1000;

/// Names that an error lists.
const MAX_NAMES: usize = 8;

/// Bytes of a kind that an error shows: Kubernetes' longest names of kinds.
const MAX_KIND_BYTES: usize = 63;

/// A Kubernetes object, as far as a release record may be in it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "or_default", rename = "type")]
    type_of: String,
    #[serde(default, deserialize_with = "or_default")]
    data: Data,
    #[serde(default, deserialize_with = "or_default")]
    string_data: Data,
    #[serde(default, deserialize_with = "items")]
    items: Vec<Object>,
    /// A column of Helm's SQL driver, as is `key`.
    body: Option<serde::de::IgnoredAny>,
    key: Option<serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    namespace: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: Labels,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(default, deserialize_with = "or_default")]
    owner: String,
    #[serde(default, deserialize_with = "or_default", rename = "OWNER")]
    helm2_owner: String,
}

#[derive(Default, Deserialize)]
struct Data {
    #[serde(default, deserialize_with = "or_default")]
    release: Option<String>,
}

fn items<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Object>, D::Error> {
    from.deserialize_any(Bounded::new("items of a List", MAX_ITEMS))
}

pub(super) fn read(input: &[u8]) -> Result<Record, RecordError> {
    let input = without_mark(input).map_err(RecordError::Encoding)?;
    let input = input.trim_ascii();
    if input.is_empty() {
        return Err(RecordError::Empty);
    }
    if decode::is_gzip(input) || decode::is_base64_like(input) {
        return json::read(&decode::inflated(input)?, None);
    }
    if input.len() > MAX_TEXT_BYTES {
        let what = "bytes of text".to_owned();
        return Err(RecordError::TooLarge { what, found: input.len().to_string(), allowed: MAX_TEXT_BYTES });
    }
    if input.starts_with(b"{") {
        match json::from_slice::<Object>(input) {
            Ok(object) if object.kind.is_empty() && object.items.is_empty() => return bare(&object, input),
            Ok(object) => return one(vec![object]),
            // YAML, too, may start like this.
            Err(error) => {
                return from_yaml(input).map_err(|other| match other {
                    RecordError::Yaml(_) => error,
                    other => other,
                });
            }
        }
    }
    from_yaml(input)
}

/// A JSON object that is not Kubernetes'.
fn bare(object: &Object, input: &[u8]) -> Result<Record, RecordError> {
    if object.body.is_some() && object.key.is_some() {
        let problem = "this is a row of Helm's SQL storage; give the text in its column body".to_owned();
        return Err(RecordError::OtherObject { found: "The input".to_owned(), problem });
    }
    json::read(input, None)
}

fn from_yaml(input: &[u8]) -> Result<Record, RecordError> {
    let text = std::str::from_utf8(input).map_err(|_| RecordError::Unrecognised)?;
    let documents = crate::yaml::read(text).map_err(RecordError::Yaml)?;
    let objects = documents.into_iter().filter(serde_json::Value::is_object).map(json::from_value);
    let objects: Vec<Object> = objects.collect::<Result<_, _>>()?;
    if objects.iter().all(|object| object.kind.is_empty()) {
        Err(RecordError::Unrecognised)
    } else {
        one(objects)
    }
}

impl Object {
    fn is_list(&self) -> bool {
        self.kind == "List"
            || self.kind == "SecretList"
            || self.kind == "ConfigMapList"
            || self.kind.is_empty()
    }

    /// Whether it says of itself that it is a release's record.
    fn is_record(&self) -> bool {
        self.type_of == SECRET_TYPE || self.metadata.labels.owner == "helm"
    }

    fn title(&self) -> String {
        let kind = self.kind.get(..self.kind.floor_char_boundary(MAX_KIND_BYTES)).unwrap_or_default();
        match (kind, self.metadata.name.as_str()) {
            ("", "") => "The input".to_owned(),
            (kind, "") => format!("The {}", printable(kind)),
            ("", name) => quote(name),
            (kind, name) => format!("The {} {}", printable(kind), quote(name)),
        }
    }

    fn refuse(&self, problem: impl Into<String>) -> RecordError {
        RecordError::OtherObject { found: self.title(), problem: problem.into() }
    }

    fn record(&self) -> Result<Record, RecordError> {
        match self.kind.as_str() {
            "Secret" | "" => self.check_type()?,
            "ConfigMap" if self.metadata.labels.helm2_owner == "TILLER" => {
                return Err(self.refuse(
                    "it is of Helm 2, which Helm itself no longer reads. Migrate it with helm-2to3",
                ));
            }
            "ConfigMap" => {}
            _ => return Err(self.refuse("give the release's Secret, sh.helm.release.v1.NAME.vREVISION")),
        }
        let value = self.string_data.release.as_ref().or(self.data.release.as_ref());
        let value = value.ok_or_else(|| self.refuse("it has no key release in data or stringData"))?;
        let stored_in = Some(self.metadata.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        json::read(&decode::inflated(value.as_bytes())?, stored_in)
    }

    fn check_type(&self) -> Result<(), RecordError> {
        match self.type_of.as_str() {
            SECRET_TYPE | "" => Ok(()),
            "operatorframework.io/index.v1" | "operatorframework.io/chunk.v1" => Err(self.refuse(
                "it is one chunk of a record of OLM's operator-controller, whose storage is not Helm's. Only records of \
                 Helm and Flux can be read",
            )),
            other if other.starts_with("helm.sh/release.") => Err(self.refuse(format!(
                "its type {} is another version of Helm's storage; this hookhost reads {SECRET_TYPE}",
                quote(other)
            ))),
            other => {
                let found = quote(other);
                Err(self.refuse(format!("its type is {found}, not {SECRET_TYPE}. Give the release's Secret")))
            }
        }
    }
}

/// The record in the one object, of these and of those in Lists among them, that has one.
fn one(objects: Vec<Object>) -> Result<Record, RecordError> {
    let mut all = Vec::new();
    for object in objects {
        if object.is_list() { all.extend(object.items) } else { all.push(object) }
    }
    let records: Vec<&Object> = all.iter().filter(|object| object.is_record()).collect();
    match (records.as_slice(), all.as_slice()) {
        ([record], _) => record.record(),
        ([], [object]) => object.record(),
        ([], _) => Err(RecordError::OtherObject {
            found: format!("The List of {} objects", all.len()),
            problem: "none is a release's Secret, sh.helm.release.v1.NAME.vREVISION".to_owned(),
        }),
        (records, _) => Err(RecordError::Several {
            count: records.len(),
            names: records.iter().take(MAX_NAMES).map(|record| quote(&record.metadata.name)).collect(),
        }),
    }
}
