//! A *HelmRelease* (`helm.toolkit.fluxcd.io/v2`) is the wish that Flux keeps a Helm release; its status says which release
//! and revision there is, where its record is stored, and what the record must be.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::read::{Fields, annotations, metadata};
use super::{Applier, Condition, ObjectName, Owner, RecordRef, TargetError};
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::snapshot::Snapshot;
use hookhost_helm::status::Status;
use hookhost_helm::text::printable;
use hookhost_helm::workload::entries;

/// Entries of a history that are read. Flux keeps at most five more than the last that worked.
pub const MAX_HISTORY: usize = 100;

/// Flux's reason of Ready and Reconciling while it works.
const PROGRESSING: &str = "Progressing";

/// How Flux's message of Reconciling begins while one of its actions (install, upgrade, test, rollback, …) runs. Every
/// reconciliation passes through Reconciling=True, so the condition alone says nothing.
const ACTION_RUNS: &str = "Running '";

/// A HelmRelease, as far as it decides a run.
#[derive(Clone, Debug, PartialEq)]
pub struct HelmRelease {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace.
    pub namespace: String,
    /// The ApplicationInstance that owns it; none where it was made by somebody else than vWorkspace's operator.
    pub owner: Option<Owner>,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations, without kubectl's copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is being deleted; Flux then uninstalls the release.
    pub deleting: bool,
    /// Whether Flux leaves it alone (spec.suspend). Its conditions are then of the past, its release is still there.
    pub suspended: bool,
    /// Whether the release is in another cluster (spec.kubeConfig).
    pub remote: bool,
    /// As which service account Flux applies it by its own word (spec.serviceAccountName). See [`HelmRelease::applier`].
    pub service_account: Option<String>,
    /// Where spec wants the release: spec.targetNamespace, or its own namespace.
    pub target_namespace: String,
    /// Where spec wants the records: spec.storageNamespace, or its own namespace.
    pub wanted_storage_namespace: String,
    /// Its condition Ready.
    pub ready: Option<Condition>,
    /// Its condition Reconciling.
    pub reconciling: Option<Condition>,
    /// Its condition Remediated, true when Flux has undone a failed upgrade.
    pub remediated: Option<Condition>,
    /// Where the records are: status.storageNamespace; none as long as there is no release.
    pub storage_namespace: Option<String>,
    /// What Flux saw of the release's revisions, in no certain order.
    pub history: Vec<Snapshot>,
}

impl HelmRelease {
    /// Reads a HelmRelease as the API server gives it.
    ///
    /// # Errors
    /// If a field that decides is not what its API allows, or the history is longer than [`MAX_HISTORY`].
    pub fn from_json(object: &Value) -> Result<HelmRelease, TargetError> {
        let fields = Fields::of("HelmRelease", object);
        let metadata = metadata(fields)?;
        let own = || metadata.namespace.clone();
        Ok(HelmRelease {
            owner: Owner::of(object),
            labels: entries(object, "metadata.labels"),
            annotations: annotations(object),
            deleting: metadata.deleting,
            suspended: fields.flag("spec.suspend")?,
            remote: fields.get("spec.kubeConfig").is_some(),
            service_account: fields.text("spec.serviceAccountName")?.map(str::to_owned),
            target_namespace: fields.namespace("spec.targetNamespace")?.unwrap_or_else(own),
            wanted_storage_namespace: fields.namespace("spec.storageNamespace")?.unwrap_or_else(own),
            ready: Condition::find(object, "Ready"),
            reconciling: Condition::find(object, "Reconciling"),
            remediated: Condition::find(object, "Remediated"),
            storage_namespace: fields.namespace("status.storageNamespace")?,
            history: history(fields)?,
            name: metadata.name,
            namespace: metadata.namespace,
        })
    }

