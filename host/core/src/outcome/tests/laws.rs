//! What holds for every Job, pod and log.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{UID, observe};
use crate::outcome::{LINE_BYTES, Warnings, has_finalizer, is_finished, log_at_risk, mark_gone, tail};
use hookhost_helm::text::is_unprintable;

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "True",
            "False",
            "Complete",
            "Failed",
            "FailureTarget",
            "SuccessCriteriaMet",
            "Suspended",
            "PodScheduled",
            "DisruptionTarget",
            "DeadlineExceeded",
            "Pending",
            "Running",
            "Succeeded",
            "ImagePullBackOff",
            "Indexed",
            "2026-05-28T10:00:00Z",
            "migrate",
            "shop",
            UID,
            "Container migrate for pod shop/migrate failed",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn any_key() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "uid",
        "labels",
        "annotations",
        "ownerReferences",
        "controller",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "gone",
        "activeDeadlineSeconds",
        "startTime",
        "creationTimestamp",
        "finalizers",
        "spec",
        "completions",
        "completionMode",
        "initContainers",
        "restartPolicy",
        "status",
        "conditions",
        "type",
        "reason",
        "message",
        "lastTransitionTime",
        "active",
        "succeeded",
        "failed",
        "completionTime",
        "failedIndexes",
        "uncountedTerminatedPods",
        "phase",
        "containerStatuses",
        "initContainerStatuses",
        "state",
        "lastState",
        "terminated",
        "waiting",
        "exitCode",
        "signal",
        "finishedAt",
        "batch.kubernetes.io/controller-uid",
        "ops.vworkspace.io/operation",
    ])
    .prop_map(str::to_owned)
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..300).prop_map(Value::from),
        any_word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any_key(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// A pod of the Job, with a status that is mostly like one.
fn any_pod() -> impl Strategy<Value = Value> {
    let state = || {
        prop_oneof![
            (any_word(), any_word()).prop_map(|(reason, message)| json!({"waiting": {"reason": reason, "message": message}})),
            (0_i64..260, 0_u32..60, any_word()).prop_map(|(code, second, reason)| json!({"terminated":
                {"exitCode": code, "reason": reason, "finishedAt": format!("2026-05-28T10:01:{second:02}Z")}})),
            any_json(),
        ]
    };
    let statuses = || {
        proptest::collection::vec(
            ("[ab]", state(), state())
                .prop_map(|(name, state, last)| json!({"name": name, "state": state, "lastState": last})),
            0..3,
        )
    };
    ("[a-z]{1,3}", 0_u32..60, any_word(), statuses(), statuses(), 0_u32..4, any_json()).prop_map(
        |(name, second, phase, containers, init, leaving, more)| {
            let mut pod = json!({
                "metadata": {"name": name, "namespace": "shop",
                    "creationTimestamp": format!("2026-05-28T10:00:{second:02}Z"),
                    "labels": {"batch.kubernetes.io/controller-uid": UID}},
                "spec": {"initContainers": [{"name": "a", "restartPolicy": "Always"}]},
                "status": {"phase": phase, "containerStatuses": containers, "initContainerStatuses": init,
                    "conditions": more},
            });
            if leaving % 2 == 1 {
                pod["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
                pod["metadata"]["deletionGracePeriodSeconds"] = json!(30);
            }
            if leaving > 1 {
                mark_gone(&mut pod);
            }
            pod
        },
    )
}

fn any_job() -> impl Strategy<Value = Value> {
    let condition = (any_word(), any_word(), any_word(), any_word()).prop_map(|(of_type, status, reason, message)| {
        json!({"type": of_type, "status": status, "reason": reason, "message": message})
    });
    (any_json(), proptest::collection::vec(condition, 0..3), any::<bool>()).prop_map(
        |(status, conditions, deleting)| {
            let mut job =
                json!({"metadata": {"uid": UID, "name": "migrate", "namespace": "shop"}, "status": status});
            if job["status"].is_object() {
                job["status"]["conditions"] = json!(conditions);
            }
            if deleting {
                job["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:02:00Z");
            }
            job
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn the_order_of_the_pods_does_not_matter(job in any_job(), mut pods in proptest::collection::vec(any_pod(), 0..5)) {
        pods.sort_by_key(|pod| pod["metadata"]["name"].to_string());
        pods.dedup_by_key(|pod| pod["metadata"]["name"].to_string());
        let mut pods: Vec<&Value> = pods.iter().collect();
        let (outcome, log) = (observe(&job, &pods, Warnings::default()), log_at_risk(&job, &pods));
        pods.reverse();
        prop_assert_eq!(&log_at_risk(&job, &pods), &log);
        prop_assert_eq!(&observe(&job, &pods, Warnings::default()), &outcome);
        let middle = pods.len() / 2;
        pods.rotate_left(middle);
        prop_assert_eq!(&observe(&job, &pods, Warnings::default()), &outcome);
    }

    #[test]
    fn nothing_that_a_job_or_pod_says_panics(job in any_json(), pods in proptest::collection::vec(any_json(), 0..3), words in any_word()) {
        let pods: Vec<&Value> = pods.iter().collect();
        let outcome = observe(&job, &pods, Warnings { job: Some(&words), pod: Some(&words) });
        let _ = (log_at_risk(&job, &pods), is_finished(&job), has_finalizer(&job, &words));
        let told = format!("{outcome:?}").len();
        prop_assert!(told < 64 * 1024);
    }

    #[test]
    fn the_end_of_any_log_is_short_and_cannot_steer_a_terminal(
        log in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n'), 1 => Just(0x1b), 1 => Just(b'\r')], 0..400),
        lines in 0_usize..8, bytes in 0_usize..200,
    ) {
        let shown = tail(&log, lines, bytes);
        prop_assert!(shown.len() <= bytes && shown.lines().count() <= lines, "{shown:?}");
        prop_assert!(shown.split('\n').all(|line| line.len() <= LINE_BYTES && !line.chars().any(is_unprintable)), "{shown:?}");
        prop_assert_eq!(tail(shown.as_bytes(), lines, bytes), shown, "it is its own end");
    }
}
