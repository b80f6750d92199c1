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

/// Which Operations wait for which objects; clones share it.
#[derive(Clone)]
pub(crate) struct Targets(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<(Kind, String)>,
    waiting: Mutex<HashMap<OperationKey, HashSet<Awaited>>>,
    wakes: Wakes,
}

impl Targets {
    pub(crate) fn new(client: kube::Client, wakes: Wakes, shutdown: CancellationToken) -> Targets {
        Targets(Arc::new(Inner { client, tasks: Tasks::new(shutdown), waiting: Mutex::default(), wakes }))
    }

    /// Wakes the Operation when one of these objects changes, until told otherwise; and once now, if it has not waited for
    /// them before, so that no change is missed between reading and waiting.
    pub(crate) fn wait(&self, operation: &OperationKey, objects: impl IntoIterator<Item = Awaited>) {
        let objects: HashSet<Awaited> = objects.into_iter().collect();
        let kinds: Vec<(Kind, String)> = objects.iter().map(|of| (of.kind, of.namespace.clone())).collect();
        let before = self.lock().insert(operation.clone(), objects.clone());
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
        if self.lock().remove(operation).is_some() {
            self.tidy();
        }
    }

    async fn follow(&self, kind: Kind, namespace: &str, all: Selection) {
        let read = |text: &str| serde_json::from_str::<PartialObjectMeta>(text).ok();
        let stream = all.metadata().stream(read).default_backoff().touched_objects();
        super::follow::drive(stream, "targets", |object| {
            let changed = Awaited { kind, namespace: namespace.to_owned(), name: object.name_any() };
            let waiting = self.lock();
            let concerned = waiting.iter().filter(|(_, awaited)| awaited.contains(&changed));
            self.0.wakes.wake_all(concerned.map(|(key, _)| key.clone()));
        })
        .await;
    }

    /// Ends the watches that nobody waits for.
    fn tidy(&self) {
        let waiting = self.lock();
        let needed: HashSet<(Kind, &str)> =
            waiting.values().flatten().map(|of| (of.kind, of.namespace.as_str())).collect();
        self.0.tasks.keep(|(kind, namespace)| needed.contains(&(*kind, namespace.as_str())));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<OperationKey, HashSet<Awaited>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
