//! What is kept of the pods of a namespace, and of what the cluster warns of there, within bounds.
//!
//! Whoever may create pods there can give any number of them the labels of a run. What counts goes last: the pods of Jobs that
//! are followed, of these the ones that have not ended. Pods of Jobs that are not known (yet) are kept a few of; if one of the others
//! may be of a Job that is followed later, all are listed again.

use std::collections::{BTreeMap, HashMap, HashSet};

use hookhost_core::json;
use hookhost_core::keys::OPERATION;
use hookhost_core::outcome;
use hookhost_core::stored::stored_pod;
use serde_json::Value;

use super::{keep_owner, keep_stop};
use hookhost_cluster::text::Text;

/// Pods of followed Jobs that are kept of a namespace.
pub(super) const PODS: usize = 500;

/// Pods whose Job is not followed: it may be, in a moment.
pub(super) const OTHERS: usize = 32;

/// Jobs and Operations that are remembered to have lost a pod.
const DROPPED: usize = 256;

/// Warnings that are kept of a namespace: one for each Job or pod that cannot go on.
pub(super) const WARNINGS: usize = 500;

/// Bytes of all of it.
const NAMESPACE_BYTES: usize = 2 << 20;

/// Bytes that a pod takes besides its text: its name in two maps, as long as it may be, and UIDs.
const POD_BESIDES: usize = 1024;

/// Bytes that a warning takes besides its message.
const WARNING_BESIDES: usize = 512;

/// Bytes of an object's UID; Kubernetes' have 36.
const UID_BYTES: usize = 64;

/// A pod, as far as it is read.
pub(in crate::watch) struct Pod {
    pub(super) name: String,
    /// The UID of the Job that controls it, or that its label names.
    job: Option<String>,
    /// The UID of the Operation that its label names.
    operation: String,
    is_controlled: bool,
    has_ended: bool,
    is_gone: bool,
    pub(super) object: Value,
}

impl Pod {
    /// A pod as the API server gives it; none if the text is no pod's.
    pub(super) fn read(text: &str) -> Option<Pod> {
        Pod::of(stored_pod(text)?)
    }

    pub(super) fn of(object: Value) -> Option<Pod> {
        Some(Pod {
            name: object.pointer("/metadata/name")?.as_str()?.to_owned(),
            job: outcome::job_uid_of_pod(&object).map(str::to_owned),
            operation: json::entry(&object, "labels", OPERATION).unwrap_or_default().to_owned(),
            is_controlled: outcome::is_controlled(&object),
            has_ended: outcome::pod_has_ended(&object),
            is_gone: outcome::is_gone(&object),
            object,
        })
    }

    /// The same when it is gone.
    fn gone(mut self) -> Pod {
        outcome::mark_gone(&mut self.object);
        Pod { has_ended: true, is_gone: true, ..self }
    }
}

/// A pod that is kept.
struct Kept {
    job: Option<String>,
    operation: String,
    is_controlled: bool,
    has_ended: bool,
    /// Whether it is not there any more, and this its last state.
    is_gone: bool,
    text: Text,
    /// The UID of the pod, by which warnings name it.
    uid: String,
    /// When it came first, and in which listing it was seen last.
    since: u64,
    listing: u64,
}

impl Kept {
    /// The UID of the Operation of the followed Job that it is of; none if that is not followed.
    fn followed<'n>(&'n self, jobs: &'n Jobs) -> Option<&'n String> {
        jobs.followed(self.job.as_deref(), &self.operation)
    }

    fn bytes(&self) -> usize {
        self.text.bytes() + POD_BESIDES
    }
}

/// A warning, as far as it is read.
#[derive(Clone, Debug)]
pub(in crate::watch) struct Warning {
    pub(super) about: String,
    pub(super) is_of_job: bool,
    pub(super) message: String,
    pub(super) at: String,
}

impl Warning {
    fn bytes(&self) -> usize {
        self.message.len() + WARNING_BESIDES
    }
}

/// The Jobs that are followed.
#[derive(Default)]
struct Jobs {
    /// The UID of the Operation of each, by its UID.
    operation_of: HashMap<String, String>,
    /// How many there are of each Operation.
    counts: HashMap<String, usize>,
}

impl Jobs {
    fn insert(&mut self, job: &str, operation: &str) {
        self.remove(job);
        self.operation_of.insert(job.to_owned(), operation.to_owned());
        *self.counts.entry(operation.to_owned()).or_default() += 1;
    }

