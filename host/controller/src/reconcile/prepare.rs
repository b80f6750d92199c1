//! To *prepare* a run is to make sure that it is allowed and possible, and to plan its Job.
//!
//! ```text
//! target ─► ready ─► capability ─► approval ─► release ─► hook ─► needs ─► policies ─► plan
//! ```
//!
//! The order is vWorkspace's, but for its conflicts: whether it is the Operation's turn is known without asking anybody, so that
//! comes before all of this. Everything that decides is a pure function of the core; here is only the reading that feeds
//! it, so that `hookhost plan` shows the very Job that is made.

use hookhost_core::clone;
use hookhost_core::conflict::Overtaken;
use hookhost_core::step::Step;
use std::sync::Arc;

use hookhost_core::dependency::{self, Reference};
use hookhost_core::loan::{Expected, Loan, Manifest, Uncovered};
use hookhost_core::operation::{Operation, TargetRef};
use hookhost_core::plan::Staging;
use hookhost_core::refusal::Refusal;
use hookhost_core::selection::{Selected, Selection, select};
use hookhost_core::target::{
    self, Applier, HelmRelease, Instance, ObjectName, Readiness, RecordRef, TargetKind,
};
use hookhost_core::{Reason, Request, approval, request};
use hookhost_helm::hook::Hook;
use hookhost_helm::record::Record;
use hookhost_helm::text::quote;
use jiff::Timestamp;

use super::ahead::{Ahead, Trail};
use super::location::{Location, name_of, version_of};
use super::needs::{Needing, Needs};
use super::start::awaited as awaited_object;
use super::{Context, Subject};
use crate::watch::Awaited;
use hookhost_cluster::client;
use hookhost_cluster::error::Error;
use hookhost_cluster::job::Job;
use hookhost_cluster::read::{StoredRecord, Unread};
use hookhost_cluster::records::{Held, Kept, Share};
use hookhost_cluster::resource::Kind;

/// Why nothing was prepared.
pub(super) enum Stop {
    /// The Operation does not run now.
    Refused(Refusal),
    /// It could not be found out.
    Failed(Error),
}

impl Stop {
    pub(super) fn of_step(self, hook: &str, step: Option<Step>) -> Stop {
        match self {
            Stop::Refused(refusal) => Stop::Refused(refusal.of_step(hook, step)),
            Stop::Failed(_) => self,
        }
    }
}

macro_rules! stop_from {
    ($($why:ty),+) => {
        $(impl From<$why> for Stop {
            fn from(why: $why) -> Stop {
                Stop::Refused(why.into())
            }
        })+
    };
}
stop_from!(Refusal, target::TargetError, request::BuildError, clone::NameTaken);

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        // What an administrator must repair is said on the Operation, where it is looked for.
        match &error {
            Error::Api(api @ (client::Error::Forbidden { .. } | client::Error::KindMissing { .. })) => {
                Stop::Refused(Refusal::wait(api.reason(), format!("{api}. {}", api.advice())))
            }
            Error::Target(error) => error.clone().into(),
            _ => Stop::Failed(error),
        }
    }
}

/// A Job that may be created now.
pub(super) struct Prepared {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) job: Manifest,
    /// What has to be made before it may start.
    pub(super) loans: Vec<Loan>,
    /// What has to be the chart's when it starts, where it is there.
    pub(super) expected: Vec<Expected>,
}

impl Prepared {
    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        let loans = self.loans.iter().map(Loan::bytes);
        let expected = self.expected.iter().map(Expected::bytes);
        self.job.bytes() + loans.chain(expected).sum::<usize>()
    }
}

/// The Jobs of a run that may be created now, in their order.
pub(super) struct AllPrepared {
    pub(super) jobs: Vec<Prepared>,
    /// As long as it is there these may be kept.
    pub(super) kept: Kept,
}

/// A hook that may be run, as the policies are told of it.
struct Wanted {
    request: Request,
    staging: Staging,
    expected: Vec<Expected>,
    /// As which service account Flux applies the release; the same for all hooks of an event.
    applier: Option<Applier>,
}

/// What the Operation's target turned out to be.
struct Resolved {
    target: request::Target,
    selection: Held<Selection>,
    location: Location,
    /// Older Operations on the release that are stuck, and that this one may overtake if they do not run its hooks.
    overtaken: Vec<Overtaken>,
}

