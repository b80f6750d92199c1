//! An Operation as it is kept: in brief, which is enough for telling whose it is and what is in its way; and whole, as far
//! as it is read at all, for those that are looked at.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::conflict::{self, Other, Progress, Runs};
use hookhost_core::keys::CLUSTER_ID;
use hookhost_core::operation::{ENGINE, OperationType, Stored, TooLarge};
use hookhost_core::status::{self, Foreign};
use hookhost_core::wait;
use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use crate::key::OperationKey;

/// Bytes of a name that are kept; Kubernetes' names are no longer. What is cut off can only be wrong, and equals no name.
const NAME_BYTES: usize = 254;
/// Bytes of a word that are kept: an engine, a kind.
const WORD_BYTES: usize = 64;

/// An Operation of any engine, in brief. With what it is found by it takes a KiB where its names have some twenty characters (as
/// measured), and two and a half where all are as long as they may be.
#[derive(Debug)]
pub struct Brief {
    pub key: OperationKey,
    pub uid: String,
    pub target: TargetKey,
    /// spec.engine.
    engine: Box<str>,
    /// The cluster that its label names.
    cluster: Option<Box<str>>,
    created: Option<Timestamp>,
    /// status.startedAt.
    started: Option<Timestamp>,
    type_of: Option<OperationType>,
    /// spec.parameters.hookName; empty where there is none.
    hook: Box<str>,
    /// The end of spec.parameters.hookPath; empty where there is none.
    path: Box<str>,
    /// spec.parameters.event; empty where there is none.
    event: Box<str>,
    /// How far it is, without and with a Job of hookhost's.
    progress: [Progress; 2],
    /// Whether a host of its engine has said anything of it.
    pub has_status: bool,
    /// Whether it is at work, or may be, by its own status: it says when it started, or which Job is its.
    pub has_started: bool,
    /// How long it says itself that it may wait.
    own_timeout: Option<Duration>,
    /// Whether it has ended.
    pub is_finished: bool,
    /// When it has ended, where its status tells.
    finished: Option<Timestamp>,
    /// Whether it has ended because the chart lacks its hook.
    lacks_hook: bool,
    /// Whether it has ended and its status says so as it should, so that nothing is to be done but to let go of its Job.
    pub is_settled: bool,
}

/// A target: namespace, kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetKey(Arc<[Box<str>; 3]>);

impl TargetKey {
    pub fn new(namespace: &str, kind: &str, name: &str) -> TargetKey {
        TargetKey([namespace.into(), kind.into(), name.into()].into())
    }

    pub fn namespace(&self) -> &str {
        &self.0[0]
    }

    /// Namespace, kind and name.
    pub fn parts(&self) -> [&str; 3] {
        let [namespace, kind, name] = &*self.0;
        [namespace, kind, name]
    }
}

/// An Operation, as far as it is read.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The same in brief.
    pub brief: Arc<Brief>,
    pub object: Arc<DynamicObject>,
    pub too_large: Option<TooLarge>,
    /// The field manager that wrote the status last, besides hookhost.
    pub other_writer: Option<String>,
    /// Which of its conditions are not hookhost's.
    pub foreign: Foreign,
}

impl Whole {
    /// From the API server's text; none if that is not an Operation's.
    pub fn read(text: &str) -> Option<Whole> {
        let stored = Stored::read(text)?;
        Whole::of(Brief::of(&stored)?.into(), stored)
    }

    /// From what is read of one.
    pub fn of(brief: Arc<Brief>, stored: Stored) -> Option<Whole> {
        let Stored { object, too_large, other_writer, foreign } = stored;
        let object = serde_json::from_value::<DynamicObject>(object).ok()?.into();
        Some(Whole { brief, object, too_large, other_writer, foreign })
    }
}

