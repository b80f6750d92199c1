//! A request is built from what was read: the Operation, the release record, the hook.

use jiff::Timestamp;

use super::{Hook, Operation, Release, Request, Target};
use crate::closure::{self, ClosureError, closure};
use crate::operation;
use crate::reason::{HasReason, Reason};
use crate::refusal::Refusal;
use hookhost_helm::hook;
use hookhost_helm::record::Record;
use hookhost_helm::workload::{BadNumber, Workload, entries};

/// What a request is built from.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The Operation.
    pub operation: &'a operation::Operation,
    /// spec.approvals.approvedBy, once the approval has been verified.
    pub approved_by: Option<String>,
    /// What its targetRef names.
    pub target: Target,
    /// The release, as its record has it.
    pub release: Release,
    /// The hook that the Operation names, with its manifest: see [`selection`](crate::selection).
    pub hook: &'a hook::Hook,
    /// The release's other hooks, with their manifests: at least all that the hook needs.
    pub hooks: &'a [hook::Hook],
    /// The organisation that owns the Operation's namespace.
    pub organisation: String,
    /// The id of the cluster, empty where none is set.
    pub cluster_id: String,
    /// When the decision is asked for.
    pub now: Timestamp,
}

/// Why no request could be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A number in the chart's manifest is wrong.
    #[error(transparent)]
    Number(#[from] BadNumber),
    /// The hook needs too many others.
    #[error(transparent)]
    Closure(#[from] ClosureError),
}

impl BuildError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            BuildError::Number(error) => error.reason(),
            BuildError::Closure(error) => error.reason(),
        }
    }
}

impl From<&Record> for Release {
    fn from(record: &Record) -> Release {
        Release {
            name: record.name.clone(),
            namespace: record.namespace.clone(),
            revision: record.revision,
            chart: record.chart.name.clone(),
            chart_version: record.chart.version.clone(),
            app_version: record.chart.app_version.clone(),
            first_deployed: record.first_deployed,
            last_deployed: record.last_deployed,
        }
    }
}

impl Request {
    /// Builds the request that every policy is asked. Its size is held to the contract where it is passed to them: without a
    /// policy nobody minds.
    pub fn build(inputs: Inputs<'_>) -> Result<Request, BuildError> {
        let Inputs { operation, approved_by, target, release, hook, hooks, organisation, cluster_id, now } =
            inputs;
        let workload = Workload::of(&hook.manifest);
        Ok(Request {
            operation: Operation {
                name: operation.name.clone(),
                // As with kubectl, where the file leaves the namespace open the command decides it.
                namespace: operation.namespace.clone().unwrap_or_else(|| release.namespace.clone()),
                uid: operation.uid.clone().unwrap_or_default(),
                type_of: operation.type_of.as_str().to_owned(),
                labels: operation.labels.clone(),
                annotations: operation.annotations.clone(),
                created: operation.created.unwrap_or(now),
                parameters: operation.raw_parameters.clone(),
                approved_by,
            },
            target,
            organisation,
            cluster_id,
            hook: Hook {
                name: hook.name.clone(),
                kind: hook.kind.clone(),
                events: hook.events.clone(),
                weight: hook.weight,
                delete_policies: hook.delete_policies.clone(),
                labels: entries(&hook.manifest, "metadata.labels"),
                annotations: entries(&hook.manifest, "metadata.annotations"),
                service_account: workload.service_account().to_owned(),
                containers: workload.containers(),
                declared: workload.declared()?,
                closure: closure::describe(&closure(workload, &release.namespace, hooks)?)?,
                manifest: hook.manifest.clone(),
            },
            release,
            requested: operation.parameters.numbers,
            now,
        })
    }
}

impl From<BuildError> for Refusal {
    fn from(error: BuildError) -> Refusal {
        Refusal::of_error(error.reason(), &error)
    }
}