/// The hooks that are to be run, with what they take of the budget of all records.
struct AllWanted {
    hooks: Vec<Wanted>,
    share: Share,
}

impl Context {
    /// Makes sure that the Operation may run now, and plans its Job, or those of all hooks of its event in their order. `awaited`
    /// is filled with the objects whose changes may change the answer; `made` are its Jobs, where some were made and wait for
    /// what they borrow, or for their turn.
    pub(super) async fn prepare(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
        made: &[Arc<Job>],
    ) -> Result<AllPrepared, Stop> {
        let mut ahead = Ahead::default();
        let mut wanted = self.wanted(subject, operation, awaited, &mut ahead, made).await;
        if matches!(wanted, Err(Stop::Refused(_))) && ahead.is_used {
            awaited.clear();
            ahead = Ahead::never();
            wanted = self.wanted(subject, operation, awaited, &mut ahead, made).await;
        }
        drop(ahead);
        let (mut all, mut applied_by) = (Vec::new(), None);
        // All of them are asked about before the first is made.
        let AllWanted { hooks, share } = wanted?;
        for Wanted { request, staging, expected, applier } in hooks {
            applied_by = applier;
            let step = staging.step;
            let name = clone::job_name(&request, step);
            let plan = self
                .decide(subject, &request, staging)
                .map_err(|refusal| refusal.of_step(&request.hook.name, step))?;
            let Some(job) = plan.job else {
                return Err(Refusal::fail(Reason::HostFailed, "the plan has no Job").into());
            };
            let namespace = request.release.namespace;
            all.push(Prepared { namespace, name, job: Manifest::of(&job), loans: plan.loans, expected });
        }
        // From here on the API server is asked to create things, which may take long: nothing is left of the record but what is
        // to be created.
        let kept = self.reader.keep(&subject.key.namespace, all.iter().map(Prepared::bytes).sum())?;
        drop(share);
        if let Some(applier) = applied_by {
            self.review(&applier, &all).await??;
        }
        if made.is_empty() {
            // All at once: a step may bind a role that is another's.
            let loans: Vec<Loan> = all.iter().flat_map(|one: &Prepared| one.loans.iter().cloned()).collect();
            self.lender.rehearse(&loans).await??;
        }
        Ok(AllPrepared { jobs: all, kept })
    }

    /// The hooks that are to be run, once everything but the policies allows it.
    async fn wanted(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
        ahead: &mut Ahead,
        made: &[Arc<Job>],
    ) -> Result<AllWanted, Stop> {
        let Resolved { target, selection, location, overtaken } =
            self.resolve(subject, operation, awaited, ahead).await?;
        let is_event = operation.parameters.whole_event().is_some();
        let (Selection { release, hooks: found, jobs, makers, .. }, share) = selection.into_parts();
        let chosen: Vec<&Hook> = found.iter().map(|selected| &selected.hook).collect();
        self.check_overtaken(subject, &overtaken, &chosen)?;
        self.check_place(subject, &release.namespace)?;
        let mut all: Vec<Wanted> = Vec::new();
        for (n, Selected { hook, others }) in found.iter().enumerate() {
            let step = is_event.then_some(Step { number: n + 1, of: found.len() });
            let wanted = async {
                if location.snapshot.is_some() {
                    self.check_covered(hook)?;
                }
                self.check_jobs(subject, &release, hook)?;
                let request = Request::build(request::Inputs {
                    operation,
                    approved_by: self.approved_by(operation)?,
                    target: target.clone(),
                    release: release.clone(),
                    hook,
                    hooks: others,
                    organisation: self.organisation(&subject.key.namespace),
                    cluster_id: self.config.cluster_id.clone(),
                    now: Timestamp::now(),
                })?;
                clone::check_name(&request, step, &jobs)?;
                let references = dependency::references(&request.hook.manifest);
                let needing = Needing {
                    subject,
                    operation,
                    hook,
                    hooks: others,
                    request: &request,
                    references: &references,
                    makers: &makers,
                    uncovered: self.uncovered(&location),
                    applier: location.applier.as_ref().map(|applier| applier.account.name.as_str()),
                    step,
                    made,
                };
                let Needs { loans, expected, not_created } = self.needs(&needing, ahead).await?;
                self.remember(subject, operation, &location, &release.namespace, &references);
                let mut staging = Staging::after(all.iter().map(|earlier| &earlier.staging), loans, step);
                staging.not_created = not_created;
                Ok(Wanted { request, staging, expected, applier: location.applier.clone() })
            };
            let wanted = wanted.await.map_err(|stop: Stop| stop.of_step(&hook.name, step))?;
            all.push(wanted);
        }
        Ok(AllWanted { hooks: all, share })
    }

