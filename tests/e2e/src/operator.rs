//! A *stand-in* for the vWorkspace operator, as its own code was seen to behave (its docs say otherwise in places): it has no
//! predicate, so it answers every write to an Operation at once, with a write of its own to the whole status; it gives each its
//! finalizer; it reads no label of an Operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use futures::StreamExt;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::Cluster;
use tokio::sync::oneshot;

use crate::world::ok;

/// The operator's finalizer.
const FINALIZER: &str = "ops.vworkspace.io/finalizer";

/// What the operator makes of an Operation of the engine helmHookJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It does not know the engine, and lets each Operation wait, finished or not.
    No,
    /// It knows the engine, has no image, and fails each Operation.
    Yes,
}

/// The stand-in. Dropped, it ends.
pub struct Operator {
    written: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// Starts one for the Operations of a namespace, as this user of the cluster, which has to have the rights for it.
    ///
    /// # Panics
    /// There is no such cluster.
    pub fn start(cluster: &Cluster, user: &str, namespace: &str, registered: Registered) -> Operator {
        let (end, ended) = oneshot::channel();
        let (written, refused) = (Arc::<AtomicU32>::default(), Arc::<AtomicU32>::default());
        let work = Work {
            kubeconfig: cluster.kubeconfig(),
            user: user.to_owned(),
            namespace: namespace.to_owned(),
            registered,
            written: written.clone(),
            refused: refused.clone(),
        };
        let thread = thread::spawn(move || {
            let runtime = ok(tokio::runtime::Builder::new_current_thread().enable_all().build());
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = work.run() => {}
                }
            });
        });
        Operator { written, refused, end: Some(end), thread: Some(thread) }
    }

    /// How many of its writes the API server took.
    pub fn written(&self) -> u32 {
        self.written.load(Ordering::SeqCst)
    }

    /// How many of its writes the API server refused by a rule.
    pub fn refused(&self) -> u32 {
        self.refused.load(Ordering::SeqCst)
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

struct Work {
    kubeconfig: std::path::PathBuf,
    user: String,
    namespace: String,
    registered: Registered,
    written: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

impl Work {
    async fn run(self) {
        let mut kubeconfig = ok(kube::config::Kubeconfig::read_from(&self.kubeconfig));
        for named in &mut kubeconfig.auth_infos {
            if let Some(auth) = &mut named.auth_info {
                auth.impersonate = Some(self.user.clone());
            }
        }
        let config = ok(kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await);
        let client = ok(kube::Client::try_from(config));
        let kind = GroupVersionKind::gvk("ops.vworkspace.io", "v1alpha1", "Operation");
        let resource = ApiResource::from_gvk_with_plural(&kind, "operations");
        let operations: Api<DynamicObject> = Api::namespaced_with(client, &self.namespace, &resource);
        let mut changes = std::pin::pin!(watcher::watcher(operations.clone(), watcher::Config::default()));
        while let Some(change) = changes.next().await {
            match change {
                Ok(Event::Apply(operation) | Event::InitApply(operation)) => {
                    self.reconcile(&operations, operation).await;
                }
                Ok(Event::Init | Event::InitDone | Event::Delete(_)) | Err(_) => {}
            }
        }
    }

    async fn reconcile(&self, operations: &Api<DynamicObject>, mut operation: DynamicObject) {
        let name = operation.name_any();
        let mut finalizers = operation.finalizers().to_vec();
        let has = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        let is_deleted = operation.metadata.deletion_timestamp.is_some();
        if has == is_deleted {
            match is_deleted {
                true => finalizers.retain(|finalizer| finalizer != FINALIZER),
                false => finalizers.push(FINALIZER.to_owned()),
            }
            let version = operation.resource_version();
            let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
            let patched = operations.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            self.count(patched.map(drop));
            return;
        }
        let before = operation.data["status"].clone();
        self.overwrite(&mut operation.data["status"]);
        if operation.data["status"] != before {
            let params = PostParams { field_manager: Some("manager".to_owned()), ..PostParams::default() };
            let replaced = operations.replace_status(&name, &params, &operation).await;
            self.count(replaced.map(drop));
        }
    }

    /// What it makes of a status: conditions of other types, outputs, times and references stay.
    fn overwrite(&self, status: &mut Value) {
        let (phase, reason, of) = match self.registered {
            Registered::No => ("Pending", "DependencyMissing", [("Blocked", "True"), ("Accepted", "False")]),
            Registered::Yes => ("Failed", "EngineFailed", [("Failed", "True"), ("Accepted", "False")]),
        };
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        for (of_type, is) in of {
            let is_there =
                |one: &Value| one["type"] == of_type && one["status"] == is && one["reason"] == reason;
            if conditions.iter().any(is_there) {
                continue;
            }
            conditions.retain(|one| one["type"] != of_type);
            conditions.push(json!({
                "type": of_type, "status": is, "reason": reason, "message": "as the operator's stand-in says",
                "lastTransitionTime": "2026-05-28T14:00:00Z",
            }));
        }
        status["phase"] = json!(phase);
        status["conditions"] = json!(conditions);
        if self.registered == Registered::Yes && status["finishedAt"].is_null() {
            status["finishedAt"] = json!("2026-05-28T14:00:00Z");
        }
    }

    fn count(&self, result: kube::Result<()>) {
        match result {
            Ok(()) => drop(self.written.fetch_add(1, Ordering::SeqCst)),
            // Not what has changed meanwhile: of that a watch tells.
            Err(kube::Error::Api(status)) if status.code == 422 || status.code == 403 => {
                self.refused.fetch_add(1, Ordering::SeqCst);
            }
            Err(_) => {}
        }
    }
}