    fn remove(&mut self, job: &str) {
        let Some(operation) = self.operation_of.remove(job) else { return };
        if let Some(count) = self.counts.get_mut(&operation) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&operation);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.operation_of.is_empty()
    }

    /// The UID of the Operation whose followed Job a pod is of, by the UIDs of the Job and the Operation that the pod names.
    fn followed<'n>(&'n self, job: Option<&str>, operation: &'n String) -> Option<&'n String> {
        match job {
            Some(job) => self.operation_of.get(job),
            // Somebody took off the label that names its Job.
            None => self.counts.contains_key(operation).then_some(operation),
        }
    }
}

/// The Jobs whose pods were dropped before they had ended, since nobody followed them; or the Operations, where a pod names no Job.
#[derive(Default)]
struct Dropped {
    uids: HashSet<String>,
    /// Whether there are more than are kept.
    has_more: bool,
}

impl Dropped {
    fn insert(&mut self, uid: String) {
        if self.uids.len() < DROPPED && uid.len() <= UID_BYTES {
            self.uids.insert(uid);
        } else {
            self.has_more |= !self.uids.contains(&uid);
        }
    }

    fn may_have(&self, job: &str, operation: &str) -> bool {
        self.has_more || self.uids.contains(job) || self.uids.contains(operation)
    }
}

/// What following one more Job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// It is the first: pods and warnings have to be watched.
    Begin,
    /// Pods have been dropped that may be its own: they have to be listed again.
    ListAgain,
    /// Nothing.
    GoOn,
}

/// What is kept of a namespace.
#[derive(Default)]
pub(super) struct Room {
    pub(super) is_listed: bool,
    listing: u64,
    clock: u64,
    /// Which watch of the pods is the current one.
    pub(super) watch: u64,
    pods: BTreeMap<String, Kept>,
    /// The names of the pods by their UIDs.
    names: HashMap<String, String>,
    jobs: Jobs,
    dropped: Dropped,
    /// The newest warning about an object, by the object's UID.
    warnings: HashMap<String, Warning>,
    bytes: usize,
}

impl Room {
    /// Bytes of all that is kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Follows a Job.
    pub(super) fn follow(&mut self, job: &str, operation: &str) -> Follow {
        let (is_first, is_new) = (self.jobs.is_empty(), !self.jobs.operation_of.contains_key(job));
        self.jobs.insert(job, operation);
        if is_first {
            Follow::Begin
        } else if is_new && self.dropped.may_have(job, operation) {
            self.dropped = Dropped::default();
            // What is kept lacks pods until they have been listed, and the list may fail.
            self.is_listed = false;
            Follow::ListAgain
        } else {
            Follow::GoOn
        }
    }

    /// Follows a Job no more. Whether none is left.
    pub(super) fn release(&mut self, job: &str) -> bool {
        self.jobs.remove(job);
        self.remove_all(|room, pod| pod.is_gone && pod.followed(&room.jobs).is_none());
        self.keep_within();
        self.jobs.is_empty()
    }

    /// The pods of an Operation's Jobs.
    pub(super) fn of(&self, operation: &str) -> Vec<Value> {
        let is_its = |pod: &&Kept| pod.followed(&self.jobs).is_some_and(|of| of == operation);
        self.pods.values().filter(is_its).map(|pod| pod.text.parse()).collect()
    }

    /// A pod as it is known.
    pub(super) fn pod(&self, name: &str) -> Option<Value> {
        self.pods.get(name).map(|pod| pod.text.parse())
    }

    /// The UIDs of the Operations whose Jobs are followed.
    pub(super) fn operations(&self) -> Vec<String> {
        self.jobs.counts.keys().cloned().collect()
    }

    /// Takes note of a pod; gives back the UID of its Operation, if its Job is followed.
    pub(super) fn insert(&mut self, pod: Pod) -> Option<String> {
        self.clock += 1;
        let before = self.remove(&pod.name);
        let uid = pod.object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Pod { name, job, operation, is_controlled, has_ended, is_gone, object } = pod;
        let (text, listing) = (Text::of(&object), self.listing);
        let since = before.filter(|before| before.uid == uid).map_or(self.clock, |before| before.since);
        let kept = Kept { job, operation, is_controlled, has_ended, is_gone, text, uid, since, listing };
        let followed = kept.followed(&self.jobs).cloned();
        self.bytes += kept.bytes();
        self.names.insert(kept.uid.clone(), name.clone());
        self.pods.insert(name, kept);
        self.keep_within();
        followed
    }

    /// A pod with what is known of it by its earlier states: the owners that it had, and when it was asked to end.
    pub(super) fn with_known(&self, pod: Pod) -> Pod {
        let Some(before) = self.pod(&pod.name) else { return pod };
        let mut object = pod.object.clone();
        keep_owner(&mut object, &before);
        keep_stop(&mut object, &before);
        Pod::of(object).unwrap_or(pod)
    }

