//! A *renewal* is what changes of a step's Job when its run is decided again just before it starts.
//!
//! The Job was created with all others of its event, which may be hours ago: since then a maintenance window may be about to close,
//! or an administrator may have changed a policy. What the policies and the Operation decide of a Job changes with that: its three
//! numbers, and the labels and annotations that policies add. What is run does not.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Plan, PlanError};
use crate::clone::{CloneError, DECISION, DECISION_BYTES};
use crate::outcome::entry;

/// The numbers that hookhost owns.
const NUMBERS: [&str; 3] = ["activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];

/// What of a decision only the preparation of the whole event finds out, so that it stays: the network policies that the run is
/// without.
const WITHOUT: &str = "without";

/// What makes of a Job, as the API server has it, the one that is decided now: a merge patch of `metadata` and `spec`. Nothing
/// where the decision is the same.
///
/// # Errors
/// The decision is longer than a Job may carry.
pub fn renewal(job: &Value, plan: &Plan) -> Result<Option<Value>, PlanError> {
    let Some(new) = &plan.job else { return Ok(None) };
    let decision = |job: &Value| {
        let text = entry(job, "annotations", DECISION).unwrap_or_default();
        serde_json::from_str::<Value>(text).unwrap_or_default()
    };
    let (old, mut now) = (decision(job), decision(new));
    if let Some(without) = old.get(WITHOUT) {
        now[WITHOUT] = without.clone();
    }
    if old == now {
        return Ok(None);
    }
    let text = now.to_string();
    if text.len() > DECISION_BYTES {
        let policies = plan.verdict.policies.len();
        return Err(CloneError::DecisionTooLarge { bytes: text.len(), policies }.into());
    }
    let (mut annotations, _) = entries(&old, &now, "annotations", new, "/metadata/annotations");
    annotations.insert(DECISION.to_owned(), json!(text));
    let (labels, are_any) = entries(&old, &now, "labels", new, "/metadata/labels");
    let mut spec = Map::new();
    for number in NUMBERS {
        // Null takes the field out.
        spec.insert(
            number.to_owned(),
            new.pointer("/spec").and_then(|spec| spec.get(number)).cloned().into(),
        );
    }
    if are_any {
        let (on_pods, _) = entries(&old, &now, "labels", new, "/spec/template/metadata/labels");
        spec.insert("template".to_owned(), json!({"metadata": {"labels": on_pods}}));
    }
    Ok(Some(json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})))
}

