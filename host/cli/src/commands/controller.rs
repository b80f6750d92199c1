//! `hookhost controller`: serves the Operations of a cluster.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use hookhost_cluster::client::Connection;
use hookhost_cluster::lease::LeaseParams;
use hookhost_controller::config::{Config, DEFAULT_CONCURRENCY, DEFAULT_LOG_LINES, DEFAULT_NAMESPACE_GATE};
use hookhost_controller::policy::stock;
use hookhost_controller::{ClaimSecret, DEFAULT_SECRET, RunError, telemetry};
use hookhost_core::keys::CLUSTER_ID;
use hookhost_core::loan::ClusterObject;
use hookhost_core::{Reason, wait};
use tokio_util::sync::CancellationToken;

use crate::argument;
use crate::cluster;
use crate::exit::Outcome;
use crate::file;
use crate::logging::Logging;
use crate::problem::Problem;

/// Bytes of the approvals' key: a hundred times more than HMAC-SHA256 makes use of.
const KEY_BYTES: u64 = 8192;

/// Lines of a failed container's log that a condition can take: more would not fit into its 32 KiB.
const MAX_LOG_LINES: i64 = 1000;

/// Operations that can be looked at at once: each may wait for an answer of the API server meanwhile, which more would only
/// slow down. The chart's schema says the same.
const MAX_CONCURRENCY: i64 = 1024;

/// [`wait::DEFAULT_TIMEOUT`], as it is typed.
const DEFAULT_WAIT_TIMEOUT: &str = "7d";

/// Where health and metrics are served, unless told otherwise: where a pod's probes and Prometheus reach it.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// Serve the Operations of a cluster: run each one's hook exactly once
///
/// Options can be given as the environment variables that are named beside them. The first SIGTERM or SIGINT ends it in order, a second one at
/// once; either way nothing is lost, and the next hookhost goes on from there.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost controller --cluster-id prod-1 --require-policy
  hookhost controller --kubeconfig ~/.kube/config --no-lease --admin-address 127.0.0.1:8080 --log-format text
  HOOKHOST_LOG_LEVEL=debug hookhost controller --namespace-selector shard=a --lease-name hookhost-a")]
pub(crate) struct Args {
    #[command(flatten)]
    which: cluster::Which,

