//! A *Job* of hookhost, as far as a look at its Operation needs to know it.

use std::time::Instant;

use hookhost_core::claim::{Claim, Keys};
use hookhost_core::clone::{OPENED, Step};
use hookhost_core::loan::{Borrowed, JobId};
use hookhost_core::outcome::{Outcome, Warnings};
use hookhost_core::status::Run;
use hookhost_core::{clone, outcome};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::HookOfRelease;
use crate::lender::UNATTENDED;
use crate::wake::OperationKey;
use crate::watch::{Text, to_json, trim, version};

/// A Job of hookhost, without its spec but for its completions: that is in the API server, and its claim says that it is what
/// hookhost made it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The UID of the Operation that it is for, by its label or, where somebody took that away, its claim.
    pub(crate) operation: String,
    /// What proves that hookhost made it as it is.
    claim: Option<Claim>,
    /// Whether it is finished, or on its way to be deleted.
    pub(crate) is_over: bool,
    /// Which hook of which release it runs, as long as it may have a pod.
    pub(super) work: Option<HookOfRelease>,
    /// Where the Operation is that it says it is for.
    origin: Option<OperationKey>,
    /// When this process first heard of it.
    pub(crate) known_since: Instant,
    is_finished: bool,
    is_complete: bool,
    is_held: bool,
    is_deleted: bool,
    pub(super) is_suspended: bool,
    /// What proves that hookhost let it start, once.
    opened: Option<Claim>,
    /// How often its spec was changed, and 1.
    generation: i64,
    /// Whether hookhost was uninstalled while it ran: what it borrows is still to be taken back.
    is_unattended: bool,
    /// What it borrows.
    borrowed: Option<Borrowed>,
    /// Which step it is, where all hooks of an event are run.
    pub(crate) step: Option<Step>,
    /// metadata and status.
    text: Text,
    pub(super) version: u64,
}

impl Job {
    /// A Job as the API server gave it; none if it is not for an Operation.
    pub(crate) fn new(mut object: DynamicObject) -> Option<Job> {
        trim(&mut object);
        let spec = object.data.get_mut("spec").map(Value::take).unwrap_or_default();
        let is_suspended = spec.get("suspend").and_then(Value::as_bool) == Some(true);
        if let Some(data) = object.data.as_object_mut() {
            data.retain(|field, _| field == "status");
            // How much of it has to be done is what tells a run that was done from one that was stopped.
            data.insert(
                "spec".to_owned(),
                json!({"completions": spec.get("completions"), "completionMode": spec.get("completionMode")}),
            );
        }
        if !is_suspended {
            // It was, and its controller is about to say so.
            resume(&mut object);
        }
        let version = version(&object);
        let (namespace, name, uid) = (object.namespace()?, object.name_any(), object.uid()?);
        let is_deleted = object.metadata.deletion_timestamp.is_some();
        let generation = object.metadata.generation.unwrap_or(1);
        let label = object.labels().get(clone::OPERATION).cloned();
        let object = to_json(&object);
        let claim = Claim::of_job(&object, &spec);
        let operation = label.or_else(|| claim.as_ref()?.operation().map(str::to_owned))?;
        let is_finished = outcome::is_finished(&object);
        // Without its pods: what it says itself. One that was deleted before it said so is told by what its pods have done since, too.
        let is_complete = is_finished
            && matches!(outcome::observe(&object, &[], Warnings::default()), Outcome::Succeeded { .. });
        let decision = Run::of(&object).map(|run| run.decision).unwrap_or_default();
        let text = |path: &str| decision.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let hook = (text("/release/name"), text("/hook/name"));
        let work = match hook {
            (Some(release), Some(hook)) if !is_finished => Some([namespace.clone(), release, hook]),
            _ => None,
        };
        let origin = (text("/operation/namespace"), text("/operation/name"));
        let origin = match origin {
            (Some(namespace), Some(name)) => Some(OperationKey::new(namespace, name)),
            _ => None,
        };
        let opened = outcome::entry(&object, "annotations", OPENED)
            .and_then(|value| Claim::of_start(value, &namespace, &name, &uid));
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let is_held = finalizers.into_iter().flatten().any(|one| one.as_str() == Some(clone::FINALIZER));
        Some(Job {
            namespace,
            name,
            uid,
            operation,
            is_over: is_deleted || is_finished,
            is_finished,
            is_complete,
            work,
            claim,
            origin,
            known_since: Instant::now(),
            is_held,
            is_deleted,
            is_suspended,
            opened,
            generation,
            is_unattended: outcome::entry(&object, "annotations", UNATTENDED).is_some(),
            borrowed: Borrowed::from_job(&object),
            step: Step::from_job(&object),
            text: Text::of(&object),
            version,
        })
    }

