//! The *library* holds the components that are in use, each compiled once, however many HookPolicies use it. What nobody
//! uses any more is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use hookhost_core::Reason;
use hookhost_helm::text::{hex, quote};
use hookhost_sandbox::{Description, Limits, Policy, Sandbox, limits};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::problem::Problem;
use super::wanted::Component;

/// Settings errors that are told: those beyond would not fit the message.
const SETTINGS_ERRORS: usize = 8;

/// A component that can be asked, with one HookPolicy's settings and limits.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) policy: Policy,
    /// JSON that the component accepted.
    pub(super) settings: String,
    /// "sha256:…"
    pub(super) digest: String,
    pub(super) description: Description,
    /// Keeps the compiled code for the others who use it.
    _compiled: Arc<Compiled>,
}

/// One component's code, once there is some.
#[derive(Debug, Default)]
struct Compiled(OnceCell<Policy>);

/// The components in use.
pub(super) struct Library {
    sandbox: Arc<Sandbox>,
    /// By the SHA-256 of their Wasm.
    compiled: Mutex<HashMap<String, Weak<Compiled>>>,
}

/// Why a component cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Unusable {
    pub(super) problem: Problem,
    /// It is this machine's fault: the same component may do next time.
    pub(super) is_transient: bool,
}

impl From<hookhost_sandbox::Error> for Unusable {
    fn from(error: hookhost_sandbox::Error) -> Unusable {
        let problem = Problem::from(&error);
        let is_transient = matches!(problem.reason, Reason::HostFailed | Reason::SandboxBusy);
        Unusable { problem, is_transient }
    }
}

impl From<Problem> for Unusable {
    fn from(problem: Problem) -> Unusable {
        Unusable { problem, is_transient: false }
    }
}

impl Library {
    pub(super) fn new(sandbox: Arc<Sandbox>) -> Library {
        Library { sandbox, compiled: Mutex::default() }
    }

    /// Makes a component ready to be asked: compiles it unless somebody uses it already, asks it what it is and whether
    /// its settings are good.
    pub(super) async fn load(
        &self,
        wasm: Vec<u8>,
        digest: String,
        wanted: &Component,
    ) -> Result<Loaded, Unusable> {
        check_pin(&digest, wanted.pin.as_deref())?;
        let compiled = self.entry(&digest);
        let policy = compiled.0.get_or_try_init(|| self.compile(wasm)).await?.clone();
        let (limits, settings) = (wanted.limits, wanted.settings.clone());
        // Two calls into the guest, of at most its time limit each.
        let asked = tokio::task::spawn_blocking(move || -> Result<_, Unusable> {
            let policy = policy.with_limits(limits)?;
            let description = policy.describe()?;
            check_settings(&policy, &settings)?;
            Ok((policy, settings, description))
        });
        let (policy, settings, description) = asked.await.map_err(thread_ended)??;
        Ok(Loaded { policy, settings, digest: format!("sha256:{digest}"), description, _compiled: compiled })
    }

    /// The place for a component's code, and room for it by forgetting what is not used any more.
    fn entry(&self, digest: &str) -> Arc<Compiled> {
        let mut all = self.compiled.lock();
        all.retain(|_, compiled| compiled.strong_count() > 0);
        if let Some(compiled) = all.get(digest).and_then(Weak::upgrade) {
            return compiled;
        }
        let compiled = Arc::default();
        all.insert(digest.to_owned(), Arc::downgrade(&compiled));
        compiled
    }

    /// Compiles, in the sandbox's child process. With the most memory that anybody may give; each user then has its own
    /// limits.
    async fn compile(&self, wasm: Vec<u8>) -> Result<Policy, Unusable> {
        let sandbox = Arc::clone(&self.sandbox);
        let compiled = tokio::task::spawn_blocking(move || -> Result<_, hookhost_sandbox::Error> {
            sandbox.load(&wasm, Limits::default().with_memory(limits::MAX_MEMORY)?)
        });
        Ok(compiled.await.map_err(thread_ended)??)
    }
}

/// The SHA-256 of a component's Wasm, in lowercase hexadecimal.
pub(super) fn digest_of(wasm: &[u8]) -> String {
    hex(Sha256::digest(wasm))
}

pub(super) fn check_pin(digest: &str, pin: Option<&str>) -> Result<(), Problem> {
    match pin {
        Some(pin) if pin != digest => {
            let message = format!("the module is sha256:{digest}, but spec.module.sha256 wants sha256:{pin}");
            Err(Problem::new(Reason::PolicyDigestMismatch, message))
        }
        _ => Ok(()),
    }
}

fn check_settings(policy: &Policy, settings: &str) -> Result<(), Unusable> {
    let errors = policy.validate_settings(settings)?;
    if errors.is_empty() {
        return Ok(());
    }
    let mut all: Vec<String> = errors
        .iter()
        .take(SETTINGS_ERRORS)
        .map(|error| {
            if error.path.is_empty() {
                error.message.clone()
            } else {
                format!("{}: {}", error.path, error.message)
            }
        })
        .collect();
    if errors.len() > SETTINGS_ERRORS {
        all.push(format!("and {} more", errors.len() - SETTINGS_ERRORS));
    }
    let message = format!("the policy refuses spec.settings: {}", all.join("; "));
    Err(Problem::new(Reason::PolicySettingsInvalid, message).into())
}

fn thread_ended(error: tokio::task::JoinError) -> Unusable {
    let problem = Problem::new(
        Reason::HostFailed,
        format!("a policy could not be loaded: {}", quote(&error.to_string())),
    );
    Unusable { problem, is_transient: true }
}
