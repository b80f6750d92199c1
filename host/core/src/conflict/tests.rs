mod laws;

use serde_json::json;

use super::*;
use crate::refusal::Then;

/// An Operation as the API server has it.
fn operation(n: usize, created: i64, type_of: &str, hook: &str) -> Value {
    json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
        "metadata": {"name": format!("op-{n}"), "namespace": "org", "uid": format!("uid-{n}"),
            "creationTimestamp": Timestamp::from_second(created).unwrap().to_string()},
        "spec": {
            "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "shop"},
            "type": type_of, "engine": "helmHookJob", "parameters": {"hookName": hook}
        }
    })
}

fn read(operation: &Value) -> Operation {
    Operation::from_json(operation.clone()).unwrap()
}

fn other(operation: &Value, has_job: bool) -> Other<'_> {
    let text = |path| at(operation, path).and_then(Value::as_str).unwrap();
    let created = text("metadata.creationTimestamp").parse().unwrap();
    Other::of(text("metadata.name"), text("metadata.uid"), Some(created), operation, has_job)
}

/// What the Operation is told beside these; nothing where it is its turn.
fn waits_for<'a>(this: &Value, others: impl IntoIterator<Item = Other<'a>>) -> Option<String> {
    let this = read(this);
    match turn(&this, others.into_iter()) {
        Turn::Go(_) => None,
        Turn::Wait(before) => {
            let refusal = before.refusal();
            assert_eq!((refusal.reason, refusal.then), (Reason::ConflictingOperation, Then::Wait));
            Some(refusal.message)
        }
    }
}

fn blocks(other: Other<'_>, this: &Value) -> Option<String> {
    waits_for(this, [other])
}

/// A hook of the release.
fn hook_of(name: &str, event: &str) -> hookhost_helm::hook::Hook {
    let manifest = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name,
        "annotations": {"helm.sh/hook": event}}});
    let mut hook = crate::testing::hook(manifest, "org");
    hook.events = vec![event.to_owned()];
    hook.runnable = Ok(());
    hook
}

/// Another engine's Operation, older than most here.
fn foreign(type_of: &str, status: Value) -> Value {
    let mut operation = operation(9, 50, type_of, "");
    operation["spec"]["engine"] = json!("velero");
    operation["spec"]["parameters"] = json!({});
    operation["status"] = status;
    operation
}

#[test]
fn the_same_hook_of_the_same_release_runs_once_at_a_time() {
    let (first, second) =
        (operation(1, 100, "Migration", "migrate"), operation(2, 200, "RunCommand", "migrate"));
    assert_eq!(
        blocks(other(&first, true), &second).unwrap(),
        "the Operation \"op-1\" (Migration, engine helmHookJob) goes first, for the same hook of the same release: this one starts \
         when that has ended, or is deleted"
    );
    // A Job makes it started, however young.
    assert!(blocks(other(&second, true), &first).is_some());
    let other_hook = operation(3, 100, "Migration", "index");
    assert_eq!(blocks(other(&other_hook, true), &second), None);
    assert_eq!(blocks(other(&first, true), &first), None, "itself");
}

#[test]
fn of_two_that_wait_only_the_younger_waits_for_the_other() {
    let (older, younger) =
        (operation(2, 100, "Migration", "migrate"), operation(1, 200, "Migration", "migrate"));
    assert!(
        blocks(other(&older, false), &younger)
            .unwrap()
            .contains("\"op-2\" (Migration, engine helmHookJob) goes first")
    );
    assert_eq!(blocks(other(&younger, false), &older), None);

    let blocked = |reason| blocks(other(&older, false).waiting_for(Some(reason)), &younger).unwrap();
    assert!(
        blocked(Reason::DependencyMissing)
            .contains("same release, and is blocked itself (DependencyMissing): this")
    );
    assert!(!blocked(Reason::ConflictingOperation).contains("itself"), "each names the one before it");
    // Until hookhost is installed otherwise, nobody waits for one that is advised to be made again.
    for reason in [Reason::TargetKindDisabled, Reason::HookNotVerified, Reason::RestoredFromBackup] {
        assert_eq!(blocks(other(&older, false).waiting_for(Some(reason)), &younger), None, "{reason}");
        let with_job = other(&older, true).waiting_for(Some(reason));
        assert!(blocks(with_job, &younger).is_some(), "it has a Job: {reason}");
    }
    // Kubernetes' times have seconds: then the UID decides.
    let twin = operation(3, 100, "Migration", "migrate");
    assert_eq!(blocks(other(&twin, false), &older), None);
    assert!(blocks(other(&older, false), &twin).is_some());
    // An Operation in a file is younger than all.
    let mut planned = older.clone();
    planned["metadata"] = json!({"name": "planned"});
    assert!(blocks(other(&younger, false), &planned).is_some());
}

