//! What is *watched* of a run in the cluster: the Operation, its pods, their logs; and what the person does meanwhile. All of
//! it comes as [`Seen`].

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufRead, StreamExt};
use hookhost_cluster::client::{self, Call, Connection, Error, Verb};
use hookhost_core::Reason;
use hookhost_core::keys::OPERATION;
use hookhost_core::refusal::chain;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::LogParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::watcher::{self, Event, watch_object, watcher};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::follow::{Seen, Source};
use super::{Made, lines};
use crate::cluster;
use crate::problem::Problem;

/// Things seen that wait to be handled. A watch that is faster than that waits.
const WAITING: usize = 64;

/// Log lines that wait to be shown. A hook that writes faster than a terminal shows waits in the cluster.
const WAITING_LINES: usize = 256;

/// The longest pause before a lost connection is tried again: somebody is waiting.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// What is watched of a run.
pub(super) struct Watches {
    connection: Connection,
    made: Made,
    states: mpsc::Sender<Result<Seen, Problem>>,
    lines: mpsc::Sender<Seen>,
    /// When the last line of each log that was shown was written.
    shown: Arc<Mutex<BTreeMap<Source, Timestamp>>>,
    /// Ends with this.
    tasks: JoinSet<()>,
}

/// What comes of it. Lines come by a way of their own, so that they can be left waiting.
pub(super) struct Incoming {
    pub(super) states: mpsc::Receiver<Result<Seen, Problem>>,
    pub(super) lines: mpsc::Receiver<Seen>,
}

/// Operations, as the API has them.
pub(super) fn operations() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("ops.vworkspace.io", "v1alpha1", "Operation"),
        "operations",
    )
}

impl Watches {
    /// Begins to watch the Operation.
    pub(super) fn begin(connection: Connection, made: Made) -> (Watches, Incoming) {
        let (states, states_in) = mpsc::channel(WAITING);
        let (lines, lines_in) = mpsc::channel(WAITING_LINES);
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_operation(connection.clone(), made.clone(), states.clone()));
        let shown = Arc::default();
        let watches = Watches { connection, made, states, lines, shown, tasks };
        (watches, Incoming { states: states_in, lines: lines_in })
    }

    /// Begins to watch the run's pods.
    pub(super) fn pods(&mut self, namespace: String) {
        let label = format!("{OPERATION}={}", self.made.uid);
        self.tasks.spawn(watch_pods(self.connection.clone(), namespace, label, self.states.clone()));
    }

    /// Begins to read the log of a container, behind what was shown of it.
    pub(super) fn log(&mut self, source: Source) {
        let log = Log {
            connection: self.connection.clone(),
            source,
            shown: self.shown.clone(),
            lines: self.lines.clone(),
        };
        self.tasks.spawn(log.read());
    }

    /// Waits for an answer on stdin; what is no yes is a no.
    pub(super) fn answer(&mut self) {
        let states = self.states.clone();
        self.tasks.spawn_blocking(move || {
            let mut typed = String::new();
            // A terminal that is gone says nothing.
            let _ = std::io::stdin().read_line(&mut typed);
            let yes = matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes");
            let _ = states.blocking_send(Ok(Seen::Answered(yes)));
        });
    }

    /// Writes the wish to cancel.
    pub(super) fn cancel(&mut self) {
        let (connection, made, states) = (self.connection.clone(), self.made.clone(), self.states.clone());
        self.tasks.spawn(async move {
            if let Err(error) = super::cancel(&connection, &made).await {
                let _ = states
                    .send(Ok(Seen::NotCancelled(format!("{}. {}", chain(&error), error.advice()))))
                    .await;
            }
        });
    }

    /// Hands on every Ctrl-C.
    pub(super) fn interrupts(&mut self) {
        let states = self.states.clone();
        self.tasks.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if states.send(Ok(Seen::Interrupted)).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Pauses after errors: half a second, and twice as long each time.
struct Pauses(u32);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(500).saturating_mul(1 << self.0.min(8)).min(MAX_PAUSE);
        self.0 = self.0.saturating_add(1);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = 0;
    }
}

async fn watch_operation(connection: Connection, made: Made, states: mpsc::Sender<Result<Seen, Problem>>) {
    let Made { namespace, name, uid } = &made;
    let resource = operations();
    let call = Call::of_resource(Verb::Watch, &resource, Some(namespace), "");
    let api: Api<DynamicObject> = Api::namespaced_with(connection.streams.clone(), namespace, &resource);
    let mut changes = pin!(watch_object(api, name));
    let seen = |object: Option<DynamicObject>| match object {
        // Else another one of the same name was made since.
        Some(object) if object.metadata.uid.as_ref() == Some(uid) => Seen::Operation(to_json(&object)),
        _ => Seen::Gone,
    };
    while let Some(change) = changes.next().await {
        let result = match change {
            Ok(object) => Ok(seen(object)),
            Err(error) => match explain(&call, error) {
                Ok(error) if error.is_transient() => {
                    if states.send(Ok(Seen::Lost(chain(&error)))).await.is_err() {
                        return;
                    }
                    // A watch that is taken up again says nothing until something changes.
                    ask_again(&connection, &made).await.map(seen)
                }
                Ok(error) => Err(cannot_follow(error)),
                Err(problem) => Err(problem),
            },
        };
        if states.send(result).await.is_err() {
            return;
        }
    }
}

