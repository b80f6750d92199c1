//! The hooks of an event, one after the other.

use super::*;
use crate::keys::CLOSURE;
use crate::step::Step;

fn step(number: usize, name: &str, outcomes: [&Outcome; 2]) -> Run {
    let hooks = ["first", "second"];
    let rows = hooks.iter().zip(outcomes).enumerate().map(|(n, (hook, outcome))| {
        let run = Run { hook: (*hook).to_owned(), job_name: format!("run-{}", n + 1), ..run() };
        StepRow::of(&run, outcome)
    });
    let steps = Steps { event: "post-upgrade".into(), step: Step { number, of: 2 }, rows: rows.collect() };
    Run { hook: hooks[number - 1].to_owned(), job_name: name.to_owned(), steps: Some(steps), ..run() }
}

#[test]
fn each_step_is_accepted_and_has_its_row_and_the_last_ends_the_operation() {
    let waits = Outcome::NotStarted { why: None };
    let runs = Outcome::Running { pod: pod("run-1-a"), waiting: None };
    let done = Outcome::Succeeded { completed: Some(at("10:00:05")), pod: pod("run-1-a") };
    let first = step(1, "run-1", [&runs, &waits]);
    let update = next(&json!({}), &State::of(runs, String::new()), Some(&first), 1, at("10:00:00")).unwrap();
    let outputs = &update.status["outputs"];
    assert_eq!((&outputs["step"], &outputs["event"]), (&json!("1/2"), &json!("post-upgrade")));
    assert_eq!(
        outputs["hooks"],
        json!([
            {"hook": "first", "jobName": "run-1", "phase": "Running", "pod": "run-1-a"},
            {"hook": "second", "jobName": "run-2", "phase": "Pending"},
        ])
    );
    let accepted = &condition(&update.status, "Accepted")["message"];
    let says =
        "runs the hook first of the release shop, revision 3, as step 1/2 of its hooks of post-upgrade.";
    assert!(accepted.as_str().unwrap().ends_with(says), "{accepted}");

    let runs = Outcome::Running { pod: pod("run-2-a"), waiting: None };
    let second = step(2, "run-2", [&done, &runs]);
    let running = State::of(runs, String::new());
    let update = next(&update.status, &running, Some(&second), 1, at("10:00:06")).unwrap();
    assert_eq!(update.status["phase"], "Running");
    assert_eq!(update.status["engineRef"]["name"], "run-2");
    assert_eq!(update.status["outputs"]["hooks"][0]["completionTime"], "2026-05-28T10:00:05Z");
    assert_eq!(update.events[0].reason, "OperationAccepted", "of the second step's Job");

    let waits = State::of(Outcome::NotStarted { why: None }, String::new());
    let third = Run { job_name: "run-3".into(), ..second };
    let waiting = next(&update.status, &waits, Some(&third), 1, at("10:00:07")).unwrap().status;
    assert_eq!((waiting.get("logsRef"), waiting["outputs"].get("logsRef")), (None, None), "another's logs");

    let ended = Outcome::Succeeded { completed: Some(at("10:00:09")), pod: pod("run-2-a") };
    let second = step(2, "run-2", [&done, &ended]);
    let ended = State::of(ended, String::new());
    let update = next(&update.status, &ended, Some(&second), 1, at("10:00:09")).unwrap();
    assert_eq!(update.status["phase"], "Succeeded");
    assert_eq!(update.status["outputs"]["hooks"][1]["exitCode"], 0);
}

/// A status of an event whose first hook runs, and the run of that once it has succeeded and the other has not begun.
fn between_two_steps() -> (Value, Run) {
    let waits = Outcome::NotStarted { why: None };
    let runs = Outcome::Running { pod: pod("run-1-a"), waiting: None };
    let done = Outcome::Succeeded { completed: Some(at("10:00:05")), pod: pod("run-1-a") };
    let first = step(1, "run-1", [&runs, &waits]);
    let update = next(&json!({}), &State::of(runs, String::new()), Some(&first), 1, at("10:00:00")).unwrap();
    (update.status, step(1, "run-1", [&done, &waits]))
}

#[test]
fn a_hook_of_an_event_that_is_held_waits_and_what_has_run_stays() {
    let (running, first) = between_two_steps();
    let held = |message: &str| State::StepHeld(Refusal::retry_after(60, Reason::PolicyHeld, message));
    let update = next(&running, &held("opens in 5 minutes"), Some(&first), 1, at("10:00:06")).unwrap();
    let status = update.status;
    assert_eq!((phase(&status), reason(&status)), (Some("Pending"), Some("PolicyHeld")));
    assert_eq!(says(&status, "Accepted"), "True/TemplateValidated");
    assert_eq!(says(&status, "Running"), "False/Pending");
    assert_eq!(status["outputs"]["hooks"][0]["phase"], "Succeeded");
    assert_eq!(status["startedAt"], running["startedAt"]);
    assert_eq!(reasons(&update.events), ["OperationBlocked"]);
    let later = next(&status, &held("opens in 4 minutes"), Some(&first), 1, at("10:01:06"));
    assert_eq!(later, None, "it only counts down");

    let runs = Outcome::Running { pod: pod("run-2-a"), waiting: None };
    let done = Outcome::Succeeded { completed: Some(at("10:00:05")), pod: pod("run-1-a") };
    let second = step(2, "run-2", [&done, &runs]);
    let update = next(&status, &State::of(runs, String::new()), Some(&second), 1, at("10:05:00")).unwrap();
    assert_eq!(
        (phase(&update.status), says(&update.status, "Blocked")),
        (Some("Running"), "False/Unblocked".into())
    );
}

