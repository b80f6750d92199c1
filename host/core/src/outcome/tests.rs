mod deletion;
mod gone;
mod laws;

use serde_json::{Value, json};

use super::*;
use deletion::{deleting, orphan};

const UID: &str = "0b8e5b34-0c2e-4c0e-8c5a-2f1d9c3f7a10";

/// A Job like the API server's, with this status.
pub(super) fn job(status: Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "shop", "uid": UID},
        "spec": {"completions": 1, "parallelism": 1, "backoffLimit": 1},
        "status": status,
    })
}

/// A pod of that Job, created so many seconds after the Job.
pub(super) fn pod(name: &str, second: u32, status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "creationTimestamp": format!("2026-05-28T10:00:{second:02}Z"),
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "migrate", "uid": UID, "controller": true}],
        },
        "spec": {"initContainers": [{"name": "wait"}, {"name": "proxy", "restartPolicy": "Always"}],
            "containers": [{"name": "migrate"}]},
        "status": status,
    })
}

fn ended(name: &str, code: i64, reason: &str) -> Value {
    json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": reason,
        "finishedAt": "2026-05-28T10:01:00Z"}}})
}

fn failed_pod(name: &str, second: u32, code: i64) -> Value {
    pod(name, second, json!({"phase": "Failed", "containerStatuses": [ended("migrate", code, "Error")]}))
}

