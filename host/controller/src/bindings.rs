//! The *bindings* are the RoleBindings by which the chart gives hookhost its rights in a namespace.
//!
//! Each has a finalizer of hookhost, so that it stays until hookhost needs it no more. Else a RoleBinding could go before hookhost's
//! Jobs: whoever deletes a namespace, or upgrades the chart without it, deletes the RoleBinding, too, and then hookhost may not
//! remove its finalizer from those Jobs any more. A RoleBinding that is being deleted still gives its rights.
//!
//! # When one is deleted
//! 1. hookhost starts no run in that namespace any more.
//! 2. Runs that are under way go on to their end. If the namespace itself is being deleted, hookhost gives them up at once, and
//!    does not wait until the RoleBinding is deleted, too.
//! 3. Once no Job there that hookhost can prove to be its own has its finalizer, hookhost removes the finalizer from the
//!    RoleBinding. It never writes anything else to one.
//!
//! Jobs that only look like hookhost's keep a RoleBinding for some seconds at most: see [`crate::binding_keeper`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hookhost_core::keys::RIGHTS;
use kube::ResourceExt;
use kube::core::DynamicObject;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Where hookhost has its rights, and where they are being taken away; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Bindings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Known>,
    /// A RoleBinding was deleted, or hookhost's finalizer removed from a Job, since the bindings were last examined.
    changed: Notify,
}

#[derive(Default)]
struct Known {
    /// The bindings of each namespace that have hookhost's finalizer, by name.
    held: HashMap<String, BTreeMap<String, Binding>>,
    /// Those of them that are being deleted, or whose namespace is: hookhost's finalizer keeps them.
    leaving: HashMap<String, BTreeMap<String, Binding>>,
    /// By namespace and name: since when hookhost has kept one only for Jobs that it cannot prove to be its own.
    waiting: HashMap<(String, String), Instant>,
    /// How many Jobs hookhost is creating in each namespace.
    creating: HashMap<String, usize>,
}

impl Known {
    /// The deleted RoleBinding of a namespace by which runs have their rights.
    fn leaving(&self, namespace: &str) -> Option<&String> {
        let mut leaving = self.leaving.get(namespace)?.iter();
        leaving.find(|(_, binding)| binding.what == For::Runs).map(|(name, _)| name)
    }

    /// A binding is not one any more that is being deleted.
    fn leave(&mut self, namespace: &str, name: &str) {
        self.waiting.remove(&(namespace.to_owned(), name.to_owned()));
        remove(&mut self.leaving, namespace, name);
    }
}

/// A RoleBinding, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// What it is for.
    pub(crate) what: For,
    /// metadata.uid: another one of the same name keeps its finalizer.
    pub(crate) uid: String,
}

fn remove(bindings: &mut HashMap<String, BTreeMap<String, Binding>>, namespace: &str, name: &str) {
    if let Some(names) = bindings.get_mut(namespace) {
        names.remove(name);
        if names.is_empty() {
            bindings.remove(namespace);
        }
    }
}

/// What a binding gives its rights for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Runs.
    Runs,
    /// Temporary objects of runs.
    Closures,
}

/// A Job is being created: as long as this exists, hookhost keeps its rights in the namespace.
pub(crate) struct Creating {
    bindings: Bindings,
    namespace: String,
}

impl Bindings {
    /// Keeps the rights in a namespace for a Job that is about to be created; none where they are being taken away.
    pub(crate) fn begin(&self, namespace: &str) -> Option<Creating> {
        // Under one lock: else a deletion noted in between would take the rights away from the Job that is being created.
        let mut known = self.0.known.lock();
        if known.leaving(namespace).is_some() {
            return None;
        }
        *known.creating.entry(namespace.to_owned()).or_default() += 1;
        Some(Creating { bindings: self.clone(), namespace: namespace.to_owned() })
    }

    /// A deleted RoleBinding of a namespace, by which hookhost is about to lose its rights there.
    pub(crate) fn leaving(&self, namespace: &str) -> Option<String> {
        self.0.known.lock().leaving(namespace).cloned()
    }

    /// Has the deleted bindings examined again, since something changed for which they may have been kept.
    pub(crate) fn look_again(&self) {
        if !self.0.known.lock().leaving.is_empty() {
            self.0.changed.notify_one();
        }
    }

    /// Ends when the deleted bindings are to be examined again.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The namespace is being deleted, and its bindings soon will be: they count as deleted from now on.
    pub(crate) fn terminate(&self, namespace: &str) {
        let mut known = self.0.known.lock();
        let Some(held) = known.held.get(namespace).cloned() else { return };
        known.leaving.entry(namespace.to_owned()).or_default().extend(held);
        self.0.changed.notify_one();
    }

