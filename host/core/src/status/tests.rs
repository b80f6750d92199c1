mod deletion;
mod laws;
mod overwriting;
mod parallel;
mod reference;
mod rows;
mod steps;
mod suspended;

use serde_json::{Value, json};

use super::*;
use crate::keys::{DECISION, SOURCE_HOOK};
use crate::reason::Reason;

/// [`super::next`] where all conditions are hookhost's.
fn next(
    current: &Value,
    state: &State,
    run: Option<&Run>,
    generation: i64,
    now: Timestamp,
) -> Option<Update> {
    super::next(current, Evidence::default(), state, run, generation, now)
}

/// [`super::restore`] where all conditions are hookhost's.
fn restore(status: &Value, now: Timestamp) -> Option<Value> {
    super::restore(status, Foreign::default(), now)
}

/// A Job like the one that hookhost makes.
fn job() -> Value {
    json!({
        "metadata": {
            "name": "migrate-now", "namespace": "shop",
            "labels": {SOURCE_HOOK: "shop-migrate"},
            "annotations": {DECISION: json!({
                "hook": {"kind": "Job", "name": "shop-migrate"},
                "release": {"name": "shop", "revision": 3, "chart": "shop", "chartVersion": "1.2.3"},
                "policies": [],
                "values": {"backoffLimit": {"value": 1, "source": "operation", "insteadOf": {"value": null}}},
            }).to_string()},
        },
        "status": {"startTime": "2026-05-28T10:00:00Z"},
    })
}

fn run() -> Run {
    Run::of(&job()).unwrap()
}

fn at(text: &str) -> Timestamp {
    format!("2026-05-28T{text}Z").parse().unwrap()
}

fn pod(name: &str) -> Option<PodRef> {
    Some(PodRef { namespace: "shop".to_owned(), name: name.to_owned() })
}

fn culprit() -> Culprit {
    Culprit {
        pod: pod("migrate-now-b").unwrap(),
        is_gone: false,
        index: None,
        container: Some("migrate".to_owned()),
        init: false,
        previous: false,
        exit_code: Some(3),
        signal: None,
        reason: "Error".to_owned(),
        message: String::new(),
        pod_reason: None,
    }
}

fn running(name: &str) -> State {
    State::Running { pod: pod(name), waiting: None }
}

fn failed() -> State {
    State::Failed {
        why: "BackoffLimitExceeded: Job has reached the specified backoff limit".to_owned(),
        culprit: Some(culprit()),
        pod: pod("migrate-now-b"),
        finished: Some(at("10:05:00")),
        log: "step 1\nno table users".to_owned(),
    }
}

fn succeeded() -> State {
    State::Succeeded { completed: Some(at("10:05:00.7")), pod: pod("migrate-now-a") }
}

/// The status after these states, one second each; every one must be written.
fn after(states: &[State]) -> Value {
    let mut status = Value::Null;
    for (state, second) in states.iter().zip(10..) {
        let run = (!matches!(state, State::Refused(_))).then(run);
        let now = at(&format!("10:00:{second}"));
        status = next(&status, state, run.as_ref(), 1, now).expect("something to write").status;
    }
    status
}

fn condition<'v>(status: &'v Value, of_type: &str) -> &'v Value {
    let mut conditions = status["conditions"].as_array().unwrap().iter();
    conditions.find(|condition| condition["type"] == of_type).unwrap_or(&Value::Null)
}

/// "True/HelmHookJobActive".
fn says(status: &Value, of_type: &str) -> String {
    let condition = condition(status, of_type);
    format!(
        "{}/{}",
        condition["status"].as_str().unwrap_or_default(),
        condition["reason"].as_str().unwrap_or_default()
    )
}

fn message<'v>(status: &'v Value, of_type: &str) -> &'v str {
    condition(status, of_type)["message"].as_str().unwrap_or_default()
}

fn reasons(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.reason).collect()
}

