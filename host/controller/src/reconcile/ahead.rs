//! Reading *ahead* is asking for everything at once that the last look at a release came to need, instead of for one thing
//! after the other: the HelmRelease with the instance, the record with the HelmRelease, what the pod refers to with the
//! record.
//!
//! # What is remembered decides nothing
//! Names are remembered, never contents. Each answer is used only for the very question that comes up, and is as new as
//! the look itself. And only a look that ends with a Job may rest on answers that came out of their order: one that
//! ends otherwise is made again, asking in order. So memory that is wrong costs time, and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::{OptionFuture, join_all};
use hookhost_core::dependency::{MAX_KEYS, Reference};
use hookhost_core::kind::Kind as ReferenceKind;
use hookhost_core::target::ObjectName;
use kube::api::GetParams;
use serde_json::Value;

use super::Context;
use hookhost_cluster::error::Result;
use hookhost_cluster::read::{Keys, Reader, StoredRecord};
use hookhost_cluster::resource::Kind;

/// Releases, and instances, that are remembered; about 1 KiB each. Beyond, others are forgotten for new ones, which costs
/// a round of requests at their next look.
const MAX_REMEMBERED: usize = 4096;

/// References of a hook's pod that are remembered. A chart's pod has some ten.
const MAX_REFERENCES: usize = 16;

/// Keys of an object that are read before it is known which of them are wanted. A chart's object has some ten; where there are more,
/// it is asked for again.
const KEYS_AHEAD: usize = 64;

/// Where things were found the last time.
#[derive(Debug, Default)]
pub(crate) struct Trails(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The HelmRelease of an ApplicationInstance.
    releases: HashMap<ObjectName, ObjectName>,
    /// What was asked for after a HelmRelease.
    trails: HashMap<ObjectName, Trail>,
}

/// What was asked for after a HelmRelease.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    /// Namespace of its records.
    pub(super) storage: String,
    /// The Secret of its record.
    pub(super) record: String,
    /// The Secret that must not be there.
    pub(super) successor: String,
    /// Namespace of the release, where its hooks run.
    pub(super) namespace: String,
    /// What the pod of the hook that was run refers to there, and whether by a key.
    pub(super) references: Vec<(ReferenceKind, String, bool)>,
}

impl Trails {
    /// Remembers the way to a hook that was run.
    pub(super) fn keep(&self, instance: Option<ObjectName>, release: ObjectName, mut trail: Trail) {
        trail.references.truncate(MAX_REFERENCES);
        let mut known = self.lock();
        if let Some(instance) = instance {
            keep(&mut known.releases, instance, release.clone());
        }
        keep(&mut known.trails, release, trail);
    }

    /// The HelmRelease that an instance had.
    pub(super) fn release_of(&self, instance: &ObjectName) -> Option<ObjectName> {
        self.lock().releases.get(instance).cloned()
    }

