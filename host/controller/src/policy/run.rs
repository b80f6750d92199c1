//! *Running* keeps the set of policies what the cluster says that it is, and the statuses what is true of them.
//!
//! One task owns all of it: changes come in from a watch, from loads and writes that end, and from evaluations whose
//! going is news; what goes out is a new set, loads, and writes. Each HookPolicy has at most one load and one write under
//! way; what changes meanwhile is done after it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hookhost_core::keys::FIELD_MANAGER;
use hookhost_core::refusal::chain;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, CustomResourceExt, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Policies;
use super::library::Loaded;
use super::load::NotLoaded;
use super::problem::Problem;
use super::set::{Health, State};
use super::status;
use super::wanted::{Component, Wanted};
use crate::crd::HookPolicy;
use crate::metrics::Metrics;
use hookhost_cluster::client::{self, Call, Connection, Verb};
use hookhost_cluster::stream::Selection;
use hookhost_cluster::writer::Writer;

/// Modules that are read and compiled at once: each is a child process that fills a processor for up to a second, and may
/// take as much memory as all the rest together.
pub(crate) const LOADS: usize = 1;
/// The pause before a module that is missing or broken is read again; each further one is twice as long. Short, because
/// most often the ConfigMap is created right after the HookPolicy.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause: someone who has repaired a module waits no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Doublings after which every pause is the longest.
const MAX_DOUBLINGS: u32 = 8;
/// The least time between two writes of one status: a policy that fails for every other Operation must not write as often.
const WRITE_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause before a status is put back that somebody else keeps overwriting: another hookhost, with other rights
/// or another folder of policies, finds otherwise and is right too. Short enough for a status that was broken by hand.
const LONGEST_QUARREL: Duration = Duration::from_secs(3600);

/// The one task's state.
pub(super) struct Runner {
    policies: Arc<Policies>,
    connection: Connection,
    writer: Writer,
    metrics: Metrics,
    entries: BTreeMap<String, Entry>,
    tasks: JoinSet<Done>,
    turns: Arc<Semaphore>,
    /// Tells a load of a HookPolicy from one of another that had its name before.
    tickets: u64,
    /// The names seen while all HookPolicies are being listed.
    listing: HashSet<String>,
    is_listed: bool,
}

/// One HookPolicy.
struct Entry {
    wanted: Wanted,
    /// The status in the cluster.
    there: Value,
    state: State,
    health: Arc<Health>,
    /// The load under way.
    load: Option<Load>,
    /// When its module is to be read again.
    load_at: Option<Instant>,
    failed_loads: u32,
    /// A module that will not do until it changes, by its digest.
    unusable: Option<(String, Problem)>,
    /// Whether the status may have to be written.
    is_dirty: bool,
    is_writing: bool,
    /// Not before.
    write_at: Instant,
    failed_writes: u32,
    /// The status as it was last written here.
    written: Option<Value>,
    /// How often somebody else has written another since the policy changed.
    overwritten: u32,
}

/// A load under way.
struct Load {
    ticket: u64,
    /// Its result is not wanted any more.
    is_overtaken: bool,
}

/// What a task did.
enum Done {
    Loaded { name: String, ticket: u64, result: Result<Arc<Loaded>, NotLoaded> },
    Written { name: String, uid: String, result: Result<Value, client::Error> },
}

