//! The pods of hookhost's Jobs, and what the cluster warns about them: that a pod cannot be created is said in an Event
//! about the Job and nowhere else.
//!
//! Of a pod that is gone the last state stays as long as its Job is followed: the Job may be marked Failed only after that, and nothing
//! else tells how the pod ended.

mod room;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hookhost_core::keys;
use hookhost_core::outcome;
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::room::{Follow, Pod, Room, Warning};
use super::Operations;
use super::follow::{Seen, Tasks, follow};
use crate::wake::Wakes;
use hookhost_cluster::resource::{pod_resource, resource};
use hookhost_cluster::stream::Selection;

/// Bytes of what is kept of all namespaces. Beyond, the one that has most drops what it needs least: when a Job is over its pods are
/// listed once more.
pub(crate) const PODS_BYTES: usize = 15 << 20;

/// Characters of an RFC 3339 time up to its seconds.
const SECOND: usize = "2026-05-28T14:00:00".len();

/// The reason of the Job controller's Events that tell why a pod cannot be created.
const FAILED_CREATE: &str = "FailedCreate";

/// Bytes of a warning that are kept: more than a condition shows of it.
const WARNING_BYTES: usize = 2048;

/// Bytes of a time that are kept: all that Kubernetes writes.
const TIME_BYTES: usize = 64;

/// What is followed in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Pods,
    Warnings,
}

/// The pods of the namespaces in which a Job runs; clones share them.
#[derive(Clone)]
pub(crate) struct Pods(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<(String, What)>,
    known: RwLock<HashMap<String, Room>>,
    /// How many watches of pods were begun.
    watches: AtomicU64,
    operations: Operations,
    wakes: Wakes,
}

impl Pods {
    pub(crate) fn new(
        client: kube::Client,
        operations: Operations,
        wakes: Wakes,
        shutdown: CancellationToken,
    ) -> Pods {
        Pods(Arc::new(Inner {
            client,
            tasks: Tasks::new(shutdown),
            known: RwLock::default(),
            watches: AtomicU64::new(0),
            operations,
            wakes,
        }))
    }

    /// Follows the pods of a Job, and with them all of its namespace. `operation` is the UID of the Operation that it is for.
    pub(crate) fn follow(&self, namespace: &str, job_uid: &str, operation: &str) {
        let mut known = self.0.known.write();
        let here = known.entry(namespace.to_owned()).or_default();
        let next = here.follow(job_uid, operation);
        if next == Follow::GoOn {
            return;
        }
        let watch = self.0.watches.fetch_add(1, Ordering::Relaxed);
        here.watch = watch;
        let all = |resource| Selection::new(self.0.client.clone(), &resource, Some(namespace));
        let labelled = all(pod_resource()).labels(keys::OPERATION);
        let (pods, of) = (self.clone(), namespace.to_owned());
        self.0.tasks.stop(&(namespace.to_owned(), What::Pods));
        self.0.tasks.start((namespace.to_owned(), What::Pods), move || async move {
            follow(labelled, "pods", &of, Pod::read, |seen| pods.handle_pod(&of, watch, seen)).await;
        });
        if next == Follow::ListAgain {
            return;
        }
        let warnings = all(resource("", "v1", "Event", "events")).fields("type=Warning");
        let (pods, of) = (self.clone(), namespace.to_owned());
        self.0.tasks.start((namespace.to_owned(), What::Warnings), move || async move {
            follow(warnings, "warnings", &of, read_warning, |seen| pods.handle_warning(&of, seen)).await;
        });
        // Held until both have begun: who releases the Job meanwhile would leave them.
        drop(known);
    }

    /// Follows the pods of a Job no more; the namespace, if it was the last one there.
    pub(crate) fn release(&self, namespace: &str, job_uid: &str) {
        let mut known = self.0.known.write();
        if known.get_mut(namespace).is_some_and(|here| here.release(job_uid)) {
            known.remove(namespace);
            for what in [What::Pods, What::Warnings] {
                self.0.tasks.stop(&(namespace.to_owned(), what));
            }
        }
    }

    /// The pods of an Operation; none where they are not known yet.
    pub(crate) fn of(&self, namespace: &str, operation_uid: &str) -> Option<Vec<Arc<Value>>> {
        let known = self.0.known.read();
        let here = known.get(namespace).filter(|here| here.is_listed)?;
        Some(here.of(operation_uid).into_iter().map(Arc::new).collect())
    }

    /// These pods, as the API server has them, with the owners that they had when the watch saw them first, and the time
    /// at which they were asked to end.
    pub(crate) fn with_owners(&self, namespace: &str, mut pods: Vec<Arc<Value>>) -> Vec<Arc<Value>> {
        let known = self.0.known.read();
        for pod in &mut pods {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            if let Some(before) = known.get(namespace).and_then(|here| here.pod(name)) {
                let pod = Arc::make_mut(pod);
                keep_owner(pod, &before);
                keep_stop(pod, &before);
            }
        }
        pods
    }

