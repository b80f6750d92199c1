//! A *workload* is the Job or Pod in a hook's manifest, as Kubernetes would read it.
//!
//! Manifests are charts' and therefore hostile: whatever is not there, or is not what Kubernetes wants there, reads as
//! absent, except the numbers that hookhost owns, which are refused when they are wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::name;
use crate::text::quote;

/// Retries of a Job that says nothing of them: Kubernetes' default.
pub const BACKOFF_DEFAULT: i64 = 6;

/// A Job or Pod of a hook.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'m> {
    manifest: &'m Value,
    is_pod: bool,
}

/// A number of the manifest that Kubernetes would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the hook's {field} is {found}, but Kubernetes wants {expected}: Helm cannot run it either. Correct the chart"
)]
pub struct BadNumber {
    /// Path in the manifest.
    pub field: &'static str,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub expected: &'static str,
}

/// One container of the hook's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Its image, as the chart wrote it.
    pub image: String,
    /// Whether it is an init container.
    pub init: bool,
}

/// The numbers of a Job that the host owns, where they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Numbers {
    /// Seconds the run may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Retries before the Job counts as failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_limit: Option<i32>,
    /// Seconds a finished Job is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i32>,
}

impl<'m> Workload<'m> {
    /// The workload of a manifest whose kind is Job or Pod.
    pub fn of(manifest: &'m Value) -> Workload<'m> {
        Workload { manifest, is_pod: manifest.get("kind").and_then(Value::as_str) == Some("Pod") }
    }

    /// The namespace that its manifest names; none where it is created in the release's.
    pub fn namespace(self) -> Option<&'m str> {
        let named = at(self.manifest, "metadata.namespace").and_then(Value::as_str);
        named.filter(|namespace| !namespace.is_empty())
    }

    /// Whether it is a Pod.
    pub fn is_pod(self) -> bool {
        self.is_pod
    }

    /// The Job's spec; none for a Pod.
    pub fn job_spec(self) -> Option<&'m Map<String, Value>> {
        if self.is_pod { None } else { object(self.manifest, "spec") }
    }

    /// The pod's spec.
    pub fn pod_spec(self) -> Option<&'m Map<String, Value>> {
        object(self.manifest, if self.is_pod { "spec" } else { "spec.template.spec" })
    }

    /// The labels that the chart gives the pods.
    pub fn pod_labels(self) -> BTreeMap<String, String> {
        let path = if self.is_pod { "metadata.labels" } else { "spec.template.metadata.labels" };
        entries(self.manifest, path)
    }

    /// The annotations that the chart gives the pods.
    pub fn pod_annotations(self) -> BTreeMap<String, String> {
        let path = if self.is_pod { "metadata.annotations" } else { "spec.template.metadata.annotations" };
        entries(self.manifest, path)
    }

    /// The service account that the pod runs as; Kubernetes' default is "default".
    pub fn service_account(self) -> &'m str {
        let account = |field: &str| {
            let spec = self.pod_spec()?;
            spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty())
        };
        // serviceAccount is the old name of the field, still read by Kubernetes.
        account("serviceAccountName").or_else(|| account("serviceAccount")).unwrap_or("default")
    }

    /// The pod's containers, init containers first.
    pub fn containers(self) -> Vec<Container> {
        let of = |field: &str, init: bool| {
            let list = self.pod_spec().and_then(|spec| spec.get(field)).and_then(Value::as_array);
            list.into_iter().flatten().map(move |container| Container {
                name: string(container, "name"),
                image: string(container, "image"),
                init,
            })
        };
        of("initContainers", true).chain(of("containers", false)).collect()
    }

    /// The numbers of those that hookhost owns that the chart gives. A Pod has a deadline only.
    pub fn declared(self) -> Result<Numbers, BadNumber> {
        const SECONDS: &str = "a whole number from 0 on";
        const INT32: &str = "a whole number from 0 to 2147483647";
        if self.is_pod {
            let active_deadline_seconds = self.number("spec.activeDeadlineSeconds", SECONDS, i64::MAX)?;
            return Ok(Numbers { active_deadline_seconds, ..Numbers::default() });
        }
        let int32 = |field| {
            let number = self.number(field, INT32, i64::from(i32::MAX))?;
            Ok(number.and_then(|number| i32::try_from(number).ok()))
        };
        Ok(Numbers {
            active_deadline_seconds: self.number("spec.activeDeadlineSeconds", SECONDS, i64::MAX)?,
            backoff_limit: int32("spec.backoffLimit")?,
            ttl_seconds_after_finished: int32("spec.ttlSecondsAfterFinished")?,
        })
    }

    /// What Kubernetes takes a missing backoff limit for: it does not count failures of the whole Job where each
    /// index has its own limit.
    pub fn backoff_default(self) -> i64 {
        let per_index = self.job_spec().and_then(|spec| spec.get("backoffLimitPerIndex"));
        if per_index.is_some_and(|limit| !limit.is_null()) { i64::from(i32::MAX) } else { BACKOFF_DEFAULT }
    }

    /// The pod's restart policy, if the chart gives one.
    pub fn restart_policy(self) -> Option<&'m str> {
        self.pod_spec().and_then(|spec| spec.get("restartPolicy")).and_then(Value::as_str)
    }

    /// What Kubernetes appends to the Job's name in the hostnames of an Indexed Job's pods: "-" and the last index.
    pub fn index_suffix(self) -> Option<String> {
        let spec = self.job_spec()?;
        if spec.get("completionMode").and_then(Value::as_str) != Some("Indexed") {
            return None;
        }
        let completions = spec.get("completions").and_then(Value::as_i64).unwrap_or(1);
        Some(format!("-{}", completions.saturating_sub(1).max(0)))
    }

    fn number(
        self,
        field: &'static str,
        expected: &'static str,
        most: i64,
    ) -> Result<Option<i64>, BadNumber> {
        let value = match at(self.manifest, field) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        // Helm turns YAML into JSON by way of Go's floats, which writes 300.0 as 300.
        let whole = value.as_i64().or_else(|| {
            let float =
                value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 2_f64.powi(53))?;
            #[allow(clippy::cast_possible_truncation)] // whole, and within 53 bits
            Some(float as i64)
        });
        match whole {
            Some(number) if (0..=most).contains(&number) => Ok(Some(number)),
            _ => Err(BadNumber { field, found: found(value), expected }),
        }
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// The value at a path as messages write it: "spec.template.spec". Unlike a JSON pointer it allocates nothing, which
/// counts where a request is built for each decision.
pub fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn object<'v>(value: &'v Value, path: &str) -> Option<&'v Map<String, Value>> {
    at(value, path).and_then(Value::as_object)
}

