//! The *admin server* answers kubelet's probes and Prometheus' scrapes, over plain HTTP/1.1.
//!
//! | Path | Answer |
//! | --- | --- |
//! | `/healthz` | 200 while all tasks run; 503 when one has ended, which is named, or when the threads that work are stuck. |
//! | `/readyz` | 200 once watches and policies are loaded, leader or not; 503 before, naming what is not. |
//! | `/metrics` | [`Metrics`], as OpenMetrics text. |
//!
//! It tells nothing that is secret and changes nothing, and whoever can reach it can do no more than read: one request a
//! connection, its head bounded in size and time, no body read, a bounded number of connections. Those that are too
//! many are closed at once, so that ones which only wait cannot keep a probe out for longer than [`REQUEST_TIMEOUT`].

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::{self, Metrics};

/// How often those who work show that they do.
pub const BEAT: Duration = Duration::from_secs(5);
/// Time without such a sign after which the process is of no use any more: far longer than all that input can cost.
pub const STUCK_AFTER: Duration = Duration::from_secs(180);
/// Connections at once: a kubelet, two Prometheus servers and a person are four.
pub const MAX_CONNECTIONS: usize = 32;
/// Time for a whole connection, from accepting it to the last byte of the answer: as long as Prometheus waits for a
/// scrape by default.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head: the least that hyper can be held to, ten times what a scrape has.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Headers of a request; Prometheus sends six.
const MAX_HEADERS: usize = 64;
/// Pause after accepting failed: all file descriptors are in use, and trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How this process is, as its tasks say. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What is not loaded yet.
    awaited: BTreeSet<&'static str>,
    ended: Option<&'static str>,
    /// When work last showed that it goes on.
    beat: Instant,
}

impl Health {
    /// Alive, and not ready before all this is loaded.
    pub fn new(awaited: impl IntoIterator<Item = &'static str>) -> Health {
        let awaited = awaited.into_iter().collect();
        Health(Arc::new(Mutex::new(State { awaited, ended: None, beat: Instant::now() })))
    }

    /// This is loaded now.
    pub fn loaded(&self, what: &'static str) {
        self.0.lock().awaited.remove(what);
    }

    /// The threads that work do so; to be said each [`BEAT`].
    pub fn beat(&self) {
        self.0.lock().beat = Instant::now();
    }

    /// A task without which this process is of no use has ended; there is no way back.
    pub fn set_ended(&self, task: &'static str) {
        self.0.lock().ended.get_or_insert(task);
    }

    fn alive(&self) -> (StatusCode, String) {
        match self.0.lock().defect() {
            None => (StatusCode::OK, "ok\n".into()),
            Some(defect) => (StatusCode::SERVICE_UNAVAILABLE, defect),
        }
    }

    fn ready(&self) -> (StatusCode, String) {
        let state = self.0.lock();
        match state.defect() {
            Some(defect) => (StatusCode::SERVICE_UNAVAILABLE, defect),
            None if state.awaited.is_empty() => (StatusCode::OK, "ok\n".into()),
            None => {
                let awaited = state.awaited.iter().copied().collect::<Vec<_>>().join(", ");
                (StatusCode::SERVICE_UNAVAILABLE, format!("not loaded yet: {awaited}; see the log\n"))
            }
        }
    }
}

impl State {
    /// Why this process is of no use any more.
    fn defect(&self) -> Option<String> {
        let silent = self.beat.elapsed();
        match self.ended {
            Some(task) => Some(format!("{task} has ended\n")),
            None if silent > STUCK_AFTER => Some(format!(
                "nothing was done for {} s: the threads that work are stuck\n",
                silent.as_secs()
            )),
            None => None,
        }
    }
}

/// The address cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("health and metrics cannot be served at {address}; is it in use, or not an address of this machine?")]
pub struct Error {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Serves at an address until `shutdown`.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let listener = TcpListener::bind(address).await.map_err(|source| Error { address, source })?;
    serve_on(listener, health, metrics, shutdown).await;
    Ok(())
}

/// Serves on a socket until `shutdown`; answers that are under way are finished.
async fn serve_on(listener: TcpListener, health: Health, metrics: Metrics, shutdown: CancellationToken) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving health and metrics");
    }
    let connections = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Without a slot the socket is dropped here, and so closed.
        if let Ok(slot) = Arc::clone(&slots).try_acquire_owned() {
            let served = connection(socket, health.clone(), metrics.clone());
            connections.spawn(async move {
                served.await;
                drop(slot);
            });
        }
    }
    connections.close();
    connections.wait().await;
}

/// One connection: one request, one answer, both in time.
async fn connection(socket: TcpStream, health: Health, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &health, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT / 2)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), service);
    // Whoever breaks the rules or goes away is not worth a line of the log, which they could fill with it.
    let _ = tokio::time::timeout(REQUEST_TIMEOUT, served).await;
}

fn answer(request: &Request<Incoming>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    // hyper leaves the body away where the request is a HEAD.
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let ((status, body), content_type) = match request.uri().path() {
        "/healthz" | "/readyz" | "/metrics" if !reads => {
            ((StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into()), TEXT)
        }
        "/healthz" => (health.alive(), TEXT),
        "/readyz" => (health.ready(), TEXT),
        "/metrics" => ((StatusCode::OK, metrics.encode()), metrics::CONTENT_TYPE),
        _ => ((StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".into()), TEXT),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
