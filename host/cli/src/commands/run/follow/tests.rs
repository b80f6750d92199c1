//! What a person sees of runs of every kind.

use serde_json::json;

use super::*;

fn options() -> Options {
    Options {
        namespace: "acme".into(),
        name: "migrate-1".into(),
        until: Until::End,
        timeout: None,
        can_ask: false,
    }
}

fn follow() -> Follow {
    Follow::new(options())
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An Operation with this phase and conditions, each as "Type=Status/Reason: message".
fn operation(phase: &str, conditions: &[&str]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|text| {
            let (type_of, rest) = text.split_once('=').unwrap();
            let (status, rest) = rest.split_once('/').unwrap();
            let (reason, message) = rest.split_once(": ").unwrap();
            json!({"type": type_of, "status": status, "reason": reason, "message": message})
        })
        .collect();
    json!({"status": {"phase": phase, "conditions": conditions}})
}

const ACCEPTED: &str = "Accepted=True/TemplateValidated: Job acme/migrate-1 runs the hook migrate.";

/// An Operation whose Job runs in this pod.
fn running(pod: &str) -> Value {
    let mut operation = operation("Running", &[ACCEPTED, "Running=True/HelmHookJobActive: It is active."]);
    operation["status"]["engineRef"] = json!({"kind": "Job", "namespace": "shop", "name": "migrate-1"});
    operation["status"]["logsRef"] = json!({"kind": "Pod", "namespace": "shop", "name": pod});
    operation
}

fn succeeded(pod: &str) -> Value {
    let mut done =
        operation("Succeeded", &[ACCEPTED, "Succeeded=True/HelmHookJobSucceeded: It was complete."]);
    done["status"]["logsRef"] = json!({"kind": "Pod", "namespace": "shop", "name": pod});
    done
}

/// A pod with this container in this state.
fn pod(name: &str, phase: &str, container: &str, state: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"containers": [{"name": container}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": container, "restartCount": 0, "state": {state: {}}}],
        },
    })
}

/// The same, with these conditions written by another controller.
fn overwritten(mut operation: Value, types: &[&str]) -> Value {
    let entry = |manager: &str, is_its: &dyn Fn(&str) -> bool| {
        let conditions = operation["status"]["conditions"].as_array().unwrap();
        let types = conditions.iter().filter_map(|condition| condition["type"].as_str());
        let fields: serde_json::Map<_, _> = types
            .filter(|of_type| is_its(of_type))
            .map(|of_type| (format!("k:{}", json!({"type": of_type})), json!({"f:message": {}})))
            .collect();
        json!({"manager": manager, "fieldsV1": {"f:status": {"f:conditions": fields}}})
    };
    let managed = [
        entry("manager", &|of_type| types.contains(&of_type)),
        entry("hookhost", &|of_type| !types.contains(&of_type)),
    ];
    operation["metadata"] = json!({ "managedFields": managed });
    operation
}

fn source(pod: &str, container: &str) -> Source {
    Source { namespace: "shop".into(), pod: pod.into(), container: container.into(), restarts: 0 }
}

