//! *Isolated* is what must go on however much input costs: renewing the lease, health and metrics. It has a thread of its own,
//! and a client of its own, so that nothing that computes, blocks or waits elsewhere in the process can hold it up.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{AbortHandle, JoinSet};

/// Threads: what runs here only waits, and never computes.
const THREADS: usize = 1;

/// A runtime of its own.
#[derive(Debug)]
pub(super) struct Isolated(Option<Runtime>);

impl Isolated {
    /// Starts its thread.
    pub(super) fn new() -> std::io::Result<Isolated> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("isolated")
            .enable_all()
            .build()?;
        Ok(Isolated(Some(runtime)))
    }

    /// Makes something there: a client runs its connections where it was made and is used.
    pub(super) fn make<T>(&self, make: impl FnOnce() -> T) -> T {
        let _there = self.0.as_ref().map(Runtime::enter);
        make()
    }

    /// Runs a task there, as one of these.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        tasks: &mut JoinSet<T>,
        task: impl Future<Output = T> + Send + 'static,
    ) -> AbortHandle {
        match &self.0 {
            Some(runtime) => tasks.spawn_on(task, runtime.handle()),
            None => tasks.spawn_on(task, &Handle::current()),
        }
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // A runtime may not be waited for in a task, and nothing of it is waited for: its tasks have ended.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::admin::{self, Health};
    use crate::metrics::Metrics;
    use hookhost_cluster::client::Connection;
    use hookhost_cluster::lease::{Lease, LeaseParams};

    /// A request as it came: its method and its body.
    fn request(socket: &mut TcpStream) -> Option<(String, Value)> {
        let mut text = Vec::new();
        let head = loop {
            let mut byte = [0];
            socket.read_exact(&mut byte).ok()?;
            text.push(byte[0]);
            if text.ends_with(b"\r\n\r\n") {
                break String::from_utf8_lossy(&text).to_lowercase();
            }
        };
        let headers: BTreeMap<&str, &str> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        let mut body = vec![0; headers.get("content-length").map_or(0, |bytes| bytes.parse().unwrap())];
        socket.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Some((head.split(' ').next()?.to_owned(), body))
    }

    /// An API server that knows one Lease, on threads of its own, and counts how often it was renewed.
    fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, renewals) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = renewals.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let (mut socket, counted) = (socket.unwrap(), counted.clone());
                std::thread::spawn(move || {
                    while let Some((method, mut lease)) = request(&mut socket) {
                        let (code, answer) = if method == "get" {
                            (
                                404,
                                json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound",
                                         "details": {"name": "hookhost"}}),
                            )
                        } else {
                            let version = counted.fetch_add(1, Ordering::SeqCst) + 1;
                            lease["metadata"]["resourceVersion"] = version.to_string().into();
                            (200, lease)
                        };
                        let answer = answer.to_string();
                        let head = format!(
                            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                            answer.len()
                        );
                        if socket.write_all((head + &answer).as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (address, renewals)
    }

    fn health(address: SocketAddr) -> String {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_lease_is_renewed_and_health_is_answered_while_every_thread_that_works_is_busy() {
        const WORKERS: usize = 2;
        let (api, renewals) = server();
        let address = {
            // Free again for the admin server in a moment.
            TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
        };
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
        let (is_over, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let isolated = Isolated::new().unwrap();
        let _in = runtime.enter();
        let connection = Connection::new(kube::Config::new(format!("http://{api}").parse().unwrap()))
            .unwrap_or_else(|error| panic!("{error}"));
        let client = isolated.make(|| connection.anew()).unwrap();
        let params = LeaseParams {
            duration: Duration::from_secs(3),
            renew_every: Duration::from_secs(1),
            ..LeaseParams::new("system", "hookhost", "me")
        };
        let lease = Lease::new(client, params, Metrics::new()).unwrap();
        let claim = lease.claim();
        let mut tasks = JoinSet::new();
        let token = shutdown.clone();
        isolated.spawn(&mut tasks, async move { lease.run(token).await.unwrap() });
        let token = shutdown.clone();
        isolated.spawn(&mut tasks, async move {
            admin::serve(address, Health::new([]), Metrics::new(), token).await.unwrap();
        });

        let (busy, all_busy) = mpsc::channel();
        for _ in 0..WORKERS {
            let (busy, is_over) = (busy.clone(), is_over.clone());
            runtime.spawn(async move {
                busy.send(()).unwrap();
                while !is_over.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            });
        }
        (0..WORKERS).for_each(|_| all_busy.recv().unwrap());

        // As long as the lease holds without being renewed, and once more.
        let before = renewals.load(Ordering::SeqCst);
        let begun = Instant::now();
        while renewals.load(Ordering::SeqCst) < before + 6 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the lease was not renewed");
            std::thread::yield_now();
        }
        assert!(claim.is_current());
        assert!(health(address).starts_with("HTTP/1.1 200"));
        shutdown.cancel();
        is_over.store(true, Ordering::SeqCst);
        runtime.block_on(async { while tasks.join_next().await.is_some() {} });
    }
}
