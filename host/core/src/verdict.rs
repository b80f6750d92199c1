//! A *verdict* is what all policies together say of one run: denied, held, contradictory, or allowed with every value
//! of the Job that the host owns settled.
//!
//! ```text
//! deny  >  hold  >  contradiction  >  allow
//! ```
//!
//! Decisions are constraints that are solved, not patches applied in turn: of several ceilings the least counts, of
//! several floors the greatest, and what cannot be true together is refused by name. So the verdict does not depend
//! on the order of the policies, nor on how often one of them answers.

mod conflict;
mod entries;
mod numbers;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use conflict::{Conflict, Demand, Party};
pub use entries::{ANNOTATIONS_BYTES, Entry, LABELS_BYTES, OWNED_DOMAINS, is_host_owned};
pub use numbers::{Effective, Given, HOST_TTL_FLOOR, TTL_DEFAULT};
use serde::Serialize;

use crate::decision::Decision;
use crate::duration;
use crate::reason::Reason;
use crate::refusal;
use hookhost_helm::text;

/// What one policy answered. The decision has passed [`crate::decision::check`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The policy's name.
    pub policy: String,
    /// The digest of its module, for example "sha256:…".
    pub digest: String,
    /// Its decision.
    pub decision: Decision,
}

/// A policy that had a say, and in which build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PolicyUse {
    /// Its name.
    pub name: String,
    /// The digest of its module.
    pub digest: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The chart's manifest.
    Chart,
    /// The Operation.
    Operation,
    /// These policies, sorted.
    Policies(Vec<String>),
    /// hookhost's own default or demand.
    Hookhost,
    /// Kubernetes' default, because no one gives a value.
    Kubernetes,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Chart => f.write_str("chart"),
            Source::Operation => f.write_str("Operation"),
            Source::Policies(names) if names.len() == 1 => write!(f, "policy {}", names[0]),
            Source::Policies(names) => write!(f, "policies {}", text::list(names)),
            Source::Hookhost => f.write_str("hookhost"),
            Source::Kubernetes => f.write_str("Kubernetes"),
        }
    }
}

/// The values before any policy is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Seconds the run may take.
    pub active_deadline_seconds: Given,
    /// Retries before the Job counts as failed.
    pub backoff_limit: Given,
    /// Seconds a finished Job is kept.
    pub ttl_seconds_after_finished: Given,
    /// The labels of the chart's pod template: the chart's word, which no policy may change.
    pub chart_labels: BTreeMap<String, String>,
}

/// What all policies together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Every policy that answered, sorted, each build once.
    pub policies: Vec<PolicyUse>,
    /// What follows from the answers.
    pub outcome: Outcome,
}

/// What follows from the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The hook may run with these values.
    Allowed(Box<Solved>),
    /// At least one policy refuses. All refusals, sorted by policy.
    Denied(Vec<Refusal>),
    /// No policy refuses, at least one postpones. All of them, sorted by policy.
    Held {
        /// Seconds from the request's `now` after which the last of them may be asked again.
        retry_after_seconds: u32,
        /// Who postpones, and why.
        holds: Vec<Refusal>,
    },
    /// The policies allow, but what they demand cannot all be true. Every contradiction, sorted by field.
    Contradictory(Vec<Conflict>),
}

/// One policy's refusal or postponement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Refusal {
    /// The policy's name.
    pub policy: String,
    /// Its word for programs.
    pub reason: String,
    /// Its words for people, on one line.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}: {}", text::quote(&self.policy), self.reason)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Every value of the Job that policies have a say in, with its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solved {
    /// Seconds the run may take; none is no limit.
    pub active_deadline_seconds: Effective,
    /// Retries before the Job counts as failed; none is Kubernetes' default.
    pub backoff_limit: Effective,
    /// Seconds a finished Job is kept; never none.
    pub ttl_seconds_after_finished: Effective,
    /// Labels for the Job and its pods.
    pub labels: BTreeMap<String, Entry>,
    /// Annotations for the Job.
    pub annotations: BTreeMap<String, Entry>,
}

impl Verdict {
    /// What the verdict refuses; none where it allows the run. A denial and a contradiction are final, since the same
    /// request always gets the same decision; a hold is asked about again when its policies say.
    pub fn refusal(&self) -> Option<refusal::Refusal> {
        let message = || self.to_string();
        match self.outcome {
            Outcome::Allowed(_) => None,
            Outcome::Denied(_) => Some(refusal::Refusal::fail(Reason::PolicyDenied, message())),
            Outcome::Contradictory(_) => Some(refusal::Refusal::fail(Reason::PolicyConflict, message())),
            Outcome::Held { retry_after_seconds, .. } => {
                Some(refusal::Refusal::retry_after(retry_after_seconds, Reason::PolicyHeld, message()))
            }
        }
    }

