//! What happens beside another controller that overwrites phase, Accepted and Blocked.

use serde_json::{Value, json};

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
    // By a reason that no engine of ours has, and by hookhost's own word that another controller has written.
    let mut of_another = of_engine.clone();
    of_another["conditions"][1]["reason"] = json!("PreconditionFailed");
    assert_eq!(restore(&of_another, at("12:00:00")), None);
    of_another["conditions"][1]["reason"] = json!("ValidationFailed");
    let by_another = |of_type| super::super::restore(&of_another, Foreign::of(&[of_type]), at("12:00:00"));
    assert_eq!(by_another("Failed"), None);
    assert!(by_another("Blocked").is_some());
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

/// What is written where another controller has written over Accepted and Blocked, and hookhost has reported this reason before.
fn answer(status: &Value, state: &State, reported: Option<Reason>) -> Update {
    let foreign = Foreign::of(&["Accepted", "Blocked"]);
    super::super::next(status, Evidence { foreign, reported }, state, None, 1, at("12:00:00")).unwrap()
}

#[test]
fn of_one_that_waits_nothing_stays_that_another_controller_says_of_it_and_no_event_comes_twice() {
    let held = State::Refused(Refusal::retry_after(60, Reason::PolicyHeld, "opens in 1h"));
    let status = overwritten(&after(std::slice::from_ref(&held)));
    let again = answer(&status, &held, Some(Reason::PolicyHeld));
    assert_eq!(says(&again.status, "Blocked"), "True/PolicyHeld");
    assert!(condition(&again.status, "Accepted").is_null(), "hookhost has not rejected it");
    assert!(again.events.is_empty());
    // Another reason is news; so is one that this hookhost has not published.
    for reported in [None, Some(Reason::TargetNotReady)] {
        assert_eq!(reasons(&answer(&status, &held, reported).events), ["OperationBlocked"]);
    }
}

#[test]
fn the_same_reason_in_another_controllers_words_is_not_left_in_place() {
    let why = State::Obstructed { reason: Reason::AccessForbidden, message: "hookhost's own".to_owned() };
    let mut status = after(&[running("migrate-now-a")]);
    let theirs = json!({"type": "Blocked", "status": "True", "reason": "AccessForbidden", "message": "theirs",
        "lastTransitionTime": "2026-05-28T11:00:00Z"});
    status["conditions"].as_array_mut().unwrap().push(theirs);
    assert_eq!(message(&answer(&status, &why, None).status, "Blocked"), "hookhost's own");
}

#[test]
fn a_message_that_merely_counts_down_has_the_same_gist() {
    let held = |message| after(&[State::Refused(Refusal::retry_after(60, Reason::PolicyHeld, message))]);
    assert_eq!(gist(&held("opens in 5 minutes")), gist(&held("opens in 4 minutes")));
    assert_ne!(gist(&held("opens in 5 minutes")), gist(&held("never opens")));
    assert_ne!(gist(&held("opens in 5 minutes")), gist(&after(&[running("opens in 5 minutes")])));
}
