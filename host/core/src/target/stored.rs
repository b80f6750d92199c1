//! A target *as stored* is the text that the API server has of it. A HelmRelease may hold 1.5 MiB of values, which nobody here
//! needs, so it is cut down to the fields that decide a run before anything is made of it.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::owner::MAX_OWNERS;
use super::read::LAST_APPLIED;
use super::{MAX_HISTORY, TargetError, TargetKind};
use crate::json::{Pairs, bytes, conditions, each_entry, each_item, pairs, scalar};
use crate::operation::limits::{METADATA_BYTES, TEXT_BYTES};

/// Fields that are read and hold one text, number or flag each.
const METADATA: &[&str] = &["name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp"];
const OWNER: &[&str] = &["apiVersion", "kind", "name", "uid", "controller"];
const SNAPSHOT: &[&str] = &[
    "apiVersion",
    "digest",
    "name",
    "namespace",
    "version",
    "status",
    "chartName",
    "chartVersion",
    "ociDigest",
    "lastDeployed",
];

/// Conditions that are read, of either kind.
const CONDITIONS: [&str; 7] =
    ["Ready", "Reconciling", "Remediated", "Blocked", "Deleting", "Suspended", "Degraded"];

/// Bytes of a condition's text that are kept: more than any message of hookhost's repeats of it.
const CONDITION_BYTES: usize = 4096;

/// A HelmRelease or ApplicationInstance, cut down to what [`HelmRelease`](super::HelmRelease) and
/// [`Instance`](super::Instance) read of it; none if the text is not that of an object of Kubernetes.
///
/// # Errors
/// If a part that decides is larger than is read.
pub fn stored(kind: TargetKind, text: &str) -> Result<Option<Value>, TargetError> {
    let Ok(Pairs(top)) = serde_json::from_str(text) else { return Ok(None) };
    let part = |name: &str| top.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    let Some(Pairs(metadata)) = part("metadata").and_then(pairs) else { return Ok(None) };
    let mut cut = Cut { kind: kind.kind(), name: String::new(), too_large: None };
    let mut object = json!({"metadata": cut.metadata(metadata)});
    if let Some(spec) = part("spec") {
        object["spec"] = match kind {
            TargetKind::HelmRelease => {
                const TEXTS: &[&str] = &[
                    "suspend",
                    "serviceAccountName",
                    "releaseName",
                    "targetNamespace",
                    "storageNamespace",
                    "kubeConfig",
                ];
                cut.part("spec", spec, TEXTS, |_, _, _| None)
            }
            _ => cut.part("spec", spec, &["mode"], |cut, key, value| {
                (key == "release").then(|| cut.part("spec.release", value, &["name"], |_, _, _| None))
            }),
        };
    }
    if let Some(status) = part("status") {
        const TEXTS: &[&str] = &["storageNamespace", "observedGeneration"];
        object["status"] = cut.part("status", status, TEXTS, |cut, key, value| match key {
            "helmReleaseRef" => {
                Some(cut.part("status.helmReleaseRef", value, &["name", "namespace"], |_, _, _| None))
            }
            "history" => Some(cut.each("status.history[]", value, MAX_HISTORY + 1, SNAPSHOT)),
            "conditions" => Some(first_of_each(value)),
            _ => None,
        });
    }
    match cut.too_large {
        Some((path, found, expected)) => {
            let found = format!("{found} bytes");
            Err(TargetError { kind: cut.kind, name: cut.name, path: path.to_owned(), found, expected })
        }
        None => Ok(Some(object)),
    }
}

/// An object that is being cut down.
struct Cut {
    kind: &'static str,
    name: String,
    /// The first part that is too large: where it is, its bytes, and what may be there.
    too_large: Option<(&'static str, usize, &'static str)>,
}

