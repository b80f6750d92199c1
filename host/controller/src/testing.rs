//! What tests of several modules share: all that works on the cluster, on an API server that does what a test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hookhost_core::claim::{KEY_BYTES, Key, Keys};
use hookhost_core::keys::CLAIM;
use hookhost_core::keys::{DECISION, FINALIZER, OPERATION, SOURCE_HOOK};
use hookhost_core::wait::DEFAULT_TIMEOUT;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::binding_keeper::Keeper;
use crate::bindings::Bindings;
use crate::claim_key::{ClaimSecret, Keyring};
use crate::garbage::GarbageCollector;
use crate::lender::Lender;
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::organisation::Organisations;
use crate::orphans::Orphans;
use crate::search::{Search, Unsearched};
use crate::stop::Stopper;
use crate::wake::Wakes;
use crate::watch::{self, Jobs, Listeners, Namespaces, Operations, Pods, Terms};
use hookhost_cluster::lease::Claim;
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::Writes;
use hookhost_cluster::writer::Writer;

/// A request, as far as tests ask for it.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
}

impl Asked {
    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What an API server answers.
pub(crate) enum Answer {
    /// This code and object.
    Is(u16, Value),
    /// Nothing, ever.
    Never,
}

/// An object.
pub(crate) fn is(object: Value) -> Answer {
    Answer::Is(200, object)
}

/// A list.
pub(crate) fn list(items: impl IntoIterator<Item = Value>) -> Answer {
    let items: Vec<Value> = items.into_iter().collect();
    is(json!({"metadata": {"resourceVersion": "1"}, "items": items}))
}

/// A refusal.
pub(crate) fn refused(code: u16, reason: &str) -> Answer {
    let details = json!({"name": "x"});
    let status =
        json!({"status": "Failure", "code": code, "reason": reason, "message": reason, "details": details});
    Answer::Is(code, status)
}

/// The keys of the hookhost of tests.
pub(crate) fn keys() -> Keys {
    Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
}

/// A Job with hookhost's finalizer that says it is for the Operation of this UID, without a proof.
pub(crate) fn forged(namespace: &str, name: &str, operation: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("{name}-uid"), "resourceVersion": "1", "generation": 1,
            "labels": {OPERATION: operation, SOURCE_HOOK: "migrate"}, "finalizers": [FINALIZER],
            "annotations": {DECISION: "{}"},
        },
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
    })
}

/// The same, as hookhost makes it.
pub(crate) fn genuine(namespace: &str, name: &str, operation: &str) -> Value {
    let mut job = forged(namespace, name, operation);
    job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job(operation, &job));
    job
}

