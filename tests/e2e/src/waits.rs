//! A hook that *waits* runs until the test says so.

use crate::world::{World, ok};

/// What such a hook runs.
pub const WAITS: &str = "echo started; until [ -e /tmp/go ]; do sleep 0.1; done; echo went";

impl World {
    /// Waits until a run's container has begun; gives back its pod.
    ///
    /// # Panics
    /// It does not begin.
    pub fn started(&self, namespace: &str, operation: &str) -> String {
        let operation = self.until(namespace, operation, "running", |it| {
            it["status"]["phase"] == "Running" && it["status"]["logsRef"]["name"].is_string()
        });
        let pod = operation["status"]["logsRef"]["name"].as_str().unwrap_or_default().to_owned();
        let is_running = |pod: &serde_json::Value| pod["status"]["phase"] == "Running";
        self.until_object(namespace, &format!("pod/{pod}"), "running", is_running);
        pod
    }

    /// Lets a run that waits go on to its end.
    ///
    /// # Panics
    /// Its container cannot be entered.
    pub fn go(&self, namespace: &str, pod: &str) {
        ok(self.cluster.kubectl(&["exec", pod, "--namespace", namespace, "--", "touch", "/tmp/go"]));
    }
}
