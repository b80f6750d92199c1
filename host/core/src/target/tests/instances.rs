//! ApplicationInstances, and whether an Operation may run on one.

use super::*;

#[test]
fn an_instance_that_is_ready_and_capable_passes() {
    let read = Instance::from_json(&instance()).unwrap();
    assert_eq!(read.check(OperationType::Migration, Readiness::Required), Ok(()));
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
fn between_hooks_of_an_event_an_instance_may_be_not_ready_and_nothing_else() {
    let mut object = instance();
    object["status"]["conditions"][0]["status"] = json!("False");
    let passed = |object: &Value| {
        Instance::from_json(object).unwrap().check(OperationType::Migration, Readiness::Passed)
    };
    assert_eq!(refused(check(&object)).0, Reason::TargetNotReady);
    assert_eq!(passed(&object), Ok(()));
    object["metadata"]["annotations"] = json!({});
    assert_eq!(refused(passed(&object)).0, Reason::CapabilityMissing);
    object["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:00:00Z");
    assert_eq!(refused(passed(&object)).0, Reason::TargetNotFound);
}

#[test]
fn the_capability_is_asked_for_by_the_operations_type() {
    let read = Instance::from_json(&instance()).unwrap();
    let (reason, then, message) = refused(read.check(OperationType::RunCommand, Readiness::Required));
    assert_eq!((reason, then), (Reason::CapabilityMissing, Then::Fail));
    assert!(message.contains("gives RunCommand to the engine \"job\""), "{message}");
    let (.., message) = refused(read.check(OperationType::Backup, Readiness::Required));
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