    /// What was asked for after a HelmRelease.
    pub(super) fn of(&self, release: &ObjectName) -> Option<Trail> {
        self.lock().trails.get(release).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<V>(known: &mut HashMap<ObjectName, V>, name: ObjectName, value: V) {
    if known.len() >= MAX_REMEMBERED
        && !known.contains_key(&name)
        && let Some(other) = known.keys().next().cloned()
    {
        known.remove(&other);
    }
    known.insert(name, value);
}

/// The keys of the objects of these kinds and names; none of what there is none of.
type There = HashMap<(ReferenceKind, String), (Option<Keys>, bool)>;

/// Answers that came ahead of their questions. Each is given out once: who asks again asks anew.
#[derive(Default)]
pub(super) struct Ahead {
    /// Whether everything is asked in order.
    in_order: bool,
    /// Whether anything was asked out of order.
    pub(super) is_used: bool,
    release: Option<(ObjectName, Result<Option<Value>>)>,
    record: Option<(ObjectName, Option<StoredRecord>)>,
    successor: Option<(ObjectName, bool)>,
    /// In the namespace.
    references: Option<(String, There)>,
}

impl Ahead {
    /// No answer ever comes ahead.
    pub(super) fn never() -> Ahead {
        Ahead { in_order: true, ..Ahead::default() }
    }

    /// The Secret of that name, if it was asked for: none if there is none of that name. Another that was asked for is dropped: room is
    /// counted for one.
    pub(super) fn record(&mut self, namespace: &str, name: &str) -> Option<Option<StoredRecord>> {
        let answer = take(&mut self.record, namespace, name);
        self.record = None;
        answer
    }

    /// Whether there is a Secret of that name, if that was asked.
    pub(super) fn successor(&mut self, namespace: &str, name: &str) -> Option<bool> {
        take(&mut self.successor, namespace, name)
    }

    /// The keys of what the pod refers to, as far as it needs some, if that was asked; none if there is no such object.
    pub(super) fn keys(&self, namespace: &str, reference: &Reference) -> Option<Option<Keys>> {
        let (of, found) = self.references.as_ref()?;
        let (keys, with_keys) =
            found.get(&(reference.kind, reference.name.clone())).filter(|_| of == namespace)?;
        (*with_keys || reference.keys.is_empty()).then(|| keys.clone())
    }
}

fn take<T>(answer: &mut Option<(ObjectName, T)>, namespace: &str, name: &str) -> Option<T> {
    answer.take_if(|(of, _)| of.namespace == namespace && of.name == name).map(|(_, answer)| answer)
}

impl Context {
    /// An ApplicationInstance. What was asked for after it the last time is asked for now.
    pub(super) async fn instance_ahead(
        &self,
        instance: &ObjectName,
        ahead: &mut Ahead,
    ) -> Result<Option<Value>> {
        let asked = self.reader.target(Kind::ApplicationInstance, &instance.namespace, &instance.name);
        match self.trails.release_of(instance).filter(|_| !ahead.in_order) {
            Some(release) => {
                let (object, ()) = futures::join!(asked, self.ask_ahead(&release, ahead));
                ahead.is_used = true;
                object
            }
            None => asked.await,
        }
    }

    /// A HelmRelease. What was asked for after it the last time is asked for now.
    pub(super) async fn release_ahead(
        &self,
        release: &ObjectName,
        ahead: &mut Ahead,
    ) -> Result<Option<Value>> {
        if let Some(answer) = take(&mut ahead.release, &release.namespace, &release.name) {
            return answer;
        }
        self.ask_ahead(release, ahead).await;
        take(&mut ahead.release, &release.namespace, &release.name).unwrap_or(Ok(None))
    }

    async fn ask_ahead(&self, release: &ObjectName, ahead: &mut Ahead) {
        // What was asked for along the trail of another release is given up.
        (ahead.record, ahead.successor, ahead.references) = (None, None, None);
        let may = |trail: &Trail| {
            !ahead.in_order && self.gated.contains(&trail.storage) && self.gated.contains(&trail.namespace)
        };
        let trail = self.trails.of(release).filter(may);
        let object = self.reader.target(Kind::HelmRelease, &release.namespace, &release.name);
        let trail = OptionFuture::from(trail.map(|trail| follow(&self.reader, trail)));
        let (object, found) = futures::join!(object, trail);
        if let Some(found) = found {
            *ahead = found;
        }
        ahead.release = Some((release.clone(), object));
    }
}

/// Asks for all that is on a trail at once. What cannot be had is left out.
async fn follow(reader: &Reader, trail: Trail) -> Ahead {
    let Trail { storage, record, successor, namespace, references } = trail;
    // From the API server's memory, which is a moment old and costs it a fraction: nothing is safer for knowing it better,
    // since what is there may be gone before the pod starts.
    let a_moment_ago = GetParams::any();
    let exists = references.into_iter().map(async |(kind, name, by_key)| {
        let keys = if by_key {
            match reader.keys(kind, &namespace, &name, &a_moment_ago, KEYS_AHEAD, |_| true).await.ok()? {
                Some(keys) => Some(keys?),
                None => None,
            }
        } else {
            reader.exists(kind, &namespace, &name, &a_moment_ago).await.ok()?.then(Keys::new)
        };
        Some(((kind, name), (keys, by_key)))
    });
    let (found, is_there, exists) = futures::join!(
        reader.stored_record(&storage, &record),
        reader.has_record(&storage, &successor),
        join_all(exists)
    );
    let at = |name| ObjectName { namespace: storage.clone(), name };
    Ahead {
        is_used: true,
        record: found.ok().map(|secret| (at(record), secret)),
        successor: is_there.ok().map(|is_there| (at(successor), is_there)),
        references: Some((namespace, exists.into_iter().flatten().collect())),
        ..Ahead::default()
    }
}

/// Those keys of an object that the pod refers to, where it refers to any; else only whether there is the object.
pub(super) async fn ask(reader: &Reader, namespace: &str, reference: &Reference) -> Result<Option<Keys>> {
    let Reference { kind, name, keys, .. } = reference;
    let now = GetParams::default();
    if keys.is_empty() {
        return Ok(reader.exists(*kind, namespace, name, &now).await?.then(Keys::new));
    }
    let is_wanted = |key: &str| keys.contains_key(key);
    // Of one object no more than so many are wanted.
    let found = reader.keys(*kind, namespace, name, &now, MAX_KEYS, is_wanted).await?;
    Ok(found.map(Option::unwrap_or_default))
}
