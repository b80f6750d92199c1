//! *Telemetry* is what this process writes while it works: one line an event, to stderr, for programs or for people.
//!
//! As JSON each line is one flat object. First come `ts` (RFC 3339, UTC), `level` and `msg`, then the fields of the
//! event and of the spans around it, the innermost winning. The names that vWorkspace's tools look for:
//!
//! | Field | What it says |
//! | --- | --- |
//! | `ts`, `level`, `msg` | When, how bad, what. |
//! | `controller`, `operator_version` | `hookhost`, and its version. |
//! | `cluster_id` | The cluster's id, once [`identify`] has told it. |
//! | `org_id` | The organisation of the Operation. |
//! | `namespace` | The Operation's namespace. |
//! | `application_instance` | Its target, where that is an ApplicationInstance. |
//! | `operation`, `operation_id` | Its name and its UID. |
//! | `reconcileID` | Which reconcile of the Operation: the same on all lines of one. |
//! | `target` | The module that writes, for filters. |
//!
//! Lines hold names, reasons and digests, never the contents of Secrets, values or parameters. Text from outside cannot
//! forge lines: JSON escapes it, and for people control characters become spaces. A field is cut at
//! [`FIELD_BYTES`].

mod line;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hookhost_helm::text::hex;
use hookhost_helm::yaml::is_parsing;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::Span;
use tracing::field::Empty;
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;

pub use self::line::FIELD_BYTES;
use self::line::Lines;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For programs: a JSON object a line.
    Json,
    /// For people: time, level, message, then `field=value`.
    Text,
}

/// Why nothing can be logged as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The filter is none.
    #[error(
        "{} is no filter: give a level (error, warn, info, debug, trace), or modules with levels, as in info,hookhost_controller=debug",
        hookhost_helm::text::quote(filter)
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// It was set up before.
    #[error("logging is set up already")]
    Twice,
}

/// What the libraries beneath would say, and hookhost says better itself: kube logs each failed request as an error,
/// also those that are answers to a question. A filter can switch it on again by name.
const QUIET: &str = "kube_client::client::builder=off";

/// Sets up logging for the whole process, once.
///
/// The filter is a level, or a list of `module=level`, as in `info,hookhost_controller=debug`.
pub fn init(format: Format, filter: &str) -> Result<(), Error> {
    let lines = Lines::new(format, |line| {
        // When nobody reads stderr any more, there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(line);
    });
    let subscriber = tracing_subscriber::registry().with(parse(filter)?).with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| Error::Twice)?;
    // A panic's own text would be a line that no program can read.
    std::panic::set_hook(Box::new(|panic| {
        if is_parsing() {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, message, "a task panicked: this is a defect of hookhost");
    }));
    Ok(())
}

fn parse(filter: &str) -> Result<EnvFilter, Error> {
    let quiet = format!("{QUIET},{filter}");
    // Without regular expressions: they would be one more input that can cost time.
    EnvFilter::builder()
        .with_regex(false)
        .parse(&quiet)
        .map_err(|source| Error::Filter { filter: filter.to_owned(), source })
}

static CLUSTER_ID: OnceLock<String> = OnceLock::new();

/// Tells which cluster the lines are about; the first to say so is believed.
pub fn identify(cluster_id: &str) {
    if !cluster_id.is_empty() {
        let _ = CLUSTER_ID.set(cluster_id.to_owned());
    }
}

/// What one look at an Operation logs belongs together: enter this span for it.
///
/// The organisation and the instance are known later: `span.record("org_id", …)`,
/// `span.record("application_instance", …)`.
pub fn reconcile_span(namespace: &str, operation: &str, operation_id: &str) -> Span {
    // At the highest level, so that whatever is logged has these fields, however quiet the filter.
    tracing::error_span!(
        "reconcile",
        namespace,
        operation,
        operation_id,
        org_id = Empty,
        application_instance = Empty,
        reconcileID = reconcile_id(),
    )
}

/// A number for each look, after one for each process.
fn reconcile_id() -> String {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    static LOOKS: AtomicU64 = AtomicU64::new(1);
    // Random, from the operating system's seed; half of it is enough to tell processes apart.
    let process = PROCESS.get_or_init(|| {
        let bytes = RandomState::new().hash_one(std::process::id()).to_le_bytes();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    });
    format!("{process:08x}-{}", LOOKS.fetch_add(1, Ordering::Relaxed))
}

/// The target of the decision log's lines: `hookhost::decision=off` in the filter silences them, a log shipper finds
/// them by it.
pub const DECISION_TARGET: &str = "hookhost::decision";

/// One decision on an Operation, for the decision log.
#[derive(Clone, Copy, Debug)]
pub struct DecisionLine<'a> {
    /// The Operation's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub operation: &'a str,
    /// Its UID.
    pub operation_id: &'a str,
    /// Its organisation.
    pub org_id: &'a str,
    /// The hook that it wants to run.
    pub hook: &'a str,
    /// What the policies were asked. Only its digest is logged: it holds the chart's values.
    pub request: &'a Value,
    /// What each policy answered, with its digest.
    pub policies: &'a Value,
    /// What follows from all of that.
    pub verdict: &'a Value,
}

/// Writes the decision log's one line for a decision: who asked for what, which policies in which builds said what, and
/// what follows. The same request and policies give the same decision, so a line can be checked by replaying it.
pub fn log_decision(line: &DecisionLine<'_>) {
    if !tracing::enabled!(target: DECISION_TARGET, tracing::Level::INFO) {
        return;
    }
    let DecisionLine { namespace, operation, operation_id, org_id, hook, request, policies, verdict } = *line;
    tracing::info!(
        target: DECISION_TARGET,
        namespace,
        operation,
        operation_id,
        org_id,
        hook,
        request = digest(request),
        "policies.json" = %policies,
        "verdict.json" = %verdict,
        "decided"
    );
}

/// The digest of a JSON document, "sha256:…", over its bytes without spaces and with sorted keys.
pub fn digest(document: &Value) -> String {
    format!("sha256:{}", hex(Sha256::digest(document.to_string())))
}
