//! The rows of the status table in the engine's specification, one test each.

use serde_json::Value;

use super::{after, at, condition, culprit, failed, message, next, pod, reasons, running, says, succeeded};
use crate::outcome::Culprit;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::status::{State, is_finished, phase};

#[test]
fn row_hook_not_present_in_rendered_release() {
    let text = "the release shop has no hook \"migrat\"; it has migrate. Correct parameters.hookName";
    let refused = State::Refused(Refusal::fail(Reason::HookNotFound, text));
    let update = next(&Value::Null, &refused, None, 1, at("10:00:00")).unwrap();
    let status = update.status;
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(says(&status, "Accepted"), "False/HookNotFound");
    assert_eq!(says(&status, "Blocked"), "True/HookNotFound");
    assert_eq!(message(&status, "Accepted"), text);
    assert_eq!((status.get("engineRef"), status.get("startedAt")), (None, None), "no Job is created");
    assert!(is_finished(&status));
    assert_eq!(reasons(&update.events), ["OperationFailed"]);

    // "the condition stays until … the chart is upgraded to a version that defines the hook"
    let available = State::HookAvailable { revision: 4 };
    let update = next(&status, &available, None, 1, at("11:00:00")).unwrap();
    assert_eq!(says(&update.status, "Blocked"), "False/HookAvailable");
    assert_eq!(
        message(&update.status, "Blocked"),
        "Revision 4 of the release has the hook. This Operation has ended and does not run again: make a new one."
    );
    for field in ["phase", "finishedAt"] {
        assert_eq!(update.status[field], status[field]);
    }
    assert_eq!(condition(&update.status, "Failed"), condition(&status, "Failed"));
    let later = State::HookAvailable { revision: 5 };
    assert_eq!(next(&update.status, &later, None, 1, at("12:00:00")), None);
}

#[test]
fn row_job_running() {
    let status = after(&[running("migrate-now-a")]);
    assert_eq!(phase(&status), Some("Running"));
    assert_eq!(says(&status, "Running"), "True/HelmHookJobActive");
    assert_eq!(message(&status, "Running"), "Job shop/migrate-now is active in the pod migrate-now-a.");
    assert_eq!(says(&status, "Accepted"), "True/TemplateValidated");
    assert!(!is_finished(&status));
}

#[test]
fn row_job_complete() {
    let status = after(&[running("migrate-now-a"), succeeded()]);
    assert_eq!(phase(&status), Some("Succeeded"));
    assert_eq!(says(&status, "Succeeded"), "True/HelmHookJobSucceeded");
    assert_eq!(status["outputs"]["completionTime"], "2026-05-28T10:05:00Z");
    assert_eq!(says(&status, "Running"), "False/HelmHookJobSucceeded");
}

#[test]
fn row_job_failed_backoff_exhausted() {
    let status = after(&[running("migrate-now-a"), failed()]);
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(says(&status, "Failed"), "True/HelmHookJobFailed");
    assert_eq!(
        message(&status, "Failed"),
        "Job shop/migrate-now failed: BackoffLimitExceeded: Job has reached the specified backoff limit. Container \
         migrate of pod shop/migrate-now-b ended with exit code 3.\nIts last log lines:\nstep 1\nno table users"
    );
    assert_eq!(status["outputs"]["exitCode"], 3);
    assert_eq!(status["outputs"].get("completionTime"), None);
    assert_eq!(status["finishedAt"], "2026-05-28T10:05:00Z");
    assert_eq!(says(&status, "Running"), "False/HelmHookJobFailed");
}

#[test]
fn row_job_failed_deadline() {
    let killed = Culprit { exit_code: Some(137), ..culprit() };
    let deadline = State::Failed {
        why: "DeadlineExceeded: Job was active longer than specified deadline".to_owned(),
        culprit: Some(killed),
        pod: pod("migrate-now-b"),
        finished: None,
        log: "row 1000000".to_owned(),
    };
    let status = after(&[running("migrate-now-a"), deadline]);
    assert_eq!((phase(&status), says(&status, "Failed")), (Some("Failed"), "True/HelmHookJobFailed".into()));
    assert_eq!(
        message(&status, "Failed"),
        "Job shop/migrate-now failed: DeadlineExceeded: Job was active longer than specified deadline. Container migrate \
         of pod shop/migrate-now-b ended with exit code 137 (SIGKILL).\nIts last log lines:\nrow 1000000"
    );
    assert_eq!(status["outputs"]["exitCode"], 137);
}

#[test]
fn row_source_hook_is_pre_install_and_the_release_does_not_yet_exist() {
    let text = "the release shop is not installed yet";
    let status = after(&[State::Refused(Refusal::fail(Reason::HookRequiresRelease, text))]);
    assert_eq!(phase(&status), Some("Failed"));
    assert_eq!(says(&status, "Accepted"), "False/HookRequiresRelease");
    assert_eq!(condition(&status, "Blocked"), &Value::Null);
    assert_eq!(status.get("engineRef"), None);
}
