//! Reading *ahead* is asking for everything at once that the last look at a release came to need, instead of for one thing
//! after the other: the HelmRelease with the instance, the record with the HelmRelease, what the pod refers to with the
//! record.
//!
//! # What is remembered decides nothing
//! Names are remembered, never contents. Each answer is used only for the very question that comes up, and is as new as
//! the look itself. And only a look that ends with a Job may rest on answers that came out of their order: one that
//! ends otherwise is made again, asking in order. So memory that is wrong costs time, and nothing else.

use std::collections::HashMap;

use futures::future::{OptionFuture, join_all};
use hookhost_core::dependency::Reference;
use hookhost_core::kind::Kind as ReferenceKind;
use hookhost_core::target::{ObjectName, RecordRef};
use kube::api::GetParams;
use parking_lot::Mutex;
use serde_json::Value;

use super::Context;
use hookhost_cluster::error::Result;
use hookhost_cluster::read::{Keys, Reader, StoredRecord};
use hookhost_cluster::resolve::Source;
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
    /// Where the hook was run.
    pub(super) namespace: String,
    /// What its pod refers to there, and whether by a key.
    pub(super) references: Vec<(ReferenceKind, String, bool)>,
}

impl Trails {
    /// Remembers the way to a hook that was run.
    pub(super) fn keep(&self, instance: Option<ObjectName>, release: ObjectName, mut trail: Trail) {
        trail.references.truncate(MAX_REFERENCES);
        let mut known = self.0.lock();
        if let Some(instance) = instance {
            keep(&mut known.releases, instance, release.clone());
        }
        keep(&mut known.trails, release, trail);
    }

    /// The HelmRelease that an instance had.
    pub(super) fn release_of(&self, instance: &ObjectName) -> Option<ObjectName> {
        self.0.lock().releases.get(instance).cloned()
    }

    /// What was asked for after a HelmRelease.
    pub(super) fn of(&self, release: &ObjectName) -> Option<Trail> {
        self.0.lock().trails.get(release).cloned()
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

/// Reads an Operation's objects, some of them ahead of their turn.
pub(super) struct Ahead<'c> {
    context: &'c Context,
    /// Whether everything is asked in order.
    in_order: bool,
    answers: Mutex<Answers>,
}

/// Answers that came ahead of their questions. Each is given out once: a second question is asked anew.
#[derive(Default)]
struct Answers {
    /// Whether anything was asked out of order.
    is_used: bool,
    release: Option<(ObjectName, Result<Option<Value>>)>,
    record: Option<(ObjectName, Option<StoredRecord>)>,
    successor: Option<(ObjectName, bool)>,
    /// In the namespace.
    references: Option<(String, There)>,
}

impl<'c> Ahead<'c> {
    /// Asks along the trail of the release's last run.
    pub(super) fn by_trail(context: &'c Context) -> Ahead<'c> {
        Ahead { context, in_order: false, answers: Mutex::default() }
    }

    /// Asks everything in order.
    pub(super) fn never(context: &'c Context) -> Ahead<'c> {
        Ahead { in_order: true, ..Ahead::by_trail(context) }
    }

    /// Whether anything was asked out of order.
    pub(super) fn is_used(&self) -> bool {
        self.answers.lock().is_used
    }

    /// The keys of what the pod refers to, as far as it needs some, if that was asked; none if there is no such object.
    pub(super) fn keys(&self, namespace: &str, reference: &Reference) -> Option<Option<Keys>> {
        let answers = self.answers.lock();
        let (of, found) = answers.references.as_ref()?;
        let (keys, with_keys) =
            found.get(&(reference.kind, reference.name.clone())).filter(|_| of == namespace)?;
        (*with_keys || reference.keys.is_empty()).then(|| keys.clone())
    }

    async fn ask_ahead(&self, release: &ObjectName) {
        // What was asked for along the trail of another release is given up.
        *self.answers.lock() = Answers { is_used: self.is_used(), ..Answers::default() };
        let Context { gated, reader, trails, .. } = self.context;
        let may = |trail: &Trail| {
            !self.in_order && gated.contains(&trail.storage) && gated.contains(&trail.namespace)
        };
        let trail = trails.of(release).filter(may);
        let object = reader.target(Kind::HelmRelease, &release.namespace, &release.name);
        let trail = OptionFuture::from(trail.map(|trail| follow(reader, trail)));
        let (object, found) = futures::join!(object, trail);
        let mut answers = self.answers.lock();
        if let Some(found) = found {
            *answers = found;
        }
        answers.release = Some((release.clone(), object));
    }

    fn take_release(&self, at: &ObjectName) -> Option<Result<Option<Value>>> {
        self.answers.lock().release.take_if(|(of, _)| of == at).map(|(_, answer)| answer)
    }
}

impl Source for Ahead<'_> {
    fn reader(&self) -> &Reader {
        &self.context.reader
    }

    /// What was asked for after the instance the last time is asked for now.
    async fn instance(&self, at: &ObjectName) -> Result<Option<Value>> {
        let asked = self.reader().target(Kind::ApplicationInstance, &at.namespace, &at.name);
        match self.context.trails.release_of(at).filter(|_| !self.in_order) {
            Some(release) => {
                let (object, ()) = futures::join!(asked, self.ask_ahead(&release));
                self.answers.lock().is_used = true;
                object
            }
            None => asked.await,
        }
    }

    /// What was asked for after the HelmRelease the last time is asked for now.
    async fn helm_release(&self, at: &ObjectName) -> Result<Option<Value>> {
        let known = self.take_release(at);
        if let Some(answer) = known {
            return answer;
        }
        self.ask_ahead(at).await;
        self.take_release(at).unwrap_or(Ok(None))
    }

    fn record_ahead(&self, at: &RecordRef<'_>) -> Option<(Option<StoredRecord>, bool)> {
        let mut answers = self.answers.lock();
        // Another record that was asked for is dropped: memory is counted for one.
        let record = answers.record.take();
        let (_, record) = record.filter(|(of, _)| is_at(of, at.namespace, &at.secret_name()))?;
        let (_, is_there) =
            answers.successor.take_if(|(of, _)| is_at(of, at.namespace, &at.successor_name()))?;
        Some((record, is_there))
    }
}

fn is_at(of: &ObjectName, namespace: &str, name: &str) -> bool {
    of.namespace == namespace && of.name == name
}

/// Asks for all that is on a trail at once. What cannot be had is left out.
async fn follow(reader: &Reader, trail: Trail) -> Answers {
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
    Answers {
        is_used: true,
        record: found.ok().map(|secret| (at(record), secret)),
        successor: is_there.ok().map(|is_there| (at(successor), is_there)),
        references: Some((namespace, exists.into_iter().flatten().collect())),
        ..Answers::default()
    }
}
