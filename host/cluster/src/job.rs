//! A *Job* of hookhost, as far as a look at its Operation needs to know it.

use std::time::Instant;

use hookhost_core::claim::{Claim, Keys};
use hookhost_core::json;
use hookhost_core::keys;
use hookhost_core::keys::OPENED;
use hookhost_core::loan::{Borrowed, JobId};
use hookhost_core::outcome;
use hookhost_core::outcome::{Outcome, Warnings};
use hookhost_core::status::Run;
use hookhost_core::step::Step;
use hookhost_core::stored::StoredJob;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::key::OperationKey;
use crate::text::{Text, to_json};
use hookhost_core::keys::UNATTENDED;

/// A hook of a release: the namespace in which it runs, the release's name, the hook's name.
pub type HookOfRelease = [String; 3];

/// Bytes of a Job's text, cut down: the largest decision and loans, in which each character is escaped, and all that its status
/// may say. One that has more is read again each time it is needed.
pub const TEXT_BYTES: usize = 256 << 10;

/// Bytes that a Job takes without its text and what it borrows: all names and UIDs as long as they may be.
pub const BRIEF_BYTES: usize = 4 << 10;

/// Bytes of a name that a Job's decision tells: of the release, the hook, the Operation. A longer one is nobody's.
const NAME_BYTES: usize = 253;

/// Bytes of an Operation's UID, or its namespace; Kubernetes' have 36, and 63.
const UID_BYTES: usize = 64;

/// A Job of hookhost, without its spec but for its completions: that is in the API server, and its claim says that it is what
/// hookhost made it.
#[derive(Clone, Debug)]
pub struct Job {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The UID of the Operation that it is for, by its claim or, where that says nothing, its label. Empty if it is for none.
    pub operation: String,
    /// The same by its label.
    label: Option<String>,
    /// What proves that hookhost made it as it is.
    claim: Option<Claim>,
    /// Whether it is finished, or on its way to be deleted.
    pub is_over: bool,
    /// Which hook of which release it runs, as long as it may have a pod.
    pub work: Option<HookOfRelease>,
    /// Where the Operation is that it says it is for.
    origin: Option<OperationKey>,
    /// When this process first heard of it.
    pub known_since: Instant,
    is_finished: bool,
    is_complete: bool,
    is_held: bool,
    is_deleted: bool,
    pub is_suspended: bool,
    /// What proves that hookhost let it start, once.
    opened: Option<Claim>,
    /// How often its spec was changed, and 1.
    generation: i64,
    /// Whether hookhost was uninstalled while it ran: what it borrows is still to be taken back.
    is_unattended: bool,
    /// Whether the watch of Jobs tells of it: it has the labels by which that chooses.
    pub is_watched: bool,
    /// What it borrows; none in brief.
    borrowed: Option<Borrowed>,
    /// Whether it borrows anything, also in brief.
    is_borrower: bool,
    /// Which step it is, where all hooks of an event are run.
    pub step: Option<Step>,
    /// The Operations that own it: UID and name, and whether it is controlled by them. None in brief.
    owners: Vec<(String, String, bool)>,
    /// metadata and status; none in brief.
    text: Option<Text>,
    pub version: u64,
}

impl Job {
    /// A Job as the API server gives it; none if the text is no Job's.
    pub fn read(text: &str) -> Option<Job> {
        Job::of(StoredJob::read(text)?)
    }

    /// A Job that hookhost has just made.
    pub fn new(object: &DynamicObject) -> Option<Job> {
        Job::read(&to_json(object).to_string())
    }

