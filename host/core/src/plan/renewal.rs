//! A *renewal* is what changes of a step's Job when its run is decided again just before it starts.
//!
//! The Job was created with all others of its event, which may be hours ago: since then a maintenance window may be about to close,
//! or an administrator may have changed a policy. What the policies and the Operation decide of a Job changes with that: its three
//! numbers, and the labels and annotations that policies add. What is run does not.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Plan, PlanError};
use crate::clone::CloneError;
use crate::json::entry;
use crate::keys::{DECISION, DECISION_BYTES, NOT_CREATED};

/// The numbers that hookhost owns.
const NUMBERS: [&str; 3] = ["activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];

/// What of a plan may change a Job that was created before. It is kept while the API server is asked, which may take long; the
/// plan, with all that is run, is not.
#[derive(Clone, Debug, PartialEq)]
pub struct Renewal {
    decision: String,
    /// How many policies decided.
    policies: usize,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    pod_labels: Map<String, Value>,
    /// Those of [`NUMBERS`] that the Job has.
    numbers: Map<String, Value>,
}

impl Renewal {
    /// Of this plan; none if it has no Job.
    pub fn of(plan: &Plan) -> Option<Renewal> {
        let job = plan.job.as_ref()?;
        let map = |at: &str| job.pointer(at).and_then(Value::as_object).cloned().unwrap_or_default();
        let mut annotations = map("/metadata/annotations");
        let decision = annotations.remove(DECISION);
        let number = |name: &&str| Some(((*name).to_owned(), job.get("spec")?.get(*name)?.clone()));
        Some(Renewal {
            decision: decision.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            policies: plan.verdict.policies.len(),
            labels: map("/metadata/labels"),
            annotations,
            pod_labels: map("/spec/template/metadata/labels"),
            numbers: NUMBERS.iter().filter_map(number).collect(),
        })
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let entries = [&self.labels, &self.annotations, &self.pod_labels, &self.numbers];
        let texts = entries.into_iter().flatten().map(|(key, value)| {
            // Each in a tree that may be half full.
            key.len() + value.as_str().map_or(0, str::len) + 2 * size_of::<(String, Value)>()
        });
        size_of::<Renewal>() + self.decision.len() + texts.sum::<usize>()
    }

    /// What makes of a Job, as the API server has it, the one that is decided now: a merge patch of `metadata` and `spec`. Nothing
    /// where the decision is the same.
    ///
    /// # Errors
    /// The decision is longer than a Job may carry.
    pub fn patch(&self, job: &Value) -> Result<Option<Value>, PlanError> {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let old = read(entry(job, "annotations", DECISION).unwrap_or_default());
        let mut now = read(&self.decision);
        // Only the preparation of the whole event finds it out, so it stays.
        for key in NOT_CREATED {
            if let Some(named) = old.get(key) {
                now[key] = named.clone();
            }
        }
        if old == now {
            return Ok(None);
        }
        let text = now.to_string();
        if text.len() > DECISION_BYTES {
            let (bytes, policies) = (text.len(), self.policies);
            return Err(CloneError::DecisionTooLarge { bytes, policies }.into());
        }
        let added = |what: &str, new: &Map<String, Value>| entries(&old, &now, what, new);
        let mut annotations = added("annotations", &self.annotations);
        annotations.insert(DECISION.to_owned(), json!(text));
        let (labels, pod_labels) = (added("labels", &self.labels), added("labels", &self.pod_labels));
        // Null takes a field out.
        let number = |name: &str| (name.to_owned(), self.numbers.get(name).cloned().unwrap_or_default());
        let mut spec: Map<String, Value> = NUMBERS.into_iter().map(number).collect();
        if !pod_labels.is_empty() {
            spec.insert("template".to_owned(), json!({"metadata": {"labels": pod_labels}}));
        }
        Ok(Some(json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": spec})))
    }
}

/// Of what policies add or added, by the old decision and the one of now, the values that the new Job has; null where it has none.
fn entries(old: &Value, now: &Value, what: &str, new: &Map<String, Value>) -> Map<String, Value> {
    let keys = |decision: &Value| -> BTreeSet<String> {
        let added = decision.get(what).and_then(Value::as_object);
        added.into_iter().flat_map(Map::keys).cloned().collect()
    };
    let all: BTreeSet<String> = keys(old).union(&keys(now)).cloned().collect();
    all.into_iter()
        .map(|key| {
            let value = new.get(&key).cloned().unwrap_or_default();
            (key, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Bounds, Decision, Overrides};
    use crate::plan::{Staging, plan_staged};
    use crate::request::{Hook, Numbers, Request};
    use crate::step::Step;
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

    fn renewal(job: &Value, plan: &Plan) -> Result<Option<Value>, PlanError> {
        Renewal::of(plan).unwrap().patch(job)
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
    fn of_a_plan_nothing_is_kept_that_is_run() {
        let mut large = plan(Some(300), &answer(Some(120), &[("shift", "late")]));
        let small = Renewal::of(&large).unwrap().bytes();
        let job = large.job.as_mut().unwrap();
        job["spec"]["template"]["spec"]["containers"][0]["args"] = json!(vec!["x"; 1 << 16]);
        assert_eq!(Renewal::of(&large).unwrap().bytes(), small);
    }

    #[test]
    fn what_the_preparation_found_out_stays_in_the_decision() {
        let mut job = plan(Some(300), &[]).job.unwrap();
        let mut decision: Value =
            serde_json::from_str(job["metadata"]["annotations"][DECISION].as_str().unwrap()).unwrap();
        NOT_CREATED.iter().for_each(|key| decision[key] = json!([format!("{key}/migrate")]));
        job["metadata"]["annotations"][DECISION] = json!(decision.to_string());
        let patch = renewal(&job, &plan(Some(7), &[])).unwrap().unwrap();
        let text = patch["metadata"]["annotations"][DECISION].as_str().unwrap();
        let renewed: Value = serde_json::from_str(text).unwrap();
        assert!(NOT_CREATED.iter().all(|key| renewed[key] == decision[key]), "{renewed:#}");
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
