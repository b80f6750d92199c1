//! The *owner* of a HelmRelease is the ApplicationInstance that vWorkspace's operator made it for, as its owner references say.
//!
//! The rules of an instance (whether it is ready, which engine may run what on it) hold for its HelmRelease too: else naming the
//! HelmRelease in an Operation would be a way past them.

use serde_json::Value;

use super::{HelmRelease, Instance, Readiness, TargetKind, group};
use crate::operation::OperationType;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::quote;

/// Owner references that are read. Kubernetes has no bound of its own; a HelmRelease of the operator has one.
pub(super) const MAX_OWNERS: usize = 64;

/// The ApplicationInstance that owns a HelmRelease, in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Owner {
    /// The owner by an object's owner references: the controller before others. None where no ApplicationInstance is among them.
    pub(super) fn of(object: &Value) -> Option<Owner> {
        let references = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let text = |reference: &Value, field: &str| {
            reference.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let of = TargetKind::ApplicationInstance;
        let instances = references.into_iter().flatten().take(MAX_OWNERS).filter(|reference| {
            text(reference, "kind") == of.kind()
                && group(&text(reference, "apiVersion")) == group(of.api_version())
        });
        let is_controller = |reference: &&Value| reference.get("controller") == Some(&Value::Bool(true));
        let (controllers, others): (Vec<_>, Vec<_>) = instances.partition(is_controller);
        let reference = controllers.first().or(others.first())?;
        Some(Owner { name: text(reference, "name"), uid: text(reference, "uid") })
    }

    /// Whether an Operation of this type may run on the HelmRelease as far as its owner goes. `instance` is the ApplicationInstance
    /// of the owner's name, as it is now.
    ///
    /// # Errors
    /// Why not: the owner's own rules, or that it is gone.
    pub fn check(
        &self,
        release: &HelmRelease,
        instance: Option<&Instance>,
        type_of: OperationType,
        readiness: Readiness,
    ) -> Result<(), Refusal> {
        match instance {
            Some(instance) if instance.uid == self.uid => instance.check(type_of, readiness),
            _ => {
                let message = format!(
                    "{release} belongs to the ApplicationInstance {} (UID {}), which is gone: Kubernetes deletes the HelmRelease, \
                     too, unless its owner is another by then",
                    quote(&self.name),
                    quote(&self.uid)
                );
                Err(Refusal::wait(Reason::TargetNotReady, message))
            }
        }
    }

    /// Whether the HelmRelease, to which this instance leads, is the instance's own.
    ///
    /// # Errors
    /// It is another's: its rules would have to be asked, not this one's.
    pub fn check_is(&self, release: &HelmRelease, instance: &Instance) -> Result<(), Refusal> {
        if instance.uid == self.uid {
            return Ok(());
        }
        let whose = if instance.name == self.name {
            "an earlier ApplicationInstance of that name".to_owned()
        } else {
            format!("the ApplicationInstance {}: make the Operation for that one", quote(&self.name))
        };
        let message = format!("{instance} leads to {release}, which belongs to {whose}");
        Err(Refusal::wait(Reason::TargetNotReady, message))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::refusal::Then;

    fn reference(name: &str, controller: bool) -> Value {
        json!({"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": name, "uid": format!("uid-{name}"),
            "controller": controller})
    }

    fn release(owners: Value) -> HelmRelease {
        let metadata = json!({"name": "shop", "namespace": "acme", "ownerReferences": owners});
        HelmRelease::from_json(&json!({"metadata": metadata})).unwrap()
    }

    fn instance(name: &str, uid: &str, annotations: Value) -> Instance {
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Ok"}]);
        let metadata = json!({"name": name, "namespace": "acme", "uid": uid, "annotations": annotations});
        Instance::from_json(&json!({"metadata": metadata, "status": {"conditions": ready}})).unwrap()
    }

    #[test]
    fn the_owner_is_the_instance_that_controls_it_else_one_that_owns_it() {
        let name = |owners| release(owners).owner.map(|owner| owner.name);
        assert_eq!(name(Value::Null), None);
        assert_eq!(name(json!([reference("a", false), reference("b", true)])).as_deref(), Some("b"));
        assert_eq!(name(json!([reference("a", false)])).as_deref(), Some("a"));
        for (field, other) in [("kind", "Application"), ("apiVersion", "apps/v1")] {
            let mut foreign = reference("a", true);
            foreign[field] = json!(other);
            assert_eq!(name(json!([foreign])), None, "{field}");
        }
        let mut newer = reference("a", true);
        newer["apiVersion"] = json!("apps.vworkspace.io/v1");
        assert_eq!(name(json!([newer])).as_deref(), Some("a"), "any version of the API");
    }

    #[test]
    fn a_helm_release_follows_the_rules_of_the_instance_that_owns_it() {
        let release = release(json!([reference("a", true)]));
        let owner = release.owner.clone().unwrap();
        let check = |instance: Option<&Instance>| {
            owner.check(&release, instance, OperationType::Migration, Readiness::Required)
        };
        let capable = json!({"ops.vworkspace.io/migration": "helmHookJob"});
        assert_eq!(check(Some(&instance("a", "uid-a", capable.clone()))), Ok(()));
        let refusal = check(Some(&instance("a", "uid-a", json!({})))).unwrap_err();
        assert_eq!(refusal.reason, Reason::CapabilityMissing);
        // One that only has the name is not the owner: its word counts as little as nobody's.
        for other in [None, Some(&instance("a", "uid-new", capable))] {
            let refusal = check(other).unwrap_err();
            assert_eq!((refusal.reason, refusal.then), (Reason::TargetNotReady, Then::Wait));
            assert!(refusal.message.contains("\"a\" (UID \"uid-a\"), which is gone"), "{}", refusal.message);
        }
    }

    #[test]
    fn an_instance_does_not_lead_to_the_helm_release_of_another() {
        let release = release(json!([reference("a", true)]));
        let owner = release.owner.clone().unwrap();
        assert_eq!(owner.check_is(&release, &instance("a", "uid-a", json!({}))), Ok(()));
        let message = owner.check_is(&release, &instance("b", "uid-b", json!({}))).unwrap_err().message;
        assert!(message.contains("acme/b leads to the HelmRelease acme/shop, which belongs to"), "{message}");
        assert!(message.contains("\"a\": make the Operation for that one"), "{message}");
        let message = owner.check_is(&release, &instance("a", "uid-new", json!({}))).unwrap_err().message;
        assert!(message.contains("an earlier ApplicationInstance of that name"), "{message}");
    }
}
