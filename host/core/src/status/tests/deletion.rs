//! What an Operation says of a run whose Job, or whose namespace, somebody deletes, and of one that hookhost cannot get at.

use super::*;

/// A Job that somebody else deleted.
pub(super) fn deleted(pod: Option<PodRef>, running: bool) -> State {
    State::ExternallyDeleted {
        pod,
        running,
        went_on: None,
        uncounted: None,
        culprit: None,
        log: String::new(),
    }
}

#[test]
fn a_pod_that_succeeded_without_its_job_is_told_but_is_no_success() {
    let gone = State::ExternallyDeleted {
        pod: pod("migrate-now-a"),
        running: true,
        went_on: pod("migrate-now-a"),
        uncounted: None,
        culprit: None,
        log: String::new(),
    };
    let status =
        next(&after(&[running("migrate-now-a")]), &gone, Some(&run()), 1, at("10:01:00")).unwrap().status;
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(
        message(&status, "Failed"),
        "Job shop/migrate-now was deleted by somebody else while its pod was still at work. The pod migrate-now-a went on \
         without it and ended with exit code 0: what the hook does may be done."
    );
    assert_eq!(status["outputs"].get("exitCode"), None);
}

#[test]
fn a_pod_that_had_succeeded_but_was_not_counted_is_told_but_is_no_success() {
    let gone = State::ExternallyDeleted {
        pod: pod("migrate-now-a"),
        running: false,
        went_on: None,
        uncounted: pod("migrate-now-a"),
        culprit: None,
        log: String::new(),
    };
    let status =
        next(&after(&[running("migrate-now-a")]), &gone, Some(&run()), 1, at("10:01:00")).unwrap().status;
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(
        message(&status, "Failed"),
        "Job shop/migrate-now was deleted by somebody else before it had ended. The pod migrate-now-a had ended with exit code 0, \
         but the Job's controller had not counted it: what the hook does may be done, or somebody has made that pod."
    );
}

#[test]
fn what_an_administrator_must_repair_is_told_beside_the_run_and_beside_its_result() {
    let why = "hookhost may not patch the Job shop/migrate-now";
    let stuck = State::Obstructed { reason: Reason::AccessForbidden, message: why.to_owned() };
    for state in [running("migrate-now-a"), succeeded()] {
        let before = after(std::slice::from_ref(&state));
        let update = next(&before, &stuck, Some(&run()), 1, at("10:01:00")).unwrap();
        let status = update.status;
        assert_eq!(phase(&status), phase(&before), "what was known stays");
        assert_eq!(
            (says(&status, "Blocked"), message(&status, "Blocked")),
            ("True/AccessForbidden".into(), why)
        );
        assert_eq!(reasons(&update.events), ["OperationBlocked"]);
        let other_words = State::Obstructed { reason: Reason::AccessForbidden, message: "again".to_owned() };
        assert_eq!(next(&status, &other_words, Some(&run()), 1, at("10:02:00")), None, "it is told once");
    }
    // Once it is repaired the condition goes: by the next word of the run, or as what does not belong to a result.
    let status = after(&[running("migrate-now-a"), stuck.clone(), running("migrate-now-a")]);
    assert_eq!(says(&status, "Blocked"), "False/Unblocked");
    let status = restore(&after(&[succeeded(), stuck]), at("10:09:30")).unwrap();
    assert_eq!((says(&status, "Blocked"), phase(&status)), ("False/Unblocked".into(), Some("Succeeded")));
}

#[test]
fn a_job_deleted_by_somebody_else_is_a_failure_that_says_so() {
    let gone = deleted(pod("migrate-now-a"), true);
    let update = next(&after(&[running("migrate-now-a")]), &gone, Some(&run()), 1, at("10:01:00")).unwrap();
    let status = update.status;
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(says(&status, "Cancelled"), "True/ExternalDeletion");
    assert_eq!(says(&status, "Failed"), "True/ExternalDeletion");
    assert_eq!(reasons(&update.events), ["OperationFailed"]);
    assert_eq!(
        message(&status, "Cancelled"),
        "Job shop/migrate-now was deleted by somebody else while its pod was still at work."
    );
    // Without a trace of the Job, what the status says is left.
    let status = after(&[running("migrate-now-a")]);
    let gone = deleted(None, false);
    let status = next(&status, &gone, None, 1, at("10:01:00")).unwrap().status;
    assert_eq!(job_ref(&status).unwrap().name, "migrate-now");
}

#[test]
fn a_run_whose_namespace_is_deleted_is_lost_and_says_so() {
    let before = after(&[running("migrate-now-a")]);
    let status = next(&before, &State::NamespaceDeleted, Some(&run()), 1, at("10:01:00")).unwrap().status;
    assert_eq!(
        (phase(&status), says(&status, "Cancelled")),
        (Some("Failed"), "True/ExternalDeletion".into())
    );
    assert_eq!(
        message(&status, "Failed"),
        "The namespace of Job shop/migrate-now is being deleted, and it had not ended."
    );
}
