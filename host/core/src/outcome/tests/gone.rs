//! Pods that are gone, or on their way, before their Job is marked Failed.

use serde_json::{Value, json};

use super::*;

fn gone(mut pod: Value) -> Value {
    mark_gone(&mut pod);
    pod
}

/// The same pod, asked at 10:01:30 to end within 30 s.
fn leaving(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
    pod
}

fn terminated(code: i64, finished: &str) -> Value {
    json!({"terminated": {"exitCode": code, "reason": "Error", "finishedAt": finished}})
}

fn with_states(state: Value, last: Value) -> Value {
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "migrate", "state": state, "lastState": last}]});
    pod("migrate-a", 1, status)
}

/// A container that failed with 3, was restarted, and runs.
fn restarted() -> Value {
    with_states(json!({"running": {}}), terminated(3, "2026-05-28T10:01:10Z"))
}

fn running() -> Value {
    with_states(json!({"running": {}}), json!({}))
}

fn target(reason: &str) -> Value {
    job(
        json!({"failed": 1, "startTime": "2026-05-28T10:00:00Z", "conditions": condition("FailureTarget", reason, "")}),
    )
}

fn source(previous: bool, has_ended: bool) -> Option<LogSource> {
    let pod = named("migrate-a").unwrap();
    Some(LogSource { pod, container: "migrate".to_owned(), previous, has_ended })
}

fn at_risk(job: &Value, pods: &[Value]) -> Option<LogSource> {
    log_at_risk(job, &pods.iter().collect::<Vec<_>>())
}

#[test]
fn at_the_backoff_limit_of_a_restarted_container_its_last_own_end_is_told_though_the_pod_is_gone() {
    let before = || terminated(3, "2026-05-28T10:01:10Z");
    for state in [
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        json!({"running": {}}),
        // The next try was stopped with the pod; what it ended with is not why the run failed.
        terminated(137, "2026-05-28T10:02:00Z"),
        terminated(0, "2026-05-28T10:01:31Z"),
    ] {
        let culprit = culprit(&backoff(), &[gone(leaving(with_states(state.clone(), before())))]).unwrap();
        assert_eq!((culprit.exit_code, culprit.is_gone, culprit.previous), (Some(3), true, true), "{state}");
        assert_eq!(culprit.to_string(), "container migrate of pod shop/migrate-a ended with exit code 3");
    }
    let own_end = with_states(terminated(4, "2026-05-28T10:01:20Z"), before());
    let culprit = culprit(&backoff(), &[gone(leaving(own_end))]).unwrap();
    assert_eq!(
        (culprit.exit_code, culprit.previous),
        (Some(4), false),
        "it ended before the pod was stopped"
    );
}

#[test]
fn a_pod_that_a_deadline_has_stopped_is_told_though_it_is_gone() {
    let killed = with_states(terminated(137, "2026-05-28T10:02:00Z"), terminated(3, "2026-05-28T10:01:10Z"));
    let culprit = culprit(&deadline(), &[gone(leaving(killed))]).unwrap();
    assert_eq!((culprit.exit_code, culprit.previous), (Some(137), false));
    assert_eq!(
        culprit.to_string(),
        "container migrate of pod shop/migrate-a ended with exit code 137 (SIGKILL)"
    );
}

#[test]
fn a_pod_that_was_deleted_or_drained_says_so() {
    let deleted = gone(leaving(with_states(terminated(143, "2026-05-28T10:01:31Z"), json!({}))));
    let told = |pod: &Value| culprit(&backoff(), std::slice::from_ref(pod)).unwrap().to_string();
    let ended =
        "container migrate of pod shop/migrate-a ended with exit code 143 (SIGTERM); the pod was ended: ";
    assert_eq!(told(&deleted), format!("{ended}it was deleted"));
    // It was given no more time when all of it had ended.
    let mut last = deleted.clone();
    last["metadata"]["deletionGracePeriodSeconds"] = json!(0);
    assert_eq!(told(&last), format!("{ended}it was deleted"));
    let mut drained = deleted;
    drained["status"]["conditions"] =
        condition("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting");
    assert_eq!(told(&drained), format!("{ended}EvictionByEvictionAPI: Eviction API: evicting"));
    // By force: nobody knows how it ended.
    assert_eq!(told(&gone(running())), "pod shop/migrate-a failed; the pod was ended: it was deleted");
}

#[test]
fn of_several_pods_the_one_that_failed_by_itself_is_told_and_not_those_that_were_stopped_for_it() {
    let mut stopped = gone(leaving(with_states(terminated(137, "2026-05-28T10:02:00Z"), json!({}))));
    stopped["metadata"]["name"] = json!("migrate-b");
    stopped["metadata"]["creationTimestamp"] = json!("2026-05-28T10:00:09Z");
    let pods = [stopped.clone(), gone(leaving(restarted()))];
    assert_eq!(culprit(&backoff(), &pods).unwrap().exit_code, Some(3));
    assert_eq!(culprit(&backoff(), &[stopped, failed_pod("migrate-a", 1, 5)]).unwrap().exit_code, Some(5));
}

