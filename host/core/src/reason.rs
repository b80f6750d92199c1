//! A *reason* is the one word a program reads: the same in conditions, events, metrics and the CLI's JSON.
//!
//! Every error of hookhost answers `reason()` with one of these. The list only grows; a word keeps its meaning.

use hookhost_helm::hook::{EventError, FindError, NotRunnable};
use hookhost_helm::record::RecordError;
use hookhost_helm::workload::BadNumber;
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// Why an Operation, a policy or an input was refused, held or failed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[non_exhaustive]
pub enum Reason {
    /// No hook of that name is in the release record.
    HookNotFound,
    /// More than one hook fits the name; kind or path must be given too.
    HookAmbiguous,
    /// The hook is there, but cannot be run as a Job.
    HookNotRunnable,
    /// Flux's digest does not cover the hook, so anybody who can write the release record could have made it.
    HookNotVerified,
    /// The hook's manifest is not YAML that Helm would read, or not a Kubernetes object.
    HookManifestInvalid,
    /// The hook's manifest, with what it needs of the release's other hooks, is larger than hookhost reads.
    HookManifestTooLarge,
    /// There is no deployed release to take the hook from.
    HookRequiresRelease,
    /// Helm is installing, upgrading or rolling back the release right now.
    ReleaseBusy,
    /// The input is not a Helm release record, or is damaged.
    ReleaseRecordInvalid,
    /// The release record is larger than the limit once inflated.
    ReleaseRecordTooLarge,
    /// The Operation, or another document a person wrote, has a wrong field or type.
    ValidationFailed,
    /// A part of the Operation is larger than hookhost reads.
    OperationTooLarge,
    /// The API server, or a quota or webhook of it, refuses the Job.
    JobRejected,
    /// A policy denied the run.
    PolicyDenied,
    /// A policy postponed the run.
    PolicyHeld,
    /// Policies demand things that cannot all be true.
    PolicyConflict,
    /// What the policies decided is too large to be kept on the Job.
    DecisionTooLarge,
    /// A policy used up its time.
    PolicyTimedOut,
    /// A policy used up its memory.
    PolicyOutOfMemory,
    /// A policy panicked or broke a rule of WebAssembly.
    PolicyTrapped,
    /// A policy's answer breaks the contract.
    PolicyBadOutput,
    /// The file is not a policy for this host: another world or version, or an import that is not allowed.
    PolicyIncompatible,
    /// The file is not a WebAssembly component, or one too costly to compile.
    PolicyInvalid,
    /// The policy refused its settings.
    PolicySettingsInvalid,
    /// The request is larger than a policy may be given.
    RequestTooLarge,
    /// All evaluation slots are in use.
    SandboxBusy,
    /// A policy's crate could not be built.
    PolicyBuildFailed,
    /// What the Operation's targetRef names does not exist, or is being deleted.
    TargetNotFound,
    /// hookhost was installed without the right to serve this kind of target, or told not to.
    TargetKindDisabled,
    /// The target exists, but is not in a state in which a hook may run.
    TargetNotReady,
    /// The target does not say that this engine may run this type of Operation on it.
    CapabilityMissing,
    /// Another Operation on the same target must end first.
    ConflictingOperation,
    /// The namespace has more unfinished Operations than hookhost keeps track of, so it cannot know which of them conflict.
    TooManyOperations,
    /// The Operation, or the next hook of its event, has not started within its wait timeout.
    WaitTimeout,
    /// The time that an Operation gives all hooks of its event is over, and some are left.
    DeadlineExceeded,
    /// The release was upgraded while the hooks of an event ran, and some are left.
    ReleaseChanged,
    /// The Operation needs an approval that it does not have, or whose proof is not valid.
    AwaitingApproval,
    /// The Operation was restored from a backup, so nobody knows whether it has run.
    RestoredFromBackup,
    /// Something that the hook's pod refers to is not in the cluster.
    DependencyMissing,
    /// What the hook needs, and Helm has deleted, cannot be made for a run.
    ClosureRefused,
    /// Flux applies the release as a service account that may not create what the run needs.
    ApplierForbidden,
    /// Another hook of the release may give this one rights, and cannot be read, so nobody can judge which.
    ClosureUnreadable,
    /// The release record is not the one that Flux wrote.
    ReleaseTampered,
    /// The release is in another cluster than the Operation.
    RemoteCluster,
    /// The namespace is not one that hookhost may act in.
    NamespaceNotManaged,
    /// A policy that must be asked cannot be: its module is missing, or it is not ready.
    PolicyUnavailable,
    /// The module that a HookPolicy names is not there, or may not be read.
    PolicyModuleMissing,
    /// The module that a HookPolicy names is not the one that it is pinned to.
    PolicyDigestMismatch,
    /// Nothing runs without a policy here, and none answered.
    PolicyRequired,
    /// Another Job, or a hook of the chart, has the name that the run's Job would have.
    JobNameTaken,
    /// The Operation's Job cannot be proven to be the one that hookhost made for it.
    ClaimInvalid,
    /// The key by which hookhost recognises what it made can neither be read nor made.
    ClaimKeyUnavailable,
    /// There is no cluster to connect to, or its configuration cannot be used.
    ClusterNotConfigured,
    /// The API server cannot be reached, is too busy, or does not answer in time.
    ClusterUnreachable,
    /// The cluster does not allow the request: RBAC, or no valid credentials.
    AccessForbidden,
    /// An admission webhook, policy or plugin of the cluster denies the request.
    AdmissionDenied,
    /// The cluster does not know a kind of object that is needed.
    CrdMissing,
    /// The API server refused a request for what it says or for what is there.
    ApiRejected,
    /// hookhost is at work on as many such runs as it has room for.
    HostBusy,
    /// Another hookhost holds the lease, so this one writes nothing.
    NotLeader,
    /// The arguments of a command contradict each other or cannot be right.
    UsageInvalid,
    /// A tool that the command needs is not installed.
    ToolMissing,
    /// Something on this machine failed: a file, a process, memory.
    HostFailed,
}

