//! `hookhost uninstall`: takes hookhost's finalizer off its Jobs, before hookhost is removed from a cluster.

use anyhow::Result;
use hookhost_controller::DEFAULT_SECRET;
use hookhost_controller::uninstall::{self, Params, Report, UninstallError};
use hookhost_core::object::ObjectRef;
use hookhost_helm::text::shortlist;

use super::controller::{given, host};
use crate::argument;
use crate::cluster;
use crate::exit::Outcome;
use crate::logging::Logging;
use crate::output;
use crate::problem::Problem;

/// Take hookhost's finalizers off its Jobs and RoleBindings, so that they can be deleted without hookhost
///
/// The Helm chart runs it before it is uninstalled. It takes the Lease, so that every controller ends, waits until none can
/// write any more (15 seconds), and changes nothing but those finalizers: Jobs run on, and a hookhost that is installed
/// again tells their results. Controllers that are not removed then work again after some minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost uninstall --lease-namespace hookhost
  hookhost uninstall --lease-namespace hookhost --lease-name hookhost-a --namespace-selector shard=a")]
pub(crate) struct Args {
    #[command(flatten)]
    which: cluster::Which,

    /// Label selector of the namespaces that are cleaned, where several hookhosts share a cluster [default: all]
    #[arg(long, value_name = "SELECTOR", env = "HOOKHOST_NAMESPACE_SELECTOR")]
    #[arg(value_parser = argument::optional_selector, help_heading = "What is cleaned")]
    namespace_selector: Option<String>,
    /// Names of the RoleBindings that carry hookhost's finalizer, in any namespace
    #[arg(long, value_name = "NAME", env = "HOOKHOST_ROLE_BINDINGS", value_delimiter = ',')]
    #[arg(help_heading = "What is cleaned")]
    role_bindings: Vec<String>,
    /// The same of those for temporary objects
    #[arg(long, value_name = "NAME", env = "HOOKHOST_CLOSURE_ROLE_BINDINGS", value_delimiter = ',')]
    #[arg(help_heading = "What is cleaned")]
    closure_role_bindings: Vec<String>,
    /// Lease of the controllers that are to stop
    #[arg(long, value_name = "NAME", env = "HOOKHOST_LEASE_NAME", default_value = "hookhost")]
    #[arg(value_parser = argument::object_name, help_heading = "What is cleaned")]
    lease_name: String,
    /// Namespace of the Lease, and of the Secret with the key [default: the pod's, else the context's]
    #[arg(long, value_name = "NAME", env = "HOOKHOST_LEASE_NAMESPACE")]
    #[arg(value_parser = argument::optional_namespace, help_heading = "What is cleaned")]
    lease_namespace: Option<String>,
    /// Secret with the key by which hookhost recognises what it made; without it nothing is taken back
    #[arg(long, value_name = "NAME", env = "HOOKHOST_CLAIM_SECRET", default_value = DEFAULT_SECRET)]
    #[arg(value_parser = argument::object_name, help_heading = "What is cleaned")]
    claim_secret: String,

    #[command(flatten)]
    logging: Logging,
}

/// Cleans up, and says what was done.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args {
        which,
        namespace_selector,
        role_bindings,
        closure_role_bindings,
        lease_name,
        lease_namespace,
        claim_secret,
        logging,
    } = args;
    logging.init()?;
    let report = cluster::block_on(async {
        let connection = which.connect().await?;
        let namespace = given(lease_namespace).unwrap_or_else(|| connection.namespace.clone());
        // Those that only add rights first: the others are needed to see whether Jobs are left.
        let bindings = [closure_role_bindings, role_bindings].concat();
        let params =
            Params::new(&namespace, &lease_name, &host(), &claim_secret, given(namespace_selector), bindings);
        Ok(uninstall::uninstall(&connection, params).await.map_err(problem)?)
    })?;
    output::result(&told(&report))?;
    Ok(Outcome::Done)
}

/// Objects of one Job that are named.
const NAMED: usize = 8;

fn problem(error: UninstallError) -> Problem {
    let (reason, advice) = (error.reason(), error.advice());
    Problem::new(reason, "hookhost's Jobs and RoleBindings are not all released")
        .with_source(error)
        .with_advice(advice)
}

/// What was done, one thing a line.
fn told(report: &Report) -> String {
    let Report { released, lent, bindings, not_looked_at } = report;
    let mut text = String::new();
    for (namespace, job) in released {
        text.push_str(&format!("released {namespace}/{job}\n"));
    }
    let jobs = |count: usize| if count == 1 { "1 Job".to_owned() } else { format!("{count} Jobs") };
    text.push_str(&format!("{} released: no finalizer of hookhost is left on them\n", jobs(released.len())));
    for (namespace, binding) in bindings {
        text.push_str(&format!("released the RoleBinding {namespace}/{binding}\n"));
    }
    for ((namespace, job), objects) in lent {
        let names = shortlist(objects.iter().map(ObjectRef::kind_and_name), NAMED);
        text.push_str(&format!(
            "{namespace}/{job} keeps what was made for it: {names}. A hookhost that is installed again takes it back when the Job is \
             over, or its event; without one it goes with the Job"
        ));
        let wide = objects.iter().filter(|object| !object.kind.is_namespaced());
        let wide: Vec<String> = wide.map(ObjectRef::kind_and_name).collect();
        if !wide.is_empty() {
            text.push_str(&format!("; but not what has no namespace: kubectl delete {}", wide.join(" ")));
        }
        text.push('\n');
    }
    if let Some(first) = not_looked_at.first() {
        let others = match not_looked_at.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        text.push_str(&format!("without the right to list Jobs, not looked at: namespace {first}{others}\n"));
    }
    output::escape(&text).into()
}

#[cfg(test)]
mod tests {
    use hookhost_core::kind::Kind;

    use super::*;

    #[test]
    fn what_was_done_is_told_job_by_job() {
        let job = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let mut report = Report::default();
        assert_eq!(told(&report), "0 Jobs released: no finalizer of hookhost is left on them\n");
        report.released.insert(job("acme", "migrate"));
        report.bindings.insert(job("acme", "hookhost"));
        let lent = |kind, name: &str| ObjectRef { kind, namespace: String::new(), name: name.to_owned() };
        let objects = vec![lent(Kind::Role, "migrate"), lent(Kind::ClusterRoleBinding, "wide")];
        report.lent.insert(job("acme", "migrate"), objects);
        report.not_looked_at.extend(["default".to_owned(), "kube-system".to_owned()]);
        assert_eq!(
            told(&report),
            "released acme/migrate\n1 Job released: no finalizer of hookhost is left on them\n\
             released the RoleBinding acme/hookhost\nacme/migrate keeps what was made for it: Role/migrate and ClusterRoleBinding/wide. A hookhost that is installed \
             again takes it back when the Job is over, or its event; without one it goes with the Job; but not what has no \
             namespace: kubectl delete ClusterRoleBinding/wide\n\
             without the right to list Jobs, not looked at: namespace default and 1 more\n"
        );
    }
}
