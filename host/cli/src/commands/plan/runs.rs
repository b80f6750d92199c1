//! The *runs* of a plan: the hook, or all hooks of an event, each with its request and with what is created for it.
//!
//! Whether a run can start depends on what exists in the cluster. A plan for a cluster looks; a plan from a file goes by what Helm
//! records.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use hookhost_cluster::error::Error;
use hookhost_cluster::prerequisites::{AT_ONCE, existing, existing_classes};
use hookhost_cluster::read::Reader;
use hookhost_controller::crd;
use hookhost_core::clone::{self, NotCreated};
use hookhost_core::closure::Member;
use hookhost_core::dependency::{Lending, Reference, references};
use hookhost_core::loan::{self, ByHelm, ClusterObject, Terms, Uncovered};
use hookhost_core::maker;
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::Operation;
use hookhost_core::plan::{Staging, Warning};
use hookhost_core::prerequisites::{Closure, Facts, Hooked, Settled, settle};
use hookhost_core::refusal::Refusal;
use hookhost_core::request::{self, Request, Target};
use hookhost_core::selection::{Selected, Selection};
use hookhost_core::step::Step;
use hookhost_core::target::Applier;
use hookhost_helm::text::quote;
use jiff::Timestamp;

use super::asked::{self, Asked};
use super::closure;
use super::hook_policies::HookPolicies;
use crate::problem::Problem;

/// A hook that is to be run.
pub(super) struct Run {
    pub(super) request: Request,
    pub(super) staging: Staging,
}

/// All runs of a plan.
pub(super) struct Runs {
    /// In their order.
    pub(super) runs: Vec<Run>,
    /// What a person should know of what the hooks need.
    pub(super) warnings: Vec<Warning>,
    /// Whether the controller would let the Operation wait now, which a warning says.
    pub(super) is_blocked: bool,
    /// The cluster's HookPolicies, which are to be asked.
    pub(super) hook_policies: Option<HookPolicies>,
}

/// What is the same for all hooks of a plan.
pub(super) struct Common<'a> {
    pub(super) operation: &'a Operation,
    /// The policies that are asked; a HookPolicy among them may say what is created for a run.
    pub(super) policies: &'a [Asked],
    pub(super) target: Target,
    pub(super) selection: &'a Selection,
    pub(super) organisation: String,
    pub(super) cluster_id: String,
    pub(super) now: Timestamp,
    /// Whether Flux's digest vouches for the record.
    pub(super) is_verified: bool,
    pub(super) applier: Option<&'a Applier>,
}

/// A hook of the selection, with what the policies are asked about it.
pub(super) struct Candidate<'a> {
    selected: &'a Selected,
    request: Request,
    references: Vec<Reference>,
    step: Option<Step>,
    selection: &'a Selection,
    event: Option<&'a str>,
}

impl Candidate<'_> {
    /// What the policies are asked.
    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    fn hooked(&self) -> Hooked<'_> {
        let Selected { hook, others, .. } = self.selected;
        Hooked {
            hook,
            hooks: others,
            request: &self.request,
            event: self.event,
            references: &self.references,
            makers: &self.selection.makers,
            step: self.step,
        }
    }

    /// The other hooks of the release that the hook needs.
    fn closure(&self) -> Result<Closure<'_>> {
        let what = || format!("it is not known what the hook {} needs", quote(&self.request.hook.name));
        let closure = self.hooked().closure();
        closure.map_err(|refusal| Problem::new(refusal.reason, what()).with_source(refusal).into())
    }
}

