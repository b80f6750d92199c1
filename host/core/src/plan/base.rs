//! The values before any policy is heard: the Operation's, else the chart's, else hookhost's or Kubernetes' default.

use crate::request::Request;
use crate::verdict::{Base, Given, Source, TTL_DEFAULT};
use hookhost_helm::workload::{BadNumber, Workload};

/// `is_step`: the run is one of several, whose whole time the Operation gives. That bounds the chart's own deadline, and does not
/// replace it: what of the whole time one hook does not need the others may.
pub(super) fn base(request: &Request, is_step: bool) -> Result<Base, BadNumber> {
    let workload = Workload::of(&request.hook.manifest);
    // From the manifest, not from request.hook.declared: what is kept of the chart must be what the chart says.
    let declared = workload.declared()?;
    let requested = &request.requested;
    let given = |requested: Option<i64>, declared: Option<i64>, otherwise: Given| {
        let requested = requested.map(|value| Given::value(value, Source::Operation));
        requested.or(declared.map(|value| Given::value(value, Source::Chart))).unwrap_or(otherwise)
    };
    let own = declared.active_deadline_seconds;
    let requested_deadline =
        requested.active_deadline_seconds.filter(|whole| !(is_step && own.is_some_and(|own| own <= *whole)));
    // Helm runs a Pod once, so a Job made of it retries nothing, unless the chart wants the kubelet to restart its
    // containers: a Job counts those restarts as retries and would end at the first.
    let runs_once = workload.is_pod() && workload.restart_policy() != Some("OnFailure");
    let backoff =
        if runs_once { Given::value(0, Source::Hookhost) } else { Given::absent(workload.backoff_default()) };
    Ok(Base {
        active_deadline_seconds: given(requested_deadline, own, Given::absent(i64::MAX)),
        backoff_limit: given(
            requested.backoff_limit.map(i64::from),
            declared.backoff_limit.map(i64::from),
            backoff,
        ),
        // Never the chart's: its ttl is about Helm's own Job, and a short one would take the result away.
        ttl_seconds_after_finished: given(
            requested.ttl_seconds_after_finished.map(i64::from),
            None,
            Given::value(TTL_DEFAULT, Source::Hookhost),
        ),
        chart_labels: workload.pod_labels(),
    })
}
