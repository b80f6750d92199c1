//! The server as kubelet, Prometheus and somebody hostile meet it, over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

struct Server {
    address: SocketAddr,
    health: Health,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (health, shutdown) = (Health::new(["policies", "watches"]), CancellationToken::new());
    let task = tokio::spawn(serve_on(listener, health.clone(), Metrics::new(), shutdown.clone()));
    Server { address, health, shutdown, task }
}

impl Server {
    /// Sends bytes, and reads until the server closes the connection.
    async fn send(&self, request: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // The server may have closed already.
        let _ = socket.write_all(request).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    /// Whether a probe is answered at all.
    async fn answers(&self) -> bool {
        !self.send(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_empty()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_threads_are_stuck_for_long_is_not_healthy() {
    let health = Health::new([]);
    tokio::time::advance(STUCK_AFTER).await;
    assert_eq!(health.alive().0, 200);
    health.beat();
    tokio::time::advance(STUCK_AFTER + BEAT).await;
    let (status, body) = health.alive();
    assert!(status == 503 && body.contains("nothing was done for 185 s"), "{body}");
    assert_eq!(health.ready().0, 503);
    health.beat();
    assert_eq!((health.alive().0, health.ready().0), (StatusCode::OK, StatusCode::OK));
}

#[tokio::test]
async fn it_is_healthy_until_a_task_ends_and_ready_once_all_is_loaded() {
    let server = server().await;
    assert_eq!(server.get("/healthz").await, (200, "ok\n".into()));
    let (status, body) = server.get("/readyz").await;
    assert_eq!((status, &*body), (503, "not loaded yet: policies, watches; see the log\n"));
    server.health.loaded("policies");
    assert_eq!(server.get("/readyz").await.1, "not loaded yet: watches; see the log\n");
    server.health.loaded("watches");
    assert_eq!(server.get("/readyz").await, (200, "ok\n".into()));

    server.health.set_ended("watching namespaces");
    server.health.set_ended("a later one");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await, (503, "watching namespaces has ended\n".into()), "{path}");
    }
}

#[tokio::test]
async fn prometheus_is_told_the_type_of_what_it_gets() {
    let server = server().await;
    let answer = server.send(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
    assert!(answer.contains("\nhookhost_leader 0\n") && answer.ends_with("# EOF\n"), "{answer}");
}

#[tokio::test]
async fn other_paths_and_methods_are_told_what_there_is() {
    let server = server().await;
    let (status, body) = server.get("/metrics/../secret").await;
    assert_eq!((status, body.as_str()), (404, "there are /healthz, /readyz and /metrics\n"));
    let answer = server.send(b"DELETE /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"), "{answer}");
    let answer = server.send(b"HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn bodies_are_not_read_and_large_heads_are_refused() {
    let server = server().await;
    let answer =
        server.send(b"POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let large = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD_BYTES));
    assert!(server.send(large.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
    assert!(server.send(many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(server.send(b"\x16\x03\x01 not http\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    assert_eq!(server.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn connections_that_only_wait_keep_nobody_out_for_long() {
    let server = server().await;
    let mut waiting = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(b"GET /hea").await.unwrap();
        waiting.push(socket);
    }
    // One too many is closed without an answer. Those before it may not be accepted yet, so it is tried until it is so.
    while server.answers().await {}
    // Time is not waited for here: tokio's clock is moved past the limit.
    tokio::time::pause();
    tokio::time::advance(REQUEST_TIMEOUT).await;
    tokio::time::resume();
    for socket in &mut waiting {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    while !server.answers().await {}
}

#[tokio::test]
async fn shutting_down_finishes_what_is_under_way_and_then_listens_no_more() {
    let server = server().await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    // Answered after the other: by then it is accepted.
    server.get("/healthz").await;
    server.shutdown.cancel();
    socket.write_all(b"host: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = server().await;
    let again = serve(server.address, Health::new([]), Metrics::new(), CancellationToken::new());
    let error = again.await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("in use"), "{error}");
}