fn string(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The labels or annotations at `path`. Kubernetes reads a null there as the empty text; what is no text it would
/// refuse, and here it is shown as the JSON that it is. Keys that Kubernetes would refuse are left out.
pub fn entries(manifest: &Value, path: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let map = object(manifest, path).into_iter().flatten();
    map.filter(|(key, _)| name::is_label_key(key)).map(|(key, value)| (key.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_and_a_pod_are_read_alike() {
        let pod = json!({"serviceAccount": "old", "initContainers": [{"name": "i", "image": "a"}],
            "containers": [{"name": "c", "image": "b"}, {"name": 3}], "activeDeadlineSeconds": 60.0});
        let metadata = json!({"labels": {"app": "shop", "empty": null, "a b": "bad key"}});
        let job = json!({"kind": "Job", "spec": {"backoffLimit": 2, "activeDeadlineSeconds": 60,
            "template": {"metadata": metadata, "spec": pod}}});
        let pod = json!({"kind": "Pod", "metadata": metadata, "spec": pod});
        for manifest in [&job, &pod] {
            let workload = Workload::of(manifest);
            assert_eq!(workload.service_account(), "old");
            let names: Vec<(String, bool)> =
                workload.containers().into_iter().map(|c| (c.name, c.init)).collect();
            assert_eq!(names, [("i".into(), true), ("c".into(), false), (String::new(), false)]);
            assert_eq!(
                workload.pod_labels(),
                BTreeMap::from([("app".into(), "shop".into()), ("empty".into(), "".into())])
            );
            assert_eq!(workload.declared().unwrap().active_deadline_seconds, Some(60));
        }
        assert_eq!(Workload::of(&job).declared().unwrap().backoff_limit, Some(2));
        assert_eq!(Workload::of(&json!({"kind": "Pod"})).service_account(), "default");
    }

    #[test]
    fn numbers_that_kubernetes_would_refuse_are_named() {
        for (field, value) in [
            ("backoffLimit", json!(-1)),
            ("backoffLimit", json!(2147483648_i64)),
            ("activeDeadlineSeconds", json!("300")),
            ("ttlSecondsAfterFinished", json!(1.5)),
            ("activeDeadlineSeconds", json!(1e300)),
        ] {
            let mut job = json!({"kind": "Job", "spec": {}});
            job["spec"][field] = value;
            let error = Workload::of(&job).declared().unwrap_err();
            assert_eq!(error.field, format!("spec.{field}"));
        }
        let nulls = json!({"kind": "Job", "spec": {"backoffLimit": null, "activeDeadlineSeconds": null}});
        assert_eq!(Workload::of(&nulls).declared(), Ok(Numbers::default()));
    }
}