#[test]
fn a_hook_of_an_event_that_is_held_before_anything_was_told_is_one_of_an_accepted_operation() {
    let (_, first) = between_two_steps();
    let held = State::StepHeld(Refusal::wait(Reason::ReleaseBusy, "Helm is at work"));
    let update = next(&json!({}), &held, Some(&first), 1, at("10:00:06")).unwrap();
    assert_eq!(reasons(&update.events), ["OperationAccepted", "OperationBlocked"]);
    assert_eq!(says(&update.status, "Blocked"), "True/ReleaseBusy");
    assert_eq!(next(&update.status, &held, Some(&first), 1, at("10:09:06")), None);
}

#[test]
fn an_event_ends_at_a_hook_that_is_denied_and_what_has_run_stays_whoever_overwrites_it() {
    let (running, first) = between_two_steps();
    let mut first = first;
    if let Some(steps) = &mut first.steps {
        steps.rows[1].phase = "Skipped";
    }
    let denied = State::EventStopped(Refusal::fail(Reason::PolicyDenied, "denied by a policy"));
    let update = next(&running, &denied, Some(&first), 1, at("10:00:06")).unwrap();
    let status = update.status;
    assert_eq!((phase(&status), says(&status, "Failed")), (Some("Failed"), "True/PolicyDenied".into()));
    assert_eq!(says(&status, "Accepted"), "True/TemplateValidated");
    assert!(is_finished(&status));
    let phases: Vec<&Value> =
        status["outputs"]["hooks"].as_array().unwrap().iter().map(|row| &row["phase"]).collect();
    assert_eq!(phases, ["Succeeded", "Skipped"]);
    assert_eq!(reasons(&update.events), ["OperationFailed"]);
    assert_eq!(restore(&status, at("11:00:00")), None);
    let restored = restore(&overwritten(&status), at("11:00:00")).unwrap();
    assert_eq!(says(&restored, "Accepted"), "True/TemplateValidated");
    assert_eq!(says(&restored, "Failed"), "True/PolicyDenied");
}

#[test]
fn what_a_job_borrows_is_told() {
    let object = |kind: &str| json!({"kind": kind, "namespace": "shop", "name": "migrate"});
    let borrowed = json!({"objects": [object("ServiceAccount"), object("Role"), object("Node")]});
    assert_eq!(borrowing(&borrowed).closure, [""; 0], "what hookhost never lends");
    let borrowed = json!({"objects": [object("ServiceAccount"), object("Role")]});
    let first = borrowing(&borrowed);
    let runs = || State::of(Outcome::Running { pod: pod("a"), waiting: None }, String::new());
    let update = next(&json!({}), &runs(), Some(&first), 1, at("10:00:00")).unwrap();
    assert_eq!(update.status["outputs"]["closure"], json!(["ServiceAccount/migrate", "Role/migrate"]));
    let says = "For the run hookhost has made, and takes back: ServiceAccount/migrate and Role/migrate.";
    assert!(message(&update.status, "Accepted").ends_with(says), "{:#}", update.status);
    assert_eq!(next(&update.status, &runs(), Some(&first), 1, at("10:00:01")), None, "told once");
}

fn borrowing(borrowed: &Value) -> Run {
    let mut job = job();
    job["metadata"]["annotations"][CLOSURE] = json!(borrowed.to_string());
    Run::of(&job).unwrap()
}

#[test]
fn what_comes_after_a_step_that_failed_is_skipped() {
    let lost = Outcome::Failed {
        why: "BackoffLimitExceeded".into(),
        culprit: Some(culprit()),
        pod: pod("run-1-a"),
        finished: None,
    };
    let waits = Outcome::NotStarted { why: None };
    let mut first = step(1, "run-1", [&lost, &waits]);
    let later = Run { hook: "second".into(), job_name: "run-2".into(), ..run() };
    first.steps.as_mut().unwrap().rows[1] = StepRow::skipped(&later);
    let state = State::of(lost, "the last words".to_owned());
    let update = next(&json!({}), &state, Some(&first), 1, at("10:00:00")).unwrap();
    assert_eq!(update.status["phase"], "Failed");
    assert_eq!(
        update.status["outputs"]["hooks"],
        json!([
            {"hook": "first", "jobName": "run-1", "phase": "Failed", "pod": "run-1-a", "exitCode": 3},
            {"hook": "second", "jobName": "run-2", "phase": "Skipped"},
        ])
    );
}

#[test]
fn since_when_a_hook_waits_for_its_turn_is_told_where_nothing_else_tells_when_the_one_before_it_ended() {
    let running = |status: &str| {
        json!({
            "startedAt": "2026-05-28T10:00:00Z",
            "conditions": [{"type": "Running", "status": status, "lastTransitionTime": "2026-05-28T11:00:00Z"}],
        })
    };
    let at = |time: &str| time.parse().ok();
    assert_eq!(crate::status::started_at(&running("True")), at("2026-05-28T10:00:00Z"));
    assert_eq!(crate::status::started_at(&json!({"startedAt": "then"})), None);
    assert_eq!(crate::status::not_running_since(&running("True")), None);
    assert_eq!(crate::status::not_running_since(&running("False")), at("2026-05-28T11:00:00Z"));
}