/// What the Go operator does, every 30 seconds, to an Operation of an engine that it does not know.
fn overwritten(status: &Value) -> Value {
    let mut status = status.clone();
    status["phase"] = json!("Pending");
    for (of_type, value) in [("Blocked", "True"), ("Accepted", "False")] {
        let new = json!({"type": of_type, "status": value, "reason": "DependencyMissing",
            "message": "engine \"helmHookJob\" is not registered", "lastTransitionTime": "2026-05-28T11:00:00Z"});
        let conditions = status["conditions"].as_array_mut().unwrap();
        match conditions.iter_mut().find(|condition| condition["type"] == of_type) {
            Some(condition) => *condition = new,
            None => conditions.push(new),
        }
    }
    status
}

#[test]
fn a_plain_run_is_written_twice_and_sends_two_events() {
    let run = run();
    let first = next(&Value::Null, &running("migrate-now-a"), Some(&run), 4, at("10:00:01")).unwrap();
    assert_eq!(reasons(&first.events), ["OperationAccepted"]);
    assert_eq!(
        first.events[0].note,
        "Job shop/migrate-now runs the hook shop-migrate of the release shop, revision 3. Job shop/migrate-now is active in the \
         pod migrate-now-a.",
        "one step, one event"
    );
    let last = next(&first.status, &succeeded(), Some(&run), 4, at("10:05:01")).unwrap();
    assert_eq!(reasons(&last.events), ["OperationSucceeded"]);
    let expected = json!({
        "phase": "Succeeded",
        "startedAt": "2026-05-28T10:00:00Z",
        "finishedAt": "2026-05-28T10:05:00Z",
        "engineRef": {"kind": "Job", "namespace": "shop", "name": "migrate-now"},
        "logsRef": {"kind": "Pod", "namespace": "shop", "name": "migrate-now-a"},
        "outputs": {
            "jobName": "migrate-now", "hook": "shop-migrate", "release": "shop", "revision": 3,
            "decision": run.decision, "completionTime": "2026-05-28T10:05:00Z", "exitCode": 0,
            "logsRef": {"kind": "Pod", "namespace": "shop", "name": "migrate-now-a"},
        },
        "conditions": [
            {"type": "Succeeded", "status": "True", "reason": "HelmHookJobSucceeded", "observedGeneration": 4,
                "lastTransitionTime": "2026-05-28T10:05:01Z",
                "message": "Job shop/migrate-now was complete at 2026-05-28T10:05:00Z."},
            {"type": "Running", "status": "False", "reason": "HelmHookJobSucceeded", "observedGeneration": 4,
                "lastTransitionTime": "2026-05-28T10:05:01Z", "message": "Job shop/migrate-now does not run any more."},
            {"type": "Accepted", "status": "True", "reason": "TemplateValidated", "observedGeneration": 4,
                "lastTransitionTime": "2026-05-28T10:00:01Z", "message":
                    "Job shop/migrate-now runs the hook shop-migrate of the release shop, revision 3."},
        ],
    });
    assert_eq!(last.status, expected);
}

#[test]
fn a_run_that_ends_before_it_was_seen_running_is_accepted_all_the_same() {
    let update = next(&Value::Null, &failed(), Some(&run()), 1, at("10:05:01")).unwrap();
    assert_eq!(reasons(&update.events), ["OperationAccepted", "OperationFailed"]);
    assert_eq!(says(&update.status, "Accepted"), "True/TemplateValidated");
    assert_eq!(update.status["startedAt"], "2026-05-28T10:00:00Z");
}

