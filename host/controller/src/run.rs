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

mod hands;
mod isolated;
mod known;
mod operations;
mod tasks;

use std::sync::Arc;

use futures::FutureExt;
use hookhost_core::Reason;
use hookhost_sandbox::{Cache, Compiler, Sandbox};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::hands::{Deciding, Hands};
use self::isolated::Isolated;
use self::known::Known;
use self::tasks::{Cause, NothingToDo, Tasks};
use crate::admin::{self, Health};
use crate::config::Config;
use crate::event::Events;
use crate::metrics::Metrics;
use crate::policy::{self, Policies};
use hookhost_cluster::client::Connection;
use hookhost_cluster::lease::{Claim, InvalidTiming, Lease};
use hookhost_cluster::writer::Writer;

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

/// Serves Operations until `shutdown`.
///
/// # Errors
/// It cannot start; or a task ended that must not end before the others.
pub async fn run(
    connection: Connection,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let metrics = Metrics::new();
    // What works ends first; what the work still needs ends after it.
    let (work, support) = (shutdown.child_token(), CancellationToken::new());
    let mut tasks = Tasks::new(work.clone());
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
    let writer = Writer::new(claim.clone(), metrics.clone());
    let policies = Arc::new(policies(&config)?);
    let (events, event_task) = Events::new(connection.requests.clone(), writer.clone(), metrics.clone());

    let (known, changes) = Known::watch(&connection, &config, &writer, &mut tasks);
    let hands = Hands::new(&connection, &config, &writer, &known);
    let unsearched = hands.look_after(&connection, &config, &known, &mut tasks);
    let deciding = Deciding { policies: policies.clone(), events, metrics: metrics.clone() };
    let context = Arc::new(hands.context(&connection, &config, &known, deciding, unsearched, &tasks));

    tasks.endless("keeping the key of claims", keep_key(known.clone(), claim));
    let follow = policies.clone().run(connection, writer, metrics.clone(), work.clone());
    tasks.spawn("watching policies", follow.map(Ok::<(), Cause>));
    tasks.endless("waking for changed policies", wake_for_policies(known.clone(), policies.clone()));
    if let Some(lease) = &lease {
        let wake = operations::wake_when_leading(lease.leadership(), known.clone());
        tasks.endless("waiting for the lease", wake);
    }
    if let Some(address) = config.admin {
        let serve = admin::serve(address, health.clone(), metrics, support.clone());
        tasks.isolated("serving health and metrics", &isolated, serve);
    }
    tasks.endless("noticing readiness", notice_readiness(known.clone(), policies.clone(), health.clone()));
    tasks.endless("showing that work goes on", beat(health.clone()));
    let lease_token = CancellationToken::new();
    if let Some(lease) = lease {
        tasks.isolated("holding the lease", &isolated, lease.run(lease_token.clone()));
    }
    let events_token = CancellationToken::new();
    let event_task = tokio::spawn(event_task.run(events_token.clone()));
    let mut controller =
        tokio::spawn(operations::serve(context, changes, policies, known.wakes, work.clone()));

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
    // No Operation is reconciled any more, and what is under way is finished.
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

/// The policies, none of which is loaded yet.
fn policies(config: &Config) -> Result<Policies, RunError> {
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
    Ok(Policies::new(Arc::new(sandbox), options))
}

/// Keeps the key of claims, once this process leads. A standby creates none, and may know another key than the leader will have.
async fn keep_key(known: Known, claim: Claim) {
    if claim.acquired().await {
        let Known { operations, wakes, bindings, .. } = &known;
        let keyring = known.keyring.clone();
        keyring
            .keep(|| {
                wakes.wake_all(operations.keys());
                bindings.look_again();
            })
            .await;
    }
    std::future::pending::<()>().await;
}

/// Has the Operations reconciled that wait for a policy, whenever policies change.
async fn wake_for_policies(known: Known, policies: Arc<Policies>) {
    let mut changed = policies.changed();
    while changed.changed().await.is_ok() {
        for reason in policy::WAITED_FOR {
            known.wakes.wake_all(known.operations.waiting_for(reason));
        }
    }
}

async fn notice_readiness(known: Known, policies: Arc<Policies>, health: Health) {
    tokio::join!(
        known.operations.synced().map(|()| health.loaded("Operations")),
        known.gated.synced().map(|()| health.loaded("namespaces")),
        known.served.synced().map(|()| health.loaded("this shard's namespaces")),
        policies.ready().map(|()| health.loaded("HookPolicies")),
    );
    tracing::info!("ready");
    std::future::pending::<()>().await;
}

/// Shows for ever that the threads that work are not stuck.
async fn beat(health: Health) {
    loop {
        health.beat();
        sleep(admin::BEAT).await;
    }
}
