//! A *verdict* says of a hook, by its release record alone, whether it can be run on demand.

use hookhost_core::HasReason as _;
use hookhost_core::closure::{Member, closure, describe};
use hookhost_core::dependency::references;
use hookhost_core::loan::{ClusterObject, Found, Terms, Uncovered, arrange, needed};
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::Operation;
use hookhost_helm::hook::{Hook, NotRunnable};
use hookhost_helm::name::is_object_name;
use hookhost_helm::record::Record;
use hookhost_helm::workload::Workload;

use super::operation;
use super::surroundings::is_left;

/// Whether a hook can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It needs no other hook, or only such that Helm leaves in the cluster.
    AsItIs,
    /// It needs other hooks, which Helm deletes after the event; they can be made for the run by a hookhost that is installed
    /// for these of them that have no namespace.
    WithClosure(Vec<String>),
    /// It cannot be run, for this reason.
    Refused(String),
    /// It cannot be run, and Helm would not complete it either, for this reason.
    FailsWithHelm(String),
}

impl Verdict {
    /// The one word for programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Verdict::AsItIs => "asItIs",
            Verdict::WithClosure(_) => "withClosure",
            Verdict::Refused(_) => "refused",
            Verdict::FailsWithHelm(_) => "failsWithHelm",
        }
    }

    /// Why it is refused.
    pub(super) fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Refused(reason) | Verdict::FailsWithHelm(reason) => Some(reason),
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
        match &hook.runnable {
            Err(why) if why.fails_with_helm() => {
                return (Verdict::FailsWithHelm(why.summary().to_owned()), Vec::new());
            }
            Err(why) => return refused(why.summary()),
            Ok(()) => {}
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
        let allowed = if cluster_objects { cluster_objects_of(&objects) } else { Vec::new() };
        let terms = Terms {
            namespace: &hook.namespace,
            release_namespace: &record.namespace,
            cluster_objects: &allowed,
            uncovered: Uncovered::All,
            applier: None,
            event: selector.event,
            jobs: &[],
        };
        let verdict = match borrowed(hook, &members, &terms, record.revision) {
            Err(why) => Verdict::Refused(why.to_owned()),
            Ok(borrowed) if borrowed.is_empty() => Verdict::AsItIs,
            Ok(borrowed) => {
                Verdict::WithClosure(cluster_objects_of(&borrowed).iter().map(ToString::to_string).collect())
            }
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

/// Those of the objects that have no namespace, as hookhost is installed for them.
fn cluster_objects_of(objects: &[ObjectRef]) -> Vec<ClusterObject> {
    let named = objects.iter().filter(|object| is_object_name(&object.name));
    named.filter_map(|object| ClusterObject::anywhere(object.kind, &object.name)).collect()
}

/// What hookhost makes of a closure under these terms, or why it does not, where Helm has left what it leaves.
fn borrowed(
    hook: &Hook,
    members: &[Member<'_>],
    terms: &Terms<'_>,
    revision: u32,
) -> Result<Vec<ObjectRef>, &'static str> {
    describe(members).map_err(|error| error.reason().as_str())?;
    let is_there = |object: &ObjectRef| {
        members.iter().any(|member| ObjectRef::of(member) == *object && is_left(member.hook, revision))
    };
    let found = |object: &ObjectRef| if is_there(object) { Found::Kept } else { Found::Missing };
    let needed = needed(hook, members, &references(&hook.manifest), terms.event);
    let objects: Vec<ObjectRef> = members.iter().map(ObjectRef::of).collect();
    let is_barred = |object: &ObjectRef| {
        let is_allowed = || terms.cluster_objects.iter().any(|one| one.allows(object, terms.namespace));
        !object.kind.is_namespaced() && !is_there(object) && !is_allowed()
    };
    let arranged = arrange(hook, &needed, terms, found);
    if arranged.is_err() && objects.iter().any(is_barred) {
        return Err("closure has cluster-scoped objects");
    }
    match arranged {
        Ok(loans) => Ok(loans.into_iter().map(|loan| loan.object).collect()),
        Err(refusal) => Err(refusal.reason().as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::surroundings::DELETED;
    use super::*;

    /// A record of these hooks, with one delete policy for all.
    fn record(manifests: &[Value], policy: &str) -> Record {
        let hook = |(n, manifest): (usize, &Value)| {
            json!({"name": format!("{n:02}"), "kind": manifest["kind"], "path": format!("shop/templates/{n}.yaml"),
                "events": ["pre-upgrade"], "delete_policies": [policy], "manifest": manifest.to_string()})
        };
        let hooks: Vec<Value> = manifests.iter().enumerate().map(hook).collect();
        let record = json!({"name": "shop", "namespace": "acme", "version": 2, "info": {"status": "deployed"},
            "chart": {"metadata": {"name": "shop", "version": "1.0.0"}}, "hooks": hooks});
        Record::read(record.to_string().as_bytes()).unwrap()
    }

    fn job(name: &str) -> Value {
        let pod = json!({"serviceAccountName": "migrate", "containers": [{"name": "main"}]});
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": pod}}})
    }

    fn verdict(manifests: &[Value], policy: &str, cluster_objects: bool) -> Verdict {
        let record = record(manifests, policy);
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
        let with_closure =
            |names: &[&str]| Verdict::WithClosure(names.iter().map(|&name| name.to_owned()).collect());
        let is_everywhere = refused("closure has cluster-scoped objects");
        for (others, without, with) in [
            (vec![], Verdict::AsItIs, Verdict::AsItIs),
            (vec![account()], with_closure(&[]), with_closure(&[])),
            (vec![account(), near.clone()], with_closure(&[]), with_closure(&[])),
            // In other namespaces hookhost creates nothing.
            (vec![far.clone()], Verdict::AsItIs, Verdict::AsItIs),
            (vec![account(), far.clone()], with_closure(&[]), with_closure(&[])),
            (
                vec![near, everywhere("shop:b")],
                is_everywhere.clone(),
                with_closure(&["ClusterRoleBinding/shop:b"]),
            ),
            (vec![far, everywhere("b")], is_everywhere.clone(), with_closure(&["ClusterRoleBinding/b"])),
            // Names that would be two on a command line, or none.
            (vec![everywhere("a,b")], is_everywhere.clone(), is_everywhere.clone()),
            (vec![everywhere("")], is_everywhere.clone(), is_everywhere),
        ] {
            let all: Vec<Value> = std::iter::once(job("migrate")).chain(others).collect();
            let verdicts = [false, true].map(|cluster_objects| verdict(&all, DELETED, cluster_objects));
            assert_eq!(verdicts, [without, with], "{all:?}");
        }
    }

    #[test]
    fn what_helm_leaves_in_the_cluster_is_there() {
        let all = [job("migrate"), account(), binding("ClusterRoleBinding", "b", None)];
        assert_eq!(verdict(&all, "before-hook-creation", false), Verdict::AsItIs);
    }

    #[test]
    fn what_helm_would_not_complete_either_is_told_apart() {
        let mut never = job("migrate");
        never["spec"]["parallelism"] = json!(0);
        let reason = "parallelism is 0".to_owned();
        assert_eq!(verdict(&[never.clone()], DELETED, false), Verdict::FailsWithHelm(reason));
        never["spec"]["completions"] = json!(0);
        assert_eq!(verdict(&[never], DELETED, false), Verdict::AsItIs, "complete at once");
        let mut far = job("migrate");
        far["metadata"]["namespace"] = json!("other");
        assert_eq!(verdict(&[far], DELETED, false), Verdict::AsItIs);
    }

    #[test]
    fn what_operations_cannot_tell_apart_is_refused_and_the_rest_is_told_apart() {
        let hooks = record(&[job("twin"), job("twin")], DELETED).hooks();
        assert_eq!(
            operation::selector(&hooks[1], &hooks).and_then(|selector| selector.path),
            Some("shop/templates/1.yaml")
        );
        let list = json!({"kind": "List", "items": [job("twin"), job("twin")]});
        assert_eq!(
            verdict(&[list], DELETED, false),
            Verdict::Refused("nothing tells it from another hook".to_owned())
        );
    }
}
