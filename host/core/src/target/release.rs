//! Which of a release's records counts, and whether the record that was read is the one that was meant.

use super::ObjectName;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::record::Record;
use hookhost_helm::snapshot::{Snapshot, Verification};
use hookhost_helm::status::Status;
use hookhost_helm::text::quote;

/// Seconds after which a plain Helm release that Helm is at work on is looked at again. Nothing tells of its end, unlike
/// with a HelmRelease; this is vWorkspace's own interval for Operations that wait.
pub const RETRY_SECONDS: u32 = 30;

/// Which release record is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RecordRef<'a> {
    /// The namespace that the record is stored in, which need not be the release's.
    pub namespace: &'a str,
    /// The release's name.
    pub release: &'a str,
    /// Helm's revision.
    pub revision: u32,
    /// What Flux wrote of it; none for a plain Helm release.
    pub snapshot: Option<&'a Snapshot>,
}

impl RecordRef<'_> {
    /// The name of the Secret that holds it.
    pub fn secret_name(&self) -> String {
        record_name(self.release, self.revision)
    }

    /// The name of the Secret of the next revision: Helm stores that before it begins an upgrade or a rollback.
    pub fn successor_name(&self) -> String {
        record_name(self.release, self.revision.saturating_add(1))
    }

    /// Waits: for the HelmRelease to change, or, where there is none, for a time.
    fn later(&self, reason: Reason, message: String) -> Refusal {
        match self.snapshot {
            Some(_) => Refusal::wait(reason, message),
            None => Refusal::retry_after(RETRY_SECONDS, reason, message),
        }
    }
}

/// As messages name it.
impl std::fmt::Display for RecordRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "revision {} of the release {}", self.revision, self.release)
    }
}

/// The name of the Secret in which Helm stores a revision of a release.
pub fn record_name(release: &str, revision: u32) -> String {
    format!("sh.helm.release.v1.{release}.v{revision}")
}

/// Whether the record is the one that was meant, and of a release that a hook may run of now.
///
/// This comes before the record's digest is looked at: a record that Helm is just rewriting has another digest for a good
/// reason, and says so in its status.
///
/// # Errors
/// If it is another's, or if Helm is at work on it, has failed, or has uninstalled it.
pub fn check_record(record: &Record, at: &RecordRef<'_>) -> Result<(), Refusal> {
    if record.status.is_pending() {
        return Err(busy(record.status, at));
    }
    check_identity(record, at)?;
    match record.status {
        Status::Superseded => {
            let message = format!("{at} has been superseded, and the later one is not deployed yet");
            Err(at.later(Reason::ReleaseBusy, message))
        }
        status => check_settled(status, at),
    }
}

/// Everything by which one record could pass for another.
fn check_identity(record: &Record, at: &RecordRef<'_>) -> Result<(), Refusal> {
    let mut wrong = Vec::new();
    let mut differs = |what: &str, found: &str, meant: &str| {
        if found != meant {
            wrong.push(format!("its {what} is {}, not {}", quote(found), quote(meant)));
        }
    };
    differs("release", &record.name, at.release);
    differs("revision", &record.revision.to_string(), &at.revision.to_string());
    match at.snapshot {
        Some(flux) => {
            differs("namespace", &record.namespace, &flux.namespace);
            differs("chart", &record.chart.name, &flux.chart_name);
            differs("chart's version", &record.chart.version, &flux.chart_version);
        }
        // Helm stores a release's records in the release's own namespace.
        None => differs("namespace", &record.namespace, at.namespace),
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the record in the Secret {}/{} is not the one that was meant: {}. Find out who wrote it before running anything of \
         it",
        at.namespace,
        at.secret_name(),
        wrong.join("; ")
    );
    Err(Refusal::fail(Reason::ReleaseTampered, message))
}