fn told(steps: &[Step]) -> Vec<&str> {
    steps
        .iter()
        .filter_map(|step| match step {
            Step::Tell(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

fn ended(steps: &[Step]) -> Option<End> {
    steps.iter().find_map(|step| match step {
        Step::End(end) => Some(*end),
        _ => None,
    })
}

#[test]
fn a_run_is_told_from_its_acceptance_to_its_last_log_line() {
    let mut follow = follow();
    assert_eq!(follow.handle(Seen::Operation(json!({})), at(0)), []);
    let steps = follow.handle(Seen::Operation(running("p")), at(1));
    assert_eq!(
        told(&steps),
        ["Accepted: Job acme/migrate-1 runs the hook migrate.", "Running: It is active."]
    );
    assert!(steps.contains(&Step::WatchPods("shop".into())), "the Job's namespace: {steps:?}");
    assert_eq!(follow.handle(Seen::Operation(running("p")), at(1)), [], "nothing new");

    assert_eq!(follow.handle(Seen::Pod(pod("p", "Pending", "main", "waiting")), at(2)), []);
    let steps = follow.handle(Seen::Pod(pod("p", "Running", "main", "running")), at(3));
    assert_eq!(steps, [Step::Tell("The pod p runs.".into()), Step::ReadLog(source("p", "main"))]);
    let line = follow.handle(Seen::Line(source("p", "main"), "step 1".into()), at(4));
    assert_eq!(line, [Step::Log("step 1".into())], "one container's lines need no name");

    assert_eq!(ended(&follow.handle(Seen::Operation(succeeded("p")), at(9))), None, "the log has not ended");
    follow.handle(Seen::Line(source("p", "main"), "step 2".into()), at(9));
    assert_eq!(ended(&follow.handle(Seen::LogEnded(source("p", "main"), None), at(9))), None);
    let steps = follow.handle(Seen::Pod(pod("p", "Succeeded", "main", "terminated")), at(10));
    assert_eq!(ended(&steps), Some(End::Finished));
    assert_eq!(follow.result(End::Finished, at(10)), "Succeeded after 0:10: It was complete.");
    assert_eq!(follow.outcome(End::Finished), Outcome::Done);
}

#[test]
fn the_end_of_a_log_is_not_waited_for_for_ever() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    follow.handle(Seen::Pod(pod("p", "Running", "main", "running")), at(1));
    follow.handle(Seen::Operation(succeeded("p")), at(10));
    assert_eq!(ended(&follow.handle(Seen::Tick, at(14))), None);
    let steps = follow.handle(Seen::Tick, at(15));
    assert_eq!(ended(&steps), Some(End::Finished));
    assert_eq!(told(&steps).len(), 1, "that there may be more is said: {steps:?}");
}

#[test]
fn what_blocks_is_told_once_and_again_when_it_comes_back() {
    let mut follow = follow();
    let blocked = operation("Pending", &["Blocked=True/PolicyHeld: opens at 22:00"]);
    let steps = follow.handle(Seen::Operation(blocked.clone()), at(1));
    assert_eq!(told(&steps), ["Blocked (PolicyHeld): opens at 22:00"]);
    assert_eq!(follow.handle(Seen::Operation(blocked.clone()), at(2)), []);
    assert_eq!(follow.progress(at(75)), "1:15  Pending, blocked: PolicyHeld");
    let other = operation("Pending", &["Blocked=True/DependencyMissing: no Secret x"]);
    assert_eq!(
        told(&follow.handle(Seen::Operation(other), at(3))),
        ["Blocked (DependencyMissing): no Secret x"]
    );
    assert_eq!(
        told(&follow.handle(Seen::Operation(blocked), at(4))),
        ["Blocked (PolicyHeld): opens at 22:00"]
    );
    assert_eq!(follow.outcome(End::TimedOut), Outcome::Held);
}

#[test]
fn only_the_new_lines_of_a_growing_message_are_told() {
    let mut follow = follow();
    let growing =
        |message: &str| operation("Running", &[&format!("Running=True/HelmHookJobActive: {message}")]);
    follow.handle(Seen::Operation(growing("It is active.")), at(1));
    let steps =
        follow.handle(Seen::Operation(growing("It is active in the pod p.\n14:00 no image x")), at(2));
    assert_eq!(told(&steps), ["Running: 14:00 no image x"]);
}

#[test]
fn each_way_to_end_has_its_code() {
    for (phase, condition, outcome) in [
        ("Failed", "Failed=True/PolicyDenied: no", Outcome::Denied),
        ("Failed", "Failed=True/PolicyConflict: no", Outcome::Denied),
        ("Failed", "Failed=True/HookNotFound: no", Outcome::NotFound),
        ("Failed", "Failed=True/TargetNotFound: no", Outcome::NotFound),
        ("Failed", "Failed=True/HookRequiresRelease: no", Outcome::NotFound),
        ("Failed", "Failed=True/HelmHookJobFailed: no", Outcome::Failed),
        ("Failed", "Failed=True/ReleaseTampered: no", Outcome::Failed),
        ("Cancelled", "Cancelled=True/CancelledByUser: no", Outcome::Failed),
        ("Succeeded", "Succeeded=True/HelmHookJobSucceeded: yes", Outcome::Done),
    ] {
        let mut follow = follow();
        let steps = follow.handle(Seen::Operation(operation(phase, &[condition])), at(1));
        assert_eq!(ended(&steps), Some(End::Finished), "{condition}");
        assert_eq!(follow.outcome(End::Finished), outcome, "{condition}");
    }
}

#[test]
fn the_log_in_a_failure_is_repeated_only_where_it_was_not_shown() {
    let failed =
        operation("Failed", &["Failed=True/HelmHookJobFailed: It exited with 3.\nIts last log lines:\nboom"]);
    let mut silent = follow();
    silent.handle(Seen::Operation(failed.clone()), at(1));
    assert!(silent.result(End::Finished, at(1)).ends_with("It exited with 3.\nIts last log lines:\nboom"));
    let mut shown = follow();
    shown.handle(Seen::Line(source("p", "main"), "boom".into()), at(1));
    shown.handle(Seen::Operation(failed.clone()), at(2));
    assert_eq!(shown.result(End::Finished, at(2)), "Failed (HelmHookJobFailed): It exited with 3.");
    let (reason, message) = reason(&failed["status"]).unwrap();
    assert!(reason == "HelmHookJobFailed" && message.ends_with("boom"), "programs get the whole");
}

#[test]
fn lines_of_several_containers_and_pods_are_told_apart() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    let mut two = pod("p", "Running", "main", "running");
    two["spec"]["containers"] = json!([{"name": "main"}, {"name": "proxy"}]);
    follow.handle(Seen::Pod(two), at(1));
    let line = follow.handle(Seen::Line(source("p", "main"), "x".into()), at(1));
    assert_eq!(line, [Step::Log("[main] x".into())]);
    follow.handle(Seen::Pod(pod("q", "Running", "main", "running")), at(2));
    let line = follow.handle(Seen::Line(source("p", "main"), "x".into()), at(2));
    assert_eq!(line, [Step::Log("[p main] x".into())]);
    let line = follow.handle(Seen::Line(source("q", "main"), "x".into()), at(2));
    assert_eq!(line, [Step::Log("[q] x".into())]);
}

#[test]
fn every_attempt_is_shown_be_it_a_new_pod_or_a_restart() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    follow.handle(Seen::Pod(pod("p", "Failed", "main", "terminated")), at(1));
    follow.handle(Seen::LogEnded(source("p", "main"), None), at(2));
    let steps = follow.handle(Seen::Pod(pod("q", "Running", "main", "running")), at(3));
    assert_eq!(steps, [Step::Tell("The pod q runs.".into()), Step::ReadLog(source("q", "main"))]);
    let line = follow.handle(Seen::Line(source("q", "main"), "x".into()), at(3));
    assert_eq!(line, [Step::Log("x".into())], "one after the other is not beside each other");
    let mut restarted = pod("q", "Running", "main", "running");
    restarted["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    let again = Source { restarts: 1, ..source("q", "main") };
    assert_eq!(follow.handle(Seen::Pod(restarted), at(4)), [Step::ReadLog(again)]);
}

#[test]
fn a_log_that_breaks_off_is_read_on_as_long_as_its_container_runs() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    follow.handle(Seen::Pod(pod("p", "Running", "main", "running")), at(1));
    let broken = Seen::LogEnded(source("p", "main"), Some("connection reset".into()));
    assert_eq!(
        told(&follow.handle(broken.clone(), at(5))),
        ["cannot read the log of the pod p: connection reset"]
    );
    assert_eq!(follow.handle(Seen::Tick, at(6)), [], "not at once");
    assert_eq!(follow.handle(Seen::Tick, at(7)), [Step::ReadLog(source("p", "main"))]);
    assert_eq!(follow.handle(broken, at(8)), [], "the same trouble is told once");
    follow.handle(Seen::Pod(pod("p", "Succeeded", "main", "terminated")), at(9));
    assert_eq!(follow.handle(Seen::Tick, at(20)), []);
}

#[test]
fn a_crowd_of_pods_opens_a_bounded_number_of_connections() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    let mut steps = Vec::new();
    for n in 0..100 {
        steps.extend(follow.handle(Seen::Pod(pod(&format!("p-{n}"), "Running", "main", "running")), at(1)));
    }
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::ReadLog(_))).count(), 10);
    assert_eq!(told(&steps).iter().filter(|text| text.contains("not all")).count(), 1, "{steps:?}");
}