    /// Notes a RoleBinding as it is now. True if it is new that it is being deleted, or that its namespace is.
    pub(crate) fn note(&self, binding: &DynamicObject, what: For, is_terminating: bool) -> bool {
        let (namespace, name) = (binding.namespace().unwrap_or_default(), binding.name_any());
        if !binding.finalizers().iter().any(|finalizer| finalizer == RIGHTS) {
            self.forget(&namespace, &name);
            return false;
        }
        let noted = Binding { what, uid: binding.uid().unwrap_or_default() };
        let mut known = self.0.known.lock();
        let before = known.held.entry(namespace.clone()).or_default().insert(name.clone(), noted.clone());
        if before.is_some_and(|before| before != noted) {
            // Another one of that name, which nobody has deleted yet: the end of the first was missed.
            known.leave(&namespace, &name);
        }
        if binding.metadata.deletion_timestamp.is_none() && !is_terminating {
            return false;
        }
        self.0.changed.notify_one();
        known.leaving.entry(namespace).or_default().insert(name, noted).is_none()
    }

    pub(crate) fn forget(&self, namespace: &str, name: &str) {
        let mut known = self.0.known.lock();
        known.leave(namespace, name);
        remove(&mut known.held, namespace, name);
    }

    /// Whether so much time has passed since this was first asked of a deleted binding.
    pub(crate) fn has_waited(&self, namespace: &str, name: &str, long: Duration) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.0.known.lock().waiting.entry(place).or_insert_with(Instant::now).elapsed() >= long
    }

    /// The deleted bindings in whose namespaces no Job is being created, by namespace and name.
    pub(crate) fn ready(&self) -> Vec<((String, String), Binding)> {
        let known = self.0.known.lock();
        let quiet = known.leaving.iter().filter(|(namespace, _)| !known.creating.contains_key(*namespace));
        let of = |namespace: &String, (name, binding): (&String, &Binding)| {
            ((namespace.clone(), name.clone()), binding.clone())
        };
        quiet.flat_map(|(namespace, all)| all.iter().map(move |one| of(namespace, one))).collect()
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        let mut known = self.bindings.0.known.lock();
        if let Some(count) = known.creating.get_mut(&self.namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                known.creating.remove(&self.namespace);
            }
        }
        drop(known);
        self.bindings.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookhost_cluster::resource::binding_resource;

    fn binding(name: &str, deleted: bool, finalizers: &[&str]) -> DynamicObject {
        let mut object = DynamicObject::new(name, &binding_resource()).within("org");
        object.metadata.finalizers = Some(finalizers.iter().map(|&finalizer| finalizer.to_owned()).collect());
        if deleted {
            object.data = serde_json::json!({});
            object.metadata.deletion_timestamp = serde_json::from_str("\"2026-05-28T10:00:00Z\"").unwrap();
        }
        object
    }

    fn ready(bindings: &Bindings) -> Vec<String> {
        bindings.ready().into_iter().map(|((_, name), _)| name).collect()
    }

    #[test]
    fn a_deleted_binding_stops_new_jobs_and_stays_until_those_being_created_are() {
        let bindings = Bindings::default();
        bindings.note(&binding("hookhost", false, &[RIGHTS]), For::Runs, false);
        let creating = bindings.begin("org").unwrap();
        assert!(bindings.note(&binding("hookhost", true, &["a/b", RIGHTS]), For::Runs, false), "news");
        assert!(!bindings.note(&binding("hookhost", true, &[RIGHTS]), For::Runs, false), "told once");
        assert_eq!(bindings.leaving("org").as_deref(), Some("hookhost"));
        assert!(bindings.begin("org").is_none() && bindings.begin("other").is_some());
        assert_eq!(ready(&bindings), [""; 0], "a Job is being created");
        drop(creating);
        assert_eq!(ready(&bindings), ["hookhost"]);
        bindings.note(&binding("hookhost", true, &["a/b"]), For::Runs, false);
        assert_eq!((ready(&bindings), bindings.leaving("org")), (vec![], None));
    }

    #[test]
    fn a_binding_that_was_created_again_is_not_the_one_that_was_deleted() {
        let bindings = Bindings::default();
        let with_uid = |uid: &str, deleted: bool| {
            let mut object = binding("hookhost", deleted, &[RIGHTS]);
            object.metadata.uid = Some(uid.to_owned());
            object
        };
        bindings.note(&with_uid("first", true), For::Runs, false);
        assert_eq!(bindings.ready()[0].1.uid, "first");
        // Somebody took the finalizer off by hand while the watch was broken.
        bindings.note(&with_uid("second", false), For::Runs, false);
        assert!(ready(&bindings).is_empty() && bindings.begin("org").is_some());
    }

    #[test]
    fn a_deleted_binding_for_temporary_objects_stops_no_run() {
        let bindings = Bindings::default();
        bindings.note(&binding("hookhost-closure", true, &[RIGHTS]), For::Closures, false);
        assert!(bindings.begin("org").is_some());
        assert_eq!(ready(&bindings), ["hookhost-closure"]);
    }

    #[test]
    fn the_bindings_of_a_namespace_that_is_deleted_do_not_wait_to_be_deleted_themselves() {
        let bindings = Bindings::default();
        bindings.note(&binding("hookhost", false, &[RIGHTS]), For::Runs, false);
        bindings.terminate("other");
        assert_eq!(ready(&bindings), [""; 0]);
        bindings.terminate("org");
        assert_eq!(ready(&bindings), ["hookhost"]);
        // The namespace may be known first.
        assert!(bindings.note(&binding("hookhost-by-hand", false, &[RIGHTS]), For::Runs, true));
        assert_eq!(ready(&bindings), ["hookhost", "hookhost-by-hand"]);
    }
}
