//! The Helm chart in deploy/hookhost says what it does: its values are described and closed, its rights are those of the
//! table in its README, its CRDs are those of the types. What needs a Helm or a cluster is tested end to end.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hookhost_controller::memory;
use hookhost_helm::yaml;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn chart(path: &str) -> String {
    read(&format!("deploy/hookhost/{path}"))
}

/// All templates by their names.
fn templates() -> Vec<(String, String)> {
    let folder = root().join("deploy/hookhost/templates");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| (chart(&format!("templates/{name}")), name)).map(|(text, name)| (name, text)).collect()
}

/// Every property of the schema below `path`, with its schema; `global` is Helm's own.
fn properties(path: &str, schema: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if path != "global" {
            all.push((path.clone(), property.clone()));
            all.extend(properties(&path, property));
        }
    }
    all
}

fn schema() -> Value {
    serde_json::from_str(&chart("values.schema.json")).unwrap()
}

fn at<'v>(values: &'v Value, path: &str) -> Option<&'v Value> {
    values.pointer(&format!("/{}", path.replace('.', "/")))
}

/// A value that has no values of its own below it.
fn is_leaf(property: &Value) -> bool {
    property.get("properties").is_none()
}

#[test]
fn the_schema_has_every_value_and_no_other() {
    let (schema, values) = (schema(), yaml::read_one(&chart("values.yaml")).unwrap());
    assert_eq!(schema["additionalProperties"], false);
    for (path, property) in properties("", &schema) {
        let value = at(&values, &path).unwrap_or_else(|| panic!("values.yaml has no {path}"));
        if is_leaf(&property) {
            continue;
        }
        assert_eq!(property["additionalProperties"], false, "{path} takes unknown values");
        for key in value.as_object().unwrap().keys() {
            assert!(property["properties"].get(key).is_some(), "the schema has no {path}.{key}");
        }
    }
    for key in values.as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "the schema has no {key}");
    }
}

/// Parts of Kubernetes' own objects that the chart passes on as they are: the API server checks them, and says where.
const KUBERNETES_OWN: [&str; 16] = [
    "affinity.nodeAffinity",
    "affinity.podAffinity",
    "affinity.podAntiAffinity",
    "metricsFrom[].ipBlock",
    "metricsFrom[].namespaceSelector",
    "metricsFrom[].podSelector",
    "podSecurityContext.appArmorProfile",
    "podSecurityContext.seLinuxOptions",
    "podSecurityContext.sysctls",
    "podSecurityContext.windowsOptions",
    "volume.configMap",
    "volume.csi",
    "volume.image",
    "volume.persistentVolumeClaim",
    "volume.projected",
    "global",
];

/// Every schema in this one, with the end of its path.
fn schemas(path: &str, schema: &Value, all: &mut Vec<(String, Value)>) {
    all.push((path.to_owned(), schema.clone()));
    for part in ["properties", "definitions"] {
        for (name, property) in schema[part].as_object().into_iter().flatten() {
            schemas(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, property, all);
        }
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            schemas(&format!("{path}[]"), &schema[part], all);
        }
    }
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        schemas(path, choice, all);
    }
}

#[test]
fn no_value_may_be_just_anything() {
    let mut all = Vec::new();
    schemas("", &schema(), &mut all);
    let all = all.into_iter().filter(|(path, _)| !KUBERNETES_OWN.iter().any(|own| path.ends_with(own)));
    for (path, schema) in all {
        let is = |word: &str| {
            schema["type"] == word || schema["type"].as_array().is_some_and(|of| of.contains(&word.into()))
        };
        let says = |words: &[&str]| words.iter().any(|word| schema.get(word).is_some());
        if is("object") {
            assert!(says(&["additionalProperties"]), "{path} takes any key");
        } else if is("array") {
            assert!(says(&["items"]), "{path} takes anything");
        } else if is("string") {
            let is_text = path.ends_with("annotations[]") || path.ends_with("localhostProfile");
            assert!(is_text || says(&["pattern", "enum", "maxLength"]), "{path} takes any text");
        } else if is("integer") {
            assert!(says(&["minimum"]) || path.ends_with("tolerationSeconds"), "{path} takes any number");
        } else {
            let is_known = ["boolean", "number", "null"].into_iter().any(is);
            assert!(is_known || says(&["$ref", "enum", "anyOf"]), "{path} has no type: {schema}");
        }
    }
}