#[test]
fn pods_that_may_not_be_seen_do_not_keep_the_run_from_its_end() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    let steps = follow.handle(Seen::NoPods("may not watch pods".into()), at(1));
    assert_eq!(told(&steps), ["the hook's log is not shown: may not watch pods"]);
    assert_eq!(ended(&follow.handle(Seen::Operation(succeeded("p")), at(2))), Some(End::Finished));
}

#[test]
fn a_lost_connection_is_told_once_and_that_it_is_back_too() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    let steps = follow.handle(Seen::Lost("refused".into()), at(2));
    assert!(told(&steps)[0].contains("the Operation goes on there"), "{steps:?}");
    assert_eq!(follow.handle(Seen::Lost("refused".into()), at(3)), []);
    assert!(follow.progress(at(3)).ends_with("no connection"));
    let steps = follow.handle(Seen::Operation(running("p")), at(9));
    assert_eq!(told(&steps), ["the connection to the cluster is there again"]);
}

#[test]
fn where_nobody_serves_operations_it_says_what_to_check() {
    let mut follow = follow();
    follow.handle(Seen::Operation(json!({})), at(0));
    assert_eq!(follow.handle(Seen::Tick, at(29)), []);
    let steps = follow.handle(Seen::Tick, at(30));
    assert!(
        told(&steps).iter().any(|text| text.contains("kubectl label namespace acme managed-by=vworkspace"))
    );
    assert_eq!(follow.handle(Seen::Tick, at(31)), [], "once");
}