impl<'a> Common<'a> {
    /// The hooks that are to be run.
    pub(super) fn candidates(&self) -> Result<Vec<Candidate<'a>>> {
        let Common { operation, selection, .. } = *self;
        let found = &selection.hooks;
        let candidate = |(n, selected): (usize, &'a Selected)| {
            let Selected { hook, others, .. } = selected;
            let request = Request::build(request::Inputs {
                operation,
                approved_by: operation.approvals.approved_by.clone(),
                target: self.target.clone(),
                release: selection.release.clone(),
                hook,
                hooks: others,
                organisation: self.organisation.clone(),
                cluster_id: self.cluster_id.clone(),
                now: self.now,
            })
            .map_err(|error| {
                Problem::new(error.reason(), "cannot make the request for the policies").with_source(error)
            })?;
            let step = operation.parameters.whole_event().map(|_| Step { number: n + 1, of: found.len() });
            clone::check_name(&request, step, &selection.jobs).map_err(|error| {
                let message = format!("the Operation {} cannot be run", quote(&operation.name));
                Problem::new(error.reason(), message).with_source(error)
            })?;
            let references = references(&request.hook.manifest);
            let event = operation.parameters.event.as_deref();
            Ok(Candidate { selected, request, references, step, selection, event })
        };
        found.iter().enumerate().map(candidate).collect()
    }

    /// The runs, by what was found of the prerequisites of each; none where nobody looked. `hook_policies` are the cluster's.
    pub(super) fn runs(
        &self,
        candidates: &[Candidate<'_>],
        facts: Option<Vec<Facts<'_>>>,
        hook_policies: Option<&HookPolicies>,
    ) -> Result<Runs> {
        let (mut runs, mut warnings, mut cluster_objects) = (Vec::<Run>::new(), Vec::new(), BTreeSet::new());
        let mut is_blocked = false;
        let mut facts = facts.map(Vec::into_iter);
        for candidate in candidates {
            let Candidate { request, .. } = candidate;
            let closure = candidate.closure()?;
            let known = facts.as_mut().and_then(Iterator::next);
            let lending = self.lending(request, hook_policies, &closure.needed);
            warnings.extend(self.forbidden(&lending));
            let creates = lending == Lending::On;
            let mut operation = Cow::Borrowed(self.operation);
            if operation.parameters.closure != creates {
                operation.to_mut().parameters.closure = creates;
            }
            if known.is_none() {
                warnings.extend(closure::warnings(&operation, request, &closure.needed));
                warnings.extend(closure::deleted_classes(request, &self.selection.makers));
            }
            let missed = &candidate.selected.missed;
            warnings.extend(closure::missed(missed));
            cluster_objects.extend(closure::cluster_objects(request, &closure.needed));
            let assumed = assumed(candidate, &closure.needed, creates);
            let settled = match known {
                Some(known) => match self.settle(candidate, &closure.needed, &known, &lending) {
                    Err(refusal) if !refusal.is_final() => {
                        warnings.push(would_wait(&refusal.of_step(&request.hook.name, candidate.step)));
                        is_blocked = true;
                        self.settle(candidate, &closure.needed, &assumed, &lending)
                    }
                    settled => settled,
                },
                None => self.settle(candidate, &closure.needed, &assumed, &lending),
            };
            let settled = settled.map_err(|refusal| {
                let what =
                    format!("the hook {} cannot have created what it needs", quote(&request.hook.name));
                Problem::new(refusal.reason, what).with_source(refusal)
            })?;
            let earlier = runs.iter().map(|earlier| &earlier.staging);
            let mut staging = Staging::after(earlier, settled.loans, candidate.step);
            staging.not_created = NotCreated { missed: missed.clone(), ..settled.not_created };
            runs.push(Run { request: request.clone(), staging });
        }
        warnings.extend(closure::value_needed(&cluster_objects));
        Ok(Runs { runs, warnings, is_blocked, hook_policies: None })
    }

    /// What the controller does about the prerequisites. Which objects without a namespace this cluster's hookhost may create only it
    /// knows: all that the hook needs are taken to be allowed.
    fn settle(
        &self,
        candidate: &Candidate<'_>,
        needed: &[Member<'_>],
        facts: &Facts<'_>,
        lending: &Lending,
    ) -> Result<Settled, Refusal> {
        let cluster_objects: Vec<ClusterObject> = needed
            .iter()
            .filter_map(|member| ClusterObject::anywhere(member.kind, &member.hook.name))
            .collect();
        let terms = Terms {
            namespace: candidate.hooked().namespace(),
            release_namespace: &candidate.request.release.namespace,
            cluster_objects: &cluster_objects,
            uncovered: if self.is_verified { Uncovered::None } else { Uncovered::All },
            applier: self.applier.map(|applier| applier.account.name.as_str()),
            event: candidate.event,
            jobs: &[],
        };
        settle(&candidate.hooked(), needed, facts, lending, &terms)
    }

    /// Whether anything is created for the run: a HookPolicy that forbids it counts most, and one that allows it more than what the
    /// Operation says.
    fn lending(
        &self,
        request: &Request,
        hook_policies: Option<&HookPolicies>,
        needed: &[Member<'_>],
    ) -> Lending {
        if needed.is_empty() {
            return Lending::NotAsked;
        }
        let of_cluster = hook_policies.and_then(|policies| policies.closure(request).ok().flatten());
        let says = asked::closure(self.policies, request).into_iter().chain(of_cluster);
        match says.max_by_key(|(closure, _)| *closure == crd::Closure::Forbid) {
            Some((crd::Closure::Forbid, policy)) => Lending::Forbidden(policy),
            Some((crd::Closure::Allow, _)) => Lending::On,
            None if self.operation.parameters.closure => Lending::On,
            None => Lending::NotAsked,
        }
    }

    fn forbidden(&self, lending: &Lending) -> Option<Warning> {
        let Lending::Forbidden(policy) = lending else { return None };
        let message = format!(
            "the HookPolicy {} forbids to create for the run what Helm has deleted (spec.closure: Forbid), though the Operation asks \
             for it: what is missing keeps the run waiting",
            quote(policy)
        );
        self.operation.parameters.closure.then_some(Warning { code: "ClosureForbidden", message })
    }
}

/// The warning that the run would wait now.
pub(super) fn would_wait(refusal: &Refusal) -> Warning {
    Warning { code: refusal.reason.as_str(), message: format!("the run would wait now: {}", refusal.message) }
}

/// What a plan takes to exist where nobody looks: all that is no hook of the release, and of the hooks those that Helm leaves in the
/// cluster. `creates` is whether hookhost creates the others for the run; where it does not, warnings name them.
fn assumed<'r>(candidate: &'r Candidate<'_>, needed: &[Member<'_>], creates: bool) -> Facts<'r> {
    let (namespace, revision) = (candidate.hooked().namespace(), candidate.request.release.revision);
    let existing = candidate.references.iter().map(|one| (one, one.keys.keys().cloned().collect())).collect();
    let mut found = BTreeMap::new();
    for member in needed {
        let object = ObjectRef::of(member);
        let is_left = ByHelm::of(member.hook, revision) == ByHelm::Left;
        let is_there = !creates || is_left || object.is_outside(namespace);
        let entry = found.entry(object).or_insert(loan::Found::Missing);
        if is_there {
            *entry = loan::Found::Kept;
        }
    }
    let classes = maker::deleted_classes(&candidate.request.hook.manifest, &candidate.selection.makers);
    let classes = classes.into_iter().map(|class| class.name().to_owned()).collect();
    Facts { existing, found, classes }
}