    /// Whether hookhost made it, as it is: labels, owners and annotations can be anybody's copy.
    pub(crate) fn is_genuine(&self, keys: &Keys) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_genuine(keys))
    }

    /// Whether hookhost made it for this Operation. Its claim says for which, whatever its label says by now.
    pub(crate) fn is_of(&self, uid: &str, key: &OperationKey, keys: &Keys) -> bool {
        let is_for = self.claim.as_ref().is_some_and(|claim| claim.operation() == Some(uid));
        is_for && self.origin.as_ref() == Some(key) && self.is_genuine(keys)
    }

    /// Whether it says that it is for this Operation, proven or not.
    pub(crate) fn seems_of(&self, uid: &str) -> bool {
        self.operation == uid || self.claim.as_ref().is_some_and(|claim| claim.operation() == Some(uid))
    }

    /// Where the Operation is that it says it is for.
    pub(crate) fn origin(&self) -> Option<&OperationKey> {
        self.origin.as_ref()
    }

    /// Its metadata and status.
    pub(crate) fn object(&self) -> Value {
        self.text.parse()
    }

    /// Whether hookhost's finalizer is on it: its result is not yet on the Operation.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether it is complete or has failed.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether it is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// What it borrows.
    pub(crate) fn borrowed(&self) -> Option<&Borrowed> {
        self.borrowed.as_ref()
    }

    /// Whether it waits for what it borrows, or for its turn.
    pub(crate) fn is_unopened(&self, keys: &Keys) -> bool {
        let is_opened = self.opened.as_ref().is_some_and(|opened| opened.is_genuine(keys));
        (self.borrowed.is_some() || self.step.is_some()) && self.is_suspended && !is_opened
    }

    /// Whether it waits, and nothing of it can have run: the API server counts the changes of its spec, and to let it start is one.
    /// That annotations say nothing else is no proof: whoever may change Jobs may take one away and suspend it again.
    pub(crate) fn is_untouched(&self, keys: &Keys) -> bool {
        self.is_unopened(keys) && self.generation == first_generation(self.is_deleted)
    }

    /// Whether hookhost was uninstalled while it ran.
    pub(crate) fn is_unattended(&self) -> bool {
        self.is_unattended
    }

    /// Whether what it borrows may still be there once it is over.
    pub(crate) fn is_indebted(&self) -> bool {
        self.is_held || self.is_unattended
    }

    /// Whether it has what it borrows: hookhost takes it back before it lets the Job go.
    pub(super) fn is_lent(&self) -> bool {
        self.borrowed.is_some() && self.is_held
    }

    /// Whether it borrows what acts on the whole cluster.
    pub(super) fn borrows_of_cluster(&self) -> bool {
        let objects = self.borrowed.iter().flat_map(|borrowed| &borrowed.objects);
        objects.into_iter().any(|object| !object.kind.is_namespaced())
    }

    /// How loans name it.
    pub(crate) fn id(&self) -> JobId<'_> {
        JobId { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// Its resourceVersion.
    pub(crate) fn version(&self) -> String {
        self.version.to_string()
    }

    /// Whether it may have a pod whose result is not safe.
    pub(super) fn needs_pods(&self) -> bool {
        !self.is_over || (self.is_deleted && self.is_held)
    }
}

/// The generation of a Job whose spec is what it was created with. That it is being deleted counts as a change, too.
pub(crate) fn first_generation(is_deleted: bool) -> i64 {
    1 + i64::from(is_deleted)
}

/// Takes out of a Job's status that it is suspended.
fn resume(job: &mut DynamicObject) {
    let conditions = job.data.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    if let Some(conditions) = conditions {
        conditions.retain(|condition| condition["type"] != "Suspended");
    }
}

#[cfg(test)]
mod tests {
    use hookhost_core::claim::{CLAIM, KEY_BYTES, Key};
    use hookhost_core::clone::{FINALIZER, STEP};
    use hookhost_core::outcome::Outcome;

    use super::*;

    fn keys() -> Keys {
        Keys { current: Key::new(&[7; KEY_BYTES]).unwrap(), previous: None }
    }

