//! The *configuration* of a controller: everything that whoever installs hookhost decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hookhost_core::loan::ClusterObject;
use hookhost_core::wait;

use crate::bindings::For;
use crate::claim_key::{ClaimSecret, DEFAULT_SECRET};

/// What whoever installs hookhost decides.
#[derive(Clone)]
pub struct Config {
    /// Id of this cluster. An Operation that names another is not ours; empty: none names ours.
    pub cluster_id: String,
    /// Label selector: hookhost acts in these namespaces only.
    pub namespace_gate: String,
    /// Label selector: of the gated namespaces, those whose Operations this hookhost serves. For sharding.
    pub namespace_selector: Option<String>,
    /// Label of a namespace whose value is its organisation; a namespace without it is its own organisation.
    pub organisation_label: Option<String>,
    /// Key of the approvals' signatures. Without one no required approval can be verified.
    pub approval_key: Option<Vec<u8>>,
    /// Lines of a failed container's log in an Operation's status; 0 for none.
    pub log_lines: u32,
    /// How long an Operation that says nothing of that itself may wait from its creation until its Job is made.
    pub wait_timeout: Duration,
    /// Operations of one namespace that are looked at at once; of all namespaces twice as many.
    pub concurrency: u16,
    /// Whether an Operation that no HookPolicy matches is refused.
    pub require_policy: bool,
    /// Below this directory HookPolicies may name files.
    pub policy_dir: Option<PathBuf>,
    /// The folder of the stock policies; none for the one beside the program.
    pub stock_policies: Option<PathBuf>,
    /// Where compiled policies are kept.
    pub policy_cache: Option<PathBuf>,
    /// Whether HelmReleases may be targets by themselves, besides ApplicationInstances.
    pub helm_release_targets: bool,
    /// Whether plain Helm releases (`helm.sh/v3`) may be targets. Needs the right to list Secrets.
    pub helm_releases: bool,
    /// The service account as which Flux applies releases that name none: helm-controller's own `--default-service-account`,
    /// which nobody can see from outside. None: with its own rights.
    pub flux_service_account: Option<String>,
    /// Whether test hooks of Flux' releases may be run: Flux' digest does not cover them.
    pub unverified_test_hooks: bool,
    /// Whether a hook that no digest of Flux covers may run in another namespace than the release's, which its manifest names.
    pub unverified_namespaces: bool,
    /// Whether what a hook needs, and Helm has deleted, may be made for a run. Needs the rights for it.
    pub closure: bool,
    /// What of that acts on the whole cluster and may be made, for releases of one namespace or of any.
    pub cluster_objects: Vec<ClusterObject>,
    /// Names of the RoleBindings that give hookhost its rights in the namespaces of their own; they carry its finalizer, which
    /// hookhost takes off last.
    pub role_bindings: Vec<String>,
    /// The same of those that give it the rights for temporary objects.
    pub closure_role_bindings: Vec<String>,
    /// Where /healthz, /readyz and /metrics are served; none for nowhere.
    pub admin: Option<SocketAddr>,
    /// Where the key is kept by which hookhost recognises what it made.
    pub claim_secret: ClaimSecret,
    /// The Lease by which one of several hookhosts is chosen; none to work without one.
    pub lease: Option<hookhost_cluster::lease::LeaseParams>,
}

/// Operations of one namespace looked at at once, unless told otherwise. Each waits for the API server most of its time;
/// with 16 the server is kept busy.
pub const DEFAULT_CONCURRENCY: u16 = 16;

/// Log lines of a failed container, unless told otherwise: a stack trace's end.
pub const DEFAULT_LOG_LINES: u32 = 20;

/// The gate of vWorkspace's namespaces.
pub const DEFAULT_NAMESPACE_GATE: &str = "managed-by=vworkspace";

impl Config {
    /// The names of the RoleBindings that are watched, and what each gives its rights for.
    pub(crate) fn bindings(&self) -> Vec<(String, For)> {
        let of = |names: &[String], what: For| -> Vec<_> {
            names.iter().map(|name| (name.clone(), what)).collect()
        };
        [of(&self.role_bindings, For::Runs), of(&self.closure_role_bindings, For::Closures)].concat()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cluster_id: String::new(),
            namespace_gate: DEFAULT_NAMESPACE_GATE.to_owned(),
            namespace_selector: None,
            organisation_label: None,
            approval_key: None,
            log_lines: DEFAULT_LOG_LINES,
            wait_timeout: wait::DEFAULT_TIMEOUT,
            concurrency: DEFAULT_CONCURRENCY,
            require_policy: false,
            policy_dir: None,
            stock_policies: None,
            policy_cache: None,
            helm_release_targets: true,
            helm_releases: false,
            flux_service_account: None,
            unverified_test_hooks: false,
            unverified_namespaces: false,
            closure: false,
            cluster_objects: Vec::new(),
            role_bindings: Vec::new(),
            closure_role_bindings: Vec::new(),
            admin: None,
            claim_secret: ClaimSecret { namespace: "default".to_owned(), name: DEFAULT_SECRET.to_owned() },
            lease: None,
        }
    }
}