    /// Remembers the way for the next look.
    fn remember(
        &self,
        subject: &Subject,
        operation: &Operation,
        location: &Location,
        namespace: &str,
        references: &[Reference],
    ) {
        let Some((release, _)) = &location.source else { return };
        let TargetRef { kind, name, .. } = &operation.target_ref;
        let instance = (kind == TargetKind::ApplicationInstance.kind())
            .then(|| ObjectName { namespace: subject.key.namespace.clone(), name: name.clone() });
        let asked = references.iter().filter(|reference| reference.is_in_question());
        let trail = Trail {
            storage: location.namespace.clone(),
            record: location.record().secret_name(),
            successor: location.record().successor_name(),
            namespace: namespace.to_owned(),
            references: asked
                .map(|reference| (reference.kind, reference.name.clone(), !reference.keys.is_empty()))
                .collect(),
        };
        self.trails.keep(instance, release.clone(), trail);
    }

    /// From the Operation to the release's record, with every check on the way.
    async fn resolve(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
        ahead: &mut Ahead,
    ) -> Result<Resolved, Stop> {
        let (target, location) = self.target(subject, operation, Readiness::Required, awaited, ahead).await?;
        let overtaken = self.ask_by_names(subject, operation, location.names())?;
        self.check_place(subject, &location.namespace)?;
        let wanted = operation.clone();
        let select =
            move |record: &Record| select(record, &wanted).map_err(|refusal| waiting(&wanted, refusal));
        let selection = self.record(subject, &location, ahead, select, Selection::bytes).await?;
        Ok(Resolved { target, selection, location, overtaken })
    }

    /// The target, once it is as ready as it has to be, and where its release is.
    pub(super) async fn target(
        &self,
        subject: &Subject,
        operation: &Operation,
        readiness: Readiness,
        awaited: &mut Vec<Awaited>,
        ahead: &mut Ahead,
    ) -> Result<(request::Target, Location), Stop> {
        let TargetRef { kind, name, .. } = &operation.target_ref;
        let namespace = &subject.key.namespace;
        let mut described =
            request::Target { kind: kind.clone(), name: name.clone(), ..request::Target::default() };
        let mut named = None;
        let kind_of = TargetKind::of(&operation.target_ref)?;
        let release = match kind_of {
            TargetKind::ApplicationInstance => {
                awaited.push(awaited_object(Kind::ApplicationInstance, namespace, name));
                let instance = ObjectName { namespace: namespace.clone(), name: name.clone() };
                let object = self.instance_ahead(&instance, ahead).await?;
                let Some(object) = object else { return Err(self.missing(&instance, kind_of).await) };
                let instance = Instance::from_json(&object)?;
                instance.check(operation.type_of, readiness)?;
                self.approved_by(operation)?;
                described.labels.clone_from(&instance.labels);
                described.annotations.clone_from(&instance.annotations);
                let release = instance.helm_release.clone();
                named = Some(instance);
                release
            }
            TargetKind::HelmRelease if !self.config.helm_release_targets => {
                return Err(target::disabled(kind_of).into());
            }
            TargetKind::HelmRelease => {
                self.approved_by(operation)?;
                ObjectName { namespace: namespace.clone(), name: name.clone() }
            }
            TargetKind::Release if self.config.helm_releases => {
                self.approved_by(operation)?;
                return Ok((described, self.plain_release(namespace, name).await?));
            }
            TargetKind::Release => return Err(target::disabled(kind_of).into()),
        };
        self.check_namespace(&release.namespace)?;
        awaited.push(awaited_object(Kind::HelmRelease, &release.namespace, &release.name));
        let Some(object) = self.release_ahead(&release, ahead).await? else {
            // For an instance it may not be there yet; a target of its own must be.
            return Err(match kind_of {
                TargetKind::HelmRelease => self.missing(&release, kind_of).await,
                _ => target::no_helm_release(&release).into(),
            });
        };
        let release = HelmRelease::from_json(&object)?;
        self.check_owner(operation, &release, named.as_ref(), readiness, awaited).await?;
        let record = release.current()?;
        let location = Location {
            namespace: record.namespace.to_owned(),
            release: record.release.to_owned(),
            revision: record.revision,
            snapshot: record.snapshot.cloned(),
            source: Some((name_of(&object), version_of(&object))),
            owner: release.owner.as_ref().map(|owner| owner.name.clone()),
            applier: release.applier(self.config.flux_service_account.as_deref()),
        };
        if kind == "HelmRelease" {
            (described.labels, described.annotations) = (release.labels, release.annotations);
        }
        Ok((described, location))
    }