/// Asks for the Operation until there is an answer; none if it is gone.
async fn ask_again(connection: &Connection, made: &Made) -> Result<Option<DynamicObject>, Problem> {
    let Made { namespace, name, .. } = made;
    let resource = operations();
    let call = Call::of_resource(Verb::Get, &resource, Some(namespace), name);
    let api: Api<DynamicObject> = Api::namespaced_with(connection.requests.clone(), namespace, &resource);
    let mut pauses = Pauses(0);
    loop {
        tokio::time::sleep(pauses.next().unwrap_or(MAX_PAUSE)).await;
        match client::read(&call, api.get(name)).await {
            Ok(object) => return Ok(Some(object)),
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) if error.is_transient() => {}
            Err(error) => return Err(cannot_follow(error)),
        }
    }
}

fn cannot_follow(error: Error) -> Problem {
    cluster::problem("cannot follow the Operation", error)
}

async fn watch_pods(
    connection: Connection,
    namespace: String,
    label: String,
    states: mpsc::Sender<Result<Seen, Problem>>,
) {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let call = Call::of_resource(Verb::Watch, &resource, Some(&namespace), "");
    let api: Api<DynamicObject> = Api::namespaced_with(connection.streams.clone(), &namespace, &resource);
    let mut changes =
        pin!(StreamBackoff::new(watcher(api, watcher::Config::default().labels(&label)), Pauses(0)));
    while let Some(change) = changes.next().await {
        let (seen, is_over) = match change {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => (Seen::Pod(to_json(&pod)), false),
            Ok(Event::Delete(pod)) => (Seen::PodGone(to_json(&pod)), false),
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => match explain(&call, error) {
                // The Operation's own watch tells of a lost connection.
                Ok(error) if error.is_transient() => continue,
                Ok(Error::Forbidden { .. }) => {
                    let needed = "that takes the rights to list and watch pods and to get pods/log";
                    (Seen::NoPods(format!("{needed} in the namespace {namespace}")), true)
                }
                Ok(error) => (Seen::NoPods(format!("{}. {}", chain(&error), error.advice())), true),
                Err(problem) => (Seen::NoPods(problem.to_string()), true),
            },
        };
        if states.send(Ok(seen)).await.is_err() || is_over {
            return;
        }
    }
}

/// What a watch says went wrong, as the error of a call.
fn explain(call: &Call, error: watcher::Error) -> Result<Error, Problem> {
    use watcher::Error::*;
    Ok(match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            Error::explain(call, error)
        }
        WatchError(status) => Error::explain(call, kube::Error::Api(status)),
        NoResourceVersion => {
            let message = "the API server's list has no resourceVersion, so it cannot be watched";
            return Err(Problem::new(Reason::ClusterUnreachable, message));
        }
    })
}

/// The log of one container.
struct Log {
    connection: Connection,
    source: Source,
    shown: Arc<Mutex<BTreeMap<Source, Timestamp>>>,
    lines: mpsc::Sender<Seen>,
}

impl Log {
    async fn read(self) {
        let Source { namespace, pod, .. } = &self.source;
        let call = Call::new::<Pod>(Verb::Get, Some(namespace), pod).subresource("log");
        let since = self.shown.lock().get(&self.source).copied();
        let params = LogParams {
            container: Some(self.source.container.clone()),
            follow: true,
            timestamps: true,
            since_time: since,
            ..LogParams::default()
        };
        let api: Api<Pod> = Api::namespaced(self.connection.streams.clone(), namespace);
        let why = match api.log_stream(pod, &params).await {
            Ok(log) => {
                self.hand_on(log, since).await;
                None
            }
            Err(error) => match Error::explain(&call, error) {
                // The pod went before its log was read: its Job's time is over, or it was cancelled.
                Error::NotFound { .. } => None,
                // Its end is not its container's: it is read on.
                error if error.is_transient() => None,
                error => Some(format!("{}. {}", chain(&error), error.advice())),
            },
        };
        let _ = self.lines.send(Seen::LogEnded(self.source, why)).await;
    }

    /// Hands on each line that was not shown before. A log that breaks off is read on as long as its container runs.
    async fn hand_on(&self, log: impl AsyncBufRead, since: Option<Timestamp>) {
        let mut log = pin!(log);
        while let Ok(Some(line)) = lines::next(&mut log).await {
            // The API server counts from whole seconds.
            if line.at.is_some() && line.at <= since {
                continue;
            }
            if self.lines.send(Seen::Line(self.source.clone(), line.text)).await.is_err() {
                return;
            }
            if let Some(at) = line.at {
                self.shown.lock().insert(self.source.clone(), at);
            }
        }
    }
}

fn to_json(object: &DynamicObject) -> Value {
    // Metadata are made of strings, numbers and times: there is nothing in them that JSON cannot say.
    serde_json::to_value(object).unwrap_or_default()
}
