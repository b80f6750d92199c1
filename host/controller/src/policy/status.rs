//! The *status* of a HookPolicy is what hookhost found of it. It is written when it is not what is there already.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::set::{Last, State};
use crate::crd::{Describe, HookPolicyStatus};

/// The condition that says whether the policy can be asked.
const READY: &str = "Ready";
/// Its reason while it can.
const LOADED: &str = "Loaded";
/// The condition that says whether its last evaluation failed. Only there once one has.
const DEGRADED: &str = "Degraded";
/// Its reason once one went well again.
const EVALUATED: &str = "Evaluated";
/// Digits of a digest in tables: as many as container tools show.
const SHORT_DIGITS: usize = 12;

/// The status that is to be written over `there`, as a merge patch; none if it says all that already, or if there is
/// nothing to say yet.
pub(super) fn patch(
    there: &Value,
    state: &State,
    last: &Last,
    generation: i64,
    now: Timestamp,
) -> Option<Value> {
    // A status that somebody broke is written anew.
    let there: HookPolicyStatus = serde_json::from_value(there.clone()).unwrap_or_default();
    let (ready, digest, describe) = match state {
        State::Loading => return None,
        State::Ready(loaded) => {
            let description = &loaded.description;
            let describe = Describe {
                name: description.name.clone(),
                version: description.version.clone(),
                description: description.summary.clone(),
            };
            (Ok(()), Some(loaded.digest.clone()), Some(describe))
        }
        State::NotReady(problem) => (Err(problem), None, None),
    };
    let said = |type_: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        let before = there.conditions.iter().find(|condition| condition.type_ == type_);
        let since =
            before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            observed_generation: Some(generation),
            last_transition_time: since.unwrap_or(Time(now)),
        }
    };
    let mut conditions = vec![match ready {
        Ok(()) => said(READY, true, LOADED, "the policy is asked about Operations that match"),
        Err(problem) => said(READY, false, problem.reason.as_str(), &problem.message),
    }];
    match last {
        Last::Fine => {}
        Last::Failed(problem) => {
            conditions.push(said(DEGRADED, true, problem.reason.as_str(), &problem.message))
        }
        Last::Recovered => conditions.push(said(DEGRADED, false, EVALUATED, "the last evaluation went well")),
    }
    // Conditions of others stay; and what a process before this one found of evaluations, while the policy is the same.
    let is_same = there.digest == digest && there.observed_generation == Some(generation);
    let stays = |before: &&Condition| {
        conditions.iter().all(|new| new.type_ != before.type_) && (before.type_ != DEGRADED || is_same)
    };
    let others: Vec<Condition> = there.conditions.iter().filter(stays).cloned().collect();
    conditions.extend(others);
    conditions.sort_by(|a, b| order(&a.type_).cmp(&order(&b.type_)));

    let short_digest = digest
        .as_deref()
        .map(|digest| digest.trim_start_matches("sha256:").chars().take(SHORT_DIGITS).collect::<String>());
    let wanted = HookPolicyStatus {
        conditions,
        digest,
        short_digest,
        describe,
        observed_generation: Some(generation),
    };
    if wanted == there {
        return None;
    }
    // Null takes a field away.
    Some(json!({
        "conditions": wanted.conditions,
        "digest": wanted.digest,
        "shortDigest": wanted.short_digest,
        "describe": wanted.describe,
        "observedGeneration": wanted.observed_generation,
    }))
}

/// Ready first, then Degraded, then what others wrote.
fn order(type_: &str) -> (u8, &str) {
    match type_ {
        READY => (0, ""),
        DEGRADED => (1, ""),
        other => (2, other),
    }
}

#[cfg(test)]
mod tests {
    use hookhost_core::Reason;

    use super::super::problem::Problem;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn broken(message: &str) -> State {
        State::NotReady(Problem::new(Reason::PolicyModuleMissing, message))
    }