    /// Where the record of a plain Helm release is: in its own namespace, which is the Operation's.
    async fn plain_release(&self, namespace: &str, name: &str) -> Result<Location, Stop> {
        self.check_plain(namespace, name).await?;
        let newest = self.reader.newest_revision(namespace, name).await?;
        if newest.is_none() {
            let at = ObjectName { namespace: namespace.to_owned(), name: name.to_owned() };
            return Err(self.missing(&at, TargetKind::Release).await);
        }
        let revision = target::deployed_revision(name, newest.as_slice())?;
        Ok(Location {
            namespace: namespace.to_owned(),
            release: name.to_owned(),
            revision,
            snapshot: None,
            source: None,
            owner: None,
            applier: None,
        })
    }

    /// What is selected of the record, if it is the one that Flux wrote and Helm is not at work. Of the record nothing else is
    /// left while anything else is asked for.
    pub(super) async fn record<T: Send + 'static>(
        &self,
        subject: &Subject,
        location: &Location,
        ahead: &mut Ahead,
        select: impl FnOnce(&Record) -> Result<T, Refusal> + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>, Stop> {
        self.check_namespace(&location.namespace)?;
        let at = location.record();
        // Helm begins an upgrade by storing the next revision, long before the HelmRelease tells.
        let (name, successor) = (at.secret_name(), at.successor_name());
        let known = ahead.record(at.namespace, &name).zip(ahead.successor(at.namespace, &successor));
        let ask = async || {
            futures::try_join!(
                self.reader.stored_record(at.namespace, &name),
                self.reader.has_record(at.namespace, &successor),
            )
        };
        let read = |(stored, is_upgrading): (Option<StoredRecord>, bool)| {
            if is_upgrading {
                return Err(target::successor_exists(&at));
            }
            stored.ok_or_else(|| target::no_record(&at))
        };
        let mut stored = read(match known {
            Some(known) => known,
            None => ask().await?,
        })?;
        let reading = self.reader.turn_to_read(&subject.key.namespace).await;
        if !stored.is_fresh() && !self.is_still(&stored, &name, &at).await? {
            drop(stored);
            stored = read(ask().await?)?;
        }
        match self.reader.record(stored, reading, &at, select, bytes).await? {
            Ok(selected) => Ok(selected),
            Err(Unread::Refused(refusal)) => Err(refusal.into()),
            Err(Unread::Tampered(_)) if location.has_moved(self).await? => {
                let message =
                    format!("Flux has just changed the HelmRelease of the release {}", location.release);
                Err(Refusal::retry_after(1, Reason::ReleaseBusy, message).into())
            }
            Err(Unread::Tampered(tampered)) => Err(tampered.into()),
        }
    }

    /// Whether a record is still what was read of it some time ago, and Helm has not begun to upgrade the release since.
    async fn is_still(&self, stored: &StoredRecord, name: &str, at: &RecordRef<'_>) -> Result<bool, Stop> {
        let successor = at.successor_name();
        let (is_current, is_upgrading) = futures::try_join!(
            self.reader.is_current(stored, at.namespace, name),
            self.reader.has_record(at.namespace, &successor),
        )?;
        match is_upgrading {
            true => Err(target::successor_exists(at).into()),
            false => Ok(is_current),
        }
    }

    /// Which hooks of the release there may be temporary objects of that no digest covers.
    pub(super) fn uncovered(&self, location: &Location) -> Uncovered {
        match location.snapshot {
            None => Uncovered::All,
            Some(_) if self.config.unverified_test_hooks => Uncovered::WithoutRights,
            Some(_) => Uncovered::None,
        }
    }

