//! What a hook *needs* is what its pod refers to, and the closure of it: all of that must be there, or be lent, before the Job
//! is made. Else the pod would wait in ContainerCreating without a word, or start without its rights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::clone::NotCreated;
use hookhost_core::closure::{Member, closure};
use hookhost_core::dependency::{self, Lending, MissingKey, Reference, can_do_without, starts_without};
use hookhost_core::loan::{
    Expected, Found, JobId, Loan, Terms, Uncovered, arrange, expected, is_deleted_by_helm, needed,
    refuse_mismatches,
};
use hookhost_core::maker::{self, Maker};
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_core::request::{BuildError, Request};
use hookhost_core::selection::Selected;
use hookhost_core::step::Step;
use hookhost_helm::hook::Hook;
use hookhost_helm::text::{quote, shortlist};
use hookhost_helm::workload::Workload;

use super::ahead::{Ahead, ask};
use super::prepare::Stop;
use super::{Context, Subject};
use crate::crd::Closure;
use hookhost_cluster::client;
use hookhost_cluster::error::Error;
use hookhost_cluster::job::Job;
use hookhost_cluster::read::{Keys, Reader};

/// Objects that are asked for at once, of those that a pod refers to, and of a closure: either may have 256.
const AT_ONCE: usize = 8;

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

/// A hook, and what is known of it when its needs are looked at.
pub(super) struct Needing<'a> {
    pub(super) subject: &'a Subject,
    pub(super) operation: &'a Operation,
    pub(super) hook: &'a Hook,
    /// All hooks of the release.
    pub(super) hooks: &'a [Hook],
    pub(super) request: &'a Request,
    /// What its pod refers to.
    pub(super) references: &'a [Reference],
    /// Hooks of the release of which some controller may make what is missing.
    pub(super) makers: &'a [Maker],
    /// Which hooks may be lent that no digest covers.
    pub(super) uncovered: Uncovered,
    /// As which service account Flux installs the release.
    pub(super) applier: Option<&'a str>,
    /// Which of an event's hooks it is.
    pub(super) step: Option<Step>,
    /// The Operation's Jobs, where some were made.
    pub(super) made: &'a [Arc<Job>],
}

