//! Whose rules hold for a HelmRelease: those of the ApplicationInstance that owns it, however the Operation names it.

use hookhost_core::operation::Operation;
use hookhost_core::target::{HelmRelease, Instance, Readiness};

use super::Context;
use super::prepare::Stop;
use super::start::awaited as awaited_object;
use crate::watch::Awaited;
use hookhost_cluster::read::HELM_RELEASES_BYTES;
use hookhost_cluster::resource::Kind;

impl Context {
    /// Asks the owner of a HelmRelease, where it has one. `named` is the instance that the Operation names, where it does; its own
    /// rules have been asked.
    pub(super) async fn check_owner(
        &self,
        operation: &Operation,
        release: &HelmRelease,
        named: Option<&Instance>,
        readiness: Readiness,
        awaited: &mut Vec<Awaited>,
    ) -> Result<(), Stop> {
        let Some(owner) = &release.owner else { return Ok(()) };
        if let Some(named) = named {
            return Ok(owner.check_is(release, named)?);
        }
        // Operators make a HelmRelease beside its instance, and Kubernetes knows no owner in another namespace.
        awaited.push(awaited_object(Kind::ApplicationInstance, &release.namespace, &owner.name));
        let object = self.reader.target(Kind::ApplicationInstance, &release.namespace, &owner.name).await?;
        let instance = object.as_ref().map(Instance::from_json).transpose()?;
        Ok(owner.check(release, instance.as_ref(), operation.type_of, readiness)?)
    }

    /// Whether a release that an Operation names as a plain Helm release is one, and none that a HelmRelease of its namespace makes,
    /// whatever that is called.
    pub(super) async fn check_plain(&self, namespace: &str, name: &str) -> Result<(), Stop> {
        match self.reader.refuse_plain(namespace, name, HELM_RELEASES_BYTES).await? {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }
}