    /// Flux leaves test hooks out of its digest, so whoever can write Secrets could have made them.
    fn check_covered(&self, hook: &Hook) -> Result<(), Refusal> {
        if self.config.unverified_test_hooks || hook.is_covered() {
            return Ok(());
        }
        let message = format!(
            "the hook {} is a test hook, and Flux's digest of the release does not cover those: anybody who can write \
             Secrets in its namespace could have made it. Whoever installed hookhost can allow test hooks with \
             --allow-unverified-test-hooks (Helm value allowUnverifiedTestHooks)",
            quote(&hook.name)
        );
        Err(Refusal::wait(Reason::HookNotVerified, message))
    }

    /// Whether hookhost acts in this namespace for the Operation.
    pub(super) fn check_place(&self, subject: &Subject, namespace: &str) -> Result<(), Refusal> {
        // The organisation of a namespace without the gate is not known.
        self.check_namespace(namespace)?;
        self.check_organisation(subject, namespace)
    }

    /// Jobs are made, and records are read, in gated namespaces only.
    pub(super) fn check_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        if self.gated.is_terminating(namespace) {
            let message = format!("the release is in the namespace {namespace}, which is being deleted");
            return Err(Refusal::wait(Reason::NamespaceNotManaged, message));
        }
        if self.bindings.leaving(namespace).is_some() {
            return Err(Refusal::wait(Reason::AccessForbidden, self.losing_rights(namespace)));
        }
        if self.gated.contains(namespace) {
            return Ok(());
        }
        let gate = &self.config.namespace_gate;
        let message = format!(
            "the release is in the namespace {namespace}, where hookhost does not act: label it {gate}, if that is meant"
        );
        Err(Refusal::wait(Reason::NamespaceNotManaged, message))
    }

    /// Why nothing is started in a namespace though it is managed.
    pub(super) fn losing_rights(&self, namespace: &str) -> String {
        let binding = self.bindings.leaving(namespace).unwrap_or_default();
        format!(
            "the RoleBinding {namespace}/{binding}, which gives hookhost its rights, is being deleted: hookhost starts nothing new \
             there. If it is to, add the namespace to its Helm chart's value `namespaces` again once the RoleBinding is gone"
        )
    }

    /// A HelmRelease may name any namespace as its target, and who writes one need not have a say there: the release must be of
    /// the Operation's own organisation.
    fn check_organisation(&self, subject: &Subject, namespace: &str) -> Result<(), Refusal> {
        let own = &subject.key.namespace;
        let (ours, theirs) = (self.organisation(own), self.organisation(namespace));
        if own == namespace || ours == theirs {
            return Ok(());
        }
        let message = format!(
            "the release is in the namespace {namespace} of the organisation {}, but the Operation is in {own} of {}: make \
             the Operation there, or give both namespaces the same organisation (--organisation-label)",
            quote(&theirs),
            quote(&ours)
        );
        Err(Refusal::wait(Reason::NamespaceNotManaged, message))
    }

    /// A Job of another Operation may run the same hook of the same release: through another target, or because its Operation
    /// was deleted and its pods have not ended yet.
    fn check_jobs(&self, subject: &Subject, release: &request::Release, hook: &Hook) -> Result<(), Refusal> {
        let hook = [release.namespace.clone(), release.name.clone(), hook.name.clone()];
        if let Some(job) = self.jobs.at_work(&hook, &subject.uid) {
            let message = format!(
                "the Job {job} runs this hook of the release, or its pods have not ended yet: this Operation starts when \
                 they have"
            );
            return Err(Refusal::wait(Reason::ConflictingOperation, message));
        }
        if self.claims.take(hook, &subject.uid) {
            return Ok(());
        }
        let message = "another Operation starts this hook of the release in this very moment";
        Err(Refusal::retry_after(1, Reason::ConflictingOperation, message))
    }

    fn approved_by(&self, operation: &Operation) -> Result<Option<String>, Refusal> {
        let key = self.config.approval_key.as_deref();
        approval::check(&operation.approvals, key, &operation.name, Timestamp::now())
    }
}

/// An Operation that says so waits until there is such a hook.
pub(super) fn waiting(operation: &Operation, refusal: Refusal) -> Refusal {
    let waits = operation.parameters.wait_for_hook && refusal.reason == Reason::HookNotFound;
    if waits { refusal.waiting() } else { refusal }
}
