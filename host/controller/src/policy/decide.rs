//! To *decide* is to ask each policy that matches, and to make of what they answer, or fail to, something that the plan
//! can be made from.

use std::time::{Duration, Instant};

use hookhost_core::verdict::Answer;
use hookhost_core::{Decision, Reason, Refusal, Request};
use hookhost_helm::text::quote;
use hookhost_sandbox::{Error, Evaluation, Level, LogLine, PreparedRequest};
use serde::{Serialize, Serializer};

use super::budget::Budget;
use super::library::Loaded;
use super::matching::Scope;
use super::problem::Problem;
use super::set::{Member, State};
use crate::crd::{FailurePolicy, Mode};

/// Seconds after which an Operation is looked at again whose policy ran out of time: what it waits for is a quieter
/// machine, which nobody announces.
const RETRY_TIMED_OUT: u32 = 30;
/// Seconds after which one is looked at again for which there was no room in the sandbox.
const RETRY_BUSY: u32 = 5;

/// What the policies that match say.
#[derive(Clone, Debug, Default)]
pub struct Decided {
    /// The answers that count, for [`plan`](hookhost_core::plan::plan).
    pub answers: Vec<Answer>,
    /// One for each policy that matches, in the order of their names.
    pub records: Vec<DecisionRecord>,
}

/// Why the policies say nothing that a plan could be made from.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Undecided {
    /// What becomes of the Operation.
    pub refusal: Refusal,
    /// One for each policy that matches, in the order of their names.
    pub records: Vec<DecisionRecord>,
}

impl From<Undecided> for Refusal {
    fn from(undecided: Undecided) -> Refusal {
        undecided.refusal
    }
}

/// What one policy was asked and answered, for logs and metrics.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// The HookPolicy's name.
    pub policy: String,
    /// The component's digest, "sha256:…"; none where there is none to ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What made the Operation match, in words; empty where the policy matches all.
    pub matched_by: Vec<String>,
    /// Whether its answer counts.
    pub effect: Effect,
    /// What it answered, or why it did not.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, in microseconds.
    #[serde(rename = "tookMicros", serialize_with = "micros")]
    pub took: Duration,
    /// The most memory it had, in bytes; 0 where it was not asked or gave no answer.
    pub peak_memory: usize,
}

/// Whether a policy's answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It counts.
    Enforced,
    /// It does not: the policy is in audit mode.
    Audited,
    /// It gave none, and that does not matter: its failurePolicy is Ignore.
    Ignored,
    /// It gave none, and without it nothing runs.
    Refused,
}

/// What a policy answered, or why it did not.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Its decision.
    Decision(Decision),
    /// Why there is none.
    #[serde(serialize_with = "problem")]
    Error(Problem),
}

fn micros<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

fn problem<S: Serializer>(problem: &Problem, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::json!({"reason": problem.reason.as_str(), "message": problem.message}).serialize(serializer)
}

/// A policy without an answer, and when to ask again.
struct Failure {
    problem: Problem,
    then: Again,
}

/// When a policy that gave no answer may give one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    /// Once somebody has changed the policy.
    Changed,
    /// After so many seconds.
    After(u32),
    /// Never: it is the request that no policy can be asked.
    Never,
}

/// What asking goes by.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) require_policy: bool,
    pub(super) budget: &'a Budget,
}

/// Asks all that match. `is_news` is called when how a policy does has changed.
pub(super) fn decide(
    members: &[Member],
    asking: Asking<'_>,
    request: &Request,
    scope: &Scope,
    is_news: impl Fn(),
) -> Result<Decided, Undecided> {
    let mut decided = Decided::default();
    let mut failures: Vec<(&str, Failure)> = Vec::new();
    // Made once, and only if somebody is asked.
    let mut prepared: Option<Result<PreparedRequest<'_>, Failure>> = None;
    for member in members {
        let Some(matched_by) = member.matcher.matches(request, scope) else { continue };
        let begun = Instant::now();
        let asked = match &member.state {
            State::Ready(loaded) => match prepared.get_or_insert_with(|| prepare(request)) {
                Ok(prepared) => {
                    let _share = asking.budget.take(loaded.policy.limits().memory());
                    ask(member, loaded, prepared, request, &is_news)
                }
                Err(failure) => Err(Failure { problem: failure.problem.clone(), then: failure.then }),
            },
            State::Loading => Err(unavailable("it is being loaded".into())),
            State::NotReady(problem) => Err(unavailable(format!("{}: {}", problem.reason, problem.message))),
        };
        let digest = match &member.state {
            State::Ready(loaded) => Some(loaded.digest.clone()),
            _ => None,
        };
        let effect = match (&asked, member.mode, &member.state, member.failure_policy) {
            (_, Mode::Audit, ..) => Effect::Audited,
            (Ok(_), ..) => Effect::Enforced,
            // What a policy that is about to be ready would say is worth waiting for.
            (Err(_), _, State::Loading, _) | (Err(_), _, _, FailurePolicy::Fail) => Effect::Refused,
            (Err(_), _, _, FailurePolicy::Ignore) => Effect::Ignored,
        };
        let (outcome, peak_memory) = match asked {
            Ok(Evaluation { decision, cost, .. }) => {
                if let (Effect::Enforced, Some(digest)) = (effect, &digest) {
                    let (policy, digest) = (member.name.clone(), digest.clone());
                    decided.answers.push(Answer { policy, digest, decision: decision.clone() });
                }
                (Outcome::Decision(decision), cost.peak_memory)
            }
            Err(failure) => {
                let outcome = Outcome::Error(failure.problem.clone());
                if effect == Effect::Refused {
                    failures.push((&member.name, failure));
                }
                (outcome, 0)
            }
        };
        let (policy, took) = (member.name.clone(), begun.elapsed());
        decided.records.push(DecisionRecord {
            policy,
            digest,
            matched_by,
            effect,
            outcome,
            took,
            peak_memory,
        });
    }
    conclude(decided, &failures, asking.require_policy)
}

