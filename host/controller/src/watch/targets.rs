//! What waiting Operations wait for: their targets and HelmReleases. Only metadata are watched, since all that matters
//! is that something changed; what it is now is read by the reconciler.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use tokio_util::sync::CancellationToken;

use super::follow::Tasks;
use super::{Selection, resource};
use crate::wake::{OperationKey, Wakes};

/// A kind of object that an Operation can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// apps.vworkspace.io/v1alpha1
    ApplicationInstance,
    /// helm.toolkit.fluxcd.io/v2
    HelmRelease,
}

impl Kind {
    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Kind::ApplicationInstance => {
                resource("apps.vworkspace.io", "v1alpha1", "ApplicationInstance", "applicationinstances")
            }
            Kind::HelmRelease => resource("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
        }
    }
}

/// One object that Operations wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Awaited {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

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

#[derive(Default)]
struct Known {
    waiting: HashMap<OperationKey, HashSet<Awaited>>,
    followed: HashMap<(Kind, String), Followed>,
    /// Counts what happens.
    clock: u64,
}

/// One kind of object in one namespace, as long as somebody waits for one.
struct Followed {
    /// From when on all changes are known.
    since: u64,
    /// When each object was changed last, by name.
    touched: HashMap<String, u64>,
}

impl Known {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn touch(&mut self, object: &Awaited) {
        let now = self.tick();
        let Some(followed) = self.followed.get_mut(&(object.kind, object.namespace.clone())) else { return };
        if followed.touched.len() >= MAX_TOUCHED && !followed.touched.contains_key(&object.name) {
            followed.touched.clear();
            followed.since = now;
        }
        followed.touched.insert(object.name.clone(), now);
    }

    fn is_unchanged(&self, object: &Awaited, since: u64) -> bool {
        let followed = self.followed.get(&(object.kind, object.namespace.clone()));
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
        self.lock().clock
    }

    /// Whether these objects are watched, and have not changed since that time, as far as their watches tell.
    pub(crate) fn are_unchanged(&self, objects: &[Awaited], since: u64) -> bool {
        let known = self.lock();
        objects.iter().all(|object| known.is_unchanged(object, since))
    }

    /// Wakes the Operation when one of these objects changes, until told otherwise; and once now, if it has not waited for
    /// them before, so that no change is missed between reading and waiting.
    pub(crate) fn wait(&self, operation: &OperationKey, objects: impl IntoIterator<Item = Awaited>) {
        let objects: HashSet<Awaited> = objects.into_iter().collect();
        let kinds: Vec<(Kind, String)> = objects.iter().map(|of| (of.kind, of.namespace.clone())).collect();
        let mut known = self.lock();
        for kind in &kinds {
            if !known.followed.contains_key(kind) {
                let since = known.tick();
                known.followed.insert(kind.clone(), Followed { since, touched: HashMap::new() });
            }
        }
        let before = known.waiting.insert(operation.clone(), objects.clone());
        drop(known);
        if before.as_ref() != Some(&objects) {
            // A watch that runs already may have told of a change after the Operation was looked at and before now.
            self.0.wakes.wake(operation.clone());
        }
        for (kind, namespace) in kinds {
            let (targets, of) = (self.clone(), namespace.clone());
            self.0.tasks.start((kind, namespace), move || async move {
                let all = Selection::new(targets.0.client.clone(), &kind.resource(), Some(&of));
                targets.follow(kind, &of, all).await;
            });
        }
        self.tidy();
    }

    /// The Operation waits no more.
    pub(crate) fn forget(&self, operation: &OperationKey) {
        if self.lock().waiting.remove(operation).is_some() {
            self.tidy();
        }
    }

    async fn follow(&self, kind: Kind, namespace: &str, all: Selection) {
        let read = |text: &str| serde_json::from_str::<PartialObjectMeta>(text).ok();
        let stream = all.metadata().stream(read).default_backoff().touched_objects();
        super::follow::drive(stream, "targets", |object| {
            let changed = Awaited { kind, namespace: namespace.to_owned(), name: object.name_any() };
            let mut known = self.lock();
            known.touch(&changed);
            let concerned = known.waiting.iter().filter(|(_, awaited)| awaited.contains(&changed));
            self.0.wakes.wake_all(concerned.map(|(key, _)| key.clone()));
        })
        .await;
    }

    /// Ends the watches that nobody waits for.
    fn tidy(&self) {
        let mut known = self.lock();
        let needed: HashSet<(Kind, String)> =
            known.waiting.values().flatten().map(|of| (of.kind, of.namespace.clone())).collect();
        known.followed.retain(|key, _| needed.contains(key));
        self.0.tasks.keep(|key| needed.contains(key));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
        let since = known.tick();
        known
            .followed
            .insert((Kind::HelmRelease, "org".to_owned()), Followed { since, touched: HashMap::new() });
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
}