#[test]
fn what_its_status_says_that_another_operation_waits_for_decides_nothing_and_is_not_repeated() {
    let younger = operation(2, 200, "Migration", "migrate");
    for reason in
        ["ValidationFailed", "DependencyMissing", "AwaitingApproval", "TargetKindDisabled", "HookNotVerified"]
    {
        for (mut older, engine) in [
            (operation(1, 100, "Migration", "migrate"), "helmHookJob"),
            (foreign("Upgrade", json!({"phase": "Running"})), "velero"),
        ] {
            older["status"]["conditions"] = json!([{"type": "Blocked", "status": "True", "reason": reason, "message": "as another says"}]);
            let message = blocks(other(&older, false), &younger).unwrap();
            assert!(message.contains(&format!("engine {engine}) goes first")), "{message}");
            assert!(!message.contains("itself") && !message.contains(reason), "{message}");
            assert_eq!(other(&older, false).standing(), Standing::Alive);
        }
    }
    // For what another engine's waits its own host knows.
    let upgrade = foreign("Upgrade", json!({"phase": "Running"}));
    assert_eq!(other(&upgrade, false).waiting_for(Some(Reason::PolicyHeld)).blocked, None);
}

#[test]
fn in_a_line_each_waits_for_the_one_before_it_whatever_becomes_of_those_ahead() {
    let line: Vec<Value> =
        (0..4_usize).map(|n| operation(n, 100 + n as i64, "Migration", "migrate")).collect();
    let message = |has_job: [bool; 3]| {
        let others = line[..3].iter().zip(has_job).map(|(one, has_job)| other(one, has_job));
        waits_for(&line[3], others).unwrap()
    };
    let waiting = message([false; 3]);
    assert!(waiting.contains("\"op-2\""), "{waiting}");
    assert_eq!(message([true, false, false]), waiting);
    let only_it_is_left = waits_for(&line[3], [other(&line[2], true)]).unwrap();
    assert_eq!(only_it_is_left, waiting, "nothing to write while the line moves up");
}

#[test]
fn an_upgrade_restore_or_backup_in_flight_is_waited_for_whatever_its_engine() {
    let this = operation(1, 10, "Migration", "migrate");
    for type_of in ["Upgrade", "Restore", "Backup"] {
        for status in [
            json!({"phase": "Running"}),
            json!({"phase": "Pending"}),
            json!({"conditions": [{"type": "Accepted", "status": "True"}]}),
            json!({"phase": "Pending", "startedAt": "2026-05-28T00:00:00Z"}),
        ] {
            let message = blocks(other(&foreign(type_of, status.clone()), false), &this);
            let message = message.unwrap_or_else(|| panic!("{type_of} {status}"));
            assert!(message.contains("engine velero) goes first"), "{message}");
        }
        for status in [
            json!(null),
            json!({"phase": "Succeeded"}),
            json!({"phase": "Cancelled"}),
            json!({"phase": "Running", "finishedAt": "2026-05-28T00:00:00Z"}),
            json!({"phase": "Running", "conditions": [{"type": "Failed", "status": "True"}]}),
            // It may be waiting for this one.
            json!({"phase": "Pending", "conditions": [{"type": "Blocked", "status": "True"}]}),
        ] {
            assert_eq!(
                blocks(other(&foreign(type_of, status.clone()), false), &this),
                None,
                "{type_of} {status}"
            );
        }
    }
    for type_of in ["Migration", "RunCommand", "Runbook", "Novel"] {
        assert_eq!(
            blocks(other(&foreign(type_of, json!({"phase": "Running"})), false), &this),
            None,
            "{type_of}"
        );
    }
}

