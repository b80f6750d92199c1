//! The *set* is all HookPolicies as they are at one moment, in the order of their names. It never changes; a change makes a
//! new one, which shares with the old what stayed the same.

use std::sync::Arc;

use hookhost_core::Reason;
use parking_lot::Mutex;

use super::library::Loaded;
use super::matching::Matcher;
use super::problem::Problem;
use crate::crd::{Closure, ClosureExisting, FailurePolicy, Mode};

/// A HookPolicy, as far as deciding needs to know it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) matcher: Matcher,
    pub(super) failure_policy: FailurePolicy,
    pub(super) mode: Mode,
    pub(super) closure: Option<Closure>,
    pub(super) closure_existing: Option<ClosureExisting>,
    pub(super) state: State,
    pub(super) health: Arc<Health>,
}

/// Whether a policy can be asked.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// Not known yet: its module is being read, compiled, asked for its settings.
    Loading,
    /// It can.
    Ready(Arc<Loaded>),
    /// It cannot.
    NotReady(Problem),
}

/// How a policy's last evaluation went. Shared by all sets that the policy is in.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Last>);

/// How the last evaluation went.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Last {
    /// None has failed yet.
    #[default]
    Fine,
    /// It failed.
    Failed(Problem),
    /// It went well, after one that failed.
    Recovered,
}

impl Health {
    /// How the last evaluation went.
    pub(super) fn last(&self) -> Last {
        self.0.lock().clone()
    }

    /// Notes an answer. Whether that is news.
    pub(super) fn answered(&self) -> bool {
        let mut last = self.0.lock();
        let is_news = matches!(*last, Last::Failed(_));
        if is_news {
            *last = Last::Recovered;
        }
        is_news
    }

    /// Notes a failure. Whether that is news: of failures for the same reason the first is kept, so that a policy that
    /// fails for many Operations does not write as many messages.
    pub(super) fn failed(&self, problem: impl FnOnce() -> Problem, reason: Reason) -> bool {
        let mut last = self.0.lock();
        let is_news = !matches!(&*last, Last::Failed(known) if known.reason == reason);
        if is_news {
            *last = Last::Failed(problem());
        }
        is_news
    }
}
