//! A *template* is a text with placeholders: `${organisation}` stands for that value of the request.

use std::borrow::Cow;

use hook_policy::Request;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Placeholders in the order of the request, and what each stands for.
type Read = fn(&Request) -> Option<Cow<'_, str>>;
const PLACEHOLDERS: [(&str, Read); 17] = [
    ("organisation", |r| some(&r.organisation)),
    ("clusterId", |r| some(&r.cluster_id)),
    ("operation.name", |r| some(&r.operation.name)),
    ("operation.namespace", |r| some(&r.operation.namespace)),
    ("operation.uid", |r| some(&r.operation.uid)),
    ("operation.type", |r| some(&r.operation.type_of)),
    ("operation.approvedBy", |r| r.operation.approved_by.as_deref().and_then(some)),
    ("target.kind", |r| some(&r.target.kind)),
    ("target.name", |r| some(&r.target.name)),
    ("release.name", |r| some(&r.release.name)),
    ("release.namespace", |r| some(&r.release.namespace)),
    ("release.revision", |r| Some(r.release.revision.to_string().into())),
    ("release.chart", |r| some(&r.release.chart)),
    ("release.chartVersion", |r| some(&r.release.chart_version)),
    ("release.appVersion", |r| r.release.app_version.as_deref().and_then(some)),
    ("hook.name", |r| some(&r.hook.name)),
    ("hook.serviceAccount", |r| some(&r.hook.service_account)),
];

/// Placeholders with a key: `${operation.labels[team]}`.
type ReadKey = for<'a> fn(&'a Request, &str) -> Option<&'a str>;
const KEYED: [(&str, ReadKey); 6] = [
    ("operation.labels", |r, key| r.operation.label(key)),
    ("operation.annotations", |r, key| r.operation.annotation(key)),
    ("target.labels", |r, key| r.target.label(key)),
    ("target.annotations", |r, key| r.target.annotation(key)),
    ("hook.labels", |r, key| r.hook.label(key)),
    ("hook.annotations", |r, key| r.hook.annotation(key)),
];

/// An empty value is as good as none.
fn some(value: &str) -> Option<Cow<'_, str>> {
    (!value.is_empty()).then_some(Cow::Borrowed(value))
}

/// A text with placeholders, read once.
pub(crate) struct Template(Vec<Part>);

enum Part {
    Text(String),
    Value(usize),
    Keyed(usize, String),
}

impl Template {
    /// The text with the request's values in it, or the placeholder that has none.
    pub(crate) fn fill(&self, request: &Request) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(at) => {
                    let (name, read) = PLACEHOLDERS[*at];
                    filled.push_str(&read(request).ok_or_else(|| format!("${{{name}}}"))?);
                }
                Part::Keyed(at, key) => {
                    let (name, read) = KEYED[*at];
                    let value = read(request, key).filter(|value| !value.is_empty());
                    filled.push_str(value.ok_or_else(|| format!("${{{name}[{key}]}}"))?);
                }
            }
        }
        Ok(filled)
    }

    /// The text, if there is no placeholder in it.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    fn parse(mut text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        while let Some((before, rest)) = text.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                text = rest;
                continue;
            }
            literal.push_str(before);
            let (name, after) =
                rest.split_once('}').ok_or("\"${\" without \"}\"; write \"$${\" for a plain \"${\"")?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(placeholder(name)?);
            text = after;
        }
        literal.push_str(text);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Template(parts))
    }
}

fn placeholder(name: &str) -> Result<Part, String> {
    if let Some(at) = PLACEHOLDERS.iter().position(|(known, _)| *known == name) {
        return Ok(Part::Value(at));
    }
    if let Some((list, key)) = name.strip_suffix(']').and_then(|name| name.split_once('['))
        && let Some(at) = KEYED.iter().position(|(known, _)| *known == list)
        && !key.is_empty()
    {
        return Ok(Part::Keyed(at, key.to_owned()));
    }
    let plain = PLACEHOLDERS.iter().map(|(name, _)| (*name).to_owned());
    let known: Vec<_> = plain.chain(KEYED.iter().map(|(name, _)| format!("{name}[KEY]"))).collect();
    Err(format!("there is no placeholder ${{{name}}}; there are {}", known.join(", ")))
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Template::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text with placeholders such as ${organisation}, ${release.chart} or \
                ${operation.labels[team]}; the README lists them. $${ stands for a plain ${.",
            "type": "string",
        })
    }
}