#[test]
fn a_job_without_a_pod_is_pending_and_says_why_at_once() {
    let update = next(&Value::Null, &State::Pending { why: None }, Some(&run()), 1, at("10:00:01")).unwrap();
    assert_eq!(reasons(&update.events), ["OperationAccepted"]);
    assert_eq!(
        (phase(&update.status), says(&update.status, "Running")),
        (Some("Pending"), "False/Pending".into())
    );
    let runs = next(&update.status, &running("migrate-now-a"), Some(&run()), 1, at("10:00:09")).unwrap();
    assert_eq!(reasons(&runs.events), ["OperationRunning"], "of an Operation that was accepted before");
    assert_eq!(message(&update.status, "Running"), "Job shop/migrate-now has no pod yet.");
    let why = |pod: &str| State::Pending {
        why: Some(format!("Error creating: pods \"{pod}\" is forbidden: exceeded quota: used: pods=3")),
    };
    let told = next(&update.status, &why("migrate-now-x7k2p"), Some(&run()), 1, at("10:00:02")).unwrap();
    assert!(told.events.is_empty());
    assert_eq!(
        message(&told.status, "Running"),
        "Job shop/migrate-now has no pod yet.\n2026-05-28T10:00:02Z Error creating: pods \"migrate-now-x7k2p\" is \
         forbidden: exceeded quota: used: pods=3"
    );
    let again = next(&told.status, &why("migrate-now-99999"), Some(&run()), 1, at("10:09:00"));
    assert_eq!(again, None, "only the name that Kubernetes made up is another");
}

#[test]
fn a_pod_that_cannot_start_is_told_once_with_the_time() {
    let waits =
        |waiting: &str| State::Running { pod: pod("migrate-now-a"), waiting: Some(waiting.to_owned()) };
    let status = after(&[
        running("migrate-now-a"),
        waits("container migrate cannot start: ErrImagePull: no such host"),
    ]);
    assert_eq!(
        message(&status, "Running"),
        "Job shop/migrate-now is active in the pod migrate-now-a.\n2026-05-28T10:00:11Z container migrate cannot \
         start: ErrImagePull: no such host"
    );
    let backs_off = waits("container migrate cannot start: ImagePullBackOff: Back-off pulling image \"x\"");
    assert_eq!(next(&status, &backs_off, Some(&run()), 1, at("10:10:00")), None);
    assert_eq!(next(&status, &running("migrate-now-a"), Some(&run()), 1, at("10:11:00")), None);
}

#[test]
fn a_deadline_that_leaves_no_pod_tells_what_was_noted_before() {
    let waiting = Some("container migrate cannot start: ErrImagePull: no such host".to_owned());
    let deadline = State::Failed {
        why: "DeadlineExceeded: Job was active longer than specified deadline".to_owned(),
        culprit: None,
        pod: None,
        finished: None,
        log: String::new(),
    };
    let status = after(&[State::Running { pod: pod("migrate-now-a"), waiting }, deadline]);
    assert_eq!(
        message(&status, "Failed"),
        "Job shop/migrate-now failed: DeadlineExceeded: Job was active longer than specified deadline. No pod is left \
         that tells an exit code. Before that:\n2026-05-28T10:00:10Z container migrate cannot start: ErrImagePull: no \
         such host"
    );
    assert_eq!(status["logsRef"]["name"], "migrate-now-a");
}

#[test]
fn retries_move_the_logs_to_the_newest_pod_a_bounded_number_of_times() {
    let names = ["migrate-now-1", "migrate-now-2", "migrate-now-3"];
    let status = after(&names.map(running));
    assert_eq!(status["logsRef"]["name"], "migrate-now-3");
    assert_eq!(status["outputs"]["logsRef"]["name"], "migrate-now-3");
    assert_eq!(next(&status, &running("migrate-now-4"), Some(&run()), 1, at("10:01:00")), None);
    let last = next(&status, &failed(), Some(&run()), 1, at("10:05:00")).unwrap().status;
    assert_eq!(last["logsRef"]["name"], "migrate-now-b", "the result is always at the pod that tells it");
}

#[test]
fn a_url_of_the_logs_that_somebody_added_stays() {
    let mut status = after(&[running("migrate-now-a")]);
    status["logsRef"]["url"] = json!("https://logs.example.com/1");
    let last = next(&status, &succeeded(), Some(&run()), 1, at("10:05:00")).unwrap().status;
    assert_eq!(last["logsRef"]["url"], "https://logs.example.com/1");
}

