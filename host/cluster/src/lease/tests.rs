//! The claimant with an API server that is slow, silent, refuses or forgets; time is tokio's and passes by itself.

use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::client::Call;
use crate::observe::WriteOutcome;

/// The other end of a [`Claim::scripted`].
pub(crate) struct Script(pub(super) watch::Sender<Leadership>);

impl Script {
    pub(crate) fn lead(&self, until: Instant) {
        self.0.send_replace(Leadership::Leading { until });
    }
}

/// An API server that knows one Lease.
#[derive(Default)]
struct Server {
    lease: Option<Value>,
    versions: u64,
    requests: Vec<Method>,
    /// Requests from now on are never answered.
    silent: bool,
    /// Requests are refused with this status.
    refuses: Option<u16>,
}

type Shared = Arc<Mutex<Server>>;

impl Server {
    fn answer(&mut self, method: &Method, body: Option<Value>) -> (u16, Value) {
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        match (method, &self.lease, body) {
            (&Method::GET, Some(lease), _) => (200, lease.clone()),
            (&Method::GET | &Method::PUT, None, _) => status(404, "NotFound"),
            (&Method::POST, Some(_), _) => status(409, "AlreadyExists"),
            (&Method::PUT, Some(lease), Some(new)) if version(lease) != version(&new) => {
                status(409, "Conflict")
            }
            (_, _, Some(mut new)) => {
                self.versions += 1;
                new["metadata"]["resourceVersion"] = self.versions.to_string().into();
                self.lease = Some(new.clone());
                (200, new)
            }
            _ => status(400, "BadRequest"),
        }
    }
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let details = json!({ "name": "hookhost" });
    (
        code,
        json!({ "status": "Failure", "code": code, "reason": reason, "message": reason, "details": details }),
    )
}

fn client(server: &Shared) -> Client {
    let server = Arc::clone(server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let answer = {
                let mut server = server.lock().unwrap();
                server.requests.push(head.method.clone());
                match server.refuses {
                    _ if server.silent => None,
                    Some(code) => Some(status(code, "InternalError")),
                    None => Some(server.answer(&head.method, serde_json::from_slice(&bytes).ok())),
                }
            };
            let (code, body) = match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            };
            let body = Body::from(serde_json::to_vec(&body).unwrap());
            let response = Response::builder().status(StatusCode::from_u16(code).unwrap()).body(body);
            Ok::<_, std::convert::Infallible>(response.unwrap())
        }
    });
    Client::new(service, "default")
}

#[derive(Debug)]
struct Unobserved;

impl Observe for Unobserved {
    fn write(&self, _: &Call, _: WriteOutcome) {}

    fn leads(&self, _: bool) {}
}

fn claimant(server: &Shared, identity: &str) -> Lease {
    let params = LeaseParams::new("system", "hookhost", identity);
    Lease::new(client(server), params, Unobserved).unwrap()
}

struct Running {
    claim: Claim,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), Lost>>,
}

fn run(lease: Lease) -> Running {
    let (claim, shutdown) = (lease.claim(), CancellationToken::new());
    let task = tokio::spawn(lease.run(shutdown.clone()));
    Running { claim, shutdown, task }
}

