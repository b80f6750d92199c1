//! What a run borrows, or why it cannot.

mod one;

use serde_json::Value;

use super::{ClusterObject, Found, JobId, Loan, MAX_LOANS};
use crate::closure::Member;
use crate::dependency::Reference;
use crate::kind::Kind;
use crate::object::ObjectRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::Hook;
use hookhost_helm::text::{quote, shortlist};
use hookhost_helm::workload::at;

/// Objects that a message names.
const MAX_NAMED: usize = 8;

/// How long to wait at first until another run gives back what this one cannot share, or until an object has gone. That run's Job
/// may be in a namespace that is not watched.
const UNTIL_GIVEN_BACK: u32 = 5;

/// Under which terms hookhost lends.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The run's namespace.
    pub namespace: &'a str,
    /// The release's.
    pub release_namespace: &'a str,
    /// Objects without a namespace that may be lent.
    pub cluster_objects: &'a [ClusterObject],
    /// Which hooks may be lent that no digest of Flux covers.
    pub uncovered: Uncovered,
    /// As which service account Flux installs the release, where it does so with that account's rights.
    pub applier: Option<&'a str>,
    /// The event that the Operation says, where it does: only what the chart has for it is lent. Else what it has for any event
    /// of the hook.
    pub event: Option<&'a str>,
    /// The run's Jobs, where they were made before: for an event, those of all steps.
    pub jobs: &'a [JobId<'a>],
}

/// Which hooks may be lent that no digest of Flux covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// None.
    None,
    /// Those that give no rights: whoever can write Secrets in the namespace could have made them.
    WithoutRights,
    /// All: there is no digest of a plain Helm release.
    All,
}

/// What has to be made so that all of `closure` is there, in the order in which Helm makes kinds; nothing where all of it is.
/// `hook` is the one that runs, and `closure` what it has [`needed`].
pub fn arrange<'a>(
    hook: &Hook,
    closure: &[Member<'a>],
    terms: &Terms<'_>,
    found: impl Fn(&ObjectRef) -> Found,
) -> Result<Vec<Loan>, Refusal> {
    let mut loans = Vec::new();
    let mut kept = Vec::new();
    for member in one_of_each(hook, closure, terms) {
        let object = ObjectRef::of(&member);
        // hookhost creates nothing in other namespaces. Whether it exists there is another check's, which does not depend on
        // whether anything is created.
        if object.is_outside(terms.namespace) {
            continue;
        }
        match found(&object) {
            Found::Kept | Found::TakenOver { .. } => kept.push(object),
            Found::Leaving { .. } => {
                let why = match object.kind {
                    Kind::PersistentVolumeClaim => ": the pods of earlier runs hold it until their Jobs go",
                    _ => "",
                };
                let message = format!("{object}, which the hook needs, is being deleted{why}");
                let refusal = Refusal::retry_after(UNTIL_GIVEN_BACK, Reason::DependencyMissing, message);
                return Err(refusal.until_removed(&object));
            }
            of_ours @ Found::Lent { .. } => {
                let loan = Loan::of(&member);
                may_share(&loan, &of_ours, terms)?;
                loans.push((loan, member));
            }
            Found::Missing => loans.push((Loan::of(&member), member)),
        }
    }
    check(hook, &loans, &kept, terms)?;
    check_only(hook, closure, &loans, terms)?;
    loans.sort_by(|(a, _), (b, _)| a.object.cmp(&b.object));
    Ok(loans.into_iter().map(|(loan, _)| loan).collect())
}

/// Whether what is lent to another run can be lent to this one too.
fn may_share(loan: &Loan, found: &Found, terms: &Terms<'_>) -> Result<(), Refusal> {
    let Found::Lent { content, holder, .. } = found else { return Ok(()) };
    let is_own = terms.jobs.iter().any(|job| found.is_lent_to(loan.object.kind, job));
    // One that is left behind is created anew.
    let is_free = found.is_left_behind(loan.object.kind);
    let why = if is_own || is_free || (loan.object.kind.is_namespaced() && *content == loan.content) {
        return Ok(());
    } else if loan.object.kind.is_namespaced() {
        "is lent to a run of another revision of the release, which has it differently".to_owned()
    } else {
        format!(
            "is lent to the run {}, and what has no namespace is lent to one at a time",
            quote(holder.as_deref().unwrap_or_default())
        )
    };
    let message =
        format!("{}, which the hook needs, {why}: this run starts when that has ended", loan.object);
    let refusal = Refusal::retry_after(UNTIL_GIVEN_BACK, Reason::ConflictingOperation, message);
    Err(refusal.until_removed(&loan.object))
}

