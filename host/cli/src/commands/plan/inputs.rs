//! What the arguments of `hookhost plan` resolve to: release found, files read and checked, the request built, policies
//! loaded.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use hookhost_core::clone;
use hookhost_core::closure::{self as of_hook, Member};
use hookhost_core::dependency::references;
use hookhost_core::loan::{self, ByHelm, ClusterObject, Loan, Terms, Uncovered};
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::{Operation, TargetRef};
use hookhost_core::plan::{Staging, Warning, warnings_of_record};
use hookhost_core::request::{self, Target};
use hookhost_core::selection::{Selected, select};
use hookhost_core::step::Step;
use hookhost_core::{Reason, Request};
use hookhost_helm::hook;
use hookhost_helm::record::Record;
use hookhost_helm::status::Status;
use hookhost_helm::text::quote;
use hookhost_helm::workload::Workload;
use hookhost_sandbox::{Policy, Sandbox};
use jiff::Timestamp;
use serde::Deserialize;

use super::Args;
use super::target::{self, Found};
use super::{closure, hook_policies};
use crate::cluster::{self, Place};
use crate::policies;
use crate::problem::Problem;
use crate::record::Release;

/// Everything that a plan is made from.
pub(super) struct Inputs {
    pub(super) operation: Operation,
    /// The hook, or all of the event in their order.
    pub(super) runs: Vec<Run>,
    pub(super) policies: Vec<PolicyInUse>,
    /// What is odd about the Operation and the release as they were given.
    pub(super) warnings: Vec<Warning>,
}

/// A hook that is to be run.
pub(super) struct Run {
    pub(super) request: Request,
    pub(super) staging: Staging,
}

/// A policy that is to be asked.
pub(super) struct PolicyInUse {
    /// Its own name; with the settings' file where one policy is asked more than once.
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) policy: Policy,
    /// JSON text that the policy has accepted.
    pub(super) settings: String,
}

/// A policy's file and that of its settings, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyArgument {
    wasm: PathBuf,
    settings: Option<PathBuf>,
}

impl FromStr for PolicyArgument {
    type Err = Infallible;

    /// Splits at the "=" after ".wasm", so that both names may have one; without ".wasm" at the first.
    fn from_str(text: &str) -> Result<PolicyArgument, Infallible> {
        let end = text.find(".wasm=").map(|at| at + ".wasm".len()).or_else(|| text.find('='));
        let (wasm, settings) = match end {
            Some(end) => (&text[..end], Some(PathBuf::from(&text[end + 1..]))),
            None => (text, None),
        };
        Ok(PolicyArgument { wasm: wasm.into(), settings })
    }
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
    let given_target = target.map(|path| read_target(&path, &operation)).transpose()?;
    let Found { target, record, warning, is_verified, applier } = match release {
        Some(release) => read_release(&release, revision, place, &operation)?,
        None => find_release(place, &mut operation)?,
    };
    let target = given_target.unwrap_or(target);
    let selection = select(&record, &operation).map_err(|refusal| {
        let message = format!("the release {}/{} cannot serve the Operation", record.namespace, record.name);
        Problem::new(refusal.reason, message)
            .with_source(refusal)
            .with_advice("`hookhost hooks` lists the hooks of a release and says which can be run.")
    })?;
    let mut warnings = warnings_of_record(&record);
    warnings.extend(warning);
    warnings.extend(operation.warnings());
    if let Some(refusal) = operation.refuse_restored() {
        warnings.push(Warning { code: refusal.reason.as_str(), message: refusal.message });
    }
    let found = &selection.hooks;
    if is_verified && !found.iter().all(|selected| selected.hook.is_covered()) {
        let message = "Flux's digest does not cover test hooks: where hookhost was not told to run them anyway, it refuses \
                       this one";
        warnings.push(Warning { code: "HookNotVerified", message: message.to_owned() });
    }
    if let Some(approver) = &operation.approvals.approved_by {
        let message = format!("the approval by {} is taken as given", quote(approver));
        warnings.push(Warning { code: "ApprovalNotVerified", message });
    }
    if let Some(applier) = &applier {
        let message = format!(
            "Flux applies the release as the service account {} ({}): hookhost creates nothing that this account could not \
             create itself, and asks the API server for that before it does; this plan has not asked",
            quote(&applier.account.to_string()),
            applier.from
        );
        warnings.push(Warning { code: "ApplierNotAsked", message });
    }
    let namespace = operation.namespace.as_ref().unwrap_or(&record.namespace);
    let now = now.unwrap_or_else(Timestamp::now);
    let (mut runs, mut cluster_objects) = (Vec::new(), BTreeSet::new());
    for (n, Selected { hook, others }) in found.iter().enumerate() {
        let request = Request::build(request::Inputs {
            operation: &operation,
            approved_by: operation.approvals.approved_by.clone(),
            target: target.clone(),
            release: selection.release.clone(),
            hook,
            hooks: others,
            organisation: organisation.clone().unwrap_or_else(|| namespace.clone()),
            cluster_id: cluster_id.clone(),
            now,
        })
        .map_err(|error| {
            Problem::new(error.reason(), "cannot make the request for the policies").with_source(error)
        })?;
        let step = operation.parameters.whole_event().map(|_| Step { number: n + 1, of: found.len() });
        clone::check_name(&request, step, &selection.jobs).map_err(|error| {
            let message = format!("the Operation {} cannot be run", quote(&operation.name));
            Problem::new(error.reason(), message).with_source(error)
        })?;
        let applier = applier.as_ref().map(|applier| applier.account.name.as_str());
        let members = closure_of(&operation, &request, hook, others)?;
        warnings.extend(closure::warnings(&operation, &request, &members));
        cluster_objects.extend(closure::cluster_objects(&request, &members));
        let loans = loans(&operation, &request, hook, &members, is_verified, applier)?;
        let staging = Staging::after(runs.iter().map(|earlier: &Run| &earlier.staging), loans, step);
        runs.push(Run { request, staging });
    }
    warnings.extend(closure::value_needed(&cluster_objects));
    Ok(Inputs { policies: load(&policies)?, operation, runs, warnings })
}

