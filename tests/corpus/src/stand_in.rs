//! A *stand-in* is a hook's Job or Pod with another program in each of its containers: one that looks for what the chart's
//! own was to have, and ends. What only the chart's own program or its cluster's nodes would need is left out.

use hookhost_helm::hook::Hook;
use serde_json::{Map, Value, json};

use super::script::Wanted;
use super::surroundings::Surroundings;

/// What a stand-in keeps of a container: where it finds what it was to have, and as whom it looks.
const CONTAINER: [&str; 5] = ["name", "env", "envFrom", "volumeMounts", "restartPolicy"];
/// Of a mount. Its propagation is the nodes' business.
const MOUNT: [&str; 5] = ["name", "mountPath", "subPath", "subPathExpr", "readOnly"];
/// Of a container's security context, and of the pod's: as whom files are read.
const SECURITY: [&str; 4] = ["runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem"];
const POD_SECURITY: [&str; 6] =
    ["runAsUser", "runAsGroup", "runAsNonRoot", "fsGroup", "fsGroupChangePolicy", "supplementalGroups"];

/// What is left out of a pod: choices among nodes, and what has to be installed in a cluster.
const LEFT_OUT: [&str; 16] = [
    "affinity",
    "ephemeralContainers",
    "nodeName",
    "nodeSelector",
    "os",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "resourceClaims",
    "resources",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "topologySpreadConstraints",
];

/// Volumes that every cluster has. In the place of any other there is an empty folder.
const VOLUMES: [&str; 5] = ["configMap", "downwardAPI", "persistentVolumeClaim", "projected", "secret"];

/// The user of a container that must not be root and does not say who it is: its own image would.
const NOBODY: u32 = 65532;

/// The hook's manifest with stand-ins of this image; what was to be there is known by the surroundings.
pub(super) fn stand_in(hook: &Hook, image: &str, surroundings: &Surroundings) -> Value {
    let mut manifest = (*hook.manifest).clone();
    let pod = if hook.kind == "Pod" { "/spec" } else { "/spec/template/spec" };
    if let Some(Value::Object(pod)) = manifest.pointer_mut(pod) {
        change_pod(pod, &hook.namespace, image, surroundings);
    }
    manifest
}

fn change_pod(pod: &mut Map<String, Value>, namespace: &str, image: &str, surroundings: &Surroundings) {
    pod.retain(|field, _| !LEFT_OUT.contains(&field.as_str()));
    let security = pod.get("securityContext").map(|security| kept(security, &POD_SECURITY));
    let token = surroundings.has_token(namespace, pod);
    for (list, is_init) in [("initContainers", true), ("containers", false)] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let is_sidecar = is_init && container["restartPolicy"] == "Always";
            let wanted = Wanted { token, is_sidecar, ..wanted(container, namespace, surroundings) };
            *container = container_for(container, &wanted, image, security.as_ref());
        }
    }
    for volume in pod.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        let is_everywhere = VOLUMES.iter().any(|kind| volume.get(kind).is_some_and(Value::is_object));
        if !is_everywhere {
            *volume = json!({"name": volume["name"], "emptyDir": {}});
        }
    }
    if let Some(security) = security {
        pod.insert("securityContext".to_owned(), security);
    }
}

fn container_for(container: &Value, wanted: &Wanted, image: &str, pod_security: Option<&Value>) -> Value {
    let mut changed = kept(container, &CONTAINER);
    for mount in changed.get_mut("volumeMounts").and_then(Value::as_array_mut).into_iter().flatten() {
        *mount = kept(mount, &MOUNT);
    }
    let mut security = kept(&container["securityContext"], &SECURITY);
    let says = |field: &str| {
        let of_pod = pod_security.map_or(&Value::Null, |security| &security[field]);
        if security[field].is_null() { of_pod.clone() } else { security[field].clone() }
    };
    if says("runAsNonRoot") == true && says("runAsUser").is_null() {
        security["runAsUser"] = json!(NOBODY);
    }
    changed["securityContext"] = security;
    changed["image"] = json!(image);
    changed["command"] = json!(["sh", "-c", wanted.script()]);
    changed
}

