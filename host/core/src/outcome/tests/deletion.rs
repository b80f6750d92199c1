//! Jobs that are being deleted, and what their pods still do.

use serde_json::{Value, json};

use super::*;

pub(super) fn deleting(mut job: Value) -> Value {
    job["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    job
}

/// A pod whose owner was taken away, as a deletion that orphans the pods does.
pub(super) fn orphan(mut pod: Value) -> Value {
    pod["metadata"]["ownerReferences"] = json!([]);
    pod["metadata"]["labels"] = json!({"batch.kubernetes.io/controller-uid": UID});
    pod
}

fn at_work(name: &str) -> Value {
    pod(name, 1, json!({"phase": "Running"}))
}

/// A pod that ended with 0 at this time.
fn done(name: &str, finished: &str) -> Value {
    let mut status = ended("migrate", 0, "Completed");
    status["state"]["terminated"]["finishedAt"] = json!(finished);
    pod(name, 1, json!({"phase": "Succeeded", "containerStatuses": [status]}))
}

#[test]
fn a_job_in_deletion_is_told_by_its_pods() {
    let gone = deleting(job(json!({"active": 1})));
    let deleted = |running| Outcome::Deleted { pod: None, running, went_on: None, culprit: None };
    assert_eq!(look(&gone, &[]), deleted(true));
    assert_eq!(look(&deleting(job(json!({}))), &[]), deleted(false));
    let Outcome::Deleted { culprit: Some(culprit), .. } = look(&gone, &[failed_pod("migrate-a", 1, 3)])
    else {
        panic!("not deleted with a culprit")
    };
    assert_eq!(culprit.exit_code, Some(3));
}

#[test]
fn a_job_in_deletion_is_not_over_before_its_pods_have_ended_whatever_became_of_their_owner() {
    let gone = deleting(job(json!({"active": 1})));
    let decided =
        deleting(job(json!({"active": 1, "conditions": condition("FailureTarget", "DeadlineExceeded", "")})));
    let mut stopping = at_work("migrate-a");
    stopping["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    for (job, one, words) in [
        (&gone, at_work("migrate-a"), "migrate-a has not ended"),
        (&gone, orphan(at_work("migrate-a")), "migrate-a has not ended"),
        // Its node may be gone for long.
        (&gone, stopping, "migrate-a is being stopped and has not ended"),
        (&decided, at_work("migrate-a"), "migrate-a has not ended"),
    ] {
        let outcome = look(job, &[done("migrate-0", "2026-05-28T10:01:00Z"), one]);
        assert!(!outcome.is_over());
        let Outcome::Running { waiting: Some(waiting), .. } = outcome else { panic!("{outcome:?}") };
        assert!(waiting.contains(words), "{waiting}");
    }
}

#[test]
fn what_a_pod_does_after_its_job_was_deleted_makes_no_success() {
    let gone = deleting(job(json!({"active": 1})));
    let went_on = |pods: &[Value]| match look(&gone, pods) {
        Outcome::Deleted { went_on, running: true, culprit: None, .. } => went_on,
        other => panic!("{other:?}"),
    };
    assert_eq!(went_on(&[done("migrate-a", "2026-05-28T10:02:01Z")]), named("migrate-a"));
    // Some programs end with 0 when they are told to stop.
    let mut stopped = done("migrate-a", "2026-05-28T10:02:00Z");
    assert!(matches!(look(&gone, std::slice::from_ref(&stopped)), Outcome::Succeeded { .. }));
    stopped["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    assert_eq!(went_on(&[stopped]), named("migrate-a"));
    // Anybody's pod can have the label.
    assert_eq!(went_on(&[orphan(done("forged", "2026-05-28T10:01:00Z"))]), None);
    let failed = orphan(failed_pod("forged", 1, 3));
    assert_eq!(went_on(&[failed]), None, "nor is its exit code the run's");
}

#[test]
fn a_job_deleted_after_its_work_was_done_has_succeeded() {
    let done = pod(
        "migrate-a",
        1,
        json!({"phase": "Succeeded", "containerStatuses": [ended("migrate", 0, "Completed")]}),
    );
    let succeeded = Outcome::Succeeded { completed: at("2026-05-28T10:01:00Z"), pod: named("migrate-a") };
    assert_eq!(look(&deleting(job(json!({"active": 1}))), std::slice::from_ref(&done)), succeeded);

    let mut three = deleting(job(json!({"active": 1})));
    three["spec"]["completions"] = json!(3);
    assert!(matches!(look(&three, &[done]), Outcome::Deleted { .. }), "two are missing");

    let decided = |of_type, reason| deleting(job(json!({"conditions": condition(of_type, reason, "")})));
    assert!(matches!(
        look(&decided("SuccessCriteriaMet", "CompletionsReached"), &[]),
        Outcome::Succeeded { .. }
    ));
    assert!(matches!(
        look(&decided("FailureTarget", "DeadlineExceeded"), &[]),
        Outcome::Failed { why, .. } if why == "DeadlineExceeded"
    ));
    // What ttlSecondsAfterFinished deletes has its result.
    assert!(matches!(look(&decided("Complete", ""), &[]), Outcome::Succeeded { .. }));
}

#[test]
fn indexes_are_counted_once_and_a_work_queue_is_done_when_its_pods_are() {
    let succeeded = |name: &str, index: &str| {
        let mut pod = pod(name, 1, json!({"phase": "Succeeded"}));
        pod["metadata"]["labels"] = json!({"batch.kubernetes.io/job-completion-index": index});
        pod
    };
    let mut indexed = deleting(job(json!({})));
    indexed["spec"] = json!({"completionMode": "Indexed", "completions": 2});
    let twice_zero = [succeeded("a", "0"), succeeded("b", "0")];
    assert!(matches!(look(&indexed, &twice_zero), Outcome::Deleted { .. }));
    let both = [succeeded("a", "0"), succeeded("b", "1")];
    assert!(matches!(look(&indexed, &both), Outcome::Succeeded { .. }));

    let mut queue = deleting(job(json!({})));
    queue["spec"] = json!({"parallelism": 2});
    let one_works = [succeeded("a", "0"), pod("b", 1, json!({"phase": "Running"}))];
    assert!(matches!(look(&queue, &one_works), Outcome::Running { .. }));
    assert!(matches!(look(&queue, &both), Outcome::Succeeded { .. }));
}
