use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::operation::OperationType;
use crate::record::{Record, Status};
use crate::refusal::Then;
use crate::snapshot::Verification;

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
    Instance::from_json(instance).unwrap().check(OperationType::Migration)
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
    for kind in TargetKind::ALL {
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

#[test]
fn an_instance_that_is_ready_and_capable_passes() {
    let read = Instance::from_json(&instance()).unwrap();
    assert_eq!(read.check(OperationType::Migration), Ok(()));
    assert_eq!(read.helm_release.to_string(), "org-myteam/nextcloud");
    assert_eq!(read.labels["app.vworkspace.io/cluster-id"], "cluster-prod-1");
    assert_eq!(read.annotations.len(), 2, "without kubectl's copy");
}

#[test]
fn an_instances_checks_come_in_vworkspaces_order() {
    let mut broken = instance();
    broken["metadata"]["annotations"] = json!({});
    assert_eq!(refused(check(&broken)).0, Reason::CapabilityMissing);
    broken["status"]["conditions"] = json!([]);
    assert_eq!(refused(check(&broken)).0, Reason::TargetNotReady);
    broken["spec"]["mode"] = json!("placeholder");
    let (reason, then, message) = refused(check(&broken));
    assert_eq!((reason, then), (Reason::HookRequiresRelease, Then::Fail));
    assert!(message.contains("is a placeholder"), "{message}");
    broken["metadata"]["deletionTimestamp"] = json!("2026-05-28T00:00:00Z");
    assert_eq!(refused(check(&broken)).0, Reason::TargetNotFound);
}

#[test]
fn an_instance_that_is_not_ready_is_told_in_its_own_words() {
    let mut broken = instance();
    broken["status"]["conditions"] = json!([
        condition("Ready", "False", "HelmReleaseFailed", "install\nfailed"),
        condition("Blocked", "True", "MissingDependencies", "no Secret db"),
        condition("Degraded", "False", "Recovered", ""),
        condition("Suspended", "True", "SuspendedByUser", ""),
    ]);
    let (reason, then, message) = refused(check(&broken));
    assert_eq!((reason, then), (Reason::TargetNotReady, Then::Wait));
    assert_eq!(
        message,
        "the ApplicationInstance org-myteam/nextcloud-myteam is not ready: Ready=False/HelmReleaseFailed: install failed; \
         Blocked=True/MissingDependencies: no Secret db; Suspended=True/SuspendedByUser"
    );
    broken["status"] = json!(null);
    assert!(refused(check(&broken)).2.contains("is vWorkspace's operator running?"));
}

#[test]
fn an_instance_that_its_operator_has_not_seen_in_its_latest_form_waits() {
    let mut stale = instance();
    stale["metadata"]["generation"] = json!(3);
    let (reason, then, message) = refused(check(&stale));
    assert_eq!((reason, then), (Reason::TargetNotReady, Then::Wait));
    assert!(message.contains("generation 3, seen 2"), "{message}");
    stale["status"]["conditions"][0]["observedGeneration"] = json!(3);
    assert_eq!(check(&stale), Ok(()), "the condition's own word is nearer");
}

#[test]
fn the_capability_is_asked_for_by_the_operations_type() {
    let read = Instance::from_json(&instance()).unwrap();
    let (reason, then, message) = refused(read.check(OperationType::RunCommand));
    assert_eq!((reason, then), (Reason::CapabilityMissing, Then::Fail));
    assert!(message.contains("gives RunCommand to the engine \"job\""), "{message}");
    let (.., message) = refused(read.check(OperationType::Backup));
    let command = "kubectl annotate applicationinstance -n org-myteam nextcloud-myteam --overwrite ops.vworkspace.io/backup=helmHookJob";
    assert!(message.ends_with(command), "{message}");
    let mut spaced = instance();
    spaced["metadata"]["annotations"]["ops.vworkspace.io/migration"] = json!(" helmHookJob ");
    assert_eq!(check(&spaced), Ok(()), "as vWorkspace reads it");
}

#[test]
fn an_instances_helm_release_is_beside_it() {
    let mut object = instance();
    object["status"].as_object_mut().unwrap().remove("helmReleaseRef");
    object["spec"]["release"]["name"] = json!("other");
    assert_eq!(Instance::from_json(&object).unwrap().helm_release.to_string(), "org-myteam/other");
    object["status"]["helmReleaseRef"] = json!({"name": "x", "namespace": "org-other"});
    let error = Instance::from_json(&object).unwrap_err().to_string();
    assert!(error.contains("has \"org-other\" at status.helmReleaseRef.namespace"), "{error}");
}

#[test]
fn the_newest_revision_of_a_history_counts_wherever_it_stands() {
    assert_eq!(current(&helm_release()), Ok(("default".into(), "fx".into(), 1)));
    let mut object = helm_release();
    object["status"]["history"] =
        json!([revision(2, "superseded"), null, revision(10, "deployed"), revision(9, "failed")]);
    assert_eq!(current(&object), Ok(("default".into(), "fx".into(), 10)));
}

#[test]
fn places_are_read_from_the_status_and_must_be_those_of_the_spec() {
    let mut object = helm_release();
    object["spec"]["targetNamespace"] = json!("apps");
    object["spec"]["storageNamespace"] = json!("store");
    let (reason, then, message) = refused(current(&object));
    assert_eq!((reason, then), (Reason::ReleaseBusy, Then::Wait));
    assert!(message.contains("release in the namespace default, but its spec wants it in apps"), "{message}");
    object["status"]["history"][0]["namespace"] = json!("apps");
    assert!(refused(current(&object)).2.contains("record in the namespace default"));
    object["status"]["storageNamespace"] = json!("store");
    assert_eq!(current(&object), Ok(("store".into(), "fx".into(), 1)));
}

#[test]
fn a_release_in_no_state_to_run_hooks_of_is_refused() {
    type Change = fn(&mut Value);
    let table: [(Change, Reason, Then, &str); 14] = [
        (
            |r| r["metadata"]["deletionTimestamp"] = json!("x"),
            Reason::TargetNotFound,
            Then::Fail,
            "being deleted",
        ),
        (|r| r["spec"]["kubeConfig"] = json!({}), Reason::RemoteCluster, Then::Fail, "spec.kubeConfig"),
        (
            |r| r["status"]["history"] = json!([]),
            Reason::HookRequiresRelease,
            Then::Fail,
            "Ready=True/InstallSucceeded",
        ),
        (|r| r["status"] = json!(null), Reason::HookRequiresRelease, Then::Fail, "has no release yet"),
        (
            |r| r["status"]["history"][0]["status"] = json!("failed"),
            Reason::TargetNotReady,
            Then::Wait,
            "revision 1 of the HelmRelease default/fx has failed half-way",
        ),
        (
            |r| r["status"]["history"][0]["status"] = json!("uninstalled"),
            Reason::HookRequiresRelease,
            Then::Fail,
            "is uninstalled",
        ),
        (
            |r| r["status"]["history"][0]["status"] = json!("pending-upgrade"),
            Reason::ReleaseBusy,
            Then::Wait,
            "pending-upgrade",
        ),
        (
            |r| r["status"]["history"][0]["status"] = json!("uninstalling"),
            Reason::ReleaseBusy,
            Then::Wait,
            "uninstalling",
        ),
        (
            |r| r["status"]["history"][0]["status"] = json!("superseded"),
            Reason::ReleaseBusy,
            Then::Wait,
            "superseded",
        ),
        (
            |r| r["status"]["history"][0]["status"] = json!("new"),
            Reason::TargetNotReady,
            Then::Wait,
            "does not know",
        ),
        (
            |r| {
                let conditions = r["status"]["conditions"].as_array_mut().unwrap();
                conditions.push(condition("Remediated", "True", "RollbackSucceeded", "rolled back"));
            },
            Reason::TargetNotReady,
            Then::Wait,
            "what Flux went back to (True/RollbackSucceeded: rolled back)",
        ),
        (
            |r| {
                r["status"]["conditions"][0] = condition(
                    "Ready",
                    "Unknown",
                    "Progressing",
                    "Running 'upgrade' action with timeout of 1m0s",
                );
            },
            Reason::ReleaseBusy,
            Then::Wait,
            "Running 'upgrade' action",
        ),
        (
            |r| {
                r["status"]["conditions"][1] = condition(
                    "Reconciling",
                    "True",
                    "Progressing",
                    "Running 'test' action with timeout of 1m0s",
                );
            },
            Reason::ReleaseBusy,
            Then::Wait,
            "Running 'test' action",
        ),
        (
            |r| {
                r["status"]["history"] = json!([]);
                r["status"]["conditions"] =
                    json!([condition("Ready", "Unknown", "Progressing", "Running 'install' action")]);
            },
            Reason::ReleaseBusy,
            Then::Wait,
            "Running 'install' action",
        ),
    ];
    for (change, reason, then, words) in table {
        let mut object = helm_release();
        change(&mut object);
        let refusal = refused(current(&object));
        assert_eq!((refusal.0, refusal.1), (reason, then), "{}", refusal.2);
        assert!(refusal.2.contains(words), "{}", refusal.2);
    }
}

#[test]
fn flux_not_being_ready_is_no_reason_by_itself() {
    let mut object = helm_release();
    object["status"]["conditions"] = json!([
        condition("Ready", "False", "SourceNotReady", "no artifact"),
        condition("Reconciling", "True", "Progressing", "Fulfilling prerequisites"),
    ]);
    assert!(current(&object).is_ok());
    // What a suspended HelmRelease says is of the past.
    object["spec"]["suspend"] = json!(true);
    object["status"]["conditions"] = json!([condition(
        "Ready",
        "Unknown",
        "Progressing",
        "Running 'upgrade' action with timeout of 1m0s"
    )]);
    assert!(current(&object).is_ok());
}

#[test]
fn a_field_of_the_wrong_type_is_told_by_its_path() {
    for (pointer, value, expected) in [
        (
            "/status/history/0/version",
            json!("1"),
            "has \"1\" at status.history[0].version, expected a whole number",
        ),
        ("/status/history/0/version", json!(0), "has 0 at status.history[0].version, expected a revision"),
        ("/status/history/0/name", json!("../x"), "status.history[0].name"),
        ("/status/history/0", json!("x"), "has nothing at status.history[0].name, expected a release's name"),
        ("/status/history", json!({}), "has a mapping at status.history, expected a list of at most 100"),
        ("/status/storageNamespace", json!("a/b"), "status.storageNamespace"),
        ("/spec", json!({"suspend": "yes"}), "has \"yes\" at spec.suspend, expected true or false"),
        ("/metadata/name", json!(null), "has nothing at metadata.name, expected a name"),
    ] {
        let mut object = helm_release();
        *object.pointer_mut(pointer).unwrap() = value;
        let error = HelmRelease::from_json(&object).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(Refusal::from(error).reason, Reason::ValidationFailed);
    }
    let many: Vec<Value> = (1..=101).map(|n| revision(n, "superseded")).collect();
    let mut object = helm_release();
    object["status"]["history"] = json!(many);
    assert!(HelmRelease::from_json(&object).is_err());
}

#[test]
fn the_record_that_flux_means_passes() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    assert_eq!(at.secret_name(), "sh.helm.release.v1.fx.v1");
    assert_eq!(at.successor_name(), "sh.helm.release.v1.fx.v2");
    assert_eq!(check_record(&fixture_record(), &at), Ok(()));
    assert_eq!(successor_exists(&at).reason, Reason::ReleaseBusy);
    assert_eq!((no_record(&at).reason, no_record(&at).then), (Reason::ReleaseBusy, Then::Wait));
}