impl Runner {
    pub(super) fn new(
        policies: Arc<Policies>,
        connection: Connection,
        writer: Writer,
        metrics: Metrics,
    ) -> Runner {
        Runner {
            policies,
            connection,
            writer,
            metrics,
            entries: BTreeMap::new(),
            tasks: JoinSet::new(),
            turns: Arc::new(Semaphore::new(LOADS)),
            tickets: 0,
            listing: HashSet::new(),
            is_listed: false,
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        let read = |text: &str| {
            let mut policy: DynamicObject = serde_json::from_str(text).ok()?;
            policy.metadata.managed_fields = None;
            Some(policy)
        };
        let all = Selection::new(self.connection.streams.clone(), &resource(), None);
        let watch = all.stream(read).default_backoff();
        let mut watch = std::pin::pin!(watch);
        let mut is_broken = false;
        loop {
            self.start_what_is_due();
            let wake = self.next_wake();
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(event) = watch.next() => match event {
                    Ok(event) => {
                        if std::mem::take(&mut is_broken) {
                            tracing::info!("the watch of HookPolicies works again");
                        }
                        self.see(event);
                    }
                    // Said once; the watch is made again, with growing pauses.
                    Err(error) if !std::mem::replace(&mut is_broken, true) => {
                        tracing::warn!(error = explain(error), "HookPolicies cannot be watched; trying again");
                    }
                    Err(_) => {}
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Loaded { name, ticket, result }) => self.loaded(&name, ticket, result),
                    Ok(Done::Written { name, uid, result }) => self.written(&name, &uid, result),
                    Err(error) => tracing::error!(error = chain(&error), "a task for HookPolicies broke down"),
                },
                () = self.policies.news.notified() => self.entries.values_mut().for_each(|entry| entry.is_dirty = true),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    fn see(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(policy) => {
                self.listing.insert(policy.name_any());
                self.applied(&policy);
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let gone: Vec<String> =
                    self.entries.keys().filter(|name| !listing.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.deleted(name));
                self.is_listed = true;
                self.publish();
            }
            Event::Apply(policy) => self.applied(&policy),
            Event::Delete(policy) => self.deleted(&policy.name_any()),
        }
    }

    fn applied(&mut self, policy: &DynamicObject) {
        let name = policy.name_any();
        let (wanted, there) = (Wanted::read(policy), policy.data["status"].clone());
        match self.entries.get_mut(&name) {
            Some(entry) if entry.wanted.uid == wanted.uid => {
                entry.is_dirty = true;
                let is_overwritten = entry.written.as_ref().is_some_and(|written| *written != there);
                entry.there = there;
                if entry.wanted.generation == wanted.generation
                    && entry.wanted.annotations == wanted.annotations
                {
                    if is_overwritten {
                        entry.quarrel();
                    }
                    return;
                }
                entry.has_news();
                let is_same = entry.wanted.component == wanted.component;
                entry.wanted = wanted;
                if !is_same {
                    entry.begin();
                } else if entry.wanted.component.is_ok() {
                    // Asked to look again; what is loaded counts until then.
                    entry.load_at = Some(Instant::now());
                    entry.failed_loads = 0;
                }
            }
            _ => {
                self.entries.insert(name, Entry::new(wanted, there));
            }
        }
        self.publish();
    }

    fn deleted(&mut self, name: &str) {
        if self.entries.remove(name).is_some() {
            self.metrics.forget_policy(name);
            tracing::info!(policy = name, "a HookPolicy is gone");
            self.publish();
        }
    }

    fn loaded(&mut self, name: &str, ticket: u64, result: Result<Arc<Loaded>, NotLoaded>) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Some(load) = entry.load.take_if(|load| load.ticket == ticket) else { return };
        if load.is_overtaken {
            return;
        }
        entry.is_dirty = true;
        match result {
            Ok(loaded) => {
                (entry.failed_loads, entry.unusable) = (0, None);
                let digest = loaded.digest.as_str();
                if matches!(&entry.state, State::Ready(before) if before.digest == digest) {
                    return;
                }
                tracing::info!(
                    policy = name,
                    digest,
                    component = loaded.description.name,
                    "a policy is ready"
                );
                entry.health = Arc::default();
                entry.state = State::Ready(loaded);
                entry.has_news();
            }
            Err(NotLoaded { problem, is_transient, digest }) => {
                let again = Instant::now() + pause(&mut entry.failed_loads);
                entry.load_at = Some(again);
                if !is_transient {
                    entry.unusable = digest.map(|digest| (digest, problem.clone()));
                }
                match &entry.state {
                    State::NotReady(before) if *before == problem => return,
                    // That the API server is away says nothing about a policy that was good.
                    State::Ready(_) if is_transient => {
                        tracing::warn!(
                            policy = name,
                            reason = problem.reason.as_str(),
                            error = problem.message,
                            "a policy cannot be read again; it is used as it was"
                        );
                        return;
                    }
                    _ => {
                        tracing::warn!(
                            policy = name,
                            reason = problem.reason.as_str(),
                            error = problem.message,
                            "a policy is not ready"
                        );
                        entry.state = State::NotReady(problem);
                        entry.has_news();
                    }
                }
            }
        }
        self.publish();
    }