fn condition(of_type: &str, reason: &str, message: &str) -> Value {
    json!([{"type": of_type, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": "2026-05-28T10:02:00Z"}])
}

fn backoff() -> Value {
    job(json!({"failed": 2, "conditions":
        condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")}))
}

fn deadline() -> Value {
    job(json!({"failed": 1, "conditions":
        condition("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")}))
}

fn look(job: &Value, pods: &[Value]) -> Outcome {
    observe(job, &pods.iter().collect::<Vec<_>>(), Warnings::default())
}

fn culprit(job: &Value, pods: &[Value]) -> Option<Culprit> {
    match look(job, pods) {
        Outcome::Failed { culprit, .. } | Outcome::Deleted { culprit, .. } => culprit,
        other => panic!("{other:?}"),
    }
}

fn named(name: &str) -> Option<PodRef> {
    Some(PodRef { namespace: "shop".to_owned(), name: name.to_owned() })
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

#[test]
fn a_job_without_a_pod_has_not_started_and_says_why() {
    assert_eq!(look(&job(json!({})), &[]), Outcome::NotStarted { why: None });
    let quota = "Error creating: pods \"migrate-x7k2p\" is forbidden: exceeded quota: compute";
    let outcome = observe(&job(Value::Null), &[], Warnings { job: Some(quota), pod: None });
    assert_eq!(outcome, Outcome::NotStarted { why: Some(quota.to_owned()) });
    let suspended = job(json!({"conditions": condition("Suspended", "JobSuspended", "Job suspended")}));
    assert_eq!(look(&suspended, &[]), Outcome::Suspended { why: "JobSuspended: Job suspended".to_owned() });
}

#[test]
fn a_job_that_is_suspended_says_so_whether_or_not_it_has_had_pods() {
    let says = Outcome::Suspended { why: "JobSuspended: Job suspended".to_owned() };
    // The API server has it before the Job's controller says so.
    let mut new = job(json!({}));
    new["spec"]["suspend"] = json!(true);
    assert_eq!(look(&new, &[]), says);
    let suspended = job(json!({"failed": 1, "startTime": null,
        "conditions": condition("Suspended", "JobSuspended", "Job suspended")}));
    let running = pod("migrate-a", 1, json!({"phase": "Running"}));
    assert!(
        matches!(look(&suspended, std::slice::from_ref(&running)), Outcome::Running { .. }),
        "it is still at work"
    );
    assert_eq!(look(&suspended, &[deleting(running.clone())]), says);
    let mut gone = running;
    mark_gone(&mut gone);
    assert_eq!(look(&suspended, &[gone, failed_pod("migrate-b", 2, 1)]), says);
    let mut resumed = new;
    resumed["spec"]["suspend"] = json!(false);
    assert_eq!(look(&resumed, &[]), Outcome::NotStarted { why: None });
}

#[test]
fn the_newest_pod_is_the_one_that_runs() {
    let pods = [
        pod("migrate-b", 20, json!({"phase": "Running"})),
        failed_pod("migrate-a", 10, 1),
        pod("migrate-c", 20, json!({"phase": "Pending"})),
    ];
    let running = Outcome::Running { pod: named("migrate-c"), waiting: None };
    assert_eq!(look(&job(json!({"active": 1, "failed": 1})), &pods), running);
}

#[test]
fn a_job_whose_pod_is_not_known_yet_runs() {
    assert_eq!(look(&job(json!({"active": 1})), &[]), Outcome::Running { pod: None, waiting: None });
    let counted_next = job(json!({"uncountedTerminatedPods": {"failed": ["x"]}}));
    assert_eq!(look(&counted_next, &[]), Outcome::Running { pod: None, waiting: None });
}

#[test]
fn between_two_pods_the_run_goes_on_and_says_why_the_next_one_is_refused() {
    let job = job(json!({"failed": 1}));
    let pods = [failed_pod("migrate-a", 10, 1)];
    assert_eq!(look(&job, &pods), Outcome::Running { pod: named("migrate-a"), waiting: None });
    let outcome = observe(&job, &[&pods[0]], Warnings { job: Some("exceeded quota"), pod: None });
    assert_eq!(
        outcome,
        Outcome::Running { pod: named("migrate-a"), waiting: Some("exceeded quota".to_owned()) }
    );
}

#[test]
fn a_pod_that_cannot_start_says_why_at_once() {
    let waits = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses":
            [{"name": "migrate", "state": {"waiting": {"reason": reason, "message": message}}}]})
    };
    let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
    let restarts = json!({"phase": "Running", "containerStatuses": [{"name": "migrate",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]});
    let init = json!({"phase": "Pending", "initContainerStatuses": [{"name": "wait",
        "state": {"waiting": {"reason": "InvalidImageName"}}}], "containerStatuses": [{"name": "migrate",
        "state": {"waiting": {"reason": "PodInitializing"}}}]});
    for (status, says) in [
        (waits("ErrImagePull", "no such host"), "container migrate cannot start: ErrImagePull: no such host"),
        (
            waits("CreateContainerConfigError", "secret \"db\" not found"),
            "container migrate cannot start: CreateContainerConfigError: secret \"db\" not found",
        ),
        (
            unschedulable,
            "the pod cannot be scheduled: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.",
        ),
        (restarts, "container migrate waits to be restarted: it ended with exit code 3"),
        (init, "init container wait cannot start: InvalidImageName"),
    ] {
        let outcome = look(&job(json!({"active": 1})), &[pod("migrate-a", 1, status)]);
        assert_eq!(
            outcome,
            Outcome::Running { pod: named("migrate-a"), waiting: Some(says.to_owned()) },
            "{says}"
        );
    }
    let creating = pod("migrate-a", 1, waits("ContainerCreating", ""));
    let warning = "MountVolume.SetUp failed for volume \"data\": secret \"db\" not found";
    let job = job(json!({"active": 1}));
    let waiting = |warnings| match observe(&job, &[&creating], warnings) {
        Outcome::Running { waiting, .. } => waiting,
        other => panic!("{other:?}"),
    };
    assert_eq!(waiting(Warnings::default()), None, "its turn has simply not come");
    assert_eq!(waiting(Warnings { job: None, pod: Some(warning) }).as_deref(), Some(warning));
    assert_eq!(waiting(Warnings { job: Some(warning), pod: None }), None, "it was created");
}

#[test]
fn one_of_several_pods_that_cannot_start_is_told_by_name() {
    let stuck = json!({"phase": "Pending", "containerStatuses":
        [{"name": "migrate", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
    let pods = [pod("migrate-a", 1, stuck), pod("migrate-b", 2, json!({"phase": "Running"}))];
    let waiting = "pod migrate-a: container migrate cannot start: ImagePullBackOff".to_owned();
    assert_eq!(
        look(&job(json!({"active": 2})), &pods),
        Outcome::Running { pod: named("migrate-b"), waiting: Some(waiting) }
    );
}

#[test]
fn only_complete_and_failed_end_a_run() {
    for (of_type, ends) in
        [("Complete", true), ("Failed", true), ("SuccessCriteriaMet", false), ("FailureTarget", false)]
    {
        let job = job(json!({"active": 1, "conditions": condition(of_type, "", "")}));
        assert_eq!(is_finished(&job), ends, "{of_type}");
        assert_eq!(!matches!(look(&job, &[]), Outcome::Running { .. }), ends, "{of_type}");
    }
    let not_yet = job(json!({"active": 1, "conditions": [{"type": "Failed", "status": "False"}]}));
    assert!(!is_finished(&not_yet));
}

#[test]
fn a_complete_job_has_succeeded_when_it_says() {
    let pods = [failed_pod("migrate-a", 1, 1), pod("migrate-b", 2, json!({"phase": "Succeeded"}))];
    let complete = job(json!({"succeeded": 1, "completionTime": "2026-05-28T10:01:30Z",
        "conditions": condition("Complete", "CompletionsReached", "")}));
    let succeeded = Outcome::Succeeded { completed: at("2026-05-28T10:01:30Z"), pod: named("migrate-b") };
    assert_eq!(look(&complete, &pods), succeeded);
    let without_time = job(json!({"conditions": condition("Complete", "", "")}));
    assert_eq!(
        look(&without_time, &[]),
        Outcome::Succeeded { completed: at("2026-05-28T10:02:00Z"), pod: None }
    );
}

#[test]
fn a_failed_job_shows_the_newest_pods_container() {
    let pods = [failed_pod("migrate-b", 20, 3), failed_pod("migrate-a", 10, 4)];
    let Outcome::Failed { why, culprit: Some(culprit), pod, finished } = look(&backoff(), &pods) else {
        panic!("not failed")
    };
    assert_eq!(why, "BackoffLimitExceeded: Job has reached the specified backoff limit");
    assert_eq!((pod, finished), (named("migrate-b"), at("2026-05-28T10:02:00Z")));
    assert_eq!((culprit.container.as_deref(), culprit.exit_code), (Some("migrate"), Some(3)));
    assert_eq!(culprit.to_string(), "container migrate of pod shop/migrate-b ended with exit code 3");
}

#[test]
fn an_init_container_can_be_the_culprit() {
    let status = json!({"phase": "Failed", "initContainerStatuses": [ended("wait", 7, "Error")],
        "containerStatuses": [{"name": "migrate", "state": {"waiting": {"reason": "PodInitializing"}}}]});
    let culprit = culprit(&backoff(), &[pod("migrate-a", 1, status)]).unwrap();
    assert!(culprit.init);
    assert_eq!(culprit.to_string(), "init container wait of pod shop/migrate-a ended with exit code 7");
}

#[test]
fn a_sidecar_is_the_culprit_only_where_nothing_else_failed() {
    let proxy = || json!({"name": "proxy", "state": {"terminated": {"exitCode": 2, "finishedAt": "2026-05-28T10:00:00Z"}}});
    let both = json!({"phase": "Failed", "initContainerStatuses": [proxy()],
        "containerStatuses": [ended("migrate", 1, "Error")]});
    let alone = json!({"phase": "Failed", "initContainerStatuses": [proxy()],
        "containerStatuses": [ended("migrate", 0, "Completed")]});
    for (status, name) in [(both, "migrate"), (alone, "proxy")] {
        let culprit = culprit(&backoff(), &[pod("migrate-a", 1, status)]).unwrap();
        assert_eq!(culprit.container.as_deref(), Some(name));
    }
}

#[test]
fn of_several_containers_the_first_to_fail_is_the_culprit() {
    let later = json!({"name": "aaa", "state": {"terminated": {"exitCode": 1, "finishedAt": "2026-05-28T10:09:00Z"}}});
    let status = json!({"phase": "Failed", "containerStatuses": [later, ended("migrate", 9, "Error")]});
    let culprit = culprit(&backoff(), &[pod("migrate-a", 1, status)]).unwrap();
    assert_eq!(culprit.exit_code, Some(9));
}

#[test]
fn a_container_out_of_memory_or_killed_says_so() {
    let killed = |reason: &str, code: i64| {
        let status = json!({"phase": "Failed", "containerStatuses": [ended("migrate", code, reason)]});
        culprit(&backoff(), &[pod("migrate-a", 1, status)]).unwrap().to_string()
    };
    assert!(killed("OOMKilled", 137).ends_with("exit code 137 (OOMKilled, SIGKILL)"));
    assert!(killed("Error", 143).ends_with("exit code 143 (SIGTERM)"));
    assert!(killed("ContainerCannotRun", 127).ends_with("exit code 127 (ContainerCannotRun)"));
}

#[test]
fn a_container_that_was_restarted_in_its_pod_is_found_by_its_last_end() {
    // restartPolicy OnFailure: the pod never fails, it is deleted when the limit is reached.
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "migrate",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 5, "reason": "Error", "message": "no database"}}}]});
    let mut pod = pod("migrate-a", 1, status);
    pod["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    let culprit = culprit(&backoff(), &[pod]).unwrap();
    assert_eq!((culprit.exit_code, culprit.message.as_str()), (Some(5), "no database"));
}

#[test]
fn an_evicted_pod_says_what_the_node_said() {
    let status =
        json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let culprit = culprit(&backoff(), &[pod("migrate-a", 1, status)]).unwrap();
    assert_eq!((&culprit.container, culprit.exit_code), (&None, None));
    assert_eq!(
        culprit.to_string(),
        "pod shop/migrate-a failed; the pod was ended: Evicted: The node was low on resource: memory."
    );
    let drained = json!({"phase": "Failed", "conditions": condition("DisruptionTarget", "EvictionByEvictionAPI", "Eviction API: evicting"),
        "containerStatuses": [ended("migrate", 143, "Error")]});
    let culprit = self::culprit(&backoff(), &[pod("migrate-a", 1, drained)]).unwrap();
    assert_eq!(
        culprit.to_string(),
        "container migrate of pod shop/migrate-a ended with exit code 143 (SIGTERM); the pod was ended: \
         EvictionByEvictionAPI: Eviction API: evicting"
    );
}

#[test]
fn a_deadline_shows_the_pod_that_it_ended() {
    let mut killed = failed_pod("migrate-b", 20, 137);
    killed["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
    let first_try = failed_pod("migrate-a", 10, 1);
    assert_eq!(culprit(&deadline(), &[first_try.clone(), killed.clone()]).unwrap().exit_code, Some(137));
    // Where the limit was reached, the pods that are ended for it are not why.
    assert_eq!(culprit(&backoff(), &[first_try, killed]).unwrap().exit_code, Some(1));
    let Outcome::Failed { why, culprit, pod, .. } = look(&deadline(), &[]) else { panic!("not failed") };
    assert_eq!((culprit, pod), (None, None), "the pods are gone already");
    assert_eq!(why, "DeadlineExceeded: Job was active longer than specified deadline");
}

#[test]
fn a_deadline_shows_why_the_pod_never_started() {
    let status = json!({"phase": "Pending", "containerStatuses":
        [{"name": "migrate", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}]});
    let culprit = culprit(&deadline(), &[pod("migrate-a", 1, status)]).unwrap();
    assert_eq!(
        culprit.to_string(),
        "container migrate of pod shop/migrate-a could not start: ErrImagePull: no such host"
    );
}

#[test]
fn a_pod_failure_policy_names_the_culprit() {
    let message =
        "Container side for pod shop/migrate-a failed with exit code 42 matching FailJob rule at index 0";
    let job = job(json!({"conditions": condition("Failed", "PodFailurePolicy", message)}));
    let status = json!({"phase": "Failed", "containerStatuses": [ended("migrate", 1, "Error"), ended("side", 42, "Error")]});
    let pods = [pod("migrate-a", 1, status), failed_pod("migrate-ab", 2, 9)];
    let culprit = culprit(&job, &pods).unwrap();
    assert_eq!((culprit.pod.name.as_str(), culprit.exit_code), ("migrate-a", Some(42)));
}

#[test]
fn an_indexed_job_names_its_failed_indexes() {
    let mut failed = job(json!({"failedIndexes": "1,3-5", "conditions":
        condition("Failed", "FailedIndexes", "Job has failed indexes")}));
    failed["spec"]["completionMode"] = json!("Indexed");
    let mut pod = failed_pod("migrate-3-x", 1, 2);
    pod["metadata"]["annotations"] = json!({"batch.kubernetes.io/job-completion-index": "3"});
    let Outcome::Failed { why, culprit, .. } = look(&failed, &[pod]) else { panic!("not failed") };
    assert_eq!(why, "FailedIndexes: Job has failed indexes (failed indexes: 1,3-5)");
    assert_eq!(
        culprit.unwrap().to_string(),
        "container migrate of pod shop/migrate-3-x (index 3) ended with exit code 2"
    );
}

#[test]
fn a_pod_that_only_has_the_labels_is_not_looked_at() {
    let mut stranger = failed_pod("forged", 59, 1);
    stranger["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    let pods = [failed_pod("migrate-a", 1, 3), stranger];
    assert_eq!(culprit(&backoff(), &pods).unwrap().pod.name, "migrate-a");
    // Deleting a Job so that its pods stay takes their owner away; the Job controller's label stays. Anybody can write it.
    assert_eq!(culprit(&backoff(), &[orphan(failed_pod("migrate-a", 1, 3))]), None);
}

#[test]
fn a_job_says_what_holds_it_and_whether_it_goes() {
    let mut job = job(json!({}));
    job["metadata"]["finalizers"] = json!(["a/b", 3]);
    assert!(has_finalizer(&job, "a/b") && !has_finalizer(&job, "a/c"));
    assert!(!is_deleting(&job) && is_deleting(&deleting(job.clone())));
}

#[test]
fn the_end_of_a_log_is_readable() {
    let log = b"first\nstep 1\n\n\x1b[31merror:\x1b[0m no\ttable \x1b]0;title\x07users\r\n10%\r50%\r100%\r\n\x1b[0m\n\n";
    assert_eq!(tail(log, 20, 4096), "first\nstep 1\n\nerror: no table users\n100%");
    assert_eq!(tail(log, 2, 4096), "error: no table users\n100%");
    assert_eq!(tail(log, 3, 4096), "error: no table users\n100%", "no blank line to begin with");
    assert_eq!(tail(log, 20, 27), "error: no table users\n100%");
    assert_eq!(tail(log, 20, 25), "100%");
    assert_eq!(tail(log, 0, 4096), "");
    assert_eq!(tail(b"", 20, 4096), "");
    assert_eq!(tail(b"\n \n\r\n", 20, 4096), "");
    assert_eq!(tail(b"caf\xc3\xa9 \xff\xe2\x80\xae!", 1, 100), "café \u{fffd}!");
    assert_eq!(tail(b"caf\xc3\xa9s and more", 1, 7), "caf…");
    let endless = tail(&vec![b'x'; 1 << 20], 20, 1 << 20);
    assert_eq!(endless.len(), LINE_BYTES);
}

#[test]
fn a_container_that_stays_when_the_hook_is_done_is_told() {
    let running =
        |name: &str| json!({"name": name, "state": {"running": {"startedAt": "2026-05-28T10:00:01Z"}}});
    let beside = |of_hook: Value| {
        let status = json!({"phase": "Running", "containerStatuses": [of_hook, running("istio-proxy")]});
        let pod = pod("migrate-a", 1, status);
        match look(&job(json!({"active": 1})), &[pod]) {
            Outcome::Running { waiting, .. } => waiting,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        beside(ended("migrate", 0, "Completed")).as_deref(),
        Some(
            "container migrate has ended with exit code 0, but container istio-proxy still runs, and the run ends only when all \
             of its containers do"
        )
    );
    assert_eq!(beside(running("migrate")), None);
    assert_eq!(
        beside(ended("migrate", 1, "Error")),
        None,
        "Kubernetes ends that pod, or starts the container again"
    );
}
