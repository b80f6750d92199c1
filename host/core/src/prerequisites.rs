//! The *prerequisites* of a hook are the objects that must exist before its Job may start: those that its pod refers to, and those of
//! the release's other hooks with which it does its work.
//!
//! Without them the pod would wait in ContainerCreating, or start without its rights. Whoever plans or starts a run finds out which of
//! them exist ([`Facts`]); [`settle`] decides from that whether the hook may start, and which objects are created for the run.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::clone::NotCreated;
use crate::closure::{Member, closure};
use crate::dependency::{self, Lending, MissingKey, Reference, can_do_without, starts_without};
use crate::loan::{Found, Loan, Terms, arrange, is_deleted_by_helm, needed};
use crate::maker::{self, Maker};
use crate::object::ObjectRef;
use crate::refusal::Refusal;
use crate::request::{BuildError, Request};
use crate::step::Step;
use hookhost_helm::hook::Hook;
use hookhost_helm::workload::Workload;

/// A hook that is about to run, and what its prerequisites follow from.
#[derive(Clone, Copy, Debug)]
pub struct Hooked<'a> {
    /// The hook.
    pub hook: &'a Hook,
    /// All hooks of the release.
    pub hooks: &'a [Hook],
    /// What the policies are asked.
    pub request: &'a Request,
    /// The event that the Operation names, where it names one.
    pub event: Option<&'a str>,
    /// What the hook's pod refers to.
    pub references: &'a [Reference],
    /// Hooks of the release whose controllers may create what is missing.
    pub makers: &'a [Maker],
    /// Which of an event's hooks it is.
    pub step: Option<Step>,
}

/// The hooks that a hook needs.
#[derive(Debug)]
pub struct Closure<'a> {
    /// All of them, whatever the event.
    pub whole: Vec<Member<'a>>,
    /// Those that this run needs.
    pub needed: Vec<Member<'a>>,
}

/// What exists of a hook's prerequisites.
#[derive(Debug, Default)]
pub struct Facts<'r> {
    /// What the pod refers to and exists, with those of its keys that the pod needs.
    pub existing: BTreeMap<&'r Reference, BTreeSet<String>>,
    /// What exists of each hook that the run needs. One that is not in here could not be looked for.
    pub found: BTreeMap<ObjectRef, Found>,
    /// Names of SecretProviderClasses that the pod needs and that exist though Helm has deleted them, by its record.
    pub classes: BTreeSet<String>,
}

/// What is done about a hook's prerequisites when its run starts.
#[derive(Debug, Default)]
pub struct Settled {
    /// The objects that are created for the run.
    pub loans: Vec<Loan>,
    /// What Helm has deleted and is not created for the run.
    pub not_created: NotCreated,
}

impl<'a> Hooked<'a> {
    /// The namespace of the hook's Job.
    pub fn namespace(&self) -> &'a str {
        self.request.job_namespace()
    }

    /// The hooks that it needs.
    ///
    /// # Errors
    /// One of them cannot be read, or there are too many.
    pub fn closure(&self) -> Result<Closure<'a>, Refusal> {
        let whole = closure(Workload::of(&self.hook.manifest), &self.request.release.namespace, self.hooks)
            .map_err(BuildError::from)?;
        let needed = needed(self.hook, &whole, self.references, self.event);
        Ok(Closure { whole, needed })
    }
}

