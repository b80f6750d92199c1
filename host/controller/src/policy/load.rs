//! To *load* a policy is to read its module, to compile it, and to ask it whether its settings are good.

use std::sync::Arc;

use hookhost_core::{Reason, Request};
use hookhost_helm::text::quote;
use kube::core::DynamicObject;
use kube::{Client, ResourceExt};

use super::Policies;
use super::library::{Loaded, Unusable, digest_of};
use super::matching::Scope;
use super::module::Source;
use super::problem::Problem;
use super::set::State;
use super::wanted::{Component, Wanted};

/// Why a module could not be loaded.
pub(super) struct NotLoaded {
    pub(super) problem: Problem,
    pub(super) is_transient: bool,
    /// Of the module, if it could be read.
    pub(super) digest: Option<String>,
}

impl Policies {
    /// Reads a module and makes it ready to be asked. `unusable` is a module, by its digest, of which it is known why it will not do.
    pub(super) async fn load(
        &self,
        client: &Client,
        component: &Component,
        unusable: Option<(String, Problem)>,
    ) -> Result<Arc<Loaded>, NotLoaded> {
        let read = component.source.read(client, &self.options).await;
        let wasm = read.map_err(|not_read| NotLoaded {
            problem: not_read.problem,
            is_transient: not_read.is_transient,
            digest: None,
        })?;
        // A few milliseconds for the largest.
        let hashed = tokio::task::spawn_blocking(move || (digest_of(&wasm), wasm)).await;
        let (digest, wasm) = hashed.map_err(|error| NotLoaded {
            problem: Problem::new(
                Reason::HostFailed,
                format!("a policy could not be loaded: {}", quote(&error.to_string())),
            ),
            is_transient: true,
            digest: None,
        })?;
        if let Some((_, problem)) = unusable.filter(|(known, _)| *known == digest) {
            return Err(NotLoaded { problem, is_transient: false, digest: Some(digest) });
        }
        match self.library.load(wasm, digest.clone(), component).await {
            Ok(loaded) => Ok(Arc::new(loaded)),
            Err(Unusable { problem, is_transient }) => {
                Err(NotLoaded { problem, is_transient, digest: Some(digest) })
            }
        }
    }

    /// Loads those of these HookPolicies once that match one of these requests, without following them: for a plan. Gives back the names
    /// of those whose module only the controller can read, each with the reason; they are not asked.
    pub async fn load_once(
        &self,
        client: &Client,
        hook_policies: &[DynamicObject],
        requests: &[(&Request, Scope)],
    ) -> Vec<(String, Problem)> {
        let (mut members, mut not_asked) = (Vec::new(), Vec::new());
        for policy in hook_policies {
            let (name, wanted) = (policy.name_any(), Wanted::read(policy));
            let matches =
                |(request, scope): &(&Request, Scope)| wanted.matcher.matches(request, scope).is_some();
            if !requests.iter().any(matches) {
                continue;
            }
            let state = match &wanted.component {
                Err(problem) => State::NotReady(problem.clone()),
                Ok(component) => match self.load(client, component, None).await {
                    Ok(loaded) => State::Ready(loaded),
                    Err(failed) if is_only_the_controllers(component, &failed) => {
                        not_asked.push((name, failed.problem));
                        continue;
                    }
                    Err(failed) => State::NotReady(failed.problem),
                },
            };
            members.push(wanted.member(&name, state, Arc::default()));
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        self.publish(members.into());
        not_asked
    }
}

/// Whether a module may be there though it was not read: it is in a folder of the controller's, or may not be read by this account.
fn is_only_the_controllers(component: &Component, failed: &NotLoaded) -> bool {
    let is_elsewhere = !matches!(component.source, Source::ConfigMap(_));
    let is_barred = failed.is_transient || failed.problem.reason == Reason::AccessForbidden;
    failed.digest.is_none() && (is_elsewhere || is_barred)
}
