//! What is *known* of Jobs, and what the rest of hookhost asks of it.
//!
//! Whoever may create Jobs in a namespace may create any number, each with hookhost's labels and annotations. So of each namespace
//! a bounded number is known, of two sorts that take no room from each other: those that hookhost has made, proven by their
//! claims; and those that only say so, of which no more is kept than where they are, what they claim, and whether they have
//! hookhost's finalizer. As long as the key of claims is not known, all are of the second sort.
//!
//! Of what is proven the whole is kept as far as there is room, in its namespace and in all; what is in brief is read from the
//! API server when it is needed. So is one that is not known at all: its name follows from its Operation.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use hookhost_core::Reason;
use hookhost_core::claim::Keys;
use hookhost_core::loan::Queues;
use hookhost_core::object::ObjectRef;

use crate::watch::Pods;
use hookhost_cluster::job::HookOfRelease;
use hookhost_cluster::job::Job;
use hookhost_cluster::job::TEXT_BYTES;

/// Jobs that are remembered to be gone: far more than requests are under way at once, also where others delete Jobs all the time.
const MAX_GONE: usize = 1024;

/// Jobs of a namespace that hookhost has made and that are known at once: as many as there may be Operations that are not
/// finished.
pub(super) const PROVEN: usize = 5000;

/// Jobs of a namespace that say that hookhost has made them and that are known at once.
pub(super) const UNPROVEN: usize = 500;

/// The same of all namespaces.
pub(crate) const UNPROVEN_EVERYWHERE: usize = 4096;

/// Bytes of what is kept of the Jobs of a namespace besides what is kept in brief: a thousand of the usual size.
const NAMESPACE_BYTES: usize = 4 << 20;

/// The same of all namespaces.
pub(crate) const JOBS_BYTES: usize = 16 << 20;

/// Namespace and name of a Job.
type Place = (String, String);

/// All that is known.
pub(super) struct Known {
    /// Told of each Job as it comes, is over and goes.
    pods: Pods,
    jobs: BTreeMap<Place, Entry>,
    /// Where the Jobs are that are for an Operation, by its UID.
    by_operation: HashMap<String, BTreeSet<Place>>,
    /// What the Jobs of each namespace take.
    rooms: HashMap<String, Room>,
    /// All of it.
    all: Room,
    /// Namespaces that have more Jobs than are known.
    full: HashSet<String>,
    /// How often the Jobs of a namespace were listed.
    listings: HashMap<String, u64>,
    /// The namespaces that are followed, and which watch of each is the current one.
    pub(super) followed: HashMap<String, u64>,
    /// Those of them whose Jobs are known.
    pub(super) listed: HashSet<String>,
    /// Those that are followed only until no Job in them has hookhost's finalizer any more: they are not managed any more.
    pub(super) left: HashSet<String>,
    /// Whether namespaces that are not managed have been searched for such Jobs.
    pub(super) is_searched: bool,
    /// UIDs of the Jobs that their watch has dropped last, and the version at which it did.
    gone: VecDeque<(String, u64)>,
    /// Names of the Jobs that run a hook.
    at_work: HashMap<HookOfRelease, BTreeSet<String>>,
    /// UIDs of the Operations that wait for a hook to be free.
    wanted: HashMap<HookOfRelease, HashSet<String>>,
    /// The Operations that wait for temporary objects of other runs.
    pub(super) queues: Queues,
    /// Why the Jobs of a namespace are not known, in one word and in more.
    pub(super) broken: HashMap<String, (Reason, String)>,
    /// Temporary objects that Jobs had which were let go, or are gone, since waiting Operations were last woken for it.
    removed: Vec<ObjectRef>,
    /// Whether there are others of which nothing more is known: their Jobs were kept in brief.
    is_more_removed: bool,
}

/// A Job that is known.
struct Entry {
    job: Arc<Job>,
    is_proven: bool,
    /// In which listing of its namespace it was seen last.
    listing: u64,
    /// The version of the newest event or answer about it; the Job's own, or that at which its watch dropped it.
    version: u64,
}

/// How many Jobs there are, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Room {
    proven: usize,
    unproven: usize,
    bytes: usize,
}

impl Room {
    fn count(&mut self, is_proven: bool) -> &mut usize {
        if is_proven { &mut self.proven } else { &mut self.unproven }
    }
}

/// What has told of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Its watch.
    Watch,
    /// The answer to a read or write, which its deletion may have overtaken.
    Answer,
    /// Nobody: other keys prove, or do not prove, that it is hookhost's.
    Keys,
}

