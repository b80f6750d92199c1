//! What the policies say of an Operation.

use hookhost_controller::policy::{Effect, Options, Outcome};
use hookhost_core::refusal::Then;
use hookhost_core::{Decision, Overrides, Reason};
use serde_json::json;

use crate::cluster::Cluster;
use crate::{Host, allowing, denying, request, spec, spec_with, trapping};

#[tokio::test(start_paused = true)]
async fn a_policy_that_matches_is_asked_and_its_answer_recorded() {
    let cluster = Cluster::new([("allow", allowing())]);
    cluster.apply("for-db", spec_with("allow", json!({"match": {"hooks": ["db-*"]}})));
    cluster.apply("for-all", spec("allow"));
    let host = Host::start(cluster).await;

    let decided = host.decide_for(&request("db-migrate")).unwrap();
    let names: Vec<&str> = decided.answers.iter().map(|answer| answer.policy.as_str()).collect();
    assert_eq!(names, ["for-all", "for-db"]);
    assert!(decided.answers.iter().all(|answer| answer.decision == Decision::Allow(Overrides::default())));
    assert!(decided.answers[0].digest.starts_with("sha256:"));
    assert_eq!(decided.records[1].matched_by, ["hook db-*"]);
    let record = serde_json::to_value(&decided.records[0]).unwrap();
    assert_eq!(
        (&record["policy"], &record["effect"], &record["decision"], &record["digest"]),
        (&json!("for-all"), &json!("enforced"), &json!({"allow": {}}), &json!(decided.answers[0].digest)),
    );
    assert!(record["tookMicros"].is_u64() && record["peakMemory"].as_u64() >= Some(65_536), "{record}");

    let decided = host.decide_for(&request("other")).unwrap();
    assert_eq!((decided.answers.len(), decided.records.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn without_any_policy_everything_may_run_unless_one_is_required() {
    let host = Host::start(Cluster::new([])).await;
    let decided = host.decide().unwrap();
    assert!(decided.answers.is_empty() && decided.records.is_empty());

    let cluster = Cluster::new([("allow", allowing())]);
    let required = || Options { require_policy: true, ..Options::default() };
    let host = Host::start_with(cluster.clone(), required()).await;
    let refusal = host.decide().unwrap_err().refusal;
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyRequired, Then::Wait));
    // A policy in audit mode is not one that was required.
    cluster.apply("a", spec_with("allow", json!({"mode": "Audit"})));
    let decided = host.until(|decided| decided.as_ref().is_err_and(|it| it.records.len() == 1)).await;
    assert_eq!(decided.unwrap_err().refusal.reason, Reason::PolicyRequired);
    cluster.apply("a", spec("allow"));
    assert_eq!(host.until(Result::is_ok).await.unwrap().answers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policy_in_audit_mode_is_asked_and_recorded_and_counts_for_nothing() {
    let cluster = Cluster::new([("deny", denying()), ("trap", trapping())]);
    cluster.apply("denies", spec_with("deny", json!({"mode": "Audit"})));
    cluster.apply("missing", spec_with("none", json!({"mode": "Audit"})));
    cluster.apply("traps", spec_with("trap", json!({"mode": "Audit"})));
    let host = Host::start(cluster).await;
    let decided = host.decide().unwrap();
    assert!(decided.answers.is_empty());
    assert!(decided.records.iter().all(|record| record.effect == Effect::Audited));
    let outcomes: Vec<String> = decided
        .records
        .iter()
        .map(|record| match &record.outcome {
            Outcome::Decision(decision) => format!("{decision:?}"),
            Outcome::Error(problem) => problem.reason.to_string(),
        })
        .collect();
    assert!(outcomes[0].starts_with("Deny("), "{outcomes:?}");
    assert_eq!(outcomes[1..], ["PolicyUnavailable", "PolicyTrapped"]);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_traps_lets_its_operations_wait_and_says_so_until_it_answers() {
    let cluster = Cluster::new([("trap", trapping()), ("allow", allowing())]);
    cluster.apply("traps", spec_with("trap", json!({"match": {"hooks": ["migrate"]}})));
    cluster.apply("fine", spec("allow"));
    let host = Host::start(cluster.clone()).await;

    let undecided = host.decide().unwrap_err();
    assert_eq!((undecided.refusal.reason, undecided.refusal.then), (Reason::PolicyTrapped, Then::Wait));
    let message = &undecided.refusal.message;
    assert!(message.starts_with("policy \"traps\" cannot be asked: the policy failed: "), "{message}");
    assert_eq!(undecided.records.len(), 2);
    assert!(host.decide_for(&request("other")).is_ok(), "others are not touched");

    let degraded = cluster.condition("traps", "Degraded", "PolicyTrapped").await;
    assert_eq!(degraded["status"], "True");
    assert!(
        degraded["message"].as_str().unwrap().starts_with("for Operation org-acme/run-1: "),
        "{degraded}"
    );
    assert_eq!(cluster.condition("traps", "Ready", "Loaded").await["status"], "True");

    cluster.apply(
        "traps",
        spec_with("trap", json!({"match": {"hooks": ["migrate"]}, "failurePolicy": "Ignore"})),
    );
    let decided = host.until(Result::is_ok).await.unwrap();
    assert_eq!(decided.answers.len(), 1);
    assert_eq!(decided.records[1].effect, Effect::Ignored);
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_runs_out_of_time_is_asked_again_later() {
    let endless = crate::guest::Guest::new().evaluate("(loop $l (br $l)) unreachable").build();
    let cluster = Cluster::new([("endless", endless)]);
    cluster.apply("a", spec_with("endless", json!({"limits": {"timeout": "10ms", "memory": "1Mi"}})));
    let refusal = Host::start(cluster).await.decide().unwrap_err().refusal;
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyTimedOut, Then::RetryAfter(30)));
    assert!(refusal.message.contains("10ms"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_denial_stands_whatever_another_policy_could_not_say() {
    let cluster = Cluster::new([("deny", denying())]);
    cluster.apply("a-missing", spec("none"));
    cluster.apply("denies", spec("deny"));
    let decided = Host::start(cluster).await.decide().unwrap();
    assert!(matches!(&decided.answers[..], [answer] if matches!(answer.decision, Decision::Deny(_))));
    assert_eq!(decided.records[0].effect, Effect::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_policy_can_be_given_fails_unless_all_may_be_ignored() {
    let cluster = Cluster::new([("allow", allowing())]);
    cluster.apply("a", spec("allow"));
    let host = Host::start(cluster.clone()).await;
    let mut huge = request("migrate");
    huge.hook.manifest = std::sync::Arc::new(json!("x".repeat(2 << 20)));
    let refusal = host.decide_for(&huge).unwrap_err().refusal;
    assert_eq!((refusal.reason, refusal.then), (Reason::RequestTooLarge, Then::Fail));
    cluster.apply("a", spec_with("allow", json!({"failurePolicy": "Ignore"})));
    let mut changed = host.policies.changed();
    while host.decide_for(&huge).is_err() {
        changed.changed().await.unwrap();
    }
}
