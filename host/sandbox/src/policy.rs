//! A *policy* is a component that was loaded and found to be what the contract says. It can be asked from any number
//! of threads; each question gets a fresh instance that nobody else sees and that is gone after the answer.

use std::fmt;

use hookhost_core::Decision;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use crate::Error;
use crate::answer::{self, Description, SettingsError};
use crate::clock::Clock;
use crate::code::WasmDigest;
use crate::engine::Metering;
use crate::error::MEMORY_AT_START;
use crate::guest::{self, Cost, Guest};
use crate::interface;
use crate::limits::Limits;
use crate::log::LogLine;
use crate::text::clean;
use crate::wire::{PreparedRequest, check_settings};
use crate::wit::{HookPolicy, HookPolicyPre};

/// One policy's answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The decision, within the contract's bounds.
    pub decision: Decision,
    /// What the policy logged meanwhile.
    pub logs: Vec<LogLine>,
    /// What it used.
    pub cost: Cost,
}

/// A loaded policy; clones share everything.
#[derive(Clone)]
pub struct Policy {
    pre: HookPolicyPre<Guest>,
    clock: Clock,
    limits: Limits,
    metering: Metering,
    digest: WasmDigest,
    /// Bytes of memory that each instance begins with.
    initial_memory: u64,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("digest", &self.digest())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Policy {
    /// Checks a component's types, once; making an instance then needs no more looking up.
    pub(crate) fn new(
        component: &Component,
        linker: &Linker<Guest>,
        clock: Clock,
        limits: Limits,
        metering: Metering,
        digest: WasmDigest,
    ) -> Result<Policy, Error> {
        let mismatch = |e: wasmtime::Error| Error::Mismatch {
            expected: interface::POLICY.into(),
            problem: clean(&format!("{e:#}"), 300),
        };
        // In pages of 64 KiB: other page sizes are switched off.
        let pages = component.resources_required().and_then(|needed| needed.max_initial_memory_size);
        let initial_memory = pages.unwrap_or(0).saturating_mul(64 << 10);
        check_memory(initial_memory, limits)?;
        let pre = linker.instantiate_pre(component).and_then(HookPolicyPre::new).map_err(mismatch)?;
        Ok(Policy { pre, clock, limits, metering, digest, initial_memory })
    }

    /// The same policy under other limits; the code is shared. More memory at its start than the limit allows is
    /// [`Error::TooCostly`].
    pub fn with_limits(&self, limits: Limits) -> Result<Policy, Error> {
        check_memory(self.initial_memory, limits)?;
        Ok(Policy { limits, ..self.clone() })
    }

    /// SHA-256 of the policy's Wasm, in lowercase hexadecimal.
    pub fn digest(&self) -> String {
        self.digest.to_string()
    }

    /// What each evaluation may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Asks the policy what it is.
    pub fn describe(&self) -> Result<Description, Error> {
        let (answer, _, logs) =
            self.ask(|policy, store| policy.vworkspace_hook_policy_policy().call_describe(store))?;
        answer::description(answer).map_err(|problem| Error::BadOutput { problem, logs })
    }

    /// Asks the policy what is wrong with settings (JSON, at most 64 KiB); an empty list means that they are good.
    pub fn validate_settings(&self, settings: &str) -> Result<Vec<SettingsError>, Error> {
        check_settings(settings)?;
        let (answer, _, logs) = self.ask(|policy, store| {
            policy.vworkspace_hook_policy_policy().call_validate_settings(store, settings)
        })?;
        answer::settings_errors(answer).map_err(|problem| Error::BadOutput { problem, logs })
    }

    /// Asks the policy for its decision. `settings` are JSON that `validate_settings` found good.
    pub fn evaluate(&self, request: &PreparedRequest<'_>, settings: &str) -> Result<Evaluation, Error> {
        check_settings(settings)?;
        let (answer, cost, logs) = request.with(|request| {
            self.ask(|policy, store| {
                policy.vworkspace_hook_policy_policy().call_evaluate(store, request, settings)
            })
        })?;
        match answer::decision(answer) {
            Ok(decision) => Ok(Evaluation { decision, logs, cost }),
            Err(problem) => Err(Error::BadOutput { problem, logs }),
        }
    }

    /// A store with an instance of this policy in it.
    pub(crate) fn instance(&self) -> Result<(Store<Guest>, HookPolicy), Error> {
        let mut store = guest::store(self.pre.engine(), &self.clock, self.limits, self.metering)?;
        match self.pre.instantiate(&mut store) {
            Ok(policy) => Ok((store, policy)),
            Err(error) => Err(guest::failure(store, &error)),
        }
    }

    /// One call in a fresh instance.
    fn ask<R>(
        &self,
        call: impl FnOnce(&HookPolicy, &mut Store<Guest>) -> wasmtime::Result<R>,
    ) -> Result<(R, Cost, Vec<LogLine>), Error> {
        let (mut store, policy) = self.instance()?;
        match call(&policy, &mut store) {
            Ok(answer) => {
                let (cost, logs) = guest::finish(store);
                Ok((answer, cost, logs))
            }
            Err(error) => Err(guest::failure(store, &error)),
        }
    }
}

fn check_memory(found: u64, limits: Limits) -> Result<(), Error> {
    let limit = limits.memory() as u64;
    if found > limit {
        return Err(Error::TooCostly { what: MEMORY_AT_START, found, limit });
    }
    Ok(())
}
