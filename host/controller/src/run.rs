//! A *run* of the controller is its tasks, from the first watch to the last write: who starts them, who waits for whom,
//! and what ends them.
//!
//! ```text
//! RoleBindings ─► what is held there
//! namespaces ─► Jobs ─► pods          lease ────► leads: every Operation is looked at anew
//! Operations ─► reconcile ─► Events   policies ─► changed: what waits for one is looked at
//! ```
//!
//! The lease, health and metrics are on a thread of their own: whatever input costs the others, they go on.
//!
//! All end by one token, in an order in which nothing is lost: first no Operation is looked at any more, then the last
//! Events are sent, then the lease is given back. A task that ends before it is told to ends the process, by name.

mod isolated;
mod operations;

use std::sync::Arc;

use futures::FutureExt;
use hookhost_core::Reason;
use hookhost_sandbox::{Cache, Compiler, Sandbox};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::isolated::Isolated;
use crate::admin::{self, Health};
use crate::backoff::Backoff;
use crate::bindings::{Bindings, Keeper};
use crate::claim_key::Keyring;
use crate::claims::Claims;
use crate::config::Config;
use crate::event::Events;
use crate::in_flight::InFlight;
use crate::lender::Lender;
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::organisation::Organisations;
use crate::orphan::{Orphans, Warden};
use crate::policy::{self, Policies};
use crate::reconcile::{Context, KeptLogs, Lookups, Overwrites, Trails, Turns};
use crate::search::{Search, Unsearched};
use crate::stop::Stopper;
use crate::wake::Wakes;
use crate::watch::{self, Jobs, Listeners, NamespaceChange, Namespaces, Operations, Pods, Targets};
use crate::written::Written;
use hookhost_cluster::client::Connection;
use hookhost_cluster::lease::{Claim, InvalidTiming, Lease};
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::Writes;
use hookhost_cluster::writer::Writer;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why the controller did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The sandbox for policies cannot be made.
    #[error("policies cannot be run here")]
    Sandbox(#[from] hookhost_sandbox::Error),
    /// The thread for the lease and health cannot be started.
    #[error("cannot start the thread that holds the lease and serves health")]
    Isolated(#[source] std::io::Error),
    /// The client for the lease cannot be made.
    #[error("cannot use the cluster for the lease")]
    Client(#[from] hookhost_cluster::client::Error),
    /// The lease's times cannot keep its promises.
    #[error(transparent)]
    Lease(#[from] InvalidTiming),
    /// A task ended that never should.
    #[error("{task} ended, and hookhost with it")]
    Ended {
        /// What it did.
        task: &'static str,
        /// Why it ended.
        #[source]
        cause: Cause,
    },
}

impl RunError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            RunError::Sandbox(error) => error.reason(),
            RunError::Lease(_) => Reason::UsageInvalid,
            RunError::Client(error) => error.reason(),
            RunError::Isolated(_) | RunError::Ended { .. } => Reason::HostFailed,
        }
    }
}

/// A task that ended without a reason of its own.
#[derive(Debug, thiserror::Error)]
#[error("it had nothing more to do, though nobody told it to end")]
struct NothingToDo;