/// Of a revision that is neither pending nor superseded.
fn check_settled(status: Status, at: &RecordRef<'_>) -> Result<(), Refusal> {
    match status {
        Status::Deployed => Ok(()),
        Status::Uninstalled => {
            let message = format!("{at} is uninstalled: a hook is taken from an installed release");
            Err(Refusal::fail(Reason::HookRequiresRelease, message))
        }
        Status::Failed => {
            let message = format!(
                "{at} has failed half-way, so what is in the cluster need not fit its hooks nor the earlier revision's. \
                 Upgrade it again, or roll it back"
            );
            Err(at.later(Reason::TargetNotReady, message))
        }
        other => {
            let message = format!("{at} is in the state {other}, in which hookhost runs nothing of it");
            Err(at.later(Reason::TargetNotReady, message))
        }
    }
}

fn busy(status: Status, at: &RecordRef<'_>) -> Refusal {
    let advice = match at.snapshot {
        Some(_) => "",
        None => ". If Helm was killed meanwhile, helm rollback or helm upgrade puts it right",
    };
    at.later(Reason::ReleaseBusy, format!("{at} is {status}: Helm is at work on it{advice}"))
}

/// The revision of a plain Helm release whose hooks may run: the newest, if it is deployed. `stored` has the revision and
/// status of each of its records, as the Secrets' labels tell, in any order.
///
/// An older revision that is still called deployed does not count: after a failed upgrade the cluster is half-way between
/// the two.
///
/// # Errors
/// If there is none, or Helm is at work on it. Between the two writes that end an upgrade no revision is deployed: that,
/// too, is looked at again after [`RETRY_SECONDS`].
pub fn deployed_revision(release: &str, stored: &[(u32, String)]) -> Result<u32, Refusal> {
    let Some((revision, status)) = stored.iter().max_by_key(|(revision, _)| *revision) else {
        let message = format!(
            "there is no Helm release {} in the Operation's namespace: helm list tells which there are",
            quote(release)
        );
        return Err(Refusal::fail(Reason::TargetNotFound, message));
    };
    let at = RecordRef { namespace: "", release, revision: *revision, snapshot: None };
    match Status::from_word(status) {
        pending if pending.is_pending() => Err(busy(pending, &at)),
        Status::Superseded => Err(at.later(
            Reason::ReleaseBusy,
            format!("no revision of the release {release} is deployed just now"),
        )),
        settled => check_settled(settled, &at).map(|()| *revision),
    }
}

/// The instance's HelmRelease is not there.
pub fn no_helm_release(name: &ObjectName) -> Refusal {
    let message = format!(
        "there is no HelmRelease {name}, though the instance names it: a hook is taken from an installed Helm release"
    );
    Refusal::fail(Reason::HookRequiresRelease, message)
}

/// There is no Secret of the record's name.
pub fn no_record(at: &RecordRef<'_>) -> Refusal {
    let (namespace, name) = (at.namespace, at.secret_name());
    let message = match at.snapshot {
        Some(_) => format!(
            "there is no Secret {namespace}/{name}, though Flux's status names it: {at} was removed behind its back, and \
             Flux installs it anew when it next reconciles"
        ),
        None => format!("there is no Secret {namespace}/{name} any more: {at} has just been removed"),
    };
    at.later(Reason::ReleaseBusy, message)
}

/// There is a Secret of the name [`RecordRef::successor_name`].
pub fn successor_exists(at: &RecordRef<'_>) -> Refusal {
    at.later(
        Reason::ReleaseBusy,
        format!("Helm is at work on the release {}: there is a revision after {}", at.release, at.revision),
    )
}

/// Whether the record is the one that Flux wrote.
///
/// # Errors
/// If it is not, or if that cannot be told: a record that is not proven would be a way to run any pod.
pub fn check_verified(at: &RecordRef<'_>, verification: &Verification) -> Result<(), Refusal> {
    let why = match verification {
        Verification::Verified => return Ok(()),
        Verification::Mismatch { expected, found } => {
            format!("its digest is {found}, but Flux wrote {expected} to the HelmRelease")
        }
        Verification::Unverifiable { why } => {
            format!("it cannot be told whether it is the one that Flux wrote: {why}")
        }
    };
    let message = format!(
        "nothing of the record in the Secret {}/{} is run: {why}. Find out who wrote it. Once Flux has upgraded the release \
         again (flux reconcile helmrelease --force), a new Operation can run",
        at.namespace,
        at.secret_name()
    );
    Err(Refusal::fail(Reason::ReleaseTampered, message))
}