#[test]
fn of_an_event_each_hook_is_told_as_its_turn_comes_and_how_all_went_at_the_end() {
    let step = |number: usize, phase: &str| {
        let accepted =
            format!("Accepted=True/TemplateValidated: Job acme/run-{number} runs the hook h{number}.");
        let mut operation = operation(phase, &[&accepted, "Running=True/HelmHookJobActive: It is active."]);
        operation["status"]["engineRef"] =
            json!({"kind": "Job", "namespace": "acme", "name": format!("run-{number}")});
        operation
    };
    let mut follow = follow();
    assert_eq!(told(&follow.handle(Seen::Operation(step(1, "Running")), at(1))).len(), 2);
    let steps = follow.handle(Seen::Operation(step(2, "Running")), at(2));
    assert_eq!(told(&steps), ["Accepted: Job acme/run-2 runs the hook h2.", "Running: It is active."]);
    assert!(!steps.contains(&Step::WatchPods("acme".into())), "they are watched already: {steps:?}");
    let mut elsewhere = step(2, "Running");
    elsewhere["status"]["engineRef"]["namespace"] = json!("shop");
    let steps = follow.handle(Seen::Operation(elsewhere), at(2));
    assert!(steps.contains(&Step::WatchPods("shop".into())), "the next Job's namespace: {steps:?}");
    let steps = follow.handle(Seen::Pod(pod("p", "Running", "main", "running")), at(2));
    assert!(steps.contains(&Step::ReadLog(source("p", "main"))), "{steps:?}");
    follow.handle(Seen::LogEnded(source("p", "main"), None), at(2));
    let mut failed = step(2, "Failed");
    let row = |hook: &str, phase: &str| json!({"hook": hook, "phase": phase});
    failed["status"]["outputs"] =
        json!({"hooks": [row("h1", "Succeeded"), row("h2", "Failed"), row("h3", "Skipped")]});
    failed["status"]["finishedAt"] = json!("2026-05-28T10:00:00Z");
    follow.handle(Seen::Operation(failed), at(3));
    let result = follow.result(End::Finished, at(3));
    assert!(result.ends_with("\n  Succeeded  h1\n  Failed     h2\n  Skipped    h3"), "{result}");
}

#[test]
fn time_that_is_over_ends_the_waiting_only() {
    let mut follow = Follow::new(Options { timeout: Some(at(60)), ..options() });
    follow.handle(Seen::Operation(running("p")), at(1));
    assert_eq!(ended(&follow.handle(Seen::Tick, at(59))), None);
    assert_eq!(ended(&follow.handle(Seen::Tick, at(60))), Some(End::TimedOut));
    assert_eq!(follow.outcome(End::TimedOut), Outcome::TimedOut);
    assert!(follow.result(End::TimedOut, at(60)).contains("goes on in the cluster"));

    let lonely = Follow::new(options()).result(End::TimedOut, at(5));
    assert!(lonely.starts_with("After 0:05: nobody has looked at the Operation yet."), "{lonely}");
    let mut blocked = Follow::new(options());
    let condition =
        json!({"type": "Blocked", "status": "True", "reason": "DependencyMissing", "message": "no Secret"});
    blocked
        .handle(Seen::Operation(json!({"status": {"phase": "Pending", "conditions": [condition]}})), at(1));
    let told = blocked.result(End::TimedOut, at(5));
    assert!(told.starts_with("Still blocked (DependencyMissing): no Secret"), "{told}");
    assert!(told.ends_with("kubectl delete operation -n acme migrate-1"), "{told}");
}