/// Whether all of it may be lent. `kept` is what is there anyway.
fn check(
    hook: &Hook,
    loans: &[(Loan, Member<'_>)],
    kept: &[ObjectRef],
    terms: &Terms<'_>,
) -> Result<(), Refusal> {
    for (loan, member) in loans {
        one::check(hook, loan, member, kept, terms)?;
    }
    if loans.len() > MAX_LOANS {
        let message = format!(
            "the hook needs {} objects that Helm has deleted, more than the {MAX_LOANS} that hookhost makes for a run. Move \
             what it needs into the release proper",
            loans.len()
        );
        return Err(Refusal::fail(Reason::ClosureRefused, message));
    }
    // Where the two differ, for both: what is given there must not be had by a chart from elsewhere, nor the other way round.
    let is_named = |object: &ObjectRef, namespace: &str| {
        terms.cluster_objects.iter().any(|one| one.allows(object, namespace))
    };
    let is_barred = |loan: &Loan| {
        let namespaces = [terms.namespace, terms.release_namespace];
        !loan.object.kind.is_namespaced()
            && !namespaces.iter().all(|namespace| is_named(&loan.object, namespace))
    };
    let barred: Vec<_> = loans.iter().filter(|(loan, _)| is_barred(loan)).collect();
    if !barred.is_empty() {
        let both = match terms.namespace == terms.release_namespace {
            true => String::new(),
            false => {
                let [run, release] = [terms.namespace, terms.release_namespace].map(quote);
                format!("; for the namespaces {release}, of the release, and {run}, of the run")
            }
        };
        let message = format!(
            "the hook needs objects that act on the whole cluster and that Helm has deleted: {}. hookhost makes only those \
             that it was installed for (Helm value closure.clusterObjects, as Kind/name{both})",
            shortlist(barred.iter().map(|(loan, _)| loan.object.to_string()), MAX_NAMED)
        );
        // Whoever installed hookhost can change it.
        return Err(Refusal::wait(Reason::ClosureRefused, message));
    }
    let is_refused = |(loan, member): &&(Loan, Member<'_>)| match terms.uncovered {
        Uncovered::All => false,
        Uncovered::WithoutRights => loan.object.kind.opens() && !member.hook.is_covered(),
        Uncovered::None => !member.hook.is_covered(),
    };
    let uncovered: Vec<_> = loans.iter().filter(is_refused).collect();
    if !uncovered.is_empty() {
        let message = format!(
            "the hook needs objects that are test hooks, which Flux's digest of the release does not cover, so anybody who can \
             write Secrets in its namespace could have made them: {}. Whoever installed hookhost can allow those that give \
             no rights and open no network with --allow-unverified-test-hooks (Helm value allowUnverifiedTestHooks)",
            shortlist(uncovered.iter().map(|(loan, _)| loan.object.to_string()), MAX_NAMED)
        );
        return Err(Refusal::wait(Reason::HookNotVerified, message));
    }
    Ok(())
}

/// Whether a binding's manifest refers to this role.
pub fn binds(binding: &Value, kind: Kind, name: &str) -> bool {
    let text = |path| at(binding, path).and_then(Value::as_str);
    text("roleRef.kind") == Some(kind.as_str()) && text("roleRef.name") == Some(name)
}

/// What of a closure the hook does its work with, its pod having these references: what the chart has for the event, and what else the pod cannot start without. A
/// binding for other events gives the hook its rights in those only, and nobody misses it now, nor the role that nothing else
/// binds.
pub fn needed<'a>(
    hook: &Hook,
    closure: &[Member<'a>],
    references: &[Reference],
    event: Option<&str>,
) -> Vec<Member<'a>> {
    let bindings: Vec<&Member<'_>> =
        closure.iter().filter(|one| one.kind.is_binding() && is_of_event(hook, one, event)).collect();
    let is_bound = |role: &Member<'_>| {
        bindings.iter().any(|binding| binds(&binding.hook.manifest, role.kind, &role.hook.name))
    };
    let is_named =
        |one: &Member<'_>| references.iter().any(|it| !it.optional && it.is_to(one.kind, &one.hook.name));
    let is_needed = |one: &&Member<'_>| {
        is_of_event(hook, one, event)
            || if one.kind.is_rbac() { !one.kind.is_binding() && is_bound(one) } else { is_named(one) }
    };
    closure.iter().filter(is_needed).copied().collect()
}

