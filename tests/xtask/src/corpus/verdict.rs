//! A *verdict* says of a hook, by its release record alone, whether it can be run on demand.

use hookhost_core::closure::{Member, closure, describe};
use hookhost_core::hook::{Hook, NotRunnable};
use hookhost_core::loan::{Found, ObjectRef, Terms, arrange};
use hookhost_core::operation::Operation;
use hookhost_core::record::Record;
use hookhost_core::workload::Workload;

use super::operation;

/// Whether a hook can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It needs nothing that is itself a hook.
    AsItIs,
    /// It needs other hooks, which Helm commonly deletes after the event; they can be made for the run.
    WithClosure,
    /// It cannot be run, for this reason.
    Refused(String),
}

impl Verdict {
    /// The one word for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::AsItIs => "asItIs",
            Verdict::WithClosure => "withClosure",
            Verdict::Refused(_) => "refused",
        }
    }

    /// Why it is refused.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Refused(reason) => Some(reason),
            _ => None,
        }
    }

    /// Of a hook of these `hooks` of a record; and the other hooks that it needs.
    pub(super) fn of(hook: &Hook, hooks: &[Hook], record: &Record) -> (Verdict, Vec<ObjectRef>) {
        let refused = |reason: &str| (Verdict::Refused(reason.to_owned()), Vec::new());
        if let Err(why) = &hook.runnable {
            return refused(why.summary());
        }
        let Some(selector) = operation::selector(hook, hooks) else {
            return refused("nothing tells it from another hook");
        };
        if let Err(error) = Operation::from_json(operation::operation("corpus", record, &selector, 1)) {
            return refused(error.reason().as_str());
        }
        let workload = Workload::of(&hook.manifest);
        if let Err(error) = workload.declared() {
            return refused(error.reason().as_str());
        }
        let members = match closure(workload, &record.namespace, hooks) {
            Ok(members) => members,
            Err(error) => return refused(error.reason().as_str()),
        };
        let verdict = match why_not(hook, &members, &record.namespace) {
            Some(why) => Verdict::Refused(why.to_owned()),
            None if members.is_empty() => Verdict::AsItIs,
            None => Verdict::WithClosure,
        };
        (verdict, members.iter().map(ObjectRef::of).collect())
    }
}

/// Whether a hook is a Job or a Pod, as far as it can be read. The others are not meant to be run.
pub(super) fn is_meant(hook: &Hook) -> bool {
    match hook.runnable {
        Err(NotRunnable::Kind { .. }) => false,
        // Helm's own word for it.
        Err(NotRunnable::Unreadable(_) | NotRunnable::NotAnObject { .. }) => {
            matches!(hook.kind.as_str(), "Job" | "Pod")
        }
        _ => true,
    }
}

/// Why a hookhost that was not installed for any object without a namespace would not make a closure.
fn why_not(hook: &Hook, members: &[Member<'_>], namespace: &str) -> Option<&'static str> {
    if let Err(error) = describe(members) {
        return Some(error.reason().as_str());
    }
    let terms = Terms { namespace, cluster_objects: &[], uncovered: true, job: None };
    let refusal = arrange(hook, members, &terms, |_| Found::Missing).err()?;
    Some(if members.iter().any(|member| !member.kind.is_namespaced()) {
        "closure has cluster-scoped objects"
    } else if members.iter().any(|member| member.namespace != namespace) {
        "closure has objects in another namespace"
    } else {
        refusal.reason().as_str()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(manifests: &[Value]) -> Record {
        let hook = |(n, manifest): (usize, &Value)| {
            json!({"name": format!("{n:02}"), "kind": manifest["kind"], "path": format!("shop/templates/{n}.yaml"),
                "events": ["pre-upgrade"], "manifest": manifest.to_string()})
        };
        let hooks: Vec<Value> = manifests.iter().enumerate().map(hook).collect();
        let record = json!({"name": "shop", "namespace": "acme", "version": 1, "info": {"status": "deployed"},
            "chart": {"metadata": {"name": "shop", "version": "1.0.0"}}, "hooks": hooks});
        Record::read(record.to_string().as_bytes()).unwrap()
    }

    fn job(name: &str) -> Value {
        let pod = json!({"serviceAccountName": "migrate", "containers": [{"name": "main"}]});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": pod}}})
    }

    fn verdict(manifests: &[Value]) -> Verdict {
        let record = record(manifests);
        let hooks = record.hooks();
        Verdict::of(&hooks[0], &hooks, &record).0
    }

    #[test]
    fn a_hook_runs_as_it_is_or_with_what_it_needs_if_that_is_near() {
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migrate"}});
        let binding = |kind: &str, namespace: Option<&str>| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                "metadata": {"name": "b", "namespace": namespace}, "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "name": "migrate", "namespace": "acme"}]})
        };
        let refused = |reason: &str| Verdict::Refused(reason.to_owned());
        for (others, expected) in [
            (vec![], Verdict::AsItIs),
            (vec![account.clone()], Verdict::WithClosure),
            (vec![account.clone(), binding("RoleBinding", None)], Verdict::WithClosure),
            (
                vec![account.clone(), binding("RoleBinding", Some("kube-system"))],
                refused("closure has objects in another namespace"),
            ),
            (
                vec![account, binding("ClusterRoleBinding", None)],
                refused("closure has cluster-scoped objects"),
            ),
        ] {
            let all: Vec<Value> = std::iter::once(job("migrate")).chain(others).collect();
            assert_eq!(verdict(&all), expected);
        }
    }

    #[test]
    fn what_operations_cannot_tell_apart_is_refused_and_the_rest_is_told_apart() {
        let hooks = record(&[job("twin"), job("twin")]).hooks();
        assert_eq!(
            operation::selector(&hooks[1], &hooks).and_then(|selector| selector.path),
            Some("shop/templates/1.yaml")
        );
        let list = json!({"kind": "List", "items": [job("twin"), job("twin")]});
        assert_eq!(verdict(&[list]), Verdict::Refused("nothing tells it from another hook".to_owned()));
    }
}
