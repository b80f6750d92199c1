//! *Keys* are the labels, annotations and finalizers that hookhost writes, and those of Kubernetes that it reads. They are a wire
//! format: Jobs that exist have them.

/// Label: who manages the Job. Its value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.vworkspace.io/managed-by";

/// The value of [`MANAGED_BY`] on every workload.
pub const MANAGER: &str = "vworkspace-operator";

/// Label: the id of the cluster.
pub const CLUSTER_ID: &str = "app.vworkspace.io/cluster-id";

/// Label: the ApplicationInstance that is the Operation's target.
pub const APPLICATION_INSTANCE: &str = "app.vworkspace.io/application-instance";

/// Label on the Job and its pods: the Operation's UID.
pub const OPERATION: &str = "ops.vworkspace.io/operation";

/// Finalizer: keeps the Job, whoever deletes it, until its result is on the Operation. Only a Job for an Operation that
/// exists has it: nobody else would take it off.
pub const FINALIZER: &str = "hookhost.vworkspace.io/result";

/// Label: the hook's name in the chart.
pub const SOURCE_HOOK: &str = "ops.vworkspace.io/source-hook";

/// Annotation: the decision as compact JSON.
pub const DECISION: &str = "ops.vworkspace.io/decision";

/// Bytes of its value at most: with the policies' annotations (192 KiB) and the full names (1 KiB) it stays within the 256 KiB
/// that Kubernetes takes for all annotations.
pub const DECISION_BYTES: usize = 48 * 1024;

/// In it: who approved the Operation, by the claim that was verified when its run began.
pub const APPROVED_BY: &str = "approvedBy";

/// Keys in the decision of what hookhost has not created for the run: [`NotCreated::without`], [`NotCreated::unseen`] and
/// [`NotCreated::missed`].
pub(crate) const NOT_CREATED: [&str; 3] = ["without", "unseen", "missed"];

/// In it: the queue in which the chart's Job would be and this one is not.
pub(crate) const UNQUEUED: &str = "unqueued";

/// Annotation: which step of how many a Job is, as "2/3".
pub const STEP: &str = "hookhost.vworkspace.io/step";

/// Annotation: the Job was made suspended, and has been let start. Who suspends it after that has reasons of their own.
pub const OPENED: &str = "hookhost.vworkspace.io/opened";

/// The domain of what hookhost keeps on objects for itself.
pub const OWN_DOMAIN: &str = "hookhost.vworkspace.io";

/// Annotation on a Job: what it borrows, as JSON. See [`Borrowed`].
pub const CLOSURE: &str = "hookhost.vworkspace.io/closure";

/// Annotation on a loan: the digest of what it was made from.
pub const CONTENT: &str = "hookhost.vworkspace.io/content";

/// Annotation on a loan without a namespace: namespace, name and UID of the Job that it is for.
pub const HOLDER: &str = "hookhost.vworkspace.io/holder";

/// Annotation on a Job that was running when hookhost was uninstalled: a hookhost that is installed again takes back what it
/// borrows.
pub const UNATTENDED: &str = "hookhost.vworkspace.io/unattended";

/// Annotation: the claim.
pub const CLAIM: &str = "hookhost.vworkspace.io/claim";

/// Label and annotation of an Indexed Job's pod: its index.
pub(crate) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Label of a Job's pod: the Job's UID. It stays where a deletion that orphans the pods has taken the owner away.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// The field manager of all that hookhost writes, by which the API server tells who has written what.
pub const FIELD_MANAGER: &str = "hookhost";

/// Finalizer on the RoleBindings that give hookhost its rights.
pub const RIGHTS: &str = "hookhost.vworkspace.io/rights";
