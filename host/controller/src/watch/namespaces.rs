//! The namespaces that hookhost acts in: those whose labels a selector names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use parking_lot::RwLock;
use tokio::sync::watch as latest;

use hookhost_cluster::resource::resource;
use hookhost_cluster::stream::Selection;

/// Namespaces with their labels, as they are now; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    labels: Arc<RwLock<HashMap<String, BTreeMap<String, String>>>>,
    /// Those that are being deleted: nothing can be created in them any more, and all that is in them goes.
    terminating: Arc<RwLock<HashSet<String>>>,
    synced: latest::Receiver<bool>,
}

/// What happened to a namespace.
#[derive(Debug)]
pub(crate) enum Change {
    /// It is selected now, or its labels changed.
    Joined(String),
    /// It is not selected any more, or gone.
    Left(String),
    /// It is being deleted, with all that is in it.
    Terminating(String),
}

impl Change {
    /// Which namespace.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Change::Joined(namespace) | Change::Left(namespace) | Change::Terminating(namespace) => namespace,
        }
    }
}

impl Namespaces {
    /// Watches the namespaces that a label selector names, in the API's own syntax.
    pub(crate) fn watch(
        client: kube::Client,
        selector: &str,
    ) -> (Namespaces, impl Stream<Item = Result<Vec<Change>, watcher::Error>> + Send + 'static) {
        let (done, synced) = latest::channel(false);
        let namespaces = Namespaces { labels: Arc::default(), terminating: Arc::default(), synced };
        let (known, going) = (namespaces.labels.clone(), namespaces.terminating.clone());
        let mut listed = HashSet::new();
        let namespaces_of = Selection::new(client, &resource("", "v1", "Namespace", "namespaces"), None);
        let stream = namespaces_of
            .labels(selector)
            .metadata()
            .stream(|text| serde_json::from_str::<PartialObjectMeta>(text).ok())
            .default_backoff()
            .map_ok(move |event| {
                let mut known = known.write();
                let mut going = going.write();
                let mut join = |namespace: &PartialObjectMeta| {
                    let name = namespace.name_any();
                    if namespace.metadata.deletion_timestamp.is_some() {
                        known.remove(&name);
                        going.insert(name.clone());
                        return Change::Terminating(name);
                    }
                    going.remove(&name);
                    known.insert(name.clone(), namespace.labels().clone());
                    Change::Joined(name)
                };
                match event {
                    Event::Init => {
                        listed.clear();
                        Vec::new()
                    }
                    Event::InitApply(namespace) => {
                        listed.insert(namespace.name_any());
                        vec![join(&namespace)]
                    }
                    Event::Apply(namespace) => vec![join(&namespace)],
                    Event::Delete(namespace) => {
                        known.remove(&namespace.name_any());
                        going.remove(&namespace.name_any());
                        vec![Change::Left(namespace.name_any())]
                    }
                    Event::InitDone => {
                        let gone: Vec<String> =
                            known.keys().filter(|name| !listed.contains(*name)).cloned().collect();
                        for name in &gone {
                            known.remove(name);
                        }
                        going.retain(|name| listed.contains(name));
                        let _ = done.send(true);
                        gone.into_iter().map(Change::Left).collect()
                    }
                }
            })
            .boxed();
        (namespaces, stream)
    }

    /// None at all.
    /// These, with their labels.
    #[cfg(test)]
    pub(crate) fn labelled(all: &[(&str, &[(&str, &str)])]) -> Namespaces {
        let texts = |labels: &[(&str, &str)]| {
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let labels = all.iter().map(|(name, labels)| ((*name).to_owned(), texts(labels))).collect();
        Namespaces { labels: Arc::new(RwLock::new(labels)), ..Namespaces::none() }
    }

    #[cfg(test)]
    pub(crate) fn none() -> Namespaces {
        let (_, synced) = latest::channel(true);
        Namespaces { labels: Arc::default(), terminating: Arc::default(), synced }
    }

    /// Waits until all are known.
    pub(crate) async fn synced(&self) {
        let mut synced = self.synced.clone();
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Whether the namespace is one of them.
    pub(crate) fn contains(&self, namespace: &str) -> bool {
        self.labels.read().contains_key(namespace)
    }

    /// Whether the namespace is being deleted, as far as it is known.
    pub(crate) fn is_terminating(&self, namespace: &str) -> bool {
        self.terminating.read().contains(namespace)
    }

    /// Takes note that a namespace is being deleted that is not one of them any more.
    pub(crate) fn note_terminating(&self, namespace: &str) {
        self.terminating.write().insert(namespace.to_owned());
    }

    /// Its labels; none if it is not one of them.
    pub(crate) fn labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.labels.read().get(namespace).cloned()
    }
}
