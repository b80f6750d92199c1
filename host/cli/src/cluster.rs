//! A *cluster* is where releases and Operations are: the API server that a kubeconfig, or a pod's service account, names.

mod release;

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};
use hookhost_cluster::client::{Call, Connection, ConnectionOptions, Error, WRITE_TIMEOUT};
use hookhost_controller::memory;

pub(crate) use release::{Newest, newest, record};

use crate::problem::Problem;

/// Threads for what blocks: records decoded, policies evaluated and compiled, an answer typed. As many as a controller
/// reconciles Operations at once, and some for what else blocks.
const BLOCKING_THREADS: usize = 40;

/// Which cluster.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Which {
    /// Kubeconfig file [default: the files of $KUBECONFIG, else ~/.kube/config, else the pod's service account]
    ///
    /// Proxies are used as by kubectl: the kubeconfig's proxy-url, else $HTTPS_PROXY with $NO_PROXY.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
}

/// Which cluster, and which namespace of it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Place {
    /// Namespace to work in [default: the context's]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    #[command(flatten)]
    pub(crate) which: Which,
}

impl Which {
    /// The option by which anything of it was given; for saying that it goes with a cluster only.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let Which { kubeconfig, context } = self;
        kubeconfig.as_ref().map(|_| "--kubeconfig").or(context.as_ref().map(|_| "--context"))
    }

    /// Connects, without a wish for a namespace.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        connect(self, None).await
    }
}

impl Place {
    /// The option by which anything of it was given; for saying that it goes with a cluster only.
    pub(crate) fn given(&self) -> Option<&'static str> {
        self.namespace.as_ref().map(|_| "--namespace").or_else(|| self.which.given())
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        connect(&self.which, self.namespace.clone()).await
    }
}

async fn connect(which: &Which, namespace: Option<String>) -> Result<Connection> {
    let Which { kubeconfig, context } = which.clone();
    let options = ConnectionOptions { kubeconfig, context, namespace };
    Ok(options.connect().await.map_err(|error| problem("cannot use a cluster", error))?)
}

/// Runs what waits for a cluster. Threads that still block when it is done (someone may never answer a question) do not
/// keep the process.
pub(crate) fn block_on<T>(task: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(memory::WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start the threads that wait for the cluster")?;
    let result = runtime.block_on(task);
    runtime.shutdown_background();
    result
}

/// Sends a write and waits for its answer, at most [`WRITE_TIMEOUT`].
pub(crate) async fn write<T>(
    call: &Call,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match tokio::time::timeout(WRITE_TIMEOUT, request).await {
        Ok(answer) => answer.map_err(|error| Error::explain(call, error)),
        Err(_) => Err(Error::TimedOut { call: call.clone(), limit: WRITE_TIMEOUT }),
    }
}

/// An error of the way to the cluster, with what was being done.
pub(crate) fn problem(doing: impl Into<String>, error: Error) -> Problem {
    let (reason, advice) = (error.reason(), error.advice());
    Problem::new(reason, doing).with_source(error).with_advice(advice)
}
