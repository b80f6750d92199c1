//! A *taken name* is one that a Job of the chart's own hooks has.
//!
//! Helm deletes its hooks by their names, before it makes them anew and after they have run, and does not ask whose Job it
//! is. So no run's Job may have such a name, whether the hook's own Job is there now or not.

use std::collections::BTreeSet;

use super::job_name;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::step::Step;
use hookhost_helm::hook::Hook;
use hookhost_helm::text::quote;

/// A run's Job would have the name of a hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the run's Job would be called {}, as a hook of the chart is ({}): Helm deletes the Job of that name whenever it runs the \
     hook, whosever it is. Make an Operation of another name, for example {}",
    quote(name),
    quote(events),
    quote(suggestion)
)]
pub struct NameTaken {
    /// The name of both.
    pub name: String,
    /// The events of the chart's hook.
    pub events: String,
    /// A name for the Operation that no hook has.
    pub suggestion: String,
}

impl NameTaken {
    /// Always [`Reason::JobNameTaken`].
    pub fn reason(&self) -> Reason {
        Reason::JobNameTaken
    }
}

/// Whether the Job that runs the request's hook, or that step of an event, has a name that is no hook's of the release.
pub fn check_name(request: &Request, step: Option<Step>, hooks: &[Hook]) -> Result<(), NameTaken> {
    let name = job_name(request, step);
    let namespace = request.job_namespace();
    let jobs = || hooks.iter().filter(|hook| is_job(hook) && hook.namespace == namespace);
    let Some(hook) = jobs().find(|hook| hook.name == name) else { return Ok(()) };
    let names = jobs().map(|hook| hook.name.as_str()).collect();
    Err(NameTaken {
        name,
        events: hook.events.join(", "),
        suggestion: another(&request.operation.name, &names),
    })
}

/// Whether Helm makes, and deletes, a Job for the hook. What cannot be read is taken at Helm's word.
fn is_job(hook: &Hook) -> bool {
    hook.kind == "Job" && (hook.api_version.is_empty() || hook.api_version.starts_with("batch/"))
}

/// Bytes that a suggested name keeps of the Operation's: with what is put behind it, it is never so long that the Job's
/// name would have to be cut.
const KEPT_BYTES: usize = 40;

/// A name like this one that no hook has. There are more numbers than hooks.
fn another(name: &str, taken: &BTreeSet<&str>) -> String {
    let kept = &name[..name.floor_char_boundary(KEPT_BYTES)];
    let kept = kept.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let numbered = (2..).map(|number| format!("{kept}-run-{number}"));
    let mut names = std::iter::once(format!("{kept}-run")).chain(numbered);
    names.find(|name| !taken.contains(name.as_str())).unwrap_or_default()
}

impl From<NameTaken> for Refusal {
    fn from(error: NameTaken) -> Refusal {
        Refusal::of_error(error.reason(), &error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    fn job(name: &str) -> Hook {
        testing::hook(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}), "shop")
    }

    fn request(operation: &str) -> Request {
        let mut request = Request::default();
        request.operation.name = operation.to_owned();
        request.operation.namespace = "shop".to_owned();
        request.release.namespace = "shop".to_owned();
        request
    }

    #[test]
    fn an_operation_with_the_name_of_a_hook_is_refused_with_another_name() {
        let hooks = [job("shop-migrate"), job("shop-migrate-run"), job("shop-migrate-run-2")];
        let taken = check_name(&request("shop-migrate"), None, &hooks).unwrap_err();
        assert_eq!(taken.reason(), Reason::JobNameTaken);
        assert_eq!(
            taken.to_string(),
            "the run's Job would be called \"shop-migrate\", as a hook of the chart is (\"pre-upgrade\"): Helm deletes the Job \
             of that name whenever it runs the hook, whosever it is. Make an Operation of another name, for example \
             \"shop-migrate-run-3\""
        );
        assert_eq!(check_name(&request(&taken.suggestion), None, &hooks), Ok(()));
        assert_eq!(check_name(&request("migrate-now"), None, &hooks), Ok(()));
    }

    #[test]
    fn what_counts_is_the_name_that_the_job_would_have() {
        let long = format!("{}.{}", "a".repeat(60), "b".repeat(20));
        let cut = job_name(&request(&long), None);
        let taken = check_name(&request(&long), None, &[job(&long), job(&cut)]).unwrap_err();
        assert_eq!(taken.name, cut);
        assert!(hookhost_helm::name::is_dns_label(&taken.suggestion), "{}", taken.suggestion);
        let step = Step { number: 2, of: 3 };
        let of_step = job_name(&request("migrate"), Some(step));
        assert_eq!(check_name(&request("migrate"), Some(step), &[job("migrate")]), Ok(()));
        assert_eq!(check_name(&request("migrate"), Some(step), &[job(&of_step)]).unwrap_err().name, of_step);
    }

    #[test]
    fn only_jobs_that_helm_makes_there_count() {
        let other = |manifest| check_name(&request("x"), None, &[testing::hook(manifest, "shop")]);
        for kind in ["ServiceAccount", "Pod", "ConfigMap"] {
            let manifest = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
            assert_eq!(other(manifest), Ok(()), "{kind}");
        }
        let job = |namespace: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "namespace": namespace}});
        assert_eq!(other(job(json!("elsewhere"))), Ok(()));
        assert!(other(job(json!("shop"))).is_err() && other(job(Value::Null)).is_err());
        let mut elsewhere = request("x");
        elsewhere.hook.manifest = json!({"metadata": {"namespace": "elsewhere"}}).into();
        elsewhere.operation.namespace = "elsewhere".to_owned();
        let far = testing::hook(job(json!("elsewhere")), "shop");
        assert!(check_name(&elsewhere, None, &[far]).is_err());
        assert_eq!(check_name(&elsewhere, None, &[self::job("x")]), Ok(()));
        let unreadable = Hook { api_version: String::new(), manifest: Value::Null.into(), ..self::job("x") };
        assert!(check_name(&request("x"), None, &[unreadable]).is_err());
    }
}