#[test]
fn a_record_of_another_release_is_refused() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    type Change = fn(&mut Record);
    let changes: [(Change, &str); 5] = [
        (|r| r.name = "evil".into(), "its release is \"evil\", not \"fx\""),
        (|r| r.namespace = "kube-system".into(), "its namespace is \"kube-system\", not \"default\""),
        (|r| r.revision = 7, "its revision is \"7\", not \"1\""),
        (|r| r.chart.name = "x".into(), "its chart is \"x\""),
        (|r| r.chart.version = "9".into(), "its chart's version is \"9\""),
    ];
    for (change, words) in changes {
        let mut record = fixture_record();
        change(&mut record);
        let (reason, then, message) = refused(check_record(&record, &at));
        assert_eq!((reason, then), (Reason::ReleaseTampered, Then::Fail));
        assert!(message.contains(words), "{message}");
    }
    // A plain release is stored where it is installed.
    let at = RecordRef { namespace: "other", snapshot: None, ..at };
    assert_eq!(refused(check_record(&fixture_record(), &at)).0, Reason::ReleaseTampered);
}

#[test]
fn a_records_state_decides_and_helm_at_work_comes_first() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let flux = release.current().unwrap();
    let plain = RecordRef { snapshot: None, ..flux };
    let later = Then::RetryAfter(RETRY_SECONDS);
    for (status, reason, then, then_plain) in [
        (Status::PendingUpgrade, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Uninstalling, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Superseded, Reason::ReleaseBusy, Then::Wait, later),
        (Status::Failed, Reason::TargetNotReady, Then::Wait, later),
        (Status::Unknown, Reason::TargetNotReady, Then::Wait, later),
        (Status::Uninstalled, Reason::HookRequiresRelease, Then::Fail, Then::Fail),
    ] {
        let mut record = fixture_record();
        record.status = status;
        let refusal = check_record(&record, &flux).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (reason, then), "{status}");
        let refusal = check_record(&record, &plain).unwrap_err();
        assert_eq!((refusal.reason, refusal.then), (reason, then_plain), "{status}");
        record.name = "evil".into();
        let expected = if status.is_pending() { Reason::ReleaseBusy } else { Reason::ReleaseTampered };
        assert_eq!(check_record(&record, &flux).unwrap_err().reason, expected, "{status}");
    }
}

