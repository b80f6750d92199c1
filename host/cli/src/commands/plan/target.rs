//! An Operation's *target* in the cluster, and the release that it has: resolved by the controller's own code.

use anyhow::Result;
use hookhost_cluster::client::{self, Connection};
use hookhost_cluster::error::Error;
use hookhost_cluster::operation::TargetKey;
use hookhost_cluster::read::Reader;
use hookhost_cluster::resolve::{Halt, Resolver, Rules};
use hookhost_core::Reason;
use hookhost_core::operation::Operation;
use hookhost_core::plan::{Warning, warnings_of_record};
use hookhost_core::refusal::Refusal;
use hookhost_core::request::Target;
use hookhost_core::selection::{Selection, select};
use hookhost_core::target::{Applier, Readiness};
use hookhost_helm::record::Record;

use crate::cluster;
use crate::problem::Problem;

/// What an Operation's target turned out to be.
pub(in crate::commands) struct Found {
    pub(in crate::commands) target: Target,
    pub(in crate::commands) chosen: Chosen,
    /// Whether Flux's digest vouches for the record.
    pub(in crate::commands) is_verified: bool,
    /// As which service account Flux applies the release, where the HelmRelease names one.
    pub(in crate::commands) applier: Option<Applier>,
    /// All targets by which Operations may name the release; none where it is from a file.
    pub(in crate::commands) names: Vec<TargetKey>,
}

/// What of a release's record an Operation is about.
pub(in crate::commands) struct Chosen {
    /// The release, for messages.
    pub(in crate::commands) release: String,
    /// Its namespace.
    pub(in crate::commands) namespace: String,
    /// The hook or the event's hooks, or why the release cannot serve the Operation.
    pub(in crate::commands) selection: Result<Selection, Refusal>,
    /// What is odd about the record.
    pub(in crate::commands) warnings: Vec<Warning>,
}

impl Chosen {
    /// From a record.
    pub(in crate::commands) fn of(record: &Record, operation: &Operation) -> Chosen {
        Chosen {
            release: format!("{}/{}", record.namespace, record.name),
            namespace: record.namespace.clone(),
            selection: select(record, operation),
            warnings: warnings_of_record(record),
        }
    }

    fn bytes(&self) -> usize {
        self.selection.as_ref().map_or(0, Selection::bytes)
    }
}

/// A person at a terminal. What the administrator has configured only the controller knows.
struct Person;

impl Rules for Person {
    /// A person who plans may lack the right to list HelmReleases; the controller has it and finds out.
    fn may_skip_helm_releases(&self, error: &Error) -> bool {
        matches!(error, Error::Api(client::Error::Forbidden { .. }))
    }
}

/// Finds the target and selects from its release's record.
pub(in crate::commands) async fn resolve(
    connection: &Connection,
    operation: &Operation,
    namespace: &str,
) -> Result<Found> {
    let reader = Reader::new(connection.requests.clone());
    // A plan is made once: no change is waited for.
    let mut awaited = Vec::new();
    let mut resolver = Resolver::new(&reader, &Person, namespace, &mut awaited);
    let wanted = operation.clone();
    let choose = move |record: &Record| Ok(Chosen::of(record, &wanted));
    let found = async {
        let (target, location) = resolver.target(operation, Readiness::Required).await?;
        let (chosen, _) = resolver.select(&location, choose, Chosen::bytes).await?.into_parts();
        let (is_verified, names) = (location.snapshot.is_some(), location.names());
        Ok(Found { target, chosen, is_verified, applier: location.applier, names })
    };
    found.await.map_err(|halt| problem(halt, &operation.target_ref.name).into())
}

/// Why the controller would not run the Operation now.
fn problem(halt: Halt, name: &str) -> Problem {
    let doing = || format!("cannot read the Operation's target {name}");
    match halt {
        Halt::Rejected(refusal) => {
            let (reason, problem) = (refusal.reason, Problem::new(refusal.reason, refusal.message));
            match reason {
                Reason::TargetNotFound => problem.with_advice(
                    "Is it in another namespace? Name that with -n, or in metadata.namespace where the Operation comes from a file.",
                ),
                _ => problem,
            }
        }
        Halt::Failed(Error::Api(error)) => cluster::problem(doing(), error),
        Halt::Failed(error) => Problem::new(error.reason(), doing()).with_source(error),
    }
}