/// Whether Helm itself deletes the hook when its event is over.
pub fn is_deleted_by_helm(hook: &Hook) -> bool {
    hook.delete_policies.iter().any(|policy| policy == "hook-succeeded")
}

/// What Helm has made of the object of a hook by the revision of the release that is deployed. That somebody deleted it since only
/// the cluster knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHelm {
    /// Created, and left in the cluster.
    Left,
    /// Created and deleted again when its event was over, or to be: which of the two is not recorded of each.
    Deleted,
    /// Not created yet: none of its events has been.
    NotCreated,
}

impl ByHelm {
    /// Of a hook of this revision.
    pub fn of(hook: &Hook, revision: u32) -> ByHelm {
        let has_happened = |event: &String| match event.as_str() {
            "pre-install" | "post-install" => true,
            "pre-upgrade" | "post-upgrade" => revision > 1,
            // Helm records when it ran those of `helm test` and of a rollback to this revision.
            _ => !hook.last_run.phase.is_empty(),
        };
        match hook.events.iter().any(has_happened) {
            false => ByHelm::NotCreated,
            true if is_deleted_by_helm(hook) => ByHelm::Deleted,
            true => ByHelm::Left,
        }
    }
}

/// Each object once. A chart may have it once for each event: then as it is made for the event that runs.
fn one_of_each<'a>(hook: &Hook, closure: &[Member<'a>], terms: &Terms<'_>) -> Vec<Member<'a>> {
    let mut members: Vec<Member<'a>> = Vec::new();
    for member in closure {
        match members.iter_mut().find(|known| ObjectRef::of(known) == ObjectRef::of(member)) {
            Some(known) if rank(hook, known, terms) < rank(hook, member, terms) => *known = *member,
            Some(_) => {}
            None => members.push(*member),
        }
    }
    members
}

/// How well an object fits the run, of several with its name. What the digest covers goes before what it does not: that could
/// have been made to take its place.
fn rank(hook: &Hook, member: &Member<'_>, terms: &Terms<'_>) -> (bool, bool) {
    (is_of_event(hook, member, terms.event), member.hook.is_covered())
}

/// Whether the chart has each loan once, or the same each time: of two that differ, hookhost does not guess.
fn check_only(
    hook: &Hook,
    closure: &[Member<'_>],
    loans: &[(Loan, Member<'_>)],
    terms: &Terms<'_>,
) -> Result<(), Refusal> {
    for (loan, member) in loans {
        let is_rival = |other: &&Member<'_>| {
            ObjectRef::of(other) == loan.object && rank(hook, other, terms) == rank(hook, member, terms)
        };
        let rivals = closure.iter().filter(is_rival);
        if rivals.map(Loan::of).all(|rival| rival.content == loan.content) {
            continue;
        }
        let advice = match terms.event {
            None => "Say in parameters.event (hookhost run --event) of which event it has to be",
            Some(_) => "Let the chart have it once for an event",
        };
        let message = format!(
            "hookhost does not make the {}, which the hook needs and Helm has deleted: the chart has it more than once for {}, \
             and not the same each time. {advice}",
            loan.object,
            events_of(terms)
        );
        return Err(Refusal::fail(Reason::ClosureRefused, message));
    }
    Ok(())
}

/// Whether Helm makes it for the event that runs; where that is not known, for one of those for which Helm runs the hook.
fn is_of_event(hook: &Hook, member: &Member<'_>, event: Option<&str>) -> bool {
    let is_meant = |of: &String| match event {
        Some(only) => of == only,
        None => hook.events.contains(of),
    };
    member.hook.events.iter().any(is_meant)
}

/// The events that are meant, in words.
fn events_of(terms: &Terms<'_>) -> String {
    terms.event.map_or("the hook's events".to_owned(), |event| format!("the event {}", quote(event)))
}