    /// The record of the revision that is deployed, if a hook of it may run now.
    ///
    /// That Flux is not ready is no reason by itself: its source may be away while the release works.
    ///
    /// # Errors
    /// If there is no such revision, it is being worked on or half-way, or it is not here.
    pub fn current(&self) -> Result<RecordRef<'_>, Refusal> {
        if self.deleting {
            return Err(Refusal::fail(Reason::TargetNotFound, format!("{self} is being deleted")));
        }
        if self.remote {
            let message = format!(
                "{self} installs into another cluster (spec.kubeConfig), and hookhost runs hooks only where it is. Run a \
                 hookhost in that cluster"
            );
            return Err(Refusal::fail(Reason::RemoteCluster, message));
        }
        if let Some(doing) = self.action() {
            return Err(Refusal::wait(Reason::ReleaseBusy, format!("Flux is at work on {self}: {doing}")));
        }
        // Of two entries of one revision the first counts: Flux writes the newest first.
        let latest = self.history.iter().rev().max_by_key(|snapshot| snapshot.revision);
        let (Some(namespace), Some(latest)) = (self.storage_namespace.as_deref(), latest) else {
            let ready = self.ready.as_ref().map(|ready| format!(" (Ready={ready})")).unwrap_or_default();
            let message =
                format!("{self} has no release yet{ready}: a hook is taken from an installed release");
            return Err(Refusal::fail(Reason::HookRequiresRelease, message));
        };
        self.check_latest(latest)?;
        self.check_place(namespace, latest)?;
        Ok(RecordRef { namespace, release: &latest.name, revision: latest.revision, snapshot: Some(latest) })
    }

    /// The service account as which Flux applies the release: the one that spec names, else `default`, the one that
    /// helm-controller was told to take then. None: Flux does it with its own rights.
    pub fn applier(&self, default: Option<&str>) -> Option<Applier> {
        let named =
            self.service_account.as_deref().map(|name| (name, "spec.serviceAccountName of its HelmRelease"));
        let (name, from) = named.or(default.map(|name| (name, "Flux's default service account")))?;
        Some(Applier {
            account: ObjectName { namespace: self.namespace.clone(), name: name.to_owned() },
            from,
        })
    }

    /// What Flux is doing to the release right now, in its own words.
    fn action(&self) -> Option<String> {
        if self.suspended {
            return None;
        }
        let ready =
            self.ready.as_ref().filter(|ready| ready.status == "Unknown" && ready.reason == PROGRESSING);
        let reconciling = self.reconciling.as_ref();
        let reconciling = reconciling.filter(|now| now.is_true() && now.message.starts_with(ACTION_RUNS));
        reconciling.or(ready).map(|condition| printable(&condition.message))
    }

    fn check_latest(&self, latest: &Snapshot) -> Result<(), Refusal> {
        let which = format!("revision {} of {self}", latest.revision);
        let (reason, message) = match latest.status {
            Status::Deployed => match self.remediated.as_ref().filter(|remediated| remediated.is_true()) {
                None => return Ok(()),
                Some(remediated) => (
                    Reason::TargetNotReady,
                    format!(
                        "{which} is what Flux went back to ({remediated}): what the failed upgrade left need not fit its \
                         hooks. Mend the HelmRelease, so that it can be upgraded"
                    ),
                ),
            },
            Status::Failed => (
                Reason::TargetNotReady,
                format!(
                    "{which} has failed half-way, so what is in the cluster need not fit its hooks nor the earlier \
                     revision's{}. Mend the HelmRelease, so that it can be upgraded",
                    self.ready.as_ref().map(|ready| format!(" (Ready={ready})")).unwrap_or_default()
                ),
            ),
            Status::Uninstalled => {
                let message = format!("{which} is uninstalled: a hook is taken from an installed release");
                return Err(Refusal::fail(Reason::HookRequiresRelease, message));
            }
            Status::Unknown => {
                (Reason::TargetNotReady, format!("{which} is in a state that hookhost does not know"))
            }
            // Flux is about to tell of a later one.
            Status::Superseded
            | Status::Uninstalling
            | Status::PendingInstall
            | Status::PendingUpgrade
            | Status::PendingRollback => (Reason::ReleaseBusy, format!("{which} is {}", latest.status)),
        };
        Err(Refusal::wait(reason, message))
    }

    /// Flux moves a release whose spec names another place, so the release is about to go; and a status alone must not
    /// lead into another namespace.
    fn check_place(&self, storage_namespace: &str, latest: &Snapshot) -> Result<(), Refusal> {
        let moves = |what: &str, is: &str, wanted: &str| {
            let message = format!(
                "{self} has its {what} in the namespace {is}, but its spec wants it in {wanted}: Flux has yet to move it"
            );
            Err(Refusal::wait(Reason::ReleaseBusy, message))
        };
        if latest.namespace != self.target_namespace {
            return moves("release", &latest.namespace, &self.target_namespace);
        }
        if storage_namespace != self.wanted_storage_namespace {
            return moves("record", storage_namespace, &self.wanted_storage_namespace);
        }
        Ok(())
    }
}

impl fmt::Display for HelmRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the HelmRelease {}/{}", self.namespace, self.name)
    }
}

fn history(fields: Fields<'_>) -> Result<Vec<Snapshot>, TargetError> {
    const PATH: &str = "status.history";
    match fields.get(PATH) {
        None => Ok(Vec::new()),
        Some(Value::Array(entries)) if entries.len() <= MAX_HISTORY => {
            let entries = entries.iter().enumerate().filter(|(_, entry)| !entry.is_null());
            entries.map(|(n, entry)| snapshot(fields.within(entry, &format!("{PATH}[{n}]")))).collect()
        }
        Some(_) => Err(fields.wrong(PATH, "a list of at most 100 entries")),
    }
}

fn snapshot(fields: Fields<'_>) -> Result<Snapshot, TargetError> {
    const REVISION: &str = "a revision: a whole number from 1";
    let text = |field: &str| Ok(fields.text(field)?.map(str::to_owned));
    let revision = fields.number("version")?.and_then(|number| u32::try_from(number).ok());
    Ok(Snapshot {
        api_version: text("apiVersion")?,
        digest: text("digest")?.unwrap_or_default(),
        name: fields.required("name", fields.name("name")?, "a release's name")?,
        namespace: fields.required("namespace", fields.namespace("namespace")?, "a namespace")?,
        revision: fields.required("version", revision.filter(|revision| *revision > 0), REVISION)?,
        status: Status::from_word(fields.text("status")?.unwrap_or_default()),
        chart_name: text("chartName")?.unwrap_or_default(),
        chart_version: text("chartVersion")?.unwrap_or_default(),
        oci_digest: text("ociDigest")?,
    })
}
