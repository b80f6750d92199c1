//! What the arguments of `hookhost plan` resolve to: release found, files read and checked, the request built, policies
//! loaded.

use std::path::Path;

use anyhow::{Context, Result};
use hookhost_cluster::operation::TargetKey;
use hookhost_core::Reason;
use hookhost_core::operation::{Operation, TargetRef};
use hookhost_core::plan::Warning;
use hookhost_core::request::Target;
use hookhost_core::selection::Selection;
use hookhost_core::target::Applier;
use hookhost_helm::record::Record;
use hookhost_helm::status::Status;
use hookhost_helm::text::quote;
use jiff::Timestamp;
use serde::Deserialize;

use super::Args;
use super::asked::{self, Asked};
use super::hook_policies::HookPolicies;
use super::in_cluster;
use super::runs::{Common, Run, Runs};
use super::target::{Chosen, Found};
use crate::cluster::{self, Place};
use crate::policies;
use crate::problem::Problem;
use crate::record::Release;

/// Everything that a plan is made from.
pub(super) struct Inputs {
    pub(super) operation: Operation,
    /// The hook, or all of the event in their order.
    pub(super) runs: Vec<Run>,
    pub(super) policies: Vec<Asked>,
    /// Those of the cluster.
    pub(super) hook_policies: Option<HookPolicies>,
    /// What is odd about the Operation and the release as they were given.
    pub(super) warnings: Vec<Warning>,
    /// Whether the controller would let the Operation wait now, which a warning says.
    pub(super) is_blocked: bool,
}

/// Reads and checks everything. What a person wrote comes first, since it is most often wrong.
pub(super) fn resolve(args: Args) -> Result<Inputs> {
    let Args {
        operation,
        release,
        revision,
        policies,
        target,
        organisation,
        cluster_id,
        now,
        show_secrets: _,
        output: _,
        place,
    } = args;
    let mut operation = read_operation(&operation)?;
    let given = Given {
        target: target.map(|path| read_target(&path, &operation)).transpose()?,
        organisation,
        cluster_id,
        now: now.unwrap_or_else(Timestamp::now),
    };
    let policies = asked::load(&policies)?;
    let Runs { runs, warnings, is_blocked, hook_policies } = match release {
        Some(release) => {
            let (found, warning) = read_release(&release, revision, place, &operation)?;
            let of = Planned::new(found, &operation)?;
            let common = given.common(&of, &operation, &policies);
            let runs = common.runs(&common.candidates()?, None, None)?;
            of.warned(warning, runs)
        }
        None => {
            let place = place_of(place, &operation)?;
            cluster::block_on(async {
                let connection =
                    place.connect().await.context("no --release is given, so the target is looked for")?;
                in_cluster::find(&connection, &mut operation, given, &policies).await
            })?
        }
    };
    Ok(Inputs { policies, hook_policies, operation, runs, warnings, is_blocked })
}

/// What the arguments say of a plan besides the Operation and its release.
pub(super) struct Given {
    target: Option<Target>,
    organisation: Option<String>,
    cluster_id: String,
    now: Timestamp,
}

impl Given {
    pub(super) fn common<'a>(
        self,
        of: &'a Planned,
        operation: &'a Operation,
        policies: &'a [Asked],
    ) -> Common<'a> {
        let namespace = operation.namespace.as_ref().unwrap_or(&of.namespace);
        Common {
            operation,
            policies,
            target: self.target.unwrap_or_else(|| of.target.clone()),
            selection: &of.selection,
            organisation: self.organisation.unwrap_or_else(|| namespace.clone()),
            cluster_id: self.cluster_id,
            now: self.now,
            is_verified: of.is_verified,
            applier: of.applier.as_ref(),
        }
    }
}

/// The release that a plan is made from, and what of it.
pub(super) struct Planned {
    target: Target,
    /// Namespace of the release.
    namespace: String,
    pub(super) selection: Selection,
    is_verified: bool,
    pub(super) applier: Option<Applier>,
    pub(super) names: Vec<TargetKey>,
    warnings: Vec<Warning>,
    /// Whether the Operation itself keeps its run waiting.
    is_blocked: bool,
}

impl Planned {
    pub(super) fn new(found: Found, operation: &Operation) -> Result<Planned> {
        let Found { target, chosen, is_verified, applier, names } = found;
        let Chosen { release, namespace, selection, warnings } = chosen;
        let selection = selection.map_err(|refusal| {
            let message = format!("the release {release} cannot serve the Operation");
            Problem::new(refusal.reason, message)
                .with_source(refusal)
                .with_advice("`hookhost hooks` lists the hooks of a release and says which can be run.")
        })?;
        let mut of = Planned {
            target,
            namespace,
            selection,
            is_verified,
            applier,
            names,
            warnings,
            is_blocked: false,
        };
        of.warn(operation);
        Ok(of)
    }

