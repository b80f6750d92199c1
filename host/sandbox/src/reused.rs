//! One instance asked many times, for benches only: the price of a fresh one is what it is compared with.

use hookhost_core::Decision;
use wasmtime::Store;

use crate::guest::{self, Guest};
use crate::policy::Policy;
use crate::wire::{PreparedRequest, check_settings};
use crate::wit::HookPolicy;
use crate::{Error, answer};

/// An instance that is asked again and again, with no isolation between the answers. Each has
/// the time limit for itself; the rest of the limits is for all together.
#[doc(hidden)]
pub struct Reused {
    store: Store<Guest>,
    policy: HookPolicy,
}

impl Reused {
    /// Makes the instance.
    pub fn new(policy: &Policy) -> Result<Reused, Error> {
        let (store, policy) = policy.instance()?;
        Ok(Reused { store, policy })
    }

    /// As [`Policy::evaluate`].
    pub fn evaluate(&mut self, request: &PreparedRequest<'_>, settings: &str) -> Result<Decision, Error> {
        check_settings(settings)?;
        guest::start_time(&mut self.store);
        let failed = |e| Error::host("a reused instance failed", e);
        let call = self.policy.vworkspace_hook_policy_policy();
        let answer =
            request.with(|request| call.call_evaluate(&mut self.store, request, settings)).map_err(failed)?;
        answer::decision(answer).map_err(|problem| Error::BadOutput { problem, logs: Vec::new() })
    }
}
