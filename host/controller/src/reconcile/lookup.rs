//! A *lookup* finds out which hooks a target's release has. It is shared by all Operations that wait for a hook of that target, or
//! for the target itself: a change of the HelmRelease costs one lookup, however many wait, and the release's record is read only
//! where the change is another revision, or another digest of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookhost_core::Reason;
use hookhost_core::hook::Hook;
use hookhost_core::operation::{Approvals, Operation, OperationType};
use hookhost_core::record::Record;
use hookhost_core::refusal::Refusal;
use hookhost_core::snapshot::Snapshot;
use tokio::sync::Mutex as Turn;

use super::ahead::Ahead;
use super::location::Location;
use super::prepare::Stop;
use super::{Context, Subject};
use crate::error::Error;
use crate::watch::Awaited;

/// Targets whose lookup is kept. Beyond, others are forgotten for new ones, which costs one more lookup.
const MAX_KEPT: usize = 64;

/// Bytes of the names of all hooks of a release, above which they are not kept: each Operation then looks them up by itself. A
/// chart has some ten hooks of 300 bytes; with this, all that is kept takes 8 MiB at most.
const MAX_BYTES: usize = 128 << 10;

/// How long a lookup that failed is not tried again for the others that wait for it.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// What is looked up: kind, namespace and name of a target, as one of this type of Operation may use it.
type Key = (String, String, String, OperationType);

/// The lookups of this process; one for all.
#[derive(Default)]
pub(crate) struct Lookups(Mutex<HashMap<Key, Arc<Turn<Kept>>>>);

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
    /// Without their manifests.
    pub(super) hooks: Arc<[Hook]>,
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
    /// Whether it is small enough, and nothing changes it but what is awaited: not the gate of a namespace, nor rights.
    fn may_be_kept(&self) -> bool {
        match &self.found {
            Ok(found) => found.hooks.iter().map(bytes).sum::<usize>() <= MAX_BYTES,
            Err(refusal) => !matches!(
                refusal.reason,
                Reason::NamespaceNotManaged | Reason::AccessForbidden | Reason::CrdMissing
            ),
        }
    }
}

impl Lookups {
    fn of(&self, key: &Key) -> Arc<Turn<Kept>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KEPT
            && !all.contains_key(key)
            && let Some(other) = all.keys().next().cloned()
        {
            all.remove(&other);
        }
        all.entry(key.clone()).or_default().clone()
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
        let kept = self.lookups.of(&key);
        // Whoever comes meanwhile waits for the answer instead of asking, too.
        let mut kept = kept.lock().await;
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
        let mut in_order = Ahead::never();
        let (_, location) = self.target(subject, operation, awaited, &mut in_order).await?;
        let at = place(&location);
        if let Some(Ok(found)) = last.map(|last| &last.found)
            && found.at.is_some()
            && found.at == at
        {
            return Ok(found.clone());
        }
        let look = |record: &Record| Ok((record.revision, record.listing().heads().to_vec()));
        let held = |(_, hooks): &(u32, Vec<Hook>)| hooks.iter().map(bytes).sum();
        let ((revision, hooks), _share) =
            self.record(subject, &location, &mut in_order, look, held).await?.into_parts();
        Ok(Found { revision, at, hooks: hooks.into() })
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
