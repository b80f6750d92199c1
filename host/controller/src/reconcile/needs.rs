//! What a hook *needs* is what its pod refers to, and the closure of it: all of that must be there, or be lent, before the Job
//! is made. Else the pod would wait in ContainerCreating without a word, or start without its rights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::clone::NotCreated;
use hookhost_core::closure::Member;
use hookhost_core::dependency::{self, Lending};
use hookhost_core::loan::{Expected, Found, JobId, Loan, Terms, Uncovered, expected, refuse_mismatches};
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::Operation;
use hookhost_core::prerequisites::{Facts, Hooked, Settled, settle};
use hookhost_core::refusal::Refusal;
use hookhost_core::request::Request;
use hookhost_core::selection::Selected;
use hookhost_helm::text::{quote, shortlist};

use super::ahead::Ahead;
use super::prepare::Stop;
use super::{Context, Subject};
use crate::crd::Closure;
use hookhost_cluster::client;
use hookhost_cluster::error::Error;
use hookhost_cluster::job::Job;
use hookhost_cluster::prerequisites::{AT_ONCE, existing, existing_classes};
use hookhost_cluster::resolve::Location;

/// Objects that a message names.
const MAX_NAMED: usize = 8;

/// What a hook needs of hookhost.
#[derive(Default)]
pub(super) struct Needs {
    /// What is made for the run.
    pub(super) loans: Vec<Loan>,
    /// What has to be the chart's when the run begins, where it is there.
    pub(super) expected: Vec<Expected>,
    /// What Helm has deleted and is not created for the run.
    pub(super) not_created: NotCreated,
}

impl Context {
    /// Makes sure that the prerequisites of a hook exist, or can be created for the run. `uncovered` are the hooks without a digest that
    /// may be created; `made` are the Operation's Jobs, where some were created.
    pub(super) async fn needs(
        &self,
        subject: &Subject,
        operation: &Operation,
        hooked: &Hooked<'_>,
        location: &Location,
        ahead: &Ahead<'_>,
        made: &[Arc<Job>],
    ) -> Result<Needs, Stop> {
        let Hooked { references, request, event, .. } = *hooked;
        let namespace = hooked.namespace();
        let closure = hooked.closure()?;
        let lending = match closure.needed.is_empty() {
            true => Lending::NotAsked,
            false => self.lending(subject, operation, request)?,
        };
        let (existing, found, classes) = futures::try_join!(
            existing(&self.reader, namespace, references, |reference| ahead.keys(namespace, reference)),
            self.look_at(&closure.needed, namespace, &lending),
            existing_classes(&self.reader, hooked)
        )?;
        let made: Vec<JobId<'_>> = made.iter().map(|job| job.id()).collect();
        let uncovered = self.uncovered(location, hooked.hook);
        let terms = Terms {
            namespace,
            release_namespace: &request.release.namespace,
            cluster_objects: &self.config.cluster_objects,
            uncovered,
            applier: location.applier.as_ref().map(|applier| applier.account.name.as_str()),
            event,
            jobs: &made,
        };
        let facts = Facts { existing, found, classes };
        let Settled { loans, not_created } = settle(hooked, &closure.needed, &facts, &lending, &terms)?;
        if lending != Lending::On {
            return Ok(Needs { loans, not_created, expected: Vec::new() });
        }
        let created: Vec<ObjectRef> = loans.iter().map(|loan| loan.object.clone()).collect();
        let expected = if self.policies.allows_existing(request, &self.scope(subject, request))? {
            Vec::new()
        } else {
            // Of the whole closure: the pod has what is there of another event, too, and what is optional.
            expected(&closure.whole, &created, namespace, uncovered)
        };
        // Nothing is created yet: the run starts once that is the chart's.
        let is_charts = self.check_content(&expected, &created).await?;
        is_charts.map_err(|refusal| Refusal::wait(refusal.reason, refusal.message))?;
        Ok(Needs { loans, expected, not_created })
    }

