//! Whether the service account as which Flux applies a release could itself create what hookhost is about to create for a run.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use hookhost_core::refusal::Refusal;
use hookhost_core::target::{Applier, ToCreate};
use kube::core::ApiResource;

use super::Context;
use super::prepare::Prepared;
use hookhost_cluster::error::Result;
use hookhost_cluster::resource::{job_resource, needed_resource};

/// Reviews at once. A run creates objects of five resources at most.
const AT_ONCE: usize = 8;

impl Context {
    /// Asks the API server about each resource of which one would be created. It is asked anew for each start: rights change.
    pub(super) async fn review(&self, applier: &Applier, all: &[Prepared]) -> Result<Result<(), Refusal>> {
        let of = |resource: &ApiResource, namespace: &str| ToCreate {
            group: resource.group.clone(),
            resource: resource.plural.clone(),
            namespace: namespace.to_owned(),
        };
        let mut created = BTreeSet::new();
        for Prepared { namespace, loans, .. } in all {
            created.insert(of(&job_resource(), namespace));
            // Those that give rights have been refused already, and only those may be without a namespace.
            created.extend(loans.iter().map(|loan| of(&needed_resource(loan.object.kind), namespace)));
        }
        let answers = created.into_iter().map(async |one| {
            let is_allowed = self.reader.may_create(&applier.user(), &applier.groups(), &one).await?;
            Ok::<_, hookhost_cluster::error::Error>((!is_allowed).then_some(one))
        });
        let forbidden: Vec<Option<ToCreate>> = stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
        let forbidden: Vec<ToCreate> = forbidden.into_iter().flatten().collect();
        Ok(applier.refuse(&forbidden).map_or(Ok(()), Err))
    }
}