/// Of what policies add or added, by the old decision and the one of now, the values in the new Job; null where it has none. Whether
/// there are any.
fn entries(old: &Value, now: &Value, what: &str, new: &Value, at: &str) -> (Map<String, Value>, bool) {
    let keys = |decision: &Value| -> BTreeSet<String> {
        let added = decision.get(what).and_then(Value::as_object);
        added.into_iter().flat_map(Map::keys).cloned().collect()
    };
    let all: BTreeSet<String> = keys(old).union(&keys(now)).cloned().collect();
    let value =
        |key: &String| new.pointer(at).and_then(|entries| entries.get(key)).cloned().unwrap_or_default();
    let values: Map<String, Value> = all.iter().map(|key| (key.clone(), value(key))).collect();
    let are_any = !values.is_empty();
    (values, are_any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::Step;
    use crate::decision::{Bounds, Decision, Overrides};
    use crate::plan::{Staging, plan_staged};
    use crate::request::{Hook, Numbers, Request};
    use crate::verdict::Answer;

    fn request(deadline: Option<i64>) -> Request {
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate", "namespace": "shop"},
            "spec": {"activeDeadlineSeconds": 600, "template": {
                "metadata": {"labels": {"team": "a"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
            }},
        });
        let hook =
            Hook { name: "migrate".into(), kind: "Job".into(), manifest: manifest.into(), ..Hook::default() };
        let mut request = Request {
            hook,
            requested: Numbers { active_deadline_seconds: deadline, ..Numbers::default() },
            ..Request::default()
        };
        request.release.namespace = "shop".into();
        request
    }

    fn answer(at_most: Option<i64>, labels: &[(&str, &str)]) -> Vec<Answer> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let overrides = Overrides {
            active_deadline_seconds: Bounds { at_most, ..Bounds::default() },
            labels: labels.collect(),
            ..Overrides::default()
        };
        let decision = Decision::Allow(overrides);
        vec![Answer { policy: "window".into(), digest: "sha256:0".into(), decision }]
    }

    fn plan(deadline: Option<i64>, answers: &[Answer]) -> Plan {
        let staging = Staging { step: Some(Step { number: 2, of: 3 }), ..Staging::default() };
        plan_staged(&request(deadline), answers, staging).unwrap()
    }

    /// A JSON merge patch.
    fn merge(target: &mut Value, patch: &Value) {
        for (key, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
                Value::Object(_) if target.get(key).is_some_and(Value::is_object) => {
                    merge(&mut target[key.as_str()], value);
                }
                value => target[key.as_str()] = value.clone(),
            }
        }
    }

    #[test]
    fn what_is_decided_otherwise_is_what_changes_and_nothing_that_is_run() {
        let mut job = plan(None, &answer(Some(500), &[("window", "night"), ("team", "a")])).job.unwrap();
        let now = plan(None, &answer(Some(120), &[("shift", "late")]));
        let patch = renewal(&job, &now).unwrap().unwrap();
        let template = job.pointer("/spec/template/spec").cloned();
        merge(&mut job, &patch);
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 120);
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], json!({"team": "a", "shift": "late"}));
        assert_eq!(
            (&job["metadata"]["labels"]["window"], &job["metadata"]["labels"]["shift"]),
            (&Value::Null, &json!("late"))
        );
        assert_eq!(job.pointer("/spec/template/spec").cloned(), template);
        assert_eq!(renewal(&job, &now).unwrap(), None, "it is what is decided now");
    }

    #[test]
    fn of_what_is_decided_alike_nothing_changes() {
        let job = plan(Some(300), &[]).job.unwrap();
        assert_eq!(renewal(&job, &plan(Some(300), &[])).unwrap(), None);
    }

    #[test]
    fn what_the_preparation_found_out_stays_in_the_decision() {
        let mut job = plan(Some(300), &[]).job.unwrap();
        let mut decision: Value =
            serde_json::from_str(job["metadata"]["annotations"][DECISION].as_str().unwrap()).unwrap();
        decision[WITHOUT] = json!(["NetworkPolicy/migrate"]);
        job["metadata"]["annotations"][DECISION] = json!(decision.to_string());
        let patch = renewal(&job, &plan(Some(7), &[])).unwrap().unwrap();
        let text = patch["metadata"]["annotations"][DECISION].as_str().unwrap();
        let renewed: Value = serde_json::from_str(text).unwrap();
        assert_eq!(renewed[WITHOUT], decision[WITHOUT]);
        assert_eq!(renewed["values"]["activeDeadlineSeconds"]["value"], 7);
    }

    #[test]
    fn the_time_of_a_whole_event_bounds_a_step_and_the_charts_shorter_one_counts() {
        let deadline = |deadline| {
            let plan = plan(deadline, &[]);
            let row = plan.explain.iter().find(|row| row.field == "spec.activeDeadlineSeconds").unwrap();
            (plan.job.unwrap()["spec"]["activeDeadlineSeconds"].clone(), row.details.clone())
        };
        let whole = "for all hooks of the event: each has what is left when it starts";
        assert_eq!(deadline(None), (json!(600), String::new()));
        assert_eq!(deadline(Some(900)), (json!(600), String::new()));
        let (bounded, details) = deadline(Some(300));
        assert!(bounded == 300 && details.contains(whole), "{bounded}: {details}");
    }
}
