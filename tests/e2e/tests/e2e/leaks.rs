//! What is in a release's values and Secrets stays there.

use std::io::{Read, Write};
use std::net::TcpStream;

use e2e::{GATE, world};
use serde_json::json;

/// A password that is found wherever it got to.
const PASSWORD: &str = "kestrel-9f2e-marked";

#[test]
fn a_password_of_the_release_is_in_no_log_status_event_job_or_metric() {
    let world = world();
    let namespace = world.namespace("leaks", &[GATE]);
    let release = world.release("shop", &namespace, &json!({"secret": PASSWORD}));
    let secrets =
        world.cluster.kubectl(&["get", "secret/shop", "--namespace", &namespace, "--output=json"]).unwrap();
    assert!(secrets.contains("a2VzdHJlbC05ZjJlLW1hcmtlZA"), "the release has the password: {secrets}");
    for (hook, phase) in [("ok", "Succeeded"), ("fails", "Failed"), ("missing", "Failed")] {
        let name = world.operation(&release, hook, json!({}));
        world.phase(&namespace, &name, phase);
    }
    let all = ["get", "operations,jobs,events", "--namespace", &namespace, "--output=json"];
    let objects = world.cluster.kubectl(&all).unwrap();
    assert!(objects.contains("OperationSucceeded") && objects.contains("HookNotFound"), "{objects}");
    let (log, metrics) = (world.log(), metrics(&world.log()));
    assert!(metrics.contains("hookhost_api_writes_total"), "{metrics}");
    for (what, text) in [("an object", &objects), ("the log", &log), ("a metric", &metrics)] {
        assert!(!text.contains(PASSWORD), "{what} has the password");
    }
}

/// The metrics of the host with this log.
fn metrics(log: &str) -> String {
    let (_, address) = log.split_once("\"address\":\"").unwrap();
    let mut server = TcpStream::connect(address.split('"').next().unwrap()).unwrap();
    server.write_all(b"GET /metrics HTTP/1.1\r\nHost: hookhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    answer
}
