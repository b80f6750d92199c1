//! The *keeper* watches the bindings and takes hookhost's finalizer off those that are deleted, each once nothing needs it any more.
//!
//! Several are looked at at once, and one that does not come to an end keeps no other waiting.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use kube::core::DynamicObject;
use tokio::time::{Duration, Instant, sleep_until};

use crate::backoff::Backoff;
use crate::bindings::{Binding, Bindings, For};
use crate::claim_key::Keyring;
use crate::lists::{Listed, Lists};
use crate::orphans::Orphans;
use crate::watch::{Jobs, Namespaces, Seen, follow, place_and_finalizers};
use hookhost_cluster::client;
use hookhost_cluster::error::{Error, Result, chain};
use hookhost_cluster::read::Reader;
use hookhost_cluster::resource::binding_resource;
use hookhost_cluster::stream::Selection;
use hookhost_cluster::write::{Writes, is_conflict};

/// Bindings that are looked at at once. Each costs some requests.
const AT_ONCE: usize = 8;

/// How long a binding stays for Jobs that only say that hookhost made them: it takes its finalizer off those of which nobody can be
/// told, and needs its rights for that.
const FOR_OTHERS: Duration = Duration::from_secs(10);

/// How often such a binding is looked at meanwhile.
const SOON: Duration = Duration::from_secs(1);

/// Namespace and name of a binding.
type Place = (String, String);

/// Keeps the bindings.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) bindings: Bindings,
    pub(crate) jobs: Jobs,
    pub(crate) namespaces: Namespaces,
    pub(crate) reader: Reader,
    pub(crate) lists: Lists,
    pub(crate) writes: Writes,
    /// By which it recognises the Jobs that hookhost made.
    pub(crate) keyring: Keyring,
    pub(crate) orphans: Orphans,
}

/// What there is still to do for which a binding may be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Nothing,
    /// hookhost's finalizer is on Jobs that only say that hookhost made them.
    Others,
    /// A run, or what was made for it, is not over.
    Runs,
}

/// What comes after a binding was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// It is not hookhost's business any more, or whoever leads does it.
    Nothing,
    /// Something has to change first.
    Wait,
    /// It is looked at again in a moment.
    Again,
}

/// How it stands with a deleted binding.
enum Course {
    /// It is being looked at; whether something has changed since.
    InHand { is_stale: bool },
    /// Something has to change first.
    Waits,
    /// It is looked at again then.
    Until(Instant),
}

impl Keeper {
    /// Watches the RoleBindings of these names, in all namespaces, for ever.
    pub(crate) async fn watch(self, client: kube::Client, names: Vec<(String, For)>) {
        let watches = names.iter().map(|(name, what)| {
            let named = Selection::new(client.clone(), &binding_resource(), None);
            let named = named.fields(&format!("metadata.name={name}"));
            follow(named, "role bindings", "", place_and_finalizers, |seen| self.handle(*what, seen))
        });
        futures::future::join_all(watches).await;
        // Without names there is nothing to watch.
        std::future::pending::<()>().await;
    }

    fn handle(&self, what: For, seen: Seen<DynamicObject>) {
        match seen {
            Seen::Applied(binding) => {
                let namespace = binding.namespace().unwrap_or_default();
                let is_terminating = self.namespaces.is_terminating(&namespace);
                if self.bindings.note(&binding, what, is_terminating) && what == For::Runs {
                    let binding = binding.name_any();
                    let runs = self.jobs.held(&namespace, self.keyring.keys().as_deref());
                    tracing::warn!(
                        namespace,
                        binding,
                        runs,
                        "hookhost's rights in a namespace are being taken away: it starts nothing new there"
                    );
                    self.jobs.wake(&namespace);
                }
            }
            Seen::Deleted(binding) => {
                let (namespace, name) = (binding.namespace().unwrap_or_default(), binding.name_any());
                self.bindings.forget(&namespace, &name);
                // Somebody may have taken the finalizer off: what cannot be done any more is to be told.
                self.jobs.wake(&namespace);
            }
            Seen::Listing | Seen::Listed | Seen::Broken { .. } => {}
        }
    }

