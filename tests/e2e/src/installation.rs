//! An *installation* is what hookhost's chart makes for one set of values, all but the pod: the account and its rights, and
//! the arguments and limits of the container. A host is started with these, outside the cluster, where a test can kill
//! it or stand between it and the API server.
//!
//! The chart's own templates are the only source, rendered by Helm. What the value `namespaces` brings to a namespace is
//! rendered for one that stands for all, and made for each that has the installation's gate.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hookhost_helm::yaml;
use serde_json::{Value, json};
use testbed::{Cluster, Helm};

use crate::api::Api;
use crate::world::{GATE, PATIENCE, ok};

/// Namespace of all installations.
pub const NAMESPACE: &str = "hookhost";

/// Namespace of the ConfigMaps with policies, of all installations: all say of a HookPolicy that it is ready, or none.
pub const MODULES: &str = "policy-modules";

/// Stands for the namespaces of an installation where the chart is rendered.
const ANY: &str = "any-namespace";

/// What the values of all installations have, unless they say otherwise.
fn defaults() -> Value {
    json!({
        "logLevel": "info,hookhost=debug", "namespaces": [ANY], "policies": {"namespace": MODULES},
        // They are there already.
        "crds": {"operation": false, "applicationInstance": false, "hookPolicy": false},
    })
}

/// Kinds of the chart that are about its pods, which a host is in the place of.
const OF_PODS: [&str; 5] = ["Deployment", "Job", "NetworkPolicy", "PodDisruptionBudget", "Service"];

/// What the chart makes for one set of values.
#[derive(Debug)]
pub(crate) struct Installation {
    /// Name of the release, and of the account and the Lease.
    pub(crate) name: String,
    /// The label of its namespaces.
    gate: String,
    /// Arguments of the container.
    pub(crate) args: Vec<String>,
    /// Bytes that the container may use.
    pub(crate) memory: u64,
    /// The account's.
    pub(crate) token: String,
    /// The bindings of a namespace that it serves.
    bindings: Vec<Value>,
    /// All that is rendered.
    objects: Vec<Value>,
}

/// The installations of a cluster.
pub(crate) struct Installations {
    cluster: &'static Cluster,
    api: Arc<Api>,
    /// By their values.
    made: Mutex<HashMap<String, Arc<OnceLock<Arc<Installation>>>>>,
    known: Mutex<Known>,
}

/// Which installations are to be bound in which namespaces.
#[derive(Default)]
struct Known {
    installations: Vec<Arc<Installation>>,
    /// Namespaces, each with a label.
    labels: Vec<(String, String)>,
}

/// The chart: that of this repository, or the one of `$HOOKHOST_CHART`, which goes with `$HOOKHOST_BIN`.
pub fn chart() -> PathBuf {
    if let Some(chart) = std::env::var_os("HOOKHOST_CHART") {
        return chart.into();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).join("deploy/hookhost")
}

impl Installations {
    /// Of a cluster in which there are none yet.
    pub(crate) fn new(cluster: &'static Cluster, api: Arc<Api>) -> Installations {
        for namespace in [NAMESPACE, MODULES] {
            ok(cluster.kubectl(&["create", "namespace", namespace]));
        }
        Installations { cluster, api, made: Mutex::default(), known: Mutex::default() }
    }

