//! A *policy in use* is a HookPolicy whose component was found, compiled and has accepted its settings. All of them
//! together are asked before a hook runs.
//!
//! ```text
//!  HookPolicy ─► wanted ─► module ─► library ─► set ─► decide ─► answers, for the plan
//!    (watch)      (read)   (bytes)  (compiled)             └───► records, for logs and metrics
//!       ▲                                          └─► status
//! ```
//!
//! # Guarantees
//! - **One broken policy touches nothing else.** A HookPolicy that cannot be read, whose module is missing or is not what
//!   it is pinned to, whose settings are refused, or that traps when it is asked, refuses (failurePolicy Fail) or skips
//!   (Ignore) the Operations that it matches, and says so in its status.
//! - **Closed until known.** Before all HookPolicies have been listed, and while one that matches is being loaded, nothing
//!   is decided.
//! - **Compiled once.** HookPolicies with the same component share its code, whatever their settings and limits.
//!
//! # What it needs to be allowed
//! ```yaml
//! # ClusterRole
//! - {apiGroups: [policy.vworkspace.io], resources: [hookpolicies], verbs: [get, list, watch]}
//! - {apiGroups: [policy.vworkspace.io], resources: [hookpolicies/status], verbs: [patch]}
//! # Role, in each namespace that has modules in ConfigMaps; best with resourceNames
//! - {apiGroups: [""], resources: [configmaps], verbs: [get]}
//! ```
//! ConfigMaps are read by name when a HookPolicy changes in spec or annotations, and with growing pauses while the policy
//! is not ready. They are never listed or watched: a new component under an old name is picked up once sha256 is changed
//! to it, or any annotation.

mod budget;
mod decide;
mod library;
mod limits;
mod load;
mod manifest;
mod matching;
mod module;
mod problem;
mod run;
mod set;
mod status;
pub mod stock;
mod wanted;

use std::path::PathBuf;
use std::sync::Arc;

pub use budget::EVALUATIONS_BYTES;
pub use decide::{Decided, DecisionRecord, Effect, Outcome, Undecided};
use hookhost_core::{Reason, Refusal, Request};
use hookhost_sandbox::Sandbox;
pub use manifest::{Manifest, Matched};
pub use matching::Scope;
pub use module::Source;
use parking_lot::RwLock;
pub use problem::Problem;
pub(crate) use run::LOADS;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::budget::Budget;
use self::library::Library;
use self::run::Runner;
use self::set::{Member, State};
use crate::crd::{Closure, ClosureExisting, Mode};
use crate::metrics::Metrics;
use hookhost_cluster::client::Connection;
use hookhost_cluster::writer::Writer;

/// What whoever installs hookhost decides about policies.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Below this directory HookPolicies may name files; none: they may not.
    pub policy_dir: Option<PathBuf>,
    /// The folder of the stock policies; none: the one beside the program.
    pub stock_policies: Option<PathBuf>,
    /// Whether an Operation about which no policy has answered is refused.
    pub require_policy: bool,
}

/// The reasons for which an Operation waits for a policy: with [`Policies::changed`] it is worth another look.
pub const WAITED_FOR: [Reason; 7] = [
    Reason::PolicyUnavailable,
    Reason::PolicyRequired,
    Reason::PolicyHeld,
    Reason::PolicyTrapped,
    Reason::PolicyTimedOut,
    Reason::PolicyOutOfMemory,
    Reason::PolicyBadOutput,
];

/// All policies in use, as they are now.
pub struct Policies {
    options: Options,
    library: Library,
    budget: Budget,
    /// None until all HookPolicies have been listed.
    set: RwLock<Option<Arc<[Member]>>>,
    changed: watch::Sender<u64>,
    is_ready: watch::Sender<bool>,
    /// An evaluation has failed, or one has gone well after that.
    news: Notify,
}

impl Policies {
    /// No policies yet; [`Policies::run`] finds them.
    pub fn new(sandbox: Arc<Sandbox>, options: Options) -> Policies {
        Policies {
            options,
            library: Library::new(sandbox),
            budget: Budget::new(EVALUATIONS_BYTES),
            set: RwLock::default(),
            changed: watch::Sender::new(0),
            is_ready: watch::Sender::new(false),
            news: Notify::new(),
        }
    }

