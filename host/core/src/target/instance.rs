//! An *ApplicationInstance* (`apps.vworkspace.io/v1alpha1`) is an application that vWorkspace runs for an organisation. Its
//! operator makes a HelmRelease of it, whose release has the hooks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::read::{Fields, annotations, metadata};
use super::{Condition, ObjectName, TargetError};
use crate::operation::{ENGINE, OperationType};
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::quote;
use hookhost_helm::workload::entries;

/// Where the capability annotations' keys begin.
pub const CAPABILITY_DOMAIN: &str = "ops.vworkspace.io/";

/// `spec.mode` of an instance that owns no Helm release.
const PLACEHOLDER: &str = "placeholder";

/// Conditions that say why an instance is not ready, where they are true.
const TROUBLES: [&str; 5] = ["Blocked", "Deleting", "Suspended", "Degraded", "Reconciling"];

/// An ApplicationInstance, as far as it decides a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.uid.
    pub uid: String,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations, without kubectl's copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// metadata.generation.
    pub generation: i64,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Its condition Ready.
    pub ready: Option<Condition>,
    /// The generation that its operator last acted on; none where it does not say.
    pub observed_generation: Option<i64>,
    /// Conditions that are true and say why it may not be ready: their types, and what they say.
    pub troubles: Vec<(&'static str, Condition)>,
    /// Whether it owns no Helm release at all (`spec.mode: placeholder`).
    pub placeholder: bool,
    /// Its HelmRelease: status.helmReleaseRef, or, until that is written, spec.release.name in its own namespace, which
    /// is where the operator makes it.
    pub helm_release: ObjectName,
}

/// The annotation by which an instance says which engine may run Operations of this type: the type in lower case, as
/// vWorkspace has it ("ops.vworkspace.io/migration", "ops.vworkspace.io/runcommand").
pub fn capability_key(type_of: OperationType) -> String {
    format!("{CAPABILITY_DOMAIN}{}", type_of.as_str().to_ascii_lowercase())
}

/// Whether an ApplicationInstance has to be ready for what is about to run on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has to be: nothing of the run has begun.
    Required,
    /// Hooks of the event have run, and what they do may make it not ready until the last of them has: a maintenance mode that one
    /// switches on and another off.
    Passed,
}

impl Instance {
    /// Reads an instance as the API server gives it.
    ///
    /// # Errors
    /// If a field that decides is not what its API allows.
    pub fn from_json(object: &Value) -> Result<Instance, TargetError> {
        let fields = Fields::of("ApplicationInstance", object);
        let metadata = metadata(fields)?;
        let reference = match fields.name("status.helmReleaseRef.name")? {
            Some(name) => {
                let namespace = fields.namespace("status.helmReleaseRef.namespace")?;
                ObjectName { namespace: namespace.unwrap_or_else(|| metadata.namespace.clone()), name }
            }
            None => ObjectName {
                namespace: metadata.namespace.clone(),
                // A placeholder has no release; its check says so before anybody asks for this.
                name: fields.name("spec.release.name")?.unwrap_or_else(|| metadata.name.clone()),
            },
        };
        if reference.namespace != metadata.namespace {
            // The operator makes it beside the instance, and a way to another namespace's release must not be one field.
            return Err(fields.wrong("status.helmReleaseRef.namespace", "the instance's own namespace"));
        }
        let ready = Condition::find(object, "Ready");
        let observed = ready.as_ref().and_then(|ready| ready.observed_generation);
        Ok(Instance {
            labels: entries(object, "metadata.labels"),
            annotations: annotations(object),
            generation: metadata.generation,
            deleting: metadata.deleting,
            // vWorkspace's operator says it for the whole status, not for each condition.
            observed_generation: observed.or(fields.number("status.observedGeneration")?),
            ready,
            troubles: TROUBLES
                .iter()
                .filter_map(|type_of| Some((*type_of, Condition::find(object, type_of)?)))
                .filter(|(_, condition)| condition.is_true())
                .collect(),
            placeholder: fields.text("spec.mode")? == Some(PLACEHOLDER),
            helm_release: reference,
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
        })
    }

    /// Whether an Operation of this type may run on it now, in vWorkspace's order: it exists, is ready, and says that this
    /// engine may.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, type_of: OperationType, readiness: Readiness) -> Result<(), Refusal> {
        if self.deleting {
            return Err(Refusal::fail(Reason::TargetNotFound, format!("{self} is being deleted")));
        }
        if self.placeholder {
            let message = format!(
                "{self} is a placeholder (spec.mode): it has no Helm release, so it has no hooks. Name an instance that has one"
            );
            return Err(Refusal::fail(Reason::HookRequiresRelease, message));
        }
        if readiness == Readiness::Required {
            self.check_ready()?;
        }
        self.check_capability(type_of)
    }

    fn check_ready(&self) -> Result<(), Refusal> {
        let wait =
            |why: String| Err(Refusal::wait(Reason::TargetNotReady, format!("{self} is not ready: {why}")));
        let mut why = match &self.ready {
            None => "it has no condition Ready yet; is vWorkspace's operator running?".to_owned(),
            Some(ready) if !ready.is_true() => format!("Ready={ready}"),
            Some(_) => {
                return match self.observed_generation {
                    Some(observed) if observed < self.generation => wait(format!(
                        "its operator has not acted on its latest change yet (generation {}, seen {observed})",
                        self.generation
                    )),
                    _ => Ok(()),
                };
            }
        };
        for (type_of, condition) in &self.troubles {
            why.push_str(&format!("; {type_of}={condition}"));
        }
        wait(why)
    }

    fn check_capability(&self, type_of: OperationType) -> Result<(), Refusal> {
        let key = capability_key(type_of);
        let found =
            self.annotations.get(&key).map(|engine| engine.trim()).filter(|engine| !engine.is_empty());
        let problem = match found {
            Some(ENGINE) => return Ok(()),
            Some(other) => format!("gives {type_of} to the engine {} ({key})", quote(other)),
            None => format!("does not say that its chart has hooks for {type_of}"),
        };
        let message = format!(
            "{self} {problem}. If it has, whoever owns it can say so: kubectl annotate applicationinstance -n {} {} \
             --overwrite {key}={ENGINE}",
            self.namespace, self.name
        );
        Err(Refusal::fail(Reason::CapabilityMissing, message))
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the ApplicationInstance {}/{}", self.namespace, self.name)
    }
}
