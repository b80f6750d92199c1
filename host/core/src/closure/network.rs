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
    let of_chart = of_chart(workload);
    let mut labels: BTreeMap<String, Option<String>> = of_chart.collect();
    if workload.is_pod() {
        let is_stripped = |key: &str| {
            let domain = key.split_once('/').map(|(domain, _)| domain);
            let mut gone = STRIP.iter().filter(|strip| strip.place == Place::PodHookLabels);
            gone.any(|strip| key == strip.what || domain == Some(strip.what))
        };
        labels.retain(|key, _| !is_stripped(key));
    }
    let set_anew =
        STRIP.iter().filter(|strip| strip.place == Place::PodLabel && strip.what != crate::keys::OWN_DOMAIN);
    labels.extend(set_anew.map(|strip| (strip.what.to_owned(), None)));
    Labels(labels)
}

fn of_chart(workload: Workload<'_>) -> impl Iterator<Item = (String, Option<String>)> {
    workload.pod_labels().into_iter().map(|(key, value)| (key, Some(value)))
}

/// Labels by which the Job controller puts the Job's name on its pods.
const JOB_NAMES: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
/// Labels by which it puts the Job's UID there, which no chart can know.
const JOB_UIDS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/// The labels that the pods have which Helm's own run of the workload makes. `name` is that of the manifest; empty where the API server
/// makes one.
pub(super) fn helms_labels(workload: Workload<'_>, name: &str) -> Labels {
    let mut labels: BTreeMap<String, Option<String>> = of_chart(workload).collect();
    if !workload.is_pod() {
        let name = (!name.is_empty()).then(|| name.to_owned());
        labels.extend(JOB_NAMES.map(|key| (key.to_owned(), name.clone())));
        labels.extend(JOB_UIDS.map(|key| (key.to_owned(), None)));
    }
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

    #[test]
    fn helms_own_pods_have_its_jobs_name_and_the_runs_have_not() {
        let job = json!({"kind": "Job", "spec": {"template": {"metadata": {"labels": {"app": "migrate"}}}}});
        let (ours, helms) = (labels(Workload::of(&job)), helms_labels(Workload::of(&job), "shop-migrate"));
        for key in JOB_NAMES {
            let policy =
                json!({"spec": {"podSelector": {"matchLabels": {key: "shop-migrate", "app": "migrate"}}}});
            assert!(selects(&policy, &helms) && !selects(&policy, &ours), "{key}");
        }
        let other = json!({"spec": {"podSelector": {"matchLabels": {"job-name": "another"}}}});
        assert!(!selects(&other, &helms));
        assert!(!selects(&other, &helms_labels(Workload::of(&job), "")), "nobody knows a made name");
    }

    #[test]
    fn a_pod_hooks_labels_of_flux_are_not_on_the_runs_pods() {
        let pod = json!({"kind": "Pod", "metadata": {"labels": {"helm.toolkit.fluxcd.io/name": "shop", "app": "a"}}});
        let policy =
            json!({"spec": {"podSelector": {"matchLabels": {"helm.toolkit.fluxcd.io/name": "shop"}}}});
        let workload = Workload::of(&pod);
        assert!(selects(&policy, &helms_labels(workload, "p")) && !selects(&policy, &labels(workload)));
    }
}