    /// Takes note that a pod is gone; gives back the UID of its Operation, if its Job is followed. Of a pod that a followed Job
    /// controls this last state stays.
    pub(super) fn forget(&mut self, pod: Pod) -> Option<String> {
        let is_evidence =
            pod.is_controlled && self.jobs.followed(pod.job.as_deref(), &pod.operation).is_some();
        if is_evidence {
            return self.insert(pod.gone());
        }
        let pod = self.remove(&pod.name)?;
        pod.followed(&self.jobs).cloned()
    }

    fn remove_all(&mut self, which: impl Fn(&Room, &Kept) -> bool) {
        let names: Vec<String> =
            self.pods.iter().filter(|(_, pod)| which(self, pod)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| drop(self.remove(name)));
    }

    fn remove(&mut self, name: &str) -> Option<Kept> {
        let pod = self.pods.remove(name)?;
        self.bytes -= pod.bytes();
        self.names.remove(&pod.uid);
        Some(pod)
    }

    /// All pods will be told now.
    pub(super) fn begin_listing(&mut self) {
        self.listing += 1;
    }

    /// All pods have been told: the others are gone.
    pub(super) fn end_listing(&mut self) {
        self.is_listed = true;
        let left: Vec<&Kept> =
            self.pods.values().filter(|pod| pod.listing != self.listing && !pod.is_gone).collect();
        let gone: Vec<Pod> = left.into_iter().filter_map(|pod| Pod::of(pod.text.parse())).collect();
        gone.into_iter().for_each(|pod| drop(self.forget(pod)));
    }

    /// The newest warning about an object.
    pub(super) fn warning(&self, about: &str) -> Option<&Warning> {
        self.warnings.get(about)
    }

    /// Takes note of a warning, unless a newer one about the same is known; gives back the UID of the Operation whose Job or pod
    /// it is about, if that is followed.
    pub(super) fn warn(&mut self, warning: Warning) -> Option<String> {
        let about = warning.about.clone();
        if about.len() > UID_BYTES || self.warnings.get(&about).is_some_and(|older| older.at > warning.at) {
            return None;
        }
        let is_of_job = warning.is_of_job;
        self.bytes += warning.bytes();
        if let Some(before) = self.warnings.insert(about.clone(), warning) {
            self.bytes -= before.bytes();
        }
        self.keep_within();
        if is_of_job {
            return self.jobs.operation_of.get(&about).cloned();
        }
        let pod = self.names.get(&about).and_then(|name| self.pods.get(name))?;
        pod.followed(&self.jobs).cloned()
    }

    fn keep_within(&mut self) {
        loop {
            let followed = self.pods.values().filter(|pod| pod.followed(&self.jobs).is_some()).count();
            let too_many = followed > PODS || self.pods.len() - followed > OTHERS;
            if too_many {
                self.drop_pod();
            } else if self.warnings.len() > WARNINGS {
                self.drop_warning();
            } else if self.bytes <= NAMESPACE_BYTES || !self.drop_least() {
                return;
            }
        }
    }

    /// Drops what is needed least; whether there was anything.
    pub(super) fn drop_least(&mut self) -> bool {
        let has_others = self.pods.values().any(|pod| pod.followed(&self.jobs).is_none());
        // What the cluster warns of is told only where a pod says nothing itself.
        (has_others && self.drop_pod()) || self.drop_warning() || self.drop_pod()
    }

    /// Of the pods that others count more than, the one that is dropped first: of those that are not followed the oldest, of the
    /// others one that is gone, then the newest, so that no flood of pods displaces one that was there.
    fn drop_pod(&mut self) -> bool {
        let least = self.pods.iter().min_by_key(|(_, pod)| {
            let is_followed = pod.followed(&self.jobs).is_some();
            let since = i128::from(pod.since);
            (
                is_followed,
                !pod.is_gone,
                !pod.has_ended,
                pod.is_controlled,
                if is_followed { -since } else { since },
            )
        });
        let least = least.map(|(name, _)| name.clone());
        let Some(dropped) = least.and_then(|name| self.remove(&name)) else { return false };
        if !dropped.has_ended && dropped.followed(&self.jobs).is_none() {
            self.dropped.insert(dropped.job.unwrap_or(dropped.operation));
        }
        true
    }

    /// Drops the oldest warning, one about what is not known first.
    fn drop_warning(&mut self) -> bool {
        let is_known = |warning: &Warning| match warning.is_of_job {
            true => self.jobs.operation_of.contains_key(&warning.about),
            false => self.names.contains_key(&warning.about),
        };
        let oldest = self.warnings.values().min_by_key(|warning| (is_known(warning), &warning.at));
        let oldest = oldest.map(|warning| warning.about.clone());
        let dropped = oldest.and_then(|about| self.warnings.remove(&about));
        self.bytes -= dropped.as_ref().map_or(0, Warning::bytes);
        dropped.is_some()
    }
}
