//! Pods that run in parallel.

use serde_json::{Value, json};

use super::{after, at, failed, message, next, pod, running};
use crate::status::{Run, State};

#[test]
fn pods_that_run_in_parallel_are_no_successors() {
    for spec in [json!({"parallelism": 2}), json!({"completionMode": "Indexed", "parallelism": 1})] {
        let mut job = super::job();
        job["spec"] = spec.clone();
        let run = Run::of(&job).unwrap();
        let first = next(&Value::Null, &running("a"), Some(&run), 1, at("10:00:01")).unwrap().status;
        assert_eq!(
            message(&first, "Running"),
            "Job shop/migrate-now is active; one of its pods is a.",
            "{spec}"
        );
        assert_eq!(next(&first, &running("b"), Some(&run), 1, at("10:00:02")), None, "{spec}");
        let waiting = State::Running { pod: pod("b"), waiting: Some("pod a: no image".to_owned()) };
        let told = next(&first, &waiting, Some(&run), 1, at("10:00:03")).unwrap().status;
        assert!(message(&told, "Running").ends_with("pod a: no image"), "{told:#}");
        assert_eq!(told["logsRef"]["name"], "a");
        let ended = next(&told, &failed(), Some(&run), 1, at("10:00:04")).unwrap().status;
        assert_eq!(ended["logsRef"]["name"], "migrate-now-b", "the one that failed");
    }
    let one_by_one = after(&[running("a"), running("b")]);
    assert!(message(&one_by_one, "Running").contains("pod b came after pod a"), "{one_by_one:#}");
}