fn spec(server: &Shared) -> Value {
    server.lock().unwrap().lease.as_ref().unwrap()["spec"].clone()
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_the_second_stands_by_and_follows_at_once_when_the_first_is_shut_down() {
    let server = Shared::default();
    let first = run(claimant(&server, "first"));
    assert!(!first.claim.is_current());
    assert!(first.claim.acquired().await && first.claim.is_current());
    assert_eq!(spec(&server)["holderIdentity"], "first");
    assert_eq!(spec(&server)["leaseDurationSeconds"], 15);

    let second = run(claimant(&server, "second"));
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(first.claim.is_current() && !second.claim.is_current());

    first.shutdown.cancel();
    assert_eq!(first.task.await.unwrap(), Ok(()));
    assert!(!first.claim.is_current() && spec(&server)["holderIdentity"].is_null());
    let released = Instant::now();
    assert!(second.claim.acquired().await);
    assert!(released.elapsed() <= Duration::from_secs(2), "{:?}", released.elapsed());
    assert_eq!(spec(&server)["holderIdentity"], "second");
    assert_eq!(spec(&server)["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_is_one_write_and_nothing_else() {
    let server = Shared::default();
    let leader = run(claimant(&server, "leader"));
    leader.claim.acquired().await;
    server.lock().unwrap().requests.clear();
    tokio::time::sleep(Duration::from_secs(51)).await;
    assert_eq!(server.lock().unwrap().requests, vec![Method::PUT; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_api_server_is_silent_stops_after_ten_seconds_and_says_why() {
    let server = Shared::default();
    let leader = run(claimant(&server, "leader"));
    leader.claim.acquired().await;
    let led = Instant::now();
    server.lock().unwrap().silent = true;
    leader.claim.lapsed().await;
    assert_eq!(led.elapsed().as_secs(), 10);
    assert!(!leader.claim.is_current());
    let lost = leader.task.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        lost,
        "the lease system/hookhost could not be renewed for 10 s: cannot update leases.coordination.k8s.io \
         system/hookhost: no answer from the API server in 2.5 s"
    );
}

#[tokio::test(start_paused = true)]
async fn a_few_failed_renewals_cost_nothing() {
    let server = Shared::default();
    let leader = run(claimant(&server, "leader"));
    leader.claim.acquired().await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(7)).await;
        server.lock().unwrap().refuses = Some(500);
        tokio::time::sleep(Duration::from_secs(4)).await;
        server.lock().unwrap().refuses = None;
    }
    assert!(leader.claim.is_current() && !leader.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_that_may_not_claim_waits_until_it_may() {
    let server = Shared::default();
    server.lock().unwrap().refuses = Some(403);
    let leader = run(claimant(&server, "leader"));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!leader.claim.is_current() && !leader.task.is_finished());
    server.lock().unwrap().refuses = None;
    assert!(leader.claim.acquired().await);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_ends_the_leader() {
    let server = Shared::default();
    let leader = run(claimant(&server, "leader"));
    leader.claim.acquired().await;
    {
        let mut server = server.lock().unwrap();
        let lease = server.lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = "other".into();
        lease["metadata"]["resourceVersion"] = "1000".into();
    }
    let lost = leader.task.await.unwrap().unwrap_err();
    assert_eq!(lost.to_string(), "the lease system/hookhost was taken by other");
    assert!(!leader.claim.is_current());
    assert_eq!(spec(&server)["holderIdentity"], "other");
}

#[tokio::test(start_paused = true)]
async fn what_others_put_on_the_lease_stays_and_the_holders_own_duration_counts() {
    let server = Shared::default();
    server.lock().unwrap().lease = Some(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "hookhost", "namespace": "system", "resourceVersion": "7", "labels": { "a": "b" } },
        "spec": { "holderIdentity": "gone", "leaseDurationSeconds": 60, "leaseTransitions": 3,
                  "renewTime": "2999-01-01T00:00:00.000000Z" },
    }));
    let started = Instant::now();
    let leader = run(claimant(&server, "leader"));
    assert!(leader.claim.acquired().await);
    assert!((60..63).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let lease = server.lock().unwrap().lease.clone().unwrap();
    assert_eq!(lease["metadata"]["labels"], json!({ "a": "b" }));
    assert_eq!(lease["spec"]["leaseTransitions"], 4);
    // A clock far ahead once wrote it; time goes on from there, or others would see no sign of life.
    assert_eq!(lease["spec"]["renewTime"], "2999-01-01T00:00:00.000001Z");
}

#[tokio::test(start_paused = true)]
async fn shutting_down_a_standby_touches_nothing() {
    let server = Shared::default();
    let leader = run(claimant(&server, "leader"));
    leader.claim.acquired().await;
    let standby = run(claimant(&server, "standby"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    standby.shutdown.cancel();
    assert_eq!(standby.task.await.unwrap(), Ok(()));
    assert_eq!(spec(&server)["holderIdentity"], "leader");
    assert!(leader.claim.is_current());
}

#[test]
fn times_that_cannot_be_safe_are_refused() {
    let with = |duration, renew_every| {
        let mut params = LeaseParams::new("system", "hookhost", "a");
        (params.duration, params.renew_every) = (duration, renew_every);
        params.timing().map(|_| ())
    };
    let s = Duration::from_secs;
    assert_eq!(with(s(15), s(5)), Ok(()));
    assert!(with(s(15), s(6)).unwrap_err().to_string().contains("at least three times the renewal"));
    for (duration, renew_every) in [
        (s(15), s(0)),
        (Duration::from_millis(15_500), s(5)),
        (s(2), Duration::from_millis(100)),
        (s(7200), s(5)),
    ] {
        assert!(with(duration, renew_every).is_err(), "{duration:?} {renew_every:?}");
    }
}

#[test]
fn identities_are_of_one_process() {
    let (one, two) = (LeaseParams::identity("pod-a"), LeaseParams::identity("pod-a"));
    assert!(one.starts_with("pod-a_") && one != two);
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_the_claim_is_always_current() {
    let claim = Claim::without_lease();
    assert!(claim.is_current() && claim.acquired().await);
    assert!(tokio::time::timeout(Duration::from_secs(1000), claim.lapsed()).await.is_err());
}
