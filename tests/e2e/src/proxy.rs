//! A *proxy* stands between a host and the API server and passes everything on, but can end the host at a given write:
//! just before the API server sees it, or just after the API server has done it and before the host hears of it.
//!
//! It is the one thing here that is not real, because no real thing fails in exactly that moment on demand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use rustix::process::Signal;
use testbed::Cluster;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::host::signal;

/// When the host is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before its nth write, from 0, reaches the API server.
    Before(usize),
    /// After its nth write is done, before its answer.
    After(usize),
}

/// A proxy. Dropped, it listens no more.
pub struct Proxy {
    state: Arc<State>,
    address: SocketAddr,
    _runtime: Runtime,
}

struct State {
    client: kube::Client,
    fault: Mutex<Option<Fault>>,
    host: AtomicU32,
    writes: Mutex<Vec<String>>,
    struck: Mutex<Option<usize>>,
    hidden: Mutex<Option<String>>,
    jammed: Mutex<Option<String>>,
    /// The end of the path of the objects that are not created for now.
    held: watch::Sender<Option<String>>,
    /// How many of them the host waits for.
    holding: AtomicUsize,
}

impl Proxy {
    /// A proxy before the cluster's API server.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(cluster: &Cluster) -> Proxy {
        start(cluster).unwrap_or_else(|error| panic!("the proxy does not start: {error}"))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to count writes anew, and ends the process `host` at this one of them; the fault happens once.
    pub fn arm(&self, host: u32, fault: Option<Fault>) {
        self.state.host.store(host, Ordering::SeqCst);
        self.state.writes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.state.struck.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.state.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Answers from now on that there is nothing below this path, as the API server does of kinds that it does not know.
    pub fn hide(&self, path: &str) {
        *self.state.hidden.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// Answers from now on to whoever lists this path, and nothing below it, that the API server cannot.
    pub fn jam(&self, path: &str) {
        *self.state.jammed.lock().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// From now on lets no object be created whose path ends like this, for example "/rolebindings": the host waits for its answer.
    pub fn hold(&self, path: &str) {
        self.state.held.send_replace(Some(path.to_owned()));
    }

    /// Whether the host waits for such an answer.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.holding() > 0
    }

    /// How many such answers it waits for.
    #[must_use]
    pub fn holding(&self) -> usize {
        self.state.holding.load(Ordering::SeqCst)
    }

    /// Lets them be created.
    pub fn release(&self) {
        self.state.held.send_replace(None);
    }

    /// The writes since it was armed, in their order: method and path.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.state.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The write that the fault struck; none if it has not happened.
    #[must_use]
    pub fn struck(&self) -> Option<String> {
        let number = *self.state.struck.lock().unwrap_or_else(PoisonError::into_inner);
        self.writes().get(number?).cloned()
    }
}

fn start(cluster: &Cluster) -> Result<Proxy, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    hookhost_cluster::client::install_crypto();
    let (state, address) = runtime.block_on(async {
        let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig())?;
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
        config.default_retry = false;
        // Whoever asks says who they are.
        config.auth_info = Default::default();
        let client = kube::Client::try_from(config)?;
        let state = Arc::new(State {
            client,
            fault: Mutex::default(),
            host: AtomicU32::new(0),
            writes: Mutex::default(),
            struck: Mutex::default(),
            hidden: Mutex::default(),
            jammed: Mutex::default(),
            held: watch::Sender::new(None),
            holding: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        tokio::spawn(serve(listener, state.clone()));
        Ok::<_, Box<dyn std::error::Error>>((state, address))
    })?;
    Ok(Proxy { state, address, _runtime: runtime })
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| pass(request, state.clone()));
            // The host may be killed at any time; a connection that breaks is what this is for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, kube::Error>>;

async fn pass(request: Request<Incoming>, state: Arc<State>) -> Result<Answer, Infallible> {
    let is_write = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH | Method::DELETE);
    // HookPolicies are the whole cluster's: what is said of another test's is no write of a run.
    let is_write = is_write && !request.uri().path().contains("/hookpolicies/");
    let number = is_write.then(|| state.note(&request));
    if number.is_some_and(|number| state.strike(Fault::Before(number))) {
        return Ok(problem("the host was ended before this"));
    }
    if state.hides(request.uri().path()) {
        return Ok(answer(StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    if *request.method() == Method::GET && state.jams(request.uri().path()) {
        return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, "etcd is busy\n"));
    }
    if *request.method() == Method::POST {
        state.wait(request.uri().path()).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(problem("the host is gone")) };
    let answer = state.client.send(Request::from_parts(parts, Body::from(body.to_bytes().to_vec()))).await;
    if number.is_some_and(|number| state.strike(Fault::After(number))) {
        return Ok(problem("the host was ended after this"));
    }
    Ok(match answer {
        Ok(answer) => answer.map(BodyExt::boxed_unsync),
        Err(error) => problem(&error.to_string()),
    })
}

impl State {
    /// The number of this write.
    fn note(&self, request: &Request<Incoming>) -> usize {
        let line = format!("{} {}", request.method(), request.uri().path());
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.push(line);
        writes.len() - 1
    }

    /// Waits as long as an object with this path is not to be created.
    async fn wait(&self, path: &str) {
        let is_held = |held: &Option<String>| held.as_ref().is_some_and(|end| path.ends_with(end));
        let mut held = self.held.subscribe();
        if is_held(&held.borrow_and_update()) {
            let _one = Holding::new(&self.holding);
            // The sender lives as long as this does.
            let _ = held.wait_for(|held| !is_held(held)).await;
        }
    }

    fn hides(&self, path: &str) -> bool {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        hidden.as_ref().is_some_and(|hidden| path.starts_with(hidden))
    }

    fn jams(&self, path: &str) -> bool {
        self.jammed.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(path)
    }

    /// Ends the host if this is the moment.
    fn strike(&self, moment: Fault) -> bool {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if *fault != Some(moment) {
            return false;
        }
        *fault = None;
        let (Fault::Before(number) | Fault::After(number)) = moment;
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = Some(number);
        signal(self.host.load(Ordering::SeqCst), Signal::KILL);
        true
    }
}

/// Counts for one, as long as it is there: the host may give up waiting.
struct Holding<'s>(&'s AtomicUsize);

impl Holding<'_> {
    fn new(count: &AtomicUsize) -> Holding<'_> {
        count.fetch_add(1, Ordering::SeqCst);
        Holding(count)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn problem(text: &str) -> Answer {
    answer(StatusCode::BAD_GATEWAY, text)
}

fn answer(status: StatusCode, text: &str) -> Answer {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
