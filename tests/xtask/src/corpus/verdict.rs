//! A *verdict* says of a hook, by its release record alone, whether it can be run on demand.

use hookhost_core::closure::{Member, closure, describe};
use hookhost_core::hook::{Hook, NotRunnable};
use hookhost_core::loan::{Found, ObjectRef, Terms, arrange};
use hookhost_core::name::DNS_SUBDOMAIN_BYTES;
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

    /// Of a hook of these `hooks` of a record; and the other hooks that it needs. With `cluster_objects` hookhost is installed
    /// for all objects without a namespace, without them for none.
    pub(super) fn of(
        hook: &Hook,
        hooks: &[Hook],
        record: &Record,
        cluster_objects: bool,
    ) -> (Verdict, Vec<ObjectRef>) {
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
        let objects: Vec<ObjectRef> = members.iter().map(ObjectRef::of).collect();
        let made = if cluster_objects { self::cluster_objects(&objects).collect() } else { Vec::new() };
        let verdict = match why_not(hook, &members, &record.namespace, &made) {
            Some(why) => Verdict::Refused(why.to_owned()),
            None if members.is_empty() => Verdict::AsItIs,
            None => Verdict::WithClosure,
        };
        (verdict, objects)
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

/// The objects without a namespace of a closure, as hookhost is installed for them.
pub(super) fn cluster_objects(closure: &[ObjectRef]) -> impl Iterator<Item = String> {
    // What a list on a command line cannot name, nobody can allow.
    let is_sayable = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let is_name = move |name: &str| (1..=DNS_SUBDOMAIN_BYTES).contains(&name.len()) && is_sayable(name);
    let objects = closure.iter().filter(move |object| !object.kind.is_namespaced() && is_name(&object.name));
    objects.map(|object| format!("{}/{}", object.kind, object.name))
}

/// Why a hookhost that was installed for these `cluster_objects` would not make a closure.
fn why_not(
    hook: &Hook,
    members: &[Member<'_>],
    namespace: &str,
    cluster_objects: &[String],
) -> Option<&'static str> {
    if let Err(error) = describe(members) {
        return Some(error.reason().as_str());
    }
    let terms = Terms { namespace, cluster_objects, uncovered: true, job: None };
    let refusal = arrange(hook, members, &terms, |_| Found::Missing).err()?;
    let is_made =
        |member: &Member<'_>| cluster_objects.contains(&format!("{}/{}", member.kind, member.hook.name));
    Some(if members.iter().any(|member| !member.kind.is_namespaced() && !is_made(member)) {
        "closure has cluster-scoped objects"
    } else if members.iter().any(|member| member.kind.is_namespaced() && member.namespace != namespace) {
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

    fn verdict(manifests: &[Value], cluster_objects: bool) -> Verdict {
        let record = record(manifests);
        let hooks = record.hooks();
        Verdict::of(&hooks[0], &hooks, &record, cluster_objects).0
    }

    fn account() -> Value {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migrate"}})
    }

    fn binding(kind: &str, name: &str, namespace: Option<&str>) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "migrate", "namespace": "acme"}]})
    }

    #[test]
    fn a_hook_runs_as_it_is_or_with_what_it_needs_if_that_is_near() {
        let near = binding("RoleBinding", "b", None);
        let far = binding("RoleBinding", "b", Some("kube-system"));
        let everywhere = |name| binding("ClusterRoleBinding", name, None);
        let refused = |reason: &str| Verdict::Refused(reason.to_owned());
        let is_far = refused("closure has objects in another namespace");
        let is_everywhere = refused("closure has cluster-scoped objects");
        for (others, without, with) in [
            (vec![], Verdict::AsItIs, Verdict::AsItIs),
            (vec![account()], Verdict::WithClosure, Verdict::WithClosure),
            (vec![account(), near.clone()], Verdict::WithClosure, Verdict::WithClosure),
            (vec![account(), far.clone()], is_far.clone(), is_far.clone()),
            (vec![near, everywhere("shop:b")], is_everywhere.clone(), Verdict::WithClosure),
            (vec![far, everywhere("b")], is_everywhere.clone(), is_far),
            // Names that would be two on a command line, or none.
            (vec![everywhere("a,b")], is_everywhere.clone(), is_everywhere.clone()),
            (vec![everywhere("")], is_everywhere.clone(), is_everywhere),
        ] {
            let all: Vec<Value> = std::iter::once(job("migrate")).chain(others).collect();
            assert_eq!([verdict(&all, false), verdict(&all, true)], [without, with], "{all:?}");
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
        assert_eq!(
            verdict(&[list], false),
            Verdict::Refused("nothing tells it from another hook".to_owned())
        );
    }
}
