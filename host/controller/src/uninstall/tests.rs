//! Uninstalling on an API server that forbids, conflicts and refuses; time is tokio's and passes by itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use hookhost_core::claim::{KEY_BYTES, Key, Keys};
use hookhost_core::keys::CLAIM;
use hookhost_core::keys::{CLOSURE, CONTENT};
use hookhost_core::keys::{OPERATION, STEP};
use hookhost_core::kind::Kind;

use super::*;
use hookhost_core::keys::RIGHTS;

/// What the API server knows.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    /// Jobs by namespace and name.
    jobs: BTreeMap<(String, String), Value>,
    /// Namespaces whose Jobs may be listed; none: all at once.
    allowed: Option<Vec<&'static str>>,
    /// Patches from now on that meet a conflict.
    conflicts: u32,
    /// A Job of which every patch meets one: somebody changes it all the time.
    contended: Option<&'static str>,
    /// Patches that are refused for good.
    refused: Option<&'static str>,
    patched_at: Vec<Instant>,
    /// Roles by name, and their owner's UID.
    roles: BTreeMap<String, String>,
    /// RoleBindings, and what was patched of them, each with the Jobs that were held then.
    bindings: Vec<Value>,
    unbound: Vec<(String, Value, usize)>,
}

type Shared = Arc<Mutex<Server>>;

fn server(jobs: &[(&str, &str, &[&str])]) -> Shared {
    let job = |(namespace, name, finalizers): &(&str, &str, &[&str])| {
        let metadata = json!({"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1", "finalizers": finalizers});
        let job =
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        (((*namespace).to_owned(), (*name).to_owned()), job)
    };
    Arc::new(Mutex::new(Server { jobs: jobs.iter().map(job).collect(), ..Server::default() }))
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method.as_str(), &parts[..]) {
            (_, [.., "leases"] | [.., "leases", _]) => self.lease(method, body),
            ("GET", ["api", "v1", "namespaces"]) => {
                let names = ["a", "b", "c"].map(|name| json!({"metadata": {"name": name}}));
                (200, list(names.into()))
            }
            ("GET", [.., "v1", "rolebindings"]) => (200, list(self.bindings.clone())),
            ("PATCH", [.., namespace, "rolebindings", name]) => {
                let is_held = |job: &&Value| job["metadata"]["finalizers"].to_string().contains(FINALIZER);
                let held = self.jobs.values().filter(is_held).count();
                self.unbound.push(((*namespace).to_owned(), body.clone(), held));
                (
                    200,
                    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name}}),
                )
            }
            ("GET", ["apis", "batch", "v1", "jobs"]) if self.allowed.is_none() => {
                (200, list(self.jobs.values().cloned().collect()))
            }
            ("GET", ["apis", "batch", "v1", "namespaces", namespace, "jobs"])
                if self.allowed.iter().flatten().any(|allowed| allowed == namespace) =>
            {
                let here = self.jobs.iter().filter(|((of, _), _)| of == namespace);
                (200, list(here.map(|(_, job)| job.clone()).collect()))
            }
            ("GET", [.., "jobs"]) => status(403, "Forbidden"),
            ("GET", [.., namespace, "jobs", name]) => {
                let job = self.jobs.get(&((*namespace).to_owned(), (*name).to_owned()));
                job.map_or_else(|| status(404, "NotFound"), |job| (200, job.clone()))
            }
            ("PATCH", [.., namespace, "jobs", name]) => self.patch(namespace, name, body),
            ("DELETE", [.., namespace, "jobs", name]) => {
                let job = self.jobs.get_mut(&((*namespace).to_owned(), (*name).to_owned())).unwrap();
                job["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:00:00Z");
                (200, job.clone())
            }
            ("GET", [.., "namespaces", "hookhost", "secrets", "claim-key"]) => {
                let data = json!({"current": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
                (
                    200,
                    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "claim-key"}, "data": data}),
                )
            }
            ("GET", [.., namespace, "roles", name]) => match self.roles.get(*name) {
                Some(owner) => {
                    let owners =
                        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": owner, "uid": owner}]);
                    let metadata = json!({"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1",
                        "annotations": {CONTENT: "sha256:0", CLAIM: keys().claim_loan(&role(name), "sha256:0", None)},
                        "ownerReferences": owners});
                    (
                        200,
                        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}),
                    )
                }
                None => status(404, "NotFound"),
            },
            ("DELETE", [.., "roles", name]) => {
                self.roles.remove(*name);
                status(200, "Deleted")
            }
            _ => panic!("{method} {path}"),
        }
    }

    fn lease(&mut self, method: &Method, body: &Value) -> (u16, Value) {
        match (method, &self.lease) {
            (&Method::GET, None) => status(404, "NotFound"),
            (&Method::GET, Some(lease)) => (200, lease.clone()),
            _ => {
                let mut lease = body.clone();
                lease["metadata"]["resourceVersion"] = json!("2");
                self.lease = Some(lease.clone());
                (200, lease)
            }
        }
    }

    fn patch(&mut self, namespace: &str, name: &str, body: &Value) -> (u16, Value) {
        self.patched_at.push(Instant::now());
        if self.refused == Some(name) {
            return status(422, "Invalid");
        }
        let job = self.jobs.get_mut(&(namespace.to_owned(), name.to_owned())).unwrap();
        if self.conflicts > 0 || self.contended == Some(name) {
            self.conflicts = self.conflicts.saturating_sub(1);
            return status(409, "Conflict");
        }
        let taken_off = &body["metadata"]["$deleteFromPrimitiveList/finalizers"];
        let finalizers = job["metadata"]["finalizers"].as_array_mut().unwrap();
        finalizers.retain(|one| !taken_off.as_array().unwrap().contains(one));
        (200, job.clone())
    }
}

