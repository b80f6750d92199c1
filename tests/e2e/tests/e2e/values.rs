//! The chart's values: each wrong one is refused before anything is made, by its place, and each means what it says.

use std::fs;

use e2e::{chart, ok, world};
use testbed::Helm;

/// What the chart is rendered for: `helm template` asks no cluster.
const KUBE_VERSION: &str = "--kube-version=1.34.0";

/// A wrong value each, with the word by which Helm names its place.
const WRONG: [(&str, &str); 40] = [
    ("clusterId: eu 1", "clusterId"),
    ("clusterId: 7", "clusterId"),
    ("namespaceGate: ''", "namespaceGate"),
    ("namespaceGate: managed-by=vworkspace,", "namespaceGate"),
    ("namespaceGate: {managed-by: vworkspace}", "namespaceGate"),
    ("namespaceSelector: a=b c", "namespaceSelector"),
    ("namespaces: org-a", "namespaces"),
    ("namespaces: [Org]", "namespaces"),
    ("namespaces: [a, a]", "namespaces"),
    ("clusterWide: 'yes'", "clusterWide"),
    ("organisationLabel: a/b/c", "organisationLabel"),
    ("policies: {volume: {hostPath: {path: /}}}", "volume"),
    ("policies: {volume: {configMap: {name: a}, csi: {driver: b}}}", "volume"),
    ("approval: {secretName: A}", "secretName"),
    ("approval: {key: x}", "approval"),
    ("helmReleases: {enable: true}", "helmReleases"),
    ("closure: {clusterObjects: [Role/a]}", "clusterObjects"),
    ("closure: {clusterObjects: [acme/ClusterRole]}", "clusterObjects"),
    ("closure: {clusterObjects: [a/acme/ClusterRole/b]}", "clusterObjects"),
    ("closure: {clusterObjects: ['ClusterRole/*']}", "clusterObjects"),
    ("closure: {clusterObjects: ['ClusterRole/a,ClusterRole/b']}", "clusterObjects"),
    ("logLines: many", "logLines"),
    ("logLines: 1001", "logLines"),
    ("concurrency: 0", "concurrency"),
    ("crds: {operations: false}", "crds"),
    ("image: {repository: 'a b'}", "repository"),
    ("image: {repository: Host/UPPER}", "repository"),
    ("image: {digest: 'sha256:0'}", "digest"),
    ("image: {pullPolicy: Sometimes}", "pullPolicy"),
    ("imagePullSecrets: [{name: A}]", "imagePullSecrets"),
    ("replicas: -1", "replicas"),
    ("resources: {limits: {memory: much}}", "resources"),
    ("podSecurityContext: {runAsUsr: 1}", "podSecurityContext"),
    ("podLabels: {a: 'b c'}", "podLabels"),
    ("nodeSelector: {a: true}", "nodeSelector"),
    ("tolerations: [{keys: a}]", "tolerations"),
    ("affinity: {node: {}}", "affinity"),
    ("networkPolicy: {metricsFrom: [{pods: {}}]}", "metricsFrom"),
    ("networkPolicy: {apiServerCidrs: [10.0.0.0/33]}", "apiServerCidrs"),
    ("logLevel: loud", "logLevel"),
];

#[test]
fn every_value_that_cannot_be_is_refused_by_its_place() {
    let world = world();
    let chart = chart().display().to_string();
    let template = |helm: Helm, values: &str| {
        let file = world.cluster.logs().join("wrong-values.yaml");
        fs::write(&file, values).unwrap();
        let file = format!("--values={}", file.display());
        let args = ["template", "other", &chart, KUBE_VERSION, &file];
        world.cluster.helm(helm, &args).map_err(|error| error.to_string())
    };
    for helm in Helm::ALL {
        for (wrong, place) in WRONG {
            let refused = template(helm, wrong).expect_err(wrong);
            assert!(refused.contains(place), "{wrong}: {refused}");
        }
        // What the default is, and what people write.
        for right in [
            "{}",
            "namespaceGate: 'env in (prod, test), !frozen'",
            "namespaceSelector: shard=a",
            "podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}",
            "resources: {limits: {cpu: 2, memory: 1.5Gi}, requests: {cpu: 50m, example.com/gpu: '1'}}",
            "image: {repository: 'registry.example.com:5000/team/hookhost'}",
            "policies: {volume: {configMap: {name: policies}}}",
            "tolerations: [{key: node-role.kubernetes.io/infra, operator: Exists, effect: NoSchedule}]",
            "networkPolicy: {enabled: true, metricsFrom: [{namespaceSelector: {}}], apiServerCidrs: ['10.0.0.1/32', '2001:db8::/64']}",
        ] {
            template(helm, right).unwrap_or_else(|error| panic!("{right}: {error}"));
        }
    }
}

#[test]
fn a_cluster_object_is_of_the_kind_that_is_written_before_its_name() {
    let world = world();
    let chart = chart().display().to_string();
    for helm in Helm::ALL {
        // Two bindings and a role; one of them, and one of the namespaces, has the other kind's name.
        let sets = "closure.enabled=true,closure.clusterObjects={acme/ClusterRoleBinding/ClusterRole,ClusterRole/ClusterRoleBinding,ClusterRoleBinding/b}";
        let args = [
            "template",
            "hookhost",
            &chart,
            KUBE_VERSION,
            "--set",
            sets,
            "--show-only",
            "templates/rbac-closure.yaml",
        ];
        let objects = ok(world.cluster.helm(helm, &args));
        for rule in [
            "resources: [clusterroles]\n    resourceNames: [\"ClusterRoleBinding\"]\n",
            "resources: [clusterrolebindings]\n    resourceNames: [\"ClusterRole\",\"b\"]\n",
        ] {
            assert!(objects.contains(rule), "no {rule} in\n{objects}");
        }
    }
}
