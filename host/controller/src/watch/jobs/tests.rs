//! What is known of Jobs where the API server does not tell, and where anybody may make them.

use std::collections::BTreeSet;
use std::time::Duration;

use hookhost_core::Reason;
use hookhost_core::claim::{KEY_BYTES, Key, Keys};
use hookhost_core::keys::CLAIM;
use hookhost_core::keys::CLOSURE;
use hookhost_core::keys::{DECISION, FINALIZER, OPERATION, SOURCE_HOOK};
use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::known::{PROVEN, UNPROVEN};
use super::*;
use crate::claim_key::ClaimSecret;
use crate::metrics::Metrics;
use hookhost_cluster::job::BRIEF_BYTES;
use hookhost_cluster::lease::Claim;
use hookhost_cluster::stream::LIST_TIMEOUT;
use hookhost_cluster::writer::Writer;

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
    let jobs = jobs(kube::Client::new(service, "default"));
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

fn jobs(client: kube::Client) -> Jobs {
    let (operations, wakes, token) = (Operations::new(), Wakes::default(), CancellationToken::new());
    let pods = Pods::new(client.clone(), operations.clone(), wakes.clone(), token.clone());
    let writer = Writer::new(Claim::without_lease(), Metrics::new());
    let secret = ClaimSecret { namespace: "hookhost".to_owned(), name: "key".to_owned() };
    let keyring = Keyring::new(client.clone(), writer, secret);
    let listeners = Listeners { orphans: Orphans::default(), bindings: Bindings::default() };
    Jobs::new(client, operations, pods, wakes, listeners, keyring, token)
}

/// Nothing is known yet, and the API server says nothing.
fn known() -> Known {
    let silent =
        |_: Request<Body>| std::future::pending::<Result<Response<Body>, std::convert::Infallible>>();
    let client = kube::Client::new(tower::service_fn(silent), "default");
    Known::new(Pods::new(client, Operations::new(), Wakes::default(), CancellationToken::new()))
}

fn keys() -> Keys {
    Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
}

