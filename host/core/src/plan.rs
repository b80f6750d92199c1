//! A *plan* is the Job that would run, with every reason for how it looks; or the reason why none would.
//!
//! It is a pure function of the request and the policies' answers, so `hookhost plan` and the controller make the same
//! one, and a recorded request can be planned again.

mod base;
mod explain;
mod renewal;
#[cfg(test)]
mod tests;
mod warnings;

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

pub use explain::Row;
pub use renewal::Renewal;
pub use warnings::{Warning, of_record as warnings_of_record};

use crate::clone::{self, CloneError, NotCreated};
use crate::loan::{Borrowed, Loan};
use crate::reason::{HasReason, Reason};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::step::Step;
use crate::verdict::{self, Answer, Outcome, Verdict};
use hookhost_helm::hook::{self, NotRunnable};
use hookhost_helm::workload::BadNumber;

/// What would happen if the Operation of a request were run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The hook.
    pub hook: HookRef,
    /// The release that it is of.
    pub release: ReleaseRef,
    /// What the policies say.
    pub verdict: Verdict,
    /// The Job; none if the policies do not allow it.
    pub job: Option<Value>,
    /// Where every field of the Job comes from; empty without a Job.
    pub explain: Vec<Row>,
    /// What is made before the Job starts, and taken back after it.
    pub loans: Vec<Loan>,
    /// What a person should know before running it.
    pub warnings: Vec<Warning>,
}

/// The hook of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRef {
    /// metadata.name.
    pub name: String,
    /// "Job" or "Pod".
    pub kind: String,
    /// Helm's events.
    pub events: Vec<String>,
    /// Helm's weight.
    pub weight: i32,
}

/// The release of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Helm's revision.
    pub revision: u32,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No Job can be made from the hook.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// A number in the chart's manifest is wrong.
    #[error(transparent)]
    Number(#[from] BadNumber),
}

impl PlanError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            PlanError::Clone(error) => error.reason(),
            PlanError::Number(error) => error.reason(),
        }
    }
}

/// Plans the run that the request describes, under the policies' answers.
pub fn plan(request: &Request, answers: &[Answer]) -> Result<Plan, PlanError> {
    plan_staged(request, answers, Staging::default())
}

/// What a Job waits for before it may start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staging {
    /// What has to be made for it.
    pub loans: Vec<Loan>,
    /// Which step of the event's it is; none where it is the only one.
    pub step: Option<Step>,
    /// What Helm has deleted and hookhost does not create.
    pub not_created: NotCreated,
}

impl Staging {
    /// Of the next Job after these of the same event. What has no namespace is lent to one of them, and given back when all are
    /// over.
    pub fn after<'s>(
        earlier: impl Iterator<Item = &'s Staging> + Clone,
        mut loans: Vec<Loan>,
        step: Option<Step>,
    ) -> Staging {
        let is_lent = |loan: &Loan| {
            earlier.clone().flat_map(|staging| &staging.loans).any(|lent| lent.object == loan.object)
        };
        loans.retain(|loan| loan.object.kind.is_namespaced() || !is_lent(loan));
        Staging { loans, step, not_created: NotCreated::default() }
    }
}

/// The same for a run whose Job waits for something.
pub fn plan_staged(request: &Request, answers: &[Answer], staging: Staging) -> Result<Plan, PlanError> {
    let Staging { loans, step, not_created } = staging;
    hook::check(&request.hook.manifest)
        .map_err(|why: NotRunnable| CloneError::NotRunnable { name: request.hook.name.clone(), why })?;
    let verdict = verdict::solve(&base::base(request, step.is_some())?, answers);
    let (mut job, mut explain) = (None, Vec::new());
    let mut warnings = warnings::of_hook(request, &loans);
    if let Some(solved) = verdict.solved() {
        let borrowed = Borrowed::of(&loans).map(|borrowed| borrowed.to_text());
        let cloned = clone::clone(request, solved, &verdict.policies, borrowed, step, &not_created)?;
        explain = explain::rows(request, solved, &cloned, &loans, step);
        warnings.extend(warnings::of_run(request, solved, &cloned));
        job = Some(cloned.job);
    }
    let (hook, release) = (&request.hook, &request.release);
    Ok(Plan {
        hook: HookRef {
            name: hook.name.clone(),
            kind: hook.kind.clone(),
            events: hook.events.clone(),
            weight: hook.weight,
        },
        release: ReleaseRef {
            name: release.name.clone(),
            namespace: release.namespace.clone(),
            revision: release.revision,
        },
        verdict,
        loans: if job.is_some() { loans } else { Vec::new() },
        job,
        explain,
        warnings,
    })
}

impl Plan {
    /// Why nothing would run; none if the Job would.
    pub fn reason(&self) -> Option<Reason> {
        self.verdict.reason()
    }

    /// The whole plan for programs. `outcome` is "allowed", "denied", "held" or "contradictory".
    pub fn to_json(&self) -> Value {
        let mut plan = json!({
            "hook": self.hook,
            "release": self.release,
            "policies": self.verdict.policies,
            "reason": self.reason().map(Reason::as_str),
            "message": self.verdict.to_string(),
            "warnings": self.warnings,
        });
        match &self.verdict.outcome {
            Outcome::Allowed(_) => {
                plan["outcome"] = json!("allowed");
                plan["job"] = json!(self.job);
                plan["explain"] = json!(self.explain);
                let loans = self.loans.iter().map(|loan| loan.manifest.value());
                plan["temporaryObjects"] = json!(loans.collect::<Vec<_>>());
            }
            Outcome::Denied(denials) => {
                plan["outcome"] = json!("denied");
                plan["denials"] = json!(denials);
            }
            Outcome::Held { retry_after_seconds, holds } => {
                plan["outcome"] = json!("held");
                plan["retryAfterSeconds"] = json!(retry_after_seconds);
                plan["holds"] = json!(holds);
            }
            Outcome::Contradictory(conflicts) => {
                plan["outcome"] = json!("contradictory");
                plan["conflicts"] = json!(conflicts);
            }
        }
        plan
    }
}

/// The plan's outcome in one line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Refusal {
        Refusal::of_error(error.reason(), &error)
    }
}
