//! A *lookup* finds out which hooks a target's release has. It is shared by all Operations that wait for a hook of that target, or
//! for the target itself: a change of the HelmRelease costs one lookup, however many wait, and the release's record is read only
//! where the change is another revision, or another digest of it.
//!
//! Of a release with few hooks these are kept, so that whoever waits is told which there are by now. Of one with many, or with
//! large names, an index is, whose size does not depend on what is in them: an Operation that waits keeps the words that it was
//! told, and is told more when it looks for itself.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookhost_core::Reason;
use hookhost_core::hook_index::{Index, Meant};
use hookhost_core::operation::{Approvals, Operation, OperationType};
use hookhost_core::refusal::Refusal;
use hookhost_core::target::Readiness;
use hookhost_helm::hook::Hook;
use hookhost_helm::record::Record;
use hookhost_helm::snapshot::Snapshot;
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;

use super::prepare::Stop;
use super::{Context, Subject};
use hookhost_cluster::error::Error;
use hookhost_cluster::resolve::{Awaited, Location, Resolver};

/// Targets whose lookup is kept. Beyond, the one that was asked for longest ago is forgotten for a new one, which costs one more
/// lookup.
const MAX_KEPT: usize = 512;

/// Bytes of all that is kept, beyond which the same happens: 500 targets with 16 KiB of hooks, or eight with as many hooks as a
/// release may have.
const KEPT_BYTES: usize = 8 << 20;

/// Bytes of the names of all hooks of a release that are kept themselves; of more there is an index. A chart has some ten hooks
/// of 300 bytes.
const WHOLE_BYTES: usize = 16 << 10;

/// How long a lookup that failed is not tried again for the others that wait for it.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// What is looked up: kind, namespace and name of a target, as one of this type of Operation may use it.
type Key = (String, String, String, OperationType);

/// The lookups of this process; one for all.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<All>);

#[derive(Default)]
struct All {
    of: HashMap<Key, Place>,
    /// Bytes of all.
    bytes: usize,
    /// Counts what is asked for.
    clock: u64,
}

/// A target's.
#[derive(Default)]
struct Place {
    kept: Arc<Turn<Kept>>,
    bytes: usize,
    asked: u64,
}

/// What was found of a target.
#[derive(Default)]
struct Kept {
    last: Option<Lookup>,
    failed: Option<Instant>,
}

/// What was found of a target, and what may change it.
#[derive(Clone)]
struct Lookup {
    /// When it was asked for, by the clock of the watches.
    at: u64,
    awaited: Vec<Awaited>,
    found: Result<Found, Refusal>,
}

/// The hooks of a release.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) revision: u32,
    /// Where the record is, and what Flux wrote of it; none of a plain Helm release.
    at: Option<(String, Snapshot)>,
    hooks: Hooks,
}

/// The hooks of a release, without their manifests.
#[derive(Clone)]
enum Hooks {
    /// All of them.
    Whole(Arc<[Hook]>),
    /// What tells which of them an Operation means.
    Index(Arc<Index<RandomState>>),
}

/// What an Operation may run of a release's hooks, as far as a lookup tells.
pub(super) enum Choice {
    /// What it means is there.
    Found,
    /// Why it may not run what it means.
    Refused(Refusal),
    /// The release does not have what it means, in the words that it was told.
    Missing,
    /// It has to look for itself.
    Unsure,
}

impl Hooks {
    fn of(hooks: &[Hook]) -> Hooks {
        match hooks.iter().map(bytes).sum::<usize>() <= WHOLE_BYTES {
            true => Hooks::Whole(hooks.into()),
            false => Hooks::Index(Index::of(hooks, RandomState::new()).into()),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Hooks::Whole(hooks) => hooks.iter().map(bytes).sum(),
            Hooks::Index(index) => index.bytes(),
        }
    }
}

impl Found {
    /// What the Operation may run of these hooks.
    pub(super) fn choose(&self, operation: &Operation) -> Choice {
        match &self.hooks {
            Hooks::Whole(hooks) => match operation.choose(hooks) {
                Ok(_) => Choice::Found,
                Err(refusal) => Choice::Refused(refusal),
            },
            Hooks::Index(index) => match index.meant(operation) {
                Meant::Found => Choice::Found,
                Meant::NotFound => Choice::Missing,
                Meant::Otherwise | Meant::Unsure => Choice::Unsure,
            },
        }
    }
}

/// What came of a lookup.
#[expect(clippy::large_enum_variant, reason = "one for each reconcile, taken apart at once")]
pub(super) enum Looked {
    /// The hooks of the target's release, or why none of them may be run.
    Found(Result<Found, Refusal>),
    /// It could not be found out a moment ago.
    Later(Duration),
}

impl Lookup {
    /// Whether nothing changes it but what is awaited: not the gate of a namespace, nor rights.
    fn may_be_kept(&self) -> bool {
        self.found.as_ref().err().is_none_or(|refusal| {
            !matches!(
                refusal.reason,
                Reason::NamespaceNotManaged | Reason::AccessForbidden | Reason::CrdMissing
            )
        })
    }

    fn bytes(&self) -> usize {
        size_of::<Lookup>()
            + match &self.found {
                Ok(found) => found.hooks.bytes(),
                Err(refusal) => refusal.message.len(),
            }
    }
}

impl Lookups {
    fn of(&self, key: &Key) -> Arc<Turn<Kept>> {
        let mut all = self.0.lock();
        all.clock += 1;
        let asked = all.clock;
        let place = all.of.entry(key.clone()).or_default();
        place.asked = asked;
        let kept = place.kept.clone();
        all.make_room(key);
        kept
    }