#[test]
fn a_blocked_operation_waits_and_then_runs() {
    let busy = State::Refused(Refusal::wait(Reason::ReleaseBusy, "the release shop is being upgraded"));
    let update = next(&Value::Null, &busy, None, 1, at("10:00:01")).unwrap();
    assert_eq!(reasons(&update.events), ["OperationBlocked"]);
    assert_eq!(update.events[0].note, "ReleaseBusy: the release shop is being upgraded");
    let status = update.status;
    assert_eq!((phase(&status), says(&status, "Blocked")), (Some("Pending"), "True/ReleaseBusy".into()));
    assert_eq!(condition(&status, "Accepted"), &Value::Null);
    assert!(!is_finished(&status));

    let update = next(&status, &running("migrate-now-a"), Some(&run()), 1, at("10:01:00")).unwrap();
    assert_eq!(says(&update.status, "Blocked"), "False/Unblocked");
    assert_eq!(reasons(&update.events), ["OperationAccepted"]);
}

#[test]
fn a_message_that_only_counts_down_is_not_written() {
    let held = |text: &str| State::Refused(Refusal::retry_after(60, Reason::PolicyHeld, text));
    let first =
        next(&Value::Null, &held("office-hours: opens in 12 minutes (12m5s)"), None, 1, at("10:00:00"))
            .unwrap();
    assert_eq!(first.events[0].kind, EventKind::Normal, "it ends by itself");
    let status = first.status;
    assert_eq!(next(&status, &held("office-hours: opens in 1 minute (65s)"), None, 1, at("10:11:00")), None);
    let other = next(&status, &held("office-hours: opens at 22:00"), None, 1, at("10:12:00")).unwrap();
    assert_eq!(message(&other.status, "Blocked"), "office-hours: opens at 22:00");
    assert!(other.events.is_empty(), "it is still held for the same reason");
    let revision = |n: u32| {
        State::Refused(Refusal::wait(Reason::ReleaseBusy, format!("revision {n} of shop is being installed")))
    };
    let status = next(&Value::Null, &revision(3), None, 1, at("10:00:00")).unwrap().status;
    assert!(
        next(&status, &revision(4), None, 1, at("10:01:00")).is_some(),
        "a number that is no time counts"
    );
}

#[test]
fn a_running_operation_is_neither_blocked_nor_pending_again() {
    let status = after(&[running("migrate-now-a")]);
    let busy = State::Refused(Refusal::wait(Reason::ReleaseBusy, "busy"));
    assert_eq!(next(&status, &busy, None, 1, at("10:01:00")), None);
    assert_eq!(next(&status, &State::Pending { why: None }, Some(&run()), 1, at("10:01:00")), None);
}

#[test]
fn a_run_that_is_being_cancelled_shows_it_before_its_pods_have_ended() {
    let cancelling = State::Cancelling(CancelledBy::Annotation);
    let status = after(&[running("migrate-now-a"), cancelling.clone()]);
    assert_eq!((phase(&status), says(&status, "Running")), (Some("Running"), "True/CancelledByUser".into()));
    assert!(
        message(&status, "Running").contains("Job shop/migrate-now and its pods are being deleted"),
        "{status:#}"
    );
    assert_eq!(next(&status, &cancelling, Some(&run()), 1, at("10:01:00")), None, "once");
    let status = next(&Value::Null, &cancelling, Some(&run()), 1, at("10:00:00")).unwrap().status;
    assert_eq!((phase(&status), says(&status, "Running")), (Some("Pending"), "False/CancelledByUser".into()));
    let status = after(&[State::Pending { why: None }, cancelling]);
    assert_eq!((phase(&status), says(&status, "Running")), (Some("Pending"), "False/CancelledByUser".into()));
}