    fn written(&mut self, name: &str, uid: &str, result: Result<Value, client::Error>) {
        let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.wanted.uid == uid) else { return };
        entry.is_writing = false;
        entry.is_dirty = true;
        let pause = match result {
            Ok(there) => {
                entry.written = Some(there.clone());
                entry.there = there;
                entry.failed_writes = 0;
                WRITE_PAUSE
            }
            // Whoever leads writes the same. Asking again costs nothing: nothing is sent.
            Err(client::Error::NotLeader(_)) => WRITE_PAUSE,
            Err(error) => {
                let advice = error.advice();
                tracing::warn!(policy = name, error = chain(&error), advice, "a status cannot be written");
                pause(&mut entry.failed_writes)
            }
        };
        entry.write_at = entry.write_at.max(Instant::now() + pause);
    }

    /// Starts the loads and writes whose time has come.
    fn start_what_is_due(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.entries {
            if entry.load.is_none()
                && entry.load_at.is_some_and(|at| at <= now)
                && let Ok(component) = &entry.wanted.component
            {
                entry.load_at = None;
                self.tickets += 1;
                let (name, ticket) = (name.clone(), self.tickets);
                let load = load(
                    Arc::clone(&self.policies),
                    self.connection.requests.clone(),
                    Arc::clone(&self.turns),
                    component.clone(),
                    entry.unusable.clone(),
                );
                entry.load = Some(Load { ticket, is_overtaken: false });
                self.tasks.spawn(async move { Done::Loaded { name, ticket, result: load.await } });
            }
            if entry.is_dirty && !entry.is_writing && entry.write_at <= now {
                entry.is_dirty = false;
                let (last, generation) = (entry.health.last(), entry.wanted.generation);
                let patch = status::patch(&entry.there, &entry.state, &last, generation, Timestamp::now());
                if let Some(status) = patch {
                    entry.is_writing = true;
                    let (name, uid) = (name.clone(), entry.wanted.uid.clone());
                    let (client, writer) = (self.connection.requests.clone(), self.writer.clone());
                    self.tasks.spawn(async move {
                        let result = write(client, writer, &name, &uid, &status).await;
                        Done::Written { name, uid, result }
                    });
                }
            }
        }
    }

    /// When the next load or write is due.
    fn next_wake(&self) -> Option<Instant> {
        let loads =
            self.entries.values().filter(|entry| entry.load.is_none()).filter_map(|entry| entry.load_at);
        let writes = self.entries.values().filter(|entry| entry.is_dirty && !entry.is_writing);
        loads.chain(writes.map(|entry| entry.write_at)).min()
    }

    /// Makes what is known the set that decides.
    fn publish(&self) {
        if !self.is_listed {
            return;
        }
        let member = |(name, entry): (&String, &Entry)| {
            entry.wanted.member(name, entry.state.clone(), Arc::clone(&entry.health))
        };
        self.policies.publish(self.entries.iter().map(member).collect());
    }
}

impl Entry {
    fn new(wanted: Wanted, there: Value) -> Entry {
        let mut entry = Entry {
            wanted,
            there,
            state: State::Loading,
            health: Arc::default(),
            load: None,
            load_at: None,
            failed_loads: 0,
            unusable: None,
            is_dirty: true,
            is_writing: false,
            write_at: Instant::now(),
            failed_writes: 0,
            written: None,
            overwritten: 0,
        };
        entry.begin();
        entry
    }

    /// There is something new to say, quarrel or not.
    fn has_news(&mut self) {
        self.overwritten = 0;
        self.write_at = self.write_at.min(Instant::now() + WRITE_PAUSE);
    }

    /// Takes note that somebody else has overwritten the status; it is put back later and later.
    fn quarrel(&mut self) {
        self.written = None;
        let pause = WRITE_PAUSE.saturating_mul(1 << self.overwritten.min(16)).min(LONGEST_QUARREL);
        self.overwritten = self.overwritten.saturating_add(1);
        self.write_at = self.write_at.max(Instant::now() + pause);
    }

    /// Begins anew with what is wanted now.
    fn begin(&mut self) {
        if let Some(load) = &mut self.load {
            load.is_overtaken = true;
        }
        self.health = Arc::default();
        (self.failed_loads, self.unusable) = (0, None);
        (self.state, self.load_at) = match &self.wanted.component {
            Ok(_) => (State::Loading, Some(Instant::now())),
            Err(problem) => (State::NotReady(problem.clone()), None),
        };
    }
}

/// Reads a module and makes it ready to be asked, when it is its turn.
async fn load(
    policies: Arc<Policies>,
    client: kube::Client,
    turns: Arc<Semaphore>,
    component: Component,
    unusable: Option<(String, Problem)>,
) -> Result<Arc<Loaded>, NotLoaded> {
    // Never closed, so there is no error to meet.
    let _turn = turns.acquire().await;
    policies.load(&client, &component, unusable).await
}

/// Writes a status; gives back the one that is there then.
async fn write(
    client: kube::Client,
    writer: Writer,
    name: &str,
    uid: &str,
    status: &Value,
) -> Result<Value, client::Error> {
    let call = Call::new::<HookPolicy>(Verb::Patch, None, name).subresource("status");
    let api: Api<DynamicObject> = Api::all_with(client, &resource());
    // With the UID: a HookPolicy that was made anew is another one.
    let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let written = writer.send(&call, api.patch_status(name, &params, &patch)).await?;
    Ok(written.data["status"].clone())
}

fn resource() -> ApiResource {
    HookPolicy::api_resource()
}

/// The next pause, which grows.
fn pause(times: &mut u32) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(1 << *times).min(LONGEST_PAUSE);
    *times = (*times + 1).min(MAX_DOUBLINGS);
    pause
}

fn explain(error: watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            let call = Call::new::<HookPolicy>(Verb::Watch, None, "");
            let error = client::Error::explain(&call, error);
            format!("{}. {}", chain(&error), error.advice())
        }
        other => chain(&other),
    }
}