impl Context {
    /// Makes sure that all is there, but for what is given back: that has to be lent.
    pub(super) async fn needs(&self, needing: &Needing<'_>, ahead: &Ahead) -> Result<Needs, Stop> {
        let Needing {
            subject,
            operation,
            hook,
            hooks,
            request,
            references,
            uncovered,
            applier,
            step,
            made,
            makers,
        } = needing;
        let namespace = request.release.namespace.as_str();
        let workload = Workload::of(&hook.manifest);
        let event = operation.parameters.event.as_deref();
        let whole = closure(workload, namespace, hooks).map_err(BuildError::from)?;
        let closure = needed(hook, &whole, references, event);
        let lending =
            if closure.is_empty() { Lending::NotAsked } else { self.lending(subject, operation, request)? };
        let (existing, found) = futures::try_join!(
            existing(&self.reader, namespace, references, ahead),
            self.look_at(&closure, namespace, &lending)
        )?;
        if let Some(refusal) = dependency::refuse_far(
            found
                .iter()
                .filter(|(object, found)| object.is_outside(namespace) && **found != Found::Kept)
                .map(|(object, _)| object),
        ) {
            return Err(refusal.into());
        }
        let is_unseen = |member: &&Member<'_>| {
            let object = ObjectRef::of(member);
            is_deleted_by_helm(member.hook) && object.is_outside(namespace) && !found.contains_key(&object)
        };
        let unseen: BTreeSet<ObjectRef> = closure.iter().filter(is_unseen).map(ObjectRef::of).collect();
        let unseen: Vec<ObjectRef> = unseen.into_iter().collect();
        // What another run borrows is as good as gone.
        let absent: Vec<ObjectRef> = found
            .iter()
            .filter(|(_, found)| !matches!(found, Found::Kept | Found::TakenOver { .. }))
            .map(|(object, _)| object.clone())
            .collect();
        let is_absent = |one: &Reference| absent.iter().any(|object| one.is_to(object.kind, &object.name));
        let is_missing = |one: &&Reference| {
            one.is_missing(|| existing.contains_key(one)) || (!one.optional && is_absent(one))
        };
        let missing: Vec<&Reference> = references.iter().filter(is_missing).collect();
        // Of what is lent, the chart has the keys.
        let lacking: Vec<MissingKey<'_>> = existing
            .iter()
            .filter(|(reference, _)| !is_absent(reference))
            .flat_map(|(reference, keys)| reference.lacks(|key| keys.contains(key)))
            .collect();
        let refusal = if lending == Lending::On {
            let others: Vec<&Reference> = missing.iter().copied().filter(|one| !is_absent(one)).collect();
            dependency::refuse(&others, &[], &lending, *step)
        } else {
            // Where nothing can be made, what the pod starts without is done without.
            let is_needed = |object: &&ObjectRef| !starts_without(object, references);
            let absent: Vec<ObjectRef> = absent.iter().filter(is_needed).cloned().collect();
            // Without a network policy the pod starts, and in most namespaces reaches all that it wants.
            let is_barred = !missing.is_empty() || absent.iter().any(|object| !can_do_without(object));
            let refused = if is_barred { absent.as_slice() } else { &[] };
            dependency::refuse(&missing, refused, &lending, *step)
        };
        let refusal = refusal.map(|refusal| maker::tell(refusal, &missing, makers));
        if let Some(refusal) = refusal.or_else(|| dependency::refuse_keys(&lacking)) {
            return Err(refusal.into());
        }
        if lending != Lending::On {
            let without = absent.into_iter().filter(can_do_without).collect();
            let not_created = NotCreated { without, unseen };
            return Ok(Needs { not_created, ..Needs::default() });
        }
        let made: Vec<JobId<'_>> = made.iter().map(|job| job.id()).collect();
        let terms = Terms {
            namespace,
            cluster_objects: &self.config.cluster_objects,
            uncovered: *uncovered,
            applier: *applier,
            event,
            jobs: &made,
        };
        let loans = arrange(hook, &closure, &terms, |object| match found.get(object) {
            Some(found) => found.clone(),
            None => Found::Kept,
        })?;
        let created: Vec<ObjectRef> = loans.iter().map(|loan| loan.object.clone()).collect();
        let expected = if self.policies.allows_existing(request, &self.scope(subject, request))? {
            Vec::new()
        } else {
            // Of the whole closure: the pod has what is there of another event, too, and what is optional.
            expected(&whole, &created, namespace, *uncovered)
        };
        // Nothing is created yet: the run starts once that is the chart's.
        let is_charts = self.check_content(&expected, &created).await?;
        is_charts.map_err(|refusal| Refusal::wait(refusal.reason, refusal.message))?;
        let not_created = NotCreated { unseen, without: Vec::new() };
        Ok(Needs { loans, expected, not_created })
    }

    /// What of the temporary objects that were `created` for an event the next of its hooks uses, and what has to be the chart's when
    /// that hook starts; if policies still let it have them. They may be other ones than when the event began.
    pub(super) fn uses(
        &self,
        subject: &Subject,
        operation: &Operation,
        Selected { hook, others }: &Selected,
        request: &Request,
        created: &[ObjectRef],
        uncovered: Uncovered,
    ) -> Result<(Vec<ObjectRef>, Vec<Expected>), Refusal> {
        let namespace = request.release.namespace.as_str();
        let whole = closure(Workload::of(&hook.manifest), namespace, others).map_err(BuildError::from)?;
        let references = dependency::references(&request.hook.manifest);
        let needed = needed(hook, &whole, &references, operation.parameters.event.as_deref());
        let used = needed.iter().map(ObjectRef::of).filter(|object| created.contains(object));
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
            false => expected(&whole, &used, namespace, uncovered),
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

    /// What there is of a closure. In another namespace that is asked only where it is managed and of the release's organisation:
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
                    && self.organisation(&object.namespace) == self.organisation(namespace))
        };
        let objects: BTreeSet<ObjectRef> = closure.iter().map(ObjectRef::of).filter(may_be_seen).collect();
        let found = objects.into_iter().map(async |object| {
            let found = match self.lender.look(&object).await {
                Ok(seen)
                    if object.is_outside(namespace)
                        && !matches!(seen.found, Found::Missing | Found::Leaving) =>
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

/// Those that exist, of what has to be looked for, with the keys of those of which the pod needs some.
async fn existing<'r>(
    reader: &Reader,
    namespace: &str,
    references: &'r [Reference],
    ahead: &Ahead,
) -> Result<BTreeMap<&'r Reference, Keys>, Error> {
    let asked = references.iter().filter(|reference| reference.is_in_question());
    let keys = asked.map(async |reference| {
        let found = match ahead.keys(namespace, reference) {
            Some(found) => found,
            None => ask(reader, namespace, reference).await?,
        };
        Ok::<_, Error>(found.map(|found| (reference, found)))
    });
    let keys: Vec<_> = keys.collect();
    let found: Vec<_> = stream::iter(keys).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use hookhost_core::kind::Kind;
    use kube::client::Body;
    use serde_json::{Map, Value, json};

    use super::*;

    /// An API server that has these config maps, and counts how many it is asked for at once.
    fn reader(keys: usize, most: &'static AtomicUsize) -> Reader {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        let data: Map<String, Value> = (0..keys).map(|n| (format!("k{n}"), json!(""))).collect();
        let text = json!({"kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}).to_string();
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let text = text.clone();
            async move {
                most.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
                tokio::task::yield_now().await;
                NOW.fetch_sub(1, SeqCst);
                Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(text.into_bytes())))
            }
        });
        Reader::new(kube::Client::new(service, "default"))
    }

    #[tokio::test]
    async fn what_a_pod_refers_to_is_asked_for_a_few_at_a_time_and_read_as_far_as_it_is_needed() {
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let reference = |n: usize| Reference {
            kind: Kind::ConfigMap,
            name: format!("map-{n}"),
            optional: false,
            pulls: false,
            comes_with_pod: false,
            from: "here".into(),
            keys: ["k7", "absent"].map(|key| (key.to_owned(), "here".to_owned())).into(),
        };
        let references: Vec<Reference> = (0..dependency::MAX_REFERENCES).map(reference).collect();
        let reader = reader(1000, &MOST);
        let found = existing(&reader, "org", &references, &Ahead::default()).await.unwrap();
        assert_eq!(found.len(), references.len());
        assert!(found.values().all(|keys| *keys == ["k7".to_owned()].into()));
        assert!((2..=AT_ONCE).contains(&MOST.load(SeqCst)), "{MOST:?}");
    }
}