/// Serves Operations until `shutdown`.
pub async fn run(
    connection: Connection,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let metrics = Metrics::new();
    let (reads, streams) = (connection.requests.clone(), connection.streams.clone());
    // What works ends first; what the work still needs ends after it.
    let (work, support) = (shutdown.child_token(), CancellationToken::new());
    let mut tasks = Tasks { set: JoinSet::new() };
    let health = Health::new(["Operations", "namespaces", "this shard's namespaces", "HookPolicies"]);

    let isolated = Isolated::new().map_err(RunError::Isolated)?;
    let lease = match &config.lease {
        Some(params) => {
            let client = isolated.make(|| connection.anew())?;
            Some(Lease::new(client, params.clone(), metrics.clone())?)
        }
        None => None,
    };
    let claim = lease.as_ref().map_or_else(Claim::without_lease, Lease::claim);
    let leadership = lease.as_ref().map(Lease::leadership);
    let writer = Writer::new(claim.clone(), metrics.clone());

    let sandbox = Sandbox::new(Compiler::this_program())?;
    let sandbox = match &config.policy_cache {
        Some(dir) => sandbox.with_cache(Cache::open(dir)?),
        None => sandbox,
    };
    let options = policy::Options {
        policy_dir: config.policy_dir.clone(),
        stock_policies: config.stock_policies.clone(),
        require_policy: config.require_policy,
    };
    let policies = Arc::new(Policies::new(Arc::new(sandbox), options));
    let (events, event_task) = Events::new(reads.clone(), writer.clone(), metrics.clone());

    let (wakes, orphans, bindings) = (Wakes::default(), Orphans::default(), Bindings::default());
    let (gated, gate_changes) = Namespaces::watch(streams.clone(), &config.namespace_gate);
    let (operations, operation_changes) = Operations::watch(
        streams.clone(),
        gated.clone(),
        watch::Terms { cluster_id: config.cluster_id.clone(), wait_timeout: config.wait_timeout },
    );
    let pods = Pods::new(streams.clone(), operations.clone(), wakes.clone(), work.clone());
    let keyring = Keyring::new(connection.requests.clone(), writer.clone(), config.claim_secret.clone());
    let jobs = Jobs::new(
        streams.clone(),
        operations.clone(),
        pods.clone(),
        wakes.clone(),
        Listeners { orphans: orphans.clone(), bindings: bindings.clone() },
        keyring.clone(),
        work.clone(),
    );
    tasks.endless("telling hookhost's Jobs from others", work.clone(), jobs.clone().sort());
    let served = match &config.namespace_selector {
        None => gated.clone(),
        Some(selector) => {
            let both = format!("{},{selector}", config.namespace_gate);
            let (served, changes) = Namespaces::watch(streams.clone(), &both);
            let (operations, wakes) = (operations.clone(), wakes.clone());
            let follow = watch::drive(changes, "namespaces of this shard", move |changes| {
                for change in changes {
                    wakes.wake_all(operations.keys_of(change.namespace()));
                }
            });
            tasks.endless("watching the shard's namespaces", work.clone(), follow);
            served
        }
    };
    tasks.endless("watching namespaces", work.clone(), {
        let (jobs, bindings) = (jobs.clone(), bindings.clone());
        let (operations, wakes) = (operations.clone(), wakes.clone());
        watch::drive(gate_changes, "namespaces", move |changes| {
            for change in changes {
                match &change {
                    NamespaceChange::Joined(namespace) => {
                        jobs.follow(namespace);
                        operations.joined(namespace);
                    }
                    NamespaceChange::Left(namespace) => jobs.leave(namespace),
                    NamespaceChange::Terminating(namespace) => {
                        // What is left of a run there, nobody may be able to remove in a moment.
                        jobs.follow_to_the_end(namespace);
                        jobs.wake(namespace);
                        bindings.terminate(namespace);
                    }
                }
                // Also those that wait for the namespace of their release.
                wakes.wake_all(operations.keys_of(change.namespace()));
                wakes.wake_all(operations.waiting_for(Reason::NamespaceNotManaged));
            }
        })
    });

    let reader = Reader::new(reads.clone());
    let writes = Writes::new(reads.clone(), writer.clone());
    let stopper = Stopper { reader: reader.clone(), writes: writes.clone(), keyring: keyring.clone() };
    let lists = Lists::new(reads);
    let lender = Lender { reader: reader.clone(), writes: writes.clone(), keyring: keyring.clone() };
    let organisations = Organisations { namespaces: gated.clone(), label: config.organisation_label.clone() };
    let warden = Warden {
        orphans: orphans.clone(),
        operations: operations.clone(),
        reader: reader.clone(),
        writes: writes.clone(),
        lender: lender.clone(),
        stopper: stopper.clone(),
        namespaces: gated.clone(),
        organisations: organisations.clone(),
        jobs: jobs.clone(),
        keyring: keyring.clone(),
        cluster_objects: config.cluster_objects.clone(),
        wakes: wakes.clone(),
    };
    // What an earlier hookhost may have left.
    orphans.sweep();
    tasks.endless("looking after orphans", work.clone(), warden.run());
    let keeper = Keeper {
        bindings: bindings.clone(),
        jobs: jobs.clone(),
        namespaces: gated.clone(),
        reader: reader.clone(),
        lists: lists.clone(),
        writes: writes.clone(),
        keyring: keyring.clone(),
        orphans: orphans.clone(),
    };
    let watch_bindings = keeper.clone().watch(streams.clone(), config.bindings());
    tasks.endless("watching RoleBindings", work.clone(), watch_bindings);
    tasks.endless("keeping RoleBindings", work.clone(), keeper.run());
    let unsearched = Unsearched::default();
    let search = Search {
        jobs: jobs.clone(),
        gated: gated.clone(),
        lists,
        selector: config.namespace_selector.clone(),
        unsearched: unsearched.clone(),
    };
    tasks.endless("searching for runs in namespaces that are not managed", work.clone(), search.run());
    let context = Arc::new(Context {
        operations: operations.clone(),
        served: served.clone(),
        gated: gated.clone(),
        organisations,
        unsearched,
        jobs: jobs.clone(),
        pods,
        orphans: orphans.clone(),
        bindings: bindings.clone(),
        stopper,
        targets: Targets::new(streams.clone(), wakes.clone(), work.clone()),
        policies: policies.clone(),
        reader,
        trails: Trails::default(),
        lookups: Lookups::default(),
        writes,
        lender,
        keyring: keyring.clone(),
        written: Written::default(),
        claims: Claims::default(),
        turns: Turns::new(wakes.clone()),
        errors: Backoff::default(),
        waits: Backoff::default(),
        withdrawals: Backoff::default(),
        suspensions: Backoff::default(),
        overwrites: Overwrites::default(),
        logs: KeptLogs::default(),
        in_flight: InFlight::default(),
        events,
        metrics: metrics.clone(),
        config: config.clone(),
    });

    tasks.endless("keeping the key of claims", work.clone(), {
        let (operations, wakes, bindings) = (operations.clone(), wakes.clone(), bindings.clone());
        async move {
            // Whoever only stands by makes none, and may know another than the leader will have.
            if claim.acquired().await {
                keyring
                    .keep(|| {
                        wakes.wake_all(operations.keys());
                        bindings.look_again();
                    })
                    .await;
            }
            std::future::pending::<()>().await;
        }
    });
    let policy_task = policies.clone().run(connection, writer, metrics.clone(), work.clone());
    tasks.spawn("watching policies", policy_task.map(Ok::<(), Cause>));
    tasks.endless("waking for changed policies", work.clone(), {
        let (operations, wakes, mut changed) = (operations.clone(), wakes.clone(), policies.changed());
        async move {
            while changed.changed().await.is_ok() {
                for reason in policy::WAITED_FOR.into_iter().chain([Reason::PolicyHeld]) {
                    wakes.wake_all(operations.waiting_for(reason));
                }
            }
        }
    });
    if let Some(leadership) = leadership {
        let wake = operations::wake_when_leading(
            leadership,
            operations.clone(),
            jobs.clone(),
            orphans,
            bindings,
            wakes.clone(),
        );
        tasks.endless("waiting for the lease", work.clone(), wake);
    }
    if let Some(address) = config.admin {
        let serve = admin::serve(address, health.clone(), metrics, support.clone());
        tasks.isolated("serving health and metrics", &isolated, serve);
    }
    tasks.endless("noticing readiness", work.clone(), {
        let (operations, policies, health) = (operations.clone(), policies.clone(), health.clone());
        async move {
            tokio::join!(
                operations.synced().map(|()| health.loaded("Operations")),
                gated.synced().map(|()| health.loaded("namespaces")),
                served.synced().map(|()| health.loaded("this shard's namespaces")),
                policies.ready().map(|_| health.loaded("HookPolicies")),
            );
            tracing::info!("ready");
            std::future::pending::<()>().await;
        }
    });
    tasks.endless("showing that work goes on", work.clone(), {
        let health = health.clone();
        async move {
            loop {
                health.beat();
                sleep(admin::BEAT).await;
            }
        }
    });
    let lease_token = CancellationToken::new();
    if let Some(lease) = lease {
        tasks.isolated("holding the lease", &isolated, lease.run(lease_token.clone()));
    }
    let events_token = CancellationToken::new();
    let event_task = tokio::spawn(event_task.run(events_token.clone()));
    let mut controller =
        tokio::spawn(operations::serve(context, operation_changes, policies, wakes, work.clone()));

    let result = tokio::select! {
        // First, since the tasks end by it too.
        biased;
        () = shutdown.cancelled() => Ok(()),
        (task, cause) = tasks.first_end() => {
            health.set_ended(task);
            Err(RunError::Ended { task, cause })
        }
        ended = &mut controller => {
            let task = "serving Operations";
            health.set_ended(task);
            Err(RunError::Ended { task, cause: ended.err().map_or(NothingToDo.into(), Into::into) })
        }
    };
    // No Operation is looked at any more, and what is under way is finished.
    work.cancel();
    if !controller.is_finished() {
        let _ = controller.await;
    }
    events_token.cancel();
    let _ = event_task.await;
    lease_token.cancel();
    support.cancel();
    tasks.join().await;
    tracing::info!("ended");
    result
}

