//! A *watch* tells of each Operation of a cluster, as it is and as it becomes.

use std::io::BufReader;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Deserializer, Value};
use testbed::Cluster;

/// Watches until it is dropped.
pub(super) struct Watch<'a> {
    cluster: &'a Cluster,
    kubectl: Child,
    seen: Receiver<Value>,
}

impl Watch<'_> {
    /// Starts to watch.
    pub(super) fn start(cluster: &Cluster) -> Result<Watch<'_>> {
        let (kubectl, seen) = start(cluster)?;
        Ok(Watch { cluster, kubectl, seen })
    }

    /// The next form of an Operation; none if none comes in this time.
    pub(super) fn next(&mut self, within: Duration) -> Result<Option<Value>> {
        match self.seen.recv_timeout(within) {
            Ok(operation) => Ok(Some(operation)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            // The API server ends each watch some time. A new one begins with all that there is.
            Err(RecvTimeoutError::Disconnected) => {
                self.stop();
                (self.kubectl, self.seen) = start(self.cluster)?;
                Ok(None)
            }
        }
    }

    fn stop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(cluster: &Cluster) -> Result<(Child, Receiver<Value>)> {
    let mut kubectl = cluster.command("kubectl");
    kubectl.args(["get", "operations.ops.vworkspace.io", "--all-namespaces", "--watch", "--output=json"]);
    let mut kubectl =
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run kubectl")?;
    let objects = kubectl.stdout.take().context("kubectl has no output")?;
    let (sender, seen) = channel();
    thread::spawn(move || {
        // Ends, with half an object perhaps, when the watch is stopped.
        for object in Deserializer::from_reader(BufReader::new(objects)).into_iter::<Value>() {
            if !object.is_ok_and(|object| sender.send(object).is_ok()) {
                break;
            }
        }
    });
    Ok((kubectl, seen))
}