#[test]
fn of_another_engine_an_upgrade_alone_is_one_whose_end_may_never_be_reported() {
    let this = operation(1, 100, "Migration", "migrate");
    let before = |one: &Value| {
        let Turn::Wait(before) = turn(&read(&this), [other(one, true)].into_iter()) else { panic!("{one}") };
        (before.upgrade(), before.refusal().message)
    };
    let mut running = foreign("Upgrade", json!({"phase": "Running"}));
    let (upgrade, told) = before(&running);
    assert_eq!(upgrade, Some(Upgrade { uid: "uid-9".into(), since: Timestamp::from_second(50).unwrap() }));
    assert!(told.ends_with("has been upgraded and is ready, or 1h after it began"), "{told}");
    running["status"]["startedAt"] = json!("2026-05-28T10:00:00Z");
    assert_eq!(
        before(&running).0.map(|upgrade| upgrade.since.to_string()),
        Some("2026-05-28T10:00:00Z".into())
    );
    for one in [foreign("Backup", json!({"phase": "Running"})), operation(2, 50, "Upgrade", "migrate")] {
        let (upgrade, told) = before(&one);
        assert!(upgrade.is_none() && !told.contains("1h"), "{told}");
    }
}

#[test]
fn who_may_be_in_the_way_of_none_is_waited_for_by_none() {
    let types = ["Upgrade", "Restore", "Backup", "Migration", "RunCommand", "Runbook", "Novel"];
    let statuses = [
        json!(null),
        json!({"phase": "Running"}),
        json!({"phase": "Pending"}),
        json!({"phase": "Pending", "conditions": [{"type": "Blocked", "status": "True"}]}),
        json!({"phase": "Succeeded"}),
    ];
    for type_of in types {
        for status in &statuses {
            let mut own = operation(1, 50, type_of, "migrate");
            own["status"] = status.clone();
            for one in [own, foreign(type_of, status.clone())] {
                let wait = |type_of: &str| {
                    waits_for(&operation(2, 200, type_of, "migrate"), [other(&one, false)]).is_some()
                };
                let is_waited_for = ["Restore", "Migration"].into_iter().any(wait);
                assert_eq!(other(&one, false).may_be_in_the_way(), is_waited_for, "{one}");
            }
        }
    }
}

#[test]
fn a_restore_by_a_hook_waits_for_other_hooks_and_migrations() {
    for type_of in ["Upgrade", "Restore", "Backup"] {
        let this = operation(2, 200, type_of, "restore");
        for hook in ["Migration", "RunCommand", "Runbook"] {
            let at_work = operation(1, 100, hook, "migrate");
            assert!(
                blocks(other(&at_work, true), &this).unwrap().contains("goes first, on the same release"),
                "{hook}"
            );
        }
        assert!(blocks(other(&foreign("Migration", json!({"phase": "Running"})), false), &this).is_some());
        // Commands of other engines are safe beside everything.
        assert_eq!(blocks(other(&foreign("RunCommand", json!({"phase": "Running"})), false), &this), None);
    }
}

#[test]
fn all_hooks_of_an_event_and_any_hook_of_the_release_wait_for_each_other() {
    let mut event = operation(1, 100, "Migration", "");
    event["spec"]["parameters"] = json!({"event": "post-upgrade"});
    let hook = operation(2, 200, "Migration", "migrate");
    let message = blocks(other(&event, false), &hook).unwrap();
    assert!(message.contains("\"op-1\"") && message.contains("with hooks of the same release"), "{message}");
    assert_eq!(blocks(other(&hook, false), &event), None, "the older goes first");
    let running = blocks(other(&hook, true), &event).unwrap();
    assert!(running.contains("\"op-2\""), "{running}");
    let command = foreign("RunCommand", json!({"phase": "Running"}));
    assert_eq!(blocks(other(&command, false), &event), None, "another engine's");
}