#[test]
fn only_a_verified_record_passes() {
    let release = HelmRelease::from_json(&helm_release()).unwrap();
    let at = release.current().unwrap();
    assert_eq!(check_verified(&at, &Verification::Verified), Ok(()));
    for (verification, words) in [
        (
            Verification::Mismatch { expected: "sha256:1".into(), found: "sha256:2".into() },
            "Flux wrote sha256:1",
        ),
        (Verification::Unverifiable { why: "it has blanks".into() }, "it has blanks"),
    ] {
        let (reason, then, message) = refused(check_verified(&at, &verification));
        assert_eq!((reason, then), (Reason::ReleaseTampered, Then::Fail));
        assert!(message.contains(words) && message.contains("default/sh.helm.release.v1.fx.v1"), "{message}");
    }
}

#[test]
fn of_a_plain_release_only_the_newest_revision_counts() {
    let stored = |list: &[(u32, &str)]| -> Vec<(u32, String)> {
        list.iter().map(|(revision, status)| (*revision, (*status).to_owned())).collect()
    };
    assert_eq!(
        deployed_revision("shop", &stored(&[(2, "superseded"), (10, "deployed"), (9, "failed")])),
        Ok(10)
    );
    // Concurrent writers can leave several that are called deployed.
    assert_eq!(deployed_revision("shop", &stored(&[(3, "deployed"), (2, "deployed")])), Ok(3));
    let later = Then::RetryAfter(RETRY_SECONDS);
    for (list, reason, then, words) in [
        (&[][..], Reason::HookRequiresRelease, Then::Fail, "there is no Helm release \"shop\""),
        (
            &[(1, "deployed"), (2, "pending-upgrade")],
            Reason::ReleaseBusy,
            later,
            "revision 2 of the release shop is pending",
        ),
        (&[(1, "deployed"), (2, "failed")], Reason::TargetNotReady, later, "roll it back"),
        (&[(1, "superseded"), (2, "superseded")], Reason::ReleaseBusy, later, "deployed just now"),
        (&[(1, "uninstalled")], Reason::HookRequiresRelease, Then::Fail, "uninstalled"),
        (&[(1, "")], Reason::TargetNotReady, later, "unknown"),
    ] {
        let refusal = refused(deployed_revision("shop", &stored(list)));
        assert_eq!((refusal.0, refusal.1), (reason, then), "{}", refusal.2);
        assert!(refusal.2.contains(words), "{}", refusal.2);
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
                    let _ = instance.check(OperationType::Migration);
                }
            }
        }
    }
}