/// What is in the Secret.
fn keys() -> Keys {
    Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
}

fn role(name: &str) -> ObjectRef {
    ObjectRef { kind: Kind::Role, namespace: "a".to_owned(), name: name.to_owned() }
}

fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {}, "items": items})
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let details = json!({"name": "x", "kind": "jobs"});
    (
        code,
        json!({"status": "Failure", "code": code, "reason": reason, "message": reason, "details": details}),
    )
}

fn connection(server: &Shared) -> Connection {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (code, answer) = server.lock().unwrap().answer(&head.method, head.uri.path(), &body);
            let body = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok::<_, Infallible>(
                Response::builder().status(StatusCode::from_u16(code).unwrap()).body(body).unwrap(),
            )
        }
    });
    Connection::of_client(kube::Client::new(service, "default"), "default")
}

async fn uninstall_from(server: &Shared) -> Result<Report, UninstallError> {
    let bindings = vec!["hookhost".to_owned()];
    let params = Params::new("hookhost", "hookhost", "pod", "claim-key", None, bindings);
    uninstall(&connection(server), params).await
}

/// Makes a Job of the namespace "a" a step of an Operation's event, suspended, that borrows a Role.
fn make_step(server: &Shared, name: &str, operation: &str, step: &str, is_opened: bool) {
    make_step_in(server, "a", name, operation, step, is_opened);
}

/// The same of any namespace.
fn make_step_in(server: &Shared, namespace: &str, name: &str, operation: &str, step: &str, is_opened: bool) {
    let mut server = server.lock().unwrap();
    let borrowed =
        json!({"objects": [{"kind": "Role", "namespace": namespace, "name": format!("of-{name}")}]})
            .to_string();
    server.roles.insert(format!("of-{name}"), name.to_owned());
    let job = server.jobs.get_mut(&(namespace.to_owned(), name.to_owned())).unwrap();
    job["metadata"]["labels"] = json!({OPERATION: operation});
    job["metadata"]["annotations"] = json!({STEP: step, CLOSURE: borrowed});
    job["metadata"]["generation"] = json!(if is_opened { 2 } else { 1 });
    job["spec"] = json!({"suspend": !is_opened});
    job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job(operation, job));
}

fn finalizers(server: &Shared, namespace: &str, name: &str) -> Value {
    server.lock().unwrap().jobs[&(namespace.to_owned(), name.to_owned())]["metadata"]["finalizers"].clone()
}