    fn of(StoredJob { mut object, claim }: StoredJob) -> Option<Job> {
        // That of an Operation that cannot be is nobody's.
        let claim = claim.filter(|claim| claim.operation().is_some_and(|uid| uid.len() <= UID_BYTES));
        let is_suspended = object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
        if !is_suspended {
            // It was, and its controller is about to say so.
            resume(&mut object);
        }
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let (namespace, name) = (text("/metadata/namespace")?.to_owned(), text("/metadata/name")?.to_owned());
        let uid = text("/metadata/uid")?.to_owned();
        let version = text("/metadata/resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
        let label = json::entry(&object, "labels", keys::OPERATION).map(str::to_owned);
        let operation =
            claim.as_ref().and_then(Claim::operation).map(str::to_owned).or_else(|| label.clone());
        let is_finished = outcome::is_finished(&object);
        // Without its pods: what it says itself. One that was deleted before it said so is told by what its pods have done since, too.
        let is_complete = is_finished
            && matches!(outcome::observe(&object, &[], Warnings::default()), Outcome::Succeeded { .. });
        let decision = Run::of(&object).map(|run| run.decision).unwrap_or_default();
        let name_in = |path: &str, most: usize| {
            let name = decision.pointer(path).and_then(Value::as_str);
            name.filter(|name| name.len() <= most).map(str::to_owned)
        };
        let work = match (name_in("/release/name", NAME_BYTES), name_in("/hook/name", NAME_BYTES)) {
            (Some(release), Some(hook)) if !is_finished => Some([namespace.clone(), release, hook]),
            _ => None,
        };
        let origin =
            match (name_in("/operation/namespace", UID_BYTES), name_in("/operation/name", NAME_BYTES)) {
                (Some(namespace), Some(name)) => Some(OperationKey::new(namespace, name)),
                _ => None,
            };
        let opened = json::entry(&object, "annotations", OPENED)
            .and_then(|value| Claim::of_start(value, &namespace, &name, &uid));
        let is_deleted = outcome::is_deleting(&object);
        let borrowed = Borrowed::from_job(&object);
        Some(Job {
            namespace,
            name,
            uid,
            operation: operation.unwrap_or_default(),
            is_watched: label.is_some() && json::entry(&object, "labels", keys::SOURCE_HOOK).is_some(),
            label,
            is_over: is_deleted || is_finished,
            is_finished,
            is_complete,
            work,
            claim,
            origin,
            known_since: Instant::now(),
            is_held: outcome::has_finalizer(&object, keys::FINALIZER),
            is_deleted,
            is_suspended,
            opened,
            generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1),
            is_unattended: json::entry(&object, "annotations", UNATTENDED).is_some(),
            is_borrower: borrowed.is_some(),
            borrowed,
            step: Step::from_job(&object),
            owners: owners(&object),
            text: Some(Text::of(&object)),
            version,
        })
    }

    /// The same without what is only read when its Operation is reconciled.
    pub fn in_brief(&self) -> Job {
        Job { borrowed: None, owners: Vec::new(), text: None, ..self.clone() }
    }

    /// The same, of which the watch does not tell any more.
    pub fn unwatched(&self) -> Job {
        Job { is_watched: false, ..self.clone() }
    }

    /// Whether nothing of it is left out.
    pub fn is_whole(&self) -> bool {
        self.text.is_some()
    }

    /// Bytes that it takes besides what it takes in brief.
    pub fn bytes(&self) -> usize {
        let objects = self.borrowed.iter().flat_map(|borrowed| &borrowed.objects);
        let borrowed: usize =
            objects.map(|object| size_of_val(object) + object.namespace.len() + object.name.len()).sum();
        let owners: usize =
            self.owners.iter().map(|owner| size_of_val(owner) + owner.0.len() + owner.1.len()).sum();
        self.text.as_ref().map_or(0, Text::bytes) + borrowed + owners
    }

    /// Whether it says that it is for an Operation.
    pub fn is_for_operation(&self) -> bool {
        !self.operation.is_empty()
    }