    /// Why the hook may not run now; none if it may.
    pub fn reason(&self) -> Option<Reason> {
        match &self.outcome {
            Outcome::Allowed(_) => None,
            Outcome::Denied(_) => Some(Reason::PolicyDenied),
            Outcome::Held { .. } => Some(Reason::PolicyHeld),
            Outcome::Contradictory(_) => Some(Reason::PolicyConflict),
        }
    }

    /// The settled values, if the hook may run.
    pub fn solved(&self) -> Option<&Solved> {
        match &self.outcome {
            Outcome::Allowed(solved) => Some(solved),
            _ => None,
        }
    }
}

/// The verdict in one line, fit for a condition's message.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn join<T: fmt::Display>(items: &[T]) -> String {
            items.iter().map(T::to_string).collect::<Vec<_>>().join("; ")
        }
        match &self.outcome {
            Outcome::Allowed(_) if self.policies.is_empty() => f.write_str("allowed: no policy applies"),
            Outcome::Allowed(_) => write!(f, "allowed by {}", text::list(&names(&self.policies))),
            Outcome::Denied(denials) => write!(f, "denied by {}", join(denials)),
            Outcome::Held { retry_after_seconds, holds } => {
                let pause = duration::show(Duration::from_secs((*retry_after_seconds).into()));
                write!(f, "held for {pause} by {}", join(holds))
            }
            Outcome::Contradictory(conflicts) => write!(
                f,
                "the policies demand what cannot all be true: {}. Change one of the policies' settings",
                join(conflicts)
            ),
        }
    }
}

fn names(policies: &[PolicyUse]) -> Vec<&str> {
    let mut names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
    names.dedup();
    names
}

/// Solves all answers into one verdict.
pub fn solve(base: &Base, answers: &[Answer]) -> Verdict {
    // One order for everything below: whatever is listed is then the same for every order of the answers.
    let mut answers: Vec<&Answer> = answers.iter().collect();
    answers.sort_unstable();
    answers.dedup();

    let mut policies: Vec<PolicyUse> = answers
        .iter()
        .map(|answer| PolicyUse { name: answer.policy.clone(), digest: answer.digest.clone() })
        .collect();
    policies.dedup();
    Verdict { policies, outcome: outcome(base, &answers) }
}

fn outcome(base: &Base, answers: &[&Answer]) -> Outcome {
    let refusal = |policy: &str, reason: &str, message: &str| Refusal {
        policy: policy.to_owned(),
        reason: reason.to_owned(),
        message: text::printable(message),
    };
    let (mut denials, mut holds, mut allows) = (Vec::new(), Vec::new(), Vec::new());
    let mut retry_after_seconds = 0;
    for Answer { policy, decision, .. } in answers {
        match decision {
            Decision::Deny(denial) => denials.push(refusal(policy, &denial.reason, &denial.message)),
            Decision::Hold(hold) => {
                retry_after_seconds = retry_after_seconds.max(hold.retry_after_seconds);
                holds.push(refusal(policy, &hold.reason, &hold.message));
            }
            Decision::Allow(overrides) => allows.push((policy.as_str(), overrides)),
        }
    }
    denials.sort_unstable();
    denials.dedup();
    holds.sort_unstable();
    holds.dedup();
    if !denials.is_empty() {
        return Outcome::Denied(denials);
    }
    if !holds.is_empty() {
        return Outcome::Held { retry_after_seconds, holds };
    }

    let mut conflicts = Vec::new();
    let numbers = numbers::solve(base, &allows, &mut conflicts);
    let labels = entries::solve_labels(&base.chart_labels, &allows, &mut conflicts);
    let annotations = entries::solve_annotations(&allows, &mut conflicts);
    if !conflicts.is_empty() {
        conflicts.sort_unstable();
        return Outcome::Contradictory(conflicts);
    }
    let [active_deadline_seconds, backoff_limit, ttl_seconds_after_finished] = numbers;
    Outcome::Allowed(Box::new(Solved {
        active_deadline_seconds,
        backoff_limit,
        ttl_seconds_after_finished,
        labels,
        annotations,
    }))
}