fn pairs(all: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn every_job_is_released_and_other_finalizers_stay() {
    let server = server(&[("a", "one", &[FINALIZER]), ("b", "two", &["x/y", FINALIZER]), ("b", "done", &[])]);
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.released, pairs(&[("a", "one"), ("b", "two")]));
    assert_eq!(finalizers(&server, "b", "two"), json!(["x/y"]));
    assert_eq!(server.lock().unwrap().patched_at.len(), 2, "nothing else is written");
}

#[tokio::test(start_paused = true)]
async fn its_finalizer_is_taken_off_the_role_bindings_after_the_last_job() {
    let server = server(&[("a", "one", &[FINALIZER])]);
    let binding = |namespace: &str, finalizers: &[&str]| {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": namespace, "name": "hookhost", "uid": "b-uid", "finalizers": finalizers}})
    };
    server.lock().unwrap().bindings = vec![binding("a", &["x/y", RIGHTS]), binding("b", &["x/y"])];
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.bindings, pairs(&[("a", "hookhost")]));
    let unbound = server.lock().unwrap().unbound.clone();
    let only_ours = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [RIGHTS], "uid": "b-uid"}});
    assert_eq!(unbound, [("a".to_owned(), only_ours, 0)]);
}

#[tokio::test(start_paused = true)]
async fn where_it_has_no_rights_it_says_so_and_goes_on() {
    let server = server(&[("a", "one", &[FINALIZER]), ("b", "two", &[FINALIZER])]);
    server.lock().unwrap().allowed = Some(vec!["a", "c"]);
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.released, pairs(&[("a", "one")]));
    assert_eq!(report.not_looked_at, BTreeSet::from(["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_others_change_at_the_same_time_is_released_in_the_end() {
    let server = server(&[("a", "one", &[FINALIZER])]);
    server.lock().unwrap().conflicts = 3;
    assert_eq!(uninstall_from(&server).await.unwrap().released, pairs(&[("a", "one")]));
    assert_eq!(finalizers(&server, "a", "one"), json!([]));
}

#[tokio::test(start_paused = true)]
async fn one_job_that_cannot_be_released_keeps_no_other_from_it() {
    let server =
        server(&[("a", "bad", &[FINALIZER]), ("a", "good", &[FINALIZER]), ("b", "two", &[FINALIZER])]);
    server.lock().unwrap().refused = Some("bad");
    let error = uninstall_from(&server).await.unwrap_err();
    assert_eq!(error.reason(), Reason::ApiRejected);
    for (namespace, name) in [("a", "good"), ("b", "two")] {
        assert_eq!(finalizers(&server, namespace, name), json!([]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_somebody_changes_all_the_time_is_left_after_some_tries_and_told_and_all_else_is_released()
{
    let held: &[&str] = &[FINALIZER];
    let server = server(&[("a", "forged", held), ("a", "good", held), ("b", "two", held)]);
    let binding = |namespace: &str| {
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"namespace": namespace, "name": "hookhost", "finalizers": [RIGHTS]}})
    };
    server.lock().unwrap().bindings = vec![binding("a"), binding("b")];
    server.lock().unwrap().contended = Some("forged");
    let begun = Instant::now();
    let error = uninstall_from(&server).await.unwrap_err();
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert!(error.to_string().contains("still held: Job a/forged"), "{error}");
    for (namespace, name) in [("a", "good"), ("b", "two")] {
        assert_eq!(finalizers(&server, namespace, name), json!([]));
    }
    let server = server.lock().unwrap();
    assert_eq!(server.patched_at.len(), 2 + TRIES as usize);
    let unbound: Vec<&str> = server.unbound.iter().map(|(namespace, ..)| namespace.as_str()).collect();
    assert_eq!(unbound, ["b"], "where a Job is left the rights are needed to try again");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_not_begun_is_withdrawn_and_what_another_keeps_is_told() {
    let held: &[&str] = &[FINALIZER];
    let server =
        server(&[("a", "new-1", held), ("a", "new-2", held), ("a", "on-1", held), ("a", "on-2", held)]);
    make_step(&server, "new-1", "new", "1/2", false);
    make_step(&server, "new-2", "new", "2/2", false);
    make_step(&server, "on-1", "on", "1/2", true);
    make_step(&server, "on-2", "on", "2/2", false);
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.released.len(), 4);
    let keep: BTreeSet<_> = report.lent.keys().cloned().collect();
    assert_eq!(keep, pairs(&[("a", "on-1"), ("a", "on-2")]));
    for (name, is_gone) in [("new-1", true), ("new-2", true), ("on-1", false), ("on-2", false)] {
        let job = server.lock().unwrap().jobs[&("a".to_owned(), name.to_owned())].clone();
        assert_eq!(job["metadata"]["deletionTimestamp"].is_string(), is_gone, "{name}");
        assert_eq!(job["metadata"]["finalizers"], json!([]), "{name}");
        assert_eq!(server.lock().unwrap().roles.contains_key(&format!("of-{name}")), !is_gone, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_begun_in_one_namespace_goes_on_in_all() {
    let held: &[&str] = &[FINALIZER];
    let server = server(&[("a", "on-1", held), ("b", "on-2", held)]);
    server.lock().unwrap().allowed = Some(vec!["a", "b", "c"]);
    // The rights are given in each namespace, so its Jobs are listed apart.
    make_step_in(&server, "a", "on-1", "on", "1/2", true);
    make_step_in(&server, "b", "on-2", "on", "2/2", false);
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.released, pairs(&[("a", "on-1"), ("b", "on-2")]));
    let server = server.lock().unwrap();
    let waits = &server.jobs[&("b".to_owned(), "on-2".to_owned())];
    assert!(waits["metadata"]["deletionTimestamp"].is_null(), "the next hookhost goes on with it");
    assert!(server.roles.contains_key("of-on-2"), "with what it was given");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_only_says_that_hookhost_made_it_takes_nothing_with_it() {
    let server = server(&[("a", "forged-1", &[FINALIZER])]);
    make_step(&server, "forged-1", "op", "1/1", false);
    let place = ("a".to_owned(), "forged-1".to_owned());
    // Changed since it was made, or never made by hookhost.
    server.lock().unwrap().jobs.get_mut(&place).unwrap()["metadata"]["annotations"][STEP] = json!("1/2");
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!((report.released, report.lent), (pairs(&[("a", "forged-1")]), BTreeMap::new()));
    let server = server.lock().unwrap();
    assert!(server.jobs[&place]["metadata"]["deletionTimestamp"].is_null(), "it is not deleted");
    assert!(server.roles.contains_key("of-forged-1"), "nor what it says to borrow");
}

#[tokio::test(start_paused = true)]
async fn an_event_has_begun_though_an_earlier_try_has_released_its_first_step() {
    let server = server(&[("a", "on-1", &[]), ("a", "on-2", &[FINALIZER])]);
    make_step(&server, "on-1", "on", "1/2", true);
    make_step(&server, "on-2", "on", "2/2", false);
    let report = uninstall_from(&server).await.unwrap();
    assert_eq!(report.released, pairs(&[("a", "on-2")]));
    let server = server.lock().unwrap();
    assert!(server.jobs[&("a".to_owned(), "on-2".to_owned())]["metadata"]["deletionTimestamp"].is_null());
    assert!(server.roles.contains_key("of-on-2"));
}

#[tokio::test(start_paused = true)]
async fn whoever_leads_is_stopped_first_and_given_its_time() {
    let server = server(&[("a", "one", &[FINALIZER])]);
    server.lock().unwrap().lease = Some(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "hookhost", "namespace": "hookhost", "resourceVersion": "1"},
        "spec": {"holderIdentity": "pod-1", "leaseDurationSeconds": 15},
    }));
    let begun = Instant::now();
    uninstall_from(&server).await.unwrap();
    let server = server.lock().unwrap();
    assert!(server.patched_at[0] - begun >= Duration::from_secs(15), "its claim may last that long");
    let spec = &server.lease.as_ref().unwrap()["spec"];
    assert!(spec["holderIdentity"].as_str().unwrap().ends_with("_uninstall"), "{spec}");
    assert_eq!(spec["leaseDurationSeconds"], LEAVE.as_secs(), "so that no other leads before Helm is done");
}
