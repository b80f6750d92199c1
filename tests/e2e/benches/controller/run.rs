//! The *writes of a run*: real containers run, and the audit log tells how often hookhost wrote.

use e2e::Host;
use serde_json::{Value, json};
use testbed::{Cluster, Options, Programs};

use crate::audit::{Audit, Request};
use crate::{PATIENCE, Result, Site, UNLIMITED, operation, release_name, target};

/// Writes for one Operation that are allowed.
const MAX_WRITES: f64 = 7.0;

/// The hooks that are run: names, shell lines, and how each ends.
const HOOKS: [(&str, &str, &str); 4] = [
    ("short", "echo done", "Succeeded"),
    ("long", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 1; done", "Succeeded"),
    ("fails", "echo failing; exit 3", "Failed"),
    ("is-retried", "echo failing; exit 4", "Failed"),
];

/// Runs each hook once, all at the same time, and counts.
pub(crate) fn measure(programs: &Programs) -> Result<()> {
    let scripts: serde_json::Map<String, Value> =
        HOOKS.iter().map(|(hook, script, _)| ((*hook).to_owned(), json!({"script": script}))).collect();
    let site = Site::new(Options::pods(), programs, "run", 1, &json!({"hooks": scripts}))?;
    let Site { cluster, namespace, .. } = &site;
    let mut audit = Audit::new(cluster)?;
    let mut host = Host::as_admin(cluster, &["--log-level=info"], UNLIMITED);
    for (hook, ..) in HOOKS {
        cluster.apply(namespace, &operation(hook, &release_name(0), hook).to_string())?;
    }
    for (hook, _, phase) in HOOKS {
        wait(cluster, namespace, &format!("operation/{hook}"), "{.status.phase}", phase)?;
        // The last that is done for a run.
        wait(cluster, namespace, &format!("job/{hook}"), "{.metadata.finalizers}", "")?;
    }
    // Events are sent before it ends.
    host.terminate(cluster);
    let writes: Vec<_> = audit.read()?.into_iter().filter(Request::is_write).collect();
    for (hook, ..) in HOOKS {
        let count = writes.iter().filter(|write| write.is_about(hook)).count();
        target(&format!("API writes for one Operation, {hook}"), count as f64, MAX_WRITES, "")?;
    }
    match writes.iter().find(|write| !HOOKS.iter().any(|(hook, ..)| write.is_about(hook))) {
        Some(write) => Err(format!("a write that is for no Operation: {write}").into()),
        None => Ok(()),
    }
}

/// Waits until a field of an object has this value.
fn wait(cluster: &Cluster, namespace: &str, object: &str, field: &str, value: &str) -> Result<()> {
    let output = format!("--output=jsonpath={field}");
    let args = ["get", object, "--namespace", namespace, &output];
    let what = format!("{field} of {object} is {value:?}");
    cluster.eventually(&what, PATIENCE, || cluster.kubectl(&args).ok().filter(|found| found == value))?;
    Ok(())
}