/// What of the prerequisites of these hooks exists in the cluster; or why that cannot be read.
pub(super) async fn look<'r>(
    reader: &Reader,
    candidates: &'r [Candidate<'_>],
) -> Result<Result<Vec<Facts<'r>>, Error>> {
    let mut all = Vec::new();
    for candidate in candidates {
        let namespace = candidate.hooked().namespace();
        let closure = candidate.closure()?;
        let objects: BTreeSet<ObjectRef> = closure.needed.iter().map(ObjectRef::of).collect();
        let found = objects.into_iter().map(async |object| {
            let ObjectRef { kind, namespace, name } = &object;
            let found = match reader.needed(*kind, namespace, name).await? {
                None => loan::Found::Missing,
                Some(metadata) if metadata.get("deletionTimestamp").is_some() => {
                    loan::Found::Leaving { is_created: false }
                }
                // Only the controller can tell whether another run has created it for itself.
                Some(_) => loan::Found::Kept,
            };
            Ok::<_, Error>((object, found))
        });
        let found = stream::iter(found).buffered(AT_ONCE).try_collect::<BTreeMap<_, _>>();
        let existing = existing(reader, namespace, &candidate.references, |_| None);
        let hooked = candidate.hooked();
        match futures::try_join!(existing, found, existing_classes(reader, &hooked)) {
            Ok((existing, found, classes)) => all.push(Facts { existing, found, classes }),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(all))
}
