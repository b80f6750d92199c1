//! `hookhost crds`: the CRDs of the kinds that hookhost works with.

use anyhow::Result;
use clap::ValueEnum;
use hookhost_controller::crd::Crd;

use crate::exit::Outcome;
use crate::output;

/// Print the CRDs that hookhost works with, as YAML
///
/// HookPolicies are hookhost's own. Operations and ApplicationInstances are the vWorkspace operator's: where that is
/// installed, it brings them itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost crds | kubectl apply --server-side -f -
  hookhost crds hookpolicies > hookpolicies.yaml")]
pub(crate) struct Args {
    /// Which; all if none is named
    #[arg(value_name = "KIND")]
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// The vWorkspace operator's Operation
    Operations,
    /// The vWorkspace operator's ApplicationInstance
    #[value(name = "applicationinstances")]
    ApplicationInstances,
    /// hookhost's HookPolicy
    #[value(name = "hookpolicies")]
    HookPolicies,
}

impl From<Kind> for Crd {
    fn from(kind: Kind) -> Crd {
        match kind {
            Kind::Operations => Crd::Operations,
            Kind::ApplicationInstances => Crd::ApplicationInstances,
            Kind::HookPolicies => Crd::HookPolicies,
        }
    }
}

/// Prints the CRDs, one YAML document each.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { kinds } = args;
    let crds = if kinds.is_empty() { Crd::ALL.to_vec() } else { kinds.into_iter().map(Crd::from).collect() };
    let documents: Vec<String> = crds.into_iter().map(Crd::yaml).collect();
    output::result(&documents.join("---\n"))?;
    Ok(Outcome::Done)
}
