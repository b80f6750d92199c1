//! The *world* is what all end-to-end tests of a process share: the whole cluster with Flux, hookhost's CRDs, the chart in
//! a registry, and one host for the gated namespaces.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Cluster, Options};

use crate::host::{Host, hookhost};

/// How long anything may take that a test waits for. A run takes 3 s on an idle machine; CI's may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The gate of the namespaces that the shared host serves.
pub const GATE: &str = "managed-by=vworkspace";

/// The id of this cluster, for the shared host.
pub const CLUSTER_ID: &str = "cluster-test-1";

/// What all tests share.
pub struct World {
    /// The cluster.
    pub cluster: &'static Cluster,
    host: Host,
    made: AtomicU32,
}

/// A release that real Flux installed from the chart beside this crate, and the ApplicationInstance that stands for it.
#[derive(Clone, Debug)]
pub struct Release {
    /// Namespace of all of it.
    pub namespace: String,
    /// Name of the release, the HelmRelease and the ApplicationInstance.
    pub name: String,
}

/// The world of this process; whoever asks first makes it.
///
/// # Panics
/// It cannot be made; the message says why.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::make().unwrap_or_else(|error| panic!("there is no world: {error}")))
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

impl World {
    fn make() -> Result<World> {
        let options = Options::pods().with_registry().with_flux().with_audit();
        // Beside the binaries; a path without "..", which Flux cannot cope with.
        let dir = hookhost().with_file_name("e2e");
        let cluster = testbed::shared(options, &dir)?;
        let crds = Command::new(hookhost()).arg("crds").output()?;
        cluster.apply("default", &String::from_utf8(crds.stdout)?)?;
        for crd in ["operations.ops", "applicationinstances.apps", "hookpolicies.policy"] {
            let crd = format!("crd/{crd}.vworkspace.io");
            cluster.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=60s"])?;
        }
        cluster.push_chart(&Path::new(env!("CARGO_MANIFEST_DIR")).join("chart"))?;
        let args = ["--cluster-id", CLUSTER_ID, "--organisation-label", "vworkspace.io/organisation"];
        let host = Host::start(cluster, &cluster.kubeconfig(), &args);
        Ok(World { cluster, host, made: AtomicU32::new(0) })
    }

    /// What the shared host has logged so far.
    pub fn log(&self) -> String {
        self.host.log()
    }