impl Known {
    pub(super) fn new(pods: Pods) -> Known {
        Known {
            pods,
            jobs: BTreeMap::new(),
            by_operation: HashMap::new(),
            rooms: HashMap::new(),
            all: Room::default(),
            full: HashSet::new(),
            listings: HashMap::new(),
            followed: HashMap::new(),
            listed: HashSet::new(),
            left: HashSet::new(),
            is_searched: false,
            gone: VecDeque::new(),
            at_work: HashMap::new(),
            wanted: HashMap::new(),
            queues: Queues::default(),
            broken: HashMap::new(),
            removed: Vec::new(),
            is_more_removed: false,
        }
    }

    /// Keeps the newer of two forms of one Job, as far as there is room; gives back the newer. A Job that is gone does not come
    /// back by an answer that its deletion has overtaken.
    pub(super) fn insert(&mut self, mut job: Job, told: Told, keys: Option<&Keys>) -> Arc<Job> {
        let place = (job.namespace.clone(), job.name.clone());
        // An answer may be older than the list that is being read.
        let listed = (told == Told::Watch).then(|| self.listing(&job.namespace));
        let listing = listed.or_else(|| Some(self.jobs.get(&place)?.listing)).unwrap_or_default();
        let version = self.jobs.get(&place).map_or(job.version, |entry| entry.version.max(job.version));
        if let Some(entry) = self.jobs.get_mut(&place)
            && entry.version > job.version
            && told != Told::Keys
        {
            entry.listing = listing;
            let is_usable = entry.job.uid == job.uid && entry.job.is_whole();
            return if is_usable { entry.job.clone() } else { Arc::new(job) };
        }
        if let Some(at) = self.gone.iter().find(|(uid, _)| *uid == job.uid).map(|(_, at)| *at) {
            // An answer from before its watch dropped it. A newer one is from a Job that is there: a label was taken off it.
            if told == Told::Answer && (job.version < at || (job.version == at && job.is_watched)) {
                return Arc::new(job);
            }
            self.gone.retain(|(uid, _)| *uid != job.uid);
        }
        let is_proven = keys.is_some_and(|keys| job.is_genuine(keys));
        let may_be_ours = is_proven || (keys.is_none() && job.has_claim());
        let removed = (self.removed.len(), self.is_more_removed);
        match self.take(&place) {
            // One that may start now is as good as new.
            Some(before) if before.uid == job.uid && before.is_suspended == job.is_suspended => {
                job.known_since = before.known_since;
            }
            Some(before) if before.uid == job.uid => {}
            Some(before) => self.pods.release(&before.namespace, &before.uid),
            None => {}
        }
        if job.is_lent() {
            // What it was before has just been taken away.
            self.removed.truncate(removed.0);
            self.is_more_removed = removed.1;
        }
        let job = Arc::new(job);
        let is_kept = !job.is_done() && self.has_room(&job.namespace, is_proven);
        if is_kept && may_be_ours && job.needs_pods() {
            self.pods.follow(&job.namespace, &job.uid, &job.operation);
        } else {
            self.pods.release(&job.namespace, &job.uid);
        }
        if is_kept {
            let is_whole = may_be_ours && self.has_bytes(&job);
            let kept = if is_whole { job.clone() } else { Arc::new(job.in_brief()) };
            self.put(place, Entry { job: kept, is_proven, listing, version });
        }
        job
    }

    /// Whether one more Job can be known; if not, it is noted that the namespace has more.
    fn has_room(&mut self, namespace: &str, is_proven: bool) -> bool {
        let room = self.rooms.get(namespace).copied().unwrap_or_default();
        let has_room = match is_proven {
            true => room.proven < PROVEN,
            false => room.unproven < UNPROVEN && self.all.unproven < UNPROVEN_EVERYWHERE,
        };
        if !has_room && self.full.insert(namespace.to_owned()) {
            tracing::warn!(
                namespace,
                proven = room.proven,
                unproven = room.unproven,
                "a namespace has more Jobs that say they are hookhost's than are known at once; the others are found by name"
            );
        }
        has_room
    }

    fn has_bytes(&self, job: &Job) -> bool {
        let (bytes, room) = (job.bytes(), self.rooms.get(&job.namespace).copied().unwrap_or_default());
        bytes <= TEXT_BYTES && room.bytes + bytes <= NAMESPACE_BYTES && self.all.bytes + bytes <= JOBS_BYTES
    }