    /// Id of this cluster: Operations that name another one are left alone
    #[arg(
        long,
        value_name = "ID",
        env = "HOOKHOST_CLUSTER_ID",
        default_value = "",
        hide_default_value = true
    )]
    #[arg(value_parser = argument::label_value, help_heading = "What is served")]
    cluster_id: String,
    /// Label selector of the namespaces in which hookhost may act at all
    #[arg(long, value_name = "SELECTOR", env = "HOOKHOST_NAMESPACE_GATE", default_value = DEFAULT_NAMESPACE_GATE)]
    #[arg(value_parser = argument::selector, help_heading = "What is served")]
    namespace_gate: String,
    /// Label selector of those of them whose Operations this hookhost serves, for sharding [default: all]
    #[arg(long, value_name = "SELECTOR", env = "HOOKHOST_NAMESPACE_SELECTOR")]
    #[arg(value_parser = argument::optional_selector, help_heading = "What is served")]
    namespace_selector: Option<String>,
    /// Serve no Operations whose target is a HelmRelease, only those on ApplicationInstances
    #[arg(long, env = "HOOKHOST_NO_HELM_RELEASE_TARGETS", help_heading = "What is served")]
    no_helm_release_targets: bool,
    /// Allow plain Helm releases as targets; needs the right to list Secrets
    #[arg(long, env = "HOOKHOST_HELM_RELEASES", help_heading = "What is served")]
    helm_releases: bool,
    /// The service account as which Flux applies a release that names none: helm-controller's --default-service-account. Nothing
    /// is created for such a release that the account could not create [default: none]
    #[arg(
        long,
        value_name = "NAME",
        env = "HOOKHOST_FLUX_DEFAULT_SERVICE_ACCOUNT",
        help_heading = "What is served"
    )]
    flux_default_service_account: Option<String>,
    /// Allow test hooks of Flux's releases, which Flux's digest does not cover
    #[arg(long, env = "HOOKHOST_ALLOW_UNVERIFIED_TEST_HOOKS", help_heading = "What is served")]
    allow_unverified_test_hooks: bool,
    /// Allow hooks whose manifest names another namespace than the release's also where no digest of Flux covers them: of plain
    /// Helm releases, and test hooks. Who may write Secrets in a namespace can then run pods in all managed namespaces of its
    /// organisation
    #[arg(long, env = "HOOKHOST_ALLOW_UNVERIFIED_NAMESPACES", help_heading = "What is served")]
    allow_unverified_namespaces: bool,
    /// Allow runs to have what Helm has deleted made for them (service accounts, roles, secrets …); needs the rights for it
    #[arg(long, env = "HOOKHOST_CLOSURE", help_heading = "What is served")]
    closure: bool,
    /// What of that acts on the whole cluster and may be made, for example acme/ClusterRole/shop-migrate; without the namespace
    /// for releases anywhere [default: nothing]
    #[arg(
        long,
        value_name = "[NAMESPACE/]KIND/NAME",
        env = "HOOKHOST_CLOSURE_CLUSTER_OBJECTS",
        value_delimiter = ','
    )]
    #[arg(requires = "closure", help_heading = "What is served")]
    closure_cluster_objects: Vec<ClusterObject>,
    /// Names of the RoleBindings that give hookhost its rights in a namespace and carry its finalizer, in any namespace [default:
    /// none]
    #[arg(long, value_name = "NAME", env = "HOOKHOST_ROLE_BINDINGS", value_delimiter = ',')]
    #[arg(help_heading = "What is served")]
    role_bindings: Vec<String>,
    /// The same of those that give it the rights for temporary objects [default: none]
    #[arg(long, value_name = "NAME", env = "HOOKHOST_CLOSURE_ROLE_BINDINGS", value_delimiter = ',')]
    #[arg(help_heading = "What is served")]
    closure_role_bindings: Vec<String>,
    /// File with the key of the approvals' signatures; a line end at its end is not part of it
    #[arg(long, value_name = "FILE", env = "HOOKHOST_APPROVAL_KEY_FILE", help_heading = "What is served")]
    approval_key_file: Option<PathBuf>,

    /// Label of a namespace that names its organisation [default: the namespace's name is it]
    #[arg(long, value_name = "KEY", env = "HOOKHOST_ORGANISATION_LABEL", alias = "organization-label")]
    #[arg(value_parser = argument::optional_label_key, help_heading = "Policies")]
    organisation_label: Option<String>,
    /// Refuse Operations that no HookPolicy matches
    #[arg(long, env = "HOOKHOST_REQUIRE_POLICY", help_heading = "Policies")]
    require_policy: bool,
    /// Folder below which HookPolicies may name files [default: none may]
    #[arg(long, value_name = "DIR", env = "HOOKHOST_POLICY_DIR", help_heading = "Policies")]
    policy_dir: Option<PathBuf>,
    /// Folder of the stock policies, which HookPolicies name by spec.module.stock [default: stock-policies beside this program]
    #[arg(long, value_name = "DIR", env = stock::ENV, help_heading = "Policies")]
    stock_policies: Option<PathBuf>,
    /// Folder where compiled policies are kept [default: compiled anew at each start]
    #[arg(long, value_name = "DIR", env = "HOOKHOST_POLICY_CACHE", help_heading = "Policies")]
    policy_cache: Option<PathBuf>,

    /// Time that an Operation may wait, from its creation until its Job is made, before it fails: as in 12h or 7d, at most 365d;
    /// its own parameters.waitTimeout counts before this
    #[arg(long, value_name = "TIME", env = "HOOKHOST_WAIT_TIMEOUT", default_value = DEFAULT_WAIT_TIMEOUT)]
    #[arg(value_parser = wait::parse_timeout, help_heading = "How it runs")]
    wait_timeout: Duration,
    /// Operations of one namespace that are looked at at once; of all namespaces twice as many
    #[arg(long, value_name = "N", env = "HOOKHOST_CONCURRENCY", default_value_t = DEFAULT_CONCURRENCY)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY), help_heading = "How it runs")]
    concurrency: u16,
    /// Lines of a failed container's log in an Operation's status; 0 for none
    #[arg(long, value_name = "N", env = "HOOKHOST_LOG_LINES", default_value_t = DEFAULT_LOG_LINES)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=MAX_LOG_LINES), help_heading = "How it runs")]
    log_lines: u32,
    /// Address that serves /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDR", env = "HOOKHOST_ADMIN_ADDRESS", default_value_t = ADMIN)]
    #[arg(help_heading = "How it runs")]
    admin_address: SocketAddr,
    /// Lease by which one of several hookhosts is chosen
    #[arg(long, value_name = "NAME", env = "HOOKHOST_LEASE_NAME", default_value = "hookhost")]
    #[arg(value_parser = argument::object_name, help_heading = "How it runs")]
    lease_name: String,
    /// Namespace of the Lease, and of the Secret with the key [default: the pod's, else the context's]
    #[arg(long, value_name = "NAME", env = "HOOKHOST_LEASE_NAMESPACE")]
    #[arg(value_parser = argument::optional_namespace, help_heading = "How it runs")]
    lease_namespace: Option<String>,
    /// Secret, in the Lease's namespace, with the key by which hookhost recognises what it made; made where there is none
    #[arg(long, value_name = "NAME", env = "HOOKHOST_CLAIM_SECRET", default_value = DEFAULT_SECRET)]
    #[arg(value_parser = argument::object_name, help_heading = "How it runs")]
    claim_secret: String,
    /// Work without a Lease: at most one hookhost may run
    #[arg(long, env = "HOOKHOST_NO_LEASE", help_heading = "How it runs")]
    no_lease: bool,

    #[command(flatten)]
    logging: Logging,
}

