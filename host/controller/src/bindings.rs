//! The *bindings* are the RoleBindings by which the chart gives hookhost its rights in a namespace.
//!
//! Each carries a finalizer, so that it outlives hookhost's Jobs there: a namespace's deletion, like an upgrade of the chart
//! that drops the namespace, deletes the RoleBinding first or at the same time, and without it nobody could take hookhost's
//! finalizer off a Job. As long as the RoleBinding is there it counts, also while it is being deleted.
//!
//! From the moment that one is deleted, nothing new is started in its namespace. Runs that are under way go on to their end;
//! where the namespace is being deleted they are given up at once, and the bindings need not wait to be deleted themselves. Once no
//! Job there has hookhost's finalizer that hookhost can prove to have made, it takes its finalizer off the RoleBinding, and never
//! writes anything else to it. Jobs that only say that hookhost made them keep no RoleBinding: see [`keeper`].

mod keeper;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use keeper::Keeper;
use kube::ResourceExt;
use kube::core::DynamicObject;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Finalizer on the RoleBindings that give hookhost its rights.
pub(crate) const RIGHTS: &str = "hookhost.vworkspace.io/rights";

/// Where hookhost has its rights, and where they are being taken away; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Bindings(Arc<Inner>);

#[derive(Default)]
struct Inner {
    known: Mutex<Known>,
    /// A binding was deleted, or a Job let go, since they were last looked at.
    changed: Notify,
}

#[derive(Default)]
struct Known {
    /// The bindings of each namespace that have hookhost's finalizer, and what each is for.
    held: HashMap<String, BTreeMap<String, For>>,
    /// Those of them that are deleted, or whose namespace is: they wait for hookhost.
    leaving: HashMap<String, BTreeMap<String, For>>,
    /// Since when those wait that nothing of hookhost's own keeps, by namespace and name.
    waiting: HashMap<(String, String), Instant>,
    /// Jobs that are being created in a namespace.
    creating: HashMap<String, usize>,
}

impl Known {
    /// The deleted RoleBinding of a namespace by which runs have their rights.
    fn leaving(&self, namespace: &str) -> Option<&String> {
        let mut leaving = self.leaving.get(namespace)?.iter();
        leaving.find(|(_, what)| **what == For::Runs).map(|(name, _)| name)
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

/// A Job is being created: the rights for it stay.
pub(crate) struct Creating {
    bindings: Bindings,
    namespace: String,
}

impl Bindings {
    /// Keeps the rights in a namespace for a Job that is about to be created; none where they are being taken away.
    pub(crate) fn begin(&self, namespace: &str) -> Option<Creating> {
        // Under one lock: a deletion that is noted in between would take the rights away beneath the Job.
        let mut known = self.known();
        if known.leaving(namespace).is_some() {
            return None;
        }
        *known.creating.entry(namespace.to_owned()).or_default() += 1;
        Some(Creating { bindings: self.clone(), namespace: namespace.to_owned() })
    }

    /// A deleted RoleBinding of a namespace, by which hookhost is about to lose its rights there.
    pub(crate) fn leaving(&self, namespace: &str) -> Option<String> {
        self.known().leaving(namespace).cloned()
    }

    /// Something changed that the deleted bindings may wait for.
    pub(crate) fn look_again(&self) {
        if !self.known().leaving.is_empty() {
            self.0.changed.notify_one();
        }
    }

    /// The namespace is being deleted, and what is in it soon will be: its bindings need not wait for that.
    pub(crate) fn terminate(&self, namespace: &str) {
        let mut known = self.known();
        let Some(held) = known.held.get(namespace).cloned() else { return };
        known.leaving.entry(namespace.to_owned()).or_default().extend(held);
        self.0.changed.notify_one();
    }

    /// Takes note of a RoleBinding. Whether it is news that it is on its way out; it is, too, where its namespace is.
    fn note(&self, binding: &DynamicObject, what: For, is_terminating: bool) -> bool {
        let (namespace, name) = (binding.namespace().unwrap_or_default(), binding.name_any());
        if !binding.finalizers().iter().any(|finalizer| finalizer == RIGHTS) {
            self.forget(&namespace, &name);
            return false;
        }
        let mut known = self.known();
        known.held.entry(namespace.clone()).or_default().insert(name.clone(), what);
        if binding.metadata.deletion_timestamp.is_none() && !is_terminating {
            return false;
        }
        self.0.changed.notify_one();
        known.leaving.entry(namespace).or_default().insert(name, what).is_none()
    }

    fn forget(&self, namespace: &str, name: &str) {
        let mut known = self.known();
        let Known { held, leaving, waiting, .. } = &mut *known;
        waiting.remove(&(namespace.to_owned(), name.to_owned()));
        for bindings in [held, leaving] {
            if let Some(names) = bindings.get_mut(namespace) {
                names.remove(name);
                if names.is_empty() {
                    bindings.remove(namespace);
                }
            }
        }
    }

    /// Whether so much time has passed since this was first asked of a deleted binding.
    fn has_waited(&self, namespace: &str, name: &str, long: Duration) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.known().waiting.entry(place).or_insert_with(Instant::now).elapsed() >= long
    }

    /// Namespace, name and purpose of the deleted bindings in whose namespaces no Job is being created.
    fn ready(&self) -> Vec<(String, String, For)> {
        let known = self.known();
        let quiet = known.leaving.iter().filter(|(namespace, _)| !known.creating.contains_key(*namespace));
        let of = |namespace: &String, (name, what): (&String, &For)| (namespace.clone(), name.clone(), *what);
        quiet.flat_map(|(namespace, all)| all.iter().map(move |one| of(namespace, one))).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Creating {
    fn drop(&mut self) {
        let mut known = self.bindings.known();
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
    use crate::watch::binding_resource;

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
        bindings.ready().into_iter().map(|(_, name, _)| name).collect()
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