    /// Whether it has a claim, which need not hold.
    pub fn has_claim(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether it is owned by the Operation of this UID.
    pub fn is_owned_by(&self, operation_uid: &str) -> bool {
        self.owners.iter().any(|(uid, ..)| uid == operation_uid)
    }

    /// Whether it is controlled by an Operation of this name: an earlier one, which is gone, so that it will go too.
    pub fn is_of_a_former(&self, operation: &str) -> bool {
        self.owners.iter().any(|(_, name, is_controller)| *is_controller && name == operation)
    }

    /// Whether hookhost made it, as it is: labels, owners and annotations can be anybody's copy.
    pub fn is_genuine(&self, keys: &Keys) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is_genuine(keys))
    }

    /// Whether hookhost made it for this Operation. Its claim says for which, whatever its label says by now.
    pub fn is_of(&self, uid: &str, key: &OperationKey, keys: &Keys) -> bool {
        let is_for = self.claim.as_ref().is_some_and(|claim| claim.operation() == Some(uid));
        is_for && self.origin.as_ref() == Some(key) && self.is_genuine(keys)
    }

    /// Whether it says that it is for this Operation, proven or not.
    pub fn seems_of(&self, uid: &str) -> bool {
        self.operation == uid || self.label.as_deref() == Some(uid)
    }

    /// Where the Operation is that it says it is for.
    pub fn origin(&self) -> Option<&OperationKey> {
        self.origin.as_ref()
    }

    /// Its metadata and status; of one in brief only where it is.
    pub fn object(&self) -> Value {
        let place = || json!({"metadata": {"namespace": self.namespace, "name": self.name, "uid": self.uid}});
        self.text.as_ref().map_or_else(place, Text::parse)
    }

    /// Whether hookhost's finalizer is on it: its result is not yet on the Operation.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether it is complete or has failed.
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether it is complete.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether it is being deleted.
    pub fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// What it borrows.
    pub fn borrowed(&self) -> Option<&Borrowed> {
        self.borrowed.as_ref()
    }

    /// Whether it waits for what it borrows, or for its turn.
    pub fn is_unopened(&self, keys: &Keys) -> bool {
        let is_opened = self.opened.as_ref().is_some_and(|opened| opened.is_genuine(keys));
        (self.is_borrower || self.step.is_some()) && self.is_suspended && !is_opened
    }

    /// Whether it waits, and nothing of it can have run: the API server counts the changes of its spec, and to let it start is one.
    /// That annotations say nothing else is no proof: whoever may change Jobs may take one away and suspend it again.
    pub fn is_untouched(&self, keys: &Keys) -> bool {
        self.is_unopened(keys) && self.generation == first_generation(self.is_deleted)
    }

    /// Whether hookhost was uninstalled while it ran.
    pub fn is_unattended(&self) -> bool {
        self.is_unattended
    }

    /// Whether what it borrows may still be there once it is over.
    pub fn is_indebted(&self) -> bool {
        self.is_held || self.is_unattended
    }

    /// Whether it has what it borrows: hookhost takes it back before it lets the Job go.
    pub fn is_lent(&self) -> bool {
        self.is_borrower && self.is_held
    }

    /// Whether it borrows what acts on the whole cluster.
    pub fn borrows_of_cluster(&self) -> bool {
        let objects = self.borrowed.iter().flat_map(|borrowed| &borrowed.objects);
        objects.into_iter().any(|object| !object.kind.is_namespaced())
    }

    /// How loans name it.
    pub fn id(&self) -> JobId<'_> {
        JobId { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// Its resourceVersion.
    pub fn version(&self) -> String {
        self.version.to_string()
    }

    /// Whether nothing is left to do for it, whatever becomes of it: it has ended, and hookhost has let it go.
    pub fn is_done(&self) -> bool {
        self.is_finished && !self.is_indebted()
    }

    /// Whether it may have a pod whose result is not safe: also once it has failed, as long as that is not on its Operation. What is
    /// known of a pod that is gone by then is known by its watch alone.
    pub fn needs_pods(&self) -> bool {
        !self.is_over || self.is_held
    }
}

/// The generation of a Job whose spec is what it was created with. That it is being deleted counts as a change, too.
pub fn first_generation(is_deleted: bool) -> i64 {
    1 + i64::from(is_deleted)
}

/// Takes out of a Job's status that it is suspended.
fn resume(job: &mut Value) {
    let conditions = job.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    if let Some(conditions) = conditions {
        conditions.retain(|condition| condition["type"] != "Suspended");
    }
}

/// UID and name of the Operations that own a Job, and whether they control it.
fn owners(job: &Value) -> Vec<(String, String, bool)> {
    let owners = job.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owner = |owner: &Value| {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("uid"), text("name"), owner.get("controller").and_then(Value::as_bool) == Some(true))
    };
    owners.into_iter().flatten().map(owner).collect()
}

#[cfg(test)]
mod tests {
    use hookhost_core::claim::{KEY_BYTES, Key};
    use hookhost_core::keys::CLAIM;
    use hookhost_core::keys::{FINALIZER, STEP};
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
                "labels": {keys::OPERATION: "op-uid", keys::SOURCE_HOOK: "migrate"},
                "annotations": {keys::DECISION: decision.to_string()},
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
        Job::read(&object.to_string()).unwrap()
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
        stripped["metadata"]["labels"] = json!({keys::SOURCE_HOOK: "migrate"});
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
    fn a_job_that_a_queue_suspends_is_hookhosts_own_and_not_one_that_it_lets_start() {
        // A webhook has suspended it when it was created, so that its generation is the first.
        let suspended = |status: Value| {
            let mut created = claimed(object(json!({})));
            created["spec"]["suspend"] = json!(true);
            created["status"] = status;
            job(&created)
        };
        for status in [
            json!({}),
            json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}]}),
        ] {
            let job = suspended(status);
            assert!(job.is_genuine(&keys()) && !job.is_unopened(&keys()) && !job.is_untouched(&keys()));
            let outcome = outcome::observe(&job.object(), &[], Warnings::default());
            assert_eq!(outcome, Outcome::Suspended { why: "JobSuspended: Job suspended".to_owned() });
        }
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