/// What the arguments resolve to.
struct Setup {
    connection: Connection,
    config: Config,
}

/// Serves until it is told to end.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    cluster::block_on(async {
        let Setup { connection, config } = resolve(args).await?;
        serve(connection, config).await
    })
}

async fn resolve(args: Args) -> Result<Setup> {
    let Args {
        which,
        cluster_id,
        namespace_gate,
        namespace_selector,
        no_helm_release_targets,
        helm_releases,
        flux_default_service_account,
        allow_unverified_test_hooks,
        allow_unverified_namespaces,
        closure,
        closure_cluster_objects,
        role_bindings,
        closure_role_bindings,
        approval_key_file,
        organisation_label,
        require_policy,
        policy_dir,
        stock_policies,
        policy_cache,
        wait_timeout,
        concurrency,
        log_lines,
        admin_address,
        lease_name,
        lease_namespace,
        claim_secret,
        no_lease,
        logging,
    } = args;
    logging.init()?;
    telemetry::identify(&cluster_id);
    if cluster_id.is_empty() {
        tracing::info!(
            "no cluster id is given: Operations whose label {CLUSTER_ID} names one are left alone"
        );
    }
    let approval_key = given(approval_key_file).as_deref().map(read_key).transpose()?;
    let connection = which.connect().await?;
    let namespace = given(lease_namespace).unwrap_or_else(|| connection.namespace.clone());
    let claim_secret = ClaimSecret { namespace: namespace.clone(), name: claim_secret };
    let lease = (!no_lease).then(|| LeaseParams::new(namespace, lease_name, LeaseParams::identity(&host())));
    let config = Config {
        cluster_id,
        namespace_gate,
        namespace_selector: given(namespace_selector),
        organisation_label: given(organisation_label),
        approval_key,
        log_lines,
        wait_timeout,
        concurrency,
        require_policy,
        policy_dir: given(policy_dir),
        stock_policies: given(stock_policies),
        policy_cache: given(policy_cache),
        helm_release_targets: !no_helm_release_targets,
        helm_releases,
        flux_service_account: given(flux_default_service_account),
        unverified_test_hooks: allow_unverified_test_hooks,
        unverified_namespaces: allow_unverified_namespaces,
        closure,
        cluster_objects: closure_cluster_objects,
        role_bindings,
        closure_role_bindings,
        admin: Some(admin_address),
        claim_secret,
        lease,
    };
    Ok(Setup { connection, config })
}

/// An option that a Helm chart leaves empty is not given.
pub(super) fn given<T: AsRef<OsStr>>(option: Option<T>) -> Option<T> {
    option.filter(|text| !text.as_ref().is_empty())
}

fn usage(message: impl Into<String>) -> Problem {
    Problem::new(Reason::UsageInvalid, message)
}

/// The approvals' key. Whoever puts one into a file with an editor puts a line end behind it.
fn read_key(path: &Path) -> Result<Vec<u8>> {
    let mut key = file::read(path, "approvals' key", KEY_BYTES)?;
    while key.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
        key.pop();
    }
    if key.is_empty() {
        return Err(usage(format!("the approvals' key {} is empty", path.display()))
            .with_advice(
                "With an empty key anyone could sign approvals; put the control plane's key into the file.",
            )
            .into());
    }
    Ok(key)
}

/// What this process is called in the Lease: the pod's name, which is its host name too, or the machine's.
pub(super) fn host() -> String {
    let named = ["POD_NAME", "HOSTNAME"].into_iter().find_map(|key| given(std::env::var(key).ok()));
    named.unwrap_or_else(|| "hookhost".to_owned())
}

/// Serves until the first signal, then ends in order; a second signal ends it at once.
async fn serve(connection: Connection, config: Config) -> Result<Outcome> {
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new()?;
    let mut running = std::pin::pin!(hookhost_controller::run(connection, config, shutdown.clone()));
    let mut is_ending = false;
    loop {
        tokio::select! {
            ended = &mut running => {
                return match ended {
                    Ok(()) => Ok(Outcome::Done),
                    Err(error) => Err(problem(error).into()),
                };
            }
            signal = signals.next() => {
                if is_ending {
                    let message = format!("ended at once by a second signal ({signal})");
                    return Err(Problem::new(Reason::HostFailed, message).into());
                }
                is_ending = true;
                tracing::info!(signal, "ending: what is under way is finished first");
                shutdown.cancel();
            }
        }
    }
}

