//! To *decide* a run is to ask the policies and to plan by what they answer; and to write down both, once.

use std::time::Instant;

use hookhost_core::Request;
use hookhost_core::plan::{self, Plan, Staging};
use hookhost_core::refusal::Refusal;
use serde_json::json;

use super::{Context, Subject};
use crate::metrics::DecisionOutcome;
use crate::policy::{DecisionRecord, Outcome, Scope};
use crate::telemetry::{self, DecisionLine};

impl Context {
    /// The plan that the policies allow.
    pub(super) fn decide(
        &self,
        subject: &Subject,
        request: &Request,
        staging: Staging,
    ) -> Result<Plan, Refusal> {
        let scope = self.scope(subject, request);
        let begun = Instant::now();
        // Computes for as long as the slowest policy may: nobody else should wait for this thread meanwhile.
        let decided = tokio::task::block_in_place(|| self.policies.decide(request, &scope));
        self.metrics.decided(begun.elapsed());
        let (result, records) = match decided {
            Ok(decided) => {
                let plan = plan::plan_staged(request, &decided.answers, staging).map_err(Refusal::from);
                let plan = plan.and_then(|plan| plan.verdict.refusal().map_or(Ok(plan), Err));
                (plan, decided.records)
            }
            Err(undecided) => (Err(undecided.refusal), undecided.records),
        };
        self.note(subject, request, &records, result.as_ref().err());
        result
    }

    /// The namespaces that policies are matched by: the Operation's, the Job's and the release's.
    pub(super) fn scope(&self, subject: &Subject, request: &Request) -> Scope {
        Scope::of(request, |namespace| {
            let known = if *namespace == *subject.key.namespace { &self.served } else { &self.gated };
            known.labels(namespace).unwrap_or_default()
        })
    }

    /// Counts the answers and writes the decision log's line.
    fn note(
        &self,
        subject: &Subject,
        request: &Request,
        records: &[DecisionRecord],
        refusal: Option<&Refusal>,
    ) {
        for record in records {
            self.metrics.decision(&record.policy, outcome(&record.outcome));
        }
        let verdict = match refusal {
            None => json!({"outcome": "allowed"}),
            Some(refusal) => json!({
                "outcome": if refusal.is_final() { "refused" } else { "postponed" },
                "reason": refusal.reason.as_str(),
                "message": refusal.message,
            }),
        };
        let org_id = self.organisation(&subject.key.namespace);
        telemetry::log_decision(&DecisionLine {
            namespace: &subject.key.namespace,
            operation: &subject.key.name,
            operation_id: &subject.uid,
            org_id: &org_id,
            hook: &request.hook.name,
            request: &json!(request),
            policies: &json!(records),
            verdict: &verdict,
        });
    }
}

fn outcome(outcome: &Outcome) -> DecisionOutcome {
    use hookhost_core::Decision;
    match outcome {
        Outcome::Decision(Decision::Allow(_)) => DecisionOutcome::Allow,
        Outcome::Decision(Decision::Deny(_)) => DecisionOutcome::Deny,
        Outcome::Decision(Decision::Hold(_)) => DecisionOutcome::Hold,
        Outcome::Error(_) => DecisionOutcome::Error,
    }
}
