//! *Metrics* are what a dashboard and an alert see of this process, in OpenMetrics text at `/metrics`.
//!
//! The operators' reference (`docs/src/reference/reported.md`) lists them all, with type, labels and meaning.
//!
//! Every label has few values: phases, reasons, verbs, resources and outcomes are words of the code. Only policies have
//! names from outside; of those, [`MAX_POLICIES`] are counted apart and the rest together as `other`.

#[cfg(test)]
mod tests;

use hookhost_cluster::observe::{Observe, WriteOutcome};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use strum::IntoStaticStr;

use hookhost_cluster::client::Call;

/// Policies whose answers are counted apart: more than an organisation has, and few enough for any Prometheus.
pub const MAX_POLICIES: usize = 200;
/// The label of all others.
const OTHER: &str = "other";

/// What the text is, for the header Content-Type.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of this process. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    leader: Gauge,
    transitions: Family<TransitionLabels, Counter>,
    in_flight: Family<PhaseLabels, Gauge>,
    decisions: Family<DecisionLabels, Counter>,
    decision_duration: Histogram,
    reconcile_duration: Histogram,
    reconcile_errors: Family<ReasonLabels, Counter>,
    job_creation_delay: Histogram,
    queue_depth: Gauge,
    api_writes: Family<WriteLabels, Counter>,
    events_dropped: Family<CauseLabels, Counter>,
    /// The policies that are counted apart.
    policies: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TransitionLabels {
    phase: String,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CauseLabels {
    cause: EventLoss,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    policy: String,
    outcome: DecisionOutcome,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    resource: String,
    outcome: &'static str,
}

/// What a policy answered.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum DecisionOutcome {
    /// The run may go on.
    Allow,
    /// It may not.
    Deny,
    /// Not now.
    Hold,
    /// The policy gave no answer: it cannot be loaded, timed out, trapped.
    Error,
}

impl EncodeLabelValue for DecisionOutcome {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        <&str>::from(*self).encode(encoder)
    }
}

/// Why an Event was not made.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum EventLoss {
    /// Too many waited already.
    Full,
    /// The API server did not take it, or the process ended first.
    Refused,
}