/// A Job with hookhost's labels and finalizer, for the Operation `op-NAME`.
fn object(name: &str, version: u32) -> Value {
    json!({
        "metadata": {
            "namespace": "org", "name": name, "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
            "labels": {OPERATION: format!("op-{name}"), SOURCE_HOOK: "migrate"}, "annotations": {}, "finalizers": [FINALIZER],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
    })
}

/// The same, made by hookhost.
fn genuine(name: &str, version: u32) -> Value {
    let mut job = object(name, version);
    let decision = json!({"release": {"name": "shop"}, "hook": {"name": "migrate"}});
    job["metadata"]["annotations"][DECISION] = decision.to_string().into();
    claimed(name, job)
}

fn claimed(name: &str, mut job: Value) -> Value {
    job["metadata"]["annotations"][CLAIM] = keys().claim_job(&format!("op-{name}"), &job).into();
    job
}

/// A Job of the largest size that says that hookhost has made it.
fn forged(number: usize) -> Value {
    let name = format!("forged-{number}");
    let mut job = object(&name, 1);
    job["metadata"]["annotations"] = json!({
        DECISION: "\u{1}".repeat(48 << 10), "more": "\u{1}".repeat(200 << 10),
        CLAIM: format!("v1.op-{name}.{}", "0".repeat(64)),
    });
    job
}

fn job(object: &Value) -> Job {
    Job::read(&object.to_string()).unwrap()
}

#[tokio::test]
async fn of_any_number_of_forged_jobs_little_is_known_and_none_takes_the_room_of_a_genuine_one() {
    let (keys, mut known) = (keys(), known());
    for number in 0..UNPROVEN + 100 {
        known.insert(job(&forged(number)), Told::Watch, Some(&keys));
    }
    assert_eq!(known.held("org").count(), UNPROVEN);
    assert!(
        known.held("org").all(|job| !job.is_whole() && job.bytes() == 0),
        "where it is, and nothing else"
    );
    known.insert(job(&genuine("a", 1)), Told::Watch, Some(&keys));
    let of = known.of("op-a");
    assert!(of.len() == 1 && of[0].is_whole() && of[0].is_genuine(&keys));
    // Those that were passed over are listed once there is room for them.
    for number in 0..UNPROVEN / 2 {
        assert!(known.refillable().is_empty(), "{number}");
        known.remove("org", &format!("forged-{number}"), &format!("uid-forged-{number}")).unwrap();
    }
    let last = UNPROVEN / 2;
    known.remove("org", &format!("forged-{last}"), &format!("uid-forged-{last}")).unwrap();
    assert_eq!(known.refillable(), ["org"]);
}

#[tokio::test]
async fn before_the_key_is_known_forged_jobs_may_keep_genuine_ones_out_but_not_after() {
    let (keys, mut known) = (keys(), known());
    known.insert(job(&genuine("first", 1)), Told::Watch, None);
    assert!(known.of("op-first")[0].is_whole(), "it may be hookhost's");
    for number in 0..UNPROVEN {
        known.insert(job(&forged(number)), Told::Watch, None);
    }
    known.insert(job(&genuine("last", 1)), Told::Watch, None);
    assert!(known.of("op-last").is_empty());
    assert_eq!(known.sort(&keys), ["org"], "it is listed again");
    known.insert(job(&genuine("last", 1)), Told::Watch, Some(&keys));
    for operation in ["op-first", "op-last"] {
        assert!(known.of(operation)[0].is_whole());
    }
    assert_eq!(known.held("org").filter(|job| job.is_whole()).count(), 2);
}

#[tokio::test]
async fn what_is_kept_of_the_genuine_jobs_of_a_namespace_is_bounded_too() {
    let (keys, mut known) = (keys(), known());
    let large = |number: usize| {
        let name = format!("large-{number:03}");
        let mut job = object(&name, 1);
        job["metadata"]["annotations"][DECISION] = json!("x".repeat(47 << 10)).to_string().into();
        claimed(&name, job)
    };
    for number in 0..200 {
        known.insert(job(&large(number)), Told::Watch, Some(&keys));
    }
    assert_eq!(known.held("org").count(), 200, "all are known");
    let bytes: usize = known.held("org").map(|job| job.bytes()).sum();
    assert!((3 << 20..4 << 20).contains(&bytes), "{bytes}");
    assert!(!known.of("op-large-199")[0].is_whole(), "what has no room is read when it is needed");
    // One that goes makes room for another.
    assert!(known.remove("org", "large-000", "uid-of-an-earlier").is_none());
    known.remove("org", "large-000", "uid-large-000").unwrap();
    let whole = known.insert(job(&large(199)), Told::Answer, Some(&keys));
    assert!(whole.is_whole() && known.of("op-large-199")[0].is_whole());
    const { assert!(PROVEN > 200, "that is not what keeps them out") };
}

#[tokio::test]
async fn a_job_that_is_over_and_let_go_is_not_known_any_more() {
    let (keys, mut known) = (keys(), known());
    known.insert(job(&genuine("a", 1)), Told::Watch, Some(&keys));
    let hook = ["org", "shop", "migrate"].map(str::to_owned);
    assert_eq!(known.at_work(&hook, "another").as_deref(), Some("a"));
    let mut over = genuine("a", 2);
    over["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    known.insert(job(&over), Told::Watch, Some(&keys));
    assert_eq!((known.of("op-a").len(), known.at_work(&hook, "another")), (1, None));
    assert_eq!(known.take_free().into_iter().collect::<Vec<_>>(), ["another"]);
    over["metadata"]["resourceVersion"] = "3".into();
    over["metadata"]["finalizers"] = json!([]);
    known.insert(job(&over), Told::Watch, Some(&keys));
    assert!(known.of("op-a").is_empty());
}

#[tokio::test]
async fn a_job_whose_label_was_taken_off_is_known_until_it_is_read_to_be_gone() {
    let (keys, mut known) = (keys(), known());
    known.insert(job(&genuine("a", 1)), Told::Watch, Some(&keys));
    // The watch tells of a deletion, but what has a finalizer and was not deleted is there.
    assert_eq!(known.forget("org", "a", "uid-a", 3).unwrap().operation, "op-a");
    assert!(!known.of("op-a")[0].is_watched);
    // The answer to a write from before that, which comes late.
    known.insert(job(&genuine("a", 2)), Told::Answer, Some(&keys));
    assert!(!known.of("op-a")[0].is_watched);
    known.begin_listing("org");
    assert_eq!(known.end_listing("org").len(), 1);
    let mut stripped = genuine("a", 3);
    stripped["metadata"]["labels"] = json!({SOURCE_HOOK: "migrate"});
    known.insert(job(&stripped), Told::Answer, Some(&keys));
    assert!(!known.of("op-a")[0].is_watched, "its claim says for which Operation it is");
    assert_eq!(known.held("org").count(), 1);
    // Put back, the watch reports it again, also where a read was faster than both events.
    known.insert(job(&genuine("a", 6)), Told::Answer, Some(&keys));
    assert!(known.forget("org", "a", "uid-a", 5).is_none());
    assert!(known.of("op-a")[0].is_watched);
}

#[tokio::test]
async fn a_key_that_is_read_late_changes_whether_a_job_is_proven_and_nothing_else() {
    let (keys, mut known) = (keys(), known());
    known.insert(job(&genuine("gone", 1)), Told::Watch, None);
    known.insert(job(&genuine("unlabelled", 1)), Told::Watch, None);
    known.forget("org", "unlabelled", "uid-unlabelled", 3);
    known.begin_listing("org");
    assert!(known.sort(&keys).is_empty());
    assert!(!known.of("op-unlabelled")[0].is_watched);
    known.insert(job(&genuine("unlabelled", 2)), Told::Answer, Some(&keys));
    assert!(!known.of("op-unlabelled")[0].is_watched, "the event was newer");
    assert_eq!(known.end_listing("org").len(), 2, "the list names neither");
}

#[tokio::test]
async fn a_job_that_is_made_while_its_namespace_loses_its_label_is_followed_to_its_end() {
    let silent =
        |_: Request<Body>| std::future::pending::<Result<Response<Body>, std::convert::Infallible>>();
    let jobs = jobs(kube::Client::new(tower::service_fn(silent), "default"));
    jobs.follow("org");
    jobs.leave("org");
    let watch = jobs.0.known.read().followed["org"];
    jobs.handle("org", watch, Seen::Listing);
    jobs.handle("org", watch, Seen::Listed);
    assert!(jobs.0.known.read().followed.is_empty(), "nothing is left to do there");
    jobs.insert(job(&genuine("a", 5)));
    assert!(jobs.0.known.read().followed.contains_key("org"));
    let mut released = genuine("a", 6);
    released["metadata"]["finalizers"] = json!([]);
    jobs.insert(job(&released));
    let watch = jobs.0.known.read().followed["org"];
    jobs.handle("org", watch, Seen::Listed);
    assert!(jobs.0.known.read().followed.is_empty());
}

#[tokio::test]
async fn who_waits_for_a_job_that_a_list_does_not_name_is_reconciled() {
    let (keys, mut known) = (keys(), known());
    let mut released = genuine("released", 2);
    released["metadata"]["finalizers"] = json!([]);
    for object in [genuine("held", 1), released, genuine("there", 3)] {
        known.insert(job(&object), Told::Watch, Some(&keys));
    }
    known.begin_listing("org");
    known.insert(job(&genuine("there", 3)), Told::Watch, Some(&keys));
    // Made after the list was: its watch has yet to report it.
    known.insert(job(&genuine("new", 9)), Told::Answer, Some(&keys));
    let unlisted = known.end_listing("org");
    let names: Vec<&str> = unlisted.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["held", "new", "released"]);
    assert!(known.of("op-released").is_empty(), "it is gone");
    assert!(known.of("op-there")[0].is_watched);
    // With hookhost's finalizer on it, it may be there: somebody took a label off it.
    for operation in ["op-held", "op-new"] {
        assert!(!known.of(operation)[0].is_watched, "it is read by its name");
    }
    known.insert(job(&genuine("new", 9)), Told::Watch, Some(&keys));
    assert!(known.of("op-new")[0].is_watched);
}

#[tokio::test]
async fn a_watch_that_another_has_replaced_changes_nothing() {
    let silent =
        |_: Request<Body>| std::future::pending::<Result<Response<Body>, std::convert::Infallible>>();
    let jobs = jobs(kube::Client::new(tower::service_fn(silent), "default"));
    jobs.follow("org");
    let first = jobs.0.known.read().followed["org"];
    jobs.handle("org", first, Seen::Applied(job(&genuine("a", 1))));
    assert_eq!(jobs.of("op-a").len(), 1);
    jobs.list_again("org");
    assert_ne!(jobs.0.known.read().followed["org"], first);
    for late in [Seen::Listing, Seen::Listed, Seen::Applied(job(&genuine("late", 1)))] {
        jobs.handle("org", first, late);
    }
    assert!(jobs.of("op-late").is_empty() && !jobs.is_synced("org"));
    assert_eq!(jobs.of("op-a").len(), 1);
}

#[tokio::test]
async fn a_job_that_is_gone_does_not_come_back_by_an_answer_but_without_its_labels_it_does() {
    let (keys, mut known) = (keys(), known());
    // Its creation is answered after all that its watch has to say of it.
    assert!(known.forget("org", "b", "uid-b", 9).is_none());
    known.insert(job(&genuine("b", 5)), Told::Answer, Some(&keys));
    assert!(known.of("op-b").is_empty());
    let mut deleted = genuine("a", 2);
    deleted["metadata"]["deletionTimestamp"] = "2026-05-28T10:00:00Z".into();
    known.insert(job(&deleted), Told::Watch, Some(&keys));
    assert_eq!(known.forget("org", "a", "uid-a", 3).unwrap().operation, "op-a");
    known.insert(job(&deleted), Told::Answer, Some(&keys));
    assert!(known.of("op-a").is_empty());
    deleted["metadata"]["labels"] = json!({});
    deleted["metadata"]["resourceVersion"] = "3".into();
    known.insert(job(&deleted), Told::Answer, Some(&keys));
    assert_eq!(known.of("op-a").len(), 1);
}

#[tokio::test]
async fn of_those_that_wait_for_a_temporary_object_the_first_is_next_once_its_run_has_let_it_go() {
    let (keys, mut known) = (keys(), known());
    let role = ObjectRef {
        kind: hookhost_core::kind::Kind::ClusterRole,
        namespace: String::new(),
        name: "role".to_owned(),
    };
    known.queues.wait("waiting", &role);
    let job = |version: u32, finalizers: &[&str]| {
        let mut job = object("a", version);
        job["metadata"]["annotations"][CLOSURE] = json!({"objects": [&role]}).to_string().into();
        job["metadata"]["finalizers"] = json!(finalizers);
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        self::job(&claimed("a", job))
    };
    let mut next = |job: Job| {
        known.insert(job, Told::Watch, Some(&keys));
        known.take_free().into_iter().collect::<Vec<_>>()
    };
    assert!(next(job(1, &[FINALIZER])).is_empty());
    assert!(next(job(2, &[FINALIZER])).is_empty(), "it still has it");
    assert_eq!(next(job(3, &[])), ["waiting"]);
    assert!(next(job(4, &[])).is_empty(), "once");
}

#[tokio::test]
async fn the_end_of_a_run_of_which_little_is_kept_wakes_the_first_of_each_queue() {
    let (keys, mut known) = (keys(), known());
    let role = |name: &str| ObjectRef {
        kind: hookhost_core::kind::Kind::Role,
        namespace: "org".to_owned(),
        name: name.to_owned(),
    };
    for (waiting, object) in [("first", "a"), ("second", "a"), ("another", "b")] {
        known.queues.wait(waiting, &role(object));
    }
    let job = |name: &str, version: u32, finalizers: &[&str]| {
        let mut job = object(name, version);
        job["metadata"]["annotations"][CLOSURE] = json!({"objects": [role("a")]}).to_string().into();
        job["metadata"]["annotations"][DECISION] = json!("x".repeat(47 << 10)).to_string().into();
        job["metadata"]["finalizers"] = json!(finalizers);
        job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        job
    };
    // More than what is kept of the Jobs of a namespace.
    for number in 0..100 {
        let name = format!("large-{number}");
        known.insert(self::job(&claimed(&name, job(&name, 1, &[FINALIZER]))), Told::Watch, Some(&keys));
    }
    assert!(!known.of("op-large-99")[0].is_whole());
    let mut next = |object: &Value| {
        known.insert(self::job(object), Told::Watch, Some(&keys));
        known.take_free().into_iter().collect::<BTreeSet<_>>()
    };
    assert!(next(&job("forged", 1, &[FINALIZER])).is_empty());
    assert!(next(&job("forged", 2, &[])).is_empty(), "what anybody can make wakes nobody");
    let woken = next(&claimed("large-99", job("large-99", 2, &[])));
    assert_eq!(woken, BTreeSet::from(["first".to_owned(), "another".to_owned()]));
}

#[test]
fn a_job_in_brief_takes_no_more_than_is_counted_for_it_whatever_its_names() {
    let long = |bytes: usize| "x".repeat(bytes);
    let decision = json!({
        "release": {"name": long(253)}, "hook": {"name": long(253)},
        "operation": {"namespace": long(63), "name": long(253)},
    });
    let mut object = object(&long(253), 1);
    object["metadata"]["namespace"] = long(253).into();
    object["metadata"]["uid"] = long(1000).into();
    object["metadata"]["labels"][OPERATION] = long(63).into();
    object["metadata"]["annotations"] = json!({
        DECISION: decision.to_string(), CLAIM: format!("v1.{}.{}", long(400), "0".repeat(64)),
    });
    let brief = job(&object).in_brief();
    // Its place is a key of three maps, and the hook that it runs of another.
    let keys = 3 * (brief.namespace.len() + brief.name.len()) + brief.operation.len() + 3 * 253;
    let bytes = format!("{brief:?}").len() + keys;
    assert!(bytes <= BRIEF_BYTES, "{bytes}");
}