    /// A Job as hookhost makes it and the API server gives it, with these further fields of its spec.
    fn object(spec: Value) -> Value {
        let decision = json!({"operation": {"namespace": "org", "name": "op"}});
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "namespace": "org", "name": "op", "uid": "job-uid", "resourceVersion": "1", "generation": 1,
                "labels": {clone::OPERATION: "op-uid", clone::SOURCE_HOOK: "migrate"},
                "annotations": {clone::DECISION: decision.to_string()},
                "finalizers": [FINALIZER],
            },
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        });
        for (field, value) in spec.as_object().unwrap() {
            job["spec"][field] = value.clone();
        }
        job
    }

    fn claimed(mut job: Value) -> Value {
        job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job("op-uid", &job));
        job
    }

    fn job(object: &Value) -> Job {
        Job::new(serde_json::from_value(object.clone()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_kept_of_a_job_tells_a_part_from_the_whole() {
        // One of three has succeeded, and there is no other pod: all of it is only done if nobody knows how many there are to be.
        let pod = json!({
            "metadata": {"namespace": "org", "name": "op-0", "ownerReferences": [
                {"kind": "Job", "name": "op", "uid": "job-uid", "controller": true}],
                "labels": {"batch.kubernetes.io/job-completion-index": "0"}},
            "status": {"phase": "Succeeded"},
        });
        let outcome = |spec: Value| {
            let mut deleted = object(spec);
            deleted["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:00:00Z");
            deleted["status"] = json!({"succeeded": 1});
            outcome::observe(&job(&deleted).object(), &[&pod], Warnings::default())
        };
        assert!(matches!(outcome(json!({"completions": 3})), Outcome::Deleted { .. }));
        let indexed = json!({"completions": 2, "completionMode": "Indexed"});
        assert!(matches!(outcome(indexed), Outcome::Deleted { .. }));
        assert!(matches!(outcome(json!({"completions": 1})), Outcome::Succeeded { .. }));
    }

    #[test]
    fn it_is_of_the_operation_that_its_claim_is_for_whatever_else_is_taken_off_or_put_on() {
        let key = OperationKey::new("org".to_owned(), "op".to_owned());
        let is_of = |object: &Value| job(object).is_of("op-uid", &key, &keys());
        let genuine = claimed(object(json!({})));
        assert!(is_of(&genuine) && !is_of(&object(json!({}))));
        let mut stripped = genuine.clone();
        stripped["metadata"]["labels"] = json!({clone::SOURCE_HOOK: "migrate"});
        assert!(is_of(&stripped), "its claim says for which it is");
        assert!(!job(&genuine).is_of("another", &key, &keys()));
        let elsewhere = OperationKey::new("other".to_owned(), "op".to_owned());
        assert!(!job(&genuine).is_of("op-uid", &elsewhere, &keys()));
        let mut copied = genuine.clone();
        copied["metadata"]["name"] = json!("op-2");
        let mut owned = object(json!({}));
        owned["metadata"]["ownerReferences"] = json!([{"apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
            "name": "op", "uid": "op-uid", "controller": true}]);
        assert!(!is_of(&copied) && !is_of(&owned));
        assert!(job(&owned).seems_of("op-uid"));
    }

    #[test]
    fn that_a_job_was_let_start_is_proven_and_what_may_have_run_is_never_withdrawn() {
        let step = || {
            let mut step = object(json!({"suspend": true}));
            step["metadata"]["annotations"][STEP] = json!("1/2");
            claimed(step)
        };
        let waiting = |object: &Value| {
            let job = job(object);
            (job.is_unopened(&keys()), job.is_untouched(&keys()))
        };
        assert_eq!(waiting(&step()), (true, true));
        let mut withdrawn = step();
        withdrawn["metadata"]["deletionTimestamp"] = json!("2026-05-28T10:00:00Z");
        withdrawn["metadata"]["generation"] = json!(2);
        assert_eq!(waiting(&withdrawn), (true, true), "by hookhost itself");
        // Whoever writes that it was let start keeps it from nothing.
        let mut forged = step();
        forged["metadata"]["annotations"][OPENED] = json!("true");
        assert_eq!(waiting(&forged), (true, true));
        let mut opened = step();
        opened["metadata"]["annotations"][OPENED] = json!(keys().opened("org", "op", "job-uid"));
        opened["metadata"]["generation"] = json!(3);
        assert_eq!(waiting(&opened), (false, false), "somebody else has suspended it");
        // Whoever takes that off, and suspends it, does not get it run a second time.
        let annotations = opened["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove(OPENED);
        assert_eq!(waiting(&opened), (true, false));
    }
}
