//! An Operation's *target* in the cluster, and the release that it has: found on the same way as by the controller.

use anyhow::Result;
use hookhost_cluster::client::{self, Call, Connection, Error, Verb};
use hookhost_core::HasReason as _;
use hookhost_core::Refusal;
use hookhost_core::operation::Operation;
use hookhost_core::plan::Warning;
use hookhost_core::request::Target;
use hookhost_core::target::{
    self, Applier, HelmRelease, Instance, Namesake, ObjectName, Readiness, RecordRef, TargetKind,
};
use hookhost_helm::record::Record;
use kube::Api;
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use crate::cluster;
use crate::problem::Problem;

/// What an Operation's target turned out to be.
pub(in crate::commands) struct Found {
    pub(in crate::commands) target: Target,
    pub(in crate::commands) record: Record,
    /// What to know of a newer revision of the release.
    pub(in crate::commands) warning: Option<Warning>,
    /// Whether Flux's digest vouches for the record.
    pub(in crate::commands) is_verified: bool,
    /// As which service account Flux applies the release, where the HelmRelease names one.
    pub(in crate::commands) applier: Option<Applier>,
}

/// Finds the target and reads its release's record, with every check that the controller makes on the way.
pub(in crate::commands) async fn resolve(
    connection: &Connection,
    operation: &Operation,
    namespace: &str,
) -> Result<Found> {
    let name = &operation.target_ref.name;
    let kind = TargetKind::of(&operation.target_ref).map_err(problem)?;
    let mut described = Target { kind: kind.kind().to_owned(), name: name.clone(), ..Target::default() };
    let mut named = None;
    let release = match kind {
        TargetKind::ApplicationInstance => {
            let instance = instance(connection, namespace, name).await?;
            let Some(instance) = instance else {
                return Err(missing(connection, kind, namespace, name).await);
            };
            instance.check(operation.type_of, Readiness::Required).map_err(problem)?;
            described.labels.clone_from(&instance.labels);
            described.annotations.clone_from(&instance.annotations);
            let release = instance.helm_release.clone();
            named = Some(instance);
            release
        }
        TargetKind::HelmRelease => ObjectName { namespace: namespace.to_owned(), name: name.clone() },
        TargetKind::Release => {
            check_plain(connection, namespace, name).await?;
            let stored = cluster::revisions(connection, namespace, name).await?;
            if stored.is_empty() {
                return Err(missing(connection, kind, namespace, name).await);
            }
            let revision = target::deployed_revision(name, &stored).map_err(problem)?;
            let at = RecordRef { namespace, release: name, revision, snapshot: None };
            return Ok(Found {
                target: described,
                record: record(connection, &at).await?,
                // A newer one that is not deployed is refused.
                warning: None,
                is_verified: false,
                applier: None,
            });
        }
    };
    let resource = resource(TargetKind::HelmRelease, "helmreleases");
    let object =
        read(connection, TargetKind::HelmRelease, &resource, &release.namespace, &release.name).await?;
    let Some(object) = object else {
        return Err(match kind {
            TargetKind::HelmRelease => missing(connection, kind, namespace, name).await,
            _ => problem(target::no_helm_release(&release)).into(),
        });
    };
    let release = HelmRelease::from_json(&object).map_err(|error| problem(error.into()))?;
    match (&release.owner, &named) {
        (Some(owner), Some(named)) => owner.check_is(&release, named).map_err(problem)?,
        (Some(owner), None) => {
            let instance = instance(connection, &release.namespace, &owner.name).await?;
            owner
                .check(&release, instance.as_ref(), operation.type_of, Readiness::Required)
                .map_err(problem)?;
        }
        (None, _) => {}
    }
    let record = record(connection, &release.current().map_err(problem)?).await?;
    let applier = release.applier(None);
    if kind == TargetKind::HelmRelease {
        (described.labels, described.annotations) = (release.labels, release.annotations);
    }
    Ok(Found { target: described, record, warning: None, is_verified: true, applier })
}