fn conclude(
    decided: Decided,
    failures: &[(&str, Failure)],
    require_policy: bool,
) -> Result<Decided, Undecided> {
    // A denial stands, whatever a policy that could not be asked would have said.
    if decided.answers.iter().any(|answer| matches!(answer.decision, Decision::Deny(_))) {
        return Ok(decided);
    }
    let refusal = match failures {
        [] if decided.answers.is_empty() && require_policy => required(&decided.records),
        [] => return Ok(decided),
        [(_, first), ..] => {
            let words = failures.iter().map(|(name, failure)| {
                format!("policy {} cannot be asked: {}", quote(name), failure.problem)
            });
            let message = words.collect::<Vec<_>>().join("; ");
            let reason = first.problem.reason;
            match failures.iter().map(|(_, failure)| failure.then).max() {
                Some(Again::Never) => Refusal::fail(reason, message),
                Some(Again::After(seconds)) => Refusal::retry_after(seconds, reason, message),
                Some(Again::Changed) | None => Refusal::wait(reason, message),
            }
        }
    };
    Err(Undecided { refusal, records: decided.records })
}

/// Where no policy answered though one must.
fn required(records: &[DecisionRecord]) -> Refusal {
    let why = match records {
        [] => "no HookPolicy matches this Operation",
        _ => "of the HookPolicies that match this Operation none gave an answer that counts",
    };
    let message =
        format!("{why}, and hookhost is set to run nothing without one; add a HookPolicy that matches");
    Refusal::wait(Reason::PolicyRequired, message)
}

fn prepare(request: &Request) -> Result<PreparedRequest<'_>, Failure> {
    PreparedRequest::new(request)
        .map_err(|error| Failure { problem: Problem::from(&error), then: Again::Never })
}

fn unavailable(why: String) -> Failure {
    Failure { problem: Problem::new(Reason::PolicyUnavailable, why), then: Again::Changed }
}

/// Asks one policy.
fn ask(
    member: &Member,
    loaded: &Loaded,
    prepared: &PreparedRequest<'_>,
    request: &Request,
    is_news: &impl Fn(),
) -> Result<Evaluation, Failure> {
    match loaded.policy.evaluate(prepared, &loaded.settings) {
        Ok(evaluation) => {
            log(&member.name, &evaluation.logs);
            if member.health.answered() {
                is_news();
            }
            Ok(evaluation)
        }
        Err(error) => {
            log(&member.name, error.logs());
            let then = match &error {
                Error::Busy { .. } => Again::After(RETRY_BUSY),
                Error::TimedOut { .. } | Error::Host { .. } => Again::After(RETRY_TIMED_OUT),
                _ => Again::Changed,
            };
            let problem = Problem::from(&error);
            if !matches!(error, Error::Busy { .. } | Error::Host { .. }) {
                let operation = &request.operation;
                let told = || {
                    let message =
                        format!("for Operation {}/{}: {problem}", operation.namespace, operation.name);
                    Problem::new(problem.reason, message)
                };
                if member.health.failed(told, problem.reason) {
                    is_news();
                }
            }
            Err(Failure { problem, then })
        }
    }
}

/// What a policy logged, for its author.
fn log(policy: &str, lines: &[LogLine]) {
    for LogLine { level, message } in lines {
        match level {
            Level::Debug | Level::Info => tracing::debug!(policy, message, "a policy logged"),
            Level::Warn | Level::Error => tracing::info!(policy, message, "a policy logged"),
        }
    }
}