    /// Follows the cluster's HookPolicies until `shutdown`. What the API server refuses is logged and tried again; a
    /// status is written only while `writer` may write.
    pub async fn run(
        self: Arc<Self>,
        connection: Connection,
        writer: Writer,
        metrics: Metrics,
        shutdown: CancellationToken,
    ) {
        Runner::new(self, connection, writer, metrics).run(shutdown).await;
    }

    /// Waits until all HookPolicies that there were at first are known and each is ready, or known not to be.
    pub async fn ready(&self) {
        // The sender is ours, so this ends with the condition only.
        let _ = self.is_ready.subscribe().wait_for(|is_ready| *is_ready).await;
    }

    /// Whether [`Policies::ready`] would not wait.
    pub fn is_ready(&self) -> bool {
        *self.is_ready.borrow()
    }

    /// A number that grows with every change of what the policies would say: Operations that wait for a policy are then
    /// worth another look.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Asks every policy that matches.
    ///
    /// This computes, and waits for nothing but other policies: some 20 µs a policy, at most the policy's time limit (10 s, 50 ms
    /// unless its HookPolicy says otherwise). From async code call it within [`tokio::task::block_in_place`], so that a slow
    /// policy holds up nobody but its own Operation; as many run at once as have room in [`EVALUATIONS_BYTES`], and the others
    /// wait for them.
    ///
    /// # Errors
    /// [`Undecided`] where a policy that must be asked cannot be, or where none answered and one is required.
    pub fn decide(&self, request: &Request, scope: &Scope) -> Result<Decided, Undecided> {
        let set = self.set.read().clone();
        let Some(set) = set else {
            return Err(Undecided { refusal: unknown(), records: Vec::new() });
        };
        let asking = decide::Asking { require_policy: self.options.require_policy, budget: &self.budget };
        decide::decide(&set, asking, request, scope, || self.news.notify_one())
    }

    /// What the policies that match say of lending, and which of them; none where none says anything. One that forbids
    /// counts more than one that allows.
    ///
    /// # Errors
    /// As long as the HookPolicies are not known.
    pub fn closure(&self, request: &Request, scope: &Scope) -> Result<Option<(Closure, String)>, Refusal> {
        let set = self.set.read().clone();
        let members = set.ok_or_else(unknown)?;
        let says = members.iter().filter(|member| member.mode == Mode::Enforce).filter_map(|member| {
            let closure = member.closure?;
            member.matcher.matches(request, scope).map(|_| (closure, member.name.clone()))
        });
        Ok(says.max_by_key(|(closure, _)| *closure == Closure::Forbid))
    }

    /// Whether a run that is given rights may use ConfigMaps and Secrets that are not what the chart has: a policy that matches, and
    /// that selects the Job's namespace, allows it, and none that matches says otherwise.
    ///
    /// # Errors
    /// As long as the HookPolicies are not known.
    pub fn allows_existing(&self, request: &Request, scope: &Scope) -> Result<bool, Refusal> {
        let set = self.set.read().clone();
        let members = set.ok_or_else(unknown)?;
        let enforced = || members.iter().filter(|member| member.mode == Mode::Enforce);
        let says = |existing: ClosureExisting, scope: &Scope| {
            enforced().any(|member| {
                member.closure_existing == Some(existing) && member.matcher.matches(request, scope).is_some()
            })
        };
        // What is relaxed for one namespace must not be had in another by making the Operation in the first.
        Ok(says(ClosureExisting::Allow, &scope.of_job()) && !says(ClosureExisting::Match, scope))
    }

    fn publish(&self, members: Arc<[Member]>) {
        let is_loading = members.iter().any(|member| matches!(member.state, State::Loading));
        *self.set.write() = Some(members);
        self.changed.send_modify(|generation| *generation += 1);
        if !is_loading {
            self.is_ready.send_replace(true);
        }
    }
}

fn unknown() -> Refusal {
    Refusal::wait(Reason::PolicyUnavailable, "the HookPolicies of this cluster are not known yet")
}