#[test]
fn a_cancelled_operation_says_by_what() {
    let status = after(&[running("migrate-now-a"), State::Cancelled(CancelledBy::Annotation)]);
    assert_eq!(
        (phase(&status), says(&status, "Cancelled")),
        (Some("Cancelled"), "True/CancelledByUser".into())
    );
    assert_eq!(says(&status, "Running"), "False/CancelledByUser");
    assert_eq!(says(&status, "Accepted"), "True/TemplateValidated");
    let expected =
        "The Operation was cancelled by its annotation; Job shop/migrate-now and its pods were deleted.";
    assert_eq!(message(&status, "Cancelled"), expected);

    let update =
        next(&Value::Null, &State::Cancelled(CancelledBy::Deletion), None, 1, at("10:00:00")).unwrap();
    assert_eq!(reasons(&update.events), ["OperationCancelled"]);
    assert_eq!(says(&update.status, "Accepted"), "False/CancelledByUser");
    let expected = "The Operation was deleted before it ended; no Job had been made.";
    assert_eq!(message(&update.status, "Cancelled"), expected);
}

#[test]
fn a_failures_message_has_the_termination_message_unless_the_log_ends_with_it() {
    let State::Failed { why, culprit: Some(culprit), pod, finished, .. } = failed() else { panic!() };
    let fails = |message: &str, log: &str| {
        let culprit = Culprit { message: message.to_owned(), ..culprit.clone() };
        let state = State::Failed {
            why: why.clone(),
            culprit: Some(culprit),
            pod: pod.clone(),
            finished,
            log: log.to_owned(),
        };
        let status = next(&Value::Null, &state, Some(&run()), 1, at("10:05:00")).unwrap().status;
        super::tests::message(&status, "Failed").to_owned()
    };
    assert!(fails("disk full", "").ends_with("ended with exit code 3. It says: disk full"));
    assert!(fails("a b", "a\nb").ends_with("ended with exit code 3.\nIts last log lines:\na\nb"));
    let long = fails("m", &"line of a log\n".repeat(10_000));
    assert!(long.len() <= MESSAGE_BYTES && long.len() > LOG_BYTES / 2, "{}", long.len());
    assert!(long.ends_with("line of a log"));
}

#[test]
fn an_event_tells_a_failure_in_few_words_and_the_last_of_the_log() {
    let State::Failed { why, culprit, pod, finished, .. } = failed() else { panic!() };
    let log = format!("{}the very end", "line of a log\n".repeat(10_000));
    let state = State::Failed { why, culprit, pod, finished, log };
    let update = next(&Value::Null, &state, Some(&run()), 1, at("10:05:00")).unwrap();
    let note = &update.events.last().unwrap().note;
    assert!(
        note.len() <= NOTE_BYTES && note.contains("exit code 3") && note.ends_with("the very end"),
        "{note}"
    );
}