#[test]
fn without_following_the_first_word_is_enough() {
    let word = || Follow::new(Options { until: Until::Word, ..options() });
    let mut accepted = word();
    assert_eq!(ended(&accepted.handle(Seen::Operation(json!({})), at(0))), None);
    let steps = accepted.handle(Seen::Operation(running("p")), at(1));
    assert_eq!(ended(&steps), Some(End::Heard));
    assert!(!steps.iter().any(|step| matches!(step, Step::WatchPods(_))), "{steps:?}");
    assert_eq!(accepted.outcome(End::Heard), Outcome::Done);

    let mut blocked = word();
    let held = operation("Pending", &["Blocked=True/PolicyHeld: later"]);
    assert_eq!(ended(&blocked.handle(Seen::Operation(held), at(1))), Some(End::Heard));
    assert_eq!(blocked.outcome(End::Heard), Outcome::Held);

    let mut refused = word();
    let denied = operation("Failed", &["Failed=True/PolicyDenied: no"]);
    assert_eq!(ended(&refused.handle(Seen::Operation(denied), at(1))), Some(End::Finished));
    assert_eq!(refused.outcome(End::Finished), Outcome::Denied);

    let mut unheard = word();
    assert_eq!(ended(&unheard.handle(Seen::Tick, at(10))), Some(End::Heard));
    assert_eq!(unheard.outcome(End::Heard), Outcome::Done);
}

#[test]
fn with_a_person_an_interrupt_asks_and_a_second_one_leaves() {
    let mut follow = Follow::new(Options { can_ask: true, ..options() });
    follow.handle(Seen::Operation(running("p")), at(1));
    assert_eq!(follow.handle(Seen::Interrupted, at(2)), [Step::Ask]);
    assert!(follow.is_asking());
    assert_eq!(follow.handle(Seen::Answered(false), at(3)), []);
    assert!(!follow.is_asking(), "no is no, and following goes on");

    follow.handle(Seen::Interrupted, at(4));
    assert_eq!(ended(&follow.handle(Seen::Interrupted, at(5))), Some(End::Left));
    assert_eq!(follow.outcome(End::Left), Outcome::Interrupted);
}

#[test]
fn a_yes_cancels_and_waits_for_the_cancelled_operation() {
    let mut follow = Follow::new(Options { can_ask: true, ..options() });
    follow.handle(Seen::Operation(running("p")), at(1));
    follow.handle(Seen::Interrupted, at(2));
    let steps = follow.handle(Seen::Answered(true), at(3));
    assert!(steps.contains(&Step::Cancel), "{steps:?}");
    let steps = follow.handle(Seen::NotCancelled("forbidden".into()), at(4));
    assert_eq!(told(&steps), ["cannot cancel the Operation: forbidden"]);
    assert_eq!(follow.handle(Seen::Interrupted, at(5)), [Step::Ask], "it can be tried again");
    follow.handle(Seen::Answered(true), at(6));
    let mut cancelled = operation("Cancelled", &["Cancelled=True/CancelledByUser: It was cancelled."]);
    cancelled["status"]["logsRef"] = json!({"kind": "Pod", "name": "p"});
    assert_eq!(ended(&follow.handle(Seen::Operation(cancelled), at(7))), Some(End::Finished));
    assert_eq!(follow.result(End::Finished, at(7)), "Cancelled (CancelledByUser): It was cancelled.");
}

#[test]
fn a_cancellation_from_anywhere_is_told_once_and_at_once() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    let mut annotated = running("p");
    annotated["metadata"] = json!({"annotations": {"ops.vworkspace.io/cancel": "false"}});
    assert_eq!(follow.handle(Seen::Operation(annotated.clone()), at(2)), [], "false is no cancellation");
    annotated["metadata"]["annotations"]["ops.vworkspace.io/cancel"] = json!("yes");
    let steps = follow.handle(Seen::Operation(annotated.clone()), at(3));
    let [told] = told(&steps)[..] else { panic!("{steps:?}") };
    assert!(
        told.starts_with("The Operation is being cancelled (annotation ops.vworkspace.io/cancel=\"yes\")"),
        "{told}"
    );
    assert!(follow.progress(at(4)).ends_with("Running, cancelling"));
    assert_eq!(follow.handle(Seen::Operation(annotated.clone()), at(5)), [], "once");
    let mut deleted = annotated;
    deleted["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:00:00Z");
    let steps = follow.handle(Seen::Operation(deleted), at(6));
    assert!(
        steps.iter().any(|step| matches!(step, Step::Tell(text) if text.contains("(it was deleted)"))),
        "{steps:?}"
    );
}

