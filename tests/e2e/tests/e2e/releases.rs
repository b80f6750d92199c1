//! Releases and hosts that several modules share, and ways to make others.

use std::sync::OnceLock;

use e2e::{Host, Release, World, world};
use serde_json::{Map, Value, json};

/// What the control plane signs approvals with, for the special host.
pub(crate) const APPROVAL_KEY: &str = "a key of the control plane";

/// The gate of the special host, and of others that a test starts there: the shared one must not help.
pub(crate) const SPECIAL_GATE: &str = "e2e=special";

/// The cluster's id for the special host. Operations that name another one are for the host of a test.
const SPECIAL_ID: &str = "special";

/// A release that the special host serves, which knows the approvals' key and may run test hooks.
pub(crate) fn special() -> &'static Release {
    static SPECIAL: OnceLock<(Release, Host)> = OnceLock::new();
    let (release, _) = SPECIAL.get_or_init(|| {
        let world = world();
        let secret = world.cluster.logs().join("approval");
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::write(secret.join("key"), format!("{APPROVAL_KEY}\n")).unwrap();
        let release = world.release("special", &world.namespace("special", &[SPECIAL_GATE]), &json!({}));
        let values = json!({
            "namespaceGate": SPECIAL_GATE, "clusterId": SPECIAL_ID, "allowUnverifiedTestHooks": true,
            "approval": {"secretName": "approval"},
        });
        (release, world.host(values).mount("/var/run/hookhost/approval", &secret).start())
    });
    release
}

/// A host for those Operations behind the special gate that name this cluster's id.
pub(crate) fn special_host(world: &World, cluster_id: &str) -> Host {
    world.host(json!({"namespaceGate": SPECIAL_GATE, "clusterId": cluster_id})).start()
}

/// Makes an Operation on a hook of the special release, for its host, with these further fields of its spec.
pub(crate) fn special_operation(world: &World, release: &Release, hook: &str, spec: Value) -> String {
    operation_for(world, SPECIAL_ID, release, hook, spec)
}

/// Makes an Operation for the host of this cluster's id.
pub(crate) fn operation_for(world: &World, id: &str, release: &Release, hook: &str, spec: Value) -> String {
    let name = format!("{}-{hook}-{}", release.name, world.number());
    let mut operation = world.operation_named(&name, release, hook, json!({}));
    operation["metadata"]["labels"] = json!({"app.vworkspace.io/cluster-id": id});
    merge(&mut operation["spec"], spec);
    world.apply(&release.namespace, &operation);
    name
}

/// Asks Flux for a release of the chart of the shared release, with these further fields of the HelmRelease's spec.
pub(crate) fn helm_release(world: &World, release: &Release, spec: Value) {
    let source = world.shop();
    let chart = json!({"kind": "OCIRepository", "name": source.name, "namespace": source.namespace});
    let mut object = json!({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": release.name},
        "spec": {"interval": "1h", "timeout": "2m", "chartRef": chart},
    });
    merge(&mut object["spec"], spec);
    world.apply(&release.namespace, &object);
}

/// Puts these fields into an object.
fn merge(object: &mut Value, fields: Value) {
    let (object, fields): (_, Map<String, Value>) =
        (object.as_object_mut().unwrap(), serde_json::from_value(fields).unwrap());
    object.extend(fields);
}

/// An Operation of another engine, by which the target is upgraded, in this phase.
pub(crate) fn upgrade(world: &World, release: &Release, phase: &str) -> String {
    let name = format!("{}-upgrade-{}", release.name, world.number());
    let mut upgrade = world.operation_named(&name, release, "", json!({}));
    merge(
        &mut upgrade["spec"],
        json!({"type": "Upgrade", "engine": "helm", "parameters": {"version": "2.0.0"}}),
    );
    world.apply(&release.namespace, &upgrade);
    world.patch_status(&release.namespace, &format!("operation/{name}"), &json!({"phase": phase}));
    name
}

/// What a host warns of in its log, or calls an error. HookPolicies are the whole cluster's, so what it says of those is left out.
pub(crate) fn complaints(log: &str) -> Vec<&str> {
    let is_one = |line: &&str| line.contains("\"level\":\"warn\"") || line.contains("\"level\":\"error\"");
    log.lines().filter(is_one).filter(|line| !line.contains("\"policy\":")).collect()
}