#[test]
fn a_pod_that_is_gone_is_not_at_work_and_is_not_named_as_the_one_that_runs() {
    let next = pod("migrate-b", 20, json!({"phase": "Pending"}));
    let pods = [gone(running()), next];
    let runs = Outcome::Running { pod: named("migrate-b"), waiting: None };
    assert_eq!(look(&job(json!({"active": 1})), &pods), runs);
    assert_eq!(
        look(&job(json!({"failed": 1})), &pods[..1]),
        Outcome::Running { pod: None, waiting: None },
        "between two pods"
    );
    assert!(pod_has_ended(&pods[0]) && is_gone(&pods[0]) && !is_gone(&pods[1]));
    // The run of a Job that was deleted is over without it.
    let deleted = look(&deleting(job(json!({"active": 1}))), &[gone(running())]);
    assert!(matches!(deleted, Outcome::Deleted { running: true, culprit: None, .. }), "{deleted:?}");
    let stray = look(&deleting(job(json!({"active": 1}))), &[gone(orphan(running()))]);
    assert!(stray.is_over());
    // What only has the labels is no evidence, gone or not.
    assert_eq!(culprit(&backoff(), &[gone(orphan(failed_pod("migrate-a", 1, 3)))]), None);
}

#[test]
fn the_log_that_is_read_in_time_is_that_of_the_container_whose_end_will_be_told() {
    let active = job(json!({"active": 1, "startTime": "2026-05-28T10:00:00Z"}));
    assert_eq!(at_risk(&active, &[running()]), None, "nobody has asked it to end");
    assert_eq!(at_risk(&active, &[leaving(running())]), source(false, false));
    assert_eq!(at_risk(&active, &[leaving(restarted())]), source(true, true));
    let crashed = with_states(
        json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        terminated(3, "2026-05-28T10:01:10Z"),
    );
    assert_eq!(at_risk(&active, &[leaving(crashed)]), source(true, true));
    // The Job says that it fails before it is marked Failed; a pod that is gone has no log any more.
    let backoff = target("BackoffLimitExceeded");
    assert_eq!(at_risk(&backoff, &[restarted()]), source(true, true));
    assert_eq!(at_risk(&backoff, &[failed_pod("migrate-a", 1, 3)]), source(false, true));
    assert_eq!(at_risk(&backoff, &[gone(restarted())]), None);
    assert_eq!(at_risk(&super::backoff(), &[leaving(restarted())]), None, "its end is told at once");
    // At a deadline it is the try that was stopped, also before the Job says so.
    assert_eq!(at_risk(&target("DeadlineExceeded"), &[leaving(running())]), source(false, false));
    let mut late = active;
    late["spec"]["activeDeadlineSeconds"] = json!(90);
    let stopped = with_states(terminated(137, "2026-05-28T10:01:31Z"), terminated(3, "2026-05-28T10:01:10Z"));
    assert_eq!(at_risk(&late, &[leaving(stopped)]), source(false, true));
    let pending = leaving(pod("migrate-a", 1, json!({"phase": "Pending"})));
    assert_eq!(at_risk(&late, &[pending]), None, "it has no log");
}

/// The same pod, in which failed containers are restarted; this one was `restarts` times.
fn on_failure(mut pod: Value, restarts: u32) -> Value {
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    pod["status"]["containerStatuses"][0]["restartCount"] = json!(restarts);
    pod
}

#[test]
fn the_log_of_a_container_that_has_failed_as_often_as_it_may_is_read_before_its_pod_is_deleted() {
    let failed = || with_states(terminated(3, "2026-05-28T10:01:10Z"), json!({}));
    let mut job = job(json!({"active": 1, "startTime": "2026-05-28T10:00:00Z"}));
    for (limit, restarts, is_read) in
        [(0, 0, true), (1, 0, true), (2, 0, false), (2, 1, true), (6, 4, false), (6, 5, true)]
    {
        job["spec"]["backoffLimit"] = json!(limit);
        let found = at_risk(&job, &[on_failure(failed(), restarts)]);
        assert_eq!(found, source(false, false).filter(|_| is_read), "{limit} {restarts}");
        let found = at_risk(&job, &[on_failure(restarted(), restarts + 1)]);
        assert_eq!(found, source(true, false).filter(|_| is_read), "{limit} {restarts}");
    }
    job["spec"].as_object_mut().unwrap().remove("backoffLimit");
    assert_eq!(at_risk(&job, &[on_failure(failed(), 4)]), None, "the default is 6");
    assert_eq!(at_risk(&job, &[on_failure(failed(), 5)]), source(false, false));
    assert_eq!(at_risk(&job, &[on_failure(leaving(failed()), 5)]), source(false, true));
    assert_eq!(at_risk(&job, &[on_failure(running(), 9)]), None, "it may succeed yet");
    assert_eq!(at_risk(&job, &[on_failure(gone(failed()), 9)]), None);
    job["spec"]["backoffLimit"] = json!(0);
    assert_eq!(at_risk(&job, &[failed()]), None, "its pod stays: restartPolicy Never");
}