#[test]
fn without_a_person_the_first_interrupt_cancels() {
    let mut follow = follow();
    follow.handle(Seen::Operation(running("p")), at(1));
    assert!(follow.handle(Seen::Interrupted, at(2)).contains(&Step::Cancel));
    assert_eq!(ended(&follow.handle(Seen::Interrupted, at(3))), Some(End::Left));
}

#[test]
fn a_deleted_operation_ends_the_following() {
    let mut follow = follow();
    assert_eq!(follow.handle(Seen::Gone, at(1)), [Step::End(End::Gone)]);
    assert_eq!(follow.outcome(End::Gone), Outcome::Failed);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_is_seen_there_is_an_end_once_the_operation_has_one(
        events in proptest::collection::vec(0usize..12, 0..60),
    ) {
        let mut follow = follow();
        let seen = |n: usize| match n {
            0 => Seen::Operation(json!({"status": {"conditions": [3, {"type": "Blocked", "status": "True"}]}})),
            1 => Seen::Operation(running("p")),
            2 => Seen::Pod(pod("p", "Running", "main", "running")),
            3 => Seen::Pod(pod("q", "Failed", "main", "terminated")),
            4 => Seen::PodGone(json!({})),
            5 => Seen::NoPods("x".into()),
            6 => Seen::Line(source("r", "other"), "x".into()),
            7 => Seen::LogEnded(source("p", "main"), Some("x".into())),
            8 => Seen::Lost("x".into()),
            9 => Seen::NotCancelled("x".into()),
            10 => Seen::Answered(true),
            _ => Seen::Tick,
        };
        for (n, event) in events.into_iter().enumerate() {
            follow.handle(seen(event), at(n as u64));
        }
        follow.handle(Seen::Operation(succeeded("p")), at(100));
        proptest::prop_assert_eq!(ended(&follow.handle(Seen::Tick, at(105))), Some(End::Finished));
    }
}

#[test]
fn what_another_controller_writes_is_not_shown_as_hookhosts_reason() {
    let mut follow = follow();
    let own = operation("Pending", &["Blocked=True/ConflictingOperation: Upgrade shop goes first."]);
    assert_eq!(
        told(&follow.handle(Seen::Operation(own), at(1))),
        ["Blocked (ConflictingOperation): Upgrade shop goes first."]
    );
    let other = operation("Pending", &["Blocked=True/ValidationFailed: parameters.image is required"]);
    let other = overwritten(other, &["Blocked"]);
    let steps = follow.handle(Seen::Operation(other.clone()), at(2));
    let [once] = told(&steps)[..] else { panic!("{steps:?}") };
    assert!(once.starts_with("another controller (field manager \"manager\") overwrites"), "{once}");
    assert!(told(&follow.handle(Seen::Operation(other), at(3))).is_empty(), "once");
    assert_eq!(follow.outcome(End::TimedOut), Outcome::Held, "hookhost's last word holds");
    let result = follow.result(End::TimedOut, at(3));
    assert!(result.starts_with("Still blocked (ConflictingOperation): Upgrade shop goes first."), "{result}");
    let running = overwritten(running("pod-1"), &["Accepted"]);
    let steps = follow.handle(Seen::Operation(running), at(4));
    assert_eq!(told(&steps), ["Running: It is active."]);
    assert_eq!(follow.outcome(End::TimedOut), Outcome::TimedOut);
}

#[test]
fn a_result_that_another_controller_reports_is_shown_as_its_own() {
    let mut follow = follow();
    let failed = operation("Failed", &["Failed=True/EngineFailed: engine not registered"]);
    let steps = follow.handle(Seen::Operation(overwritten(failed, &["Failed"])), at(1));
    assert!(told(&steps)[0].contains("(field manager \"manager\") has ended this Operation"), "{steps:?}");
    assert_eq!(follow.ended_by(), Some("manager"));
    let result = follow.result(End::Finished, at(1));
    assert_eq!(result, "Failed (EngineFailed, as \"manager\" reports): engine not registered");
    // What hookhost reports stays a success, whatever phase others write.
    let mut done = succeeded("pod-1");
    done["status"]["phase"] = "Pending".into();
    assert_eq!(status::outcome(&done["status"]), Outcome::Done);
    let mut follow = self::follow();
    follow.handle(Seen::Operation(overwritten(done, &[])), at(1));
    assert_eq!(follow.status()["phase"], "Succeeded");
}
