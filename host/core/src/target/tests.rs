//! What a targetRef names, and what the tests of each kind build on.

mod instances;
mod records;
mod releases;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::operation::OperationType;
use crate::refusal::Then;
use hookhost_helm::record::Record;

fn target_ref(api_version: &str, kind: &str, name: &str) -> TargetRef {
    TargetRef { api_version: api_version.into(), kind: kind.into(), name: name.into() }
}

/// Reason, what follows, and message.
fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (Reason, Then, String) {
    let refusal = result.unwrap_err();
    (refusal.reason, refusal.then, refusal.message)
}

fn condition(type_of: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_of, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-05-28T00:00:00Z"})
}

/// An instance as vWorkspace's operator leaves it.
fn instance() -> Value {
    json!({
        "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
        "metadata": {
            "name": "nextcloud-myteam", "namespace": "org-myteam", "generation": 2,
            "labels": {"app.vworkspace.io/cluster-id": "cluster-prod-1"},
            "annotations": {
                "ops.vworkspace.io/migration": "helmHookJob", "ops.vworkspace.io/runcommand": "job",
                "kubectl.kubernetes.io/last-applied-configuration": "{}"
            }
        },
        "spec": {
            "appRef": {"catalogId": "nextcloud"},
            "chart": {"sourceType": "oci", "url": "oci://registry.example.com/charts", "name": "nextcloud", "version": "6.6.0"},
            "release": {"name": "nextcloud", "namespace": "org-myteam"}
        },
        "status": {
            "observedGeneration": 2,
            "helmReleaseRef": {"name": "nextcloud", "namespace": "org-myteam"},
            "conditions": [condition("Ready", "True", "HelmReleaseReady", "ready")]
        }
    })
}

fn check(instance: &Value) -> Result<(), Refusal> {
    Instance::from_json(instance).unwrap().check(OperationType::Migration, Readiness::Required)
}

/// What Flux 1.4 left of a small chart.
fn helm_release() -> Value {
    let list: Value =
        serde_json::from_str(include_str!("../../../../tests/fixtures/flux/helmrelease.json")).unwrap();
    list["items"][0].clone()
}

fn current(object: &Value) -> Result<(String, String, u32), Refusal> {
    let release = HelmRelease::from_json(object).unwrap();
    let record = release.current()?;
    Ok((record.namespace.to_owned(), record.release.to_owned(), record.revision))
}

fn revision(of: u32, status: &str) -> Value {
    json!({"version": of, "status": status, "name": "fx", "namespace": "default", "digest": "sha256:0", "chartName": "demo",
        "chartVersion": "0.1.0", "firstDeployed": null, "deleted": null, "testHooks": {"t": null}})
}

fn fixture_record() -> Record {
    Record::read(include_bytes!("../../../../tests/fixtures/flux/release-secret.json")).unwrap()
}

#[test]
fn three_kinds_are_served_by_their_own_api_versions() {
    for &kind in TargetKind::ALL {
        assert_eq!(TargetKind::of(&target_ref(kind.api_version(), kind.kind(), "shop")), Ok(kind));
    }
}

#[test]
fn another_version_or_kind_is_refused_with_what_to_write() {
    for (api_version, kind, expected) in [
        ("helm.toolkit.fluxcd.io/v2beta2", "HelmRelease", "served as helm.toolkit.fluxcd.io/v2: write that"),
        ("apps.vworkspace.io/v1", "ApplicationInstance", "served as apps.vworkspace.io/v1alpha1"),
        ("apps/v1", "Deployment", "\"Deployment\" of \"apps/v1\""),
        ("v1", "HelmRelease", "name ApplicationInstance (apps.vworkspace.io/v1alpha1) or HelmRelease"),
        ("helm.toolkit.fluxcd.io/v2", "helmrelease", "\"helmrelease\""),
        ("", "", "names a \"\" of \"\""),
    ] {
        let (reason, then, message) = refused(TargetKind::of(&target_ref(api_version, kind, "shop")));
        assert_eq!((reason, then), (Reason::ValidationFailed, Then::Fail));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_name_that_would_lead_elsewhere_is_refused() {
    for name in ["../secrets", "other/shop", "shop?x", "Shop", "", "shop%2f"] {
        let (reason, _, message) = refused(TargetKind::of(&target_ref("helm.sh/v3", "Release", name)));
        assert!(reason == Reason::ValidationFailed && message.contains("spec.targetRef.name"), "{message}");
    }
}

/// Any JSON, a few levels deep, with the keys that are read.
fn any_json() -> impl Strategy<Value = Value> {
    const KEYS: [&str; 16] = [
        "metadata",
        "name",
        "namespace",
        "spec",
        "status",
        "history",
        "version",
        "conditions",
        "type",
        "reason",
        "message",
        "helmReleaseRef",
        "storageNamespace",
        "kubeConfig",
        "suspend",
        "labels",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![".{0,12}", Just("Ready".to_owned()), Just("a".to_owned())].prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(KEYS.to_vec()), inner), 0..8).prop_map(|entries| {
                Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_json_makes_the_readers_panic(value in any_json(), at in prop::sample::select(vec!["/metadata", "/spec", "/status"])) {
        for genuine in [instance(), helm_release()] {
            let mut object = genuine.clone();
            *object.pointer_mut(at).unwrap() = value.clone();
            for object in [&object, &value] {
                if let Ok(release) = HelmRelease::from_json(object) {
                    let _ = release.current();
                }
                if let Ok(instance) = Instance::from_json(object) {
                    let _ = instance.check(OperationType::Migration, Readiness::Required);
                }
            }
        }
    }
}
