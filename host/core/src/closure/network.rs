//! Whether a network policy *selects* the pods of a workload, as Kubernetes reads its `spec.podSelector`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::text;
use crate::strip::{Place, STRIP};
use hookhost_helm::workload::{Workload, at, entries};

/// Labels of the run's pods. Those that the Job controller sets have values that no chart can know: they are there, and equal
/// nothing.
pub(super) struct Labels(BTreeMap<String, Option<String>>);

/// The labels that the pods of the workload's run have.
pub(super) fn labels(workload: Workload<'_>) -> Labels {
    let of_chart = workload.pod_labels().into_iter().map(|(key, value)| (key, Some(value)));
    let mut labels: BTreeMap<String, Option<String>> = of_chart.collect();
    let set_anew =
        STRIP.iter().filter(|strip| strip.place == Place::PodLabel && strip.what != crate::keys::OWN_DOMAIN);
    labels.extend(set_anew.map(|strip| (strip.what.to_owned(), None)));
    Labels(labels)
}

/// Whether a network policy's manifest selects pods with these labels. Without a selector it selects all.
pub(super) fn selects(policy: &Value, labels: &Labels) -> bool {
    let selector = at(policy, "spec.podSelector").unwrap_or(&Value::Null);
    let has = |key: &str, value: &str| labels.0.get(key).is_some_and(|of| of.as_deref() == Some(value));
    let is_met = |requirement: &Value| {
        let key = text(requirement, "key").unwrap_or_default();
        let values = requirement.get("values").and_then(Value::as_array).into_iter().flatten();
        let is_one_of = values.filter_map(Value::as_str).any(|value| has(key, value));
        match text(requirement, "operator") {
            Some("In") => is_one_of,
            Some("NotIn") => !is_one_of,
            Some("Exists") => labels.0.contains_key(key),
            Some("DoesNotExist") => !labels.0.contains_key(key),
            // The API server takes no other.
            _ => false,
        }
    };
    let requirements = selector.get("matchExpressions").and_then(Value::as_array);
    entries(selector, "matchLabels").iter().all(|(key, value)| has(key, value))
        && requirements.into_iter().flatten().all(is_met)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_network_policy_selects_as_kubernetes_reads_it() {
        let job = json!({"kind": "Job", "spec": {"template": {"metadata": {"labels":
            {"app": "migrate", "tier": "db", "empty": null, "job-name": "of-helms-own-job"}}}}});
        let labels = labels(Workload::of(&job));
        let selects = |selector: Value| selects(&json!({"spec": {"podSelector": selector}}), &labels);
        let expression = |key: &str, operator: &str, values: Value| {
            selects(json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}))
        };
        assert!(selects(json!({})) && selects(Value::Null) && selects(json!({"matchLabels": null})));
        assert!(selects(json!({"matchLabels": {"app": "migrate", "empty": ""}})));
        assert!(!selects(json!({"matchLabels": {"app": "web"}})));
        assert!(!selects(json!({"matchLabels": {"app": "migrate", "more": "x"}})));
        assert!(
            expression("app", "In", json!(["web", "migrate"])) && !expression("app", "In", json!(["web"]))
        );
        assert!(
            expression("app", "NotIn", json!(["web"])) && !expression("app", "NotIn", json!(["migrate"]))
        );
        assert!(
            expression("absent", "NotIn", json!(["x"])) && expression("absent", "DoesNotExist", json!([]))
        );
        assert!(expression("tier", "Exists", json!(null)) && !expression("tier", "DoesNotExist", json!([])));
        assert!(!expression("app", "Gt", json!(["1"])));
        assert!(!selects(
            json!({"matchLabels": {"app": "migrate"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]})
        ));
        // The run's Job has another name than Helm's.
        assert!(!selects(json!({"matchLabels": {"job-name": "of-helms-own-job"}})));
        assert!(expression("batch.kubernetes.io/job-name", "Exists", json!([])));
    }
}