    /// What is there after the patch was merged.
    fn merged(there: &Value, patch: &Value) -> Value {
        let mut all = there.as_object().cloned().unwrap_or_default();
        for (key, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => all.remove(key),
                value => all.insert(key.clone(), value.clone()),
            };
        }
        Value::Object(all)
    }

    #[test]
    fn nothing_is_written_while_nothing_is_known_or_changed() {
        assert_eq!(patch(&json!(null), &State::Loading, &Last::Fine, 1, at(0)), None);
        let first = patch(&json!(null), &broken("a"), &Last::Fine, 1, at(0)).unwrap();
        let there = merged(&json!(null), &first);
        assert_eq!(patch(&there, &broken("a"), &Last::Fine, 1, at(99)), None, "{there}");
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let there = merged(&json!(null), &patch(&json!(null), &broken("a"), &Last::Fine, 1, at(0)).unwrap());
        let next = patch(&there, &broken("b"), &Last::Fine, 2, at(99)).unwrap();
        let ready = &next["conditions"][0];
        assert_eq!((&ready["message"], &ready["observedGeneration"]), (&json!("b"), &json!(2)));
        assert_eq!(ready["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(ready["reason"], "PolicyModuleMissing");
    }

    #[test]
    fn a_policy_that_is_not_ready_shows_no_digest_of_an_earlier_one() {
        let there = json!({"digest": "sha256:00", "shortDigest": "00", "describe": {"name": "a", "version": "1", "description": "b"}});
        let after = merged(&there, &patch(&there, &broken("a"), &Last::Fine, 1, at(0)).unwrap());
        assert!(
            ["digest", "shortDigest", "describe"].iter().all(|field| after.get(field).is_none()),
            "{after}"
        );
    }

    #[test]
    fn a_failed_evaluation_degrades_until_one_goes_well() {
        let failed = Last::Failed(Problem::new(Reason::PolicyTrapped, "for Operation a/b: it failed"));
        let mut there = json!(null);
        let mut steps = Vec::new();
        for (seconds, last) in [(0, Last::Fine), (10, failed), (20, Last::Recovered)] {
            let new = patch(&there, &broken("x"), &last, 1, at(seconds)).unwrap();
            there = merged(&there, &new);
            let degraded = &there["conditions"][1];
            steps.push((
                degraded["status"].clone(),
                degraded["reason"].clone(),
                degraded["lastTransitionTime"].clone(),
            ));
        }
        assert_eq!(
            steps,
            [
                (json!(null), json!(null), json!(null)),
                (json!("True"), json!("PolicyTrapped"), json!("1970-01-01T00:00:10Z")),
                (json!("False"), json!("Evaluated"), json!("1970-01-01T00:00:20Z")),
            ]
        );
    }

    #[test]
    fn a_failed_evaluation_of_an_earlier_policy_is_forgotten_with_it() {
        let failed = Last::Failed(Problem::new(Reason::PolicyTrapped, "it failed"));
        let there = merged(&json!(null), &patch(&json!(null), &broken("a"), &failed, 1, at(0)).unwrap());
        // A new process has seen no evaluation yet.
        assert_eq!(patch(&there, &broken("a"), &Last::Fine, 1, at(9)), None);
        let new = patch(&there, &broken("a"), &Last::Fine, 2, at(9)).unwrap();
        assert_eq!(new["conditions"].as_array().map(Vec::len), Some(1), "{new}");
    }

    #[test]
    fn conditions_of_others_stay_and_a_broken_status_is_written_anew() {
        let other = json!({
            "type": "Approved", "status": "True", "reason": "Reviewed", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let new = patch(&json!({"conditions": [other]}), &broken("a"), &Last::Fine, 1, at(0)).unwrap();
        assert_eq!(new["conditions"][1]["type"], "Approved");
        let new = patch(&json!({"conditions": "none"}), &broken("a"), &Last::Fine, 1, at(0)).unwrap();
        assert_eq!(new["conditions"].as_array().map(Vec::len), Some(1));
    }
}