impl Brief {
    /// In brief what is read of an Operation; none if no API server gives it: without a name, namespace or UID.
    pub fn of(stored: &Stored) -> Option<Brief> {
        let object = &stored.object;
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let required = |path: &str| text(path).filter(|text| !text.is_empty());
        let namespace = required("/metadata/namespace")?;
        let name = required("/metadata/name")?;
        let uid = required("/metadata/uid")?;
        let created = text("/metadata/creationTimestamp").and_then(|time| time.parse().ok());
        let other = |has_job| Other::of(name, uid, created, object, has_job);
        let (without_job, with_job) = (other(false), other(true));
        let status = object.get("status").unwrap_or(&Value::Null);
        let is_finished = status::is_finished(status);
        let own_timeout = wait::Timeout::of(object, Duration::MAX);
        Some(Brief {
            key: OperationKey::new(namespace, name),
            uid: uid.to_owned(),
            target: TargetKey::new(
                namespace,
                &cut(text("/spec/targetRef/kind").unwrap_or_default(), WORD_BYTES),
                &cut(text("/spec/targetRef/name").unwrap_or_default(), NAME_BYTES),
            ),
            engine: cut(without_job.engine, WORD_BYTES),
            cluster: object
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(CLUSTER_ID)?.as_str())
                .map(|cluster| cut(cluster, NAME_BYTES)),
            created,
            started: without_job.started,
            type_of: without_job.type_of,
            hook: cut(text("/spec/parameters/hookName").unwrap_or_default(), NAME_BYTES),
            path: end(text("/spec/parameters/hookPath").unwrap_or_default(), NAME_BYTES),
            event: cut(text("/spec/parameters/event").unwrap_or_default(), WORD_BYTES),
            progress: [without_job.progress, with_job.progress],
            has_status: status.as_object().is_some_and(|status| !status.is_empty()),
            has_started: without_job.progress == Progress::Started || status::job_ref(status).is_some(),
            own_timeout: own_timeout.is_its_own.then_some(own_timeout.after),
            is_finished,
            finished: text("/status/finishedAt").and_then(|time| time.parse().ok()),
            lacks_hook: status::lacks_hook(status),
            is_settled: is_finished
                && !status::lacks_hook(status)
                && status::restore(status, stored.foreign, Timestamp::now()).is_none(),
        })
    }

    /// Whether hookhost is its engine.
    pub fn is_of_engine(&self) -> bool {
        &*self.engine == ENGINE
    }

    /// Whether it is for the cluster of this id, or for any.
    pub fn is_for_cluster(&self, id: &str) -> bool {
        self.cluster.as_deref().is_none_or(|cluster| cluster == id)
    }

    /// Whether one of hookhost's engine may have to wait for it. Of other engines few may.
    pub fn may_be_in_the_way(&self) -> bool {
        self.other(false).may_be_in_the_way()
    }

    /// When its wait is over, if hookhost lets those wait for so long that do not say; none if it has no time of creation.
    pub fn waits_until(&self, default: Duration) -> Option<Timestamp> {
        self.created?.checked_add(self.own_timeout.unwrap_or(default)).ok()
    }

    /// When it has ended; what does not say so counts as the first.
    pub fn finished(&self) -> Timestamp {
        self.finished.or(self.created).unwrap_or(Timestamp::MIN)
    }

    /// Whether it has ended for want of a hook, and is to be told of it.
    pub fn awaits_hook(&self, now: Timestamp) -> bool {
        let until = self.finished.and_then(|finished| finished.checked_add(wait::HOOK_IS_AWAITED_FOR).ok());
        self.lacks_hook && until.is_some_and(|until| now < until)
    }

    /// Whether two on one release may conflict: of the same hook, or one that nothing may work beside.
    pub fn may_conflict(&self, other: &Brief) -> bool {
        self.is_exclusive() || other.is_exclusive() || self.hook == other.hook
    }

    fn is_exclusive(&self) -> bool {
        // Without a hook's name all hooks of an event may be meant.
        self.hook.is_empty() || self.type_of.is_some_and(conflict::is_exclusive)
    }

    /// As conflicts see it, with or without a Job of hookhost's. For what it waits it does not know.
    pub fn other(&self, has_job: bool) -> Other<'_> {
        Other {
            name: &self.key.name,
            uid: &self.uid,
            created: self.created,
            started: self.started,
            type_of: self.type_of,
            engine: &self.engine,
            runs: if self.is_of_engine() {
                Runs::of_parameters(&self.hook, &self.path, &self.event)
            } else {
                Runs::Nothing
            },
            progress: self.progress[usize::from(has_job)],
            blocked: None,
        }
    }
}

fn cut(text: &str, most: usize) -> Box<str> {
    text[..text.floor_char_boundary(most)].into()
}

fn end(text: &str, most: usize) -> Box<str> {
    text[text.ceil_char_boundary(text.len().saturating_sub(most))..].into()
}
