//! A *connection* is the way to one cluster's API server: from a kubeconfig for a person, from the service account for
//! a pod.
//!
//! # Guarantees
//! - **Every request ends.** Reads within [`READ_TIMEOUT`], writes within [`WRITE_TIMEOUT`]; connecting within
//!   [`CONNECT_TIMEOUT`]. Watches and followed logs, which must live long, have a client of their own without such a
//!   limit: [`Connection::streams`].
//! - **Nothing is retried in secret.** The client's own retries (15 of them, up to a quarter of an hour each) are off:
//!   who asked decides whether to ask again.
//! - **Every write is counted and needs the lease**: see [`Writer`].
//! - **A request is the one that was meant.** A name or namespace that could change the request's path is not sent: no
//!   object has it, so the answer is [`Error::NotFound`].
//! - **Errors say what to do**: which RBAC rule is missing, which CRD, which address did not answer.

mod call;
mod error;
mod kubeconfig;
mod options;
mod proxy;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::time::Duration;

pub use call::{Call, Verb};
pub use error::{Error, NotLeader};
use kube::{Client, Config};
pub use kubeconfig::Unusable;
pub use options::ConnectionOptions;
use proxy::Proxy;
pub use proxy::ProxyError;

/// Time to reach the API server, TLS included. A server of the same cluster takes milliseconds; one across the world
/// a second.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the answer to a get or list. The largest page that hookhost asks for takes a loaded server a second or two.
pub const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Time for the answer to a write. Admission webhooks may take 30 s (the API's own limit), so the server's words
/// about a slow webhook arrive before this is over.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(35);

/// Clients of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    /// For requests that end: get, list, create, update, patch, delete.
    pub requests: Client,
    /// For watches and followed logs. No limit on how long an answer takes; a watcher has its own idle timeout.
    pub streams: Client,
    /// The namespace to work in where none is named: the given one, the context's, the pod's own, or "default".
    pub namespace: String,
    /// The API server's address, for messages.
    pub server: String,
    /// What `requests` was made of; none for clients that were made elsewhere.
    config: Option<Config>,
    /// The proxy that all requests go through.
    proxy: Option<Proxy>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Connection {
    /// Clients for a configuration. Nothing is sent yet: an API server that is down shows at the first request.
    pub fn new(config: Config) -> Result<Connection, Error> {
        Connection::through(None, config)
    }

    /// The same for a configuration whose proxy this is.
    fn through(proxy: Option<Proxy>, mut config: Config) -> Result<Connection, Error> {
        install_crypto();
        let namespace = config.default_namespace.clone();
        let server = config.cluster_url.to_string();
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
        let streams = client(config.clone(), proxy.as_ref(), &server)?;

        // Behind the limits that `read` and `write` put on whole requests: for whoever calls without them, and to close
        // connections that a firewall has silently dropped.
        config.read_timeout = Some(WRITE_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // Else the time that a connection lay idle in the pool would count as waiting for an answer.
        config.reset_reader_on_write = true;
        let requests = client(config.clone(), proxy.as_ref(), &server)?;
        Ok(Connection { requests, streams, namespace, server, config: Some(config), proxy })
    }

    /// A connection by a client that is there already, for tests: all requests go through it.
    pub fn of_client(client: Client, namespace: impl Into<String>) -> Connection {
        let (requests, streams) = (client.clone(), client);
        Connection {
            requests,
            streams,
            namespace: namespace.into(),
            server: "https://test".into(),
            config: None,
            proxy: None,
        }
    }

    /// Another client for requests that end, which shares nothing with the first: its connections are served by the runtime
    /// that it is made in and used from.
    pub fn anew(&self) -> Result<Client, Error> {
        match &self.config {
            Some(config) => client(config.clone(), self.proxy.as_ref(), &self.server),
            None => Ok(self.requests.clone()),
        }
    }
}

/// What the API server's audit log says of us.
const USER_AGENT: &str = concat!("hookhost/", env!("CARGO_PKG_VERSION"));

fn client(config: Config, proxy: Option<&Proxy>, server: &str) -> Result<Client, Error> {
    let client = match proxy {
        Some(proxy) => proxy.client(config),
        None => Client::try_from(config),
    };
    client.map_err(|source| Error::Connection { server: server.to_owned(), source: Box::new(source) })
}

/// Makes ring the process's TLS provider, once. With more than one provider linked in, rustls would panic at its first
/// use instead of choosing.
pub fn install_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only if another thread was faster; then there is one, which is all that is needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Waits for the answer to a get or list, at most [`READ_TIMEOUT`], and explains its error.
pub async fn read<T>(call: &Call, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    within(READ_TIMEOUT, call, request).await
}

/// Waits for an answer, at most `limit`, and explains its error.
pub async fn within<T>(
    limit: Duration,
    call: &Call,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    if !call.is_askable() {
        return Err(Error::NotFound { call: call.clone(), message: "no object can have this name".into() });
    }
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| Error::explain(call, error)),
        Err(_) => Err(Error::TimedOut { call: call.clone(), limit }),
    }
}
