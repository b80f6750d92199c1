//! Reading a status.

use serde_json::Value;

use super::words::{CANCELLED, FAILED, SUCCEEDED};

/// A Job, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRef {
    /// metadata.namespace; empty where the status does not tell.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

/// Whether the Operation has ended, however its phase reads: finishedAt is set, or Succeeded, Failed or Cancelled is True.
pub fn is_finished(status: &Value) -> bool {
    let ends = |condition: &Value| {
        let of_type = text(condition, "type");
        of_type.is_some_and(|of_type| [SUCCEEDED, FAILED, CANCELLED].contains(&of_type))
            && text(condition, "status") == Some("True")
    };
    text(status, "finishedAt").is_some()
        || status.get("conditions").and_then(Value::as_array).is_some_and(|all| all.iter().any(ends))
}

/// status.phase.
pub fn phase(status: &Value) -> Option<&str> {
    text(status, "phase")
}

/// The Job that the Operation has run as, from engineRef, else from outputs.jobName.
pub fn job_ref(status: &Value) -> Option<JobRef> {
    let engine = status.get("engineRef").filter(|engine| text(engine, "kind") == Some("Job"));
    if let Some(engine) = engine
        && let Some(name) = text(engine, "name")
    {
        let namespace = text(engine, "namespace").unwrap_or_default();
        return Some(JobRef { namespace: namespace.to_owned(), name: name.to_owned() });
    }
    let name = text(status.get("outputs")?, "jobName")?;
    Some(JobRef { namespace: String::new(), name: name.to_owned() })
}

/// A field that is a text and not empty.
pub(super) fn text<'v>(of: &'v Value, field: &str) -> Option<&'v str> {
    of.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}
