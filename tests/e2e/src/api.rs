//! The *API* is the cluster as tests ask it: by one connection, because a kubectl process for each question would cost a
//! third of a second of a core. Tests wait by watching.

use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::Value;
use testbed::Cluster;
use tokio::runtime::Runtime;

/// Who the API server notes as the writer of a field.
const MANAGER: &str = "e2e";

/// Kinds that tests ask for: group, version, kind and plural. Whatever is not here is asked for by kubectl.
const KINDS: [(&str, &str, &str, &str); 24] = [
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Event", "events"),
    ("", "v1", "Namespace", "namespaces"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    ),
    ("admissionregistration.k8s.io", "v1beta1", "MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "v1beta1",
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
    ),
    ("apps.vworkspace.io", "v1alpha1", "ApplicationInstance", "applicationinstances"),
    ("batch", "v1", "Job", "jobs"),
    ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("ops.vworkspace.io", "v1alpha1", "Operation", "operations"),
    ("policy.vworkspace.io", "v1alpha1", "HookPolicy", "hookpolicies"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ocirepositories"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
];

/// A connection to the cluster.
pub(crate) struct Api {
    runtime: Runtime,
    client: kube::Client,
}

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Objects of a kind; none for one that is not known here. `word` is the kind or its plural in any case.
fn resource(word: &str) -> Option<ApiResource> {
    let is_it =
        |kind: &str, plural: &str| word.eq_ignore_ascii_case(kind) || word.eq_ignore_ascii_case(plural);
    let (group, version, kind, plural) =
        KINDS.into_iter().find(|(_, _, kind, plural)| is_it(kind, plural))?;
    Some(ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural))
}

/// The kind and the name of "KIND/NAME".
fn parts(object: &str) -> Option<(ApiResource, &str)> {
    let (kind, name) = object.split_once('/')?;
    Some((resource(kind)?, name))
}

fn unknown(what: &str) -> Box<dyn std::error::Error> {
    format!("{what} is of no kind in the table of src/api.rs").into()
}

impl Api {
    /// A connection with the administrator's rights.
    pub(crate) fn connect(cluster: &Cluster) -> Result<Api> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        hookhost_cluster::client::install_crypto();
        let client = runtime.block_on(async {
            let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig())?;
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
            Ok::<_, Box<dyn std::error::Error>>(kube::Client::try_from(config)?)
        })?;
        Ok(Api { runtime, client })
    }

    /// Whether objects of this kind, or "KIND/NAME", can be asked for here.
    pub(crate) fn knows(object: &str) -> bool {
        resource(object.split('/').next().unwrap_or(object)).is_some()
    }

    pub(crate) fn get(&self, namespace: &str, object: &str) -> Result<Option<Value>> {
        let (resource, name) = parts(object).ok_or_else(|| unknown(object))?;
        let found = self.runtime.block_on(self.objects(namespace, &resource).get_opt(name))?;
        Ok(found.map(serde_json::to_value).transpose()?)
    }

    pub(crate) fn list(&self, namespace: &str, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let resource = resource(kind).ok_or_else(|| unknown(kind))?;
        let params = ListParams::default().labels(selector);
        let list = self.runtime.block_on(self.objects(namespace, &resource).list(&params))?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Server-side apply of a whole object.
    pub(crate) fn apply(&self, namespace: &str, object: &Value) -> Result<Value> {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let resource = resource(text("/kind")).ok_or_else(|| unknown(text("/kind")))?;
        let (params, patch) = (PatchParams::apply(MANAGER).force(), Patch::Apply(object));
        let objects = self.objects(namespace, &resource);
        let applied = objects.patch(text("/metadata/name"), &params, &patch);
        Ok(serde_json::to_value(self.runtime.block_on(applied)?)?)
    }

    /// A JSON merge patch of an object, or of its status.
    pub(crate) fn patch(&self, namespace: &str, object: &str, status: bool, patch: &Value) -> Result<Value> {
        let (resource, name) = parts(object).ok_or_else(|| unknown(object))?;
        let objects = self.objects(namespace, &resource);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = self.runtime.block_on(async {
            if status {
                objects.patch_status(name, &params, &patch).await
            } else {
                objects.patch(name, &params, &patch).await
            }
        })?;
        Ok(serde_json::to_value(patched)?)
    }

    /// Deletes an object and does not wait for it to be gone.
    pub(crate) fn delete(
        &self,
        namespace: &str,
        object: &str,
        propagation: Option<PropagationPolicy>,
    ) -> Result<()> {
        let (resource, name) = parts(object).ok_or_else(|| unknown(object))?;
        let params = DeleteParams { propagation_policy: propagation, ..DeleteParams::default() };
        self.runtime.block_on(self.objects(namespace, &resource).delete(name, &params))?;
        Ok(())
    }

    /// Watches an object until it is as `until` says, none where it is not there; gives back that form of it, and nothing
    /// where it does not get there in time.
    pub(crate) fn until(
        &self,
        namespace: &str,
        object: &str,
        patience: Duration,
        until: impl Fn(Option<&Value>) -> bool,
    ) -> Result<Option<Option<Value>>> {
        let (resource, name) = parts(object).ok_or_else(|| unknown(object))?;
        let is_there = |object: Option<&DynamicObject>| match object.map(serde_json::to_value) {
            Some(Ok(object)) => until(Some(&object)),
            Some(Err(_)) => false,
            None => until(None),
        };
        let waiting = await_condition(self.objects(namespace, &resource), name, is_there);
        match self.runtime.block_on(async { tokio::time::timeout(patience, waiting).await }) {
            Ok(seen) => Ok(Some(seen?.map(serde_json::to_value).transpose()?)),
            Err(_) => Ok(None),
        }
    }

    /// All that a pod's only container has written.
    pub(crate) fn log(&self, namespace: &str, pod: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log");
        Ok(self.runtime.block_on(self.client.request_text(http::Request::get(path).body(Vec::new())?))?)
    }

    /// Sends an object to this path, for what is no kind of its own: a token, a review. Gives back the answer.
    pub(crate) fn post(&self, path: &str, object: &Value) -> Result<Value> {
        Ok(serde_json::from_str(&self.send(path, serde_json::to_vec(object)?)?)?)
    }

    /// The same with the object's own text.
    pub(crate) fn send(&self, path: &str, json: Vec<u8>) -> Result<String> {
        let request = http::Request::post(path).header("Content-Type", "application/json").body(json)?;
        Ok(self.runtime.block_on(self.client.request_text(request))?)
    }

    fn objects(&self, namespace: &str, resource: &ApiResource) -> kube::Api<DynamicObject> {
        match resource.kind.as_str() {
            "Namespace"
            | "HookPolicy"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "MutatingAdmissionPolicy"
            | "MutatingAdmissionPolicyBinding"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
            | "ValidatingWebhookConfiguration" => kube::Api::all_with(self.client.clone(), resource),
            _ => kube::Api::namespaced_with(self.client.clone(), namespace, resource),
        }
    }
}
