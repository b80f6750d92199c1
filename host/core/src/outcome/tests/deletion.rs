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
    let deleted =
        |running| Outcome::Deleted { pod: None, running, went_on: None, uncounted: None, culprit: None };
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
    // Some programs end with 0 when they are told to stop; and the Job's controller may count them, and say so.
    let mut stopped = done("migrate-a", "2026-05-28T10:02:00Z");
    stopped["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    assert_eq!(went_on(&[stopped.clone()]), named("migrate-a"));
    let mut said = condition("SuccessCriteriaMet", "CompletionsReached", "");
    said[0]["lastTransitionTime"] = json!("2026-05-28T10:02:02Z");
    for status in [
        json!({"succeeded": 1}),
        json!({"uncountedTerminatedPods": {"succeeded": ["u"]}}),
        json!({"conditions": said}),
    ] {
        let outcome = look(&deleting(job(status)), std::slice::from_ref(&stopped));
        assert!(matches!(outcome, Outcome::Deleted { .. }), "{outcome:?}");
    }
    // Anybody's pod can have the label.
    assert_eq!(went_on(&[orphan(done("forged", "2026-05-28T10:01:00Z"))]), None);
    let failed = orphan(failed_pod("forged", 1, 3));
    assert_eq!(went_on(&[failed]), None, "nor is its exit code the run's");
}

#[test]
fn a_job_deleted_after_its_controller_has_counted_all_of_it_has_succeeded() {
    let done = done("migrate-a", "2026-05-28T10:01:00Z");
    let succeeded = Outcome::Succeeded { completed: at("2026-05-28T10:01:00Z"), pod: named("migrate-a") };
    // It writes down whom it is about to count before it counts them.
    for status in
        [json!({"succeeded": 1}), json!({"active": 1, "uncountedTerminatedPods": {"succeeded": ["u"]}})]
    {
        assert_eq!(look(&deleting(job(status.clone())), std::slice::from_ref(&done)), succeeded, "{status}");
    }
    let mut three =
        deleting(job(json!({"active": 1, "succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["u"]}})));
    three["spec"]["completions"] = json!(3);
    assert!(matches!(look(&three, &[done]), Outcome::Deleted { uncounted: None, .. }), "one is missing");

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
fn a_pod_that_somebody_puts_beside_the_runs_own_makes_no_success_but_is_told() {
    // Whoever may create pods can give one the Job as its owner.
    let forged = done("forged", "2026-05-28T10:01:00Z");
    let deleted = |running| Outcome::Deleted {
        pod: named("forged"),
        running,
        went_on: None,
        uncounted: named("forged"),
        culprit: None,
    };
    // Nobody can tell it from the run's own that has just ended.
    assert_eq!(look(&deleting(job(json!({"active": 1}))), std::slice::from_ref(&forged)), deleted(false));
    // Beside the run's own, which was stopped.
    let failed = failed_pod("migrate-a", 1, 143);
    let Outcome::Deleted { uncounted, culprit: Some(culprit), .. } =
        look(&deleting(job(json!({"active": 1}))), &[failed, forged.clone()])
    else {
        panic!("not deleted with a culprit")
    };
    assert_eq!((uncounted, culprit.exit_code), (named("forged"), Some(143)));
    let mut three = deleting(job(json!({"succeeded": 1})));
    three["spec"]["completions"] = json!(3);
    let pods = ["a", "b", "c"].map(|name| done(name, "2026-05-28T10:01:00Z"));
    assert!(matches!(look(&three, &pods), Outcome::Deleted { uncounted: Some(_), .. }));
    let mut indexed = deleting(job(json!({"succeeded": 1, "completedIndexes": "0"})));
    indexed["spec"] = json!({"completionMode": "Indexed", "completions": 2});
    let mut second = forged;
    second["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": "1"});
    let mut first = done("migrate-0", "2026-05-28T10:00:30Z");
    first["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": "0"});
    assert!(matches!(look(&indexed, &[first, second]), Outcome::Deleted { uncounted: Some(_), .. }));
}

#[test]
fn indexes_are_counted_by_the_jobs_controller_and_a_work_queue_is_done_when_its_pods_are() {
    let mut indexed = deleting(job(json!({"completedIndexes": "0-3,5,7"})));
    indexed["spec"] = json!({"completionMode": "Indexed", "completions": 7});
    assert!(matches!(look(&indexed, &[]), Outcome::Deleted { .. }));
    indexed["spec"]["completions"] = json!(6);
    assert!(matches!(look(&indexed, &[]), Outcome::Succeeded { .. }));
    indexed["status"]["completedIndexes"] = json!("0-3,x,9-5,18446744073709551615");
    assert!(matches!(look(&indexed, &[]), Outcome::Deleted { .. }), "what is no list of indexes");

    let queue = |status: Value| {
        let mut queue = deleting(job(status));
        queue["spec"] = json!({"parallelism": 2});
        queue
    };
    let (one, other) = (done("a", "2026-05-28T10:01:00Z"), at_work("b"));
    let counted = queue(json!({"succeeded": 1}));
    assert!(matches!(look(&counted, &[one.clone(), other]), Outcome::Running { .. }));
    assert!(matches!(look(&counted, std::slice::from_ref(&one)), Outcome::Succeeded { .. }));
    let not_counted = look(&queue(json!({"active": 1})), &[one]);
    assert!(matches!(not_counted, Outcome::Deleted { uncounted: Some(_), .. }), "{not_counted:?}");
}
