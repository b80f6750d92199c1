//! What holds for every manifest.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{UID, request};
use crate::decision::{Decision, Overrides};
use crate::keys::OPERATION;
use crate::plan::plan;
use crate::strip::{Place, STRIP};
use crate::testing;
use crate::verdict::Answer;

/// Any JSON, with the keys that a clone looks at.
fn any_json() -> impl Strategy<Value = Value> {
    testing::any_json("[a-zA-Z./-]{0,12}", any_key())
}

fn any_key() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        "[a-z]{0,6}",
        proptest::sample::select(vec![
            "metadata",
            "spec",
            "template",
            "labels",
            "annotations",
            "name",
            "namespace",
            "containers",
            "selector",
            "suspend",
            "restartPolicy",
            "nodeName",
            "job-name",
            "controller-uid",
            "creationTimestamp",
            "volumes",
            "env",
            "batch.kubernetes.io/job-name",
            "ops.vworkspace.io/operation",
            "helm.sh/hook",
            "argocd.argoproj.io/instance",
            "hookhost.vworkspace.io/claim",
            "ephemeralContainers",
            "serviceAccountName",
            "completionMode",
            "completions",
            "initContainers",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_map() -> impl Strategy<Value = Value> {
    proptest::collection::vec((any_key(), any_json()), 0..8)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

/// A manifest that mostly can be run.
fn any_manifest() -> impl Strategy<Value = Value> {
    let containers = || prop_oneof![4 => Just(json!([{"name": "c", "image": "i"}])), 1 => any_json()];
    let metadata = || {
        prop_oneof![
        (any_map(), any_map()).prop_map(|(labels, annotations)| json!({"labels": labels, "annotations": annotations, "creationTimestamp": null})),
        any_map(),
        Just(Value::Null),
    ]
    };
    let job = (any_map(), any_map(), any_map(), metadata(), containers()).prop_map(
        |(mut spec, mut template, mut pod, metadata, containers)| {
            for number in ["backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "parallelism"]
            {
                spec.as_object_mut().unwrap().remove(number);
            }
            pod["containers"] = containers;
            template["spec"] = pod;
            template["metadata"] = metadata;
            spec["template"] = template;
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}, "spec": spec})
        },
    );
    let pod = (metadata(), any_map(), containers()).prop_map(|(metadata, mut pod, containers)| {
        pod["containers"] = containers;
        let mut metadata = if metadata.is_null() { json!({}) } else { metadata };
        metadata["name"] = json!("migrate");
        metadata.as_object_mut().unwrap().remove("namespace");
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    });
    prop_oneof![job, pod]
}

/// The chart's pod template, or one of the clone, without all that hookhost owns.
fn without_owned(mut template: Value, policy_labels: &[&str], is_pod: bool) -> Value {
    let owned_key = |place: Place, key: &str| {
        STRIP.iter().any(|strip| {
            strip.place == place
                && (key == strip.what || key.split_once('/').is_some_and(|(domain, _)| domain == strip.what))
        })
    };
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(value) => value.as_object().is_some_and(Map::is_empty),
    };
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.retain(|key, _| {
                let owned = owned_key(Place::PodLabel, key) || policy_labels.contains(&key.as_str());
                let stripped = is_pod && owned_key(Place::PodHookLabels, key);
                !(owned || stripped)
            });
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| {
                let stripped = is_pod && owned_key(Place::PodHookAnnotations, key);
                !(owned_key(Place::PodAnnotation, key) || stripped)
            });
        }
        if empty(metadata.get("labels")) {
            metadata.remove("labels");
        }
        if is_pod && empty(metadata.get("annotations")) {
            metadata.remove("annotations");
        }
    }
    if empty(template.get("metadata")) {
        template.as_object_mut().unwrap().remove("metadata");
    }
    if is_pod {
        let spec = template["spec"].as_object_mut().unwrap();
        for field in ["nodeName", "ephemeralContainers", "restartPolicy"] {
            spec.remove(field);
        }
    }
    template
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Rule 3 of the design.
    #[test]
    fn the_pod_template_differs_from_the_charts_only_in_what_hookhost_owns(
        manifest in any_manifest(), with_uid in any::<bool>(), label in proptest::option::of("[a-z]{7}"),
    ) {
        let mut request = request(manifest.clone());
        if !with_uid {
            request.operation.uid.clear();
        }
        let labels: Vec<&str> = label.iter().map(String::as_str).collect();
        let answer = Answer {
            policy: "p".to_owned(),
            digest: String::new(),
            decision: Decision::Allow(Overrides {
                labels: label.iter().map(|key| (key.clone(), "v".to_owned())).collect(),
                ..Overrides::default()
            }),
        };
        let Ok(plan) = plan(&request, &[answer]) else { return Ok(()) };
        let Some(job) = plan.job else { return Ok(()) };
        let is_pod = manifest["kind"] == json!("Pod");
        let chart = if is_pod {
            let metadata = &manifest["metadata"];
            json!({"metadata": {"labels": metadata.get("labels"), "annotations": metadata.get("annotations")},
                "spec": manifest["spec"]})
        } else {
            manifest["spec"]["template"].clone()
        };
        let cloned = job["spec"]["template"].clone();
        if with_uid {
            prop_assert_eq!(&cloned["metadata"]["labels"][OPERATION], &json!(UID));
        }
        prop_assert_eq!(without_owned(cloned, &labels, is_pod), without_owned(chart, &labels, is_pod));
    }

    #[test]
    fn no_manifest_makes_a_plan_panic(any in any_json()) {
        let _ = plan(&request(any.clone()), &[]);
        let job = |spec: &Value| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, "spec": spec});
        let _ = plan(&request(job(&any)), &[]);
        let _ = plan(&request(job(&json!({"template": any}))), &[]);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": any});
        let _ = plan(&request(pod), &[]);
    }
}
