//! What waiting Operations wait for: their targets and HelmReleases. Only metadata are watched, since all that matters
//! is that something changed; what it is now is read by the reconciler.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::follow::Tasks;
use crate::wake::Wakes;
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::resolve::Awaited;
use hookhost_cluster::resource::Kind;
use hookhost_cluster::stream::Selection;

/// Objects of a namespace whose last change is known. Beyond, none is, until each changes again: what was found out about them
/// is then found out once more.
const MAX_TOUCHED: usize = 4096;

/// Which Operations wait for which objects; clones share it.
#[derive(Clone)]
pub(crate) struct Targets(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<(Kind, String)>,
    known: Mutex<Known>,
    wakes: Wakes,
}

/// What costs something here grows with what changes, not with how many wait.
#[derive(Default)]
struct Known {
    waiting: HashMap<OperationKey, HashSet<Awaited>>,
    /// Who waits for each object. None is empty.
    by_object: HashMap<Awaited, BTreeSet<OperationKey>>,
    followed: HashMap<(Kind, String), Followed>,
    /// Counts what happens.
    clock: u64,
}

/// One kind of object in one namespace, as long as somebody waits for one.
struct Followed {
    /// How many of its objects somebody waits for.
    awaited: usize,
    /// From when on all changes are known.
    since: u64,
    /// When each object was changed last, by name.
    touched: HashMap<String, u64>,
}

/// Kinds of objects in namespaces whose watches begin, and those whose watches end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Change {
    begin: Vec<(Kind, String)>,
    end: Vec<(Kind, String)>,
}

/// What is followed for an object.
fn followed(object: &Awaited) -> (Kind, String) {
    (object.kind, object.namespace.clone())
}

impl Known {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// From now on the Operation waits for these objects alone. Gives back what is to be followed for that, and what is not any
    /// more; nothing if it waited for the same before.
    fn wait(&mut self, operation: &OperationKey, objects: HashSet<Awaited>) -> Option<Change> {
        let before = self.waiting.get(operation).cloned().unwrap_or_default();
        if before == objects {
            return None;
        }
        let mut change = Change::default();
        for object in objects.difference(&before) {
            let waiters = self.by_object.entry(object.clone()).or_default();
            let is_first = waiters.is_empty();
            waiters.insert(operation.clone());
            let kind = followed(object);
            if !self.followed.contains_key(&kind) {
                let since = self.tick();
                let followed = Followed { awaited: 0, since, touched: HashMap::new() };
                self.followed.insert(kind.clone(), followed);
                change.begin.push(kind.clone());
            }
            if let Some(followed) = self.followed.get_mut(&kind) {
                followed.awaited += usize::from(is_first);
            }
        }
        for object in before.difference(&objects) {
            let Some(waiters) = self.by_object.get_mut(object) else { continue };
            waiters.remove(operation);
            if waiters.is_empty() {
                self.by_object.remove(object);
                let kind = followed(object);
                let followed = self.followed.get_mut(&kind);
                if followed.is_some_and(|followed| {
                    followed.awaited -= 1;
                    followed.awaited == 0
                }) {
                    self.followed.remove(&kind);
                    change.end.push(kind);
                }
            }
        }
        if objects.is_empty() {
            self.waiting.remove(operation);
        } else {
            self.waiting.insert(operation.clone(), objects);
        }
        Some(change)
    }

    /// Notes a change of an object; who waits for it.
    fn touch(&mut self, object: &Awaited) -> Vec<OperationKey> {
        self.note_change(object);
        self.by_object.get(object).into_iter().flatten().cloned().collect()
    }

    fn note_change(&mut self, object: &Awaited) {
        let now = self.tick();
        let Some(followed) = self.followed.get_mut(&followed(object)) else { return };
        if followed.touched.len() >= MAX_TOUCHED && !followed.touched.contains_key(&object.name) {
            followed.touched.clear();
            followed.since = now;
        }
        followed.touched.insert(object.name.clone(), now);
    }

    fn is_unchanged(&self, object: &Awaited, since: u64) -> bool {
        let followed = self.followed.get(&followed(object));
        followed.is_some_and(|followed| {
            followed.since <= since && followed.touched.get(&object.name).is_none_or(|at| *at <= since)
        })
    }
}

impl Targets {
    pub(crate) fn new(client: kube::Client, wakes: Wakes, shutdown: CancellationToken) -> Targets {
        Targets(Arc::new(Inner { client, tasks: Tasks::new(shutdown), known: Mutex::default(), wakes }))
    }

    /// The time now, for [`Targets::are_unchanged`].
    pub(crate) fn now(&self) -> u64 {
        self.0.known.lock().clock
    }