#[test]
fn every_value_is_described_and_used() {
    let templates: String = templates().into_iter().map(|(_, text)| text).collect();
    let values = chart("values.yaml");
    for (path, _) in properties("", &schema()).into_iter().filter(|(_, property)| is_leaf(property)) {
        // The names in crds are looked up one by one.
        let used = path.strip_prefix("crds.").map_or(format!(".Values.{path}"), |name| format!("\"{name}\""));
        assert!(templates.contains(&used), "no template uses {path}");

        let (depth, name) = (path.matches('.').count(), path.rsplit('.').next().unwrap());
        let line = format!("\n{}{name}:", "  ".repeat(depth));
        let parent = path.split('.').next().unwrap();
        let section = values.find(&format!("\n{parent}:")).unwrap();
        let place = section + values[section..].find(&line).unwrap();
        let comment: Vec<&str> =
            values[..place].lines().rev().map(str::trim).take_while(|line| line.starts_with('#')).collect();
        assert!(comment.iter().any(|line| line.starts_with("# -- ")), "values.yaml does not describe {path}");
    }
}

#[test]
fn the_version_is_the_workspaces() {
    let chart = yaml::read_one(&chart("Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_image_is_built_with_the_workspaces_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let dockerfile = read("Dockerfile");
    for line in [format!("/rust:{channel}-slim-"), format!("ENV RUSTUP_TOOLCHAIN={channel}\n")] {
        assert!(dockerfile.contains(&line), "the Dockerfile does not say {line}");
    }
}

#[test]
fn the_charts_crds_are_those_of_deploy_crds() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let crds = names("deploy/crds");
    assert_eq!(names("deploy/hookhost/files/crds"), crds);
    assert!(!crds.is_empty());
    for name in crds {
        assert!(
            chart(&format!("files/crds/{name}")) == read(&format!("deploy/crds/{name}")),
            "deploy/hookhost/files/crds/{name} is not deploy/crds/{name}; renew it with\n  \
             cp deploy/crds/*.yaml deploy/hookhost/files/crds/"
        );
    }
}

#[test]
fn the_example_of_the_notes_is_an_operation() {
    let example = yaml::read_one(&chart("files/operation.yaml")).unwrap();
    let operation = hookhost_core::operation::Operation::from_json(example).unwrap();
    assert!(!operation.parameters.hook_name.is_empty());
}

#[test]
fn the_memory_limit_is_the_sum_of_what_can_be_in_use_at_worst() {
    const MIB: usize = 1 << 20;
    let values = yaml::read_one(&chart("values.yaml")).unwrap();
    let limit = values["resources"]["limits"]["memory"].as_str().unwrap();
    let limit: usize = limit.strip_suffix("Mi").unwrap().parse().unwrap();
    let sum: usize = memory::PARTS.iter().map(|part| part.bytes).sum();
    assert_eq!((limit * MIB, memory::TOTAL_BYTES), (sum, sum), "{:#?}", memory::PARTS);

    let readme = chart("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| Memory for |")).skip(2);
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    let parts = memory::PARTS.map(|part| format!("| {} | {} MiB |", part.name, part.bytes / MIB));
    assert!(memory::PARTS.iter().all(|part| part.bytes % MIB == 0));
    assert_eq!(rows, parts);
}

/// One right: where, API group, resource, verb.
type Right = [String; 4];