    /// Takes the finalizer off the deleted bindings, each once nothing needs it any more, for ever.
    pub(crate) async fn run(self) {
        let pauses = Backoff::default();
        let mut courses: HashMap<Place, Course> = HashMap::new();
        let mut looks: FuturesUnordered<BoxFuture<'_, (Place, Result<Next>)>> = FuturesUnordered::new();
        loop {
            let ready: HashMap<Place, Binding> = self.bindings.ready().into_iter().collect();
            courses
                .retain(|place, course| matches!(course, Course::InHand { .. }) || ready.contains_key(place));
            let now = Instant::now();
            for (place, binding) in ready {
                let is_due = match courses.get(&place) {
                    None => true,
                    Some(Course::Until(at)) => *at <= now,
                    Some(Course::InHand { .. } | Course::Waits) => false,
                };
                if is_due && looks.len() < AT_ONCE {
                    courses.insert(place.clone(), Course::InHand { is_stale: false });
                    looks.push(self.look_at(place, binding).boxed());
                }
            }
            let next = courses.values().filter_map(|course| match course {
                Course::Until(at) => Some(*at),
                Course::InHand { .. } | Course::Waits => None,
            });
            let due = next.min().filter(|_| looks.len() < AT_ONCE);
            let due = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.bindings.changed() => {
                    for course in courses.values_mut() {
                        if let Course::InHand { is_stale } = course {
                            *is_stale = true;
                        }
                    }
                    courses.retain(|_, course| !matches!(course, Course::Waits));
                }
                Some((place, result)) = looks.next(), if !looks.is_empty() => {
                    let is_stale = matches!(courses.remove(&place), Some(Course::InHand { is_stale: true }));
                    let course = self.course(&place, result, is_stale, &pauses);
                    courses.extend(course.map(|course| (place, course)));
                }
                () = due => {}
            }
        }
    }

    /// What follows from a look.
    fn course(
        &self,
        place: &Place,
        result: Result<Next>,
        is_stale: bool,
        pauses: &Backoff,
    ) -> Option<Course> {
        let (namespace, binding) = place;
        let key = format!("{namespace}/{binding}");
        let pause = match result {
            Ok(next) => {
                pauses.forget(&key);
                match next {
                    Next::Wait | Next::Nothing if is_stale => return None,
                    Next::Wait | Next::Nothing => return Some(Course::Waits),
                    Next::Again => SOON,
                }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    namespace,
                    binding,
                    error,
                    "cannot take hookhost's finalizer off a deleted RoleBinding, which keeps it and its namespace from being deleted; \
                     trying again. By hand: kubectl patch rolebinding --type=merge --patch='{{\"metadata\":{{\"finalizers\":null}}}}'"
                );
                pauses.next(&key)
            }
        };
        Some(Course::Until(Instant::now() + pause))
    }

    async fn look_at(&self, place: Place, binding: Binding) -> (Place, Result<Next>) {
        let result = self.look(&place.0, &place.1, binding).await;
        (place, result)
    }

    async fn look(&self, namespace: &str, name: &str, binding: Binding) -> Result<Next> {
        if !self.writes.is_allowed() {
            // Whoever leads does it. Looked at again when this process does.
            return Ok(Next::Nothing);
        }
        // A namespace that is not managed any more is not watched.
        if !self.namespaces.is_terminating(namespace) && self.is_terminating(namespace).await? {
            self.namespaces.note_terminating(namespace);
            self.jobs.wake(namespace);
        }
        match self.need(namespace, binding.what).await? {
            Need::Runs => return Ok(Next::Wait),
            Need::Others if !self.bindings.has_waited(namespace, name, FOR_OTHERS) => return Ok(Next::Again),
            Need::Others | Need::Nothing => {}
        }
        match self.writes.release_binding(namespace, name, &binding.uid).await {
            Ok(()) => {}
            // Another one of that name by now, or it changes all the time: its watch tells.
            Err(error) if is_conflict(&error) => return Ok(Next::Again),
            Err(error) => return Err(error),
        }
        self.bindings.forget(namespace, name);
        tracing::info!(namespace, binding = name, "took hookhost's finalizer off a deleted RoleBinding");
        Ok(Next::Nothing)
    }

    /// What hookhost still has to do for which it may need a binding. Only what it can prove to be its own keeps one; as long as it
    /// has no key that is everything.
    async fn need(&self, namespace: &str, what: For) -> Result<Need> {
        let keys = self.keyring.keys();
        if what == For::Runs && self.jobs.held(namespace, keys.as_deref()) > 0 {
            self.jobs.follow_to_the_end(namespace);
            return Ok(Need::Runs);
        }
        // The watch may be behind, and does not tell of namespaces that are not managed.
        let owed = match self.lists.owed(namespace).await {
            Ok(owed) => owed,
            // It gives no rights any more.
            Err(client::Error::Forbidden { .. } | client::Error::NotFound { .. }) => {
                return Ok(Need::Nothing);
            }
            Err(error) => return Err(Error::Api(error)),
        };
        let is_own = |job: &Listed| keys.as_ref().is_none_or(|keys| job.is_genuine(keys));
        let (own, others): (Vec<_>, Vec<_>) = owed.into_iter().partition(is_own);
        if own.iter().any(|job| what == For::Runs || job.borrows) {
            self.jobs.follow_to_the_end(namespace);
            return Ok(Need::Runs);
        }
        let mut others = others.iter().filter(|job| job.is_held).peekable();
        if what != For::Runs || others.peek().is_none() {
            return Ok(Need::Nothing);
        }
        for job in others {
            self.orphans.suspect(namespace, &job.name);
        }
        Ok(Need::Others)
    }

    async fn is_terminating(&self, namespace: &str) -> Result<bool> {
        let metadata = self.reader.namespace(namespace).await?;
        Ok(metadata.is_none_or(|metadata| metadata.deletion_timestamp.is_some()))
    }
}