impl Cut {
    /// Of a mapping these fields, and those of which `other` makes something. What is no mapping is said to be none.
    fn part(
        &mut self,
        path: &'static str,
        json: &RawValue,
        texts: &[&str],
        mut other: impl FnMut(&mut Cut, &str, &RawValue) -> Option<Value>,
    ) -> Value {
        let Some(Pairs(all)) = pairs(json) else { return scalar(json) };
        let mut kept = Map::new();
        for (key, value) in all {
            let value =
                if texts.contains(&&*key) { Some(self.text(path, value)) } else { other(self, &key, value) };
            if let Some(value) = value {
                kept.insert(key.into_owned(), value);
            }
        }
        kept.into()
    }

    /// A text of a usual length, a number or a flag. Of a list or mapping only that it is one.
    fn text(&mut self, path: &'static str, json: &RawValue) -> Value {
        const EXPECTED: &str = "texts of at most 4096 bytes";
        const { assert!(TEXT_BYTES == 4096) };
        if bytes(json) > TEXT_BYTES && json.get().starts_with('"') {
            self.too_large.get_or_insert((path, bytes(json), EXPECTED));
            return Value::Null;
        }
        scalar(json)
    }

    /// Of a list of mappings these fields of each, of so many at most.
    fn each(&mut self, path: &'static str, json: &RawValue, most: usize, texts: &[&str]) -> Value {
        let mut kept = Vec::new();
        let is_list = each_item(json, |one| {
            if kept.len() < most {
                kept.push(self.part(path, one, texts, |_, _, _| None));
            }
        });
        if is_list { kept.into() } else { scalar(json) }
    }

