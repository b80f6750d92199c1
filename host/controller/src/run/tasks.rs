//! The *tasks* of a run: each ends by a token, and one that ends before ends the process, by name.

use futures::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::isolated::Isolated;

/// Why a task ended.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A task that ended without a reason of its own.
#[derive(Debug, thiserror::Error)]
#[error("the task exited unexpectedly")]
pub(super) struct NothingToDo;

/// The tasks of a run.
pub(super) struct Tasks {
    set: JoinSet<(&'static str, Result<(), Cause>)>,
    /// Ends those that would never end.
    work: CancellationToken,
}

impl Tasks {
    /// No tasks yet; `work` ends those that would never end.
    pub(super) fn new(work: CancellationToken) -> Tasks {
        Tasks { set: JoinSet::new(), work }
    }

    /// What ends the tasks that would never end.
    pub(super) fn token(&self) -> CancellationToken {
        self.work.clone()
    }

    /// A task that ends by a token of its own, or because it cannot go on.
    pub(super) fn spawn<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.set.spawn(task.map(move |result| (name, result.map_err(Into::into))));
    }

    /// The same, but isolated from whatever input costs.
    pub(super) fn isolated<E: Into<Cause>>(
        &mut self,
        name: &'static str,
        isolated: &Isolated,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        isolated.spawn(&mut self.set, task.map(move |result| (name, result.map_err(Into::into))));
    }

    /// A task that would never end, until the token ends it.
    pub(super) fn endless(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.work.clone();
        self.set.spawn(async move {
            match token.run_until_cancelled(task).await {
                Some(()) => (name, Err(NothingToDo.into())),
                None => (name, Ok(())),
            }
        });
    }

    /// Waits for a task to end before its token.
    pub(super) async fn first_end(&mut self) -> (&'static str, Cause) {
        match self.set.join_next().await {
            Some(ended) => ended_early(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits for all to end.
    pub(super) async fn join(mut self) {
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
