//! What is asked of the API server.

use hookhost_core::keys;
use http::Response;
use kube::client::Body;
use serde_json::json;

use super::*;

/// Pages of a list of pods, whatever is asked for: the first has `ended` pods that have ended, the second one that has not.
fn reader(ended: usize, message: &'static str) -> Reader {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let is_second = request.uri().query().unwrap_or_default().contains("continue=more");
        let pod = |name: String, phase: &str| {
            let labels = json!({keys::CONTROLLER_UID: "job"});
            let metadata = json!({"name": name, "labels": labels, "annotations": {"a": message}});
            json!({"metadata": metadata, "status": {"phase": phase}})
        };
        let (more, items) = match is_second {
            true => ("", vec![pod("at-work".to_owned(), "Running")]),
            false => ("more", (0..ended).map(|number| pod(format!("ended-{number}"), "Failed")).collect()),
        };
        let list = json!({"metadata": {"resourceVersion": "1", "continue": more}, "items": items});
        let answer = Response::new(Body::from(list.to_string().into_bytes()));
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    Reader::new(kube::Client::new(service, "default"))
}

#[tokio::test]
async fn however_many_pods_have_ended_one_that_has_not_is_found() {
    let found = reader(3 * MAX_PODS, "").pods("org", PodsOf::Job("job"), Which::All).await.unwrap();
    let pods = found.complete("org").unwrap();
    assert_eq!((pods.len(), &pods[0]["metadata"]["name"]), (MAX_PODS + 1, &json!("at-work")));
}

#[tokio::test]
async fn of_more_pods_than_are_read_nobody_says_that_they_have_ended() {
    // Not a constant: it is as long as what is read.
    let large: &'static str = Box::leak("x".repeat(PODS_BYTES / 8).into_boxed_str());
    let found = reader(9, large).pods("org", PodsOf::Job("job"), Which::All).await.unwrap();
    assert!(found.pods.len() < 9);
    let error = found.complete("org").unwrap_err();
    assert!(error.to_string().contains("it is not known whether one of them still runs"), "{error}");
}