    /// What the cluster last warned of about an object, if that was not before `since`.
    pub(crate) fn warning(&self, namespace: &str, uid: &str, since: &str) -> Option<String> {
        let known = self.0.known.read();
        let warning = known.get(namespace)?.warning(uid)?;
        // To the second, which is all that every API has.
        let second = |time: &str| time.get(..SECOND).unwrap_or_default().to_owned();
        (second(&warning.at) >= second(since)).then(|| warning.message.clone())
    }

    /// Takes note of what one of the watches of a namespace reports; nothing from one that another has replaced.
    fn handle_pod(&self, namespace: &str, watch: u64, seen: Seen<Pod>) {
        let concerned: Vec<String> = self.change(namespace, |here| match seen {
            _ if here.watch != watch => Vec::new(),
            Seen::Applied(pod) => here.insert(here.with_known(pod)).into_iter().collect(),
            Seen::Deleted(pod) => here.forget(here.with_known(pod)).into_iter().collect(),
            Seen::Listing => {
                here.begin_listing();
                Vec::new()
            }
            Seen::Listed => {
                here.end_listing();
                here.operations()
            }
            Seen::Broken { .. } => Vec::new(),
        });
        self.wake(&concerned);
    }

    fn handle_warning(&self, namespace: &str, seen: Seen<Warning>) {
        let Seen::Applied(warning) = seen else { return };
        let concerned = self.change(namespace, |here| here.warn(warning).into_iter().collect());
        self.wake(&concerned);
    }

    /// Changes what is kept of a namespace that is followed, and keeps all namespaces within their bound; gives back the UIDs of
    /// the Operations that the change concerns.
    fn change(&self, namespace: &str, change: impl FnOnce(&mut Room) -> Vec<String>) -> Vec<String> {
        let mut known = self.0.known.write();
        let concerned = known.get_mut(namespace).map(change).unwrap_or_default();
        while known.values().map(Room::bytes).sum::<usize>() > PODS_BYTES
            && known.values_mut().max_by_key(|here| here.bytes()).is_some_and(Room::drop_least)
        {}
        concerned
    }

    fn wake(&self, operations: &[String]) {
        self.0.wakes.wake_all(operations.iter().filter_map(|uid| self.0.operations.by_uid(uid)));
    }
}

/// Gives a pod that has no controller the owners that it had. Deleting a Job without its pods takes their owner away; that such a
/// pod was the Job's is known only to who saw it before, for anybody can copy its labels.
fn keep_owner(pod: &mut Value, before: &Value) {
    let is_the_same = before["metadata"]["uid"] == pod["metadata"]["uid"];
    if is_the_same && !outcome::is_controlled(pod) && outcome::is_controlled(before) {
        pod["metadata"]["ownerReferences"] = before["metadata"]["ownerReferences"].clone();
    }
}

/// Gives a pod the time at which it was asked to end, as that was first said: when all of it has ended, it is given no more time, and
/// another time is written there.
fn keep_stop(pod: &mut Value, before: &Value) {
    let is_the_same = before["metadata"]["uid"] == pod["metadata"]["uid"];
    if is_the_same && before["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|grace| grace > 0)
    {
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            pod["metadata"][field] = before["metadata"][field].clone();
        }
    }
}

/// An Event, as far as it is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event<'j> {
    #[serde(borrow)]
    involved_object: Involved<'j>,
    #[serde(borrow)]
    reason: Option<Cow<'j, str>>,
    #[serde(borrow)]
    message: Option<Cow<'j, str>>,
    #[serde(borrow)]
    series: Option<Series<'j>>,
    #[serde(borrow)]
    last_timestamp: Option<Cow<'j, str>>,
    #[serde(borrow)]
    event_time: Option<Cow<'j, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Involved<'j> {
    #[serde(borrow)]
    uid: Option<Cow<'j, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'j, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series<'j> {
    #[serde(borrow)]
    last_observed_time: Option<Cow<'j, str>>,
}

/// What an Event warns of, if it is about a Job's pods.
fn read_warning(text: &str) -> Option<Warning> {
    let event: Event<'_> = serde_json::from_str(text).ok()?;
    let (about, kind) = (event.involved_object.uid?, event.involved_object.kind?);
    // About a Job only why it gets no pod: what else there is to say of one, its conditions say.
    let is_of_job = kind == "Job" && event.reason.as_deref() == Some(FAILED_CREATE);
    if !(is_of_job || kind == "Pod") || about.is_empty() {
        return None;
    }
    let times =
        [event.series.and_then(|series| series.last_observed_time), event.last_timestamp, event.event_time];
    let at = times.into_iter().flatten().find(|time| !time.is_empty()).unwrap_or_default();
    let message = event.message.unwrap_or_default();
    let cut = |text: &str, most: usize| text[..text.floor_char_boundary(most)].to_owned();
    Some(Warning {
        about: about.into_owned(),
        is_of_job,
        message: cut(&message, WARNING_BYTES),
        at: cut(&at, TIME_BYTES),
    })
}
