//! The *world* is what all end-to-end tests of a process share: the whole cluster with Flux, hookhost's CRDs, the chart in
//! a registry, and one host for the gated namespaces.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use testbed::{Cluster, Options};

use crate::api::Api;
use crate::host::{Host, Setup, hookhost};
use crate::installation::Installations;
use crate::parity;

/// How long anything may take that a test waits for. A run takes 3 s on an idle machine; CI's may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The gate of the namespaces that the shared host serves.
pub const GATE: &str = "managed-by=vworkspace";

/// The id of this cluster, for the shared host.
pub const CLUSTER_ID: &str = "cluster-test-1";

/// Spares of a hook in the shared release.
const SPARES: u32 = 40;

/// What all tests share.
pub struct World {
    /// The cluster.
    pub cluster: &'static Cluster,
    api: Arc<Api>,
    installations: Installations,
    host: Option<Host>,
    made: AtomicU32,
    spares: Mutex<HashMap<String, u32>>,
}

/// A release that real Flux installed from the chart beside this crate, and an ApplicationInstance that stands for it.
#[derive(Clone, Debug)]
pub struct Release {
    /// Namespace of all of it.
    pub namespace: String,
    /// Name of the release and the HelmRelease.
    pub name: String,
    /// Name of the ApplicationInstance.
    pub instance: String,
}

