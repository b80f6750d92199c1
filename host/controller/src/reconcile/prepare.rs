//! To *prepare* a run is to make sure that it is allowed and possible, and to plan its Job.
//!
//! ```text
//! target ─► ready ─► capability ─► approval ─► release ─► hook ─► needs ─► policies ─► plan
//! ```
//!
//! The order is vWorkspace's, but for its conflicts: whether it is the Operation's turn is known without asking anybody, so that
//! comes before all of this. Everything that decides is a pure function of the core; here is only the reading that feeds
//! it, so that `hookhost plan` shows the very Job that is made.

use hookhost_core::clone::{self, NotCreated};
use hookhost_core::conflict::Overtaken;
use hookhost_core::step::Step;
use std::sync::Arc;

use hookhost_core::dependency::{self, Reference};
use hookhost_core::loan::{Expected, Loan, Manifest, Uncovered};
use hookhost_core::operation::{Operation, TargetRef};
use hookhost_core::plan::Staging;
use hookhost_core::prerequisites::Hooked;
use hookhost_core::refusal::Refusal;
use hookhost_core::selection::{Selected, Selection, select};
use hookhost_core::target::{Applier, ObjectName, Readiness, TargetKind};
use hookhost_core::{Reason, Request, approval, request};
use hookhost_helm::hook::Hook;
use hookhost_helm::record::Record;
use jiff::Timestamp;

use super::ahead::{Ahead, Trail};
use super::needs::Needs;
use super::{Context, Subject};
use hookhost_cluster::client;
use hookhost_cluster::error::Error;
use hookhost_cluster::job::Job;
use hookhost_cluster::prerequisites::review;
use hookhost_cluster::records::{Held, Kept, Share};
use hookhost_cluster::resolve::{Awaited, Halt, Location, Resolver, Rules};

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
stop_from!(Refusal, request::BuildError, clone::NameTaken);

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Stop {
        match halt {
            Halt::Rejected(refusal) => Stop::Refused(refusal),
            Halt::Failed(error) => error.into(),
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        // What an administrator must repair is said on the Operation, where it is looked for.
        match &error {
            Error::Api(api @ (client::Error::Forbidden { .. } | client::Error::KindMissing { .. })) => {
                Stop::Refused(Refusal::wait(api.reason(), format!("{api}. {}", api.advice())))
            }
            Error::Target(error) => Stop::Refused(error.clone().into()),
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
        let ahead = Ahead::by_trail(self);
        let mut wanted = self.wanted(subject, operation, awaited, &ahead, made).await;
        if matches!(wanted, Err(Stop::Refused(_))) && ahead.is_used() {
            drop(ahead);
            awaited.clear();
            wanted = self.wanted(subject, operation, awaited, &Ahead::never(self), made).await;
        }
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
            let namespace = request.job_namespace().to_owned();
            all.push(Prepared { namespace, name, job: Manifest::of(&job), loans: plan.loans, expected });
        }
        // From here on the API server is asked to create things, which may take long: nothing is left of the record but what is
        // to be created.
        let kept = self.reader.keep(&subject.key.namespace, all.iter().map(Prepared::bytes).sum())?;
        drop(share);
        if let Some(applier) = applied_by {
            let runs = all.iter().map(|one: &Prepared| (one.namespace.as_str(), &one.loans[..]));
            review(&self.reader, &applier, runs).await??;
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
        ahead: &Ahead<'_>,
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
        for (n, Selected { hook, others, missed }) in found.iter().enumerate() {
            let step = is_event.then_some(Step { number: n + 1, of: found.len() });
            let wanted = async {
                self.check_hook(subject, &location, hook)?;
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
                let hooked = Hooked {
                    hook,
                    hooks: others,
                    request: &request,
                    event: operation.parameters.event.as_deref(),
                    references: &references,
                    makers: &makers,
                    step,
                };
                let needs = self.needs(subject, operation, &hooked, &location, ahead, made).await?;
                let Needs { loans, expected, not_created } = needs;
                self.remember(subject, operation, &location, &hook.namespace, &references);
                let mut staging = Staging::after(all.iter().map(|earlier| &earlier.staging), loans, step);
                staging.not_created = NotCreated { missed: missed.clone(), ..not_created };
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
        ahead: &Ahead<'_>,
    ) -> Result<Resolved, Stop> {
        let mut resolver = Resolver::new(ahead, self, &subject.key.namespace, awaited);
        let (target, location) = resolver.target(operation, Readiness::Required).await?;
        let overtaken = self.ask_by_names(subject, operation, location.names())?;
        self.check_place(subject, &location.namespace)?;
        let wanted = operation.clone();
        let select =
            move |record: &Record| select(record, &wanted).map_err(|refusal| waiting(&wanted, refusal));
        let selection = resolver.select(&location, select, Selection::bytes).await?;
        Ok(Resolved { target, selection, location, overtaken })
    }

    /// Which hooks of the release there may be temporary objects of for a run of `hook` that no digest covers.
    pub(super) fn uncovered(&self, location: &Location, hook: &Hook) -> Uncovered {
        match location.snapshot {
            // Whoever may write Secrets here would put objects into a namespace where they have no rights.
            _ if hook.is_elsewhere && !self.config.unverified_namespaces => Uncovered::None,
            None => Uncovered::All,
            Some(_) if self.config.unverified_test_hooks => Uncovered::WithoutRights,
            Some(_) => Uncovered::None,
        }
    }

    /// A Job of another Operation may run the same hook of the same release: through another target, or because its Operation
    /// was deleted and its pods have not ended yet.
    fn check_jobs(&self, subject: &Subject, release: &request::Release, hook: &Hook) -> Result<(), Refusal> {
        let hook = [hook.namespace.clone(), release.name.clone(), hook.name.clone()];
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

impl Rules for Context {
    fn serves(&self, kind: TargetKind) -> bool {
        match kind {
            TargetKind::ApplicationInstance => true,
            TargetKind::HelmRelease => self.config.helm_release_targets,
            TargetKind::Release => self.config.helm_releases,
        }
    }

    /// Jobs are made, and records are read, in gated namespaces only.
    fn check_namespace(&self, namespace: &str) -> Result<(), Refusal> {
        self.check_release_namespace(namespace)
    }

    fn is_managed(&self, namespace: &str) -> bool {
        self.gated.contains(namespace)
    }

    fn check_approval(&self, operation: &Operation) -> Result<(), Refusal> {
        self.approved_by(operation).map(|_| ())
    }

    fn flux_service_account(&self) -> Option<&str> {
        self.config.flux_service_account.as_deref()
    }
}

/// An Operation that says so waits until there is such a hook.
pub(super) fn waiting(operation: &Operation, refusal: Refusal) -> Refusal {
    let waits = operation.parameters.wait_for_hook && refusal.reason == Reason::HookNotFound;
    if waits { refusal.waiting() } else { refusal }
}