/// Decides whether the hook may start. `needed` are the hooks that the run needs, and `terms` are for the objects that are created where
/// `lending` is on.
///
/// # Errors
/// Something is missing: the Operation waits for it, or cannot run.
pub fn settle(
    of: &Hooked<'_>,
    needed: &[Member<'_>],
    facts: &Facts<'_>,
    lending: &Lending,
    terms: &Terms<'_>,
) -> Result<Settled, Refusal> {
    let Facts { found, .. } = facts;
    let namespace = of.namespace();
    let far = found.iter().filter(|(object, found)| object.is_outside(namespace) && **found != Found::Kept);
    if let Some(refusal) = dependency::refuse_far(far.map(|(object, _)| object)) {
        return Err(refusal);
    }
    // What another run has created for itself is as good as gone.
    let absent: Vec<ObjectRef> = found
        .iter()
        .filter(|(_, found)| !matches!(found, Found::Kept | Found::TakenOver { .. }))
        .map(|(object, _)| object.clone())
        .collect();
    if let Some(refusal) = refuse(of, facts, &absent, lending) {
        return Err(refusal);
    }
    let unseen = unseen(of, needed, facts);
    if *lending != Lending::On {
        let without = absent.into_iter().filter(can_do_without).collect();
        return Ok(Settled {
            loans: Vec::new(),
            not_created: NotCreated { without, unseen, ..NotCreated::default() },
        });
    }
    let loans = arrange(of.hook, needed, terms, |object| match found.get(object) {
        Some(found) => found.clone(),
        None => Found::Kept,
    })?;
    Ok(Settled { loans, not_created: NotCreated { unseen, ..NotCreated::default() } })
}

/// Why the run cannot start, these members of its closure being absent.
fn refuse(of: &Hooked<'_>, facts: &Facts<'_>, absent: &[ObjectRef], lending: &Lending) -> Option<Refusal> {
    let Hooked { references, makers, step, .. } = *of;
    let is_absent = |one: &Reference| absent.iter().any(|object| one.is_to(object.kind, &object.name));
    let is_missing = |one: &&Reference| {
        one.is_missing(|| facts.existing.contains_key(one)) || (!one.optional && is_absent(one))
    };
    let missing: Vec<&Reference> = references.iter().filter(is_missing).collect();
    let refusal = if *lending == Lending::On {
        let others: Vec<&Reference> = missing.iter().copied().filter(|one| !is_absent(one)).collect();
        dependency::refuse(of.namespace(), &others, &[], lending, step)
    } else {
        // Where nothing is created, the run does without what the pod starts without.
        let is_needed = |object: &&ObjectRef| !starts_without(object, references);
        let absent: Vec<ObjectRef> = absent.iter().filter(is_needed).cloned().collect();
        // Without a network policy the pod starts, and in most namespaces reaches all that it wants.
        let is_barred = !missing.is_empty() || absent.iter().any(|object| !can_do_without(object));
        let refused = if is_barred { absent.as_slice() } else { &[] };
        dependency::refuse(of.namespace(), &missing, refused, lending, step)
    };
    // The chart has the keys of what is created.
    let lacking: Vec<MissingKey<'_>> = facts
        .existing
        .iter()
        .filter(|(reference, _)| !is_absent(reference))
        .flat_map(|(reference, keys)| reference.lacks(|key| keys.contains(key)))
        .collect();
    refusal
        .map(|refusal| maker::tell(refusal, &missing, makers))
        .or_else(|| dependency::refuse_keys(of.namespace(), &lacking))
        .or_else(|| {
            let deleted = maker::deleted_classes(&of.hook.manifest, makers).into_iter();
            let missing: Vec<&Maker> =
                deleted.filter(|class| !facts.classes.contains(class.name())).collect();
            maker::refuse_classes(&missing)
        })
}

/// The members in other namespaces that Helm deletes and that could not be looked for.
fn unseen(of: &Hooked<'_>, needed: &[Member<'_>], facts: &Facts<'_>) -> Vec<ObjectRef> {
    let is_unseen = |member: &&Member<'_>| {
        let object = ObjectRef::of(member);
        is_deleted_by_helm(member.hook)
            && object.is_outside(of.namespace())
            && !facts.found.contains_key(&object)
    };
    let unseen: BTreeSet<ObjectRef> = needed.iter().filter(is_unseen).map(ObjectRef::of).collect();
    unseen.into_iter().collect()
}