    /// What of the temporary objects that were `created` for an event the next of its hooks uses, and what has to be the chart's when
    /// that hook starts; if policies still let it have them. They may be other ones than when the event began.
    pub(super) fn uses(
        &self,
        subject: &Subject,
        operation: &Operation,
        Selected { hook, others, .. }: &Selected,
        request: &Request,
        created: &[ObjectRef],
        uncovered: Uncovered,
    ) -> Result<(Vec<ObjectRef>, Vec<Expected>), Refusal> {
        let references = dependency::references(&request.hook.manifest);
        let event = operation.parameters.event.as_deref();
        let hooked =
            Hooked { hook, hooks: others, request, event, references: &references, makers: &[], step: None };
        let closure = hooked.closure()?;
        let used = closure.needed.iter().map(ObjectRef::of).filter(|object| created.contains(object));
        let used: Vec<ObjectRef> = used.collect();
        if used.is_empty() {
            return Ok((used, Vec::new()));
        }
        let scope = self.scope(subject, request);
        if let Some((Closure::Forbid, policy)) = self.policies.closure(request, &scope)? {
            let message = format!(
                "hookhost has created for the run what the hook needs ({}), and the HookPolicy {} forbids by now that a run has such \
                 objects (spec.closure: Forbid)",
                shortlist(used.iter().map(ObjectRef::to_string), MAX_NAMED),
                quote(&policy)
            );
            return Err(Refusal::fail(Reason::ClosureRefused, message));
        }
        let expected = match self.policies.allows_existing(request, &scope)? {
            true => Vec::new(),
            false => expected(&closure.whole, &used, hooked.namespace(), uncovered),
        };
        Ok((used, expected))
    }

    /// Whether what is there of these objects is what the chart has, for a run that is given what hookhost has `created`.
    pub(super) async fn check_content(
        &self,
        expected: &[Expected],
        created: &[ObjectRef],
    ) -> Result<Result<(), Refusal>, Error> {
        let mut mismatches = Vec::new();
        // One after the other: each may have 1 MiB.
        for one in expected {
            let ObjectRef { kind, namespace, name } = &one.object;
            let compared = self.reader.whole(*kind, namespace, name, |there| one.mismatch(there)).await?;
            mismatches.extend(compared.flatten());
        }
        Ok(refuse_mismatches(&mismatches, created).map_or(Ok(()), Err))
    }

    /// Whether hookhost lends to this run.
    fn lending(
        &self,
        subject: &Subject,
        operation: &Operation,
        request: &Request,
    ) -> Result<Lending, Refusal> {
        if !self.config.closure {
            return Ok(Lending::Off);
        }
        Ok(match self.policies.closure(request, &self.scope(subject, request))? {
            Some((Closure::Forbid, policy)) => Lending::Forbidden(policy),
            Some((Closure::Allow, _)) => Lending::On,
            None if operation.parameters.closure => Lending::On,
            None => Lending::NotAsked,
        })
    }

    /// What there is of a closure. In another namespace that is asked only where it is managed and of the run's organisation:
    /// nobody learns by a hook what others have.
    async fn look_at(
        &self,
        closure: &[Member<'_>],
        namespace: &str,
        lending: &Lending,
    ) -> Result<BTreeMap<ObjectRef, Found>, Error> {
        let may_be_seen = |object: &ObjectRef| {
            !object.is_outside(namespace)
                || (self.gated.contains(&object.namespace)
                    && self.organisations.is_shared(&object.namespace, namespace))
        };
        let objects: BTreeSet<ObjectRef> = closure.iter().map(ObjectRef::of).filter(may_be_seen).collect();
        let found = objects.into_iter().map(async |object| {
            let found = match self.lender.look(&object).await {
                Ok(seen)
                    if object.is_outside(namespace)
                        && !matches!(seen.found, Found::Missing | Found::Leaving { .. }) =>
                {
                    Found::Kept
                }
                Ok(seen) => seen.found,
                Err(Error::Api(client::Error::Forbidden { .. })) if object.is_outside(namespace) => {
                    return Ok(None);
                }
                // Where nothing is lent, what may not be looked at is taken to be there, as ever.
                Err(Error::Api(client::Error::Forbidden { .. }))
                    if object.kind.opens() && *lending != Lending::On =>
                {
                    Found::Kept
                }
                Err(error) => return Err(error),
            };
            // Whoever held it is gone.
            let is_free = match &found {
                Found::Lent { holder, .. } if !object.kind.is_namespaced() => {
                    !self.lender.is_held(holder.as_deref()).await?
                }
                _ => false,
            };
            Ok(Some((object, if is_free { Found::Missing } else { found })))
        });
        stream::iter(found).buffered(AT_ONCE).try_filter_map(async |found| Ok(found)).try_collect().await
    }
}