    /// Whether these objects are watched, and have not changed since that time, as far as their watches tell.
    pub(crate) fn are_unchanged(&self, objects: &[Awaited], since: u64) -> bool {
        let known = self.0.known.lock();
        objects.iter().all(|object| known.is_unchanged(object, since))
    }

    /// Wakes the Operation when one of these objects changes, until told otherwise; and once now, if it has not waited for
    /// them before, so that no change is missed between reading and waiting.
    pub(crate) fn wait(&self, operation: &OperationKey, objects: impl IntoIterator<Item = Awaited>) {
        if self.change(operation, objects.into_iter().collect()) {
            // A watch that runs already may have told of a change after the Operation was looked at and before now.
            self.0.wakes.wake(operation.clone());
        }
    }

    /// The Operation waits no more.
    pub(crate) fn forget(&self, operation: &OperationKey) {
        self.change(operation, HashSet::new());
    }

    /// Whether the Operation waited for others before.
    fn change(&self, operation: &OperationKey, objects: HashSet<Awaited>) -> bool {
        let mut known = self.0.known.lock();
        let Some(Change { begin, end }) = known.wait(operation, objects) else { return false };
        // Under the lock: what one begins another must not end.
        for key in end {
            self.0.tasks.stop(&key);
        }
        for (kind, namespace) in begin {
            let (targets, of) = (self.clone(), namespace.clone());
            self.0.tasks.start((kind, namespace), move || async move {
                let all = Selection::new(targets.0.client.clone(), &kind.resource(), Some(&of));
                targets.follow(kind, &of, all).await;
            });
        }
        true
    }

    async fn follow(&self, kind: Kind, namespace: &str, all: Selection) {
        let read = |text: &str| serde_json::from_str::<PartialObjectMeta>(text).ok();
        let stream = all.metadata().stream(read).default_backoff().touched_objects();
        super::follow::drive(stream, "targets", |object| {
            let changed = Awaited { kind, namespace: namespace.to_owned(), name: object.name_any() };
            let concerned = self.0.known.lock().touch(&changed);
            self.0.wakes.wake_all(concerned);
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn an_object_is_unchanged_as_long_as_its_watch_has_told_of_no_change() {
        let release = |name: &str| Awaited {
            kind: Kind::HelmRelease,
            namespace: "org".to_owned(),
            name: name.to_owned(),
        };
        let (shop, wiki) = (release("shop"), release("wiki"));
        let mut known = Known::default();
        assert!(!known.is_unchanged(&shop, known.clock), "it is not watched");
        known.wait(&OperationKey::new("org", "op"), HashSet::from([shop.clone()]));
        let since = known.clock;
        assert!(!known.is_unchanged(&shop, since - 1), "it was not watched yet");
        assert!(known.is_unchanged(&shop, since));
        known.touch(&wiki);
        assert!(known.is_unchanged(&shop, since) && !known.is_unchanged(&wiki, since));
        let now = known.clock;
        for n in 0..MAX_TOUCHED {
            known.touch(&release(&n.to_string()));
        }
        assert!(!known.is_unchanged(&shop, now), "too many have changed to know");
        assert!(known.is_unchanged(&shop, known.clock));
    }

    #[test]
    fn a_watch_lasts_as_long_as_somebody_waits_for_one_of_its_objects() {
        let object = |kind, name: &str| Awaited { kind, namespace: "org".to_owned(), name: name.to_owned() };
        let (instance, release) = (object(Kind::ApplicationInstance, "a"), object(Kind::HelmRelease, "r"));
        let (one, two) = (OperationKey::new("org", "one"), OperationKey::new("org", "two"));
        let mut known = Known::default();
        let wait = |known: &mut Known, who: &OperationKey, objects: &[&Awaited]| {
            let objects = objects.iter().map(|object| (*object).clone()).collect();
            known.wait(who, objects).map(|change| (change.begin, change.end))
        };
        let kind = |object: &Awaited| vec![followed(object)];
        assert_eq!(wait(&mut known, &one, &[&release]), Some((kind(&release), vec![])));
        assert_eq!(wait(&mut known, &one, &[&release]), None, "it waits for the same");
        assert_eq!(wait(&mut known, &two, &[&release, &instance]), Some((kind(&instance), vec![])));
        assert_eq!(known.touch(&release), [one.clone(), two.clone()]);
        assert_eq!(known.touch(&instance), slice::from_ref(&two));
        assert_eq!(wait(&mut known, &one, &[&instance]), Some((vec![], vec![])));
        assert_eq!(known.touch(&release), slice::from_ref(&two));
        assert_eq!(wait(&mut known, &two, &[]), Some((vec![], kind(&release))));
        assert_eq!(wait(&mut known, &two, &[]), None);
        assert_eq!(wait(&mut known, &one, &[]), Some((vec![], kind(&instance))));
        assert!(known.waiting.is_empty() && known.by_object.is_empty() && known.followed.is_empty());
    }
}