/// The rights that a piece of a template gives.
fn rights(place: &str, rules: &Value) -> Vec<Right> {
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut all = Vec::new();
    for rule in rules.as_array().unwrap() {
        let own = if rule.get("resourceNames").is_some() { " (its own)" } else { "" };
        for group in words(&rule["apiGroups"]) {
            let group = if group.is_empty() { "core" } else { &group };
            for resource in words(&rule["resources"]) {
                for verb in words(&rule["verbs"]) {
                    all.push([place.to_owned(), group.to_owned(), format!("{resource}{own}"), verb]);
                }
            }
        }
    }
    all
}

/// A template as YAML: lines that are only an action are left out, other actions become a word.
fn plain(template: &str) -> Vec<Value> {
    let mut text = String::new();
    for line in template.lines().filter(|line| !line.trim_start().starts_with("{{")) {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("{{") {
            text.push_str(before);
            text.push_str("word");
            rest = after.split_once("}}").unwrap().1;
        }
        text.push_str(rest);
        text.push('\n');
    }
    yaml::read(&text).unwrap().into_iter().filter(Value::is_object).collect()
}

#[test]
fn the_table_of_rights_is_what_the_templates_give() {
    const OPT_IN: (&str, &str) = ("  {{- if .Values.helmReleases.enabled }}\n", "  {{- end }}\n");
    let mut given = BTreeSet::new();
    for (file, mut template) in templates() {
        if !template.contains("rules:") {
            continue;
        }
        if file == "rbac-namespaces.yaml" {
            let (before, rest) = template.split_once(OPT_IN.0).unwrap();
            let (opt_in, after) = rest.split_once(OPT_IN.1).unwrap();
            let opt_in = yaml::read_one(opt_in).unwrap();
            given.extend(rights("each namespace, with helmReleases.enabled", &opt_in));
            template = format!("{before}{after}");
        }
        for object in plain(&template).iter().filter(|object| object.get("rules").is_some()) {
            let name = object["metadata"]["name"].as_str().unwrap();
            let place = match (object["kind"].as_str().unwrap(), name) {
                ("ClusterRole", "word") => "cluster",
                ("ClusterRole", "word-namespace") => "each namespace",
                ("Role", "word") => "its own namespace",
                ("Role", "word-policies") => "policies.namespace",
                ("ClusterRole", "word-closure") => "closure.namespaces",
                ("ClusterRole", "word-closure-roles") => "closure.namespaces, with closure.grantAnyRole",
                ("ClusterRole", "word-closure-cluster") => "cluster, with closure.clusterObjects",
                ("ClusterRole", "word-closure-cluster-roles") => {
                    "cluster, with closure.clusterObjects and closure.grantAnyRole"
                }
                other => panic!("{file} has a role that the table does not know: {other:?}"),
            };
            given.extend(rights(place, &object["rules"]));
        }
    }
    assert!(given.iter().flatten().all(|word| !word.contains('*')), "no right is a wildcard: {given:#?}");
    let more_than_reading = |right: &&Right| right[2] == "secrets" && right[3] != "get";
    let is_opted_for = |right: &&Right| match right[0].as_str() {
        "each namespace, with helmReleases.enabled" => right[3] == "list",
        "closure.namespaces" => ["create", "patch", "delete"].contains(&right[3].as_str()),
        _ => false,
    };
    let secrets: Vec<&Right> = given.iter().filter(more_than_reading).collect();
    assert!(
        secrets.iter().all(is_opted_for),
        "Secrets are read by name only, unless that is opted for: {secrets:?}"
    );

    let readme = chart("README.md");
    let table = |head: &'static str| {
        let rows = readme.lines().skip_while(move |line| !line.starts_with(head)).skip(2);
        rows.take_while(|line| line.starts_with('|'))
    };
    let rows = table("| Where |").chain(table("| Where, with closure.enabled |"));
    let mut told = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [place, group, resource, verbs, reason] = cells[..] else { panic!("{row}") };
        assert!(!reason.is_empty(), "{row}");
        for verb in verbs.split(", ") {
            told.insert([place, group, resource, verb].map(str::to_owned));
        }
    }
    let missing: Vec<_> = given.symmetric_difference(&told).collect();
    assert!(missing.is_empty(), "in the table or in the templates, not in both: {missing:#?}");
}