/// All that works on the cluster.
pub(crate) struct Parts {
    pub(crate) operations: Operations,
    pub(crate) namespaces: Namespaces,
    pub(crate) jobs: Jobs,
    pub(crate) bindings: Bindings,
    pub(crate) orphans: Orphans,
    reader: Reader,
    writes: Writes,
    lists: Lists,
    keyring: Keyring,
    wakes: Wakes,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Parts {
    /// On an API server that answers like this. What `answer` says nothing of is not there; there is the key, and there are no
    /// namespaces and no Operations, unless it says so. Watches tell nothing.
    pub(crate) async fn on(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Parts {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let client = client(answer, asked.clone());
        let token = CancellationToken::new();
        let (namespaces, changes) = Namespaces::watch(client.clone(), "gate");
        tokio::spawn(watch::drive(changes, "namespaces", drop));
        let terms = Terms { cluster_id: String::new(), wait_timeout: DEFAULT_TIMEOUT };
        let (operations, changes) = Operations::watch(client.clone(), namespaces.clone(), terms);
        tokio::spawn(watch::drive(changes, "operations", drop));
        let (wakes, orphans, bindings) = (Wakes::default(), Orphans::default(), Bindings::default());
        let pods = Pods::new(client.clone(), operations.clone(), wakes.clone(), token.clone());
        let writer = Writer::new(Claim::without_lease(), Metrics::new());
        let secret = ClaimSecret { namespace: "hookhost".to_owned(), name: "claim-key".to_owned() };
        let keyring = Keyring::new(client.clone(), writer.clone(), secret);
        keyring.load_existing().await.unwrap();
        let listeners = Listeners { orphans: orphans.clone(), bindings: bindings.clone() };
        let jobs = Jobs::new(
            client.clone(),
            operations.clone(),
            pods,
            wakes.clone(),
            listeners,
            keyring.clone(),
            token,
        );
        operations.synced().await;
        Parts {
            operations,
            namespaces,
            jobs,
            bindings,
            orphans,
            reader: Reader::new(client.clone()),
            writes: Writes::new(client.clone(), writer),
            lists: Lists::new(client),
            keyring,
            wakes,
            asked,
        }
    }

    /// What the API server was asked so far: method and path, without watches.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How often it was asked this.
    pub(crate) fn times(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == line).count()
    }

    /// Waits until it was asked this.
    pub(crate) async fn until_asked(&self, line: &str) {
        while self.times(line) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn garbage_collector(&self) -> GarbageCollector {
        let (reader, writes, keyring) = (self.reader.clone(), self.writes.clone(), self.keyring.clone());
        GarbageCollector {
            orphans: self.orphans.clone(),
            operations: self.operations.clone(),
            reader: reader.clone(),
            writes: writes.clone(),
            lender: Lender::new(&reader, &writes, &keyring),
            stopper: Stopper { reader, writes, keyring: keyring.clone() },
            namespaces: self.namespaces.clone(),
            organisations: Organisations { namespaces: self.namespaces.clone(), label: None },
            jobs: self.jobs.clone(),
            keyring,
            cluster_objects: Vec::new(),
            wakes: self.wakes.clone(),
        }
    }

    pub(crate) fn keeper(&self) -> Keeper {
        Keeper {
            bindings: self.bindings.clone(),
            jobs: self.jobs.clone(),
            namespaces: self.namespaces.clone(),
            reader: self.reader.clone(),
            lists: self.lists.clone(),
            writes: self.writes.clone(),
            keyring: self.keyring.clone(),
            orphans: self.orphans.clone(),
        }
    }

    pub(crate) fn search(&self, unsearched: &Unsearched) -> Search {
        Search {
            jobs: self.jobs.clone(),
            gated: self.namespaces.clone(),
            lists: self.lists.clone(),
            selector: None,
            unsearched: unsearched.clone(),
        }
    }
}

fn client(
    answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static,
    all: Arc<Mutex<Vec<String>>>,
) -> kube::Client {
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, all) = (answer.clone(), all.clone());
        async move {
            let (head, _) = request.into_parts();
            if head.uri.query().unwrap_or_default().contains("watch=true") {
                std::future::pending::<()>().await;
            }
            let asked = Asked { method: head.method, path: head.uri.path().to_owned() };
            all.lock().unwrap().push(asked.line());
            let answer = answer(&asked).unwrap_or_else(|| usual(&asked));
            let Answer::Is(code, object) = answer else { std::future::pending().await };
            let body = Body::from(serde_json::to_vec(&object).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    kube::Client::new(service, "default")
}

fn usual(asked: &Asked) -> Answer {
    let parts: Vec<&str> = asked.path.trim_matches('/').split('/').collect();
    match (asked.method.as_str(), &parts[..]) {
        ("GET", [.., "secrets", "claim-key"]) => {
            let data = json!({"current": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="});
            is(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "claim-key"}, "data": data}))
        }
        (
            "GET",
            [.., "v1", "namespaces"] | [.., "operations"] | [.., "jobs"] | [.., "pods"] | [.., "events"],
        ) => list([]),
        _ => refused(404, "NotFound"),
    }
}