impl EncodeLabelValue for EventLoss {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        <&str>::from(*self).encode(encoder)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Metrics that start at nothing.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("hookhost");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running version", version);
        // 100 µs to 0.8 s: a decision takes some ten microseconds a policy, at most its timeout.
        let decision_duration = Histogram::new(exponential_buckets(0.0001, 2.0, 14));
        // 1 ms to 65 s: a reconcile is a few requests, each with a limit of 35 s at most.
        let reconcile_duration = Histogram::new(exponential_buckets(0.001, 2.0, 17));
        // 0.25 s to 17 min: from at once to a long queue.
        let job_creation_delay = Histogram::new(exponential_buckets(0.25, 2.0, 13));
        let mut inner = Inner {
            registry,
            leader: Gauge::default(),
            transitions: Family::default(),
            in_flight: Family::default(),
            decisions: Family::default(),
            decision_duration,
            reconcile_duration,
            reconcile_errors: Family::default(),
            job_creation_delay,
            queue_depth: Gauge::default(),
            api_writes: Family::default(),
            events_dropped: Family::default(),
            policies: Mutex::default(),
        };
        inner.register();
        Metrics(Arc::new(inner))
    }

    /// An Operation entered a phase, for a reason.
    ///
    /// Both are words of the status that hookhost has just written.
    pub fn transition(&self, phase: &str, reason: &str) {
        let labels = TransitionLabels { phase: phase.to_owned(), reason: reason.to_owned() };
        self.0.transitions.get_or_create(&labels).inc();
    }

    /// So many Operations are in this phase now and not finished.
    pub fn set_in_flight(&self, phase: &'static str, count: usize) {
        self.0.in_flight.get_or_create(&PhaseLabels { phase }).set(gauge(count));
    }

    /// A policy was asked and answered so.
    pub fn decision(&self, policy: &str, outcome: DecisionOutcome) {
        let policy = self.policy_label(policy);
        self.0.decisions.get_or_create(&DecisionLabels { policy, outcome }).inc();
    }

    /// A policy is gone, and its counts with it.
    pub fn forget_policy(&self, policy: &str) {
        let known = self.0.policies.lock().remove(policy);
        if known {
            for outcome in
                [DecisionOutcome::Allow, DecisionOutcome::Deny, DecisionOutcome::Hold, DecisionOutcome::Error]
            {
                self.0.decisions.remove(&DecisionLabels { policy: policy.to_owned(), outcome });
            }
        }
    }

    /// All policies of an Operation were asked, and it took so long.
    pub fn decided(&self, took: Duration) {
        self.0.decision_duration.observe(took.as_secs_f64());
    }

    /// A reconcile took so long.
    pub fn reconciled(&self, took: Duration) {
        self.0.reconcile_duration.observe(took.as_secs_f64());
    }

    /// A reconcile failed and is tried again.
    pub fn reconcile_error(&self, reason: hookhost_core::Reason) {
        self.0.reconcile_errors.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// A Job was created so long after its Operation.
    pub fn job_created(&self, after: Duration) {
        self.0.job_creation_delay.observe(after.as_secs_f64());
    }

    /// So many Operations wait to be reconciled.
    pub fn set_queue_depth(&self, depth: usize) {
        self.0.queue_depth.set(gauge(depth));
    }

    /// An Event will not be made.
    pub fn event_dropped(&self, cause: EventLoss) {
        self.0.events_dropped.get_or_create(&CauseLabels { cause }).inc();
    }

    /// All metrics as OpenMetrics text, of type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let mut encoded = String::new();
        // Only a writer that fails makes this fail, and a String does not.
        let _ = text::encode(&mut encoded, &self.0.registry);
        encoded
    }

    fn policy_label(&self, policy: &str) -> String {
        let mut policies = self.0.policies.lock();
        if policies.contains(policy) {
            return policy.to_owned();
        }
        if policies.len() < MAX_POLICIES {
            policies.insert(policy.to_owned());
            return policy.to_owned();
        }
        OTHER.to_owned()
    }
}

impl Inner {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("leader", "1 while this process holds the lease", self.leader.clone());
        registry.register(
            "operation_transitions",
            "Operations that entered a phase, by reason",
            self.transitions.clone(),
        );
        registry.register(
            "operations_in_flight",
            "Operations that are not finished, by phase",
            self.in_flight.clone(),
        );
        registry.register(
            "policy_decisions",
            "Answers of policies, by policy and outcome",
            self.decisions.clone(),
        );
        registry.register(
            "decision_duration_seconds",
            "Asking all policies of one Operation and folding their answers",
            self.decision_duration.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "One reconcile of one Operation, API requests included",
            self.reconcile_duration.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciles that failed and are tried again, by reason",
            self.reconcile_errors.clone(),
        );
        registry.register(
            "job_creation_delay_seconds",
            "From an Operation's creation to its Job's, for those that nothing blocked",
            self.job_creation_delay.clone(),
        );
        registry.register("queue_depth", "Operations that wait to be reconciled", self.queue_depth.clone());
        registry.register(
            "api_writes",
            "Writes to the API server, by verb, resource and outcome",
            self.api_writes.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that nobody will see, by cause",
            self.events_dropped.clone(),
        );
    }
}

/// A count as a gauge has it.
fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Observe for Metrics {
    fn write(&self, call: &Call, outcome: WriteOutcome) {
        let (verb, resource) = (call.verb().as_str(), call.resource());
        let labels = WriteLabels { verb, resource, outcome: outcome.as_str() };
        self.0.api_writes.get_or_create(&labels).inc();
    }

    fn leads(&self, is_leader: bool) {
        self.0.leader.set(is_leader.into());
    }
}
