//! The API server's *audit log* is the witness of what hookhost asked it: one line a request, with who and what.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;
use testbed::Cluster;

use crate::Result;

/// hookhost's requests from now on; each reading goes on where the last one ended.
pub(crate) struct Audit {
    log: PathBuf,
    offset: u64,
}

/// One request of hookhost.
pub(crate) struct Request {
    pub(crate) verb: String,
    resource: String,
    name: String,
    line: Value,
}

impl Audit {
    pub(crate) fn new(cluster: &Cluster) -> Result<Audit> {
        let log = cluster.audit_log().ok_or("this cluster has no audit log")?;
        let offset = std::fs::metadata(&log)?.len();
        Ok(Audit { log, offset })
    }

    /// hookhost's requests since the last reading.
    pub(crate) fn read(&mut self) -> Result<Vec<Request>> {
        let mut log = BufReader::new(File::open(&self.log)?);
        log.seek(SeekFrom::Start(self.offset))?;
        let (mut requests, mut line) = (Vec::new(), String::new());
        // A line that is still being written is read the next time.
        while log.read_line(&mut line)? > 0 && line.ends_with('\n') {
            self.offset += line.len() as u64;
            requests.extend(Request::of(&line)?);
            line.clear();
        }
        Ok(requests)
    }
}

/// The Secret with hookhost's key of claims.
const KEY: &str = "hookhost-claim-key";

impl Request {
    fn of(line: &str) -> Result<Option<Request>> {
        // All others' lines need not be understood.
        if !line.contains("\"userAgent\":\"hookhost/") {
            return Ok(None);
        }
        let line: Value = serde_json::from_str(line)?;
        let text = |path: &str| line.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (verb, resource, name) = (text("/verb"), text("/objectRef/resource"), text("/objectRef/name"));
        Ok(Some(Request { verb, resource, name, line }))
    }

    /// Whether it changes something that is not hookhost's own: its Lease, and its key, which it makes once.
    pub(crate) fn is_write(&self) -> bool {
        let is_own = self.resource == "leases" || (self.resource == "secrets" && self.name == KEY);
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && !is_own
    }

    /// Whether it is one of those that an idle hookhost may make: a watch that is renewed, the Lease.
    pub(crate) fn is_idle(&self) -> bool {
        self.verb == "watch" || self.resource == "leases"
    }

    /// Whether it is about the Operation of this name, its Job of the same name, or an Event, which is named after it.
    pub(crate) fn is_about(&self, operation: &str) -> bool {
        self.name.strip_prefix(operation).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The request as the log has it.
impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.line)
    }
}