/// Whether a release is one of Helm's own, and none that a HelmRelease of its namespace makes. Whoever plans need not be allowed to
/// see those: then the controller finds out.
async fn check_plain(connection: &Connection, namespace: &str, name: &str) -> Result<()> {
    let resource = resource(TargetKind::HelmRelease, "helmreleases");
    let call = Call::of_resource(Verb::List, &resource, Some(namespace), "");
    let api: Api<DynamicObject> = Api::namespaced_with(connection.requests.clone(), namespace, &resource);
    let all = match client::read(&call, api.list(&ListParams::default())).await {
        Ok(all) => all.items,
        Err(Error::Forbidden { .. } | Error::KindMissing { .. }) => return Ok(()),
        Err(error) => {
            return Err(cluster::problem(format!("cannot look for the HelmRelease of {name}"), error).into());
        }
    };
    for object in all {
        let object = serde_json::to_string(&object)?;
        target::refuse_plain(&object, namespace, name).map_err(problem)?;
    }
    Ok(())
}

/// The record, if it is the one that was meant.
async fn record(connection: &Connection, at: &RecordRef<'_>) -> Result<Record> {
    // Helm begins an upgrade by storing the next revision, long before the HelmRelease tells.
    let successor = at.successor_name();
    let (value, is_upgrading) = futures::try_join!(
        cluster::stored(connection, at.namespace, at.release, at.revision),
        cluster::exists(connection, at.namespace, &successor),
    )?;
    if is_upgrading {
        return Err(problem(target::successor_exists(at)).into());
    }
    let read = match at.snapshot {
        Some(snapshot) => Record::read_verified(&value, snapshot).map(|(record, how)| (record, Some(how))),
        None => Record::read_secret_value(&value).map(|record| (record, None)),
    };
    let (record, verification) =
        read.map_err(|error| Problem::new(error.reason(), format!("cannot read {at}")).with_source(error))?;
    target::check_record(&record, at).map_err(problem)?;
    if let Some(verification) = verification {
        target::check_verified(at, &verification).map_err(problem)?;
    }
    Ok(record)
}

/// An ApplicationInstance; none if there is none of that name.
async fn instance(connection: &Connection, namespace: &str, name: &str) -> Result<Option<Instance>> {
    let resource = resource(TargetKind::ApplicationInstance, "applicationinstances");
    let object = read(connection, TargetKind::ApplicationInstance, &resource, namespace, name).await?;
    Ok(object.as_ref().map(Instance::from_json).transpose().map_err(|error| problem(error.into()))?)
}

/// The resource of a kind, by its plural.
fn resource(kind: TargetKind, plural: &str) -> ApiResource {
    let (group, version) = kind.api_version().split_once('/').unwrap_or(("", kind.api_version()));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.kind()), plural)
}

/// An object as JSON; none if there is none of that name.
async fn read(
    connection: &Connection,
    kind: TargetKind,
    resource: &ApiResource,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>> {
    let call = Call::of_resource(Verb::Get, resource, Some(namespace), name);
    let api: Api<DynamicObject> = Api::namespaced_with(connection.requests.clone(), namespace, resource);
    match client::read(&call, api.get(name)).await {
        // As far as the controller reads it.
        Ok(object) => {
            let found = target::stored(kind, &serde_json::to_string(&object)?);
            Ok(found.map_err(|error| problem(error.into()))?)
        }
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => {
            Err(cluster::problem(format!("cannot read the Operation's target {name}"), error).into())
        }
    }
}

/// Why there is no such target, with what else is there by its name, as far as the person may see that.
async fn missing(connection: &Connection, kind: TargetKind, namespace: &str, name: &str) -> anyhow::Error {
    let namesake = namesake(connection, kind, namespace, name).await.map(Namesake::Target);
    let at = ObjectName { namespace: namespace.to_owned(), name: name.to_owned() };
    problem(target::missing(kind, &at, namesake))
        .with_advice("-n names another namespace, where the Operation's file does not.")
        .into()
}

async fn namesake(
    connection: &Connection,
    missing: TargetKind,
    namespace: &str,
    name: &str,
) -> Option<TargetKind> {
    for (kind, plural) in
        [(TargetKind::ApplicationInstance, "applicationinstances"), (TargetKind::HelmRelease, "helmreleases")]
    {
        if kind != missing
            && matches!(read(connection, kind, &resource(kind, plural), namespace, name).await, Ok(Some(_)))
        {
            return Some(kind);
        }
    }
    if missing == TargetKind::Release {
        return None;
    }
    let revisions = cluster::revisions(connection, namespace, name).await;
    let is_plain = revisions.is_ok_and(|revisions| !revisions.is_empty());
    (is_plain && check_plain(connection, namespace, name).await.is_ok()).then_some(TargetKind::Release)
}

/// Why the controller would not run the Operation now.
fn problem(refusal: Refusal) -> Problem {
    Problem::new(refusal.reason, refusal.message)
}
