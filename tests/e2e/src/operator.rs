//! A *stand-in* for the vWorkspace operator: its controller of Operations, as its own code was read and seen to behave (its docs say
//! otherwise in places). Like a controller made with controller-runtime it has a queue with one worker, reconciles an Operation whenever
//! that changes, after the pauses of the real one, and after errors ever more seldom; what it reads of Operations is its watch's.
//!
//! What of the real one is left out: its webhook, which is off by default; ApplicationInstances; the control plane; all engines
//! but helm and helmHookJob.

mod reconcile;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use testbed::Cluster;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::world::ok;

/// The pause after the first error in a row, and after the longest row of them; controller-runtime's own.
const ERRORS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// Which operator it stands for: what that makes of an Operation of the engine helmHookJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Whether it blocks each that names no image (ValidationFailed). hookhost's name none.
    pub checks_image: bool,
    /// Whether the engine is registered. Without it each waits for ever (DependencyMissing), finished or not.
    pub has_engine: bool,
}

impl Build {
    /// The newest that was read.
    pub const CURRENT: Build = Build { checks_image: true, has_engine: true };
    /// One that knows nothing of the engine.
    pub const WITHOUT_ENGINE: Build = Build { checks_image: false, has_engine: false };
    /// One that has the engine, and finds out there that the image is missing: each Operation has failed at once (EngineFailed).
    pub const WITHOUT_CHECK: Build = Build { checks_image: false, has_engine: true };
}

/// The stand-in. Dropped, it ends.
pub struct Operator {
    counts: Counts,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How many of its requests that change something the API server took, and refused by a rule.
#[derive(Clone, Default)]
struct Counts {
    taken: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

impl Operator {
    /// Starts one for the Operations of a namespace, as this user of the cluster, which has to have the rights for it.
    ///
    /// # Panics
    /// There is no such cluster.
    pub fn start(cluster: &Cluster, user: &str, namespace: &str, build: Build) -> Operator {
        let (end, ended) = oneshot::channel();
        let counts = Counts::default();
        let (kubeconfig, user) = (cluster.kubeconfig(), user.to_owned());
        let (namespace, counted) = (namespace.to_owned(), counts.clone());
        let thread = thread::spawn(move || {
            let runtime = ok(tokio::runtime::Builder::new_current_thread().enable_all().build());
            runtime.block_on(async {
                let client = connect(&kubeconfig, &user).await;
                let work = Work {
                    client,
                    namespace,
                    build,
                    counts: counted,
                    known: HashMap::new(),
                    due: HashMap::new(),
                    errors: HashMap::new(),
                };
                tokio::select! {
                    _ = ended => {}
                    () = work.run() => {}
                }
            });
        });
        Operator { counts, end: Some(end), thread: Some(thread) }
    }

    /// How many of its writes the API server took, those included that changed nothing.
    pub fn written(&self) -> u32 {
        self.counts.taken.load(Ordering::SeqCst)
    }

    /// How many of its writes the API server refused by a rule.
    pub fn refused(&self) -> u32 {
        self.counts.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn connect(kubeconfig: &std::path::Path, user: &str) -> Client {
    let mut kubeconfig = ok(kube::config::Kubeconfig::read_from(kubeconfig));
    for named in &mut kubeconfig.auth_infos {
        if let Some(auth) = &mut named.auth_info {
            auth.impersonate = Some(user.to_owned());
        }
    }
    let config = ok(kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await);
    ok(Client::try_from(config))
}

/// What it works with.
struct Work {
    client: Client,
    namespace: String,
    build: Build,
    counts: Counts,
    /// Operations as the watch has them, by name.
    known: HashMap<String, DynamicObject>,
    /// When each is reconciled next.
    due: HashMap<String, Instant>,
    /// How many errors in a row each has made.
    errors: HashMap<String, u32>,
}

/// When an Operation is reconciled again, if it does not change before.
enum After {
    /// Not at all.
    Nothing,
    /// In so long.
    In(Duration),
    /// As after an error.
    Again,
}

impl Work {
    async fn run(mut self) {
        let changes = watcher::watcher(self.operations(), watcher::Config::default()).default_backoff();
        let mut changes = std::pin::pin!(changes);
        loop {
            let next = self.due.iter().min_by_key(|(_, at)| **at).map(|(name, at)| (name.clone(), *at));
            let is_due = async {
                match next {
                    Some((name, at)) => {
                        sleep_until(at).await;
                        name
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What it knows is new when it reconciles.
                biased;
                change = changes.next() => match change {
                    Some(Ok(Event::Apply(operation) | Event::InitApply(operation))) => {
                        self.due.insert(operation.name_any(), Instant::now());
                        self.known.insert(operation.name_any(), operation);
                    }
                    Some(Ok(Event::Delete(operation))) => self.forget(&operation.name_any()),
                    Some(Ok(Event::Init | Event::InitDone) | Err(_)) => {}
                    None => return,
                },
                name = is_due => self.work(name).await,
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.known.remove(name);
        self.due.remove(name);
        self.errors.remove(name);
    }

    async fn work(&mut self, name: String) {
        self.due.remove(&name);
        let Some(operation) = self.known.get(&name).cloned() else { return };
        let pause = match self.reconcile(operation).await {
            Ok(After::Again) | Err(_) => {
                let errors = self.errors.entry(name.clone()).or_default();
                *errors += 1;
                ERRORS.0.saturating_mul(1 << (*errors - 1).min(20)).min(ERRORS.1)
            }
            Ok(after) => {
                self.errors.remove(&name);
                match after {
                    After::In(pause) => pause,
                    After::Nothing | After::Again => return,
                }
            }
        };
        self.due.insert(name, Instant::now() + pause);
    }

    fn operations(&self) -> Api<DynamicObject> {
        self.api("ops.vworkspace.io", "v1alpha1", "Operation", "operations", &self.namespace)
    }

    fn api(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
    ) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// What came of a write.
    fn counted<T>(&self, result: kube::Result<T>) -> kube::Result<T> {
        match &result {
            Ok(_) => drop(self.counts.taken.fetch_add(1, Ordering::SeqCst)),
            Err(kube::Error::Api(status)) if status.code == 422 || status.code == 403 => {
                self.counts.refused.fetch_add(1, Ordering::SeqCst);
            }
            // It has changed meanwhile.
            Err(_) => {}
        }
        result
    }
}