/// Why the controller ended by itself.
fn problem(error: RunError) -> Problem {
    Problem::new(error.reason(), "the controller ended").with_source(error)
}

/// The signals that end a controller.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The next one, by name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) -> &'static str {
        // An error is that nobody can be heard; then only the process's own end is left.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(typed: &[&str]) -> Args {
        Typed::try_parse_from([&["hookhost"], typed].concat()).unwrap_or_else(|error| panic!("{error}")).args
    }

    #[test]
    fn without_options_it_serves_the_gated_namespaces_under_a_lease() {
        let args = parsed(&[]);
        assert_eq!(args.namespace_gate, "managed-by=vworkspace");
        assert_eq!((args.lease_name.as_str(), args.no_lease), ("hookhost", false));
        assert_eq!(args.admin_address.to_string(), "0.0.0.0:8080");
        assert_eq!((args.concurrency, args.log_lines), (16, 20));
        assert_eq!(args.wait_timeout, wait::DEFAULT_TIMEOUT);
        assert!(!args.require_policy && !args.helm_releases && !args.allow_unverified_test_hooks);
        assert!(!args.allow_unverified_namespaces);
        assert!(!args.no_helm_release_targets && args.flux_default_service_account.is_none());
        assert!(!args.closure && args.closure_cluster_objects.is_empty());
    }

    #[test]
    fn numbers_out_of_their_bounds_are_refused() {
        let closure = ["--closure", "--closure-cluster-objects", "ClusterRole/a,acme/ClusterRoleBinding/b"];
        let allowed = parsed(&closure).closure_cluster_objects;
        let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
        assert_eq!(allowed, ["ClusterRole/a", "acme/ClusterRoleBinding/b"]);
        assert!(
            Typed::try_parse_from(["hookhost", "--closure", "--closure-cluster-objects", "Role/a"]).is_err()
        );
        for typed in [
            ["--concurrency", "0"],
            ["--concurrency", "1025"],
            ["--log-lines", "1001"],
            ["--admin-address", "8080"],
            ["--wait-timeout", "0"],
            ["--wait-timeout", "366d"],
        ] {
            assert!(Typed::try_parse_from([&["hookhost"][..], &typed].concat()).is_err(), "{typed:?}");
        }
    }

    #[test]
    fn what_means_something_in_kubernetes_is_checked_when_it_is_typed() {
        for typed in [
            ["--namespace-gate", "managed-by"],
            ["--namespace-gate", "a in (b, c),!d"],
            ["--namespace-selector", ""],
            ["--cluster-id", "eu-1"],
            ["--organisation-label", "example.com/organisation"],
            ["--lease-namespace", ""],
        ] {
            parsed(&typed);
        }
        for typed in [
            // It would be every namespace.
            ["--namespace-gate", ""],
            ["--namespace-gate", "managed-by=vworkspace,"],
            ["--namespace-gate", "a=b c"],
            ["--namespace-selector", "shard=a,,"],
            ["--cluster-id", "eu 1"],
            ["--organisation-label", "a/b/c"],
            ["--lease-name", "Hookhost"],
            ["--lease-namespace", "a.b"],
        ] {
            let refused = Typed::try_parse_from([&["hookhost"][..], &typed].concat());
            assert!(refused.is_err_and(|error| error.to_string().contains(typed[0])), "{typed:?}");
        }
        for objects in ["acme/ClusterRoleBinding/ClusterRole", "ClusterRole/ClusterRoleBinding"] {
            let typed = ["--closure", "--closure-cluster-objects", objects];
            assert_eq!(parsed(&typed).closure_cluster_objects[0].to_string(), objects);
        }
        for objects in [
            "acme/ClusterRole",
            "acme/Role/a",
            "a/acme/ClusterRole/b",
            "ClusterRole/",
            "/ClusterRole/a",
            "ClusterRole/*",
        ] {
            let typed = ["hookhost", "--closure", "--closure-cluster-objects", objects];
            assert!(Typed::try_parse_from(typed).is_err(), "{objects}");
        }
    }

    #[test]
    fn a_line_end_is_not_part_of_the_key_and_an_empty_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "s3cret \r\n").unwrap();
        assert_eq!(read_key(&path).unwrap(), b"s3cret ");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_key(&path).unwrap_err().to_string().contains("is empty"));
    }
}