    /// A namespace of this test's own with these labels.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn namespace(&self, prefix: &str, labels: &[&str]) -> String {
        let namespace = ok(self.cluster.namespace(prefix));
        for label in labels {
            ok(self.cluster.kubectl(&["label", "namespace", &namespace, label]));
        }
        namespace
    }

    /// The release that tests share who only run its hooks.
    pub fn shop(&self) -> &'static Release {
        static SHOP: OnceLock<Release> = OnceLock::new();
        SHOP.get_or_init(|| self.release("shop", &self.namespace("shop", &[GATE]), &json!({})))
    }

    /// A release of its own, installed by Flux with these values, and its ApplicationInstance, ready.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn release(&self, name: &str, namespace: &str, values: &Value) -> Release {
        let release = Release { namespace: namespace.to_owned(), name: name.to_owned() };
        let registry = Cluster::REGISTRY;
        let yaml = format!(
            "apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: {name}}}
spec:
  url: oci://{registry}/charts/shop
  insecure: true
  interval: 1h
  ref: {{tag: 1.0.0}}
  layerSelector: {{mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: {name}}}
spec: {{interval: 1h, timeout: 2m, chartRef: {{kind: OCIRepository, name: {name}}}, values: {values}}}
"
        );
        ok(self.cluster.apply(namespace, &yaml));
        self.wait(&release, &format!("helmrelease/{name}"), "condition=Ready");
        self.instance(&release, json!({"ops.vworkspace.io/migration": "helmHookJob"}), true);
        release
    }

    /// The ApplicationInstance of a release, with these annotations, as its operator would leave it.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn instance(&self, release: &Release, annotations: Value, ready: bool) {
        let Release { namespace, name } = release;
        let instance = json!({
            "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "appRef": {"catalogId": "shop"},
                "chart": {"sourceType": "oci", "url": format!("oci://{}/charts", Cluster::REGISTRY), "name": "shop", "version": "1.0.0"},
                "release": {"name": name, "namespace": namespace},
            },
        });
        ok(self.cluster.apply(namespace, &instance.to_string()));
        let (status, reason) = if ready { ("True", "Reconciled") } else { ("False", "Progressing") };
        let status = json!({"status": {
            "helmReleaseRef": {"name": name, "namespace": namespace},
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "as the test says",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }});
        let instance = format!("applicationinstance/{name}");
        ok(self.cluster.kubectl(&[
            "patch",
            &instance,
            "--namespace",
            namespace,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &status.to_string(),
        ]));
    }

    /// Makes an Operation on a release's hook, in the spec's shape, with these further parameters; gives back its name.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn operation(&self, release: &Release, hook: &str, parameters: Value) -> String {
        let name = format!("{}-{hook}-{}", release.name, self.made.fetch_add(1, Ordering::Relaxed));
        let operation = self.operation_named(&name, release, hook, parameters);
        ok(self.cluster.apply(&release.namespace, &operation.to_string()));
        name
    }

    /// The Operation of a name, not made yet.
    pub fn operation_named(&self, name: &str, release: &Release, hook: &str, parameters: Value) -> Value {
        let mut all = json!({"hookName": format!("{}-{hook}", release.name)});
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), parameters) {
            all.extend(more);
        }
        json!({
            "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
            "metadata": {"name": name},
            "spec": {
                "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": release.name},
                "type": "Migration", "engine": "helmHookJob", "parameters": all,
            },
        })
    }

    /// An object as it is; none if it is not there.
    pub fn get(&self, namespace: &str, object: &str) -> Option<Value> {
        let text = self.cluster.kubectl(&["get", object, "--namespace", namespace, "--output=json"]).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// All objects of a kind in a namespace that have a label.
    pub fn list(&self, namespace: &str, kind: &str, selector: &str) -> Vec<Value> {
        let args = ["get", kind, "--namespace", namespace, "--selector", selector, "--output=json"];
        let text = ok(self.cluster.kubectl(&args));
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until kubectl sees a condition on an object.
    ///
    /// # Panics
    /// It does not come; the message shows the object.
    pub fn wait(&self, release: &Release, object: &str, for_what: &str) {
        let (for_what, timeout) = (format!("--for={for_what}"), format!("--timeout={}s", PATIENCE.as_secs()));
        let args = ["wait", &for_what, object, "--namespace", &release.namespace, &timeout];
        if let Err(error) = self.cluster.kubectl(&args) {
            panic!("{error}\n{:#}", self.get(&release.namespace, object).unwrap_or_default());
        }
    }

    /// Waits until an Operation is as `until` says; gives back the whole object.
    ///
    /// # Panics
    /// It does not get there; the message shows the object and the host's last words.
    pub fn until(
        &self,
        namespace: &str,
        operation: &str,
        what: &str,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        let object = format!("operation/{operation}");
        let seen = self.cluster.eventually(what, PATIENCE, || self.get(namespace, &object).filter(&until));
        seen.unwrap_or_else(|error| {
            panic!("{error}\n{:#}", self.get(namespace, &object).unwrap_or_default());
        })
    }

    /// Waits until an Operation is in a phase.
    ///
    /// # Panics
    /// It does not get there.
    pub fn phase(&self, namespace: &str, operation: &str, phase: &str) -> Value {
        self.until(namespace, operation, &format!("{operation} is {phase}"), |it| {
            it["status"]["phase"] == phase
        })
    }
}

/// A condition of an object; null if it has none of the type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array();
    all.into_iter().flatten().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

/// "True/HelmHookJobActive": a condition's status and reason.
pub fn says(object: &Value, kind: &str) -> String {
    let condition = condition(object, kind);
    let word = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    format!("{}/{}", word("status"), word("reason"))
}

/// What a command of the cluster gave.
///
/// # Panics
/// It failed.
pub fn ok<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}