/// The other hooks of the release that the hook needs.
fn closure_of<'h>(
    operation: &Operation,
    request: &'h Request,
    hook: &hook::Hook,
    hooks: &'h [hook::Hook],
) -> Result<Vec<Member<'h>>> {
    let what = || format!("it is not known what the hook {} needs", quote(&hook.name));
    let whole = of_hook::closure(Workload::of(&hook.manifest), &request.release.namespace, hooks)
        .map_err(|error| Problem::new(error.reason(), what()).with_source(error))?;
    Ok(loan::needed(hook, &whole, &references(&hook.manifest), operation.parameters.event.as_deref()))
}

/// What hookhost would make for the run, where the Operation asks for it, if nothing of what Helm deletes is in the cluster.
fn loans(
    operation: &Operation,
    request: &Request,
    hook: &hook::Hook,
    closure: &[Member<'_>],
    is_verified: bool,
    applier: Option<&str>,
) -> Result<Vec<Loan>> {
    if !operation.parameters.closure {
        return Ok(Vec::new());
    }
    let namespace = request.release.namespace.as_str();
    let what = || format!("the hook {} cannot have made what it needs", quote(&hook.name));
    // Which of them this cluster's hookhost may make, only that hookhost knows.
    let cluster_objects: Vec<ClusterObject> =
        closure.iter().filter_map(|member| ClusterObject::anywhere(member.kind, &member.hook.name)).collect();
    let uncovered = if is_verified { Uncovered::None } else { Uncovered::All };
    let event = operation.parameters.event.as_deref();
    let terms = Terms { namespace, cluster_objects: &cluster_objects, uncovered, applier, event, jobs: &[] };
    let revision = request.release.revision;
    let left: BTreeSet<ObjectRef> = closure
        .iter()
        .filter(|member| ByHelm::of(member.hook, revision) == ByHelm::Left)
        .map(ObjectRef::of)
        .collect();
    let found = |object: &ObjectRef| {
        if left.contains(object) || object.is_outside(namespace) {
            loan::Found::Kept
        } else {
            loan::Found::Missing
        }
    };
    loan::arrange(hook, closure, &terms, found)
        .map_err(|refusal| Problem::new(refusal.reason, what()).with_source(refusal).into())
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
fn read_release(release: &Path, revision: Option<u32>, place: Place, operation: &Operation) -> Result<Found> {
    let release = Release::of(release);
    // A namespace says something of the Operation too.
    release.check_option(revision.map(|_| "--revision").or_else(|| place.which.given()))?;
    let namespace = place.namespace.or_else(|| operation.namespace.clone());
    let (record, warning) = release.read(&Place { namespace, ..place }, revision)?;
    check_status(&record)?;
    let TargetRef { kind, name, .. } = operation.target_ref.clone();
    Ok(Found {
        target: Target { kind, name, ..Target::default() },
        record,
        warning,
        is_verified: false,
        applier: None,
    })
}

/// The release that the Operation's target has in the cluster.
fn find_release(place: Place, operation: &mut Operation) -> Result<Found> {
    if let (Some(given), Some(own)) = (&place.namespace, &operation.namespace)
        && given != own
    {
        let message = format!("the Operation is in the namespace {own}, but --namespace is {given}");
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Leave one of them away.")
            .into());
    }
    let namespace = place.namespace.or_else(|| operation.namespace.clone());
    let place = Place { namespace, ..place };
    cluster::block_on(async {
        let connection =
            place.connect().await.context("no --release is given, so the target is looked for")?;
        let (found, not_asked) = futures::join!(
            target::resolve(&connection, operation, &connection.namespace),
            hook_policies::not_asked(&connection)
        );
        let mut found = found?;
        found.warning = found.warning.or(not_asked);
        operation.namespace = Some(connection.namespace);
        Ok(found)
    })
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

fn load(arguments: &[PolicyArgument]) -> Result<Vec<PolicyInUse>> {
    if arguments.is_empty() {
        return Ok(Vec::new());
    }
    let sandbox = policies::sandbox()?;
    let mut in_use: Vec<PolicyInUse> =
        arguments.iter().map(|argument| load_one(&sandbox, argument)).collect::<Result<_>>()?;
    tell_apart(&mut in_use, arguments);
    let mut names: Vec<&str> = in_use.iter().map(|policy| policy.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            Err(Problem::new(Reason::UsageInvalid, format!("the policy {} is given twice", pair[0]))
                .with_advice("Give it once, or with different settings.")
                .into())
        }
        None => Ok(in_use),
    }
}

/// Gives every policy whose name is not its own the file of its settings beside it, so that no name depends on the order
/// of the arguments.
fn tell_apart(in_use: &mut [PolicyInUse], arguments: &[PolicyArgument]) {
    let names: Vec<String> = in_use.iter().map(|policy| policy.name.clone()).collect();
    for (policy, argument) in in_use.iter_mut().zip(arguments) {
        if names.iter().filter(|name| **name == policy.name).count() > 1 {
            let file = argument.settings.as_ref().unwrap_or(&argument.wasm);
            policy.name = format!("{} ({})", policy.name, file.display());
        }
    }
}

fn load_one(sandbox: &Sandbox, argument: &PolicyArgument) -> Result<PolicyInUse> {
    let PolicyArgument { wasm: path, settings } = argument;
    let settings = policies::settings(settings.as_ref())?;
    let (policy, _) = policies::load(sandbox, path)?;
    let described = policies::describe(&policy, &path.to_string_lossy())?;
    policies::check_settings(&policy, &described.name, &settings)?;
    Ok(PolicyInUse { name: described.name, digest: policies::digest(&policy), policy, settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_and_its_settings_are_told_apart() {
        let parsed = |text: &str| {
            let PolicyArgument { wasm, settings } = text.parse().unwrap();
            (wasm.display().to_string(), settings.map(|path| path.display().to_string()))
        };
        assert_eq!(parsed("cap.wasm"), ("cap.wasm".into(), None));
        assert_eq!(parsed("a=b/cap.wasm=c=d.yaml"), ("a=b/cap.wasm".into(), Some("c=d.yaml".into())));
        assert_eq!(parsed("cap=s.yaml"), ("cap".into(), Some("s.yaml".into())));
    }
}