#[test]
fn an_operation_that_has_ended_blocks_nobody_whatever_its_phase() {
    let this = operation(2, 200, "Migration", "migrate");
    let mut done = operation(1, 100, "Migration", "migrate");
    // As the Go operator overwrites it.
    done["status"] = json!({"phase": "Pending", "finishedAt": "2026-05-28T00:00:00Z",
        "conditions": [{"type": "Blocked", "status": "True"}, {"type": "Succeeded", "status": "True"}]});
    assert_eq!(blocks(other(&done, true), &this), None);
    // A phase alone does not end an Operation of ours.
    done["status"] = json!({"phase": "Succeeded"});
    assert!(blocks(other(&done, true), &this).is_some());
}

#[test]
fn nothing_in_another_operation_can_do_harm() {
    let this = operation(2, 200, "Migration", "migrate");
    let mut hostile = operation(1, 100, "Upgrade", "migrate");
    hostile["spec"]["engine"] = json!("e\nvil\u{1b}[31m");
    hostile["status"] = json!({"phase": "Running"});
    let message = waits_for(&this, [other(&hostile, false)]).unwrap();
    assert!(message.contains("engine e vil [31m"), "{message}");
    for wrong in [
        json!(null),
        json!([]),
        json!({"spec": 7, "status": []}),
        json!({"spec": {"targetRef": "x", "type": 1}}),
    ] {
        assert_eq!(waits_for(&this, [Other::of("a", "b", None, &wrong, true)]), None);
    }
}

#[test]
fn of_a_stuck_operation_only_what_does_not_run_its_hook_goes_past() {
    let mut event = operation(1, 100, "Migration", "");
    event["spec"]["parameters"] = json!({"event": "post-upgrade"});
    let hook = operation(2, 200, "Migration", "migrate");
    fn held(operation: &Value) -> Other<'_> {
        other(operation, false).waiting_for(Some(Reason::AwaitingApproval))
    }
    let past = |this: &Value, others: &[Other<'_>]| match turn(&read(this), others.iter().cloned()) {
        Turn::Go(overtaken) => overtaken,
        Turn::Wait(before) => panic!("{before:?}"),
    };
    let overtaken = past(&hook, &[held(&event)]);
    assert_eq!(overtaken.len(), 1);
    // The release tells which hooks the event has.
    assert!(overtaken[0].shares(&[&hook_of("migrate", "post-upgrade")]));
    assert!(!overtaken[0].shares(&[&hook_of("migrate", "pre-upgrade")]));
    let told = overtaken[0].refusal().message;
    assert!(told.contains("\"op-1\"") && told.contains("blocked itself (AwaitingApproval)"), "{told}");

    // The other way round.
    let hook = operation(1, 100, "Migration", "migrate");
    event["metadata"] = operation(2, 200, "Migration", "")["metadata"].take();
    let overtaken = past(&event, &[held(&hook)]);
    assert!(overtaken[0].shares(&[&hook_of("migrate", "post-upgrade")]));
    assert!(!overtaken[0].shares(&[&hook_of("index", "post-upgrade")]));

    // Not past one of the same hook, nor past one that nothing may work beside.
    assert!(blocks(held(&hook), &operation(2, 200, "Migration", "migrate")).is_some());
    let restore = operation(1, 100, "Restore", "restore");
    assert!(blocks(held(&restore), &event).is_some());
    // Past one that waits for a stuck one of its hook, for as long.
    let waits = operation(3, 150, "Migration", "migrate");
    assert_eq!(past(&event, &[held(&hook), other(&waits, false)]).len(), 2);
    assert!(waits_for(&event, [other(&hook, false), other(&waits, false)]).unwrap().contains("\"op-3\""));
}

#[test]
fn a_template_and_its_last_parts_may_be_the_same_hook() {
    let by = |n: usize, path: &str| {
        let mut operation = operation(n, 100 * n as i64, "Migration", "");
        operation["spec"]["parameters"] = json!({"hookPath": path});
        operation
    };
    let second = by(2, "templates/migrate.yaml");
    for (path, is_same) in [
        ("shop/templates/migrate.yaml", true),
        ("migrate.yaml", true),
        ("other/migrate.yaml", false),
        ("emigrate.yaml", false),
    ] {
        assert_eq!(blocks(other(&by(1, path), false), &second).is_some(), is_same, "{path}");
    }
    assert_eq!(
        blocks(other(&operation(1, 100, "Migration", "migrate"), true), &second),
        None,
        "their Jobs tell"
    );
}
