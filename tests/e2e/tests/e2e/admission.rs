//! What the cluster's admission denies is reported as that, in its own words, and not as a missing right.

use std::process::Command;

use e2e::{GATE, PATIENCE, hookhost, message, ok, says, world};
use serde_json::{Value, json};

use crate::closure::{all_gone, borrows, release};

/// A ValidatingAdmissionPolicy that is in force; dropped, it is gone.
struct Policy(String);

/// Jobs, as rules name them.
const JOBS: [&str; 3] = ["batch", "v1", "jobs"];

/// What it says.
const WORDS: &str = "not before the audit is over";

impl Policy {
    /// Denies this operation on these objects in the namespace where the condition holds. It is in force once it denies what
    /// kubectl is told to try.
    fn new(
        namespace: &str,
        operation: &str,
        [group, version, resource]: [&str; 3],
        condition: &str,
        probe: &[&str],
    ) -> Policy {
        let world = world();
        let name = format!("{namespace}-{resource}");
        let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let here = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let rules = json!([{
            "apiGroups": [group], "apiVersions": [version], "resources": [resource], "operations": [operation],
        }]);
        let spec = json!({
            "failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules},
            "matchConditions": [{"name": "condition", "expression": condition}],
            "validations": [{"expression": "false", "message": WORDS}],
        });
        world.apply("", &kind("ValidatingAdmissionPolicy", spec));
        let spec = json!({
            "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
        });
        world.apply("", &kind("ValidatingAdmissionPolicyBinding", spec));
        let probe = [probe, &["--namespace", namespace]].concat();
        let is_denied =
            || world.cluster.kubectl(&probe).is_err_and(|error| error.to_string().contains(WORDS));
        ok(world.cluster.eventually("the policy is in force", PATIENCE, || is_denied().then_some(())));
        Policy(name)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
            world().delete("", &format!("{kind}/{}", self.0), None);
        }
    }
}

#[test]
fn a_job_that_admission_denies_is_reported_in_its_words_and_made_once_it_may_be() {
    let world = world();
    let release = world.release("shop", &world.namespace("admission", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let probe = ["create", "job", "probe", "--image=none", "--dry-run=server"];
    let policy = Policy::new(namespace, "CREATE", JOBS, "true", &probe);
    let name = world.operation(&release, "ok", json!({}));
    let operation = world.blocked(namespace, &name, "AdmissionDenied");
    let told = message(&operation, "Blocked");
    assert!(told.starts_with("admission denies the Job"), "{told}");
    is_admissions(&told);
    drop(policy);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
}

#[test]
fn a_job_that_admission_does_not_let_start_is_reported_in_its_words() {
    let world = world();
    let release = release("admission", &json!({}));
    let namespace = &release.namespace;
    let probe = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe", "labels": {"probe": "true"}},
        "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "none", "image": "localhost/none:1"}],
        }}},
    });
    world.apply(namespace, &probe);
    let who = "request.userInfo.username.startsWith('system:serviceaccount:hookhost:') || \
               (has(object.metadata.labels) && 'probe' in object.metadata.labels)";
    let probe = ["annotate", "job/probe", "a=b", "--dry-run=server"];
    let policy = Policy::new(namespace, "UPDATE", JOBS, who, &probe);
    let name = world.operation(&release, "quick", borrows());
    // The Job is there, with all that it borrows.
    let operation = world.blocked(namespace, &name, "AdmissionDenied");
    is_admissions(&message(&operation, "Blocked"));
    drop(policy);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "quick");
}

#[test]
fn hookhost_run_reports_that_admission_denies_the_operation() {
    let world = world();
    let release = world.release("shop", &world.namespace("admission", &[GATE]), &json!({}));
    let namespace = &release.namespace;
    let kubeconfig = world.cluster.kubeconfig().display().to_string();
    let operation = world.operation_named("probe", &release, "ok", json!({}));
    let probe = world.cluster.logs().join(format!("{namespace}.json"));
    std::fs::write(&probe, operation.to_string()).unwrap();
    let probe = format!("--filename={}", probe.display());
    let operations = ["ops.vworkspace.io", "v1alpha1", "operations"];
    let _policy =
        Policy::new(namespace, "CREATE", operations, "true", &["create", &probe, "--dry-run=server"]);
    let run = Command::new(hookhost())
        .args(["run", "shop-ok", "--target", &release.instance, "-n", namespace, "--kubeconfig", &kubeconfig])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "denied: {told}");
    is_admissions(&told);
}

/// Makes sure that this says what admission said, and nothing of a right that is missing.
fn is_admissions(told: &str) {
    assert!(told.contains("ValidatingAdmissionPolicy") && told.contains(WORDS), "{told}");
    assert!(!told.contains("RBAC") && !told.contains("verbs:"), "{told}");
}
