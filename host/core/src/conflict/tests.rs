use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::refusal::Then;

/// An Operation as the API server has it.
fn operation(n: usize, created: i64, type_of: &str, target: &str, hook: &str) -> Value {
    json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
        "metadata": {"name": format!("op-{n}"), "namespace": "org", "uid": format!("uid-{n}"),
            "creationTimestamp": Timestamp::from_second(created).unwrap().to_string()},
        "spec": {
            "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": target},
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

fn blocks(other: Other<'_>, this: &Value) -> Option<String> {
    blocking(&read(this), [other].into_iter()).map(|refusal| {
        assert_eq!((refusal.reason, refusal.then), (Reason::ConflictingOperation, Then::Wait));
        refusal.message
    })
}

/// Another engine's Operation, older than most here.
fn foreign(type_of: &str, status: Value) -> Value {
    let mut operation = operation(9, 50, type_of, "shop", "");
    operation["spec"]["engine"] = json!("velero");
    operation["spec"]["parameters"] = json!({});
    operation["status"] = status;
    operation
}

#[test]
fn the_same_hook_of_the_same_target_runs_once_at_a_time() {
    let (first, second) = (
        operation(1, 100, "Migration", "shop", "migrate"),
        operation(2, 200, "RunCommand", "shop", "migrate"),
    );
    assert_eq!(
        blocks(other(&first, true), &second).unwrap(),
        "the Operation \"op-1\" (Migration, engine helmHookJob) goes first, for the same hook of the same target: this one starts \
         when that has ended, or is deleted"
    );
    // A Job makes it started, however young.
    assert!(blocks(other(&second, true), &first).is_some());
    let elsewhere = operation(3, 100, "Migration", "other", "migrate");
    assert_eq!(blocks(other(&elsewhere, true), &second), None);
    let other_hook = operation(3, 100, "Migration", "shop", "index");
    assert_eq!(blocks(other(&other_hook, true), &second), None);
    let mut other_kind = first.clone();
    other_kind["spec"]["targetRef"]["kind"] = json!("HelmRelease");
    assert_eq!(blocks(other(&other_kind, true), &second), None);
    assert_eq!(blocks(other(&first, true), &first), None, "itself");
}

#[test]
fn of_two_that_wait_only_the_younger_waits_for_the_other() {
    let (older, younger) = (
        operation(2, 100, "Migration", "shop", "migrate"),
        operation(1, 200, "Migration", "shop", "migrate"),
    );
    assert!(
        blocks(other(&older, false), &younger)
            .unwrap()
            .contains("\"op-2\" (Migration, engine helmHookJob) goes first")
    );
    assert_eq!(blocks(other(&younger, false), &older), None);

    let blocked = |reason: &str| {
        let mut older = older.clone();
        older["status"] = json!({"conditions": [{"type": "Blocked", "status": "True", "reason": reason}]});
        blocks(other(&older, false), &younger).unwrap()
    };
    assert!(
        blocked("DependencyMissing").contains("same target, and is blocked itself (DependencyMissing): this")
    );
    assert!(!blocked("ConflictingOperation").contains("itself"), "each names the one before it");
    // Kubernetes' times have seconds: then the UID decides.
    let twin = operation(3, 100, "Migration", "shop", "migrate");
    assert_eq!(blocks(other(&twin, false), &older), None);
    assert!(blocks(other(&older, false), &twin).is_some());
    // An Operation in a file is younger than all.
    let mut planned = older.clone();
    planned["metadata"] = json!({"name": "planned"});
    assert!(blocks(other(&younger, false), &planned).is_some());
}

#[test]
fn in_a_line_each_waits_for_the_one_before_it_whatever_becomes_of_those_ahead() {
    let line: Vec<Value> =
        (0..4_usize).map(|n| operation(n, 100 + n as i64, "Migration", "shop", "migrate")).collect();
    let message = |has_job: [bool; 3]| {
        let others = line[..3].iter().zip(has_job).map(|(one, has_job)| other(one, has_job));
        blocking(&read(&line[3]), others).unwrap().message
    };
    let waiting = message([false; 3]);
    assert!(waiting.contains("\"op-2\""), "{waiting}");
    assert_eq!(message([true, false, false]), waiting);
    let only_it_is_left = blocking(&read(&line[3]), [other(&line[2], true)].into_iter()).unwrap().message;
    assert_eq!(only_it_is_left, waiting, "nothing to write while the line moves up");
}

#[test]
fn an_upgrade_restore_or_backup_in_flight_is_waited_for_whatever_its_engine() {
    let this = operation(1, 10, "Migration", "shop", "migrate");
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
fn a_restore_by_a_hook_waits_for_other_hooks_and_migrations() {
    for type_of in ["Upgrade", "Restore", "Backup"] {
        let this = operation(2, 200, type_of, "shop", "restore");
        for hook in ["Migration", "RunCommand", "Runbook"] {
            let at_work = operation(1, 100, hook, "shop", "migrate");
            assert!(
                blocks(other(&at_work, true), &this).unwrap().contains("goes first, on the same target"),
                "{hook}"
            );
        }
        assert!(blocks(other(&foreign("Migration", json!({"phase": "Running"})), false), &this).is_some());
        // Commands of other engines are safe beside everything.
        assert_eq!(blocks(other(&foreign("RunCommand", json!({"phase": "Running"})), false), &this), None);
    }
}

#[test]
fn all_hooks_of_an_event_and_any_hook_of_the_target_wait_for_each_other() {
    let mut event = operation(1, 100, "Migration", "shop", "");
    event["spec"]["parameters"] = json!({"event": "post-upgrade"});
    let hook = operation(2, 200, "Migration", "shop", "migrate");
    let message = blocks(other(&event, false), &hook).unwrap();
    assert!(message.contains("\"op-1\"") && message.contains("with hooks of the same target"), "{message}");
    assert_eq!(blocks(other(&hook, false), &event), None, "the older goes first");
    let running = blocks(other(&hook, true), &event).unwrap();
    assert!(running.contains("\"op-2\""), "{running}");
    let elsewhere = operation(3, 50, "Migration", "other", "migrate");
    assert_eq!(blocks(other(&elsewhere, true), &event), None);
    let command = foreign("RunCommand", json!({"phase": "Running"}));
    assert_eq!(blocks(other(&command, false), &event), None, "another engine's");
}

#[test]
fn an_operation_that_has_ended_blocks_nobody_whatever_its_phase() {
    let this = operation(2, 200, "Migration", "shop", "migrate");
    let mut done = operation(1, 100, "Migration", "shop", "migrate");
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
    let this = read(&operation(2, 200, "Migration", "shop", "migrate"));
    let mut hostile = operation(1, 100, "Upgrade", "shop", "migrate");
    hostile["spec"]["engine"] = json!("e\nvil\u{1b}[31m");
    hostile["status"] = json!({"phase": "Running"});
    let message = blocking(&this, [other(&hostile, false)].into_iter()).unwrap().message;
    assert!(message.contains("engine e vil [31m"), "{message}");
    for wrong in [
        json!(null),
        json!([]),
        json!({"spec": 7, "status": []}),
        json!({"spec": {"targetRef": "x", "type": 1}}),
    ] {
        assert_eq!(blocking(&this, [Other::of("a", "b", None, &wrong, true)].into_iter()), None);
    }
}

/// What one of the Operations of a law does next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Started,
    Ended,
}

fn may_start(all: &[(Value, State)], n: usize) -> bool {
    let others = all.iter().map(|(operation, state)| {
        let mut other = other(operation, *state == State::Started);
        if *state == State::Ended {
            other.progress = Progress::Over;
        }
        other
    });
    blocking(&read(&all[n].0), others).is_none()
}

fn any_operations() -> impl Strategy<Value = Vec<Value>> {
    let one = (0_i64..4, prop::sample::select(OperationType::ALL.to_vec()), 0..2_u8, 0..3_u8);
    prop::collection::vec(one, 1..7).prop_map(|all| {
        let each = all.into_iter().enumerate();
        each.map(|(n, (created, type_of, target, hook))| {
            operation(
                n,
                created,
                type_of.as_str(),
                ["shop", "wiki"][usize::from(target)],
                ["a", "b", "c"][usize::from(hook)],
            )
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Of the Operations of one hook, whatever else they are, one may start if none has, and none if one has.
    #[test]
    fn one_hook_is_started_by_exactly_one(
        created in prop::collection::vec(0_i64..3, 1..6), started in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut all: Vec<(Value, State)> = created
            .iter()
            .enumerate()
            .map(|(n, created)| (operation(n, *created, "RunCommand", "shop", "migrate"), State::Waiting))
            .collect();
        let started = started.map(|started| started.index(all.len()));
        if let Some(n) = started {
            all[n].1 = State::Started;
        }
        let free = (0..all.len()).filter(|n| all[*n].1 == State::Waiting && may_start(&all, *n)).count();
        prop_assert_eq!(free, usize::from(started.is_none()));
    }

    /// However they start and end: two that conflict are never at work at once, and in the end all have run.
    #[test]
    fn nobody_waits_for_ever_and_no_two_that_conflict_run(
        operations in any_operations(), choices in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let mut all: Vec<(Value, State)> = operations.into_iter().map(|one| (one, State::Waiting)).collect();
        for choice in choices {
            let ready: Vec<usize> = (0..all.len())
                .filter(|n| match all[*n].1 {
                    State::Waiting => may_start(&all, *n),
                    State::Started => true,
                    State::Ended => false,
                })
                .collect();
            if ready.is_empty() {
                break;
            }
            let n = ready[choice.index(ready.len())];
            all[n].1 = if all[n].1 == State::Waiting { State::Started } else { State::Ended };
            let at_work: Vec<&Value> =
                all.iter().filter(|(_, state)| *state == State::Started).map(|(one, _)| one).collect();
            for one in &at_work {
                for two in &at_work {
                    prop_assert_eq!(other(two, true).conflicts(&read(one)), None);
                }
            }
        }
        prop_assert!(all.iter().all(|(_, state)| *state == State::Ended), "{:?}", all);
    }
}