    /// Adds what is odd about the Operation and its release.
    fn warn(&mut self, operation: &Operation) {
        let warnings = &mut self.warnings;
        let mut warn = |code, message: String| warnings.push(Warning { code, message });
        operation.warnings().into_iter().for_each(|Warning { code, message }| warn(code, message));
        if let Some(refusal) = operation.refuse_restored() {
            self.is_blocked = true;
            warn(refusal.reason.as_str(), refusal.message);
        }
        if self.is_verified && !self.selection.hooks.iter().all(|selected| selected.hook.is_covered()) {
            let message = "Flux's digest does not cover test hooks: hookhost refuses this one, unless it was installed to run them \
                           anyway";
            warn("HookNotVerified", message.to_owned());
        }
        if let Some(approver) = &operation.approvals.approved_by {
            warn("ApprovalNotVerified", format!("the approval by {} is taken as given", quote(approver)));
        }
    }

    /// The runs with all warnings; `more` are of the release and of the cluster.
    pub(super) fn warned(mut self, more: impl IntoIterator<Item = Warning>, runs: Runs) -> Runs {
        self.warnings.extend(more);
        self.warnings.extend(runs.warnings);
        Runs { warnings: self.warnings, is_blocked: self.is_blocked || runs.is_blocked, ..runs }
    }
}

fn read_operation(path: &Path) -> Result<Operation> {
    let operation = Operation::from_json(policies::document(path, "Operation")?);
    Ok(operation.map_err(|error| {
        let message = format!("cannot use the Operation {}", path.display());
        Problem::new(error.reason(), message).with_source(error)
    })?)
}

/// The part of the target's object that policies see.
#[derive(Deserialize)]
struct TargetObject {
    kind: String,
    metadata: TargetMetadata,
}

#[derive(Deserialize)]
struct TargetMetadata {
    name: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// The release that is named. Of the target only that is known which the Operation says.
fn read_release(
    release: &Path,
    revision: Option<u32>,
    place: Place,
    operation: &Operation,
) -> Result<(Found, Option<Warning>)> {
    let release = Release::of(release);
    // A namespace says something of the Operation too.
    release.check_option(revision.map(|_| "--revision").or_else(|| place.which.given()))?;
    let namespace = place.namespace.or_else(|| operation.namespace.clone());
    let (record, warning) = release.read(&Place { namespace, ..place }, revision)?;
    check_status(&record)?;
    let TargetRef { kind, name, .. } = operation.target_ref.clone();
    let target = Target { kind, name, ..Target::default() };
    let chosen = Chosen::of(&record, operation);
    let found = Found { target, chosen, is_verified: false, applier: None, names: Vec::new() };
    Ok((found, warning))
}

/// The cluster and namespace in which the Operation's target is looked for.
fn place_of(place: Place, operation: &Operation) -> Result<Place> {
    if let (Some(given), Some(own)) = (&place.namespace, &operation.namespace)
        && given != own
    {
        let message = format!("the Operation is in the namespace {own}, but --namespace is {given}");
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Leave one of them away.")
            .into());
    }
    let namespace = place.namespace.or_else(|| operation.namespace.clone());
    Ok(Place { namespace, ..place })
}

fn read_target(path: &Path, operation: &Operation) -> Result<Target> {
    let (kind, name) = (&operation.target_ref.kind, &operation.target_ref.name);
    let place = format!("the target {}", path.display());
    let object: TargetObject = policies::typed(policies::document(path, "target")?, &place)?;
    let TargetObject { kind: found_kind, metadata } = object;
    if (&found_kind, &metadata.name) != (kind, name) {
        let message = format!(
            "{place} is the {found_kind} {}, but the Operation's target is the {kind} {name}",
            metadata.name
        );
        return Err(Problem::new(Reason::ValidationFailed, message).into());
    }
    Ok(Target {
        kind: found_kind,
        name: metadata.name,
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
    })
}

/// Refuses a record that a cluster would not run a hook of.
fn check_status(record: &Record) -> Result<(), Problem> {
    let Record { namespace, name, revision, status, .. } = record;
    let release = format!("the release {namespace}/{name}, revision {revision},");
    match status {
        Status::Uninstalled => Err(Problem::new(
            Reason::HookRequiresRelease,
            format!("{release} is uninstalled; hooks are run of deployed releases only"),
        )),
        status if status.is_pending() => {
            Err(Problem::new(Reason::ReleaseBusy, format!("{release} is {}", status.as_str()))
                .with_advice("Wait until Helm is done, then read the Secret of the deployed revision."))
        }
        _ => Ok(()),
    }
}