impl Release {
    /// The release of a name, with an ApplicationInstance of the same name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Release {
        Release { namespace: namespace.to_owned(), name: name.to_owned(), instance: name.to_owned() }
    }
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
        let mut world = World::bare(options, "e2e")?;
        furnish(world.cluster)?;
        let values = json!({"clusterId": CLUSTER_ID, "organisationLabel": "vworkspace.io/organisation"});
        world.host = Some(world.host(values).start());
        Ok(world)
    }

    /// A world with nothing but the cluster of this process in it, whose logs are in a folder of this name: no CRDs, no
    /// releases, no host.
    ///
    /// # Errors
    /// There is no such cluster.
    pub fn bare(options: Options, name: &str) -> Result<World> {
        // Beside the binaries; a path without "..", which Flux cannot cope with.
        let cluster = testbed::shared(options, &hookhost().with_file_name(name))?;
        let api = Arc::new(Api::connect(cluster)?);
        let installations = Installations::new(cluster, api.clone());
        Ok(World {
            cluster,
            api,
            installations,
            host: None,
            made: AtomicU32::new(0),
            spares: Mutex::default(),
        })
    }

    /// A host of a test's own, as the chart with these values installs it, besides those that all have here: a log level,
    /// [`MODULES`](crate::MODULES) as the namespace of policies, and the namespaces with the label that is its gate. Hosts
    /// of the same values are replicas: of one account, and with one Lease.
    ///
    /// # Panics
    /// The chart refuses the values.
    pub fn host(&self, values: Value) -> Setup {
        Setup::new(self.cluster, self.installations.get(&values))
    }

    /// What the shared host has logged so far.
    pub fn log(&self) -> String {
        self.host.as_ref().map(Host::log).unwrap_or_default()
    }

    /// A namespace of this test's own with these labels. Hosts whose gate one of them is have their rights in it.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn namespace(&self, prefix: &str, labels: &[&str]) -> String {
        let namespace = ok(self.cluster.namespace(prefix));
        for (key, value) in labels.iter().filter_map(|label| label.split_once('=')) {
            self.label_namespace(&namespace, key, value);
        }
        namespace
    }

    /// Gives a namespace a label, and those hosts their rights there whose gate it is.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn label_namespace(&self, namespace: &str, key: &str, value: &str) {
        self.installations.admit(namespace, &format!("{key}={value}"));
        let patch = json!({"metadata": {"labels": {key: value}}});
        self.patch("", &format!("namespace/{namespace}"), &patch);
    }

    /// The release that tests share who only run its hooks.
    pub fn shop(&self) -> &'static Release {
        static SHOP: OnceLock<Release> = OnceLock::new();
        let values = json!({"hooks": {"ok": {"spares": SPARES}, "slow": {"spares": SPARES}}});
        SHOP.get_or_init(|| self.release("shop", &self.namespace("shop", &[GATE]), &values))
    }

    /// One of the shared release's spares of "ok" or "slow" that nobody else runs: of one hook of a release there is only one
    /// run at a time.
    ///
    /// # Panics
    /// There are no more.
    pub fn spare(&self, hook: &str) -> String {
        let mut taken = self.spares.lock().unwrap_or_else(PoisonError::into_inner);
        let number = taken.entry(hook.to_owned()).or_insert(0);
        *number += 1;
        assert!(*number <= SPARES, "more spares of {hook} are wanted than there are");
        format!("{hook}-spare-{number}")
    }

    /// A release of its own, installed by Flux with these values, and its ApplicationInstance, ready.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn release(&self, name: &str, namespace: &str, values: &Value) -> Release {
        let release = Release::new(namespace, name);
        let yaml = source_yaml(name) + &release_yaml(&release, name, values);
        ok(self.cluster.apply(namespace, &yaml));
        self.ready(&release);
        self.instance(&release, capable(), true);
        release
    }

    /// Waits until Flux has done all that the HelmRelease says.
    ///
    /// # Panics
    /// It does not get ready.
    pub fn ready(&self, release: &Release) {
        let is_ready = |it: &Value| {
            let ready = condition(it, "Ready");
            let is_current = ready["observedGeneration"] == it["metadata"]["generation"];
            // For a moment Flux says both that it is ready and that it is still at work.
            ready["status"] == "True" && is_current && condition(it, "Reconciling")["status"] != "True"
        };
        self.until_object(&release.namespace, &format!("helmrelease/{}", release.name), "Ready", is_ready);
    }

    /// The same release by an ApplicationInstance of its own, so that Operations on it are in nobody's way.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn apart(&self, release: &Release) -> Release {
        let instance = format!("{}-{}", release.name, self.number());
        let apart = Release { instance, ..release.clone() };
        self.instance(&apart, capable(), true);
        apart
    }

    /// The ApplicationInstance of a release, with these annotations, as its operator would leave it.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn instance(&self, release: &Release, annotations: Value, ready: bool) {
        let Release { namespace, name, instance } = release;
        let object = json!({
            "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance",
            "metadata": {"name": instance, "annotations": annotations},
            "spec": {
                "appRef": {"catalogId": "shop"},
                "chart": {"sourceType": "oci", "url": format!("oci://{}/charts", Cluster::REGISTRY), "name": "shop", "version": "1.0.0"},
                "release": {"name": name, "namespace": namespace},
            },
        });
        self.apply(namespace, &object);
        self.instance_status(release, ready);
    }

    /// Says of a release's ApplicationInstance, as its operator would, which HelmRelease it has and whether it is ready.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn instance_status(&self, release: &Release, ready: bool) {
        let Release { namespace, name, instance } = release;
        let (status, reason) = if ready { ("True", "Reconciled") } else { ("False", "Progressing") };
        let status = json!({
            "helmReleaseRef": {"name": name, "namespace": namespace},
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "as the test says",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        });
        self.patch_status(namespace, &format!("applicationinstance/{instance}"), &status);
    }

    /// Makes an Operation on a release's hook, in the spec's shape, with these further parameters; gives back its name.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn operation(&self, release: &Release, hook: &str, parameters: Value) -> String {
        // The release's hooks have such names with its revision.
        let name = format!("{}-{hook}-run-{}", release.name, self.number());
        self.apply(&release.namespace, &self.operation_named(&name, release, hook, parameters));
        name
    }

    /// A number that no other in this process is.
    pub fn number(&self) -> u32 {
        self.made.fetch_add(1, Ordering::Relaxed)
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
                "targetRef": {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": release.instance},
                "type": "Migration", "engine": "helmHookJob", "parameters": all,
            },
        })
    }

    /// Applies an object, server-side; gives back what became of it.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn apply(&self, namespace: &str, object: &Value) -> Value {
        ok(self.api.apply(namespace, object))
    }

    /// Creates an Operation from its JSON, as it is.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn create_operation(&self, namespace: &str, json: String) {
        self.create(&format!("/apis/ops.vworkspace.io/v1alpha1/namespaces/{namespace}/operations"), json);
    }

    /// Creates an object at this path from its JSON, as it is.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn create(&self, path: &str, json: String) {
        ok(self.api.send(path, json.into_bytes()));
    }

    /// Whether an object comes within this time.
    pub fn comes(&self, namespace: &str, object: &str, within: Duration) -> bool {
        ok(self.api.until(namespace, object, within, |object| object.is_some())).is_some()
    }

    /// Patches an object ("KIND/NAME") with a JSON merge patch; gives back what became of it.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn patch(&self, namespace: &str, object: &str, patch: &Value) -> Value {
        ok(self.api.patch(namespace, object, false, patch))
    }

    /// Asks for an Operation's end, as a person does.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn cancel(&self, namespace: &str, operation: &str) {
        let annotation = json!({"metadata": {"annotations": {"ops.vworkspace.io/cancel": "true"}}});
        self.patch(namespace, &format!("operation/{operation}"), &annotation);
    }

    /// Merges this into an object's status.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn patch_status(&self, namespace: &str, object: &str, status: &Value) -> Value {
        ok(self.api.patch(namespace, object, true, &json!({"status": status})))
    }

    /// Deletes an object, by its kind's default way where no other is given, and does not wait for it to be gone.
    ///
    /// # Panics
    /// The cluster refuses it.
    pub fn delete(&self, namespace: &str, object: &str, propagation: Option<PropagationPolicy>) {
        ok(self.api.delete(namespace, object, propagation));
    }

    /// An object as it is; none if it is not there.
    pub fn get(&self, namespace: &str, object: &str) -> Option<Value> {
        if Api::knows(object) {
            return ok(self.api.get(namespace, object));
        }
        let text = self.cluster.kubectl(&["get", object, "--namespace", namespace, "--output=json"]).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// All objects of a kind in a namespace that have a label.
    pub fn list(&self, namespace: &str, kind: &str, selector: &str) -> Vec<Value> {
        ok(self.api.list(namespace, kind, selector))
    }

    /// The Jobs, or the pods, of an Operation, wherever `namespace` its release is.
    pub fn of_operation(&self, namespace: &str, kind: &str, operation: &Value) -> Vec<Value> {
        let uid = operation["metadata"]["uid"].as_str().unwrap_or_default();
        self.list(namespace, kind, &format!("ops.vworkspace.io/operation={uid}"))
    }

    /// What a pod's container has written.
    ///
    /// # Panics
    /// There is no such log.
    pub fn pod_log(&self, namespace: &str, pod: &str) -> String {
        ok(self.api.log(namespace, pod))
    }

    /// What hookhosts have asked of the API server about objects in a namespace, watches left out: "get secrets/NAME".
    ///
    /// # Panics
    /// There is no audit log.
    pub fn requests(&self, namespace: &str) -> Vec<String> {
        let log = self.cluster.audit_log().and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
        assert!(!log.is_empty(), "there is no audit log");
        let events = log.lines().filter(|line| line.contains("\"hookhost/") && line.contains(namespace));
        let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let word = |event: &Value, path: &str| {
            event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        events
            .filter(|event| {
                word(event, "/objectRef/namespace") == namespace && word(event, "/verb") != "watch"
            })
            .map(|event| {
                let [verb, kind, name] =
                    ["/verb", "/objectRef/resource", "/objectRef/name"].map(|path| word(&event, path));
                format!("{verb} {kind}/{name}")
            })
            .collect()
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
    /// It does not get there; the message shows the object.
    pub fn until(
        &self,
        namespace: &str,
        operation: &str,
        what: &str,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until_object(namespace, &format!("operation/{operation}"), what, until)
    }

    /// Waits until an object is there and as `until` says; gives back the whole object.
    ///
    /// # Panics
    /// It does not get there; the message shows the object.
    pub fn until_object(
        &self,
        namespace: &str,
        object: &str,
        what: &str,
        until: impl Fn(&Value) -> bool,
    ) -> Value {
        let seen = ok(self.api.until(namespace, object, PATIENCE, |object| object.is_some_and(&until)));
        seen.flatten().unwrap_or_else(|| {
            let now = self.get(namespace, object).unwrap_or_default();
            panic!("{object} in {namespace} did not become: {what}\n{now:#}");
        })
    }

    /// Waits until an object is not there any more.
    ///
    /// # Panics
    /// It stays; the message shows it.
    pub fn until_gone(&self, namespace: &str, object: &str) {
        let seen = ok(self.api.until(namespace, object, PATIENCE, |object| object.is_none()));
        seen.unwrap_or_else(|| {
            let now = self.get(namespace, object).unwrap_or_default();
            panic!("{object} in {namespace} stays\n{now:#}");
        });
    }

    /// Waits until an Operation waits for this reason.
    ///
    /// # Panics
    /// It does not get there.
    pub fn blocked(&self, namespace: &str, operation: &str, reason: &str) -> Value {
        let wanted = format!("True/{reason}");
        let operation = self
            .until(namespace, operation, &format!("Blocked={wanted}"), |it| says(it, "Blocked") == wanted);
        assert_eq!(operation["status"]["phase"], "Pending", "{operation:#}");
        parity::check(self, &operation, reason, &message(&operation, "Blocked"));
        operation
    }

    /// Waits until an Operation has failed for this reason before it had a Job; gives back its message.
    ///
    /// # Panics
    /// It does not get there.
    pub fn refused(&self, namespace: &str, operation: &str, reason: &str) -> String {
        let operation = self.phase(namespace, operation, "Failed");
        let wanted = (format!("False/{reason}"), format!("True/{reason}"));
        assert_eq!((says(&operation, "Accepted"), says(&operation, "Failed")), wanted, "{operation:#}");
        assert!(operation["status"]["engineRef"].is_null(), "no Job is made: {operation:#}");
        parity::check(self, &operation, reason, &message(&operation, "Failed"));
        message(&operation, "Failed")
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

/// Gives a cluster hookhost's CRDs, and its registry the chart beside this crate.
///
/// # Errors
/// The cluster refuses one of them.
pub fn furnish(cluster: &Cluster) -> Result<()> {
    let crds = Command::new(hookhost()).arg("crds").output()?;
    cluster.apply("default", &String::from_utf8(crds.stdout)?)?;
    for crd in ["operations.ops", "applicationinstances.apps", "hookpolicies.policy"] {
        let crd = format!("crd/{crd}.vworkspace.io");
        cluster.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=60s"])?;
    }
    cluster.push_chart(&Path::new(env!("CARGO_MANIFEST_DIR")).join("chart"))?;
    Ok(())
}

/// What tells Flux where that chart is.
pub fn source_yaml(name: &str) -> String {
    format!(
        "---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: {name}}}
spec:
  url: oci://{registry}/charts/shop
  insecure: true
  interval: 1h
  ref: {{tag: 1.0.0}}
  layerSelector: {{mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}
",
        registry = Cluster::REGISTRY
    )
}

/// What asks Flux for a release of the chart of that source, with these values.
pub fn release_yaml(release: &Release, source: &str, values: &Value) -> String {
    let Release { name, .. } = release;
    format!(
        "---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: {name}}}
spec: {{interval: 1h, timeout: 2m, chartRef: {{kind: OCIRepository, name: {source}}}, values: {values}}}
"
    )
}

/// A condition of an object; null if it has none of the type.
pub fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array();
    all.into_iter().flatten().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

/// What a condition says to people.
pub fn message(object: &Value, kind: &str) -> String {
    condition(object, kind)["message"].as_str().unwrap_or_default().to_owned()
}

/// The annotation by which an instance says that hookhost may run its Migrations.
fn capable() -> Value {
    json!({"ops.vworkspace.io/migration": "helmHookJob"})
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
