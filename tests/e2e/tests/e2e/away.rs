//! Webhooks that are away: the API server asks them before it changes anything, and refuses where they do not answer.

use e2e::{message, ok, says, world};
use serde_json::json;

use crate::closure::{all_gone, borrows, release, there};

/// Has the API server ask a webhook that is not there before it does this to these in the namespace; gives back its name.
fn put_away(namespace: &str, operation: &str, group: &str, resource: &str) -> String {
    let name = format!("away-{namespace}");
    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{
            "name": "away.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"service": {"namespace": namespace, "name": "away"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": [operation]}],
        }],
    });
    world().apply("", &webhook);
    name
}

fn bring_back(webhook: &str) {
    ok(world().cluster.kubectl(&["delete", "validatingwebhookconfiguration", webhook]));
}

#[test]
fn what_keeps_hookhost_from_going_on_is_told_and_forgotten_when_it_is_over() {
    let world = world();
    let release = release("stuck", &json!({}));
    let namespace = &release.namespace;
    let webhook = put_away(namespace, "UPDATE", "batch", "jobs");
    let name = world.operation(&release, "quick", borrows());
    // The Job is there, with all that it borrows, and cannot be let start.
    let operation = world.blocked(namespace, &name, "ClusterUnreachable");
    let message = message(&operation, "Blocked");
    assert!(message.contains("cannot go on") && message.contains("failed calling webhook"), "{message}");
    bring_back(&webhook);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
    all_gone(world, namespace, "quick");
}

#[test]
fn a_loan_that_cannot_be_made_now_is_told_with_nothing_left_and_made_when_it_can_be() {
    let world = world();
    let release = release("webhook", &json!({}));
    let namespace = &release.namespace;
    let webhook = put_away(namespace, "CREATE", "", "serviceaccounts");
    let name = world.operation(&release, "quick", borrows());
    let operation = world.blocked(namespace, &name, "ClusterUnreachable");
    let message = message(&operation, "Blocked");
    assert!(
        message.contains("ServiceAccount \"shop-quick\"") && message.contains("failed calling webhook"),
        "{message}"
    );
    world.until_gone(namespace, &format!("job/{name}"));
    assert_eq!(there(namespace, "quick"), [""; 0]);
    bring_back(&webhook);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "quick");
}
