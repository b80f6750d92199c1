//! A plan for a *cluster*: what exists there decides about it as it would about the run.

use anyhow::Result;
use hookhost_cluster::client::Connection;
use hookhost_cluster::error::Error;
use hookhost_cluster::prerequisites::review;
use hookhost_cluster::read::Reader;
use hookhost_core::Request;
use hookhost_core::operation::Operation;
use hookhost_core::plan::Warning;
use hookhost_core::refusal::Refusal;
use hookhost_helm::hook::Hook;

use super::asked::Asked;
use super::conflicts::conflict;
use super::hook_policies::HookPolicies;
use super::inputs::{Given, Planned};
use super::runs::{self, Candidate, Run, Runs};
use super::target;

/// What a cluster says of a plan.
#[derive(Default)]
struct Said {
    warnings: Vec<Warning>,
    is_blocked: bool,
}

impl Said {
    /// What was read; none, with a warning, where it cannot be read. `what` is what the plan has not found out.
    fn read<T>(&mut self, code: &'static str, what: &str, read: Result<T, Error>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                let message =
                    format!("this plan has not found out {what}: {error}. The controller finds out");
                self.warnings.push(Warning { code, message });
                None
            }
        }
    }

    /// The run would not start now, or never.
    fn rejects(&mut self, refusal: Refusal) {
        self.is_blocked = true;
        self.warnings.push(runs::would_wait(&refusal));
    }
}

/// Finds the release of the Operation's target, and everything on which it depends whether its hooks start.
pub(super) async fn find(
    connection: &Connection,
    operation: &mut Operation,
    given: Given,
    policies: &[Asked],
) -> Result<Runs> {
    let found = target::resolve(connection, operation, &connection.namespace).await?;
    operation.namespace = Some(connection.namespace.clone());
    let mut said = Said::default();
    let of = Planned::new(found, operation)?;
    let hooks: Vec<&Hook> = of.selection.hooks.iter().map(|selected| &selected.hook).collect();
    let conflict = conflict(connection, operation, &of.names, &hooks).await;
    let conflict =
        said.read("ConflictsNotRead", "whether the run would wait for another Operation", conflict);
    conflict.flatten().into_iter().for_each(|refusal| said.rejects(refusal));

    let common = given.common(&of, operation, policies);
    let candidates = common.candidates()?;
    let reader = Reader::new(connection.requests.clone());
    let facts = runs::look(&reader, &candidates).await?;
    let facts = said.read("PrerequisitesNotRead", "whether the objects exist that the hook needs", facts);
    let requests: Vec<&Request> = candidates.iter().map(Candidate::request).collect();
    let (hook_policies, warnings) = HookPolicies::load(connection, &requests, policies).await?;
    said.warnings.extend(warnings);
    let runs = common.runs(&candidates, facts, hook_policies.as_ref())?;
    if let Some(applier) = &of.applier {
        let created =
            runs.runs.iter().map(|Run { request, staging }| (request.job_namespace(), &staging.loans[..]));
        let reviewed = review(&reader, applier, created).await;
        let what = format!(
            "whether the service account {} ({}), as which Flux applies the release, could create what hookhost creates for the run",
            applier.account, applier.from
        );
        let reviewed = said.read("ApplierNotAsked", &what, reviewed);
        reviewed.into_iter().filter_map(Result::err).for_each(|refusal| said.rejects(refusal));
    }
    drop(candidates);
    let Said { warnings, is_blocked } = said;
    let is_blocked = is_blocked || runs.is_blocked;
    Ok(of.warned(warnings, Runs { is_blocked, hook_policies, ..runs }))
}
