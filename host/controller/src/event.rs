//! *Events* tell whoever runs `kubectl describe` on an Operation what happened to it and when.
//!
//! An Event is one create (`events.k8s.io/v1`) and never changed: transitions are rare and each is news. Events are
//! notes, not state: publishing one never waits and never fails. They queue, [`QUEUE`] at most, for one task that
//! sends them; what finds the queue full, or is refused, is dropped and counted
//! ([`Metrics`]: `hookhost_events_dropped_total`).

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hookhost_core::operation::API_VERSION;
use hookhost_core::status::{self, NOTE_BYTES};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::{EventLoss, Metrics};
use hookhost_cluster::client::{Call, Error, Verb};
use hookhost_cluster::writer::Writer;

/// Events that may wait: some seconds' worth of the busiest hookhost, about 2 MiB.
pub const QUEUE: usize = 1024;
/// Events sent at once: with 10 ms each, as a loaded API server takes, 400 a second.
const AT_ONCE: usize = 4;
/// Tries for one Event while the API server is out of reach; it is news, so it is not kept for long.
const TRIES: u32 = 3;
/// From one try to the next.
const RETRY: Duration = Duration::from_secs(1);
/// How long shutting down waits for what is queued.
pub const FLUSH: Duration = Duration::from_secs(3);
/// Kubernetes' limit for a reporting instance.
const INSTANCE_BYTES: usize = 128;
/// Kubernetes' limit for the name of an object.
const NAME_BYTES: usize = 253;

/// Where the sender's instance is read from: hookhost's chart sets the one, every container runtime the other.
const INSTANCE_VARIABLES: [&str; 2] = ["POD_NAME", "HOSTNAME"];
/// The name that Events give their sender.
const CONTROLLER: &str = "hookhost";
/// What the controller was doing: all Events are about this.
const ACTION: &str = "RunHook";

/// Where Events are published. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    metrics: Metrics,
    instance: Arc<str>,
    /// The time of the last Event, in microseconds: each has its own.
    last: Arc<AtomicI64>,
}

/// What sends the Events.
pub struct EventTask {
    queue: mpsc::Receiver<Event>,
    sender: Sender,
}

impl std::fmt::Debug for EventTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventTask")
    }
}

#[derive(Clone)]
struct Sender {
    client: Client,
    writer: Writer,
    metrics: Metrics,
}

impl Events {
    /// A queue and the task that empties it.
    pub fn new(client: Client, writer: Writer, metrics: Metrics) -> (Events, EventTask) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let named = |key: &&str| std::env::var(key).ok().filter(|name| !name.is_empty());
        let instance = INSTANCE_VARIABLES.iter().find_map(named).unwrap_or_else(|| CONTROLLER.to_owned());
        let instance: Arc<str> = instance[..instance.floor_char_boundary(INSTANCE_BYTES)].into();
        let events = Events { queue: sender, metrics: metrics.clone(), instance, last: Arc::default() };
        (events, EventTask { queue: receiver, sender: Sender { client, writer, metrics } })
    }

    /// Queues an Event about an Operation.
    pub fn publish(&self, operation: &DynamicObject, event: status::Event) {
        let event = self.event(operation, event);
        if self.queue.try_send(event).is_err() {
            self.metrics.event_dropped(EventLoss::Full);
        }
    }

    fn event(&self, operation: &DynamicObject, event: status::Event) -> Event {
        let metadata = &operation.metadata;
        let name = metadata.name.clone().unwrap_or_default();
        let time = self.time();
        // Unique, as each Event has its own time.
        let suffix = format!(".{:x}", time.as_nanosecond());
        let stem = &name[..name.floor_char_boundary(NAME_BYTES - suffix.len())];
        let note = event.note;
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}{suffix}", stem.trim_end_matches(['.', '-']))),
                namespace: metadata.namespace.clone(),
                ..ObjectMeta::default()
            },
            regarding: Some(ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: Some("Operation".to_owned()),
                name: metadata.name.clone(),
                namespace: metadata.namespace.clone(),
                uid: metadata.uid.clone(),
                resource_version: metadata.resource_version.clone(),
                field_path: None,
            }),
            type_: Some(event.kind.as_str().to_owned()),
            reason: Some(event.reason.to_owned()),
            note: Some(note[..note.floor_char_boundary(NOTE_BYTES)].to_owned()),
            action: Some(ACTION.to_owned()),
            event_time: Some(MicroTime(time)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        }
    }

    /// Now, or if that was the time of another Event, a microsecond later: so Events sort as they happened.
    fn time(&self) -> Timestamp {
        let now = Timestamp::now().as_microsecond();
        let next = |last: i64| now.max(last.saturating_add(1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        Timestamp::from_microsecond(next(last.unwrap_or_default())).unwrap_or_else(|_| Timestamp::now())
    }
}

impl EventTask {
    /// Sends Events until `shutdown`, then what is queued, for [`FLUSH`] at most.
    pub async fn run(self, shutdown: CancellationToken) {
        let EventTask { mut queue, sender } = self;
        let mut sending = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(()) = sending.next() => {}
                event = queue.recv(), if sending.len() < AT_ONCE => match event {
                    Some(event) => sending.push(sender.send(event)),
                    None => break,
                },
            }
        }
        queue.close();
        let flush = async {
            loop {
                while sending.len() < AT_ONCE
                    && let Ok(event) = queue.try_recv()
                {
                    sending.push(sender.send(event));
                }
                if sending.next().await.is_none() {
                    break;
                }
            }
        };
        if tokio::time::timeout(FLUSH, flush).await.is_err() {
            let left = sending.len() + queue.len();
            (0..left).for_each(|_| sender.metrics.event_dropped(EventLoss::Refused));
            tracing::warn!(left, "ended before all Events were sent");
        }
    }
}

impl Sender {
    async fn send(&self, event: Event) {
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let call = Call::new::<Event>(Verb::Create, Some(namespace), name);
        let api = Api::<Event>::namespaced(self.client.clone(), namespace);
        let params = PostParams::default();
        let mut tries = 1;
        loop {
            match self.writer.send(&call, api.create(&params, &event)).await {
                // There already: an earlier try reached the API server after all.
                Ok(_) | Err(Error::AlreadyExists { .. }) => return,
                Err(error)
                    if error.is_transient() && !matches!(error, Error::NotLeader(_)) && tries < TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    self.metrics.event_dropped(EventLoss::Refused);
                    tracing::debug!(%namespace, error = %error, "an Event was not taken");
                    return;
                }
            }
        }
    }
}