    /// What is kept of this target takes so many bytes now.
    fn note(&self, key: &Key, bytes: usize) {
        let mut all = self.0.lock();
        if let Some(place) = all.of.get_mut(key) {
            let before = std::mem::replace(&mut place.bytes, bytes);
            all.bytes = all.bytes + bytes - before;
            all.make_room(key);
        }
    }
}

impl All {
    /// Forgets what was asked for longest ago, as long as there is too much. This one stays.
    fn make_room(&mut self, this: &Key) {
        while self.of.len() > MAX_KEPT || self.bytes > KEPT_BYTES {
            let others = self.of.iter().filter(|(key, _)| *key != this);
            let Some((oldest, _)) = others.min_by_key(|(_, place)| place.asked) else { return };
            let oldest = oldest.clone();
            self.bytes -= self.of.remove(&oldest).map_or(0, |place| place.bytes);
        }
    }
}

impl Context {
    /// Which hooks the Operation's target has. `awaited` is filled with the objects whose changes may change that.
    pub(super) async fn look_up(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
    ) -> Result<Looked, Error> {
        let target = &operation.target_ref;
        let key =
            (target.kind.clone(), subject.key.namespace.clone(), target.name.clone(), operation.type_of);
        let turn = self.lookups.of(&key);
        // Whoever comes meanwhile waits for the answer instead of asking, too.
        let mut kept = turn.lock().await;
        let is_new =
            |last: &&Lookup| !last.awaited.is_empty() && self.targets.are_unchanged(&last.awaited, last.at);
        let lookup = match kept.last.as_ref().filter(is_new) {
            Some(last) => last.clone(),
            None => {
                if let Some(rest) = kept.failed.and_then(|failed| AFTER_ERROR.checked_sub(failed.elapsed())) {
                    return Ok(Looked::Later(rest));
                }
                let now = self.look_up_now(subject, operation, kept.last.as_ref()).await;
                kept.failed = now.is_err().then(Instant::now);
                let now = now?;
                kept.last = Some(now.clone()).filter(Lookup::may_be_kept);
                self.lookups.note(&key, kept.last.as_ref().map_or(0, Lookup::bytes));
                now
            }
        };
        awaited.extend(lookup.awaited);
        Ok(Looked::Found(lookup.found))
    }

    async fn look_up_now(
        &self,
        subject: &Subject,
        operation: &Operation,
        last: Option<&Lookup>,
    ) -> Result<Lookup, Error> {
        // Nothing runs for it, so nothing is to be approved.
        let operation = Operation { approvals: Approvals::default(), ..operation.clone() };
        let at = self.targets.now();
        let mut awaited = Vec::new();
        let found = self.find_hooks(subject, &operation, &mut awaited, last).await;
        match found {
            Ok(found) => Ok(Lookup { at, awaited, found: Ok(found) }),
            Err(Stop::Refused(refusal)) => Ok(Lookup { at, awaited, found: Err(refusal) }),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    async fn find_hooks(
        &self,
        subject: &Subject,
        operation: &Operation,
        awaited: &mut Vec<Awaited>,
        last: Option<&Lookup>,
    ) -> Result<Found, Stop> {
        let mut resolver = Resolver::new(&self.reader, self, &subject.key.namespace, awaited);
        let (_, location) = resolver.target(operation, Readiness::Required).await?;
        self.check_place(subject, &location.namespace)?;
        let at = place(&location);
        if let Some(Ok(found)) = last.map(|last| &last.found)
            && found.at.is_some()
            && found.at == at
        {
            return Ok(found.clone());
        }
        let look = |record: &Record| Ok((record.revision, Hooks::of(record.listing().heads())));
        let held = |(_, hooks): &(u32, Hooks)| hooks.bytes();
        let ((revision, hooks), _share) = resolver.select(&location, look, held).await?.into_parts();
        Ok(Found { revision, at, hooks })
    }
}

/// What tells one record from another, where Flux wrote it.
fn place(location: &Location) -> Option<(String, Snapshot)> {
    Some((location.namespace.clone(), location.snapshot.clone()?))
}

fn bytes(hook: &Hook) -> usize {
    let Hook { name, kind, api_version, path, events, delete_policies, .. } = hook;
    let texts = [name, kind, api_version, path].into_iter().chain(events).chain(delete_policies);
    size_of::<Hook>() + texts.map(|text| size_of::<String>() + text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        ("HelmRelease".to_owned(), "org".to_owned(), n.to_string(), OperationType::Migration)
    }

    fn is_kept(lookups: &Lookups, n: usize) -> bool {
        lookups.0.lock().of.contains_key(&key(n))
    }

    #[test]
    fn what_was_asked_for_longest_ago_is_forgotten_where_there_are_too_many_or_too_large_ones() {
        let lookups = Lookups::default();
        for n in 0..MAX_KEPT {
            drop(lookups.of(&key(n)));
        }
        drop(lookups.of(&key(0)));
        drop(lookups.of(&key(MAX_KEPT)));
        assert!(is_kept(&lookups, 0) && !is_kept(&lookups, 1));
        for n in [0, 2] {
            lookups.note(&key(n), KEPT_BYTES / 2);
        }
        lookups.note(&key(3), 1);
        assert!(is_kept(&lookups, 3));
        let sizes = |all: &All| (all.bytes, all.of.values().map(|place| place.bytes).sum::<usize>());
        let (bytes, sum) = sizes(&lookups.0.lock());
        assert!(bytes == sum && bytes <= KEPT_BYTES, "{bytes}, {sum}");
        lookups.note(&key(3), 2 * KEPT_BYTES);
        assert!(is_kept(&lookups, 3), "one that never fits is kept alone");
        assert_eq!(lookups.0.lock().of.len(), 1);
    }
}
