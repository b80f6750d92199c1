//! HelmReleases, and which record of theirs counts.

use super::*;

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