impl Reason {
    /// All of them.
    pub const ALL: &[Reason] = Reason::VARIANTS;

    /// Its name, PascalCase, as Kubernetes' conditions want it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The reason of an error of the crate hookhost-helm, which knows nothing of Operations.
pub trait HasReason {
    /// The reason, for conditions, events, metrics and JSON.
    fn reason(&self) -> Reason;
}

impl HasReason for RecordError {
    fn reason(&self) -> Reason {
        match self {
            RecordError::TooLarge { .. } => Reason::ReleaseRecordTooLarge,
            _ => Reason::ReleaseRecordInvalid,
        }
    }
}

impl HasReason for FindError {
    fn reason(&self) -> Reason {
        match self {
            FindError::NotFound { .. } => Reason::HookNotFound,
            FindError::Ambiguous { .. } => Reason::HookAmbiguous,
            FindError::NotRunnable { why, .. } => why.reason(),
        }
    }
}

impl HasReason for EventError {
    fn reason(&self) -> Reason {
        match self {
            EventError::NoHooks { .. } => Reason::HookNotFound,
            EventError::NotRunnable { why, .. } => why.reason(),
            EventError::TooMany { .. } => Reason::HookNotRunnable,
        }
    }
}

impl HasReason for NotRunnable {
    fn reason(&self) -> Reason {
        match self {
            NotRunnable::Unreadable(error) if error.problem.is_bound() => Reason::HookManifestTooLarge,
            NotRunnable::Unreadable(_) | NotRunnable::NotAnObject { .. } => Reason::HookManifestInvalid,
            _ => Reason::HookNotRunnable,
        }
    }
}

impl HasReason for BadNumber {
    fn reason(&self) -> Reason {
        Reason::HookManifestInvalid
    }
}