/// The tasks of a run.
struct Tasks {
    set: JoinSet<(&'static str, Result<(), Cause>)>,
}

impl Tasks {
    /// A task that ends by a token of its own, or because it cannot go on.
    fn spawn<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.set.spawn(task.map(move |result| (name, result.map_err(Into::into))));
    }

    /// The same, but isolated from whatever input costs.
    fn isolated<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        isolated: &Isolated,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        isolated.spawn(&mut self.set, task.map(move |result| (name, result.map_err(Into::into))));
    }

    /// A task that would never end, until the token says so.
    fn endless(
        &mut self,
        name: &'static str,
        token: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.set.spawn(async move {
            match token.run_until_cancelled(task).await {
                Some(()) => (name, Err(NothingToDo.into())),
                None => (name, Ok(())),
            }
        });
    }

    /// Waits for a task to end that was not told to.
    async fn first_end(&mut self) -> (&'static str, Cause) {
        match self.set.join_next().await {
            Some(ended) => ended_early(ended),
            None => std::future::pending().await,
        }
    }

    async fn join(mut self) {
        while self.set.join_next().await.is_some() {}
    }
}

fn ended_early(ended: Result<(&'static str, Result<(), Cause>), JoinError>) -> (&'static str, Cause) {
    match ended {
        Ok((task, Ok(()))) => (task, NothingToDo.into()),
        Ok((task, Err(cause))) => (task, cause),
        Err(error) => ("a task", error.into()),
    }
}