/// What a container was to have: its mounts, and the variables that come out of a Secret or a config map.
fn wanted(container: &Value, namespace: &str, surroundings: &Surroundings) -> Wanted {
    let list = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let mounts = list("volumeMounts").filter_map(|mount| text(mount, "/mountPath")).collect();
    let mut variables = Vec::new();
    for (kind, field) in [("Secret", "secret"), ("ConfigMap", "configMap")] {
        for variable in list("env") {
            let source = variable.pointer(&format!("/valueFrom/{field}KeyRef"));
            if source.is_some_and(|source| source["optional"] != true) {
                variables.extend(text(variable, "/name"));
            }
        }
        for source in list("envFrom") {
            let prefix = text(source, "/prefix").unwrap_or_default();
            let of = source.get(format!("{field}Ref")).filter(|of| of["optional"] != true);
            if let Some(name) = of.and_then(|of| text(of, "/name")) {
                let keys = surroundings.keys(namespace, kind, &name).into_iter();
                variables.extend(keys.map(|key| format!("{prefix}{key}")).filter(|name| is_plain(name)));
            }
        }
    }
    Wanted { mounts, variables, ..Wanted::default() }
}

/// Whether every Kubernetes makes a variable of this name out of a key. With other names it depends.
fn is_plain(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The fields of an object that are among these.
fn kept(object: &Value, fields: &[&str]) -> Value {
    let fields = fields.iter().filter_map(|field| Some(((*field).to_owned(), object.get(field)?.clone())));
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stand-in of a Pod with this spec, beside these other hooks.
    fn pod(spec: Value, others: &[Value]) -> Value {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "check"}, "spec": spec});
        let all: Vec<String> = std::iter::once(&pod).chain(others).map(Value::to_string).collect();
        let record = json!({"name": "shop", "namespace": "acme", "version": 1, "info": {"status": "deployed"},
            "chart": {"metadata": {"name": "shop", "version": "1.0.0"}},
            "hooks": [{"name": "check", "kind": "Pod", "events": ["test"], "manifest": all.join("\n---\n")}]});
        let hooks = hookhost_helm::Record::read(record.to_string().as_bytes()).unwrap().hooks();
        stand_in(&hooks[0], "stand-in:1", &Surroundings::of("", &hooks, "acme", 1))["spec"].take()
    }

    fn script(pod: &Value) -> String {
        pod["containers"][0]["command"][2].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_stand_in_has_what_the_container_had_and_another_program() {
        let pod = pod(
            json!({
                "nodeSelector": {"disk": "fast"}, "serviceAccountName": "check",
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}},
                "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}, {"name": "host", "hostPath": {"path": "/"}}],
                "containers": [{
                    "name": "main", "image": "shop:1", "command": ["check"], "args": ["all"],
                    "livenessProbe": {}, "lifecycle": {}, "resources": {"requests": {"cpu": 64}},
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}},
                        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "c", "optional": true}}}],
                    "envFrom": [{"prefix": "K_", "configMapRef": {"name": "settings"}}],
                    "volumeMounts": [{"name": "keys", "mountPath": "/keys", "mountPropagation": "Bidirectional"}],
                }],
            }),
            &[
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "", "b.c": ""}}),
            ],
        );
        let container = &pod["containers"][0];
        assert_eq!((pod.get("nodeSelector"), &container["image"]), (None, &json!("stand-in:1")));
        assert_eq!(pod["volumes"][1], json!({"name": "host", "emptyDir": {}}));
        assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true}));
        assert_eq!(container["securityContext"], json!({"runAsUser": NOBODY}));
        assert_eq!(container["volumeMounts"], json!([{"name": "keys", "mountPath": "/keys"}]));
        for left_out in ["args", "livenessProbe", "lifecycle", "resources"] {
            assert_eq!(container.get(left_out), None);
        }
        let script = script(&pod);
        let looked_for: Vec<&str> = script.lines().filter(|line| line.ends_with('\'')).collect();
        assert_eq!(
            looked_for,
            [
                &format!("token '{}'", super::super::script::TOKEN),
                "mount '/keys'",
                "variable 'B'",
                "variable 'K_a'"
            ]
        );
    }

    #[test]
    fn a_token_is_looked_for_unless_pod_or_account_has_none() {
        let account = |mounts: bool| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "check"}, "automountServiceAccountToken": mounts});
        let pod = |mounts: Value, others: &[Value]| {
            let spec = json!({"serviceAccountName": "check", "automountServiceAccountToken": mounts, "containers": [{"name": "main"}]});
            script(&pod(spec, others)).contains("\ntoken '")
        };
        assert!(pod(Value::Null, &[]) && pod(Value::Null, &[account(true)]));
        assert!(!pod(Value::Null, &[account(false)]) && pod(json!(true), &[account(false)]));
        assert!(!pod(json!(false), &[account(true)]));
    }
}