#[test]
fn what_others_have_written_stays_where_it_is() {
    let current = json!({
        "phase": "Pending",
        "conditions": [
            {"type": "Reported", "status": "True", "reason": "Sent", "message": "", "lastTransitionTime": "x"},
            {"type": "Accepted", "status": "True", "reason": "AdmissionPassed", "message": "ok", "lastTransitionTime": "2026-05-28T09:00:00Z"},
            {"type": "Other", "status": "Unknown"},
        ],
        "outputs": {"backupName": "b-1", "jobName": "old"}, "more": {"a": 1},
    });
    let status = next(&current, &running("migrate-now-a"), Some(&run()), 1, at("10:00:01")).unwrap().status;
    let types: Vec<&Value> = status["conditions"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    // Its own are in the order in which they decide.
    assert_eq!(types, ["Reported", "Running", "Other", "Accepted"]);
    assert_eq!(status["conditions"][0], current["conditions"][0]);
    assert_eq!(status["conditions"][2], current["conditions"][2]);
    assert_eq!(condition(&status, "Accepted")["lastTransitionTime"], "2026-05-28T09:00:00Z");
    assert_eq!(
        (&status["outputs"]["backupName"], &status["outputs"]["jobName"]),
        (&json!("b-1"), &json!("migrate-now"))
    );
    assert_eq!(status["more"], current["more"]);
}

#[test]
fn finished_is_told_by_finished_at_and_conditions_never_by_the_phase() {
    let with = |condition: Value| json!({"phase": "Pending", "conditions": [condition]});
    assert!(is_finished(&json!({"phase": "Pending", "finishedAt": "2026-05-28T10:00:00Z"})));
    for of_type in ["Succeeded", "Failed", "Cancelled"] {
        assert!(is_finished(&with(json!({"type": of_type, "status": "True"}))));
        assert!(!is_finished(&with(json!({"type": of_type, "status": "False"}))));
    }
    for phase in ["Succeeded", "Failed", "Cancelled"] {
        assert!(!is_finished(&json!({"phase": phase})));
    }
    assert!(!is_finished(&Value::Null) && !is_finished(&json!({"finishedAt": ""})));
}

#[test]
fn a_finished_operation_stays_finished_whatever_comes() {
    let status = overwritten(&after(&[running("migrate-now-a"), succeeded()]));
    for state in [
        running("migrate-now-b"),
        failed(),
        State::Pending { why: None },
        State::HookAvailable { revision: 4 },
    ] {
        assert_eq!(next(&status, &state, Some(&run()), 1, at("12:00:00")), None);
    }
}

#[test]
fn a_run_is_read_back_from_its_job() {
    let run = run();
    assert_eq!((run.job_name.as_str(), run.job_namespace.as_str()), ("migrate-now", "shop"));
    assert_eq!((run.hook.as_str(), run.release.as_str(), run.revision), ("shop-migrate", "shop", Some(3)));
    assert_eq!(run.decision["release"]["chartVersion"], "1.2.3");
    assert_eq!(run.started, Some(at("10:00:00")));

    let long = format!("{}.x", "a".repeat(80));
    let mut job = job();
    job["metadata"]["annotations"] = json!({SOURCE_HOOK: long, DECISION: "[not, an, object"});
    let run = Run::of(&job).unwrap();
    assert_eq!((run.hook, run.release, run.decision), (long, String::new(), Value::Null));
    assert_eq!(Run::of(&json!({"metadata": {"name": ""}})), None);
}

#[test]
fn an_outcome_is_a_state() {
    let outcome =
        Outcome::Deleted { pod: None, running: true, went_on: None, uncounted: None, culprit: None };
    let state = State::of(outcome, "log".to_owned());
    let log = "log".to_owned();
    assert_eq!(
        state,
        State::ExternallyDeleted {
            pod: None,
            running: true,
            went_on: None,
            uncounted: None,
            culprit: None,
            log
        }
    );
}

#[test]
fn at_the_deadline_what_kept_the_pod_from_ending_is_told() {
    let lingers = "container migrate has ended with exit code 0, but container istio-proxy still runs";
    let state = State::Running { pod: pod("migrate-now-b"), waiting: Some(lingers.to_owned()) };
    let running = next(&json!({}), &state, Some(&run()), 1, at("10:00:00")).unwrap().status;
    let killed = Culprit { container: Some("istio-proxy".into()), exit_code: Some(137), ..culprit() };
    let state = State::Failed {
        why: "DeadlineExceeded: Job was active longer than specified deadline".to_owned(),
        culprit: Some(killed),
        pod: pod("migrate-now-b"),
        finished: None,
        log: String::new(),
    };
    let failed = next(&running, &state, Some(&run()), 1, at("10:30:00")).unwrap().status;
    let conditions = failed["conditions"].as_array().unwrap();
    let told = conditions.iter().find(|one| one["type"] == "Failed").unwrap()["message"].as_str().unwrap();
    assert!(
        told.contains("DeadlineExceeded")
            && told.contains("Before that:\n2026-05-28T10:00:00Z container migrate"),
        "{told}"
    );
    assert!(told.contains("istio-proxy still runs"), "{told}");
}