    fn put(&mut self, place: Place, entry: Entry) {
        let Entry { job, is_proven, .. } = &entry;
        for room in [self.rooms.entry(job.namespace.clone()).or_default(), &mut self.all] {
            *room.count(*is_proven) += 1;
            room.bytes += job.bytes();
        }
        if let Some(work) = &job.work {
            self.at_work.entry(work.clone()).or_default().insert(job.name.clone());
        }
        self.by_operation.entry(job.operation.clone()).or_default().insert(place.clone());
        self.jobs.insert(place, entry);
    }

    fn take(&mut self, place: &Place) -> Option<Arc<Job>> {
        let Entry { job, is_proven, .. } = self.jobs.remove(place)?;
        let bytes = job.bytes();
        let room = self.rooms.get_mut(&job.namespace);
        for room in room.into_iter().chain([&mut self.all]) {
            *room.count(is_proven) -= 1;
            room.bytes -= bytes;
        }
        if self.rooms.get(&job.namespace) == Some(&Room::default()) {
            self.rooms.remove(&job.namespace);
        }
        match job.borrowed() {
            Some(borrowed) if job.is_lent() => self.removed.extend(borrowed.objects.clone()),
            // What anybody can make wakes nobody.
            None if job.is_lent() && is_proven => self.is_more_removed = true,
            _ => {}
        }
        if let Some(work) = &job.work
            && let Some(names) = self.at_work.get_mut(work)
        {
            names.remove(&job.name);
            if names.is_empty() {
                self.at_work.remove(work);
            }
        }
        if let Some(places) = self.by_operation.get_mut(&job.operation) {
            places.remove(place);
            if places.is_empty() {
                self.by_operation.remove(&job.operation);
            }
        }
        Some(job)
    }

    /// Tells anew of each Job whether hookhost has made it, by these keys. Gives back the namespaces that have more than were
    /// known: hookhost's own may be among the others.
    pub(super) fn sort(&mut self, keys: &Keys) -> Vec<String> {
        let all: Vec<(Arc<Job>, bool)> =
            self.jobs.values().map(|entry| (entry.job.clone(), entry.is_proven)).collect();
        for (job, was_proven) in all {
            if !was_proven || !job.is_genuine(keys) {
                self.insert(Job::clone(&job), Told::Keys, Some(keys));
            }
        }
        self.full.drain().collect()
    }

    /// The namespaces that had more Jobs than were known, and have room for some of them now.
    pub(super) fn refillable(&mut self) -> Vec<String> {
        let Known { full, rooms, all, .. } = self;
        // Half of all, so that a namespace at its bound is not listed for each Job that goes.
        let has_room = |namespace: &String| {
            let room = rooms.get(namespace).copied().unwrap_or_default();
            room.proven < PROVEN / 2 && room.unproven < UNPROVEN / 2 && all.unproven < UNPROVEN_EVERYWHERE / 2
        };
        full.extract_if(has_room).collect()
    }

    pub(super) fn are_all_known(&self) -> bool {
        self.is_searched
            && self.followed.keys().all(|one| self.listed.contains(one) || self.broken.contains_key(one))
    }

    /// The watch of a Job has dropped it, at this version; gives back what is known of it. It is gone for good, and another may have
    /// its name by now; or somebody took a label off it.
    pub(super) fn forget(
        &mut self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: u64,
    ) -> Option<Arc<Job>> {
        let place = (namespace.to_owned(), name.to_owned());
        let known = self.jobs.get_mut(&place).filter(|entry| entry.job.uid == uid);
        if let Some(entry) = &known
            && entry.version > version
        {
            // Its labels have been put back since, of which the watch is about to tell.
            return None;
        }
        if let Some(entry) = known
            && entry.job.is_held()
            && !entry.job.is_deleted()
        {
            // What has hookhost's finalizer is not gone before it was deleted.
            entry.job = Arc::new(entry.job.unwatched());
            entry.version = version;
            return Some(entry.job.clone());
        }
        // Also one that is not known: the answer to its creation may be on its way.
        if self.gone.len() == MAX_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back((uid.to_owned(), version));
        self.remove(namespace, name, uid)
    }