    /// The installation with these values, which is made if it is not there.
    pub(crate) fn get(&self, values: &Value) -> Arc<Installation> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("hookhost-{}", made.len());
        let cell = made.entry(values.to_string()).or_default().clone();
        // Others need not wait for Helm.
        drop(made);
        cell.get_or_init(|| self.make(name, values)).clone()
    }

    fn make(&self, name: String, values: &Value) -> Arc<Installation> {
        let rendered = self.render(&name, values);
        let (bindings, own): (Vec<_>, Vec<_>) =
            rendered.iter().partition(|object| object["metadata"]["namespace"] == ANY);
        let container = rendered
            .iter()
            .find(|object| object["kind"] == "Deployment")
            .map(|deployment| &deployment["spec"]["template"]["spec"]["containers"][0])
            .unwrap_or_else(|| panic!("the chart has no Deployment"));
        let args = container["args"].as_array().into_iter().flatten();
        let args = args.filter_map(|arg| arg.as_str().map(str::to_owned)).collect();
        let memory = bytes(container["resources"]["limits"]["memory"].as_str().unwrap_or_default());
        let is_made = |object: &&&Value| {
            !OF_PODS.iter().any(|kind| object["kind"] == *kind)
                && object["metadata"]["annotations"].get("helm.sh/hook").is_none()
        };
        let own: Vec<&Value> = own.iter().filter(is_made).copied().collect();
        for object in &own {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            ok(self.api.apply(namespace, object));
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{name}/token");
        let day = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86_400}});
        let token = ok(self.api.post(&path, &day))["status"]["token"].as_str().unwrap_or_default().to_owned();
        let gate = values["namespaceGate"].as_str().unwrap_or(GATE).to_owned();
        let (bindings, own) = (bindings.into_iter().cloned().collect(), own.into_iter().cloned().collect());
        let installation = Installation { name, gate, args, memory, token, bindings, objects: rendered };
        self.until_granted(&installation, own);
        let installation = Arc::new(installation);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.installations.push(installation.clone());
        let is_its = |(_, label): &&(String, String)| *label == installation.gate;
        let namespaces: Vec<_> = known.labels.iter().filter(is_its).cloned().collect();
        drop(known);
        for (namespace, _) in namespaces {
            self.bind(&installation, &namespace);
        }
        installation
    }

    /// All objects of the chart with these values.
    fn render(&self, name: &str, values: &Value) -> Vec<Value> {
        let file = |name: String, text: &str| {
            let path = self.cluster.logs().join(name);
            ok(fs::write(&path, text));
            path.display().to_string()
        };
        let files = [
            file(format!("{name}.defaults.json"), &defaults().to_string()),
            file(format!("{name}.values.json"), &values.to_string()),
        ];
        let chart = chart().display().to_string();
        let [defaults, values] = &files;
        // It asks the cluster for its version only.
        let template = ["template", name, &chart, "--namespace", NAMESPACE, "--dry-run=server"];
        let values = ["--values", defaults, "--values", values];
        let text = ok(self.cluster.helm(Helm::Four, &[&template[..], &values].concat()));
        ok(yaml::read(&text)).into_iter().filter(|object| !object.is_null()).collect()
    }

    /// Notes that a namespace gets this label, and gives the installations whose gate it is their rights there before it
    /// has it.
    pub(crate) fn admit(&self, namespace: &str, label: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.labels.push((namespace.to_owned(), label.to_owned()));
        let is_its = |installation: &&Arc<Installation>| installation.gate == label;
        let installations: Vec<_> = known.installations.iter().filter(is_its).cloned().collect();
        drop(known);
        for installation in installations {
            self.bind(&installation, namespace);
        }
    }

    /// Gives an installation its rights in a namespace, as the value `namespaces` does.
    pub(crate) fn bind(&self, installation: &Installation, namespace: &str) {
        let in_place = |binding: &Value| {
            let mut binding = binding.clone();
            binding["metadata"]["namespace"] = json!(namespace);
            binding
        };
        let bindings: Vec<Value> = installation.bindings.iter().map(in_place).collect();
        for binding in &bindings {
            ok(self.api.apply(namespace, binding));
        }
        self.until_granted(installation, bindings);
    }

    /// Waits until the API server knows of the rights that come with these objects, which is a moment after they are made.
    fn until_granted(&self, installation: &Installation, objects: Vec<Value>) {
        for binding in objects.iter().filter(|object| object["roleRef"].is_object()) {
            let role = |object: &&Value| {
                object["kind"] == binding["roleRef"]["kind"]
                    && object["metadata"]["name"] == binding["roleRef"]["name"]
            };
            // One right of each role, without the name of an object.
            let rules = installation.objects.iter().find(role).and_then(|role| role["rules"].as_array());
            let is_general = |rule: &&Value| rule["resourceNames"].is_null();
            let Some(rule) = rules.and_then(|rules| rules.iter().find(is_general)) else { continue };
            let resource = rule["resources"][0].as_str().unwrap_or_default();
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                "spec": {
                    "user": format!("system:serviceaccount:{NAMESPACE}:{}", installation.name),
                    "resourceAttributes": {
                        "namespace": binding["metadata"]["namespace"], "group": rule["apiGroups"][0],
                        "resource": resource, "subresource": part, "verb": rule["verbs"][0],
                    },
                },
            });
            let is_granted = || {
                let answer = self.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review);
                (ok(answer)["status"]["allowed"] == true).then_some(())
            };
            ok(self.cluster.eventually(&format!("{rule} is granted"), PATIENCE, is_granted));
        }
    }
}

/// An amount of memory as Kubernetes writes it, in the units that the chart may use.
fn bytes(quantity: &str) -> u64 {
    let (number, shift) = match quantity.strip_suffix("Gi") {
        Some(number) => (number, 30),
        None => (quantity.trim_end_matches("Mi"), 20),
    };
    number
        .parse::<u64>()
        .map_or_else(|error| panic!("the chart's limit of memory, {quantity}: {error}"), |n| n << shift)
}
