//! What is known of Jobs where the API server does not tell.

use std::time::Duration;

use hookhost_core::Reason;
use hookhost_core::clone::FINALIZER;
use hookhost_core::loan::CLOSURE;
use http::{Request, Response};
use kube::client::Body;
use kube::core::DynamicObject;
use serde_json::json;

use super::super::stream::LIST_TIMEOUT;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_namespace_whose_list_hangs_holds_up_no_other_and_it_is_known_why() {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
        if is_watch || request.uri().path().contains("/slow/") {
            std::future::pending::<()>().await;
        }
        let list = r#"{"metadata":{"resourceVersion":"1"},"items":[]}"#;
        Ok::<_, std::convert::Infallible>(Response::new(Body::from(list.as_bytes().to_vec())))
    });
    let client = kube::Client::new(service, "default");
    let (operations, wakes, token) = (Operations::new(), Wakes::default(), CancellationToken::new());
    let pods = Pods::new(client.clone(), operations.clone(), wakes.clone(), token.clone());
    let jobs = Jobs::new(client, operations, pods, wakes, Orphans::default(), Bindings::default(), token);
    jobs.searched();
    jobs.follow("slow");
    jobs.follow("calm");
    assert!(!jobs.are_all_known());
    tokio::time::sleep(LIST_TIMEOUT + Duration::from_secs(1)).await;
    assert!(jobs.is_synced("calm") && !jobs.is_synced("slow"));
    assert!(jobs.are_all_known(), "Operations of other namespaces go on");
    let (reason, why) = jobs.broken("slow").unwrap();
    assert_eq!(reason, Reason::ClusterUnreachable);
    assert!(why.contains("did not answer, or not go on, within 20 s"), "{why}");
}

#[tokio::test]
async fn of_those_that_wait_for_a_temporary_object_the_first_is_next_once_its_run_has_let_it_go() {
    let client = kube::Client::new(
        tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, std::convert::Infallible>>()
        }),
        "default",
    );
    let pods = Pods::new(client, Operations::new(), Wakes::default(), CancellationToken::new());
    let mut known = Known::new(pods);
    let job = |version: u32, finalizers: &[&str]| {
        let borrowed = json!({"objects": [{"kind": "ClusterRole", "name": "role"}]});
        let object: DynamicObject = serde_json::from_value(json!({
            "metadata": {
                "namespace": "org", "name": "op", "uid": "job", "resourceVersion": version.to_string(),
                "labels": {clone::OPERATION: "op-uid"}, "annotations": {CLOSURE: borrowed.to_string()},
                "finalizers": finalizers,
            },
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        }))
        .unwrap();
        Job::new(object).unwrap()
    };
    let mut next = |job: Job| {
        known.insert(job);
        let removed = std::mem::take(&mut known.removed);
        removed.iter().map(|object| object.name.clone()).collect::<Vec<_>>()
    };
    assert!(next(job(1, &[FINALIZER])).is_empty());
    assert!(next(job(2, &[FINALIZER])).is_empty(), "it still has it");
    assert_eq!(next(job(3, &[])), ["role"]);
    assert!(next(job(4, &[])).is_empty(), "once");
}