    /// Removes the Job of this UID; gives it back.
    pub(super) fn remove(&mut self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Job>> {
        let place = (namespace.to_owned(), name.to_owned());
        self.jobs.get(&place).filter(|entry| entry.job.uid == uid)?;
        let job = self.take(&place)?;
        self.pods.release(namespace, &job.uid);
        Some(job)
    }

    /// What is known of the Job of this name.
    pub(super) fn at(&self, namespace: &str, name: &str) -> Option<Arc<Job>> {
        self.jobs.get(&(namespace.to_owned(), name.to_owned())).map(|entry| entry.job.clone())
    }

    fn listing(&self, namespace: &str) -> u64 {
        self.listings.get(namespace).copied().unwrap_or_default()
    }

    /// All Jobs of the namespace will be told now.
    pub(super) fn begin_listing(&mut self, namespace: &str) {
        *self.listings.entry(namespace.to_owned()).or_default() += 1;
    }

    /// All Jobs of the namespace have been listed. Of the others those with hookhost's finalizer may have lost a label, and are read
    /// by name when their Operation is reconciled; the rest is gone. Gives back all that were not listed.
    pub(super) fn end_listing(&mut self, namespace: &str) -> Vec<Arc<Job>> {
        let listing = self.listing(namespace);
        let unlisted = self.entries(namespace).filter(|entry| entry.listing != listing);
        let unlisted: Vec<Arc<Job>> = unlisted.map(|entry| entry.job.clone()).collect();
        for job in &unlisted {
            if !job.is_held() {
                self.remove(namespace, &job.name, &job.uid);
            } else if let Some(entry) = self.jobs.get_mut(&(namespace.to_owned(), job.name.clone())) {
                entry.job = Arc::new(job.unwatched());
            }
        }
        unlisted
    }

    /// Forgets a namespace.
    pub(super) fn forget_namespace(&mut self, namespace: &str) {
        self.followed.remove(namespace);
        for all in [&mut self.listed, &mut self.left, &mut self.full] {
            all.remove(namespace);
        }
        self.broken.remove(namespace);
        self.listings.remove(namespace);
        let jobs: Vec<Arc<Job>> = self.entries(namespace).map(|entry| entry.job.clone()).collect();
        for job in jobs {
            self.remove(namespace, &job.name, &job.uid);
        }
    }

    fn entries<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = &'k Entry> {
        let from = (namespace.to_owned(), String::new());
        let here = self.jobs.range(from..).take_while(move |((of, _), _)| of == namespace);
        here.map(|(_, entry)| entry)
    }

    /// The Jobs of a namespace for which hookhost has still something to do: they have its finalizer, or what was made for them.
    pub(super) fn held<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = Arc<Job>> + 'k {
        self.entries(namespace).map(|entry| entry.job.clone()).filter(|job| job.is_indebted())
    }

    /// The Jobs for an Operation, in the order of their names.
    pub(super) fn of(&self, operation_uid: &str) -> Vec<Arc<Job>> {
        let places = self.by_operation.get(operation_uid).into_iter().flatten();
        places.filter_map(|place| Some(self.jobs.get(place)?.job.clone())).collect()
    }

    /// The UIDs of the Operations that have Jobs, and where these are.
    pub(super) fn operations(&self) -> impl Iterator<Item = (&String, &BTreeSet<Place>)> {
        self.by_operation.iter()
    }

    /// The name of a Job, not of this Operation, that runs the hook. The Operation is noted to want the hook then.
    pub(super) fn at_work(&mut self, hook: &HookOfRelease, operation_uid: &str) -> Option<String> {
        let is_others = |name: &&String| {
            let entry = self.jobs.get(&(hook[0].clone(), (*name).clone()));
            entry.is_some_and(|entry| entry.job.operation != operation_uid)
        };
        let name = self.at_work.get(hook)?.iter().find(is_others)?.clone();
        self.wanted.entry(hook.clone()).or_default().insert(operation_uid.to_owned());
        Some(name)
    }

    /// The Operation wants no hook any more.
    pub(super) fn unwant(&mut self, operation_uid: &str) {
        self.wanted.retain(|_, uids| {
            uids.remove(operation_uid);
            !uids.is_empty()
        });
    }

    /// The UIDs of the Operations that have waited for a hook that nobody runs any more; and of the first of those that wait for
    /// a temporary object that was removed.
    pub(super) fn take_free(&mut self) -> HashSet<String> {
        let Known { wanted, queues, at_work, removed, is_more_removed, .. } = self;
        let free = wanted.extract_if(|hook, _| !at_work.contains_key(hook));
        let mut concerned: HashSet<String> = free.flat_map(|(_, uids)| uids).collect();
        if std::mem::take(is_more_removed) {
            removed.clear();
            concerned.extend(queues.all_first().map(str::to_owned));
        }
        concerned.extend(removed.drain(..).filter_map(|object| queues.first(&object).map(str::to_owned)));
        concerned
    }
}
