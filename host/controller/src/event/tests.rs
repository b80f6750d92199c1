//! What the API server gets, and what happens when it does not take it.

use std::sync::Mutex;

use hookhost_core::status::EventKind;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;
use hookhost_cluster::lease::{Claim, Lease, LeaseParams};

/// An API server that takes Events, each after a permit.
struct Server {
    taken: Mutex<Vec<Value>>,
    permits: Semaphore,
    /// How often it still answers 503.
    busy: Mutex<u32>,
}

fn server(permits: usize) -> Arc<Server> {
    Arc::new(Server { taken: Mutex::default(), permits: Semaphore::new(permits), busy: Mutex::new(0) })
}

fn events(server: &Arc<Server>, claim: Claim) -> (Events, EventTask, Metrics) {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            assert_eq!(request.uri().path(), "/apis/events.k8s.io/v1/namespaces/apps/events");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            server.permits.acquire().await.unwrap().forget();
            let mut busy = server.busy.lock().unwrap();
            let (code, answer) = if *busy > 0 {
                *busy -= 1;
                (
                    503,
                    json!({ "status": "Failure", "code": 503, "message": "busy", "reason": "ServiceUnavailable" }),
                )
            } else {
                let event: Value = serde_json::from_slice(&body).unwrap();
                server.taken.lock().unwrap().push(event.clone());
                (201, event)
            };
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, std::convert::Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    let metrics = Metrics::new();
    let writer = Writer::new(claim, metrics.clone());
    let (events, task) = Events::new(Client::new(service, "default"), writer, metrics.clone());
    (events, task, metrics)
}

fn operation(name: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "apps", "uid": "b6a5", "resourceVersion": "7" },
    }))
    .unwrap()
}

fn running(note: &str) -> status::Event {
    status::Event { kind: EventKind::Normal, reason: "OperationRunning", note: note.to_owned() }
}

async fn end(task: EventTask) {
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    task.run(shutdown).await;
}

#[tokio::test]
async fn an_event_is_one_create_that_kubectl_describe_shows() {
    let server = server(usize::MAX >> 3);
    let (events, task, metrics) = events(&server, Claim::without_lease());
    events.publish(&operation("migrate"), running("Job apps/migrate runs"));
    end(task).await;
    let taken = server.taken.lock().unwrap();
    let [event] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(
        event["regarding"],
        json!({ "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "name": "migrate",
                "namespace": "apps", "uid": "b6a5", "resourceVersion": "7" })
    );
    for (field, expected) in [
        ("type", "Normal"),
        ("reason", "OperationRunning"),
        ("note", "Job apps/migrate runs"),
        ("reportingController", "hookhost"),
    ] {
        assert_eq!(event[field], expected, "{field}");
    }
    // The API server refuses Events without these.
    assert!(["action", "reportingInstance", "eventTime"].iter().all(|field| event[*field] != ""), "{event}");
    assert!(event["metadata"]["name"].as_str().unwrap().starts_with("migrate."));
    assert!(metrics.encode().contains(r#"{verb="create",resource="events",outcome="ok"} 1"#));
}

#[tokio::test]
async fn names_and_notes_keep_to_kubernetes_limits() {
    let server = server(1);
    let (events, task, _) = events(&server, Claim::without_lease());
    events.publish(&operation(&format!("{}.a", "x".repeat(251))), running(&"é".repeat(600)));
    end(task).await;
    let taken = server.taken.lock().unwrap();
    let name = taken[0]["metadata"]["name"].as_str().unwrap();
    assert!(name.len() <= 253 && name.starts_with("xxx"), "{name}");
    assert_eq!(taken[0]["note"].as_str().unwrap().len(), 1024);
}

#[tokio::test]
async fn events_of_the_same_moment_have_names_of_their_own_and_sort_as_they_happened() {
    let server = server(usize::MAX >> 3);
    let (events, task, _) = events(&server, Claim::without_lease());
    (0..100).for_each(|n| events.publish(&operation("migrate"), running(&n.to_string())));
    end(task).await;
    let mut taken = server.taken.lock().unwrap().clone();
    taken.sort_by_key(|event| event["eventTime"].as_str().unwrap().to_owned());
    let notes: Vec<_> = taken.iter().map(|event| event["note"].as_str().unwrap().to_owned()).collect();
    assert_eq!(notes, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    let names: std::collections::BTreeSet<_> =
        taken.iter().map(|e| e["metadata"]["name"].to_string()).collect();
    assert_eq!(names.len(), 100);
}

#[tokio::test]
async fn publishing_never_waits_and_what_is_too_much_is_counted() {
    let server = server(0);
    let (events, _task, metrics) = events(&server, Claim::without_lease());
    (0..QUEUE + 3).for_each(|_| events.publish(&operation("migrate"), running("")));
    assert!(metrics.encode().contains(r#"hookhost_events_dropped_total{cause="full"} 3"#));
}

#[tokio::test(start_paused = true)]
async fn a_busy_api_server_is_asked_again_but_not_for_ever() {
    let server = server(usize::MAX >> 3);
    let (events, task, metrics) = events(&server, Claim::without_lease());
    let shutdown = CancellationToken::new();
    *server.busy.lock().unwrap() = 2;
    events.publish(&operation("migrate"), running("comes through"));
    let task = tokio::spawn(task.run(shutdown.clone()));
    tokio::time::sleep(RETRY * TRIES).await;
    assert_eq!(server.taken.lock().unwrap().len(), 1);

    *server.busy.lock().unwrap() = TRIES;
    events.publish(&operation("migrate"), running("is lost"));
    tokio::time::sleep(RETRY * TRIES).await;
    assert_eq!((server.taken.lock().unwrap().len(), *server.busy.lock().unwrap()), (1, 0));
    assert!(metrics.encode().contains(r#"hookhost_events_dropped_total{cause="refused"} 1"#));
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutting_down_waits_three_seconds_for_a_server_that_is_stuck_and_counts_what_is_left() {
    let server = server(2);
    let (events, task, metrics) = events(&server, Claim::without_lease());
    (0..10).for_each(|_| events.publish(&operation("migrate"), running("")));
    let begun = Instant::now();
    end(task).await;
    assert_eq!(begun.elapsed().as_secs(), FLUSH.as_secs());
    assert_eq!(server.taken.lock().unwrap().len(), 2);
    assert!(metrics.encode().contains(r#"hookhost_events_dropped_total{cause="refused"} 8"#));
}

#[tokio::test]
async fn who_does_not_lead_sends_no_events() {
    let server = server(usize::MAX >> 3);
    let never_asked = tower::service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("asked") });
    let params = LeaseParams::new("system", "hookhost", "one");
    let lease = Lease::new(Client::new(never_asked, "default"), params, Metrics::new()).unwrap();
    let (events, task, metrics) = events(&server, lease.claim());
    events.publish(&operation("migrate"), running(""));
    end(task).await;
    assert!(server.taken.lock().unwrap().is_empty());
    assert!(metrics.encode().contains(r#"hookhost_events_dropped_total{cause="refused"} 1"#));
}