    fn metadata(&mut self, all: Vec<(Cow<'_, str>, &RawValue)>) -> Value {
        const EXPECTED: &str = "at most 32768 bytes of both";
        const { assert!(METADATA_BYTES == 32768) };
        let (mut kept, mut size) = (Map::new(), 0);
        for (key, value) in all {
            let value = match &*key {
                "labels" | "annotations" => {
                    let mut entries = Map::new();
                    each_entry(value, |key, value| {
                        size += if key == LAST_APPLIED { 0 } else { key.len() + bytes(value) };
                        if key != LAST_APPLIED && size <= METADATA_BYTES {
                            entries.insert(key.into_owned(), scalar(value));
                        }
                    });
                    entries.into()
                }
                "ownerReferences" => self.each("metadata.ownerReferences[]", value, MAX_OWNERS, OWNER),
                _ if METADATA.contains(&&*key) => self.text("metadata", value),
                _ => continue,
            };
            kept.insert(key.into_owned(), value);
        }
        self.name = kept.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if size > METADATA_BYTES {
            self.too_large.get_or_insert(("metadata.labels and metadata.annotations", size, EXPECTED));
        }
        kept.into()
    }
}

/// The first condition of each type that is read.
fn first_of_each(json: &RawValue) -> Value {
    conditions(json, CONDITION_BYTES, |type_, kept| {
        CONDITIONS.contains(&type_) && kept.iter().all(|known| known["type"] != type_)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::{HelmRelease, Instance};
    use crate::testing::any_json;

    fn cut(kind: TargetKind, object: &Value) -> Value {
        stored(kind, &object.to_string()).unwrap().unwrap()
    }

    fn helm_release() -> Value {
        let list = include_str!("../../../../tests/fixtures/flux/helmrelease.json");
        serde_json::from_str::<Value>(list).unwrap()["items"][0].clone()
    }

    fn instance() -> Value {
        let condition = json!({"type": "Ready", "status": "True", "reason": "R", "message": "m", "observedGeneration": 2});
        json!({
            "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
            "metadata": {"name": "shop", "namespace": "acme", "uid": "u", "generation": 2, "labels": {"a": "b"},
                "annotations": {"ops.vworkspace.io/migration": "helmHookJob", LAST_APPLIED: "{}"}},
            "spec": {"release": {"name": "shop", "namespace": "acme"}, "values": {"a": [1, 2]}},
            "status": {"observedGeneration": 2, "helmReleaseRef": {"name": "shop"}, "conditions": [condition]},
        })
    }

    #[test]
    fn values_and_what_else_decides_nothing_are_left_out() {
        let mut release = helm_release();
        release["spec"]["values"] = json!(vec![json!({"a": 1}); 100_000]);
        release["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        release["spec"]["kubeConfig"] = json!({"secretRef": {"name": "x"}});
        let small = cut(TargetKind::HelmRelease, &release);
        assert!(small.to_string().len() < 8192, "{}", small.to_string().len());
        assert_eq!(HelmRelease::from_json(&small), HelmRelease::from_json(&release));
        assert!(HelmRelease::from_json(&small).unwrap().remote);
        let small = cut(TargetKind::ApplicationInstance, &instance());
        assert!(small["spec"].get("values").is_none());
        assert_eq!(Instance::from_json(&small), Instance::from_json(&instance()));
    }

    #[test]
    fn a_part_that_decides_and_is_too_large_is_told_with_its_size() {
        let told = |change: &dyn Fn(&mut Value)| {
            let mut release = helm_release();
            change(&mut release);
            stored(TargetKind::HelmRelease, &release.to_string()).unwrap_err().to_string()
        };
        let many: Map<String, Value> = (0..10_000).map(|n| (format!("a{n}"), json!(""))).collect();
        let message = told(&|release| release["metadata"]["annotations"] = many.clone().into());
        assert!(
            message.contains("bytes at metadata.labels and metadata.annotations, expected at most 32768"),
            "{message}"
        );
        let message = told(&|release| release["spec"]["targetNamespace"] = json!("x".repeat(5000)));
        assert!(
            message.ends_with("has 5002 bytes at spec, expected texts of at most 4096 bytes"),
            "{message}"
        );
        let mut release = helm_release();
        release["metadata"]["annotations"] = json!({LAST_APPLIED: "x".repeat(100_000)});
        assert!(
            stored(TargetKind::HelmRelease, &release.to_string()).is_ok(),
            "kubectl's copy does not count"
        );
    }

    #[test]
    fn what_others_have_blown_up_is_read_no_further_than_it_counts() {
        let mut release = helm_release();
        release["status"]["history"] = json!(vec![json!({"name": "x"}); 10_000]);
        let conditions = release["status"]["conditions"].as_array_mut().unwrap();
        let long =
            json!({"type": "Remediated", "status": "False", "reason": "R", "message": "y".repeat(30_000)});
        conditions.push(long);
        conditions.extend((0..10_000).map(|n| json!({"type": format!("T{n}"), "status": "True"})));
        let small = cut(TargetKind::HelmRelease, &release);
        assert!(small.to_string().len() < 16 * 1024);
        let errors = [&small, &release].map(|release| HelmRelease::from_json(release).unwrap_err());
        assert_eq!(errors[0], errors[1], "a history that is too long is told as one");
    }

    #[test]
    fn what_is_no_object_is_none() {
        for text in ["", "[]", "7", "{}", r#"{"metadata": 7}"#, r#"{"metadata": {}"#] {
            assert_eq!(stored(TargetKind::HelmRelease, text), Ok(None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_target_says_the_same_cut_down(
            value in any_json(".{0,6}", "[a-z]{1,4}|name|namespace|history|version"),
            at in prop::sample::select(vec![
                "/spec", "/spec/targetNamespace", "/spec/suspend", "/spec/release", "/spec/mode", "/status", "/status/history",
                "/status/helmReleaseRef", "/status/observedGeneration", "/metadata/ownerReferences",
            ]),
        ) {
            for (kind, mut object) in
                [(TargetKind::HelmRelease, helm_release()), (TargetKind::ApplicationInstance, instance())]
            {
                let (parent, field) = at.rsplit_once('/').unwrap();
                object.pointer_mut(parent).unwrap()[field] = value.clone();
                let small = cut(kind, &object);
                if kind == TargetKind::HelmRelease {
                    prop_assert_eq!(HelmRelease::from_json(&small), HelmRelease::from_json(&object));
                } else {
                    prop_assert_eq!(Instance::from_json(&small), Instance::from_json(&object));
                }
            }
        }
    }
}
