//! What happens beside another controller that overwrites phase, Accepted and Blocked.

use serde_json::json;

use super::*;

#[test]
fn what_another_controller_has_overwritten_is_put_back() {
    let missing = State::Refused(Refusal::fail(Reason::HookNotFound, "no hook \"x\""));
    let denied = State::Refused(Refusal::fail(Reason::PolicyDenied, "no"));
    let gone = super::deletion::deleted(None, false);
    for state in [missing, denied, succeeded(), failed(), gone, State::Cancelled(CancelledBy::Annotation)] {
        let status = after(std::slice::from_ref(&state));
        assert_eq!(restore(&status, at("12:00:00")), None, "nothing is wrong");
        let restored = restore(&overwritten(&status), at("12:00:00")).unwrap();
        assert_eq!(restore(&restored, at("12:30:00")), None);
        assert!(
            !restored["conditions"].as_array().unwrap().iter().any(|c| c["reason"] == "DependencyMissing")
        );
        for of_type in ["Accepted", "Blocked", "Running", "Succeeded", "Failed", "Cancelled"] {
            if condition(&status, of_type).is_null() {
                assert_ne!(condition(&restored, of_type)["status"], "True", "{of_type}");
            } else {
                assert_eq!(says(&restored, of_type), says(&status, of_type));
                assert_eq!(message(&restored, of_type), message(&status, of_type));
            }
        }
        for field in ["phase", "startedAt", "finishedAt", "engineRef", "logsRef", "outputs"] {
            assert_eq!(restored.get(field), status.get(field), "{field}");
        }
    }
}

#[test]
fn nothing_is_put_back_where_the_result_is_unknown_or_anothers() {
    let unfinished = overwritten(&after(&[running("migrate-now-a")]));
    assert_eq!(restore(&unfinished, at("12:00:00")), None);
    assert_eq!(
        restore(&json!({"phase": "Pending", "finishedAt": "2026-05-28T10:00:00Z"}), at("12:00:00")),
        None
    );
    let of_engine = json!({"phase": "Pending", "conditions": [
        {"type": "Accepted", "status": "True", "reason": "AdmissionPassed"},
        {"type": "Failed", "status": "True", "reason": "EngineFailed"}]});
    assert_eq!(restore(&of_engine, at("12:00:00")), None);
}

#[test]
fn a_run_that_another_controller_has_overwritten_runs_on_without_new_events() {
    let status = after(&[running("migrate-now-a")]);
    let update =
        next(&overwritten(&status), &running("migrate-now-a"), Some(&run()), 1, at("12:00:00")).unwrap();
    assert_eq!(phase(&update.status), Some("Running"));
    assert_eq!(says(&update.status, "Accepted"), "True/TemplateValidated");
    assert_eq!(says(&update.status, "Blocked"), "False/Unblocked");
    assert!(update.events.is_empty());
}
